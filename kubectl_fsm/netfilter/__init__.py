"""Packet filter rules as iptables has them: read, applied, written and walked. Knows neither mesh nor Kubernetes."""

from kubectl_fsm.netfilter import dump, script
from kubectl_fsm.netfilter.dump import write
from kubectl_fsm.netfilter.model import Ruleset
from kubectl_fsm.netfilter.simulator import Action, Outcome, Packet, Verdict, outcomes, simulate

__all__ = ["Action", "Outcome", "Packet", "Ruleset", "Verdict", "outcomes", "parse", "simulate", "write"]


def parse(text: str) -> Ruleset:
    """The rules that a text leads to: an init container's script, of either form, or what `iptables-save` printed.

    Raises `RulesSyntaxError`, which shows line and column, for anything that is not wholly understood: a match or
    target that is not known, a jump to a chain that is not there, a loop, a text that is empty or cut off.
    """
    return dump.parse(text) if dump.is_dump(text) else script.parse(text)
