"""Where in a file of manifests each field is written, for editors and CI that show a finding at its line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from sys import intern
from typing import Any, NamedTuple

import yaml

from kubectl_fsm.cluster.documents import LOADER, Budget, Place, is_json
from kubectl_fsm.fields import Step

MAX_SPOTS = 300_000
"""Fields whose position is kept, in all files together: about 60 MB. Of what comes after them, the documents are found."""

_JSON_ONLY = ((rb"\ud", rb"\u0"), (rb"\uD", rb"\u0"), (b"\t", b" "))
"""What JSON has and YAML refuses, escapes of half a character and tabs, and what of the same length keeps the positions."""


class Spot(NamedTuple):
    """Where a key begins, or an item of a list, or a document: line and column from 1. `below` are the fields inside."""

    line: int
    column: int
    below: Mapping[Step, Spot]

    def at(self, path: Place) -> Spot:
        """The spot of what is at `path`, or of as much of the path as is written here: an alias hides what is below."""
        spot = self
        for step in path:
            if step not in spot.below:
                break
            spot = spot.below[step]
        return spot


def spots(data: bytes, path: str, budget: Budget) -> Mapping[int, Spot]:
    """The documents of a file that was read before, by their first lines: as many as the budget has room for.

    None where a YAML parser cannot follow JSON.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if is_json(data, path):
        for json_only, stand_in in _JSON_ONLY:
            data = data.replace(json_only, stand_in)
    reader = _Reader(data, budget)
    try:
        reader.read()
    except (yaml.YAMLError, RecursionError):
        return {}
    except _NoRoomError:
        pass
    return reader.found


class _NoRoomError(Exception):
    """The budget is spent."""


class _Reader:
    def __init__(self, data: bytes, budget: Budget) -> None:
        self.found: dict[int, Spot] = {}
        self._events: Iterator[Any] = iter(yaml.parse(data, Loader=LOADER))
        self._budget = budget

    def read(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = next(self._events)
                self._add(self.found, root.start_mark.line + 1, root.start_mark, root)

    def _add(self, below: dict[Any, Spot], step: Step, mark: Any, event: Any) -> None:
        """The value that begins with `event`, under its step and with all that is inside; it is looked for at `mark`."""
        if not self._budget.spend(1):
            raise _NoRoomError
        inside: dict[Step, Spot] = {}
        below[step] = Spot(mark.line + 1, mark.column + 1, inside)
        if isinstance(event, yaml.MappingStartEvent):
            while not isinstance(key := next(self._events), yaml.MappingEndEvent):
                name = key.value if isinstance(key, yaml.ScalarEvent) else f"*{key.anchor}"
                self._add(inside, intern(name), key.start_mark, next(self._events))
        elif isinstance(event, yaml.SequenceStartEvent):
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                self._add(inside, len(inside), item.start_mark, item)
