"""Reports for programs: JSON and YAML of a documented, versioned shape, and `kind/name` lines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import (
    ConfiguredObject,
    EditReport,
    EditsReport,
    ExclusionsReport,
    PodRules,
    Report,
    RestartItem,
    RestartReport,
    RulesReport,
    VersionReport,
)

API_VERSION = "kubectl-fsm/v1"
_ROLLED = ("planned", "started", "done")
"""Results of a restart whose workloads `-o name` prints."""


def as_json(report: Report) -> str:
    """The report as JSON, nothing but ASCII."""
    return json.dumps(document(report), indent=2) + "\n"


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


def _body(report: RulesReport | ExclusionsReport | RestartReport | VersionReport) -> Mapping[str, Any]:
    if isinstance(report, VersionReport):
        meshes = None if report.meshes is None else [mesh._asdict() for mesh in report.meshes]
        return {"client": report.client, **({} if meshes is None else {"meshes": meshes})}
    if isinstance(report, ExclusionsReport):
        return {"items": [_configured(item) for item in report.items]}
    if isinstance(report, RestartReport):
        return {"items": [_restarted(item) for item in report.items]}
    return {"items": [_pod_rules(item) for item in report.items]}


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
            }
            for rule in item.rules
        ],
        "notes": list(item.notes),
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


def _names(report: Report) -> Sequence[str]:
    if isinstance(report, EditReport):
        return [report.object]
    if isinstance(report, EditsReport):
        return [edit.object for edit in report.edits]
    if isinstance(report, RestartReport):
        return [item.workload for item in report.items if item.result in _ROLLED]
    if isinstance(report, ExclusionsReport):
        return [item.object for item in report.items]
    if isinstance(report, RulesReport):
        return [f"pod/{item.pod}" if item.pod else item.workload for item in report.items]
    return [f"{mesh.mesh}/{mesh.version}" for mesh in report.meshes or ()]
