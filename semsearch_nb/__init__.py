"""Semantic search, measured: the package behind the notebooks of semsearch-nb.

foundation   settings, storage, cache, download, threads
datasets     labelled collections                models     a model for each role
encoding     texts → vectors                     vectors    what every search takes and returns
exact        exact search                        indexes    approximate nearest neighbours
lexical      BM25                                sparse     words that a model has chosen
fusion       several rankings made one           stores     SQLite and LanceDB
retrieval    one way to ask all of them          reranking  the second stage
elastic      Elasticsearch                       evaluation, thresholds, benchmark   measuring
tuning       training on pairs of one's own      chunks     one's own files as passages
teaching     plots, exercises, search box: what only notebooks need
"""

from importlib import import_module
from typing import Any

from semsearch_nb.foundation.settings import configure

__version__ = "0.1.0"
__all__ = ["__version__", "configure"]

# `from semsearch_nb import plots`: what a notebook imports is found without its room's name.
_ROOMS = {
    "teaching": ("environment", "exercises", "highlighting", "plots", "preflight", "search_box"),
    "foundation": ("cache", "download", "settings", "storage", "threads"),
    "encoding": ("openvino_engine", "shipped"),
    "models": ("fingerprints", "hub_cache", "packaged_e5", "packaged_minilm", "packaged_reranker", "packaged_sparse"),
}
_ROOM_OF = {module: room for room, modules in _ROOMS.items() for module in modules}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'semsearch_nb' has no attribute {name!r}")
    return import_module(f"semsearch_nb.{_ROOM_OF[name]}.{name}")
