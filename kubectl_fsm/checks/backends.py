"""Services and the workloads behind them, found by labels; what is read for it is read once for a scene."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from kubectl_fsm import fields, workloads
from kubectl_fsm.checks.views import Scene, WorkloadView, by_namespace
from kubectl_fsm.cluster.interface import NAMESPACES, SERVICES
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.fields import Object
from kubectl_fsm.operations import instances, meshes, survey
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.survey import Subject

_Key = TypeVar("_Key")
_Thing = TypeVar("_Thing")
_Label = tuple[str, str]


def services(scene: Scene, namespace: str) -> Sequence[Object]:
    """The Services of a namespace. Raises `Forbidden`."""
    return scene.list(SERVICES, namespace) if scene.scope else scene.once(_services).get(namespace, ())


def selecting(view: WorkloadView) -> Sequence[Object]:
    """The Services that select a workload's pods. Raises `Forbidden`."""
    labels = fields.labels(view.template)
    selectors = _selectors(view.scene, view.workload.namespace)
    candidates = [one for label in labels.items() for one in selectors.get(label, ())]
    return [service for selector, service in candidates if selector.items() <= labels.items()]


def targets(service: Object, view: WorkloadView) -> Iterator[tuple[int, int]]:
    """The TCP ports of a Service, each with the one that it leads to at the workload's pods."""
    for index in range(len(fields.items(service, "spec", "ports"))):
        number, target = (
            fields.number(service, "spec", "ports", index, "port"),
            instances.target_port(service, index, view.template),
        )
        if number and target:
            yield number, target


def behind(scene: Scene, service: Object) -> Sequence[WorkloadView]:
    """The workloads whose pods a Service leads to: those that it selects and that have pods all the time."""
    selector = fields.texts(service, "spec", "selector")
    known = _labelled(scene, fields.namespace(service))
    fewest: Sequence[WorkloadView] = min((known.get(label, ()) for label in selector.items()), key=len, default=())
    return [
        view
        for view in fewest
        if selector.items() <= fields.labels(view.template).items() and instances.runs(view.subject)
    ]


def pod_address(scene: Scene, service: Object) -> str:
    """The address of the first pod behind a Service; empty where none is looked at that has one. Raises `InvalidObject`."""
    if not _is_at_hand(scene, fields.namespace(service)):
        return ""
    pods = (pod for view in behind(scene, service) for pod in view.subject.pods if workloads.lives(pod))
    return next(filter(None, map(instances.address_of, pods)), "")


@lru_cache(maxsize=256)
def _selectors(scene: Scene, namespace: str) -> Mapping[_Label, Sequence[tuple[Mapping[str, str], Object]]]:
    """The Services of a namespace by the first label that they ask for, each with its selector."""
    found = services(scene, namespace)
    selectors = [(fields.texts(service, "spec", "selector"), service) for service in found]
    return _grouped((next(iter(one[0].items())), one) for one in selectors if one[0])


def _services(scene: Scene) -> Mapping[str, Sequence[Object]]:
    """All Services by namespace."""
    return _grouped((fields.namespace(service), service) for service in scene.list(SERVICES))


@lru_cache(maxsize=256)
def _labelled(scene: Scene, namespace: str) -> Mapping[_Label, Sequence[WorkloadView]]:
    """The workloads of a namespace by each label of their pods."""
    at_hand = _is_at_hand(scene, namespace)
    views = scene.once(by_namespace).get(namespace, ()) if at_hand else [*_read(scene, namespace)]
    return _grouped((label, view) for view in views for label in fields.labels(view.template).items())


def _is_at_hand(scene: Scene, namespace: str) -> bool:
    """Whether all workloads of a namespace are looked at."""
    return scene.whole and scene.scope in ("", namespace)


def _read(scene: Scene, namespace: str) -> Iterator[WorkloadView]:
    """The workloads of a namespace that is not looked at; of a cluster just what has a pod template, if it is in a mesh."""
    place = scene.once(namespaces).get(namespace)
    if scene.cluster.remote and meshes.of_namespace(scene.installations, place) is None:
        return
    owners = Owners(scene.cluster, readable_only=True)
    found = _templates(owners, namespace) if scene.cluster.remote else survey.subjects(scene.cluster, owners, namespace)
    for subject in found:
        installation = meshes.of_pod(scene.installations, place, *subject.pods) or scene.installations[0]
        yield WorkloadView(scene, installation, subject, place)


def _templates(owners: Owners, namespace: str) -> Iterator[Subject]:
    owners.prefetch(namespace)
    for located in owners.known():
        workload = owners.of(located.resource, located.object)
        if workload.holder and workload.holder.object is located.object and not workloads.completed(located.object):
            yield Subject(workload, [])


def namespaces(scene: Scene) -> Mapping[str, Object]:
    """All namespaces; without the right to list them what is known of them."""
    try:
        return {fields.name(one): one for one in scene.list(NAMESPACES)}
    except Forbidden:
        return scene.namespaces


def _grouped(pairs: Iterable[tuple[_Key, _Thing]]) -> Mapping[_Key, list[_Thing]]:
    found: dict[_Key, list[_Thing]] = {}
    for key, thing in pairs:
        found.setdefault(key, []).append(thing)
    return found
