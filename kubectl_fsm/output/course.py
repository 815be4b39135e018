"""A traced connection as a table: a row for each step, a column for each moment."""

from collections.abc import Callable, Mapping, Sequence

from kubectl_fsm.output.grid import Style, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import Moment, TraceReport
from kubectl_fsm.services import Kind, Routing
from kubectl_fsm.tracing import Course, Decision, Step, Way

MOMENTS: Mapping[str, str] = {"now": "NOW", "after-restart": "AFTER RESTART", "next-pod": "NEXT POD"}
"""What a moment is called."""


def as_course(report: TraceReport, style: Style) -> str:
    """The connection step by step, a column for each moment; a line in a cell for each distinct way."""
    client = report.source.text.rpartition("/")[2]
    target = report.target.partition(":")[0].rpartition("/")[2]
    courses = [moment.course for moment in report.moments]
    rows = [[f"{visible(client)} OUT", *(_cell(course, _outbound) for course in courses)]]
    if report.service:
        rows.append([f"{visible(target)} svc", *(picks(course, report.service) or "-" for course in courses)])
    if any(way.inbound for course in courses for way in course.ways):
        rows.append([f"{visible(target)} IN", *(_cell(course, _inbound) for course in courses)])
    rows.append(["VERDICT", *(_cell(course, lambda way: way.text) for course in courses)])
    parts = [grid(["", *(MOMENTS[moment.when] for moment in report.moments)], rows)]
    if style.wide:
        parts += [_hops(moment) for moment in report.moments]
    if report.trials:
        parts.append(_trials(report))
    parts.append(f"{visible(_follows(report))}\n")
    parts += ["Assumes:\n", *(f"  {visible(text)}\n" for text in report.assumptions)]
    parts += [f"Note: {visible(note)}\n" for note in report.notes]
    return "".join([*parts, *(f"Apply: {visible(command)}\n" for command in report.apply)])


def _follows(report: TraceReport) -> str:
    """Which pod is meant, and as which user it calls."""
    source = report.source
    pod = f"pod/{source.pod}" if source.pod else "a pod"
    which = f"{pod}, one of {source.pods} of {source.workload}," if source.pods > 1 else pod
    user = "the image's user, taken for" if source.image_uid else "user"
    return f"Follows {which} in {source.namespace}, calling {report.target} as {user} {source.uid}"


def _cell(course: Course, text: Callable[[Way], str]) -> str:
    """What each way says, a line each; where ways say the same, once, and else with how many endpoints each has."""
    found: dict[str, int] = {}
    for way in course.ways:
        found[text(way)] = found.get(text(way), 0) + len(way.endpoints)
    if len(found) == 1:
        return visible(next(iter(found)))
    total = sum(found.values())
    return "\n".join(visible(f"{count} of {total}: {said}") for said, count in found.items())


def _outbound(way: Way) -> str:
    return decided(way.outbound)


def _inbound(way: Way) -> str:
    return decided(way.inbound) if way.inbound else "-"


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
        return f"DNS, {len(routing.endpoints)} pods"
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
        return f"{picker}, {len(routing.endpoints)} × {share * 100:.0f} %"
    return f"{picker}, {len(routing.endpoints)} endpoints"


def _hops(moment: Moment) -> str:
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
    return grid(head, rows)


def _hop(way: Way, step: Step) -> tuple[str, ...]:
    """A step to the first of a way's endpoints, with how many more there are where each has its own."""
    sockets = _sockets(way)
    more = f" and {len(sockets) - 1} more" if len(sockets) > 1 else ""
    theirs = step in (way.inbound, way.last) and way.inbound is not way.onward
    return (
        visible(step.pod) + (more if theirs else ""),
        f"{step.hook} {step.by}",
        visible(step.destination) + (more if step.destination in sockets else ""),
        visible(decided(step)),
        visible(step.rule) or "-",
    )


def _sockets(way: Way) -> Sequence[str]:
    return list(dict.fromkeys(one.socket for one in way.endpoints))


def _trials(report: TraceReport) -> str:
    rows = [
        [
            MOMENTS[trial.when],
            visible(trial.connection),
            "\n".join(map(visible, sorted(trial.simulated))),
            "\n".join(visible(f"{count} × {seen}") for seen, count in sorted(trial.kernel.items())),
            "yes" if trial.agrees else "NO",
        ]
        for trial in report.trials
    ]
    return grid(["", "CONNECTION", "SIMULATED", f"KERNEL ({visible(report.judge)})", "AGREE"], rows)
