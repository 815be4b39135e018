"""The mesh at a glance as a table: totals, a row for each workload, and what there is to say of some."""

from collections.abc import Iterator, Sequence

from kubectl_fsm.output.grid import Style, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import StatusReport, WorkloadStatus

_REMARKS = 20
_COUNTS = ("pods", "injected", "current", "outdated", "failed")


def as_glance(report: StatusReport, style: Style) -> str:
    """Totals first; then workloads, and remarks on them, all of them only with `style.wide`."""
    where = f"namespace {report.scope}" if report.scope else "all namespaces"
    parts = [f"{visible(report.origin)} · {visible(where)}\n"]
    for mesh in report.meshes:
        mode = f", interceptionMode {mesh.mode}" if mesh.mode else ""
        parts.append(visible(f"mesh {mesh.mesh} {mesh.version} ({mesh.namespace}){mode}") + "\n")
        parts += [f"Note: {visible(note)}\n" for note in mesh.notes]
    parts.append(f"{_totals(report)}\n")
    if report.shown:
        parts.append(_table(report, style))
    remarks = [remark for item in report.shown for remark in _remarks(item)]
    shown = remarks if style.wide else remarks[:_REMARKS]
    parts += [f"{visible(remark)}\n" for remark in shown]
    if len(shown) < len(remarks):
        parts.append(f"and {len(remarks) - len(shown)} more: -o wide\n")
    return "".join(parts)


def _totals(report: StatusReport) -> str:
    sums = {name: sum(getattr(item, name) for item in report.items) for name in _COUNTS}
    counts = ", ".join(f"{sums[name]} {name}" for name in _COUNTS[1:])
    more = [(report.outside, "in no mesh"), (report.finished, "finished and left out")]
    rest = "".join(f"; {count} {what}" for count, what in more if count)
    return f"{len(report.items)} workloads, {sums['pods']} pods: {counts}{rest}"


def _table(report: StatusReport, style: Style) -> str:
    several = len({item.namespace for item in report.shown}) > 1
    head = [*(["NAMESPACE"] if several else []), "WORKLOAD", *(name.upper() for name in _COUNTS), "CHANGES"]
    rows = [
        [
            *([visible(item.namespace)] if several else []),
            visible(item.workload),
            *(_count(item, name, style) for name in _COUNTS),
            visible(", ".join(item.changes)) or "-",
            *([visible(item.mesh)] if style.wide else []),
        ]
        for item in report.shown
    ]
    return grid([*head, *(["MESH"] if style.wide else [])], rows)


def _count(item: WorkloadStatus, name: str, style: Style) -> str:
    count: int = getattr(item, name)
    return style.paint(name, str(count)) if count and name in ("outdated", "failed") else str(count)


def _remarks(item: WorkloadStatus) -> Iterator[str]:
    kinds: Sequence[tuple[str, Sequence[str]]] = (
        ("failed: ", item.failures),
        ("blocked: ", item.blocked),
        ("does nothing: ", item.idle),
        ("", item.notes),
    )
    for label, texts in kinds:
        yield from (f"{item.workload} in {item.namespace}: {label}{text}" for text in texts)
