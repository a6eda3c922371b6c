import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, P, R, nDCG

from semsearch_nb import evaluation
from semsearch_nb.vectors import Hits

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"d": 1}}
RUN = {"q1": ["x", "b", "a"], "q2": ["x", "y", "z"]}


def test_worked_out_by_hand():
    ideal = 2 / np.log2(2) + 1 / np.log2(3)
    gained = 1 / np.log2(3) + 2 / np.log2(4)
    assert np.allclose(evaluation.ndcg_at_k(RUN, QRELS, 10), [gained / ideal, 0])
    assert np.allclose(evaluation.ndcg_at_k(RUN, QRELS, 2), [1 / np.log2(3) / ideal, 0])
    assert evaluation.recall_at_k(RUN, QRELS, 2).tolist() == [0.5, 0]
    assert evaluation.precision_at_k(RUN, QRELS, 10).tolist() == [0.2, 0]
    assert evaluation.mrr_at_k(RUN, QRELS, 10).tolist() == [0.5, 0]
    assert evaluation.mrr_at_k(RUN, QRELS, 1).tolist() == [0, 0]


def test_a_query_without_hits_counts_as_zero():
    assert evaluation.ndcg_at_k({"q1": ["a", "b"]}, QRELS).tolist() == [1, 0]


def test_as_run_names_the_hits():
    hits = Hits(np.zeros((2, 2), np.float32), np.array([[1, 0], [2, 1]]))
    assert evaluation.as_run(hits, ["q", "p"], ["a", "b", "c"]) == {"q": ["b", "a"], "p": ["c", "b"]}


@st.composite
def random_runs(draw):
    documents = [f"d{i}" for i in range(draw(st.integers(1, 30)))]
    grades = st.dictionaries(st.sampled_from(documents), st.integers(0, 4), min_size=1)
    qrels = {
        f"q{i}": judged
        for i, judged in enumerate(draw(st.lists(grades, min_size=1, max_size=6)))
        if any(judged.values())
    }
    orders = st.permutations(documents)
    run = {query: draw(orders)[: draw(st.integers(1, len(documents)))] for query in qrels}
    return qrels, run


@settings(max_examples=200, deadline=None)
@given(random_runs(), st.integers(1, 25))
def test_agrees_with_ir_measures(qrels_and_run, k):
    qrels, run = qrels_and_run
    if not qrels:
        return
    scored = {query: {hit: float(-rank) for rank, hit in enumerate(hits)} for query, hits in run.items()}
    pairs = {
        nDCG @ k: evaluation.ndcg_at_k,
        R @ k: evaluation.recall_at_k,
        P @ k: evaluation.precision_at_k,
        RR @ k: evaluation.mrr_at_k,
    }
    reference = {(m.measure, m.query_id): m.value for m in ir_measures.iter_calc(list(pairs), qrels, scored)}
    for measure, metric in pairs.items():
        expected = [reference[measure, query] for query in qrels]
        assert np.abs(metric(run, qrels, k) - expected).max() <= 1e-9, measure


def test_bootstrap_of_a_known_sample():
    interval = evaluation.bootstrap([0.0] * 50 + [1.0] * 50)
    assert interval.mean == 0.5
    # The standard error is 0.05, so the central 95 % reach about 0.098 to either side.
    assert 0.39 < interval.low < 0.42 and 0.58 < interval.high < 0.61
    assert interval == evaluation.bootstrap([0.0] * 50 + [1.0] * 50)  # the seed is fixed


def test_a_wider_level_gives_a_wider_interval():
    values = np.random.default_rng(0).random(80)
    narrow, wide = evaluation.bootstrap(values, level=0.5), evaluation.bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_pairing_finds_a_difference_that_apart_would_drown():
    difficulty = np.random.default_rng(0).random(200)
    a, b = difficulty + 0.01, difficulty
    assert evaluation.paired_bootstrap(a, b).excludes_zero
    assert evaluation.bootstrap(a).low < evaluation.bootstrap(b).high
    assert not evaluation.paired_bootstrap(a, a).excludes_zero


@pytest.mark.parametrize("coverage_of", [0.95])
def test_intervals_hold_the_true_mean_as_often_as_they_say(coverage_of):
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(300):
        interval = evaluation.bootstrap(generator.beta(0.5, 0.5, size=60), n=400, level=coverage_of, seed=seed)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_row_numbers_need_the_ids_of_the_rows():
    hits = Hits(np.ones((1, 2), dtype=np.float32), np.array([[1, 0]]))
    with pytest.raises(ValueError, match="document_ids is missing, and hits has row numbers"):
        evaluation.as_run(hits, ["q"])
