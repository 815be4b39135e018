"""Command lines to type next: each carries the words that lead to the same cluster."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from kubectl_fsm import fields, rollouts
from kubectl_fsm.cluster.interface import DAEMONSETS, DEPLOYMENTS, STATEFULSETS, Resource
from kubectl_fsm.exclusions import value_problem
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    INBOUND_PORTS,
    INCLUDED_RANGES,
    INTERFACES,
    LISTS,
    OUTBOUND_PORTS,
    ExclusionList,
)
from kubectl_fsm.operations.owners import Workload
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import ListChange

_VERBS: Mapping[ExclusionList, str] = {
    OUTBOUND_PORTS: "exclude-port",
    INBOUND_PORTS: "exclude-port --inbound",
    EXCLUDED_RANGES: "exclude-ip",
    INCLUDED_RANGES: "include-ip",
    INTERFACES: "exclude-interface",
}
_RESTARTABLE = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS)
"""What `kubectl rollout` knows."""


def undo(changes: Sequence[ListChange], words: Sequence[str]) -> str:
    """What takes an edit back and nothing else: what came is removed, what went is added again.

    `words` name scope and cluster. Values that could not be written again are left out.
    """
    return " && ".join(line for change in changes for line in _undone(change, words))


def _undone(change: ListChange, words: Sequence[str]) -> Iterator[str]:
    exclusion_list = next(found for found in LISTS if found.name == change.list)
    came = [value for value in change.after if value not in change.before]
    gone = [value for value in change.before if value not in change.after and not value_problem(exclusion_list, value)]
    for values in (["--remove", *came] if came else [], gone):
        if values:
            yield f"kubectl fsm {_VERBS[exclusion_list]} {shlex.join([*values, *words])}"


def apply(workload: Workload, words: Sequence[str]) -> str:
    """What makes a workload's pods anew: a command where `restart` knows how, else what to do."""
    kind, name = fields.text(workload.top.object, "kind"), fields.name(workload.top.object)
    if workload.bare:
        return "delete the pod and apply its first manifest; its live one keeps the old rules"
    if workload.unseen:
        return f"restart {workload.unseen.kind} {shlex.quote(workload.unseen.name)}, which is not shown"
    if _restartable(workload):
        return f"kubectl fsm restart {shlex.join([workload.label, '-n', workload.namespace, *words])}"
    words_by_kind = {"CronJob": "its next run has them", "Job": "create the Job anew"}
    return words_by_kind.get(kind, f"restart {kind} {shlex.quote(name)} as its controller does it")


def restart_all(namespace: str, control_plane: str, words: Sequence[str]) -> str:
    """The command that restarts whatever runs outdated rules in a namespace, in all where it is empty."""
    where = ["--all", "-n", namespace] if namespace else ["-A"]
    mesh = ["-N", control_plane] if control_plane else []
    return f"kubectl fsm restart {shlex.join([*where, *mesh, *words])}"


def _restartable(workload: Workload) -> bool:
    known = rollouts.restart_field(workload.top.object) is not None
    return known and not workload.refusal and not workload.unseen


def follow(resource: Resource, title: str, words: Sequence[str]) -> str:
    """What shows how a rollout goes, where kubectl knows; `words` name namespace and cluster."""
    return f"; follow it: kubectl rollout status {shlex.join([title, *words])}" if resource in _RESTARTABLE else ""


def apply_all(subjects: Sequence[Subject], words: Sequence[str]) -> Sequence[str]:
    """The same for many: one command for all of a namespace that can be restarted, then the rest one by one."""
    restartable: dict[str, list[str]] = {}
    rest = []
    for subject in subjects:
        workload = subject.workload
        if _restartable(workload):
            restartable.setdefault(workload.namespace, []).append(workload.label)
        else:
            rest.append(f"{subject}: {apply(workload, words)}")
    commands = [
        f"kubectl fsm restart {shlex.join([*labels, '-n', namespace, *words])}"
        for namespace, labels in restartable.items()
    ]
    return [*commands, *rest]
