"""Restarts of many workloads on a real control plane: whose turn it is, what stops them, and how they are resumed."""

import itertools
import json
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubectl_fsm import generator
from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_restart import items, restarted_at, results, scripts, slowly
from tests.support import workloads
from tests.support.plugin import EXECUTABLE

POLICY = "admissionregistration.k8s.io/v1"


@pytest.fixture
def folder(tmp_path):
    """Where plan files are left."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def shop(control_plane, fsm):
    """A namespace whose Deployments a, b and c run outdated rules: what a policy of the test refuses in it, see `denied`."""
    name = fsm.namespace()
    control_plane.apply(*(workloads.deployment(one, name) for one in "abc"))
    for one in "abc":
        ready_pods(control_plane, name, one)
    fsm.set(outboundPortExclusionList=[6379])
    return name


@pytest.fixture
def denied(control_plane, shop):
    """Pods of b are refused by an admission that a dry run does not meet, until the function that this gives is called."""
    title = f"signed-{shop}"
    dry = "has(request.dryRun) && request.dryRun"
    label = "object.metadata.?labels.app.orValue('')"
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "matchConstraints": {"resourceRules": [rules]},
        "matchConditions": [
            {"name": "b", "expression": f"!({dry}) && request.namespace == '{shop}' && {label} == 'b'"}
        ],
        "validations": [{"expression": "false", "message": "the image is not signed"}],
    }
    binding = {"policyName": title, "validationActions": ["Deny"]}
    control_plane.apply(
        {"apiVersion": POLICY, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": title}, "spec": policy},
        {
            "apiVersion": POLICY,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": title},
            "spec": binding,
        },
    )
    control_plane.kubectl(
        "patch", "deploy/b", "-n", shop, "--type=merge", "-p", '{"spec":{"progressDeadlineSeconds":3}}'
    )
    probe = {**workloads.pod("probe", shop), "metadata": {"name": "probe", "namespace": shop, "labels": {"app": "b"}}}

    def refused():
        done = control_plane.kubectl("create", "-f", "-", stdin=json.dumps(probe), check=False)
        if done.returncode == 0:
            control_plane.kubectl("delete", "pod/probe", "-n", shop, "--now")
        return done.returncode != 0

    def admit():
        control_plane.kubectl(
            "delete", f"validatingadmissionpolicybinding/{title}", f"validatingadmissionpolicy/{title}"
        )
        control_plane.wait(lambda: not refused(), "the policy is gone")

    control_plane.wait(refused, "the policy counts")
    yield admit
    control_plane.kubectl("delete", "validatingadmissionpolicybinding", title, "--ignore-not-found")
    control_plane.kubectl("delete", "validatingadmissionpolicy", title, "--ignore-not-found")


def plan(folder):
    """The plan file that was left, and what it holds."""
    (path,) = folder.glob("fsm-restart-*.json")
    return path, json.loads(path.read_text())


def states(folder):
    return {item["name"]: item["state"] for item in plan(folder)[1]["items"]}


def started(fsm_plugin, folder, *words):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits it where it is ignored
    try:
        return subprocess.Popen(
            [EXECUTABLE, *words],
            env=fsm_plugin.environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def ended(process):
    """What a command that was started has still to say, once it has ended."""
    out, complaint = process.stdout.read(), process.stderr.read()
    return subprocess.CompletedProcess(process.args, process.wait(), out, complaint)


@contextmanager
def a_rolls(control_plane, fsm, fsm_plugin, folder, *, seconds):
    """A restart of a, whose three pods take so long each, and then of b; while a rolls the block runs."""
    shop = fsm.namespace()
    control_plane.apply(slowly(workloads.deployment("a", shop, replicas=3), seconds), workloads.deployment("b", shop))
    ready_pods(control_plane, shop, "a", 3)
    ready_pods(control_plane, shop, "b")
    fsm.set(outboundPortExclusionList=[6379])
    with started(fsm_plugin, folder, "restart", "--all", "-n", shop, "--yes") as process:
        control_plane.wait(lambda: revisions(control_plane, shop, "a") == 2, "a rolls")
        yield shop, process


def moments(control_plane, shop, names="abc"):
    return {name: restarted_at(control_plane, "deploy", name, shop) for name in names}


def revisions(control_plane, shop, name):
    return len(control_plane.list("replicasets", shop, f"app={name}"))


def test_the_order_is_namespaces_then_kinds(control_plane, fsm, fsm_plugin):
    first, second = sorted(fsm.namespace() for _ in range(2))
    makes = (workloads.daemon_set, workloads.stateful_set, workloads.deployment)
    control_plane.apply(*(make("x", place) for make in makes for place in (second, first)))
    for place in (first, second):
        control_plane.wait(lambda place=place: len(ready_pods(control_plane, place, "x", 3)) == 3, "pods are ready")
    fsm.set(outboundPortExclusionList=[6379])
    done = fsm_plugin.run("restart", "-A", "--dry-run", "-o", "json")
    found = [(item["namespace"], item["workload"]) for item in json.loads(done.stdout)["items"]]
    kinds = ("deploy/x", "sts/x", "ds/x")
    assert [one for one in found if one[0] in (first, second)] == [(p, k) for p in (first, second) for k in kinds]


def test_side_by_side(control_plane, fsm, fsm_plugin, folder):
    """Three at a time: all three roll before the first has ended, and a fourth waits for room."""
    shop = fsm.namespace()
    names = "abcd"
    control_plane.apply(*(slowly(workloads.deployment(name, shop), 2) for name in names))
    for name in names:
        ready_pods(control_plane, shop, name)
    fsm.set(outboundPortExclusionList=[6379])
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "--max-parallel=3", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    steps = [(one["workload"], one["state"]) for one in events if one["state"] in ("begun", "done")]
    assert [state for _, state in steps[:4]] == ["begun", "begun", "begun", "done"]
    assert {name for name, _ in steps[:3]} == {"deploy/a", "deploy/b", "deploy/c"}
    running = list(itertools.accumulate(1 if state == "begun" else -1 for _, state in steps))
    assert (max(running), running[-1]) == (3, 0)
    assert results(done) == dict.fromkeys(map("deploy/{}".format, names), "done")
    assert not list(folder.iterdir()), "nothing is left to do, so no plan is left"


def test_a_failure_leaves_a_plan_that_goes_on(control_plane, fsm_plugin, shop, denied, folder):
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json", cwd=folder)
    assert done.returncode == 1
    assert results(done) == {"deploy/a": "done", "deploy/b": "failed", "deploy/c": "not begun"}
    assert "the image is not signed" in items(done)["deploy/b"]["detail"]
    path, held = plan(folder)
    uid = control_plane.get("namespaces", "kube-system")["metadata"]["uid"]
    assert (held["cluster"], held["meshes"]) == (uid, ["fsm fsm fsm-system"])
    assert states(folder) == {"a": "done", "b": "failed", "c": "waiting"}
    assert path.stat().st_mode & 0o777 == 0o600
    resume = ("restart", "--resume", f"./{path.name}")
    assert f"kubectl fsm {' '.join(resume)}" in done.stderr
    before = moments(control_plane, shop)

    denied()
    done = fsm_plugin.run(*resume, "--yes", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {name: result for name, result in results(done).items() if name != "deploy/b"} == {"deploy/c": "done"}
    after = moments(control_plane, shop)
    assert after["a"] == before["a"], "what was done is not done again"
    announced = {generator.render("fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": [6379]}})}
    for name in "abc":
        assert scripts(ready_pods(control_plane, shop, name)) == announced
    assert not list(folder.iterdir())


def test_another_cluster_refuses_the_plan(control_plane, fsm_plugin, shop, denied, folder):
    fsm_plugin.run("restart", "--all", "-n", shop, "--yes", cwd=folder)
    path, held = plan(folder)
    before = moments(control_plane, shop)
    for change, said in (
        ({"cluster": "0c5b"}, "error: the plan is for another cluster than context test"),
        ({"meshes": ["osm osm osm-system"]}, "error: the plan is for the mesh osm osm osm-system"),
    ):
        path.write_text(json.dumps(held | change))
        done = fsm_plugin.run("restart", "--resume", str(path), "--yes", cwd=folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(said)
    assert moments(control_plane, shop) == before


def test_killed_in_the_middle_nothing_is_restarted_twice(control_plane, fsm, fsm_plugin, folder):
    """`kill -9` while the second one rolls: `--resume` follows that rollout to its end, and begins the third."""
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("a", shop),
        slowly(workloads.deployment("b", shop, replicas=3), 300),
        workloads.deployment("c", shop),
    )
    for name, count in (("a", 1), ("b", 3), ("c", 1)):
        ready_pods(control_plane, shop, name, count)
    fsm.set(outboundPortExclusionList=[6379])
    with started(fsm_plugin, folder, "restart", "--all", "-n", shop, "--yes") as process:
        control_plane.wait(lambda: revisions(control_plane, shop, "b") == 2, "b rolls")
        process.kill()
    path, held = plan(folder)
    before = moments(control_plane, shop)
    assert before["c"] is None
    assert [item["mark"] for item in held["items"]][:2] == [before["a"], before["b"]]

    with started(fsm_plugin, folder, "restart", "--resume", str(path), "--yes", "-o", "json") as process:
        followed = {"kind": "RestartEvent", "workload": "deploy/b", "state": "rolling"}
        assert any(json.loads(line).items() >= followed.items() for line in process.stdout)
        quicker = '{"spec":{"minReadySeconds":0}}'
        control_plane.kubectl("patch", "deploy/b", "-n", shop, "--type=merge", "-p", quicker)
        done = ended(process)
    assert done.returncode == 0, done.stderr
    assert results(done) == {"deploy/b": "done", "deploy/c": "done"}
    assert items(done)["deploy/b"]["verified"] == 3
    after = moments(control_plane, shop)
    assert (after["a"], after["b"]) == (before["a"], before["b"])
    assert after["c"]
    assert [revisions(control_plane, shop, name) for name in "abc"] == [2, 2, 2]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c(control_plane, fsm, fsm_plugin, folder, presses):
    """Once: what rolls is let end. Twice: it is left at once. The plan goes on after both."""
    with a_rolls(control_plane, fsm, fsm_plugin, folder, seconds=2) as (shop, process):
        process.send_signal(signal.SIGINT)
        said = threading.Event()
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Ctrl-C again leaves at once" in line and not said.is_set():
                said.set()
                if presses == 2:
                    process.send_signal(signal.SIGINT)
        out = process.stdout.read()
    err = "".join(lines)
    assert process.returncode == 130
    assert f"deploy/a in {shop} may end, no other is begun" in err
    went, kept = ("done", ["done"]) if presses == 1 else ("interrupted", ["writing", "rolling"])
    assert states(folder)["a"] in kept
    assert states(folder)["b"] == "waiting"
    assert re.search(rf"deploy/a +3 +3 +{went}", out)
    assert restarted_at(control_plane, "deploy", "b", shop) is None
    path, _ = plan(folder)
    assert f"to go on: kubectl fsm restart --resume ./{path.name}" in err
    before = restarted_at(control_plane, "deploy", "a", shop)
    done = fsm_plugin.run("restart", "--resume", str(path), "--yes", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert results(done)["deploy/b"] == "done"
    assert restarted_at(control_plane, "deploy", "a", shop) == before
    control_plane.kubectl("rollout", "status", "deploy/a", "-n", shop, "--timeout=60s")
    assert scripts(ready_pods(control_plane, shop, "a", 3)) == scripts(ready_pods(control_plane, shop, "b"))


def test_a_canary_bakes_before_the_others(control_plane, fsm_plugin, shop, folder):
    words = ("restart", "--all", "-n", shop, "--canary=deploy/c", "--yes", "-o", "json")
    done = fsm_plugin.run(*words, "--bake=2s", cwd=folder)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    begun = [one["workload"] for one in events if one["state"] == "begun"]
    assert begun == ["deploy/c", "deploy/a", "deploy/b"]
    found = moments(control_plane, shop)
    assert min(found["a"], found["b"]) > found["c"]


def test_a_canary_that_falls_ill_while_it_bakes_stops_the_others(control_plane, fsm_plugin, shop, folder):
    with started(
        fsm_plugin, folder, "restart", "--all", "-n", shop, "--canary=deploy/c", "--bake=6s", "--yes", "-o", "json"
    ) as process:
        assert any(json.loads(line).get("state") == "baking" for line in process.stdout)
        (pod,) = ready_pods(control_plane, shop, "c")
        status = {"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]}
        path = f"/api/v1/namespaces/{shop}/pods/{pod['metadata']['name']}/status"
        control_plane.api("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")
        done = ended(process)
    assert done.returncode == 1, done.stderr
    assert list(results(done).items()) == [
        ("deploy/c", "failed"),
        ("deploy/a", "not begun"),
        ("deploy/b", "not begun"),
    ]
    assert "it was verified, but" in items(done)["deploy/c"]["detail"]
    assert "is not ready" in items(done)["deploy/c"]["detail"]
    assert {item["name"]: item["canary"] for item in plan(folder)[1]["items"]} == {"c": True, "a": False, "b": False}
    assert moments(control_plane, shop, "ab") == {"a": None, "b": None}


def test_what_is_skipped_and_what_asks_to_be_left_alone(control_plane, fsm_plugin, shop, folder):
    control_plane.kubectl("annotate", "deploy/b", "-n", shop, "kubectl-fsm/restart=disabled")
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--skip=deploy/c", "--yes", "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert results(done) == {"deploy/a": "done", "deploy/b": "left"}
    assert items(done)["deploy/b"]["detail"] == "it is not to be restarted (annotation kubectl-fsm/restart: disabled)"
    assert moments(control_plane, shop, "bc") == {"b": None, "c": None}


def test_a_budget_without_room_is_said_and_respected_on_request(control_plane, fsm_plugin, shop, folder):
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "b"}}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep", "namespace": shop}}
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "grow", "namespace": shop},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    }
    control_plane.apply({**budget, "spec": spec}, scaler)
    control_plane.wait(
        lambda: control_plane.get("pdb", "keep", shop).get("status", {}).get("currentHealthy") == 1, "the budget counts"
    )
    words = ("restart", "--all", "-n", shop, "--yes", "-o", "json")
    held = fsm_plugin.run(*words, "--respect-pdb", "--dry-run", cwd=folder)
    assert results(held) == {"deploy/a": "planned", "deploy/b": "left", "deploy/c": "planned"}
    done = fsm_plugin.run(*words, "--respect-pdb", cwd=folder)
    assert results(done) == {"deploy/a": "done", "deploy/b": "left", "deploy/c": "done"}, done.stderr
    room = "PodDisruptionBudget keep has no room (1 healthy of 1 wanted)"
    assert items(done)["deploy/b"]["detail"] == room
    assert f"deploy/a in {shop}: HorizontalPodAutoscaler grow may scale it meanwhile (1 to 4 pods)" in done.stderr
    done = fsm_plugin.run(*words, cwd=folder)
    assert results(done) == {"deploy/b": "done"}, done.stderr
    assert f"deploy/b in {shop}: {room}; rollouts do not heed it" in done.stderr


def test_a_template_that_is_changed_back_ends_the_restart(control_plane, fsm, fsm_plugin, folder):
    """As a GitOps controller does it that takes `restartedAt` for drift."""
    with a_rolls(control_plane, fsm, fsm_plugin, folder, seconds=60) as (shop, process):
        back = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": None}}}}}
        control_plane.kubectl("patch", "deploy/a", "-n", shop, "--type=merge", "-p", json.dumps(back))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: deploy/a in {shop}: somebody took the restart back" in err
    assert states(folder) == {"a": "failed", "b": "waiting"}


def test_the_plan_that_cannot_be_kept_is_said_and_the_restart_goes_on(fsm_plugin, shop, tmp_path):
    folder = Path("/proc/self")
    done = fsm_plugin.run("restart", "deploy/a", "-n", shop, "-o", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "warning: no plan is kept for --resume" in done.stderr
    assert results(done) == {"deploy/a": "done"}
