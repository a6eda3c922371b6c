import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semsearch_nb import thresholds

SCORES = [0.9, 0.8, 0.8, 0.6, 0.4]
RIGHT = [True, True, False, True, False]


def test_the_curve_by_hand():
    found = thresholds.curve(SCORES, RIGHT)
    assert np.allclose(found.scores, [0.4, 0.6, 0.8, 0.9])
    assert np.allclose(found.precision, [3 / 5, 3 / 4, 2 / 3, 1])
    assert np.allclose(found.recall, [1, 1, 2 / 3, 1 / 3])


def test_the_lowest_score_that_is_precise_enough_is_chosen():
    assert thresholds.choose(SCORES, RIGHT, precision=0.7) == pytest.approx((0.6, 0.75, 1.0))
    assert thresholds.choose(SCORES, RIGHT, precision=0.9) == pytest.approx((0.9, 1.0, 1 / 3))


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.booleans()), min_size=1, max_size=40))
def test_what_was_chosen_keeps_its_promise_and_no_lower_score_does(examples):
    scores, right = [score for score, _ in examples], [is_right for _, is_right in examples]
    if not any(right):
        return
    wanted = sum(right) / len(right)  # always reached: by keeping everything
    chosen = thresholds.choose(scores, right, precision=wanted)
    assert chosen.precision >= wanted - 1e-9 and chosen.recall == 1
    assert chosen == thresholds.measure(scores, right, chosen.score)


@pytest.mark.parametrize("dtype", [None, np.float16, np.float32, np.float64, "torch"])
def test_the_chosen_score_is_one_of_those_that_were_passed(dtype):
    generator = np.random.default_rng(0)
    for _ in range(200):
        scores, right = generator.random(10).round(2).tolist(), generator.random(10) < 0.6
        if not right.any():
            continue
        passed = torch.tensor(scores) if dtype == "torch" else np.array(scores, dtype) if dtype else scores
        chosen = thresholds.choose(passed, right, precision=float(right.mean()))
        reach = np.array([float(score) >= chosen.score for score in passed])
        assert chosen.score in [float(score) for score in passed]
        assert (reach & right).sum() / right.sum() == chosen.recall and right[reach].mean() == chosen.precision


def test_whole_numbers_may_be_scores():
    assert thresholds.choose([3, 2, 1], [True, True, False], precision=1) == (2.0, 1.0, 1.0)
    assert thresholds.measure([3, 2, 1], [True, False, False], 2.5) == (2.5, 1.0, 1.0)
    assert thresholds.measure(np.float32([0.7, 0.2]), [1, 1], np.float64(0.7)) == (0.7, 1.0, 0.5)


def test_weights_stand_for_another_mix():
    """The two wrong examples count three times: the same as if each stood there three times."""
    weights = [3 if not right else 1 for right in RIGHT]
    repeated = [np.repeat(values, weights) for values in (SCORES, RIGHT)]
    for score in SCORES:
        weighted = thresholds.measure(SCORES, RIGHT, score, weights=weights)
        assert weighted == pytest.approx(thresholds.measure(*repeated, score))
    assert np.allclose(thresholds.curve(SCORES, RIGHT, weights=weights), thresholds.curve(*repeated))
    assert thresholds.choose(SCORES, RIGHT, precision=0.7, weights=weights) == pytest.approx((0.9, 1.0, 1 / 3))
    assert thresholds.choose(SCORES, RIGHT, precision=0.5, weights=weights).score == 0.6


def test_an_example_without_weight_does_not_exist():
    weights = [1, 0, 1, 1, 1]
    assert thresholds.measure(SCORES, RIGHT, 0.8, weights=weights) == pytest.approx((0.8, 0.5, 0.5))
    assert len(thresholds.curve(SCORES, RIGHT, weights=[1, 0, 0, 1, 1]).scores) == 3


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1, -1], [1, 1, 1, 1, np.nan], 1])
def test_bad_weights_are_named(weights):
    with pytest.raises(ValueError, match="weights must be 5 numbers"):
        thresholds.choose(SCORES, RIGHT, precision=0.5, weights=weights)


def test_nothing_above_the_threshold_is_perfectly_precise_and_finds_nothing():
    assert thresholds.measure(SCORES, RIGHT, 0.95) == (0.95, 1.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "right", "precision", "message"),
    [
        ([0.1, 0.2], [True], 0.5, "same shape"),
        ([[0.1]], [[True]], 0.5, "same shape"),
        ([0.1, np.nan], [True, False], 0.5, "finite"),
        ([0.1, 0.2], [2, 0], 0.5, "True or False"),
        ([0.1, 0.2], ["yes", "no"], 0.5, "True or False"),
        ([0.1, 0.2], True, 0.5, "same shape"),
        ([0.1, 0.2], [False, False], 0.5, "False everywhere"),
        ([0.1, 0.2], [True, False], 0, "between 0 and 1"),
        ([0.1, 0.2], [True, False], 1.5, "between 0 and 1"),
        ([0.1, 0.2], [True, False], 0.9, "the highest is 0.50"),
        ([], [], 0.5, "scores is empty"),
    ],
)
def test_bad_input_is_named(scores, right, precision, message):
    with pytest.raises(ValueError, match=message):
        thresholds.choose(scores, right, precision=precision)


@pytest.mark.parametrize(
    ("scores", "right", "score", "error", "message"),
    [
        ([np.nan, 0.2], [True, False], 0.1, ValueError, "scores must be finite"),
        ([0.3, 0.2, 0.1], [True], 0.1, ValueError, "same shape"),
        ([0.3, 0.2], True, 0.1, ValueError, "same shape"),
        ([0.3, 0.2], [2, -1], 0.1, ValueError, "True or False"),
        (["0.3", "0.2"], [True, False], 0.1, TypeError, "scores must be numbers"),
        ([0.3, 0.2], [True, False], np.nan, ValueError, "score must be finite"),
    ],
)
def test_measuring_checks_its_input_too(scores, right, score, error, message):
    with pytest.raises(error, match=message):
        thresholds.measure(scores, right, score)


def test_risk_against_coverage_by_hand():
    found = thresholds.risk(SCORES, RIGHT)
    assert np.allclose(found.scores, [0.9, 0.8, 0.6, 0.4])  # equal scores are shown together
    assert np.allclose(found.coverage, [1 / 5, 3 / 5, 4 / 5, 1])
    assert np.allclose(found.risk, [0, 1 / 3, 1 / 4, 2 / 5])


@pytest.mark.parametrize("weights", [[2, 0, 1, 3, 1], [0, 1, 2, 1, 1]])
def test_risk_of_another_mix_is_that_of_so_many_copies(weights):
    copies = np.repeat(np.arange(5), weights)
    weighed = thresholds.risk(SCORES, RIGHT, weights)
    copied = thresholds.risk(np.array(SCORES)[copies], np.array(RIGHT)[copies])
    for one, other in zip(weighed, copied, strict=True):
        assert np.allclose(one, other)


@pytest.mark.parametrize("weights", [[1, 1], [0] * 5, [-1, 1, 1, 1, 1], [np.nan] * 5])
def test_weights_must_be_shares(weights):
    with pytest.raises(ValueError, match="weights must be 5 numbers"):
        thresholds.risk(SCORES, RIGHT, weights)


def test_conformal_thresholds_keep_their_promise_on_average() -> None:
    generator = np.random.default_rng(0)
    for share_right, risk in ((0.0, 0.1), (0.6, 0.2)):
        shown = []
        for _ in range(2_000):
            right = generator.random(60) < share_right
            scores = np.round(generator.normal(right.astype(float)), 1)  # with ties
            cut = thresholds.conformal(scores[:40], right[:40], risk=risk)
            shown.append((~right[40:] & (scores[40:] >= cut)).mean())
        assert risk - 0.05 < np.mean(shown) <= risk


def test_conformal_thresholds_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    wrong = [False] * 4
    # Of five questions, floor(0.4 * 5) may be shown a wrong answer; the next one is counted as one of them.
    assert 0.8 < thresholds.conformal(scores, wrong, risk=0.4) < 0.801
    assert (scores >= np.float32(thresholds.conformal(scores, wrong, risk=0.4))).sum() == 1
    assert thresholds.conformal(scores, wrong, risk=0.19) == np.inf
    assert thresholds.conformal(scores, [True, False, True, True], risk=0.4) == -np.inf
    assert thresholds.conformal([0.5, 0.5, 0.5], [False] * 3, risk=0.5) > 0.5  # ties go together
    hundredths = np.arange(99) / 100
    cut = thresholds.conformal(hundredths, [False] * 99, risk=0.29)  # 0.29 * 100 is 28.999999999999996
    assert (hundredths >= cut).sum() == 28
    for bad in (0, 1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="risk must lie between 0 and 1"):
            thresholds.conformal(scores, wrong, risk=bad)
    with pytest.raises(ValueError, match="scores must be finite"):
        thresholds.conformal([np.nan], [False], risk=0.1)
    with pytest.raises(ValueError, match="the same shape"):
        thresholds.conformal(scores, [False], risk=0.1)
