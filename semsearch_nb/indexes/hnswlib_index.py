"""hnswlib: the graph of Malkov and Yashunin (2016), by its authors. Fast, and large in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semsearch_nb.foundation import threads
from semsearch_nb.indexes.base import Index, imported, require_graph
from semsearch_nb.indexes.rows import UnitRows
from semsearch_nb.vectors import FloatArray, IntArray


@dataclass(eq=False)
class Hnswlib(Index):
    """A graph of near neighbours, searched greedily from a coarse layer to a fine one.

    `m` links a vector keeps (twice as many in the lowest layer), chosen among `ef_construction`
    candidates; `effort` is `ef`, the candidates kept while searching. Removed vectors are only
    marked: they still take memory until the index is rebuilt. Built with one thread, the same seed
    gives the same graph.
    """

    m: int = 16
    ef_construction: int = 200
    effort: int = 50
    seed: int = 0

    library = "hnswlib"
    effort_name = "ef"

    def __post_init__(self) -> None:
        require_graph(self.m, self.ef_construction)
        super().__post_init__()

    def _build(self, rows: UnitRows) -> None:
        # "ip" on unit vectors is the cosine; the space "cosine" would normalise every query again.
        index = imported("hnswlib").Index("ip", rows.shape[1])
        index.init_index(len(rows), M=self.m, ef_construction=self.ef_construction, random_seed=self.seed)
        for block in rows.blocks():
            index.add_items(block, num_threads=threads.count())
        self._index = index

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        try:
            labels, distances = self._index.knn_query(queries, k, num_threads=threads.count())
        except RuntimeError as error:
            if "contiguous 2D array" not in str(error):
                raise
            # Fewer than k can be reached from some query, whatever the effort: say from which.
            if len(queries) == 1:
                return np.full((1, k), -np.inf, dtype=np.float32), np.full((1, k), -1, dtype=np.int64)
            scores, found = zip(*(self._search(query[None], k) for query in queries), strict=True)
            return np.concatenate(scores), np.concatenate(found)
        return 1 - distances, labels.view(np.int64)

    def _stored(self, labels: IntArray) -> FloatArray:
        return np.array(self._index.get_items(labels), dtype=np.float32)

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        n = self._index.get_current_count() + len(rows)
        if n > self._index.get_max_elements():
            self._index.resize_index(n + n // 2)  # it copies everything, so not at every call
        self._index.add_items(rows, labels, num_threads=threads.count())

    def _remove(self, labels: IntArray) -> None:
        for label in labels.tolist():
            self._index.mark_deleted(label)

    def _apply_effort(self) -> None:
        if self.dimension:  # a loaded index starts with ef 10 again
            self._index.set_ef(self.effort)

    def _write(self, folder: Path) -> None:
        self._index.save_index(str(folder / "index.hnsw"))

    def _read(self, folder: Path, mmap: bool) -> None:
        self._index = imported("hnswlib").Index("ip", self.dimension)
        self._index.load_index(str(folder / "index.hnsw"))

    def _shape(self) -> tuple[int, int]:
        return self._index.get_current_count(), self._index.dim

    def _bytes(self) -> int:
        return int(self._index.index_file_size())
