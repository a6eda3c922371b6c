"""Plain library code without network: the hub's own loader finds all-MiniLM-L6-v2 in the installed package."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from filelock import FileLock
from huggingface_hub import constants
from transformers.utils import logging as transformers_logging

from semsearch_nb.foundation import download, settings
from semsearch_nb.models import packaged_minilm
from semsearch_nb.models.roles import HUB

NAME = HUB["symmetric"].name
# Forty digits as of a commit, here the weights' checksum: else the loader finds no list of modules, and makes a model
# of its own that reads 512 tokens and does not normalise.
COMMIT = packaged_minilm.SHA256[:40]


def use_packaged() -> None:
    """Where the hub cannot be reached, let `SentenceTransformer("all-MiniLM-L6-v2")` load the installed copy.

    It points this process to a hub cache of the project's own, in the folder of the settings, and keeps its loader
    quiet; the user's cache stays as it is, and `download` keeps to it. It does nothing where the hub answers, where
    `models="hub"`, or where the package with the model is missing or damaged, which `models.load` reports.
    """
    if settings.current().models != "packaged" or download.hub_answers():
        return
    try:
        model = packaged_minilm.find()
    except packaged_minilm.PackagedModelError:
        return
    folder = settings.current().cache_dir / "hub"
    fill(folder, model)
    users = {"CACHE": download.HUB_CACHE, "OFFLINE": "1" if download.OFFLINE else ""}
    os.environ |= {f"SEMSEARCH_USERS_HUB_{name}": value for name, value in users.items()}
    os.environ |= {"HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}  # all four for processes that this one starts
    constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = str(folder), True
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub.hf_api").setLevel(logging.ERROR)  # it would say that it is offline


def fill(folder: Path, model: Path) -> None:
    """Write the layout of a hub's cache whose one snapshot is the folder `model`."""
    root = download.in_hub_cache(NAME, folder)
    snapshot, reference = root / "snapshots" / COMMIT, root / "refs" / "main"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # notebooks may start together
        if not (snapshot / "modules.json").is_file():
            snapshot.parent.mkdir(parents=True, exist_ok=True)
            snapshot.unlink(missing_ok=True)  # a link to a package that is gone
            try:
                snapshot.symlink_to(model, target_is_directory=True)
            except OSError:  # Windows lets only some users make links
                shutil.copytree(model, snapshot)
        if download.commit(NAME, folder) != COMMIT:  # a loader that reads it now must not find it empty
            reference.parent.mkdir(exist_ok=True)
            reference.write_text(COMMIT)
