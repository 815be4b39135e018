"""The injector is asked about every template before anything is written, and again where its answer is too old."""

import pytest

from kubectl_fsm import fields
from kubectl_fsm.errors import ApiError, Forbidden, Refused
from kubectl_fsm.reports import Note, Question, Turn, Warned
from tests.unit import test_rolling
from tests.unit.test_guards_offline import OUT
from tests.unit.test_rolling import STALE, WEBHOOK, World, done, pod, results, sets, shop, texts, together, workload

clock, carry_out, roll = test_rolling.clock, test_rolling.carry_out, test_rolling.roll
NO = ApiError(400, "BadRequest", WEBHOOK)
MAY_NOT = Forbidden(403, "Forbidden", "cannot create pods")
WRONG = "the injector would make a wrong pod: its rules would need +6379 outbound-port"


class Asked(World):
    """`says` are the answers about each workload, by its name, in their order; `rounds` how many were asked about at once."""

    def __init__(self, *objects, says=None, **how):
        super().__init__(*objects, **how)
        self.says = {name: list(answers) for name, answers in (says or {}).items()}
        self.names, self.rounds = [], []

    def try_create(self, resource, namespace, obj):
        name = obj["metadata"]["generateName"].rstrip("-")
        self.names.append(name)
        left = self.says.get(name)
        self.answers = [left.pop(0)] if left else []
        return super().try_create(resource, namespace, obj)

    def gather(self, *calls):
        before = len(self.names)
        found = super().gather(*calls)
        self.rounds += [len(calls)] if len(self.names) > before else []
        return found


def refusal(roll, world, *words):
    with pytest.raises(Refused) as caught:
        roll(world, *words)
    assert world.written == world.observed == []
    return str(caught.value)


def test_all_that_are_to_be_restarted_are_asked_about_at_once_before_anything_else(carry_out):
    world = Asked(*shop("a", "b", "c", "d"), workload("old", paused=True), pod("old-1", ("Deployment", "old")))

    def hears(event):
        if isinstance(event, Question | Turn):
            assert world.names == ["a", "b", "d"]

    report, _ = carry_out(world, "restart", "--all", "--skip=deploy/c", hears=hears)
    assert [item.result for item in report.items] == ["done", "done", "done", "left"]
    assert (world.rounds, world.names) == ([3], ["a", "b", "d"])


def test_only_what_was_wrong_is_asked_about_again(roll):
    world = Asked(*shop("a", "b", "c"), says={"b": [STALE, STALE]})
    assert [item.result for item in roll(world, "--all")[0].items] == ["done"] * 3
    assert (world.rounds, world.names) == ([3, 1, 1], ["a", "b", "c", "b", "b"])


def test_all_that_would_be_wrong_are_named(roll):
    world = Asked(*shop("a", "b", "c", "d"), says={"b": [STALE] * 99, "c": [NO], "d": [MAY_NOT]})
    assert refusal(roll, world, "--all") == (
        "the next pods would be wrong, so nothing is restarted: "
        f"\n  deploy/b in shop: {WRONG}\n  deploy/c in shop: its next pods would be refused: {WEBHOOK}"
    )
    assert world.names.count("c") == world.names.count("d") == 1, "that would not change"


def test_all_that_could_not_be_asked_about_are_named(roll):
    world = Asked(*shop("a", "b", "c"), says={"a": [MAY_NOT], "c": [MAY_NOT]})
    assert refusal(roll, world, "--all") == (
        "the injector could not be asked about the next pods, so nothing is restarted: "
        "\n  deploy/a in shop: cannot create pods\n  deploy/c in shop: cannot create pods"
    )


def test_that_it_is_waited_for_is_said_once_and_only_where_it_lasts(roll):
    said = []
    refusal(lambda *args: roll(*args, hears=said.append), Asked(*shop("a", "b"), says={"b": [STALE] * 99}), "--all")
    assert texts(said, Note) == [f"deploy/b in shop: {WRONG}; asking again for up to 30 s"]
    _, events = roll(Asked(*shop("a"), says={"a": [STALE]}), "--all")
    assert texts(events, Note) == []


def later(seconds, *steps):
    """`web` has its turn so much later than `api`."""

    def step(world):
        done("Deployment", "api")(world)
        world.seconds += seconds
        together(*steps)(world)

    return {"api": [step]}


def template(world):
    world.at("Deployment", "web")["spec"]["template"]["metadata"]["annotations"] = {OUT: "22"}


@pytest.mark.parametrize(
    ("steps", "asked"),
    [
        (later(50), 0),
        (later(62), 1),
        (later(0, template), 1),
        (later(0, sets(7070)), 1),
    ],
    ids=["fresh", "old", "about another template", "with another MeshConfig"],
)
def test_an_answer_holds_for_a_minute_and_for_what_was_asked(roll, steps, asked):
    world = Asked(*shop("api", "web"), steps=steps)
    assert [item.result for item in roll(world, "--all")[0].items] == ["done", "done"]
    assert world.names == ["api", "web", *["web"] * asked]


@pytest.mark.parametrize(
    ("answer", "said"), [(NO, f"its next pods would be refused: {WEBHOOK}"), (STALE, WRONG)], ids=["refused", "wrong"]
)
def test_a_bad_answer_at_its_turn_stops_it(roll, answer, said):
    world = Asked(*shop("api", "web"), steps=later(62), says={"web": [None, *[answer] * 99]})
    report, _ = roll(world, "--all")
    assert results(report)[1] == ("deploy/web", "failed", f"{said}; nothing was written")
    assert world.restarted == ["deploy/api"]


def test_no_answer_at_its_turn_is_only_said(roll):
    world = Asked(*shop("api", "web"), steps=later(62), says={"web": [None, MAY_NOT]})
    report, events = roll(world, "--all")
    assert report.items[1].result == "done"
    assert texts(events, Warned) == [
        "deploy/web in shop: the injector could not be asked beforehand: cannot create pods"
    ]


def test_who_wants_no_preflight_has_none_at_its_turn_either(roll):
    world = Asked(*shop("api", "web"), steps=later(9999, template))
    assert [item.result for item in roll(world, "--all", "--skip-preflight")[0].items] == ["done", "done"]
    assert world.names == []
    assert fields.annotations(world.at("Deployment", "web")["spec"]["template"])[OUT] == "22"


def test_a_dry_run_asks_nothing(roll):
    world = Asked(*shop("api"))
    roll(world, "--all", "--dry-run")
    assert world.names == []
