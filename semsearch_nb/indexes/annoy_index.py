"""Annoy: a forest of random trees in a file that many processes map into memory.

The classic of memory-mapped search, by Spotify. Its last release is of June 2023; take it where a
read-only file shared by many processes is the point.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch_nb.foundation import threads
from semsearch_nb.indexes.base import Index, imported
from semsearch_nb.indexes.rows import UnitRows
from semsearch_nb.vectors import FloatArray, IntArray, as_count


@dataclass(eq=False)
class Annoy(Index):
    """Trees that halve the space by random hyperplanes, searched through one queue.

    `effort` is `search_k`, the number of vectors looked at over all trees. Nothing can be added or
    removed once the trees stand. Built with one thread, the same seed gives the same trees.
    """

    n_trees: int = 50
    effort: int = 5_000
    seed: int = 0

    library = "annoy"
    effort_name = "search_k"

    def __post_init__(self) -> None:
        as_count(self.n_trees, "n_trees")
        super().__post_init__()

    def _build(self, rows: UnitRows) -> None:
        index = imported("annoy").AnnoyIndex(rows.shape[1], "angular")
        index.set_seed(self.seed)
        for label, row in enumerate(row for block in rows.blocks() for row in block):
            index.add_item(label, row)
        index.build(self.n_trees, n_jobs=threads.count())
        self._index, self._file_bytes = index, 0

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        labels = np.full((len(queries), k), -1, dtype=np.int64)
        for row, query in enumerate(queries):
            found, distances = self._index.get_nns_by_vector(query, k, effort or self.effort, include_distances=True)
            labels[row, : len(found)] = found
            # Annoy's angular distance is √(2 (1 − cosine)).
            scores[row, : len(found)] = 1 - np.square(distances, dtype=np.float32) / 2
        return scores, labels

    def _most_effort(self) -> int:
        return len(self)

    def _stored(self, labels: IntArray) -> FloatArray:
        rows = np.empty((len(labels), self.dimension), dtype=np.float32)
        for row, label in zip(rows, labels.tolist(), strict=True):
            row[:] = self._index.get_item_vector(label)  # one list of Python's floats at a time
        return rows

    def _write(self, folder: Path) -> None:
        # Annoy serves an index from the file it was saved to, which may be deleted later: it gets a copy.
        shutil.copyfile(self._own_file(), folder / "index.ann")

    def _read(self, folder: Path, mmap: bool) -> None:
        file = folder / "index.ann"
        self._index = imported("annoy").AnnoyIndex(self.dimension, "angular")
        self._index.load(str(file))
        self._file, self._file_bytes = file, file.stat().st_size

    def _shape(self) -> tuple[int, int]:
        return self._index.get_n_items(), self._index.f

    def _bytes(self) -> int:
        self._own_file()  # Annoy tells its size in no other way
        return self._file_bytes

    def _own_file(self) -> Path:
        """The file that the trees are mapped from; a temporary one where there is none, or no more."""
        if not self._file_bytes or not self._file.exists():
            folder = tempfile.mkdtemp(prefix="semsearch-annoy-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._file = Path(folder) / "index.ann"
            self._index.save(str(self._file))
            self._file_bytes = self._file.stat().st_size
        return self._file
