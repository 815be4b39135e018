"""Endpoints as the real EndpointSlice controller makes them."""

import pytest

from kubectl_fsm import services
from kubectl_fsm.services import Client, Kind
from tests.cluster.test_main_job import ready_pods
from tests.support import workloads
from tests.support.control_plane import NODE

PORTS = [
    {"name": "http", "port": 80, "targetPort": "web"},
    {"name": "raw", "port": 81, "targetPort": 9090},
    {"name": "lost", "port": 82, "targetPort": "nowhere"},
]


HERE = Client(node=NODE)


def service(namespace, **spec):
    wanted = {"selector": {"app": "web"}, "ports": PORTS, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": wanted}


def pod(name, namespace, number):
    """A pod that calls a port of its own `web`."""
    made = workloads.pod(name, namespace)
    made["metadata"]["labels"] = {"app": "web"}
    made["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": number}]
    return made


def unready(cluster, name, namespace):
    conditions = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    cluster.api("PATCH", path, conditions, "application/strategic-merge-patch+json")


def routing(cluster, namespace, text, predicate, client=HERE):
    """Where the Service leads, once that is as wanted."""

    def look():
        one = cluster.get("service", "web", namespace)
        slices = cluster.list("endpointslices", namespace)
        found = services.route(one, services.port_named(one, text), slices, client)
        return found if predicate(found) else None

    return cluster.wait(look, f"port {text} of the Service leads where it should")


def sockets(found):
    return {one.socket for one in found.endpoints}


@pytest.fixture
def pods(control_plane, namespace):
    """Two pods whose port `web` is not the same number, by name."""
    control_plane.apply(pod("a", namespace, 8080), pod("b", namespace, 8081))
    return {one["metadata"]["name"]: one for one in ready_pods(control_plane, namespace, "web", 2)}


def test_named_and_numbered_ports(control_plane, namespace, pods):
    control_plane.apply(service(namespace))
    address = {name: one["status"]["podIP"] for name, one in pods.items()}
    found = routing(control_plane, namespace, "http", lambda found: len(found.endpoints) == 2)
    assert sockets(found) == {f"{address['a']}:8080", f"{address['b']}:8081"}
    assert {one.pod.name: (one.pod.uid, one.node, one.share) for one in found.endpoints} == {
        name: (one["metadata"]["uid"], NODE, 0.5) for name, one in pods.items()
    }
    assert found.notes == []
    numbered = routing(control_plane, namespace, "81", lambda found: len(found.endpoints) == 2)
    assert sockets(numbered) == {f"{one}:9090" for one in address.values()}
    lost = routing(control_plane, namespace, "lost", lambda found: True)
    assert lost.kind is Kind.REJECTED
    assert "no container port is called nowhere" in lost.notes[0]


def test_pods_that_are_not_ready_or_leave(control_plane, namespace, pods):
    control_plane.apply(service(namespace))
    unready(control_plane, "a", namespace)
    one = routing(control_plane, namespace, "http", lambda found: len(found.endpoints) == 1)
    assert [found.pod.name for found in one.endpoints] == ["b"]
    assert any("1 of 2 endpoints is not ready" in note for note in one.notes)
    finalizer = {"metadata": {"finalizers": ["kubectl-fsm.test/stay"]}}
    path = f"/api/v1/namespaces/{namespace}/pods/b"
    control_plane.api("PATCH", path, finalizer, "application/merge-patch+json")
    control_plane.api("DELETE", path)
    left = routing(control_plane, namespace, "http", lambda found: any("terminating" in note for note in found.notes))
    assert [found.pod.name for found in left.endpoints] == ["b"]
    control_plane.api("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    none = routing(control_plane, namespace, "http", lambda found: not found.endpoints)
    assert none.kind is Kind.REJECTED
    assert "not one of its 1 endpoints is ready" in none.notes[0]
    control_plane.apply(service(namespace, publishNotReadyAddresses=True))
    published = routing(control_plane, namespace, "http", lambda found: found.endpoints)
    assert [found.pod.name for found in published.endpoints] == ["a"]


def test_policies_and_headless(control_plane, namespace, pods):
    control_plane.apply(service(namespace, internalTrafficPolicy="Local"))
    here = routing(control_plane, namespace, "http", lambda found: len(found.endpoints) == 2)
    assert [one.share for one in here.endpoints] == [0.5, 0.5]
    there = routing(control_plane, namespace, "http", lambda found: True, Client(node="elsewhere"))
    assert there.kind is Kind.DROPPED
    control_plane.delete(f"/api/v1/namespaces/{namespace}/services/web")
    control_plane.apply(service(namespace, clusterIP="None"))
    headless = routing(control_plane, namespace, "http", lambda found: len(found.endpoints) == 2)
    assert headless.kind is Kind.HEADLESS
    assert sockets(headless) == {f"{one['status']['podIP']}:80" for one in pods.values()}
    assert any("target port is 8080 or 8081" in note for note in headless.notes)


def test_by_address_and_the_api_servers_own(control_plane, namespace):
    control_plane.apply(service(namespace))
    address = control_plane.get("service", "web", namespace)["spec"]["clusterIP"]
    objects = control_plane.list("services", "default") + control_plane.list("services", namespace)
    one, port = services.find(objects, address, 81)
    assert (one["metadata"]["namespace"], port.name) == (namespace, "raw")
    found = services.route(one, port, control_plane.list("endpointslices", namespace))
    assert (found.kind, len(found.notes)) == (Kind.REJECTED, 1)
    assert "it has no endpoints" in found.notes[0]
