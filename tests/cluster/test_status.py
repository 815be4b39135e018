"""The mesh at a glance on a real control plane, with real controllers behind what is counted."""

import base64
import http.client
import json
import re
import socket
import subprocess

from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import PODS
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_owners import custom_kinds  # noqa: F401 - a fixture
from tests.cluster.test_trace import READ, kubeconfig
from tests.support import workloads
from tests.support.plugin import EXECUTABLE

WRONG = "iptables-restore v1.8.9 (nf_tables): too many ports specified"
PODS_ONLY = {"apiGroups": ["", "config.flomesh.io"], "resources": ["pods", "meshconfigs"], "verbs": ["get", "list"]}


def status(plugin, namespace, *args):
    """The report of a namespace, and its lines by workload."""
    done = plugin.run("status", "-n", namespace, "-o", "json", *args)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return report, {item["workload"]: item for item in report["items"]}


def counts(item):
    return tuple(item[name] for name in ("pods", "injected", "current", "outdated", "failed"))


def budget(name, namespace):
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": 20, "selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
    }


def test_before_and_after_an_edit(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=2), workloads.stateful_set("db", shop))
    ready_pods(control_plane, shop, "web", 2)
    ready_pods(control_plane, shop, "db")
    report, before = status(fsm_plugin, shop, "--exit-code")
    flavour = mesh.flavour
    version, mode = flavour.mesh_version.removeprefix("v"), flavour.intercepting_mode or None
    assert report["meshes"] == [
        {"mesh": flavour.title.lower(), "version": version, "namespace": flavour.namespace, "mode": mode, "notes": []}
    ]
    assert {name: counts(item) for name, item in before.items()} == {
        "deploy/web": (2, 2, 2, 0, 0),
        "sts/db": (1, 1, 1, 0, 0),
    }
    assert (report["apply"], report["notes"]) == (None, [])

    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    report, after = status(fsm_plugin, shop)
    assert {name: (counts(item), item["changes"]) for name, item in after.items()} == {
        "deploy/web": ((2, 2, 0, 2, 0), ["+6379 outbound-port"]),
        "sts/db": ((1, 1, 0, 1, 0), ["+6379 outbound-port"]),
    }
    assert report["totals"] | {"finished": 0, "outside": 0} == report["totals"]
    assert report["totals"]["outdated"] == 3
    assert report["apply"] == f"kubectl fsm restart --all -n {shop}"
    assert fsm_plugin.run("status", "-n", shop, "--exit-code").returncode == 3


def test_names_lead_a_restart_to_what_is_outdated(control_plane, fsm, fsm_plugin):
    shop, cart = fsm.namespace(), fsm.namespace()
    for namespace in (shop, cart):
        control_plane.apply(workloads.deployment("web", namespace))
        ready_pods(control_plane, namespace, "web")
    control_plane.apply(workloads.deployment("api", cart))
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    fsm.wait_for_injector()
    control_plane.kubectl("rollout", "restart", "deploy/api", "-n", cart)
    control_plane.kubectl("rollout", "status", "deploy/api", "-n", cart, "--timeout=60s")
    ready_pods(control_plane, cart, "api")
    own = re.compile(rf"(?m)^.* -n (?:{shop}|{cart})\n")  # what other tests had may still be there
    listed = "".join(own.findall(fsm_plugin.run("status", "-A", "--outdated", "-o", "name").stdout))
    assert listed == "".join(f"deploy/web -n {namespace}\n" for namespace in sorted((shop, cart)))
    subprocess.run(
        ["xargs", "-L1", EXECUTABLE, "restart"], input=listed, env=dict(fsm_plugin.environment), text=True, check=True
    )
    assert not own.findall(fsm_plugin.run("status", "-A", "--outdated", "-o", "name").stdout)


def test_pods_whose_init_container_fails(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("bad", shop, {"kubectl-fsm.test/init-fails": WRONG}), workloads.deployment("web", shop)
    )
    ready_pods(control_plane, shop, "web")
    control_plane.wait(
        lambda: any(pod["status"].get("initContainerStatuses") for pod in control_plane.list("pods", shop, "app=bad")),
        "the init container has failed",
    )
    _, found = status(fsm_plugin, shop)
    assert counts(found["deploy/bad"]) == (1, 1, 0, 0, 1)
    assert found["deploy/bad"]["failures"] == [f"Error, exit code 2: {WRONG}"]
    text = fsm_plugin.run("status", "-n", shop).stdout
    assert f"failed: deploy/bad in {shop}: Error, exit code 2: {WRONG}\n" in text


def test_what_stands_in_the_way_of_a_restart(control_plane, fsm, fsm_plugin, custom_kinds):  # noqa: F811
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", shop, replicas=2),
        workloads.deployment("held", shop),
        workloads.cron_job("nightly", shop),
        workloads.pod("alone", shop),
        workloads.database("pg", shop),
        workloads.deployment("none", shop, replicas=0),
    )
    owner = control_plane.get("databases.example.com", "pg", shop)
    control_plane.apply(workloads.owned(workloads.stateful_set("pg-data", shop), owner))
    control_plane.kubectl("create", "job", "run", "--from=cronjob/nightly", "-n", shop)
    for name, count in (("web", 2), ("held", 1), ("alone", 1), ("pg-data", 1), ("nightly", 1)):
        ready_pods(control_plane, shop, name, count)
    control_plane.kubectl("rollout", "pause", "deploy/held", "-n", shop)
    control_plane.apply(budget("tight", shop))
    control_plane.wait(
        lambda: control_plane.get("pdb", "tight", shop).get("status", {}).get("expectedPods"), "the budget is counted"
    )
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0
    report, found = status(fsm_plugin, shop)
    obstacles = {
        name: [text for text in item["blocked"] if not text.startswith("PodDisruptionBudget tight has no room")]
        for name, item in found.items()
    }
    assert obstacles == {
        "deploy/web": [],
        "deploy/held": ["its rollout is paused: no pod is replaced until it is resumed"],
        "cj/nightly": ["its next runs have it"],
        "pod/alone": [
            "a bare pod: delete it and apply its first manifest; its live one keeps the old rules (it has no annotation kubectl.kubernetes.io/last-applied-configuration)"
        ],
        "database/pg": [
            "Database pg has no pod template: restart it as its operator does; restart --evict replaces its pods"
        ],
        "deploy/none": [],
    }
    assert [name for name, item in found.items() if item["restartable"]] == ["deploy/web"]
    room = "PodDisruptionBudget tight has no room (6 healthy of 20 wanted); rollouts do not heed it"
    assert found["deploy/web"]["blocked"] == [room]
    assert counts(found["deploy/none"]) == (0, 0, 0, 0, 0)
    assert report["totals"]["outdated"] == 6


def test_what_is_left_out_is_counted(control_plane, fsm, fsm_plugin, namespace):
    shop = fsm.namespace()
    job = workloads.job("once", shop)
    job["spec"]["template"]["metadata"]["annotations"]["kubectl-fsm.test/completes"] = ""
    control_plane.apply(job, workloads.deployment("web", shop), workloads.deployment("stranger", namespace))
    ready_pods(control_plane, shop, "web")
    ready_pods(control_plane, namespace, "stranger")
    control_plane.kubectl("wait", "--for=condition=Complete", "job/once", "-n", shop, "--timeout=60s")
    report, found = status(fsm_plugin, shop)
    assert list(found) == ["deploy/web"]
    assert (report["totals"]["finished"], report["totals"]["outside"]) == (1, 0)
    report, found = status(fsm_plugin, namespace)
    assert (found, report["totals"]["outside"]) == ({}, 1)


def test_what_may_not_be_read_is_said(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    kubeconfig(control_plane, f"pods-{shop}", "fsm-system", READ)
    path = kubeconfig(control_plane, f"pods-{shop}", shop, PODS_ONLY)
    report, found = status(fsm_plugin, shop, "--kubeconfig", str(path))
    namespaces, budgets, owners = report["notes"]
    assert namespaces == "without the right to read namespaces all count as part of the mesh"
    assert budgets == "poddisruptionbudgets.policy cannot be read: what they hold back is not shown"
    assert re.fullmatch("without the right to list .*deployments.apps, .*, what these own may stand alone", owners)
    ((name, item),) = found.items()
    assert (name.partition("/")[0], counts(item)) == ("rs", (1, 1, 1, 0, 0))
    nothing = fsm_plugin.run("status", "-A", "--kubeconfig", str(path))
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith("Error from server (Forbidden): pods is forbidden")


def requests(plugin, namespace):
    done = plugin.run("status", "-n", namespace, "-v=8")
    assert done.returncode == 0, done.stderr
    return re.findall(r"^([A-Z]+) (\S+) \d{3} in \d+ ms$", done.stderr, re.MULTILINE)


def test_more_workloads_cost_no_more_requests(control_plane, fsm, fsm_plugin, custom_kinds, figure):  # noqa: F811
    """Not even those that only an operator's own resource tells apart."""

    def fill(namespace, numbers):
        for number in numbers:
            control_plane.apply(
                workloads.database(f"pg{number}", namespace), workloads.deployment(f"web{number}", namespace)
            )
            owner = control_plane.get("databases.example.com", f"pg{number}", namespace)
            control_plane.apply(workloads.owned(workloads.stateful_set(f"data{number}", namespace), owner))
        for number in numbers:
            ready_pods(control_plane, namespace, f"web{number}")
            ready_pods(control_plane, namespace, f"data{number}")

    shop = fsm.namespace()
    fill(shop, range(1))
    few = requests(fsm_plugin, shop)
    fill(shop, range(1, 6))
    many = requests(fsm_plugin, shop)
    assert {method for method, _ in many} == {"GET"}
    assert sorted(many) == sorted(few)
    _, found = status(fsm_plugin, shop)
    assert len(found) == 12
    figure(f"status takes {len(many)} requests, whatever the number of workloads")


def compact(control_plane):
    """Make etcd forget all but its last revision."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(control_plane.folder / "client:0"))

    def ask(path, **body):
        connection.request("POST", f"/v3/kv/{path}", json.dumps(body))
        return json.loads(connection.getresponse().read())["header"]["revision"]

    ask("compaction", revision=ask("range", key="AA=="), physical=True)
    connection.close()


def aged(token):
    """The token as one of a listing that began with the cluster."""
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**content, "rv": 2}).encode()).decode().rstrip("=")


def test_a_continue_token_that_expires_in_the_middle(control_plane, namespace, monkeypatch):
    """Pods come and go while they are listed: those that stay are listed once each."""
    monkeypatch.setattr(kube, "PAGE", 3)
    names = [f"pod-{number:02}" for number in range(20)]
    control_plane.apply(*(workloads.pod(name, namespace) for name in names))
    said = []
    cluster = kube.connect(ConnectionOptions(kubeconfig=str(control_plane.kubeconfig), log=said.append))
    page = cluster._page

    def third_is_late(path, query):
        late = "continue" in query and len(said) == 2
        return page(path, {**query, "continue": aged(query["continue"])} if late else query)

    monkeypatch.setattr(cluster, "_page", third_is_late)
    found = cluster.list(PODS, namespace)
    first = next(found)["metadata"]["name"]
    control_plane.apply(workloads.pod("pod-01x", namespace), workloads.pod("pod-19x", namespace))
    compact(control_plane)
    listed = [first, *(pod["metadata"]["name"] for pod in found)]
    assert [name for name in listed if name in names] == names
    assert listed[-1] == "pod-19x"
    assert sum(" 410 in " in line for line in said) == 1
