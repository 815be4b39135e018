"""The workload that goes first: the others follow if it stays healthy for a time."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

from kubectl_fsm import durations, fields, rollouts, workloads
from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.errors import FsmError, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.rollout import Judge, Target, failure, watch
from kubectl_fsm.operations.turns import Job, Outcome
from kubectl_fsm.reports import Event

_SPEAK = 10.0
"""Seconds between two lines about it."""


class Canary:
    """A `turns.Job` that ends well if the job within does and its workload is still healthy `bake` seconds later."""

    def __init__(self, cluster: Cluster, owners: Owners, target: Target, job: Job | None, bake: float) -> None:
        """No `job`: its pods run current rules already."""
        self._cluster = cluster
        self._owners = owners
        self._target = target
        self._job = job
        self._bake = bake
        self._baking = False
        self.subject = target.subject

    @property
    def stage(self) -> str:
        if self._baking:
            return "its pods are right, and it was baking"
        return self._job.stage if self._job else "nothing was written"

    def run(self) -> Generator[Event, bool, Outcome]:
        outcome = (yield from self._job.run()) if self._job else (yield from self._current())
        if outcome.result not in ("done", "current"):
            return outcome._replace(result="failed")
        self._baking = True
        try:
            yield from self._baked()
        except FsmError as error:
            return failure(error, "")
        return outcome

    def _current(self) -> Generator[Event, bool, Outcome]:
        yield self._target.turn(
            "begun", ": its pods run current rules already, so it tells only whether they are healthy"
        )
        return Outcome("current")

    def _baked(self) -> Generator[Event, bool, None]:
        """Look at it for so long. Raises `RolloutFailed` where it is not healthy in the end, or cannot be any more."""
        begun = told = time.monotonic()
        if self._bake:
            yield self._target.turn("baking", f": right, to stay healthy for {durations.text(self._bake)}")
        judge, before = Judge(self._cluster, self._target), None
        total = durations.text(self._bake)
        with closing(watch(self._cluster, self._owners, self.subject.workload)) as states:
            for current, pods in states:
                before = _restarts(pods) if before is None else before
                trouble = _trouble(current, pods, before) or _wrong(judge, self._target, current, pods)
                passed = time.monotonic() - begun
                if trouble and (passed >= self._bake or current is None or rollouts.progress(current).failed):
                    raise RolloutFailed(f"it was verified, but {durations.text(passed)} later: {trouble}")
                if passed >= self._bake:
                    return
                if time.monotonic() - told > _SPEAK:
                    yield self._target.turn("baking", f": {trouble or 'healthy'}, {durations.text(passed)} of {total}")
                    told = time.monotonic()


def _trouble(current: Object | None, pods: Sequence[Object], before: Mapping[tuple[str, str], int]) -> str:
    """Why a workload is not healthy; empty where it is. `before` are the containers' restarts as they were."""
    if current is None:
        return "it has been deleted"
    for pod in pods:
        if not workloads.is_ready(pod):
            return f"pod {fields.name(pod)} is not ready: {workloads.complaint(pod)}"
    restarted = (key for key, count in _restarts(pods).items() if count > before.get(key, 0))
    for name, container in restarted:
        return f"container {container} of pod {name} has restarted"
    progress = rollouts.progress(current)
    there = rollouts.on_delete(current) and progress.available >= progress.wanted  # its revisions tell nothing
    if progress.done or there or not rollouts.restart_field(current):
        return ""
    return progress.failed or f"{progress.available} of {progress.wanted} pods are available"


def _wrong(judge: Judge, target: Target, current: Object | None, pods: Sequence[Object]) -> str:
    template = workloads.template(current or target.top) or target.subject.template
    return next((f"pod {fields.name(pod)}: {said}" for pod in pods if (said := judge.wrong(pod, template))), "")


def _restarts(pods: Sequence[Object]) -> Mapping[tuple[str, str], int]:
    """How often each container has been restarted, by pod and container."""
    return {
        (fields.name(pod), fields.text(status, "name")): fields.number(status, "restartCount") or 0
        for pod in pods
        for status in fields.parts(pod, "status", "containerStatuses")
    }
