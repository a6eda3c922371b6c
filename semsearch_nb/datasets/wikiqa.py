"""WikiQA: which sentence of Wikipedia answers a question that people typed into a search engine?

A file such as `WikiQASent-dev.txt` has lines of question TAB sentence TAB 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError
from semsearch_nb.datasets.reading import from_pairs, lines

SOURCE = "WikiQA (Yang et al. 2015), Microsoft Research data licence"


def read(file: Path) -> Collection:
    """Documents are all the sentences; queries are the questions that one of them answers.

    Raises:
        DatasetError: the file is missing or malformed; the message names the line.
    """
    return from_pairs("wikiqa", _rows(Path(file)), SOURCE)


def _rows(file: Path) -> Iterator[tuple[str, str, bool]]:
    for number, line in lines(file):
        where = f"{file}, line {number}"
        columns = line.split("\t")
        if len(columns) != 3:
            raise DatasetError(f"{where}: expected 3 columns separated by tabs, found {len(columns)}")
        question, sentence, label = columns
        if not question.strip() or not sentence.strip():
            raise DatasetError(f"{where}: the question or the sentence is empty")
        if label not in ("0", "1"):
            raise DatasetError(f"{where}: the label must be 0 or 1, not {label!r}")
        yield question, sentence, label == "1"
