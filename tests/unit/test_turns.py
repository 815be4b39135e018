"""Turns: how many at a time, in which order, what ends them, and who hears of Ctrl-C."""

import itertools
import os
import signal
import threading
import time
from contextlib import closing
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from kubectl_fsm.operations import turns
from kubectl_fsm.operations.turns import Outcome, Pace, Turns
from kubectl_fsm.reports import Note, Question, Turn


class Named(NamedTuple):
    workload: SimpleNamespace

    def __str__(self):
        return f"{self.workload.label} in shop"


class Job:
    """Does its steps in its thread: calls, events to yield; then it ends with a result, or raises it."""

    def __init__(self, name, *steps, result="done"):
        self.name, self.steps, self.result, self.stage = name, steps, result, f"stage of {name}"
        self.subject = Named(SimpleNamespace(label=name, namespace="shop"))
        self.begun, self.ended, self.answers = threading.Event(), threading.Event(), []

    def run(self):
        self.begun.set()
        for step in self.steps:
            if callable(step):
                step()
            else:
                self.answers.append((yield step))
        self.ended.set()
        if isinstance(self.result, Exception):
            raise self.result
        return Outcome(self.result)


def turn(name="a", state="rolling"):
    return Turn(name, "shop", state, "")


class Drive:
    """Takes the turns of jobs to the end; `hears` is called with each event, whose answer is its number."""

    def __init__(self, *jobs, pace=None, hears=lambda _: None, lots=None):
        self.events, self.kept = [], []
        self.turns = Turns(pace or Pace(), lambda number, event: self.kept.append((number, event.state)))
        with self.turns.listening():
            for lot in lots or [jobs]:
                with closing(self.turns.take(dict(enumerate(lot)))) as work:
                    self._listen(work, hears)

    def _listen(self, work, hears):
        answer = None
        while True:
            try:
                self.events.append(work.send(answer))
            except StopIteration as end:
                self.outcomes = end.value
                return
            hears(self.events[-1])
            answer = len(self.events)

    @property
    def results(self):
        return {number: outcome.result for number, outcome in self.outcomes.items()}

    @property
    def told(self):
        return [(event.workload, event.state) for event in self.events if isinstance(event, Turn)]

    @property
    def notes(self):
        return [event.text for event in self.events if isinstance(event, Note)]


def on(name, state, call):
    """A listener that makes a call when it hears of a workload in a state."""
    return lambda event: call() if isinstance(event, Turn) and (event.workload, event.state) == (name, state) else None


def ctrl_c():
    """A signal to the process, as a terminal sends it."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Python's own, which who runs the tests in the background does not have."""
    mine, before = signal.default_int_handler, signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is mine, "it is as it was"


# side by side


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_so_many_run_side_by_side_and_no_more(parallel):
    meeting, lock, running, most = threading.Barrier(parallel), threading.Lock(), [], []

    def work():
        with lock:
            running.append(1)
            most.append(len(running))
        meeting.wait(10)
        with lock:
            running.pop()

    drive = Drive(*(Job(str(number), work) for number in range(6)), pace=Pace(parallel))
    assert max(most) == parallel
    assert drive.results == dict.fromkeys(range(6), "done")


def test_they_begin_in_their_order_each_when_there_is_room():
    begun = []
    jobs = [Job(name, lambda name=name: begun.append(name), turn(name)) for name in "cab"]
    drive = Drive(*jobs)
    assert begun == list("cab")
    assert drive.told == [(name, state) for name in "cab" for state in ("rolling", "done")]


def test_each_event_is_kept_then_told_then_answered_before_the_job_goes_on():
    order = []
    job = Job("a", turn(state="writing"), lambda: order.append("went on"), turn())
    turns_ = Turns(Pace(), lambda number, event: order.append((number, event.state)))
    work = turns_.take({7: job})
    next(work)
    assert order == [(7, "writing")]
    work.send("yes")
    assert (order, job.answers) == ([(7, "writing"), "went on", (7, "rolling")], ["yes"])
    assert work.send("again").state == "done"
    with pytest.raises(StopIteration) as end:
        next(work)
    assert (end.value.value, job.answers, order[-1]) == ({7: Outcome("done")}, ["yes", "again"], (7, "done"))


def test_how_it_ended_is_said_with_its_counts():
    job = Job("a")
    job.run = lambda: (yield from ()) or Outcome("done", "", 2, 3)
    (end,) = Drive(job).events
    assert end == Turn("a", "shop", "done", "a in shop: 2/3 verified", 2, 2, 3)
    assert end.ends
    assert [Outcome("left", "why").text, Outcome("current").text] == ["why", "current"]


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self, monkeypatch):
        self.seconds = itertools.count(1)
        monkeypatch.setattr(turns, "time", SimpleNamespace(monotonic=lambda: next(self.seconds)))
        monkeypatch.setattr(turns, "_BLINK", 0.0)


@pytest.mark.parametrize("lots", [[("a", "b", "c")], [("a",), ("b", "c")]], ids=["one lot", "two"])
def test_after_each_end_there_is_a_pause(monkeypatch, lots):
    clock, moments = Clock(monkeypatch), []
    look = lambda: moments.append(next(clock.seconds))  # noqa: E731
    drive = Drive(
        lots=[[Job(name, look) for name in lot] for lot in lots],
        pace=Pace(pause=50),
        hears=lambda event: look() if event.ends else None,
    )
    begins, ends = moments[::2], moments[1::2]
    assert [name for name, _ in drive.told] == list("abc")
    assert all(50 <= begin - end < 60 for end, begin in zip(ends, begins[1:], strict=False))


# what ends it


@pytest.mark.parametrize("result", ["failed", "interrupted"])
def test_after_a_failure_none_is_begun_and_what_runs_ends(result):
    failed = threading.Event()
    other, last = Job("b", lambda: failed.wait(10), turn("b")), Job("c")
    drive = Drive(
        Job("a", lambda: other.begun.wait(10), result=result),
        other,
        last,
        pace=Pace(2),
        hears=on("a", result, failed.set),
    )
    assert drive.results == {0: result, 1: "done"}
    assert drive.told == [("a", result), ("b", "rolling"), ("b", "done")]
    assert (drive.turns.stopped, drive.turns.interrupted, last.begun.is_set()) == (True, False, False)


def test_after_a_failure_the_next_lot_is_not_begun_either():
    later = Job("b")
    drive = Drive(lots=[[Job("a", result="failed")], [later]])
    assert (drive.outcomes, later.begun.is_set()) == ({}, False)


@pytest.mark.parametrize("result", ["done", "left", "current", "started", "unchanged"])
def test_what_is_no_failure_stops_nothing(result):
    assert Drive(Job("a", result=result), Job("b")).results == {0: result, 1: "done"}


def test_what_a_job_raises_comes_out_and_none_is_begun():
    later = Job("b")
    with pytest.raises(ZeroDivisionError):
        Drive(Job("a", turn(), result=ZeroDivisionError()), later)
    assert not later.begun.is_set()


# Ctrl-C


AGAIN = "no other is begun; Ctrl-C again leaves at once"


def test_ctrl_c_lets_end_what_runs_and_begins_no_other():
    noted = threading.Event()
    job, last = Job("b", lambda: noted.wait(10), turn("b")), Job("c")

    def hears(event):
        if isinstance(event, Note):
            noted.set()
        elif event.state == "rolling" and event.workload == "a":
            ctrl_c()

    drive = Drive(Job("a", lambda: job.begun.wait(10), turn("a")), job, last, pace=Pace(2), hears=hears)
    assert drive.results == {0: "done", 1: "done"}
    (note,) = drive.notes
    assert note.startswith("\ninterrupted: ")
    assert note.endswith(f"b in shop may end, {AGAIN}")
    assert (drive.turns.stopped, drive.turns.interrupted, last.begun.is_set()) == (True, True, False)


def test_ctrl_c_between_two_turns_begins_no_other():
    drive = Drive(Job("a"), Job("b"), hears=on("a", "done", ctrl_c))
    assert (drive.results, drive.notes) == ({0: "done"}, [f"\ninterrupted: {AGAIN}"])


def test_ctrl_c_before_the_first_turn_begins_none():
    found = Turns(Pace(), lambda *_: None)
    with found.listening():
        ctrl_c()
        assert [event.text for event in found.take({0: Job("a")})] == [f"\ninterrupted: {AGAIN}"]


@pytest.mark.parametrize("pause", [1000, 0], ids=["in a pause", "while one runs"])
def test_ctrl_c_is_heard_while_nothing_happens(pause):
    """In a pause nothing runs, so that it is over at once."""
    interrupted = threading.Event()
    timer = threading.Timer(0.05, ctrl_c)
    first = Job("a") if pause else Job("a", timer.start, lambda: interrupted.wait(10))

    def hears(event):
        if isinstance(event, Note):
            interrupted.set()
        elif pause:
            timer.start()

    begun = time.monotonic()
    drive = Drive(first, Job("b"), pace=Pace(pause=pause), hears=hears)
    assert (drive.results, len(drive.notes), interrupted.is_set()) == ({0: "done"}, 1, True)
    assert time.monotonic() - begun < 5


def test_a_signal_that_comes_just_before_a_wait_is_heard_soon(monkeypatch):
    """It interrupts no call of the system then: here one that another thread gets."""
    heard = threading.Event()

    def tell():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        assert heard.wait(10)

    drive = Drive(Job("a", tell), hears=lambda event: heard.set() if isinstance(event, Note) else None)
    assert (drive.results, len(drive.notes)) == ({0: "done"}, 1)


def test_sigterm_leaves_at_once():
    """As Ctrl-C twice; afterwards it ends the program again."""
    never = threading.Event()
    job, last = Job("a", turn(), lambda: never.wait(10)), Job("b")
    drive = Drive(job, last, hears=lambda event: isinstance(event, Turn) and signal.raise_signal(signal.SIGTERM))
    assert (drive.outcomes, last.begun.is_set()) == ({0: Outcome("interrupted", "stage of a")}, False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    never.set()


def test_ctrl_c_twice_leaves_at_once_and_nobody_writes_any_more():
    noted, never, written = threading.Event(), threading.Event(), []
    over = Job("a", lambda: noted.wait(10))
    steps = [turn("b"), lambda: never.wait(10), turn("b", "writing"), lambda: written.append(1)]
    job, last = Job("b", *steps), Job("c")

    def hears(event):
        if isinstance(event, Note):
            noted.set()
            ctrl_c()
        elif event.workload == "b":
            ctrl_c()

    drive = Drive(over, job, last, pace=Pace(2), hears=hears)
    assert drive.outcomes[1] == Outcome("interrupted", "stage of b")
    assert (len(drive.notes), last.begun.is_set()) == (1, False)
    never.set()
    left = drive.turns._news.get(timeout=10)
    while left.event != turn("b", "writing"):
        left = drive.turns._news.get(timeout=10)
    assert (written, job.ended.is_set()) == ([], False)
    assert [state for number, state in drive.kept if number == 1] == ["rolling"]


def test_what_had_ended_before_stays_so():
    noted = threading.Event()

    def hears(event):
        if isinstance(event, Note) or event.workload == "b":
            ctrl_c()

    job = Job("b", turn("b"), lambda: noted.wait(10))
    assert Drive(Job("a"), job, hears=hears).results == {0: "done", 1: "interrupted"}
    noted.set()


def test_ctrl_c_at_a_question_ends_it():
    def hears(event):
        if isinstance(event, Question):
            signal.raise_signal(signal.SIGINT)

    job = Job("a", Question("?"))
    with pytest.raises(KeyboardInterrupt):
        Drive(job, hears=hears)
    assert job.answers == []


def test_ctrl_c_after_a_question_is_news_again():
    drive = Drive(Job("a", Question("?"), turn()), Job("b"), hears=on("a", "rolling", ctrl_c))
    assert (drive.results, len(drive.notes)) == ({0: "done"}, 1)


def test_ctrl_c_is_let_go_of_whatever_happens():
    """The fixture looks whether the handler is the one of before."""
    job = Job("a", turn(), turn())
    found = Turns(Pace(), lambda *_: None)

    def work():
        with found.listening():
            yield from found.take({0: job})

    for error in (GeneratorExit, OSError):
        before = signal.getsignal(signal.SIGINT)
        with closing(work()) as events:
            next(events)
            assert signal.getsignal(signal.SIGINT) is not before
            with pytest.raises(error):
                events.throw(error())
            assert signal.getsignal(signal.SIGINT) is before
    assert not job.ended.is_set()
    with pytest.raises(ZeroDivisionError):
        Drive(Job("b", result=ZeroDivisionError()))


@pytest.mark.parametrize("how", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "somebody else's"])
def test_whoever_minds_ctrl_c_already_goes_on_doing_so(how):
    before, seen = signal.signal(signal.SIGINT, how), []
    try:
        drive = Drive(Job("a", turn(), Question("?")), hears=lambda _: seen.append(signal.getsignal(signal.SIGINT)))
        assert seen == [how] * 3
        assert drive.results == {0: "done"}
    finally:
        assert signal.signal(signal.SIGINT, before) is how


def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch):
    monkeypatch.setattr(turns.signal, "getsignal", lambda _: None)
    monkeypatch.setattr(turns.signal, "signal", lambda *_: pytest.fail("it cannot be put back"))
    assert Drive(Job("a", Question("?"))).results == {0: "done"}


def test_another_thread_than_the_main_one_gives_turns_too():
    found = []
    thread = threading.Thread(target=lambda: found.append(Drive(Job("a", Question("?"))).results))
    thread.start()
    thread.join(10)
    assert found == [{0: "done"}]
