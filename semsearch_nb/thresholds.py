"""From which score on is a hit a match? Search always returns k hits, even for nonsense.

Cosines of one model cannot be read like those of another, so the least score is chosen on judged
examples. Taught in notebooks 07 and 09.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_curve

from semsearch_nb.vectors import FloatArray


class Threshold(NamedTuple):
    """A least score. Of the examples that reach it, `precision` are right; of the right ones, `recall` reach it."""

    score: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """Precision and recall of every possible least score, in rising order of `scores`; all `(n_scores,)`."""

    scores: FloatArray
    precision: FloatArray
    recall: FloatArray


def curve(scores: Any, right: Any) -> Curve:
    """Precision and recall over the least score.

    Args:
        scores: one an example, such as the score of a query's first hit; shape `(n,)`.
        right: whether the example is a match; shape `(n,)`.

    Raises:
        ValueError: shapes differ, a score is not finite, or no example is right.
    """
    scores, right = np.asarray(scores, dtype=np.float32), np.asarray(right)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(f"scores and right must have the same shape (n,), not {scores.shape} and {right.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if set(np.unique(right).tolist()) - {0, 1}:
        raise ValueError("right must hold True or False for each score")
    if not right.any():
        raise ValueError("right is False everywhere; a threshold needs examples of matches too")
    precision, recall, at = precision_recall_curve(right, scores)
    return Curve(at, precision[:-1], recall[:-1])  # the last point belongs to no score


def choose(scores: Any, right: Any, *, precision: float) -> Threshold:
    """The least score with at least this precision: of all such scores, the one with the highest recall.

    Measure it on other examples than those it was chosen on.

    Raises:
        ValueError: as `curve`; `precision` is not between 0 and 1, or no score reaches it.

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
    """Precision and recall of a given least score. Where nothing reaches it, precision is 1."""
    scores, right = np.asarray(scores, dtype=np.float32), np.asarray(right, dtype=bool)
    kept = scores >= np.float32(score)
    precision = float(right[kept].mean()) if kept.any() else 1.0
    recall = float((right & kept).sum() / max(1, right.sum()))
    return Threshold(float(score), precision, recall)
