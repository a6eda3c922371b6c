"""The search of an index: by words, by vectors, by both. Vectors lie beside the documents."""

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

from semsearch_nb import fusion
from semsearch_nb.elastic.connection import GONE, ElasticError, explained, may_pass
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts, as_vectors

VECTOR = "vector"
AT_A_TIME = 32  # queries a request
MAX_WINDOW = 10_000  # hits a search, and candidates a shard: the server's own limits
PAUSES_S = (0, 0.2, 0.5, 1, 2)  # before a search is asked, and asked again

Filter = Mapping[str, Any]


@dataclass
class ElasticIndex:
    """An index that was opened. `search` is that of the other indexes: cosines, and your ids.

    Hits hold the ids of the documents; where the index was made with `integer_ids`, rows of your corpus. Filters,
    words and thresholds can leave fewer than k, and then empty places end the row (`Hits.found`).
    """

    client: Elasticsearch
    name: str
    model: str
    num_candidates: int = 100
    oversample: float | None = None
    """These two are what `search` takes where it is told nothing else."""
    stored_in: str = field(init=False, default="")
    """The index behind `name`, which may be an alias."""
    fields: dict[str, str] = field(init=False, default_factory=dict)
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
        about = mapping.get("_meta", {}).get("semsearch")
        if about is None:
            raise ElasticError(f"the index {self.name!r} does not say of which model its vectors are; use create_index")
        if about["model"] != self.model:  # and everything stays as it was, so that the next search is told too
            raise ElasticError(
                f"the index {self.name!r} holds vectors of the model {about['model']!r} ({about['dimension']} "
                f"dimensions), not of {self.model!r}; open it with that model, or index the documents again"
            )
        self.dimension, self.similarity = int(about["dimension"]), str(about["similarity"])
        self.kind, self.integer_ids = str(about["kind"]), bool(about["integer_ids"])
        self.fields = {key: field["type"] for key, field in mapping["properties"].items() if key != VECTOR}
        self.stored_in = stored_in

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        num_candidates: int | None = None,
        filter: Filter | None = None,
        post_filter: Filter | None = None,
        similarity: float | None = None,
        oversample: float | None = None,
    ) -> Hits:
        """The k nearest vectors by cosine, approximately unless the index is flat. Shape `(n_queries, k)`.

        Args:
            queries: vectors, shape `(n, dimension)`.
            num_candidates: vectors a shard looks at, k to 10,000: more find more and take longer.
            filter: while searching, so that k hits remain if so many exist: `{"topic": "physics"}`,
                `{"topic": ["physics", "art"]}`, `{"year": {"gte": 1900, "lt": 2000}}`, or several.
            post_filter: after searching, so that fewer remain.
            similarity: only hits with at least this cosine.
            oversample: score `oversample · k` hits again with float32 vectors (`rescore_vector`).

        Raises:
            TypeError, ValueError: an argument that is not so; the message names it.
            ElasticError: the server does not answer, or the index is gone or of another model by now.
        """
        rows, k = self._vectors(queries), self._window(k)
        candidates = as_count(self.num_candidates if num_candidates is None else num_candidates, "num_candidates")
        if not k <= candidates <= MAX_WINDOW:
            raise ValueError(f"num_candidates must lie between k ({k}) and {MAX_WINDOW:,}, not {candidates}")
        knn: dict[str, Any] = {"field": VECTOR, "k": k, "num_candidates": candidates}
        knn["filter"] = self._filter(filter, "filter")
        if similarity is not None:
            if not -1 <= similarity <= 1:
                raise ValueError(f"similarity must be a cosine, -1 to 1, not {similarity!r}")
            knn["similarity"] = similarity
        oversample = self.oversample if oversample is None else oversample
        if oversample is not None:
            if self.kind in ("flat", "hnsw"):
                raise ValueError(f"oversample goes with codes; the index is {self.kind!r} and has float32 anyway")
            knn["rescore_vector"] = {"oversample": oversample}
        after: dict[str, Any] = {}
        if post_filter is not None:
            after["post_filter"] = {"bool": {"filter": self._filter(post_filter, "post_filter")}}
        hits = self._run([{"knn": {**knn, "query_vector": row.tolist()}, **after} for row in rows], k)
        # The server's scores are (1 + cosine) / 2, so that none is negative.
        return Hits(2 * hits.scores - 1, hits.indices, hits.holds)

    def search_text(self, texts: Sequence[str], k: int = 10, *, filter: Filter | None = None) -> Hits:
        """The k best documents by BM25, which compares words. Only documents that share one are found.

        All text fields are looked into; the best field of a document counts.
        """
        texts, k = as_texts(texts), self._window(k)
        for position, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"texts[{position}] is empty; a query needs words")
        fields = [name for name, kind in self.fields.items() if kind == "text"]
        if not fields:
            raise ValueError(f"the index {self.name!r} has no text field to look into")
        asked = {"filter": self._filter(filter, "filter")}
        words = [{"multi_match": {"query": text, "fields": fields}} for text in texts]
        return self._run([{"query": {"bool": {"must": must, **asked}}} for must in words], k)

    def search_hybrid(
        self,
        texts: Sequence[str],
        queries: Any,
        k: int = 10,
        *,
        pool: int = 100,
        fuse: fusion.Fuse = fusion.reciprocal_rank,
        weights: Sequence[float] | None = None,
        filter: Filter | None = None,
    ) -> Hits:
        """BM25 and nearest vectors, fused here: the server's own fusion needs a paid licence.

        Args:
            texts, queries: the same queries, as texts and as vectors.
            pool: hits of each that are fused.
            fuse, weights: as in `fusion`; the first weight is that of BM25.
        """
        pool = max(as_count(pool, "pool"), self._window(k))
        near = self.search(queries, pool, num_candidates=max(pool, self.num_candidates), filter=filter)
        return fuse([self.search_text(texts, pool, filter=filter), near], k, weights=weights)

    def documents(self, ids: Sequence[Any]) -> list[dict[str, Any]]:
        """The documents with these ids, each with its `id` and without its vector.

        Raises:
            KeyError: an id that the index does not hold.
        """
        wanted = [str(value) for value in ids if value is not None]
        if not wanted:
            return []
        with explained(self.name):
            answer = self.client.mget(index=self.name, ids=wanted, source_excludes=[VECTOR])
        if missing := [entry["_id"] for entry in answer["docs"] if not entry.get("found")]:
            raise KeyError(f"the index does not hold {len(missing)} of the ids, the first is {missing[0]!r}")
        return [{"id": self._id(entry["_id"]), **entry["_source"]} for entry in answer["docs"]]

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
        count = len(self)
        n_bytes = int(self._usage()["fields"].get(VECTOR, {}).get("knn_vectors_in_bytes", 0))
        return n_bytes - (4 * count * self.dimension if self.kind not in ("flat", "hnsw") else 0)

    def _usage(self) -> dict[str, Any]:
        """What the server's files hold. Its other statistics may be ten seconds old."""
        with explained(self.name), warnings.catch_warnings():
            warnings.simplefilter("ignore", GeneralAvailabilityWarning)  # it is called a preview
            usage = self.client.indices.disk_usage(index=self.name, run_expensive_tasks=True, flush=True)
        return dict(usage[self.stored_in])

    def _run(self, bodies: list[dict[str, Any]], k: int) -> Hits:
        """Send searches, some at a time, and gather their hits."""
        asked = [{"size": k, "_source": False, **body} for body in bodies]
        rows: list[list[dict[str, Any]]] = []
        for start in range(0, len(asked), AT_A_TIME):
            rows += [self._checked(answer) for answer in self._ask(asked[start : start + AT_A_TIME])]
        scores = np.full((len(rows), k), -np.inf, dtype=np.float32)
        ids = np.full((len(rows), k), -1, dtype=np.int64) if self.integer_ids else np.full((len(rows), k), None)
        for row, hits in enumerate(rows):
            scores[row, : len(hits)] = [hit["_score"] for hit in hits]
            ids[row, : len(hits)] = [self._id(hit["_id"]) for hit in hits]
        return Hits(scores, ids, "rows" if self.integer_ids else "ids")

    def _ask(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to searches. Where a node has just died, its shards' other copies are asked again."""
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

    def _id(self, text: str) -> Any:
        return int(text) if self.integer_ids else text

    def _vectors(self, queries: Any) -> FloatArray:
        rows = as_vectors(queries, "queries")
        if (width := rows.shape[1]) != self.dimension:
            wanted = f"the index {self.name!r} has {self.dimension}; encode them with {self.model!r}"
            raise ValueError(f"queries have {width} dimensions and {wanted}")
        for position, row in enumerate(rows):
            if flaw := vector_flaw(row, self.similarity):
                raise ValueError(f"queries[{position}] {flaw}")
        return rows

    def _window(self, k: int) -> int:
        if as_count(k, "k") > MAX_WINDOW:
            raise ValueError(f"k must be at most {MAX_WINDOW:,}, not {k}")
        return int(k)

    def _filter(self, filter: Filter | None, name: str) -> list[dict[str, Any]]:
        """Our short form of a filter in the server's own; nothing is left out by an empty one."""
        if filter is None:
            return []
        if not isinstance(filter, Mapping):
            raise TypeError(f"{name} must be a dictionary of fields and values, not {filter!r:.60}")
        clauses: list[dict[str, Any]] = []
        for key, value in filter.items():
            if key not in self.fields:
                raise ValueError(f"{name} names the field {key!r}, and the index has {', '.join(self.fields)}")
            if self.fields[key] == "text":
                raise ValueError(f"{name} names {key!r}, which is text; a filter needs keyword, numbers or dates")
            kind = "range" if isinstance(value, Mapping) else "terms" if isinstance(value, (list, tuple)) else "term"
            clauses.append({kind: {key: value}})
        return clauses


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
