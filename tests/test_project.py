"""Set-up, generated parts, links and the wheel: what a newcomer meets before the first notebook."""

import importlib.metadata
import itertools
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import committed
import manifest
import nbformat
import pytest
import sync
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semsearch_nb import __version__, datasets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
NOTEBOOKS = manifest.source_notebooks()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = pytest.mark.filterwarnings("ignore")


def lines_of(name):
    return [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def requirements(*left_out):
    extras = (texts for name, texts in PROJECT["optional-dependencies"].items() if name not in left_out)
    every = map(Requirement, itertools.chain(PROJECT["dependencies"], *extras))
    return [requirement for requirement in every if requirement.name != PROJECT["name"]]


def pins():
    return {canonicalize_name(r.name): r for r in map(Requirement, lines_of("constraints.txt"))}


def applies(requirement):
    return requirement.marker is None or requirement.marker.evaluate()


def test_conda_installs_what_pyproject_names_under_the_same_constraints():
    entries = [line.split(" #")[0].strip(" -") for line in lines_of("environment.yml")]
    assert "python=3.11" in entries
    pip = entries[entries.index("pip:") + 1 :]
    # The project itself with all of its extras but the book's, so that no list of packages can differ.
    extras = sorted(set(PROJECT["optional-dependencies"]) - {"book"})
    assert pip == ["constraint constraints.txt", f"editable .[{','.join(extras)}]"]


def test_every_dependency_is_pinned_to_a_version_that_it_allows():
    for requirement in requirements():
        if applies(requirement):
            pin = pins()[canonicalize_name(requirement.name)]
            (version,) = [specifier.version for specifier in pin.specifier if specifier.operator == "=="]
            assert requirement.specifier.contains(version), requirement


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins are those of Python 3.11")
def test_what_is_installed_is_what_is_pinned():
    # Only this environment's own: once it is imported, setuptools shows the copies that it carries as well.
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    found = importlib.metadata.distributions(path=folders)
    installed = {canonicalize_name(d.name): d.version for d in found}
    assert {canonicalize_name(r.name) for r in requirements("book", "lab") if applies(r)} <= set(installed)
    here = {name: pin for name, pin in pins().items() if name in installed and applies(pin)}
    assert {name: installed[name] for name, pin in here.items() if not pin.specifier.contains(installed[name])} == {}


def test_the_address_stands_once():
    address = PROJECT["urls"]["Repository"]
    files = [*ROOT.glob("*.toml"), *ROOT.glob("semsearch_nb/**/*.py"), *ROOT.glob("tools/*.py"), ROOT / "Makefile"]
    assert [file.name for file in files if address in file.read_text(encoding="utf-8")] == ["pyproject.toml"]


def test_generated_parts_are_current():
    assert sync.sync(check=True) == []


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_every_notebook_has_an_entry_and_solutions():
    entries = manifest.read_manifest()
    files = (ROOT / "notebooks").rglob("*.ipynb")
    assert {file for file in files if ".ipynb_checkpoints" not in file.parts} == set(NOTEBOOKS)
    assert [entry.number for entry in entries] == sorted(entry.number for entry in entries)


@each_notebook
def test_every_notebook_has_its_generated_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    marks = [cell.metadata.get("semsearch") for cell in cells]
    assert (marks.index("header"), marks.count("header"), marks.count("setup")) == (0, 1, 1)
    assert cells[marks.index("setup")] == next(cell for cell in cells if cell.cell_type == "code")


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each_notebook
def test_every_cell_has_run_in_order_and_left_no_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@each_notebook
def test_every_picture_has_alt_text(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 40, cell.source[:60]
                assert "<Figure" not in output.data["text/plain"]
    markdown = "".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    assert all(alt for alt in re.findall(r"!\[(.*?)\]\(", markdown, re.DOTALL))


@each_notebook
def test_no_picture_is_older_than_the_code_that_draws_it(path):
    for cell in code_cells(path):
        for picture in committed.pictures(cell):
            assert picture["code"] == committed.drawing_code(cell), f"make refresh: {cell.source[:60]}"


@each_notebook
def test_no_machine_stands_in_a_notebook(path):
    text = json.dumps([cell.outputs for cell in code_cells(path) if committed.is_compared(cell)])
    assert re.findall(r"/home/\w+|/root/|/tmp/|/work/|[0-9] ms\b|Batches:", text) == []


@each_notebook
def test_compared_cells_print_no_digits_that_another_processor_changes(path):
    compared = [cell for cell in code_cells(path) if committed.is_compared(cell)]
    found = {cell.execution_count: committed.too_precise(committed.texts_of(cell)) for cell in compared}
    assert {number: digits for number, digits in found.items() if digits} == {}


@each_notebook
def test_github_can_show_it(path):
    """GitHub refuses a notebook whose widgets have no state."""
    widgets = nbformat.read(path, as_version=4).metadata.get("widgets", {})
    assert all("state" in held for held in widgets.values())
    assert "widgets" not in {key for cell in code_cells(path) for key in cell.metadata}


@each_notebook
def test_checks_stand_out_of_sight_in_cells_that_print_nothing(path):
    for cell in code_cells(path):
        assert "NBVAL" not in cell.source, "use the tag nbval-ignore-output, which learners do not read"
        asserts = re.findall(r"^ *assert ", cell.source, re.MULTILINE)
        if committed.is_hidden(cell):
            assert asserts and cell.outputs == [] and cell.metadata == committed.FOLDED, cell.source
        else:
            assert asserts == [], cell.source


SPEED = r"(?<!np)\.(median|fastest|slowest|ms|queries_per_s)\b|seconds|timings|times\b|gains|speed|slower|faster"


@each_notebook
def test_no_check_depends_on_speed(path):
    hidden = [cell.source for cell in code_cells(path) if committed.is_hidden(cell)]
    assert [source for source in hidden if re.search(SPEED, source)] == []


@pytest.mark.parametrize("entry", manifest.read_manifest(), ids=lambda entry: entry.number)
def test_a_setup_cell_installs_what_its_notebook_needs_and_no_compiler_but_for_04(entry):
    sources = "\n".join(cell.source for path in (entry.path, entry.solutions) for cell in code_cells(path))
    assert ("ann" in entry.extras) == (entry.number == "04")
    assert set(entry.extras) <= set(PROJECT["optional-dependencies"])
    if re.search(r"indexes\.(Annoy|Hnswlib)\(", sources):
        assert "ann" in entry.extras
    if re.search(r"import faiss|indexes\.Faiss", sources):
        assert {"faiss", "ann"} & set(entry.extras)
    if re.search(r"import elastic\b|import elastic,", sources):
        assert "elastic" in entry.extras
    if "CrossEncoderTrainer" in sources:
        assert "training" in entry.extras


@pytest.mark.parametrize(
    "place",
    [
        "Makefile",
        "README.md",
        "environment.yml",
        ".binder/requirements.txt",
        "docs/workshop/Containerfile",
        "tools/wheelhouse.py",
    ],
)
def test_whoever_installs_for_all_notebooks_installs_what_they_need(place):
    needed = set().union(*(entry.extras for entry in manifest.read_manifest()))
    lists = re.findall(r'(?:\[|EXTRAS = ")([a-z]+(?:,[a-z]+)+)(?:\]|")', (ROOT / place).read_text(encoding="utf-8"))
    assert lists
    for extras in (set(one.split(",")) for one in lists):
        assert needed <= extras | ({"faiss"} if "ann" in extras else set()), place


FOLDERS = ("docs", "benchmarks", "semsearch_nb")
TEXTS = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")), *NOTEBOOKS]


def markdown_of(path):
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def anchors_of(path):
    """As GitHub makes them; JupyterLab keeps capitals and writes hyphens for blanks."""
    titles = re.findall(r"^#+ (.*)$", markdown_of(path), re.MULTILINE)
    github = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return github | {title.replace(" ", "-") for title in titles}


def resolves(target, path):
    own = f"{PROJECT['urls']['Repository']}/blob/main/"
    if re.match(r"https?:", target) and not target.startswith(own):
        return True
    file, _, anchor = target.partition("#")
    found = ROOT / file.removeprefix(own) if target.startswith(own) else path.parent / file if file else path
    return found.exists() and (not anchor or anchor in anchors_of(found))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_internal_links_resolve(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", markdown_of(path))
    assert [target for target in targets if not resolves(target, path)] == []


def test_readme_shows_a_picture_of_a_committed_output():
    shown = re.findall(r"\]\((docs/[^)]+\.png)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    generated = [file for path in NOTEBOOKS for file in sync.pictures(path)]
    assert shown and set(shown) <= set(generated)  # which `make sync` keeps equal


@pytest.mark.slow
def test_other_runners_run_a_notebook_elsewhere_and_side_by_side(tmp_path):
    """Without the Makefile: papermill and `jupyter execute`, from a folder that knows nothing of the project."""
    notebook = shutil.copy(NOTEBOOKS[0], tmp_path)
    commands = (["papermill", notebook, "by_papermill.ipynb"], ["jupyter", "execute", "--output=by_jupyter", notebook])
    runs = [subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path) for command in commands]
    assert [run.wait(timeout=600) for run in runs] == [0, 0]
    assert len(list(tmp_path.glob("by_*.ipynb"))) == 2


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
    source = tmp_path / "source"  # the build leaves files behind, and what they hold may be old
    shutil.copytree(ROOT / "semsearch_nb", source / "semsearch_nb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
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
    ran = subprocess.run([python, "-I", "-c", USE], cwd=tmp_path, check=True, capture_output=True, text=True)
    n_documents, first, file = ran.stdout.split()
    assert (int(n_documents), int(first)) == (len(datasets.load("passages").documents), 0)
    assert Path(file).is_relative_to(home)
