"""Guards, scopes and states on manifests: what no API server is needed for."""

import io
import json

import pytest
import yaml

from kubectl_fsm import cli
from kubectl_fsm.generator import render

PREFIX = "flomesh.io/"
OUT, IN = f"{PREFIX}outbound-port-exclusion-list", f"{PREFIX}inbound-port-exclusion-list"
FULL = ",".join(map(str, range(1, 16)))


def meshconfig(mode="PodLevel", **traffic):
    lists = dict.fromkeys(("outboundPortExclusionList", "inboundPortExclusionList"), ())
    ranges = dict.fromkeys(("outboundIPRangeExclusionList", "outboundIPRangeInclusionList"), ())
    empty = {name: [] for name in (*lists, *ranges, "networkInterfaceExclusionList")}
    return {
        "apiVersion": "config.flomesh.io/v1alpha3",
        "kind": "MeshConfig",
        "metadata": {"name": "fsm-mesh-config", "namespace": "fsm-system"},
        "spec": {"traffic": {**empty, "interceptionMode": mode, **traffic}},
    }


NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": "shop",
        "labels": {f"{PREFIX}monitored-by": "fsm"},
        "annotations": {f"{PREFIX}sidecar-injection": "enabled"},
    },
}


def template(annotations=None, **spec):
    container = {"name": "app", "image": "x", "ports": [{"containerPort": 8080}]}
    return {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [container], **spec}}


def deployment(name="web", annotations=None, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"template": template(annotations), **spec},
    }


def pod(name="web-1", script=None, owner=None, state=None, **metadata):
    """A pod as `kubectl get -o yaml` shows it; with a script it is injected, and `state` is its init container's."""
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        **template(),
    }
    made["metadata"] = {"name": name, "namespace": "shop", **metadata}
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": "", "controller": True}
        made["metadata"]["ownerReferences"] = [reference]
    if script is not None:
        made["metadata"]["labels"] = {"fsm-proxy-uuid": "x"}
        made["spec"]["initContainers"] = [{"name": "fsm-init", "command": ["sh"], "args": ["-c", script]}]
    ended = {"state": {"terminated": {"exitCode": 0}}}
    made["status"] = {"phase": "Running", "initContainerStatuses": [{"name": "fsm-init", **(state or ended)}]}
    return made


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program on these objects: (exit code, stdout, stderr)."""

    def run(objects, *argv):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump_all(objects).encode())))
        code = cli.main([*argv, "-f", "-"])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def edit(run):
    return lambda objects, *argv: run(objects, *argv, "--local")


@pytest.fixture
def rules(run):
    def rules(objects, *argv):
        code, out, err = run(objects, "rules", *argv, "-o", "json")
        assert code == 0, err
        return json.loads(out)["items"]

    return rules


MANY = [str(port) for port in range(100, 116)]


@pytest.mark.parametrize(
    ("objects", "argv", "said"),
    [
        ([meshconfig()], ["exclude-port", *MANY], "16 outbound ports, and iptables takes 15 in one match: every pod"),
        ([meshconfig()], ["exclude-interface", "eth0"], "default route"),
        ([meshconfig()], ["include-ip", "10.0.0.0/8"], "the first included range"),
        (
            [meshconfig(), deployment(annotations={OUT: FULL})],
            ["exclude-port", "6379"],
            "next pods of deploy/web in shop",
        ),
        (
            [
                meshconfig(),
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Rollout",
                    "metadata": {"name": "api", "namespace": "shop"},
                    "spec": {"template": template({OUT: FULL})},
                },
            ],
            ["exclude-port", "6379"],
            "next pods of rollout/api in shop",
        ),
        (
            [
                meshconfig(),
                NAMESPACE,
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "metadata": {"name": "nightly", "namespace": "shop"},
                    "spec": {"jobTemplate": {"spec": {"template": template({OUT: FULL})}}},
                },
                {**pod("nightly-1"), "status": {"phase": "Succeeded"}},
            ],
            ["exclude-port", "6379"],
            "next pods of cj/nightly in shop",
        ),
        (
            [meshconfig(), NAMESPACE, deployment(annotations={IN: "x"})],
            ["exclude-port", *MANY, "--workload=deploy/web"],
            "16 outbound ports",
        ),
        (
            [meshconfig(), NAMESPACE, deployment(annotations={IN: "x"})],
            ["exclude-port", "--inbound", "--replace", "8080", "--workload=deploy/web"],
            "no port of the containers is intercepted any more",
        ),
        (
            [meshconfig(outboundIPRangeInclusionList=["0.0.0.0/1", "128.0.0.0/1"])],
            ["include-ip", "--replace", "192.0.2.1/32"],
            "0.0.0.0/1, 128.0.0.0/1 is no longer included",
        ),
    ],
)
def test_what_is_stopped(edit, objects, argv, said):
    code, out, err = edit(objects, *argv)
    assert (code, out) == (1, ""), err
    assert said in err


def test_a_wider_inclusion_is_not_asked_for(edit):
    objects = [meshconfig(outboundIPRangeInclusionList=["10.1.0.0/16"])]
    assert edit(objects, "include-ip", "--replace", "10.0.0.0/8")[0] == 0
    assert edit(objects, "include-ip", "--clear")[0] == 0


def test_an_annotation_that_holds_nothing_is_mended_by_clear(edit):
    code, out, err = edit(
        [meshconfig(), deployment(annotations={OUT: ""})], "exclude-port", "--clear", "--workload=deploy/web"
    )
    assert code == 0, err
    assert OUT not in out
    assert "already there" not in err


def test_files_without_a_meshconfig_are_not_edited_or_exported_as_a_whole(edit, run):
    assert "there is no MeshConfig in the files" in edit([deployment()], "exclude-port", "80")[2]
    assert "there is no MeshConfig in the files" in run([deployment()], "exclusions", "--export=patch")[2]


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (deployment(paused=True), "its rollout is paused"),
        ({**deployment(updateStrategy={"type": "OnDelete"}), "kind": "StatefulSet"}, "OnDelete"),
        (deployment(), "starts the workload's rollout at once"),
    ],
)
def test_what_an_edit_of_a_template_does(edit, obj, words):
    kind = {"Deployment": "deploy", "StatefulSet": "sts"}[obj["kind"]]
    assert words in edit([meshconfig(), obj], "exclude-port", "80", f"--workload={kind}/web")[2]


SCRIPT = render("fsm-1.5", {}, meshconfig()["spec"])
TERMINATED = {"terminated": {"exitCode": 4, "reason": "Error"}}


@pytest.mark.parametrize(
    ("objects", "state", "reason"),
    [
        ([meshconfig(), pod(script=SCRIPT)], "current", ""),
        ([meshconfig(outboundPortExclusionList=[1]), pod(script=SCRIPT)], "outdated", ""),
        (
            [meshconfig("NodeLevel"), pod(script=SCRIPT)],
            "outdated",
            "the next pod will have no such rules: interceptionMode NodeLevel",
        ),
        ([pod(script=SCRIPT)], "unknown", "no MeshConfig in the files"),
        ([meshconfig(), pod(script="reboot")], "external", "ran something else"),
        (
            [meshconfig(), pod(script=SCRIPT.replace("fsm", "FSM"), state={"state": TERMINATED})],
            "failed",
            "Error, exit code 4",
        ),
        (
            [
                meshconfig(),
                pod(script=SCRIPT, state={"state": {"terminated": {"exitCode": 0}}, "lastState": TERMINATED}),
            ],
            "current",
            "",
        ),
        (
            [
                meshconfig(),
                pod(
                    script=render("fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": list(range(1, 18))}}),
                    state={"state": {"running": {}}},
                ),
            ],
            "failed",
            "cannot work: line",
        ),
        ([meshconfig(), {**pod(), "status": {}}], "template", ""),
        ([meshconfig(), pod()], "not-injected", "made before it could be injected"),
        ([meshconfig(), NAMESPACE, deployment(annotations={OUT: "80,,81"})], "refused", "Invalid port value ''"),
        ([meshconfig("NodeLevel"), deployment()], "no-interception", "interceptionMode NodeLevel"),
        ([meshconfig(), {**NAMESPACE, "metadata": {"name": "shop"}}, deployment()], "not-injected", "is not labelled"),
    ],
)
def test_states(rules, objects, state, reason):
    (item,) = rules(objects)
    assert item["state"] == state, item["reason"]
    assert reason in (item["reason"] or "")
    runs = state in ("current", "outdated", "unknown", "template")
    assert bool(item["rules"]) is runs, "rules are shown only where they are in force, or will be"


def test_a_pod_of_another_mesh(rules):
    other = pod(script=render("osm-1.2", {}, {}))
    other["spec"]["initContainers"][0]["name"] = "osm-init"
    (item,) = rules([meshconfig(), other])
    assert (item["state"], item["reason"]) == ("external", "its rules are those of another mesh (osm-edge or OSM)")


def test_an_owner_that_is_not_shown_is_named_all_the_same(rules):
    (item,) = rules([meshconfig(), pod(script=SCRIPT, owner=("ReplicaSet", "web-786fb774d"))])
    assert item["workload"] == "rs/web-786fb774d"
    assert any("ReplicaSet web-786fb774d is not shown" in note for note in item["notes"])


def test_one_odd_pod_hides_no_other(run):
    odd = pod("odd", script=SCRIPT)
    odd["spec"]["initContainers"] = "none"
    code, out, err = run([meshconfig(), odd, pod("even", script=SCRIPT)], "rules", "-o", "name")
    assert (code, out) == (0, "pod/even\n")
    assert "Pod shop/odd: spec.initContainers is a string, not a list" in err


@pytest.mark.parametrize("target", ["svc/web", "ns/shop"])
def test_a_target_that_makes_no_pods(run, target):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
    code, out, err = run([meshconfig(), NAMESPACE, service], "rules", target)
    assert (code, out) == (2, "")
    assert "has neither pods nor a pod template" in err


def test_helm_has_no_way_to_set_an_empty_list(run):
    objects = [meshconfig(networkInterfaceExclusionList=["a,b}c"])]
    assert run(objects, "exclusions", "--export=helm-set")[1] == (
        "'--set=fsm.networkInterfaceExclusionList={a\\,b\\}c}'\n"
    )


def test_services_that_fsm_leaves_out(run):
    def service(name, value):
        annotations = {f"{PREFIX}service-exclusion": value}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        }

    out = run([meshconfig(), service("a", "yes"), service("b", "false")], "exclusions")[1]
    assert "svc/a in shop: annotation flomesh.io/service-exclusion: FSM leaves it out of routing" in out
    assert "svc/b in shop: annotation flomesh.io/service-exclusion: FSM does not act on this value" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_escapes_of_a_meshconfig_on_a_terminal(monkeypatch, run):
    objects = [meshconfig(networkInterfaceExclusionList=["\x1b]0;pwned\x07"]), deployment()]
    for argv in (
        ["exclusions", "--export=helm-set"],
        ["exclusions", "--export=patch"],
        ["exclusions"],
        ["rules"],
        ["rules", "deploy/web", "-o", "iptables"],
    ):
        terminal = Terminal()
        monkeypatch.setattr("sys.stdout", terminal)
        _, _, err = run(objects, *argv)
        shown = terminal.getvalue()
        assert "pwned" in shown + err or argv == ["rules"]
        assert "\x1b]" not in shown + err
        assert "\x07" not in shown + err


def test_annotations_that_nobody_reads_are_noted(rules):
    near, other = f"{PREFIX}oubound-port-exclusion-list", f"{PREFIX}outbound-port-inclusion-list"
    (item,) = rules([meshconfig(), NAMESPACE, deployment(annotations={near: "1", other: "2", OUT: "3"})], "deploy/web")
    assert item["notes"][-2:] == [
        f"annotation {other} does nothing: only interceptionMode ebpf knows it",
        f"annotation {near} is no key of FSM; the nearest is {OUT}",
    ]
