"""Elasticsearch, on a real server. Without one all of this is skipped, and the summary says why."""

import functools
import hashlib
import http.server
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from semsearch_nb import benchmark, evaluation, exact, fusion, settings

elastic = pytest.importorskip("semsearch_nb.elastic", reason="the extra 'elastic' is not installed")
archives = pytest.importorskip("semsearch_nb.elastic.archives")

OWNER = {"basic_auth": ("semsearch", "correct horse")}  # of the server that conftest.py starts
DIMENSION = 64
FIELDS = {"title": "text", "topic": "keyword", "year": "integer", "added": "date"}
WORDS = ["lava", "glacier", "orbit", "whale", "violin", "harvest", "engine", "comet", "ledger", "poem"]


def unit_vectors(n, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


VECTORS, QUERIES = unit_vectors(400), unit_vectors(20, seed=1)


def documents(n=400, start=0):
    for row in range(start, n):
        title = f"{WORDS[row % 10]} {WORDS[row // 10 % 10]}"
        other = {"topic": f"t{row % 4}", "year": 1900 + row % 100, "added": "2024-05-01"}
        yield {"id": f"d{row}", "title": title, **other, "vector": VECTORS[row % len(VECTORS)]}


def create_index(client, name, fields=FIELDS, *, model="minilm", kind="flat", similarity="dot_product", **options):
    """A new index, opened. `options` are those of `open_index`, and `shards` and `replicas`."""
    index_options = {"type": kind} | ({} if kind in ("flat", "hnsw") else {"rescore_vector": {"oversample": 0}})
    vector = {"type": "dense_vector", "dims": DIMENSION, "similarity": similarity, "index_options": index_options}
    properties = {key: {"type": of} for key, of in fields.items()} | {"vector": vector}
    settings = {"number_of_shards": options.pop("shards", 1), "number_of_replicas": options.pop("replicas", 0)}
    mapping = {"dynamic": "strict", "_meta": {"model": model}, "properties": properties}
    client.indices.create(index=name, mappings=mapping, settings=settings)
    return elastic.open_index(client, name, model=model, **options)


@pytest.fixture
def create(elasticsearch):
    """`create_index` under a name of its own; what it made is gone after the test."""
    made, numbers = [], itertools.count()

    def make(**options):
        made.append(f"semsearch-test-{os.getpid()}-{time.time_ns()}-{next(numbers)}")
        return create_index(elasticsearch, made[-1], **options)

    yield make
    elasticsearch.indices.delete(index=made, ignore_unavailable=True)


@pytest.fixture(scope="session")
def filled(elasticsearch):
    """400 documents in a `flat` index that no test changes."""
    name = f"semsearch-test-{os.getpid()}-filled"
    index = create_index(elasticsearch, name)
    elastic.index_documents(index, documents(), progress=False)
    yield index
    elasticsearch.indices.delete(index=name, ignore_unavailable=True)


def send(index, items, **options):
    return elastic.index_documents(index, items, progress=False, **options)


def numbers_of(hits):
    return np.array([[int(name[1:]) for name in row] for row in hits.indices])


@pytest.mark.parametrize("library", ["elasticsearch", "orjson"])
def test_a_missing_library_says_what_brings_it(library):
    script = f"import sys; sys.modules[{library!r}] = None; import semsearch_nb.elastic"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f'needs {library}; install it with: pip install "semsearch-nb[elastic]"' in ended.stderr


# Indexing


def test_every_document_is_found_with_its_data_beside_its_vector(filled):
    assert len(filled) == 400
    (found,) = filled.client.mget(index=filled.name, ids=["d3"])["docs"]
    assert found["_source"] | {"vector": None} == {
        "title": "whale lava", "topic": "t3", "year": 1903, "added": "2024-05-01", "vector": None,
    }  # fmt: skip
    assert np.array_equal(np.array(found["_source"]["vector"], dtype=np.float32), VECTORS[3])


def test_a_document_is_found_after_a_refresh(create):
    index = create(fields={"title": "text"})
    index.client.indices.put_settings(index=index.name, settings={"refresh_interval": "-1"})
    one = {"id": "new", "title": "a new one", "vector": VECTORS[0]}
    send(index, [one], refresh=False)
    assert len(index) == 0 and not index.search(VECTORS[:1], k=1).found.any()
    send(index, [])
    assert len(index) == 1 and index.search(VECTORS[:1], k=1).indices.tolist() == [["new"]]


def test_what_is_refused_is_reported_and_the_others_go_in(create):
    index = create()
    bad = {
        "dimensions": ({"vector": VECTORS[0, :5]}, r"vector must be 64 numbers.*\(5,\)"),
        "nan": ({"vector": np.full(DIMENSION, np.nan)}, "vector has NaN"),
        "zeros": ({"vector": np.zeros(DIMENSION)}, "vector is a vector of zeros"),
        "long": ({"vector": 3 * VECTORS[0]}, "vector has the length 3, and dot_product needs 1"),
        "none": ({"vector": None}, "vector is missing"),
        "words": ({"vector": ["a"] * DIMENSION}, "vector must be 64 numbers"),
        "ragged": ({"vector": [[1.0, 2.0], [3.0]]}, "vector must be 64 numbers: .*inhomogeneous"),
        "huge": ({"vector": np.full(DIMENSION, 1e300)}, "vector has NaN or infinite"),
        "field": ({"vector": VECTORS[0], "colour": "red"}, "introduction of .colour.* is not allowed"),
        "year": ({"vector": VECTORS[0], "year": "long ago"}, "long ago"),
        "date": ({"vector": VECTORS[0], "added": "yesterday"}, "failed to parse date field .yesterday"),
        "object": ({"vector": VECTORS[0], "title": object()}, "cannot be written as JSON"),
        "i" * 600: ({"vector": VECTORS[0]}, "longer than|too long"),
    }
    items = [{"id": key, **document} for key, (document, _) in bad.items()]
    items += [{"id": 7, "vector": VECTORS[0]}, {"id": "", "vector": VECTORS[0]}]
    mixed = (item for pair in itertools.zip_longest(items, documents(20)) for item in pair if item)
    report = send(index, mixed, batch=3)
    assert (report.indexed, len(index)) == (20, 20)
    reasons = dict(report.rejected)
    for key, (_, reason) in bad.items():
        assert re.search(reason, reasons.pop(key)), key
    assert reasons == {7: "id must be a string (or open the index with integer_ids=True), not 7", "": "id is empty"}
    assert str(report) == "20 indexed, 15 rejected"


def test_vectors_of_torch_go_in(create):
    index, rows = create(), torch.from_numpy(VECTORS[:3])
    kinds = [rows[0].clone().requires_grad_(), rows[1].double(), rows[2].clone()]
    assert str(send(index, [{"id": f"d{n}", "vector": vector} for n, vector in enumerate(kinds)])) == "3 indexed"
    assert index.search(VECTORS[:3], k=1).indices.tolist() == [["d0"], ["d1"], ["d2"]]


def test_a_second_run_doubles_nothing(create):
    index = create()
    assert str(send(index, documents(50))) == "50 indexed"
    assert str(send(index, documents(60), resume=True)) == "10 indexed, 50 there already"
    assert str(send(index, documents(60))) == "60 indexed"  # replaced, each by itself
    assert len(index) == 60


def test_documents_without_an_id_get_one_from_what_they_say(create):
    index = create()
    anonymous = [{key: value for key, value in item.items() if key != "id"} for item in documents(9)]
    send(index, anonymous)
    send(index, anonymous[::-1])
    assert len(index) == 9


def test_whole_numbers_as_ids_come_back_as_such(create):
    index = create(fields={}, integer_ids=True)
    report = send(index, ({"id": row, "vector": vector} for row, vector in enumerate(VECTORS)))
    hits, truth = index.search(QUERIES), exact.search(QUERIES, VECTORS)
    assert report.indexed == 400 and hits.indices.dtype == np.int64 and hits.holds == "rows"
    assert index.search(QUERIES, similarity=0.99).indices.tolist() == [[-1] * 10] * 20
    assert np.array_equal(hits.indices, truth.indices)
    assert send(index, [{"id": "text", "vector": VECTORS[0]}]).rejected[0].reason.startswith("id must be a whole")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Between client and server: forwards requests, or misbehaves as `faults` say, one a bulk request."""

    protocol_version = "HTTP/1.1"
    target = ""
    faults = ()

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = next(self.faults, None) if self.path.endswith("_bulk") else None
        if isinstance(fault, int):
            return self.reply(fault, b'{"error": {"type": "test", "reason": "no"}}', "application/json")
        self.close_connection = fault in ("before", "after")
        if fault == "before":
            return None
        kept = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
        request = urllib.request.Request(self.target + self.path, body or None, kept, method=self.command)
        try:
            with urllib.request.urlopen(request) as found:
                status, content, kind = found.status, found.read(), found.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            status, content, kind = error.code, error.read(), error.headers["Content-Type"]
        if fault == "after":  # the server did it, and nobody hears of it
            return None
        return self.reply(status, content, kind or "text/plain")

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

    def reply(self, status, content, kind):
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("X-Elastic-Product", "Elasticsearch")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("resume", [False, True])
def test_lost_connections_and_busy_servers_lose_and_double_nothing(create, elasticsearch_server, monkeypatch, resume):
    monkeypatch.setattr("semsearch_nb.elastic.bulk.MAX_PAUSE_S", 0.1)
    index = create()
    faults = iter(["after", 429, None, 503, "before", "after", 502, 500, None, "after"])
    handler = type("Handler", (Proxy,), {"target": elasticsearch_server.url, "faults": faults})
    with serving(handler) as url, elastic.connect(url, **OWNER) as client:
        seen = elastic.open_index(client.options(max_retries=0), index.name, model="minilm")
        report = send(seen, documents(100), batch=20, resume=resume)
    assert report.indexed + report.already == 100 and not report.rejected
    assert report.already == (60 if resume else 0)  # three parts whose first answer was lost
    assert report.retries == 8
    assert len(index) == 100


def test_a_server_that_stays_busy_ends_in_an_error_that_says_how_far_it_came(create, elasticsearch_server):
    index = create()
    faults = itertools.chain([None], itertools.repeat(429))
    handler = type("Handler", (Proxy,), {"target": elasticsearch_server.url, "faults": faults})
    with serving(handler) as url, elastic.connect(url, **OWNER) as client:
        seen = elastic.open_index(client.options(max_retries=0), index.name, model="minilm")
        with pytest.raises(elastic.IndexingError, match=r"within 0.5 s, after 20 indexed.*resume=True") as caught:
            send(seen, documents(100), batch=20, patience=0.5)
    assert caught.value.report.indexed == 20
    assert str(send(index, documents(100), resume=True)) == "80 indexed, 20 there already"


class Stub:
    """In place of the client: takes one document in two of a bulk request, and the others at the next."""

    def __init__(self):
        self.taken, self.requests = [], []

    def bulk(self, *, index, operations):
        self.requests.append(sum(len(line) + 1 for line in operations))
        items = []
        for position, line in enumerate(operations[::2]):
            status = (201, 429, 201, 503)[position % 4]
            if status == 201:
                self.taken.append(json.loads(line)["index"]["_id"])
            items.append({"index": {"status": status, "error": {"reason": "busy"}}})
        return {"items": items}

    def msearch(self, *, searches):
        """As a server of which a shard does not answer."""
        partial = {"status": 200, "hits": {"hits": []}}
        failed = {"status": 503, "error": {"type": "search_phase", "reason": "a shard is gone", "root_cause": []}}
        heads = searches[::2]
        return {"responses": [partial if head.get("allow_partial_search_results", True) else failed for head in heads]}


@pytest.fixture
def stubbed(monkeypatch):
    index = elastic.ElasticIndex(Stub(), "stub", "minilm")
    index.vector, index.dimension, index.similarity, index.stored_in = "vector", DIMENSION, "cosine", "stub"
    monkeypatch.setattr(elastic.ElasticIndex, "read", lambda self: None)
    monkeypatch.setattr("semsearch_nb.elastic.bulk.time.sleep", lambda seconds: None)
    return index


def test_single_documents_that_a_busy_server_puts_back_are_sent_again(stubbed):
    report = send(stubbed, documents(30), refresh=False, batch=10)
    assert sorted(stubbed.client.taken) == sorted(f"d{row}" for row in range(30))
    assert (report.indexed, report.rejected) == (30, []) and report.retries > 0


def test_a_request_is_no_larger_than_a_server_takes(stubbed, monkeypatch):
    monkeypatch.setattr("semsearch_nb.elastic.bulk.MAX_BYTES", 3_000)
    assert send(stubbed, documents(30), refresh=False).indexed == 30
    assert 2_000 < max(stubbed.client.requests) <= 3_000


# Searching


def test_a_request_brings_k_hits_whatever_its_own_size(stubbed, monkeypatch):
    asked, empty = [], {"status": 200, "hits": {"hits": []}}
    monkeypatch.setattr(stubbed.client, "msearch", lambda searches: asked.extend(searches) or {"responses": [empty]})
    assert stubbed.ask([{"size": 99}], k=3).scores.shape == (1, 3)
    assert asked[1] == {"_source": False, "size": 3}


def test_a_shard_that_does_not_answer_is_an_error_and_not_a_shorter_list(stubbed):
    with pytest.raises(elastic.ElasticError, match="a shard is gone"):
        stubbed.search(QUERIES)


def test_a_flat_index_is_exact_and_scores_are_cosines(filled):
    truth = exact.search(QUERIES, VECTORS)
    hits = filled.search(QUERIES)
    assert np.array_equal(numbers_of(hits), truth.indices) and hits.holds == "ids"
    assert np.allclose(hits.scores, truth.scores, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in elastic.KINDS if kind != "flat"])
def test_every_kind_of_index_finds_what_exact_search_finds(create, kind):
    index = create(kind=kind, similarity="cosine", fields={}, integer_ids=True)
    send(index, ({"id": row, "vector": 2 * vector} for row, vector in enumerate(VECTORS)))
    truth = benchmark.ground_truth(VECTORS, QUERIES)
    coded = kind != "hnsw"
    rescored = {"rescore_vector": {"oversample": 9.0}} if coded else {}
    hits = index.search(QUERIES, num_candidates=400, **rescored)
    assert truth.recall(hits.indices).mean() > (0.85 if kind.startswith("bbq") else 0.98)
    true_scores = np.einsum("qd,qkd->qk", QUERIES, VECTORS[hits.indices])
    assert np.allclose(hits.scores, true_scores, atol=1e-5)
    if coded:  # without re-scoring, estimates
        assert not np.allclose(index.search(QUERIES).scores, true_scores, atol=1e-5)
        always = elastic.open_index(index.client, index.name, model="minilm", integer_ids=True, knn=rescored)
        assert np.array_equal(always.search(QUERIES, num_candidates=400).indices, hits.indices)
    assert index.memory_bytes() == pytest.approx(elastic.vector_bytes(400, DIMENSION, kind), rel=0.8)
    assert index.disk_bytes() > 400 * 4 * DIMENSION


def test_filters_before_and_after(filled):
    both = [{"term": {"topic": "t1"}}, {"range": {"year": {"gte": 1920, "lt": 1930}}}]
    hits = filled.search(QUERIES, filter=both)
    allowed = [row for row in range(400) if row % 4 == 1 and 20 <= row % 100 < 30]
    truth = exact.search(QUERIES, VECTORS[allowed])
    assert np.array_equal(numbers_of(hits), np.array(allowed)[truth.indices])
    nearest = [{"field": "vector", "query_vector": row.tolist(), "k": 10, "num_candidates": 100} for row in QUERIES]
    after = filled.ask([{"knn": knn, "post_filter": {"terms": {"topic": ["t1", "t2"]}}} for knn in nearest])
    first = exact.search(QUERIES, VECTORS).indices
    for row, there, ten in zip(after.indices, after.found, first, strict=True):
        assert row[there].tolist() == [f"d{hit}" for hit in ten if hit % 4 in (1, 2)]
        assert row[~there].tolist() == [None] * (10 - there.sum())


def test_a_filter_or_a_threshold_that_leaves_nothing_is_an_empty_result(filled):
    empty = filled.search(QUERIES, filter={"term": {"topic": "none"}})
    assert empty.indices.shape == (20, 10) and not empty.found.any()
    far = filled.search(QUERIES, similarity=0.99)
    assert not far.found.any()
    near = filled.search(VECTORS[:1], similarity=0.99)
    assert near.indices[0, 0] == "d0" and near.found.sum() == 1
    names = [f"q{row}" for row in range(20)]
    assert evaluation.as_run(empty, names) == {name: [] for name in names}
    assert evaluation.ndcg_at_k(evaluation.as_run(near, ["q"]), {"q": {"d0": 1}}).tolist() == [1.0]


def by_words(*texts):
    return [{"query": {"match": {"title": text}}} for text in texts]


def test_any_request_gives_hits(filled):
    early = {"range": {"year": {"lte": 1950}}}
    asked = [{"query": {"bool": {"must": one["query"], "filter": early}}} for one in by_words("whale violin", "zebra")]
    hits = filled.ask(asked, k=4)
    assert set(hits.indices[0]) <= {f"d{row}" for row in range(400) if row % 100 <= 50}
    titles = {document["id"]: document["title"] for document in documents()}
    assert all({"whale", "violin"} & set(titles[key].split()) for key in hits.indices[0])
    assert hits.found.tolist() == [[True] * 4, [False] * 4]
    assert (np.diff(hits.scores[0]) <= 0).all()


@pytest.mark.parametrize("fuse", [fusion.reciprocal_rank, fusion.standard_scores])
def test_words_and_vectors_can_be_fused(filled, fuse):
    words, near = filled.ask(by_words("whale violin", "zebra"), 50), filled.search(QUERIES[:2], 50)
    hits = fuse([words, near], 5, weights=[0.7, 0.3])
    assert hits.found.all() and hits.holds == "ids"
    assert hits.indices[1].tolist() == near.indices[1, :5].tolist()  # no word of it is there


def test_it_is_measured_as_the_other_indexes_are(create):
    index = create(kind="hnsw", fields={}, integer_ids=True)
    send(index, ({"id": row, "vector": vector} for row, vector in enumerate(VECTORS)))
    truth = benchmark.ground_truth(VECTORS, QUERIES)
    few, many = benchmark.sweep({"hnsw": index}, {"hnsw": [10, 400]}, truth, repeat=1, progress=False)
    assert few.recall <= many.recall == 1.0
    assert many.disk_mb > many.memory_mb > 0


def test_a_new_model_takes_over_without_a_gap(create, elasticsearch):
    old, alias = create(), f"semsearch-test-{os.getpid()}-alias"
    send(old, documents(20))
    elasticsearch.indices.put_alias(index=old.name, name=alias)
    reader = elastic.open_index(elasticsearch, alias, model="minilm")
    new = create(model="e5")
    send(new, documents(30))
    failures, done = [], threading.Event()

    def ask():
        while not done.is_set():
            try:
                if not reader.ask(by_words("lava"), k=1).found.all():
                    failures.append("nothing found")
            except elastic.ElasticError as error:
                failures.append(str(error))
                return

    asking = threading.Thread(target=ask)
    asking.start()
    elasticsearch.indices.update_aliases(
        actions=[{"add": {"index": new.name, "alias": alias}}, {"remove_index": {"index": old.name}}]
    )
    done.wait(0.2)
    done.set()
    asking.join()
    # Its vectors would be compared with those of another model, so the one thing it may meet is being told.
    assert all("holds vectors of the model 'e5'" in failure for failure in failures)
    with pytest.raises(elastic.ElasticError, match=r"holds vectors of the model 'e5' \(64 dim.*not of 'minilm'"):
        reader.search(QUERIES)
    assert len(elastic.open_index(elasticsearch, alias, model="e5")) == 30
    with pytest.raises(elastic.ElasticError, match="no index"):
        send(old, documents(1))


def test_the_field_of_the_vectors_may_have_any_name(elasticsearch):
    name = f"semsearch-test-{os.getpid()}-field"
    vector = {"type": "dense_vector", "dims": DIMENSION, "similarity": "cosine", "index_options": {"type": "flat"}}
    elasticsearch.indices.create(index=name, mappings={"_meta": {"model": "m"}, "properties": {"meaning": vector}})
    index = elastic.open_index(elasticsearch, name, model="m", integer_ids=True)
    assert str(send(index, [{"id": 7, "meaning": 2 * VECTORS[0]}])) == "1 indexed"
    assert index.search(VECTORS[:1], k=1).indices.tolist() == [[7]] and index.kind == "flat"
    elasticsearch.indices.delete(index=name)


# Bad inputs


def with_value(value):
    rows = QUERIES.copy()
    rows[2, 3] = value
    return rows


INDEX_CASES = {
    "dimension": (
        lambda i: i.search(QUERIES[:, :9]),
        ValueError,
        r"queries have 9 dim.*has 64; encode them with 'mini",
    ),
    "NaN": (lambda i: i.search(with_value(np.nan)), ValueError, r"queries has NaN.*row 2"),
    "zeros": (lambda i: i.search(QUERIES * 0), ValueError, r"queries\[0\] is a vector of zeros"),
    "length": (lambda i: i.search(QUERIES * 2), ValueError, r"queries\[0\] has the length 2.*normalise it"),
    "one vector": (lambda i: i.search(QUERIES[0]), ValueError, r"queries must have the shape.*queries\[None, :\]"),
    "texts": (lambda i: i.search(["a"]), TypeError, r"queries must be an array of numbers.*encode"),
    "k = 0": (lambda i: i.search(QUERIES, k=0), ValueError, r"k must be at least 1"),
    "k": (lambda i: i.search(QUERIES, k=20_000), elastic.ElasticError, r"10000|10,000"),
    "candidates": (lambda i: i.search(QUERIES, 50, num_candidates=49), elastic.ElasticError, r"num_candidates"),
    "similarity": (lambda i: i.search(QUERIES, similarity="near"), elastic.ElasticError, r"similarity|near"),
    "no option": (lambda i: i.search(QUERIES, ef=50), elastic.ElasticError, r"unknown field \[ef\]"),
    "bounds": (lambda i: i.search(QUERIES, filter={"range": {"year": {"above": 1}}}), elastic.ElasticError, r"above"),
    "value": (lambda i: i.search(QUERIES, filter={"term": {"year": "long"}}), elastic.ElasticError, r"long"),
    "no request": (lambda i: i.ask([{"query": {"matches": {}}}]), elastic.ElasticError, r"matches"),
    "no dictionary": (lambda i: send(i, ["text"]), TypeError, r"documents\[0\] must be a dictionary, not str"),
    "batch": (lambda i: send(i, [], batch=0), ValueError, r"batch must be at least 1"),
    "effort": (lambda i: i.set_effort(0), ValueError, r"num_candidates must be at least 1"),
    "missing": (
        lambda i: elastic.open_index(i.client, "semsearch-nowhere", model="minilm"),
        elastic.ElasticError,
        r"no index or alias 'semsearch-nowhere'; make it with client.indices.create",
    ),
    "other model": (
        lambda i: elastic.open_index(i.client, i.name, model="e5"),
        elastic.ElasticError,
        r"holds vectors of the model 'minilm' \(64 dimensions\), not of 'e5'",
    ),
}


@pytest.mark.parametrize("name", INDEX_CASES)
def test_bad_input_gets_a_clear_error(filled, name):
    call, error, message = INDEX_CASES[name]
    with pytest.raises(error, match=message):
        call(filled)


MAPPINGS = {
    "no model": ({"_meta": {}}, r'does not say of which model.*"_meta": \{"model": \'minilm\'\}'),
    "no vectors": ({"properties": {"title": {"type": "text"}}}, r"must have one field of the type dense_vector"),
    "distances": ({"similarity": "l2_norm"}, r"compares by l2_norm, and hits are cosines"),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_an_index_that_cannot_be_searched_by_cosine_is_not_opened(name, elasticsearch):
    change, message = MAPPINGS[name]
    vector = {"type": "dense_vector", "dims": 4, "similarity": change.get("similarity", "cosine")}
    mapping = {"_meta": {"model": "minilm"}, "properties": {"vector": vector}}
    stored = f"semsearch-test-{os.getpid()}-mapping"
    elasticsearch.indices.create(index=stored, mappings={key: change.get(key, part) for key, part in mapping.items()})
    try:
        with pytest.raises(elastic.ElasticError, match=message):
            elastic.open_index(elasticsearch, stored, model="minilm")
    finally:
        elasticsearch.indices.delete(index=stored)


def test_memory_by_the_formula_of_the_manual():
    assert elastic.vector_bytes(1_000, 384, "flat") == 1_000 * 384 * 4
    assert elastic.vector_bytes(1_000, 384, "bbq_hnsw", m=8) == 1_000 * (48 + 14 + 32)
    with pytest.raises(ValueError, match=r"kind must be one of flat.*not 'ivf'"):
        elastic.vector_bytes(1, 384, "ivf")


# Connecting

CONNECT_CASES = {
    "no scheme": ({"url": "127.0.0.1:9200"}, ValueError, r"'scheme', 'host', and 'port'"),
    "both": ({"api_key": "k", "basic_auth": ("u", "p")}, ValueError, r"api_key"),
    "ca file": ({"url": "https://host:1", "ca_certs": "/no/such.crt"}, ValueError, r"/no/such.crt"),
    "unreachable": (
        {"url": "http://127.0.0.1:9"},
        elastic.ElasticError,
        r":9 does not answer.*SEMSEARCH.*docker run",
    ),
    "password in it": (
        {"url": "http://me:secret@127.0.0.1:9"},
        elastic.ElasticError,
        r"^(?!.*secret).*does not answer",
    ),
}


@pytest.mark.parametrize("name", CONNECT_CASES)
def test_connecting_to_what_is_not_there_says_what_to_do(name):
    options, error, message = CONNECT_CASES[name]
    with pytest.raises(error, match=message):
        elastic.connect(**options)


def test_refused_credentials_say_what_to_set(elasticsearch_server):
    for options in ({}, {"basic_auth": ("semsearch", "wrong")}, {"api_key": "bm86bm8="}):
        with pytest.raises(elastic.ElasticError, match=r"refuses the credentials.*SEMSEARCH_ELASTICSEARCH_API_KEY"):
            elastic.connect(elasticsearch_server.url, **options)


def test_the_environment_says_where_and_who(elasticsearch_server, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_ELASTICSEARCH_URL", elasticsearch_server.url)
    monkeypatch.setenv("SEMSEARCH_ELASTICSEARCH_USER", "semsearch")
    with pytest.raises(ValueError, match="ELASTICSEARCH_PASSWORD is missing"):
        elastic.connect()
    monkeypatch.setenv("SEMSEARCH_ELASTICSEARCH_PASSWORD", "correct horse")
    with elastic.connect() as client:
        assert client.cluster.health()["status"] == "green"
    with pytest.raises(elastic.ElasticError, match="refuses the credentials"):
        elastic.connect(api_key="bm86bm8=")  # what is given counts, and not the environment


def test_the_readme_has_the_line_for_docker():
    assert elastic.DOCKER in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


class Stranger(http.server.BaseHTTPRequestHandler):
    """A web server that is no Elasticsearch, or one of another major version."""

    status, content, product = 200, b"{}", None

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        if self.product:
            self.send_header("X-Elastic-Product", self.product)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


def test_other_servers_are_named_as_such():
    refused = b'{"error":{"type":"media_type_header_exception","reason":"Invalid media-type value"},"status":400}'
    other_major = type("OtherMajor", (Stranger,), {"status": 400, "content": refused, "product": "Elasticsearch"})
    for handler, message in (
        (Stranger, "is no Elasticsearch of version 8 or 9"),
        (other_major, "another major version"),
    ):
        with serving(handler) as url, pytest.raises(elastic.ElasticError, match=message):
            elastic.connect(url)


# A server of one's own


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A folder on the web, with ranges; the first connection breaks half way, and the next one goes on there."""

    broken = resumed = False

    def do_GET(self):
        content = (
            Path(self.translate_path(self.path)).read_bytes()
            if Path(self.translate_path(self.path)).is_file()
            else None
        )
        if content is None:
            return self.send_error(404)
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        type(self).resumed |= start > 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"1"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = not type(self).broken and len(content) > 1000
        type(self).broken |= breaks
        return self.wfile.write(content[start : start + len(content) // 2 if breaks else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder, where it lies on the web, and who answers there; the cache is empty."""
    monkeypatch.setattr(settings, "_current", settings.Settings(cache_dir=tmp_path / "cache"))
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (Ranges,), {"broken": False})
    with serving(functools.partial(handler, directory=folder)) as url:
        yield folder, url, handler


def test_archives_that_are_none_or_damaged_are_refused(web):
    folder, url, _ = web
    (folder / "es.zip").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"must be a \.zip or \.tar\.gz of Elasticsearch, and es\.zip is neither"):
        elastic.local_server(folder / "es.zip")
    with pytest.raises(ValueError, match=r"archive must be a file or a URL"):
        elastic.local_server(folder / "nothing.zip")
    shutil.make_archive(str(folder / "other"), "gztar", folder)
    with pytest.raises(ValueError, match=r"must hold Elasticsearch"):
        elastic.local_server(folder / "other.tar.gz")
    (folder / "es.zip.sha512").write_text(f"{'0' * 128}  es.zip\n")
    with pytest.raises(elastic.DownloadError, match=r"es\.zip is damaged: its SHA-512.*try again"):
        elastic.local_server(f"{url}/es.zip")
    for options in ({"heap": "lots"}, {"nodes": 0}, {"password": "short"}, {"password": "long enough", "nodes": 3}):
        with pytest.raises(ValueError, match="must"):
            elastic.local_server(folder / "es.zip", **options)


KILLED = """
import os, signal, sys
from semsearch_nb import elastic

def die(server):
    print(server.folder, server._nodes[0].launcher.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)  # as a notebook's kernel may end

elastic.LocalServer._wait = die
elastic.local_server(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_server_ends_with_the_program_that_started_it(elasticsearch_archive):
    ran = subprocess.run([sys.executable, "-c", KILLED, elasticsearch_archive], stdout=subprocess.PIPE, text=True)
    folder, pid = ran.stdout.split()
    assert ran.returncode == -signal.SIGKILL
    psutil.wait_procs([psutil.Process(int(pid))] if psutil.pid_exists(int(pid)) else [], timeout=60)
    deadline = time.monotonic() + 60
    while still := [p.pid for p in psutil.process_iter(["cmdline"]) if folder in " ".join(p.info["cmdline"] or [])]:
        assert time.monotonic() < deadline, still
        time.sleep(0.1)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="looks at processes as Linux and macOS have them")
def test_a_server_is_open_to_this_computer_alone_and_has_no_rights(elasticsearch_server):
    process = elasticsearch_server._nodes[0].server()
    assert process.username() != "root"
    addresses = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in addresses} <= {"127.0.0.1", "::1"} and addresses


# Faults, in short; benchmarks/elastic_faults.py has the long version


def killing(server, number, items, after):
    """The items, and a node killed before item number `after`."""
    for position, item in enumerate(items):
        if position == after:
            server.kill(number)
        yield item


def test_a_node_that_is_killed_and_comes_back_in_mid_bulk_loses_and_doubles_nothing(create, elasticsearch_server):
    index = create()
    with pytest.raises(elastic.IndexingError, match=r"within 1 s, after 1,000 indexed.*resume=True"):
        send(index, killing(elasticsearch_server, 1, documents(2000), after=1100), batch=100, patience=1)
    with pytest.raises(elastic.NoAnswerError, match="stopped answering"):
        index.search(QUERIES)
    returning = threading.Thread(target=elasticsearch_server.restart)
    returning.start()
    try:
        report = send(index, documents(2000), batch=100, resume=True, patience=300)
    finally:
        returning.join()  # other tests need the server
    assert report.retries and report.already >= 1000 and not report.rejected
    assert (report.indexed + report.already, len(index)) == (2000, 2000)


def shared_from(folder, archive):
    """The archive and its checksum, for the web."""
    (folder / archive.name).symlink_to(archive)
    checksum = hashlib.sha512(archive.read_bytes()).hexdigest()
    (folder / f"{archive.name}.sha512").write_text(f"{checksum}  {archive.name}\n")


def test_a_download_that_breaks_half_way_is_resumed_and_unpacked(web, elasticsearch_archive):
    folder, url, handler = web
    shared_from(folder, elasticsearch_archive)
    home = archives.unpacked(f"{url}/{elasticsearch_archive.name}")
    assert handler.resumed
    assert (home / "bin" / "elasticsearch").is_file()


@pytest.mark.slow  # notebook 06 kills one of three nodes too
def test_a_cluster_from_the_web_goes_on_without_the_node_that_was_killed(web, elasticsearch_archive):
    folder, url, _ = web
    shared_from(folder, elasticsearch_archive)
    server = elastic.local_server(f"{url}/{elasticsearch_archive.name}", nodes=3, heap="256m")
    with server, server.connect() as client:
        index = create_index(client, "faults", kind="hnsw", shards=3, replicas=1)
        client.cluster.health(index="faults", wait_for_status="green", timeout="60s")
        report = send(index, killing(server, 2, documents(2000), after=900), batch=100)
        assert (report.indexed, report.rejected, len(index)) == (2000, [], 2000)
        assert index.search(QUERIES).found.all()
    assert not server.folder.exists()
    with pytest.raises(elastic.ElasticError, match="does not answer"):
        server.connect()
