"""Progress of a restart, in its three forms."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubectl_fsm import cli
from kubectl_fsm.errors import Refused
from kubectl_fsm.output import progress
from kubectl_fsm.output.live import Region
from kubectl_fsm.output.progress import Events, Lines, Terminal
from kubectl_fsm.output.tally import Tally
from kubectl_fsm.output.visible import visible_text
from kubectl_fsm.reports import Failed, Lineup, Note, Question, RestartItem, RestartReport, Turn, Warned
from tests.support.screen import Screen

NOW = "2026-11-21T08:30:00Z"
ORIGIN = "context prod, mesh fsm 1.5.1 (fsm-system)"
HOSTILE = "evil\x1b[31m\x1b]0;title\x07\n\u202e[bold]:smile:[/nope]"
REPORT = RestartReport([RestartItem("deploy/web", "shop", "fsm", 3, 3, ["+6379"], "done", "", 3, 3)], "context prod")


def turn(name, state, text="", counts=(0, 0, 0)):
    return Turn(f"deploy/{name}", "shop", state, f"deploy/{name} in shop{text}", *counts)


def begun(name):
    return turn(name, "begun", f" (3 pods): +6379 outbound-port ({ORIGIN})")


def rolling(name, updated):
    return turn(name, "rolling", f": {updated} of 3 pods new, 3 available", (updated, 3, 3))


def done(name):
    return turn(name, "done", ": 3/3 verified", (3, 3, 3))


def failed(name):
    return turn(name, "failed", ": pod web-1: CrashLoopBackOff")


WRITING = turn("web", "writing", ": restartedAt is written")
COURSE = [begun("web"), WRITING, rolling("web", 2), done("web")]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(monkeypatch):
    """A list for what is said; the time stands still."""
    monkeypatch.setattr(progress, "stamp", lambda: NOW)
    return []


class Tty(io.StringIO):
    """A terminal to write to, and what it shows."""

    encoding = "utf-8"
    width = 80

    def isatty(self):
        return True

    @property
    def screen(self):
        return Screen(self.width).feed(self.getvalue())

    @property
    def shown(self):
        return self.screen.lines


@pytest.fixture
def tty(monkeypatch):
    """A terminal of 80 columns; `resize` makes it another."""
    made = Tty()

    def resize(width, height=24):
        made.width = width
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("LINES", str(height))

    made.resize = resize
    resize(80)
    return made


@pytest.fixture
def region(tty, clock):
    """region(total, parallel): a region on that terminal."""
    opened = []

    def opens(total=1, parallel=1, pause=0.0, *, colour=False):
        opened.append(Region(Tally(Lineup(total, parallel, pause), clock), tty, colour=colour))
        return opened[-1]

    yield opens
    for one in opened:
        one.clear()


class TestTally:
    def test_all_that_can_be(self, clock):
        tally = Tally(Lineup(100, 8, 0.0), clock)
        for number in range(20):
            tally.take(begun(number))
        clock.now += 20
        for number in range(12):
            tally.take(done(number))
        assert str(tally) == "12 of 100 done, 8 running, 80 to go, about 4m left"
        tally.take(turn(12, "left", ": it has been deleted"))
        tally.take(turn(13, "current", ": current"))
        tally.take(failed(14))
        assert str(tally) == "13 of 100 done, 1 failed, 1 left alone, 5 running, 80 not begun"

    def test_nothing_is_guessed_before_the_first_has_ended_or_after_the_last(self, clock):
        tally = Tally(Lineup(2, 1, 0.0), clock)
        assert (str(tally), tally.left) == ("0 of 2 done, 2 to go", None)
        tally.take(begun("a"))
        clock.now += 30
        assert (str(tally), tally.left) == ("0 of 2 done, 1 running, 1 to go", None)
        tally.take(done("a"))
        assert str(tally) == "1 of 2 done, 1 to go, about 30s left"
        tally.take(begun("b"))
        tally.take(done("b"))
        assert str(tally) == "2 of 2 done"

    @pytest.mark.parametrize(
        ("parallel", "pause", "total", "left"),
        [(1, 0, 4, 30), (1, 5, 4, 45), (2, 0, 5, 20), (3, 60, 5, 140), (100, 0, 5, 10), (1, 0, 1, 0)],
    )
    def test_the_time_left_is_that_of_turns_side_by_side_with_pauses(self, clock, parallel, pause, total, left):
        tally = Tally(Lineup(total, parallel, float(pause)), clock)
        tally.take(begun("a"))
        clock.now += 10
        tally.take(done("a"))
        assert tally.left == pytest.approx(left)

    def test_it_is_never_negative_and_goes_by_how_long_those_take_that_run(self, clock):
        tally = Tally(Lineup(2, 2, 0.0), clock)
        tally.take(begun("a"))
        tally.take(begun("b"))
        clock.now += 10
        tally.take(done("a"))
        assert tally.left == 0
        clock.now += 1000
        assert (tally.left, str(tally)) == (0, "1 of 2 done, 1 running")
        tally = Tally(Lineup(3, 1, 0.0), clock)
        tally.take(begun("a"))
        clock.now += 10
        tally.take(done("a"))
        tally.take(begun("b"))
        clock.now += 1000
        assert tally.left == pytest.approx(10)
        tally = Tally(Lineup(3, 1, 0.0), clock)
        for name in "ab":
            tally.take(begun(name))
            clock.now += 10
            tally.take(done(name))
        tally.take(begun("c"))
        clock.now += 4
        assert tally.left == pytest.approx(6)

    def test_a_canary_that_bakes_says_nothing_about_the_others(self, clock):
        tally = Tally(Lineup(11, 1, 0.0), clock)
        tally.take(begun("a"))
        clock.now += 10
        tally.take(turn("a", "baking", ": healthy, 10s of 10m"))
        clock.now += 300
        tally.take(turn("a", "baking", ": healthy, 5m of 10m"))
        clock.now += 300
        tally.take(done("a"))
        assert tally.left == pytest.approx(100)
        assert str(tally).endswith("about 2m left")

    @pytest.mark.parametrize(("seconds", "said"), [(1, "10s"), (41, "50s"), (60, "1m"), (61, "2m"), (4000, "1h7m")])
    def test_it_is_rounded_up(self, clock, seconds, said):
        tally = Tally(Lineup(2, 1, 0.0), clock)
        tally.take(begun("a"))
        clock.now += seconds
        tally.take(done("a"))
        assert str(tally) == f"1 of 2 done, 1 to go, about {said} left"


class TestLines:
    def test_a_log(self, lines):
        narrator = Lines(lines.append)
        for event in (Note("a note"), Lineup(100, 2, 0.0), *COURSE, begun("api"), Warned("odd"), failed("api")):
            narrator.tell(event)
        narrator.clear()
        assert lines == [
            "a note",
            f"{NOW} [1/100] deploy/web in shop (3 pods): +6379 outbound-port ({ORIGIN})",
            f"{NOW} deploy/web in shop: 2 of 3 pods new, 3 available",
            f"{NOW} deploy/web in shop: 3/3 verified",
            f"{NOW} [2/100] deploy/api in shop (3 pods): +6379 outbound-port ({ORIGIN})",
            "warning: odd",
            f"{NOW} failed: deploy/api in shop: pod web-1: CrashLoopBackOff",
        ]

    def test_writing_is_told_on_demand(self, lines):
        for every_state, count in ((False, 0), (True, 1)):
            lines.clear()
            Lines(lines.append, every_state=every_state).tell(WRITING)
            assert lines == [f"{NOW} deploy/web in shop: restartedAt is written"][:count]

    @pytest.mark.parametrize(
        ("event", "said"),
        [
            (turn("web", "left", ": it is paused"), "left: deploy/web in shop: it is paused"),
            (turn("web", "started", ": started"), "deploy/web in shop: started"),
            (turn("web", "baking", ": healthy"), "deploy/web in shop: healthy"),
        ],
    )
    def test_what_a_turn_has_come_to(self, event, said):
        assert progress.said(event) == said

    def test_a_turn_is_one_safe_line(self, lines):
        Lines(lines.append).tell(turn("web", "failed", f": {HOSTILE}"))
        assert lines[0].isprintable()
        assert "\\n\\u202e[bold]:smile:[/nope]" in lines[0]

    def test_the_time_is_utc_whatever_the_time_zone(self, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        monkeypatch.setattr("time.time", lambda: 0)
        gmtime = time.gmtime
        monkeypatch.setattr("time.gmtime", lambda *_: gmtime(1795249800))
        try:
            assert progress.stamp() == "2026-11-21T08:30:00Z"
        finally:
            monkeypatch.undo()
            time.tzset()


class TestEvents:
    def told(self, *events):
        said, stdout = [], io.StringIO()
        narrator = Events(said.append, stdout)
        for event in events:
            narrator.tell(event)
        narrator.clear()
        return [json.loads(line) for line in stdout.getvalue().splitlines()], said

    def test_a_line_for_each_turn_and_nothing_else(self, lines):
        events, said = self.told(Note("a note"), Lineup(1, 1, 0.0), *COURSE, Warned("odd"))
        assert said == ["a note", "warning: odd"]
        assert [event["state"] for event in events] == ["begun", "writing", "rolling", "done"]
        assert events[2] == {
            "apiVersion": "kubectl-fsm/v1",
            "kind": "RestartEvent",
            "time": NOW,
            "workload": "deploy/web",
            "namespace": "shop",
            "state": "rolling",
            "message": "deploy/web in shop: 2 of 3 pods new, 3 available",
            "updated": 2,
            "available": 3,
            "wanted": 3,
        }
        assert [event["wanted"] for event in events] == [None, None, 3, 3]
        assert {event["updated"] for event in events} == {None, 2, 3}

    def test_zero_of_some_is_a_count(self, lines):
        ((event,), _) = self.told(rolling("web", 0))
        assert (event["updated"], event["wanted"]) == (0, 3)

    def test_each_is_flushed(self):
        class Flushed(io.StringIO):
            seen = 0

            def flush(self):
                self.seen = len(self.getvalue().splitlines())

        stdout = Flushed()
        narrator = Events(print, stdout)
        for number, event in enumerate(COURSE, 1):
            narrator.tell(event)
            assert stdout.seen == number

    def test_text_stays_on_its_line_and_is_as_it_was(self):
        ((event,), _) = self.told(turn("web", "failed", f": {HOSTILE}"))
        assert event["message"].endswith(HOSTILE)


class TestRegion:
    def test_a_line_for_each_that_runs_and_totals(self, tty, region, clock):
        shown = region(total=4, parallel=2)
        shown.tell(begun("web"))
        assert tty.shown == [
            f"deploy/web in shop  0s  (3 pods): +6379 outbound-port ({ORIGIN}"[:77],
            "0 of 4 done, 1 running, 3 to go",
        ]
        clock.now += 65
        shown.tell(begun("storefront"))
        shown.tell(rolling("web", 1))
        shown.tell(WRITING._replace(workload="deploy/storefront", text="deploy/storefront in shop: it is written"))
        assert tty.shown == [
            "deploy/web in shop         1m5s  1 of 3 pods new, 3 available",
            "deploy/storefront in shop    0s  it is written",
            "0 of 4 done, 2 running, 2 to go",
        ]
        shown.tell(turn("web", "baking", ": healthy, 10s of 10m"))
        assert tty.shown[0] == "deploy/web in shop         1m5s  baking: healthy, 10s of 10m"

    def test_what_ends_and_what_is_said_stays_above(self, tty, region, clock):
        shown = region(total=4, parallel=3)
        for name in ("web", "api", "db"):
            shown.tell(begun(name))
        clock.now += 30
        shown.tell(done("web"))
        shown.tell(Warned("odd"))
        shown.tell(failed("api"))
        shown.tell(rolling("db", 2))
        shown.tell(Note("\ninterrupted: it may end"))
        above = [
            "deploy/web in shop: 3/3 verified",
            "warning: odd",
            "failed: deploy/api in shop: pod web-1: CrashLoopBackOff",
            "interrupted: it may end",
        ]
        assert tty.shown == [
            *above,
            "deploy/db in shop  30s  2 of 3 pods new, 3 available",
            "1 of 4 done, 1 failed, 1 running, 1 not begun",
        ]
        shown.clear()
        assert tty.shown == above
        shown.clear()
        assert tty.shown == above
        tty.write("WORKLOAD\n")
        assert tty.shown == [*above, "WORKLOAD"]
        shown.tell(rolling("db", 3))
        assert tty.shown[-2] == "deploy/db in shop  30s  3 of 3 pods new, 3 available"

    def test_time_goes_on_without_events(self, tty, region, clock):
        shown = region()
        shown.tell(rolling("web", 1))
        clock.now += 7
        end = time.monotonic() + 10
        while "  7s  " not in tty.shown[0] and time.monotonic() < end:
            time.sleep(0.05)
        assert tty.shown[0] == "deploy/web in shop  7s  1 of 3 pods new, 3 available"

    @pytest.mark.parametrize("width", [1, 5, 12, 20, 44, 79, 300])
    @pytest.mark.parametrize("name", ["web", "w" * 60, "网" * 31])
    def test_no_line_is_wrapped(self, tty, region, width, name):
        tty.resize(width)
        shown = region(total=100, parallel=9)
        shown.tell(begun(name))
        shown.tell(rolling("b", 2))
        assert len(tty.shown) == 3
        shown.tell(begun("c"))
        assert len(tty.shown) == 4
        shown.clear()
        assert tty.shown == []

    def test_a_long_name_leaves_room_for_the_counts(self, tty, region):
        tty.resize(60)
        shown = region()
        shown.tell(rolling("w" * 100, 2))
        assert tty.shown[0] == "deploy/wwwwwwwwwwwwww  0s  2 of 3 pods new, 3 available"

    @pytest.mark.parametrize(("height", "rows"), [(24, 20), (10, 9), (4, 3), (3, 2), (2, 1), (1, 1)])
    def test_a_low_terminal_shows_some_and_counts_the_rest(self, tty, region, height, rows):
        tty.resize(80, height)
        shown = region(total=20, parallel=20)
        for number in range(20):
            shown.tell(begun(number))
            assert len(tty.shown) <= max(height, 1)
        assert tty.shown[-1] == "0 of 20 done, 20 running"
        named = sum(line.startswith("deploy/") for line in tty.shown)
        if named < 20 and height > 2:
            assert tty.shown[-2] == f"and {20 - named} more"
            assert named == height - 3
        shown.clear()
        assert tty.shown == []

    def test_a_long_line_that_stays_is_whole(self, tty, region):
        shown = region()
        shown.tell(begun("web"))
        shown.tell(Note("x" * 200))
        shown.clear()
        assert tty.shown == ["x" * 80, "x" * 80, "x" * 40]

    @pytest.mark.parametrize("colour", [True, False])
    def test_what_comes_from_a_cluster_is_text(self, tty, region, colour):
        """`Screen` fails on any control that the region does not use itself."""
        tty.resize(200)
        shown = region(colour=colour)
        shown.tell(Turn(f"deploy/{HOSTILE}", HOSTILE, "rolling", f"deploy/{HOSTILE} in {HOSTILE}: {HOSTILE}", 1, 1, 3))
        told = visible_text(HOSTILE).replace("\n", "\\n")
        assert tty.shown[0].count(told) == 3
        assert len(tty.shown) == 2
        shown.tell(Warned(f"[red]{HOSTILE}"))
        shown.tell(turn("web", "done", f": {HOSTILE}"))
        assert tty.shown[:3] == [
            *f"warning: [red]{visible_text(HOSTILE)}".split("\n"),
            f"deploy/web in shop: {told}",
        ]

    def test_colours_are_asked_for(self, tty, region):
        for colour, seen in ((False, set()), (True, {"32", "31"})):
            shown = region(colour=colour)
            shown.tell(done("web"))
            shown.tell(failed("api"))
            shown.clear()
            assert tty.screen.colours == seen

    def test_the_cursor_is_not_hidden(self, tty, region):
        """A program that is killed cannot bring it back."""
        region().tell(begun("web"))
        assert tty.getvalue().rindex("\x1b[?25h") > tty.getvalue().rindex("\x1b[?25l")

    def test_what_an_encoding_lacks_is_as_wide_as_it_is_written(self, region, tty):
        tty.encoding = "ascii"
        tty.resize(40)
        shown = region()
        shown.tell(rolling("ä" * 30, 2))
        assert tty.shown[0].startswith("deploy/\\xe4")
        assert len(tty.shown[0]) <= 40


class TestTerminal:
    def test_there_is_a_region_only_while_there_are_turns(self, tty):
        said = []
        narrator = Terminal(said.append, tty, colour=False)
        narrator.tell(Note("a note"))
        narrator.clear()
        assert (said, tty.getvalue()) == (["a note"], "")
        narrator.tell(Lineup(2, 1, 0.0))
        narrator.tell(begun("web"))
        assert tty.shown[-1] == "0 of 2 done, 1 running, 1 to go"
        narrator.tell(Lineup(1, 1, 0.0))
        narrator.tell(begun("api"))
        assert tty.shown[-1] == "0 of 1 done, 1 running"
        narrator.clear()
        assert tty.shown == []


class Scripted:
    """A command that yields these events; an exception among them is raised, and answers are noted."""

    def __init__(self, *events):
        self.events = events
        self.answers = []

    def run(self, connect):
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            if event == "wait":
                for _ in range(600):  # a signal that comes just before a sleep waits for its end
                    time.sleep(0.1)
            else:
                self.answers.append((yield event))
        return REPORT


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `restart` in this process with a script in its place: (exit code, stdout, stderr)."""
    monkeypatch.setattr(progress, "stamp", lambda: NOW)

    def run(*events, words=()):
        monkeypatch.setattr("kubectl_fsm.commands.restart.parse", lambda _: Scripted(*events))
        code = cli.main(["restart", "x", *words])
        return code, *capsys.readouterr()

    return run


class TestProgram:
    def test_a_log_is_the_default(self, run):
        code, out, err = run(Lineup(1, 1, 0.0), *COURSE)
        assert code == 0
        assert out.startswith("WORKLOAD")
        assert err.startswith(f"{NOW} [1/1] deploy/web in shop (3 pods): +6379")
        assert err.count("\n") == 3
        assert run(Lineup(1, 1, 0.0), *COURSE, words=["-v=1"])[2].count("\n") == 4

    def test_events_and_then_the_report_each_on_its_line(self, run):
        code, out, err = run(Lineup(1, 1, 0.0), Note("a note"), *COURSE, words=["-o", "json"])
        assert (code, err) == (0, "a note\n")
        *events, report = map(json.loads, out.splitlines())
        assert [event["kind"] for event in events] == ["RestartEvent"] * 4
        assert (report["kind"], report["items"][0]["result"]) == ("Restart", "done")
        assert len(run(words=["-o", "json"])[1].splitlines()) == 1

    @pytest.mark.parametrize("form", ["yaml", "name"])
    def test_other_formats_have_their_document_alone(self, run, form):
        _, out, err = run(Lineup(1, 1, 0.0), *COURSE, words=["-o", form])
        assert "RestartEvent" not in out
        assert f"{NOW} [1/1]" in err

    def test_editing_verbs_have_the_edited_object_alone(self, monkeypatch, capsys):
        monkeypatch.setattr("kubectl_fsm.commands.exclude_port.parse", lambda _: Scripted(Lineup(1, 1, 0.0), *COURSE))
        assert cli.main(["exclude-port", "6379", "--restart", "-o", "json"]) == 0
        out, err = capsys.readouterr()
        assert "RestartEvent" not in out
        assert "Z [1/1] deploy/web in shop (3 pods): " in err

    def test_what_failed_is_said_after_the_report(self, run):
        error = Failed(Refused("it did not work", "mend it"))
        code, out, err = run(Lineup(1, 1, 0.0), begun("web"), failed("web"), error, words=["-o", "json"])
        assert (code, err) == (1, "error: it did not work\nmend it\n")
        assert json.loads(out.splitlines()[-1])["kind"] == "Restart"

    def test_verbs_without_turns_do_not_load_what_draws(self):
        code = (
            "import sys; from kubectl_fsm import cli; cli.main(['rules', '-A', '-f', 'examples/shop']);"
            "sys.exit('rich' in sys.modules)"
        )
        root = Path(__file__).parents[2]
        assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False).returncode == 0


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from kubectl_fsm import cli
from kubectl_fsm.commands import restart
from kubectl_fsm.reports import Turn
from tests.unit import test_progress as these
restart.parse = lambda _: these.Scripted(*getattr(these, {course!r}))
sys.exit(cli.main(["restart", "x", *{words!r}]))
"""
GOES_WELL = [Lineup(2, 1, 0.0), *COURSE, Question("really?"), begun("api"), Warned("odd"), done("api"), Note("over")]
STOPS = [Lineup(2, 1, 0.0), *COURSE, begun("api"), "wait"]
BREAKS = [Lineup(2, 1, 0.0), *COURSE, begun("api"), RuntimeError("boom")]
ENDED = ["deploy/web in shop: 3/3 verified", "deploy/api in shop: 3/3 verified"]


class OnTerminal:
    """The program with a terminal of its own, for all three streams."""

    def __init__(self, course, words=(), **env):
        code = SCRIPT.format(root=str(Path(__file__).parents[2]), course=course, words=list(words))
        self.pid, self.fd = pty.fork()
        if not self.pid:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits it where it is ignored
            kept = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
            os.execve(sys.executable, [sys.executable, "-c", code], {**kept, **env})  # noqa: S606 - no shell is meant
        self.text = ""

    def until(self, text):
        """Read until this has been written."""
        while text not in self.text:
            self.text += os.read(self.fd, 4096).decode()

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Read all that is left: its exit code and the screen."""
        try:
            while more := os.read(self.fd, 4096):
                self.text += more.decode()
        except OSError:  # the other end is closed
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), Screen(80).feed(self.text)


class TestRealTerminal:
    def test_a_question_has_the_terminal_to_itself(self):
        terminal = OnTerminal("GOES_WELL")
        terminal.until("[y/N] ")
        assert Screen(80).feed(terminal.text).lines == [ENDED[0], "really?", "Go on? [y/N]"]
        assert "0 of 2 done, 1 running, 1 to go" in terminal.text
        seen = len(terminal.text)
        time.sleep(1.2)
        terminal.type("y\n")
        code, screen = terminal.end()
        assert terminal.text[seen:].startswith("y\r\n"), "nothing was drawn meanwhile"
        assert code == 0
        assert screen.lines[:6] == [ENDED[0], "really?", "Go on? [y/N] y", "warning: odd", ENDED[1], "over"]
        assert screen.lines[6].startswith("WORKLOAD")
        assert len(screen.lines) == 8
        assert "32" in screen.colours

    @pytest.mark.parametrize(("words", "env"), [((), {"NO_COLOR": "1"}), (("--no-color",), {})])
    def test_no_colour_where_somebody_objects(self, words, env):
        terminal = OnTerminal("BREAKS", words, **env)
        _, screen = terminal.end()
        assert "1 of 2 done, 1 running" in terminal.text
        assert screen.colours == set()

    def test_an_exception_leaves_nothing_of_the_region(self):
        code, screen = OnTerminal("BREAKS").end()
        assert code == 1
        assert screen.lines == [
            ENDED[0],
            "error: this should not happen: RuntimeError: boom",
            "it is a bug; -v=8 shows where",
        ]

    def test_neither_does_ctrl_c(self):
        terminal = OnTerminal("STOPS")
        terminal.until("1 of 2 done, 1 running")
        terminal.type("\x03")
        code, screen = terminal.end()
        assert code == 130
        assert screen.lines == [ENDED[0], "", "interrupted"]

    @pytest.mark.parametrize(
        ("words", "env"), [((), {"TERM": "dumb"}), ((), {"TERM": ""}), (("-v=8",), {"NO_COLOR": "1"})]
    )
    def test_lines_where_a_region_cannot_be_or_would_be_disturbed(self, words, env):
        terminal = OnTerminal("BREAKS", words, **env)
        terminal.end()
        assert re.search(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[1/2\] deploy/web in shop \(3 pods\): ", terminal.text)
        assert "\x1b" not in terminal.text

    def test_events_for_programs_also_there(self):
        terminal = OnTerminal("BREAKS", ["-o", "json"])
        terminal.end()
        assert terminal.text.count("RestartEvent") == 5
        assert "1 of 2 done" not in terminal.text
