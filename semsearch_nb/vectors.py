"""What every search takes and returns: checked texts or arrays of vectors in, `Hits` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


class Hits(NamedTuple):
    """The best k rows of the corpus for each query, best first.

    `scores` is float32 and `indices` is int64, both of shape `(n_queries, k)`. `indices` are row
    numbers of the corpus that was searched; those of an index are the ids that it was built with,
    int64 or, where the ids are strings, objects.

    A server can find fewer than k. It then ends a row with scores of -inf and ids of None (or -1).
    """

    scores: FloatArray
    indices: Any

    @property
    def found(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which places hold a hit, shape `(n_queries, k)`."""
        there: np.ndarray[Any, np.dtype[np.bool_]] = self.scores != -np.inf
        return there


def as_vectors(array: Any, name: str) -> FloatArray:
    """`array` as a C-contiguous float32 matrix of shape `(n, dimension)`, or a clear error.

    The libraries below do not all say no: `torch.topk` ranks NaN first, FAISS can crash on float64,
    and encoding an empty list gives the shape `(0,)`. So what reaches them is checked here.

    Raises:
        TypeError: not an array of numbers.
        ValueError: not two-dimensional, without rows or columns, or not finite. The message calls
            the array `name`, names the first bad row and says what to do.
    """
    matrix = as_matrix(array, name)
    _require_finite(matrix, name)
    return matrix


def unit_rows(array: Any, name: str) -> FloatArray:
    """`array` checked as by `as_vectors` and scaled so that every row has length 1.

    On unit vectors the dot product is the cosine. Rows that have length 1 already (within 1e-6)
    are returned as they are, so a normalised corpus is read once and not copied.

    Raises:
        ValueError: also where a row is zero: it has no direction and so no cosine.
    """
    matrix = as_matrix(array, name)
    if len(matrix) == 1 and abs(np.vdot(matrix, matrix) - 1) <= 2e-6:
        return matrix
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    if np.abs(squares - 1).max() <= 2e-6:  # never so with a NaN in it
        return matrix
    _require_finite(matrix, name)
    largest = np.abs(matrix).max(axis=1)
    if not largest.all():
        bad = np.flatnonzero(largest == 0)
        raise ValueError(
            f"{name} has {len(bad)} rows of zeros, the first is row {bad[0]}; a zero vector has no "
            "direction: remove those rows, or search with score='dot'"
        )
    # The largest value first: the square of 1e30 is more than float32 holds.
    scaled = matrix / largest[:, None]
    return np.ascontiguousarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))


def as_matrix(array: Any, name: str) -> FloatArray:
    """`array` as by `as_vectors`, except that its values are not looked at: no pass over the data."""
    matrix = np.asarray(array)
    if matrix.dtype == np.float32 and matrix.ndim == 2 and matrix.size and matrix.flags.c_contiguous:
        return matrix  # what most searches pass: said at once, since a query may take but 50 µs
    if matrix.dtype.kind not in "fiu":
        raise TypeError(
            f"{name} must be an array of numbers, not of {matrix.dtype}; "
            "encode texts first, with encoding.encode_queries or encode_documents"
        )
    if matrix.ndim != 2:
        hint = f"; for one vector pass {name}[None, :]" if matrix.ndim == 1 and matrix.size else ""
        raise ValueError(f"{name} must have the shape (n, dimension), not {matrix.shape}{hint}")
    if 0 in matrix.shape:
        raise ValueError(f"{name} is empty: its shape is {matrix.shape}; pass at least one vector")
    with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite, and is refused
        return np.ascontiguousarray(matrix, dtype=np.float32)


def _require_finite(matrix: FloatArray, name: str) -> None:
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(matrix)} rows, the first is "
            f"row {bad[0]}; remove those rows or encode their texts again"
        )


def as_texts(texts: Sequence[str]) -> list[str]:
    """`texts` as a list of strings, or an error that names the first element that is none."""
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts must be a list of strings, not one string; pass [text]")
    texts = list(texts)
    if not texts:
        raise ValueError("texts is empty; pass at least one text")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{position}] must be a string, not {type(text).__name__}: {text!r:.60}")
    return texts


def as_count(value: Any, name: str) -> int:
    """`value` as a whole number of at least 1.

    Raises:
        TypeError: not a whole number.
        ValueError: less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return int(value)
