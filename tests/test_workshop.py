"""The workshop kit: generated pages in step, slides without network, plans that fit their time."""

import re

import pytest
import slides
import wheelhouse
import workshop

each_path = pytest.mark.parametrize("route", workshop.paths(), ids=lambda route: route.file)


def test_generated_pages_are_current():
    assert workshop.write(check=True) == []


@each_path
def test_what_is_planned_fits_the_time_and_leaves_some(route):
    for day in route.steps:
        assert 0.8 * route.length < sum(step.minutes for step in day) <= 0.97 * route.length


@each_path
def test_every_section_of_a_path_says_something_to_the_teacher(route):
    assert [one.link for one in route.sections if "say" not in workshop.notes(one)] == []


@each_path
def test_a_day_still_fits_with_a_module_in_place_of_what_it_replaces(route):
    for module in route.modules:
        day = next(day for day in route.days if module.instead[0] in day)
        assert set(module.instead) <= set(day)
        total = sum(workshop.step(line).minutes for line in day if line not in module.instead)
        assert 0.8 * route.length < total + workshop.minutes(module.steps) <= 0.97 * route.length


def test_every_note_belongs_to_a_section_and_every_slide_shows_something():
    for number, noted in workshop.config()["notes"].items():
        for title in noted:
            section = workshop.section(number, title)
            assert all(slides.slide(section, wanted) for wanted in workshop.notes(section).get("slides", []))


@each_path
def test_slides_load_only_what_lies_beside_them(route):
    deck = slides.deck(route)
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", deck)
    assert {one.partition("/")[0] for one in loaded if not one.startswith("data:image/png;base64,")} == {"reveal"}
    assert re.findall(r"https?://|url\(|@import|<a ", re.sub(r"<pre.*?</pre>", "", deck, flags=re.DOTALL)) == []


@each_path
def test_slides_show_pictures_with_alt_texts_and_notes_for_the_speaker(route):
    deck = slides.deck(route)
    pictures = re.findall(r"<img [^>]*?src=", deck)
    assert pictures and all(re.search(r'alt="[^"]{40}', picture) for picture in pictures)
    assert deck.count("not yet tried with a class") >= 5


def test_every_notebook_has_a_place_in_a_path_or_a_module():
    assert {one.entry.number for route in workshop.paths() for one in route.sections} == set(workshop.entries())


def test_pages_say_that_nothing_was_tried():
    pages = [text for path, text in workshop.pages().items() if path.name != "index.md"]
    assert all(workshop.NOT_TRIED in text for text in pages)


def test_the_texts_install_what_the_wheelhouse_holds():
    for name in ("offline.md", "Containerfile"):
        assert f'"semsearch-nb[{wheelhouse.EXTRAS}]"' in (workshop.KIT / name).read_text(encoding="utf-8")


def test_the_wheelhouse_holds_what_notebooks_read_of_the_repository():
    sources = [entry.path.read_text(encoding="utf-8") for entry in workshop.entries().values()]
    read = re.findall(r'(?:Path\(\\"\.\./|of_repository\(\\")([\w./]+)\\"', "".join(sources))
    assert sorted(read) == sorted(wheelhouse.READ)


def test_an_answer_has_its_right_letter_and_a_reason_for_each_wrong_one():
    entry = workshop.entries()["00"]
    page = workshop.notebook_page(entry, [])
    assert "| **b** (right) | the stress questions" in page and "| a | tempting" in page
    assert "- this is the other way round: BM25 is right and the model is not" in page


def test_the_minutes_of_a_section_count_words_cells_run_time_and_quizzes():
    entry = workshop.entries()["00"]
    every = workshop.sections("00")
    assert sum(len(one.code) for one in every) > 20 and "Quiz" in [one.title for one in every]
    quiz = workshop.section("00", "Quiz")
    plain = workshop.Section(entry, "No quiz", text=quiz.text, code=quiz.code)
    assert quiz.minutes == plain.minutes + 2 * workshop.QUIZ


def test_a_section_that_is_gone_is_named():
    with pytest.raises(ValueError, match="notebook 00 has no section 'Gone'"):
        workshop.step("00 | Gone")


def test_a_cell_that_is_gone_is_named():
    with pytest.raises(ValueError, match="'Quiz' in notebook 00 has no cell 'gone'"):
        slides.slide(workshop.section("00", "Quiz"), "gone out")
