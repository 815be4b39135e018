"""The pictures in docs/pictures are what the program shows today, and need nothing but themselves."""

import re
from xml.etree import ElementTree as ET

import pytest

from docs.pictures import FOLDER, drawn, pictures
from tests.docs.test_blocks import PAGES

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made():
    return dict(pictures())


def test_pictures_are_up_to_date(made):
    there = {path: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert there == made, "docs/pictures is not what the program shows: make pictures"


def test_every_picture_is_shown_somewhere_and_is_there(made):
    links = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)#]*pictures/[^)#]+)\)", page.read_text("utf-8"))
    }
    assert links == set(made)


def test_a_picture_loads_nothing(made):
    for path, text in made.items():
        if path.suffix == ".svg":
            named = {name for one in ET.fromstring(text).iter() for name in [one.tag, *one.keys()]}  # noqa: S314
            assert named == {f"{SVG}{tag}" for tag in ("svg", "style", "rect", "text")} | {
                *("viewBox", "width", "height", "rx", "x", "y", "textLength", "class"),
            }
            assert not re.search("url|@import|@font-face", text)


def test_words_stand_in_their_columns_and_in_colour():
    svg = ET.fromstring(drawn("\x1b[1ma <b>\x1b[0m   c\n\n  \x1b[31m&d\x1b[0m\n", 20))  # noqa: S314
    assert [(one.get("x"), one.get("y"), one.get("class"), one.text) for one in svg.iter(f"{SVG}text")] == [
        ("16.0", "30", "c1", "a <b>"),
        ("83.2", "30", None, "c"),
        ("32.8", "66", "c31", "&d"),
    ]


def test_what_is_no_colour_cannot_be_drawn():
    with pytest.raises(ValueError, match="column 1"):
        drawn("a\x1b[2Kb", 20)
