"""Vectors on their way into an index: checked, scaled to length 1 a block at a time, kept where they can grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from semsearch_nb.vectors import FloatArray, as_matrix, as_numpy, unit_rows

BLOCK = 16_384  # rows; of 384 dimensions they take 25 MB


class UnitRows:
    """The vectors of a user as unit vectors, made a block at a time: most libraries need no second corpus.

    Raises, as `vectors.unit_rows`: at once of what is no matrix, and of bad values when they are read.
    """

    def __init__(self, vectors: Any) -> None:
        self._array = as_numpy(vectors)
        if self._array.ndim != 2 or not self._array.size or self._array.dtype.kind not in "fiu":
            as_matrix(self._array, "vectors")  # says what is wrong
        self.shape = self._array.shape

    def __len__(self) -> int:
        return len(self._array)

    def blocks(self) -> Iterator[FloatArray]:
        """The rows in order, at most `BLOCK` at a time."""
        for start in range(0, len(self), BLOCK):
            yield self._unit(self._array[start : start + BLOCK])

    def mean(self) -> FloatArray:
        """Of all rows, shape `(dimension,)`."""
        total = sum(block.sum(axis=0, dtype=np.float64) for block in self.blocks())
        return np.asarray(total / len(self), dtype=np.float32)

    def sample(self, n: int, seed: int) -> FloatArray:
        """`n` rows drawn at random, in order; all of them where there are no more."""
        drawn = np.random.default_rng(seed).choice(len(self), min(n, len(self)), replace=False)
        return self._unit(self._array[np.sort(drawn)])

    def kept(self) -> FloatArray:
        """All rows in an array that nobody else writes to: a copy, unless a file is mapped read-only."""
        rows = self._unit(self._array)
        mine = not np.may_share_memory(rows, self._array) or (is_mapped(rows) and not rows.flags.writeable)
        return rows if mine else rows.copy()

    def _unit(self, rows: Any) -> FloatArray:
        try:
            return unit_rows(rows, "vectors")
        except ValueError:
            unit_rows(self._array, "vectors")  # complains again, and counts rows from the first of all
            raise


class Growing:
    """An array that grows at its end: room for half as many rows again makes that cheap in the long run."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._room, self._n = array, len(array)

    @property
    def array(self) -> np.ndarray[Any, Any]:
        return self._room[: self._n]

    @property
    def nbytes(self) -> int:
        """Bytes in this process: none where the rows are mapped from a file."""
        return 0 if is_mapped(self._room) else self._room.nbytes

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        n = self._n + len(rows)
        if n > len(self._room):
            room = np.empty((n + n // 2, *self._room.shape[1:]), dtype=self._room.dtype)
            room[: self._n] = self.array
            self._room = room
        self._room[self._n : n] = rows
        self._n = n


def is_mapped(array: Any) -> bool:
    """Whether the values lie in a file, for the operating system to read and to drop."""
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = getattr(array, "base", None)
    return False
