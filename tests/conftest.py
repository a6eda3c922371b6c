"""What the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # no test depends on how fast a computer is
settings.load_profile("shared machine")

SHARED = Path(__file__).parents[1].parent / "shared"
SHARED_DATA = SHARED / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets in their original formats, which is not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def elasticsearch_archive() -> Path:
    """An archive of a real Elasticsearch, which is not part of the project: ../conftest.py looks for one."""
    archive = Path(os.environ.get("SEMSEARCH_ELASTICSEARCH_ARCHIVE") or "none")
    if not archive.is_file():
        pytest.skip("needs Elasticsearch: set SEMSEARCH_ELASTICSEARCH_ARCHIVE; ../shared/elasticsearch is absent")
    return archive


@pytest.fixture(scope="session")
def elasticsearch(request: pytest.FixtureRequest) -> Iterator[object]:
    """A client for the server in SEMSEARCH_ELASTICSEARCH_URL, else for one that is started for the session."""
    elastic = pytest.importorskip("semsearch_nb.elastic", reason="the extra 'elastic' is not installed")
    if os.environ.get("SEMSEARCH_ELASTICSEARCH_URL"):
        with elastic.connect() as client:
            yield client
    else:
        server = request.getfixturevalue("elasticsearch_server")
        with server.connect() as client:
            yield client


@pytest.fixture(scope="session")
def elasticsearch_server(elasticsearch_archive: Path) -> Iterator[object]:
    """A server of one node, with a password, that a test may kill if it starts it again."""
    elastic = pytest.importorskip("semsearch_nb.elastic", reason="the extra 'elastic' is not installed")
    with elastic.local_server(elasticsearch_archive, heap="512m", password="correct horse") as server:
        yield server
