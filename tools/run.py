"""Execute notebooks: `run` writes their pages, `refresh` renews the outputs that are committed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import nbformat
import pages
import psutil
from committed import fix_environment, save
from manifest import ROOT, read_manifest, source_notebooks
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from pages import Result

TIMEOUT = 3600  # seconds a cell; the first run encodes 117,791 definitions
MEMORY = 4 * 2**30  # bytes that a running notebook may need
URL, ARCHIVE = "SEMSEARCH_ELASTICSEARCH_URL", "SEMSEARCH_ELASTICSEARCH_ARCHIVE"
SERVER = (URL, ARCHIVE)
CORES = 4  # a notebook: two that share two cores are slower than one after the other


def run(build: Path = ROOT / "build", notebooks: Sequence[tuple[Path, str]] | None = None) -> list[Result]:
    """Execute notebooks and write their pages and an index into `build`; one that fails stops no other."""
    entries = read_manifest()
    if notebooks is None:
        notebooks = [(entry.path, f"{entry.number} · {entry.title}") for entry in entries]
        notebooks += [(entry.solutions, f"Solutions to {entry.number} · {entry.title}") for entry in entries]
    serverless = [] if any(map(os.environ.get, SERVER)) else [entry.path for entry in entries if entry.server]
    reason = f"it needs Elasticsearch: make notebooks ELASTICSEARCH=download, or set {' or '.join(SERVER)}"
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
    entry_of = {entry.path: entry for entry in entries}
    for result in results:
        if result.path in entry_of and not result.skipped:
            entry = entry_of[result.path]
            print(f"{entry.number}: {result.seconds / 60:.1f} min; the manifest says {entry.first_run} the first time")
    pages.write_index(build, results, entry_of)
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
    page = pages.page_of(path, build)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(pages.as_page(notebook, title), encoding="utf-8")
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


def refresh(names: Sequence[str] = ()) -> list[str]:
    """Execute notebooks in place and save them in a form that does not change from run to run."""
    fix_environment()
    errors = []
    for path in matching(source_notebooks(), names):
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        error = execute(notebook, path.parent)
        state = "FAILED" if error else "done"
        print(f"{path.relative_to(ROOT)}: {state} in {time.perf_counter() - start:.0f} s", flush=True)
        if error:
            print(error, flush=True)
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
