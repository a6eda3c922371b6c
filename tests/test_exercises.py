"""Exercises and quizzes: what `check` says, and whether notebooks, solutions and answers fit together."""

import ast
import inspect
import re
import sys
import types
from importlib import import_module

import manifest
import nbformat
import numpy as np
import pytest

from semsearch_nb.datasets import Collection, Document, Query
from semsearch_nb.exact.mining import Pairs
from semsearch_nb.teaching import exercises
from semsearch_nb.teaching.exercises import Choice, Task, close, same
from semsearch_nb.vectors import Hits

UNANSWERED = "Not answered yet: replace the ... above and run both cells.\n"


@pytest.fixture
def says(monkeypatch, capsys):
    """What `check` prints of an answer, where `wanted` stands in a module of answers."""

    def said(wanted, answer, **given):
        module = types.ModuleType("semsearch_nb.teaching.answers.n99")
        module.ANSWERS = {"1": wanted}
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exercises.check("99.1", answer, **given)
        return capsys.readouterr().out

    return said


CHOICE = Choice("b", because="because.", tempting={"a": "why not a", "c": "why not c"})
LETTERS = "Not yet: answer with one letter in quotation marks: 'a', 'b', 'c'\n"
NUMBER = Task(lambda answer, **given: close(answer, 0.5, 0.01, "round later"), because="because.")
FUNCTION = Task(lambda answer, **given: None if answer(-1) == 1 else "try a negative number", because="because.")


@pytest.mark.parametrize(
    ("wanted", "answer", "said"),
    [
        (CHOICE, ..., UNANSWERED),
        (CHOICE, " B ", "Correct: because.\n"),
        (CHOICE, "A", "Not yet: why not a\n"),
        (CHOICE, "c", "Not yet: why not c\n"),
        *((CHOICE, other, LETTERS) for other in ("d", "", 1, None, ["b"])),
        (NUMBER, ..., UNANSWERED),
        (NUMBER, 0.504, "Correct: because.\n"),
        (NUMBER, np.float32(0.5), "Correct: because.\n"),
        (NUMBER, 0.52, "Not yet: round later\n"),
        (NUMBER, float("nan"), "Not yet: round later\n"),
        *((NUMBER, other, "Not yet: one number is expected, not ") for other in ("0.5", True, [0.5], np.array([0.5]))),
        (NUMBER, None, "Not yet: the answer has another form than expected (TypeError: "),
        (FUNCTION, abs, "Correct: because.\n"),
        (FUNCTION, float, "Not yet: try a negative number\n"),
        (FUNCTION, 7, "Not yet: the answer has another form than expected (TypeError: "),
        (Task(lambda answer: None), 1, "Correct.\n"),
    ],
)
def test_every_answer_gets_a_sentence(wanted, answer, said, says):
    printed = says(wanted, answer)
    assert printed.startswith(said) and printed.count("\n") == 1


def test_what_is_given_reaches_the_test_and_the_praise(says):
    wanted = Task(
        lambda answer, *, k: same(answer, k + 1, "one more"), because=lambda answer, *, k: f"{answer} is {k} + 1."
    )
    assert says(wanted, 3, k=2) == "Correct: 3 is 2 + 1.\n"
    assert says(wanted, 2, k=2) == "Not yet: one more\n"
    assert says(wanted, ..., k=2) == UNANSWERED


def test_an_exercise_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        exercises.check("05.7", "a")
    with pytest.raises(ModuleNotFoundError):
        exercises.check("98.1", "a")


@pytest.mark.parametrize(
    ("answer", "expected", "hint"),
    [
        (" B ", "b", None),
        ("a", "b", "hint"),
        (1, "b", "a str is expected, not a int"),
        ("3", 3, "a int is expected, not a str"),
        ({1, 2}, {2, 1}, None),
        ([1], [2], "hint"),
    ],
)
def test_strings_are_compared_without_case_and_outer_spaces(answer, expected, hint):
    assert same(answer, expected, "hint") == hint


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
    RecursionError(),
]
FAILING = [*map(fails, ERRORS), endless, lambda *_: 1 / 0, lambda *_: no_such_name]  # noqa: F821


@pytest.mark.parametrize("answer", FAILING)
def test_an_answer_that_fails_gets_a_hint_and_no_traceback(answer, says):
    assert says(FUNCTION, answer).startswith("Not yet: the answer has another form than expected (")


@pytest.mark.parametrize("wanted", [CHOICE, NUMBER, FUNCTION, Task(lambda answer: same(answer, ["a"], "hint"))])
@pytest.mark.parametrize("answer", [Odd(), np.zeros(3), None, object(), float("nan"), [[1], [2]]])
def test_no_answer_of_any_kind_is_a_traceback(wanted, answer, says):
    assert says(wanted, answer).startswith("Not yet: ")


def test_an_answer_that_is_stopped_by_hand_stops(says):
    with pytest.raises(KeyboardInterrupt):
        says(FUNCTION, fails(KeyboardInterrupt()))


# Notebooks, their solutions and the modules with what is right.

each_entry = pytest.mark.parametrize("entry", manifest.read_manifest(), ids=lambda entry: entry.number)
ON_PURPOSE = "wrong-on-purpose"  # the tag of a cell in the solutions that shows what is said of a wrong answer


def answers_of(number):
    return import_module(f"semsearch_nb.teaching.answers.n{number}").ANSWERS


def checks_of(path):
    """The calls of `exercises.check`, each with its cell."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "exercises.check(" in cell.source]
    return [
        (call, cell)
        for cell in cells
        if cell.cell_type == "code"
        for call in ast.walk(ast.parse(cell.source))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "exercises.check"
    ]


def name_of(call):
    if not isinstance(call.args[0], ast.Constant):
        return "no number of an exercise", ast.unparse(call.args[0])
    number, _, name = call.args[0].value.partition(".")
    return number, name


def options_of(path):
    """The letters of each list of options, in the order of the notebook."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    letters = re.findall(r"^- \*\*([a-z])\*\* ", text, re.MULTILINE)
    starts = [place for place, letter in enumerate(letters) if letter == "a"]
    return [letters[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


@each_entry
def test_three_exercises_and_a_quiz_of_two_questions_are_asked_and_solved(entry):
    wanted = {(entry.number, name) for name in ("1", "2", "3", "quiz 1", "quiz 2")}
    assert {(entry.number, name) for name in answers_of(entry.number)} == wanted
    asked = [name_of(call) for call, _ in checks_of(entry.path)]
    assert sorted(asked) == sorted(wanted)
    assert {name_of(call) for call, _ in checks_of(entry.solutions)} == wanted
    own, solved = (
        {(name_of(call), *(keyword.arg for keyword in call.keywords)) for call, _ in checks_of(path)}
        for path in (entry.path, entry.solutions)
    )
    assert own == solved


@each_entry
def test_a_cell_that_checks_does_nothing_else_and_hides_what_is_right(entry):
    for call, cell in checks_of(entry.path):
        *imports, last = ast.parse(cell.source).body
        assert all(isinstance(line, ast.ImportFrom) for line in imports), cell.source
        assert isinstance(last, ast.Expr) and last.value.lineno == call.lineno, cell.source
        assert ast.unparse(call.args[1]) == ("..." if "quiz" in name_of(call)[1] else "answer"), cell.source
        assert len(call.args) == 2, cell.source


@each_entry
def test_a_check_hands_in_what_the_answer_is_tested_with(entry):
    for path in (entry.path, entry.solutions):
        for call, cell in checks_of(path):
            wanted = answers_of(entry.number)[name_of(call)[1]]
            given = dict.fromkeys(keyword.arg for keyword in call.keywords)
            functions = [wanted.test, wanted.because] if isinstance(wanted, Task) else [wanted.look_at]
            for function in filter(callable, functions):
                inspect.signature(function).bind(None, **given)
            assert cell.cell_type == "code"


@each_entry
def test_the_letters_of_a_choice_are_those_of_its_options(entry):
    choices = [
        answers_of(entry.number)[name]
        for _, name in (name_of(call) for call, _ in checks_of(entry.path))
        if isinstance(answers_of(entry.number)[name], Choice)
    ]
    assert options_of(entry.path) == [sorted([choice.right, *choice.tempting]) for choice in choices]


@each_entry
def test_every_wrong_option_has_a_reason_of_its_own_that_does_not_name_the_right_one(entry):
    for choice in answers_of(entry.number).values():
        if isinstance(choice, Choice):
            reasons = [choice.because, *choice.tempting.values()]
            assert len(set(reasons)) == len(reasons) and all(len(reason) > 20 for reason in reasons)
            assert choice.right not in choice.tempting and len(choice.tempting) >= 2
            named = rf"\*\*{choice.right}\*\*|['\"`]{choice.right}['\"`]|\b(answer|option|letter) {choice.right}\b"
            assert not any(re.search(named, reason) for reason in choice.tempting.values())


@each_entry
def test_committed_notebooks_are_not_answered_and_committed_solutions_are_right(entry):
    for call, cell in checks_of(entry.path):
        assert texts_of(cell) == UNANSWERED, ast.unparse(call)
    for call, cell in checks_of(entry.solutions):
        if ON_PURPOSE not in cell.metadata.get("tags", []):
            assert re.search(r"^Correct(: .+|\.)\n\Z", texts_of(cell), re.MULTILINE), ast.unparse(call)
            assert "Not yet" not in texts_of(cell) and "Not answered" not in texts_of(cell), ast.unparse(call)
    right = {name_of(call)[1] for call, cell in checks_of(entry.solutions) if "Correct" in texts_of(cell)}
    assert right == set(answers_of(entry.number))


def texts_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


# What notebooks 05 to 09 say of right and wrong answers, on data that can be looked through by eye.

PAPERS = Collection(
    "papers",
    tuple(Document(f"d{row}", f"text {row}") for row in range(12)),
    tuple(Query(f"q{row}", f"query {row}") for row in range(2)),
    {"q0": {"d5": 2, "d11": 1}, "q1": {"d0": 1, "d9": 2}},
    "made for this test",
)
# Of q0 one relevant paper stands at place 12, of q1 one at place 1 and the other nowhere.
ROWS = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -1, -1]])
POOL = Hits(np.where(ROWS < 0, -np.inf, -np.arange(12.0)).astype(np.float32), ROWS)
FIRST = POOL.cut(10)


def oracle(rows, relevant):
    return sorted(rows, key=lambda row: row not in relevant)


def nearest_papers(vector, first, last, **other):
    years = {"range": {"year": {"gte": first, "lte": last}}}
    return {"field": "vector", "query_vector": vector, "k": 5, "similarity": 0.3, "filter": years} | other


def among(vector, first, last):
    return nearest_papers(vector, 0, 0, filter={"bool": {"filter": [{"terms": {"year": [*range(first, last + 1)]}}]}})


HALF = (np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([1, 1, 1, 0, 1, 0], dtype=bool))
OTHER = (np.array([0.95, 0.75, 0.65, 0.6, 0.55, 0.45, 0.35]), np.array([1, 1, 1, 1, 0, 1, 0], dtype=bool))
PAIRS = Pairs(np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 4, 1, 2]), np.array([1, 5, 2, 4]))


def groups(pairs):
    found = []
    for pair in pairs:
        touched = [group for group in found if group & set(pair)]
        found = [group for group in found if not group & set(pair)] + [set(pair).union(*touched)]
    return found


def groups_of_first_touched(pairs):
    found = []
    for pair in pairs:
        for group in found:
            if group & set(pair):
                group |= set(pair)
                break
        else:
            found.append(set(pair))
    return found


VECTORS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
QUERIES = VECTORS[:3] + np.float32(0.1)


def unlike(scores, vectors, n, *, last_only=False, copy=True):
    chosen = [int(scores.argmax())]
    while len(chosen) < n:
        value = 0.7 * scores if copy else np.multiply(scores, 0.7, out=scores)
        value = value - 0.3 * (vectors @ vectors[chosen[-1:] if last_only else chosen].T).max(axis=1)
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
    return chosen


def best_of(hits):
    best = {}
    for topic, score in hits:
        best[topic] = max(score, best.get(topic, score))
    return sorted(best.items(), key=lambda pair: -pair[1])


HITS = [("a", 0.5), ("b", 0.9), ("a", 0.7), ("c", 0.1)]


class Ranking:
    """A retriever that always finds the same rows."""

    def __init__(self, rows):
        self.rows = rows

    def search(self, queries, k=10):
        rows = np.tile(self.rows, (len(queries), 1))[:, :k]
        return Hits(np.tile(-np.arange(rows.shape[1], dtype=np.float32), (len(queries), 1)), rows)


GIVEN = {
    "05.1": {"pool": POOL, "asked": PAPERS},
    "05.3": {"first": FIRST, "asked": PAPERS},
    "06.1": {},
    "06.3": {"years": [2013, 2015, 2016, 2017, 2017, 2018]},
    "07.1": {"choose_on": HALF, "measure_on": OTHER},
    "07.3": {"pairs": PAIRS},
    "08.1": {
        "papers": PAPERS,
        "bm25": Ranking(np.arange(12)[::-1]),
        "texts": ["", ""],
        "queries": np.eye(12, dtype=np.float32)[[5, 3]],
        "corpus": np.eye(12, dtype=np.float32),
    },
    "08.3": {"queries": QUERIES, "vectors": VECTORS},
    "09.1": {
        "retrievers": [Ranking(np.arange(12)), Ranking(np.arange(12)[::-1])],
        "parts": {"natural": PAPERS, "stress": PAPERS.with_queries(PAPERS.queries[:1])},
    },
    "09.3": {"found": HITS},
}


@pytest.mark.parametrize(
    ("exercise", "answer", "said"),
    [
        ("05.1", 0.75, "In its own order the first stage has 0.50"),
        ("05.3", oracle, "the pools reach nDCG@10"),
        ("05.3", lambda rows, relevant: np.array(oracle(rows, relevant)), "the pools reach nDCG@10"),
        ("06.1", 2.06, "with full vectors it would be 42 GB"),
        ("06.3", nearest_papers, "for 2015 to 2017 the server searches among 4 of the 6 papers"),
        ("06.3", among, "among 4 of the 6 papers"),
        ("07.1", 0.4, "with a precision of 0.8 it was 0.80, now it is 0.40"),
        ("07.3", groups, "the largest group has 2 rows, from 0.6 on 5"),
        ("08.1", "fused", "the paired difference is"),
        ("08.3", unlike, "for the first query"),
        ("09.1", "alike", "equal weights against a quarter for BM25: natural"),
        ("09.3", best_of, "4 hits show 3 articles"),
    ],
)
def test_right_answers_are_praised_with_their_own_numbers(exercise, answer, said, capsys):
    if isinstance(answer, str):
        answer = right_number(exercise)
    exercises.check(exercise, answer, **GIVEN[exercise])
    printed = capsys.readouterr().out
    assert printed.startswith("Correct: ") and re.search(said, printed), printed


def right_number(exercise):
    """Found by what the check itself accepts, between 0 and 1."""
    task = answers_of(exercise[:2])[exercise[3:]]
    (first, *_) = [value for value in np.arange(0, 1, 0.005) if task.test(value, **GIVEN[exercise]) is None]
    return first + 0.005


@pytest.mark.parametrize(
    ("exercise", "answer", "said"),
    [
        ("05.1", 0.5, "in its own order"),
        ("05.1", 1.0, "no re-ranker finds"),
        ("05.1", 75, "percentage"),
        ("05.1", 0.3, "never shown"),
        ("05.1", "0.75", "one number"),
        ("05.3", 7, "the function itself"),
        ("05.3", lambda rows, relevant: rows.sort(), "returns nothing"),
        ("05.3", lambda rows, relevant: [row for row in rows if row in relevant] or rows, "other rows"),
        ("05.3", lambda rows, relevant: sorted(rows, key=lambda row: row in relevant), "False sorts before"),
        (
            "05.3",
            lambda rows, relevant: sorted(rows, key=lambda row: (row not in relevant, -row)),
            "changed places",
        ),
        ("06.1", 2_060_000_000, "bytes"),
        ("06.1", 1.9185, "10⁹"),
        ("06.1", 1.42, "links"),
        ("06.1", 41.6, "full vectors"),
        ("06.3", lambda *period: {"knn": nearest_papers(*period)}, "inside knn"),
        ("06.3", lambda *period: nearest_papers(*period, post_filter=[]), "no part of knn"),
        ("06.3", lambda *period: nearest_papers(*period, k=10), "how many papers"),
        ("06.3", lambda *period: nearest_papers(*period, similarity=0.65), "is a cosine, not"),
        ("06.3", lambda *period: nearest_papers(*period, filter=[]), "papers of other years pass; put a filter"),
        ("06.3", lambda v, first, last: nearest_papers(v, first, 2100), "on both sides"),
        ("06.3", lambda v, first, last: nearest_papers(v, first, last - 1), "both included"),
        ("06.3", lambda v, *years: nearest_papers([1, 0], *years), "the vector that the function is given"),
        ("07.1", 0.75, "the half that the threshold was chosen on"),
        ("07.1", 0.8, "the recall of the threshold that was chosen above"),
        ("07.1", 1.0, "this is the precision"),
        ("07.1", 0.7, "the threshold itself"),
        ("07.3", groups_of_first_touched, "in two groups"),
        ("07.3", lambda pairs: [set(pair) for pair in pairs], "in two groups"),
        ("07.3", lambda pairs: [{row for pair in pairs for row in pair}] if pairs else [], "no chain of pairs"),
        ("07.3", lambda pairs: [{1}], "without pairs"),
        ("08.3", lambda scores, vectors, n: np.argsort(-scores)[:n], "highest scores"),
        ("08.3", lambda scores, vectors, n: unlike(scores, vectors, n, last_only=True), "is not the best one left"),
        ("08.3", lambda scores, vectors, n: unlike(scores, vectors, n, copy=False), "changes the scores"),
        ("08.3", lambda scores, vectors, n: [0] * n, "chosen twice"),
        ("08.3", lambda scores, vectors, n: unlike(scores, vectors, n)[1:], "7 come back"),
        ("08.3", lambda scores, vectors, n: unlike(-scores, vectors, n), "before the first row"),
        ("09.3", lambda hits: dict(best_of(hits)) if hits else [], "not a dictionary"),
        ("09.3", lambda hits: hits, "comes twice"),
        ("09.3", lambda hits: best_of(hits)[:2], "each article"),
        ("09.3", lambda hits: list(dict(hits[::-1]).items()), "highest score"),
        ("09.3", lambda hits: sorted(best_of(hits)), "best first"),
    ],
)
def test_a_known_mistake_gets_its_own_hint(exercise, answer, said, capsys):
    exercises.check(exercise, answer, **GIVEN[exercise])
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ") and re.search(said, printed), printed


@pytest.mark.parametrize("exercise", GIVEN)
@pytest.mark.parametrize("answer", [None, "x", 7j, [], Odd(), float("nan"), *FAILING[:2]])
def test_odd_answers_of_an_exercise_get_a_hint(exercise, answer, capsys):
    exercises.check(exercise, answer, **GIVEN[exercise])
    assert capsys.readouterr().out.startswith("Not yet: ")


@pytest.mark.parametrize(
    ("exercise", "wrong"), [("05.1", 0.3), ("06.1", 5.0), ("07.1", 0.1), ("08.1", 0.01), ("09.1", 0.01)]
)
def test_a_hint_does_not_hold_the_number(exercise, wrong, capsys):
    exercises.check(exercise, wrong, **GIVEN[exercise])
    assert not re.search(r"0\.\d|\d\.\d\d", capsys.readouterr().out)
