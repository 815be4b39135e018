"""Reading YAML and JSON as kubectl reads manifests, from files that nobody vouches for.

Values are built straight from the parser's events, so that a hostile file is stopped while it is read: depth, number
of values (aliases counted as what they stand for) and cycles are checked before anything grows. Plain scalars mean what
they mean to kubectl's YAML library (go.yaml.in/yaml/v2, `resolve.go`): `yes` is true, `0777` is octal, `1e3` is a
number, and dates and sexagesimals are strings.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from functools import partial
from sys import intern
from typing import Any, NamedTuple, NoReturn

import yaml

from kubectl_fsm.errors import ManifestError

MAX_BYTES = 50_000_000
"""The largest file that is read."""
MAX_VALUES = 2_000_000
"""Keys, scalars, lists and mappings in one run, aliases expanded: about 200 MB of memory."""
MAX_EDITED_BYTES, MAX_EDITED_VALUES = 10_000_000, 1_000_000
"""The same for one file that is edited: it is held more than once, and a character may take four bytes."""
MAX_DEPTH = 100
"""Levels of nesting. The deepest objects in practice, CustomResourceDefinitions, have about 50."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: about ten times as fast."""

_TAG = "tag:yaml.org,2002:"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "null": type(None),
    "timestamp": str,
}
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_LONGEST_INTEGER = len("-0b") + 64
_LONGEST_WHOLE = 1e21  # below it, Go writes a whole float64 into JSON without point and exponent
_OCTAL = re.compile(r"\A([-+]?)0(?=[0-7])")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_JSON_STRING = re.compile(rb'"[^"]*"')
_JSON_SIGNS = (b",", b":", b"[", b"{")


Place = tuple[str | int, ...]
"""Where a value is: keys and indexes from the document's root."""


class Document(NamedTuple):
    """One document of a file: its value, its first line (from 1), and the span of its text in characters.

    The span starts where the document before it ends, so it holds comments and the `---` line too. `flaw` is the first
    thing in it that no Kubernetes object may hold; it matters only where the document is meant to be one.
    """

    value: Any
    line: int
    start: int
    end: int
    flaw: ManifestError | None = None


class Budget:
    """How many values may still be read."""

    def __init__(self, values: int = MAX_VALUES) -> None:
        self.values = self.limit = values

    def spend(self, values: int) -> bool:
        """False where that is more than is left."""
        self.values -= values
        return self.values >= 0


def content(path: str) -> bytes:
    """What is in a file, up to one byte more than `documents` accepts. Raises `ManifestError`."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: {getattr(error, 'strerror', error)}") from error


def documents(data: bytes, path: str, budget: Budget) -> Iterator[Document]:
    """The documents of a file, empty ones left out; `path` is for messages.

    Raises `ManifestError`, naming file and line, for what is not YAML or JSON, and for what is too much of it.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB", "name fewer or smaller files")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise ManifestError(f"{path}:{line}: a NUL character; only UTF-8 text is read")
    data = data.removeprefix(codecs.BOM_UTF8)
    if is_json(data, path):
        found = _json(data, path, budget)
        if found is not None:
            return iter((found,))
    return _Reader(data, path, budget).documents()


def is_json(data: bytes, path: str) -> bool:
    """Whether a file is to be read as JSON before YAML is tried."""
    return path.endswith(".json") or data.lstrip()[:1] in (b"{", b"[")


def resolve(text: str) -> Any:
    """What a plain (unquoted) scalar means. Raises `ValueError` for infinities and not-a-number, which JSON lacks."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise ValueError(text)
    digits = text.replace("_", "")
    if len(digits) <= _LONGEST_INTEGER and _INTEGER.fullmatch(digits):
        return int(_OCTAL.sub(r"\g<1>0o", digits), 0)
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return int(number) if number.is_integer() and abs(number) < _LONGEST_WHOLE else number
    return text


def _json(data: bytes, path: str, budget: Budget) -> Document | None:
    """The one document of a JSON file; None where only a YAML parser can read it, or say on which line it is wrong."""
    values = _json_values(data, budget.values)
    if values > budget.values:
        raise _too_much(path, budget)
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=partial(_refuse, path))
    except RecursionError:
        raise ManifestError(f"{path}: nested too deeply") from None
    except json.JSONDecodeError as error:
        if not path.endswith(".json"):
            return None
        raise ManifestError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except ValueError:
        return None
    if _is_deep(value):
        raise ManifestError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    budget.spend(values)
    line = data.count(b"\n", 0, len(data) - len(data.lstrip())) + 1
    return Document(value, line, 0, len(data.decode()))


def _is_deep(value: Any) -> bool:
    """Whether there are more levels than may be: level by level, since these may be more than Python calls itself."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below = (item.values() if type(item) is dict else item for item in level if type(item) in (dict, list))
        level = [item for items in below for item in items if type(item) in (dict, list)]
    return bool(level)


def _json_values(data: bytes, limit: int) -> int:
    """At least as many as `data` holds; more exactly so where a cheap count, strings included, is above `limit`."""
    count = sum(map(data.count, _JSON_SIGNS))
    if count <= limit:
        return count
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if (strings := data.count(b'"') // 2) > limit:
        return strings
    return sum(map(_JSON_STRING.sub(b"", data).count, _JSON_SIGNS))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError
    return mapping


def _refuse(path: str, constant: str) -> NoReturn:
    raise ManifestError(f"{path}: not JSON: {constant}")


class _Reader:
    """Builds the documents of one YAML file from its events."""

    def __init__(self, data: bytes, path: str, budget: Budget) -> None:
        self._data = data
        self._path = path
        self._budget = budget
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._flaw: ManifestError | None = None

    def documents(self) -> Iterator[Document]:
        try:
            self._events = iter(yaml.parse(self._data, Loader=LOADER))
            yield from self._documents()
        except yaml.MarkedYAMLError as error:
            what = ": ".join(part for part in (error.context, error.problem) if part)
            # a key without colon is noticed lines later; where it began is what helps
            late = error.context == "while scanning a simple key" or error.problem_mark is None
            raise self._error(error.context_mark if late else error.problem_mark, f"not YAML: {what}") from None
        except yaml.reader.ReaderError as error:
            line = self._data.count(b"\n", 0, error.position) + 1
            raise ManifestError(f"{self._path}:{line}: not YAML: {error.reason}; only UTF-8 text is read") from None

    def _documents(self) -> Iterator[Document]:
        start = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self._flaw = {}, None
                first = next(self._events)
                value = self._value(first, 0)
                end = next(self._events).end_mark.index
                if value is not None:
                    yield Document(value, first.start_mark.line + 1, start, end, self._flaw)
                start = end

    def _value(self, event: Any, depth: int) -> Any:
        if not self._budget.spend(1):
            raise self._error(event.start_mark, "", _too_much(self._path, self._budget))
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        anchor = event.anchor
        before = self._budget.values
        if anchor is not None:
            self._budget.spend(1)  # it takes memory of its own
            self._anchors[anchor] = None
        if kind is yaml.ScalarEvent:
            value = self._scalar(event)
        elif depth >= MAX_DEPTH:
            raise self._error(event.start_mark, f"nested deeper than {MAX_DEPTH} levels")
        else:
            self._check_collection_tag(event)
            value = self._sequence(depth) if kind is yaml.SequenceStartEvent else self._mapping(depth)
        if anchor is not None:
            self._anchors[anchor] = (value, before - self._budget.values)
        return value

    def _alias(self, event: Any) -> Any:
        found = self._anchors.get(event.anchor)
        if found is None:
            what = "stands for what it is part of" if event.anchor in self._anchors else "has no anchor before it"
            raise self._error(event.start_mark, f"the alias *{event.anchor} {what}")
        value, values = found
        if not self._budget.spend(values):
            raise self._error(event.start_mark, "", _too_much(self._path, self._budget))
        return value

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while type(event := next(self._events)) is not yaml.SequenceEndEvent:
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while type(event := next(self._events)) is not yaml.MappingEndEvent:
            if type(event) is yaml.ScalarEvent and event.value == "<<" and event.implicit[0]:
                merged.update(self._merge(next(self._events), depth))
                continue
            key = self._key(event, depth)
            value = self._value(next(self._events), depth + 1)
            if key in mapping:
                self._note(event, f"the key {key} is there twice")
            mapping[key] = value
        return {**merged, **mapping} if merged else mapping

    def _key(self, event: Any, depth: int) -> str:
        key = self._value(event, depth + 1)
        if isinstance(key, dict | list):
            raise self._error(event.start_mark, "a key that is no text")
        if not isinstance(key, str):
            self._note(event, f"the key {event.value or 'null'} is no text; quote it")
            key = str(event.value)
        return intern(key)

    def _merge(self, event: Any, depth: int) -> dict[str, Any]:
        """What `<<: *base` or `<<: [*a, *b]` brings in; of several, the earlier wins."""
        value = self._value(event, depth + 1)
        merged: dict[str, Any] = {}
        for base in value if isinstance(value, list) else [value]:
            if not isinstance(base, dict):
                raise self._error(event.start_mark, "<< takes a mapping or a list of mappings")
            merged = {**base, **merged}
        return merged

    def _scalar(self, event: Any) -> Any:
        text = event.value
        try:
            value = resolve(text) if event.implicit[0] else text
            tag = event.tag
            if tag is None or tag == "!":
                return value
            return self._tagged(event, tag.removeprefix(_TAG), text)
        except ValueError:
            self._note(event, f"{text} is no value that JSON has")
            return text

    def _tagged(self, event: Any, tag: str, text: str) -> Any:
        if tag not in _TYPES:
            self._note(event, f"the tag {tag} has no meaning in a manifest")
            return text
        if tag in ("str", "timestamp"):
            return text
        value = resolve(text)
        if not isinstance(value, _TYPES[tag]):
            self._note(event, f"{text} is no {tag}")
        return value

    def _check_collection_tag(self, event: Any) -> None:
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            self._note(event, f"the tag {event.tag} has no meaning in a manifest")

    def _note(self, event: Any, what: str) -> None:
        self._flaw = self._flaw or self._error(event.start_mark, what)

    def _error(self, mark: Any, what: str, error: ManifestError | None = None) -> ManifestError:
        place = f"{self._path}:{mark.line + 1}:{mark.column + 1}"
        if error is not None:
            return ManifestError(f"{place}: {error.message.removeprefix(self._path + ': ')}", error.hint)
        hint = "it looks like a template: give its output instead, as `helm template` prints it"
        return ManifestError(f"{place}: {what}", hint if b"{{" in self._data else "")


def _too_much(path: str, budget: Budget) -> ManifestError:
    return ManifestError(f"{path}: more than {budget.limit:,} values in all", "name fewer or smaller files")


def canonical(value: Any) -> str:
    """Text that is the same for what is equal as JSON: 1 is not true."""
    return json.dumps(value, sort_keys=True)
