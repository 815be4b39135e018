"""What is configured anywhere: MeshConfigs, pod templates, stray pod annotations, FSM's own exclusions of Services."""

from collections.abc import Iterator, Mapping, Sequence

from kubectl_fsm import exclusions, fields, workloads
from kubectl_fsm.cluster.interface import JOBS, PODS, REPLICASETS, SERVICES, Cluster
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import FSM, LISTS, MESHES, ExclusionList, Installation, Item
from kubectl_fsm.operations import meshes
from kubectl_fsm.operations.owners import Owners, Workload
from kubectl_fsm.operations.ownership import writers
from kubectl_fsm.reports import Configured, ConfiguredObject

SERVICE_EXCLUSION = FSM.prefix + "service-exclusion"
SERVICE_EXCLUSION_LIST = FSM.prefix + "service-exclusion-list"

_KEYS: Mapping[str, ExclusionList] = {
    prefix + found.annotation: found
    for prefix in sorted({mesh.prefix for mesh in MESHES})
    for found in LISTS
    if found.annotation
}


def collect(cluster: Cluster, installations: Sequence[Installation], namespace: str) -> Sequence[ConfiguredObject]:
    """Everything that configures exclusions: all meshes, and the workloads of a namespace (all where it is empty)."""
    owners = Owners(cluster, readable_only=True)
    pods, services, namespaces, _ = cluster.gather(
        lambda: [pod for pod in cluster.list(PODS, namespace) if not workloads.finished(pod)],
        lambda: list(cluster.list(SERVICES, namespace)),
        lambda: meshes.namespaces(cluster, namespace),
        lambda: owners.prefetch(namespace),
    )
    climbed = [(pod, owners.of(PODS, pod)) for pod in pods]
    found = [_global(installation) for installation in installations]
    found += _templates(owners, installations, namespaces, namespace)
    found += _strays(climbed, installations, namespaces)
    if any(installation.mesh is FSM for installation in installations):
        found += _services(services, namespaces)
    return found


def _global(installation: Installation) -> ConfiguredObject:
    config = installation.config
    traffic = fields.mapping(config, "spec", "traffic")
    entries = [
        Configured(found.name, str(value), _oddity(found, value))
        for found in LISTS
        for value in exclusions.raw_values(found, installation.spec)
    ]
    missing = [found.field for found in installation.injector.lists if traffic.get(found.field) is None]
    notes = [f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing or null"] if missing else []
    if not installation.intercepts:
        notes.append(f"not used: interceptionMode {installation.mode or '(none)'} adds no init container")
    paths = {found.name: ("spec", "traffic", found.field) for found in LISTS}
    return ConfiguredObject(
        scope="global",
        object=f"MeshConfig/{installation.config_name}",
        namespace=installation.namespace,
        entries=entries,
        writers=_writers(config, paths),
        note="; ".join([*notes, *([installation.note] if installation.note else [])]),
    )


def _oddity(exclusion_list: ExclusionList, value: object) -> str:
    """What is wrong with a stored value; empty where nothing is."""
    wanted = int if exclusion_list.item is Item.PORT else str
    if not isinstance(value, wanted) or isinstance(value, bool):
        return f"not a {exclusion_list.item.value}"
    wrong = exclusions.value_problem(exclusion_list, str(value))
    return f"refused by iptables: {wrong}" if wrong else ""


def _templates(
    owners: Owners, installations: Sequence[Installation], namespaces: Mapping[str, Object], scope: str
) -> Iterator[ConfiguredObject]:
    located = [found for found in owners.known() if found.resource not in (PODS, JOBS, REPLICASETS)]
    for found in sorted(located, key=lambda item: (item.namespace, item.label)):
        path = workloads.template_path(found.object)
        if path and not workloads.controller(found.object) and scope in ("", found.namespace):
            annotations = fields.texts(found.object, *path, "metadata", "annotations")
            installation = meshes.of_pod(installations, namespaces.get(found.namespace), found.object)
            entries = list(_annotated(annotations, installation))
            if entries:
                paths = {
                    _KEYS[key].name: (*path, "metadata", "annotations", key) for key in annotations if key in _KEYS
                }
                yield ConfiguredObject("template", found.label, found.namespace, entries, _writers(found.object, paths))


def _strays(
    climbed: Sequence[tuple[Object, Workload]],
    installations: Sequence[Installation],
    namespaces: Mapping[str, Object],
) -> Iterator[ConfiguredObject]:
    """Annotations on pods that their template does not have, and those of bare pods."""
    for pod, workload in climbed:
        kept = {} if workload.bare else fields.annotations(workload.template or {})
        own = {key: text for key, text in fields.annotations(pod).items() if key in _KEYS and kept.get(key) != text}
        if own:
            installation = meshes.of_pod(installations, namespaces.get(fields.namespace(pod)), pod)
            note = "a bare pod" if workload.bare else f"not on {workload.label}'s template; goes with the pod"
            paths = {_KEYS[key].name: ("metadata", "annotations", key) for key in own}
            entries = list(_annotated(own, installation))
            name = f"pod/{fields.name(pod)}"
            yield ConfiguredObject("pod", name, fields.namespace(pod), entries, _writers(pod, paths), note)


def _annotated(annotations: Mapping[str, str], installation: Installation) -> Iterator[Configured]:
    """The items of every annotation that is, or looks like, a list of exclusions."""
    for key, exclusion_list in _KEYS.items():
        if key not in annotations:
            continue
        note = ""
        if not key.startswith(installation.mesh.prefix):
            note = f"does nothing under {installation.mesh.title}: the key {key} is another mesh's"
        elif exclusion_list not in installation.injector.pod_lists:
            note = f"does nothing: injector {installation.injector.name} does not read it"
        for item in annotations[key].split(","):
            value = exclusions.trim(item)
            yield Configured(exclusion_list.name, value, note or _annotation_oddity(exclusion_list, value))


def _annotation_oddity(exclusion_list: ExclusionList, value: str) -> str:
    port = exclusions.atoi(value)
    good = port is not None and port > 0 if exclusion_list.item is Item.PORT else exclusions.is_cidr(value)
    if not good:
        return "the injector refuses the pod for it"
    wrong = exclusions.value_problem(exclusion_list, value)
    return f"refused by iptables: {wrong}" if wrong else ""


def _services(services: Sequence[Object], namespaces: Mapping[str, Object]) -> Iterator[ConfiguredObject]:
    """What FSM leaves out of routing without any iptables rule."""
    for scope, objects, key in (
        ("service", services, SERVICE_EXCLUSION),
        ("namespace", namespaces.values(), SERVICE_EXCLUSION_LIST),
    ):
        for found in objects:
            value = fields.annotations(found).get(key)
            if value is not None:
                label = f"{'svc' if scope == 'service' else 'ns'}/{fields.name(found)}"
                written = _writers(found, {"service": ("metadata", "annotations", key)})
                note = f"by annotation {key}; FSM leaves it out of routing, without a rule"
                yield ConfiguredObject(
                    scope, label, fields.namespace(found), [Configured("service", value)], written, note
                )


def _writers(obj: Object, paths: Mapping[str, tuple[str, ...]]) -> Mapping[str, str]:
    """Who wrote each list last, by its name."""
    found = {name: writers(obj, path) for name, path in paths.items()}
    return {name: names[0] for name, names in found.items() if names}
