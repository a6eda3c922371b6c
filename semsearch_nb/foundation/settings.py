"""The switches that every notebook shares: which data, which models, where they run.

A setting comes from, in this order: `configure(...)`, the environment, the default.

| setting | environment | default |
|---|---|---|
| `data` | `SEMSEARCH_DATA` | `"sample"`; the other value is `"full"` |
| `models` | `SEMSEARCH_MODELS` | `"packaged"`; the other value is `"hub"` |
| `device` | `SEMSEARCH_DEVICE` | `"auto"`: `cuda`, else `mps`, else `cpu` |
| `engine` | `SEMSEARCH_ENGINE` | `"auto"`: `openvino` on a CPU where it is installed, else `torch` |
| `precision` | `SEMSEARCH_PRECISION` | `"auto"`: the fastest that loses nothing on the device |
| `cache_dir` | `SEMSEARCH_CACHE_DIR` | the user's cache folder |
| `data_dir` | `SEMSEARCH_DATA_DIR` | none: a folder with the original data sets |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import platformdirs

CHOICES: dict[str, tuple[str, ...]] = {
    "data": ("sample", "full"),
    "models": ("packaged", "hub"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "engine": ("auto", "torch", "openvino"),
    "precision": ("auto", "float32", "bfloat16", "float16", "int8"),
}


@dataclass(frozen=True)
class Settings:
    """The values in force. Change them with `configure`, read them with `current`."""

    data: str = "sample"
    models: str = "packaged"
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    cache_dir: Path = Path(platformdirs.user_cache_dir("semsearch-nb", appauthor=False))
    data_dir: Path | None = None

    @property
    def as_committed(self) -> bool:
        """Data and models are those of the notebooks' committed outputs, so what is claimed of them can be checked."""
        return (self.data, self.models) == ("sample", "packaged")


_current: Settings | None = None


def current() -> Settings:
    """The settings in force; the environment is read at the first call.

    Raises:
        ValueError: an environment variable holds a value that does not exist.
    """
    global _current
    if _current is None:
        _current = from_environment(os.environ)
    return _current


def configure(
    *,
    data: str | None = None,
    models: str | None = None,
    device: str | None = None,
    engine: str | None = None,
    precision: str | None = None,
    cache_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Settings:
    """Change the settings that are given, keep the others, and return what is in force.

    Raises:
        ValueError: a value that does not exist, or a `data_dir` that is not a folder.
    """
    global _current
    given = {name: value for name, value in locals().items() if value is not None}
    _current = replace(current(), **{name: _checked(name, value, name) for name, value in given.items()})
    return _current


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that the variables `SEMSEARCH_…` describe; an empty variable counts as unset.

    >>> from_environment({"SEMSEARCH_DATA": "full"}).data
    'full'
    """
    found: dict[str, Any] = {}
    for field in fields(Settings):
        variable = f"SEMSEARCH_{field.name.upper()}"
        if environment.get(variable):
            found[field.name] = _checked(field.name, environment[variable], variable)
    return Settings(**found)


def _checked(name: str, value: object, where: str) -> Any:
    """`value` as the field `name` wants it; `where` is what the error message calls it."""
    if name in CHOICES:
        if value not in CHOICES[name]:
            choices = ", ".join(repr(choice) for choice in CHOICES[name])
            raise ValueError(f"{where} must be one of {choices}, not {value!r}")
        return value
    path = Path(str(value)).expanduser().absolute()
    if name == "data_dir" and not path.is_dir():
        raise ValueError(f"{where} must be a folder that exists, not {str(value)!r}")
    if path.exists() and not path.is_dir():
        raise ValueError(f"{where} must be a folder, and {str(value)!r} is a file")
    return path
