"""The mesh at a glance: every workload's pods by what they run, in one pass over the pods."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster import selectors
from kubectl_fsm.cluster.interface import BUDGETS, PODS, Cluster
from kubectl_fsm.errors import Forbidden, InvalidExclusion, InvalidObject, NotFound, RulesSyntaxError
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import difference
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import meshes, restart
from kubectl_fsm.operations.inspect import idle, oddities, situation
from kubectl_fsm.operations.owners import Owners, Workload
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import MeshStatus, StatusReport, WorkloadStatus

_INJECTED = ("current", "outdated", "failed", "external", "unknown")
"""States of pods that have the sidecar."""


def glance(cluster: Cluster, scope: str, control_plane: str = "") -> StatusReport:
    """How it stands with every workload of a namespace (of all where it is empty) that has to do with a mesh.

    Of the pods only what is shown is kept, and each distinct way in which a workload's pods stand is worked out once.
    """
    owners = Owners(cluster, readable_only=True)
    installations, namespaces, budgets, _ = cluster.gather(
        lambda: meshes.find(cluster, control_plane),
        lambda: meshes.namespaces(cluster, scope),
        lambda: _budgets(cluster, scope),
        lambda: owners.prefetch(scope),
    )
    found = _Glance(installations, namespaces, budgets)
    for pod in cluster.list(PODS, scope):
        if workloads.finished(pod):
            found.finished += 1
        else:
            found.add(owners.of(PODS, pod), pod)
    for located in owners.known():
        if not workloads.completed(located.object):
            workload = owners.of(located.resource, located.object)
            if workload.top == located and workload.template is not None:
                found.add(workload, None)
    items = sorted(found.items(), key=lambda item: (item.namespace, item.workload))
    known = [_mesh(installation) for installation in installations if installation.config]
    return StatusReport(items, cluster.origin, scope, known, found.finished, found.outside)


class _Standing(NamedTuple):
    """How it stands with pods that are alike: their state, and what there is to say of it."""

    state: str
    changes: Sequence[str] = ()
    failure: str = ""
    notes: Sequence[str] = ()


class _Tally:
    """One workload's pods."""

    def __init__(self, workload: Workload, installation: Installation) -> None:
        self.namespace = workload.namespace
        self.label = workload.label
        self.mesh = str(installation)
        self.states: Counter[str] = Counter()
        self.standings: dict[object, _Standing] = {}
        self.obstacle = ""
        self.budgets: Sequence[str] = ()
        self.idle: Sequence[str] = ()

    def item(self) -> WorkloadStatus:
        """The line of the report."""
        standings = list(self.standings.values())
        outdated = self.states["outdated"]
        return WorkloadStatus(
            namespace=self.namespace,
            workload=self.label,
            mesh=self.mesh,
            pods=self.states.total(),
            injected=sum(self.states[state] for state in _INJECTED),
            current=self.states["current"],
            outdated=outdated,
            failed=self.states["failed"],
            changes=_once(text for one in standings for text in one.changes),
            failures=_once(one.failure for one in standings if one.failure),
            blocked=[text for text in (self.obstacle, *self.budgets) if text] if outdated else [],
            idle=self.idle,
            notes=_once(text for one in standings for text in one.notes),
        )


class _Glance:
    """All workloads, while pods come in."""

    def __init__(
        self, installations: Sequence[Installation], namespaces: Mapping[str, Object], budgets: Sequence[Object]
    ) -> None:
        self._installations = installations
        self._namespaces = namespaces
        self._budgets = budgets
        self._tallies: dict[str, _Tally] = {}
        self.finished = 0
        self.outside = 0

    def items(self) -> Iterator[WorkloadStatus]:
        return (tally.item() for tally in self._tallies.values())

    def add(self, workload: Workload, pod: Object | None) -> None:
        """Count a pod; without one, the workload is there nevertheless."""
        namespace = self._namespaces.get(workload.namespace)
        installation = self._installation(namespace, pod)
        if installation is None:
            self.outside += pod is not None
            return
        tally = self._tallies.get(workload.uid)
        if tally is None:
            tally = self._tallies[workload.uid] = _Tally(workload, installation)
        if pod is None and tally.states:
            return
        key = _likeness(pod, installation)
        if key not in tally.standings:
            tally.standings[key] = self._standing(
                tally, Subject(workload, [pod] if pod else []), namespace, installation
            )
        tally.states[tally.standings[key].state] += pod is not None

    def _installation(self, namespace: Object | None, pod: Object | None) -> Installation | None:
        """The mesh that a pod has to do with; None where it has to do with none."""
        known = meshes.of_namespace(self._installations, namespace)
        if known or namespace is None:
            return known or meshes.of_pod(self._installations, namespace) or self._installations[0]
        marked = [one for one in self._installations if pod and one.mesh.uuid_label in fields.labels(pod)]
        return marked[0] if marked else None

    def _standing(
        self, tally: _Tally, subject: Subject, namespace: Object | None, installation: Installation
    ) -> _Standing:
        pod = subject.pods[0] if subject.pods else None
        try:
            found = situation(subject, pod, namespace, installation)
            notes = oddities(subject, pod, installation)
        except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
            return _Standing("unreadable", notes=(error.message,))
        tally.obstacle = tally.obstacle or restart.obstacle(subject.workload, found.coming)
        tally.budgets = tally.budgets or [*self._full_budgets(subject)]
        tally.idle = tally.idle or [*idle(found.coming, found.next_script)]
        wanted = found.coming.wanted
        changes = difference(found.now.effective, wanted) if found.state == "outdated" and found.now and wanted else ()
        failure = found.reason if found.state == "failed" else ""
        reasons = () if found.state in ("current", "template", "failed") or not found.reason else (found.reason,)
        return _Standing(found.state, changes, failure, [*reasons, *found.refused, *notes])

    def _full_budgets(self, subject: Subject) -> Iterator[str]:
        """The PodDisruptionBudgets of a workload's pods that let none of them go."""
        labels = fields.labels(subject.template)
        for budget in self._budgets:
            status = fields.mapping(budget, "status")
            if fields.namespace(budget) == subject.workload.namespace and status.get("disruptionsAllowed") == 0:
                wanted = selectors.of_labels(fields.mapping(budget, "spec", "selector"))
                if wanted and selectors.parse(wanted).matches(labels):
                    healthy = f"{status.get('currentHealthy', 0)} of {status.get('desiredHealthy', 0)} healthy"
                    yield f"PodDisruptionBudget {fields.name(budget)} has no room ({healthy}); rollouts do not heed it"


def _likeness(pod: Object | None, installation: Installation) -> object:
    """What two pods of one workload share if they stand alike."""
    if pod is None:
        return None
    mesh, name = installation.mesh, installation.mesh.init_container
    container = workloads.init_container(pod, name)
    annotations = fields.annotations(pod)
    return (
        workloads.script(container) if container else None,
        workloads.failure(pod, name),
        workloads.succeeded(pod, name),
        mesh.uuid_label in fields.labels(pod),
        bool(fields.mapping(pod, "status")),
        *(annotations.get(installation.injector.annotation(found)) for found in installation.injector.pod_lists),
    )


def _once(texts: Iterator[str]) -> Sequence[str]:
    return list(dict.fromkeys(texts))


def _budgets(cluster: Cluster, scope: str) -> Sequence[Object]:
    """The PodDisruptionBudgets that may be read."""
    try:
        return list(cluster.list(BUDGETS, scope))
    except (Forbidden, NotFound):
        return ()


def _mesh(installation: Installation) -> MeshStatus:
    notes = [installation.note] if installation.note else []
    if not installation.intercepts:
        notes.append("this mode adds no init container: the lists are not used")
    return MeshStatus(installation.mesh.name, installation.version, installation.namespace, installation.mode, notes)
