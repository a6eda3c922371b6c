import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebooks as tool


def write(path, *sources, **metadata):
    cells = [new_markdown_cell("See [the other](other.ipynb#part) and [the web](https://example.org/x.ipynb).")]
    cells += [new_code_cell(source) for source in sources]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


PICTURE = """
import matplotlib.pyplot as plt
from semsearch_nb import plots
plots.show(plt.figure(figsize=(1, 1)), alt="an empty figure")
"""


def test_one_that_fails_stops_no_other_and_is_told(tmp_path, capsys):
    broken = write(tmp_path / "broken.ipynb", "fine = 1", "fine / 0")
    good = write(tmp_path / "good.ipynb", PICTURE, "6 * 7")
    before = broken.read_bytes(), good.read_bytes()
    results = tool.run(tmp_path / "build", [(broken, "Broken"), (good, "Good")])
    assert [(result.title, bool(result.error)) for result in results] == [("Broken", True), ("Good", False)]
    assert (broken.read_bytes(), good.read_bytes()) == before
    said = capsys.readouterr().out
    assert "[2/2]" in said
    assert "Broken: FAILED in" in said
    assert "fine / 0" in said
    assert "ZeroDivisionError" in said
    page = (tmp_path / "build" / "good.html").read_text()
    assert "42" in page
    assert 'alt="an empty figure"' in page
    assert 'href="other.html#part"' in page
    assert 'href="https://example.org/x.ipynb"' in page
    index = (tmp_path / "build" / "index.html").read_text()
    assert '<a href="good.html">Good</a>' in index
    assert "<strong>failed</strong>" in index


def test_a_kernel_that_dies_is_an_error_with_its_cell(tmp_path):
    path = write(tmp_path / "dies.ipynb", "1", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    error = tool.execute(nbformat.read(path, as_version=4), tmp_path)
    assert error.startswith("The kernel died in code cell 3")


def test_refresh_refuses_a_name_that_no_notebook_has():
    paths = [Path("00_start.ipynb"), Path("01_next.ipynb"), Path("solutions/01_next_solutions.ipynb")]
    assert tool.matching(paths, []) == paths
    assert tool.matching(paths, ["01"]) == paths[1:]
    with pytest.raises(SystemExit, match="no notebook begins with '07'; there are 00_start, 01_next"):
        tool.matching(paths, ["01", "07"])


def test_main_tells_failure_by_its_exit_status(monkeypatch):
    monkeypatch.setattr(tool, "run", lambda: [tool.Result(Path("x"), "x", 1.0, "error")])
    assert tool.main(["run"]) == 1
    monkeypatch.setattr(tool, "run", lambda: [tool.Result(Path("x"), "x", 1.0, None)])
    assert tool.main(["run"]) == 0


def test_saved_notebooks_do_not_change_from_run_to_run(tmp_path):
    path = write(
        tmp_path / "a.ipynb",
        PICTURE,
        "print('x', flush=True)\nprint('y')",
        colab={"name": "mine"},
        widgets={"state": {}},
    )
    contents = []
    for _ in range(2):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[1].metadata = {"semsearch": "setup", "execution": {"start": 1}, "tags": ["raises-exception"]}
        assert tool.execute(notebook, tmp_path) is None
        tool.save(notebook, path)
        contents.append(path.read_text())
    assert contents[0] == contents[1]
    saved = nbformat.read(path, as_version=4)
    assert set(saved.metadata) == {"kernelspec", "language_info"}
    assert saved.cells[1].metadata == {"semsearch": "setup", "tags": ["raises-exception"]}
    assert [output.text for output in saved.cells[2].outputs] == ["x\ny\n"]


def test_generated_cells_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    path = write(tmp_path / "a.ipynb", "old")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["semsearch"] = "setup"
    nbformat.write(notebook, path)
    assert tool.update_notebook(path, {"setup": "new"}, check=True) == ["a.ipynb"]
    assert nbformat.read(path, as_version=4).cells[1].source == "old"
    assert tool.update_notebook(path, {"setup": "new"}, check=False) == ["a.ipynb"]
    assert nbformat.read(path, as_version=4).cells[1].source == "new"
    assert tool.update_notebook(path, {"setup": "new"}, check=False) == []


def test_header_links_to_neighbours_and_needs():
    entries = tool.read_manifest()
    first, last = tool.header(entries, 0), tool.header(entries, len(entries) - 1)
    assert "Previous" not in first
    assert f"Next: [01 {entries[1].title}]({entries[1].file})" in first
    assert "Next" not in last
    needed = entries[-1].needs[0]
    assert f"Needs: [{needed}]({needed}_" in last
    assert f"{tool.repository().removeprefix('https://github.com')}/blob/main/notebooks/{entries[0].file}" in first


@pytest.mark.parametrize(("memory", "cores", "expected"), [(1, 64, 1), (64, 2, 1), (64, 8, 2), (9, 64, 2)])
def test_notebooks_run_side_by_side_only_where_memory_and_cores_allow(monkeypatch, memory, cores, expected):
    monkeypatch.setattr(tool.psutil, "virtual_memory", lambda: type("M", (), {"available": memory * 2**30}))
    monkeypatch.setattr(tool.os, "cpu_count", lambda: cores)
    assert tool.parallel_runs() == expected


@pytest.fixture
def serverless(monkeypatch):
    for name in tool.SERVER:
        monkeypatch.delenv(name, raising=False)


def test_the_index_says_how_to_run_what_lacks_its_server(serverless, tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "06_elasticsearch.ipynb", "1 / 0")
    entry = replace(next(entry for entry in tool.read_manifest() if entry.server), file=path.name)
    monkeypatch.setattr(tool, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(tool, "read_manifest", lambda: [entry])
    (result,) = tool.run(tmp_path / "build", [(path, "Elasticsearch")])
    assert result.error is None
    assert "skipped; it needs Elasticsearch" in capsys.readouterr().out
    index = (tmp_path / "build" / "index.html").read_text()
    assert (
        "not run: it needs Elasticsearch: set SEMSEARCH_ELASTICSEARCH_URL or SEMSEARCH_ELASTICSEARCH_ARCHIVE" in index
    )
    assert "<a href" not in index


def test_nbval_skips_the_notebook_that_lacks_its_server(serverless, tmp_path):
    write(tmp_path / "06_elasticsearch.ipynb", "1 / 0")
    shutil.copy(tool.ROOT / "conftest.py", tmp_path)  # no ../shared is beside this folder
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "-rs", str(tmp_path)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout
    assert "1 skipped" in answer.stdout
    assert "needs Elasticsearch: set SEMSEARCH_ELASTICSEARCH_URL to a server" in answer.stdout
