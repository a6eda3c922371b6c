"""A real Elasticsearch on this computer, for laptops and Colab without Docker.

    with elastic.local_server() as server:
        client = server.connect()

Elasticsearch refuses to run as root, as which Colab and most containers work: there it runs as the user `nobody`,
to whom the folder with its data is given.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from elasticsearch import ApiError, Elasticsearch, TransportError

from semsearch_nb.elastic.archives import official, unpacked
from semsearch_nb.elastic.connection import ElasticError, connect
from semsearch_nb.vectors import as_count

START_SECONDS = 240
USER = "semsearch"

# Runs the server, and stops it when standard input ends: that is when this program ends, however it ends.
WATCH = """
exec 3<&0
"$@" </dev/null 3<&- & server=$!
(cat <&3 >/dev/null; kill $server) & watcher=$!
wait $server; code=$?
kill $watcher 2>/dev/null
exit $code
"""


def local_server(
    archive: str | Path | None = None, *, nodes: int = 1, heap: str = "1g", password: str | None = None
) -> LocalServer:
    """Start Elasticsearch and wait until it answers; it stops at the end of a `with` block or of the program.

    Args:
        archive: path or URL of a .tar.gz or .zip of Elasticsearch; without it the one in
            `SEMSEARCH_ELASTICSEARCH_ARCHIVE`, else the official one for this system, about 600 MB. Beside a URL its
            checksum must lie, as `.sha512`.
        nodes: of one cluster. Several are for learning what happens when one dies.
        heap: Java's own memory of each node; the vectors lie outside of it.
        password: of the user `semsearch`; without it everyone on this computer may use the server. One node only.

    Raises:
        ValueError: an argument that is not so; it is named.
        ElasticError: no Java, or the server did not start: its last words.
        DownloadError: the archive could not be fetched, or is damaged.
    """
    if not re.fullmatch(r"\d+[mg]", heap):
        raise ValueError(f"heap must be a number with m or g after it, as in '1g', not {heap!r}")
    if password is not None and (len(password) < 6 or not password.isascii() or nodes > 1):
        raise ValueError("password must have 6 ASCII characters or more, and goes with nodes=1 only")
    home = unpacked(archive or os.environ.get("SEMSEARCH_ELASTICSEARCH_ARCHIVE") or official())
    return LocalServer(home, nodes=as_count(nodes, "nodes"), heap=heap, password=password)


@dataclass
class _Node:
    name: str
    folder: Path
    port: int
    transport_port: int
    launcher: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def server(self) -> psutil.Process:
        """The server itself, which is a child of the launcher and named in a file by its number."""
        return psutil.Process(int((self.folder / "pid").read_text()))


class LocalServer:
    """A cluster on 127.0.0.1 that `local_server` has started. Nodes are numbered from 1."""

    def __init__(self, home: Path, *, nodes: int, heap: str, password: str | None) -> None:
        # Not in the cache: the data go when the server stops, and `nobody` must be able to get there.
        self.folder = Path(tempfile.mkdtemp(prefix="semsearch-elasticsearch-"))
        self._heap, self._password = heap, password
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        ports = _free_ports(2 * nodes)
        self._nodes = [_Node(name, self.folder / name, ports.pop(), ports.pop()) for name in names]
        atexit.register(self.stop)
        try:
            self._home = _reachable_home(home, self.folder)
            for node in self._nodes:
                self._configure(node)
            for node in self._nodes:
                self._launch(node)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def connect(self, **options: Any) -> Elasticsearch:
        """A client that knows all nodes. `options` are those of `elastic.connect`."""
        credentials = {"basic_auth": (USER, self._password)} if self._password else {}
        return connect(self.url, **{**credentials, **options})

    @property
    def url(self) -> str:
        """The addresses of all nodes, separated by commas, as `elastic.connect` takes them."""
        return ",".join(node.url for node in self._nodes)

    def kill(self, number: int = 1) -> None:
        """End a node at once, as a power cut would (SIGKILL)."""
        node = self._node(number)
        if node.launcher:
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                node.server().kill()
            _let_go(node.launcher)
            node.launcher.wait(30)
            node.launcher = None

    def restart(self, number: int = 1) -> None:
        """Start a node that was killed, on its own data and port, and wait until the cluster has it."""
        node = self._node(number)
        if node.launcher is None:
            self._launch(node)
        self._wait()

    def stop(self) -> None:
        """Stop every node and delete the data. A second call does nothing."""
        atexit.unregister(self.stop)
        for node in self._nodes:
            if node.launcher:
                _let_go(node.launcher)
        for number, node in enumerate(self._nodes, 1):
            try:
                node.launcher and node.launcher.wait(30)
            except subprocess.TimeoutExpired:
                self.kill(number)
            node.launcher = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _node(self, number: int) -> _Node:
        if not 1 <= number <= len(self._nodes):
            raise ValueError(f"number must be that of a node, 1 to {len(self._nodes)}, not {number!r}")
        return self._nodes[number - 1]

    def _configure(self, node: _Node) -> None:
        config = node.folder / "config"
        shutil.copytree(self._home / "config", config)
        (node.folder / "tmp").mkdir()
        chosen: dict[str, Any] = {
            "cluster.name": self.folder.name,  # no other cluster on this computer has it
            "node.name": node.name,
            "path.data": str(node.folder / "data"),
            "path.logs": str(node.folder / "logs"),
            "network.host": "127.0.0.1",
            "http.port": node.port,
            "transport.port": node.transport_port,
            "action.auto_create_index": False,  # a misspelt name must not make an index
            "cluster.routing.allocation.disk.threshold_enabled": False,  # a full disk is the user's own matter
            "xpack.ml.enabled": False,  # not used here, and it takes memory
            "xpack.security.enabled": bool(self._password),
        }
        if len(self._nodes) == 1:
            chosen["discovery.type"] = "single-node"
        else:
            chosen["discovery.seed_hosts"] = [f"127.0.0.1:{other.transport_port}" for other in self._nodes]
            chosen["cluster.initial_master_nodes"] = [other.name for other in self._nodes]
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in chosen.items()]  # JSON is YAML
        (config / "elasticsearch.yml").write_text("".join(lines), encoding="utf-8")
        if self._password:
            (config / "users").write_text(f"{USER}:{_hashed(self._password)}\n", encoding="utf-8")
            (config / "users_roles").write_text(f"superuser:{USER}\n", encoding="utf-8")

    def _launch(self, node: _Node) -> None:
        windows = sys.platform == "win32"
        script = self._home / "bin" / ("elasticsearch.bat" if windows else "elasticsearch")
        watched = [] if windows else ["sh", "-c", WATCH, "sh"]
        environment = {**os.environ, **_java(self._home), "HOME": str(node.folder)}
        environment |= {"ES_PATH_CONF": str(node.folder / "config"), "ES_TMPDIR": str(node.folder / "tmp")}
        environment["ES_JAVA_OPTS"] = f"-Xms{self._heap} -Xmx{self._heap}"
        (node.folder / "pid").unlink(missing_ok=True)
        with (node.folder / "console.log").open("ab") as console:
            node.launcher = subprocess.Popen(
                [*watched, script, "-p", node.folder / "pid"],
                env=environment,
                cwd=node.folder,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,  # Ctrl-C in a terminal is not meant for it
                **_unprivileged(self.folder),
            )

    def _wait(self) -> None:
        """Until all nodes that run have found each other and answer."""
        running = [node for node in self._nodes if node.launcher]
        credentials = (USER, self._password) if self._password else None
        deadline = time.monotonic() + START_SECONDS
        for node in running:
            with Elasticsearch(node.url, basic_auth=credentials, max_retries=0, request_timeout=10) as client:
                while not _has_joined(client, len(running)):
                    ended = node.launcher and node.launcher.poll() is not None
                    if ended or time.monotonic() > deadline:
                        happened = "ended while it started" if ended else f"did not answer within {START_SECONDS} s"
                        says = (node.folder / "console.log").read_text(encoding="utf-8", errors="replace")
                        raise ElasticError(f"Elasticsearch {happened}. It says:\n{says[-2000:]}")
                    time.sleep(0.2)


def _let_go(launcher: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, if it still runs."""
    if launcher.stdin:
        launcher.stdin.close()
    if sys.platform == "win32":
        launcher.terminate()


def _has_joined(client: Elasticsearch, n_nodes: int) -> bool:
    try:
        found: int = client.cluster.health(wait_for_nodes=f">={n_nodes}", timeout="2s")["number_of_nodes"]
    except (ApiError, TransportError):
        return False
    return found >= n_nodes


def _java(home: Path) -> dict[str, str]:
    """Which Java to take: the one in the archive, else the one of this computer."""
    if (home / "jdk").exists() or (home / "jdk.app").exists() or os.environ.get("ES_JAVA_HOME"):
        return {}
    java = shutil.which("java")
    found = os.environ.get("JAVA_HOME") or (java and str(Path(java).resolve().parents[1]))
    if not found:
        raise ElasticError("this archive brings no Java and none is on PATH or in JAVA_HOME; install Java 17 or newer")
    return {"ES_JAVA_HOME": found}


def _hashed(password: str) -> str:
    """A line of Elasticsearch's `users` file."""
    salt, rounds = secrets.token_bytes(32), 10_000
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, dklen=32)
    return f"{{PBKDF2}}{rounds}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _unprivileged(folder: Path) -> dict[str, Any]:
    """For root: `folder` given to `nobody`, and how to start a process as `nobody`."""
    if sys.platform == "win32" or not _is_root():
        return {}
    import pwd

    entry = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        if not path.is_relative_to(folder / "home"):  # which is read only, and may be the files of the cache
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _reachable_home(home: Path, folder: Path) -> Path:
    """`home`, or for root, whose cache others may not enter, the same files linked (else copied) into `folder`."""
    if not _is_root() or all(parent.stat().st_mode & 0o001 for parent in home.parents):
        return home

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    return Path(shutil.copytree(home, folder / "home", copy_function=link))


def _free_ports(n: int) -> list[int]:
    with ExitStack() as opened:
        probes = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [probe.getsockname()[1] for probe in probes]
