"""Which workloads run outdated rules, which of them a restart can mend, and the restart itself."""

import math
import time
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import BUDGETS, Cluster
from kubectl_fsm.errors import FsmError, InvalidObject
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Comparison, Upcoming, carries, difference, upcoming
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import headroom, meshes, obstacles, preflight
from kubectl_fsm.operations.headroom import Budgets
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.patience import persist
from kubectl_fsm.operations.preflight import Case
from kubectl_fsm.operations.rollout import Judge, Rollout, Target
from kubectl_fsm.operations.steps import Step, Work
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.turns import Job, Outcome
from kubectl_fsm.reports import Event

_FRESH = 60.0
"""Seconds for which the injector's answer about a template holds; after that it is asked again."""
_RANKS = ("Deployment", "Rollout", "StatefulSet", "DaemonSet")
"""Kinds in the order in which they are restarted: those that stand in for each other most easily first."""


class Manner(NamedTuple):
    """How restarts are carried out.

    `timeout`: the seconds that one may take, 0 for no limit; `wait`: whether it is waited for; with `everything` pods
    that run current rules are replaced too. `asked_at` is the monotonic time at which the injector was asked about all
    templates; with `respects_budgets` one whose PodDisruptionBudget has no room is left alone. `marks` are, by uid, of
    restarts begun before.
    """

    timeout: float = 0.0
    wait: bool = True
    everything: bool = False
    asked_at: float = -math.inf
    respects_budgets: bool = False
    marks: Mapping[str, str] = MappingProxyType({})


_USUAL = Manner()


def plan(
    installations: Sequence[Installation],
    subjects: Sequence[Subject],
    namespaces: Mapping[str, Object],
    manner: Manner = _USUAL,
) -> Sequence[Step]:
    """What a restart would do with each workload. One that has been begun before, and still rolls, is gone on with."""
    comparisons = [Comparison(installation) for installation in installations]
    steps = []
    for subject in subjects:
        namespace = namespaces.get(subject.workload.namespace)
        installation = meshes.of_pod(installations, namespace, *subject.pods)
        if installation is None:
            steps.append(Step(subject, None, (), (), Outcome("current", "nothing tells which mesh it belongs to")))
            continue
        compare = comparisons[installations.index(installation)]
        target = Target(subject, installation, namespace)
        if carries_mark(target.top, manner.marks.get(subject.workload.uid)) and rollouts.rolling(target.top):
            steps.append(Step(subject, target, (), ("its restart goes on",)))
            continue
        steps.append(_step(target, compare, everything=manner.everything))
    return steps


def in_order(steps: Sequence[Step]) -> Sequence[Step]:
    """Namespace by namespace; in each Deployments before StatefulSets before DaemonSets."""
    return sorted(steps, key=_rank)


def _rank(step: Step) -> tuple[str, int, str]:
    workload = step.subject.workload
    kind = workload.top.resource.kind
    return workload.namespace, _RANKS.index(kind) if kind in _RANKS else len(_RANKS), workload.label


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
    reason = obstacles.obstacle(subject.workload, coming)
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


def work(cluster: Cluster, owners: Owners, steps: Sequence[Step], manner: Manner) -> Work:
    """The steps with the restart of each that is not left alone."""
    return [(step, _job(cluster, owners, step, step.target, manner)) for step in steps]


def _job(cluster: Cluster, owners: Owners, step: Step, target: Target | None, manner: Manner) -> Job | None:
    if step.left or not target:
        return None
    change = Restart(cluster, target, manner)
    return Rollout(cluster, owners, target, change, timeout=manner.timeout, title=step.introduction(cluster))


def asked(cluster: Cluster, steps: Sequence[Step], timeout: float) -> Generator[Event, bool, float]:
    """Have the injector asked about the template of each workload that is to be restarted; when that was.

    Raises `Refused` where it would make a wrong pod of one, or cannot be asked.
    """
    targets = [step.target for step in steps if step.target and not step.left]
    cases = [Case(one, Judge(cluster, one), one.top, one.subject.template) for one in targets]
    yield from preflight.require(cluster, cases, preflight.patience(timeout))
    return time.monotonic()


class Restart:
    """The restart of one workload, as kubectl does it; the injector is asked first whether the new pods will be right.

    What a restart before has begun, and what still rolls, is followed; nothing is written then.
    """

    def __init__(self, cluster: Cluster, target: Target, manner: Manner) -> None:
        self._cluster = cluster
        self._target = target
        self._manner = manner
        self.waits = manner.wait
        self.begun = Outcome("started")
        self._path = rollouts.restart_field(target.top) or ()
        self._before: Any = None
        self._moment = ""
        self._old: set[str] = set()

    def prepare(self, current: Object, pods: Sequence[Object], judge: Judge) -> Generator[Event, bool, Outcome | None]:
        mark = self._manner.marks.get(self._target.subject.workload.uid)
        if carries_mark(current, mark) and rollouts.rolling(current):
            self._moment = str(mark)
            return None
        if reason := obstacles.held_back(current) or obstacles.rolling(current) or self._no_room():
            return Outcome("left", reason)
        template = workloads.template(current) or self._target.subject.template
        mesh = self._target.installation.mesh
        same = judge.renew() and template == self._target.subject.template
        restarted = carries_mark(current, mark) and rollouts.progress(current).done
        right = not any(carries(pod, mesh) and judge.wrong(pod, template) for pod in pods)
        if right and (restarted or not self._manner.everything):
            said = "it was restarted before" if restarted else "its pods run current rules by now"
            return Outcome("current", said)
        self._old = {fields.text(pod, "metadata", "uid") for pod in pods}
        if not self._fresh(same=same):
            case = Case(self._target, judge, current, template)
            yield from preflight.assure(self._cluster, case, preflight.patience(self._manner.timeout))
        return None

    def _fresh(self, *, same: bool) -> bool:
        """Whether the injector's answer still holds; `same`: template and MeshConfig are as it was asked about."""
        age = time.monotonic() - self._manner.asked_at
        return age == -math.inf or (same and age <= _FRESH)

    def _no_room(self) -> str:
        if not self._manner.respects_budgets:
            return ""
        workload = self._target.subject.workload
        budgets = headroom.readable(self._cluster, BUDGETS, workload.namespace)
        return next(Budgets(budgets or ()).holding(workload), "")

    def write(self, current: Object) -> Generator[Event, bool, Object]:
        if self._moment:
            return current
        self._before = _at(current, self._path)
        self._moment = _now()
        if self._moment == self._before:  # the same second as the restart before: nothing would change
            time.sleep(1)
            self._moment = _now()
        yield self._target.turn("writing", ": restartedAt is written", mark=self._moment)
        return persist(partial(self._set, self._moment))

    def made(self, pod: Object, template: Object) -> bool:  # noqa: ARG002 - a restart leaves its mark on each pod
        if self._path == rollouts.RESTARTED_AT:
            return fields.annotations(pod).get(self._path[-1]) == self._moment
        since = fields.text(pod, "metadata", "creationTimestamp")
        if fields.text(pod, "metadata", "uid") in self._old:  # clocks differ
            return False
        return not since or since >= self._moment

    def undone(self, current: Object) -> str:
        found = _at(current, self._path)
        if found == self._moment:
            return ""
        if found in (None, self._before):
            return "somebody took the restart back: its pod template is as before (a GitOps controller may do that)"
        return "somebody restarted it again meanwhile"

    def take_back(self) -> Generator[Event, bool, str]:
        yield self._target.turn("writing", ": new pods are wrong, the restart is taken back")
        try:
            persist(partial(self._set, self._before))
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


def carries_mark(obj: Object, mark: str | None) -> bool:
    """Whether a workload is as a restart has written it whose mark that is."""
    return bool(mark) and _at(obj, rollouts.restart_field(obj) or ()) == mark


def _at(obj: Object, path: Sequence[str]) -> Any:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _now() -> str:
    """The time as kubectl writes it: RFC 3339, in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
