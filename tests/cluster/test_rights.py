"""Least privilege on a real control plane: what docs/rbac.yaml grants, what verbs ask for, what they say they lack."""

import re

import pytest
from docopt import docopt

from kubectl_fsm import __version__, commands
from kubectl_fsm.arguments import Arguments, order
from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.operations.rights import EDIT, ORACLE, READ, RESTART
from kubectl_fsm.usage import options
from tests.cluster.test_eviction import apply, replica_set
from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_trace import service, wait_for_endpoints
from tests.support import rbac, workloads
from tests.support.rbac import User, said

READING = {
    "version": "version",
    "status": "status -n SHOP",
    "status -A": "status -A",
    "rules of a namespace": "rules -n SHOP",
    "rules of all": "rules -A",
    "rules of a pod": "rules POD -n SHOP",
    "rules of a workload": "rules deploy/web -n SHOP",
    "rules of all sorts": "rules sts/db ds/agent cj/report job/once -n SHOP",
    "rules by label": "rules -l app=web -n SHOP",
    "trace to a Service": "trace deploy/web svc/api:80 -n SHOP",
    "trace to an address": "trace deploy/web ADDRESS:80 -n SHOP",
    "trace to a workload": "trace POD deploy/api:8080 -n SHOP",
    "check": "check -n SHOP --severity info",
    "check -A": "check -A",
    "exclusions": "exclusions -n SHOP",
    "exclusions -A": "exclusions -A -o json",
    "exclusions --export": "exclusions --export=patch",
}
EDITING = {
    "a port of the mesh": "exclude-port 6379",
    "a Service of the mesh": "exclude-ip svc/api.SHOP kubernetes-api",
    "the mesh's only ranges": "include-ip 10.0.0.0/8 --yes",
    "an interface": "exclude-interface net1",
    "a workload": "exclude-port 7000 --workload=deploy/web -n SHOP",
    "a pod's workload": "exclude-port 7001 --pod=POD -n SHOP",
    "by label": "exclude-port 7002 -l app=web -n SHOP",
    "a StatefulSet": "exclude-port 7007 --workload=sts/db -n SHOP",
    "a DaemonSet": "exclude-port 7008 --workload=ds/agent -n SHOP",
    "a ReplicaSet": "exclude-port 7009 --workload=rs/lone -n SHOP",
    "a CronJob": "exclude-port 7003 --workload=cj/report -n SHOP",
    "a bare pod": "exclude-port 7004 --workload=pod/alone -n SHOP",
    "a Service for a workload": "exclude-ip svc/api --workload=deploy/web -n SHOP",
}
RESTARTING = {
    "a workload": "restart deploy/web -n SHOP --all-pods",
    "a pod's workload": "restart POD -n SHOP --all-pods",
    "a namespace": "restart --all -n SHOP --all-pods --yes",
    "a StatefulSet and a DaemonSet": "restart sts/db ds/agent -n SHOP --all-pods --yes",
    "not waited for": "restart deploy/web -n SHOP --all-pods --no-wait",
    "a plan for all": "restart -A --dry-run",
    "a plan": "restart --all -n SHOP --all-pods --dry-run",
    "evicted": "restart rs/lone -n SHOP --all-pods --evict",
    "created anew": "restart pod/alone -n SHOP --all-pods --recreate",
    "with a canary": "restart deploy/web deploy/api -n SHOP --all-pods --yes --canary deploy/api",
}
ROLLING = {
    "the mesh, then its pods": "exclude-port 6380 --restart --yes",
    "several workloads": "exclude-port 7005 --workload=deploy/web --workload=deploy/api -n SHOP --yes",
    "all, and restart": "exclude-port 7006 --all -n SHOP --yes --restart",
}
"""Edits that roll workloads and wait for them: these take the restarting role as well."""


@pytest.fixture
def shop(control_plane, fsm):
    """A namespace in the mesh with workloads of all sorts."""
    name = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", name),
        workloads.deployment("api", name, replicas=2),
        service("api", name),
        replica_set("lone", name, 1),
        workloads.stateful_set("db", name),
        workloads.daemon_set("agent", name),
        workloads.cron_job("report", name),
        workloads.job("once", name),
    )
    apply(control_plane, workloads.pod("alone", name))
    for app, count in {"web": 1, "api": 2, "lone": 1, "alone": 1, "db": 1, "agent": 1, "once": 1}.items():
        ready_pods(control_plane, name, app, count)
    wait_for_endpoints(control_plane, name, "api", 2)
    return name


@pytest.fixture
def words(control_plane, shop):
    """The words of a command line of the tables."""

    def words(line):
        control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop)  # or the pod may be about to go
        (pod,) = ready_pods(control_plane, shop, "web")
        address = control_plane.get("service", "api", shop)["spec"]["clusterIP"]
        return line.replace("SHOP", shop).replace("POD", pod["metadata"]["name"]).replace("ADDRESS", address).split()

    return words


def declared(argv, kubeconfig):
    """Roles and rights that a command line says it asks for, on the cluster as the owner of the kubeconfig sees it."""
    verb, *rest = argv
    module = commands.load(verb)
    matched = docopt(module.USAGE, ["fsm", verb, *order(rest, options(module.USAGE)).canonical()], default_help=False)
    return module.parse(Arguments(matched)).rights(kube.connect(ConnectionOptions(kubeconfig=str(kubeconfig))))


def kinds(rights):
    """Verb, group and resource of each."""
    return {said(str(need.right)).kind for need in rights.needs}


def came_to_its_end(done):
    """Whether nothing was in the way: 0, but for a check that finds what other tests have left in the cluster."""
    found = re.search(r"^\d+ (?:error|warning)s?\b.* in \d+ objects? by ", done.stdout, re.MULTILINE)
    return done.returncode == (1 if found else 0)


def works(plugin, user, argv):
    """Run it; it has to do its work without being denied anything, and what it asks for is what it says. What it asked."""
    saying = declared(argv, user.kubeconfig)
    done = plugin.run(*argv, "-v=8", env=user.environment)
    assert came_to_its_end(done), done
    asked = rbac.requests(done.stderr)
    assert [grant for grant, status in asked if status == 403] == []
    assert {grant.kind for grant, _ in asked} <= kinds(saying)
    return {grant.kind for grant, _ in asked}, set(saying.roles)


TABLES = {"reading": ([READ], READING), "editing": ([EDIT], EDITING), "restarting": ([RESTART], RESTARTING)}
TABLES["rolling"] = ([EDIT, RESTART], ROLLING)
ASKING = {"rules": "rules deploy/web -n SHOP --from-injector", "check": "check POD -n SHOP --severity info"}
TABLES["asking"] = ([READ, ORACLE], ASKING)


SERVED = ("", "apps", "batch", "discovery.k8s.io", "policy", "autoscaling", "config.flomesh.io")
"""API groups of which there is something here; the unit tests have the others."""
UNSEEN = {
    READ: {("list", "", "events"), ("get", "", "pods/log")},
    EDIT: set(),
    RESTART: {("list", "", "events"), ("get", "batch", "jobs"), ("get", "batch", "cronjobs")},
}
"""What a role grants that none of these lines comes to: it tells why something failed, or is left alone."""


@pytest.mark.parametrize("table", TABLES)
def test_a_role_is_enough_for_its_verbs(control_plane, fsm_plugin, words, table):
    roles, lines = TABLES[table]
    user, used = User(control_plane), set()
    for role in roles:
        user.bind(role)
    for line in lines.values():
        asked, named = works(fsm_plugin, user, words(line))
        used |= asked
        assert named == set(roles), line
    if len(roles) == 1:
        held = {grant.kind for grant in rbac.held(roles[0]) if grant.group in SERVED}
        assert held - used == UNSEEN[roles[0]]


def test_the_reading_role_in_one_namespace_and_the_control_planes(control_plane, fsm_plugin, shop, words):
    user = User(control_plane)
    user.bind(READ, shop, "fsm-system")
    for line in (line for line in READING.values() if "SHOP" in line):
        done = fsm_plugin.run(*words(line), env=user.environment)
        assert came_to_its_end(done), f"{line}\n{done}"
    done = fsm_plugin.run("status", "-A", env=user.environment)
    assert (done.returncode, rbac.missing(done.stderr)) == (1, ["list pods in all namespaces"])


@pytest.mark.parametrize("table", TABLES)
def test_what_is_missing_is_named_at_once_and_is_all_it_takes(control_plane, fsm_plugin, words, table):
    """Whoever has nothing is told what to get, gets just that, and is done."""
    _, lines = TABLES[table]
    for line in lines.values():
        user = User(control_plane)
        refused = fsm_plugin.run(*words(line), env=user.environment)
        assert (refused.returncode, refused.stdout) == (1, f"Client: {__version__}\n" if line == "version" else ""), (
            line
        )
        assert refused.stderr.startswith("Error from server (Forbidden): ")
        user.grant(map(said, rbac.missing(refused.stderr)))
        done = fsm_plugin.run(*words(line), env=user.environment)
        assert came_to_its_end(done), f"{line}\n{refused.stderr}\n{done}"


@pytest.mark.parametrize("table", TABLES)
def test_each_right_that_is_named_is_needed(control_plane, fsm_plugin, shop, words, table):
    """Whoever lacks a single one is told that one."""
    line = {
        "reading": "trace deploy/web svc/api:80 -n SHOP",
        "asking": "rules deploy/web -n SHOP --from-injector",
        "editing": "exclude-port PORT --workload=deploy/web -n SHOP",
        "restarting": "restart deploy/web -n SHOP --all-pods",
        "rolling": "exclude-port PORT --workload=deploy/web -n SHOP --restart",
    }[table]
    user = User(control_plane)
    named = rbac.missing(fsm_plugin.run(*words(line.replace("PORT", "7000")), env=user.environment).stderr)
    assert len(named) > 3
    for port, lacking in enumerate(named, 7100):  # what is there already is not written again
        user.grant(said(one) for one in named if one != lacking)
        control_plane.kubectl(
            "rollout", "status", "deploy/web", "-n", shop
        )  # without `watch` it is begun, and not followed
        refused = fsm_plugin.run(*words(line.replace("PORT", str(port))), env=user.environment)
        assert refused.returncode == 1, f"{lacking}\n{refused.stdout}{refused.stderr}"
        missing = said("\n".join(rbac.missing(refused.stderr)))
        assert missing._replace(name="") == said(lacking)._replace(name=""), refused.stderr


def test_a_reader_who_restarts_learns_all_that_it_takes(control_plane, fsm_plugin, shop):
    """The injector cannot be asked, so nothing comes to the rollout; what that needs is named all the same."""
    user = User(control_plane)
    user.bind(READ)
    done = fsm_plugin.run("restart", "deploy/web", "-n", shop, "--all-pods", env=user.environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "\nerror: the injector could not be asked about the next pods, so nothing is restarted" in done.stderr
    assert "\n--skip-preflight goes on without; new pods are looked at in any case\nthese rights" in done.stderr
    assert rbac.missing(done.stderr) == [
        "get meshconfigs.config.flomesh.io in fsm-system (fsm-mesh-config)",
        f"create pods in {shop}",
        f"patch deployments.apps in {shop} (web)",
        f"watch deployments.apps in {shop} (web)",
        f"watch pods in {shop}",
    ]
    assert done.stderr.endswith("ask for them, or for ClusterRole kubectl-fsm-restart of docs/rbac.yaml\n")
