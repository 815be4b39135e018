"""Where a connection to a Service goes, told directly and by the rules that kube-proxy writes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_fsm import kube_proxy, netfilter, services
from kubectl_fsm.errors import InvalidObject, UsageError
from kubectl_fsm.netfilter import Action, Packet, Ruleset
from kubectl_fsm.services import Client, Endpoint, Kind, PodReference, ServicePort, Via
from tests.support.kube_proxy import RECORDED

NODE, OTHER_NODE = "node", "other"
PODS = "10.244.0.0/16"
CLIENT = Client("10.244.9.9", NODE)
HTTP = {"name": "http", "port": 80, "targetPort": "web"}


def service(*ports, name="web", status=None, labels=None, **spec):
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": labels or {}},
        "spec": {"clusterIP": "10.96.0.10", "ports": list(ports or [HTTP]), **spec},
        "status": status or {},
    }


def endpoint(address, node=NODE, *, ready=True, serving=True, terminating=False, **more):
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    return {"addresses": [address], "nodeName": node, "conditions": conditions, **more}


def endpoint_slice(*endpoints, name="web-1", service="web", ports=({"name": "http", "port": 8080},), **more):
    metadata = {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}}
    return {
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports),
        **more,
    }


def route(one, *slices, text="80", client=CLIENT):
    return services.route(one, services.port_named(one, text), slices, client)


def sockets(routing):
    return [one.socket for one in routing.endpoints]


def noted(routing, words):
    return [note for note in routing.notes if words in note]


# Which port


DNS = service({"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}, {"port": 8080})


@pytest.mark.parametrize(
    ("text", "protocol", "found"),
    [
        ("53", "", ("dns-tcp", 53, "TCP")),
        ("53", "UDP", ("dns", 53, "UDP")),
        ("dns", "", ("dns", 53, "UDP")),
        ("dns-tcp", "TCP", ("dns-tcp", 53, "TCP")),
        ("8080", "", ("", 8080, "TCP")),
        ("08080", "", ("", 8080, "TCP")),
    ],
)
def test_a_port_by_number_or_name(text, protocol, found):
    one = services.port_named(DNS, text, protocol)
    assert (one.name, one.number, one.protocol) == found
    assert (one.namespace, one.service, one.address, one.via) == ("shop", "web", "10.96.0.10", Via.CLUSTER_IP)


@pytest.mark.parametrize("text", ["54", "", "http", "0", "008080", "-53", "５３", "dns-tcp "])
def test_no_such_port_says_which_there_are(text):
    with pytest.raises(UsageError, match=f"^Service web in shop has no port {text}$") as raised:
        services.port_named(DNS, text)
    assert raised.value.hint == "it has 53/UDP (dns), 53 (dns-tcp), 8080"


def test_a_service_without_ports_has_none():
    with pytest.raises(UsageError) as raised:
        services.port_named({"metadata": {"name": "web"}}, "80")
    assert raised.value.hint == "it has no ports at all"
    with pytest.raises(UsageError):
        services.port_named(DNS, "53", "SCTP")


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "db.example.com"}])
def test_any_number_will_do_where_nobody_translates(spec):
    one = services.port_named(service(**spec), "6379")
    assert one == ServicePort("shop", "web", "", 6379, "TCP", "")
    with pytest.raises(UsageError):
        services.port_named(service(**spec), "65536")
    with pytest.raises(UsageError):
        services.port_named(service(**spec), "redis")


LOAD_BALANCED = service(
    HTTP,
    name="lb",
    clusterIP="10.96.0.11",
    type="LoadBalancer",
    externalIPs=["192.0.2.7", "2001:db8::7", "192.0.2.9"],
    status={
        "loadBalancer": {
            "ingress": [
                {"ip": "192.0.2.8"},
                {"hostname": "lb.example.com"},
                {"ip": "192.0.2.9", "ipMode": "VIP"},
                {"ip": "192.0.2.10", "ipMode": "Proxy"},
            ]
        }
    },
)


@pytest.mark.parametrize(
    ("address", "number", "protocol", "found"),
    [
        ("10.96.0.10", 80, "TCP", ("web", "http", Via.CLUSTER_IP)),
        ("10.96.0.11", 80, "TCP", ("lb", "http", Via.CLUSTER_IP)),
        ("192.0.2.7", 80, "TCP", ("lb", "http", Via.EXTERNAL_IP)),
        ("192.0.2.8", 80, "TCP", ("lb", "http", Via.LOAD_BALANCER)),
        ("192.0.2.9", 80, "TCP", ("lb", "http", Via.EXTERNAL_IP)),
        ("192.0.2.7", 443, "TCP", ("tls", "https", Via.EXTERNAL_IP)),
        ("192.0.2.7", 81, "TCP", ("lb", "", Via.EXTERNAL_IP)),
        ("10.96.0.10", 80, "UDP", ("web", "", Via.CLUSTER_IP)),
    ],
)
def test_a_service_by_its_address(address, number, protocol, found):
    shared = service({"name": "https", "port": 443}, name="tls", clusterIP="10.96.0.12", externalIPs=["192.0.2.7"])
    one, port = services.find([service(), LOAD_BALANCED, shared], address, number, protocol)
    assert (one["metadata"]["name"], port.name, port.via) == found
    assert (port.address, port.number, port.protocol) == (address, number, protocol)


@pytest.mark.parametrize("address", ["192.0.2.10", "10.96.0.13", "", "2001:db8::7"])
def test_an_address_that_is_no_services(address):
    headless = service(name="none", clusterIP="None", externalIPs=["10.96.0.13"])
    outside = service(name="out", clusterIP="", type="ExternalName", externalIPs=["10.96.0.13"])
    assert services.find([LOAD_BALANCED, headless, outside, service(clusterIP="")], address, 80) is None


def test_a_port_that_the_address_does_not_have():
    one, port = services.find([service()], "10.96.0.10", 81)
    found = services.route(one, port, [endpoint_slice(endpoint("10.244.0.1"))])
    assert found == (Kind.UNPROXIED, port, (), ("it has no port 81 for TCP: nobody answers there",))


# What kube-proxy does not take


@pytest.mark.parametrize(
    ("one", "kind", "note"),
    [
        (service(type="ExternalName", externalName="db.example.com"), Kind.EXTERNAL_NAME, "DNS answers with db.example.com"),
        (service(type="ExternalName", clusterIP=None), Kind.EXTERNAL_NAME, "a name that is missing"),
        (service(clusterIP=None), Kind.UNPROXIED, "shows no ClusterIP"),
        (service(clusterIP="fd00::1", clusterIPs=["fd00::1"]), Kind.UNPROXIED, "only an IPv6 address"),
        (service(labels={"service.kubernetes.io/service-proxy-name": "cilium"}), Kind.UNPROXIED, "another proxy, cilium"),
        (service(labels={"service.kubernetes.io/service-proxy-name": ""}), Kind.UNPROXIED, "another proxy"),
    ],
)  # fmt: skip
def test_no_rules(one, kind, note):
    found = route(one, endpoint_slice(endpoint("10.244.0.1")))
    assert (found.kind, found.endpoints) == (kind, ())
    assert noted(found, note)
    assert found.port.address == ""
    assert services.addresses(one) == {}


def test_headless_is_the_pods_by_dns():
    one = service(clusterIP="None")
    pods = [endpoint("10.244.0.2"), endpoint("10.244.0.1"), endpoint("10.244.0.3", ready=False)]
    same = [endpoint("10.244.0.1"), endpoint("10.244.0.4", ready=False, serving=True, terminating=True)]
    ports = [{"name": "http", "port": 80}]
    found = route(one, endpoint_slice(*pods, ports=ports), endpoint_slice(*same, name="web-2", ports=ports))
    assert found.kind is Kind.HEADLESS
    assert [(one.socket, one.share) for one in found.endpoints] == [("10.244.0.1:80", 0.5), ("10.244.0.2:80", 0.5)]
    assert len(found.notes) == 1
    assert noted(found, "DNS gives the pods' addresses")


def test_headless_translates_no_port():
    found = route(service(clusterIP="None"), endpoint_slice(endpoint("10.244.0.1")))
    assert sockets(found) == ["10.244.0.1:80"]
    assert noted(found, "dialled at 80, though the Service's target port is 8080")
    unlisted = route(service(clusterIP="None"), endpoint_slice(endpoint("10.244.0.1")), text="6379")
    assert sockets(unlisted) == ["10.244.0.1:6379"]
    assert not noted(unlisted, "target port")


def test_headless_without_anything_ready():
    pods = [endpoint("10.244.0.1", ready=False, serving=True, terminating=True), endpoint("10.244.0.3", ready=False)]
    found = route(service(clusterIP="None"), endpoint_slice(*pods))
    assert (found.kind, found.endpoints) == (Kind.HEADLESS, [])
    assert noted(found, "DNS has no address for it")


# Which endpoints


def test_words_and_defaults_that_others_rely_on():
    kinds = "balanced rejected dropped headless external-name unproxied"
    assert " ".join(kind.value for kind in Kind) == kinds
    assert Endpoint("10.244.0.1", 80) == ("10.244.0.1", 80, None, "", None, True, True, False, False, False)


READY = endpoint("10.244.0.1")
NOT_READY = endpoint("10.244.0.2", ready=False, serving=False)
DRAINING = endpoint("10.244.0.3", ready=False, terminating=True)
GONE = endpoint("10.244.0.4", ready=False, serving=False, terminating=True)
UNSAID = {"addresses": ["10.244.0.5"]}


@pytest.mark.parametrize(
    ("pods", "used", "notes"),
    [
        ([READY], ["10.244.0.1:8080"], []),
        ([UNSAID], ["10.244.0.5:8080"], []),
        ([UNSAID | {"conditions": {"ready": None, "serving": None}}], ["10.244.0.5:8080"], []),
        ([READY, NOT_READY, DRAINING, GONE], ["10.244.0.1:8080"], ["3 of 4 endpoints are not ready"]),
        ([NOT_READY, READY], ["10.244.0.1:8080"], ["1 of 2 endpoints is not ready"]),
        ([NOT_READY, DRAINING, GONE], ["10.244.0.3:8080"], ["are terminating and still serve", "2 of 3 endpoints"]),
        # serving alone is not enough: it is a pod whose readiness somebody else decides
        ([endpoint("10.244.0.6", ready=False)], [], ["not one of its 1 endpoints is ready"]),
        ([NOT_READY, GONE], [], ["not one of its 2 endpoints is ready"]),
        ([], [], ["it has no endpoints"]),
        # publishNotReadyAddresses makes everything ready, also while it terminates
        ([endpoint("10.244.0.7", serving=False, terminating=True)], ["10.244.0.7:8080"], []),
        ([READY, {"addresses": []}, {"addresses": None}], ["10.244.0.1:8080"], []),
        ([{"addresses": ["010.244.000.8", "10.244.0.9"]}], ["10.244.0.8:8080"], []),
    ],
)
def test_ready_else_still_serving(pods, used, notes):
    found = route(service(), endpoint_slice(*pods))
    assert found.kind is (Kind.BALANCED if used else Kind.REJECTED)
    assert sockets(found) == used
    assert len(found.notes) == len(notes)
    assert all(noted(found, note) for note in notes)
    assert bool(noted(found, "icmp-port-unreachable")) is (not used)


def test_only_slices_of_the_service_in_ipv4():
    found = route(
        service(),
        endpoint_slice(endpoint("10.244.0.1")),
        endpoint_slice(endpoint("10.244.0.2"), service="other"),
        endpoint_slice(endpoint("fd00::1"), addressType="IPv6"),
        endpoint_slice(endpoint("pod.example.com"), addressType="FQDN"),
        endpoint_slice(endpoint("10.244.0.3")) | {"metadata": {"name": "web-9", "namespace": "shop"}},
        endpoint_slice(endpoint("10.244.0.4"))
        | {"metadata": {"namespace": "else", "labels": {"kubernetes.io/service-name": "web"}}},
    )
    assert sockets(found) == ["10.244.0.1:8080"]


def test_target_ports_come_from_the_slice():
    """A named target port is another number for each pod that says so, each in a slice of its own."""
    one = service(HTTP, {"name": "admin", "port": 90, "targetPort": 9000})
    other_ports = [{"name": "admin", "port": 9000}, {"name": "http", "port": 8081, "protocol": "TCP"}]
    udp = [{"name": "http", "port": 5353, "protocol": "UDP"}]
    slices = [
        endpoint_slice(endpoint("10.244.0.10")),
        endpoint_slice(endpoint("10.244.0.2"), name="web-2", ports=other_ports),
        endpoint_slice(endpoint("10.244.0.3"), name="web-3", ports=udp),
        endpoint_slice(endpoint("10.244.0.4"), name="web-4", ports=[{"name": "http"}]),
        endpoint_slice(endpoint("10.244.0.5"), name="web-5", ports=[{"name": "http", "port": 0}]),
        endpoint_slice(endpoint("10.244.0.6"), name="web-6") | {"ports": None},
    ]
    assert sockets(route(one, *slices)) == ["10.244.0.10:8080", "10.244.0.2:8081"]
    assert sockets(route(one, *slices, text="admin")) == ["10.244.0.2:9000"]
    unnamed = service({"port": 80})
    assert sockets(route(unnamed, endpoint_slice(READY, ports=[{"port": 1}, {"name": None, "port": 2}]))) == [
        "10.244.0.1:1",
        "10.244.0.1:2",
    ]


@pytest.mark.parametrize(
    ("target", "note"), [("web", "no container port is called web"), (8080, "the slices do not have it")]
)
def test_endpoints_that_do_not_have_the_port(target, note):
    found = route(service(HTTP | {"targetPort": target}), endpoint_slice(READY, ports=[]))
    assert (found.kind, found.endpoints) == (Kind.REJECTED, ())
    assert noted(found, note)


def test_an_endpoint_knows_its_pod():
    pod = {"kind": "Pod", "name": "web-x", "uid": "1-2-3"}
    found = route(
        service(),
        endpoint_slice(
            endpoint("10.244.0.1", targetRef=pod | {"namespace": "shop"}),
            endpoint("10.244.0.2", targetRef=pod, node=None),
            endpoint("10.244.0.3", targetRef={"kind": "VirtualMachine", "name": "vm"}),
        ),
    )
    assert [one.pod for one in found.endpoints] == [PodReference("shop", "web-x", "1-2-3")] * 2 + [None]
    assert [one.node for one in found.endpoints] == [NODE, "", NODE]
    assert [one.share for one in found.endpoints] == [1 / 3] * 3


def test_one_address_in_two_slices_is_one_endpoint():
    old = endpoint("10.244.0.1", ready=False, terminating=True, targetRef={"kind": "Pod", "name": "old"})
    new = endpoint("10.244.0.1", targetRef={"kind": "Pod", "name": "new"})
    for first, second in ((old, new), (new, old)):
        found = route(service(), endpoint_slice(first), endpoint_slice(second, name="web-2"))
        assert [(one.socket, one.pod.name, one.share) for one in found.endpoints] == [("10.244.0.1:8080", "new", 1.0)]
    twins = [endpoint_slice(new, name="web-2"), endpoint_slice(NOT_READY | {"addresses": ["10.244.0.1"]}, name="web-1")]
    assert route(service(), *twins) == route(service(), *reversed(twins))
    assert route(service(), *twins).kind is Kind.BALANCED


# Policies and notes


HERE = [endpoint("10.244.0.1"), endpoint("10.244.0.2")]
THERE = [endpoint("10.244.1.1", OTHER_NODE), endpoint("10.244.1.2", None)]
LOCAL = {"internalTrafficPolicy": "Local"}


@pytest.mark.parametrize(
    ("pods", "client", "kind", "used"),
    [
        ([*HERE, *THERE], CLIENT, Kind.BALANCED, {"10.244.0.1": 0.5, "10.244.0.2": 0.5}),
        (THERE, CLIENT, Kind.DROPPED, {}),
        (THERE[1:], Client(), Kind.DROPPED, {}),
        ([], CLIENT, Kind.REJECTED, {}),
        ([NOT_READY], CLIENT, Kind.REJECTED, {}),
        ([NOT_READY, *THERE], CLIENT, Kind.DROPPED, {}),
        # readiness elsewhere does not count: the node falls back on its own
        ([DRAINING, *THERE], CLIENT, Kind.BALANCED, {"10.244.0.3": 1.0}),
        ([DRAINING, *HERE, *THERE], Client(), Kind.BALANCED, dict.fromkeys(("10.244.0.1", "10.244.0.2", "10.244.1.1"))),
        ([DRAINING, *THERE], Client(), Kind.BALANCED, dict.fromkeys(("10.244.0.3", "10.244.1.1"))),
    ],
)
def test_internal_policy_local(pods, client, kind, used):
    found = route(service(**LOCAL), endpoint_slice(*pods), client=client)
    assert found.kind is kind
    assert {one.address: one.share for one in found.endpoints} == used
    assert bool(noted(found, "internalTrafficPolicy Local")) is (kind is not Kind.REJECTED)
    assert bool(noted(found, "not known")) is (kind is Kind.BALANCED and not client.node)


def external(one, address, *slices, client=CLIENT):
    return services.route(*services.find([one], address, 80), slices, client)


@pytest.mark.parametrize("address", ["192.0.2.7", "192.0.2.8"])
def test_pods_that_dial_an_outside_address_use_all_endpoints(address):
    spec = LOAD_BALANCED["spec"] | LOCAL | {"externalTrafficPolicy": "Local"}
    found = external(LOAD_BALANCED | {"spec": spec}, address, endpoint_slice(*HERE, *THERE, service="lb"))
    assert len(found.endpoints) == 4
    assert noted(found, "externalTrafficPolicy Local")
    assert not noted(found, "internalTrafficPolicy")
    plain = external(LOAD_BALANCED, address, endpoint_slice(*HERE, service="lb"))
    assert (plain.kind, plain.notes) == (Kind.BALANCED, [])


@pytest.mark.parametrize(
    ("ranges", "client", "kind"),
    [
        ([" 203.0.113.0/25"], "203.0.113.127", Kind.BALANCED),
        ([" 203.0.113.0/25"], "203.0.113.128", Kind.DROPPED),
        (["192.0.2.0/24", "10.244.9.0/24 "], "10.244.9.9", Kind.BALANCED),
        (["192.0.2.0/24", "0.0.0.0/0"], "10.244.9.9", Kind.BALANCED),
        (["2001:db8::/32"], "10.244.9.9", Kind.BALANCED),
        (["203.0.113.0/25"], "", Kind.BALANCED),
    ],
)
def test_source_ranges_of_a_load_balancer(ranges, client, kind):
    one = LOAD_BALANCED | {"spec": LOAD_BALANCED["spec"] | {"loadBalancerSourceRanges": ranges}}
    slices = endpoint_slice(*HERE, service="lb")
    found = external(one, "192.0.2.8", slices, client=Client(client))
    assert found.kind is kind
    assert bool(noted(found, "do not hold the client's address")) is (kind is Kind.DROPPED)
    assert bool(noted(found, "assumes")) is (not client)
    assert external(one, "192.0.2.7", slices, client=Client(client)).kind is Kind.BALANCED
    assert external(one, "192.0.2.8", client=Client(client)).kind is Kind.REJECTED


ZONE, NODES = {"forZones": [{"name": "z1"}]}, {"forNodes": [{"name": NODE}]}
SIX = {"clusterIPs": ["10.96.0.10", "fd00::1"]}


@pytest.mark.parametrize(
    ("spec", "pods", "client", "note"),
    [
        ({"sessionAffinity": "ClientIP"}, HERE, CLIENT, "more than 10800 s"),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}},
            HERE,
            CLIENT,
            "more than 60 s",
        ),
        ({"sessionAffinity": "None"}, HERE, CLIENT, ""),
        ({"publishNotReadyAddresses": True}, HERE, CLIENT, "publishNotReadyAddresses"),
        (SIX, HERE, CLIENT, "clients can dial fd00::1 too"),
        ({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.96.0.10"]}, HERE, CLIENT, "clients can dial fd00::1 too"),
        ({}, HERE, Client("10.244.0.2"), "the client is one of the endpoints"),
        ({}, [READY | {"hints": ZONE}], CLIENT, "meant for certain zones"),
        ({}, [READY | {"hints": ZONE | NODES}, NOT_READY], Client(), "meant for certain nodes"),
        ({}, [READY | {"hints": ZONE}, *THERE], CLIENT, ""),
        ({}, [READY | {"hints": None}, NOT_READY | {"hints": ZONE}], CLIENT, "1 of 2"),
    ],
)  # fmt: skip
def test_what_a_user_should_know(spec, pods, client, note):
    found = route(service(**spec), endpoint_slice(*pods), client=client)
    assert found.kind is Kind.BALANCED
    assert bool(noted(found, note)) is bool(note)
    assert len(found.notes) >= bool(note)
    if not note:
        assert not found.notes


def test_hints_do_not_matter_on_one_node():
    found = route(service(**LOCAL), endpoint_slice(READY | {"hints": ZONE}))
    assert not noted(found, "zones")
    other = service(**LOCAL, externalIPs=["192.0.2.7"])
    assert noted(external(other, "192.0.2.7", endpoint_slice(READY | {"hints": ZONE})), "zones")


# Odd input


@pytest.mark.parametrize(
    ("one", "field"),
    [
        (service("http"), r"Service shop/web: spec\.ports\[0\] is a string, not an object"),
        (service({"port": "80"}), r"spec\.ports\[0\]\.port is a string, not a whole number"),
        (service({"port": True}), r"spec\.ports\[0\]\.port is a boolean, not a whole number"),
        (service({"port": 80.5}), r"spec\.ports\[0\]\.port is a number, not a whole number"),
        (service({"name": "http"}), r"spec\.ports\[0\] has no port"),
        (service({"port": 65536}), r"spec\.ports\[0\]\.port is 65536, not a number from 1 to 65535"),
        (service({"port": 0}), r"spec\.ports\[0\]\.port is 0"),
        (service(HTTP, {"port": 81, "name": 5}), r"spec\.ports\[1\]\.name is a number, not a string"),
        (service(HTTP, {"port": 81, "protocol": 5}), r"spec\.ports\[1\]\.protocol is a number, not a string"),
        (service(clusterIP=7), r"spec\.clusterIP is a number, not a string"),
        (service(clusterIPs=["10.96.0.10", 7]), r"spec\.clusterIPs\[1\] is a number, not a string"),
        (service(type=[]), r"spec\.type is a list, not a string"),
        (service(labels={"service.kubernetes.io/service-proxy-name": 7}), r"metadata\.labels\.service"),
        (service() | {"spec": "x"}, r"spec is a string, not an object"),
        (service(internalTrafficPolicy=1), r"spec\.internalTrafficPolicy"),
        (service(sessionAffinity=1), r"spec\.sessionAffinity"),
        (service(publishNotReadyAddresses="yes"), r"spec\.publishNotReadyAddresses is a string, not a boolean"),
        (
            service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": "9"}}),
            r"spec\.sessionAffinityConfig\.clientIP\.timeoutSeconds is a string",
        ),
    ],
)
def test_a_service_that_is_none(one, field):
    with pytest.raises(InvalidObject, match=field):
        route(one, endpoint_slice(READY))


@pytest.mark.parametrize(
    ("one", "field"),
    [
        (service(externalIPs="192.0.2.7"), r"spec\.externalIPs is a string, not a list"),
        (service(externalIPs=[7]), r"spec\.externalIPs\[0\] is a number"),
        (service(status={"loadBalancer": {"ingress": [{}, {"ip": 7}]}}), r"status\.loadBalancer\.ingress\[1\]\.ip is a num"),
    ],
)  # fmt: skip
def test_addresses_that_are_none(one, field):
    with pytest.raises(InvalidObject, match=field):
        services.find([one], "192.0.2.7", 80)


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "", "10.0.0/8"])
def test_source_ranges_that_are_none(text):
    one = LOAD_BALANCED | {"spec": LOAD_BALANCED["spec"] | {"loadBalancerSourceRanges": ["10.0.0.0/8", text]}}
    with pytest.raises(InvalidObject, match=r"^Service shop/lb: spec\.loadBalancerSourceRanges\[1\] is no IPv4 range$"):
        external(one, "192.0.2.8", endpoint_slice(READY, service="lb"))


@pytest.mark.parametrize(
    ("one", "field"),
    [
        (endpoint_slice("x"), r"EndpointSlice shop/web-1: endpoints\[0\] is a string, not an object"),
        (endpoint_slice(READY, {"addresses": "10.0.0.1"}), r"endpoints\[1\]\.addresses is a string, not a list"),
        (endpoint_slice({"addresses": [7]}), r"endpoints\[0\]\.addresses\[0\] is a number, not a string"),
        (endpoint_slice({"addresses": ["fd00::1"]}), r"endpoints\[0\]\.addresses\[0\] is no IPv4 address"),
        (endpoint_slice({"addresses": ["10.0.0.256"]}), r"endpoints\[0\]\.addresses\[0\] is no IPv4 address"),
        (endpoint_slice({"addresses": [""]}), r"endpoints\[0\]\.addresses\[0\] is no IPv4 address"),
        (endpoint_slice({"addresses": [None]}), r"endpoints\[0\]\.addresses\[0\] is no IPv4 address"),
        (endpoint_slice(endpoint("10.0.0.1", ready="true")), r"endpoints\[0\]\.conditions\.ready is a string, not a bool"),
        (endpoint_slice(endpoint("10.0.0.1", serving=1)), r"endpoints\[0\]\.conditions\.serving is a number"),
        (endpoint_slice(endpoint("10.0.0.1", terminating=1)), r"endpoints\[0\]\.conditions\.terminating is a number"),
        (endpoint_slice(READY | {"conditions": []}), r"endpoints\[0\]\.conditions is a list, not an object"),
        (endpoint_slice(READY | {"nodeName": 1}), r"endpoints\[0\]\.nodeName is a number"),
        (endpoint_slice(READY | {"targetRef": {"kind": "Pod", "uid": 1}}), r"endpoints\[0\]\.targetRef\.uid is a number"),
        (endpoint_slice(READY | {"hints": {"forZones": {}}}), r"endpoints\[0\]\.hints\.forZones is an object, not a list"),
        (endpoint_slice(READY, ports=[{"name": "http", "port": "80"}]), r"ports\[0\]\.port is a string"),
        (endpoint_slice(READY, ports=[{"name": "http", "port": 70000}]), r"ports\[0\]\.port is 70000"),
        (endpoint_slice(READY, ports=[{"name": 1}]), r"ports\[0\]\.name is a number"),
        (endpoint_slice(READY, ports=[7]), r"ports\[0\] is a number, not an object"),
        (endpoint_slice(READY, addressType=4), r"addressType is a number"),
    ],
)  # fmt: skip
def test_slices_that_are_none(one, field):
    with pytest.raises(InvalidObject, match=field):
        route(service(), one)


# The rules


def rules(objects, slices, node=NODE, pods=PODS):
    return kube_proxy.rules(objects, slices, node, pods)


def passing(ruleset):
    """The rules as a pod's packet meets them on its node, PREROUTING and then FORWARD, at one hook that is simulated."""
    tables = {table: dict(chains) for table, chains in ruleset.tables.items()}
    tables["nat"]["OUTPUT"] = tables["nat"]["PREROUTING"]._replace(name="OUTPUT")
    tables["filter"]["OUTPUT"] = tables["filter"]["FORWARD"]._replace(name="OUTPUT")
    return Ruleset(tables)


def by_rules(ruleset, port, client=CLIENT):
    """Kind and shares, as the rules have it."""
    packet = Packet(
        "OUTPUT",
        port.protocol.lower(),
        source=client.address,
        destination=port.address,
        destination_port=port.number,
        local=frozenset(),
    )
    shares = Counter()
    for probability, verdict in netfilter.outcomes(passing(ruleset), packet):
        shares[verdict.action, verdict.address and f"{verdict.address}:{verdict.port}"] += probability
    kinds = {Action.DNAT: Kind.BALANCED, Action.REJECT: Kind.REJECTED, Action.DROP: Kind.DROPPED}
    (action,) = {action for action, _ in shares}
    found = {socket: share for (_, socket), share in shares.items() if action is Action.DNAT}
    return kinds.get(action, Kind.UNPROXIED), found


def same(ruleset, port, routing, client=CLIENT):
    kind, shares = by_rules(ruleset, port, client)
    assert kind is routing.kind
    assert shares == pytest.approx({one.socket: one.share for one in routing.endpoints}, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "port", "endpoint", "name"),
    [
        # names that kube-proxy's own tests expect (pkg/proxy/iptables/proxier_test.go)
        ("SVC", ("ns1", "svc1", "p80", 80, "TCP"), "", "KUBE-SVC-XPGD46QRK7WJZT7O"),
        ("EXT", ("ns2", "svc2", "p80", 80, "TCP"), "", "KUBE-EXT-GNZBNJ2PO5MGZ6GT"),
        ("FW", ("ns5", "svc5", "p80", 80, "TCP"), "", "KUBE-FW-NUKIZ6OKUXPJNT4C"),
        ("SEP", ("ns1", "svc1", "p80", 80, "TCP"), "10.180.0.1:80", "KUBE-SEP-SXIVWICOYRO3J4NJ"),
        # names that every cluster has
        ("SVC", ("default", "kubernetes", "https", 443, "TCP"), "", "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        ("SVC", ("kube-system", "kube-dns", "dns", 53, "UDP"), "", "KUBE-SVC-TCOU7JCQXEZGVUNU"),
    ],
)
def test_names_of_chains(kind, port, endpoint, name):
    assert kube_proxy.chain_name(kind, ServicePort(*port, "10.96.0.1"), endpoint) == name


def balanced(name, number, **spec):
    """A Service that can be dialled from outside."""
    ingress = {"loadBalancer": {"ingress": [{"ip": f"192.0.2.1{number}"}]}}
    return service(HTTP, name=name, clusterIP=f"10.96.0.2{number}", type="LoadBalancer", status=ingress, **spec)


RECORDED_SERVICES = [
    service(),
    service({"port": 53, "protocol": "UDP"}, name="empty", clusterIP="10.96.0.11"),
    service(HTTP, name="near", clusterIP="10.96.0.12", **LOCAL),
    service(HTTP, name="far", clusterIP="10.96.0.13", **LOCAL),
    balanced("open", 1, externalIPs=["192.0.2.21"]),
    balanced("closed", 2, loadBalancerSourceRanges=["203.0.113.0/24", "10.244.0.0/16"]),
    balanced("strict", 3, externalTrafficPolicy="Local"),
    balanced("remote", 4, externalTrafficPolicy="Local", externalIPs=["192.0.2.24"]),
]
RECORDED_SLICES = [
    endpoint_slice(*HERE, endpoint("10.244.1.1", OTHER_NODE), NOT_READY | {"addresses": ["10.244.0.9"]}),
    endpoint_slice(*HERE[:1], endpoint("10.244.1.1", OTHER_NODE), name="near-1", service="near"),
    endpoint_slice(endpoint("10.244.1.1", OTHER_NODE), name="far-1", service="far"),
    endpoint_slice(*HERE[:1], name="open-1", service="open"),
    endpoint_slice(*HERE[:1], name="closed-1", service="closed"),
    endpoint_slice(*HERE[:1], endpoint("10.244.1.1", OTHER_NODE), name="strict-1", service="strict"),
    endpoint_slice(endpoint("10.244.1.1", OTHER_NODE), DRAINING, name="remote-1", service="remote"),
]


def test_the_rules_are_those_that_kube_proxy_wrote():
    """Chain by chain, in order; only the order of Services is kube-proxy's own, another one in each run."""
    recorded = netfilter.parse(RECORDED)
    written = netfilter.dump.normal(rules(RECORDED_SERVICES, RECORDED_SLICES))
    assert written.tables.keys() == recorded.tables.keys()
    for table, chains in recorded.tables.items():
        found = written.tables[table]
        assert found.keys() == chains.keys()
        for name, chain in chains.items():
            order = repr if name.startswith(("KUBE-SERVICES", "KUBE-EXTERNAL", "KUBE-PROXY")) else (lambda _: 0)
            assert sorted(found[name].rules, key=order) == sorted(chain.rules, key=order)


def test_sctp_and_what_is_not_proxied_have_no_rules():
    objects = [service(HTTP | {"protocol": "SCTP"}), service(clusterIP="None"), service(clusterIP="")]
    sctp = endpoint_slice(READY, ports=[{"name": "http", "port": 1, "protocol": "SCTP"}])
    six = endpoint_slice(endpoint("fd00::1"), addressType="IPv6")
    assert rules(objects, [sctp, endpoint_slice(READY)]) == rules([], [])
    assert rules([service()], [endpoint_slice(READY), six]) == rules([service()], [endpoint_slice(READY)])
    assert sockets(route(objects[0], sctp)) == ["10.244.0.1:1"]


def test_outsiders_stay_on_the_node_under_a_local_policy():
    outsider = Client("198.51.100.1")
    one = balanced("strict", 3, externalTrafficPolicy="Local")
    _, port = services.find([one], "192.0.2.13", 80)
    here, there = (endpoint_slice(*pods, service="strict") for pods in (HERE[:1], THERE))
    assert by_rules(rules([one], [here]), port, outsider) == (Kind.BALANCED, {"10.244.0.1:8080": 1})
    assert by_rules(rules([one], [there]), port, outsider) == (Kind.DROPPED, {})
    assert by_rules(rules([one], []), port, outsider) == (Kind.REJECTED, {})
    everybody = rules([balanced("strict", 3)], [there])
    assert by_rules(everybody, port, outsider)[0] is Kind.BALANCED
    assert not everybody.tables["filter"]["KUBE-EXTERNAL-SERVICES"].rules


def test_a_node_that_does_not_know_its_pods():
    """Then everybody is from outside, and nobody is masqueraded for it at the ClusterIP."""
    one = balanced("strict", 3, externalTrafficPolicy="Local")
    text = netfilter.write(rules([one], [endpoint_slice(*HERE, *THERE, service="strict")], pods=""))
    assert "10.244.0.0/16" not in text
    assert "cluster IP" in text
    assert "pod traffic" not in text


def test_two_load_balancers_share_the_source_ranges():
    ingress = {"loadBalancer": {"ingress": [{"ip": "192.0.2.12"}, {"ip": "192.0.2.13"}]}}
    one = balanced("closed", 2, loadBalancerSourceRanges=["203.0.113.0/24"]) | {"status": ingress}
    ruleset = rules([one], [endpoint_slice(*HERE, service="closed")])
    assert [len(chain.rules) for name, chain in ruleset.tables["nat"].items() if name.startswith("KUBE-FW-")] == [1]
    assert len(ruleset.tables["filter"]["KUBE-PROXY-FIREWALL"].rules) == 2


def test_a_pod_that_reaches_itself_is_masqueraded():
    one = service()
    ruleset = rules([one], [endpoint_slice(READY)])
    packet = Packet("PREROUTING", "tcp", "10.244.0.1", "10.96.0.10", 40000, 80, local=frozenset())
    targets = [visit.rule.target for visit in netfilter.simulate(ruleset, packet).visits if visit.matched]
    assert netfilter.model.SetMark(0x4000, 0x4000) in targets
    elsewhere = packet._replace(source="10.244.0.2")
    targets = [visit.rule.target for visit in netfilter.simulate(ruleset, elsewhere).visits if visit.matched]
    assert netfilter.model.SetMark(0x4000, 0x4000) not in targets
    outsider = packet._replace(source="192.0.2.1")
    targets = [visit.rule.target for visit in netfilter.simulate(ruleset, outsider).visits if visit.matched]
    assert netfilter.model.SetMark(0x4000, 0x4000) in targets


def test_many_endpoints_have_equal_shares():
    pods = [endpoint(f"10.244.{number >> 8}.{number & 255}") for number in range(300)]
    one = service()
    found = route(one, endpoint_slice(*pods))
    same(rules([one], [endpoint_slice(*pods)]), found.port, found)
    assert sum(one.share for one in found.endpoints) == pytest.approx(1)


ADDRESSES = [f"10.244.{third}.{fourth}" for third in (0, 1) for fourth in (1, 2, 3)]
CONDITION = st.sampled_from([True, False, None])
ENDPOINTS = st.builds(
    lambda address, node, conditions: {"addresses": [address], "nodeName": node, "conditions": conditions},
    st.sampled_from(ADDRESSES),
    st.sampled_from([NODE, OTHER_NODE, None]),
    st.fixed_dictionaries({}, optional={"ready": CONDITION, "serving": CONDITION, "terminating": CONDITION}),
)
PROTOCOLS = st.sampled_from(["TCP", "UDP"])
PORT_LISTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["", "a", "b"]), "port": st.sampled_from([80, 81]), "protocol": PROTOCOLS}
    ),
    min_size=1,
    max_size=3,
    unique_by=(lambda port: (port["port"], port["protocol"]), lambda port: port["name"]),
)
SLICE_PORTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["", "a", "b"]), "port": st.sampled_from([8080, 8081]), "protocol": PROTOCOLS}
    ),
    max_size=4,
    unique_by=lambda port: (port["name"], port["protocol"]),
)
POLICIES = st.sampled_from(["Cluster", "Local"])
NAMES = ("one", "two")


def drawn_service(name, ports, policies, outside):
    number = NAMES.index(name)
    status = {"loadBalancer": {"ingress": [{"ip": f"192.0.2.1{number}"}]}} if outside["ingress"] else {}
    return service(
        *ports,
        name=name,
        status=status,
        clusterIP=f"10.96.0.1{number}",
        type="LoadBalancer",
        externalIPs=[f"192.0.2.2{number}"] if outside["external"] else [],
        loadBalancerSourceRanges=outside["ranges"],
        internalTrafficPolicy=policies[0],
        externalTrafficPolicy=policies[1],
    )


OUTSIDE = st.fixed_dictionaries(
    {
        "ingress": st.booleans(),
        "external": st.booleans(),
        "ranges": st.sampled_from([[], ["10.244.0.0/16"], ["198.51.100.0/24"], ["198.51.100.0/24", "0.0.0.0/0"]]),
    }
)
SERVICES = st.tuples(
    *(st.builds(drawn_service, st.just(name), PORT_LISTS, st.tuples(POLICIES, POLICIES), OUTSIDE) for name in NAMES)
)
SLICES = st.lists(
    st.builds(
        lambda name, owner, endpoints, ports: endpoint_slice(*endpoints, name=name, service=owner, ports=ports),
        st.sampled_from(["s-1", "s-2", "s-3"]),
        st.sampled_from([*NAMES, "none"]),
        st.lists(ENDPOINTS, max_size=6),
        SLICE_PORTS,
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(SERVICES, SLICES, st.sampled_from(["10.244.9.9", ADDRESSES[0]]))
def test_the_direct_answer_is_that_of_the_rules(objects, slices, address):
    client = Client(address, NODE)
    ruleset = rules(objects, slices)
    assert netfilter.parse(netfilter.write(ruleset)) == netfilter.dump.normal(ruleset)
    for one in objects:
        for dialled, via in services.addresses(one).items():
            for number in (80, 81, 82):
                for protocol in ("TCP", "UDP"):
                    found, port = services.find(objects, dialled, number, protocol)
                    assert (found is one, port.via) == (True, via)
                    same(ruleset, port, services.route(one, port, slices, client), client)
