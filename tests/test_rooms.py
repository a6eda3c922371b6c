"""The rooms of the package: no circle of imports, and a picture that shows what is there."""

from graphlib import CycleError
from xml.etree import ElementTree

import pytest
import rooms


def test_no_rooms_import_each_other():
    imports = rooms.arrows()
    place = {room: i for i, layer in enumerate(rooms.levels(imports)) for room in layer}
    assert set(place) == set(imports)
    assert all(place[room] < place[used] for room, to in imports.items() for used in to)
    with pytest.raises(CycleError):
        rooms.levels({"a": {"b"}, "b": {"a"}})


def test_arrows_follow_imports_under_short_names():
    imports = rooms.arrows()
    assert "foundation" in imports["models"]  # `from semsearch_nb import settings`
    assert imports["vectors"] == set() and "models" not in imports["indexes"] and "datasets" not in imports["indexes"]


def test_an_arrow_that_a_longer_way_replaces_is_left_out():
    assert rooms.shortest({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_every_room_says_what_it_is_for():
    table = rooms.table().splitlines()[2:]
    assert len(table) == len(rooms.rooms()) and all(len(row.split("|")[2]) > 30 for row in table)


def test_the_picture_shows_every_room_and_every_arrow():
    drawn = ElementTree.fromstring(rooms.picture())
    written = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(written) == sorted(rooms.rooms()) and all(room in rooms.alt() for room in written)
    n_arrows = sum(map(len, rooms.shortest(rooms.arrows()).values()))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}path"))) == n_arrows > 20
