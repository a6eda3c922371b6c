"""The notebooks with the other switches: original data from a folder, models from a hub on loopback.

The hub serves MiniLM under the name of every bi-encoder, and our own re-ranker and the packaged sparse
encoder under the names of the hub's; the folder holds the beginnings of the real files, and paragraphs
of SQuAD as an encyclopedia.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path

import manifest
import nbclient
import nbformat
import pytest
from hub import serve
from run import SERVER

from semsearch_nb import models, packaged_minilm
from semsearch_nb.datasets import squad

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NUMBERS = [entry.number for entry in manifest.read_manifest()]
pytestmark = pytest.mark.slow
QUORA = "quora/quora_duplicate_questions.tsv"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folders = {}
    try:
        folders |= {source.name: packaged_minilm.find() for source in models.HUB.values()}
        for name, load in ((models.HUB_RERANKER, models.load_reranker), (models.HUB_SPARSE, models.load_sparse)):
            folders[name] = tmp_path_factory.mktemp("model")
            load().save_pretrained(str(folders[name]))
    except models.PackagedModelError as error:
        pytest.skip(str(error))
    with serve() as server:
        for name, folder in folders.items():
            server.files[name] = {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()}
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shared_data):
    """The layouts of the original data, in small."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("quora", "emnlp", "wikipedia"):
        (folder / name).mkdir()
    for file in (shared_data / "emnlp").glob("*.json"):
        papers = json.loads(file.read_text(encoding="utf-8"))[-200:]
        (folder / "emnlp" / file.name).write_text(json.dumps(papers), encoding="utf-8")
    with open(shared_data / QUORA, encoding="utf-8") as lines:
        (folder / QUORA).write_text("".join(itertools.islice(lines, 1_000)), encoding="utf-8")
    articles: dict[str, list[str]] = {}
    for document in squad.read(shared_data / "squad" / "dev-v1.1.json").documents:
        articles.setdefault(document.metadata["article"], []).append(document.text)
    rows = [
        json.dumps({"id": str(number), "title": title, "paragraphs": texts[:2]})
        for number, (title, texts) in enumerate(articles.items())
    ]
    with gzip.open(folder / "wikipedia" / "simplewiki-2020-11-01.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    """One for all, since several notebooks encode the same."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_notebook_runs_with_full_data_and_hub_models(number, hub, folder, cache_dir, tmp_path, monkeypatch):
    if number == "06" and not any(os.environ.get(name) for name in SERVER):
        pytest.skip(f"needs Elasticsearch: set one of {', '.join(SERVER)}")
    (file,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    notebook = nbformat.read(file, as_version=4)
    (setup,) = (cell for cell in notebook.cells if cell.metadata.get("semsearch") == "setup")
    assert "semsearch_nb.configure()" in setup.source
    setup.source = setup.source.replace("configure()", 'configure(data="full", models="hub")', 1)
    for cell in notebook.cells:  # the cross-encoder takes most of the time
        cell.source = cell.source.replace("POOL = 20", "POOL = 5").replace("queries[::3]", "queries[::12]")
    for name in [name for name in os.environ if name.startswith(("HF_", "SEMSEARCH_")) and name not in SERVER]:
        monkeypatch.delenv(name)
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": tmp_path / "hf",
        "SEMSEARCH_CACHE_DIR": cache_dir,
        "SEMSEARCH_DATA_DIR": folder,
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    assert "data='full', models='hub'" in printed
    assert hub.bodies(".safetensors")
