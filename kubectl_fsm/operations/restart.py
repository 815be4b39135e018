"""Which workloads run outdated rules, which of them a restart can mend, and the restart itself."""

import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import PODS, Cluster
from kubectl_fsm.errors import FsmError, InvalidObject, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Comparison, Upcoming, carries, difference
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import applied, headroom, meshes, obstacles, preflight
from kubectl_fsm.operations.eviction import Eviction
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.manner import now as _now
from kubectl_fsm.operations.obstacles import EVICT, RECREATE
from kubectl_fsm.operations.owners import Located, Owners
from kubectl_fsm.operations.patience import persist
from kubectl_fsm.operations.preflight import Case
from kubectl_fsm.operations.recreation import Recreation
from kubectl_fsm.operations.rollout import Judge, Rollout, Target
from kubectl_fsm.operations.steps import Step, Work
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.turns import Job, Outcome
from kubectl_fsm.reports import Event

_RANKS = ("Deployment", "Rollout", "StatefulSet", "DaemonSet")
"""Kinds in the order in which they are restarted: those that stand in for each other most easily first."""


_USUAL = Manner()


def joined(owners: Owners, subjects: Sequence[Subject]) -> Sequence[Subject]:
    """One for each workload, with all its pods, and the pod template by which its operator made them if there is one."""
    found: dict[str, Subject] = {}
    for workload, pods in subjects:
        known = owners.of(PODS, pods[0]) if workload.template is None and pods else workload
        before = found.get(workload.uid, Subject(known, ()))
        found[workload.uid] = Subject(before.workload, [*before.pods, *pods])
    return list(found.values())


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
        mark = manner.mark(subject.workload)
        if installation is None:
            result = "left" if mark else "current"  # what was begun stays in the plan
            steps.append(Step(subject, None, (), (), Outcome(result, "nothing tells which mesh it belongs to")))
            continue
        compare = comparisons[installations.index(installation)]
        target = Target(subject, installation, namespace)
        if subject.workload.bare and mark:
            steps.append(_begun(_manifested(target), compare, manner))
        else:
            step = _step(_manifested(target) if RECREATE in manner.remedies else target, compare, manner)
            goes_on = _goes_on(target.top, mark, right=not step.outdated)
            steps.append(Step(subject, target, (), ("its restart goes on",), begun=True) if goes_on else step)
    return steps


def _begun(target: Target, compare: Comparison, manner: Manner) -> Step:
    """The step of a bare pod whose recreation was begun before: it is gone on with, unless the pod is still to be deleted."""
    subject = target.subject
    workload = subject.workload
    if subject.pods:
        step = _step(target, compare, manner)
        if step.outdated or workload.uid in manner.marks or (step.left and step.left.result == "left"):
            return step
        anew = target._replace(subject=subject._replace(pods=()))
        return Step(subject, anew, (), ("its recreation goes on",), remedy=RECREATE)
    if workload.refusal:
        return Step(subject, target, (), (), Outcome("left", workload.refusal))
    return Step(subject, target, (), ("its recreation goes on",), remedy=RECREATE)


def in_order(steps: Sequence[Step]) -> Sequence[Step]:
    """Namespace by namespace; in each Deployments before StatefulSets before DaemonSets."""
    return sorted(steps, key=_rank)


def _rank(step: Step) -> tuple[str, int, str]:
    workload = step.subject.workload
    kind = workload.top.resource.kind
    return workload.namespace, _RANKS.index(kind) if kind in _RANKS else len(_RANKS), workload.label


def _manifested(target: Target) -> Target:
    """The same with the manifest of a bare pod as template, where it has one that it can be made from."""
    workload = target.subject.workload
    if not workload.bare:
        return target
    try:
        holder = Located(PODS, applied.manifest(target.top, target.installation))
    except InvalidObject:
        return target
    return target._replace(subject=target.subject._replace(workload=workload._replace(holder=holder)))


def _step(target: Target, compare: Comparison, manner: Manner) -> Step:
    subject, installation = target.subject, target.installation
    live = [pod for pod in subject.pods if workloads.lives(pod)]
    try:
        coming = target.coming(subject.template)
        own = subject.workload.template is None  # then each pod may be made in its own way
        found = {id(pod): _outdated(pod, compare, target.coming(pod) if own else coming, installation) for pod in live}
    except InvalidObject as error:
        return Step(subject, target, (), (), Outcome("left", error.message))
    outdated = [pod for pod in live if found[id(pod)]]
    changes = list(dict.fromkeys(text for texts in found.values() for text in texts))
    if not outdated and not (manner.everything and live and coming.wanted):
        return Step(subject, target, (), (), Outcome("current", _idle(live, coming, installation)))
    reason, remedy = obstacles.look(subject.workload, coming, installation, manner.remedies)
    notes = ["nothing shows its pods' template: the first new pod will tell whether they are right"] if own else []
    return Step(subject, target, outdated, changes, Outcome("left", reason) if reason else None, notes, remedy)


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
    title = step.introduction(cluster)
    if step.remedy == EVICT:
        return Eviction(cluster, owners, target, manner, title)
    if step.remedy == RECREATE:
        return Recreation(cluster, target, manner, title)
    return Rollout(cluster, owners, target, Restart(cluster, target, manner), timeout=manner.timeout, title=title)


def asked(cluster: Cluster, steps: Sequence[Step], timeout: float) -> Generator[Event, bool, float]:
    """Have the injector asked about the template of each workload that is to be restarted; when that was.

    Raises `Refused` where it would make a wrong pod of one, or cannot be asked.
    """
    shown = [step for step in steps if not step.left and step.subject.workload.template is not None]
    targets = [step.target for step in shown if step.target]
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
        self._follows = False
        self._old: set[str] = set()

    def prepare(self, current: Object, pods: Sequence[Object], judge: Judge) -> Generator[Event, bool, Outcome | None]:
        mark = self._manner.mark(self._target.subject.workload)
        template = workloads.template(current) or self._target.subject.template
        mesh = self._target.installation.mesh
        same = judge.renew() and template == self._target.subject.template
        right = not any(carries(pod, mesh) and judge.wrong(pod, template) for pod in pods)
        if _goes_on(current, mark, right=right):
            if reason := rollouts.holds_back(current):
                raise RolloutFailed(reason)
            self._follows, self._moment = True, mark
            return None
        if reason := obstacles.held_back(current) or obstacles.rolling(current) or self._no_room():
            return Outcome("left", reason)
        restarted = _carries_mark(current, mark) and rollouts.progress(current).done
        if right and (restarted or not self._manner.everything):
            said = "it was restarted before" if restarted else "its pods run current rules by now"
            return Outcome("current", said)
        self._old = {fields.uid(pod) for pod in pods}
        if not self._manner.fresh(same=same):
            case = Case(self._target, judge, current, template)
            yield from preflight.assure(self._cluster, case, preflight.patience(self._manner.timeout))
        return None

    def _no_room(self) -> str:
        return headroom.held(self._cluster, self._target.subject.workload) if self._manner.respects_budgets else ""

    def write(self, current: Object) -> Generator[Event, bool, Object]:
        if self._follows:
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
        if fields.uid(pod) in self._old:  # clocks differ
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
        if self._follows:
            return "it was begun before, so it is not taken back: what there was before that is not known"
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
        named = {"metadata": {"uid": fields.uid(top.object)}}
        return self._cluster.patch(top.resource, fields.name(top.object), top.namespace, patch | named)


def _goes_on(obj: Object, mark: str, *, right: bool) -> bool:
    """Whether a restart that was begun before is to be followed to its end; `right`: no pod runs other rules than it should.

    Where old pods are left and the controller has given up, only another restart makes it try again.
    """
    return _carries_mark(obj, mark) and not rollouts.progress(obj).done and (right or rollouts.rolling(obj))


def _carries_mark(obj: Object, mark: str) -> bool:
    """Whether a workload is as a restart has written it whose mark that is; empty is none's."""
    return bool(mark) and _at(obj, rollouts.restart_field(obj) or ()) == mark


def _at(obj: Object, path: Sequence[str]) -> Any:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
