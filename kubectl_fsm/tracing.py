"""One connection, followed through the rules of both pods and the Service between them, to whoever takes it.

    application ─ client's OUTPUT ─┬─ direct ─ kube-proxy picks ─────────────────────┬─ server's PREROUTING ─┬─ application
                                   └─ sidecar ─ it picks ─ client's OUTPUT, uid 1500 ┘                       └─ sidecar

Nothing is asked of a cluster. The sidecar's own policy (egress, access control, traffic splits) is not looked at.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError, Undecided
from kubectl_fsm.interception import Explained
from kubectl_fsm.meshes import (
    INBOUND_LISTENER,
    INCLUDED_RANGES,
    OUTBOUND_LISTENER,
    SIDECAR_UID,
    ExclusionList,
    Item,
)
from kubectl_fsm.netfilter import Action, Packet, Ruleset, Verdict, simulate
from kubectl_fsm.netfilter.model import Rule
from kubectl_fsm.netfilter.rules import write
from kubectl_fsm.services import Endpoint

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo"
POD_INTERFACE = "eth0"
"""What a pod's network is called inside, with every CNI plugin in common use."""

NO_RULES = Ruleset({})


class Decision(Enum):
    """Who a packet is handed to."""

    DIRECT = "direct"
    """Nobody but whom it is for."""
    SIDECAR = "sidecar"
    REWRITTEN = "rewritten"
    """Somebody else: a DNAT, or a REDIRECT to no listener of the sidecar."""
    DROPPED = "dropped"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Result(Enum):
    """What becomes of a connection, in a word that programs can rely on."""

    INTERCEPTED = "intercepted"
    BYPASSED = "bypassed"
    PLAIN_TO_SIDECAR = "plain-to-sidecar"
    SIDECAR_TO_PLAIN = "sidecar-to-plain"
    BETWEEN_MESHES = "between-meshes"
    LEAVES = "leaves"
    """The client's sidecar takes it, and it is for no pod that it knows."""
    REFUSED = "refused"
    NO_ANSWER = "no-answer"
    LOOPS = "loops"
    REWRITTEN = "rewritten"
    UNKNOWN = "unknown"


_FAILURES = (Result.REFUSED, Result.NO_ANSWER, Result.LOOPS)
EXPECTED_TO_FAIL = "expected to fail"
"""How the text of a mixed way begins where one side does not speak what the other expects."""


class Side(NamedTuple):
    """A pod at one moment.

    `title` is what to call it, `address` its own; `assumed` where that is a stand-in, because nothing tells the real
    one. `ruleset` is None where its rules are not known, and `NO_RULES` where it has none; `reason` says why. `whys` has
    what is known of each rule by hook, chain and rule. `mesh` names the mesh whose sidecar it has (empty: none), `tls`
    is whether sidecars of that mesh speak TLS to each other.
    """

    title: str
    address: str
    assumed: bool
    ruleset: Ruleset | None
    reason: str = ""
    whys: Mapping[tuple[str, str, Rule], Explained] = {}
    mesh: str = ""
    tls: bool = True


class Dial(NamedTuple):
    """What the client connects to, and where that can lead.

    `assumed` where the address is a stand-in; an empty address is not known at all. `endpoints` are those that a
    connection past the sidecar reaches, `sidecar_endpoints` those that the sidecar picks from; both have their shares of
    this dial's connections. `share` is this dial's own share.
    """

    address: str
    port: int
    endpoints: Sequence[Endpoint] = ()
    sidecar_endpoints: Sequence[Endpoint] = ()
    share: float | None = 1.0
    assumed: bool = False


class Call(NamedTuple):
    """Who calls: the user id of the process, and the network interface by which it leaves."""

    uid: int
    interface: str = POD_INTERFACE


class Step(NamedTuple):
    """A packet at one hook of one pod.

    `pod` is the side's title, `by` who sent it (`application`, `sidecar`), `uid` that process's user, None at PREROUTING;
    `destination` is `address:port` as the rules see it. `decision` with `port`, the one that it is handed to, and
    `address` where it is rewritten. `rule` is the one that decides, `-A CHAIN …`, empty where none does; `why` its
    reason; `entry` what of a list it stands for (`port 6379`, `outside range 10.0.0.0/8`), with `sources`. `assumed` is the address that
    the answer depends on although it is only a stand-in. `path` is every rule visited, those that matched marked by True.
    """

    pod: str
    hook: str
    by: str
    uid: int | None
    destination: str
    decision: Decision
    address: str | None
    port: int | None
    rule: str = ""
    why: str = ""
    entry: str = ""
    sources: tuple[str, ...] = ()
    assumed: str = ""
    path: tuple[tuple[str, bool], ...] = ()

    @property
    def gist(self) -> tuple[object, ...]:
        """What makes two steps the same to a reader, whichever endpoint they are about."""
        return self.decision, self.port, self.rule, self.why, self.entry, self.sources


class Way(NamedTuple):
    """One way that connections take: `share` of them, to any of `endpoints` (none: they reach no endpoint).

    `onward` is the client's sidecar's own connection, `inbound` what the server's rules do, `last` the server's
    sidecar's connection to its application; each None where it does not come to that.
    """

    share: float | None
    endpoints: tuple[Endpoint, ...]
    outbound: Step
    onward: Step | None
    inbound: Step | None
    last: Step | None
    result: Result
    text: str

    def joined(self, other: "Way") -> "Way":
        """Both as one: the endpoints of either, and the sum of the shares."""
        share = None if self.share is None or other.share is None else self.share + other.share
        return self._replace(share=share, endpoints=(*self.endpoints, *other.endpoints))

    @property
    def fails(self) -> bool:
        """Whether nothing is expected to come of the connection."""
        return self.result in _FAILURES or self.text.startswith(EXPECTED_TO_FAIL)

    @property
    def steps(self) -> Sequence[Step]:
        return [step for step in (self.outbound, self.onward, self.inbound, self.last) if step]


class Course(NamedTuple):
    """Every distinct way, in the order of the endpoints."""

    ways: Sequence[Way]

    @property
    def gist(self) -> object:
        """What makes two courses the same to a reader, though a rule may be spelled otherwise (`--dports 80,81`)."""
        return [
            (way.share, way.endpoints, [step._replace(rule="").gist for step in way.steps], way.result, way.text)
            for way in self.ways
        ]

    @property
    def assumed(self) -> Sequence[Step]:
        """The steps whose answer depends on an address that is only a stand-in."""
        return [step for way in self.ways for step in way.steps if step.assumed]


def outbound(call: Call, client: Side, dial: Dial) -> Step:
    """What the client's rules do to what its application sends."""
    if not dial.address:
        nowhere = Step(client.title, "OUTPUT", "application", call.uid, f"?:{dial.port}", Decision.UNKNOWN, None, None)
        return nowhere._replace(why="there is no address to dial")
    return _leaving(client, "application", call.uid, dial.address, dial.port, call.interface, assumed=dial.assumed)


def onward(call: Call, client: Side, endpoint: Endpoint, servers: Mapping[str, Side]) -> Step:
    """What the client's rules do to the sidecar's own connection to an endpoint."""
    server = servers.get(endpoint.address)
    assumed = server is not None and server.assumed
    return _leaving(client, "sidecar", SIDECAR_UID, endpoint.address, endpoint.port, call.interface, assumed=assumed)


def inbound(server: Side, endpoint: Endpoint) -> Step:
    """What the server's rules do to what comes in."""
    packet = Packet(
        "PREROUTING",
        destination=server.address,
        destination_port=endpoint.port,
        in_interface=POD_INTERFACE,
    )
    return _step(server, packet, "network", assumed=server.assumed)


def last(server: Side, endpoint: Endpoint) -> Step:
    """What the server's rules do to its sidecar's connection to the application."""
    return _leaving(server, "sidecar", SIDECAR_UID, LOOPBACK, endpoint.port, POD_INTERFACE, assumed=False)


def is_inside(side: Side, address: str) -> bool:
    """Whether an address is the pod's own, so that a connection to it does not leave the pod."""
    return address.startswith("127.") or address == side.address


def _leaving(  # noqa: PLR0917 - what a packet consists of
    side: Side, by: str, uid: int, address: str, port: int, interface: str, *, assumed: bool
) -> Step:
    own = is_inside(side, address)
    packet = Packet(
        "OUTPUT",
        source=None if side.assumed or own else side.address or None,
        destination=address,
        destination_port=port,
        out_interface=LOOPBACK_INTERFACE if own else interface,
        uid=uid,
    )
    return _step(side, packet, by, assumed=assumed)


def _step(side: Side, packet: Packet, by: str, *, assumed: bool) -> Step:
    """What a side's rules do to a packet. A stand-in address is used only where the answer depends on it, and said."""
    destination = f"{packet.destination}:{packet.destination_port}"
    step = Step(side.title, packet.hook, by, packet.uid, destination, Decision.UNKNOWN, None, None)
    if side.ruleset is None:
        return step._replace(why=side.reason)
    try:
        verdict = simulate(side.ruleset, packet._replace(destination=None) if assumed else packet)
    except Undecided as error:
        if not assumed:
            return step._replace(why=error.message)
        try:
            verdict = simulate(side.ruleset, packet)
        except Undecided as second:
            return step._replace(why=second.message)
        step = step._replace(assumed=packet.destination or "")
    except RulesSyntaxError as error:
        return step._replace(why=error.message)
    decided = _decided(side, packet, verdict, step)
    return decided._replace(path=tuple((f"-A {v.chain} {write(v.rule)}", v.matched) for v in verdict.visits))


_ACTIONS = {Action.ACCEPT: Decision.DIRECT, Action.DROP: Decision.DROPPED, Action.REJECT: Decision.REJECTED}


def _decided(side: Side, packet: Packet, verdict: Verdict, step: Step) -> Step:
    decision = _ACTIONS.get(verdict.action, Decision.REWRITTEN)
    if verdict.action is Action.REDIRECT and verdict.port in (OUTBOUND_LISTENER, INBOUND_LISTENER):
        decision = Decision.SIDECAR
    port = packet.destination_port if decision is Decision.DIRECT else verdict.port
    step = step._replace(decision=decision, address=verdict.address, port=port)
    matched = [visit for visit in verdict.visits if visit.matched]
    explained = [found for visit in matched if (found := side.whys.get((packet.hook, visit.chain, visit.rule)))]
    deciding = [found for found in explained if found.decides][-1:]
    if deciding:
        (found,) = deciding
        entries = [one for one in found.entries if _is_about(one.list, one.value, packet)]
        outside = "outside " if decision is Decision.DIRECT else ""
        shown = [
            f"{outside if one.list is INCLUDED_RANGES else ''}{_NOUNS[one.list.item]} {one.value}" for one in entries
        ]
        sources = tuple(dict.fromkeys(chain.from_iterable(one.sources for one in entries)))
        rule = f"-A {found.chain} {write(found.rule)}"
        return step._replace(rule=rule, why=found.why, entry=", ".join(shown), sources=sources)
    if verdict.rule is not None:
        visit = next(visit for visit in matched if visit.rule is verdict.rule)
        return step._replace(rule=f"-A {visit.chain} {write(visit.rule)}", why="not a rule that the mesh writes")
    return step._replace(why=side.reason or "no rule takes it")


_NOUNS = {Item.PORT: "port", Item.RANGE: "range", Item.INTERFACE: "interface"}


def _is_about(exclusion_list: ExclusionList, value: str, packet: Packet) -> bool:
    """Whether an entry of a rule that matched is what matched: ports share one rule, the others have one each."""
    return exclusion_list.item is not Item.PORT or value == str(packet.destination_port)
