"""Runs the installed plugin as a user's shell would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXECUTABLE = Path(sys.executable).parent / "kubectl-fsm"


@dataclass(frozen=True)
class Plugin:
    """`kubectl-fsm` of the environment that runs the tests, with `environment` and nothing else in its environment."""

    environment: Mapping[str, str]

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it and return what it wrote and its exit code, whatever that is. Without `stdin` there is none."""
        return subprocess.run(
            [EXECUTABLE, *args],
            env={**self.environment, **(env or {})},
            cwd=cwd,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
