"""The BEIR layout, in which our samples are kept and in which users bring their own data.

corpus.jsonl      {"_id": "d1", "title": "…", "text": "…", "metadata": {…}}   title, metadata optional
queries.jsonl     {"_id": "q1", "text": "…", "metadata": {…}}
qrels/test.tsv    query-id TAB corpus-id TAB score, with this header line or without; or TREC's four columns
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from semsearch_nb.datasets.collection import Collection, DatasetError, DatasetWarning, Document, Query, checked
from semsearch_nb.datasets.reading import field, json_lines, lines

# The first or the last column of a header is called so.
HEADER = {"query", "query-id", "query_id", "qid", "topic", "score", "relevance", "label", "grade"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


def read(
    folder: Path,
    *,
    name: str | None = None,
    split: str = "test",
    source: str = "",
    strict: bool = False,
    documents: Sequence[Document] | None = None,
) -> Collection:
    """Read a folder in the BEIR layout; queries without a relevant document in the split are left out.

    The judgements are those of `qrels/SPLIT.tsv`; `qrels.tsv` is read where there is no folder `qrels`. Rows without
    any text, and judgements of what is not there, are left out, and one warning counts them.

    Args:
        strict: refuse such data instead.
        documents: in place of those in `corpus.jsonl`.

    Raises:
        DatasetError: a file or the split is missing, or a line is malformed; the message names file and line.

    Warns:
        DatasetWarning: what was left out, how many, and file and line of the first.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; a data set in the BEIR layout is one with corpus.jsonl")
    left_out: dict[str, list[str]] = {}  # the places of each kind of gap
    known = {document.id: document for document in documents or ()}
    for where, row in json_lines(folder / "corpus.jsonl") if documents is None else ():
        document = Document(_new_id(row, known, "document", where), *_texts(row, where), _metadata(row, where))
        known[document.id] = document
        if not document.full_text:
            left_out.setdefault("documents with neither title nor text", []).append(where)
    queries: dict[str, Query] = {}
    for where, query in _queries(folder / "queries.jsonl"):
        queries[query.id] = query
        if not query.text:
            left_out.setdefault("queries without text", []).append(where)
    qrels: dict[str, dict[str, float]] = {query_id: {} for query_id in queries}
    file = _qrels_file(folder, split)
    for where, query_id, document_id, grade in _judgements(file):
        if query_id not in queries or not queries[query_id].text:
            left_out.setdefault("judgements of queries that queries.jsonl does not hold", []).append(where)
        elif document_id not in known or not known[document_id].full_text:
            left_out.setdefault("judgements of documents that corpus.jsonl does not hold", []).append(where)
        elif qrels[query_id].setdefault(document_id, grade) != grade:
            raise DatasetError(f"{where}: {query_id!r} and {document_id!r} are judged twice, differently")
    if left_out:
        gaps = ", ".join(f"{len(places)} {kind} (the first: {places[0]})" for kind, places in left_out.items())
        if strict:
            raise DatasetError(f"{gaps}; without strict=True they are left out")
        warnings.warn(f"left out of {folder.name}: {gaps}", DatasetWarning, stacklevel=3)
    asked = [query for query in queries.values() if any(grade > 0 for grade in qrels[query.id].values())]
    if not asked:
        raise DatasetError(f"{file}: no query has a relevant document, that is one with a score above 0")
    kept = (document for document in known.values() if document.full_text)
    source = source or f"the folder {folder.name}, BEIR layout"
    return checked(name or folder.resolve().name, kept, asked, qrels, source)


def read_queries(file: Path) -> tuple[Query, ...]:
    """The queries of a file such as `queries.jsonl`.

    Raises:
        DatasetError: the file is missing, or a line is malformed.
    """
    return tuple(query for _, query in _queries(file))


def _queries(file: Path) -> Iterator[tuple[str, Query]]:
    known: dict[str, Query] = {}
    for where, row in json_lines(file):
        query = Query(_new_id(row, known, "query", where), _texts(row, where)[0], _metadata(row, where))
        known[query.id] = query
        yield where, query


def _qrels_file(folder: Path, split: str) -> Path:
    """Where the judgements of the split are."""
    plain, files = folder / "qrels.tsv", {file.stem: file for file in sorted((folder / "qrels").glob("*.tsv"))}
    if not files and plain.is_file():
        files = {"test": plain}
    if not files:
        raise DatasetError(f"{folder / 'qrels' / f'{split}.tsv'} is missing")
    if split not in files:
        raise DatasetError(f"{folder} has no split {split!r}; its splits are {', '.join(map(repr, files))}")
    return files[split]


def _judgements(file: Path) -> Iterator[tuple[str, str, str, float]]:
    """Where it stands, query, document and grade; a grade without decimals is a whole number."""
    for position, (number, line) in enumerate(lines(file)):
        where = f"{file}, line {number}"
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) not in (3, 4):
            wanted = "query, document and score, or TREC's four columns, separated by tabs"
            raise DatasetError(f"{where}: expected {wanted}, found {len(columns)}")
        query_id, document_id, grade = columns[0], columns[-2], columns[-1].strip()
        if NUMBER.fullmatch(grade):
            value = float(grade)
            yield where, query_id, document_id, int(value) if value.is_integer() else value
        elif position or not {query_id.strip().casefold(), grade.casefold()} & HEADER:
            raise DatasetError(f"{where}: the score must be a number, not {grade!r}")


def _new_id(row: dict[str, Any], known: dict[str, Any], kind: str, where: str) -> str:
    if (key := field(row, "_id", str, where)) in known:
        raise DatasetError(f"{where}: the {kind} id {key!r} occurs twice")
    return key


def _texts(row: dict[str, Any], where: str) -> tuple[str, str]:
    """Text and title; blank where they are so, null, or (the title) missing."""
    if "text" not in row:
        raise DatasetError(f"{where}: 'text' is missing")
    found = row["text"] or "", row.get("title") or ""
    for key, value in zip(("text", "title"), found, strict=True):
        if not isinstance(value, str):
            raise DatasetError(f"{where}: {key!r} must be a string, not {value!r:.60}")
    text, title = (value if value.strip() else "" for value in found)
    return text, title


def _metadata(row: dict[str, Any], where: str) -> dict[str, Any]:
    return field(row, "metadata", dict, where) if row.get("metadata") else {}
