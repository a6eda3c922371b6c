"""Approximate nearest neighbours: one protocol over Annoy, FAISS, hnswlib and RaBitQ. Taught in notebook 04.

    index = indexes.Hnswlib().build(vectors, ids)
    hits = index.search(queries, k=10)      # cosines, and your ids

Every index takes float32 vectors, keeps unit vectors, and answers with cosines; see `Index`. The library
behind one is imported when one is made; `pip install "semsearch-nb[ann]"` brings them all.
"""

from pathlib import Path
from typing import Any

from semsearch_nb.foundation import storage
from semsearch_nb.indexes.annoy_index import Annoy
from semsearch_nb.indexes.base import Index
from semsearch_nb.indexes.exact_index import Exact
from semsearch_nb.indexes.faiss_indexes import FaissBinary, FaissFlat, FaissHNSW, FaissIVF
from semsearch_nb.indexes.hnswlib_index import Hnswlib
from semsearch_nb.indexes.rabitq_index import RaBitQ
from semsearch_nb.indexes.rescored import Rescored

__all__ = [
    "Annoy",
    "Exact",
    "FaissBinary",
    "FaissFlat",
    "FaissHNSW",
    "FaissIVF",
    "Hnswlib",
    "Index",
    "IndexFileError",
    "RaBitQ",
    "Rescored",
    "load",
]

IndexFileError = storage.StorageError


def load(folder: str | Path, **options: Any) -> Index:
    """The index that was saved in `folder`, of whatever class; options and errors as in `Index.load`."""
    index: Index = Index.load(folder, **options)
    return index
