"""What is said while a command works: live on a terminal, lines with a time stamp elsewhere, events for programs."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from kubectl_fsm.output.tally import Tally
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import Lineup, Note, Turn, Warned

if TYPE_CHECKING:
    from kubectl_fsm.output.live import Region

Told = Note | Warned | Lineup | Turn
"""Events that are told as they come; a `Question` is asked, and what has `Failed` is said in the end."""
Say = Callable[[str], None]
"""Writes a line for the user; what a terminal would act on is written out."""


class Narrator(Protocol):
    """Tells somebody how a command gets on."""

    def tell(self, event: Told) -> None:
        """Tell an event."""

    def clear(self) -> None:
        """Take away what is not to stay: somebody is asked, or it is over. The next event brings it back."""


class Lines:
    """Lines that stay, for a log: turns have a time stamp."""

    def __init__(self, say: Say, *, every_state: bool = False) -> None:
        """`every_state`: also tell when something is about to be written."""
        self._say = say
        self._every_state = every_state
        self._tally = Tally(Lineup(0, 1, 0.0))

    def tell(self, event: Told) -> None:
        if isinstance(event, Lineup):
            self._tally = Tally(event)
        elif isinstance(event, Turn):
            self._tally.take(event)
            if event.state != "writing" or self._every_state:
                place = f"[{self._tally.begun}/{self._tally.total}] " if event.state == "begun" else ""
                self._say(f"{stamp()} {place}{visible(said(event))}")
        else:
            self._say(said(event))

    def clear(self) -> None:
        """All of it stays."""


class Events:
    """An event a line in JSON on stdout, for programs; what is for people goes beside it."""

    def __init__(self, say: Say, stdout: TextIO) -> None:
        self._say = say
        self._stdout = stdout

    def tell(self, event: Told) -> None:
        if isinstance(event, Turn):
            from kubectl_fsm.output import structured  # noqa: PLC0415 - not needed where nothing is restarted

            self._stdout.write(structured.as_event(event, stamp()))
            self._stdout.flush()
        elif not isinstance(event, Lineup):
            self._say(said(event))

    def clear(self) -> None:
        """All of it stays."""


class Terminal:
    """Lines, and while workloads have their turns a region below them that shows how these get on."""

    def __init__(self, say: Say, stderr: TextIO, *, colour: bool) -> None:
        self._say = say
        self._stderr = stderr
        self._colour = colour
        self._region: Region | None = None

    def tell(self, event: Told) -> None:
        if isinstance(event, Lineup):
            from kubectl_fsm.output.live import Region  # noqa: PLC0415 - 25 ms to load, for restarts only

            self.clear()
            if event.where:
                self._say(event.where)
            self._region = Region(Tally(event), self._stderr, colour=self._colour)
        elif self._region:
            self._region.tell(event)
        elif not isinstance(event, Turn):
            self._say(said(event))

    def clear(self) -> None:
        if self._region:
            self._region.clear()


def said(event: Note | Warned | Turn) -> str:
    """An event in a line. A turn that has ended otherwise than well says how."""
    if isinstance(event, Warned):
        return f"warning: {event.text}"
    if isinstance(event, Turn) and event.ends and event.state != "done" and not event.text.endswith(event.state):
        return f"{event.state}: {event.text}"
    return event.text


def stamp() -> str:
    """The time, in RFC 3339: UTC, in seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
