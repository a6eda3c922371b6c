"""Embedded stores: documents that change, beside their vectors, in files and without a server. Taught in notebook 13.

    encoder = stores.encoder(models.load("symmetric"))
    store = stores.SqliteStore("library.db", encoder, {"topic": "text", "year": "integer"})
    print(store.write(documents, delete=["an-old-id"]))     # one commit; only changed texts are encoded
    hits = store.search(queries, k=10, where={"topic": ["Arts", "History"], "year": {"gte": 1900}})

`LanceStore` does the same in a folder of LanceDB. Both are thin: `store.table` and `store.connection` are the
libraries' own clients, and what is not here is done with them. They need the extra `stores`:
`pip install "semsearch-nb[stores]"`.

    base → lance, sqlite → faults
"""

from semsearch_nb.stores.base import (
    FIELD_TYPES,
    Changes,
    Encoder,
    StoreError,
    VectorStore,
    current,
    encoder,
    looked_up,
    set_current,
)
from semsearch_nb.stores.faults import killed_after, written_together
from semsearch_nb.stores.lance import LanceStore
from semsearch_nb.stores.sqlite import SqliteStore

__all__ = [
    "FIELD_TYPES",
    "Changes",
    "Encoder",
    "LanceStore",
    "SqliteStore",
    "StoreError",
    "VectorStore",
    "current",
    "encoder",
    "killed_after",
    "looked_up",
    "set_current",
    "written_together",
]
