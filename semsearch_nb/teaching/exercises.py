"""Self-checks for the exercises: an answer gets "correct", or a hint, never a traceback.

The learner's cell holds `answer = ...`; the next cell calls `check`. An answer that is still the
Ellipsis is "not answered yet", so a notebook runs clean before anybody has touched it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Test = Callable[[Any], "str | None"]
"""Looks at an answer; returns None where it is right, else a hint."""


def check(answer: Any, test: Test, *, because: str = "") -> None:
    """Print what `test` finds about `answer`; `because` explains an answer that is right.

    >>> check(..., equals(3, "count again"))
    Not answered yet: replace the ... above and run both cells.
    >>> check(4, equals(3, "count again"))
    Not yet: count again
    >>> check(3, equals(3, "count again"), because="there are three.")
    Correct: there are three.
    """
    if answer is ...:
        print("Not answered yet: replace the ... above and run both cells.")
        return
    try:
        hint = test(answer)
    except Exception as error:  # whatever a learner's function may raise
        hint = f"the answer has another form than expected ({type(error).__name__}: {error})"
    if hint:
        print(f"Not yet: {hint}")
    else:
        print(f"Correct: {because}" if because else "Correct.")


def equals(expected: Any, hint: str) -> Test:
    """The answer is `expected`; strings are compared without case and outer spaces."""

    def plain(value: Any) -> Any:
        return value.strip().casefold() if isinstance(value, str) else value

    def test(answer: Any) -> str | None:
        wanted, given = plain(expected), plain(answer)
        if isinstance(wanted, str) != isinstance(given, str):
            return f"a {type(wanted).__name__} is expected, not a {type(given).__name__}"
        return None if wanted == given else hint

    return test


def close_to(expected: float, tolerance: float, hint: str) -> Test:
    """The answer is a number within `tolerance` of `expected`."""

    def test(answer: Any) -> str | None:
        if isinstance(answer, (bool, str)) or np.ndim(answer) != 0:
            return f"one number is expected, not {answer!r:.60}"
        return None if abs(float(answer) - expected) <= tolerance else hint

    return test


def holds(condition: Callable[[Any], bool], hint: str) -> Test:
    """The answer satisfies `condition`."""
    return lambda answer: None if condition(answer) else hint
