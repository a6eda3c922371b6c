import time

import numpy as np
import pytest

from semsearch_nb import benchmark


def test_functions_take_turns_after_their_warm_up():
    calls = []
    benchmark.time_together({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeat=2, warm_up=1)
    assert "".join(calls) == "ab" + "abab"


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
