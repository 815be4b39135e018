"""Every script that the released injectors wrote, in the kernel: taken as it is, and read as the reader reads it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from kubectl_fsm.netfilter import Ruleset, parse
from kubectl_fsm.netfilter.model import BUILT_IN_CHAINS, NAT, POD_IP, Address, Dnat, Match, Rule
from kubectl_fsm.netfilter.script import RESTORE
from tests.support.pods import WEB, restore_text

WRITTEN = 59
"""The vectors that are no refusals."""
ANY = "0.0.0.0/0"


def scripts(vectors):
    written = [case["script"] for case in json.loads(vectors.read_text()) if not case["error"]]
    assert len(written) == WRITTEN
    return written


def test_every_vector_loads_and_is_read_as_the_kernel_has_it(lab, vectors):
    for script in scripts(vectors):
        lab.load(WEB.name, restore_text(script))
        assert_same(script, lab.saved(WEB.name))


def test_the_comparison_sees_a_rule_less_and_another_order(lab, vectors):
    script = scripts(vectors)[0]
    lab.load(WEB.name, restore_text(script))
    saved = lab.saved(WEB.name)
    rules = [line for line in saved.splitlines() if line.startswith("-A FSM_PROXY_INBOUND")]
    for wrong in (
        saved.replace(f"{rules[0]}\n", ""),
        saved.replace(rules[0], rules[1], 1),
        saved.replace("15003", "15004"),
    ):
        assert differs(script, wrong)


def assert_same(script: str, saved: str) -> None:
    """The ruleset that the reader makes of a script is the one that `iptables-save` shows."""
    assert comparable(parse(script)) == comparable(parse(as_script(saved)))


def differs(script: str, saved: str) -> bool:
    return comparable(parse(script)) != comparable(parse(as_script(saved)))


def as_script(saved: str) -> str:
    """The nat table of `iptables-save` in the one form that the reader knows."""
    lines = [re.sub(r" \[\d+:\d+\]$", " [0:0]", line) for line in saved.splitlines() if not line.startswith("#")]
    assert [lines[0], lines[-1]] == [f"*{NAT}", "COMMIT"]
    policies = [f":{chain} ACCEPT [0:0]" for chain in BUILT_IN_CHAINS[NAT]]
    assert lines[1 : 1 + len(policies)] == policies
    return "\n".join([RESTORE, lines[0], *lines[1 + len(policies) :], "EOF"])


def comparable(ruleset: Ruleset) -> object:
    """What of a ruleset has a meaning: not the order of matches, nor a range's host bits."""
    chains = ruleset.tables[NAT].values()
    return {chain.name: (chain.policy, [_comparable(rule) for rule in chain.rules]) for chain in chains}


def _comparable(rule: Rule) -> object:
    matches = frozenset(_canonical(match) for match in rule.matches if not _holds_always(match))
    target = rule.target
    if isinstance(target, Dnat) and target.address == POD_IP:
        target = replace(target, address=WEB.address)
    return matches, target


def _canonical(match: Match) -> Match:
    return replace(match, text=match.network) if isinstance(match, Address) else match


def _holds_always(match: Match) -> bool:
    return isinstance(match, Address) and match.network == ANY and not match.negated
