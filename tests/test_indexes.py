"""One suite over every index: what the protocol promises, whatever the library."""

import functools
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semsearch_nb import evaluation, exact, indexes, threads
from semsearch_nb.indexes import base, exact_index

MAKE = {
    "exact": indexes.Exact,
    "flat": indexes.FaissFlat,
    "annoy": lambda: indexes.Annoy(20),
    "ivf": indexes.FaissIVF,
    "ivf-pq": lambda: indexes.FaissIVF(code_bytes=8),
    "hnsw": indexes.FaissHNSW,
    "hnsw-int8": lambda: indexes.FaissHNSW("int8"),
    "hnsw-int4": lambda: indexes.FaissHNSW("int4"),
    "binary": indexes.FaissBinary,
    "hnswlib": indexes.Hnswlib,
    "rabitq": lambda: indexes.RaBitQ(4),
    "re-scored binary": lambda: indexes.Rescored(indexes.FaissBinary(), 200),
    "re-scored ivf-pq": lambda: indexes.Rescored(indexes.FaissIVF(code_bytes=8), 100),
    "re-scored int8": lambda: indexes.Rescored(indexes.FaissHNSW("int8")),
    "re-scored rabitq": lambda: indexes.Rescored(indexes.RaBitQ(), 10),
}
# Whose scores are float32 cosines; the others estimate them from codes.
TRUE_SCORES = {"exact", "flat", "annoy", "ivf", "hnsw", "hnswlib", *(name for name in MAKE if name[:3] == "re-")}
CANNOT_ADD = {"annoy"}
CANNOT_REMOVE = {"annoy", "hnsw", "hnsw-int8", "hnsw-int4", "re-scored int8"}
DIMENSION = 32


def clustered(n, seed=0, dimension=DIMENSION):
    """Vectors around forty centres, of different lengths, as no index here should mind."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, dimension))
    rows = centres[generator.integers(0, 40, n)] + 0.7 * generator.normal(size=(n, dimension))
    return (rows * generator.uniform(0.1, 10, (n, 1))).astype(np.float32)


VECTORS, QUERIES = clustered(1_000), clustered(40, seed=1)
TRUTH = exact.search(QUERIES, VECTORS, 10)


@pytest.fixture(params=MAKE)
def name(request):
    try:
        MAKE[request.param]()
    except ImportError as error:  # a library that this Python or this computer has not
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def index(name):
    return with_strings.__wrapped__(name)


@functools.cache
def with_strings(name):
    return MAKE[name]().build(VECTORS, [f"d{i}" for i in range(len(VECTORS))], model="a model")


def cosines(queries, rows):
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, rows)]
    return unit[0] @ unit[1].T


def test_finds_neighbours_and_answers_with_cosines_and_ids(name, index):
    hits = index.search(QUERIES, 10)
    assert hits.scores.shape == hits.indices.shape == (len(QUERIES), 10)
    assert hits.scores.dtype == np.float32
    assert (np.diff(hits.scores, axis=1) <= 1e-6).all()
    rows = np.array([[int(value[1:]) for value in row] for row in hits.indices])
    assert all(len(set(row)) == 10 for row in rows.tolist())
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), TRUTH.indices.tolist(), strict=True)])
    least = {"ivf-pq": 0.25, "binary": 0.2, "hnsw-int4": 0.6, "re-scored rabitq": 0.6}.get(name, 0.85)
    assert recall >= least
    true = np.take_along_axis(cosines(QUERIES, VECTORS), rows, axis=1)
    error = np.abs(hits.scores - true)
    assert error.max() < 2e-5 if name in TRUE_SCORES else error.mean() < 0.25


def test_ids_are_row_numbers_unless_given(name):
    index = MAKE[name]().build(VECTORS)
    hits = index.search(VECTORS[:50], 3)
    assert hits.indices.dtype == np.int64
    if name in TRUE_SCORES:
        assert (hits.indices[:, 0] == np.arange(50)).mean() > 0.95
    own = MAKE[name]().build(VECTORS, np.arange(1_000)[::-1] * 7 - 3)
    with threads.limit(1):
        assert set(own.search(VECTORS[:5], 3).indices.ravel()) <= set((np.arange(1_000) * 7 - 3).tolist())


def test_hits_with_strings_become_a_run(index):
    run = evaluation.as_run(index.search(QUERIES[:2], 3), ["a", "b"])
    assert list(run) == ["a", "b"] and all(value.startswith("d") for value in run["a"])


def test_k_beyond_the_vectors_is_clamped_and_rows_are_full(name):
    index = MAKE[name]().build(VECTORS[:300])
    if index.effort_name:
        index.set_effort(1)
    for k in (1, 5, 300, 5_000):
        hits = index.search(VECTORS[297:300], k)  # -1, an empty place, would be the last of them
        assert hits.indices.shape == (3, min(k, 300))
        assert hits.indices.min() >= 0 and np.isfinite(hits.scores).all()
        assert all(len(set(row)) == min(k, 300) for row in hits.indices.tolist())


def test_duplicates_do_not_leave_rows_short(name):
    rows = np.repeat(clustered(4), 100, axis=0)
    if name == "rabitq":
        with pytest.raises(NotImplementedError, match="wrap it in Rescored"):
            MAKE[name]().build(rows).search(rows[::100], 150)
        return
    hits = MAKE[name]().build(rows).search(rows[::100], 150)
    assert hits.indices.shape == (4, 150) and hits.indices.min() >= 0


def test_more_effort_finds_more(name, index):
    if index.effort_name is None:
        with pytest.raises(NotImplementedError, match="looks at every vector"):
            index.set_effort(5)
        return
    recalls = []
    for effort in (1, 1_000):
        index.set_effort(effort)
        assert index.effort == effort
        found = index.search(QUERIES, 10).indices
        recalls.append(np.mean([len({f"d{i}" for i in a} & set(b)) for a, b in zip(TRUTH.indices, found, strict=True)]))
    assert recalls[0] < recalls[1], "the effort reaches the library"


def test_save_and_load_keep_everything(name, index, tmp_path):
    if index.effort_name:
        index.set_effort(77)
    before = index.search(QUERIES, 10)
    assert index.save(tmp_path / "index") == tmp_path / "index"
    for options in ({}, {"mmap": True}, {"model": "a model"}, {"verify": False}):
        again = indexes.load(tmp_path / "index", **options)
        assert type(again) is type(index) and again.parameters == index.parameters and again.model == "a model"
        assert len(again) == len(index) and (again.ids == index.ids).all()
        after = again.search(QUERIES, 10)
        assert (after.indices == before.indices).all()
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)
    again.save(tmp_path / "index")  # over the files it may be mapped from
    again.save(tmp_path / "another")
    assert (indexes.load(tmp_path / "another").search(QUERIES, 10).indices == before.indices).all()
    about = json.loads((tmp_path / "index" / "manifest.json").read_text(encoding="utf-8"))
    assert about["count"] == 1_000 and about["dimension"] == DIMENSION and about["metric"] == "cosine"


def test_add_and_remove(name, index):
    new = clustered(3, seed=5)
    if name in CANNOT_ADD:
        with pytest.raises(NotImplementedError, match="rebuild=True"):
            index.add(new, ["x", "y", "z"])
    index.add(new, ["x", "y", "z"], rebuild=name in CANNOT_ADD)
    assert len(index) == 1_003
    if name in TRUE_SCORES:
        assert index.search(new, 1).indices.ravel().tolist() == ["x", "y", "z"]
    gone = ["y", "d0", "d999"]
    if name in CANNOT_REMOVE:
        with pytest.raises(NotImplementedError, match="rebuild=True"):
            index.remove(gone)
        assert len(index) == 1_003
    index.remove(gone, rebuild=name in CANNOT_REMOVE)
    assert len(index) == 1_000 and set(index.ids) == {"x", "z", *(f"d{i}" for i in range(1, 999))}
    hits = index.search(np.concatenate([new, VECTORS[:1], VECTORS[-1:]]), 1_000)
    assert hits.indices.shape == (5, 1_000)
    assert all(set(row) == set(index.ids) for row in hits.indices.tolist())
    index.add(new[1:2], ["y"], rebuild=name in CANNOT_ADD)  # an id may come back
    if name in TRUE_SCORES:
        assert index.search(new[1:2], 1).indices.tolist() == [["y"]]


def test_changes_survive_saving(name, index, tmp_path):
    index.remove([f"d{i}" for i in range(0, 1_000, 3)], rebuild=name in CANNOT_REMOVE)
    index.add(clustered(5, seed=6), list("abcde"), rebuild=name in CANNOT_ADD)
    before = index.search(QUERIES, 10)
    index.save(tmp_path / "index")
    again = indexes.load(tmp_path / "index")
    assert (again.search(QUERIES, 10).indices == before.indices).all() and len(again) == len(index)
    again.add(clustered(2, seed=7), ["v", "w"], rebuild=name in CANNOT_ADD)
    again.remove(["a", "v"], rebuild=name in CANNOT_REMOVE)
    assert {"w", "b"} <= set(again.ids) and not {"a", "v"} & set(again.ids)


def test_everything_removed_and_begun_again(name):
    index = MAKE[name]().build(VECTORS[:300])
    index.remove(index.ids, rebuild=name in CANNOT_REMOVE)
    assert len(index) == 0 and index.search(QUERIES[:2], 5).indices.shape == (2, 0)
    index.add(VECTORS[300:600], [f"n{i}" for i in range(300)])
    hits = index.search(QUERIES, 300)
    assert len(index) == 300 and all(set(row) == set(index.ids) for row in hits.indices.tolist())


def test_a_rebuilt_index_lets_go_of_what_was_removed():
    index = indexes.Hnswlib().build(VECTORS)
    full = index.memory_bytes()
    index.remove(np.arange(500))
    assert index.memory_bytes() == full, "hnswlib only marks"
    index.remove(np.arange(500, 750), rebuild=True)
    assert index.memory_bytes() < 0.3 * full and len(index) == 250


def test_threads_search_side_by_side(name, index):
    expected = index.search(QUERIES, 10).indices
    found = [None] * 8

    def search(i):
        found[i] = np.concatenate([index.search(QUERIES[j : j + 1], 10).indices for j in range(len(QUERIES))])

    workers = [threading.Thread(target=search, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in found:
        assert (result == expected).mean() > 0.99  # of equal estimates either may come first


SEEDED = {
    "annoy": lambda seed: indexes.Annoy(1, effort=1, seed=seed),
    "ivf": lambda seed: indexes.FaissIVF(effort=1, seed=seed),
    "hnswlib": lambda seed: indexes.Hnswlib(m=2, ef_construction=2, effort=1, seed=seed),
}


@pytest.mark.parametrize("make", SEEDED.values(), ids=SEEDED)
def test_the_seed_reaches_the_library(make):
    with threads.limit(1):
        one, same, other = (make(seed).build(VECTORS).search(QUERIES, 3).indices for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


@pytest.mark.parametrize("make", [indexes.Hnswlib, indexes.FaissHNSW])
def test_more_effort_in_building_a_graph_finds_more(make):
    recalls = []
    for effort in (1, 200):
        with threads.limit(1):
            found = make(m=4, ef_construction=effort, effort=10).build(VECTORS).search(QUERIES, 10).indices
        recalls.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(TRUTH.indices, found, strict=True)]))
    assert recalls[0] < 0.6 < 0.8 < recalls[1]


def test_more_trees_take_more_memory():
    few, many = (indexes.Annoy(n).build(VECTORS).memory_bytes() for n in (4, 40))
    assert few < many / 2


@pytest.mark.parametrize("name", ["ivf", "hnsw", "hnswlib", "re-scored binary"])
def test_the_effort_outlives_a_rebuild_and_a_load(name, tmp_path):
    rows = np.random.default_rng(0).normal(size=(2_000, 32))  # no clusters, so that little effort finds little
    index = MAKE[name]().build(rows)
    index.set_effort(2_000)
    more = np.concatenate([rows, QUERIES[:1]])
    for change, held in (
        (lambda: index.add(QUERIES[:1], rebuild=True), more),
        (lambda: index.remove([2_000], rebuild=True), rows),
    ):
        change()
        truth = exact.search(QUERIES, held, 10).indices
        for same in (index, indexes.load(index.save(tmp_path / "index"))):
            assert np.mean(same.search(QUERIES, 10).indices == truth) > 0.98


@pytest.mark.parametrize("name", sorted(TRUE_SCORES - CANNOT_REMOVE))
def test_vectors_are_known_by_their_ids_after_a_removal(name):
    index = MAKE[name]().build(VECTORS)
    index.remove(np.arange(0, 1_000, 3))
    index.add(clustered(2, seed=5), rebuild=True)
    index.remove([1])  # by its label of now
    if index.effort_name:
        index.set_effort(1_000)
    kept = np.arange(4, 1_000, 3)
    assert 1 not in index.ids and (index.search(VECTORS[kept], 1).indices[:, 0] == kept).all()


def test_one_thread_builds_the_same_again(name):
    with threads.limit(1):
        one, other = (MAKE[name]().build(VECTORS).search(QUERIES, 10).indices for _ in range(2))
    assert (one == other).all()


def test_memory_is_what_the_codes_take():
    rows = clustered(2_000, dimension=64)
    floats = rows.nbytes
    size = {
        name: MAKE[name]().build(rows).memory_bytes() for name in ("flat", "hnsw", "hnsw-int8", "binary", "hnswlib")
    }
    assert floats <= size["flat"] <= 1.1 * floats
    assert 1.4 * floats < size["hnsw"] < 2 * floats and 1.4 * floats < size["hnswlib"] < 2 * floats
    assert size["hnsw-int8"] < size["hnsw"] - 0.7 * floats
    assert size["binary"] < floats / 32 + 17 * 2_000 + 1_000, "a label of 8 bytes, an id of 8 and a flag"


def test_vectors_that_are_mapped_are_not_counted(tmp_path):
    index = indexes.Rescored(indexes.FaissHNSW("int8")).build(VECTORS)
    index.save(tmp_path / "index")
    mapped = indexes.load(tmp_path / "index", mmap=True)
    assert index.memory_bytes() - mapped.memory_bytes() == VECTORS.nbytes


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["flat", "ivf", "hnsw", "hnswlib", "re-scored binary"]),
    n=st.integers(1, 120),
    k=st.integers(1, 130),
    dimension=st.integers(2, 24),
    seed=st.integers(0, 1_000),
)
def test_with_full_effort_every_index_is_exact(kind, n, k, dimension, seed):
    rows, queries = clustered(n, seed, dimension), clustered(3, seed + 1, dimension)
    index = MAKE[kind]().build(rows)
    index.set_effort(1_000) if index.effort_name else None
    truth, hits = exact.search(queries, rows, k), index.search(queries, k)
    np.testing.assert_allclose(hits.scores, truth.scores, atol=2e-5)


# Whose array it is, rows and ids, what a change costs, what is not found


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_what_the_caller_does_to_his_array_changes_no_answer(name, kind):
    array, more = unit(VECTORS), unit(clustered(5, seed=8))
    mine, new = (torch.from_numpy(array), torch.from_numpy(more)) if kind == "torch" else (array, more)
    index = MAKE[name]().build(mine)
    for reused in (array, more):  # what is added goes elsewhere than what was built
        before = index.search(QUERIES, 10)
        reused[:] = reused[::-1].copy()
        after = index.search(QUERIES, 10)
        assert (after.indices == before.indices).all() and (after.scores == before.scores).all()
        index.add(new, rebuild=name in CANNOT_ADD)


def test_what_the_caller_does_to_his_ids_changes_none():
    ids = np.arange(1_000) + 7
    index = indexes.FaissFlat().build(VECTORS, ids)
    ids[:] = 0
    assert index.search(VECTORS[:3], 1).indices.tolist() == [[7], [8], [9]]


def test_a_file_that_is_mapped_read_only_is_not_copied(tmp_path):
    np.save(tmp_path / "vectors.npy", unit(VECTORS))
    for make in (indexes.Exact, lambda: indexes.Rescored(indexes.FaissBinary())):
        in_memory, mapped = (make().build(np.load(tmp_path / "vectors.npy", mmap_mode=mode)) for mode in (None, "r"))
        assert in_memory.memory_bytes() - mapped.memory_bytes() == VECTORS.nbytes
        mapped.add(VECTORS[:1])
        assert len(mapped) == 1_001 and (mapped.search(VECTORS[:1], 2).indices == [[0, 1_000]]).all()


@pytest.mark.parametrize("kind", ["bfloat16", "needs a gradient", "float16", "float64"])
def test_tensors_of_every_kind(name, kind):
    tensor = torch.from_numpy(VECTORS)
    tensor = tensor.clone().requires_grad_() if "grad" in kind else tensor.to(getattr(torch, kind))
    index = MAKE[name]().build(tensor)
    index.add(tensor[:2], rebuild=name in CANNOT_ADD)
    assert len(index) == 1_002 and index.search(tensor[:3], 5).indices.shape == (3, 5)


def test_hits_say_whether_they_hold_rows_or_ids(name, tmp_path):
    rows, ids = MAKE[name]().build(VECTORS), MAKE[name]().build(VECTORS, np.arange(1_000)[::-1])
    for index, holds in ((rows, "rows"), (ids, "ids")):
        index.save(tmp_path / holds)
        for same in (index, indexes.load(tmp_path / holds)):
            assert same.search(QUERIES, 3).holds == holds
    rows.remove(rows.ids, rebuild=name in CANNOT_REMOVE)
    assert rows.search(QUERIES, 3).holds == "rows"


def test_a_row_number_is_not_given_twice(name, tmp_path):
    index = MAKE[name]().build(VECTORS)
    index.remove([0, 999], rebuild=name in CANNOT_REMOVE)
    index.add(VECTORS[-1:], rebuild=name in CANNOT_ADD)
    assert index.search(QUERIES, 3).holds == "rows" and index.ids[-1] == 1_000 and 999 not in index.ids
    if name in TRUE_SCORES:
        assert index.search(VECTORS[-1:], 1).indices == 1_000
    index.add(VECTORS[:1], [5_000], rebuild=name in CANNOT_ADD)
    assert index.search(QUERIES, 3).holds == "ids"
    index.add(VECTORS[:1], [2_000], rebuild=name in CANNOT_ADD)
    for same in (index, indexes.load(index.save(tmp_path / "index"))):
        same.add(VECTORS[:1], rebuild=name in CANNOT_ADD)
        assert same.ids[-1] == 5_001


def allocated(function):
    """The most that NumPy and Python had in use at once while `function` ran, in bytes."""
    gc.collect()
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("ids", [None, "numbers", "strings"])
@pytest.mark.parametrize(
    "make", [indexes.FaissFlat, lambda: indexes.FaissIVF(4), lambda: indexes.Rescored(indexes.FaissFlat())]
)
def test_a_change_costs_no_more_in_a_large_index(make, ids):
    cost = []
    for n in (5_000, 100_000):
        rows = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
        named = {None: None, "numbers": np.arange(n) + 7, "strings": [f"d{i}" for i in range(n)]}[ids]
        index = make().build(rows, named)
        other = [None, None] if ids is None else [[n + 8], [n + 9]] if ids == "numbers" else [["x"], ["y"]]
        gone = [0] if ids is None else [7] if ids == "numbers" else ["d0"]
        index.add(rows[:1], other[0])  # makes room, and the dictionary of the ids
        index.remove(index.ids[1:2])
        cost.append(allocated(lambda: (index.add(rows[:1], other[1]), index.remove(gone))))  # noqa: B023
    assert cost[1] < 2 * cost[0] + 20_000, cost


def test_exact_search_is_settled_after_many_changes_not_at_each(monkeypatch):
    monkeypatch.setattr(exact_index, "CERTIFIED_FROM", 100)
    monkeypatch.setattr(exact_index, "fastest", lambda _device: "int8")
    prepared, prepare = [], exact.prepare
    monkeypatch.setattr(exact, "prepare", lambda rows: prepared.append(len(rows)) or prepare(rows, first_pass="int8"))
    index = indexes.Exact().build(VECTORS)
    for i in range(5):
        index.remove([i])
        index.add(VECTORS[i : i + 1])
    assert index.search(VECTORS[:1], 1).indices == 1_000 and index.search(VECTORS[4:5], 1).indices == 1_004
    assert prepared == [1_000, 1_000] and len(index) == 1_000


def test_exact_search_is_prepared_only_where_that_pays_and_once(monkeypatch, tmp_path):
    prepared, prepare = [], exact.prepare
    monkeypatch.setattr(exact, "prepare", lambda rows: prepared.append(len(rows)) or prepare(rows, first_pass="int8"))
    monkeypatch.setattr(exact_index, "CERTIFIED_FROM", 100)
    monkeypatch.setattr(exact_index, "fastest", lambda _device: None)
    plain = indexes.Exact().build(VECTORS)
    monkeypatch.setattr(exact_index, "fastest", lambda _device: "int8")
    small, large = indexes.Exact().build(VECTORS[:99]), indexes.Exact().build(VECTORS)
    assert prepared == [1_000] and plain.memory_bytes() < large.memory_bytes() and len(small) == 99
    for index in (plain, large):
        index.save(tmp_path / "index")
        for mmap in (True, False):
            again = indexes.load(tmp_path / "index", mmap=mmap)
            assert (again.search(QUERIES, 10).indices == TRUTH.indices).all() and prepared == [1_000]
    assert again.memory_bytes() == again._labels.nbytes + again._ids.nbytes, "its vectors and codes are mapped"
    again.remove([0])
    again.add(VECTORS[:1])
    assert again.search(VECTORS[:1], 1).indices == 1_000
    assert again.memory_bytes() > VECTORS.nbytes + again._corpus.nbytes > 1.2 * VECTORS.nbytes


def test_threads_that_search_after_a_change_settle_it_one_after_the_other(monkeypatch):
    growing = exact_index.Growing
    index = indexes.Exact().build(VECTORS)
    index.remove(np.arange(500))
    monkeypatch.setattr(exact_index, "Growing", lambda array: time.sleep(0.05) or growing(array))

    def search(turn):
        time.sleep(turn / 50)
        return index.search(VECTORS[500:], 1).indices[:, 0]

    with ThreadPoolExecutor(6) as pool:
        assert all((found == np.arange(500, 1_000)).all() for found in pool.map(search, range(6)))


def test_bits_are_made_without_a_second_corpus():
    rows = np.random.default_rng(0).uniform(1, 2, size=(100_000, 64)).astype(np.float32)
    assert allocated(lambda: indexes.FaissBinary().build(rows)) < 0.8 * rows.nbytes
    assert allocated(lambda: indexes.FaissIVF(8, 8).build(rows)) < 0.9 * rows.nbytes


def test_annoy_gives_its_vectors_back_without_lists_of_all():
    index = indexes.Annoy(1).build(clustered(4_000, dimension=64))
    assert allocated(lambda: index._stored(np.arange(4_000))) < 1.2 * 4_000 * 64 * 4


@pytest.mark.parametrize("name", ["ivf", "annoy", "re-scored ivf-pq"])
def test_what_comes_back_short_is_searched_with_more_effort_and_counted(name, monkeypatch):
    index, asked = MAKE[name]().build(VECTORS), []
    index.set_effort(1)
    search = index._search
    monkeypatch.setattr(
        index, "_search", lambda q, k, effort=None: asked.append((len(q), effort)) or search(q, k, effort)
    )
    monkeypatch.setattr(index, "_scan", None)
    hits = index.search(QUERIES, 200)
    assert hits.found.all() and all(len(set(row)) == 200 for row in hits.indices.tolist())
    assert [effort for _n, effort in asked[:3]] == [None, 4, 16] and index.effort == 1
    assert [n for n, _effort in asked] == sorted((n for n, _effort in asked), reverse=True), "only what is short"
    assert index.completed == asked[1][0]
    assert index.build(VECTORS).completed == 0


@pytest.mark.parametrize("name", ["hnsw", "hnswlib"])
def test_a_graph_that_comes_back_short_is_scanned_in_blocks_and_counted(name, monkeypatch):
    monkeypatch.setattr(base, "BLOCK", 100)
    index, read = MAKE[name]().build(VECTORS[:250]), []
    search, stored = index._search, index._stored

    def short(queries, k, effort=None):
        scores, labels = search(queries, k)
        labels[1:, 10:] = -1
        return scores, labels

    monkeypatch.setattr(index, "_search", short)
    monkeypatch.setattr(index, "_stored", lambda labels: read.append(len(labels)) or stored(labels))
    hits = index.search(QUERIES, 200)
    assert (hits.indices[1:] == exact.search(QUERIES, VECTORS[:250], 200).indices[1:]).mean() > 0.99
    assert read == [100, 100, 50] and index.completed == len(QUERIES) - 1
    if name not in CANNOT_REMOVE:
        index.remove(np.arange(0, 250, 2))
        odd = np.arange(1, 250, 2)
        truth = exact.search(QUERIES, VECTORS[odd], 50)
        assert (index.search(QUERIES, 50).indices[1:] == odd[truth.indices[1:]]).mean() > 0.99


def test_memory_is_that_of_the_file():
    for name in ("flat", "ivf", "ivf-pq", "hnsw", "hnsw-int8", "hnsw-int4", "binary"):
        index = MAKE[name]().build(VECTORS)
        written = []
        writer = faiss.PyCallbackIOWriter(lambda part: written.append(len(part)))  # noqa: B023
        getattr(faiss, f"write_index{index._kind}")(index._index, writer)
        del writer
        assert index._bytes() == pytest.approx(sum(written), rel=0.03), name


GOOD_IDS = {
    "keys of a dictionary": ({"a": 1, "b": 2, "c": 3}.keys(), ["a", "b", "c"]),
    "a generator": ((f"d{i}" for i in range(3)), ["d0", "d1", "d2"]),
    "a column": (pd.Series([7, 8, 9], index=[3, 2, 1]), [7, 8, 9]),
    "a nullable column": (pd.Series([7, 8, 9], dtype="Int64"), [7, 8, 9]),
    "a column of strings": (pd.Series(["x", "y", "z"], dtype="string"), ["x", "y", "z"]),
    "small numbers": (np.array([1, 2, 3], dtype=np.uint8), [1, 2, 3]),
    "the ends of 64 bits": ([-(2**63), 0, 2**63 - 1], [-(2**63), 0, 2**63 - 1]),
    "a tensor": (torch.tensor([4, 5, 6]), [4, 5, 6]),
}


@pytest.mark.parametrize("kind", GOOD_IDS)
def test_ids_of_many_kinds(kind):
    given, expected = GOOD_IDS[kind]
    index = indexes.FaissFlat().build(np.eye(3), given)
    hits = index.search(np.eye(3), 1)
    assert hits.indices.ravel().tolist() == index.ids.tolist() == expected and hits.holds == "ids"


def test_there_is_no_number_after_the_last():
    index = indexes.FaissFlat().build(np.eye(2), [1, 2**63 - 1])
    with pytest.raises(ValueError, match="comes after 9223372036854775807; pass ids"):
        index.add(np.eye(2)[:1])
    index.add(np.eye(2)[:1], [5])
    assert index.ids.tolist() == [1, 2**63 - 1, 5] and index.ids.dtype == np.int64


def test_an_emptied_index_can_be_saved(name, tmp_path):
    index = MAKE[name]().build(VECTORS[:300])
    index.remove(index.ids, rebuild=True)
    again = indexes.load(index.save(tmp_path / "index"))
    assert len(again) == 0 and again.search(QUERIES, 3).indices.shape == (len(QUERIES), 0)
    again.add(VECTORS[:300])
    assert len(again) == 300 and again.search(QUERIES, 5).indices.min() >= 300


WITHOUT = """
import importlib, pkgutil, sys

from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in sys.argv[1:] else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context):
        return iter(()) if context.name in sys.argv[1:] else super().find_distributions(context)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import semsearch_nb
for module in pkgutil.walk_packages(semsearch_nb.__path__, "semsearch_nb.", onerror=lambda name: None):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        assert module.name.startswith("semsearch_nb.elastic"), (module.name, error)
assert not {"annoy", "hnswlib", "faiss", "rabitqlib"} & set(sys.modules)
from semsearch_nb import indexes
kinds = {indexes.Annoy: "annoy", indexes.Hnswlib: "hnswlib", indexes.FaissIVF: "faiss-cpu", indexes.RaBitQ: "rabitqlib"}
for make, package in kinds.items():
    try:
        make()
    except ImportError as error:
        assert f"pip install {package}" in str(error) and "semsearch-nb[ann]" in str(error), error
    else:
        raise AssertionError(package)
print(len(indexes.Exact().build([[1.0, 0.0]])))
"""
EXTRAS = [
    "annoy",
    "hnswlib",
    "faiss",
    "rabitqlib",
    "elasticsearch",
    "orjson",
    "openvino",
    "nncf",
    "datasets",
    "accelerate",
]


@pytest.mark.parametrize("missing", [EXTRAS, []], ids=["without extras", "with all"])
def test_every_module_can_be_imported_and_brings_no_library_of_an_index(missing):
    script = WITHOUT if missing else WITHOUT.split("from semsearch_nb import indexes")[0]
    ended = subprocess.run([sys.executable, "-c", script, *missing], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2_000:]


# Files that must not be used, and saves that are cut off

KILLED = """
import os, signal, sys
import numpy as np
from semsearch_nb import indexes, storage

moment, folder = sys.argv[1:]
index = indexes.Hnswlib().build(np.random.default_rng(2).normal(size=(400, 8)).astype("f4"))
kill = lambda *_args, **_options: os.kill(os.getpid(), signal.SIGKILL)
if moment == "while writing":
    storage.checksum = kill
elif moment == "before the manifest":
    os.replace = kill
elif moment == "while tidying up":
    storage.shutil.rmtree = kill
index.save(folder)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    ("moment", "n"), [("while writing", 1_000), ("before the manifest", 1_000), ("while tidying up", 400)]
)
def test_a_killed_save_leaves_the_old_index_or_the_new_one(moment, n, tmp_path):
    folder = tmp_path / "index"
    indexes.Hnswlib().build(VECTORS).save(folder)
    ended = subprocess.run([sys.executable, "-c", KILLED, moment, str(folder)], env=dict(os.environ), check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(indexes.load(folder)) == n
    indexes.Hnswlib().build(VECTORS[:50]).save(folder)  # and the next save tidies up
    assert len(indexes.load(folder)) == 50 and len(list(folder.glob("files-*"))) == 1


def test_a_first_save_that_was_killed_says_so(tmp_path):
    (tmp_path / "index" / f"files-{0:032x}").mkdir(parents=True)
    with pytest.raises(indexes.IndexFileError, match="first save was cut off"):
        indexes.load(tmp_path / "index")
    indexes.FaissFlat().build(VECTORS).save(tmp_path / "index")
    assert len(indexes.load(tmp_path / "index")) == 1_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 0}, "layout is 0"),
        ({"kind": "Tree"}, "no index is called 'Tree'"),
        ({"version": "0.0.1"}, "written by faiss-cpu 0.0.1, and .* is installed.*any_version"),
        ({"metric": "l2"}, "the metric is 'l2'"),
        ({"count": 9}, "the manifest says 9"),
        ({"dimension": 9}, r"\(1000, 32\).*of 9"),
    ],
)
def test_load_refuses_what_does_not_match(change, message, tmp_path):
    manifest = indexes.FaissFlat().build(VECTORS).save(tmp_path / "index") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(indexes.IndexFileError, match=message):
        indexes.load(tmp_path / "index")


def test_load_refuses_damaged_files_another_class_and_another_model(tmp_path):
    folder = indexes.FaissFlat().build(VECTORS, model="minilm").save(tmp_path / "index")
    with pytest.raises(indexes.IndexFileError, match=r"a FaissFlat, not a Hnswlib; load it with FaissFlat.load"):
        indexes.Hnswlib.load(folder)
    with pytest.raises(indexes.IndexFileError, match="of the model 'minilm', not of 'e5'"):
        indexes.load(folder, model="e5")
    with pytest.raises(indexes.IndexFileError, match="of the model None, not of 'e5'"):
        indexes.load(indexes.FaissFlat().build(VECTORS).save(tmp_path / "unnamed"), model="e5")
    (file,) = folder.glob("files-*/index.faiss")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(indexes.IndexFileError, match=r"index.faiss is damaged"):
        indexes.load(folder)
    file.unlink()
    with pytest.raises(indexes.IndexFileError, match=r"index.faiss is missing"):
        indexes.load(folder)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(indexes.IndexFileError, match="cannot be read"):
        indexes.load(folder)


def test_another_version_is_tried_when_asked(tmp_path):
    manifest = indexes.FaissFlat().build(VECTORS).save(tmp_path / "index") / "manifest.json"
    changed = json.loads(manifest.read_text(encoding="utf-8")) | {"version": "0.0.1"}
    manifest.write_text(json.dumps(changed), encoding="utf-8")
    assert len(indexes.load(tmp_path / "index", any_version=True)) == 1_000


def test_save_does_not_touch_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds other files"):
        indexes.FaissFlat().build(VECTORS).save(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        indexes.FaissFlat().build(VECTORS).save(tmp_path / "thesis.txt")


def test_a_mapped_index_of_faiss_is_read_only(tmp_path):
    indexes.FaissIVF().build(VECTORS).save(tmp_path / "index")
    mapped = indexes.load(tmp_path / "index", mmap=True)
    for change in (lambda: mapped.add(VECTORS[:1]), lambda: mapped.remove([0])):
        with pytest.raises(NotImplementedError, match="mmap=False"):
            change()


# Bad input, the same for every index

NAN = np.full((1, DIMENSION), np.nan)
BAD = {
    "vectors of texts": (lambda i: i.build(["text"]), TypeError, "vectors must be an array of numbers"),
    "one vector": (lambda i: i.build(VECTORS[0]), ValueError, r"vectors must have the shape"),
    "no vectors": (lambda i: i.build(VECTORS[:0]), ValueError, "vectors is empty"),
    "NaN": (lambda i: i.build(np.concatenate([VECTORS, NAN])), ValueError, "NaN or infinite.*row 1000"),
    "infinite": (lambda i: i.build(VECTORS.astype("f8") * 1e40), ValueError, "NaN or infinite"),
    "zero vector": (lambda i: i.build(np.zeros((300, 8))), ValueError, "rows of zeros"),
    "too few ids": (lambda i: i.build(VECTORS, [1, 2]), ValueError, "2 entries and vectors has 1000"),
    "equal ids": (lambda i: i.build(VECTORS, [1] * 1_000), ValueError, "1 more than once"),
    "mixed ids": (lambda i: i.build(VECTORS[:2], [1, "b"]), TypeError, "all of one kind; one is 1"),
    "float ids": (lambda i: i.build(VECTORS[:2], [0.5, 1.5]), TypeError, "whole numbers"),
    "bool ids": (lambda i: i.build(VECTORS[:2], [True, False]), TypeError, "one is True"),
    "ids beyond 64 bits": (lambda i: i.build(VECTORS[:2], [1, 2**70]), TypeError, "64 bits"),
    "ids without a sign": (lambda i: i.build(VECTORS[:2], np.array([1, 2**63], np.uint64)), TypeError, "64 bits"),
    "ids with a gap": (
        lambda i: i.build(VECTORS[:3], pd.Series([5, 6, None], dtype="Int64")),
        TypeError,
        "one is <NA>, at position 2",
    ),
    "half a character as id": (lambda i: i.build(VECTORS[:2], ["a", "b\ud83d"]), ValueError, r"ids\[1\] holds half of"),
    "a set of ids": (lambda i: i.build(VECTORS[:2], {"a", "b"}), TypeError, "in the order of the vectors, not {"),
    "one number as ids": (lambda i: i.build(VECTORS[:1], 5), TypeError, r"not 5; for one vector pass \[id\]"),
    "ids in a table": (lambda i: i.build(VECTORS, np.zeros((2, 2), int)), ValueError, "one-dimensional"),
    "one string as ids": (lambda i: i.build(VECTORS[:2], "ab"), TypeError, r"pass \[id\]"),
    "query of texts": (lambda i: i.search(["text"], 3), TypeError, "queries must be an array of numbers"),
    "one query": (lambda i: i.search(QUERIES[0], 3), ValueError, r"pass queries\[None, :\]"),
    "no queries": (lambda i: i.search(QUERIES[:0], 3), ValueError, "queries is empty"),
    "query with NaN": (lambda i: i.search(NAN, 3), ValueError, "queries has NaN"),
    "zero query": (lambda i: i.search(np.zeros((1, DIMENSION)), 3), ValueError, "queries has 1 rows of zeros"),
    "another dimension": (lambda i: i.search(QUERIES[:, :8], 3), ValueError, "8 dimensions and the index has 32"),
    "k of 0": (lambda i: i.search(QUERIES, 0), ValueError, "k must be at least 1"),
    "k of 2.5": (lambda i: i.search(QUERIES, 2.5), TypeError, "k must be a whole number"),
    "add another dimension": (lambda i: i.add(QUERIES[:, :8]), ValueError, "vectors have 8 dimensions"),
    "add a taken id": (lambda i: i.add(QUERIES[:1], ["d3"], rebuild=True), ValueError, "'d3', which the index holds"),
    "add another kind of id": (lambda i: i.add(QUERIES[:1], [3]), TypeError, "ids must be strings"),
    "add without ids": (lambda i: i.add(QUERIES[:1]), ValueError, "ids is missing"),
    "add NaN": (lambda i: i.add(NAN, ["n"]), ValueError, "vectors has NaN"),
    "remove an unknown id": (lambda i: i.remove(["d1", "nobody"]), KeyError, "the first is 'nobody'"),
    "remove an id twice": (lambda i: i.remove(["d1", "d1"]), ValueError, "more than once"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_and_changes_nothing(bad, name):
    call, error, message = BAD[bad]
    index = with_strings(name)  # the same one all along, since nothing changes it
    before = index.search(QUERIES, 5)
    with pytest.raises(error, match=message):
        call(index)
    after = index.search(QUERIES, 5)
    assert len(index) == 1_000 and (after.indices == before.indices).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: indexes.Hnswlib(m=1), ValueError, "m must be at least 2"),
        (lambda: indexes.Hnswlib(ef_construction=0), ValueError, "ef_construction must be at least 1"),
        (lambda: indexes.Hnswlib(effort=0), ValueError, "ef must be at least 1"),
        (lambda: indexes.FaissHNSW("int2"), ValueError, "codes must be"),
        (lambda: indexes.FaissHNSW(m=2.5), TypeError, "m must be a whole number"),
        (lambda: indexes.Annoy(n_trees=0), ValueError, "n_trees must be at least 1"),
        (lambda: indexes.FaissIVF(n_cells=-4), ValueError, "n_cells must be at least 1"),
        (lambda: indexes.FaissIVF(n_cells=2_000).build(VECTORS), ValueError, "n_cells is 2000 and there are 1000"),
        (lambda: indexes.FaissIVF(code_bytes=5).build(VECTORS), ValueError, "must divide the dimension, 32"),
        (lambda: indexes.FaissIVF(code_bytes=8).build(VECTORS[:100]), ValueError, "256 code words"),
        (lambda: indexes.Rescored("Hnswlib"), TypeError, "inner must be an index"),
        (lambda: indexes.Rescored(indexes.FaissBinary(), 0), ValueError, "candidates must be at least 1"),
        (lambda: indexes.Hnswlib().search(QUERIES), RuntimeError, r"call build\(vectors\) first"),
        (lambda: indexes.Hnswlib().save("x"), RuntimeError, r"call build\(vectors\) first"),
        (lambda: indexes.Hnswlib().remove([1]), RuntimeError, r"call build\(vectors\) first"),
        (lambda: indexes.Hnswlib().set_effort("high"), TypeError, "ef must be a whole number"),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
