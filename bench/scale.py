"""What `status -A` costs as a mesh grows, beside `kubectl get pods -A`: `make bench-scale`.

Both run in turns, so that both meet the same machine, against one control plane that is filled further for each line.
"""

from __future__ import annotations

import compileall
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from kubectl_fsm.generator import render  # noqa: E402
from tests.support import workloads  # noqa: E402
from tests.support.control_plane import ControlPlane  # noqa: E402
from tests.support.mesh import FSM, Mesh  # noqa: E402
from tests.support.plugin import EXECUTABLE  # noqa: E402

SIZES = (1_000, 5_000, 10_000, 20_000)
RUNS = 5
WORKLOADS, NAMESPACES = 500, 20
CONNECTIONS = 8
PADDING = [{"name": f"SETTING_{number}", "value": "x" * 180} for number in range(35)]
"""Environment that makes a pod 12 KB in JSON, as pods with a sidecar are."""
AIMS = {"wall": 0.6, "memory": 0.15, "flat": 1.2}
Object = dict[str, Any]


class Cost(NamedTuple):
    """Of one run: seconds from start to end, and the most memory in use at a time, in MB."""

    wall: float
    memory: float


def main() -> None:
    compileall.compile_dir(ROOT / "kubectl_fsm", quiet=1)
    cluster = ControlPlane()
    try:
        cluster.start()
        mesh = Mesh(cluster, FSM)
        mesh.install()
        filled = Filled(cluster, mesh)
        costs = {}
        for size in SIZES:
            filled.grow(size)
            costs[size] = compared(cluster, size)
        print(table(costs))
        print(verdicts(costs))
    finally:
        cluster.stop()


class Filled:
    """A control plane with pods of meshed workloads, written as the controllers, the injector and a kubelet would."""

    def __init__(self, cluster: ControlPlane, mesh: Mesh) -> None:
        self._cluster = cluster
        self._size = 0
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
        replicas = SIZES[-1] // WORKLOADS
        made = workloads.deployment(name, namespace, replicas=replicas)
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


def compared(cluster: ControlPlane, size: int) -> tuple[Cost, Cost]:
    """Medians of ours and of kubectl's runs, after one of each that does not count."""
    ours, theirs = [EXECUTABLE, "status", "-A"], ["kubectl", "get", "pods", "-A"]
    counted = run(cluster, ours)[1]
    if f"{size} pods: {size} injected, {size} current" not in counted:
        raise AssertionError(f"status counts otherwise: {counted[:500]}")
    run(cluster, theirs)
    pairs = [(run(cluster, ours)[0], run(cluster, theirs)[0]) for _ in range(RUNS)]
    first, second = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in zip(*pairs, strict=True))
    return first, second


def run(cluster: ControlPlane, command: Sequence[str | Path]) -> tuple[Cost, str]:
    """What a command costs, and what it writes."""
    with (cluster.folder / "output").open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, env={**os.environ, **cluster.path_env})
        _, code, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        if code:
            raise AssertionError(f"{command} ended with {code}")
        return Cost(wall, usage.ru_maxrss / 1024), output.read()


def table(costs: Mapping[int, tuple[Cost, Cost]]) -> str:
    rows = [
        [
            f"{size:,}",
            *(f"{cost.wall:.2f}" for cost in pair),
            f"{pair[0].wall / pair[1].wall:.2f}",
            *(f"{cost.memory:.0f}" for cost in pair),
            f"{pair[0].memory / pair[1].memory:.2f}",
        ]
        for size, pair in costs.items()
    ]
    head = ["pods", "status -A s", "kubectl get pods -A s", "ratio", "status -A MB", "kubectl get pods -A MB", "ratio"]
    return tabulate(rows, head, tablefmt="plain", disable_numparse=True)


def verdicts(costs: Mapping[int, tuple[Cost, Cost]]) -> str:
    return "\n".join(f"{what}: {found:.2f}, to reach {aim}" for what, found, aim in reached(costs))


def reached(costs: Mapping[int, tuple[Cost, Cost]]) -> Iterator[tuple[str, float, float]]:
    ours, theirs = costs[10_000]
    yield "wall at 10,000 pods, of kubectl's", ours.wall / theirs.wall, AIMS["wall"]
    yield "memory at 10,000 pods, of kubectl's", ours.memory / theirs.memory, AIMS["memory"]
    yield "memory at 20,000 pods, of that at 5,000", costs[20_000][0].memory / costs[5_000][0].memory, AIMS["flat"]


if __name__ == "__main__":
    main()
