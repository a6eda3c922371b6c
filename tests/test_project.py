"""Set-up, generated parts, links and the wheel: what a newcomer meets before the first notebook."""

import importlib.metadata
import json
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semsearch_nb import __version__, datasets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
sys.path.insert(0, str(ROOT / "tools"))
import notebooks as tool  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def lines_of(name):
    return [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def requirements():
    extras = PROJECT["optional-dependencies"]
    return [Requirement(text) for text in (*PROJECT["dependencies"], *extras["ann"], *extras["dev"])]


def pins():
    return {canonicalize_name(r.name): r for r in map(Requirement, lines_of("constraints.txt"))}


def test_conda_installs_what_pyproject_names_under_the_same_constraints():
    entries = [line.split(" #")[0].strip(" -") for line in lines_of("environment.yml")]
    assert "python=3.11" in entries
    pip = entries[entries.index("pip:") + 1 :]
    # The project itself with all of its extras, so that no list of packages can differ.
    assert pip == ["constraint constraints.txt", f"editable .[{','.join(sorted(PROJECT['optional-dependencies']))}]"]


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    for requirement in requirements():
        if requirement.marker is None or requirement.marker.evaluate():
            pin = pins()[canonicalize_name(requirement.name)]
            (version,) = [specifier.version for specifier in pin.specifier if specifier.operator == "=="]
            assert requirement.specifier.contains(version), requirement


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins are those of Python 3.11")
def test_what_is_installed_is_what_is_pinned():
    different = {
        name: importlib.metadata.version(name)
        for name, pin in pins().items()
        if not pin.specifier.contains(importlib.metadata.version(name))
    }
    assert different == {}


def test_the_address_stands_once():
    address = PROJECT["urls"]["Repository"]
    files = [*ROOT.glob("*.toml"), *ROOT.glob("semsearch_nb/**/*.py"), *ROOT.glob("tools/*.py"), ROOT / "Makefile"]
    assert [file.name for file in files if address in file.read_text(encoding="utf-8")] == ["pyproject.toml"]


def test_generated_parts_are_current():
    assert tool.sync(check=True) == []


def test_every_notebook_has_an_entry_and_solutions():
    entries = tool.read_manifest()
    assert {entry.path for entry in entries} | {entry.solutions for entry in entries} == set(NOTEBOOKS)
    assert [entry.number for entry in entries] == sorted(entry.number for entry in entries)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_has_run_in_order_and_left_no_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_has_alt_text(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 40, cell.source[:60]
                assert "<Figure" not in output.data["text/plain"]
    markdown = "".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    assert all(alt for alt in re.findall(r"!\[(.*?)\]\(", markdown, re.DOTALL))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_machine_stands_in_a_notebook(path):
    compared = [c for c in code_cells(path) if not c.source.startswith("# NBVAL_IGNORE_OUTPUT")]
    text = json.dumps([cell.outputs for cell in compared])
    assert re.findall(r"/home/\w+|/root/|/tmp/|/work/|[0-9] ms\b|Batches:", text) == []
    assert not any(cell.metadata.get("widgets") for cell in code_cells(path))


@pytest.mark.parametrize("entry", tool.read_manifest(), ids=lambda entry: entry.number)
def test_exercises_check_themselves_and_their_solutions_are_right(entry):
    checks = [c.source for c in code_cells(entry.path) if "exercises.check(" in c.source]
    assert len(checks) == 3
    solved = [c for c in code_cells(entry.solutions) if "exercises.check(" in c.source]
    assert [without_imports(c.source) for c in solved] == [without_imports(source) for source in checks]
    assert all(c.outputs[0].text.startswith("Correct") for c in solved)
    unanswered = [c for c in code_cells(entry.path) if "exercises.check(" in c.source]
    assert all(c.outputs[0].text.startswith("Not answered yet") for c in unanswered)


def without_imports(source):
    return "\n".join(line for line in source.strip().splitlines() if not line.startswith("from ")).strip()


def markdown_files():
    yield from ((path, path.read_text(encoding="utf-8")) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"))
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        yield path, "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_internal_links_resolve():
    own = f"{PROJECT['urls']['Repository']}/blob/main/"
    broken = []
    for path, text in markdown_files():
        anchors = {
            re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
        }
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if target.startswith(own):
                exists = (ROOT / file.removeprefix(own)).exists()
            elif re.match(r"https?:", target):
                exists = True
            else:
                exists = (path.parent / file).exists() if file else anchor in anchors
            if not exists:
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_readme_shows_a_picture_of_a_committed_output():
    picture = (ROOT / "docs" / "embedding-spaces.png").read_bytes()
    assert picture in tool.pictures(ROOT / "notebooks" / "01_symmetric_and_asymmetric.ipynb")


USE = """
from semsearch_nb import datasets, encoding, exact, models
passages = datasets.load("passages")
model = models.load("symmetric")
documents = encoding.encode_documents(model, passages.document_texts[:30])
hits = exact.search(documents[:1], documents, k=3)
print(len(passages.documents), hits.indices[0, 0], datasets.__file__)
"""


def test_a_wheel_works_from_another_folder(tmp_path):
    """As in Colab: the package is installed, not checked out, and the notebook runs somewhere else."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob(f"semsearch_nb-{__version__}-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # The dependencies come from this environment, without its link to the checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    ran = subprocess.run([python, "-c", USE], cwd=tmp_path, check=True, capture_output=True, text=True)
    n_documents, first, file = ran.stdout.split()
    assert (int(n_documents), int(first)) == (len(datasets.load("passages").documents), 0)
    assert Path(file).is_relative_to(home)
