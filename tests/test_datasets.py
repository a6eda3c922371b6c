import json
import re
from dataclasses import replace

import pytest

from semsearch_nb import datasets
from semsearch_nb.datasets import Collection, DatasetError, DatasetWarning, Document, Query, beir, wordnet
from semsearch_nb.datasets.collection import check

GOOD = {
    "corpus.jsonl": '{"_id": "d1", "title": "Cats", "text": "They purr."}\n\n'
    '{"_id": "d2", "text": "Dogs\u2028bark."}\n',
    "queries.jsonl": '{"_id": "q1", "text": "Who purrs?", "metadata": {"topic": "cats"}}\n{"_id": "q2", "text": "?"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t0\n",
}


def write(folder, **changes):
    for name, content in (GOOD | changes).items():
        if content is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_a_folder_of_ones_own(tmp_path):
    collection = datasets.load(str(write(tmp_path)))
    assert collection.document_ids == ["d1", "d2"]
    assert collection.document_texts == ["Cats. They purr.", "Dogs\u2028bark."]
    assert collection.query_texts == ["Who purrs?"]  # q2 has no relevant document
    assert collection.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert collection.queries[0].metadata == {"topic": "cats"}
    assert repr(collection).endswith("2 documents, 1 queries, 2 judgements)")


def test_the_split_s_own_file_is_read_whatever_lies_beside_it(tmp_path):
    write(tmp_path, **{"qrels/dev.tsv": "q2\td2\t1\n", "qrels.tsv": "q1\td2\t1\n"})
    assert datasets.load(tmp_path).qrels == {"q1": {"d1": 2, "d2": 0}}
    assert datasets.load(tmp_path, split="dev").qrels == {"q2": {"d2": 1}}
    with pytest.raises(DatasetError, match=r"has no split 'nonsense'; its splits are 'dev', 'test'"):
        datasets.load(tmp_path, split="nonsense")


def test_judgements_may_stand_beside_the_corpus(tmp_path):
    write(tmp_path, **{"qrels/test.tsv": None, "qrels.tsv": "q1\td2\t1\n"})
    assert datasets.load(tmp_path).qrels == {"q1": {"d2": 1}}
    with pytest.raises(DatasetError, match=r"has no split 'dev'; its splits are 'test'"):
        datasets.load(tmp_path, split="dev")


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine")
    assert datasets.load("~/mine").name == beir.read("~/mine").name == "mine"


QRELS = {
    "no header": ("q1\td1\t2\n", {"d1": 2}),
    "a header after a blank line": ("\n\nquery-id\tcorpus-id\tscore\nq1\td1\t2\n", {"d1": 2}),
    "a header of other names": ("qid\tdocid\trelevance\nq1\td1\t2\n", {"d1": 2}),
    "a byte order mark and Windows' line ends": ("\ufeffq1\td1\t1\r\nq1\td2\t0\r\n", {"d1": 1, "d2": 0}),
    "decimals": ("q1\td1\t1.0\nq1\td2\t0.5\n", {"d1": 1, "d2": 0.5}),
    "signs and spaces": ("q1\td1\t+1\nq1\td2\t -1 \n", {"d1": 1, "d2": -1}),
    "TREC's columns": ("q1 0 d1 2\nq1  Q0  d2  0\n", {"d1": 2, "d2": 0}),
    "TREC's columns with tabs": ("q1\t0\td1\t2\n", {"d1": 2}),
    "three columns with spaces": ("q1 d1 1\n", {"d1": 1}),
    "said twice": ("q1\td1\t1\nq1\td1\t1.0\n", {"d1": 1}),
}


@pytest.mark.parametrize("name", QRELS)
def test_judgements_are_read_as_they_are_published(name, tmp_path):
    text, judged = QRELS[name]
    found = datasets.load(write(tmp_path, **{"qrels/test.tsv": text}), strict=True).qrels["q1"]
    assert found == judged and [type(grade) for grade in found.values()] == [type(grade) for grade in judged.values()]


GAPS = {
    "an absent document": (
        {"qrels/test.tsv": "q1\td1\t1\n\nq1\tgone\t1\n"},
        ["1 judgements of documents .*tsv, line 3"],
    ),
    "an absent query": ({"qrels/test.tsv": "gone\td1\t1\nq1\td1\t1\n"}, ["1 judgements of queries .*tsv, line 1"]),
    "an empty row": (
        {"corpus.jsonl": GOOD["corpus.jsonl"] + '{"_id": "d3", "title": " ", "text": ""}\n' * 1},
        ["1 documents with neither title nor text .*corpus.jsonl, line 4"],
    ),
    "empty rows that are judged": (
        {
            "corpus.jsonl": GOOD["corpus.jsonl"] + '{"_id": "d3", "text": null}\n{"_id": "d4", "text": "\\n"}\n',
            "qrels/test.tsv": "q1\td1\t1\nq1\td3\t1\nq1\td4\t2\n",
        },
        ["2 documents with neither .*corpus.jsonl, line 4", "2 judgements of documents .*test.tsv, line 2"],
    ),
    "an empty query": (
        {
            "queries.jsonl": GOOD["queries.jsonl"] + '{"_id": "q3", "text": ""}',
            "qrels/test.tsv": "q1\td1\t1\nq3\td1\t1\n",
        },
        ["1 queries without text .*queries.jsonl, line 3", "1 judgements of queries .*test.tsv, line 2"],
    ),
}


@pytest.mark.parametrize("name", GAPS)
def test_gaps_of_published_sets_are_left_out_and_counted_or_refused(name, tmp_path):
    changes, messages = GAPS[name]
    with pytest.warns(DatasetWarning) as caught:
        collection = datasets.load(write(tmp_path, **changes))
    assert len(caught) == 1
    assert (collection.document_ids, collection.query_ids) == (["d1", "d2"], ["q1"])
    assert set(collection.qrels["q1"]) <= {"d1", "d2"} and collection.qrels["q1"]["d1"] > 0
    for message in messages:
        assert re.search(message, str(caught[0].message))
        with pytest.raises(DatasetError, match=message):
            datasets.load(tmp_path, strict=True)


def test_a_title_without_a_text_is_a_document(tmp_path):
    titled = '{"_id": "d3", "title": "Spike proteins", "text": ""}\n'
    write(tmp_path, **{"corpus.jsonl": GOOD["corpus.jsonl"] + titled, "qrels/test.tsv": "q1\td3\t1\n"})
    collection = datasets.load(tmp_path, strict=True)
    assert collection.document_texts[2] == "Spike proteins" and collection.qrels == {"q1": {"d3": 1}}


def test_a_query_left_without_a_relevant_document_is_not_asked(tmp_path):
    write(tmp_path, **{"qrels/test.tsv": "q1\td1\t1\nq2\tgone\t1\nq2\td2\t0\n"})
    with pytest.warns(DatasetWarning):
        assert datasets.load(tmp_path).query_ids == ["q1"]


MALFORMED = {
    "no corpus": ({"corpus.jsonl": None}, r"corpus.jsonl is missing"),
    "no queries": ({"queries.jsonl": None}, r"queries.jsonl is missing"),
    "no judgements": ({"qrels/test.tsv": None}, r"test.tsv is missing"),
    "not JSON": ({"corpus.jsonl": '{"_id": "d1", "text": "a"}\n{"_id": '}, r"corpus.jsonl, line 2: not a JSON object"),
    "not an object": ({"corpus.jsonl": "[1]"}, r"corpus.jsonl, line 1: not a JSON object"),
    "no id": ({"corpus.jsonl": '{"text": "a"}'}, r"corpus.jsonl, line 1: '_id' is missing"),
    "id a number": ({"corpus.jsonl": '{"_id": 1, "text": "a"}'}, r"line 1: '_id' must be a string, not 1"),
    "no text": ({"queries.jsonl": '{"_id": "q1"}'}, r"queries.jsonl, line 1: 'text' is missing"),
    "text a list": ({"corpus.jsonl": '{"_id": "d1", "text": ["a"]}'}, r"line 1: 'text' must be a string, not \['a'\]"),
    "title a number": ({"corpus.jsonl": '{"_id": "d1", "text": "a", "title": 7}'}, r"line 1: 'title' must be a string"),
    "metadata a list": ({"queries.jsonl": '{"_id": "q1", "text": "a", "metadata": [1]}'}, r"'metadata' must be an obj"),
    "columns": ({"qrels/test.tsv": "q1 d1\n"}, r"test.tsv, line 1: expected query, document and score.* found 2"),
    "grade": ({"qrels/test.tsv": "q1\td1\t1\nq1\td2\tgood\n"}, r"line 2: the score must be a number, not 'good'"),
    "first grade": ({"qrels/test.tsv": "q1\td1\tgood\nq1\td2\t1\n"}, r"line 1: the score must be a number, not 'good'"),
    "a second header": (
        {"qrels/test.tsv": "query-id\tcorpus-id\tscore\n" * 2},
        r"line 2: the score must be a number, not 'score'",
    ),
    **{
        f"grade {grade}": (
            {"qrels/test.tsv": f"q1\td1\t{grade}\n"},
            r"test.tsv, line 1: the score must be a number, not",
        )
        for grade in ("--1", "²", "nan", "inf", "1_0", "1,5", "٣", "")
    },
    "judged twice": ({"qrels/test.tsv": "q1\td1\t1\nq1\td1\t2\n"}, r"line 2: 'q1' and 'd1' are judged twice, diff"),
    "id twice": (
        {"corpus.jsonl": '{"_id": "d1", "text": "a"}\n' * 2},
        r"corpus.jsonl, line 2: the document id 'd1' occ",
    ),
    "query twice": (
        {"queries.jsonl": '{"_id": "q1", "text": "a"}\n' * 2},
        r"queries.jsonl, line 2: the query id 'q1' oc",
    ),
    "nothing relevant": ({"qrels/test.tsv": "q1\td1\t0\n"}, r"test.tsv: no query has a relevant document"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_errors_name_file_and_line(name, tmp_path):
    changes, message = MALFORMED[name]
    with pytest.raises(DatasetError, match=message):
        beir.read(write(tmp_path, **changes))


def test_a_file_in_another_encoding_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "corpus.jsonl").write_bytes(
        json.dumps({"_id": "d1", "text": "é"}, ensure_ascii=False).encode("latin-1")
    )
    with pytest.raises(DatasetError, match=r"corpus.jsonl is not UTF-8"):
        beir.read(tmp_path)


def test_where_keeps_the_documents_and_some_queries(tmp_path):
    collection = datasets.load(write(tmp_path, **{"qrels/test.tsv": "q1\td1\t1\nq2\td2\t1\n"}))
    cats = collection.where(topic="cats")
    assert cats.documents == collection.documents
    assert cats.query_ids == ["q1"]
    assert list(cats.qrels) == ["q1"]


def test_a_split_holds_every_third_topic_out_unless_the_queries_say_where_they_belong(tmp_path):
    folder = write(tmp_path, **{"qrels/test.tsv": "q1\td1\t1\nq2\td2\t1\n"})
    collection = datasets.load(folder)
    parts = {5: {"part": "learning"}, 6: {"part": "both"}}
    asked = tuple(
        Query(f"q{number}", "What?", {"topic": f"topic {number // 2}"} | parts.get(number, {})) for number in range(12)
    )
    judged = {query.id: {"d1": 1} for query in asked}
    learned, held_out = replace(collection, queries=asked, qrels=judged).split()
    assert held_out.query_ids == ["q4", "q10", "q11"]  # of every third topic, without the one that says otherwise
    assert learned.query_ids == ["q0", "q1", "q2", "q3", "q5", "q7", "q8", "q9"]  # q6 belongs to both, so to neither


def test_a_part_that_there_is_not_is_named(tmp_path):
    collection = datasets.load(write(tmp_path, **{"qrels/test.tsv": "q1\td1\t1\n"}))
    for part in ("train", ["learning"]):
        asked = replace(collection, queries=(Query("q1", "What?", {"part": part}),))
        with pytest.raises(DatasetError, match=r"query 'q1' .* must be one of 'learning', 'held-out', 'both'"):
            asked.split()


def test_both_parts_of_a_split_have_their_own_documents():
    learned, held_out = datasets.load("passages").split()
    for part in (learned, held_out):
        assert set(part.document_ids) == {document for grades in part.qrels.values() for document in grades}


def test_without_articles_and_topics_every_third_query_is_held_out(tmp_path):
    queries = tuple(Query(str(n), f"query {n}") for n in range(7))
    documents = tuple(Document(str(n), f"text {n}") for n in range(7))
    whole = Collection("c", documents, queries, {str(n): {str(n): 1} for n in range(7)}, "by hand")
    learned, held_out = whole.split()
    assert learned.query_ids == learned.document_ids == ["0", "1", "3", "4", "6"]
    assert held_out.query_ids == held_out.document_ids == ["2", "5"]
    asked = whole.with_queries(held_out.queries)
    assert asked.query_ids == ["2", "5"] and asked.documents == documents


def test_check_leaves_out_documents_without_any_text():
    documents = (Document("d", "text"), Document("e", " "), Document("t", "", "title"))
    queries, qrels = (Query("q", "?"), Query("r", "?")), {"q": {"d": 1, "e": 1}, "r": {"e": 1}}
    with pytest.warns(DatasetWarning, match="left out of own: 1 documents with neither title nor text, first 'e'"):
        found = check(Collection("own", documents, queries, qrels, "here"))
    assert (found.document_ids, found.query_ids, found.qrels) == (["d", "t"], ["q"], {"q": {"d": 1}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"documents": ()}, "own has no document"),
        ({"queries": ()}, "own has no query"),
        ({"documents": (Document("d", "a"),) * 2}, "the document id 'd' occurs twice"),
        ({"queries": (Query("q", " "),)}, "the query 'q' has an empty text"),
        ({"qrels": {}}, "no document is judged relevant to the query 'q'"),
        ({"qrels": {"q": {"d": 1, "x": 1}}}, "is judged against 'x', which is no document"),
    ],
)
def test_check_refuses_what_does_not_fit_together(changes, message):
    whole = {"name": "own", "documents": (Document("d", "a"),), "queries": (Query("q", "?"),), "qrels": {"q": {"d": 1}}}
    with pytest.raises(DatasetError, match=message):
        check(Collection(**{**whole, "source": "here", **changes}))


def test_check_passes_a_collection_through():
    collection = Collection("own", (Document("d", "text"),), (Query("q", "text"),), {"q": {"d": 1}}, "here")
    assert check(collection) is collection


def test_wordnet_is_whole():
    collection = datasets.load("wordnet")
    assert len(collection.documents) == 117_791
    assert len(collection.queries) == 1_000
    by_id = {document.id: document for document in collection.documents}
    entity = by_id["n00001740"]
    assert entity.metadata["lemmas"] == ["entity"]
    assert entity.text.startswith("that which is perceived")
    assert all(document.text and ";" + ' "' not in document.text for document in collection.documents)
    assert all(
        query.text in by_id[i].metadata["lemmas"] for query in collection.queries for i in collection.qrels[query.id]
    )
    assert collection.query_ids == datasets.load("wordnet").query_ids


def test_the_first_words_of_wordnet_are_a_fair_sample():
    """In the order of ASCII they would be numbers, proper names and Latin names."""
    words = datasets.load("wordnet").query_ids
    assert words[:3] == ["gastrointestinal system", "Clifford trust", "macrocephalic"]
    capitals = [sum(word[0].isupper() for word in words[start : start + 200]) for start in (0, 200, 400, 600, 800)]
    assert max(capitals) < 2 * min(capitals)


def test_wordnet_reversed_asks_with_a_description(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match=r"queries.jsonl is missing"):
        datasets.load("wordnet", split="reverse")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "r001", "text": "all there is", "metadata": {"word": "entity"}}\n')
    (tmp_path / "qrels" / "reverse.tsv").write_text("query-id\tcorpus-id\tscore\nr001\tn00001740\t2\n")
    collection = datasets.load("wordnet", split="reverse")
    assert len(collection.documents) == 117_791 and collection.name == "wordnet-reverse"
    assert collection.query_texts == ["all there is"] and collection.qrels == {"r001": {"n00001740": 2}}
    with pytest.raises(DatasetError, match=r"must be one of 'test', 'reverse', not 'backwards'"):
        datasets.load("wordnet", split="backwards")


def test_a_collection_within_some_documents_asks_for_these_alone():
    documents = tuple(Document(key, key) for key in "abc")
    qrels = {"q1": {"a": 1}, "q2": {"a": 1, "b": 0}, "q3": {"c": 2}}
    collection = Collection("made", documents, tuple(Query(key, key) for key in qrels), qrels, "by hand")
    part = collection.within({"c", "a"})
    assert part.document_ids == ["a", "c"] and part.qrels == {"q1": {"a": 1}, "q3": {"c": 2}}
    assert part.query_ids == ["q1", "q3"]


def test_relevant_rows_are_those_with_the_grade_or_a_higher_one():
    documents = tuple(Document(key, key) for key in "abc")
    qrels = {"q1": {"c": 2, "a": 1, "b": 0}, "q2": {"b": 1}}
    collection = Collection("made", documents, (Query("q2", "two"), Query("q1", "one")), qrels, "by hand")
    assert collection.relevant_rows() == [[1], [2, 0]] and collection.relevant_rows(2) == [[], [2]]
