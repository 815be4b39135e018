"""The mesh at a glance: every workload's pods by what they run, in one pass over the pods."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import BUDGETS, NAMESPACES, PODS, Cluster, Resource
from kubectl_fsm.errors import InvalidExclusion, InvalidObject, RulesSyntaxError
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import difference
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import hints, meshes, obstacles
from kubectl_fsm.operations.headroom import Budgets, readable
from kubectl_fsm.operations.inspect import idle, likeness, oddities, situation
from kubectl_fsm.operations.owners import Owners, Workload
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import MeshStatus, StatusReport, WorkloadStatus


def glance(cluster: Cluster, scope: str, control_plane: str = "") -> StatusReport:
    """How it stands with every workload of a namespace (of all where it is empty) that has to do with a mesh.

    Of the pods only what is shown is kept, and each distinct way in which a workload's pods stand is worked out once.
    """
    owners = Owners(cluster, readable_only=True)
    installations, namespaces, budgets, _ = cluster.gather(
        lambda: meshes.find(cluster, control_plane),
        lambda: meshes.readable_namespaces(cluster, scope),
        lambda: readable(cluster, BUDGETS, scope),
        lambda: owners.prefetch(scope),
    )
    found = _Glance(owners, installations, namespaces or {}, budgets or ())
    for pod in cluster.list(PODS, scope):
        found.add(PODS, pod)
    for located in owners.known():
        found.add(*located)
    unseen = {
        f"without the right to read {NAMESPACES.plural} all count as part of the mesh": namespaces is None,
        f"{BUDGETS.qualified} cannot be read: what they hold back is not shown": budgets is None,
        f"without the right to list {', '.join(sorted(owners.unreadable))}, what these own may stand alone": bool(
            owners.unreadable
        ),
    }
    notes = [*(text for text, so in unseen.items() if so), *found.unreadable]
    items = sorted(found.items(), key=lambda item: (item.namespace, item.workload))
    apply = hints.restart_all(scope, control_plane, cluster.words) if any(item.restartable for item in items) else ""
    return StatusReport(
        items, cluster.origin, scope, [*map(_mesh, installations)], notes, found.finished, found.outside, apply
    )


class _Standing(NamedTuple):
    """How it stands with pods that are alike: their state, and what there is to say of it."""

    state: str
    changes: Sequence[str] = ()
    failure: str = ""
    obstacle: str = ""
    idle: Sequence[str] = ()
    notes: Sequence[str] = ()


class _Tally:
    """One workload's pods."""

    def __init__(self, workload: Workload, installation: Installation, budgets: Sequence[str]) -> None:
        self.workload = workload
        self.installation = installation
        self.budgets = budgets
        self.pods = Counter[str]()
        self.injected = 0
        self.standings: dict[object, _Standing] = {}

    def item(self) -> WorkloadStatus:
        """The line of the report."""
        standings = list(self.standings.values())
        outdated = self.pods["outdated"]
        obstacles = _once(one.obstacle for one in standings if one.obstacle)
        return WorkloadStatus(
            namespace=self.workload.namespace,
            workload=self.workload.label,
            mesh=str(self.installation),
            pods=self.pods.total(),
            injected=self.injected,
            current=self.pods["current"],
            outdated=outdated,
            failed=self.pods["failed"],
            changes=_once(text for one in standings for text in one.changes),
            failures=_once(one.failure for one in standings if one.failure),
            blocked=[*obstacles, *(self.budgets if outdated else ())],
            idle=_once(text for one in standings for text in one.idle),
            notes=_once(text for one in standings for text in one.notes),
            restartable=bool(outdated and not obstacles),
        )


class _Glance:
    """All workloads, while pods come in; `unreadable` says what could not be counted."""

    def __init__(
        self,
        owners: Owners,
        installations: Sequence[Installation],
        namespaces: Mapping[str, Object],
        budgets: Sequence[Object],
    ) -> None:
        self._owners = owners
        self._installations = installations
        self._namespaces = namespaces
        self._tallies: dict[str, _Tally] = {}
        self._budgets = Budgets(budgets)
        self.finished = 0
        self.outside = 0
        self.unreadable: dict[str, None] = {}

    def items(self) -> Iterator[WorkloadStatus]:
        return (tally.item() for tally in self._tallies.values())

    def add(self, resource: Resource, obj: Object) -> None:
        """Count a pod, or take a workload in that may have none."""
        pod = obj if resource is PODS else None
        if workloads.completed(obj):
            return
        if pod is not None and not workloads.lives(pod):
            self.finished += 1
            return
        namespace = self._namespaces.get(fields.namespace(obj))
        installation = self._installation(namespace, pod)
        if installation is None:
            self.outside += pod is not None
            return
        try:
            workload = self._owners.of(resource, obj)
            if pod is not None or workload.template is not None:
                self._count(workload, pod, namespace, installation)
        except InvalidObject as error:
            self.unreadable[f"not counted: {error.message}"] = None

    def _installation(self, namespace: Object | None, pod: Object | None) -> Installation | None:
        """The mesh that a pod has to do with; None where it has to do with none."""
        if known := meshes.of_namespace(self._installations, namespace):
            return known
        labels = fields.labels(pod) if pod else {}
        marked = [one for one in self._installations if one.mesh.uuid_label in labels]
        if marked:
            return marked[0]
        return self._installations[0] if namespace is None and len(self._installations) == 1 else None

    def _count(
        self, workload: Workload, pod: Object | None, namespace: Object | None, installation: Installation
    ) -> None:
        tally = self._tallies.get(workload.uid)
        if tally is None:
            tally = _Tally(workload, installation, [*self._budgets.notes(workload)])
            self._tallies[workload.uid] = tally
        if pod is None:
            if not tally.standings:
                tally.standings[None] = _standing(Subject(workload, []), namespace, installation)
            return
        like = likeness(pod, installation)
        if like not in tally.standings:
            tally.standings[like] = _standing(Subject(workload, [pod]), namespace, installation)
        tally.pods[tally.standings[like].state] += 1
        tally.injected += installation.mesh.uuid_label in fields.labels(pod)


def _standing(subject: Subject, namespace: Object | None, installation: Installation) -> _Standing:
    pod = subject.pods[0] if subject.pods else None
    try:
        found = situation(subject, pod, namespace, installation)
        notes = oddities(subject, pod, installation)
    except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
        return _Standing("unreadable", notes=(error.message,))
    wanted, outdated = found.coming.wanted, found.state == "outdated"
    said = found.reason if found.state not in ("current", "template", "failed") else ""
    return _Standing(
        found.state,
        changes=difference(found.now.effective, wanted) if outdated and found.now and wanted else (),
        failure=found.reason if found.state == "failed" else "",
        obstacle=obstacles.look(subject.workload, found.coming, installation)[0] if outdated else "",
        idle=[*idle(found.coming, "" if found.refused else found.next_script)],
        notes=[*([said] if said else []), *found.warnings, *found.refused, *notes],
    )


def _once(texts: Iterator[str]) -> Sequence[str]:
    return list(dict.fromkeys(texts))


def _mesh(installation: Installation) -> MeshStatus:
    notes = [installation.note] if installation.note else []
    if not installation.intercepts:
        notes.append("this mode adds no init container: the lists are not used")
    return MeshStatus(installation.mesh.name, installation.version, installation.namespace, installation.mode, notes)
