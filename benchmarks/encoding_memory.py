"""How much memory does it take to encode many texts? In a process of its own, with an empty cache.

    python benchmarks/encoding_memory.py              # 100,000 definitions of WordNet with MiniLM
    python benchmarks/encoding_memory.py --texts 500000

Prints the most memory that the process held (resident), after the model was loaded and at the end,
and how much of it was its own rather than pages of files, which the system takes back when it must.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import tempfile
import threading
import time

import psutil

from semsearch_nb import datasets, encoding, models, settings

MIB = 1 << 20


class Watch(threading.Thread):
    """The largest resident and own memory of this process, looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = self.most_own = 0
        self.start()

    def run(self) -> None:
        process = psutil.Process()
        while True:
            memory = process.memory_info()
            self.most = max(self.most, memory.rss)
            self.most_own = max(self.most_own, memory.rss - getattr(memory, "shared", 0))
            time.sleep(0.02)

    def __str__(self) -> str:
        return f"{self.most / MIB:,.0f} MiB resident, {self.most_own / MIB:,.0f} MiB of them its own"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--role", default="symmetric", choices=models.ROLES)
    arguments = parser.parse_args()
    definitions = datasets.load("wordnet").document_texts
    repeated = (f"{text} {turn or ''}" for turn in itertools.count() for text in definitions)
    texts = list(itertools.islice(repeated, arguments.texts))
    model = models.load(arguments.role)
    # Another cache, on the same disk: a folder for temporary files may itself be in memory.
    with tempfile.TemporaryDirectory(dir=settings.current().cache_dir) as folder:
        settings.configure(cache_dir=folder)
        encoding.encode_documents(model, texts[:100])  # converts and checks the model
        gc.collect()
        watch = Watch()
        time.sleep(0.1)
        print(f"{len(texts):,} texts; at the start {watch}", flush=True)
        start = time.perf_counter()
        vectors = encoding.encode_documents(model, texts)
        seconds = time.perf_counter() - start
        print(f"vectors {vectors.shape}, {vectors.nbytes / MIB:,.0f} MiB, in {seconds:.0f} s; at most {watch}")
        assert abs(float((vectors[-1] ** 2).sum()) - 1) < 1e-4
        del vectors


if __name__ == "__main__":
    main()
