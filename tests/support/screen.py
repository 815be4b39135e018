"""What a terminal shows of what a program has written to it."""

import re
import unicodedata

_TOKEN = re.compile(r"\x1b\[(?P<arguments>[?0-9;]*)(?P<code>[A-Za-z])|(?P<char>.)", re.DOTALL)


class Screen:
    """A terminal so wide, and as high as need be. What it does not know, an escape sequence first of all, is an error."""

    def __init__(self, width: int = 80) -> None:
        self._width = width
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        self.colours: set[str] = set()

    @property
    def lines(self) -> list[str]:
        """From the top to the last line that shows something."""
        shown = ["".join(line).rstrip() for line in self._lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def feed(self, text: str) -> "Screen":
        for found in _TOKEN.finditer(text):
            if found["code"]:
                self._control(found["arguments"], found["code"])
            elif found["char"] == "\n":
                self._down()
            elif found["char"] == "\r":
                self._column = 0
            else:
                self._write(found["char"])
        return self

    def _control(self, arguments: str, code: str) -> None:
        if code == "A":
            self._row -= int(arguments or 1)
            assert self._row >= 0
        elif (arguments, code) == ("2", "K"):
            self._lines[self._row] = []
        elif code == "m":
            self.colours |= set(arguments.split(";")) - {"0"}
        else:
            assert (arguments, code) in {("?25", "l"), ("?25", "h")}, f"CSI {arguments}{code}"

    def _write(self, char: str) -> None:
        assert char.isprintable(), repr(char)
        cells = [char, ""] if unicodedata.east_asian_width(char) in "WF" else [char]
        if self._column + len(cells) > self._width:
            self._down()
        line = self._lines[self._row]
        line += [" "] * (self._column - len(line))
        line[self._column : self._column + len(cells)] = cells
        self._column += len(cells)

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append([])
