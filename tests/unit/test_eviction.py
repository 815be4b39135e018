"""Pods that are evicted one by one: which, when the next one goes, and what ends it."""

import copy
import itertools
import json
from types import SimpleNamespace

import pytest

from kubectl_fsm import commands, fields
from kubectl_fsm.arguments import order
from kubectl_fsm.cli import _match
from kubectl_fsm.cluster import selectors
from kubectl_fsm.errors import ApiError, Conflict, Forbidden, NotFound, Refused, Unreachable, UsageError
from kubectl_fsm.generator import render
from kubectl_fsm.operations import canary, eviction, manner, meshes, patience, recreation, restart, rollout, targets
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.output import grid, table
from kubectl_fsm.reports import Note, Turn
from kubectl_fsm.usage import options
from tests.unit.test_guards_offline import OUT as LIST
from tests.unit.test_guards_offline import meshconfig
from tests.unit.test_lineup import budget
from tests.unit.test_rolling import (
    GOOD,
    KAFKA,
    NAMESPACE,
    OPERATOR,
    PORT,
    STALE,
    World,
    injected,
    owned_by,
    pod,
    workload,
)

SYSTEM = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "here"}}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
SET = ("StatefulSet", "db")
FULL = ApiError(429, "TooManyRequests", "no room; budget db needs 2")


class Kubelets(World):
    """A world in which what is deleted comes again a second later, and serves another second later.

    `verdicts` are raised by evictions, deletions and creations in their order, None lets one through; `script` is what new
    pods run. `events` are, by the second, functions of the world.
    """

    def __init__(self, *objects, verdicts=(), script=None, events=(), **more):
        super().__init__(PORT, NAMESPACE, SYSTEM, *objects, **more)
        self.verdicts, self.script, self.events = list(verdicts), script, dict(events)
        self.evicted, self.deleted, self.created, self.missing = [], [], [], []
        self.lets_down, self._numbers = False, itertools.count(1)

    def _verdict(self):
        refusal = self.verdicts.pop(0) if self.verdicts else None
        if refusal:
            raise refusal

    def _gone(self, name, namespace, uid):
        held = self.objects.get(self.key("Pod", namespace, name))
        if held is None:
            raise NotFound(404, "NotFound", f'pods "{name}" not found')
        if held["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", "the UID in the precondition is another")
        return self.take("Pod", name, namespace)

    def evict(self, name, namespace, uid):
        self._verdict()
        self.evicted.append((name, round(self.seconds - 1000)))
        self.missing.append(self._gone(name, namespace, uid))

    def delete(self, resource, name, namespace, uid):
        self._verdict()
        self.deleted.append(self._gone(name, namespace, uid))

    def create(self, resource, namespace, obj):
        self._verdict()
        if self.key("Pod", namespace, fields.name(obj)) in self.objects:
            raise Conflict(409, "AlreadyExists", "it is there")
        self.created.append(obj)
        made = injected(self, obj, self.script)
        made["metadata"] |= {"uid": f"new-{len(self.created)}"}
        return copy.deepcopy(self.put({**made, "status": {"phase": "Pending"}}))

    def observe(self, *views):
        for _ in range(3000):
            yield [list(self._seen(view)) for view in views]
            self.seconds += 1
            self.events.pop(round(self.seconds - 1000), lambda _: None)(self)
            self._second()
        pytest.fail("it waits for ever")

    def _seen(self, view):
        matches = selectors.parse(view.selector).matches if view.selector else lambda _: True
        found = self.list(view.resource, view.namespace)
        return [one for one in found if view.name in ("", fields.name(one)) and matches(fields.labels(one))]

    def resource_named(self, text):
        return self.resource("kafka.example/v1", "Kafka") if text == "kafka" else super().resource_named(text)

    def _second(self):
        for obj in self.objects.values():
            if obj["kind"] == "Pod" and obj["status"]["phase"] == "Pending" and not self.lets_down:
                obj["status"] = READY
        for old in self.missing:
            number = next(self._numbers)
            made = injected(self, {**old, "status": {"phase": "Pending"}}, self.script)
            made["metadata"] = {**old["metadata"], "name": f"new-{number}", "uid": f"new-{number}"}
            self.put(made)
        self.missing = []


@pytest.fixture(autouse=True)
def clock(monkeypatch, tmp_path):
    """Time passes in the world only, and files are the test's own."""
    current = SimpleNamespace(world=None)
    time = SimpleNamespace(monotonic=lambda: current.world.seconds, sleep=lambda seconds: current.world.sleep(seconds))  # noqa: PLW0108
    for module in (rollout, restart, manner, eviction, recreation, patience, canary):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.chdir(tmp_path)
    return current


@pytest.fixture
def carried_out(clock):
    """The report of a restart in namespace shop, and what it said."""

    def carried_out(world, *words, scope=("-n", "shop")):
        clock.world = world
        module = commands.load("restart")
        canonical = order([*words, *scope, "--yes"], options(module.USAGE)).canonical()
        work, events = module.parse(_match("restart", module.USAGE, canonical)).run(lambda: world), []
        try:
            while True:
                events.append(work.send(None if not events else True))
        except StopIteration as end:
            return end.value, events

    return carried_out


def database(*pods, kind="StatefulSet", **spec):
    return [workload("db", kind, **{"replicas": len(pods), "updateStrategy": {"type": "OnDelete"}, **spec}), *pods]


def serving(name, owner=SET, script=STALE, **more):
    return pod(name, owner, script, status=READY, **more)


def results(report):
    return {item.workload: (item.result, item.detail) for item in report.items}


def lines(events, *states):
    return [event.text for event in events if isinstance(event, Turn) and event.state in states]


def test_the_next_goes_when_the_new_one_serves(carried_out):
    world = Kubelets(*database(*(serving(f"db-{number}") for number in range(3)), replicas=3))
    report, events = carried_out(world, "sts/db", "--evict")
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 3, 3)]
    assert world.evicted == [("db-0", 0), ("db-1", 2), ("db-2", 4)]
    assert lines(events, "writing") == [
        f"sts/db in shop: pod db-{number} is evicted, {number} of 3 pods were evicted" for number in range(3)
    ]
    assert lines(events, "rolling") == [
        f"sts/db in shop: pod db-{number} was evicted, {number + 1} of 3" for number in range(3)
    ]
    assert world.written == []


def test_only_outdated_pods_go_and_those_first_that_do_not_serve(carried_out):
    broken = pod("db-2", SET, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    pods = [serving("db-0"), serving("db-1", script=GOOD), broken]
    world = Kubelets(*database(*pods, replicas=3))
    report, _ = carried_out(world, "sts/db", "--evict")
    assert [name for name, _ in world.evicted] == ["db-2", "db-0"]
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 2, 2)]
    everything = Kubelets(*database(serving("db-0", script=GOOD), replicas=1))
    assert results(carried_out(everything, "sts/db", "--evict")[0]) == {"sts/db": ("current", "")}
    carried_out(everything, "sts/db", "--evict", "--all-pods")
    assert [name for name, _ in everything.evicted] == ["db-0"]


def test_a_pod_that_never_serves_holds_the_others(carried_out):
    world = Kubelets(*database(serving("db-0"), serving("db-1")))
    world.lets_down = True
    report, _ = carried_out(world, "sts/db", "--evict", "--timeout=30s")
    assert [name for name, _ in world.evicted] == ["db-0"]
    assert results(report) == {"sts/db": ("failed", "not done within 30 s; 1 of 2 pods were evicted")}


def test_no_new_one_that_serves_is_owed_to_an_old_one_that_did_not(carried_out):
    broken = pod("db-1", SET, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    world = Kubelets(*database(serving("db-0"), broken))
    world.lets_down = True
    carried_out(world, "sts/db", "--evict", "--timeout=30s")
    assert [name for name, _ in world.evicted] == ["db-1"]


def test_a_repeat_does_not_take_the_next_one_while_the_one_before_does_not_serve(carried_out):
    world = Kubelets(*database(*(serving(f"db-{number}") for number in range(3))))
    world.lets_down = True
    for _ in range(3):
        report, _ = carried_out(world, "sts/db", "--evict", "--timeout=30s")
        assert results(report)["sts/db"][0] == "failed"
    assert [name for name, _ in world.evicted] == ["db-0"]
    world.lets_down = False
    report, _ = carried_out(world, "sts/db", "--evict")
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 2, 2)]


def test_a_repeat_does_not_take_the_next_one_while_one_is_missing(carried_out):
    """Such as for a quota. One that does not serve may go: a StatefulSet makes no other before it does."""
    world = Kubelets(*database(serving("db-0"), serving("db-1"), replicas=3))
    report, _ = carried_out(world, "sts/db", "--evict", "--timeout=30s")
    assert (results(report)["sts/db"][0], world.evicted) == ("failed", [])
    broken = pod("db-0", SET, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    world = Kubelets(*database(broken, replicas=3))
    assert results(carried_out(world, "sts/db", "--evict")[0])["sts/db"][0] == "done"


def test_a_right_pod_that_does_not_serve_holds_the_others(carried_out):
    """It is broken for another reason."""
    waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    broken = pod("db-1", SET, GOOD, status={"phase": "Running", "containerStatuses": [waiting]})
    world = Kubelets(*database(serving("db-0"), broken))
    report, _ = carried_out(world, "sts/db", "--evict", "--timeout=30s")
    detail = "not done within 30 s; pod db-1: container app: ImagePullBackOff; 0 of 1 pods were evicted"
    assert (results(report), world.evicted) == ({"sts/db": ("failed", detail)}, [])


def test_the_replicas_of_an_unknown_kind_are_not_its_pods(carried_out):
    class Full(Kubelets):
        def _second(self):
            self.missing = []

    alone = fields.merged(OPERATOR, {"spec": {"replicas": 1}})
    world = Full(alone, *(owned_by(KAFKA, serving(f"k-{number}")) for number in range(3)))
    carried_out(world, "kafka/main", "--evict", "--timeout=30s")
    assert [name for name, _ in world.evicted] == ["k-0"]


def test_a_pod_of_several_budgets_ends_it_at_once(carried_out):
    said = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    world = Kubelets(*database(serving("db-0")), verdicts=[ApiError(500, "InternalError", said)])
    report, _ = carried_out(world, "sts/db", "--evict")
    assert results(report) == {"sts/db": ("failed", f"{said}; 0 of 1 pods were evicted")}
    assert world.seconds == 1000


def test_a_mesh_config_of_another_minute_is_asked_about_again(carried_out):
    class Edited(Kubelets):
        def try_create(self, *args):
            made = super().try_create(*args)
            self.meshconfig["spec"] = meshconfig(outboundPortExclusionList=[6379, 6380])["spec"]
            return made

    world = Edited(*database(serving("db-0")))
    assert results(carried_out(world, "sts/db", "--evict")[0])["sts/db"][0] == "done"
    assert len(world.trials) == 2
    world = Edited(*database(serving("db-0")))
    carried_out(world, "sts/db", "--evict", "--skip-preflight")
    assert world.trials == []


def test_how_long_an_answer_holds(clock):
    clock.world = Kubelets()
    asked = Manner(asked_at=1000.0)
    assert (Manner().fresh(same=True), Manner(asks=False).fresh(same=False)) == (False, True)
    assert (asked.fresh(same=True), asked.fresh(same=False)) == (True, False)
    clock.world.seconds += 61
    assert not asked.fresh(same=True)


def test_that_pods_are_evicted_is_said(carried_out):
    others = [workload("web", "ReplicaSet", replicas=1), serving("web-0", ("ReplicaSet", "web"))]
    words = ("--all", "--evict")
    report, _ = carried_out(Kubelets(*WORLDS["rs/db"], *others), *words, "--dry-run")
    assert results(report) == dict.fromkeys(("rs/db", "rs/web"), ("planned", "evicted pod by pod"))
    assert "planned  +6379 outbound-port; evicted pod by pod\n" in table.as_table(report, grid.Style())
    _, events = carried_out(Kubelets(*WORLDS["rs/db"]), *words)
    assert "rs/db in shop (1 pod, evicted pod by pod): +6379 outbound-port" in lines(events, "begun")[0]


def test_a_pod_that_is_still_seen_counts_for_nothing(carried_out):
    """The watch is behind the eviction."""

    class Behind(Kubelets):
        def evict(self, name, namespace, uid):
            super().evict(name, namespace, uid)
            self.put(self.missing.pop())
            self.events[round(self.seconds - 1000) + 5] = lambda world: world.missing.append(world.take("Pod", name))

    world = Behind(*database(serving("db-0"), serving("db-1")))
    report, _ = carried_out(world, "sts/db", "--evict")
    assert (results(report)["sts/db"][0], world.evicted) == ("done", [("db-0", 0), ("db-1", 6)])


def test_room_is_waited_for_and_that_is_said_once(carried_out):
    named = ApiError(429, "TooManyRequests", "the server is busy")
    named.pause = 9
    world = Kubelets(*database(serving("db-0"), serving("db-1")), verdicts=[FULL, FULL, named])
    report, events = carried_out(world, "sts/db", "--evict")
    assert results(report)["sts/db"][0] == "done"
    assert world.evicted == [("db-0", 5 + 5 + 9), ("db-1", 21)]
    assert lines(events, "rolling") == [
        "sts/db in shop: pod db-0 waits for room: no room; budget db needs 2",
        "sts/db in shop: pod db-0 was evicted, 1 of 2",
        "sts/db in shop: pod db-1 was evicted, 2 of 2",
    ]
    assert lines(events, "writing")[:3] == [
        "sts/db in shop: pod db-0 is evicted, 0 of 2 pods were evicted",
        *["sts/db in shop: pod db-0 is evicted, again, 0 of 2 pods were evicted"] * 2,
    ]


def test_room_that_does_not_come(carried_out):
    world = Kubelets(*database(serving("db-0"), serving("db-1")), verdicts=[None, *[FULL] * 1000])
    report, _ = carried_out(world, "sts/db", "--evict", "--timeout=20s")
    detail = "not done within 20 s; no room; budget db needs 2; 1 of 2 pods were evicted"
    assert results(report) == {"sts/db": ("failed", detail)}
    assert world.seconds < 1025


def test_what_the_network_drops_is_asked_again(carried_out):
    world = Kubelets(*database(serving("db-0")), verdicts=[Unreachable("cut"), ApiError(503, "", "later")])
    report, _ = carried_out(world, "sts/db", "--evict")
    assert (results(report)["sts/db"][0], [name for name, _ in world.evicted]) == ("done", ["db-0"])


@pytest.mark.parametrize("gone", [NotFound(404, "NotFound", "gone"), Conflict(409, "Conflict", "another uid")])
def test_a_pod_that_is_gone_already_is_fine(carried_out, gone):
    def replaced(world):
        world.missing.append(world.take("Pod", "db-0"))

    world = Kubelets(*database(serving("db-0")), verdicts=[gone], events={1: replaced})
    report, _ = carried_out(world, "sts/db", "--evict")
    assert (results(report)["sts/db"][0], world.evicted) == ("done", [])


def test_a_wrong_new_pod_ends_it(carried_out):
    world = Kubelets(*database(serving("db-0"), serving("db-1")), script=STALE)
    report, _ = carried_out(world, "sts/db", "--evict")
    detail = "pod new-1: its rules would need +6379 outbound-port; 1 of 2 pods were evicted"
    assert results(report) == {"sts/db": ("failed", detail)}
    assert [name for name, _ in world.evicted] == ["db-0"]


def test_rules_that_cannot_be_loaded_end_it(carried_out):
    def crash(world):
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        status = {"initContainerStatuses": [{"name": "fsm-init", "state": waiting}]}
        world.at("Pod", "new-1")["status"] = {"phase": "Pending", **status}
        world.lets_down = True

    world = Kubelets(*database(serving("db-0")), events={2: crash})
    report, _ = carried_out(world, "sts/db", "--evict")
    detail = "pod new-1: init container fsm-init: CrashLoopBackOff; 1 of 1 pods were evicted"
    assert results(report) == {"sts/db": ("failed", detail)}


def test_a_missing_right_ends_it_with_its_hint(carried_out):
    world = Kubelets(*database(serving("db-0")), verdicts=[Forbidden(403, "Forbidden", "no", "ask for it")])
    report, _ = carried_out(world, "sts/db", "--evict")
    assert results(report) == {"sts/db": ("failed", "no; ask for it; 0 of 1 pods were evicted")}


def test_fewer_pods_by_an_autoscaler_are_enough(carried_out):
    """Two of three are wanted by now: the third does not come again."""

    def scaled(world):
        world.at("StatefulSet", "db")["spec"]["replicas"] = 2
        world.missing = []

    world = Kubelets(*database(*(serving(f"db-{number}") for number in range(3)), replicas=3), events={1: scaled})
    assert results(carried_out(world, "sts/db", "--evict")[0])["sts/db"][0] == "done"


CLONES = ("CloneSet", "db")
WORLDS = {
    "ds/db": database(serving("db-0", ("DaemonSet", "db")), kind="DaemonSet"),
    "rs/db": [workload("db", "ReplicaSet", replicas=1), serving("db-0", ("ReplicaSet", "db"))],
    "cloneset/db": [workload("db", "CloneSet", replicas=1), serving("db-0", CLONES)],
    "kafka/main": [OPERATOR, owned_by(KAFKA, workload("db", "StatefulSet")), serving("db-0")],
    "kafka/main, its pods own": [OPERATOR, *(owned_by(KAFKA, serving(f"k-{number}")) for number in (0, 1))],
}


@pytest.mark.parametrize("name", WORLDS)
def test_what_has_no_rolling_update(carried_out, name):
    label = name.partition(",")[0]
    count = sum(obj["kind"] == "Pod" for obj in WORLDS[name])
    left, _ = carried_out(Kubelets(*WORLDS[name]), "--all")
    assert results(left)[label][0] == "left"
    assert results(left)[label][1].endswith("; restart --evict replaces its pods")
    world = Kubelets(*WORLDS[name])
    report, _ = carried_out(world, "--all", "--evict")
    assert [(item.workload, item.result, item.verified) for item in report.items] == [(label, "done", count)]
    assert len(world.trials) == (", " not in name), "nothing to ask the injector about where no template is shown"


def test_an_operators_child_by_its_operators_name(carried_out):
    """Its pods tell the template, so that the injector can be asked."""
    world = Kubelets(*WORLDS["kafka/main"])
    report, _ = carried_out(world, "kafka/main", "--evict")
    assert ([item.result for item in report.items], len(world.trials)) == (["done"], 1)


def test_pods_without_a_template_are_outdated_each_by_its_own_annotations(carried_out):
    alike = render("fsm-1.5", {LIST: "80"}, PORT["spec"])
    pods = [serving("k-0", script=GOOD), serving("k-1", script=alike, annotations={LIST: "80"}), serving("k-2")]
    world = Kubelets(OPERATOR, *(owned_by(KAFKA, one) for one in pods))
    report, _ = carried_out(world, "--all", "--evict")
    assert [(item.outdated, item.result) for item in report.items] == [(1, "done")]
    assert [name for name, _ in world.evicted] == ["k-2"]


def test_what_is_said_before(carried_out):
    _, events = carried_out(Kubelets(*WORLDS["kafka/main, its pods own"]), "--all", "--evict", "--dry-run")
    said = "nothing shows its pods' template: the first new pod will tell whether they are right"
    assert [event.text for event in events if isinstance(event, Note)] == [f"kafka/main in shop: {said}"]
    _, events = carried_out(Kubelets(*WORLDS["cloneset/db"]), "--all", "--evict", "--dry-run")
    assert [event.text for event in events if isinstance(event, Note)] == [], "how many are available is not known"


OUT = {"metadata": {"annotations": {"kubectl-fsm/restart": "disabled"}}}
ROLLS = {"status": {"replicas": 2, "currentRevision": "a", "updateRevision": "b"}}


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        (database(serving("db-0"), paused=True), "its rollout is paused: no pod is replaced until it is resumed"),
        (
            [fields.merged(workload("db", "StatefulSet", updateStrategy={"type": "OnDelete"}), OUT), serving("db-0")],
            "it is not to be restarted (annotation kubectl-fsm/restart: disabled)",
        ),
        (
            [OPERATOR, fields.merged(owned_by(KAFKA, workload("db", "StatefulSet")), OUT), serving("db-0")],
            "it is not to be restarted (annotation kubectl-fsm/restart: disabled)",
        ),
        (
            [OPERATOR, fields.merged(owned_by(KAFKA, workload("db", "StatefulSet")), ROLLS), serving("db-0")],
            "a rollout is under way already; look again when it has ended",
        ),
        ([serving("db-0", ("ReplicaSet", "gone"))], "its owner ReplicaSet gone is gone or cannot be read"),
    ],
)
def test_what_is_left_all_the_same(carried_out, objects, reason):
    world = Kubelets(*objects)
    report, _ = carried_out(world, "--all", "--evict", "--recreate")
    ((result, detail),) = results(report).values()
    assert (result, detail, world.evicted) == ("left", reason, [])


def test_a_template_that_has_been_edited_is_no_rollout_under_way(carried_out):
    """With OnDelete the revisions differ until somebody deletes the pods, which is what this does."""
    world = Kubelets(*(fields.merged(obj, ROLLS) if obj["kind"] != "Pod" else obj for obj in database(serving("db-0"))))
    assert results(carried_out(world, "sts/db", "--evict")[0])["sts/db"][0] == "done"


def test_who_opts_out_meanwhile_is_left(carried_out):
    class Late(Kubelets):
        def try_create(self, *args):
            self.at("StatefulSet", "db")["metadata"]["annotations"] = OUT["metadata"]["annotations"]
            return super().try_create(*args)

    world = Late(*database(serving("db-0")))
    assert results(carried_out(world, "sts/db", "--evict")[0])["sts/db"][0] == "left"
    assert world.evicted == []


def test_an_injector_that_is_wrong_stops_it_before_anything_is_written(carried_out):
    world = Kubelets(*database(serving("db-0")), answers=[ApiError(400, "", '"fsm-inject.k8s.io" denied: no')])
    with pytest.raises(Refused):
        carried_out(world, "sts/db", "--evict")
    assert world.evicted == []


def test_what_is_left_of_it_is_resumed(carried_out, tmp_path):
    """With --all-pods those that were made since are not evicted a second time."""
    old, new = {"creationTimestamp": "2020-01-01T00:00:00Z"}, {"creationTimestamp": "2999-01-01T00:00:00Z"}
    pods = [serving(f"db-{number}", script=GOOD, **old) for number in (0, 1)]
    world = Kubelets(*database(*pods), verdicts=[None, Forbidden(403, "Forbidden", "no")])
    report, events = carried_out(world, "sts/db", "--evict", "--all-pods")
    assert results(report)["sts/db"][0] == "failed"
    (plan,) = tmp_path.iterdir()
    kept = json.loads(plan.read_text())
    assert (kept["evict"], kept["recreate"], kept["allPods"]) == (True, False, True)
    world.at("Pod", "new-1")["metadata"] |= new
    report, events = carried_out(world, f"--resume={plan.name}", scope=())
    assert results(report)["sts/db"][0] == "done", events
    assert [name for name, _ in world.evicted] == ["db-0", "db-1"]


def test_a_budget_without_room(carried_out):
    world = Kubelets(*database(serving("db-0")), budget("db", selector={"matchLabels": {"app": "db"}}))
    report, events = carried_out(world, "sts/db", "--evict", "--respect-pdb")
    assert results(report) == {"sts/db": ("left", "PodDisruptionBudget db has no room (2 healthy of 3 wanted)")}
    report, events = carried_out(world, "sts/db", "--evict")
    assert any("; evictions wait for it" in event.text for event in events if isinstance(event, Note))


def test_each_write_comes_after_an_event_and_the_stage_says_where_it_stands(clock):
    """So that Ctrl-C leaves it there."""
    clock.world = world = Kubelets(*database(serving("db-0"), serving("db-1")), verdicts=[FULL])
    owners, manner = Owners(world), Manner(remedies=["--evict"])
    found = targets.chosen(world, owners, Selection(["sts/db"], "shop")).subjects
    steps = restart.plan(meshes.find(world), found, meshes.namespaces(world, "shop"), manner)
    ((_, job),) = restart.work(world, owners, steps, manner)
    stages = [(event.state, job.stage, len(world.evicted)) for event in job.run() if isinstance(event, Turn)]
    assert stages == [
        ("begun", "nothing was written", 0),
        ("writing", "the eviction of pod db-0 was under way; 0 of 2 pods were evicted", 0),
        ("rolling", "0 of 2 pods were evicted", 0),
        ("writing", "the eviction of pod db-0 was under way; 0 of 2 pods were evicted", 0),
        ("rolling", "1 of 2 pods were evicted", 1),
        ("writing", "the eviction of pod db-1 was under way; 1 of 2 pods were evicted", 1),
        ("rolling", "2 of 2 pods were evicted", 2),
    ]


def test_as_canary_it_has_to_stay_healthy(carried_out):
    others = [workload("web", "ReplicaSet", replicas=1), serving("web-0", ("ReplicaSet", "web"))]

    def stops(world):
        world.at("Pod", "new-1")["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}

    for events, expected in (({}, ["done", "done"]), ({20: stops}, ["failed", "not begun"])):
        world = Kubelets(*WORLDS["rs/db"], *others, events=events)
        report, _ = carried_out(world, "--all", "--evict", "--canary=rs/db", "--bake=30s")
        assert [item.result for item in report.items] == expected


def test_as_canary_its_revisions_tell_nothing(carried_out):
    """With OnDelete a StatefulSet's currentRevision never follows."""
    status = {
        "currentRevision": "a",
        "updateRevision": "b",
        "updatedReplicas": 0,
        "replicas": 2,
        "availableReplicas": 2,
    }
    objects = [fields.merged(obj, {"status": status}) for obj in database(kind="StatefulSet", replicas=2)]
    world = Kubelets(*objects, serving("db-0"), serving("db-1"))
    report, _ = carried_out(world, "--all", "--evict", "--canary=sts/db", "--bake=30s")
    assert results(report)["sts/db"] == ("done", "")
    world.at("StatefulSet", "db")["status"]["availableReplicas"] = 1
    report, _ = carried_out(world, "--all", "--canary=sts/db", "--bake=30s")
    assert results(report)["sts/db"][1].endswith("1 of 2 pods are available")


@pytest.mark.parametrize("option", ["--evict", "--recreate"])
def test_they_are_waited_for(carried_out, option):
    with pytest.raises(UsageError, match=f"{option} is waited for"):
        carried_out(Kubelets(), "--all", option, "--no-wait")
    with pytest.raises(UsageError, match=f"{option} does not go with it"):
        carried_out(Kubelets(), "--resume=x", option, scope=())
