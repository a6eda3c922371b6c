"""From which score on is a hit a match? Search always returns k hits, even for nonsense.

Cosines of one model cannot be read like those of another, so the threshold is chosen on judged
examples. Precision belongs to the mix of questions that are asked; `weights` stand for another mix.
`conformal` gives a threshold with a guarantee. Taught in notebooks 07, 09 and 12.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_curve

from semsearch_nb.vectors import as_numpy

Numbers = np.ndarray[Any, np.dtype[Any]]


class Threshold(NamedTuple):
    """A lowest score. Of the examples that reach it, `precision` are right; of the right ones, `recall` reach it."""

    score: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """Precision and recall of every possible threshold, in rising order of `scores`; all `(n_scores,)`."""

    scores: Numbers
    precision: Numbers
    recall: Numbers


def curve(scores: Any, right: Any, *, weights: Any = None) -> Curve:
    """Precision and recall over the threshold.

    Args:
        scores: one an example, such as the score of a query's first hit; shape `(n,)`, of any kind of numbers.
        right: whether the example is a match; shape `(n,)`.
        weights: how much each example counts, 0 or more; shape `(n,)`. All count the same without it.

    Raises:
        TypeError: scores that are no numbers.
        ValueError: shapes differ, a score is not finite, no example that counts is right, or weights are negative,
            all zero or of another shape.
    """
    scores, right, weights = _checked(scores, right, weights)
    counts = weights > 0
    if not right[counts].any():
        raise ValueError("right is False everywhere; a threshold needs examples of matches too")
    precision, recall, at = precision_recall_curve(right[counts], scores[counts], sample_weight=weights[counts])
    return Curve(at, precision[:-1], recall[:-1])  # the last point belongs to no score


class Risk(NamedTuple):
    """How many questions get an answer (`coverage`), and how many of these answers are wrong (`risk`), for every
    possible threshold, the strictest first; all `(n_scores,)`."""

    scores: Numbers
    coverage: Numbers
    risk: Numbers


def risk(scores: Any, right: Any, weights: Any = None) -> Risk:
    """Risk against coverage (El-Yaniv and Wiener, 2010): what silence on the unsure questions brings.

    Args:
        scores: of the answer to each question; shape `(n,)`.
        right: whether it is right; where a question has no answer, it cannot be.
        weights: how much each question counts, for another mix than that of the examples; without them all alike.

    Raises:
        TypeError, ValueError: as `curve`, except that no answer need be right.

    >>> found = risk([0.9, 0.6, 0.4, 0.2], [True, True, False, False])
    >>> found.coverage.tolist(), found.risk.round(2).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.33, 0.5])
    """
    scores, right, counts = _checked(scores, right, weights)
    best_first = np.argsort(-scores, kind="stable")
    shown = np.cumsum(counts[best_first])
    wrong = np.cumsum((counts * ~right)[best_first])
    ends = np.flatnonzero(np.append(np.diff(scores[best_first]) != 0, True) & (shown > 0))  # equal scores go together
    return Risk(scores[best_first][ends], (shown / counts.sum())[ends], (wrong[ends] / shown[ends]))


def choose(scores: Any, right: Any, *, precision: float, weights: Any = None) -> Threshold:
    """The lowest score with at least this precision: of all such scores, the one with the highest recall.

    Measure it on other examples than those it was chosen on.

    Raises:
        TypeError, ValueError: as `curve`; `precision` is not between 0 and 1, or no score reaches it.

    >>> choose([0.75, 0.5, 0.25, 0.1], [True, True, False, True], precision=0.9).score
    0.5
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision must lie between 0 and 1, not {precision!r}")
    found = curve(scores, right, weights=weights)
    enough = np.flatnonzero(found.precision >= precision)
    if not len(enough):
        raise ValueError(f"no score reaches a precision of {precision}; the highest is {found.precision.max():.2f}")
    best = enough[0]  # recall falls as the score rises
    return measure(scores, right, float(found.scores[best]), weights=weights)


def conformal(scores: Any, right: Any, *, risk: float) -> float:
    """The lowest threshold that lets through few enough wrong answers: conformal risk control (Angelopoulos et al.,
    2022), with the loss 1 where a wrong answer is shown and 0 elsewhere.

    What is guaranteed: where the examples and the next question are exchangeable, as draws from one mix are, the
    chance that the next question is shown a wrong answer is at most `risk`, on average over such draws of examples.
    That holds for any score and any number of examples. It is a share of all questions, not of the answers shown, and
    not a promise for each threshold that is chosen. Where all examples are wrong, as questions without an answer are,
    this is split conformal prediction: at most `risk` of such questions gets an answer, in whatever mix.

    Args:
        scores: of the answer to each example; shape `(n,)`.
        right: whether it is right; where a question has no answer, it cannot be.

    Returns:
        Show what has this score or a higher one. Infinite where so few examples can promise nothing, which is below
        1 / risk - 1 of them; minus infinity where everything may be shown.

    Raises:
        TypeError, ValueError: as `risk`; or `risk` is not between 0 and 1.

    >>> conformal([0.9, 0.8, 0.7, 0.6], [False] * 4, risk=0.4)  # of five, two would reach 0.8, and one 0.8000…1
    0.8000000000000002
    >>> conformal([0.9, 0.8], [False, True], risk=0.1)
    inf
    """
    scores, right, _ = _checked(scores, right, None)
    if not 0 < risk < 1:
        raise ValueError(f"risk must lie between 0 and 1, not {risk!r}")
    wrong = np.sort(scores[~right])[::-1]
    allowed = int(np.floor(risk * (len(scores) + 1) + 1e-9)) - 1  # the next question may be wrong too: one less
    if allowed < 0:
        return float("inf")
    if allowed >= len(wrong):
        return float("-inf")
    return float(np.nextafter(wrong[allowed], scores.dtype.type(np.inf)))


def measure(scores: Any, right: Any, score: float, *, weights: Any = None) -> Threshold:
    """Precision and recall of a given threshold. Where nothing reaches it, precision is 1.

    Raises:
        TypeError, ValueError: as `curve`, except that no example need be right.
    """
    scores, right, weights = _checked(scores, right, weights)
    if not np.isfinite(score):
        raise ValueError(f"score must be finite, not {score!r}")
    shown = weights * (scores >= scores.dtype.type(score))
    found, all_shown, all_right = shown[right].sum(), shown.sum(), weights[right].sum()
    precision = float(found / all_shown) if all_shown else 1.0
    recall = float(found / all_right) if all_right else 0.0
    return Threshold(float(score), precision, recall)


def _checked(
    scores: Any, right: Any, weights: Any
) -> tuple[Numbers, np.ndarray[Any, np.dtype[np.bool_]], np.ndarray[Any, np.dtype[np.float64]]]:
    """All as arrays. Scores keep their kind of numbers, so that what is chosen is one of them."""
    scores, right = as_numpy(scores), as_numpy(right)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(f"scores and right must have the same shape (n,), not {scores.shape} and {right.shape}")
    if not scores.size:
        raise ValueError("scores is empty; pass at least one example")
    if scores.dtype.kind not in "fiu":
        raise TypeError(f"scores must be numbers, not {scores.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if right.dtype.kind not in "biuf" or set(np.unique(right).tolist()) - {0, 1}:
        raise ValueError("right must hold True or False for each score")
    weights = np.ones(len(scores)) if weights is None else as_numpy(weights).astype(np.float64)
    if weights.shape != scores.shape or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(f"weights must be {len(scores)} numbers of 0 or more, and not all 0")
    return scores if scores.dtype.kind == "f" else scores.astype(np.float64), right.astype(bool), weights
