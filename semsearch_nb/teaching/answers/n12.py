"""Notebook 12: your own documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentence_transformers import SentenceTransformer

from semsearch_nb import chunks, evaluation, retrieval
from semsearch_nb.teaching.exercises import Choice, Task, number

MOST, WORDS = 40, 60
Places = Sequence[Sequence[chunks.Answer]]


def _read(
    pieces: Sequence[chunks.Chunk], questions: Sequence[str], answers: Places, model: Any, *, headed: bool = True
) -> list[float]:
    """Within 60 words: the share of the answer for every question."""
    texts = [piece.headed if headed else piece.text for piece in pieces]
    found = retrieval.Dense(model, texts).search(questions, k=30)
    rows = (row[there] for row, there in zip(found.indices, found.found, strict=True))
    return [chunks.share_read([pieces[i] for i in row], of, WORDS) for row, of in zip(rows, answers, strict=True)]


def _short_sections(
    answer: Any,
    *,
    sources: Sequence[chunks.Source],
    questions: Sequence[str],
    answers: Places,
    model: SentenceTransformer,
) -> str | None:
    pieces = chunks.split(sources, lambda source: chunks.by_section(source, MOST))
    bare = _read(pieces, questions, answers, model, headed=False)
    values = _read(pieces, questions, answers, model)
    whole = _read(chunks.split(sources, chunks.by_section), questions, answers, model)
    return number(
        answer,
        sum(values) / len(values),
        0.005,
        "split with by_section(source, 40), search piece.headed, then read(…).mean() within 60 words",
        {
            "this is the number without headings; search piece.headed": sum(bare) / len(bare),
            "this is the number of sections up to 160 words": sum(whole) / len(whole),
        },
    )


def _what_it_brings(
    answer: Any,
    *,
    sources: Sequence[chunks.Source],
    questions: Sequence[str],
    answers: Places,
    model: SentenceTransformer,
) -> str:
    ways = (lambda source: chunks.by_section(source, MOST), chunks.by_section)
    small, whole = (_read(chunks.split(sources, way), questions, answers, model) for way in ways)
    return f"against sections of up to 160 words: {evaluation.paired_bootstrap(small, whole)}."


def _words_until(answer: Any, *, shown: Sequence[Sequence[chunks.Chunk]], places: Places) -> str | None:
    for pieces, of in [*zip(shown, places, strict=True), ([], places[0])]:
        given, wanted = answer(list(pieces), list(of)), _until(pieces, of)
        if given is None:
            return "the function returns nothing"
        if given == wanted:
            continue
        if not pieces or wanted == float("inf"):
            return 'where no piece holds an answer, return float("inf")'
        last = next(piece for piece in pieces if any(piece.holds(place) for place in of))
        if given == wanted - len(last.text.split()):
            return "the words of the piece that holds the answer are missing: it is read too"
        if given == sum(len(piece.text.split()) for piece in pieces):
            return "these are the words of all pieces; stop at the first one that holds an answer"
        return "add len(piece.text.split()) piece by piece, and return once any place is held by the piece"
    return None


def _until(pieces: Sequence[chunks.Chunk], places: Sequence[chunks.Answer]) -> float:
    words = 0
    for piece in pieces:
        words += len(piece.text.split())
        if any(piece.holds(place) for place in places):
            return words
    return float("inf")


def _how_many(answer: Any, *, shown: Sequence[Sequence[chunks.Chunk]], places: Places) -> str:
    words = [_until(*pair) for pair in zip(shown, places, strict=True)]
    return f"the three answers are read after {', '.join('no' if w == float('inf') else str(w) for w in words)} words."


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="a piece of twice the size holds an answer more often, also where the search is as good as before.",
        tempting={
            "a": "it may have, but the measure rises with the size alone. Look at the whole documents above",
            "c": "nothing says so. Even a random piece holds more if it is larger",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="it was chosen on questions without an answer, and is a share of those; the mix has no part in it.",
        tempting={
            "a": "no promise is about the answers shown. With more unanswerable questions, more of these are wrong",
            "b": "promise B breaks then. A is a share of the questions without an answer, of the same kind as before",
        },
    ),
    "1": Task(_short_sections, because=_what_it_brings),
    "2": Choice(
        "b",
        because="two pieces of one document have a cosine close to 1, so nothing tells the right one from the others.",
        tempting={
            "a": "a few are, but they are read in parts, so that no piece is lost. Look at the cosines above",
            "c": "the usual vector of a text is a mean over its tokens too",
        },
    ),
    "3": Task(_words_until, because=_how_many, wants_function=True),
}
