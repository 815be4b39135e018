"""What becomes of one packet: the walk through the rules that the kernel would make, without the kernel.

The packet is the first of its connection, so that connection tracking calls it NEW and the nat table is asked. At
`OUTPUT` the tables raw, mangle, nat, filter and security are asked in this order, at `PREROUTING` raw, mangle and nat;
a table that the ruleset lacks lets everything pass. Routing and the hooks behind it (INPUT, FORWARD, POSTROUTING) are
not simulated. What is worth knowing of the kernel's ways:

- ACCEPT ends its table, not the walk: a later table can still drop the packet.
- A goto leaves no way back: where its chain ends, evaluation goes on behind the last jump or, without one, at the policy.
- REDIRECT and DNAT are seen by later tables: destination and port are the new ones, and the connection has the state
  DNAT if that changed anything. The outgoing interface is still that of the old destination.
- REDIRECT at OUTPUT goes to 127.0.0.1; at PREROUTING to the first address of the interface that the packet came in by,
  which rules and packet do not tell.
- Before the raw table there is no connection tracking: there every packet is INVALID.
- A packet without a socket is of no user: `--uid-owner` never matches it, `! --uid-owner` does. At PREROUTING no packet
  has one.

Nothing is guessed. Where the answer depends on what neither rules nor packet tell (the content of a set, an address
that the packet leaves open), `Undecided` says so, but only if everything else in the rule matches. Where it depends on
chance, `simulate` raises `Undecided` too, and `outcomes` follows each possibility with its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError, Undecided
from kubectl_fsm.netfilter.conditions import (
    BITS,
    OUTPUT,
    PREROUTING,
    Condition,
    Facts,
    Packet,
    condition,
    needs_condition,
    number_of,
)
from kubectl_fsm.netfilter.matches import Address, AddressType, Interface, Nth, Owner, Ports, Random, Set, State
from kubectl_fsm.netfilter.model import BUILT_IN_CHAINS, Chain, Rule, Ruleset, find_loop
from kubectl_fsm.netfilter.rules import write_saved
from kubectl_fsm.netfilter.targets import POD_IP, Dnat, Goto, Jump, Log, Plain, Redirect, Reject, SetMark, Target
from kubectl_fsm.netfilter.values import MAX_PORT

__all__ = ["Action", "Outcome", "Packet", "Verdict", "Visit", "outcomes", "simulate"]

LOOPBACK = "127.0.0.1"
_MAX_STEPS = 1_000_000
_MAX_OUTCOMES = 100_000
"""How many rules one packet visits, and how many outcomes chance has, before the rules are called endless."""


class Action(Enum):
    """What becomes of a packet."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    REJECT = "REJECT"
    REDIRECT = "REDIRECT"
    DNAT = "DNAT"


class Visit(NamedTuple):
    """A rule that the packet came by: where it stands (`position` counts from 1), and whether it matched."""

    table: str
    chain: str
    position: int
    rule: Rule
    matched: bool


class Verdict(NamedTuple):
    """What became of a packet.

    `address` and `port` say where REDIRECT or DNAT send it; the port is the packet's own where the rule names none, the
    address None where it is not known (see above), `$POD_IP` where the rule says so. `rule` is the one that decided: the
    one that dropped or rewrote the packet, else the last one that ended a table with ACCEPT, or a chain with RETURN so
    that the policy applied; None where no rule did.
    """

    action: Action
    address: str | None
    port: int | None
    rule: Rule | None
    visits: tuple[Visit, ...]

    @property
    def path(self) -> tuple[Rule, ...]:
        """Every rule visited, whether it matched or not."""
        return tuple(visit.rule for visit in self.visits)


class Outcome(NamedTuple):
    """A verdict and the share of connections that meet it."""

    probability: float
    verdict: Verdict


def simulate(ruleset: Ruleset, packet: Packet) -> Verdict:
    """What the rules do to a packet.

    Raises `Undecided` where rules and packet do not tell, or chance decides; `RulesSyntaxError` where rules go round in
    circles; `ValueError` where the packet is none.
    """
    return _finish(_start(ruleset, packet), None)


def outcomes(ruleset: Ruleset, packet: Packet) -> tuple[Outcome, ...]:
    """Every verdict that is possible where chance decides (`-m statistic`), with its share, in order of the rules.

    A rule for every nth packet holds for its share of them. Raises as `simulate` does, but not because of chance.
    """
    found: list[Outcome] = []
    waiting = [_start(ruleset, packet)]
    while waiting:
        walk = waiting.pop()
        verdict = _finish(walk, waiting)
        found.append(Outcome(walk.probability, verdict))
        if len(found) > _MAX_OUTCOMES:
            raise RulesSyntaxError(f"chance decides too often for a packet at {packet.hook}")
    return tuple(found)


class _Do(Enum):
    """What to do where a rule matches."""

    END = 0
    GO_ON = 1
    JUMP = 2
    GOTO = 3
    RETURN = 4


class _Entry:
    """A rule made ready: its tests, how often chance lets it match, and what it then does."""

    __slots__ = ("do", "hit", "link", "matches", "miss", "rule", "share", "target", "tests")

    def __init__(self, table: str, chain: str, position: int, rule: Rule) -> None:
        self.rule = rule
        self.target: Target = rule.target
        self.share = 1.0
        for match in rule.matches:
            if isinstance(match, Random | Nth):
                self.share *= match.probability
        self.matches = [match for match in rule.matches if needs_condition(match)]
        self.tests: list[Condition] = [condition(match) for match in self.matches]
        self.hit = Visit(table, chain, position, rule, matched=True)
        self.miss = Visit(table, chain, position, rule, matched=False)
        self.do = _DO.get(type(rule.target), _Do.END) if rule.target is not Plain.RETURN else _Do.RETURN
        self.link: list[_Entry] = []

    def holds(self, facts: Facts) -> bool | None:
        """Whether all tests hold; None where one is not known and the others hold."""
        answer: bool | None = True
        for test in self.tests:
            holds = test(facts)
            if holds is None:
                answer = None
            elif not holds:
                return False
        return answer


_DO: Mapping[type, _Do] = {Jump: _Do.JUMP, Goto: _Do.GOTO, SetMark: _Do.GO_ON, Log: _Do.GO_ON}


class _Table(NamedTuple):
    """One table at one hook: the built-in chain's rules, and what becomes of a packet at their end."""

    name: str
    entries: list[_Entry]
    policy: Plain | None
    states: int
    """What connection tracking says here of a packet, as bits."""


class _Program:
    """A ruleset made ready for packets."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.hooks: dict[str, list[_Table]] = {OUTPUT: [], PREROUTING: []}
        for table in BUILT_IN_CHAINS:
            if table in ruleset.tables:
                self._add(table, ruleset.tables[table])

    def _add(self, table: str, chains: Mapping[str, Chain]) -> None:
        links = {
            name: [rule.target.chain for rule in chain.rules if isinstance(rule.target, Jump | Goto)]
            for name, chain in chains.items()
        }
        if loop := find_loop(links):
            raise RulesSyntaxError(f"loop: a packet in chain {loop[1]} gets back to it from {loop[0]}")
        ready = {
            name: [_Entry(table, name, position, rule) for position, rule in enumerate(chain.rules, 1)]
            for name, chain in chains.items()
        }
        for entries in ready.values():
            for entry in entries:
                if isinstance(entry.target, Jump | Goto):
                    entry.link = ready[entry.target.chain]
        state = State.INVALID if table == "raw" else State.NEW
        for hook, tables in self.hooks.items():
            if hook in chains:
                tables.append(_Table(table, ready[hook], chains[hook].policy, BITS[state]))


class _Same:
    """A ruleset as a key by which it is found again: by being the same, since comparing takes as long as the walk."""

    __slots__ = ("ruleset",)

    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset

    def __hash__(self) -> int:
        return id(self.ruleset)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.ruleset is other.ruleset


@lru_cache(maxsize=64)
def _program(key: _Same) -> _Program:
    return _Program(key.ruleset)


class _Walk:
    """A packet on its way, at a rule: everything that a second packet has to know to go on from here in its own way."""

    __slots__ = (
        "decided",
        "entries",
        "facts",
        "index",
        "packet",
        "probability",
        "rewritten",
        "stack",
        "table",
        "tables",
        "verdict",
        "visits",
    )

    def __init__(self, packet: Packet, tables: Sequence[_Table]) -> None:
        self.packet = packet
        self.facts = Facts(packet)
        self.tables = tables
        self.table: _Table | None = None
        self.entries: list[_Entry] = []
        self.index = 0
        self.stack: list[tuple[list[_Entry], int]] = []
        self.visits: list[Visit] = []
        self.decided: Rule | None = None
        self.rewritten: tuple[Action, str | None, int | None, Rule] | None = None
        self.probability = 1.0
        self.verdict: Verdict | None = None
        self.next_table()

    def fork(self, entry: _Entry) -> _Walk:
        """The same packet where chance is against the rule."""
        twin: _Walk = object.__new__(_Walk)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.facts = self.facts.copy()
        twin.stack = [*self.stack]
        twin.visits = [*self.visits, entry.miss]
        twin.probability = self.probability * (1 - entry.share)
        return twin

    def act(self, entry: _Entry) -> None:
        """Do what a rule that matches asks for."""
        self.visits.append(entry.hit)
        do, target = entry.do, entry.target
        if do is _Do.JUMP:
            self.stack.append((self.entries, self.index))
            self.enter(entry.link)
        elif do is _Do.GOTO:
            self.enter(entry.link)
        elif do is _Do.RETURN:
            self.decided = entry.rule
            self.leave()
        elif do is _Do.END:
            self.end(entry.rule)
        elif isinstance(target, SetMark):
            self.facts.mark = self.facts.mark & ~target.mask ^ target.value

    def enter(self, entries: list[_Entry]) -> None:
        self.entries, self.index = entries, 0
        if len(self.visits) > _MAX_STEPS:
            raise RulesSyntaxError(f"the jumps from {self.packet.hook} branch too often to be followed")

    def leave(self) -> None:
        """Back to behind the last jump; without one the table is over, and its policy applies."""
        if self.stack:
            self.entries, self.index = self.stack.pop()
        elif self.table and self.table.policy is Plain.DROP:
            self.stop(Action.DROP, self.decided)
        else:
            self.next_table()

    def end(self, rule: Rule) -> None:
        """The table is over, by a rule that decides."""
        target = rule.target
        self.decided = rule
        self.stack.clear()
        if target is Plain.DROP:
            self.stop(Action.DROP, rule)
        elif isinstance(target, Reject):
            self.stop(Action.REJECT, rule)
        else:
            if isinstance(target, Redirect | Dnat):
                self.rewrite(rule, target)
            self.next_table()

    def rewrite(self, rule: Rule, target: Redirect | Dnat) -> None:
        facts = self.facts
        before = facts.destination, facts.destination_port
        address = target.address if isinstance(target, Dnat) else LOOPBACK if self.packet.hook == OUTPUT else None
        facts.destination = number_of(address) if address and address != POD_IP else None
        if target.port is not None:
            facts.destination_port = target.port
        if facts.destination is None or before != (facts.destination, facts.destination_port):
            facts.rewritten = BITS[State.DNAT]
        action = Action.DNAT if isinstance(target, Dnat) else Action.REDIRECT
        self.rewritten = action, address, facts.destination_port, rule

    def next_table(self) -> None:
        """To the beginning of the next table; behind the last one the packet has passed."""
        if self.tables:
            self.table = table = self.tables[0]
            self.tables = self.tables[1:]
            self.entries, self.index = table.entries, 0
            self.facts.states = table.states | self.facts.rewritten
        elif self.rewritten:
            self.verdict = Verdict(*self.rewritten, tuple(self.visits))
        else:
            self.stop(Action.ACCEPT, self.decided)

    def stop(self, action: Action, rule: Rule | None) -> None:
        self.verdict = Verdict(action, None, None, rule, tuple(self.visits))


def _start(ruleset: Ruleset, packet: Packet) -> _Walk:
    tables = _program(_Same(ruleset)).hooks.get(packet.hook)
    if tables is None:
        raise ValueError(f"hook {packet.hook!r} is not simulated: {OUTPUT} or {PREROUTING}")
    for port in (packet.source_port, packet.destination_port):
        if port is not None and not 0 <= port <= MAX_PORT:
            raise ValueError(f"{port} is no port")
    return _Walk(packet, tables)


def _finish(walk: _Walk, forks: list[_Walk] | None) -> Verdict:
    """Let a packet go to its end; where chance decides, the packet that it is against is put into `forks`."""
    while walk.verdict is None:
        if walk.index == len(walk.entries):
            walk.leave()
            continue
        entry = walk.entries[walk.index]
        walk.index += 1
        holds = entry.holds(walk.facts) if entry.share > 0 else False
        if holds is None:
            raise Undecided(_unknown(entry, walk.facts))
        if not holds:
            walk.visits.append(entry.miss)
            continue
        if entry.share < 1:
            if forks is None:
                raise Undecided(f"chance decides: {_shown(entry)}")
            forks.append(walk.fork(entry))
            walk.probability *= entry.share
        walk.act(entry)
    return walk.verdict


def _unknown(entry: _Entry, facts: Facts) -> str:
    """What would have to be known to say whether a rule matches."""
    unknown = [match for match, test in zip(entry.matches, entry.tests, strict=True) if test(facts) is None]
    match = unknown[0]
    if isinstance(match, Set):
        return f"what is in set {match.name} is not known, and it decides: {_shown(entry)}"
    what = {
        Address: "address",
        Ports: "port",
        Interface: "interface",
        Owner: "user or group",
        AddressType: "addresses that are local",
    }[type(match)]
    return f"the packet does not tell its {what}, and that decides: {_shown(entry)}"


def _shown(entry: _Entry) -> str:
    visit = entry.hit
    return f"table {visit.table}, chain {visit.chain}, rule {visit.position}: {write_saved(visit.rule)}"
