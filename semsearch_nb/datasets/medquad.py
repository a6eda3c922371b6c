"""MedQuAD: medical questions and their answers from the US National Institutes of Health.

`medquad.jsonl.gz` has lines of {"source": …, "focus": …, "question": …, "answer": …}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from semsearch_nb.datasets.collection import Collection, DatasetError
from semsearch_nb.datasets.reading import compressed_lines, field, from_pairs

SOURCE = "MedQuAD (Ben Abacha and Demner-Fushman 2019), CC BY 4.0"


def read(file: Path, *, limit: int | None = None) -> Collection:
    """Documents are the answers; a question that has several, from several sites, wants them all.

    Args:
        file: `medquad.jsonl.gz`.
        limit: only the first questions; the documents stay.

    Raises:
        DatasetError: the file is missing, damaged or malformed; the message names the line.
    """
    return from_pairs("medquad", _rows(Path(file)), SOURCE, limit)


def _rows(file: Path) -> Iterator[tuple[str, str, bool]]:
    for number, line in compressed_lines(file):
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{where}: not a JSON object ({error})") from None
        yield field(row, "question", str, where), field(row, "answer", str, where), True
