"""From which score on is a hit a match? Search always returns k hits, even for nonsense.

Cosines of one model cannot be read like those of another, so the least score is chosen on judged
examples. Taught in notebooks 07 and 09.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_curve

from semsearch_nb.vectors import as_numpy

Numbers = np.ndarray[Any, np.dtype[Any]]


class Threshold(NamedTuple):
    """A least score. Of the examples that reach it, `precision` are right; of the right ones, `recall` reach it."""

    score: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """Precision and recall of every possible least score, in rising order of `scores`; all `(n_scores,)`."""

    scores: Numbers
    precision: Numbers
    recall: Numbers


def curve(scores: Any, right: Any) -> Curve:
    """Precision and recall over the least score.

    Args:
        scores: one an example, such as the score of a query's first hit; shape `(n,)`, of any kind of numbers.
        right: whether the example is a match; shape `(n,)`.

    Raises:
        TypeError: scores that are no numbers.
        ValueError: shapes differ, a score is not finite, or no example is right.
    """
    scores, right = _checked(scores, right)
    if not right.any():
        raise ValueError("right is False everywhere; a threshold needs examples of matches too")
    precision, recall, at = precision_recall_curve(right, scores)
    return Curve(at, precision[:-1], recall[:-1])  # the last point belongs to no score


def choose(scores: Any, right: Any, *, precision: float) -> Threshold:
    """The least score with at least this precision: of all such scores, the one with the highest recall.

    Measure it on other examples than those it was chosen on.

    Raises:
        TypeError, ValueError: as `curve`; `precision` is not between 0 and 1, or no score reaches it.

    >>> choose([0.75, 0.5, 0.25, 0.1], [True, True, False, True], precision=0.9).score
    0.5
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision must lie between 0 and 1, not {precision!r}")
    found = curve(scores, right)
    enough = np.flatnonzero(found.precision >= precision)
    if not len(enough):
        raise ValueError(f"no score reaches a precision of {precision}; the highest is {found.precision.max():.2f}")
    best = enough[0]  # recall falls as the score rises
    return measure(scores, right, float(found.scores[best]))


def measure(scores: Any, right: Any, score: float) -> Threshold:
    """Precision and recall of a given least score. Where nothing reaches it, precision is 1.

    Raises:
        TypeError, ValueError: as `curve`, except that no example need be right.
    """
    scores, right = _checked(scores, right)
    if not np.isfinite(score):
        raise ValueError(f"score must be finite, not {score!r}")
    kept = scores >= scores.dtype.type(score)
    precision = float(right[kept].mean()) if kept.any() else 1.0
    recall = float((right & kept).sum() / max(1, right.sum()))
    return Threshold(float(score), precision, recall)


def _checked(scores: Any, right: Any) -> tuple[Numbers, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Both as arrays. Scores keep their kind of numbers, so that what is chosen is one of them."""
    scores, right = as_numpy(scores), as_numpy(right)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(f"scores and right must have the same shape (n,), not {scores.shape} and {right.shape}")
    if scores.dtype.kind not in "fiu":
        raise TypeError(f"scores must be numbers, not {scores.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if right.dtype.kind not in "biuf" or set(np.unique(right).tolist()) - {0, 1}:
        raise ValueError("right must hold True or False for each score")
    return scores if scores.dtype.kind == "f" else scores.astype(np.float64), right.astype(bool)
