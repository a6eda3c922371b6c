"""What both stores do alike: check what they are given, see what changed, encode only that, refuse another model."""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semsearch_nb.datasets.collection import Document
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts, unit_rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FIELD_TYPES: Mapping[str, type] = {"text": str, "integer": int, "float": float, "boolean": bool}
RESERVED = {"id", "title", "text", "full_text", "text_hash", "row_hash", "vector", "rowid"}
RANGES = {"gte": ">=", "lte": "<="}
LAYOUT = 1  # of the files


class StoreError(ValueError):
    """A store cannot be opened or used as it was asked for; the message says why and what to do."""


@dataclass(frozen=True)
class Encoder:
    """A model as a store needs it.

    Attributes:
        identity: what tells this model from every other, its weights and its configuration included.
        dimension: of its vectors.
        encode: from n texts to an array of shape `(n, dimension)`.
    """

    identity: str
    dimension: int
    encode: Callable[[list[str]], FloatArray]


def encoder(model: SentenceTransformer) -> Encoder:
    """A model of sentence-transformers as encoder of documents; its name and revision are its identity."""
    from semsearch_nb import encoding, models  # they import torch, which a process that only searches can spare

    name, revision = models.identity(model)
    dimension = model.get_embedding_dimension()
    assert dimension is not None
    return Encoder(f"{name}@{revision}", dimension, lambda texts: encoding.encode_documents(model, texts))


@dataclass(frozen=True)
class _Known:
    vectors: Mapping[str, FloatArray]

    def __call__(self, texts: list[str]) -> FloatArray:
        return np.stack([self.vectors[text] for text in texts])


def looked_up(identity: str, texts: Sequence[str], vectors: FloatArray) -> Encoder:
    """An encoder that knows these texts only, which another process can be given."""
    return Encoder(identity, vectors.shape[1], _Known(dict(zip(texts, vectors, strict=True))))


class Changes(NamedTuple):
    """What a write did: numbers of documents, and of the texts that the model had to read."""

    added: int
    changed: int
    only_fields: int
    unchanged: int
    deleted: int
    encoded: int

    def __str__(self) -> str:
        return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in self._asdict().items() if number)


class Row(NamedTuple):
    """A document as it is written."""

    document: Document
    values: tuple[Any, ...]
    text_hash: str
    row_hash: str
    vector: FloatArray


class Condition(NamedTuple):
    """One part of a filter: the field, `in`, `>=` or `<=`, and what it is compared with (a list for `in`)."""

    field: str
    operator: str
    value: Any


class VectorStore(ABC):
    """Documents with ids, texts, fields and vectors, which change. One file or folder, several processes.

    Args:
        path: of the store, made where there is none.
        encoder: of the texts: `stores.encoder(model)`. A store belongs to one model.
        fields: what of a document's metadata is kept and can be filtered by: name → `"text"`, `"integer"`,
            `"float"` or `"boolean"`. Every document must have all of them.

    Raises:
        StoreError: the store was made with another model or other fields, or is no store.
    """

    def __init__(self, path: str | Path, encoder: Encoder, fields: Mapping[str, str] | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self.encoder, self.fields = encoder, _checked_fields(fields or {})
        about = {
            "layout": LAYOUT,
            "model": encoder.identity,
            "dimension": encoder.dimension,
            "fields": dict(self.fields),
        }
        if different := _difference(self._open(about), about):
            self.close()  # nobody else can, and Windows removes no file that is open
            raise StoreError(f"{self.path.name} {different}")

    # What users call

    def write(self, documents: Iterable[Document] = (), *, delete: Iterable[str] = ()) -> Changes:
        """Add, change and delete documents in one commit: all of it happens, or nothing.

        A document whose id is there takes its place. Only texts whose hash is not that of the stored text are
        encoded; of documents that did not change nothing is written. Ids to delete that are not there are no
        error, so a write that was cut off can be repeated as it is.

        Raises:
            TypeError, ValueError: a document, a field or an id that is not so; nothing is written then.
        """
        rows, gone, counts = self._plan(self._checked(documents), _as_ids(delete, "delete"))
        deleted = self._commit(rows, gone) if rows or gone else 0
        return Changes(*counts[:4], deleted, counts[4])

    def sync(self, documents: Iterable[Document]) -> Changes:
        """Let the store hold exactly these documents, in one commit."""
        documents = list(documents)
        return self.write(documents, delete=set(self.ids()) - {getattr(document, "id", "") for document in documents})

    def search(self, queries: Any, k: int = 10, *, where: Mapping[str, Any] | None = None) -> Hits:
        """The best k documents by cosine for each query vector, of those that pass the filter.

        Args:
            where: for each field a value, a list of which one must be there, or `{"gte": …, "lte": …}`. All
                fields must pass. Nothing passes an empty list. Without `where` everything passes.

        Returns:
            Hits of the shape `(n_queries, k)` that hold ids; where fewer pass, the last places are empty.

        Raises:
            TypeError, ValueError: vectors of another dimension, or a filter that is not so.
        """
        rows, k, conditions = unit_rows(queries, "queries"), as_count(k, "k"), self._conditions(where)
        if rows.shape[1] != self.encoder.dimension:
            raise ValueError(f"queries have {rows.shape[1]} dimensions and the store has {self.encoder.dimension}")
        return _as_hits([self._search(row, k, conditions) if possible(conditions) else [] for row in rows], k)

    def search_text(self, texts: Sequence[str], k: int = 10, *, where: Mapping[str, Any] | None = None) -> Hits:
        """The best k documents by their words (the library's own BM25), of those that pass the filter."""
        asked, k, conditions = as_texts(texts), as_count(k, "k"), self._conditions(where)
        return _as_hits([self._search_text(text, k, conditions) if possible(conditions) else [] for text in asked], k)

    def documents(self, ids: Iterable[str] | None = None) -> list[Document]:
        """These documents, or all of them in the order of their ids.

        Raises:
            KeyError: an id that the store does not hold.
        """
        if ids is None:
            return sorted((document for document, *_ in self._all()), key=lambda document: document.id)
        wanted = _as_ids(ids, "ids")
        held = {document.id: document for document, *_ in self._all(wanted)}
        if missing := [key for key in wanted if key not in held]:
            raise KeyError(f"the store holds no document {missing[0]!r}")
        return [held[key] for key in wanted]

    @abstractmethod
    def ids(self) -> list[str]:
        """The ids that the store holds, sorted."""

    def __len__(self) -> int:
        return len(self.ids())

    def problems(self) -> list[str]:
        """What is wrong with the store; nothing, as a rule. Reads everything."""
        found, ids = self._own_problems(), Counter[str]()
        for document, text_hash, row_hash, vector in self._all():
            ids[document.id] += 1
            if _hashes(document, tuple(document.metadata.values())) != (text_hash, row_hash):
                found.append(f"{document.id!r} is not what was written")
            if vector is None or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
                found.append(f"{document.id!r} has no vector of length 1")
        return found + [f"{key!r} is there {count} times" for key, count in ids.items() if count > 1]

    @abstractmethod
    def files(self) -> list[Path]:
        """The files of the store."""

    def nbytes(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.files())

    @abstractmethod
    def compact(self) -> None:
        """Take what was deleted or replaced out of the files. No other process may use the store meanwhile."""

    @abstractmethod
    def backup(self, target: str | Path) -> Path:
        """Write a copy, of one moment, that is itself a store; others may write meanwhile.

        Raises:
            FileExistsError: there is something at `target`.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the files."""

    # What an adapter fills in

    @abstractmethod
    def _open(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        """Open the store, or make an empty one of `about`. Returns what the store says it is."""

    @abstractmethod
    def _held(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """The hashes of text and row of those of `ids` that are there."""

    @abstractmethod
    def _all(self, ids: Sequence[str] | None = None) -> Iterator[tuple[Document, str, str, FloatArray | None]]:
        """Document, hashes of text and row, and vector of these ids, or of all."""

    @abstractmethod
    def _commit(self, rows: Sequence[Row], delete: Sequence[str]) -> int:
        """Write and delete in one commit. Returns how many were deleted."""

    @abstractmethod
    def _search(self, query: FloatArray, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        """Ids and cosines, best first."""

    @abstractmethod
    def _search_text(self, text: str, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        """Ids and scores, best first."""

    def _own_problems(self) -> list[str]:
        return []

    # Helpers

    def _plan(
        self, documents: Sequence[tuple[Document, tuple[Any, ...]]], gone: Sequence[str]
    ) -> tuple[list[Row], list[str], tuple[int, int, int, int, int]]:
        """What is to be written and deleted, and numbers: added, changed, only fields, unchanged, encoded."""
        hashes = {document.id: _hashes(document, values) for document, values in documents}
        if both := hashes.keys() & set(gone):
            raise ValueError(f"{min(both)!r} is to be written and to be deleted; which?")
        held = self._held(list(hashes))
        to_write = [(d, v) for d, v in documents if held.get(d.id) != hashes[d.id]]
        same_text = [d.id for d, _ in to_write if d.id in held and held[d.id][0] == hashes[d.id][0]]
        # Another process may have written since `_held`, so a vector is taken only with the text that it is of.
        found = self._all(same_text) if same_text else ()
        stored = {d.id: v for d, text, _, v in found if v is not None and text == hashes[d.id][0]}
        texts = list(dict.fromkeys(d.full_text for d, _ in to_write if d.id not in stored))
        vectors = dict(zip(texts, self._encoded(texts), strict=True)) if texts else {}
        rows = [
            Row(d, values, *hashes[d.id], stored[d.id] if d.id in stored else vectors[d.full_text])
            for d, values in to_write
        ]
        added = sum(d.id not in held for d, _ in to_write)
        changed = len(rows) - added - len(stored)
        return rows, list(gone), (added, changed, len(stored), len(documents) - len(rows), len(texts))

    def _encoded(self, texts: list[str]) -> FloatArray:
        vectors = unit_rows(self.encoder.encode(texts), "what encode returned")
        if vectors.shape != (len(texts), self.encoder.dimension):
            raise ValueError(
                f"encode returned the shape {vectors.shape}; {(len(texts), self.encoder.dimension)} was expected"
            )
        return vectors

    def _checked(self, documents: Iterable[Document]) -> list[tuple[Document, tuple[Any, ...]]]:
        """Documents and the values of their fields, in the order of the fields."""
        found: dict[str, tuple[Document, tuple[Any, ...]]] = {}
        for document in documents:
            if not isinstance(document, Document):
                raise TypeError(f"documents must be datasets.Document, not {type(document).__name__}: {document!r:.60}")
            (key,) = _as_ids([document.id], "the id of a document")
            if key in found:
                raise ValueError(f"the id {key!r} occurs twice in one write")
            as_texts([document.title, document.text], f"title and text of {key!r}")
            if not document.full_text.strip():
                raise ValueError(f"the document {key!r} has neither title nor text")
            if missing := [field for field in self.fields if field not in document.metadata]:
                raise ValueError(f"the document {key!r} lacks the field {missing[0]!r}")
            values = tuple(self._value(field, document.metadata[field]) for field in self.fields)
            found[key] = document, values
        return list(found.values())

    def _value(self, field: str, value: Any) -> Any:
        """`value` if it is one of the field's type; numbers of NumPy become Python's."""
        wanted = FIELD_TYPES[self.fields[field]]
        value = value.item() if isinstance(value, np.generic) else value
        fits = isinstance(value, (int, float) if wanted is float else wanted)
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(f"the field {field!r} holds values of type {self.fields[field]}, not {value!r:.60}")
        if (wanted is int and not -(2**63) <= value < 2**63) or (wanted is float and not np.isfinite(value)):
            raise ValueError(f"the field {field!r} cannot hold {value!r}")
        return wanted(value)

    def _conditions(self, where: Mapping[str, Any] | None) -> list[Condition]:
        if where is None:
            return []
        if not isinstance(where, Mapping):
            raise TypeError(f"where must be a dictionary of fields, not {where!r:.60}")
        conditions = []
        for field, wanted in where.items():
            if field not in self.fields:
                raise ValueError(
                    f"where names the field {field!r}, and the store has {', '.join(self.fields) or 'none'}"
                )
            if isinstance(wanted, Mapping):
                if not wanted or set(wanted) - set(RANGES):
                    raise ValueError(f"where: a range of {field!r} has 'gte', 'lte' or both, not {dict(wanted)!r}")
                conditions += [Condition(field, RANGES[end], self._value(field, v)) for end, v in wanted.items()]
            else:
                options = wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
                conditions.append(Condition(field, "in", [self._value(field, option) for option in options]))
        return conditions

    def _document(self, key: str, title: str, text: str, values: Iterable[Any]) -> Document:
        typed = (FIELD_TYPES[kind](value) for kind, value in zip(self.fields.values(), values, strict=True))
        return Document(key, text, title, dict(zip(self.fields, typed, strict=True)))

    def _free(self, target: str | Path) -> Path:
        path = Path(target).expanduser().absolute()
        if path.exists():
            raise FileExistsError(f"there is something at {path.name} already; name another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def possible(conditions: Sequence[Condition]) -> bool:
    """Whether anything can pass: nothing passes an empty list."""
    return all(condition.value != [] for condition in conditions)


def set_current(pointer: str | Path, store: VectorStore) -> None:
    """Let the file `pointer` name this store, in one step of the file system; `current` reads it.

    Raises:
        StoreError: the store is empty, so that searches would find nothing.
    """
    pointer = Path(pointer).expanduser().absolute()
    if not len(store):
        raise StoreError(f"{store.path.name} is empty: fill it first")
    new = pointer.with_name(f"{pointer.name}.{os.getpid()}")
    with new.open("w", encoding="utf-8") as file:
        json.dump({"store": os.path.relpath(store.path, pointer.parent)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, pointer)


def current(pointer: str | Path) -> Path:
    """The path of the store that `pointer` names.

    Raises:
        StoreError: there is no such file, or it is none of `set_current`.
    """
    pointer = Path(pointer).expanduser().absolute()
    try:
        return pointer.parent / str(json.loads(pointer.read_text(encoding="utf-8"))["store"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{pointer.name} names no store ({type(error).__name__}); call set_current first") from None


def _difference(held: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """What keeps a store that is `held` from being opened as `about` says; nothing, as a rule."""
    if held["layout"] != about["layout"]:
        return f"has the layout {held['layout']}, and {about['layout']} is read; make it anew"
    if (held["model"], held["dimension"]) != (about["model"], about["dimension"]):
        return (
            f"holds vectors of {_short(held['model'])}, not of {_short(about['model'])}; "
            "vectors of two models cannot be compared: fill a new store with the new model"
        )
    if held["fields"] != about["fields"]:
        return f"has the fields {held['fields']}, not {about['fields']}"
    return ""


def _hashes(document: Document, values: tuple[Any, ...]) -> tuple[str, str]:
    """Of what is encoded, and of all that is kept."""
    row = json.dumps([document.title, document.text, *values], ensure_ascii=False)
    texts = (document.full_text, row)
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)  # type: ignore[return-value]


def _checked_fields(fields: Mapping[str, str]) -> dict[str, str]:
    for name, kind in fields.items():
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED:
            raise ValueError(
                f"no field can be called {name!r}: use small letters, digits and _, and none of {sorted(RESERVED)}"
            )
        if kind not in FIELD_TYPES:
            raise ValueError(f"the field {name!r} must have one of the types {', '.join(FIELD_TYPES)}, not {kind!r}")
    return dict(fields)


def _as_ids(ids: Iterable[str], name: str) -> list[str]:
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"{name} must be a list of ids, not one string; pass [{ids!r:.40}]")
    listed = list(ids)
    for value in listed:
        if not isinstance(value, str) or not value or "\0" in value:
            raise TypeError(f"{name} must be a string that is not empty, not {value!r:.60}")
    return list(dict.fromkeys(as_texts(listed, name))) if listed else []


def _as_hits(found: Sequence[Sequence[tuple[str, float]]], k: int) -> Hits:
    rows = [([score for _, score in hits], [key for key, _ in hits]) for hits in found]
    return Hits.of_rows(rows, k, "ids", kind=object)


def _short(identity: str) -> str:
    """The name of a model with the first letters of its revision."""
    name, _, revision = identity.partition("@")
    return f"{name} ({revision[:8]})" if revision else repr(name)
