"""Train all-MiniLM-L6-v2 further on a domain of one's own, in several ways: what is gained, what is forgotten?

    pip install -c constraints.txt -e ".[encyclopedia,training]"
    python training/train_retriever.py

Learned from: natural questions of the learning part of `passages`, and descriptions of articles of the
encyclopedia. Articles that any judged question asks for are held out, and so is a sample of the others; they are the
corpus that is searched. Every model is measured on the held-out parts of both, and on the other labelled sets that
ship. What is there already in the table's json is not done again. No weights are kept. Notebook 11 shows the table.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from like_for_like import signed, table, untrained
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.losses import (
    DistillKLDivLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from transformers import TrainerCallback

from semsearch_nb import datasets, encoding, evaluation, exact, models, tuning
from semsearch_nb.datasets import Collection
from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching import environment

SEED = 0
RESULTS = Path(__file__).with_suffix(".json")
BATCH, MAX_TOKENS = 32, 96
DIMENSIONS = (384, 192, 96, 48)
CURVE = (96, 192, 384, 768)  # pairs
STATIC_RATE = 2e-2
WEIGHTS = (0.25, 0.5, 0.75)
TARGET, STRESS, KNOWN = "`passages`, natural", "`passages`, stress", "`encyclopedia`, known items"
MIXED = "descriptions"
Vectors = np.ndarray[Any, Any]
Rows = list[dict[str, Any]]


# What is learned from, and what is measured.


@lru_cache(maxsize=1)
def encyclopedia() -> tuple[Collection, set[str]]:
    """All of it, and what is held out: the judged articles and every fortieth of the others."""
    whole = datasets.load("encyclopedia")
    judged = set(whole.only(whole.queries).document_ids)
    others = [article.id for article in whole.documents if article.id not in judged][::40]
    return whole, judged | set(others)


def measured() -> dict[str, Collection]:
    """Held-out questions of both domains, and every other labelled set that ships."""
    whole, kept = encyclopedia()
    held = datasets.load("passages", split="held-out")
    reverse = datasets.load("wordnet", split="reverse")
    right = set(reverse.only(reverse.queries).document_ids)
    words = right | set(reverse.document_ids[::100])
    return {
        TARGET: held.where(kind="natural"),
        STRESS: held.where(kind="stress"),
        "`passages`, German and Chinese": datasets.load("passages", split="multilingual").where(part="held-out"),
        "`encyclopedia`, questions": whole.within(kept),
        KNOWN: datasets.load("encyclopedia", split="known-items").within(kept),
        "`encyclopedia`, French": datasets.load("encyclopedia", split="fr").within(kept),
        "`encyclopedia`, Spanish": datasets.load("encyclopedia", split="es").within(kept),
        "`questions`": datasets.load("questions"),
        "`questions`, other languages": datasets.load("questions", split="multilingual"),
        "`publications`": datasets.load("publications"),
        "`wordnet`, reverse": reverse.within(words),
    }


def descriptions(n: int) -> Rows:
    """Articles that are not measured: the description asks for the first paragraph."""
    whole, kept = encyclopedia()
    articles = [a for a in whole.documents if a.id not in kept and a.metadata["description"]]
    drawn = np.random.default_rng(SEED).permutation(len(articles))[:n]
    return [{"anchor": articles[i].metadata["description"], "positive": articles[i].full_text} for i in drawn]


def questions(n: int) -> Rows:
    """Natural questions of topics that are not held out."""
    rows = tuning.pairs(datasets.load("passages").split()[0].where(kind="natural"))
    return [rows[i] for i in np.random.default_rng(SEED).permutation(len(rows))[:n]]


def both(n: int) -> Rows:
    """Half of each, one after the other, so that a batch has both."""
    return [row for pair in zip(questions(n // 2), descriptions(n // 2), strict=True) for row in pair]


# Ways of training.


@dataclass(frozen=True)
class Recipe:
    rows: Callable[[], Rows]
    loss: tuning.Loss = MultipleNegativesRankingLoss
    rate: float = 5e-5


def mined(n: int, n_negatives: int, *, filtered: bool) -> Rows:
    """`both` with texts that the base ranks highly and that do not answer; `filtered` by the re-ranker's margin."""
    from datasets import Dataset  # the library; our own `datasets` is imported above

    found = []
    for rows in (questions(n // 2), descriptions(n // 2)):
        table = Dataset.from_list(rows)
        limits: dict[str, Any] = {"cross_encoder": models.load_reranker(), "relative_margin": 0.05} if filtered else {}
        told = util.mine_hard_negatives(
            table,
            untrained(),
            range_max=8,
            num_negatives=n_negatives,
            output_format="n-tuple",
            verbose=False,
            **limits,
        )
        found.append([dict(row) for row in told])
    return [row for part in found for row in part]


def with_scores(n: int) -> Rows:
    """Questions with a right text and two wrong ones, and what the re-ranker says of the three: its logits."""
    rows = mined(n, 2, filtered=False)
    texts = [[row[name] for name in ("positive", "negative_1", "negative_2")] for row in rows]
    pairs = [(row["anchor"], text) for row, three in zip(rows, texts, strict=True) for text in three]
    teacher = models.load_reranker()
    logits = teacher.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False).reshape(-1, 3)
    return [row | {"label": line.tolist()} for row, line in zip(rows, logits, strict=True)]


def matryoshka(model: SentenceTransformer) -> torch.nn.Module:
    return MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=list(DIMENSIONS))


def distilled(model: SentenceTransformer) -> torch.nn.Module:
    return DistillKLDivLoss(model, student_temperature=0.05)


N = 384
RECIPES = {
    "descriptions": Recipe(lambda: descriptions(CURVE[-1])),
    "questions": Recipe(lambda: questions(N)),
    "both": Recipe(lambda: both(N)),
    "both, Matryoshka": Recipe(lambda: both(N), matryoshka),
    "both, hard negatives": Recipe(lambda: mined(N, 1, filtered=True)),
    "both, distilled": Recipe(lambda: with_scores(N // 2), distilled),
    "both, a fifth of the rate": Recipe(lambda: both(N), rate=1e-5),
}


class Keep(TrainerCallback):
    """Copies of the weights on the way, by the number of pairs that were seen."""

    def __init__(self, at: Sequence[int]) -> None:
        self.at, self.states = at, dict[int, dict[str, torch.Tensor]]()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        seen = state.global_step * BATCH
        if seen in self.at:
            self.states[seen] = copy.deepcopy(given["model"].state_dict())


def trained(recipe: Recipe) -> Iterator[tuple[int, SentenceTransformer, float, float]]:
    """The model after some numbers of pairs, with the processor's seconds and the loss of the whole run."""
    rows, keep = recipe.rows(), Keep(CURVE)
    started = time.process_time()
    done = tuning.train(
        untrained(),
        rows,
        loss=recipe.loss,
        rate=recipe.rate,
        batch=BATCH,
        max_tokens=MAX_TOKENS,
        seed=SEED,
        lr_scheduler_type="constant_with_warmup",
        callbacks=[keep],
    )
    seconds = time.process_time() - started
    for seen, state in keep.states.items():
        if seen < len(rows) and len(rows) > N:
            model = copy.deepcopy(done.model)
            model.load_state_dict(state)
            yield seen, model, seconds * seen / len(rows), done.loss
    yield len(rows), done.model, seconds, done.loss


# Measuring.


def vectors(model: SentenceTransformer, collection: Collection, known: dict[Any, Vectors]) -> tuple[Vectors, Vectors]:
    """Of queries and documents; documents that several collections share are encoded once."""
    options = {"use_cache": model is models.load("symmetric")}  # others would fill the disk
    key = (collection.documents[0].id, len(collection.documents))
    if key not in known:
        known[key] = encoding.encode_documents(model, collection.document_texts, **options)
    return encoding.encode_queries(model, collection.query_texts, **options), known[key]


def ndcg(
    queries: Vectors, documents: Vectors, collection: Collection, dimension: int | None = None
) -> evaluation.Values:
    hits = exact.search(queries[:, :dimension], documents[:, :dimension], k=10)
    run = evaluation.as_run(hits, collection.query_ids, collection.document_ids)
    return evaluation.ndcg_at_k(run, collection.qrels, k=10)


def measure(
    model: SentenceTransformer, collections: dict[str, Collection], dimensions: Sequence[int] = (384,)
) -> dict[str, dict[int, evaluation.Values]]:
    known: dict[Any, Vectors] = {}
    found = {}
    for name, collection in collections.items():
        asked, stored = vectors(model, collection, known)
        found[name] = {d: ndcg(asked, stored, collection, d) for d in dimensions}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*RECIPES, "static"], help="ways to train; without it all")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE.json", help="the table goes beside it")
    options = parser.parse_args(arguments)
    work = Work(options.output)

    def wanted(name: str) -> bool:
        return options.only is None or name in options.only

    for name, recipe in RECIPES.items():
        if wanted(name) and not work.has(name):
            work.add(name, recipe)
    if wanted("static") and not work.has("static"):
        work.add_static()
    print(f"wrote {options.output} and its table")


class Work:
    """What was measured so far, written after every step."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.report: dict[str, Any] = {"rows": [], "sets": {}, "dimensions": []}
        if file.is_file():
            self.report |= json.loads(file.read_text(encoding="utf-8"))
        self.sets = measured()
        self.base = measure(models.load("symmetric"), self.sets, DIMENSIONS)
        for name, collection in self.sets.items():
            base = evaluation.bootstrap(self.base[name][384])
            self.report["sets"][name] = {
                "n_queries": len(collection.queries),
                "n_documents": len(collection.documents),
                "base": base,
            }
        self._dimensions("base", self.base)
        self.write()

    def has(self, name: str) -> bool:
        return any(row["recipe"] == name for row in self.report["rows"])

    def add(self, name: str, recipe: Recipe) -> None:
        for seen, model, seconds, loss in trained(recipe):
            values = measure(model, self.sets, DIMENSIONS)
            self._row(name, 1.0, seen, seconds, loss, values)
            if name in ("both", "both, Matryoshka"):
                self._dimensions(name, values)
            self.write()
        if name == MIXED:
            self.add_mixes(name, model, seen, loss)

    def add_mixes(self, name: str, model: SentenceTransformer, seen: int, loss: float) -> None:
        for weight in WEIGHTS:
            values = measure(tuning.interpolate(untrained(), model, weight), self.sets)
            self._row(f"{name}, weight {weight}", weight, seen, 0, loss, values)
            self.write()

    def add_static(self) -> None:
        started = time.process_time()
        model = tuning.static(untrained())
        seconds = time.process_time() - started
        self._row("static", 1.0, 0, seconds, None, measure(model, self.sets))
        rows = descriptions(6_000)
        started = time.process_time()
        taught = tuning.train(model, rows, rate=STATIC_RATE, batch=256, max_tokens=None, seed=SEED)
        seconds = time.process_time() - started
        values = measure(taught.model, self.sets)
        self._row("static, descriptions", 1.0, len(rows), seconds, taught.loss, values)
        self.write()

    def _row(self, name: str, weight: float, n: int, seconds: float, loss: float | None, values: Any) -> None:
        gains = {each: evaluation.paired_bootstrap(of[384], self.base[each][384]) for each, of in values.items()}
        row = {
            "recipe": name,
            "weight": weight,
            "pairs": n,
            "cpu_seconds": round(seconds),
            "loss": loss,
            "gains": gains,
        }
        self.report["rows"].append(row)
        print(name, n, f"{seconds:.0f} s", {each: signed(gain) for each, gain in gains.items()}, flush=True)

    def _dimensions(self, name: str, values: Any) -> None:
        kept = [row for row in self.report["dimensions"] if row["recipe"] != name]
        for each in (TARGET, KNOWN):
            for dimension in DIMENSIONS:
                mine, full = values[each][dimension], self.base[each][384]
                mean, gain = evaluation.bootstrap(mine), evaluation.paired_bootstrap(mine, full)
                against = evaluation.paired_bootstrap(mine, self.base[each][dimension])
                kept.append(
                    {"recipe": name, "set": each, "dimension": dimension, "mean": mean, "loss": gain, "gain": against}
                )
        self.report["dimensions"] = kept

    def write(self) -> None:
        self.report["settings"] = {"batch": BATCH, "max_tokens": MAX_TOKENS, "seed": SEED, "rate": Recipe(list).rate}
        self.report["versions"] = {
            name: environment.version(name) for name in ("sentence-transformers", "transformers", "torch")
        }
        self.file.write_text(json.dumps(self.report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        self.file.with_suffix(".md").write_text(as_markdown(self.report), encoding="utf-8")


def as_markdown(report: dict[str, Any]) -> str:
    """The tables, what they were made with, and what follows for a model that would ship."""
    told, names = report["settings"], list(report["sets"])
    sets = [
        [name, f"{of['n_queries']:,}", f"{of['n_documents']:,}", str(Interval(*of["base"]))]
        for name, of in report["sets"].items()
    ]
    sizes = []
    for row in report["dimensions"]:
        cells = [row["recipe"], row["set"], str(row["dimension"]), f"{row['mean'][0]:.3f}"]
        sizes.append([*cells, signed(Interval(*row["loss"])), signed(Interval(*row["gain"]))])
    of_sizes = ["trained on", "set", "numbers", "nDCG@10", "against 384 of the base", "against as many of the base"]
    return f"""# A retriever of one's own: what is gained and what is forgotten

Written by `python training/train_retriever.py`. The base is all-MiniLM-L6-v2. One epoch, batch {told["batch"]},
MultipleNegativesRankingLoss unless the name says otherwise, at most {told["max_tokens"]} tokens, a constant rate of
{told["rate"]:g} after a warm-up, seed {told["seed"]}. One run a recipe: the intervals do not hold what another seed
would change. "Descriptions" ask for articles of the encyclopedia that are not measured; "questions" are natural ones
to `passages`, of topics that are not held out; "both" has half of each. A weight mixes the trained model with the base.

{table(["set", "queries", "documents", "nDCG@10 of the base"], sets)}

## Changes

nDCG@10 minus that of the base, with a 95 % bootstrap interval over the queries. Seconds are the processor's.

{changes(report, names[:6], first=True)}

{changes(report, names[6:], first=False)}

## Would one ship?

A model ships as the role `tuned` if it beats the base on {TARGET}, and loses nowhere beyond the interval.

{decision(report)}

## Dimensions

{table(of_sizes, sizes)}

Measured with {", ".join(f"{name} {version}" for name, version in report["versions"].items())}, CPU, float32.
"""


def changes(report: dict[str, Any], names: list[str], *, first: bool) -> str:
    rows = []
    for row in report["rows"]:
        cells = [row["recipe"], f"{row['pairs']:,}", *([str(row["cpu_seconds"])] if first else [])]
        rows.append([*cells, *(signed(Interval(*row["gains"][name])) for name in names)])
    return table(["trained on", "pairs", *(["seconds"] if first else []), *names], rows)


def decision(report: dict[str, Any]) -> str:
    rows = []
    for row in report["rows"]:
        gains = {name: Interval(*gain) for name, gain in row["gains"].items()}
        lost = [name for name, gain in gains.items() if gain.high < 0]
        won = "yes" if gains[TARGET].low > 0 else "no"
        rows.append([row["recipe"], f"{row['pairs']:,}", won, "; ".join(lost) or "none"])
    return table(["trained on", "pairs", "beats the base there", "loses on"], rows)


if __name__ == "__main__":
    main()
