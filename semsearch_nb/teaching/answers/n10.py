"""Notebook 10: hybrid search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semsearch_nb import evaluation, fusion
from semsearch_nb.datasets import Collection
from semsearch_nb.teaching.exercises import Choice, Task, number
from semsearch_nb.vectors import Hits

Rows = np.ndarray[Any, np.dtype[np.bool_]]
WEIGHTS = (1.0, 2.0)


def _ndcg(hits: Hits, asked: Collection) -> evaluation.Values:
    return evaluation.ndcg_at_k(evaluation.as_run(hits, asked.query_ids, asked.document_ids), asked.qrels)


def _more_words(answer: Any, *, rankings: Sequence[Hits], asked: Collection, rows: Rows) -> str | None:
    values = _ndcg(fusion.standard_scores(rankings, weights=WEIGHTS), asked)
    mistakes = {
        "this is the mean over all questions; take the rows of the group": values,
        "this is the number with even weights": _ndcg(fusion.standard_scores(rankings), asked)[rows],
        "here dense search counts twice; the weights go with the rankings, in their order": _ndcg(
            fusion.standard_scores(rankings, weights=WEIGHTS[::-1]), asked
        )[rows],
        "this is the number of reciprocal ranks": _ndcg(fusion.reciprocal_rank(rankings, weights=WEIGHTS), asked)[rows],
    }
    return number(
        answer,
        float(values[rows].mean()),
        0.005,
        "fuse with fusion.standard_scores(rankings, weights=[1, 2]), then ndcg(…, passages)[rows].mean()",
        {said: float(some.mean()) for said, some in mistakes.items()},
    )


def _what_it_costs(answer: Any, *, rankings: Sequence[Hits], asked: Collection, rows: Rows) -> str:
    values = _ndcg(fusion.standard_scores(rankings, weights=WEIGHTS), asked)
    even = _ndcg(fusion.standard_scores(rankings), asked)
    both = [f"{name} {evaluation.paired_bootstrap(values[some], even[some])}" for name, some in _parts(rows).items()]
    return f"against even weights: {', '.join(both)}."


def _parts(rows: Rows) -> dict[str, Rows]:
    return {"in the group": rows, "on the other questions": ~rows}


def _maxsim(answer: Any, *, asked: Sequence[Any], stored: Sequence[Any]) -> str | None:
    tries = [
        (np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [1.0, 0.0]])),
        (np.array([[-1.0, 0.0]]), np.array([[0.6, 0.8]])),
        *((np.asarray(one), np.asarray(other)) for one, other in zip(asked, stored, strict=False)),
    ]
    for question, text in tries:
        given = answer(question, text)
        if given is None:
            return "the function returns nothing"
        if np.ndim(given) != 0:
            return f"one number is expected, not {np.ndim(given)} dimensions of them: sum over the question's tokens"
        cosines = question @ text.T
        wanted = float(cosines.max(axis=1).sum())
        if np.isclose(float(given), wanted, atol=1e-4):
            continue
        for said, value in {
            "this takes the best token of the question for each of the text. Swap the axis": cosines.max(axis=0).sum(),
            "this is the mean over all pairs; keep the best of each row": cosines.mean(),
            "this is the mean over the question's tokens; MaxSim is their sum": cosines.max(axis=1).mean(),
            "this adds all pairs; keep the best of each row only": cosines.sum(),
        }.items():
            if np.isclose(float(given), float(value), atol=1e-4):
                return said
        return "the rows of both are unit vectors, so question @ text.T holds all cosines. A best one may be below zero"
    return None


def _shape(answer: Any, *, asked: Sequence[Any], stored: Sequence[Any]) -> str:
    question, text = np.asarray(asked[0]), np.asarray(stored[0])
    return (
        f"the first question has {len(question)} token vectors and the first passage {len(text)}, so that one score "
        f"compares {len(question) * len(text):,} pairs."
    )


ANSWERS = {
    "quiz 1": Choice(
        "c",
        because="it keeps a vector for each token, so a text of twice the length takes twice the bytes.",
        tempting={
            "a": "a longer text has more words, but each counts once and takes a few bytes. Read the table of bytes",
            "b": "the vector has the same size for a word and for a page",
        },
    ),
    "quiz 2": Choice(
        "b",
        because="every question is measured with weights that were chosen without it.",
        tempting={
            "a": "the best of many weights on the same questions also fits their chance; see the difference above",
            "c": "one half is measured then, and the luck of one division stays. Folds measure every question once",
        },
    ),
    "1": Task(_more_words, because=_what_it_costs),
    "2": Choice(
        "a",
        because="the two rankings of words hold other texts on top, and they are two of three votes.",
        tempting={
            "b": "standard scores remove the scale: each ranking has the same spread. What is on top of the rankings?",
            "c": "a text that one ranking does not hold counts as its last one there. The dense one still finds it",
        },
    ),
    "3": Task(_maxsim, because=_shape, wants_function=True),
}
