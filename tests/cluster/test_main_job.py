"""The main job on a real API server: exclusions set, effective rules shown."""

import json
import subprocess

import pytest

from kubectl_fsm import __version__, generator
from tests.support import workloads
from tests.support.plugin import EXECUTABLE

PORTS = "flomesh.io/outbound-port-exclusion-list"


def ready_pods(cluster, namespace, name, count=1):
    """The pods of a workload once so many are ready and no other is left."""

    def look():
        pods = cluster.list("pods", namespace, f"app={name}")
        conditions = [{c["type"]: c["status"] for c in pod["status"].get("conditions", [])} for pod in pods]
        return pods if len(pods) == count and all(c.get("Ready") == "True" for c in conditions) else []

    return cluster.wait(look, f"{count} pods of {name} are ready")


def rules(plugin, *args):
    done = plugin.run("rules", *args, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["items"]


def states(item):
    return {(entry["list"], entry["value"]): entry["state"] for entry in item["exclusions"]}


def test_the_three_lines(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=2))
    first = ready_pods(control_plane, shop, "web", 2)[0]["metadata"]["name"]

    done = fsm_plugin.run("exclude-port", "6379")
    assert done.returncode == 0, done.stderr
    assert "outbound-port: [] → [6379]" in done.stdout
    assert "2 of 2 pods run outdated rules; every new pod gets it from now on" in done.stdout
    assert f"Apply: kubectl fsm restart deploy/web -n {shop}" in done.stdout
    assert "Undo: kubectl fsm exclude-port --remove 6379" in done.stdout
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == [6379]

    (item,) = rules(fsm_plugin, first, "-n", shop)
    assert item["state"] == "outdated"
    assert states(item) == {("outbound-port", "6379"): "pending"}
    assert item["workload"] == "deploy/web"
    assert item["mesh"] == {"name": "fsm", "version": "1.5.1", "namespace": "fsm-system"}

    fsm.wait_for_injector()
    done = fsm_plugin.run("exclude-port", "8080", "--pod", first, "-n", shop)
    assert done.returncode == 0, done.stderr
    assert f"deploy/web in {shop} (2 replicas): an edit of its pod template starts its rollout at once" in done.stderr
    template = control_plane.get("deployment", "web", shop)["spec"]["template"]
    assert template["metadata"]["annotations"] == {PORTS: "8080"}

    control_plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    pod = ready_pods(control_plane, shop, "web", 2)[0]
    (item,) = rules(fsm_plugin, pod["metadata"]["name"], "-n", shop)
    assert item["state"] == "current"
    assert item["sidecar"] == "ready"
    assert [(entry["value"], entry["sources"], entry["state"]) for entry in item["exclusions"]] == [
        ("6379", ["MeshConfig"], "programmed"),
        ("8080", ["deploy/web template"], "programmed"),
    ]
    assert {rule["chain"] for rule in item["rules"]} >= {"OUTPUT", "FSM_PROXY_OUTBOUND", "PREROUTING"}

    script = fsm_plugin.run("rules", pod["metadata"]["name"], "-n", shop, "-o", "iptables").stdout
    (init,) = pod["spec"]["initContainers"]
    assert script == init["args"][1] == generator.render("fsm-1.5", {PORTS: "8080"}, fsm.meshconfig()["spec"])

    table = fsm_plugin.run("rules", pod["metadata"]["name"], "-n", shop).stdout
    assert "· deploy/web · mesh fsm 1.5.1 (fsm-system) · sidecar ready · CURRENT" in table.splitlines()[0]
    assert "port 6379, 8080" in table


@pytest.mark.parametrize("mesh", ["osm", "osm_edge"], indirect=True)
def test_the_other_meshes(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    (pod,) = ready_pods(control_plane, shop, "web")
    assert fsm_plugin.run("exclude-ip", "10.1.2.3").returncode == 0
    (item,) = rules(fsm_plugin, pod["metadata"]["name"], "-n", shop)
    assert item["mesh"]["name"] == mesh.flavour.title.lower()
    assert item["injector"] == mesh.flavour.injector
    assert states(item) == {("outbound-ip", "10.1.2.3/32"): "pending"}
    mesh.wait_for_injector()
    done = fsm_plugin.run("include-ip", "10.0.0.0/8", "--workload=deploy/web", "-n", shop, "--yes")
    assert done.returncode == 0, done.stderr
    control_plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    (pod,) = ready_pods(control_plane, shop, "web")
    (item,) = rules(fsm_plugin, pod["metadata"]["name"], "-n", shop)
    assert item["state"] == "current"
    assert set(states(item).values()) == {"programmed"}


def test_states_of_pods(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    fails = {"kubectl-fsm.test/init-fails": "iptables-restore v1.8.9: too many ports specified"}
    control_plane.apply(
        workloads.deployment("plain", shop, {"flomesh.io/sidecar-injection": "disabled"}),
        workloads.deployment("broken", shop, fails),
        workloads.deployment("good", shop),
    )
    ready_pods(control_plane, shop, "plain")
    ready_pods(control_plane, shop, "good")
    control_plane.wait(
        lambda: any(
            status.get("lastState", {}).get("terminated")
            for pod in control_plane.list("pods", shop, "app=broken")
            for status in pod["status"].get("initContainerStatuses", [])
        ),
        "the init container has failed",
    )
    found = {item["workload"]: item for item in rules(fsm_plugin, "-n", shop)}
    assert found["deploy/plain"]["state"] == "not-injected"
    assert "annotated flomesh.io/sidecar-injection: disabled" in found["deploy/plain"]["reason"]
    assert found["deploy/broken"]["state"] == "failed"
    assert "too many ports specified" in found["deploy/broken"]["reason"]
    assert found["deploy/good"]["state"] == "current"

    fsm.set(interceptionMode="NodeLevel")
    control_plane.apply(workloads.deployment("node", shop))
    ready_pods(control_plane, shop, "node")
    found = {item["workload"]: item for item in rules(fsm_plugin, "-n", shop)}
    assert (found["deploy/node"]["state"], found["deploy/node"]["reason"]) == (
        "no-interception",
        "interceptionMode NodeLevel",
    )
    assert found["deploy/good"]["state"] == "outdated"
    assert fsm_plugin.run("rules", "-n", shop, "--exit-code").returncode == 3
    done = fsm_plugin.run("exclude-port", "6379")
    assert done.returncode == 0
    assert "warning: fsm 1.5.1 (fsm-system) has interceptionMode NodeLevel" in done.stderr


@pytest.mark.usefixtures("fsm")
def test_kubectl_finds_the_plugin(control_plane, fsm_plugin):
    """As users call it: kubectl looks for `kubectl-fsm` on PATH and hands over arguments and environment."""
    path = f"{EXECUTABLE.parent}:{fsm_plugin.environment['PATH']}"
    done = subprocess.run(
        ["kubectl", "fsm", "version"],
        env={**fsm_plugin.environment, "PATH": path},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith(f"Client: {__version__}\nMesh: fsm 1.5.1")


@pytest.mark.usefixtures("fsm")
def test_version(fsm_plugin):
    done = fsm_plugin.run("version")
    assert "Mesh: fsm 1.5.1 in fsm-system, injector fsm-1.5" in done.stdout


def test_a_version_that_is_not_shown_is_read_off_a_running_pod(control_plane, fsm, fsm_plugin):
    """Without the control plane's label the mode tells, and where it fits two generations a pod's rules do."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    control_plane.kubectl("label", "deployment", "fsm-injector", "-n", "fsm-system", "app.kubernetes.io/version-")
    try:
        version = json.loads(fsm_plugin.run("version", "-o", "json").stdout)
        assert [(mesh["version"], mesh["injector"]) for mesh in version["meshes"]] == [(None, "fsm-1.5")]
        (item,) = rules(fsm_plugin, "-n", shop)
        assert item["state"] == "current"
        assert any("which fits its pods' rules" in note for note in item["notes"])
    finally:
        label = "app.kubernetes.io/version=1.5.1"
        control_plane.kubectl("label", "deployment", "fsm-injector", "-n", "fsm-system", label)


def test_exclusions_with_writers(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", shop, {PORTS: "8080", "openservicemesh.io/inbound-port-exclusion-list": "9"})
    )
    (pod,) = ready_pods(control_plane, shop, "web")
    name = pod["metadata"]["name"]
    control_plane.kubectl("annotate", "pod", name, "-n", shop, "flomesh.io/inbound-port-exclusion-list=9090")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "old", "namespace": shop}}
    service["metadata"]["annotations"] = {"flomesh.io/service-exclusion": "true"}
    control_plane.apply({**service, "spec": {"ports": [{"port": 80}]}})
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    done = fsm_plugin.run("exclusions", "-n", shop, "-o", "json")
    assert done.returncode == 0, done.stderr
    items = {item["object"]: item for item in json.loads(done.stdout)["items"]}
    (entry,) = items["MeshConfig/fsm-mesh-config"]["entries"]
    assert (entry["value"], entry["writtenBy"]["manager"]) == ("6379", "fsm-plugin")
    web = {entry["list"]: entry for entry in items["deploy/web"]["entries"]}
    assert web["outbound-port"]["note"] is None
    assert "does nothing under FSM" in web["inbound-port"]["note"]
    stray = items[f"pod/{name}"]
    assert [entry["value"] for entry in stray["entries"]] == ["9090"]
    assert stray["note"] == "not on deploy/web's template; goes with the pod"
    assert items["svc/old"]["scope"] == "service"
    wide = fsm_plugin.run("exclusions", "-n", shop, "-o", "wide").stdout
    assert "LIST LAST WRITTEN BY" in wide
    assert "fsm-plugin 20" in wide
    assert fsm_plugin.run("exclusions", "--export=helm-set").stdout.splitlines()[0] == (
        "'--set=fsm.outboundPortExclusionList={6379}'"
    )
