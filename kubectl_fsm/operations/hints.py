"""Command lines to type next: each carries the words that lead to the same cluster."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from kubectl_fsm import fields
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
from kubectl_fsm.operations import applied, obstacles
from kubectl_fsm.operations.owners import Workload
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import ListChange

_FEW = 5
"""Workloads, or namespaces, that a command line names one by one, at most."""
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


def add(exclusion_list: ExclusionList, values: Sequence[str], words: Sequence[str]) -> str:
    """What writes these values, those left out that no list may hold; empty where none is left."""
    return undo([ListChange(exclusion_list.name, values, ())], words)


def clear(exclusion_list: ExclusionList, words: Sequence[str]) -> str:
    """What writes an empty list, also where there is none yet."""
    return f"kubectl fsm {_VERBS[exclusion_list]} {shlex.join(['--clear', *words])}"


def export(style: str, words: Sequence[str]) -> str:
    """What prints the mesh-wide lists for somebody else to keep."""
    return f"kubectl fsm exclusions {shlex.join([f'--export={style}', *words])}"


def apply(workload: Workload, words: Sequence[str]) -> str:
    """What makes a workload's pods anew: a command where `restart` knows how, else what to do, or what stands in the way."""
    return _otherwise(workload) or _restart([workload.label], workload.namespace, obstacles.remedy(workload), words)


def anew(workload: Workload) -> str:
    """The same in words, for who has no cluster at hand."""
    return _otherwise(workload) or f"make the pods of {workload.label} anew"


def _otherwise(workload: Workload) -> str:
    """What to do, or to know, about a workload that no restart replaces the pods of; empty for all others."""
    top = workload.top.object
    if workload.bare and applied.ANNOTATION not in fields.annotations(top):
        return "delete the pod and apply its first manifest; its live one keeps the old rules"
    if workload.unseen:
        return f"restart {workload.unseen.kind} {shlex.quote(workload.unseen.name)}, which is not shown"
    known = {"CronJob": "its next run has them", "Job": "create the Job anew"}.get(fields.text(top, "kind"))
    return known or obstacles.standing(workload)


def _restart(labels: Sequence[str], namespace: str, remedy: str, words: Sequence[str]) -> str:
    options = [remedy] if remedy else []
    labels = labels if len(labels) <= _FEW else ["--all"]
    return f"kubectl fsm restart {shlex.join([*labels, '-n', namespace, *options, *words])}"


def restart_all(namespace: str, control_plane: str, words: Sequence[str]) -> str:
    """The command that restarts whatever runs outdated rules in a namespace, in all where it is empty."""
    where = ["--all", "-n", namespace] if namespace else ["-A"]
    mesh = ["-N", control_plane] if control_plane else []
    return f"kubectl fsm restart {shlex.join([*where, *mesh, *words])}"


def follow(resource: Resource, title: str, words: Sequence[str]) -> str:
    """What shows how a rollout goes, where kubectl knows; `words` name namespace and cluster."""
    return f"; follow it: kubectl rollout status {shlex.join([title, *words])}" if resource in _RESTARTABLE else ""


def apply_all(subjects: Sequence[Subject], words: Sequence[str]) -> Sequence[str]:
    """The same for many: one command for all of a namespace that are restarted alike, then the rest one by one.

    More than a few are not named but meant by `--all`, or `-A`: a restart picks what is outdated itself.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    rest = []
    for subject in subjects:
        workload = subject.workload
        if said := _otherwise(workload):
            rest.append(f"{subject}: {said}")
        else:
            alike.setdefault((workload.namespace, obstacles.remedy(workload)), []).append(workload.label)
    everywhere = len({namespace for namespace, _ in alike}) > _FEW
    options = dict.fromkeys(remedy for _, remedy in alike if remedy)
    if everywhere:
        return [f"kubectl fsm restart {shlex.join(['-A', *options, *words])}", *rest]
    commands = [_restart(labels, namespace, remedy, words) for (namespace, remedy), labels in alike.items()]
    return [*commands, *rest]
