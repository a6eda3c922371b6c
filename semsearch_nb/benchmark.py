"""Fair measurement: the median of several runs with its spread, peak memory, recall against speed.

A shared machine is noisy and the first call pays for what later ones find ready, so a single
reading says little. Taught in notebooks 02 (one call) and 04 (indexes).
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import torch
from tqdm.auto import tqdm

from semsearch_nb import exact
from semsearch_nb.evaluation import Values
from semsearch_nb.foundation import threads
from semsearch_nb.vectors import FloatArray, Hits, as_count, unit_rows

if TYPE_CHECKING:
    from semsearch_nb.elastic import ElasticIndex
    from semsearch_nb.indexes import Index


ONCE = "SEMSEARCH_TIME_ONCE"
"""Set where nobody looks at times, as where notebooks are compared: everything is timed once, without a warm-up."""


class Timing(NamedTuple):
    """Seconds of one call: the median of several runs, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float

    def __str__(self) -> str:
        return f"{1e3 * self.median:.1f} ms ({1e3 * self.fastest:.1f} to {1e3 * self.slowest:.1f})"


def time_call(function: Callable[[], Any], *, repeat: int = 5, warm_up: int = 1) -> Timing:
    """Call `function` `warm_up` + `repeat` times and time the last `repeat` calls, as `time_together` does."""
    return time_together({"it": function}, repeat=repeat, warm_up=warm_up)["it"]


def time_together(
    functions: Mapping[str, Callable[[], Any]], *, repeat: int = 5, warm_up: int = 1
) -> dict[str, Timing]:
    """Time several functions in turn, a b c a b c …, so that a slow moment of the machine hits all.

    Compare the results by ratio: `b.median / a.median`. A call ends when the GPU has done its work too.
    """
    (warm_up, repeat), wait = _runs(warm_up, repeat), _barrier()
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeat):
        for name, function in functions.items():
            wait()
            start = time.perf_counter()
            function()
            wait()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(statistics.median(times), min(times), max(times)) for name, times in seconds.items()}


def _runs(warm_up: int, repeat: int) -> tuple[int, int]:
    """How many runs come before the timed ones, and how many are timed."""
    repeat = as_count(repeat, "repeat")
    return (0, 1) if os.environ.get(ONCE) else (warm_up, repeat)


def _barrier() -> Callable[[], Any]:
    """What waits for the GPU: torch returns before it has computed. Without one there is nothing to wait for."""
    if torch.cuda.is_available():
        return torch.cuda.synchronize
    if torch.backends.mps.is_available():
        return torch.mps.synchronize
    return lambda: None


def peak_memory(function: Callable[[], Any], *, interval: float = 0.001) -> int:
    """How many bytes the process grew at most while `function` ran, as sampled every `interval` s.

    It sees what the operating system gives to the process, so NumPy's and torch's arrays too. What
    was freed before and is reused does not count, so call it on work that is larger than that.
    """
    process = psutil.Process()
    gc.collect()
    before: int = process.memory_info().rss
    peak = before
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(interval):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = function()
    finally:
        done.set()
        watcher.join()
    peak = max(peak, process.memory_info().rss)
    del result
    return peak - before


class Truth(NamedTuple):
    """What an index should find: `kth`, shape `(n_queries,)`, is the cosine of the k-th true neighbour."""

    vectors: FloatArray
    queries: FloatArray
    kth: FloatArray
    k: int

    def recall(self, hits: Any) -> Values:
        """The share of each query's k true neighbours that `hits` hold, shape `(n_queries,)`.

        A hit counts, once, if its float32 cosine, computed here, reaches that of the k-th true neighbour: so
        of two equal vectors either is right, and an index's own estimates play no part (the threshold of
        ann-benchmarks, Aumüller et al. 2018, with a tolerance of 1e-5 for rounding). `hits` are `Hits` or
        row numbers, shape `(n_queries, ≤ k)`; -1 is no hit.

        Raises:
            TypeError, ValueError: ids in place of row numbers, rows that there are not, or another shape.
        """
        if isinstance(hits, Hits) and hits.holds == "ids":
            raise ValueError("hits hold ids, and recall needs row numbers: build the index without ids")
        rows = np.asarray(hits.numpy().indices if isinstance(hits, Hits) else hits)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"hits must be row numbers, not of {rows.dtype}: build the index without ids")
        if rows.ndim != 2 or len(rows) != len(self.queries) or rows.shape[1] > self.k:
            raise ValueError(f"hits must have the shape ({len(self.queries)}, {self.k} or fewer), not {rows.shape}")
        if rows.size and not -1 <= rows.min() <= rows.max() < len(self.vectors):
            raise ValueError(f"hits has rows from {rows.min()} to {rows.max()} and truth has {len(self.vectors)}")
        rows = np.sort(rows, axis=1)
        counts = np.diff(rows, axis=1, prepend=-1) > 0  # neither -1 nor the same row again
        scores = np.stack([self.vectors[row] @ query for row, query in zip(rows, self.queries, strict=True)])
        found: Values = ((scores >= self.kth[:, None] - 1e-5) & counts).sum(axis=1) / self.k
        return found


def ground_truth(vectors: Any, queries: Any, k: int = 10) -> Truth:
    """The true neighbours of `queries` among `vectors` by cosine, from exact search."""
    rows, questions = unit_rows(vectors, "vectors"), unit_rows(queries, "queries")
    kth = exact.search(questions, rows, as_count(k, "k")).scores[:, -1]
    return Truth(rows, questions, kth, min(k, len(rows)))


class Point(NamedTuple):
    """One index with one effort: what it finds, how fast, and what it takes. A row of a tidy table.

    `ms` is the mean milliseconds a query in the median run, `ms_best` and `ms_worst` those of the
    fastest and the slowest run, `ms_p50` and `ms_p99` are over all single queries. `completed` is the share of
    queries for which the library found fewer than k (`Index.search`): their recall and time are not its own.
    """

    name: str
    effort_name: str | None
    effort: int | None
    recall: float
    ms: float
    ms_best: float
    ms_worst: float
    ms_p50: float
    ms_p99: float
    build_s: float
    memory_mb: float
    disk_mb: float
    completed: float = 0.0

    @property
    def queries_per_s(self) -> float:
        """Queries a second in the median run."""
        return 1e3 / self.ms


def sweep(
    indexes: Mapping[str, Index] | Mapping[str, ElasticIndex],
    efforts: Mapping[str, Sequence[int]],
    truth: Truth,
    *,
    repeat: int = 5,
    progress: bool = True,
) -> list[Point]:
    """Measure built indexes at several efforts, by the protocol of ann-benchmarks.

    One query at a time on one thread. Every setting is run once to find its recall and to warm up, then
    `repeat` times in turn with the others. Afterwards the indexes have the effort that they had before.

    Args:
        indexes: built from `truth.vectors`, by the name for the table; an index on a server with row
            numbers as ids.
        efforts: for each name the efforts to try; not needed where an index has none.

    Raises:
        ValueError: an index without efforts to try, efforts for none of the indexes or for one that has
            none, or an index of another number of vectors.
    """
    runs: dict[tuple[str, int | None], list[_Run]] = {
        setting: [] for setting in _settings(indexes, efforts, len(truth.vectors))
    }
    warm_up, repeat = _runs(1, repeat)
    # A server's index calls its effort by its own name.
    before = {
        name: getattr(index, "effort", None) or getattr(index, index.effort_name)
        for name, index in indexes.items()
        if index.effort_name
    }
    try:
        with threads.limit(1), tqdm(total=(warm_up + repeat) * len(runs), disable=not progress) as bar:
            for _ in range(warm_up + repeat):
                for (name, effort), done in runs.items():
                    bar.set_postfix_str(f"{name} {effort or ''}", refresh=False)
                    if effort is not None:
                        indexes[name].set_effort(effort)
                    done.append(_run(indexes[name], truth))
                    bar.update()
    finally:
        for name, effort in before.items():
            indexes[name].set_effort(effort)
    sizes = {name: (index.memory_bytes() / 1e6, _disk_bytes(index) / 1e6) for name, index in indexes.items()}
    points = []
    for (name, effort), done in runs.items():
        ms = [1e3 * run.seconds for run in done[warm_up:]]
        means = [float(one_run.mean()) for one_run in ms]
        p50, p99 = np.percentile(ms, [50, 99])
        points.append(
            Point(
                name=name,
                effort_name=indexes[name].effort_name,
                effort=effort,
                recall=done[0].recall,
                ms=statistics.median(means),
                ms_best=min(means),
                ms_worst=max(means),
                ms_p50=float(p50),
                ms_p99=float(p99),
                build_s=indexes[name].build_seconds,
                memory_mb=sizes[name][0],
                disk_mb=sizes[name][1],
                completed=done[0].completed / len(truth.queries),
            )
        )
    return points


def _settings(indexes: Mapping[str, Any], efforts: Mapping[str, Sequence[int]], n: int) -> list[tuple[str, int | None]]:
    """Each index with each of its efforts, if they fit together; `n` vectors are in every index."""
    if strange := sorted(set(efforts) - set(indexes)):
        raise ValueError(f"efforts has {strange[0]!r}, and indexes are called {', '.join(map(repr, indexes))}")
    settings: list[tuple[str, int | None]] = []
    for name, index in indexes.items():
        tried: list[int | None] = list(dict.fromkeys(efforts.get(name, ())))  # each once
        if len(index) != n:
            raise ValueError(f"the index {name!r} holds {len(index)} vectors and truth has {n}")
        if index.effort_name and not tried:
            raise ValueError(f"efforts has nothing for {name!r}; name some values of its {index.effort_name}")
        if tried and not index.effort_name:
            raise ValueError(f"efforts has values for {name!r}, which looks at every vector; leave it out")
        settings += [(name, effort) for effort in tried or [None]]
    return settings


class _Run(NamedTuple):
    """Every query asked once: the mean recall, the seconds of each, how many were completed."""

    recall: float
    seconds: Values
    completed: int


def _run(index: Any, truth: Truth) -> _Run:
    so_far = getattr(index, "completed", 0)  # servers do not complete
    found, seconds = [], np.empty(len(truth.queries))
    for number in range(len(truth.queries)):
        query = truth.queries[number : number + 1]
        start = time.perf_counter()
        hits = index.search(query, truth.k)
        seconds[number] = time.perf_counter() - start
        found.append(hits.indices[0])
    rows: Any = np.array(found)
    if hits.holds == "ids" and hasattr(index, "ids"):  # an index names its ids in the order of its rows
        row_of = {value: row for row, value in enumerate(index.ids.tolist())}
        rows = np.array([[row_of[value] for value in line] for line in rows.tolist()])
    return _Run(float(truth.recall(rows).mean()), seconds, getattr(index, "completed", 0) - so_far)


def _disk_bytes(index: Index | ElasticIndex) -> int:
    """Bytes of the files that `index.save` writes, or of those that a server has."""
    if not hasattr(index, "save"):
        return index.disk_bytes()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        saved = index.save(Path(folder) / "index")
        return sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both recall and speed (Pareto), by rising recall."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.recall, point.ms)):
        if not best or point.ms < best[-1].ms:
            best.append(point)
    return best[::-1]


class Recommendation(NamedTuple):
    """The setting to take, or None, and why."""

    point: Point | None
    why: str


def recommend(
    points: Sequence[Point], *, min_recall: float = 0.0, max_ms: float = math.inf, max_mb: float = math.inf
) -> Recommendation:
    """The fastest setting within a budget, or a statement that none of those measured meets it.

    Raises:
        ValueError: nothing was measured, or `min_recall` lies outside 0 to 1.
    """
    if not points:
        raise ValueError("points is empty; measure some indexes with sweep first")
    if not 0 <= min_recall <= 1:
        raise ValueError(f"min_recall must lie between 0 and 1, not {min_recall!r}")
    small = [point for point in points if point.memory_mb <= max_mb]
    good = [point for point in small if point.recall >= min_recall]
    fast = [point for point in good if point.ms <= max_ms]
    if fast:
        best = min(fast, key=lambda point: point.ms)
        return Recommendation(best, f"the fastest of {len(fast)} within the budget: {_said(best)}")
    if not small:
        nearest, missed = min(points, key=lambda point: point.memory_mb), f"fits into {max_mb:g} MB"
    elif not good:
        nearest, missed = max(small, key=lambda point: point.recall), f"that fits has recall {min_recall:g}"
    else:
        nearest, missed = min(good, key=lambda point: point.ms), f"with that recall takes {max_ms:g} ms or less"
    return Recommendation(None, f"none {missed}; the nearest is {_said(nearest)}")


def _said(point: Point) -> str:
    setting = f" at {point.effort_name} {point.effort}" if point.effort_name else ""
    helped = f", {point.completed:.0%} of the queries completed" if point.completed else ""
    return f"{point.name}{setting}, recall {point.recall:.3f}, {point.ms:.2f} ms, {point.memory_mb:.0f} MB{helped}"
