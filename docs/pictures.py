"""Makes the pictures in docs/pictures: what the program shows on a terminal, for manifests of this repository."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from docs.terminal import on_terminal

FOLDER = Path(__file__).parent / "pictures"
_TOP = Path(__file__).parent.parent
_PROGRAM = Path(sys.executable).parent / "kubectl-fsm"
_PIECE = re.compile("\x1b\\[(?P<code>[0-9]*)m|(?P<words>[^ \x1b]+(?: [^ \x1b]+)*)|(?P<blanks> +)")
_WIDTH, _HEIGHT, _EDGE = 8.4, 18, 16
"""Of a character, of a line, and of what surrounds them."""
_STYLE = """\
    rect { fill: #f6f8fa; stroke: #d1d9e0; }
    text { fill: #1f2328; font: 14px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
    .c1 { font-weight: bold; }
    .c31 { fill: #d1242f; } .c32 { fill: #1a7f37; } .c33 { fill: #9a6700; } .c36 { fill: #0969da; }
    @media (prefers-color-scheme: dark) {
      rect { fill: #151b23; stroke: #3d444d; }
      text { fill: #f0f6fc; }
      .c31 { fill: #f85149; } .c32 { fill: #3fb950; } .c33 { fill: #d29922; } .c36 { fill: #4493f8; }
    }
"""
"""Colours by the numbers that terminals give them. Fonts are the reader's own: nothing is loaded from anywhere."""


class Session(NamedTuple):
    """What is typed at a terminal of so many columns."""

    columns: int
    commands: tuple[str, ...]


SESSIONS: Mapping[str, Session] = {
    "first-minute": Session(
        116,
        (
            "kubectl fsm check -f examples/shop",
            "kubectl fsm trace deploy/web svc/redis:6379 -n shop -f examples/shop",
        ),
    ),
    "rules": Session(116, ("kubectl fsm rules deploy/web -n shop -f examples/shop",)),
}
"""By the name of the SVG."""
FLOWCHARTS: Mapping[str, str] = {
    "rules": "kubectl fsm rules deploy/web -n shop -f examples/shop -o mermaid",
}
"""By the name of the file in Mermaid's language, which GitHub draws."""


def pictures() -> Iterator[tuple[Path, str]]:
    """Every picture, from a new run: its file, and what belongs there."""
    for name, (columns, commands) in SESSIONS.items():
        shown = [f"\x1b[1m$ {command}\x1b[0m\n{_run(command, columns)}" for command in commands]
        yield FOLDER / f"{name}.svg", drawn("\n".join(shown), columns)
    for name, command in FLOWCHARTS.items():
        yield FOLDER / f"{name}.mmd", _run(command, 80)


def drawn(text: str, columns: int) -> str:
    """Text of a terminal of so many columns as SVG. Raises ValueError for an escape sequence that is no colour."""
    lines = text.rstrip("\n").split("\n")
    wide, high = round(columns * _WIDTH + 2 * _EDGE), len(lines) * _HEIGHT + 2 * _EDGE
    texts = "".join(line for number, one in enumerate(lines) for line in _line(one, number))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}">\n'
        f"  <style>\n{_STYLE}  </style>\n"
        f'  <rect x="0.5" y="0.5" width="{wide - 1}" height="{high - 1}" rx="8"/>\n{texts}</svg>\n'
    )


def _line(line: str, number: int) -> Iterator[str]:
    """Its words, each in its column, whatever the font: blanks are no part of the picture."""
    place, column, colour = 0, 0, ""
    while place < len(line):
        found = _PIECE.match(line, place)
        if not found:
            raise ValueError(f"column {column} of {line!r}")
        place = found.end()
        if found["words"]:
            x, y = round(_EDGE + column * _WIDTH, 1), _EDGE + number * _HEIGHT + 14
            length = round(len(found["words"]) * _WIDTH, 1)
            kind = f' class="c{colour}"' if colour else ""
            yield f'  <text x="{x}" y="{y}" textLength="{length}"{kind}>{escape(found["words"])}</text>\n'
        if found["code"] is None:
            column += len(found[0])
        else:
            colour = found["code"].lstrip("0")


def _run(command: str, columns: int) -> str:
    """What a terminal gets, with colours. kubectl would start the same program by the same name."""
    program, *words = shlex.split(command.replace("kubectl fsm", str(_PROGRAM), 1))
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    return on_terminal([program, *words], columns, environment, _TOP)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pictures():
        path.write_text(text, "utf-8")
