"""Writes in other processes: killed in the middle, or all at once. What is left of a store then?"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from semsearch_nb.datasets.collection import Document
from semsearch_nb.stores.base import Changes, VectorStore, looked_up

# A server process imports the libraries once; every child is a fork of it, so it starts in milliseconds.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def killed_after(
    seconds: float, store: VectorStore, documents: Sequence[Document], *, delete: Sequence[str] = ()
) -> Changes | None:
    """Let another process `write` to the store, and kill it `seconds` after it has begun.

    Returns what the write said, or None where it was killed before it said anything. (Its commit may be made all
    the same.) The kill is SIGKILL, which no process can catch.
    """
    with _ready(store, documents, delete) as pipe:
        pipe.send("go")
        return _answer(pipe) if pipe.poll(seconds) else None


def written_together(store: VectorStore, writes: Sequence[Sequence[Document]]) -> list[Changes]:
    """Let one process for each of `writes` write its documents, all at the same moment. Returns what they said."""
    with ExitStack() as stack:
        pipes = [stack.enter_context(_ready(store, documents, ())) for documents in writes]
        for pipe in pipes:
            pipe.send("go")
        return [_answer(pipe) for pipe in pipes]


@contextmanager
def _ready(store: VectorStore, documents: Sequence[Document], delete: Sequence[str]) -> Iterator[Any]:
    """The pipe to another process that has opened the store, and waits; at the end it is killed."""
    texts = [document.full_text for document in documents]
    known = looked_up(store.encoder.identity, texts, store.encoder.encode(texts))
    context: Any = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["semsearch_nb.stores.quiet_forks", __name__, "lancedb", "sqlite_vec"])
    here, there = context.Pipe()
    task = (there, type(store), store.path, known, store.fields, list(documents), list(delete))
    process = context.Process(target=_write, args=task, daemon=True)
    process.start()
    there.close()
    try:
        _answer(here)
        yield here
    finally:
        process.kill()
        process.join()


def _answer(pipe: Any) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("the other process ended before it had written; its error stands above") from None


def _write(pipe: Any, kind: Any, path: Any, encoder: Any, fields: Any, documents: Any, delete: Any) -> None:
    store = kind(path, encoder, fields)
    pipe.send("ready")
    pipe.recv()
    pipe.send(store.write(documents, delete=delete))
    pipe.recv()  # stay until the kill comes
