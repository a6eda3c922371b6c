import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch_nb import fusion
from semsearch_nb.vectors import Hits

FUSIONS = [fusion.reciprocal_rank, fusion.standard_scores]


def hits(*rows):
    """Rows of (document, score), best first."""
    indices = np.array([[document for document, _ in row] for row in rows])
    return Hits(np.array([[score for _, score in row] for row in rows], dtype=np.float32), indices)


def test_reciprocal_ranks_by_hand():
    fused = fusion.reciprocal_rank([hits([(7, 9.0), (3, 1.0)]), hits([(3, 0.5), (5, 0.4)])], k=3)
    assert fused.indices.tolist() == [[3, 7]]  # at most as many as the longest ranking has
    assert np.allclose(fused.scores, [[1 / 62 + 1 / 61, 1 / 61]])


def test_reciprocal_ranks_look_at_ranks_alone():
    one = [hits([(1, 9.0), (2, 8.0)]), hits([(2, 0.2), (1, 0.1)])]
    other = [hits([(1, 900.0), (2, 8.0)]), hits([(2, 0.2), (1, 0.1)])]
    for a, b in zip(fusion.reciprocal_rank(one), fusion.reciprocal_rank(other), strict=True):
        assert np.array_equal(a, b)


def test_standard_scores_by_hand():
    # Means 2 and 0.5; z of the first hits √1.5 in both, so that the points are 1.5, 0 and −1.5.
    first, second = hits([(1, 3.0), (2, 2.0), (3, 1.0)]), hits([(4, 1.0), (1, 0.5), (2, 0.0)])
    fused = fusion.standard_scores([first, second], k=4)
    assert fused.indices.tolist() == [[1, 4, 2]]  # 4 stands for the lowest in the first, 3 would come last
    assert np.allclose(fused.scores, [[1.5 + 0, -1.5 + 1.5, 0 - 1.5]], atol=1e-6)


def test_a_first_hit_far_above_the_others_counts_more():
    # z of the first hits: 3 of ten that are otherwise alike, √1.5 of three in even steps.
    sure, even = hits([(n, 9.0 if n == 0 else 1.0) for n in range(10)]), hits([(5, 3.0), (0, 2.0), (6, 1.0)])
    assert np.allclose(fusion.standard_scores([sure]).scores[0, 0], 9)
    assert np.allclose(fusion.standard_scores([even]).scores[0, 0], 1.5)


def test_standard_scores_know_who_is_sure():
    sure = hits([(0, 9.0), *((n, 1.0) for n in range(1, 10))])
    unsure = hits([(n, 1.0 + n / 100) for n in range(9, -1, -1)])
    assert fusion.standard_scores([unsure, sure]).indices[0, 0] == 0
    assert fusion.reciprocal_rank([unsure, sure]).indices[0, 0] == 9  # as many points as 0; the first ranking's first


@pytest.mark.parametrize("fuse", FUSIONS)
def test_equal_scores_everywhere_are_no_division_by_zero(fuse):
    fused = fuse([hits([(2, 1.0), (1, 1.0)]), hits([(2, 5.0), (1, 5.0)])])
    assert fused.indices.tolist() == [[2, 1]] and np.isfinite(fused.scores).all()


@pytest.mark.parametrize("fuse", FUSIONS)
@given(seed=st.integers(0, 2**32 - 1), n_rankings=st.integers(1, 4))
def test_fused_rankings_hold_each_document_once_best_first(fuse, seed, n_rankings):
    generator = np.random.default_rng(seed)
    rankings = []
    for _ in range(n_rankings):
        indices = np.stack([generator.permutation(20)[:8] for _ in range(5)])
        rankings.append(Hits(-np.sort(-generator.normal(size=(5, 8)).astype(np.float32), axis=1), indices))
    fused = fuse(rankings, k=8)
    assert fused.scores.shape == fused.indices.shape == (5, 8)
    assert all(len(set(row)) == 8 for row in fused.indices.tolist())
    assert (np.diff(fused.scores, axis=1) <= 0).all()
    for row, *sources in zip(fused.indices.tolist(), *(ranking.indices.tolist() for ranking in rankings), strict=True):
        assert set(row) <= set().union(*sources)
    if n_rankings == 1:
        assert np.array_equal(fused.indices, rankings[0].indices)


@pytest.mark.parametrize("fuse", FUSIONS)
def test_a_weight_of_zero_takes_a_ranking_out(fuse):
    one, other = hits([(1, 3.0), (2, 2.0), (3, 1.0)]), hits([(9, 1.0), (8, 0.9), (3, 0.1)])
    assert fuse([one, other], 3, weights=[1, 0]).indices.tolist() == [[1, 2, 3]]


def test_ids_may_be_strings():
    one = Hits(np.array([[2.0, 1.0]], dtype=np.float32), np.array([["b", "a"]], dtype=object))
    assert fusion.standard_scores([one, one]).indices.tolist() == [["b", "a"]]


def test_learned_weights_find_the_ranking_that_is_right():
    right = hits(*[[(n, 3.0), (n + 10, 2.0), (n + 20, 1.0)] for n in range(5)])
    wrong = hits(*[[(n + 20, 3.0), (n + 10, 2.0), (n, 1.0)] for n in range(5)])
    ids = [str(n) for n in range(30)]
    qrels = {str(n): {str(n): 1} for n in range(5)}
    weights = fusion.learn_weights([wrong, right], qrels, ids[:5], ids)
    assert weights[1] > weights[0] and sum(weights) == pytest.approx(1)
    even = fusion.learn_weights([right, right], qrels, ids[:5], ids)
    assert even == (0.5, 0.5)


GOOD = hits([(1, 2.0), (2, 1.0)])


@pytest.mark.parametrize("fuse", FUSIONS)
@pytest.mark.parametrize(
    ("rankings", "options", "error", "message"),
    [
        ([], {}, ValueError, "rankings is empty"),
        ([GOOD, [[1, 2]]], {}, TypeError, r"rankings\[1\] must be Hits"),
        ([GOOD, hits([(1, 1.0)], [(2, 1.0)])], {}, ValueError, "answers 2 queries"),
        ([hits([(1, np.nan), (2, 1.0)])], {}, ValueError, "not finite"),
        ([GOOD], {"k": 0}, ValueError, "k must be at least 1"),
        ([GOOD, GOOD], {"weights": [1]}, ValueError, "one value for each of the 2 rankings"),
        ([GOOD, GOOD], {"weights": [1, -1]}, ValueError, "at least 0"),
        ([GOOD, GOOD], {"weights": [0, 0]}, ValueError, "above 0"),
        ([GOOD, GOOD], {"weights": [1, np.nan]}, ValueError, "at least 0"),
    ],
)
def test_bad_input_is_named(fuse, rankings, options, error, message):
    with pytest.raises(error, match=message):
        fuse(rankings, **options)


def test_a_negative_constant_is_refused():
    with pytest.raises(ValueError, match="constant must be at least 0"):
        fusion.reciprocal_rank([GOOD], constant=-1)
