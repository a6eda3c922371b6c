"""The user's ids on one side, the row numbers that a library counts with (slots) on the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semsearch_nb.vectors import IntArray

Ids = Sequence[int] | Sequence[str] | np.ndarray[Any, Any]


class IdMap:
    """Slot i holds the vector of the id `values[i]`, if it is alive.

    Ids are whole numbers (int64) or strings, all of one kind, and no two are equal. Without ids, row
    numbers are counted on from the largest one.
    """

    def __init__(self) -> None:
        self.values: np.ndarray[Any, Any] = np.empty(0, dtype=np.int64)
        self.alive: np.ndarray[Any, np.dtype[np.bool_]] = np.empty(0, dtype=bool)
        self._n = 0  # how many are alive: counting them would take longer than some searches
        self._slots: dict[Any, int] | None = None  # made when it is first asked for
        self._plain = True  # values are 0, 1, 2, …, so that slots need no translation

    def __len__(self) -> int:
        return self._n

    @property
    def live(self) -> IntArray:
        """The slots that are alive, in order."""
        return np.flatnonzero(self.alive)

    @property
    def nbytes(self) -> int:
        """Bytes of the ids, without the dictionary that `slots_of` makes."""
        strings = sum(len(value) + 49 for value in self.values) if self.values.dtype == object else 0
        return self.values.nbytes + self.alive.nbytes + strings

    def new(self, ids: Ids | None, n: int) -> np.ndarray[Any, Any]:
        """`ids` for `n` vectors, checked against each other and those here. Nothing is changed.

        Raises:
            TypeError: neither whole numbers nor strings, or of another kind than those here.
            ValueError: not one for each vector, or an id that is taken.
        """
        if ids is None:
            if self.values.dtype == object:
                raise ValueError("ids is missing: this index has strings as ids, so the new vectors need some too")
            start = int(self.values.max()) + 1 if len(self.values) else 0
            return np.arange(start, start + n)
        new = _as_ids(ids)
        if len(new) != n:
            raise ValueError(f"ids has {len(new)} entries and vectors has {n} rows; they must match")
        if len(self) and new.dtype != self.values.dtype:
            raise TypeError(f"ids must be {_kind(self.values)}, like those of the index, not {_kind(new)}")
        listed = new.tolist()
        if len(set(listed)) != n:
            twice = Counter(listed).most_common(1)[0][0]
            raise ValueError(f"ids has {twice!r} more than once; an id names one vector")
        if len(self) and (taken := next((value for value in listed if value in self._dictionary()), None)) is not None:
            raise ValueError(f"ids has {taken!r}, which the index holds already; remove it first, then add it")
        return new

    def append(self, new: np.ndarray[Any, Any]) -> None:
        """Give the next slots to the ids that `new` returned."""
        values = np.concatenate([self.values, new]) if len(self.values) else new
        self._set(values, np.concatenate([self.alive, np.ones(len(new), dtype=bool)]))

    def slots_of(self, ids: Ids) -> IntArray:
        """The slots of `ids`.

        Raises:
            KeyError: an id that the index does not hold.
            ValueError: an id twice.
        """
        listed = _as_ids(ids).tolist()
        known = self._dictionary()
        missing = [value for value in listed if value not in known]
        if missing:
            raise KeyError(f"the index does not hold {len(missing)} of the ids, the first is {missing[0]!r}")
        if len(set(listed)) != len(listed):
            raise ValueError("ids has an id more than once; name each once")
        return np.array([known[value] for value in listed], dtype=np.int64)

    def kill(self, slots: IntArray) -> None:
        """Let go of the ids in `slots`; the other slots stay where they are."""
        alive = self.alive.copy()
        alive[slots] = False
        self._set(self.values, alive)

    def compact(self) -> None:
        """Number the living slots anew, in order, from zero."""
        self._set(self.values[self.alive], np.ones(len(self), dtype=bool))

    def of(self, slots: IntArray) -> np.ndarray[Any, Any]:
        """The ids in `slots`, in the same shape."""
        if self._plain:
            return slots
        found: np.ndarray[Any, Any] = self.values[slots]
        return found

    def write(self, folder: Path) -> None:
        """Write `alive.npy` and `ids.npy`, or `ids.json` where the ids are strings."""
        np.save(folder / "alive.npy", self.alive)
        if self.values.dtype == object:
            (folder / "ids.json").write_text(json.dumps(self.values.tolist(), ensure_ascii=False), encoding="utf-8")
        else:
            np.save(folder / "ids.npy", self.values)

    @classmethod
    def read(cls, folder: Path) -> IdMap:
        """What `write` wrote."""
        strings = folder / "ids.json"
        found = cls()
        values = (
            _as_ids(json.loads(strings.read_text(encoding="utf-8")))
            if strings.exists()
            else np.load(folder / "ids.npy")
        )
        found._set(values, np.load(folder / "alive.npy"))
        return found

    def _set(self, values: np.ndarray[Any, Any], alive: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        self.values, self.alive, self._slots = values, alive, None
        self._n = int(np.count_nonzero(alive))
        self._plain = values.dtype != object and bool((values == np.arange(len(values))).all())

    def _dictionary(self) -> dict[Any, int]:
        if self._slots is None:
            live = self.live
            self._slots = dict(zip(self.values[live].tolist(), live.tolist(), strict=True))
        return self._slots


def _as_ids(ids: Ids) -> np.ndarray[Any, Any]:
    if isinstance(ids, (str, bytes)):
        raise TypeError("ids must be a list of whole numbers or of strings, not one string; pass [id]")
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ValueError(f"ids must be one-dimensional, not of the shape {array.shape}")
    if not array.size or (array.dtype.kind in "iu" and array.max() <= np.iinfo(np.int64).max):
        return array.astype(np.int64)
    listed = array.tolist() if isinstance(ids, np.ndarray) else list(ids)
    for value in listed:
        if not isinstance(value, str):
            raise TypeError(f"ids must be whole numbers (of 64 bits) or strings, all of one kind; one is {value!r}")
    result = np.empty(len(listed), dtype=object)
    result[:] = listed
    return result


def _kind(values: np.ndarray[Any, Any]) -> str:
    return "strings" if values.dtype == object else "whole numbers"
