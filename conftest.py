"""Notebooks are compared in one precision; notebook 06 and the tests of Elasticsearch need a server or an archive.

Tests that run side by side share the cores: threads of two processes that wait for each other on two cores take many
times longer than one thread each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from committed import fix_environment

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))  # kernels read it too

URL, ARCHIVE = "SEMSEARCH_ELASTICSEARCH_URL", "SEMSEARCH_ELASTICSEARCH_ARCHIVE"
ARCHIVES = sorted((Path(__file__).resolve().parents[1] / "shared" / "elasticsearch").glob("elasticsearch-*.zip"))

if ARCHIVES and not os.environ.get(URL):
    os.environ.setdefault(ARCHIVE, str(ARCHIVES[-1]))  # for the kernels of notebooks too


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("nbval", False):
        fix_environment()
        os.environ.setdefault("SEMSEARCH_TIME_ONCE", "1")  # times are not compared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(URL) or os.environ.get(ARCHIVE):
        return
    reason = f"needs Elasticsearch: set {URL} to a server, or {ARCHIVE} to an archive; the README says how"
    for item in items:
        if item.path.name == "06_elasticsearch.ipynb":
            item.add_marker(pytest.mark.skip(reason=reason))
