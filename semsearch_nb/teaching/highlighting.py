"""The sentence of a passage that answers the question. Taught in notebook 09."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer

from semsearch_nb import encoding, reranking
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


def answer_spans(
    question: str,
    texts: Sequence[str],
    model: CrossEncoder | SentenceTransformer,
    *,
    titles: Sequence[str] | None = None,
    use_cache: bool = True,
) -> list[Span]:
    """For each text, where the sentence stands that the model scores highest for the question.

    It marks a sentence even where none answers.

    Args:
        model: a cross-encoder that was trained on single sentences too, as ours was, or a bi-encoder.
        titles: put before each sentence of their text, since a sentence such as "It lies on the Tigris" says little
            without. Notebook 09 measures what that brings.

    Raises:
        TypeError, ValueError: `texts` is empty or holds something other than strings with words in them, or there
            are not as many titles.
    """
    texts = as_texts(texts)
    before = [""] * len(texts) if titles is None else [f"{title}. " for title in titles]
    if len(before) != len(texts):
        raise ValueError(f"titles are {len(before)} and texts {len(texts)}; each text needs its own")
    spans = [sentences(text) for text in texts]
    for number, of_text in enumerate(spans):
        if not of_text:
            raise ValueError(f"texts[{number}] is blank; there is no sentence in it")
    read = [title + text[a:b] for title, text, of_text in zip(before, texts, spans, strict=True) for a, b in of_text]
    if isinstance(model, SentenceTransformer):
        asked = encoding.encode_queries(model, [question], use_cache=use_cache)[0]
        scores = encoding.encode_documents(model, read, use_cache=use_cache) @ asked
    else:
        pairs = [(question, sentence) for sentence in read]
        scores = reranking.score(model, pairs, use_cache=use_cache, progress=False)
    scores_of_texts = np.split(scores, np.cumsum([len(of_text) for of_text in spans])[:-1])
    return [of_text[int(row.argmax())] for of_text, row in zip(spans, scores_of_texts, strict=True)]
