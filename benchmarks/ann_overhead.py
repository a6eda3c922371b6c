"""What an adapter costs: each index against the bare library with the same settings.

    python benchmarks/ann_overhead.py

The 117,791 WordNet definitions, 1,000 words as queries, one query at a time on one thread, k = 10.
Both sides get the same unit vectors; the bare library answers with its own distances. Adapter and
library take turns, query by query, and share one built index, so nothing differs but the code around
it. Ratios are medians over five rounds, with the smallest and the largest.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from exact_search import wordnet

from semsearch_nb import indexes, threads

K = 10
Array = np.ndarray[Any, np.dtype[np.float32]]
Bare = Callable[[Array], Any]


def bare_hnswlib(index: indexes.Hnswlib) -> Bare:
    graph = index._index
    return lambda query: graph.knn_query(query, K, num_threads=1)


def bare_faiss(index: Any) -> Bare:
    faiss_index = index._index
    return lambda query: faiss_index.search(query, K)


def bare_annoy(index: indexes.Annoy) -> Bare:
    forest, search_k = index._index, index.effort
    return lambda query: forest.get_nns_by_vector(query[0], K, search_k, include_distances=True)


def main() -> None:
    vectors, queries = wordnet("symmetric")
    print("| index | effort | bare, µs | adapter, µs | adapter / bare | |")
    print("|---|---|---|---|---|---|")
    tried: list[tuple[Any, Callable[[Any], Bare], list[int]]] = [
        (indexes.Hnswlib().build(vectors), bare_hnswlib, [10, 40, 160]),
        (indexes.FaissHNSW().build(vectors), bare_faiss, [10, 40, 160]),
        (indexes.FaissHNSW("int8").build(vectors), bare_faiss, [10, 40, 160]),
        (indexes.FaissIVF(1_024).build(vectors), bare_faiss, [1, 16, 64]),
        (indexes.FaissFlat().build(vectors), bare_faiss, [0]),
        (indexes.Annoy().build(vectors), bare_annoy, [1_000, 10_000]),
    ]
    with threads.limit(1):
        for index, bare_of, efforts in tried:
            for effort in efforts:
                if index.effort_name:
                    index.set_effort(effort)
                bare = bare_of(index)
                some = queries if index.effort_name else queries[:100]
                rounds = [compare(lambda query, index=index: index.search(query, K), bare, some) for _ in range(6)][1:]
                ratios = [ours / theirs for ours, theirs in rounds]
                ours, theirs = (1e6 * statistics.median(column) for column in zip(*rounds, strict=True))
                name = f"{type(index).__name__} {index.parameters.get('codes', '')}".strip()
                setting = f"{index.effort_name} {effort}" if index.effort_name else ""
                print(
                    f"| {name} | {setting} | {theirs:.1f} | {ours:.1f} "
                    f"| {statistics.median(ratios):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |",
                    flush=True,
                )


def compare(ours: Bare, theirs: Bare, queries: Array) -> tuple[float, float]:
    """Median seconds a query of both, taking turns: each is first for every other query."""
    seconds: dict[Bare, list[float]] = {ours: [], theirs: []}
    for number in range(len(queries)):
        query = queries[number : number + 1]
        for function in (ours, theirs) if number % 2 else (theirs, ours):
            function(query)  # the second call finds the nodes in the processor's cache, on both sides
        for function in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            function(query)
            seconds[function].append(time.perf_counter() - start)
    return statistics.median(seconds[ours]), statistics.median(seconds[theirs])


if __name__ == "__main__":
    main()
