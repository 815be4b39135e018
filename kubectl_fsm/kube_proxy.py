"""The rules that kube-proxy's iptables mode writes on a node, for what a pod there dials.

    PREROUTING ─ KUBE-SERVICES ─ KUBE-SVC-… or KUBE-SVL-… ─ KUBE-SEP-… ─ DNAT to an endpoint       (nat)
                             └─ KUBE-EXT-… ─┘                      └─ KUBE-MARK-MASQ, for a pod that reaches itself
    FORWARD ─ KUBE-SERVICES, KUBE-EXTERNAL-SERVICES ─ REJECT or DROP, where there is no endpoint  (filter)

SVC is for all endpoints, SVL for those on the node, EXT for external IPs and load balancers, FW for the latter's source
ranges. Names of chains, order of rules and comments are those of kube-proxy 1.36 (`pkg/proxy/iptables/proxier.go`).
Left out is what does not decide where a pod's connection lands: NodePorts, KUBE-POSTROUTING, KUBE-FORWARD,
KUBE-FIREWALL, health checks, and `-m recent`, by which session affinity finds a client's earlier endpoint and which
never holds for its first connection. SCTP is left out because `netfilter` has no ports for it.
"""

import base64
import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from kubectl_fsm import fields, services
from kubectl_fsm.fields import Object
from kubectl_fsm.netfilter.model import (
    NAT,
    RANDOM_SHARES,
    Address,
    AddressType,
    Chains,
    Comment,
    Conntrack,
    Dnat,
    End,
    Jump,
    Kind,
    Match,
    Plain,
    Ports,
    Protocol,
    Random,
    Reject,
    Rule,
    Ruleset,
    SetMark,
    State,
    Target,
    as_table,
    built_in,
)
from kubectl_fsm.services import Endpoint, ServicePort, Via

_FILTER = "filter"
_SERVICES = "KUBE-SERVICES"
_EXTERNAL = "KUBE-EXTERNAL-SERVICES"
_FIREWALL = "KUBE-PROXY-FIREWALL"
_MASQUERADE = "KUBE-MARK-MASQ"
_PORTALS = "kubernetes service portals"
MASQUERADE_BIT = 0x4000
_PROTOCOLS = ("TCP", "UDP")
_HASH_LENGTH = 16
_JUMPS = (
    ("INPUT", _FIREWALL, "kubernetes load balancer firewall"),
    ("INPUT", _EXTERNAL, "kubernetes externally-visible service portals"),
    ("FORWARD", _FIREWALL, "kubernetes load balancer firewall"),
    ("FORWARD", _SERVICES, _PORTALS),
    ("FORWARD", _EXTERNAL, "kubernetes externally-visible service portals"),
    ("OUTPUT", _FIREWALL, "kubernetes load balancer firewall"),
    ("OUTPUT", _SERVICES, _PORTALS),
)
"""Where a new connection comes into kube-proxy's chains of the filter table, in order of evaluation."""


def chain_name(kind: str, port: ServicePort, endpoint: str = "") -> str:
    """`KUBE-SVC-XPGD46QRK7WJZT7O`: the chain of a Service's port (kinds SVC, SVL, EXT, FW) or of its endpoint (SEP).

    The hash is SHA-256 of the port's title, its protocol in lower case and the endpoint's `address:port`, in base 32, of
    which 16 characters are kept. The one above is that of `ns1/svc1:p80` and `tcp`.
    """
    text = port.title + port.protocol.lower() + endpoint
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"KUBE-{kind}-{digest[:_HASH_LENGTH]}"


def rules(objects: Iterable[Object], slices: Iterable[Object], node: str, pods: str = "") -> Ruleset:
    """The nat and filter rules for Services and their EndpointSlices on a node.

    `pods` is the range by which kube-proxy knows the node's pods (its `--cluster-cidr`, or the node's podCIDR); empty
    where it does not. Raises `InvalidObject`, and `RulesSyntaxError` where a name is none that rules can hold.
    """
    own = defaultdict(list)
    for one in slices:
        own[fields.namespace(one), fields.labels(one).get(services.SERVICE_NAME)].append(one)
    writer = _Writer(node, pods)
    for service in objects:
        mine = own[fields.namespace(service), fields.name(service)]
        where = services.addresses(service)
        if where:
            mine = [one for one in mine if services.belongs(one, service)]
            for port in services.ports(service):
                if port.protocol in _PROTOCOLS:
                    writer.add(service, port, where, services.endpoints(port, mine))
    return writer.finish()


class _Writer:
    """Both tables while Services are added."""

    def __init__(self, node: str, pods: str) -> None:
        self.node = node
        self.pods = pods
        self.nat = built_in(NAT)
        self.filter = built_in(_FILTER)
        self._begin()

    def _begin(self) -> None:
        """What is there without any Service."""
        for chain in (_SERVICES, _MASQUERADE):
            self.nat[chain] = deque()
        for chain in (_SERVICES, _EXTERNAL, _FIREWALL):
            self.filter[chain] = deque()
        new = Conntrack(frozenset({State.NEW}))
        for hook, chain, comment in _JUMPS:
            _append(self.filter, hook, Jump(chain), new, Comment(comment))
        for hook in ("PREROUTING", "OUTPUT"):
            _append(self.nat, hook, Jump(_SERVICES), Comment(_PORTALS))
        _append(self.nat, _MASQUERADE, SetMark(MASQUERADE_BIT, MASQUERADE_BIT))

    def finish(self) -> Ruleset:
        return Ruleset({_FILTER: as_table(_FILTER, self.filter, {}), NAT: as_table(NAT, self.nat, {})})

    def add(self, service: Object, port: ServicePort, where: Mapping[str, Via], candidates: Sequence[Endpoint]) -> None:
        """The rules for one port, at all addresses of its Service; `candidates` are its endpoints, ready or not."""
        everywhere = services.usable(candidates)
        here = services.usable([one for one in candidates if one.node == self.node])
        inside_local, outside_local = services.internal_policy_local(service), services.external_policy_local(service)
        outside = any(via is not Via.CLUSTER_IP for via in where.values())
        for address, via in where.items():
            if via is Via.CLUSTER_IP:
                self._inside(port, address, local=inside_local, everywhere=bool(everywhere), here=bool(here))
            else:
                self._outside(service, port, address, via, everywhere=bool(everywhere), here=bool(here))
        if everywhere and outside:
            self._external(port, local=outside_local, here=bool(here))
        reached: dict[str, Endpoint] = {}
        if outside or not inside_local:
            self._balance(port, chain_name("SVC", port), everywhere, reached)
        if inside_local or (outside and outside_local):
            self._balance(port, chain_name("SVL", port), here, reached)
        for one in reached.values():
            self._endpoint(port, one)

    def _inside(self, port: ServicePort, address: str, *, local: bool, everywhere: bool, here: bool) -> None:
        """The ClusterIP: into SVC or SVL, or an end in the filter table."""
        if not (here if local else everywhere):
            self._end(_SERVICES, port, address, everywhere=everywhere)
            return
        chain = chain_name("SVL" if local else "SVC", port)
        matches = (Comment(f"{port.title} {Via.CLUSTER_IP.value}"), *_to(address, port))
        _append(self.nat, _SERVICES, Jump(chain), *matches)
        if self.pods:
            _append(self.nat, chain, Jump(_MASQUERADE), *matches, Address(End.SOURCE, self.pods, negated=True))

    def _outside(
        self, service: Object, port: ServicePort, address: str, via: Via, *, everywhere: bool, here: bool
    ) -> None:
        """An external IP or a load balancer's: into EXT, for the latter maybe by way of its source ranges in FW."""
        ranges = services.source_ranges(service) if via is Via.LOAD_BALANCER else ()
        external, comment = chain_name("EXT", port), Comment(f"{port.title} {via.value}")
        if everywhere:
            entry = chain_name("FW", port) if ranges else external
            _append(self.nat, _SERVICES, Jump(entry), comment, *_to(address, port))
        if everywhere and ranges:
            if entry not in self.nat:
                for one in ranges:
                    _append(self.nat, entry, Jump(external), comment, Address(End.SOURCE, one))
            refused = Comment(f"{port.title} traffic not accepted by {entry}")
            _append(self.filter, _FIREWALL, Plain.DROP, refused, *_to(address, port))
        if not (here if services.external_policy_local(service) else everywhere):
            self._end(_EXTERNAL, port, address, everywhere=everywhere)

    def _end(self, chain: str, port: ServicePort, address: str, *, everywhere: bool) -> None:
        """Refused where there is no endpoint at all, dropped where there are some on other nodes."""
        comment = Comment(f"{port.title} has no {'local ' if everywhere else ''}endpoints")
        _append(self.filter, chain, Plain.DROP if everywhere else Reject(), comment, *_to(address, port))

    def _external(self, port: ServicePort, *, local: bool, here: bool) -> None:
        """EXT: externalTrafficPolicy Local binds neither the node's pods nor the node itself."""
        chain, everywhere = chain_name("EXT", port), chain_name("SVC", port)
        destinations = f"{port.title} external destinations"
        if not local:
            _append(self.nat, chain, Jump(_MASQUERADE), Comment(f"masquerade traffic for {destinations}"))
            _append(self.nat, chain, Jump(everywhere))
            return
        if self.pods:
            comment = Comment(f"pod traffic for {destinations}")
            _append(self.nat, chain, Jump(everywhere), comment, Address(End.SOURCE, self.pods))
        from_node = AddressType(End.SOURCE, frozenset({Kind.LOCAL}))
        _append(self.nat, chain, Jump(_MASQUERADE), Comment(f"masquerade LOCAL traffic for {destinations}"), from_node)
        _append(self.nat, chain, Jump(everywhere), Comment(f"route LOCAL traffic for {destinations}"), from_node)
        if here:
            _append(self.nat, chain, Jump(chain_name("SVL", port)))

    def _balance(
        self, port: ServicePort, chain: str, endpoints: Sequence[Endpoint], reached: dict[str, Endpoint]
    ) -> None:
        """Each endpoint gets its share of what those before it have left: 1/n, 1/(n - 1), …, all."""
        for left, one in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            reached[one.socket] = one
            chance = (Random(_shares(left)),) if left > 1 else ()
            comment = Comment(f"{port.title} -> {one.socket}")
            _append(self.nat, chain, Jump(chain_name("SEP", port, one.socket)), comment, *chance)

    def _endpoint(self, port: ServicePort, endpoint: Endpoint) -> None:
        """SEP: a pod that reaches itself is masqueraded, so that the answer comes back through the node."""
        chain, comment = chain_name("SEP", port, endpoint.socket), Comment(port.title)
        _append(self.nat, chain, Jump(_MASQUERADE), comment, Address(End.SOURCE, endpoint.address))
        _append(self.nat, chain, Dnat(endpoint.address, endpoint.port), comment, Protocol(port.protocol.lower()))


def _append(chains: Chains, chain: str, target: Target, *matches: Match) -> None:
    chains.setdefault(chain, deque()).append(Rule(matches, target))


def _to(address: str, port: ServicePort) -> tuple[Match, ...]:
    number = Ports(End.DESTINATION, (range(port.number, port.number + 1),))
    return Address(End.DESTINATION, address), Protocol(port.protocol.lower()), number


def _shares(count: int) -> int:
    """One of `count`, as what iptables makes of the ten digits that kube-proxy writes."""
    return round(float(f"{1 / count:.10f}") * RANDOM_SHARES)
