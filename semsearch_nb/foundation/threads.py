"""How many threads search may use: one switch for libraries that each have their own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from threadpoolctl import threadpool_limits

from semsearch_nb.vectors import as_count

_limit: int | None = None


def count() -> int:
    """Threads that a call may use now: those of the innermost `limit`, else one for each core."""
    return _limit or os.cpu_count() or 1


@contextmanager
def limit(n: int) -> Iterator[None]:
    """Inside, every library here uses at most `n` threads: FAISS, torch, NumPy, hnswlib and Annoy.

    Indexes pass `count()` to hnswlib and Annoy at every call, threadpoolctl limits the others. It is meant
    for one measuring thread: do not enter it from two at once.
    """
    global _limit
    n = as_count(n, "n")
    before, of_torch = _limit, torch.get_num_threads()
    _limit = n
    torch.set_num_threads(n)
    with suppress(ImportError):
        importlib.import_module("faiss")  # brings pools of its own, and only those that are loaded are limited
    try:
        with threadpool_limits(n):
            yield
    finally:
        _limit = before
        torch.set_num_threads(of_torch)
