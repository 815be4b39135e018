"""From argv to what docopt understands, and from docopt's answer to typed values.

docopt-ng 0.9.0 yields `=yaml` for `-o=yaml`, refuses `--flag=false`, accepts beginnings of options, and speaks of
`unmatched (duplicate?) arguments`. So the words are put in order here first, by the options that the usage text
itself describes; docopt then only matches them against the usage patterns and never sees a mistake in an option.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kubectl_fsm.durations import seconds
from kubectl_fsm.errors import UsageError
from kubectl_fsm.usage import Option

_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")
_SEPARATOR = "\n"
"""Between the values of a repeatable option, which docopt sees once. No option's value holds a line break."""
_BEGINNING = 3
"""As many letters of a name are taken for its beginning."""
_ALIKE = 0.8
"""The ratio of difflib from which on two names are alike: one slip in five letters, not `--bogus` for `--inbound`."""


class Words(NamedTuple):
    """A command line in order: values by option, and what is no option."""

    values: Mapping[str, Sequence[str]]
    positionals: Sequence[str]

    def canonical(self) -> Sequence[str]:
        """The words as docopt takes them: long options first, then everything else behind `--`."""
        given = [f"{name}={_SEPARATOR.join(values)}" if values else name for name, values in self.values.items()]
        return [*given, "--", *self.positionals] if self.positionals else given


def split_verb(argv: Sequence[str], known: Mapping[str, Option]) -> tuple[Sequence[str], str, Sequence[str]]:
    """Global options, verb, and the rest; the verb is empty where there is none. Raises `UsageError`."""
    words = iter(argv)
    before: list[str] = []
    for word in words:
        if word == "--":
            return before, *_first(list(words))
        if not word.startswith("-") or word == "-":
            return before, word, list(words)
        for option, value in _given(word, words, known):
            before.append(f"{option.name}={value}")
    return before, "", ()


def order(argv: Sequence[str], known: Mapping[str, Option]) -> Words:
    """Put a verb's words in order. Raises `UsageError` for an unknown option or one without its value."""
    for word in argv:
        if not word.isascii() and any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError(f"{word!r} is not UTF-8")
    values: dict[str, list[str]] = {}
    positionals: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            positionals += words
        elif not word.startswith("-") or word == "-":
            positionals.append(word)
        else:
            for option, value in _given(word, words, known):
                _store(values, option, value)
    return Words(values, positionals)


def nearest(word: str, known: Sequence[str]) -> str:
    """`did you mean --output?`, of what the word begins or is a slip of; or nothing."""
    import difflib  # noqa: PLC0415 - for mistakes only

    bare = word.lower().lstrip("-")
    names = {name.lower().lstrip("-"): name for name in known}
    begun = [full for name, full in names.items() if len(bare) >= _BEGINNING and name.startswith(bare)]
    found = begun or [names[name] for name in difflib.get_close_matches(bare, names, 1, _ALIKE)]
    return f"did you mean {', '.join(found)}?" if found else ""


class Arguments:
    """docopt's answer with types."""

    def __init__(self, parsed: Mapping[str, Any]) -> None:
        self._parsed = parsed

    @staticmethod
    def unmatched(words: Words, known: Mapping[str, Option], positionals: Mapping[str, Sequence[str]]) -> "Arguments":
        """Words that docopt would not take yet, because others are still to come."""
        defaults = {option.name: option.default for option in known.values()}
        given = {name: _SEPARATOR.join(values) or True for name, values in words.values.items()}
        return Arguments({**defaults, **given, **positionals})

    def text(self, name: str) -> str:
        """An option's value; empty where it is not given."""
        return self._parsed.get(name) or ""

    def flag(self, name: str) -> bool:
        return bool(self._parsed.get(name))

    def many(self, name: str) -> tuple[str, ...]:
        """The values of a repeatable option."""
        value = self.text(name)
        return tuple(value.split(_SEPARATOR)) if value else ()

    def again(self, *names: str) -> Sequence[str]:
        """The options that are given, as words for another command line."""
        return [f"{name}={value}" for name in names for value in self.many(name)]

    def seconds(self, name: str) -> float:
        """An option that is a length of time and has a default. Raises `UsageError`."""
        return seconds(name, self.text(name))

    def number(self, name: str, least: int, most: int) -> int:
        """An option that is a whole number and has a default. Raises `UsageError`."""
        text = self.text(name)
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise UsageError(f"{name} takes a number from {least} to {most}, not {text!r}")
        return int(text)

    def words(self, name: str) -> tuple[str, ...]:
        """A positional argument that may stand several times."""
        return tuple(self._parsed.get(name) or ())

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """An option's value out of a few; empty where it is not given. Raises `UsageError`."""
        value = self.text(name)
        if value and value not in allowed:
            raise UsageError(f"{name} takes {', '.join(allowed)}, not {value!r}", nearest(value, allowed))
        return value


def _first(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    return (words[0], words[1:]) if words else ("", ())


def _given(word: str, words: Iterator[str], known: Mapping[str, Option]) -> Iterator[tuple[Option, str]]:
    """The options in one word: `--long[=value]`, `-o value`, `-ovalue`, `-Av`."""
    cluster = word
    while cluster:
        option, value = _option(cluster, known)
        rest = ""
        if not option.takes_value and value is not None and not cluster.startswith("--") and cluster[2] != "=":
            rest, value = "-" + value, None
        if option.takes_value and value is None:
            value = option.bare or next(words, None)
            if value is None:
                raise UsageError(f"{cluster} needs a value")
        yield option, "true" if value is None else value
        cluster = rest


def _option(word: str, known: Mapping[str, Option]) -> tuple[Option, str | None]:
    """The option that a word starts with, and the value in the same word. Raises `UsageError`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        given = value if equals else None
    else:
        name, rest = word[:2], word[2:]
        given = rest.removeprefix("=") if rest else None
    if name not in known:
        longs = sorted({option.name for option in known.values()})
        raise UsageError(f"unknown option {name}", nearest(name, longs) or "see --help")
    return known[name], given


def _store(values: dict[str, list[str]], option: Option, value: str) -> None:
    if _SEPARATOR in value:
        raise UsageError(f"{option.name}: a line break is no part of a value")
    if option.takes_value:
        if not value:
            raise UsageError(f"{option.name} needs a value")
        values[option.name] = [*values.get(option.name, []), value] if option.repeatable else [value]
    elif value.lower() in _TRUE:
        values[option.name] = []
    elif value.lower() in _FALSE:
        values.pop(option.name, None)
    else:
        raise UsageError(f"{option.name} is true or false, not {value!r}")
