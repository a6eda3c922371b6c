import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semsearch_nb import evaluation, exact, fusion
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
    # Means 2 and 0.5; the z-scores are √1.5, 0 and −√1.5 in both.
    first, second = hits([(1, 3.0), (2, 2.0), (3, 1.0)]), hits([(4, 1.0), (1, 0.5), (2, 0.0)])
    fused = fusion.standard_scores([first, second], k=4)
    assert fused.indices.tolist() == [[1, 4, 2]]  # 4 stands for the lowest in the first, 3 would come last
    assert np.allclose(fused.scores, [[1.5**0.5, 0, -(1.5**0.5)]], atol=1e-6)
    weighted = fusion.standard_scores([first, second], k=4, weights=[1, 2])
    assert weighted.indices.tolist() == [[1, 4, 2]]
    assert np.allclose(weighted.scores, [[1.5**0.5, 1.5**0.5, -2 * 1.5**0.5]], atol=1e-6)


def test_standard_scores_see_a_first_hit_far_above_the_others():
    sure = hits([(0, 9.0), *((n, 1.0) for n in range(1, 10))])
    unsure = hits([(n, 1.0 + n / 100) for n in range(9, -1, -1)])
    assert fusion.standard_scores([unsure, sure]).indices[0, 0] == 0
    assert fusion.reciprocal_rank([unsure, sure]).indices[0, 0] == 9  # as many points as 0; the first ranking's first


@given(score=st.floats(2**-10, 2**13, width=32), n=st.integers(2, 100))
def test_equal_scores_have_no_vote_whatever_their_value(score, n):
    good, flat = hits([(row, 1 - row / 20) for row in range(10)]), hits([(100 + row, score) for row in range(n)])
    fused = fusion.standard_scores([good, flat])
    assert fused.indices.tolist() == good.indices.tolist()
    assert np.array_equal(fused.scores, fusion.standard_scores([good]).scores)


@pytest.mark.parametrize("score", [0.1, 0.3, 0.7, 1e-3, 12.34])
def test_equal_scores_in_float64_have_none_either(score):  # whose mean is not always the score itself
    flat = Hits(np.full((1, 10), score), np.arange(10)[None])
    assert fusion.standard_scores([flat]).scores.tolist() == [[0.0] * 10]


def test_the_spread_is_that_of_float64():
    scores = np.float32(16384 + np.sort(np.random.default_rng(0).random(100))[::-1])
    exact_z = (scores.astype(float) - scores.astype(float).mean()) / scores.astype(float).std()
    fused = fusion.standard_scores([Hits(scores[None], np.arange(100)[None])], k=100)
    assert np.abs(fused.scores[0] - exact_z).max() < 1e-5


def test_a_spread_that_is_small_but_there_counts():
    close = hits([(1, 0.90002), (2, 0.90001), (3, 0.9)])
    assert np.allclose(fusion.standard_scores([close]).scores, [[1.5**0.5, 0, -(1.5**0.5)]], atol=2e-2)


@pytest.mark.parametrize("fuse", FUSIONS)
def test_empty_places_are_no_documents(fuse):
    short = Hits(np.array([[2.0, 1.0, -np.inf], [-np.inf] * 3], np.float32), np.array([[5, 4, -1], [-1] * 3]))
    other = hits([(4, 9.0), (6, 8.0), (7, 7.0)], [(1, 3.0), (2, 2.0), (3, 1.0)])
    fused = fuse([short, other], k=3)
    assert fused.indices[1].tolist() == [1, 2, 3] and -1 not in fused.indices
    empty = fuse([short, short], k=3)
    assert empty.indices.tolist() == [[5, 4, -1], [-1] * 3]
    assert empty.found.tolist() == [[True, True, False], [False] * 3] and empty.holds == "rows"


def test_a_document_that_a_ranking_lacks_counts_as_its_last_or_as_nothing():
    one, other = hits([(1, 4.0), (2, 0.0)]), hits([(3, 9.0), (4, 7.0)])
    assert np.allclose(fusion.standard_scores([one, other], k=2).scores, [[0, 0]])  # 1 − 1, for 1 and for 3
    ranks = fusion.reciprocal_rank([one, other], k=2, weights=[1, 3])
    assert ranks.indices.tolist() == [[3, 4]] and np.allclose(ranks.scores, [[3 / 61, 3 / 62]])


@pytest.mark.parametrize("fuse", FUSIONS)
def test_hits_of_torch_are_taken(fuse):
    rows = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    found = exact.search(rows[:2], rows, k=5)
    fused = fuse([found, found.numpy()], k=5)
    assert isinstance(fused.indices, np.ndarray) and np.array_equal(fused.indices, found.indices.numpy())


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


NAMED = Hits(np.array([[2.0, 1.0]], dtype=np.float32), np.array([["b", "a"]], dtype=object))
NUMBERED = Hits(np.array([[2.0, 1.0]], dtype=np.float32), np.array([[7, 8]]), "ids")


def test_ties_keep_the_order_of_the_first_ranking():
    one, other = (hits([(start + row, 1 / (1 + row)) for row in range(50)]) for start in (0, 50))
    fused = fusion.reciprocal_rank([one, other], k=50)
    assert fused.indices.reshape(25, 2).tolist() == [[row, 50 + row] for row in range(25)]
    flat = hits([(row, 1.0) for row in range(60)])
    assert fusion.standard_scores([flat], k=60).indices.tolist() == [list(range(60))]


@pytest.mark.parametrize("fuse", FUSIONS)
def test_ids_stay_ids(fuse):
    assert fuse([NAMED, NAMED]).indices.tolist() == [["b", "a"]] and fuse([NAMED]).holds == "ids"
    assert fuse([NUMBERED, NUMBERED]).indices.tolist() == [[7, 8]] and fuse([NUMBERED]).holds == "ids"


def test_learned_weights_find_the_ranking_that_is_right():
    right = hits(*[[(n, 3.0), (n + 10, 2.0), (n + 20, 1.0)] for n in range(5)])
    wrong = hits(*[[(n + 20, 3.0), (n + 10, 2.0), (n, 1.0)] for n in range(5)])
    ids = [str(n) for n in range(30)]
    qrels = {str(n): {str(n): 1} for n in range(5)}
    weights = fusion.learn_weights([wrong, right], qrels, ids[:5], ids)
    assert weights[1] > weights[0] and sum(weights) == pytest.approx(1)
    even = fusion.learn_weights([right, right], qrels, ids[:5], ids)
    assert even == (0.5, 0.5)
    column = pd.Series(ids, index=range(29, -1, -1))  # its labels are not its positions
    assert fusion.learn_weights([wrong, right], qrels, column[:5], column) == weights
    named = [Hits(r.scores, np.array(ids, dtype=object)[r.indices]) for r in (wrong, right)]
    assert fusion.learn_weights(named, qrels, iter(ids[:5])) == weights


def test_learned_weights_are_the_best_of_all_steps():
    generator = np.random.default_rng(3)
    pair = [
        hits(
            *[
                sorted(
                    zip(generator.permutation(30)[:10], generator.normal(size=10), strict=True),
                    key=lambda pair: -pair[1],
                )
                for _ in range(12)
            ]
        )
        for _ in range(2)
    ]
    ids = [str(n) for n in range(30)]
    qrels = {ids[q]: {ids[int(pair[q % 2].indices[q, 2])]: 1} for q in range(12)}

    def quality(share):
        run = evaluation.as_run(fusion.standard_scores(pair, weights=[share, 1 - share]), ids[:12], ids)
        return evaluation.ndcg_at_k(run, qrels).mean()

    found = fusion.learn_weights(pair, qrels, ids[:12], ids, steps=4)
    assert quality(found[0]) == max(quality(n / 4) for n in range(5))


GOOD = hits([(1, 2.0), (2, 1.0)])


@pytest.mark.parametrize("fuse", FUSIONS)
@pytest.mark.parametrize(
    ("rankings", "options", "error", "message"),
    [
        ([], {}, ValueError, "rankings is empty"),
        ([GOOD, [[1, 2]]], {}, TypeError, r"rankings\[1\] must be Hits"),
        ([GOOD, hits([(1, 1.0)], [(2, 1.0)])], {}, ValueError, "answers 2 queries"),
        ([hits([(1, np.nan), (2, 1.0)])], {}, ValueError, "not finite"),
        (GOOD, {}, TypeError, r"pass \[hits\]"),
        ([GOOD, hits([(1, np.inf), (2, 1.0)])], {}, ValueError, r"rankings\[1\] has scores that are not finite"),
        (
            [hits([(7, 1.0)]), NAMED],
            {},
            ValueError,
            r"rankings\[1\] holds ids that are strings and rankings\[0\] .*rows",
        ),
        ([NUMBERED, GOOD], {}, ValueError, r"rankings\[1\] holds rows and rankings\[0\] holds ids that are whole"),
        ([NUMBERED, NAMED], {}, ValueError, r"rankings\[1\] holds ids that are strings"),
        ([GOOD, GOOD], {"weights": ["1", 1]}, ValueError, "must be numbers of at least 0"),
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
