"""Models by role: a notebook asks for what a model is for, never for a file.

    model = models.load("symmetric")

`roles` says which model a role has; `packaged_…` read weights from installed packages, each with a pinned
checksum; `fingerprints` says what a model is, for the cache's keys.
"""

from semsearch_nb.models.fingerprints import Identity, identity
from semsearch_nb.models.packaged_minilm import PackagedModelError
from semsearch_nb.models.roles import (
    HUB,
    HUB_RERANKER,
    HUB_SPARSE,
    PACKAGED,
    ROLES,
    Source,
    device,
    folder,
    load,
    load_reranker,
    load_sparse,
)

__all__ = [
    "HUB",
    "HUB_RERANKER",
    "HUB_SPARSE",
    "PACKAGED",
    "ROLES",
    "Identity",
    "PackagedModelError",
    "Source",
    "device",
    "folder",
    "identity",
    "load",
    "load_reranker",
    "load_sparse",
]
