"""Make what comes with the installation: `python tools/vectors.py` writes vectors/semsearch_nb_vectors.

Run it when a collection or a model changes, and only for a release: its files are large. `python tools/vectors.py
minilm e5-query` makes these tables and leaves the others. On two cores with AVX2 all take about half an hour, most of
it for WordNet and for the encyclopedia in e5; `reranker` takes as long again, since it runs the notebooks that score
pairs to see which (06 where SEMSEARCH_ELASTICSEARCH_ARCHIVE is set). It prints the manifest's checksum, which belongs
into `semsearch_nb/encoding/shipped.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import run
from manifest import read_manifest

from semsearch_nb import datasets, encoding, models, reranking
from semsearch_nb.datasets import encyclopedia
from semsearch_nb.encoding import shipped, tokens
from semsearch_nb.foundation.storage import checksum

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / shipped.PACKAGE
SMALL = {
    "passages": ("test", "multilingual"),
    "publications": ("test",),
    "questions": ("test", "multilingual", "multilingual-in-english"),
    "encyclopedia": ("test",),
}
# A table's name: the model's role, the kind of its texts, and whose documents and queries they are. MiniLM has no
# prompts, so a table serves both kinds; e5 takes questions as queries on both sides.
TABLES: dict[str, tuple[str, encoding.Kind, tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "minilm-wordnet": ("symmetric", "document", ("wordnet",), {"wordnet": ("test", "reverse")}),
    "minilm": ("symmetric", "document", tuple(SMALL), SMALL),
    "e5-passage": ("asymmetric", "document", ("passages", "encyclopedia"), {}),
    "e5-query": (
        "asymmetric",
        "query",
        ("questions",),
        SMALL | {"encyclopedia": ("test", "fr", "es"), "wordnet": ("reverse",)},
    ),
}


RERANKER = "reranker"
SCORING = ("05", "06", "07", "09", "12")  # the notebooks whose pairs the re-ranker's table holds
# Put behind the setup cell: whatever would be looked up in the table is written down.
RECORDER = """
import json as _json
from semsearch_nb import reranking as _reranking

def _recorded(model, pairs, _shipped=_reranking._shipped):
    with open({file!r}, "a", encoding="utf-8") as file:
        file.writelines(_json.dumps(pair) + "\\n" for pair in pairs)
    return _shipped(model, pairs)

_reranking._shipped = _recorded
"""


def lists(documents: tuple[str, ...], queries: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """The documents of some collections, then the queries of some splits."""
    for name in documents:
        yield datasets.load(name).document_texts
    for name, splits in queries.items():
        for split in splits:
            collection = datasets.load(name, split=split)
            yield collection.query_texts
            # A later paper asks with its title and its summary.
            yield [f"{q.text}. {q.metadata['summary']}" for q in collection.queries if "summary" in q.metadata]
        if name == "encyclopedia":
            yield [query.text for query in encyclopedia.unanswerable()]


def scored_pairs() -> list[tuple[str, str]]:
    """The pairs that the notebooks and their solutions give the re-ranker, each once."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        entries = [entry for entry in read_manifest() if entry.number in SCORING]
        serverless = [] if any(map(os.environ.get, run.SERVER)) else [entry.path for entry in entries if entry.server]
        for path in (path for entry in entries for path in (entry.path, entry.solutions)):
            if path in serverless:
                print(f"{path.name} is left out: set {' or '.join(run.SERVER)}")
                continue
            notebook = nbformat.read(path, as_version=4)
            (setup,) = (n for n, cell in enumerate(notebook.cells) if cell.metadata.get("semsearch") == "setup")
            notebook.cells.insert(setup + 1, nbformat.v4.new_code_cell(RECORDER.format(file=str(file))))
            if error := run.execute(notebook, path.parent):
                raise RuntimeError(f"{path.name}: {error}")
        return list(dict.fromkeys(tuple(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()))


def make(name: str, folder: Path) -> dict[str, Any]:
    """Write the files of a table; what the manifest is to say of it."""
    return make_logits(folder) if name == RERANKER else make_vectors(name, folder)


def make_logits(folder: Path) -> dict[str, Any]:
    """The re-ranker's logits of what the notebooks score."""
    model, pairs = models.load_reranker(), scored_pairs()
    logits = reranking.score(model, pairs, precision="float32")
    columns = {
        "hashes": shipped.hashes(shipped.joined(pairs)),
        "codes": logits[:, None],
        "scales": np.ones(len(pairs), dtype=np.float32),
        "tokens": tokens.count(model, pairs),
    }
    return about(RERANKER, model, "", write(RERANKER, folder, columns))


def make_vectors(name: str, folder: Path) -> dict[str, Any]:
    """The vectors of a table's texts, rounded."""
    role, kind, documents, queries = TABLES[name]
    model = models.load(role)
    known: dict[str, np.ndarray[Any, Any]] = {}
    for texts in lists(documents, queries):
        if texts:
            # With a precision that is named, nothing that is shipped already takes part.
            known.update(zip(texts, encoding.encode(model, texts, kind, precision="float32"), strict=True))
    texts, vectors = list(known), np.stack(list(known.values()))
    codes, scales = shipped.quantise(vectors)
    cosines = (vectors * codes * scales[:, None]).sum(axis=1)
    print(f"{name}: cosine to float32 {cosines.min():.5f} to {cosines.max():.5f}")
    columns = {
        "hashes": shipped.hashes(texts),
        "codes": codes,
        "scales": scales,
        "tokens": encoding.lengths(model, texts, kind),
    }
    return about(name, model, tokens.prompt(model, kind), write(name, folder, columns))


def write(name: str, folder: Path, columns: dict[str, Any]) -> dict[str, str]:
    """The columns of a table in the order of its hashes, a file each; the files' checksums."""
    columns["tokens"] = columns["tokens"].clip(max=2**16 - 1).astype(np.uint16)
    order, files = np.argsort(columns["hashes"]), {}
    for column, values in columns.items():
        file = folder / f"{name}-{column}.npy"
        np.save(file, values[order], allow_pickle=False)
        files[file.name] = checksum(file)
    size = sum((folder / file).stat().st_size for file in files) / 1e6
    print(f"{name}: {len(order):,} texts, {size:.1f} MB")
    return files


def about(name: str, model: Any, prompt: str, files: dict[str, str]) -> dict[str, Any]:
    """What the manifest says of a table."""
    identity = models.identity(model)
    of_model = {"model": identity.name, "revision": identity.revision, "limit": int(model.max_seq_length)}
    return of_model | {"prompt": prompt, "files": files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"{', '.join([*TABLES, RERANKER])}; without them all"
    )
    names = parser.parse_args().tables or [*TABLES, RERANKER]
    path = FOLDER / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    manifest |= {name: make(name, FOLDER) for name in names}
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(f'MANIFEST_SHA256 = "{checksum(path)}"')


if __name__ == "__main__":
    main()
