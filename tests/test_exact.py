import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import util

from semsearch_nb import exact


def by_hand(queries, corpus, k, score="cosine"):
    """Every score in float64, sorted; equal scores in corpus order."""
    queries, corpus = np.asarray(queries, np.float64), np.asarray(corpus, np.float64)
    if score == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        corpus = corpus / np.linalg.norm(corpus, axis=1, keepdims=True)
    scores = queries @ corpus.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def test_three_vectors_worked_out_by_hand():
    hits = exact.search([[3.0, 4.0]], [[4.0, 3.0], [-3.0, -4.0], [6.0, 8.0]], k=3)
    assert hits.indices.tolist() == [[2, 0, 1]]
    assert np.allclose(hits.scores, [[1.0, 24 / 25, -1.0]])
    assert hits.scores.dtype == np.float32 and hits.indices.dtype == np.int64


def test_dot_prefers_the_longer_vector():
    corpus = [[1.0, 0.0], [10.0, 10.0]]
    assert exact.search([[1.0, 0.0]], corpus, k=1).indices.tolist() == [[0]]
    assert exact.search([[1.0, 0.0]], corpus, k=1, score="dot").indices.tolist() == [[1]]


def test_k_beyond_the_corpus_returns_all_of_it():
    assert exact.search(np.eye(2), np.eye(2), k=50).indices.shape == (2, 2)


def test_equal_scores_come_in_corpus_order():
    corpus = np.ones((7, 3))
    for block in (2, 3, 7, 100):
        assert exact.search(corpus[:1], corpus, k=7, block=block).indices.tolist() == [list(range(7))]


@settings(max_examples=150, deadline=None)
@given(
    n_queries=st.integers(1, 9),
    n=st.integers(1, 60),
    dimension=st.integers(1, 40),
    k=st.integers(1, 70),
    blocks=st.tuples(st.integers(1, 12), st.integers(1, 70)),
    score=st.sampled_from(exact.SCORES),
    seed=st.integers(0, 2**32 - 1),
    duplicated=st.booleans(),
)
def test_agrees_with_sorting_everything(n_queries, n, dimension, k, blocks, score, seed, duplicated):
    generator = np.random.default_rng(seed)
    queries = generator.normal(size=(n_queries, dimension)).astype(np.float32)
    corpus = generator.normal(size=(n, dimension)).astype(np.float32)
    if duplicated:
        corpus = corpus[generator.integers(0, n, size=n)]
    hits = exact.search(queries, corpus, k, score=score, block=blocks[1])
    scores, _ = by_hand(queries, corpus, k, score)
    assert hits.scores.shape == hits.indices.shape == (n_queries, min(k, n))
    tolerance = 1e-5 * (1 if score == "cosine" else dimension * 10)
    assert np.allclose(hits.scores, scores, atol=tolerance)  # the k best, and in order
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == len(row) for row in hits.indices.tolist())  # no vector twice
    every = by_hand(queries, corpus, n, score)
    score_of = np.empty((n_queries, n))
    np.put_along_axis(score_of, every[1], every[0], axis=1)
    assert np.allclose(np.take_along_axis(score_of, hits.indices, axis=1), hits.scores, atol=tolerance)


def test_agrees_with_sentence_transformers():
    generator = np.random.default_rng(1)
    queries, corpus = generator.normal(size=(20, 32)), generator.normal(size=(5_000, 32))
    hits = exact.search(queries, corpus, k=10, block=700)
    reference = util.semantic_search(queries.astype(np.float32), corpus.astype(np.float32), top_k=10)
    assert hits.indices.tolist() == [[hit["corpus_id"] for hit in row] for row in reference]


def test_a_memory_mapped_corpus_is_searched_without_a_warning(tmp_path, recwarn):
    corpus = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    assert (exact.search(corpus[:5], mapped, k=3).indices == exact.search(corpus[:5], corpus, k=3).indices).all()
    assert not recwarn.list


def test_scores_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="exceed the range"):
        exact.search([[3e38]], [[3e38]], k=1, score="dot")


@pytest.mark.parametrize("n", [999, 5_003])
def test_equal_vectors_have_equal_scores_and_come_in_corpus_order_at_the_last_place_too(n):
    generator = np.random.default_rng(1)
    corpus = generator.normal(size=(n, 384)).astype(np.float32)
    copies = [3, n // 2, n - 40, n - 2, n - 1]
    corpus[copies] = corpus[3]
    query = corpus[3:4] + 0.01 * generator.normal(size=(1, 384)).astype(np.float32)
    for n_queries in (1, 8, 300):
        for k in (2, 5, 7):
            hits = exact.search(np.repeat(query, n_queries, axis=0), corpus, k=k)
            assert (hits.indices[:, :5] == copies[:k]).all() and np.unique(hits.scores[:, :k][:, :5]).size == 1


@pytest.mark.parametrize(
    ("of_corpus", "of_queries"), [(1e-22, 1e-22), (1e-40, 1), (1, 1e-40), (1e38, 1e-38), (1e-30, 1)]
)
def test_scores_of_any_magnitude_are_told_apart(of_corpus, of_queries):
    generator = np.random.default_rng(2)
    corpus, queries = generator.uniform(-1, 1, (500, 16)), generator.uniform(-1, 1, (7, 16))
    corpus, queries = (corpus * of_corpus).astype(np.float32), (queries * of_queries).astype(np.float32)
    for score in exact.SCORES:
        truth = by_hand(queries, corpus, 5, score)
        hits = exact.search(queries, corpus, 5, score=score)
        assert np.array_equal(hits.indices, truth[1])
        assert np.allclose(hits.scores, truth[0], rtol=1e-5, atol=1e-44)
        if of_corpus < 1:
            assert len(exact.mine(corpus, threshold=-1e38, score=score).scores) == 500 * 499 // 2


def test_the_cosine_of_vectors_whose_length_is_beyond_float32():
    corpus = np.array([[3e38, 3e38], [1, 0], [1e-40, 1e-40]], np.float32)
    for queries in ([[1, 1]], corpus[:1], corpus[2:]):
        hits = exact.search(queries, corpus, k=3)
        assert hits.indices.tolist() == [[0, 2, 1]] and np.allclose(hits.scores, [[1, 1, 0.5**0.5]])


def test_the_corpus_is_read_once_whatever_the_number_of_queries(monkeypatch):
    generator = np.random.default_rng(0)
    prepared = exact.prepare(generator.normal(size=(40_000, 8)), first_pass="float32")
    read, between = [], type(prepared).between
    monkeypatch.setattr(
        type(prepared), "between", lambda self, first, last: read.append(last - first) or between(self, first, last)
    )
    exact.search(generator.normal(size=(2_500, 8)), prepared, 3)
    assert sum(read) == 40_000


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_converted_in_chunks(dtype, tmp_path):
    corpus = np.random.default_rng(2).normal(size=(900, 8)).astype(dtype)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    assert exact.prepare(mapped).vectors.data_ptr() == mapped.ctypes.data
    hits = exact.search(corpus[:5], mapped, k=3)
    assert np.array_equal(hits.indices, exact.search(corpus[:5], corpus.astype(np.float32), k=3).indices)


def test_score_pairs_has_the_scores_of_search_to_the_last_bit():
    generator = np.random.default_rng(3)
    queries, corpus = generator.normal(size=(4, 33)), generator.normal(size=(900, 33))
    for score in exact.SCORES:
        hits = exact.search(queries, corpus, k=9, score=score)
        assert np.array_equal(exact.score_pairs(queries, corpus, hits.indices, score=score), hits.scores)
    assert exact.score_pairs(queries[:1], corpus, [[-1, 0]]).tolist()[0][0] == -np.inf
    with pytest.raises(ValueError, match="indices must be rows below 900"):
        exact.score_pairs(queries[:1], corpus, [[900]])
