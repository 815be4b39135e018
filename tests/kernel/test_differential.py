"""The simulator against the kernel: random configurations, random connections, and not one disagreement.

`KUBECTL_FSM_CONNECTIONS` says how many for each part of the kernel (`make fuzz N=…`), `KUBECTL_FSM_SEED` where chance
begins; a failure names its seed, its rules and its connection.
"""

from __future__ import annotations

import os
import random
import time
from ipaddress import IPv4Address

import pytest

from kubectl_fsm.generator import render
from kubectl_fsm.meshes import INJECTORS
from kubectl_fsm.netfilter import Packet, Ruleset, parse, simulate, write
from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Attempt, Endpoint, Landing, Outcome
from kubectl_fsm.netfilter.lab.connections import PROTOCOLS
from kubectl_fsm.netfilter.targets import POD_IP
from tests.support.pods import API, DNS, DNS_PROXY, DNS_PROXY_ADDRESS, WEB

CONNECTIONS = int(os.environ.get("KUBECTL_FSM_CONNECTIONS", "12000"))
SEED = int(os.environ.get("KUBECTL_FSM_SEED", "1"))
AT_ONCE = 240
"""Connections tried under one configuration."""

UIDS = (0, 1000, 1499, 1500, 1501)
PORTS = (1, DNS, 79, 80, 81, 443, DNS_PROXY, 6379, 8080, 15000, 15001, 15003, 15010, 15901, 15904, 65534, 65535)
RANGES = ("203.0.113.0/24", "203.0.113.128/25", "198.51.100.7/32", "172.16.9.9/12", "10.244.0.0/16", "10.244.1.3/32",
          "127.0.0.0/8", "10.245.1.2/32", "0.0.0.0/1")  # fmt: skip
INTERFACES = ("net1", "veth7", "veth+", "eth9", "lo")
FAR = ("203.0.113.0", "203.0.113.127", "203.0.113.128", "203.0.113.255", "203.0.114.0", "198.51.100.7", "198.51.100.8",
       "172.16.0.0", "172.15.255.255", "172.31.255.255", "172.32.0.0", "128.0.0.1", "127.255.255.254")  # fmt: skip


def configuration(chance: random.Random) -> tuple[str, str]:
    """An injector and the script that it writes for a random MeshConfig."""
    injector = chance.choice(list(INJECTORS))

    def some(values, most):
        return chance.sample(values, chance.randint(0, most))

    traffic = {
        "outboundPortExclusionList": some(PORTS, 4),
        "inboundPortExclusionList": some(PORTS, 4),
        "outboundIPRangeExclusionList": some(RANGES, 2),
        "outboundIPRangeInclusionList": some(RANGES, 2) if chance.random() < 0.4 else [],
        "networkInterfaceExclusionList": some(INTERFACES, 2) if chance.random() < 0.5 else [],
    }
    sidecar = {
        "localProxyMode": chance.choice(["Localhost", "PodIP"]),
        "localDNSProxy": {"enable": chance.random() < 0.5},
    }
    return injector, render(injector, {}, {"traffic": traffic, "sidecar": sidecar})


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


def expected(rules: Ruleset, tried: Attempt) -> str:
    """Where the simulator sends a connection, in the words of `seen`."""
    by_address = {address: name for name, address in WEB.interfaces.items()}
    if tried.origin == WEB.name:
        own = tried.destination in by_address or tried.destination.startswith("127.")
        out = "lo" if own else tried.interface or "eth0"
        source = tried.destination if own else WEB.interfaces[tried.interface or "eth0"]
        packet = Packet("OUTPUT", tried.protocol, source, tried.destination, None, tried.port, None, out, tried.uid)
    else:
        came_in = by_address[tried.destination]
        packet = Packet("PREROUTING", tried.protocol, None, tried.destination, None, tried.port, came_in)
    verdict = simulate(rules, packet)
    if verdict.action.value == "ACCEPT":
        return at(tried.destination, tried.port)
    address = verdict.address or tried.destination
    return at(WEB.address if address == POD_IP else address, verdict.port)


def at(address: str, port: int | None) -> str:
    """What answers at an address and port."""
    assert port is not None
    if address in WEB.interfaces.values() or IPv4Address(address).is_loopback:
        return f"web {address}:{port}" if port in WEB.listeners else "refused"
    if address == API.address:
        return f"api {address}:{port}" if port in API.listeners else "refused"
    return f"outside {address}:{port}"


def seen(landing: Landing) -> str:
    if landing.outcome is not Outcome.ACCEPTED:
        return landing.outcome.value
    assert isinstance(landing.local, Endpoint)
    return f"{landing.place} {landing.local.address}:{landing.local.port}"


def test_the_simulator_agrees_with_the_kernel(lab, backend, figure):
    chance = random.Random(SEED)  # noqa: S311 - a seed that can be named
    compared = configurations = 0
    spent = 0.0
    ways: set[tuple[str, str, bool]] = set()
    while compared < CONNECTIONS:
        injector, script = configuration(chance)
        rules = parse(script)
        lab.load(WEB.name, write(rules))
        configurations += 1
        tried = [attempt(chance) for _ in range(AT_ONCE)]
        begun = time.perf_counter()
        wanted = [expected(rules, one) for one in tried]
        spent += time.perf_counter() - begun
        for one, landing, want in zip(tried, lab.connect_many(tried), wanted, strict=True):
            assert seen(landing) == want, f"seed {SEED}, {injector}: {one}\n{script}"
            ways.add((one.protocol, want.partition(" ")[0], want != at(one.destination, one.port)))
        compared += len(tried)
    figure(
        f"simulator against kernel ({backend}): {compared} connections, {configurations} configurations, seed {SEED}, "
        f"0 disagreements, {spent / compared * 1e6:.0f} µs for each simulated one"
    )
    assert ways == {
        (protocol, *place)
        for protocol in PROTOCOLS
        for place in (("web", True), ("web", False), ("api", False), ("outside", False), ("refused", False))
    }


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("--to-ports 15001", "--to-ports 15002"),
        ("! --uid-owner 1500", "! --uid-owner 1501"),
        (f":{DNS_PROXY}", f":{DNS_PROXY + 1}"),
    ],
)
def test_a_wrong_rule_is_seen(lab, right, wrong):
    """The comparison can fail: the simulator is given rules that are not the kernel's."""
    rules = parse(render("fsm-1.2", {}, {"sidecar": {"localDNSProxy": {"enable": True}}}))
    lab.load(WEB.name, write(rules))
    other = parse(write(rules).replace(right, wrong))
    tried = [Attempt(WEB.name, destination, 80, uid) for destination in (FAR[0], WEB.address) for uid in UIDS]
    tried.append(Attempt(WEB.name, DNS_PROXY_ADDRESS, DNS, protocol="udp"))
    landed = [seen(landing) for landing in lab.connect_many(tried)]
    assert landed == [expected(rules, one) for one in tried]
    assert landed != [expected(other, one) for one in tried]
