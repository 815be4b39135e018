"""What checks found as SARIF 2.1.0, with what GitHub's code scanning asks for."""

import json
from collections.abc import Mapping
from hashlib import sha256
from posixpath import normpath
from typing import Any
from urllib.parse import quote

from kubectl_fsm import __version__
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import CheckReport, CheckText, Finding

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "note"}
_PROBLEMS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "recommendation"}
"""What GitHub calls the severities of what is no security problem."""
_STDIN = "-"


def as_sarif(report: CheckReport) -> str:
    """The report as a SARIF log, nothing but ASCII."""
    numbers = {one.identity: number for number, one in enumerate(report.checks)}
    run = {
        "tool": {
            "driver": {
                "name": "kubectl-fsm",
                "semanticVersion": __version__,
                "rules": [_rule(one) for one in report.checks],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [{"level": "note", "message": {"text": note}} for note in report.notes],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(item, numbers[item.check]) for item in report.items],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(one: CheckText) -> Mapping[str, Any]:
    return {
        "id": one.identity,
        "name": "".join(word.capitalize() for word in one.identity.split("-")),
        "shortDescription": {"text": one.holds},
        "fullDescription": {"text": one.why},
        "help": {"text": f"{one.holds} {one.why} {one.remedy}", "markdown": f"{one.holds} {one.why}\n\n{one.remedy}"},
        "defaultConfiguration": {"level": _LEVELS[one.severity]},
        "properties": {"problem.severity": _PROBLEMS[one.severity], "precision": "high", "tags": ["kubernetes"]},
    }


def _result(item: Finding, number: int) -> Mapping[str, Any]:
    result: dict[str, Any] = {
        "ruleId": item.check,
        "ruleIndex": number,
        "level": _LEVELS[item.severity],
        "message": {"text": f"{_plain(f'{_title(item)}: {item.seen}')}\nMend: {_plain(item.mend)}"},
        "locations": [_location(item)],
        "partialFingerprints": {"finding/v1": _fingerprint(item)},
    }
    if item.silenced:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": item.silenced}]
    return result


def _location(item: Finding) -> Mapping[str, Any]:
    """The object, and the place in a file where one is known."""
    full = "/".join(part for part in (item.namespace, item.object) if part)
    location: dict[str, Any] = {
        "logicalLocations": [{"name": item.object, "fullyQualifiedName": full, "kind": "resource"}]
    }
    if item.file and item.file != _STDIN:
        places = {"startLine": item.line, "startColumn": item.column}
        region = {name: number for name, number in places.items() if number}
        location["physicalLocation"] = {
            "artifactLocation": _artifact(item.file),
            **({"region": region} if region else {}),
        }
    return location


def _artifact(path: str) -> Mapping[str, str]:
    """A file below the folder that the command ran in, relative to it; any other as it was named."""
    normal = normpath(path)
    if normal.startswith("/"):
        return {"uri": f"file://{quote(normal)}"}
    return {"uri": quote(normal), "uriBaseId": "%SRCROOT%"}


def _fingerprint(item: Finding) -> str:
    """The same for the same finding, also after lines have moved."""
    named = json.dumps([item.check, item.namespace, item.object, item.seen])
    return sha256(named.encode()).hexdigest()[:32]


def _plain(text: str) -> str:
    """Text that hides nothing and in which no viewer finds a link."""
    return visible(text).replace("](", "] (")


def _title(item: Finding) -> str:
    return f"{item.object} in {item.namespace}" if item.namespace else item.object
