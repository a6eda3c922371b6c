"""Installed packages that only carry data or weights: their files are read by path, and nothing is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def folder(module: str) -> Path | None:
    """Where the package that is imported as `module` lies, or None where it is not installed."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None
