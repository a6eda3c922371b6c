"""Articles are long and a model reads some hundred tokens: cut them into passages that stand alone.

A passage is a paragraph, together with the next ones where it is short, and in parts where it is long.
This and the lengths were chosen by `benchmarks/splitting.py`; the report beside it compares them with
windows and sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LEAST = 60  # words; a shorter paragraph is joined with the next one
MOST = 160  # words; with the title less than the 256 tokens that MiniLM reads

_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s+[\"'(\[]?[A-Z0-9])|$)", re.MULTILINE)


def split(text: str, least: int = LEAST, most: int = MOST) -> list[str]:
    """Passages of a text whose paragraphs stand on lines of their own, in its order and without overlap.

    A passage ends with a paragraph as soon as it has `least` words, and with a sentence before it would
    have more than `most`. What is left at the end of the text joins the last passage where it fits.

    >>> split("Rome.\\nThe city is old.\\nIt lies on the Tiber.", least=5, most=8)
    ['Rome.\\nThe city is old.', 'It lies on the Tiber.']
    """
    return [text[start:end] for start, end in spans(text, least, most)]


def spans(text: str, least: int = LEAST, most: int = MOST) -> list[tuple[int, int]]:
    """Where the passages of `split` begin and end in the text."""
    found: list[tuple[int, int]] = []
    start, end, words = 0, 0, 0
    for piece in _sentences(text, most):
        n_words = len(piece[0].split())
        if words and words + n_words > most:
            found.append((start, end))
            words = 0
        start = start if words else piece.start()
        end, words = piece.end(), words + n_words
        if words >= least and text[end : end + 1] in ("", "\n"):
            found.append((start, end))
            words = 0
    if words:
        if found and len(text[found[-1][0] : end].split()) <= most:
            start, _ = found.pop()
        found.append((start, end))
    return found


def _sentences(text: str, most: int) -> Iterator[re.Match[str]]:
    """The sentences; one of more than `most` words, as a table may be, in parts of so many."""
    part = re.compile(rf"\S+(?:\s+\S+){{0,{most - 1}}}")
    for sentence in _SENTENCE.finditer(text):
        if len(sentence[0].split()) <= most:
            yield sentence
        else:
            yield from part.finditer(text, sentence.start(), sentence.end())
