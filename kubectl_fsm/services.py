"""Services: where a connection to one goes, as kube-proxy decides it from the Service and its EndpointSlices.

That is for connections which the sidecar does not take. Nothing is asked of a cluster. What is said about kube-proxy
was read in the sources of 1.36 (`pkg/proxy`: `serviceport.go`, `endpointslicecache.go`, `topology.go`,
`iptables/proxier.go`); `kube_proxy` builds the rules that lead to the same answers. Only IPv4 is looked at, since the
mesh leaves IPv6 alone.

A NodePort is not found by address, because these objects do not say which addresses are a node's own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.errors import InvalidObject, RulesSyntaxError, UsageError
from kubectl_fsm.fields import Object, Step
from kubectl_fsm.netfilter.values import MAX_PORT, masked

TCP = "TCP"
SERVICE_NAME = "kubernetes.io/service-name"
"""The label by which an EndpointSlice belongs to a Service."""
_OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
"""The label of a Service that kube-proxy leaves to another proxy."""
_NO_ADDRESS = "None"
"""The ClusterIP of a headless Service."""
_LOCAL = "Local"
_AFFINITY_SECONDS = 10800
"""How long the API server makes session affinity last where nothing else is said."""
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_MAX_OCTET = 255


class Kind(Enum):
    """What becomes of a connection to a Service."""

    BALANCED = "balanced"
    """kube-proxy picks an endpoint by lot."""
    REJECTED = "rejected"
    """Refused: there is no endpoint anywhere."""
    DROPPED = "dropped"
    """Without an answer: there are endpoints, but none that this client may use."""
    HEADLESS = "headless"
    """No rules: DNS gives the pods' addresses, and the client dials one of them."""
    EXTERNAL_NAME = "external-name"
    """No rules: DNS gives another name."""
    UNPROXIED = "unproxied"
    """kube-proxy has no IPv4 rule for it; the notes say why."""


class Via(Enum):
    """Which address of a Service is dialled; the value is what kube-proxy calls it in its rules."""

    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    LOAD_BALANCER = "loadbalancer IP"


class Client(NamedTuple):
    """The pod that dials: its address and its node's name, each empty where it is not known."""

    address: str = ""
    node: str = ""


class ServicePort(NamedTuple):
    """What is dialled: a Service by one of its addresses (empty where it has none) and a port.

    `name` is the Service port's; empty too where the Service has no such port.
    """

    namespace: str
    service: str
    name: str
    number: int
    protocol: str
    address: str
    via: Via = Via.CLUSTER_IP

    @property
    def title(self) -> str:
        """What kube-proxy calls a Service's port: `shop/web:http`, or `shop/web` where the port has no name."""
        return f"{self.namespace}/{self.service}" + (f":{self.name}" if self.name else "")


class PodReference(NamedTuple):
    """The pod behind an endpoint."""

    namespace: str
    name: str
    uid: str


class Endpoint(NamedTuple):
    """Where a connection can arrive.

    `pod` is None for an endpoint that is no pod; `node` is empty where the slice does not tell it. `share` is the part of
    connections that it gets, None where that depends on something that is not known. `ready`, `serving` and
    `terminating` are its conditions, with what a missing one stands for.
    """

    address: str
    port: int
    pod: PodReference | None = None
    node: str = ""
    share: float | None = None
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: bool = False
    node_hints: bool = False

    @property
    def socket(self) -> str:
        """Address and port, as kube-proxy writes and sorts them."""
        return f"{self.address}:{self.port}"


class Routing(NamedTuple):
    """What becomes of a connection: `endpoints` are those that it can reach, `notes` say what was assumed or is odd."""

    kind: Kind
    port: ServicePort
    endpoints: Sequence[Endpoint] = ()
    notes: Sequence[str] = ()


UNKNOWN = Client()


# Which port


def port_named(service: Object, text: str, protocol: str = "") -> ServicePort:
    """The Service port that a text names, by number or name, at the Service's ClusterIP.

    Where TCP and another protocol have the same number it is TCP's, unless `protocol` is told. Of a headless or
    ExternalName Service any number will do, since nobody translates it. Raises `UsageError` where there is no such port.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) else 0
    listed = list(ports(service))
    fitting = [
        one
        for one in listed
        if protocol in ("", one.protocol) and (one.number == number if number else text and one.name == text)
    ]
    if fitting:
        return min(fitting, key=lambda one: one.protocol != TCP)
    if 0 < number <= MAX_PORT and (is_headless(service) or _external_name(service)):
        return _dialled(service, "", number, protocol or TCP)
    title = f"Service {fields.name(service)} in {fields.namespace(service)}"
    has = ", ".join(map(_listing, listed))
    raise UsageError(f"{title} has no port {text}", f"it has {has}" if has else "it has no ports at all")


def _listing(port: ServicePort) -> str:
    """A port in a list of all: `53/UDP (dns)`."""
    number = f"{port.number}" if port.protocol == TCP else f"{port.number}/{port.protocol}"
    return f"{number} ({port.name})" if port.name else number


def ports(service: Object) -> Iterator[ServicePort]:
    """Every port of a Service, at its ClusterIP."""
    for index in range(len(fields.items(service, "spec", "ports"))):
        at: tuple[Step, ...] = ("spec", "ports", index)
        number = port_number(service, *at, "port")
        if number is None:
            raise InvalidObject(f"{fields.place(service, *at)} has no port")
        name, protocol = fields.text(service, *at, "name"), fields.text(service, *at, "protocol")
        yield _dialled(service, name, number, protocol or TCP)


def _dialled(service: Object, name: str, number: int, protocol: str) -> ServicePort:
    address = "" if _unproxied(service) else _cluster_ip(service)
    return ServicePort(fields.namespace(service), fields.name(service), name, number, protocol, address)


def find(
    services: Iterable[Object], address: str, number: int, protocol: str = TCP
) -> tuple[Object, ServicePort] | None:
    """The Service that an address leads to, and its port; None where the address is no Service's.

    An address is a ClusterIP, an external IP, or the IP of a load balancer that lets the nodes take its connections
    (`ipMode: VIP`). Where several Services share an address it is the first one that has the port; where none has it, the
    first one that has the address, with a port of which `route` says that it does not exist.
    """
    without_port = None
    for service in services:
        via = addresses(service).get(address)
        if via is None:
            continue
        for one in ports(service):
            if (one.number, one.protocol) == (number, protocol):
                return service, one._replace(address=address, via=via)
        none_such = _dialled(service, "", number, protocol)._replace(address=address, via=via)
        without_port = without_port or (service, none_such)
    return without_port


def addresses(service: Object) -> Mapping[str, Via]:
    """The IPv4 addresses at which kube-proxy takes connections to a Service."""
    if _unproxied(service):
        return {}
    found = {_cluster_ip(service): Via.CLUSTER_IP}
    for index in range(len(fields.sequence(service, "spec", "externalIPs"))):
        found.setdefault(_as_ipv4(fields.text(service, "spec", "externalIPs", index)), Via.EXTERNAL_IP)
    for index, one in enumerate(fields.items(service, "status", "loadBalancer", "ingress")):
        if one.get("ipMode") in (None, "VIP"):
            at = ("status", "loadBalancer", "ingress", index, "ip")
            found.setdefault(_as_ipv4(fields.text(service, *at)), Via.LOAD_BALANCER)
    return {address: via for address, via in found.items() if address}


# Where it leads


def route(service: Object, port: ServicePort, slices: Iterable[Object], client: Client = UNKNOWN) -> Routing:
    """What becomes of a connection from a pod to a Service's port.

    Of `slices` only those of the Service count. Shares are those of new connections. Raises `InvalidObject` where Service
    or slices do not have the shape that their kind promises.
    """
    if _external_name(service):
        name = fields.text(service, "spec", "externalName") or "a name that is missing"
        note = f"an ExternalName: DNS answers with {name}, and where that leads is not looked at"
        return Routing(Kind.EXTERNAL_NAME, port, notes=(note,))
    own = [one for one in slices if belongs(one, service)]
    if is_headless(service):
        return _headless_routing(service, port, own)
    if why := _unproxied(service) or _not_listed(service, port):
        return Routing(Kind.UNPROXIED, port, notes=(why,))
    return _proxied(service, port, own, client)


def endpoints(port: ServicePort, own: Iterable[Object]) -> Sequence[Endpoint]:
    """The endpoints for a port that a Service's own slices hold, ready or not, each once, in kube-proxy's order.

    An address that is there twice is that of the pod which is not terminating; kube-proxy leaves open which of several
    such it takes, here it is the last by its slice's name.
    """
    found: dict[str, Endpoint] = {}
    for one in sorted(own, key=fields.name):
        for number in _target_ports(one, port):
            _collect(found, one, number)
    return [found[socket] for socket in sorted(found)]


def usable(candidates: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """Those that kube-proxy takes, with equal shares: what is ready, else what still serves while it is terminating."""
    chosen = [one for one in candidates if one.ready] or [one for one in candidates if one.serving and one.terminating]
    return [one._replace(share=1 / len(chosen)) for one in chosen]


def belongs(endpoint_slice: Object, service: Object) -> bool:
    """Whether an EndpointSlice is one of the Service's with IPv4 addresses."""
    return (
        fields.labels(endpoint_slice).get(SERVICE_NAME) == fields.name(service)
        and fields.namespace(endpoint_slice) == fields.namespace(service)
        and fields.text(endpoint_slice, "addressType") == "IPv4"
    )


def internal_policy_local(service: Object) -> bool:
    """Whether the ClusterIP leads only to endpoints on the client's own node."""
    return fields.text(service, "spec", "internalTrafficPolicy") == _LOCAL


def external_policy_local(service: Object) -> bool:
    """Whether connections from outside lead only to endpoints on the node that they come in at."""
    return fields.text(service, "spec", "externalTrafficPolicy") == _LOCAL


def source_ranges(service: Object) -> Sequence[str]:
    """The IPv4 ranges from which a load balancer's address can be dialled; empty where that is anywhere."""
    found = []
    for index in range(len(fields.sequence(service, "spec", "loadBalancerSourceRanges"))):
        at: tuple[Step, ...] = ("spec", "loadBalancerSourceRanges", index)
        text = fields.text(service, *at).strip()
        if ":" in text:
            continue
        try:
            _, mask = masked(text)
        except RulesSyntaxError as error:
            raise InvalidObject(f"{fields.place(service, *at)} is no IPv4 range") from error
        if mask == 0:
            return ()
        found.append(text)
    return found


def _headless_routing(service: Object, port: ServicePort, own: Sequence[Object]) -> Routing:
    """The cluster's DNS (CoreDNS) answers with the addresses of what is ready, whatever ports it has."""
    found: dict[str, Endpoint] = {}
    for one in sorted(own, key=fields.name):
        _collect(found, one, port.number)
    ready = [found[socket] for socket in sorted(found) if found[socket].ready]
    notes = ["headless: kube-proxy has no part in it, DNS gives the pods' addresses, and the client picks one"]
    if not ready:
        notes = ["headless, and no endpoint is ready: DNS has no address for it"]
    translated = {number for one in own for number in _target_ports(one, port)} - {port.number}
    if translated and not _not_listed(service, port):
        numbers = " or ".join(map(str, sorted(translated)))
        notes.append(
            f"nobody translates a headless Service's port: the pod is dialled at {port.number}, though the Service's target "
            f"port is {numbers}"
        )
    chosen = [one._replace(share=1 / len(ready)) for one in ready]
    return Routing(Kind.HEADLESS, port, chosen, [*notes, *_standing_notes(service)])


def _proxied(service: Object, port: ServicePort, own: Sequence[Object], client: Client) -> Routing:
    """What kube-proxy's rules do."""
    all_of_them = endpoints(port, own)
    chosen = usable(all_of_them)
    if not chosen:
        return Routing(Kind.REJECTED, port, notes=(_why_none(service, port, own, all_of_them),))
    if port.via is Via.CLUSTER_IP and internal_policy_local(service):
        return _local_routing(service, port, all_of_them, client)
    if port.via is Via.LOAD_BALANCER and not _admits(source_ranges(service), _as_ipv4(client.address)):
        note = f"the Service's loadBalancerSourceRanges do not hold the client's address {client.address}"
        return Routing(Kind.DROPPED, port, notes=(note,))
    return Routing(Kind.BALANCED, port, chosen, [*_notes(service, port, all_of_them, chosen, client)])


def _local_routing(service: Object, port: ServicePort, candidates: Sequence[Endpoint], client: Client) -> Routing:
    """Where internalTrafficPolicy is Local: what is usable on the client's node, however it is elsewhere."""
    rule = "internalTrafficPolicy Local: only endpoints on the client's node are used"
    if client.node:
        candidates = [one for one in candidates if one.node == client.node]
        chosen = usable(candidates)
    else:
        candidates = [one for one in candidates if one.node]
        nodes = {one.node for one in candidates}
        found = [one for node in nodes for one in usable([one for one in candidates if one.node == node])]
        chosen = sorted((one._replace(share=None) for one in found), key=lambda one: one.socket)
    if not chosen:
        note = f"{rule}, and {client.node or 'no node'} has none; connections get no answer"
        return Routing(Kind.DROPPED, port, notes=(note,))
    if not client.node:
        rule += ", and which one that is is not known; where it has none, connections get no answer"
    return Routing(Kind.BALANCED, port, chosen, [rule, *_notes(service, port, candidates, chosen, client)])


# In words


def _notes(
    service: Object, port: ServicePort, candidates: Sequence[Endpoint], chosen: Sequence[Endpoint], client: Client
) -> Iterator[str]:
    """What is worth knowing where an endpoint is picked; `candidates` are those that could have been."""
    inside = port.via is Via.CLUSTER_IP
    if not all(one.ready for one in chosen):
        yield "where no endpoint is ready, those that are terminating and still serve are used"
    if left_out := len(candidates) - len(chosen):
        yield f"{left_out} of {len(candidates)} endpoints {'is not ready and gets' if left_out == 1 else 'are not ready and get'} nothing"
    if client.address in {one.address for one in chosen}:
        yield "the client is one of the endpoints: where it reaches itself, its node's address is the source"
    if (hints := _hints(candidates)) and not (inside and internal_policy_local(service)):
        yield (
            f"the endpoints are meant for certain {hints} (topology aware routing): kube-proxy may use fewer of them for "
            f"this client, which is not worked out here"
        )
    if not inside and external_policy_local(service):
        yield (
            "externalTrafficPolicy Local does not bind pods, if kube-proxy can tell them from outsiders "
            "(--detect-local-mode)"
        )
    if port.via is Via.LOAD_BALANCER and not client.address and source_ranges(service):
        yield "assumes that the client's address is in the Service's loadBalancerSourceRanges"
    if fields.text(service, "spec", "sessionAffinity") == "ClientIP":
        seconds = fields.number(service, "spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        yield (
            f"shares are for a client's first connection: the next ones go to the same endpoint, unless more than "
            f"{seconds or _AFFINITY_SECONDS} s lie between them (sessionAffinity ClientIP)"
        )
    yield from _standing_notes(service)


def _standing_notes(service: Object) -> Iterator[str]:
    if fields.boolean(service, "spec", "publishNotReadyAddresses"):
        yield "pods count as ready even if they are not (publishNotReadyAddresses)"
    six = [address for address in _cluster_ips(service) if ":" in address]
    if six:
        yield f"only IPv4 is looked at; clients can dial {six[0]} too"


def _hints(candidates: Sequence[Endpoint]) -> str:
    """What the endpoints' hints are about; empty where kube-proxy pays no heed because not every ready one has them."""
    ready = [one for one in candidates if one.ready]
    if ready and all(one.node_hints for one in ready):
        return "nodes"
    return "zones" if ready and all(one.zone_hints for one in ready) else ""


def _why_none(service: Object, port: ServicePort, own: Sequence[Object], candidates: Sequence[Endpoint]) -> str:
    refused = "connections are refused (icmp-port-unreachable)"
    if candidates:
        return f"not one of its {len(candidates)} endpoints is ready: {refused}"
    if not any(fields.items(one, "endpoints") for one in own):
        return f"it has no endpoints: {refused}"
    targets = [
        one.get("targetPort") for one in fields.items(service, "spec", "ports") if one.get("port") == port.number
    ]
    missing = next((f"no container port is called {one}" for one in targets if isinstance(one, str)), "")
    return f"its endpoints are not for this port: {missing or 'the slices do not have it'}; {refused}"


def _not_listed(service: Object, port: ServicePort) -> str:
    if any((one.number, one.protocol) == (port.number, port.protocol) for one in ports(service)):
        return ""
    return f"it has no port {port.number} for {port.protocol}: nobody answers there"


def _unproxied(service: Object) -> str:
    """Why kube-proxy has no IPv4 rules for a Service; empty where it has."""
    proxy = fields.labels(service).get(_OTHER_PROXY)
    if proxy is not None:
        return f"its label {_OTHER_PROXY} leaves it to another proxy, {proxy}"
    if _external_name(service) or is_headless(service):
        return "only DNS leads to it"
    if not fields.text(service, "spec", "clusterIP"):
        return "it shows no ClusterIP: the API server gives one, a manifest has it only where it was written down"
    if _cluster_ip(service):
        return ""
    six = any(":" in address for address in _cluster_ips(service))
    return "it has only an IPv6 address" if six else "its clusterIP is no address"


def _external_name(service: Object) -> bool:
    return fields.text(service, "spec", "type") == "ExternalName"


def is_headless(service: Object) -> bool:
    """Whether it has no address of its own: DNS gives the pods'."""
    return fields.text(service, "spec", "clusterIP") == _NO_ADDRESS


def _cluster_ip(service: Object) -> str:
    """The IPv4 ClusterIP; empty where there is none."""
    return next(filter(None, map(_as_ipv4, _cluster_ips(service))), "")


def _cluster_ips(service: Object) -> Sequence[str]:
    """`clusterIPs`, else what older servers had: `clusterIP`."""
    count = len(fields.sequence(service, "spec", "clusterIPs"))
    several = [fields.text(service, "spec", "clusterIPs", index) for index in range(count)]
    return several or [fields.text(service, "spec", "clusterIP")]


# EndpointSlices


def _target_ports(endpoint_slice: Object, port: ServicePort) -> Iterator[int]:
    """The port numbers that a slice has for a Service port; a missing number or 0 is passed over, as kube-proxy does."""
    for index, one in enumerate(fields.items(endpoint_slice, "ports")):
        protocol = fields.text(endpoint_slice, "ports", index, "protocol") or TCP
        if (fields.text(endpoint_slice, "ports", index, "name"), protocol) == (port.name, port.protocol):
            number = port_number(endpoint_slice, "ports", index, "port") if one.get("port") != 0 else None
            if number is not None:
                yield number


def _collect(found: dict[str, Endpoint], endpoint_slice: Object, number: int) -> None:
    """Add a slice's endpoints at a port number."""
    for index in range(len(fields.items(endpoint_slice, "endpoints"))):
        if not fields.sequence(endpoint_slice, "endpoints", index, "addresses"):
            continue
        one = _endpoint(endpoint_slice, index, number)
        if one.socket not in found or not one.terminating:
            found[one.socket] = one


def _endpoint(endpoint_slice: Object, index: int, number: int) -> Endpoint:
    """One endpoint. Only its first address counts; conditions that are missing mean ready, serving, not terminating."""
    at: tuple[Step, ...] = ("endpoints", index)
    first = (*at, "addresses", 0)
    address = _as_ipv4(fields.text(endpoint_slice, *first))
    if not address:
        raise InvalidObject(f"{fields.place(endpoint_slice, *first)} is no IPv4 address")
    pod = None
    if fields.text(endpoint_slice, *at, "targetRef", "kind") == "Pod":
        namespace, name, uid = (
            fields.text(endpoint_slice, *at, "targetRef", key) for key in ("namespace", "name", "uid")
        )
        pod = PodReference(namespace or fields.namespace(endpoint_slice), name, uid)
    ready, serving, terminating = (
        fields.boolean(endpoint_slice, *at, "conditions", key) for key in ("ready", "serving", "terminating")
    )
    return Endpoint(
        address,
        number,
        pod,
        fields.text(endpoint_slice, *at, "nodeName"),
        ready=ready is not False,
        serving=serving is not False,
        terminating=terminating is True,
        zone_hints=bool(fields.sequence(endpoint_slice, *at, "hints", "forZones")),
        node_hints=bool(fields.sequence(endpoint_slice, *at, "hints", "forNodes")),
    )


# Values


def port_number(obj: Object, *path: Step) -> int | None:
    """The port number at `path`; None where it is missing or null. Raises `InvalidObject` for anything else."""
    number = fields.number(obj, *path)
    if number is not None and not 1 <= number <= MAX_PORT:
        raise InvalidObject(f"{fields.place(obj, *path)} is {number}, not a number from 1 to {MAX_PORT}")
    return number


def _as_ipv4(text: str) -> str:
    """An IPv4 address without the leading zeros that Kubernetes used to take; empty for anything else."""
    octets = [int(octet) for octet in text.split(".")] if _ADDRESS.fullmatch(text) else []
    return ".".join(map(str, octets)) if octets and max(octets) <= _MAX_OCTET else ""


def _admits(ranges: Sequence[str], address: str) -> bool:
    """Whether an address is in one of the ranges, if there are any; one that is not known counts as inside."""
    if not ranges or not address:
        return True
    value, _ = masked(address)
    return any(value & mask == start for start, mask in map(masked, ranges))
