"""Columns and colours, as kubectl's users know them."""

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
}
tabulate.MIN_PADDING = 0  # two blanks between columns, also where a heading is the widest cell


class Style(NamedTuple):
    """How the text may look: `wide` adds columns, `colour` is for terminals."""

    wide: bool = False
    colour: bool = False

    def paint(self, word: str, shown: str = "") -> str:
        """A state in its colour; `shown` where it is written otherwise."""
        code = _COLOURS.get(word) if self.colour else None
        return f"\x1b[{code}m{shown or word}\x1b[0m" if code else shown or word


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as kubectl prints it: columns, no lines; cells are made safe."""
    text: str = tabulate.tabulate(rows, head, tablefmt="plain", disable_numparse=True)
    return f"{text}\n"
