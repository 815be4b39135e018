"""What stops an edit before anything is written, and what asks first."""

import itertools
import json
import os
import pty
import subprocess

import pytest

from tests.cluster.test_main_job import PORTS, ready_pods
from tests.support import workloads
from tests.support.control_plane import ApiFailure
from tests.support.plugin import EXECUTABLE
from tests.support.rbac import Grant, User


@pytest.fixture
def web(control_plane, fsm):
    """A namespace with one meshed Deployment `web` that listens on 8080."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {PORTS: "1,2,3"}))
    ready_pods(control_plane, shop, "web")
    return shop


def untouched(fsm, before):
    """The MeshConfig is as it was, to the resourceVersion."""
    return fsm.meshconfig() == before


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("exclude-port", *map(str, range(8000, 8013))), 1, "16 outbound ports, and iptables takes 15"),
        (("exclude-port", "70000"), 2, "'70000' is not a port"),
        (("exclude-port", "15001"), 1, "port 15001 is the sidecar's outbound listener"),
        (("exclude-port", "15003", "--inbound"), 1, "port 15003 is the sidecar's inbound listener"),
        (("exclude-port", "6060", "--inbound"), 1, "port 6060 is the sidecar's repo listener"),
        (("exclude-port", "8080", "--inbound"), 1, "no port of the containers is intercepted any more"),
        (("exclude-ip", "fd00::/8"), 2, "is IPv6"),
        (("exclude-ip", "0.0.0.0/2"), 1, "the new ranges exclude 25% of all addresses"),
        (("exclude-ip", "10.0.0.1/8"), 1, "10.0.0.1/8 is all of 10.0.0.0/8 to iptables"),
        (("exclude-ip", "$(id)10.0.0.0/8"), 2, "is not an IPv4 range"),
        (("include-ip", "10.0.0.0/8"), 1, "the first included range"),
        (("exclude-interface", "+"), 2, "'+' is not the name of a network interface"),
        (("exclude-interface", "eth0;reboot"), 2, "is not the name of a network interface"),
        (("exclude-interface", "a" * 16), 2, "longer than the 15 characters"),
        (("exclude-interface", "eth0"), 1, "default route"),
        (("exclude-interface", "eth+"), 1, "default route"),
        (("exclude-interface", "lo"), 1, "what the pod sends to itself"),
        (("exclude-interface", "--", "-eth9"), 2, "is not the name of a network interface"),
        (("exclude-ip", *(f"{number * 16}.0.0.0/4" for number in range(16))), 1, "exclude 100% of all addresses"),
        (("exclude-ip", "10.0.0.0/08"), 2, "reads as octal"),
        (("exclude-ip", "--replace", ""), 2, "the values given are empty"),
        (("exclude-port", "--replace", ","), 2, "the values given are empty"),
        (("exclude-port",), 2, "no value given"),
        (("exclude-port", "80", "--clear"), 2, "--clear takes no values"),
        (("exclude-port", "80", "--remove", "--replace"), 2, "exclude each other"),
        (("exclude-port", "80", "-n", "shop"), 2, "the whole mesh is edited, and -n or -A does not fit"),
        (("exclude-port", "80", "-A"), 2, "the whole mesh is edited"),
        (("exclude-port", "80", "--all"), 2, "--all needs the namespace"),
        (("exclude-port", "80", "--pod=x", "--global"), 2, "exclude each other"),
        (("exclude-port", "80", "--workload=web", "-n", "shop"), 2, "has no kind"),
        (
            ("exclude-interface", "net1", "--workload=deploy/fsm-injector", "-n", "fsm-system"),
            2,
            "for the whole mesh only",
        ),
        (("exclude-port", "80", "--dry-run=maybe"), 2, "--dry-run takes client, server, none"),
        (("exclude-port", "80", "--local"), 2, "--local and -f FILE go together"),
    ],
)
@pytest.mark.usefixtures("web")
def test_refused_and_untouched(fsm, fsm_plugin, args, code, said):
    before = fsm.meshconfig()
    done = fsm_plugin.run(*args)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert untouched(fsm, before)


def test_the_pods_are_named(fsm, fsm_plugin, control_plane, web):
    pod = ready_pods(control_plane, web, "web")[0]["metadata"]["name"]
    done = fsm_plugin.run("exclude-port", *map(str, range(8000, 8013)))
    assert f"1 pod ({web}/{pod})" in done.stderr


def test_a_workload_without_pods_counts(fsm, fsm_plugin, control_plane, web):
    full = ",".join(map(str, range(1, 16)))
    control_plane.apply(workloads.deployment("asleep", web, {PORTS: full}, replicas=0))
    done = fsm_plugin.run("exclude-port", "6379")
    assert done.returncode == 1
    assert (
        f"16 outbound ports, and iptables takes 15 in one match: the next pods of deploy/asleep in {web}" in done.stderr
    )


def test_yes_goes_ahead(fsm, fsm_plugin, web):
    done = fsm_plugin.run("include-ip", "10.0.0.0/8", "--yes")
    assert done.returncode == 0, done.stderr
    assert "warning: the first included range" in done.stderr
    assert fsm.meshconfig()["spec"]["traffic"]["outboundIPRangeInclusionList"] == ["10.0.0.0/8"]
    assert fsm_plugin.run("include-ip", "11.0.0.0/8").returncode == 0, "the second range is not asked for"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_question_on_a_terminal(fsm, fsm_plugin, web, answer, code):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [EXECUTABLE, "include-ip", "10.0.0.0/8"], stdin=slave, stdout=slave, stderr=slave, env=fsm_plugin.environment
    )
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 1024)
    os.write(master, answer.encode() + b"\n")
    assert process.wait(60) == code
    os.close(master)
    assert bool(fsm.meshconfig()["spec"]["traffic"]["outboundIPRangeInclusionList"]) is (answer == "y")


def test_dry_runs_write_nothing(fsm, fsm_plugin, web):
    before = fsm.meshconfig()
    client = fsm_plugin.run("exclude-port", "6379", "--dry-run", "--diff")
    assert "edited (dry run)" in client.stdout
    assert "-    outboundPortExclusionList: []\n+    outboundPortExclusionList:\n+    - 6379\n" in client.stdout
    server = fsm_plugin.run("exclude-port", "6379", "--dry-run=server", "-o", "json")
    assert json.loads(server.stdout)["spec"]["traffic"]["outboundPortExclusionList"] == [6379]
    assert fsm_plugin.run("exclude-port", "6379", "-o", "name", "--dry-run").stdout == (
        "meshconfig.config.flomesh.io/fsm-mesh-config\n"
    )
    assert untouched(fsm, before)


def test_remove_replace_clear_and_unchanged(fsm, fsm_plugin):
    def ports():
        return fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"]

    fsm_plugin.run("exclude-port", "1,2,3")
    before = fsm.meshconfig()
    same = fsm_plugin.run("exclude-port", "3", "2")
    assert "unchanged" in same.stdout
    assert "unchanged" in fsm_plugin.run("exclude-port", "--remove", "9").stdout
    assert fsm.meshconfig() == before
    removed = fsm_plugin.run("exclude-port", "--remove", "2")
    assert "[1 2 3] → [1 3]" in removed.stdout
    assert "Undo: kubectl fsm exclude-port 2" in removed.stdout
    replaced = fsm_plugin.run("exclude-port", "--replace", "7", "1")
    assert ports() == [7, 1]
    assert "Undo: kubectl fsm exclude-port --remove 7 && kubectl fsm exclude-port 3" in replaced.stdout
    fsm_plugin.run("exclude-port", "--clear")
    assert ports() == []


def test_what_others_left_survives(fsm, fsm_plugin, web):
    """FSM's CRD bounds nothing: rubbish is stored, shown, kept by edits of others, and can be removed."""
    fsm.set(
        outboundPortExclusionList=[6379, 70000],
        networkInterfaceExclusionList=["$(reboot)"],
        outboundIPRangeExclusionList=["fd00::/8"],
    )
    items = json.loads(fsm_plugin.run("exclusions", "-o", "json").stdout)["items"]
    entries = {entry["value"]: entry["note"] for entry in items[0]["entries"]}
    assert entries["6379"] is None
    assert "not a port from 1 to 65535" in entries["70000"]
    assert "is not the name" in entries["$(reboot)"]
    done = fsm_plugin.run("exclude-port", "7070")
    assert done.returncode == 0, done.stderr
    assert "already there, and new pods cannot start with it" in done.stderr
    traffic = fsm.meshconfig()["spec"]["traffic"]
    assert traffic["outboundPortExclusionList"] == [6379, 70000, 7070]
    assert traffic["networkInterfaceExclusionList"] == ["$(reboot)"]
    assert "Apply:" not in done.stdout, "a restart would break the pods"
    for args in (("exclude-port", "70000"), ("exclude-interface", "$(reboot)"), ("exclude-ip", "fd00::/8")):
        removed = fsm_plugin.run(args[0], "--remove", args[1])
        assert removed.returncode == 0, removed.stderr
        assert "Undo" not in removed.stdout, "it could not be written again"
    traffic = fsm.meshconfig()["spec"]["traffic"]
    assert traffic["outboundPortExclusionList"] == [6379, 7070]
    assert traffic["networkInterfaceExclusionList"] == traffic["outboundIPRangeExclusionList"] == []


def test_lists_that_are_null_or_missing(control_plane, fsm, fsm_plugin):
    """Before 1.1 a CRD let lists be missing; the API server drops what the CRD of 1.5 does not allow only on a write."""
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshconfigs.config.flomesh.io"
    definition = control_plane.api("GET", crd)
    loose = json.loads(json.dumps(definition))
    for version in loose["spec"]["versions"]:
        traffic = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["traffic"]
        traffic["required"] = []
        for field in traffic["properties"].values():
            field["nullable"] = True
    loose = control_plane.api("PUT", crd, loose)
    try:
        control_plane.wait(lambda: _nulls(fsm), "the CRD takes null")
        shown = fsm_plugin.run("exclusions").stdout
        assert "outboundPortExclusionList, inboundPortExclusionList are missing or null" in shown
        assert fsm_plugin.run("exclude-port", "6379").returncode == 0
        assert fsm_plugin.run("exclude-port", "--clear", "--inbound").returncode == 0
        traffic = fsm.meshconfig()["spec"]["traffic"]
        assert (traffic["outboundPortExclusionList"], traffic["inboundPortExclusionList"]) == ([6379], [])
    finally:
        definition["metadata"]["resourceVersion"] = loose["metadata"]["resourceVersion"]
        control_plane.api("PUT", crd, definition)


def _nulls(fsm):
    """Set two lists to null; False as long as the older CRD is in force, which does not take it."""
    if not accepted(fsm, "Required value", outboundPortExclusionList=None, inboundPortExclusionList=None):
        return False
    traffic = fsm.meshconfig()["spec"]["traffic"]
    return traffic.get("outboundPortExclusionList") is None and traffic.get("inboundPortExclusionList") is None


def accepted(fsm, refusal, **traffic):
    """Whether the API server stores these fields; an answer that does not say `refusal` is an error of the test."""
    try:
        fsm.set(**traffic)
    except ApiFailure as failure:
        if refusal not in str(failure):
            raise
        return False
    return True


def test_a_mode_that_the_crd_no_longer_allows(control_plane, fsm, fsm_plugin):
    """After an upgrade the mode still says `iptables`, which the enum of 1.5 refuses; an edit of a list still works."""
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshconfigs.config.flomesh.io"
    definition = control_plane.api("GET", crd)
    older = json.loads(json.dumps(definition))
    for version in older["spec"]["versions"]:
        mode = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["traffic"]["properties"]
        mode["interceptionMode"] = {"type": "string"}
    older = control_plane.api("PUT", crd, older)
    control_plane.wait(
        lambda: accepted(fsm, "Unsupported value", interceptionMode="iptables"), "the older CRD is in force"
    )
    definition["metadata"]["resourceVersion"] = older["metadata"]["resourceVersion"]
    control_plane.api("PUT", crd, definition)
    modes = (f"iptables-{number}" for number in itertools.count())
    control_plane.wait(
        lambda: not accepted(fsm, "Unsupported value", interceptionMode=next(modes)), "the newer CRD is in force"
    )
    done = fsm_plugin.run("exclude-port", "6379")
    assert done.returncode == 0, done.stderr
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == [6379]
    assert "has interceptionMode iptables" in done.stderr
    fsm.reset()


def test_without_the_right_to_list_pods_the_check_fails_closed(control_plane, fsm, fsm_plugin, web):
    rules = [
        {"apiGroups": ["config.flomesh.io"], "resources": ["meshconfigs"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps", "batch"], "resources": ["*"], "verbs": ["get", "list"]},
    ]
    kubeconfig = grant(control_plane, "half", rules)
    before = fsm.meshconfig()
    done = fsm_plugin.run("exclude-port", "6379", "--kubeconfig", kubeconfig)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error from server (Forbidden)" in done.stderr
    assert "pods" in done.stderr
    assert untouched(fsm, before)


def grant(control_plane, name, rules):
    """The kubeconfig of a user who has these rights in the whole cluster, once they count."""
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "name": name, "apiGroup": group}],
    }
    control_plane.apply(role, binding)
    user, first = User(control_plane, name), rules[0]
    one = Grant(first["verbs"][0], first["apiGroups"][0], first["resources"][0])
    control_plane.wait(lambda: user.may(one), "the rights count")
    return str(user.kubeconfig)


def test_two_meshes_and_a_global_edit(fsm, osm, fsm_plugin):
    done = fsm_plugin.run("exclude-port", "6379")
    assert (done.returncode, done.stdout) == (1, "")
    assert "2 meshes: fsm in fsm-system, osm in osm-system" in done.stderr
    assert "-N" in done.stderr
    named = fsm_plugin.run("exclude-port", "6379", "-N", "osm-system")
    assert named.returncode == 0, named.stderr
    assert osm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == [6379]
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == []


def test_no_mesh_at_all(control_plane, meshes, fsm_plugin):
    assert meshes == {}
    done = fsm_plugin.run("exclude-port", "6379")
    assert done.returncode == 1
    assert "has no FSM, osm-edge or OSM" in done.stderr


def test_services_by_name(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()

    def service(name, **spec):
        ports = {} if spec.get("type") == "ExternalName" else {"ports": [{"port": 80}]}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": shop},
            "spec": {**spec, **ports},
        }

    control_plane.apply(
        service("good"),
        service("headless", clusterIP="None"),
        service("out", type="ExternalName", externalName="x.example"),
    )
    address = control_plane.get("service", "good", shop)["spec"]["clusterIP"]
    api = control_plane.get("service", "kubernetes")["spec"]["clusterIP"]
    done = fsm_plugin.run("exclude-ip", f"svc/good.{shop}", "kubernetes-api", "cloud-metadata")
    assert done.returncode == 0, done.stderr
    assert fsm.meshconfig()["spec"]["traffic"]["outboundIPRangeExclusionList"] == [
        f"{address}/32",
        f"{api}/32",
        "169.254.169.254/32",
    ]
    for name, why in (("headless", "is headless"), ("out", "is an ExternalName"), ("missing", "not found")):
        done = fsm_plugin.run("exclude-ip", f"svc/{name}.{shop}")
        assert done.returncode == 1
        assert why in done.stderr


KEEPERS = {
    "flux": ({"kustomize.toolkit.fluxcd.io/name": "apps"}, {}, "kustomize-controller"),
    "helm": ({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "web"}, "helm"),
}


@pytest.mark.parametrize("keeper", KEEPERS)
@pytest.mark.parametrize("owns", [True, False])
def test_flux_and_helm(control_plane, fsm, fsm_plugin, keeper, owns):
    labels, annotations, manager = KEEPERS[keeper]
    shop = fsm.namespace()
    web = workloads.deployment("web", shop, {PORTS: "22"} if owns else None)
    web["metadata"] |= {"labels": labels, "annotations": annotations}
    control_plane.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(web))
    ready_pods(control_plane, shop, "web")
    scope = ("--workload=deploy/web", "-n", shop)
    done = fsm_plugin.run("exclude-port", "8081", *scope)
    if not owns:
        assert done.returncode == 0, done.stderr
        assert "keeps this object, without this field" in done.stderr
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert "owns this very field and would take the edit back" in done.stderr
    assert "flomesh.io/outbound-port-exclusion-list: 22,8081\n" in done.stderr, "the patch for Git"
    assert fsm_plugin.run("exclude-port", "8081", *scope, "--force").returncode == 0


def argo_application(control_plane, name, *, heals):
    """An application of Argo CD, which heals what it keeps or does not."""
    control_plane.serve(workloads.custom_resource("argoproj.io", "v1alpha1", "Application"))
    control_plane.apply(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"syncPolicy": {"automated": {"selfHeal": heals}}},
        }
    )


@pytest.mark.parametrize("heals", [True, False])
def test_argo_cd(control_plane, fsm, fsm_plugin, heals):
    shop = fsm.namespace()
    argo_application(control_plane, shop, heals=heals)
    web = workloads.deployment("web", shop)
    web["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": f"{shop}:apps/Deployment:{shop}/web"}
    control_plane.apply(web)
    ready_pods(control_plane, shop, "web")
    done = fsm_plugin.run("exclude-port", "8081", "--workload=deploy/web", "-n", shop)
    assert done.returncode == (1 if heals else 0), done.stderr
    assert "Argo CD" in done.stderr


def test_osms_crd_takes_what_the_plugin_lets_through(osm, fsm_plugin):
    for args in (
        ("exclude-ip", "10.0.0.0/8", "2.2.2.2/24"),
        ("exclude-port", "1", "65535"),
        ("exclude-interface", "net1"),
    ):
        done = fsm_plugin.run(*args, "--yes")
        assert done.returncode == 0, done.stderr
    traffic = osm.meshconfig()["spec"]["traffic"]
    assert traffic["outboundIPRangeExclusionList"] == ["10.0.0.0/8", "2.2.2.2/24"]
    assert traffic["outboundPortExclusionList"] == [1, 65535]


def test_a_template_and_the_meshconfig_count_together(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {PORTS: "1,2,3"}, replicas=0))
    fsm.set(outboundPortExclusionList=list(range(100, 112)))
    done = fsm_plugin.run("exclude-port", "80", "--workload=deploy/web", "-n", shop)
    assert (done.returncode, done.stdout) == (1, "")
    assert "16 outbound ports" in done.stderr


def test_two_meshes_and_a_pod_that_carries_the_marks_of_one(control_plane, fsm, osm, fsm_plugin):
    """Without the right to read namespaces the mesh is told by the pods; without pods nothing tells it."""
    shop = osm.namespace()
    control_plane.apply(workloads.deployment("web", shop), workloads.deployment("idle", shop, replicas=0))
    ready_pods(control_plane, shop, "web")
    everything_but_namespaces = [
        {"apiGroups": ["config.flomesh.io", "config.openservicemesh.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["apps", "batch"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    ]
    kubeconfig = grant(control_plane, "no-namespaces", everything_but_namespaces)
    done = fsm_plugin.run("exclude-port", "8081", "--workload=deploy/web", "-n", shop, "--kubeconfig", kubeconfig)
    assert done.returncode == 0, done.stderr
    annotations = control_plane.get("deployment", "web", shop)["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"openservicemesh.io/outbound-port-exclusion-list": "8081"}
    done = fsm_plugin.run("exclude-port", "8081", "--workload=deploy/idle", "-n", shop, "--kubeconfig", kubeconfig)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing tells which mesh deploy/idle belongs to: fsm in fsm-system, osm in osm-system" in done.stderr


@pytest.mark.usefixtures("fsm")
def test_a_group_that_is_served_without_meshconfigs(control_plane, fsm_plugin):
    control_plane.serve(workloads.custom_resource("config.openservicemesh.io", "v1alpha2", "MeshRootCertificate"))
    try:
        done = fsm_plugin.run("version")
        assert done.returncode == 0, done.stderr
        assert "Mesh: fsm 1.5.1" in done.stdout
    finally:
        control_plane.kubectl("delete", "crd", "meshrootcertificates.config.openservicemesh.io")


def test_apply_and_undo_lead_to_the_same_cluster_and_work(control_plane, fsm, fsm_plugin, web):
    kubeconfig = str(control_plane.user("admin-too", ["system:masters"]))
    done = fsm_plugin.run("exclude-port", "6379", "--kubeconfig", kubeconfig)
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if line.startswith(("Apply", "Undo")))
    assert lines["Apply"] == f"kubectl fsm restart deploy/web -n {web} --kubeconfig={kubeconfig}"
    applied = fsm_plugin.run(*lines["Apply"].split()[2:])
    assert (applied.returncode, "1/1 verified" in applied.stdout) == (0, True), applied.stderr
    undone = fsm_plugin.run(*lines["Undo"].split()[2:])
    assert undone.returncode == 0, undone.stderr
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == []
