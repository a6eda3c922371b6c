"""Articles of Simple English Wikipedia, in either of two layouts, as passages with their article's title.

`*.parquet` of the hub's data set `wikimedia/wikipedia` has the columns id, url, title and text.
`simplewiki-2020-11-01.jsonl.gz` has lines of {"id": …, "title": …, "paragraphs": […]}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from semsearch_nb.datasets.collection import Document
from semsearch_nb.datasets.passages import split
from semsearch_nb.datasets.reading import field, json_lines, parquet_rows

SOURCE = "Simple English Wikipedia, CC BY-SA 4.0"
HUB = ("wikimedia/wikipedia", "20231101.simple/train-00000-of-00001.parquet")
METADATA = {"source": SOURCE, "topic": "wikipedia"}


class Article(NamedTuple):
    """Paragraphs, and headings where the layout keeps them, stand on lines of their own."""

    id: str
    title: str
    text: str


def articles(file: Path) -> Iterator[Article]:
    """The articles of a file, one at a time; those without text are left out.

    Raises:
        DatasetError: the file is missing, damaged or malformed; the message names the line or the row.
    """
    file = Path(file)
    rows = parquet_rows(file, ["id", "title", "text"]) if file.suffix == ".parquet" else _json_rows(file)
    for where, row in rows:
        article = Article(str(row.get("id")), field(row, "title", str, where).strip(), row["text"] or "")
        if article.text.strip():
            yield article


def documents(file: Path) -> Iterator[Document]:
    """The passages of all articles, in their order, split by `passages.split`."""
    for article in articles(file):
        for number, text in enumerate(split(article.text), 1):
            yield Document(f"wikipedia-{article.id}-{number}", text, article.title, METADATA)


def _json_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in json_lines(file):
        yield where, {**row, "text": "\n".join(field(row, "paragraphs", list, where))}
