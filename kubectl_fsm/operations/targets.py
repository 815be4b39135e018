"""What a command line points at: pods by name, workloads, selectors, namespaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import PODS, Cluster, Resource
from kubectl_fsm.errors import NotFound, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import Owners, Workload, pods_of
from kubectl_fsm.operations.survey import Subject, Survey, subjects, survey


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

    def described(self, cluster: Cluster) -> str:
        """`namespace shop with labels app=web`, `any namespace`."""
        labelled = f" with labels {self.selector}" if self.selector else ""
        scope = self.scope(cluster)
        return (f"namespace {scope}" if scope else "any namespace") + labelled


def is_target(name: str) -> bool:
    """Whether this is NAME or KIND/NAME."""
    kind, slash, plain = name.rpartition("/")
    return bool(plain) and bool(kind or not slash) and "/" not in kind


def locate(cluster: Cluster, name: str, namespace: str) -> tuple[Resource, Object]:
    """The object that a target names; in files without a namespace given, wherever it is.

    Raises `NotFound`, and `UsageError` for what is no target or could be several.
    """
    if not is_target(name):
        raise UsageError(f"{name!r} is not a target", "write NAME for a pod, or KIND/NAME such as deploy/web")
    kind, slash, plain = name.rpartition("/")
    resource = cluster.resource_named(kind) if slash else PODS
    if cluster.remote or namespace:
        try:
            return resource, cluster.get(resource, plain, namespace or cluster.namespace)
        except NotFound as error:
            if not slash:
                error.hint = f"{error.hint}; a workload is named KIND/NAME, such as deploy/{plain}".lstrip("; ")
            raise
    named = (found for found in cluster.list(resource) if fields.name(found) == plain)
    places = list(dict.fromkeys(fields.namespace(found) for found in named))
    if len(places) > 1:
        raise UsageError(f"{name} is in several namespaces: {', '.join(places)}", "name one with -n")
    return resource, cluster.get(resource, plain, places[0] if places else cluster.namespace)


def select(cluster: Cluster, owners: Owners, selection: Selection) -> Sequence[Subject]:
    """What a selection means: workloads with their pods, or just the pods that are named."""
    if not selection.names:
        return subjects(cluster, owners, selection.scope(cluster), selection.selector)
    found = []
    for name in selection.names:
        resource, obj = locate(cluster, name, selection.namespace)
        workload = owners.of(resource, obj)
        found.append(Subject(workload, [obj] if resource is PODS else pods_of(cluster, owners, workload)))
        _ = found[-1].template
    return found


def chosen(cluster: Cluster, owners: Owners, selection: Selection) -> Survey:
    """The workloads that a selection means, or whose pods it means: each once, with all its pods."""
    scope = selection.scope(cluster)
    if not selection.names and not selection.selector:
        return survey(cluster, owners, scope)
    if selection.selector:
        everything, matching = cluster.gather(
            lambda: survey(cluster, owners, scope),
            lambda: {_key(pod) for pod in cluster.list(PODS, scope, selection.selector)},
        )
        return Survey([one for one in everything.subjects if any(_key(pod) in matching for pod in one.pods)])
    found: dict[str, Subject] = {}
    for name in selection.names:
        workload = owners.of(*owners.add(*locate(cluster, name, selection.namespace)))
        if workload.uid not in found:
            found[workload.uid] = Subject(workload, pods_of(cluster, owners, workload))
    return Survey(list(found.values()))


def _key(pod: Object) -> tuple[str, str]:
    return fields.namespace(pod), fields.name(pod)


def describe(workload: Workload) -> str:
    """`deploy/web in shop (12 replicas)`."""
    count = workloads.replicas(workload.top.object)
    replicas = f" ({count} replica{'s' if count != 1 else ''})" if count is not None else ""
    return f"{workload.title}{replicas}"
