"""A workload's outdated pods, replaced one by one through the eviction API, which heeds PodDisruptionBudgets."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from http import HTTPStatus

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import PODS, Cluster
from kubectl_fsm.errors import ApiError, Conflict, FsmError, NotFound, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import carries
from kubectl_fsm.operations import headroom, obstacles, preflight
from kubectl_fsm.operations.manner import Manner, now
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.patience import passes, persist
from kubectl_fsm.operations.preflight import Case
from kubectl_fsm.operations.rollout import DELETED, Judge, Sight, Target, because, check_start, failure, watch
from kubectl_fsm.operations.turns import Outcome
from kubectl_fsm.reports import Event
from kubectl_fsm.rollouts import Progress

_AGAIN = 5.0
"""Seconds until a pod is asked for again for which there was no room, unless the server names a time."""
_EVICTED = "pods were evicted"


class Eviction:
    """A `turns.Job`. The next pod goes when as many are ready as before, and all that stay or are new serve and are right."""

    def __init__(self, cluster: Cluster, owners: Owners, target: Target, manner: Manner, title: str) -> None:
        self._cluster = cluster
        self._owners = owners
        self._target = target
        self._manner = manner
        self._title = title
        self._resumed = manner.mark(target.subject.workload)
        self._mark = self._resumed or now()
        self._judge = Judge(cluster, target)
        self._right: set[str] = set()
        self._evicted: set[str] = set()
        self._waits = ""
        self._not_before = 0.0
        self.subject = target.subject
        self.stage = "nothing was written"

    def run(self) -> Generator[Event, bool, Outcome]:
        try:
            yield self._target.turn("begun", self._title)
            with closing(watch(self._cluster, self._owners, self.subject.workload)) as states:
                first = next(states)
                if outcome := (yield from self._prepared(first)):
                    return outcome
                old = [pod for pod in first.pods if self._concerns(pod, first)]
                if not old:
                    return Outcome("current", "its pods run current rules by now")
                return (yield from self._replaced(states, first, {fields.uid(pod) for pod in old}))
        except FsmError as error:
            return failure(error, self.stage)

    def _prepared(self, sight: Sight) -> Generator[Event, bool, Outcome | None]:
        """Look once more before anything is written; the outcome where there is no going on. Raises `FsmError`."""
        if sight.workload is None:
            return DELETED
        workload = self.subject.workload
        room = headroom.held(self._cluster, workload) if self._manner.respects_budgets else ""
        if reason := obstacles.opted_out(sight.workload) or obstacles.rolling(sight.workload) or room:
            return Outcome("left", reason)
        template = workloads.template(sight.workload) or workload.template
        same = self._judge.renew() and template == workload.template
        if template and not self._manner.fresh(same=same):
            case = Case(self._target, self._judge, sight.workload, template)
            yield from preflight.assure(self._cluster, case, preflight.patience(self._manner.timeout))
        return None

    def _concerns(self, pod: Object, sight: Sight) -> bool:
        mesh = self._target.installation.mesh
        if carries(pod, mesh) and self._judge.wrong(pod, self._template(pod, sight)):
            return True
        done = self._resumed and fields.text(pod, "metadata", "creationTimestamp") >= self._resumed
        return self._manner.everything and not done

    def _template(self, pod: Object, sight: Sight) -> Object:
        """What a pod is made from; where nothing shows that, itself."""
        return workloads.template(sight.workload or {}) or self._owners.of(PODS, pod).template or pod

    def _replaced(
        self, states: Generator[Sight, None, None], first: Sight, old: set[str]
    ) -> Generator[Event, bool, Outcome]:
        """Evict one after the other. Raises `RolloutFailed`."""
        begun = time.monotonic()
        kept = {fields.uid(pod) for pod in first.pods} - old
        self._right |= kept
        sight = first
        while True:
            if sight.workload is None:
                raise RolloutFailed("it has been deleted")
            live = [pod for pod in sight.pods if fields.uid(pod) not in self._evicted]
            rest = [pod for pod in live if fields.uid(pod) not in old]
            new = [pod for pod in rest if fields.uid(pod) not in kept]
            gone = len(old) - sum(fields.uid(pod) in old for pod in live)
            self.stage = f"{gone} of {len(old)} {_EVICTED}"
            self._check(rest, sight)
            waiting = sorted((pod for pod in live if fields.uid(pod) in old), key=_least_missed)
            if _whole(live, rest, first.pods, waiting[:1], rollouts.wanted(sight.workload)):
                if not waiting:
                    return Outcome("done", verified=len(new), pods=len(new))
                if time.monotonic() >= self._not_before:
                    progress = Progress(len(new), sum(map(workloads.serves, live)), len(live))
                    yield from self._evict(waiting[0], progress, f"{gone + 1} of {len(old)}")
            elapsed = time.monotonic() - begun
            if self._manner.timeout and elapsed > self._manner.timeout:
                why = f"; {self._waits}" if self._waits else ""
                why = why or because(self._cluster, self.subject.workload, sight.workload, rest, elapsed)
                raise RolloutFailed(f"not done within {self._manner.timeout:g} s{why}")
            sight = next(states)

    def _check(self, rest: Sequence[Object], sight: Sight) -> None:
        """Raise `RolloutFailed` where a pod that is not to be evicted runs wrong rules, or its rules cannot be loaded."""
        for pod in rest:
            check_start(pod, self._target.installation.mesh)
            if fields.uid(pod) in self._right:
                continue
            if wrong := self._judge.wrong(pod, self._template(pod, sight)):
                raise RolloutFailed(f"pod {fields.name(pod)}: {wrong}")
            self._right.add(fields.uid(pod))

    def _evict(self, pod: Object, progress: Progress, count: str) -> Generator[Event, bool, None]:
        """Evict a pod, this very one, `2 of 3`; where there is no room for that, note when to try again."""
        name, uid, before = fields.name(pod), fields.uid(pod), self.stage
        again = "again, " if self._waits else ""
        self.stage = f"the eviction of pod {name} was under way; {before}"
        yield self._target.turn("writing", f": pod {name} is evicted, {again}{before}", progress, mark=self._mark)
        went = "was evicted"
        try:
            persist(partial(self._cluster.evict, name, fields.namespace(pod), uid), _passes_soon)
        except (NotFound, Conflict):  # or another one has its name
            went = "is gone"
        except ApiError as error:
            self.stage = before
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            if not self._waits:
                yield self._target.turn("rolling", f": pod {name} waits for room: {error.message}", progress)
            self._waits = error.message
            self._not_before = time.monotonic() + (error.pause or _AGAIN)
            return
        self._waits = ""
        self._evicted.add(uid)
        self.stage = f"{count} {_EVICTED}"
        yield self._target.turn("rolling", f": pod {name} {went}, {count}", progress, mark=self._mark)


def _passes_soon(error: FsmError) -> bool:
    """Whether a failure is of the network or the server, which is not for want of room."""
    return passes(error) and not (isinstance(error, ApiError) and error.status == HTTPStatus.TOO_MANY_REQUESTS)


def _whole(
    live: Sequence[Object],
    rest: Sequence[Object],
    before: Sequence[Object],
    going: Sequence[Object],
    wanted: int | None,
) -> bool:
    """Whether as many pods serve as before, or as are `wanted` by now, and all the `rest`, which is not to be evicted.

    Where some are missing, what is `going` may not serve itself.
    """
    most = len(before) if wanted is None else wanted
    ready, was_ready = (sum(map(workloads.serves, pods)) for pods in (live, before))
    there = len(live) >= (most if any(map(workloads.serves, going)) else min(len(before), most))
    return there and ready >= min(was_ready, most) and all(map(workloads.serves, rest))


def _least_missed(pod: Object) -> tuple[bool, str]:
    """What does not serve goes first."""
    return workloads.serves(pod), fields.name(pod)
