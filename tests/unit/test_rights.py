"""What commands say they need, against docs/rbac.yaml; and what is said where that is missing."""

from functools import cache

import pytest

from kubectl_fsm import cli, commands
from kubectl_fsm.arguments import order
from kubectl_fsm.cluster.interface import CUSTOM_WORKLOADS, Resource
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.operations import rights
from kubectl_fsm.operations.rights import EDIT, ORACLE, READ, RESTART
from kubectl_fsm.usage import options
from tests.support import rbac
from tests.support.rbac import Grant, said
from tests.unit.test_guards_offline import NAMESPACE, deployment, meshconfig, pod
from tests.unit.test_held_edits import OLD, Remote, cron_job, running

TABLE = {
    "exclude-port": [
        (EDIT, "80 -N fsm-system"),
        (EDIT, "80 -N fsm-system --dry-run"),
        (EDIT, "80 -N osm-system --dry-run=server"),
        (EDIT, "80 --workload=deploy/web -n shop"),
        (EDIT, "80 --workload=rollout/ro -n shop"),
        (EDIT, "80 --workload=sts/db --workload=cloneset/clone -n shop --dry-run"),
        (EDIT, "80 --pod=web-1 -n shop"),
        (EDIT, "80 --pod=alone -n shop"),
        (EDIT, "80 --workload=cj/nightly -n shop"),
        (EDIT, "80 --all -n shop --dry-run=server"),
        (EDIT, "80 -l app=web -n shop --dry-run=server"),
        (f"{EDIT} {RESTART}", "80 --all -n shop --restart --yes"),
        (f"{EDIT} {RESTART}", "80 --workload=deploy/web --workload=ds/agent -n shop --yes"),
        (f"{EDIT} {RESTART}", "80 --restart --yes -N fsm-system"),
    ],
    "exclude-ip": [
        (EDIT, "svc/redis kubernetes-api -N fsm-system"),
        (EDIT, "svc/redis.cache --workload=deploy/web -n shop"),
    ],
    "include-ip": [(EDIT, "10.0.0.0/8 -N fsm-system")],
    "exclude-interface": [(EDIT, "net1 -N fsm-system")],
    "exclusions": [(READ, "-n shop"), (READ, "-A"), (READ, "--export=patch -N fsm-system")],
    "status": [(READ, "-n shop"), (READ, "-A")],
    "rules": [
        (READ, "-n shop"),
        (READ, "-A"),
        (f"{READ} {ORACLE}", "deploy/web -n shop --from-injector"),
        (READ, "web-1 deploy/web cj/nightly rollout/ro ds/agent -n shop"),
    ],
    "trace": [
        (READ, "deploy/web svc/redis:80 -n shop"),
        (READ, "web-1 deploy/web:80 -n shop"),
        (READ, "web-1 10.0.0.1:80 -n shop"),
        (READ, "web-1 10.96.0.9:80 -n shop"),
    ],
    "check": [
        (READ, "-n shop"),
        (READ, "-A"),
        ("", "--list"),
        (f"{READ} {ORACLE}", "deploy/web -n shop"),
        (f"{READ} {ORACLE}", "-A --from-injector"),
    ],
    "restart": [
        (RESTART, "deploy/web -n shop"),
        (RESTART, "web-1 -n shop --no-wait"),
        (RESTART, "--all -n shop --all-pods --evict --recreate --skip-preflight"),
        (RESTART, "rs/set cloneset/clone -n shop --evict"),
        (RESTART, "-A --dry-run"),
        (RESTART, "-A --evict --recreate --yes"),
    ],
    "completion": [("", "print")],
    "version": [(READ, ""), (READ, "-N fsm-system")],
}
"""By verb: the roles with which a command line works."""

CUSTOM = [Resource(group, "v1alpha1", kind, f"{kind.lower()}s") for group, kind in sorted(CUSTOM_WORKLOADS)]
APPLICATIONS = Resource("argoproj.io", "v1alpha1", "Application", "applications")
POLICIES = [
    Resource("access.smi-spec.io", "v1alpha3", "TrafficTarget", "traffictargets"),
    Resource("policy.flomesh.io", "v1alpha1", "AccessControl", "accesscontrols"),
    Resource("policy.flomesh.io", "v1alpha1", "IngressBackend", "ingressbackends"),
    Resource("policy.openservicemesh.io", "v1alpha1", "IngressBackend", "ingressbackends"),
]


def of_kind(kind, name, api_version="apps/v1"):
    return {**deployment(name), "apiVersion": api_version, "kind": kind}


OSM = {**meshconfig(), "apiVersion": "config.openservicemesh.io/v1alpha2"}
OSM = {**OSM, "metadata": {"name": "osm-mesh-config", "namespace": "osm-system"}}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "redis", "namespace": "shop"},
    "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
}
OBJECTS = [
    meshconfig(outboundPortExclusionList=[6379]),
    OSM,
    NAMESPACE,
    SERVICE,
    deployment(),
    running("web-1"),
    of_kind("StatefulSet", "db"),
    running("db-1", "StatefulSet", "db"),
    of_kind("DaemonSet", "agent"),
    running("agent-1", "DaemonSet", "agent"),
    of_kind("ReplicaSet", "set"),
    running("set-1", "ReplicaSet", "set"),
    cron_job(),
    *(of_kind(one.kind, one.kind[:5].lower(), one.api_version) for one in CUSTOM),
    pod("alone", OLD, uid="alone"),
]


class Guarded(Remote):
    """A cluster that serves every kind, to somebody who has the rights that `may` tells. `asked` counts requests."""

    denied, origin, words = False, "context test", ()

    def __init__(self, *objects, may=lambda _: True, reviews=True):
        super().__init__(*objects)
        self.may, self.answers_reviews, self.asked, self.reviews = may, reviews, [], []
        self.kinds = lambda: CUSTOM

    def get(self, resource, name, namespace=""):
        self._ask("get", resource, namespace if resource.namespaced else name, name)
        return self.files.get(resource, name, namespace)

    def list(self, resource, namespace="", selector=""):
        self._ask("list", resource, namespace)
        return self.files.list(resource, namespace, selector)

    def patch(self, resource, name, namespace, merge, *, dry_run=False):
        self._ask("patch", resource, namespace, name)
        return super().patch(resource, name, namespace, merge, dry_run=dry_run)

    def observe(self, *views):
        for view in views:
            self._ask("watch", view.resource, view.namespace, view.name)

    def create(self, resource, namespace, obj):
        if not self.answers_reviews:
            raise Forbidden(403, "Forbidden", "no reviews for you")
        found = obj["spec"]["resourceAttributes"]
        plural = "/".join(filter(None, (found["resource"], found["subresource"])))
        self.reviews.append(Grant(found["verb"], found["group"], plural, found["namespace"], found["name"]))
        return {"status": {"allowed": self.may(self.reviews[-1])}}

    def resource_named(self, text):
        if known := [one for one in (APPLICATIONS, *POLICIES) if one.qualified == text]:
            return known[0]
        for one in CUSTOM:
            if text == one.kind.lower():
                return one
        return self.files.resource_named(text)

    def _ask(self, verb, resource, namespace, name=""):
        self.asked.append(Grant(verb, resource.group, resource.plural, namespace, name))
        if not self.may(self.asked[-1]):
            self.denied = True
            details = {"kind": resource.plural, "group": resource.group}
            raise Forbidden(403, "Forbidden", f"may not {verb} {resource.qualified}", "ask for that", details)


def declared(cluster, verb, words):
    module = commands.load(verb)
    arguments = cli._match(verb, module.USAGE, order(words.split(), options(module.USAGE)).canonical())
    return module.parse(arguments).rights(cluster)


@cache
def everything():
    """Each line of the table with its roles and what it needs, as somebody with all rights sees it, and with none."""
    return [
        (f"{verb} {words}", roles.split(), declared(Guarded(*OBJECTS, may=lambda _, may=may: may), verb, words))
        for verb, lines in TABLE.items()
        for roles, words in lines
        for may in (True, False)
    ]


def kinds(found):
    return {said(str(need.right)).kind for need in found.needs}


def test_every_verb_is_in_the_table():
    assert set(TABLE) == set(commands.VERBS)


def test_each_names_the_roles_that_hold_what_it_needs():
    for line, roles, found in everything():
        assert list(found.roles) in (roles, roles[:1]), line  # without any right it cannot tell whether it rolls
        held = {grant for role in found.roles for grant in rbac.held(role)}
        for need in found.needs:
            wanted = said(str(need.right))
            assert any(one.kind == wanted.kind and one.name in ("", wanted.name) for one in held), (
                line,
                str(need.right),
            )


@pytest.mark.parametrize("role", rbac.ROLES)
def test_a_role_holds_nothing_that_no_verb_asks_for(role):
    asked = set()
    for _, roles, found in everything():
        if role in roles:
            others = {grant.kind for other in roles if other != role for grant in rbac.held(other)}
            asked |= kinds(found) - others
    assert {grant.kind for grant in rbac.held(role)} <= asked


@pytest.fixture
def program(monkeypatch, capsys):
    """The program on a cluster: (exit code, stdout, stderr)."""

    def program(cluster, line):
        monkeypatch.setattr(cli, "_cluster", lambda *_: cluster)
        return cli.main(line.split()), *capsys.readouterr()

    return program


def without(*kinds):
    """Every right but these, as `verb plural`."""
    return lambda grant: f"{grant.verb} {grant.resource}" not in kinds


SHOP = [meshconfig(), NAMESPACE, deployment(), running("web-1")]


def test_all_that_is_missing_is_named_after_kubectls_own_line(program):
    cluster = Guarded(
        *SHOP, may=without("list pods", "list meshconfigs", "get namespaces", "list jobs", "list cronjobs")
    )
    cluster.kinds = lambda: ()
    assert program(cluster, "rules -n shop") == (
        1,
        "",
        """\
Error from server (Forbidden): may not list meshconfigs.config.flomesh.io
these rights are missing:
  list meshconfigs.config.flomesh.io in fsm-system
  list pods in shop
it works without these, but less well:
  list pods in all namespaces: where the mesh's version is not known, no pod tells it either
  list jobs.batch, cronjobs.batch in shop: what these own may stand alone
  get namespaces (shop): every namespace counts as part of the mesh
ask for them, or for ClusterRole kubectl-fsm-read of docs/rbac.yaml
""",
    )
    assert len(cluster.reviews) == len(set(cluster.reviews))


def test_only_groups_that_are_served_are_named(program):
    nothing = {"may": lambda _: False}
    fsm, both = Guarded(*SHOP, **nothing), Guarded(*SHOP, OSM, **nothing)
    assert "config.openservicemesh.io" not in program(fsm, "version")[2]
    err = program(both, "version")[2]
    assert "  list meshconfigs.config.flomesh.io in fsm-system\n" in err
    assert "  list meshconfigs.config.openservicemesh.io in osm-system\n" in err


@pytest.mark.parametrize(
    ("may", "line", "code"),
    [
        (lambda _: True, "rules deploy/nobody -n shop", 1),
        (without("list namespaces", "get namespaces", "list jobs"), "status -n shop", 0),
    ],
    ids=["nothing is denied", "it works without"],
)
def test_no_review_is_asked_for(program, may, line, code):
    cluster = Guarded(*SHOP, may=may)
    assert program(cluster, line)[0] == code
    assert cluster.reviews == []


def test_where_nothing_is_missing_an_error_stays_as_it_is(program):
    """What failed has nothing to do with what was denied."""
    cluster = Guarded(*SHOP, may=without("list deployments"))
    code, _, err = program(cluster, "rules deploy/nobody -n shop")
    assert (code, "missing" in err, cluster.reviews != []) == (1, False, True)
    assert "less well" not in err


def test_where_nobody_may_ask_the_error_stays_as_it_is(program):
    code, _, err = program(Guarded(*SHOP, may=without("list pods"), reviews=False), "rules -n shop")
    assert (code, err) == (1, "Error from server (Forbidden): may not list pods\nask for that\n")


def test_what_was_denied_beside_what_is_known_to_be_needed_keeps_its_own_hint(program):
    """An operator's own kind, which no verb can name beforehand."""
    database = {"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "pg", "namespace": "shop"}}
    owned = deployment()
    owner = {"apiVersion": "example.com/v1", "kind": "Database", "name": "pg", "controller": True, "uid": "x"}
    owned["metadata"]["ownerReferences"] = [owner]
    cluster = Guarded(
        meshconfig(), NAMESPACE, owned, database, may=without("get databases", "list databases", "patch meshconfigs")
    )
    _, _, err = program(cluster, "exclude-port 80")
    assert err.startswith("Error from server (Forbidden): may not get databases.example.com\nask for that\n")
    assert "missing:\n  patch meshconfigs.config.flomesh.io in fsm-system (fsm-mesh-config)\n" in err


def test_a_write_that_is_denied_names_what_comes_after_it(program):
    may = without("patch deployments", "watch pods", "watch deployments", "create pods")
    _, _, err = program(Guarded(*SHOP, may=may), "exclude-port 80 --workload=deploy/web -n shop")
    assert "missing:\n  patch deployments.apps in shop (web)\nask for" in err
    _, _, err = program(Guarded(*SHOP, may=may), "exclude-port 80 --workload=deploy/web -n shop --restart")
    for right in ("patch deployments.apps in shop (web)", "watch deployments.apps in shop (web)", "watch pods in shop"):
        assert f"  {right}\n" in err
    assert "\n  create pods in shop: the injector is not asked beforehand\n" in err
    assert "ClusterRoles kubectl-fsm-edit and kubectl-fsm-restart of" in err


def test_what_is_missing_of_one_and_of_all_is_named_once():
    """In a namespace that cannot be read, a workload by name is one of its kind."""
    cluster = Guarded(*SHOP, may=lambda _: False)
    found = declared(cluster, "exclude-port", "80 --workload=deploy/web -n shop")
    error = Forbidden(403, "Forbidden", "no")
    rights.explain(error, cluster, found)
    assert rbac.missing(error.hint).count("get deployments.apps in shop") == 1
    assert "get deployments.apps in shop (web)" not in rbac.missing(error.hint)


def test_what_is_missing_is_not_named_again_among_what_it_works_without(program):
    """Of a workload by name its kind is also asked for who owns its pods, and so is that between the two."""
    kinds = "get deployments", "get replicasets", "get namespaces"
    _, _, err = program(Guarded(*SHOP, may=without(*kinds)), "rules deploy/web -n shop")
    assert rbac.missing(err) == ["get deployments.apps in shop (web)", "get replicasets.apps in shop"]
    assert err.partition("less well:\n")[2].splitlines()[:-1] == [
        "  get namespaces (shop): every namespace counts as part of the mesh"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("restart deploy/web -n shop", ""),
        ("restart web-1 -n shop", "for whatever"),
        ("restart --all -n shop", "for whatever"),
    ],
)
def test_rights_for_what_cannot_be_read_say_so(program, line, said):
    _, _, err = program(Guarded(*SHOP, may=lambda _: False), line)
    assert "  patch deployments.apps in shop" in err
    assert ("so they are for whatever it may be):" in err) == bool(said)
    assert ("  patch statefulsets.apps in shop\n" in err) == bool(said)
