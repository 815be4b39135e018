"""`.kubectl-fsm.yaml`: what it silences, and what is said of one that is wrong."""

import json
from pathlib import Path

import pytest

from kubectl_fsm import cli
from kubectl_fsm.checks.silence import FILE, Rule, Silence, read
from kubectl_fsm.errors import ManifestError

CASES = Path(__file__).parent.parent / "checks"
KNOWN = ["init-failed", "outdated"]


def rules(tmp_path, text):
    path = tmp_path / FILE
    path.write_text(text)
    return read(path, KNOWN).rules


def test_rules_of_a_file(tmp_path):
    text = """
# what we live with
silence:
- check: outdated
  objects: [deploy/batch, "cj/*"]
  namespaces:
  - ci-*
  reason: >
    rolled at night
- {check: init-failed, reason: "it is being mended"}
"""
    assert rules(tmp_path, text) == [
        Rule("outdated", ["deploy/batch", "cj/*"], ["ci-*"], "rolled at night"),
        Rule("init-failed", [], [], "it is being mended"),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "silence:\n", "silence: []\n"])
def test_a_file_that_silences_nothing(tmp_path, text):
    assert rules(tmp_path, text) == []


def test_no_file_silences_nothing(tmp_path):
    assert read(tmp_path / FILE, KNOWN) == Silence()


@pytest.mark.parametrize(
    ("given", "finding", "covered"),
    [
        ({}, ("outdated", "deploy/web", "shop"), True),
        ({}, ("init-failed", "deploy/web", "shop"), False),
        ({"objects": ["deploy/web"]}, ("outdated", "deploy/web", "shop"), True),
        ({"objects": ["deploy/web"]}, ("outdated", "deploy/web-2", "shop"), False),
        ({"objects": ["deploy/Web"]}, ("outdated", "deploy/web", "shop"), False),
        ({"objects": ["deploy/a", "deploy/w*"]}, ("outdated", "deploy/web-2", "shop"), True),
        ({"namespaces": ["ci-*"]}, ("outdated", "deploy/web", "ci-7"), True),
        ({"namespaces": ["ci-*"]}, ("outdated", "deploy/web", "shop"), False),
        ({"objects": ["deploy/web"], "namespaces": ["shop"]}, ("outdated", "deploy/web", "cart"), False),
    ],
)
def test_what_a_rule_covers(given, finding, covered):
    rule = Rule("outdated", given.get("objects", ()), given.get("namespaces", ()), "why not")
    assert Silence([rule]).reason(*finding) == ("why not" if covered else "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("silense: []", "silense: there is no such key; it takes silence", "did you mean silence?"),
        ("- outdated", "it takes the key silence", ""),
        ("silence: outdated", "silence: it takes a list", ""),
        ("silence: [outdated]", "silence[0]: it takes the keys check, objects, namespaces, reason", ""),
        ("silence: [{check: outdated}]", "silence[0]: it takes a reason", ""),
        ("silence: [{check: outdated, reason: ' '}]", "silence[0].reason: it takes a text", ""),
        ("silence: [{check: outdated, reason: 5}]", "silence[0].reason: it takes a text", ""),
        ("silence: [{reason: x}]", "silence[0]: it takes a check", ""),
        (
            "silence:\n- {check: outdated, reason: x}\n- check: outdatd\n  reason: x",
            "silence[1].check: there is no check 'outdatd'",
            "did you mean outdated?",
        ),
        ("silence: [{check: xyz, reason: x}]", "silence[0].check: there is no check 'xyz'", "see check --list"),
        (
            "silence: [{check: outdated, reason: x, object: [deploy/web]}]",
            "silence[0].object: there is no such key; it takes check, objects, namespaces, reason",
            "did you mean objects?",
        ),
        ("silence: [{check: outdated, reason: x, objects: deploy/web}]", "silence[0].objects: it takes a list", ""),
        ("silence: [{check: outdated, reason: x, namespaces: [1]}]", "silence[0].namespaces: it takes at least one text, and nothing else", ""),
        ("silence: [{check: outdated, reason: x, objects: []}]", "silence[0].objects: it takes at least one text, and nothing else", ""),
        ("silence: [{check: outdated, check: outdated, reason: x}]", "the key check is there twice", ""),
        ("silence: [", "not YAML: ", ""),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong(tmp_path, text, message, hint):
    with pytest.raises(ManifestError) as caught:
        rules(tmp_path, text)
    place, _, said = caught.value.message.partition(": ")
    assert place.startswith(f"{tmp_path / FILE}:")
    assert said == message or (message.endswith(": ") and said.startswith(message))
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("# ours\n\nsilence:\n- check: outdated\n  reason: x\n- reason: x\n  check: outdatd\n", "7:3"),
        ("# ours\nsilence:\n- check: outdated\n  reason: x\n- check: outdated\n", "5:3"),
        ("silence: []\n---\nsilence:\n- check: outdated\n  reasons: x\n", "5:3"),
        ("\n\n- outdated\n", "3:1"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(tmp_path, text, place):
    with pytest.raises(ManifestError) as caught:
        rules(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / FILE}:{place}: ")


def test_a_folder_of_that_name_is_an_error(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(ManifestError, match="Is a directory"):
        read(tmp_path / FILE, KNOWN)


def test_what_is_silenced_does_not_fail_and_is_said_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = str(CASES / "outdated" / "a-port-more.yaml")
    (tmp_path / FILE).write_text('silence: [{check: outdated, objects: ["pod/*"], reason: rolled at night}]')
    said = "Silenced in .kubectl-fsm.yaml: outdated at pod/web-1 in shop: rolled at night\n"
    for output in ("wide", "short", "name", "junit", "sarif"):
        assert cli.main(["check", "-f", case, "-o", output]) == 0
        out, err = capsys.readouterr()
        assert (said in out) if output == "wide" else (said in err)
    assert cli.main(["check", "-f", case, "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["counts"]["silenced"], report["items"][0]["silenced"]) == (1, "rolled at night")
    (tmp_path / FILE).write_text("silence: [{check: outdated, objects: [deploy/web], reason: rolled at night}]")
    assert cli.main(["check", "-f", case]) == 1


def test_what_is_unreadable_can_be_silenced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FILE).write_text("silence: [{check: unreadable, reason: a test of ours}]")
    assert cli.main(["check", "-f", str(CASES / "outdated" / "current.yaml")]) == 0
