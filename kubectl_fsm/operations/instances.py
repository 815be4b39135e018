"""Pods as ends of a connection: those that run, and where none does the ones that a workload would make."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import filterfalse
from typing import NamedTuple

from kubectl_fsm import fields, services, workloads
from kubectl_fsm.cluster.interface import ENDPOINT_SLICES, PODS, Cluster
from kubectl_fsm.errors import Forbidden, InvalidObject, NotFound
from kubectl_fsm.exclusions import is_ipv4
from kubectl_fsm.fields import Object, Step
from kubectl_fsm.meshes import MESHES
from kubectl_fsm.operations import survey
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.services import Client

_MOST_REPLICAS = 250
"""How many pods a workload in files is taken to have, at most: more would say nothing new."""
_SOME_NODE = "a node"
"""The name, which none has, of the node of a pod to come, where only those on the client's node count."""
_SIDECARS = [mesh.sidecar for mesh in MESHES]
"""No set: a name that somebody made a list has no hash."""


class Instance(NamedTuple):
    """A pod, or one that a workload would make (`pod` is None). `assumed`: the address is a stand-in for one not known."""

    subject: Subject
    pod: Object | None
    address: str
    assumed: bool

    @property
    def title(self) -> str:
        return f"pod/{fields.name(self.pod)}" if self.pod is not None else self.subject.workload.label

    @property
    def namespace(self) -> str:
        return self.subject.workload.namespace

    @property
    def object(self) -> Object:
        """The pod, or what the pod to come is made from."""
        return self.pod if self.pod is not None else self.subject.template

    @property
    def client(self) -> Client:
        """What `services.route` asks about who dials."""
        return Client("" if self.assumed else self.address, fields.text(self.object, "spec", "nodeName"))


class StandIns:
    """Addresses for what has none in files: of the range that most clusters give to pods, the same one each time.

    They are of that range's end, where the pods that do have addresses are the last to come.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """`taken` are addresses that mean somebody else."""
        self._given: dict[tuple[str, int], str] = {}
        free = (f"10.244.{block}.{host}" for block in range(255, -1, -1) for host in range(2, 252))
        self._free = filterfalse(frozenset(taken).__contains__, free)

    def of(self, subject: Subject, number: int) -> str:
        """The address of a workload's pod number so and so: the same one each time."""
        pod = subject.workload.uid, number
        if pod not in self._given:
            self._given[pod] = next(self._free)
        return self._given[pod]

    @property
    def service(self) -> str:
        """The ClusterIP of the Service that is dialled."""
        return "10.96.255.1"


def of_subject(subject: Subject, stand_ins: StandIns) -> Sequence[Instance]:
    """A workload's pods that live, or those that it would make."""
    alive = [pod for pod in subject.pods if workloads.lives(pod)]
    if alive:
        return [_instance(subject, pod, number, stand_ins) for number, pod in enumerate(alive)]
    count = max(1, min(workloads.replicas(subject.workload.top.object) or 1, _MOST_REPLICAS))
    return [Instance(subject, None, stand_ins.of(subject, number), assumed=True) for number in range(count)]


def _instance(subject: Subject, pod: Object, number: int, stand_ins: StandIns) -> Instance:
    ipv4 = address_of(pod)
    return Instance(subject, pod, ipv4 or stand_ins.of(subject, number), assumed=not ipv4)


def address_of(pod: Object) -> str:
    """The pod's IPv4 address; empty where it has none. Raises `InvalidObject` for what is no address at all."""
    several = range(len(fields.items(pod, "status", "podIPs")))
    for path in (("status", "podIP"), *(("status", "podIPs", index, "ip") for index in several)):
        address = fields.text(pod, *path)
        if address and ":" not in address:
            if not is_ipv4(address):
                raise InvalidObject(f"{fields.place(pod, *path)} is no IP address")
            return address
    return ""


def of_pod(owners: Owners, pod: Object, stand_ins: StandIns) -> Instance:
    """One pod."""
    return _instance(Subject(owners.of(PODS, pod), [pod]), pod, 0, stand_ins)


class Backends(NamedTuple):
    """A Service's EndpointSlices, and the pods behind them by address.

    `imagined`: files had no slices; `unseen`: nor anything that the Service selects.
    """

    slices: Sequence[Object]
    instances: Mapping[str, Instance]
    imagined: bool = False
    unseen: bool = False


def behind(cluster: Cluster, owners: Owners, service: Object, stand_ins: StandIns) -> Backends:
    """What is behind a Service. Of files without EndpointSlices, what the controller would make of their workloads."""
    namespace, label = fields.namespace(service), f"{services.SERVICE_NAME}={fields.name(service)}"
    slices, chosen = cluster.gather(
        lambda: list(cluster.list(ENDPOINT_SLICES, namespace, label)),
        lambda: list(_selected(cluster, service)),
    )
    if not slices and not cluster.remote:
        return _imagined(cluster, owners, service, stand_ins)
    found = {(fields.namespace(pod), fields.name(pod)): pod for pod in chosen}
    instances: dict[str, Instance] = {}
    for one in (one for one in slices if services.belongs(one, service)):
        for index in range(len(fields.items(one, "endpoints"))):
            pod = _target(cluster, one, index, found)
            if pod is not None and fields.sequence(one, "endpoints", index, "addresses"):
                address = fields.text(one, "endpoints", index, "addresses", 0)
                instances[address] = of_pod(owners, pod, stand_ins)._replace(address=address, assumed=False)
    return Backends(slices, instances)


def _selected(cluster: Cluster, service: Object) -> Iterator[Object]:
    """The pods that a Service selects, in one listing instead of a request for each."""
    selector = fields.texts(service, "spec", "selector")
    if selector and cluster.remote:
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        yield from cluster.list(PODS, fields.namespace(service), labels)


def _target(
    cluster: Cluster, endpoint_slice: Object, index: int, known: dict[tuple[str, str], Object]
) -> Object | None:
    """The pod that an endpoint is for; None where it is no pod, or one that is gone or cannot be read."""
    kind, namespace, name = (
        fields.text(endpoint_slice, "endpoints", index, "targetRef", key) for key in ("kind", "namespace", "name")
    )
    if kind != PODS.kind:
        return None
    place = namespace or fields.namespace(endpoint_slice), name
    if place not in known:
        try:
            known[place] = cluster.get(PODS, name, place[0])
        except (NotFound, Forbidden):
            return None
    return known[place]


def _imagined(cluster: Cluster, owners: Owners, service: Object, stand_ins: StandIns) -> Backends:
    selector = fields.texts(service, "spec", "selector")
    selected = [
        subject
        for subject in (survey.subjects(cluster, owners, fields.namespace(service)) if selector else ())
        if selector.items() <= fields.labels(subject.template).items()
    ]
    found = [instance for subject in selected if runs(subject) for instance in of_subject(subject, stand_ins)]
    slices = [_slice(service, instance, number) for number, instance in enumerate(found)]
    known = {instance.address: instance for instance in found}
    return Backends(slices, known, imagined=True, unseen=not selected)


def runs(subject: Subject) -> bool:
    """Whether a workload has pods all the time: not if it is scaled to zero, and not by a schedule."""
    top = subject.workload.top.object
    return bool(subject.pods) or (workloads.replicas(top) != 0 and "jobTemplate" not in fields.mapping(top, "spec"))


def _slice(service: Object, instance: Instance, number: int) -> Object:
    """An EndpointSlice as the controller writes it, of one pod; one that does not say whether it is ready counts as ready."""
    name = fields.name(service)
    ports = [
        _slice_port(service, index, instance.object) for index in range(len(fields.items(service, "spec", "ports")))
    ]
    local = services.internal_policy_local(service)
    endpoint = {"addresses": [instance.address], "conditions": {"ready": workloads.is_ready(instance.object)}}
    return {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": f"{name}-{number:04}",
            "namespace": fields.namespace(service),
            "labels": {services.SERVICE_NAME: name},
        },
        "addressType": "IPv4",
        "ports": [port for port in ports if port],
        "endpoints": [{**endpoint, "nodeName": instance.client.node or (_SOME_NODE if local else "")}],
    }


def _slice_port(service: Object, index: int, pod: Object) -> Object | None:
    """A Service's TCP port as a slice has it; None where no container has a port of the name that it is to lead to."""
    at: tuple[Step, ...] = ("spec", "ports", index)
    number = target_port(service, index, pod)
    return None if number is None else {"name": fields.text(service, *at, "name"), "port": number}


def target_port(service: Object, index: int, pod: Object) -> int | None:
    """Where a Service's TCP port number so and so leads to at a pod; None where it leads nowhere there, or is not TCP."""
    at: tuple[Step, ...] = ("spec", "ports", index)
    if fields.text(service, *at, "protocol") not in ("", services.TCP):
        return None
    target = fields.mapping(service, *at).get("targetPort") or None
    if isinstance(target, str):
        return container_port(pod, target)
    return services.port_number(service, *at, "targetPort" if target else "port")


def application(pod: Object) -> Iterator[int]:
    """Where in a pod's list of containers the application's are: all but the sidecar."""
    containers = fields.items(pod, "spec", "containers")
    return (index for index, one in enumerate(containers) if one.get("name") not in _SIDECARS)


def container_port(pod: Object, name: str) -> int | None:
    """The number of the TCP container port of that name; None where no container that goes on running has one."""
    return next((number for _, known, number in _container_ports(pod) if known == name), None)


def container_ports(pod: Object) -> Sequence[int]:
    """The TCP ports that the application's containers say they listen on."""
    return sorted({number for container, _, number in _container_ports(pod) if container not in _SIDECARS})


def _container_ports(pod: Object) -> Iterator[tuple[object, str, int]]:
    """Each with the name of its container and its own."""
    for place, container in workloads.side_by_side(pod):
        at: tuple[Step, ...] = (*place, "ports")
        for index, port in enumerate(fields.items(pod, *at)):
            number = services.port_number(pod, *at, index, "containerPort")
            if number is not None and (port.get("protocol") or services.TCP) == services.TCP:
                yield container.get("name"), fields.text(pod, *at, index, "name"), number
