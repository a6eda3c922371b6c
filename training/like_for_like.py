"""One base, two trainings: does it matter which kind of pairs a model learns from?

    pip install -c constraints.txt -e ".[training]"
    python training/like_for_like.py --data FOLDER

The folder holds squad/dev-v1.1.json and quora/quora_duplicate_questions.tsv; a missing file is an error. The base,
all-MiniLM-L6-v2, is trained twice with the same loss (MultipleNegativesRankingLoss), number of pairs, batch and
seed: once on SQuAD's questions with their paragraphs, once on pairs of duplicate questions of Quora. The base and
both models are then measured on both tasks: on articles of SQuAD and questions of Quora that neither training
saw, and on our own `passages` (natural questions) and `questions`. No weights are kept. Notebook 01 shows the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from semsearch_nb import datasets, evaluation, exact, tuning
from semsearch_nb.datasets import Collection, full, quora, squad
from semsearch_nb.evaluation import Interval
from semsearch_nb.models import packaged_minilm
from semsearch_nb.teaching import environment

SEED = 0
MAX_TOKENS = 128  # in training; the base's own limit holds where it is measured
HELD_OUT_QUERIES = 1_000  # of Quora; of SQuAD all
SQUAD_FILE = "squad/dev-v1.1.json"
TO_PASSAGE = "question → passage"
TO_QUESTION = "question → question"
RESULTS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Row:
    """nDCG@10 on one set: the base's mean, and paired differences with intervals."""

    name: str
    task: str
    n_queries: int
    n_documents: int
    means: dict[str, Interval]
    gains: dict[str, Interval]
    """Of each training over the base."""
    between: Interval
    """The training on passages minus the training on questions."""


def parts(folder: Path) -> tuple[dict[str, Collection], dict[str, tuple[str, Collection]]]:
    """What is learned from, by kind of pair, and what is measured: a task and a collection by name."""
    files = [folder / SQUAD_FILE, folder / full.QUORA_FILE]
    for file in files:
        if not file.is_file():
            raise SystemExit(f"{file} is missing; --data must name a folder with {SQUAD_FILE} and {full.QUORA_FILE}")
    squad_learned, squad_held = squad.read(files[0]).split()
    quora_learned, quora_held = quora.read(files[1]).split()
    measured = {
        "SQuAD, held-out articles": (TO_PASSAGE, squad_held),
        "`passages`, natural": (TO_PASSAGE, datasets.load("passages").where(kind="natural")),
        "Quora, held-out questions": (TO_QUESTION, quora_held.with_queries(quora_held.queries[:HELD_OUT_QUERIES])),
        "`questions`": (TO_QUESTION, datasets.load("questions")),
    }
    return {TO_PASSAGE: squad_learned, TO_QUESTION: quora_learned}, measured


def pairs(collection: Collection, n: int) -> list[dict[str, str]]:
    """`n` queries drawn at random, each with its first relevant document."""
    if len(collection.queries) < n:
        raise SystemExit(f"{collection.name} has {len(collection.queries):,} queries to learn from, fewer than {n:,}")
    drawn = np.random.default_rng(SEED).permutation(len(collection.queries))[:n]
    text_of = {document.id: document.full_text for document in collection.documents}
    queries = [collection.queries[i] for i in drawn]
    return [{"anchor": q.text, "positive": text_of[next(iter(collection.qrels[q.id]))]} for q in queries]


def untrained() -> SentenceTransformer:
    return SentenceTransformer(str(packaged_minilm.find()), device="cpu")


def trained(rows: Sequence[dict[str, str]], batch: int) -> tuple[SentenceTransformer, float]:
    """The base after one epoch over `rows`, and the mean loss."""
    model, _, loss = tuning.train(untrained(), rows, batch=batch, max_tokens=MAX_TOKENS, seed=SEED)
    return model, round(loss, 4)


def ndcg(model: SentenceTransformer, collection: Collection) -> evaluation.Values:
    queries, documents = model.encode_query(collection.query_texts), model.encode_document(collection.document_texts)
    run = evaluation.as_run(exact.search(queries, documents, k=10), collection.query_ids, collection.document_ids)
    return evaluation.ndcg_at_k(run, collection.qrels, k=10)


def measure(name: str, task: str, collection: Collection, models: dict[str, SentenceTransformer]) -> Row:
    values = {kind: ndcg(model, collection) for kind, model in models.items()}
    gains = {kind: evaluation.paired_bootstrap(values[kind], values["base"]) for kind in (TO_PASSAGE, TO_QUESTION)}
    between = evaluation.paired_bootstrap(values[TO_PASSAGE], values[TO_QUESTION])
    means = {kind: evaluation.bootstrap(each) for kind, each in values.items()}
    return Row(name, task, len(collection.queries), len(collection.documents), means, gains, between)


def as_markdown(report: dict[str, Any], rows: Sequence[Row]) -> str:
    """The table, and what it was made with."""
    columns = [
        "set",
        "task",
        "queries",
        "documents",
        "base",
        f"{TO_PASSAGE} − base",
        f"{TO_QUESTION} − base",
        "first − second",
    ]
    table_rows = []
    for row in rows:
        cells = [row.name, row.task, f"{row.n_queries:,}", f"{row.n_documents:,}", f"{row.means['base'].mean:.3f}"]
        cells += [signed(row.gains[TO_PASSAGE]), signed(row.gains[TO_QUESTION]), signed(row.between)]
        table_rows.append(cells)
    return f"""# Like for like: one base, two trainings

Written by `python training/like_for_like.py --data FOLDER`. The base is all-MiniLM-L6-v2. Each training has
{report["pairs"]:,} pairs, one epoch, batch {report["batch"]}, MultipleNegativesRankingLoss, at most {MAX_TOKENS}
tokens, seed {SEED}. {TO_PASSAGE}: SQuAD 1.1. {TO_QUESTION}: duplicates of Quora. Cells are nDCG@10 of the base, and
paired differences with a 95 % bootstrap interval over the queries. One run a training: the intervals do not hold
what another seed would change.

The base has seen both kinds of pair, SQuAD 2.0 and Quora's duplicates among them, so the test is weaker than one
from a base that knows neither. Held out from these trainings does not mean unseen by the base. The mean loss of the
epoch says how much there was to learn: {", ".join(f"{kind} {loss:.3f}" for kind, loss in report["losses"].items())}.

{table(columns, table_rows)}

Measured with {", ".join(f"{name} {version}" for name, version in report["versions"].items())}, CPU, float32.
"""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows))


def signed(interval: Interval) -> str:
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with squad/ and quora/")
    parser.add_argument("--pairs", type=int, default=2_000, help="for each of the two trainings")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE.json", help="the table goes beside it")
    options = parser.parse_args(arguments)

    learned, measured = parts(options.data)
    models = {"base": untrained()}
    seconds, losses = {}, {}
    for kind, collection in learned.items():
        print(f"{kind}: {options.pairs:,} of {collection}", flush=True)
        started = time.perf_counter()
        models[kind], losses[kind] = trained(pairs(collection, options.pairs), options.batch)
        seconds[kind] = round(time.perf_counter() - started)
        print(f"{kind}: trained in {seconds[kind]} s", flush=True)
    rows = []
    for name, (task, collection) in measured.items():
        rows.append(measure(name, task, collection, models))
        print(rows[-1], flush=True)
    report = {
        "pairs": options.pairs,
        "batch": options.batch,
        "max_tokens": MAX_TOKENS,
        "seed": SEED,
        "seconds": seconds,
        "losses": losses,
        "versions": {name: environment.version(name) for name in ("sentence-transformers", "transformers", "torch")},
        "rows": [asdict(row) for row in rows],
    }
    options.output.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    options.output.with_suffix(".md").write_text(as_markdown(report, rows), encoding="utf-8")
    print(f"wrote {options.output} and its table")


if __name__ == "__main__":
    main()
