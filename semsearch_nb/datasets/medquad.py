"""MedQuAD: medical questions and their answers from the US National Institutes of Health.

`medquad.jsonl.gz` has lines of {"source": …, "focus": …, "question": …, "answer": …}.
"""

from __future__ import annotations

from pathlib import Path

from semsearch_nb.datasets.collection import Collection
from semsearch_nb.datasets.reading import field, from_pairs, json_lines

SOURCE = "MedQuAD (Ben Abacha and Demner-Fushman 2019), CC BY 4.0"


def read(file: Path) -> Collection:
    """Documents are the answers; a question that has several, from several sites, wants them all.

    Raises:
        DatasetError: the file is missing, damaged or malformed; the message names the line.
    """
    rows = json_lines(Path(file))
    pairs = ((field(row, "question", str, where), field(row, "answer", str, where), True) for where, row in rows)
    return from_pairs("medquad", pairs, SOURCE)
