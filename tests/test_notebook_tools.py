import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import committed
import manifest
import nbformat
import pages
import pytest
import run
import sync
from jupyter_server.services.contents.filemanager import FileContentsManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import PyFileConfigLoader

import notebooks


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
    results = run.run(tmp_path / "build", [(broken, "Broken"), (good, "Good")])
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
    error = run.execute(nbformat.read(path, as_version=4), tmp_path)
    assert error.startswith("The kernel died in code cell 3")


def test_refresh_refuses_a_name_that_no_notebook_has():
    paths = [Path("00_start.ipynb"), Path("01_next.ipynb"), Path("solutions/01_next_solutions.ipynb")]
    assert run.matching(paths, []) == paths
    assert run.matching(paths, ["01"]) == paths[1:]
    with pytest.raises(SystemExit, match="no notebook begins with '07'; there are 00_start, 01_next"):
        run.matching(paths, ["01", "07"])


def test_main_tells_failure_by_its_exit_status(monkeypatch):
    monkeypatch.setattr(notebooks, "run", lambda: [pages.Result(Path("x"), "x", 1.0, "error")])
    assert notebooks.main(["run"]) == 1
    monkeypatch.setattr(notebooks, "run", lambda: [pages.Result(Path("x"), "x", 1.0, None)])
    assert notebooks.main(["run"]) == 0


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
        assert run.execute(notebook, tmp_path) is None
        committed.save(notebook, path)
        contents.append(path.read_text())
    assert contents[0] == contents[1]
    saved = nbformat.read(path, as_version=4)
    assert set(saved.metadata) == {"kernelspec", "language_info"}
    assert saved.cells[1].metadata == {"semsearch": "setup", "tags": ["raises-exception"]}
    assert [output.text for output in saved.cells[2].outputs] == ["x\ny\n"]


def test_generated_cells_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    path = write(tmp_path / "a.ipynb", "old")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["semsearch"] = "setup"
    nbformat.write(notebook, path)
    assert sync.update_notebook(path, {"setup": "new"}, check=True) == ["a.ipynb"]
    assert nbformat.read(path, as_version=4).cells[1].source == "old"
    assert sync.update_notebook(path, {"setup": "new"}, check=False) == ["a.ipynb"]
    assert nbformat.read(path, as_version=4).cells[1].source == "new"
    assert sync.update_notebook(path, {"setup": "new"}, check=False) == []


def test_header_links_to_neighbours_and_needs():
    entries = manifest.read_manifest()
    first, last = sync.header(entries, 0), sync.header(entries, len(entries) - 1)
    assert "Previous" not in first
    assert f"Next: [01 {entries[1].title}]({entries[1].file})" in first
    assert "Next" not in last
    needed = entries[-1].needs[0]
    assert f"Needs: [{needed}]({needed}_" in last
    assert f"{manifest.repository().removeprefix('https://github.com')}/blob/main/notebooks/{entries[0].file}" in first


@pytest.mark.parametrize(("memory", "cores", "expected"), [(1, 64, 1), (64, 2, 1), (64, 8, 2), (9, 64, 2)])
def test_notebooks_run_side_by_side_only_where_memory_and_cores_allow(monkeypatch, memory, cores, expected):
    monkeypatch.setattr(run.psutil, "virtual_memory", lambda: type("M", (), {"available": memory * 2**30}))
    monkeypatch.setattr(run.os, "cpu_count", lambda: cores)
    assert run.parallel_runs() == expected


@pytest.fixture
def serverless(monkeypatch):
    for name in run.SERVER:
        monkeypatch.delenv(name, raising=False)


def test_the_index_says_how_to_run_what_lacks_its_server(serverless, tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "06_elasticsearch.ipynb", "1 / 0")
    entry = replace(next(entry for entry in manifest.read_manifest() if entry.server), file=path.name)
    monkeypatch.setattr(manifest, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(run, "read_manifest", lambda: [entry])
    (result,) = run.run(tmp_path / "build", [(path, "Elasticsearch")])
    assert result.error is None
    assert "skipped; it needs Elasticsearch" in capsys.readouterr().out
    index = (tmp_path / "build" / "index.html").read_text()
    assert "not run: it needs Elasticsearch: make notebooks ELASTICSEARCH=download, or set SEMSEARCH" in index
    assert "<a href" not in index


def test_nbval_skips_the_notebook_that_lacks_its_server(serverless, tmp_path):
    write(tmp_path / "06_elasticsearch.ipynb", "1 / 0")
    shutil.copy(manifest.ROOT / "conftest.py", tmp_path)  # no ../shared is beside this folder
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "-rs", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(manifest.ROOT / "tools")}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 skipped" in answer.stdout
    assert "needs Elasticsearch: set SEMSEARCH_ELASTICSEARCH_URL to a server" in answer.stdout


def test_elasticsearch_is_downloaded_where_make_is_asked_to(serverless, monkeypatch):
    asked = []
    monkeypatch.setattr(notebooks, "run", lambda: asked.append(os.environ.get(run.ARCHIVE)) or [])
    notebooks.main(["run", "--elasticsearch=download"])
    assert asked[0].startswith("https://artifacts.elastic.co/")
    with pytest.raises(SystemExit):
        notebooks.main(["run", "--elasticsearch=yes"])


def code(source, *tags):
    cell = new_code_cell(source)
    cell.metadata["tags"] = list(tags)
    return cell


def test_pages_leave_checks_out_unless_they_fail():
    check, failing = code("assert 1 == 1", committed.HIDDEN), code("assert 1 == 2", committed.HIDDEN)
    failing.outputs = [new_output("error", ename="AssertionError", evalue="no", traceback=["no"])]
    page = pages.as_page(new_notebook(cells=[code("visible = 1"), check, failing]), "x")
    shown = re.sub(r"<[^>]+>", "", page)
    assert "visible = 1" in shown and "assert 1 == 2" in shown and "assert 1 == 1" not in shown


def test_a_check_is_folded_in_jupyter_and_in_colab_by_its_tag(tmp_path):
    notebook = new_notebook(cells=[code("assert True", committed.HIDDEN)])
    committed.save(notebook, tmp_path / "a.ipynb")
    assert nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].metadata == committed.FOLDED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.73 [0.69, 0.77]", []),
        ("0.75 [0.62, 0.87]", []),  # a wide one, of twenty questions
        ("0.732 [0.69, 0.77]", ["0.732"]),
        ("0.732 [0.685, 0.780]", ["0.732", "0.685", "0.780"]),
        ("0.752 [0.744, 0.760]", []),  # narrow enough for a third decimal
        ("0.7524 [0.7521, 0.7527]", ["0.7524", "0.7521", "0.7527"]),  # never a fourth
        ("-0.005 [-0.022, 0.012]", ["-0.005", "-0.022", "0.012"]),
        ("cosine 0.55, logit -2, 1,173 of 480, 85%, 2.06 GB", []),
        ("array([0.25, 0.0612], dtype=float32)", ["0.0612"]),
        ("about 0.123.", ["0.123"]),
        ("version 0.1.0 and 127.0.0.1", []),
    ],
)
def test_digits_that_no_other_processor_repeats_are_found(text, found):
    assert committed.too_precise(text) == found


def test_outputs_are_made_in_one_precision_unless_the_user_says_otherwise():
    for before, after in (({}, "float32"), ({"SEMSEARCH_PRECISION": ""}, "float32")):
        committed.fix_environment(before)
        assert before == {"SEMSEARCH_PRECISION": after, "HF_HUB_OFFLINE": "1"}
    chosen = {"SEMSEARCH_PRECISION": "int8"}
    committed.fix_environment(chosen)
    assert chosen == {"SEMSEARCH_PRECISION": "int8", "HF_HUB_OFFLINE": "1"}


def test_opening_and_saving_a_notebook_in_jupyterlab_changes_nothing(tmp_path, monkeypatch):
    copy = shutil.copy(manifest.source_notebooks()[0], tmp_path)
    before = Path(copy).read_bytes()
    monkeypatch.setattr(manifest, "source_notebooks", lambda: [Path(copy)])
    config = PyFileConfigLoader("jupyter_server_config.py", str(manifest.ROOT / "tools")).load_config()
    contents = FileContentsManager(root_dir=str(tmp_path), config=config)
    model = contents.get(Path(copy).name)
    model["content"]["metadata"]["language_info"] |= {"version": "3.13.1", "codemirror_mode": "ipython"}
    contents.save(model, Path(copy).name)
    contents.create_checkpoint(Path(copy).name)
    assert Path(copy).read_bytes() == before
    (left,) = {path.name for path in tmp_path.iterdir()} - {Path(copy).name}
    assert f"{left}/" in (manifest.ROOT / ".gitignore").read_text().split()


PRECISION = "import os\nprint(os.environ.get('SEMSEARCH_PRECISION'))"


def test_nbval_and_refresh_compute_in_the_same_precision(tmp_path, monkeypatch):
    monkeypatch.delenv("SEMSEARCH_PRECISION", raising=False)
    path = write(tmp_path / "a.ipynb", PRECISION)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "source_notebooks", lambda: [path])
    with monkeypatch.context() as patch:
        patch.setenv("SEMSEARCH_PRECISION", "")
        assert run.refresh() == []
    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "float32\n"
    (tmp_path / ".ipynb_checkpoints").mkdir()  # what JupyterLab leaves behind is not collected
    write(tmp_path / ".ipynb_checkpoints" / "a-checkpoint.ipynb", "1 / 0")
    shutil.copy(manifest.ROOT / "conftest.py", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(manifest.ROOT / "tools")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "-q", str(tmp_path)]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "1 passed" in answer.stdout, answer.stdout + answer.stderr


def test_a_picture_is_stale_when_its_cell_or_its_plot_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ipynb", PICTURE)
    notebook = nbformat.read(path, as_version=4)
    assert run.execute(notebook, tmp_path) is None
    committed.save(notebook, path)
    cell = nbformat.read(path, as_version=4).cells[1]
    (picture,) = committed.pictures(cell)
    assert picture["code"] == committed.drawing_code(cell)
    changed = code(cell.source.replace("(1, 1)", "(2, 2)"))
    assert picture["code"] != committed.drawing_code(changed)
    shutil.copytree(committed.PLOTS, tmp_path / "plots")
    monkeypatch.setattr(committed, "PLOTS", tmp_path / "plots")
    assert picture["code"] == committed.drawing_code(cell)
    style = tmp_path / "plots" / "style.py"
    style.write_text(style.read_text(encoding="utf-8") + "\n# show draws otherwise now\n", encoding="utf-8")
    assert picture["code"] != committed.drawing_code(cell)
