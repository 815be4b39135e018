"""One rollout: begin it, watch it, and verify the new pods' rules."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, Protocol

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import EVENTS, PODS, Cluster, View
from kubectl_fsm.errors import ApiError, FsmError, NotFound, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Comparison, Upcoming, difference, upcoming
from kubectl_fsm.meshes import Installation, Mesh
from kubectl_fsm.operations import meshes
from kubectl_fsm.operations.owners import Owners, Workload, label_selector
from kubectl_fsm.operations.patience import persist
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.turns import Outcome
from kubectl_fsm.reports import Event, Turn
from kubectl_fsm.rollouts import Progress

_SPEAK = 2.0
"""Seconds between two lines about the same rollout."""
_SETTLE = 60.0
"""Seconds for which old pods may still be there after the controller says done: two watches do not move in step, and
Argo Rollouts keeps the pods of before for half a minute unless it is told otherwise."""
_SKEW = timedelta(minutes=1)
"""How far the clocks of servers may be apart."""


class Target(NamedTuple):
    """A workload to roll, with the mesh and the Namespace object that decide about its pods' rules."""

    subject: Subject
    installation: Installation
    namespace: Object | None

    @property
    def top(self) -> Object:
        """The object whose controller makes the pods."""
        return self.subject.workload.top.object

    def __str__(self) -> str:
        return str(self.subject)

    def coming(self, template: Object) -> Upcoming:
        """What a pod made from a template would run, by the MeshConfig as it was found."""
        return upcoming(template, self.namespace, self.installation, self.installation.spec)

    def turn(self, state: str, text: str, progress: Progress = Progress(), *, mark: str = "") -> Turn:  # noqa: B008 - frozen
        """What to tell of its turn."""
        workload = self.subject.workload
        counts = progress.updated, progress.available, progress.wanted
        return Turn(workload.label, workload.namespace, state, f"{self}{text}", *counts, mark)


class Change(Protocol):
    """What makes a workload roll: a restart, or an edit of its pod template."""

    @property
    def waits(self) -> bool:
        """Whether the rollout is waited for."""

    @property
    def begun(self) -> Outcome:
        """What to say after `write` where nothing is waited for: no rollout comes of it, or nobody wants to."""

    def prepare(
        self, current: Object, pods: Sequence[Object], judge: "Judge"
    ) -> Generator[Event, bool, Outcome | None]:
        """Look once more before anything is written; the outcome where there is no going on. Raises `FsmError`."""

    def write(self, current: Object) -> Generator[Event, bool, Object | None]:
        """Begin: the object that was written, None where there was nothing to write. Raises `FsmError`."""

    def made(self, pod: Object, template: Object) -> bool:
        """Whether a pod that came after the write is made from what was written, whose template is given."""

    def undone(self, current: Object) -> str:
        """What somebody else has made of what was written, where it does not stand any more; else empty."""

    def take_back(self) -> Generator[Event, bool, str]:
        """Undo what was written, after new pods turned out wrong; what was done about it, or what to do."""


class Judge:
    """Tells a workload's right pods from wrong ones, by the MeshConfig as it was when the rollout began and as it is now."""

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self._cluster = cluster
        self._target = target
        self._compare = Comparison(target.installation)
        self._specs = [target.installation.spec]

    def renew(self) -> bool:
        """Go by the MeshConfig as it is now; whether that is what it was when the workload was chosen."""
        self._specs = [self._spec()]
        return self._specs == [self._target.installation.spec]

    def _spec(self) -> Object:
        return persist(partial(meshes.spec, self._cluster, self._target.installation))

    def wrong(self, pod: Object, template: Object) -> str:
        """What is wrong with a pod's rules; empty where they are those that its template and the MeshConfig ask for.

        Before a pod is called wrong, the MeshConfig is read again: somebody may have changed it meanwhile.
        """
        found = [self._difference(pod, template, spec) for spec in self._specs]
        if all(found):
            self._specs[1:] = [self._spec()]
            found = [self._difference(pod, template, spec) for spec in self._specs]
        return found[-1] if all(found) else ""

    def _difference(self, pod: Object, template: Object, spec: Object) -> str:
        coming = upcoming(template, self._target.namespace, self._target.installation, spec)
        name = self._target.installation.mesh.init_container
        if coming.wanted is None:
            there = workloads.init_container(pod, name) is not None
            return f"it has rules, and should have none: {coming.reason}" if there else ""
        runs = self._compare.runs(pod)
        if runs is None:
            return f"it has no init container {name} whose rules could be read"
        missing = difference(runs, coming.wanted)
        return f"its rules would need {', '.join(missing)}" if missing else ""


class Rollout:
    """One workload's rollout as a `turns.Job`, from the last look before it begins to the verdict on its new pods."""

    def __init__(
        self, cluster: Cluster, owners: Owners, target: Target, change: Change, *, timeout: float, title: str
    ) -> None:
        """`timeout`: the seconds it may take, 0 for no limit; `title` is said first."""
        self._cluster = cluster
        self._owners = owners
        self._target = target
        self._workload = target.subject.workload
        self._change = change
        self._timeout = timeout
        self._title = title
        self._judge = Judge(cluster, target)
        self._written = False
        self._right: set[str] = set()
        self._begun = time.monotonic()
        self.subject = target.subject
        self.stage = "nothing was written"

    def run(self) -> Generator[Event, bool, Outcome]:
        self._begun = time.monotonic()
        try:
            yield self._target.turn("begun", self._title)
            if self._change.waits and rollouts.restart_field(self._target.top):
                return (yield from self._watched())
            return (yield from self._begin())
        except FsmError as error:
            told = isinstance(error, RolloutFailed) or (_is_refusal(error) and not self._written)
            return failure(error, "" if told else self.stage)

    def _begin(self) -> Generator[Event, bool, Outcome]:
        """Begin, and leave it at that."""
        resource, obj = self._workload.top
        try:
            current = self._cluster.get(resource, fields.name(obj), self._workload.namespace)
        except NotFound:
            return DELETED
        if outcome := (yield from self._change.prepare(current, self._target.subject.pods, self._judge)):
            return outcome
        self.stage = "the write was under way; it may have begun"
        written = yield from self._change.write(current)
        return self._change.begun if written else Outcome("unchanged")

    def _watched(self) -> Generator[Event, bool, Outcome]:
        with closing(watch(self._cluster, self._owners, self._workload)) as states:
            current, pods = next(states)
            if current is None:
                return DELETED
            if outcome := (yield from self._change.prepare(current, pods, self._judge)):
                return outcome
            self.stage = "the write was under way; its rollout may have begun"
            written = yield from self._change.write(current)
            if written is None:
                return Outcome("unchanged")
            self._written = True
            if rollouts.holds_back(written):
                return self._change.begun
            template = workloads.template(written) or self._target.subject.template
            old = {fields.uid(pod) for pod in pods if not self._change.made(pod, template)}
            return (yield from self._follow(states, old, written))

    def _follow(self, states: Iterator["Sight"], old: set[str], written: Object) -> Generator[Event, bool, Outcome]:
        """Watch until all pods are new and right. Raises `RolloutFailed`."""
        begun = time.monotonic()
        told, said = begun, Progress(wanted=rollouts.progress(written).wanted)
        done_for, stuck_for = _Stretch(), _Stretch()
        generation = fields.mapping(written, "metadata").get("generation")
        for current, live in states:
            if current is None:
                raise RolloutFailed("it has been deleted")
            reached = _reached(current, generation)
            if held_back := rollouts.holds_back(current) or (self._change.undone(current) if reached else ""):
                raise RolloutFailed(held_back)
            new = [pod for pod in live if fields.uid(pod) not in old]
            yield from self._check(new, current if reached else written)
            now = rollouts.progress(current) if reached else Progress(wanted=said.wanted)
            self.stage = f"its rollout has begun: {_told(now)}"
            right = sum(fields.uid(pod) in self._right for pod in live)
            if now.done and right == len(live) >= now.wanted:
                return Outcome("done", verified=right, pods=len(live))
            if done_for.seconds(so=now.done) > _SETTLE:
                kept = f"{len(live) - right} of {len(live)} pods were not replaced"
                raise RolloutFailed(kept if right < len(live) else f"only {right} of {now.wanted} pods are there")
            if now.failed:
                raise RolloutFailed(f"{now.failed}{self._because(current, new)}")
            stuck = rollouts.creation_failure(current) or _pulling(new)
            if stuck_for.seconds(so=bool(stuck)) > _SETTLE:
                raise RolloutFailed(f"{stuck}, for {_SETTLE:g} s now")
            if self._timeout and time.monotonic() - begun > self._timeout:
                because = self._because(current, new)
                raise RolloutFailed(f"not done within {self._timeout:g} s: {_told(now)}{because}")
            if now != said and time.monotonic() - told > _SPEAK:
                yield self._target.turn("rolling", f": {_told(now)}", now)
                told, said = time.monotonic(), now
        raise RolloutFailed("the watch ended")

    def _check(self, new: Sequence[Object], current: Object) -> Generator[Event, bool, None]:
        """Raise `RolloutFailed` where a new pod runs wrong rules, or its rules cannot be loaded."""
        template = workloads.template(current) or self._target.subject.template
        mesh = self._target.installation.mesh
        for pod in new:
            check_start(pod, mesh)
            if fields.uid(pod) in self._right or not self._change.made(pod, template):
                continue
            if wrong := self._judge.wrong(pod, template):
                others = f"; {len(new)} pods had been made anew by then" if len(new) > 1 else ""
                undone = yield from self._change.take_back()
                raise RolloutFailed(f"pod {fields.name(pod)}: {wrong}; {undone}{others}")
            self._right.add(fields.uid(pod))

    def _because(self, current: Object, new: Sequence[Object]) -> str:
        return because(self._cluster, self._workload, current, new, time.monotonic() - self._begun)


def check_start(pod: Object, mesh: Mesh) -> None:
    """Raise `RolloutFailed` where a pod's rules cannot be loaded."""
    if workloads.crash_loops(pod, mesh.init_container):
        raise RolloutFailed(f"pod {fields.name(pod)}: {workloads.complaint(pod)}")


def because(cluster: Cluster, workload: Workload, current: Object, new: Sequence[Object], seconds: float) -> str:
    """`; pod web-1: container app: ImagePullBackOff`: the reason as the new pods have it, or why there are none."""
    named = next((f"pod {name}: {said}" for name, said in _complaints(new) if said), "")
    said = named or rollouts.creation_failure(current) or _refusal(cluster, workload, seconds)
    return f"; {said}" if said else ""


def _complaints(pods: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Each pod's name, and why it is not ready; empty where it is."""
    return ((fields.name(pod), workloads.complaint(pod)) for pod in pods)


def _refusal(cluster: Cluster, workload: Workload, seconds: float) -> str:
    """Why the controller could make no pod, as its latest event of so many seconds says."""
    own = f"reason=FailedCreate,involvedObject.uid={fields.uid(workload.top.object)}"
    try:
        events = list(cluster.list(EVENTS, workload.namespace, field_selector=own))
    except FsmError:
        return ""
    since = (datetime.now(timezone.utc) - timedelta(seconds=seconds) - _SKEW).isoformat()
    latest = max((event for event in events if seen_at(event) >= since), key=seen_at, default={})
    return str(latest.get("message", ""))


def _is_refusal(error: FsmError) -> bool:
    """Whether a server has said no, so that nothing came of what it was asked."""
    return isinstance(error, ApiError) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR


def failure(error: FsmError, stage: str) -> Outcome:
    """The outcome that an error is; `stage` is where it stood, empty where the error says it."""
    hint = error.hint.partition("\n")[0]
    told = "; ".join(part for part in (error.message, hint, stage) if part)
    return Outcome("failed", " ".join(told.split()))


class Sight(NamedTuple):
    """A workload as it is watched: itself, None where it is gone, and its pods that live."""

    workload: Object | None
    pods: Sequence[Object]


def watch(cluster: Cluster, owners: Owners, workload: Workload) -> Generator[Sight, None, None]:
    """A workload as it is now, then after each change, and after each second without one; see `Cluster.observe`."""
    top = workload.top
    views = (
        View(top.resource, workload.namespace, name=fields.name(top.object)),
        View(PODS, workload.namespace, label_selector(workload)),
    )
    with closing(cluster.observe(*views)) as states:
        for objects, pods in states:
            found = next((obj for obj in objects if fields.uid(obj) == fields.uid(top.object)), None)
            live = filter(workloads.lives, pods)
            own = [pod for pod in live if persist(partial(owners.owns, workload, pod))]
            yield Sight(found, own)


class _Stretch:
    """For how long something has been so without a break."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, *, so: bool) -> float:
        """Tell whether it is so now. The seconds since it has been."""
        now = time.monotonic()
        self._since = (self._since or now) if so else None
        return now - self._since if self._since else 0.0


def _pulling(pods: Sequence[Object]) -> str:
    """Which pod cannot get an image, in its own words."""
    told = _complaints(pods)
    return next((f"pod {name}: {said}" for name, said in told if "Image" in "".join(said.split(": ")[1:2])), "")


DELETED = Outcome("left", "it has been deleted")


def seen_at(event: Object) -> str:
    """When an event was last seen, in RFC 3339: such times are in order as texts are."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _reached(current: Object, generation: object) -> bool:
    """Whether what is seen is at least as new as what was written."""
    seen = fields.mapping(current, "metadata").get("generation")
    return not (isinstance(seen, int) and isinstance(generation, int)) or seen >= generation


def _told(progress: Progress) -> str:
    return f"{progress.updated} of {progress.wanted} pods new, {progress.available} available"
