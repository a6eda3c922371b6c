"""Files from the network, downloaded once: from an address, or from a data set of the Hugging Face hub.

Both resume after a cut, wait where the server asks for it, and appear under their name when they are complete.
`HF_HUB_OFFLINE=1` keeps both off the network.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from filelock import FileLock
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from tqdm.auto import tqdm
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from semsearch_nb.foundation import cache
from semsearch_nb.foundation.storage import checksum

# Its own, and those of whichever httpx it uses, for a body that is cut again and again.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__[:1])
MAY_PASS = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
BUSY = (429, 500, 502, 503, 504)  # a server that says "too many" or "not now"
RETRIES = 5  # of a request that is answered so
LONGEST_WAIT = 120  # seconds that a server may ask to wait
TRIES = 3  # in a row that bring nothing, for want of a network
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of the body
HUB_TIMEOUT = 3  # seconds in which the hub answers, or counts as out of reach
BLOCK = 1 << 20
# The user's own: `hub_cache` changes both for library code, and tells the processes that are started what they were.
OFFLINE = bool(os.environ.get("SEMSEARCH_USERS_HUB_OFFLINE", constants.HF_HUB_OFFLINE))
HUB_CACHE = os.environ.get("SEMSEARCH_USERS_HUB_CACHE", constants.HF_HUB_CACHE)


class DownloadError(OSError):
    """A file could not be had, or is not the one that was expected; the message names it and says why."""


def from_url(url: str, *, sha256: str | None = None) -> Path:
    """The file at an address: the one in the cache folder, or a new download that is kept there.

    What arrived before a cut, also of a process that was killed, is not asked for again if the server says that
    the file is still the same. Whether it has the right content only `sha256` (hexadecimal) can tell.

    Raises:
        ValueError: `sha256` is none.
        DownloadError: no network, an answer such as 404, a server that asks to wait for minutes, a redirect from
            https to http, or another content than `sha256`.
        CacheFolderError: the cache folder cannot be written.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, not {sha256!r}")
    name = _name(url)

    def build(folder: Path) -> Mapping[str, Any]:
        part = cache.place("downloads") / f"{cache.digest(url)}.part"  # outlives a failure, unlike the folder
        with FileLock(part.with_suffix(".lock")):  # of the address: with another sha256 it is the same file
            _fetch(url, part)
            if sha256 is not None and (found := checksum(part)) != sha256.lower():
                part.unlink()
                raise DownloadError(f"{url} has the SHA-256 {found[:12]}…, and {sha256[:12]}… is expected")
            part.replace(folder / name)
        return {}

    return cache.folder("downloads", {"url": url, "sha256": sha256}, build) / name


def from_hub(data_set: str, name: str) -> Path:
    """A file of a data set on the Hugging Face hub, from the hub's own cache or downloaded into it.

    The hub names a large file by the SHA-256 of its content, which is checked at every call.

    Raises:
        DownloadError: no network, no such file, or a content that differs also when downloaded again.
    """
    for _ in range(2):
        try:
            offline = not hub_answers()
            file = Path(
                hf_hub_download(data_set, name, repo_type="dataset", cache_dir=HUB_CACHE, local_files_only=offline)
            )
        except HUB_ERRORS as error:
            raise DownloadError(f"{name} of the data set {data_set} is not to be had: {_first_line(error)}") from error
        if _is_whole(file):
            return file
        file.resolve().unlink()
    raise DownloadError(f"{name} of the data set {data_set} has another content than the hub's SHA-256 names")


def hub_answers() -> bool:
    """Whether the hub answers within `HUB_TIMEOUT` seconds: its own client tries for half a minute a file."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        requests.head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
        return True  # the hub's own client knows other certificates, and says more about proxies
    except requests.RequestException:
        return False
    return True


def commit(model: str, root: Path | None = None) -> str | None:
    """The commit of a hub's model that is in the hub's cache, or in another, or None where there is none."""
    ref = in_hub_cache(model, root) / "refs" / "main"
    return ref.read_text().strip() if ref.is_file() else None


def drop_damaged(model: str) -> bool:
    """Remove the files of a hub's model from the hub's cache whose content is not the expected, if any."""
    damaged = [file for file in (in_hub_cache(model) / "blobs").glob("*") if not _is_whole(file)]
    for file in damaged:
        file.unlink()
    return bool(damaged)


def in_hub_cache(model: str, root: Path | None = None) -> Path:
    """Where a hub's model lies in the hub's cache, or in another with the folder `root`."""
    return Path(root or constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")


def _is_whole(file: Path) -> bool:
    """Whether the content is that of its name in the hub's cache, where that is a SHA-256."""
    name = file.resolve().name
    return not re.fullmatch("[0-9a-f]{64}", name) or checksum(file) == name


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and urljoin(resp.url, target).startswith("http:"):
            raise DownloadError(f"{resp.url} leads to {target}, which is not encrypted")
        return target


def _fetch(url: str, part: Path) -> None:
    """The whole content of an address in `part`, after what is there already."""
    if OFFLINE:
        raise DownloadError(f"{url} is not in the cache, and HF_HUB_OFFLINE forbids to download it")
    busy = fruitless = 0
    with _Session() as session:
        while True:
            before, headers = _size(part), {"Accept-Encoding": "identity"}
            if version := _version(part).read_text(encoding="utf-8") if _version(part).exists() else "":
                headers |= {"Range": f"bytes={before}-", "If-Range": version}
            try:
                with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                    if response.status_code not in BUSY or busy == RETRIES:
                        return _receive(response, url, part)
                    busy += 1
                    _wait(response, url, 2**busy)
            except requests.RequestException as error:
                busy, fruitless = (0, 0) if _size(part) > before else (busy, fruitless + 1)
                if not isinstance(error, MAY_PASS) or fruitless == TRIES:
                    raise DownloadError(f"{url} could not be downloaded: {_first_line(error)}") from error
                time.sleep(fruitless)


def _receive(response: requests.Response, url: str, part: Path) -> None:
    """Write the body into `part`; a file beside it names the version from its first byte to its last."""
    etag, encoded = response.headers.get("ETag", ""), "Content-Encoding" in response.headers
    length = response.headers.get("Content-Length", "")
    resumes = response.status_code in (requests.codes.partial_content, requests.codes.requested_range_not_satisfiable)
    done = _size(part) if resumes else 0
    total = done + int(length) if length.isdecimal() and not encoded else None  # else of other bytes
    if resumes:
        rest = f"bytes {done}-{(total or 0) - 1}/{total}"
        if response.headers.get("Content-Range") != rest or etag != response.request.headers.get("If-Range"):
            _version(part).unlink(missing_ok=True)
            raise requests.ConnectionError(f"{url} does not continue where the download stopped")
    else:
        response.raise_for_status()
        _version(part).unlink(missing_ok=True)
        part.write_bytes(b"")
        if etag.startswith('"') and not encoded:  # a weak one does not promise the same bytes
            _version(part).write_text(etag, encoding="utf-8")  # only now that nothing older stands in `part`
    with part.open("ab") as stream, tqdm(total=total, initial=done, desc=_name(url), unit="B", unit_scale=True) as bar:
        for block in response.iter_content(BLOCK):
            stream.write(block)
            bar.update(len(block))
    if total is not None and _size(part) != total:
        raise requests.ConnectionError(f"{_size(part):,} of {total:,} bytes arrived")
    _version(part).unlink(missing_ok=True)


def _wait(response: requests.Response, url: str, seconds: float) -> None:
    """Wait as long as a server asks that is busy, else `seconds`, and say so."""
    asked = response.headers.get("Retry-After")
    with contextlib.suppress(InvalidHeader):  # else a number of seconds, or a date
        seconds = Retry().parse_retry_after(asked) if asked else seconds
    if seconds > LONGEST_WAIT:
        raise DownloadError(f"{url} answers {response.status_code} and asks to wait {seconds:,.0f} seconds")
    tqdm.write(f"{url} answers {response.status_code}; waiting {seconds:.0f} seconds", file=sys.stderr)
    time.sleep(seconds)


def _version(part: Path) -> Path:
    return part.with_suffix(".version")  # holds the server's name (ETag) for the content that `part` begins


def _name(url: str) -> str:
    """A plain name for the file at an address: the end of its path, without what a file system might refuse."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", urlsplit(url).path.rpartition("/")[2])[-100:].strip(".") or "download"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
