"""Rules in words for people: short, and without losing a match."""

from __future__ import annotations

from collections.abc import Iterable

from kubectl_fsm.netfilter.matches import (
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
from kubectl_fsm.netfilter.model import Rule
from kubectl_fsm.netfilter.values import ALL_BITS

_LOOPBACK = "lo"


def describe(rule: Rule) -> str:
    """What a rule matches, as a cell of a table says it: `lo, not 127.0.0.1, uid 1500`.

    TCP goes without saying, so a rule for all of it matches `everything else`. Whether an interface is the one a packet
    came in or leaves by is said only in a rule that names both.
    """
    directions = {match.direction for match in rule.matches if isinstance(match, Interface)}
    words = [_words(match, sided=len(directions) > 1) for match in rule.matches if match != Protocol("tcp")]
    return ", ".join(words) or "everything else"


def _words(match: Match, *, sided: bool) -> str:
    if isinstance(match, Comment):
        return f'"{match.text}"'
    if isinstance(match, Interface):
        words = _interface(match, sided=sided)
    elif isinstance(match, Address):
        words = _address(match)
    elif isinstance(match, Ports):
        words = _ports(match)
    elif isinstance(match, Owner):
        words = f"{'uid' if match.identity is Identity.UID else 'gid'} {_numbers(match.ids)}"
    elif isinstance(match, Protocol):
        words = match.name
    else:
        return _other(match)
    return f"not {words}" if match.negated else words


def _other(match: Conntrack | AddressType | Random | Nth | Mark | Set) -> str:
    if isinstance(match, Random | Nth):
        return f"{match.probability:.3g} of all"
    if isinstance(match, Conntrack):
        words = f"state {_names(state.value for state in State if state in match.states)}"
    elif isinstance(match, AddressType):
        side = "from" if match.end is End.SOURCE else "to"
        words = f"{side} {_names(kind.value for kind in Kind if kind in match.kinds)} addresses"
    elif isinstance(match, Mark):
        words = f"mark {match.value:#x}" if match.mask == ALL_BITS else f"mark {match.value:#x}/{match.mask:#x}"
    else:
        sides = ", ".join("source" if end is End.SOURCE else "destination" for end in match.ends)
        words = f"{sides} in set {match.name}"
    return f"not {words}" if match.negated else words


def _names(words: Iterable[str]) -> str:
    return " or ".join(words)


def _interface(match: Interface, *, sided: bool) -> str:
    side = ("in " if match.direction is Direction.IN else "out ") if sided else ""
    return f"{side}{match.name}" if match.name == _LOOPBACK else f"{side}interface {match.name}"


def _address(match: Address) -> str:
    address = match.text.removesuffix("/32")
    if match.end is End.SOURCE:
        return f"from {address}"
    return address if match.negated else f"to {address}"


def _ports(match: Ports) -> str:
    ports = ", ".join(map(_numbers, match.ranges))
    return f"{_PORTS[match.end]} {ports}"


_PORTS = {None: "either port", End.SOURCE: "source port", End.DESTINATION: "port"}


def _numbers(numbers: range) -> str:
    return f"{numbers.start}" if len(numbers) == 1 else f"{numbers.start}-{numbers.stop - 1}"
