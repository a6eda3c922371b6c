"""Pools for judging: blind, in random order, and what their judgements come to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pool
import pytest

from semsearch_nb import lexical
from semsearch_nb.datasets import DatasetError, Document, Query
from semsearch_nb.vectors import Hits

DOCUMENTS = {i: Document(i, f"text of {i}", f"Title {i}") for i in ("d1", "d2", "d3", "d4")}
QUERIES = (Query("q1", "first question"), Query("q2", "second question"))
RUNS = {"MiniLM": {"q1": ["d1", "d2"], "q2": ["d4"]}, "e5": {"q1": ["d2", "d3"], "q2": ["d4"]}}


class Fixed:
    """Finds the same for every query; the last place is empty."""

    def search(self, queries: list[str], k: int = 10) -> Hits:
        scores = np.array([[0.5, -0.5, -np.inf]] * len(queries), np.float32)[:, :k]
        return Hits(scores, np.array([[2, 0, -1]] * len(queries))[:, :k])


def test_search_names_what_is_found_and_leaves_empty_places_out() -> None:
    assert pool.search(Fixed(), QUERIES, list(DOCUMENTS), 3) == {"q1": ["d3", "d1"], "q2": ["d3", "d1"]}
    assert pool.search(Fixed(), QUERIES, list(DOCUMENTS), 1) == {"q1": ["d3"], "q2": ["d3"]}


def test_bm25_finds_only_what_shares_a_word() -> None:
    bm25 = lexical.BM25(["a cat", "a dog", "a second dog", "bird"])
    assert pool.search(bm25, QUERIES, list(DOCUMENTS), 4)["q2"] == ["d3"]


def test_a_pool_holds_each_document_once_in_an_order_of_the_query() -> None:
    assert sorted(pool.pool("q1", RUNS)) == ["d1", "d2", "d3"]
    assert sorted(pool.pool("q1", RUNS, judged=["d2", "d4"])) == ["d1", "d3"]
    many = {"MiniLM": {q: [f"d{n:02}" for n in range(50)] for q in ("q1", "q2")}}
    one, other = pool.pool("q1", many), pool.pool("q2", many)
    assert sorted(one) == sorted(other) and one != other and one != sorted(one)
    assert one == pool.pool("q1", {"e5": {"q1": many["MiniLM"]["q1"][::-1]}})  # whoever found it, and at what rank


def test_the_judge_reads_questions_and_documents_only(tmp_path: Path) -> None:
    prefix = tmp_path / "pools" / "some"
    assert pool.write_pools(prefix, QUERIES, DOCUMENTS, RUNS, {"q1": {"d2": 1}}, per_file=1) == 3
    first, second = ((prefix.parent / f"some-{n}.txt").read_text() for n in ("01", "02"))
    assert "==== q1\tfirst question" in first and "second" not in first
    assert second == "==== q2\tsecond question\n\n---- d4\nTitle d4\ntext of d4\n\n"
    assert "d2" not in first  # judged before
    assert not any(method in first + second for method in RUNS)
    assert pool.read_pools([prefix.parent / "some.jsonl"])["q2"] == {
        "asked": ["d4"],
        "found": {"MiniLM": ["d4"], "e5": ["d4"]},
    }


def test_a_query_with_nothing_left_to_judge_is_not_shown(tmp_path: Path) -> None:
    pool.write_pools(tmp_path / "some", QUERIES, DOCUMENTS, RUNS, {"q2": {"d4": 0}}, per_file=50)
    assert "q2" not in (tmp_path / "some-01.txt").read_text()
    assert pool.read_pools([tmp_path / "some.jsonl"])["q2"]["asked"] == []


def write_tiny(folder: Path) -> Path:
    """Three documents and two questions in the BEIR layout; q1 is judged against d1."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{n}", "text": text} for n, text in enumerate(("a cat", "a dog", "dogs and a cat"), 1)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "cat"}\n{"_id": "q2", "text": "dog"}\n')
    (folder / "qrels" / "test.tsv").write_text("q1\td1\t2\nq2\td2\t1\n")
    return folder


def test_the_commands_from_hits_to_judgements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, prefix = write_tiny(tmp_path / "tiny"), tmp_path / "pool"
    hits = ["hits", str(folder), "--methods", "bm25", "--depth", "5"]
    pool.main([*hits, "--skip-judged", "--output", str(prefix)])
    assert capsys.readouterr().out == "2 queries, 2 pairs to judge\n"
    assert {query: row["asked"] for query, row in pool.read_pools([tmp_path / "pool.jsonl"]).items()} == {
        "q1": ["d3"],
        "q2": ["d3"],
    }
    pool.main([*hits, "--rows", "1:", "--output", str(tmp_path / "second")])
    assert capsys.readouterr().out == "1 queries, 2 pairs to judge\n"
    pool.main([*hits, "--skip", str(tmp_path / "pool.jsonl"), "--output", str(tmp_path / "third")])
    assert capsys.readouterr().out == "2 queries, 2 pairs to judge\n"
    new = tmp_path / "new.jsonl"
    new.write_text('{"_id": "n1", "text": "a dog"}\n')
    pool.main([*hits, "--queries", str(new), "--output", str(tmp_path / "fourth")])
    assert capsys.readouterr().out == "1 queries, 2 pairs to judge\n"

    judged, qrels = tmp_path / "judged.tsv", tmp_path / "qrels.tsv"
    judged.write_text("# a comment\nq1\td3\t1\tboth animals\nq2\td9\t0\ta slip\n")
    asked = ["--pools", str(tmp_path / "pool.jsonl")]
    old = str(folder / "qrels" / "test.tsv")
    pool.main(["qrels", str(judged), *asked, "--add-to", old, "--output", str(qrels)])
    assert "1 pairs asked and not judged\nq2 d3\n1 pairs judged and not asked\nq2 d9\n" in capsys.readouterr().out
    assert pool.read_judgements([qrels]) == {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1, "d9": 0}}
    pool.main(["missed", str(judged), *asked])
    assert capsys.readouterr().out == "without bm25: 1 of 1 relevant documents missed (100.0%)\n"
    pool.main(["kappa", str(judged), str(judged)])
    assert "pairs: 2\nagreement: 1.000\nkappa: 1.000" in capsys.readouterr().out


def test_vectors_are_kept_and_must_be_those_of_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []

    def encode(model: object, texts: list[str]) -> np.ndarray:
        encoded.append(len(texts))
        return np.eye(3, dtype=np.float32)

    monkeypatch.setattr(pool.models, "load", lambda role: role)
    monkeypatch.setattr(pool.encoding, "encode_documents", encode)
    monkeypatch.setattr(pool.encoding, "encode_queries", lambda model, texts: np.eye(3, dtype=np.float32)[1:])
    collection = pool.datasets.load(write_tiny(tmp_path / "tiny"))
    for _ in range(2):
        found = pool.Methods(collection, tmp_path).minilm.search(["cat", "dog"], 1)
        assert found.indices.tolist() == [[1], [2]]
    assert encoded == [3] and (tmp_path / "tiny-symmetric-documents.npy").is_file()
    np.save(tmp_path / "tiny-symmetric-documents.npy", np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match=r"has 2 vectors and there are 3 documents"):
        _ = pool.Methods(collection, tmp_path).minilm


def test_left_out_methods_miss_what_they_alone_found() -> None:
    pools = {query: {"asked": [], "found": {m: run[query] for m, run in RUNS.items()}} for query in ("q1", "q2")}
    judged = {"q1": {"d1": 2, "d2": 1, "d3": 0, "unpooled": 2}, "q2": {"d4": 1}, "q3": {"d1": 1}}
    assert pool.missed(pools, judged) == {"MiniLM": (1, 3), "e5": (0, 3)}


def test_pools_of_several_files_are_one(tmp_path: Path) -> None:
    rows = [(["d1", "d2"], {"MiniLM": ["d1", "d2"]}), (["d3"], {"e5": ["d2", "d3"]}), (["d4"], {"MiniLM": ["d4"]})]
    for name, (asked, found) in zip("abc", rows, strict=True):
        (tmp_path / name).write_text(json.dumps({"query": "q1", "asked": asked, "found": found}) + "\n")
    pools = pool.read_pools(tmp_path / name for name in "abc")
    found = {"MiniLM": ["d1", "d2", "d4"], "e5": ["d2", "d3"]}
    assert pools == {"q1": {"asked": ["d1", "d2", "d3", "d4"], "found": found}}


def test_kappa_is_agreement_beyond_chance() -> None:
    """Four of six grades agree, and by chance 11 of 36 would; of relevant or not five, and three."""
    one = {"q1": {"a": 0, "b": 0, "c": 1}, "q2": {"a": 2, "b": 2, "c": 0, "only one": 1}}
    other = {"q1": {"a": 0, "b": 1, "c": 1}, "q2": {"a": 2, "b": 1, "c": 0}, "q3": {"a": 2}}
    found = pool.kappa(one, other)
    assert found["pairs"] == 6 and found["agreement"] == pytest.approx(4 / 6)
    assert found["kappa"] == pytest.approx(13 / 25)
    assert found["kappa of relevant or not"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no pair in common"):
        pool.kappa(one, {"q9": {"a": 1}})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1\td1", "line 2: expected query, document, grade and reason"),
        ("q1 d1 2 reason", "line 2: expected query, document, grade and reason"),
        ("q1\td1\t3\treason", "line 2: the grade must be 0, 1 or 2, not '3'"),
        ("q0\td0\t2\tother", "line 2: 'q0' and 'd0' are judged twice, differently"),
    ],
)
def test_malformed_judgements_are_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "judged.tsv"
    file.write_text(f"q0\td0\t1\treason\n{line}\n")
    with pytest.raises(DatasetError, match=message):
        pool.read_judgements([file])


def test_earlier_judgements_stay() -> None:
    assert pool.merge({"q1": {"d1": 2}}, {"q1": {"d1": 0, "d2": 1}, "q2": {"d1": 1}}) == {
        "q1": {"d1": 2, "d2": 1},
        "q2": {"d1": 1},
    }
