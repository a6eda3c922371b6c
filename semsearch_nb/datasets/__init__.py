"""`load(name)` brings a labelled collection: our own sample, the original data set, or a folder of yours."""

from __future__ import annotations

from pathlib import Path

from semsearch_nb.datasets import beir, encyclopedia, full, wordnet
from semsearch_nb.datasets.collection import Collection, DatasetError, DatasetWarning, Document, Query
from semsearch_nb.foundation import settings

__all__ = ["NAMES", "Collection", "DatasetError", "DatasetWarning", "Document", "Query", "load"]

NAMES = ("passages", "publications", "questions", "encyclopedia", "wordnet")
SAMPLES = Path(__file__).parent / "samples"
OWN = "written for semsearch-nb, Apache-2.0; see its card.md"


def load(name: str | Path, *, split: str = "test", strict: bool = False) -> Collection:
    """The documents, queries and graded judgements of a data set.

    Args:
        name: `"encyclopedia"`, `"passages"`, `"publications"`, `"questions"` or `"wordnet"`; or a folder in
            the BEIR layout, given as a `Path` or as a string with a slash in it; `~` is the home folder. With
            `data="full"` passages, publications and questions are joined with the original data set behind them
            (`datasets.full`).
        split: which judgements; `"passages"` and `"questions"` also have `"multilingual"`, `"passages"` has
            `"held-out"`, the questions of topics that the re-ranker has not seen, and `"questions"` has
            `"multilingual-in-english"`, which asks the same in English; `"wordnet"` has `"reverse"`, and
            `"encyclopedia"` has `"known-items"`, `"fr"` and `"es"` (see `encyclopedia.read`).
        strict: of a folder, refuse rows without text and judgements of what is not there, which many published
            sets have. Else they are left out, and a `DatasetWarning` counts them.

    Queries that are documents too, as in ArguAna, find themselves first: `evaluation.as_run(…, skip_self=True)`.

    Raises:
        DatasetError: no such data set, or it is malformed: the message names file and line; or it
            is not there and cannot be downloaded: the message says how to go on.
    """
    if isinstance(name, Path) or "/" in name or "\\" in name:
        return beir.read(Path(name), split=split, strict=strict)
    if name not in NAMES:
        folders = " or the path of a folder in the BEIR layout (with a slash in it: './mine')"
        raise DatasetError(f"the data set must be one of {', '.join(map(repr, NAMES))}{folders}, not {name!r}")
    if name == "wordnet":
        return wordnet.read(split=split)
    if name == "encyclopedia":
        return encyclopedia.read(split)
    sample = beir.read(SAMPLES / name, name=name, split=split, source=OWN)
    return full.join(sample, split) if settings.current().data == "full" else sample
