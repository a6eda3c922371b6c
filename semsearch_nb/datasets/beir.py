"""The BEIR layout, in which our samples are kept and in which users bring their own data.

corpus.jsonl      {"_id": "d1", "title": "…", "text": "…", "metadata": {…}}   title, metadata optional
queries.jsonl     {"_id": "q1", "text": "…", "metadata": {…}}
qrels/test.tsv    query-id TAB corpus-id TAB score, with this header line
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, check


def read(
    folder: Path,
    *,
    name: str | None = None,
    split: str = "test",
    source: str = "",
    documents: tuple[Document, ...] | None = None,
) -> Collection:
    """Read a folder in the BEIR layout; queries without a judgement in the split are left out.

    The judgements are looked for in `qrels/SPLIT.tsv`, then in `qrels.tsv`. Where `documents` are given they
    take the place of `corpus.jsonl`.

    Raises:
        DatasetError: a file is missing, or a line is malformed; the message names file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; a data set in the BEIR layout is one with corpus.jsonl")
    documents = documents or _read_documents(folder / "corpus.jsonl")
    queries = read_queries(folder / "queries.jsonl")
    qrels = read_qrels(_qrels_file(folder, split))
    known = {query.id for query in queries}
    for query_id in qrels:
        if query_id not in known:
            raise DatasetError(f"{_qrels_file(folder, split)}: {query_id!r} is judged and is not in queries.jsonl")
    relevant = {query_id for query_id, judged in qrels.items() if any(grade > 0 for grade in judged.values())}
    return check(
        Collection(
            name=name or folder.name,
            documents=documents,
            queries=tuple(query for query in queries if query.id in relevant),
            qrels={query.id: qrels[query.id] for query in queries if query.id in relevant},
            source=source or f"the folder {folder.name}, BEIR layout",
        )
    )


def read_queries(file: Path) -> tuple[Query, ...]:
    """The queries of a file such as `queries.jsonl`.

    Raises:
        DatasetError: the file is missing, or a line is malformed.
    """
    return tuple(
        Query(_string(row, "_id", where), _string(row, "text", where), _mapping(row, where))
        for where, row in _json_lines(file)
    )


def read_qrels(file: Path) -> dict[str, dict[str, int]]:
    """Judgements by query, in the order of the file; a header line is skipped.

    Raises:
        DatasetError: the file is missing, or a line is malformed.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, line in lines(file):
        where = f"{file}, line {number}"
        columns = line.split("\t")
        if len(columns) != 3:
            raise DatasetError(f"{where}: expected 3 columns separated by tabs, found {len(columns)}")
        query_id, document_id, grade = columns
        if number == 1 and not grade.lstrip("-").isdigit():
            continue
        if not grade.lstrip("-").isdigit():
            raise DatasetError(f"{where}: the score must be a whole number, not {grade!r}")
        judged = qrels.setdefault(query_id, {})
        if judged.setdefault(document_id, int(grade)) != int(grade):
            raise DatasetError(f"{where}: {query_id!r} and {document_id!r} are judged twice, differently")
    return qrels


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, without their ends, counted from 1.

    Raises:
        DatasetError: the file is missing or is not UTF-8.
    """
    try:
        # newline="\n": str.splitlines would also split at U+2028, which texts contain.
        with file.open(encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                line = line.rstrip("\r\n")
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise DatasetError(f"{file} is missing") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text: {error}") from None


def _read_documents(file: Path) -> tuple[Document, ...]:
    return tuple(
        Document(
            _string(row, "_id", where),
            _string(row, "text", where),
            _string(row, "title", where, default=""),
            _mapping(row, where),
        )
        for where, row in _json_lines(file)
    )


def _qrels_file(folder: Path, split: str) -> Path:
    plain = folder / "qrels.tsv"
    return plain if plain.is_file() else folder / "qrels" / f"{split}.tsv"


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in lines(file):
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(row, dict):
            raise DatasetError(f"{where}: not a JSON object")
        yield where, row


def _string(row: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        problem = "is missing" if key not in row else f"must be a string, not {value!r}"
        raise DatasetError(f"{where}: {key!r} {problem}")
    return value


def _mapping(row: dict[str, Any], where: str) -> dict[str, Any]:
    value = row.get("metadata") or {}
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: 'metadata' must be an object, not {value!r}")
    return value
