"""The readers of public data sets: tiny files made by hand, malformed files, and the real ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semsearch_nb.datasets import (
    Collection,
    DatasetError,
    cranfield,
    labelled,
    medquad,
    pubmedqa,
    quora,
    squad,
    tatoeba,
    wikiqa,
)
from semsearch_nb.datasets.reading import field, first, from_pairs


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def write_json(file: Path, value: Any) -> Path:
    return write(file, json.dumps(value))


def texts(collection: Collection) -> tuple[dict[str, str], dict[str, str]]:
    """Documents and queries by id, in their order."""
    return {d.id: d.text for d in collection.documents}, {q.id: q.text for q in collection.queries}


def assert_refused(read: Callable[[], object], *parts: str) -> None:
    """`read` raises a DatasetError whose message has all the parts."""
    with pytest.raises(DatasetError) as caught:
        read()
    for part in parts:
        assert part in str(caught.value)


# What the readers share


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "here: not a JSON object"),
        ({}, "here: 'a' is missing"),
        ({"a": None}, "here: 'a' must be a string, not None"),
        ({"a": 3}, "here: 'a' must be a string, not 3"),
        ({"a": " \t"}, "here: 'a' is empty"),
    ],
)
def test_field_says_what_is_wrong(row: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        field(row, "a", str, "here")


def test_field_returns_what_is_right() -> None:
    assert field({"a": " b "}, "a", str, "here") == " b "
    assert field({"a": []}, "a", list, "here") == []


def test_first_takes_all_or_some() -> None:
    assert first("abc", None) == ["a", "b", "c"]
    assert first("abc", 2) == ["a", "b"]
    assert first("abc", 9) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        first("abc", 0)
    with pytest.raises(TypeError, match="limit must be a whole number"):
        first("abc", 1.5)  # type: ignore[arg-type]


def test_from_pairs_merges_equal_texts_and_leaves_out_unanswered_queries() -> None:
    pairs = [("b", "x", True), ("none", "y", False), ("b ", "z", True), ("a", " x", True), ("a", "y", False)]
    collection = from_pairs("some", pairs, "by hand")
    assert texts(collection) == ({"d1": "x", "d2": "y", "d3": "z"}, {"q1": "b", "q3": "a"})
    assert collection.qrels == {"q1": {"d1": 1, "d3": 1}, "q3": {"d1": 1}}
    assert (collection.name, collection.source) == ("some", "by hand")


# SQuAD and XQuAD


def article(title: str, *paragraphs: tuple[str, dict[str, str]]) -> dict[str, Any]:
    return {
        "title": title,
        "paragraphs": [
            {"context": context, "qas": [{"id": key, "question": question} for key, question in questions.items()]}
            for context, questions in paragraphs
        ],
    }


ENGLISH = {
    "data": [
        article("The_Moon", ("It orbits.", {"m1": " What does it? ", "m2": "Is it round?"}), ("It glows.", {})),
        article("Stars", ("They burn.", {"s1": "What burns?"}), ("It orbits.", {"s2": "What orbits?"})),
    ]
}


def test_squad(tmp_path: Path) -> None:
    file = write_json(tmp_path / "dev-v1.1.json", ENGLISH)
    collection = squad.read(file)
    assert texts(collection) == (
        {"p1": "It orbits.", "p2": "It glows.", "p3": "They burn."},
        {"m1": "What does it?", "m2": "Is it round?", "s1": "What burns?", "s2": "What orbits?"},
    )
    assert collection.qrels == {"m1": {"p1": 1}, "m2": {"p1": 1}, "s1": {"p3": 1}, "s2": {"p1": 1}}
    assert [d.metadata["article"] for d in collection.documents] == ["The Moon", "The Moon", "Stars"]
    assert collection.document_texts == ["It orbits.", "It glows.", "They burn."]
    assert collection.name == "squad" and "CC BY-SA 4.0" in collection.source


def test_squad_refuses_what_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "squad.json"
    assert_refused(lambda: squad.read(file), "squad.json is missing")
    file.write_bytes(b"\xff{}")
    assert_refused(lambda: squad.read(file), "squad.json is not UTF-8 text")
    write(file, '{"data": [}')
    assert_refused(lambda: squad.read(file), "squad.json is not JSON", "line 1 column 11")
    write_json(file, {"data": {}})
    assert_refused(lambda: squad.read(file), "squad.json: 'data' must be a list, not {}")
    write_json(file, {"data": [article("A", ("x", {"1": "?"}), ("y", {"2": ""}))]})
    assert_refused(lambda: squad.read(file), "squad.json, article 1, paragraph 2: 'question' is empty")
    write_json(file, {"data": [{"title": "A", "paragraphs": ["x"]}]})
    assert_refused(lambda: squad.read(file), "squad.json, article 1, paragraph 1: not a JSON object")
    write_json(file, {"data": [article("A", ("x", {"1": "?"})), article("B", ("y", {"1": "?"}))]})
    assert_refused(lambda: squad.read(file), "the query id '1' occurs twice")
    write_json(file, {"data": []})
    assert_refused(lambda: squad.read(file), "squad has no document")


def test_xquad(tmp_path: Path) -> None:
    english = write_json(tmp_path / "xquad.en.json", ENGLISH)
    german = {"data": [article("S", ("Sie brennen.", {"s1": "Was brennt?"}), ("Er kreist.", {"m1": "Was tut er?"}))]}
    collection = squad.read_cross(english, write_json(tmp_path / "xquad.de.json", german))
    assert texts(collection) == (
        {"p1": "It orbits.", "p2": "It glows.", "p3": "They burn."},
        {"s1": "Was brennt?", "m1": "Was tut er?"},
    )
    assert collection.qrels == {"s1": {"p3": 1}, "m1": {"p1": 1}}
    assert collection.name == "xquad-de" and collection.source.startswith("XQuAD")


def test_xquad_refuses_a_question_without_a_counterpart(tmp_path: Path) -> None:
    english = write_json(tmp_path / "xquad.en.json", ENGLISH)
    german = write_json(tmp_path / "xquad.de.json", {"data": [article("S", ("x", {"z9": "Was?"}))]})
    assert_refused(lambda: squad.read_cross(english, german), "xquad.de.json: the question 'z9' is not in", "en.json")


# Quora

HEAD = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def test_quora_clusters_are_transitive(tmp_path: Path) -> None:
    rows = [
        "0\t1\t2\tA?\tB?\t1",
        "1\t3\t4\tC?\tD?\t0",  # neither has a duplicate yet
        "2\t5\t6\tE?\tF?\t1",
        "3\t7\t3\tG?\tC?\t1",
        "4\t2\t5\tB?\tE?\t1",  # joins A, B with E, F
        "5\t8\t9\tA?\tH?\t1",  # A again, under another id
        "6\t10\t11\tI?\t\t0",  # an empty question
    ]
    file = write(tmp_path / "quora.tsv", HEAD + "\n".join(rows) + "\n")
    collection = quora.read(file)
    assert texts(collection) == (
        {"2": "B?", "4": "D?", "5": "E?", "6": "F?", "7": "G?", "9": "H?"},
        {"1": "A?", "3": "C?"},
    )
    assert collection.qrels == {"1": {"2": 1, "5": 1, "6": 1, "9": 1}, "3": {"7": 1}}
    assert "non-commercial" in collection.source
    limited = quora.read(file, limit=1)
    assert list(limited.qrels) == limited.query_ids == ["1"]
    assert limited.documents == collection.documents


def test_quora_quotes(tmp_path: Path) -> None:
    once = '0\t1\t2\t"Is ""it""?"\t"two\nlines?"\t1\n'
    twice = '1\t3\t4\t"""Is """"that"""" so?"""\t"""X"" or ""Y"""\t1\n'
    documents, queries = texts(quora.read(write(tmp_path / "quora.tsv", HEAD + once + twice)))
    assert queries == {"1": 'Is "it"?', "3": 'Is "that" so?'}
    assert documents == {"2": "two\nlines?", "4": '"X" or "Y"'}


def test_quora_refuses_what_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "quora.tsv"
    assert_refused(lambda: quora.read(file), "quora.tsv is missing")
    write(file, "0\t1\t2\tA?\tB?\t1\n")
    assert_refused(lambda: quora.read(file), "quora.tsv, line 1: expected the columns id, qid1, qid2")
    write(file, "")
    assert_refused(lambda: quora.read(file), "quora.tsv, line 1: expected the columns")
    write(file, HEAD + '0\t1\t2\t"A\nB"\tC\t1\n1\t2\t3\tD\n')
    assert_refused(lambda: quora.read(file), "quora.tsv, line 4: expected 6 columns separated by tabs, found 4")
    write(file, HEAD + "0\t1\t2\tA?\tB?\tyes\n")
    assert_refused(lambda: quora.read(file), "line 2: is_duplicate must be 0 or 1, not 'yes'")
    write(file, HEAD + '0\t1\t2\tA?\t"B' + "\nx" * 70_000)  # the quote that is not closed takes in the rest
    assert_refused(lambda: quora.read(file), "quora.tsv is not a UTF-8 text of columns", "field limit")
    file.write_bytes(HEAD.encode() + b"0\t1\t2\t\xff\tB?\t1\n")
    assert_refused(lambda: quora.read(file), "quora.tsv is not a UTF-8 text")


# Cranfield


def cranfield_folder(folder: Path, **changed: str) -> Path:
    files = {
        "cran_all": """.I 1
.T
lift of a
wing .
.A
brenckman,m.
.B
j. ae. scs. 25, 1958, 324.
.W
lift of a
wing .
  an experiment
.A
on lift .
.I 2
.T
.A
.B
.W
.I 3
.T
drag .
.A
.B
.W
of drags, a study .
""",
        "qry": ".I 001\n.W\nwhat lifts\na wing .\n.I 007\n.W\nwhat drags .\n",
        "qrel": "1 1 2 \n1 3 -1\n2 3 1\n2 1  4\n2 2 3\n",
    } | changed
    for name, text in zip(("cran.all.1400", "cran.qry", "cranqrel"), files.values(), strict=True):
        write(folder / name, text)
    return folder


def test_cranfield(tmp_path: Path) -> None:
    collection = cranfield.read(cranfield_folder(tmp_path))
    assert texts(collection) == (
        {"1": "an experiment on lift .", "3": "of drags, a study ."},
        {"1": "what lifts a wing .", "2": "what drags ."},
    )
    assert collection.document_texts == ["lift of a wing. an experiment on lift .", "drag. of drags, a study ."]
    # Code 1 is the best and becomes 4; -1 and what is said of the blank document are dropped.
    assert collection.qrels == {"1": {"1": 3}, "2": {"3": 4, "1": 1}}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cran_all", "", "cran.all.1400, line 1: expected .I and a number"),
        ("cran_all", "lift\n.I 1\n", "cran.all.1400, line 1: expected .I and a number"),
        ("cran_all", ".I 1\n.T\nlift\n.W\nlift .\n", "cran.all.1400, record 1: expected the fields .T, .A, .B and .W"),
        ("qry", ".I 1\nlift\n", "cran.qry, record 1: expected the field .W"),
        ("qrel", "1 1\n", "cranqrel, line 1: expected query, document and code, found 2 columns"),
        ("qrel", "1 1 1\n1 1 5\n", "cranqrel, line 2: the code must be 1, 2, 3, 4 or -1, not '5'"),
        ("qrel", "3 1 1\n", "cranqrel, line 1: cran.qry has no query 3"),
        ("qrel", "1 4 1\n", "cranqrel, line 1: cran.all.1400 has no document 4"),
        ("qrel", "1 1 1\n2 2 1\n", "no document is judged relevant to the query '2'"),
    ],
)
def test_cranfield_refuses_what_is_malformed(tmp_path: Path, file: str, text: str, message: str) -> None:
    assert_refused(lambda: cranfield.read(cranfield_folder(tmp_path, **{file: text})), message)


def test_cranfield_names_the_file_that_is_missing(tmp_path: Path) -> None:
    cranfield_folder(tmp_path)
    (tmp_path / "cranqrel").unlink()
    assert_refused(lambda: cranfield.read(tmp_path), "cranqrel is missing")


# WikiQA


def test_wikiqa(tmp_path: Path) -> None:
    rows = [
        "who?\tA dog .\t0",
        "who?\tA cat .\t1",
        "why?\tNobody knows .\t0",
        "what ?\tA dog .\t1",
        "what ?\tA cat .\t1",
    ]
    file = write(tmp_path / "WikiQASent-dev.txt", "\n".join(rows) + "\n")
    collection = wikiqa.read(file)
    assert texts(collection) == (
        {"d1": "A dog .", "d2": "A cat .", "d3": "Nobody knows ."},
        {"q1": "who?", "q3": "what ?"},
    )
    assert collection.qrels == {"q1": {"d2": 1}, "q3": {"d1": 1, "d2": 1}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("who?\tA cat .", "line 2: expected 3 columns separated by tabs, found 2"),
        ("who?\t \t1", "line 2: the question or the sentence is empty"),
        ("who?\tA cat .\t2", "line 2: the label must be 0 or 1, not '2'"),
    ],
)
def test_wikiqa_refuses_what_is_malformed(tmp_path: Path, line: str, message: str) -> None:
    file = write(tmp_path / "wikiqa.txt", f"who?\tA dog .\t1\n{line}\n")
    assert_refused(lambda: wikiqa.read(file), "wikiqa.txt, " + message)


# MedQuAD


def write_gzip(file: Path, *lines: str) -> Path:
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)
    return file


def medical(question: str, answer: str) -> str:
    return json.dumps({"source": "CDC", "focus": "flu", "question": question, "answer": answer})


def test_medquad(tmp_path: Path) -> None:
    rows = [
        medical("What is flu ?", "A virus."),
        medical("Is it rare ?", "No."),
        "",
        medical("What is flu ?", "An ill."),
    ]
    file = write_gzip(tmp_path / "medquad.jsonl.gz", *rows, medical("Is it dear ?", "No."), rows[0])
    collection = medquad.read(file)
    assert texts(collection) == (
        {"d1": "A virus.", "d2": "No.", "d3": "An ill."},
        {"q1": "What is flu ?", "q2": "Is it rare ?", "q3": "Is it dear ?"},
    )
    assert collection.qrels == {"q1": {"d1": 1, "d3": 1}, "q2": {"d2": 1}, "q3": {"d2": 1}}


def test_medquad_refuses_what_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "medquad.jsonl.gz"
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz is missing")
    write(file, medical("Q", "A"))
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz is not a whole gzip file")
    whole = write_gzip(file, *[medical(f"Q{i}", f"A{i}") for i in range(999)]).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz is not a whole gzip file")
    write_gzip(file, medical("Q", "A"), "{")
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz, line 2: not a JSON object")
    write_gzip(file, medical("Q", "A"), '["Q", "A"]')
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz, line 2: not a JSON object")
    write_gzip(file, medical("Q", "A"), '{"question": "Q"}')
    assert_refused(lambda: medquad.read(file), "medquad.jsonl.gz, line 2: 'answer' is missing")


# PubMedQA


def test_pubmedqa(tmp_path: Path) -> None:
    records = {
        "20": {"QUESTION": "Do plants die?", "CONTEXTS": ["We planted.", "They died."], "final_decision": "yes"},
        "10": {"QUESTION": "Do they live?", "CONTEXTS": ["We waited."]},
        "30": {"QUESTION": "Did plants live?", "CONTEXTS": ["We planted.", "They died."]},
    }
    collection = pubmedqa.read(write_json(tmp_path / "ori_pqal.json", records))
    assert texts(collection) == (
        {"20": "We planted. They died.", "10": "We waited."},
        {"20": "Do plants die?", "10": "Do they live?", "30": "Did plants live?"},
    )
    assert collection.qrels == {"20": {"20": 1}, "10": {"10": 1}, "30": {"20": 1}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "pqal.json: expected an object of records by PubMed id"),
        ({"1": []}, "pqal.json, record 1: not a JSON object"),
        ({"1": {"CONTEXTS": ["x"]}}, "pqal.json, record 1: 'QUESTION' is missing"),
        ({"1": {"QUESTION": "?", "CONTEXTS": "x"}}, "pqal.json, record 1: 'CONTEXTS' must be a list, not 'x'"),
        ({"1": {"QUESTION": "?", "CONTEXTS": [1]}}, "pqal.json, record 1: 'CONTEXTS' must be a list of strings"),
    ],
)
def test_pubmedqa_refuses_what_is_malformed(tmp_path: Path, value: Any, message: str) -> None:
    assert_refused(lambda: pubmedqa.read(write_json(tmp_path / "pqal.json", value)), message)


# Tatoeba


def write_tatoeba(folder: Path, foreign: str, english: str) -> Path:
    write(folder / "tatoeba.deu-eng.deu", foreign)
    write(folder / "tatoeba.deu-eng.eng", english)
    return folder


def test_tatoeba(tmp_path: Path) -> None:
    folder = write_tatoeba(
        tmp_path, "Wo bist du?\nJa.\u2028Gut.\nWo seid ihr?\n", "Where are you?\nYes. Good.\nWhere are you?\n"
    )
    collection = tatoeba.read(folder, "deu")
    assert texts(collection) == (
        {"d1": "Where are you?", "d2": "Yes. Good."},
        {"q1": "Wo bist du?", "q2": "Ja.\u2028Gut.", "q3": "Wo seid ihr?"},
    )
    assert collection.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d1": 1}}
    assert collection.name == "tatoeba-deu"


def test_tatoeba_refuses_lines_that_are_not_aligned(tmp_path: Path) -> None:
    write_tatoeba(tmp_path, "eins\nzwei\ndrei\n", "one\n\n")
    assert_refused(lambda: tatoeba.read(tmp_path, "deu"), "eng.deu, line 2: tatoeba.deu-eng.eng has no such line")
    write_tatoeba(tmp_path, "eins\n", "one\ntwo\n")
    assert_refused(lambda: tatoeba.read(tmp_path, "deu"), "eng.eng, line 2: tatoeba.deu-eng.deu has no such line")
    assert_refused(lambda: tatoeba.read(tmp_path, "fra"), "tatoeba.fra-eng.fra is missing")


# All of them


def test_available_names_what_is_there(tmp_path: Path) -> None:
    assert labelled.available(tmp_path) == {}
    write_tatoeba(tmp_path / "tatoeba", "eins\n", "one\n")
    write_json(tmp_path / "xquad" / "xquad.en.json", ENGLISH)
    write_json(tmp_path / "xquad" / "xquad.de.json", {"data": [article("S", ("x", {"s1": "Was?"}))]})
    write_json(tmp_path / "squad" / "dev-v1.1.json", ENGLISH)
    found = labelled.available(tmp_path)
    assert list(found) == ["squad", "xquad-de", "tatoeba-deu"]
    assert found["xquad-de"]().query_texts == ["Was?"]
    assert found["tatoeba-deu"]().document_texts == ["one"]
    assert_refused(lambda: labelled.available(tmp_path / "nowhere"), "nowhere is not a folder")


LANGUAGES = [
    "ara",
    "ces",
    "cmn",
    "deu",
    "ell",
    "fin",
    "fra",
    "heb",
    "hin",
    "hun",
    "ind",
    "ita",
    "jpn",
    "kor",
    "nld",
    "pol",
    "por",
    "ron",
    "rus",
    "spa",
    "swe",
    "tur",
    "ukr",
    "vie",
]
# Documents, queries and judgements of the real files.
COUNTS = {
    "squad": (1_065, 5_665, 5_665),
    **{f"xquad-{language}": (120, 623, 623) for language in ("ar", "de", "es", "hi", "ru", "zh")},
    "quora": (21_451, 14_033, 21_451),
    "trec-dl-2019-5k": (5_000, 43, 4_102),
    "cranfield": (1_400 - 2, 225, 1_837 - 225 - 1),
    "wikiqa": (2_707, 126, 140),
    "medquad": (15_809, 14_979, 16_359),
    "pubmedqa": (1_000, 1_000, 1_000),
    "emnlp-known-items": (872, 872, 872),
    **{f"tatoeba-{language}": (1_000, 1_000, 1_000) for language in LANGUAGES},
}


def test_available_finds_all_real_sets_in_order(shared_data: Path) -> None:
    assert list(labelled.available(shared_data)) == list(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_real_sets(shared_data: Path, name: str) -> None:
    collection = labelled.available(shared_data)[name]()
    judged = sum(map(len, collection.qrels.values()))
    assert (len(collection.documents), len(collection.queries), judged) == COUNTS[name]
    assert collection.name == name
    assert collection.source
    assert list(collection.qrels) == collection.query_ids
    # TREC's ids are kept: two passages with equal text are judged apart. One abstract stands in EMNLP's file twice.
    if name not in ("trec-dl-2019-5k", "emnlp-known-items"):
        assert len(set(collection.document_texts)) == len(collection.documents)


def test_real_cranfield(shared_data: Path) -> None:
    collection = cranfield.read(shared_data / "cranfield")
    absent = {str(number) for number in range(1, 1_401)} - set(collection.document_ids)
    assert absent == {"471", "995"}
    grades = [grade for judged in collection.qrels.values() for grade in judged.values()]
    assert [grades.count(grade) for grade in (4, 3, 2, 1)] == [128, 387, 734 - 1, 363]
    # The fourth query has the number 008 in cran.qry.
    assert collection.queries[3].text.startswith("can a criterion be developed to show empirically the validity")
    by_id = {document.id: document for document in collection.documents}
    assert by_id["1"].title == "experimental investigation of the aerodynamics of a wing in a slipstream"
    assert by_id["1"].text.startswith("an experimental study of a wing in a propeller slipstream was")
    assert "thickness at the position of separation" in by_id["240"].text  # past a marker astray
    assert "unity in low-speed flow" in by_id["240"].text


def test_real_quora(shared_data: Path) -> None:
    collection = quora.read(shared_data / "quora" / "quora_duplicate_questions.tsv", limit=700)
    assert (len(collection.queries), len(collection.documents)) == (700, 21_451)
    assert collection.qrels["1772"] == {"25090": 1}
    assert not any('""' in text for text in collection.document_texts)


def test_real_wikiqa_train(shared_data: Path) -> None:
    collection = wikiqa.read(shared_data / "wikiqa" / "WikiQASent-train.txt")
    assert (len(collection.queries), len(collection.documents)) == (873, 18_821)


def test_real_xquad_is_aligned(shared_data: Path) -> None:
    collection = squad.read_cross(shared_data / "xquad" / "xquad.en.json", shared_data / "xquad" / "xquad.de.json")
    documents, queries = texts(collection)
    assert queries["56beb4343aeaaa14008c925b"] == "Wie viele Punkte gab die Verteidigung der Panthers ab?"
    (relevant,) = collection.qrels["56beb4343aeaaa14008c925b"]
    assert documents[relevant].startswith("The Panthers defense gave up just 308 points")
