"""Where a traced connection goes: what a person writes, `svc/redis:6379`, `10.96.0.1:443`, `deploy/api:8080`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, services, workloads
from kubectl_fsm.cluster.interface import PODS, SERVICES, Cluster, Resource
from kubectl_fsm.errors import Forbidden, NotFound, UsageError
from kubectl_fsm.exclusions import MAX_PORT, is_ipv4
from kubectl_fsm.fields import Object
from kubectl_fsm.operations import instances, targets
from kubectl_fsm.operations.instances import Backends, Instance, StandIns
from kubectl_fsm.operations.owners import Owners, pods_of
from kubectl_fsm.operations.ranges import SERVICE
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.services import Endpoint, Kind, Routing, ServicePort
from kubectl_fsm.tracing import Dial

_PORT = re.compile(r"[0-9]{1,5}|(?=.*[a-z])[a-z0-9-]{1,15}")
_IPV6 = re.compile(r"\[.*|[0-9a-fA-F.]*:[0-9a-fA-F.]*:.*")
_HINT = "write svc/NAME[.NAMESPACE]:PORT, IP:PORT, POD:PORT or KIND/NAME:PORT"
_NOBODYS = ("0.0.0.0", "255.255.255.255")  # noqa: S104 - they are refused
_MULTICAST = tuple(map(str, range(224, 240)))
"""How the addresses begin that are for many at once."""


class Destination(NamedTuple):
    """What was written: a Service (`service`, maybe in `namespace`), an IPv4 `address`, or a target (`name`).

    `port` is a number or a name, empty where there was none.
    """

    text: str
    port: str
    service: str = ""
    namespace: str = ""
    address: str = ""
    name: str = ""


def parse(text: str) -> Destination:
    """What a person means. Raises `UsageError`."""
    if _IPV6.fullmatch(text):
        raise UsageError(f"{text!r}: IPv6 is not intercepted at all, and not followed", _HINT)
    head, colon, port = text.partition(":")
    if colon and not (_PORT.fullmatch(port) and (not port.isdigit() or 1 <= int(port) <= MAX_PORT)):
        raise UsageError(f"{text!r}: {port!r} is no port", _HINT)
    if found := SERVICE.fullmatch(head):
        return Destination(text, port, found[1], found[2] or "")
    if is_ipv4(head):
        if head in _NOBODYS or head.partition(".")[0] in _MULTICAST:
            raise UsageError(f"{head!r} is an address to which nobody connects", _HINT)
        if not port.isdigit():
            raise UsageError(f"{text!r} needs a port number", f"such as {head}:443")
        return Destination(text, port, address=head)
    if not head or head.startswith(("svc/", "service/", "services/")):
        raise UsageError(f"{text!r} is not a destination", _HINT)
    return Destination(text, port, name=head)


class Route(NamedTuple):
    """Where a destination leads: what is dialled, the Service with its slices if it is one's, and the pods by address."""

    dials: Sequence[Dial]
    instances: Mapping[str, Instance]
    service: Object | None = None
    slices: Sequence[Object] = ()
    routing: Routing | None = None
    assumptions: Sequence[str] = ()


class Finder:
    """Finds where destinations lead a client to.

    With `socket_balancing` a Service's endpoint is picked before any rule is asked.
    """

    def __init__(
        self, cluster: Cluster, owners: Owners, client: Instance, stand_ins: StandIns, *, socket_balancing: bool
    ) -> None:
        self._cluster = cluster
        self._owners = owners
        self._client = client
        self._stand_ins = stand_ins
        self._socket_balancing = socket_balancing

    def find(self, wanted: Destination) -> Route:
        """Where it leads. Raises `NotFound`, and `UsageError` for a port that is not there."""
        if wanted.service:
            service = self._cluster.get(SERVICES, wanted.service, wanted.namespace or self._client.namespace)
            return self._to_service(
                service, services.port_named(service, wanted.port or _only_port(service), services.TCP)
            )
        if wanted.address:
            return self._to_address(wanted.address, int(wanted.port))
        try:
            resource, obj = targets.locate(self._cluster, wanted.name, self._client.namespace)
        except NotFound as error:
            if "/" not in wanted.name:
                dns = f"names are not looked up in DNS; {_HINT}"
                error.hint = dns if "." in wanted.name else f"{error.hint}, and a Service svc/{wanted.name}"
            raise
        workload = self._owners.of(*self._owners.add(resource, obj))
        pods = [obj] if resource is PODS else pods_of(self._cluster, self._owners, workload)
        return _to_pods(instances.of_subject(Subject(workload, pods), self._stand_ins), wanted)

    def _to_address(self, address: str, number: int) -> Route:
        """A Service's address, a pod's, or anybody's."""
        dialled = Endpoint(address, number, share=1.0)
        itself = address == self._client.address and not self._client.assumed
        if address.startswith("127.") or itself:
            return Route([Dial(address, number, (dialled,), (dialled,))], {self._client.address: self._client})
        unknown: list[str] = []
        at = f"status.podIP={address}"
        known, pods = self._cluster.gather(
            lambda: _readable(lambda: list(self._cluster.list(SERVICES)), SERVICES, unknown),
            lambda: _readable(lambda: list(self._cluster.list(PODS, field_selector=at)), PODS, unknown),
        )
        if found := services.find(known, address, number):
            route = self._to_service(*found)
            return route._replace(assumptions=[*route.assumptions, *unknown])
        own = [pod for pod in pods if _has_network(pod)]
        here = [instances.of_pod(self._owners, pod, self._stand_ins) for pod in own]
        reached = (dialled,) if here else ()
        dial = Dial(address, number, reached, reached)
        instances_here = {instance.address: instance for instance in here}
        return Route([dial], instances_here, assumptions=[*unknown, *_node_ports(known, number)])

    def _to_service(self, service: Object, port: ServicePort) -> Route:
        backends = instances.behind(self._cluster, self._owners, service, self._stand_ins)
        assumed = not self._cluster.remote and lacks_address(service)
        if assumed:
            service = fields.merged(service, {"spec": {"clusterIP": self._stand_ins.service}})
            port = port._replace(address=self._stand_ins.service)
        routing = services.route(service, port, backends.slices, self._client.client)
        if backends.unseen and routing.kind is Kind.REJECTED:
            routing = Routing(Kind.UNPROXIED, port, notes=("the files show neither its EndpointSlices nor its pods",))
        if routing.kind is Kind.HEADLESS or (self._socket_balancing and routing.kind is Kind.BALANCED):
            dials = [_alone(one, backends) for one in routing.endpoints] or [Dial("", port.number)]
        else:
            own = [one for one in backends.slices if services.belongs(one, service)]
            routed = routing.kind in (Kind.BALANCED, Kind.DROPPED)
            everywhere = services.usable(services.endpoints(port, own)) if routed else ()
            dials = [Dial(port.address, port.number, routing.endpoints, everywhere, assumed=assumed)]
        return Route(dials, backends.instances, service, backends.slices, routing, _imagined(service, backends))


def _only_port(service: Object) -> str:
    """The port of a Service that has just one."""
    ports = [port for port in services.ports(service) if port.protocol == services.TCP]
    if len(ports) == 1:
        return str(ports[0].number)
    title = f"Service {fields.name(service)} in {fields.namespace(service)}"
    has = ", ".join(str(port.number) for port in ports)
    none = "only TCP is intercepted" if any(services.ports(service)) else "name the port that is dialled"
    raise UsageError(f"{title} has {len(ports)} TCP ports", f"name one: {has}" if has else none)


def _to_pods(found: Sequence[Instance], wanted: Destination) -> Route:
    """One of a workload's pods, by its own address."""
    dials = []
    for instance in found:
        port = _pod_port(instance, wanted)
        endpoint = Endpoint(instance.address, port, share=1.0)
        dial = Dial(instance.address, port, (endpoint,), (endpoint,), 1 / len(found), assumed=instance.assumed)
        dials.append(dial)
    return Route(dials, {instance.address: instance for instance in found})


def _pod_port(instance: Instance, wanted: Destination) -> int:
    if wanted.port.isdigit():
        return int(wanted.port)
    if wanted.port:
        number = instances.container_port(instance.object, wanted.port)
        if number is None:
            raise UsageError(f"{instance.title} in {instance.namespace} has no container port called {wanted.port}")
        return number
    numbers = instances.container_ports(instance.object)
    if len(numbers) != 1:
        has = f"its containers have {', '.join(map(str, numbers))}" if numbers else "its containers name none"
        raise UsageError(f"{wanted.text!r} needs a port", has)
    return numbers[0]


def _has_network(pod: Object) -> bool:
    """Whether the pod's address is its own: it is not on the host network, and has not ended."""
    return not workloads.finished(pod) and fields.boolean(pod, "spec", "hostNetwork") is not True


def _readable(read: Callable[[], Sequence[Object]], resource: Resource, unknown: list[str]) -> Sequence[Object]:
    """What may be read; what may not is noted."""
    try:
        return read()
    except Forbidden:
        unknown.append(f"{resource.qualified} of all namespaces cannot be listed, so the address may be one of theirs")
        return ()


def lacks_address(service: Object) -> bool:
    """Whether a manifest leaves it to the API server to give a ClusterIP."""
    return not fields.text(service, "spec", "clusterIP") and fields.text(service, "spec", "type") != "ExternalName"


def _alone(endpoint: Endpoint, backends: Backends) -> Dial:
    """An endpoint that the client itself dials."""
    instance = backends.instances.get(endpoint.address)
    alone = (endpoint._replace(share=1.0),)
    assumed = instance is not None and instance.assumed
    return Dial(endpoint.address, endpoint.port, alone, alone, endpoint.share, assumed=assumed)


def _imagined(service: Object, backends: Backends) -> Sequence[str]:
    name = f"svc/{fields.name(service)}"
    imagined = backends.imagined and backends.instances
    return [f"the files have no EndpointSlices: {name} leads to all pods that it selects"] if imagined else ()


def _node_ports(known: Sequence[Object], number: int) -> Iterator[str]:
    """Services whose NodePort this is: whether the address is a node's, nothing that is read here tells."""
    for service in known:
        for index in range(len(fields.items(service, "spec", "ports"))):
            if fields.number(service, "spec", "ports", index, "nodePort") == number:
                title = f"svc/{fields.name(service)} in {fields.namespace(service)}"
                yield f"the address is no node's: {number} is the NodePort of {title}, which is not followed"
