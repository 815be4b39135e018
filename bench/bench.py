"""How fast the plugin is beside kubectl, as ratios measured in one run: `make bench`.

Each line is from ten runs of ours and ten of the peer's, taken in turns so that both meet the same machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

from bench.harness import installed, requests
from tests.support import bundle, workloads
from tests.support.control_plane import ControlPlane
from tests.support.mesh import FSM, Mesh
from tests.support.plugin import EXECUTABLE

ROOT = Path(__file__).parents[1]
RUNS = 10
Caller = Callable[..., Callable[[], None]]
PAGE = "jsonpath={.spec.traffic.outboundPortExclusionList}"


def main() -> None:
    with installed() as mesh:
        cluster = mesh.cluster
        pod, namespace = meshed_pod(cluster, mesh)
        print(table(cluster, pod, namespace))
        print(f"\nrequests to the API server for one more workload that is restarted: {requests_each(cluster, mesh)}")


def meshed_pod(cluster: ControlPlane, mesh: Mesh) -> tuple[str, str]:
    """A pod of a meshed Deployment with three pods, running, and its namespace."""
    namespace = mesh.namespace()
    slow = workloads.deployment("slow", namespace, replicas=3)
    ports = [{"port": 80, "targetPort": 8080}]
    service = {
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": ports},
    }
    cluster.api("POST", f"/api/v1/namespaces/{namespace}/services", service)
    cluster.apply(
        workloads.deployment("web", namespace, replicas=3), {**slow, "spec": {**slow["spec"], "minReadySeconds": 1}}
    )
    for name in ("web", "slow"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
    return cluster.list("pods", namespace, "app=web")[0]["metadata"]["name"], namespace


def requests_each(cluster: ControlPlane, mesh: Mesh) -> str:
    """What a restart of six Deployments takes more than one of a single one, for each of the five."""
    few, many = mesh.namespace(), mesh.namespace()
    for namespace, count in ((few, 1), (many, 6)):
        cluster.apply(*(workloads.deployment(f"web{number}", namespace, replicas=3) for number in range(count)))
        for number in range(count):
            cluster.kubectl("rollout", "status", f"deployment/web{number}", "-n", namespace, "--timeout=60s")
    counts = []
    for namespace in (few, many):
        command = ["restart", "--all", "-n", namespace, "--all-pods", "--yes", "-v=8"]
        said = run([str(EXECUTABLE), *command], environment(cluster)).stderr.decode()
        counts.append(requests(said))
    return f"{(counts[1] - counts[0]) / 5:.1f} (all for one: {counts[0]})"


def environment(cluster: ControlPlane) -> dict[str, str]:
    return {**cluster.path_env, "HOME": str(cluster.folder)}


def table(cluster: ControlPlane, pod: str, namespace: str) -> str:
    env = environment(cluster)
    program = bundle.unpack(cluster.folder / "bundle")
    shop = str(ROOT / "examples" / "shop")
    target = ("-n", namespace)
    page = (
        ("get", "pod", pod, *target),
        ("describe", "pod", pod, *target),
        ("get", "meshconfig", FSM.meshconfig_name, "-n", FSM.namespace, "-o", PAGE),
        ("get", "pod", pod, *target, "-o", "jsonpath={.metadata.annotations}"),
    )
    read = (
        ("get", "pod", "-l", "app=web", *target, "-o", "yaml"),
        ("get", "service", "web", *target, "-o", "yaml"),
        ("get", "endpointslices", "-l", "kubernetes.io/service-name=web", *target, "-o", "yaml"),
        ("get", "deployment", "web", *target, "-o", "yaml"),
        ("get", "meshconfig", FSM.meshconfig_name, "-n", FSM.namespace, "-o", "yaml"),
    )

    def ours(*args: str) -> Callable[[], None]:
        return lambda: run([str(EXECUTABLE), *args], env) and None

    def bundled(*args: str) -> Callable[[], None]:
        return lambda: run([str(program), *args], env) and None

    def kubectl(*calls: Sequence[str]) -> Callable[[], None]:
        return lambda: [run(["kubectl", *call], env) for call in calls] and None

    start = kubectl(("version", "--client"))
    rows = [
        compared("--help", ours("--help"), "kubectl version --client", start, "2.00"),
        compared("rules -f examples/shop", ours("rules", "-f", shop), "kubectl version --client", start, "2.00"),
        compared("--help, bundle", bundled("--help"), "kubectl version --client", start, "1.50"),
        compared("rules POD, bundle", bundled("rules", pod, *target), "installed", ours("rules", pod, *target), "1.20"),
        compared("rules POD", ours("rules", pod, *target), "the guide's four kubectl calls", kubectl(*page), "1.30"),
        compared(
            "trace POD svc/web",
            ours("trace", pod, "svc/web", *target),
            "what it reads, by kubectl",
            kubectl(*read),
            "1.30",
        ),
        compared(
            "tab after rules",
            ours("__complete", "rules", *target, ""),
            "kubectl's tab after logs",
            kubectl(("__complete", "logs", *target, "")),
            "-",
        ),
        *restarts(ours, kubectl, target),
    ]
    return tabulate(
        rows, ["kubectl fsm", "ms", "peer", "ms", "ratio", "to reach"], tablefmt="plain", disable_numparse=True
    )


def restarts(ours: Caller, kubectl: Caller, target: Sequence[str]) -> Iterator[Sequence[object]]:
    """Restarts of three pods each: of pods that take a second to be ready, and of pods that nobody has to start."""
    for name, what, aim in (("slow", "pods ready in 1 s", "1.20"), ("web", "pods ready at once", "-")):
        workload = f"deploy/{name}"
        theirs = kubectl(("rollout", "restart", workload, *target), ("rollout", "status", workload, *target))
        mine = ours("restart", workload, *target, "--all-pods")
        yield compared(f"restart, verified, {what}", mine, "kubectl rollout restart, and status", theirs, aim, 1.0)


def compared(  # noqa: PLR0917 - a row has as many columns
    name: str, ours: Callable[[], None], peer: str, theirs: Callable[[], None], aim: str, apart: float = 0
) -> Sequence[object]:
    """One row: both medians in milliseconds, and the median of the ratios of the runs that stood side by side.

    `apart`: seconds between two runs, where one would disturb the next.
    """
    timed(ours, apart)
    timed(theirs, apart)
    times = [(timed(ours, apart), timed(theirs, apart)) for _ in range(RUNS)]
    mine, other = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
    ratio = statistics.median(one / two for one, two in times)
    return name, f"{mine:.0f}", peer, f"{other:.0f}", f"{ratio:.2f}", aim


def timed(action: Callable[[], None], apart: float = 0) -> float:
    time.sleep(apart)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(command: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)


if __name__ == "__main__":
    main()
