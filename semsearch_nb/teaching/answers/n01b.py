"""Notebook 01b, what a model does not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semsearch_nb import exact
from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching.exercises import Choice, Task, close, same


def best_language(answer: Any, by_language: Mapping[str, Mapping[str, Interval]]) -> str | None:
    means = {language: row["MiniLM"].mean for language, row in by_language.items()}
    names = {language.casefold() for language in means}
    if isinstance(answer, str) and answer.strip().casefold() not in names:
        return f"that is none of the languages: {', '.join(means)}"
    return same(answer, max(means, key=means.__getitem__), "another language has a higher mean of MiniLM, not of e5")


def mean_of_passages(answer: Any, queries: Any, passages: Any, wanted: Any, names: Sequence[str]) -> str | None:
    articles = np.asarray(passages).reshape(len(names), -1, np.shape(passages)[1]).mean(axis=1)
    first = np.asarray(names)[exact.search(queries, articles, k=1).indices[:, 0]]
    hint = (
        "single_passages.reshape(number of articles, 10, dimensions).mean(axis=1) has a row an article; "
        "search them and compare topic_names of the hits with topic_of_query"
    )
    return close(answer, float((first == np.asarray(wanted)).mean()), 0.006, hint)


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="the interval bounds the loss on data like these. Longer queries or other documents were not asked.",
        tempting={
            "a": "the interval does not say zero, and it speaks of 220 questions of one kind only.",
            "c": "nothing points to an error. That a model was trained with prompts does not say how much they bring.",
        },
    ),
    "quiz 2": Choice(
        "b",
        because="a search among more texts is harder, and several right answers make it easier. Here both are equal.",
        tempting={
            "a": "true, but each score is then compared with other scores: with those of a row, or of a column.",
            "c": "true, but one model may still face two searches of different difficulty, "
            "such as 480 passages and 1,108 questions.",
        },
    ),
    "1": Task(
        best_language,
        because="42 queries are few, and its interval reaches into those of other languages: "
        "this does not show that MiniLM knows it best.",
    ),
    "2": Choice(
        "b",
        because="a model reads the beginning of a text up to its limit. What is behind it cannot be found.",
        tempting={
            "a": "a better model with the same limit does not read the appendix either. Look at the limit first.",
            "c": "turned round, the contracts are the queries, and they are cut at the same place.",
        },
    ),
    "3": Task(
        mean_of_passages,
        because="the mean sees every passage. The solutions compare it with both ways of the notebook.",
    ),
}
