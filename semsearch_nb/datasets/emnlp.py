"""Papers of the conference EMNLP: title, abstract, year.

The file is a JSON list of {"title": …, "abstract": …, "url": …, "venue": …, "year": "2018", "authors": […]}.
Of most papers of 2016 the abstract is empty.
"""

from __future__ import annotations

from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import field, json_file

SOURCE = "EMNLP papers (ACL Anthology), CC BY 4.0"
URL = "https://sbert.net/datasets/emnlp2016-2018.json"


def papers(file: Path) -> list[Document]:
    """All papers, in the order of the file: the id is the last part of the url, as in `D18-1114`.

    The text is the abstract, and `""` where there is none; metadata hold `year` (a number), `venue`,
    `url` and `authors`.

    Raises:
        DatasetError: the file is missing or malformed; the message names the paper.
    """
    rows = json_file(Path(file))
    if not isinstance(rows, list):
        raise DatasetError(f"{file}: not a JSON list of papers")
    found: dict[str, Document] = {}
    for number, row in enumerate(rows, 1):
        where = f"{file}, paper {number}"
        title, url, year = (field(row, key, str, where).strip() for key in ("title", "url", "year"))
        abstract = field(row, "abstract", str, where).strip() if row.get("abstract") else ""
        if not year.isdecimal():
            raise DatasetError(f"{where}: 'year' must be a year, not {year!r}")
        metadata = {"year": int(year), "venue": row.get("venue", ""), "url": url, "authors": row.get("authors", [])}
        paper_id = url.rstrip("/").rsplit("/", 1)[-1]
        if paper_id in found:
            raise DatasetError(f"{where}: the paper {paper_id!r} occurs twice")
        found[paper_id] = Document(paper_id, abstract, title, metadata)
    return list(found.values())


def known_items(file: Path) -> Collection:
    """Titles ask for their own abstracts: a check that needs nobody's judgement.

    Documents are the abstracts without their titles, of papers that have one.
    """
    with_abstract = [paper for paper in papers(file) if paper.text]
    documents = (Document(paper.id, paper.text, metadata=paper.metadata) for paper in with_abstract)
    queries = (Query(paper.id, paper.title) for paper in with_abstract)
    qrels = {paper.id: {paper.id: 1} for paper in with_abstract}
    return checked("emnlp-known-items", documents, queries, qrels, SOURCE)
