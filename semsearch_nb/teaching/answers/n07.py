"""Notebook 07: similar questions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from semsearch_nb import thresholds
from semsearch_nb.exact.mining import Pairs
from semsearch_nb.teaching.exercises import Choice, Task, number

Half = tuple[Any, Any]
"""Scores of first hits, and whether each is right."""
PRECISION, BEFORE = 0.85, 0.8
LEAST = (0.8, 0.6)


def _recall(choose_on: Half, measure_on: Half, precision: float) -> float:
    return thresholds.measure(*measure_on, thresholds.choose(*choose_on, precision=precision).score).recall


def _stricter(answer: Any, *, choose_on: Half, measure_on: Half) -> str | None:
    chosen = thresholds.choose(*choose_on, precision=PRECISION)
    seen = thresholds.measure(*measure_on, chosen.score)
    return number(
        answer,
        seen.recall,
        0.01,
        "choose with the new precision on one half, then measure on the other half",
        {
            "this is the recall of the threshold that was chosen above; choose a new one": _recall(
                choose_on, measure_on, BEFORE
            ),
            "this was measured on the half that the threshold was chosen on": chosen.recall,
            "this is the precision; which share of the right first hits is shown?": seen.precision,
            "this is the threshold itself; which share of the right first hits reaches it?": chosen.score,
        },
    )


def _price(answer: Any, *, choose_on: Half, measure_on: Half) -> str:
    before, after = (_recall(choose_on, measure_on, precision) for precision in (BEFORE, PRECISION))
    return (
        f"with a precision of {BEFORE} it was {before:.2f}, now it is {after:.2f}. "
        "More precision costs right hits that are not shown."
    )


def _joined(pairs: Iterable[tuple[int, int]]) -> set[frozenset[int]]:
    """The groups of rows that pairs link."""
    group_of: dict[int, set[int]] = {}
    for a, b in pairs:
        both = group_of.get(a, {a}) | group_of.get(b, {b})
        group_of |= dict.fromkeys(both, both)
    return {frozenset(group) for group in group_of.values()}


def _from(pairs: Pairs, least: float) -> list[tuple[int, int]]:
    kept = pairs.scores >= least
    return list(zip(pairs.first[kept].tolist(), pairs.second[kept].tolist(), strict=True))


def _linked(answer: Any, *, pairs: Pairs) -> str | None:
    if list(answer([])):
        return "without pairs there is no group, so an empty list is expected"
    chains = [[(1, 2), (5, 6), (2, 3)], [(1, 2), (3, 4), (2, 3)]]
    for linked in (*chains, *(_from(pairs, least) for least in LEAST)):
        found = [frozenset(group) for group in answer(list(linked))]
        rows = [row for group in found for row in group]
        if set(rows) != {row for pair in linked for row in pair}:
            return "the groups must hold each row that a pair names, and no other"
        if len(rows) > len(set(rows)):
            return "a row is in two groups. A new pair can touch two groups that were apart: join them"
        if set(found) != _joined(linked):
            return "a group holds rows that no chain of pairs links, or misses some that one does"
    return None


def _largest(answer: Any, *, pairs: Pairs) -> str:
    strict, loose = (max((len(group) for group in answer(_from(pairs, least))), default=0) for least in LEAST)
    return (
        f"from {LEAST[0]} on the largest group has {strict} rows, from {LEAST[1]} on {loose}. "
        "A chain of pairs joins questions that no pair joins."
    )


ANSWERS = {
    "quiz 1": Choice(
        "c",
        because="of what reaches the threshold more is asked before, and so right. Recall stays, as it looks at the "
        "right first hits alone.",
        tempting={
            "a": "the table above goes the other way: read it from its last line to its first",
            "b": "the threshold stays, but precision depends on the mix: read a column of the table above",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="these wrong hits have the highest scores of all. A threshold that leaves them out leaves out "
        "all right ones too.",
        tempting={
            "a": "a threshold for 0.8 keeps nearly all of them. Compare it with the scores of the three hits above",
            "b": "look where recall stands in the left panel at the scores of these three hits",
        },
    ),
    "1": Task(_stricter, because=_price),
    "2": Choice(
        "a",
        because="its cosines lie close together and high; a threshold belongs to one model.",
        tempting={
            "b": "this would follow from lower scores. Where do the first hits of new questions lie with this model?",
            "c": "both are cosines between −1 and 1, but each model uses a part of this range of its own",
        },
    ),
    "3": Task(_linked, because=_largest, wants_function=True),
}
