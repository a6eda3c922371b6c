"""Exact search behind the same protocol: the reference that the others are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch_nb import exact
from semsearch_nb.indexes.base import Index
from semsearch_nb.vectors import FloatArray, IntArray


@dataclass(eq=False)
class Exact(Index):
    """Every true neighbour, at a cost that grows with the number of vectors; see `exact.prepare`."""

    library = "semsearch-nb"  # what is saved are plain vectors

    def _build(self, rows: FloatArray) -> None:
        self._vectors = rows
        self._prepared = exact.prepare(rows)

    def _search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        return exact.search(queries, self._prepared, k)

    def _stored(self, slots: IntArray) -> FloatArray:
        return self._vectors[slots]

    def _add(self, rows: FloatArray) -> None:
        self._build(np.concatenate([self._vectors, rows]))

    def _remove(self, slots: IntArray) -> bool:
        if len(slots) < len(self._vectors):  # else the next `add` begins anew
            self._build(np.delete(self._vectors, slots, axis=0))
            return True
        return False

    def _write(self, folder: Path) -> None:
        np.save(folder / "vectors.npy", self._vectors)

    def _read(self, folder: Path, mmap: bool) -> None:
        self._build(np.load(folder / "vectors.npy", mmap_mode="r" if mmap else None))

    def _shape(self) -> tuple[int, int]:
        return len(self._vectors), self._vectors.shape[1]

    def _bytes(self) -> int:
        return self._vectors.nbytes + self._prepared.nbytes
