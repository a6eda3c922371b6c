"""Self-checks for exercises and quizzes: an answer gets "correct" or a hint, never a traceback.

The learner's cell holds `answer = ...`; the next cell calls `check` with the exercise's name. An answer that is
still the Ellipsis is "not answered yet", so a notebook runs clean before anybody has touched it. What is right stands
in `semsearch_nb.teaching.answers`, out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Choice:
    """A question with lettered options."""

    right: str
    because: str
    tempting: Mapping[str, str]
    """Each wrong letter, with the reason why it tempts and is wrong."""

    def look_at(self, answer: Any) -> tuple[bool, str]:
        letter = answer.strip().casefold() if isinstance(answer, str) else answer
        if letter == self.right:
            return True, self.because
        if isinstance(letter, str) and letter in self.tempting:
            return False, self.tempting[letter]
        letters = sorted([self.right, *self.tempting])
        return False, f"answer with one letter in quotation marks: {', '.join(map(repr, letters))}"


@dataclass(frozen=True)
class Task:
    """Something to be computed, tried or written."""

    test: Callable[..., str | None]
    """Called with the answer and what `check` was given; returns None where the answer is right, else a hint."""
    because: str | Callable[..., str] = ""
    """What is said of a right answer; a function is called like `test`."""
    wants_function: bool = False
    """Whether the answer is a function; anything else gets a hint before `test` is called."""

    def look_at(self, answer: Any, **given: Any) -> tuple[bool, str]:
        if self.wants_function and not callable(answer):
            return False, "put the function itself into answer, without calling it"
        hint = self.test(answer, **given)
        if hint:
            return False, hint
        return True, self.because(answer, **given) if callable(self.because) else self.because


def check(exercise: str, answer: Any, **given: Any) -> None:
    """Print what is to be said about an answer.

    Args:
        exercise: the number of the notebook and that of the exercise, `"04.2"`.
        answer: the learner's.
        given: what the check needs of the notebook, so that it also holds for other data.

    Raises:
        KeyError: there is no such exercise.

    >>> check("00.2", ...)
    Not answered yet: replace the ... above and run both cells.
    """
    notebook, _, number = exercise.partition(".")
    wanted: Choice | Task = import_module(f"semsearch_nb.teaching.answers.n{notebook}").ANSWERS[number]
    if answer is ...:
        print("Not answered yet: replace the ... above and run both cells.")
        return
    try:
        right, text = wanted.look_at(answer, **given)
    except Exception as error:  # whatever a learner's function may raise
        right, text = False, f"the answer has another form than expected ({type(error).__name__}: {error})"
    print(f"{'Correct' if right else 'Not yet'}: {text}" if text else "Correct.")


def same(answer: Any, expected: Any, hint: str) -> str | None:
    """The hint unless the answer is `expected`; strings are compared without case and outer spaces."""

    def plain(value: Any) -> Any:
        return value.strip().casefold() if isinstance(value, str) else value

    wanted, given = plain(expected), plain(answer)
    if isinstance(wanted, str) != isinstance(given, str):
        return f"a {type(wanted).__name__} is expected, not a {type(given).__name__}"
    return None if bool(wanted == given) else hint


def close(answer: Any, expected: float, tolerance: float, hint: str) -> str | None:
    """The hint unless the answer is a number within `tolerance` of `expected`."""
    if isinstance(answer, (bool, str)) or np.ndim(answer) != 0:
        return f"one number is expected, not {answer!r:.60}"
    return None if abs(float(answer) - expected) <= tolerance else hint


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
