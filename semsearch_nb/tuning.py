"""Train a bi-encoder further on pairs of one's own, mix it with what it was, and make it small. Taught in notebook 11.

`train` is sentence-transformers' own trainer with the settings that a few hundred pairs on a CPU need. It trains a
copy: `models.load` returns models that are shared. Needs the extra `training`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import math
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from transformers import PreTrainedTokenizerFast

from semsearch_nb.datasets import Collection
from semsearch_nb.vectors import as_count

if TYPE_CHECKING:
    from datasets import Dataset

INSTALL = 'training needs accelerate and datasets; install them: pip install "accelerate>=1.10" "datasets>=4"'
Loss = Callable[[SentenceTransformer], torch.nn.Module]
_UNUSED = re.compile(r"\[unused\d+\]")  # places that BERT's vocabulary keeps free


class Trained(NamedTuple):
    """A model after its training, how long that took, and the mean loss of its batches."""

    model: SentenceTransformer
    seconds: float
    loss: float


def pairs(collection: Collection) -> list[dict[str, str]]:
    """What to learn from a collection: each query (`anchor`) with its best judged document (`positive`).

    Of documents with the same grade the first is taken. Pass the part to learn from: `collection.split()[0]`.

    Raises:
        TypeError: no collection.
    """
    if not isinstance(collection, Collection):
        raise TypeError(
            f"collection must be a Collection, as datasets.load returns, not {type(collection).__name__}; "
            "pairs of your own are rows such as {'anchor': a question, 'positive': a text that answers it}"
        )
    text_of = {document.id: document.full_text for document in collection.documents}
    best = {query: max(grades, key=grades.__getitem__) for query, grades in collection.qrels.items()}
    return [{"anchor": query.text, "positive": text_of[best[query.id]]} for query in collection.queries]


def train(
    model: SentenceTransformer,
    rows: Sequence[Mapping[str, Any]] | Dataset,
    *,
    loss: Loss = MultipleNegativesRankingLoss,
    rate: float = 2e-5,
    batch: int = 32,
    epochs: int = 1,
    max_tokens: int | None = 128,
    seed: int = 0,
    **options: Any,
) -> Trained:
    """A copy of `model`, trained on `rows` for some epochs in float32. A batch never holds a text twice.

    Args:
        rows: dictionaries with the same keys, or a `datasets.Dataset`: a question, a text that answers it, and, if
            there are any, texts that do not; a column `label`, `labels`, `score` or `scores` holds numbers for the
            loss. Their order is drawn with `seed`.
        loss: makes the loss of the copy, as sentence-transformers' losses do.
        rate: the learning rate, reached after the first tenth of the steps and falling to 0 at the end.
        batch: rows a step; in the default loss the other rows' texts are the wrong answers.
        max_tokens: longer texts are cut while it learns; the model's own limit holds again afterwards. None: no cut.
        options: others of `SentenceTransformerTrainingArguments`, such as `lr_scheduler_type`, and `callbacks`.

    Raises:
        ImportError: the extra `training` is not installed.
        TypeError, ValueError: the argument, what is wrong with it, and what to pass.
    """
    _check_model(model, "model")
    table, batch, epochs = _table(rows), as_count(batch, "batch"), as_count(epochs, "epochs")
    if len(table) < 2 or batch < 2:
        few = f"rows has {len(table)}" if len(table) < 2 else f"batch is {batch}"
        raise ValueError(f"{few}; at least 2 are needed, as each row's wrong answers are the texts of the others")
    if not (_is_number(rate) and 0 < rate < 1):
        raise ValueError(f"rate must be a number between 0 and 1, such as 2e-5, not {rate!r}")
    if not callable(loss):
        raise TypeError(f"loss must make a loss of a model, as MultipleNegativesRankingLoss does, not {loss!r:.60}")
    student = copy.deepcopy(model).to(model.device)
    limit = student.max_seq_length
    if max_tokens is not None and limit is not None and math.isfinite(limit):  # a static model has no limit
        student.max_seq_length = min(as_count(max_tokens, "max_tokens"), limit)
    torch.manual_seed(seed)
    started = time.perf_counter()
    mean_loss = _fit(student, table, loss(student), rate, batch, epochs, seed, options)
    if student.max_seq_length != limit:
        student.max_seq_length = limit
    return Trained(student.eval(), time.perf_counter() - started, mean_loss)


def _fit(
    student: SentenceTransformer,
    table: Dataset,
    loss: torch.nn.Module,
    rate: float,
    batch: int,
    epochs: int,
    seed: int,
    options: dict[str, Any],
) -> float:
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers

    student.model_card_data.widget = [{}]  # else examples for a model card are drawn, with a bar
    callbacks = options.pop("callbacks", None)
    settings: dict[str, Any] = {"warmup_steps": 0.1, "save_strategy": "no", "logging_strategy": "no"} | options
    # The trainer writes a folder, and prints its figures as a dictionary.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        told = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            use_cpu=student.device.type == "cpu",
            seed=seed,
            report_to=[],
            disable_tqdm=True,
            **settings,
        )
        trainer = SentenceTransformerTrainer(student, told, table, loss=loss, callbacks=callbacks)
        mean_loss = float(trainer.train().training_loss)
    student.model_card_data.widget = []
    return mean_loss


def _table(rows: Any) -> Dataset:
    """The rows as the trainer reads them, with texts where texts belong."""
    if not all(map(importlib.util.find_spec, ("accelerate", "datasets"))):
        raise ImportError(INSTALL)
    from datasets import Dataset

    if isinstance(rows, Dataset):
        table = rows
    elif isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be a list of dictionaries or a datasets.Dataset, not {type(rows).__name__}")
    else:
        for position, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise TypeError(
                    f"rows[{position}] must be a dictionary such as {{'anchor': …, 'positive': …}}: {row!r:.60}"
                )
            if row.keys() != rows[0].keys():
                raise ValueError(
                    f"rows[{position}] has the keys {sorted(row)}, and rows[0] has {sorted(rows[0])}; give all the same"
                )
        table = Dataset.from_list([dict(row) for row in rows])
    columns = [name for name in table.column_names if name not in ("label", "labels", "score", "scores")]
    if len(table) and len(columns) < 2:
        raise ValueError(f"rows has {len(columns)} column of texts; pass a question and a text that answers it")
    for name in columns:
        for position, text in enumerate(table[name]):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"rows[{position}][{name!r}] must be a text, not {text!r:.60}; leave that row out")
    return table


def interpolate(base: SentenceTransformer, tuned: SentenceTransformer, weight: float) -> SentenceTransformer:
    """A model between two: every tensor is `(1 − weight) · base + weight · tuned` (Wortsman et al. 2022, WiSE-FT).

    Weight 0 is the base, 1 the tuned model. Both must have the same architecture, as a model and its training have.

    Raises:
        TypeError, ValueError: other architectures, or a weight outside 0 to 1.
    """
    _check_model(base, "base")
    _check_model(tuned, "tuned")
    if not (_is_number(weight) and 0 <= weight <= 1):
        raise ValueError(f"weight must be a number from 0 (the base) to 1 (the tuned model), not {weight!r}")
    first, second = base.state_dict(), tuned.state_dict()
    differs = {name for name in first.keys() | second.keys() if _shape(first, name) != _shape(second, name)}
    if differs:
        raise ValueError(
            f"base and tuned have other tensors ({sorted(differs)[0]!r}); mix a model with what was trained from it"
        )
    mixed = copy.deepcopy(base)
    between = {
        name: torch.lerp(tensor, second[name].to(tensor), float(weight)) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }
    mixed.load_state_dict(between)
    return mixed.eval()


def static(model: SentenceTransformer, dimension: int = 256, *, sif: float | None = 1e-4) -> SentenceTransformer:
    """A model without layers: one vector for each token of the vocabulary, and a text is their mean.

    Each token goes alone through `model` once; PCA keeps `dimension` directions; a token counts
    `sif / (sif + frequency)`, its frequency being guessed from its place in the vocabulary, which is sorted by it
    (Zipf). Free places such as `[unused7]` are left out. This is how model2vec distills, and
    `StaticEmbedding.from_distillation` with it.

    Args:
        sif: None: all tokens count alike.

    Raises:
        TypeError, ValueError: a model without a fast tokenizer, or more dimensions than it has.
    """
    from sklearn.decomposition import PCA

    _check_model(model, "model")
    tokenizer: Any = model.tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TypeError(f"model must have a fast tokenizer of transformers, not {type(tokenizer).__name__}")
    transformer: Any = model[0]
    own = min(transformer.get_embedding_dimension(), len(tokenizer))
    if as_count(dimension, "dimension") > own:
        raise ValueError(f"dimension must be at most {own}, which the model's tokens have, not {dimension}")
    if sif is not None and not (_is_number(sif) and 0 < sif < 1):
        raise ValueError(f"sif must be None or a number between 0 and 1, such as 1e-4, not {sif!r}")
    vectors = _token_vectors(model)
    used = [not _UNUSED.fullmatch(token) for token in tokenizer.convert_ids_to_tokens(list(range(len(vectors))))]
    table = np.zeros((len(vectors), dimension), dtype=np.float32)
    table[used] = PCA(dimension, svd_solver="covariance_eigh").fit_transform(vectors[used])
    if sif is not None:
        frequency = 1 / np.arange(2, sum(used) + 2)
        table[used] *= (sif / (sif + frequency / frequency.sum()))[:, None]
    embedding = StaticEmbedding(copy.deepcopy(tokenizer.backend_tokenizer), embedding_weights=table)
    return SentenceTransformer(
        modules=[embedding, Normalize()], device=str(model.device), similarity_fn_name="cosine"
    ).eval()


@torch.inference_mode()
def _token_vectors(model: SentenceTransformer, at_once: int = 1_024) -> np.ndarray[Any, Any]:
    """Each token of the vocabulary alone between the marks of a text, as the mean of what comes out."""
    transformer: Any = model[0]
    tokenizer: Any = model.tokenizer
    marks = tokenizer("")["input_ids"]
    ids = torch.tensor([[*marks[:1], number, *marks[1:]] for number in range(len(tokenizer))])
    parts = []
    for some in torch.split(ids, at_once):
        some = some.to(model.device)
        features = {"input_ids": some, "attention_mask": torch.ones_like(some)}
        parts.append(transformer(features)["token_embeddings"].mean(dim=1).float().cpu())
    return torch.cat(parts).numpy()


def _shape(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_model(model: Any, name: str) -> None:
    if not isinstance(model, SentenceTransformer):
        raise TypeError(f"{name} must be a SentenceTransformer, as models.load returns, not {type(model).__name__}")
