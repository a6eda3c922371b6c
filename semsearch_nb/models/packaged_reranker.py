"""The project's own cross-encoder: what training changed of MiniLM, put back into it.

The package carries, in float16, every weight but the word embeddings, which training leaves as they
are and the packaged MiniLM brings. `training/train_reranker.py` wrote them; their card lies beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer

from semsearch_nb.foundation.storage import checksum
from semsearch_nb.models import packaged_minilm
from semsearch_nb.models.packaged_minilm import PackagedModelError

NAME = "semsearch-nb-reranker"
WEIGHTS = Path(__file__).parent / "weights" / "reranker.safetensors"
WORDS = "bert.embeddings.word_embeddings.weight"
MAX_TOKENS = 256  # of question and text together, as in training


def load(on: str = "cpu", weights: Path = WEIGHTS) -> tuple[CrossEncoder, str]:
    """The re-ranker on a device, and the revision of its weights.

    Raises:
        PackagedModelError: MiniLM is missing, or the weights are missing, damaged or of another layout.
    """
    if not weights.is_file():
        raise PackagedModelError(f"the re-ranker's weights {weights} are missing; install semsearch-nb again")
    model = untrained(on=on)
    try:
        changed = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise PackagedModelError(f"{weights} cannot be read ({error}); install semsearch-nb again") from error
    network = _network(model)
    own = network.state_dict()
    if changed.keys() != own.keys() - {WORDS} or any(changed[name].shape != own[name].shape for name in changed):
        raise PackagedModelError(f"{weights} does not hold the weights of this re-ranker; install semsearch-nb again")
    network.load_state_dict({name: tensor.float() for name, tensor in changed.items()}, strict=False)
    model.eval()
    return model, checksum(weights)


def untrained(seed: int = 0, on: str = "cpu") -> CrossEncoder:
    """MiniLM with a new layer that makes one logit of a pair: where training starts.

    The new weights are drawn on the CPU, so they are the same on every device, and torch's random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed every device
        transformer = Transformer(
            str(packaged_minilm.find()),
            transformer_task="sequence-classification",
            model_kwargs={"dtype": torch.float32},
            config_kwargs={"num_labels": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
            max_seq_length=MAX_TOKENS,
        )
        model: CrossEncoder = CrossEncoder(modules=[transformer], device="cpu")
        # MiniLM was trained without its pooler, whose weights have decayed to almost nothing.
        pooler = _network(model).bert.pooler.dense
        torch.nn.init.normal_(pooler.weight, std=pooler.in_features**-0.5)
    return model.to(on)


def write(model: CrossEncoder, file: Path) -> None:
    """All weights but the word embeddings, in float16. The file is replaced when it is complete."""
    state = _network(model).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    save_file({name: tensor.half().contiguous().cpu() for name, tensor in state.items() if name != WORDS}, part)
    part.replace(file)


def _network(model: CrossEncoder) -> Any:
    transformer: Any = model[0]
    return transformer.auto_model
