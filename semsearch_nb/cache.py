"""Folders that are built once, checked at every use, and shared by concurrent processes.

A cached folder is trusted only if its manifest lists the key it was built for and the SHA-256 of
every file in it. It is built under a temporary name and renamed when it is complete, so a process
that is killed leaves nothing that a later one would take for finished work.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from semsearch_nb import settings

MANIFEST = "manifest.json"


class CacheWarning(UserWarning):
    """A cached folder could not be trusted and was built again."""


def folder(kind: str, key: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Path:
    """The folder that `build` filled for `key`: the one in the cache, or a new one.

    Args:
        kind: the group it belongs to, which names the parent folder.
        key: everything the content depends on, as JSON values.
        build: fills the empty folder it is given, and returns notes (JSON values) to keep in the
            manifest. It is called at most once at a time for a key, whatever the number of processes.
    """
    parent = settings.current().cache_dir / kind
    parent.mkdir(parents=True, exist_ok=True)
    plain_key: dict[str, Any] = json.loads(json.dumps(key))  # as it will stand in the manifest
    target = parent / digest(plain_key)
    with FileLock(parent / f".{target.name}.lock"):
        if target.exists():
            flaw = _flaw(target, plain_key)
            if flaw is None:
                return target
            warnings.warn(f"the cached {kind} {target} are built again: {flaw}", CacheWarning, stacklevel=3)
            shutil.rmtree(target)
        for left_over in parent.glob(f".{target.name}.build-*"):  # of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        with all_or_nothing(target) as building:
            notes = build(building)
            files = {path.name: file_sha256(path) for path in sorted(building.iterdir())}
            manifest = {"key": plain_key, "files": files, "notes": dict(notes)}
            (building / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return target


@contextmanager
def all_or_nothing(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to fill; it takes that name when the block ends without an error."""
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.build-", dir=target.parent))
    try:
        yield building
        building.chmod(0o755)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def notes(target: Path) -> dict[str, Any]:
    """The notes that `build` returned for a folder that `folder` has returned."""
    manifest: dict[str, Any] = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    return dict(manifest["notes"])


def digest(value: Any) -> str:
    """A name of 32 hexadecimal digits for a JSON value, the same on every machine.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    sha256 = hashlib.sha256()
    for piece in json.JSONEncoder(sort_keys=True).iterencode(value):  # a corpus need not be in memory twice
        sha256.update(piece.encode())
    return sha256.hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()


def _flaw(target: Path, key: dict[str, Any]) -> str | None:
    """Why the folder cannot be trusted, or None where it can."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != key:
            return "the manifest belongs to another key"
        for name, sha256 in manifest["files"].items():
            if file_sha256(target / name) != sha256:
                return f"{name} is damaged"
        if not isinstance(manifest["notes"], dict):
            return "the manifest has no notes"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"the manifest cannot be read ({error})"
    return None
