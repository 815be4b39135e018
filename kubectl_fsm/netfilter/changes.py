"""Operations on one table, read in the order of a text."""

from __future__ import annotations

from kubectl_fsm.netfilter.model import (
    BUILT_IN_CHAINS,
    NAT,
    Append,
    Chains,
    Goto,
    Insert,
    Jump,
    Operation,
    built_in,
    find_loop,
    is_user_chain,
    misplaced,
)
from kubectl_fsm.netfilter.rules import RuleReader
from kubectl_fsm.netfilter.values import decimal
from kubectl_fsm.netfilter.words import Words

_MAX_POSITION = 10**6


class Changes:
    """Operations in the order of the text. Each is tried on scratch chains, so that one without effect has its place."""

    def __init__(self, table: str = NAT) -> None:
        self.table = table
        self.operations: list[Operation] = []
        self.chains: Chains = built_in(table)
        self.jumps: dict[tuple[str, str], tuple[Words, int]] = {}

    def add(self, operation: Operation) -> None:
        operation.apply(self.chains)
        self.operations.append(operation)

    def read_change(self, words: Words) -> None:
        """`-A` or `-I` with its rule."""
        insert = words.take("-I", "--insert")
        if not insert:
            words.expect("-A", "--append")
        chain = words.value("-I" if insert else "-A")
        at = words.focus
        position = 1
        if insert and words.peek()[:1].isdigit():
            position = decimal(words.value("-I"), _MAX_POSITION, "position")
        rule = RuleReader(words).read()
        if isinstance(rule.target, Jump | Goto):
            self.jumps.setdefault((chain, rule.target.chain), (words, words.focus))
        elif why := misplaced(rule.target, self.table, chain if chain in BUILT_IN_CHAINS[self.table] else None):
            raise words.error(why, words.focus)
        words.focus = at
        self.add(Insert(chain, rule, position) if insert else Append(chain, rule))

    def read_line(self, words: Words) -> None:
        """A line that holds one change and nothing else."""
        self.read_change(words)
        if words.peek():
            raise words.error("nothing may follow a rule in its line")

    def finish(self) -> tuple[Operation, ...]:
        """All operations, once every jump has a chain to go to."""
        for (_, chain), (words, index) in self.jumps.items():
            if not is_user_chain(chain, self.chains, self.table):
                raise words.placed(words.error("no target or user-defined chain has this name", index))
        return tuple(self.operations)

    def check_loops(self) -> None:
        """No packet can go round for ever. The kernel takes a loop that nothing jumps into; here none is taken."""
        if loop := find_loop(self._links()):
            words, index = self.jumps[loop]
            raise words.placed(words.error(f"loop: a packet in chain {loop[1]} gets back to it from {loop[0]}", index))

    def _links(self) -> dict[str, list[str]]:
        links: dict[str, list[str]] = {}
        for chain, linked in self.jumps:
            links.setdefault(chain, []).append(linked)
        return links
