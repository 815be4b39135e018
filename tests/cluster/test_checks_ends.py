"""Both ends of a connection, and entries that nobody needs, on a real control plane; what mends them, carried out."""

from contextlib import contextmanager

import pytest

from tests.cluster.test_checks_entry import carry_out, found, report
from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_trace import READ, kubeconfig, service, wait_for_endpoints
from tests.support import rbac, workloads

PORTS = "spec.traffic.outboundPortExclusionList"
PORT = {"ports": [{"port": 6379, "targetPort": 8080}]}


def policy(api_version, kind, namespace, spec):
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "callers", "namespace": namespace},
        "spec": spec,
    }


@contextmanager
def served(control_plane, group, version, kind):
    """While the block runs the API server has this kind."""
    definition = workloads.custom_resource(group, version, kind)
    name = definition["metadata"]["name"]
    control_plane.serve(definition)
    try:
        yield
    finally:
        control_plane.kubectl("delete", "crd", name, "--wait=true")


def furnish(control_plane, redis):
    """Put `web` and two pods of `redis` behind its Service into a namespace; the pods of `redis`, ready."""
    name = redis["metadata"]["namespace"]
    control_plane.apply(workloads.deployment("web", name), redis, service("redis", name, "redis", **PORT))
    ready_pods(control_plane, name, "web")
    pods = ready_pods(control_plane, name, "redis", 2)
    wait_for_endpoints(control_plane, name, "redis", 2)
    return pods


@pytest.fixture
def shop(control_plane, mesh):
    """A namespace in the mesh: `web` calls, `redis` serves port 8080 behind port 6379 of its Service."""
    name = mesh.namespace()
    furnish(control_plane, workloads.stateful_set("redis", name, replicas=2))
    return name


@pytest.fixture
def shop_of_fsm(control_plane, fsm):
    """A namespace with `redis` behind its Service, and the addresses of its two pods."""
    shop = fsm.namespace()
    pods = furnish(control_plane, workloads.deployment("redis", shop, replicas=2))
    return shop, [pod["status"]["podIP"] for pod in pods]


def test_an_exclusion_without_its_counterpart(control_plane, fsm_plugin, shop):
    assert found(fsm_plugin, shop, "plain-to-sidecar") == []
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    (item,) = report(fsm_plugin, shop, "--only", "plain-to-sidecar")["items"]
    assert (item["severity"], item["object"], item["namespace"]) == ("warning", "svc/redis", shop)
    assert item["seen"] == (
        "where deploy/web dials port 6379, it goes past the sidecar (port 6379, MeshConfig), and the sidecar of sts/redis wants TLS"
    )
    assert item["mend"] == f"kubectl fsm exclude-port --inbound 8080 --workload=sts/redis -n {shop}"
    carry_out(control_plane, fsm_plugin, item["mend"])
    assert found(fsm_plugin, shop, "plain-to-sidecar,tls-to-application") == []
    assert fsm_plugin.run("exclude-port", "6379", "--remove").returncode == 0
    assert [seen for _, seen, _ in found(fsm_plugin, shop, "plain-to-sidecar,tls-to-application")] == [
        "port 6379 of svc/redis leads past the sidecar (port 8080, sts/redis template), and a client's sidecar speaks TLS to it"
    ]


def test_one_client_is_asked_about_without_all_pods_of_the_cluster(control_plane, fsm, fsm_plugin):
    """The server is in another namespace, of which only templates are read; of what is in no mesh nothing is."""
    shop, data, other = fsm.namespace(), fsm.namespace(), control_plane.new_namespace()
    control_plane.apply(workloads.deployment("web", shop))
    for namespace in (data, other):
        control_plane.apply(workloads.stateful_set("redis", namespace), service("redis", namespace, "redis", **PORT))
    ready_pods(control_plane, shop, "web")
    fsm.set(outboundPortExclusionList=[6379])
    done = fsm_plugin.run("check", "deploy/web", "-n", shop, "--only", "plain-to-sidecar", "-o", "name", "-v=8")
    items = report(fsm_plugin, shop, "deploy/web", "--only", "plain-to-sidecar")["items"]
    assert [(item["object"], item["namespace"]) for item in items] == [("svc/redis", data)]
    assert items[0]["mend"].endswith(f"--workload=sts/redis -n {data}")
    asked = {(grant.resource, grant.place) for grant, _ in rbac.requests(done.stderr)}
    assert {place for resource, place in asked if resource == "pods"} == {shop}
    assert {place for resource, place in asked if resource == "statefulsets"} == {data}


def test_nothing_of_services_is_read_where_nothing_is_excluded(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    words = ("--only", "plain-to-sidecar,endpoint-address,endpoint-range,policy-bypassed,tls-to-application")
    for excluded in ([], ["169.254.169.254/32"]):
        fsm.set(outboundIPRangeExclusionList=excluded)
        done = fsm_plugin.run("check", "-n", shop, *words, "-v=8")
        asked = {grant.resource for grant, _ in rbac.requests(done.stderr)}
        assert asked & {"endpointslices", "traffictargets"} == set()
        assert ("services" in asked) == bool(excluded)


def test_who_may_look_at_one_namespace_is_told_what_was_not_looked_at(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", shop),
        workloads.stateful_set("redis", shop),
        service("redis", shop, "redis", **PORT),
    )
    ready_pods(control_plane, shop, "web")
    fsm.set(outboundPortExclusionList=[6379])
    path = kubeconfig(control_plane, f"ann-{shop}", shop, READ)
    kubeconfig(control_plane, f"ann-{shop}", "fsm-system", READ)
    found = report(fsm_plugin, shop, "--only", "plain-to-sidecar", "--kubeconfig", str(path))
    assert [item["object"] for item in found["items"]] == ["svc/redis"]
    assert any(f"looked at in namespace {shop} only: services is forbidden" in note for note in found["notes"])


def test_a_policy_lets_plain_text_in(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", shop),
        workloads.deployment("redis", shop),
        service("redis", shop, "redis", **PORT),
    )
    fsm.set(outboundPortExclusionList=[6379])
    with served(control_plane, "policy.flomesh.io", "v1alpha1", "AccessControl"):
        for number, objects in ((6379, ["svc/redis"]), (8080, [])):
            backends = [{"name": "redis", "port": {"number": number, "protocol": "tcp"}}]
            sources = [{"kind": "IPRange", "name": "10.0.0.0/8"}]
            spec = {"backends": backends, "sources": sources}
            control_plane.apply(policy("policy.flomesh.io/v1alpha1", "AccessControl", shop, spec))
            assert [item[0] for item in found(fsm_plugin, shop, "plain-to-sidecar")] == objects


@pytest.mark.parametrize("version", ["v1alpha2", "v1alpha3"])
def test_a_port_that_a_traffic_target_guards(control_plane, fsm, fsm_plugin, version):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", shop, {"flomesh.io/inbound-port-exclusion-list": "8080"}),
        service("web", shop, "web"),
    )
    assert found(fsm_plugin, shop, "policy-bypassed") == []
    with served(control_plane, "access.smi-spec.io", version, "TrafficTarget"):
        account = {"kind": "ServiceAccount", "name": "default", "namespace": shop}
        spec = {"destination": account, "rules": [{"kind": "TCPRoute", "name": "all"}], "sources": [account]}
        control_plane.apply(policy(f"access.smi-spec.io/{version}", "TrafficTarget", shop, spec))
        ((name, seen, mend),) = found(fsm_plugin, shop, "policy-bypassed")
        assert (name, seen) == (
            "deploy/web",
            "inbound-port 8080 (deploy/web template) bypasses TrafficTarget callers",
        )
        fsm.set(enablePermissiveTrafficPolicyMode=True)
        assert found(fsm_plugin, shop, "policy-bypassed") == []
        fsm.set(enablePermissiveTrafficPolicyMode=False)
        carry_out(control_plane, fsm_plugin, mend)
        assert found(fsm_plugin, shop, "policy-bypassed") == []


def test_addresses_that_nobody_dials(control_plane, fsm, fsm_plugin, shop_of_fsm):
    shop, (first, second) = shop_of_fsm
    fsm.set(outboundIPRangeExclusionList=[f"{first}/32"])
    address = control_plane.get("service", "redis", shop)["spec"]["clusterIP"]
    ((_, seen, mend),) = found(fsm_plugin, shop, "endpoint-address")
    field = "spec.traffic.outboundIPRangeExclusionList"
    assert seen == f"{field} has {first}/32, an endpoint of svc/redis in {shop}, which is dialled at {address}"
    carry_out(control_plane, fsm_plugin, mend)
    assert fsm.meshconfig()["spec"]["traffic"]["outboundIPRangeExclusionList"] == [f"{address}/32"]
    assert found(fsm_plugin, shop, "endpoint-address,endpoint-range") == []
    headless = service("redis-all", shop, "redis", clusterIP="None", **PORT)
    control_plane.apply(headless)
    wait_for_endpoints(control_plane, shop, "redis-all", 2)
    fsm.set(outboundIPRangeExclusionList=[f"{second}/32"])
    assert found(fsm_plugin, shop, "endpoint-address") == []


def test_entries_that_do_nothing(control_plane, mesh, fsm_plugin):
    shop, prefix = mesh.namespace(), mesh.flavour.prefix
    mesh.set(outboundPortExclusionList=[6379], outboundIPRangeExclusionList=["10.1.0.0/16", "10.0.0.0/8"])
    own = {f"{prefix}outbound-port-exclusion-list": "6379", f"{prefix}inbound-port-exclusion-list": "80,9091"}
    control_plane.apply(workloads.deployment("web", shop, own), service("web", shop, "web"))
    checks = "covered-entry,global-and-pod,service-port-excluded,inbound-port-unused"
    items = found(fsm_plugin, shop, checks)
    assert {(name, seen) for name, seen, _ in items} == {
        (
            f"MeshConfig/{mesh.flavour.meshconfig_name}",
            "spec.traffic.outboundIPRangeExclusionList has 10.1.0.0/16, which adds nothing to 10.0.0.0/8",
        ),
        (
            "deploy/web",
            f"annotation {prefix}outbound-port-exclusion-list has 6379, and the MeshConfig's {PORTS} too",
        ),
        (
            "deploy/web",
            f"annotation {prefix}inbound-port-exclusion-list has 80, a port of svc/web, which leads to 8080",
        ),
        ("deploy/web", f"annotation {prefix}inbound-port-exclusion-list has 9091; its containers listen on 8080"),
    }
    for _, _, mend in items:
        carry_out(control_plane, fsm_plugin, mend)
    assert found(fsm_plugin, shop, checks) == []
