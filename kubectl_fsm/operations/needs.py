"""What operations ask of an API server, as rights: what they cannot do without, and what they only lose by.

What depends on the cluster (which kinds it serves, whose a target is) is read as far as that may be read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm import fields, rollouts
from kubectl_fsm.cluster.interface import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Cluster,
    Resource,
)
from kubectl_fsm.errors import FsmError, NotFound
from kubectl_fsm.meshes import MESHES
from kubectl_fsm.operations import meshes, survey, targets
from kubectl_fsm.operations.obstacles import EVICT, RECREATE
from kubectl_fsm.operations.owners import BETWEEN, OWNERS, Owners, Workload
from kubectl_fsm.operations.rights import Need, Right
from kubectl_fsm.operations.targets import Selection

_ROLLED = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS)
_TEMPLATES = (*_ROLLED, REPLICASETS, CRONJOBS, PODS)
"""The built-in kinds whose pod template is edited, or whose pods are replaced."""
_SYSTEM_NAMESPACES: Mapping[str, str] = {mesh.group: mesh.system_namespace for mesh in MESHES}


class Rolling(NamedTuple):
    """A workload that is rolled, or without a `name` any of its kind; `remedy` is one of `obstacles`."""

    resource: Resource
    namespace: str
    name: str = ""
    remedy: str = ""


# To look


def of_meshes(cluster: Cluster, control_plane: str) -> Iterator[Need]:
    """To find the meshes; the right to look where the control plane usually is is enough."""
    for resource, place in control_planes(cluster, control_plane):
        yield Need(Right("list", resource, place))
        yield Need(Right("list", DEPLOYMENTS, place), "the mesh's version is not known")
    yield Need(Right("list", PODS), "where the mesh's version is not known, no pod tells it either")


def of_meshconfigs(cluster: Cluster, control_plane: str, *verbs: str) -> Iterator[Need]:
    """To do this to the MeshConfigs."""
    try:
        found = meshes.find(cluster, control_plane)
        places = [(meshes.resource(one), one.namespace, one.config_name) for one in found]
    except FsmError:
        places = [(*place, "") for place in control_planes(cluster, control_plane)]
    return (Need(Right(verb, *place)) for verb in verbs for place in places)


def of_namespaces(name: str) -> Need:
    """To see which mesh the namespace of this name is in, or where it is empty all."""
    right = Right("get", NAMESPACES, name, name) if name else Right("list", NAMESPACES)
    return Need(right, "every namespace counts as part of the mesh")


def of_owners(cluster: Cluster, scope: str, without: str = "what these own may stand alone") -> Iterator[Need]:
    """To list the workloads of a namespace, of all where it is empty."""
    others = (found for found in cluster.kinds() if found not in OWNERS)
    return (Need(Right("list", resource, scope), without) for resource in (*OWNERS, *others))


def of_looking(cluster: Cluster, control_plane: str, selection: Selection) -> Iterator[Need]:
    """To find the meshes, and in them what is selected."""
    yield from of_meshes(cluster, control_plane)
    yield from of_selection(cluster, selection)
    yield of_namespaces(selection.scope(cluster))


def of_selection(cluster: Cluster, selection: Selection) -> Iterator[Need]:
    """To find what is selected, and its pods."""
    scope = selection.scope(cluster)
    if not selection.names:
        yield Need(Right("list", PODS, scope))
        yield from of_owners(cluster, scope)
    for name in selection.names:
        yield from of_target(cluster, name, scope)


def of_target(cluster: Cluster, name: str, namespace: str) -> Iterator[Need]:
    """To find a pod or workload by name, its pods and its owners."""
    resource, plain = _named(cluster, name)
    yield Need(Right("get", resource, namespace, plain))
    if resource != PODS:
        yield Need(Right("list", PODS, namespace))
    if between := BETWEEN.get((resource.group, resource.kind)):
        yield Need(Right("get", between, namespace))
    yield from of_kin(cluster, resource, namespace)


def of_kin(cluster: Cluster, resource: Resource, namespace: str) -> Iterator[Need]:
    """To climb from the pods of such a workload, or from a pod, to whoever is above it.

    A CronJob has no selector: every pod of its namespace may be one of its own.
    """
    families = [[REPLICASETS, DEPLOYMENTS], [JOBS, CRONJOBS]]
    families[0] += [found for found in cluster.kinds() if (found.group, found.kind) in BETWEEN]
    others = [found for found in cluster.kinds() if found not in families[0]]
    everyone = [*families[0], *families[1], STATEFULSETS, DAEMONSETS, *others]
    kin = everyone if resource in (PODS, CRONJOBS) else next((one for one in families if resource in one), [resource])
    return (Need(Right("get", owner, namespace), "what these own counts as nobody's") for owner in kin)


# To edit


def of_mesh_survey(cluster: Cluster, control_plane: str) -> Iterator[Need]:
    """To see whom an edit of the mesh affects, where nothing may be passed over."""
    yield Need(Right("list", NAMESPACES))
    for scope in _scopes(cluster, control_plane):
        yield Need(Right("list", PODS, scope))
        yield from of_owners(cluster, scope, "")


def of_keepers(cluster: Cluster, without: str) -> Iterator[Need]:
    """To see whether Argo CD would take an edit back."""
    try:
        applications = cluster.resource_named("applications.argoproj.io")
    except NotFound:
        return
    yield Need(Right("list", applications), without)


def of_templates(
    cluster: Cluster, selection: Selection, workloads: Sequence[Workload] | None, *verbs: str
) -> Iterator[Need]:
    """To do this to the pod templates of the workloads that were `chosen`, and to see the pods of each."""
    scope, named = selection.scope(cluster), bool(selection.names)
    yield Need(Right("list", PODS, scope))
    held = [one.holder or one.top for one in workloads or ()]
    places = [(one.resource, fields.name(one.object) if named else "") for one in held]
    places = places if workloads is not None else [*_possible(cluster, selection)]
    for resource, name in places:
        yield from (Need(Right(verb, resource, scope, name)) for verb in verbs)
    for resource in dict.fromkeys([*(one.top.resource for one in workloads or ()), *(kind for kind, _ in places)]):
        yield from _of_ownership(resource, scope) if resource != PODS else ()


def chosen(cluster: Cluster, selection: Selection) -> Sequence[Workload] | None:
    """The workloads that a selection means; None where that cannot be read."""
    try:
        found = targets.chosen(cluster, Owners(cluster, readable_only=True), selection)
    except FsmError:
        return None
    return [subject.workload for subject in found.subjects]


# To roll


def of_rolling(turns: Sequence[Rolling], *, waits: bool) -> Iterator[Need]:
    """To begin rollouts, to watch them, and to say why one does not come to its end."""
    for turn in turns:
        resource, namespace, name, remedy = turn
        if remedy == RECREATE:
            yield from (Need(Right(verb, PODS, namespace, name)) for verb in ("get", "delete"))
            yield Need(Right("create", PODS, namespace))
        elif remedy == EVICT:
            yield Need(Right("create", PODS, namespace, subresource="eviction"))
        else:
            yield Need(Right("patch", resource, namespace, name))
        yield from of_watching(turn) if waits else [Need(Right("get", resource, namespace, name))]


def of_watching(turn: Rolling) -> Iterator[Need]:
    """To follow a rollout."""
    resource, namespace, name, remedy = turn
    of_one = [(PODS, namespace, name)] if remedy == RECREATE else [(resource, namespace, name), (PODS, namespace, "")]
    for place in of_one:
        yield from (Need(Right(verb, *place)) for verb in ("list", "watch"))
    yield from () if remedy == RECREATE else _of_ownership(resource, namespace)
    yield Need(Right("list", EVENTS, namespace), "why no pod could be made is not said")


def of_asking(namespace: str, without: str = "") -> Need:
    """To have the injector asked for a pod: a create of which nothing is kept."""
    return Need(Right("create", PODS, namespace), without)


def possible(cluster: Cluster, selection: Selection, remedies: Collection[str] = ()) -> Iterator[Rolling]:
    """What a selection that cannot be read may roll."""
    scope = selection.scope(cluster)
    for resource, name in _possible(cluster, selection):
        if resource == PODS:
            yield from [Rolling(resource, scope, name, RECREATE)] if RECREATE in remedies else ()
        elif resource != CRONJOBS:
            yield from [Rolling(resource, scope, name, EVICT)] if EVICT in remedies else ()
            rolls = resource in _ROLLED or (resource.group, resource.kind) in BETWEEN
            yield from [Rolling(resource, scope, name)] if rolls else ()


def unread(cluster: Cluster, selection: Selection) -> str:
    """What to say of rights for what is `possible`; empty where every workload is named."""
    known = selection.names and all(_named(cluster, name)[0] != PODS for name in selection.names)
    return "" if known else "what is meant cannot be read, so they are for whatever it may be"


def of_template_rolling(
    cluster: Cluster, selection: Selection, workloads: Sequence[Workload] | None, *, restarts: bool
) -> Sequence[Rolling]:
    """What edits of pod templates roll and wait for: of a single one that is up to its controller, unless it `restarts`."""
    if not restarts and len(selection.names if workloads is None else workloads) == 1:
        return ()
    if workloads is None:
        return [*possible(cluster, selection)]
    waited = [
        one.top
        for one in workloads
        if rollouts.restart_field(one.top.object) and (restarts or one.holder == one.top) and not one.refusal
    ]
    scope = selection.scope(cluster)
    return [Rolling(top.resource, scope, fields.name(top.object) if selection.names else "") for top in waited]


def of_mesh_rolling(cluster: Cluster, control_plane: str) -> Sequence[Rolling]:
    """What may be rolled after an edit of the mesh."""
    scopes = _scopes(cluster, control_plane)
    try:
        subjects = survey.of_mesh(cluster, meshes.only(meshes.find(cluster, control_plane)))
    except FsmError:
        return [Rolling(resource, scope) for resource in _ROLLED for scope in scopes]
    tops = [subject.workload.top for subject in subjects if rollouts.restart_field(subject.workload.top.object)]
    return sorted({Rolling(top.resource, top.namespace if top.namespace in scopes else "") for top in tops})


# What there is


def control_planes(cluster: Cluster, control_plane: str) -> Sequence[tuple[Resource, str]]:
    """The kinds of MeshConfig that are served, each with the namespace in which one is to be expected."""
    versions = cluster.gather(*(partial(cluster.preferred_version, group) for group in meshes.GROUPS))
    served = [found for found in zip(meshes.GROUPS, versions, strict=True) if found[1]]
    return [
        (meshes.meshconfigs(group, version), control_plane or _SYSTEM_NAMESPACES[group]) for group, version in served
    ]


def _of_ownership(resource: Resource, namespace: str) -> Iterator[Need]:
    """To tell a workload's own pods, also those that are made while one looks, from others."""
    between = BETWEEN.get((resource.group, resource.kind))
    owners = OWNERS if resource == CRONJOBS else (between, resource)
    return (Need(Right("get", owner, namespace)) for owner in owners if owner)


def _scopes(cluster: Cluster, control_plane: str) -> Sequence[str]:
    """The namespaces of the one mesh that is meant, as they are listed; all of the cluster where that cannot be read."""
    try:
        installation = meshes.only(meshes.find(cluster, control_plane))
        return survey.scopes(cluster, survey.meshed(cluster, installation))
    except FsmError:
        return [""]


def _named(cluster: Cluster, name: str) -> tuple[Resource, str]:
    kind, slash, plain = name.rpartition("/")
    return cluster.resource_named(kind) if slash else PODS, plain


def _possible(cluster: Cluster, selection: Selection) -> Iterator[tuple[Resource, str]]:
    """What a selection may mean, as kinds and names: the workloads that are named, for pods and all else every kind."""
    named = [_named(cluster, name) for name in selection.names]
    yield from (one for one in named if one[0] != PODS)
    if not named or PODS in [kind for kind, _ in named]:
        others = (found for found in cluster.kinds() if found not in _TEMPLATES)
        yield from ((resource, "") for resource in (*_TEMPLATES, *others))
