"""Traces in a real cluster: what runs, what a restart brings, what a user may not see, and what it costs to ask."""

from __future__ import annotations

import json
import re

import pytest

from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_services import unready
from tests.support import workloads

RBAC = "rbac.authorization.k8s.io"


def service(name, namespace, app="api", **spec):
    wanted = {"selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": wanted | spec,
    }


@pytest.fixture
def trace(fsm_plugin):
    """The report of a trace that succeeds."""

    def trace(*args):
        done = fsm_plugin.run("trace", *args, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return trace


@pytest.fixture
def shop(control_plane, fsm):
    """A namespace in the mesh: `web` calls, two pods of `api` serve behind the Service `api`."""
    name = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", name), workloads.deployment("api", name, replicas=2), service("api", name)
    )
    ready_pods(control_plane, name, "web")
    ready_pods(control_plane, name, "api", 2)
    wait_for_endpoints(control_plane, name, "api", 2)
    return name


def wait_for_endpoints(cluster, namespace, name, count):
    """Until the controller's slices have so many ready endpoints, all of pods that are there."""

    def ready():
        slices = cluster.list("endpointslices", namespace, f"kubernetes.io/service-name={name}")
        found = [one for part in slices for one in part["endpoints"] or [] if one["conditions"]["ready"]]
        there = {pod["metadata"]["uid"] for pod in cluster.list("pods", namespace)}
        return bool(slices) and len(found) == count and {one["targetRef"]["uid"] for one in found} <= there

    cluster.wait(ready, f"{count} endpoints of {name}")


def addresses(cluster, namespace, app):
    return {one["status"]["podIP"] for one in cluster.list("pods", namespace, f"app={app}")}


def reached(report):
    return {one["address"] for one in report["service"]["endpoints"]}


def test_before_and_after_an_edit_and_its_restart(control_plane, fsm, fsm_plugin, shop, trace):
    before = trace("deploy/web", "svc/api", "-n", shop)
    assert (before["when"], before["verdict"], before["afterRestart"]) == ("now", "intercepted", None)
    assert reached(before) == addresses(control_plane, shop, "api")

    fsm_plugin.run("exclude-port", "80")
    edited = trace("deploy/web", "svc/api", "-n", shop)
    assert (edited["verdict"], edited["afterRestart"]["verdict"]) == ("intercepted", "plain-to-sidecar")
    outbound = edited["afterRestart"]["outbound"]
    assert (outbound["decision"], outbound["entry"], outbound["sources"]) == ("direct", "port 80", ["MeshConfig"])
    shown = fsm_plugin.run("trace", "deploy/web", "svc/api", "-n", shop)
    assert re.match(r" +NOW +AFTER RESTART\n", shown.stdout)
    assert "Warning: what works now is expected to fail after the restart\n" in shown.stdout
    (command,) = re.findall(r"^After restart by: kubectl fsm (.*)$", shown.stdout, re.MULTILINE)
    assert command == f"restart deploy/web deploy/api -n {shop}"

    done = fsm_plugin.run(*command.split(), "--yes")
    assert done.returncode == 0, done.stderr
    wait_for_endpoints(control_plane, shop, "api", 2)
    after = trace("deploy/web", "svc/api", "-n", shop)
    assert (after["verdict"], after["afterRestart"]) == ("plain-to-sidecar", None)
    assert after["outbound"] == outbound


class TestTargets:
    def test_a_clusterip_is_found_among_all_services(self, control_plane, shop, trace):
        address = control_plane.get("service", "api", shop)["spec"]["clusterIP"]
        found = trace("deploy/web", f"{address}:80", "-n", shop)
        assert (found["service"]["namespace"], found["service"]["name"]) == (shop, "api")
        assert found["ways"] == trace("deploy/web", "svc/api:80", "-n", shop)["ways"]

    def test_a_pod_by_its_address(self, control_plane, shop, trace):
        one = min(addresses(control_plane, shop, "api"))
        found = trace("deploy/web", f"{one}:8080", "-n", shop)
        assert (found["service"], found["verdict"], found["inbound"]["port"]) == (None, "intercepted", 15003)

    def test_an_address_of_nobody(self, shop, trace):
        found = trace("deploy/web", "203.0.113.9:443", "-n", shop)
        assert (found["verdict"], found["inbound"]) == ("leaves", None)

    def test_headless(self, control_plane, shop, trace):
        control_plane.apply(service("each", shop, clusterIP="None"))
        wait_for_endpoints(control_plane, shop, "each", 2)
        found = trace("deploy/web", "svc/each:8080", "-n", shop)
        assert (found["service"]["routing"], found["verdict"]) == ("headless", "intercepted")
        dialled = {hop["destination"] for hop in found["hops"] if hop["by"] == "application"}
        assert dialled <= {f"{one}:8080" for one in addresses(control_plane, shop, "api")}
        assert reached(found) == addresses(control_plane, shop, "api")

    def test_no_ready_endpoint(self, control_plane, fsm_plugin, shop, trace):
        for one in control_plane.list("pods", shop, "app=api"):
            unready(control_plane, one["metadata"]["name"], shop)
        wait_for_endpoints(control_plane, shop, "api", 0)
        found = trace("deploy/web", "svc/api", "-n", shop)
        assert (found["service"]["routing"], found["verdict"]) == ("rejected", "refused")

    @pytest.mark.parametrize(("port", "target"), [("http", "8080"), ("80", "8080"), ("admin", "9090"), ("81", "9090")])
    def test_ports_by_name_and_number(self, control_plane, shop, trace, port, target):
        ports = [
            {"name": "http", "port": 80, "targetPort": 8080},
            {"name": "admin", "port": 81, "targetPort": 9090},
        ]
        control_plane.apply(service("both", shop, ports=ports))
        wait_for_endpoints(control_plane, shop, "both", 2)
        found = trace("deploy/web", f"svc/both:{port}", "-n", shop)
        assert {one["port"] for one in found["service"]["endpoints"]} == {int(target)}

    def test_a_service_of_another_namespace_outside_the_mesh(self, control_plane, namespace, shop, trace):
        control_plane.apply(workloads.deployment("api", namespace), service("api", namespace))
        ready_pods(control_plane, namespace, "api")
        wait_for_endpoints(control_plane, namespace, "api", 1)
        found = trace("deploy/web", f"svc/api.{namespace}:80", "-n", shop)
        assert (found["verdict"], found["inbound"]["decision"]) == ("sidecar-to-plain", "direct")
        assert reached(found) == addresses(control_plane, namespace, "api")

    def test_the_api_server(self, control_plane, fsm_plugin, shop, trace):
        """Its endpoints are no pods; this control plane has to be told where it is."""
        control_plane.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "kubernetes"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
                "endpoints": [{"addresses": ["192.0.2.10"], "conditions": {"ready": True}}],
            }
        )
        address = control_plane.get("service", "kubernetes")["spec"]["clusterIP"]
        try:
            for target in (f"{address}:443", "svc/kubernetes.default:443"):
                found = trace("deploy/web", target, "-n", shop)
                assert (found["verdict"], reached(found), found["inbound"]) == ("leaves", {"192.0.2.10"}, None)
        finally:
            control_plane.delete("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")


def kubeconfig(cluster, name, namespace, *rules):
    """Of a user who has these rights in one namespace, once the server knows that."""
    path = cluster.user(name)
    metadata = {"name": name, "namespace": namespace}
    cluster.apply(
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name}],
        },
    )
    asked = ("auth", "can-i", "list", "pods", "-n", namespace)
    cluster.wait(lambda: cluster.kubectl(*asked, kubeconfig=path, check=False).stdout == "yes\n", "RBAC knows")
    return path


READ = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}
NO_SLICES = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list"]}


class TestWhatAUserMaySee:
    def test_one_namespace_and_the_meshs(self, control_plane, fsm, fsm_plugin, shop):
        """No Services and pods of all namespaces, no namespaces, nothing of kube-system."""
        kubeconfig(control_plane, f"narrow-{shop}", "fsm-system", READ)
        path = kubeconfig(control_plane, f"narrow-{shop}", shop, READ)
        options = ("-n", shop, "--kubeconfig", str(path))
        done = fsm_plugin.run("trace", "deploy/web", "svc/api:80", *options, "-o", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["verdict"] == "intercepted"
        one = min(addresses(control_plane, shop, "api"))
        done = fsm_plugin.run("trace", "deploy/web", f"{one}:8080", *options)
        assert done.returncode == 0, done.stderr
        for kind in ("services", "pods"):
            assert f"{kind} of all namespaces cannot be listed, so the address may be one of theirs" in done.stdout

    def test_without_the_meshs_namespace_there_is_one_clear_error(self, control_plane, fsm_plugin, shop):
        path = kubeconfig(control_plane, f"outsider-{shop}", shop, READ)
        done = fsm_plugin.run("trace", "deploy/web", "svc/api:80", "-n", shop, "--kubeconfig", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error from server (Forbidden): meshconfigs.config.flomesh.io is forbidden")
        assert done.stderr.count("Error") == 1

    def test_without_endpoint_slices_there_is_one_clear_error(self, control_plane, fsm_plugin, shop):
        name = f"blind-{shop}"
        kubeconfig(control_plane, name, "fsm-system", READ)
        path = kubeconfig(control_plane, name, shop, NO_SLICES)
        done = fsm_plugin.run("trace", "deploy/web", "svc/api:80", "-n", shop, "--kubeconfig", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error from server (Forbidden): endpointslices.discovery.k8s.io is forbidden")
        assert done.stderr.count("Error") == 1


def requests(plugin, *args):
    """Method and URL of every request of a trace."""
    done = plugin.run("trace", *args, "-v=8")
    assert done.returncode == 0, done.stderr
    return re.findall(r"^([A-Z]+) (\S+) \d{3} in \d+ ms$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("target", ["svc/api:80", "deploy/api:8080", "ClusterIP"])
def test_more_endpoints_cost_no_more_requests(control_plane, fsm_plugin, shop, target, figure):
    """One listing has all pods of a Service; nothing is asked for each of them."""
    if target == "ClusterIP":
        target = f"{control_plane.get('service', 'api', shop)['spec']['clusterIP']}:80"
    of_two = requests(fsm_plugin, "deploy/web", target, "-n", shop)
    control_plane.kubectl("scale", "deploy/api", "--replicas=12", "-n", shop)
    ready_pods(control_plane, shop, "api", 12)
    wait_for_endpoints(control_plane, shop, "api", 12)
    of_twelve = requests(fsm_plugin, "deploy/web", target, "-n", shop)
    assert {method for method, _ in of_twelve} == {"GET"}
    assert len(of_twelve) == len(of_two), sorted(set(of_twelve) ^ set(of_two))
    figure(f"a trace to {target.partition(':')[0]} of 12 pods takes {len(of_twelve)} requests, all of them reads")
