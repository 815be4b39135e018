"""Pods as the sides of a connection, with the rules that they run or will run."""

from collections.abc import Mapping
from functools import lru_cache

from kubectl_fsm import fields, interception
from kubectl_fsm.exclusions import Effective
from kubectl_fsm.interception import Explained
from kubectl_fsm.meshes import Injector, Installation
from kubectl_fsm.netfilter.model import Rule
from kubectl_fsm.operations.inspect import Situation
from kubectl_fsm.tracing import NO_RULES, Side

_STATES: Mapping[str, str] = {
    "no-interception": "has no rules of its own",
    "failed": "does not start",
    "refused": "is refused",
    "external": "has rules from elsewhere",
}
"""What is said of pods in states in which their rules are not known."""


def side_now(found: Situation, title: str, address: str, *, assumed: bool) -> Side:
    """The pod as it runs; `assumed` where its address is a stand-in."""
    side = _side(found, title, address, found.reason, assumed=assumed)
    if found.now:
        whys = _explained(found.script, found.injector, found.known)
        return side._replace(ruleset=found.now.ruleset, whys=whys, mesh=str(found.installation))
    reason = f"{title} {_STATES.get(found.state)}: {found.reason}"
    return _without_rules(side, found.state, found.installation) or side._replace(reason=reason)


def side_after(found: Situation, title: str, address: str, *, assumed: bool) -> Side:
    """The pod that the next restart brings, at the same address."""
    side = _side(found, title, address, found.coming.reason, assumed=assumed)
    if found.coming.wanted is not None:
        if found.refused:
            more = f" (and {len(found.refused) - 1} more)" if len(found.refused) > 1 else ""
            return side._replace(reason=f"{found.refused[0]}{more}")
        ruleset = interception.read_script(found.next_script).ruleset
        whys = _explained(found.next_script, found.installation.injector, found.coming.wanted)
        return side._replace(ruleset=ruleset, whys=whys, mesh=str(found.installation))
    reason = f"the next pod of {title} {_STATES.get(found.coming.state)}: {found.coming.reason}"
    return _without_rules(side, found.coming.state, found.installation) or side._replace(reason=reason)


def _side(found: Situation, title: str, address: str, reason: str, *, assumed: bool) -> Side:
    tls = fields.boolean(found.installation.config, "spec", "sidecar", "sidecarDisabledMTLS") is not True
    return Side(title, address, assumed, None, reason, tls=tls)


def _without_rules(side: Side, state: str, installation: Installation) -> Side | None:
    """The pod in a state in which nothing is taken: without a sidecar, or with one that nothing leads to."""
    if state == "not-injected":
        return side._replace(ruleset=NO_RULES)
    if state == "no-interception" and installation.mode in ("", "none"):
        return side._replace(ruleset=NO_RULES, mesh=str(installation))
    return None


@lru_cache(maxsize=256)
def _explained(script: str, injector: Injector, known: Effective) -> Mapping[tuple[str, str, Rule], Explained]:
    """What is known of each rule of a script; many pods have the same."""
    explained = interception.explain(interception.read_script(script).ruleset, injector, known)
    return {(one.hook, one.chain, one.rule): one for one in explained}
