"""What does a GPU bring, and is its search exact too? One run of at most eight minutes.

    python benchmarks/gpu.py                       # WordNet's vectors and a million random ones
    python benchmarks/gpu.py --random              # random vectors only, where WordNet's are not installed
    python benchmarks/gpu.py --small --device cpu  # tiny sizes: tries the script, says nothing about speed

Encoding, re-ranking and training on the device, each compared with what sentence-transformers does by
default, and exact search with corpus and queries on either side of the bus. Ways take turns
(`benchmark.time_together`), five as a rule, fewer where they would take more than a minute. What is
missing, or would start after six minutes, is a row with the reason. Writes benchmarks/results/gpu.md.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from sentence_transformers import CrossEncoder, util
from torch import nn

from semsearch_nb import configure, datasets, encoding, exact, models, packaged_reranker, reranking, threads
from semsearch_nb.benchmark import Timing, time_together
from semsearch_nb.exact import first_pass
from semsearch_nb.vectors import Hits, as_numpy

OUTPUT = Path(__file__).parent / "results" / "gpu.md"
STARTS_WITHIN = 360  # seconds
TURNS_WITHIN = 60  # seconds: with them and its warm-up, the last measurement ends in the two minutes that are left
K = 10
ROUNDING = 1e-6  # scores that differ by less count as equal
PRECISIONS = {"float32": ("float32", None), "float16": ("float16", None), "float16, 256 at once": ("float16", 256)}


@dataclass(frozen=True)
class Run:
    """Where, until when, and how much."""

    device: str
    random: bool
    until: float
    definitions: int = 4_096
    passages: int = 1_000
    corpus: int = 117_791
    large: int = 1_000_000
    queries: int = 1_000
    pairs: int = 2_048
    steps: int = 50
    batch: int = 32
    repeat: int = 5


SMALL = {"definitions": 4, "passages": 2, "corpus": 2_000, "large": 3_000, "queries": 20}
SMALL |= {"pairs": 2, "steps": 2, "batch": 2, "repeat": 1}


class Measured(NamedTuple):
    """What a way returned and how long it took, or why it was skipped."""

    outcome: Any = None
    timing: Timing | None = None
    reason: str = ""


def measure(ways: Mapping[str, Callable[[], Any] | str], repeat: int, until: float) -> dict[str, Measured]:
    """Each way called once to warm up, and those that work timed in turns. A string says why there is no way."""
    started = time.monotonic()
    found: dict[str, Measured] = {}
    working: dict[str, Callable[[], Any]] = {}
    for name, way in ways.items():
        if isinstance(way, str):
            found[name] = Measured(reason=way)
        elif time.monotonic() > until:
            found[name] = Measured(reason="no time was left")
        else:
            try:
                found[name] = Measured(way())
                working[name] = way
            except Exception as error:  # another library's, or the device's
                found[name] = Measured(reason=said(error))
    turns = int(TURNS_WITHIN / (time.monotonic() - started + 1e-9))
    for name, timing in time_together(working, repeat=max(1, min(repeat, turns)), warm_up=0).items():
        found[name] = found[name]._replace(timing=timing)
    return found


def said(error: Exception) -> str:
    """The error in one line that fits a cell."""
    return f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")


def rows(
    found: Mapping[str, Measured], write: Callable[[Timing], str], more: Callable[[Any], str] | None = None
) -> Iterator[str]:
    """A row for each way; the ratio says how many times as fast as the first one it is."""
    first = next(iter(found.values())).timing
    for name, (outcome, timing, reason) in found.items():
        if timing is None:
            cells = [f"skipped: {reason}"]
        else:
            cells = [
                write(timing),
                f"{first.median / timing.median:.2f}" if first else "",
                more(outcome) if more else "",
            ]
        yield f"| {name} | {' | '.join(cells).rstrip(' |')} |"


def a_second(n: int) -> Callable[[Timing], str]:
    return lambda timing: "{:,.0f} ({:,.0f} to {:,.0f})".format(
        *(n / seconds for seconds in (timing.median, timing.slowest, timing.fastest))
    )


@cache
def read(name: str) -> datasets.Collection:
    """A collection, read once."""
    return datasets.load(name)


def encode(run: Run) -> Iterator[str]:
    """Texts a second."""
    model = models.load("symmetric")
    passages, definitions = read("passages").document_texts, read("wordnet").document_texts
    drawn = np.random.default_rng(0).choice(len(definitions), run.definitions, replace=False)
    sets = {
        "WordNet definitions": [definitions[i] for i in drawn],
        f"of our {len(passages)} passages, in turn": list(itertools.islice(itertools.cycle(passages), run.passages)),
    }
    for what, texts in sets.items():
        ways: dict[str, Callable[[], Any]] = {
            "model.encode": partial(model.encode, texts, normalize_embeddings=True, show_progress_bar=False)
        }
        for name, (precision, at_once) in PRECISIONS.items():
            options = {"engine": "torch", "precision": precision, "batch_size": at_once, "use_cache": False}
            ways[f"encoding.encode, {name}"] = partial(encoding.encode, model, texts, "document", **options)
        tokens = encoding.truncation(model, texts).n_tokens / len(texts)
        yield f"\n### {len(texts):,} {what}, of {tokens:.0f} tokens on average\n"
        yield "| way | texts a second (slowest to fastest) | times as fast |"
        yield "|---|---|---|"
        yield from rows(measure(ways, run.repeat, run.until), a_second(len(texts)))


def corpora(run: Run) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name, corpus and queries on the CPU."""
    if not run.random:
        collection, model = read("wordnet"), models.load("symmetric")
        documents = encoding.encode_documents(model, collection.document_texts[: run.corpus])
        queries = encoding.encode_queries(model, collection.query_texts[: run.queries])
        yield f"{len(documents):,} WordNet definitions", torch.from_numpy(documents), torch.from_numpy(queries)
    for n in (run.corpus, run.large) if run.random else (run.large,):
        vectors = torch.randn((n + run.queries, 384), generator=torch.Generator().manual_seed(0))
        vectors = nn.functional.normalize(vectors)
        yield f"{n:,} random unit vectors", vectors[run.queries :], vectors[: run.queries]


def search(run: Run) -> Iterator[str]:
    """Milliseconds, and whether the hits are those of `util.semantic_search`."""
    yield "Equal hits: the share of queries whose k hits are those of `util.semantic_search`, place by place, but for"
    yield f"places whose float32 scores differ by {ROUNDING:.0e} or less. k is {K}."
    placements = {
        "both on the GPU": (run.device, run.device),
        "corpus on the GPU, queries on the CPU": (run.device, "cpu"),
        "both on the CPU": ("cpu", "cpu"),
    }
    for name, corpus, queries in corpora(run):
        for placement, (corpus_on, queries_on) in placements.items():
            yield f"\n### {name}: {placement}\n"
            if "GPU" in placement and run.device == "cpu":
                yield "Skipped: there is no GPU."
                continue
            yield "| method | milliseconds (fastest to slowest) | times as fast | equal hits |"
            yield "|---|---|---|---|"
            placed = corpus.to(corpus_on)
            prepared = {name: exact.prepare(placed, first_pass=name) for name in ("float32", *first_pass.NAMES)}
            for n in (1, run.queries):
                yield from compare(placed, queries[:n].to(queries_on), prepared, run)


def compare(
    corpus: torch.Tensor, queries: torch.Tensor, prepared: Mapping[str, exact.Prepared], run: Run
) -> Iterator[str]:
    """The rows of these queries."""
    n = "1 query" if len(queries) == 1 else f"{len(queries):,} queries"
    baseline = f"{n}: util.semantic_search"
    ways: dict[str, Callable[[], Any] | str] = {
        baseline: lambda: util.semantic_search(queries, corpus, top_k=K),
        f"{n}: exact.search, float32": lambda: exact.search(queries, corpus, K, precision="float32"),
    }
    for name, codes in prepared.items():
        if codes.first_pass == name:
            way = partial(exact.search, queries, codes, K, precision="certified")
        else:  # `first_pass.is_right` says no
            way = f"the {name} product is missing or wrong on {corpus.device}"
        ways[f"{n}: exact.search, prepared in {name}"] = way
    found = measure(ways, run.repeat * (5 if len(queries) == 1 else 1), run.until)
    truth = found[baseline].outcome
    return rows(
        found,
        lambda timing: str(timing).replace(" ms", ""),
        lambda hits: f"{equal_hits(queries, prepared['float32'], hits, truth):.2%}" if truth else "unknown",
    )


def equal_hits(queries: torch.Tensor, corpus: Any, *found: Hits | list[list[dict[str, Any]]]) -> float:
    """The share of queries for which two searches found the same, up to the order of equal scores."""
    one, other = (
        as_numpy(hits.indices)
        if isinstance(hits, Hits)
        else np.array([[hit["corpus_id"] for hit in of_query] for of_query in hits])
        for hits in found
    )
    scores = [exact.score_pairs(queries, corpus, indices) for indices in (one, other)]
    same = (one == other) | (np.abs(scores[0] - scores[1]) <= ROUNDING)
    once = (np.diff(np.sort(one, axis=1), axis=1) > 0).all(axis=1)  # no vector is found twice
    return float((same.all(axis=1) & once).mean())


def rerank(run: Run) -> Iterator[str]:
    """Pairs a second."""
    model = models.load_reranker()
    pairs = judged_pairs(run.pairs)[0]
    ways: dict[str, Callable[[], Any]] = {
        "CrossEncoder.predict": partial(model.predict, pairs, show_progress_bar=False)
    }
    for name, (precision, at_once) in PRECISIONS.items():
        options = {"engine": "torch", "precision": precision, "batch_size": at_once, "use_cache": False}
        ways[f"reranking.score, {name}"] = partial(reranking.score, model, pairs, progress=False, **options)
    tokens = reranking.truncation(model, pairs).n_tokens / len(pairs)
    yield f"{len(pairs):,} pairs of {tokens:.0f} tokens on average.\n"
    yield "| way | pairs a second (slowest to fastest) | times as fast |"
    yield "|---|---|---|"
    yield from rows(measure(ways, run.repeat, run.until), a_second(len(pairs)))


def judged_pairs(n: int) -> tuple[list[tuple[str, str]], torch.Tensor]:
    """Questions of passages, each with a relevant text (1) or, every other one, with any other text (0)."""
    collection, generator = read("passages"), np.random.default_rng(0)
    text_of = dict(zip(collection.document_ids, collection.document_texts, strict=True))
    pairs, labels = [], []
    for i in range(n):
        query = collection.queries[generator.integers(len(collection.queries))]
        relevant = [id for id, grade in collection.qrels[query.id].items() if grade > 0]
        ids = [id for id in text_of if id not in relevant] if i % 2 else relevant
        pairs.append((query.text, text_of[ids[generator.integers(len(ids))]]))
        labels.append(1.0 - i % 2)
    return pairs, torch.tensor(labels)


def training(run: Run) -> Iterator[str]:
    """Seconds for some steps, and the mean loss of the first and the last of them."""
    model = packaged_reranker.untrained(on=run.device)
    model[0].auto_model.bert.embeddings.word_embeddings.weight.requires_grad_(False)  # as the shipped one was trained
    pairs, labels = judged_pairs(run.steps * run.batch)
    ways = {
        precision: partial(train, model, pairs, labels.to(run.device), run.batch, precision)
        for precision in ("float32", "float16")
    }
    tenth = max(1, run.steps // 10)
    yield f"{run.steps} steps of {run.batch} pairs in plain torch: forward, backward, clipping, AdamW.\n"
    yield f"| precision | seconds (fastest to slowest) | times as fast | loss, first {tenth} and last {tenth} |"
    yield "|---|---|---|---|"
    yield from rows(
        measure(ways, min(run.repeat, 3), run.until),
        lambda timing: f"{timing.median:.2f} ({timing.fastest:.2f} to {timing.slowest:.2f})",
        lambda losses: f"{np.mean(losses[:tenth]):.3f}, {np.mean(losses[-tenth:]):.3f}",
    )


def train(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], labels: torch.Tensor, batch: int, precision: str
) -> list[float]:
    """Train a copy of the model on the pairs, once, and return the loss of every step."""
    precision = encoding.resolve_precision(precision, model.device.type)
    model = copy.deepcopy(model).train()
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    scaler = torch.amp.GradScaler(model.device.type, enabled=precision == "float16")
    losses = []
    for start in range(0, len(pairs), batch):
        features = util.batch_to_device(model.preprocess(pairs[start : start + batch]), model.device)
        with encoding.autocast(precision, model.device.type):
            logits = model(features)["scores"].view(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels[start : start + batch])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(learned, 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


SECTIONS = {"Encoding": encode, "Exact search": search, "Re-ranking": rerank, "Training the re-ranker": training}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if has_gpu else "cpu")
    parser.add_argument("--random", action="store_true", help="search random vectors in place of WordNet's")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for a CPU too")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not has_gpu:
        raise SystemExit("no GPU: torch finds no CUDA device; a CPU runs this with --small --device cpu only")
    if options.device == "cpu" and not options.small:
        raise SystemExit("no GPU: the device is the CPU, which runs this with --small only")
    run = Run(options.device, options.random, time.monotonic() + STARTS_WITHIN, **(SMALL if options.small else {}))
    configure(device=run.device)
    card = "no GPU" if run.device == "cpu" else torch.cuda.get_device_name()
    command = " ".join(["python benchmarks/gpu.py", *(sys.argv[1:] if arguments is None else arguments)])
    title = f"# `{command}`: {card}, torch {torch.__version__}, {psutil.cpu_count()} CPU cores\n"
    lines: dict[str, list[str]] = {name: [] for name in SECTIONS}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for name in sorted(SECTIONS, key=lambda name: SECTIONS[name] is search):  # the search last: it takes longest
        # Tiny work is done by one thread: on a busy machine several would wait for each other.
        with warnings.catch_warnings(), threads.limit(1) if options.small else nullcontext():
            warnings.simplefilter("ignore", encoding.TruncationWarning)
            warnings.simplefilter("error", encoding.PrecisionWarning)  # else float32 would stand as float16
            try:
                for line in SECTIONS[name](run):
                    print(line, flush=True)
                    lines[name].append(line)
            except Exception as error:
                traceback.print_exc()
                lines[name].append(f"\nSkipped: {said(error)}")
        text = [
            title,
            *("\n".join([f"## {name}\n", *some]).replace("\n\n\n", "\n\n") + "\n" for name, some in lines.items()),
        ]
        options.output.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
