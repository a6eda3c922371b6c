"""An index whose vectors are those of one model, and its hits. Vectors lie beside the documents."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.exceptions import GeneralAvailabilityWarning

from semsearch_nb.elastic.connection import GONE, ElasticError, explained, may_pass
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_vectors

AT_A_TIME = 32  # requests sent together
PAUSES_S = (0, 0.2, 0.5, 1, 2)  # before a search is asked, and asked again
FULL = ("flat", "hnsw")  # kinds of float32 vectors; the others have codes beside them
KINDS = (*FULL, *(f"{code}_{kind}" for code in ("int8", "int4", "bbq") for kind in FULL))

Request = Mapping[str, Any]


@dataclass
class ElasticIndex:
    """An index that was opened with `open_index`. `search` is that of the other indexes: cosines, and your ids.

    Filters, words and thresholds can leave fewer than k hits, and then empty places end the row (`Hits.found`).
    """

    client: Elasticsearch
    name: str
    model: str
    integer_ids: bool = False
    knn: Request = field(default_factory=dict)
    """What every search adds to its `knn`, in the words of the server."""
    num_candidates: int = 100
    stored_in: str = field(init=False, default="")
    """The index behind `name`, which may be an alias."""
    effort_name = "num_candidates"
    build_seconds = math.nan

    def read(self) -> None:
        """Read again what the server says about the index, and compare the model; errors as of `open_index`."""
        with explained(self.name):
            found = self.client.indices.get(index=self.name)
        if len(found) != 1:
            raise ElasticError(f"{self.name!r} stands for {len(found)} indexes ({', '.join(found)}); name one")
        ((stored_in, entry),) = found.items()
        mapping = entry["mappings"]
        fields = mapping.get("properties", {})
        vectors = {key: about for key, about in fields.items() if about.get("type") == "dense_vector"}
        if len(vectors) != 1 or "dims" not in (about := next(iter(vectors.values()))):
            raise ElasticError(f"the index {self.name!r} must have one field of the type dense_vector, with its dims")
        if about["similarity"] not in ("dot_product", "cosine"):
            raise ElasticError(f"the index {self.name!r} compares by {about['similarity']}, and hits are cosines")
        model = mapping.get("_meta", {}).get("model")
        if model is None:
            raise ElasticError(
                f"the index {self.name!r} does not say of which model its vectors are; put "
                f'"_meta": {{"model": {self.model!r}}} into its mapping'
            )
        if model != self.model:  # and everything stays as it was, so that the next search is told too
            raise ElasticError(
                f"the index {self.name!r} holds vectors of the model {model!r} ({about['dims']} dimensions), not of "
                f"{self.model!r}; open it with that model, or index the documents again"
            )
        (self.vector,) = vectors
        self.dimension, self.similarity = int(about["dims"]), str(about["similarity"])
        self.kind = str(about.get("index_options", {}).get("type", "hnsw"))
        self.stored_in = stored_in

    def search(self, queries: Any, k: int = 10, **knn: Any) -> Hits:
        """The k nearest vectors by cosine, approximately unless the index is flat. Shape `(n_queries, k)`.

        Args:
            queries: vectors, shape `(n, dimension)`.
            knn: goes into the request as it is: `num_candidates`, `filter`, `similarity`, `rescore_vector`.

        Raises:
            TypeError, ValueError: queries or k that are not so; the message names them.
            ElasticError: the server does not answer or refuses, or the index is gone or of another model by now.
        """
        rows, k = self._vectors(queries), as_count(k, "k")
        shared = {"field": self.vector, "k": k, "num_candidates": max(k, self.num_candidates), **self.knn, **knn}
        hits = self.ask([{"knn": {**shared, "query_vector": row.tolist()}} for row in rows], k)
        # The server's scores are (1 + cosine) / 2, so that none is negative.
        return Hits(2 * hits.scores - 1, hits.indices, hits.holds)

    def ask(self, requests: Sequence[Request], k: int = 10) -> Hits:
        """The k best hits of any requests, one a query, as `client.search` takes them: by words, filtered, …

        Scores are those of the server. Some requests are sent together. Where a node has just died, the other copies
        of its shards are asked again, and a shard that does not answer is an error, never a shorter list of hits.
        """
        k = as_count(k, "k")
        bodies = [{"_source": False, **request, "size": k} for request in requests]
        rows: list[list[dict[str, Any]]] = []
        for start in range(0, len(bodies), AT_A_TIME):
            rows += [self._checked(answer) for answer in self._answers(bodies[start : start + AT_A_TIME])]
        read: Any = int if self.integer_ids else str
        found = [([hit["_score"] for hit in hits], [read(hit["_id"]) for hit in hits]) for hits in rows]
        return Hits.of_rows(found, k, "rows" if self.integer_ids else "ids", kind=np.int64 if read is int else object)

    def set_effort(self, value: int) -> None:
        """Trade speed for recall: the `num_candidates` of searches from now on."""
        self.num_candidates = as_count(value, "num_candidates")

    def __len__(self) -> int:
        """Documents that a search can find; what was added since the last refresh is not among them."""
        with explained(self.name):
            return int(self.client.count(index=self.name)["count"])

    def disk_bytes(self) -> int:
        """Bytes on disk, of one copy: documents, words, vectors, graph."""
        return int(self._usage()["store_size_in_bytes"])

    def memory_bytes(self) -> int:
        """Bytes of vectors and graph that a search reads, as the server's files have them; see `vector_bytes`."""
        n_bytes = int(self._usage()["fields"].get(self.vector, {}).get("knn_vectors_in_bytes", 0))
        return n_bytes - (0 if self.kind in FULL else 4 * len(self) * self.dimension)

    def _usage(self) -> dict[str, Any]:
        """What the server's files hold. Its other statistics may be ten seconds old."""
        with explained(self.name), warnings.catch_warnings():
            warnings.simplefilter("ignore", GeneralAvailabilityWarning)  # it is called a preview
            usage = self.client.indices.disk_usage(index=self.name, run_expensive_tasks=True, flush=True)
        return dict(usage[self.stored_in])

    def _answers(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # A shard that does not answer is an error: an answer without its documents would look like any other.
        head = {"index": self.name, "allow_partial_search_results": False}
        answers: list[dict[str, Any]] = [{"status": 503}] * len(bodies)
        for pause in PAUSES_S:
            open_ones = [place for place, answer in enumerate(answers) if may_pass(answer["status"])]
            if not open_ones:
                break
            time.sleep(pause)
            lines = [line for place in open_ones for line in (head, bodies[place])]
            with explained(self.name):
                found = self.client.msearch(searches=lines)["responses"]
            for place, answer in zip(open_ones, found, strict=True):
                answers[place] = answer
        return answers

    def _checked(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The hits of one search, if it went well and the index is still the one that was opened."""
        if error := answer.get("error"):
            reason = "; ".join({cause["reason"]: None for cause in error.get("root_cause", [])}) or error["reason"]
            if error["type"] == "index_not_found_exception":
                raise ElasticError(GONE.format(self.name))
            raise ElasticError(f"the server could not search {self.name!r}: {reason} ({answer['status']})")
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        if hits and hits[0]["_index"] != self.stored_in:
            self.read()  # the alias has moved; to an index of another model, this raises
        return hits

    def _vectors(self, queries: Any) -> FloatArray:
        rows = as_vectors(queries, "queries")
        if (width := rows.shape[1]) != self.dimension:
            wanted = f"the index {self.name!r} has {self.dimension}; encode them with {self.model!r}"
            raise ValueError(f"queries have {width} dimensions and {wanted}")
        for position, row in enumerate(rows):
            if flaw := vector_flaw(row, self.similarity):
                raise ValueError(f"queries[{position}] {flaw}")
        return rows


def open_index(
    client: Elasticsearch, name: str, *, model: str, integer_ids: bool = False, knn: Request | None = None
) -> ElasticIndex:
    """The index or alias `name`, whose vectors must be those of `model`: its mapping says so in `_meta`.

    Args:
        integer_ids: ids are the row numbers of your corpus and not strings, so that hits hold rows, as those of
            `exact.search` do. Other whole numbers, such as those of PubMed, are read as strings.
        knn: what every search adds to its `knn`, such as `{"rescore_vector": {"oversample": 3}}`.

    Raises:
        ElasticError: there is none, it names another model or none, or it has no vectors to compare by cosine.
    """
    index = ElasticIndex(client, name, model, integer_ids, knn or {})
    index.read()
    return index


def vector_bytes(n: int, dimension: int, kind: str, *, m: int = 16) -> int:
    """Bytes of memory that `n` vectors want so that a search need not wait for the disk, after Elastic's manual.

    The codes with their corrections, or float32 where there are none, and 4·m bytes for the links of a graph.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    coded = {"int8": dimension + 4, "int4": dimension / 2 + 4, "bbq": dimension / 8 + 14}
    each = coded.get(kind.split("_")[0], 4 * dimension)
    return int(n * (each + (4 * m if "hnsw" in kind else 0)))


def vector_flaw(vector: FloatArray, similarity: str) -> str | None:
    """Why an index with this similarity cannot take a vector, or None. Made to stand after its name."""
    if not np.isfinite(vector).all():
        return "has NaN or infinite values; encode its text again"
    square = float(vector @ vector)
    if square == 0:
        return "is a vector of zeros, which has no direction; leave it out"
    if similarity == "dot_product" and abs(square - 1) > 1e-4:
        return f"has the length {math.sqrt(square):.3g}, and dot_product needs 1; normalise it, or take 'cosine'"
    return None
