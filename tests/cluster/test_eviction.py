"""What has no rolling update, on a real control plane: evicted pod by pod, or created anew from its manifest."""

import json
import re
import stat

import pytest

from tests.cluster.test_main_job import PORTS, ready_pods
from tests.cluster.test_many_restarts import ended, started
from tests.cluster.test_owners import custom_kinds  # noqa: F401 - a fixture
from tests.cluster.test_restart import items, results, scripts
from tests.support import workloads

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def on_delete(workload):
    return {**workload, "spec": {**workload["spec"], "updateStrategy": {"type": "OnDelete"}}}


def replica_set(name, namespace, replicas):
    return {**workloads.deployment(name, namespace, replicas=replicas), "kind": "ReplicaSet"}


def budget(name, namespace, **spec):
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


def counted(control_plane, name, namespace, expected):
    """Wait until the budget's controller has seen the pods: before that the API server lets none go."""
    control_plane.wait(
        lambda: control_plane.get("pdb", name, namespace).get("status", {}).get("expectedPods") == expected,
        "the budget is counted",
    )


def serves(pod):
    return pod["status"]["phase"] == "Running" and not pod["metadata"].get("deletionTimestamp")


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


def apply(control_plane, obj):
    """As a user does: client-side, so that the pod carries its manifest."""
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Restarts that do not come to their end leave a plan there."""
    monkeypatch.chdir(tmp_path)


class TestEviction:
    def test_what_has_no_rolling_update(self, control_plane, fsm, fsm_plugin, custom_kinds):  # noqa: F811
        shop = fsm.namespace()
        control_plane.apply(
            on_delete(workloads.daemon_set("agent", shop)),
            on_delete(workloads.stateful_set("db", shop, replicas=3)),
            replica_set("lone", shop, 2),
            workloads.database("pg", shop),
        )
        owner = control_plane.get("databases.example.com", "pg", shop)
        control_plane.apply(workloads.owned(workloads.stateful_set("pg-data", shop, replicas=2), owner))
        counts = {"agent": 1, "db": 3, "lone": 2, "pg-data": 2}
        before = {name: uids(ready_pods(control_plane, shop, name, count)) for name, count in counts.items()}
        assert fsm_plugin.run("exclude-port", "6379").returncode == 0

        alone = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "-o", "json")
        assert results(alone) == dict.fromkeys(("ds/agent", "sts/db", "rs/lone", "database/pg"), "left")
        assert all("restart --evict replaces its pods" in item["detail"] for item in items(alone).values())

        done = fsm_plugin.run("restart", "--all", "-n", shop, "--yes", "--evict", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert {name: (item["result"], item["verified"]) for name, item in items(done).items()} == {
            "ds/agent": ("done", 1),
            "sts/db": ("done", 3),
            "rs/lone": ("done", 2),
            "database/pg": ("done", 2),
        }
        for name, count in counts.items():
            pods = ready_pods(control_plane, shop, name, count)
            assert not before[name] & uids(pods)
            assert all("6379" in script for script in scripts(pods))

    def test_one_pod_at_a_time(self, control_plane, fsm, fsm_plugin):
        """At no time are fewer than all but one pods ready, although no budget asks for that."""
        shop = fsm.namespace()
        control_plane.apply(replica_set("lone", shop, 4))
        ready_pods(control_plane, shop, "lone", 4)
        fsm_plugin.run("exclude-port", "6379")
        path = f"/api/v1/namespaces/{shop}/pods"
        listed = control_plane.api("GET", path)
        done = fsm_plugin.run("restart", "rs/lone", "-n", shop, "--evict", "-o", "json")
        assert (done.returncode, items(done)["rs/lone"]["verified"]) == (0, 4), done.stderr
        since = f"watch=1&timeoutSeconds=3&resourceVersion={listed['metadata']['resourceVersion']}"
        pods, least = {pod["metadata"]["uid"]: pod for pod in listed["items"]}, []
        for event in map(json.loads, control_plane.pool().request("GET", f"{path}?{since}").data.splitlines()):
            pods[event["object"]["metadata"]["uid"]] = event["object"]
            least.append(sum(serves(pod) for pod in pods.values()))
        assert (min(least), least[-1]) == (3, 4)

    @pytest.mark.parametrize("kind", ["ds", "sts"])
    def test_a_budget_is_waited_for(self, control_plane, fsm, fsm_plugin, tmp_path, kind):
        shop = fsm.namespace()
        make = {"ds": workloads.daemon_set, "sts": workloads.stateful_set}[kind]
        control_plane.apply(on_delete(make("db", shop)), budget("db", shop, minAvailable=1))
        old = uids(ready_pods(control_plane, shop, "db"))
        counted(control_plane, "db", shop, 1)
        fsm_plugin.run("exclude-port", "6379")
        held = fsm_plugin.run("restart", f"{kind}/db", "-n", shop, "--evict", "--timeout=2s", "-o", "json")
        assert held.returncode == 1
        assert "evictions wait for it" in held.stderr
        assert re.search(
            rf"{kind}/db in {shop}: pod db-\S+ waits for room: Cannot evict pod as it would violate the pod's disruption "
            "budget.; The disruption budget db needs 1 healthy pods and has 1 currently",
            held.stdout,
        )
        assert "not done within 2 s; Cannot evict pod" in items(held)[f"{kind}/db"]["detail"]
        assert "0 of 1 pods were evicted" in items(held)[f"{kind}/db"]["detail"]
        assert uids(ready_pods(control_plane, shop, "db")) == old

        with started(fsm_plugin, tmp_path, "restart", f"{kind}/db", "-n", shop, "--evict", "-o", "json") as process:
            assert any("waits for room" in line for line in process.stdout)
            control_plane.apply(budget("db", shop, minAvailable=0))
            done = ended(process)
        assert (done.returncode, results(done)) == (0, {f"{kind}/db": "done"}), done.stderr
        assert not old & uids(ready_pods(control_plane, shop, "db"))

    def test_a_new_pod_that_is_wrong_stops_it(self, control_plane, fsm, fsm_plugin, faulty_injector):
        shop = fsm.namespace()
        control_plane.apply(replica_set("lone", shop, 3), replica_set("next", shop, 1))
        old = uids(ready_pods(control_plane, shop, "lone", 3))
        ready_pods(control_plane, shop, "next")
        faulty_injector.lag(real_only=True)
        fsm_plugin.run("exclude-port", "6379")
        done = fsm_plugin.run("restart", "--all", "-n", shop, "--evict", "--yes", "-o", "json")
        assert done.returncode == 1
        assert results(done) == {"rs/lone": "failed", "rs/next": "not begun"}
        detail = items(done)["rs/lone"]["detail"]
        assert re.fullmatch(
            r"pod lone-\S+: its rules would need \+6379 outbound-port; 1 of 3 pods were evicted", detail
        )
        assert len(old & uids(ready_pods(control_plane, shop, "lone", 3))) == 2

    def test_what_is_opted_out(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        agent, alone = on_delete(workloads.daemon_set("agent", shop)), workloads.pod("alone", shop)
        for found in (agent, alone):
            found["metadata"].setdefault("annotations", {})["kubectl-fsm/restart"] = "disabled"
        control_plane.apply(agent)
        apply(control_plane, alone)
        old = uids(ready_pods(control_plane, shop, "agent")) | uids(ready_pods(control_plane, shop, "alone"))
        fsm_plugin.run("exclude-port", "6379")
        words = ("restart", "--all", "-n", shop, "--evict", "--recreate", "--yes", "-o", "json")
        done = fsm_plugin.run(*words)
        reason = "it is not to be restarted (annotation kubectl-fsm/restart: disabled)"
        assert {name: item["detail"] for name, item in items(done).items()} == {"ds/agent": reason, "pod/alone": reason}
        assert uids(control_plane.list("pods", shop)) == old

    def test_who_may_not_evict(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        control_plane.apply(replica_set("lone", shop, 1))
        ready_pods(control_plane, shop, "lone")
        fsm_plugin.run("exclude-port", "6379")
        rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "viewer"}}
        rules = [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        ]
        subject = {"kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io"}
        control_plane.apply(
            {**rights, "kind": "ClusterRole", "rules": rules},
            {**rights, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        )
        kubeconfig = control_plane.user("viewer")
        may = ("auth", "can-i", "create", "pods", "-n", shop)
        control_plane.wait(
            lambda: control_plane.kubectl(*may, kubeconfig=kubeconfig, check=False).stdout == "yes\n", "rights count"
        )
        done = fsm_plugin.run("restart", "rs/lone", "-n", shop, "--evict", env={"KUBECONFIG": str(kubeconfig)})
        assert done.returncode == 1
        check = re.search(rf"kubectl auth can-i create pods/lone-\S+ --subresource=eviction -n {shop}", done.stderr)
        assert control_plane.kubectl(*check[0].split()[1:], kubeconfig=kubeconfig, check=False).stdout == "no\n"
        assert control_plane.kubectl(*check[0].split()[1:]).stdout == "yes\n"


class TestRecreation:
    def test_a_bare_pod_from_its_manifest(self, control_plane, fsm, fsm_plugin, tmp_path):
        shop = fsm.namespace()
        manifest = workloads.pod("alone", shop, {PORTS: "8080"})
        apply(control_plane, manifest)
        (old,) = ready_pods(control_plane, shop, "alone")
        fsm_plugin.run("exclude-port", "6379")
        left = fsm_plugin.run("restart", "pod/alone", "-n", shop, "-o", "json", cwd=tmp_path)
        assert (left.returncode, results(left)) == (1, {"pod/alone": "left"})
        assert "nobody makes it anew; restart --recreate does, from its last applied manifest" in left.stderr

        done = fsm_plugin.run("restart", "pod/alone", "-n", shop, "--recreate", "-o", "json", cwd=tmp_path)
        assert (done.returncode, results(done)) == (0, {"pod/alone": "done"}), done.stderr
        (new,) = ready_pods(control_plane, shop, "alone")
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        assert all("6379,8080" in script for script in scripts([new]))
        assert json.loads(new["metadata"]["annotations"][APPLIED]) == json.loads(
            old["metadata"]["annotations"][APPLIED]
        )
        (file,) = tmp_path.iterdir()
        assert re.fullmatch(rf"fsm-pod-{shop}-alone-[0-9a-f]{{4}}\.json", file.name)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert f"pod/alone in {shop}: its manifest is in {file}\n" in done.stderr
        control_plane.kubectl("apply", "--dry-run=server", "-f", str(file))
        same = control_plane.kubectl("diff", "-f", str(file), check=False)
        assert (same.returncode, same.stdout) == (0, "")

    def test_a_bare_pod_without_its_manifest_stays(self, control_plane, fsm, fsm_plugin, tmp_path):
        shop = fsm.namespace()
        control_plane.apply(workloads.pod("alone", shop))
        (old,) = ready_pods(control_plane, shop, "alone")
        live = {key: old[key] for key in ("apiVersion", "kind", "spec")}
        live["metadata"] = {"name": "live", "namespace": shop, "labels": {"app": "live"}}
        apply(control_plane, live)
        other = ready_pods(control_plane, shop, "live")
        fsm_plugin.run("exclude-port", "6379")
        words = ("restart", "--all", "-n", shop, "--recreate", "--evict", "--yes", "-o", "json")
        done = fsm_plugin.run(*words, cwd=tmp_path)
        assert results(done) == {"pod/alone": "left", "pod/live": "left"}
        assert f"it has no annotation {APPLIED}" in items(done)["pod/alone"]["detail"]
        assert "holds what was injected before" in items(done)["pod/live"]["detail"]
        assert uids(control_plane.list("pods", shop)) == uids([old, *other])
        assert list(tmp_path.iterdir()) == []

    def test_a_quota_that_is_full_for_a_while(self, control_plane, fsm, fsm_plugin, tmp_path):
        """The room of the pod that went is taken by somebody else; it is created once there is room again."""
        shop = fsm.namespace()
        apply(control_plane, workloads.pod("alone", shop))
        ready_pods(control_plane, shop, "alone")
        fsm_plugin.run("exclude-port", "6379")
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": shop}}
        control_plane.apply({**quota, "spec": {"hard": {"pods": "0"}}})
        control_plane.wait(lambda: control_plane.get("quota", "none", shop).get("status", {}).get("hard"), "it counts")
        words = ("restart", "pod/alone", "-n", shop, "--recreate", "--skip-preflight", "-o", "json")
        failed = fsm_plugin.run(*words, "--timeout=3s", cwd=tmp_path)
        assert (failed.returncode, results(failed)) == (1, {"pod/alone": "failed"})
        (file,) = tmp_path.glob("fsm-pod-*")
        assert "exceeded quota" in items(failed)["pod/alone"]["detail"]
        assert f"it is deleted, and not created; if it is not there: kubectl apply -f {file}" in failed.stderr
        assert control_plane.list("pods", shop) == []
        (plan,) = tmp_path.glob("fsm-restart-*")
        assert f"kubectl fsm restart --resume ./{plan.name}" in failed.stderr

        control_plane.kubectl("delete", "quota", "none", "-n", shop)
        done = fsm_plugin.run("restart", "--resume", str(plan), "--yes", "-o", "json", cwd=tmp_path)
        assert (done.returncode, results(done)) == (0, {"pod/alone": "done"}), done.stderr
        assert all("6379" in script for script in scripts(ready_pods(control_plane, shop, "alone")))
        assert [path.name for path in tmp_path.iterdir()] == [file.name], "the plan is done, the manifest stays"


@pytest.mark.parametrize("option", ["--evict", "--recreate"])
def test_usage(fsm_plugin, option):
    done = fsm_plugin.run("restart", "-A", "--no-wait", option)
    assert (done.returncode, done.stderr) == (2, f"error: {option} is waited for, and --no-wait waits for nothing\n")
