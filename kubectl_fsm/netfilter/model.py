"""Rules, chains, tables, and the operations that build a ruleset from them.

Every value proves itself: what iptables 1.8.9 would not take cannot be constructed, and names and words hold nothing
that a shell could act on. The errors are `RulesSyntaxError`s about the value alone; a reader adds the line it stood in.
Matches and targets have files of their own and are handed on from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.matches import (
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
from kubectl_fsm.netfilter.targets import (
    MAX_CHAIN,
    POD_IP,
    TARGETS,
    Dnat,
    Goto,
    Jump,
    Log,
    Masquerade,
    Plain,
    Redirect,
    Reject,
    SetMark,
    Snat,
    Target,
)
from kubectl_fsm.netfilter.values import ALL_BITS, MAX_ID, MAX_PORT, Value, require_word

__all__ = [
    "ALL_BITS", "BUILT_IN_CHAINS", "MAX_ID", "MAX_PORT", "NAT", "POD_IP", "PROTOCOLS", "RANDOM_SHARES", "TARGETS",
    "WITH_PORTS", "Address", "AddressType", "Append", "Chain", "Chains", "Comment", "Conntrack", "Direction", "Dnat",
    "End", "Goto", "Identity", "Insert", "Interface", "Jump", "Kind", "Log", "Mark", "Masquerade", "Match", "NewChain",
    "Nth", "Operation", "Owner", "Plain", "Ports", "Protocol", "Random", "Redirect", "Reject", "Rule", "Ruleset", "Set",
    "SetMark", "Snat", "State", "Step", "Target", "apply", "as_table", "built_in", "find_loop", "is_user_chain",
    "misplaced",
]  # fmt: skip

NAT = "nat"
BUILT_IN_CHAINS: Mapping[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    NAT: ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The chains that a table always has, one for each hook it is attached to; tables in the order in which one hook runs
them."""

_MAX_STEPS = 250_000
"""Steps of one walk before it is called endless: jumps that branch double at every level."""

_PLACES: Mapping[type, tuple[str, ...]] = {
    Redirect: ("PREROUTING", "OUTPUT"),
    Dnat: ("PREROUTING", "OUTPUT"),
    Snat: ("INPUT", "POSTROUTING"),
    Masquerade: ("POSTROUTING",),
}
"""Targets that only the nat table has, and the hooks at which the kernel takes them."""


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
    """One rule on a packet's way: `depth` counts the jumps that led to its chain, `position` its rules, from 1."""

    chain: str
    rule: Rule
    depth: int
    position: int


class Ruleset(Value):
    """The state that a packet meets: tables by name, in each its chains by name, built-in ones first.

    Raises `RulesSyntaxError` where a jump leads to a chain that is built in or does not exist, and where a target
    stands in a table or is reached from a hook where the kernel does not take it. Loops are left to `find_loop`: where
    nothing jumps into one, the kernel takes it.
    """

    tables: Mapping[str, Mapping[str, Chain]]

    def validate(self) -> None:
        for table, chains in self.tables.items():
            links: dict[str, set[str]] = {}
            special: dict[str, set[type]] = {}
            for name, chain in chains.items():
                links[name] = {rule.target.chain for rule in chain.rules if isinstance(rule.target, Jump | Goto)}
                special[name] = {type(rule.target) for rule in chain.rules} & _PLACES.keys()
                for linked in links[name]:
                    if not is_user_chain(linked, chains, table):
                        raise RulesSyntaxError(f"{name} jumps to {linked}, which is no user-defined chain")
            if any(special.values()):
                _check_places(table, links, special)

    def walk(self, hook: str, table: str = NAT) -> Iterator[Step]:
        """Every rule that a packet of this hook could meet, in order of evaluation.

        A jump comes before the rules of its chain, one deeper, and so does a goto; whether a rule matches is not
        asked. Raises `RulesSyntaxError` on reaching a loop, or after a quarter of a million steps.
        """
        chains = self.tables[table]
        stack = [(hook, iter(enumerate(chains[hook].rules, 1)))]
        entered = {hook}
        steps = 0
        while stack:
            name, rules = stack[-1]
            position, rule = next(rules, (0, None))
            if rule is None:
                entered.remove(name)
                stack.pop()
                continue
            steps += 1
            if steps > _MAX_STEPS:
                raise RulesSyntaxError(f"the jumps from {hook} branch too often to be followed")
            yield Step(name, rule, len(stack) - 1, position)
            if isinstance(rule.target, Jump | Goto):
                chain = rule.target.chain
                if chain in entered:
                    raise RulesSyntaxError(f"loop: a packet in chain {chain} jumps back to it from {name}")
                entered.add(chain)
                stack.append((chain, iter(enumerate(chains[chain].rules, 1))))


def misplaced(target: Target, table: str, hook: str | None) -> str:
    """Why the kernel does not take a target in this table or, where `hook` is told, at this hook; empty where it does."""
    return _misplaced(type(target), table, hook)


def _misplaced(kind: type, table: str, hook: str | None) -> str:
    places = _PLACES.get(kind)
    if places is None or (table == NAT and (hook is None or hook in places)):
        return ""
    name = next(name for name, known in TARGETS.items() if known is kind)
    return f"{name} is possible only in table {NAT} at {' and '.join(places)}"


def _check_places(table: str, links: Mapping[str, set[str]], special: Mapping[str, set[type]]) -> None:
    """Every target is where the kernel takes it, from whichever hook it is reached."""
    for kind in {kind for kinds in special.values() for kind in kinds}:
        if why := _misplaced(kind, table, None):
            raise RulesSyntaxError(why)
    for hook in BUILT_IN_CHAINS[table]:
        reached, waiting = {hook}, [hook]
        while waiting:
            chain = waiting.pop()
            for kind in special.get(chain, ()):
                if why := _misplaced(kind, table, hook):
                    raise RulesSyntaxError(f"{why}, and {hook} leads to it in {chain}")
            found = links.get(chain, set()) - reached
            reached |= found
            waiting += found


def find_loop(links: Mapping[str, Iterable[str]]) -> tuple[str, str] | None:
    """A chain and the one that it jumps back to, so that a packet would never leave them; None where there is none.

    `links` says which chains each chain jumps to.
    """
    done: set[str] = set()
    for first in links:
        stack = [(first, iter(links[first]))]
        entered = {first}
        while stack:
            chain, following = stack[-1]
            linked = next(following, None)
            if linked is None:
                done.add(chain)
                entered.remove(chain)
                stack.pop()
            elif linked in entered:
                return chain, linked
            elif linked not in done:
                entered.add(linked)
                stack.append((linked, iter(links.get(linked, ()))))
    return None


Chains = dict[str, deque[Rule]]
"""A table's chains while operations change them."""


class NewChain(Value):
    """`-N`: an empty user-defined chain."""

    chain: str

    def validate(self) -> None:
        require_word(self.chain, "chain name", MAX_CHAIN)

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
    return Ruleset({NAT: as_table(NAT, chains, {})})


def as_table(table: str, chains: Chains, policies: Mapping[str, Plain]) -> Mapping[str, Chain]:
    """The chains that operations have led to; a built-in one without a policy of its own accepts."""
    hooks = BUILT_IN_CHAINS[table]
    return {
        name: Chain(name, policies.get(name, Plain.ACCEPT) if name in hooks else None, tuple(rules))
        for name, rules in chains.items()
    }


def is_user_chain(name: str, chains: Container[str], table: str = NAT) -> bool:
    """Whether a rule of this table, which has `chains`, can jump to a chain of this name."""
    return name in chains and name not in BUILT_IN_CHAINS[table]


def _rules(chains: Chains, name: str) -> deque[Rule]:
    if name not in chains:
        raise RulesSyntaxError("there is no chain of this name yet", name)
    return chains[name]
