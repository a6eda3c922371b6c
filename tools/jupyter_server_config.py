"""`make lab` saves a notebook as `make refresh` does, so that to open and save one changes nothing in its file."""

import sys
from pathlib import Path
from typing import Any

import nbformat

sys.path.insert(0, str(Path(__file__).parent))

from committed import clean
from manifest import source_notebooks


def pre_save(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Jupyter calls this before it writes a file; notebooks of a reader's own are left alone."""
    if model["type"] == "notebook" and Path(contents_manager.root_dir, path.strip("/")) in source_notebooks():
        model["content"] = clean(nbformat.from_dict(model["content"]))


c = get_config()  # noqa: F821
c.FileContentsManager.pre_save_hook = pre_save
