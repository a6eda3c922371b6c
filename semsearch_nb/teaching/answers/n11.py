"""Notebook 11: train your own retriever."""

from __future__ import annotations

from typing import Any

import numpy as np

from semsearch_nb import evaluation, exact
from semsearch_nb.datasets import Collection
from semsearch_nb.teaching.exercises import Choice, Task, number
from semsearch_nb.vectors import FloatArray

DIMENSION, SCALE = 24, 20.0


def _ndcg(queries: FloatArray, documents: FloatArray, asked: Collection) -> float:
    run = evaluation.as_run(exact.search(queries, documents, k=10), asked.query_ids, asked.document_ids)
    return float(evaluation.ndcg_at_k(run, asked.qrels).mean())


def _cut(answer: Any, *, queries: FloatArray, documents: FloatArray, asked: Collection) -> str | None:
    mistakes = {
        "this is the number with 48 numbers a vector; take half of them": 2 * DIMENSION,
        "this is the number with whole vectors; pass dimension=24": queries.shape[1],
        "this is the number with 12 numbers a vector": DIMENSION // 2,
    }
    others = {said: _ndcg(queries[:, :n], documents[:, :n], asked) for said, n in mistakes.items()}
    others["these are the last 24 numbers of each vector; take the first"] = _ndcg(
        queries[:, -DIMENSION:], documents[:, -DIMENSION:], asked
    )
    right = _ndcg(queries[:, :DIMENSION], documents[:, :DIMENSION], asked)
    return number(answer, right, 0.005, "ndcg(base, measured['known items'], dimension=24).mean()", others)


def _what_is_left(answer: Any, *, queries: FloatArray, documents: FloatArray, asked: Collection) -> str:
    left, size = float(answer) / _ndcg(queries, documents, asked), DIMENSION / queries.shape[1]
    return f"{100 * left:.0f}% of the quality is left, with {100 * size:.0f}% of the bytes."


def _loss(asked: FloatArray, right: FloatArray, wrong: FloatArray, scale: float = SCALE) -> float:
    scores = scale * np.concatenate([asked @ right.T, asked @ wrong.T], axis=1).astype(np.float64)
    return float(np.mean(np.logaddexp.reduce(scores, axis=1) - np.diag(scores)))


def _in_batch(answer: Any, *, asked: FloatArray, right: FloatArray, wrong: FloatArray) -> str | None:
    tries: list[tuple[Any, Any, Any]] = [
        (np.eye(2), np.eye(2), np.array([[0.6, 0.8], [0.0, 1.0]])),
        (asked, right, wrong),
        (asked[:2], right[:2], wrong[:2]),
    ]
    for question, answered, hard in tries:
        given = answer(question, answered, hard)
        if given is None:
            return "the function returns nothing"
        if np.ndim(given) != 0:
            return f"one number is expected, not {np.ndim(given)} dimensions of them: take the mean over the questions"
        wanted = _loss(question, answered, hard)
        if np.isclose(float(given), wanted, rtol=1e-3, atol=1e-4):
            continue
        for said, value in {
            "this is the loss without the wrong texts. They are columns too": _loss(question, answered, hard[:0]),
            "this is the sum over the questions; take the mean": wanted * len(question),
            "the cosines have to be multiplied by 20 first": _loss(question, answered, hard, scale=1.0),
            "the sign is the other way round": -wanted,
            "here each question has only its own wrong text; the others' wrong texts are wrong for it as well": float(
                np.mean(_with_own_only(question, answered, hard))
            ),
        }.items():
            if np.isclose(float(given), value, rtol=1e-3, atol=1e-4):
                return said
        return (
            "put both products side by side, a row for each question and twice as many columns; the right column of "
            "row i is i"
        )
    return None


def _with_own_only(asked: FloatArray, right: FloatArray, wrong: FloatArray) -> FloatArray:
    own = np.sum(asked * wrong, axis=1, keepdims=True)
    scores = SCALE * np.concatenate([asked @ right.T, own], axis=1)
    found: FloatArray = np.logaddexp.reduce(scores, axis=1) - np.diag(scores)
    return found


def _both_losses(answer: Any, *, asked: FloatArray, right: FloatArray, wrong: FloatArray) -> str:
    losses = _loss(asked, right, wrong), _loss(asked, right, wrong[:0])
    return f"on {len(asked)} pairs the loss is {losses[0]:.2f} with hard negatives and {losses[1]:.2f} without."


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="the articles that are asked for were learned from, so the gain says nothing of other articles.",
        tempting={
            "a": "many pairs are good. Which articles did the model see before they were asked for?",
            "c": "titles are fine pairs. Where do the articles lie that are asked for?",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="the best of eight is the best partly by luck, and other questions do not share that luck.",
        tempting={
            "a": "the interval is of one model on these questions; it does not know that seven others lost against it",
            "b": "a seed changes the training. Here the question is how the winner was chosen",
        },
    ),
    "1": Task(_cut, because=_what_is_left),
    "2": Choice(
        "b",
        because="random articles are about something else, so the right one stands out before any training.",
        tempting={
            "a": "a larger batch has more wrong answers, and a higher loss. What do the wrong answers look like?",
            "c": "no step has been taken yet, so the rate has played no part",
        },
    ),
    "3": Task(_in_batch, because=_both_losses, wants_function=True),
}
