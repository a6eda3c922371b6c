"""Write the parts that are generated: headers, setup cells, tables, links, and pictures.

They come from `notebooks/manifest.toml`, the address in `pyproject.toml`, the package's version,
`benchmarks/results/quality.json` and the committed outputs.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import rooms
from committed import as_text
from manifest import ROOT, Entry, read_manifest, repository, source_notebooks

from semsearch_nb import __version__

QUALITY = ROOT / "benchmarks" / "results" / "quality.json"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def sync(check: bool = False) -> list[str]:
    """Write what is generated; with `check` only name the files in which it is stale."""
    entries = read_manifest()
    cells = {"map": "## The map\n\n" + table(entries, link="{file}"), "quality": quality_table()}
    stale = []
    for position, entry in enumerate(entries):
        own = cells | {"setup": setup(entry)}
        stale += update_notebook(entry.path, own | {"header": header(entries, position)}, check)
        stale += update_notebook(entry.solutions, own | {"header": solutions_header(entry)}, check)
    stale += update_page("README.md", {"notebooks": table(entries, link="notebooks/{file}", badges=True)}, check)
    picture = f"![{rooms.alt()}](docs/rooms.svg)"
    stale += update_page("ARCHITECTURE.md", {"picture": picture, "rooms": rooms.table()}, check)
    stale += write_if_changed(ROOT / "docs" / "rooms.svg", rooms.picture().encode(), check)
    for path in source_notebooks():
        for file, picture in pictures(path).items():
            stale += write_if_changed(ROOT / file, picture, check)
    return stale


def update_notebook(path: Path, cells: dict[str, str], check: bool) -> list[str]:
    """Put generated sources into the cells that carry their names, outputs untouched."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cells.get(cell.metadata.get("semsearch", ""), cell.source)
    return write_if_changed(path, as_text(notebook).encode(), check)


def update_page(name: str, blocks: dict[str, str], check: bool) -> list[str]:
    """Put generated text between the comments `<!-- name -->` and `<!-- /name -->` of a page."""
    fresh = with_blocks((ROOT / name).read_text(encoding="utf-8"), blocks)
    return write_if_changed(ROOT / name, fresh.encode(), check)


def with_blocks(text: str, blocks: dict[str, str]) -> str:
    for block, fresh in blocks.items():
        start, end = f"<!-- {block} -->\n", f"\n<!-- /{block} -->"
        text = text[: text.index(start) + len(start)] + fresh + text[text.index(end) :]
    return text


def pictures(path: Path) -> dict[str, bytes]:
    """The pictures of a notebook that stand elsewhere too: a cell's `semsearch` metadata names the file."""
    files = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.metadata.get("semsearch", "").endswith(".png"):
            files[cell.metadata["semsearch"]] = b64decode(cell.outputs[0].data["image/png"])
    return files


def write_if_changed(path: Path, fresh: bytes, check: bool) -> list[str]:
    if path.exists() and path.read_bytes() == fresh:
        return []
    if not check:
        path.write_bytes(fresh)
    return [path.relative_to(ROOT).as_posix()]


def header(entries: Sequence[Entry], position: int) -> str:
    """Title, one line of facts and links, and the Colab badge."""
    entry = entries[position]
    numbers = {other.number: other for other in entries}
    needs = ", ".join(f"[{number}]({numbers[number].file})" for number in entry.needs) or "nothing"
    facts = [
        f"Level: {entry.level}",
        f"{entry.reading} min to read",
        f"runs in {entry.first_run} min on two cores",
        f"Download: {entry.download}",
        f"Needs: {needs}",
    ]
    if position > 0:
        previous = entries[position - 1]
        facts.append(f"Previous: [{previous.number} {previous.title}]({previous.file})")
    if position + 1 < len(entries):
        following = entries[position + 1]
        facts.append(f"Next: [{following.number} {following.title}]({following.file})")
    return f"# {entry.number} · {entry.title}\n\n{' · '.join(facts)}\n\n{badge(entry)}"


def solutions_header(entry: Entry) -> str:
    return f"# Solutions to {entry.number} · {entry.title}\n\nBack to the [notebook](../{entry.file})."


def setup(entry: Entry) -> str:
    """The setup cell: it installs what this notebook needs where the import fails, and holds the two switches."""
    package = f"semsearch-nb[{','.join(entry.extras)}]" if entry.extras else "semsearch-nb"
    release = f"git+{repository()}@v{__version__}"
    return f"""\
# Colab installs the package here; elsewhere it is installed already.
try:
    import semsearch_nb
except ImportError:
    %pip install --quiet "{package} @ {release}" "semsearch-nb-vectors @ {release}#subdirectory=vectors"
    import semsearch_nb

settings = semsearch_nb.configure()  # or configure(data="full", models="hub")
semsearch_nb.hub_cache.use_packaged()  # without network, plain library code finds all-MiniLM-L6-v2 too"""


def badge(entry: Entry) -> str:
    target = repository().replace("https://github.com", "https://colab.research.google.com/github")
    return f"[![Open {entry.number} in Colab]({BADGE})]({target}/blob/main/notebooks/{entry.file})"


def table(entries: Sequence[Entry], *, link: str, badges: bool = False) -> str:
    """The notebooks as a Markdown table."""
    columns: dict[str, Callable[[Entry], str]] = {
        "notebook": lambda e: f"[{e.number} · {e.title}]({link.format(file=e.file)})",
        "what you learn": lambda e: e.summary,
        "level": lambda e: e.level,
        "minutes to read": lambda e: str(e.reading),
        "minutes to run": lambda e: str(e.first_run),
    }
    if badges:
        columns["Colab"] = badge
    rows = [list(columns), ["---"] * len(columns), *([column(e) for column in columns.values()] for e in entries)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def quality_table() -> str:
    """nDCG@10 on data that the notebooks do not load, from the committed report."""
    report = json.loads(QUALITY.read_text(encoding="utf-8"))
    shown = {
        "squad": "SQuAD: question → paragraph",
        "trec-dl-2019-5k": "TREC DL 2019: web question → passage",
        "wikiqa": "WikiQA: web question → sentence",
        "medquad": "MedQuAD: medical question → answer",
        "quora": "Quora: question → duplicate question",
    }
    lines = ["| nDCG@10 | queries | documents | BM25 | MiniLM | e5 |", "| --- | --- | --- | --- | --- | --- |"]
    for name, label in shown.items():
        row = report["sets"][name]
        means = [f"{row['methods'][m]['nDCG@10']['mean']:.2f}" for m in ("BM25", "symmetric", "asymmetric")]
        lines.append("| " + " | ".join([label, *(f"{row[n][0]:,}" for n in ("queries", "documents")), *means]) + " |")
    return "\n".join(lines)
