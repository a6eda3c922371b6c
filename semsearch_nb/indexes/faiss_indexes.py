"""FAISS: cells, product quantisation, graphs and bits, by Meta.

FAISS ignores a misspelt or misplaced setting without a word, so every setting is made here on the object
that has it.
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from semsearch_nb.indexes.base import Index, imported, require_graph
from semsearch_nb.indexes.rows import UnitRows
from semsearch_nb.vectors import FloatArray, IntArray, as_count

_direct_map = threading.Lock()
PQ_SAMPLE = 16_384  # vectors teach 256 code words, and sooner than more do


class _Faiss(Index):
    """What FAISS's indexes have in common."""

    library = "faiss-cpu"
    _mapped = False
    _kind = ""  # of FAISS's functions for reading and writing

    @property
    def _faiss(self) -> Any:
        return imported(self.library)

    @abstractmethod
    def _new(self, rows: UnitRows) -> Any:
        """An index of FAISS, trained on `rows` where it learns, and empty."""

    def _put(self, index: Any, rows: FloatArray, labels: IntArray) -> None:
        index.add_with_ids(rows, labels)

    def _build(self, rows: UnitRows) -> None:
        index, n = self._new(rows), 0
        for block in rows.blocks():
            self._put(index, block, np.arange(n, n := n + len(block)))
        self._index, self._mapped = index, False

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        scores, labels = self._index.search(queries, k)
        return scores, labels

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        self._require_writable()
        self._put(self._index, rows, labels)

    def _remove(self, labels: IntArray) -> None:
        self._require_writable()
        self._index.remove_ids(labels)

    def _require_writable(self) -> None:
        if self._mapped:
            raise NotImplementedError("the index is mapped from its file, read-only: load it with mmap=False")

    def _write(self, folder: Path) -> None:
        getattr(self._faiss, f"write_index{self._kind}")(self._index, str(folder / "index.faiss"))

    def _read(self, folder: Path, mmap: bool) -> None:
        self._mapped = mmap and not self._kind
        flags = (self._faiss.IO_FLAG_MMAP_IFC,) if self._mapped else ()
        self._index = getattr(self._faiss, f"read_index{self._kind}")(str(folder / "index.faiss"), *flags)

    def _shape(self) -> tuple[int, int]:
        return self._index.ntotal, self._index.d


@dataclass(eq=False)
class FaissFlat(_Faiss):
    """Every vector compared with every query: FAISS's exact search."""

    def _new(self, rows: UnitRows) -> Any:
        return self._faiss.IndexIDMap(self._faiss.IndexFlatIP(rows.shape[1]))

    def _stored(self, labels: IntArray) -> FloatArray:
        held = self._faiss.vector_to_array(self._index.id_map)
        return np.asarray(self._index.index.reconstruct_batch(np.searchsorted(held, labels)))

    def _bytes(self) -> int:
        return int(self._index.ntotal * (4 * self.dimension + 8))


@dataclass(eq=False)
class FaissIVF(_Faiss):
    """Cells around centres that k-means finds; only the `effort` nearest cells are searched.

    `n_cells` is FAISS's nlist, by default 4 √n, or n // 39 where that is less: FAISS wants 39 vectors a
    cell. `effort` is `nprobe`. With `code_bytes` the vectors are kept as product-quantised codes of that
    many bytes (IVF-PQ), so scores are estimates: re-score them (`Rescored`). It must divide the dimension.
    """

    n_cells: int | None = None
    code_bytes: int | None = None
    effort: int = 16
    seed: int = 0

    effort_name = "nprobe"

    def __post_init__(self) -> None:
        for name in ("n_cells", "code_bytes"):
            if getattr(self, name) is not None:
                as_count(getattr(self, name), name)
        super().__post_init__()

    def _new(self, rows: UnitRows) -> Any:
        faiss, (n, dimension) = self._faiss, rows.shape
        n_cells = self.n_cells or max(1, min(round(4 * math.sqrt(n)), n // 39))
        if n_cells > n:
            raise ValueError(f"n_cells is {n_cells} and there are {n} vectors; k-means needs at least one a cell")
        centres, metric = faiss.IndexFlatIP(dimension), faiss.METRIC_INNER_PRODUCT
        if self.code_bytes is None:
            index = faiss.IndexIVFFlat(centres, dimension, n_cells, metric)
        else:
            if dimension % self.code_bytes:
                raise ValueError(f"code_bytes is {self.code_bytes} and must divide the dimension, {dimension}")
            if n < 256:
                raise ValueError(f"product quantisation learns 256 code words from 256 vectors or more, not {n}")
            index = faiss.IndexIVFPQ(centres, dimension, n_cells, self.code_bytes, 8, metric)
            index.pq.cp.seed = self.seed
            index.pq.cp.min_points_per_centroid = 1  # fewer than FAISS likes still work; it would print a warning
            index.pq.cp.max_points_per_centroid = PQ_SAMPLE // 256
        index.cp.seed = self.seed
        index.cp.min_points_per_centroid = 1
        index.train(rows.sample(max(n_cells * index.cp.max_points_per_centroid, PQ_SAMPLE), self.seed))
        return index

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        params = effort and self._faiss.SearchParametersIVF(nprobe=effort)
        scores, labels = self._index.search(queries, k, params=params)
        return scores, labels

    def _most_effort(self) -> int:
        return int(self._index.nlist)

    def _apply_effort(self) -> None:
        if self.dimension:
            self._index.nprobe = self.effort

    def _stored(self, labels: IntArray) -> FloatArray:
        with _direct_map:  # which says where a label lies; kept only while it is needed
            self._index.set_direct_map_type(self._faiss.DirectMap.Hashtable)
            rows: FloatArray = self._index.reconstruct_batch(labels)
            self._index.set_direct_map_type(self._faiss.DirectMap.NoMap)
        return rows

    def _bytes(self) -> int:
        index = self._index
        words = 0 if self.code_bytes is None else 256
        return int(index.ntotal * (index.code_size + 8) + 4 * self.dimension * (index.nlist + words))


Codes = Literal["float32", "int8", "int4"]
QUANTISERS = {"int8": "QT_8bit_uniform", "int4": "QT_4bit_uniform"}


@dataclass(eq=False)
class FaissHNSW(_Faiss):
    """The graph of hnswlib in FAISS, over vectors of 4, 1 or ½ bytes a dimension.

    `effort` is `efSearch`. FAISS's own defaults (L2, ef_construction 40, efSearch 16) are not
    hnswlib's, and are not used. With `codes="int8"` or `"int4"` the values are rounded to 256 or 16
    steps over one range, so scores are estimates: re-score them (`Rescored`). The graph can grow but
    not shrink.
    """

    codes: Codes = "float32"
    m: int = 16
    ef_construction: int = 200
    effort: int = 50

    effort_name = "efSearch"

    def __post_init__(self) -> None:
        if self.codes not in ("float32", *QUANTISERS):
            raise ValueError(f"codes must be 'float32', 'int8' or 'int4', not {self.codes!r}")
        require_graph(self.m, self.ef_construction)
        super().__post_init__()

    def _new(self, rows: UnitRows) -> Any:
        faiss, dimension = self._faiss, rows.shape[1]
        if self.codes == "float32":
            index = faiss.IndexHNSWFlat(dimension, self.m, faiss.METRIC_INNER_PRODUCT)
        else:
            quantiser = getattr(faiss.ScalarQuantizer, QUANTISERS[self.codes])
            index = faiss.IndexHNSWSQ(dimension, quantiser, self.m, faiss.METRIC_L2)
            # All it learns is the range of the values, so the ends of that range teach it as much as all rows.
            ends = np.array([[block.min(), block.max()] for block in rows.blocks()])
            index.train(np.outer([ends.min(), ends.max()], np.ones(dimension)).astype(np.float32))
        index.hnsw.efConstruction = self.ef_construction
        return index

    def _put(self, index: Any, rows: FloatArray, labels: IntArray) -> None:
        index.add(rows)  # a graph counts its vectors from zero too, and loses none

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        scores, labels = super()._search(queries, k)
        if self.codes != "float32":
            scores = np.float32(1) - scores / np.float32(2)  # ‖q − x‖² = 2 (1 − cosine) for unit vectors
        return scores, labels

    def _remove(self, labels: IntArray) -> None:
        Index._remove(self, labels)  # which refuses

    def _apply_effort(self) -> None:
        if self.dimension:
            self._index.hnsw.efSearch = self.effort

    def _stored(self, labels: IntArray) -> FloatArray:
        return np.asarray(self._index.reconstruct_batch(labels))

    def _bytes(self) -> int:
        graph = self._index.hnsw
        links = 4 * (graph.neighbors.size() + graph.levels.size()) + 8 * graph.offsets.size()
        return int(self._index.ntotal * self._index.storage.sa_code_size() + links)


@dataclass(eq=False)
class FaissBinary(_Faiss):
    """One bit a dimension: is the value above its mean over the corpus? Compared by counting bits.

    Every vector is looked at, at a thirty-second of its bytes. A score is cos(π · differing bits /
    dimension), the cosine if the bits were signs of random projections (Charikar 2002), so it is an
    estimate: re-score (`Rescored`).
    """

    _kind = "_binary"

    def _new(self, rows: UnitRows) -> Any:
        self._means = rows.mean()
        return self._faiss.IndexBinaryIDMap(self._faiss.IndexBinaryFlat(8 * math.ceil(rows.shape[1] / 8)))

    def _put(self, index: Any, rows: FloatArray, labels: IntArray) -> None:
        index.add_with_ids(self._bits(rows), labels)

    def _bits(self, rows: FloatArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.packbits(rows > self._means, axis=1)

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        differing, labels = self._index.search(self._bits(queries), k)
        return np.cos(differing * (math.pi / self.dimension)).astype(np.float32), labels

    def _stored(self, labels: IntArray) -> FloatArray:
        raise NotImplementedError("FaissBinary keeps bits alone: leave out rebuild, or wrap it in Rescored")

    def _write(self, folder: Path) -> None:
        np.save(folder / "means.npy", self._means)
        super()._write(folder)

    def _read(self, folder: Path, mmap: bool) -> None:
        self._means = np.load(folder / "means.npy")
        super()._read(folder, mmap)

    def _shape(self) -> tuple[int, int]:
        return self._index.ntotal, len(self._means)

    def _bytes(self) -> int:
        return int(self._index.ntotal * (self._index.code_size + 8) + self._means.nbytes)
