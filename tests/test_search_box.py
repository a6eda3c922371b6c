import ipywidgets
import pytest

from semsearch_nb import search_box


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(search_box, "display", shown.append)
    return shown


def answer(question):
    return [("0.90", search_box.mark(question.upper(), (0, 3)))] if question != "nonsense" else []


def test_examples_stand_in_the_page_without_a_widget(displayed):
    search_box.show(answer, ["ants?", "nonsense"])
    page = displayed[0].data
    assert "<mark>ANT</mark>S?" in page and "0.90" in page and "no good match" in page


def test_what_is_typed_is_answered(displayed):
    search_box.show(answer, ["ants?"])
    text, found = displayed[1].children
    assert isinstance(text, ipywidgets.Text)
    text.value = "  bees "
    assert "<mark>BEE</mark>S" in found.value
    text.value = " "
    assert found.value == ""


def test_markup_in_questions_and_texts_stays_text():
    table = search_box.as_table("<script>", [("<b>", search_box.mark("a <i> b", (2, 5)))])
    assert "<script>" not in table and ">&lt;b&gt;<" in table and "<mark>&lt;i&gt;</mark>" in table


def test_a_page_without_examples_is_refused():
    with pytest.raises(ValueError, match="examples is empty"):
        search_box.show(answer, [])
