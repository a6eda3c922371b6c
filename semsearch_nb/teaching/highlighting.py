"""The sentence of a passage that answers the question. Taught in notebook 09."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sentence_transformers import CrossEncoder

from semsearch_nb import reranking
from semsearch_nb.vectors import as_texts

Span = tuple[int, int]
# A sentence ends at . ! or ? before a space and what may begin another one; not after "e.g." or an initial.
_ABBREVIATED = r"(?<!\b[A-Z])(?<!\be\.g)(?<!\bi\.e)(?<!\bca)(?<!\bSt)(?<!\bDr)"
_END = re.compile(_ABBREVIATED + r"""[.!?]["”’)]*\s+(?=["“‘(]?[A-Z0-9])""")


def sentences(text: str) -> list[Span]:
    """Where the sentences of an English text start and end, without the spaces between them.

    >>> [text[a:b] for text in ["It rains. Why? J. Smith knows."] for a, b in sentences(text)]
    ['It rains.', 'Why?', 'J. Smith knows.']
    """
    starts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    found = []
    for start, stop in pairwise(starts):
        part = text[start:stop]
        if part.strip():
            left = start + len(part) - len(part.lstrip())
            found.append((left, left + len(part.strip())))
    return found


def answer_spans(question: str, texts: Sequence[str], model: CrossEncoder, *, use_cache: bool = True) -> list[Span]:
    """For each text, where the sentence stands that the cross-encoder scores highest for the question.

    A re-ranker that was trained on single sentences too, as ours was, can do this; it marks a sentence
    even where none answers.

    Raises:
        TypeError, ValueError: `texts` is empty or holds something other than strings with words in them.
    """
    texts = as_texts(texts)
    spans = [sentences(text) for text in texts]
    for number, of_text in enumerate(spans):
        if not of_text:
            raise ValueError(f"texts[{number}] is blank; there is no sentence in it")
    pairs = [(question, text[a:b]) for text, of_text in zip(texts, spans, strict=True) for a, b in of_text]
    scores = reranking.score(model, pairs, use_cache=use_cache, progress=False)
    scores_of_texts = np.split(scores, np.cumsum([len(of_text) for of_text in spans])[:-1])
    return [of_text[int(row.argmax())] for of_text, row in zip(spans, scores_of_texts, strict=True)]
