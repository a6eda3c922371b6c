"""A model is its configuration and its weights: whatever changes a vector changes its fingerprint, and nothing else."""

import copy
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, BertTokenizerFast

from semsearch_nb import encoding, fingerprints, models, openvino_engine, settings

pytestmark = pytest.mark.filterwarnings("ignore::semsearch_nb.encoding.TruncationWarning")
TEXTS = ["the cat sat on the mat", "a dog", "the dog and the cat sat", "Mat!"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    own = settings.Settings(cache_dir=tmp_path / "cache", engine="torch", precision="float32")
    monkeypatch.setattr(settings, "_current", own)
    monkeypatch.setattr(encoding.engines, "_agreements", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A transformer that is made in a moment."""
    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "and", "cat", "dog", "mat", "on", "sat", "the", "!"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def model(folder):
    transformer = Transformer(str(folder))
    modules = [transformer, Pooling(16, "mean"), Dense(16, 8), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": "the ", "document": ""}, device="cpu").eval()
    model.max_seq_length = 6  # so that one of the texts is cut
    return model


def train(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    features = model.preprocess(TEXTS)
    model.train()
    model(features)["sentence_embedding"][:, :3].sum().backward()
    optimizer.step()
    model.eval()


def load_weights(model):
    model.load_state_dict({name: tensor + 0.1 for name, tensor in model.state_dict().items()})


def write_to_data(model):
    model[0].auto_model.embeddings.word_embeddings.weight.data[7] += 0.5  # blind to versions: one row of a table


def write_to_data_twice(model):
    for _ in range(2):  # the second tensor may lie where the first one lay
        model[2].linear.weight.data = model[2].linear.weight.data + 0.1


def another_vocabulary(model):
    tokenizer = model.tokenizer
    tokenizer._tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("dog", "cat"), normalizers.Lowercase()])


def add_token(model):
    model.tokenizer.add_tokens(["cat sat"])
    model[0].auto_model.embeddings.word_embeddings.weight.data = torch.randn(15, 16)


def hook(model):
    model[1].register_forward_hook(lambda module, inputs, output: output | {"sentence_embedding": torch.ones(4, 16)})


class Shifted(torch.nn.Module):
    """A module of one's own, without a word about its configuration."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, features):
        return features | {"sentence_embedding": features["sentence_embedding"] + self.by}


CHANGES = {
    "another pooling": lambda model: setattr(model[1], "pooling_mode", "cls"),
    "another pooling module": lambda model: model._modules.update({"1": Pooling(16, "max")}),
    "truncate_dim": lambda model: setattr(model, "truncate_dim", 4),
    "max_seq_length": lambda model: setattr(model, "max_seq_length", 4),
    "no activation": lambda model: setattr(model[2], "activation_function", torch.nn.Identity()),
    "a module more": lambda model: model.append(Shifted(1.0)),
    "a layer less": lambda model: model[0].auto_model.encoder.layer.__delitem__(1),
    "a new token": add_token,
    "another normalisation": another_vocabulary,
    "the other side cut off": lambda model: setattr(model.tokenizer, "truncation_side", "left"),
    "the prompt": lambda model: model.prompts.update(document="the cat "),
    "a hook": hook,
    "a step of training": train,
    "weights that are loaded": load_weights,
    "a row written to .data": write_to_data,
    ".data assigned twice": write_to_data_twice,
    "positions, which are not saved": lambda model: model[0].auto_model.embeddings.position_ids.add_(1),
    "half precision": lambda model: model.bfloat16(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_vectors_changes_the_fingerprint_and_nothing_comes_from_the_cache(model, change):
    before = models.identity(model)
    encoding.encode_documents(model, TEXTS)
    assert models.identity(model) == before and len({*before}) == 2
    CHANGES[change](model)
    assert models.identity(model) != before
    expected = model.encode_document(TEXTS, normalize_embeddings=True)
    tolerance = 0.01 if change == "half precision" else 1e-6
    assert np.allclose(encoding.encode_documents(model, TEXTS), expected, atol=tolerance)


def test_it_returns_with_the_configuration(model):
    vectors = encoding.encode_documents(model, TEXTS)
    with model.truncate_embeddings(4):
        assert encoding.encode_documents(model, TEXTS).shape == (4, 4)
    assert np.array_equal(encoding.encode_documents(model, TEXTS), vectors)


def test_using_and_copying_a_model_changes_nothing(model):
    before = fingerprints.of(model)
    model.encode_query(TEXTS)
    model.encode(TEXTS, prompt_name="query")
    model.tokenizer(TEXTS, truncation=True, padding=True, max_length=3)
    encoding.truncation(model, TEXTS)
    model.train().eval()
    assert fingerprints.of(model) == before == fingerprints.of(copy.deepcopy(model))


def test_another_process_gives_the_same_fingerprint(model, tmp_path):
    model.save_pretrained(str(tmp_path / "saved"))
    code = f"""
from sentence_transformers import SentenceTransformer
from semsearch_nb import fingerprints
print(fingerprints.of(SentenceTransformer({str(tmp_path / "saved")!r}, device="cpu")))
"""
    one, other = (subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2))
    assert one == other and "'model': 'own'" in one


def test_weights_are_hashed_once(model, monkeypatch):
    hashed = []
    real = fingerprints._sha256_of_weights
    monkeypatch.setattr(fingerprints, "_sha256_of_weights", lambda of: hashed.append(1) or real(of))
    for _ in range(3):
        encoding.encode_documents(model, TEXTS)
        encoding.encode_queries(model, TEXTS)
    assert len(hashed) == 1
    train(model)
    encoding.encode_documents(model, TEXTS)
    assert len(hashed) == 2


@pytest.mark.parametrize(
    "library", ["torch", "transformers", "sentence-transformers", "tokenizers", "openvino", "nncf", "recipe", "sample"]
)
def test_a_key_holds_what_int8_depends_on(model, library, monkeypatch):
    if not openvino_engine.available("int8"):
        pytest.skip("openvino or nncf is not installed")
    runner = encoding.Runner(model, "openvino", "int8", fingerprints.of(model))
    before = runner.key()
    if library == "recipe":
        monkeypatch.setattr(openvino_engine, "SMOOTHING", 0.5)
    elif library == "sample":
        monkeypatch.setattr(openvino_engine, "_calibration", lambda model: [("", "another text")])
    else:
        real = fingerprints.importlib.metadata.version
        monkeypatch.setattr(
            fingerprints.importlib.metadata, "version", lambda name: "0" if name == library else real(name)
        )
        monkeypatch.setattr(fingerprints, "versions", fingerprints.versions.__wrapped__)
    assert dataclasses.replace(runner, fingerprint=fingerprints.of(model)).key() != before


def test_what_models_load_returned_is_known_by_its_source_until_it_is_trained(monkeypatch):
    model = copy.deepcopy(models.load("symmetric"))
    fingerprints.remember(model, "source", "revision")
    assert models.identity(model) == ("source", "revision")
    model.truncate_dim = 7
    assert models.identity(model).name == "source" and models.identity(model).revision != "revision"
    model.truncate_dim = None
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    assert models.identity(model).name == "own"


@pytest.fixture
def tokenizer():
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "the": 1, "cat": 2, "dog": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_static_embedding_models_are_encoded_without_a_limit(tokenizer):
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    vectors = encoding.encode_documents(model, TEXTS)
    assert np.allclose(vectors, model.encode(TEXTS, normalize_embeddings=True), atol=1e-6)
    report = encoding.truncation(model, ["the cat " * 1_000, "dog"])
    assert (report.limit, report.n_truncated, report.longest, report.n_tokens) == (None, 0, 2_000, 2_001)
    assert "no limit" in str(report)
    with pytest.raises(ValueError, match="text transformers on the CPU only"):
        encoding.resolve(model, "openvino")


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_text_without_a_direction_is_named_by_its_own_place(tokenizer, monkeypatch, use_cache):
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    monkeypatch.setattr(encoding.bi_encoder, "PART", 2)
    texts = ["cat", "dog", "the cat and the dog and", "", "the"]  # sorted by length the empty one comes last
    with pytest.raises(ValueError, match=r"^texts\[3\] has no direction: the model's vector of '' is zero"):
        encoding.encode_documents(model, texts, use_cache=use_cache)
    with torch.no_grad():
        model[0].embedding.weight[2] = torch.nan
    with pytest.raises(ValueError, match=r"^texts\[0\] has no direction"):
        encoding.encode_documents(model, texts[:3], use_cache=use_cache)
    bfloat16 = encoding.encode_documents(model, ["dog", "the"], precision="bfloat16", use_cache=use_cache)
    assert np.allclose(np.linalg.norm(bfloat16, axis=1), 1, atol=1e-6)


def test_the_limit_of_a_tokenizer_that_cuts_is_reported(tokenizer):
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    before = models.identity(model)
    tokenizer.enable_truncation(3)
    assert models.identity(model) != before
    report = encoding.truncation(model, ["the cat the dog the", "dog"])
    assert (report.limit, report.n_truncated, report.n_tokens_dropped, report.n_tokens) == (3, 1, 2, 6)


needs_openvino = pytest.mark.skipif(not openvino_engine.available(), reason="openvino is not installed")


@needs_openvino
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"])
def test_openvino_does_what_sentence_transformers_does_after_the_transformer(model, pooling, monkeypatch):
    monkeypatch.setattr(openvino_engine, "TOKENS_AT_ONCE", 12)  # several batches, each of its own width
    model[1].pooling_mode = pooling
    model.set_pooling_include_prompt(False)
    model.truncate_dim = 5
    for kind, encode in (("query", model.encode_query), ("document", model.encode_document)):
        vectors = encoding.encode(model, TEXTS, kind, engine="openvino", precision="float32")
        assert np.allclose(vectors, encode(TEXTS, normalize_embeddings=True), atol=1e-5)


@needs_openvino
def test_a_model_that_openvino_cannot_convert_is_run_in_torch(model, monkeypatch):
    tried = []

    def refuse(*arguments, **options):
        tried.append(1)
        raise RuntimeError("no conversion rule")

    monkeypatch.setattr(openvino_engine._openvino(), "convert_model", refuse)
    for _ in range(2):
        with pytest.warns(encoding.PrecisionWarning, match="cannot convert BertModel .*float32 in torch is used"):
            vectors = encoding.encode_documents(model, TEXTS, engine="openvino", precision="float32")
    assert len(tried) == 1
    assert np.allclose(vectors, model.encode_document(TEXTS, normalize_embeddings=True), atol=1e-6)


@needs_openvino
def test_threads_share_one_compiled_model(model, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    converted = []
    real = openvino_engine._traced
    monkeypatch.setattr(openvino_engine, "_traced", lambda model: converted.append(1) or real(model))
    monkeypatch.setattr(openvino_engine, "MODELS_IN_MEMORY", 1)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            runners = [encoding.Runner(model, "openvino", "float32", fingerprints.of(model)) for _ in range(64)]
            results = list(pool.map(lambda runner: runner.vectors(TEXTS, "document"), runners))
    finally:
        sys.setswitchinterval(0.005)
    assert len(converted) == 1 and len(openvino_engine._in_memory) == 1
    assert all(np.array_equal(result, results[0]) for result in results)


@needs_openvino
def test_no_disk_is_needed_without_the_cache(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")  # no folder can be made in a file
    blocked = settings.Settings(cache_dir=tmp_path / "file" / "cache")
    monkeypatch.setattr(settings, "_current", blocked)
    for engine in ("torch", "openvino"):
        vectors = encoding.encode_documents(model, TEXTS, engine=engine, precision="float32", use_cache=False)
        assert np.allclose(vectors, model.encode_document(TEXTS, normalize_embeddings=True), atol=1e-5)
    with pytest.raises(OSError, match="cache"):
        encoding.encode_documents(model, TEXTS, engine="torch", precision="float32")
