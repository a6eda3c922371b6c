"""Folders that are built once, checked at every use, and shared by concurrent processes.

A cached folder is trusted only if its manifest lists the key it was built for and the SHA-256 of every
file in it (`storage`). A process that is killed leaves nothing that a later one would take for finished
work.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from semsearch_nb.foundation import settings
from semsearch_nb.foundation.storage import MANIFEST, StorageError, Store

STORE = Store("cached folder", 1, "it is built again")


class CacheWarning(UserWarning):
    """A cached folder could not be trusted and was built again."""


class CacheFolderError(OSError):
    """The cache folder cannot be written; the message names the setting."""


def folder(
    kind: str, key: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]], *, verify: bool = True
) -> Path:
    """The folder that `build` filled for `key`: the one in the cache, or a new one.

    What is there already is found without writing, so the cache folder may be read-only.

    Args:
        kind: the group it belongs to, which names the parent folder.
        key: everything the content depends on, as JSON values.
        build: fills the empty folder it is given, and returns notes (JSON values) to keep in the
            manifest. It is called at most once at a time for a key, whatever the number of processes.
        verify: compare checksums, which reads every file.

    Raises:
        CacheFolderError: a new one is needed, and the cache folder cannot be written.
    """
    plain_key: dict[str, Any] = json.loads(json.dumps(key))  # as it will stand in the manifest
    target = settings.current().cache_dir / kind / digest(plain_key)

    def trusted(files: Path, about: dict[str, Any]) -> Path:
        if about["key"] != plain_key or not isinstance(about["notes"], dict):
            raise StorageError("the manifest belongs to another key")
        return files

    with suppress(StorageError):
        return STORE.load(target, trusted, verify=verify)
    with FileLock(place(kind) / f".{target.name}.lock"):
        try:
            return STORE.load(target, trusted, verify=verify)
        except StorageError as error:
            if (target / MANIFEST).exists():  # else nothing was finished
                warnings.warn(f"cached {kind} are not trusted: {error}", CacheWarning, stacklevel=3)
            shutil.rmtree(target, ignore_errors=True)
        STORE.save(target, lambda files: {"notes": dict(build(files)), "key": plain_key})
        return STORE.load(target, trusted, verify=False)


def notes(files: Path) -> dict[str, Any]:
    """The notes that `build` returned for a folder that `folder` has returned."""
    return STORE.load(files.parent, lambda _, about: dict(about["notes"]), verify=False)


def drop(files: Path) -> None:
    """Remove a folder that `folder` has returned."""
    shutil.rmtree(files.parent, ignore_errors=True)


def place(kind: str) -> Path:
    """The parent folder of a group, which can be written.

    Raises:
        CacheFolderError: it cannot.
    """
    parent = settings.current().cache_dir / kind
    try:
        parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise CacheFolderError(
            f"the cache folder {settings.current().cache_dir} cannot be written ({error.strerror}); name another one "
            "in the environment variable SEMSEARCH_CACHE_DIR or with semsearch_nb.configure(cache_dir=...)"
        ) from error
    return parent


def digest(value: Any) -> str:
    """A name of 32 hexadecimal digits for a JSON value, the same on every machine.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    sha256 = hashlib.sha256()
    for piece in json.JSONEncoder(sort_keys=True).iterencode(value):  # a corpus need not be in memory twice
        sha256.update(piece.encode())
    return sha256.hexdigest()[:32]
