"""What a page's commands see: a cluster, and a checkout, from the first of them to the last."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from docs.terminal import on_terminal
from tests.support.control_plane import ControlPlane
from tests.support.screen import Screen
from tests.support.session import Names

COLUMNS = 240
NAMESPACE = "shop"


class Story:
    """Commands run one after the other, as slowly as people type: the workloads of `shop` are at rest before each.

    Pods that a page names stand for pods of that namespace.
    """

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        self.names = Names(self._pod)
        self._cluster = cluster
        self._folder = folder
        (folder.parent / ".local" / "bin").mkdir(parents=True)
        programs = (cluster.programs["kubectl"].parent, folder / ".venv" / "bin")
        self._environment = {
            "PATH": os.pathsep.join([*map(str, programs), os.defpath]),
            "HOME": str(folder.parent),
            "KUBECONFIG": str(self._kubeconfig(folder.parent / "kubeconfig")),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
        }

    def show(self, command: str) -> list[str]:
        """What a terminal shows when the command has ended."""
        self.rest()
        written = on_terminal(["bash", "-c", command], COLUMNS, self._environment, self._folder)
        return Screen(COLUMNS).feed(written).lines

    def carry_out(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of which only the end matters."""
        self.rest()
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def rest(self) -> None:
        """Return when nothing is rolled, and the Services lead to every pod."""
        self._cluster.wait(self._at_rest, f"{NAMESPACE} is at rest", 60)

    def write(self, name: str, text: str) -> None:
        """Put a file where the commands run."""
        (self._folder / name).write_text(text, "utf-8")

    def _at_rest(self) -> bool:
        pods = 0
        for kind in ("deployments", "statefulsets"):
            for item in self._items("apps", kind):
                wanted, status = item["spec"]["replicas"], item.get("status", {})
                if status.get("observedGeneration") != item["metadata"]["generation"]:
                    return False
                if any(status.get(f"{which}eplicas") != wanted for which in ("r", "updatedR", "readyR")):
                    return False
                pods += wanted
        slices = self._items("discovery.k8s.io", "endpointslices")
        endpoints = [endpoint for one in slices for endpoint in one["endpoints"] or ()]
        return [endpoint["conditions"]["ready"] for endpoint in endpoints] == [True] * pods

    def _items(self, group: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._cluster.api("GET", f"/apis/{group}/v1/namespaces/{NAMESPACE}/{kind}")[
            "items"
        ]
        return found

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
