"""RaBitQ by its authors (Gao and others): the graph of hnswlib over codes of 1 to 9 bits a dimension."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch_nb.foundation import threads
from semsearch_nb.indexes.base import Index, imported, require_graph
from semsearch_nb.indexes.rows import UnitRows
from semsearch_nb.vectors import FloatArray, IntArray, as_count

LEAST = 64  # dimensions that the library rotates; shorter vectors are filled up with zeros, which change no product


@dataclass(eq=False)
class RaBitQ(Index):
    """A graph of near neighbours that keeps codes in place of the vectors.

    A vector is rotated, and `bits` a dimension are kept of its difference from the mean; with a few numbers more the
    estimate of a score has no bias. With 1 bit re-score (`Rescored`); from 5 on the estimates
    alone may do. `m`, `ef_construction` and `effort` are those of `Hnswlib`. Removed vectors are only marked, and no
    vector can be given back, so there is no rebuilding of what is not in `Rescored`.
    """

    bits: int = 1
    m: int = 16
    ef_construction: int = 200
    effort: int = 50
    seed: int = 0

    library = "rabitqlib"
    effort_name = "ef"

    def __post_init__(self) -> None:
        if not 1 <= as_count(self.bits, "bits") <= 9:
            raise ValueError(f"bits must be from 1 to 9, not {self.bits}")
        require_graph(self.m, self.ef_construction)
        super().__post_init__()

    def _build(self, rows: UnitRows) -> None:
        n, dimension = rows.shape
        index = imported(self.library).HnswIndex(
            max(LEAST, dimension), n, self.m, self.ef_construction, self.bits, "ip", self.seed
        )
        mean = _filled(rows.mean()[None])
        for block in map(_filled, rows.blocks()):
            if index.is_built:
                index.add(block, num_threads=threads.count())
            else:
                index.build(block, mean, np.zeros(len(block), dtype=np.uint32), num_threads=threads.count())
        self._index = index

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        labels, distances = self._index.search(_filled(queries), k, effort or self.effort, num_threads=threads.count())
        rows = labels.view(np.int32).astype(np.int64)  # where it finds too few, it fills up with the largest label
        return np.where(rows < 0, np.float32(-np.inf), 1 - distances), rows

    def _most_effort(self) -> int:
        return int(self._index.num_stored_points)

    def _stored(self, labels: IntArray) -> FloatArray:
        raise NotImplementedError(
            "RaBitQ keeps codes alone, so it can neither be built again nor scanned where its graph does not reach k: "
            "wrap it in Rescored, which keeps the vectors"
        )

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        n = self._index.num_stored_points + len(rows)
        if n > self._index.max_elements:
            self._index.resize(n + n // 2)  # it copies everything, so not at every call
        self._index.add(_filled(rows), num_threads=threads.count())  # which counts on from the last label

    def _remove(self, labels: IntArray) -> None:
        self._index.remove(labels.astype(np.uint32))

    def _write(self, folder: Path) -> None:
        self._index.save(str(folder / "index.rabitq"))

    def _read(self, folder: Path, mmap: bool) -> None:
        self._index = imported(self.library).HnswIndex.load(str(folder / "index.rabitq"))

    def _shape(self) -> tuple[int, int]:
        held = self._index.dim
        return self._index.num_stored_points, self.dimension if held == max(LEAST, self.dimension) else held

    def _bytes(self) -> int:
        with tempfile.TemporaryDirectory() as folder:  # the library does not say, and writes what it holds
            self._write(Path(folder))
            return (Path(folder) / "index.rabitq").stat().st_size


def _filled(rows: FloatArray) -> FloatArray:
    missing = LEAST - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing))) if missing > 0 else rows
