"""What a page's commands see: a cluster, and a checkout, from the first of them to the last."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from docs.terminal import on_terminal
from tests.support.control_plane import ControlPlane
from tests.support.plugin import EXECUTABLE
from tests.support.screen import Screen
from tests.support.session import Names

COLUMNS = 240
NAMESPACE = "shop"


class Story:
    """Commands run one after the other. Pods of pages stand for pods of the namespace `shop`."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self.names = Names(self._pod)
        self._cluster = cluster
        self._folder = folder
        self._environment = {
            "PATH": os.pathsep.join([str(cluster.programs["kubectl"].parent), str(EXECUTABLE.parent), os.defpath]),
            "HOME": str(folder.parent),
            "KUBECONFIG": str(self._kubeconfig(folder.parent / "kubeconfig")),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
        }

    def show(self, command: str) -> list[str]:
        """What a terminal shows when the command has ended."""
        written = on_terminal(["bash", "-c", command], COLUMNS, self._environment, self._folder)
        return Screen(COLUMNS).feed(written).lines

    def carry_out(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of which only the end matters."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def write(self, name: str, text: str) -> None:
        """Put a file where the commands run."""
        (self._folder / name).write_text(text, "utf-8")

    def _kubeconfig(self, path: Path) -> Path:
        """The administrator's, with a context called `prod`."""
        config = yaml.safe_load(self._cluster.kubeconfig.read_text("utf-8"))
        config["contexts"][0]["name"] = config["current-context"] = "prod"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    def _pod(self, workload: str, others: frozenset[str]) -> str:
        pods = self._cluster.list("pods", NAMESPACE, f"app={workload}")
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return next(name for name in names if name not in others)
