"""Which workloads run outdated rules, which of them a restart can mend, and the restart itself."""

import random
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import JOBS, Cluster
from kubectl_fsm.errors import FsmError, InvalidObject, RolloutFailed
from kubectl_fsm.exclusions import problems
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Comparison, Upcoming, carries, difference, upcoming
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import meshes, oracle
from kubectl_fsm.operations.owners import Workload
from kubectl_fsm.operations.queue import Step, Work
from kubectl_fsm.operations.rollout import Judge, Outcome, Target
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import Event, Warned

_PATIENCE = 30.0
"""Seconds for which an injector that does not yet know the MeshConfig is asked again. Each time costs a certificate."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


def plan(
    installations: Sequence[Installation],
    subjects: Sequence[Subject],
    namespaces: Mapping[str, Object],
    *,
    everything: bool = False,
) -> Sequence[Step]:
    """What a restart would do with each workload; with `everything` current pods are a reason as well."""
    comparisons = [Comparison(installation) for installation in installations]
    steps = []
    for subject in subjects:
        namespace = namespaces.get(subject.workload.namespace)
        installation = meshes.of_pod(installations, namespace, *subject.pods)
        if installation is None:
            steps.append(Step(subject, None, (), (), Outcome("current", "nothing tells which mesh it belongs to")))
            continue
        compare = comparisons[installations.index(installation)]
        steps.append(_step(Target(subject, installation, namespace), compare, everything=everything))
    return steps


def _step(target: Target, compare: Comparison, *, everything: bool) -> Step:
    subject, installation = target.subject, target.installation
    live = [pod for pod in subject.pods if workloads.lives(pod)]
    try:
        coming = upcoming(subject.template, target.namespace, installation, installation.spec)
        found = {id(pod): _outdated(pod, compare, coming, installation) for pod in live}
    except InvalidObject as error:
        return Step(subject, target, (), (), Outcome("left", error.message))
    outdated = [pod for pod in live if found[id(pod)]]
    changes = list(dict.fromkeys(text for texts in found.values() for text in texts))
    if not outdated and not (everything and live and coming.wanted):
        return Step(subject, target, (), (), Outcome("current", _idle(live, coming, installation)))
    reason = obstacle(subject.workload, coming)
    return Step(subject, target, outdated, changes, Outcome("left", reason) if reason else None)


def _idle(live: Sequence[Object], coming: Upcoming, installation: Installation) -> str:
    """Why there is nothing to restart; empty where pods run current rules."""
    if not live:
        return "it has no running pods"
    if any(carries(pod, installation.mesh) for pod in live):
        return ""
    return (
        "its pods were made before they could be injected; --all-pods replaces them" if coming.wanted else coming.reason
    )


def _outdated(pod: Object, compare: Comparison, coming: Upcoming, installation: Installation) -> Sequence[str]:
    """What the pod that comes after this one would gain and lose; nothing for one that runs no rules of the mesh."""
    if not carries(pod, installation.mesh):
        return ()
    runs = compare.runs(pod)
    return difference(runs, coming.wanted) if runs and coming.wanted else ["other rules"]


def _unfit(coming: Upcoming) -> str:
    """Why new pods would be worse than the old ones; empty where they would not."""
    if coming.wanted is None:
        return f"its next pods would have no rules of the mesh: {coming.reason}"
    stops = problems(coming.wanted)
    return f"its next pods would not start: {stops[0].text}" if stops else ""


def obstacle(workload: Workload, coming: Upcoming) -> str:
    """Why a restart leaves a workload alone; empty where it does not."""
    try:
        return next(_obstacles(workload), "") or _unfit(coming) or _rolling(workload.top.object)
    except InvalidObject as error:
        return error.message


def _obstacles(workload: Workload) -> Iterator[str]:
    """Why a restart is not for this workload."""
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
    if held_back := rollouts.holds_back(top):
        yield held_back
    if not rollouts.restart_field(top):
        yield f"restart {title} as its controller does it"
    if rollouts.restart_field(top) == rollouts.RESTART_AT and (stands := rollouts.progress(top).failed):
        yield stands


def _rolling(obj: Object) -> str:
    return "a rollout is under way already; look again when it has ended" if rollouts.rolling(obj) else ""


def work(
    cluster: Cluster, steps: Sequence[Step], timeout: float, *, wait: bool = True, everything: bool = False
) -> Work:
    """The steps with the restart of each that is not left alone.

    `timeout`: the seconds that one restart may take, 0 for no limit; `wait`: whether it is waited for; with
    `everything` also of workloads whose pods are current by then.
    """
    return [
        (
            step,
            None
            if step.left or not step.target
            else Restart(cluster, step.target, patience(timeout), wait=wait, everything=everything),
        )
        for step in steps
    ]


def assure(
    cluster: Cluster, target: Target, judge: Judge, owner: Object, template: Object, *, patience: float
) -> Generator[Event, bool, None]:
    """Go on when the injector would make a right pod of the template; one that is down or behind is asked again.

    `patience`: for how many seconds. Raises `RolloutFailed` where it refuses, stays wrong, or gives no answer. That it
    cannot be asked is only said: new pods are looked at in any case.
    """
    mesh, namespace = target.installation.mesh, target.subject.workload.namespace
    deadline, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        answer = oracle.ask(cluster, mesh, owner, template, namespace)
        if answer.unasked:
            yield Warned(f"{target}: the injector could not be asked beforehand: {answer.unasked}")
        if answer.refused:
            raise RolloutFailed(f"its next pods would be refused: {answer.refused}; nothing was written")
        wrong = answer.down
        if answer.pod and (lacking := judge.wrong(answer.pod, template)):
            wrong = f"the injector would make a wrong pod: {lacking}"
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise RolloutFailed(f"{wrong}; nothing was written")
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
        pause = min(pause * 2, _LONGEST_PAUSE)


def patience(timeout: float) -> float:
    """For how many seconds an injector is asked, where a rollout may take `timeout` (0: no limit)."""
    return min(timeout or _PATIENCE, _PATIENCE)


class Restart:
    """The restart of one workload, as kubectl does it; the injector is asked first whether the new pods will be right."""

    def __init__(self, cluster: Cluster, target: Target, patience: float, *, wait: bool, everything: bool) -> None:
        self._cluster = cluster
        self._target = target
        self.waits = wait
        self.begun = Outcome("started")
        self._patience = patience
        self._everything = everything
        self._path = rollouts.restart_field(target.top) or ()
        self._before: Any = None
        self._moment = ""

    def prepare(self, current: Object, pods: Sequence[Object], judge: Judge) -> Generator[Event, bool, Outcome | None]:
        if reason := rollouts.holds_back(current) or _rolling(current):
            return Outcome("left", reason)
        template = workloads.template(current) or self._target.subject.template
        mesh = self._target.installation.mesh
        judge.renew()
        if not self._everything and not any(carries(pod, mesh) and judge.wrong(pod, template) for pod in pods):
            return Outcome("current", "its pods run current rules by now")
        yield from assure(self._cluster, self._target, judge, current, template, patience=self._patience)
        return None

    def write(self, current: Object) -> Generator[Event, bool, Object]:
        yield from ()
        self._before = _at(current, self._path)
        self._moment = _now()
        if self._moment == self._before:  # the same second as the restart before: nothing would change
            time.sleep(1)
            self._moment = _now()
        return self._set(self._moment)

    def made(self, pod: Object, template: Object) -> bool:  # noqa: ARG002 - a restart leaves its mark on each pod
        if self._path == rollouts.RESTARTED_AT:
            return fields.annotations(pod).get(self._path[-1]) == self._moment
        since = fields.text(pod, "metadata", "creationTimestamp")
        return not since or since >= self._moment

    def take_back(self) -> str:
        try:
            self._set(self._before)
        except FsmError as error:
            return f"the restart could not be taken back: {error.message}"
        return "the restart was taken back"

    def _set(self, value: Any) -> Object:
        """Write the field, of this very object: the uid makes the server refuse another one with its name."""
        patch: Any = value
        for step in reversed(self._path):
            patch = {step: patch}
        top = self._target.subject.workload.top
        named = {"metadata": {"uid": fields.text(top.object, "metadata", "uid")}}
        return self._cluster.patch(top.resource, fields.name(top.object), top.namespace, patch | named)


def _at(obj: Object, path: Sequence[str]) -> Any:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _now() -> str:
    """The time as kubectl writes it: RFC 3339, in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
