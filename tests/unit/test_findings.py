"""How what checks found is shown: to people, and line by line."""

from kubectl_fsm.output.findings import as_guide, as_lines, closing
from kubectl_fsm.output.grid import Style
from kubectl_fsm.reports import Checked, CheckReport, CheckText, Finding

TEXT = CheckText("outdated", "warning", "Pods are current.", "Edits reach new pods.", "Restart them.", "workload")


def finding(check="outdated", severity="warning", object="deploy/web", namespace="shop", **rest):  # noqa: A002
    given = {"seen": "+80 outbound-port", "why": "Edits reach new pods.", "mend": "kubectl fsm restart deploy/web"}
    return Finding(check, severity, object, namespace, **given | rest)


def checked(name="deploy/web", namespace="shop", state="1 current", checks=("outdated",), **unseen):
    return Checked(name, namespace, state, checks, unseen)


def report(*items, objects=None, notes=(), scope="shop", outside=0, detailed=False):
    objects = [checked()] if objects is None else objects
    return CheckReport(items, objects, [TEXT], "context prod", scope, outside, notes, detailed)


def shown(found, **style):
    return as_guide(found, Style(**style))


def test_an_object_with_its_findings():
    error = finding("init-failed", "error", seen="exit code 2: too many ports", mend="take one out")
    assert shown(report(error, finding())) == (
        "deploy/web in shop\n"
        "  error    init-failed: exit code 2: too many ports\n"
        "           mend: take one out\n"
        "  warning  outdated: +80 outbound-port\n"
        "           mend: kubectl fsm restart deploy/web\n"
        "1 error, 1 warning in 1 object by 1 check (context prod, namespace shop)\n"
    )


def test_wide_adds_why_and_files_add_the_place():
    place = {"file": "deploy/web.yaml", "line": 7, "column": 3}
    assert shown(report(finding(**place), scope=""), wide=True) == (
        "deploy/web in shop\n"
        "  warning  outdated: +80 outbound-port\n"
        "           deploy/web.yaml:7:3\n"
        "           mend: kubectl fsm restart deploy/web\n"
        "           why: Edits reach new pods.\n"
        "1 warning in 1 object by 1 check (context prod, all namespaces)\n"
    )


def test_colours_are_the_severities():
    text = shown(report(finding(), finding("init-failed", "error"), finding("remark", "info")), colour=True)
    assert "\x1b[1mdeploy/web in shop\x1b[0m" in text
    for severity, code in {"warning": 33, "error": 31, "info": 36}.items():
        assert f"  \x1b[{code}m{severity:7}\x1b[0m  " in text


def test_texts_are_wrapped_beside_the_indent_and_commands_are_not():
    words = " ".join(["word"] * 20)
    text = shown(report(finding(seen=words, why=words, mend=f"kubectl {words}")), wide=True, width=60)
    lines = text.splitlines()
    mend = next(line for line in lines if "mend:" in line)
    assert mend == f"           mend: kubectl {words}"
    assert [line for line in lines[:-1] if len(line) > 60] == [mend]
    assert lines[1].startswith("  warning  outdated: word")
    assert lines[2].startswith("           word")
    assert text.count("word") == 60


def test_of_many_findings_of_a_check_only_some_are_shown():
    many = [finding(object=f"deploy/web-{number}") for number in range(100)]
    others = [finding("init-failed", "error", object="deploy/api", seen="exit code 2")]
    objects = [checked(item.object) for item in (*others, *many)]
    text = shown(report(*others, *many, objects=objects))
    assert len(text.splitlines()) == 3 * 6 + 2
    assert "deploy/web-4 in shop\n" in text
    assert (
        "and 95 more of outdated, at deploy/web-5 in shop, deploy/web-6 in shop, deploy/web-7 in shop and 92 more: "
        "-o wide\n1 error, 100 warnings in 101 objects by 1 check (context prod, namespace shop)\n"
    ) in text
    assert "deploy/web-99 in shop\n" in shown(report(*many), wide=True)
    assert "more of" not in shown(report(*many[:5]))
    assert "more of" not in shown(report(*many, detailed=True))


def test_what_is_silenced_is_said_with_the_reason_and_does_not_count():
    silenced = [finding(object=f"deploy/{name}", silenced="rolled at night") for name in "abcd"]
    found = report(*silenced, finding("init-failed", "error", silenced="being mended"))
    assert shown(found) == (
        "Silenced in .kubectl-fsm.yaml: outdated at deploy/a in shop, deploy/b in shop, deploy/c in shop and 1 more: rolled at night\n"
        "Silenced in .kubectl-fsm.yaml: init-failed at deploy/web in shop: being mended\n"
        "nothing found in 1 object by 1 check (context prod, namespace shop); 5 silenced\n"
    )
    assert not found.failed
    assert as_lines(found) == ""


def test_what_was_not_looked_at_is_said():
    objects = [checked(checks=("outdated", "refused"), refused="events may not be listed"), checked("deploy/x")]
    text = shown(report(objects=objects, notes=["not looked at: refused: events may not be listed"], outside=2))
    assert text == (
        "Note: not looked at: refused: events may not be listed\n"
        "nothing found in 2 objects by 1 check (context prod, namespace shop); 1 check could not look everywhere; "
        "2 workloads in no mesh left out\n"
    )


def test_nothing_that_was_checked_is_not_nothing_found():
    said = "nothing was checked (context prod, namespace shop)\n"
    assert shown(report(objects=[])) == said
    assert shown(report(objects=[checked(checks=())])) == said
    assert shown(report(objects=[checked(outdated="forbidden")])).startswith("nothing was checked")


def test_named_targets_are_shown_with_how_they_stand():
    objects = [checked("ns/shop", "", "mesh fsm"), checked(state="2 current, 1 outdated")]
    assert shown(report(finding(), objects=objects, detailed=True)) == (
        "deploy/web in shop · 2 current, 1 outdated\n"
        "  warning  outdated: +80 outbound-port\n"
        "           mend: kubectl fsm restart deploy/web\n"
        "ns/shop · mesh fsm\n"
        "1 warning in 2 objects by 1 check (context prod)\n"
    )


def test_a_line_for_each_finding():
    place = {"file": "deploy/web.yaml", "line": 7, "column": 3}
    found = report(
        finding("init-failed", "error", **place),
        finding(file="deploy/web.yaml"),
        finding(),
        finding(object="ns/shop", namespace="", severity="info"),
    )
    assert as_lines(found) == (
        "deploy/web.yaml:7:3: error: init-failed: deploy/web in shop: +80 outbound-port\n"
        "deploy/web.yaml: warning: outdated: deploy/web in shop: +80 outbound-port\n"
        "shop/deploy/web: warning: outdated: +80 outbound-port\n"
        "ns/shop: info: outdated: +80 outbound-port\n"
    )
    assert closing(found) == ["1 error, 2 warnings, 1 remark in 1 object by 1 check (context prod, namespace shop)"]


def test_nothing_reaches_a_terminal_raw():
    evil = "\x1b[2J\u202e\n"
    item = Finding("outdated", "warning", evil, evil, evil, evil, evil, evil, 1, 1)
    found = report(item, item._replace(silenced=evil), objects=[checked(evil, evil, evil)], notes=[evil], detailed=True)
    for text in (shown(found, wide=True), shown(found, width=40), as_lines(found)):
        assert "\\x1b[2J\\u202e\\n" in text
        assert not {"\x1b", "\u202e"} & set(text)
