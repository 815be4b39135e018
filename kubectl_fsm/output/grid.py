"""Columns and colours, as kubectl's users know them."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tabulate

_COLOURS = {
    "current": "32",
    "programmed": "32",
    "outdated": "33",
    "pending": "33",
    "leaving": "33",
    "failed": "31",
    "edited": "32",
    "done": "32",
    "left": "33",
    "interrupted": "31",
    "fine": "32",
    "trouble": "31",
    "NO": "31",
    "error": "31",
    "warning": "33",
    "info": "36",
    "heading": "1",
}
_PAINT = re.compile("\x1b\\[[0-9]+m")
tabulate.MIN_PADDING = 0  # two blanks between columns, also where a heading is the widest cell


class Style(NamedTuple):
    """How the text may look: `wide` adds columns, `colour` is for terminals, as is `width` (None: any)."""

    wide: bool = False
    colour: bool = False
    width: int | None = None

    def paint(self, word: str, shown: str = "") -> str:
        """A state in its colour; `shown` where it is written otherwise."""
        code = _COLOURS.get(word) if self.colour else None
        return f"\x1b[{code}m{shown or word}\x1b[0m" if code else shown or word


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as kubectl prints it: columns, no lines; cells are made safe."""
    text: str = tabulate.tabulate(rows, head, tablefmt="plain", disable_numparse=True)
    return f"{text}\n"


def fits(text: str, style: Style) -> bool:
    """Whether no line is longer than the terminal is wide."""
    return style.width is None or all(len(line) <= style.width for line in _PAINT.sub("", text).splitlines())


def fitted(head: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> str:
    """A table, or where it does not fit, a block for each row with a line for each cell."""
    table = grid(head, rows)
    return table if fits(table, style) else "".join(f"\n{grid((), zip(head, row, strict=True))}" for row in rows)
