"""The command line that takes an edit back."""

import shlex
from collections.abc import Sequence

from kubectl_fsm.meshes import EXCLUDED_RANGES, INBOUND_PORTS, INCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations.places import Action, Change
from kubectl_fsm.reports import ListChange

_VERBS = {
    OUTBOUND_PORTS: "exclude-port",
    INBOUND_PORTS: "exclude-port --inbound",
    EXCLUDED_RANGES: "exclude-ip",
    INCLUDED_RANGES: "include-ip",
    INTERFACES: "exclude-interface",
}


def undo(changes: Sequence[Change], lists: Sequence[ListChange], scope: Sequence[str]) -> str:
    """What to type, one command for each list that changed; `scope` are the words that name the scope."""
    return " && ".join(
        f"kubectl fsm {_VERBS[change.list]} {shlex.join([*_inverse(change, found), *scope])}"
        for change, found in zip(changes, lists, strict=True)
        if found.before != found.after
    )


def _inverse(change: Change, found: ListChange) -> Sequence[str]:
    if change.action is Action.ADD:
        return ["--remove", *(value for value in found.after if value not in found.before)]
    if change.action is Action.REMOVE:
        return [value for value in found.before if value not in found.after]
    return ["--replace", *found.before] if found.before else ["--clear"]
