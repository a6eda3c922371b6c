"""Make the vectors that come with the installation: `python tools/vectors.py` writes vectors/semsearch_nb_vectors.

Run it when a collection or a model changes, and only for a release: its files are large. On two cores with
AVX2 it takes about half an hour, most of it for WordNet. It prints the manifest's checksum, which belongs into
`semsearch_nb/encoding/shipped.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from semsearch_nb import datasets, encoding, models
from semsearch_nb.datasets import encyclopedia
from semsearch_nb.encoding import shipped, tokens
from semsearch_nb.foundation.storage import checksum

ROOT = Path(__file__).resolve().parents[1]
SPLITS = {
    "passages": ("test", "multilingual"),
    "publications": ("test",),
    "questions": ("test", "multilingual"),
    "wordnet": ("test", "reverse"),
    "encyclopedia": ("test",),
}
# Role and kind, and the collections that are encoded for it: the one that takes minutes. MiniLM has no prompts,
# so one table serves both kinds.
TABLES = (("symmetric", "document", ("wordnet",), ("documents", "queries")),)


def texts_of(name: str, sides: Iterable[str]) -> list[str]:
    """The texts of a collection over its splits: documents, queries or both."""
    found: list[str] = []
    for split in SPLITS[name]:
        collection = datasets.load(name, split=split)
        if "documents" in sides:
            found += collection.document_texts
        if "queries" in sides:
            found += collection.query_texts
            # A later paper asks with its title and its summary.
            found += [f"{q.text}. {q.metadata['summary']}" for q in collection.queries if "summary" in q.metadata]
    if name == "encyclopedia" and "queries" in sides:
        found += [query.text for query in encyclopedia.unanswerable()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "vectors" / shipped.PACKAGE)
    folder = parser.parse_args().folder
    tables: dict[str, dict[str, list[str]]] = {}
    for role, kind, names, sides in TABLES:
        model = models.load(role)
        key = f"{models.identity(model).name}|{tokens.prompt(model, kind)}"
        texts = [text for name in names for text in texts_of(name, sides)]
        tables.setdefault(key, {"role": role, "kind": kind, "texts": []})["texts"] += texts
    manifest = {}
    for number, (key, about) in enumerate(tables.items(), 1):
        model, kind = models.load(about["role"]), about["kind"]
        texts = list(dict.fromkeys(about["texts"]))
        vectors = encoding.encode(model, texts, kind, precision="float32")
        codes, scales = shipped.quantise(vectors)
        order = np.argsort(hashes := shipped.hashes(texts))
        columns = {
            "hashes": hashes,
            "codes": codes,
            "scales": scales,
            "tokens": encoding.lengths(model, texts, kind).clip(max=2**16 - 1).astype(np.uint16),
        }
        files = {}
        for name, column in columns.items():
            file = folder / f"table-{number}-{name}.npy"
            np.save(file, column[order], allow_pickle=False)
            files[file.name] = checksum(file)
        identity = models.identity(model)
        manifest[key] = {"revision": identity.revision, "limit": int(model.max_seq_length), "files": files}
        cosines = (vectors * codes * scales[:, None]).sum(axis=1)
        size = sum((folder / file).stat().st_size for file in files) / 1e6
        print(
            f"{key}: {len(texts):,} texts, {size:.1f} MB, cosine to float32 {cosines.min():.5f} to {cosines.max():.5f}"
        )
    path = folder / "manifest.json"
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(f'MANIFEST_SHA256 = "{checksum(path)}"')


if __name__ == "__main__":
    main()
