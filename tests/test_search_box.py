import ipywidgets
import pytest

from semsearch_nb import search_box


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(search_box, "display", shown.append)
    return shown


def answer(question):
    return [("Insects", search_box.mark(question.upper(), (0, 3)))] if question != "nonsense" else []


def scored(question):
    return [(0.9, "ants"), (0.7, "bees"), (0.4, "moss")]


def test_examples_stand_in_the_page_without_a_widget(displayed):
    search_box.show(answer, ["ants?", "nonsense"])
    page = displayed[0].data
    assert "<mark>ANT</mark>S?" in page and "Insects" in page and page.count("no good match") == 1


def test_what_is_typed_is_answered(displayed):
    search_box.show(answer, ["ants?"])
    text, found = displayed[1].children
    assert isinstance(text, ipywidgets.Text)
    text.value = "  bees "
    assert "<mark>BEE</mark>S" in found.value
    text.value = " "
    assert found.value == ""


def test_the_slider_hides_and_shows_what_was_found(displayed):
    search_box.show(scored, ["ants?"], threshold=0.6)
    text, slider, found = displayed[1].children
    assert slider.value == 0.6 and found.value == ""
    text.value = "bees"
    assert "0.70" in found.value and "moss" not in found.value and "1 below 0.60, the best of them 0.40" in found.value
    slider.value = 0.95
    assert "no good match: 3 below 0.95, the best of them 0.90" in found.value and "<strong>bees" in found.value
    slider.value = 0.1
    assert "moss" in found.value and "below" not in found.value


def test_an_example_keeps_to_the_threshold():
    assert "bees" in search_box.as_html("ants?", scored(""), 0.7)
    assert "bees" not in search_box.as_html("ants?", scored(""), 0.71)
    assert "below" not in search_box.as_html("ants?", [(0.868, "ants")], 0.87)  # it is shown as 0.87


def test_markup_in_questions_and_texts_stays_text():
    page = search_box.as_html("<script>", [("<b>", search_box.mark("a <i> b", (2, 5)))])
    assert "<script>" not in page and ">&lt;b&gt;<" in page and "<mark>&lt;i&gt;</mark>" in page
    assert search_box.mark("a < b", (0, 0)) == "a &lt; b"


def test_a_page_without_examples_is_refused():
    with pytest.raises(ValueError, match="examples is empty"):
        search_box.show(answer, [])
