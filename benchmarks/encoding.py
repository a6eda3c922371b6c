"""How fast does each engine encode, and what does it cost in quality?

    python benchmarks/encoding.py [--roles ROLE ...] [--repeat N] [--queries N] [--output DIR]

Every way of encoding takes its turn on the same texts, so that a slow moment of the machine hits all;
ratios are against sentence-transformers as it comes. Cosines and nDCG@10 are against the same. SQuAD
comes from SEMSEARCH_DATA_DIR; without it, our own passages take its place. WordNet brings the short
texts. Writes encoding.json and encoding.md. A CPU without bfloat16 in hardware is slow in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semsearch_nb import benchmark, datasets, encoding, evaluation, exact, models, settings
from semsearch_nb.datasets import Collection, beir, squad, wordnet
from semsearch_nb.vectors import FloatArray

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("symmetric", "asymmetric")
FIRST = "sentence-transformers, float32"  # what the others are compared with
# Engine and precision of `encoding.encode`; None stands for sentence-transformers itself.
WAYS: dict[str, tuple[str, str] | None] = {
    FIRST: None,
    "torch, bfloat16": ("torch", "bfloat16"),
    "openvino, float32": ("openvino", "float32"),
    "openvino, bfloat16": ("openvino", "bfloat16"),
    "openvino, int8": ("openvino", "int8"),
}
PARAGRAPHS, GLOSSES = 256, 1_024  # texts that are timed
PACKAGES = ("nncf", "numpy", "openvino", "sentence-transformers", "torch", "transformers")
NOTES = """Seconds are the median of the runs, with the fastest and the slowest; "times" is the median of
sentence-transformers divided by it. Nothing comes from the cache. Cosines are between the vectors of
the same text; the difference in nDCG@10 has a 95 % bootstrap interval over the queries."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roles", nargs="+", choices=models.ROLES, default=list(ROLES), metavar="ROLE")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="runs of each way")
    parser.add_argument("--queries", type=int, default=1_500, metavar="N", help="of SQuAD, evenly spaced")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    settings.configure(device="cpu")
    # A precision that is replaced by another would be measured under the wrong name.
    warnings.simplefilter("error", encoding.PrecisionWarning)
    warnings.simplefilter("ignore", encoding.TruncationWarning)
    collections = find_collections(options.queries)
    texts = find_texts(collections)
    report = {
        **describe(),
        "speed": {
            role: {name: speed(role, some, options.repeat) for name, some in texts.items()} for role in options.roles
        },
        "quality": {role: {c.name: quality(role, c) for c in collections} for role in options.roles},
    }
    table = as_markdown(report)
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "encoding.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write(options.output / "encoding.md", table)
    print(table)


def find_collections(n_queries: int) -> list[Collection]:
    """What nDCG@10 is measured on: our passages, and SQuAD's paragraphs with some of its questions."""
    passages = beir.read(datasets.SAMPLES / "passages", name="passages", source=datasets.OWN)
    folder = settings.current().data_dir
    if folder is None:
        print("SEMSEARCH_DATA_DIR is not set: our passages take the place of SQuAD", file=sys.stderr)
        return [passages]
    whole = squad.read(folder / "squad" / "dev-v1.1.json")
    queries = tuple(spaced(whole.queries, n_queries))
    return [passages, replace(whole, queries=queries, qrels={query.id: whole.qrels[query.id] for query in queries})]


def find_texts(collections: Sequence[Collection]) -> dict[str, list[str]]:
    """What is timed: paragraphs of the last collection, and definitions of WordNet."""
    collection = collections[-1]
    texts = collection.document_texts
    if len(collections) == 1:  # ours are shorter than a paragraph: three make one
        texts = [" ".join(texts[start : start + 3]) for start in range(len(texts) - 2)]
    glosses = [document.text for document in wordnet.read().documents]
    return {f"{collection.name} paragraphs": spaced(texts, PARAGRAPHS), "WordNet glosses": spaced(glosses, GLOSSES)}


def spaced(items: Sequence[Any], n: int) -> list[Any]:
    """At most `n` of the items, evenly spaced.

    >>> spaced("abcdef", 3)
    ['a', 'c', 'e']
    """
    n = min(n, len(items))
    return [items[position * len(items) // n] for position in range(n)]


def encode(role: str, texts: Sequence[str], kind: encoding.Kind, way: str, *, use_cache: bool = False) -> FloatArray:
    """The vectors of the texts; sentence-transformers' own are computed without our call."""
    model, choice = models.load(role), WAYS[way]
    if choice is not None:
        engine, precision = choice
        return encoding.encode(model, texts, kind, engine=engine, precision=precision, use_cache=use_cache)
    run = model.encode_query if kind == "query" else model.encode_document
    return np.asarray(run(list(texts), normalize_embeddings=True))


def speed(role: str, texts: Sequence[str], repeat: int) -> dict[str, Any]:
    """Seconds of every way, its ratio to the first, and the cosines to the first one's vectors."""
    calls: dict[str, Callable[[], FloatArray]] = {way: partial(encode, role, texts, "document", way) for way in WAYS}
    vectors = {way: call() for way, call in calls.items()}  # also converts and checks each model once
    timings = benchmark.time_together(calls, repeat=repeat, warm_up=0)
    rows = {}
    for way, timing in timings.items():
        cosines = (vectors[way] * vectors[FIRST]).sum(axis=1)
        rows[way] = {
            **timing._asdict(),
            "times": timings[FIRST].median / timing.median,
            "cosine": {"min": float(cosines.min()), "mean": float(cosines.mean())},
        }
        print(f"{role}, {len(texts):,} texts: {way}: {timing}", file=sys.stderr, flush=True)
    n_tokens = encoding.truncation(models.load(role), texts).n_tokens
    return {"n_texts": len(texts), "n_tokens": n_tokens, "runs": repeat, "ways": rows}


def quality(role: str, collection: Collection) -> dict[str, Any]:
    """nDCG@10 of every way, and its difference to the first with an interval."""
    values: dict[str, evaluation.Values] = {}
    for way in WAYS:
        queries = encode(role, collection.query_texts, "query", way, use_cache=True)
        documents = encode(role, collection.document_texts, "document", way, use_cache=True)
        run = evaluation.as_run(exact.search(queries, documents, 10), collection.query_ids, collection.document_ids)
        values[way] = evaluation.ndcg_at_k(run, collection.qrels, k=10)
        print(f"{role}, {collection}: {way}: {values[way].mean():.4f}", file=sys.stderr, flush=True)
    return {
        "n_queries": len(collection.queries),
        "n_documents": len(collection.documents),
        "nDCG@10": {way: float(row.mean()) for way, row in values.items()},
        "difference": {
            way: evaluation.paired_bootstrap(row, values[FIRST])._asdict()
            for way, row in values.items()
            if way != FIRST
        },
    }


def describe() -> dict[str, Any]:
    """What the figures depend on besides the texts."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit or "unknown",
        "packages": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "machine": {
            "processor": processor(),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "bfloat16 in hardware": encoding.cpu_has_bfloat16(),
        },
    }


def processor() -> str:
    """The name of the processor, or of its kind where the system does not tell."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as tables: one of speed for a model and its texts, then one of quality for each model."""
    facts = [*report["machine"].items(), *report["packages"].items(), ("commit", report["commit"])]
    lines = ["# Encoding", "", NOTES, "", "Measured with " + ", ".join(f"{name} {value}" for name, value in facts)]
    for role, sets in report["speed"].items():
        for name, row in sets.items():
            lines += ["", f"## {models.PACKAGED[role].name}: {row['n_texts']:,} {name}, {row['n_tokens']:,} tokens", ""]
            lines += as_table(
                ("", f"seconds of {row['runs']} runs", "times", "least cosine", "mean cosine"),
                {
                    way: (
                        f"{cell['median']:.2f} ({cell['fastest']:.2f} to {cell['slowest']:.2f})",
                        f"{cell['times']:.2f}",
                        f"{cell['cosine']['min']:.5f}",
                        f"{cell['cosine']['mean']:.5f}",
                    )
                    for way, cell in row["ways"].items()
                },
            )
    for role, sets in report["quality"].items():
        lines += ["", f"## {models.PACKAGED[role].name}: nDCG@10", ""]
        sizes = [f"{name}: {s['n_queries']:,} queries, {s['n_documents']:,} documents" for name, s in sets.items()]
        lines += as_table(("", *sizes), {way: [_score(row, way) for row in sets.values()] for way in WAYS})
    return "\n".join(lines) + "\n"


def as_table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """A Markdown table; the name of a row is its first cell.

    >>> as_table(("", "b"), {"a": ["1"]})
    ['|  | b |', '| --- | --- |', '| a | 1 |']
    """
    body = [[name, *cells] for name, cells in rows.items()]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]


def _score(row: Mapping[str, Any], way: str) -> str:
    mean = f"{row['nDCG@10'][way]:.4f}"
    if way == FIRST:
        return mean
    difference = row["difference"][way]
    return f"{mean} ({difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}])"


def write(file: Path, text: str) -> None:
    """The whole file at once: who reads it meanwhile sees the old one."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


if __name__ == "__main__":
    main()
