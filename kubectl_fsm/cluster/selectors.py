"""Label selectors as the API server and `kubectl -l` read them: `app=web,tier in (a, b),!canary,cores>2`.

Grammar and limits: Kubernetes, "Labels and Selectors" and `k8s.io/apimachinery/pkg/labels`. Field selectors
(`reason=FailedCreate,involvedObject.kind!=Pod`) are the simpler ones of `k8s.io/apimachinery/pkg/fields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.errors import InvalidObject, UsageError
from kubectl_fsm.fields import Object

_TOKEN = re.compile(r"\s*(?:(?P<sign>==|!=|[=!<>(),])|(?P<word>[^\s=!<>(),]+)|(?P<end>$))")
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_TERM = re.compile(r"(?P<path>[^\s=!,\\]+)(?P<operator>==?|!=)(?P<value>[^=,\\]*)")
_OPERATORS: Mapping[str, str] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True)
class Requirement:
    """One condition on a label: `operator` is `in`, `notin`, `exists`, `!`, `<` or `>`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator in ("!", "exists"):
            return (value is None) == (self.operator == "!")
        if self.operator == "notin":
            return value not in self.values
        if value is None:
            return False
        return value in self.values if self.operator == "in" else self._compares(value)

    def _compares(self, value: str) -> bool:
        (limit,) = self.values
        if not _INTEGER.fullmatch(value):
            return False
        return int(value) < int(limit) if self.operator == "<" else int(value) > int(limit)


@dataclass(frozen=True)
class Selector:
    """Requirements that must all hold; without any it matches everything."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse(text: str) -> Selector:
    """The selector that `text` writes. Raises `UsageError`, which points at the place that cannot be read."""
    return _Parser(text).selector()


def of_object(selector: Object) -> Selector:
    """The same of an object's `LabelSelector` (`matchLabels`, `matchExpressions`). Raises `InvalidObject`."""
    equal = [Requirement(key, "in", frozenset({value})) for key, value in fields.texts(selector, "matchLabels").items()]
    return Selector((*equal, *map(_expression, fields.parts(selector, "matchExpressions"))))


def _expression(found: Object) -> Requirement:
    operator = _OPERATORS.get(fields.text(found, "operator"))
    if operator is None:
        raise InvalidObject(
            f"{fields.place(found, 'operator')} is {found.get('operator')!r}, not one of {', '.join(_OPERATORS)}"
        )
    return Requirement(fields.text(found, "key"), operator, frozenset(map(str, fields.sequence(found, "values"))))


class Term(NamedTuple):
    """One condition of a field selector: the string at `path` is `value`, or is not."""

    path: tuple[str, ...]
    value: str
    equal: bool

    def matches(self, obj: Object) -> bool:
        """A missing field is empty. Raises `InvalidObject` for one that is no string."""
        return (fields.text(obj, *self.path) == self.value) == self.equal


class FieldSelector(NamedTuple):
    """Terms that must all hold; without any it matches everything."""

    terms: tuple[Term, ...]

    def matches(self, obj: Object) -> bool:
        return all(term.matches(obj) for term in self.terms)


def parse_fields(text: str) -> FieldSelector:
    """`[term {"," term}]` with `path ("=" | "==" | "!=") value`. Raises `UsageError` for what is no term.

    Values with a comma, an equals sign or a backslash would need escapes; no field that can be selected by holds them.
    """
    return FieldSelector(tuple(map(_term, filter(None, text.split(",")))))


def _term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise UsageError(f"field selector: {text} is not FIELD=VALUE or FIELD!=VALUE")
    return Term(tuple(match["path"].split(".")), match["value"], match["operator"] != "!=")


class _Parser:
    """Each method reads what its docstring's grammar says, from `self.column` on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._column = 0

    def selector(self) -> Selector:
        """`[requirement {"," requirement}]`."""
        requirements: list[Requirement] = []
        while not self._take("end"):
            if requirements:
                self._expect(",")
            requirements.append(self._requirement())
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        """`"!" key | key [operator operand]`."""
        if self._take("!"):
            return Requirement(self._key(), "!")
        key = self._key()
        if self._take("=", "=="):
            return Requirement(key, "in", frozenset({self._value()}))
        if self._take("!="):
            return Requirement(key, "notin", frozenset({self._value()}))
        if sign := self._take("<", ">"):
            return Requirement(key, sign, frozenset({self._integer()}))
        if operator := self._take("in", "notin"):
            return Requirement(key, operator, self._values())
        if self._peek()[0] not in (",", "end"):
            raise self._error("expected =, ==, !=, in, notin, <, > or a comma")
        return Requirement(key, "exists")

    def _values(self) -> frozenset[str]:
        """`"(" value {"," value} ")"`; a value may be empty, the whole list may not."""
        self._expect("(")
        if self._peek()[0] == ")":
            raise self._error("expected a value")
        values = {self._value()}
        while not self._take(")"):
            self._expect(",")
            values.add(self._value())
        return frozenset(values)

    def _key(self) -> str:
        """`[prefix "/"] name`."""
        key = self._word("a label key")
        prefix, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
            raise self._error(f"{key} is not a label key", len(key))
        return key

    def _value(self) -> str:
        """`[name]`."""
        if self._peek()[0] != "word":
            return ""
        value = self._word("a value")
        if not _NAME.fullmatch(value):
            raise self._error(f"{value} is not a label value", len(value))
        return value

    def _integer(self) -> str:
        """An integer of at most 64 bits, as text."""
        value = self._word("an integer")
        if not _INTEGER.fullmatch(value) or not -(2**63) <= int(value[:30]) < 2**63:
            raise self._error(f"{value} is not an integer", len(value))
        return value

    def _peek(self) -> tuple[str, str, int]:
        """The next token's kind (a sign is its own kind), its text and where it ends."""
        match = _TOKEN.match(self._text, self._column)
        if match is None:  # a token follows white space, or the end does
            raise AssertionError(self._text)
        sign = match["sign"]
        if sign is not None:
            return sign, sign, match.end()
        return ("word", match["word"], match.end()) if match["word"] else ("end", "", match.end())

    def _take(self, *wanted: str) -> str:
        kind, text, end = self._peek()
        if kind not in wanted and text not in wanted:
            return ""
        self._column = end
        return text or kind

    def _word(self, what: str) -> str:
        kind, text, end = self._peek()
        if kind != "word":
            raise self._error(f"expected {what}")
        self._column = end
        return text

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error(f"expected {sign}")

    def _error(self, what: str, back: int = 0) -> UsageError:
        """At the next token, or at one of `back` characters that was read already."""
        _, text, end = self._peek()
        column = self._column - back if back else end - len(text)
        return UsageError(f"label selector: {what}\n  {self._text}\n  {' ' * column}^")
