"""A live region at the foot of a terminal: a line for each workload that has its turn, and one with totals.

The one door to `rich`.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from kubectl_fsm import durations
from kubectl_fsm.output.progress import said
from kubectl_fsm.output.tally import Running, Tally
from kubectl_fsm.output.visible import visible, visible_text
from kubectl_fsm.reports import Lineup, Note, Turn, Warned

_COLOURS = {"done": "green", "left": "yellow", "failed": "red", "interrupted": "red"}
_PER_SECOND = 2
_CARET = 3
"""Columns that stay free, so that `^C`, which a terminal writes at the end of the last line, starts no new one."""
_STATUS = 30
"""Columns that a name leaves to the rest of its line where both do not fit."""


class Region:
    """Shows a tally until it is cleared. Whatever else is told goes above it, and stays."""

    def __init__(self, tally: Tally, stderr: TextIO, *, colour: bool) -> None:
        self._tally = tally
        self._console = Console(
            file=stderr,
            force_terminal=True,
            force_interactive=True,
            force_jupyter=False,
            legacy_windows=False,
            color_system="standard" if colour else None,
            markup=False,
            emoji=False,
            highlight=False,
        )
        self._encoding = stderr.encoding or "utf-8"
        self._live: Live | None = None

    def tell(self, event: Note | Warned | Lineup | Turn) -> None:
        if isinstance(event, Turn):
            self._tally.take(event)
        with _undisturbed():
            live = self._shown()
            if isinstance(event, Turn) and event.ends:
                self._keep(Text(visible(said(event)), style=_COLOURS.get(event.state, "")))
            elif isinstance(event, Note | Warned):
                self._keep(Text(visible_text(said(event)).lstrip("\n")))
            else:
                live.refresh()

    def clear(self) -> None:
        """Leave nothing of the region; the next event brings it back."""
        with _undisturbed():
            if self._live:
                self._live.stop()
                self._live = None

    def _shown(self) -> Live:
        if not self._live:
            self._live = Live(
                self,
                console=self._console,
                refresh_per_second=_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
            self._console.show_cursor(show=True)  # a program that is killed would leave it hidden
        return self._live

    def _keep(self, text: Text) -> None:
        """Above the region, as long as it is: the terminal breaks it."""
        self._console.print(text, soft_wrap=True)

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """What the region shows; never wider or higher than the terminal."""
        width = max(1, options.size.width - _CARET)
        lines = [*self._rows(width, options.size.height - 1), str(self._tally)]
        yield Text("\n".join(self._cropped(line, width) for line in lines), no_wrap=True, overflow="ignore", end="")

    def _rows(self, width: int, height: int) -> Iterator[str]:
        """A line for each running workload: its name, for how long, how far it is. The last counts those without one."""
        running = self._tally.running
        fit = len(running) if len(running) < height else max(0, height - 2)
        shown = running[:fit]
        names = [self._written(_name(one.turn)) for one in shown]
        ages = [durations.text(self._tally.age(one)) for one in shown]
        name_width = min(_widest(names), max(width // 3, width - _STATUS - 2 - _widest(ages) - 2))
        for one, name, age in zip(shown, names, ages, strict=True):
            yield f"{set_cell_size(name, name_width)}  {age:>{_widest(ages)}}  {_status(one)}"
        if len(running) > fit and height > 1:
            yield f"and {len(running) - fit} more"

    def _cropped(self, line: str, width: int) -> str:
        written = self._written(line)
        return set_cell_size(written, width).rstrip() if cell_len(written) > width else written

    def _written(self, text: str) -> str:
        """As the stream will write it, which is longer where its encoding lacks something."""
        return visible(text).encode(self._encoding, "backslashreplace").decode(self._encoding)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While the block runs Ctrl-C waits: what is drawn by halves cannot be taken away again."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for number, frame in caught:
            before(number, frame)


def _name(turn: Turn) -> str:
    return f"{turn.workload} in {turn.namespace}" if turn.namespace else turn.workload


def _status(running: Running) -> str:
    """What its latest line says, without its name."""
    turn = running.turn
    told = turn.text.removeprefix(_name(turn)).lstrip(": ")
    return f"baking: {told}" if turn.state == "baking" else told


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)
