"""Where a traced connection goes, way by way, and what to expect of each (docs/decisions/0009)."""

from collections.abc import Iterator, Mapping, Sequence

from kubectl_fsm.meshes import INBOUND_LISTENER, OUTBOUND_LISTENER, RESERVED_PORTS
from kubectl_fsm.netfilter.targets import POD_IP
from kubectl_fsm.services import Endpoint, Kind, Routing
from kubectl_fsm.tracing import (
    EXPECTED_TO_FAIL,
    Call,
    Course,
    Decision,
    Dial,
    Result,
    Side,
    Step,
    Way,
    inbound,
    is_inside,
    last,
    onward,
    outbound,
)


def follow(
    call: Call, client: Side, dials: Sequence[Dial], servers: Mapping[str, Side], routing: Routing | None
) -> Course:
    """Every way that a connection can take. `servers` are the pods by address, `routing` the Service's, if it is one's."""
    found = [
        _found(call, client, dial, first, endpoint, servers, routing)
        for dial, first, endpoint in _starts(call, client, dials)
    ]
    merged: dict[object, Way] = {}
    for way in found:
        key = (
            *(step and step.gist for step in (way.outbound, way.onward, way.inbound, way.last)),
            way.result,
            way.text,
        )
        merged[key] = merged[key].joined(way) if key in merged else way
    return Course(list(merged.values()))


def _starts(call: Call, client: Side, dials: Sequence[Dial]) -> Iterator[tuple[Dial, Step, Endpoint | None]]:
    """Each dial, its first step, and each endpoint it can reach, once with None where it reaches none."""
    for dial in dials:
        first = outbound(call, client, dial)
        endpoints = dial.sidecar_endpoints if first.decision is Decision.SIDECAR else dial.endpoints
        yield from ((dial, first, endpoint) for endpoint in endpoints or (None,))


def _found(  # noqa: PLR0917 - everybody who has a part in it
    call: Call,
    client: Side,
    dial: Dial,
    first: Step,
    endpoint: Endpoint | None,
    servers: Mapping[str, Side],
    routing: Routing | None,
) -> Way:
    share = dial.share
    if endpoint is not None:
        share = None if share is None or endpoint.share is None else share * endpoint.share
    way = Way(share, (endpoint,) if endpoint else (), first, None, None, None, Result.UNKNOWN, "")
    if dial.address and first.decision not in (Decision.DIRECT, Decision.SIDECAR):
        return _ended(way, first, "the client's")
    taken = first.decision is Decision.SIDECAR
    if taken and first.port == INBOUND_LISTENER:
        return _judged(way, *_to_sidecar(client))
    if is_inside(client, dial.address) and not taken:
        return _judged(way, Result.BYPASSED, f"stays in the pod: straight to {_listener(client, dial.port)}")
    if endpoint is None:
        return _without_endpoint(way, client, routing)
    if taken:
        return _by_sidecar(way._replace(onward=onward(call, client, endpoint, servers)), client, servers, endpoint)
    return _reached(way, client, servers.get(endpoint.address), endpoint)


def _by_sidecar(way: Way, client: Side, servers: Mapping[str, Side], endpoint: Endpoint) -> Way:
    """The client's sidecar has picked the endpoint, and connects to it."""
    step = way.onward
    if step is None or step.decision not in (Decision.DIRECT, Decision.SIDECAR):
        return _ended(way, step or way.outbound, "the client's")
    if step.decision is Decision.SIDECAR and step.port == OUTBOUND_LISTENER:
        return _judged(way, Result.LOOPS, "loops: the sidecar's own connection is taken by the sidecar again")
    if step.decision is Decision.SIDECAR:
        return _arrived(way._replace(inbound=step), client, client, endpoint)
    if is_inside(client, endpoint.address):
        return _judged(way, *_from_sidecar(client, client))
    return _reached(way, client, servers.get(endpoint.address), endpoint)


def _reached(way: Way, client: Side, server: Side | None, endpoint: Endpoint) -> Way:
    """The connection comes to the endpoint."""
    if server is None:
        return _to_no_pod(way, client, endpoint)
    return _arrived(way._replace(inbound=inbound(server, endpoint)), client, server, endpoint)


def _ended(way: Way, step: Step, whose: str) -> Way:
    """The connection does not get past a step."""
    if step.decision is Decision.UNKNOWN:
        return _judged(way, Result.UNKNOWN, f"not known: {step.why}")
    if step.decision is Decision.REJECTED:
        return _judged(way, Result.REFUSED, f"refused by {whose} rules")
    if step.decision is Decision.DROPPED:
        return _judged(way, Result.NO_ANSWER, f"no answer: dropped by {whose} rules")
    address = "the pod" if step.address in (None, POD_IP) else step.address
    return _judged(way, Result.REWRITTEN, f"rewritten by {whose} rules to {address}:{step.port}")


def _without_endpoint(way: Way, client: Side, routing: Routing | None) -> Way:
    """Where a dial leads to nobody that is known."""
    taken = way.outbound.decision is Decision.SIDECAR
    if routing is None:
        if taken:
            return _judged(way, Result.LEAVES, "the client's sidecar takes it; it goes on if egress is allowed")
        return _judged(way, Result.BYPASSED, f"{_past(client)} to the outside")
    if taken and routing.kind in (Kind.BALANCED, Kind.DROPPED, Kind.HEADLESS):
        text = "the client's sidecar takes it and does not know the Service; it goes on if egress is allowed"
        return _judged(way, Result.LEAVES, text)
    if taken and routing.kind is Kind.REJECTED:
        return _judged(way, Result.REFUSED, "fails: the client's sidecar takes it and has no endpoint to send it to")
    ends = {
        Kind.HEADLESS: (Result.REFUSED, "fails: DNS has no address for it"),
        Kind.REJECTED: (Result.REFUSED, "refused: no endpoint"),
        Kind.DROPPED: (Result.NO_ANSWER, "no answer: no endpoint that this client may use"),
    }
    return _judged(way, *ends.get(routing.kind, (Result.UNKNOWN, f"not followed: {'; '.join(routing.notes)}")))


def _to_no_pod(way: Way, client: Side, endpoint: Endpoint) -> Way:
    if endpoint.pod:
        return _judged(way, Result.UNKNOWN, f"not known: pod/{endpoint.pod.name}, the endpoint, cannot be read")
    if way.outbound.decision is Decision.SIDECAR:
        return _judged(way, Result.LEAVES, "the client's sidecar takes it; the endpoint is no pod")
    return _judged(way, Result.BYPASSED, f"{_past(client)} to an endpoint that is no pod")


def _arrived(way: Way, client: Side, server: Side, endpoint: Endpoint) -> Way:
    """The verdict on both sides (what to expect of the mixed ones: see docs/decisions/0009)."""
    step = way.inbound
    if step is None or step.decision not in (Decision.DIRECT, Decision.SIDECAR):
        return _ended(way, step or way.outbound, "the server's")
    taken = way.outbound.decision is Decision.SIDECAR
    if step.decision is Decision.SIDECAR:
        end = last(server, endpoint)
        way = way._replace(last=end)
        if end.decision is Decision.SIDECAR:
            return _judged(way, Result.LOOPS, "loops: the server's sidecar gets its own connection to the application")
        if end.decision is not Decision.DIRECT and end.address != POD_IP:
            return _ended(way, end, "the server's")
        return _judged(way, *(_both(client, server) if taken else _to_sidecar(server)))
    if taken:
        return _judged(way, *_from_sidecar(client, server))
    return _judged(way, Result.BYPASSED, f"{_past(client, server)} to {_listener(server, endpoint.port)}")


def _both(client: Side, server: Side) -> tuple[Result, str]:
    if client.mesh != server.mesh:
        if server.tls:
            return Result.BETWEEN_MESHES, f"{EXPECTED_TO_FAIL}: the server's sidecar wants TLS of its own mesh"
        return Result.BETWEEN_MESHES, "through the sidecars of two meshes, as plain text (sidecarDisabledMTLS)"
    return Result.INTERCEPTED, "intercepted, mTLS" if server.tls else "intercepted, without TLS (sidecarDisabledMTLS)"


def _to_sidecar(server: Side) -> tuple[Result, str]:
    if server.tls:
        return Result.PLAIN_TO_SIDECAR, f"{EXPECTED_TO_FAIL}: plain text, the server's sidecar wants TLS"
    return Result.PLAIN_TO_SIDECAR, "plain text to the server's sidecar, which takes it (sidecarDisabledMTLS)"


def _from_sidecar(client: Side, server: Side) -> tuple[Result, str]:
    if not server.mesh:
        text = "the client's sidecar takes it; the server has none: plain text, if egress is allowed"
        return Result.SIDECAR_TO_PLAIN, text
    if client.mesh == server.mesh and client.tls:
        return Result.SIDECAR_TO_PLAIN, f"{EXPECTED_TO_FAIL}: the client's sidecar speaks TLS, the application gets it"
    return Result.SIDECAR_TO_PLAIN, "the client's sidecar takes it, and it reaches the application as plain text"


def _listener(side: Side, port: int) -> str:
    """Who listens at a port of a pod."""
    return RESERVED_PORTS.get(port, "the application") if side.mesh else "the application"


def _past(client: Side, server: Side | None = None) -> str:
    meshed = [side for side in (client, server) if side and side.mesh]
    return (
        "bypassed: straight" if meshed else "no sidecar on either side: straight" if server else "no sidecar: straight"
    )


def _judged(way: Way, result: Result, text: str) -> Way:
    return way._replace(result=result, text=text)
