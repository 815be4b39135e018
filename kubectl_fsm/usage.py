"""Reads a usage text: what docopt takes for its grammar is what help, pages, the descriptor and completion go by."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_OPTION = re.compile(
    r"^ {2}(?:(?P<short>-\w), | {4})(?P<long>--[a-z-]+)(?:=(?P<value>\S+))?(?P<text>.*(?:\n {10,}\S.*)*)", re.MULTILINE
)
_ALONE = re.compile(r"\(alone: (\S+)\)")
_DEFAULT = re.compile(r"\[default: (\S+)\]")
_ARGUMENT = re.compile(r"\b(?:[A-Z]+|[a-z]+(?:\|[a-z]+)+)\b")


class Option(NamedTuple):
    """An option as a usage text describes it.

    `value` is what its value is called, empty where it takes none: `NAMESPACE`, or in small letters all that it may be,
    `client|server`.
    `(repeatable)`, `(alone: VALUE)` (it may stand without one, and then has this) and `[default: VALUE]` in its text have
    a meaning.
    """

    name: str
    short: str
    value: str
    text: str

    @property
    def takes_value(self) -> bool:
        return bool(self.value)

    @property
    def repeatable(self) -> bool:
        return "(repeatable)" in self.text

    @property
    def bare(self) -> str:
        return _first(_ALONE, self.text)

    @property
    def default(self) -> str:
        return _first(_DEFAULT, self.text)


class Example(NamedTuple):
    """A command line, and what it is for, which stands behind it as a remark of a shell's; that may be empty."""

    command: str
    text: str


class Usage(NamedTuple):
    """A usage text in its parts.

    `arguments` is what words are called that are no options, as the `value` of an option is; `sections` are the options
    by their heading.
    """

    description: str
    synopsis: str
    arguments: Sequence[str]
    examples: Sequence[Example]
    sections: Mapping[str, Sequence[Option]]
    notes: str


def options(usage: str) -> Mapping[str, Option]:
    """The options of a usage text, by long and by short name."""
    found = (_option(match) for match in _OPTION.finditer(usage))
    return {name: option for option in found for name in (option.name, option.short) if name}


def read(usage: str) -> Usage:
    """The parts of a usage text."""
    description, _, rest = usage.partition("\n\nUsage:\n")
    synopsis, _, rest = rest.partition("\n\n")
    parts: dict[str, list[str]] = {"": []}
    heading = ""
    for line in rest.splitlines():
        if line.startswith(" "):
            parts[heading].append(line)
        elif line.endswith(":"):
            heading = line.removesuffix(":")
            parts[heading] = []
        elif line:
            parts[""].append(line)
    notes, examples = parts.pop(""), parts.pop("Examples", [])
    return Usage(
        description,
        synopsis.strip(),
        _ARGUMENT.findall(synopsis),
        [_example(line) for line in examples],
        {title: list(dict.fromkeys(options("\n".join(lines)).values())) for title, lines in parts.items()},
        "\n".join(notes),
    )


def _option(match: re.Match[str]) -> Option:
    return Option(match["long"], match["short"] or "", match["value"] or "", " ".join(match["text"].split()))


def _example(line: str) -> Example:
    command, _, text = line.strip().partition(" # ")
    return Example(command.rstrip(), text)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
