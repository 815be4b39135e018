"""Runs the installed plugin as a user's shell would."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from kubectl_fsm import cli
from tests.support import shapes

JOIN_SECONDS = 30
EXECUTABLE = Path(sys.executable).parent / "kubectl-fsm"


@dataclass(frozen=True)
class Plugin:
    """`kubectl-fsm`, that of the environment that runs the tests, with `environment` and nothing else in its environment."""

    environment: Mapping[str, str]
    program: Path = EXECUTABLE

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it and return what it wrote and its exit code, whatever that is. Without `stdin` there is none.

        What it wrote for programs is held against its schema at the end of the test (conftest.py).

        The folder is the home of its environment unless another is given: a restart that fails leaves a plan there.
        """
        done = subprocess.run(
            [self.program, *args],
            env={**self.environment, **(env or {})},
            cwd=cwd or self.environment.get("HOME"),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
        if form := shapes.form(args):
            shapes.note(done.stdout, form)
        return done


@dataclass(frozen=True)
class InProcess:
    """The plugin inside the process of the tests, for one that changes how long it waits."""

    kubeconfig: Path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run it and return what it wrote and its exit code, whatever that is."""
        out, err = io.StringIO(), io.StringIO()
        environment = mock.patch.dict(os.environ, KUBECONFIG=str(self.kubeconfig))
        before = threading.enumerate()
        with environment, redirect_stdout(out), redirect_stderr(err):
            code = cli.main(args)
        for thread in threading.enumerate():  # a process that ends does not leave any
            if thread not in before and type(thread).__module__.startswith("kubectl_fsm."):
                thread.join(JOIN_SECONDS)
                assert not thread.is_alive(), f"{thread} goes on after the end"
        return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())
