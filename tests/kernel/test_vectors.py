"""Every script that the released injectors wrote, in the kernel: taken as it is, and read as the reader reads it."""

from __future__ import annotations

import json

from kubectl_fsm.netfilter import parse
from kubectl_fsm.netfilter.dump import normal
from kubectl_fsm.netfilter.targets import POD_IP
from tests.support.pods import WEB, restore_text

WRITTEN = 59
"""The vectors that are no refusals."""


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
    assert chains(script.replace(POD_IP, WEB.address)) == chains(saved)


def differs(script: str, saved: str) -> bool:
    return chains(script.replace(POD_IP, WEB.address)) != chains(saved)


def chains(text: str) -> object:
    """The nat table in one spelling, by chain."""
    return dict(normal(parse(text)).tables["nat"])
