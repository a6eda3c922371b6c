"""Exact search behind the same protocol: the reference that the others are measured against."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch_nb import exact
from semsearch_nb.exact.first_pass import PLAIN, fastest
from semsearch_nb.exact.prepared import of_units
from semsearch_nb.exact.rows import as_rows
from semsearch_nb.exact.top_k import CERTIFIED_FROM
from semsearch_nb.indexes.base import OWN, Index
from semsearch_nb.indexes.rows import Growing, UnitRows
from semsearch_nb.vectors import FloatArray, IntArray

_one_at_a_time = threading.Lock()


@dataclass(eq=False)
class Exact(Index):
    """Every true neighbour, at a cost that grows with the number of vectors.

    Coded (`exact.prepare`) where this machine gains by it, and saved so; a coded corpus is always mapped when it
    is loaded. A change is cheap, and the next search pays: it drops the rows that were removed and codes the rest.
    """

    library = OWN
    _mapped = False  # whether the codes lie in a file

    def _build(self, rows: UnitRows) -> None:
        vectors = rows.kept()
        self._corpus: exact.Prepared | None = _ready(vectors)
        self._mapped = False
        self._vectors, self._labels = Growing(vectors), Growing(np.arange(len(vectors)))

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        scores, rows = exact.search(queries, self._settled(), k)
        return scores, self._labels.array[rows]

    def _stored(self, labels: IntArray) -> FloatArray:
        return np.asarray(self._vectors.array[np.searchsorted(self._labels.array, labels)])

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        self._vectors.append(rows)
        self._labels.append(labels)
        self._corpus = None

    def _remove(self, labels: IntArray) -> None:
        self._corpus = None

    def _settled(self) -> exact.Prepared:
        """The corpus that is searched, after what was added and removed."""
        with _one_at_a_time:
            if self._corpus is None:
                alive = self._ids.alive[self._labels.array]
                if alive.any() and not alive.all():
                    self._vectors = Growing(self._vectors.array[alive])
                    self._labels = Growing(self._labels.array[alive])
                self._corpus, self._mapped = _ready(self._vectors.array), False
            return self._corpus

    def _write(self, folder: Path) -> None:
        corpus = self._settled()
        np.save(folder / "labels.npy", self._labels.array)
        if corpus.first_pass == PLAIN.name:
            np.save(folder / "vectors.npy", self._vectors.array)
        else:
            corpus.save(folder / "prepared")

    def _read(self, folder: Path, mmap: bool) -> None:
        self._mapped = (folder / "prepared").exists()
        if self._mapped:
            self._corpus = exact.load(folder / "prepared", verify=False)
            vectors = np.load(next((folder / "prepared").rglob("vectors.npy")), mmap_mode="r")
        else:
            vectors = np.load(folder / "vectors.npy", mmap_mode="r" if mmap else None)
            self._corpus = _plain(vectors)
        self._vectors, self._labels = Growing(vectors), Growing(np.load(folder / "labels.npy"))

    def _shape(self) -> tuple[int, int]:
        n, dimension = self._vectors.array.shape
        return int(n), int(dimension)

    def _bytes(self) -> int:
        prepared = 0 if self._corpus is None or self._mapped else self._corpus.nbytes
        return self._vectors.nbytes + self._labels.nbytes + prepared


def _ready(vectors: FloatArray) -> exact.Prepared:
    """Coded, if `exact.search` would use that."""
    return exact.prepare(vectors) if len(vectors) >= CERTIFIED_FROM and fastest("cpu") else _plain(vectors)


def _plain(vectors: FloatArray) -> exact.Prepared:
    """Without codes; that all lengths are 1 is known, so no search looks at them again."""
    return of_units(as_rows(vectors, "vectors"))
