"""What a container wrote, through the API server and from the kubelet that has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import LOG_BYTES, Cluster
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, Forbidden, NotFound
from tests.support.api_server import Answer
from tests.support.control_plane import ControlPlane
from tests.support.kubelet import Kubelet, kubelet, pod_with_log

IPTABLES = b"iptables-restore v1.8.9 (legacy): multiport: too many ports\nError occurred at line: 12\n"


@pytest.fixture(scope="module")
def node(control_plane) -> Iterator[Kubelet]:
    with kubelet(control_plane) as started:
        yield started


@pytest.fixture
def pods(control_plane, node, namespace) -> str:
    """A namespace with the pod `web`, which has the containers `init` and `app`."""
    pod = pod_with_log("web", namespace, "init", "app")
    control_plane.api("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    node.server.requests.clear()
    return namespace


@pytest.fixture
def cluster(control_plane) -> Cluster:
    return kube.connect(ConnectionOptions(kubeconfig=str(control_plane.kubeconfig)))


def test_the_last_lines(cluster, node, pods):
    node.log("web", pods, "init", Answer(IPTABLES))
    node.log("web", pods, "app", Answer(b"up\n"))
    assert cluster.log("web", pods, "init", 20) == IPTABLES.decode()
    assert cluster.log("web", pods, "app", 1) == "up\n"
    first, second = node.server.requests
    assert (first.query["tailLines"], second.query["tailLines"]) == ("20", "1")
    assert "previous" not in first.query


def test_the_run_before_where_this_one_has_not_written_yet(cluster, node, pods):
    node.log("web", pods, "init", Answer(b""), Answer(IPTABLES))
    assert cluster.log("web", pods, "init", 20) == IPTABLES.decode()
    assert [request.query["tailLines"] for request in node.server.requests] == ["20", "20"]


def test_nothing_was_ever_written(cluster, node, pods):
    node.log("web", pods, "init", Answer(b""))
    assert cluster.log("web", pods, "init", 20) == ""
    node.log("web", pods, "init", Answer(b""), Answer(b""))
    assert cluster.log("web", pods, "init", 20) == ""


def test_what_waits_for_its_first_start(cluster, node, pods):
    words = 'container "app" in pod "web" is waiting to start: PodInitializing'
    node.log("web", pods, "app", Answer(words.encode(), 400))
    with pytest.raises(ApiError) as error:
        cluster.log("web", pods, "app", 20)
    assert (error.value.status, error.value.message) == (400, words)


def test_a_container_that_the_pod_has_not(cluster, pods):
    with pytest.raises(ApiError, match="container sidecar is not valid for pod web") as error:
        cluster.log("web", pods, "sidecar", 20)
    assert error.value.status == 400


def test_a_pod_that_is_not_there(cluster, pods):
    with pytest.raises(NotFound, match='pods "api" not found'):
        cluster.log("api", pods, "app", 20)


def test_a_pod_that_no_node_has(control_plane, cluster, namespace):
    pod = pod_with_log("web", namespace, "app")
    pod["spec"] = {"containers": [{"name": "app", "image": "app"}], "schedulerName": "nobody"}
    control_plane.api("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    assert cluster.log("web", namespace, "app", 20) == ""


def test_a_kubelet_that_fails(cluster, node, pods):
    node.log("web", pods, "app", Answer(b"the runtime is away", 500))
    with pytest.raises(ApiError, match="the runtime is away") as error:
        cluster.log("web", pods, "app", 20)
    assert error.value.status == 500


def test_a_kubelet_that_fails_for_the_run_before(cluster, node, pods):
    node.log("web", pods, "app", Answer(b""), Answer(b"the runtime is away", 500))
    with pytest.raises(ApiError, match="the runtime is away"):
        cluster.log("web", pods, "app", 20)


def test_without_the_right_to_read_logs(control_plane: ControlPlane, node, pods):
    node.log("web", pods, "app", Answer(b"up\n"))
    kubeconfig = str(control_plane.user("nobody"))
    with pytest.raises(Forbidden, match='cannot get resource "pods/log"') as error:
        kube.connect(ConnectionOptions(kubeconfig=kubeconfig)).log("web", pods, "app", 20)
    assert f"kubectl auth can-i get pods/web --subresource=log -n {pods}" in error.value.hint


def test_any_bytes_are_text(cluster, node, pods):
    node.log("web", pods, "app", Answer(b"\x1b[31m\xff\x00\xc3\xbc\n"))
    assert cluster.log("web", pods, "app", 20) == "\x1b[31m\ufffd\x00\xfc\n"


def test_of_much_text_the_end_is_kept(cluster, node, pods):
    node.log("web", pods, "app", Answer(b"x" * 900_000 + b"\nthe end\n"))
    found = cluster.log("web", pods, "app", 2)
    assert (len(found), found[-9:]) == (LOG_BYTES, "\nthe end\n")


def test_a_kubelet_that_never_ends_is_left(cluster, node, pods):
    """As one that minds neither `tailLines` nor `limitBytes`."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1_000_000_000:
            sent += 100_000
            yield b"x" * 100_000

    node.log("web", pods, "app", Answer(endless()))
    assert cluster.log("web", pods, "app", 20) == "x" * LOG_BYTES
    assert sent < 100_000_000
    assert node.server.requests[-1].query["limitBytes"] == "1000000"
