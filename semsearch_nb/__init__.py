"""Semantic search, measured: the package behind the notebooks of semsearch-nb."""

from semsearch_nb.settings import configure

__version__ = "0.1.0"
__all__ = ["__version__", "configure"]
