"""A small server on loopback that answers what `huggingface_hub` asks under `HF_ENDPOINT`, and plain addresses.

It can fail on purpose: `hub.faults["repository/file"]` is a list of what happens to the next requests for the
body of that file, an HTTP status, `"cut"` (the body ends in the middle) or `"wrong"` (another body of the same length).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
API = re.compile(r"/api/(?P<kind>models|datasets)/(?P<id>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<rest>.+))?")


class Request(NamedTuple):
    method: str
    path: str
    status: int
    n_bytes: int  # of the body


class Hub:
    """Repositories (`"owner/name"`, `"datasets/owner/name"`) and plain files (`""`), by the name of a file."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Path | bytes]] = defaultdict(dict)
        self.faults: dict[str, list[int | str]] = defaultdict(list)
        self.requests: list[Request] = []
        self.url = ""
        self._sha256: dict[Path | bytes, str] = {}

    def sha256(self, content: Path | bytes) -> str:
        if content not in self._sha256:
            data = content if isinstance(content, bytes) else content.read_bytes()
            self._sha256[content] = hashlib.sha256(data).hexdigest()
        return self._sha256[content]

    def bodies(self, ending: str = "") -> list[Request]:
        """The requests so far that brought a body of a file with this ending."""
        return [r for r in self.requests if r.method == "GET" and r.n_bytes and r.path.endswith(ending)]


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """A hub without files, until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := RESOLVE.fullmatch(path):
            self.file(path, found["repo"], found["file"], {"X-Repo-Commit": COMMIT})
        elif found := API.fullmatch(path):
            repo = found["id"] if found["kind"] == "models" else f"datasets/{found['id']}"
            self.listing(path, repo, tree=found["what"] == "tree", folder=(found["rest"] or "").partition("/")[2])
        else:
            self.file(path, "", path[1:], {})

    def file(self, path: str, repo: str, name: str, headers: dict[str, str]) -> None:
        content = self.hub.files.get(repo, {}).get(name)
        faults = self.hub.faults[f"{repo}/{name}"] if self.command == "GET" else []
        fault = faults.pop(0) if faults else None
        if content is None:
            code = "EntryNotFound" if repo in self.hub.files else "RepoNotFound"
            return self.send(path, 404, b"", {**headers, "X-Error-Code": code})
        if isinstance(fault, int):
            return self.send(path, fault, b"", {**headers, "Retry-After": "1"})
        body = content if isinstance(content, bytes) else content.read_bytes()
        headers = {**headers, "ETag": f'"{self.hub.sha256(content)}"', "Accept-Ranges": "bytes"}
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if start >= len(body) and status == 206:
            return self.send(path, 416, b"", headers)
        body = body[start:]
        if fault == "wrong":
            body = bytes(len(body))
        return self.send(path, status, body, headers, cut=fault == "cut")

    def listing(self, path: str, repo: str, *, tree: bool, folder: str) -> None:
        files = self.hub.files.get(repo)
        if files is None:
            return self.send(path, 404, b"", {"X-Error-Code": "RepoNotFound"})
        if tree:
            chosen = [name for name in files if name.startswith(folder)]
            if not chosen:
                return self.send(path, 404, b"", {"X-Error-Code": "EntryNotFound"})
            answer: object = [{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in chosen]
        else:
            name = repo.removeprefix("datasets/")
            siblings = [{"rfilename": name} for name in files]
            answer = {"id": name, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False, "downloads": 0}
        return self.send(path, 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def send(self, path: str, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        sent = b"" if self.command == "HEAD" else body[: len(body) // 2] if cut else body
        self.hub.requests.append(Request(self.command, path, status, len(sent)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(sent)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the requests are kept in `hub.requests`."""
