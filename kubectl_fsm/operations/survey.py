"""Who makes pods: workloads and bare pods with the pods they have, and which of them an edit of a mesh affects."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, interception, workloads
from kubectl_fsm.cluster.interface import NAMESPACES, PODS, Cluster
from kubectl_fsm.errors import UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations.owners import Owners, Workload

_FEW = 8
"""Up to so many meshed namespaces are listed one by one; more are cheaper to pick from a listing of all."""


class Subject(NamedTuple):
    """A workload (or bare pod) and the pods that it has and that have not finished.

    Of pods from a `survey` of a cluster there is what `workloads.POD` keeps.
    """

    workload: Workload
    pods: Sequence[Object]

    @property
    def template(self) -> Object:
        """What the next pod is made from. Raises `UsageError` where nothing shows it."""
        template = self.workload.template
        if template is not None:
            return template
        if self.pods:
            return self.pods[0]
        raise UsageError(f"{self} has neither pods nor a pod template", "name a workload or a pod")

    @property
    def annotations(self) -> Mapping[str, str]:
        """Those of the next pod."""
        return fields.annotations(self.template)

    def __str__(self) -> str:
        return self.workload.title


class Survey(NamedTuple):
    """What makes pods, in the order of namespaces and names, and how many pods have finished."""

    subjects: Sequence[Subject]
    finished: int = 0


def subjects(cluster: Cluster, owners: Owners, namespace: str, selector: str = "") -> Sequence[Subject]:
    """As `survey`, without the count."""
    return survey(cluster, owners, namespace, selector).subjects


def survey(cluster: Cluster, owners: Owners, namespace: str, selector: str = "") -> Survey:
    """Everything in a namespace (in all where it is empty) that makes pods; finished pods are counted, not looked at.

    With a selector only what owns pods with these labels; without one also workloads that have no pod now, because they
    are scaled to zero, their pods are refused, or they are manifests. Pods whose owner shows no template stand alone:
    each may be recreated in its own way.
    """
    pods, _ = cluster.gather(lambda: _pods(cluster, namespace, selector), lambda: owners.prefetch(namespace))
    found: dict[str, tuple[Workload, list[Object]]] = {}
    unfinished = [pod for pod in pods if not workloads.finished(pod)]
    for pod in unfinished:
        workload = owners.of(PODS, pod)
        alike = "" if workload.template is not None else fields.name(pod)
        found.setdefault(workload.uid + alike, (workload, []))[1].append(pod)
    for located in owners.known() if not selector else ():
        if namespace not in ("", located.namespace) or workloads.completed(located.object):
            continue
        workload = owners.of(located.resource, located.object)
        if workload.top == located and workload.template is not None:
            found.setdefault(workload.uid, (workload, []))
    known = [Subject(workload, own) for workload, own in found.values()]
    ordered = sorted(known, key=lambda subject: (subject.workload.namespace, subject.workload.label))
    return Survey(ordered, len(pods) - len(unfinished))


def _pods(cluster: Cluster, namespace: str, selector: str) -> Sequence[Object]:
    """The pods, each cut down as soon as it is there; of files, whose pods may say anything, whole."""
    listed = cluster.list(PODS, namespace, selector)
    return [fields.masked(pod, workloads.POD) for pod in listed] if cluster.remote else list(listed)


def of_mesh(cluster: Cluster, installation: Installation) -> Sequence[Subject]:
    """Everything in the mesh's namespaces whose pods are injected, now or the next time they are made.

    Raises `Forbidden` where pods, workloads or namespaces cannot be listed: a check that cannot look must not pass.
    """
    namespaces = meshed(cluster, installation)
    owners = Owners(cluster)
    found = [
        subject
        for scope in scopes(cluster, namespaces)
        for subject in subjects(cluster, owners, scope)
        if not cluster.remote or subject.workload.namespace in namespaces
    ]
    return [
        subject for subject in found if _concerned(subject, namespaces.get(subject.workload.namespace), installation)
    ]


def meshed(cluster: Cluster, installation: Installation) -> Mapping[str, Object]:
    """The namespaces that may be in the mesh, by name. Raises `Forbidden`."""
    return {fields.name(found): found for found in cluster.list(NAMESPACES, selector=_selector(cluster, installation))}


def scopes(cluster: Cluster, namespaces: Mapping[str, Object]) -> Sequence[str]:
    """The namespaces to list one by one to see all of these; the empty one stands for a listing of all."""
    return sorted(namespaces) if cluster.remote and len(namespaces) <= _FEW else [""]


def _selector(cluster: Cluster, installation: Installation) -> str:
    """The mesh's namespaces; of manifests all, since a namespace that is not among them may be in the mesh too."""
    label = installation.mesh.monitored_label
    if not cluster.remote:
        return ""
    return f"{label}={installation.name}" if installation.name else label


def _concerned(subject: Subject, namespace: Object | None, installation: Installation) -> bool:
    if any(interception.carries(pod, installation.mesh) for pod in subject.pods):
        return True
    around = interception.surroundings(subject.workload.namespace, namespace, installation)
    return interception.injection(subject.template, around, installation).injected
