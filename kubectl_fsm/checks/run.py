"""Looking: every check at every view that it is made for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import SEVERITIES, Check, Seen
from kubectl_fsm.checks.silence import Silence
from kubectl_fsm.checks.views import MeshView, NamespaceView, Scene, WorkloadView, label
from kubectl_fsm.cluster.interface import Cluster, Position
from kubectl_fsm.errors import Forbidden, InvalidExclusion, InvalidObject, RulesSyntaxError, Unavailable
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import OWNERS
from kubectl_fsm.reports import Checked, CheckReport, CheckText, Finding
from kubectl_fsm.workloads import template_path

_View = MeshView | NamespaceView | WorkloadView
_LOOKED_AT: Mapping[type, str] = {
    MeshView: "MeshConfig",
    NamespaceView: "namespace",
    WorkloadView: "workload",
    ListHolder: "MeshConfig, workload",
}

UNREADABLE = CheckText(
    "unreadable",
    "error",
    holds="Every field that is read has the type that its kind promises.",
    why="What cannot be read cannot be checked, and an injector may read it otherwise.",
    remedy="Mend the field that is named.",
    looks_at="whatever is read",
)
"""What is found where another check cannot read its object."""


def look(scene: Scene, checks: Sequence[Check[Any]], silence: Silence, *, detailed: bool = False) -> CheckReport:
    """What the checks find, the worst first; what could not be looked at is in the notes."""
    able = [one for one in checks if scene.cluster.remote or not one.remote]
    run = _Run(scene.cluster, silence)
    views: Sequence[_View] = (*scene.meshes, *scene.places, *scene.workloads)
    for view in views:
        run.over(view, [one for one in able if isinstance(view, one.looks_at)])
    notes = [installation.note for installation in scene.installations if installation.note]
    if len(able) < len(checks):
        left_out = len(checks) - len(able)
        notes.append(f"not looked at without a cluster: {left_out} of {len(checks)} checks; check --list names them")
    return CheckReport(
        items=run.sorted(),
        objects=run.objects,
        checks=[*map(text, able), UNREADABLE],
        origin=scene.cluster.origin,
        scope=scene.scope,
        outside=scene.outside,
        notes=[*notes, *_assumed(scene), *scene.notes, *run.notes],
        detailed=detailed,
    )


def _assumed(scene: Scene) -> Iterator[str]:
    """What files leave open: namespaces that are not among them, and pod templates of which they hold a part only."""
    if scene.cluster.remote:
        return
    used = {subject.workload.namespace for subject in scene.subjects}
    if missing := sorted(used - set(scene.namespaces)):
        yield f"not among the files, and taken as part of the mesh, with injection enabled: ns/{', ns/'.join(missing)}"
    partial = [one for one in scene.owners.known() if one.resource in OWNERS and not template_path(one.object)]
    if without := [f"{label(one.object)} in {one.namespace}" for one in partial if scene.scope in ("", one.namespace)]:
        yield f"not looked at, since no containers are in its pod template: {', '.join(without)}"


def text(check: Check[Any]) -> CheckText:
    """A check in words."""
    looks_at = _LOOKED_AT[check.looks_at]
    return CheckText(check.identity, check.severity, check.holds, check.why, check.remedy, looks_at, check.remote)


class _Run:
    """The findings so far, each once: one object may be seen from several views."""

    def __init__(self, cluster: Cluster, silence: Silence) -> None:
        self._cluster = cluster
        self._silence = silence
        self._findings: dict[Finding, None] = {}
        self._order: dict[tuple[str, str], int] = {}
        self._unreadable: set[str] = set()
        self.objects: list[Checked] = []

    @property
    def notes(self) -> Iterator[str]:
        """What was not looked at, by what stood in the way."""
        unseen: dict[str, dict[str, None]] = {}
        for one in self.objects:
            for identity, why in one.unseen.items():
                unseen.setdefault(why, {})[identity] = None
        return (f"not looked at: {', '.join(identities)}: {why}" for why, identities in unseen.items())

    def sorted(self) -> Sequence[Finding]:
        """By object, those with the worst that counts first; of each object the worst first."""
        worst = Counter[tuple[str, str]]()
        for one in self._findings:
            key = one.object, one.namespace
            worst[key] = max(worst[key], 0 if one.silenced else 1 + SEVERITIES.index(one.severity))
        return sorted(
            self._findings,
            key=lambda one: (
                -worst[one.object, one.namespace],
                self._order[one.object, one.namespace],
                -SEVERITIES.index(one.severity),
            ),
        )

    def over(self, view: _View, checks: Sequence[Check[Any]]) -> None:
        """Look at one object with the checks that are made for it."""
        if isinstance(view, WorkloadView) and not view.meshed:
            checks = ()
        subject = view.workload.top.object if isinstance(view, WorkloadView) else view.object
        name, namespace = self._object(subject)
        unseen = {check.identity: why for check in checks if (why := self._look(check, view, subject))}
        self.objects.append(Checked(name, namespace, _state(view), [one.identity for one in checks], unseen))

    def _look(self, check: Check[Any], view: _View, subject: Object) -> str:
        """What stood in the way; empty where nothing did."""
        try:
            found = [*check.look(view)]
        except (Forbidden, Unavailable) as error:
            return error.message
        except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
            if error.message not in self._unreadable:
                self._unreadable.add(error.message)
                path = error.path if isinstance(error, InvalidObject) and error.object is view.object else ()
                self._find(UNREADABLE, Seen(error.message, "mend the field that is named", path), view, subject)
            return ""
        for seen in found:
            self._find(text(check), seen, view, subject)
        return ""

    def _object(self, obj: Object) -> tuple[str, str]:
        key = label(obj), fields.namespace(obj)
        self._order.setdefault(key, len(self._order))
        return key

    def _find(self, check: CheckText, seen: Seen, view: _View, subject: Object) -> None:
        name, namespace = self._object(seen.object or subject)
        position = self._cluster.position(seen.object or view.object, *seen.path) or Position("", 0, 0)
        found = Finding(
            check=check.identity,
            severity=check.severity,
            object=name,
            namespace=namespace,
            seen=seen.seen,
            why=check.why,
            mend=seen.mend,
            **position._asdict(),
            silenced=self._silence.reason(check.identity, name, namespace),
        )
        self._findings.setdefault(found)


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
            state = view.next.state
            return f"no pods; the next one: {'injected' if state == 'template' else state}"
    except (InvalidObject, InvalidExclusion, RulesSyntaxError):
        return "unreadable"
    counted = Counter[str]()
    for group in groups:
        counted[group.situation.state] += len(group.pods)
    return ", ".join(f"{count} {state}" for state, count in counted.items())
