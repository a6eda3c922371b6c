"""The tests where there is no make, as on Windows: install into .venv, then pytest.

python .ci/portable.py [ARGUMENTS OF PYTEST]

What needs a compiler (annoy, hnswlib), bash, the packaged e5, or the extras `stores` and `sparse` is skipped
there, with the reason.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
EXTRAS = "dev,elastic,encyclopedia,faiss,notebooks,openvino,training"


def main() -> int:
    if not PYTHON.exists():
        venv.create(ROOT / ".venv", with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "-c", "constraints.txt"]
    subprocess.run([*pip, "-e", f".[{EXTRAS}]", "./vectors"], cwd=ROOT, check=True)
    return subprocess.run([str(PYTHON), "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
