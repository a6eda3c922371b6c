"""The archive that Elasticsearch comes in: the official one, or any; checked, and unpacked into the cache."""

from __future__ import annotations

import platform
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from semsearch_nb.elastic.connection import DOCKER, VERSION, ElasticError
from semsearch_nb.foundation import cache
from semsearch_nb.foundation.download import DownloadError, from_url
from semsearch_nb.foundation.storage import checksum


def official() -> str:
    """The URL of the official archive for this system."""
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}
    system = f"{platform.system().lower()}-{machine.get(platform.machine().lower(), 'unknown')}"
    if system not in ("linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-aarch64", "windows-x86_64"):
        raise ElasticError(f"there is no official archive for {system}; start a server with Docker: {DOCKER}")
    suffix = "zip" if system.startswith("windows") else "tar.gz"
    return f"https://artifacts.elastic.co/downloads/elasticsearch/elasticsearch-{VERSION}-{system}.{suffix}"


def unpacked(archive: str | Path) -> Path:
    """The folder of the server in the cache, from an archive that is fetched where it has to be.

    Raises:
        ValueError: the archive is missing, or is none of Elasticsearch.
        DownloadError: it cannot be fetched, has no checksum beside it, or is damaged.
    """
    url = archive if isinstance(archive, str) and re.match(r"https?://", archive) else None
    file = Path(archive).expanduser().resolve()
    if url:
        beside = from_url(f"{url}.sha512")
        key = beside.read_text(encoding="utf-8", errors="replace").lower()[:128]
    elif file.is_file():
        key = f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}"
    else:
        raise ValueError(f"archive must be a file or a URL, and there is no file at {str(archive)!r}")

    def build(folder: Path) -> dict[str, Any]:
        source = from_url(url) if url else file
        if url and checksum(source, "sha512") != key:
            for downloaded in (source, beside):
                cache.drop(downloaded.parent)
            raise DownloadError(f"{url} is damaged: its SHA-512 is not the one beside it; try again")
        _unpack(source, folder)
        if url:
            cache.drop(source.parent)  # what is unpacked is kept, and that is large enough
        return {}

    (home,) = cache.folder("elasticsearch", {"archive": key}, build, verify=False).iterdir()
    return home


def _unpack(file: Path, folder: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as zipped:
            zipped.extractall(folder)
    elif tarfile.is_tarfile(file):
        if not hasattr(tarfile, "data_filter"):
            raise ElasticError("this Python cannot unpack a .tar.gz safely; update it (to 3.10.12 or 3.11.4 at least)")
        with tarfile.open(file) as tarred:
            tarred.extractall(folder, filter="data")
    else:
        raise ValueError(f"archive must be a .zip or .tar.gz of Elasticsearch, and {file.name} is neither")
    homes = list(folder.iterdir())
    if len(homes) != 1 or not (homes[0] / "bin" / "elasticsearch").is_file():
        raise ValueError(f"archive must hold Elasticsearch (…/bin/elasticsearch), and {file.name} does not")
    for script in (homes[0] / "bin").iterdir():  # a .zip does not know that they are programs
        script.chmod(0o755)
