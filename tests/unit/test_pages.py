"""A page read in pieces is the page read at once."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm.cluster.pages import pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
PAGES = st.dictionaries(st.sampled_from(["kind", "metadata", "items", "x"]), VALUES, max_size=4)


def whole(text):
    """The pieces put together."""
    found = {}
    for piece in pieces(text):
        ((name, value),) = piece.items()
        found[name] = found[name] + value if name in found else value
    return found


def at_once(text):
    """What `json.loads` says, None where it raises; an empty list of items, which comes in no pieces, left out."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return {name: value for name, value in found.items() if (name, value) != ("items", [])}


def in_pieces(text):
    try:
        return whole(text)
    except ValueError:
        return None


@given(PAGES, st.sampled_from([None, 0, 2, "\t"]))
def test_every_object(page, indent):
    text = json.dumps(page, indent=indent)
    assert whole(text) == at_once(text)


@given(PAGES, st.data())
def test_what_is_no_json_is_refused(page, data):
    text = json.dumps(page)
    start = data.draw(st.integers(0, len(text) - 1))
    broken = text[:start] + data.draw(st.sampled_from(["", ",", "]", "}", "{", "1", '"', ":"])) + text[start + 1 :]
    loaded = at_once(broken) if broken.startswith("{") else None
    if loaded is not None and len(broken.split('"items"')) > 2:
        return  # a name that is there twice
    assert in_pieces(broken) == loaded


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "null", '{"items": [1, 2}', '{"items": [1,]}', "{} {}", "{1: 2}", "{,}"]
)
def test_texts_that_are_no_page(text):
    with pytest.raises(ValueError, match=r".*"):
        whole(text)


def test_items_come_before_the_rest_is_looked_at():
    found = pieces('{"metadata": {"continue": "x"}, "items": [{"a": 1}, {"b": 2}, oops')
    assert [next(found) for _ in range(3)] == [
        {"metadata": {"continue": "x"}},
        {"items": [{"a": 1}]},
        {"items": [{"b": 2}]},
    ]
    with pytest.raises(ValueError, match="Expecting value"):
        next(found)


def test_a_piece_is_an_object():
    assert all(isinstance(piece, Mapping) for piece in pieces('{"kind": "PodList", "items": [1, 2]}'))
