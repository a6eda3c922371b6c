"""Fair measurement of one call: the median of several runs with its spread, and peak memory.

A shared machine is noisy and the first call pays for what later ones find ready, so a single
reading says little. Taught in notebook 02.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psutil

from semsearch_nb.vectors import as_count


class Timing(NamedTuple):
    """Seconds of one call: the median of several runs, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float

    def __str__(self) -> str:
        return f"{1e3 * self.median:.1f} ms ({1e3 * self.fastest:.1f} to {1e3 * self.slowest:.1f})"


def time_call(function: Callable[[], Any], *, repeat: int = 5, warm_up: int = 1) -> Timing:
    """Call `function` `warm_up` + `repeat` times and time the last `repeat` calls."""
    return time_together({"it": function}, repeat=repeat, warm_up=warm_up)["it"]


def time_together(
    functions: Mapping[str, Callable[[], Any]], *, repeat: int = 5, warm_up: int = 1
) -> dict[str, Timing]:
    """Time several functions in turn, a b c a b c …, so that a slow moment of the machine hits all.

    Compare the results by ratio: `b.median / a.median`.
    """
    repeat = as_count(repeat, "repeat")
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeat):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(statistics.median(times), min(times), max(times)) for name, times in seconds.items()}


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
