"""Matches: what a rule asks of a packet. Each proves itself: what iptables 1.8.9 would not take cannot be made."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.values import (
    ALL_BITS,
    MAX_ID,
    MAX_PORT,
    Value,
    decimal,
    masked,
    quad,
    require_marks,
    require_text,
    require_word,
    shown,
)

PROTOCOLS: Mapping[str, int] = {
    "all": 0,
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "sctp": 132,
    "udplite": 136,
}
"""The names that iptables-save writes; any other protocol is a number."""

WITH_PORTS = frozenset({"tcp", "udp"})
RANDOM_SHARES = 2**31
"""A random match holds a probability as so many parts of this."""

MAX_PROTOCOL = 255
_MAX_MULTIPORT = 15
"""How many ports one multiport match holds; a range takes two of them (XT_MULTI_PORTS of the kernel)."""
_MAX_INTERFACE = 15
_MAX_COMMENT = 255
_MAX_SET = 31
_MAX_SET_DIMENSIONS = 6


class End(Enum):
    """Which end of a connection; the value is the letter that iptables' options use for it."""

    SOURCE = "s"
    DESTINATION = "d"


class Direction(Enum):
    """Which way a packet passes an interface; the value is the letter of iptables' option."""

    IN = "i"
    OUT = "o"


class Identity(Enum):
    """What of a socket's owner is looked at."""

    UID = "uid"
    GID = "gid"


class State(Enum):
    """What connection tracking knows of a packet, in the order in which iptables-save writes it.

    The last two say that source or destination were rewritten, and come beside one of the others.
    """

    INVALID = "INVALID"
    NEW = "NEW"
    RELATED = "RELATED"
    ESTABLISHED = "ESTABLISHED"
    UNTRACKED = "UNTRACKED"
    SNAT = "SNAT"
    DNAT = "DNAT"


class Kind(Enum):
    """What the routing tables make of an address, in the order in which iptables-save writes it."""

    UNSPEC = "UNSPEC"
    UNICAST = "UNICAST"
    LOCAL = "LOCAL"
    BROADCAST = "BROADCAST"
    ANYCAST = "ANYCAST"
    MULTICAST = "MULTICAST"
    BLACKHOLE = "BLACKHOLE"
    UNREACHABLE = "UNREACHABLE"
    PROHIBIT = "PROHIBIT"
    THROW = "THROW"
    NAT = "NAT"
    XRESOLVE = "XRESOLVE"


class Protocol(Value):
    """`-p`: the transport protocol, by its lower-case name or, where it has none here, its number."""

    name: str
    negated: bool = False

    def validate(self) -> None:
        if self.name not in PROTOCOLS and not self.name.isdigit():
            raise RulesSyntaxError(f"unknown protocol {shown(self.name)}", self.name)
        if self.number in PROTOCOLS.values() and self.name not in PROTOCOLS:
            raise RulesSyntaxError("this protocol has a name", self.name)
        if self.negated and self.name == "all":
            raise RulesSyntaxError("no packet is of no protocol", self.name)

    @property
    def number(self) -> int:
        """The number in a packet's header; 0 stands for any."""
        number = PROTOCOLS.get(self.name)
        return decimal(self.name, MAX_PROTOCOL, "protocol") if number is None else number


class Address(Value):
    """`-s`, `-d`: an IPv4 address or range, kept as it was written (`2.2.2.2/24`)."""

    end: End
    text: str
    negated: bool = False

    def validate(self) -> None:
        masked(self.text)

    @property
    def bits(self) -> tuple[int, int]:
        """Value and mask as 32-bit numbers; host bits are cleared, as iptables does."""
        return masked(self.text)

    @property
    def network(self) -> str:
        """The range that is really matched, as `iptables-save` writes it: `2.2.2.2/24` is `2.2.2.0/24`."""
        value, mask = self.bits
        length = mask.bit_count()
        contiguous = mask == 2**32 - 2 ** (32 - length)
        return f"{quad(value)}/{length if contiguous else quad(mask)}"


class Ports(Value):
    """`--dport`, or with `multi` the multiport match `--dports`: ports, each range with both its ends.

    Without an `end` either one matches: multiport's `--ports`.
    """

    end: End | None
    ranges: tuple[range, ...]
    negated: bool = False
    multi: bool = False

    def validate(self) -> None:
        if not self.ranges or not all(0 <= ports.start < ports.stop <= MAX_PORT + 1 for ports in self.ranges):
            raise RulesSyntaxError("a range of ports has to go up, within 0 to 65535")
        if not self.multi and (len(self.ranges) > 1 or self.end is None):
            raise RulesSyntaxError("more than one port needs a multiport match")
        if sum(1 if len(ports) == 1 else 2 for ports in self.ranges) > _MAX_MULTIPORT:
            raise RulesSyntaxError(f"too many ports: a multiport match holds {_MAX_MULTIPORT}, a range counts as two")


class Owner(Value):
    """`-m owner`: the user or group of the process that sends, as a range of ids."""

    identity: Identity
    ids: range
    negated: bool = False

    def validate(self) -> None:
        if not 0 <= self.ids.start < self.ids.stop <= MAX_ID + 1:
            raise RulesSyntaxError("a range of ids has to go up, within 0 to 4294967294")


class Interface(Value):
    """`-i`, `-o`: a network interface; a final `+` stands for any ending."""

    direction: Direction
    name: str
    negated: bool = False

    def validate(self) -> None:
        require_word(self.name, "interface name", _MAX_INTERFACE)


class Conntrack(Value):
    """`-m conntrack --ctstate`: what connection tracking knows; one of the states is enough."""

    states: frozenset[State]
    negated: bool = False

    def validate(self) -> None:
        if not self.states:
            raise RulesSyntaxError("a state is missing")


class AddressType(Value):
    """`-m addrtype`: what the routing tables make of an address; one of the kinds is enough."""

    end: End
    kinds: frozenset[Kind]
    negated: bool = False

    def validate(self) -> None:
        if not self.kinds:
            raise RulesSyntaxError("an address type is missing")


class Random(Value):
    """`-m statistic --mode random`: holds for `shares` of `RANDOM_SHARES` packets, by lot."""

    shares: int
    negated: bool = False

    def validate(self) -> None:
        if not 0 <= self.shares <= RANDOM_SHARES:
            raise RulesSyntaxError("a probability is a number from 0 to 1")

    @property
    def probability(self) -> float:
        """How often it holds, `!` included."""
        shares = RANDOM_SHARES - self.shares if self.negated else self.shares
        return shares / RANDOM_SHARES


class Nth(Value):
    """`-m statistic --mode nth`: holds for one packet of each `every`, and first for the one after `packet` others."""

    every: int
    packet: int = 0
    negated: bool = False

    def validate(self) -> None:
        if not 1 <= self.every <= ALL_BITS:
            raise RulesSyntaxError("--every is a number from 1 to 4294967295")
        if not 0 <= self.packet < self.every:
            raise RulesSyntaxError("--packet is a number from 0 to one less than --every")

    @property
    def probability(self) -> float:
        """How often it holds, `!` included."""
        return 1 - 1 / self.every if self.negated else 1 / self.every


class Mark(Value):
    """`-m mark`: the packet's mark, of which `mask` is looked at, is `value`."""

    value: int
    mask: int = ALL_BITS
    negated: bool = False

    def validate(self) -> None:
        require_marks(self.value, self.mask)


class Set(Value):
    """`-m set`: the packet's ends are in a set that is kept elsewhere; the rules know only its name."""

    name: str
    ends: tuple[End, ...]
    negated: bool = False

    def validate(self) -> None:
        require_word(self.name, "set name", _MAX_SET)
        if not 1 <= len(self.ends) <= _MAX_SET_DIMENSIONS:
            raise RulesSyntaxError(f"a set is asked for 1 to {_MAX_SET_DIMENSIONS} parts of a packet")


class Comment(Value):
    """`-m comment`: a remark that matches everything."""

    text: str

    def validate(self) -> None:
        require_text(self.text, "comment", _MAX_COMMENT)


Match = Protocol | Address | Ports | Owner | Interface | Conntrack | AddressType | Random | Nth | Mark | Set | Comment


def always(match: Match) -> bool:
    """Whether every packet matches that can have what the match looks at."""
    if isinstance(match, Ports):
        return not match.negated and match.end is not None and range(MAX_PORT + 1) in match.ranges
    if isinstance(match, Address):
        return not match.negated and match.bits[1] == 0
    return match == Protocol("all") or (isinstance(match, Interface) and match.name == "+" and not match.negated)
