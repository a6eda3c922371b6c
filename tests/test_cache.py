import json
import multiprocessing
import os
import signal
import time

import pytest

from semsearch_nb import cache, settings


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.Settings(cache_dir=tmp_path))
    return tmp_path


class Builder:
    """Writes a file, counts how often, returns notes."""

    def __init__(self, content="content"):
        self.content, self.calls = content, 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "file.txt").write_text(self.content)
        return {"calls": self.calls}


def test_built_once_and_found_again():
    build = Builder()
    first, second = cache.folder("things", {"a": 1}, build), cache.folder("things", {"a": 1}, build)
    assert first == second and build.calls == 1
    assert (first / "file.txt").read_text() == "content" and cache.notes(first) == {"calls": 1}


def test_another_key_is_another_folder():
    assert cache.folder("things", {"a": 1}, Builder()) != cache.folder("things", {"a": 2}, Builder())


def test_a_build_that_fails_leaves_nothing(own_cache):
    def build(folder):
        (folder / "half.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.folder("things", {"a": 1}, build)
    assert not [path for path in (own_cache / "things").iterdir() if path.is_dir()]
    assert (cache.folder("things", {"a": 1}, Builder()) / "file.txt").read_text() == "content"


def damage_content(target):
    (target / "file.txt").write_text("contenT")


def truncate_manifest(target):
    manifest = target / cache.MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:20])


def exchange_key(target):
    manifest = json.loads((target / cache.MANIFEST).read_text())
    (target / cache.MANIFEST).write_text(json.dumps(manifest | {"key": {"a": 2}}))


DAMAGES = {
    "changed": (damage_content, "file.txt is damaged"),
    "file gone": (lambda target: (target / "file.txt").unlink(), "file.txt is missing"),
    "manifest gone": (lambda target: (target / cache.MANIFEST).unlink(), "manifest.json is missing"),
    "manifest cut": (truncate_manifest, "manifest cannot be read"),
    "manifest a list": (lambda target: (target / cache.MANIFEST).write_text("[]"), "manifest cannot be read"),
    "other key": (exchange_key, "another key"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed_said_and_repaired(name):
    damage, message = DAMAGES[name]
    build = Builder()
    target = cache.folder("things", {"a": 1}, build)
    damage(target)
    with pytest.warns(cache.CacheWarning, match=message):
        assert cache.folder("things", {"a": 1}, build) == target
    assert build.calls == 2 and (target / "file.txt").read_text() == "content"


def fill(cache_dir, log):
    """Fill the same key as the other processes; log each build."""
    settings._current = settings.Settings(cache_dir=cache_dir)

    def build(folder):
        with log.open("a") as stream:
            stream.write("built\n")
        for number in range(5):
            (folder / f"{number}.txt").write_text("x" * 10_000)
            time.sleep(0.02)
        return {}

    cache.folder("things", {"a": 1}, build)


def start(target, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    return process


def test_processes_side_by_side_build_once(own_cache, tmp_path):
    log = tmp_path / "log"
    processes = [start(fill, own_cache, log) for _ in range(4)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert log.read_text() == "built\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which Windows has not")
def test_a_process_killed_at_any_moment_leaves_nothing_that_is_trusted(own_cache, tmp_path):
    for moment in range(8):
        log = tmp_path / f"log{moment}"
        process = start(fill, own_cache, log)
        for _ in range(600):  # wait until it builds, then kill it a little later each time
            if log.exists() or not process.is_alive():
                break
            time.sleep(0.01)
        time.sleep(0.02 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        build = Builder()
        target = cache.folder("things", {"a": 1}, build)  # a warning here would mean a half-written folder
        complete = ["file.txt"] if build.calls else [f"{number}.txt" for number in range(5)]
        assert sorted(path.name for path in target.iterdir()) == [*complete, cache.MANIFEST]
        left_over = [path.name for path in target.parent.iterdir() if ".build-" in path.name]
        assert not left_over or not build.calls
        for path in [*target.iterdir()]:
            path.unlink()
        target.rmdir()
