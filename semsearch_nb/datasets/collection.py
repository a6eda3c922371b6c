"""What every data set is read into: documents, queries, and who judged what relevant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Qrels = Mapping[str, Mapping[str, int]]


class DatasetError(ValueError):
    """A data set is missing or malformed; the message names the file and line and what to do."""


@dataclass(frozen=True)
class Document:
    """Something to be found."""

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_text(self) -> str:
        """Title and text as one string, which is what is indexed and encoded."""
        return f"{self.title}. {self.text}" if self.title else self.text


@dataclass(frozen=True)
class Query:
    """What somebody asks."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """Documents, queries and graded judgements.

    `qrels[query_id][document_id]` is the grade: 1 or more is relevant, more is better, and what is
    not judged counts as not relevant. Every query has at least one relevant document. The order of
    documents and queries is that of the files and never changes.
    """

    name: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    qrels: Qrels
    source: str

    @property
    def document_ids(self) -> list[str]:
        return [document.id for document in self.documents]

    @property
    def document_texts(self) -> list[str]:
        """Title and text of each document."""
        return [document.full_text for document in self.documents]

    @property
    def query_ids(self) -> list[str]:
        return [query.id for query in self.queries]

    @property
    def query_texts(self) -> list[str]:
        return [query.text for query in self.queries]

    def where(self, **metadata: Any) -> Collection:
        """The same documents with only the queries whose metadata have these values.

        Raises:
            DatasetError: no query has them.
        """
        queries = tuple(q for q in self.queries if all(q.metadata.get(k) == v for k, v in metadata.items()))
        if not queries:
            wanted = ", ".join(f"{name}={value!r}" for name, value in metadata.items())
            raise DatasetError(f"no query of {self.name!r} has {wanted}")
        return replace(self, queries=queries, qrels={query.id: self.qrels[query.id] for query in queries})

    def __repr__(self) -> str:
        judged = sum(map(len, self.qrels.values()))
        return (
            f"Collection({self.name!r}: {len(self.documents):,} documents, {len(self.queries):,} queries, "
            f"{judged:,} judgements)"
        )


def check(collection: Collection) -> Collection:
    """`collection` itself, if its ids are unique, no text is empty and every query is judged.

    Raises:
        DatasetError: what is wrong, with the id of the first case.
    """
    name = collection.name
    for kind, items in (("document", collection.documents), ("query", collection.queries)):
        if not items:
            raise DatasetError(f"{name} has no {kind}")
        seen = set()
        for item in items:
            if item.id in seen:
                raise DatasetError(f"{name}: the {kind} id {item.id!r} occurs twice")
            if not item.text.strip():
                raise DatasetError(f"{name}: the {kind} {item.id!r} has an empty text")
            seen.add(item.id)
    documents = set(collection.document_ids)
    for query in collection.queries:
        judged = collection.qrels.get(query.id, {})
        if not any(grade > 0 for grade in judged.values()):
            raise DatasetError(f"{name}: no document is judged relevant to the query {query.id!r}")
        unknown = next((document for document in judged if document not in documents), None)
        if unknown is not None:
            raise DatasetError(f"{name}: the query {query.id!r} is judged against {unknown!r}, which is no document")
    return collection
