import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from semsearch_nb import (
    datasets,
    encoding,
    evaluation,
    exact,
    lexical,
    models,
    openvino_engine,
    packaged_reranker,
    reranking,
    retrieval,
    settings,
)
from semsearch_nb.vectors import Hits

QUESTION = "When does the Nile flood?"
TEXTS = [
    "The recipe asks for two eggs and a cup of flour.",
    "Every summer, rains in the Ethiopian highlands made the Nile rise and spread over its valley.",
    "Chess is played on a board of 64 squares.",
]
needs_openvino = pytest.mark.skipif(not openvino_engine.available(), reason="openvino is not installed")


@pytest.fixture(scope="module")
def model():
    return models.load_reranker()


@pytest.fixture(scope="module")
def passages():
    return datasets.load("passages")


def test_the_packaged_reranker_is_small_and_an_ordinary_cross_encoder(model):
    assert isinstance(model, CrossEncoder) and model.num_labels == 1 and model.max_seq_length == 256
    assert packaged_reranker.WEIGHTS.stat().st_size <= 25e6
    assert models.identity(model).name == packaged_reranker.NAME
    assert models.load_reranker() is model


def test_word_embeddings_are_those_of_the_packaged_minilm(model):
    words = models.load("symmetric")[0].auto_model.embeddings.word_embeddings.weight
    assert torch.equal(model[0].auto_model.bert.embeddings.word_embeddings.weight.cpu(), words.cpu())


def test_the_text_that_answers_comes_first(model):
    hits = reranking.rerank(QUESTION, TEXTS, model)
    assert hits.indices.shape == (1, 3) and hits.indices[0, 0] == 1
    assert hits.scores.dtype == np.float32 and (np.diff(hits.scores) <= 0).all()


def test_it_gives_what_cross_encoder_predict_gives(model):
    pairs = [(QUESTION, text) for text in TEXTS]
    expected = model.predict(pairs, activation_fn=torch.nn.Identity())
    found = reranking.score(model, pairs, engine="torch", precision="float32")
    assert np.allclose(found, expected, atol=1e-5)
    probabilities = reranking.rerank(
        QUESTION, TEXTS, model, probabilities=True, engine="torch", precision="float32"
    ).scores
    assert np.allclose(np.sort(probabilities[0]), np.sort(model.predict(pairs)), atol=1e-5)


@needs_openvino
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.99999), ("bfloat16", 0.999), ("int8", 0.99)])
def test_engines_agree(model, passages, precision, least):
    pairs = [
        (query.text, passages.document_texts[number])
        for query in passages.queries[::60]
        for number in range(0, len(passages.documents), 200)
    ]
    one = reranking.score(model, pairs, engine="torch", precision="float32")
    other = reranking.score(model, pairs, engine="openvino", precision=precision)
    assert np.corrcoef(one, other)[0, 1] >= least


def test_it_lifts_questions_that_share_words_with_their_answer_on_topics_kept_out_of_training(model, passages):
    """Every third topic was held out; where no word is shared nothing is won, as notebook 05 shows."""
    texts = passages.document_texts
    asked = passages.with_queries(passages.split()[1].queries[::2])
    found = retrieval.Dense(models.load("symmetric"), texts).search(asked.query_texts, k=10)
    reranked = reranking.rerank(asked.query_texts, found, model, texts=texts)
    both = reranking.Pipeline(lexical.BM25(texts), model, texts).combine(found, reranked)
    row_of = {document: row for row, document in enumerate(passages.document_ids)}
    shared = [
        any(scores[row_of[document]] for document, grade in asked.qrels[query].items() if grade == 2)
        for query, scores in zip(asked.query_ids, lexical.BM25(texts).scores(asked.query_texts), strict=True)
    ]

    def quality(hits):
        run = evaluation.as_run(hits, asked.query_ids, passages.document_ids)
        return evaluation.ndcg_at_k(run, asked.qrels)[shared]

    assert evaluation.paired_bootstrap(quality(both), quality(found)).low > 0


def test_only_the_pool_is_read(model):
    hits = Hits(np.zeros((1, 3), dtype=np.float32), np.array([[0, 2, 1]]))
    assert set(reranking.rerank([QUESTION], hits, model, texts=TEXTS, pool=2).indices[0]) == {0, 2}
    assert reranking.rerank([QUESTION], hits, model, texts=TEXTS, pool=9).indices.shape == (1, 3)


def test_ties_keep_the_order_of_the_candidates(model):
    hits = reranking.rerank(QUESTION, [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[1]], model, batch_size=4)
    assert hits.indices.tolist() == [[1, 3, 0, 2]]


def test_what_is_cut_off_is_said(model):
    with pytest.warns(encoding.TruncationWarning, match=r"1 of 2 texts .* limit of 256 tokens"):
        reranking.score(model, [(QUESTION, TEXTS[0]), (QUESTION, "word " * 400)])


def test_a_pipeline_retrieves_reranks_and_returns_k(model, passages):
    texts = passages.document_texts
    queries = passages.query_texts[:5]
    bm25 = lexical.BM25(texts)
    both = reranking.Pipeline(bm25, model, texts, pool=20)
    hits = both.search(queries, k=5)
    assert hits.scores.shape == hits.indices.shape == (5, 5)
    found = bm25.search(queries, 20)
    assert all(set(row) <= set(pool) for row, pool in zip(hits.indices, found.indices, strict=True))
    alone = reranking.Pipeline(bm25, model, texts, pool=20, weights=(0, 1)).search(queries, k=5)
    assert np.array_equal(alone.indices, reranking.rerank(queries, found, model, texts=texts).indices[:, :5])


EMPTY = Hits(np.full((2, 2), -np.inf, dtype=np.float32), np.full((2, 2), -1))


def test_empty_places_stay_empty(model):
    found = Hits(
        np.array([[0.9, 0.5], [0.8, -np.inf], [-np.inf, -np.inf]], np.float32), np.array([[2, 1], [1, -1], [-1, -1]])
    )
    queries = [QUESTION, QUESTION, "How many squares has a board?"]
    for options in ({}, {"probabilities": True}):
        hits = reranking.rerank(queries, found, model, texts=TEXTS, **options)
        assert hits.indices.tolist() == [[1, 2], [1, -1], [-1, -1]]
        assert hits.found.tolist() == [[True, True], [True, False], [False, False]]
    assert reranking.rerank(queries[:2], EMPTY, model, texts=TEXTS).found.sum() == 0
    nothing = Hits(np.zeros((1, 0), np.float32), np.zeros((1, 0), np.int64))
    assert reranking.rerank([QUESTION], nothing, model, texts=TEXTS).indices.shape == (1, 0)


@dataclasses.dataclass
class Found:
    """A first stage that finds always the same."""

    hits: Hits

    def search(self, queries, k=10):
        return self.hits.cut(k)


def test_a_pipeline_carries_empty_places_and_short_first_stages(model):
    short = Hits(np.array([[0.9, 0.5], [0.8, -np.inf]], np.float32), np.array([[2, 1], [1, -1]]))
    hits = reranking.Pipeline(Found(short), model, TEXTS, pool=3).search([QUESTION] * 2, k=3)
    assert hits.found.tolist() == [[True, True], [True, False]] and hits.indices[1].tolist() == [1, -1]
    assert reranking.Pipeline(Found(EMPTY), model, TEXTS).search([QUESTION] * 2).found.sum() == 0
    nothing = Hits(np.zeros((2, 0), np.float32), np.zeros((2, 0), np.int64))
    assert reranking.Pipeline(Found(nothing), model, TEXTS).search([QUESTION] * 2).indices.shape == (2, 0)


@pytest.mark.parametrize("weights", [(1, 0.7), (0, 1)])
def test_behind_the_pool_comes_the_rest_of_the_first_stage(model, weights):
    texts = [TEXTS[0], TEXTS[1], TEXTS[2], "Bread.", "Salt.", "Wine."]
    order = np.array([[0, 1, 4, 3, 5], [2, 1, 5, -1, -1]])
    first = Hits(np.array([[9, 8, 7, 6, 5], [9, 8, 7, -np.inf, -np.inf]], np.float32), order)
    pipeline = reranking.Pipeline(Found(first), model, texts, pool=2, weights=weights)
    hits = pipeline.search([QUESTION] * 2, k=4)
    assert {*hits.indices[0, :2]} == {0, 1} and hits.indices[0, 2:].tolist() == [4, 3]
    assert hits.indices[1, 2:].tolist() == [5, -1] and hits.found.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert (np.diff(hits.scores[0]) < 0).all() and hits.scores[1, 3] == -np.inf
    assert pipeline.search([QUESTION] * 2, k=1).indices.shape == (2, 1)
    assert pipeline.search([QUESTION] * 2, k=1).indices[0, 0] == hits.indices[0, 0]


@pytest.mark.parametrize("weights", [(1, 0.7), (0, 1)])
@pytest.mark.parametrize("holds", ["rows", "ids"])
def test_one_scoring_serves_for_every_smaller_pool(model, weights, holds):
    texts = dict(enumerate([*TEXTS, "Bread.", "Salt."]))
    order = np.array([[0, 1, 4, 3, 2], [2, 1, 3, -1, -1]])
    if holds == "ids":
        texts = {str(key): text for key, text in texts.items()}
        order = np.array([[str(key) if key >= 0 else None for key in row] for row in order.tolist()], dtype=object)
    found = Hits(np.array([[9, 8, 7, 6, 5], [9, 8, 7, -np.inf, -np.inf]], np.float32), order, holds)
    pipeline = reranking.Pipeline(Found(found), model, texts, weights=weights)
    of_all = reranking.rerank([QUESTION] * 2, found, model, texts=texts)
    for pool in (1, 2, 3, 5, 9):
        expected = pipeline.combine(found, reranking.rerank([QUESTION] * 2, found, model, texts=texts, pool=pool))
        read = pipeline.combine(found, of_all, pool=pool)
        assert read.indices.tolist() == expected.indices.tolist()
        assert np.allclose(read.scores, expected.scores)
    with pytest.raises(ValueError, match="k must be at least 1"):
        pipeline.combine(found, of_all, pool=0)


def test_hits_of_ids_need_texts_by_id(model):
    found = Hits(np.zeros((1, 3), np.float32), np.array([[7, 9, 8]]), "ids")
    by_id = {7: TEXTS[0], 9: TEXTS[1], 8: TEXTS[2]}
    assert reranking.rerank(QUESTION, found, model, texts=by_id).indices[0, 0] == 9
    assert reranking.rerank(QUESTION, found, model, texts=by_id).holds == "ids"
    assert reranking.Pipeline(Found(found), model, by_id, weights=(0, 1)).search([QUESTION]).indices[0, 0] == 9
    with pytest.raises(TypeError, match="candidates hold ids, and texts is a list"):
        reranking.rerank(QUESTION, found, model, texts=["a"] * 10)
    with pytest.raises(ValueError, match="texts has no 8"):
        reranking.rerank(QUESTION, found, model, texts={7: "a", 9: "b"})


def test_a_column_of_a_table_is_read_by_position(model):
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(TEXTS, index=[2, 0, 1])
    found = Hits(np.zeros((1, 3), np.float32), np.array([[0, 1, 2]]))
    assert reranking.rerank(QUESTION, found, model, texts=column).indices[0, 0] == 1
    assert reranking.rerank(QUESTION, column, model).indices[0, 0] == 1
    pipeline = reranking.Pipeline(lexical.BM25(TEXTS), model, (text for text in column), weights=(0, 1))
    for _ in range(2):
        assert pipeline.search(pandas.Series([QUESTION], index=["q"]), k=1).indices[0, 0] == 1


def test_hits_of_torch_are_taken(model):
    found = Hits(torch.zeros((1, 2)), torch.tensor([[0, 1]]))
    assert reranking.rerank(QUESTION, found, model, texts=TEXTS).indices.tolist() == [[1, 0]]


def test_a_pipeline_has_no_probabilities(model):
    with pytest.raises(TypeError, match=r"use rerank\(\.\.\., probabilities=True\)"):
        reranking.Pipeline(lexical.BM25(TEXTS), model, TEXTS).search([QUESTION], probabilities=True)


def test_pairs_are_not_tokenised_again_when_logits_come_from_the_cache(model, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), cache_dir=tmp_path))
    pairs = [(QUESTION, TEXTS[0]), (QUESTION, "word " * 400)]
    options = {"engine": "torch", "precision": "float32"}
    with pytest.warns(encoding.TruncationWarning):
        first = reranking.score(model, pairs, **options)
    monkeypatch.setattr(encoding.tokens, "_lengths", lambda *a: pytest.fail("tokenised again"))
    with pytest.warns(encoding.TruncationWarning, match="1 of 2 texts"):
        assert np.array_equal(reranking.score(model, pairs, **options), first)


def test_pairs_are_counted_in_parts(model, monkeypatch):
    sizes = []
    real = encoding.tokens._lengths
    monkeypatch.setattr(encoding.tokens, "_lengths", lambda of, some: sizes.append(len(some)) or real(of, some))
    monkeypatch.setattr(encoding.tokens, "AT_ONCE", 2)
    whole = reranking.truncation(model, [(QUESTION, text) for text in [*TEXTS, "word " * 400, "a"]])
    assert sizes == [2, 2, 1] and (whole.n_texts, whole.n_truncated) == (5, 1)


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([], ValueError, "pairs .questions. is empty"),
        (["ab"], TypeError, r"pairs\[0\] must be a pair"),
        ([1], TypeError, r"pairs\[0\] must be a pair of question and text, not 1"),
        ([("a", "b"), ("a", "b", "c")], TypeError, r"pairs\[1\] must be a pair"),
        ([("a", "b"), ("a", None)], TypeError, r"pairs .texts.\[1\] must be a string"),
        ([("a\ud83d", "b")], ValueError, r"pairs .questions.\[0\] holds half of a surrogate"),
    ],
)
def test_bad_pairs_are_named(model, pairs, error, message):
    with pytest.raises(error, match=message):
        reranking.score(model, pairs)


def test_dense_and_hybrid_retrievers_take_texts(passages):
    texts = passages.document_texts[:200]
    dense, bm25 = retrieval.Dense(models.load("symmetric"), texts), lexical.BM25(texts)
    queries = passages.query_texts[:4]
    vectors = encoding.encode_queries(models.load("symmetric"), queries)
    expected = exact.search(vectors, encoding.encode_documents(models.load("symmetric"), texts), k=7)
    assert np.array_equal(dense.search(queries, 7).indices, expected.indices)
    hybrid = retrieval.Hybrid([dense, bm25], pool=30).search(queries, 7)
    assert hybrid.indices.shape == (4, 7)
    assert all(len(set(row)) == 7 for row in hybrid.indices.tolist())


@pytest.fixture
def weights(tmp_path):
    return load_file(packaged_reranker.WEIGHTS), tmp_path / "reranker.safetensors"


def test_missing_weights_are_said(tmp_path):
    with pytest.raises(models.PackagedModelError, match="are missing"):
        packaged_reranker.load(weights=tmp_path / "none.safetensors")


def test_damaged_weights_are_refused(weights):
    _, file = weights
    file.write_bytes(packaged_reranker.WEIGHTS.read_bytes()[:1000])
    with pytest.raises(models.PackagedModelError, match="cannot be read"):
        packaged_reranker.load(weights=file)


def test_what_is_no_fault_of_the_weights_is_not_taken_for_one(monkeypatch):
    def full(_file):
        raise MemoryError

    monkeypatch.setattr(packaged_reranker, "load_file", full)
    with pytest.raises(MemoryError):
        packaged_reranker.load()


def test_loading_draws_nothing_from_torchs_random_state():
    torch.rand(1)  # else the state could be what an earlier loading left
    before = torch.get_rng_state()
    packaged_reranker.load()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_model_are_refused(weights):
    tensors, file = weights
    tensors.pop("classifier.bias")
    save_file(tensors, file)
    with pytest.raises(models.PackagedModelError, match="does not hold the weights"):
        packaged_reranker.load(weights=file)


def test_weights_are_written_and_read_back(model, tmp_path):
    packaged_reranker.write(model, tmp_path / "again.safetensors")
    again, _ = packaged_reranker.load(weights=tmp_path / "again.safetensors")
    pairs = [(QUESTION, text) for text in TEXTS]
    assert np.array_equal(again.predict(pairs), packaged_reranker.load()[0].predict(pairs))


def test_a_hub_reranker_that_is_not_there_says_how_to_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(models.roles, "HUB_RERANKER", str(tmp_path / "no-such-model"))
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), models="hub"))
    models.roles._load_other.cache_clear()
    with pytest.raises(OSError, match=r'configure\(models="packaged"\)'):
        models.load_reranker()


def test_the_hub_role_takes_any_cross_encoder(model, monkeypatch, tmp_path):
    model.save_pretrained(str(tmp_path / "hub"))
    monkeypatch.setattr(models.roles, "HUB_RERANKER", str(tmp_path / "hub"))
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), models="hub"))
    models.roles._load_other.cache_clear()
    hub = models.load_reranker()
    assert models.identity(hub).name == str(tmp_path / "hub")
    assert reranking.rerank(QUESTION, TEXTS, hub).indices[0, 0] == 1


FOUND = Hits(np.zeros((1, 2), dtype=np.float32), np.array([[0, 1]]))


@pytest.mark.parametrize(
    ("queries", "candidates", "options", "error", "message"),
    [
        ([], FOUND, {"texts": TEXTS}, ValueError, "queries is empty"),
        ([3], FOUND, {"texts": TEXTS}, TypeError, "must be a string"),
        (QUESTION, [], {}, ValueError, "candidates is empty"),
        (QUESTION, "one text", {}, TypeError, "candidates must be a list of strings"),
        ([QUESTION] * 2, TEXTS, {}, TypeError, "candidates must be Hits"),
        (QUESTION, FOUND, {}, ValueError, "texts is missing"),
        ([QUESTION] * 2, FOUND, {"texts": TEXTS}, ValueError, "answer 1 queries, and queries has 2"),
        (QUESTION, FOUND, {"texts": [TEXTS[0], float("nan")]}, TypeError, r"texts\[1\] must be a string"),
        (QUESTION, FOUND, {"texts": TEXTS[:1]}, ValueError, "rows from 0 to 1 and texts has 1"),
        (QUESTION, FOUND, {"texts": TEXTS, "pool": 0}, ValueError, "pool must be at least 1"),
        (QUESTION, FOUND, {"texts": TEXTS, "batch_size": 0}, ValueError, "batch_size must be at least 1"),
        (QUESTION, FOUND, {"texts": TEXTS, "engine": "jax"}, ValueError, "engine must be one of"),
        (QUESTION, FOUND, {"texts": TEXTS, "precision": "int4"}, ValueError, "precision must be one of"),
        (
            QUESTION,
            Hits(FOUND.scores, np.array([["a", "b"]], dtype=object)),
            {"texts": TEXTS},
            TypeError,
            "candidates hold ids, and texts is a list",
        ),
    ],
)
def test_bad_input_is_named(model, queries, candidates, options, error, message):
    with pytest.raises(error, match=message):
        reranking.rerank(queries, candidates, model, **options)


def test_a_classifier_of_several_labels_is_no_reranker(model, monkeypatch):
    monkeypatch.setattr(type(model), "num_labels", 3)
    with pytest.raises(ValueError, match="has 3 labels"):
        reranking.rerank(QUESTION, TEXTS, model)
