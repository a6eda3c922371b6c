"""What every data set is read into: documents, queries, and who judged what relevant."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

Qrels = Mapping[str, Mapping[str, float]]
PARTS = ("learning", "held-out", "both")  # to which a query may say that it belongs


class DatasetError(ValueError):
    """A data set is missing or malformed; the message names the file and line and what to do."""


class DatasetWarning(UserWarning):
    """Something of a data set was left out; the message says what, how many, and where the first is."""


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
        return ". ".join(part for part in (self.title, self.text) if part)


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

    def relevant_rows(self, least: int = 1) -> list[list[int]]:
        """For each query the rows of the documents that are judged with this grade or a higher one."""
        row_of = {document: row for row, document in enumerate(self.document_ids)}
        judged = (self.qrels[query] for query in self.query_ids)
        return [[row_of[document] for document, grade in grades.items() if grade >= least] for grades in judged]

    def where(self, **metadata: Any) -> Collection:
        """The same documents with only the queries whose metadata have these values.

        Raises:
            DatasetError: no query has them.
        """
        queries = tuple(q for q in self.queries if all(q.metadata.get(k) == v for k, v in metadata.items()))
        if not queries:
            wanted = ", ".join(f"{name}={value!r}" for name, value in metadata.items())
            raise DatasetError(f"no query of {self.name!r} has {wanted}")
        return self.with_queries(queries)

    def with_queries(self, queries: Sequence[Query]) -> Collection:
        """The same documents with only these queries, which must be among its own."""
        return replace(self, queries=tuple(queries), qrels={query.id: self.qrels[query.id] for query in queries})

    def split(self) -> tuple[Collection, Collection]:
        """A part to learn from and a held-out part, so that neither knows the other's texts.

        Queries that say where they belong (metadata `part`: `"learning"`, `"held-out"` or `"both"`, which is in
        neither) go there. Of others, every third article, else topic, else query is held out. Each part has the
        documents of its own queries only.

        Raises:
            DatasetError: a query says that it belongs elsewhere.
        """
        document_of = {document.id: document for document in self.documents}
        groups: dict[str, int] = {}
        parts: dict[str, list[Query]] = {part: [] for part in PARTS}
        for query in self.queries:
            article = document_of[next(iter(self.qrels[query.id]))].metadata.get("article")
            name = str(article or query.metadata.get("topic") or query.id)
            third = groups.setdefault(name, len(groups)) % 3 == 2
            part = query.metadata.get("part", "held-out" if third else "learning")
            if part not in PARTS:
                raise DatasetError(
                    f"{self.name}: the part of the query {query.id!r} in its metadata must be one of "
                    f"{', '.join(map(repr, PARTS))}, not {part!r}"
                )
            parts[part].append(query)
        return self.only(parts["learning"]), self.only(parts["held-out"])

    def only(self, queries: Sequence[Query]) -> Collection:
        """These queries, and the documents that are judged for them."""
        part = self.with_queries(queries)
        judged = {document_id for grades in part.qrels.values() for document_id in grades}
        return replace(part, documents=tuple(document for document in self.documents if document.id in judged))

    def within(self, document_ids: Set[str]) -> Collection:
        """These documents, and the queries that are judged against them alone."""
        queries = [query for query in self.queries if self.qrels[query.id].keys() <= document_ids]
        documents = tuple(document for document in self.documents if document.id in document_ids)
        return replace(self.with_queries(queries), documents=documents)

    def __repr__(self) -> str:
        judged = sum(map(len, self.qrels.values()))
        return (
            f"Collection({self.name!r}: {len(self.documents):,} documents, {len(self.queries):,} queries, "
            f"{judged:,} judgements)"
        )


def checked(
    name: str, documents: Iterable[Document], queries: Iterable[Query], qrels: Qrels, source: str
) -> Collection:
    """A collection that `check` has passed, with the judgements of its queries alone."""
    queries = tuple(queries)
    judged = {query.id: qrels.get(query.id, {}) for query in queries}
    return check(Collection(name, tuple(documents), queries, judged, source))


def check(collection: Collection) -> Collection:
    """`collection`, if its ids are unique, no query is empty and every query has a relevant document.

    Documents with neither title nor text are left out, with what is judged of them and who asks for them alone.

    Raises:
        DatasetError: what is wrong, with the id of the first case.

    Warns:
        DatasetWarning: how many documents were left out.
    """
    name = collection.name
    for kind, items in (("document", collection.documents), ("query", collection.queries)):
        if not items:
            raise DatasetError(f"{name} has no {kind}")
        seen = set()
        for item in items:
            if item.id in seen:
                raise DatasetError(f"{name}: the {kind} id {item.id!r} occurs twice")
            seen.add(item.id)
    documents = set(collection.document_ids)
    for query in collection.queries:
        judged = collection.qrels.get(query.id, {})
        if not query.text.strip():
            raise DatasetError(f"{name}: the query {query.id!r} has an empty text")
        if not any(grade > 0 for grade in judged.values()):
            raise DatasetError(f"{name}: no document is judged relevant to the query {query.id!r}")
        unknown = next((document for document in judged if document not in documents), None)
        if unknown is not None:
            raise DatasetError(f"{name}: the query {query.id!r} is judged against {unknown!r}, which is no document")
    return _without_empty_documents(collection)


def _without_empty_documents(collection: Collection) -> Collection:
    empty = [document.id for document in collection.documents if not document.full_text.strip()]
    if not empty:
        return collection
    message = f"left out of {collection.name}: {len(empty)} documents with neither title nor text, first {empty[0]!r}"
    warnings.warn(message, DatasetWarning, stacklevel=5)
    gone = set(empty)
    qrels = {query: {d: grade for d, grade in of.items() if d not in gone} for query, of in collection.qrels.items()}
    asked = (query for query in collection.queries if any(grade > 0 for grade in qrels[query.id].values()))
    kept = (document for document in collection.documents if document.id not in gone)
    return checked(collection.name, kept, asked, qrels, collection.source)
