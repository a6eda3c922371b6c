"""One large file by its URL: into the cache, in pieces that a later call goes on with."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock
from tqdm.auto import tqdm

from semsearch_nb import cache, settings

ATTEMPTS = 5
TIMEOUT_S = 30


class DownloadError(RuntimeError):
    """A file could not be fetched, or is not the one that was announced."""


def fetch(url: str, *, sha256: str | None = None, name: str | None = None) -> Path:
    """The file behind `url`, from the cache or fetched into it under `name` (the URL's own, if none).

    A connection that breaks is taken up where it broke, in this call and in later ones. The file takes
    its name when it is complete, and only if its checksum is `sha256`, where one is given.

    Raises:
        DownloadError: no answer, no such file, or another checksum; the message says what to do.
    """
    folder = settings.current().cache_dir / "downloads" / cache.digest(url)[:8]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or Path(urllib.parse.urlsplit(url).path).name)
    with FileLock(folder / f".{target.name}.lock"):
        if not target.exists():
            part = target.with_name(f"{target.name}.part")
            _fill(part, url)
            if sha256 and (found := cache.file_sha256(part)) != sha256:
                part.unlink()
                raise DownloadError(f"{url} has the SHA-256 {found}, not {sha256}; it was thrown away, try again")
            part.rename(target)
    return target


def _fill(part: Path, url: str) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _append(part, url)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # what is there goes beyond the end: it was of another file
                part.unlink()
            elif error.code < 500:
                raise DownloadError(f"{url} answers {error.code} {error.reason}; check the address") from None
            reason: Exception = error
        except (OSError, HTTPException) as error:
            reason = error
        time.sleep(2**attempt / 4)
    raise DownloadError(
        f"{url} could not be fetched in {ATTEMPTS} attempts: {reason}; what has come so far is kept, so try "
        "again, or fetch the file by other means and pass its path"
    )


def _append(part: Path, url: str) -> None:
    """Everything that `part` lacks; an OSError where the connection ends before."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        have = have if answer.status == 206 else 0  # a server without ranges sends all of it again
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False)
        with part.open("ab" if have else "wb") as stream, bar:
            while block := answer.read(1 << 20):
                stream.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size != total:
        raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")
