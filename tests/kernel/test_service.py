"""A Service as kube-proxy makes it: the example of the reference page, and what meets it in a mesh."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Attempt, Endpoint, Lab, Outcome, PodNet
from tests.support.pods import API, APP_UID, SIDECAR_UID, WEB, rules

ADAM = PodNet("adam", {"eth0": "10.0.0.11"}, {8080: APP_UID})
EVE = PodNet("eve", {"eth0": "10.0.0.21"}, {8080: APP_UID})
CLUSTER_IP, PORT = "10.96.0.1", 8080
CALLS = 4500
SIGMAS = 6
"""Chance alone comes so far from a share once in 500 million times; of so many calls it is 4.5 %."""


def service(endpoints: Sequence[str]) -> str:
    """kube-proxy's chains for one Service: each endpoint gets its share of what the ones before it left.

    A pod that calls itself through the Service is masqueraded: it would not take packets with its own address as source.
    """
    ends = [f"KUBE-SEP-{number}" for number in range(len(endpoints))]
    lines = [f":{chain} - [0:0]" for chain in ("KUBE-SERVICES", "KUBE-SVC-APP", "KUBE-MARK-MASQ", *ends)]
    lines += [f"-A {hook} -j KUBE-SERVICES" for hook in ("PREROUTING", "OUTPUT")]
    lines += ["-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000", "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE"]
    lines.append(f"-A KUBE-SERVICES -d {CLUSTER_IP}/32 -p tcp -m tcp --dport {PORT} -j KUBE-SVC-APP")
    for left, (end, endpoint) in zip(range(len(ends), 0, -1), zip(ends, endpoints, strict=True), strict=True):
        share = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        lines.append(f"-A KUBE-SVC-APP {share}-j {end}")
        lines.append(f"-A {end} -s {endpoint.partition(':')[0]}/32 -j KUBE-MARK-MASQ")
        lines.append(f"-A {end} -p tcp -m tcp -j DNAT --to-destination {endpoint}")
    return "\n".join(["*nat", *lines, "COMMIT", ""])


def without_endpoints() -> str:
    return (
        "*filter\n:KUBE-SERVICES - [0:0]\n"
        "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES\n"
        f"-A KUBE-SERVICES -d {CLUSTER_IP}/32 -p tcp -m tcp --dport {PORT} -j REJECT --reject-with icmp-port-unreachable\n"
        "COMMIT\n"
    )


@pytest.fixture(scope="module")
def eden(backend: str) -> Iterator[Lab]:
    """The page's node with its two pods."""
    with Lab([ADAM, EVE], backend) as lab:
        yield lab


def shares(lab, origin, calls=CALLS):
    landings = lab.connect_many([Attempt(origin, CLUSTER_IP, PORT, APP_UID)] * calls)
    assert {landing.outcome for landing in landings} == {Outcome.ACCEPTED}
    assert {landing.local.port for landing in landings} == {PORT}
    return Counter(landing.place for landing in landings)


def is_share(count, calls, share):
    return abs(count - calls * share) <= SIGMAS * math.sqrt(calls * share * (1 - share))


@pytest.mark.parametrize("origin", [NODE, ADAM.name, EVE.name, OUTSIDE])
def test_two_endpoints_half_and_half(eden, origin, figure, backend):
    eden.load_node(service([f"{pod.address}:8080" for pod in (ADAM, EVE)]))
    if origin == OUTSIDE:  # no Service there: a ClusterIP is an address like any other
        assert shares(eden, origin, 10) == {OUTSIDE: 10}
        return
    counts = shares(eden, origin)
    assert set(counts) == {ADAM.name, EVE.name}
    assert is_share(counts[EVE.name], CALLS, 1 / 2)
    figure(f"kernel, {backend}: of {CALLS} calls from {origin} to a Service of two endpoints, eve took {counts['eve']}")


def test_a_share_is_what_chance_allows():
    assert is_share(CALLS * 0.5, CALLS, 1 / 2)
    assert is_share(CALLS * 0.54, CALLS, 1 / 2)
    assert not is_share(CALLS * 0.55, CALLS, 1 / 2)
    assert not is_share(CALLS, CALLS, 1 / 2)


def test_the_destination_is_changed_on_the_node_only(eden):
    """In neither pod's own namespace anything is changed: the server sees its own address, the caller nothing."""
    eden.load_node(service([f"{EVE.address}:8080"]))
    landing = eden.connect(Attempt(ADAM.name, CLUSTER_IP, PORT))
    assert (landing.place, landing.local, landing.original) == (EVE.name, Endpoint(EVE.address, 8080), landing.local)
    assert landing.peer.address == ADAM.address


def test_another_port_is_no_service(eden):
    eden.load_node(service([f"{EVE.address}:8080"]))
    assert eden.connect(Attempt(ADAM.name, CLUSTER_IP, PORT + 1)).place == OUTSIDE


@pytest.mark.parametrize("origin", [NODE, ADAM.name])
def test_no_endpoint_is_rejected(eden, origin):
    eden.load_node(without_endpoints())
    assert eden.connect(Attempt(origin, CLUSTER_IP, PORT)).outcome is Outcome.REFUSED
    eden.load_node("")
    assert eden.connect(Attempt(origin, CLUSTER_IP, PORT)).place == OUTSIDE


def test_an_excluded_range_has_to_name_the_service_and_an_inbound_port_the_target(lab):
    """OUTPUT sees the ClusterIP and the Service's port, the server's PREROUTING the endpoint and its port."""
    lab.load_node(service([f"{API.address}:6379"]))
    call = Attempt(WEB.name, CLUSTER_IP, PORT, APP_UID)
    for outbound, inbound, wanted in (
        ({}, {}, (WEB.name, 15001)),
        ({"outboundIPRangeExclusionList": [f"{API.address}/32"]}, {}, (WEB.name, 15001)),
        ({"outboundPortExclusionList": [6379]}, {}, (WEB.name, 15001)),
        ({"outboundIPRangeExclusionList": [f"{CLUSTER_IP}/32"]}, {}, (API.name, 15003)),
        ({"outboundPortExclusionList": [PORT]}, {"inboundPortExclusionList": [PORT]}, (API.name, 15003)),
        ({"outboundPortExclusionList": [PORT]}, {"inboundPortExclusionList": [6379]}, (API.name, 6379)),
    ):
        lab.load(WEB.name, rules(traffic=outbound))
        lab.load(API.name, rules(traffic=inbound))
        landing = lab.connect(call)
        assert (landing.place, landing.local.port) == wanted, (outbound, inbound)
    assert lab.connect(call._replace(uid=SIDECAR_UID)).place == API.name
