"""What every search takes and returns: checked texts or arrays of vectors in, `Hits` out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]
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
