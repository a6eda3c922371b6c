"""SQuAD 1.1: which paragraph of Wikipedia answers the question? And XQuAD: asked in another language.

Both come as JSON: `data` holds articles with `title` and `paragraphs`, a paragraph has a `context`
and `qas`, each with `id` and `question`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.datasets.reading import field, json_file

SOURCE = "SQuAD 1.1 (Rajpurkar et al. 2016), CC BY-SA 4.0"
CROSS_SOURCE = "XQuAD (Artetxe et al. 2020), CC BY-SA 4.0"


def read(file: Path) -> Collection:
    """Documents are the paragraphs, without the article's title, which is in their metadata.

    Raises:
        DatasetError: the file is missing or malformed; the message names article and paragraph.
    """
    return checked("squad", *_parse(Path(file)), SOURCE)


def read_cross(english_file: Path, question_file: Path) -> Collection:
    """English paragraphs, asked for by the same questions in the language of `question_file`.

    The name is that of the file of questions: `xquad.de.json` makes `xquad-de`.

    Raises:
        DatasetError: a file is missing or malformed, or a question has no English counterpart.
    """
    documents, _, qrels = _parse(Path(english_file))
    _, queries, _ = _parse(Path(question_file))
    for query in queries:
        if query.id not in qrels:
            raise DatasetError(f"{question_file}: the question {query.id!r} is not in {english_file}")
    return checked(Path(question_file).stem.replace(".", "-"), documents, queries, qrels, CROSS_SOURCE)


def _parse(file: Path) -> tuple[list[Document], list[Query], dict[str, dict[str, float]]]:
    """Documents, queries and judgements; equal paragraphs are one document."""
    documents: dict[str, Document] = {}
    queries: list[Query] = []
    qrels: dict[str, dict[str, float]] = {}
    for where, title, paragraph in _paragraphs(file):
        text = field(paragraph, "context", str, where).strip()
        document = documents.setdefault(text, Document(f"p{len(documents) + 1}", text, metadata={"article": title}))
        for question in field(paragraph, "qas", list, where):
            query = Query(field(question, "id", str, where), field(question, "question", str, where).strip())
            queries.append(query)
            qrels[query.id] = {document.id: 1}
    return list(documents.values()), queries, qrels


def _paragraphs(file: Path) -> Iterator[tuple[str, str, Any]]:
    """Where it stands, the article's title, and the paragraph as it is in the file."""
    for a, article in enumerate(field(json_file(file), "data", list, str(file)), 1):
        where = f"{file}, article {a}"
        title = field(article, "title", str, where).replace("_", " ")
        for p, paragraph in enumerate(field(article, "paragraphs", list, where), 1):
            yield f"{where}, paragraph {p}", title, paragraph
