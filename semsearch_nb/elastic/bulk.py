"""Documents into an index, many at a time, and none lost or doubled where the server stumbles.

The client's own `streaming_bulk` gives up where a connection breaks. Here a part whose answer was lost is sent
again, since its ids are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
from elasticsearch import ApiError, SerializationError, TransportError
from elasticsearch.serializer import JsonSerializer
from tqdm.auto import tqdm

from semsearch_nb.elastic.connection import ElasticError, NoAnswerError, explained, may_pass
from semsearch_nb.elastic.index import ElasticIndex, vector_flaw
from semsearch_nb.foundation import cache
from semsearch_nb.vectors import FloatArray, as_count, as_numpy

MAX_BYTES = 8 << 20  # a request
MAX_PAUSE_S = 8.0


class Rejected(NamedTuple):
    """A document that did not go in, and why."""

    id: Any
    reason: str


@dataclass
class Report:
    """What became of the documents: `indexed` and `already` (with `resume`) are in the index for sure."""

    indexed: int = 0
    already: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    retries: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.indexed:,} indexed"]
        parts += [f"{self.already:,} there already"] if self.already else []
        parts += [f"{len(self.rejected):,} rejected"] if self.rejected else []
        parts += [f"after {self.retries} retries"] if self.retries else []
        return ", ".join(parts)


class IndexingError(ElasticError):
    """Indexing stopped; `report` says how far it came."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class _Action(NamedTuple):
    id: Any
    lines: tuple[bytes, bytes]
    """What to do and the document, as JSON."""


def index_documents(
    index: ElasticIndex,
    documents: Iterable[Mapping[str, Any]],
    *,
    resume: bool = False,
    refresh: bool = True,
    batch: int = 200,
    patience: float = 120,
    progress: bool = True,
) -> Report:
    """Send documents to an index. Any iterable does: it is read as it is sent.

    Args:
        documents: each a dictionary with the fields of the index, its vector among them, and an `id`; without one
            the id is made of the other fields. A document replaces the one that has its id.
        resume: leave documents alone whose id is there, as after a run that was cut off.
        refresh: let searches find the documents as soon as this returns; else it takes up to a second.
        batch: documents a request.
        patience: seconds to go on trying where the server is busy (429), fails (5xx) or does not answer.

    Returns:
        The report, with every document that was refused; the others went in.

    Raises:
        TypeError: a document that is no dictionary.
        ElasticError: no such index, or one for another model.
        IndexingError: the server did not come back within `patience`, or refuses all; go on with `resume=True`.
    """
    report, start = Report(), time.perf_counter()
    _patiently(index.read, report, patience)
    total = len(documents) if isinstance(documents, Sized) else None
    try:
        with tqdm(total=total, disable=not progress, unit="documents", leave=False) as bar:
            for part in _parts(_actions(index, documents, report, resume), as_count(batch, "batch")):
                _send(index, part, report, patience)
                bar.update(report.indexed + report.already + len(report.rejected) - bar.n)
    finally:
        report.seconds = time.perf_counter() - start
    if refresh:
        with explained(index.name):
            _patiently(lambda: index.client.indices.refresh(index=index.stored_in), report, patience)
    _patiently(index.read, report, patience)  # still the index that was opened, not one that took its name
    return report


def _actions(
    index: ElasticIndex, documents: Iterable[Mapping[str, Any]], report: Report, resume: bool
) -> Iterator[_Action]:
    """The documents that are sound; the others go into the report."""
    serializer = JsonSerializer()
    for position, document in enumerate(documents):
        if not isinstance(document, Mapping):
            raise TypeError(
                f"documents[{position}] must be a dictionary, not {type(document).__name__}: {document!r:.60}"
            )
        fields = {key: value for key, value in document.items() if key not in ("id", index.vector)}
        try:
            content = serializer.dumps(fields)
            key = document["id"] if "id" in document else cache.digest(serializer.loads(content))
            head = serializer.dumps({"create" if resume else "index": {"_id": str(key)}})
        except (SerializationError, TypeError, ValueError, RecursionError) as error:
            report.rejected.append(Rejected(document.get("id"), f"cannot be written as JSON: {error}"))
            continue
        vector, flaw = _checked_vector(document.get(index.vector), index)
        if flaw := _id_flaw(key, index.integer_ids) or flaw:
            report.rejected.append(Rejected(key, flaw))
            continue
        # orjson writes no more digits than float32 has, so that all takes a third of the time.
        numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
        rest = b"}" if content == b"{}" else b"," + content[1:]
        yield _Action(key, (head, b'{"%s":%s%s' % (index.vector.encode(), numbers, rest)))


def _id_flaw(key: Any, integer: bool) -> str | None:
    kind: Any = (int, np.integer) if integer else str
    if isinstance(key, kind) and not isinstance(key, bool):
        return None if key != "" else "id is empty"
    wanted = "a whole number" if integer else "a string (or open the index with integer_ids=True)"
    return f"id must be {wanted}, not {key!r:.60}"


def _checked_vector(vector: Any, index: ElasticIndex) -> tuple[FloatArray | None, str | None]:
    """The vector as the index takes it, or what is wrong with it."""
    if vector is None:
        return None, "vector is missing"
    try:
        row = as_numpy(vector)
    except (TypeError, ValueError, RuntimeError) as error:  # parts of unequal length, a list of tensors
        return None, f"vector must be {index.dimension} numbers: {error}"
    if row.dtype.kind not in "fiu" or row.shape != (index.dimension,):
        return None, f"vector must be {index.dimension} numbers, not {row.dtype} of the shape {row.shape}"
    with np.errstate(over="ignore"):  # it is infinite then
        row = np.ascontiguousarray(row, dtype=np.float32)
    flaw = vector_flaw(row, index.similarity)
    return row, flaw and f"vector {flaw}"


def _parts(actions: Iterable[_Action], batch: int) -> Iterator[list[_Action]]:
    part: list[_Action] = []
    n_bytes = 0
    for action in actions:
        size = sum(map(len, action.lines)) + 2
        if part and (len(part) == batch or n_bytes + size > MAX_BYTES):
            yield part
            part, n_bytes = [], 0
        part.append(action)
        n_bytes += size
    if part:
        yield part


def _send(index: ElasticIndex, part: list[_Action], report: Report, patience: float) -> None:
    """Until the server has taken or refused every document of the part."""
    pending = part

    def once() -> bool:
        nonlocal pending
        lines: Any = [line for action in pending for line in action.lines]  # bytes go through as they are
        answer = index.client.bulk(index=index.stored_in, operations=lines)
        again = []
        for action, item in zip(pending, answer["items"], strict=True):
            ((_, outcome),) = item.items()
            status = outcome["status"]
            if status < 300:
                report.indexed += 1
            elif may_pass(status):
                again.append(action)
            elif status == 409:
                report.already += 1
            elif status in (401, 403, 404):
                raise IndexingError(f"the server takes nothing into {index.name!r}: {outcome['error']}", report)
            else:
                error = outcome["error"]
                report.rejected.append(Rejected(action.id, error.get("caused_by", error)["reason"]))
        pending = again
        return not pending

    try:
        _patiently(once, report, patience)
    except ApiError as error:
        if error.status_code not in (400, 413):
            raise IndexingError(f"the server refuses the request after {report}: {error}", report) from None
        if len(pending) == 1:
            report.rejected.append(Rejected(pending[0].id, str(error)))
        else:  # too large, or one document spoils it for all: find out which
            middle = len(pending) // 2
            for half in (pending[:middle], pending[middle:]):
                _send(index, half, report, patience)


def _patiently(attempt: Callable[[], Any], report: Report, patience: float) -> None:
    """Call `attempt` until it returns anything but False, with growing pauses where the server stumbles."""
    pause, deadline = 0.25, time.monotonic() + patience
    while True:
        try:
            if attempt() is not False:
                return
            reason = "it is too busy (429) or fails (5xx)"
        except ApiError as error:
            if not may_pass(error.status_code):
                raise
            reason = str(error)
        except (TransportError, NoAnswerError) as error:
            reason = str(error)
        if time.monotonic() + pause > deadline:
            raise IndexingError(
                f"the server did not come back within {patience:g} s, after {report}: {reason}; start it again, and go "
                "on with index_documents(..., resume=True)",
                report,
            )
        report.retries += 1
        time.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_S)
