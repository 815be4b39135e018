"""A bare pod, deleted and created anew from the manifest that it was last applied from."""

import json
import math
import os
import shlex
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import PODS, Cluster, View
from kubectl_fsm.errors import ApiError, Conflict, FsmError, NotFound, Refused, RolloutFailed, Unreachable
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import carries
from kubectl_fsm.operations import applied, files, headroom, obstacles, preflight
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.patience import Patience, persist
from kubectl_fsm.operations.preflight import Case
from kubectl_fsm.operations.rollout import DELETED, Judge, Target, check_start, failure
from kubectl_fsm.operations.turns import Outcome
from kubectl_fsm.reports import Event, Note


class Recreation:
    """A `turns.Job`. The manifest is in a file before the pod goes, and stays there.

    Where the subject has no pod, that has been done before: once the old one is gone the pod is created, unless it has
    been, and verified.
    """

    def __init__(self, cluster: Cluster, target: Target, manner: Manner, title: str) -> None:
        self._cluster = cluster
        self._target = target
        self._manner = manner
        self._title = title
        self._judge = Judge(cluster, target)
        self._manifest = target.subject.template
        self._path = "" if target.subject.pods else manner.mark(target.subject.workload)
        self._old = ""
        self._deadline = math.inf
        self.subject = target.subject
        self.stage = "nothing was written"

    def run(self) -> Generator[Event, bool, Outcome]:
        self._deadline = time.monotonic() + (self._manner.timeout or math.inf)
        try:
            yield self._target.turn("begun", self._title, mark=self._path)
            if not self._path and (outcome := (yield from self._deleted())):
                return outcome
            self.stage = f"its deletion was under way; {self._by_hand}"
            self._watched(lambda pod: pod is None or (_stays(pod) and fields.uid(pod) != self._old), "gone")
            made = yield from self._created()
            self.stage = "it was created anew, and is not verified"
            return self._verified(made)
        except FsmError as error:
            return failure(error, self.stage)

    def _deleted(self) -> Generator[Event, bool, Outcome | None]:
        """Delete the pod; the outcome where there is no going on. Raises `FsmError`."""
        old = self._target.top
        name, namespace = fields.name(old), fields.namespace(old)
        try:
            current = self._cluster.get(PODS, name, namespace)
        except NotFound:
            return DELETED
        if outcome := (yield from self._prepared(current)):
            return outcome
        yield from self._saved()
        self._old = fields.uid(old)
        self.stage = f"its deletion was under way; {self._by_hand}"
        yield self._target.turn("writing", ": it is deleted, to be created anew", mark=self._path)
        try:
            persist(partial(self._cluster.delete, PODS, name, namespace, self._old))
        except NotFound:  # somebody was faster, or the answer to an earlier try was lost
            pass
        except Conflict:
            return _ANOTHER
        yield self._target.turn("rolling", ": it was deleted, and is created anew", mark=self._path)
        return None

    def _prepared(self, current: Object) -> Generator[Event, bool, Outcome | None]:
        """Look once more before anything is written. Raises `FsmError`."""
        if fields.uid(current) != fields.uid(self._target.top):
            return _ANOTHER
        room = headroom.held(self._cluster, self.subject.workload) if self._manner.respects_budgets else ""
        if reason := obstacles.opted_out(current) or room:
            return Outcome("left", reason)
        self._manifest = applied.manifest(current, self._target.installation)
        same = self._judge.renew() and self._manifest == self.subject.template
        mesh = self._target.installation.mesh
        outdated = carries(current, mesh) and self._judge.wrong(current, self._manifest)
        if not outdated and not self._manner.everything:
            return Outcome("current", "it runs current rules by now")
        if not self._manner.fresh(same=same):
            case = Case(self._target, self._judge, current, self._manifest)
            yield from preflight.require(self._cluster, [case], preflight.patience(self._manner.timeout))
        return None

    def _saved(self) -> Iterator[Event]:
        """Write the manifest to a file, for good. Raises `Refused`."""
        top = self._target.top
        try:
            self._path = str(Path(files.new(f"fsm-pod-{fields.namespace(top)}-{fields.name(top)}")).resolve())
            with open(self._path, "w", opener=files.private) as file:
                file.write(json.dumps(self._manifest, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Refused(f"its manifest cannot be saved: {error.strerror}: {error.filename}") from error
        yield Note(f"{self._target}: its manifest is in {self._path}")

    def _created(self) -> Generator[Event, bool, Object]:
        """Create the pod unless it is there, again while that may pass; the pod as it is stored. Raises `FsmError`."""
        self.stage = f"it is deleted, and not created; {self._by_hand}"
        namespace = fields.namespace(self._manifest)
        patience, said = Patience(self._deadline - time.monotonic(), 1.0, 10.0), False
        while True:
            if found := self._found():  # made before, or by somebody else; the answer to a create may have been lost
                return found
            yield self._target.turn("writing", f": it is created{' again' if said else ''}", mark=self._path)
            try:
                return self._cluster.create(PODS, namespace, applied.written(self._manifest))
            except (ApiError, Unreachable) as error:
                never = isinstance(error, ApiError) and error.status == HTTPStatus.UNPROCESSABLE_ENTITY
                if never or patience.over:
                    raise
                if not said:
                    yield self._target.turn("rolling", f": it cannot be created yet: {error.message}", mark=self._path)
                said = True
            patience.pause()

    def _found(self) -> Object | None:
        """The pod that has its name; None where it goes, or there is none any more."""
        top = self._target.top
        try:
            found = persist(partial(self._cluster.get, PODS, fields.name(top), fields.namespace(top)))
        except NotFound:
            return None
        return found if _stays(found) else None

    def _verified(self, made: Object) -> Outcome:
        """Wait until the pod serves. Raises `RolloutFailed`, also where it is a wrong one."""
        mesh, name = self._target.installation.mesh, fields.name(made)

        def serves(pod: Object | None) -> bool:
            if pod is None or fields.uid(pod) != fields.uid(made):
                raise RolloutFailed("it was created, and somebody has deleted it")
            check_start(pod, mesh)
            if wrong := self._judge.wrong(pod, self._manifest):
                raise RolloutFailed(f"pod {name}: {wrong}")
            if fields.text(pod, "status", "phase") == "Failed":
                raise RolloutFailed(f"pod {name} has failed: {workloads.complaint(pod)}")
            return workloads.serves(pod) or workloads.finished(pod)

        self._watched(serves, "ready")
        return Outcome("done", verified=1, pods=1)

    def _watched(self, reached: Callable[[Object | None], bool], what: str) -> None:
        """Watch the pod of this name until it is so. Raises `RolloutFailed` where that takes too long."""
        top = self._target.top
        with closing(self._cluster.observe(View(PODS, fields.namespace(top), name=fields.name(top)))) as states:
            for (found,) in states:
                pod = found[0] if found else None
                if reached(pod):
                    return
                if time.monotonic() > self._deadline:
                    said = workloads.complaint(pod) if pod else ""
                    raise RolloutFailed(
                        f"it is not {what} within {self._manner.timeout:g} s{f': {said}' if said else ''}"
                    )

    @property
    def _by_hand(self) -> str:
        return f"if it is not there: kubectl apply -f {shlex.quote(self._path)}"


def _stays(pod: Object) -> bool:
    return not fields.mapping(pod, "metadata").get("deletionTimestamp")


_ANOTHER = Outcome("left", "somebody has made another pod of its name")
