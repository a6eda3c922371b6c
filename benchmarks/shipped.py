"""What do the vectors that come with the installation lose against float32?

    python benchmarks/shipped.py [--wordnet]     # minutes, as everything is encoded anew; --wordnet: ten more

For each collection: the least and the mean cosine of documents and queries, the share of the ten nearest that is the
same, and the difference in nDCG@10 with its 95 % paired bootstrap interval. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from semsearch_nb import datasets, encoding, evaluation, exact, models
from semsearch_nb.datasets import Collection
from semsearch_nb.vectors import FloatArray, Hits

SETS = (
    ("symmetric", "passages", "test"),
    ("symmetric", "publications", "test"),
    ("symmetric", "questions", "test"),
    ("symmetric", "encyclopedia", "test"),
    ("asymmetric", "passages", "test"),
    ("asymmetric", "passages", "multilingual"),
    ("questions", "questions", "test"),
    ("questions", "questions", "multilingual"),
    ("asymmetric", "encyclopedia", "test"),
    ("asymmetric", "encyclopedia", "fr"),
    ("asymmetric", "encyclopedia", "es"),
)
WORDNET = (("symmetric", "wordnet", "reverse"),)


def both(role: str, texts: list[str], kind: encoding.Kind) -> tuple[FloatArray, FloatArray]:
    """The shipped vectors and those of float32."""
    model = models.load(role)
    return encoding.encode(model, texts, kind), encoding.encode(model, texts, kind, precision="float32")


def ndcg(hits: Hits, collection: Collection) -> evaluation.Values:
    run = evaluation.as_run(hits, collection.query_ids, collection.document_ids)
    return evaluation.ndcg_at_k(run, collection.qrels)


def row(role: str, name: str, split: str) -> str:
    collection = datasets.load(name, split=split)
    documents = both(role, collection.document_texts, "document")
    queries = both(role, collection.query_texts, "query")
    cosines = np.concatenate([(one * other).sum(axis=1) for one, other in (documents, queries)])
    shipped, fresh = (exact.search(q, d, k=10) for q, d in zip(queries, documents, strict=True))
    same = np.mean([len(np.intersect1d(*rows)) / 10 for rows in zip(shipped.indices, fresh.indices, strict=True)])
    difference = evaluation.paired_bootstrap(ndcg(shipped, collection), ndcg(fresh, collection))
    interval = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    model = models.identity(models.load(role)).name
    return f"| {model} | {name}, {split} | {cosines.min():.5f} | {cosines.mean():.5f} | {same:.1%} | {interval} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", action="store_true", help="also WordNet, whose 117,791 definitions take minutes")
    print("| model | collection | least cosine | mean cosine | same of the ten nearest | nDCG@10 − float32's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for role, name, split in SETS + (WORDNET if parser.parse_args().wordnet else ()):
        print(row(role, name, split), flush=True)


if __name__ == "__main__":
    main()
