"""The grammar of one rule: reader and writer, each the opposite of the other.

    rule = {match} ("-j" | "--jump") target {match}
         | {match} ("-g" | "--goto") CHAIN {match}

A rule is written in one of two styles: an injector's, which is what `write` means, and that of `iptables-save`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.matches import (
    WITH_PORTS,
    Address,
    AddressType,
    Direction,
    End,
    Identity,
    Interface,
    Match,
    Owner,
    Ports,
    Protocol,
    always,
)
from kubectl_fsm.netfilter.model import Rule
from kubectl_fsm.netfilter.options import MODULES, OPTIONS, STATISTIC, module_of, read_statistic, write_option
from kubectl_fsm.netfilter.target_options import read_target, write_target
from kubectl_fsm.netfilter.targets import Dnat, Goto, Masquerade, Redirect, Reject, Snat, Target
from kubectl_fsm.netfilter.values import shown
from kubectl_fsm.netfilter.words import Quoting, Words

_GROUPED = frozenset({"owner", "addrtype", *WITH_PORTS})
"""Modules of which one `-m` can hold several options."""


def write(rule: Rule) -> str:
    """A rule's text as an injector spells it, without the chain that it is in.

    Raises `RulesSyntaxError` where a comment or prefix holds what a shell would act on.
    """
    return " ".join((*map(_write_match, rule.matches), write_target(rule.target, Quoting.SHELL)))


def _write_match(match: Match) -> str:
    module = module_of(match)
    option = write_option(match, Quoting.SHELL)
    if module == "multiport":
        return f"--match multiport {option}"
    return f"-m {module} {option}" if module else option


def write_saved(rule: Rule) -> str:
    """A rule's text as `iptables-save` spells it, without the chain that it is in.

    Matches come in its order, addresses as the ranges that they are, and what matches everything is left out.
    """
    words = []
    for module, matches in _groups(rule):
        words += [f"-m {module}"] if module else []
        words += [write_option(match, Quoting.SAVED) for match in matches]
    return " ".join((*words, write_target(rule.target, Quoting.SAVED)))


def canonical(rule: Rule) -> Rule:
    """The rule that is read from what `write_saved` writes. It matches the same packets."""
    return Rule(tuple(match for _, matches in _groups(rule) for match in matches), rule.target)


def _slot(match: Match) -> int:
    """Where `iptables-save` puts an option among those of its module, or among those that belong to none."""
    if isinstance(match, Address):
        return 0 if match.end is End.SOURCE else 1
    if isinstance(match, Interface):
        return 2 if match.direction is Direction.IN else 3
    if isinstance(match, Protocol):
        return 4
    if isinstance(match, Ports | AddressType):
        return 0 if match.end is End.SOURCE else 1
    return 1 if isinstance(match, Owner) and match.identity is Identity.GID else 0


def _groups(rule: Rule) -> list[tuple[str, list[Match]]]:
    """The rule's matches by module, in the order of `iptables-save`; the first module has no name."""
    protocol = _protocol_of(rule.matches)
    groups: list[tuple[str, list[Match]]] = [("", [])]
    for match in map(_plainest, rule.matches):
        if match is None:
            continue
        if isinstance(match, Protocol | Address | Interface):
            groups[0][1].append(match)
            continue
        module = module_of(match)
        if isinstance(match, Ports) and not match.multi:
            if protocol not in WITH_PORTS:
                raise RulesSyntaxError("ports need -p tcp or -p udp")
            module = protocol
        open_groups = groups if module in WITH_PORTS else groups[-1:]
        slot = _slot(match)
        room = (
            group
            for name, group in open_groups
            if name == module and module in _GROUPED and all(_slot(other) != slot for other in group)
        )
        found = next(room, None)
        if found is None:
            groups.append((module, [match]))
        else:
            found.append(match)
    return [(module, sorted(matches, key=_slot)) for module, matches in groups]


def _plainest(match: Match) -> Match | None:
    """A match as the kernel holds it; None where it holds nothing since everything matches."""
    if always(match) and not (isinstance(match, Ports) and match.multi):
        return None
    return Address(match.end, match.network, match.negated) if isinstance(match, Address) else match


def _protocol_of(matches: Iterable[Match]) -> str:
    return next((match.name for match in matches if isinstance(match, Protocol) and not match.negated), "all")


class RuleReader:
    """Reads one rule: matches and the target, in any order, up to the end of the command."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.matches: list[Match] = []
        self.target: Target | None = None
        self.target_at = 0
        self.value_at = 0
        self.ports_at: int | None = None
        self.given: set[str] = set()
        self.modules: dict[str, int] = {}
        self.idle: dict[str, int] = {}

    def read(self) -> Rule:
        """The rule; `words.focus` is then the target's name."""
        words = self.words
        while not words.ended:
            if words.take("-m", "--match"):
                self._module(words.value("-m"))
            elif words.peek() in ("-j", "--jump", "-g", "--goto"):
                self._target()
            else:
                self._match()
        for module, index in self.idle.items():
            raise words.error(f"-m {module} needs an option of its own", index)
        if self.target is None:
            raise words.error("expected -j and a target")
        self._check_protocol(self.target)
        words.focus = self.target_at
        return Rule(tuple(self.matches), self.target)

    def _module(self, name: str) -> None:
        """Loads a module; loaded again, it may be given its options again."""
        index = self.words.focus
        if name not in MODULES:
            raise self.words.error(f"unknown match {shown(name)}", index)
        self.modules[name] = index
        self.given -= MODULES[name]
        if name == STATISTIC:
            self.matches.append(read_statistic(self.words))
        elif name not in WITH_PORTS:
            self.idle[name] = index

    def _match(self) -> None:
        words = self.words
        at = words.index
        negated = words.take("!")
        spelling = words.peek()
        if spelling not in OPTIONS:
            raise words.error(f"unknown option {shown(spelling)}" if spelling else "expected an option")
        option, module, read = OPTIONS[spelling]
        if module and module not in self.modules:
            raise words.error(f"{option} needs -m {module} before it")
        if option in self.given:
            raise words.error(f"{option} is given twice")
        if negated and option == "--comment":
            raise words.error("a comment cannot be negated", at)
        words.index += 1
        match = read(words, option, negated)
        if isinstance(match, Ports):
            self.ports_at = words.focus
        self.matches.append(match)
        self.given.add(option)
        self.idle.pop(module, None)

    def _target(self) -> None:
        words = self.words
        goto = words.take("-g", "--goto")
        words.index += not goto
        if self.target is not None:
            words.value("-j")
            raise words.error("a rule has one target", words.focus)
        self.target_at = words.index
        self.target = Goto(words.value("-g")) if goto else read_target(words)
        self.value_at = words.focus

    def _check_protocol(self, target: Target) -> None:
        """Ports exist only where the protocol is known to have them, and a protocol's module fits only itself."""
        words = self.words
        protocol = _protocol_of(self.matches)
        ports_at = self.value_at if _names_port(target) else self.ports_at
        if ports_at is not None and protocol not in WITH_PORTS:
            raise words.error("ports need -p tcp or -p udp", ports_at)
        if target == Reject("tcp-reset") and protocol != "tcp":
            raise words.error("tcp-reset needs -p tcp", self.value_at)
        for module, index in self.modules.items():
            if module in WITH_PORTS and module != protocol:
                raise words.error(f"-m {module} needs -p {module}", index)


def _names_port(target: Target) -> bool:
    if isinstance(target, Masquerade):
        return target.ports is not None
    return isinstance(target, Redirect | Dnat | Snat) and target.port is not None
