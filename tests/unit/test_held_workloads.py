"""What of a workload and of a pod's status counts."""

import pytest

from kubectl_fsm import rollouts, workloads

CONTAINERS = {"spec": {"containers": [{"name": "app"}]}}


@pytest.mark.parametrize(
    ("obj", "count"),
    [
        ({"status": {"replicas": 2}, "spec": {"replicas": 3}}, 2),
        ({"status": {"currentNumberScheduled": 4}}, 4),
        ({"status": {}, "spec": {"replicas": 0}}, 0),
        ({"spec": {"replicas": "3"}}, None),
        ({}, None),
    ],
)
def test_replicas(obj, count):
    assert workloads.replicas(obj) == count


@pytest.mark.parametrize(
    ("obj", "template"),
    [
        ({"kind": "Pod", **CONTAINERS}, {"kind": "Pod", **CONTAINERS}),
        ({"kind": "Deployment", "spec": {"template": CONTAINERS}}, CONTAINERS),
        ({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": CONTAINERS}}}}, CONTAINERS),
        ({"kind": "Odd", "spec": {"template": {"spec": {"containers": []}}}}, None),
        ({"kind": "Odd", "spec": {"template": "x"}}, None),
    ],
)
def test_where_a_pod_template_is(obj, template):
    assert workloads.template(obj) == template


def test_an_argo_rollout_may_use_the_template_of_another_workload():
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    assert workloads.template_reference({"spec": {"workloadRef": reference}}) == ("apps/v1", "Deployment", "web", "")
    assert workloads.template_reference({"spec": {"workloadRef": "web"}}) is None
    assert workloads.template_reference({}) is None


def test_the_controller_is_the_one_owner_that_counts():
    owners = [
        {"kind": "A", "name": "a"},
        {"apiVersion": "v1", "kind": "B", "name": "b", "uid": "u", "controller": True},
    ]
    assert workloads.controller({"metadata": {"ownerReferences": owners}}) == ("v1", "B", "b", "u")
    assert workloads.controller({"metadata": {"ownerReferences": owners[:1]}}) is None


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("Deployment", {"paused": False}, ""),
        ("Deployment", {"paused": True}, "its rollout is paused: no pod is replaced until it is resumed"),
        ("CronJob", {}, "its next runs have it"),
        ("ReplicaSet", {}, "a ReplicaSet replaces no pods: those it makes from now on have it"),
        ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "its pods have it when they are deleted (OnDelete)"),
        ("Clone", {"strategy": {"type": "OnDelete"}}, "its pods have it when they are deleted (OnDelete)"),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate"}}, ""),
    ],
)
def test_what_holds_a_rollout_back(kind, spec, why):
    assert rollouts.holds_back({"kind": kind, "spec": spec}) == why


@pytest.mark.parametrize(
    ("phase", "ended"), [("Succeeded", True), ("Failed", True), ("Running", False), ("Pending", False)]
)
def test_finished(phase, ended):
    assert workloads.finished({"status": {"phase": phase}}) is ended


@pytest.mark.parametrize(
    ("command", "args", "script"),
    [
        (["sh"], ["-c", "x"], "x"),
        (["/bin/sh", "-c"], ["x"], "x"),
        (["/bin/bash", "-c", "x"], [], "x"),
        (["/bin/sh", "-x"], ["y"], ""),
        (["python", "-c"], ["x"], ""),
        (["xsh", "-c"], ["x"], ""),
        (["sh", "-c"], ["x", "y"], ""),
    ],
)
def test_the_script_of_a_container(command, args, script):
    assert workloads.script({"command": command, "args": args}) == script


ENDED = {"exitCode": 4, "reason": "Error", "message": " no \n"}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": {"terminated": ENDED}}, "Error, exit code 4: no"),
        ({"state": {"terminated": {"exitCode": 1}}}, "Error, exit code 1"),
        ({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, "OOMKilled, exit code 137"),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ENDED}},
            "Error, exit code 4: no",
        ),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "ImagePullBackOff"),
        ({"state": {"waiting": {"reason": "PodInitializing"}}}, ""),
        ({"state": {"waiting": {}}}, ""),
        ({"state": {"running": {}}}, ""),
        ({"state": {"terminated": {"exitCode": 0}}}, ""),
        ({"name": "app-init", "state": {"terminated": ENDED}}, ""),
    ],
)
def test_why_an_init_container_has_failed(status, said):
    pod = {"status": {"initContainerStatuses": [{"name": "other"}, {"name": "fsm-init", **status}]}}
    assert workloads.failure(pod, "fsm-init") == said


def test_only_the_init_container_that_is_asked_about_has_ended_well():
    statuses = [
        {"name": "other", "state": {"terminated": {"exitCode": 0}}},
        {"name": "fsm-init", "state": {"terminated": {"exitCode": 1}}},
    ]
    pod = {"status": {"initContainerStatuses": statuses}}
    assert (workloads.succeeded(pod, "other"), workloads.succeeded(pod, "fsm-init")) == (True, False)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"containerStatuses": [{"name": "app", "ready": False}, {"name": "sidecar", "ready": True}]}, "ready"),
        ({"containerStatuses": [{"name": "sidecar", "ready": False}]}, "not ready"),
        ({"initContainerStatuses": [{"name": "sidecar", "ready": True}]}, "ready"),
        ({"containerStatuses": [{"name": "app", "ready": True}]}, ""),
    ],
)
def test_readiness_of_the_sidecar(status, said):
    assert workloads.container_readiness({"status": status}, "sidecar") == said


def test_ports_of_the_application():
    containers = [
        {"name": "app", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]},
        {"name": "api", "ports": [{"containerPort": 443, "protocol": "TCP"}, {"containerPort": "x"}]},
        {"name": "sidecar", "ports": [{"containerPort": 15001}]},
    ]
    before = [
        {"name": "metrics", "restartPolicy": "Always", "ports": [{"containerPort": 9100}]},
        {"name": "migration", "ports": [{"containerPort": 9200}]},
    ]
    spec = {"containers": containers, "initContainers": before}
    assert workloads.container_ports({"spec": spec}, "sidecar") == {80, 443, 9100}
