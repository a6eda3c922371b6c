"""The user's ids on one side, the labels by which a library knows its vectors on the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from semsearch_nb.indexes.rows import Growing
from semsearch_nb.vectors import Holds, IntArray, as_texts

Ids = Iterable[int] | Iterable[str]
LARGEST = 2**63 - 1


class IdMap:
    """Label i belongs to the id `values[i]`, if it is alive.

    Labels count the vectors in the order in which they came, and none is given twice until the index is
    rebuilt (`compact`). So a change costs what it changes, however many vectors there are.

    Ids are whole numbers (int64) or strings, all of one kind, no two equal. Without ids of the user they
    are row numbers (`holds` is "rows"), counted on from the largest one.
    """

    def __init__(self) -> None:
        self._values = Growing(np.empty(0, dtype=np.int64))
        self._alive = Growing(np.empty(0, dtype=bool))
        self.holds: Holds = "rows"
        self._n = 0  # how many are alive: counting them would take longer than some searches
        self._next = 0  # the next row number
        self._plain = True  # ids are the labels, so that nothing needs translation
        self._labels: dict[Any, int] | None = None  # of the living ids, made when it is first asked for

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> np.ndarray[Any, Any]:
        return self._values.array

    @property
    def alive(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return self._alive.array

    @property
    def live(self) -> IntArray:
        """The labels that are alive, in order."""
        return np.flatnonzero(self.alive)

    @property
    def nbytes(self) -> int:
        """Bytes of the ids, without the dictionary that a change makes."""
        strings = sum(len(value) + 49 for value in self.values) if self.values.dtype == object else 0
        return self._values.nbytes + self._alive.nbytes + strings

    def new(self, ids: Ids | None, n: int) -> np.ndarray[Any, Any]:
        """`ids` for `n` vectors, checked against each other and those here. Nothing is changed.

        Raises:
            TypeError: neither whole numbers nor strings, or of another kind than those here.
            ValueError: not one for each vector, an id that is taken, or none left to count on to.
        """
        if ids is None:
            if self.values.dtype == object and self._n:
                raise ValueError("ids is missing: this index has strings as ids, so the new vectors need some too")
            if self._next > LARGEST - n + 1:
                raise ValueError(f"ids is missing: no whole number of 64 bits comes after {self._next - 1}; pass ids")
            return np.arange(self._next, self._next + n, dtype=np.int64)
        new = _as_ids(ids)
        if len(new) != n:
            raise ValueError(f"ids has {len(new)} entries and vectors has {n} rows; they must match")
        if len(self) and new.dtype != self.values.dtype:
            raise TypeError(f"ids must be {_kind(self.values)}, like those of the index, not {_kind(new)}")
        if len(np.unique(new) if new.dtype != object else set(new)) != n:
            twice = Counter(new.tolist()).most_common(1)[0][0]
            raise ValueError(f"ids has {twice!r} more than once; an id names one vector")
        if len(self) and (taken := [value for value in new.tolist() if self._label(value) is not None]):
            raise ValueError(f"ids has {taken[0]!r}, which the index holds already; remove it first, then add it")
        return new

    def append(self, new: np.ndarray[Any, Any], *, counted: bool) -> None:
        """Give the next labels to the ids that `new` returned; `counted`: they are not the user's."""
        n = len(self.values)
        if not (counted and n):
            self.holds = "rows" if counted else "ids"
        self._plain = self._plain and counted and self._next == n
        if self._labels is not None:
            self._labels.update(zip(new.tolist(), range(n, n + len(new)), strict=True))
        alive = np.ones(len(new), dtype=bool)
        if n:
            self._values.append(new)
            self._alive.append(alive)
        else:
            self._values, self._alive = Growing(new), Growing(alive)
        self._n += len(new)
        if new.dtype != object:
            self._next = max(self._next, int(new.max()) + 1)

    def labels_of(self, ids: Ids) -> IntArray:
        """The labels of `ids`.

        Raises:
            KeyError: an id that the index does not hold.
            ValueError: an id twice.
        """
        listed = _as_ids(ids).tolist()
        labels = [self._label(value) for value in listed]
        if None in labels:
            first = listed[labels.index(None)]
            raise KeyError(f"the index does not hold {labels.count(None)} of the ids, the first is {first!r}")
        if len(set(listed)) != len(listed):
            raise ValueError("ids has an id more than once; name each once")
        return np.array(labels, dtype=np.int64)

    def kill(self, labels: IntArray) -> None:
        """Let go of the ids of `labels`; the other labels stay as they are."""
        if self._labels is not None:
            for value in self.values[labels].tolist():
                del self._labels[value]
        self.alive[labels] = False
        self._n -= len(labels)

    def compact(self) -> None:
        """Count the living labels anew, in order, from zero."""
        self._values, self._labels = Growing(self.values[self.alive]), None
        self._alive = Growing(np.ones(self._n, dtype=bool))
        self._plain = self._plain and self._next == self._n

    def of(self, labels: IntArray) -> np.ndarray[Any, Any]:
        """The ids of `labels`, in the same shape."""
        return labels if self._plain else self.values[labels]

    def write(self, folder: Path) -> None:
        """Write `alive.npy`, `ids.json`, and `ids.npy` where the ids are numbers."""
        np.save(folder / "alive.npy", self.alive)
        about: dict[str, Any] = {"holds": self.holds, "next": self._next, "strings": None}
        if self.values.dtype == object:
            about["strings"] = self.values.tolist()
        else:
            np.save(folder / "ids.npy", self.values)
        (folder / "ids.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> IdMap:
        """What `write` wrote."""
        about = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
        found = cls()
        values = np.load(folder / "ids.npy") if about["strings"] is None else _as_ids(about["strings"])
        found._values, found._alive = Growing(values), Growing(np.load(folder / "alive.npy"))
        found.holds, found._next, found._n = about["holds"], about["next"], int(found.alive.sum())
        found._plain = values.dtype != object and np.array_equal(values, np.arange(len(values)))
        return found

    def _label(self, value: Any) -> int | None:
        if self._plain:
            return value if isinstance(value, int) and 0 <= value < len(self.alive) and self.alive[value] else None
        if self._labels is None:
            self._labels = dict(zip(self.values[self.alive].tolist(), self.live.tolist(), strict=True))
        return self._labels.get(value)


def _as_ids(ids: Any) -> np.ndarray[Any, Any]:
    """`ids` as int64, or as an array of objects that are strings."""
    if isinstance(ids, (str, bytes)):
        raise TypeError("ids must be a list of whole numbers or of strings, not one string; pass [id]")
    # The keys of a dictionary are a Set too, in an order that is known.
    if isinstance(ids, Mapping) or (isinstance(ids, Set) and not hasattr(ids, "mapping")):
        raise TypeError(f"ids must be a list, in the order of the vectors, not a {type(ids).__name__}")
    shape = getattr(ids, "shape", (0,))
    if not isinstance(ids, Iterable) or shape == ():
        raise TypeError(f"ids must be a list of whole numbers or of strings, not {ids!r}; pass [id]")
    if len(shape) != 1:
        raise ValueError(f"ids must be one-dimensional, not of the shape {tuple(shape)}")
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" and (not ids.size or ids.max() <= LARGEST):
        return ids.astype(np.int64)
    listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    texts = any(isinstance(value, str) for value in listed)
    for position, value in enumerate(listed):
        if not (isinstance(value, str) if texts else _is_whole(value)):
            raise TypeError(
                "ids must be whole numbers (of 64 bits) or strings, all of one kind; "
                f"one is {value!r}, at position {position}"
            )
    if not texts:
        return np.array(listed, dtype=np.int64)
    result = np.empty(len(listed), dtype=object)
    result[:] = as_texts(listed, "ids")
    return result


def _is_whole(value: Any) -> bool:
    return (
        isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -LARGEST - 1 <= int(value) <= LARGEST
    )


def _kind(values: np.ndarray[Any, Any]) -> str:
    return "strings" if values.dtype == object else "whole numbers"
