"""One folder of LanceDB: a table whose every commit is a new version."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from semsearch_nb.datasets.collection import Document
from semsearch_nb.stores.base import Condition, Row, StoreError, VectorStore
from semsearch_nb.vectors import FloatArray

TABLE = "documents"
KEY = b"semsearch"
# What `set_unenforced_primary_key` notes of a column. Noted when the table is made, no table is ever without it.
PRIMARY = {"lance-schema:unenforced-primary-key:position": "1"}
UNINDEXED = 300  # rows that a search by words may read one by one; with more the index takes them in
COLUMN = {"text": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}


def library() -> Any:
    """The module `lancedb`, or an ImportError that says what brings it."""
    try:
        import lancedb
    except ImportError as error:
        raise ImportError(f'LanceStore needs lancedb ({error}): pip install "semsearch-nb[stores]"') from error
    return lancedb


class LanceStore(VectorStore):
    """A store in a folder. `table` is LanceDB's own: `table.create_index("vector", config=…)` adds an approximate
    index, with `distance_type="cosine"`; without one a search is exact.

    Processes write at once: a commit that finds another one in its way is tried again. `id` is declared as the
    table's key, without which two writes of one new id leave two rows.
    """

    table: Any

    def _open(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.path.is_file():
            raise StoreError(f"{self.path.name} is a file, and this store is a folder")
        # Every search sees the last commit, whoever made it.
        database = library().connect(str(self.path), read_consistency_interval=timedelta(0))
        try:
            if TABLE not in database.list_tables().tables:
                self._make(database, about)
            self.table = database.open_table(TABLE)
            held: Mapping[str, Any] = json.loads(self.table.schema.metadata[KEY])
            self._index()
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path.name} cannot be read as a store: {error}") from error
        return held

    def _make(self, database: Any, about: Mapping[str, Any]) -> None:
        key = pa.field("id", pa.string(), False, metadata=PRIMARY)
        texts = [pa.field(name, pa.string(), False) for name in ("title", "text", "full_text")]
        hashes = [pa.field(name, pa.string(), False) for name in ("text_hash", "row_hash")]
        fields = [pa.field(name, COLUMN[kind], False) for name, kind in self.fields.items()]
        vector = pa.field("vector", pa.list_(pa.float32(), self.encoder.dimension), False)
        schema = pa.schema([key, *texts, *hashes, *fields, vector], metadata={KEY: json.dumps(about).encode()})
        database.create_table(TABLE, schema=schema, exist_ok=True)

    def _index(self) -> None:
        """Make the indexes that are missing: both of a new table, or what a stop has left out."""
        from lancedb.index import FTS, BTree

        for column, config in (("full_text", FTS()), ("id", BTree())):
            if column not in self._indexed():
                try:
                    self.table.create_index(column, config=config)
                except RuntimeError:  # another process may have made it meanwhile
                    if column not in self._indexed():
                        raise

    def _indexed(self) -> dict[str, str]:
        """The columns that have an index, and its name."""
        return {column: index.name for index in self.table.list_indices() for column in index.columns}

    def ids(self) -> list[str]:
        return sorted(self.table.search().select(["id"]).to_arrow()["id"].to_pylist())

    def _held(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        columns = ["id", "text_hash", "row_hash"]
        rows = self._read(columns, ids).to_pylist()
        return {row["id"]: (row["text_hash"], row["row_hash"]) for row in rows}

    def _read(self, columns: Sequence[str], ids: Sequence[str] | None) -> pa.Table:
        query = self.table.search().select(list(columns))
        return (query if ids is None else query.where(_where([Condition("id", "in", list(ids))]))).to_arrow()

    def _all(self, ids: Sequence[str] | None = None) -> Iterator[tuple[Document, str, str, FloatArray | None]]:
        columns = ["id", "title", "text", "text_hash", "row_hash", "vector", *self.fields]
        for row in self._read(columns, ids).to_pylist() if ids != [] else []:
            document = self._document(row["id"], row["title"], row["text"], [row[name] for name in self.fields])
            yield document, row["text_hash"], row["row_hash"], np.array(row["vector"], dtype=np.float32)

    def _commit(self, rows: Sequence[Row], delete: Sequence[str]) -> int:
        gone = _where([Condition("id", "in", list(delete))]) if delete else None
        if not rows:
            return int(self.table.delete(gone).num_deleted_rows)
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        if gone is not None:  # in the same commit
            merge = merge.when_not_matched_by_source_delete(gone)
        deleted = int(merge.execute(self._as_arrow(rows)).num_deleted_rows)
        self._index_words()
        return deleted

    def _index_words(self) -> None:
        """LanceDB indexes new rows when it is asked to; until then a search by words reads each of them."""
        if self.table.index_stats(self._indexed()["full_text"]).num_unindexed_rows > UNINDEXED:
            with suppress(RuntimeError):  # another process's commit came between; the next write tries again
                self.table.optimize()

    def _as_arrow(self, rows: Sequence[Row]) -> pa.Table:
        documents = [row.document for row in rows]
        columns: dict[str, Any] = {name: [getattr(d, name) for d in documents] for name in ("id", "title", "text")}
        columns |= {"full_text": [d.full_text for d in documents]}
        columns |= {name: [getattr(row, name) for row in rows] for name in ("text_hash", "row_hash")}
        columns |= {name: [row.values[place] for row in rows] for place, name in enumerate(self.fields)}
        flat = pa.array(np.concatenate([row.vector for row in rows]), pa.float32())
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, self.encoder.dimension)
        return pa.table(columns, schema=self.table.schema)

    def _search(self, query: FloatArray, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        search = self.table.search(query, vector_column_name="vector").distance_type("cosine")
        return [(key, 1 - distance) for key, distance in _best(search, k, conditions, "_distance")]

    def _search_text(self, text: str, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        from lancedb import query

        match: Any = query.MatchQuery  # its defaults are hidden from type checkers
        return _best(self.table.search(match(text, "full_text"), query_type="fts"), k, conditions, "_score")

    def compact(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that no other process may use the store; the caller knows
            self.table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)

    def backup(self, target: str | Path) -> Path:
        copy = LanceStore(self._free(target), self.encoder, self.fields)
        copy.table.add(self.table.search().select(self.table.schema.names).to_arrow())  # one version, read as a whole
        copy.close()
        return copy.path

    def files(self) -> list[Path]:
        return [file for file in self.path.rglob("*") if file.is_file()]

    def close(self) -> None:
        del self.table


def _best(search: Any, k: int, conditions: Sequence[Condition], score: str) -> list[tuple[str, float]]:
    if conditions:
        search = search.where(_where(conditions), prefilter=True)
    found = search.limit(k).select(["id", score]).to_arrow()
    return list(zip(found["id"].to_pylist(), found[score].to_pylist(), strict=True))


def _where(conditions: Sequence[Condition]) -> Any:
    """An expression of LanceDB that holds the values as values, not as text of a command."""
    from lancedb import expr

    col: Any = expr.col
    compare = {"in": lambda c: col(c.field).isin(c.value), ">=": lambda c: col(c.field) >= c.value}
    compare |= {"<=": lambda c: col(c.field) <= c.value}
    return reduce(and_, (compare[condition.operator](condition) for condition in conditions))
