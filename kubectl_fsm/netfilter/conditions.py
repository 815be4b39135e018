"""A packet, and whether a match holds for it: matches made ready, in numbers, once for many packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.matches import (
    MAX_PROTOCOL,
    PROTOCOLS,
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
    always,
)
from kubectl_fsm.netfilter.values import ALL_BITS, masked

OUTPUT = "OUTPUT"
PREROUTING = "PREROUTING"


class Packet(NamedTuple):
    """The first packet of a connection, at `OUTPUT` (a process sent it) or `PREROUTING` (it came in).

    Addresses are text; what does not apply is None. `uid` and `gid` are those of the sending process; without both the
    packet has no socket. `mark` is what it is marked with before the first table. `local` are the machine's own
    addresses, for rules that ask whether an address is local.
    """

    hook: str
    protocol: str = "tcp"
    source: str | None = None
    destination: str | None = None
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    uid: int | None = None
    gid: int | None = None
    mark: int = 0
    local: frozenset[str] | None = None


class Facts:
    """The packet as tests see it, in numbers; None where it does not tell. The rules change some of it."""

    __slots__ = (
        "destination",
        "destination_port",
        "gid",
        "in_interface",
        "local",
        "mark",
        "out_interface",
        "protocol",
        "rewritten",
        "socket",
        "source",
        "source_port",
        "states",
        "uid",
    )

    def __init__(self, packet: Packet) -> None:
        outgoing = packet.hook == OUTPUT
        self.protocol = _protocol(packet.protocol)
        self.source = None if packet.source is None else number_of(packet.source)
        self.destination = None if packet.destination is None else number_of(packet.destination)
        self.source_port = packet.source_port
        self.destination_port = packet.destination_port
        self.in_interface = "" if outgoing else packet.in_interface
        self.out_interface = packet.out_interface if outgoing else ""
        self.uid = packet.uid
        self.gid = packet.gid
        self.socket = outgoing and not (packet.uid is None and packet.gid is None)
        self.mark = packet.mark
        self.local = packet.local
        self.states = 0
        self.rewritten = 0

    def copy(self) -> Facts:
        twin = object.__new__(Facts)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin


Condition = Callable[[Facts], bool | None]
"""Whether a match holds; None where that is not known."""


@lru_cache(maxsize=65536)
def number_of(text: str) -> int:
    """An address as a number of 32 bits."""
    try:
        value, mask = masked(text)
    except RulesSyntaxError as error:
        raise ValueError(f"{text!r} is no IPv4 address") from error
    if mask != ALL_BITS:
        raise ValueError(f"{text!r} is a range, a packet has one address")
    return value


@lru_cache(maxsize=256)
def _protocol(text: str) -> int:
    number = PROTOCOLS.get(text.lower()) or (int(text) if text.isdecimal() else 0)
    if not 0 < number <= MAX_PROTOCOL:
        raise ValueError(f"{text!r} is no protocol")
    return number


BITS: Mapping[State, int] = {state: 1 << index for index, state in enumerate(State)}
"""States as bits of one number: `Facts.states`."""


def needs_condition(match: Match) -> bool:
    """Whether a match can fail for a packet that it suits. Chance is not for a packet to decide."""
    return not isinstance(match, Comment | Random | Nth) and not always(match)


def condition(match: Match) -> Condition:
    """A match made ready."""
    return _CONDITIONS[type(match)](match)


def _protocol_test(match: Protocol) -> Condition:
    number, wanted = match.number, not match.negated
    return lambda facts: (facts.protocol == number) is wanted


def _address_test(match: Address) -> Condition:
    (value, mask), wanted = match.bits, not match.negated
    if match.end is End.SOURCE:
        return lambda facts: None if facts.source is None else (facts.source & mask == value) is wanted
    return lambda facts: None if facts.destination is None else (facts.destination & mask == value) is wanted


def _ports_test(match: Ports) -> Condition:
    wanted = not match.negated
    first = match.ranges[0]
    within: Callable[[int], bool] = first.__contains__
    if len(match.ranges) > 1:
        within = _union(match.ranges).__contains__

    def of_source(facts: Facts) -> bool | None:
        return None if facts.source_port is None else within(facts.source_port) is wanted

    def of_destination(facts: Facts) -> bool | None:
        return None if facts.destination_port is None else within(facts.destination_port) is wanted

    def of_either(facts: Facts) -> bool | None:
        ends = facts.source_port, facts.destination_port
        if any(port is not None and within(port) for port in ends):
            return wanted
        return None if None in ends else not wanted

    tests: Mapping[End | None, Condition] = {None: of_either, End.SOURCE: of_source, End.DESTINATION: of_destination}
    return tests[match.end]


def _union(ranges: Sequence[range]) -> frozenset[int]:
    return frozenset(port for ports in ranges for port in ports)


def _owner_test(match: Owner) -> Condition:
    ids, negated = match.ids, match.negated
    of_user = match.identity is Identity.UID

    def test(facts: Facts) -> bool | None:
        if not facts.socket:
            return negated
        number = facts.uid if of_user else facts.gid
        return None if number is None else (number in ids) is not negated

    return test


def _interface_test(match: Interface) -> Condition:
    name, wanted = match.name, not match.negated
    incoming = match.direction is Direction.IN
    prefix = name.removesuffix("+")
    whole = prefix == name

    def test(facts: Facts) -> bool | None:
        given = facts.in_interface if incoming else facts.out_interface
        if given is None:
            return None
        return (given == name if whole else given.startswith(prefix)) is wanted

    return test


def _conntrack_test(match: Conntrack) -> Condition:
    bits, wanted = sum(BITS[state] for state in match.states), not match.negated
    return lambda facts: bool(facts.states & bits) is wanted


def _address_type_test(match: AddressType) -> Condition:
    def test(facts: Facts) -> bool | None:
        number = facts.source if match.end is End.SOURCE else facts.destination
        possible = _POSSIBLE if number is None else _kinds(number, facts.local)
        if possible <= match.kinds:
            return not match.negated
        return match.negated if possible.isdisjoint(match.kinds) else None

    return test


_POSSIBLE = frozenset({Kind.LOCAL, Kind.UNICAST, Kind.BROADCAST, Kind.MULTICAST})
_OPEN = frozenset({Kind.LOCAL, Kind.UNICAST, Kind.BROADCAST})


def _kinds(number: int, local: frozenset[str] | None) -> frozenset[Kind]:
    """What the routing tables may make of an address."""
    first = number >> 24
    if first == 127:  # noqa: PLR2004 - loopback
        return frozenset({Kind.LOCAL})
    if first == 0 or number == ALL_BITS:
        return frozenset({Kind.BROADCAST})
    if first >> 4 == 14:  # noqa: PLR2004 - 224.0.0.0/4
        return frozenset({Kind.MULTICAST})
    if local is None:
        return _OPEN
    return frozenset({Kind.LOCAL}) if number in map(number_of, local) else _OPEN - {Kind.LOCAL}


def _mark_test(match: Mark) -> Condition:
    value, mask, wanted = match.value, match.mask, not match.negated
    return lambda facts: (facts.mark & mask == value) is wanted


def _set_test(_match: Set) -> Condition:
    return lambda _facts: None


_CONDITIONS: Mapping[type, Callable[..., Condition]] = {
    Protocol: _protocol_test,
    Address: _address_test,
    Ports: _ports_test,
    Owner: _owner_test,
    Interface: _interface_test,
    Conntrack: _conntrack_test,
    AddressType: _address_type_test,
    Mark: _mark_test,
    Set: _set_test,
}
