import numpy as np
import pytest

from semsearch_nb import exercises


@pytest.mark.parametrize(
    ("answer", "test", "said"),
    [
        (..., exercises.equals("b", "hint"), "Not answered yet"),
        (" B ", exercises.equals("b", "hint"), "Correct: because."),
        ("a", exercises.equals("b", "look again"), "Not yet: look again"),
        (1, exercises.equals("b", "hint"), "Not yet: a str is expected, not a int"),
        ("3", exercises.equals(3, "hint"), "Not yet: a int is expected, not a str"),
        (0.504, exercises.close_to(0.5, 0.01, "hint"), "Correct"),
        (0.52, exercises.close_to(0.5, 0.01, "round later"), "Not yet: round later"),
        ("0.5", exercises.close_to(0.5, 0.01, "hint"), "Not yet: one number is expected"),
        ([0.5], exercises.close_to(0.5, 0.01, "hint"), "Not yet: one number is expected"),
        (abs, exercises.holds(lambda f: f(-1) == 1, "hint"), "Correct"),
        (7, exercises.holds(lambda f: f(-1) == 1, "hint"), "Not yet: the answer has another form"),
    ],
)
def test_every_answer_gets_a_sentence(answer, test, said, capsys):
    exercises.check(answer, test, because="because.")
    assert capsys.readouterr().out.startswith(said)


class Odd:
    """An answer that cannot even be compared or shown."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __repr__(self):
        raise AssertionError("no repr")


def fails(error):
    def function(*_):
        raise error

    return function


def endless(*arguments):
    return endless(*arguments)


ERRORS = [
    NameError("no x"),
    ZeroDivisionError(),
    AssertionError(),
    RuntimeError(),
    OSError(),
    StopIteration(),
    MemoryError(),
]


@pytest.mark.parametrize("answer", [*map(fails, ERRORS), endless, lambda *_: 1 / 0, lambda *_: no_such_name])  # noqa: F821
def test_an_answer_that_fails_gets_a_hint_and_no_traceback(answer, capsys):
    exercises.check(answer, exercises.holds(lambda function: function(-1) == 1, "hint"))
    assert capsys.readouterr().out.startswith("Not yet: the answer has another form than expected (")


@pytest.mark.parametrize("make", [exercises.equals, lambda e, h: exercises.close_to(0.5, 0.1, h)])
@pytest.mark.parametrize("answer", [Odd(), np.zeros(3), None, object(), float("nan"), [[1], [2]]])
def test_no_answer_of_any_kind_is_a_traceback(make, answer, capsys):
    exercises.check(answer, make(["a"], "hint"))
    assert capsys.readouterr().out.startswith("Not yet: ")


def test_an_answer_that_is_stopped_by_hand_stops():
    with pytest.raises(KeyboardInterrupt):
        exercises.check(fails(KeyboardInterrupt()), exercises.holds(lambda function: function(1), "hint"))
