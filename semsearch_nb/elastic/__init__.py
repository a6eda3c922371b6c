"""Elasticsearch: documents beside their vectors, on one machine or many. Taught in notebook 06.

    client = elastic.connect()                      # or elastic.local_server().connect()
    client.indices.create(index="passages", mappings={"_meta": {"model": "all-MiniLM-L6-v2"}, "properties": {…}})
    index = elastic.open_index(client, "passages", model="all-MiniLM-L6-v2")
    print(elastic.index_documents(index, ({"id": "p1", "text": "…", "year": 1905, "vector": vector}, …)))
    hits = index.search(queries, k=10, filter={"range": {"year": {"gte": 1900}}})

The client is the official one, and requests are in its own words. Here is what it lacks: a server of one's own, a
bulk that can be resumed and says what became of each document, and hits with cosines. It needs the extra
`elastic`: `pip install "semsearch-nb[elastic]"`.
"""

from __future__ import annotations

from semsearch_nb.foundation.download import DownloadError

try:
    from semsearch_nb.elastic.bulk import IndexingError, Rejected, Report, index_documents
    from semsearch_nb.elastic.connection import DOCKER, ElasticError, NoAnswerError, connect
    from semsearch_nb.elastic.index import KINDS, ElasticIndex, open_index, vector_bytes
    from semsearch_nb.elastic.local_server import LocalServer, local_server
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] not in ("elasticsearch", "elastic_transport", "orjson"):
        raise
    message = f'semsearch_nb.elastic needs {error.name}; install it with: pip install "semsearch-nb[elastic]"'
    raise ModuleNotFoundError(message, name=error.name) from error

__all__ = [
    "DOCKER",
    "KINDS",
    "DownloadError",
    "ElasticError",
    "ElasticIndex",
    "IndexingError",
    "LocalServer",
    "NoAnswerError",
    "Rejected",
    "Report",
    "connect",
    "index_documents",
    "local_server",
    "open_index",
    "vector_bytes",
]
