"""Matches, targets, rules, chains, and the operations that build a ruleset from them.

Every value proves itself: what iptables 1.8.9 would not take, or a shell could act on, cannot be constructed. The
errors are `RulesSyntaxError`s about the value alone; a reader adds the line it stood in.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError

NAT = "nat"
BUILT_IN_CHAINS: Mapping[str, tuple[str, ...]] = {NAT: ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}
"""The chains that a table always has, one for each hook it is attached to."""

PROTOCOLS: Mapping[str, int] = {"all": 0, "icmp": 1, "tcp": 6, "udp": 17}
WITH_PORTS = frozenset({"tcp", "udp"})
POD_IP = "$POD_IP"
"""Stands for the pod's own address, which the init container's shell fills in; the one variable that rules may hold."""

MAX_PORT = 65535
MAX_ID = 2**32 - 2
"""The highest user or group id; 2³² - 1 means none."""

_MAX_MULTIPORT = 15
"""How many ports one multiport match holds; a range takes two of them (XT_MULTI_PORTS of the kernel)."""

_MAX_INTERFACE = 15
_MAX_CHAIN = 28
_SHOWN = 40
_MAX_STEPS = 1_000_000
"""Steps of one walk before it is called endless: jumps that branch double at every level."""

_PLAIN_WORD = re.compile(r"[0-9A-Za-z_.,:/+@%=-]*")
_PLAIN_TEXT = re.compile(r'[^"\\$`\x00-\x1f\x7f-\x9f]*')


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


@dataclass(frozen=True)
class Protocol:
    """`-p`: the transport protocol, by its lower-case name."""

    name: str
    negated: bool = False

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise RulesSyntaxError(f"unknown protocol {shown(self.name)}", self.name)
        if self.negated and self.name == "all":
            raise RulesSyntaxError("no packet is of no protocol", self.name)


@dataclass(frozen=True)
class Address:
    """`-s`, `-d`: an IPv4 address or range, kept as it was written (`2.2.2.2/24`)."""

    end: End
    text: str
    negated: bool = False

    def __post_init__(self) -> None:
        _masked(self.text)

    @property
    def bits(self) -> tuple[int, int]:
        """Value and mask as 32-bit numbers; host bits are cleared, as iptables does."""
        return _masked(self.text)

    @property
    def network(self) -> str:
        """The range that is really matched, as `iptables-save` writes it: `2.2.2.2/24` is `2.2.2.0/24`."""
        value, mask = self.bits
        length = mask.bit_count()
        contiguous = mask == 2**32 - 2 ** (32 - length)
        return f"{_quad(value)}/{length if contiguous else _quad(mask)}"


@dataclass(frozen=True)
class Ports:
    """`--dport`, or with `multi` the multiport match `--dports`: ports, each range with both its ends."""

    end: End
    ranges: tuple[range, ...]
    negated: bool = False
    multi: bool = False

    def __post_init__(self) -> None:
        if not self.ranges or not all(0 <= ports.start < ports.stop <= MAX_PORT + 1 for ports in self.ranges):
            raise RulesSyntaxError("a range of ports has to go up, within 0 to 65535")
        if not self.multi and len(self.ranges) > 1:
            raise RulesSyntaxError("more than one port needs a multiport match")
        if sum(1 if len(ports) == 1 else 2 for ports in self.ranges) > _MAX_MULTIPORT:
            raise RulesSyntaxError(f"too many ports: a multiport match holds {_MAX_MULTIPORT}, a range counts as two")


@dataclass(frozen=True)
class Owner:
    """`-m owner`: the user or group of the process that sends, as a range of ids."""

    identity: Identity
    ids: range
    negated: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ids.start < self.ids.stop <= MAX_ID + 1:
            raise RulesSyntaxError("a range of ids has to go up, within 0 to 4294967294")


@dataclass(frozen=True)
class Interface:
    """`-i`, `-o`: a network interface; a final `+` stands for any ending."""

    direction: Direction
    name: str
    negated: bool = False

    def __post_init__(self) -> None:
        _require_word(self.name, "interface name", _MAX_INTERFACE)


@dataclass(frozen=True)
class Comment:
    """`-m comment`: a remark that matches everything."""

    text: str

    def __post_init__(self) -> None:
        _require(_PLAIN_TEXT, self.text, "comment")


Match = Protocol | Address | Ports | Owner | Interface | Comment


class Plain(Enum):
    """A target without parameters."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    REJECT = "REJECT"
    RETURN = "RETURN"


@dataclass(frozen=True)
class Jump:
    """On to a user-defined chain, and back here where that has no answer."""

    chain: str

    def __post_init__(self) -> None:
        _require_word(self.chain, "chain name", _MAX_CHAIN)


@dataclass(frozen=True)
class Redirect:
    """To this machine itself; without `port` the packet keeps its own."""

    port: int | None = None

    def __post_init__(self) -> None:
        _require_target_port(self.port)


@dataclass(frozen=True)
class Dnat:
    """To another destination: an IPv4 address or `POD_IP`; without `port` the packet keeps its own."""

    address: str
    port: int | None = None

    def __post_init__(self) -> None:
        if self.address != POD_IP:
            if "/" in self.address:
                raise RulesSyntaxError("one address is wanted, not a range", self.address, self.address.index("/"))
            _masked(self.address)
        _require_target_port(self.port)


Target = Plain | Jump | Redirect | Dnat

TARGETS: Mapping[str, Plain | type[Redirect | Dnat]] = {
    **{target.value: target for target in Plain},
    "REDIRECT": Redirect,
    "DNAT": Dnat,
}
"""What `-j` can name besides chains, which may not be called so."""


class Rule(NamedTuple):
    """Where all `matches` hold, `target` decides. Order of matches is that of the text; it has no meaning."""

    matches: tuple[Match, ...]
    target: Target


class Chain(NamedTuple):
    """Rules in order of evaluation. `policy` is a built-in chain's answer where no rule has one, else None."""

    name: str
    policy: Plain | None
    rules: tuple[Rule, ...]


class Step(NamedTuple):
    """One rule on a packet's way: `depth` counts the jumps that led to its chain."""

    chain: str
    rule: Rule
    depth: int


@dataclass(frozen=True)
class Ruleset:
    """The state that a packet meets: tables by name, in each its chains by name, built-in ones first.

    Raises `RulesSyntaxError` where a jump leads to a chain that is built in or does not exist.
    """

    tables: Mapping[str, Mapping[str, Chain]]

    def __post_init__(self) -> None:
        for table, chains in self.tables.items():
            for chain in chains.values():
                for rule in chain.rules:
                    if isinstance(rule.target, Jump) and not is_user_chain(rule.target.chain, chains, table):
                        raise RulesSyntaxError(
                            f"{chain.name} jumps to {rule.target.chain}, which is no user-defined chain"
                        )

    def walk(self, hook: str, table: str = NAT) -> Iterator[Step]:
        """Every rule that a packet of this hook could meet, in order of evaluation.

        A jump comes before the rules of its chain, one deeper; whether a rule matches is not asked. Raises
        `RulesSyntaxError` on reaching a loop, or after a million steps.
        """
        chains = self.tables[table]
        stack = [(hook, iter(chains[hook].rules))]
        entered = {hook}
        steps = 0
        while stack:
            name, rules = stack[-1]
            rule = next(rules, None)
            if rule is None:
                entered.remove(name)
                stack.pop()
                continue
            steps += 1
            if steps > _MAX_STEPS:
                raise RulesSyntaxError(f"the jumps from {hook} branch too often to be followed")
            yield Step(name, rule, len(stack) - 1)
            if isinstance(rule.target, Jump):
                chain = rule.target.chain
                if chain in entered:
                    raise RulesSyntaxError(f"loop: a packet in chain {chain} jumps back to it from {name}")
                entered.add(chain)
                stack.append((chain, iter(chains[chain].rules)))


Chains = dict[str, deque[Rule]]
"""A table's chains while operations change them."""


@dataclass(frozen=True)
class NewChain:
    """`-N`: an empty user-defined chain."""

    chain: str

    def __post_init__(self) -> None:
        _require_word(self.chain, "chain name", _MAX_CHAIN)

    def apply(self, chains: Chains) -> None:
        if self.chain in chains or self.chain in TARGETS:
            raise RulesSyntaxError("this name is taken", self.chain)
        chains[self.chain] = deque()


class Append(NamedTuple):
    """`-A`: a rule behind those that the chain has."""

    chain: str
    rule: Rule

    def apply(self, chains: Chains) -> None:
        _rules(chains, self.chain).append(self.rule)


class Insert(NamedTuple):
    """`-I`: a rule before the one that is at `position`, which counts from 1."""

    chain: str
    rule: Rule
    position: int = 1

    def apply(self, chains: Chains) -> None:
        rules = _rules(chains, self.chain)
        if not 1 <= self.position <= len(rules) + 1:
            raise RulesSyntaxError(f"the chain has no position {self.position}", self.chain)
        rules.insert(self.position - 1, self.rule)


Operation = NewChain | Append | Insert


def built_in(table: str = NAT) -> Chains:
    """A table as it is before the first operation."""
    return {name: deque() for name in BUILT_IN_CHAINS[table]}


def apply(operations: Iterable[Operation]) -> Ruleset:
    """The ruleset that operations on an empty nat table lead to. Raises `RulesSyntaxError` where one is impossible."""
    chains = built_in()
    for operation in operations:
        operation.apply(chains)
    hooks = BUILT_IN_CHAINS[NAT]
    return Ruleset(
        {
            NAT: {
                name: Chain(name, Plain.ACCEPT if name in hooks else None, tuple(rules))
                for name, rules in chains.items()
            }
        }
    )


def is_user_chain(name: str, chains: Container[str], table: str = NAT) -> bool:
    """Whether a rule of this table, which has `chains`, can jump to a chain of this name."""
    return name in chains and name not in BUILT_IN_CHAINS[table]


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


def _rules(chains: Chains, name: str) -> deque[Rule]:
    if name not in chains:
        raise RulesSyntaxError("there is no chain of this name yet", name)
    return chains[name]


def _require(pattern: re.Pattern[str], text: str, what: str) -> None:
    found = pattern.match(text)
    end = found.end() if found else 0
    if end < len(text):
        raise RulesSyntaxError(f"a {what} cannot hold this character", text, end)


def _require_word(text: str, what: str, longest: int) -> None:
    _require(_PLAIN_WORD, text, what)
    if not text or text.startswith("-"):
        raise RulesSyntaxError(f"a {what} is missing", text)
    if len(text) > longest:
        raise RulesSyntaxError(f"a {what} has at most {longest} characters", text, longest)


def _require_target_port(port: int | None) -> None:
    if port is not None and not 1 <= port <= MAX_PORT:
        raise RulesSyntaxError(f"a port to go to is a number from 1 to {MAX_PORT}")


@lru_cache(maxsize=1024)
def _masked(text: str) -> tuple[int, int]:
    """Value and mask of `a.b.c.d`, `a.b.c.d/length` or `a.b.c.d/mask`, the value without host bits."""
    address, slash, suffix = text.partition("/")
    value = _number(address, text)
    if not slash:
        return value, 2**32 - 1
    mask = _number(suffix, text) if "." in suffix else 2**32 - 2 ** (32 - decimal(suffix, 32, "prefix length"))
    return value & mask, mask


def _number(quad: str, text: str) -> int:
    octets = quad.split(".", 4)
    if len(octets) != 4:  # noqa: PLR2004 - an IPv4 address has four
        raise RulesSyntaxError("an IPv4 address or range is a.b.c.d or a.b.c.d/length", text)
    first, second, third, fourth = (decimal(octet, 255, "part of an IPv4 address") for octet in octets)
    return first << 24 | second << 16 | third << 8 | fourth


def _quad(value: int) -> str:
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
