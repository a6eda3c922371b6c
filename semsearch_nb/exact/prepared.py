"""A corpus made ready for certified search: scaled, and coded with all that its bound needs.

A vector x of the corpus (of length 1 under `"cosine"`) is kept as it is, and beside it, in few bits, a code:
x = μ + p u + s ŷ + r, with the mean μ, its direction u, one number p = ⟨u, x − μ⟩, a vector ŷ of small whole
numbers (or of bfloat16), a scale s that 32 neighbours share, and a remainder r. p stands in eight columns
beside ŷ, in units of s too. `certified` says what that is good for.

Of what a code leaves out only the largest length among 32 vectors is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semsearch_nb.exact import first_pass as passes
from semsearch_nb.exact.first_pass import PLAIN, FirstPass
from semsearch_nb.exact.rows import CHUNK, as_device, as_rows, full_precision, gathered, lengths, scaled, wide
from semsearch_nb.foundation.storage import StorageError, Store
from semsearch_nb.vectors import are_units, as_numpy

GROUP = 32  # vectors that share a scale and a bound
COPIES = 8  # of p, so that its factor on the query's side is no larger than the others
SAVED = Store("prepared corpus", 3, "prepare the corpus and save it again")  # the number is that of its arrays
SCORES = ("cosine", "dot")
UNIT = 2.0**-24  # the largest relative error of one float32 operation
TINY = 2.0**-50  # of the largest length: squares of values below may vanish


@dataclass(frozen=True)
class Prepared:
    """What `exact.prepare` returns and `exact.search` takes in place of a corpus.

    n vectors of d dimensions; G = ⌈n / 32⌉ groups of 32 neighbours.

    Attributes:
        score: `"cosine"` or `"dot"`.
        first_pass: `"int8"`, `"bfloat16"`, or `"float32"` where there is none.
        vectors: `(n, d)`, the rows as they were given, perhaps memory-mapped.
        factors: what rows are multiplied by: `(n,)`, `(1,)` where it is one power of two, or empty.
        sizes: `(G,)`, the largest length in each group, after that.
        codes: `(G · 32, width)`, ŷ and p; zeros past n.
        bounds: `(5, G)`, see `certified`: what a score in a group may gain, in units of s.
        mean: `(d,)`, μ.
        basis: `(d, 1)`, u.
    """

    score: str
    first_pass: str
    vectors: torch.Tensor
    factors: torch.Tensor
    sizes: torch.Tensor
    codes: torch.Tensor
    bounds: torch.Tensor
    mean: torch.Tensor
    basis: torch.Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    @property
    def nbytes(self) -> int:
        """Bytes of all but `vectors`: what the preparation takes beside the corpus itself."""
        return sum(tensor.nbytes for name, tensor in self._tensors().items() if name != "vectors")

    def __repr__(self) -> str:
        return (
            f"Prepared({len(self):,} vectors of {self.dimension} dimensions, {self.score}, {self.first_pass}, "
            f"{self.nbytes / 1e6:,.1f} MB beside {self.vectors.nbytes / 1e6:,.1f} MB of vectors)"
        )

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """These rows in float32, as they are scored: shape `(len(indices), d)`."""
        return scaled(gathered(self.vectors, indices), self._factors(indices))

    def between(self, first: int, last: int) -> torch.Tensor:
        """The rows from `first` to `last`, each value within 4 roundings of `rows`, which takes longer."""
        at = slice(first, last)
        factors = self._factors(at)
        if len(factors) and float(factors.min()) > 1e-30 and float(factors.max()) < 1e30:
            factors = factors.float()
        return scaled(self.vectors[at], factors)

    def product(self) -> FirstPass | None:
        """The first pass that the codes are for, if it is right on this machine."""
        if self.first_pass == PLAIN.name:
            return PLAIN
        return passes.verified(self.first_pass, str(self.device), self.codes.shape[1])

    def plain(self) -> Prepared:
        """The same corpus without codes."""
        none = self.codes.new_empty((0, 0))
        return replace(
            self, first_pass=PLAIN.name, codes=none, basis=none, bounds=_plain_bounds(self.sizes, self.dimension)
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
                # NumPy has no bfloat16: vectors are widened, and the bits of codes travel as 16-bit integers.
                tensor = tensor.float() if name == "vectors" and tensor.dtype == torch.bfloat16 else tensor
                plain = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
                array = plain.cpu().numpy()
                np.save(files / f"{name}.npy", array, allow_pickle=False)
                arrays[name] = _described(array)
            return {"score": self.score, "first_pass": self.first_pass, "arrays": arrays}

        return SAVED.save(folder, write)

    def _factors(self, at: Any) -> torch.Tensor:
        return self.factors[at] if len(self.factors) > 1 else self.factors

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
        if about["score"] not in SCORES or about["first_pass"] not in (*passes.NAMES, PLAIN.name):
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
    """Code a corpus once, for many calls of `exact.search`.

    The corpus is read from end to end a few times, in chunks, so it may be memory-mapped and larger than
    memory; int8 takes about n · (d + 10) bytes beside it.
    The result refers to the corpus and does not copy it: do not change the corpus while it is in use.

    Args:
        corpus: shape `(n, dimension)`, NumPy or torch.
        score: `"cosine"`, or `"dot"` for the plain inner product.
        first_pass: `"int8"`, `"bfloat16"`, `"float32"` for none, or `"auto"`: what is fastest on this machine.
            Where one is missing or wrong on this machine, the corpus is searched in float32.
        device: where to search; without it, where the corpus is.

    Raises:
        TypeError, ValueError: as `exact.search`.
    """
    if isinstance(corpus, Prepared):
        raise TypeError("corpus is prepared already; use it as it is, or prepare its vectors: prepare(corpus.vectors)")
    if first_pass not in ("auto", *passes.NAMES, "float32"):
        raise ValueError(f"first_pass must be one of 'auto', {', '.join(map(repr, passes.NAMES))}, 'float32', not "
                         f"{first_pass!r}")  # fmt: skip
    plain = uncoded(corpus, score, device)
    with full_precision():
        return _coded(plain, first_pass)


def check_score(score: str) -> None:
    if score not in SCORES:
        raise ValueError(f"score must be one of {SCORES}, not {score!r}")


def uncoded(corpus: Any, score: str, device: str | None) -> Prepared:
    """A corpus with its lengths and no codes, which is what float32 search needs."""
    check_score(score)
    vectors = as_rows(corpus, "corpus", None if device is None else as_device(device))
    found = lengths(vectors, "corpus", may_be_zero=score == "dot")
    if score == "cosine" and are_units(as_numpy(found)):
        return of_units(vectors)
    if score == "cosine":
        factors = 1 / found
        sizes = torch.full_like(found, 1 + 2e-6)
    else:
        # A power of two changes no digit; it takes the squares of 1e30 and 1e-30 into float32's range.
        largest = float(found.max())
        factors = found[:0] if 1e-6 < largest < 1e6 or not largest else found.new_tensor([power_of_two(largest)])
        sizes = found * (factors if len(factors) else 1)
    sizes = torch.nn.functional.pad(sizes.float(), (0, -len(vectors) % GROUP)).view(-1, GROUP).amax(dim=1)
    return _plain(score, vectors, factors, sizes * (1 + 4 * UNIT))


def of_units(vectors: torch.Tensor) -> Prepared:
    """A corpus, for `"cosine"`, of which all lengths are 1 within 1e-6."""
    sizes = torch.full((-(-len(vectors) // GROUP),), 1 + 3e-6, device=vectors.device)
    return _plain("cosine", vectors, torch.empty(0, dtype=wide(vectors.device), device=vectors.device), sizes)


def _plain(score: str, vectors: torch.Tensor, factors: torch.Tensor, sizes: torch.Tensor) -> Prepared:
    none = vectors.new_empty((0, 0), dtype=torch.float32)
    mean, bound = none.new_zeros(vectors.shape[1]), _plain_bounds(sizes, vectors.shape[1])
    return Prepared(score, PLAIN.name, vectors, factors, sizes, codes=none, bounds=bound, mean=mean, basis=none)


def _plain_bounds(sizes: torch.Tensor, dimension: int) -> torch.Tensor:
    return bounds(sizes, torch.ones_like(sizes), rounding=(2 * dimension + 64) * UNIT)


def power_of_two(length: float) -> float:
    """What a vector of this length is multiplied by to have a length between ½ and 1."""
    return math.ldexp(1.0, -math.frexp(length)[1])


def bounds(sizes: torch.Tensor, scale: torch.Tensor, *of_code: torch.Tensor, rounding: float) -> torch.Tensor:
    """The right factor of the thresholds in `certified`, `(5, G)`: three lengths at most are of the code."""
    of_code = (*of_code, *[torch.zeros_like(sizes)] * (3 - len(of_code)))
    slack = rounding * sizes + TINY * sizes.max()
    return torch.stack([torch.ones_like(sizes), *(-length for length in of_code), -slack]) / scale


def _coded(plain: Prepared, name: str) -> Prepared:
    if name == "auto":
        name = passes.fastest(str(plain.device)) or PLAIN.name
    width = plain.dimension + COPIES
    first_pass = None if name == PLAIN.name else passes.verified(name, str(plain.device), width)
    if first_pass is None:
        return plain
    mean = torch.zeros(plain.dimension, dtype=wide(plain.device), device=plain.device)
    for rows in _chunks(plain):
        mean += rows.sum(dim=0)
    mean /= len(plain)
    direction = (mean / (torch.linalg.vector_norm(mean) or 1)).float()
    centred = plain.sizes + torch.linalg.vector_norm(mean).float()  # no x − μ is longer
    mean = mean.float()
    codes = torch.zeros((len(centred) * GROUP, width), dtype=first_pass.factors, device=plain.device)
    parts = []
    for first, rows in zip(range(0, len(plain), CHUNK), _chunks(plain), strict=True):
        rows = torch.nn.functional.pad(rows - mean, (0, 0, 0, -len(rows) % GROUP))
        sizes = centred[first // GROUP :][: len(rows) // GROUP]
        codes[first : first + len(rows)], *of_groups = _in_few_bits(rows, direction, sizes, first_pass)
        parts.append(of_groups)
    scale, *of_code = (torch.cat(column) for column in zip(*parts, strict=True))
    made = bounds(centred, scale, *of_code, rounding=(8 * plain.dimension + 256) * UNIT)
    return replace(plain, first_pass=name, codes=codes, bounds=made, mean=mean, basis=direction[:, None])


def _chunks(plain: Prepared) -> Iterator[torch.Tensor]:
    return (plain.between(first, first + CHUNK) for first in range(0, len(plain), CHUNK))


def _in_few_bits(
    rows: torch.Tensor, direction: torch.Tensor, sizes: torch.Tensor, first_pass: FirstPass
) -> tuple[torch.Tensor, ...]:
    """Codes of centred rows; and of every group s, s‖(ŷ, p)‖, ‖r‖ and what rounding leaves of p."""
    along = rows @ direction
    across = rows - along[:, None] * direction
    parts = torch.cat([across, along[:, None].expand(-1, COPIES)], dim=1)
    scale = (_largest(parts.abs().amax(dim=1)) / 127).clamp_min(1e-30).maximum(1e-9 * sizes)
    of_row = scale.repeat_interleave(GROUP)[:, None]
    codes = first_pass.as_factors(parts / of_row)
    values = codes.float() * of_row
    left = parts - values
    lengths_of = [_length(values), _length(left[:, : rows.shape[1]]), left[:, -1].abs()]
    return codes, scale, *(_largest(length) for length in lengths_of)


def _largest(of_rows: torch.Tensor) -> torch.Tensor:
    return of_rows.view(-1, GROUP).amax(dim=1)


def _length(rows: torch.Tensor) -> torch.Tensor:
    """Euclidean lengths, rounded up."""
    lengths_of: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths_of * (1 + (rows.shape[1] + 8) * UNIT)
