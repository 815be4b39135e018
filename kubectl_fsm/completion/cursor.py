"""Where in a command line the cursor stands, and what is wanted there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import commands
from kubectl_fsm.arguments import Arguments, Words, order, split_verb
from kubectl_fsm.usage import Option, options, read

VERB, OPTION = "VERB", "OPTION"
_CURSOR = "\0"
"""Stands for the unfinished word; no argument of a process can hold it."""


class Cursor(NamedTuple):
    """A place in a command line.

    `wanted` is what usage texts call the value that belongs there (`NAMESPACE`, or all that it may be: `client|server`),
    or `VERB` or `OPTION`; empty for nothing. `typed` is what stands there already, `beside` what is given in its place or
    beside it, `words` are all the others, and `known` the options that fit.
    """

    verb: str
    wanted: str
    typed: str
    beside: Sequence[str]
    words: Words
    known: Mapping[str, Option]

    def arguments(self, **positionals: Sequence[str]) -> Arguments:
        """The words as a verb reads them, with these as its positional arguments."""
        return Arguments.unmatched(self.words, self.known, positionals)


def find(words: Sequence[str], top: str) -> Cursor:
    """The place of the last word; `top` is the usage text above the verbs'. Raises `UsageError` for an unknown option."""
    *before, last = words or [""]
    name, equals, value = last.partition("=")
    is_option = last.startswith("-") and "--" not in before
    attached = bool(equals) and is_option
    front, verb, after = split_verb([*before, f"{name}={_CURSOR}" if attached else _CURSOR], options(top))
    usage = commands.load(verb).USAGE if verb in commands.VERBS else top
    known = options(usage)
    found = order([*front, *after] if verb in ("", *commands.VERBS) else [*front, verb, *after], known)
    others = _without_cursor(found)
    place = Cursor(verb.strip(_CURSOR), "", value if attached else last, others.positionals, others, known)
    for option, values in found.values.items():
        if _CURSOR in values:
            return place._replace(wanted=known[option].value, beside=others.values.get(option, ()))
    if is_option:
        return place._replace(wanted=OPTION)
    return place._replace(wanted=_positional(verb, usage, found.positionals.index(_CURSOR)))


def _positional(verb: str, usage: str, index: int) -> str:
    """What is wanted behind so many words that are no options."""
    if verb in (_CURSOR, "help"):
        return VERB if index == (verb == "help") else ""
    if verb not in commands.VERBS:
        return ""
    text = read(usage)
    last = len(text.arguments) - 1
    if index > last and text.synopsis.endswith("...]"):
        index = last
    return text.arguments[index] if index <= last else ""


def _without_cursor(found: Words) -> Words:
    left = {name: [value for value in values if value != _CURSOR] for name, values in found.values.items()}
    return Words(
        {name: values for name, values in left.items() if values or not found.values[name]},
        [word for word in found.positionals if word != _CURSOR],
    )
