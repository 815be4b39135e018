"""What the benches share: a control plane with a mesh in it, and what a command costs there."""

from __future__ import annotations

import compileall
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.control_plane import ControlPlane
from tests.support.mesh import FSM, Mesh

_METHODS = ("GET", "POST", "PATCH")


class Cost(NamedTuple):
    """Of one run: seconds from start to end, and the most memory in use at a time, in MB."""

    wall: float
    memory: float


@contextmanager
def installed() -> Iterator[Mesh]:
    """FSM in a control plane of its own, and the plugin compiled."""
    compileall.compile_dir(Path(__file__).parents[1] / "kubectl_fsm", quiet=1)
    cluster = ControlPlane()
    try:
        cluster.start()
        mesh = Mesh(cluster, FSM)
        mesh.install()
        yield mesh
    finally:
        cluster.stop()


def run(cluster: ControlPlane, command: Sequence[str | Path]) -> tuple[Cost, str]:
    """What a command costs, and what it writes."""
    with (cluster.folder / "output").open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **cluster.path_env}
        )
        _, code, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        said = output.read()
        if code:
            raise AssertionError(f"{command} ended with {os.waitstatus_to_exitcode(code)}: {said[-500:]}")
        return Cost(wall, usage.ru_maxrss / 1024), said


def requests(said: str) -> int:
    """How many requests the plugin sent, by what it says with `-v=8`."""
    return sum(line.split(" ", 1)[0] in _METHODS for line in said.splitlines())
