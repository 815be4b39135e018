"""The mesh at a glance as a table: totals, a row for each workload, and what there is to say of some."""

from collections.abc import Iterator, Sequence

from kubectl_fsm.output.grid import Style, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import POD_COUNTS, StatusReport, WorkloadStatus

_REMARKS = 20
_KINDS = {"failed": "failures", "blocked": "blocked", "does nothing": "idle", "note": "notes"}
"""The kinds of remarks, the worst first, by the field that has them."""


def as_glance(report: StatusReport, style: Style) -> str:
    """Totals first; then workloads, remarks on them, all of them only with `style.wide`, and what to do."""
    where = f"namespace {report.scope}" if report.scope else "all namespaces"
    lines = [f"{report.origin} · {where}"]
    for mesh in report.meshes:
        mode = f", interceptionMode {mesh.mode}" if mesh.mode else ""
        lines.append(" ".join(part for part in ("mesh", mesh.mesh, mesh.version, f"({mesh.namespace})") if part) + mode)
        lines += [f"Note: {note}" for note in mesh.notes]
    lines += [f"Note: {note}" for note in report.notes]
    remarks = [*_remarks(report.shown, wide=style.wide)]
    said = remarks if style.wide else remarks[:_REMARKS]
    if len(said) < len(remarks):
        said.append(f"and {len(remarks) - len(said)} more: -o wide")
    if report.apply:
        said.append(f"Apply: {report.apply}")
    return "".join(
        [
            *(f"{visible(line)}\n" for line in lines),
            f"{_totals(report, style)}\n",
            _table(report, style) if report.shown else "",
            *(f"{visible(line)}\n" for line in said),
        ]
    )


def _totals(report: StatusReport, style: Style) -> str:
    totals = report.totals
    pods = ", ".join(_count(totals[name], name, style, f"{totals[name]} {name}") for name in POD_COUNTS[1:])
    left_out = [(report.outside, "in no mesh"), (report.finished, "finished and left out")]
    rest = "".join(f"; {count} {what}" for count, what in left_out if count)
    return f"{totals['workloads']} workloads, {totals['pods']} pods: {pods}{rest}"


def _table(report: StatusReport, style: Style) -> str:
    everywhere = not report.scope
    head = ["WORKLOAD", *(name.upper() for name in POD_COUNTS), "CHANGES"]
    rows = [
        [
            *([visible(item.namespace)] if everywhere else []),
            visible(item.workload),
            *(_count(getattr(item, name), name, style) for name in POD_COUNTS),
            visible(", ".join(item.changes)) or "-",
            *([visible(item.mesh)] if style.wide else []),
        ]
        for item in report.shown
    ]
    return grid([*(["NAMESPACE"] if everywhere else []), *head, *(["MESH"] if style.wide else [])], rows)


def _count(count: int, name: str, style: Style, shown: str = "") -> str:
    """A number, in the state's colour where it is one to look at."""
    text = shown or str(count)
    return style.paint(name, text) if count and name in ("outdated", "failed") else text


def _remarks(items: Sequence[WorkloadStatus], *, wide: bool) -> Iterator[str]:
    """Each thing that there is to say once, with the workloads that it is said of."""
    for kind, field in _KINDS.items():
        said: dict[str, list[str]] = {}
        for item in items:
            for text in getattr(item, field):
                said.setdefault(text, []).append(f"{item.workload} in {item.namespace}")
        for text, (first, *others) in said.items():
            who = ", ".join([first, *others]) if wide or not others else f"{first} and {len(others)} more"
            yield f"{kind}: {who}: {text}"
