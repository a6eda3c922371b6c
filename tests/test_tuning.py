"""Training on pairs of one's own: a copy learns, a mix lies between, a static model is made of tokens."""

import copy
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from transformers import BertConfig, BertModel, BertTokenizerFast

from semsearch_nb import datasets, models, tuning

pytest.importorskip("accelerate")
pytest.importorskip("datasets")

ROWS = [
    {"anchor": "the screen stays black", "positive": "Display without a picture"},
    {"anchor": "days off that are left", "positive": "Balance of annual leave"},
    {"anchor": "the bill is wrong", "positive": "Dispute an invoice"},
    {"anchor": "it says my card was refused", "positive": "Declined payments"},
]


@pytest.fixture(scope="module")
def base():
    return models.load("symmetric")


@pytest.fixture(scope="module")
def small(base):
    """A static model, which is trained in no time."""
    table = np.random.default_rng(0).normal(size=(len(base.tokenizer), 16)).astype(np.float32)
    return SentenceTransformer(modules=[StaticEmbedding(base.tokenizer, table), Normalize()], device="cpu")


def cosines(model):
    asked = model.encode_query([row["anchor"] for row in ROWS], show_progress_bar=False)
    return asked @ model.encode_document([row["positive"] for row in ROWS], show_progress_bar=False).T


def test_pairs_are_each_query_with_its_best_document():
    passages = datasets.load("passages")
    rows = tuning.pairs(passages)
    assert len(rows) == len(passages.queries)
    for row, query in zip(rows, passages.queries, strict=True):
        (document,) = [d for d in passages.documents if d.full_text == row["positive"]]
        assert row["anchor"] == query.text
        assert passages.qrels[query.id][document.id] == max(passages.qrels[query.id].values())


def test_the_best_document_is_not_always_the_first_and_of_equals_it_is():
    documents = tuple(datasets.Document(key, f"text {key}") for key in "abc")
    qrels = {"q": {"a": 1, "c": 2, "b": 2}}
    made = datasets.Collection("made", documents, (datasets.Query("q", "which?"),), qrels, "by hand")
    assert tuning.pairs(made) == [{"anchor": "which?", "positive": "text c"}]


def test_training_changes_a_copy_towards_its_pairs_and_keeps_limit_and_silence(base, capfd):
    before, weights = cosines(base), copy.deepcopy(base.state_dict())
    trained = tuning.train(base, ROWS, batch=4, epochs=4, rate=5e-5, max_tokens=16)
    margin = np.diag(cosines(trained.model)) - np.diag(before)
    assert margin.mean() > 0.02 and trained.seconds > 0 and np.isfinite(trained.loss)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in base.state_dict().items())
    assert trained.model.max_seq_length == base.max_seq_length == 256
    assert not trained.model.training and trained.model.model_card_data.widget == []
    assert "".join(capfd.readouterr()) == ""


def test_the_same_seed_gives_the_same_weights(small):
    tables = [tuning.train(small, ROWS, batch=2, rate=0.01, seed=seed).model[0].embedding.weight for seed in (1, 1, 2)]
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


def test_texts_that_do_not_answer_are_pushed_away(small):
    wrong = [dict(row, negative="Planting tulips in autumn") for row in ROWS]
    plain, pushed = (tuning.train(small, rows, batch=4, epochs=20, rate=0.01).model for rows in (ROWS, wrong))
    cosine = [
        float(np.mean(m.encode([r["anchor"] for r in ROWS]) @ m.encode("Planting tulips in autumn")))
        for m in (plain, pushed)
    ]
    assert cosine[1] < cosine[0] - 0.05


def test_the_loss_can_be_chosen_and_a_dataset_passed(small):
    from datasets import Dataset

    seen = []

    def loss(model):
        seen.append(model)
        return MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), matryoshka_dims=[16, 8])

    trained = tuning.train(small, Dataset.from_list(ROWS), loss=loss, batch=4, rate=0.01)
    assert seen == [trained.model] and seen[0] is not small


def test_a_mix_lies_between(base):
    other = copy.deepcopy(base)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.25)
    mixed = tuning.interpolate(base, other, 0.4)
    for name, tensor in base.state_dict().items():
        assert torch.allclose(mixed.state_dict()[name], tensor + 0.1, atol=1e-6), name
    for weight, model in ((0, base), (1.0, other)):
        same = tuning.interpolate(base, model, weight).state_dict()
        assert all(torch.equal(same[name], tensor) for name, tensor in model.state_dict().items())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A transformer of a few words, in which [PAD] stands first and common words before rare ones."""
    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += ["the", "a", "on", "sat", "cat", "dog", "mat", "king", "gearbox"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return SentenceTransformer(
        modules=[Transformer(str(folder)), Pooling(16, "mean"), Normalize()], device="cpu"
    ).eval()


def test_a_static_model_is_a_vector_for_each_token_and_their_mean(tiny):
    static = tuning.static(tiny, 8)
    table = static[0].embedding.weight.detach()
    assert table.shape == (len(tiny.tokenizer), 8) and static.similarity_fn_name == "cosine"
    vectors = static.encode(["king cat", "cat king"])
    ids = tiny.tokenizer.convert_tokens_to_ids(["cat", "king"])
    mean = torch.nn.functional.normalize(table[ids].mean(dim=0), dim=0).numpy()
    assert np.allclose(vectors, mean, atol=1e-5)  # it does not know the order
    assert tiny.encode("the cat sat").shape == (16,)  # the model is left as it was


def test_tokens_go_alone_through_the_model_and_frequent_ones_count_less(tiny):
    alone = []
    for number in range(len(tiny.tokenizer)):
        ids = torch.tensor([[3, number, 4]])
        with torch.inference_mode():
            features = tiny[0]({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        alone.append(features["token_embeddings"][0].mean(dim=0).numpy())
    vectors = np.array(alone)
    assert np.allclose(tuning._token_vectors(tiny, at_once=4), vectors, atol=1e-5)
    even, weighted = (tuning.static(tiny, 8, sif=sif)[0].embedding.weight.detach().numpy() for sif in (None, 0.05))
    assert not even[1].any() and not weighted[1].any()  # a free place of the vocabulary
    vectors, even, weighted = (np.delete(rows, 1, axis=0) for rows in (vectors, even, weighted))
    assert np.allclose(even @ even.T, _best(vectors - vectors.mean(axis=0), 8), atol=1e-4)
    frequency = 1 / np.arange(2, len(vectors) + 2)
    counts = 0.05 / (0.05 + frequency / frequency.sum())
    assert np.allclose(weighted, even * counts[:, None], atol=1e-4) and (np.diff(counts) > 0).all()


def _best(vectors, dimension):
    """All dot products of the vectors in their best `dimension` directions."""
    left, sizes, _ = np.linalg.svd(vectors, full_matrices=False)
    return (left[:, :dimension] * sizes[:dimension] ** 2) @ left[:, :dimension].T


def rows_with(**changed):
    return [*ROWS[:2], ROWS[2] | changed]


CASES = {
    "no model": (lambda m: tuning.train("MiniLM", ROWS), TypeError, r"model must be a SentenceTransformer.*not str"),
    "rows a string": (lambda m: tuning.train(m, "pairs"), TypeError, r"rows must be a list of dictionaries.*not str"),
    "one dictionary": (lambda m: tuning.train(m, ROWS[0]), TypeError, r"rows must be a list of dictionaries"),
    "tuples": (lambda m: tuning.train(m, [("a", "b")] * 2), TypeError, r"rows\[0\] must be a dictionary such as"),
    "other keys": (
        lambda m: tuning.train(m, rows_with(more="x")),
        ValueError,
        r"rows\[2\] has the keys.*rows\[0\] has",
    ),
    "one column": (lambda m: tuning.train(m, [{"anchor": "a"}] * 2), ValueError, r"rows has 1 column of texts; pass"),
    "no text": (
        lambda m: tuning.train(m, rows_with(positive=" ")),
        ValueError,
        r"rows\[2\]\['positive'\] must be a text",
    ),
    "a number": (
        lambda m: tuning.train(m, [{"a": "x", "b": 1}] * 2),
        ValueError,
        r"rows\[0\]\['b'\] must be a text, not 1",
    ),
    "one row": (lambda m: tuning.train(m, ROWS[:1]), ValueError, r"rows has 1; at least 2 are needed"),
    "no row": (lambda m: tuning.train(m, []), ValueError, r"rows has 0; at least 2"),
    "batch of one": (lambda m: tuning.train(m, ROWS, batch=1), ValueError, r"batch is 1; at least 2"),
    "rate": (lambda m: tuning.train(m, ROWS, rate=2), ValueError, r"rate must be a number between 0 and 1.*not 2"),
    "epochs": (lambda m: tuning.train(m, ROWS, epochs=0), ValueError, r"epochs must be at least 1, not 0"),
    "tokens": (lambda m: tuning.train(models.load("symmetric"), ROWS, max_tokens=0), ValueError, r"max_tokens must be"),
    "loss": (lambda m: tuning.train(m, ROWS, loss="mnrl"), TypeError, r"loss must make a loss of a model.*'mnrl'"),
    "pairs of a list": (
        lambda m: tuning.pairs(ROWS),
        TypeError,
        r"collection must be a Collection.*not list; pairs of",
    ),
    "weight": (lambda m: tuning.interpolate(m, m, 1.5), ValueError, r"weight must be a number from 0.*not 1.5"),
    "weight True": (lambda m: tuning.interpolate(m, m, True), ValueError, r"weight must be a number"),
    "not its training": (
        lambda m: tuning.interpolate(m, models.load("symmetric"), 0.5),
        ValueError,
        r"base and tuned have other tensors.*mix a model with what was trained from it",
    ),
    "mix of names": (lambda m: tuning.interpolate(m, "tuned", 0.5), TypeError, r"tuned must be a SentenceTransformer"),
    "too many dimensions": (
        lambda m: tuning.static(models.load("symmetric"), 500),
        ValueError,
        r"dimension must be at most 384.*not 500",
    ),
    "static of static": (lambda m: tuning.static(m), TypeError, r"model must have a fast tokenizer of transformers"),
    "sif": (lambda m: tuning.static(models.load("symmetric"), sif=0), ValueError, r"sif must be None or a number"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named_with_its_remedy(small, case):
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call(small)


def test_a_missing_extra_says_what_installs_it(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"training needs accelerate and datasets.*pip install"):
        tuning.train(small, ROWS)
