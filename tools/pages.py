"""The pages that `run` writes: executed notebooks as HTML, and an index of them."""

from __future__ import annotations

import html
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from committed import is_hidden
from manifest import NOTEBOOKS, Entry
from nbconvert import HTMLExporter

from semsearch_nb import __version__


@dataclass(frozen=True)
class Result:
    """What running a notebook came to."""

    path: Path
    title: str
    seconds: float
    error: str | None = None
    skipped: str | None = None
    """Why it did not run, and how it would."""


def as_page(notebook: Any, title: str) -> str:
    """HTML with the pictures and their alt texts inside; links between notebooks become links between pages."""
    page = nbformat.from_dict(notebook)
    page.cells = [cell for cell in page.cells if not is_hidden(cell) or failed(cell)]
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((?!https?:)([^)#]+)\.ipynb", r"](\1.html", cell.source)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data = {"text/html": as_image(output)}  # nbconvert's lab template leaves alt texts out
    body, _ = HTMLExporter(embed_images=True).from_notebook_node(page, {"metadata": {"name": title}})
    return str(body)


def failed(cell: Any) -> bool:
    """Whether running it ended with an error."""
    return any(output.output_type == "error" for output in cell.outputs)


def as_image(output: Any) -> str:
    """The picture of an output as an HTML element."""
    facts = output.metadata.get("image/png", {})
    width = f' width="{facts["width"]}"' if "width" in facts else ""
    alt = html.escape(facts.get("alt", ""))
    return f'<img alt="{alt}"{width} src="data:image/png;base64,{output.data["image/png"].strip()}">'


def page_of(path: Path, build: Path) -> Path:
    """`notebooks/solutions/x.ipynb` → `build/solutions/x.html`."""
    inside = path.relative_to(NOTEBOOKS) if path.is_relative_to(NOTEBOOKS) else Path(path.name)
    return build / inside.with_suffix(".html")


def write_index(build: Path, results: Sequence[Result], entries: dict[Path, Entry]) -> None:
    """A page that lists what ran, with level, seconds and link."""
    rows = []
    for result in results:
        entry = entries.get(result.path)
        link = page_of(result.path, build).relative_to(build).as_posix()
        state = "<strong>failed</strong>, " if result.error else ""
        title = html.escape(result.title)
        cells = [
            title if result.skipped else f'<a href="{link}">{title}</a>',
            html.escape(entry.summary) if entry else "",
            html.escape(entry.level) if entry else "",
            f"not run: {html.escape(result.skipped)}" if result.skipped else f"{state}{result.seconds:.0f} s",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("notebook", "what you learn", "level", "time"))
    build.mkdir(parents=True, exist_ok=True)
    (build / "index.html").write_text(
        f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>semsearch-nb</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem 1rem .4rem 0; border-bottom: 1px solid #ccc; }}
</style>
<h1>Semantic search in notebooks</h1>
<p>Executed on this computer with {versions()}.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{chr(10).join(rows)}
</tbody>
</table>
</html>
""",
        encoding="utf-8",
    )


def versions() -> str:
    """What the pages were made with."""
    packages = ("torch", "sentence-transformers", "numpy")
    found = [f"{package} {metadata.version(package)}" for package in packages]
    return ", ".join([f"semsearch_nb {__version__}", f"Python {platform.python_version()}", *found])
