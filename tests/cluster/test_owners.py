"""Owners climbed for real: where a pod-scoped edit goes, and where it must not."""

import json

import pytest

from tests.cluster.test_main_job import PORTS, ready_pods, rules
from tests.support import workloads

PATHS = {
    "deploy": ("deployment", ("spec", "template")),
    "sts": ("statefulset", ("spec", "template")),
    "ds": ("daemonset", ("spec", "template")),
    "cj": ("cronjob", ("spec", "jobTemplate", "spec", "template")),
    "clone": ("clonesets.apps.kruise.io", ("spec", "template")),
}


def written(control_plane, kind, name, namespace):
    """The port annotation of a workload's pod template."""
    plural, path = PATHS[kind]
    found = control_plane.get(plural, name, namespace)
    for step in (*path, "metadata"):
        found = found.get(step, {})
    return found.get("annotations", {}).get(PORTS)


@pytest.fixture(scope="module")
def custom_kinds(control_plane):
    control_plane.serve(workloads.CLONE_SET_CRD, workloads.DATABASE_CRD, workloads.ROLLOUT_CRD)


def pod_name(control_plane, namespace, app):
    return ready_pods(control_plane, namespace, app)[0]["metadata"]["name"]


@pytest.mark.parametrize(
    ("kind", "make"), [("deploy", workloads.deployment), ("sts", workloads.stateful_set), ("ds", workloads.daemon_set)]
)
def test_by_pod_to_the_template_of_the_owner(control_plane, fsm, fsm_plugin, kind, make):
    shop = fsm.namespace()
    control_plane.apply(make("web", shop))
    pod = pod_name(control_plane, shop, "web")
    done = fsm_plugin.run("exclude-port", "8080", "--inbound", "--outbound", "--pod", pod, "-n", shop, "--yes")
    assert done.returncode == 0, done.stderr
    assert written(control_plane, kind, "web", shop) == "8080"
    assert f"kubectl rollout status {kind}/web -n {shop}" in done.stdout
    unchanged = fsm_plugin.run("exclude-port", "8080", f"--workload={kind}/web", "-n", shop)
    assert "unchanged" in unchanged.stdout
    cleared = fsm_plugin.run("exclude-port", "--clear", f"--workload={kind}/web", "-n", shop)
    assert cleared.returncode == 0, cleared.stderr
    assert written(control_plane, kind, "web", shop) is None


def test_a_cron_job_by_the_pod_of_a_run(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.cron_job("report", shop))
    control_plane.kubectl("create", "job", "report-1", "--from=cronjob/report", "-n", shop)
    pod = pod_name(control_plane, shop, "report")
    done = fsm_plugin.run("exclude-port", "8081", "--pod", pod, "-n", shop)
    assert done.returncode == 0, done.stderr
    assert written(control_plane, "cj", "report", shop) == "8081"
    assert "its next runs have it" in done.stdout


def test_a_job_is_refused(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.job("once", shop))
    pod = pod_name(control_plane, shop, "once")
    done = fsm_plugin.run("exclude-port", "8081", "--pod", pod, "-n", shop)
    assert (done.returncode, done.stdout) == (1, "")
    assert "job/once" in done.stderr
    assert "immutable" in done.stderr


def test_a_bare_pod_keeps_its_rules(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.pod("alone", shop))
    ready_pods(control_plane, shop, "alone")
    done = fsm_plugin.run("exclude-port", "8081", "--pod", "alone", "-n", shop)
    assert done.returncode == 0, done.stderr
    assert control_plane.get("pod", "alone", shop)["metadata"]["annotations"][PORTS] == "8081"
    assert "only a new pod will have it" in done.stdout
    assert "has no owner" in done.stderr
    (item,) = rules(fsm_plugin, "alone", "-n", shop)
    assert (item["state"], item["exclusions"][0]["sources"]) == ("outdated", ["pod annotation"])


def test_an_operators_stateful_set_is_refused(control_plane, fsm, fsm_plugin, custom_kinds):
    shop = fsm.namespace()
    control_plane.apply(workloads.database("pg", shop))
    owner = control_plane.get("databases.example.com", "pg", shop)
    control_plane.apply(workloads.owned(workloads.stateful_set("pg-data", shop), owner))
    pod = pod_name(control_plane, shop, "pg-data")
    for scope in (("--pod", pod), ("--workload=sts/pg-data",)):
        done = fsm_plugin.run("exclude-port", "8081", *scope, "-n", shop)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Database pg, which has no pod template and would revert the edit" in done.stderr
    assert written(control_plane, "sts", "pg-data", shop) is None
    (item,) = rules(fsm_plugin, pod, "-n", shop)
    assert item["workload"] == "database/pg"


def test_a_custom_resource_with_a_template(control_plane, fsm, fsm_plugin, custom_kinds):
    shop = fsm.namespace()
    control_plane.apply(workloads.clone_set("api", shop))
    owner = control_plane.get("clonesets.apps.kruise.io", "api", shop)
    control_plane.apply(workloads.pod("api-x1", shop, owner=owner))
    ready_pods(control_plane, shop, "api-x1")
    done = fsm_plugin.run("exclude-port", "8081", "--pod", "api-x1", "-n", shop)
    assert done.returncode == 0, done.stderr
    assert written(control_plane, "clone", "api", shop) == "8081"
    again = fsm_plugin.run("exclude-port", "8082", "--workload=cloneset/api", "-n", shop)
    assert again.returncode == 0, again.stderr
    assert written(control_plane, "clone", "api", shop) == "8081,8082"


def test_an_argo_rollout_that_uses_a_deployments_template(control_plane, fsm, fsm_plugin, custom_kinds):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=0), workloads.rollout("web-rollout", shop, "web"))
    owner = control_plane.get("rollouts.argoproj.io", "web-rollout", shop)
    control_plane.apply(workloads.pod("web-rollout-1", shop, owner=owner))
    ready_pods(control_plane, shop, "web-rollout-1")
    done = fsm_plugin.run("exclude-port", "8081", "--pod", "web-rollout-1", "-n", shop)
    assert done.returncode == 0, done.stderr
    assert "deployment.apps/web" in done.stdout
    assert written(control_plane, "deploy", "web", shop) == "8081"


def test_several_workloads_by_every_scope(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("a", shop), workloads.deployment("b", shop), workloads.deployment("c", shop)
    )
    for name in ("a", "b", "c"):
        ready_pods(control_plane, shop, name)
    ports = set()
    for number, scope in enumerate((("-l", "app in (a,b)"), ("--workload=deploy/a", "--workload=deploy/b"))):
        ports.add(str(8000 + number))
        done = fsm_plugin.run("exclude-port", str(8000 + number), *scope, "-n", shop, "--yes", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert {item["metadata"]["name"] for item in json.loads(done.stdout)["items"]} == {"a", "b"}
        for name in ("a", "b"):
            assert set(written(control_plane, "deploy", name, shop).split(",")) == ports
    assert fsm_plugin.run("exclude-port", "8081", "-l", "app=a", "-n", shop).returncode == 0
    assert "8081" in written(control_plane, "deploy", "a", shop)
    assert "8081" not in written(control_plane, "deploy", "b", shop)
    assert written(control_plane, "deploy", "c", shop) is None


def test_a_pod_whose_owner_is_gone(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.stateful_set("db", shop))
    pod = pod_name(control_plane, shop, "db")
    control_plane.kubectl("delete", "sts", "db", "-n", shop, "--cascade=orphan")
    control_plane.wait(
        lambda: not control_plane.get("pod", pod, shop)["metadata"].get("ownerReferences"), "the pod is an orphan"
    )
    done = fsm_plugin.run("exclude-port", "8081", "--pod", pod, "-n", shop)
    assert done.returncode == 0, done.stderr
    assert "only a new pod will have it" in done.stdout


def test_an_argo_rollout_without_pods_counts_for_the_limit(control_plane, fsm, fsm_plugin, custom_kinds):
    shop = fsm.namespace()
    rollout = workloads.rollout("idle", shop, "none")
    del rollout["spec"]["workloadRef"]
    full = {PORTS: ",".join(map(str, range(1, 16)))}
    control_plane.apply({**rollout, "spec": {**rollout["spec"], "template": workloads.pod_template("idle", full)}})
    done = fsm_plugin.run("exclude-port", "6379")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the next pods of rollout/idle in {shop}" in done.stderr
