"""What every search takes and returns: checked texts or arrays of vectors in, `Hits` out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]
Lengths = np.ndarray[Any, np.dtype[np.float64]]
PART = 4_096  # rows that are scaled at once; of 384 dimensions they take 6 MB
_SURROGATE = re.compile("[\ud800-\udfff]")


Holds = Literal["rows", "ids"]


@dataclass(frozen=True, eq=False)
class Hits:
    """The best k of the corpus for each query, best first. `scores, indices = hits` unpacks them.

    `scores` is float32, of shape `(n_queries, k)`, and so is `indices`, which are one of two things:

    - `holds="rows"`: row numbers (int64) of the corpus that was searched, in the order it was given;
    - `holds="ids"`: the ids that the documents were indexed with, int64 or, where they are strings, objects.

    Without `holds`, objects are ids and numbers are rows.

    A search can find fewer than k. It then ends a row with empty places: a score of -inf, and -1 (or
    None where the ids are strings). `exact.search` of torch tensors returns torch tensors.
    """

    scores: Any
    indices: Any
    holds: Holds = None  # type: ignore[assignment]  # "rows" or "ids" as soon as it is made

    def __post_init__(self) -> None:
        if np.shape(self.scores) != np.shape(self.indices) or np.ndim(self.scores) != 2:
            raise ValueError(
                "scores and indices must both have the shape (n_queries, k), "
                f"not {np.shape(self.scores)} and {np.shape(self.indices)}"
            )
        if self.holds is None:
            object.__setattr__(self, "holds", "ids" if self.indices.dtype == object else "rows")
        elif self.holds not in ("rows", "ids"):
            raise ValueError(f"holds must be 'rows' or 'ids', not {self.holds!r}")

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[Any, Any]], k: int, holds: Holds, *, kind: Any = np.int64) -> Hits:
        """Hits of `k` places from scores and indices of any length up to `k`, a pair for each query, best first.

        Args:
            kind: of the indices, `object` where they are ids that are strings.
        """
        listed = list(rows)
        scores = np.full((len(listed), k), -np.inf, dtype=np.float32)
        indices = np.full(scores.shape, None if np.dtype(kind) == object else -1, dtype=kind)
        for row, (of_query, found) in enumerate(listed):
            scores[row, : len(of_query)], indices[row, : len(found)] = of_query, found
        return cls(scores, indices, holds)

    def __iter__(self) -> Iterator[Any]:
        yield self.scores
        yield self.indices

    def __len__(self) -> int:
        """How many queries were asked."""
        return len(self.scores)

    @property
    def found(self) -> Any:
        """Which places hold a hit, shape `(n_queries, k)`."""
        return self.scores != -np.inf

    def cut(self, k: int) -> Hits:
        """The first `k` hits of every query."""
        k = as_count(k, "k")
        return Hits(self.scores[:, :k], self.indices[:, :k], self.holds)

    def take(self, queries: Any) -> Hits:
        """The hits of some queries: their numbers, a slice, or a true or false for each."""
        return Hits(self.scores[queries], self.indices[queries], self.holds)

    def numpy(self) -> Hits:
        """The same in NumPy arrays; hits that have them already are returned as they are."""
        if isinstance(self.scores, np.ndarray) and isinstance(self.indices, np.ndarray):
            return self
        return Hits(as_numpy(self.scores), as_numpy(self.indices), self.holds)


def as_numpy(array: Any) -> np.ndarray[Any, Any]:
    """`array` as NumPy has it. A torch tensor may lie on a device, need gradients or hold bfloat16."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    return np.asarray(array)


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
    check_lengths(row_lengths(matrix), name)
    return matrix


def unit_rows(array: Any, name: str) -> FloatArray:
    """`array` checked as by `as_vectors` and scaled so that every row has length 1.

    On unit vectors the dot product is the cosine. Where all rows have length 1 already (within 1e-6),
    the matrix is returned as it is, so a normalised corpus is read once and not copied.

    Raises:
        ValueError: also where a row is zero: it has no direction and so no cosine.
    """
    matrix = as_matrix(array, name)
    lengths = row_lengths(matrix)
    if are_units(lengths):
        return matrix
    check_lengths(lengths, name, may_be_zero=False)
    result = np.empty_like(matrix)
    for part in _parts(len(matrix)):
        result[part] = matrix[part] / lengths[part, None]  # in float64, which 1e-40 / 1e-40 needs
    return result


def row_lengths(matrix: FloatArray) -> Lengths:
    """The Euclidean length of every row, shape `(n,)`, a part of the rows at a time.

    It is NaN or infinite only where the row is. The squares of 1e30 and of 1e-30 are beyond float32:
    where a length lies near such values, it is computed again in float64.
    """
    lengths = np.empty(len(matrix))
    for part in _parts(len(matrix)):
        rows = matrix[part]
        with np.errstate(all="ignore"):
            lengths[part] = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        low, high = lengths[part].min(), lengths[part].max()
        if not (low > 1e-15 and high < 1e15):  # so too where there is a NaN
            lengths[part] = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths


def check_lengths(lengths: Lengths, name: str, *, may_be_zero: bool = True, advice: str = "remove those rows") -> None:
    """Raise ValueError where a row of these lengths is not finite, or, with that advice, is zero if it may not be."""
    if (bad := np.flatnonzero(~np.isfinite(lengths))).size:
        raise ValueError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(lengths)} rows, the first is row {bad[0]}; "
            "remove those rows or encode their texts again"
        )
    if not may_be_zero and (bad := np.flatnonzero(lengths == 0)).size:
        raise ValueError(
            f"{name} has {len(bad)} rows of zeros, the first is row {bad[0]}; a zero vector has no direction: {advice}"
        )


def are_units(lengths: Lengths) -> bool:
    """Whether all lengths are 1 within 1e-6; not so with a NaN among them."""
    return bool(np.abs(lengths - 1).max() <= 1e-6)


def _parts(n: int) -> Iterator[slice]:
    return (slice(start, start + PART) for start in range(0, n, PART))


def as_matrix(array: Any, name: str) -> FloatArray:
    """`array` as by `as_vectors`, except that its values are not looked at: no pass over the data."""
    if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 2 and array.size:
        return np.ascontiguousarray(array)  # what most searches pass: said at once, since a query may take but 50 µs
    matrix = _stacked(array, name)
    if matrix.dtype.kind not in "fiu":
        raise TypeError(
            f"{name} must be an array of numbers, not of {matrix.dtype}; "
            "encode texts first, with encoding.encode_queries or encode_documents"
        )
    check_shape(matrix.shape, name)
    with np.errstate(over="ignore"):  # a float64 beyond float32's range becomes infinite, and is refused
        return np.ascontiguousarray(matrix, dtype=np.float32)


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError where an array of this shape is not a matrix, or has no rows or columns."""
    if len(shape) != 2:
        hint = f"; for one vector pass {name}[None, :]" if len(shape) == 1 and shape[0] else ""
        raise ValueError(f"{name} must have the shape (n, dimension), not {tuple(shape)}{hint}")
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {tuple(shape)}; pass at least one vector")


def _stacked(array: Any, name: str) -> np.ndarray[Any, Any]:
    """`array` as NumPy has it; a list, an array of objects or a column of vectors becomes their matrix."""
    matrix = array if isinstance(array, (list, tuple)) else as_numpy(array)
    if not isinstance(matrix, (list, tuple)) and (matrix.dtype != object or matrix.ndim != 1):
        return matrix
    if not any(hasattr(row, "shape") or isinstance(row, (list, tuple)) for row in matrix):
        return np.asarray(matrix)  # numbers, or what the caller will refuse
    try:
        return np.stack([as_numpy(row) for row in matrix])
    except ValueError as error:
        raise ValueError(
            f"{name} holds vectors that np.stack({name}) cannot make one array of ({error}); "
            "pass vectors of one length, all from the same model"
        ) from error


_NO_LISTS: tuple[tuple[Callable[[Any], bool], str], ...] = (  # what can be iterated and is no list of texts
    (lambda texts: isinstance(texts, Mapping), "pass list({}.values()), if those are strings"),
    (lambda texts: isinstance(texts, Set), "it has no order; pass sorted({})"),
    (lambda texts: hasattr(texts, "columns"), "pass one of its columns"),
    (lambda texts: not isinstance(texts, Iterable), "pass [text]"),
)


def as_texts(texts: Iterable[str], name: str = "texts") -> list[str]:
    """`texts` as a list of strings: of a list, a column of a table, an array, a generator.

    Raises:
        TypeError: something that has no order or is no list of texts (one string, a dictionary, a table, a
            set), or an element that is no string; the message names it.
        ValueError: no texts at all, or one with half of a surrogate pair, which no tokenizer takes.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{name} must be a list of strings, not one string; pass [text]")
    for kind, advice in _NO_LISTS:
        if kind(texts):
            raise TypeError(f"{name} must be a list of strings, not a {type(texts).__name__}: {advice.format(name)}")
    listed = list(texts)
    if not listed:
        raise ValueError(f"{name} is empty; pass at least one text")
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{position}] must be a string, not {type(text).__name__}: {text!r:.60}")
        if not text.isascii() and (lone := _SURROGATE.search(text)):
            raise ValueError(
                f"{name}[{position}] holds half of a surrogate pair at character {lone.start()}, which is no text; "
                "replace it: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
            )
    return listed


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
