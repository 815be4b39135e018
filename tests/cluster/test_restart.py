"""Restarts on a real control plane: what is outdated is rolled, one workload after the other, and its pods verified."""

import json
import re
import threading
import time
from datetime import datetime, timezone

import pytest
import yaml

from kubectl_fsm import generator
from tests.cluster.test_main_job import PORTS, ready_pods, rules
from tests.cluster.test_owners import custom_kinds  # noqa: F401 - a fixture
from tests.support import workloads
from tests.support.forwarder import forwarding

RESTARTED = "kubectl.kubernetes.io/restartedAt"


def items(done, namespace=""):
    """What became of each workload, by name; with -A only of this namespace: what other tests had may still be there.

    The report is the last line; events come before it.
    """
    found = json.loads(done.stdout.splitlines()[-1])["items"]
    return {item["workload"]: item for item in found if namespace in ("", item["namespace"])}


def results(done, namespace=""):
    return {name: item["result"] for name, item in items(done, namespace).items()}


def restarted_at(control_plane, kind, name, namespace):
    metadata = control_plane.get(kind, name, namespace)["spec"]["template"]["metadata"]
    return metadata.get("annotations", {}).get(RESTARTED)


def scripts(pods):
    return {container["args"][1] for pod in pods for container in pod["spec"]["initContainers"]}


def slowly(deployment, seconds=1):
    """A Deployment whose rollout takes that long for each pod."""
    update = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {**deployment, "spec": {**deployment["spec"], "strategy": update, "minReadySeconds": seconds}}


def test_the_whole_loop(control_plane, fsm, fsm_plugin):
    """The three lines of the README: an exclusion, outdated pods, a restart, and pods with just these rules."""
    shop = fsm.namespace()
    cache = {"tier": "cache"}
    labelled = [workloads.deployment(name, shop, replicas=2) for name in ("redis", "memcached")]
    for found in labelled:
        found["spec"]["template"]["metadata"]["labels"] |= cache
    control_plane.apply(
        workloads.deployment("web", shop, replicas=3),
        workloads.stateful_set("db", shop, replicas=2),
        workloads.daemon_set("agent", shop),
        *labelled,
    )
    for name, count in (("web", 3), ("db", 2), ("agent", 1), ("redis", 2), ("memcached", 2)):
        ready_pods(control_plane, shop, name, count)
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    announced = generator.render("fsm-1.5", {}, fsm.meshconfig()["spec"])

    done = fsm_plugin.run("restart", "deploy/web", "-n", shop)
    assert done.returncode == 0, done.stderr
    assert f"[1/1] deploy/web in {shop} (3 pods): +6379 outbound-port (context test, mesh fsm 1.5.1" in done.stderr
    assert re.search(r"deploy/web +3 +3 +done +3/3 verified", done.stdout)
    assert scripts(ready_pods(control_plane, shop, "web", 3)) == {announced}
    (item, *_) = rules(fsm_plugin, "deploy/web", "-n", shop)
    assert item["state"] == "current"

    plan = fsm_plugin.run("restart", "-A", "--dry-run", "-o", "json")
    assert plan.returncode == 0, plan.stderr
    assert results(plan, shop) == dict.fromkeys(("deploy/memcached", "deploy/redis", "ds/agent", "sts/db"), "planned")
    database = items(plan, shop)["sts/db"]
    assert (database["changes"], database["replicas"], database["outdated"]) == (["+6379 outbound-port"], 2, 2)
    assert restarted_at(control_plane, "sts", "db", shop) is None

    done = fsm_plugin.run("exclude-port", "8080", "-l", "tier=cache", "-n", shop, "--yes", "--restart")
    assert done.returncode == 0, done.stderr
    announced = generator.render("fsm-1.5", {PORTS: "8080"}, fsm.meshconfig()["spec"])
    for name in ("redis", "memcached"):
        assert re.search(rf"deploy/{name} +2 +2 +done +2/2 verified", done.stdout)
        assert scripts(ready_pods(control_plane, shop, name, 2)) == {announced}

    rest = fsm_plugin.run("restart", "-A", "--yes", "-o", "json")
    assert rest.returncode == 0, rest.stderr
    assert results(rest, shop) == {"ds/agent": "done", "sts/db": "done"}
    assert [(item["verified"], item["pods"]) for item in items(rest, shop).values()] == [(2, 2), (1, 1)]
    again = fsm_plugin.run("restart", "--all", "-n", shop, "--yes")
    assert (again.returncode, again.stdout) == (0, "")
    assert "no workload runs outdated rules" in again.stderr


def test_the_restart_is_kubectls(control_plane, fsm, fsm_plugin):
    """The same field and the same form as `kubectl rollout restart` writes."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    control_plane.kubectl("rollout", "restart", "deploy/web", "-n", shop)
    theirs = restarted_at(control_plane, "deploy", "web", shop)
    control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop)
    before = datetime.now(timezone.utc).replace(microsecond=0)
    assert fsm_plugin.run("restart", "deploy/web", "-n", shop, "--all-pods").returncode == 0
    ours = restarted_at(control_plane, "deploy", "web", shop)
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)"
    assert re.fullmatch(shape, theirs)
    assert re.fullmatch(shape, ours)
    assert datetime.fromisoformat(ours.replace("Z", "+00:00")) >= before
    assert ours > theirs


def test_a_target_that_is_current_is_left_unless_all_pods(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    (pod,) = ready_pods(control_plane, shop, "web")
    for target in ("deploy/web", pod["metadata"]["name"]):
        done = fsm_plugin.run("restart", target, "-n", shop, "-o", "json")
        assert (done.returncode, results(done)) == (0, {"deploy/web": "current"})
    assert ready_pods(control_plane, shop, "web")[0]["metadata"]["uid"] == pod["metadata"]["uid"]
    done = fsm_plugin.run("restart", pod["metadata"]["name"], "-n", shop, "--all-pods", "-o", "json")
    assert results(done) == {"deploy/web": "done"}


def test_an_injector_that_is_behind_is_asked_again(control_plane, fsm, fsm_plugin, faulty_injector):
    """No pod is made from the MeshConfig that was there before: the restart waits for the injector."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=2))
    old = {pod["metadata"]["uid"] for pod in ready_pods(control_plane, shop, "web", 2)}
    faulty_injector.lag(3)
    done = fsm_plugin.run("exclude-port", "6379", "--restart", "--yes")
    assert done.returncode == 0, done.stderr
    assert re.search(r"deploy/web +2 +2 +done +2/2 verified", done.stdout)
    revisions = control_plane.list("replicasets", shop, "app=web")
    assert len(revisions) == 2, "the old one and one new one"
    pods = ready_pods(control_plane, shop, "web", 2)
    assert not old & {pod["metadata"]["uid"] for pod in pods}
    assert scripts(pods) == {generator.render("fsm-1.5", {}, fsm.meshconfig()["spec"])}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("lag", "the injector would make a wrong pod: its rules would need +6379 outbound-port"),
        ("wrong", "the injector would make a wrong pod: its rules would need +6379 outbound-port, -1 outbound-port"),
        ("down", 'failed calling webhook "fsm-inject.k8s.io"'),
    ],
)
def test_an_injector_that_is_no_good_stops_everything(  # noqa: PLR0917 - fixtures
    control_plane, fsm, fsm_plugin, faulty_injector, fault, said
):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("api", shop), workloads.deployment("web", shop))
    before = [ready_pods(control_plane, shop, name)[0]["metadata"]["uid"] for name in ("api", "web")]
    getattr(faulty_injector, fault)()
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "--timeout=2s", "-o", "json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the next pods would be wrong, so nothing is restarted:")
    for name in ("api", "web"):
        assert re.search(rf"\n  deploy/{name} in {shop}: .*{re.escape(said)}", done.stderr)
    assert [restarted_at(control_plane, "deploy", name, shop) for name in ("api", "web")] == [None, None]
    assert [ready_pods(control_plane, shop, name)[0]["metadata"]["uid"] for name in ("api", "web")] == before


@pytest.mark.parametrize("kind", ["deploy", "sts"])
def test_the_first_pod_that_is_wrong_ends_the_restart(control_plane, fsm, fsm_plugin, faulty_injector, kind):
    """The injector answers well when it is asked, and then makes a pod with old rules: the restart is taken back."""
    shop = fsm.namespace()
    make = {"deploy": workloads.deployment, "sts": workloads.stateful_set}[kind]
    control_plane.apply(make("a", shop, replicas=4), make("b", shop))
    ready_pods(control_plane, shop, "a", 4)
    ready_pods(control_plane, shop, "b")
    faulty_injector.lag(real_only=True)
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json")
    assert done.returncode == 1
    assert results(done) == {f"{kind}/a": "failed", f"{kind}/b": "not begun"}
    assert re.search(r"pod a-\S+: its rules would need \+6379 outbound-port; the restart was taken back", done.stderr)
    assert restarted_at(control_plane, kind, "a", shop) is None
    control_plane.kubectl("rollout", "status", f"{kind}/a", "-n", shop, "--timeout=60s")
    assert restarted_at(control_plane, kind, "b", shop) is None
    faulty_injector.heal()
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json")
    assert results(done) == {f"{kind}/a": "done", f"{kind}/b": "done"}, done.stderr


def test_who_may_not_create_pods_says_that_he_skips_the_preflight(control_plane, fsm, fsm_plugin):
    """The injector cannot be asked beforehand, so nothing is restarted; with --skip-preflight the new pods are looked at."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    fsm_plugin.run("exclude-port", "6379")
    rights = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]},
    ]
    subject = {"kind": "User", "name": "restarter", "apiGroup": "rbac.authorization.k8s.io"}
    control_plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "restarter"},
            "rules": rights,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "restarter"},
            "roleRef": {"kind": "ClusterRole", "name": "restarter", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [subject],
        },
    )
    kubeconfig = control_plane.user("restarter")
    may = ("auth", "can-i", "patch", "deployments.apps", "-n", shop)
    control_plane.wait(
        lambda: control_plane.kubectl(*may, kubeconfig=kubeconfig, check=False).stdout == "yes\n", "the rights count"
    )
    env = {"KUBECONFIG": str(kubeconfig)}
    words = ("restart", "deploy/web", "-n", shop, "-o", "json")
    done = fsm_plugin.run(*words, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"so nothing is restarted: deploy/web in {shop}: pods is forbidden" in done.stderr
    assert "--skip-preflight goes on without" in done.stderr
    assert restarted_at(control_plane, "deploy", "web", shop) is None
    done = fsm_plugin.run(*words, "--skip-preflight", env=env)
    assert done.returncode == 0, done.stderr
    assert results(done) == {"deploy/web": "done"}


def test_what_is_not_touched(control_plane, fsm, fsm_plugin, custom_kinds):  # noqa: F811 - the fixture
    shop = fsm.namespace()
    held = workloads.deployment("held", shop)
    on_delete = workloads.daemon_set("agent", shop)
    on_delete["spec"]["updateStrategy"] = {"type": "OnDelete"}
    split = workloads.stateful_set("split", shop, replicas=2)
    split["spec"]["updateStrategy"] = {"rollingUpdate": {"partition": 1}}
    ended = workloads.job("ended", shop, {"kubectl-fsm.test/completes": ""})
    control_plane.apply(
        held, on_delete, split, ended, workloads.database("pg", shop), workloads.cron_job("report", shop)
    )
    owner = control_plane.get("databases.example.com", "pg", shop)
    control_plane.apply(
        workloads.owned(workloads.stateful_set("pg-data", shop), owner),
        workloads.job("once", shop),
        workloads.pod("alone", shop),
        slowly(workloads.deployment("rolling", shop, replicas=2), 300),
        workloads.deployment("full", shop, {PORTS: ",".join(map(str, range(1, 16)))}),
        workloads.deployment("out", shop),
    )
    control_plane.kubectl("create", "job", "report-1", "--from=cronjob/report", "-n", shop)
    for name in ("held", "agent", "pg-data", "once", "alone", "full", "report", "out"):
        ready_pods(control_plane, shop, name)
    ready_pods(control_plane, shop, "split", 2)
    ready_pods(control_plane, shop, "rolling", 2)
    control_plane.kubectl("wait", "--for=condition=complete", "job/ended", "-n", shop, "--timeout=30s")
    control_plane.kubectl("rollout", "pause", "deploy/held", "-n", shop)
    control_plane.kubectl("rollout", "restart", "deploy/rolling", "-n", shop)
    fsm.set(outboundPortExclusionList=[6379])
    template = {"spec": {"template": {"metadata": {"annotations": {"flomesh.io/sidecar-injection": "disabled"}}}}}
    control_plane.kubectl("rollout", "pause", "deploy/out", "-n", shop)
    control_plane.kubectl("patch", "deploy/out", "-n", shop, "--type=merge", "-p", json.dumps(template))
    before = {
        pod["metadata"]["uid"] for pod in control_plane.list("pods", shop) if "rolling" not in str(pod["metadata"])
    }

    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert {name: (item["result"], item["detail"]) for name, item in items(done).items()} == {
        "deploy/held": ("left", "its rollout is paused: no pod is replaced until it is resumed"),
        "deploy/out": ("left", "its rollout is paused: no pod is replaced until it is resumed"),
        "ds/agent": ("left", "its pods have it when they are deleted (OnDelete); restart --evict replaces its pods"),
        "sts/split": ("left", "its update strategy keeps the pods below 1 as they are (partition)"),
        "database/pg": (
            "left",
            "Database pg has no pod template: restart it as its operator does; restart --evict replaces its pods",
        ),
        "job/once": ("left", "a Job's pods are not replaced: create the Job anew"),
        "cj/report": ("left", "its next runs have it"),
        "pod/alone": (
            "left",
            "a bare pod: delete it and apply its first manifest; its live one keeps the old rules (it has no annotation kubectl.kubernetes.io/last-applied-configuration)",
        ),
        "deploy/rolling": ("left", "a rollout is under way already; look again when it has ended"),
        "deploy/full": (
            "left",
            "its next pods would not start: 16 outbound ports, and iptables takes 15 in one match",
        ),
    }
    assert "1 finished pod is left out" in done.stderr
    assert before <= {pod["metadata"]["uid"] for pod in control_plane.list("pods", shop)}
    named = fsm_plugin.run("restart", "deploy/held", "-n", shop)
    assert named.returncode == 1
    assert f"error: deploy/held in {shop} was not restarted: its rollout is paused" in named.stderr


def test_workloads_that_would_leave_the_mesh_are_not_taken_out_of_it(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    fsm.set(interceptionMode="NodeLevel")
    done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json")
    (item,) = items(done).values()
    assert (item["result"], item["detail"]) == (
        "left",
        "its next pods would have no rules of the mesh: interceptionMode NodeLevel",
    )


def test_several_are_asked_about(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("a", shop), workloads.deployment("b", shop, replicas=2))
    ready_pods(control_plane, shop, "a")
    ready_pods(control_plane, shop, "b", 2)
    asks = [("exclude-port", "6379", "--restart"), ("exclude-port", "8080", "--all", "-n", shop)]
    for words in asks:
        done = fsm_plugin.run(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert f"deploy/a in {shop} (1 pod)" in done.stderr
        assert f"deploy/b in {shop} (2 pods)" in done.stderr
        assert "nothing was written" in done.stderr
    assert fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"] == []
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    done = fsm_plugin.run("restart", "--all", "-n", shop)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"this rolls 2 workloads\n  deploy/a in {shop} (1 pod): +6379 outbound-port" in done.stderr
    assert restarted_at(control_plane, "deploy", "a", shop) is None


def test_a_rollout_that_cannot_make_pods_stops_what_follows(control_plane, fsm, fsm_plugin):
    """A quota leaves no room for new pods: the Deployment's own deadline ends the wait, with the quota's words."""
    shop = fsm.namespace()
    tight = slowly(workloads.deployment("a", shop), 0)
    tight["spec"]["progressDeadlineSeconds"] = 2
    control_plane.apply(tight, workloads.stateful_set("b", shop))
    ready_pods(control_plane, shop, "a")
    ready_pods(control_plane, shop, "b")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": shop}}
    control_plane.apply({**quota, "spec": {"hard": {"pods": "2"}}})
    control_plane.wait(
        lambda: control_plane.get("resourcequota", "few", shop).get("status", {}).get("used"), "the quota counts"
    )
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    words = ("restart", "--all", "-n", shop, "--yes", "-o", "json")
    asked = fsm_plugin.run(*words)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "exceeded quota: few" in asked.stderr
    done = fsm_plugin.run(*words, "--skip-preflight")
    assert done.returncode == 1
    assert results(done) == {"deploy/a": "failed", "sts/b": "not begun"}
    assert "exceeded quota: few" in items(done)["deploy/a"]["detail"]
    assert "has timed out progressing" in items(done)["deploy/a"]["detail"]


def test_edits_of_several_stop_where_a_new_pod_cannot_start(control_plane, fsm, fsm_plugin):
    """The init container of the second one's new pods crashes: its words are the reason, the third is not edited."""
    shop = fsm.namespace()
    said = "iptables-restore v1.8.9: host/network 'x' not found"
    control_plane.apply(
        workloads.deployment("a", shop),
        workloads.deployment("b", shop, {"kubectl-fsm.test/init-fails": said}),
        workloads.deployment("c", shop),
    )
    ready_pods(control_plane, shop, "a")
    ready_pods(control_plane, shop, "c")
    done = fsm_plugin.run("exclude-port", "8080", "--all", "-n", shop, "--yes")
    assert done.returncode == 1
    assert re.search(r"deploy/a +1 +0 +done +1/1 verified", done.stdout)
    assert re.search(rf"deploy/b .*failed +pod b-\S+: init container fsm-init: Error, exit code 2: {said}", done.stdout)
    assert re.search(r"deploy/c .*not begun", done.stdout)
    for name, value in (("a", "8080"), ("b", "8080"), ("c", None)):
        metadata = control_plane.get("deploy", name, shop)["spec"]["template"]["metadata"]
        assert metadata.get("annotations", {}).get(PORTS) == value
    assert "deployment.apps/c" not in done.stdout


def test_a_refusal_of_one_edit_stops_all_before_the_first(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("a", shop), workloads.deployment("b", shop, {PORTS: ",".join(map(str, range(1, 16)))})
    )
    ready_pods(control_plane, shop, "a")
    ready_pods(control_plane, shop, "b")
    done = fsm_plugin.run("exclude-port", "8080", "--all", "-n", shop, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "16 outbound ports, and iptables takes 15 in one match" in done.stderr
    annotations = control_plane.get("deploy", "a", shop)["spec"]["template"]["metadata"].get("annotations") or {}
    assert PORTS not in annotations


def test_a_rollout_that_takes_too_long(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(slowly(workloads.deployment("web", shop, replicas=2), 300))
    ready_pods(control_plane, shop, "web", 2)
    fsm_plugin.run("exclude-port", "6379")
    done = fsm_plugin.run("restart", "deploy/web", "-n", shop, "--timeout=10s")
    assert done.returncode == 1
    assert "not done within 10 s: 1 of 2 pods new" in done.stderr


def test_no_wait(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(slowly(workloads.deployment("web", shop, replicas=2), 300))
    ready_pods(control_plane, shop, "web", 2)
    fsm_plugin.run("exclude-port", "6379")
    done = fsm_plugin.run("restart", "deploy/web", "-n", shop, "--no-wait", "-o", "json")
    assert (done.returncode, results(done)) == (0, {"deploy/web": "started"})
    assert restarted_at(control_plane, "deploy", "web", shop)


def test_connections_that_are_cut(control_plane, fsm, fsm_plugin, tmp_path):
    """Every connection is cut several times in the middle of a rollout; the restart sees its end all the same."""
    shop = fsm.namespace()
    control_plane.apply(slowly(workloads.deployment("web", shop, replicas=4)))
    ready_pods(control_plane, shop, "web", 4)
    fsm_plugin.run("exclude-port", "6379")
    with forwarding(control_plane._port) as forwarder:
        config = yaml.safe_load(control_plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{forwarder.port}"
        kubeconfig = tmp_path / "forwarded"
        kubeconfig.write_text(yaml.safe_dump(config))
        stop = threading.Event()

        def cut():
            control_plane.wait(
                lambda: len(control_plane.list("replicasets", shop, "app=web")) == 2, "the rollout has begun"
            )
            while not stop.wait(0.7):
                forwarder.cut()

        cutter = threading.Thread(target=cut)
        cutter.start()
        done = fsm_plugin.run("restart", "deploy/web", "-n", shop, "-o", "json", env={"KUBECONFIG": str(kubeconfig)})
        stop.set()
        cutter.join()
    assert done.returncode == 0, done.stderr
    assert items(done)["deploy/web"]["verified"] == 4
    assert forwarder.count > 6, "watches were opened anew"
    assert len(control_plane.list("replicasets", shop, "app=web")) == 2, "restarted once"


def test_an_argo_rollout_by_its_own_field(control_plane, fsm, fsm_plugin, custom_kinds):  # noqa: F811 - the fixture
    """Its controller is not here: the test does what its documentation says, in its place."""
    shop, kind = fsm.namespace(), "rollouts.argoproj.io"
    rollout = workloads.rollout("api", shop, "none")
    del rollout["spec"]["workloadRef"]
    rollout["spec"]["template"] = workloads.pod_template("api")
    control_plane.apply(rollout)
    owner = control_plane.get(kind, "api", shop)

    def make_pod(number):
        pod = workloads.pod(f"api-{number}", shop, owner=owner)
        control_plane.apply({**pod, "metadata": {**pod["metadata"], "labels": {"app": "api"}}})
        ready_pods(control_plane, shop, "api")

    def report(**more):
        generation = control_plane.get(kind, "api", shop)["metadata"]["generation"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
        status = {"phase": "Healthy", "observedGeneration": str(generation), **counts, **more}
        patch = ("--type=merge", "--subresource=status", "-p", json.dumps({"status": status}))
        control_plane.kubectl("patch", f"{kind}/api", "-n", shop, *patch)

    def controller():
        asked = control_plane.wait(lambda: control_plane.get(kind, "api", shop)["spec"].get("restartAt"), "a restart")
        control_plane.kubectl("delete", "pod", "api-1", "-n", shop)
        make_pod(2)
        report(restartedAt=asked)

    make_pod(1)
    report()
    fsm_plugin.run("exclude-port", "6379")
    plays = threading.Thread(target=controller)
    plays.start()
    done = fsm_plugin.run("restart", "rollout/api", "-n", shop, "-o", "json")
    plays.join()
    assert done.returncode == 0, done.stderr
    assert (items(done)["rollout/api"]["result"], items(done)["rollout/api"]["verified"]) == ("done", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", control_plane.get(kind, "api", shop)["spec"]["restartAt"])
    assert RESTARTED not in str(control_plane.get(kind, "api", shop)["spec"]["template"])


def test_it_does_not_restart_twice_within_a_second(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    begun = time.monotonic()
    for _ in range(2):
        done = fsm_plugin.run("restart", "deploy/web", "-n", shop, "--all-pods", "-o", "json")
        assert (done.returncode, results(done)) == (0, {"deploy/web": "done"})
    assert len(control_plane.list("replicasets", shop, "app=web")) == 3
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("words", [["restart"], ["restart", "--all", "deploy/web"], ["restart", "-l", "a=b", "pod"]])
def test_usage(fsm_plugin, words):
    assert fsm_plugin.run(*words).returncode == 2
