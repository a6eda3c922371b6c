"""Numbers as answers, with a hint for each mistake that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semsearch_nb.teaching.exercises import close


def number(answer: Any, expected: float, tolerance: float, hint: str, mistakes: Mapping[str, float]) -> str | None:
    """None where the answer is right, else a hint.

    Args:
        hint: what is said of a wrong number in general.
        mistakes: what is said instead of the numbers that come out of a known mistake.

    >>> number(0.9, 0.8, 0.01, "look again", {"this is the other half": 0.9})
    'this is the other half'
    """
    general = close(answer, expected, tolerance, hint)
    if general != hint:  # right, or no number at all
        return general
    if close(answer, 100 * expected, 100 * tolerance, hint) is None:
        return "this is a hundred times too large; is it a percentage?"
    return next((said for said, value in mistakes.items() if close(answer, value, tolerance, said) is None), hint)
