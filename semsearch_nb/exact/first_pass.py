"""The product of the first pass: int8 or bfloat16, whichever this machine multiplies fast.

Whether it does is measured once a process, not read off the processor's name: a library may lack
the instruction that the processor has.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

import torch


class FirstPass(NamedTuple):
    """A coarse product: the type of its factors and of its results.

    `relative_error` bounds |result − exact product of the factors| / (length · length); what comes
    from adding in float32 is not in it (see `certified`).
    """

    factors: torch.dtype
    results: torch.dtype
    relative_error: float

    def as_factors(self, values: torch.Tensor) -> torch.Tensor:
        """The nearest values that the product takes; whole numbers are rounded to in place."""
        return (values.round_() if self.factors == torch.int8 else values).to(self.factors)

    def multiply(self, queries: torch.Tensor, codes: torch.Tensor, out: torch.Tensor) -> None:
        """`queries @ codes.T` into `out`, which is reused: new memory costs more than the product."""
        if self.factors == torch.int8:
            torch._int_mm(queries, codes.T, out=out)
        else:
            torch.mm(queries, codes.T, out=out)


FIRST_PASSES = {
    "int8": FirstPass(torch.int8, torch.int32, 0.0),
    "bfloat16": FirstPass(torch.bfloat16, torch.bfloat16, 2.0**-8),  # results are rounded to 8 bits
}
WORTH_IT = 0.7  # of float32's time; the second pass and the preparation have their cost too


@lru_cache(maxsize=8)
def fastest(device: str) -> str | None:
    """The first pass that beats float32 clearly on `device`, or None where none does."""
    candidates = ["int8", "bfloat16"] if device == "cpu" else ["bfloat16"] if device.startswith("cuda") else []
    usable = [name for name in candidates if is_right(name, device)]
    if not usable:
        return None
    seconds = {name: _seconds(name, device) for name in [*usable, "float32"]}
    best = min(usable, key=seconds.__getitem__)
    return best if seconds[best] < WORTH_IT * seconds["float32"] else None


def is_right(name: str, device: str) -> bool:
    """Whether the product exists here and keeps to its error in the worst case, all values at the limit.

    (`torch._int_mm` is private, and there are int8 products that saturate at 16 bits.)
    """
    first_pass = FIRST_PASSES[name]
    signs = torch.where(torch.arange(64 * 1024).view(64, 1024) % 7 < 4, 127, -127)
    factors = signs.to(device, first_pass.factors)
    out = torch.empty((64, 64), dtype=first_pass.results, device=device)
    try:
        first_pass.multiply(factors, factors, out)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    error = (out.double().cpu() - signs.double() @ signs.double().T).abs().max()
    return bool(error <= first_pass.relative_error * 127**2 * 1024)


def _seconds(name: str, device: str) -> float:
    """The best of three products of 256 × 4,096 vectors of 384 dimensions."""
    first_pass = FIRST_PASSES.get(name, FirstPass(torch.float32, torch.float32, 0.0))
    queries = torch.ones((256, 384), device=device).to(first_pass.factors)
    codes = torch.ones((4_096, 384), device=device).to(first_pass.factors)
    out = torch.empty((256, 4_096), dtype=first_pass.results, device=device)
    best = float("inf")
    for _ in range(4):  # the first one pays for what the others find ready
        start = time.perf_counter()
        first_pass.multiply(queries, codes, out)
        out[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return best
