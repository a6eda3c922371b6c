"""The archive that Elasticsearch comes in: the official one, or any; checked, and unpacked into the cache."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

from filelock import FileLock

from semsearch_nb import cache, settings
from semsearch_nb.download import DownloadError, from_url
from semsearch_nb.elastic.connection import DOCKER, VERSION, ElasticError


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
        checksum = from_url(f"{url}.sha512")
        key = checksum.read_text(encoding="utf-8").split()[0]
    elif file.is_file():
        key = f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}"
    else:
        raise ValueError(f"archive must be a file or a URL, and there is no file at {str(archive)!r}")
    parent = settings.current().cache_dir / "elasticsearch"
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / cache.digest(key)
    with FileLock(parent / f".{target.name}.lock"):
        if not target.exists():
            if url:
                file = from_url(url)
                if _sha512(file) != key:
                    for downloaded in (file, checksum):
                        shutil.rmtree(downloaded.parent)
                    raise DownloadError(f"{url} is damaged: its SHA-512 is not the one beside it; try again")
            with cache.all_or_nothing(target) as building:
                _unpack(file, building)
            if url:
                shutil.rmtree(file.parent)  # what is unpacked is kept, and that is large enough
    (home,) = target.iterdir()
    return home


def _sha512(file: Path) -> str:
    found = hashlib.sha512()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _unpack(file: Path, folder: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as zipped:
            zipped.extractall(folder)
    elif tarfile.is_tarfile(file):
        with tarfile.open(file) as tarred:
            tarred.extractall(folder, filter="data")
    else:
        raise ValueError(f"archive must be a .zip or .tar.gz of Elasticsearch, and {file.name} is neither")
    homes = list(folder.iterdir())
    if len(homes) != 1 or not (homes[0] / "bin" / "elasticsearch").is_file():
        raise ValueError(f"archive must hold Elasticsearch (…/bin/elasticsearch), and {file.name} does not")
    for script in (homes[0] / "bin").iterdir():  # a .zip does not know that they are programs
        script.chmod(0o755)
