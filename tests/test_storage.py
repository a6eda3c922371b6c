"""What saved indexes, prepared corpora and the cache have in common: nothing is lost, and nothing damaged is used."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from semsearch_nb import datasets, exact, indexes, storage

SPAWN = multiprocessing.get_context("spawn")
VECTORS = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
STORE = storage.Store("thing", 3, "make it again")
OURS = f"files-{7:032x}"


def write(text="content", **about):
    def write_files(files):
        (files / "inner").mkdir()
        (files / "manifest.json").write_text(text)  # any name is safe
        (files / "inner" / "b.txt").write_text("more")
        return about

    return write_files


def read(files, about):
    return (files / "manifest.json").read_text()


def save_index(folder, n=400):
    return indexes.FaissFlat().build(VECTORS[:n]).save(folder)


FIRST_PASS = "bfloat16"  # whose product is right on every processor, so that there are codes to save


def save_prepared(folder, n=400, scale=3):
    return exact.prepare(scale * VECTORS[:n], first_pass=FIRST_PASS).save(folder)


SAVES = {"index": (save_index, indexes.load), "prepared": (save_prepared, exact.load)}
both = pytest.mark.parametrize(("save", "load"), SAVES.values(), ids=SAVES)


# Whose folder it is


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "one file": {"thesis.txt": "years of work"},
    "a web app": {"manifest.json": '{"name": "my web app"}', "files-2024/thesis.txt": "years of work"},
    "a manifest": {"manifest.json": '{"name": "my web app"}'},
    "a list": {"manifest.json": "[]"},
    "no JSON": {"manifest.json": "%PDF"},
    "an album": {"files-2024/thesis.txt": "years of work"},
    "nearly our names": {f"{OURS}0/a": "", f"{OURS}.txt": "", f"files-{'G' * 32}/b": ""},
    "an early cache": {"manifest.json": '{"key": {}, "files": {}, "notes": {}}'},
}


@both
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_ours_is_neither_overwritten_nor_deleted(name, save, load, tmp_path):
    for file, text in FOREIGN[name].items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match="choose a folder of its own"):
        save(tmp_path)
    with pytest.raises(storage.StorageError):
        load(tmp_path)
    assert snapshot(tmp_path) == before


def test_an_index_and_a_prepared_corpus_do_not_overwrite_each_other(tmp_path):
    save_index(tmp_path / "index"), save_prepared(tmp_path / "prepared")
    with pytest.raises(FileExistsError, match="here is a saved prepared corpus, not a saved index"):
        save_index(tmp_path / "prepared")
    with pytest.raises(FileExistsError, match="here is a saved index, not a saved prepared corpus"):
        save_prepared(tmp_path / "index")
    with pytest.raises(indexes.IndexFileError, match="here is a saved prepared corpus, not a saved index"):
        indexes.load(tmp_path / "prepared")
    with pytest.raises(FileExistsError, match="is a file"):
        save_index(tmp_path / "index" / "manifest.json")


@both
def test_a_save_replaces_the_one_before_and_what_killed_saves_have_left(save, load, tmp_path):
    folder = tmp_path / "new" / "folder"
    (folder / OURS).mkdir(parents=True)
    (folder / OURS / "half").write_text("half")
    (folder / f"{OURS}.json").write_text("{")
    for n in (400, 300):
        assert save(folder, n) == folder
        assert len(load(folder)) == n and len([*folder.glob("files-*")]) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


DIES = """
import os, sys
import numpy as np
from semsearch_nb import exact
save = np.save
def dies(file, *arguments, **options):
    save(file, *arguments, **options)
    if "codes" in str(file):
        os._exit(9)
np.save = dies
exact.prepare(np.eye(64, dtype="f4")).save(sys.argv[1])
"""


def test_a_prepared_corpus_whose_save_was_killed_is_none_and_is_tidied_up(tmp_path):
    folder = tmp_path / "corpus"
    assert subprocess.run([sys.executable, "-c", DIES, str(folder)], check=False).returncode == 9
    assert [*folder.glob("files-*")]
    with pytest.raises(FileNotFoundError, match="its first save was cut off"):
        exact.load(folder)
    save_prepared(folder)
    assert len(exact.load(folder)) == 400 and len([*folder.glob("files-*")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002])
def test_the_umask_is_respected(mask, tmp_path):
    before = os.umask(mask)
    try:
        STORE.save(tmp_path / "folder", write())
    finally:
        os.umask(before)
    paths = [path for path in (tmp_path / "folder", *(tmp_path / "folder").rglob("*")) if path.name != storage.LOCK]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert all(mode == (0o777 if path.is_dir() else 0o666) & ~mask for path, mode in modes.items()), modes


@pytest.mark.parametrize("change", [os.path.relpath, str, lambda path: "~" + str(path)[len(str(Path.home())) :]])
def test_home_is_meant_by_a_tilde_everywhere(change, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path)), monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for save, load in SAVES.values():
        folder = tmp_path / save.__name__
        assert save(change(folder)) == folder and len(load(change(folder))) == 400
    mine = tmp_path / "mine"
    (mine / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        (mine / f"{name}.jsonl").write_text('{"_id": "1", "text": "one"}\n')
    (mine / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")
    assert datasets.load(change(mine) if "/" in change(mine) else mine).document_ids == ["1"]
    assert not (tmp_path / "~").exists()


# What is used


def one_file(folder, name):
    (file,) = folder.glob(f"files-*/{name}")
    return file


ARRAYS = [field for field in exact.Prepared.__dataclass_fields__ if field not in ("score", "first_pass")]


@both
def test_every_damaged_cut_or_missing_file_is_noticed(save, load, tmp_path):
    folder = save(tmp_path / "folder")
    for file in sorted(folder.glob("files-*/*")):
        content = file.read_bytes()
        changed = bytearray(content)
        changed[-1] ^= 1
        for damaged in (bytes(changed), content[: len(content) // 2], b""):
            file.write_bytes(damaged)
            with pytest.raises(storage.StorageError, match=f"{file.name} is damaged"):
                load(folder)
        file.unlink()
        for options in ({}, {"verify": False}):
            with pytest.raises(storage.StorageError, match=f"{file.name} is missing"):
                load(folder, **options)
        with pytest.raises(FileNotFoundError):
            load(folder)
        file.write_bytes(content)
    assert len(load(folder)) == 400


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": 99}, "the layout is 99, this version reads"),
        ({"layout": None}, "is not that of a saved"),
        ({"folder": "../other"}, "is not that of a saved"),
        ({"folder": None}, "is not that of a saved"),
        ({"files": None}, "is not that of a saved"),
        ({"files": {}}, "is not listed in manifest.json"),
        ({"files": {"../../other/file": "0"}}, "a file outside the folder"),
        ({"files": {"/etc/passwd": "0"}}, "a file outside the folder"),
        ({"files": {"..\\\\other": "0"}}, "a file outside the folder"),
        ({"files": {"C:other": "0"}}, "a file outside the folder"),
    ],
)
def test_a_manifest_that_is_not_as_a_save_writes_it_is_refused(change, message, save, load, tmp_path):
    manifest = save(tmp_path / "folder") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(storage.StorageError, match=message):
        load(tmp_path / "folder")


@both
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "3", '"text"', "\x00", '{"layout": 1}'])
def test_a_manifest_that_is_cut_or_none_is_refused(text, save, load, tmp_path):
    (save(tmp_path / "folder") / "manifest.json").write_text(text)
    with pytest.raises(storage.StorageError, match=r"folder: manifest.json (cannot be read|is not that of a saved)"):
        load(tmp_path / "folder")


@both
def test_a_manifest_without_one_of_its_entries_is_refused(save, load, tmp_path):
    manifest = save(tmp_path / "folder") / "manifest.json"
    about = json.loads(manifest.read_text())
    for entry in about.keys() - {"content"}:
        for changed in ({key: value for key, value in about.items() if key != entry}, about | {entry: ["?"]}):
            manifest.write_text(json.dumps(changed))
            harmless = entry in changed and entry == "model"
            with contextlib.nullcontext() if harmless else pytest.raises(storage.StorageError, match=tmp_path.name):
                load(tmp_path / "folder")


def test_a_file_that_no_save_has_written_is_refused(tmp_path):
    folder = save_index(tmp_path / "folder")
    (one_file(folder, "index.faiss").parent / ".DS_Store").write_text("")  # of a file manager
    assert len(indexes.load(folder)) == 400
    (one_file(folder, "index.faiss").parent / "other.json").write_text("[]")
    with pytest.raises(indexes.IndexFileError, match=r"other.json is not listed"):
        indexes.load(folder)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_another_shape_or_type_is_noticed_without_checksums(name, tmp_path):
    folder = save_prepared(tmp_path / "folder")
    file = one_file(folder, f"{name}.npy")
    array = np.load(file)
    for other in (array[:-1], array.astype(np.float16), array[None]):
        np.save(file, other)
        with pytest.raises(ValueError, match=f"{name}.npy is .*was saved"):
            exact.load(folder, verify=False)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        exact.load(folder, verify=False)


def test_codes_of_another_corpus_are_noticed(tmp_path):
    one, other = save_prepared(tmp_path / "one"), save_prepared(tmp_path / "other", scale=-3)
    shutil.copy(one_file(other, "codes.npy"), one_file(one, "codes.npy"))
    with pytest.raises(ValueError, match=r"codes.npy is damaged"):
        exact.load(one)
    assert len(exact.load(one, verify=False)) == 400  # as asked


@pytest.mark.parametrize(
    ("release", "loads"), [("1.15.99", True), ("1.15", True), ("1.14.1", False), ("2.15.1", False), ("", False)]
)
def test_releases_of_a_library_are_compared_without_their_patches(release, loads, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda library: "1.15.1")
    manifest = save_index(tmp_path / "index") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": release}))
    if loads:
        assert len(indexes.load(manifest.parent)) == 400
    else:
        with pytest.raises(indexes.IndexFileError, match=r"and 1.15.1 is installed.*any_version=True"):
            indexes.load(manifest.parent)
        assert len(indexes.load(manifest.parent, any_version=True)) == 400


def test_the_release_of_semsearch_does_not_matter(tmp_path):
    manifest = indexes.Exact().build(VECTORS).save(tmp_path / "index") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "99.0"}))
    assert len(indexes.load(manifest.parent)) == 400


def test_a_library_that_is_not_installed_is_named(tmp_path):
    manifest = save_index(tmp_path / "index") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"library": "no-such"}))
    with pytest.raises(indexes.IndexFileError, match=r"written by no-such .* no version of it is installed"):
        indexes.load(manifest.parent)


# The order of the steps


@both
def test_what_is_interrupted_after_the_last_step_stays(save, load, tmp_path, monkeypatch):
    folder, replace = save(tmp_path / "folder"), os.replace

    def interrupted(*arguments):
        replace(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(folder, 300)
    monkeypatch.undo()
    assert len(load(folder)) == 300
    save(folder, 200)
    assert len(load(folder)) == 200 and len([*folder.glob("files-*")]) == 1


@both
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_is_interrupted_before_the_last_step_changes_nothing(step, save, load, tmp_path, monkeypatch):
    folder = save(tmp_path / "folder")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(folder, 300)
    monkeypatch.undo()
    assert len(load(folder)) == 400
    assert step == "replace" or len([*folder.glob("files-*")]) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fails(files):
        (files / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        STORE.save(tmp_path / "folder", fails)
    with pytest.raises(TypeError, match="JSON"):
        STORE.save(tmp_path / "folder", write(array=VECTORS))
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [storage.LOCK]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a descriptor is")
def test_everything_is_on_the_disk_before_the_manifest_and_that_before_anything_is_deleted(tmp_path, monkeypatch):
    steps = []
    fsync, replace, rmtree = os.fsync, os.replace, shutil.rmtree
    name = lambda path: Path(path).name if Path(path).name != "folder" else "the folder"  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda d: (steps.append(name(os.readlink(f"/proc/self/fd/{d}"))), fsync(d)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: (steps.append("delete"), rmtree(path)))
    STORE.save(tmp_path / "folder", write())
    steps.clear()
    files = json.loads((STORE.save(tmp_path / "folder", write()) / "manifest.json").read_text())["folder"]
    assert set(steps[:-3]) == {"manifest.json", "b.txt", "inner", files, f"{files}.json", "the folder"}
    assert steps[-3:] == ["replace", "the folder", "delete"]


# Readers and writers beside each other


def save_until(name, folder, stop, done, n):
    vectors = np.random.default_rng(0).normal(size=(2_000, 64)).astype("f4")
    saved = indexes.FaissFlat().build(vectors[:n]) if name == "index" else exact.prepare(vectors[:n])
    while not stop.is_set():
        saved.save(folder)
        done.value += 1
        time.sleep(0.1)  # waiting for a lock is looking at it 20 times a second


@pytest.mark.parametrize("name", SAVES)
def test_one_process_loads_while_two_save(name, tmp_path):
    save, load = SAVES[name]
    folder = save(tmp_path / "folder")
    stop, counts = SPAWN.Event(), [SPAWN.Value("i", 0) for _ in range(2)]
    sizes = (400, 1_500, 2_000)
    writers = [
        SPAWN.Process(target=save_until, args=(name, folder, stop, count, n))
        for count, n in zip(counts, sizes[1:], strict=True)
    ]
    for writer in writers:
        writer.start()
    try:
        loads, deadline = 0, time.monotonic() + 60
        while (loads < 200 or min(count.value for count in counts) < 3) and time.monotonic() < deadline:
            assert len(load(folder)) in sizes  # any error here is a reader that a writer has disturbed
            loads += 1
        assert loads > 50 and all(count.value for count in counts)
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len([*folder.glob("files-*")]) == 1


def test_a_reader_whose_files_are_replaced_reads_the_new_ones(tmp_path):
    folder, seen = STORE.save(tmp_path / "folder", write("old")), []

    def disturbed(files, about):
        seen.append(read(files, about))
        if len(seen) < 3:
            STORE.save(folder, write(f"new {len(seen)}"))
            raise RuntimeError("what a library says of a file that is gone")
        return seen

    assert STORE.load(folder, disturbed) == ["old", "new 1", "new 2"]


def test_an_error_that_no_save_explains_is_told_once(tmp_path):
    folder, calls = STORE.save(tmp_path / "folder", write()), []

    def fails(error):
        def read_files(files, about):
            calls.append(files)
            raise error

        return read_files

    with pytest.raises(storage.StorageError, match=r"folder: the files cannot be read \(RuntimeError: odd\); make it"):
        STORE.load(folder, fails(RuntimeError("odd")))
    for error in (ImportError("pip install it"), MemoryError()):  # not the fault of the files
        with pytest.raises(type(error)):
            STORE.load(folder, fails(error))
    assert len(calls) == 3


def test_a_reader_writes_nothing(tmp_path):
    folder = STORE.save(tmp_path / "folder", write())
    (folder / storage.LOCK).unlink()
    before = snapshot(folder)
    assert STORE.load(folder, read) == "content"
    assert snapshot(folder) == before
