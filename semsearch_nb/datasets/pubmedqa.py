"""PubMedQA: which abstract answers the question that its own title asks?

`ori_pqal.json` is an object of records by PubMed id, with `QUESTION` and `CONTEXTS`: the abstract
in its sections, without the conclusion.
"""

from __future__ import annotations

from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import field, json_file

SOURCE = "PubMedQA (Jin et al. 2019), MIT"


def read(file: Path) -> Collection:
    """Documents are the sections of an abstract as one text; equal texts are one document.

    Raises:
        DatasetError: the file is missing or malformed; the message names the record.
    """
    records = json_file(Path(file))
    if not isinstance(records, dict):
        raise DatasetError(f"{file}: expected an object of records by PubMed id")
    documents: dict[str, Document] = {}
    queries: list[Query] = []
    qrels: dict[str, dict[str, int]] = {}
    for key, record in records.items():
        where = f"{file}, record {key}"
        queries.append(Query(key, field(record, "QUESTION", str, where).strip()))
        sections = field(record, "CONTEXTS", list, where)
        if not all(isinstance(section, str) for section in sections):
            raise DatasetError(f"{where}: 'CONTEXTS' must be a list of strings")
        text = " ".join(sections).strip()
        document = documents.setdefault(text, Document(key, text))
        qrels[key] = {document.id: 1}
    return checked("pubmedqa", documents.values(), queries, qrels, SOURCE)
