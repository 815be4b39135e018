"""What `make docs` writes is what today's program says."""

import pytest
import yaml

from docs.generate import FILES, ROOT, current
from kubectl_fsm import commands
from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.usage import options


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_is_up_to_date(file):
    text = current(file)
    assert text == FILES[file](text), f"{file.relative_to(ROOT)} is not what the program says: make docs"


def test_every_check_has_its_section_and_an_example():
    page = current(ROOT / "docs" / "checks.md")
    sections = {part.partition("\n")[0]: part for part in page.split("\n### ")[1:]}
    assert list(sections) == [*CHECKS, "unreadable"]
    for identity, check in CHECKS.items():
        assert f"| [{identity}](#{identity}) | {check.severity} |" in page
        assert check.remote or f"{check.severity:7}  {identity}: " in sections[identity]


def test_the_descriptor_has_every_verb_and_every_option():
    descriptor = yaml.safe_load(current(ROOT / "plugin.yaml"))
    assert all(descriptor.values())
    assert [entry["name"] for entry in descriptor["tree"]] == list(commands.VERBS)
    inherited = {
        "namespace",
        "context",
        "cluster",
        "user",
        "kubeconfig",
        "as",
        "as-group",
        "request-timeout",
        "v",
        "help",
    }
    for entry in descriptor["tree"]:
        named = {option.name.removeprefix("--") for option in options(commands.load(entry["name"]).USAGE).values()}
        assert {flag["name"] for flag in entry["flags"]} == named - inherited
        assert all(flag["desc"] for flag in entry["flags"])
