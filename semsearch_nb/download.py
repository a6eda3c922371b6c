"""Files from the network, downloaded once: from an address, or from a data set of the Hugging Face hub.

Both are kept on disk, resume after a cut, wait where the server asks for it, and appear under their
name when they are complete; concurrent processes download once. `HF_HUB_OFFLINE=1` keeps both off the
network.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from requests.adapters import HTTPAdapter
from tqdm.auto import tqdm
from urllib3.util import Retry

from semsearch_nb import cache

# Its own, and those of whichever httpx it uses, for a body that is cut again and again.
HUB_ERRORS: tuple[type[Exception], ...] = (OSError, *HfHubHTTPError.__bases__[:1])
RETRIES = 5  # of a request that is answered "too many" or "not now"
TRIES = 3  # in a row that bring nothing, for want of a network
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of the body
BLOCK = 1 << 20


class DownloadError(OSError):
    """A file could not be had, or is not the one that was expected; the message names it and says why."""


def from_url(url: str, *, sha256: str | None = None) -> Path:
    """The file at an address: the one in the cache folder, or a new download that is kept there.

    What arrived before a cut, also of a process that was killed, is not asked for again if the server
    says that the file is still the same. The cached file is checked at every call, and needs no network.

    Args:
        sha256: of the content, in hexadecimal, where it is known.

    Raises:
        DownloadError: no network, an answer such as 404, or another content than `sha256`.
    """
    name = _name(url)

    def build(folder: Path) -> Mapping[str, Any]:
        part = folder.parent / f"{cache.digest(url)}.part"  # outlives a failure, unlike the folder
        _fetch(url, part)
        if sha256 is not None and (found := cache.file_sha256(part)) != sha256:
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
            file = Path(hf_hub_download(data_set, name, repo_type="dataset", local_files_only=offline))
        except HUB_ERRORS as error:
            raise DownloadError(f"{name} of the data set {data_set} is not to be had: {_first_line(error)}") from error
        if _is_whole(file):
            return file
        file.resolve().unlink()
    raise DownloadError(f"{name} of the data set {data_set} has another content than the hub's SHA-256 names")


def hub_answers() -> bool:
    """Whether the hub can be reached, told at once: its client tries for half a minute a file."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        requests.head(constants.ENDPOINT, timeout=TIMEOUT)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError):
        return True  # the hub's own client knows other certificates, and says more about proxies
    except requests.RequestException:
        return False
    return True


def commit(model: str) -> str | None:
    """The commit of a hub's model that is in the hub's cache, or None where there is none."""
    ref = _in_hub_cache(model) / "refs" / "main"
    return ref.read_text().strip() if ref.is_file() else None


def drop_damaged(model: str) -> bool:
    """Remove the files of a hub's model from the hub's cache whose content is not the expected, if any."""
    damaged = [file for file in (_in_hub_cache(model) / "blobs").glob("*") if not _is_whole(file)]
    for file in damaged:
        file.unlink()
    return bool(damaged)


def _in_hub_cache(model: str) -> Path:
    return Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")


def _is_whole(file: Path) -> bool:
    """Whether the content is that of its name in the hub's cache, where that is a SHA-256."""
    name = file.resolve().name
    return not re.fullmatch("[0-9a-f]{64}", name) or cache.file_sha256(file) == name


def _fetch(url: str, part: Path) -> None:
    """The whole content of an address in `part`, after what is there already."""
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{url} is not in the cache, and HF_HUB_OFFLINE forbids to download it")
    waiting = Retry(RETRIES, connect=0, read=0, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
    fruitless = 0
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=waiting))
        while True:
            before = _size(part)
            try:
                return _stream(session, url, part)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                fruitless = 0 if _size(part) > before else fruitless + 1
                if fruitless == TRIES:
                    raise DownloadError(f"{url} could not be downloaded: {_first_line(error)}") from error
                time.sleep(fruitless)
            except requests.RequestException as error:
                raise DownloadError(f"{url} could not be downloaded: {_first_line(error)}") from error


def _stream(session: requests.Session, url: str, part: Path) -> None:
    """One request, for what is missing of `part` if its version is known, else for everything."""
    version = part.with_suffix(".version")  # the server's name for the content that `part` begins
    headers = {"Accept-Encoding": "identity"}
    if part.exists() and version.exists():
        headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": version.read_text()}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # nothing is missing, or it is another file; ask again for everything
            raise requests.ConnectionError(f"{url} does not continue where the download stopped")
        response.raise_for_status()
        resumes = response.status_code == requests.codes.partial_content
        done = _size(part) if resumes else 0
        total = int(response.headers["Content-Length"]) + done if "Content-Length" in response.headers else None
        version.unlink(missing_ok=True)
        known = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if known and not known.startswith("W/"):  # a weak one does not promise the same bytes
            version.write_text(known)
        with (
            part.open("ab" if resumes else "wb") as stream,
            tqdm(total=total, initial=done, desc=_name(url), unit="B", unit_scale=True) as bar,
        ):
            for block in response.iter_content(BLOCK):
                stream.write(block)
                bar.update(len(block))
    version.unlink(missing_ok=True)


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
