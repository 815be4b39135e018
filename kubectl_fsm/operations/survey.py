"""Who is affected by an edit: everything that will make a meshed pod, with the pods it has now."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, interception, workloads
from kubectl_fsm.cluster.interface import JOBS, NAMESPACES, PODS, REPLICASETS, Cluster
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations.owners import Owners, Workload

_FEW = 8
"""Up to so many meshed namespaces are listed one by one; more are cheaper to pick from a listing of all."""


class Subject(NamedTuple):
    """A workload (or bare pod) and its pods; `annotations` are those of the next pod."""

    workload: Workload
    pods: Sequence[Object]

    @property
    def annotations(self) -> Mapping[str, str]:
        template = self.workload.template
        return fields.annotations(template if template is not None else self.pods[0])

    @property
    def template(self) -> Object:
        """What the next pod is made from."""
        template = self.workload.template
        return template if template is not None else self.pods[0]

    def __str__(self) -> str:
        return f"{self.workload.label} in {self.workload.namespace}"


def of_mesh(cluster: Cluster, installation: Installation) -> Sequence[Subject]:
    """Everything in the mesh's namespaces whose pods are injected, now or the next time they are made.

    Raises `Forbidden` where pods, workloads or namespaces cannot be listed: a check that cannot look must not pass.
    """
    label = installation.mesh.monitored_label
    selector = f"{label}={installation.name}" if installation.name else label
    namespaces = {fields.name(found): found for found in cluster.list(NAMESPACES, selector=selector)}
    if not namespaces and not cluster.remote:
        namespaces = {fields.namespace(pod): pod for pod in cluster.list(PODS)}
    owners = Owners(cluster)
    pods: list[Object] = []
    for scope in sorted(namespaces) if len(namespaces) <= _FEW else [""]:
        owners.prefetch(scope)
        pods += (pod for pod in cluster.list(PODS, scope) if fields.namespace(pod) in namespaces)
    subjects = [
        *_with_pods(owners, (pod for pod in pods if not workloads.finished(pod))),
        *_without_pods(owners, namespaces, pods),
    ]
    return [found for found in subjects if _concerned(found, namespaces.get(found.workload.namespace), installation)]


def _with_pods(owners: Owners, pods: Iterable[Object]) -> Sequence[Subject]:
    grouped: dict[str, tuple[Workload, list[Object]]] = {}
    for pod in pods:
        workload = owners.of(PODS, pod)
        grouped.setdefault(workload.uid, (workload, []))[1].append(pod)
    return [Subject(workload, found) for workload, found in grouped.values()]


def _without_pods(owners: Owners, namespaces: Mapping[str, Object], pods: Iterable[Object]) -> Sequence[Subject]:
    """Workloads that have no pod now (scaled to zero, or refused by the injector) but will make some."""
    owning = {owners.of(PODS, pod).uid for pod in pods}
    found = []
    for located in owners.known():
        if located.resource in (PODS, JOBS, REPLICASETS) or located.namespace not in namespaces:
            continue
        workload = owners.of(located.resource, located.object)
        if workload.top == located and workload.template is not None and workload.uid not in owning:
            found.append(Subject(workload, ()))
    return found


def _concerned(subject: Subject, namespace: Object | None, installation: Installation) -> bool:
    if any(interception.carries(pod, installation.mesh) for pod in subject.pods):
        return True
    return interception.injection(subject.template, namespace, installation).injected
