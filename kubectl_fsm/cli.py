"""From argv to an exit code: find the verb, build what it needs, run it, print what it says."""
# ruff: noqa: E402

import gc

gc.set_threshold(100_000)  # before the imports: their objects stay, and looking for garbage among them takes 5 ms

import io
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

from docopt import DocoptExit, docopt

from kubectl_fsm import commands
from kubectl_fsm.arguments import Arguments, nearest, order, split_verb
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import Declined, FsmError, Interrupted, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.operations import rights
from kubectl_fsm.output.visible import visible_text
from kubectl_fsm.reports import (
    CheckReport,
    EditReport,
    EditsReport,
    Event,
    ExclusionsReport,
    Failed,
    Question,
    Report,
    RulesReport,
    StatusReport,
    TraceReport,
)
from kubectl_fsm.usage import options, read

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from kubectl_fsm.output.progress import Narrator

_TRACEBACK_LEVEL = 8
_OUTDATED = 3
_INTERRUPTED = 130
_PRINTING_ONLY = ("", "dumb", "unknown")
"""Values of TERM that promise no more than paper does."""
_COMPLETE = "__complete"
"""The first word where a shell asks, through kubectl, how a command line may go on."""
_PATIENCE = 2
"""Seconds for which a shell waits for the API server."""
_GOES_ON = "what was begun goes on by itself"


def usage() -> str:
    """The usage text above those of the verbs."""
    verbs = "\n".join(f"  {name:<18} {text}" for name, text in commands.VERBS.items())
    return f"""kubectl fsm steers which traffic bypasses the sidecar of FSM, osm-edge and OSM, and shows what pods make of it.

Usage:
  kubectl fsm [options] [VERB] [ARGUMENT...]

Verbs:
{verbs}

kubectl fsm VERB --help shows more.
{general()}"""


class Streams(NamedTuple):
    """Where the program reads and writes."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    @staticmethod
    def standard() -> "Streams":
        """The process's own; what their encoding lacks is written as an escape. One that is closed is an empty one."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return Streams(sys.stdin or io.StringIO(), sys.stdout or _nowhere(), sys.stderr or _nowhere())

    def data(self, text: str) -> None:
        """Write what a printer made; it is safe already. Raises `FsmError` where it cannot be written."""
        with self.writing():
            self.stdout.write(text)

    def raw(self, text: str) -> None:
        """Write text from a cluster or a file: as it is through a pipe, made safe on a terminal."""
        self.data(visible_text(text) if self.stdout.isatty() else text)

    def discard(self) -> None:
        """Write no more data: nobody reads them, or there is no room for them."""
        _close(self.stdout)

    @contextmanager
    def writing(self, hint: str = "") -> Iterator[None]:
        """Raises `FsmError` where data cannot be written, as on a full disk; that nobody reads them stays what it is."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.discard()
            raise FsmError(f"cannot write the output: {error.strerror}", hint) from error

    def say(self, text: str) -> None:
        """Write a line for the user beside the data; where there is no room for it, nobody can be told."""
        try:
            self.stderr.write(visible_text(text) + "\n")
        except BrokenPipeError:
            raise
        except OSError:
            _close(self.stderr)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - the process's own, until it ends


def _close(stream: TextIO) -> None:
    """Let all that is still written to a stream go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """The program. Returns the exit code; nothing is raised."""
    streams = Streams.standard()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _complete(words[1:], streams) if words[:1] == [_COMPLETE] else _run(words, streams)
        with streams.writing():
            streams.stdout.flush()
    except FsmError as error:
        with suppress(BrokenPipeError):
            _say_error(streams, error, words)
        return error.exit_code
    except KeyboardInterrupt:
        streams.say("\ninterrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        streams.discard()
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, a user gets a line and not a traceback
        bug = FsmError(f"this should not happen: {type(error).__name__}: {error}", "it is a bug; -v=8 shows where")
        _say_error(streams, bug, words)
        return bug.exit_code
    return code


def _complete(words: Sequence[str], streams: Streams) -> int:
    """Tell a shell which words may go on; whatever goes wrong, there are none, and nobody is asked or told anything."""
    from kubectl_fsm import completion  # noqa: PLC0415 - for shells only

    answer = completion.Answer()
    door = completion.Door(partial(_cluster, "", streams=streams, patience=_PATIENCE), _kubeconfig_names)
    with suppress(Exception):
        _go_alone(str(answer))
        answer = completion.answer(words, usage(), door)
    streams.data(str(answer))
    return 0


def _go_alone(last_words: str) -> None:
    """Leave the terminal, on which a credential plugin could ask or tell something; end with this where one never ends."""
    import signal  # noqa: PLC0415 - for shells only

    def end(*_: object) -> None:
        os.write(1, last_words.encode())
        if os.getsid(0) == os.getpid():  # so the group is what was started from here
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.killpg(0, signal.SIGTERM)
        os._exit(0)

    with suppress(OSError, AttributeError):  # the leader of a group of processes cannot leave; Windows has no sessions
        os.setsid()
    with suppress(AttributeError):
        signal.signal(signal.SIGALRM, end)
        signal.alarm(2 * _PATIENCE)
    for stream in (0, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)


def _kubeconfig_names(arguments: Arguments, section: str) -> Sequence[str]:
    from kubectl_fsm.cluster import kubeconfig  # noqa: PLC0415 - for shells only

    return kubeconfig.names(section, arguments.text("--kubeconfig"))


def _say_error(streams: Streams, error: FsmError, argv: Sequence[str]) -> None:
    """What went wrong, and what to do; with -v=8 where in the program."""
    if _verbose(argv):
        import traceback  # noqa: PLC0415 - 2 ms to load

        streams.say(traceback.format_exc())
    streams.say(f"{error.label}{error}")
    if error.hint:
        streams.say(error.hint)


def _run(argv: Sequence[str], streams: Streams) -> int:
    before, verb, after = split_verb(argv, options(usage()))
    if verb == "help":
        verb, after = (after[0] if after else ""), ["--help"]
    if not verb:
        order(before, options(usage()))
        streams.data(usage())
        return 0
    if verb not in commands.VERBS:
        raise UsageError(f"unknown verb {verb!r}", nearest(verb, list(commands.VERBS)) or "see kubectl fsm --help")
    module = commands.load(verb)
    words = order([*before, *after], options(module.USAGE))
    if "--help" in words.values:
        streams.data(module.USAGE)
        return 0
    arguments = _match(verb, module.USAGE, words.canonical())
    arguments.choice("--output", module.FORMATS)
    command = module.parse(arguments)
    log = streams.say if _level(arguments.text("--v")) >= _TRACEBACK_LEVEL else None
    connect = cache(partial(_cluster, verb, arguments, streams, log))
    report, failures = _carry_out(command, connect, _narrator(verb, arguments, streams), arguments, streams)
    if connect.cache_info().currsize:
        for warning in connect().warnings:
            streams.say(f"Warning: {warning}")
    _print(report, connect, arguments, streams)
    for failure in failures:
        _say_error(streams, failure, argv)
    if failures:
        return failures[0].exit_code
    if isinstance(report, CheckReport):
        return int(report.failed)
    return _OUTDATED if isinstance(report, RulesReport | StatusReport) and report.exit_code and report.outdated else 0


def _carry_out(
    command: commands.Command,
    connect: "_lru_cache_wrapper[Cluster]",
    narrator: "Narrator",
    arguments: Arguments,
    streams: Streams,
) -> tuple[Report, Sequence[FsmError]]:
    """As `_drive`; where a command fails that was denied a right, the last error names all that it lacks.

    Files that were left out count as failures; where there is no report they are why.
    """
    try:
        report, failures = _drive(command.run(connect), narrator, arguments, streams)
    except FsmError as error:
        if connect.cache_info().currsize:
            _explain(error, command, connect())
            for one in connect().unread:
                raise one from error
        raise
    if connect.cache_info().currsize:
        if failures:
            _explain(failures[-1], command, connect())
        failures = [*failures, *connect().unread]
    return report, failures


def _explain(error: FsmError, command: commands.Command, cluster: Cluster) -> None:
    if cluster.denied and not isinstance(error, Interrupted):
        with suppress(FsmError):  # whoever may not even ask what is missing gets the error as it is
            rights.explain(error, cluster, command.rights(cluster))


def _match(verb: str, usage: str, words: Sequence[str]) -> Arguments:
    try:
        return Arguments(docopt(usage, ["fsm", verb, *words], default_help=False))
    except DocoptExit as error:
        text = read(usage)
        wanted = " and ".join(name.replace("|", " or ") for name in text.arguments) or "options only"
        given = ", ".join(map(repr, words[words.index("--") + 1 :] if "--" in words else ()))
        raise UsageError(
            f"{verb} takes {wanted}, not {given}" if given else f"{verb} needs {wanted}", text.synopsis
        ) from error


def _cluster(
    verb: str, arguments: Arguments, streams: Streams, log: Callable[[str], None] | None = None, patience: int = 0
) -> Cluster:
    """Manifests where files are named, else an API server. Only what is used is imported.

    `patience` are the seconds for which the API server may be silent where the words do not say; 0 for the usual.
    """
    files, meshconfig = arguments.many("--filename"), arguments.text("--meshconfig")
    if files:
        from kubectl_fsm.cluster import manifests  # noqa: PLC0415 - not needed with a cluster

        namespace = arguments.text("--namespace") or None
        return manifests.read(files, namespace, streams.stdin, meshconfig, partly=verb == "check")
    if meshconfig:
        raise UsageError("--meshconfig goes with -f: a cluster has its own")
    from kubectl_fsm.cluster import kube, kubeconfig  # noqa: PLC0415 - 0.2 s to load, and not needed offline

    return kube.connect(
        kubeconfig.ConnectionOptions(
            kubeconfig=arguments.text("--kubeconfig"),
            context=arguments.text("--context"),
            cluster=arguments.text("--cluster"),
            user=arguments.text("--user"),
            namespace=arguments.text("--namespace"),
            as_user=arguments.text("--as"),
            as_groups=arguments.many("--as-group"),
            request_timeout=arguments.text("--request-timeout") or (str(patience) if patience else ""),
            log=log,
        )
    )


def _narrator(verb: str, arguments: Arguments, streams: Streams) -> "Narrator":
    """Who tells what a command yields: live on a terminal that can do more than print, events for programs, else lines."""
    from kubectl_fsm.output import progress  # noqa: PLC0415 - not needed for help and usage errors

    level = _level(arguments.text("--v"))
    if verb == "restart" and arguments.text("--output") == "json":
        return progress.Events(streams.say, streams.stdout)
    able = streams.stderr.isatty() and os.environ.get("TERM", "dumb") not in _PRINTING_ONLY
    if able and level < _TRACEBACK_LEVEL:  # requests are shown as they go, and would be in between
        return progress.Terminal(streams.say, streams.stderr, colour=_colour(arguments, streams.stderr))
    return progress.Lines(streams.say, every_state=level > 0)


def _drive(
    work: Generator[Event, bool, Report], narrator: "Narrator", arguments: Arguments, streams: Streams
) -> tuple[Report, Sequence[FsmError]]:
    """Run a command: say what it yields, answer what it asks; its report and what failed beside it."""
    answer, failures = False, []
    try:
        event = next(work)
        while True:
            if isinstance(event, Question):
                narrator.clear()
                answer = _ask(event.text, arguments, streams)
            elif isinstance(event, Failed):
                failures.append(event.error)
            else:
                with streams.writing(_GOES_ON):
                    narrator.tell(event)
            event = work.send(answer)
    except StopIteration as end:
        return end.value, failures
    except BrokenPipeError as error:
        streams.discard()
        raise FsmError("the output was closed, so the work was stopped", _GOES_ON) from error
    finally:
        narrator.clear()


def _ask(text: str, arguments: Arguments, streams: Streams) -> bool:
    """A yes from the terminal; raises `Declined` where nobody is there to give one."""
    streams.say(text)
    if not (streams.stdin.isatty() and streams.stderr.isatty()) or "-" in arguments.many("--filename"):
        raise Declined("this needs a yes, and nobody can be asked here; nothing was written", "repeat it with --yes")
    streams.stderr.write("Go on? [y/N] ")
    streams.stderr.flush()
    answer = streams.stdin.readline()
    if not answer.endswith("\n"):
        streams.say("")
    return answer.strip().lower() in ("y", "yes")


def _print(report: Report, connect: Connect, arguments: Arguments, streams: Streams) -> None:
    """Data to stdout; the summary of an edit of files to stderr, because its data are the files."""
    from kubectl_fsm.output import grid, structured, table  # noqa: PLC0415 - not needed for help and usage errors

    output = arguments.text("--output")
    style = grid.Style(wide=output == "wide", colour=_colour(arguments, streams.stdout), width=_width(streams))
    if output in ("json", "yaml", "name"):
        streams.data(
            {"json": structured.as_json, "yaml": structured.as_yaml, "name": structured.as_names}[output](report)
        )
    elif output == "iptables" and isinstance(report, RulesReport):
        streams.raw(table.as_iptables(report))
    elif output == "mermaid" and isinstance(report, RulesReport | TraceReport):
        from kubectl_fsm.output import picture  # noqa: PLC0415 - for this format only

        streams.data(picture.as_mermaid(report))
    elif output in ("short", "junit", "sarif") and isinstance(report, CheckReport):
        streams.data(_for_tools(report, output))
    elif isinstance(report, ExclusionsReport) and report.export:
        streams.raw(report.export)
    elif isinstance(report, EditReport | EditsReport) and arguments.flag("--local"):
        streams.say(table.as_table(report, style).rstrip("\n"))
        edits = [report] if isinstance(report, EditReport) else report.edits
        streams.raw(_edited_text(connect(), [edit.resource for edit in edits if not edit.dry_run]))
    else:
        streams.data(table.as_table(report, style))
    if output in ("short", "name", "junit", "sarif") and isinstance(report, CheckReport):
        from kubectl_fsm.output.findings import closing  # noqa: PLC0415 - loaded already

        streams.say("\n".join(closing(report)))


def _for_tools(report: CheckReport, output: str) -> str:
    """What checks found, in a form that other programs have."""
    from kubectl_fsm.output import findings  # noqa: PLC0415 - each for its format only

    if output == "junit":
        from kubectl_fsm.output import junit  # noqa: PLC0415

        return junit.as_junit(report, time.time())
    if output == "sarif":
        from kubectl_fsm.output import sarif  # noqa: PLC0415

        return sarif.as_sarif(report)
    return findings.as_lines(report)


def _edited_text(cluster: Cluster, objects: Sequence[Object]) -> str:
    """The files that edits of these objects lead to, each once, as one stream of YAML documents."""
    from kubectl_fsm.cluster.manifests import Manifests  # noqa: PLC0415 - loaded already

    texts = dict.fromkeys(cluster.text_of(obj) for obj in objects) if isinstance(cluster, Manifests) else ()
    first, *others = texts or ("",)
    joined = [text if text.startswith("---") else f"---\n{text}" for text in others]
    return "".join([first if first.endswith("\n") or not others else f"{first}\n", *joined])


def _colour(arguments: Arguments, stream: TextIO) -> bool:
    """Colour only on a terminal, and only where nobody objects (https://no-color.org)."""
    return stream.isatty() and not arguments.flag("--no-color") and not os.environ.get("NO_COLOR")


def _width(streams: Streams) -> int | None:
    """How wide the terminal is; through a pipe nothing has to fit."""
    if not streams.stdout.isatty():
        return None
    import shutil  # noqa: PLC0415 - some ms to load

    return shutil.get_terminal_size().columns


def _level(text: str) -> int:
    if text and not re.fullmatch("[0-9]{1,2}", text):
        raise UsageError(f"-v takes a number, not {text!r}")
    return int(text or 0)


def _verbose(argv: Sequence[str]) -> bool:
    """Whether the words ask for tracebacks; they may be too wrong to be parsed."""
    joined = " ".join(argv)
    found = re.search(r"(?:^| )(?:-v|--v)[= ]?(\d{1,2})(?: |$)", joined)
    return found is not None and int(found[1]) >= _TRACEBACK_LEVEL
