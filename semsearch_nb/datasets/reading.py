"""What the readers of public data sets share: whole files, checked fields, and pairs of texts.

What is missing or malformed is a `DatasetError` that begins with the file, and the line or record.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.vectors import as_count

T = TypeVar("T")
KINDS: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}


@contextmanager
def readable(file: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """A file that is missing, or is not of its kind, which `errors` of its reader tell, is a `DatasetError`."""
    unreadable: tuple[type[Exception], ...] = (UnicodeDecodeError, *errors)
    try:
        yield
    except FileNotFoundError:
        raise DatasetError(f"{file} is missing") from None
    except unreadable as error:
        raise DatasetError(f"{file} is not {kind}: {error}") from None


def text_file(file: Path) -> str:
    """The text of a UTF-8 file."""
    with readable(file, "UTF-8 text"):
        return file.read_text(encoding="utf-8")


def json_file(file: Path) -> Any:
    """The value that a JSON file holds."""
    text = text_file(file)
    with readable(file, "JSON", json.JSONDecodeError):
        return json.loads(text)


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, without their ends, counted from 1; `.gz` is unpacked."""
    opened, kind = (gzip.open, "a whole gzip file of UTF-8 text") if file.suffix == ".gz" else (open, "UTF-8 text")
    # newline="\n": str.splitlines would also split at U+2028, which texts contain.
    with (
        readable(file, kind, gzip.BadGzipFile, EOFError, zlib.error),
        opened(file, "rt", encoding="utf-8-sig", newline="\n") as stream,
    ):
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where it stands, and the JSON object, of each line of a file as `lines` reads it."""
    for number, line in lines(file):
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{where}: not a JSON object ({error})") from None
        if not isinstance(row, dict):
            raise DatasetError(f"{where}: not a JSON object")
        yield where, row


def parquet_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a parquet file, read in parts: where it stands, and the value in each of the columns."""
    import pyarrow.parquet  # takes a while, and only the full data need it

    with (
        readable(file, "a whole parquet file", pyarrow.ArrowException, OSError),
        pyarrow.parquet.ParquetFile(file) as table,
    ):
        if lacking := [name for name in columns if name not in table.schema_arrow.names]:
            raise DatasetError(f"{file}: the column {lacking[0]!r} is missing")
        batches = table.iter_batches(batch_size=10_000, columns=list(columns))
        for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
            yield f"{file}, row {number}", row


def field(row: Any, key: str, kind: type[T], where: str) -> T:
    """`row[key]`, which must be of the `kind` str, list or dict; a string must not be blank."""
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: not a JSON object")
    if key not in row:
        raise DatasetError(f"{where}: {key!r} is missing")
    value = row[key]
    if not isinstance(value, kind):
        raise DatasetError(f"{where}: {key!r} must be {KINDS[kind]}, not {value!r:.60}")
    if isinstance(value, str) and not value.strip():
        raise DatasetError(f"{where}: {key!r} is empty")
    return value


def first(items: Iterable[T], limit: int | None) -> list[T]:
    """The first `limit` items, or all.

    Raises:
        TypeError, ValueError: a `limit` that is not a whole number of at least 1.
    """
    return list(items)[: None if limit is None else as_count(limit, "limit")]


def from_pairs(name: str, pairs: Iterable[tuple[str, str, bool]], source: str) -> Collection:
    """A collection from triples of query, document, and whether the document is relevant.

    Equal texts are one query (q1, q2, …) or one document (d1, d2, …), in the order in which they
    first appear. Queries without a relevant document are left out, their documents stay.
    """
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for query, document, relevant in pairs:
        query_id = queries.setdefault(query.strip(), f"q{len(queries) + 1}")
        document_id = documents.setdefault(document.strip(), f"d{len(documents) + 1}")
        if relevant:
            qrels.setdefault(query_id, {})[document_id] = 1
    asked = [Query(key, text) for text, key in queries.items() if key in qrels]
    return checked(name, (Document(key, text) for text, key in documents.items()), asked, qrels, source)
