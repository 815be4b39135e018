"""A copy of this checkout that commands may write to, and whose `make` finds everything built."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.plugin import EXECUTABLE

TOP = Path(__file__).parents[2]


def checkout(folder: Path) -> Path:
    """All but what is hidden or built, and the environment that runs the tests."""
    shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist"))
    environment = folder / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(EXECUTABLE.parent)
    for stamp in ("run", "dev"):
        (environment / stamp).touch()
    os.utime(folder / "pyproject.toml", (0, 0))  # what is newer than the stamps `make` builds anew
    return folder
