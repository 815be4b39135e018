"""SARIF 2.1.0: what the standard requires, and what GitHub's code scanning does."""

import json
import re

import pytest

from kubectl_fsm import cli
from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.output.sarif import as_sarif
from kubectl_fsm.reports import CheckReport, CheckText, Finding

RULES = [
    CheckText("init-failed", "error", "It has ended well.", "No container starts.", "Mend it.", "workload"),
    CheckText("outdated", "warning", "All is current.", "Edits reach new pods.", "Restart it.", "workload"),
    CheckText("idle-entry", "info", "All entries do something.", "It misleads.", "Take it out.", "workload"),
]
ITEM = Finding(
    "outdated", "warning", "deploy/web", "shop", "+80 outbound-port", "Edits reach new pods.", "restart it",
    "deploy/web.yaml", 7, 3,
)  # fmt: skip


def run(*items, notes=()):
    return log(as_sarif(CheckReport(items, [], RULES, "files deploy/", "", 0, notes)))


def log(text):
    """The run, after a look at all that has to be there."""
    assert text.isascii()
    whole = json.loads(text)
    assert (whole["version"], whole["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    (found,) = whole["runs"]
    assert set(found) == {"tool", "invocations", "columnKind", "results"}
    assert found["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    driver = found["tool"]["driver"]
    assert driver["name"] == "kubectl-fsm"
    assert re.fullmatch(r"\d+\.\d+\.\d+", driver["semanticVersion"])
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert 0 < len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
        assert rule["defaultConfiguration"]["level"] in ("note", "warning", "error")
        assert rule["properties"]["problem.severity"] in ("recommendation", "warning", "error")
        assert rule["properties"]["precision"] in ("very-high", "high", "medium", "low")
    for result in found["results"]:
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert result["level"] == rule["defaultConfiguration"]["level"]
        assert result["message"]["text"]
        assert result["partialFingerprints"]
        assert len(result["locations"]) == 1
    return found


def test_a_finding_and_where_it_is():
    (result,) = run(ITEM)["results"]
    assert result["message"]["text"] == "deploy/web in shop: +80 outbound-port\nMend: restart it"
    assert result["locations"] == [
        {
            "logicalLocations": [{"name": "deploy/web", "fullyQualifiedName": "shop/deploy/web", "kind": "resource"}],
            "physicalLocation": {
                "artifactLocation": {"uri": "deploy/web.yaml", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 7, "startColumn": 3},
            },
        }
    ]
    assert "suppressions" not in result


def test_levels():
    found = run(*(ITEM._replace(check=rule.identity, severity=rule.severity) for rule in RULES))
    assert [result["level"] for result in found["results"]] == ["error", "warning", "note"]


@pytest.mark.parametrize("elsewhere", [{"file": ""}, {"file": "-"}])
def test_what_is_in_no_file_has_the_object_alone(elsewhere):
    (result,) = run(ITEM._replace(**elsewhere))["results"]
    (location,) = result["locations"]
    assert set(location) == {"logicalLocations"}


@pytest.mark.parametrize(
    ("path", "artifact"),
    [
        ("./deploy//web.yaml", {"uri": "deploy/web.yaml", "uriBaseId": "%SRCROOT%"}),
        ("a b/é%#?.yaml", {"uri": "a%20b/%C3%A9%25%23%3F.yaml", "uriBaseId": "%SRCROOT%"}),
        ("../web.yaml", {"uri": "../web.yaml", "uriBaseId": "%SRCROOT%"}),
        ("/srv/web.yaml", {"uri": "file:///srv/web.yaml"}),
    ],
)
def test_a_path_as_a_uri(path, artifact):
    (result,) = run(ITEM._replace(file=path))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == artifact


def test_a_file_without_a_line_has_no_region():
    (result,) = run(ITEM._replace(line=0, column=0))["results"]
    assert set(result["locations"][0]["physicalLocation"]) == {"artifactLocation"}


def test_a_fingerprint_outlasts_moved_lines_and_tells_findings_apart():
    moved = ITEM._replace(line=70, column=5, file="other/web.yaml", why="", mend="")
    others = [ITEM._replace(**{name: "x"}) for name in ("object", "namespace", "seen")]
    prints = [result["partialFingerprints"]["finding/v1"] for result in run(ITEM, moved, *others)["results"]]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 1 + len(others)


def test_what_is_silenced_is_suppressed_with_its_reason():
    (result,) = run(ITEM._replace(silenced="rolled at night"))["results"]
    assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "rolled at night"}]


def test_notes_go_with_the_invocation():
    (invocation,) = run(notes=["not looked at: refused"])["invocations"]
    assert invocation == {
        "executionSuccessful": True,
        "toolExecutionNotifications": [{"level": "note", "message": {"text": "not looked at: refused"}}],
    }


def test_text_from_a_manifest_is_no_link_and_hides_nothing():
    (result,) = run(ITEM._replace(seen="see [here](https://evil.example)\u202e", mend="[x](y)"))["results"]
    assert result["message"]["text"] == ("deploy/web in shop: see [here] (https://evil.example)\\u202e\nMend: [x] (y)")


def test_the_whole_catalogue_as_rules(capsys):
    cli.main(["check", "-f", "examples/shop", "--severity", "info", "-o", "sarif"])
    rules = log(capsys.readouterr().out)["tool"]["driver"]["rules"]
    offline = [name for name, check in CHECKS.items() if not check.remote]
    assert [rule["id"] for rule in rules] == [*offline, "unreadable"]
