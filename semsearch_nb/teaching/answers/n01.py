"""Notebook 01, symmetric and asymmetric search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semsearch_nb.datasets import Query
from semsearch_nb.teaching.exercises import Choice, Task, close, same


def hardest_topic(answer: Any, queries: Sequence[Query], bm25: Sequence[float]) -> str | None:
    by_topic: dict[str, list[float]] = {}
    for query, value in zip(queries, bm25, strict=True):
        by_topic.setdefault(query.metadata["topic"], []).append(value)
    lowest = min(by_topic, key=lambda topic: float(np.mean(by_topic[topic])))
    if isinstance(answer, str) and answer.strip().casefold() not in by_topic:
        return "that is not the name of a topic; names are written as in query.metadata['topic']"
    return same(answer, lowest, "another topic has a lower mean; compute one mean for each topic and compare them")


def better_of_two(answer: Any, ndcg: Mapping[str, Sequence[float]]) -> str | None:
    hint = "choose question by question: the larger of two values for each, and only then the mean"
    return close(answer, float(np.maximum(ndcg["BM25"], ndcg["MiniLM"]).mean()), 0.006, hint)


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="both measurements can be right. They asked different questions of different documents.",
        tempting={
            "a": "nothing makes our questions the rule and WikiQA the exception. Each is one kind of data.",
            "c": "two data sets may order two models differently without an error in either.",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="what the base already knows, a short training cannot add. Both trainings then change little.",
        tempting={
            "a": "held out from these 2,000 pairs is not unseen: the base had its own, much larger training before.",
            "b": "a base that knows both tasks leaves less to learn, so each training changes less, not more.",
        },
    ),
    "1": Task(
        hardest_topic,
        because="the solutions look at its questions: for how many of them does BM25 find an answer at all?",
    ),
    "2": Choice(
        "c",
        because="the interval holds zero, and also differences that would be worth money. "
        "With four times as many queries it is about half as wide.",
        tempting={
            "a": "these are the means of 60 queries. The interval says that other queries could put A ahead.",
            "b": "not shown to differ is not the same as shown to be equal: the interval also holds 0.05.",
        },
    ),
    "3": Task(
        better_of_two,
        because="nobody who picks one of the two rankings for each question can do better than this.",
    ),
}
