"""The public labelled data sets that lie below a folder, ready to be read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from semsearch_nb.datasets import beir, cranfield, emnlp, medquad, pubmedqa, quora, squad, tatoeba, wikiqa
from semsearch_nb.datasets.collection import Collection, DatasetError

TREC_SOURCE = "TREC Deep Learning 2019 passages (Craswell et al. 2020), MS MARCO terms, non-commercial research"


def available(folder: Path) -> dict[str, Callable[[], Collection]]:
    """A reader for each known data set that is there, by name and in a fixed order; nothing is read yet.

    Raises:
        DatasetError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; the data sets are looked for below it")
    # English is left out of XQuAD: its paragraphs and questions are in SQuAD.
    english = folder / "xquad" / "xquad.en.json"
    xquad = [file for file in sorted(folder.glob("xquad/xquad.*.json")) if file != english]
    translated = [file for file in sorted(folder.glob("tatoeba/tatoeba.*-eng.*")) if file.suffix != ".eng"]
    known: dict[str, tuple[Path, Callable[[Path], Collection]]] = {
        "squad": (folder / "squad" / "dev-v1.1.json", squad.read),
        **{file.stem.replace(".", "-"): (file, partial(squad.read_cross, english)) for file in xquad},
        "quora": (folder / "quora" / "quora_duplicate_questions.tsv", quora.read),
        "trec-dl-2019-5k": (folder / "trec-dl-2019-5k", partial(beir.read, source=TREC_SOURCE)),
        "cranfield": (folder / "cranfield", cranfield.read),
        "wikiqa": (folder / "wikiqa" / "WikiQASent-dev.txt", wikiqa.read),
        "medquad": (folder / "medquad" / "medquad.jsonl.gz", medquad.read),
        "pubmedqa": (folder / "pubmedqa" / "ori_pqal.json", pubmedqa.read),
        "emnlp-known-items": (folder / "emnlp" / "emnlp2016-2018.json", emnlp.known_items),
    }
    for file in translated:
        language = file.suffix[1:]
        known[f"tatoeba-{language}"] = (file.parent, partial(tatoeba.read, language=language))
    return {name: partial(read, path) for name, (path, read) in known.items() if path.exists()}
