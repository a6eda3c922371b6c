"""The original data sets, together with our own judged samples, for `data="full"`.

Where the original has no judgements, or not the kind that a notebook measures, our questions are asked
of the larger corpus: what is relevant stays the same, but there is more to find beside it. A hit that
nobody judged counts as a miss, so figures are lower bounds; `collection.only(collection.queries)` is
the judged part alone.

Files are read from the folder in `SEMSEARCH_DATA_DIR`, else downloaded once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from semsearch_nb.datasets import emnlp, quora, wikipedia
from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, check
from semsearch_nb.foundation import download, settings

QUORA_QUERIES = 1_000  # clusters that ask; all scores of more, of half a million questions, would fill a computer
QUORA_FILE = "quora/quora_duplicate_questions.tsv"
EMNLP_FILE = "emnlp/emnlp2016-2018.json"
LATER_FILE = "emnlp/emnlp2019.json"
WIKIPEDIA_FILES = ("wikipedia/20231101.simple/*.parquet", "wikipedia/simplewiki-2020-11-01.jsonl.gz")


def join(sample: Collection, split: str) -> Collection:
    """The original data set behind one of our samples, with the sample's documents and queries.

    - `questions`: half a million of Quora's questions and ours. In the split `"test"` the first
      1,000 clusters of Quora are asked, in the others our queries.
    - `publications`: EMNLP 2016–2018, of which the papers without an abstract are left out, and ours.
      A paper in both has our id and the abstract of its authors.
    - `passages`: Simple English Wikipedia in passages of about 100 words, and ours.

    Raises:
        DatasetError: a file is malformed, or it is missing and cannot be downloaded.
    """
    return {"questions": _questions, "publications": _publications, "passages": _passages}[sample.name](sample, split)


def later_papers() -> tuple[Query, ...]:
    """The papers of EMNLP 2019 to ask with, nobody's judgement with them; empty where the file is absent.

    The text is the title, and metadata hold `summary`, the abstract, and `year`, as in our own queries.
    """
    file = _in_folder(LATER_FILE)
    papers = emnlp.papers(file[0]) if file else []
    return tuple(Query(p.id, p.title, {**p.metadata, "summary": p.text}) for p in papers if p.text)


def emnlp_file() -> Path:
    """`emnlp2016-2018.json`, from the folder or downloaded; for `emnlp.papers` and `emnlp.known_items`."""
    return _files(EMNLP_FILE, fetch=lambda: download.from_url(emnlp.URL))[0]


def _questions(sample: Collection, split: str) -> Collection:
    (file,) = _files(QUORA_FILE, fetch=lambda: download.from_hub(*quora.HUB))
    original = quora.read(file, limit=QUORA_QUERIES)
    asking = original if split == "test" else sample
    return _joined(asking, (*original.documents, *sample.documents), f"{quora.SOURCE}; and {sample.source}")


def _publications(sample: Collection, split: str) -> Collection:
    papers = {_folded(paper.title): paper for paper in emnlp.papers(emnlp_file()) if paper.text}
    ours = []
    for document in sample.documents:
        paper = papers.pop(_folded(document.title), None)
        ours.append(replace(document, text=paper.text) if paper else document)
    return _joined(sample, (*ours, *papers.values()), f"{emnlp.SOURCE}; and {sample.source}")


def _passages(sample: Collection, split: str) -> Collection:
    files = _files(*WIKIPEDIA_FILES, fetch=lambda: download.from_hub(*wikipedia.HUB))
    documents = (document for file in files for document in wikipedia.documents(file))
    return _joined(sample, (*sample.documents, *documents), f"{wikipedia.SOURCE}; and {sample.source}")


def _joined(asking: Collection, documents: tuple[Document, ...], source: str) -> Collection:
    return check(replace(asking, documents=documents, source=source))


def _files(*patterns: str, fetch: Callable[[], Path]) -> list[Path]:
    """The files that the first pattern with any matches in the folder of the user, else the one fetched."""
    for pattern in patterns:
        if found := _in_folder(pattern):
            return found
    try:
        return [fetch()]
    except download.DownloadError as error:
        raise DatasetError(
            f"{error}. Set SEMSEARCH_DATA_DIR to a folder with {patterns[-1]}, or go on with data='sample'"
        ) from error


def _in_folder(pattern: str) -> list[Path]:
    folder = settings.current().data_dir
    return sorted(folder.glob(pattern)) if folder else []


def _folded(title: str) -> str:
    """A title without the differences of spelling: case, punctuation and spaces."""
    return re.sub(r"[\W_]+", "", title.casefold())
