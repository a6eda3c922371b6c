"""Fusion measured: of two rankings, by rule and by weight; of three, with a default that needs no judgements.

    SEMSEARCH_DATA_DIR=... python benchmarks/fusion.py            # half an hour on two cores, minutes once encoded

**Three rankings** (BM25, the learned sparse encoder, MiniLM, 100 hits each): fused with even weights, and by
`hybrid.Adaptive`, on seventeen sets. Each is compared with the best single ranking of the set. The constants of
`Adaptive` are also chosen anew for each set from the other sets' queries (*left out*), since they were chosen on these.

**Two rankings**. Rules: weighted reciprocal ranks (Cormack et al. 2009), CombSUM of scores scaled to 0…1 (Fox and
Shaw 1994), CombSUM of z-scores (Renda and Straccia 2003), and z·z₁, where z₁ is the z-score of a ranking's first hit.
Pairs: MiniLM with BM25, 100 hits each; and MiniLM's first 50 hits with the cross-encoder's scores of them.

The weight of the second ranking is tuned in two ways, never on the queries that are measured:
- *within*: five folds of a set's queries; the weight with the best nDCG@10 on four is measured on the fifth;
- *across*: the weight with the best mean over all other sets, as for a reader who has no judgements.
Writes benchmarks/results/fusion.md.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

os.environ.setdefault("SEMSEARCH_PRECISION", "float32")

from semsearch_nb import (
    datasets,
    encoding,
    evaluation,
    exact,
    fusion,
    hybrid,
    lexical,
    models,
    reranking,
    retrieval,
    settings,
    sparse,
)
from semsearch_nb.datasets import Collection, Document, Query, labelled, wikiqa
from semsearch_nb.vectors import Hits

RESULTS = Path(__file__).parent / "results" / "fusion.md"
LEARNED = ("squad", "medquad", "pubmedqa", "passages")  # the re-ranker has seen a part: only the rest is asked
RERANKED = ("trec-dl-2019-5k", "wikiqa", "quora", "passages", "questions", "publications")  # of short texts
SMALLER = {
    "pubmedqa": (150, 300),
    "medquad": (150, 300),
    "emnlp-known-items": (150, 300),
    "trec-dl-2019-5k": (43, 800),
    "publications": (300, 800),
    "encyclopedia": (300, 1_000),
    "encyclopedia, known items": (300, 800),
}
SPLITS: dict[str, Callable[[], Collection]] = {
    "passages": lambda: datasets.load("passages"),
    "passages, natural": lambda: datasets.load("passages").where(kind="natural"),
    "passages, stress": lambda: datasets.load("passages").where(kind="stress"),
    "questions": lambda: datasets.load("questions"),
    "publications": lambda: datasets.load("publications"),
    "encyclopedia": lambda: datasets.load("encyclopedia"),
    "encyclopedia, known items": lambda: datasets.load("encyclopedia", split="known-items"),
    "wordnet": lambda: datasets.load("wordnet"),
    "wordnet, reverse": lambda: datasets.load("wordnet", split="reverse"),
    "wikiqa, train": lambda: wikiqa.read(Path(settings.current().data_dir) / "wikiqa" / "WikiQASent-train.txt"),  # type: ignore[arg-type]
}
THREE = (
    *("squad", "wikiqa", "wikiqa, train", "trec-dl-2019-5k", "cranfield", "quora", "medquad", "pubmedqa"),
    *("emnlp-known-items", "encyclopedia", "encyclopedia, known items", "passages, natural", "questions"),
    *("publications", "wordnet", "wordnet, reverse", "passages, stress"),
)
TWO = ("squad", "wikiqa", "cranfield", "quora", "passages", "questions")
WEIGHTS = ((0.3, 0.2), (0.5, 0.35), (0.7, 0.5), (1.0, 0.8))  # of learned words and of BM25, beside 1 for meaning
LIMITS = ((0.4, 0.6), (0.4, 0.7), (0.5, 0.7), (0.6, 0.8))  # UNSURE and SURE
SHARES = np.linspace(0, 1, 21)  # weight of the second ranking; that of the first is what is left of 1
FOLDS = 5
STAGES = ("BM25", "learned sparse", "MiniLM")
JUDGEMENTS = Path(__file__).parents[1] / "judgements"
INTRODUCTION = """## Three rankings

BM25, the learned sparse encoder of the extra `sparse`, and MiniLM; fused with even weights as standard scores or by
reciprocal ranks, and by `hybrid.Adaptive`. The best single stage of a set is bold. *Left out*: the constants of
`Adaptive` chosen anew on the sets of other sources. One of its signs, that texts must be longer than the question,
was added, and made stricter, because of `questions` and stays in *left out* too, so that set is no evidence for it.
Where collections were judged by reading pooled hits, what nobody has read counts as not relevant. That is to the
disadvantage of the learned sparse encoder, which took no part in pooling; the shares stand below the table. For 40
natural questions to `passages`, drawn with a fixed seed, a language model has judged its first five by title and
first 110 characters: of 76 pairs that nobody had graded none answers or helps
(`judgements/passages-learned-sparse.tsv`). The encyclopedia is a sample of its articles, in which first hits reach
further down than in the whole, so half of them are unread. Sets whose questions and texts differ in language are not
here, since words cannot search them.

"""
Values = np.ndarray[Any, np.dtype[np.float64]]
Points = Callable[[Values], Values]


def by_rank(scores: Values) -> Values:
    return 1 / (60 + np.arange(1, len(scores) + 1))


def scaled(scores: Values) -> Values:
    return (scores - scores.min()) / spread if (spread := np.ptp(scores)) > 1e-6 * abs(scores).max() else scores * 0


def z(scores: Values) -> Values:
    return (scores - scores.mean()) / spread if (spread := scores.std()) > 1e-6 * abs(scores).max() else scores * 0


def z_first(scores: Values) -> Values:
    return z(scores) * z(scores).max()


# With each rule, whether a document that a ranking does not hold gets no points, or those of its last hit.
RULES: dict[str, tuple[Points, bool]] = {
    "reciprocal ranks": (by_rank, False),
    "CombSUM, 0…1": (scaled, False),
    "z-scores": (z, True),
    "z·z₁": (z_first, True),
}


def load(name: str, n_queries: int, n_documents: int) -> Collection:
    """So many queries and documents of a set, drawn with a fixed seed; what is judged for the queries comes first."""
    n_queries, n_documents = map(min, (n_queries, n_documents), SMALLER.get(name, (n_queries, n_documents)))
    folder = settings.current().data_dir
    collection = SPLITS[name]() if name in SPLITS else labelled.available(folder)[name]()  # type: ignore[arg-type]
    asked: tuple[Query, ...] = (collection.split()[1] if name in LEARNED else collection).queries
    drawn = np.random.default_rng(0).permutation(len(asked))[:n_queries]
    part = collection.only([asked[i] for i in sorted(drawn)])
    judged = set(part.document_ids)
    generator = np.random.default_rng(1)
    order = sorted(generator.permutation(collection.documents), key=lambda document: document.id not in judged)
    kept = {document.id for document in order[:n_documents]}
    documents: tuple[Document, ...] = tuple(document for document in collection.documents if document.id in kept)
    qrels = {q: {d: grade for d, grade in of.items() if d in kept} for q, of in part.qrels.items()}
    return datasets.collection.replace(part, documents=documents, qrels=qrels)


def pairs_of_rankings(collection: Collection, reranked: int) -> dict[str, list[list[tuple[list[int], Values]]]]:
    """For each pair its two rankings: the rows and the scores of every query's hits."""
    texts, queries = collection.document_texts, collection.query_texts
    model = models.load("symmetric")
    corpus = encoding.encode_documents(model, texts, progress=False)
    dense = exact.search(encoding.encode_queries(model, queries, progress=False), corpus, k=min(100, len(texts)))
    found = {"MiniLM + BM25": [dense, lexical.BM25(texts).search(queries, k=100)]}
    if reranked:
        some = dense.cut(50).take(slice(reranked))
        again = reranking.rerank(queries[:reranked], some, models.load_reranker(), texts=texts, progress=False)
        found["MiniLM + cross-encoder"] = [some, again]
    return {name: [[_hits(hits, row) for row in range(len(hits))] for hits in pair] for name, pair in found.items()}


def _hits(hits: Any, row: int) -> tuple[list[int], Values]:
    there = hits.found[row] & (hits.scores[row] != 0)
    return hits.indices[row][there].tolist(), hits.scores[row][there].astype(np.float64)


def ndcg_by_share(
    pair: list[list[tuple[list[int], Values]]], collection: Collection, rule: tuple[Points, bool]
) -> Values:
    """nDCG@10 of every query at every share, shape `(n_queries, n_shares)`."""
    points, last = rule
    names, runs = collection.document_ids, [dict[str, list[str]]() for _ in SHARES]
    asked = collection.query_ids[: len(pair[0])]
    for query, both in zip(asked, zip(*pair, strict=True), strict=True):
        place = {row: i for i, row in enumerate(dict.fromkeys(row for rows, _ in both for row in rows))}
        total = np.zeros((2, len(place)))
        for ranking, (rows, scores) in enumerate(both):
            if rows:
                of_hits = points(scores)
                total[ranking] = of_hits.min() if last else 0
                total[ranking, [place[row] for row in rows]] = of_hits
        every = list(place)
        fused = np.outer(1 - SHARES, total[0]) + np.outer(SHARES, total[1])
        for run, of_share in zip(runs, fused, strict=True):
            run[query] = [names[every[i]] for i in np.argsort(-of_share, kind="stable")[:10]]
    qrels = {query: collection.qrels[query] for query in asked}
    return np.stack([evaluation.ndcg_at_k(run, qrels) for run in runs], axis=1)


def within(values: Values) -> Values:
    """Of every query, with the share that is best on the other folds; of equal shares the most even."""
    fold = np.random.default_rng(2).permutation(len(values)) % FOLDS
    chosen = np.array([_best(values[fold != f].mean(axis=0)) for f in range(FOLDS)])
    picked: Values = values[np.arange(len(values)), chosen[fold]]
    return picked


def across(sets: Mapping[str, Values]) -> dict[str, int]:
    """For each set the share that is best on the mean of the others."""
    means = {name: values.mean(axis=0) for name, values in sets.items()}
    return {name: _best(np.mean([means[other] for other in means if other != name], axis=0)) for name in means}


def _best(means: Values) -> int:
    order = np.argsort(abs(SHARES - 0.5), kind="stable")
    return int(order[np.argmax(means[order].round(9))])


def mean_of_sets(differences: list[Values], n: int = 10_000) -> evaluation.Interval:
    """The mean over sets of the mean over queries, with the interval from resampling each set's queries."""
    generator = np.random.default_rng(0)
    drawn = np.stack([d[generator.integers(0, len(d), (n, len(d)))].mean(axis=1) for d in differences]).mean(axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return evaluation.Interval(float(np.mean([d.mean() for d in differences])), float(low), float(high))


def report(pair: str, values: dict[str, dict[str, Values]]) -> str:
    """Markdown of one pair: `values[rule][set]` is nDCG@10 by query and share."""
    rules, sets = list(values), list(values[next(iter(values))])
    rows = [f"## {pair}", ""]
    for how in ("within", "across"):
        shares = {rule: across(of_sets) for rule, of_sets in values.items()}
        tuned = {
            rule: {n: within(v) if how == "within" else v[:, shares[rule][n]] for n, v in of_sets.items()}
            for rule, of_sets in values.items()
        }
        rows += [f"Weight tuned *{how}*.", ""]
        rows += [f"| set | queries | first alone | {' | '.join(rules)} |", "|---|" + "---|" * (len(rules) + 2)]
        for name in sets:
            alone = values[rules[0]][name][:, 0].mean()
            cells = [f"{tuned[rule][name].mean():.3f}" for rule in rules]
            if how == "across":
                cells = [f"{c} at {SHARES[shares[r][name]]:.2f}" for c, r in zip(cells, rules, strict=True)]
            rows.append(f"| {name} | {len(tuned[rules[0]][name])} | {alone:.3f} | {' | '.join(cells)} |")
        means = [f"{np.mean([tuned[rule][n].mean() for n in sets]):.3f}" for rule in rules]
        alone = np.mean([values[rules[0]][n][:, 0].mean() for n in sets])
        rows += [f"| mean of sets | | {alone:.3f} | {' | '.join(means)} |", ""]
        for one, other in [("z·z₁", rule) for rule in rules[:-1]] + [("z-scores", rule) for rule in rules[:-2]]:
            interval = mean_of_sets([tuned[one][n] - tuned[other][n] for n in sets])
            by_set = [evaluation.paired_bootstrap(tuned[one][n], tuned[other][n]) for n in sets]
            better, worse = sum(i.low > 0 for i in by_set), sum(i.high < 0 for i in by_set)
            rows.append(
                f"- {one} − {other}: {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]; "
                f"better on {better} sets, worse on {worse}, of {len(sets)}"
            )
        rows.append("")
    best = {r: _best(np.mean([v.mean(axis=0) for v in of_sets.values()], axis=0)) for r, of_sets in values.items()}
    listed = ", ".join(f"{rule} {SHARES[share]:.2f}" for rule, share in best.items())
    return "\n".join([*rows, f"Share of the second ranking that is best over all sets: {listed}.", ""])


class Three(NamedTuple):
    """nDCG@10 of every query of a set, by method, and by the constants of `Adaptive`."""

    values: dict[str, Values]
    tuned: dict[tuple[Any, Any], Values]
    unread: dict[str, float]
    """Share of each method's first five that nobody has judged, where all that was read is known."""


def three(name: str, collection: Collection) -> Three:
    texts, queries = collection.document_texts, collection.query_texts
    dense = retrieval.Dense(models.load("symmetric"), texts)
    learned = sparse.Sparse(models.load_sparse(), texts)
    adaptive = hybrid.Adaptive(dense, texts, learned)
    stages = {"BM25": adaptive.words, "learned sparse": learned, "MiniLM": dense}
    found = {way: stage.search(queries, min(100, len(texts))) for way, stage in stages.items()}
    bm25, words, meaning = found.values()

    def ndcg(hits: Hits) -> Values:
        run = evaluation.as_run(hits, collection.query_ids, collection.document_ids)
        return evaluation.ndcg_at_k(run, collection.qrels)

    fused = {
        "MiniLM + BM25": fusion.standard_scores([meaning, bm25]),
        "MiniLM + sparse": fusion.standard_scores([meaning, words]),
        "all three": fusion.standard_scores([meaning, words, bm25]),
        "all, by ranks": fusion.reciprocal_rank([meaning, words, bm25]),
        "adaptive": adaptive.search(queries),
        "adaptive, without sparse": hybrid.Adaptive(dense, texts).search(queries),
    }
    tuned = {}
    for limits in LIMITS:
        with patch.multiple(hybrid, UNSURE=limits[0], SURE=limits[1]):
            trust = adaptive.trust(queries, meaning, bm25)
        for weights in WEIGHTS:
            tuned[limits, weights] = ndcg(hybrid.fuse_each([meaning, words, bm25], [1, *weights], trust))
    hits = found | fused
    return Three({way: ndcg(its) for way, its in hits.items()}, tuned, _unread(name, collection, hits))


def _unread(name: str, collection: Collection, hits: Mapping[str, Hits]) -> dict[str, float]:
    """Read is what is graded, zeros included: `judgements/` holds the pairs that judges have seen."""
    files = [] if name.endswith("known items") else sorted(JUDGEMENTS.glob(f"{name.partition(',')[0]}*.tsv"))
    if not files:
        return {}
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    read = {tuple(line.split("\t")[:2]) for line in lines}
    read |= {(query, document) for query, grades in collection.qrels.items() for document in grades}
    runs = {
        way: evaluation.as_run(its.cut(5), collection.query_ids, collection.document_ids) for way, its in hits.items()
    }
    return {way: float(np.mean([(q, d) not in read for q in run for d in run[q]])) for way, run in runs.items()}


def left_out(name: str, sets: Mapping[str, Three]) -> Values:
    """With the constants that are best on the natural sets of other sources: their mean gain over the best stage, and
    twice as much where it is below zero."""
    source = name.partition(",")[0]
    others = [of for other, of in sets.items() if other.partition(",")[0] != source]

    def merit(choice: tuple[Any, Any]) -> float:
        gains = [(of.tuned[choice] - best_stage(of)[1]).mean() for of in others]
        return float(np.mean([gain + 2 * min(gain, 0) for gain in gains]))

    return sets[name].tuned[max(sets[name].tuned, key=merit)]


def best_stage(of: Three) -> tuple[str, Values]:
    way = max(STAGES, key=lambda way: of.values[way].mean())
    return way, of.values[way]


def report_three(sets: dict[str, Three]) -> str:
    columns = list(next(iter(sets.values())).values)
    rows = [f"| set | queries | {' | '.join(columns)} | adaptive − best stage | left out − best stage |"]
    rows += ["|---|" + "---|" * (len(columns) + 3)]
    natural = {name: of for name, of in sets.items() if not name.endswith("stress")}
    counts = {"adaptive": [0, 0], "left out": [0, 0], "all three": [0, 0], "adaptive, without sparse": [0, 0]}
    for name, of in sets.items():
        way, best = best_stage(of)
        cells = [f"**{v.mean():.3f}**" if way == w else f"{v.mean():.3f}" for w, v in of.values.items()]
        compared = {w: of.values[w] for w in counts if w in of.values} | {
            "left out": left_out(name, natural | {name: of})
        }
        gains = {w: evaluation.paired_bootstrap(values, best) for w, values in compared.items()}
        for w, gain in gains.items():
            counts[w][0] += name in natural and gain.low > 0
            counts[w][1] += name in natural and gain.high < 0
        shown = [f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in (gains["adaptive"], gains["left out"])]
        rows.append(f"| {name} | {len(best)} | {' | '.join(cells)} | {' | '.join(shown)} |")
    means = [f"{np.mean([of.values[w].mean() for of in natural.values()]):.3f}" for w in columns]
    rows += [f"| mean of natural sets | | {' | '.join(means)} | | |", ""]
    for w, (above, below) in counts.items():
        beyond = f"above the best stage on {above} natural sets, below on {below}, of {len(natural)}"
        rows.append(f"- {w}, beyond the interval: {beyond}")
    rows += ["", "Of the first five hits, nobody has read:", ""]
    for name, of in sets.items():
        if of.unread:
            rows.append(f"- {name}: " + ", ".join(f"{w} {share:.0%}" for w, share in of.unread.items()))
    return "\n".join([*rows, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="of a set, at most")
    parser.add_argument("--documents", type=int, default=1_500, help="of a set, or as many as are judged")
    parser.add_argument("--reranked", type=int, default=0, help="queries of a set of two that are re-ranked")
    parser.add_argument("--three", nargs="*", default=THREE, help="sets for three rankings")
    parser.add_argument("--two", nargs="*", default=TWO, help="sets for two rankings")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    sets: dict[str, Three] = {}
    for name in options.three:
        collection = load(name, options.queries, options.documents)
        print(collection, flush=True)
        sets[name] = three(name, collection)
    values: dict[str, dict[str, dict[str, Values]]] = {}
    for name in options.two:
        collection = load(name, options.queries, options.documents)
        print(collection, flush=True)
        pairs = pairs_of_rankings(collection, options.reranked if name in RERANKED else 0)
        for pair, rankings in pairs.items():
            for rule, how in RULES.items():
                of_set = ndcg_by_share(rankings, collection, how)
                values.setdefault(pair, {}).setdefault(rule, {})[name] = of_set
    text = (
        f"# Fusion\n\n`python benchmarks/fusion.py`, {platform.machine()}, float32. nDCG@10; at most {options.queries} "
        f"queries and {options.documents:,} documents a set, fewer of long texts. Intervals: 95 %.\n\n"
    )
    if sets:
        text += INTRODUCTION + report_three(sets) + "\n"
    text += "\n".join(report(pair, of_rules) for pair, of_rules in values.items())
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
