"""The workflows: what they call is there, and the scripts say what stops them."""

import re
import shutil
import subprocess

import pytest
import yaml
from manifest import ROOT, read_manifest

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow):
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_runs_is_a_script_of_ours_that_can_be_run_here_too(workflow):
    for step in steps(workflow):
        if "run" in step and not step["run"].startswith("gh "):
            script = ROOT / next(word for word in step["run"].split() if word.startswith(".ci/"))
            assert script.is_file() and (script.suffix == ".py" or script.stat().st_mode & 0o100)
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


@pytest.mark.parametrize("script", sorted(p for p in (ROOT / ".ci").iterdir() if not p.suffix), ids=lambda p: p.name)
def test_scripts_can_be_read_by_bash(script):
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("version", "changelog", "says"),
    [
        ("v9.9.9", "## 9.9.9\n\nwords\n", "the package is not 9.9.9"),
        ("v0.1.0", "## 0.2.0\n\nwords\n", "CHANGELOG.md says nothing of 0.1.0"),
    ],
)
def test_a_release_whose_parts_disagree_is_refused(tmp_path, version, changelog, says):
    for name in (".ci/release", "semsearch_nb/__init__.py", "CITATION.cff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    done = subprocess.run(["bash", ".ci/release", version], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stdout


def test_the_pin_of_torch_is_found_and_the_version_stands_once():
    pins = re.findall(r"^torch==[0-9.]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(pins) == 1
    from semsearch_nb import __version__

    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("script", ["colab", "newest"])
def test_scripts_that_run_all_notebooks_install_what_all_setup_cells_install(script):
    installed = re.findall(r'"\.\[([a-z,]+)\]"', (ROOT / ".ci" / script).read_text())[0].split(",")
    assert {extra for entry in read_manifest() for extra in entry.extras} - {*installed, "faiss"} == set()  # in ann


def test_issue_forms_name_what_they_need():
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        read = yaml.safe_load(form.read_text(encoding="utf-8"))
        if form.stem != "config":
            assert read["name"] and read["description"]
            assert any(field.get("validations", {}).get("required") for field in read["body"])
