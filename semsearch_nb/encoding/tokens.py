"""How long texts are for a model, and how much of them it does not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from semsearch_nb.models.fingerprints import Model
from semsearch_nb.vectors import IntArray, as_texts

Kind = Literal["query", "document"]
KINDS: tuple[Kind, Kind] = ("document", "query")
NO_LIMIT = 10**9  # tokens; a tokenizer without a limit says 1e30 or infinity
AT_ONCE = 8_192  # texts; their tokens need more memory than the texts


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads; what stands past its limit has no effect on them."""


@dataclass(frozen=True)
class Truncation:
    """How much of a list of texts a model does not see. Lengths are in tokens, prompt included.

    `limit` is None where the model reads texts of any length, as static embedding models do.
    """

    n_texts: int
    n_truncated: int
    n_tokens: int
    n_tokens_dropped: int
    longest: int
    limit: int | None

    @property
    def share_of_texts(self) -> float:
        """Truncated texts / texts."""
        return self.n_truncated / self.n_texts

    @property
    def share_of_tokens(self) -> float:
        """Dropped tokens / tokens."""
        return self.n_tokens_dropped / max(self.n_tokens, 1)

    def __add__(self, other: Truncation) -> Truncation:
        """The report on both lists of texts, for the same model."""
        counts = ("n_texts", "n_truncated", "n_tokens", "n_tokens_dropped")
        sums = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return Truncation(**sums, longest=max(self.longest, other.longest), limit=self.limit)

    def __str__(self) -> str:
        if self.limit is None:
            return f"none of {self.n_texts:,} texts is too long: the model has no limit"
        if not self.n_truncated:
            return f"none of {self.n_texts:,} texts is longer than the model's limit of {self.limit} tokens"
        return (
            f"{self.n_truncated:,} of {self.n_texts:,} texts ({self.share_of_texts:.1%}) are longer than the "
            f"model's limit of {self.limit} tokens (the longest has {self.longest:,}); "
            f"{self.share_of_tokens:.1%} of all tokens were dropped"
        )


def prompt(model: Model, kind: str) -> str:
    """What `encode_query` or `encode_document` of sentence-transformers puts before a text."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    name = next((name for name in names if name in model.prompts), model.default_prompt_name)
    return str(model.prompts.get(name or "") or "")


def truncation(model: Model, texts: Sequence[str], kind: Kind = "document") -> Truncation:
    """Count, without encoding, how much of the texts lies past the model's `max_seq_length`."""
    return as_report(lengths(model, texts, kind), model)


def count_truncated(model: Model, inputs: Sequence[Any]) -> Truncation:
    """The report on texts with their prompts, or on pairs of texts."""
    return as_report(count(model, inputs), model)


def as_report(lengths: IntArray, model: Model) -> Truncation:
    """The report on inputs of these lengths in tokens."""
    limit = _limit(model)
    past = np.maximum(lengths - (limit or NO_LIMIT), 0)
    return Truncation(
        n_texts=len(lengths),
        n_truncated=int((past > 0).sum()),
        n_tokens=int(lengths.sum()),
        n_tokens_dropped=int(past.sum()),
        longest=int(lengths.max()),
        limit=limit,
    )


def lengths(model: Model, texts: Sequence[str], kind: Kind) -> IntArray:
    """The tokens of each text, prompt included."""
    before = prompt(model, kind)
    return count(model, [before + text for text in as_texts(texts)])


def count(model: Model, inputs: Sequence[Any]) -> IntArray:
    """The tokens of each text with its prompt, or of each pair of texts."""
    parts = [_lengths(model.tokenizer, inputs[start : start + AT_ONCE]) for start in range(0, len(inputs), AT_ONCE)]
    return np.concatenate(parts).astype(np.int64)


def _limit(model: Model) -> int | None:
    """How many tokens the model reads; None where it has no limit."""
    tokenizer, limit = model.tokenizer, model.max_seq_length
    if isinstance(tokenizer, Tokenizer) and tokenizer.truncation:
        limit = tokenizer.truncation["max_length"]
    return int(limit) if limit and limit < NO_LIMIT else None


def _lengths(tokenizer: Any, inputs: Sequence[Any]) -> list[int]:
    """Tokens of each input, those that are cut off included."""
    if isinstance(tokenizer, Tokenizer):  # of a static embedding model
        encoded = tokenizer.encode_batch(inputs, add_special_tokens=False)
        return [len(text.ids) + sum(len(rest.ids) for rest in text.overflowing) for text in encoded]
    if not callable(tokenizer):  # one that sentence-transformers brings, of words
        return [len(tokenizer.tokenize(text)) for text in inputs]
    return [len(ids) for ids in tokenizer(list(inputs), truncation=False, padding=False, verbose=False)["input_ids"]]
