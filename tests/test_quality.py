"""The quality report: its figures, its bounds and its files, on a tiny collection with stub methods."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quality
import reranking

from semsearch_nb import models, settings
from semsearch_nb.datasets import Collection, Document, Query, beir
from semsearch_nb.vectors import Hits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four documents; q1 wants d1, q2 wants d4 (more) and d2."""
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "text": text} for i, text in enumerate(("cat", "dog", "bird", "wolf"), 1)]
    queries = [{"_id": "q1", "text": "cat"}, {"_id": "q2", "text": "dog wolf"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td4\t2\nq2\td2\t1\n")
    return folder


def in_order(collection: Collection) -> Hits:
    """Every query gets all documents in the order of the corpus."""
    indices = np.tile(np.arange(len(collection.documents)), (len(collection.queries), 1))
    return Hits(np.zeros(indices.shape, np.float32), indices)


def backwards(collection: Collection) -> Hits:
    hits = in_order(collection)
    return Hits(hits.scores, hits.indices[:, ::-1].copy())


STUBS = {"in order": in_order, "backwards": backwards}
# In order: q1 finds d1 first; q2 finds d2 (grade 1) second and d4 (grade 2) fourth.
Q2_IN_ORDER = (1 / np.log2(3) + 2 / np.log2(5)) / (2 + 1 / np.log2(3))
# Backwards: q1 finds d1 fourth; q2 finds d4 first and d2 third.
Q1_BACKWARDS = 1 / np.log2(5)
Q2_BACKWARDS = (2 + 1 / 2) / (2 + 1 / np.log2(3))


def collection_of(n_documents: int, relevant: dict[str, str]) -> Collection:
    return Collection(
        name="made",
        documents=tuple(Document(f"d{i}", f"text {i}") for i in range(n_documents)),
        queries=tuple(Query(query, query) for query in relevant),
        qrels={query: {document: 1} for query, document in relevant.items()},
        source="made by hand",
    )


def measure(name: str, whole: Collection, methods: Any, limit: int = sys.maxsize) -> dict[str, Any]:
    """A set of the report."""
    part, runs = quality.search_all(name, whole, methods, limit)
    return quality.summarise(part, whole, runs)


def test_measure(folder: Path) -> None:
    row = measure("tiny", beir.read(folder), STUBS)
    assert (row["queries"], row["documents"]) == ([2, 2], [4, 4])
    forth, back = row["methods"]["in order"], row["methods"]["backwards"]
    assert forth["nDCG@10"]["mean"] == pytest.approx((1 + Q2_IN_ORDER) / 2)
    assert back["nDCG@10"]["mean"] == pytest.approx((Q1_BACKWARDS + Q2_BACKWARDS) / 2)
    # Two queries: a quarter of the samples draws either of them twice, so the interval spans both.
    assert forth["nDCG@10"]["low"] == pytest.approx(Q2_IN_ORDER)
    assert forth["nDCG@10"]["high"] == 1
    assert forth["recall@10"] == forth["recall@100"] == {"mean": 1, "low": 1, "high": 1}
    (name, difference), *others = row["differences"].items()
    assert (name, others) == ("backwards − in order", [])
    assert difference["mean"] == pytest.approx(back["nDCG@10"]["mean"] - forth["nDCG@10"]["mean"])
    assert difference["low"] == pytest.approx(Q1_BACKWARDS - 1)
    assert difference["high"] == pytest.approx(Q2_BACKWARDS - Q2_IN_ORDER)


def test_measure_limits_queries_and_keeps_documents(folder: Path) -> None:
    row = measure("tiny", beir.read(folder), STUBS, limit=1)
    assert (row["queries"], row["documents"]) == ([1, 2], [4, 4])
    assert row["methods"]["in order"]["nDCG@10"] == {"mean": 1, "low": 1, "high": 1}
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        measure("tiny", beir.read(folder), STUBS, limit=0)


def test_measure_bounds_large_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quality.BOUNDS, "made", (2, 3))
    seen: list[Collection] = []

    def spy(collection: Collection) -> Hits:
        seen.append(collection)
        return in_order(collection)

    made = collection_of(6, {"a": "d4", "b": "d1", "c": "d5"})
    row = measure("made", made, {"spy": spy})
    assert (row["queries"], row["documents"]) == ([2, 3], [3, 6])
    assert seen[0].document_ids == ["d0", "d1", "d4"]
    assert seen[0].query_ids == ["a", "b"] == list(seen[0].qrels)
    # All that is judged is kept, even past the bound.
    assert quality.bounded(made, 3, 2).document_ids == ["d1", "d4", "d5"]


def test_asymmetric_takes_the_role_that_the_set_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    roles: dict[str, str] = {}
    monkeypatch.setattr(quality, "dense", lambda collection, role: roles.update({collection.name: role}))
    for name in ("squad", "quora", "questions", "questions-multilingual", "xquad-de", "tatoeba-deu", "passages"):
        made = collection_of(1, {"a": "d0"})
        quality.asymmetric(Collection(name, made.documents, made.queries, made.qrels, ""))
    assert roles == {
        "squad": "asymmetric",
        "quora": "questions",
        "questions": "questions",
        "questions-multilingual": "questions",
        "xquad-de": "multilingual",
        "tatoeba-deu": "multilingual",
        "passages": "asymmetric",
    }


def test_bm25_is_a_method_like_any_other(folder: Path) -> None:
    row = measure("tiny", beir.read(folder), {"BM25": quality.bm25})
    # "cat" finds d1; "dog wolf" ties d2 and d4, which keep their order.
    q2 = (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))
    assert row["methods"]["BM25"]["nDCG@10"]["mean"] == pytest.approx((1 + q2) / 2)


def test_hybrid_and_reranked_stages_are_measured_beside_the_others(folder: Path) -> None:
    row = measure("tiny", beir.read(folder), quality.STAGES)
    assert list(row["methods"]) == ["symmetric, re-ranked", "hybrid, re-ranked"]
    assert all(metrics["nDCG@10"]["mean"] > 0.5 for metrics in row["methods"].values())
    assert "hybrid, re-ranked − symmetric, re-ranked" in row["differences"]


def test_the_learned_sparse_encoder_is_measured_where_it_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "_current", settings.Settings())
    monkeypatch.setattr(quality, "METHODS", STUBS)
    monkeypatch.setattr(quality, "SPARSE", {"learned sparse": in_order})
    quality.main([str(folder), "--sparse", "--output", str(tmp_path)])
    (row,) = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))["sets"].values()
    assert list(row["methods"]) == ["in order", "backwards", "learned sparse"]


def test_the_learned_sparse_encoder_finds_words(folder: Path) -> None:
    try:
        hits = quality.learned_sparse(beir.read(folder))
    except models.PackagedModelError as error:
        pytest.skip(str(error))
    assert hits.indices[:, 0].tolist() in ([0, 1], [0, 3])  # cat; dog or wolf


def test_the_report_on_reranking_has_both_ends_of_its_weights(folder: Path) -> None:
    row = reranking.measure(beir.read(folder), with_int8=False)
    stages = {name: found["mean"] for name, found in row["stages"].items()}
    assert row["weights"]["0"] == pytest.approx(stages["MiniLM"])
    assert row["weights"]["0.7"] == pytest.approx(stages["MiniLM → re-ranked"])
    assert reranking.table({"tiny": row}, "weights", "{:.3f}".format)[0].endswith("| 0.7 | 1 | 1.5 | 2.5 |")


def test_the_report_on_reranking_goes_where_it_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "RESULTS", tmp_path / "committed")
    sets = dict.fromkeys(("tiny", "other"), partial(beir.read, folder))
    monkeypatch.setattr(reranking, "find_sets", lambda limit: sets)
    nothing = {"queries": 2, "documents": 4, "stages": {}, "differences": {}, "weights": {}}
    monkeypatch.setattr(reranking, "measure", lambda collection, with_int8: nothing)
    reranking.main(["--quality", "--only", "tiny", "--output", str(tmp_path / "some")])
    assert list(json.loads((tmp_path / "some" / "reranking.json").read_text(encoding="utf-8"))["sets"]) == ["tiny"]
    assert "| tiny | 2 | 4 |" in (tmp_path / "some" / "reranking.md").read_text(encoding="utf-8")
    assert not (tmp_path / "committed").exists()


@pytest.mark.parametrize("report", [quality, reranking])
def test_a_part_does_not_replace_the_whole_report(report: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report.main(["--only", "passages-stress"])
    assert "name a folder with --output" in capsys.readouterr().err


def test_main_writes_what_was_measured(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(quality, "METHODS", STUBS)
    monkeypatch.setattr(settings, "_current", settings.Settings())
    quality.main([str(folder), "--only", "ti*", "--output", str(tmp_path / "results")])
    report: dict[str, Any] = json.loads((tmp_path / "results" / "quality.json").read_text(encoding="utf-8"))
    assert list(report) == ["commit", "packages", "settings", "models", "sets"]
    assert report["sets"] == {"tiny": measure("tiny", beir.read(folder), STUBS)}
    assert report["settings"]["models"] == "packaged"
    assert report["models"]["symmetric"] == "all-MiniLM-L6-v2"
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == ["quality.json", "quality.md", "tiny.html", "tiny.md"]
    table = (tmp_path / "results" / "quality.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == (tmp_path / "results" / "tiny.md").read_text(encoding="utf-8") + "\n"
    assert "| set | queries | documents | in order | backwards |\n| --- | --- | --- | --- | --- |\n" in table
    forth = f"{(1 + Q2_IN_ORDER) / 2:.2f} [{Q2_IN_ORDER:.2f}, 1.00]"
    back = f"{(Q1_BACKWARDS + Q2_BACKWARDS) / 2:.2f} [{Q1_BACKWARDS:.2f}, {Q2_BACKWARDS:.2f}]"
    assert f"| tiny | 2 | 4 | {forth} | {back} |" in table
    assert "| tiny | 2 | 4 | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] |" in table
    assert str(tmp_path) not in table + json.dumps(report)


def test_a_folder_alone_is_all_that_is_measured_and_gets_a_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "METHODS", STUBS)
    monkeypatch.setattr(settings, "_current", settings.Settings())
    (folder / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "cat | <b>purr</b>"}\n{"_id": "q2", "text": "dog wolf"}\n', encoding="utf-8"
    )
    quality.main([str(folder)])
    assert list(json.loads((folder / "quality.json").read_text(encoding="utf-8"))["sets"]) == ["tiny"]
    page = (folder / "tiny.md").read_text(encoding="utf-8")
    assert "2 questions, 4 documents." in page
    best = f"| **in order** | {(1 + Q2_IN_ORDER) / 2:.2f} [{Q2_IN_ORDER:.2f}, 1.00] | 1.000 [1.000, 1.000] |"
    assert best in page
    assert page.count("| 62% |") == 2  # of eight hits, five have no judgement
    assert "## The questions that in order answers worst" in page
    worst = page.split("| --- | --- | --- | --- |\n")[-1].splitlines()
    assert worst == [f"| dog wolf | {Q2_IN_ORDER:.2f} | cat | wolf |", "| cat / <b>purr</b> | 1.00 | cat | cat |"]
    shown = (folder / "tiny.html").read_text(encoding="utf-8")
    assert "<td>dog wolf</td>" in shown and "&lt;b&gt;purr" in shown and "<b>purr" not in shown


def test_find_sets_names_what_is_absent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "_current", settings.Settings(data_dir=folder.parent))
    monkeypatch.setattr(quality.encyclopedia, "installed", lambda: False)
    (folder.parent / "cranfield").mkdir()
    found = quality.find_sets([folder], with_wordnet=True)
    ours = [name for name in quality.OWN if "encyclopedia" not in name]
    assert list(found) == [*ours, "wordnet", "wordnet-reverse", "cranfield", "tiny"]
    assert capsys.readouterr().err == "".join(f"{name}: absent, skipped\n" for name in quality.OWN if name not in ours)
    assert {query.metadata["kind"] for query in found["passages-stress"]().queries} == {"stress"}


def test_main_refuses_a_set_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quality.main([str(folder), "--only", "tiny", "nothing"])
    assert "--only: no such set is at hand; there are: " in capsys.readouterr().err


def test_tables_say_what_is_bounded_and_what_differs() -> None:
    assert quality._size([700, 14_033]) == "first 700 of 14,033"
    assert quality._size([5_665, 5_665]) == "5,665"
    assert quality._signed(quality.Interval(0.25, 0.125, 0.5)) == "**+0.250 [+0.125, +0.500]**"
    assert quality._signed(quality.Interval(-0.25, -0.5, 0.125)) == "-0.250 [-0.500, +0.125]"


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "quality.md"
    file.write_text("old and long")
    quality.write(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_the_gate_fails_where_an_interval_lies_below_the_baseline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "METHODS", STUBS)
    monkeypatch.setattr(settings, "_current", settings.Settings())
    quality.main([str(folder), "--only", "tiny", "--output", str(tmp_path)])
    baseline = tmp_path / "quality.json"
    gate = [str(folder), "--only", "tiny", "--gate", str(baseline)]

    def run() -> int | str | None:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            quality.main(gate)
        return ended.value.code

    assert run() == 0 and "nothing lies below" in capsys.readouterr().out
    useless = Hits(np.zeros((2, 1), np.float32), np.full((2, 1), 2))  # d3, which nobody wants
    worse = {"in order": in_order, "backwards": lambda collection: useless}
    monkeypatch.setattr(quality, "METHODS", worse)
    assert run() == 1
    fallen = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    assert fallen == [f"tiny, backwards, {metric}" for metric in ("nDCG@10", "recall@100", "recall@10")]
    monkeypatch.setattr(quality, "METHODS", {"in order": in_order})
    assert run() == 1 and "tiny, backwards, nDCG@10: not measured" in capsys.readouterr().out
    baseline.write_text(json.dumps({"sets": {"another": {}}}))
    assert run() == 2 and "holds none of tiny" in capsys.readouterr().err


def test_our_samples_are_searched_as_well_as_when_the_baseline_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    baseline = quality.ROOT / "benchmarks" / "gate" / "quality.json"
    with pytest.raises(SystemExit) as ended:
        quality.main(["--only", "passages-*l", "questions", "publications", "--gate", str(baseline)])
    assert ended.value.code == 0, capsys.readouterr().out
