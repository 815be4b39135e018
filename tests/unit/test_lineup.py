"""Who has a turn, who goes first, what leaves a workload alone, and what is said before."""

import copy

import pytest

from kubectl_fsm.errors import Refused, UsageError
from kubectl_fsm.operations import lineup
from kubectl_fsm.reports import Failed, Note
from tests.unit import test_rolling
from tests.unit.test_guards_offline import NAMESPACE
from tests.unit.test_rolling import (
    HEALTHY,
    PORT,
    REVISIONS,
    SERVES,
    World,
    done,
    pod,
    results,
    shop,
    texts,
    together,
    workload,
)

clock, carry_out, roll = test_rolling.clock, test_rolling.carry_out, test_rolling.roll
RESTART = "kubectl-fsm/restart"
DAEMONS = {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1, "currentNumberScheduled": 1}
STATUS = {"Deployment": SERVES, "StatefulSet": REVISIONS, "DaemonSet": DAEMONS, "Rollout": HEALTHY}


def owned(kind, name, namespace="shop", **annotations):
    """A workload, and its pod of outdated rules."""
    top, one = workload(name, kind, STATUS[kind]), pod(f"{name}-{kind.lower()}", (kind, name))
    for obj in (top, one):
        obj["metadata"] |= {"namespace": namespace, "uid": f"{namespace}-{obj['kind']}-{obj['metadata']['name']}"}
    one["metadata"]["ownerReferences"][0]["uid"] = top["metadata"]["uid"]
    if annotations:
        top["metadata"]["annotations"] = annotations
    return [top, one]


def place(name):
    found = copy.deepcopy(NAMESPACE)
    found["metadata"]["name"] = name
    return found


def fleet(*more):
    """Two namespaces that have a workload of the same name."""
    ours = [owned("StatefulSet", "db"), owned("Deployment", "web"), owned("Deployment", "api")]
    theirs = [owned("Deployment", "web", "till"), owned("DaemonSet", "web", "till")]
    return World(PORT, place("shop"), place("till"), *(obj for objects in (*ours, *theirs, *more) for obj in objects))


def planned(carry_out, world, *words):
    report, _ = carry_out(world, "restart", "--dry-run", *words)
    return [f"{item.namespace}/{item.workload}" for item in report.items]


ALL = ["shop/deploy/api", "shop/deploy/web", "shop/sts/db", "till/deploy/web", "till/ds/web"]


def test_the_order_is_that_of_namespaces_then_of_kinds_then_of_names(carry_out):
    world = fleet(
        owned("Rollout", "aaa"), owned("DaemonSet", "aaa"), owned("StatefulSet", "aaa"), owned("Deployment", "zzz")
    )
    assert planned(carry_out, world, "-A") == [
        "shop/deploy/api",
        "shop/deploy/web",
        "shop/deploy/zzz",
        "shop/rollout/aaa",
        "shop/sts/aaa",
        "shop/sts/db",
        "shop/ds/aaa",
        "till/deploy/web",
        "till/ds/web",
    ]


@pytest.mark.parametrize(
    ("skips", "gone"),
    [
        (["deploy/web"], {1, 3}),
        (["deployment/web"], {1, 3}),
        (["deployments.apps/web"], {1, 3}),
        (["shop/deploy/web"], {1}),
        (["till/deploy/web", "sts/db"], {2, 3}),
        (["ds/web"], {4}),
        (["ns/till"], {3, 4}),
        (["namespace/till", "deploy/web"], {1, 3, 4}),
        (["ns/shop", "ns/till"], {0, 1, 2, 3, 4}),
    ],
)
def test_what_a_skip_means(carry_out, skips, gone):
    left = [name for number, name in enumerate(ALL) if number not in gone]
    assert planned(carry_out, fleet(), "-A", *(f"--skip={word}" for word in skips)) == left


NOBODY = "no such workload is among those that are looked at"
NO_WORKLOAD = "is not a workload"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("deploy/wbe", f"deploy/wbe: {NOBODY}"),
        ("till/deploy/api", f"till/deploy/api: {NOBODY}"),
        ("deploy/db", f"deploy/db: {NOBODY}"),
        ("ns/nope", f"ns/nope: {NOBODY}"),
        ("shop/ns/till", f"shop/ns/till: {NOBODY}"),
        ("web", f"'web' {NO_WORKLOAD}"),
        ("deploy/", f"'deploy/' {NO_WORKLOAD}"),
        ("/web", f"'/web' {NO_WORKLOAD}"),
        ("/deploy/web", f"'/deploy/web' {NO_WORKLOAD}"),
        ("a/b/c/d", f"'a/b/c/d' {NO_WORKLOAD}"),
    ],
)
def test_a_skip_that_skips_nothing_is_an_error(carry_out, word, said):
    with pytest.raises(UsageError) as caught:
        planned(carry_out, fleet(), "-A", f"--skip={word}", "--skip=deploy/api")
    assert str(caught.value) == f"--skip {said}"


def test_a_skip_of_what_is_current_or_left_is_none(carry_out):
    world = fleet(owned("Deployment", "off", **{RESTART: "disabled"}))
    assert planned(carry_out, world, "-A", "--skip=deploy/off") == ALL


def test_a_canary_in_several_namespaces_is_named_in_full(carry_out):
    with pytest.raises(UsageError) as caught:
        planned(carry_out, fleet(), "-A", "--canary=deploy/web")
    assert str(caught.value) == "--canary deploy/web: it is in several namespaces: shop, till"
    assert planned(carry_out, fleet(), "-A", "--canary=till/deploy/web") == [ALL[3], *ALL[:3], ALL[4]]
    assert planned(carry_out, fleet(), "-A", "--canary=deploy/web", "--skip=ns/till") == [ALL[1], ALL[0], ALL[2]]


# who does not want to be restarted


@pytest.mark.parametrize("value", ["disabled", "false", "", "Enabled", "enabled "])
def test_a_workload_can_ask_to_be_left_alone(roll, value):
    world = World(PORT, NAMESPACE, *owned("Deployment", "api"), *owned("Deployment", "web", **{RESTART: value}))
    report, events = roll(world, "--all", "--skip=deploy/api")
    assert results(report) == [("deploy/web", "left", f"it is not to be restarted (annotation {RESTART}: {value})")]
    assert not any(isinstance(event, Failed) for event in events)
    _, events = roll(world, "deploy/web")
    (failed,) = (event.error for event in events if isinstance(event, Failed))
    assert failed.message.startswith("deploy/web in shop was not restarted: it is not to be restarted")
    assert world.written == []


def test_one_that_asks_for_it_is_restarted(roll):
    objects = shop("web")
    objects[2]["metadata"]["annotations"] = {RESTART: "enabled"}
    world = World(*objects)
    assert roll(world, "--all")[0].items[0].result == "done"


def test_one_that_asks_before_its_turn_is_left_alone_too(roll):
    def ask(world):
        world.at("Deployment", "web")["metadata"]["annotations"] = {RESTART: "disabled"}

    world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), ask)]})
    report, _ = roll(world, "--all")
    assert report.items[1].detail == f"it is not to be restarted (annotation {RESTART}: disabled)"
    assert world.restarted == ["deploy/api"]


# what is to be known before


def budget(name="guard", namespace="shop", allowed=0, selector=None, **spec):
    selector = {"matchLabels": {"app": "web"}} if selector is None else selector
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector, **spec},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 3},
    }


def scaler(name="more", namespace="shop", target=("Deployment", "web"), **spec):
    kind, its = target
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"scaleTargetRef": {"kind": kind, "name": its}, "maxReplicas": 9, **spec},
    }


FULL = "PodDisruptionBudget guard has no room (2 healthy of 3 wanted)"


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([budget()], [f"{FULL}; rollouts do not heed it"]),
        ([budget(selector={})], [f"{FULL}; rollouts do not heed it"]),
        ([budget(selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]})], [f"{FULL}; rollouts do not heed it"]),
        ([budget(allowed=1)], []),
        ([{**budget(), "spec": {}}], []),
        ([{**budget(), "status": {}}], []),
        ([budget(namespace="till")], []),
        ([budget(selector={"matchLabels": {"app": "api"}})], []),
        ([scaler()], ["HorizontalPodAutoscaler more may scale it meanwhile (1 to 9 pods)"]),
        ([scaler(minReplicas=3)], ["HorizontalPodAutoscaler more may scale it meanwhile (3 to 9 pods)"]),
        ([scaler(target=("StatefulSet", "web"))], []),
        ([scaler(target=("Deployment", "api"))], []),
        ([scaler(namespace="till")], []),
    ],
)  # fmt: skip
def test_what_is_noted(roll, objects, said):
    report, events = roll(World(*shop("web"), *objects), "deploy/web", "--dry-run")
    assert [*report.items[0].notes] == said
    assert texts(events, Note) == [f"deploy/web in shop: {text}" for text in said]


def test_budgets_are_those_of_the_namespace(carry_out):
    report, _ = carry_out(fleet([budget(namespace="till")]), "restart", "-A", "--dry-run")
    assert [item.namespace for item in report.items if FULL in "".join(item.notes)] == ["till", "till"]


def test_pods_that_are_missing_already_are_noted(roll):
    world = World(PORT, NAMESPACE, workload(status={**SERVES, "availableReplicas": 1}), pod("web-1"))
    report, _ = roll(world, "deploy/web", "--dry-run")
    assert report.items[0].notes == ["1 of 2 pods are available before it begins"]


def test_nothing_is_noted_of_what_is_left_alone(roll):
    _, events = roll(World(PORT, NAMESPACE, workload(paused=True), pod("web-1"), budget()), "deploy/web")
    assert texts(events, Note) == []


def test_what_cannot_be_read_is_said_and_nothing_else_changes(roll):
    world = World(*shop("web"), budget(), forbidden=("PodDisruptionBudget", "HorizontalPodAutoscaler"))
    report, events = roll(world, "deploy/web", "--respect-pdb")
    assert report.items[0].result == "done"
    assert texts(events, Note) == [
        f"{kind} cannot be read: whether they mind a restart is not known"
        for kind in ("poddisruptionbudgets.policy", "horizontalpodautoscalers.autoscaling")
    ]


def test_many_notes_are_not_all_said(roll, monkeypatch):
    monkeypatch.setattr(lineup, "_SAID", 2)
    world = World(*shop("a", "b", "c"), budget(selector={}), budget("other", selector={}))
    report, events = roll(world, "--all", "--dry-run")
    assert len(texts(events, Note)) == 3
    assert texts(events, Note)[2] == "and 4 more such notes, which -o wide has"
    assert [len(item.notes) for item in report.items] == [2, 2, 2]


def test_a_budget_without_room_is_respected_where_that_is_wished(roll):
    world = World(*shop("api", "web"), budget())
    report, events = roll(world, "--all", "--respect-pdb")
    assert results(report) == [("deploy/api", "done", ""), ("deploy/web", "left", FULL)]
    assert (world.restarted, len(world.trials), texts(events, Note)) == (["deploy/api"], 1, [])


def test_a_budget_that_has_no_room_at_its_turn_is_respected_too(roll):
    steps = {"api": [together(done("Deployment", "api"), lambda world: world.put(budget()))]}
    for words, expected in ((["--respect-pdb"], ("deploy/web", "left", FULL)), ([], ("deploy/web", "done", ""))):
        world = World(*shop("api", "web"), steps=copy.deepcopy(steps))
        assert results(roll(world, "--all", *words)[0])[1] == expected


def test_a_canary_without_rules_proves_nothing(carry_out):
    bare = pod("web-1")
    bare["spec"] = {**bare["spec"], "initContainers": []}
    for pods, said in (((), "it has no running pods"), ((bare,), "its pods were made before they could be injected")):
        world = World(*shop("api"), workload(), *pods)
        with pytest.raises(Refused, match=f"the canary deploy/web in shop proves nothing: {said}"):
            carry_out(world, "restart", "--all", "-n", "shop", "--canary=deploy/web", "--yes")
