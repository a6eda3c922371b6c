"""Notebook 03: speed tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from semsearch_nb.teaching.exercises import Choice, Task

STEP, FEW = 16, 50


def _smallest_cut(answer: Any, survivors: Callable[[int], Sequence[int]]) -> str | None:
    if isinstance(answer, (bool, str)) or np.ndim(answer) or answer % STEP or not STEP < answer < 384:
        return f"a multiple of {STEP} below 384 is expected"
    if np.median(survivors(int(answer))) >= FEW:
        return f"the median of survivors({answer}) is not below {FEW}: keep more of each vector"
    if np.median(survivors(int(answer) - STEP)) < FEW:
        return f"survivors({answer - STEP}) is below {FEW} too: look for the smallest"
    return None


def _re_scored(answer: Any, binary: float) -> str | None:
    if not callable(answer):
        return "a function of the number of candidates is expected: def answer(candidates): …"
    ten, many = float(answer(10)), float(answer(200))
    if abs(ten - binary) > 0.01:
        return "of ten candidates only the order can change: the recall is that of binary search alone"
    if many < ten + 0.2:
        return "200 candidates should find far more than ten: score all of them again and keep the best ten"
    return None


def _recall_by_candidates(answer: Callable[[int], float], binary: float) -> str:
    found = ", ".join(f"{answer(n):.2f} with {n}" for n in (10, 40, 200))
    return f"recall@10 is {found} candidates. Re-scoring cannot win back what is not among the candidates."


ANSWERS: dict[str, Choice | Task] = {
    "quiz 1": Choice(
        "b",
        because="the inequality holds for every cut and every rotation. A rotation changes only how long the rests "
        "are, and so how many vectors survive.",
        tempting={
            "a": "the vectors were indeed rotated before they were cut. But Cauchy and Schwarz ask for "
            "nothing: look for what a longer rest changes in the bound",
            "c": "a rotation does keep all dot products, but the cut comes after it: compare the shares of the length "
            "that the first numbers hold",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="any ten vectors will do: the true tenth score is at least their lowest. Better candidates raise the "
        "threshold, so fewer vectors survive.",
        tempting={
            "a": "a cheap score may well miss some of the best. Does the threshold need the best ten, or any ten?",
            "b": "the coarse score picks the candidates; look which score of them makes the threshold",
        },
    ),
    "1": Task(_smallest_cut, because="more numbers in the first part mean shorter rests, so the bound is closer."),
    "2": Choice(
        "c",
        because="the product is one of float32 numbers, so neither memory nor instruction is that of int8. Its recall "
        "is that of int8; its time is not.",
        tempting={
            "a": "the time was measured, but of what? Look at the type of the array that is multiplied",
            "b": "one scale for all loses a little recall. It has no part in the time",
        },
    ),
    "3": Task(_re_scored, because=_recall_by_candidates),
}
