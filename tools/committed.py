"""What a committed notebook holds: outputs that every processor repeats, and nothing of the machine that made them."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import nbformat

# What outputs are made and compared with. bfloat16, the default of some processors, differs in the second decimal;
# the two engines in float32 agree to 1e-6, so each machine takes the one it has. No hub is asked: what plain library
# code loads is the installed model everywhere.
FIXED = {"SEMSEARCH_PRECISION": "float32", "HF_HUB_OFFLINE": "1"}
IGNORED = "nbval-ignore-output"  # nbval runs the cell and does not compare what it prints
HIDDEN = "remove-cell"  # a check: run, and left out of the pages
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["hide-input", HIDDEN]}

PLOTS = Path(__file__).resolve().parents[1] / "semsearch_nb" / "teaching" / "plots"

NUMBER = r"[-+]?\d+\.\d+"
WITH_INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")


def fix_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the kernels that start from now on compute what committed outputs show; what a user sets stays."""
    for name, value in FIXED.items():
        environment[name] = environment.get(name) or value


def is_compared(cell: Any) -> bool:
    """Whether nbval compares what this code cell prints."""
    return IGNORED not in cell.metadata.get("tags", [])


def is_hidden(cell: Any) -> bool:
    """Whether this cell is a check that readers need not see."""
    return HIDDEN in cell.metadata.get("tags", [])


def texts_of(cell: Any) -> str:
    """All that nbval compares of a cell's outputs, as one text."""
    texts = [output.get("text", "") for output in cell.outputs]
    data = [output.get("data", {}) for output in cell.outputs]
    return "\n".join(texts + [part.get(kind, "") for part in data for kind in ("text/plain", "text/html")])


def too_precise(text: str) -> list[str]:
    """The numbers with more digits than another processor repeats, or than their interval carries.

    Two decimals are allowed, and a third beside an interval, `mean [low, high]`, so narrow that the last digit
    stands for a twentieth of its width or more.

    >>> too_precise("0.732 [0.69, 0.77], 0.752 [0.744, 0.760], 0.73 of 0.7321")
    ['0.732', '0.7321']
    """
    found = []
    for numbers in WITH_INTERVAL.findall(text):
        finest = min(0.01, max(0.001, (float(numbers[2]) - float(numbers[1])) / 20))
        found += [number for number in numbers if _last_digit(number) < finest - 1e-9]
    others = re.findall(rf"(?<![\d.]){NUMBER}(?![\d.]*\d)", WITH_INTERVAL.sub("", text))
    return found + [number for number in others if _last_digit(number) < 0.01]


def _last_digit(number: str) -> float:
    """What the last digit of a decimal number stands for."""
    return float(10 ** -len(number.partition(".")[2]))


def drawing_code(cell: Any) -> str:
    """A hash of the code that draws a cell's pictures: its own, and the modules of the plots that it calls."""
    called = [f"def {name}(" for name in re.findall(r"\bplots\.(\w+)", cell.source)]
    modules = [file.read_text(encoding="utf-8") for file in sorted(PLOTS.glob("*.py"))]
    used = [text for text in modules if any(name in text for name in called)]
    return sha256("\n".join([cell.source, *used]).encode()).hexdigest()[:16]


def pictures(cell: Any) -> list[Any]:
    """The metadata of the pictures in a cell's outputs."""
    return [out.metadata["image/png"] for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]


def save(notebook: Any, path: Path) -> None:
    """Write a notebook that has just run, cleaned; each picture says by which code it was drawn."""
    nbformat.validate(clean(notebook))
    for cell in notebook.cells:
        for picture in pictures(cell):
            picture["code"] = drawing_code(cell)
    path.write_text(as_text(notebook), encoding="utf-8")


def clean(notebook: Any) -> Any:
    """Take out, in place, what depends on when, where and by which front end a notebook was run."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        kept = {key: value for key, value in cell.metadata.items() if key in ("semsearch", "tags")}
        cell.metadata = nbformat.from_dict(FOLDED if is_hidden(cell) else kept)
    return notebook


def as_text(notebook: Any) -> str:
    """What stands in a notebook's file."""
    return str(nbformat.writes(notebook)) + "\n"
