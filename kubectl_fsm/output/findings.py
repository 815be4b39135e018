"""What checks found, for people: grouped by object."""

from itertools import groupby

from kubectl_fsm.output.grid import Style
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import CheckReport


def as_guide(report: CheckReport, style: Style) -> str:
    """A block for each object with findings, then what was looked at."""
    lines = []
    for (name, namespace), found in groupby(report.items, key=lambda item: (item.object, item.namespace)):
        lines.append(f"{name} in {namespace}" if namespace else name)
        for item in found:
            lines.append(f"  {style.paint(item.severity)} {item.check}: {item.seen}")
            lines.append(f"    mend: {item.mend}")
    lines += [f"Note: {note}" for note in report.notes]
    lines.append(f"{len(report.objects)} objects, {len(report.checks)} checks, {len(report.items)} findings")
    return "".join(f"{visible(line)}\n" for line in lines)
