"""How checks are run, and what becomes of what they yield; with checks of the tests' own, on files."""

import io
import json
from pathlib import Path

import pytest

from kubectl_fsm import cli
from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.run import look
from kubectl_fsm.checks.silence import Rule, Silence
from kubectl_fsm.checks.views import MeshView, NamespaceView, WorkloadView
from kubectl_fsm.cluster import manifests
from kubectl_fsm.cluster.documents import Budget
from kubectl_fsm.commands.check import Check
from kubectl_fsm.errors import Forbidden, InvalidObject
from kubectl_fsm.operations import meshes
from kubectl_fsm.operations.targets import Selection

SHOP = "examples/shop"
WORDS = {"holds": "It is so.", "why": "It matters.", "remedy": "Mend it."}
REDIS = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "redis", "namespace": "shop"}}


def at(view, *yielded, identity="example", severity="warning", **rest):
    """A check of one kind of view that yields just this, or raises it."""

    def found(_):
        for one in yielded:
            if isinstance(one, Exception):
                raise one
            yield one

    return check(identity, severity, view, **WORDS, **rest)(found)


def run(*checks, silence=()):
    cluster = manifests.read([SHOP], None, io.StringIO())
    scene = Check(Selection(everywhere=True), "", ())._scene(cluster)
    return look(scene, checks, Silence(silence))


def test_a_finding_about_one_object_from_several_views_is_one():
    report = run(
        at(WorkloadView, Seen("no endpoints", "mend it", object=REDIS), Seen("another", "mend it", object=REDIS))
    )
    assert [(item.object, item.namespace, item.seen) for item in report.items] == [
        ("svc/redis", "shop", "no endpoints"),
        ("svc/redis", "shop", "another"),
    ]


def test_the_worst_object_comes_first_and_its_worst_finding():
    report = run(
        at(MeshView, Seen("a", "mend it"), identity="mesh", severity="info"),
        at(NamespaceView, Seen("b", "mend it"), identity="namespace", severity="info"),
        at(NamespaceView, Seen("c", "mend it"), identity="label", severity="error"),
        at(MeshView, Seen("d", "mend it"), identity="list", severity="error"),
        silence=[Rule("list", (), (), "known")],
    )
    assert [item.check for item in report.items] == ["label", "namespace", "list", "mesh"]


def test_what_may_not_be_read_is_said_of_each_object_and_once_in_the_notes():
    forbidden = Forbidden(403, "Forbidden", "events may not be listed")
    report = run(at(WorkloadView, forbidden), at(WorkloadView, forbidden, identity="second"), at(NamespaceView))
    unseen = {one.object: one.unseen for one in report.objects if one.unseen}
    assert unseen["deploy/web"] == {"example": "events may not be listed", "second": "events may not be listed"}
    assert "ns/shop" not in unseen
    assert report.notes[1:] == ["not looked at: example, second: events may not be listed"]
    assert not report.failed


def test_what_cannot_be_read_is_a_finding_however_many_checks_meet_it():
    error = InvalidObject("Deployment shop/web: spec.x is a number, not a string")
    report = run(at(NamespaceView, error), at(NamespaceView, error, identity="second"))
    (found,) = report.items
    assert (found.check, found.severity, found.object, found.seen) == ("unreadable", "error", "ns/shop", error.message)
    assert report.checks[-1].identity == "unreadable"


def test_what_stands_in_one_object_is_not_said_of_all_that_it_concerns(tmp_path, capsys):
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text(Path(SHOP, "mesh.yaml").read_text().replace("[6379]", "['6379']"))
    assert cli.main(["check", "-f", SHOP, "--meshconfig", str(mesh), "-o", "json"]) == 1
    unreadable = [one for one in json.loads(capsys.readouterr().out)["items"] if one["check"] == "unreadable"]
    said = "MeshConfig fsm-system/fsm-mesh-config: spec.traffic.outboundPortExclusionList[0] is '6379', not a port"
    assert [(one["object"], one["seen"]) for one in unreadable] == [("MeshConfig/fsm-mesh-config", said)]


def test_a_check_of_lists_looks_at_meshconfigs_and_workloads():
    report = run(at(ListHolder, Seen("a", "b")))
    assert {item.object for item in report.items} == {
        "MeshConfig/fsm-mesh-config",
        *(one.object for one in report.objects if one.object.partition("/")[0] in ("deploy", "sts", "cj")),
    }
    assert report.checks[0].looks_at == "MeshConfig, workload"


def written(report, identity, name):
    """The text of the file from where a finding is said to be."""
    found = next(item for item in report.items if (item.check, item.object) == (identity, name))
    return found.file, Path(found.file).read_text().splitlines()[found.line - 1][found.column - 1 :]


def test_where_it_is_written():
    key = "flomesh.io/inbound-port-exclusion-list"
    report = run(
        at(
            WorkloadView,
            Seen("a", "mend it", ("spec", "template", "metadata", "annotations", key)),
            identity="template",
        ),
        at(WorkloadView, Seen("b", "mend it", ("spec", "ports", 0), REDIS), identity="service"),
        at(MeshView, Seen("c", "mend it", ("spec", "traffic", "outboundPortExclusionList", 0)), identity="mesh"),
        at(NamespaceView, Seen("d", "mend it"), identity="namespace"),
        at(NamespaceView, InvalidObject("Namespace shop: metadata.labels is a list, not an object")),
    )
    assert written(report, "template", "deploy/web") == (f"{SHOP}/web.yaml", f'{key}: "9090"')
    assert written(report, "service", "svc/redis") == (f"{SHOP}/redis.yaml", "port: 6379")
    assert written(report, "mesh", "MeshConfig/fsm-mesh-config")[1].startswith("6379]")
    assert written(report, "namespace", "ns/shop")[1] == "apiVersion: v1"
    assert written(report, "unreadable", "ns/shop")[1] == "apiVersion: v1"


def test_manifests_that_are_piped_in(capsys, monkeypatch):
    case = Path("tests/checks/outdated/a-port-more.yaml").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"---\n# Source: shop/templates/web.yaml\n" + case)))
    assert cli.main(["check", "-f", "-", "-o", "short"]) == 1
    line = case.split(b"kind: Pod")[0].count(b"\n") + 2
    assert capsys.readouterr().out == f"-:{line}:1: warning: outdated: pod/web-1 in shop: +7070 outbound-port\n"


def test_what_is_in_no_file_has_no_place():
    elsewhere = {**REDIS, "metadata": {"name": "other", "namespace": "shop"}}
    (found,) = run(at(MeshView, Seen("a", "mend it", object=elsewhere))).items
    assert (found.file, found.line, found.column) == ("", 0, 0)


def test_checks_that_need_a_cluster_are_left_out_and_counted():
    report = run(at(NamespaceView, Seen("a", "b"), remote=True), at(NamespaceView, identity="second"))
    assert not report.items
    assert report.notes[1:] == ["not looked at without a cluster: 1 of 2 checks; check --list names them"]
    assert [one.identity for one in report.checks] == ["second", "unreadable"]


def test_files_without_a_meshconfig_are_read_with_a_note(capsys):
    assert cli.main(["check", "-f", f"{SHOP}/web.yaml"]) == 0
    assert "Note: no MeshConfig in the files: read as FSM 1.5 with empty global lists\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "annotations", "read_as"),
    [
        ({"openservicemesh.io/monitored-by": "osm"}, {}, "osm-edge 1.3"),
        ({}, {"openservicemesh.io/outbound-port-exclusion-list": "80"}, "osm-edge 1.3"),
        ({"openservicemesh.io/monitored-by": "osm"}, {"flomesh.io/sidecar-injection": "enabled"}, "FSM 1.5"),
        ({"flomesh.io/monitored-by": "fsm"}, {}, "FSM 1.5"),
        ({"app": "openservicemesh.io/"}, {}, "FSM 1.5"),
        ({"openservicemesh.io/monitored-by": "osm"}, ["unreadable"], "osm-edge 1.3"),
    ],
)
def test_files_without_a_meshconfig_tell_the_mesh_by_their_keys(capsys, monkeypatch, labels, annotations, read_as):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
    spec = {"containers": [{"name": "web", "image": "web:1"}]}
    template = {"metadata": {"labels": {"app": "web"}, "annotations": annotations}, "spec": spec}
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
    web["spec"] = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{json.dumps(namespace)}\n---\n{json.dumps(web)}"))
    cli.main(["check", "-f", "-"])
    out = capsys.readouterr().out
    assert f"Note: no MeshConfig in the files: read as {read_as} with empty global lists\n" in out


@pytest.mark.parametrize(
    ("prefix", "mode", "injector", "adds"),
    [
        ("flomesh.io", "PodLevel", "fsm-1.5", True),
        ("flomesh.io", "NodeLevel", "fsm-1.5", False),
        ("flomesh.io", "iptables", "fsm-1.5", True),
        ("flomesh.io", "ebpf", "fsm-1.5", False),
        ("flomesh.io", "none", "fsm-1.5", False),
        ("openservicemesh.io", "iptables", "osm-edge-1.3", True),
        ("openservicemesh.io", "none", "osm-edge-1.3", False),
        ("openservicemesh.io", "Iptables", "osm-edge-1.3", False),
    ],
)
def test_a_version_that_is_not_shown_is_told_by_the_mode(prefix, mode, injector, adds):
    config = {"apiVersion": f"config.{prefix}/v1alpha2", "kind": "MeshConfig"}
    config |= {"metadata": {"name": "a", "namespace": "b"}, "spec": {"traffic": {"interceptionMode": mode}}}
    cluster = manifests.read(["-"], None, io.StringIO(json.dumps(config)))
    found = meshes.only(meshes.find(cluster))
    assert (found.injector.name, found.intercepts) == (injector, adds)
    assert (found.release.mode == "PodLevel") is mode.endswith("Level")


@pytest.mark.parametrize(("words", "names"), [([], list(CHECKS)), (["--only", "outdated"], ["outdated"])])
def test_the_list_of_checks_asks_no_cluster(capsys, words, names):
    assert cli.main(["check", "--list", "--kubeconfig=/nonexistent", "-o", "json", *words]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["kind"], [item["check"] for item in listed["items"]]) == ("Catalogue", names)
    assert set(listed["items"][0]) == {"check", "severity", "looksAt", "clusterOnly", "holds", "why", "remedy"}
    assert cli.main(["check", "--list", "-o", "name", *words]) == 0
    assert capsys.readouterr().out.split() == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", SHOP], "--list looks at nothing\nleave out TARGET and -f\n"),
        (["deploy/web"], "--list looks at nothing\nleave out TARGET and -f\n"),
        (["-o", "sarif"], "-o sarif does not show what --list lists\nit takes wide, json, yaml, name\n"),
        (["-o", "short"], "-o short does not show what --list lists\nit takes wide, json, yaml, name\n"),
    ],
)
def test_the_list_of_checks_takes_no_target(capsys, words, said):
    assert cli.main(["check", "--list", *words]) == 2
    assert capsys.readouterr().err == f"error: {said}"


@pytest.mark.parametrize("output", ["short", "name", "junit", "sarif"])
def test_the_closing_line_goes_beside_what_programs_read(capsys, output):
    assert cli.main(["check", "-f", SHOP, "--only", "outdated", "-o", output]) == 0
    out, err = capsys.readouterr()
    assert "nothing found" not in out
    assert "nothing found in " in err
    assert f"(files {SHOP}, all namespaces)" in err


NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop%s}\n"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {%s}\n"
CONTAINERS = "template: {spec: {containers: [{name: web}]}}"
LABEL = ", labels: {flomesh.io/monitored-by: fsm}"


def checked(tmp_path, capsys, **files):
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    code = cli.main(["check", "-f", str(tmp_path), "--severity", "info"])
    return code, *capsys.readouterr()


def test_a_namespace_that_is_not_among_the_files_is_assumed_aloud(tmp_path, capsys):
    said = "not among the files, and taken as part of the mesh, with injection enabled: ns/shop"
    assert said in checked(tmp_path, capsys, web=DEPLOYMENT % CONTAINERS)[1]
    assert said not in checked(tmp_path, capsys, shop=NAMESPACE % LABEL)[1]


def test_a_template_without_containers_is_named(tmp_path, capsys):
    said = "not looked at, since no containers are in its pod template: deploy/web in shop"
    assert said in checked(tmp_path, capsys, web=DEPLOYMENT % "replicas: 3", shop=NAMESPACE % LABEL)[1]
    assert said not in checked(tmp_path, capsys, web=DEPLOYMENT % CONTAINERS)[1]


def test_what_is_in_no_mesh_is_counted(tmp_path, capsys):
    out = checked(tmp_path, capsys, web=DEPLOYMENT % CONTAINERS, shop=NAMESPACE % "")[1]
    assert "nothing was checked" in out
    assert "1 workload in no mesh left out" in out


def test_an_object_that_is_there_twice_is_named_with_its_files(tmp_path, capsys):
    twice = {"base": DEPLOYMENT % CONTAINERS, "overlay": DEPLOYMENT % "replicas: 3"}
    err = checked(tmp_path, capsys, shop=NAMESPACE % LABEL, **twice)[2]
    assert "Warning: Deployment shop/web is there more than once, and not all of it is looked at: in " in err
    assert f"{tmp_path}/base.yaml and {tmp_path}/overlay.yaml" in err


BROKEN = "apiVersion: v1\nkind: Service\nmetadata: {name: api\n"
REFUSED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      annotations: {flomesh.io/outbound-port-exclusion-list: 80a}
    spec: {containers: [{name: web}]}
"""


@pytest.fixture
def folder(tmp_path):
    """Two files that cannot be read, and one with a fault."""
    for name, text in {"a.yaml": BROKEN, "b.yaml": REFUSED, "c.json": '{"a" 1}'}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_cannot_be_read_leaves_the_others_to_be_checked(folder, capsys, named):
    paths = sorted(folder.iterdir()) if named else [folder]
    words = [word for path in paths for word in ("-f", str(path))]
    assert cli.main(["check", *words, "-o", "json"]) == 1
    out, err = capsys.readouterr()
    assert [item["check"] for item in json.loads(out)["items"]] == ["annotation-refused"]
    assert [line.split(": ")[1] for line in err.splitlines() if line.startswith("error: ")] == [
        f"{folder}/a.yaml:4:1",
        f"{folder}/c.json:1:6",
    ]


def test_without_a_finding_it_is_a_failure_too(folder, capsys):
    assert cli.main(["check", "-f", str(folder), "--only", "init-failed"]) == 1
    out, err = capsys.readouterr()
    assert "nothing found in 1 object by 1 check" in out
    assert f"error: {folder}/a.yaml:4:1: not YAML: " in err


def test_where_nothing_can_be_checked_such_a_file_is_why(folder, capsys):
    assert cli.main(["check", "-f", str(folder), "deploy/api", "-n", "shop"]) == 1
    assert_unread(folder, capsys)
    (folder / "b.yaml").unlink()
    assert cli.main(["check", "-f", str(folder)]) == 1
    assert_unread(folder, capsys)


@pytest.mark.parametrize("words", [["rules"], ["exclusions"], ["exclude-port", "80", "--local"]])
def test_other_verbs_take_all_files_or_none(folder, capsys, words):
    assert cli.main([*words, "-f", str(folder)]) == 1
    assert_unread(folder, capsys)


def assert_unread(folder, capsys):
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {folder}/a.yaml:4:1: not YAML: ")


def test_too_much_in_all_is_not_read_on(folder, capsys, monkeypatch):
    monkeypatch.setattr(Budget.__init__, "__defaults__", (10,))
    assert cli.main(["check", "-f", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("error: ")) == ("", 1)
    assert "more than 10 values in all" in err
