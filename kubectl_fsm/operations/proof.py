"""A traced connection in a real kernel: the pods as network namespaces, their rules, kube-proxy's chains between them.

Text from a cluster does not get there: rules are read, and what the model writes of them is loaded.
"""

import platform
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import kube_proxy, tracing
from kubectl_fsm.errors import FsmError
from kubectl_fsm.meshes import INBOUND_LISTENER, OUTBOUND_LISTENER, SIDECAR_UID
from kubectl_fsm.netfilter import Ruleset, write
from kubectl_fsm.netfilter.kernel import BACKENDS, Attempt, Lab, Landing, Outcome, PodNet, missing
from kubectl_fsm.netfilter.model import NAT, Chain, Mark, Masquerade, Rule
from kubectl_fsm.netfilter.targets import POD_IP
from kubectl_fsm.operations.trace import Sides, Traced
from kubectl_fsm.reports import TraceReport, Trial
from kubectl_fsm.services import Endpoint, Kind
from kubectl_fsm.tracing import LOOPBACK, POD_INTERFACE, Decision, Dial, Side, Step

_TRIES = 64
"""Connections for each endpoint that chance can pick: that one of n is never picked then happens once in e^64."""
_MOST_PODS = 250
_OTHER_NETWORK = "172.31.255.1"
"""The client's address on the interface that `--interface` names."""
_CLIENT = "client"
_SIDECAR_PORTS = (INBOUND_LISTENER, OUTBOUND_LISTENER)
_OUTCOMES = {Outcome.REFUSED: "refused", Outcome.TIMED_OUT: "no answer"}


class _Try(NamedTuple):
    """A connection to be tried so many `times`: what to call it, and everything that the simulator lets come of it."""

    connection: str
    attempt: Attempt
    expected: tuple[str, ...]
    times: int = 1


def backend() -> str:
    """The part of the kernel to ask: nf_tables, or legacy where only that can be had."""
    return next((one for one in BACKENDS if not missing(one)), next(iter(BACKENDS)))


def prove(traced: Traced) -> TraceReport:
    """The report with what this machine's kernel does to the same connections.

    Raises `NoKernel` where it cannot be asked, `RulesRefused` where iptables does not take the rules, and `FsmError`
    where it is not known what there is to try.
    """
    chosen = backend()
    trials: list[Trial] = []
    bench = _Bench(traced)
    with Lab(bench.pods, chosen) as lab:
        for when, sides in traced.sides.items():
            tries = list(bench.tries(sides))
            bench.load(lab, sides)
            attempts = [one.attempt for one in tries for _ in range(one.times)]
            landings = iter(lab.connect_many(attempts))
            seen: dict[tuple[str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
            for one in tries:
                seen[one.connection, one.expected].update(bench.landed(next(landings), sides) for _ in range(one.times))
            trials += [Trial(when, connection, expected, found) for (connection, expected), found in seen.items()]
    judge = f"Linux {platform.release()}, {BACKENDS[chosen]}"
    return traced.report._replace(trials=trials, judge=judge)


class _Bench:
    """The pods of a traced connection as a lab has them, and what is tried there."""

    def __init__(self, traced: Traced) -> None:
        self.call = traced.call
        self.route = traced.route
        self.node = traced.client.client.node
        client = traced.client.address
        servers = [address for address in traced.route.instances if address != client]
        if len(servers) > _MOST_PODS:
            raise FsmError(f"the target has {len(servers)} pods; up to {_MOST_PODS} are tried in a kernel")
        self.places = {client: _CLIENT} | {address: f"server-{n}" for n, address in enumerate(servers, 1)}
        dialled = [(dial.address, dial.port) for dial in self.route.dials]
        reached = [(one.address, one.port) for dial in self.route.dials for one in _endpoints(dial)]
        self.pods = [
            PodNet(place, self._interfaces(address, place), _listeners(address, [*dialled, *reached]))
            for address, place in self.places.items()
        ]

    def _interfaces(self, address: str, place: str) -> Mapping[str, str]:
        other = place == _CLIENT and self.call.interface != POD_INTERFACE
        return {POD_INTERFACE: address} | ({self.call.interface: _OTHER_NETWORK} if other else {})

    def load(self, lab: Lab, sides: Sides) -> None:
        """Every pod's rules, and kube-proxy's where the target is a Service."""
        for address, place in self.places.items():
            lab.load(place, write(_known(sides.servers.get(address, sides.client))))
        if self.route.service is not None and self.route.routing and self.route.routing.kind is not Kind.HEADLESS:
            lab.load_node(write(_masquerading(kube_proxy.rules([self.route.service], self.route.slices, self.node))))

    def tries(self, sides: Sides) -> Iterator[_Try]:
        """What the application dials, what the sidecar then dials, and what the server's sidecar does."""
        onward: dict[str, Endpoint] = {}
        arrived: dict[str, Endpoint] = {}
        for dial in self.route.dials:
            if not dial.address:
                raise FsmError("it is not known which address is dialled, so there is nothing to try")
            step = tracing.outbound(self.call, sides.client, dial)
            taken = step.decision is Decision.SIDECAR and step.port == OUTBOUND_LISTENER
            picked = () if taken or tracing.is_inside(sides.client, dial.address) else dial.endpoints
            expected = tuple(dict.fromkeys(self._expected(step, sides, dial, picked)))
            attempt = self._attempt(dial.address, dial.port, self.call.uid)
            yield _Try(_connection(step), attempt, expected, _TRIES * len(picked) if len(picked) > 1 else 1)
            reached = dial.sidecar_endpoints if taken else picked
            arrived |= {one.socket: one for one in reached}
            onward |= {one.socket: one for one in reached if taken}
        for one in onward.values():
            step = tracing.onward(self.call, sides.client, one, sides.servers)
            expected = tuple(self._expected(step, sides, Dial(one.address, one.port), (one,)))
            yield _Try(_connection(step), self._attempt(one.address, one.port, SIDECAR_UID), expected)
        for one in arrived.values():
            server = sides.servers.get(one.address)
            if server and tracing.inbound(server, one).decision is Decision.SIDECAR:
                yield self._to_application(server, one)

    def _attempt(self, address: str, port: int, uid: int) -> Attempt:
        interface = None if self.call.interface == POD_INTERFACE else self.call.interface
        return Attempt(_CLIENT, address, port, uid, interface)

    def _to_application(self, server: Side, endpoint: Endpoint) -> _Try:
        step = tracing.last(server, endpoint)
        address = server.address if step.address == POD_IP else step.address or LOOPBACK
        attempt = Attempt(self.places[server.address], LOOPBACK, endpoint.port, SIDECAR_UID)
        return _Try(_connection(step), attempt, (_in_pod(server, address, step.port or endpoint.port),))

    def _expected(self, step: Step, sides: Sides, dial: Dial, picked: Sequence[Endpoint]) -> Iterator[str]:
        """Everything that can come of a connection, in the words of `landed`."""
        _require(step)
        client = sides.client
        if step.decision is not Decision.DIRECT:
            yield _handed(step, client)
        elif tracing.is_inside(client, dial.address):
            yield _in_pod(client, dial.address, dial.port)
        elif picked:
            for one in picked:
                server = sides.servers.get(one.address)
                yield _received(server, one) if server else _outside(one.address, one.port)
        elif self.route.routing and self.route.routing.kind is Kind.REJECTED:
            yield _OUTCOMES[Outcome.REFUSED]
        elif self.route.routing and self.route.routing.kind is Kind.DROPPED:
            yield _OUTCOMES[Outcome.TIMED_OUT]
        else:
            yield _outside(dial.address, dial.port)

    def landed(self, landing: Landing, sides: Sides) -> str:
        """Where the kernel brought a connection."""
        if landing.outcome is not Outcome.ACCEPTED or landing.local is None:
            return _OUTCOMES.get(landing.outcome, landing.outcome.value)
        address = next((address for address, place in self.places.items() if place == landing.place), "")
        if not address:
            return _outside(landing.local.address, landing.local.port)
        side = sides.servers.get(address, sides.client)
        return _in_pod(side, landing.local.address, landing.local.port)


def _endpoints(dial: Dial) -> Sequence[Endpoint]:
    return [*dial.endpoints, *dial.sidecar_endpoints]


def _listeners(address: str, sockets: Sequence[tuple[str, int]]) -> Mapping[int, int]:
    """Who listens in a pod: the application at whatever port it is dialled, the sidecar at its own."""
    own = [port for place, port in sockets if place == address or place.startswith("127.")]
    return dict.fromkeys(own, 0) | dict.fromkeys(_SIDECAR_PORTS, SIDECAR_UID)


def _known(side: Side) -> Ruleset:
    if side.ruleset is None:
        raise FsmError(f"the rules of {side.title} are not known, so there is nothing to try: {side.reason}")
    return side.ruleset


def _require(step: Step) -> None:
    if step.decision is Decision.UNKNOWN:
        raise FsmError(f"what the rules of {step.pod} do is not known, so there is nothing to compare: {step.why}")


def _masquerading(rules: Ruleset) -> Ruleset:
    """kube-proxy's rules with the one that gives a pod which reaches itself the node's address."""
    nat = rules.tables[NAT]
    mark = Rule((Mark(kube_proxy.MASQUERADE_BIT, kube_proxy.MASQUERADE_BIT),), Masquerade())
    last = nat["POSTROUTING"]
    return Ruleset({**rules.tables, NAT: {**nat, "POSTROUTING": Chain(last.name, last.policy, (*last.rules, mark))}})


def _received(server: Side, endpoint: Endpoint) -> str:
    """What the server's rules make of a connection to an endpoint."""
    step = tracing.inbound(server, endpoint)
    _require(step)
    return (
        _handed(step, server)
        if step.decision is not Decision.DIRECT
        else _in_pod(server, server.address, endpoint.port)
    )


def _handed(step: Step, side: Side) -> str:
    """Where a step that is not direct brings a connection; a REDIRECT at PREROUTING goes to the pod's own address."""
    if step.decision is Decision.REJECTED:
        return _OUTCOMES[Outcome.REFUSED]
    if step.decision is Decision.DROPPED:
        return _OUTCOMES[Outcome.TIMED_OUT]
    address = side.address if step.address in (None, POD_IP) else str(step.address)
    return _in_pod(side, address, step.port or 0)


def _in_pod(side: Side, address: str, port: int) -> str:
    who = {OUTBOUND_LISTENER: "sidecar outbound", INBOUND_LISTENER: "sidecar inbound"}.get(port, "application")
    return f"{side.title} {who} {address}:{port}"


def _outside(address: str, port: int) -> str:
    return f"outside {address}:{port}"


def _connection(step: Step) -> str:
    return f"{step.pod} {step.by} → {step.destination}"
