"""The book: how its sources are gathered, what its check finds, and what was built, where it has been."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import manifest
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import book

ROOT, OWN = manifest.ROOT, f"{manifest.repository()}/blob/main"
HERE, GLOSSARY = ROOT / "notebooks" / "00_start_here.ipynb", ROOT / "docs" / "glossary.md"
BUILT, GATHERED = ROOT / "build" / "book", ROOT / "build" / "book-source"

built = pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="make book has not been run")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"{OWN}/docs/glossary.md#bm25", "../docs/glossary.md#bm25"),
        ("../docs/glossary.md", "../docs/glossary.md"),
        ("../semsearch_nb/exact/certified.py", f"{OWN}/semsearch_nb/exact/certified.py"),
        ("#part", "#part"),
        ("https://example.org/docs/glossary.md", "https://example.org/docs/glossary.md"),
    ],
)
def test_a_link_leads_into_the_book_where_the_book_has_its_target(target, expected):
    assert book.links(f"[x]({target}).", HERE, {GLOSSARY}) == f"[x]({expected})."


def test_a_badge_becomes_its_words_since_its_picture_comes_from_the_network():
    assert book.links("[![Open it](https://x.org/badge.svg)](https://x.org)", HERE, set()) == "[Open it](https://x.org)"


def test_a_page_keeps_alt_texts_and_drops_what_needs_a_kernel_or_the_network():
    picture = new_output(
        "display_data", {"image/png": "AAAA", "text/plain": ""}, metadata={"image/png": {"alt": "dots"}}
    )
    widget = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"})
    remote = new_output("display_data", {"text/html": '<script src="https://cdn.example.org/x.js"></script>'})
    local = new_output("display_data", {"text/html": '<a href="https://example.org">x</a>'})
    printed = new_output("stream", text="42")
    cells = [new_markdown_cell("text"), new_code_cell("x", outputs=[picture, widget, remote, local, printed])]
    kept = book.as_page(new_notebook(cells=cells), HERE, set()).cells[1].outputs
    assert 'alt="dots"' in kept[0].data["text/html"]
    assert kept[1:] == [local, printed]


def test_a_notebook_that_is_just_being_written_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(book, "ROOT", tmp_path)
    (tmp_path / "half.ipynb").write_text('{"cells": [')
    assert list(book.readable([tmp_path / "half.ipynb", tmp_path / "gone.ipynb"])) == []
    assert re.findall(r"left out: (\w+)\.ipynb", capsys.readouterr().out) == ["half", "gone"]


def test_the_check_finds_what_leads_nowhere_and_what_comes_from_elsewhere(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top"><a href="b.html#here">x</a><a href="#top">x</a><a href="https://example.org">x</a></h1>'
        '<a href="b.html#there">x</a><a href="c.html">x</a><img src="https://example.org/a.png"><img src="data:,">'
        '<link rel="stylesheet" href="//example.org/a.css"><link rel="canonical" href="https://example.org/a">'
    )
    (tmp_path / "b.html").write_text('<p id="here">')
    (tmp_path / "a.css").write_text("a { background: url(https://example.org/a.png) } b { background: url(a.png) }")
    assert sorted(book.check(tmp_path)) == [
        "a.css: https://example.org/a.png comes from elsewhere",
        "a.html: //example.org/a.css comes from elsewhere",
        "a.html: b.html#there has no such place",
        "a.html: c.html is not there",
        "a.html: https://example.org/a.png comes from elsewhere",
    ]


def test_every_room_has_a_page_and_no_answer_has_one():
    pages = book.interfaces()
    assert {"semsearch_nb.exact.rst", "semsearch_nb.fusion.rst", "semsearch_nb.datasets.wordnet.rst"} <= set(pages)
    assert [name for name in pages if "answers" in name] == []


class Replies(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({"/fine": 200, "/moved": 302}.get(self.path, 404))
        self.send_header("Location", "/fine")
        self.end_headers()
        self.wfile.write(b'<p id="here">')

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


def test_the_link_check_tells_what_is_gone(tmp_path):
    """On loopback, with the settings of `make links`."""
    pytest.importorskip("sphinx_book_theme", reason="make book installs it")
    with ThreadingHTTPServer(("127.0.0.1", 0), Replies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        links = " ".join(f"[x]({address}/{place})" for place in ("fine", "fine#here", "fine#there", "moved", "gone"))
        (tmp_path / "index.md").write_text(f"# Links\n\n{links}\n")
        command = [sys.executable, "-m", "sphinx", "-b", "linkcheck", "-q", "-c", str(book.BOOK)]
        status = subprocess.run([*command, str(tmp_path), str(tmp_path / "out")], capture_output=True).returncode
        server.shutdown()
    rows = map(json.loads, (tmp_path / "out" / "output.json").read_text().splitlines())
    found = {row["uri"].removeprefix(f"{address}/"): row["status"] for row in rows}
    assert status != 0
    expected = {"fine": "working", "fine#here": "working", "fine#there": "broken", "gone": "broken"}
    assert found == expected | {"moved": "redirected"}


@built
def test_what_was_built_leads_nowhere_wrong_and_asks_no_network():
    assert book.check(BUILT) == []


@built
def test_what_was_built_has_every_notebook_that_was_gathered_without_its_checks():
    for path in GATHERED.glob("notebooks/**/*.ipynb"):
        page = (BUILT / path.relative_to(GATHERED)).with_suffix(".html").read_text(encoding="utf-8")
        images = re.findall(r"<img [^>]*>", page)
        assert [image for image in images if 'alt="' not in image] == []
        assert re.findall(r"^assert ", re.sub(r"<[^>]+>", "", page), re.MULTILINE) == []


@built
def test_what_was_built_can_be_searched():
    index = (BUILT / "searchindex.js").read_text(encoding="utf-8")
    assert {"hnswlib", "bm25"} <= set(re.findall(r"\b(hnswlib|bm25)\b", index))
