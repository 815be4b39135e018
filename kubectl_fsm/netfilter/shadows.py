"""Rules that no packet can ever match, because an earlier rule takes all that they would.

A rule is shadowed where one earlier rule, in its chain or on every way into its chain, asks for no more than it does and
leaves no way on: it ends the chain, or jumps into one that does. What is found is certain; what takes several earlier
rules together, or depends on marks that rules change, is not found. It takes time by the square of a chain's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm.netfilter.matches import (
    Address,
    AddressType,
    Comment,
    Conntrack,
    End,
    Interface,
    Mark,
    Match,
    Nth,
    Owner,
    Ports,
    Protocol,
    Random,
    State,
    always,
)
from kubectl_fsm.netfilter.model import NAT, Chain, Rule, Ruleset
from kubectl_fsm.netfilter.rules import write
from kubectl_fsm.netfilter.targets import Goto, Jump, Log, Plain, SetMark
from kubectl_fsm.netfilter.values import MAX_PORT

_MAX_DEPTH = 16
"""How many chains up and down are looked at: as many as nf_tables lets rules jump."""
_MAX_STEPS = 500_000
"""How many comparisons of rules are made; what would take more is not found."""


class Shadow(NamedTuple):
    """A rule that never matches, where it stands (`position` counts from 1), and the earlier rule that takes all of it.

    `by` stands in `by_chain`; where several ways lead to the shadowed rule, it is the one on the first of them.
    """

    chain: str
    position: int
    rule: Rule
    by: Rule
    by_chain: str

    def __str__(self) -> str:
        """The earlier rule, as iptables writes it."""
        return f"-A {self.by_chain} {write(self.by)}"


class _Site(NamedTuple):
    """A rule that leads into a chain."""

    chain: Chain
    place: int
    matches: tuple[Match, ...]


def shadowed(ruleset: Ruleset, table: str = NAT) -> Iterator[Shadow]:
    """The rules of a table that can never match because of an earlier one, chain by chain."""
    search = _Search(ruleset.tables[table])
    for chain in ruleset.tables[table].values():
        for index, rule in enumerate(chain.rules):
            if search.steps > _MAX_STEPS:
                return
            if by := search.cover(chain, index, rule.matches, 0):
                yield Shadow(chain.name, index + 1, rule, *by)


class _Addresses:
    """The places of a chain's rules; those of rules that ask for an address and nothing else by that address."""

    def __init__(self, chain: Chain) -> None:
        self.others: list[int] = []
        self.places: dict[tuple[End, int, int], list[int]] = {}
        for place, rule in enumerate(chain.rules):
            match = rule.matches[0] if len(rule.matches) == 1 else None
            if isinstance(match, Address) and not match.negated and match.bits[1]:
                self.places.setdefault((match.end, *match.bits), []).append(place)
            else:
                self.others.append(place)
        self.masks = {mask for _, _, mask in self.places}

    def about(self, known: Iterable[Match]) -> Sequence[int]:
        """The places in order, without those whose address does not follow from what is known."""
        found = set(self.others)
        for match in known:
            if isinstance(match, Address) and not match.negated:
                value, bits = match.bits
                for mask in self.masks:
                    if mask & bits == mask:
                        found.update(self.places.get((match.end, value & mask, mask), ()))
        return sorted(found)


class _Search:
    def __init__(self, chains: Mapping[str, Chain]) -> None:
        self.chains = chains
        self.sites: dict[str, list[_Site]] = {}
        self.entries: dict[str, tuple[Match, ...]] = {}
        self.addresses: dict[str, _Addresses] = {}
        self.steps = 0
        self.marked = False
        for chain in chains.values():
            for index, rule in enumerate(chain.rules):
                self.marked |= isinstance(rule.target, SetMark)
                if isinstance(rule.target, Jump | Goto):
                    self.sites.setdefault(rule.target.chain, []).append(_Site(chain, index, rule.matches))

    def cover(self, chain: Chain, index: int, known: tuple[Match, ...], depth: int) -> tuple[Rule, str] | None:
        """The rule, and its chain, that takes every packet of which `known` holds before it reaches this place, on whichever way."""
        known += self.entry(chain.name, 0)
        for place in self.candidates(chain, index, known):
            if self.takes(chain.rules[place], known, depth):
                return chain.rules[place], chain.name
        sites = self.sites.get(chain.name)
        if not sites or depth == _MAX_DEPTH or self.steps > _MAX_STEPS:
            return None
        found = [self.cover(site.chain, site.place, known + site.matches, depth + 1) for site in sites]
        return found[0] if all(found) else None

    def candidates(self, chain: Chain, index: int, known: tuple[Match, ...]) -> Sequence[int]:
        """The places before this one of rules that may take such a packet: not those that ask for another address alone."""
        if chain.name not in self.addresses:
            self.addresses[chain.name] = _Addresses(chain)
        return [place for place in self.addresses[chain.name].about(known) if place < index]

    def entry(self, chain: str, depth: int) -> tuple[Match, ...]:
        """What holds of every packet in a chain: what all ways into it ask for."""
        if depth == _MAX_DEPTH:
            return ()
        if chain not in self.entries:
            self.entries[chain] = ()
            ways = [site.matches + self.entry(site.chain.name, depth + 1) for site in self.sites.get(chain, ())]
            self.entries[chain] = tuple(match for match in ways[0] if all(match in way for way in ways)) if ways else ()
        return self.entries[chain]

    def takes(self, rule: Rule, known: tuple[Match, ...], depth: int) -> bool:
        """Whether a packet of which `known` holds matches this rule for certain, and never gets to the next one."""
        self.steps += 1
        if self.steps > _MAX_STEPS or not all(self.implied(match, known) for match in rule.matches):
            return False
        if isinstance(rule.target, Jump):
            return self.keeps(self.chains[rule.target.chain], known, depth + 1)
        return not isinstance(rule.target, SetMark | Log)

    def keeps(self, chain: Chain, known: tuple[Match, ...], depth: int) -> bool:
        """Whether a packet that enters the chain never comes back from it."""
        if depth > _MAX_DEPTH or self.steps > _MAX_STEPS:
            return False
        for rule in chain.rules:
            target = rule.target
            if target is Plain.RETURN:
                return False
            if isinstance(target, Goto):
                if not self.keeps(self.chains[target.chain], known, depth + 1):
                    return False
                if all(self.implied(match, known) for match in rule.matches):
                    return True
            elif self.takes(rule, known, depth):
                return True
        return False

    def implied(self, wanted: Match, known: Iterable[Match]) -> bool:
        """Whether a packet of which `known` holds is certain to match."""
        if isinstance(wanted, Comment):
            return True
        if isinstance(wanted, Random | Nth):
            return wanted.probability == 1
        if isinstance(wanted, Mark) and self.marked:
            return False
        return always(wanted) or any(_implies(match, wanted) for match in known)


def _implies(known: Match, wanted: Match) -> bool:  # noqa: PLR0911 - one answer for each class
    """Whether every packet that matches `known` matches `wanted` too."""
    if known == wanted:
        return not isinstance(known, Random | Nth)
    if isinstance(known, Protocol) and isinstance(wanted, Protocol):
        return not known.negated and wanted.negated and known.number != wanted.number
    if isinstance(known, Address) and isinstance(wanted, Address) and known.end is wanted.end:
        return _sets(known, wanted, _within(known, wanted), _within(wanted, known), _apart(known, wanted))
    if isinstance(known, Ports) and isinstance(wanted, Ports) and known.end is wanted.end is not None:
        return _ports(known) <= _ports(wanted)
    if isinstance(known, Owner) and isinstance(wanted, Owner) and known.identity is wanted.identity:
        first, second = known.ids, wanted.ids
        inside = first.start >= second.start and first.stop <= second.stop
        around = first.start <= second.start and first.stop >= second.stop
        return _sets(known, wanted, inside, around, first.stop <= second.start or second.stop <= first.start)
    if isinstance(known, Interface) and isinstance(wanted, Interface) and known.direction is wanted.direction:
        inside, around = _covers(wanted.name, known.name), _covers(known.name, wanted.name)
        return _sets(known, wanted, inside, around, not _overlap(known.name, wanted.name))
    if isinstance(known, Conntrack) and isinstance(wanted, Conntrack):
        return _states(known, wanted)
    if isinstance(known, AddressType) and isinstance(wanted, AddressType) and known.end is wanted.end:
        a, b = known.kinds, wanted.kinds
        return _sets(known, wanted, a <= b, b <= a, a.isdisjoint(b))
    return False


def _sets(
    known: Address | Owner | Interface | Conntrack | AddressType,
    wanted: Address | Owner | Interface | Conntrack | AddressType,
    inside: bool,  # noqa: FBT001 - how the two lie to each other
    around: bool,  # noqa: FBT001
    apart: bool,  # noqa: FBT001
) -> bool:
    """Whether one follows from the other, by how what they name lies to each other, without their `!`."""
    if known.negated:
        return wanted.negated and around
    return apart if wanted.negated else inside


def _within(inner: Address, outer: Address) -> bool:
    (value, mask), (wide, wide_mask) = inner.bits, outer.bits
    return mask & wide_mask == wide_mask and value & wide_mask == wide


def _apart(one: Address, other: Address) -> bool:
    (value, mask), (other_value, other_mask) = one.bits, other.bits
    return (value ^ other_value) & mask & other_mask != 0


@lru_cache(maxsize=256)
def _ports(match: Ports) -> frozenset[int]:
    ports = frozenset(port for ports in match.ranges for port in ports)
    return frozenset(range(MAX_PORT + 1)) - ports if match.negated else ports


def _covers(pattern: str, name: str) -> bool:
    """Whether an interface's pattern takes all that another one takes."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _overlap(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=lambda name: len(name.removesuffix("+")))
    return _covers(short, long.removesuffix("+")) or _covers(long, short)


def _states(known: Conntrack, wanted: Conntrack) -> bool:
    """As `_sets`, but that states are apart says nothing of the two that come beside others."""
    both = known.states | wanted.states
    apart = known.states.isdisjoint(wanted.states) and both.isdisjoint({State.SNAT, State.DNAT})
    return _sets(known, wanted, known.states <= wanted.states, wanted.states <= known.states, apart)
