"""What a person writes as a destination, and where it leads: Services, addresses, pods, in files and in a cluster."""

import ipaddress

import pytest

from kubectl_fsm.errors import Forbidden, InvalidObject, NotFound, UsageError
from kubectl_fsm.operations import instances, targets
from kubectl_fsm.operations.destinations import Destination, Finder, parse
from kubectl_fsm.operations.instances import StandIns
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.services import Kind
from tests.unit.test_guards_offline import NAMESPACE, deployment, meshconfig
from tests.unit.test_held_edits import Remote, cron_job, running


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("svc/redis:6379", Destination("svc/redis:6379", "6379", service="redis")),
        ("service/redis", Destination("service/redis", "", service="redis")),
        ("services/redis:tcp", Destination("services/redis:tcp", "tcp", service="redis")),
        ("svc/redis.cache:1", Destination("svc/redis.cache:1", "1", service="redis", namespace="cache")),
        ("svc/redis.cache.svc:65535", Destination("svc/redis.cache.svc:65535", "65535", "redis", "cache")),
        ("svc/r.c.svc.cluster.local:h-1", Destination("svc/r.c.svc.cluster.local:h-1", "h-1", "r", "c")),
        ("10.96.0.1:443", Destination("10.96.0.1:443", "443", address="10.96.0.1")),
        ("127.0.0.1:80", Destination("127.0.0.1:80", "80", address="127.0.0.1")),
        ("web-1:8080", Destination("web-1:8080", "8080", name="web-1")),
        ("deploy/web:http", Destination("deploy/web:http", "http", name="deploy/web")),
        ("deployments.apps/web", Destination("deployments.apps/web", "", name="deployments.apps/web")),
    ],
)
def test_a_destination(text, found):
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("svc/redis:", "'svc/redis:': '' is no port"),
        ("svc/redis:0", "'svc/redis:0': '0' is no port"),
        ("svc/redis:65536", "'svc/redis:65536': '65536' is no port"),
        ("svc/redis:006379", "'svc/redis:006379': '006379' is no port"),
        ("10.0.0.1:999999", "'10.0.0.1:999999': '999999' is no port"),
        (f"10.0.0.1:{'9' * 5000}", f"'10.0.0.1:{'9' * 5000}': '{'9' * 5000}' is no port"),
        ("svc/redis:６３", "'svc/redis:６３': '６３' is no port"),
        ("svc/redis:Http", "'svc/redis:Http': 'Http' is no port"),
        ("svc/redis:-80", "'svc/redis:-80': '-80' is no port"),
        ("svc/redis:80\n", "'svc/redis:80\\n': '80\\n' is no port"),
        ("svc/redis:a234567890123456", "'svc/redis:a234567890123456': 'a234567890123456' is no port"),
        ("svc/redis:80:90", "'svc/redis:80:90': '80:90' is no port"),
        ("http://10.0.0.1:80", "'http://10.0.0.1:80': '//10.0.0.1:80' is no port"),
        ("10.0.0.1", "'10.0.0.1' needs a port number"),
        ("10.0.0.1:http", "'10.0.0.1:http' needs a port number"),
        ("::1", "'::1': IPv6 is not intercepted at all, and not followed"),
        ("[fd00::1]:80", "'[fd00::1]:80': IPv6 is not intercepted at all, and not followed"),
        ("fe80::1%eth0", "'fe80::1%eth0': IPv6 is not intercepted at all, and not followed"),
        ("::ffff:10.0.0.1", "'::ffff:10.0.0.1': IPv6 is not intercepted at all, and not followed"),
        ("", "'' is not a destination"),
        (":80", "':80' is not a destination"),
        ("svc/:80", "'svc/:80' is not a destination"),
        ("svc/Redis:80", "'svc/Redis:80' is not a destination"),
        ("svc/a.b.c:80", "'svc/a.b.c:80' is not a destination"),
        ("service/a/b:80", "'service/a/b:80' is not a destination"),
        ("services/\x1b[2J:80", "'services/\\x1b[2J:80' is not a destination"),
    ],
)
def test_what_is_no_destination(text, said):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.message == said
    assert caught.value.hint


class Files(Remote):
    remote = False


class Deaf(Remote):
    """A cluster whose user may list a kind in one namespace only."""

    def __init__(self, *objects, kind):
        super().__init__(*objects)
        self.kind = kind

    def list(self, resource, namespace="", selector="", field_selector=""):
        if resource.kind == self.kind and not namespace:
            raise Forbidden(403, "Forbidden", "no")
        return self.files.list(resource, namespace, selector, field_selector)


def service(*ports, name="api", selector=None, status=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.10", "ports": list(ports), "selector": {"app": "api"} if selector is None else selector, **spec},
        "status": status or {},
    }  # fmt: skip


def endpoint_slice(*endpoints, name="api-1", of="api", ports=({"port": 8080},), **more):
    labels = {"kubernetes.io/service-name": of}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "ports": list(ports),
        "endpoints": list(endpoints),
        **more,
    }


def endpoint(address, pod=None, **more):
    reference = {"targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"}} if pod else {}
    return {"addresses": [address], "conditions": {"ready": True}, **reference, **more}


def workload(name="api", labels=None, ports=({"containerPort": 8080},), **spec):
    made = deployment(name, **spec)
    made["spec"]["template"]["metadata"]["labels"] = labels or {"app": name}
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = list(ports)
    return made


def at(address, name="api-1", owner="api", **more):
    """A pod that runs at an address."""
    made = running(name, owner=owner)
    made["metadata"]["labels"] = {"app": owner}
    made["status"] |= {"podIP": address}
    made["spec"] |= more
    return made


PORT = {"port": 80, "targetPort": 8080}
WEB = at("10.244.1.2", "web-1", "web")
API = at("10.244.1.3")
SLICE = endpoint_slice(endpoint("10.244.1.3", "api-1"))
CLUSTER = [meshconfig(), NAMESPACE, deployment(), workload(), WEB, API]


def found(text, *objects, cluster=Remote, source="deploy/web", balancing=False, **more):
    known = cluster(*objects, **more)
    owners, stand_ins = Owners(known, readable_only=True), StandIns()
    (subject,) = targets.select(known, owners, Selection((source,), "shop"))
    client = instances.of_subject(subject, stand_ins)[0]
    return Finder(known, owners, client, stand_ins, socket_balancing=balancing).find(parse(text))


def dialled(route):
    return [(dial.address, dial.port, dial.share) for dial in route.dials]


def reached(route, *, sidecar=False):
    return [one.socket for dial in route.dials for one in (dial.sidecar_endpoints if sidecar else dial.endpoints)]


# Services of a cluster


def test_a_service_is_dialled_at_its_cluster_ip_and_leads_to_its_endpoints():
    route = found("svc/api:80", *CLUSTER, service(PORT), SLICE)
    assert dialled(route) == [("10.96.0.10", 80, 1.0)]
    assert reached(route) == reached(route, sidecar=True) == ["10.244.1.3:8080"]
    assert {address: one.title for address, one in route.instances.items()} == {"10.244.1.3": "pod/api-1"}
    assert (route.routing.kind, route.assumptions) == (Kind.BALANCED, ())
    assert not route.dials[0].assumed
    assert not route.instances["10.244.1.3"].assumed


@pytest.mark.parametrize("text", ["svc/api:http", "svc/api", "svc/api.shop:80", "10.96.0.10:80", "192.0.2.7:80"])
def test_ways_to_write_a_service(text):
    one = service({**PORT, "name": "http"}, {"port": 53, "protocol": "UDP"}, externalIPs=["192.0.2.7"])
    named = endpoint_slice(endpoint("10.244.1.3"), ports=[{"name": "http", "port": 8080}])
    route = found(text, *CLUSTER, one, named)
    assert reached(route) == ["10.244.1.3:8080"]
    assert dialled(route)[0][0] == ("192.0.2.7" if text.startswith("192") else "10.96.0.10")


@pytest.mark.parametrize(
    ("text", "ports", "said", "hint"),
    [
        ("svc/api:81", [PORT], "Service api in shop has no port 81", "it has 80"),
        ("svc/api:http", [PORT], "Service api in shop has no port http", "it has 80"),
        ("svc/api", [PORT, {"port": 443, "name": "tls"}], "Service api in shop has 2 TCP ports", "name one: 80, 443"),
        ("svc/api", [{"port": 53, "protocol": "UDP"}], "Service api in shop has 0 TCP ports", "only TCP is intercepted"),
        ("svc/api:53", [{"port": 53, "protocol": "UDP"}], "Service api in shop has no port 53", "it has 53/UDP"),
        ("svc/api", [], "Service api in shop has 0 TCP ports", "name the port that is dialled"),
    ],
)  # fmt: skip
def test_a_port_that_a_service_does_not_have(text, ports, said, hint):
    with pytest.raises(UsageError) as caught:
        found(text, *CLUSTER, service(*ports))
    assert (caught.value.message, caught.value.hint) == (said, hint)


def test_a_service_that_is_not_there():
    with pytest.raises(NotFound):
        found("svc/api.cart:80", *CLUSTER, service(PORT))


def test_an_address_without_the_port_leads_nowhere_for_a_sidecar_either():
    route = found("10.96.0.10:81", *CLUSTER, service(PORT), SLICE)
    assert route.routing.kind is Kind.UNPROXIED
    assert (reached(route), reached(route, sidecar=True)) == ([], [])


def test_the_sidecar_knows_no_traffic_policy():
    far = endpoint_slice(endpoint("10.244.1.3", "api-1", nodeName="far"))
    web = at("10.244.1.2", "web-1", "web", nodeName="near")
    one = service(PORT, internalTrafficPolicy="Local")
    route = found("svc/api:80", meshconfig(), NAMESPACE, deployment(), web, API, one, far)
    assert route.routing.kind is Kind.DROPPED
    assert (reached(route), reached(route, sidecar=True)) == ([], ["10.244.1.3:8080"])


def test_shares_are_the_endpoints():
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    route = found("svc/api:80", *CLUSTER, at("10.244.1.4", "api-2"), service(PORT), both)
    (dial,) = route.dials
    assert [one.share for one in (*dial.endpoints, *dial.sidecar_endpoints)] == [1 / 2] * 4


def test_a_headless_service_is_dialled_at_its_pods():
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    one = service(PORT, clusterIP="None")
    route = found("svc/api:80", *CLUSTER, at("10.244.1.4", "api-2"), one, both)
    assert dialled(route) == [("10.244.1.3", 80, 1 / 2), ("10.244.1.4", 80, 1 / 2)]
    assert reached(route) == reached(route, sidecar=True) == ["10.244.1.3:80", "10.244.1.4:80"]
    assert [dial.endpoints[0].share for dial in route.dials] == [1.0, 1.0]
    empty = found("svc/api:80", *CLUSTER, one, endpoint_slice())
    assert dialled(empty) == [("", 80, 1.0)]


def test_socket_balancing_dials_the_endpoints_instead_of_the_service():
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    objects = [*CLUSTER, at("10.244.1.4", "api-2"), service(PORT), both]
    route = found("svc/api:80", *objects, balancing=True)
    assert dialled(route) == [("10.244.1.3", 8080, 1 / 2), ("10.244.1.4", 8080, 1 / 2)]
    rejected = found("svc/api:80", *CLUSTER, service(PORT), endpoint_slice(), balancing=True)
    assert dialled(rejected) == [("10.96.0.10", 80, 1.0)]


def test_an_external_name_is_not_followed():
    one = service(PORT, type="ExternalName", externalName="db.example.com", clusterIP="")
    for cluster in (Remote, Files):
        route = found("svc/api:80", *CLUSTER, one, cluster=cluster)
        assert (route.routing.kind, dialled(route)) == (Kind.EXTERNAL_NAME, [("", 80, 1.0)])


def test_a_service_without_a_selector_leads_where_its_slices_do():
    one = service(PORT, selector={})
    outside = endpoint_slice(endpoint("192.0.2.9"))
    for cluster in (Remote, Files):
        route = found("svc/api:80", *CLUSTER, one, outside, cluster=cluster)
        assert (reached(route), route.instances, route.assumptions) == (["192.0.2.9:8080"], {}, ())
    nowhere = found("svc/api:80", *CLUSTER, one, cluster=Files)
    assert (nowhere.routing.kind, list(nowhere.assumptions)) == (Kind.UNPROXIED, [])


def test_of_a_service_without_a_selector_no_pods_are_listed():
    class Spy(Remote):
        def list(self, resource, namespace="", selector="", field_selector=""):
            assert resource.kind != "Pod" or selector
            return self.files.list(resource, namespace, selector, field_selector)

    objects = [*CLUSTER, service(PORT, selector={}), SLICE]
    assert list(found("svc/api:80", *objects, cluster=Spy, source="web-1").instances) == ["10.244.1.3"]


def test_a_cluster_without_slices_is_not_imagined_to_have_some():
    route = found("svc/api:80", *CLUSTER, service(PORT))
    assert (route.routing.kind, route.instances, route.assumptions) == (Kind.REJECTED, {}, ())


def test_the_slice_tells_a_pods_address():
    route = found("svc/api:80", *CLUSTER[:4], WEB, at(None), service(PORT), SLICE)
    assert [(address, one.address, one.assumed) for address, one in route.instances.items()] == [
        ("10.244.1.3", "10.244.1.3", False)
    ]


def test_a_client_whose_address_is_a_stand_in_is_not_held_against_source_ranges():
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}}
    one = service(PORT, type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24"], status=status)
    files = found("192.0.2.8:80", meshconfig(), NAMESPACE, deployment(), workload(), one, cluster=Files)
    assert files.routing.kind is Kind.BALANCED
    assert found("192.0.2.8:80", *CLUSTER, one, SLICE).routing.kind is Kind.DROPPED


def test_slices_of_other_address_types_and_services_have_no_part():
    six = endpoint_slice(endpoint("fd00::3", "api-1"), name="api-6", addressType="IPv6")
    other = endpoint_slice(endpoint("10.244.1.9", "api-1"), name="other-1", of="other")
    route = found("svc/api:80", *CLUSTER, service(PORT), SLICE, six, other)
    assert list(route.instances) == ["10.244.1.3"]


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"targetRef": {"kind": "Node", "name": "api-1"}},
        {"targetRef": {"kind": "Pod", "name": "gone", "namespace": "shop"}},
    ],
)
def test_an_endpoint_that_is_no_pod_or_one_that_is_gone(reference):
    route = found("svc/api:80", *CLUSTER, service(PORT), endpoint_slice(endpoint("10.244.1.3", **reference)))
    assert (reached(route), route.instances) == (["10.244.1.3:8080"], {})


def test_an_endpoint_may_be_a_pod_of_another_namespace():
    """Whoever writes slices by hand may write that; another pod of the name is not meant."""
    elsewhere = {**at("10.244.1.9"), "metadata": {"name": "api-1", "namespace": "cart"}}
    there = endpoint("10.244.1.9", targetRef={"kind": "Pod", "name": "api-1", "namespace": "cart"})
    here = endpoint("10.244.1.3", targetRef={"kind": "Pod", "name": "api-1"})
    route = found("svc/api:80", *CLUSTER, elsewhere, service(PORT), endpoint_slice(there, here))
    assert {address: one.namespace for address, one in route.instances.items()} == {
        "10.244.1.9": "cart",
        "10.244.1.3": "shop",
    }


def test_an_endpoint_that_may_not_be_read():
    class Blind(Remote):
        def get(self, resource, name, namespace=""):
            if resource.kind == "Pod":
                raise Forbidden(403, "Forbidden", "no")
            return self.files.get(resource, name, namespace)

    elsewhere = service(PORT, selector={"app": "elsewhere"})
    assert found("svc/api:80", *CLUSTER, elsewhere, SLICE, cluster=Blind).instances == {}
    assert list(found("svc/api:80", *CLUSTER, service(PORT), SLICE, cluster=Blind).instances) == ["10.244.1.3"], (
        "those that the selector lists need no request of their own"
    )


# Services of files


def addresses(route):
    return [one.rpartition(":")[0] for one in reached(route)]


def test_files_without_slices_lead_to_the_pods_that_their_workloads_would_make():
    objects = [meshconfig(), NAMESPACE, deployment(), workload(replicas=3), service(PORT)]
    route = found("svc/api:80", *objects, cluster=Files)
    assert len(set(addresses(route))) == 3
    assert all(ipaddress.ip_address(one) in ipaddress.ip_network("10.244.0.0/16") for one in addresses(route))
    assert list(route.instances) == addresses(route)
    assert all(one.assumed and one.pod is None and one.title == "deploy/api" for one in route.instances.values())
    assert [one.port for one in route.dials[0].endpoints] == [8080] * 3
    assert route.assumptions == ["the files have no EndpointSlices: svc/api leads to all pods that it selects"]


def test_a_stand_in_is_the_same_for_the_same_pod():
    both = [meshconfig(), NAMESPACE, workload("web", {"app": "api"}, replicas=2), workload(replicas=2), service(PORT)]
    route = found("svc/api:80", *both, cluster=Files)
    assert len(set(addresses(route))) == 4
    known, owners, stand_ins = Files(*both), None, StandIns()
    owners = Owners(known)
    (subject,) = targets.select(known, owners, Selection(("deploy/web",), "shop"))
    once, again = (instances.of_subject(subject, stand_ins) for _ in range(2))
    assert [one.address for one in once] == [one.address for one in again]
    assert once[0].address in addresses(route), "the client is one of the endpoints"


def test_pods_of_workloads_that_share_a_name_have_stand_ins_of_their_own():
    cart = {**workload("web", {"app": "api"}), "metadata": {"name": "web", "namespace": "cart"}}
    one = {**service(PORT), "metadata": {"name": "api", "namespace": "cart"}}
    web = workload("web", {"app": "api"})
    here = found("svc/api:80", meshconfig(), NAMESPACE, web, service(PORT), cluster=Files)
    there = found("svc/api.cart:80", meshconfig(), NAMESPACE, web, cart, one, cluster=Files)
    assert addresses(here) != addresses(there), "that one is the client itself"


def test_stand_ins_are_not_those_that_a_cluster_gives_first():
    """A small cluster's first pods are in 10.244.0.0/24 and what follows."""
    many = [workload(replicas=250), workload("more", {"app": "api"}, replicas=250)]
    route = found("svc/api:80", meshconfig(), NAMESPACE, deployment(), *many, service(PORT), cluster=Files)
    assert len(set(addresses(route))) == 500
    assert not any(ipaddress.ip_address(one) in ipaddress.ip_network("10.244.0.0/17") for one in addresses(route))


def test_pods_of_files_keep_their_addresses():
    objects = [*CLUSTER, at("10.244.1.4", "api-2"), service(PORT)]
    route = found("svc/api:80", *objects, cluster=Files)
    assert addresses(route) == ["10.244.1.3", "10.244.1.4"]
    assert not any(one.assumed for one in route.instances.values())


def test_slices_of_files_count():
    route = found("svc/api:80", *CLUSTER, at("10.244.1.4", "api-2"), service(PORT), SLICE, cluster=Files)
    assert (addresses(route), route.assumptions) == (["10.244.1.3"], ())


HTTP = [{"name": "http", "containerPort": 8080}]


@pytest.mark.parametrize(
    "absent",
    [
        workload(ports=HTTP, replicas=0),
        {**cron_job("api"), "spec": {"jobTemplate": {"spec": {"template": workload(ports=HTTP)["spec"]["template"]}}}},
        workload(ports=[]),
        workload(ports=[{"name": "http", "containerPort": 8080, "protocol": "UDP"}]),
    ],
    ids=["scaled to zero", "by schedule", "port not named", "named for UDP"],
)
def test_what_is_behind_no_service_of_files(absent):
    named = service({"port": 80, "targetPort": "http"})
    present = workload("present", {"app": "api"}, [{"name": "http", "containerPort": 9090}])
    objects = [meshconfig(), NAMESPACE, deployment(), named]
    assert found("svc/api:80", *objects, absent, cluster=Files).routing.kind is Kind.REJECTED
    route = found("svc/api:80", *objects, absent, present, cluster=Files)
    assert [one.port for one in route.dials[0].endpoints] == [9090]


@pytest.mark.parametrize(
    "other",
    [workload("other", ports=HTTP), {**workload(ports=HTTP), "metadata": {"name": "api", "namespace": "cart"}}],
    ids=["not selected", "elsewhere"],
)
def test_of_files_that_show_nothing_behind_a_service_nothing_is_said(other):
    """What it selects may be in another file."""
    route = found("svc/api:80", meshconfig(), NAMESPACE, deployment(), service(PORT), other, cluster=Files)
    assert (route.routing.kind, list(route.assumptions)) == (Kind.UNPROXIED, [])
    assert route.routing.notes == ("the files show neither its EndpointSlices nor its pods",)


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", False), (None, True)])
def test_pods_of_files_are_as_ready_as_they_say(status, ready):
    conditions = [{"type": "Ready", "status": status}] if status else []
    api = bent(API, conditions, "status", "conditions")
    route = found("svc/api:80", *CLUSTER[:3], workload(), WEB, api, service(PORT), cluster=Files)
    assert addresses(route) == (["10.244.1.3"] if ready else [])


def test_a_stand_in_is_nobodys_address():
    """Neither that of a pod in the files nor the one that is dialled."""
    objects = [meshconfig(), NAMESPACE, deployment(), service(PORT), workload()]
    (usual,) = found("deploy/api:80", *objects, cluster=Files).instances
    taken = StandIns([usual])
    subject = next(iter(found("deploy/api:80", *objects, cluster=Files).instances.values())).subject
    assert taken.of(subject, 0) not in (usual, "")
    assert taken.of(subject, 0) == taken.of(subject, 0) != taken.of(subject, 1)


def test_a_node_port_is_named_and_not_followed():
    exposed = service({**PORT, "nodePort": 30080}, type="NodePort")
    (said,) = found("10.0.0.5:30080", *CLUSTER, exposed, SLICE).assumptions
    assert said == "the address is no node's: 30080 is the NodePort of svc/api in shop, which is not followed"
    assert found("10.0.0.5:30081", *CLUSTER, exposed, SLICE).assumptions == []


def test_a_name_with_dots_is_not_looked_up():
    with pytest.raises(NotFound) as caught:
        found("example.com:80", *CLUSTER)
    assert caught.value.hint.startswith("names are not looked up in DNS")


def test_a_name_that_is_no_pods_may_be_a_services():
    with pytest.raises(NotFound) as caught:
        found("cache:80", *CLUSTER)
    assert caught.value.hint.endswith("a workload is named KIND/NAME, such as deploy/cache, and a Service svc/cache")


def test_a_workload_that_is_scaled_to_zero_but_still_has_a_pod_counts():
    route = found("svc/api:80", *CLUSTER[:3], workload(replicas=0), WEB, API, service(PORT), cluster=Files)
    assert addresses(route) == ["10.244.1.3"]


@pytest.mark.parametrize(
    ("port", "number"),
    [
        ({"port": 8080}, 8080),
        ({"port": 80, "targetPort": 8081}, 8081),
        ({"port": 80, "targetPort": 0}, 80),
        ({"port": 80, "targetPort": ""}, 80),
        ({"port": 80, "targetPort": None}, 80),
        ({"port": 80, "targetPort": "http"}, 9090),
        ({"port": 80, "targetPort": "http", "name": "web", "protocol": "TCP"}, 9090),
    ],
)
def test_target_ports_of_files(port, number):
    """What is left out is the Service's own port, as the API server fills it in."""
    api = workload(ports=[{"containerPort": 7070}, {"name": "http", "containerPort": 9090}])
    route = found("svc/api:80" if port["port"] == 80 else "svc/api", meshconfig(), NAMESPACE, deployment(), api, service(port), cluster=Files)  # fmt: skip
    assert [one.port for one in route.dials[0].endpoints] == [number]


@pytest.mark.parametrize(("policy", "numbers"), [({"restartPolicy": "Always"}, [9100]), ({}, [])])
def test_a_target_port_of_a_container_that_is_started_before_the_others(policy, numbers):
    """It counts if it goes on running beside them."""
    api = workload()
    pod = api["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "exporter", "ports": [{"name": "metrics", "containerPort": 9100}], **policy}]
    metrics = service({"port": 80, "targetPort": "metrics"})
    route = found("svc/api:80", meshconfig(), NAMESPACE, deployment(), api, metrics, cluster=Files)
    assert [one.port for one in route.dials[0].endpoints] == numbers


def test_a_cluster_ip_that_files_lack_has_a_stand_in():
    objects = [meshconfig(), NAMESPACE, deployment(), workload()]
    without = service(PORT, clusterIP="")
    (dial,) = found("svc/api:80", *objects, without, cluster=Files).dials
    assert dial.assumed
    assert ipaddress.ip_address(dial.address) in ipaddress.ip_network("10.96.0.0/12")
    assert len(dial.endpoints) == 1
    (dial,) = found("svc/api:80", *objects, service(PORT), cluster=Files).dials
    assert not dial.assumed
    (dial,) = found("svc/api:80", *objects, without, SLICE).dials
    assert (dial.address, dial.assumed) == ("", False), "a cluster gives one, or there is none"


def test_a_headless_service_of_files():
    objects = [meshconfig(), NAMESPACE, deployment(), workload(replicas=2), service(PORT, clusterIP="None")]
    route = found("svc/api:80", *objects, cluster=Files)
    assert [dial.assumed for dial in route.dials] == [True, True]
    assert [dial.address for dial in route.dials] == list(route.instances)


def test_files_do_not_tell_which_pods_share_a_node():
    one = service(PORT, internalTrafficPolicy="Local")
    route = found("svc/api:80", meshconfig(), NAMESPACE, deployment(), workload(), one, cluster=Files)
    assert route.routing.kind is Kind.BALANCED
    assert [one.share for one in route.dials[0].endpoints] == [None]
    near = [
        at("10.244.1.2", "web-1", "web", nodeName="near"),
        at("10.244.1.3", nodeName="near"),
        at("10.244.1.4", "api-2", nodeName="far"),
    ]
    known = found("svc/api:80", *CLUSTER[:4], *near, one, cluster=Files)
    assert [(one.address, one.node, one.share) for one in known.dials[0].endpoints] == [("10.244.1.3", "near", 1.0)]


def test_a_services_address_in_files_without_slices():
    route = found("10.96.0.10:80", meshconfig(), NAMESPACE, deployment(), workload(), service(PORT), cluster=Files)
    assert route.assumptions == ["the files have no EndpointSlices: svc/api leads to all pods that it selects"]


# Addresses


def test_an_address_of_a_pod():
    route = found("10.244.1.3:9090", *CLUSTER)
    assert (dialled(route), reached(route), route.routing) == ([("10.244.1.3", 9090, 1.0)], ["10.244.1.3:9090"], None)
    assert route.instances["10.244.1.3"].title == "pod/api-1"


@pytest.mark.parametrize(
    "changed",
    [{"hostNetwork": True}, {"phase": "Succeeded"}, {"phase": "Failed"}],
    ids=["host network", "done", "failed"],
)
def test_an_address_that_is_no_pods_own(changed):
    pod = at("10.244.1.3", **{key: value for key, value in changed.items() if key == "hostNetwork"})
    pod["status"] |= {key: value for key, value in changed.items() if key == "phase"}
    route = found("10.244.1.3:80", meshconfig(), NAMESPACE, deployment(), WEB, pod)
    assert (dialled(route), reached(route), route.instances) == ([("10.244.1.3", 80, 1.0)], [], {})


def test_an_address_of_nobody():
    route = found("192.0.2.1:443", *CLUSTER, service(PORT))
    assert (dialled(route), reached(route), route.routing) == ([("192.0.2.1", 443, 1.0)], [], None)
    assert route.assumptions == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "10.244.1.2"])
def test_an_address_of_the_client_itself(address):
    route = found(f"{address}:8080", *CLUSTER)
    assert (dialled(route), reached(route)) == ([(address, 8080, 1.0)], [f"{address}:8080"])
    assert {place: one.title for place, one in route.instances.items()} == {"10.244.1.2": "pod/web-1"}
    assert found(f"{address}:8080", *CLUSTER, cluster=Deaf, kind="Pod").assumptions == (), "nobody else can have it"


@pytest.mark.parametrize(("kind", "named"), [("Service", "services"), ("Pod", "pods")])
def test_what_may_not_be_listed_is_said(kind, named):
    route = found("192.0.2.1:443", *CLUSTER, cluster=Deaf, kind=kind)
    said = f"{named} of all namespaces cannot be listed, so the address may be one of theirs"
    assert (route.assumptions, reached(route)) == ([said], [])
    by_address = found("10.96.0.10:80", *CLUSTER, service(PORT), SLICE, cluster=Deaf, kind="Pod")
    assert by_address.assumptions == ["pods of all namespaces cannot be listed, so the address may be one of theirs"]


# Pods and workloads


def test_a_pod_by_name():
    route = found("api-1:9090", *CLUSTER, at("10.244.1.4", "api-2"))
    assert (dialled(route), reached(route)) == ([("10.244.1.3", 9090, 1.0)], ["10.244.1.3:9090"])
    assert reached(route, sidecar=True) == reached(route)


def test_a_workload_is_any_of_its_pods():
    route = found("deploy/api:80", *CLUSTER, at("10.244.1.4", "api-2"))
    assert dialled(route) == [("10.244.1.3", 80, 1 / 2), ("10.244.1.4", 80, 1 / 2)]
    assert [one.share for dial in route.dials for one in dial.endpoints] == [1.0, 1.0]
    assert list(route.instances) == ["10.244.1.3", "10.244.1.4"]


def test_a_pod_that_is_about_to_end_is_not_followed_if_another_lives():
    ending = at("10.244.1.4", "api-2")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert reached(found("deploy/api:80", *CLUSTER, ending)) == ["10.244.1.3:80"]


def test_a_pod_of_which_no_ipv4_address_is_known():
    for pod in (at("fd00::3"), at(None), at("")):
        (dial,) = found("api-1:80", meshconfig(), NAMESPACE, deployment(), WEB, pod).dials
        assert dial.assumed
        assert ipaddress.ip_address(dial.address) in ipaddress.ip_network("10.244.0.0/16")


@pytest.mark.parametrize(("replicas", "count"), [(3, 3), (0, 1), (-1, 1), (None, 1), (100_000, 250)])
def test_a_workload_of_files_has_as_many_pods_as_it_asks_for(replicas, count):
    objects = [meshconfig(), NAMESPACE, deployment(), workload(replicas=replicas)]
    route = found("deploy/api:80", *objects, cluster=Files)
    assert len(set(addresses(route))) == len(route.dials) == count
    assert all(dial.assumed and dial.share == 1 / count for dial in route.dials)


NAMED = [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]


@pytest.mark.parametrize(("text", "number"), [("deploy/api:http", 8080), ("deploy/api", 8080), ("deploy/api:81", 81)])
def test_a_containers_port(text, number):
    objects = [meshconfig(), NAMESPACE, deployment(), workload(ports=NAMED)]
    assert dialled(found(text, *objects, cluster=Files))[0][1] == number


@pytest.mark.parametrize(
    ("text", "ports", "said", "hint"),
    [
        ("deploy/api:grpc", NAMED, "deploy/api in shop has no container port called grpc", ""),
        ("deploy/api:dns", NAMED, "deploy/api in shop has no container port called dns", ""),
        ("deploy/api", [], "'deploy/api' needs a port", "its containers name none"),
        ("deploy/api", [*NAMED, {"containerPort": 80}], "'deploy/api' needs a port", "its containers have 80, 8080"),
    ],
)
def test_a_containers_port_that_is_not_there(text, ports, said, hint):
    with pytest.raises(UsageError) as caught:
        found(text, meshconfig(), NAMESPACE, deployment(), workload(ports=ports), cluster=Files)
    assert (caught.value.message, caught.value.hint) == (said, hint)


def test_the_sidecars_ports_are_not_the_applications():
    pod = at("10.244.1.3")
    pod["spec"]["containers"].append({"name": "sidecar", "ports": [{"name": "proxy-admin", "containerPort": 15000}]})
    route = found("api-1", meshconfig(), NAMESPACE, deployment(), WEB, pod)
    assert reached(route) == ["10.244.1.3:8080"]
    assert reached(found("api-1:proxy-admin", meshconfig(), NAMESPACE, deployment(), WEB, pod)) == ["10.244.1.3:15000"]


# Objects of the wrong shape


def bent(made, value, *path):
    """The object with `value` at `path`."""
    if not path:
        return value
    key, *rest = path
    if isinstance(made, list):
        return [bent(one, value, *rest) if index == key else one for index, one in enumerate(made)]
    return {**made, key: bent(made.get(key), value, *rest)}


NOTHING_SLICED = [meshconfig(), NAMESPACE, deployment()]


@pytest.mark.parametrize(
    ("text", "objects", "said"),
    [
        ("svc/api:80", [bent(service(PORT), 7, "spec", "ports"), SLICE], "Service shop/api: spec.ports is a number, not a list"),
        ("svc/api:80", [bent(service(PORT), None, "spec", "ports", 0, "port"), SLICE], "Service shop/api: spec.ports[0] has no port"),
        ("svc/api:80", [bent(service(PORT), 70000, "spec", "ports", 0, "targetPort"), workload()], "Service shop/api: spec.ports[0].targetPort is 70000, not a number from 1 to 65535"),
        ("svc/api:80", [bent(service(PORT), [8080], "spec", "ports", 0, "targetPort"), workload()], "Service shop/api: spec.ports[0].targetPort is a list, not a whole number"),
        ("svc/api:80", [bent(service(PORT), True, "spec", "ports", 0, "targetPort"), workload()], "Service shop/api: spec.ports[0].targetPort is a boolean, not a whole number"),
        ("svc/api:80", [service(PORT, selector=["app"]), workload()], "Service shop/api: spec.selector is a list, not an object"),
        ("svc/api:80", [service(PORT, selector={"app": 1}), workload()], "Service shop/api: spec.selector.app is a number, not a string"),
        ("svc/api:80", [service(PORT), bent(SLICE, "x", "endpoints")], "EndpointSlice shop/api-1: endpoints is a string, not a list"),
        ("svc/api:80", [service(PORT), bent(SLICE, [None], "endpoints")], "EndpointSlice shop/api-1: endpoints[0] is null, not an object"),
        ("svc/api:80", [service(PORT), bent(SLICE, 7, "endpoints", 0, "targetRef", "kind")], "EndpointSlice shop/api-1: endpoints[0].targetRef.kind is a number, not a string"),
        ("svc/api:80", [service(PORT), bent(SLICE, "10.1.1.1", "endpoints", 0, "addresses")], "EndpointSlice shop/api-1: endpoints[0].addresses is a string, not a list"),
        ("svc/api:80", [service(PORT), bent(SLICE, 7, "endpoints", 0, "addresses", 0), API], "EndpointSlice shop/api-1: endpoints[0].addresses[0] is a number, not a string"),
        ("svc/api:80", [service(PORT), bent(SLICE, "example.com", "endpoints", 0, "addresses", 0)], "EndpointSlice shop/api-1: endpoints[0].addresses[0] is no IPv4 address"),
        ("api-1:80", [bent(API, 7, "status", "podIP")], "Pod shop/api-1: status.podIP is a number, not a string"),
        ("api-1:80", [bent(API, "example.com", "status", "podIP")], "Pod shop/api-1: status.podIP is no IP address"),
        ("api-1:80", [bent(API, [{"ip": "::1"}, {"ip": "1"}], "status", "podIPs") | {"status": {"podIPs": [{"ip": "::1"}, {"ip": "1"}]}}], "Pod shop/api-1: status.podIPs[1].ip is no IP address"),
        ("api-1", [bent(API, "x", "spec", "containers", 0, "ports")], "Pod shop/api-1: spec.containers[0].ports is a string, not a list"),
        ("deploy/api", [bent(workload(), 70000, "spec", "template", "spec", "containers", 0, "ports", 0, "containerPort")], "Deployment shop/api: spec.template.spec.containers[0].ports[0].containerPort is 70000, not a number from 1 to 65535"),
        ("deploy/api:http", [bent(workload(), 7, "spec", "template", "spec", "containers", 0, "ports", 0, "name")], "Deployment shop/api: spec.template.spec.containers[0].ports[0].name is a number, not a string"),
    ],
)  # fmt: skip
def test_what_has_the_wrong_shape_is_named(text, objects, said):
    with pytest.raises(InvalidObject) as caught:
        found(text, *NOTHING_SLICED, *objects, cluster=Files)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    "empty",
    [
        {**SLICE, "endpoints": None},
        bent(SLICE, None, "endpoints", 0, "addresses"),
        bent(SLICE, [], "endpoints", 0, "addresses"),
        {**SLICE, "ports": None},
    ],
)
def test_what_a_slice_leaves_out_leads_nowhere(empty):
    route = found("svc/api:80", *NOTHING_SLICED, service(PORT), empty, API, cluster=Files)
    assert route.routing.kind is Kind.REJECTED
