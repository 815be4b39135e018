"""How fast the plugin is beside kubectl, as ratios measured in one run: `make bench`.

Each line is from ten runs of ours and ten of the peer's, taken in turns so that both meet the same machine.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import workloads  # noqa: E402
from tests.support.control_plane import ControlPlane  # noqa: E402
from tests.support.mesh import FSM, Mesh  # noqa: E402
from tests.support.plugin import EXECUTABLE  # noqa: E402

RUNS = 10
PAGE = "jsonpath={.spec.traffic.outboundPortExclusionList}"


def main() -> None:
    compileall.compile_dir(ROOT / "kubectl_fsm", quiet=1)
    cluster = ControlPlane()
    try:
        cluster.start()
        pod, namespace = meshed_pod(cluster)
        print(table(cluster, pod, namespace))
    finally:
        cluster.stop()


def meshed_pod(cluster: ControlPlane) -> tuple[str, str]:
    """A pod of a meshed Deployment, running."""
    mesh = Mesh(cluster, FSM)
    mesh.install()
    namespace = mesh.namespace()
    cluster.apply(workloads.deployment("web", namespace))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    (pod,) = cluster.list("pods", namespace)
    return pod["metadata"]["name"], namespace


def table(cluster: ControlPlane, pod: str, namespace: str) -> str:
    env = {**cluster.path_env, "HOME": str(cluster.folder)}
    shop = str(ROOT / "examples" / "shop")
    target = ("-n", namespace)
    page = (
        ("get", "pod", pod, *target),
        ("describe", "pod", pod, *target),
        ("get", "meshconfig", FSM.meshconfig_name, "-n", FSM.namespace, "-o", PAGE),
        ("get", "pod", pod, *target, "-o", "jsonpath={.metadata.annotations}"),
    )

    def ours(*args: str) -> Callable[[], None]:
        return lambda: run([str(EXECUTABLE), *args], env)

    def kubectl(*calls: Sequence[str]) -> Callable[[], None]:
        return lambda: [run(["kubectl", *call], env) for call in calls] and None

    start = kubectl(("version", "--client"))
    rows = [
        compared("--help", ours("--help"), "kubectl version --client", start, 2.0),
        compared("rules -f examples/shop", ours("rules", "-f", shop), "kubectl version --client", start, 2.0),
        compared("rules POD", ours("rules", pod, *target), "the guide's four kubectl calls", kubectl(*page), 1.3),
    ]
    return tabulate(rows, ["kubectl fsm", "ms", "peer", "ms", "ratio", "to reach"], tablefmt="plain", floatfmt=".2f")


def compared(
    name: str, ours: Callable[[], None], peer: str, theirs: Callable[[], None], aim: float
) -> Sequence[object]:
    """One row: both medians in milliseconds, and the median of the ratios of the runs that stood side by side."""
    ours()
    theirs()
    times = [(timed(ours), timed(theirs)) for _ in range(RUNS)]
    mine, other = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
    ratio = statistics.median(one / two for one, two in times)
    return name, f"{mine:.0f}", peer, f"{other:.0f}", ratio, aim


def timed(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(command: Sequence[str], env: dict[str, str]) -> None:
    subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True)


if __name__ == "__main__":
    main()
