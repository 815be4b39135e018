"""Where the kernel leads a meshed pod's connections under FSM 1.5's rules: what the plugin says of them has to be so."""

from __future__ import annotations

import pytest

from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Attempt, Endpoint, Outcome
from tests.support.pods import API, APP_UID, SIDECAR_UID, WEB, rules

TRAFFIC = {
    "outboundPortExclusionList": [6379, 65535],
    "inboundPortExclusionList": [6379],
    "outboundIPRangeExclusionList": ["172.16.9.9/12", "198.51.100.7/32"],
    "networkInterfaceExclusionList": ["net1", "veth+"],
}
RULES = rules(traffic=TRAFFIC)
POD_IP_RULES = rules(traffic=TRAFFIC, sidecar={"localProxyMode": "PodIP"})
LIMITED = rules(traffic={"outboundIPRangeInclusionList": ["203.0.113.0/24"]})

FAR = "203.0.113.5"
SIDECAR_OUT = "127.0.0.1 15001"
"""How `landed` says that a connection was redirected to the outbound listener."""
LOOP_IN = "127.0.0.1 15003"
"""The same of the inbound listener, for what a process of the pod dialled."""


def landed(lab, attempt):
    """Where a connection landed, as `who address:port`; at the listeners that rules redirect to, as `address port`."""
    landing = lab.connect(attempt)
    if landing.outcome is not Outcome.ACCEPTED:
        return landing.outcome.value
    assert landing.original == Endpoint(attempt.destination, attempt.port)
    if landing.place == WEB.name and landing.local.port in (15001, 15003):
        assert landing.uid == SIDECAR_UID
        return f"{landing.local.address} {landing.local.port}"
    return f"{landing.place} {landing.local.address}:{landing.local.port}"


@pytest.mark.parametrize(
    ("uid", "destination", "port", "wanted"),
    [
        (APP_UID, FAR, 80, SIDECAR_OUT),
        (0, FAR, 80, SIDECAR_OUT),
        (APP_UID, FAR, 1, SIDECAR_OUT),
        (APP_UID, FAR, 65534, SIDECAR_OUT),
        (APP_UID, FAR, 15000, SIDECAR_OUT),
        (APP_UID, API.address, 8080, SIDECAR_OUT),
        (APP_UID, "169.254.169.254", 80, SIDECAR_OUT),
        (SIDECAR_UID, FAR, 80, f"outside {FAR}:80"),
        (SIDECAR_UID - 1, FAR, 80, SIDECAR_OUT),
        (SIDECAR_UID + 1, FAR, 80, SIDECAR_OUT),
        (SIDECAR_UID, API.address, 8080, f"api {API.address}:8080"),
        (SIDECAR_UID, API.address, 8081, "refused"),
        (APP_UID, FAR, 6379, f"outside {FAR}:6379"),
        (APP_UID, FAR, 65535, f"outside {FAR}:65535"),
        (APP_UID, API.address, 6379, f"api {API.address}:6379"),
        (APP_UID, "172.16.0.0", 80, "outside 172.16.0.0:80"),
        (APP_UID, "172.31.255.255", 80, "outside 172.31.255.255:80"),
        (APP_UID, "172.15.255.255", 80, SIDECAR_OUT),
        (APP_UID, "172.32.0.0", 80, SIDECAR_OUT),
        (APP_UID, "198.51.100.7", 80, "outside 198.51.100.7:80"),
        (APP_UID, "198.51.100.8", 80, SIDECAR_OUT),
        (APP_UID, "127.0.0.1", 8080, "web 127.0.0.1:8080"),
        (SIDECAR_UID, "127.0.0.1", 8080, "web 127.0.0.1:8080"),
        (APP_UID, "127.0.0.2", 8080, "web 127.0.0.2:8080"),
        (SIDECAR_UID, "127.0.0.2", 8080, LOOP_IN),
        (APP_UID, WEB.address, 8080, f"web {WEB.address}:8080"),
        (SIDECAR_UID, WEB.address, 8080, LOOP_IN),
        (SIDECAR_UID, WEB.address, 6379, LOOP_IN),
        (SIDECAR_UID, WEB.interfaces["net1"], 8080, LOOP_IN),
    ],
)
def test_outbound(lab, uid, destination, port, wanted):
    lab.load(WEB.name, RULES)
    assert landed(lab, Attempt(WEB.name, destination, port, uid)) == wanted


@pytest.mark.parametrize(
    ("interface", "wanted"), [("eth0", SIDECAR_OUT), ("net1", f"outside {FAR}:80"), ("veth7", f"outside {FAR}:80")]
)
def test_outbound_by_another_interface(lab, interface, wanted):
    lab.load(WEB.name, RULES)
    assert landed(lab, Attempt(WEB.name, FAR, 80, APP_UID, interface)) == wanted


@pytest.mark.parametrize("interface", WEB.interfaces)
def test_redirected_whatever_the_interface(lab, interface):
    """A mark that chooses the interface does not keep a redirected packet from coming home."""
    lab.load(WEB.name, rules())
    attempt = Attempt(WEB.name, FAR, 80, APP_UID, interface)
    assert landed(lab, attempt) == SIDECAR_OUT
    assert lab.connect(attempt).peer.address == WEB.interfaces[interface]


@pytest.mark.parametrize("origin", [API.name, NODE, OUTSIDE])
@pytest.mark.parametrize(
    ("port", "wanted"),
    [
        (8080, f"{WEB.address} 15003"),
        (4321, f"{WEB.address} 15003"),
        (15000, f"{WEB.address} 15003"),
        (15001, f"{WEB.address} 15003"),
        (6379, f"web {WEB.address}:6379"),
        *((port, f"web {WEB.address}:{port}") for port in (15010, 15901, 15902, 15903, 15904)),
    ],
)
def test_inbound(lab, origin, port, wanted):
    lab.load(WEB.name, RULES)
    assert landed(lab, Attempt(origin, WEB.address, port)) == wanted


@pytest.mark.parametrize("interface", ["net1", "veth7"])
def test_inbound_by_an_excluded_interface(lab, interface):
    lab.load(WEB.name, RULES)
    address = WEB.interfaces[interface]
    assert landed(lab, Attempt(API.name, address, 8080)) == f"web {address}:8080"


def test_inbound_is_redirected_to_the_address_of_the_interface(lab):
    lab.load(WEB.name, rules())
    for address in WEB.interfaces.values():
        assert landed(lab, Attempt(OUTSIDE, address, 8080, source=FAR, source_port=53)) == f"{address} 15003"


def test_between_two_meshed_pods(lab):
    """The caller's sidecar takes it; what the sidecar then sends, the other's takes."""
    for pod in (WEB, API):
        lab.load(pod.name, rules())
    app, sidecar = lab.connect_many([Attempt(WEB.name, API.address, 8080, uid) for uid in (APP_UID, SIDECAR_UID)])
    assert (app.place, app.local.port, app.original) == (WEB.name, 15001, Endpoint(API.address, 8080))
    assert (sidecar.place, sidecar.local.port, sidecar.original) == (API.name, 15003, Endpoint(API.address, 8080))
    assert sidecar.peer.address == WEB.address


def test_pod_ip_mode(lab):
    """The sidecar's calls to loopback reach the application at the pod's address, and are not intercepted again."""
    lab.load(WEB.name, POD_IP_RULES)
    landing = lab.connect(Attempt(WEB.name, "127.0.0.1", 8080, SIDECAR_UID))
    assert (landing.place, landing.local) == (WEB.name, Endpoint(WEB.address, 8080))
    assert (landing.original, landing.peer.address) == (Endpoint("127.0.0.1", 8080), "127.0.0.1")
    assert landed(lab, Attempt(WEB.name, "127.0.0.1", 8080, APP_UID)) == "web 127.0.0.1:8080"
    assert landed(lab, Attempt(WEB.name, FAR, 80, SIDECAR_UID)) == f"outside {FAR}:80"


def test_included_ranges(lab):
    lab.load(WEB.name, LIMITED)
    assert landed(lab, Attempt(WEB.name, FAR, 80, APP_UID)) == SIDECAR_OUT
    assert landed(lab, Attempt(WEB.name, "203.0.114.0", 80, APP_UID)) == "outside 203.0.114.0:80"


def test_without_rules_everything_is_direct(lab):
    assert landed(lab, Attempt(WEB.name, FAR, 80, APP_UID)) == f"outside {FAR}:80"
    assert landed(lab, Attempt(API.name, WEB.address, 8080)) == f"web {WEB.address}:8080"
    assert landed(lab, Attempt(WEB.name, "127.0.0.1", 15001)) == SIDECAR_OUT
