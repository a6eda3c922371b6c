"""Vectors and logits that come with the installation, so that a first run waits for nothing.

The package `semsearch-nb-vectors` holds, for a model and a prompt, the vectors of the sample collections' texts:
float32 results rounded to int8, with a scale a vector; and the re-ranker's float32 logits of the pairs that the
notebooks score. What comes out of them *is* the sample's vectors and logits: the same bits on every machine, whatever
the processor. A text is found by its hash, so a text that was changed costs its own computation and no other. Made by
`tools/vectors.py`; the files are read by path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semsearch_nb.encoding.tokens import Truncation, as_report
from semsearch_nb.foundation import packages, settings
from semsearch_nb.foundation.storage import checksum
from semsearch_nb.models.fingerprints import Model
from semsearch_nb.vectors import FloatArray

PACKAGE = "semsearch_nb_vectors"
# Of the manifest, which holds those of all files.
MANIFEST_SHA256 = "5f6454f8b3c79fe196a7537a899726efd56d2fa0ffd721aa8654b1e7edbda834"


class Table(NamedTuple):
    """The n vectors of a model with one prompt, in the order of their hashes; logits are vectors of one dimension."""

    hashes: np.ndarray[Any, np.dtype[np.uint64]]  # (n,)
    codes: np.ndarray[Any, Any]  # (n, dimension), int8; logits as they are
    scales: FloatArray  # (n,), so that codes · scale has length 1; of logits 1
    tokens: np.ndarray[Any, np.dtype[np.uint16]]  # (n,), with the prompt


class Found(NamedTuple):
    """Which of n texts are known, and their vectors and lengths in tokens; rows of the others are to be filled."""

    known: np.ndarray[Any, np.dtype[np.bool_]]  # (n,)
    vectors: FloatArray  # (n, dimension)
    tokens: np.ndarray[Any, np.dtype[np.int64]]  # (n,), 0 where a text is not known


def look_up(name: str, revision: str, prompt: str, limit: int, texts: Sequence[str]) -> Found | None:
    """What is shipped of these texts, or None where nothing is, or where a precision other than float32 is set.

    Args:
        name, revision: of the model, as `models.identity` gives them.
        prompt: what it puts before a text.
        limit: its `max_seq_length`.
        texts: or `joined` pairs of texts.
    """
    if settings.current().precision not in ("auto", "float32"):
        return None
    tables = _tables(name, revision, prompt, limit)
    if not tables:
        return None
    asked, known, tokens = hashes(texts), np.zeros(len(texts), dtype=bool), np.zeros(len(texts), dtype=np.int64)
    vectors = np.empty((len(texts), tables[0].codes.shape[1]), dtype=np.float32)
    for table in tables:
        rows = np.searchsorted(table.hashes, asked).clip(max=len(table.hashes) - 1)
        here = table.hashes[rows] == asked
        rows = rows[here]
        vectors[here] = table.codes[rows].astype(np.float32) * table.scales[rows, None]
        tokens[here], known = table.tokens[rows], known | here
    return Found(known, vectors, tokens) if known.any() else None


def missing(found: Found | None, inputs: list[Any]) -> list[Any]:
    """Those of the inputs, texts or pairs, that are to be computed."""
    return inputs if found is None else [inputs[row] for row in np.flatnonzero(~found.known)]


def merged(
    found: Found | None, computed: tuple[FloatArray, Truncation] | None, model: Model
) -> tuple[FloatArray, Truncation]:
    """Vectors of all inputs and the report on them, of what was found and of what was `missing`, if anything was."""
    if found is None:
        assert computed is not None, "what is not found is computed"
        return computed
    if computed is None:
        return found.vectors, as_report(found.tokens, model)
    found.vectors[~found.known], report = computed
    return found.vectors, report + as_report(found.tokens[found.known], model)


def joined(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """One text a pair, with the control character between them that separates units."""
    return [f"{question}\x1f{text}" for question, text in pairs]


def hashes(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """64 bits of each text; that two of a million texts share them has a probability of 3 in 10⁸."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def quantise(vectors: FloatArray) -> tuple[np.ndarray[Any, np.dtype[np.int8]], FloatArray]:
    """Unit vectors as int8 codes and the scales that give the codes length 1 again."""
    codes = np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    return codes, (1 / np.linalg.norm(codes.astype(np.float64), axis=1)).astype(np.float32)


def folder() -> Path | None:
    """Where the package lies, which is never imported."""
    return packages.folder(PACKAGE)


@lru_cache(maxsize=8)
def _tables(name: str, revision: str, prompt: str, limit: int) -> list[Table]:
    wanted = {"model": name, "revision": revision, "prompt": prompt, "limit": limit}
    return [_read(about["files"]) for about in _manifest().values() if wanted.items() <= about.items()]


def _read(files: Mapping[str, str]) -> Table:
    """A table, of whose files the manifest gives the checksums."""
    place = folder()
    assert place is not None, "there is no manifest without it"
    for file, sha256 in files.items():
        if checksum(place / file) != sha256:
            raise OSError(f"{place / file} is damaged; install it again: pip install --force-reinstall {PACKAGE}")
    return Table(*(np.load(place / file, mmap_mode="r") for file in files))


@lru_cache(maxsize=1)
def _manifest() -> Mapping[str, Any]:
    """The tables there are; none where the package is not installed, or is that of another release."""
    place = folder()
    if place is None or checksum(place / "manifest.json") != MANIFEST_SHA256:
        return {}
    tables: Mapping[str, Any] = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    return tables
