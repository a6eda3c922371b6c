"""Re-scoring: a small index proposes candidates, float32 vectors decide.

Codes of a few bits keep the true neighbours near the top but not in order. The vectors themselves may
stay in a file: only the candidates' rows are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semsearch_nb.indexes.base import KINDS, Index, is_full
from semsearch_nb.indexes.ids import IdMap
from semsearch_nb.indexes.rows import Growing, UnitRows
from semsearch_nb.vectors import FloatArray, IntArray, as_count


@dataclass(eq=False)
class Rescored(Index):
    """The k best, by float32 cosine, of `candidates` that the index `inner` proposes.

    `effort` is that of `inner`; where `inner` has none, it is the number of candidates.
    `Rescored(FaissBinary())`, `Rescored(FaissIVF(code_bytes=48))`, `Rescored(FaissHNSW("int8"))`.
    The float32 vectors are kept in memory, or in a file: save the index and load it with `mmap=True`.
    """

    inner: Index
    candidates: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Index) or isinstance(self.inner, Rescored):
            raise TypeError(f"inner must be an index that is not re-scored itself, not {self.inner!r:.80}")
        as_count(self.candidates, "candidates")
        self.library = self.inner.library
        self.effort_name = self.inner.effort_name or "candidates"
        self.effort = self.inner.effort if self.inner.effort_name else self.candidates
        super().__post_init__()

    def _build(self, rows: UnitRows) -> None:
        vectors = rows.kept()
        self.inner._build(rows)
        self._vectors = Growing(vectors)

    def _take(self, ids: IdMap, dimension: int) -> None:
        super()._take(ids, dimension)
        self.inner._take(ids, dimension)  # labels are the same on both sides: the rows of the vectors

    def _search(self, queries: FloatArray, k: int, effort: int | None = None) -> tuple[FloatArray, IntArray]:
        # Not inner.search: where it proposes fewer, there is no need to complete them as long as k remain.
        proposed = self.inner._search(queries, min(max(k, self.candidates), len(self)), effort)[1]
        vectors = self._vectors.array
        if len(queries) == 1:
            scores = (vectors[proposed[0]] @ queries[0])[None]
        else:
            scores = np.stack([vectors[row] @ query for row, query in zip(proposed, queries, strict=True)])
        if not is_full(proposed):
            scores[proposed < 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(proposed, best, axis=1)

    def _most_effort(self) -> int | None:
        return self.inner._most_effort()

    def _stored(self, labels: IntArray) -> FloatArray:
        rows: FloatArray = self._vectors.array[labels]
        return rows

    def _add(self, rows: FloatArray, labels: IntArray) -> None:
        self.inner._add(rows, labels)
        self._vectors.append(rows)

    def _remove(self, labels: IntArray) -> None:
        self.inner._remove(labels)

    def _apply_effort(self) -> None:
        if self.inner.effort_name:
            self.inner.set_effort(self.effort)
        else:
            self.candidates = self.effort

    @property
    def parameters(self) -> dict[str, Any]:
        inner = {"kind": type(self.inner).__name__, "parameters": self.inner.parameters}
        return {"inner": inner, "candidates": self.candidates}

    @classmethod
    def _made_with(cls, parameters: dict[str, Any]) -> Rescored:
        inner = parameters["inner"]
        return cls(KINDS[inner["kind"]]._made_with(inner["parameters"]), parameters["candidates"])

    def _write(self, folder: Path) -> None:
        np.save(folder / "vectors.npy", self._vectors.array)
        (folder / "inner").mkdir()
        self.inner._write(folder / "inner")

    def _read(self, folder: Path, mmap: bool) -> None:
        self._vectors = Growing(np.load(folder / "vectors.npy", mmap_mode="r" if mmap else None))
        self.inner._take(self._ids, self.dimension)
        self.inner._read(folder / "inner", mmap=False)  # it is small, and so it can still change

    def _shape(self) -> tuple[int, int]:
        return len(self._vectors.array), self.inner._shape()[1]

    def _bytes(self) -> int:
        return self.inner._bytes() + self._vectors.nbytes
