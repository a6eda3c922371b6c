"""Saved indexes: a folder with a manifest, and the files that the manifest names.

    manifest.json        what the index is, and the checksum of every file
    files-3f9c…/         the files of one save

A save writes a new `files-…` folder, then puts a new manifest in place of the old one in one step of
the file system. Killed before that step, it leaves the old index; after it, the new one.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from semsearch_nb.cache import file_sha256

if TYPE_CHECKING:
    from semsearch_nb.indexes.base import Index

LAYOUT = 1
MANIFEST, LOCK, FILES = "manifest.json", ".lock", "files-"
KINDS: dict[str, type[Index]] = {}
"""Every kind of index by the name of its class; a class enters itself."""


class IndexFileError(Exception):
    """A saved index that cannot be used; the message says why."""


class Saved(NamedTuple):
    """A saved index that has been checked: its class, its manifest and the folder of its files."""

    kind: type[Index]
    about: Mapping[str, Any]
    files: Path


def version(library: str) -> str:
    """The version of the installed package `library`."""
    return importlib.metadata.version(library)


def save(folder: Path, write: Callable[[Path], None], about: Mapping[str, Any]) -> Path:
    """Let `write` fill a folder of files, then make it what `folder` holds. Returns `folder`.

    Raises:
        FileExistsError: `folder` is a file, or holds what no save has put there.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file; an index is saved as a folder, so choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    foreign = [path.name for path in folder.iterdir() if not _is_ours(path)]
    if foreign:
        raise FileExistsError(f"folder {str(folder)!r} holds other files ({foreign[0]!r}); save into one of its own")
    with FileLock(folder / LOCK):
        files = folder / f"{FILES}{uuid.uuid4().hex}"
        files.mkdir()
        try:
            write(files)
            written = sorted(path for path in files.rglob("*") if path.is_file())
            checksums = {path.relative_to(files).as_posix(): file_sha256(path) for path in written}
            manifest = {"layout": LAYOUT, **about, "folder": files.name, "files": checksums}
            new = files / MANIFEST
            new.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            os.replace(new, folder / MANIFEST)
        except BaseException:
            shutil.rmtree(files, ignore_errors=True)
            raise
        for other in folder.glob(f"{FILES}*"):  # of the save before, and of saves that were killed
            if other != files:
                shutil.rmtree(other, ignore_errors=True)  # a file that is mapped stays, on Windows
    return folder


def open_saved(folder: Path, wanted: type[Index], model: str | None, verify: bool, any_version: bool) -> Saved:
    """Check what `folder` holds against its manifest and against what the caller wants.

    Raises:
        IndexFileError: see `Index.load`.
    """
    about = _manifest(folder)
    again = "build the index again and save it"
    if about.get("layout") != LAYOUT:
        raise IndexFileError(f"{folder}: the layout is {about.get('layout')}, this version reads {LAYOUT}; {again}")
    kind = KINDS.get(str(about.get("kind")))
    if kind is None:
        raise IndexFileError(f"{folder}: no index is called {about.get('kind')!r}; there are {sorted(KINDS)}")
    if not issubclass(kind, wanted):
        raise IndexFileError(
            f"{folder}: this is a {kind.__name__}, not a {wanted.__name__}; "
            f"load it with {kind.__name__}.load or indexes.load"
        )
    if about["metric"] != "cosine":
        raise IndexFileError(f"{folder}: the metric is {about['metric']!r}, and indexes here are for cosine; {again}")
    installed = version(about["library"])
    if about["version"] != installed and not any_version:
        raise IndexFileError(
            f"{folder}: written by {about['library']} {about['version']}, and {installed} is installed; "
            f"{again}, or pass any_version=True if that version reads the older file"
        )
    if model is not None and about["model"] != model:
        raise IndexFileError(
            f"{folder}: made from vectors of the model {about['model']!r}, not of {model!r}; "
            "vectors of two models cannot be compared: load it with that model, or build a new index"
        )
    files = folder / about["folder"]
    for name, checksum in about["files"].items():
        if not (files / name).is_file():
            raise IndexFileError(f"{folder}: the file {name} is missing; {again}")
        if verify and file_sha256(files / name) != checksum:
            raise IndexFileError(f"{folder}: the file {name} has changed since it was saved; {again}")
    return Saved(kind, about, files)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IndexFileError(f"{folder}: there is no saved index here, or its first save was cut off") from None
    except ValueError as error:
        raise IndexFileError(f"{folder}: {MANIFEST} cannot be read ({error}); build the index again") from None
    return found


def _is_ours(path: Path) -> bool:
    return path.name in (MANIFEST, LOCK) or path.name.startswith(FILES)
