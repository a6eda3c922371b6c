"""Indexes made with every setting named, opened for one model, and swapped behind an alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elasticsearch import Elasticsearch

from semsearch_nb.elastic.connection import ElasticError, explained
from semsearch_nb.elastic.searching import VECTOR, ElasticIndex
from semsearch_nb.vectors import as_count

KINDS = ("flat", "int8_flat", "int4_flat", "bbq_flat", "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw")


def create_index(
    client: Elasticsearch,
    name: str,
    fields: Mapping[str, str],
    *,
    dimension: int,
    model: str,
    kind: str = "hnsw",
    similarity: str = "dot_product",
    m: int = 16,
    ef_construction: int = 100,
    shards: int = 1,
    replicas: int = 0,
    integer_ids: bool = False,
) -> ElasticIndex:
    """Make an empty index. Nothing is left to the server's defaults, which change between its versions.

    Args:
        fields: the server's type of each field beside `id` and `vector`: `text` is searched by its words, `keyword`,
            `boolean`, `integer`, `float` and `date` are what filters look at. Other fields are refused.
        dimension: of the vectors, 1 to 4,096; `bbq` needs 64 or more, `int4` an even number.
        model: name of the model that makes the vectors, compared at every opening.
        kind: `flat` (exact), `hnsw` (a graph), or either with codes of `int8_`, `int4_` or one bit (`bbq_`), whose
            cosines are estimates unless a search re-scores them.
        similarity: `dot_product` takes unit vectors only and is the faster; `cosine` takes any but zeros.
        m, ef_construction: of a graph, links a vector and candidates while it is built.
        integer_ids: ids are the row numbers of your corpus and not strings, so that hits hold rows, as those of
            `exact.search` do. Other whole numbers, such as those of PubMed, go in as strings.

    Raises:
        TypeError, ValueError: an argument that is not so; the message names it.
        ElasticError: there is such an index, or the server refuses; the message has its words.
    """
    if taken := {"id", VECTOR} & set(fields):
        raise ValueError(f"fields must not name {taken.pop()!r}: every document has one anyway")
    if similarity not in ("dot_product", "cosine"):
        raise ValueError(f"similarity must be one of dot_product, cosine, not {similarity!r}: hits are cosines")
    if not isinstance(model, str) or not model:
        raise ValueError(f"model must be the name of the model that makes the vectors, not {model!r}")
    _check_kind(kind)
    options: dict[str, Any] = {"type": kind}
    if "hnsw" in kind:
        options |= {"m": as_count(m, "m"), "ef_construction": as_count(ef_construction, "ef_construction")}
    if kind not in ("flat", "hnsw"):
        options["rescore_vector"] = {"oversample": 0}  # a search says itself whether it re-scores
    vector = {"type": "dense_vector", "dims": as_count(dimension, "dimension"), "index": True, "similarity": similarity}
    analyzer = {"text": {"analyzer": "standard"}}
    properties = {key: {"type": of, **analyzer.get(of, {})} for key, of in fields.items()}
    about = {"model": model, "dimension": dimension, "kind": kind, "similarity": similarity, "integer_ids": integer_ids}
    mapping = {
        "dynamic": "strict",
        "_meta": {"semsearch": about},
        "properties": {**properties, VECTOR: {**vector, "index_options": options}},
    }
    settings = {"number_of_shards": as_count(shards, "shards"), "number_of_replicas": replicas}
    with explained(name):
        if client.indices.exists(index=name):
            raise ElasticError(f"there is an index {name!r} already; open_index opens it, or delete it")
        client.indices.create(index=name, mappings=mapping, settings=settings)
    return open_index(client, name, model=model)


def open_index(client: Elasticsearch, name: str, *, model: str) -> ElasticIndex:
    """The index or alias `name`, whose vectors must be those of `model`.

    Raises:
        ElasticError: there is none, it was made for another model, or by other means than `create_index`.
    """
    index = ElasticIndex(client, name, model)
    index.read()
    return index


def swap_alias(client: Elasticsearch, alias: str, name: str, *, drop_old: bool = False) -> list[str]:
    """Let `alias` stand for the index `name` alone, in one step, so that no search finds nothing.

    With `drop_old` the indexes that it stood for are deleted in the same step. Returns their names.

    Raises:
        ElasticError: no index `name`, an empty one, or an index that is itself called `alias`.
    """
    with explained(name):
        client.indices.refresh(index=name)
        if not client.count(index=name)["count"]:
            raise ElasticError(f"the index {name!r} is empty: searches of {alias!r} would find nothing; index first")
    with explained(alias):
        if client.indices.exists(index=alias) and not client.indices.exists_alias(name=alias):
            raise ElasticError(f"alias {alias!r} is the name of an index; choose another, an index cannot share it")
        held = client.indices.get_alias(name=alias).body if client.indices.exists_alias(name=alias) else {}
        old = sorted(set(held) - {name})
        leave = [
            {"remove_index": {"index": other}} if drop_old else {"remove": {"index": other, "alias": alias}}
            for other in old
        ]
        client.indices.update_aliases(actions=[{"add": {"index": name, "alias": alias}}, *leave])
    return old


def vector_bytes(n: int, dimension: int, kind: str, *, m: int = 16) -> int:
    """Bytes of memory that `n` vectors want so that a search need not wait for the disk, after Elastic's manual.

    The codes with their corrections, or float32 where there are none, and 4·m bytes for the links of a graph.
    """
    _check_kind(kind)
    coded = {"int8": dimension + 4, "int4": dimension / 2 + 4, "bbq": dimension / 8 + 14}
    each = coded.get(kind.split("_")[0], 4 * dimension)
    return int(n * (each + (4 * m if "hnsw" in kind else 0)))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
