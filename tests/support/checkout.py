"""A copy of this checkout that commands may write to, and in which `make` finds the plugin installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.plugin import EXECUTABLE

TOP = Path(__file__).parents[2]


def checkout(folder: Path) -> Path:
    """All but what is hidden or built, and in `.venv/bin` the plugin that the tests run."""
    shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "fsm-restart-*"))
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / EXECUTABLE.name).symlink_to(EXECUTABLE)
    for stamp in ("run", "dev"):
        (programs.parent / stamp).touch()
    os.utime(folder / "pyproject.toml", (0, 0))  # what is newer than the stamps `make` builds anew
    return folder
