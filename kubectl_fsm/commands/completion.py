"""`kubectl fsm completion`."""

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import FsmError, Refused
from kubectl_fsm.operations.rights import Rights
from kubectl_fsm.reports import CompletionReport, Event, Warned

FORMATS = ("json", "yaml")
FILE = "kubectl_complete-fsm"
_MARK = "# kubectl runs this to complete `kubectl fsm`; `kubectl fsm completion install` wrote it.\n"
SCRIPT = f"""#!/bin/sh
{_MARK}exec kubectl-fsm __complete "$@"
"""
USAGE = f"""Make shells complete kubectl fsm as they complete kubectl: verbs, options, and what there is in the cluster.

kubectl asks a script on PATH, {FILE}, for the words that fit. `install` writes it; `print` shows it, to
be put there by hand. The shell has to complete kubectl itself too: kubectl completion --help.

Usage:
  kubectl fsm completion [options] [--] (install|print)

Examples:
  kubectl fsm completion install
  kubectl fsm completion install --folder ~/.local/bin
  kubectl fsm completion print > {FILE}

Options:
      --folder=FOLDER              where to write it: a folder on PATH, if not the one that kubectl-fsm is in
{general(*FORMATS)}"""


class Completion(NamedTuple):
    """Write the script into a folder, or just show it; the folder may be empty for the one of this program."""

    install: bool
    folder: str

    def run(self, connect: Connect) -> Generator[Event, bool, CompletionReport]:  # noqa: ARG002 - it asks no cluster
        if not self.install:
            return CompletionReport(SCRIPT, "")
        folder = Path(self.folder).expanduser() if self.folder else _own_folder()
        try:
            _write(folder / FILE)
        except OSError as error:
            raise FsmError(
                f"cannot write {folder / FILE}: {error.strerror}", "name a folder on PATH that is yours with --folder"
            ) from error
        if not any(Path(part).resolve() == folder.resolve() for part in os.get_exec_path()):
            yield Warned(f"{folder} is not on PATH, and kubectl looks for {FILE} there only")
        return CompletionReport(SCRIPT, str(folder / FILE))

    def rights(self, cluster: Cluster) -> Rights:  # noqa: ARG002 - it asks no cluster
        return Rights((), ())


def parse(arguments: Arguments) -> Completion:
    return Completion(arguments.flag("install"), arguments.text("--folder"))


def _own_folder() -> Path:
    """Where PATH has this program; a link to it counts, and not what it leads to."""
    return Path(shutil.which("kubectl-fsm") or sys.argv[0]).absolute().parent


def _write(file: Path) -> None:
    """Write the script in one step, in the place of one of ours only. Raises `Refused`, and `OSError`."""
    if file.is_symlink() or (file.exists() and _MARK not in file.read_text(encoding="utf-8", errors="replace")):
        raise Refused(f"{file} is there, and not by this program", "nothing was written; move it away first")
    with NamedTemporaryFile("w", dir=file.parent, prefix=f".{FILE}", delete=False) as draft:
        draft.write(SCRIPT)
    Path(draft.name).chmod(0o755)
    Path(draft.name).replace(file)
