"""Embedded stores: what changes, what is refused, what a kill leaves, and that no filter leaks."""

import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("lancedb", reason='needs the extra: pip install "semsearch-nb[stores]"')
pytest.importorskip("sqlite_vec", reason='needs the extra: pip install "semsearch-nb[stores]"')

from semsearch_nb import stores
from semsearch_nb.datasets import Document
from semsearch_nb.stores import lance, sqlite
from semsearch_nb.stores.base import StoreError
from semsearch_nb.teaching import exercises
from semsearch_nb.vectors import unit_rows

KINDS = (stores.SqliteStore, stores.LanceStore)
FIELDS = {"topic": "text", "year": "integer", "weight": "float", "open": "boolean"}
DIMENSION = 8


def vector_of(text):
    return np.random.default_rng(list(text.encode())).normal(size=DIMENSION).astype(np.float32)


class Counting:
    """Encodes, and counts what it had to read."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return np.stack([vector_of(text) for text in texts])


def document(number, text=None, **fields):
    about = {"topic": "abc"[number % 3], "year": 1900 + number, "weight": number / 2, "open": number % 2 == 0}
    return Document(f"d{number}", text or f"about tides, number {number}", f"Title {number}", about | fields)


DOCUMENTS = [document(number) for number in range(40)]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def opened(kind, path, *, identity="toy@1", fields=FIELDS, encode=None, dimension=DIMENSION):
    return kind(path, stores.Encoder(identity, dimension, encode or Counting()), fields)


@pytest.fixture
def store(kind, tmp_path):
    store = opened(kind, tmp_path / "store")
    store.write(DOCUMENTS)
    store.encoder.encode.texts.clear()
    yield store
    store.close()


def found(store, text, k=3, **options):
    return store.search(vector_of(text)[None], k, **options).indices[0].tolist()


def test_only_changed_texts_are_encoded(store):
    changed = [
        *DOCUMENTS[:30],
        replace(DOCUMENTS[30], text="about rivers"),
        replace(DOCUMENTS[31], metadata=DOCUMENTS[31].metadata | {"year": 5}),
        document(100),
        document(101, text=document(100).text),
    ]
    assert store.write(changed, delete=["d35", "d36", "not there"]) == (2, 1, 1, 30, 2, 3)
    assert store.encoder.encode.texts == [d.full_text for d in (changed[30], *changed[32:])]
    assert len(store) == 40 and store.problems() == []
    assert store.documents(["d31"])[0].metadata["year"] == 5
    assert store.write(changed) == (0, 0, 0, 34, 0, 0)
    assert store.write([]) == (0,) * 6
    assert str(store.write([document(200)])) == "1 added, 1 encoded"


def test_a_title_is_a_part_of_what_is_encoded(store):
    renamed = replace(DOCUMENTS[3], title="Another title")
    assert store.write([renamed]) == (0, 1, 0, 0, 0, 1)
    assert found(store, renamed.full_text, 1) == ["d3"] and store.problems() == []


def test_a_text_never_gets_the_vector_of_another_that_is_written_meanwhile(store, monkeypatch):
    other, held = opened(type(store), store.path), store._held

    def held_before_another_write(ids):
        hashes = held(ids)
        other.write([replace(DOCUMENTS[3], text="about rivers")])
        return hashes

    monkeypatch.setattr(store, "_held", held_before_another_write)
    moved = replace(DOCUMENTS[3], metadata=DOCUMENTS[3].metadata | {"year": 5})
    assert store.write([moved]) == (0, 1, 0, 0, 0, 1)
    assert store.documents(["d3"]) == [moved]
    hits = store.search(vector_of(moved.full_text)[None], 1)
    assert hits.indices.tolist() == [["d3"]] and hits.scores[0, 0] == pytest.approx(1, abs=1e-5)


def test_a_write_that_fails_in_the_middle_changes_nothing(tmp_path):
    store = opened(stores.SqliteStore, tmp_path / "store")
    store.write(DOCUMENTS)
    store.connection.execute(
        "create trigger full before insert on documents when new.id = 'd105' begin select raise(abort, 'full'); end"
    )
    with pytest.raises(sqlite.library().DatabaseError, match="full"):
        store.write([replace(DOCUMENTS[2], text="new"), *map(document, range(100, 110))], delete=["d1"])
    assert store.documents() == sorted(DOCUMENTS, key=lambda d: d.id) and store.problems() == []
    assert opened(stores.SqliteStore, store.path).ids() == store.ids()


def test_equal_vectors_come_in_the_order_of_their_ids(tmp_path):
    store = opened(stores.SqliteStore, tmp_path / "store")
    ids = [f"d{10 + 8 * number % 21}" for number in range(21)]
    store.write([replace(DOCUMENTS[0], id=key) for key in ids])
    assert found(store, "tides", len(ids)) == sorted(ids)


def test_what_was_written_comes_back(store):
    assert store.ids() == sorted(d.id for d in DOCUMENTS)
    assert store.documents(["d7", "d2"]) == [DOCUMENTS[7], DOCUMENTS[2]]
    assert store.documents() == sorted(DOCUMENTS, key=lambda d: d.id)
    with pytest.raises(KeyError, match="no document 'x'"):
        store.documents(["d1", "x"])


def test_sync_makes_the_store_equal_to_a_list(store):
    assert store.sync(DOCUMENTS[5:]) == (0, 0, 0, 35, 5, 0)
    assert store.sync([]) == (0, 0, 0, 0, 35, 0)
    assert len(store) == 0 and store.problems() == []
    assert found(store, "anything") == [None] * 3


def test_search_is_exact_cosine(store):
    queries = np.random.default_rng(3).normal(size=(5, DIMENSION))
    corpus = unit_rows(np.stack([vector_of(d.full_text) for d in DOCUMENTS]), "corpus")
    cosines = unit_rows(queries, "queries") @ corpus.T
    hits = store.search(queries, 40)
    order = np.argsort(-cosines, axis=1)
    assert hits.indices.tolist() == [[DOCUMENTS[row].id for row in line] for line in order]
    np.testing.assert_allclose(hits.scores, np.take_along_axis(cosines, order, 1), atol=1e-5)
    assert hits.holds == "ids"
    assert store.search(queries, 45).found.sum(axis=1).tolist() == [40] * 5


PASSING = [
    ({"topic": "a"}, lambda m: m["topic"] == "a"),
    ({"topic": ["a", "b"], "year": {"gte": 1910}}, lambda m: m["topic"] in "ab" and m["year"] >= 1910),
    ({"year": {"gte": 1905, "lte": 1907}}, lambda m: 1905 <= m["year"] <= 1907),
    ({"weight": {"lte": 2}, "open": True}, lambda m: m["weight"] <= 2 and m["open"]),
    ({"open": [False]}, lambda m: not m["open"]),
    ({"topic": []}, lambda m: False),
    ({"topic": "z"}, lambda m: False),
    ({}, lambda m: True),
    (None, lambda m: True),
]


@pytest.mark.parametrize(("where", "passes"), PASSING, ids=lambda value: str(value) if not callable(value) else "")
def test_a_filter_lets_through_what_it_says_and_nothing_else(store, where, passes):
    expected = {d.id for d in DOCUMENTS if passes(d.metadata)}
    for k in {40, len(expected) or 1}:  # also where as many are asked for as pass
        assert set(found(store, "tides", k, where=where)) - {None} == expected
        by_words = store.search_text(["number tides"], k, where=where).indices[0]
        assert set(by_words) - {None} == expected


GROUPS = st.text(max_size=12).filter(lambda text: "\0" not in text and text.encode("utf-8", "ignore").decode() == text)
ATTACKS = st.sampled_from(["' or '1'='1", '" or 1=1 --', "a') or ('1'='1", "%", "a%", "*", "null", "true", "A", "a "])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Both kinds of store, whose documents each belong to one group."""
    folder = tmp_path_factory.mktemp("guarded")
    made = [opened(kind, folder / kind.__name__) for kind in KINDS]
    for one in made:
        one.write(DOCUMENTS)
    return made


@given(groups=st.lists(st.one_of(GROUPS, ATTACKS, st.sampled_from("abc")), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_list_of_groups_shows_a_document_of_another_group(guarded, groups):
    allowed = {d.id for d in DOCUMENTS if d.metadata["topic"] in groups}
    for store in guarded:
        assert set(found(store, "tides", 40, where={"topic": groups})) - {None} == allowed
        assert set(store.search_text(["tides"], 40, where={"topic": groups}).indices[0]) - {None} == allowed


def test_words_find_what_vectors_cannot(store):
    store.write([document(50, text="a text on zymurgy")])
    asked = ["Zymurgy!", "…", 'the tides\' NUMBER "7" OR (']
    assert store.search_text(asked, 1).indices[:, 0].tolist() == ["d50", None, "d7"]
    store.write(delete=["d50"])
    assert store.search_text(["zymurgy"], 1).indices.tolist() == [[None]]


def test_words_are_found_before_and_after_the_index_takes_them_in(kind, tmp_path):
    store = opened(kind, tmp_path / "store")
    store.write([document(number) for number in range(250)])
    store.write([document(number) for number in range(250, 500)])  # of LanceDB, past what may stay unindexed
    store.write([replace(document(7), text="a text on zymurgy")])
    assert store.search_text(["zymurgy"], 2).indices.tolist() == [["d7", None]]
    assert store.search_text(["number 7 tides", "number 499 tides"], 1).indices[1:].tolist() == [["d499"]]
    assert store.problems() == []


def holds(path, wanted):
    """Whether any file of a store holds these bytes."""
    return any(wanted in file.read_bytes() for file in path)


def test_what_is_deleted_is_in_no_file_after_compacting(store):
    secret = document(60, text="the password is xyzzyplugh")
    store.write([secret])
    bytes_ = unit_rows(vector_of(secret.full_text)[None], "it").tobytes()[:16]
    store.write(delete=["d60"])
    assert store.search_text(["xyzzyplugh"], 1).indices.tolist() == [[None]]
    assert found(store, secret.full_text, 1) != ["d60"]
    store.compact()
    assert not holds(store.files(), b"xyzzyplugh") and not holds(store.files(), bytes_)
    assert len(store) == 40 and store.problems() == []


def test_a_backup_is_a_store_of_its_own(store, tmp_path):
    copy = store.backup(tmp_path / "backups" / "one")
    store.write([document(70)], delete=["d1"])
    restored = opened(type(store), copy)
    assert restored.documents() == sorted(DOCUMENTS, key=lambda d: d.id)
    assert restored.problems() == []
    assert found(restored, DOCUMENTS[1].full_text, 1) == ["d1"]
    assert restored.search_text(["number 1 tides"], 40).found.sum() == 40
    with pytest.raises(FileExistsError, match="name another place"):
        store.backup(copy)


def test_another_handle_sees_a_commit_at_once(store):
    other = opened(type(store), store.path)
    store.write([document(80)], delete=["d0"])
    assert "d80" in other.ids() and "d0" not in other.ids()
    assert found(other, document(80).full_text, 1) == ["d80"]


def test_a_store_opens_while_another_process_commits(tmp_path, monkeypatch):
    store = opened(stores.SqliteStore, tmp_path / "store")
    store.write(DOCUMENTS)
    monkeypatch.setattr(sqlite, "WAIT", 0.1)
    with store._transaction():
        store.connection.execute("delete from documents")
        assert len(opened(stores.SqliteStore, store.path)) == 40


@pytest.mark.parametrize("step", ["create_table", "create_index"])
def test_a_store_that_a_stop_left_half_made_is_completed_when_it_is_opened(tmp_path, monkeypatch, step):
    from lancedb import LanceDBConnection
    from lancedb.table import LanceTable

    of = LanceDBConnection if step == "create_table" else LanceTable
    done = getattr(of, step)

    def stop_after(*args, **options):
        done(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(of, step, stop_after)
        with pytest.raises(KeyboardInterrupt):
            opened(stores.LanceStore, tmp_path / "store")
    writers = [opened(stores.LanceStore, tmp_path / "store") for _ in range(2)]
    assert sorted(index.columns for index in writers[0].table.list_indices()) == [["full_text"], ["id"]]
    for writer in writers:  # neither knows of the other's commit
        writer.table = lance.library().connect(str(writer.path)).open_table(lance.TABLE)
    assert [writer.write([document(1)]).added for writer in writers] == [1, 1]
    assert len(opened(stores.LanceStore, tmp_path / "store")) == 1


def test_several_can_make_one_store_at_once(kind, tmp_path):
    def write(number):
        store = opened(kind, tmp_path / "store")
        store.write([document(number)])
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = opened(kind, tmp_path / "store")
    assert len(store) == 4 and store.problems() == []


def test_a_swap_is_one_step(store, kind, tmp_path, monkeypatch):
    pointer = tmp_path / "current.json"
    with pytest.raises(StoreError, match="names no store"):
        stores.current(pointer)
    stores.set_current(pointer, store)
    assert stores.current(pointer) == store.path
    newer = opened(kind, tmp_path / "newer", identity="other@2", dimension=4, encode=lambda t: np.ones((len(t), 4)))
    with pytest.raises(StoreError, match="is empty"):
        stores.set_current(pointer, newer)
    assert stores.current(pointer) == store.path
    newer.sync(store.documents())
    stores.set_current(pointer, newer)
    assert stores.current(pointer) == newer.path
    assert newer.documents() == store.documents()
    steps = []
    monkeypatch.setattr(os, "fsync", lambda descriptor, do=os.fsync: (steps.append("to disk"), do(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths, do=os.replace: (steps.append("in place"), do(*paths)))
    stores.set_current(pointer, store)
    assert steps == ["to disk", "in place"] and stores.current(pointer) == store.path
    pointer.write_text("[]")
    with pytest.raises(StoreError, match="TypeError"):
        stores.current(pointer)


BAD_DOCUMENTS = [
    (["a text"], TypeError, r"must be datasets.Document, not str"),
    ([replace(document(1), id="")], TypeError, "not empty"),
    ([replace(document(1), id=7)], TypeError, "must be a string that is not empty, not 7"),
    ([document(1), document(1)], ValueError, "'d1' occurs twice"),
    ([Document("d1", "  ", "", document(1).metadata)], ValueError, "neither title nor text"),
    ([replace(document(1), text=None)], TypeError, "must be a string, not NoneType"),
    ([replace(document(1), text="half \ud800")], ValueError, "surrogate"),
    ([replace(document(1), metadata={"topic": "a"})], ValueError, "lacks the field 'year'"),
    ([document(1, year="1900")], TypeError, "'year' holds values of type integer, not '1900'"),
    ([document(1, year=True)], TypeError, "'year' holds values of type integer, not True"),
    ([document(1, year=2**63)], ValueError, "'year' cannot hold"),
    ([document(1, weight=float("nan"))], ValueError, "'weight' cannot hold nan"),
    ([document(1, topic=None)], TypeError, "'topic' holds values of type text, not None"),
]


@pytest.mark.parametrize(("documents", "error", "said"), BAD_DOCUMENTS, ids=lambda value: str(value)[:40])
def test_a_bad_document_is_refused_and_nothing_is_written(store, documents, error, said):
    with pytest.raises(error, match=said):
        store.write([document(90), *documents])
    assert len(store) == 40 and store.encoder.encode.texts == []


BAD_CALLS = [
    (lambda s: s.write(delete="d1"), TypeError, "not one string"),
    (lambda s: s.write(delete=[1]), TypeError, "must be a string"),
    (lambda s: s.write([document(1)], delete=["d1"]), ValueError, "to be written and to be deleted"),
    (lambda s: s.search(np.ones((1, DIMENSION + 1))), ValueError, "9 dimensions and the store has 8"),
    (lambda s: s.search(np.full((1, DIMENSION), np.nan)), ValueError, "NaN"),
    (lambda s: s.search(np.zeros((1, DIMENSION))), ValueError, "zero"),
    (lambda s: s.search(np.ones((1, DIMENSION)), 0), ValueError, "k must be at least 1"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where="topic = 'a'"), TypeError, "where must be a dictionary"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where={"colour": "red"}), ValueError, "names the field 'colour'"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where={"year": "1900"}), TypeError, "type integer, not '1900'"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where={"year": {"gt": 1}}), ValueError, "a range of 'year'"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where={"year": {}}), ValueError, "a range of 'year'"),
    (lambda s: s.search(np.ones((1, DIMENSION)), where={"topic": None}), TypeError, "not None"),
    (lambda s: s.search_text("one string"), TypeError, "not one string"),
    (lambda s: s.search_text(["tides"], 0), ValueError, "k must be at least 1"),
]


@pytest.mark.parametrize("number", range(len(BAD_CALLS)))
def test_a_bad_call_gets_an_error_that_names_what_is_wrong(store, number):
    call, error, said = BAD_CALLS[number]
    with pytest.raises(error, match=said):
        call(store)
    assert len(store) == 40


@pytest.mark.parametrize(
    ("encode", "said"),
    [
        (lambda texts: np.ones((1, DIMENSION)), r"\(2, 8\) was expected"),
        (lambda texts: np.ones((len(texts), 3)), r"\(2, 8\) was expected"),
        (lambda texts: np.zeros((len(texts), DIMENSION)), "zero"),
        (lambda texts: np.full((len(texts), DIMENSION), np.nan), "NaN"),
    ],
)
def test_an_encoder_that_returns_something_else_is_refused(kind, tmp_path, encode, said):
    store = opened(kind, tmp_path / "store", encode=encode)
    with pytest.raises(ValueError, match=said):
        store.write([document(1), document(2)])
    assert len(store) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"identity": "toy@2"}, r"holds vectors of toy \(1\), not of toy \(2\)"),
        ({"identity": "other"}, "not of 'other'"),
        ({"dimension": 9}, "holds vectors of"),
        ({"fields": {"topic": "text"}}, "has the fields"),
    ],
)
def test_a_store_opens_for_its_own_model_and_fields_alone(store, options, said):
    with pytest.raises(StoreError, match=said):
        opened(type(store), store.path, **options)
    assert len(opened(type(store), store.path)) == 40


def test_a_store_that_is_refused_is_closed(kind, tmp_path, monkeypatch):
    opened(kind, tmp_path / "store").close()
    closed = []
    monkeypatch.setattr(kind, "close", lambda store, do=kind.close: (closed.append(store), do(store)))
    for options in ({"identity": "other"}, {"fields": {}}):
        with pytest.raises(StoreError):
            opened(kind, tmp_path / "store", **options)
    assert len(closed) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "text"}, "no field can be called 'id'"),
        ({'a" text); drop table documents; --': "text"}, "no field can be called"),
        ({"Year": "integer"}, "no field can be called 'Year'"),
        ({"year": "int"}, "one of the types text, integer, float, boolean, not 'int'"),
    ],
)
def test_a_bad_field_is_refused_before_anything_is_made(kind, tmp_path, fields, said):
    with pytest.raises(ValueError, match=said):
        opened(kind, tmp_path / "store", fields=fields)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("no database " * 100)
    with pytest.raises(StoreError, match="is a folder"):
        opened(stores.SqliteStore, tmp_path / "folder")
    with pytest.raises(StoreError, match="cannot be read as a store"):
        opened(stores.SqliteStore, tmp_path / "file")
    with pytest.raises(StoreError, match="is a file"):
        opened(stores.LanceStore, tmp_path / "file")
    other = sqlite.connect(tmp_path / "other")
    other.execute("create table of_somebody (x)")
    other.close()
    with pytest.raises(StoreError, match="something else"):
        opened(stores.SqliteStore, tmp_path / "other")


def test_a_store_of_another_layout_is_refused(tmp_path):
    store = opened(stores.SqliteStore, tmp_path / "store")
    (text,) = store.connection.execute("select value from about").fetchone()
    store.connection.execute("update about set value = ?", [json.dumps(json.loads(text) | {"layout": 0})])
    store.close()
    with pytest.raises(StoreError, match="layout 0"):
        opened(stores.SqliteStore, tmp_path / "store")


def test_sqlite_says_how_many_hits_it_can_find(tmp_path):
    store = opened(stores.SqliteStore, tmp_path / "store")
    store.write(DOCUMENTS)
    with pytest.raises(ValueError, match="at most 4,096"):
        store.search(np.ones((1, DIMENSION)), 5_000)


def test_damage_is_found(tmp_path):
    store = opened(stores.SqliteStore, tmp_path / "store")
    store.write(DOCUMENTS)
    store.connection.execute("update documents set text = 'another' where id = 'd3'")
    store.connection.execute("delete from vectors where rowid = (select rowid from documents where id = 'd4')")
    store.connection.execute("delete from documents where id = 'd5'")
    assert set(store.problems()) == {
        "1 rows of vectors have no document",
        "1 rows of words have no document",
        "'d3' is not what was written",
        "'d4' has no vector of length 1",
    }
    lance = opened(stores.LanceStore, tmp_path / "folder")
    lance.write(DOCUMENTS)
    lance.table.add(lance.table.search().where("id = 'd3'").to_arrow().select(lance.table.schema.names))
    assert lance.problems() == ["'d3' is there 2 times"]


def test_a_library_that_is_missing_is_named(monkeypatch, tmp_path):
    sqlite.library.cache_clear()
    monkeypatch.setattr(sqlite.importlib, "import_module", lambda name: type("cut", (), {"Connection": object}))
    with pytest.raises(ImportError, match="pip install pysqlite3"):
        opened(stores.SqliteStore, tmp_path / "store")
    sqlite.library.cache_clear()
    monkeypatch.undo()
    for module, kind in (("lancedb", stores.LanceStore), ("sqlite_vec", stores.SqliteStore)):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, module, None)
            with pytest.raises(ImportError, match=r"semsearch-nb\[stores\]"):
                opened(kind, tmp_path / "store")


BEFORE = {d.id: d.text for d in DOCUMENTS}
CHANGED = [replace(d, text=d.text + ", changed") for d in DOCUMENTS[:15]] + [document(n) for n in range(100, 115)]
GONE = [d.id for d in DOCUMENTS[30:]]
AFTER = {key: text for key, text in BEFORE.items() if key not in GONE} | {d.id: d.text for d in CHANGED}


def test_a_killed_write_leaves_the_old_state_or_the_new_one(store):
    draws = np.random.default_rng(0).uniform(0, 0.15, size=6)
    for seconds in draws:
        said = stores.killed_after(float(seconds), store, CHANGED, delete=GONE)
        held = {d.id: d.text for d in store.documents()}
        assert held == AFTER if said else held in (BEFORE, AFTER)
        assert store.problems() == []
        store.sync(DOCUMENTS)
    assert stores.killed_after(60, store, CHANGED, delete=GONE) == (15, 15, 0, 0, 10, 30)
    assert {d.id: d.text for d in store.documents()} == AFTER


def test_the_parent_is_told_where_the_other_process_cannot_write(store):
    store.fields = {"topic": "text"}  # so that it is refused
    with pytest.raises(RuntimeError, match="ended before it had written"):
        stores.killed_after(1, store, CHANGED)


def test_writes_that_begin_together_all_count(store):
    parts = [[document(1_000 * number + place) for place in range(10)] for number in range(1, 4)]
    said = stores.written_together(store, [[*part, document(5, text=f"of {n}")] for n, part in enumerate(parts)])
    assert [(changes.added, changes.changed) for changes in said] == [(10, 1)] * 3
    assert len(store) == 70 and store.problems() == []


def repeatedly(kind, path, number, barrier):
    store = opened(kind, path)
    barrier.wait()
    for turn in range(5):
        own = [document(1_000 * (number + 1) + 10 * turn + place) for place in range(10)]
        shared = [replace(document(place), text=f"version {turn} of writer {number}") for place in range(10)]
        store.write([*own, *shared], delete=[f"d{30 + turn}"])
    store.close()


def test_two_processes_write_at_once_and_nothing_is_lost_or_twice(store):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [context.Process(target=repeatedly, args=(type(store), store.path, n, barrier)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=240)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(store) == 40 - 5 + 2 * 50 and store.problems() == []
    last = {d.text for d in store.documents([f"d{place}" for place in range(10)])}
    assert last in ({"version 4 of writer 0"}, {"version 4 of writer 1"})


CORPUS = unit_rows(np.random.default_rng(5).normal(size=(2_000, 6)), "corpus")
DRAWS = np.random.default_rng(6).permutation(2_000)


def search_after(query, passes, k, *, wanted=None, wrong=lambda rows: rows):
    from semsearch_nb import exact

    wanted = wanted or k
    while True:
        rows = exact.search(query, CORPUS, k=wanted).indices[0]
        kept = rows[passes[rows]]
        if len(kept) >= k or wanted >= len(CORPUS):
            return wrong(kept[:k].tolist())
        wanted *= 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (search_after, "Correct"),
        (lambda q, passes, k: search_after(q, np.ones_like(passes), k), "does not pass"),
        (lambda q, passes, k: search_after(q, passes, k)[:3], "rows were returned, and"),
        (lambda q, passes, k: search_after(q, passes, k + 1), "11 rows were returned where k is 10"),
        (lambda q, passes, k: search_after(q, passes, k)[::-1], "not the nearest ones"),
        (3, "put the function itself"),
    ],
)
def test_what_notebook_13_says_of_a_search_that_drops_afterwards(answer, said, capsys):
    exercises.check("13.3", answer, queries=CORPUS[:2], corpus=CORPUS, draws=DRAWS)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [(3, "Correct"), (4, "a text is read once"), (5, "vectors stay"), (7, "unchanged"), (9, "go through")],
)
def test_what_notebook_13_says_of_the_texts_to_read(answer, said, tmp_path, capsys):
    store = opened(stores.SqliteStore, tmp_path / "store")
    store.write(DOCUMENTS)
    changed, moved = replace(DOCUMENTS[2], text="other"), replace(DOCUMENTS[3], metadata=document(3, year=1).metadata)
    new = [document(50, text="one"), replace(document(51, text="one"), title="Title 50"), document(52)]
    exercises.check("13.1", answer, store=store, tomorrow=[*DOCUMENTS[:2], changed, moved, *new])
    assert said in capsys.readouterr().out
