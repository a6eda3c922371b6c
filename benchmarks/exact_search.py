"""How fast is exact search, and is it exact? Baselines side by side in one run.

    python benchmarks/exact_search.py                        # WordNet definitions, MiniLM and e5
    python benchmarks/exact_search.py --sets small random    # 10,000 definitions; random directions
    python benchmarks/exact_search.py --sets million         # a million vectors, 10 GB of memory
    python benchmarks/exact_search.py --sets mapped --n 10000000    # a file of 15 GB in --folder
    python benchmarks/exact_search.py --certify 1000000      # searches against float64
    python benchmarks/exact_search.py --mine 50000           # pairs within the first definitions

Methods take turns, a a b b c c a a …, of which the second call is timed. The table gives medians with
the fastest and the slowest run; ratios are medians of the ratios within a turn. Writes
benchmarks/results/exact_search.{json,md}; the committed reports are of a processor with VNNI, and, as
exact_search_avx2, of one without (there the bare int8 product of torch takes 20 seconds, so it was left
out: --without "bare int8 product in blocks"). `pip install usearch` adds usearch and NumKong.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import corpora
import faiss
import numpy as np
import psutil
import torch
from sentence_transformers import util

from semsearch_nb import datasets, encoding, exact, models
from semsearch_nb.benchmark import peak_memory
from semsearch_nb.exact import first_pass

RESULTS = Path(__file__).parent / "results"
OURS = "exact.search, prepared"
N_QUERIES = (1, 100, 1_000)
K = 10
BLOCK = 4_096  # of the bare products
FACTOR = 400  # from a number of a unit vector to int8, in the bare products
Array = np.ndarray[Any, np.dtype[np.float32]]


def wordnet(role: str, n: int | None = None) -> tuple[Array, Array]:
    """Vectors of the definitions (of the first `n` of a fixed shuffle), and of 1,000 words as queries."""
    collection = datasets.load("wordnet")
    model = models.load(role)
    texts = collection.document_texts
    if n is not None:
        texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:n]]
    return encoding.encode_documents(model, texts), encoding.encode_queries(model, collection.query_texts[:1_000])


def grown(vectors: Array, n: int) -> Array:
    """`n` unit vectors: the given ones, and mixtures of random pairs of them."""
    generator = np.random.default_rng(0)
    result = np.empty((n, vectors.shape[1]), dtype=np.float32)
    result[: len(vectors)] = vectors[:n]
    for start in range(len(vectors), n, 100_000):
        part = result[start : start + 100_000]
        part[:] = mixtures(vectors, len(part), generator)
    return result


def mixtures(vectors: Array, n: int, generator: np.random.Generator) -> Array:
    """`n` unit vectors, each between two of the given ones."""
    one, other = generator.integers(0, len(vectors), (2, n))
    share = generator.random((n, 1), dtype=np.float32)
    mixed = vectors[one] * share + vectors[other] * (1 - share)
    result: Array = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return result


def sets(names: list[str], n: int, folder: Path) -> Iterator[tuple[str, Array, Array]]:
    """Name, corpus and queries, one set in memory at a time."""
    for name in names:
        if name == "small":
            corpus, queries = wordnet("symmetric")
            yield "10,000 WordNet definitions, MiniLM", corpus[:10_000], queries
        elif name == "wordnet":
            corpus, queries = wordnet("symmetric")
            yield f"{len(corpus):,} WordNet definitions, MiniLM", corpus, queries
        elif name == "e5":
            few, queries = wordnet("asymmetric", 20_000)
            yield "20,000 WordNet definitions grown to 117,791, e5", grown(few, 117_791), queries
        elif name == "random":
            generator = np.random.default_rng(0)
            vectors = generator.normal(size=(118_791, 384)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            yield "117,791 random directions", vectors[1_000:], vectors[:1_000]
        elif name == "million":
            corpus, queries = wordnet("symmetric")
            yield "WordNet grown to 1,000,000, MiniLM", grown(corpus, 1_000_000), queries
        elif name == "mapped":
            corpus, queries = wordnet("symmetric")
            yield f"WordNet grown to {n:,}, MiniLM, memory-mapped", mapped(corpus, n, folder), queries


def mapped(vectors: Array, n: int, folder: Path) -> Array:
    """As `grown`, in a file that is written once and mapped."""
    file = folder / f"grown-{n}.npy"
    if not file.exists():
        result = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(n, vectors.shape[1]))
        for start in range(0, n, 1_000_000):
            part = result[start : start + 1_000_000]
            part[:] = mixtures(vectors, len(part), np.random.default_rng(start))
        result.flush()
    found: Array = np.load(file, mmap_mode="r")
    return found


def methods(corpus: Array, prepared: exact.Prepared, queries: Array) -> dict[str, Callable[[], Any]]:
    """What is compared. The bare products are limits: they find nothing."""
    rows, asked = torch.from_numpy(corpus), torch.from_numpy(queries)
    flat = faiss.IndexFlatIP(corpus.shape[1])
    flat.add(corpus)
    limits: dict[str, Callable[[], Any]] = {}
    for name in ("int8", "bfloat16"):
        if first_pass.is_right(name, "cpu"):
            limits[f"bare {name} product in blocks"] = bare(name, rows, asked)

    def semantic_search(**options: Any) -> Callable[[], Any]:
        return lambda: util.semantic_search(asked, rows, top_k=K, **options)

    return {
        OURS: lambda: exact.search(queries, prepared, K),
        "exact.search, float32": lambda: exact.search(queries, corpus, K),
        "util.semantic_search": semantic_search(),
        "  with dot_score": semantic_search(score_function=util.dot_score),
        "  and one chunk": semantic_search(score_function=util.dot_score, corpus_chunk_size=len(corpus)),
        "torch: matmul, topk": lambda: (asked @ rows.T).topk(K),
        "NumPy: matmul, argpartition": lambda: np.argpartition(queries @ corpus.T, -K, axis=1)[:, -K:],
        "faiss.IndexFlatIP": lambda: flat.search(queries, K),
        **others(corpus, queries),
        **limits,
    }


def others(corpus: Array, queries: Array) -> dict[str, Callable[[], Any]]:
    """What an expert would compare with, where it is installed."""
    found: dict[str, Callable[[], Any]] = {}
    if hasattr(faiss, "IndexFlatIPPanorama"):
        panorama = faiss.IndexFlatIPPanorama(corpus.shape[1], 8)
        turn = faiss.PCAMatrix(corpus.shape[1], corpus.shape[1])  # it prunes by leading dimensions
        turn.train(corpus[:: max(1, len(corpus) // 20_000)])
        panorama.add(turn.apply(corpus))
        # The inner products of turned vectors are those of the vectors, but for the mean, which the turn takes out.
        turned = queries @ faiss.vector_to_array(turn.A).reshape(corpus.shape[1], -1).T
        found["faiss.IndexFlatIPPanorama, PCA"] = lambda: panorama.search(turned, K)
    try:
        import numkong
        from usearch.index import MetricKind, search
    except ImportError:  # pip install usearch brings both
        return found
    found["usearch, exact"] = lambda: search(corpus, queries, K, MetricKind.IP, exact=True)
    codes, coded = ((x * FACTOR).clip(-127, 127).astype(np.int8) for x in (corpus, queries))
    packed, n = numkong.dots_pack(codes), len(queries)
    out = numkong.dots_packed(coded, packed)
    halves = [(0, n // 2), (n // 2, n)] if n > 1 else [(0, 1)]
    threads = ThreadPoolExecutor(len(halves))

    def product(part: tuple[int, int]) -> None:
        numkong.dots_packed(coded, packed, out=out, start_row=part[0], end_row=part[1])

    found["bare int8 product of NumKong, two threads"] = lambda: list(threads.map(product, halves))
    return found


def bare(name: str, rows: torch.Tensor, asked: torch.Tensor) -> Callable[[], None]:
    product = first_pass.verified(name, "cpu", rows.shape[1])
    assert product is not None
    factor = FACTOR if product.factors == torch.int8 else 1
    codes, coded = ((x * factor).clamp(-127, 127).to(product.factors) for x in (rows, asked))
    block = max(BLOCK, first_pass.SCORES_AT_ONCE // len(asked))
    out = torch.empty((len(asked), min(block, len(rows))), dtype=product.results)

    def run() -> None:
        for start in range(0, len(codes) - out.shape[1] + 1, out.shape[1]):
            product.multiply(coded, codes[start : start + out.shape[1]], out)

    return run


def compare(
    name: str, corpus: Array, queries: Array, repeat: int, *, peaks: bool, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Seconds of every method for 1, 100 and 1,000 queries, in turns."""
    start = time.perf_counter()
    prepared = exact.prepare(corpus)
    seconds = time.perf_counter() - start
    hits, report = exact.search_report(queries, prepared, K, precision="certified")
    truth = exact.search(queries, corpus, K, precision="float32")
    result: dict[str, Any] = {
        "set": name,
        "prepare_s": seconds,
        "prepared": repr(prepared),
        "survivors": {
            "mean": float(report.survivors.mean()),
            "median": float(np.median(report.survivors)),
            "most": int(report.survivors.max()),
            "float32": report.n_float32,
        },
        "largest_difference_to_float32": float(np.abs(hits.scores - truth.scores).max()),
        "times": {},
    }
    for n_queries in N_QUERIES:
        every = methods(corpus, prepared, queries[:n_queries])
        functions = {method: run for method, run in every.items() if method not in without}
        times: dict[str, list[float]] = {method: [] for method in functions}
        for _ in range(repeat):
            for method, function in functions.items():
                # Not timed: what the method before has left in caches, and the threads of its library
                # (torch and faiss bring one OpenMP runtime each, whose threads spin for a while).
                function()
                start = time.perf_counter()
                function()
                times[method].append(time.perf_counter() - start)
        result["times"][str(n_queries)] = times
    if peaks:
        result["peak_bytes"] = {method: peak_memory(function) for method, function in functions.items()}
    return result


def markdown(results: list[dict[str, Any]], about: dict[str, Any]) -> str:
    lines = [
        "# Exact search",
        "",
        f"`python benchmarks/exact_search.py`, {about['machine']}. Milliseconds: median (fastest to slowest) of "
        f"{about['repeat']} alternating runs; in brackets the median ratio to `{OURS}` within a turn.",
    ]
    for result in results:
        survivors = result["survivors"]
        lines += [
            "",
            f"## {result['set']}",
            "",
            f"Prepared in {result['prepare_s']:.2f} s: {result['prepared']}. Survivors of the first pass a query: mean "
            f"{survivors['mean']:.1f}, median {survivors['median']:.0f}, most {survivors['most']:,}; "
            f"{survivors['float32']} queries went to float32. Largest difference of a score to float32 search: "
            f"{result['largest_difference_to_float32']:.1e}.",
            "",
            "| method | "
            + " | ".join(f"{n} queries" if n != "1" else "1 query" for n in result["times"])
            + " | peak |",
            "|---|" + "---|" * (len(result["times"]) + 1),
        ]
        for method in next(iter(result["times"].values())):
            cells = []
            for times in result["times"].values():
                own, ours = times[method], times[OURS]
                ratio = statistics.median(a / b for a, b in zip(own, ours, strict=True))
                median, low, high = (1e3 * f(own) for f in (statistics.median, min, max))
                cells.append(f"{median:.1f} ({low:.1f} to {high:.1f}) [{ratio:.2f}]")
            peak = f"{result['peak_bytes'][method] / 1e6:.0f} MB" if "peak_bytes" in result else ""
            lines.append(f"| {method} | " + " | ".join(cells) + f" | {peak} |")
    return "\n".join(lines) + "\n"


def certify(n_searches: int) -> None:
    """Search corpora that were made to break the bound, and compare every hit with float64."""
    generator = np.random.default_rng(0)
    done = wrong = in_float32 = 0
    while done < n_searches:
        for make in corpora.CORPORA:
            for score in exact.SCORES:
                dimension = int(generator.choice([2, 8, 64, 100, 384, 1_024]))
                k = int(generator.choice([1, 3, 10, 30]))
                corpus = make(generator, 4_000, dimension).astype(np.float32)
                queries = make(generator, 1_000, dimension).astype(np.float32)
                prepared = exact.prepare(corpus, score=score)
                hits, report = exact.search_report(queries, prepared, k, precision="certified")
                a, b = torch.from_numpy(queries).double(), torch.from_numpy(corpus).double()
                if score == "cosine":
                    a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
                scores = a @ b.T
                lengths = torch.linalg.vector_norm(b, dim=1)
                found = scores.gather(1, torch.from_numpy(hits.indices))
                best = scores.topk(k)
                # Two scores count as equal if they are within the rounding of float32 products.
                rounding = (dimension + 8) * 2.0**-23 * torch.linalg.vector_norm(a, dim=1)
                allowed = rounding * torch.maximum(lengths[best.indices], lengths[hits.indices]).amax(dim=1)
                wrong += int((found.amin(dim=1) < best.values[:, -1] - allowed).sum())
                done, in_float32 = done + len(queries), in_float32 + report.n_float32
    print(
        f"{done:,} searches of {len(corpora.CORPORA)} kinds of corpora: {wrong} wrong; {in_float32:,} went to float32"
    )


def mine(n: int, repeat: int) -> None:
    """Pairs of near vectors: `exact.mine` and `util.paraphrase_mining_embeddings` on the same vectors."""
    corpus = wordnet("symmetric")[0][:n]
    rows = torch.from_numpy(corpus)
    ways: dict[str, Callable[[], Any]] = {
        "util.paraphrase_mining_embeddings, top_k=10": lambda: util.paraphrase_mining_embeddings(rows, top_k=10),
        "exact.mine, k=10": lambda: exact.mine(corpus, k=10),
        "exact.mine, threshold=0.8": lambda: exact.mine(corpus, threshold=0.8),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            found = way()
            times[name].append(time.perf_counter() - start)
            n_pairs = len(found.scores) if isinstance(found, exact.Pairs) else len(found)
            print(f"{name}: {times[name][-1]:.2f} s, {n_pairs:,} pairs", flush=True)
    first = statistics.median(next(iter(times.values())))
    for name, own in times.items():
        median = statistics.median(own)
        print(f"{len(corpus):,} vectors, {name}: median {median:.2f} s, {first / median:.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["wordnet", "e5"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--n", type=int, default=10_000_000, help="vectors of the mapped set")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the mapped set's file")
    parser.add_argument("--without", nargs="+", default=(), metavar="METHOD", help="by its name in the table")
    parser.add_argument("--output", metavar="NAME", help="of the report in benchmarks/results, without its ending")
    parser.add_argument("--certify", type=int, metavar="N", help="check N searches against float64 instead")
    parser.add_argument("--mine", type=int, metavar="N", help="mine pairs in N vectors instead")
    arguments = parser.parse_args()
    if arguments.mine:
        mine(arguments.mine, min(arguments.repeat, 3))
        return
    if arguments.certify:
        certify(arguments.certify)
        return
    if arguments.sets == ["mapped"]:
        out_of_memory(arguments.n, arguments.folder)
        return
    about = {
        "machine": f"{psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, "
        f"first pass {first_pass.fastest('cpu')}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, faiss {faiss.__version__}",
        "repeat": arguments.repeat,
    }
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", encoding.TruncationWarning)
        for name, corpus, queries in sets(arguments.sets, arguments.n, arguments.folder):
            peaks = len(corpus) > 50_000
            results.append(compare(name, corpus, queries, arguments.repeat, peaks=peaks, without=arguments.without))
            print(markdown(results[-1:], about), flush=True)
    RESULTS.mkdir(exist_ok=True)
    default = arguments.sets == parser.get_default("sets")
    stem = arguments.output or "_".join(["exact_search"] if default else ["exact_search", *arguments.sets])
    (RESULTS / f"{stem}.json").write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    (RESULTS / f"{stem}.md").write_text(markdown(results, about))


def out_of_memory(n: int, folder: Path) -> None:
    """Prepare and search a file that is larger than what should be held, and print the peak memory."""
    _, corpus, queries = next(sets(["mapped"], n, folder))
    prepared: list[exact.Prepared] = []
    start = time.perf_counter()
    peak = peak_memory(lambda: prepared.append(exact.prepare(corpus)), interval=0.05)
    print(f"{n:,} vectors: prepared in {time.perf_counter() - start:.0f} s: {prepared[0]}")
    print(f"peak of the process, mapped pages of the file included: {peak / 2**30:.1f} GiB")
    for n_queries in N_QUERIES:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            _, report = exact.search_report(queries[:n_queries], prepared[0], K, precision="certified")
            times.append(time.perf_counter() - start)
        print(
            f"{n_queries} queries: {', '.join(f'{seconds:.3f}' for seconds in times)} s, "
            f"{report.survivors.mean():.1f} survivors, {report.n_float32} in float32"
        )


if __name__ == "__main__":
    main()
