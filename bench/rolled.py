"""Many workloads that are really rolled: controllers, injector and kubelets are at work."""

from __future__ import annotations

from typing import NamedTuple

from bench.harness import Cost, requests, run
from tests.support import workloads
from tests.support.mesh import Mesh
from tests.support.plugin import EXECUTABLE

WORKLOADS, REPLICAS, NAMESPACES = 100, 2, 10
COMMAND = ("restart", "-A", "--yes", "--max-parallel", "8")
_PATIENCE = 300


class Restarted(NamedTuple):
    """The restart of all workloads, and its requests to the API server for each."""

    cost: Cost
    requests: float


def restarted(mesh: Mesh) -> Restarted:
    """Make workloads, let a MeshConfig's edit outdate them all, and restart them."""
    cluster, pods = mesh.cluster, WORKLOADS * REPLICAS
    namespaces = [mesh.namespace() for _ in range(NAMESPACES)]
    for number in range(WORKLOADS):
        namespace = namespaces[number % NAMESPACES]
        made = workloads.deployment(f"app-{number:03}", namespace, replicas=REPLICAS)
        cluster.api("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", made)
    path = "/api/v1/pods?fieldSelector=status.phase%3DRunning&labelSelector=fsm-proxy-uuid"
    cluster.wait(lambda: len(cluster.api("GET", path)["items"]) == pods, f"{pods} pods run", _PATIENCE)
    mesh.set(outboundPortExclusionList=[6379])
    cost, said = run(cluster, [EXECUTABLE, *COMMAND, "-v=8"])
    counted = run(cluster, [EXECUTABLE, "status", "-A"])[1]
    if f"{pods} pods: {pods} injected, {pods} current" not in counted:
        raise AssertionError(f"not all were restarted: {counted[:500]}\n{said[-2000:]}")
    return Restarted(cost, requests(said) / WORKLOADS)
