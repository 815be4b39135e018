"""Reports for people."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.fields import Object
from kubectl_fsm.output.findings import as_catalogue, as_guide
from kubectl_fsm.output.glance import as_glance
from kubectl_fsm.output.grid import Style, grid
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import (
    CatalogueReport,
    CheckReport,
    CompletionReport,
    EditReport,
    EditsReport,
    ExclusionsReport,
    Opinion,
    PodRules,
    Report,
    RestartItem,
    RestartReport,
    RuleLine,
    RulesReport,
    SettingState,
    StatusReport,
    TraceReport,
    VersionReport,
)

_SHOWN_COMMANDS = 5
_NAMED = 3


def as_table(report: Report, style: Style) -> str:
    """The report as text."""
    if isinstance(report, TraceReport):
        from kubectl_fsm.output.course import as_course  # noqa: PLC0415 - what traces need is loaded for them only

        return as_course(report, style)
    shown: Mapping[type, Callable[[Any, Style], str]] = {
        StatusReport: as_glance,
        RulesReport: _rules,
        ExclusionsReport: _exclusions,
        EditReport: _edit,
        EditsReport: _edits,
        RestartReport: _restart,
        VersionReport: _version,
        CompletionReport: _completion,
        CheckReport: as_guide,
        CatalogueReport: as_catalogue,
    }
    return shown[type(report)](report, style)


def as_iptables(report: RulesReport) -> str:
    """The exact scripts: what each pod's init container holds; without a pod, what the next one's will.

    Where the injector was asked, its own for the next pod of each workload; what is predicted where it did not answer.
    """
    scripts = list(dict.fromkeys((item.namespace, *_script(item)) for item in report.items))
    if len(scripts) == 1:
        return scripts[0][-1]
    return "".join(f"# {name} in {namespace}\n{text}" for namespace, name, text in scripts if text)


def _script(item: PodRules) -> tuple[str, str]:
    """A script, and whose it is; what the injector says where it writes none is a comment."""
    opinion = item.from_injector
    if opinion is None:
        return _name(item), item.next_script if item.state == "template" else item.script
    said = opinion.script or f"# the injector: {visible(opinion.reason)}\n"
    return item.workload or _name(item), item.next_script if opinion.same is None else said


def _rules(report: RulesReport, style: Style) -> str:
    if not report.items:
        return ""
    if report.detailed:
        return "\n".join(_detail(group, style) for group in alike(report.items))
    several = len({item.namespace for item in report.items}) > 1
    rows = [_summary(item, style, several=several) for item in report.items]
    head = ["POD", "WORKLOAD", "STATE", "ENTRIES", "CHANGES"]
    wide = ["MESH", "INJECTOR", "SIDECAR", "REASON"] if style.wide else []
    return grid([*(["NAMESPACE"] if several else []), *head, *wide], rows)


def _summary(item: PodRules, style: Style, *, several: bool) -> Sequence[str]:
    entries = sum(entry.state != "leaving" for entry in item.exclusions)
    row = [
        visible(item.pod) or "-",
        visible(item.workload) or "-",
        style.paint(item.state),
        str(entries),
        visible(changes(item)) or "-",
    ]
    wide = [item.mesh, item.injector, item.sidecar or "-", visible(item.reason) or "-"] if style.wide else []
    return [*([visible(item.namespace)] if several else []), *row, *wide]


def changes(item: PodRules) -> str:
    """`+8080 outbound-port, -10.0.0.0/8 outbound-ip`."""
    if not item.script:
        return ""
    signs = {"pending": "+", "leaving": "-"}
    found = [f"{signs[entry.state]}{entry.value} {entry.list}" for entry in item.exclusions if entry.state in signs]
    found += [f"{'+' if s.configured else '-'}{s.name}" for s in item.settings if s.configured != s.running]
    return ", ".join(found)


def alike(items: Sequence[PodRules]) -> Sequence[Sequence[PodRules]]:
    """Pods of one workload that say the same, together."""
    groups: dict[tuple[object, ...], list[PodRules]] = {}
    for item in items:
        key = (
            item.namespace,
            item.workload or item.pod,
            item.state,
            item.reason,
            item.sidecar,
            item.script,
            item.next_script,
        )
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def _detail(group: Sequence[PodRules], style: Style) -> str:
    item = group[0]
    parts = [title(group, style) + "\n"]
    if item.reason:
        parts.append(f"{visible(item.reason)}\n")
    rows = [
        (
            entry.list,
            visible(entry.value),
            style.paint(entry.state),
            visible(", ".join(entry.sources)) or ("not known" if item.state == "unknown" else "no longer configured"),
        )
        for entry in item.exclusions
    ]
    rows += [("setting", s.name, style.paint(_setting_state(s)), "MeshConfig") for s in item.settings]
    parts.append(grid(("LIST", "VALUE", "STATE", "SOURCE"), rows) if rows else "no exclusions\n")
    for hook in ("OUTBOUND", "INBOUND"):
        lines = [rule for rule in item.rules if rule.hook == hook and (rule.decides or style.wide)]
        if lines:
            parts.append(_hook(hook, lines, style))
    parts += [f"Note: {visible(note)}\n" for note in dict.fromkeys(item.notes)]
    if item.from_injector:
        parts.append(_opinion(item.from_injector))
    if item.apply:
        count = f"   # {item.replicas} pod{'s' if item.replicas != 1 else ''}" if item.replicas is not None else ""
        parts.append(f"Apply: {visible(item.apply)}{count}\n")
    return "".join(parts)


def _opinion(opinion: Opinion) -> str:
    lines = [f"Injector: {opinion.reason}", *(f"  {line}" for line in (*opinion.differences, *opinion.notes))]
    return "".join(f"{visible(line)}\n" for line in lines)


def title(group: Sequence[PodRules], style: Style) -> str:
    """`pod/web-1 · deploy/web · mesh fsm 1.5.1 (fsm-system) · sidecar ready · OUTDATED`."""
    item = group[0]
    name = ", ".join(_name(found) for found in group[:_NAMED]) + (
        f" and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
    )
    mesh = f"mesh {item.mesh} {item.mesh_version}".rstrip() + f" ({item.mesh_namespace})"
    sidecar = f"sidecar {item.sidecar}" if item.sidecar else ""
    state = "next pod" if item.state == "template" else item.state.upper()
    parts = [name, item.workload if item.pod else "", mesh, sidecar]
    return " · ".join([*(visible(part) for part in parts if part), style.paint(item.state, state)])


def _name(item: PodRules) -> str:
    return f"pod/{item.pod}" if item.pod else item.workload


def _setting_state(setting: SettingState) -> str:
    if setting.running and setting.configured:
        return "programmed"
    return "pending" if setting.configured else "leaving"


def _hook(hook: str, lines: Sequence[RuleLine], style: Style) -> str:
    head, rows = [hook, "RULE", "TO", "WHY"], []
    for number, line in enumerate(lines, 1):
        rows.append([str(number), visible(line.match), visible(line.effect), visible(line.reason)])
    if style.wide:
        head.append("IPTABLES")
        rows = [[*row, visible(f"-A {line.chain} {line.rule}")] for row, line in zip(rows, lines, strict=True)]
    if style.wide and any(line.shadowed_by for line in lines):
        head.append("NEVER MATCHES BECAUSE OF")
        rows = [[*row, visible(line.shadowed_by) or "-"] for row, line in zip(rows, lines, strict=True)]
    return grid(head, rows)


def _exclusions(report: ExclusionsReport, style: Style) -> str:
    noted = any(entry.note for item in report.items for entry in item.entries)
    rows = [
        [
            visible(item.namespace) or "-",
            visible(item.object),
            entry.list,
            visible(entry.value),
            *([visible(" ".join(item.writers.get(entry.list, ("-",))))] if style.wide else []),
            *([visible(entry.note)] if noted else []),
        ]
        for item in report.items
        for entry in item.entries
    ]
    wide = ["LIST LAST WRITTEN BY"] if style.wide else []
    head = ["NAMESPACE", "OBJECT", "LIST", "VALUE", *wide, *(["NOTE"] if noted else [])]
    notes = [
        f"{visible(item.object)} in {visible(item.namespace) or 'no namespace'}: {visible(item.note)}\n"
        for item in report.items
        if item.note
    ]
    return "".join([grid(head, rows) if rows else "no exclusions\n", *notes])


def _edit(report: EditReport, style: Style, *, rolled: bool = False) -> str:
    """`rolled`: what becomes of the pods is said elsewhere."""
    dry = {"": "", "client": " (dry run)", "server": " (server dry run)"}[report.dry_run]
    where = f"{report.origin}, mesh {report.mesh}"
    lines = [
        f"{visible(report.object)} in {visible(report.namespace)} {style.paint(report.result)}{dry} ({visible(where)})"
    ]
    lines += [f"{change.list}: {visible(str(change))}" for change in report.changes]
    if report.diff:
        lines.append(_diff(report.previous, report.resource).rstrip("\n"))
    if report.result == "edited":
        lines += _consequences(report, rolled=rolled)
    return "\n".join(line for line in lines if line) + "\n"


def _edits(report: EditsReport, style: Style) -> str:
    edits = [_edit(edit, style, rolled=True) for edit in report.edits]
    return "".join([*edits, _restart(report.rolled, style)])


def _consequences(report: EditReport, *, rolled: bool) -> Sequence[str]:
    undo = [f"Undo: {visible(report.undo)}"] if report.undo else []
    if rolled:
        return [] if report.dry_run else undo
    count = f"{report.outdated} of {report.pods} pod{'s' if report.pods != 1 else ''}"
    if report.dry_run:
        return [f"{count} would run outdated rules; nothing was written"]
    run = f"{count} run{'s' if report.outdated == 1 else ''} outdated rules"
    lines = [f"{run}; {visible(report.consequence)}" if report.outdated else visible(report.consequence)]
    lines += [f"Apply: {visible(command)}" for command in report.apply[:_SHOWN_COMMANDS]]
    if len(report.apply) > _SHOWN_COMMANDS:
        lines.append(f"       and {len(report.apply) - _SHOWN_COMMANDS} more; the verb rules with -A shows them")
    return [*lines, *undo]


def _restart(report: RestartReport, style: Style) -> str:
    """A line for each workload, with what came of it; nothing where there is none."""
    if not report.items:
        return ""
    several = len({item.namespace for item in report.items}) > 1
    rows = [
        [
            *([visible(item.namespace)] if several else []),
            visible(item.workload),
            str(item.replicas),
            str(item.outdated),
            style.paint(item.result),
            visible(_came_of(item)) or "-",
            *([visible(item.mesh) or "-", visible("; ".join(item.notes)) or "-"] if style.wide else []),
        ]
        for item in report.items
    ]
    head = ["WORKLOAD", "PODS", "OUTDATED", "RESULT", "DETAIL"]
    return grid([*(["NAMESPACE"] if several else []), *head, *(["MESH", "NOTES"] if style.wide else [])], rows)


def _came_of(item: RestartItem) -> str:
    """`12/12 verified`, the reason, or before the restart what it will change, and how where that is by no rollout."""
    before = item.result in ("planned", "not begun")
    if item.result == "done":
        return f"{item.verified}/{item.pods} verified"
    return "; ".join(filter(None, [", ".join(item.changes), item.detail])) if before else item.detail


def _diff(before: Object, after: Object) -> str:
    """A unified diff of two objects, without what the server itself keeps."""
    import difflib  # noqa: PLC0415 - for --diff only

    old, new = (fields.as_yaml(json.loads(json.dumps(_own(obj), default=str))).splitlines() for obj in (before, after))
    return "\n".join(visible(line) for line in difflib.unified_diff(old, new, "before", "after", lineterm=""))


def _own(obj: Object) -> Mapping[str, object]:
    kept = ("resourceVersion", "managedFields", "generation")
    metadata = {key: value for key, value in fields.mapping(obj, "metadata").items() if key not in kept}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _completion(report: CompletionReport, _: Style) -> str:
    if not report.file:
        return report.script
    return f"{visible(report.file)} written\nit works in shells that complete kubectl: kubectl completion --help\n"


def _version(report: VersionReport, _: Style) -> str:
    text = f"Client: {report.client}\n"
    for mesh in report.meshes or ():
        shown = visible(mesh.version) or "(version not shown)"
        text += f"Mesh: {mesh.mesh} {shown} in {visible(mesh.namespace)}, injector {mesh.injector} ({visible(report.origin)})\n"
    return text
