"""Edits that roll workloads: of several pod templates, and of a mesh whose pods are restarted."""

import copy
import io
import signal

import pytest
import yaml

from kubectl_fsm import cli, fields
from kubectl_fsm.cluster import manifests
from kubectl_fsm.errors import ApiError, Conflict, Declined, Forbidden, Refused, UsageError
from kubectl_fsm.operations import edit
from kubectl_fsm.reports import EditReport, EditsReport, Note, Question, Turn, Warned
from tests.unit import test_rolling
from tests.unit.test_guards_offline import NAMESPACE, OUT, meshconfig
from tests.unit.test_rolling import (
    CRONJOB,
    GOOD,
    HEALTHY,
    JOB,
    MOMENT,
    OPERATED,
    REFERENCE,
    ROLLS,
    STALE,
    TWICE,
    World,
    comes,
    done,
    errors,
    last,
    nothing,
    one_is_new,
    pod,
    results,
    says,
    texts,
    together,
    workload,
)

clock, carry_out, program = test_rolling.clock, test_rolling.carry_out, test_rolling.program
EMPTY = meshconfig()
ALL = ["exclude-port", "80", "--all", "-n", "shop"]
GLOBAL = ["exclude-port", "6379", "--restart"]
PATCH = {"spec": {"template": {"metadata": {"annotations": {OUT: "80"}}}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(edit, "_FIRST_PAUSE", 0.001)


def shop(*names, config=EMPTY, annotations=None):
    """Deployments whose two pods are current."""
    script = test_rolling.render("fsm-1.5", annotations or {}, config["spec"])
    pods = [pod(f"{name}-{n}", ("Deployment", name), script, annotations) for name in names for n in (1, 2)]
    return [config, NAMESPACE, *(workload(name, annotations=annotations) for name in names), *pods]


def annotation(world, name, kind="Deployment"):
    return fields.annotations(world.at(kind, name)["spec"]["template"]).get(OUT)


# several pod templates


def test_several_templates_are_edited_one_after_the_other_and_verified(carry_out):
    world = World(*shop("api", "web"))
    report, events = carry_out(world, *ALL)
    assert isinstance(report, EditsReport)
    assert [(one.object, one.result) for one in report.edits] == [
        ("deployment.apps/api", "edited"),
        ("deployment.apps/web", "edited"),
    ]
    assert [(item.workload, item.result, item.verified, item.pods) for item in report.rolled.items] == [
        ("deploy/api", "done", 2, 2),
        ("deploy/web", "done", 2, 2),
    ]
    assert world.written == [("deploy/api", PATCH), ("deploy/web", PATCH)]
    assert world.observed == ["api", "web"]
    assert texts(events, Question) == [
        (
            "context test: this rolls 2 workloads\n"
            "  deploy/api in shop (2 pods): outbound-port [] → [80]\n"
            "  deploy/web in shop (2 pods): outbound-port [] → [80]"
        )
    ]
    assert texts(events, Note)[:2] == [
        f"deploy/{name} in shop (2 replicas): an edit of its pod template starts its rollout at once"
        for name in ("api", "web")
    ]
    assert errors(events) == texts(events, Warned) == []


def test_no_template_is_written_before_the_rollout_of_the_one_before_has_ended(carry_out):
    def not_yet(world):
        assert world.restarted == ["deploy/api"]

    steps = {"api": [not_yet, together(done("Deployment", "api"), not_yet)]}
    world = World(*shop("api", "web"), steps=steps)
    carry_out(world, *ALL)
    assert world.restarted == ["deploy/api", "deploy/web"]


def test_a_no_leaves_everything_as_it_was(carry_out):
    world = World(*shop("api", "web"))
    with pytest.raises(Declined, match="not confirmed; nothing was written"):
        carry_out(world, *ALL, answer=False)
    assert world.written == []


def test_yes_asks_nothing(carry_out):
    report, events = carry_out(World(*shop("api", "web")), *ALL, "--yes", answer=False)
    assert [item.result for item in report.rolled.items] == ["done", "done"]
    assert texts(events, Question) == []


@pytest.mark.parametrize("names", [["api", "web"], ["web", "api"]])
def test_a_refusal_of_any_is_one_of_all_before_the_first_is_written(carry_out, names):
    """One of them has a full list of ports already, in whatever order they come."""
    full = ",".join(map(str, range(1, 16)))
    world = World(EMPTY, NAMESPACE, workload(names[0]), workload(names[1], annotations={OUT: full}))
    with pytest.raises(Refused, match="16 outbound ports"):
        carry_out(world, *ALL)
    assert world.written == []


@pytest.mark.parametrize(
    ("values", "said"), [(["15001"], "port 15001 is the sidecar"), (["80", "15001"], "port 15001 is the sidecar")]
)
def test_a_port_of_the_mesh_is_refused_before_the_first_is_written(carry_out, values, said):
    world = World(*shop("api", "web"))
    with pytest.raises(Refused, match=said):
        carry_out(world, "exclude-port", *values, "--all", "-n", "shop")
    assert world.written == []


def test_what_a_guard_asks_is_asked_once_and_before_anything_is_written(carry_out):
    """The answer covers all of them, and nobody is asked again when their turn has come."""

    class Watched(World):
        def patch(self, *args, **kwargs):
            assert asked, "nothing is written before the question"
            return super().patch(*args, **kwargs)

    asked = []
    world = Watched(*shop("api", "web"))
    wide = ["exclude-ip", "0.0.0.0/1", "--all", "-n", "shop"]
    with pytest.raises(Declined):
        carry_out(world, *wide, answer=False)
    asked.append(True)
    report, events = carry_out(world, *wide)
    (question,) = texts(events, Question)
    assert question.count("the new ranges exclude 50%") == 2, "each names its pods"
    assert question.splitlines()[0] == "context test: this rolls 2 workloads"
    assert [item.result for item in report.rolled.items] == ["done", "done"]


def test_what_a_guard_would_ask_is_said_with_yes(carry_out):
    _, events = carry_out(World(*shop("api", "web")), "exclude-ip", "0.0.0.0/1", "--all", "-n", "shop", "--yes")
    assert [text[:26] for text in texts(events, Warned)] == ["the new ranges exclude 50%"] * 2


def test_a_template_that_has_it_already_is_not_rolled(carry_out):
    objects = [*shop("api"), workload("web", annotations={OUT: "80"}), pod("web-1", annotations={OUT: "80"})]
    world = World(*objects)
    report, events = carry_out(world, *ALL)
    assert [(item.workload, item.result) for item in report.rolled.items] == [
        ("deploy/api", "done"),
        ("deploy/web", "unchanged"),
    ]
    assert [one.result for one in report.edits] == ["edited", "unchanged"]
    assert world.restarted == ["deploy/api"]
    assert texts(events, Question) == [], "one workload goes ahead"


def test_pods_that_ran_outdated_rules_before_the_edit_are_counted(carry_out):
    world = World(*shop("api"), workload("web", annotations={OUT: "80"}), pod("web-1"))
    report, _ = carry_out(world, *ALL)
    assert [(item.workload, item.result, item.outdated) for item in report.rolled.items] == [
        ("deploy/api", "done", 0),
        ("deploy/web", "unchanged", 1),
    ]


def test_one_workload_goes_ahead_and_is_not_waited_for(carry_out):
    world = World(*shop("web"))
    report, events = carry_out(world, "exclude-port", "80", "--workload=deploy/web", "-n", "shop")
    assert isinstance(report, EditReport)
    assert (world.observed, texts(events, Question)) == ([], [])


ALONE = pod("alone", script=STALE)
del ALONE["metadata"]["ownerReferences"]


@pytest.mark.parametrize(
    ("obj", "scope", "said", "place"),
    [
        (CRONJOB, "--workload=cj/nightly", "its next runs have it", "cj/nightly"),
        (ALONE, "--pod=alone", "rules are made with the pod: only a new pod will have it", "pod/alone"),
        (
            workload("old", paused=True),
            "--workload=deploy/old",
            "its rollout is paused: no pod is replaced until it is resumed",
            "deploy/old",
        ),
        (
            workload("old", kind="StatefulSet", updateStrategy={"type": "OnDelete"}),
            "--workload=sts/old",
            "its pods have it when they are deleted (OnDelete)",
            "sts/old",
        ),
    ],
)
def test_what_no_rollout_comes_of_is_edited_and_not_waited_for(carry_out, obj, scope, said, place):
    world = World(*shop("web"), obj)
    report, _ = carry_out(world, "exclude-port", "80", scope, "--workload=deploy/web", "-n", "shop")
    assert results(report.rolled)[0] == (place, "edited", said)
    assert results(report.rolled)[1] == ("deploy/web", "done", "")
    assert world.restarted == [place, "deploy/web"]


def test_a_template_that_another_workload_uses_is_edited_where_it_is(carry_out):
    user = workload("canary", kind="Rollout", status=HEALTHY, workloadRef=REFERENCE)
    del user["spec"]["template"]
    world = World(*shop("api", "web"), user)
    scope = ["--workload=rollout/canary", "--workload=deploy/api", "-n", "shop"]
    report, _ = carry_out(world, "exclude-port", "80", *scope)
    assert results(report.rolled) == [
        ("rollout/canary", "edited", "rollout/canary uses this pod template and rolls it out"),
        ("deploy/api", "done", ""),
    ]
    assert world.restarted == ["deploy/web", "deploy/api"]


def test_what_has_no_template_of_its_own_is_left_and_named(carry_out):
    world = World(*shop("api"), *OPERATED, JOB, pod("once-1", ("Job", "once")))
    report, _ = carry_out(world, *ALL)
    assert results(report.rolled) == [
        ("deploy/api", "done", ""),
        ("job/once", "left", "a Job's pod template is immutable; edit the manifest and create the Job anew"),
        ("kafka/main", "left", "it belongs to Kafka main, which has no pod template and would revert the edit"),
    ]
    with pytest.raises(Refused, match="kafka/main in shop is not edited"):
        carry_out(world, "exclude-port", "81", "--workload=deploy/api", "--workload=deploy/web", "-n", "shop")
    assert world.restarted == ["deploy/api"]


def test_a_conflict_with_somebody_else_is_answered_with_another_try(carry_out):
    world = World(*shop("api", "web"), refusals=[Conflict(409, "Conflict", "somebody was faster")] * 3)
    report, _ = carry_out(world, *ALL)
    assert [item.result for item in report.rolled.items] == ["done", "done"]


def test_what_somebody_else_has_written_meanwhile_is_unchanged(carry_out):
    def same(world):
        world.at("Deployment", "web")["spec"]["template"]["metadata"]["annotations"] = {OUT: "80"}

    world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), same)]})
    report, _ = carry_out(world, *ALL)
    assert [(item.workload, item.result) for item in report.rolled.items] == [
        ("deploy/api", "done"),
        ("deploy/web", "unchanged"),
    ]
    assert [one.result for one in report.edits] == ["edited", "unchanged"]


def test_the_same_of_what_is_not_waited_for(carry_out):
    def same(world):
        held = world.at("CronJob", "nightly")["spec"]["jobTemplate"]["spec"]["template"]
        held["metadata"]["annotations"] = {OUT: "80"}

    world = World(*shop("api"), CRONJOB, steps={"api": [together(done("Deployment", "api"), same)]})
    scope = ["--workload=deploy/api", "--workload=cj/nightly", "-n", "shop"]
    report, _ = carry_out(world, "exclude-port", "80", *scope)
    assert [item.result for item in report.rolled.items] == ["done", "unchanged"]
    assert world.restarted == ["deploy/api"]


# it stops at the first failure


def names(out):
    return [item["metadata"]["name"] for item in last(out)["items"]]


def test_a_wrong_new_pod_stops_it_and_says_how_to_take_the_edit_back(program):
    def wrong():
        return World(*shop("api", "shop", "web"), steps={"shop": [comes("Deployment", "shop", script=STALE)]})

    code, out, err = program(wrong(), *ALL, "--yes")
    undo = "kubectl fsm exclude-port --remove 80 --workload=deploy/shop -n shop"
    said = f"pod shop-new1: its rules would need +80 outbound-port; the edit stays; to take it back: {undo}"
    assert code == 1
    assert f"error: deploy/shop in shop: {said}; 1 workload was not begun\n" in err
    assert out.count("edited") == 2
    assert f"Undo: {undo}\n" in out
    world = wrong()
    code, out, _ = program(world, *ALL, "--yes", "-o", "json")
    assert (code, names(out)) == (1, ["api", "shop"]), "what was not written is not printed as if it were"
    assert world.restarted == ["deploy/api", "deploy/shop"]
    assert annotation(world, "web") is None


def test_pods_of_the_template_before_the_edit_are_not_judged(carry_out):
    """An autoscaler may add one while the rollout begins."""

    def scaled(world):
        world.put(pod("web-3", script=STALE))

    steps = [scaled, one_is_new("Deployment", "web"), done("Deployment", "web")]
    world = World(*shop("api", "web"), steps={"web": steps})
    assert [item.result for item in carry_out(world, *ALL)[0].rolled.items] == ["done", "done"]


def test_pods_of_the_template_before_the_edit_are_not_counted_either(carry_out):
    last = together(done("Deployment", "web"), lambda world: world.put(pod("web-3", script=STALE)))
    world = World(*shop("api", "web"), steps={"web": [last]})
    report, _ = carry_out(world, *ALL)
    assert report.rolled.items[1].detail == "1 of 3 pods were not replaced"


def test_what_the_server_answers_stops_it(program):
    world = World(*shop("api", "web"), refusals=[Forbidden(403, "Forbidden", "deployments is forbidden")])
    code, out, err = program(world, *ALL, "--yes", "-o", "json")
    assert (code, last(out)) == (1, {"apiVersion": "v1", "kind": "List", "items": []})
    assert "error: deploy/api in shop: deployments is forbidden; 1 workload was not begun\n" in err
    assert world.written == []


def test_ctrl_c_leaves_the_rest_as_it_was(program):
    world = World(*shop("api", "web"), steps={"api": [one_is_new("Deployment", "api"), TWICE]})
    code, out, err = program(world, *ALL, "--yes", "-o", "json")
    assert code == 130
    assert last(out)["metadata"]["name"] == "api", "one edit is the object itself"
    stage = "its rollout has begun: 1 of 2 pods new, 2 available"
    assert f"error: interrupted at deploy/api in shop: {stage}; 1 workload was not begun\n" in err
    assert annotation(world, "web") is None


def test_ctrl_c_at_the_question_writes_nothing(program, monkeypatch):
    world = World(*shop("api", "web"))
    monkeypatch.setattr(cli, "_ask", lambda *_: signal.raise_signal(signal.SIGINT))
    code, out, _ = program(world, *ALL)
    assert (code, out, world.written) == (130, "", [])


def outside(*names):
    """The workloads of a namespace that no mesh knows, whose pods have no rules."""
    place = {**NAMESPACE, "metadata": {"name": "shop"}}
    bare = [pod(f"{name}-1", ("Deployment", name), None) for name in names]
    return [EMPTY, place, *map(workload, names), *bare]


class Outside(World):
    """The injector adds nothing to the pods of such a namespace."""

    def try_create(self, resource, namespace, obj):
        self.trials.append(obj)
        return obj


def plain(name):
    """The rollout of a workload whose pods get no rules."""

    def step(world):
        world.take("Pod", f"{name}-1")
        for number in (1, 2):
            world.put(pod(f"{name}-new{number}", ("Deployment", name), None, {OUT: "80"}))
        says("Deployment", name, **test_rolling.SERVES)(world)

    return step


def test_pods_that_are_to_have_no_rules_are_right_without_any(carry_out):
    world = Outside(*outside("api", "web"), steps={"api": [plain("api")], "web": [plain("web")]})
    report, _ = carry_out(world, *ALL)
    assert [(item.result, item.verified) for item in report.rolled.items] == [("done", 2), ("done", 2)]


def test_pods_that_have_rules_and_should_have_none_are_wrong(carry_out):
    report, _ = carry_out(Outside(*outside("api", "web")), *ALL)
    said = "pod api-new1: it has rules, and should have none: namespace shop is not labelled flomesh.io/monitored-by; "
    assert report.rolled.items[0].detail.startswith(said)
    assert report.rolled.items[1].result == "not begun"


# with --restart


def test_a_restart_rolls_what_the_template_edits_did_not(carry_out):
    """The one has it already but runs older rules, the other has it and runs it."""
    has = {OUT: "80"}
    objects = [workload(name, annotations=has) for name in ("late", "web")]
    pods = [pod("late-1", ("Deployment", "late"), STALE, has), *shop("web", annotations=has)[-2:]]
    world = World(*shop("api"), *objects, *pods)
    report, _ = carry_out(world, *ALL, "--restart")
    assert [(item.workload, item.result) for item in report.rolled.items] == [
        ("deploy/api", "done"),
        ("deploy/late", "done"),
        ("deploy/web", "current"),
    ]
    restarted = {"kubectl.kubernetes.io/restartedAt": MOMENT}
    assert world.written[1][1]["spec"] == {"template": {"metadata": {"annotations": restarted}}}
    assert len(world.written) == 2


@pytest.mark.parametrize("wait", [["--restart"], []])
def test_a_restart_of_one_template_is_waited_for(carry_out, wait):
    world = World(*shop("web"))
    report, events = carry_out(world, "exclude-port", "80", "--workload=deploy/web", "-n", "shop", *wait)
    assert isinstance(report, EditsReport) == bool(wait)
    assert world.observed == ["web"] * len(wait)
    assert texts(events, Question) == []
    if wait:
        assert results(report.rolled) == [("deploy/web", "done", "")]


def test_a_restart_of_one_unchanged_template_rolls_it_where_its_pods_are_outdated(carry_out):
    has = {OUT: "80"}
    world = World(EMPTY, NAMESPACE, workload(annotations=has), pod("web-1", script=STALE, annotations=has))
    scope = ["exclude-port", "80", "--workload=deploy/web", "-n", "shop"]
    assert carry_out(world, *scope)[0].result == "unchanged"
    assert world.written == []
    report, _ = carry_out(world, *scope, "--restart")
    assert results(report.rolled) == [("deploy/web", "done", "")]
    assert [one.result for one in report.edits] == ["unchanged"]


def test_a_restart_of_an_unchanged_template_minds_its_namespace(carry_out):
    """Its pods have rules from the days when it was part of the mesh; new ones would have none."""
    has, place = {OUT: "80"}, {**NAMESPACE, "metadata": {"name": "shop"}}
    world = World(EMPTY, place, workload(annotations=has), pod("web-1", script=STALE, annotations=has))
    report, _ = carry_out(world, "exclude-port", "80", "--workload=deploy/web", "-n", "shop", "--restart")
    said = "its next pods would have no rules of the mesh: namespace shop is not labelled flomesh.io/monitored-by"
    assert results(report.rolled) == [("deploy/web", "left", said)]
    assert world.written == []


def test_a_global_edit_with_restart_rolls_what_it_makes_outdated(carry_out):
    paused = [workload("old", paused=True), pod("old-1", ("Deployment", "old"))]
    fresh = {OUT: "6379"}
    current = [workload("new", annotations=fresh), pod("new-1", ("Deployment", "new"), GOOD, fresh)]
    world = World(*shop("api", "web"), *paused, *current)
    report, events = carry_out(world, *GLOBAL)
    assert world.restarted == ["meshconfig/fsm-mesh-config", "deploy/api", "deploy/web"]
    assert [(item.workload, item.result) for item in report.rolled.items] == [
        ("deploy/api", "done"),
        ("deploy/old", "left"),
        ("deploy/web", "done"),
    ]
    assert [(one.result, one.outdated, one.pods) for one in report.edits] == [("edited", 5, 6)]
    assert texts(events, Question) == [
        (
            "context test, MeshConfig fsm-mesh-config: outbound-port [] → [6379]\n"
            "this rolls 2 workloads\n"
            "  deploy/api in shop (2 pods): +6379 outbound-port\n"
            "  deploy/web in shop (2 pods): +6379 outbound-port"
        )
    ]
    assert errors(events) == []


def test_a_global_edit_with_restart_asks_before_the_meshconfig_is_written(carry_out):
    for words in (GLOBAL, ["exclude-ip", "0.0.0.0/1", "--restart"]):
        world = World(*shop("api", "web"))
        with pytest.raises(Declined, match="nothing was written"):
            carry_out(world, *words, answer=False)
        assert world.written == world.trials == []


def test_a_guard_of_a_global_edit_is_asked_once_together_with_the_restarts(carry_out):
    _, events = carry_out(World(*shop("api", "web")), "exclude-ip", "0.0.0.0/1", "--restart")
    (question,) = texts(events, Question)
    assert question.startswith("context test, MeshConfig fsm-mesh-config: outbound-ip [] → [0.0.0.0/1]\nthis rolls 2")
    assert "this rolls 2 workloads\n  deploy/api in shop (2 pods): +0.0.0.0/1 outbound-ip\n" in question
    assert question.splitlines()[-1].startswith("the new ranges exclude 50% of all addresses")
    assert question.count("50%") == 1
    _, events = carry_out(World(*shop("web")), "exclude-ip", "0.0.0.0/1", "--restart", "--yes", answer=False)
    assert texts(events, Question) == []
    assert [text[:26] for text in texts(events, Warned)] == ["the new ranges exclude 50%"]


@pytest.mark.parametrize("pods", [1, 0])
def test_a_guard_is_asked_also_where_no_more_than_one_workload_is_rolled(carry_out, pods):
    def one():
        return World(EMPTY, NAMESPACE, workload(), *[pod("web-1", script=STALE)] * pods)

    for words in (["--restart"], ["--restart", "--workload=deploy/web", "-n", "shop"]):
        world = one()
        with pytest.raises(Declined, match="nothing was written"):
            carry_out(world, "exclude-ip", "0.0.0.0/1", *words, answer=False)
        assert world.written == []
    (question,) = texts(carry_out(one(), "exclude-ip", "0.0.0.0/1", "--restart")[1], Question)
    assert "this rolls 1 workload\n  deploy/web in shop (1 pod): +0.0.0.0/1 outbound-ip\n" in question or not pods
    assert ("this rolls" in question) == bool(pods)
    assert question.startswith("context test, MeshConfig fsm-mesh-config: outbound-ip [] → [0.0.0.0/1]")


def test_what_became_current_while_others_rolled_is_not_rolled_after_a_global_edit(carry_out):
    steps = {"api": [together(done("Deployment", "api"), done("Deployment", "web"))]}
    world = World(*shop("api", "web"), steps=steps)
    report, _ = carry_out(world, *GLOBAL)
    assert report.rolled.items[1].detail == "its pods run current rules by now"
    assert world.restarted == ["meshconfig/fsm-mesh-config", "deploy/api"]


def test_a_global_edit_that_changes_nothing_still_rolls_what_is_outdated(carry_out):
    world = World(*test_rolling.shop("web"))
    report, _ = carry_out(world, *GLOBAL)
    assert ([one.result for one in report.edits], world.restarted) == (["unchanged"], ["deploy/web"])
    assert results(report.rolled) == [("deploy/web", "done", "")]


def test_a_global_edit_that_makes_nothing_outdated_rolls_nothing(carry_out):
    world = World(EMPTY, NAMESPACE, workload("idle", replicas=0, status={}))
    report, events = carry_out(world, *GLOBAL)
    assert (report.rolled.items, world.restarted) == ([], ["meshconfig/fsm-mesh-config"])
    assert texts(events, Question) == []


def test_a_global_edit_that_fails_rolls_nothing(carry_out):
    world = World(*shop("web"), refusals=[ApiError(500, "InternalError", "no")])
    with pytest.raises(ApiError):
        carry_out(world, *GLOBAL)
    assert world.written == world.observed == []


def test_the_rollout_of_a_global_edit_waits_for_the_injector(carry_out):
    world = World(*shop("web"), answers=[STALE, STALE])
    report, _ = carry_out(world, *GLOBAL)
    assert (report.rolled.items[0].result, len(world.trials)) == ("done", 3)
    world = World(*shop("web"), answers=[STALE] * 99)
    report, events = carry_out(world, *GLOBAL)
    assert report.rolled.items[0].result == "failed"
    assert world.restarted == ["meshconfig/fsm-mesh-config"]
    assert "the injector would make a wrong pod" in errors(events)[0]


def test_a_failed_rollout_of_a_global_edit_leaves_the_edit_and_prints_it(program):
    world = World(*shop("api", "web"), steps={"api": [comes("Deployment", "api", script=STALE)]})
    code, out, err = program(world, *GLOBAL, "--yes")
    assert code == 1
    assert "meshconfig.config.flomesh.io/fsm-mesh-config in fsm-system edited" in out
    assert "Undo: kubectl fsm exclude-port --remove 6379\n" in out
    assert "Apply: " not in out
    assert "not begun" in out
    assert "the restart was taken back; 1 workload was not begun" in err
    code, out, _ = program(World(*shop("web")), *GLOBAL, "-o", "json")
    assert (code, last(out)["kind"]) == (0, "MeshConfig")
    assert program(World(*shop("web")), *GLOBAL, "-o", "name")[1] == "meshconfig.config.flomesh.io/fsm-mesh-config\n"


def test_a_timeout_of_an_edit_is_that_of_each_rollout(carry_out):
    world = World(*shop("web"), steps={"web": [one_is_new("Deployment", "web")]})
    report, _ = carry_out(world, *GLOBAL, "--timeout=20s")
    assert report.rolled.items[0].detail == "not done within 20 s: 1 of 2 pods new, 2 available"
    with pytest.raises(UsageError, match="--timeout=x: not a duration"):
        carry_out(world, *GLOBAL, "--timeout=x")


# a dry run


@pytest.mark.parametrize("mode", ["client", "server"])
@pytest.mark.parametrize("words", [ALL, [*ALL, "--restart"], GLOBAL, ["exclude-ip", "0.0.0.0/1", "--restart"]])
def test_a_dry_run_writes_nothing_rolls_nothing_and_asks_nothing(carry_out, words, mode):
    world = World(*shop("api", "web"))
    sent, patch = [], world.patch

    def patched(*args, dry_run=False):
        sent.append(dry_run)
        return patch(*args, dry_run=dry_run)

    world.patch = patched
    report, events = carry_out(world, *words, f"--dry-run={mode}")
    assert [(item.workload, item.result) for item in report.rolled.items] == [
        ("deploy/api", "planned"),
        ("deploy/web", "planned"),
    ]
    assert {(one.result, one.dry_run) for one in report.edits} == {("edited", mode)}
    assert sent == [True] * (len(report.edits) if mode == "server" else 0)
    assert world.written == world.observed == world.trials == []
    assert texts(events, Question) == errors(events) == []


def test_a_dry_run_shows_what_would_be_edited_and_what_rolled(program):
    world = World(*shop("api"), workload(status=ROLLS), pod("web-1", script=STALE))
    code, out, err = program(world, *GLOBAL, "--dry-run")
    assert (code, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        (
            "meshconfig.config.flomesh.io/fsm-mesh-config in fsm-system edited (dry run) "
            "(context test, mesh fsm (fsm-system))"
        ),
        "outbound-port: [] → [6379]",
        "WORKLOAD",
        "deploy/api",
        "deploy/web",
    ]
    assert "planned  +6379 outbound-port" in out
    assert "left     a rollout is under way already" in out


def test_a_server_that_would_refuse_says_so_in_a_dry_run(carry_out):
    world = World(*shop("api", "web"), refusals=[None, Forbidden(403, "Forbidden", "no")])
    with pytest.raises(Forbidden):
        carry_out(world, *ALL, "--dry-run=server")


# files


API = """\
# who calls whom
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}   # ours
spec:
  template:
    metadata:
      annotations:
        other: 'x'  # stays
    spec: {containers: [{name: app, image: x}]}
"""
WEB = API.replace("name: api", "name: web").replace("# who calls whom", "# who is called")
MESH = yaml.safe_dump_all([EMPTY, NAMESPACE])


def with_80(text):
    line = "        other: 'x'  # stays\n"
    return text.replace(line, f'{line}        {OUT}: "80"\n')


@pytest.fixture
def local(monkeypatch, capsys, tmp_path):
    """Run the program on files with these texts: (exit code, stdout, stderr)."""

    def local(texts, *argv):
        words = []
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text)
            words += ["-f", str(path)]
        return cli.main([*argv, "--local", *words]), *capsys.readouterr()

    return local


BOTH = ["--workload=deploy/api", "--workload=deploy/web", "-n", "shop"]


def test_several_workloads_in_one_file_are_printed_once_with_comments_kept(local):
    text = f"{API}---\n{WEB}"
    code, out, err = local([text], "exclude-port", "80", *BOTH)
    assert code == 0, err
    assert out == with_80(text)
    assert err.count("outbound-port: [] → [80]") == 2


def test_several_workloads_in_two_files_are_each_printed_once(local):
    code, out, err = local([API, WEB, MESH], "exclude-port", "80", *BOTH)
    assert code == 0, err
    assert out == f"{with_80(API)}---\n{with_80(WEB)}"


def test_two_workloads_of_one_file_and_one_of_another(local):
    ops = API.replace("name: api", "name: ops")
    text = f"{API}---\n{ops}"
    code, out, err = local([text, WEB], "exclude-port", "80", "--all", "-n", "shop")
    assert code == 0, err
    assert out == f"{with_80(text)}---\n{with_80(WEB)}"


def test_files_that_end_without_a_line_break_are_still_documents_of_their_own(local):
    cut = WEB.rstrip("\n")
    code, out, _ = local([API.rstrip("\n"), cut], "exclude-port", "80", *BOTH)
    assert code == 0
    assert [found["metadata"]["name"] for found in yaml.safe_load_all(out)] == ["api", "web"]
    assert local([cut], "exclude-port", "80", "--workload=deploy/web", "-n", "shop")[1] == with_80(cut), (
        "one file as it is"
    )


def test_one_of_the_files_has_it_already(local):
    code, out, err = local([API, with_80(WEB)], "exclude-port", "80", *BOTH)
    assert code == 0, err
    assert out == f"{with_80(API)}---\n{with_80(WEB)}"
    assert "deployment.apps/web in shop unchanged" in err


def test_a_refusal_of_one_in_files_prints_nothing(local):
    full = ",".join(map(str, range(1, 16)))
    code, out, err = local([API, WEB.replace("'x'", f"'x'\n        {OUT}: '{full}'")], "exclude-port", "80", *BOTH)
    assert (code, out) == (1, "")
    assert "16 outbound ports" in err


def test_a_dry_run_of_files_prints_no_files(local):
    code, out, err = local([API, WEB], "exclude-port", "80", *BOTH, "--dry-run")
    assert (code, out) == (0, "")
    assert err.count("edited (dry run)") == 2


def test_files_ask_nothing_for_more_than_one_workload(local):
    assert local([API, WEB], "exclude-port", "80", "--all", "-n", "shop")[0] == 0


def test_files_and_a_restart_exclude_each_other(local):
    code, out, err = local([API], "exclude-port", "80", "--workload=deploy/api", "-n", "shop", "--restart")
    assert (code, out) == (2, "")
    assert "--local edits files, and --restart rolls what runs in a cluster: they exclude each other" in err
    assert local([MESH], "exclude-port", "80", "--restart")[0] == 2


def test_files_are_not_rolled(carry_out):
    text = f"{MESH}---\n{API}---\n{WEB}".encode()
    files = manifests.read(["-"], "shop", io.BytesIO(text))
    report, _ = carry_out(files, "exclude-port", "80", *BOTH)
    assert ([one.result for one in report.edits], report.rolled.items) == (["edited"] * 2, [])


def test_the_templates_of_a_restart_are_read_when_their_turn_has_come(carry_out):
    """Somebody adds to the list while another workload rolls: both entries are there in the end."""

    def added(world):
        held = world.at("Deployment", "web")
        held["spec"]["template"]["metadata"]["annotations"] = {OUT: "22"}
        held["metadata"] = copy.deepcopy(held["metadata"])

    world = World(*shop("api", "web"), steps={"api": [nothing, together(done("Deployment", "api"), added)]})
    report, _ = carry_out(world, *ALL)
    assert annotation(world, "web") == "22,80"
    assert [item.result for item in report.rolled.items] == ["done", "done"]
    assert report.edits[1].changes[0].after == ["22", "80"]


def test_an_edit_of_a_workload_that_rolls_already_is_followed_to_its_end(carry_out):
    world = World(*shop("api"), workload(status=ROLLS), pod("web-1", script=STALE))
    world.steps["web"] = [says("Deployment", "web"), done("Deployment", "web")]
    report, _ = carry_out(world, *ALL)
    assert [item.result for item in report.rolled.items] == ["done", "done"]


def test_the_injector_is_asked_about_the_template_as_it_will_be(carry_out):
    """One that is behind is asked again, and no template is written before its answer is right."""
    world = World(*shop("api", "web"), answers=[STALE, STALE])
    report, _ = carry_out(world, *ALL)
    assert [item.result for item in report.rolled.items] == ["done", "done"]
    assert [fields.annotations(asked) for asked in world.trials] == [{OUT: "80"}] * 4
    world = World(*shop("api", "web"), answers=[STALE] * 100)
    report, _ = carry_out(world, *ALL)
    assert [item.result for item in report.rolled.items] == ["failed", "not begun"]
    assert "the injector would make a wrong pod" in report.rolled.items[0].detail
    assert (world.written, report.edits) == ([], [])


def test_an_unchanged_template_of_outdated_pods_says_how_to_roll_them(carry_out):
    has = {OUT: "80"}
    late = [workload("late", annotations=has), pod("late-1", ("Deployment", "late"), STALE, has)]
    report, _ = carry_out(World(*shop("api"), *late), *ALL)
    assert results(report.rolled)[1] == (
        "deploy/late",
        "unchanged",
        "its pods run outdated rules: kubectl fsm restart deploy/late -n shop",
    )


def test_the_undo_of_a_global_edit_is_said_before_anything_is_rolled(carry_out):
    _, events = carry_out(World(*shop("web")), *GLOBAL)
    first, second, *_ = (event for event in events if isinstance(event, Note | Turn))
    assert first.text == (
        "MeshConfig fsm-mesh-config: outbound-port [] → [6379]: written; its undo: "
        "kubectl fsm exclude-port --remove 6379"
    )
    assert (second.state, second.workload) == ("begun", "deploy/web")


def test_an_edit_rolls_also_what_asks_not_to_be_restarted_and_says_so(carry_out):
    for annotations, said in (
        ({}, []),
        ({"kubectl-fsm/restart": "disabled"}, ["deploy/web: it is not to be restarted"]),
    ):
        objects = shop("web")
        for obj in objects:
            if obj["kind"] == "Deployment":
                obj["metadata"] = {**obj["metadata"], "annotations": annotations}
        _, events = carry_out(World(*objects), "exclude-port", "80", "--workload=deploy/web", "-n", "shop")
        warned = [event.text.partition(" (annotation")[0] for event in events if isinstance(event, Warned)]
        assert warned == said
