"""What proves a value: a base for records that check themselves, and the checks that they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from kubectl_fsm.errors import RulesSyntaxError

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_):  # noqa: ANN003, ANN201 - type checkers read the other branch
        return lambda cls: cls


MAX_PORT = 65535
MAX_ID = 2**32 - 2
"""The highest user or group id; 2³² - 1 means none."""
ALL_BITS = 2**32 - 1

_SHOWN = 40
_PLAIN_WORD = re.compile(r"[0-9A-Za-z_.,:/+@%=-]*")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")


@dataclass_transform(frozen_default=True)
class Value:
    """What a frozen dataclass is, without code that is generated for each class: see docs/decisions/0001-records.md.

    Fields are the annotations, in their order; `validate` raises where they do not make a value.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls._names = tuple(cls.__annotations__)
        cls._defaults = {name: vars(cls)[name] for name in cls._names if name in vars(cls)}

    def __init__(self, *given: Any, **named: Any) -> None:
        fields = self.__dict__
        fields.update(self._defaults)
        fields.update(zip(self._names, given, strict=False))
        fields.update(named)
        if len(given) > len(self._names) or len(fields) != len(self._names) or not fields.keys() >= {*self._names}:
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self._names)}")
        self.validate()

    def validate(self) -> None:
        """Raises `RulesSyntaxError` where the fields do not make a value."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return self.__class__ is other.__class__ and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.__class__, *map(self.__dict__.__getitem__, self._names)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in self._names)})"


def decimal(text: str, most: int, what: str) -> int:
    """A number from 0 to `most` in plain decimal: iptables reads a leading zero as octal, so there is none."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not digits or (text[0] == "0" and text != "0") or int(text) > most:
        raise RulesSyntaxError(f"{shown(text)} is no {what}: a number from 0 to {most}", text)
    return int(text)


def shown(text: str) -> str:
    """A text from elsewhere, as a message can quote it: on one line, and not all of a long one."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def is_word(text: str) -> bool:
    """Whether a text stands for itself, unquoted, as an argument."""
    return text != "" and not text.startswith("-") and _PLAIN_WORD.fullmatch(text) is not None


def require_all(pattern: re.Pattern[str], text: str, what: str) -> None:
    """The whole text is of the pattern; the error is at the first character that is not."""
    found = pattern.match(text)
    end = found.end() if found else 0
    if end < len(text):
        raise RulesSyntaxError(f"a {what} cannot hold this character", text, end)


def require_text(text: str, what: str, longest: int) -> None:
    """Text that takes quotes: anything that a terminal would print."""
    require_all(_PRINTABLE, text, what)
    if len(text.encode()) > longest:
        raise RulesSyntaxError(f"a {what} has at most {longest} bytes", text)


def require_word(text: str, what: str, longest: int) -> None:
    require_all(_PLAIN_WORD, text, what)
    if not text or text.startswith("-"):
        raise RulesSyntaxError(f"a {what} is missing", text)
    if len(text) > longest:
        raise RulesSyntaxError(f"a {what} has at most {longest} characters", text, longest)


def require_target_port(port: int | None) -> None:
    if port is not None and not 1 <= port <= MAX_PORT:
        raise RulesSyntaxError(f"a port to go to is a number from 1 to {MAX_PORT}")


def require_marks(*marks: int) -> None:
    if not all(0 <= mark <= ALL_BITS for mark in marks):
        raise RulesSyntaxError("a mark and its mask are numbers of 32 bits")


def require_one_address(text: str) -> None:
    if "/" in text:
        raise RulesSyntaxError("one address is wanted, not a range", text, text.index("/"))
    masked(text)


@lru_cache(maxsize=1024)
def masked(text: str) -> tuple[int, int]:
    """Value and mask of `a.b.c.d`, `a.b.c.d/length` or `a.b.c.d/mask`, the value without host bits."""
    address, slash, suffix = text.partition("/")
    value = _number(address, text)
    if not slash:
        return value, ALL_BITS
    mask = _number(suffix, text) if "." in suffix else 2**32 - 2 ** (32 - decimal(suffix, 32, "prefix length"))
    return value & mask, mask


def _number(quad: str, text: str) -> int:
    octets = quad.split(".", 4)
    if len(octets) != 4:  # noqa: PLR2004 - an IPv4 address has four
        raise RulesSyntaxError("an IPv4 address or range is a.b.c.d or a.b.c.d/length", text)
    first, second, third, fourth = (decimal(octet, 255, "part of an IPv4 address") for octet in octets)
    return first << 24 | second << 16 | third << 8 | fourth


def quad(value: int) -> str:
    """The address of a 32-bit number."""
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
