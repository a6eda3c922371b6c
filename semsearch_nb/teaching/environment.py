"""What this computer brings: printed by the second cell of every notebook and checked in notebook 00."""

from __future__ import annotations

import importlib.metadata
import platform

import psutil
import torch

from semsearch_nb import __version__, encoding, models
from semsearch_nb.foundation import settings

LIBRARIES = (
    "sentence-transformers",
    "transformers",
    "torch",
    "openvino",
    "numpy",
    "faiss-cpu",
    "hnswlib",
    "annoy",
    "rabitqlib",
    "bm25s",
    "elasticsearch",
)


def describe() -> str:
    """The switches, the device and its precision, and the versions of the libraries.

    It differs from machine to machine, so notebooks print it in a cell that is not compared.
    """
    choice = settings.current()
    device = models.device()
    engine = encoding.resolve_engine(choice.engine, device)
    precision = encoding.resolve_precision(choice.precision, device, engine)
    memory = psutil.virtual_memory()
    rows = {
        "semsearch_nb": f"{__version__}, data={choice.data!r}, models={choice.models!r}",
        "runs on": f"{device}, {engine} in {precision}, {torch.get_num_threads()} threads, "
        f"{memory.available / 2**30:.0f} of {memory.total / 2**30:.0f} GiB of memory free",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    rows |= {library: version(library) or "not installed" for library in LIBRARIES}
    return "\n".join(f"{name:<22}{value}" for name, value in rows.items())


def version(library: str) -> str | None:
    """The installed version of a library, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
