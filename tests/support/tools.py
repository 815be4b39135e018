"""Finds the programs that a control plane consists of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.tools.build import bin_dirs

NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "fsm-injector")


def find() -> dict[str, Path]:
    """The programs that are there, by name: in `KUBEBUILDER_ASSETS`, as `make control-plane` built them, or in PATH."""
    built = bin_dirs(dict(os.environ)).values()
    folders = [os.environ.get("KUBEBUILDER_ASSETS"), *built, os.environ.get("PATH")]
    path = os.pathsep.join(str(folder) for folder in folders if folder)
    found = {name: shutil.which(name, path=path) for name in NAMES}
    return {name: Path(program) for name, program in found.items() if program}


def missing() -> list[str]:
    """Names of the programs that `find` does not find."""
    return sorted(set(NAMES) - set(find()))
