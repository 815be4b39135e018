"""Looking: every check at every view that it is made for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.checks.model import SEVERITIES, Check, Seen
from kubectl_fsm.checks.silence import Silence
from kubectl_fsm.checks.views import MeshView, NamespaceView, Scene, WorkloadView, label
from kubectl_fsm.errors import Forbidden, InvalidExclusion, InvalidObject, RulesSyntaxError
from kubectl_fsm.fields import Object
from kubectl_fsm.reports import Checked, CheckReport, CheckText, Finding

_View = MeshView | NamespaceView | WorkloadView


def look(scene: Scene, checks: Sequence[Check[Any]], silence: Silence) -> CheckReport:
    """What the checks find, the worst of each object first; what could not be looked at is in the notes."""
    able = [one for one in checks if scene.cluster.remote or not one.remote]
    run = _Run(scene, silence)
    views: Sequence[_View] = (*scene.meshes, *scene.places, *scene.workloads)
    for view in views:
        run.over(view, [one for one in able if one.looks_at is type(view)])
    left_out = [one.identity for one in checks if one not in able]
    notes = (
        [f"without a cluster {len(left_out)} checks have nothing to look at: {', '.join(left_out)}"] if left_out else []
    )
    return CheckReport(
        items=sorted(
            run.findings, key=lambda one: (run.order[one.object, one.namespace], -SEVERITIES.index(one.severity))
        ),
        objects=run.objects,
        checks=[CheckText(one.identity, one.severity, one.holds, one.why, one.remedy) for one in able],
        origin=scene.cluster.origin,
        scope=scene.scope,
        outside=scene.outside,
        notes=[*notes, *run.notes],
    )


class _Run:
    """The findings so far, and `order`: the number of each object, as it came up."""

    def __init__(self, scene: Scene, silence: Silence) -> None:
        self._scene = scene
        self._silence = silence
        self._unseen: dict[str, list[str]] = {}
        self.findings: list[Finding] = []
        self.objects: list[Checked] = []
        self.order: dict[tuple[str, str], int] = {}

    @property
    def notes(self) -> Iterator[str]:
        """What was not looked at, by what stood in the way."""
        return (f"not looked at: {', '.join(dict.fromkeys(names))}: {why}" for why, names in self._unseen.items())

    def over(self, view: _View, checks: Sequence[Check[Any]]) -> None:
        """Look at one object with the checks that are made for it."""
        if isinstance(view, WorkloadView) and not view.meshed:
            checks = ()
        subject = view.workload.top.object if isinstance(view, WorkloadView) else view.object
        name, namespace = self._object(subject)
        for check in checks:
            self._look(check, view, subject)
        self.objects.append(Checked(name, namespace, _state(view), [one.identity for one in checks]))

    def _look(self, check: Check[Any], view: _View, subject: Object) -> None:
        try:
            found = [*check.look(view)]
        except Forbidden as error:
            self._unseen.setdefault(error.message, []).append(check.identity)
        except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
            unreadable = _unreadable(*self._object(subject), error.message)
            if unreadable not in self.findings:
                self.findings.append(unreadable)
        else:
            self.findings += [self._finding(check, seen, subject) for seen in found]

    def _object(self, obj: Object) -> tuple[str, str]:
        key = label(obj), fields.namespace(obj)
        self.order.setdefault(key, len(self.order))
        return key

    def _finding(self, check: Check[Any], seen: Seen, subject: Object) -> Finding:
        name, namespace = self._object(seen.object or subject)
        return Finding(
            check=check.identity,
            severity=check.severity,
            object=name,
            namespace=namespace,
            seen=seen.seen,
            why=check.why,
            mend=seen.mend,
            silenced=self._silence.reason(check.identity, name, namespace),
        )


def _unreadable(name: str, namespace: str, message: str) -> Finding:
    why = "What cannot be read cannot be checked, and an injector may read it otherwise."
    return Finding("unreadable", "error", name, namespace, message, why, "mend the field that is named")


def _state(view: _View) -> str:
    """How it stands, in a few words."""
    if isinstance(view, MeshView):
        return str(view.installation)
    if isinstance(view, NamespaceView):
        return f"mesh {view.installation}" if view.installation else "in no mesh"
    if not view.meshed:
        return "in no mesh"
    try:
        groups = view.groups
        if not groups:
            return f"no pods; the next one: {view.next.state}"
    except (InvalidObject, InvalidExclusion, RulesSyntaxError):
        return "unreadable"
    counted = Counter[str]()
    for group in groups:
        counted[group.situation.state] += len(group.pods)
    return ", ".join(f"{count} {state}" for state, count in counted.items())
