"""The notebooks: which there are, in which order, and what stands about them in `notebooks/manifest.toml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import nbformat

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"


@dataclass(frozen=True)
class Entry:
    """A notebook of the manifest."""

    file: str
    title: str
    level: str
    first_run: int
    """Minutes with an empty cache, on two cores with AVX2."""
    download: str
    needs: list[str]
    summary: str
    extras: list[str] = field(default_factory=list)
    """What its setup cell installs with the package."""
    server: bool = False
    """Whether it needs Elasticsearch."""

    @property
    def number(self) -> str:
        """What stands before the first `_` of the file's name: `01`, `01b`."""
        return self.file.partition("_")[0]

    @cached_property
    def reading(self) -> int:
        """Minutes to read text and code, at 150 words a minute; exercises take their own time."""
        cells = nbformat.read(self.path, as_version=4).cells[1:]  # the first is generated
        return max(5, 5 * round(sum(len(cell.source.split()) for cell in cells) / 150 / 5))

    @property
    def path(self) -> Path:
        return NOTEBOOKS / self.file

    @property
    def solutions(self) -> Path:
        return SOLUTIONS / self.file.replace(".ipynb", "_solutions.ipynb")


def read_manifest(file: Path = NOTEBOOKS / "manifest.toml") -> list[Entry]:
    """The entries in their order."""
    return [Entry(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["notebook"]]


def source_notebooks() -> list[Path]:
    """Notebooks and solutions, in the order of the manifest."""
    entries = read_manifest()
    return [entry.path for entry in entries] + [entry.solutions for entry in entries]


@lru_cache
def repository() -> str:
    """The project's address, which stands once, in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])
