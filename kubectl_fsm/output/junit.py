"""What checks found as JUnit XML: a suite for each object, a case for each check that looked at it.

The elements and attributes are those that the XSD of Apache Ant's JUnit reports asks for, which everything reads.
"""

import time
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from kubectl_fsm.output.findings import location
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import Checked, CheckReport, Finding


def as_junit(report: CheckReport, now: float) -> str:
    """The report as XML, nothing but ASCII; `now` is the time in seconds since the epoch."""
    found: dict[tuple[str, str], dict[str, list[Finding]]] = {}
    for one in report.objects:
        found[one.object, one.namespace] = {check: [] for check in one.checks}
    for item in report.items:
        found.setdefault((item.object, item.namespace), {}).setdefault(item.check, []).append(item)
    looked = {(one.object, one.namespace): one for one in report.objects}
    root = ET.Element("testsuites")
    started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    for (name, namespace), checks in found.items():
        if checks:
            checked = looked.get((name, namespace), Checked(name, namespace, "", (), {}))
            suite = _suite(checked, checks, started)
            suite.set("id", str(len(root)))
            root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, "us-ascii", xml_declaration=True)
    return text.decode("ascii") + "\n"


def _suite(checked: Checked, checks: dict[str, list[Finding]], started: str) -> ET.Element:
    namespace = visible(checked.namespace)
    cases = [_case(checked, check, items) for check, items in checks.items()]
    suite = ET.Element(
        "testsuite",
        name=f"{visible(checked.object)} in {namespace}" if namespace else visible(checked.object),
        package=namespace,
        timestamp=started,
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors="0",
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time="0",
    )
    ET.SubElement(suite, "properties")
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = visible(checked.state)
    ET.SubElement(suite, "system-err")
    return suite


def _case(checked: Checked, check: str, items: Sequence[Finding]) -> ET.Element:
    """It fails by what counts, and is skipped where all is silenced, or where the check could not look."""
    classname = ".".join(visible(part) for part in (checked.namespace, checked.object) if part)
    case = ET.Element("testcase", name=check, classname=classname, time="0")
    counting = [item for item in items if not item.silenced]
    if counting:
        first, more = counting[0], len(counting) - 1
        message = visible(first.seen) + (f" (and {more} more)" if more else "")
        failure = ET.SubElement(case, "failure", type=first.severity, message=message)
        failure.text = "\n".join(visible(line) for item in items for line in _lines(item))
    elif items or check in checked.unseen:
        why = f"silenced: {items[0].silenced}" if items else f"not looked at: {checked.unseen[check]}"
        ET.SubElement(case, "skipped", message=visible(why))
    return case


def _lines(item: Finding) -> Sequence[str]:
    place = [location(item)] if item.file else []
    silenced = [f"silenced: {item.silenced}"] if item.silenced else []
    return [item.seen, *place, f"why: {item.why}", f"mend: {item.mend}", *silenced]
