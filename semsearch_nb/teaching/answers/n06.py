"""Notebook 06: Elasticsearch."""

from __future__ import annotations

from collections.abc import Sequence
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


def _versions(texts: Sequence[str]) -> tuple[dict[Any, str], dict[Any, str]]:
    """A collection before and after a night: every seventh text is gone, every fifth changed, some are new."""
    before = dict(enumerate(texts))
    after = {row: f"{text} (revised)" if row % 5 == 0 else text for row, text in before.items() if row % 7}
    new = {len(before) + row: f"{text} (new)" for row, text in enumerate(texts[:3])}
    return before, after | new


def _changes(answer: Any, *, texts: Sequence[str]) -> str | None:
    toy = ({"a": "x", "b": "y", "c": "z"}, {"b": "y", "c": "changed", "d": "new"})
    for before, after in (toy, _versions(texts), ({}, {}), ({}, {"a": "x"}), ({"a": "x"}, {})):
        result = answer(dict(before), dict(after))
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            return "return two sets: the ids to send, then the ids to delete"
        send, delete = map(set, result)
        flaw = _flaw(send, delete, before, after)
        if flaw:
            return flaw
    return None


def _flaw(send: set[Any], delete: set[Any], before: dict[Any, str], after: dict[Any, str]) -> str | None:
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    if delete != gone:
        return "an id is deleted if it was there before and is there no more"
    if new - send:
        return "an id that was not there before has to be sent too"
    if any(before.get(key) == after[key] for key in send & after.keys()):
        return "a text that is the same before and after need not be sent: compare the texts, not only the ids"
    if send != {key for key, text in after.items() if before.get(key) != text}:
        return "an id that stays while its text changes has to be sent, and nothing that is gone"
    return None


def _saved(answer: Any, *, texts: Sequence[str]) -> str:
    before, after = _versions(texts)
    send, delete = answer(before, after)
    return f"of {len(after):,} texts {len(send):,} are encoded and sent, and {len(delete):,} ids are deleted."


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
        because="the full vectors stay on disk for re-scoring and for the next merge; the codes are added to them.",
        tempting={
            "a": "one bit is a 32nd of 32 bits, and so much smaller are the codes in memory. The column is another one",
            "b": "the document is kept as JSON too, so a half is a plausible guess. Compare the column 'all on disk'",
        },
    ),
    "1": Task(_memory, because=_against_float32),
    "2": Choice(
        "b",
        because="use filter, which keeps searching until ten pass, if so many exist.",
        tempting={
            "a": "each shard takes part in every search, with either filter. The order of two steps is what differs",
            "c": "a refresh makes new documents visible. What is in stock was visible all the time, and is not shown",
        },
    ),
    "3": Task(_changes, because=_saved, wants_function=True),
}
