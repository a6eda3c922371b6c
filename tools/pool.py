"""Pool the first hits of several methods for judging, and turn what was judged into judgements and figures.

    python tools/pool.py hits passages --queries new.jsonl --depth 5 --skip-judged --output pools/passages
    python tools/pool.py qrels judged/*.tsv --pools pools/passages.jsonl --add-to qrels/test.tsv --output qrels/test.tsv
    python tools/pool.py missed judged/*.tsv --pools pools/passages.jsonl
    python tools/pool.py kappa judged/first.tsv judged/second.tsv

`hits` writes what a judge reads (`PREFIX-01.txt`, …: questions and documents in random order, without methods, ranks,
scores and earlier grades) and what the judge must not see (`PREFIX.jsonl`: which method found what, best first).
A file of judgements has lines of query id TAB document id TAB grade TAB reason.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from semsearch_nb import datasets, encoding, indexes, lexical, models, reranking, retrieval
from semsearch_nb.datasets import Collection, DatasetError, Document, Query, beir
from semsearch_nb.vectors import FloatArray

Run = dict[str, list[str]]  # query id → document ids, best first
Qrels = Mapping[str, Mapping[str, int]]
Pools = dict[str, dict[str, Any]]
GRADES = (0, 1, 2)
RERANKED = 30  # hits of MiniLM that the cross-encoder reads
HEADER = "query-id\tcorpus-id\tscore\n"


# ------------------------------------------------------------------------------------- pooling


class Methods:
    """Searches over the documents of a collection, each made when it is first used.

    Args:
        vectors: a folder for the documents' vectors, as NAME-ROLE-documents.npy, which outlives changes of the
            cache; without it they come from the cache.
    """

    def __init__(self, collection: Collection, vectors: Path | None = None) -> None:
        self.name, self.texts, self.vectors = collection.name.split("-")[0], collection.document_texts, vectors

    @cached_property
    def bm25(self) -> retrieval.Retriever:
        return lexical.BM25(self.texts)

    @cached_property
    def minilm(self) -> retrieval.Retriever:
        return self._dense("symmetric")

    @cached_property
    def e5(self) -> retrieval.Retriever:
        return self._dense("asymmetric")

    @cached_property
    def reranked(self) -> retrieval.Retriever:
        return reranking.Pipeline(self.minilm, models.load_reranker(), self.texts, pool=RERANKED)

    @cached_property
    def hybrid(self) -> retrieval.Retriever:
        return retrieval.Hybrid([self.minilm, self.bm25])

    def _dense(self, role: str) -> retrieval.Retriever:
        model = models.load(role)
        index = indexes.Exact().build(self._document_vectors(model, role))
        return retrieval.Dense(model, self.texts, index=index)

    def _document_vectors(self, model: Any, role: str) -> FloatArray:
        if self.vectors is None:
            return encoding.encode_documents(model, self.texts)
        file = self.vectors / f"{self.name}-{role}-documents.npy"
        if not file.is_file():
            np.save(file, encoding.encode_documents(model, self.texts), allow_pickle=False)
        found: FloatArray = np.load(file, allow_pickle=False)
        if len(found) != len(self.texts):
            raise ValueError(f"{file} has {len(found)} vectors and there are {len(self.texts)} documents; remove it")
        return found


METHODS = ("bm25", "minilm", "e5", "reranked", "hybrid")


def search(retriever: retrieval.Retriever, queries: Sequence[Query], document_ids: Sequence[str], depth: int) -> Run:
    """The first `depth` documents that are found."""
    hits = retriever.search([query.text for query in queries], depth)
    return {
        query.id: [document_ids[row] for row in rows[some].tolist()]
        for query, rows, some in zip(queries, hits.indices, hits.found, strict=True)
    }


def pool(query_id: str, runs: Mapping[str, Run], judged: Iterable[str] = ()) -> list[str]:
    """What some method found and nobody judged, in an order that depends on the query alone."""
    found = {document for run in runs.values() for document in run[query_id]} - set(judged)
    order = sorted(found)
    random.Random(query_id).shuffle(order)
    return order


def as_text(query: Query, documents: Sequence[Document]) -> str:
    """A question and its documents, as a judge reads them."""
    parts = [f"==== {query.id}\t{query.text}\n"]
    parts += [f"---- {document.id}\n{document.title}\n{document.text}\n" for document in documents]
    return "\n".join(parts) + "\n"


def write_pools(
    prefix: Path,
    queries: Sequence[Query],
    documents: Mapping[str, Document],
    runs: Mapping[str, Run],
    judged: Qrels,
    per_file: int,
) -> int:
    """Write `PREFIX-NN.txt` and `PREFIX.jsonl`; how many pairs are to be judged."""
    asked = {query.id: pool(query.id, runs, judged.get(query.id, ())) for query in queries}
    texts = [as_text(query, [documents[i] for i in asked[query.id]]) for query in queries if asked[query.id]]
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(texts), per_file), 1):
        file = prefix.with_name(f"{prefix.name}-{number:02}.txt")
        file.write_text("\n".join(texts[start : start + per_file]), encoding="utf-8")
    rows = ({"query": i, "asked": asked[i], "found": {m: run[i] for m, run in runs.items()}} for i in asked)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    prefix.with_name(prefix.name + ".jsonl").write_text(lines, encoding="utf-8")
    return sum(map(len, asked.values()))


# ---------------------------------------------------------------------------------- judgements


def read_pools(files: Iterable[Path]) -> Pools:
    """Query id → `asked`, the documents to judge, and `found`, the documents of each method, of all files together."""
    pools: Pools = {}
    for file in files:
        for _, line in beir.lines(file):
            row = json.loads(line)
            known = pools.setdefault(row["query"], {"asked": [], "found": {}})
            known["asked"] += row["asked"]
            for method, found in row["found"].items():
                known["found"].setdefault(method, []).extend(found)
    return pools


def read_judgements(files: Iterable[Path]) -> dict[str, dict[str, int]]:
    """Grades by query and document; lines that begin with # are comments, and a header is left out.

    Raises:
        DatasetError: a malformed line, or a pair with two grades; the message names file and line.
    """
    judged: dict[str, dict[str, int]] = {}
    for file in files:
        for number, line in beir.lines(file):
            if line.startswith(("#", "query-id\t")):
                continue
            where = f"{file}, line {number}"
            columns = line.split("\t")
            if len(columns) not in (3, 4):
                raise DatasetError(f"{where}: expected query, document, grade and reason, separated by tabs")
            query, document, grade = (column.strip() for column in columns[:3])
            if grade not in map(str, GRADES):
                raise DatasetError(f"{where}: the grade must be 0, 1 or 2, not {grade!r}")
            if judged.setdefault(query, {}).setdefault(document, int(grade)) != int(grade):
                raise DatasetError(f"{where}: {query!r} and {document!r} are judged twice, differently")
    return judged


def differences(pools: Pools, judged: Qrels) -> tuple[list[str], list[str]]:
    """Pairs that were asked and not judged, and pairs that were judged and not asked: often an id with a slip."""
    asked = {(query, document) for query, row in pools.items() for document in row["asked"]}
    given = {(query, document) for query, grades in judged.items() for document in grades}
    unjudged, unasked = ([" ".join(pair) for pair in sorted(some)] for some in (asked - given, given - asked))
    return unjudged, unasked


def merge(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Old judgements and new ones; where both grade a pair the old one stays."""
    return {query: {**new.get(query, {}), **old.get(query, {})} for query in (*old, *(new.keys() - old.keys()))}


def missed(pools: Pools, judged: Qrels) -> dict[str, tuple[int, int]]:
    """Leave one method out: of the relevant documents in the pool, how many only this method found, and all."""
    finders: list[list[str]] = []
    for query, row in pools.items():
        for document, grade in judged.get(query, {}).items():
            names = [method for method, found in row["found"].items() if document in found]
            if grade > 0 and names:
                finders.append(names)
    methods = dict.fromkeys(method for row in pools.values() for method in row["found"])
    return {method: (finders.count([method]), len(finders)) for method in methods}


def kappa(one: Qrels, other: Qrels) -> dict[str, float]:
    """Cohen's κ of the pairs that both have judged: of the grades, and of relevant or not."""
    pairs = [(query, document) for query in one for document in one[query] if document in other.get(query, {})]
    if not pairs:
        raise ValueError("the two have judged no pair in common")
    first, second = (np.array([qrels[query][document] for query, document in pairs]) for qrels in (one, other))
    return {
        "pairs": len(pairs),
        "agreement": float((first == second).mean()),
        "kappa": float(cohen_kappa_score(first, second)),
        "kappa of relevant or not": float(cohen_kappa_score(first > 0, second > 0)),
    }


# ------------------------------------------------------------------------------------ commands


def hits_command(options: argparse.Namespace) -> None:
    collection = datasets.load(options.collection, split=options.split)
    queries = beir.read_queries(options.queries) if options.queries else collection.queries
    start, stop = (int(end) if end else None for end in options.rows.split(":"))
    queries = queries[start:stop]
    methods = Methods(collection, options.vectors)
    runs = {
        name: search(getattr(methods, name), queries, collection.document_ids, options.depth)
        for name in options.methods
    }
    known = {query: dict.fromkeys(row["asked"]) for query, row in read_pools(options.skip).items()}
    judged = merge(collection.qrels if options.skip_judged else {}, known)
    documents = {document.id: document for document in collection.documents}
    n_pairs = write_pools(options.output, queries, documents, runs, judged, options.per_file)
    print(f"{len(queries):,} queries, {n_pairs:,} pairs to judge")


def qrels_command(options: argparse.Namespace) -> None:
    judged = read_judgements(options.judgements)
    unjudged, unasked = differences(read_pools(options.pools), judged)
    for what, pairs in (("asked and not judged", unjudged), ("judged and not asked", unasked)):
        print(f"{len(pairs):,} pairs {what}", *pairs[:20], sep="\n")
    qrels = merge(read_judgements([options.add_to]) if options.add_to else {}, judged)
    lines = (f"{query}\t{document}\t{grade}\n" for query in qrels for document, grade in qrels[query].items())
    options.output.write_text(HEADER + "".join(lines), encoding="utf-8")


def missed_command(options: argparse.Namespace) -> None:
    for method, (alone, of_all) in missed(read_pools(options.pools), read_judgements(options.judgements)).items():
        print(f"without {method}: {alone:,} of {of_all:,} relevant documents missed ({alone / max(of_all, 1):.1%})")


def kappa_command(options: argparse.Namespace) -> None:
    for name, value in kappa(read_judgements([options.first]), read_judgements([options.second])).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value:,}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    hits = commands.add_parser("hits", help="pool the first hits of all methods")
    hits.add_argument("collection", help="a name or a folder, as datasets.load takes it")
    hits.add_argument("--split", default="test")
    hits.add_argument("--queries", type=Path, metavar="FILE", help="in place of those of the split")
    hits.add_argument("--rows", default=":", metavar="START:STOP", help="only these queries, counted from 0")
    hits.add_argument("--depth", type=int, default=10, help="hits a method (default 10)")
    hits.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="only these")
    hits.add_argument("--skip", nargs="+", type=Path, default=[], metavar="POOL", help="leave out what these ask")
    hits.add_argument("--skip-judged", action="store_true", help="leave out what the split has judged")
    hits.add_argument("--per-file", type=int, default=50, metavar="N", help="queries a file (default 50)")
    hits.add_argument("--vectors", type=Path, metavar="FOLDER", help="keep the documents' vectors here")
    hits.add_argument("--output", type=Path, required=True, metavar="PREFIX")
    hits.set_defaults(run=hits_command)
    qrels = commands.add_parser("qrels", help="judgements as qrels, and what is not judged yet")
    qrels.add_argument("--add-to", type=Path, metavar="QRELS", help="judgements to keep")
    qrels.add_argument("--output", type=Path, required=True, metavar="FILE")
    qrels.set_defaults(run=qrels_command)
    left_out = commands.add_parser("missed", help="what would be missed without a method")
    left_out.set_defaults(run=missed_command)
    for command in (qrels, left_out):
        command.add_argument("--pools", nargs="+", type=Path, required=True, metavar="PREFIX.jsonl")
        command.add_argument("judgements", nargs="+", type=Path)
    agreement = commands.add_parser("kappa", help="how far two judges agree")
    agreement.add_argument("first", type=Path)
    agreement.add_argument("second", type=Path)
    agreement.set_defaults(run=kappa_command)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
