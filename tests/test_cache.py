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
    assert not [*own_cache.glob("things/*/files-*"), *own_cache.glob("things/*/*.json")]
    assert (cache.folder("things", {"a": 1}, Builder()) / "file.txt").read_text() == "content"


def change_manifest(**changes):
    def change(manifest):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))

    return change


DAMAGES = {
    "changed": (lambda m: next(m.parent.glob("files-*/*")).write_text("contenT"), "file.txt is damaged"),
    "file gone": (lambda m: next(m.parent.glob("files-*/*")).unlink(), "file.txt is missing"),
    "another file": (lambda m: (next(m.parent.glob("files-*")) / "b").write_text(""), "b is not listed"),
    "manifest cut": (lambda m: m.write_bytes(m.read_bytes()[:20]), "manifest.json cannot be read"),
    "manifest a list": (lambda m: m.write_text("[]"), "not that of a saved cached folder"),
    "other key": (change_manifest(key={"a": 2}), "another key"),
    "no notes": (change_manifest(notes=[]), "another key"),
    "of an earlier layout": (lambda m: m.write_text('{"key": {"a": 1}, "files": {}, "notes": {}}'), "not that of"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_noticed_said_and_repaired(name):
    damage, message = DAMAGES[name]
    build = Builder()
    target = cache.folder("things", {"a": 1}, build)
    damage(target.parent / cache.MANIFEST)
    with pytest.warns(cache.CacheWarning, match=message) as warned:
        again = cache.folder("things", {"a": 1}, build)
    assert len(warned) == 1
    assert build.calls == 2 and [(path.name, path.read_text()) for path in again.iterdir()] == [("file.txt", "content")]
    assert cache.folder("things", {"a": 1}, build) == again


def fill(cache_dir, log, ready=None):
    """Fill the same key as the other processes, all at the same moment; log each build."""
    settings._current = settings.Settings(cache_dir=cache_dir)
    if ready:
        ready.wait(60)

    def build(folder):
        with log.open("a") as stream:
            stream.write("built\n")
        for number in range(5):
            (folder / f"{number}.txt").write_text("x" * 10_000)
            time.sleep(0.02)
        return {}

    cache.folder("things", {"a": 1}, build)


SPAWN = multiprocessing.get_context("spawn")


def start(target, *arguments):
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def test_processes_side_by_side_build_once(own_cache, tmp_path):
    log, ready = tmp_path / "log", SPAWN.Barrier(4)
    processes = [start(fill, own_cache, log, ready) for _ in range(4)]
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
        assert sorted(path.name for path in target.iterdir()) == complete
        assert [path.name for path in target.parent.glob("files-*")] == [target.name]
        cache.drop(target)


def test_what_is_there_is_found_without_writing_and_without_a_lock(own_cache, monkeypatch):
    target = cache.folder("things", {"a": 1}, Builder())
    monkeypatch.setattr(cache, "place", None)
    assert cache.folder("things", {"a": 1}, Builder()) == target


def test_checksums_are_compared_unless_asked_not_to(own_cache):
    target = cache.folder("things", {"a": 1}, Builder())
    (target / "file.txt").write_text("contenT")
    assert cache.folder("things", {"a": 1}, Builder(), verify=False) == target
    with pytest.warns(cache.CacheWarning, match=r"file.txt is damaged"):
        assert cache.folder("things", {"a": 1}, Builder()) != target


def test_a_folder_that_cannot_be_written_names_the_setting(own_cache, monkeypatch):
    (own_cache / "file").write_text("")
    monkeypatch.setattr(settings, "_current", settings.Settings(cache_dir=own_cache / "file" / "cache"))
    with pytest.raises(cache.CacheFolderError, match=r"file/cache cannot be written.*SEMSEARCH_CACHE_DIR.*cache_dir="):
        cache.folder("things", {"a": 1}, Builder())
