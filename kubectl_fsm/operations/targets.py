"""What a command line points at: pods by name, workloads, selectors, namespaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import CRONJOBS, DAEMONSETS, DEPLOYMENTS, PODS, STATEFULSETS, Cluster, Resource
from kubectl_fsm.errors import UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import Owners, Workload, pods_of
from kubectl_fsm.operations.survey import Subject


@dataclass(frozen=True)
class Selection:
    """The targets of a command: names (`NAME` is a pod, `KIND/NAME` a workload), or all pods of a namespace.

    `namespace` empty: the cluster's default one; `everywhere`: all namespaces; `selector`: labels of pods.
    """

    names: Sequence[str] = ()
    namespace: str = ""
    everywhere: bool = False
    selector: str = ""

    def __post_init__(self) -> None:
        if self.names and self.selector:
            raise UsageError("a target by name and a selector (-l) exclude each other")
        if self.names and self.everywhere:
            raise UsageError("a target by name needs its namespace: -n, not -A")

    def scope(self, cluster: Cluster) -> str:
        """The one namespace that is meant; empty for all."""
        return "" if self.everywhere else self.namespace or cluster.namespace


def locate(cluster: Cluster, name: str, namespace: str) -> tuple[Resource, Object]:
    """The object that a target names. Raises `NotFound`, `UsageError`."""
    kind, slash, plain = name.rpartition("/")
    if not plain or (slash and not kind) or "/" in kind:
        raise UsageError(f"{name!r} is not a target", "write NAME for a pod, or KIND/NAME such as deploy/web")
    resource = cluster.resource_named(kind) if slash else PODS
    return resource, cluster.get(resource, plain, namespace or cluster.namespace)


def select(cluster: Cluster, owners: Owners, selection: Selection) -> Sequence[Subject]:
    """The pods that a selection means, with their workloads, in the order of their names."""
    if not selection.names:
        return _listed(cluster, owners, selection)
    subjects = []
    for name in selection.names:
        resource, found = locate(cluster, name, selection.namespace)
        workload = owners.of(resource, found)
        subjects.append(Subject(workload, [found] if resource is PODS else pods_of(cluster, owners, workload)))
    return subjects


def _listed(cluster: Cluster, owners: Owners, selection: Selection) -> Sequence[Subject]:
    scope = selection.scope(cluster)
    pods, _ = cluster.gather(
        lambda: [pod for pod in cluster.list(PODS, scope, selection.selector) if not workloads.finished(pod)],
        lambda: owners.prefetch(scope),
    )
    grouped: dict[str, tuple[Workload, list[Object]]] = {}
    for pod in pods:
        workload = owners.of(PODS, pod)
        grouped.setdefault(workload.uid, (workload, []))[1].append(pod)
    subjects = [Subject(workload, found) for workload, found in grouped.values()]
    if not cluster.remote and not selection.selector:
        subjects += _unstarted(owners, scope, set(grouped))
    return sorted(subjects, key=lambda subject: (subject.workload.namespace, subject.workload.label))


def _unstarted(owners: Owners, scope: str, started: set[str]) -> Sequence[Subject]:
    """Workloads in files, whose pods are not made yet."""
    found = (
        owners.of(located.resource, located.object)
        for located in owners.known()
        if scope in ("", located.namespace) and not workloads.controller(located.object)
    )
    return [
        Subject(workload, ()) for workload in found if workload.uid not in started and workload.template is not None
    ]


EDITABLE: Sequence[Resource] = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, CRONJOBS)
"""Built-in workloads whose pod templates can be edited."""


def describe(workload: Workload) -> str:
    """`deploy/web in shop (12 replicas)`."""
    count = workloads.replicas(workload.top.object)
    replicas = f" ({count} replica{'s' if count != 1 else ''})" if not workload.bare else ""
    return f"{workload.label} in {fields.namespace(workload.top.object)}{replicas}"
