"""`load(name)` brings a labelled collection, from our own samples or from a folder of yours."""

from __future__ import annotations

from pathlib import Path

from semsearch_nb import settings
from semsearch_nb.datasets import beir, quora, wordnet
from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query

__all__ = ["NAMES", "Collection", "DatasetError", "Document", "Query", "load"]

NAMES = ("passages", "questions", "wordnet")
SAMPLES = Path(__file__).parent / "samples"
OWN = "written for semsearch-nb, Apache-2.0; see its card.md"


def load(name: str | Path, *, split: str = "test") -> Collection:
    """The documents, queries and graded judgements of a data set.

    Args:
        name: `"passages"`, `"questions"` or `"wordnet"`; or a folder in the BEIR layout, given as
            a `Path` or as a string with a slash in it.
        split: which judgements; `"questions"` also has `"multilingual"`.

    Raises:
        DatasetError: no such data set, or it is malformed: the message names file and line.
    """
    if isinstance(name, Path) or "/" in name or "\\" in name:
        return beir.read(Path(name), split=split)
    if name not in NAMES:
        folders = " or the path of a folder in the BEIR layout (with a slash in it: './mine')"
        raise DatasetError(f"the data set must be one of {', '.join(map(repr, NAMES))}{folders}, not {name!r}")
    if name == "wordnet":
        return wordnet.read()
    if settings.current().data == "full":
        return _full(name)
    return beir.read(SAMPLES / name, name=name, split=split, source=OWN)


def _full(name: str) -> Collection:
    """The original data set behind a sample, from the folder in `SEMSEARCH_DATA_DIR`."""
    folder = settings.current().data_dir
    if name == "questions" and folder is not None:
        return quora.read(folder / "quora" / "quora_duplicate_questions.tsv")
    if name == "questions":
        raise DatasetError(
            "data='full' reads the Quora questions from the folder in SEMSEARCH_DATA_DIR, which is not set; set it "
            "to a folder with quora/quora_duplicate_questions.tsv, or go on with data='sample'"
        )
    raise DatasetError(f"{name!r} has no full version yet; go on with data='sample'")
