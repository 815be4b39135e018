"""A traced connection as a table: a row for each step, a column for each moment."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from kubectl_fsm.output.grid import Style, fits, fitted, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import Moment, TraceReport
from kubectl_fsm.services import Kind, Routing
from kubectl_fsm.tracing import Course, Decision, Result, Step, Way

MOMENTS: Mapping[str, str] = {"now": "NOW", "after-restart": "AFTER RESTART", "next-pod": "NEXT POD"}
"""What a moment is called."""
_FINE = (Result.INTERCEPTED, Result.BYPASSED)
_NAMED = 3
_PERCENT = 0.01
_DIGITS = 9
"""As far as sums of shares are exact."""


def as_course(report: TraceReport, style: Style) -> str:
    """The connection step by step, a column for each moment; a line in a cell for each distinct way.

    Where that does not fit the terminal, the moments stand one below the other.
    """
    table = _table(report, report.moments, style)
    parts = [table] if fits(table, style) else [_table(report, [moment], style) for moment in report.moments]
    if style.wide:
        parts += [_hops(moment, style) for moment in report.moments]
    if report.trials:
        parts.append(_trials(report, style))
    parts.append(f"{visible(_follows(report))}\n")
    parts += ["Assumes:\n", *(f"  {visible(text)}\n" for text in report.assumptions)]
    parts += [f"Note: {visible(note)}\n" for note in report.notes]
    if _breaks(report):
        parts.append("Warning: what works now is expected to fail after the restart\n")
    return "".join([*parts, *(f"After restart by: {visible(command)}\n" for command in report.apply)])


def _table(report: TraceReport, moments: Sequence[Moment], style: Style) -> str:
    client, server = visible(report.source.text.rpartition("/")[2]), visible(called(report))
    courses = [moment.course for moment in moments]
    columns = [course.ways if style.wide else _alike(course.ways) for course in courses]
    rows = [[f"{client} OUT", *(_cell(ways, _outbound) for ways in columns)]]
    if report.service:
        rows.append([f"{server} svc", *(picks(course, report.service) or "-" for course in courses)])
    if any(len(ways) > 1 for ways in columns):
        rows.append(["WAYS", *(_legend(ways, style) for ways in columns)])
    if any(way.inbound for ways in columns for way in ways):
        rows.append([f"{server} IN", *(_cell(ways, _inbound) for ways in columns)])
    rows.append(["VERDICT", *(_cell(ways, partial(_verdict, style)) for ways in columns)])
    return grid(["", *(MOMENTS[moment.when] for moment in moments)], rows)


def called(report: TraceReport) -> str:
    """What to call whom the connection is for: as it was written, and a Service dialled by its address by its name."""
    kind, _, name = report.target.partition(":")[0].rpartition("/")
    if report.service and not kind:
        return f"{report.service.port.service}.{report.service.port.namespace}"
    return name


def _breaks(report: TraceReport) -> bool:
    """Whether an endpoint that the connection reaches well is trouble later."""
    if len(report.moments) == 1:
        return False
    now, later = (moment.course for moment in report.moments)
    return not _ends(now, "fine").isdisjoint(_ends(later, "trouble"))


def _mood(way: Way) -> str:
    return "trouble" if way.fails else "fine" if way.result in _FINE else "open"


def _ends(course: Course, mood: str) -> set[str]:
    """Where the ways lead that are `fine`, or `trouble`: endpoints, or what was dialled."""
    ways = [way for way in course.ways if _mood(way) == mood]
    return {socket for way in ways for socket in sockets(way) or [way.outbound.destination]}


def _follows(report: TraceReport) -> str:
    """Which pod is meant, and as which user it calls."""
    source = report.source
    pod = f"pod/{source.pod}" if source.pod else "a pod"
    which = f"{pod}, one of {source.pods} of {source.workload}," if source.pods > 1 else pod
    user = "the image's user, taken for" if source.image_uid else "user"
    return f"Follows {which} in {source.namespace}, calling {report.target} as {user} {source.uid}"


def _alike(ways: Sequence[Way]) -> Sequence[Way]:
    """The ways, as one where a table tells them alike, though rules of other words decide."""
    found: dict[object, Way] = {}
    for way in ways:
        key = _outbound(way), _inbound(way), way.text
        found[key] = found[key].joined(way) if key in found else way
    return list(found.values())


def _cell(ways: Sequence[Way], text: Callable[[Way], str]) -> str:
    """What each way says, a line each with the ways' numbers; where all say the same, once."""
    found: dict[str, list[str]] = {}
    for number, way in enumerate(ways, 1):
        found.setdefault(text(way), []).append(str(number))
    if len(found) == 1:
        return next(iter(found))
    return "\n".join(f"{', '.join(numbers)}: {said}" for said, numbers in found.items())


def _legend(ways: Sequence[Way], style: Style) -> str:
    """How many go which way: `1: 33 %, 1 endpoint`."""
    lines = []
    for number, way in enumerate(ways, 1):
        ends = sockets(way)
        count = f"{len(ends) or 'no'} endpoint{'s' if len(ends) > 1 else ''}"
        said = count if way.share is None else f"{percent(way.share)}, {count}"
        if style.wide and ends:
            more = f" and {len(ends) - _NAMED} more" if len(ends) > _NAMED else ""
            said += f": {', '.join(ends[:_NAMED])}{more}"
        lines.append(f"{number}: {visible(said)}")
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share in whole percents, never 0 or 100 where it is only close to that."""
    if 0 < share < _PERCENT:
        return "< 1 %"
    return "> 99 %" if 1 - _PERCENT < round(share, _DIGITS) < 1 else f"{share * 100:.0f} %"


def _outbound(way: Way) -> str:
    return visible(decided(way.outbound))


def _inbound(way: Way) -> str:
    return visible(decided(way.inbound)) if way.inbound else "-"


def _verdict(style: Style, way: Way) -> str:
    return style.paint(_mood(way), visible(way.text))


def decided(step: Step) -> str:
    """`sidecar`, `direct: port 6379, MeshConfig`."""
    word = step.decision.value
    if step.decision is Decision.REWRITTEN:
        word = f"rewritten to {step.address or 'the pod'}:{step.port}"
    if step.entry:
        return f"{word}: {', '.join([step.entry, *step.sources])}"
    return word if step.decision is Decision.SIDECAR else f"{word}: {step.why}"


def picks(course: Course, routing: Routing) -> str:
    """Who picks an endpoint, and out of how many. Empty where nobody gets to.

    Where the rules see an endpoint, it was picked before they were asked.
    """
    if routing.kind is Kind.HEADLESS:
        count = len(routing.endpoints)
        return f"DNS, {count} pod{'' if count == 1 else 's'}"
    seen = [way.outbound for way in course.ways]
    picker = "kube-proxy"
    if all(step.destination != f"{routing.port.address}:{routing.port.number}" for step in seen):
        picker = "Cilium"
    elif any(way.onward for way in course.ways):
        return f"sidecar picks 1 of {sum(len(way.endpoints) for way in course.ways)}"
    if routing.kind is not Kind.BALANCED:
        return str(routing.kind.value)
    if picker == "kube-proxy" and all(step.decision is not Decision.DIRECT for step in seen):
        return ""
    share = routing.endpoints[0].share
    if share is not None:
        return f"{picker}, {len(routing.endpoints)} × {percent(share)}"
    return f"{picker}, {len(routing.endpoints)} endpoints"


def _hops(moment: Moment, style: Style) -> str:
    """Every step with the rule that decides; once where it is the same for several endpoints or on several ways."""
    found: dict[tuple[str, ...], list[str]] = {}
    for number, way in enumerate(moment.course.ways, 1):
        for row in dict.fromkeys(_hop(way, step) for step in way.steps):
            found.setdefault(row, []).append(str(number))
    named = len(moment.course.ways) > 1
    rows = [
        [str(number), *([", ".join(ways)] if named else []), *row]
        for number, (row, ways) in enumerate(found.items(), 1)
    ]
    head = [MOMENTS[moment.when], *(["WAY"] if named else []), "POD", "HOOK", "SEES", "DECISION", "RULE"]
    return fitted(head, rows, style)


def _hop(way: Way, step: Step) -> tuple[str, ...]:
    """A step to the first of a way's endpoints, with how many more there are where each has its own."""
    ends = sockets(way)
    more = f" and {len(ends) - 1} more" if len(ends) > 1 else ""
    theirs = step in (way.inbound, way.last)
    return (
        visible(step.pod) + (more if theirs else ""),
        f"{step.hook} {step.by}",
        visible(step.destination) + (more if step.destination in ends else ""),
        visible(decided(step)),
        visible(step.rule) or "-",
    )


def sockets(way: Way) -> Sequence[str]:
    """A way's endpoints, each once, however many dials lead to it."""
    return list(dict.fromkeys(one.socket for one in way.endpoints))


def _trials(report: TraceReport, style: Style) -> str:
    rows = [
        [
            "yes" if trial.agrees else style.paint("NO"),
            MOMENTS[trial.when],
            visible(trial.connection),
            "\n".join(map(visible, sorted(trial.simulated))),
            "\n".join(visible(f"{count} × {seen}") for seen, count in sorted(trial.kernel.items())),
        ]
        for trial in report.trials
    ]
    return fitted(["AGREE", "WHEN", "CONNECTION", "SIMULATED", f"KERNEL ({visible(report.judge)})"], rows, style)
