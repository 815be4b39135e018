"""Which meshes a cluster has, and which of them a namespace belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from kubectl_fsm import fields, interception, workloads
from kubectl_fsm.cluster.interface import DEPLOYMENTS, NAMESPACES, PODS, Cluster, Resource
from kubectl_fsm.errors import Forbidden, InvalidObject, MeshError, NotFound, RulesSyntaxError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import (
    FSM,
    MESHES,
    ExclusionList,
    Injector,
    Installation,
    Mesh,
    Release,
    family,
)

GROUPS = tuple(dict.fromkeys(mesh.group for mesh in MESHES))
"""API groups of MeshConfigs; a cluster serves those of the meshes that it has, or had."""
_FORMER_MODE, _BESIDE_FORMER = "iptables", ("ebpf", "none")
"""The mode that adds the init container in releases before FSM 1.5, and the others that they have."""
_INJECTORS = f"app in ({','.join(dict.fromkeys(mesh.injector_app for mesh in MESHES))})"


def find(cluster: Cluster, control_plane: str = "") -> Sequence[Installation]:
    """Every mesh of the cluster; only the one in namespace `control_plane` where that is given.

    Raises `MeshError` where there is none, saying what was looked for.
    """
    *versions, injectors = cluster.gather(
        *(partial(cluster.preferred_version, group) for group in GROUPS),
        partial(_injectors, cluster, control_plane),
    )
    found = [
        _installation(cluster, group, config, injectors)
        for group, version in zip(GROUPS, versions, strict=True)
        if version
        for config in _meshconfigs(cluster, group, version, control_plane)
    ]
    if found or not cluster.remote:
        return found or [_assumed(cluster)]
    served = {group: version for group, version in zip(GROUPS, versions, strict=True) if version}
    if served:
        seen = ", ".join(f"{group}/{version}" for group, version in served.items())
        lists = " and ".join(f"kubectl get meshconfigs.{group} -A" for group in served)
        raise MeshError(
            f"no MeshConfig in {f'namespace {control_plane}' if control_plane else 'any namespace'} ({seen} is served)",
            f"see where there is one: {lists}" if control_plane else "check --context, or install the mesh first",
        )
    raise MeshError(
        f"{cluster.origin} has no FSM, osm-edge or OSM: neither {' nor '.join(GROUPS)} is served",
        "check --context, or install the mesh first",
    )


def only(installations: Sequence[Installation]) -> Installation:
    """The one mesh that is meant as a whole. Raises `MeshError` where there are several, listing them, or none in files."""
    if not installations[0].config:
        raise MeshError("there is no MeshConfig in the files", "name the file that has it with -f")
    if len(installations) == 1:
        return installations[0]
    seen = ", ".join(f"{found.mesh.name} in {found.namespace}" for found in installations)
    raise MeshError(f"the cluster has {len(installations)} meshes: {seen}", "name the one you mean with -N NAMESPACE")


def namespaces(cluster: Cluster, name: str) -> Mapping[str, Object]:
    """The Namespace object of that name, or all where it is empty; those that may be read and are there."""
    return readable_namespaces(cluster, name) or {}


def readable_namespaces(cluster: Cluster, name: str) -> Mapping[str, Object] | None:
    """The same; None without the right to read them."""
    try:
        found = [cluster.get(NAMESPACES, name)] if name else cluster.list(NAMESPACES)
        return {fields.name(namespace): namespace for namespace in found}
    except Forbidden:
        return None
    except NotFound:
        return {}


def of_namespace(installations: Sequence[Installation], namespace: Object | None) -> Installation | None:
    """The mesh that a namespace's label names; None where it names none of these.

    A mesh whose name is not known (its control plane does not show it) is meant by any label of its family.
    """
    labels = fields.labels(namespace) if namespace else {}
    candidates = [found for found in installations if found.mesh.monitored_label in labels]
    named = [found for found in candidates if found.name == labels[found.mesh.monitored_label]]
    if named:
        return named[0]
    unnamed = [found for found in candidates if not found.name]
    return unnamed[0] if len(unnamed) == 1 else None


def is_elsewhere(installations: Sequence[Installation], namespace: Object | None) -> bool:
    """Whether a namespace's label names a mesh, and none of these."""
    labels = fields.labels(namespace) if namespace else {}
    return any(mesh.monitored_label in labels for mesh in MESHES) and of_namespace(installations, namespace) is None


def of_pod(installations: Sequence[Installation], namespace: Object | None, *pods: Object) -> Installation | None:
    """The mesh of pods of one workload: their namespace's, else the one whose marks they carry, else the only one.

    None where there are several and nothing tells which.
    """
    named = of_namespace(installations, namespace)
    if named:
        return named
    marked = [found for found in installations if any(_carries_marks(pod, found.mesh) for pod in pods)]
    candidates = marked or installations
    return candidates[0] if len(candidates) == 1 else None


def of_workload(
    installations: Sequence[Installation], namespace: Object | None, label: str, pods: Sequence[Object]
) -> Installation:
    """The mesh of a workload that is to be edited. Raises `MeshError` where it could be one of several."""
    found = of_pod(installations, namespace, *pods)
    if found:
        return found
    seen = ", ".join(f"{known.mesh.name} in {known.namespace}" for known in installations)
    raise MeshError(f"nothing tells which mesh {label} belongs to: {seen}", "name it with -N NAMESPACE")


def resource(installation: Installation) -> Resource:
    """Where the installation's MeshConfig is kept, in the version in which it was read."""
    group, _, version = fields.text(installation.config, "apiVersion").partition("/")
    return meshconfigs(group, version)


def spec(cluster: Cluster, installation: Installation) -> Object:
    """The MeshConfig's spec as it is now."""
    if not installation.config:
        return {}
    return fields.part(cluster.get(resource(installation), installation.config_name, installation.namespace), "spec")


def missing_lists(installation: Installation) -> Sequence[ExclusionList]:
    """The lists that its injector reads and its MeshConfig has not, or as null."""
    traffic = fields.mapping(installation.config, "spec", "traffic")
    return [found for found in installation.injector.lists if traffic.get(found.field) is None]


def _carries_marks(pod: Object, mesh: Mesh) -> bool:
    return mesh.uuid_label in fields.labels(pod) or interception.carries(pod, mesh)


def _in_control_planes(cluster: Cluster, resource: Resource, namespace: str, selector: str = "") -> Sequence[Object]:
    """Objects in one namespace or all; without the right to list all, those in the usual control planes' namespaces."""
    try:
        return list(cluster.list(resource, namespace, selector))
    except Forbidden:
        if namespace:
            raise
        usual = sorted({mesh.system_namespace for mesh in MESHES})
        listed = [_readable(cluster, resource, place, selector) for place in usual]
        if all(found is None for found in listed):
            raise
        return [obj for found in listed for obj in found or ()]


def _readable(cluster: Cluster, resource: Resource, namespace: str, selector: str = "") -> Sequence[Object] | None:
    """Objects of one namespace; None without the right to list them."""
    try:
        return list(cluster.list(resource, namespace, selector))
    except Forbidden:
        return None


def _injectors(cluster: Cluster, control_plane: str) -> Sequence[Object]:
    """The injectors' Deployments that may be read: without them the version is guessed from what else is there."""
    try:
        return _in_control_planes(cluster, DEPLOYMENTS, control_plane, _INJECTORS)
    except Forbidden:
        return ()


def _meshconfigs(cluster: Cluster, group: str, version: str, namespace: str) -> Sequence[Object]:
    """The group's MeshConfigs; of several in one namespace the one with the usual name, which is the one that is read.

    Another kind may keep a group alive that has no MeshConfigs any more.
    """
    try:
        found = _in_control_planes(cluster, meshconfigs(group, version), namespace)
    except NotFound:
        return ()
    usual = {mesh.meshconfig for mesh in MESHES if mesh.group == group}
    named = {fields.namespace(config) for config in found if fields.name(config) in usual}
    return [config for config in found if fields.name(config) in usual or fields.namespace(config) not in named]


def meshconfigs(group: str, version: str) -> Resource:
    """The MeshConfig kind of an API group."""
    return Resource(group, version, "MeshConfig", "meshconfigs")


def _installation(cluster: Cluster, group: str, config: Object, injectors: Sequence[Object]) -> Installation:
    namespace = fields.namespace(config)
    apps = {mesh.injector_app for mesh in MESHES if mesh.group == group}
    deployment = next(
        (
            found
            for found in injectors
            if fields.namespace(found) == namespace and fields.labels(found).get("app") in apps
        ),
        None,
    )
    image = _image(deployment) if deployment else ""
    labels = fields.labels(deployment) if deployment else {}
    version = labels.get("app.kubernetes.io/version", "").removeprefix("v")
    mesh = family(group, image, version, fields.part(config, "spec"))
    name = labels.get("meshName", "")
    if version:
        return Installation(mesh, name, namespace, version, mesh.release(version), config)
    release, note = _guess(cluster, mesh, config)
    return Installation(mesh, name, namespace, "", release, config, note)


def _guess(cluster: Cluster, mesh: Mesh, config: Object) -> tuple[Release, str]:
    """The release of a mesh whose control plane does not show its version: by the mode, and by a running pod's rules."""
    mode = fields.text(config, "spec", "traffic", "interceptionMode")
    fitting = _fitting(mesh, mode)
    writers = _writers_of_a_pod(cluster, mesh) if cluster.remote else ()
    release = next((found for found in fitting if found.injector in writers), fitting[0])
    fits = "its pods' rules" if release.injector in writers else "the MeshConfig"
    return release, f"{mesh.title}'s version is not shown; read as injector {release.injector.name}, which fits {fits}"


def _fitting(mesh: Mesh, mode: str) -> Sequence[Release]:
    """The releases that may read a MeshConfig with this mode, newest first; one without a mode may be older than modes."""
    if not mode:
        return [release for release in mesh.releases if release.mode is None] or mesh.releases
    known = _FORMER_MODE if mode in _BESIDE_FORMER else mode
    named = [release for release in mesh.releases if release.mode is not None]
    return [release for release in named if known in (release.mode, *release.modes)] or named


def _writers_of_a_pod(cluster: Cluster, mesh: Mesh) -> Sequence[Injector]:
    """The generations that may have written the rules of the first pod that has some."""
    try:
        for pod in cluster.list(PODS, "", mesh.uuid_label):
            with suppress(RulesSyntaxError):
                running = interception.running(pod, mesh)
                if running and running.injectors:
                    return running.injectors
    except Forbidden:
        pass
    return ()


def _image(deployment: Object) -> str:
    path = ("spec", "template", "spec", "containers")
    return fields.text(deployment, *path, 0, "image") if fields.items(deployment, *path) else ""


def _assumed(cluster: Cluster) -> Installation:
    """What files without a MeshConfig are read with: the mesh of which their keys speak, FSM unless it is clearly another."""
    keys = {key for resource in cluster.kinds() for obj in cluster.list(resource) for key in _keys(obj)}
    spoken = [mesh for mesh in MESHES if any(key.startswith(mesh.prefix) for key in keys)]
    mesh = spoken[0] if spoken else FSM
    release = mesh.releases[0]
    shown = ".".join(map(str, release.first[:2]))
    note = f"no MeshConfig in the files: read as {mesh.title} {shown} with empty global lists"
    return Installation(mesh, "", mesh.system_namespace, "", release, {}, note)


def _keys(obj: Object) -> Iterator[str]:
    """The labels and annotations of an object and of its pod template; nothing of what cannot be read."""
    with suppress(InvalidObject):
        for one in (obj, workloads.template(obj) or {}):
            yield from (*fields.labels(one), *fields.annotations(one))
