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
        (["x", "y"], exercises.contains(["y", "x"], "hint"), "Correct"),
        (["x"], exercises.contains(["y", "x"], "one is missing"), "Not yet: one is missing"),
        ("xy", exercises.contains(["y", "x"], "hint"), "Not yet: a list is expected"),
        (7, exercises.contains(["y", "x"], "hint"), "Not yet: the answer has another form"),
        (abs, exercises.holds(lambda f: f(-1) == 1, "hint"), "Correct"),
        (7, exercises.holds(lambda f: f(-1) == 1, "hint"), "Not yet: the answer has another form"),
    ],
)
def test_every_answer_gets_a_sentence(answer, test, said, capsys):
    exercises.check(answer, test, because="because.")
    assert capsys.readouterr().out.startswith(said)
