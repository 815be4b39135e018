"""The simulator against the kernel: random configurations, random connections, and not one disagreement.

`KUBECTL_FSM_CONNECTIONS` says how many for each part of the kernel (`make fuzz N=…`), `KUBECTL_FSM_SEED` where chance
begins. A failure names its seed and the smallest case that it can be reduced to, as a line for `KEPT`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from kubectl_fsm.meshes import INJECTORS
from kubectl_fsm.netfilter import parse, write
from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Attempt, Lab
from kubectl_fsm.netfilter.lab.connections import PROTOCOLS
from tests.support.disagreements import (
    Case,
    Entry,
    Simulated,
    at,
    expected,
    loaded,
    script,
    seen,
    shrunk,
    smallest,
    told,
)
from tests.support.pods import API, DNS, DNS_PROXY, DNS_PROXY_ADDRESS, SIDECAR_UID, WEB

CONNECTIONS = int(os.environ.get("KUBECTL_FSM_CONNECTIONS", "20000"))
SEED = int(os.environ.get("KUBECTL_FSM_SEED", "1"))
AT_ONCE = 80
"""Connections tried under one configuration: few, so that there are many configurations."""

UIDS = (0, 1000, 1499, 1500, 1501)
PORTS = (1, DNS, 79, 80, 81, 443, DNS_PROXY, 6379, 8080, 15000, 15001, 15003, 15010, 15901, 15904, 65534, 65535)
RANGES = ("203.0.113.0/24", "203.0.113.128/25", "198.51.100.7/32", "172.16.9.9/12", "10.244.0.0/16", "10.244.1.3/32",
          "127.0.0.0/8", "10.245.1.2/32", "0.0.0.0/1")  # fmt: skip
INTERFACES = ("net1", "veth7", "veth+", "eth9", "lo")
FAR = ("203.0.113.0", "203.0.113.127", "203.0.113.128", "203.0.113.255", "203.0.114.0", "198.51.100.7", "198.51.100.8",
       "172.16.0.0", "172.15.255.255", "172.31.255.255", "172.32.0.0", "128.0.0.1", "127.255.255.254")  # fmt: skip

DNS_QUERY = Attempt(WEB.name, DNS_PROXY_ADDRESS, DNS, 1000, protocol="udp")
KEPT: Mapping[str, Case] = {
    "REDIRECT in PREROUTING leads to the address of the interface, not to the pod's own": Case(
        "fsm-1.5", (), Attempt(API.name, "10.245.1.2", 80), "web 10.245.1.2:15003"
    ),
    "a call to another interface's address leaves by lo, so that the interface is not excluded": Case(
        "fsm-1.5",
        (("networkInterfaceExclusionList", "net1"),),
        Attempt(WEB.name, "10.245.1.2", 80, SIDECAR_UID),
        "web 127.0.0.1:15003",
    ),
    "an interface is excluded by the beginning of its name": Case(
        "fsm-1.5",
        (("networkInterfaceExclusionList", "veth+"),),
        Attempt(WEB.name, "203.0.113.0", 80, 1000, "veth7"),
        "outside 203.0.113.0:80",
    ),
    "DNAT to the pod's address while the packet is on lo": Case(
        "fsm-1.5",
        (("localProxyMode", "PodIP"),),
        Attempt(WEB.name, "127.0.0.1", 80, SIDECAR_UID),
        "web 10.244.1.2:80",
    ),
    "a DNS query is rewritten": Case("fsm-1.2", (("localDNSProxy", True),), DNS_QUERY, "web 127.0.0.153:5300"),
    "DNS by TCP is not": Case(
        "fsm-1.2", (("localDNSProxy", True),), DNS_QUERY._replace(protocol="tcp"), "web 127.0.0.153:53"
    ),
}
"""Cases that were wrong once, or are easily thought wrong."""


def configuration(chance: random.Random) -> tuple[str, tuple[Entry, ...]]:
    """An injector and the entries of a random MeshConfig."""
    entries: list[Entry] = []

    def some(field, values, most):
        entries.extend((field, value) for value in chance.sample(values, chance.randint(0, most)))

    some("outboundPortExclusionList", PORTS, 4)
    some("inboundPortExclusionList", PORTS, 4)
    some("outboundIPRangeExclusionList", RANGES, 2)
    some("outboundIPRangeInclusionList", RANGES, 2 if chance.random() < 0.4 else 0)
    some("networkInterfaceExclusionList", INTERFACES, 2 if chance.random() < 0.5 else 0)
    some("localProxyMode", ["PodIP"], 1)
    some("localDNSProxy", [True], 1)
    return chance.choice(list(INJECTORS)), tuple(entries)


def attempt(chance: random.Random) -> Attempt:
    """From the pod with the rules to anywhere, or from elsewhere to that pod."""
    protocol = chance.choice(["tcp", "tcp", "tcp", "udp"])
    port = DNS if protocol == "udp" and chance.random() < 0.5 else chance.choice(PORTS)
    own = list(WEB.interfaces.values())
    if chance.random() < 0.3:
        return Attempt(chance.choice([API.name, NODE, OUTSIDE]), chance.choice(own), port, protocol=protocol)
    loopback = chance.choice(["127.0.0.1", "127.0.0.2", DNS_PROXY_ADDRESS])
    destination = chance.choice([chance.choice(FAR), API.address, loopback, loopback, chance.choice(own)])
    interface = chance.choice([None, None, *WEB.interfaces])
    return Attempt(WEB.name, destination, port, chance.choice(UIDS), interface, protocol=protocol)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_case(lab, name):
    case = KEPT[name]
    rules = loaded(lab, script(case.injector, case.entries))
    assert seen(lab.connect(case.attempt)) == case.landed
    assert expected(rules, case.attempt) == case.landed


class Comparison(NamedTuple):
    """What was compared. `ways`: protocol, what it landed at, and whether rules had led it there."""

    connections: int
    configurations: int
    seconds: float
    ways: set[tuple[str, str, bool]]


def compare(lab: Lab, seed: int, connections: int, simulated: Simulated = expected) -> Comparison:
    """Compare simulator and kernel; the first disagreement fails the test."""
    chance = random.Random(seed)  # noqa: S311 - a seed that can be named
    compared = configurations = 0
    seconds = 0.0
    ways: set[tuple[str, str, bool]] = set()
    while compared < connections:
        injector, entries = configuration(chance)
        tried = [attempt(chance) for _ in range(AT_ONCE)]
        rules = loaded(lab, script(injector, entries))
        begun = time.perf_counter()
        wanted = [simulated(rules, one) for one in tried]
        seconds += time.perf_counter() - begun
        for one, landing, want in zip(tried, lab.connect_many(tried), wanted, strict=True):
            if seen(landing) != want:
                case = Case(injector, entries, one, seen(landing))
                fewest = told(shrunk(lab, case, simulated), simulated)
                pytest.fail(f"seed {seed}: {case}\nexpected: {want}\nthe smallest such case:\n{fewest}")
            ways.add((one.protocol, want.partition(" ")[0], want != at(one.destination, one.port)))
        compared += len(tried)
        configurations += 1
    return Comparison(compared, configurations, seconds, ways)


def test_the_simulator_agrees_with_the_kernel(lab, backend, figure):
    done = compare(lab, SEED, CONNECTIONS)
    figure(
        f"simulator against kernel ({backend}): {done.connections} connections, {done.configurations} configurations, "
        f"seed {SEED}, 0 disagreements, {done.seconds / done.connections * 1e6:.0f} µs for each simulated one"
    )
    assert done.ways == {
        (protocol, *place)
        for protocol in PROTOCOLS
        for place in (("web", True), ("web", False), ("api", False), ("outside", False), ("refused", False))
    }


ENTRIES: tuple[Entry, ...] = (
    ("outboundPortExclusionList", 443),
    ("outboundPortExclusionList", 6379),
    ("outboundPortExclusionList", 65535),
    ("inboundPortExclusionList", 6379),
    ("outboundIPRangeExclusionList", "198.51.100.7/32"),
    ("outboundIPRangeExclusionList", "172.16.9.9/12"),
    ("networkInterfaceExclusionList", "net1"),
    ("networkInterfaceExclusionList", "veth+"),
    ("localProxyMode", "PodIP"),
    ("localDNSProxy", True),
)


@pytest.mark.parametrize(
    ("right", "wrong", "tried", "matters"),
    [
        ("--to-ports 15001", "--to-ports 15002", Attempt(WEB.name, FAR[0], 80), ()),
        ("! --uid-owner 1500", "! --uid-owner 1501", Attempt(WEB.name, WEB.address, 80, 1501), ()),
        ("6379", "6380", Attempt(WEB.name, FAR[0], 6379), ENTRIES[1:2]),
        ("6379", "6380", Attempt(API.name, WEB.address, 6379), ENTRIES[3:4]),
        ("198.51.100.7/32", "198.51.100.8/32", Attempt(WEB.name, "198.51.100.7", 80), ENTRIES[4:5]),
        ("-o net1", "-o net2", Attempt(WEB.name, FAR[0], 80, interface="net1"), ENTRIES[6:7]),
        (
            "--to-destination $POD_IP",
            "--to-destination 10.9.9.9",
            KEPT["DNAT to the pod's address while the packet is on lo"].attempt,
            ENTRIES[8:9],
        ),
        (f":{DNS_PROXY}", f":{DNS_PROXY + 1}", DNS_QUERY, ENTRIES[9:]),
    ],
)
def test_a_wrong_rule_is_seen_and_what_makes_it_wrong(lab, right, wrong, tried, matters):
    """The comparison can fail: the simulator is given rules that are not the kernel's."""

    def mistaken(rules, tried):
        return expected(parse(write(rules).replace(right, wrong)), tried)

    rules = loaded(lab, script("fsm-1.2", ENTRIES))
    landed = seen(lab.connect(tried))
    assert landed == expected(rules, tried)
    assert landed != mistaken(rules, tried)
    assert shrunk(lab, Case("fsm-1.2", ENTRIES, tried, landed), mistaken) == Case("fsm-1.2", matters, tried, landed)


def test_a_disagreement_is_told_as_a_case_that_can_be_kept(lab):
    """By chance alone one is found of a simulator that knows of no rule for UDP."""

    def mistaken(rules, tried):
        return expected(rules, tried) if tried.protocol == "tcp" else at(tried.destination, tried.port)

    with pytest.raises(pytest.fail.Exception) as failure:
        compare(lab, 1, 100 * AT_ONCE, mistaken)
    first, _, told_smallest = str(failure.value).partition("\nthe smallest such case:\n")
    line, _, rest = told_smallest.partition("\n")
    case = eval(line, {"Case": Case, "Attempt": Attempt})  # noqa: S307 - that it can be pasted is what is tested
    assert first.startswith("seed 1: Case(")
    assert case.entries == (("localDNSProxy", True),)
    assert case.attempt._replace(uid=1000, interface=None) == DNS_QUERY
    assert case.landed == f"web {DNS_PROXY_ADDRESS}:{DNS_PROXY}"
    assert rest.startswith(f"expected: web {DNS_PROXY_ADDRESS}:{DNS}\nMeshConfig: {{")
    assert rest.endswith(script(case.injector, case.entries))


@pytest.mark.parametrize("needed", [(), ENTRIES[2:3], ENTRIES[2:4], ENTRIES[::3], ENTRIES])
def test_nothing_is_left_out_that_it_takes(needed):
    assert smallest(ENTRIES, lambda kept: set(needed) <= set(kept)) == needed


def test_what_does_not_happen_again_is_told_whole():
    assert smallest(ENTRIES, lambda _: False) == ENTRIES
    assert smallest((), lambda _: True) == ()
