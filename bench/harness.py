"""What the benches share: a control plane with a mesh in it, and what a command costs there."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.control_plane import ControlPlane
from tests.support.mesh import FSM, Mesh

_TIMED = Path(__file__).with_name("timed.py")
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
    result, said = cluster.folder / "cost", cluster.folder / "output"
    timed = [sys.executable, "-I", "-S", _TIMED, result, *command]
    with said.open("w") as output:
        env = {**os.environ, **cluster.path_env}
        done = subprocess.run(timed, env=env, check=False, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}: {said.read_text()[-500:]}")
    return Cost(**json.loads(result.read_text())), said.read_text()


def requests(said: str) -> int:
    """How many requests the plugin sent, by what it says with `-v=8`."""
    return sum(line.split(" ", 1)[0] in _METHODS for line in said.splitlines())
