"""The product of the first pass, in whatever this machine multiplies fast and right.

Both are found out by trying, not read off the processor's name: a library may lack the instruction
that the processor has, and there are int8 products that saturate at 16 bits. So a product of few
bits can only be had from `verified`, which checks it first. torch multiplies int8 fast only where the
processor has instructions for it; for one query NumKong is fast on any, where it is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from semsearch_nb.exact.rows import full_precision

numkong: Any
try:
    import numkong
except ImportError:  # the extra `numkong`
    numkong = None

QUERIES_AT_ONCE = 1_024
SCORES_AT_ONCE = 1 << 23  # first-pass scores: 32 MB, which fit the last cache of many processors
QUERIES_TO_TIME = 256  # what "many" stands for
WORTH_IT = 0.7  # of float32's time; the second pass and the preparation have their cost too


class FirstPass(NamedTuple):
    """A coarse product: the types of its factors and of its results, and the function that computes it.

    `relative_error` bounds |result − exact product of the factors| / (length · length); what comes
    from adding in float32 is not in it (see `certified`).
    """

    name: str
    factors: torch.dtype
    results: torch.dtype
    relative_error: float
    product: Callable[..., object]

    def as_factors(self, values: torch.Tensor) -> torch.Tensor:
        """The nearest values that the product takes."""
        return (values.round() if self.factors == torch.int8 else values).to(self.factors)

    def multiply(self, queries: torch.Tensor, codes: torch.Tensor, out: torch.Tensor) -> None:
        """`queries @ codes.T` into `out`, which is reused: new memory costs more than the product."""
        self.product(queries, codes.T, out=out)


def _float32(queries: torch.Tensor, codes: torch.Tensor, *, out: torch.Tensor) -> None:
    """NumPy's product on a CPU: for one query it uses all threads, and torch's one."""
    if out.device.type == "cpu" and len(queries) == 1:
        np.dot(codes.numpy().T, queries[0].numpy(), out=out[0].numpy())
    elif out.device.type == "cpu":
        np.matmul(queries.numpy(), codes.numpy(), out=out.numpy())
    else:
        torch.mm(queries, codes, out=out)


def _int8(queries: torch.Tensor, codes: torch.Tensor, *, out: torch.Tensor) -> None:
    if len(queries) == 1 and numkong is not None and out.device.type == "cpu":
        found = numkong.cdist(queries.numpy(), codes.T.numpy(), "dot")  # in float64, which holds such sums exactly
        np.copyto(out.numpy(), np.asarray(found), casting="unsafe")
    else:
        torch._int_mm(queries, codes, out=out)


PLAIN = FirstPass("float32", torch.float32, torch.float32, 0.0, _float32)
NAMES = ("int8", "bfloat16")


def verified(name: str, device: str, width: int) -> FirstPass | None:
    """The first pass called `name` for vectors of `width` numbers, or None where it is missing or wrong here."""
    # By the function itself: another one in its place is checked anew.
    return _verified(name, device, width, getattr(torch, "_int_mm", None))


@lru_cache(maxsize=64)
def _verified(name: str, device: str, width: int, int_mm: Callable[..., object] | None) -> FirstPass | None:
    passes = {
        "bfloat16": FirstPass("bfloat16", torch.bfloat16, torch.bfloat16, 2.0**-8, torch.mm),  # rounds to 8 bits
    }
    if int_mm is not None and width * 127**2 < 2**31:
        passes["int8"] = FirstPass("int8", torch.int8, torch.int32, 0.0, _int8)
    first_pass = passes.get(name)
    return first_pass if first_pass is not None and _keeps_its_promise(first_pass, device, width) else None


def is_right(name: str, device: str, width: int = 1_024) -> bool:
    """Whether the product exists here and keeps to its error in the worst case, all values at the limit."""
    return verified(name, device, width) is not None


def _keeps_its_promise(first_pass: FirstPass, device: str, width: int) -> bool:
    """Try one query, an odd number and many, blocks small and large; rows repeat after 61."""
    kinds = torch.arange(61 * width).view(61, width)
    signs = torch.where(kinds % 7 < 4, 127, -127)
    signs[::2] = torch.where(kinds[::2] % 3 < 2, 127, 126)  # and all of one sign, for the largest sums
    truth = (signs.double() @ signs.double().T).to(torch.float64)
    allowed = (first_pass.relative_error + 2.0**-24 * (width + 8) * first_pass.results.is_floating_point) * (
        127**2 * width
    )
    for n_queries, n_codes in ((1, 1 << 16), (61, 8_192), (QUERIES_AT_ONCE, 256)):
        rows, columns = torch.arange(n_queries) % 61, torch.arange(n_codes) % 61
        out = torch.empty((n_queries, n_codes), dtype=first_pass.results, device=device)
        try:
            with full_precision():
                first_pass.multiply(
                    signs[rows].to(device, first_pass.factors), signs[columns].to(device, first_pass.factors), out
                )
        except (AttributeError, RuntimeError, NotImplementedError):
            return False
        for part in range(0, n_queries, 61):
            found = out[part : part + 61].double().cpu()
            if bool(((found - truth[: len(found), columns]).abs() > allowed).any()):
                return False
    return True


def fastest(device: str) -> str | None:
    """The first pass of few bits to prepare a corpus for: that gains for many queries, else for one, or None."""
    return gains(device, QUERIES_TO_TIME) or gains(device, 1)


def gains(device: str, n_queries: int) -> str | None:
    """The first pass of few bits that beats float32 clearly at so many queries on `device`, or None."""
    return _gains(device, 1 if n_queries == 1 else QUERIES_TO_TIME)


@lru_cache(maxsize=8)
def _gains(device: str, n_queries: int) -> str | None:
    candidates = ["int8", "bfloat16"] if device == "cpu" else ["bfloat16"] if device.startswith("cuda") else []
    usable = [first_pass for name in candidates if (first_pass := verified(name, device, 384))]
    seconds = {first_pass.name: _seconds(first_pass, device, n_queries) for first_pass in [*usable, PLAIN]}
    best = min(seconds, key=seconds.__getitem__)
    return best if best != "float32" and seconds[best] < WORTH_IT * seconds["float32"] else None


def _seconds(first_pass: FirstPass, device: str, n_queries: int) -> float:
    """The best of three products with a million pairs of vectors of 384 dimensions, or for one query 65,536."""
    n_codes = min((1 << 20) // n_queries, 1 << 16)
    queries = torch.ones((n_queries, 384), device=device).to(first_pass.factors)
    codes = torch.ones((n_codes, 384), device=device).to(first_pass.factors)
    out = torch.empty((n_queries, n_codes), dtype=first_pass.results, device=device)
    best = float("inf")
    for _ in range(4):  # the first one pays for what the others find ready
        start = time.perf_counter()
        first_pass.multiply(queries, codes, out)
        out[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return best
