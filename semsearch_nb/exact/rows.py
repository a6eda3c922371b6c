"""Checked float32 rows for the searches: NumPy or torch in, one torch matrix out, without a copy.

The work on whole corpora is done in chunks of rows, so that a memory-mapped corpus that is larger
than memory is read once from end to end and never held.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from semsearch_nb.vectors import as_matrix

CHUNK = 16_384  # rows; of 384 dimensions they take 25 MB


def as_rows(array: Any, name: str, device: str | torch.device | None = None) -> torch.Tensor:
    """`array` as a float32 tensor of shape `(n, dimension)`, on `device` or where it is.

    Raises:
        TypeError: not an array of numbers.
        ValueError: not two-dimensional, or without rows or columns. Whether the values are finite
            is for `lengths` to find out, which reads all of them anyway.
    """
    if isinstance(array, torch.Tensor):
        tensor = array.detach()
        if tensor.is_complex() or tensor.dtype == torch.bool or tensor.ndim != 2 or 0 in tensor.shape:
            as_matrix(np.empty(tuple(tensor.shape), dtype=bool if tensor.dtype == torch.bool else np.float32), name)
            raise TypeError(f"{name} must be an array of real numbers, not of {tensor.dtype}")
        rows = tensor.to(torch.float32).contiguous()
    else:
        with warnings.catch_warnings():
            # torch warns about arrays that cannot be written, such as a memory map. Nobody writes here.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            rows = torch.from_numpy(as_matrix(array, name))
    return rows if device is None else rows.to(device)


def lengths(rows: torch.Tensor, name: str) -> torch.Tensor:
    """The Euclidean length of every row, shape `(n,)`.

    Raises:
        ValueError: NaN or infinite values; the message calls the rows `name` and counts them.
    """
    found = torch.cat([torch.linalg.vector_norm(chunk, dim=1) for chunk in torch.split(rows, CHUNK)])
    if torch.isfinite(found).all() and bool((found > 1e-18).all()):
        return found
    n_bad, first = 0, -1
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        bad = (~torch.isfinite(chunk).all(dim=1)).nonzero().squeeze(1)
        if len(bad) and not n_bad:
            first = start + int(bad[0])
        n_bad += len(bad)
        # Squares leave float32's range long before the values do: take the largest value out first.
        largest = chunk.abs().amax(dim=1)
        scaled = chunk / torch.where(largest > 0, largest, 1.0)[:, None]
        found[start : start + CHUNK] = largest * torch.linalg.vector_norm(scaled, dim=1)
    if n_bad:
        raise ValueError(
            f"{name} has NaN or infinite values in {n_bad} of {len(rows)} rows, the first is row {first}; "
            "remove those rows or encode their texts again"
        )
    return found


def inverse_lengths(row_lengths: torch.Tensor, name: str) -> torch.Tensor | None:
    """What each row is multiplied by to have length 1, or None where all have it within 1e-6.

    Raises:
        ValueError: a row of zeros: it has no direction and so no cosine.
    """
    if bool(((row_lengths - 1).abs() <= 1e-6).all()):
        return None
    zero = (row_lengths == 0).nonzero().squeeze(1)
    if len(zero):
        raise ValueError(
            f"{name} has {len(zero)} rows of zeros, the first is row {int(zero[0])}; a zero vector has no "
            "direction: remove those rows, or search with score='dot'"
        )
    return 1 / row_lengths
