"""The project's own data sets have the form that their cards promise."""

import re
from collections import Counter, defaultdict

import bm25s
import pytest
import Stemmer

from semsearch_nb import datasets
from semsearch_nb.datasets import emnlp

LANGUAGES = {"de", "es", "fr", "it", "pt", "pl", "ru", "ar", "hi", "zh", "ja", "tr"}
SCRIPTS = {
    "ru": "[а-яё]",
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
    "zh": "[\u4e00-\u9fff]",
    "ja": "[\u3040-\u30ff]",
}


@pytest.fixture(scope="module")
def passages():
    return datasets.load("passages")


@pytest.fixture(scope="module")
def questions():
    return datasets.load("questions")


@pytest.fixture(scope="module")
def multilingual():
    return datasets.load("questions", split="multilingual")


def content_words(text):
    """Stems of the words that carry meaning."""
    stemmer = Stemmer.Stemmer("english")
    tokens = bm25s.tokenize(text, stopwords="english_plus", stemmer=stemmer, return_ids=False, show_progress=False)
    return set(tokens[0])


def test_passages_are_as_many_and_as_long_as_promised(passages):
    assert len(passages.documents) >= 400
    topics = Counter(document.metadata["topic"] for document in passages.documents)
    assert len(topics) >= 40
    assert set(topics.values()) == {10}
    for document in passages.documents:
        assert 60 <= len(document.text.split()) <= 110, document.id
        assert document.title, document.id
        assert document.id.startswith(document.metadata["topic"]), document.id


def test_every_passage_answers_a_question(passages):
    answered = {i for judged in passages.qrels.values() for i, grade in judged.items() if grade == 2}
    assert answered == set(passages.document_ids)


def test_passage_questions_are_natural_or_a_stress_test_and_never_both(passages):
    kinds = Counter(query.metadata["kind"] for query in passages.queries)
    assert set(kinds) == {"natural", "stress"}
    assert kinds["natural"] >= 800
    new = [query for query in passages.queries if "form" in query.metadata]
    assert len(new) >= 400
    assert {query.metadata["kind"] for query in new} == {"natural"}
    for query in passages.queries:
        assert set(passages.qrels[query.id].values()) <= {1, 2}, query.id


def test_passages_of_other_topics_are_judged_too(passages):
    topic_of = {document.id: document.metadata["topic"] for document in passages.documents}
    elsewhere = [q.id for q in passages.queries if {topic_of[i] for i in passages.qrels[q.id]} != {q.metadata["topic"]}]
    assert len(elsewhere) >= 37  # so many twins did a review count
    assert passages.qrels["forests-q09"]["plants-08"] == 2
    assert passages.qrels["ancient-rome-q13"]["measuring-time-07"] == 2


def test_no_passage_that_answers_is_on_both_sides_of_the_split(passages):
    learning, held_out = passages.split()
    assert len(held_out.where(kind="natural").queries) >= 200
    answering = [
        {i for grades in part.qrels.values() for i, grade in grades.items() if grade == 2}
        for part in (learning, held_out)
    ]
    assert not answering[0] & answering[1]
    named = datasets.load("passages", split="held-out")
    assert named.query_ids == held_out.query_ids and named.qrels == held_out.qrels
    twins = {"plants-08": "forests-04", "flight-08": "sound-08", "light-03": "weather-10", "deserts-06": "plants-07"}
    for one, other in twins.items():
        assert (one in answering[1]) == (other in answering[1])


def test_words_that_are_shared_are_counted_and_not_designed(passages):
    text_of = {document.id: document.full_text for document in passages.documents}

    def shares_a_word(query):
        answers = [i for i, grade in passages.qrels[query.id].items() if grade == 2]
        return any(content_words(query.text) & content_words(text_of[i]) for i in answers)

    card = (datasets.SAMPLES / "passages" / "card.md").read_text(encoding="utf-8")
    for kind in ("natural", "stress"):
        queries = passages.where(kind=kind).queries
        unshared = sum(not shares_a_word(query) for query in queries)
        assert (
            f"| {kind} queries that share no content word with an answer | {unshared} ({unshared / len(queries):.0%}) |"
            in card
        )


def test_questions_in_german_and_chinese_have_the_judgements_of_the_english_ones(passages):
    collection = datasets.load("passages", split="multilingual")
    assert Counter(query.metadata["language"] for query in collection.queries) == {"de": 26, "zh": 26}
    for query in collection.queries:
        english = query.id.removesuffix(f"-{query.metadata['language']}")
        assert collection.qrels[query.id] == passages.qrels[english], query.id
        assert bool(re.search("[\u4e00-\u9fff]", query.text)) == (query.metadata["language"] == "zh"), query.id


def test_topics_share_their_vocabulary(passages):
    """In each topic some content word stands in at least half of its ten passages."""
    words = defaultdict(Counter)
    for document in passages.documents:
        words[document.metadata["topic"]].update(content_words(document.full_text))
    assert [topic for topic, counts in words.items() if counts.most_common(1)[0][1] < 5] == []


def test_questions_are_as_many_as_promised(questions):
    clusters = Counter(query.metadata["cluster"] for query in questions.queries)
    members = Counter(document.metadata.get("cluster") for document in questions.documents)
    near_misses = members.pop(None)
    assert len(clusters) >= 400
    assert set(clusters.values()) == {1}
    assert set(members) == set(clusters)
    assert all(3 <= members[cluster] + 1 <= 7 for cluster in clusters)
    assert sum(members.values()) + len(clusters) >= 1_200
    assert near_misses >= 300


def test_no_question_stands_twice(questions, multilingual):
    texts = [*questions.document_texts, *questions.query_texts, *multilingual.query_texts]
    folded = Counter(re.sub(r"\W+", " ", text.casefold()).strip() for text in texts)
    assert [text for text, count in folded.items() if count > 1] == []


def test_duplicates_are_all_of_the_cluster_and_only_those(questions, multilingual):
    for collection in (questions, multilingual):
        for query in collection.queries:
            cluster = query.metadata["cluster"]
            members = {d.id for d in collection.documents if d.metadata.get("cluster") == cluster}
            assert set(collection.qrels[query.id]) == members, query.id


def test_what_other_languages_ask_is_also_asked_in_english(multilingual):
    english = datasets.load("questions", split="multilingual-in-english")
    grades = {query.metadata["cluster"]: english.qrels[query.id] for query in english.queries}
    assert {query.metadata["language"] for query in english.queries} == {"en"}
    assert {query.metadata["cluster"]: multilingual.qrels[query.id] for query in multilingual.queries} == grades


def test_near_misses_share_words_with_their_cluster(questions):
    words = defaultdict(set)
    for item in (*questions.queries, *questions.documents):
        words[item.metadata.get("cluster")] |= content_words(item.text)
    near_misses = [document for document in questions.documents if "near_miss_of" in document.metadata]
    shared = [len(content_words(d.text) & words[d.metadata["near_miss_of"]]) for d in near_misses]
    assert min(shared) >= 1
    assert sum(count >= 2 for count in shared) / len(shared) > 0.9


def test_language_and_subject_are_two_variables(multilingual):
    dealt = Counter((query.metadata["language"], query.metadata["subject"]) for query in multilingual.queries)
    assert {language for language, _ in dealt} == LANGUAGES
    assert {subject for _, subject in dealt} == {"household", "computers", "world"}
    assert set(dealt.values()) <= {13, 14, 15}
    assert set(Counter(query.metadata["language"] for query in multilingual.queries).values()) == {42}
    for query in multilingual.queries:
        script = SCRIPTS.get(query.metadata["language"])
        assert script is None or re.search(script, query.text.lower()), query.id


@pytest.mark.parametrize("name", ["passages", "publications", "questions"])
def test_the_card_states_the_counts(name):
    card = (datasets.SAMPLES / name / "card.md").read_text(encoding="utf-8")
    collection = datasets.load(name)
    stated = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in card.splitlines() if line.count("|") == 3
    }
    assert stated["documents"] == f"{len(collection.documents):,}"
    assert stated["queries"] == f"{len(collection.queries):,}"
    assert stated["judgements"] == f"{sum(map(len, collection.qrels.values())):,}"


@pytest.fixture(scope="module")
def publications():
    return datasets.load("publications")


def test_publications_are_as_many_and_as_long_as_promised(publications):
    assert len(publications.documents) >= 200
    assert {document.metadata["year"] for document in publications.documents} == set(range(2014, 2019))
    summaries = [document.text for document in publications.documents]
    summaries += [query.metadata["summary"] for query in publications.queries]
    assert all(45 <= len(summary.split()) <= 80 for summary in summaries)
    assert len({summary.casefold() for summary in summaries}) == len(summaries)
    for paper in (*publications.documents, *publications.queries):
        assert paper.metadata["url"] == f"https://aclanthology.org/{paper.id}"
        assert paper.id.startswith(f"D{paper.metadata['year'] - 2000}-"), paper.id


def test_later_papers_have_judged_related_work(publications):
    assert len(publications.queries) >= 30
    assert {query.metadata["year"] for query in publications.queries} == {2019}
    for query in publications.queries:
        grades = Counter(publications.qrels[query.id].values())
        assert set(grades) <= {1, 2}, query.id
        assert grades[2] >= 2, query.id
        assert 3 <= grades.total() <= 12, query.id


def test_publications_are_real_papers_in_our_own_words(publications, shared_data):
    """Title, year and venue as in the proceedings, and no six words in a row from the abstract."""
    known = {
        paper.id: paper
        for file in ("emnlp2016-2018.json", "emnlp2019.json")
        for paper in emnlp.papers(shared_data / "emnlp" / file)
    }
    listed = {**{d.id: (d.title, d.text, d.metadata) for d in publications.documents}}
    listed |= {q.id: (q.text, q.metadata["summary"], q.metadata) for q in publications.queries}
    older = [paper_id for paper_id in listed if paper_id not in known]
    assert len(older) < 10
    assert all(listed[paper_id][2]["year"] < 2016 for paper_id in older)
    for paper_id in set(listed) - set(older):
        title, summary, metadata = listed[paper_id]
        paper = known[paper_id]
        assert title == paper.title, paper_id
        assert metadata["year"] == paper.metadata["year"], paper_id
        assert metadata["venue"] == paper.metadata["venue"], paper_id
        assert not six_words(summary) & six_words(paper.text), paper_id


def six_words(text):
    words = re.findall(r"[a-z0-9]+", text.casefold())
    return {tuple(words[start : start + 6]) for start in range(len(words) - 5)}
