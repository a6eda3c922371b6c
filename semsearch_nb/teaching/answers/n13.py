"""Notebook 13: a store that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semsearch_nb import exact
from semsearch_nb.datasets import Document
from semsearch_nb.teaching.exercises import Choice, Task, number

K = 10


def _to_read(store: Any, documents: Sequence[Document]) -> tuple[int, int, int]:
    """Distinct texts to encode, documents with a new text, and documents with any change."""
    held = {document.id: document for document in store.documents()}
    texts = [d.full_text for d in documents if d.id not in held or held[d.id].full_text != d.full_text]
    written = sum(held.get(document.id) != document for document in documents)
    return len(set(texts)), len(texts), written


def _encoded(answer: Any, *, store: Any, tomorrow: Sequence[Document]) -> str | None:
    texts, documents, written = _to_read(store, tomorrow)
    return number(
        answer,
        texts,
        0,
        "go through the four lines: which texts does the store not hold yet?",
        {
            "several of the new documents have the same text, and a text is read once": documents,
            "documents of which only the readers changed are written, and their vectors stay": written,
            "unchanged documents are not read again": len(tomorrow),
        },
    )


def _after(answer: Any, *, queries: Any, corpus: Any, draws: Any) -> str | None:
    for limit in (len(corpus), 1_003, 100, 4):
        passes = draws < limit
        rows = np.flatnonzero(passes)
        for query in queries:
            right = rows[exact.search(query[None], corpus[rows], k=K).indices[0]].tolist()
            found = [int(row) for row in answer(query[None], passes.copy(), K)]
            flaw = _flaw(found, right, passes)
            if flaw:
                return f"{flaw} (where {len(rows):,} documents pass)"
    return None


def _flaw(found: list[int], right: list[int], passes: Any) -> str | None:
    if not all(passes[row] for row in found):
        return "a row that does not pass the filter was returned"
    if len(found) > K:
        return f"{len(found)} rows were returned where k is {K}: cut the list"
    if len(found) < len(right):
        return f"{len(found)} rows were returned, and {len(right)} pass: ask for twice as many and try again"
    return None if found == right else "the right number of rows, and not the nearest ones that pass, best first"


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="if it was committed, the hashes are equal and nothing happens; if not, it happens now.",
        tempting={
            "a": "it works, and it loses all that others wrote since the backup. What did the second write of the "
            "same day do above?",
            "c": "between the delete and the write a search finds neither the old nor the new documents, and the "
            "model reads every text again.",
        },
    ),
    "quiz 2": Choice(
        "a",
        because="each commit is whole, and the kill falls between them.",
        tempting={
            "b": "each commit is all or nothing, so both tables can be opened. Look at what is in them.",
            "c": "true of each commit, and not of the two together: the kill can fall between them.",
        },
    ),
    "1": Task(_encoded, because="a text that the store holds, or that came once already, is not read again."),
    "2": Choice(
        "b",
        because="twice as many candidates only help where a good part of them passes.",
        tempting={
            "a": "twice of almost nothing is almost nothing: how many of 20 pass where 1 in 100 does?",
            "c": "more links bring the graph closer to the true nearest ten. These ten do not pass the filter.",
        },
    ),
    "3": Task(
        _after,
        because="the fewer pass, the more of the corpus it has to rank; searching among those that pass does not.",
        wants_function=True,
    ),
}
