"""Reports as Mermaid flowcharts, which GitHub draws where they stand in Markdown or in a file of their own."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, pairwise
from typing import NamedTuple

from kubectl_fsm.output.course import MOMENTS, called, decided, percent, picks, sockets
from kubectl_fsm.output.grid import Style
from kubectl_fsm.output.table import alike, changes, title
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import Moment, PodRules, RuleLine, RulesReport, TraceReport
from kubectl_fsm.tracing import Course, Decision, Result, Step, Way

_PLAIN = r"[0-9A-Za-z,]|(?<=[0-9A-Za-z])[-/](?=[0-9A-Za-z])|(?<=[0-9])\.(?=[0-9])|(?<=\S) (?=\S)"
"""What means nothing but itself in the text of a flowchart. All else in a label is an entity code."""
_DECODED = (
    r"[0-9A-Za-z \"%&'()+,;<=>?^{|}/!#-]|(?<![Ww])\.|:(?![A-Za-z/])|(?<=[0-9A-Za-z])_(?=[0-9A-Za-z])|(?<!\$)\$(?!\$)"
    r"|[^\x00-\x7fﬂ¶]"
)
"""What means nothing but itself once it is decoded: Mermaid up to 11.12 reads that as Markdown, and every release looks
there for formulas, icons, `\\n`, and what it writes itself for an entity code. All else is shown in its wide form."""
_START = "#8288;"
"""A word joiner, which is not seen. Behind it nothing is a list, a heading or a quotation."""
_CODE = re.compile(f"(?!{_PLAIN}).")
_WIDEN = re.compile(f"(?!{_DECODED}).")
_WIDE = 0xFEE0
"""How far beyond an ASCII character its wide form is."""
_STYLES = """\
  classDef direct fill:#dafbe1,stroke:#1a7f37,color:#1f2328
  classDef sidecar fill:#ddf4ff,stroke:#0969da,color:#1f2328
  classDef dropped fill:#ffebe9,stroke:#cf222e,color:#1f2328
  classDef never stroke-dasharray:4
  classDef note fill:none,stroke:none
  classDef frame fill:none,stroke:#8c959f
  classDef rule fill:none,stroke:#8c959f55
"""
_TAKERS: Mapping[str, str] = {
    "direct": "direct",
    "sidecar inbound": "sidecar",
    "sidecar outbound": "sidecar",
    "drop": "dropped",
    "reject": "dropped",
}
_DECISIONS: Mapping[Decision, str] = {
    Decision.DIRECT: "direct",
    Decision.SIDECAR: "sidecar",
    Decision.DROPPED: "dropped",
    Decision.REJECTED: "dropped",
}
_RESULTS: Mapping[Result, str] = {
    Result.INTERCEPTED: "sidecar",
    Result.LEAVES: "sidecar",
    Result.BYPASSED: "direct",
}
_STARTS: Mapping[str, str] = {"OUTBOUND": "a process of the pod", "INBOUND": "the network"}


def escape(text: str) -> str:
    """Text as a line of a quoted label: `#60;` for whatever could mean more than itself, `＊` for what even then would."""
    shown = _WIDEN.sub(lambda found: chr(ord(found[0]) + _WIDE) if found[0].isascii() else "?", visible(text))
    return _CODE.sub(lambda found: f"#{ord(found[0])};", shown)


class Flowchart:
    """A flowchart while it is drawn. It names what it holds itself, so that no text is ever more than a label."""

    def __init__(self) -> None:
        self._lines = ["flowchart TB"]
        self._names = map("n{}".format, count(1))
        self._depth = 1
        self._framed: dict[str, list[str]] = {}

    def node(self, *lines: str, kind: str = "", rounded: bool = False) -> str:
        """A box with these lines of text, of a class of `_STYLES`. Its name."""
        name = next(self._names)
        label = f'(["{_label(*lines)}"])' if rounded else f'["{_label(*lines)}"]'
        self._write(f"{name}{label}{f':::{kind}' if kind else ''}")
        return name

    def edge(self, start: str, end: str, arrow: str = "-->", text: str = "") -> None:
        """An arrow: `-->`, dotted `-.->`, or `~~~`, which is not seen and only says what comes first."""
        self._write(f'{start} {arrow}|"{_label(text)}"| {end}' if text else f"{start} {arrow} {end}")

    @contextmanager
    def frame(self, label: str, direction: str, kind: str = "frame") -> Iterator[str]:
        """A frame around what is drawn inside, which runs down (`TB`) or to the right (`LR`). Its name."""
        name = next(self._names)
        self._write(f'subgraph {name}["{_label(label)}"]')
        self._depth += 1
        self._write(f"direction {direction}")
        yield name
        self._depth -= 1
        self._write("end")
        self._framed.setdefault(kind, []).append(name)

    def __str__(self) -> str:
        classes = [f"  class {','.join(names)} {kind}\n" for kind, names in self._framed.items()]
        return "".join(["\n".join(self._lines) + "\n", _STYLES, *classes])

    def _write(self, line: str) -> None:
        self._lines.append("  " * self._depth + line)


def _label(*lines: str) -> str:
    text = "<br/>".join(filter(None, map(escape, lines)))
    return text if text[:1].isalpha() else f"{_START}{text}" if text else " "


def as_mermaid(report: RulesReport | TraceReport) -> str:
    """A picture of rules or of a trace.

    Rules: a frame for each pod, those of a workload that say the same in one; in it a ladder of rules for each hook.
    A trace: a frame for each moment; in it the connection's ways, from left to right, parting where they differ.
    """
    chart = Flowchart()
    if isinstance(report, TraceReport):
        frames = [_moment(chart, report, moment) for moment in report.moments]
    else:
        frames = [_pod(chart, group) for group in alike(report.items)]
    _in_order(chart, frames)
    return str(chart)


class _Stop(NamedTuple):
    """Where a way comes by: a box's lines and class."""

    lines: tuple[str, ...]
    kind: str = ""
    rounded: bool = False


def _moment(chart: Flowchart, report: TraceReport, moment: Moment) -> str:
    ways = [(tuple(_stops(report, moment.course, way)), way.share) for way in moment.course.ways]
    with chart.frame(MOMENTS[moment.when], "LR") as frame:
        drawn: dict[tuple[_Stop, ...], str] = {}
        for stops, _ in ways:
            for length in range(1, len(stops) + 1):
                if stops[:length] not in drawn:
                    lines, kind, rounded = stops[length - 1]
                    drawn[stops[:length]] = chart.node(*lines, kind=kind, rounded=rounded)
                    if length > 1:
                        before, here = stops[: length - 1], stops[:length]
                        chart.edge(drawn[before], drawn[here], text=_share(ways, before, here))
    return frame


def _share(
    ways: Sequence[tuple[tuple[_Stop, ...], float | None]], before: tuple[_Stop, ...], here: tuple[_Stop, ...]
) -> str:
    """How many of all connections go on here; empty where all that came so far do, or where that is not known."""
    onward = [(stops, share) for stops, share in ways if stops[: len(before)] == before]
    shares = [share for stops, share in onward if stops[: len(here)] == here]
    known = [share for share in shares if share is not None]
    return percent(sum(known)) if len(onward) > len(shares) == len(known) else ""


def _stops(report: TraceReport, course: Course, way: Way) -> Iterator[_Stop]:
    """A way from the application that calls to what becomes of it."""
    client = way.outbound.pod
    yield _Stop((f"application of {client}", f"calls {report.target}"), rounded=True)
    yield _ruled(way.outbound)
    if report.service and (picked := picks(course, report.service)):
        yield _Stop((f"{called(report)} svc", picked), "sidecar" if way.onward else "")
    elif way.onward:
        yield _Stop((f"sidecar of {client}",), "sidecar")
    if way.onward and way.onward.decision is not Decision.DIRECT:
        yield _ruled(way.onward, ", its sidecar")
    if way.inbound and way.inbound is not way.onward:
        yield _ruled(way.inbound, more=len(sockets(way)) - 1)
    yield _Stop((way.text,), "dropped" if way.fails else _RESULTS.get(way.result, ""), rounded=True)


def _ruled(step: Step, who: str = "", *, more: int = 0) -> _Stop:
    """What the rules of a pod, and of as many more, decide."""
    pods = f"{step.pod} and {more} more" if more > 0 else step.pod
    return _Stop((f"rules of {pods}: {step.hook}{who}", decided(step), step.rule), _DECISIONS.get(step.decision, ""))


def _pod(chart: Flowchart, group: Sequence[PodRules]) -> str:
    item = group[0]
    with chart.frame(title(group, Style()), "LR") as frame:
        parts = []
        if item.rules or item.state == "not-injected":
            parts = [_hook(chart, hook, [rule for rule in item.rules if rule.hook == hook]) for hook in _STARTS]
        restart = changes(item)
        if item.reason or restart:
            parts.append(chart.node(item.reason, f"after a restart: {restart}" if restart else "", kind="note"))
        _in_order(chart, parts)
    return frame


def _in_order(chart: Flowchart, names: Sequence[str]) -> None:
    for first, second in pairwise(names):
        chart.edge(first, second, "~~~")


def _hook(chart: Flowchart, hook: str, lines: Sequence[RuleLine]) -> str:
    """A ladder: the rules that decide, one below the other, each with who takes what it matches."""
    deciding = [line for line in lines if line.decides]
    with chart.frame(hook, "TB") as frame:
        last = chart.node(_STARTS[hook], rounded=True)
        for line in deciding:
            last = _rule(chart, last, line)
        if not deciding or deciding[-1].match != "everything else":
            rest = "everything else" if deciding else "everything"
            _rule(chart, last, RuleLine(hook, "", "", rest, "direct", "no rule takes it", (), decides=True))
    return frame


def _rule(chart: Flowchart, before: str, line: RuleLine) -> str:
    with chart.frame("", "LR", "rule") as frame:
        never = f"never matches because of {line.shadowed_by}" if line.shadowed_by else ""
        rule = chart.node(line.match, line.reason, never, kind="never" if never else "")
        taker = chart.node(line.effect, kind=_TAKERS.get(line.effect, ""), rounded=True)
        chart.edge(rule, taker, "-.->" if never else "-->")
    chart.edge(before, frame)
    return frame
