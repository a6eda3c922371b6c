import ir_measures
import numpy as np
import pandas as pd
import pytest
import torch
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


def test_a_grade_below_zero_counts_as_zero():
    qrels = {"q": {"a": -1, "b": 1}}
    assert evaluation.ndcg_at_k({"q": ["a", "b"]}, qrels) == pytest.approx([1 / np.log2(3)])
    assert evaluation.precision_at_k({"q": ["a", "b"]}, qrels, 2).tolist() == [0.5]
    assert evaluation.ndcg_at_k({"q": ["a", "b"]}, {"q": {"a": 0.5, "b": 1}})[0] < 1  # grades may have decimals


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
    many = evaluation.bootstrap([0.0] * 1_000 + [1.0] * 1_000)  # whose resamples are drawn in several parts
    assert 0.47 < many.low < 0.485 and 0.515 < many.high < 0.53


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


ROWS = Hits(np.array([[0.9, 0.5], [0.8, -np.inf]], np.float32), np.array([[1, 0], [2, -1]]))
NAMED = Hits(ROWS.scores, np.array([["b", "a"], ["c", None]], dtype=object))
NUMBERED = Hits(ROWS.scores, np.array([[101, 100], [102, -1]]), "ids")


def test_hits_are_named_by_what_they_hold():
    expected = {"q": ["b", "a"], "p": ["c"]}
    assert evaluation.as_run(ROWS, ["q", "p"], ["a", "b", "c"]) == expected
    assert evaluation.as_run(NAMED, ["q", "p"]) == expected
    assert evaluation.as_run(NUMBERED, ["q", "p"]) == {"q": ["101", "100"], "p": ["102"]}
    torch_hits = Hits(torch.from_numpy(ROWS.scores), torch.from_numpy(ROWS.indices))
    assert evaluation.as_run(torch_hits, ["q", "p"], ["a", "b", "c"]) == expected


def test_ids_may_be_columns_iterators_and_whole_numbers():
    frame = pd.DataFrame({"id": ["a", "b", "c"]}, index=[2, 0, 1])  # labels that are not positions
    assert evaluation.as_run(ROWS, ["q", "p"], frame["id"]) == {"q": ["b", "a"], "p": ["c"]}
    assert evaluation.as_run(ROWS, iter("qp"), iter("abc")) == {"q": ["b", "a"], "p": ["c"]}
    numbers = evaluation.as_run(ROWS, np.array([1, 2]), pd.Series([100, 101, 102]))
    assert numbers == {"1": ["101", "100"], "2": ["102"]} and {type(key) for key in numbers} == {str}
    assert evaluation.ndcg_at_k(numbers, {"1": {"101": 1}, "2": {"102": 1}}).tolist() == [1, 1]


def test_queries_that_are_documents_too_need_not_find_themselves():
    hits, ids = Hits(np.array([[3.0, 2.0], [3.0, 2.0]], np.float32), np.array([[0, 1], [1, 0]])), ["a", "b"]
    qrels = {"a": {"b": 1}, "b": {"a": 1}}
    assert evaluation.as_run(hits, ids, ids) == {"a": ["a", "b"], "b": ["b", "a"]}
    assert evaluation.as_run(hits, ids, ids, skip_self=True) == {"a": ["b"], "b": ["a"]}
    assert evaluation.ndcg_at_k(evaluation.as_run(hits, ids, ids, skip_self=True), qrels).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ROWS, ["q", "p"]), ValueError, "document_ids is missing, and hits has row numbers"),
        ((NAMED, ["q", "p"], ["a", "b", "c"]), ValueError, "hits hold ids already.*leave document_ids out"),
        ((ROWS, ["q", "q"], ["a", "b", "c"]), ValueError, "query_ids holds 'q' twice"),
        ((ROWS, [1, "1"], ["a", "b", "c"]), ValueError, "query_ids holds '1' twice"),
        ((ROWS, ["q"], ["a", "b", "c"]), ValueError, "hits has 2 rows and query_ids has 1"),
        ((ROWS, ["q", "p"], ["a", "b"]), ValueError, "indices from 0 to 2 and document_ids has 2"),
        ((ROWS, ["q", "p"], ["a", 1.5, "c"]), TypeError, "document_ids must hold strings or whole numbers.*1.5"),
        ((ROWS, ["q", True], ["a", "b", "c"]), TypeError, "query_ids must hold strings or whole numbers.*True"),
        (([[1, 0]], ["q"], ["a", "b"]), TypeError, "hits must be Hits"),
    ],
)
def test_ids_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluation.as_run(*arguments)


def test_runs_with_scores_are_sorted_by_them():
    scored = {query: {hit: float(-rank) for rank, hit in enumerate(hits)} for query, hits in RUN.items()}
    scored = {query: dict(sorted(hits.items())) for query, hits in scored.items()}  # no longer best first
    for metric in (evaluation.ndcg_at_k, evaluation.recall_at_k, evaluation.precision_at_k, evaluation.mrr_at_k):
        assert metric(scored, QRELS, 2).tolist() == metric(RUN, QRELS, 2).tolist()
    assert evaluation.mrr_at_k({"q2": {"x": 1.0, "d": 1.0}}, QRELS).tolist() == [0, 0.5]  # ties keep their order


def test_runs_may_hold_columns_and_arrays():
    for kind in (np.array, pd.Series, tuple):
        assert np.array_equal(
            evaluation.ndcg_at_k({q: kind(h) for q, h in RUN.items()}, QRELS), evaluation.ndcg_at_k(RUN, QRELS)
        )
    assert evaluation.mrr_at_k({1: np.array([102, 101])}, {1: {101: 1}}).tolist() == [0.5]
    assert evaluation.recall_at_k({}, QRELS).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("run", "qrels", "error", "message"),
    [
        (
            {"1": [("101", 0.9)]},
            {"1": {"101": 1}},
            TypeError,
            r"run\['1'\] must hold ids of the type str.*\('101', 0.9\)",
        ),
        ({"1": [101]}, {"1": {"101": 1}}, TypeError, r"of the type str, as qrels does, and holds 101"),
        ({"1": ["101"]}, {"1": {101: 1}}, TypeError, r"of the type int, as qrels does, and holds '101'"),
        ({"1": "101"}, {"1": {"101": 1}}, TypeError, r"run\['1'\] must be a list of ids, not one string"),
        ({"1": {"101": np.nan}}, {"1": {"101": 1}}, ValueError, r"run\['1'\] has a score that is not a number"),
        ({"q1": ["101"]}, {"1": {"101": 1}}, ValueError, r"no query of qrels.*like 'q1', those of qrels like '1'"),
        ({1: ["101"]}, {"1": {"101": 1}}, ValueError, r"no query of qrels.*like 1, those of qrels like '1'"),
        ({"1": {"101": 2.0}}, {"1": ["101"]}, TypeError, r"qrels\['1'\] must be {document: grade}, not list"),
        ({"1": ["101"]}, ["101"], TypeError, r"qrels must be {query"),
        ([["101"]], {"1": {"101": 1}}, TypeError, r"run must be a dictionary"),
        ({"1": ["101", "101"]}, {"1": {"101": 1}}, ValueError, r"twice for the query '1'"),
    ],
)
def test_runs_of_another_shape_are_refused(run, qrels, error, message):
    with pytest.raises(error, match=message):
        evaluation.ndcg_at_k(run, qrels)


def test_an_interval_is_written_with_the_digits_that_it_carries():
    assert str(evaluation.Interval(0.5, 0.25, 0.78125)) == "0.50 [0.25, 0.78]"
    assert str(evaluation.Interval(0.015625, 0.0, 0.02)) == "0.02 [0.00, 0.02]"
    assert str(evaluation.Interval(-0.015625, -0.0199, 0.0)) == "-0.016 [-0.020, 0.000]"
