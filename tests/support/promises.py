"""What the program promises whatever it is given: an exit code, an error that can be read, a terminal that nothing acts on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import NamedTuple
from unittest import mock
from xml.etree import ElementTree as ET

import yaml

from kubectl_fsm import cli

EXIT_CODES = (0, 1, 2, 3)
MOST_SECONDS = 60
"""Of processor time, for one run: far more than any input that is read to its end takes."""
_BUG = re.compile(
    r"Traceback \(most recent call last\)|this should not happen|^(error|warning): (.*: )?object: ", re.MULTILINE
)
_ERROR = re.compile(r"^(error: |Error from server)", re.MULTILINE)
_JSON = ("json", "sarif")


class Done(NamedTuple):
    """A command line that has been run, and what it wrote; `terminal` where both streams were one."""

    argv: Sequence[str]
    code: int
    out: str
    err: str
    terminal: bool = True

    @property
    def format(self) -> str:
        """What `-o` asks for; empty for none."""
        words = zip(self.argv, [*self.argv[1:], ""], strict=True)
        return next((following for word, following in words if word == "-o"), "")

    def broken(self) -> Iterator[str]:
        """Every promise that was not kept, in words."""
        if self.code not in EXIT_CODES:
            yield f"exit code {self.code}"
        if found := _BUG.search(self.err) or _BUG.search(self.out):
            yield f"a bug, not an error: {found[0]}"
        if self.terminal:
            for name, text in (("stdout", self.out), ("stderr", self.err)):
                if raw := {char for char in text if not (char.isprintable() or char in "\n\t")}:
                    yield f"{name} has {sorted(raw)} for the terminal"
        if self.code in (1, 2) and not _ERROR.search(self.err) and not ("check" in self.argv and self.out):
            yield "no error is said"
        if self.out and not {"-h", "--help", "help"} & {*self.argv}:
            yield from self._unreadable()

    def _unreadable(self) -> Iterator[str]:
        """What keeps a program from reading what was written for programs."""
        if self.format in (*_JSON, "yaml") and not self.out.isascii():
            yield f"{self.format} is not ASCII"
        try:
            if self.format in _JSON:
                json.loads(self.out)
            elif self.format == "yaml":
                yaml.load(self.out, yaml.CSafeLoader)
            elif self.format == "junit":
                ET.fromstring(self.out)  # noqa: S314 - the program's own
        except (ValueError, yaml.YAMLError, ET.ParseError) as error:
            yield f"{self.format} is not valid: {error}"


class _Terminal(io.TextIOWrapper):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        return True


class Hang(BaseException):
    """A run took more processor time than any should."""


def run(
    argv: Sequence[str], stdin: bytes = b"", *, terminal: bool = True, env: Mapping[str, str] | None = None
) -> Done:
    """The program in this process, as on a terminal that nobody sits at or through pipes, without colours."""
    made = _Terminal if terminal else io.TextIOWrapper
    out, err = (made(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    environment = {"NO_COLOR": "1", "TERM": "xterm", "HOME": "/nonexistent", "PATH": os.environ["PATH"], **(env or {})}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
        redirect_stdout(out),
        redirect_stderr(err),
        _within(MOST_SECONDS),
    ):
        code = cli.main(argv)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Done(argv, code, *texts, terminal)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """A limit of processor time, which does not depend on what else the machine does."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
