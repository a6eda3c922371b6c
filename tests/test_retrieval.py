import numpy as np
import pytest

from semsearch_nb import encoding, fusion, indexes, models, retrieval
from semsearch_nb.lexical import BM25
from semsearch_nb.vectors import Hits

TEXTS = ["Cats sleep all day.", "Rome is an old city.", "Gold fell again."]


@pytest.fixture(scope="module")
def model():
    return models.load("symmetric")


def test_an_index_that_holds_nothing_is_searched_all_the_same(model):
    index = indexes.FaissFlat().build(encoding.encode_documents(model, TEXTS))
    index.remove([0, 1, 2])
    dense = retrieval.Dense(model, TEXTS, index=index)
    assert dense.search(["old Rome"], k=2).indices.shape == (1, 0)
    index.add(encoding.encode_documents(model, TEXTS[1:2]), ["rome"])
    assert dense.search(["old Rome"], k=2).indices.tolist() == [["rome"]]


@pytest.mark.parametrize("weights", [[1, 0.5], (1, 0.5), np.array([1, 0.5])])
def test_weights_may_be_an_array(weights):
    bm25 = BM25(TEXTS)
    assert retrieval.Hybrid([bm25, bm25], weights=weights).search(["old city"], 1).indices.tolist() == [[1]]


class Given:
    """A retriever that finds the same, whatever it is asked."""

    def __init__(self, *rows):
        self.hits = Hits(np.array([np.arange(len(rows), 0, -1)], np.float32), np.array([rows]))

    def search(self, queries, k=10):
        return self.hits.cut(k)


def test_the_first_retriever_counts_four_times_as_much_as_another():
    first, second = Given(0, 1, 2), Given(2, 0, 1)
    found = retrieval.Hybrid([first, second]).search(["a"], 3)
    expected = fusion.standard_scores([first.hits, second.hits], 3, weights=[1, 0.25])
    assert found.indices.tolist() == expected.indices.tolist() and np.array_equal(found.scores, expected.scores)


def test_as_many_are_found_as_are_asked_for_whatever_the_pool():
    found = retrieval.Hybrid([Given(0, 1, 2), Given(0, 1, 2)], pool=1).search(["a"], 3)
    assert found.indices.tolist() == [[0, 1, 2]]


def test_queries_may_come_from_a_generator(model):
    hybrid = retrieval.Hybrid([retrieval.Dense(model, TEXTS), BM25(TEXTS)])
    for retriever in (hybrid, hybrid.retrievers[0]):
        assert retriever.search((text for text in ["old city", "cats"]), 1).indices.tolist() == [[1], [0]]
        with pytest.raises(TypeError, match="queries must be a list of strings, not one string"):
            retriever.search("old city")
