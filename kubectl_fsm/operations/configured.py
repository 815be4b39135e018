"""What is configured anywhere: MeshConfigs, pod templates, stray pod annotations, FSM's own exclusions of Services."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import exclusions, fields, workloads
from kubectl_fsm.cluster.interface import SERVICES, Cluster
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import YES
from kubectl_fsm.meshes import FSM, LISTS, ExclusionList, Installation, Item
from kubectl_fsm.operations import meshes, survey
from kubectl_fsm.operations.annotations import LIST_KEYS
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.ownership import writers
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import Configured, ConfiguredObject, Writer

SERVICE_EXCLUSION = FSM.prefix + "service-exclusion"
SERVICE_EXCLUSION_LIST = FSM.prefix + "service-exclusion-list"


class Collected(NamedTuple):
    """What is configured, and which kinds could not be read."""

    items: Sequence[ConfiguredObject]
    unreadable: Sequence[str]


def collect(
    cluster: Cluster, installations: Sequence[Installation], namespace: str, *, narrowed: bool = False
) -> Collected:
    """Everything that configures exclusions: all meshes, and the workloads of a namespace (all where it is empty).

    With `narrowed` there may be other meshes than these: what is in their namespaces is theirs.
    """
    owners = Owners(cluster, readable_only=True)
    subjects, services, namespaces = cluster.gather(
        lambda: survey.subjects(cluster, owners, namespace),
        lambda: _services(cluster, namespace),
        lambda: meshes.namespaces(cluster, namespace),
    )
    found = [_global(installation) for installation in installations if installation.config]
    for subject in subjects:
        own = namespaces.get(subject.workload.namespace)
        if narrowed and meshes.is_elsewhere(installations, own):
            continue
        installation = meshes.of_pod(installations, own, *subject.pods) or installations[0]
        found += [*_template(subject, installation), *_strays(subject, installation)]
    unreadable = [*owners.unreadable, *([SERVICES.qualified] if services is None else [])]
    if any(installation.mesh is FSM for installation in installations):
        found += _left_out(services or (), namespaces)
    return Collected(found, unreadable)


def _services(cluster: Cluster, namespace: str) -> Sequence[Object] | None:
    try:
        return list(cluster.list(SERVICES, namespace))
    except Forbidden:
        return None


def _global(installation: Installation) -> ConfiguredObject:
    config = installation.config
    entries = [
        Configured(found.name, str(value), _oddity(found, value))
        for found in LISTS
        for value in exclusions.raw_values(found, installation.spec)
    ]
    missing = [found.field for found in meshes.missing_lists(installation)]
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
    return _refused(exclusion_list, str(value))


def _template(subject: Subject, installation: Installation) -> Iterator[ConfiguredObject]:
    holder = subject.workload.holder
    if holder is None or subject.workload.bare:
        return
    path = (*(workloads.template_path(holder.object) or ()), "metadata", "annotations")
    annotations = fields.annotations(subject.template)
    if entries := list(_annotated(annotations, installation)):
        paths = {LIST_KEYS[key].name: (*path, key) for key in annotations if key in LIST_KEYS}
        yield ConfiguredObject("template", holder.label, holder.namespace, entries, _writers(holder.object, paths))


def _strays(subject: Subject, installation: Installation) -> Iterator[ConfiguredObject]:
    """Annotations on pods that their template does not have, and those of bare pods."""
    workload = subject.workload
    kept = {} if workload.bare or workload.template is None else fields.annotations(workload.template)
    for pod in subject.pods:
        own = {key: text for key, text in fields.annotations(pod).items() if key in LIST_KEYS and kept.get(key) != text}
        if own and not workload.unseen:
            note = "a bare pod" if workload.bare else f"not on {workload.label}'s template; goes with the pod"
            paths = {LIST_KEYS[key].name: ("metadata", "annotations", key) for key in own}
            entries = list(_annotated(own, installation))
            name, namespace = f"pod/{fields.name(pod)}", fields.namespace(pod)
            yield ConfiguredObject("pod", name, namespace, entries, _writers(pod, paths), note)


def _annotated(annotations: Mapping[str, str], installation: Installation) -> Iterator[Configured]:
    """The items of every annotation that is, or looks like, a list of exclusions."""
    for key, exclusion_list in LIST_KEYS.items():
        if key not in annotations:
            continue
        note = ""
        if not key.startswith(installation.mesh.prefix):
            note = f"does nothing under {installation.mesh.title}: the key {key} is another mesh's"
        elif exclusion_list not in installation.injector.pod_lists:
            note = f"does nothing: injector {installation.injector.name} does not read it"
        bad = exclusions.bad_items(exclusion_list, annotations[key])
        for value in exclusions.items(annotations[key]):
            wrong = "the injector refuses the pod for it" if value in bad else _refused(exclusion_list, value)
            yield Configured(exclusion_list.name, value, note or wrong)


def _refused(exclusion_list: ExclusionList, value: str) -> str:
    wrong = exclusions.value_problem(exclusion_list, value)
    return f"keeps new pods from starting, or is not safe: {wrong}" if wrong else ""


def _left_out(services: Sequence[Object], namespaces: Mapping[str, Object]) -> Iterator[ConfiguredObject]:
    """What FSM leaves out of routing without any iptables rule."""
    for service in services:
        value = fields.annotations(service).get(SERVICE_EXCLUSION)
        if value is not None:
            does = "leaves it out of routing, without a rule" if value.lower() in YES else "does not act on this value"
            yield _excluded("service", f"svc/{fields.name(service)}", service, SERVICE_EXCLUSION, f"FSM {does}")
    for namespace in namespaces.values():
        if SERVICE_EXCLUSION_LIST in fields.annotations(namespace):
            note = "FSM leaves these Services out of routing, without a rule"
            yield _excluded("namespace", f"ns/{fields.name(namespace)}", namespace, SERVICE_EXCLUSION_LIST, note)


def left_out(service: Object, namespace: Object | None) -> str:
    """The annotation by which FSM leaves a Service out of routing; empty where none does."""
    if fields.annotations(service).get(SERVICE_EXCLUSION, "").lower() in YES:
        return f"svc/{fields.name(service)} is annotated {SERVICE_EXCLUSION}"
    listed = fields.annotations(namespace).get(SERVICE_EXCLUSION_LIST, "") if namespace else ""
    if fields.name(service) in (name.strip() for name in listed.split(",")):
        return f"ns/{fields.namespace(service)} is annotated {SERVICE_EXCLUSION_LIST}: {listed}"
    return ""


def _excluded(scope: str, label: str, obj: Object, key: str, note: str) -> ConfiguredObject:
    entries = [Configured("service", fields.annotations(obj)[key])]
    written = _writers(obj, {"service": ("metadata", "annotations", key)})
    return ConfiguredObject(scope, label, fields.namespace(obj), entries, written, f"annotation {key}: {note}")


def _writers(obj: Object, paths: Mapping[str, tuple[str, ...]]) -> Mapping[str, Writer]:
    """Who wrote each list last, by its name."""
    found = {name: writers(obj, path) for name, path in paths.items()}
    return {name: known[0] for name, known in found.items() if known}
