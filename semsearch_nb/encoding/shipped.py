"""Vectors that come with the installation, so that a first run waits for nothing.

The package `semsearch-nb-vectors` holds, for a model and a prompt, the vectors of WordNet's texts, which take
minutes to compute: float32 results rounded to int8, with a scale a vector. What comes out of them *is* the sample's
vectors: the same bits on every machine, whatever the processor. A text is found by its hash, so a text that
was changed costs its own encoding and no other. Made by `tools/vectors.py`; the files are read by path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semsearch_nb.foundation.storage import checksum
from semsearch_nb.vectors import FloatArray

PACKAGE = "semsearch_nb_vectors"
# Of the manifest, which holds those of all files.
MANIFEST_SHA256 = "abcb7fe4a9c70d360907b87e25b95e363b93a623dd62647fcaa414284c569a4a"


class Table(NamedTuple):
    """The n vectors of a model with one prompt, in the order of their hashes."""

    hashes: np.ndarray[Any, np.dtype[np.uint64]]  # (n,)
    codes: np.ndarray[Any, np.dtype[np.int8]]  # (n, dimension)
    scales: FloatArray  # (n,), so that codes · scale has length 1
    tokens: np.ndarray[Any, np.dtype[np.uint16]]  # (n,), with the prompt


class Found(NamedTuple):
    """Which texts are known, and the vectors and lengths in tokens of those, in their order."""

    known: np.ndarray[Any, np.dtype[np.bool_]]
    vectors: FloatArray
    tokens: np.ndarray[Any, np.dtype[np.int64]]


def look_up(name: str, revision: str, prompt: str, limit: int, texts: Sequence[str]) -> Found | None:
    """What is shipped of these texts, or None where nothing is.

    Args:
        name, revision: of the model, as `models.identity` gives them.
        prompt: what it puts before a text.
        limit: its `max_seq_length`.
    """
    table = _table(name, revision, prompt, limit)
    if table is None:
        return None
    asked = hashes(texts)
    rows = np.searchsorted(table.hashes, asked).clip(max=len(table.hashes) - 1)
    known = table.hashes[rows] == asked
    if not known.any():
        return None
    rows = rows[known]
    vectors = table.codes[rows].astype(np.float32)
    vectors *= table.scales[rows, None]
    return Found(known, vectors, table.tokens[rows].astype(np.int64))


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
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


@lru_cache(maxsize=8)
def _table(name: str, revision: str, prompt: str, limit: int) -> Table | None:
    about = _manifest().get(f"{name}|{prompt}")
    place = folder()
    if about is None or place is None or (about["revision"], about["limit"]) != (revision, limit):
        return None
    for file, sha256 in about["files"].items():
        if checksum(place / file) != sha256:
            raise OSError(f"{place / file} is damaged; install it again: pip install --force-reinstall {PACKAGE}")
    return Table(*(np.load(place / file, mmap_mode="r") for file in about["files"]))


@lru_cache(maxsize=1)
def _manifest() -> Mapping[str, Any]:
    """The tables there are; none where the package is not installed, or is that of another release."""
    place = folder()
    if place is None or checksum(place / "manifest.json") != MANIFEST_SHA256:
        return {}
    tables: Mapping[str, Any] = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    return tables
