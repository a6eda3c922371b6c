"""`download.from_url` against a server on loopback that answers what each test has prepared."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import requests

from semsearch_nb import cache, download, settings

OLD, NEW = b"A" * 3_000_000, b"B" * 3_500_000
BEGUN = download.BLOCK  # bytes: what comes after the last whole block is lost when a body is cut
SPAWN = multiprocessing.get_context("spawn")


class Server:
    """`answers` is a list of `(status, headers, body, bytes sent)`; the last one stays. `asked` are the headers."""

    def __init__(self):
        self.answers, self.asked, self.url = [], [], ""

    def add(self, status=200, body=b"", sent=None, length=True, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, headers | ({"Content-Length": str(len(body))} if length else {}), body[:sent]))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.Settings(cache_dir=tmp_path / "cache"))
    monkeypatch.setattr(download, "OFFLINE", False)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: server.slept.append(seconds))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    server.slept = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(dict(self.headers))
            status, headers, body = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        listening.shutdown()


def begun(server, etag, content=OLD):
    """A download that has been cut after its first block."""
    server.add(200, content, sent=2_000_000, ETag=etag)
    server.add(404)
    with pytest.raises(download.DownloadError, match="404"):
        download.from_url(server.url + "/file")
    server.answers, server.asked = [], []


def rest(server, start=BEGUN, body=OLD, etag='"old"', says=None, **options):
    says = says or f"bytes {start}-{len(body) - 1}/{len(body)}"
    server.add(206, body[start:], ETag=etag, Content_Range=says, **options)


def test_a_strong_etag_is_gone_on_with(server):
    begun(server, '"old"')
    rest(server)
    assert download.from_url(server.url + "/file").read_bytes() == OLD
    assert [(asked["Range"], asked["If-Range"]) for asked in server.asked] == [(f"bytes={BEGUN}-", '"old"')]


@pytest.mark.parametrize("etag", ['W/"old"', "", "old"])
def test_nothing_else_is_gone_on_with(etag, server):
    begun(server, etag)
    server.add(200, NEW, ETag=etag)
    assert download.from_url(server.url + "/file").read_bytes() == NEW
    assert "Range" not in server.asked[0]


def test_the_bytes_of_an_encoding_are_not_gone_on_with(server):
    server.add(200, OLD, sent=2_000_000, ETag='"old"', Content_Encoding="x-unknown")
    server.add(200, NEW)
    assert download.from_url(server.url + "/file").read_bytes() == NEW
    assert "Range" not in server.asked[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"says": "bytes 0-2999999/3000000"},
        {"says": f"bytes {BEGUN}-2999999/4000000"},
        {"says": f"bytes {BEGUN}-2999999/*"},
        {"says": " "},
        {"etag": '"new"', "body": NEW},
        {"etag": ""},
    ],
    ids=str,
)
def test_a_part_that_does_not_fit_is_not_taken(wrong, server):
    begun(server, '"old"')
    rest(server, **wrong)
    server.add(200, NEW, ETag='"new"')
    assert download.from_url(server.url + "/file").read_bytes() == NEW
    assert ["Range" in asked for asked in server.asked] == [True, False]


def test_cuts_that_bring_something_are_not_counted(server):
    server.add(200, NEW, sent=1_100_000, ETag='"new"')
    for blocks in (1, 2):
        rest(server, blocks * download.BLOCK, NEW, '"new"', sent=1_100_000)
    rest(server, 3 * download.BLOCK, NEW, '"new"')
    assert download.from_url(server.url + "/file").read_bytes() == NEW
    assert len(server.asked) == 1 + download.TRIES


def test_another_content_than_that_of_the_checksum_is_not_taken(server):
    server.add(200, b"wrong")
    server.add(200, b"right")
    right = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(download.DownloadError, match=r"has the SHA-256 .* is expected"):
        download.from_url(server.url + "/file", sha256=right)
    assert download.from_url(server.url + "/file", sha256=right).read_bytes() == b"right"


def test_a_file_that_is_shorter_now_is_asked_for_again(server):
    begun(server, '"old"')
    server.add(416, Content_Range="bytes */5")
    server.add(200, b"short", ETag='"new"')
    assert download.from_url(server.url + "/file").read_bytes() == b"short"


def test_a_body_that_is_shorter_than_it_says_is_not_taken(server, monkeypatch):
    real = requests.Response.iter_content
    # As requests before urllib3 2, which did not compare the lengths.
    monkeypatch.setattr(requests.Response, "iter_content", lambda self, size: [b"".join(real(self, size))[:7]])
    server.add(200, b"0123456789")
    with pytest.raises(download.DownloadError, match="7 of 10 bytes arrived"):
        download.from_url(server.url + "/file")
    assert not list(cache.place("downloads").rglob("file"))


def test_without_a_length_the_end_is_the_end(server):
    server.add(200, b"0123456789", length=False)
    assert download.from_url(server.url + "/file").read_bytes() == b"0123456789"


DIES = r"""
import os, sys
from pathlib import Path
from semsearch_nb import download
moments = iter(range(int(sys.argv[2]) + 1))
def dying(method):
    def dies(*arguments, **options):
        result = method(*arguments, **options)
        if "downloads" in str(arguments[0]) and next(moments, None) is None:
            os._exit(9)
        return result
    return dies
for name in ("write_text", "write_bytes", "unlink", "open"):
    setattr(Path, name, dying(getattr(Path, name)))
download.from_url(sys.argv[1])
"""


@pytest.mark.parametrize("moment", range(5))
def test_a_process_that_dies_between_two_steps_never_joins_old_and_new(moment, server, tmp_path):
    begun(server, '"old"')
    server.add(200, NEW, ETag='"new"')
    environment = {**os.environ, "SEMSEARCH_CACHE_DIR": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", DIES, server.url + "/file", str(moment)], env=environment, check=False
    )
    assert ended.returncode == 9
    part = next(cache.place("downloads").glob("*.part"))
    version = part.with_suffix(".version")
    if version.exists() and version.read_text():  # then the next process goes on from here
        assert version.read_text() == '"new"' and NEW.startswith(part.read_bytes())
    assert download.from_url(server.url + "/file").read_bytes() == NEW


def test_a_version_that_was_not_written_is_none(server):
    begun(server, '"old"')
    next(cache.place("downloads").glob("*.version")).write_text("")
    server.add(200, NEW)
    assert download.from_url(server.url + "/file").read_bytes() == NEW
    assert "Range" not in server.asked[0]


def fetch(url, sha256, cache_dir, ready, results):
    settings._current = settings.Settings(cache_dir=cache_dir)
    download.OFFLINE = False
    ready.wait(60)
    results.put(hashlib.sha256(download.from_url(url, sha256=sha256).read_bytes()).hexdigest())


def test_with_and_without_a_checksum_at_once(server, tmp_path):
    server.add(200, NEW, ETag='"new"')
    right = hashlib.sha256(NEW).hexdigest()
    ready, results = SPAWN.Barrier(2), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=fetch, args=(server.url + "/file", sha256, tmp_path / "cache", ready, results))
        for sha256 in (None, right)
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [right] * 2
    for process in processes:
        process.join(60)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/manifest.json", "manifest.json"),
        ("/.lock", "lock"),
        ("/", "download"),
        ("", "download"),
        ("/a/..", "download"),
        ("/a/...", "download"),
        ("/a/?file=x.zip", "download"),
        ("/a%2Fb%00c.zip", "a_2Fb_00c.zip"),
        ("/x\\..\\y:z.zip", "x_.._y_z.zip"),
        ("/" + "x" * 300 + ".tar.gz", "x" * 93 + ".tar.gz"),
    ],
)
def test_the_name_is_a_plain_one(address, name, server, recwarn):
    server.add(200, b'{"mine": 1}')
    right = hashlib.sha256(b'{"mine": 1}').hexdigest()
    for _ in range(2):
        file = download.from_url(server.url + address, sha256=right.upper())
        assert file.name == name and file.read_bytes() == b'{"mine": 1}'
    assert len(server.asked) == 1 and not recwarn.list


def test_a_server_that_is_busy_is_waited_for_and_that_is_said(server, capsys):
    server.add(503, Retry_After="12")
    server.add(429, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT")
    server.add(429, Retry_After="soon")
    server.add(200, b"ok")
    assert download.from_url(server.url + "/file").read_bytes() == b"ok"
    assert server.slept == [12, 0, 8]
    assert "answers 503; waiting 12 seconds" in capsys.readouterr().err


@pytest.mark.parametrize("asks", ["121", "21600", "Thu, 01 Jan 2100 00:00:00 GMT"])
def test_a_server_that_asks_for_too_much_is_not_waited_for(asks, server):
    server.add(503, Retry_After=asks)
    with pytest.raises(download.DownloadError, match=r"answers 503 and asks to wait [\d,]+ seconds"):
        download.from_url(server.url + "/file")
    assert server.slept == []


def test_a_redirect_that_drops_the_encryption_is_refused(server, monkeypatch):
    def answer(self, request, **_):
        response = requests.Response()
        response.status_code, response.url, response.request = 302, request.url, request
        response.headers["Location"] = {"a": "//other.example/b", "b": "/c", "c": server.url + "/file"}[request.url[-1]]
        return response

    real = requests.adapters.HTTPAdapter.send
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter,
        "send",
        lambda self, request, **options: (answer if "example" in request.url else real)(self, request, **options),
    )
    server.add(200, b"ok")
    with pytest.raises(download.DownloadError, match=r"other\.example/c leads to http://127.*not encrypted"):
        download.from_url("https://one.example/a")
    assert not server.asked
    server.answers = []
    server.add(302, Location="/there")
    server.add(200, b"ok")
    assert download.from_url(server.url + "/file").read_bytes() == b"ok"


def test_a_checksum_must_be_one(server):
    with pytest.raises(ValueError, match="sha256 must be 64 hexadecimal digits, not 'abc'"):
        download.from_url(server.url + "/file", sha256="abc")
