import itertools
import time

import faiss
import numpy as np
import pytest
import threadpoolctl
import torch

from semsearch_nb import benchmark, indexes, threads
from semsearch_nb.vectors import Hits


def test_functions_take_turns_after_their_warm_up():
    calls = []
    benchmark.time_together({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeat=2, warm_up=1)
    assert "".join(calls) == "ab" + "abab"


def test_where_nobody_looks_at_times_everything_runs_once(monkeypatch):
    monkeypatch.setenv(benchmark.ONCE, "1")
    calls = []
    benchmark.time_together({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeat=2, warm_up=1)
    assert "".join(calls) == "ab"
    with pytest.raises(ValueError, match="repeat must be"):
        benchmark.time_call(lambda: None, repeat=0)

    rows = np.eye(4, dtype=np.float32)
    index, runs = indexes.FaissFlat().build(rows), []
    monkeypatch.setattr(benchmark, "_run", lambda *given, run=benchmark._run: runs.append(given) or run(*given))
    (point,) = benchmark.sweep(
        {"all": index}, {}, benchmark.ground_truth(rows, rows[:2], k=1), repeat=3, progress=False
    )
    assert len(runs) == 1 and point.recall == 1 and point.ms > 0


def test_median_lies_between_fastest_and_slowest(monkeypatch):
    clock = iter([0, 3, 10, 11, 20, 27])  # calls of 3, 1 and 7 seconds
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    timing = benchmark.time_call(lambda: None, repeat=3)
    assert timing == (3, 1, 7)
    assert str(timing) == "3000.0 ms (1000.0 to 7000.0)"


def test_peak_memory_sees_an_array_that_is_gone_afterwards():
    def work():
        rows = np.ones((50, 1_000_000))
        time.sleep(0.05)
        return float(rows[0, 0])

    assert 350e6 < benchmark.peak_memory(work) < 900e6


def test_an_error_in_the_measured_function_comes_through():
    with pytest.raises(ZeroDivisionError):
        benchmark.peak_memory(lambda: 1 / 0)


# Recall against speed


@pytest.fixture(scope="module")
def measured():
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(2_000, 16)), generator.normal(size=(30, 16))
    truth = benchmark.ground_truth(vectors, queries, 10)
    found = {
        "graph": indexes.Hnswlib(m=4, ef_construction=20).build(vectors),
        "all": indexes.FaissFlat().build(vectors),
    }
    return truth, benchmark.sweep(found, {"graph": [1, 500]}, truth, repeat=3, progress=False)


def test_recall_forgives_ties_and_nothing_else():
    vectors = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1]])
    truth = benchmark.ground_truth(vectors, [[1, 0.01]], 1)
    assert [truth.recall(np.array([[i]]))[0] for i in range(4)] == [1, 1, 0, 0]
    truth = benchmark.ground_truth(vectors, [[1, 0.01], [0, 1]], 2)
    np.testing.assert_allclose(truth.recall(np.array([[0, 2], [3, 2]])), [0.5, 1])
    assert truth.recall(np.array([[0], [3]])).tolist() == [0.5, 0.5], "fewer than k hits are hits missed"
    near = np.array([[1, 0], [np.cos(0.08), np.sin(0.08)], [np.cos(0.002), np.sin(0.002)]])  # 3e-3 and 2e-6 below
    truth = benchmark.ground_truth(near, [[1, 0]], 1)
    assert [truth.recall([[row]])[0] for row in range(3)] == [1, 0, 1]


def test_recall_counts_a_hit_once_and_no_hit_never():
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.01]])
    truth = benchmark.ground_truth(vectors, [[1, 0], [1, 0]], 2)
    assert truth.recall([[0, 0], [3, 0]]).tolist() == [0.5, 1]
    assert truth.recall([[0, -1], [-1, -1]]).tolist() == [0.5, 0], "-1 is not the last row, which is near"
    hits = Hits(np.zeros((2, 2), np.float32), np.array([[0, 3], [3, 0]]))
    assert truth.recall(hits).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("hits", "error", "message"),
    [
        (Hits(np.zeros((2, 1)), np.zeros((2, 1), int), "ids"), ValueError, "hits hold ids"),
        (Hits(np.zeros((2, 1)), np.array([["a"], ["b"]], object)), ValueError, "hits hold ids"),
        (np.array([["a"], ["b"]], object), TypeError, "must be row numbers, not of object"),
        ([[0.0], [1.0]], TypeError, "must be row numbers, not of float64"),
        ([[0]], ValueError, r"shape \(2, 2 or fewer\), not \(1, 1\)"),
        ([[0, 1, 2], [0, 1, 2]], ValueError, r"not \(2, 3\)"),
        ([[0], [4]], ValueError, "rows from 0 to 4 and truth has 3"),
    ],
)
def test_recall_refuses_what_are_no_row_numbers(hits, error, message):
    with pytest.raises(error, match=message):
        benchmark.ground_truth(np.eye(3), np.eye(3)[:2], 2).recall(hits)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_call_ends_when_the_device_has_done_its_work(monkeypatch, device):
    events = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: device == "mps")
    monkeypatch.setattr(getattr(torch, device), "synchronize", lambda: events.append("wait"))
    monkeypatch.setattr(time, "perf_counter", lambda: events.append("clock") or 0.0)
    benchmark.time_call(lambda: events.append("call"), repeat=1, warm_up=0)
    assert events == ["wait", "clock", "call", "wait", "clock"]


def test_a_sweep_leaves_the_indexes_as_they_were(measured):
    truth, _points = measured
    graph = indexes.Hnswlib(effort=200).build(truth.vectors, [f"d{i}" for i in range(2_000)])
    once, _twice = benchmark.sweep({"graph": graph}, {"graph": [300, 1, 300]}, truth, repeat=1, progress=False)
    assert graph.effort == 200 and once.recall > 0.9, "ids of one's own are traced back to rows"
    graph.search = lambda *_given: 1 / 0
    with pytest.raises(ZeroDivisionError):
        benchmark.sweep({"graph": graph}, {"graph": [7]}, truth, repeat=1, progress=False)
    assert graph.effort == 200


def test_a_sweep_says_what_the_library_did_not_find_alone(measured):
    truth, points = measured
    assert {point.completed for point in points} == {0}
    cells = indexes.FaissIVF(400).build(truth.vectors)
    one, all_cells = benchmark.sweep({"cells": cells}, {"cells": [1, 400]}, truth, repeat=1, progress=False)
    assert 1 >= one.completed > 0.5 > all_cells.completed == 0
    assert "of the queries completed" in benchmark.recommend([one]).why


def test_a_sweep_says_what_was_found_and_what_it_took(measured):
    _truth, points = measured
    assert [(point.name, point.effort_name, point.effort) for point in points] == [
        *[("graph", "ef", 1), ("graph", "ef", 500)],
        ("all", None, None),
    ]
    low, high, everything = points
    assert low.recall < 0.9 < high.recall <= everything.recall == 1
    for point in points:
        assert 0 < point.ms_best <= point.ms <= point.ms_worst and point.ms_p50 <= point.ms_p99
        assert point.disk_mb > point.memory_mb > 2_000 * 16 * 4 / 1e6 and point.build_s > 0
        assert point.queries_per_s == pytest.approx(1e3 / point.ms)


def test_the_times_of_a_sweep_are_those_of_its_queries_without_the_warm_up(monkeypatch, measured):
    truth, _points = measured
    index = indexes.FaissFlat().build(truth.vectors)
    ms = np.outer([9, 1, 3, 2], np.arange(1, 31))  # of each run and query; the first run warms up
    seconds = itertools.accumulate(part for one in ms.ravel() for part in (1.0, one / 1e3))
    clock = itertools.chain(seconds, itertools.count(1e6))  # for the lock of the save that follows
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    (point,) = benchmark.sweep({"all": index}, {}, truth, repeat=3, progress=False)
    found = (point.ms, point.ms_best, point.ms_worst, point.ms_p50, point.ms_p99)
    assert found == pytest.approx((31, 15.5, 46.5, *np.percentile(ms[1:], [50, 99])))


def test_a_sweep_asks_one_query_at_a_time_on_one_thread(monkeypatch, measured):
    truth, _points = measured
    index, calls = indexes.FaissFlat().build(truth.vectors), []
    search = index.search

    def spy(queries, k):
        calls.append((len(queries), threads.count()))
        return search(queries, k)

    monkeypatch.setattr(index, "search", spy)
    (point,) = benchmark.sweep({"all": index}, {}, truth, repeat=1, progress=False)
    assert calls == [(1, 1)] * 60 and point.recall == 1


def point(name, recall, ms, mb=1.0):
    return benchmark.Point(name, "ef", 1, recall, ms, ms, ms, ms, ms, 1.0, mb, mb)


POINTS = [point("a", 0.9, 1), point("b", 0.95, 3, mb=50), point("c", 0.92, 4), point("d", 0.5, 0.1), point("e", 0.9, 2)]


def test_the_frontier_is_what_no_other_setting_beats():
    as_fast_as_a = point("f", 0.85, 1)
    assert [best.name for best in benchmark.frontier([*POINTS, as_fast_as_a])] == ["d", "a", "b"]


@pytest.mark.parametrize(
    ("budget", "name", "why"),
    [
        ({"min_recall": 0.9}, "a", "the fastest of 4 within the budget: a at ef 1, recall 0.900, 1.00 ms, 1 MB"),
        ({"min_recall": 0.91, "max_mb": 10}, "c", "the fastest of 1"),
        ({}, "d", "the fastest of 5"),
        ({"min_recall": 0.9, "max_mb": 1, "max_ms": 1}, "a", "the fastest of 1"),
        ({"max_mb": 0.5}, None, "none fits into 0.5 MB; the nearest is a"),
        ({"min_recall": 0.94, "max_mb": 10}, None, "none that fits has recall 0.94; the nearest is c"),
        ({"min_recall": 0.91, "max_ms": 2}, None, "none with that recall takes 2 ms or less; the nearest is b"),
    ],
)
def test_recommend_names_the_fastest_or_says_what_none_meets(budget, name, why):
    found = benchmark.recommend(POINTS, **budget)
    assert (found.point and found.point.name) == name
    assert found.why.startswith(why)


def test_bad_measurements_are_refused(measured):
    truth, _points = measured
    graph = indexes.Hnswlib().build(truth.vectors)
    with pytest.raises(ValueError, match="efforts has nothing for 'graph'; name some values of its ef"):
        benchmark.sweep({"graph": graph}, {}, truth)
    with pytest.raises(ValueError, match="efforts has 'grahp', and indexes are called 'graph'"):
        benchmark.sweep({"graph": graph}, {"graph": [1], "grahp": [2]}, truth)
    with pytest.raises(ValueError, match="efforts has values for 'all', which looks at every vector"):
        benchmark.sweep({"all": indexes.FaissFlat().build(truth.vectors)}, {"all": [2]}, truth)
    with pytest.raises(ValueError, match="holds 5 vectors and truth has 2000"):
        benchmark.sweep({"few": indexes.FaissFlat().build(truth.vectors[:5])}, {}, truth)
    with pytest.raises(ValueError, match="points is empty"):
        benchmark.recommend([])
    with pytest.raises(ValueError, match="min_recall must lie between 0 and 1, not 95"):
        benchmark.recommend(POINTS, min_recall=95)


def test_one_thread_for_all_libraries_and_back():
    before = faiss.omp_get_max_threads(), torch.get_num_threads(), threads.count()
    with threads.limit(1):
        assert threads.count() == faiss.omp_get_max_threads() == torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
        with threads.limit(3):
            assert threads.count() == 3
        assert threads.count() == 1
    assert (faiss.omp_get_max_threads(), torch.get_num_threads(), threads.count()) == before
    with pytest.raises(ValueError, match="n must be at least 1"), threads.limit(0):
        pass
