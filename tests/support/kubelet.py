"""A kubelet that answers for the logs of containers, since KWOK answers for nothing: the API server fetches them from it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trustme

from tests.support.api_server import Answer, ApiServer, Request, running
from tests.support.control_plane import ControlPlane

NODE = "node-with-logs"

Wrote = Callable[[Request], Answer]


class Kubelet:
    """`log` sets what a container of a pod wrote; `server.requests` are what the API server asked for."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def log(self, pod: str, namespace: str, container: str, current: Answer, previous: Answer | None = None) -> None:
        """What `kubectl logs` gets of this run, and of the run before with `--previous`."""
        missing = Answer(f'previous terminated container "{container}" in pod "{pod}" not found'.encode(), 400)

        def answer(request: Request) -> Answer:
            return previous or missing if request.query.get("previous") == "true" else current

        self.server.answer(f"/containerLogs/{namespace}/{pod}/{container}", answer)


@contextmanager
def kubelet(control_plane: ControlPlane) -> Iterator[Kubelet]:
    """The kubelet of a node of its own, on which only pods run that name it; gone with the block."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)  # an API server checks it only where it is told to
    path = f"/api/v1/nodes/{NODE}"
    with running(ApiServer(tls)) as server:
        control_plane.api("POST", "/api/v1/nodes", {"metadata": {"name": NODE}, "spec": {"unschedulable": True}})
        try:
            control_plane.wait(lambda: control_plane.api("GET", path)["status"].get("addresses"), "the node is ready")
            status = {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": server.port}},
            }
            control_plane.api("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")
            yield Kubelet(server)
        finally:
            control_plane.delete(path)


def pod_with_log(name: str, namespace: str, *containers: str) -> dict[str, object]:
    """A pod on that node."""
    made = [{"name": container, "image": "app"} for container in containers]
    spec = {"nodeName": NODE, "containers": made, "tolerations": [{"operator": "Exists"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
