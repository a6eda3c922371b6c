"""Which rule fuses two rankings best: published ones, or the project's former z·z₁? Judged sets, nested tuning.

    SEMSEARCH_DATA_DIR=... python benchmarks/fusion.py            # half an hour on two cores, seconds once encoded

Rules: weighted reciprocal ranks (Cormack et al. 2009), CombSUM of scores scaled to 0…1 (Fox and Shaw 1994),
CombSUM of z-scores (Renda and Straccia 2003), and z·z₁, where z₁ is the z-score of a ranking's first hit.
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
from typing import Any

import numpy as np

os.environ.setdefault("SEMSEARCH_PRECISION", "float32")

from semsearch_nb import datasets, encoding, evaluation, exact, lexical, models, reranking, settings
from semsearch_nb.datasets import Collection, Document, Query, labelled

RESULTS = Path(__file__).parent / "results" / "fusion.md"
PUBLIC = ("squad", "trec-dl-2019-5k", "wikiqa", "cranfield", "quora", "medquad", "pubmedqa", "emnlp-known-items")
OWN = ("passages", "questions", "publications")
LEARNED = ("squad", "medquad", "pubmedqa", "passages")  # the re-ranker has seen a part: only the rest is asked
RERANKED = ("trec-dl-2019-5k", "wikiqa", "quora", "passages", "questions", "publications")  # of short texts
SMALLER = {
    "pubmedqa": (150, 500),
    "medquad": (150, 500),
    "emnlp-known-items": (150, 500),
    "trec-dl-2019-5k": (43, 1_500),
}
SHARES = np.linspace(0, 1, 21)  # weight of the second ranking; that of the first is what is left of 1
FOLDS = 5
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
    collection = datasets.load(name) if name in OWN else labelled.available(folder)[name]()  # type: ignore[arg-type]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="of a set, at most")
    parser.add_argument("--documents", type=int, default=1_500, help="of a set, or as many as are judged")
    parser.add_argument("--reranked", type=int, default=60, help="queries of a set that are re-ranked; 0 for none")
    parser.add_argument("--only", nargs="+", default=[*PUBLIC, *OWN])
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    values: dict[str, dict[str, dict[str, Values]]] = {}
    for name in options.only:
        collection = load(name, options.queries, options.documents)
        print(collection, flush=True)
        pairs = pairs_of_rankings(collection, options.reranked if name in RERANKED else 0)
        for pair, rankings in pairs.items():
            for rule, how in RULES.items():
                of_set = ndcg_by_share(rankings, collection, how)
                values.setdefault(pair, {}).setdefault(rule, {})[name] = of_set
    chosen = "" if [*options.only] == [*PUBLIC, *OWN] else f" --only {' '.join(options.only)}"
    text = (
        f"# Fusion of two rankings\n\n`python benchmarks/fusion.py{chosen}`, "
        f"{platform.machine()}, float32. nDCG@10; at most {options.queries} queries and {options.documents:,} "
        f"documents a set{f', {options.reranked} queries re-ranked' if options.reranked else ''}. "
        "Intervals: 95 %, of the mean over sets.\n\n"
    )
    text += "\n".join(report(pair, of_rules) for pair, of_rules in values.items())
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
