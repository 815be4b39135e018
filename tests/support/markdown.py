"""Reads the fenced blocks of a Markdown file, each with what a comment right above it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")
_COMMENT = re.compile(r" *<!-- (?P<text>.*) -->")
PROMPT = "$ "


class Line(NamedTuple):
    """A line of text and where it stands, counted from 1."""

    text: str
    number: int


class Turn(NamedTuple):
    """A command of a session and the lines that it prints."""

    command: Line
    output: list[Line]


class Block(NamedTuple):
    """A fenced block. `line` is that of its first fence; `comment` is empty where none stands right above."""

    path: Path
    line: int
    info: str
    comment: str
    lines: list[Line]

    @property
    def text(self) -> str:
        return "".join(f"{line.text}\n" for line in self.lines)

    @property
    def turns(self) -> list[Turn]:
        """A session's commands, or the one in the comment, whose output the block then is; none in other blocks."""
        if self.comment.startswith(PROMPT):
            return [Turn(Line(self.comment.removeprefix(PROMPT), self.line - 1), self.lines)]
        turns: list[Turn] = []
        for line in self.lines:
            if line.text.startswith(PROMPT):
                turns.append(Turn(Line(line.text.removeprefix(PROMPT), line.number), []))
            elif not turns:
                return []
            elif not turns[-1].output and turns[-1].command.text.endswith("\\"):
                turns[-1] = Turn(Line(f"{turns[-1].command.text}\n{line.text}", turns[-1].command.number), [])
            else:
                turns[-1].output.append(line)
        for turn in turns:
            while turn.output and not turn.output[-1].text:  # an empty line before the next command
                turn.output.pop()
        return turns


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a file. Raises AssertionError where one has no end."""
    above, block, fence, indent = "", None, "", ""
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        if block is None:
            if found := _FENCE.fullmatch(text):
                comment = _COMMENT.fullmatch(above)
                indent, fence = found["indent"], found["fence"]
                block = Block(path, number, found["info"].strip(), comment["text"] if comment else "", [])
            above = text
        elif re.fullmatch(f" *{re.escape(fence)}{re.escape(fence[0])}* *", text):
            yield block
            above, block = "", None
        else:
            block.lines.append(Line(text.removeprefix(indent), number))
    assert block is None, f"{path}:{block.line}: a block without an end" if block else ""
