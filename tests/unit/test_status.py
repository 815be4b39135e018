"""The mesh at a glance: what is counted, what is said of it, and how it reads."""

import json
from types import SimpleNamespace

import pytest

from kubectl_fsm import cli
from kubectl_fsm.cluster import selectors
from kubectl_fsm.cluster.interface import BUDGETS, DEPLOYMENTS, NAMESPACES, STATEFULSETS, Resource
from kubectl_fsm.errors import Forbidden, InvalidObject, NotFound
from kubectl_fsm.generator import render
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.output import grid, structured, table
from tests.unit.test_guards_offline import NAMESPACE, OUT, deployment, meshconfig, pod, template
from tests.unit.test_held_edits import OLD, Remote, carry_out, cron_job, running

PLAIN, WIDE, COLOUR = grid.Style(), grid.Style(wide=True), grid.Style(colour=True)
NEW = render("fsm-1.5", {}, meshconfig(outboundPortExclusionList=[80])["spec"])
FULL = ",".join(map(str, range(1, 17)))


OSM_CONFIG = {
    "apiVersion": "config.openservicemesh.io/v1alpha2",
    "kind": "MeshConfig",
    "metadata": {"name": "osm-mesh-config", "namespace": "osm-system"},
    "spec": {"traffic": {"outboundPortExclusionList": []}},
}


def status(*objects, words=("-n", "shop"), config=None, kind=Remote, **options):
    """The report for a mesh whose MeshConfig excludes port 80, unless `config` is another one."""
    base = [config or meshconfig(outboundPortExclusionList=[80]), NAMESPACE]
    report, events = carry_out(kind(*base, *objects, **options), "status", *words)
    assert events == []
    return report


def only(*objects, **options):
    (item,) = status(*objects, **options).items
    return item


def counts(item):
    return item.pods, item.injected, item.current, item.outdated, item.failed


def labelled(obj, **labels):
    """The workload with labels on its template."""
    obj["spec"]["template"]["metadata"]["labels"] = labels
    return obj


def crashed(message="", code=2):
    ended = {"exitCode": code, "reason": "Error", **({"message": message} if message else {})}
    return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}


def budget(selector, allowed=0, namespace="shop", name="pdb"):
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": 2, "selector": selector},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2},
    }


def owned(obj, kind, name, api_version="apps/v1"):
    reference = {"apiVersion": api_version, "kind": kind, "name": name, "uid": "", "controller": True}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


class TestCounts:
    def test_each_state_of_pods(self):
        uninjected = pod("web-6", owner=("Deployment", "web"))
        item = only(
            deployment(),
            running("web-1", script=NEW),
            running("web-2", script=OLD),
            running("web-3", script=OLD),
            pod("web-4", NEW, ("Deployment", "web"), state=crashed("iptables-restore: line 9 failed")),
            pod("web-5", "echo hello", ("Deployment", "web")),
            uninjected,
        )
        assert (item.namespace, item.workload) == ("shop", "deploy/web")
        assert counts(item) == (6, 5, 1, 2, 1)
        assert item.changes == ["+80 outbound-port"]
        assert item.failures == ["Error, exit code 2: iptables-restore: line 9 failed"]
        external, late = item.notes
        assert external.startswith("its init container ran something else than an injector writes")
        assert late == "it was made before it could be injected; the next pod will be"

    def test_what_comes_and_goes_of_all_pods(self):
        before = render("fsm-1.5", {}, {"traffic": {"outboundIPRangeExclusionList": ["10.0.0.0/8"]}})
        item = only(deployment(), running("web-1", script=OLD), running("web-2", script=before))
        assert item.changes == ["+80 outbound-port", "-10.0.0.0/8 outbound-ip"]

    def test_pods_that_have_ended_or_end_are_counted_apart(self):
        done, leaving = running("web-2", script=OLD), running("web-3", script=OLD)
        done["status"]["phase"] = "Succeeded"
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        report = status(deployment(), running("web-1", script=NEW), done, leaving)
        assert counts(report.items[0]) == (1, 1, 1, 0, 0)
        assert report.finished == 2

    def test_pods_in_no_mesh_are_counted_apart(self):
        elsewhere = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        stranger = pod("x", uid="x")
        stranger["metadata"]["namespace"] = "other"
        idle = deployment("idle")
        idle["metadata"]["namespace"] = "other"
        report = status(elsewhere, stranger, idle, deployment(), running("web-1", script=NEW), words=["-A"])
        assert ([item.workload for item in report.items], report.outside) == (["deploy/web"], 1)

    def test_a_pod_whose_namespace_has_left_the_mesh(self):
        left = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        found, _ = carry_out(Remote(meshconfig(), left, deployment(), running("web-1")), "status", "-n", "shop")
        (item,) = found.items
        assert (counts(item), item.changes) == ((1, 1, 0, 1, 0), [])
        assert item.notes == [
            "the next pod will have no such rules: namespace shop is not labelled flomesh.io/monitored-by"
        ]
        assert item.blocked[0].startswith("its next pods would have no rules of the mesh: ")

    def test_workloads_without_pods_are_there(self):
        refused = deployment("bad", {OUT: "http"})
        report = status(deployment(replicas=0), refused, cron_job())
        assert [(item.workload, counts(item)) for item in report.items] == [
            (name, (0, 0, 0, 0, 0)) for name in ("cj/nightly", "deploy/bad", "deploy/web")
        ]
        assert report.items[1].notes == [
            f"the injector refuses the next pod: Invalid port value 'http' specified for annotation '{OUT}'"
        ]
        assert [item.notes for item in report.items[::2]] == [[], []]

    def test_an_operators_workload_without_pods_is_there(self):
        operator = {"apiVersion": "x.example/v1", "kind": "Postgres", "metadata": {"name": "main", "namespace": "shop"}}
        child = owned({**deployment("db"), "kind": "StatefulSet"}, "Postgres", "main", "x.example/v1")
        assert [item.workload for item in status(operator, child).items] == ["postgres/main"]

    def test_what_has_neither_pods_nor_a_template_is_not(self):
        loose = rollout(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"})
        assert status(loose, kind=Rollouts).items == []

    def test_a_namespace_that_is_not_there(self):
        report = status(words=["-n", "nowhere"])
        assert (report.items, report.notes) == ([], [])

    def test_a_namespace_that_has_changed_its_mesh(self):
        """Its pods still carry the old mesh's marks; the next ones are the new one's."""
        moved = {**NAMESPACE, "metadata": {"name": "shop", "labels": {"openservicemesh.io/monitored-by": "osm"}}}
        cluster = Remote(meshconfig(), OSM_CONFIG, moved, deployment(), running("web-1"))
        (item,) = carry_out(cluster, "status", "-n", "shop")[0].items
        assert (item.mesh, counts(item)) == ("osm (osm-system)", (1, 0, 0, 0, 0))

    def test_pods_that_differ_in_one_thing_are_not_alike(self):
        web = ("Deployment", "web")
        texts = [pod(f"web-{n}", NEW, web, state=crashed(f"line {n}")) for n in range(2)]
        assert only(deployment(), *texts).failures == [f"Error, exit code 2: line {n}" for n in range(2)]
        ended, begun = pod("web-1", "echo", web), pod("web-2", "echo", web, state={"state": {"running": {}}})
        assert counts(only(deployment(), ended, begun)) == (2, 2, 0, 0, 1)
        marked, plain = (pod(f"web-{n}", owner=web) for n in range(2))
        marked["metadata"]["labels"] = {"fsm-proxy-uuid": "x"}
        assert len(only(deployment(), marked, plain).notes) == 2
        stray = running("web-1", script=NEW)
        stray["metadata"]["annotations"] = {OUT: "80"}
        assert len(only(deployment(), running("web-2", script=NEW), stray).notes) == 1

    def test_a_job_that_has_ended_is_none(self):
        job = {**deployment("once"), "apiVersion": "batch/v1", "kind": "Job"}
        ended = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
        assert [item.workload for item in status(job).items] == ["job/once"]
        assert status(ended).items == []

    def test_bare_pods(self):
        item = only(pod("alone", OLD, uid="a"))
        assert (item.workload, item.outdated, item.restartable) == ("pod/alone", 1, False)
        (said,) = item.blocked
        assert said.startswith("a bare pod: delete it and apply its first manifest; its live one keeps the old rules (")

    def test_an_interception_mode_without_init_container(self):
        report = status(deployment(), running("web-1", script=NEW), config=meshconfig("NodeLevel"))
        assert report.meshes[0].notes[-1] == "this mode adds no init container: the lists are not used"
        injected = pod("api-1", "", ("Deployment", "api"))
        del injected["spec"]["initContainers"]
        item = only(deployment("api"), injected, config=meshconfig("NodeLevel"))
        assert (counts(item), item.notes) == ((1, 1, 0, 0, 0), ["interceptionMode NodeLevel"])

    def test_pods_of_one_workload_in_two_meshes_are_not_alike(self):
        other = pod("web-2", owner=("Deployment", "web"))
        other["spec"]["initContainers"] = [{"name": "osm-init", "command": ["sh"], "args": ["-c", "x"]}]
        item = only(deployment(), pod("web-1", owner=("Deployment", "web")), other)
        assert len(item.notes) == 2
        assert item.notes[1].startswith("its rules are those of another mesh")

    def test_two_meshes(self):
        cart = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "cart", "labels": {"openservicemesh.io/monitored-by": "osm"}},
        }
        there = deployment("cart")
        there["metadata"]["namespace"] = "cart"
        report = status(OSM_CONFIG, cart, there, deployment(), words=["-A"])
        assert [mesh.mesh for mesh in report.meshes] == ["fsm", "osm"]
        assert [(item.namespace, item.mesh.split()[0]) for item in report.items] == [("cart", "osm"), ("shop", "fsm")]
        assert "\nmesh osm (osm-system)\n" in table.as_table(report, PLAIN)
        one = status(OSM_CONFIG, cart, there, deployment(), words=["-A", "-N", "osm-system"])
        assert [item.namespace for item in one.items] == ["cart"]


class TestRemarks:
    def test_an_annotation_on_a_pod_but_not_on_its_template(self):
        stray = running(
            "web-1", script=render("fsm-1.5", {OUT: "22"}, {"traffic": {"outboundPortExclusionList": [80]}})
        )
        stray["metadata"]["annotations"] = {OUT: "22"}
        item = only(deployment(), stray, running("web-2", script=NEW))
        assert (item.outdated, item.changes) == (1, ["-22 outbound-port"])
        assert item.notes == [f"annotation {OUT}: 22 is on the pod but not on its template; it goes with the pod"]

    def test_an_annotation_of_another_mesh(self):
        wrong = OUT.replace("flomesh.io", "openservicemesh.io")
        item = only(deployment(annotations={wrong: "22"}), running("web-1", script=NEW), running("web-2", script=OLD))
        assert item.notes == [f"annotation {wrong} does nothing under FSM; its key is {OUT}"]

    def test_entries_that_do_nothing(self):
        config = meshconfig(outboundPortExclusionList=[80], outboundIPRangeExclusionList=["10.0.0.0/8", "10.1.0.0/16"])
        item = only(deployment(annotations={OUT: "80"}), running("web-1"), config=config)
        assert item.idle == [
            "outbound-port 80 is in MeshConfig and deploy/web template: one of them is enough",
            "outbound-ip 10.1.0.0/16 (MeshConfig) never matches: -A FSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j RETURN",
        ]
        assert only(deployment(), running("web-1")).idle == []

    @pytest.mark.parametrize(
        ("lists", "said"),
        [
            (
                {"outboundIPRangeExclusionList": ["10.1.0.0/16", "10.0.0.0/8"]},
                ["outbound-ip 10.1.0.0/16 (MeshConfig) adds nothing to 10.0.0.0/8"],
            ),
            (
                {"outboundIPRangeExclusionList": ["10.1.0.7/16", "10.1.0.0/16"]},
                ["outbound-ip 10.1.0.0/16 (MeshConfig) means the same as 10.1.0.7/16"],
            ),
            (
                {"networkInterfaceExclusionList": ["net+", "net1", "eth1"]},
                ["interface net1 (MeshConfig) adds nothing to net+"],
            ),
            (
                {
                    "outboundIPRangeInclusionList": ["10.0.0.0/8", "10.1.0.0/16"],
                    "outboundIPRangeExclusionList": ["192.168.0.0/16", "10.1.0.0/15"],
                },
                [
                    "outbound-ip 192.168.0.0/16 (MeshConfig) is outside the included ranges: nothing there is intercepted anyway",
                    "included-ip 10.1.0.0/16 (MeshConfig) never matches: -A FSM_PROXY_OUTBOUND -d 10.1.0.0/15 -j RETURN",
                ],
            ),
            (
                {"outboundIPRangeInclusionList": ["10.1.0.0/16"], "outboundIPRangeExclusionList": ["10.0.0.0/8"]},
                [
                    "included-ip 10.1.0.0/16 (MeshConfig) never matches: -A FSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j RETURN",
                ],
            ),
            ({"outboundIPRangeInclusionList": ["10.0.0.0/8"], "outboundIPRangeExclusionList": ["10.1.0.0/16"]}, []),
            (
                {"outboundIPRangeExclusionList": ["0.0.0.0/0"], "outboundPortExclusionList": [80]},
                [
                    "outbound-port 80 (MeshConfig) never matches: -A FSM_PROXY_OUTBOUND -d 0.0.0.0/0 -j RETURN",
                ],
            ),
        ],
    )
    def test_each_way_to_do_nothing(self, lists, said):
        assert only(deployment(), running("web-1"), config=meshconfig(**lists)).idle == said

    @pytest.mark.parametrize(
        ("obj", "owner", "said"),
        [
            (deployment(paused=True), "Deployment", "its rollout is paused: no pod is replaced until it is resumed"),
            (
                {**deployment(updateStrategy={"type": "OnDelete"}), "kind": "StatefulSet"},
                "StatefulSet",
                "its pods have it when they are deleted (OnDelete); restart --evict replaces its pods",
            ),
        ],
    )
    def test_what_a_restart_would_leave_alone(self, obj, owner, said):
        item = only(obj, running("web-1", owner, script=OLD))
        assert (item.outdated, item.blocked, item.restartable) == (1, [said], False)
        assert only(obj, running("web-1", owner, script=NEW)).blocked == []

    def test_a_cron_job(self):
        job = owned(
            {**deployment("nightly-1"), "apiVersion": "batch/v1", "kind": "Job"}, "CronJob", "nightly", "batch/v1"
        )
        run = owned(pod("nightly-1-x", OLD), "Job", "nightly-1", "batch/v1")
        item = only(cron_job(), job, run)
        assert (item.workload, item.outdated, item.blocked) == ("cj/nightly", 1, ["its next runs have it"])

    def test_a_child_of_an_operator(self):
        operator = {"apiVersion": "x.example/v1", "kind": "Postgres", "metadata": {"name": "main", "namespace": "shop"}}
        child = owned({**deployment("db"), "kind": "StatefulSet"}, "Postgres", "main", "x.example/v1")
        item = only(operator, child, running("db-0", "StatefulSet", "db", OLD))
        assert (item.workload, item.outdated) == ("postgres/main", 1)
        (said,) = item.blocked
        assert said.startswith("Postgres main has no pod template: restart it as its operator does; restart --evict")

    def test_an_owner_that_is_gone(self):
        item = only(owned(pod("web-1", OLD), "ReplicaSet", "web-abc"))
        assert item.blocked == ["its owner ReplicaSet web-abc is gone or cannot be read"]

    @pytest.mark.parametrize(
        ("selector", "held"),
        [
            ({"matchLabels": {"app": "web"}}, True),
            ({"matchLabels": {"app": "web", "tier": "x"}}, False),
            ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["api", "web"]}]}, True),
            ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
            ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
            ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
            ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
            ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
            ({}, True),
            (None, False),
        ],
    )
    def test_a_budget_without_room(self, selector, held):
        item = only(labelled(deployment(), app="web"), running("web-1", script=OLD), budget(selector))
        said = "PodDisruptionBudget pdb has no room (2 healthy of 2 wanted); rollouts do not heed it"
        assert item.blocked == ([said] if held else [])
        assert item.restartable

    def test_budgets_that_hold_nothing_back(self):
        everything = {"matchLabels": {"app": "web"}}
        others = [budget(everything, allowed=1), budget(everything, namespace="cart", name="other")]
        web = labelled(deployment(), app="web")
        for words in (("-n", "shop"), ("-A",)):
            assert only(web, running("web-1", script=OLD), *others, words=words).blocked == []
        assert only(web, running("web-1", script=NEW), budget(everything)).blocked == []

    def test_a_script_that_no_release_writes(self):
        item = only(deployment(), running("web-1", script=NEW.replace("FSM_PROXY", "fsm_PROXY")))
        (note,) = item.notes
        assert note.endswith("is spelled as in the documentation; no release writes it so")

    def test_an_operator_that_selectors_do_not_have(self):
        with pytest.raises(InvalidObject, match="'Like'"):
            selectors.of_object({"matchExpressions": [{"key": "app", "operator": "Like"}]})

    def test_what_the_next_pod_would_not_start_with(self):
        item = only(deployment(annotations={OUT: FULL}), running("web-1", script=NEW))
        assert item.notes == ["the next pod will not start: 17 outbound ports, and iptables takes 15 in one match"]
        assert not item.restartable


class Rollouts(Remote):
    """Manifests with a custom kind, which an API server takes whatever its fields are."""

    def __init__(self, *objects, **options):
        super().__init__(*objects, **options)
        self.kinds = lambda: [Resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")]


def rollout(**spec):
    metadata = {"name": "api", "namespace": "shop"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}


class TestWhatCannotBeRead:
    def test_a_template_is_noted_on_its_row(self):
        odd = rollout(template={"metadata": {"annotations": {OUT: 22}}, **template()})
        odd["spec"]["template"]["metadata"] = {"annotations": {OUT: 22}}
        owned_pod = owned(pod("api-1", OLD), "Rollout", "api", "argoproj.io/v1alpha1")
        report = status(odd, owned_pod, deployment(), running("web-1", script=NEW), kind=Rollouts)
        api, web = sorted(report.items, key=lambda item: item.workload != "rollout/api")
        assert (counts(api), counts(web)) == ((1, 1, 0, 0, 0), (1, 1, 1, 0, 0))
        assert len(api.notes) == 1
        assert f"{OUT} is a number, not a string" in api.notes[0]

    def test_an_owner_that_names_its_template_oddly(self):
        odd = rollout(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": 7})
        pods = [owned(pod(f"api-{n}", OLD), "Rollout", "api", "argoproj.io/v1alpha1") for n in range(2)]
        report = status(odd, *pods, deployment(), kind=Rollouts)
        assert [item.workload for item in report.items] == ["deploy/web"]
        assert report.notes == ["not counted: Rollout shop/api: spec.workloadRef.name is a number, not a string"]

    @pytest.mark.parametrize(
        ("lacking", "error", "note"),
        [
            (NAMESPACES, Forbidden, "without the right to read namespaces all count as part of the mesh"),
            (BUDGETS, Forbidden, "poddisruptionbudgets.policy cannot be read: what they hold back is not shown"),
            (BUDGETS, NotFound, "poddisruptionbudgets.policy cannot be read: what they hold back is not shown"),
            (DEPLOYMENTS, Forbidden, "without the right to list deployments.apps, what these own may stand alone"),
        ],
    )
    @pytest.mark.parametrize("where", [("-n", "shop"), ("-A",)])
    def test_kinds(self, lacking, error, note, where):
        class Narrow(Remote):
            def list(self, resource, namespace="", selector="", field_selector=""):
                if resource == lacking and selector == "":
                    raise error("no", "", 403)
                return self.files.list(resource, namespace, selector, field_selector)

            def get(self, resource, name, namespace=""):
                if resource == lacking:
                    raise error("no", "", 403)
                return self.files.get(resource, name, namespace)

        report = status(deployment(), running("web-1", script=NEW), words=where, kind=Narrow)
        assert report.notes == [note]
        assert [(item.workload, counts(item)) for item in report.items] == [("deploy/web", (1, 1, 1, 0, 0))]
        assert f"Note: {note}\n" in table.as_table(report, PLAIN)
        assert structured.document(report)["notes"] == [note]

    def test_without_namespaces_the_mesh_is_told_by_what_a_pod_carries(self):
        unmarked = pod("x", owner=("Deployment", "x"))
        cluster = Remote(meshconfig(), OSM_CONFIG, deployment(), running("web-1"), unmarked)
        report, _ = carry_out(cluster, "status", "-A")
        assert ([item.workload for item in report.items], report.outside) == (["deploy/web"], 1)

    def test_nothing_is_noted_where_everything_can_be_read(self):
        assert status(deployment()).notes == []


class TestRequests:
    class Counted(Remote):
        """Counts what is asked of a kind."""

        def __init__(self, *objects):
            super().__init__(*objects)
            self.asked = []

        def list(self, resource, namespace="", selector="", field_selector=""):
            self.asked.append(("list", resource.kind))
            return self.files.list(resource, namespace, selector, field_selector)

        def get(self, resource, name, namespace=""):
            self.asked.append(("get", resource.kind))
            return self.files.get(resource, name, namespace)

    OPERATORS = tuple(
        {"apiVersion": "x.example/v1", "kind": "Postgres", "metadata": {"name": f"pg{number}", "namespace": "shop"}}
        for number in range(5)
    )
    SETS = tuple(
        owned({**deployment(f"db{number}"), "kind": "StatefulSet"}, "Postgres", f"pg{number}", "x.example/v1")
        for number in range(5)
    )

    def test_owners_of_another_kind_are_listed_once(self):
        pods = [running(f"db{number}-0", "StatefulSet", f"db{number}") for number in range(5)]
        cluster = self.Counted(meshconfig(), NAMESPACE, *self.OPERATORS, *self.SETS, *pods)
        report, _ = carry_out(cluster, "status", "-n", "shop")
        assert [item.workload for item in report.items] == [f"postgres/pg{number}" for number in range(5)]
        assert [asked for asked in cluster.asked if asked[1] == "Postgres"] == [("list", "Postgres")]

    def test_an_owner_that_is_gone_brings_no_second_list(self):
        cluster = self.Counted(meshconfig(), NAMESPACE, owned(pod("web-1", OLD), "ReplicaSet", "web-abc"))
        carry_out(cluster, "status", "-n", "shop")
        assert [asked for asked in cluster.asked if asked[1] == "ReplicaSet"] == [
            ("list", "ReplicaSet"),
            ("get", "ReplicaSet"),
        ]

    def test_one_owner_needs_no_list(self):
        cluster = self.Counted(*self.OPERATORS, *self.SETS)
        assert Owners(cluster).of(STATEFULSETS, self.SETS[0]).label == "postgres/pg0"
        assert cluster.asked == [("get", "Postgres")]

    def test_pods_outside_the_mesh_need_no_owner(self):
        """A static pod's is its node."""
        static = owned(pod("proxy", uid="p"), "Node", "node-1", "v1")
        static["metadata"]["namespace"] = "kube-system"
        system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
        cluster = self.Counted(meshconfig(), system, static)
        report, _ = carry_out(cluster, "status", "-A")
        assert report.outside == 1
        assert "Node" not in {kind for _, kind in cluster.asked}


class TestHowItReads:
    OBJECTS = (
        deployment(),
        running("web-1", script=NEW),
        running("web-2", script=OLD),
        deployment("api", paused=True),
        running("api-1", owner="api", script=OLD),
        deployment("bad"),
        pod("bad-1", NEW, ("Deployment", "bad"), state=crashed("iptables-restore: too many ports specified")),
    )

    def test_the_whole_of_it(self):
        assert table.as_table(status(*self.OBJECTS), PLAIN) == (
            "context test · namespace shop\n"
            "mesh fsm (fsm-system), interceptionMode PodLevel\n"
            "Note: FSM's version is not shown; read as injector fsm-1.5, which fits its pods' rules\n"
            "3 workloads, 4 pods: 4 injected, 1 current, 2 outdated, 1 failed\n"
            "WORKLOAD    PODS  INJECTED  CURRENT  OUTDATED  FAILED  CHANGES\n"
            "deploy/api  1     1         0        1         0       +80 outbound-port\n"
            "deploy/bad  1     1         0        0         1       -\n"
            "deploy/web  2     2         1        1         0       +80 outbound-port\n"
            "failed: deploy/bad in shop: Error, exit code 2: iptables-restore: too many ports specified\n"
            "blocked: deploy/api in shop: its rollout is paused: no pod is replaced until it is resumed\n"
            "Apply: kubectl fsm restart --all -n shop\n"
        )

    def test_what_is_left_out_is_told_beside_the_totals(self):
        other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        done, stranger = running("web-2"), pod("x", uid="x")
        done["status"]["phase"] = "Failed"
        stranger["metadata"]["namespace"] = "other"
        text = table.as_table(status(other, deployment(), done, stranger, words=["-A"]), PLAIN)
        assert (
            "1 workloads, 0 pods: 0 injected, 0 current, 0 outdated, 0 failed; 1 in no mesh; 1 finished and left out\n"
            in text
        )

    def test_all_namespaces_and_wide(self):
        lines = table.as_table(status(*self.OBJECTS, words=["-A"]), WIDE).splitlines()
        assert lines[0] == "context test · all namespaces"
        heading = next(line for line in lines if line.startswith("NAMESPACE"))
        assert heading.split() == [
            "NAMESPACE",
            "WORKLOAD",
            "PODS",
            "INJECTED",
            "CURRENT",
            "OUTDATED",
            "FAILED",
            "CHANGES",
            "MESH",
        ]
        assert lines[-1] == "Apply: kubectl fsm restart -A"

    def test_colours_for_what_is_wrong_only(self):
        text = table.as_table(status(*self.OBJECTS), COLOUR)
        assert "\x1b[33m2 outdated\x1b[0m, \x1b[31m1 failed\x1b[0m" in text
        assert "\x1b" not in table.as_table(status(deployment(), running("web-1", script=NEW)), COLOUR)

    def test_what_is_said_of_many_is_said_once(self):
        config = meshconfig(outboundIPRangeExclusionList=["10.0.0.0/8", "10.1.0.0/16"])
        report = status(deployment("a"), deployment("b"), deployment("c"), config=config)
        remark = "outbound-ip 10.1.0.0/16 (MeshConfig) never matches: -A FSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j RETURN\n"
        assert table.as_table(report, PLAIN).endswith(f"\ndoes nothing: deploy/a in shop and 2 more: {remark}")
        everybody = "deploy/a in shop, deploy/b in shop, deploy/c in shop"
        assert table.as_table(report, WIDE).endswith(f"\ndoes nothing: {everybody}: {remark}")

    def test_the_worst_is_said_first_and_not_all_of_it(self):
        many = [deployment(f"w{number:02}", {OUT: f"x{number}"}) for number in range(25)]
        report = status(*many, *self.OBJECTS)
        remarks = [line for line in table.as_table(report, PLAIN).splitlines() if ": deploy/" in line]
        assert [line.split(":")[0] for line in remarks] == ["failed", "blocked", *["note"] * 18]
        assert "and 7 more: -o wide\n" in table.as_table(report, PLAIN)
        assert "more: -o wide" not in table.as_table(report, WIDE)

    def test_the_command_that_restarts_names_the_cluster(self):
        report = status(*self.OBJECTS, words=["-A", "-N", "fsm-system"], kind=Contextual)
        assert report.apply == "kubectl fsm restart -A -N fsm-system --context=prod"

    def test_nothing_to_restart(self):
        assert status(*self.OBJECTS[3:]).apply == ""
        assert status(deployment(), running("web-1", script=NEW)).apply == ""

    def test_strings_of_a_hostile_cluster(self):
        evil = "\x1b]0;owned\x07\u202e"
        failing = pod("web-1", NEW, ("Deployment", "web"), state=crashed(evil))
        report = status(
            deployment(annotations={OUT: evil}), failing, deployment(f"x{evil}"), config=meshconfig(f"x{evil}")
        )
        for text in (table.as_table(report, WIDE), structured.as_names(report), structured.as_json(report)):
            assert not set(evil[:1] + evil[-2:]) & set(text)
        assert "owned" in table.as_table(report, WIDE)


class Contextual(Remote):
    def __init__(self, *objects):
        super().__init__(*objects, words=["--context=prod"])


class TestForPrograms:
    def test_json(self):
        report = status(*TestHowItReads.OBJECTS, words=["-A"])
        document = json.loads(structured.as_json(report))
        assert (document["apiVersion"], document["kind"]) == ("kubectl-fsm/v1", "Status")
        assert document["totals"] == {
            "workloads": 3,
            "pods": 4,
            "injected": 4,
            "current": 1,
            "outdated": 2,
            "failed": 1,
            "outside": 0,
            "finished": 0,
        }
        api = document["items"][0]
        assert api == {
            "namespace": "shop",
            "workload": "deploy/api",
            "mesh": "fsm (fsm-system)",
            "pods": 1,
            "injected": 1,
            "current": 0,
            "outdated": 1,
            "failed": 0,
            "changes": ["+80 outbound-port"],
            "failures": [],
            "blocked": ["its rollout is paused: no pod is replaced until it is resumed"],
            "idle": [],
            "notes": [],
            "restartable": False,
        }
        assert document["apply"] == "kubectl fsm restart -A"
        assert [mesh["mode"] for mesh in document["meshes"]] == ["PodLevel"]

    def test_only_what_is_outdated(self):
        report = status(*TestHowItReads.OBJECTS, words=["-n", "shop", "--outdated"])
        assert structured.as_names(report) == "deploy/api\ndeploy/web\n"
        assert "deploy/bad" not in table.as_table(report, PLAIN)
        assert structured.document(report)["totals"]["workloads"] == 3

    def test_names_that_restart_takes(self):
        """In one namespace as arguments, with all of them line by line."""
        assert structured.as_names(status(*TestHowItReads.OBJECTS)) == "deploy/api\ndeploy/bad\ndeploy/web\n"
        everywhere = structured.as_names(status(*TestHowItReads.OBJECTS, words=["-A"]))
        assert everywhere == "deploy/api -n shop\ndeploy/bad -n shop\ndeploy/web -n shop\n"

    @pytest.mark.parametrize(
        ("script", "words", "code"), [(OLD, ["--exit-code"], 3), (OLD, [], 0), (NEW, ["--exit-code"], 0)]
    )
    def test_exit_code(self, monkeypatch, capsys, script, words, code):
        objects = [meshconfig(outboundPortExclusionList=[80]), NAMESPACE, deployment(), running("web-1", script=script)]
        cluster = Remote(*objects)
        monkeypatch.setattr(cli, "_cluster", lambda *_: SimpleNamespace(warnings=(), unread=(), **_everything(cluster)))
        assert cli.main(["status", "-n", "shop", *words]) == code
        assert "1 pods" in capsys.readouterr().out


def _everything(cluster):
    names = (
        "remote",
        "origin",
        "words",
        "kinds",
        "list",
        "get",
        "gather",
        "preferred_version",
        "resource",
        "namespace",
    )
    return {name: getattr(cluster, name) for name in names}
