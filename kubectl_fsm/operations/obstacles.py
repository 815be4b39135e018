"""Why a restart leaves a workload alone, and what would replace its pods all the same."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from kubectl_fsm import fields, rollouts
from kubectl_fsm.cluster.interface import JOBS
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import problems
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Upcoming
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import applied
from kubectl_fsm.operations.owners import Workload

RESTART = "kubectl-fsm/restart"
"""The annotation of a workload that tells whether it is restarted: `enabled`, as without it; any other value: it is not."""
EVICT, RECREATE = "--evict", "--recreate"
"""Remedies, as `restart` spells them: pods go through the eviction API, and a bare pod is made from its manifest."""
_MENDS = {EVICT: "replaces its pods", RECREATE: "does, from its last applied manifest"}
REPLACED = {EVICT: "evicted pod by pod", RECREATE: "deleted and created anew"}
"""How pods are replaced with a remedy."""


class Obstacle(NamedTuple):
    """Why a restart leaves a workload alone; with its `remedy`, where there is one, it does not."""

    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; restart {self.remedy} {_MENDS[self.remedy]}" if self.remedy else self.reason


def look(
    workload: Workload, coming: Upcoming, installation: Installation, given: Collection[str] = ()
) -> tuple[str, str]:
    """Why a restart leaves a workload alone, empty where it does not; then the remedy of those `given` that it takes."""
    try:
        found = [*_obstacles(workload, coming, installation)]
    except InvalidObject as error:
        return error.message, ""
    left = next((str(one) for one in found if one.remedy not in given), "")
    return left, "" if left else next((one.remedy for one in found), "")


def remedy(workload: Workload) -> str:
    """The option with which a restart would replace the pods of a workload that has no rolling update."""
    try:
        return next((one.remedy for one in _remediable(workload)), "")
    except InvalidObject:
        return ""


def standing(workload: Workload) -> str:
    """Why a restart leaves a workload alone until somebody changes it, whatever its pods run; empty where it does not."""
    try:
        return next(filter(None, _standing(workload)), "")
    except InvalidObject:
        return ""


def held_back(obj: Object) -> str:
    """What holds a workload's pods as they are, or asks for that; empty where nothing does."""
    return opted_out(obj) or rollouts.holds_back(obj)


def opted_out(obj: Object) -> str:
    """Who made the object asks that it is not restarted; empty where nobody does."""
    wish = fields.annotations(obj).get(RESTART, "enabled")
    return f"it is not to be restarted (annotation {RESTART}: {wish})" if wish != "enabled" else ""


def rolling(obj: Object) -> str:
    """The same for a rollout that is under way already."""
    return "a rollout is under way already; look again when it has ended" if rollouts.rolling(obj) else ""


def _obstacles(workload: Workload, coming: Upcoming, installation: Installation) -> Iterator[Obstacle]:
    """What cannot be remedied first."""
    rolls = (rolling(obj) for obj in _own(workload))
    reasons = (*_standing(workload), _unfit(coming), *rolls, _unmade(workload, installation))
    yield from (Obstacle(reason) for reason in reasons if reason)
    yield from _remediable(workload)


def _standing(workload: Workload) -> Iterator[str]:
    top = workload.top.object
    if workload.unseen:
        yield f"its owner {workload.unseen.kind} {workload.unseen.name} is gone or cannot be read"
    if workload.top.resource is JOBS:
        yield "a Job's pods are not replaced: create the Job anew"
    yield from map(opted_out, _own(workload))
    if (held := rollouts.holds_back(top)) != rollouts.on_delete(top):
        yield held
    if rollouts.restart_field(top) == rollouts.RESTART_AT:
        yield rollouts.progress(top).failed


def _own(workload: Workload) -> Iterator[Object]:
    """The workload itself, and where its operator keeps the template elsewhere, that."""
    yield workload.top.object
    if workload.holder and workload.refusal:
        yield workload.holder.object


def _unmade(workload: Workload, installation: Installation) -> str:
    """Why a bare pod cannot be recreated; empty where it can, and for all else."""
    if not workload.bare:
        return ""
    try:
        applied.manifest(workload.top.object, installation)
    except InvalidObject as error:
        first = "a bare pod: delete it and apply its first manifest; its live one keeps the old rules"
        return f"{first} ({error.message})"
    return ""


def _remediable(workload: Workload) -> Iterator[Obstacle]:
    top = workload.top.object
    title = f"{fields.text(top, 'kind') or workload.top.resource.kind} {fields.name(top)}"
    if workload.bare:
        yield Obstacle("a bare pod: nobody makes it anew", RECREATE)
    elif workload.refusal:
        yield Obstacle(f"{title} has no pod template: restart it as its operator does", EVICT)
    elif said := rollouts.on_delete(top):
        yield Obstacle(said, EVICT)
    elif not rollouts.restart_field(top):
        yield Obstacle(f"restart {title} as its controller does it", EVICT)


def _unfit(coming: Upcoming) -> str:
    """Why new pods would be worse than the old ones; empty where they would not."""
    if coming.wanted is None:
        return f"its next pods would have no rules of the mesh: {coming.reason}"
    stops = problems(coming.wanted)
    return f"its next pods would not start: {stops[0].text}" if stops else ""
