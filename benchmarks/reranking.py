"""What does re-ranking bring, on data that the re-ranker has not seen, and what does it cost?

    SEMSEARCH_DATA_DIR=... python benchmarks/reranking.py             # both, half an hour on two cores
    SEMSEARCH_DATA_DIR=... python benchmarks/reranking.py --only wikiqa --limit 100 --output DIR
    python benchmarks/reranking.py --speed                            # pairs a second alone

Quality: nDCG@10 of first stages, of the cross-encoder alone on the first stage's best 50, and of the
pipeline, which adds both stages' standard scores; with 95 % bootstrap intervals, the differences
to the first stage over the same queries, and the pipeline with other weights. Of the sets that the
re-ranker learned from, only the held-out part is asked and searched (`Collection.split`). Speed:
pairs of about 130 tokens, ways in turns, ratios within a turn. Writes reranking.json and reranking.md into
DIR, without it into benchmarks/results, whose report no part of the sets may replace.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import quality
import torch

from semsearch_nb import datasets, encoding, evaluation, fusion, lexical, models, reranking, retrieval
from semsearch_nb.datasets import Collection
from semsearch_nb.encoding import openvino_engine
from semsearch_nb.evaluation import Interval
from semsearch_nb.vectors import Hits

RESULTS = Path(__file__).parent / "results"
POOL = 50
INT8 = "MiniLM → re-ranked in int8"
WITH_INT8 = ("wikiqa", "passages-natural")
PUBLIC = ("squad", "trec-dl-2019-5k", "wikiqa", "pubmedqa", "medquad", "cranfield", "quora")
OWN = ("passages-natural", "passages-stress", "publications", "questions", "encyclopedia")
WEIGHTS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5)  # of the cross-encoder, where MiniLM counts 1
FIRST = "CrossEncoder.predict, float32"
WAYS = {"torch": ("torch", "auto"), "OpenVINO": ("openvino", "auto"), "OpenVINO, int8": ("openvino", "int8")}


def find_sets(limit: int) -> dict[str, Callable[[], Collection]]:
    """Readers of the sets at hand, held-out parts where the re-ranker learned from the rest."""
    readers = quality.find_sets([])

    def read(name: str) -> Collection:
        collection = readers[name]()
        if name in quality.LEARNED:
            collection = collection.split()[1]
        n_documents = 5_000 if name in PUBLIC and len(collection.documents) > 5_000 else None
        chosen = np.random.default_rng(0).permutation(len(collection.queries))[:limit]
        asked = [collection.queries[i] for i in sorted(chosen)]
        shuffled = replace(
            collection, queries=tuple(asked), qrels={query.id: collection.qrels[query.id] for query in asked}
        )
        return quality.bounded(shuffled, limit, n_documents)

    return {name: partial(read, name) for name in (*PUBLIC, *OWN) if name in readers}


def stages(collection: Collection, with_int8: bool) -> tuple[dict[str, Hits], dict[str, Hits]]:
    """What every stage finds, and what MiniLM and the cross-encoder find together, by the latter's weight."""
    texts, queries = collection.document_texts, collection.query_texts
    minilm, bm25 = retrieval.Dense(models.load("symmetric"), texts), lexical.BM25(texts)
    pool = min(POOL, len(texts))
    found = {
        "BM25": bm25.search(queries, pool),
        "MiniLM": minilm.search(queries, pool),
        "hybrid, by rank": retrieval.Hybrid([minilm, bm25], pool=pool, fuse=fusion.reciprocal_rank).search(
            queries, pool
        ),
        "hybrid": retrieval.Hybrid([minilm, bm25], pool).search(queries, pool),
    }
    rerank = reader(collection, [found["MiniLM"], found["BM25"]])
    pipeline = reranking.Pipeline(bm25, models.load_reranker(), texts)
    for first in ("MiniLM", "hybrid"):
        alone = rerank(found[first])
        found[f"{first} → cross-encoder alone"] = alone
        found[f"{first} → re-ranked"] = pipeline.combine(found[first], alone)
    if with_int8 and openvino_engine.available("int8"):
        alone = reader(collection, [found["MiniLM"]], engine="openvino", precision="int8")(found["MiniLM"])
        found[INT8] = pipeline.combine(found["MiniLM"], alone)
    alone = found["MiniLM → cross-encoder alone"]
    weighted = {
        f"{weight:g}": replace(pipeline, weights=(1, weight)).combine(found["MiniLM"], alone) for weight in WEIGHTS
    }
    return found, weighted


def reader(collection: Collection, pools: Sequence[Hits], **options: Any) -> Callable[[Hits], Hits]:
    """Re-ranks any hits that lie within the pools. Every pair is read once, however many pools hold it."""
    texts = collection.document_texts
    rows = [
        sorted({row for pool in pools for row in pool.indices[query][pool.found[query]].tolist()})
        for query in range(len(collection.query_texts))
    ]
    pairs = [
        (query, texts[row]) for query, of_query in zip(collection.query_texts, rows, strict=True) for row in of_query
    ]
    logits = iter(reranking.score(models.load_reranker(), pairs, progress=False, **options).tolist())
    known = [{row: next(logits) for row in of_query} for of_query in rows]

    def rerank(hits: Hits) -> Hits:
        scores = np.array(
            [
                [k.get(row, -np.inf) for row in of_query]
                for k, of_query in zip(known, hits.indices.tolist(), strict=True)
            ]
        )
        order = np.argsort(-scores, axis=1, kind="stable")
        ordered = [np.take_along_axis(values, order, axis=1) for values in (scores.astype(np.float32), hits.indices)]
        return Hits(*ordered)

    return rerank


def measure(collection: Collection, with_int8: bool) -> dict[str, Any]:
    def ndcg(found: Mapping[str, Hits]) -> dict[str, evaluation.Values]:
        runs = {n: evaluation.as_run(h, collection.query_ids, collection.document_ids) for n, h in found.items()}
        return {name: evaluation.ndcg_at_k(run, collection.qrels) for name, run in runs.items()}

    found, weighted = stages(collection, with_int8)
    values = ndcg(found)
    compared = {
        "cross-encoder alone − MiniLM": ("MiniLM → cross-encoder alone", "MiniLM"),
        "re-ranked − MiniLM": ("MiniLM → re-ranked", "MiniLM"),
        "hybrid − MiniLM": ("hybrid", "MiniLM"),
        "hybrid − BM25": ("hybrid", "BM25"),
        "hybrid, re-ranked − hybrid": ("hybrid → re-ranked", "hybrid"),
        "int8 − default precision": (INT8, "MiniLM → re-ranked"),
    }
    return {
        "queries": len(collection.queries),
        "documents": len(collection.documents),
        "stages": {name: evaluation.bootstrap(row)._asdict() for name, row in values.items()},
        "differences": {
            name: evaluation.paired_bootstrap(values[one], values[other])._asdict()
            for name, (one, other) in compared.items()
            if one in values
        },
        "weights": {name: float(row.mean()) for name, row in ndcg(weighted).items()},
    }


def speed(n_pairs: int, repeat: int) -> dict[str, Any]:
    """Seconds of every way to score the same pairs of about 130 tokens, in turns."""
    collection = datasets.load("passages")
    model = models.load_reranker()
    generator = np.random.default_rng(0)
    texts = [texts for texts in collection.document_texts if 90 <= len(model.tokenizer(texts)["input_ids"]) <= 150]
    pairs = [
        (collection.query_texts[q], texts[d])
        for q, d in zip(
            generator.integers(0, len(collection.queries), n_pairs),
            generator.integers(0, len(texts), n_pairs),
            strict=True,
        )
    ]
    ways: dict[str, Callable[[], Any]] = {FIRST: lambda: model.predict(pairs)}
    for name, (engine, precision) in WAYS.items():
        ways[name] = lambda engine=engine, precision=precision: reranking.score(
            model, pairs, engine=engine, precision=precision, use_cache=False
        )
    for way in ways.values():
        way()  # converts and warms up
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    fifty = [(collection.query_texts[0], text) for text in texts[:POOL]]
    pool_s = [
        _seconds(lambda: reranking.score(model, fifty, engine="openvino", precision="int8", use_cache=False))
        for _ in range(9)
    ]
    tokens = reranking.truncation(model, pairs).n_tokens / n_pairs
    return {"n_pairs": n_pairs, "tokens": tokens, "times": times, "pool_of_50_int8_s": pool_s}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(sets: Mapping[str, Any], what: str, write: Callable[[Any], str]) -> list[str]:
    """A row for each set, a column for each name that any set has."""
    names = list(dict.fromkeys(name for row in sets.values() for name in row[what]))
    lines = ["| set | queries | documents | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    for name, row in sets.items():
        cells = [write(row[what][column]) if column in row[what] else "" for column in names]
        lines.append(f"| {name} | {row['queries']:,} | {row['documents']:,} | " + " | ".join(cells) + " |")
    return lines


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Re-ranking", "", f"`python benchmarks/reranking.py`, {report['machine']}."]
    if report["sets"]:
        lines += ["", "## nDCG@10", "", f"Pool of {POOL}; of sets that the re-ranker learned from, the held-out part."]
        lines += ["", *table(report["sets"], "stages", lambda found: str(Interval(**found)))]
        lines += ["", "## Differences", "", "Bold where the interval excludes zero."]
        lines += ["", *table(report["sets"], "differences", lambda found: quality._signed(Interval(**found)))]
        lines += ["", "## Weights", ""]
        lines += ["nDCG@10 of MiniLM → re-ranked where MiniLM's standard score counts 1, and the cross-encoder's as"]
        lines += [f"much as the column says; `Pipeline` takes {reranking.STAGE_WEIGHTS[1]}."]
        lines += ["", *table(report["sets"], "weights", "{:.3f}".format)]
    if report["speed"]:
        found = report["speed"]
        lines += ["", f"## Pairs a second: {found['n_pairs']} pairs of {found['tokens']:.0f} tokens on average"]
        lines += [
            "",
            f"On {found['machine']}.",
            "",
            "| way | pairs/s (slowest to fastest run) | ratio |",
            "|---|---|---|",
        ]
        for name, own in found["times"].items():
            ratio = statistics.median(a / b for a, b in zip(found["times"][FIRST], own, strict=True))
            middle, low, high = (found["n_pairs"] / f(own) for f in (statistics.median, max, min))
            lines.append(f"| {name} | {middle:.0f} ({low:.0f} to {high:.0f}) | {ratio:.2f} |")
        pool = found["pool_of_50_int8_s"]
        lines += ["", f"A pool of 50 in int8: {statistics.median(pool):.3f} s ({min(pool):.3f} to {max(pool):.3f})."]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of {', '.join(PUBLIC + OWN)}")
    parser.add_argument("--limit", type=int, default=200, help="queries of a set, drawn with a fixed seed")
    parser.add_argument("--speed", action="store_true", help="only pairs a second; the report keeps its nDCG@10")
    parser.add_argument("--quality", action="store_true", help="only nDCG@10; the report keeps its pairs a second")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    if options.only and not options.output:
        parser.error("--only measures a part, which would replace the whole report; name a folder with --output")
    output = options.output or RESULTS
    warnings.simplefilter("ignore", encoding.TruncationWarning)
    machine = (
        f"{psutil.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, " + ", ".join(openvino_engine.versions())
    )
    report: dict[str, Any] = {"machine": machine, "sets": {}, "speed": None}
    file = output / "reranking.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else report
    report["speed"] = before["speed"] if options.quality else {"machine": machine, **speed(256, options.repeat)}
    if options.speed:
        report |= {"machine": before["machine"], "sets": before["sets"]}
    for name, read in find_sets(options.limit).items() if not options.speed else ():
        if options.only is None or name in options.only:
            report["sets"][name] = measure(read(), name in WITH_INT8)
            print(f"{name} done", file=sys.stderr, flush=True)
    output.mkdir(parents=True, exist_ok=True)
    quality.write(file, json.dumps(report, indent=1) + "\n")
    quality.write(output / "reranking.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
