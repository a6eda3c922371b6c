"""Everything that a room without network needs, in build/wheelhouse: wheels, notebooks and the page that explains it.

The wheels are for the system and the Python that make them. The data and the models are in the wheels. WITH names
further packages, such as jupyterhub.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from manifest import NOTEBOOKS, ROOT, SOLUTIONS

EXTRAS = "ann,elastic,encyclopedia,lab,notebooks,openvino,sparse,stores,training"
READ = ("benchmarks/quality.py", "judgements/encyclopedia.tsv", "training/train_retriever.json")  # by 11 and 12
PAGE = ROOT / "docs" / "workshop" / "offline.md"
TORCH = "https://download.pytorch.org/whl/cpu"  # that of PyPI brings gigabytes of CUDA on Linux; see .ci/cpu-torch


def gather(target: Path) -> None:
    """Write wheels, notebooks, constraints and the page into `target`; wheels that lie there already stay."""
    wheels = target / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("semsearch_nb*.whl"):
        old.unlink()
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), "--find-links", str(wheels)]
    index = os.environ.get("TORCH_INDEX", TORCH if sys.platform == "linux" else "")
    pin = re.findall(r"^torch==[\d.]*", constraints, re.MULTILINE)[0]
    subprocess.run([*pip, pin, *(["--index-url", index] if index else [])], check=True)
    with tempfile.TemporaryDirectory() as folder:  # a build leaves files behind, and what they hold may be old
        source = Path(folder)
        shutil.copytree(ROOT / "semsearch_nb", source / "semsearch_nb", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "vectors", source / "vectors", ignore=shutil.ignore_patterns("build", "*.egg-info"))
        for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
            shutil.copy(ROOT / name, source)
        own = [f"{source}[{EXTRAS}]", str(source / "vectors"), *os.environ.get("WITH", "").split()]
        subprocess.run([*pip, "-c", str(source / "constraints.txt"), *own], check=True)
    for file in [*NOTEBOOKS.glob("*.ipynb"), *SOLUTIONS.glob("*.ipynb"), *(ROOT / name for name in READ)]:
        copy(file, target / file.relative_to(ROOT))
    copy(ROOT / "constraints.txt", target / "constraints.txt")
    copy(PAGE, target / "README.md")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def install(target: Path, home: Path) -> Path:
    """Install from `target` alone into a fresh environment; returns its Python."""
    venv.create(home, with_pip=True, clear=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    offline = [f"--find-links={target / 'wheels'}", "-c", str(target / "constraints.txt")]
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-index", *offline]
    # No setting of this computer's pip may bring an index in again.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    subprocess.run([*command, f"semsearch-nb[{EXTRAS}]", "semsearch-nb-vectors"], check=True, env=environment)
    return python


def main(*, check: bool) -> int:
    """Gather, say what it took, and with `check` install from it and look whether the notebooks could run."""
    target, start = ROOT / "build" / "wheelhouse", time.perf_counter()
    gather(target)
    files = [path for path in target.rglob("*") if path.is_file()]
    wheels = sum(path.suffix == ".whl" for path in files)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{target.relative_to(ROOT)}: {wheels} wheels, {size:,.0f} MB, {time.perf_counter() - start:.0f} s")
    if not check:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        python = install(target, Path(folder) / "venv")
        print(f"installed without an index in {time.perf_counter() - start:.0f} s")
        return subprocess.run([str(python), "-m", "semsearch_nb", "check"], cwd=folder).returncode
