"""A traced connection in a real kernel: the pods as network namespaces, their rules, kube-proxy's chains between them.

Text from a cluster does not get there: rules are read, and what the model writes of them is loaded.
"""

import platform
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import kube_proxy, services, tracing
from kubectl_fsm.errors import FsmError
from kubectl_fsm.meshes import INBOUND_LISTENER, OUTBOUND_LISTENER, SIDECAR_UID
from kubectl_fsm.netfilter import Ruleset, write
from kubectl_fsm.netfilter.kernel import (
    BACKENDS,
    NODE,
    NODE_ADDRESS,
    OUTSIDE,
    OUTSIDE_ADDRESS,
    Attempt,
    Lab,
    Landing,
    Outcome,
    PodNet,
    missing,
    require,
)
from kubectl_fsm.netfilter.model import NAT, Chain, Mark, Masquerade, Rule
from kubectl_fsm.netfilter.targets import POD_IP
from kubectl_fsm.operations.trace import Sides, Traced
from kubectl_fsm.reports import TraceReport, Trial
from kubectl_fsm.services import Endpoint, Kind, Via
from kubectl_fsm.tracing import LOOPBACK, POD_INTERFACE, Decision, Dial, Side, Step

_TRIES = 64
"""Connections for each endpoint that chance can pick: that one of n is never picked then happens once in e^64."""
_MOST_PODS = 250
_OTHER_NETWORK = "192.0.2.3"
"""The client's address on the interface that `--interface` names: of the network that the lab's own are of."""
_OWN_ADDRESSES = (NODE_ADDRESS, OUTSIDE_ADDRESS, _OTHER_NETWORK)
_SIDECAR_PORTS = {INBOUND_LISTENER: "sidecar inbound", OUTBOUND_LISTENER: "sidecar outbound"}
_OUTCOMES = {Outcome.REFUSED: "refused", Outcome.TIMED_OUT: "no answer"}
_ENDS = {Kind.REJECTED: _OUTCOMES[Outcome.REFUSED], Kind.DROPPED: _OUTCOMES[Outcome.TIMED_OUT]}


class _Try(NamedTuple):
    """A connection to be tried so many `times`: what to call it, and everything that the simulator lets come of it."""

    connection: str
    attempt: Attempt
    expected: tuple[str, ...]
    times: int = 1


class _Plan(NamedTuple):
    """What there is to do for one moment: the rules of each pod, by its address, and what is tried under them."""

    when: str
    sides: Sides
    rules: Mapping[str, str]
    tries: Sequence[_Try]


def backend() -> str:
    """The part of the kernel to ask: nf_tables, or legacy where only that can be had. Raises `NoKernel`."""
    found = next((one for one in BACKENDS if not missing(one)), next(iter(BACKENDS)))
    require(found)
    return found


def prove(traced: Traced) -> TraceReport:
    """The report with what this machine's kernel does to the same connections.

    What comes after a restart may be beyond trying; a note then says why. Raises `NoKernel` where the kernel cannot be asked,
    `RulesRefused` where iptables does not take the rules, and `FsmError` where it is not known what there is to try.
    """
    chosen = backend()
    bench = _Bench(traced)
    first, *later = traced.sides.items()
    plans = [bench.plan(*first)]
    notes = []
    for when, sides in later:
        plan = _planned(bench, when, sides)
        if isinstance(plan, _Plan):
            plans.append(plan)
        else:
            notes.append(f"{when} was not tried in the kernel: {plan.message}")
    with Lab(bench.pods, chosen) as lab:
        lab.load_node(bench.node_rules())
        trials = [trial for plan in plans for trial in _carried_out(lab, plan)]
    judge = f"Linux {platform.release()}, {BACKENDS[chosen]}"
    return traced.report._replace(trials=trials, judge=judge, notes=[*traced.report.notes, *notes])


def _planned(bench: "_Bench", when: str, sides: Sides) -> "_Plan | FsmError":
    """What to do for a moment, or why there is nothing to do."""
    try:
        return bench.plan(when, sides)
    except FsmError as error:
        return error


def _carried_out(lab: Lab, plan: _Plan) -> Iterator[Trial]:
    """What comes of a plan, the same connection with the same expectation as one trial."""
    for place, rules in plan.rules.items():
        lab.load(place, rules)
    landings = iter(lab.connect_many([one.attempt for one in plan.tries for _ in range(one.times)]))
    seen: dict[tuple[str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
    for one in plan.tries:
        seen[one.connection, one.expected].update(_landed(next(landings), plan.sides) for _ in range(one.times))
    yield from (Trial(plan.when, *named, found) for named, found in seen.items())


class _Bench:
    """The pods of a traced connection as a lab has them, each by the name of its address, and what is tried there."""

    def __init__(self, traced: Traced) -> None:
        self.call = traced.call
        self.route = traced.route
        self.client = traced.client.address
        self.node = traced.client.client.node
        places = dict.fromkeys([self.client, *traced.route.instances])
        if len(places) > _MOST_PODS:
            raise FsmError(f"the trace is about {len(places)} pods; up to {_MOST_PODS} are tried in a kernel")
        count = sum(len(_endpoints(dial)) for dial in self.route.dials)
        if count > 2 * _MOST_PODS:
            raise FsmError(f"the target has {count // 2} endpoints; up to {_MOST_PODS} are tried in a kernel")
        dialled = [(dial.address, dial.port) for dial in self.route.dials]
        reached = [(one.address, one.port) for dial in self.route.dials for one in _endpoints(dial)]
        for address in (*places, *(address for address, _ in [*dialled, *reached])):
            if address in _OWN_ADDRESSES:
                raise FsmError(f"{address} is an address of the network in which it would be tried")
        self.pods = [
            PodNet(place, self._interfaces(place), _listeners(place, [*dialled, *reached])) for place in places
        ]

    def _interfaces(self, place: str) -> Mapping[str, str]:
        other = place == self.client and self.call.interface != POD_INTERFACE
        return {POD_INTERFACE: place} | ({self.call.interface: _OTHER_NETWORK} if other else {})

    def node_rules(self) -> str:
        """kube-proxy's, where the target is a Service."""
        if self.route.service is None:
            return ""
        return write(_masquerading(kube_proxy.rules([self.route.service], self.route.slices, self.node)))

    def plan(self, when: str, sides: Sides) -> _Plan:
        """Raises `FsmError` where it is not known what to do, or what to expect."""
        rules = {pod.name: write(_known(_side(sides, pod.name))) for pod in self.pods}
        return _Plan(when, sides, rules, list(self._tries(sides)))

    def _tries(self, sides: Sides) -> Iterator[_Try]:
        """What the application dials, what the sidecar then dials, and what the server's sidecar does."""
        onward: dict[str, Endpoint] = {}
        taken_in: dict[str, Endpoint] = {}
        for dial in self.route.dials:
            if not dial.address:
                raise FsmError("it is not known which address is dialled, so there is nothing to try")
            step = tracing.outbound(self.call, sides.client, dial)
            taken = step.decision is Decision.SIDECAR and step.port == OUTBOUND_LISTENER
            picked = () if taken or tracing.is_inside(sides.client, dial.address) else dial.endpoints
            expected = tuple(dict.fromkeys(self._expected(step, sides, dial, picked)))
            attempt = self._attempt(dial.address, dial.port, self.call.uid)
            yield _Try(_connection(step), attempt, expected, _TRIES * len(picked) if len(picked) > 1 else 1)
            onward |= {one.socket: one for one in dial.sidecar_endpoints if taken}
            taken_in |= {one.socket: one for one in picked if _takes_in(one, sides)}
        for one in onward.values():
            step = tracing.onward(self.call, sides.client, one, sides.servers)
            expected = tuple(self._expected(step, sides, Dial(one.address, one.port), (one,)))
            yield _Try(_connection(step), self._attempt(one.address, one.port, SIDECAR_UID), expected)
            within = (step.decision, step.port) == (Decision.SIDECAR, INBOUND_LISTENER)
            if within if tracing.is_inside(sides.client, one.address) else _takes_in(one, sides):
                taken_in[one.socket] = one
        for one in taken_in.values():
            server = _side(sides, one.address)
            step = tracing.last(server, one)
            expected = tuple(self._expected(step, Sides(server, {}), Dial(LOOPBACK, one.port), ()))
            yield _Try(_connection(step), Attempt(one.address, LOOPBACK, one.port, SIDECAR_UID), expected)

    def _attempt(self, address: str, port: int, uid: int) -> Attempt:
        interface = None if self.call.interface == POD_INTERFACE else self.call.interface
        return Attempt(self.client, address, port, uid, interface)

    def _expected(self, step: Step, sides: Sides, dial: Dial, picked: Sequence[Endpoint]) -> Iterator[str]:
        """Everything that can come of a connection, in the words of `_landed`."""
        _require(step)
        routing = self.route.routing
        if step.decision is not Decision.DIRECT:
            yield _handed(step, sides.client)
        elif tracing.is_inside(sides.client, dial.address):
            yield _in_pod(sides.client, dial.address, dial.port)
        else:
            self._require_node(dial)
            yield from (_received(one, sides) for one in picked)
            if routing and routing.kind is Kind.UNPROXIED:
                raise FsmError(f"where it leads is not known, so there is nothing to try: {'; '.join(routing.notes)}")
            if not picked:
                yield (_ENDS.get(routing.kind) if routing else None) or _outside(dial.address, dial.port)

    def _require_node(self, dial: Dial) -> None:
        """Where internalTrafficPolicy is Local, kube-proxy's rules are another node's each time."""
        service, routing = self.route.service, self.route.routing
        if self.node or service is None or routing is None or dial.address != routing.port.address:
            return
        local = routing.port.via is Via.CLUSTER_IP and services.internal_policy_local(service)
        if local and routing.kind is not Kind.REJECTED:
            raise FsmError("internalTrafficPolicy Local: on which node the client runs is not known, and decides")


def _endpoints(dial: Dial) -> Sequence[Endpoint]:
    return [*dial.endpoints, *dial.sidecar_endpoints]


def _listeners(address: str, sockets: Sequence[tuple[str, int]]) -> Mapping[int, int]:
    """Who listens in a pod: the application at whatever port it is dialled, the sidecar at its own."""
    own = [port for place, port in sockets if place == address or place.startswith("127.")]
    return dict.fromkeys(own, 0) | dict.fromkeys(_SIDECAR_PORTS, SIDECAR_UID)


def _side(sides: Sides, address: str) -> Side:
    """The pod at an address; the client is one of the servers where it can reach itself."""
    return sides.servers.get(address, sides.client)


def _takes_in(endpoint: Endpoint, sides: Sides) -> bool:
    """Whether the sidecar of an endpoint's pod takes what comes in from outside the pod."""
    server = sides.servers.get(endpoint.address)
    return server is not None and tracing.inbound(server, endpoint).decision is Decision.SIDECAR


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


# In words


def _landed(landing: Landing, sides: Sides) -> str:
    """Where the kernel brought a connection."""
    if landing.outcome is not Outcome.ACCEPTED or landing.local is None:
        return _OUTCOMES.get(landing.outcome, landing.outcome.value)
    if landing.place in (NODE, OUTSIDE):
        return _outside(*landing.local)
    return _in_pod(_side(sides, landing.place), *landing.local)


def _received(endpoint: Endpoint, sides: Sides) -> str:
    """What the server's rules make of a connection to an endpoint."""
    server = sides.servers.get(endpoint.address)
    if server is None and endpoint.pod:
        raise FsmError(f"pod/{endpoint.pod.name}, the endpoint {endpoint.socket}, cannot be read, and its rules decide")
    if server is None:
        return _outside(endpoint.address, endpoint.port)
    step = tracing.inbound(server, endpoint)
    _require(step)
    direct = step.decision is Decision.DIRECT
    return _in_pod(server, server.address, endpoint.port) if direct else _handed(step, server)


def _handed(step: Step, side: Side) -> str:
    """Where a step that is not direct brings a connection; a REDIRECT at PREROUTING goes to the pod's own address."""
    if step.decision is Decision.REJECTED:
        return _OUTCOMES[Outcome.REFUSED]
    if step.decision is Decision.DROPPED:
        return _OUTCOMES[Outcome.TIMED_OUT]
    address, port = side.address if step.address in (None, POD_IP) else str(step.address), step.port or 0
    return _in_pod(side, address, port) if tracing.is_inside(side, address) else _outside(address, port)


def _in_pod(side: Side, address: str, port: int) -> str:
    sidecar = _SIDECAR_PORTS.get(port) if side.mesh else None
    return f"{side.title} {sidecar or 'application'} {address}:{port}"


def _outside(address: str, port: int) -> str:
    return f"outside {address}:{port}"


def _connection(step: Step) -> str:
    return f"{step.pod} {step.by} → {step.destination}"
