"""Checked rows for the searches: NumPy or torch in, torch out, and no copy of a whole corpus."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from semsearch_nb.foundation import threads
from semsearch_nb.vectors import as_matrix, as_numpy, check_lengths, check_shape, row_lengths

CHUNK = 16_384  # rows that are converted at once; of 384 dimensions they take 25 MB
PART = 1_024  # rows that stay in a core's cache: 1.5 MB
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_device(name: str | torch.device) -> torch.device:
    """The device called `name`, with its number: `"cuda"` is the current one of several.

    Raises:
        ValueError: torch knows no such device, or finds none here.
    """
    try:
        device = torch.device(name)
        if device.type in ("cuda", "mps"):
            device = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device must be 'cpu', 'cuda', 'cuda:1' or 'mps', and be there, not {name!r}: {str(error).splitlines()[0]}"
        ) from error
    return device


def as_rows(array: Any, name: str, device: torch.device | None = None) -> torch.Tensor:
    """`array` as a tensor of shape `(n, dimension)`, on `device` or where it is.

    float16, bfloat16 and float64 stay what they are, and are converted a chunk at a time when they are
    used: a memory map may be larger than memory.

    Raises:
        TypeError: not an array of numbers.
        ValueError: not two-dimensional, or without rows or columns. Whether the values are finite
            is for `lengths` to find out, which reads all of them anyway.
    """
    if isinstance(array, torch.Tensor) and array.dtype in _FLOATS:
        rows = array.detach().contiguous()
    else:
        as_it_is = isinstance(array, np.ndarray) and array.dtype in (np.dtype("f2"), np.dtype("f8"))
        matrix = np.ascontiguousarray(array) if as_it_is else as_matrix(array, name)
        with warnings.catch_warnings():
            # torch warns about arrays that cannot be written, such as a memory map. Nobody writes here.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            rows = torch.from_numpy(matrix)
        if isinstance(array, torch.Tensor):
            rows = rows.to(array.device)
    check_shape(tuple(rows.shape), name)
    return rows if device is None else rows.to(device)


def lengths(rows: torch.Tensor, name: str, *, may_be_zero: bool = True) -> torch.Tensor:
    """The Euclidean length of every row, shape `(n,)`, in float64 where the device has it.

    Raises:
        ValueError: NaN or infinite values, or zeros where they may not be; the message calls the rows `name`.
    """
    if rows.device.type == "cuda":
        parts = [
            torch.linalg.vector_norm(part.float(), dim=1, dtype=torch.float64) for part in torch.split(rows, CHUNK)
        ]
        found = torch.cat(parts)
    else:
        of_rows = np.empty(len(rows))

        def measure(begin: int, part: Any) -> bool:
            of_rows[begin : begin + len(part)] = row_lengths(part)
            return True

        in_parts(rows, measure)
        found = torch.from_numpy(of_rows).to(rows.device, wide(rows.device))
    advice = "remove those rows, or search with score='dot'"
    check_lengths(as_numpy(found), name, may_be_zero=may_be_zero, advice=advice)
    return found


def in_parts(rows: torch.Tensor, work: Callable[[int, Any], bool]) -> bool:
    """Call `work(begin, part)` for parts of the rows, float32 in NumPy, on all cores; False when one call says so.

    NumPy's sums use one thread, and one thread cannot read a corpus as fast as the memory gives it.
    """

    def chunk(first: int) -> bool:
        parts = range(first, min(first + CHUNK // 2, len(rows)), PART)
        return all(
            work(begin, rows[begin : min(begin + PART, first + CHUNK // 2)].float().cpu().numpy()) for begin in parts
        )

    starts = range(0, len(rows), CHUNK // 2)
    if not chunk(0):
        return False
    if threads.count() == 1:
        return all(chunk(first) for first in starts[1:])
    with ThreadPoolExecutor(threads.count()) as pool:
        return all(pool.map(chunk, starts[1:]))


def gathered(rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """The rows with these numbers. On a CPU by NumPy's one thread: torch's threads wait for each other at every call,
    which on a busy computer takes longer than the work."""
    if rows.device.type != "cpu" or rows.dtype == torch.bfloat16:  # which NumPy has not
        return rows.index_select(0, at)
    return torch.from_numpy(rows.numpy().take(at.numpy(), axis=0))


def dots(rows: Any, others: Any) -> Any:
    """The inner products of rows, as BLAS adds them: fast, and on some machines not the same at every place."""
    with np.errstate(all="ignore"):
        return np.vecdot(rows, others) if hasattr(np, "vecdot") else np.einsum("...i,...i", rows, others)


def wide(device: torch.device) -> torch.dtype:
    """float64, which Apple's devices have not."""
    return torch.float32 if device.type == "mps" else torch.float64


def scaled(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """float32 rows times `factors`, rounded once; without factors, the rows as they are."""
    if not len(factors):
        return rows.float()
    return (rows.float().to(factors.dtype) * factors[:, None]).float()


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, a float32 product is one: neither TensorFloat-32 nor bfloat16, whatever the user has allowed.

    The bound counts on it, and on sums of bfloat16 products in float32.
    """
    cuda = torch.backends.cuda.matmul
    precision, reduced = torch.get_float32_matmul_precision(), cuda.allow_bf16_reduced_precision_reduction
    if precision == "highest" and not reduced:
        yield
        return
    torch.set_float32_matmul_precision("highest")
    cuda.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        cuda.allow_bf16_reduced_precision_reduction = reduced
