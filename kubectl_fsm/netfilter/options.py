"""The options of matches: reader and writer, each the opposite of the other.

An option stands after `!` where it is negated, and after `-m` where it belongs to a module that `-p` does not load.
What follows an option is its value; `_MATCHES` says which option makes which match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.matches import (
    MAX_PROTOCOL,
    PROTOCOLS,
    RANDOM_SHARES,
    WITH_PORTS,
    Address,
    AddressType,
    Comment,
    Conntrack,
    Direction,
    End,
    Identity,
    Interface,
    Kind,
    Mark,
    Match,
    Nth,
    Owner,
    Ports,
    Protocol,
    Random,
    Set,
    State,
)
from kubectl_fsm.netfilter.values import ALL_BITS, MAX_ID, MAX_PORT, decimal, shown
from kubectl_fsm.netfilter.words import Quoting, Words

STATISTIC = "statistic"
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,8}")
_PROBABILITY = re.compile(r"[0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20}")


_E = TypeVar("_E", State, Kind)
_SIDES: Mapping[End, str] = {End.SOURCE: "src", End.DESTINATION: "dst"}


def write_option(match: Match, quoting: Quoting) -> str:
    if isinstance(match, Comment):
        return f"--comment {quoting.write(match.text)}"
    negation = "! " if match.negated else ""
    if isinstance(match, Protocol):
        return f"{negation}-p {match.name}"
    if isinstance(match, Address):
        return f"{negation}-{match.end.value} {match.text}"
    if isinstance(match, Interface):
        return f"{negation}-{match.direction.value} {match.name}"
    if isinstance(match, Ports):
        end = match.end.value if match.end else ""
        ports = ",".join(write_range(ports, ":") for ports in match.ranges)
        return f"{negation}--{end}port{'s' if match.multi else ''} {ports}"
    return _write_module_option(match, negation)


def _write_module_option(  # noqa: PLR0911
    match: Owner | Conntrack | AddressType | Random | Nth | Mark | Set, negation: str
) -> str:
    if isinstance(match, Owner):
        return f"{negation}--{match.identity.value}-owner {write_range(match.ids, '-')}"
    if isinstance(match, Conntrack):
        return f"{negation}--ctstate {_write_names(State, match.states)}"
    if isinstance(match, AddressType):
        return f"{negation}--{_SIDES[match.end]}-type {_write_names(Kind, match.kinds)}"
    if isinstance(match, Random):
        return f"--mode random {negation}--probability {match.shares / RANDOM_SHARES:.11f}"
    if isinstance(match, Nth):
        return f"--mode nth {negation}--every {match.every} --packet {match.packet}"
    if isinstance(match, Mark):
        mask = "" if match.mask == ALL_BITS else f"/{match.mask:#x}"
        return f"{negation}--mark {match.value:#x}{mask}"
    return f"{negation}--match-set {match.name} {','.join(_SIDES[end] for end in match.ends)}"


def write_range(numbers: range, separator: str) -> str:
    last = numbers.stop - 1
    return f"{last}" if numbers.start == last else f"{numbers.start}{separator}{last}"


def _write_names(kind: type[_E], chosen: frozenset[_E]) -> str:
    return ",".join(member.value for member in kind if member in chosen)


def module_of(match: Match) -> str:
    """The module that a match's option belongs to; empty where `-p` loads it or it belongs to no module."""
    if isinstance(match, Ports):
        return "multiport" if match.multi else ""
    return _MODULE_OF.get(type(match), "")


_MODULE_OF: Mapping[type, str] = {
    Owner: "owner",
    Conntrack: "conntrack",
    AddressType: "addrtype",
    Random: STATISTIC,
    Nth: STATISTIC,
    Mark: "mark",
    Set: "set",
    Comment: "comment",
}


def read_statistic(words: Words) -> Random | Nth:
    """The options that follow `-m statistic`; they say one thing together, and so stand together, in any order.

    `--packet` may be missing, as it is where older releases of iptables-save wrote a 0.
    """
    module_at = words.focus
    given: dict[str, str] = {}
    negated = False
    mode = ""
    while True:
        at = words.index
        word = words.words[at + 1] if words.peek() == "!" and at + 1 < len(words.words) else words.peek()
        if word not in _STATISTIC_OPTIONS:
            break
        if words.take("!") and word not in ("--probability", "--every"):
            raise words.error(f"{word} cannot be negated", at)
        if word in given:
            raise words.error(f"{word} is given twice")
        negated = negated or words.words[at] == "!"
        words.index += 1
        given[word] = words.value(word)
        _STATISTIC_OPTIONS[word](given[word])
    mode = given.pop("--mode", "")
    if not mode:
        raise words.error(f"-m {STATISTIC} needs --mode random or --mode nth", module_at)
    needed = ("--probability",) if mode == "random" else ("--every", "--packet")
    if needed[0] not in given or not given.keys() <= {*needed}:
        raise words.error(f"--mode {mode} needs {' and '.join(needed)}, and nothing else", module_at)
    words.focus = module_at
    if mode == "random":
        return Random(_shares(given["--probability"]), negated)
    return Nth(_number(given["--every"]), _number(given.get("--packet", "0")), negated)


def _mode(text: str) -> str:
    if text not in ("random", "nth"):
        raise RulesSyntaxError(f"unknown mode {shown(text)}", text)
    return text


def _shares(text: str) -> int:
    if not _PROBABILITY.fullmatch(text) or float(text) > 1:
        raise RulesSyntaxError(f"{shown(text)} is no probability: a number from 0 to 1", text)
    return round(float(text) * RANDOM_SHARES)


def _number(text: str) -> int:
    return decimal(text, ALL_BITS, "count of packets")


_STATISTIC_OPTIONS: Mapping[str, Callable[[str], object]] = {
    "--mode": _mode,
    "--probability": _shares,
    "--every": _number,
    "--packet": _number,
}


def read_range(text: str, separator: str, most: int, what: str) -> range:
    """One number, or two with the separator between them."""
    first, _, last = text.partition(separator)
    start = decimal(first, most, what)
    return range(start, 1 + (decimal(last, most, what) if separator in text else start))


def marks(text: str) -> tuple[int, int]:
    """`VALUE` or `VALUE/MASK`."""
    value, slash, mask = text.partition("/")
    return bits(value), bits(mask) if slash else ALL_BITS


def bits(text: str) -> int:
    """A number of 32 bits, decimal or after `0x`."""
    return int(text, 16) if _HEX.fullmatch(text) else decimal(text, ALL_BITS, "mark")


def _protocol(text: str, negated: bool) -> Protocol:  # noqa: FBT001 - as every reader of a match
    name = text.lower()
    if text.isdigit():
        number = decimal(text, MAX_PROTOCOL, "protocol")
        name = next((known for known, value in PROTOCOLS.items() if value == number), text)
    return Protocol(name, negated)


def _ports(end: End, text: str, negated: bool) -> Ports:  # noqa: FBT001
    """`22`, `80:90`, `:1024` from 0 on, `1024:` up to 65535."""
    if text.startswith(":"):
        text = f"0{text}"
    if text.endswith(":"):
        text = f"{text}{MAX_PORT}"
    return Ports(end, (read_range(text, ":", MAX_PORT, "port"),), negated)


def _multiport(end: End | None, text: str, negated: bool) -> Ports:  # noqa: FBT001
    return Ports(end, tuple(read_range(item, ":", MAX_PORT, "port") for item in text.split(",")), negated, multi=True)


def _owner(identity: Identity, text: str, negated: bool) -> Owner:  # noqa: FBT001
    return Owner(identity, read_range(text, "-", MAX_ID, identity.value), negated)


def _conntrack(text: str, negated: bool) -> Conntrack:  # noqa: FBT001
    return Conntrack(_named(State, text, "state"), negated)


def _address_type(end: End, text: str, negated: bool) -> AddressType:  # noqa: FBT001
    return AddressType(end, _named(Kind, text, "address type"), negated)


def _named(kind: type[_E], text: str, what: str) -> frozenset[_E]:
    column = 0
    chosen = []
    for name in text.split(","):
        if name.upper() not in kind.__members__:
            raise RulesSyntaxError(f"unknown {what} {shown(name)}", text, column)
        chosen.append(kind[name.upper()])
        column += len(name) + len(",")
    return frozenset(chosen)


def _mark(text: str, negated: bool) -> Mark:  # noqa: FBT001
    return Mark(*marks(text), negated)


def _set(words: Words, option: str, negated: bool) -> Set:  # noqa: FBT001
    """The set's name, and the ends that are looked up in it."""
    name = words.value(option)
    Set(name, (End.SOURCE,))
    ends = {side: end for end, side in _SIDES.items()}
    sides = words.value(option).split(",")
    for side in sides:
        if side not in ends:
            raise RulesSyntaxError(f"{shown(side)} is neither src nor dst")
    return Set(name, tuple(ends[side] for side in sides), negated)


def _comment(words: Words, option: str, _negated: bool) -> Comment:  # noqa: FBT001
    return Comment(words.text(option, "comment"))


def _one(make: Callable[[str, bool], Match], words: Words, option: str, negated: bool) -> Match:  # noqa: FBT001
    return make(words.value(option), negated)


_MATCHES: tuple[tuple[tuple[str, ...], str, Callable[[Words, str, bool], Match]], ...] = (
    (("-p", "--protocol", "--proto"), "", partial(_one, _protocol)),
    (("-s", "--source", "--src"), "", partial(_one, partial(Address, End.SOURCE))),
    (("-d", "--destination", "--dst"), "", partial(_one, partial(Address, End.DESTINATION))),
    (("-i", "--in-interface"), "", partial(_one, partial(Interface, Direction.IN))),
    (("-o", "--out-interface"), "", partial(_one, partial(Interface, Direction.OUT))),
    (("--sport", "--source-port"), "", partial(_one, partial(_ports, End.SOURCE))),
    (("--dport", "--destination-port"), "", partial(_one, partial(_ports, End.DESTINATION))),
    (("--sports", "--source-ports"), "multiport", partial(_one, partial(_multiport, End.SOURCE))),
    (("--dports", "--destination-ports"), "multiport", partial(_one, partial(_multiport, End.DESTINATION))),
    (("--ports",), "multiport", partial(_one, partial(_multiport, None))),
    (("--uid-owner",), "owner", partial(_one, partial(_owner, Identity.UID))),
    (("--gid-owner",), "owner", partial(_one, partial(_owner, Identity.GID))),
    (("--ctstate",), "conntrack", partial(_one, _conntrack)),
    (("--state",), "state", partial(_one, _conntrack)),
    (("--src-type",), "addrtype", partial(_one, partial(_address_type, End.SOURCE))),
    (("--dst-type",), "addrtype", partial(_one, partial(_address_type, End.DESTINATION))),
    (("--mark",), "mark", partial(_one, _mark)),
    (("--match-set",), "set", _set),
    (("--comment",), "comment", _comment),
)
"""Spellings of an option, the module that has to be loaded for it by `-m`, and what makes a match of its value."""

OPTIONS = {spelling: (spellings[0], module, read) for spellings, module, read in _MATCHES for spelling in spellings}
MODULES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(WITH_PORTS, frozenset({"--sport", "--dport"})),
    **{row[1]: frozenset(other[0][0] for other in _MATCHES if other[1] == row[1]) for row in _MATCHES if row[1]},
    STATISTIC: frozenset(),
}
"""The modules that `-m` can name, each with its options; a protocol's come with `-p` too."""
