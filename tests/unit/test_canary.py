"""The workload that goes first: what it has to be, for how long, and what becomes of the others."""

import json
from pathlib import Path

import pytest

from kubectl_fsm.errors import Refused, UsageError
from kubectl_fsm.reports import Failed, Lineup, Question, Turn
from tests.unit import test_record, test_rolling
from tests.unit.test_record import entry, files, kept, plan
from tests.unit.test_rolling import (
    DEADLINE,
    GOOD,
    MOMENT,
    NOT_READY,
    STALE,
    World,
    comes,
    done,
    errors,
    goes,
    nothing,
    one_is_new,
    pod,
    results,
    says,
    shop,
    states,
    texts,
    together,
    workload,
)

clock, carry_out, roll, resume = test_rolling.clock, test_rolling.carry_out, test_rolling.roll, test_record.resume
FIRST = ["--all", "--canary=deploy/web", "--bake=2m"]
ROLLS = [one_is_new("Deployment", "web"), done("Deployment", "web")]
"""Of the canary. One more second passes before it is looked at for the first time when it bakes."""


def status(name="web-new1", **values):
    """A pod's status changes."""

    def step(world):
        held = world.at("Pod", name)
        held["status"] = {**held["status"], **values}

    return step


def restarts(count):
    return status(containerStatuses=[{"name": "app", "ready": True, "restartCount": count}])


def bakes(*steps, names=("api", "web"), **how):
    return World(*shop(*names), steps={"web": [*ROLLS, *steps]}, **how)


def test_it_goes_first_and_the_others_when_it_has_baked(roll):
    world = bakes()
    moments = {}
    report, events = roll(
        world,
        *FIRST,
        "--max-parallel=4",
        hears=lambda event: moments.setdefault(event[:3], world.seconds) if isinstance(event, Turn) else None,
    )
    assert [(item.workload, item.result, item.verified) for item in report.items] == [
        ("deploy/web", "done", 2),
        ("deploy/api", "done", 2),
    ]
    assert (world.restarted, world.observed) == (["deploy/web", "deploy/api"], ["web", "web", "api"])
    assert 120 <= moments["deploy/api", "shop", "begun"] - moments["deploy/web", "shop", "writing"] < 130
    assert states(events) == ["begun", "writing", *["baking"] * 11, "done", "begun", "writing", "done"]
    told = [event.text for event in events if isinstance(event, Turn) and event.state == "baking"]
    assert (told[1], told[-1]) == ("deploy/web in shop: healthy, 11s of 2m", "deploy/web in shop: healthy, 1m50s of 2m")
    assert [event.total for event in events if isinstance(event, Lineup)] == [2]
    assert files() == []


def test_without_a_time_to_bake_it_is_looked_at_once_more(roll):
    assert [item.result for item in roll(bakes(), "--all", "--canary=deploy/web")[0].items] == ["done", "done"]
    world = bakes(nothing)
    world.steps["web"][1] = together(done("Deployment", "web"), status(conditions=[NOT_READY]))
    report, _ = roll(world, "--all", "--canary=deploy/web")
    assert report.items[0].detail == (
        "it was verified, but 0s later: pod web-new1 is not ready: ContainersNotReady: containers: [app]"
    )


FEWER = together(goes("web-new2"), says("Deployment", "web", replicas=1, availableReplicas=1))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (status(conditions=[NOT_READY]), "2m later: pod web-new1 is not ready: ContainersNotReady: containers: [app]"),
        (together(restarts(0), nothing), ""),
        (restarts(1), "2m later: container app of pod web-new1 has restarted"),
        (FEWER, "2m later: 1 of 2 pods are available"),
        (
            comes("Deployment", "web", 3, script=STALE),
            "2m later: pod web-new3: its rules would need +6379 outbound-port",
        ),
        (lambda world: world.take("Deployment", "web"), "1s later: it has been deleted"),
        (
            together(FEWER, says("Deployment", "web", conditions=[DEADLINE])),
            'ReplicaSet "web-5d" has timed out progressing.',
        ),
    ],
    ids=["not ready", "no restart", "a restart", "too few", "wrong", "deleted", "given up"],
)
def test_it_has_to_be_healthy_in_the_end(roll, step, said):
    world = bakes(step)
    begun = world.seconds
    report, events = roll(world, *FIRST)
    if not said:
        assert [item.result for item in report.items] == ["done", "done"]
        return
    assert [item.result for item in report.items] == ["failed", "not begun"]
    assert report.items[0].detail.startswith("it was verified, but ")
    assert report.items[0].detail.endswith(said)
    assert errors(events) == [f"deploy/web in shop: {report.items[0].detail}; 1 workload was not begun"]
    assert world.restarted == ["deploy/web"], "it is not taken back: it was right"
    assert (world.seconds - begun > 120) == ("2m later" in said), "what cannot become good is not waited for"
    assert [(name, state) for name, state, _ in kept(files()[0])] == [("web", "failed"), ("api", "waiting")]


def test_what_passes_while_it_bakes_is_said_and_no_failure(roll):
    ready = status(conditions=[{**NOT_READY, "status": "True"}])
    world = bakes(status(conditions=[NOT_READY]), *[nothing] * 20, ready)
    report, events = roll(world, *FIRST)
    assert [item.result for item in report.items] == ["done", "done"]
    told = [event.text for event in events if isinstance(event, Turn) and event.state == "baking"]
    trouble = "pod web-new1 is not ready: ContainersNotReady: containers: [app]"
    assert told[0] == "deploy/web in shop: right, to stay healthy for 2m"
    assert told[1] == f"deploy/web in shop: {trouble}, 11s of 2m"
    assert told[-1].startswith("deploy/web in shop: healthy, 1m")


def test_restarts_of_before_do_not_count(roll):
    world = bakes(nothing)
    world.steps["web"][1] = together(done("Deployment", "web"), restarts(3))
    assert [item.result for item in roll(world, *FIRST)[0].items] == ["done", "done"]


def test_where_it_fails_the_others_are_not_begun(roll):
    world = World(*shop("api", "web"), steps={"web": [comes("Deployment", "web", script=STALE)]})
    report, events = roll(world, *FIRST, "--max-parallel=9")
    assert [item.result for item in report.items] == ["failed", "not begun"]
    assert "baking" not in states(events)
    assert world.observed == ["web"]


# the one that needs no restart


def current():
    return [*shop("a", "b"), workload(), *(pod(f"web-{number}", script=GOOD) for number in (1, 2))]


def test_one_whose_pods_are_current_is_baked_all_the_same(carry_out):
    world = World(*current())
    report, events = carry_out(world, "restart", *FIRST)
    assert [(item.workload, item.result) for item in report.items] == [
        ("deploy/web", "current"),
        ("deploy/a", "done"),
        ("deploy/b", "done"),
    ]
    assert (world.restarted, world.observed) == (["deploy/a", "deploy/b"], ["web", "a", "b"])
    assert texts(events, Turn)[0] == (
        "deploy/web in shop: its pods run current rules already, so it tells only whether they are healthy"
    )
    (asked,) = texts(events, Question)
    assert asked.startswith("context test: this rolls 2 workloads\n  deploy/a ")
    assert "deploy/web" not in asked


def test_one_whose_pods_are_current_can_fail_as_well(roll):
    world = World(*current(), steps={"web": [status("web-1", conditions=[NOT_READY])]})
    report, _ = roll(world, *FIRST)
    assert [item.result for item in report.items] == ["failed", "not begun", "not begun"]
    assert world.written == []


def test_a_dry_run_shows_it_first(roll):
    assert results(roll(World(*current()), *FIRST, "--dry-run")[0]) == [
        ("deploy/web", "current", ""),
        ("deploy/a", "planned", ""),
        ("deploy/b", "planned", ""),
    ]


# the one that is no canary


PAUSED = [*shop("api"), workload(paused=True), pod("web-1")]
HELD = "its rollout is paused: no pod is replaced until it is resumed"


def test_one_that_would_be_left_alone_is_refused(roll):
    world = World(*PAUSED)
    with pytest.raises(Refused) as caught:
        roll(world, *FIRST)
    assert str(caught.value) == f"the canary deploy/web in shop would be left alone: {HELD}"
    assert caught.value.hint == "nothing was restarted"
    assert world.written == world.trials == []


def test_one_that_is_left_alone_at_its_turn_has_failed(roll):
    class Busy(World):
        def observe(self, *views):
            says("Deployment", "web", replicas=3, updatedReplicas=1)(self)
            return super().observe(*views)

    report, _ = roll(Busy(*shop("api", "web")), *FIRST)
    assert results(report) == [
        ("deploy/web", "failed", "a rollout is under way already; look again when it has ended"),
        ("deploy/api", "not begun", ""),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bake=1m"], "--bake needs the workload that is to stay healthy: --canary=KIND/NAME"),
        (["--canary=deploy/web", "--no-wait"], "--canary is waited for, and --no-wait waits for nothing"),
        (["--canary=deploy/nope"], "--canary deploy/nope: no such workload is among those that are looked at"),
        (
            ["--canary=deploy/web", "--skip=deploy/web"],
            "--canary deploy/web: no such workload is among those that are looked at",
        ),
        (["--canary=ns/shop"], "--canary ns/shop: a namespace is not a workload"),
        (["--canary=web"], "--canary 'web' is not a workload"),
    ],
)
def test_words_that_name_none(roll, words, said):
    with pytest.raises(UsageError) as caught:
        roll(World(*shop("api", "web")), "--all", *words)
    assert str(caught.value) == said


# going on with a plan


def canary(state="waiting", **more):
    return entry(state=state, canary=True, **more)


def test_a_plan_knows_its_canary_and_for_how_long_it_bakes(roll):
    roll(World(*shop("api", "web"), steps={"web": [comes("Deployment", "web", script=STALE)]}), *FIRST)
    found = json.loads(Path(files()[0]).read_text())
    assert found["bakeSeconds"] == 120
    assert [(one["name"], one["canary"]) for one in found["items"]] == [("web", True), ("api", False)]


@pytest.mark.parametrize("state", ["waiting", "failed"])
def test_a_canary_that_has_not_ended_goes_first_again(resume, state):
    world = bakes()
    begun = world.seconds
    report, _ = resume(world, plan(canary(state), entry("api"), bakeSeconds=300))
    assert [(item.workload, item.result) for item in report.items] == [("deploy/web", "done"), ("deploy/api", "done")]
    assert (world.observed, files()) == (["web", "web", "api"], [])
    assert world.seconds - begun > 300


def test_a_canary_that_was_baking_is_baked_anew(resume):
    world = World(*current())
    path = plan(canary("baking", mark=MOMENT), entry("a"), entry("b"), bakeSeconds=300)
    report, events = resume(world, path)
    assert [item.result for item in report.items] == ["current", "done", "done"]
    assert states(events).count("baking") > 20
    assert world.restarted == ["deploy/a", "deploy/b"]


def test_a_canary_that_is_done_is_not_asked_of_again(resume):
    world = World(*shop("api", "web"))
    report, _ = resume(world, plan(canary("done"), entry("api"), bakeSeconds=300))
    assert (results(report), world.observed) == ([("deploy/api", "done", "")], ["api"])


def test_a_canary_that_would_be_left_alone_by_now_is_refused(resume):
    world = World(*PAUSED)
    with pytest.raises(Refused, match="the canary deploy/web in shop would be left alone: its rollout is paused"):
        resume(world, plan(canary("failed"), entry("api")))
    assert (world.written, kept()[0][1]) == ([], "failed")


def test_a_canary_that_is_skipped_holds_nobody_back(resume):
    world = World(*shop("api", "web"))
    report, events = resume(world, plan(canary("failed"), entry("api")), "--skip=deploy/web")
    assert (results(report), world.restarted) == ([("deploy/api", "done", "")], ["deploy/api"])
    assert not any(isinstance(event, Failed) for event in events)
