"""Notebook 06: Elasticsearch."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from semsearch_nb.teaching.exercises import Choice, Task, number

N, DIMENSION, M = 10_000_000, 1_024, 16


def _gigabytes(kind: str) -> float:
    from semsearch_nb import elastic  # needs the extra 'elastic', which only this notebook has

    return elastic.vector_bytes(N, DIMENSION, kind, m=M) / 1e9


def _memory(answer: Any) -> str | None:
    wanted = _gigabytes("bbq_hnsw")
    return number(
        answer,
        wanted,
        0.011,
        "elastic.vector_bytes takes the number, the dimension and the kind",
        {
            "these are bytes; how many GB are they?": wanted * 1e9,
            "this counts 2³⁰ bytes as a GB; here it is 10⁹": wanted * 1e9 / 2**30,
            "the codes are right; the links of the graph need memory too": wanted - N * 4 * M / 1e9,
            "this is for full vectors; which kind keeps one bit a number?": _gigabytes("hnsw"),
        },
    )


def _against_float32(answer: Any) -> str:
    return (
        f"with full vectors it would be {_gigabytes('hnsw'):.0f} GB, so codes decide between one machine and several."
    )


VECTOR, PERIODS = [0.6, 0.8], ((2015, 2017), (2016, 2016))


def _knn(answer: Any, *, years: Sequence[int]) -> str | None:
    for period in PERIODS:
        flaw = _flaw(answer(list(VECTOR), *period), period, years)
        if flaw:
            return flaw
    return None


def _flaw(knn: Any, period: tuple[int, int], years: Sequence[int]) -> str | None:
    if not isinstance(knn, Mapping) or "knn" in knn:
        return "return a dictionary, with what stands inside knn={…}"
    if strange := sorted(set(knn) - {"field", "query_vector", "k", "num_candidates", "similarity", "filter"}):
        return f"{strange[0]!r} is no part of knn={{…}}; the section on filters shows where a filter stands"
    hints = {
        "field": ("vector", "field is the name of the field that holds the vectors, as the mapping has it"),
        "query_vector": (VECTOR, "query_vector is the vector that the function is given, as a list"),
        "k": (5, "k says how many papers are wanted"),
        "similarity": (0.3, "the least cosine is called similarity, and is a cosine, not a _score"),
    }
    for key, (wanted, hint) in hints.items():
        if knn.get(key) != wanted:
            return hint
    if knn.get("num_candidates", 5) < 5:
        return "num_candidates must be k at least"
    passing = {year for year in years if _passes(knn.get("filter", []), year)}
    wanted_years = {year for year in years if period[0] <= year <= period[1]}
    if passing == set(years):
        return "papers of other years pass; put a filter into the dictionary"
    if wanted_years - passing:
        return "papers of the first or the last year, which are both included, do not pass"
    return None if passing == wanted_years else "papers of other years pass; which words bound a range on both sides?"


def _passes(conditions: Any, year: int) -> bool:
    """Whether a paper of this year passes a filter as the server reads it: ranges, terms, or a bool of them."""
    if not isinstance(conditions, Mapping):
        return all(_passes(condition, year) for condition in conditions)
    ((kind, about),) = conditions.items()
    if kind == "bool":
        return all(_passes(part, year) for part in about.values())
    about = about["year"]
    if kind != "range":
        return str(year) in map(str, about if kind == "terms" else [about])
    compare = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}
    return all(compare[bound](year, int(value)) for bound, value in about.items())


def _among(answer: Any, *, years: Sequence[int]) -> str:
    (first, last), _ = PERIODS
    n = sum(first <= year <= last for year in years)
    return f"for {first} to {last} the server searches among {n} of the {len(years)} papers."


ANSWERS = {
    "quiz 1": Choice(
        "c",
        because="one-bit codes fit the memory, and the full vectors, read from disk for a few hits, bring recall back.",
        tempting={
            "a": "its recall is high enough. How many GB does a million such vectors take?",
            "b": "its recall is high enough, and it takes less than full vectors. Compare its GB with what is free",
            "d": "it takes little memory. Read its recall: more candidates do not repair an order by rough codes",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="the full vectors, 4 · 384 bytes each, stay on disk for re-scoring and for the next merge; codes and "
        "graph are added to them.",
        tempting={
            "a": "so much should lie in memory. What else stays on disk?",
            "b": "a half of the full vectors is a plausible guess. What is taken away from them, and what is added?",
        },
    ),
    "1": Task(_memory, because=_against_float32),
    "2": Choice(
        "b",
        because="use filter, which keeps searching until ten pass, if so many exist.",
        tempting={
            "a": "the ten that pass may stand behind place 100. Which step comes first?",
            "c": "what is found first decides what can pass. With 100 found, is that more or less than with 10?",
        },
    ),
    "3": Task(_knn, because=_among, wants_function=True),
}
