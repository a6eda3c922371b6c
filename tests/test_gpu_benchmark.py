"""benchmarks/gpu.py, in tiny sizes on the CPU: that it runs, not how fast."""

import re

import gpu
import pytest
import torch

from semsearch_nb import settings


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())  # what the script configures is undone
    gpu.main(["--small", "--device", "cpu", "--output", str(tmp_path / "gpu.md")])
    return (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_the_table_has_every_section_positive_numbers_and_equal_hits(table):
    first, *parts = table.split("\n## ")
    assert "python benchmarks/gpu.py --small" in first and "no GPU" in first and torch.__version__ in first
    assert "CPU cores" in first.splitlines()[0]
    assert [part.splitlines()[0] for part in parts] == list(gpu.SECTIONS)
    for part in parts:
        rows = [row.strip("| ").split(" | ") for row in part.splitlines() if row.startswith("| ")]
        skipped = [row for row in rows if row[1].startswith("skipped")]
        assert all("float16" in row[0] or "product is missing" in row[1] for row in skipped), skipped
        measured = [row for row in rows if re.match(r"[\d,.]+ \(", row[1])]
        assert len(measured) >= 1
        assert all(
            float(number.replace(",", "")) > 0 for row in measured for number in re.findall(r"[\d.,]*\d", row[1])
        )
        assert all(float(row[2]) > 0 for row in measured)
        if part.startswith("Exact search"):
            assert len(measured) >= 12 and {row[3] for row in measured} == {"100.00%"}
        assert "Skipped:" not in part.replace("Skipped: there is no GPU.", "")


def test_hits_are_equal_but_for_ties():
    corpus = torch.eye(4)[[0, 1, 1, 2, 3]]
    queries = torch.tensor([[0.6, 0.8, 0.0, 0.0]])
    tied = [[{"corpus_id": 1}, {"corpus_id": 2}]]
    assert gpu.equal_hits(queries, corpus, [[{"corpus_id": 2}, {"corpus_id": 1}]], tied) == 1
    assert gpu.equal_hits(queries, corpus, [[{"corpus_id": 1}, {"corpus_id": 0}]], tied) == 0
    assert gpu.equal_hits(queries, corpus, [[{"corpus_id": 1}, {"corpus_id": 1}]], tied) == 0


def test_what_does_not_work_is_skipped_with_its_reason():
    def fails():
        raise RuntimeError("no such | kernel\nat all")

    found = gpu.measure({"works": lambda: 1, "fails": fails, "missing": "not installed"}, 1, float("inf"))
    assert found["works"].outcome == 1 and found["works"].timing is not None
    lines = list(gpu.rows(found, str))
    assert lines[1:] == ["| fails | skipped: RuntimeError: no such / kernel |", "| missing | skipped: not installed |"]
    late = gpu.measure({"works": lambda: 1}, 1, float("-inf"))
    assert list(gpu.rows(late, str)) == ["| works | skipped: no time was left |"]


@pytest.mark.parametrize("arguments", [[], ["--device", "cuda"], ["--device", "cuda", "--small"], ["--device", "cpu"]])
def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^no GPU: .*--small") as stopped:
        gpu.main([*arguments, "--output", str(tmp_path / "gpu.md")])
    assert isinstance(stopped.value.code, str), "which Python prints, with the exit status 1"
    assert "\n" not in stopped.value.code and not list(tmp_path.iterdir())
