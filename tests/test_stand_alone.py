"""What a reader pastes into an empty file works: each cell tagged `stand-alone`, with no names but its own, offline."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import manifest
import nbformat
import pytest

from semsearch_nb.foundation import download
from semsearch_nb.models import PackagedModelError, hub_cache, packaged_minilm

CELLS = {
    f"{path.stem}, cell {number}": cell.source
    for path in manifest.source_notebooks()
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells)
    if "stand-alone" in cell.metadata.get("tags", [])
}
LINES = 8
# Each cell gets names of its own, as a file does. That a Python is started once for all saves minutes.
RUN_EACH = """
import contextlib, io, json, sys, traceback
for name, source in json.loads(sys.stdin.read()).items():
    said, failed = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            exec(compile(source, name, "exec"), {"__name__": "__main__"})
        except BaseException:
            failed = traceback.format_exc()
    print(json.dumps([name, said.getvalue(), failed]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A hub's cache of our own in which all-MiniLM-L6-v2 is the installed one."""
    folder = tmp_path_factory.mktemp("hub")
    try:
        hub_cache.fill(folder, packaged_minilm.find())
    except PackagedModelError as error:
        pytest.skip(str(error))
    return os.environ | {"HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def ran(environment, tmp_path_factory):
    """What each cell printed, and how it failed."""
    answer = subprocess.run(
        [sys.executable, "-c", RUN_EACH],
        cwd=tmp_path_factory.mktemp("empty"),
        env=environment,
        input=json.dumps(CELLS),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    found = {name: (said, failed) for name, said, failed in map(json.loads, answer.stdout.splitlines())}
    assert found.keys() == CELLS.keys(), answer.stderr
    return found


@pytest.mark.parametrize("name", CELLS)
def test_each_cell_runs_in_an_empty_file_and_prints(name, ran):
    lines = [line.lstrip() for line in CELLS[name].splitlines() if line.strip()]
    assert sum(not line.startswith(("#", "import", "from")) for line in lines) <= LINES
    assert "semsearch_nb" not in CELLS[name].replace("from semsearch_nb import models", "")
    said, failed = ran[name]
    assert not failed
    assert said.strip()


def test_the_name_loads_the_whole_model_and_says_nothing(environment):
    """With its limit, pooling and normalisation: the loader falls back to defaults in silence."""
    program = (
        "import semsearch_nb; semsearch_nb.hub_cache.use_packaged(); from sentence_transformers import *\n"
        "model = SentenceTransformer('all-MiniLM-L6-v2')\n"
        "print(model.max_seq_length, [type(module).__name__ for module in model])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "256 ['Transformer', 'Pooling', 'Normalize']\n"
    assert answer.stderr == ""


def test_there_are_some_of_each_library():
    sources = "\n".join(CELLS.values())
    for wanted in ("SentenceTransformer(", "encode_query", "encode_document", "semantic_search", "topk", "hnswlib"):
        assert wanted in sources, wanted


def test_a_setup_cell_offers_the_packaged_model_only_where_the_hub_is_silent(tmp_path):
    program = (
        "import os, semsearch_nb; semsearch_nb.configure(models={!r}); semsearch_nb.hub_cache.use_packaged()\n"
        "print(os.environ.get('HF_HUB_CACHE'))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SEMSEARCH_"))}
    environment |= {"SEMSEARCH_CACHE_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    said = {
        models: subprocess.run(
            [sys.executable, "-c", program.format(models)], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for models in ("packaged", "hub")
    }
    assert said == {"packaged": str(tmp_path / "hub"), "hub": "None"}
    assert (download.in_hub_cache(hub_cache.NAME, tmp_path / "hub") / "refs" / "main").read_text() == hub_cache.COMMIT


def test_notebooks_that_start_together_fill_the_cache_once(tmp_path, monkeypatch):
    model, real, others = tmp_path / "model", Path.symlink_to, []
    model.mkdir()
    (model / "modules.json").write_text("[]")

    def late(link, *arguments, **options):
        if not others:
            others.append(threading.Thread(target=hub_cache.fill, args=(tmp_path / "hub", model)))
            others[0].start()
            others[0].join(0.5)  # a second notebook has this time to overtake the first
        real(link, *arguments, **options)

    monkeypatch.setattr(Path, "symlink_to", late)
    hub_cache.fill(tmp_path / "hub", model)
    others[0].join()
    assert download.commit(hub_cache.NAME, tmp_path / "hub") == hub_cache.COMMIT
