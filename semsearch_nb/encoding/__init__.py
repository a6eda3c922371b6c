"""From texts to vectors: prompts, engine, precision, a report of what was cut off, a cache on disk.

    vectors = encoding.encode_documents(model, texts)

`bi_encoder` looks a text's vector up among those that come with the installation (`shipped`) and in the
cache, and computes the others with an engine (`engines`, `openvino_engine`). `tokens` counts what a model
does not read. Taught in notebooks 01 and 03.
"""

from semsearch_nb.encoding.bi_encoder import encode, encode_documents, encode_queries
from semsearch_nb.encoding.engines import (
    PrecisionWarning,
    Runner,
    autocast,
    cpu_has_bfloat16,
    resolve,
    resolve_engine,
    resolve_precision,
    settle,
)
from semsearch_nb.encoding.tokens import Kind, Truncation, TruncationWarning, count_truncated, lengths, truncation

__all__ = [
    "Kind",
    "PrecisionWarning",
    "Runner",
    "Truncation",
    "TruncationWarning",
    "autocast",
    "count_truncated",
    "cpu_has_bfloat16",
    "encode",
    "encode_documents",
    "encode_queries",
    "lengths",
    "resolve",
    "resolve_engine",
    "resolve_precision",
    "settle",
    "truncation",
]
