"""Reading a page of a listing item by item: decoded in one go it takes many times the memory of its text, and longer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kubectl_fsm.fields import Object

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def pieces(text: str) -> Iterator[Object]:
    """The members of a JSON object in their order, an object for each; the list `items` comes in pieces of one item.

    Raises `ValueError`, and `RecursionError`, as `json.loads` does, once what stands before has been given.
    """
    reader = _Reader(text)
    reader.expect("{")
    for _ in reader.members("}"):
        name = reader.value()
        if not isinstance(name, str):
            raise ValueError("the name of a member is no string")  # noqa: TRY004 - it is the text that is wrong
        reader.expect(":")
        if name == "items" and reader.take("["):
            for _ in reader.members("]"):
                yield {name: [reader.value()]}
        else:
            yield {name: reader.value()}
    reader.end()


class _Reader:
    """Steps through a JSON text, over white space and one token or value at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, character: str) -> bool:
        """Whether the character comes next, and if so step over it."""
        self._skip()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.take(character):
            raise ValueError(f"there is no {character!r} at {self._at}")

    def members(self, end: str) -> Iterator[None]:
        """Stop before each of the members up to `end`, for the caller to read it."""
        if self.take(end):
            return
        while True:
            yield
            if self.take(end):
                return
            self.expect(",")

    def value(self) -> Any:
        self._skip()
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        return value

    def end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            raise ValueError(f"there is more at {self._at}")

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
