"""Tatoeba: which English sentence is the translation of a sentence in another language?

Two files a language, in which line i translates line i: `tatoeba.deu-eng.deu`, `tatoeba.deu-eng.eng`.
"""

from __future__ import annotations

from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError
from semsearch_nb.datasets.reading import from_pairs, lines

SOURCE = "Tatoeba, CC BY 2.0 FR"


def read(folder: Path, language: str) -> Collection:
    """Queries are sentences of the language, documents are English sentences; equal ones are one.

    Args:
        folder: where the files are.
        language: three letters, as in the names of the files: `"deu"`.

    Raises:
        DatasetError: a file is missing, or a line has no counterpart in the other file.
    """
    foreign_file, english_file = (Path(folder) / f"tatoeba.{language}-eng.{end}" for end in (language, "eng"))
    foreign, english = dict(lines(foreign_file)), dict(lines(english_file))
    for file, other, alone in (
        (foreign_file, english_file, foreign.keys() - english.keys()),
        (english_file, foreign_file, english.keys() - foreign.keys()),
    ):
        if alone:
            raise DatasetError(f"{file}, line {min(alone)}: {other.name} has no such line, or it is blank")
    pairs = ((foreign[number], english[number], True) for number in foreign)
    return from_pairs(f"tatoeba-{language}", pairs, SOURCE)
