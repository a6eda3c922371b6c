"""A corpus made ready for certified search: centred, quantised, with all that its bound needs.

A vector x of the corpus is kept as it is, and beside it in about a quarter of the memory as

    x = μ + p u + s ŷ + r

with the corpus' mean μ and its direction u, one number p = ⟨u, x − μ⟩, a vector ŷ of small whole
numbers (or of bfloat16), a scale s that a group of 32 vectors shares, and a residual r of which
only the largest length in the group is kept. `certified` says what that is good for.

Vectors are put into groups with others that are alike in scale and in p. Each group then has a
scale, a residual and a range of p of its own, all narrow, so a few vectors with large values spoil
the bound of their own group only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semsearch_nb.exact import first_pass as passes
from semsearch_nb.exact.rows import CHUNK, as_rows, inverse_lengths, lengths
from semsearch_nb.storage import StorageError, Store

GROUP = 32  # vectors whose best score is looked at first
SHARD = 1 << 25  # values that are sorted into groups at once: 128 MB
SAVED = Store("prepared corpus", 2, "prepare the corpus and save it again")  # the number is that of its arrays
SCORES = ("cosine", "dot")
UNIT = 2.0**-24  # the largest relative error of one float32 operation
_SORT_SCALES = math.log(1.1)  # vectors whose largest values differ by less than a tenth count as alike


@dataclass(frozen=True)
class Prepared:
    """What `exact.prepare` returns and `exact.search` takes in place of a corpus.

    n vectors of d dimensions; G = n // 32 groups. The n % 32 last vectors are in no group.

    Attributes:
        score: `"cosine"` or `"dot"`.
        first_pass: `"int8"` or `"bfloat16"`.
        vectors: `(n, d)` float32, the rows as they were given, perhaps memory-mapped.
        inverse: `(n,)`, what each row is multiplied by to have length 1; empty where nothing is.
        order: `(G · 32,)`, the row that stands at each position of `codes`.
        codes: `(G · 32, d)`, ŷ.
        along: `(G, 32)`, p.
        scale: `(G,)`, s.
        bounds: `(6, G)`, see `certified`: what a score in a group may gain, in units of s.
        mean, direction: `(d,)`, μ and u.
    """

    score: str
    first_pass: str
    vectors: torch.Tensor
    inverse: torch.Tensor
    order: torch.Tensor
    codes: torch.Tensor
    along: torch.Tensor
    scale: torch.Tensor
    bounds: torch.Tensor
    mean: torch.Tensor
    direction: torch.Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def device(self) -> torch.device:
        return self.codes.device

    @property
    def nbytes(self) -> int:
        """Bytes of all but `vectors`: what the preparation takes beside the corpus itself."""
        return sum(tensor.nbytes for name, tensor in self._tensors().items() if name != "vectors")

    def __repr__(self) -> str:
        return (
            f"Prepared({len(self):,} vectors of {self.dimension} dimensions, {self.score}, {self.first_pass}, "
            f"{self.nbytes / 1e6:,.1f} MB beside {self.vectors.nbytes / 1e6:,.1f} MB of vectors)"
        )

    def save(self, folder: str | Path) -> Path:
        """Write everything, the vectors too, into `folder`, from which `exact.load` maps it; returns its path.

        All or nothing: a save that is cut off leaves what was there.

        Raises:
            FileExistsError: the folder holds something else than a prepared corpus.
        """

        def write(files: Path) -> dict[str, Any]:
            arrays = {}
            for name, tensor in self._tensors().items():
                # NumPy has no bfloat16: its bits travel as 16-bit integers.
                plain = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
                array = plain.cpu().numpy()
                np.save(files / f"{name}.npy", array, allow_pickle=False)
                arrays[name] = _described(array)
            return {"score": self.score, "first_pass": self.first_pass, "arrays": arrays}

        return SAVED.save(folder, write)

    def _tensors(self) -> dict[str, torch.Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def load(folder: str | Path, *, verify: bool = True) -> Prepared:
    """The prepared corpus that `Prepared.save` wrote into `folder`; load only what you trust.

    The arrays are memory-mapped. `verify` reads every file once and compares its checksum; without it,
    what a search does not touch is not read.

    Raises:
        FileNotFoundError: no prepared corpus, or one without all of its files.
        ValueError: of another layout, damaged or changed; the message says which.
    """

    def read(files: Path, about: dict[str, Any]) -> Prepared:
        if about["score"] not in SCORES or about["first_pass"] not in passes.FIRST_PASSES:
            raise StorageError(f"no corpus is prepared for {about['score']!r} and {about['first_pass']!r}")
        tensors = {}
        for name in (field.name for field in fields(Prepared) if field.type == "torch.Tensor"):
            # "c" maps for reading and keeps writes to itself, so torch has a writable array.
            array = np.load(files / f"{name}.npy", mmap_mode="c", allow_pickle=False)
            if _described(array) != about["arrays"][name]:
                raise StorageError(f"{name}.npy is {_described(array)}, and {about['arrays'][name]} was saved")
            tensors[name] = torch.from_numpy(array)
        if about["first_pass"] == "bfloat16":
            tensors["codes"] = tensors["codes"].view(torch.bfloat16)
        return Prepared(about["score"], about["first_pass"], **tensors)

    return SAVED.load(folder, read, verify=verify)


def _described(array: Any) -> str:
    """The type and shape of an array, for the manifest: `float32 (2000, 48)`."""
    return f"{array.dtype} {array.shape}"


def prepare(corpus: Any, *, score: str = "cosine", first_pass: str = "auto", device: str | None = None) -> Prepared:
    """Centre and quantise a corpus once, for many calls of `exact.search`.

    The corpus is read twice from end to end in chunks, so it may be memory-mapped and larger than
    memory; the result takes about n · (d + 10) bytes beside it. It refers to the corpus and does
    not copy it: do not change the corpus while it is in use.

    Args:
        corpus: shape `(n, dimension)`, NumPy or torch.
        score: `"cosine"`, or `"dot"` for the plain inner product.
        first_pass: `"int8"`, `"bfloat16"`, or `"auto"` for the faster one on this machine.
        device: where to search; without it, where the corpus is.

    Raises:
        TypeError, ValueError: as `exact.search`.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {SCORES}, not {score!r}")
    if first_pass not in ("auto", *passes.FIRST_PASSES):
        raise ValueError(f"first_pass must be one of 'auto', 'int8', 'bfloat16', not {first_pass!r}")
    vectors = as_rows(corpus, "corpus", device)
    row_lengths = lengths(vectors, "corpus")
    inverse = inverse_lengths(row_lengths, "corpus") if score == "cosine" else None
    if inverse is not None:
        row_lengths = torch.ones_like(row_lengths)
    if first_pass == "auto":
        first_pass = passes.fastest(str(vectors.device)) or "int8"
    if first_pass == "int8" and vectors.shape[1] * 127**2 >= 2**31:
        raise ValueError(f"corpus has {vectors.shape[1]} dimensions, and sums of int8 products overflow; use bfloat16")
    n, dimension = vectors.shape
    n_groups = n // GROUP
    mean = _mean(vectors, inverse)
    length = torch.linalg.vector_norm(mean)
    prepared = Prepared(
        score=score,
        first_pass=first_pass,
        vectors=vectors,
        inverse=vectors.new_empty(0) if inverse is None else inverse,
        order=torch.empty(n_groups * GROUP, dtype=torch.int32 if n < 2**31 else torch.int64, device=vectors.device),
        codes=torch.empty(
            (n_groups * GROUP, dimension), dtype=passes.FIRST_PASSES[first_pass].factors, device=vectors.device
        ),
        along=vectors.new_empty((n_groups, GROUP)),
        scale=vectors.new_empty(n_groups),
        bounds=vectors.new_empty((6, n_groups)),
        mean=mean,
        direction=mean / length if length > 0 else mean,
    )
    shard = max(GROUP, SHARD // dimension // GROUP * GROUP)
    for start in range(0, n_groups * GROUP, shard):
        stop = min(start + shard, n_groups * GROUP)
        _sort_into_groups(prepared, start, stop)
        for first in range(start // GROUP, stop // GROUP, CHUNK // GROUP // 4):
            _quantise(prepared, row_lengths, first, min(first + CHUNK // GROUP // 4, stop // GROUP))
    return prepared


def rows_at(prepared: Prepared, indices: torch.Tensor) -> torch.Tensor:
    """Rows of the corpus, of length 1 under `"cosine"`: shape `(len(indices), d)`."""
    rows = prepared.vectors.index_select(0, indices)
    return rows * prepared.inverse[indices, None] if len(prepared.inverse) else rows


def _mean(vectors: torch.Tensor, inverse: torch.Tensor | None) -> torch.Tensor:
    total = torch.zeros(vectors.shape[1], dtype=torch.float64, device=vectors.device)
    weights = [None] * len(vectors) if inverse is None else list(torch.split(inverse, CHUNK))
    for chunk, weight in zip(torch.split(vectors, CHUNK), weights, strict=False):
        total += (chunk.sum(dim=0) if weight is None else weight @ chunk).double()
    return (total / len(vectors)).float()


def _sort_into_groups(prepared: Prepared, start: int, stop: int) -> None:
    """Fill `order` for the rows from `start` to `stop`: alike vectors side by side, groups shuffled.

    Shuffled, since the first vectors that a search sees should be a fair sample of all.
    """
    along, largest = [], []
    for first in range(start, stop, CHUNK):
        across, p = _centred(prepared, torch.arange(first, min(first + CHUNK, stop), device=prepared.device))
        along.append(p)
        largest.append(across.abs().amax(dim=1))
    scales = (torch.cat(largest).clamp_min(1e-30).log() / _SORT_SCALES).floor()
    # numpy sorts by several keys, the last one first.
    order = torch.from_numpy(np.lexsort((torch.cat(along).cpu().numpy(), scales.cpu().numpy())))
    shuffle = torch.randperm(len(order) // GROUP, generator=torch.Generator().manual_seed(start))
    order = order.view(-1, GROUP)[shuffle].reshape(-1) + start
    prepared.order[start:stop] = order.to(prepared.order)


def _centred(prepared: Prepared, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x − μ − p u for rows of the corpus, and p."""
    rows = rows_at(prepared, indices).sub_(prepared.mean)
    along = rows @ prepared.direction
    return rows.sub_(along[:, None] * prepared.direction), along


def _quantise(prepared: Prepared, row_lengths: torch.Tensor, first: int, last: int) -> None:
    """Fill `codes`, `along`, `scale` and `bounds` for the groups from `first` to `last`."""
    at = slice(first * GROUP, last * GROUP)
    indices = prepared.order[at].long()
    dimension = prepared.dimension
    across, along = _centred(prepared, indices)
    # Lengths of x and μ: every rounding error below is a small multiple of them.
    size = row_lengths[indices].view(-1, GROUP).amax(dim=1) + torch.linalg.vector_norm(prepared.mean)
    leaning = (across @ prepared.direction).abs().view(-1, GROUP).amax(dim=1)
    scale = across.abs().view(-1, GROUP * dimension).amax(dim=1) / 127
    scale = torch.maximum(scale, 1e-9 * size).clamp_min(1e-30)
    of_vector = scale.repeat_interleave(GROUP)[:, None]
    exact = across / of_vector
    codes = passes.FIRST_PASSES[prepared.first_pass].as_factors(exact)
    values = codes.float()
    code_length = torch.linalg.vector_norm(values, dim=1).view(-1, GROUP).amax(dim=1) * scale
    residual = torch.linalg.vector_norm(across.sub_(values.mul_(of_vector)), dim=1).view(-1, GROUP).amax(dim=1)
    of_norms = 1 + (dimension + 8) * UNIT  # the relative error of a length, computed in float32
    rounding = leaning + (4 * dimension + 256) * UNIT * size
    along = along.view(-1, GROUP)
    bounds = [
        torch.ones_like(scale),
        -along.amax(dim=1),
        -along.amin(dim=1),
        -code_length * of_norms,
        -residual * of_norms,
        -rounding,
    ]
    prepared.codes[at] = codes
    prepared.along[first:last] = along
    prepared.scale[first:last] = scale
    prepared.bounds[:, first:last] = torch.stack(bounds) / scale
