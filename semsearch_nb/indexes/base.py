"""What every index does, whatever library is behind it.

An index keeps unit vectors, so the dot product is the cosine, and `search` returns cosines. A
library counts rows from zero; here these numbers are called slots, and `IdMap` knows which id of
the user lies in which slot. An adapter fills in the methods at the end of the class.
"""

from __future__ import annotations

import importlib.metadata
import time
from abc import ABC, abstractmethod
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from semsearch_nb import exact
from semsearch_nb.indexes.ids import IdMap, Ids
from semsearch_nb.storage import StorageError, Store
from semsearch_nb.vectors import FloatArray, Hits, IntArray, as_count, unit_rows

ADVICE = "pass rebuild=True, and it is built again from the vectors it holds"

SAVED = Store("index", 1, "build the index again and save it")  # the number is that of our own files
OWN = "semsearch-nb"  # where no library has a format of its own
KINDS: dict[str, type[Index]] = {}
"""Every kind of index by the name of its class; a class enters itself."""


def is_full(slots: IntArray) -> bool:
    """Whether no row ends with -1, as libraries pad those for which they found too few."""
    # One row is looked at without NumPy's machinery, which takes longer than the rest of the check.
    return bool(slots.item(-1) >= 0 if len(slots) == 1 else slots[:, -1].min() >= 0)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "no version of it"


def _release(number: str) -> list[str]:
    """Major and minor: patch releases keep their file formats."""
    return number.split(".")[:2]


class Index(ABC):
    """Approximate nearest neighbours by cosine. Taught in notebook 04.

    Make one with its parameters, `build` it from vectors, then `search`. `effort` is the number that
    trades speed for recall while searching; `effort_name` is what the library calls it.

    Searches may run in several threads at once; `add`, `remove` and `set_effort` may not run beside
    them.
    """

    library: str
    """The package behind the index, as pip knows it."""
    effort_name: str | None = None
    """None: nothing to set, the index looks at everything."""
    effort: int
    build_seconds: float = float("nan")
    """How long `build` took, the time to check the vectors not counted."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS[cls.__name__] = cls

    def __post_init__(self) -> None:  # of the adapters, which are dataclasses
        self._ids = IdMap()
        self.dimension = 0
        self.model: str | None = None
        if self.effort_name:
            self.effort = as_count(self.effort, self.effort_name)

    # What users call

    def build(self, vectors: Any, ids: Ids | None = None, *, model: str | None = None) -> Index:
        """Index `vectors`, shape `(n, dimension)`, in place of what was there. Returns the index.

        `ids` are whole numbers or strings, one a vector; without them, row numbers. `model`, the name
        of the model that made the vectors, is kept with a saved index.

        Raises:
            TypeError, ValueError: vectors that are not numbers, not two-dimensional, empty, not finite
                or zero; ids that do not fit.
        """
        rows = unit_rows(vectors, "vectors")
        new = IdMap()
        new.append(new.new(ids, len(rows)))
        start = time.perf_counter()
        self._build(rows)
        self.build_seconds = time.perf_counter() - start
        self._ids, self.dimension, self.model = new, rows.shape[1], model
        self._apply_effort()
        return self

    def search(self, queries: Any, k: int = 10) -> Hits:
        """The best k for each query: cosines, and ids in `indices`, shape `(n_queries, min(k, len(self)))`.

        Every row is full. Where the library comes back with fewer than k, as graphs and cells can, the
        query is answered by exact search over what the index holds.
        """
        rows = self._checked(queries, "queries")
        k = min(as_count(k, "k"), len(self._ids))
        if k == 0:
            return Hits(np.empty((len(rows), 0), dtype=np.float32), self._ids.of(np.empty((len(rows), 0), np.int64)))
        scores, slots = self._search(rows, k)
        if not is_full(slots):
            self._complete(rows, k, scores, slots)
        return Hits(scores, self._ids.of(slots))

    def add(self, vectors: Any, ids: Ids | None = None, *, rebuild: bool = False) -> None:
        """Add vectors. Where the library cannot, `rebuild=True` builds the index again with them.

        Raises:
            NotImplementedError: the library cannot, and `rebuild` is not set.
        """
        rows = self._checked(vectors, "vectors")
        new = self._ids.new(ids, len(rows))
        live = self._ids.live
        if rebuild or not len(live):
            self._build(np.concatenate([self._stored(live), rows]) if len(live) else rows)
            self._ids.compact()
            self._apply_effort()
        else:
            self._add(rows)
        self._ids.append(new)

    def remove(self, ids: Ids, *, rebuild: bool = False) -> None:
        """Remove ids. Where the library cannot, `rebuild=True` builds the index again without them.

        Raises:
            KeyError: an id that the index does not hold; nothing is removed then.
            NotImplementedError: the library cannot, and `rebuild` is not set.
        """
        self._require_built()
        slots = self._ids.slots_of(ids)
        rest = np.setdiff1d(self._ids.live, slots)
        compact = False
        if not rebuild:
            compact = self._remove(slots)
        elif len(rest):  # no library holds nothing, so an index without vectors keeps its dead slots
            self._build(self._stored(rest))
            self._apply_effort()
            compact = True
        self._ids.kill(slots)
        if compact:
            self._ids.compact()

    def set_effort(self, value: int) -> None:
        """Trade speed for recall: `value` is the library's own `effort_name`.

        Raises:
            NotImplementedError: the index has nothing to set.
        """
        if self.effort_name is None:
            raise NotImplementedError(f"{type(self).__name__} has no effort to set: it looks at every vector")
        self.effort = as_count(value, self.effort_name)
        self._apply_effort()

    def save(self, folder: str | Path) -> Path:
        """Write the index into `folder`, all or nothing: a save that is cut off leaves what was there.

        Returns the path of the folder.

        Raises:
            FileExistsError: the folder holds something else than a saved index.
        """
        self._require_built()

        def write(files: Path) -> dict[str, Any]:
            self._write(files)
            self._ids.write(files)
            return {
                "kind": type(self).__name__,
                "library": self.library,
                "version": _version(self.library),
                "metric": "cosine",
                "dimension": self.dimension,
                "count": len(self),
                "model": self.model,
                "parameters": self.parameters,
                "build_seconds": self.build_seconds,
            }

        return SAVED.save(folder, write)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        model: str | None = None,
        mmap: bool = False,
        verify: bool = True,
        any_version: bool = False,
    ) -> Any:
        """The index that was saved in `folder`, of this class, with its ids and its effort.

        Load only what you trust: libraries trust the files that they read. With `mmap` the file is mapped
        into memory where the library can do that (FAISS; Annoy always does), read-only and shared by all
        processes that open it. `verify` reads every file once and compares its checksum. With
        `any_version` a file of another release of the library is tried.

        Raises:
            IndexFileError: no saved index, of another class or release of the library, made from another
                `model`, incomplete or changed; the message says which.
        """

        def read(files: Path, about: dict[str, Any]) -> Index:
            kind = cls._kind_of(about, model, any_version)
            index = kind._made_with(about["parameters"])
            index._ids = IdMap.read(files)
            index.dimension, index.model = about["dimension"], about["model"]
            index.build_seconds = float(about["build_seconds"])
            index._read(files, mmap)
            if index._shape() != (len(index._ids.values), index.dimension) or len(index) != about["count"]:
                raise StorageError(
                    f"the file of {index.library} holds (vectors, dimension) {index._shape()} and the manifest "
                    f"says {about['count']} living vectors of {index.dimension}"
                )
            index._apply_effort()
            return index

        return SAVED.load(folder, read, verify=verify)

    @classmethod
    def _kind_of(cls, about: dict[str, Any], model: str | None, any_version: bool) -> type[Index]:
        """The class of a saved index, if it is what the caller wants."""
        kind = KINDS.get(str(about["kind"]))
        if kind is None:
            raise StorageError(f"no index is called {about['kind']!r}; there are {sorted(KINDS)}")
        if not issubclass(kind, cls):
            raise StorageError(
                f"this is a {kind.__name__}, not a {cls.__name__}; load it with {kind.__name__}.load or indexes.load"
            )
        if about["metric"] != "cosine":
            raise StorageError(f"the metric is {about['metric']!r}, and indexes here are for cosine")
        library, installed = about["library"], _version(about["library"])
        if library != OWN and not any_version and _release(about["version"]) != _release(installed):
            raise StorageError(
                f"written by {library} {about['version']}, and {installed} is installed; build the index again and "
                "save it, or pass any_version=True if that version reads the older file"
            )
        if model is not None and about["model"] != model:
            raise StorageError(
                f"made from vectors of the model {about['model']!r}, not of {model!r}; "
                "vectors of two models cannot be compared: load it with that model, or build a new index"
            )
        return kind

    def memory_bytes(self) -> int:
        """Bytes that the index takes in this process: vectors, links, lists and ids.

        The vectors of `Rescored` are not counted where they are mapped from a file.
        """
        self._require_built()
        return self._bytes() + self._ids.nbytes

    @property
    def parameters(self) -> dict[str, Any]:
        """What the index was made with, and its effort now."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}  # type: ignore[arg-type]

    @classmethod
    def _made_with(cls, parameters: dict[str, Any]) -> Index:
        """The index, not built, whose `parameters` these are."""
        return cls(**parameters)

    @property
    def ids(self) -> np.ndarray[Any, Any]:
        """The ids that the index holds, in the order in which they came."""
        return self._ids.of(self._ids.live)

    def __len__(self) -> int:
        return len(self._ids)

    # What adapters fill in. `rows` and `queries` are float32 unit vectors.

    @abstractmethod
    def _build(self, rows: FloatArray) -> None:
        """Index `rows` as slots 0, 1, 2, …, in place of what was there."""

    @abstractmethod
    def _search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        """Cosines and slots, best first, shape `(n_queries, k)`; where fewer are found, -1 at the end."""

    @abstractmethod
    def _stored(self, slots: IntArray) -> FloatArray:
        """The vectors in `slots` as they are kept, shape `(len(slots), dimension)`."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write what the library holds into files of `folder`."""

    @abstractmethod
    def _read(self, folder: Path, mmap: bool) -> None:
        """Read what `_write` wrote."""

    @abstractmethod
    def _shape(self) -> tuple[int, int]:
        """Slots and dimension of what the library holds."""

    @abstractmethod
    def _bytes(self) -> int:
        """Bytes of what the library holds."""

    def _add(self, rows: FloatArray) -> None:
        """Index `rows` as the next slots."""
        raise NotImplementedError(f"{type(self).__name__} cannot add to an index that is built: {ADVICE}")

    def _remove(self, slots: IntArray) -> bool:
        """Remove `slots`; whether the library then numbers the others anew, in order, from zero."""
        raise NotImplementedError(f"{type(self).__name__} cannot remove vectors: {ADVICE}")

    def _apply_effort(self) -> None:  # noqa: B027
        """Hand `self.effort` to the library, if the library keeps it and the index is built."""

    # Helpers

    def _require_built(self) -> None:
        if not self.dimension:
            raise RuntimeError(f"this {type(self).__name__} is empty: call build(vectors) first")

    def _checked(self, array: Any, name: str) -> FloatArray:
        self._require_built()
        rows = unit_rows(array, name)
        if rows.shape[1] != self.dimension:
            raise ValueError(
                f"{name} have {rows.shape[1]} dimensions and the index has {self.dimension}; "
                "encode them with the model that the index was built with"
            )
        return rows

    def _complete(self, queries: FloatArray, k: int, scores: FloatArray, slots: IntArray) -> None:
        """Fill the rows that are not full, by exact search over the living slots."""
        short = slots[:, -1] < 0
        live = self._ids.live
        hits = exact.search(queries[short], self._stored(live), k)
        scores[short], slots[short] = hits.scores, live[hits.indices]
