"""One SQLite file: documents in a table, vectors in one of sqlite-vec, words in one of FTS5."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from semsearch_nb.datasets.collection import Document
from semsearch_nb.stores.base import Condition, Row, StoreError, VectorStore
from semsearch_nb.vectors import FloatArray

COLUMN = {"text": "TEXT", "integer": "INTEGER", "float": "REAL", "boolean": "INTEGER"}
MOST = 4_096  # hits of one search of sqlite-vec
LEAST_SQLITE = (3, 43, 0)  # FTS5 that can delete without holding the texts
WAIT = 30.0  # seconds for another process's commit


@lru_cache(maxsize=1)
def library() -> Any:
    """A `sqlite3` that can load extensions: `pysqlite3`, else Python's own, which many builds cut down."""
    for name in ("pysqlite3", "sqlite3"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module.Connection, "enable_load_extension") and module.sqlite_version_info >= LEAST_SQLITE:
            return module
    raise ImportError(
        "this Python's sqlite3 cannot load extensions, or is older than 3.43: pip install pysqlite3, "
        'or pip install "semsearch-nb[stores]" for all that stores need'
    )


def connect(path: str | Path) -> Any:
    """A connection of SQLite with sqlite-vec loaded, in which `begin` and `commit` are yours to say."""
    try:
        import sqlite_vec
    except ImportError as error:
        raise ImportError(f'SqliteStore needs sqlite_vec ({error}): pip install "semsearch-nb[stores]"') from error
    connection = library().connect(str(path), timeout=WAIT, isolation_level=None)
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    connection.enable_load_extension(False)
    return connection


class SqliteStore(VectorStore):
    """A store in one file, searched exactly. `connection` is SQLite's own, with the functions of sqlite-vec.

    A search computes the distance to every vector that passes the filter, so nothing is missed, and its time
    grows with their number. One process writes at a time; others wait, and readers never do.
    """

    connection: Any

    def _open(self, about: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.path.is_dir():
            raise StoreError(f"{self.path.name} is a folder, and this store is a file")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = connect(self.path)
        try:
            with self._alone_if_new():
                self.connection.execute("pragma journal_mode = wal")
                if not self._made():  # which waits for nobody
                    with self._transaction():
                        if not self._made():  # by another process meanwhile
                            self._make(about)
            (text,) = self.connection.execute("select value from about").fetchone()
            held: Mapping[str, Any] = json.loads(text)
        except (library().DatabaseError, ValueError) as error:
            self.connection.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{self.path.name} cannot be read as a store: {error}") from error
        return held

    def _alone_if_new(self) -> AbstractContextManager[Any]:
        """A lock while the file is empty: SQLite waits for nobody when it changes the journal of a new one."""
        if self.path.exists() and self.path.stat().st_size:
            return nullcontext()
        return FileLock(self.path.with_name(f".{self.path.name}.lock"))

    def _made(self) -> bool:
        names = {name for (name,) in self.connection.execute("select name from sqlite_schema")}
        if names and "about" not in names:
            raise StoreError(f"{self.path.name} is a database of something else; name another file")
        return bool(names)

    def _make(self, about: Mapping[str, Any]) -> None:
        fields = "".join(f', "{name}" {COLUMN[kind]} not null' for name, kind in self.fields.items())
        for command in (
            "create table about (value text not null)",
            "create table documents (rowid integer primary key, id text not null unique, title text not null, "
            f"text text not null, text_hash text not null, row_hash text not null{fields})",
            f"create virtual table vectors using vec0(vector float[{self.encoder.dimension}] distance_metric=cosine)",
            "create virtual table words using fts5(full_text, content='', contentless_delete=1, "
            "tokenize='porter unicode61 remove_diacritics 2')",
            *(f'create index "by_{name}" on documents ("{name}")' for name in self.fields),
        ):
            self.connection.execute(command)
        self.connection.execute("insert into about values (?)", [json.dumps(about)])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One commit of everything within; another process's commit is waited for."""
        self.connection.execute("begin immediate")
        try:
            yield
            self.connection.execute("commit")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            raise

    def ids(self) -> list[str]:
        return [key for (key,) in self.connection.execute("select id from documents order by id")]

    def _held(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        command = f"select id, text_hash, row_hash from documents where id in {AMONG}"
        return {key: (text, row) for key, text, row in self.connection.execute(command, [json.dumps(list(ids))])}

    def _all(self, ids: Sequence[str] | None = None) -> Iterator[tuple[Document, str, str, FloatArray | None]]:
        fields = "".join(f', d."{name}"' for name in self.fields)
        some, values = ("", []) if ids is None else (f" where d.id in {AMONG}", [json.dumps(list(ids))])
        command = (
            f"select d.id, d.title, d.text, d.text_hash, d.row_hash, v.vector{fields} "
            f"from documents d left join vectors v on v.rowid = d.rowid{some}"
        )
        for key, title, text, text_hash, row_hash, blob, *rest in self.connection.execute(command, values):
            vector = None if blob is None else np.frombuffer(blob, dtype=np.float32)
            yield self._document(key, title, text, rest), text_hash, row_hash, vector

    def _commit(self, rows: Sequence[Row], delete: Sequence[str]) -> int:
        written, run = [row.document.id for row in rows], self.connection.execute
        with self._transaction():
            count = "select count(*) from documents where id in " + AMONG
            (deleted,) = run(count, [json.dumps(list(delete))]).fetchone()
            place = "select rowid from documents where id in " + AMONG
            places = [rowid for (rowid,) in run(place, [json.dumps([*written, *delete])])]
            for table in ("vectors", "words", "documents"):
                run(f"delete from {table} where rowid in (select value from json_each(?))", [json.dumps(places)])
            (last,) = run("select coalesce(max(rowid), 0) from documents").fetchone()
            marks = ", ".join("?" * (6 + len(self.fields)))
            for rowid, row in enumerate(rows, last + 1):
                d = row.document
                values = [rowid, d.id, d.title, d.text, row.text_hash, row.row_hash, *row.values]
                run(f"insert into documents values ({marks})", values)
                run("insert into vectors (rowid, vector) values (?, ?)", [rowid, row.vector.tobytes()])
                run("insert into words (rowid, full_text) values (?, ?)", [rowid, d.full_text])
        return int(deleted)

    def _search(self, query: FloatArray, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        if k > MOST:
            raise ValueError(f"k must be at most {MOST:,}, which is what sqlite-vec finds at once, not {k:,}")
        passing, values = _where(conditions)
        inside = f" and v.rowid in (select d.rowid from documents d where {passing})" if conditions else ""
        command = (
            "select d.id, 1 - v.distance from vectors v join documents d on d.rowid = v.rowid "
            f"where v.vector match ? and k = ?{inside} order by v.distance, d.id"
        )
        return list(self.connection.execute(command, [query.tobytes(), k, *values]))

    def _search_text(self, text: str, k: int, conditions: Sequence[Condition]) -> list[tuple[str, float]]:
        words = list(dict.fromkeys(re.findall(r"\w+", text.casefold())))
        if not words:
            return []
        passing, values = _where(conditions)
        command = (  # words first, as the cross join says: the index of FTS5 is read once
            "select d.id, -w.rank from words w cross join documents d on d.rowid = w.rowid "
            f"where w.words match ?{' and ' + passing if conditions else ''} order by w.rank, d.id limit ?"
        )
        return list(self.connection.execute(command, [" OR ".join(f'"{word}"' for word in words), *values, k]))

    def _own_problems(self) -> list[str]:
        # On a connection that has searched, the check of FTS5 takes another process's commit for damage.
        fresh = connect(self.path)
        try:
            found = [said for (said,) in fresh.execute("pragma integrity_check") if said != "ok"]
        finally:
            fresh.close()
        for table in ("vectors", "words"):
            (alone,) = self.connection.execute(
                f"select count(*) from {table} where rowid not in (select rowid from documents)"
            ).fetchone()
            if alone:
                found.append(f"{alone} rows of {table} have no document")
        return found

    def compact(self) -> None:
        self.connection.execute("insert into words (words) values ('optimize')")
        self.connection.execute("vacuum")
        self.connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    def backup(self, target: str | Path) -> Path:
        path = self._free(target)
        copy = library().connect(str(path))
        try:
            self.connection.backup(copy)
        finally:
            copy.close()
        return path

    def files(self) -> list[Path]:
        return [file for end in ("", "-wal", "-shm") if (file := Path(f"{self.path}{end}")).is_file()]

    def close(self) -> None:
        self.connection.close()


AMONG = "(select value from json_each(?))"


def _where(conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """SQL with places for the values, which never become part of the command."""
    parts, values = [], []
    for field, operator, value in conditions:
        parts.append(f'd."{field}" in {AMONG}' if operator == "in" else f'd."{field}" {operator} ?')
        values.append(json.dumps(value) if operator == "in" else value)
    return " and ".join(parts), values
