"""Folders that are replaced all or nothing and checked when they are read: saved indexes, prepared corpora, the cache.

    manifest.json        what the folder holds, and the checksum of every file
    files-3f9c…/         the files of one save

A save writes a new `files-…` folder, then puts a new manifest in place of the old one in one step of the
file system. Killed before that step, it leaves the old files; after it, the new ones. What is written is
on the disk before the step is made, so a power cut does no more harm than a kill.

Checksums find damage, not malice: who can change a file can change the manifest too, and the readers of
some libraries trust their files. Load only what you trust.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from filelock import FileLock

MANIFEST, LOCK = "manifest.json", ".lock"
OURS = re.compile(r"files-[0-9a-f]{32}(\.json)?")  # a save's files, and its manifest before the last step
T = TypeVar("T")


class StorageError(ValueError):
    """What is saved in a folder cannot be used; the message says why."""


class MissingError(StorageError, FileNotFoundError):
    """A folder holds nothing that was saved, or a file of it is missing."""


@dataclass(frozen=True)
class Store:
    """One kind of saved folder: what it holds, the number of its format, and what to do where it cannot be used."""

    content: str
    layout: int
    advice: str

    def save(self, folder: str | Path, write: Callable[[Path], Mapping[str, Any]]) -> Path:
        """Let `write` fill an empty folder, then make that what `folder` holds.

        `write` returns what the manifest is to say beside the files (JSON values).

        Raises:
            FileExistsError: `folder` is a file, or holds what no save of this kind has put there.
        """
        folder = absolute(folder)
        self._claim(folder)
        with FileLock(folder / LOCK):
            files = folder / f"files-{uuid.uuid4().hex}"
            new = files.with_suffix(".json")  # of the manifest
            files.mkdir()
            try:
                about = {**write(files), "content": self.content, "layout": self.layout, "folder": files.name}
                about["files"] = {name: checksum(files / name) for name in _names(files)}
                new.write_text(json.dumps(about, indent=1), encoding="utf-8")
                _to_disk(*(path for path in files.rglob("*") if path.exists()), files, new, folder)
            except BaseException:
                shutil.rmtree(files, ignore_errors=True)
                new.unlink(missing_ok=True)
                raise
            os.replace(new, folder / MANIFEST)  # the last step: from here on nothing is undone
            _to_disk(folder)
            for other in folder.iterdir():  # of the save before, and of saves that were killed
                if OURS.fullmatch(other.name) and other != files:
                    # A file that is mapped stays, on Windows.
                    shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink()
        return folder

    def load(self, folder: str | Path, read: Callable[[Path, dict[str, Any]], T], *, verify: bool = True) -> T:
        """What `read` makes of the files and of the manifest in `folder`.

        It is called again where a save has replaced the files in the meantime, so a reader needs no lock
        and may not write. `verify` reads every file once and compares its checksum.

        Raises:
            MissingError: nothing is saved in `folder`, or a file is missing.
            StorageError: of another kind or format, damaged, or refused by `read`.
        """
        folder = absolute(folder)
        while True:
            about = self._manifest(folder)
            try:
                self._check(folder / about["folder"], about, verify)
                return read(folder / about["folder"], about)
            except (ImportError, MemoryError):
                raise
            except Exception as error:  # a library may raise anything on a file that is damaged, or gone
                if self._manifest(folder)["folder"] != about["folder"]:
                    continue
                if isinstance(error, StorageError):
                    raise type(error)(f"{folder}: {error}") from None
                raise StorageError(
                    f"{folder}: the files cannot be read ({type(error).__name__}: {error}); {self.advice}"
                ) from error

    def _manifest(self, folder: Path) -> dict[str, Any]:
        """The manifest in `folder`, which must be that of a save of this kind."""
        try:
            about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise MissingError(
                f"{folder}: there is no saved {self.content} here, or its first save was cut off; {self.advice}"
            ) from None
        except (ValueError, IsADirectoryError) as error:
            raise StorageError(f"{folder}: {MANIFEST} cannot be read ({error}); {self.advice}") from None
        ours = (
            isinstance(about, dict)
            and isinstance(about.get("layout"), int)
            and OURS.fullmatch(str(about.get("folder")))
            and isinstance(about.get("files"), dict)
        )
        if not ours:
            raise StorageError(f"{folder}: {MANIFEST} is not that of a saved {self.content}; {self.advice}")
        content = about.get("content", "index")  # the first indexes that were saved do not say it
        if content != self.content:
            raise StorageError(f"{folder}: here is a saved {content}, not a saved {self.content}")
        found: dict[str, Any] = about
        return found

    def _check(self, files: Path, about: dict[str, Any], verify: bool) -> None:
        """See that the layout is this one, and the files are those that the manifest lists."""
        if about["layout"] != self.layout:
            raise StorageError(f"the layout is {about['layout']}, this version reads {self.layout}; {self.advice}")
        for name, sha256 in about["files"].items():
            path = PureWindowsPath(name)  # it knows both slashes, and drives
            if path.anchor or path.drive or ".." in path.parts:
                raise StorageError(f"{MANIFEST} names a file outside the folder, {name!r}; {self.advice}")
            if not (files / name).is_file():
                raise MissingError(f"the file {name} is missing; {self.advice}")
            if verify and checksum(files / name) != sha256:
                raise StorageError(f"the file {name} is damaged: it has changed since it was saved; {self.advice}")
        unlisted = {name for name in _names(files) if not Path(name).name.startswith(".")} - about["files"].keys()
        if verify and unlisted:
            raise StorageError(f"the file {min(unlisted)} is not listed in {MANIFEST}; {self.advice}")

    def _claim(self, folder: Path) -> None:
        """Make `folder`, or see that everything in it is a save's."""
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{str(folder)!r} is a file; a folder is saved, so choose another name")
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in (MANIFEST, LOCK) and not OURS.fullmatch(path.name):
                raise FileExistsError(f"{str(folder)!r} holds other files ({path.name!r}); choose a folder of its own")
        try:
            self._manifest(folder)
        except MissingError:
            return
        except StorageError as error:
            raise FileExistsError(f"{error}; choose a folder of its own, or remove this one first") from None


def absolute(folder: str | Path) -> Path:
    """The path of a folder from the root on; `~` is the home folder."""
    return Path(folder).expanduser().absolute()


def checksum(file: Path, algorithm: str = "sha256") -> str:
    """The SHA-256 (or another sum) of a file's bytes, in hexadecimal."""
    found = hashlib.new(algorithm)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _names(files: Path) -> list[str]:
    return sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())


def _to_disk(*paths: Path) -> None:
    """Return when the operating system has written these files and folders."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            if not path.is_dir():  # not every file system can do it with a folder
                raise
