"""What every index does, whatever library is behind it.

An index keeps unit vectors, so the dot product is the cosine. A library knows a vector by a number, its label;
`ids.IdMap` knows which id of the user has which label. An adapter fills in the methods at the end of the class.
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
from semsearch_nb.foundation.storage import StorageError, Store
from semsearch_nb.indexes.ids import IdMap, Ids
from semsearch_nb.indexes.rows import BLOCK, UnitRows
from semsearch_nb.vectors import FloatArray, Hits, IntArray, as_count, as_numpy, unit_rows

ADVICE = "pass rebuild=True, and it is built again from the vectors it holds"

SAVED = Store("index", 2, "build the index again and save it")  # the number is that of our own files
OWN = "semsearch-nb"  # where no library has a format of its own
KINDS: dict[str, type[Index]] = {}
"""Every kind of index by the name of its class; a class enters itself."""


def imported(library: str) -> Any:
    """The module of a library, or an ImportError that says what brings it."""
    name = library.removesuffix("-cpu")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this index needs {name} ({error}): pip install {library}, or pip install 'semsearch-nb[ann]' for all"
        ) from error


def require_graph(m: int, ef_construction: int) -> None:
    """Refuse what no graph can be built with."""
    if as_count(m, "m") < 2:
        raise ValueError("m must be at least 2: with one link a vector the graph falls apart")
    as_count(ef_construction, "ef_construction")


def is_full(labels: IntArray) -> bool:
    """Whether no row ends with -1, as libraries pad those for which they found too few."""
    # One row is looked at without NumPy's machinery, which takes longer than the rest of the check.
    return bool(labels.item(-1) >= 0 if len(labels) == 1 else labels[:, -1].min() >= 0)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "no version of it"


def made(kind: str, parameters: dict[str, Any]) -> Index:
    """The index, not built, of that class and those `Index.parameters`."""
    return KINDS[kind](**{name: made(**of) if isinstance(of, dict) else of for name, of in parameters.items()})


class Index(ABC):
    """Approximate nearest neighbours by cosine. Taught in notebook 04.

    Make one with its parameters, `build` it from vectors, then `search`. `effort` is the number that
    trades speed for recall while searching; `effort_name` is what the library calls it.

    An index keeps no array that you can write to. Searches may run in several threads at once, but `add`,
    `remove` and `set_effort` not beside them.
    """

    library: str  # as pip knows it
    effort_name: str | None = None  # None: nothing to set, the index looks at everything
    effort: int
    build_seconds: float = float("nan")
    completed: int = 0
    """How many queries came back short since `build` or `load`, and were completed; see `search`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS[cls.__name__] = cls

    def __post_init__(self) -> None:  # of the adapters, which are dataclasses
        self._ids = IdMap()
        self.dimension = 0
        self.model: str | None = None
        if self.effort_name:
            self.effort = as_count(self.effort, self.effort_name)
        if self.library != OWN:
            imported(self.library)

    # What users call

    def build(self, vectors: Any, ids: Ids | None = None, *, model: str | None = None) -> Index:
        """Index `vectors`, shape `(n, dimension)`, in place of what was there. Returns the index.

        `ids` are whole numbers or strings, one a vector; without them, row numbers. `model`, the name
        of the model that made the vectors, is kept with a saved index.

        Raises:
            TypeError, ValueError: vectors as `vectors.unit_rows` refuses them; ids that do not fit.
        """
        rows, new = UnitRows(vectors), IdMap()
        new.append(new.new(ids, len(rows)), counted=ids is None)
        start = time.perf_counter()
        self._build(rows)
        self.build_seconds = time.perf_counter() - start
        self._take(new, rows.shape[1])
        self.model, self.completed = model, 0
        self._apply_effort()
        return self

    def search(self, queries: Any, k: int = 10) -> Hits:
        """The best k for each query: cosines, and ids in `indices`, shape `(n_queries, min(k, len(self)))`.

        The hits hold "ids" where the index has ids of yours, else "rows". Every row is full: a query for which
        the library finds fewer than k is searched again with more effort, as far as that helps, then compared
        with all that the index holds. `completed` counts these queries.

        Raises:
            TypeError, ValueError: queries as `vectors.unit_rows` refuses them, or of other dimensions; k that is no
                count.
            NotImplementedError: a row of `RaBitQ`, which keeps no vectors to compare with, is not full even with the
                most effort; `Rescored` keeps them.
        """
        rows = self._checked(queries, "queries")
        k = min(as_count(k, "k"), len(self))
        if k == 0:
            nothing = np.empty((len(rows), 0), dtype=np.int64)
            return Hits(nothing.astype(np.float32), self._ids.of(nothing), self._ids.holds)
        scores, labels = self._search(rows, k)
        if not is_full(labels):
            self._complete(rows, k, scores, labels)
        return Hits(scores, self._ids.of(labels), self._ids.holds)

    def add(self, vectors: Any, ids: Ids | None = None, *, rebuild: bool = False) -> None:
        """Add vectors. Where the library cannot, `rebuild=True` builds the index again with them.

        Raises:
            NotImplementedError: the library cannot, and `rebuild` is not set.
        """
        rows = self._checked(vectors, "vectors")
        new = self._ids.new(ids, len(rows))
        if rebuild or not len(self):
            self._rebuild(self._ids.live, rows)
            self._ids.compact()
        else:
            n = self._ids.given_out
            self._add(rows, np.arange(n, n + len(rows)))
        self._ids.append(new, counted=ids is None)

    def remove(self, ids: Ids, *, rebuild: bool = False) -> None:
        """Remove ids. Where the library cannot, `rebuild=True` builds the index again without them.

        Raises:
            KeyError: an id that the index does not hold; nothing is removed then.
            NotImplementedError: the library cannot, and `rebuild` is not set.
        """
        self._require_built()
        labels = self._ids.labels_of(ids)
        if not rebuild:
            self._remove(labels)
        elif len(labels) < len(self):  # no library can be built of nothing, so the last ones stay in it
            self._rebuild(np.setdiff1d(self._ids.live, labels))
        self._ids.kill(labels)
        if rebuild and len(self):
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

        Raises:
            FileExistsError: the folder holds something else than a saved index.
        """
        self._require_built()

        def write(files: Path) -> dict[str, Any]:
            self._write(files)
            self._ids.write(files)
            return {
                **self._made_of(),
                "library": self.library,
                "version": _version(self.library),
                "metric": "cosine",
                "dimension": self.dimension,
                "count": len(self),
                "model": self.model,
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

        Load only what you trust: libraries trust the files that they read. With `mmap` FAISS and `Exact` map the
        file into memory, read-only and shared by all processes that open it; Annoy always does. `verify`
        compares checksums. With `any_version` a file of another release of the library is tried.

        Raises:
            IndexFileError: no saved index, of another class or release of the library, made from another
                `model`, incomplete or changed; the message says which.
        """

        def read(files: Path, about: dict[str, Any]) -> Index:
            kind = cls._kind_of(about, model, any_version)
            index = made(kind.__name__, about["parameters"])
            index._ids = IdMap.read(files)
            index.dimension, index.model = about["dimension"], about["model"]
            index.build_seconds = float(about["build_seconds"])
            index._read(files, mmap)
            held, dimension = index._shape()
            if not (len(index) == about["count"] <= held and dimension == index.dimension):
                raise StorageError(
                    f"the file of {index.library} holds (vectors, dimension) {(held, dimension)} and the manifest "
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
        library, version, installed = about["library"], about["version"], _version(about["library"])
        # Patch releases keep their file formats.
        if library != OWN and not any_version and version.split(".")[:2] != installed.split(".")[:2]:
            raise StorageError(
                f"written by {library} {version}, and {installed} is installed; build the index again and "
                "save it, or pass any_version=True if that version reads the older file"
            )
        if model is not None and about["model"] != model:
            raise StorageError(
                f"made from vectors of the model {about['model']!r}, not of {model!r}; "
                "vectors of two models cannot be compared: load it with that model, or build a new index"
            )
        return kind

    def memory_bytes(self) -> int:
        """Bytes in this process: vectors, links, lists and ids; not those of arrays mapped from a file."""
        self._require_built()
        return self._bytes() + self._ids.nbytes

    @property
    def parameters(self) -> dict[str, Any]:
        """What the index was made with, and its effort now; of an index inside it, its class and parameters."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value._made_of() if isinstance(value, Index) else value for name, value in values.items()}

    def _made_of(self) -> dict[str, Any]:
        return {"kind": type(self).__name__, "parameters": self.parameters}

    @property
    def ids(self) -> np.ndarray[Any, Any]:
        """The ids that the index holds, in the order in which they came."""
        return self._ids.of(self._ids.live)

    def __len__(self) -> int:
        return len(self._ids)

    # What adapters fill in. `rows` and `queries` are float32 unit vectors.

    @abstractmethod
    def _build(self, rows: UnitRows) -> None:
        """Index `rows` with the labels 0, 1, 2, …, in place of what was there, or raise and leave that."""

    @abstractmethod
    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        """Cosines and labels, best first, shape `(n_queries, k)`; where fewer are found, -1 at the end.

        `effort` is for this search alone, where `_most_effort` is not None.
        """

    @abstractmethod
    def _stored(self, labels: IntArray) -> FloatArray:
        """The vectors of `labels` as they are kept, shape `(len(labels), dimension)`."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write what the library holds into files of `folder`."""

    @abstractmethod
    def _read(self, folder: Path, mmap: bool) -> None:
        """Read what `_write` wrote."""

    @abstractmethod
    def _shape(self) -> tuple[int, int]:
        """How many vectors the library holds, with those that are only marked as removed, and their dimension."""

    @abstractmethod
    def _bytes(self) -> int:
        """Bytes of what the library holds."""

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        """Index `rows` with the next `labels`."""
        raise NotImplementedError(f"{type(self).__name__} cannot add to an index that is built: {ADVICE}")

    def _remove(self, labels: IntArray) -> None:
        """Remove the vectors of `labels`."""
        raise NotImplementedError(f"{type(self).__name__} cannot remove vectors: {ADVICE}")

    def _apply_effort(self) -> None:  # noqa: B027
        """Hand `self.effort` to the library, if the library keeps it and the index is built."""

    def _most_effort(self) -> int | None:
        """The effort that finds all there is to find; None: more effort does not find more."""
        return None

    # Helpers

    def _take(self, ids: IdMap, dimension: int) -> None:
        self._ids, self.dimension = ids, dimension

    def _rebuild(self, labels: IntArray, *more: FloatArray) -> None:
        """Build the index again of the vectors of `labels` and of `more`."""
        self._build(UnitRows(np.concatenate([self._stored(labels), *more] if len(labels) else more)))
        self._apply_effort()

    def _require_built(self) -> None:
        if not self.dimension:
            raise RuntimeError(f"this {type(self).__name__} is empty: call build(vectors) first")

    def _checked(self, array: Any, name: str) -> FloatArray:
        self._require_built()
        rows = unit_rows(as_numpy(array) if hasattr(array, "detach") else array, name)
        if rows.shape[1] != self.dimension:
            raise ValueError(
                f"{name} have {rows.shape[1]} dimensions and the index has {self.dimension}; "
                "encode them with the model that the index was built with"
            )
        return rows

    def _complete(self, queries: FloatArray, k: int, scores: FloatArray, labels: IntArray) -> None:
        """Fill the rows that are not full, with more effort if that helps, at last by a scan."""
        short = np.flatnonzero(labels[:, -1] < 0)
        self.completed += len(short)
        most, effort = self._most_effort(), getattr(self, "effort", 0)
        while len(short) and most is not None and effort < most:
            effort = min(4 * effort, most)
            scores[short], labels[short] = self._search(queries[short], k, effort)
            short = short[labels[short, -1] < 0]
        if len(short):
            scores[short], labels[short] = self._scan(queries[short], k)

    def _scan(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        """Exact search over the living vectors, a block of them at a time."""
        live, scores, labels = self._ids.live, [], []
        for start in range(0, len(live), BLOCK):
            block = live[start : start + BLOCK]
            hits = exact.search(queries, self._stored(block), k)
            scores.append(hits.scores)
            labels.append(block[hits.indices])
        of_all = np.concatenate(scores, axis=1)
        best = np.argsort(-of_all, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(of_all, best, 1), np.take_along_axis(np.concatenate(labels, axis=1), best, 1)
