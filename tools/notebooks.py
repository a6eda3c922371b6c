"""Run the notebooks, renew their outputs, and write the parts that are generated.

    python tools/notebooks.py run               executed pages in build/, with an index
    python tools/notebooks.py refresh [NAME …]  execute in place, to renew the committed outputs
    python tools/notebooks.py sync [--check]    headers, setup cells, tables, links

What is generated comes from `notebooks/manifest.toml`, the address in `pyproject.toml`, the
package's version and `benchmarks/results/quality.json`.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import platform
import re
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbconvert import HTMLExporter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from semsearch_nb import __version__

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
QUALITY = ROOT / "benchmarks" / "results" / "quality.json"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
TIMEOUT = 3600  # seconds a cell; the first run encodes 117,791 definitions
MEMORY = 4 * 2**30  # bytes that a running notebook may need
SERVER = ("SEMSEARCH_ELASTICSEARCH_URL", "SEMSEARCH_ELASTICSEARCH_ARCHIVE")
CORES = 4  # a notebook: two that share two cores are slower than one after the other


@dataclass(frozen=True)
class Entry:
    """A notebook of the manifest."""

    file: str
    title: str
    level: str
    minutes: int
    download: str
    needs: list[str]
    summary: str
    server: bool = False
    """Whether it needs Elasticsearch."""

    @property
    def number(self) -> str:
        return self.file[:2]

    @property
    def path(self) -> Path:
        return NOTEBOOKS / self.file

    @property
    def solutions(self) -> Path:
        return SOLUTIONS / self.file.replace(".ipynb", "_solutions.ipynb")


def read_manifest(file: Path = NOTEBOOKS / "manifest.toml") -> list[Entry]:
    """The entries in their order."""
    return [Entry(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["notebook"]]


@lru_cache
def repository() -> str:
    """The project's address, which stands once, in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


# ------------------------------------------------------------------------------------------- run


@dataclass(frozen=True)
class Result:
    """What running a notebook came to."""

    path: Path
    title: str
    seconds: float
    error: str | None = None
    skipped: str | None = None
    """Why it did not run, and how it would."""


def run(build: Path = ROOT / "build", notebooks: Sequence[tuple[Path, str]] | None = None) -> list[Result]:
    """Execute notebooks and write their pages and an index into `build`; one that fails stops no other."""
    entries = read_manifest()
    if notebooks is None:
        notebooks = [(entry.path, f"{entry.number} · {entry.title}") for entry in entries]
        notebooks += [(entry.solutions, f"Solutions to {entry.number} · {entry.title}") for entry in entries]
    serverless = [] if any(map(os.environ.get, SERVER)) else [entry.path for entry in entries if entry.server]
    reason = f"it needs Elasticsearch: set {' or '.join(SERVER)}, as the README describes, and run this again"
    results = [Result(path, title, 0.0, skipped=reason) for path, title in notebooks if path in serverless]
    for result in results:
        print(f"{result.title}: skipped; {reason}", flush=True)
    with ThreadPoolExecutor(parallel_runs()) as pool:
        wanted = [(path, title) for path, title in notebooks if path not in serverless]
        running = [pool.submit(run_one, path, title, build) for path, title in wanted]
        for count, future in enumerate(as_completed(running), 1):
            result = future.result()
            state = "FAILED" if result.error else "done"
            print(f"[{count}/{len(running)}] {result.title}: {state} in {result.seconds:.0f} s", flush=True)
            if result.error:
                print(result.error, flush=True)
            results.append(result)
    results.sort(key=lambda result: [path for path, _ in notebooks].index(result.path))
    write_index(build, results, {entry.path: entry for entry in entries})
    print(f"open {build / 'index.html'}")
    return results


def parallel_runs() -> int:
    """How many notebooks run at a time: as memory and cores allow, at least one."""
    return max(1, min(psutil.virtual_memory().available // MEMORY, (os.cpu_count() or 1) // CORES))


def run_one(path: Path, title: str, build: Path) -> Result:
    """Execute one notebook, leaving its file alone, and write its page, also when a cell fails."""
    print(f"running {title} …", flush=True)
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    error = execute(notebook, path.parent)
    seconds = time.perf_counter() - start
    page = page_of(path, build)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(as_page(notebook, title), encoding="utf-8")
    return Result(path, title, seconds, error)


def execute(notebook: Any, folder: Path) -> str | None:
    """Run all cells in a fresh kernel of this Python; the error that ended it, with its cell, or None."""
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # what a cell prints is one output, however it arrives
        resources={"metadata": {"path": folder}},
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only, not how the kernel is reached
    )
    try:
        client.execute()
    except DeadKernelError:
        return f"The kernel died in code cell {client.code_cells_executed}, as it does when memory runs out."
    except CellControlSignal as error:  # a cell failed or took too long
        return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return None


def as_page(notebook: Any, title: str) -> str:
    """HTML with the pictures and their alt texts inside; links between notebooks become links between pages."""
    page = nbformat.from_dict(notebook)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((?!https?:)([^)#]+)\.ipynb", r"](\1.html", cell.source)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data = {"text/html": as_image(output)}  # nbconvert's lab template leaves alt texts out
    body, _ = HTMLExporter(embed_images=True).from_notebook_node(page, {"metadata": {"name": title}})
    return str(body)


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


# --------------------------------------------------------------------------------------- refresh


def refresh(names: Sequence[str] = ()) -> list[str]:
    """Execute notebooks in place and save them in a form that does not change from run to run."""
    errors = []
    for path in matching(source_notebooks(), names):
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        error = execute(notebook, path.parent)
        print(f"{path.relative_to(ROOT)}: {'FAILED' if error else 'done'} in {time.perf_counter() - start:.0f} s")
        if error:
            print(error)
            errors.append(path.name)
        else:
            save(notebook, path)
    return errors


def matching(paths: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The notebooks whose file names begin with one of `names`; all of them when none is given."""
    for name in names:
        if not any(path.name.startswith(name) for path in paths):
            raise SystemExit(f"no notebook begins with {name!r}; there are {', '.join(path.stem for path in paths)}")
    return [path for path in paths if not names or path.name.startswith(tuple(names))]


def save(notebook: Any, path: Path) -> None:
    """Write a notebook without what depends on when, where and by which front end it was run."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in ("semsearch", "tags")}
    nbformat.validate(notebook)
    path.write_text(as_text(notebook), encoding="utf-8")


def as_text(notebook: Any) -> str:
    """What stands in a notebook's file."""
    return str(nbformat.writes(notebook)) + "\n"


def source_notebooks() -> list[Path]:
    """Notebooks and solutions, in the order of the manifest."""
    entries = read_manifest()
    return [entry.path for entry in entries] + [entry.solutions for entry in entries]


# ------------------------------------------------------------------------------------------ sync


def sync(check: bool = False) -> list[str]:
    """Write what is generated; with `check` only name the files in which it is stale."""
    entries = read_manifest()
    cells = {
        "setup": setup(),
        "map": "## The map\n\n" + table(entries, link="{file}"),
        "quality": quality_table(),
    }
    stale = []
    for position, entry in enumerate(entries):
        stale += update_notebook(entry.path, cells | {"header": header(entries, position)}, check)
        stale += update_notebook(entry.solutions, cells | {"header": solutions_header(entry)}, check)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = f"<!-- notebooks -->\n{table(entries, link='notebooks/{file}', badges=True)}\n<!-- /notebooks -->"
    fresh = re.sub(r"<!-- notebooks -->.*<!-- /notebooks -->", lambda _: block, text, flags=re.DOTALL)
    return stale + write_if_changed(readme, text, fresh, check)


def update_notebook(path: Path, cells: dict[str, str], check: bool) -> list[str]:
    """Put generated sources into the cells that carry their names, outputs untouched."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        cell.source = cells.get(cell.metadata.get("semsearch", ""), cell.source)
    return write_if_changed(path, text, as_text(notebook), check)


def pictures(path: Path) -> list[bytes]:
    """The PNG pictures among a notebook's outputs, in their order."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return [b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def write_if_changed(path: Path, text: str, fresh: str, check: bool) -> list[str]:
    if fresh == text:
        return []
    if not check:
        path.write_text(fresh, encoding="utf-8")
    return [str(path.relative_to(ROOT))]


def header(entries: Sequence[Entry], position: int) -> str:
    """Title, one line of facts and links, and the Colab badge."""
    entry = entries[position]
    numbers = {other.number: other for other in entries}
    needs = ", ".join(f"[{number}]({numbers[number].file})" for number in entry.needs) or "nothing"
    facts = [
        f"Level: {entry.level}",
        f"{entry.minutes} min on two cores",
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


def setup() -> str:
    """The setup cell: it installs only where the import fails, and holds the two switches."""
    return f"""\
# Colab installs the package here; elsewhere it is installed already.
try:
    import semsearch_nb
except ImportError:
    %pip install --quiet "semsearch-nb[ann,elastic,openvino] @ git+{repository()}@v{__version__}"
    import semsearch_nb

settings = semsearch_nb.configure()  # or configure(data="full", models="hub")"""


def badge(entry: Entry) -> str:
    target = repository().replace("https://github.com", "https://colab.research.google.com/github")
    return f"[![Open {entry.number} in Colab]({BADGE})]({target}/blob/main/notebooks/{entry.file})"


def table(entries: Sequence[Entry], *, link: str, badges: bool = False) -> str:
    """The notebooks as a Markdown table."""
    columns: dict[str, Callable[[Entry], str]] = {
        "notebook": lambda e: f"[{e.number} · {e.title}]({link.format(file=e.file)})",
        "what you learn": lambda e: e.summary,
        "level": lambda e: e.level,
        "minutes": lambda e: str(e.minutes),
    }
    if badges:
        columns["Colab"] = badge
    rows = [list(columns), ["---"] * len(columns), *([column(e) for column in columns.values()] for e in entries)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def quality_table() -> str:
    """nDCG@10 on data that the notebooks do not load, from the committed report."""
    report = json.loads(QUALITY.read_text(encoding="utf-8"))
    shown = {"squad": "SQuAD: question → paragraph", "quora": "Quora: question → duplicate question"}
    lines = ["| nDCG@10 | queries | BM25 | MiniLM | e5 |", "| --- | --- | --- | --- | --- |"]
    for name, label in shown.items():
        row = report["sets"][name]
        means = [f"{row['methods'][m]['nDCG@10']['mean']:.3f}" for m in ("BM25", "symmetric", "asymmetric")]
        lines.append("| " + " | ".join([label, f"{row['queries'][0]:,}", *means]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run")
    commands.add_parser("refresh").add_argument("names", nargs="*", metavar="NAME", help="how the file names begin")
    commands.add_parser("sync").add_argument("--check", action="store_true", help="change nothing, fail if stale")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return int(any(result.error for result in run()))
    if options.command == "refresh":
        return int(bool(refresh(options.names)))
    stale = sync(options.check)
    for name in stale:
        print(f"{name}: {'stale, run make sync' if options.check else 'written'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
