"""Turns: workloads are worked on side by side, so many at a time, and no other is begun after one that fails or Ctrl-C."""

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import Event, Note, Question, Turn

_BLINK = 0.2
"""Seconds of waiting at a time: a signal that comes just before a wait does not end it."""


class Outcome(NamedTuple):
    """How it went with one workload.

    `result` is as in `reports.RestartItem`, `detail` the reason; `verified` of `pods` new pods run the right rules.
    """

    result: str
    detail: str = ""
    verified: int = 0
    pods: int = 0

    @property
    def text(self) -> str:
        return f"{self.verified}/{self.pods} verified" if self.result == "done" else self.detail or self.result


class Job(Protocol):
    """What is done about a workload when its turn comes."""

    @property
    def subject(self) -> Subject:
        """Whose turn it is."""

    @property
    def stage(self) -> str:
        """Where it stands, in case that it is left in the middle. May be read from another thread."""

    def run(self) -> Generator[Event, bool, Outcome]:
        """Do it. What goes wrong is an outcome, and each write comes after an event: without an answer there is none."""


class Pace(NamedTuple):
    """How many workloads at a time, and for how many seconds after the end of each none is begun."""

    parallel: int = 1
    pause: float = 0.0


Keep = Callable[[int, Turn], None]
"""Told of each event of a job, by its number, before the job goes on."""


class Turns:
    """Gives jobs their turns. Each job runs in a thread; what it yields comes out here, and the answer goes back.

    Ctrl-C once: what runs is let end, nothing else is begun; twice: all is left as it stands. That holds inside of
    `listening`.
    """

    def __init__(self, pace: Pace, keep: Keep) -> None:
        self._pace = pace
        self._keep = keep
        self._news: SimpleQueue[_News | None] = SimpleQueue()
        self._not_before = -math.inf
        self.interrupted = False
        self.stopped = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the block runs, Ctrl-C is news, unless somebody else minds it already; SIGTERM is as Ctrl-C twice."""
        ends = (signal.SIGINT, signal.default_int_handler, self._interrupt), (signal.SIGTERM, signal.SIG_DFL, self._end)
        mine = threading.current_thread() is threading.main_thread()
        with ExitStack() as handlers:
            for number, usual, handler in ends if mine else ():
                if signal.getsignal(number) is usual:
                    handlers.enter_context(_on(number, handler))
            yield

    def take(self, jobs: Mapping[int, Job]) -> Generator[Event, bool, Mapping[int, Outcome]]:
        """The outcomes, by number, of the jobs that were begun: in their order, and none once it has `stopped`."""
        waiting, running, outcomes = deque(jobs), dict[int, _Worker](), dict[int, Outcome]()
        while running or (waiting and not self.stopped):
            room = bool(waiting) and not self.stopped and len(running) < self._pace.parallel
            delay = max(0.0, self._not_before - time.monotonic())
            try:
                news = self._news.get(timeout=min(delay, _BLINK) if room else _BLINK)
            except Empty:
                if room and not delay:
                    number = waiting.popleft()
                    running[number] = _Worker(number, jobs[number], self._news)
                    running[number].start()
                continue
            if news is None:
                again, self.interrupted, self.stopped = self.interrupted, True, True
                if again:
                    return outcomes | {number: Outcome("interrupted", jobs[number].stage) for number in running}
                yield Note(_interruption(jobs[number].subject for number in running))
            elif news.event is not None:
                yield from self._pass_on(running[news.number], news.event)
            else:
                outcome = outcomes[news.number] = running.pop(news.number).outcome
                self.stopped = self.stopped or outcome.result in ("failed", "interrupted")
                self._not_before = time.monotonic() + self._pace.pause
                yield self._ended(news.number, jobs[news.number].subject, outcome)
        return outcomes

    def _interrupt(self, *_: object) -> None:
        self._news.put(None)

    def _end(self, *_: object) -> None:
        self._news.put(None)
        self._news.put(None)

    def _pass_on(self, worker: "_Worker", event: Event) -> Generator[Event, bool, None]:
        if isinstance(event, Turn):
            self._keep(worker.number, event)
        asks = isinstance(event, Question) and signal.getsignal(signal.SIGINT) == self._interrupt
        with _on(signal.SIGINT, signal.default_int_handler) if asks else nullcontext():
            answer = yield event
        worker.answers.put(answer)

    def _ended(self, number: int, subject: Subject, outcome: Outcome) -> Turn:
        workload = subject.workload
        counts = outcome.verified, outcome.verified, outcome.pods
        turn = Turn(workload.label, workload.namespace, outcome.result, f"{subject}: {outcome.text}", *counts)
        self._keep(number, turn)
        return turn


class _News(NamedTuple):
    """An event of a job, or (None) that it has ended."""

    number: int
    event: Event | None


class _Worker(threading.Thread):
    """Runs a job; it waits at each event for the answer, so that nothing goes on once nobody listens."""

    def __init__(self, number: int, job: Job, news: "SimpleQueue[_News | None]") -> None:
        super().__init__(daemon=True)
        self.number = number
        self.job = job
        self.answers: SimpleQueue[bool] = SimpleQueue()
        self._news = news
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        work = self.job.run()
        try:
            event = next(work)
            while True:
                self._news.put(_News(self.number, event))
                event = work.send(self.answers.get())
        except StopIteration as end:
            self._outcome = end.value
        except BaseException as error:  # noqa: BLE001 - `outcome` raises it
            self._error = error
        self._news.put(_News(self.number, None))

    @property
    def outcome(self) -> Outcome:
        """How it went. Raises what the job has raised, which is no outcome."""
        if self._error or self._outcome is None:
            raise self._error or AssertionError("the job has not ended")
        return self._outcome


@contextmanager
def _on(number: signal.Signals, handler: Callable[..., object]) -> Iterator[None]:
    """A signal calls `handler` while the block runs; Ctrl-C's default one ends the program, as while somebody is asked."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _interruption(running: Iterable[Subject]) -> str:
    names = ", ".join(map(str, running))
    return f"\ninterrupted: {f'{names} may end, ' if names else ''}no other is begun; Ctrl-C again leaves at once"
