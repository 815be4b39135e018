"""What checks found, for people: grouped by object, or a line for each finding."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from kubectl_fsm.output.grid import Style, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import CatalogueReport, CheckReport, Finding

_SHOWN = 5
"""So many findings of one check are shown in full; a MeshConfig that was edited can make a thousand."""
_NAMED = 3
_SILENCED = "Silenced in .kubectl-fsm.yaml"
_CALLED: Mapping[str, tuple[str, str]] = {
    "error": ("error", "errors"),
    "warning": ("warning", "warnings"),
    "info": ("remark", "remarks"),
}
"""What one and several of a severity are called."""
_INDENT = 11


def as_guide(report: CheckReport, style: Style) -> str:
    """A block for each object with findings, the worst first, and what was looked at.

    Where targets were named, how every object stands; else of many findings of one check only some, unless `style.wide`.
    """
    shown, folded = (report.counting, []) if style.wide or report.detailed else _few(report.counting)
    states = {(one.object, one.namespace): one.state for one in report.objects}
    lines: list[str] = []
    for (name, namespace), found in groupby(shown, key=lambda item: (item.object, item.namespace)):
        state = states.pop((name, namespace), "") if report.detailed else ""
        lines.append(_heading(name, namespace, state, style))
        lines += [line for item in found for line in _block(item, style)]
    if report.detailed:
        lines += [_heading(name, namespace, state, style) for (name, namespace), state in states.items()]
    for check, items in folded:
        lines.append(f"and {len(items)} more of {check}, at {visible(_named(items))}: -o wide")
    lines += map(visible, closing(report))
    return "".join(f"{line}\n" for line in lines)


def as_lines(report: CheckReport) -> str:
    """A line for each finding that counts, in the form of compilers, which editors and CI know.

    `deploy/web.yaml:7:3: error: init-failed: deploy/web in shop: …`, or of a cluster `shop/deploy/web: error: …`.
    """
    lines = []
    for item in report.counting:
        kind = f"{item.severity}: {item.check}"
        if item.file:
            lines.append(f"{location(item)}: {kind}: {_titled(item)}: {item.seen}")
        else:
            lines.append(f"{'/'.join(filter(None, (item.namespace, item.object)))}: {kind}: {item.seen}")
    return "".join(f"{visible(line)}\n" for line in lines)


def closing(report: CheckReport) -> Sequence[str]:
    """What was silenced and why, what could not be looked at, and last a line that sums up."""
    silenced: dict[tuple[str, str], list[Finding]] = {}
    for item in report.items:
        if item.silenced:
            silenced.setdefault((item.check, item.silenced), []).append(item)
    lines = [f"{_SILENCED}: {check} at {_named(items)}: {reason}" for (check, reason), items in silenced.items()]
    return [*lines, *(f"Note: {note}" for note in report.notes), _sum(report)]


def location(item: Finding) -> str:
    """`deploy/web.yaml:7:3`, as far as it is known; empty for what is in no file."""
    return ":".join([item.file, *(str(number) for number in (item.line, item.column) if number)])


def as_catalogue(report: CatalogueReport, style: Style) -> str:
    """A line for each check, in the order in which they look."""
    wide = ["WHY", "REMEDY"] if style.wide else []
    rows = [
        [
            one.identity,
            style.paint(one.severity),
            one.looks_at + (", in a cluster" if one.remote else ""),
            one.holds,
            *([one.why, one.remedy] if style.wide else []),
        ]
        for one in report.items
    ]
    return grid(["CHECK", "SEVERITY", "LOOKS AT", "WHAT SHOULD BE SO", *wide], rows)


def _few(items: Sequence[Finding]) -> tuple[Sequence[Finding], Sequence[tuple[str, Sequence[Finding]]]]:
    """Some findings of each check, and of those with more the others."""
    shown: list[Finding] = []
    left_out: dict[str, list[Finding]] = {}
    numbers: dict[str, int] = {}
    for item in items:
        numbers[item.check] = numbers.get(item.check, 0) + 1
        if numbers[item.check] <= _SHOWN:
            shown.append(item)
        else:
            left_out.setdefault(item.check, []).append(item)
    return shown, list(left_out.items())


def _heading(name: str, namespace: str, state: str, style: Style) -> str:
    where = f"{name} in {namespace}" if namespace else name
    return style.paint("heading", visible(where)) + (f" · {visible(state)}" if state else "")


def _block(item: Finding, style: Style) -> Sequence[str]:
    """The finding and, below it, where it is written and what mends it; a command stays one line, to be pasted."""
    severity = style.paint(item.severity, item.severity.ljust(_INDENT - 4))
    first, *others = _wrapped(f"{item.check}: {item.seen}", style)
    below = [
        *others,
        *([visible(location(item))] if item.file else []),
        f"mend: {visible(item.mend)}",
        *(_wrapped(f"why: {item.why}", style) if style.wide else []),
    ]
    return [f"  {severity}  {first}", *(" " * _INDENT + line for line in below)]


def _wrapped(text: str, style: Style) -> Sequence[str]:
    """The text in as many lines as it takes beside the indent."""
    if style.width is None:
        return [visible(text)]
    import textwrap  # noqa: PLC0415 - for terminals only

    width = max(style.width - _INDENT, 20)
    return textwrap.wrap(visible(text), width, break_long_words=False, break_on_hyphens=False)


def _titled(item: Finding) -> str:
    return f"{item.object} in {item.namespace}" if item.namespace else item.object


def _named(items: Sequence[Finding]) -> str:
    """`deploy/web in shop, deploy/api in shop and 3 more`."""
    names = [*dict.fromkeys(map(_titled, items))]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _sum(report: CheckReport) -> str:
    """`2 errors, 1 warning in 14 objects, by 34 checks (context prod, namespace shop); 1 silenced; …`."""
    counts = report.counts
    found = ", ".join(_number(counts[severity], *called) for severity, called in _CALLED.items() if counts[severity])
    looked = [one for one in report.objects if len(one.checks) > len(one.unseen)]
    checks = {check for one in looked for check in one.checks if check not in one.unseen}
    scope = f", namespace {report.scope}" if report.scope else ", all namespaces"
    what = f"{_number(len(looked), 'object', 'objects')} by {_number(len(checks), 'check', 'checks')}"
    said = f"{found or 'nothing found'} in {what}" if looked or found else "nothing was checked"
    unseen = {check for one in report.objects for check in one.unseen}
    rest = [
        (counts["silenced"], "silenced"),
        (len(unseen), "checks could not look everywhere" if len(unseen) > 1 else "check could not look everywhere"),
        (report.outside, "workloads in no mesh left out" if report.outside > 1 else "workload in no mesh left out"),
    ]
    return f"{said} ({report.origin}{'' if report.detailed else scope})" + "".join(
        f"; {count} {text}" for count, text in rest if count
    )


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
