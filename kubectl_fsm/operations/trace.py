"""Following one connection: both pods with the rules they run and will run, the Service between them, what is assumed."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm import fields, tracing, verdicts
from kubectl_fsm.cluster.interface import CONFIG_MAPS, PODS, Cluster
from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import FSM, SIDECAR_UID, Installation
from kubectl_fsm.operations import configured, hints, instances, meshes, targets
from kubectl_fsm.operations.destinations import Destination, Finder, Route
from kubectl_fsm.operations.inspect import Situation, situation
from kubectl_fsm.operations.instances import Instance, StandIns
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.sides import side_after, side_now
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Moment, TraceEnd, TraceReport
from kubectl_fsm.services import Kind
from kubectl_fsm.tracing import Call, Course, Decision, Result, Side

CILIUM = ("cilium-config", "kube-system")
_SOCKET_BALANCING: Mapping[str, Sequence[str]] = {
    "bpf-lb-sock": ("true",),
    "enable-host-reachable-services": ("true",),
    "kube-proxy-replacement": ("true", "strict"),
}
"""Settings that switch it on; the second is that of Cilium up to 1.11."""
_IMAGE_UID = 0
"""The user that a process is taken to be where only its image tells: any but the sidecar's meets the same rules."""


class Request(NamedTuple):
    """What is asked: `source` and `target` as written; `uid` and `interface` (None, empty: what the pod tells)."""

    source: str
    target: Destination
    namespace: str = ""
    control_plane: str = ""
    uid: int | None = None
    interface: str = ""


class Sides(NamedTuple):
    """All pods concerned, at one moment: the client, and the servers by address."""

    client: Side
    servers: Mapping[str, Side]


class Traced(NamedTuple):
    """What was found: the report, and what it takes to try the same connection in a kernel."""

    report: TraceReport
    call: Call
    route: Route
    client: Instance
    sides: Mapping[str, Sides]


def trace(cluster: Cluster, request: Request) -> Traced:
    """Follow a connection, now and after a restart. Raises what reading the objects raises."""
    owners = Owners(cluster, readable_only=True)
    stand_ins = StandIns(_addresses(cluster, request.target))
    installations, (subject,), balancing = cluster.gather(
        lambda: meshes.find(cluster, request.control_plane),
        lambda: targets.select(cluster, owners, Selection((request.source,), request.namespace)),
        lambda: socket_balancing(cluster),
    )
    clients = instances.of_subject(subject, stand_ins)
    client = clients[0]
    finder = Finder(cluster, owners, client, stand_ins, socket_balancing=bool(balancing.found))
    route = finder.find(request.target)
    source = _end(clients, request)
    call = Call(source.uid, source.interface)
    scenery = _Scenery(cluster, installations, _namespaces(client, route))
    left_out = scenery.left_out(client, route)
    if left_out:
        route = route._replace(dials=[dial._replace(sidecar_endpoints=()) for dial in route.dials])
    moments, sides = _moments(scenery, call, client, route)
    report = TraceReport(
        source=source,
        target=request.target.text,
        origin=cluster.origin,
        service=route.routing,
        stand_ins=_stand_ins(route),
        moments=moments,
        assumptions=list(_assumptions(route, moments, balancing, source.interface)),
        notes=[*_notes(scenery, clients, route, moments, left_out), *scenery.notes],
        apply=_apply(scenery, client, route, sides, cluster.words),
    )
    return Traced(report, call, route, client, sides)


class _Scenery:
    """Namespaces and meshes of the pods concerned; each script is read once."""

    def __init__(self, cluster: Cluster, installations: Sequence[Installation], names: set[str]) -> None:
        self.installations = installations
        self.namespaces: dict[str, Object] = {}
        found = cluster.gather(*(partial(meshes.namespaces, cluster, name) for name in sorted(names)))
        for known in found:
            self.namespaces |= known
        self.notes = list(dict.fromkeys(found.note for found in installations if found.note))
        self._situations: dict[str, Situation] = {}

    def installation(self, instance: Instance) -> Installation:
        namespace = self.namespaces.get(instance.namespace)
        return meshes.of_pod(self.installations, namespace, *instance.subject.pods) or self.installations[0]

    def situation(self, instance: Instance) -> Situation:
        if instance.address not in self._situations:
            namespace = self.namespaces.get(instance.namespace)
            installation = self.installation(instance)
            self._situations[instance.address] = situation(instance.subject, instance.pod, namespace, installation)
        return self._situations[instance.address]

    def left_out(self, client: Instance, route: Route) -> str:
        """Why the client's sidecar does not know the Service; empty where it does. Only FSM leaves Services out."""
        if route.service is None or self.installation(client).mesh is not FSM:
            return ""
        return configured.left_out(route.service, self.namespaces.get(fields.namespace(route.service)))

    def now(self, instance: Instance) -> Side | None:
        """The pod as it runs; None where there is none yet."""
        if instance.pod is None or not fields.mapping(instance.pod, "status"):
            return None
        found = self.situation(instance)
        return side_now(found, instance.title, instance.address, assumed=instance.assumed)

    def after(self, instance: Instance) -> Side:
        """The pod that the next restart brings, at the same address."""
        found = self.situation(instance)
        return side_after(found, instance.title, instance.address, assumed=instance.assumed)


def _namespaces(client: Instance, route: Route) -> set[str]:
    concerned = {client.namespace, *(one.namespace for one in route.instances.values())}
    return concerned if route.service is None else {*concerned, fields.namespace(route.service)}


def _moments(
    scenery: _Scenery, call: Call, client: Instance, route: Route
) -> tuple[Sequence[Moment], Mapping[str, Sides]]:
    """The course now and, where it differs, after a restart; without a pod that runs, only the latter."""
    client_now = scenery.now(client)
    after = Sides(scenery.after(client), {address: scenery.after(one) for address, one in route.instances.items()})
    later = Moment("after-restart" if client_now else "next-pod", _course(call, after, route))
    if client_now is None:
        return [later], {later.when: after}
    servers = {address: scenery.now(one) or after.servers[address] for address, one in route.instances.items()}
    now = Sides(client_now, servers)
    first = Moment("now", _course(call, now, route))
    if first.course.gist == later.course.gist:
        return [first], {first.when: now}
    return [first, later], {first.when: now, later.when: after}


def _course(call: Call, sides: Sides, route: Route) -> Course:
    return verdicts.follow(call, sides.client, route.dials, sides.servers, route.routing)


def _end(clients: Sequence[Instance], request: Request) -> TraceEnd:
    client = clients[0]
    uids = _uids(client) if request.uid is None else [request.uid]
    return TraceEnd(
        text=request.source,
        pod=fields.name(client.pod) if client.pod is not None else "",
        workload="" if client.subject.workload.bare else client.subject.workload.label,
        namespace=client.namespace,
        address="" if client.assumed else client.address,
        pods=len(clients),
        uid=_IMAGE_UID if uids[0] is None else uids[0],
        image_uid=uids[0] is None,
        interface=request.interface or tracing.POD_INTERFACE,
    )


def _uids(client: Instance) -> Sequence[int | None]:
    """The users that the pod's application containers run as, the first one's first; None where the image tells it."""
    at = ("securityContext", "runAsUser")
    pod = fields.number(client.object, "spec", *at)
    application = instances.application(client.object)
    own = [fields.number(client.object, "spec", "containers", index, *at) for index in application]
    return list(dict.fromkeys(pod if uid is None else uid for uid in own)) or [pod]


def _addresses(cluster: Cluster, target: Destination) -> Iterator[str]:
    """Addresses that mean somebody: the one that is dialled, and those of pods in files."""
    yield target.address
    for pod in () if cluster.remote else cluster.list(PODS):
        yield fields.text(pod, "status", "podIP")


def _stand_ins(route: Route) -> Sequence[str]:
    """The addresses of this route that only stand in for others."""
    pods = [address for address, one in route.instances.items() if one.assumed]
    return [*pods, *(dial.address for dial in route.dials if dial.assumed and dial.address not in pods)]


class _Balancing(NamedTuple):
    """What tells that a Service's endpoint is picked before any rule is asked (`found`), or why nothing could tell."""

    found: str = ""
    unknown: str = ""


def socket_balancing(cluster: Cluster) -> _Balancing:
    """Whether Cilium does, by its own configuration."""
    name, namespace = CILIUM
    try:
        data = fields.texts(cluster.get(CONFIG_MAPS, name, namespace), "data")
    except NotFound:
        return _Balancing()
    except Forbidden:
        return _Balancing(unknown=f"ConfigMap {name} in {namespace} cannot be read")
    if data.get("bpf-lb-sock-hostns-only") == "true":
        return _Balancing()
    for key, values in _SOCKET_BALANCING.items():
        if data.get(key) in values:
            return _Balancing(f"{key}: {data[key]} in ConfigMap {name}")
    return _Balancing()


def _by_kube_proxy(route: Route, moments: Sequence[Moment]) -> bool:
    """Whether a connection goes past the sidecar to a Service's own address."""
    proxied = route.routing and route.routing.kind in (Kind.BALANCED, Kind.REJECTED, Kind.DROPPED)
    ways = [way for moment in moments for way in moment.course.ways]
    return bool(proxied) and any(way.outbound.decision is Decision.DIRECT for way in ways)


def _assumptions(route: Route, moments: Sequence[Moment], balancing: _Balancing, interface: str) -> Iterator[str]:
    if balancing.found and route.routing:
        yield f"Cilium's socket load balancing ({balancing.found}): rules see the endpoint, not the Service"
    elif _by_kube_proxy(route, moments):
        yield f"kube-proxy ({balancing.unknown})" if balancing.unknown else "kube-proxy"
        if interface != tracing.POD_INTERFACE:
            yield f"what leaves by {interface} passes the node's kube-proxy"
    if any(way.onward for moment in moments for way in moment.course.ways) and route.routing:
        yield "the sidecar picks among the Service's ready endpoints"
    yield "mesh policy (egress, access control, traffic splits) is not evaluated"
    steps = [step for moment in moments for step in moment.course.assumed]
    for pod in dict.fromkeys(step.pod for step in steps):
        addresses = list(dict.fromkeys(step.assumed for step in steps if step.pod == pod))
        if len(addresses) == 1:
            yield f"the rules of {pod} ask for an address that is not known: {addresses[0]} stands in for it"
        else:
            shown = " and ".join(addresses)
            yield f"the rules of {pod} ask for addresses that are not known: {shown} stand in for them"
    yield from route.assumptions


def _notes(
    scenery: _Scenery, clients: Sequence[Instance], route: Route, moments: Sequence[Moment], left_out: str
) -> Iterator[str]:
    if route.routing:
        kube_proxy = route.routing.kind in (Kind.BALANCED, Kind.REJECTED, Kind.DROPPED)
        past = "past the sidecar: " if kube_proxy and not _by_kube_proxy(route, moments) else ""
        yield from (f"{past}{note}" for note in route.routing.notes)
    if left_out:
        yield f"{left_out}: the client's sidecar does not route it"
    scripts = {scenery.situation(one).script for one in clients}
    if len(scripts) > 1:
        pods = f"the {len(clients)} pods of {clients[0].subject.workload.label}"
        yield f"{pods} run {len(scripts)} different rules; this is {clients[0].title}"
    if len(uids := _uids(clients[0])) > 1 and SIDECAR_UID in uids:
        yield f"one of its containers runs as the sidecar's user {SIDECAR_UID}, and is never intercepted"
    ways = [way for moment in moments for way in moment.course.ways]
    if any(way.result is Result.PLAIN_TO_SIDECAR for way in ways):
        yield "plain text gets in where an IngressBackend or AccessControl admits the client"
    if any(step.by == "application" and step.uid == SIDECAR_UID for way in ways for step in way.steps):
        yield f"uid {SIDECAR_UID} is the sidecar's: an application that runs as it is never intercepted"
    if any("egress" in way.text for way in ways) and (egress := _egress(scenery, clients[0])):
        yield egress


def _egress(scenery: _Scenery, client: Instance) -> str:
    enabled = fields.boolean(scenery.installation(client).config, "spec", "traffic", "enableEgress")
    return "" if enabled is None else f"the MeshConfig's enableEgress is {str(enabled).lower()}"


def _apply(
    scenery: _Scenery, client: Instance, route: Route, sides: Mapping[str, Sides], words: Sequence[str]
) -> Sequence[str]:
    """What brings the second of two moments about: every pod made anew that will have other rules, if one can start."""
    if len(sides) == 1:
        return ()
    now, later = sides.values()
    pairs = [(client, now.client, later.client)]
    pairs += [(one, now.servers[address], later.servers[address]) for address, one in route.instances.items()]
    outdated = {
        one.subject.workload.uid: one.subject
        for one, before, after in pairs
        if after.ruleset not in (None, before.ruleset) and scenery.situation(one).state != "current"
    }
    return hints.apply_all(list(outdated.values()), words)
