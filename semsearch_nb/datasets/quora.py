"""Quora question pairs: which other questions ask the same?

The release is a TSV file with the columns id, qid1, qid2, question1, question2, is_duplicate. The hub's
data set `sentence-transformers/quora-duplicates` has the same pairs as sentence1, sentence2, label.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import first, parquet_rows, readable

SOURCE = "Quora question pairs (2017), Quora's terms of service, non-commercial use"
HUB = ("sentence-transformers/quora-duplicates", "pair-class/train-00000-of-00001.parquet")
COLUMNS = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
Row = tuple[tuple[str, str], tuple[str, str], bool]


def read(file: Path, *, limit: int | None = None) -> Collection:
    """Questions that are duplicates, directly or by way of others, form a cluster.

    The first question of a cluster is a query, the others are its relevant documents; its metadata hold
    `cluster`, as those of our own questions do. A question without a duplicate is a document that nobody
    asks for. Equal texts are one question; a row with an empty question, of which the release has a few,
    is left out.

    Args:
        file: `quora_duplicate_questions.tsv`, or the hub's file with the suffix `.parquet`.
        limit: only the first clusters are queries; the documents stay.

    Raises:
        DatasetError: the file is missing or malformed; the message names the line.
    """
    file = Path(file)
    ids: dict[str, str] = {}
    parents: dict[str, str] = {}
    for pair, texts, duplicate in _hub_rows(file) if file.suffix == ".parquet" else _rows(file):
        for question_id, text in zip(pair, texts, strict=True):
            ids.setdefault(text, question_id)
            parents.setdefault(text, text)
        if duplicate:
            parents[_root(parents, texts[1])] = _root(parents, texts[0])
    clusters: dict[str, list[str]] = {}
    for text, question_id in ids.items():
        clusters.setdefault(_root(parents, text), []).append(question_id)
    qrels = {query_id: dict.fromkeys(others, 1) for query_id, *others in clusters.values() if others}
    queries = first((Query(key, text, {"cluster": key}) for text, key in ids.items() if key in qrels), limit)
    documents = (Document(key, text) for text, key in ids.items() if key not in qrels)
    return checked("quora", documents, queries, qrels, SOURCE)


def _hub_rows(file: Path) -> Iterator[Row]:
    """As `_rows`; questions are numbered as they first appear, since the hub's file has no ids."""
    ids: dict[str, str] = {}
    for where, row in parquet_rows(file, ["sentence1", "sentence2", "label"]):
        if row["label"] not in (0, 1):
            raise DatasetError(f"{where}: 'label' must be 0 or 1, not {row['label']!r}")
        texts = (row["sentence1"] or "").strip(), (row["sentence2"] or "").strip()
        if all(texts):
            one, other = (ids.setdefault(text, str(len(ids) + 1)) for text in texts)
            yield (one, other), texts, row["label"] == 1


def _rows(file: Path) -> Iterator[Row]:
    """The two ids, the two questions, and whether they are duplicates."""
    with readable(file, "a UTF-8 text of columns", csv.Error), file.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, delimiter="\t")
        if next(reader, None) != COLUMNS:
            raise DatasetError(f"{file}, line 1: expected the columns {', '.join(COLUMNS)}")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            if len(row) != len(COLUMNS):
                raise DatasetError(f"{where}: expected {len(COLUMNS)} columns separated by tabs, found {len(row)}")
            _, qid1, qid2, question1, question2, duplicate = row
            if duplicate not in ("0", "1"):
                raise DatasetError(f"{where}: is_duplicate must be 0 or 1, not {duplicate!r}")
            texts = _unquoted(question1), _unquoted(question2)
            if all(texts):
                yield (qid1, qid2), texts, duplicate == "1"


def _unquoted(text: str) -> str:
    """Some copies of the release are quoted twice; `csv` has removed the outer quotes only.

    >>> _unquoted('"Who said ""Eureka""?"'), _unquoted('"A" or "B"?')
    ('Who said "Eureka"?', '"A" or "B"?')
    """
    inner = text[1:-1].replace('""', "")
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner:
        text = text[1:-1].replace('""', '"')
    return text.strip()


def _root(parents: dict[str, str], text: str) -> str:
    """The question that stands for the cluster of `text`; the way there is halved for the next time."""
    while parents[text] != text:
        parents[text] = parents[parents[text]]
        text = parents[text]
    return text
