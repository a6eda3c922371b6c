"""How fast are texts encoded, and does it change the vectors? Engines side by side in one run.

    python benchmarks/encoding.py                                  # MiniLM and e5
    SEMSEARCH_DATA_DIR=... python benchmarks/encoding.py --quality # with SQuAD, and nDCG@10 by precision

Long texts are SQuAD paragraphs, or our own passages where SQuAD is not below SEMSEARCH_DATA_DIR;
short ones are WordNet definitions. Ways take turns; the first of them is sentence-transformers'
`model.encode` as it is, and ratios are medians within a turn. Nothing is read from the cache of
embeddings, except for nDCG@10. Writes benchmarks/results/encoding.{json,md}; the committed reports are
of a processor with AVX512-BF16 and VNNI, and, as encoding_avx2, of one without.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from semsearch_nb import datasets, encoding, evaluation, exact, models, settings
from semsearch_nb.datasets import Collection, labelled

RESULTS = Path(__file__).parent / "results"
QUERIES = 2_000  # of a set, to measure nDCG@10 with
FIRST = "sentence-transformers, float32"
WAYS = {
    "torch, bfloat16": ("torch", "bfloat16"),
    "OpenVINO, float32": ("openvino", "float32"),
    "OpenVINO, bfloat16": ("openvino", "bfloat16"),
    "OpenVINO, int8": ("openvino", "int8"),
}


def long_texts(n: int) -> tuple[str, list[str]]:
    squad = labelled_set("squad")
    if squad is None:
        return "our passages", datasets.load("passages").document_texts[:n]
    chosen = np.random.default_rng(0).choice(len(squad.documents), n, replace=False)
    texts = squad.document_texts
    return "SQuAD paragraphs", [texts[i] for i in chosen]


def short_texts(n: int) -> tuple[str, list[str]]:
    texts = datasets.load("wordnet").document_texts
    return "WordNet definitions", [texts[i] for i in np.random.default_rng(0).choice(len(texts), n, replace=False)]


def labelled_set(name: str) -> Collection | None:
    folder = settings.current().data_dir
    known = labelled.available(folder) if folder else {}
    return known[name]() if name in known else None


def compare(role: str, what: str, texts: list[str], repeat: int) -> dict[str, Any]:
    """Seconds of every way in turns, and the cosines of its vectors to float32's."""
    model = models.load(role)
    ways: dict[str, Callable[[], Any]] = {FIRST: lambda: model.encode_document(texts, normalize_embeddings=True)}
    in_hardware = encoding.resolve_precision("auto", "cpu") == "bfloat16"  # else it takes many times as long
    for name, (engine, precision) in WAYS.items():
        if precision == "bfloat16" and not in_hardware:
            continue
        ways[name] = lambda engine=engine, precision=precision: encoding.encode_documents(
            model, texts, engine=engine, precision=precision, use_cache=False
        )
    vectors = {name: encode() for name, encode in ways.items()}  # and warms up
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, encode in ways.items():
            start = time.perf_counter()
            encode()
            times[name].append(time.perf_counter() - start)
    cosines = {name: (found * vectors[FIRST]).sum(axis=1) for name, found in vectors.items()}
    tokens = encoding.truncation(model, texts).n_tokens / len(texts)
    return {
        "title": f"{role}: {len(texts):,} {what} of {tokens:.0f} tokens on average",
        "n_texts": len(texts),
        "times": times,
        "cosines": {name: [float(cosine.min()), float(cosine.mean())] for name, cosine in cosines.items()},
    }


def quality(role: str, collection: Collection) -> dict[str, float]:
    """nDCG@10 of the first queries by way."""
    model = models.load(role)
    found = {}
    for name in ("torch, float32", "OpenVINO, bfloat16", "OpenVINO, int8"):
        engine, precision = WAYS.get(name, ("torch", "float32"))
        options = {"engine": engine, "precision": precision}
        documents = encoding.encode_documents(model, collection.document_texts, **options)
        queries = collection.query_ids[:QUERIES]
        hits = exact.search(encoding.encode_queries(model, collection.query_texts[:QUERIES], **options), documents)
        run = evaluation.as_run(hits, queries, collection.document_ids)
        judged = {query: collection.qrels[query] for query in queries}
        found[name] = float(evaluation.ndcg_at_k(run, judged).mean())
    return found


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Encoding", "", f"`python benchmarks/encoding.py`, {report['machine']}."]
    for result in report["speed"]:
        lines += [
            "",
            f"## {result['title']}",
            "",
            "| way | texts/s (slowest to fastest) | ratio | cosine: least | mean |",
        ]
        lines += ["|---|---|---|---|---|"]
        for name, own in result["times"].items():
            ratio = statistics.median(a / b for a, b in zip(result["times"][FIRST], own, strict=True))
            middle, low, high = (result["n_texts"] / f(own) for f in (statistics.median, max, min))
            least, mean = result["cosines"][name]
            lines.append(
                f"| {name} | {middle:.0f} ({low:.0f} to {high:.0f}) | {ratio:.2f} | {least:.5f} | {mean:.5f} |"
            )
    if report["quality"]:
        ways = next(iter(report["quality"].values()))
        lines += ["", "## nDCG@10", "", "| model and set | " + " | ".join(ways) + " |", "|---|" + "---|" * len(ways)]
        lines += [
            f"| {name} | " + " | ".join(f"{v:.4f}" for v in row.values()) + " |"
            for name, row in report["quality"].items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roles", nargs="+", default=["symmetric", "asymmetric"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", default="encoding", metavar="NAME", help="of the report in benchmarks/results")
    parser.add_argument("--quality", action="store_true", help="also nDCG@10 of the first role, minutes more")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", encoding.TruncationWarning)
    report: dict[str, Any] = {
        "machine": f"{psutil.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}, "
        + ", ".join(encoding.openvino_engine.versions()),
        "speed": [],
        "quality": {},
    }
    for role in arguments.roles:
        share = 1 if role == arguments.roles[0] else 4  # the others are larger
        for what, texts in (long_texts(256 // share), short_texts(1_024 // share)):
            report["speed"].append(compare(role, what, texts, arguments.repeat))
            print(markdown({**report, "speed": report["speed"][-1:]}), flush=True)
    if arguments.quality:
        for collection in (datasets.load("passages"), labelled_set("squad")):
            if collection is not None:
                report["quality"][f"{arguments.roles[0]}, {collection.name}"] = quality(arguments.roles[0], collection)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.output}.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / f"{arguments.output}.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
