"""The plan file: what is in it at each moment, whose it may be, and what a restart that goes on makes of it."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from kubectl_fsm import fields
from kubectl_fsm.errors import Declined, Forbidden, Refused, UsageError
from kubectl_fsm.operations import files as files_module
from kubectl_fsm.operations import record
from kubectl_fsm.reports import Failed, Lineup, Note, Question, Turn, Warned
from tests.unit import test_rolling
from tests.unit.test_guards_offline import NAMESPACE
from tests.unit.test_lineup import budget, fleet
from tests.unit.test_rolling import (
    DEADLINE,
    GOOD,
    MOMENT,
    PORT,
    SERVES,
    STALE,
    World,
    comes,
    done,
    errors,
    nothing,
    pod,
    results,
    says,
    shop,
    states,
    texts,
    workload,
)

clock, carry_out, roll, program = (
    test_rolling.clock,
    test_rolling.carry_out,
    test_rolling.roll,
    test_rolling.program,
)
RESTARTED = "kubectl.kubernetes.io/restartedAt"


def entry(name="web", state="waiting", **more):
    names = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": name}
    told = {"uid": f"Deployment-{name}", "canary": False, "state": state, "mark": "", "message": ""}
    return {**names, **told, **more}


def plan(*entries, **more):
    """What a restart has left: `plan.json`."""
    about = {
        "apiVersion": "kubectl-fsm/v1",
        "kind": "RestartPlan",
        "cluster": "this-cluster",
        "meshes": ["fsm fsm-system"],
    }
    Path("plan.json").write_text(json.dumps({**about, "allPods": False, "bakeSeconds": 0, "items": [*entries], **more}))
    return "--resume=plan.json"


def files():
    return sorted(path.name for path in Path().iterdir())


def kept(path="plan.json"):
    return [(one["name"], one["state"], one["mark"]) for one in json.loads(Path(path).read_text())["items"]]


@pytest.fixture
def resume(carry_out):
    """As `carry_out` for `restart`, without a question."""
    return lambda world, *words, **how: carry_out(world, "restart", "--yes", *words, **how)


# while it goes


def test_it_is_there_before_the_first_write_and_goes_with_each_step_until_all_is_done(roll):
    seen, inodes = [], set()

    def hears(event):
        if isinstance(event, Lineup):
            assert files() == []
        elif isinstance(event, Turn):
            (name,) = files()
            inodes.add(Path(name).stat().st_ino)
            assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
            seen.append([(state, mark) for _, state, mark in kept(name)])

    roll(World(*shop("api", "web")), "--all", hears=hears)
    waits, over = ("waiting", ""), ("done", MOMENT)
    assert seen == [
        [("begun", ""), waits],
        [("writing", MOMENT), waits],
        [over, waits],
        [over, ("begun", "")],
        [over, ("writing", MOMENT)],
        [over, over],
    ]
    assert len(inodes) > 1, "it is replaced as a whole, never written in place"
    assert files() == []


def test_all_of_it(roll):
    steps = {"api": [comes("Deployment", "api", script=STALE)]}
    report, events = roll(World(*shop("api", "web"), steps=steps), "--all", "--all-pods")
    (name,) = files()
    assert texts(events, Note) == [
        f"what is left to do is kept in ./{name}, which goes when all is done",
        f"what is left to do is in ./{name}",
    ]
    (failed,) = (event.error for event in events if isinstance(event, Failed))
    assert failed.hint == f"mend it, then kubectl fsm restart --resume ./{name}"
    assert json.loads(Path(name).read_text()) == {
        "apiVersion": "kubectl-fsm/v1",
        "kind": "RestartPlan",
        "cluster": "this-cluster",
        "meshes": ["fsm fsm-system"],
        "allPods": True,
        "evict": False,
        "recreate": False,
        "respectPdb": False,
        "bakeSeconds": 0,
        "items": [
            entry("api", "failed", mark=MOMENT, message=f"deploy/api in shop: {report.items[0].detail}"),
            entry("web"),
        ],
    }


def test_the_command_that_goes_on_names_the_cluster_and_is_fit_for_a_shell(program):
    world = World(*shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]})
    world.words = ("--context", "my cluster")
    plan(entry())
    Path("plan.json").rename("my plan.json")
    _, _, err = program(world, "restart", "--resume", "my plan.json")
    assert err.endswith("mend it, then kubectl fsm restart --resume 'my plan.json' --context 'my cluster'\n")
    assert files() == ["my plan.json"]


def test_what_is_left_alone_from_the_beginning_is_no_part_of_it(roll):
    seen = []
    world = World(*shop("api"), workload(paused=True), pod("web-1"))
    roll(world, "--all", hears=lambda event: seen.extend(kept(files()[0]) if isinstance(event, Turn) else ()))
    assert {name for name, *_ in seen} == {"api"}


@pytest.mark.parametrize("words", [["--dry-run"], ["deploy/idle"]], ids=["a dry run", "nothing to do"])
def test_without_a_turn_there_is_none(roll, words):
    words = ["--all", *words] if words == ["--dry-run"] else words
    roll(World(*shop("web"), workload("idle", replicas=0, status={})), *words)
    assert files() == []


@pytest.mark.parametrize("taken", ["a file", "a link"])
def test_it_is_a_new_file_of_its_own(roll, monkeypatch, taken):
    names = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(files_module.secrets, "token_hex", lambda _: next(names))
    first = Path("fsm-restart-aaaa.json")
    first.write_text("mine") if taken == "a file" else first.symlink_to("victim")
    Path("fsm-restart-bbbb.json.new").symlink_to("victim")
    roll(World(*shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]}), "deploy/web")
    assert files() == ["fsm-restart-aaaa.json", "fsm-restart-bbbb.json"], "nothing is written through a link"
    assert first.is_symlink() or first.read_text() == "mine"
    assert [name for name, *_ in kept("fsm-restart-bbbb.json")] == ["web"]


def test_a_bug_leaves_the_plan_and_names_it(roll):
    class Broken(World):
        def observe(self, *views):
            raise ZeroDivisionError

    said = []
    with pytest.raises(ZeroDivisionError):
        roll(Broken(*shop("web")), "deploy/web", hears=said.append)
    (name,) = files()
    assert texts(said, Note) == [f"what is left to do is in ./{name}"]
    assert kept(name) == [("web", "begun", "")]


# where it cannot be kept


class Blind(World):
    """Who may not read kube-system."""

    def get(self, resource, name, namespace=""):
        if name == "kube-system":
            raise Forbidden(403, "Forbidden", "no")
        return super().get(resource, name, namespace)


def test_who_cannot_tell_clusters_apart_has_none(roll, resume):
    steps = {"api": [comes("Deployment", "api", script=STALE)]}
    report, events = roll(Blind(*shop("api", "web"), steps=steps), "--all")
    assert ([item.result for item in report.items], files()) == (["failed", "not begun"], [])
    assert texts(events, Warned) == [
        "no plan is kept for --resume: the Namespace kube-system, which tells clusters apart, cannot be read"
    ]
    (failed,) = (event.error for event in events if isinstance(event, Failed))
    assert failed.hint == "mend it, then repeat the command: what is done is not done again"
    with pytest.raises(Refused, match="told by the Namespace kube-system, which cannot be read"):
        resume(Blind(*shop("web")), plan(entry()))


def test_in_a_folder_that_takes_no_file_it_goes_on_without(roll, tmp_path):
    shutil.rmtree(tmp_path)
    report, events = roll(World(*shop("web")), "deploy/web")
    assert results(report) == [("deploy/web", "done", "")]
    (warned,) = texts(events, Warned)
    assert warned.startswith("no plan is kept for --resume: No such file or directory: ./fsm-restart-")


class Disk:
    """Files can be replaced as often as `works` says, one after the other."""

    def __init__(self, monkeypatch, works):
        answers, replace = iter(works), Path.replace

        def guarded(path, target):
            if not next(answers, True):
                raise OSError(28, "No space left on device", str(path))
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", guarded)


def test_a_full_disk_at_first_is_as_good_as_no_plan(roll, monkeypatch):
    Disk(monkeypatch, [False])
    _, events = roll(World(*shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]}), "deploy/web")
    (warned,) = texts(events, Warned)
    assert warned.startswith("no plan is kept for --resume: No space left on device: ./fsm-restart-")
    assert (files(), texts(events, Note)) == ([], [])


@pytest.mark.parametrize(("works", "said"), [([True, *[False] * 99], True), ([True, False, True], False)])
def test_a_full_disk_later_is_said_at_the_end_unless_it_has_passed(roll, monkeypatch, works, said):
    Disk(monkeypatch, works)
    report, events = roll(
        World(*shop("api", "web"), steps={"web": [comes("Deployment", "web", script=STALE)]}), "--all"
    )
    assert [item.result for item in report.items] == ["done", "failed"]
    (name,) = files()
    assert texts(events, Warned) == [f"the plan ./{name} is not up to date: No space left on device"] * said
    assert kept(name)[0][1] == ("waiting" if said else "done")


# what is no plan


VALID = {"apiVersion": "kubectl-fsm/v1", "kind": "RestartPlan", "cluster": "c", "items": [entry()]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"apiVersion": "v1"}, "it is not of apiVersion kubectl-fsm/v1 and kind RestartPlan"),
        ({"kind": ["RestartPlan"]}, "it is not of apiVersion kubectl-fsm/v1 and kind RestartPlan"),
        ({"cluster": 7}, "cluster is a number, not a string"),
        ({"cluster": ""}, "cluster is missing"),
        ({"meshes": "fsm"}, "meshes is a string, not a list"),
        ({"meshes": ["fsm", None, 1]}, "meshes[2] is a number, not a string"),
        ({"allPods": "false"}, "allPods is a string, not a boolean"),
        *(
            ({"bakeSeconds": bake}, "bakeSeconds is no number of seconds up to 86400")
            for bake in (-1, "1", True, 86401, float("nan"))
        ),
        ({"items": []}, "items is empty"),
        ({"items": None}, "items is empty"),
        ({"items": {}}, "items is an object, not a list"),
        ({"items": [entry(), 1]}, "items[1] is a number, not an object"),
        ({"items": [entry(), entry("api", uid=None)]}, "items[1].uid is missing"),
        ({"items": [entry(namespace="")]}, "items[0].namespace is missing"),
        ({"items": [entry(state=1)]}, "items[0].state is a number, not a string"),
        ({"items": [entry(mark=[])]}, "items[0].mark is a list, not a string"),
        ({"items": [entry(canary="no")]}, "items[0].canary is a string, not a boolean"),
        ({"items": [entry("api"), entry(), entry("api", "done")]}, "items[2] is the workload of items[0]"),
    ],
)
def test_a_field_that_is_not_as_it_should_be_is_named(resume, change, said):
    Path("plan.json").write_text(json.dumps({**VALID, **change}))
    with pytest.raises(Refused) as caught:
        resume(None, "--resume=plan.json")
    assert str(caught.value).startswith("plan.json is no plan of a restart: ")
    assert str(caught.value).endswith(said)
    assert caught.value.hint == "nothing was restarted"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe\xfa", b"[" * 100_000, b"1" * 5_000])
def test_what_is_no_object_is_no_plan(resume, text):
    Path("plan.json").write_bytes(text)
    with pytest.raises(Refused, match=r"^plan\.json is no plan of a restart: "):
        resume(None, "--resume=plan.json")


def test_a_file_without_end_is_no_plan(resume, monkeypatch):
    monkeypatch.setattr(record, "_LARGEST", 100)
    with pytest.raises(Refused, match="/dev/zero is no plan of a restart: it has more than 100 bytes"):
        resume(None, "--resume=/dev/zero")


@pytest.mark.parametrize(("path", "said"), [("nowhere", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(resume, path, said):
    with pytest.raises(Refused, match=f"^{path}: {said}$"):
        resume(None, f"--resume={path}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"cluster": "another"},
            (
                "the plan is for another cluster than context test: kube-system there has the uid another, "
                "here this-cluster"
            ),
        ),
        (
            {"meshes": ["fsm fsm-system", "osm osm-system"]},
            "the plan is for the mesh osm osm-system, and here is fsm fsm-system",
        ),
    ],
)
def test_a_plan_of_elsewhere_is_refused(resume, change, said):
    world = World(*shop("web"))
    with pytest.raises(Refused) as caught:
        resume(world, plan(entry(), **change))
    assert str(caught.value) == said
    assert (world.written, kept()) == ([], [("web", "waiting", "")])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy/web"], "a TARGET"),
        (["--all"], "--all"),
        (["-A"], "--all-namespaces"),
        (["-l", "a=b"], "--selector"),
        (["-n", "shop"], "--namespace"),
        (["--all-pods"], "--all-pods"),
        (["--canary=deploy/web"], "--canary"),
    ],
)
def test_a_plan_says_by_itself_what_is_restarted(resume, words, said):
    with pytest.raises(UsageError, match=f"^--resume says what is restarted, so {said} does not go with it$"):
        resume(None, plan(entry()), *words)


# going on


@pytest.mark.parametrize("state", ["waiting", "begun", "writing", "rolling", "baking", "failed", "interrupted", ""])
def test_what_has_not_ended_is_restarted(resume, state):
    world = World(*shop("api", "web"))
    report, _ = resume(world, plan(entry(state=state, mark="2020-01-01T00:00:00Z")))
    assert (results(report), world.restarted) == ([("deploy/web", "done", "")], ["deploy/web"])
    assert files() == []


@pytest.mark.parametrize("state", ["done", "started", "current", "gone", "unchanged"])
@pytest.mark.parametrize("everything", [True, False])
def test_what_has_ended_is_not_repeated(resume, state, everything):
    world = World(*shop("api", "web"))
    report, _ = resume(world, plan(entry(state=state), entry("api"), allPods=everything))
    assert (results(report), world.restarted) == ([("deploy/api", "done", "")], ["deploy/api"])


def test_the_order_is_that_of_the_plan(resume):
    world = World(*shop("a", "b", "c"))
    resume(world, plan(entry("b"), entry("c"), entry("a")))
    assert world.restarted == ["deploy/b", "deploy/c", "deploy/a"]


def test_the_namespaces_are_those_of_the_plan(resume):
    both = [entry("web", namespace=place, uid=f"{place}-Deployment-web") for place in ("till", "shop")]
    report, _ = resume(fleet(), plan(*both), "--dry-run")
    assert [(item.namespace, item.result) for item in report.items] == [("till", "planned"), ("shop", "planned")]
    world = fleet()
    report, _ = resume(world, plan(both[0]), "--dry-run")
    assert [item.namespace for item in report.items] == ["till"]
    assert ("Pod", "till", "") in world.asked
    assert ("Pod", "", "") not in world.asked


def test_a_restart_in_the_order_of_its_names_goes_on_in_that(roll, resume):
    roll(
        World(*shop("c", "b", "a"), steps={"c": [comes("Deployment", "c", script=STALE)]}),
        "deploy/c",
        "deploy/b",
        "deploy/a",
    )
    world = World(*shop("a", "b", "c"))
    resume(world, f"--resume={files()[0]}")
    assert world.restarted == ["deploy/c", "deploy/b", "deploy/a"]


def begun(status, *pods, mark=MOMENT):
    """`web` as a restart has left it that carried this mark."""
    return [PORT, NAMESPACE, workload(annotations={RESTARTED: mark}, status=status), *pods]


NEW = pod("web-new", script=GOOD, annotations={RESTARTED: MOMENT})
HALF = {**SERVES, "replicas": 3, "updatedReplicas": 1}


def test_what_still_rolls_is_followed_and_not_written(resume):
    world = World(*begun(HALF, pod("web-1"), NEW), steps={"web": [done("Deployment", "web")]})
    report, events = resume(world, plan(entry(state="rolling", mark=MOMENT)))
    assert [(item.result, item.verified, item.changes) for item in report.items] == [
        ("done", 2, ("its restart goes on",))
    ]
    assert (world.written, states(events), files()) == ([], ["begun", "done"], [])


def test_what_was_begun_is_not_forgotten_before_its_turn(resume):
    seen = []
    path = plan(entry("api"), entry(state="rolling", mark="2020"))
    resume(World(*shop("api", "web")), path, hears=lambda event: seen.append(kept()) if states([event]) else None)
    assert seen[0][1] == ("web", "waiting", "2020")


def test_what_still_rolls_with_another_mark_is_left(resume):
    report, _ = resume(World(*begun(HALF, pod("web-1"), mark="2026")), plan(entry(state="rolling", mark=MOMENT)))
    assert results(report) == [("deploy/web", "left", "a rollout is under way already; look again when it has ended")]


def test_pods_of_the_restart_before_are_judged(resume):
    wrong = pod("web-new", script=STALE, annotations={RESTARTED: MOMENT})
    world = World(*begun(HALF, pod("web-1"), wrong), steps={"web": [nothing]})
    report, _ = resume(world, plan(entry(state="rolling", mark=MOMENT)))
    assert report.items[0].detail == (
        "pod web-new: its rules would need +6379 outbound-port; "
        "it was begun before, so it is not taken back: what there was before that is not known"
    )
    assert world.restarted == []


@pytest.mark.parametrize(
    ("status", "script", "expected"),
    [
        (SERVES, GOOD, ("current", "it was restarted before")),
        (SERVES, STALE, ("done", "")),
        ({**HALF, "conditions": [DEADLINE]}, GOOD, ("failed", DEADLINE["message"])),
    ],
    ids=["verified now", "wrong pods", "given up"],
)
def test_a_restart_of_all_pods_that_ended_unseen(resume, clock, status, script, expected):
    clock.now = iter(["2026-02-01T00:00:00Z"])
    world = World(*begun(status, pod("web-new", script=script, annotations={RESTARTED: MOMENT})))
    if expected[0] == "failed":
        world.steps["web"] = [says("Deployment", "web")]
    report, _ = resume(world, plan(entry(state="rolling", mark=MOMENT), allPods=True))
    assert results(report)[0][1:] == expected
    assert world.restarted == ["deploy/web"] * (expected[0] == "done")


def test_what_ended_well_unseen_is_current(resume):
    report, events = resume(World(*begun(SERVES, NEW)), plan(entry(state="rolling", mark=MOMENT)))
    assert (report.items, texts(events, Note), files()) == ([], ["no workload runs outdated rules"], [])


def test_what_is_gone_is_no_more_to_do(resume):
    world = World(*shop("web"))
    seen = []
    path = plan(entry("gone"), entry())
    report, _ = resume(world, path, hears=lambda event: seen.append(kept()) if isinstance(event, Turn) else None)
    assert results(report) == [("deploy/web", "done", "")]
    assert {state for name, state, _ in seen[0] if name == "gone"} == {"gone"}
    assert files() == []
    report, _ = resume(World(PORT, NAMESPACE), plan(entry("gone")))
    assert (report.items, files()) == ([], [])


def test_another_workload_with_its_name_is_not_it(resume):
    world = World(*shop("web"))
    resume(world, plan(entry(uid="another")))
    assert world.written == []


def test_what_is_left_alone_now_stays_to_be_done(resume):
    """As after a restart was taken back: that is a rollout too."""
    world = World(*shop("api"), workload(status=HALF), pod("web-1"))
    report, events = resume(world, plan(entry(state="failed"), entry("api")))
    assert [item.result for item in report.items] == ["left", "done"]
    assert kept() == [("web", "failed", ""), ("api", "done", MOMENT)]
    assert json.loads(Path("plan.json").read_text())["items"][0]["message"] == report.items[0].detail
    assert texts(events, Note)[-1] == "what is left to do is in plan.json"
    _, events = resume(world, "--resume=plan.json")
    assert (texts(events, Note), files()) == (["what is left to do is in plan.json"], ["plan.json"])
    report, _ = resume(world, "--resume=plan.json", "--skip=deploy/web")
    assert (report.items, files()) == ([], [])


def test_a_dry_run_and_a_no_leave_the_plan_as_it_is(carry_out):
    words = ["restart", plan(entry("gone"), entry("api"), entry())]
    before = Path("plan.json").read_text()
    report, _ = carry_out(World(*shop("api", "web")), *words, "--dry-run")
    assert [item.result for item in report.items] == ["planned", "planned"]
    with pytest.raises(Declined):
        carry_out(World(*shop("api", "web")), *words, answer=False)
    assert Path("plan.json").read_text() == before


def test_what_fails_again_stays_in_the_same_plan(resume):
    world = World(*shop("api", "web"), steps={"web": [comes("Deployment", "web", script=STALE)]})
    _, events = resume(world, plan(entry("api"), entry()))
    assert kept() == [("api", "done", MOMENT), ("web", "failed", MOMENT)]
    assert (files(), len(errors(events))) == (["plan.json"], 1)
    assert texts(events, Question) == []
    assert fields.annotations(world.at("Deployment", "web")["spec"]["template"]) == {}


PULLS = {"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}


def test_what_does_not_serve_yet_is_followed(resume):
    """All pods are new, as with the strategy Recreate, and none of them serves: that is no success."""
    new = {**pod("web-new", script=GOOD, annotations={RESTARTED: MOMENT}), "status": PULLS}
    status = {**SERVES, "availableReplicas": 0, "readyReplicas": 0}
    world = World(*begun(status, new), steps={"web": [nothing] * 70})
    report, _ = resume(world, plan(entry(state="failed", mark=MOMENT)))
    assert results(report)[0][:2] == ("deploy/web", "failed")
    assert "ImagePullBackOff, for 60 s now" in report.items[0].detail
    assert (world.restarted, len(files())) == ([], 1)


def test_a_rollout_that_is_paused_meanwhile_has_not_ended(resume):
    objects = begun(HALF, pod("web-1"), NEW)
    objects[2]["spec"]["paused"] = True
    report, _ = resume(World(*objects), plan(entry(state="failed", mark=MOMENT)))
    assert results(report)[0][1] == "failed"
    assert report.items[0].detail.startswith("its rollout is paused")
    assert len(files()) == 1


@pytest.mark.parametrize("more", [{"evict": True}, {"recreate": True}, {"items": [{**entry(), "canary": True}]}])
def test_what_is_waited_for_does_not_go_without(resume, more):
    path = plan(entry(), **more)
    with pytest.raises(UsageError, match="--no-wait waits for nothing"):
        resume(World(*shop("web")), path, "--no-wait")


def test_budgets_are_respected_as_they_were_to_be(resume):
    report, _ = resume(World(*shop("web"), budget()), plan(entry(), respectPdb=True))
    assert results(report)[0][1] == "left"
    assert len(files()) == 1


def test_a_rollout_that_uses_up_its_own_budget_is_followed(resume):
    world = World(*begun(HALF, pod("web-1"), NEW), budget(), steps={"web": [nothing]})
    report, _ = resume(world, plan(entry(state="rolling", mark=MOMENT), respectPdb=True))
    assert results(report)[0][1] != "left"


def test_a_plan_that_cannot_be_written_again_is_said_before_the_first(resume):
    path = plan(entry())
    Path("plan.json.new").mkdir()
    _, events = resume(World(*shop("web")), path)
    said = [type(event) is Warned and "cannot be kept up to date" in event.text for event in events]
    assert said.index(True) < [isinstance(event, Turn) for event in events].index(True)
