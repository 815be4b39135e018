"""The control plane of the tests does what the tests take for granted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import workloads
from tests.support.control_plane import MERGE_PATCH, ApiFailure, ControlPlane
from tests.support.mesh import FSM, OSM, Mesh, meshconfig
from tests.support.plugin import Plugin


def running(cluster: ControlPlane, namespace: str, name: str) -> list[dict]:
    """The pods of a workload, once they are running and ready."""

    def ready() -> list[dict]:
        pods = cluster.list("pods", namespace, f"app={name}")
        return pods if pods and all(condition(pod, "Ready") == "True" for pod in pods) else []

    return cluster.wait(ready, f"pods of {name} are ready")


def condition(pod: dict, name: str) -> str:
    return next((one["status"] for one in pod["status"].get("conditions", []) if one["type"] == name), "")


def owner(obj: dict) -> dict:
    (reference,) = obj["metadata"]["ownerReferences"]
    return reference


def program(pid: str) -> str:
    """The name of the program that a process runs; empty once it has ended."""
    try:
        return Path(Path("/proc", pid, "cmdline").read_text().split("\0")[0]).name
    except FileNotFoundError:
        return ""


def test_versions_are_those_of_the_go_module(control_plane: ControlPlane):
    module = Path(__file__).parents[1] / "tools" / "kubernetes" / "go.mod"
    versions = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert f"k8s.io/kubernetes {versions['serverVersion']['gitVersion']} " in module.read_text()
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"]
    assert versions["serverVersion"]["minor"] == versions["serverVersion"]["gitVersion"].split(".")[1]


@pytest.mark.parametrize("make", [workloads.deployment, workloads.stateful_set, workloads.daemon_set])
def test_pods_of_a_workload_run_and_name_their_owner(control_plane: ControlPlane, namespace: str, make):
    control_plane.apply(make("web", namespace))
    (pod,) = running(control_plane, namespace, "web")
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("10.244.")
    top = owner(pod)
    if top["kind"] == "ReplicaSet":
        top = owner(control_plane.get("replicaset", top["name"], namespace))
    assert (top["kind"], top["name"]) == (make("web", namespace)["kind"], "web")


def test_a_rollout_replaces_every_pod(control_plane: ControlPlane, namespace: str):
    control_plane.apply(workloads.deployment("web", namespace, replicas=2))
    before = {pod["metadata"]["name"] for pod in running(control_plane, namespace, "web")}
    control_plane.apply(workloads.deployment("web", namespace, {"changed": "yes"}, replicas=2))
    control_plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=30s")
    control_plane.wait(lambda: len(control_plane.list("pods", namespace)) == 2, "the old pods are gone")
    after = {pod["metadata"]["name"] for pod in running(control_plane, namespace, "web")}
    assert not before & after


def test_what_a_deleted_workload_owned_is_collected(control_plane: ControlPlane, namespace: str):
    control_plane.apply(workloads.deployment("web", namespace))
    running(control_plane, namespace, "web")
    control_plane.kubectl("delete", "deployment", "web", "-n", namespace)
    control_plane.wait(lambda: not control_plane.list("pods", namespace), "the pods are gone")


def test_a_jobs_pod_ends_when_it_is_told_to(control_plane: ControlPlane, namespace: str):
    control_plane.apply(
        workloads.job("once", namespace, {"kubectl-fsm.test/completes": ""}), workloads.job("forever", namespace)
    )
    done = control_plane.kubectl("wait", "job/once", "-n", namespace, "--for=condition=Complete", "--timeout=30s")
    assert "condition met" in done.stdout
    (pod,) = running(control_plane, namespace, "forever")
    assert owner(pod)["kind"] == "Job"


def test_a_cron_jobs_run_is_owned_by_it(control_plane: ControlPlane, namespace: str):
    control_plane.apply(workloads.cron_job("nightly", namespace))
    control_plane.kubectl("create", "job", "now", "--from=cronjob/nightly", "-n", namespace)
    (pod,) = running(control_plane, namespace, "nightly")
    run = control_plane.get("job", owner(pod)["name"], namespace)
    assert (owner(run)["kind"], owner(run)["name"]) == ("CronJob", "nightly")


def test_owners_that_are_custom_resources(control_plane: ControlPlane, namespace: str):
    control_plane.serve(workloads.DATABASE_CRD, workloads.CLONE_SET_CRD, workloads.ROLLOUT_CRD)
    control_plane.apply(workloads.database("orders", namespace), workloads.clone_set("clones", namespace))
    control_plane.apply(workloads.rollout("canary", namespace, "web"))
    database = control_plane.get("database", "orders", namespace)
    clones = control_plane.get("clone", "clones", namespace)
    control_plane.apply(
        workloads.owned(workloads.stateful_set("orders", namespace), database),
        workloads.pod("clones", namespace, owner=clones),
    )
    (pod,) = running(control_plane, namespace, "orders")
    assert owner(control_plane.get("statefulset", owner(pod)["name"], namespace))["kind"] == "Database"
    (pod,) = running(control_plane, namespace, "clones")
    assert owner(pod)["kind"] == "CloneSet"
    assert control_plane.get("ro", "canary", namespace)["spec"]["workloadRef"]["name"] == "web"


def test_a_failing_init_container_keeps_the_pod_pending(control_plane: ControlPlane, namespace: str):
    pod = workloads.pod("broken", namespace, {"kubectl-fsm.test/init-fails": 'too many "ports" specified'})
    pod["spec"]["initContainers"] = [{"name": name, "image": "example.com/init:1"} for name in ("first", "last")]
    control_plane.apply(pod)

    def statuses() -> list[dict]:
        return control_plane.get("pod", "broken", namespace)["status"].get("initContainerStatuses", [])

    first, last = control_plane.wait(statuses, "init containers have a status")
    assert first["state"]["terminated"]["exitCode"] == 0
    assert last["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert last["lastState"]["terminated"]["exitCode"] == 2
    assert last["lastState"]["terminated"]["message"] == 'too many "ports" specified'
    assert control_plane.get("pod", "broken", namespace)["status"]["phase"] == "Pending"


def test_rights_are_enforced_for_certificates_and_tokens(control_plane: ControlPlane, namespace: str):
    person = control_plane.user("dev", ["readers"], namespace)
    robot = control_plane.credentials("robot", {"token": control_plane.token}, namespace)
    for kubeconfig, name in ((person, "dev"), (robot, "token-user")):
        refused = control_plane.kubectl("get", "pods", kubeconfig=kubeconfig, check=False)
        assert f'Error from server (Forbidden): pods is forbidden: User "{name}"' in refused.stderr
    control_plane.kubectl("create", "rolebinding", "r", "--clusterrole=view", "--group=readers", "-n", namespace)
    control_plane.wait(
        lambda: control_plane.kubectl("get", "pods", kubeconfig=person, check=False).returncode == 0, "readers can read"
    )


def test_an_expired_certificate_and_a_wrong_token_are_nobody(control_plane: ControlPlane):
    expired = control_plane.user("late", ["system:masters"], expired=True)
    wrong = control_plane.credentials("wrong", {"token": "wrong"})
    for kubeconfig in (expired, wrong):
        refused = control_plane.kubectl("get", "pods", kubeconfig=kubeconfig, check=False)
        assert "Unauthorized" in refused.stderr


def test_fsm_requires_its_lists_but_does_not_bound_them(control_plane: ControlPlane, fsm: Mesh):
    fsm.set(outboundPortExclusionList=[70000], outboundIPRangeExclusionList=["fd00::/8"])
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == [70000]
    with pytest.raises(ApiFailure, match="outboundPortExclusionList: Required value") as removed:
        fsm.set(outboundPortExclusionList=None)
    assert removed.value.status == 422
    with pytest.raises(ApiFailure, match=r"interceptionMode: Unsupported value: \\\"iptables\\\"") as mode:
        fsm.set(interceptionMode="iptables")
    assert mode.value.status == 422


@pytest.mark.parametrize("part", ["connector", "image", "misc"])
def test_fsm_requires_parts_of_its_spec(control_plane: ControlPlane, fsm: Mesh, part: str):
    with pytest.raises(ApiFailure, match=f"spec.{part}: Required value"):
        control_plane.api("PATCH", FSM.meshconfig_path, {"spec": {part: None}}, MERGE_PATCH)


def test_osm_bounds_its_lists_at_one_end(control_plane: ControlPlane, osm: Mesh):
    for wrong in (
        {"outboundPortExclusionList": [0]},
        {"inboundPortExclusionList": [65536]},
        {"outboundIPRangeExclusionList": ["1.1.1.1"]},
        {"outboundIPRangeInclusionList": ["1.1.1.1/33"]},
        {"inboundPortExclusionList": None},
    ):
        with pytest.raises(ApiFailure) as refused:
            osm.set(**wrong)
        assert refused.value.status == 422
    osm.set(outboundIPRangeExclusionList=["$(x)1.1.1.1/32"], outboundPortExclusionList=[65535])


@pytest.mark.parametrize("mesh", ["fsm", "osm"], indirect=True)
def test_a_put_through_the_first_version_erases_what_it_does_not_know(control_plane: ControlPlane, mesh: Mesh):
    mesh.set(outboundIPRangeInclusionList=["10.0.0.0/8"], outboundPortExclusionList=[6379])
    old_path = mesh.flavour.meshconfig_path.replace(mesh.flavour.storage, "v1alpha1")
    old = control_plane.api("GET", old_path)
    control_plane.api("PUT", old_path, old)
    traffic = mesh.meshconfig()["spec"]["traffic"]
    assert "outboundIPRangeInclusionList" not in traffic
    assert "networkInterfaceExclusionList" not in traffic
    assert traffic["outboundPortExclusionList"] == [6379]


def test_a_mesh_has_its_control_plane_and_a_fresh_meshconfig(control_plane: ControlPlane, fsm: Mesh):
    assert fsm.meshconfig()["spec"] == meshconfig(FSM)["spec"]
    labels = control_plane.get("deployment", "fsm-controller", "fsm-system")["metadata"]["labels"]
    assert labels == {"app": "fsm-controller", "meshName": "fsm", "app.kubernetes.io/version": "1.5.1"}
    fsm.set(inboundPortExclusionList=[1])
    fsm.reset()
    assert fsm.meshconfig()["spec"]["traffic"]["inboundPortExclusionList"] == []


def test_no_namespace_of_an_earlier_test_is_in_the_mesh(control_plane: ControlPlane, fsm: Mesh):
    name = fsm.namespace()
    selector = "/api/v1/namespaces?labelSelector=flomesh.io/monitored-by%3Dfsm"
    assert [item["metadata"]["name"] for item in control_plane.api("GET", selector)["items"]] == [name]
    fsm.empty()
    assert control_plane.api("GET", selector)["items"] == []


def test_only_the_meshes_asked_for_are_there(control_plane: ControlPlane, osm: Mesh):
    groups = [group["name"] for group in control_plane.api("GET", "/apis")["groups"]]
    assert OSM.group in groups
    assert FSM.group not in groups


def test_pods_are_injected_with_the_lists_of_that_moment(control_plane: ControlPlane, mesh: Mesh):
    prefix, namespace = mesh.flavour.prefix, mesh.namespace()
    mesh.set(outboundPortExclusionList=[6379])
    annotations = {f"{prefix}outbound-port-exclusion-list": "7000"}
    control_plane.apply(workloads.deployment("web", namespace, annotations))
    (pod,) = running(control_plane, namespace, "web")
    (init,) = pod["spec"]["initContainers"]
    assert init["name"] == f"{mesh.flavour.name}-init"
    assert init["command"] == ["/bin/sh"]
    assert init["args"][0] == "-c"
    assert "--dports 6379,7000 " in init["args"][1]
    assert init["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert [container["name"] for container in pod["spec"]["containers"]] == ["web", mesh.flavour.sidecar]
    assert f"{mesh.flavour.name}-proxy-uuid" in pod["metadata"]["labels"]


def test_the_injector_comes_after_the_applications_own_init_containers(control_plane: ControlPlane, fsm: Mesh):
    pod = workloads.pod("web", fsm.namespace())
    pod["spec"]["initContainers"] = [{"name": "own", "image": "example.com/init:1"}]
    control_plane.apply(pod)
    created = control_plane.get("pod", "web", pod["metadata"]["namespace"])
    assert [container["name"] for container in created["spec"]["initContainers"]] == ["own", "fsm-init"]


@pytest.mark.parametrize(
    ("annotations", "outcome"),
    [
        ({"flomesh.io/sidecar-injection": "Disabled"}, "not injected"),
        ({"flomesh.io/sidecar-injection": "YES"}, "injected"),
        ({"flomesh.io/sidecar-injection": "maybe"}, "Invalid annotation value"),
        (
            {"flomesh.io/outbound-port-exclusion-list": "80-90"},
            "Invalid port value '80-90' specified for annotation 'flomesh.io/outbound-port-exclusion-list'",
        ),
    ],
)
def test_annotations_decide_about_a_pod(control_plane: ControlPlane, fsm: Mesh, annotations: dict, outcome: str):
    namespace = fsm.namespace()
    path = f"/api/v1/namespaces/{namespace}/pods"
    if outcome.startswith("Invalid"):
        with pytest.raises(ApiFailure, match=outcome):
            control_plane.api("POST", path, workloads.pod("web", namespace, annotations))
    else:
        pod = control_plane.api("POST", path, workloads.pod("web", namespace, annotations))
        assert ("initContainers" in pod["spec"]) is (outcome == "injected")


def test_without_pod_level_interception_there_is_a_label_and_no_init_container(control_plane: ControlPlane, fsm: Mesh):
    fsm.set(interceptionMode="NodeLevel")
    namespace = fsm.namespace()
    pod = control_plane.api("POST", f"/api/v1/namespaces/{namespace}/pods", workloads.pod("web", namespace))
    assert "initContainers" not in pod["spec"]
    assert "fsm-proxy-uuid" in pod["metadata"]["labels"]


def test_pods_outside_the_mesh_are_left_alone(control_plane: ControlPlane, fsm: Mesh):
    namespace = control_plane.new_namespace(annotations={"flomesh.io/sidecar-injection": "enabled"})
    pod = control_plane.api("POST", f"/api/v1/namespaces/{namespace}/pods", workloads.pod("web", namespace))
    assert "initContainers" not in pod["spec"]
    assert len(pod["spec"]["containers"]) == 1


def test_the_plugin_starts_without_anything_of_the_users(fsm_plugin: Plugin):
    done = fsm_plugin.run("--help")
    assert done.returncode == 0, done.stderr
    assert "exclude-port" in done.stdout
    assert list(Path(fsm_plugin.environment["HOME"]).iterdir()) == []


def test_a_killed_test_run_leaves_no_process(tmp_path: Path, control_plane: ControlPlane):
    script = """
import time
from tests.support.control_plane import ControlPlane
cluster = ControlPlane()
cluster._start_storage()
print(cluster._processes["etcd"].pid, flush=True)
time.sleep(20)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout
        pid = parent.stdout.readline().strip()
        control_plane.wait(lambda: program(pid) == "etcd", "etcd runs", seconds=10)
        parent.kill()
    control_plane.wait(lambda: program(pid) != "etcd", "etcd is gone", seconds=10)
