"""FAISS: cells, product quantisation, graphs and bits, by Meta.

FAISS fills rows that it cannot fill with the id -1, which the base class completes. It ignores a
misspelt or misplaced setting without a word, so every setting is made here on the object that has it.
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from semsearch_nb.indexes.base import Index
from semsearch_nb.vectors import FloatArray, IntArray, as_count

_direct_map = threading.Lock()
INNER_PRODUCT, L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2


class _Faiss(Index):
    """What FAISS's indexes have in common."""

    library = "faiss-cpu"
    _mapped = False

    @abstractmethod
    def _new(self, rows: FloatArray) -> Any:
        """An index of FAISS, trained on `rows` where it learns, and empty."""

    def _build(self, rows: FloatArray) -> None:
        index = self._new(rows)
        index.add(rows)
        self._index, self._mapped = index, False

    def _search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        scores, slots = self._index.search(queries, k)
        if self._index.metric_type == L2:
            scores = 1 - scores / 2  # ‖q − x‖² = 2 (1 − cosine) for unit vectors
        return scores, slots

    def _stored(self, slots: IntArray) -> FloatArray:
        rows: FloatArray = self._index.reconstruct_batch(slots)
        return rows

    def _add(self, rows: FloatArray) -> None:
        self._require_writable()
        self._index.add(rows)

    def _require_writable(self) -> None:
        if self._mapped:
            raise NotImplementedError("the index is mapped from its file, read-only: load it with mmap=False")

    def _write(self, folder: Path) -> None:
        faiss.write_index(self._index, str(folder / "index.faiss"))

    def _read(self, folder: Path, mmap: bool) -> None:
        flags = faiss.IO_FLAG_MMAP_IFC if mmap else 0
        self._index, self._mapped = faiss.read_index(str(folder / "index.faiss"), flags), mmap

    def _shape(self) -> tuple[int, int]:
        return self._index.ntotal, self._index.d

    def _bytes(self) -> int:
        return _serialised(self._index, faiss.write_index)


@dataclass(eq=False)
class FaissFlat(_Faiss):
    """Every vector compared with every query: FAISS's exact search."""

    def _new(self, rows: FloatArray) -> Any:
        return faiss.IndexFlatIP(rows.shape[1])

    def _remove(self, slots: IntArray) -> bool:
        self._require_writable()
        self._index.remove_ids(slots)
        return True


@dataclass(eq=False)
class FaissIVF(_Faiss):
    """Cells around centres that k-means finds; only the `effort` nearest cells are searched.

    `n_cells` is FAISS's nlist, by default 4 √n; `effort` is `nprobe`. With `code_bytes` the vectors
    are kept as product-quantised codes of that many bytes (IVF-PQ), so scores are estimates: re-score
    them (`Rescored`). It must divide the dimension.
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

    def _new(self, rows: FloatArray) -> Any:
        n, dimension = rows.shape
        n_cells = self.n_cells or max(1, min(round(4 * math.sqrt(n)), n // 39))
        if n_cells > n:
            raise ValueError(f"n_cells is {n_cells} and there are {n} vectors; k-means needs at least one a cell")
        centres = faiss.IndexFlatIP(dimension)
        if self.code_bytes is None:
            index = faiss.IndexIVFFlat(centres, dimension, n_cells, INNER_PRODUCT)
        else:
            if dimension % self.code_bytes:
                raise ValueError(f"code_bytes is {self.code_bytes} and must divide the dimension, {dimension}")
            if n < 256:
                raise ValueError(f"product quantisation learns 256 code words from 256 vectors or more, not {n}")
            index = faiss.IndexIVFPQ(centres, dimension, n_cells, self.code_bytes, 8, INNER_PRODUCT)
            index.pq.cp.seed = self.seed
            index.pq.cp.min_points_per_centroid = 1  # fewer than FAISS likes still work; it would print a warning
            index.pq.cp.max_points_per_centroid = 64  # a sample of 16,384 vectors teaches 256 code words, and sooner
        index.cp.seed = self.seed
        index.cp.min_points_per_centroid = 1
        index.train(rows)
        return index

    def _apply_effort(self) -> None:
        if self.dimension:
            self._index.nprobe = self.effort

    def _stored(self, slots: IntArray) -> FloatArray:
        with _direct_map:  # which says where a slot lies; kept only while it is needed
            self._index.set_direct_map_type(faiss.DirectMap.Hashtable)
            rows: FloatArray = self._index.reconstruct_batch(slots)
            self._index.set_direct_map_type(faiss.DirectMap.NoMap)
        return rows

    def _add(self, rows: FloatArray) -> None:
        self._require_writable()
        n = len(self._ids.values)  # not ntotal, which falls when vectors are removed
        self._index.add_with_ids(rows, np.arange(n, n + len(rows)))

    def _remove(self, slots: IntArray) -> bool:
        self._require_writable()
        self._index.remove_ids(slots)
        return False

    def _shape(self) -> tuple[int, int]:
        return self._index.ntotal + int(np.count_nonzero(~self._ids.alive)), self._index.d


Codes = Literal["float32", "int8", "int4"]
QUANTISERS = {"int8": faiss.ScalarQuantizer.QT_8bit_uniform, "int4": faiss.ScalarQuantizer.QT_4bit_uniform}


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
        if as_count(self.m, "m") < 2:
            raise ValueError("m must be at least 2: with one link a vector the graph falls apart")
        as_count(self.ef_construction, "ef_construction")
        super().__post_init__()

    def _new(self, rows: FloatArray) -> Any:
        dimension = rows.shape[1]
        if self.codes == "float32":
            index = faiss.IndexHNSWFlat(dimension, self.m, INNER_PRODUCT)
        else:
            index = faiss.IndexHNSWSQ(dimension, QUANTISERS[self.codes], self.m, L2)
            index.train(rows)
        index.hnsw.efConstruction = self.ef_construction
        return index

    def _apply_effort(self) -> None:
        if self.dimension:
            self._index.hnsw.efSearch = self.effort


@dataclass(eq=False)
class FaissBinary(Index):
    """One bit a dimension: is the value above its mean over the corpus? Compared by counting bits.

    Every vector is looked at, at a thirty-second of its bytes. A score is cos(π · differing bits /
    dimension), the cosine if the bits were signs of random projections (Charikar 2002), so it is an
    estimate: re-score (`Rescored`).
    """

    library = "faiss-cpu"

    def _build(self, rows: FloatArray) -> None:
        self._means = rows.mean(axis=0)
        self._index = faiss.IndexBinaryFlat(8 * math.ceil(rows.shape[1] / 8))
        self._index.add(self._bits(rows))

    def _bits(self, rows: FloatArray) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.packbits(rows > self._means, axis=1)

    def _search(self, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
        differing, slots = self._index.search(self._bits(queries), k)
        return np.cos(differing * (math.pi / self.dimension)).astype(np.float32), slots

    def _stored(self, slots: IntArray) -> FloatArray:
        raise NotImplementedError("FaissBinary keeps bits alone: leave out rebuild, or wrap it in Rescored")

    def _add(self, rows: FloatArray) -> None:
        self._index.add(self._bits(rows))

    def _remove(self, slots: IntArray) -> bool:
        self._index.remove_ids(slots)
        return True

    def _write(self, folder: Path) -> None:
        np.save(folder / "means.npy", self._means)
        faiss.write_index_binary(self._index, str(folder / "index.faiss"))

    def _read(self, folder: Path, mmap: bool) -> None:
        self._means = np.load(folder / "means.npy")
        self._index = faiss.read_index_binary(str(folder / "index.faiss"))

    def _shape(self) -> tuple[int, int]:
        return self._index.ntotal, len(self._means)

    def _bytes(self) -> int:
        return _serialised(self._index, faiss.write_index_binary)


def _serialised(index: Any, write: Any) -> int:
    """Bytes of the file that FAISS would write, which are those it holds; none are written."""
    size = 0

    def count(part: bytes) -> None:
        nonlocal size
        size += len(part)

    writer = faiss.PyCallbackIOWriter(count)
    write(index, writer)
    del writer  # hands over what is left in its buffer
    return size
