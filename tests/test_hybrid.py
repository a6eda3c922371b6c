import numpy as np
import pytest

from semsearch_nb import fusion, hybrid, lexical
from semsearch_nb.datasets import Collection, Document, Query
from semsearch_nb.vectors import Hits

TEXTS = [
    "Aqueducts carried water into the towns of the Romans over long distances and many arches",
    "A comet is a lump of ice and dust that comes from far out and warms near the sun",
    "Bread rises because yeast gives off gas in the dough that the baker leaves to rest",
    "Sea water freezes at about minus two degrees because of the salt that it holds",
]


class Fixed:
    """A retriever whose scores are given, a row for each query."""

    def __init__(self, scores):
        self.scores = np.array(scores, dtype=np.float32)

    def search(self, queries, k=10):
        scores = np.tile(self.scores, (len(queries), 1))[:, :]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Hits(np.take_along_axis(scores, order, axis=1), order)


UNSURE = [0.30, 0.25, 0.10, 0.20]
SURE = [0.95, 0.10, 0.10, 0.10]


def adaptive(scores, learned=None):
    return hybrid.Adaptive(Fixed(scores), TEXTS, learned)


def trust(scores, query):
    search = adaptive(scores)
    return search.trust([query], search.dense.search([query], 4), search.words.search([query], 4))[0]


def test_the_share_of_words_found_counts_rare_words_more():
    search = adaptive(UNSURE)
    assert search.found("roman water", 0) == 1.0  # stemmed as BM25 does
    assert search.found("water", 1) == search.found("zebra", 0) == search.found("the", 0) == 0.0
    assert search.found("water", -1) == 0.0
    rare, frequent = search.found("roman water", 0) - search.found("zebra water", 0), search.found("zebra water", 0)
    assert rare > frequent > 0  # an unknown word is the rarest of all


def test_words_are_trusted_where_they_are_found_and_meaning_is_open():
    assert trust(UNSURE, "roman water") == pytest.approx(1)
    assert 0 < trust(UNSURE, "roman zebra") < 1
    assert trust(UNSURE, "zebra") == 0
    assert trust(SURE, "roman water") == 0  # the first hit stands out
    assert [trust([*some[:3], -np.inf], "roman water") for some in (UNSURE, SURE)] == [1, 0]  # an empty place is no hit
    assert trust(UNSURE, TEXTS[0]) == 0  # as long as the texts


def test_without_trust_it_is_dense_search():
    for query in ("zebra", TEXTS[2]):
        assert adaptive(UNSURE).search([query], 4).indices.tolist() == Fixed(UNSURE).search([query], 4).indices.tolist()
    assert adaptive(SURE).search(["bread dough"], 1).indices.tolist() == [[0]]
    small = hybrid.Adaptive(Fixed(UNSURE), TEXTS, pool=1)
    assert small.search(["zebra"], 4).indices.tolist() == [[0, 1, 3, 2]]  # as many as are asked for


def test_trusted_words_move_a_text_up():
    scores = [0.30, 0.10, 0.28, 0.20]
    assert adaptive(scores).search(["bread, yeast, dough, ice"], 1).indices.tolist() == [[2]]
    assert adaptive(scores, Fixed([0, 0, 9, 0])).search(["bread, yeast, dough, ice"], 2).indices[0].tolist()[0] == 2


def test_each_query_has_its_own_trust():
    first, second = Fixed([3, 2, 1, 0]).search(["a", "b"], 4), Fixed([0, 1, 2, 3]).search(["a", "b"], 4)
    fused = hybrid.fuse_each([first, second], [1, 2], np.array([0.0, 1.0]), k=2)
    assert fused.indices.tolist() == [[0, 1], [3, 2]]
    whole = fusion.standard_scores([first, second], 2, weights=[1, 2])
    assert np.allclose(fused.scores[1], whole.scores[1])


@pytest.mark.parametrize("queries", ["one string", [], [1], [None]])
def test_queries_are_a_list_of_texts(queries):
    with pytest.raises((TypeError, ValueError), match="queries"):
        adaptive(UNSURE).search(queries)


@pytest.mark.parametrize(("texts", "pool"), [("text", 10), ([], 10), ([3], 10), (TEXTS, 0), (TEXTS, 1.5)])
def test_bad_input_of_adaptive(texts, pool):
    with pytest.raises((TypeError, ValueError), match=r"texts|pool"):
        hybrid.Adaptive(Fixed(UNSURE), texts, pool=pool)


# ------------------------------------------------------------------------------------ Rocchio

CORPUS = np.eye(3, dtype=np.float32)


def test_rocchio_by_hand():
    query = np.array([[1, 0, 0]], dtype=np.float32)
    moved = hybrid.rocchio(query, CORPUS, [[1, 2]], weight=0.5)
    wanted = np.array([1, 0.25, 0.25]) / np.sqrt(1 + 2 * 0.25**2)
    assert np.allclose(moved, [wanted]) and moved.dtype == np.float32
    assert np.array_equal(query, [[1, 0, 0]])


def test_a_query_without_relevant_documents_stays():
    assert np.allclose(hybrid.rocchio(CORPUS[:1], CORPUS, [[]]), CORPUS[:1])
    assert np.allclose(hybrid.rocchio(CORPUS[:1], CORPUS, [[1]], weight=0), CORPUS[:1])


@pytest.mark.parametrize(
    ("queries", "relevant", "weight", "says"),
    [
        (np.ones(3), [[0]], 0.3, "queries and corpus"),
        (np.ones((1, 4)), [[0]], 0.3, "queries and corpus"),
        (CORPUS, [[0]], 0.3, "relevant has 1 entries and queries has 3"),
        (CORPUS[:1], [[3]], 0.3, r"relevant\[0\] names a row"),
        (CORPUS[:1], [[-1]], 0.3, r"relevant\[0\] names a row"),
        (CORPUS[:1], [[0]], -1, "weight must be"),
        (CORPUS[:1], [[0]], float("nan"), "weight must be"),
    ],
)
def test_bad_input_of_rocchio(queries, relevant, weight, says):
    with pytest.raises(ValueError, match=says):
        hybrid.rocchio(queries, CORPUS, relevant, weight=weight)


# ------------------------------------------------------------------------------------- nested


def two_rankings(n=20):
    """The first ranking is right on even queries, the second on all of them."""
    documents = tuple(Document(str(i), "text") for i in range(4))
    queries = tuple(Query(f"q{i}", "question") for i in range(n))
    collection = Collection("two", documents, queries, {q.id: {"0": 1.0} for q in queries}, "made up")
    right, wrong = [0, 1, 2, 3], [3, 2, 1, 0]
    scores = np.tile(np.array([9.0, 5.0, 4.0, 3.0], dtype=np.float32), (n, 1))
    return [
        Hits(scores, np.array([wrong if i % 2 else right for i in range(n)])),
        Hits(scores, np.array([right] * n)),
    ], collection


def test_nested_chooses_without_the_queries_that_it_measures(monkeypatch):
    rankings, collection = two_rankings()
    asked = []
    real = fusion.learn_weights

    def watched(some, qrels, query_ids, *rest, **options):
        asked.append(set(query_ids))
        assert set(qrels) == set(query_ids) and all(len(hits) == len(query_ids) for hits in some)
        return real(some, qrels, query_ids, *rest, **options)

    monkeypatch.setattr(fusion, "learn_weights", watched)
    result = hybrid.nested(rankings, collection, folds=4, steps=4)
    assert result.ndcg.tolist() == [1.0] * 20
    assert len(result.weights) == 4 and all(second > first for first, second in result.weights)
    left_out = [set(collection.query_ids) - some for some in asked]
    assert set.union(*left_out) == set(collection.query_ids) and sum(map(len, left_out)) == 20


@pytest.mark.parametrize("folds", [0, 1, 21, 2.5])
def test_bad_folds(folds):
    rankings, collection = two_rankings()
    with pytest.raises((TypeError, ValueError), match="folds"):
        hybrid.nested(rankings, collection, folds=folds)


def test_rankings_of_other_queries_are_refused():
    rankings, collection = two_rankings()
    with pytest.raises(ValueError, match="rankings answer 5 queries and the collection has 20"):
        hybrid.nested([hits.take(slice(5)) for hits in rankings], collection)


def test_the_index_of_words_says_its_size():
    small, large = lexical.BM25(TEXTS[:1]), lexical.BM25(TEXTS)
    assert 0 < small.nbytes < large.nbytes
