"""What is written by `make docs`: each file, from what it says now to what it should say."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import checks, commands, descriptor, shapes

ROOT = Path(__file__).parents[2]
FILES: Mapping[Path, Callable[[str], str]] = {
    ROOT / "docs" / "checks.md": checks.page,
    ROOT / "docs" / "commands.md": commands.page,
    ROOT / "docs" / "output.md": shapes.page,
    ROOT / "plugin.yaml": descriptor.page,
}


def current(file: Path) -> str:
    """What a file says now; nothing where it is not there yet."""
    return file.read_text(encoding="utf-8") if file.exists() else ""
