"""Reports for programs: JSON and YAML of a documented, versioned shape, and `kind/name` lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kubectl_fsm import fields
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import (
    CatalogueReport,
    CheckReport,
    CheckText,
    CompletionReport,
    ConfiguredObject,
    EditReport,
    EditsReport,
    ExclusionsReport,
    Opinion,
    PodRules,
    Report,
    RestartItem,
    RestartReport,
    RulesReport,
    StatusReport,
    TraceReport,
    Trial,
    Turn,
    VersionReport,
)

if TYPE_CHECKING:
    from kubectl_fsm.services import Routing
    from kubectl_fsm.tracing import Course, Step

API_VERSION = "kubectl-fsm/v1"
_MAY_BE_NULL = ("namespace", "file", "line", "column", "silenced")
"""What not every finding has."""
_ROLLED = ("planned", "started", "done")
"""Results of a restart whose workloads `-o name` prints."""


def as_json(report: Report) -> str:
    """The report as JSON, nothing but ASCII; that of a restart, which comes after events, is a line as they are."""
    text = io.StringIO()  # `dumps` holds every piece until the end, which takes ten times as much
    json.dump(document(report), text, indent=None if isinstance(report, RestartReport) else 2)
    return text.getvalue() + "\n"


def as_event(turn: Turn, time: str) -> str:
    """What happens during a restart, as a line of JSON. Counts are null where no pods have been counted."""
    counts = {"updated": turn.updated, "available": turn.available, "wanted": turn.wanted}
    event = {
        "apiVersion": API_VERSION,
        "kind": "RestartEvent",
        "time": time,
        "workload": turn.workload,
        "namespace": turn.namespace,
        "state": turn.state,
        "message": turn.text,
        **(counts if turn.wanted else dict.fromkeys(counts)),
    }
    return json.dumps(event) + "\n"


def as_yaml(report: Report) -> str:
    """The report as YAML."""
    return fields.as_yaml(json.loads(json.dumps(document(report))))


def as_names(report: Report) -> str:
    """`kind/name`, a line each."""
    return "".join(f"{visible(name)}\n" for name in _names(report))


def document(report: Report) -> Mapping[str, Any]:
    """The report as plain data. An edit is the edited object itself, as kubectl prints it; several are a List."""
    if isinstance(report, EditReport):
        metadata = {
            key: value for key, value in fields.mapping(report.resource, "metadata").items() if key != "managedFields"
        }
        return {**report.resource, "metadata": metadata}
    if isinstance(report, EditsReport):
        edited = [document(edit) for edit in report.edits]
        return edited[0] if len(edited) == 1 else {"apiVersion": "v1", "kind": "List", "items": edited}
    return {"apiVersion": API_VERSION, "kind": type(report).__name__.removesuffix("Report"), **_body(report)}


def _body(
    report: StatusReport
    | RulesReport
    | TraceReport
    | ExclusionsReport
    | RestartReport
    | CheckReport
    | CatalogueReport
    | VersionReport
    | CompletionReport,
) -> Mapping[str, Any]:
    shown: Mapping[type, Callable[[Any], Mapping[str, Any]]] = {
        StatusReport: _status,
        RulesReport: lambda report: {"items": [_pod_rules(item) for item in report.items]},
        TraceReport: _trace,
        ExclusionsReport: lambda report: {"items": [_configured(item) for item in report.items]},
        RestartReport: lambda report: {"items": [_restarted(item) for item in report.items]},
        CheckReport: _check,
        CatalogueReport: lambda report: {"items": [_check_text(one) for one in report.items]},
        VersionReport: _version,
        CompletionReport: lambda report: {"file": report.file or None, "script": report.script},
    }
    return shown[type(report)](report)


def _version(report: VersionReport) -> Mapping[str, Any]:
    if report.meshes is None:
        return {"client": report.client}
    return {
        "client": report.client,
        "meshes": [{**mesh._asdict(), "version": mesh.version or None} for mesh in report.meshes],
    }


def _pod_rules(item: PodRules) -> Mapping[str, Any]:
    return {
        "pod": item.pod or None,
        "namespace": item.namespace,
        "workload": item.workload or None,
        "mesh": {"name": item.mesh, "version": item.mesh_version or None, "namespace": item.mesh_namespace},
        "injector": item.injector,
        "state": item.state,
        "reason": item.reason or None,
        "sidecar": item.sidecar or None,
        "exclusions": [
            {"list": entry.list, "value": entry.value, "sources": list(entry.sources), "state": entry.state}
            for entry in item.exclusions
        ],
        "settings": [setting._asdict() for setting in item.settings],
        "rules": [
            {
                "hook": rule.hook,
                "chain": rule.chain,
                "rule": rule.rule,
                "effect": rule.effect,
                "why": rule.why,
                "sources": list(rule.sources),
                "decides": rule.decides,
                "shadowedBy": rule.shadowed_by or None,
            }
            for rule in item.rules
        ],
        "notes": list(item.notes),
        "fromInjector": _opinion(item.from_injector) if item.from_injector else None,
    }


def _opinion(opinion: Opinion) -> Mapping[str, Any]:
    return {
        "state": opinion.state,
        "same": opinion.same,
        "reason": opinion.reason,
        "differences": list(opinion.differences),
        "notes": list(opinion.notes),
        "script": opinion.script or None,
    }


def _status(report: StatusReport) -> Mapping[str, Any]:
    return {
        "meshes": [
            {
                **mesh._asdict(),
                "version": mesh.version or None,
                "mode": mesh.mode or None,
                "notes": list(mesh.notes),
            }
            for mesh in report.meshes
        ],
        "totals": {**report.totals, "outside": report.outside, "finished": report.finished},
        "items": [
            {name: value if isinstance(value, str | int) else list(value) for name, value in item._asdict().items()}
            for item in report.shown
        ],
        "apply": report.apply or None,
        "notes": list(report.notes),
    }


def _check(report: CheckReport) -> Mapping[str, Any]:
    return {
        "counts": report.counts,
        "items": [
            {**item._asdict(), **{name: getattr(item, name) or None for name in _MAY_BE_NULL}} for item in report.items
        ],
        "objects": [
            {
                "object": one.object,
                "namespace": one.namespace or None,
                "state": one.state,
                "checks": list(one.checks),
                "unseen": [{"check": check, "why": why} for check, why in one.unseen.items()],
            }
            for one in report.objects
        ],
        "outside": report.outside,
        "notes": list(report.notes),
    }


def _check_text(one: CheckText) -> Mapping[str, Any]:
    return {
        "check": one.identity,
        "severity": one.severity,
        "looksAt": one.looks_at,
        "clusterOnly": one.remote,
        "holds": one.holds,
        "why": one.why,
        "remedy": one.remedy,
    }


def _trace(report: TraceReport) -> Mapping[str, Any]:
    first, *later = report.moments
    source = report.source
    return {
        "from": {
            "pod": source.pod or None,
            "workload": source.workload or None,
            "namespace": source.namespace,
            "address": source.address or None,
            "uid": source.uid,
            "uidAssumed": source.image_uid,
            "interface": source.interface,
        },
        "to": report.target,
        "when": first.when,
        "service": _service(report.service, report.stand_ins) if report.service else None,
        **_course(first.course),
        "afterRestart": _course(later[0].course) if later else None,
        "apply": list(report.apply),
        "assumptions": list(report.assumptions),
        "notes": list(report.notes),
        "kernel": {"judge": report.judge, "trials": [_trial(trial) for trial in report.trials]}
        if report.trials
        else None,
    }


def _course(course: Course) -> Mapping[str, Any]:
    """What becomes of the connection; `outbound`, `inbound` and `verdict` where all ways agree, else null."""
    ways = [
        {
            "share": way.share,
            "endpoints": [one.socket for one in way.endpoints],
            "outbound": _step(way.outbound),
            "onward": _step(way.onward),
            "inbound": _step(way.inbound),
            "last": _step(way.last),
            "verdict": way.result.value,
            "explanation": way.text,
        }
        for way in course.ways
    ]
    hops = dict.fromkeys(step for way in course.ways for step in way.steps)
    return {
        **{key: _agreed([way[key] for way in ways]) for key in ("outbound", "inbound", "verdict", "explanation")},
        "ways": ways,
        "hops": [_hop(step) for step in hops],
    }


def _agreed(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _step(step: Step | None) -> Mapping[str, Any] | None:
    if step is None:
        return None
    return {
        "decision": step.decision.value,
        "port": step.port,
        "rule": step.rule or None,
        "why": step.why,
        "entry": step.entry or None,
        "sources": list(step.sources),
    }


def _hop(step: Step) -> Mapping[str, Any]:
    return {
        "pod": step.pod,
        "hook": step.hook,
        "by": step.by,
        "uid": step.uid,
        "destination": step.destination,
        **(_step(step) or {}),
        "address": step.address,
        "assumed": bool(step.assumed),
        "path": [{"rule": rule, "matched": matched} for rule, matched in step.path],
    }


def _service(routing: Routing, stand_ins: Sequence[str]) -> Mapping[str, Any]:
    port = routing.port
    return {
        "namespace": port.namespace,
        "name": port.service,
        "address": _known(port.address, stand_ins),
        "port": port.number,
        "portName": port.name or None,
        "routing": routing.kind.value,
        "endpoints": [
            {
                "address": _known(one.address, stand_ins),
                "port": one.port,
                "pod": one.pod.name if one.pod else None,
                "node": one.node or None,
                "share": one.share,
            }
            for one in routing.endpoints
        ],
    }


def _known(address: str, stand_ins: Sequence[str]) -> str | None:
    """An address, unless it only stands in for another."""
    return address if address and address not in stand_ins else None


def _trial(trial: Trial) -> Mapping[str, Any]:
    return {
        "when": trial.when,
        "connection": trial.connection,
        "simulated": list(trial.simulated),
        "kernel": dict(trial.kernel),
        "agrees": trial.agrees,
    }


def _restarted(item: RestartItem) -> Mapping[str, Any]:
    return {**item._asdict(), "mesh": item.mesh or None, "changes": list(item.changes), "detail": item.detail or None}


def _configured(item: ConfiguredObject) -> Mapping[str, Any]:
    return {
        "scope": item.scope,
        "object": item.object,
        "namespace": item.namespace or None,
        "entries": [
            {
                "list": entry.list,
                "value": entry.value,
                "note": entry.note or None,
                "writtenBy": item.writers[entry.list]._asdict() if entry.list in item.writers else None,
            }
            for entry in item.entries
        ],
        "note": item.note or None,
    }


def _workload_names(report: StatusReport) -> Sequence[str]:
    """With all namespaces the words that name each to another verb, as `xargs -L1` hands them on."""
    return [item.workload if report.scope else f"{item.workload} -n {item.namespace}" for item in report.shown]


def _rolled_names(report: RestartReport) -> Sequence[str]:
    """Of several namespaces with the words that name each."""
    several = len({item.namespace for item in report.items}) > 1
    rolled = [item for item in report.items if item.result in _ROLLED]
    return [f"{item.workload} -n {item.namespace}" if several else item.workload for item in rolled]


def _found_names(report: CheckReport) -> Sequence[str]:
    """What has findings that count; unless one namespace was checked, with the words that name its namespace."""
    found = dict.fromkeys((item.object, item.namespace) for item in report.counting)
    return [f"{name} -n {namespace}" if namespace and not report.scope else name for name, namespace in found]


def _names(report: Report) -> Sequence[str]:
    shown: Mapping[type, Callable[[Any], Sequence[str]]] = {
        StatusReport: _workload_names,
        RulesReport: lambda report: [f"pod/{item.pod}" if item.pod else item.workload for item in report.items],
        TraceReport: lambda report: [report.source.text, report.target],
        ExclusionsReport: lambda report: [item.object for item in report.items],
        EditReport: lambda report: [report.object],
        EditsReport: lambda report: [edit.object for edit in report.edits],
        RestartReport: _rolled_names,
        CheckReport: _found_names,
        CatalogueReport: lambda report: [one.identity for one in report.items],
        CompletionReport: lambda report: [report.file] if report.file else [],
        VersionReport: lambda report: [f"{mesh.mesh}/{mesh.version}" for mesh in report.meshes or ()],
    }
    return shown[type(report)](report)
