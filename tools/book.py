"""Build the book from the committed notebooks, documents and docstrings, and check what was built.

python tools/book.py         pages in build/book; fails where a link leads nowhere or a page asks the network
python tools/book.py links   ask every address outside of the book whether it is still there
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from manifest import ROOT, repository, source_notebooks
from pages import as_image

import semsearch_nb

BOOK = ROOT / "book"
TEXTS = ("*.md", "docs/**/*.md", "benchmarks/results/*.md", "training/*.md", "semsearch_nb/**/card.md")
READMES = ("judgements/README.md", "vectors/README.md")
NOT_SHOWN = "semsearch_nb.teaching.answers"


def gather(target: Path) -> None:
    """The sources of the book, in the layout of the repository, so that links between them hold."""
    shutil.rmtree(target, ignore_errors=True)
    texts = [path for pattern in (*TEXTS, *READMES) for path in sorted(ROOT.glob(pattern))]
    notebooks = list(readable(source_notebooks()))
    inside = {*texts, *(path for path, _ in notebooks)}
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".svg")]
    for path in pictures:
        write(target / path.relative_to(ROOT), path.read_bytes())
    for path in texts:
        text = links(path.read_text(encoding="utf-8"), path, {*inside, *pictures})
        title = "" if re.search(r"^# ", text, re.MULTILINE) else f"# {path.stem.replace('_', ' ').capitalize()}\n\n"
        write(target / path.relative_to(ROOT), (title + text).encode())
    for path, notebook in notebooks:
        page = as_page(notebook, path, inside)
        write(target / path.relative_to(ROOT), nbformat.writes(page).encode())
    for path in BOOK.glob("*.md"):
        write(target / path.name, path.read_bytes())
    for name, text in interfaces().items():
        write(target / "interfaces" / name, text.encode())


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def readable(paths: Sequence[Path]) -> Iterator[tuple[Path, Any]]:
    """The notebooks that can be read now; others are named and left out, as somebody may be writing them."""
    for path in paths:
        try:
            yield path, nbformat.read(path, as_version=4)
        except (OSError, ValueError) as error:
            print(f"left out: {path.relative_to(ROOT)}: {error}")


def links(text: str, path: Path, inside: set[Path]) -> str:
    """Links to what is in the book lead there, all others to the repository; a badge becomes its words."""
    own = f"{repository()}/blob/main/"

    def resolved(found: re.Match[str]) -> str:
        target = found[1]
        if target.startswith("#") or (urlsplit(target).scheme and not target.startswith(own)):
            return found[0]
        file, hash_, anchor = target.partition("#")
        wanted = ROOT / file.removeprefix(own) if file.startswith(own) else path.parent / file
        wanted = Path(os.path.normpath(wanted))
        if wanted in inside:
            file = Path(os.path.relpath(wanted, path.parent)).as_posix()
        else:
            file = own + wanted.relative_to(ROOT).as_posix()
        return f"]({file}{hash_}{anchor})"

    text = re.sub(r"\[!\[([^\]]*)\]\([^)]*badge[^)]*\)\]", r"[\1]", text)
    return re.sub(r"\]\(([^)\s]+)\)", resolved, text)


def as_page(notebook: Any, path: Path, inside: set[Path]) -> Any:
    """A notebook with its links, alt texts of pictures, and without what needs a kernel or the network."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = links(cell.source, path, inside)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                output.data = {"text/html": as_image(output)}
            if "application/vnd.jupyter.widget-view+json" in data or asks_network(data.get("text/html", "")):
                output.data = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("data", True)]
    return notebook


def asks_network(html: str) -> bool:
    """Whether HTML loads something from elsewhere."""
    return re.search(r"""(src=|import )["']?https?:""", html) is not None


def interfaces() -> dict[str, str]:
    """Pages for the rooms of the package, and for the modules in them of which the room itself shows nothing."""
    pages, rooms = {}, []
    for room in modules_in(semsearch_nb):
        inner = [module for module in modules_in(room) if not shows(room, module)]
        pages |= {f"{module.__name__}.rst": reference(module, []) for module in inner}
        pages[f"{room.__name__}.rst"] = reference(room, inner)
        rooms.append(room)
    about = "What a notebook imports, room by room. Every text here is a docstring of the code.\n\n"
    pages["index.rst"] = heading("Interfaces") + about + contents(rooms)
    return pages


def modules_in(package: Any) -> Iterator[Any]:
    """The modules of a package; one that cannot be imported here, for lack of an extra, is named and left out."""
    for found in pkgutil.iter_modules(getattr(package, "__path__", []), f"{package.__name__}."):
        if found.name != NOT_SHOWN:
            try:
                yield importlib.import_module(found.name)
            except ImportError as error:
                print(f"left out: {found.name}: {error}")


def shows(room: Any, module: Any) -> bool:
    """Whether a room offers something of a module as its own."""
    offered = (getattr(room, name) for name in getattr(room, "__all__", ()))
    return any(getattr(one, "__module__", None) == module.__name__ for one in offered)


def reference(module: Any, inner: Sequence[Any]) -> str:
    name = module.__name__
    options = "   :members:\n" + "   :imported-members:\n" * hasattr(module, "__all__")
    page = f"{heading(short(module))}.. automodule:: {name}\n{options}\n"
    return page + (f".. rubric:: Modules\n\n{contents(inner)}" if inner else "")


def short(module: Any) -> str:
    return str(module.__name__).removeprefix("semsearch_nb.")


def heading(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n"


def contents(modules: Sequence[Any]) -> str:
    """A list of modules with the first lines of their docstrings, and their entries in the sidebar."""
    lines = [
        f"* :doc:`{short(one)} <{one.__name__}>`: {(one.__doc__ or '').partition(chr(10))[0]}\n" for one in modules
    ]
    entries = [f"   {short(one)} <{one.__name__}>\n" for one in modules]
    return f"{''.join(lines)}\n.. toctree::\n   :hidden:\n\n{''.join(entries)}\n"


class Page(HTMLParser):
    """What a built page links to, what it loads, and the places in it that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attributes}
        self.anchors |= {facts[name] for name in ("id", "name") if name in facts}
        if tag == "a" and "href" in facts:
            self.links.append(facts["href"])
        elif tag == "link" and facts.get("rel") not in ("canonical", "author"):
            self.loads.append(facts["href"])
        elif tag != "a" and "src" in facts:
            self.loads.append(facts["src"])


def check(book: Path) -> list[str]:
    """What is wrong: links and anchors that lead nowhere, and files that are missing or come from elsewhere."""
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(book.rglob("*.html"))
        if "_static" not in path.parts
    }
    faults = []
    for path, page in pages.items():
        for target in {*page.links, *page.loads}:
            parts = urlsplit(target)
            if parts.scheme == "data" or (parts.scheme and target in page.links and target not in page.loads):
                continue
            file = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            anchor = unquote(parts.fragment)
            if parts.scheme or parts.netloc:
                reason = "comes from elsewhere"
            elif not file.is_file():
                reason = "is not there"
            elif anchor and file in pages and anchor not in pages[file].anchors:
                reason = "has no such place"
            else:
                continue
            faults.append(f"{path.relative_to(book)}: {target} {reason}")
    for path in book.rglob("*.css"):
        loaded = re.findall(r"""(?:url\(|@import )\s*["']?(https?:[^"')]+)""", path.read_text(encoding="utf-8"))
        faults += [f"{path.relative_to(book)}: {target} comes from elsewhere" for target in loaded]
    return faults


def main(arguments: Sequence[str]) -> int:
    from sphinx.cmd.build import build_main

    start, build = time.perf_counter(), ROOT / "build"
    source, target = build / "book-source", build / "book"
    gather(source)
    options = ["-c", str(BOOK), "-d", str(build / "book-trees"), "-j", "auto", "-q"]
    if arguments == ["links"]:
        return build_main(["-b", "linkcheck", *options, str(source), str(build / "links")])
    shutil.rmtree(target, ignore_errors=True)
    if status := build_main(["-b", "html", *options, str(source), str(target)]):
        return status
    faults = check(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 1e6
    print("\n".join([*faults, f"{time.perf_counter() - start:.0f} s, {size:.0f} MB; open {target / 'index.html'}"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
