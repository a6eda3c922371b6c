"""Nodes of Elasticsearch killed in the middle of indexing: is anything lost or doubled, and who notices?

    python benchmarks/elastic_faults.py                     # 20,000 documents, 10 seeds: an hour on two cores
    python benchmarks/elastic_faults.py --documents 5000    # a quarter of them

Two experiments. *Three nodes*: an index of 3 shards with 1 replica; a node is killed (SIGKILL) at a random
moment of the bulk, both drawn from the seed, while searches go on; after the bulk it is started again.
*One node*: killed at a random moment, started again 3 s later, while `index_documents` waits; and killed
and left alone until `index_documents` gives up, then started again for a second run with `resume=True`.
Every id is read back and counted. The archive is that of `elastic.local_server` (--archive, or
SEMSEARCH_ELASTICSEARCH_ARCHIVE). Writes benchmarks/results/elastic_faults.md.
"""

from __future__ import annotations

import argparse
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from elasticsearch import Elasticsearch, helpers

from semsearch_nb import elastic

RESULTS = Path(__file__).parent / "results" / "elastic_faults.md"
MODEL = "random"
Row = dict[str, Any]


def documents(vectors: np.ndarray, kill_at: int, kill: Any) -> Iterator[Row]:
    """The documents, and a call of `kill` when number `kill_at` is read."""
    for row, vector in enumerate(vectors):
        if row == kill_at:
            kill()
        yield {"id": f"d{row}", "text": f"document number {row}", "vector": vector}


def read_back(client: Elasticsearch, name: str) -> tuple[int, int]:
    """How many ids the index holds, and how many of its documents have the id of another."""
    client.indices.refresh(index=name)
    ids = [hit["_id"] for hit in helpers.scan(client, index=name, _source=False, size=2000)]
    return len(set(ids)), len(ids) - len(set(ids))


def make(
    client: Elasticsearch, name: str, dimension: int, *, shards: int = 1, replicas: int = 0
) -> elastic.ElasticIndex:
    index_options = {"type": "hnsw", "m": 16, "ef_construction": 100}
    vector = {"type": "dense_vector", "dims": dimension, "similarity": "dot_product", "index_options": index_options}
    client.indices.create(
        index=name,
        mappings={"_meta": {"model": MODEL}, "properties": {"text": {"type": "text"}, "vector": vector}},
        settings={"number_of_shards": shards, "number_of_replicas": replicas},
    )
    wait_for_green(client)
    return elastic.open_index(client, name, model=MODEL)


def wait_for_green(client: Elasticsearch) -> float:
    """Seconds until every shard has all of its copies."""
    start = time.perf_counter()
    while client.options(request_timeout=90).cluster.health(wait_for_status="green", timeout="60s")["timed_out"]:
        pass
    return time.perf_counter() - start


class Searching(threading.Thread):
    """Searches one after the other until it is told to stop; keeps when each began, what it took, and its error."""

    def __init__(self, index: elastic.ElasticIndex, query: np.ndarray) -> None:
        super().__init__(daemon=True)
        self.index, self.query = index, query[None]
        self.done = threading.Event()
        self.asked: list[tuple[float, float, str]] = []

    def run(self) -> None:
        while not self.done.wait(0.05):
            start, error = time.perf_counter(), ""
            try:
                self.index.search(self.query, k=10)
            except elastic.ElasticError as caught:
                error = str(caught)
            self.asked.append((start, time.perf_counter() - start, error))


def three_nodes(server: elastic.LocalServer, vectors: np.ndarray, seed: int) -> Row:
    generator = np.random.default_rng(seed)
    number, kill_at = int(generator.integers(1, 4)), int(generator.integers(len(vectors) // 10, len(vectors) * 9 // 10))
    killed: list[float] = []

    def kill() -> None:
        killed.append(time.perf_counter())
        server.kill(number)

    with server.connect() as client:
        index = make(client, f"faults-{seed}", vectors.shape[1], shards=3, replicas=1)
        searching = Searching(index, vectors[0])
        searching.start()
        report = elastic.index_documents(index, documents(vectors, kill_at, kill), progress=False)
        searching.done.set()
        searching.join()
        status = client.cluster.health()["status"]
        found_without = read_back(client, index.name)[0]
        start = time.perf_counter()
        server.restart(number)
        wait_for_green(client)
        green = time.perf_counter() - start
        found, doubled = read_back(client, index.name)
        client.indices.delete(index=index.name)
    for error in {error for *_, error in searching.asked if error}:
        print(error, flush=True)
    # Those that ran while the node died or began afterwards.
    asked = [(seconds, error) for start, seconds, error in searching.asked if start + seconds >= killed[0]]
    return {
        "seed": seed,
        "node": number,
        "killed at document": kill_at,
        "acknowledged": report.indexed,
        "rejected": len(report.rejected),
        "retries": report.retries,
        "status without it": status,
        "found without it": found_without,
        "found": found,
        "duplicates": doubled,
        "s to green": round(green, 1),
        "bulk s": round(report.seconds, 1),
        "searches": len(asked),
        "answered": f"{sum(not error for _, error in asked) / len(asked):.1%}",
        "slowest s": round(max(seconds for seconds, _ in asked), 2),
    }


def one_node(server: elastic.LocalServer, vectors: np.ndarray, seed: int, *, waits: bool) -> Row:
    generator = np.random.default_rng(100 + seed)
    kill_at = int(generator.integers(len(vectors) // 10, len(vectors) * 9 // 10))

    def return_later() -> None:
        time.sleep(3)
        server.restart()

    returning = threading.Thread(target=return_later)

    def kill() -> None:
        server.kill()
        if waits:
            returning.start()

    with server.connect() as client:
        index = make(client, f"faults-{seed}-{int(waits)}", vectors.shape[1])
        row: Row = {"seed": seed, "killed at document": kill_at}
        try:
            report = elastic.index_documents(
                index, documents(vectors, kill_at, kill), progress=False, patience=240 if waits else 5
            )
            row |= {"first run": "waits and goes on", "acknowledged": report.indexed, "second run": ""}
            retries = report.retries
            returning.join()
        except elastic.IndexingError as error:
            first = error.report
            server.restart()
            kept = read_back(client, index.name)[0]
            second = elastic.index_documents(index, documents(vectors, -1, None), resume=True, progress=False)
            row |= {"first run": f"stops; {kept:,} found", "acknowledged": first.indexed, "second run": str(second)}
            retries = first.retries + second.retries
        found, doubled = read_back(client, index.name)
        client.indices.delete(index=index.name)
    return {**row, "retries": retries, "found": found, "duplicates": doubled}


def table(rows: list[Row]) -> str:
    if not rows:
        return "not measured\n"
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else str(value) for value in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", help="of Elasticsearch: a file or a URL")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--one-node-seeds", type=int, default=3)
    parser.add_argument("--heap", default="512m")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    vectors = np.random.default_rng(0).normal(size=(options.documents, options.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cluster: list[Row] = []
    alone: list[Row] = []

    def write() -> None:
        options.output.write_text(
            "# Elasticsearch nodes killed while they index\n\n"
            f"{options.documents:,} documents with vectors of {options.dimension} dimensions (`hnsw`), batches of 200. "
            f"{platform.machine()}, {psutil.cpu_count()} cores, server and client on the same machine; all nodes share "
            "its cores, so seconds say little. Searches are those that ran or began after the node was killed; "
            "seconds to green are counted from its start.\n\n"
            f"Three nodes, 3 shards, 1 replica, one node killed in mid-bulk:\n\n{table(cluster)}\n"
            f"One node, killed in mid-bulk, and back while `index_documents` waits or after it has given up:\n\n"
            f"{table(alone)}",
            encoding="utf-8",
        )

    with elastic.local_server(options.archive, nodes=3, heap=options.heap) as server:
        for seed in range(options.seeds):
            cluster.append(three_nodes(server, vectors, seed))
            print(cluster[-1], flush=True)
            write()
    with elastic.local_server(options.archive, heap=options.heap) as server:
        for seed in range(options.one_node_seeds):
            for waits in (True, False):
                alone.append(one_node(server, vectors, seed, waits=waits))
                print(alone[-1], flush=True)
                write()


if __name__ == "__main__":
    main()
