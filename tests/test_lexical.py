import numpy as np

from semsearch_nb.lexical import BM25

TEXTS = ["The cat sat on the mat.", "Dogs bark at night.", "A cat and a dog.", "Volcanoes erupt."]


def test_stems_and_case_do_not_matter():
    hits = BM25(TEXTS).search(["VOLCANO eruption"], k=1)
    assert hits.indices.tolist() == [[3]] and hits.scores[0, 0] > 0


def test_the_formula_by_hand():
    # Lucene's BM25: idf = ln(1 + (N - n + 0.5) / (n + 0.5)); term = tf / (tf + k1 (1 - b + b length / mean))
    texts = ["apple apple pear", "pear plum", "plum"]
    score = BM25(texts, language=None).search(["apple"], k=1).scores[0, 0]
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert np.isclose(score, idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2)), rtol=1e-5)


def test_best_first_and_ties_in_the_order_of_the_texts():
    hits = BM25(["one fish", "two fish", "red fish", "no match"]).search(["fish"], k=4)
    assert hits.indices.tolist() == [[0, 1, 2, 3]]
    assert hits.scores[0, 3] == 0


def test_a_query_without_known_words_scores_zero_everywhere():
    hits = BM25(TEXTS).search(["the", "xylophone", ""], k=2)
    assert hits.scores.tolist() == [[0, 0]] * 3 and hits.indices.tolist() == [[0, 1]] * 3


def test_k_beyond_the_texts_returns_all_of_them():
    assert BM25(TEXTS).search(["cat"], k=99).indices.shape == (1, 4)


def test_the_scores_of_all_texts_are_those_of_the_search():
    index = BM25(TEXTS)
    scores = index.scores(["a cat and a dog", "volcano"])
    hits = index.search(["a cat and a dog", "volcano"], k=4)
    assert scores.shape == (2, 4)
    assert np.array_equal(np.take_along_axis(scores, hits.indices, axis=1), hits.scores)
