"""What a reader pastes into an empty file works: each cell tagged `stand-alone`, in a fresh Python, without network."""

import os
import subprocess
import sys

import manifest
import nbformat
import pytest

from semsearch_nb.foundation import download
from semsearch_nb.models import PackagedModelError, hub_cache, packaged_minilm

CELLS = [
    pytest.param(cell.source, id=f"{path.stem}-{number}")
    for path in manifest.source_notebooks()
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells)
    if "stand-alone" in cell.metadata.get("tags", [])
]
LINES = 8


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A hub's cache of our own in which all-MiniLM-L6-v2 is the installed one."""
    folder = tmp_path_factory.mktemp("hub")
    try:
        hub_cache.fill(folder, packaged_minilm.find())
    except PackagedModelError as error:
        pytest.skip(str(error))
    return os.environ | {"HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("source", CELLS)
def test_it_runs_in_an_empty_file_and_prints(source, environment, tmp_path):
    code = [
        line for line in source.splitlines() if line.strip() and not line.lstrip().startswith(("#", "import", "from"))
    ]
    assert len(code) <= LINES
    assert "semsearch_nb" not in source.replace("from semsearch_nb import models", "")
    answer = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()


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
    sources = "\n".join(cell.values[0] for cell in CELLS)
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
