"""Make the vectors that come with the installation: `python tools/vectors.py` writes vectors/semsearch_nb_vectors.

Run it when a collection or a model changes, and only for a release: its files are large. `python tools/vectors.py
minilm e5-query` makes these tables and leaves the others. On two cores with AVX2 all take about half an hour, most of
it for WordNet and for the encyclopedia in e5. It prints the manifest's checksum, which belongs into
`semsearch_nb/encoding/shipped.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semsearch_nb import datasets, encoding, models
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


def make(name: str, folder: Path) -> dict[str, Any]:
    """Write the files of a table; what the manifest is to say of it."""
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
    columns = {
        "hashes": (hashes := shipped.hashes(texts)),
        "codes": codes,
        "scales": scales,
        "tokens": encoding.lengths(model, texts, kind).clip(max=2**16 - 1).astype(np.uint16),
    }
    order, files = np.argsort(hashes), {}
    for column, values in columns.items():
        file = folder / f"{name}-{column}.npy"
        np.save(file, values[order], allow_pickle=False)
        files[file.name] = checksum(file)
    size = sum((folder / file).stat().st_size for file in files) / 1e6
    print(f"{name}: {len(texts):,} texts, {size:.1f} MB, cosine to float32 {cosines.min():.5f} to {cosines.max():.5f}")
    identity = models.identity(model)
    of_model = {"model": identity.name, "revision": identity.revision, "limit": int(model.max_seq_length)}
    return of_model | {"prompt": tokens.prompt(model, kind), "files": files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; without them all of these")
    names = parser.parse_args().tables or TABLES
    path = FOLDER / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    manifest |= {name: make(name, FOLDER) for name in names}
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(f'MANIFEST_SHA256 = "{checksum(path)}"')


if __name__ == "__main__":
    main()
