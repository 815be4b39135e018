"""A control plane full of pods of meshed workloads: what is there stands still, and costs only what is asked of it."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPSConnection
from typing import Any

from kubectl_fsm.generator import render
from tests.support import workloads
from tests.support.mesh import FSM, Mesh

WORKLOADS, NAMESPACES = 500, 20
CONNECTIONS = 8
PADDING = [{"name": f"SETTING_{number}", "value": "x" * 180} for number in range(35)]
"""Environment that makes a pod 12 KB in JSON, as pods with a sidecar are."""
Object = dict[str, Any]


class Filled:
    """A mesh's pods, written as the controllers, the injector and a kubelet would write them, `most` at the most."""

    def __init__(self, mesh: Mesh, most: int) -> None:
        self._cluster = cluster = mesh.cluster
        self._size = 0
        self._replicas = most // WORKLOADS
        namespaces = [mesh.namespace() for _ in range(NAMESPACES)]
        cluster.stand_still()
        self._sets = [self._workload(f"app-{n:03}", namespaces[n % NAMESPACES]) for n in range(WORKLOADS)]
        self._script = render(mesh.flavour.injector, {}, mesh.meshconfig()["spec"])
        mesh.stop_injecting()

    def grow(self, size: int) -> None:
        """Add pods until there are so many."""
        numbers = range(self._size // WORKLOADS, size // WORKLOADS)
        waiting: queue.SimpleQueue[Object] = queue.SimpleQueue()
        for owner in self._sets:
            for number in numbers:
                waiting.put(self._pod(owner, number))
        writers = [threading.Thread(target=self._write, args=(waiting,), daemon=True) for _ in range(CONNECTIONS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self._size = size

    def _workload(self, name: str, namespace: str) -> Object:
        """A Deployment and its ReplicaSet, which is returned."""
        path = f"/apis/apps/v1/namespaces/{namespace}"
        made = workloads.deployment(name, namespace, replicas=self._replicas)
        owner = self._cluster.api("POST", f"{path}/deployments", made)
        child = workloads.owned({**made, "kind": "ReplicaSet"}, owner)
        return self._cluster.api("POST", f"{path}/replicasets", child)

    def _pod(self, owner: Object, number: int) -> Object:
        metadata, mesh = owner["metadata"], FSM
        pod = workloads.pod(f"{metadata['name']}-{number:04}", metadata["namespace"], owner=owner)
        pod["metadata"]["labels"] |= {"app": metadata["name"], f"{mesh.name}-proxy-uuid": pod["metadata"]["name"]}
        init = {"name": f"{mesh.name}-init", "image": "example.com/init:1", "command": ["/bin/sh"]}
        pod["spec"] |= {
            "nodeName": "node",
            "automountServiceAccountToken": False,
            "initContainers": [init | {"args": ["-c", self._script]}],
        }
        pod["spec"]["containers"][0]["env"] = PADDING
        pod["spec"]["containers"].append({"name": mesh.sidecar, "image": "example.com/sidecar:1"})
        return pod

    def _write(self, waiting: queue.SimpleQueue[Object]) -> None:
        connection = self._cluster.connection()
        while True:
            try:
                pod = waiting.get_nowait()
            except queue.Empty:
                return
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
            send(connection, "POST", path, pod, "application/json")
            status = f"{path}/{pod['metadata']['name']}/status"
            send(connection, "PATCH", status, {"status": running(pod)}, "application/merge-patch+json")


def send(connection: HTTPSConnection, method: str, path: str, body: Mapping[str, Any], kind: str) -> None:
    while True:
        connection.request(method, path, json.dumps(body), {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            raise AssertionError(f"{method} {path}: {answer.status} {text!r}")
        time.sleep(0.2)


def running(pod: Object) -> Object:
    """The status that a kubelet reports of a pod that runs."""
    names = [container["name"] for container in pod["spec"]["containers"]]
    (init,) = pod["spec"]["initContainers"]
    common = {"ready": True, "restartCount": 0, "image": "example.com/app:1", "imageID": "example.com/app:1"}
    moment = "2026-01-01T00:00:00Z"
    return {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "conditions": [{"type": name, "status": "True"} for name in ("Initialized", "ContainersReady", "Ready")],
        "containerStatuses": [common | {"name": name, "state": {"running": {"startedAt": moment}}} for name in names],
        "initContainerStatuses": [
            common | {"name": init["name"], "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
        ],
    }
