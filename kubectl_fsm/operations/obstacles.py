"""Why a restart leaves a workload alone."""

from collections.abc import Iterator

from kubectl_fsm import fields, rollouts
from kubectl_fsm.cluster.interface import JOBS
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import problems
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Upcoming
from kubectl_fsm.operations.owners import Workload

RESTART = "kubectl-fsm/restart"
"""The annotation of a workload that tells whether it is restarted: `enabled`, as without it; any other value: it is not."""


def obstacle(workload: Workload, coming: Upcoming) -> str:
    """Why a restart leaves a workload alone; empty where it does not."""
    try:
        return next(_obstacles(workload), "") or _unfit(coming) or rolling(workload.top.object)
    except InvalidObject as error:
        return error.message


def held_back(obj: Object) -> str:
    """What holds a workload's pods as they are, or asks for that; empty where nothing does."""
    wish = fields.annotations(obj).get(RESTART, "enabled")
    return (
        f"it is not to be restarted (annotation {RESTART}: {wish})" if wish != "enabled" else rollouts.holds_back(obj)
    )


def rolling(obj: Object) -> str:
    """The same for a rollout that is under way already."""
    return "a rollout is under way already; look again when it has ended" if rollouts.rolling(obj) else ""


def _obstacles(workload: Workload) -> Iterator[str]:
    top = workload.top.object
    title = f"{fields.text(top, 'kind') or workload.top.resource.kind} {fields.name(top)}"
    if workload.bare:
        yield "a bare pod: delete it and apply its first manifest; its live one keeps the old rules"
    if workload.unseen:
        yield f"its owner {workload.unseen.kind} {workload.unseen.name} is gone or cannot be read"
    if workload.top.resource is JOBS:
        yield "a Job's pods are not replaced: create the Job anew"
    if workload.refusal:
        yield f"{title} has no pod template: restart it as its operator does"
    if reason := held_back(top):
        yield reason
    if not rollouts.restart_field(top):
        yield f"restart {title} as its controller does it"
    if rollouts.restart_field(top) == rollouts.RESTART_AT and (stands := rollouts.progress(top).failed):
        yield stands


def _unfit(coming: Upcoming) -> str:
    """Why new pods would be worse than the old ones; empty where they would not."""
    if coming.wanted is None:
        return f"its next pods would have no rules of the mesh: {coming.reason}"
    stops = problems(coming.wanted)
    return f"its next pods would not start: {stops[0].text}" if stops else ""
