"""A folder as people have them: 40 files of a members' workshop, with questions and where the answers stand.

Markdown, HTML, text extracted from PDFs, and plain text, with menus, tables, divided words, and an old handbook whose
rules have changed since. `chunks.read_folder(handbook.FILES)` reads it. All of it was written by a language model for
this project; see its card.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from semsearch_nb.datasets import beir
from semsearch_nb.datasets.collection import DatasetError, Query
from semsearch_nb.datasets.reading import field, json_lines, lines

FOLDER = Path(__file__).parent / "samples" / "handbook"
FILES = FOLDER / "files"
"""The folder with the documents. Their ids are their paths in it, such as `"site/fees.html"`."""


class Quote(NamedTuple):
    """What answers a question, word for word. It was found when the question was written (`"writing"`), or only later,
    when the hits of several methods were read (`"reading"`)."""

    document: str
    text: str
    found_by: str


class Asked(NamedTuple):
    """A question, and all that answers it; each quotation is enough."""

    query: Query
    answers: tuple[Quote, ...]


def questions() -> tuple[Asked, ...]:
    """Questions that the files answer. The metadata `form` is `"title"`, of those that were made from a heading, or
    `"reader"`, of those that somebody with a need would type."""
    file, found = FOLDER / "questions.jsonl", []
    for query, (where, row) in zip(beir.read_queries(file), json_lines(file), strict=True):
        quotes = tuple(Quote(*quote) for quote in field(row, "answers", list, where))
        if not quotes:
            raise DatasetError(f"{where}: 'answers' is empty")
        found.append(Asked(query, quotes))
    return tuple(found)


def unanswerable() -> tuple[Query, ...]:
    """Questions about what the files name, which none of them answers."""
    return beir.read_queries(FOLDER / "unanswerable.jsonl")


class Pair(NamedTuple):
    """A question and a section that a reader has graded: 2 answers, 1 helps, 0 neither, or no longer true."""

    question: str
    document: str
    heading: str
    """The headings above the section, the outermost first, with " > " between them."""
    grade: int
    reason: str
    """`"outdated"` where the section says what no longer holds, else empty."""


def pairs() -> tuple[Pair, ...]:
    """All pairs that were read: the first five sections of five methods for every question, and the marked ones."""
    rows = ([*line.split("\t"), ""] for _, line in lines(FOLDER / "judgements.tsv"))
    return tuple(Pair(row[0], row[1], row[2], int(row[3]), row[4]) for row in rows)
