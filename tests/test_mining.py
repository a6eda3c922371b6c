import numpy as np
import pytest
import torch
from sentence_transformers import util

from semsearch_nb import exact


@pytest.fixture(scope="module")
def corpus():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(300, 32))
    return (centres[generator.integers(0, 300, 1_503)] + 0.6 * generator.normal(size=(1_503, 32))).astype(np.float32)


def all_pairs(corpus):
    unit = corpus.astype(np.float64) / np.linalg.norm(corpus, axis=1, keepdims=True)
    first, second = np.triu_indices(len(corpus), 1)
    return (unit @ unit.T)[first, second], first, second


def test_threshold_finds_all_pairs_and_no_other(corpus):
    scores, first, second = all_pairs(corpus)
    pairs = exact.mine(corpus, threshold=0.7)
    expected = {(i, j) for score, i, j in zip(scores, first, second, strict=True) if score >= 0.7}
    assert len(expected) > 1_000
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert len(pairs.scores) == len(expected) and (np.diff(pairs.scores) <= 0).all()


def test_the_threshold_is_one_of_plain_products_however_small(corpus):
    small = (1e-10 * corpus / np.linalg.norm(corpus, axis=1, keepdims=True)).astype(np.float32)
    pairs, expected = exact.mine(small, threshold=7e-21, score="dot"), exact.mine(corpus, threshold=0.7)
    assert set(zip(*pairs[1:], strict=True)) == set(zip(*expected[1:], strict=True))
    assert np.allclose(pairs.scores, expected.scores * 1e-20, rtol=1e-5, atol=0)


def test_max_pairs_keeps_the_best(corpus):
    every = exact.mine(corpus, threshold=-1)
    assert len(every.scores) == 500_000
    few = exact.mine(corpus, threshold=-1, max_pairs=50)
    assert np.allclose(few.scores, np.sort(all_pairs(corpus)[0])[::-1][:50], atol=1e-6)
    assert np.array_equal(few.first, every.first[:50]) and np.array_equal(few.second, every.second[:50])


def test_k_agrees_with_paraphrase_mining(corpus):
    unit = torch.nn.functional.normalize(torch.from_numpy(corpus))
    reference = util.paraphrase_mining_embeddings(unit, top_k=5)
    pairs = exact.mine(exact.prepare(corpus), k=5)
    assert len(pairs.scores) == len(reference)
    assert {(i, j) for _, i, j in reference} == set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert np.allclose(pairs.scores, [score for score, _, _ in reference], atol=1e-5)


def test_duplicates_are_pairs():
    corpus = np.tile(np.eye(3), (50, 1))
    assert len(exact.mine(corpus, threshold=0.99).scores) == 3 * 50 * 49 // 2
    assert (exact.mine(corpus, k=2).scores > 0.99).all()
    pairs = exact.mine(np.tile(np.eye(1, 4), (3, 1)), k=1)  # the third is not among its own two best
    assert pairs.first.tolist() == [0, 0] and pairs.second.tolist() == [1, 2]


def test_equal_scores_come_in_the_order_of_the_rows():
    corpus = np.eye(2)[[0, 1, 1, 0]]
    for options in ({"threshold": 0.5}, {"k": 1}):
        pairs = exact.mine(corpus, **options)
        assert pairs.first.tolist() == [0, 1] and pairs.second.tolist() == [3, 2]


def test_fewer_vectors_than_a_group():
    pairs = exact.mine(np.eye(3) + 0.5, threshold=0.0)
    assert pairs.first.tolist() == [0, 0, 1] and pairs.second.tolist() == [1, 2, 2]


@pytest.mark.parametrize("options", [{}, {"k": 1, "threshold": 0.5}])
def test_one_of_k_and_threshold(corpus, options):
    with pytest.raises(ValueError, match=r"give k .* or threshold"):
        exact.mine(corpus, **options)
