"""Recall against speed: every index on the 117,791 WordNet definitions, words as queries.

    python benchmarks/ann_frontier.py
    python benchmarks/ann_frontier.py --only hnswlib "RaBitQ 1 bit, re-scored" --output ann_rabitq

One query at a time on one thread, k = 10, indexes built on all cores; median of five runs in turn,
with the fastest and the slowest; "completed" are the queries that the library could not fill alone.
Writes benchmarks/results/ann_frontier.{json,md}, or those of another name.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil
from exact_search import wordnet

from semsearch_nb import benchmark, indexes

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    *("index", "effort", "recall@10", "completed", "queries/s, median run", "slowest to fastest run"),
    *("p50 ms", "p99 ms", "build s", "MB", "MB on disk"),
)
GRAPH = [10, 20, 40, 80, 160, 320]


Candidates = dict[str, tuple[indexes.Index, list[int]]]


def candidates() -> Candidates:
    """Indexes with the efforts to try."""
    cells = [1, 4, 16, 64, 256]
    return {
        "exact": (indexes.Exact(), []),
        "FAISS Flat": (indexes.FaissFlat(), []),
        "Annoy, 50 trees": (indexes.Annoy(50), [1_000, 3_000, 10_000, 30_000, 100_000]),
        "FAISS IVF": (indexes.FaissIVF(1_024), cells),
        "FAISS IVF-PQ 96": (indexes.FaissIVF(1_024, 96), cells),
        "FAISS IVF-PQ 96, re-scored": (indexes.Rescored(indexes.FaissIVF(1_024, 96), candidates=100), cells),
        "FAISS HNSW": (indexes.FaissHNSW(), GRAPH),
        "FAISS HNSW int8": (indexes.FaissHNSW("int8"), GRAPH),
        "FAISS HNSW int8, re-scored": (indexes.Rescored(indexes.FaissHNSW("int8"), candidates=20), GRAPH),
        "FAISS HNSW int4, re-scored": (indexes.Rescored(indexes.FaissHNSW("int4"), candidates=40), GRAPH),
        "FAISS binary, re-scored": (indexes.Rescored(indexes.FaissBinary()), [20, 50, 100, 300, 1_000]),
        "hnswlib": (indexes.Hnswlib(), GRAPH),
        "RaBitQ 6 bits": (indexes.RaBitQ(6), GRAPH),
        "RaBitQ 1 bit, re-scored": (indexes.Rescored(indexes.RaBitQ(), candidates=40), GRAPH),
    }


def measure(tried: Candidates, truth: benchmark.Truth, repeat: int) -> list[benchmark.Point]:
    """Build every index, say what it took, and try its efforts."""
    for name, (index, _efforts) in tried.items():
        index.build(truth.vectors)
        print(f"{name}: built in {index.build_seconds:.1f} s, {index.memory_bytes() / 1e6:.0f} MB", flush=True)
    return benchmark.sweep(
        {name: index for name, (index, _efforts) in tried.items()},
        {name: efforts for name, (_index, efforts) in tried.items()},
        truth,
        repeat=repeat,
    )


def write(name: str, title: str, points: Sequence[benchmark.Point], about: str) -> None:
    """Print the points as a table, and write it into `benchmarks/results` with the figures as JSON."""
    libraries = ", ".join(f"{library} {version(library)}" for library in ("faiss-cpu", "hnswlib", "annoy", "rabitqlib"))
    machine = f"{platform.machine()}, {psutil.cpu_count(logical=False)} cores, Python {platform.python_version()}"
    lines = [
        f"# {title}",
        "",
        f"{about} One query at a time on one thread; built on all cores. {machine}, {libraries}.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for point in points:
        effort = f"{point.effort_name} {point.effort}" if point.effort_name else ""
        lines.append(
            f"| {point.name} | {effort} | {point.recall:.3f} | {point.completed:.1%} | {point.queries_per_s:,.0f} | "
            f"{1e3 / point.ms_worst:,.0f} to {1e3 / point.ms_best:,.0f} | {point.ms_p50:.3f} | {point.ms_p99:.3f} | "
            f"{point.build_s:.0f} | {point.memory_mb:.0f} | {point.disk_mb:.0f} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    rows = [point._asdict() for point in points]
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"about": lines[0], "points": rows}, indent=1) + "\n", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of indexes")
    parser.add_argument("--output", default="ann_frontier", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    vectors, queries = wordnet("symmetric")
    truth = benchmark.ground_truth(vectors, queries)
    tried = candidates()
    points = measure({name: tried[name] for name in options.only or tried}, truth, options.repeat)
    about = f"{len(vectors):,} WordNet definitions, 1,000 lemma queries, k = 10."
    write(options.output, "Approximate indexes on WordNet", points, about)


if __name__ == "__main__":
    main()
