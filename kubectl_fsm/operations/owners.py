"""Climbing from a pod to the workload that will make the next one."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import (
    BUILT_IN,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Cluster,
    Resource,
)
from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.fields import Object
from kubectl_fsm.workloads import Owner

OWNERS = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS, JOBS, CRONJOBS)
"""The built-in kinds that own pods, or own what owns them."""
BETWEEN: Mapping[tuple[str, str], Resource] = {
    ("apps", "Deployment"): REPLICASETS,
    ("argoproj.io", "Rollout"): REPLICASETS,
    ("batch", "CronJob"): JOBS,
}
"""What stands between a workload and its pods, by the workload's group and kind."""
_SECRETS = "v1", "Secret"
_MAX_DEPTH = 16


class Located(NamedTuple):
    """An object and the kind it is of."""

    resource: Resource
    object: Object

    @property
    def label(self) -> str:
        """`deploy/web`, as a target is written."""
        return f"{self.resource.label}/{fields.name(self.object)}"

    @property
    def namespace(self) -> str:
        return fields.namespace(self.object)


class Workload(NamedTuple):
    """What makes a pod anew.

    `top` is the topmost owner (a bare pod is its own), `holder` the object that keeps the pod template (an Argo Rollout
    may use a Deployment's), None where nothing does; `refusal` says why the template is not to be edited; `unseen` is
    an owner above `top` that is gone or cannot be read.
    """

    top: Located
    holder: Located | None
    refusal: str = ""
    unseen: Owner | None = None

    @property
    def label(self) -> str:
        if self.unseen and self.top.resource is PODS:
            kinds = {resource.kind: resource.label for resource in BUILT_IN}
            return f"{kinds.get(self.unseen.kind, self.unseen.kind.lower())}/{self.unseen.name}"
        return self.top.label

    @property
    def namespace(self) -> str:
        return self.top.namespace

    @property
    def title(self) -> str:
        """`deploy/web in shop`, or just the label of what is in no namespace."""
        return f"{self.label} in {self.namespace}" if self.namespace else self.label

    @property
    def bare(self) -> bool:
        """Whether it is a pod that nobody makes anew."""
        return self.top.resource is PODS and not self.unseen

    @property
    def template(self) -> Object | None:
        """The template of the next pod; a bare pod is its own."""
        return workloads.template(self.holder.object) if self.holder else None

    @property
    def uid(self) -> str:
        if self.unseen and self.top.resource is PODS:
            return self.unseen.uid or f"{self.namespace}/{self.label}"
        return fields.uid(self.top.object) or f"{self.namespace}/{self.label}"


class Owners:
    """Owners of pods, each read once.

    `prefetch` reads all built-in workloads of a namespace (all namespaces where it is empty) in one go, and of other kinds
    the first owner brings all, which pays where many pods are looked at; without it each owner is one request. With `readable_only` an owner that the user may not
    read counts as gone, which is good enough to look at pods, but not to edit anything.
    """

    def __init__(self, cluster: Cluster, *, readable_only: bool = False) -> None:
        self._cluster = cluster
        self._passed_over = (NotFound, Forbidden) if readable_only else (NotFound,)
        self._known: dict[tuple[str, str, str], Located] = {}
        self._above: dict[str, Workload] = {}
        self._scope: str | None = None
        self._others: dict[Resource, Mapping[tuple[str, str], Object]] = {}
        self._denied: dict[str, Forbidden] = {}
        self.unreadable: list[str] = []
        """Kinds that `prefetch` may not list."""

    def prefetch(self, namespace: str) -> None:
        self._scope = namespace
        resources = (*OWNERS, *(found for found in self._cluster.kinds() if found not in (*OWNERS, PODS)))
        listed = self._cluster.gather(*(partial(self._list, resource, namespace) for resource in resources))
        for resource, objects in zip(resources, listed, strict=True):
            for found in objects:
                self.add(resource, found)
        self._others = {resource: {} for resource in resources}

    def _list(self, resource: Resource, namespace: str) -> Sequence[Object]:
        try:
            return list(self._cluster.list(resource, namespace))
        except self._passed_over:
            self.unreadable.append(resource.qualified)
            return ()

    def add(self, resource: Resource, obj: Object) -> Located:
        located = Located(resource, obj)
        self._known[resource.qualified, fields.namespace(obj), fields.name(obj)] = located
        return located

    def known(self) -> Iterator[Located]:
        """Everything read so far."""
        yield from list(self._known.values())

    def of(self, resource: Resource, obj: Object) -> Workload:
        """The workload above an object, or the object itself."""
        owner = workloads.controller(obj)
        if owner is None or not owner.uid:
            return self._climbed(resource, obj)
        if owner.uid not in self._above:
            found = self._climbed(resource, obj)
            if found.top.object is obj:
                return found
            self._above[owner.uid] = found
        return self._above[owner.uid]

    def owns(self, workload: Workload, pod: Object) -> bool:
        """Whether a pod is one of the workload's. Raises `Forbidden` where what stands between the two may not be read."""
        above = self.of(PODS, pod)
        resource = workload.top.resource
        between = BETWEEN.get((resource.group, resource.kind))
        if above.unseen and above.unseen.uid in self._denied and between and above.unseen.kind == between.kind:
            raise self._denied[above.unseen.uid]
        return above.uid == workload.uid

    def _climbed(self, resource: Resource, obj: Object) -> Workload:
        chain, unseen = [Located(resource, obj)], None
        while len(chain) < _MAX_DEPTH and (owner := workloads.controller(chain[-1].object)):
            if owner.kind == PODS.kind:  # as Spark's driver has its executors; it has no template for them
                break
            parent = self._owner(owner, chain[-1].namespace)
            if parent is None:
                unseen = owner
                break
            chain.append(parent)
        return self._workload(chain)._replace(unseen=unseen)

    def _owner(self, owner: Owner, namespace: str) -> Located | None:
        """The owner that a reference names; None where it is gone, or another object has its name now.

        Whoever may write a pod chooses what it refers to: nobody's Secrets are read for that.
        """
        if (owner.api_version, owner.kind) == _SECRETS:
            return None
        try:
            found = self._read(owner, namespace)
        except self._passed_over as error:
            if isinstance(error, Forbidden):
                self._denied[owner.uid] = error
            return None
        uid = fields.uid(found.object)
        return found if not uid or not owner.uid or uid == owner.uid else None

    def _read(self, owner: Owner, namespace: str) -> Located:
        resource = self._cluster.resource(owner.api_version, owner.kind)
        place = namespace if resource.namespaced else ""
        known = self._known.get((resource.qualified, place, owner.name))
        if known:
            return known
        found = self._siblings(resource).get((place, owner.name))
        return self.add(resource, found or self._cluster.get(resource, owner.name, place))

    def _siblings(self, resource: Resource) -> Mapping[tuple[str, str], Object]:
        """All of a kind that was not prefetched, after a `prefetch`; nothing where they may not be listed."""
        if self._scope is None:
            return {}
        if resource not in self._others:
            scope = self._scope if resource.namespaced else ""
            try:
                listed = list(self._cluster.list(resource, scope))
            except (Forbidden, NotFound):
                listed = []
            self._others[resource] = {(fields.namespace(found), fields.name(found)): found for found in listed}
        return self._others[resource]

    def _workload(self, chain: Sequence[Located]) -> Workload:
        top = chain[-1]
        reference = workloads.template_reference(top.object)
        if reference:
            holder = self._owner(reference, top.namespace)
            missing = f"its workloadRef names {reference.kind} {reference.name}, which is not there"
            return Workload(top, holder, "" if holder else missing)
        if top.resource is JOBS:
            return Workload(top, top, "a Job's pod template is immutable; edit the manifest and create the Job anew")
        if top.resource is PODS:
            owner = workloads.controller(top.object)
            missing = (
                "makes it without a pod template" if owner and owner.kind == PODS.kind else "is gone or cannot be read"
            )
            refusal = f"its owner {owner.kind} {owner.name} {missing}" if owner else ""
            return Workload(top, top, refusal)
        if workloads.template_path(top.object):
            return Workload(top, top, "")
        below = next((found for found in reversed(chain[:-1]) if workloads.template_path(found.object)), None)
        kind = fields.text(top.object, "kind") or top.resource.kind
        refusal = f"it belongs to {kind} {fields.name(top.object)}, which has no pod template and would revert the edit"
        return Workload(top, below, refusal if below else f"{kind} {fields.name(top.object)} has no pod template")


def pods_of(cluster: Cluster, owners: Owners, workload: Workload) -> Sequence[Object]:
    """The pods that a workload has now, finished ones left out. Raises `Forbidden` where nothing tells which they are."""
    if workload.bare:
        return [workload.top.object]
    return [
        pod
        for pod in cluster.list(PODS, workload.namespace, label_selector(workload))
        if not workloads.finished(pod) and owners.owns(workload, pod)
    ]


def label_selector(workload: Workload) -> str:
    """The workload's own label selector where it is a plain one; it narrows the listing, ownership decides."""
    found = fields.mapping(workload.top.object, "spec").get("selector")
    labels = found.get("matchLabels") if isinstance(found, Mapping) else None
    if not isinstance(labels, Mapping):
        return ""
    return ",".join(f"{key}={value}" for key, value in labels.items())
