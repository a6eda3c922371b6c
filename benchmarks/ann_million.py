"""A million vectors: recall, latency, memory and build time of graphs and cells, against exact search.

    python benchmarks/ann_million.py                  # 35 minutes and 8 GB on two cores
    python benchmarks/ann_million.py --n 200000       # a fifth of it

Each vector is normalise(w·a + (1 − w)·b) of two WordNet definitions (MiniLM), w uniform in [0.5, 1],
from numpy.random.default_rng(0); the queries are 1,000 words. Indexes are built on all cores and
searched one query at a time on one thread. Those that are re-scored read the float32 vectors from a
memory-mapped file, which is not counted as memory. Writes benchmarks/results/ann_million.{json,md}.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import ann_frontier
import numpy as np
from exact_search import wordnet

from semsearch_nb import benchmark, indexes

Array = np.ndarray[Any, np.dtype[np.float32]]


def mixed(vectors: Array, n: int, file: Path) -> Array:
    """`n` vectors between pairs of the given ones, memory-mapped from `file`."""
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, len(vectors), n), generator.integers(0, len(vectors), n)
    share = generator.uniform(0.5, 1, n).astype(np.float32)[:, None]
    result = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n, vectors.shape[1]))
    for start in range(0, n, 100_000):
        part = slice(start, start + 100_000)
        rows = share[part] * vectors[one[part]] + (1 - share[part]) * vectors[other[part]]
        result[part] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    result.flush()
    mapped: Array = np.load(file, mmap_mode="r")
    return mapped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of indexes")
    parser.add_argument("--output", default="ann_million", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    graph = [20, 40, 80, 160, 320, 640]
    candidates: ann_frontier.Candidates = {
        "hnswlib": (indexes.Hnswlib(), graph),
        "HNSW int8, re-scored": (indexes.Rescored(indexes.FaissHNSW("int8"), candidates=20), graph),
        "HNSW int4, re-scored": (indexes.Rescored(indexes.FaissHNSW("int4"), candidates=40), graph),
        "HNSW int8": (indexes.FaissHNSW("int8"), graph),
        "RaBitQ 1 bit, re-scored": (indexes.Rescored(indexes.RaBitQ(), candidates=60), graph),
        "IVF-PQ 96, re-scored": (
            indexes.Rescored(indexes.FaissIVF(n_cells=4096, code_bytes=96), candidates=100),
            [8, 16, 32, 64],
        ),
        "exact": (indexes.Exact(), []),
    }
    if options.only:
        candidates = {name: candidates[name] for name in options.only}
    with tempfile.TemporaryDirectory() as folder:
        vectors, queries = wordnet("symmetric")
        vectors = mixed(vectors, options.n, Path(folder) / "vectors.npy")
        truth = benchmark.ground_truth(vectors, queries)
        points = ann_frontier.measure(candidates, truth, options.repeat)
    about = f"{options.n:,} vectors of 384 dimensions mixed from WordNet definitions, 1,000 lemma queries, k = 10."
    ann_frontier.write(options.output, "Approximate indexes on a million vectors", points, about)


if __name__ == "__main__":
    main()
