import numpy as np
import pandas as pd
import pytest

from semsearch_nb.lexical import BM25

TEXTS = ["The cat sat on the mat.", "Dogs bark at night.", "A cat and a dog.", "Volcanoes erupt."]


def test_stems_and_case_do_not_matter():
    hits = BM25(TEXTS).search(["VOLCANO eruption"], k=1)
    assert hits.indices.tolist() == [[3]] and hits.scores[0, 0] > 0 and hits.holds == "rows"


def test_the_formula_by_hand():
    # Lucene's BM25: idf = ln(1 + (N - n + 0.5) / (n + 0.5)); term = tf / (tf + k1 (1 - b + b length / mean))
    texts = ["apple apple pear", "pear plum", "plum"]
    score = BM25(texts, language=None).search(["apple"], k=1).scores[0, 0]
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert np.isclose(score, idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2)), rtol=1e-5)


def test_best_first_ties_in_the_order_of_the_texts_and_empty_places_where_no_word_is_shared():
    hits = BM25(["one fish", "two fish", "red fish", "no match"]).search(["fish"], k=4)
    assert hits.indices.tolist() == [[0, 1, 2, -1]] and hits.found.tolist() == [[True] * 3 + [False]]
    assert hits.scores[0, 3] == -np.inf


@pytest.mark.parametrize("k", [1, 7, 40, 100])
def test_many_ties_keep_the_order_of_the_texts(k):
    texts = [f"fish {'fish' if row % 9 == 5 else 'wide'}" for row in range(100)]  # two scores, many times each
    best = [row for row in range(100) if row % 9 == 5]
    expected = [*best, *(row for row in range(100) if row % 9 != 5)]
    assert BM25(texts).search(["fish"], k=k).indices.tolist() == [expected[:k]]


def test_a_query_without_known_words_finds_nothing():
    with pytest.warns(UserWarning, match=r"2 of 3 queries have no word to look for, the first is 'the'"):
        hits = BM25(TEXTS).search(["the", "xylophone", ""], k=2)
    assert hits.indices.tolist() == [[-1, -1]] * 3 and not hits.found.any()
    assert BM25(TEXTS).scores(["xylophone"]).tolist() == [[0, 0, 0, 0]]


def test_k_beyond_the_texts_returns_all_of_them():
    assert BM25(TEXTS).search(["cat"], k=99).indices.shape == (1, 4)


def test_the_scores_of_all_texts_are_those_of_the_search():
    index = BM25(TEXTS)
    scores = index.scores(["a cat and a dog", "volcano"])
    hits = index.search(["a cat and a dog", "volcano"], k=4)
    assert scores.shape == (2, 4)
    there = hits.found
    assert there.sum() == (scores > 0).sum() == 4
    assert np.array_equal(np.take_along_axis(scores, hits.indices, axis=1)[there], hits.scores[there])


LANGUAGES = ["Sorting in C", "Sorting in R", "Sorting in C++", "Sorting in C#, and F#"]


@pytest.mark.parametrize(("query", "row"), [("C", 0), ("sorting in r?", 1), ("C++", 2), ("c++20", 2), ("(C#)", 3)])
def test_names_of_one_letter_are_words(query, row):
    for language in ("english", None):
        index = BM25(LANGUAGES, language=language)
        assert index.search([query], k=1).indices.tolist() == [[row]]
        assert index.search([f"é {query}"], k=1).indices.tolist() == [[row]]  # the way of texts beyond ASCII


UNSPACED = {
    "Chinese": (["猫整天睡觉。", "罗马是一座古老的城市。", "羅馬"], {"罗马": 1, "猫": 0, "城市古老": 1}),
    "Japanese": (["猫が寝ています。", "東京タワーはどこですか。"], {"東京": 1, "寝る": 0, "ﾀﾜｰ": 1}),
    "Thai": (["แมวนอนหลับทั้งวัน", "กรุงโรมเป็นเมืองเก่า"], {"เมือง": 1, "แมว": 0, "โรม": 1}),
    "mixed": (["用Python写的代码", "用Rust写的代码"], {"python": 0, "rust代码": 1}),
}


@pytest.mark.parametrize("language", ["english", None])
@pytest.mark.parametrize("name", UNSPACED)
def test_scripts_without_spaces_are_found(name, language):
    texts, answers = UNSPACED[name]
    hits = BM25(texts, language=language).search(list(answers), k=1)
    assert hits.found.all() and hits.indices[:, 0].tolist() == list(answers.values())


def test_neighbours_count_beside_single_characters():
    hits = BM25(["马上去罗的家", "罗马在意大利"], language=None).search(["罗马"], k=2)
    assert hits.indices.tolist() == [[1, 0]] and hits.found.all()


def test_marks_belong_to_their_word_and_forms_of_unicode_are_one():
    index = BM25(["हिन्दी में लिखा", "हद नगर", "café", "Ｆｕｌｌ width"], language=None)
    queries = ["हिन्दी", "cafe\u0301", "full"]
    assert index.search(queries, k=2).indices.tolist() == [[0, -1], [2, -1], [3, -1]]


def test_texts_may_be_any_column_or_iterator_and_nothing_else():
    frame = pd.DataFrame({"text": TEXTS}).iloc[[3, 1, 0]]
    index = BM25(frame["text"])
    assert index.search((query for query in ["bark"]), k=1).indices.tolist() == [[1]]
    for wrong in ("bark", {"bark": 1}, {"bark"}, frame):
        with pytest.raises(TypeError, match="queries must be a list of strings"):
            index.search(wrong)
        with pytest.raises(TypeError, match="texts must be a list of strings"):
            BM25(wrong)


def test_a_query_shares_a_word_with_one_of_its_answers_or_with_none():
    shared = BM25(TEXTS).shares_a_word(["night cats", "night cats", "erupting", "dogs"], [[3, 1], [3], [3], []])
    assert shared.tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        BM25(TEXTS).shares_a_word(["cat", "dog"], [[0]])
