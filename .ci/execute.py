"""Run one notebook in a fresh kernel of this Python, and say which cell failed."""

import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

path = sys.argv[1]
try:
    NotebookClient(nbformat.read(path, as_version=4), timeout=1800, kernel_name="python3").execute()
except CellExecutionError as error:
    sys.exit(f"{path}: FAILED\n{error}")
