"""JUnit XML: what the XSD of Apache Ant's reports asks for, counts that add up, and text that no XML parser stumbles over."""

from xml.etree import ElementTree as ET

import pytest

from kubectl_fsm.output.junit import as_junit
from kubectl_fsm.reports import Checked, CheckReport, Finding

SUITE = {"name", "package", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time", "id"}
ITEM = Finding("outdated", "warning", "deploy/web", "shop", "+80 outbound-port", "Edits.", "restart it")
WEB = Checked("deploy/web", "shop", "3 current", ("init-failed", "outdated"), {})


def report(*items, objects=(WEB,)):
    return CheckReport(items, objects, [], "context prod", "shop", 0, [])


def suites(found):
    """The suites, after a look at what every one of them must have."""
    text = as_junit(found, 1_780_000_000)
    assert text.isascii()
    root = ET.fromstring(text)  # noqa: S314 - our own text
    assert (root.tag, root.attrib) == ("testsuites", {})
    for number, suite in enumerate(root):
        assert (suite.tag, set(suite.attrib), suite.get("id")) == ("testsuite", SUITE, str(number))
        assert suite.get("timestamp") == "2026-05-28T20:26:40"
        cases = suite.findall("testcase")
        assert [part.tag for part in suite] == ["properties", *("testcase" for _ in cases), "system-out", "system-err"]
        for case in cases:
            assert set(case.attrib) == {"name", "classname", "time"}
            assert len(case) <= 1
        counted = {
            "tests": cases,
            "failures": suite.findall("testcase/failure"),
            "errors": suite.findall("testcase/error"),
            "skipped": suite.findall("testcase/skipped"),
        }
        assert {name: int(suite.get(name)) for name in counted} == {name: len(one) for name, one in counted.items()}
    return root


def test_a_suite_for_each_object_and_a_case_for_each_check():
    nothing = Checked("ns/shop", "", "mesh fsm", (), {})
    (web, service) = suites(report(ITEM, ITEM._replace(object="svc/redis"), objects=[nothing, WEB]))
    assert (web.get("name"), web.get("package"), web.get("failures")) == ("deploy/web in shop", "shop", "1")
    assert [(case.get("name"), case.get("classname")) for case in web.iter("testcase")] == [
        ("init-failed", "shop.deploy/web"),
        ("outdated", "shop.deploy/web"),
    ]
    assert web.findtext("system-out") == "3 current"
    assert [case.get("name") for case in service.iter("testcase")] == ["outdated"]


def test_a_failure_says_everything():
    (suite,) = suites(report(ITEM._replace(file="web.yaml", line=7, column=3), ITEM._replace(seen="-90 inbound-port")))
    failure = suite.find("testcase/failure")
    assert failure.attrib == {"type": "warning", "message": "+80 outbound-port (and 1 more)"}
    assert failure.text == (
        "+80 outbound-port\nweb.yaml:7:3\nwhy: Edits.\nmend: restart it\n-90 inbound-port\nwhy: Edits.\nmend: restart it"
    )


def test_what_is_silenced_is_skipped_unless_something_else_counts():
    silenced = ITEM._replace(silenced="rolled at night")
    (suite,) = suites(report(silenced))
    assert suite.find("testcase/skipped").attrib == {"message": "silenced: rolled at night"}
    (suite,) = suites(report(silenced, ITEM._replace(seen="-90 inbound-port")))
    failure = suite.find("testcase/failure")
    assert failure.get("message") == "-90 inbound-port"
    assert "silenced: rolled at night" in failure.text


def test_a_check_that_could_not_look_is_skipped():
    (suite,) = suites(report(objects=[WEB._replace(unseen={"outdated": "pods may not be listed"})]))
    assert suite.find("testcase/skipped").attrib == {"message": "not looked at: pods may not be listed"}
    assert suite.get("skipped") == "1"


def test_nothing_at_all_is_a_report():
    assert len(suites(report(objects=[]))) == 0


@pytest.mark.parametrize(
    "evil", ["\x00", "\x1b[2J", "\ufffe", "\uffff", "\ud800", "]]>", "<&\"'>", "\u202e", "\x85", "é漢\U0001f600"]
)
def test_text_from_a_cluster_stays_text(evil):
    item = Finding("outdated", "warning", *[f"a{evil}z"] * 6, 1, 1)
    (suite,) = suites(report(item, objects=[Checked(item.object, item.namespace, evil, ("outdated",), {})]))
    shown = evil if evil.isprintable() else evil.encode("unicode_escape").decode()
    assert suite.get("package") == f"a{shown}z"
    assert suite.find("testcase/failure").get("message") == f"a{shown}z"
    assert suite.find("testcase/failure").text.startswith(f"a{shown}z\na{shown}z:1:1\n")
    assert suite.findtext("system-out") == shown
