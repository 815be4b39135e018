"""Exhaustive tables: every injector with every editing verb, every report with every printer."""

import io
import typing

import pytest
import yaml

from kubectl_fsm import cli, commands, generator, reports
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    FSM,
    INBOUND_PORTS,
    INCLUDED_RANGES,
    INJECTORS,
    INTERFACES,
    OSM,
    OSM_EDGE,
    OUTBOUND_PORTS,
)
from kubectl_fsm.output import findings, grid, junit, sarif, structured, table
from kubectl_fsm.services import Endpoint, Kind, PodReference, Routing, ServicePort
from kubectl_fsm.tracing import Course, Decision, Result, Step, Way
from tests.support import hostile, shapes

RELEASES = {
    "osm-0.11": (OSM, "v0.11.1"),
    "osm-1.0": (OSM, "v1.0.0"),
    "osm-1.1": (OSM, "v1.1.1"),
    "osm-edge-1.1": (OSM_EDGE, "1.1.2"),
    "osm-1.2": (OSM, "v1.2.4"),
    "osm-edge-1.3": (OSM_EDGE, "1.3.9"),
    "fsm-1.2": (FSM, "1.4.16"),
    "fsm-1.5": (FSM, "1.4.17"),
}
VERBS = {
    "exclude-port": (OUTBOUND_PORTS, ["exclude-port", "6379"], "--dports 6379 "),
    "exclude-port --inbound": (INBOUND_PORTS, ["exclude-port", "9090", "--inbound"], "--dports 9090 "),
    "exclude-ip": (EXCLUDED_RANGES, ["exclude-ip", "10.1.2.3"], "-d 10.1.2.3/32 -j RETURN"),
    "include-ip": (INCLUDED_RANGES, ["include-ip", "10.0.0.0/8"], "-d 10.0.0.0/8 -j "),
    "exclude-interface": (INTERFACES, ["exclude-interface", "net1"], "-o net1 -j RETURN"),
}


def files(injector):
    """A mesh of that release with one Deployment, as YAML documents."""
    mesh, version = RELEASES[injector]
    generation = INJECTORS[injector]
    mode = {"interceptionMode": found} if (found := mesh.release(version).mode) else {}
    image = {
        "osm": "openservicemesh/osm-injector",
        "osm-edge": "flomesh/osm-edge-injector",
        "fsm": "flomesh/fsm-injector",
    }
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "x", "image": image[mesh.name]}]},
    }
    control_plane = {"name": mesh.injector_app, "namespace": mesh.system_namespace}
    labels = {"app": mesh.injector_app, "meshName": "main", "app.kubernetes.io/version": version}
    return [
        {
            "apiVersion": f"{mesh.group}/v1alpha2",
            "kind": "MeshConfig",
            "metadata": {"name": mesh.meshconfig, "namespace": mesh.system_namespace},
            "spec": {"traffic": {found.field: [] for found in generation.lists} | mode},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**control_plane, "labels": labels},
            "spec": {"template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "shop",
                "labels": {mesh.monitored_label: "main"},
                "annotations": {f"{mesh.prefix}sidecar-injection": "enabled"},
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"template": template},
        },
    ]


def edited(monkeypatch, capsys, injector, *argv):
    text = yaml.safe_dump_all(files(injector))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code = cli.main([*argv, "--local", "--yes", "-f", "-"])
    out, err = capsys.readouterr()
    return code, list(yaml.safe_load_all(out)) if code == 0 else [], err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("injector", INJECTORS)
def test_a_global_edit_reaches_the_script(monkeypatch, capsys, injector, verb):
    exclusion_list, argv, rule = VERBS[verb]
    code, documents, err = edited(monkeypatch, capsys, injector, *argv)
    if exclusion_list not in INJECTORS[injector].lists:
        assert code == 1
        assert f"(injector {injector}) reads no {exclusion_list.name} list from the MeshConfig" in err
        return
    assert code == 0, err
    assert rule in generator.render(injector, {}, documents[0]["spec"])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("injector", INJECTORS)
def test_a_pod_scoped_edit_reaches_the_script(monkeypatch, capsys, injector, verb):
    exclusion_list, argv, rule = VERBS[verb]
    code, documents, err = edited(monkeypatch, capsys, injector, *argv, "--workload=deploy/web", "-n", "shop")
    if exclusion_list is INTERFACES:
        assert (code, "whole mesh only" in err) == (2, True)
        return
    if exclusion_list not in INJECTORS[injector].pod_lists:
        assert code == 1
        assert f"reads no {exclusion_list.name} list from pod annotations" in err
        return
    assert code == 0, err
    annotations = documents[3]["spec"]["template"]["metadata"]["annotations"]
    assert rule in generator.render(injector, annotations, documents[0]["spec"])


EMPTY = {"apiVersion": "config.flomesh.io/v1alpha3", "kind": "MeshConfig", "metadata": {"name": "x"}}
EDIT = reports.EditReport(
    *("meshconfigs/x", "ns", "context x", "fsm", "edited", "", [reports.ListChange("outbound-port", [], ["80"])]),
    pods=1,
    outdated=1,
    apply=["kubectl fsm restart"],
    undo="kubectl fsm",
    consequence="every new pod",
    previous=EMPTY,
    resource=EMPTY,
    diff=True,
)
RESTART = reports.RestartReport(
    [
        reports.RestartItem("deploy/web", "shop", "fsm 1.5.1", 2, 2, ["+80 outbound-port"], "done", "", 2, 2),
        reports.RestartItem("pod/alone", "shop", "", 1, 1, ["+80 outbound-port"], "left", "a bare pod"),
    ],
    "context x",
)
ENDPOINT = Endpoint("10.244.0.5", 6379, PodReference("shop", "redis-0", ""), "node", 1.0)
PORT = ServicePort("shop", "redis", "", 6379, "TCP", "10.96.12.7")
STEP = Step(
    *("pod/web-1", "OUTPUT", "application", 0, "10.96.12.7:6379", Decision.DIRECT, None, 6379),
    *("-A FSM_PROXY_OUTBOUND -j RETURN", "excluded outbound ports", "port 6379", ("MeshConfig",)),
)
WAY = Way(1.0, (ENDPOINT,), STEP, None, STEP._replace(pod="pod/redis-0"), None, Result.BYPASSED, "bypassed: straight")
OTHER_WAY = WAY._replace(result=Result.INTERCEPTED, text="intercepted, mTLS")
TRACE = reports.TraceReport(
    source=reports.TraceEnd("deploy/web", "web-1", "deploy/web", "shop", "10.244.0.2", 3, 0, True, "eth0"),
    target="svc/redis:6379",
    origin="context x",
    service=Routing(Kind.BALANCED, PORT, (ENDPOINT,)),
    stand_ins=[],
    moments=[reports.Moment("now", Course([WAY])), reports.Moment("after-restart", Course([WAY, OTHER_WAY]))],
    assumptions=["kube-proxy"],
    notes=["a note"],
    apply=["kubectl fsm restart"],
    trials=[reports.Trial("now", "pod/web-1 → 10.96.12.7:6379", ["redis"], {"redis": 64})],
    judge="Linux",
)
STATUS = reports.StatusReport(
    [
        reports.WorkloadStatus(
            *("shop", "deploy/web", "fsm 1.5.1 (fsm-system)", 3, 3, 1, 1, 1),
            changes=["+80 outbound-port"],
            failures=["exit code 2: too many ports specified"],
            blocked=["its rollout is paused"],
            idle=["outbound-ip 10.1.0.0/16"],
            notes=["a note"],
            restartable=True,
        )
    ],
    "context x",
    "shop",
    [reports.MeshStatus("fsm", "1.5.1", "fsm-system", "PodLevel", ["a note"])],
    ["a note"],
    finished=1,
    outside=2,
    apply="kubectl fsm restart --all -n shop",
)
CHECK = reports.CheckReport(
    [
        reports.Finding("init-failed", "error", "deploy/web", "shop", "exit code 2", "No container starts.", "mend it"),
        reports.Finding(
            *("outdated", "warning", "deploy/web", "shop", "other rules", "An edit reaches new pods.", "restart it"),
            file="web.yaml",
            line=7,
            column=3,
            silenced="rolled at night",
        ),
    ],
    [reports.Checked("deploy/web", "shop", "3 current", ["init-failed", "outdated"], {})],
    [
        reports.CheckText("init-failed", "error", "It has ended well.", "No container starts.", "Mend it.", "workload"),
        reports.CheckText("outdated", "warning", "All is current.", "Edits reach new pods.", "Restart it.", "workload"),
    ],
    "context x",
    "shop",
    outside=1,
    notes=["a note"],
)
REPORTS = [
    reports.RulesReport(
        [
            reports.PodRules(
                *("web-1", "shop", "deploy/web", "fsm", "1.5.1", "fsm-system", "fsm-1.5", "outdated", "why", "ready"),
                exclusions=[reports.EntryState("outbound-port", "80", ["MeshConfig"], "pending")],
                settings=[reports.SettingState("local-proxy-mode PodIP", running=True, configured=False)],
                rules=[reports.RuleLine("OUTBOUND", "OUTPUT", "-p tcp", "all", "direct", "because", [], decides=True)],
                notes=["a note"],
                apply="kubectl fsm restart",
                replicas=2,
                script="script\n",
                next_script="",
                from_injector=reports.Opinion(
                    "injected", False, "another", ["+80 outbound-port"], ["a note"], "script\n"
                ),
            )
        ],
        "context x",
    ),
    reports.ExclusionsReport(
        [reports.ConfiguredObject("global", "MeshConfig/x", "ns", [reports.Configured("outbound-port", "80")], {})],
        "context x",
    ),
    EDIT,
    RESTART,
    reports.EditsReport([EDIT, EDIT], RESTART),
    TRACE,
    STATUS,
    CHECK,
    reports.CatalogueReport(CHECK.checks),
    reports.CompletionReport("#!/bin/sh\n", "/bin/kubectl_complete-fsm"),
    reports.VersionReport("1.0.0", "context x", [reports.MeshVersion("fsm", "1.5.1", "fsm-system", "fsm-1.5")]),
]
PRINTERS = {
    "table": lambda report: table.as_table(report, grid.Style()),
    "wide": lambda report: table.as_table(report, grid.Style(wide=True, colour=True)),
    "json": structured.as_json,
    "yaml": structured.as_yaml,
    "name": structured.as_names,
}
ONLY_CHECKS = {
    "short": findings.as_lines,
    "junit": lambda report: junit.as_junit(report, 0),
    "sarif": sarif.as_sarif,
}
SHOWN = {
    "CatalogueReport": "init-failed",
    "CheckReport": "deploy/web",
    "RulesReport": "web-1",
    "ExclusionsReport": "MeshConfig/x",
    "EditReport": "x",
    "EditsReport": "x",
    "RestartReport": "deploy/web",
    "StatusReport": "deploy/web",
    "TraceReport": "redis",
    "VersionReport": "fsm",
    "CompletionReport": "kubectl_complete-fsm",
}


def test_no_report_and_no_format_is_forgotten():
    assert {type(report) for report in REPORTS} == set(typing.get_args(reports.Report))
    formats = {name for verb in commands.VERBS for name in commands.load(verb).FORMATS}
    assert formats - {"iptables", "mermaid", *ONLY_CHECKS} == set(PRINTERS) - {"table"}


def test_no_verb_that_reads_files_is_spared_hostile_ones():
    reading = {verb for verb in commands.VERBS if "--filename" in commands.load(verb).USAGE}
    assert {words[0] for words in hostile.VERBS.values()} == reading


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_every_report_has_every_form(report, printer):
    text = PRINTERS[printer](report)
    assert SHOWN[type(report).__name__] in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    if printer in ("json", "yaml"):
        (document,) = shapes.documents(text, printer)
        assert list(shapes.problems(document)) == []
    if printer == "wide" and isinstance(report, reports.RulesReport):
        assert "\x1b[33moutdated\x1b[0m" in text or "\x1b[33mOUTDATED\x1b[0m" in text


@pytest.mark.parametrize("printer", ONLY_CHECKS)
def test_what_checks_found_has_every_form(printer):
    text = ONLY_CHECKS[printer](CHECK)
    assert "deploy/web" in text
    assert "exit code 2" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
