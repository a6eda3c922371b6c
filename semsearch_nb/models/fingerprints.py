"""What a model is: its weights and its configuration. Whatever is kept of a model is keyed by both.

A key that lists what its author thought of forgets something, so a fingerprint takes all that a computation
can read: every tensor, the class and the plain attributes of every module, the tokenizer, the libraries.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from semsearch_nb.foundation import cache

Model = SentenceTransformer | CrossEncoder | SparseEncoder
LIBRARIES = ("torch", "transformers", "sentence-transformers", "tokenizers")
# What torch keeps of every module, except hooks, which may change what is computed.
MACHINERY = set(vars(torch.nn.Module())) - {"_forward_hooks", "_forward_pre_hooks"}
# No result depends on them: where a configuration came from, notes for a model card, what calls leave behind.
ABOUT = {"_name_or_path", "name_or_path", "transformers_version", "model_card_data", "_model_card_text"} | {
    *("_model_card_vars", "_modules_placed", "_prompt_length_mapping", "_method_signature_cache"),
    *("_chat_template_suffix_cache", "_similarity", "_similarity_pairwise", "_similarity_fn_name"),
}
IGNORED = frozenset(MACHINERY | ABOUT)
OF_A_TOKENIZER = ("model_max_length", "truncation_side", "padding_side", "model_input_names", "special_tokens_map")


class Identity(NamedTuple):
    """The name of a model and the revision of its weights."""

    name: str
    revision: str


_sources: WeakKeyDictionary[Model, tuple[object, Identity, str]] = WeakKeyDictionary()
_own: WeakKeyDictionary[Model, tuple[object, Identity]] = WeakKeyDictionary()


def remember(model: Model, name: str, revision: str) -> None:
    """Say that the model, as it is now, is that of a source."""
    _sources[model] = (_versions(model), Identity(name, revision), configuration(model))


def identity(model: Model) -> Identity:
    """Name and revision of a model: as its source gives them, as long as nobody changes what `models.load`
    returned; of any other model `"own"` and a fingerprint of its weights and its configuration."""
    name, revision = _of_weights(model)
    now = configuration(model)
    return Identity(name, revision if now == _sources.get(model, (0, 0, 0))[2] else f"{revision}-{now}")


def of(model: Model) -> dict[str, Any]:
    """All that a computation reads of a model and of the libraries that run it, as a part of a cache's key."""
    name, revision = _of_weights(model)
    return {
        "model": name,
        "revision": revision,
        "configuration": configuration(model),
        "versions": versions(*LIBRARIES),
    }


def _of_weights(model: Model) -> Identity:
    """Weights are hashed once, and again when they have changed. Assignments, optimizer steps and
    `load_state_dict` count up a tensor's version or move it. Writing to `tensor.data` does neither, so the bits
    of a model of one's own are also combined, which takes a tenth of the time.
    """
    versions = _versions(model)
    known = _sources.get(model)
    if known and known[0] == versions:
        return known[1]
    stamp = (versions, [_parity(value) for value in _weights(model).values()])
    own = _own.get(model)
    if own is None or own[0] != stamp:
        own = _own[model] = (stamp, Identity("own", _sha256_of_weights(model)))
    return own[1]


def configuration(module: torch.nn.Module) -> str:
    """A digest of what a module and those within it are, besides their weights."""
    seen: set[int] = set()  # every layer of a transformer holds the same configuration
    found = []
    for name, part in module.named_modules():
        own = {key: value for key, value in vars(part).items() if key not in IGNORED and id(value) not in seen}
        seen.update(id(value) for value in own.values() if hasattr(value, "to_dict"))
        found.append([name, _name(part), _plain(own)])
    # What `cache.digest` gives, in a tenth of its time, since a query waits for it.
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache
def versions(*libraries: str) -> tuple[str, ...]:
    """Names and versions of libraries that are installed."""
    return tuple(f"{library} {importlib.metadata.version(library)}" for library in libraries)


def _weights(model: Model) -> dict[str, Any]:
    """Everything that is computed with, also what is not saved, such as positions."""
    return model.state_dict(keep_vars=True) | dict(model.named_buffers())


def _versions(model: Model) -> object:
    """What changes when a tensor is assigned to, moved or replaced: cheap, but blind to writes to `.data`."""
    return [
        (name, value.data_ptr(), value._version, value.dtype, value.shape) if torch.is_tensor(value) else repr(value)
        for name, value in _weights(model).items()
        if not (torch.is_tensor(value) and value.is_inference())
    ]


def _parity(value: Any) -> object:
    """The bits of a tensor, all combined by exclusive or; on a GPU the sum of its values."""
    if torch.is_tensor(value) and value.device.type != "cpu":
        return float(value.detach().float().sum())
    bytes_ = _bytes(value)
    words = bytes_[: len(bytes_) // 8 * 8].view(np.uint64)
    return int(np.bitwise_xor.reduce(words)), bytes_[len(words) * 8 :].tobytes()


def _sha256_of_weights(model: Model) -> str:
    sha256 = hashlib.sha256()
    for name, value in sorted(_weights(model).items()):
        sha256.update(f"{name} {_name(value)} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}".encode())
        sha256.update(_bytes(value).data)
    return sha256.hexdigest()


def _bytes(value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Those of a tensor; of anything else, as quantised layers of torch keep it, those of its text."""
    if not torch.is_tensor(value):
        return np.frombuffer(repr(value).encode(), np.uint8)
    array: np.ndarray[Any, np.dtype[np.uint8]] = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return array


def _plain(value: Any) -> Any:
    """A value as JSON holds it, the same in every process for the same configuration."""
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    if hasattr(value, "to_dict"):  # configurations of transformers and of adapters
        return _plain(value.to_dict())
    return _name(value)


def _name(value: Any) -> str:
    named = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _tokenizer(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> Any:
    """Vocabulary, normalisation and all else of a tokenizer, except the limits that its last call has set."""
    if isinstance(tokenizer, Tokenizer):
        return _serialised(tokenizer), tokenizer.truncation
    own = {name: _plain(getattr(tokenizer, name, None)) for name in OF_A_TOKENIZER}
    backend = getattr(tokenizer, "_tokenizer", None)
    if isinstance(backend, Tokenizer):
        return own, _serialised(backend)
    return own, _name(tokenizer), cache.digest(tokenizer.get_vocab()), _plain(tokenizer.init_kwargs)


def _serialised(tokenizer: Tokenizer) -> str:
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor)
    return _sha256_of_tokenizer(tokenizer, tokenizer.get_vocab_size(), *map(repr, parts))


@lru_cache(maxsize=8)
def _sha256_of_tokenizer(tokenizer: Tokenizer, *_stamp: Any) -> str:
    """Computed again when the stamp is another one: a vocabulary of 250,000 takes a second."""
    whole = re.sub(r'"truncation":.*?,"added_tokens"', "", tokenizer.to_str(), count=1, flags=re.DOTALL)
    return hashlib.sha256(whole.encode()).hexdigest()


_WRITERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((type(None), bool, int, float, str), lambda value: value),
    ((PreTrainedTokenizerBase, Tokenizer), _tokenizer),
    (torch.Tensor, lambda tensor: hashlib.sha256(_bytes(tensor).data).hexdigest()),
    (np.ndarray, lambda array: [array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest()]),
    ((dict, Mapping), lambda of: {str(key): _plain(item) for key, item in of.items() if key not in ABOUT}),
    ((list, tuple), lambda items: [_plain(item) for item in items]),
    (Set, lambda items: sorted(map(str, items))),
    (torch.nn.Module, _name),  # held beside the modules: seen in their own place, or not computed with
    ((torch.dtype, torch.device), str),
)
