"""Cranfield: abstracts on aerodynamics and the questions of 225 researchers, the first test collection.

The original files: `cran.all.1400` and `cran.qry` with the fields .I .T .A .B .W, and `cranqrel`.
"""

from __future__ import annotations

import re
from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import lines, text_file

SOURCE = "Cranfield 1400 (Cleverdon 1967), for research"
RECORD = re.compile(r"^\.I +(\d+) *\n", re.MULTILINE)
DOCUMENT = re.compile(r"\.T\n(.*?)^\.A\n.*?^\.B\n.*?^\.W\n(.*)", re.MULTILINE | re.DOTALL)
QUERY = re.compile(r"\.W\n(.*)", re.DOTALL)
MARKER = re.compile(r"^\.[A-Z]$", re.MULTILINE)
GRADES = {"1": 4, "2": 3, "3": 2, "4": 1}


def read(folder: Path) -> Collection:
    """Titles and abstracts, and what the researchers said of them, graded 4 (best) to 1.

    - The codes of `cranqrel` count the other way: 1 is "a complete answer", 4 "minimum interest".
      The code -1, one a query, is not explained in the collection; it is left out, as usual.
    - The queries of `cranqrel` are the ordinals of those in `cran.qry`, not their numbers there.
    - Two documents (471 and 995) are blank. They are left out, as is the one judgement on them.
    - Abstracts repeat the title, which is removed; so are markers astray in three abstracts.

    Raises:
        DatasetError: a file is missing or malformed; the message names the record or the line.
    """
    folder = Path(folder)
    read_documents = [_document(*record) for record in _records(folder / "cran.all.1400")]
    documents = {document.id: document for document in read_documents if document.text}
    texts = [_query(*record) for record in _records(folder / "cran.qry")]
    queries = [Query(str(ordinal), text) for ordinal, text in enumerate(texts, 1)]
    blank = {document.id for document in read_documents if not document.text}
    qrels: dict[str, dict[str, int]] = {query.id: {} for query in queries}
    for number, line in lines(folder / "cranqrel"):
        where = f"{folder / 'cranqrel'}, line {number}"
        query_id, document_id, code = _judgement(line, where)
        if query_id not in qrels:
            raise DatasetError(f"{where}: cran.qry has no query {query_id}")
        if document_id not in documents and document_id not in blank:
            raise DatasetError(f"{where}: cran.all.1400 has no document {document_id}")
        if code in GRADES and document_id in documents:
            qrels[query_id][document_id] = GRADES[code]
    return checked("cranfield", documents.values(), queries, qrels, SOURCE)


def _records(file: Path) -> list[tuple[str, str, str]]:
    """(where it stands, number, what follows) of each record, which begins with `.I` and a number."""
    before, *parts = RECORD.split(text_file(file))
    if before.strip() or not parts:
        raise DatasetError(f"{file}, line 1: expected .I and a number")
    return [(f"{file}, record {number}", number, rest) for number, rest in zip(parts[::2], parts[1::2], strict=True)]


def _document(where: str, number: str, record: str) -> Document:
    found = DOCUMENT.match(record)
    if found is None:
        raise DatasetError(f"{where}: expected the fields .T, .A, .B and .W in this order")
    title, abstract = (_clean(text) for text in found.groups())
    return Document(number, abstract.removeprefix(title).strip() or abstract, title.rstrip(" ."))


def _query(where: str, number: str, record: str) -> str:
    found = QUERY.match(record)
    if found is None:
        raise DatasetError(f"{where}: expected the field .W")
    return _clean(found[1])


def _judgement(line: str, where: str) -> tuple[str, str, str]:
    columns = line.split()
    if len(columns) != 3:
        raise DatasetError(f"{where}: expected query, document and code, found {len(columns)} columns")
    query_id, document_id, code = columns
    if code not in GRADES and code != "-1":
        raise DatasetError(f"{where}: the code must be 1, 2, 3, 4 or -1, not {code!r}")
    return query_id, document_id, code


def _clean(text: str) -> str:
    return " ".join(MARKER.sub("", text).split())
