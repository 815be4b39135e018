"""A bare pod that is deleted and created anew: from which manifest, and what is left of it where that does not end well."""

import copy
import json
import stat

import pytest

from kubectl_fsm import fields
from kubectl_fsm.errors import ApiError, Conflict, Forbidden, Refused, Unreachable
from kubectl_fsm.operations import applied, files, meshes, record, restart, targets
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Note, Turn
from tests.unit.test_eviction import Kubelets, carried_out, clock, lines, results, serving  # noqa: F401 - fixtures
from tests.unit.test_guards_offline import OUT
from tests.unit.test_lineup import budget
from tests.unit.test_rolling import GOOD, STALE

MANIFEST = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "alone", "namespace": "shop", "labels": {"app": "alone"}, "annotations": {}},
    "spec": {"containers": [{"name": "app", "image": "app"}]},
}


def bare(manifest=MANIFEST, annotations=None, **more):
    """A bare pod that runs old rules; `manifest` is a text, an object, or None where it was never applied."""
    found = serving("alone", ("Pod", "alone"), **more)
    del found["metadata"]["ownerReferences"]
    found["metadata"]["annotations"] = dict(annotations or {})
    if manifest is not None:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        found["metadata"]["annotations"][applied.ANNOTATION] = text
    return found


def changed(**parts):
    return fields.merged(MANIFEST, parts)


def saved(folder):
    (path,) = folder.glob("fsm-pod-*")
    return path


def test_it_is_created_from_what_was_applied(carried_out, tmp_path):  # noqa: F811
    world = Kubelets(bare(), events={})
    report, events = carried_out(world, "pod/alone", "--recreate")
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 1, 1)]
    (made,) = world.created
    again = {**made, "metadata": {**made["metadata"], "annotations": {}}}
    assert again == MANIFEST
    text = made["metadata"]["annotations"][applied.ANNOTATION]
    assert text == json.dumps(MANIFEST, separators=(",", ":"), sort_keys=True) + "\n", "as kubectl writes it"
    path = saved(tmp_path)
    assert json.loads(path.read_text()) == MANIFEST
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    notes = [event.text for event in events if isinstance(event, Note)]
    assert f"pod/alone in shop: its manifest is in {path}" in notes
    assert lines(events, "writing") == [
        "pod/alone in shop: it is deleted, to be created anew",
        "pod/alone in shop: it is created",
    ]
    assert [event.mark for event in events if isinstance(event, Turn) and event.state == "writing"] == [str(path)] * 2
    assert [trial["spec"] for trial in world.trials] == [MANIFEST["spec"]], "the injector was asked about the manifest"


BOUND = {"name": "sidecar-bootstrap-config-volume"}
NOT_USABLE = {
    "it has no annotation": None,
    "is no JSON": "{",
    "holds no Pod": "[]",
    "holds no Pod ": json.dumps({**MANIFEST, "kind": "Deployment"}),
    "is about Pod shop/web": changed(metadata={"name": "web"}),
    "is about Pod cart/alone": changed(metadata={"namespace": "cart"}),
    "holds what was injected before, volume": changed(spec={"volumes": [BOUND]}),
    "holds what was injected before, init container fsm-init": changed(spec={"initContainers": [{"name": "fsm-init"}]}),
    "holds what was injected before, container sidecar": changed(spec={"containers": [{"name": "sidecar"}]}),
    "Pod shop/alone: spec.volumes is a string": changed(spec={"volumes": "x"}),
    f"lacks the pod's present {OUT}": changed(metadata={"annotations": {OUT: "80"}}),
}


@pytest.mark.parametrize("said", NOT_USABLE)
def test_manifests_that_it_is_not_made_from(carried_out, tmp_path, said):  # noqa: F811
    world = Kubelets(bare(NOT_USABLE[said]))
    report, _ = carried_out(world, "--all", "--recreate", "--evict")
    ((result, detail),) = results(report).values()
    assert result == "left"
    assert said.strip() in detail
    assert applied.ANNOTATION in detail
    assert world.deleted == world.trials == list(tmp_path.iterdir()) == []


def test_it_is_left_without_the_option(carried_out):  # noqa: F811
    world = Kubelets(bare())
    detail = "a bare pod: nobody makes it anew; restart --recreate does, from its last applied manifest"
    for words in ((), ("--evict",)):
        assert results(carried_out(world, "--all", *words)[0]) == {"pod/alone": ("left", detail)}
    assert world.deleted == []


def test_what_the_server_writes_into_metadata_is_not_sent(carried_out):  # noqa: F811
    manifest = changed(metadata={"uid": "x", "resourceVersion": "5", "creationTimestamp": None}, status={"phase": "x"})
    world = Kubelets(bare(manifest))
    carried_out(world, "pod/alone", "--recreate")
    (made,) = world.created
    assert set(made) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(made["metadata"]) == {"name", "namespace", "labels", "annotations"}


def test_one_that_runs_current_rules_stays(carried_out):  # noqa: F811
    world = Kubelets(bare(script=GOOD))
    assert results(carried_out(world, "pod/alone", "--recreate")[0]) == {"pod/alone": ("current", "")}
    assert world.deleted == []
    report, _ = carried_out(world, "pod/alone", "--recreate", "--all-pods")
    assert (results(report)["pod/alone"][0], len(world.deleted)) == ("done", 1)


def test_an_injector_that_cannot_be_asked_stops_it(carried_out, tmp_path):  # noqa: F811
    """Nobody would make the pod again."""
    world = Kubelets(bare(), answers=[Forbidden(403, "Forbidden", "may not create pods")])
    with pytest.raises(Refused, match="may not create pods"):
        carried_out(world, "pod/alone", "--recreate")
    assert world.deleted == list(tmp_path.iterdir()) == []


def test_what_happens_before_its_turn(carried_out, tmp_path):  # noqa: F811
    class Late(Kubelets):
        def __init__(self, happens):
            super().__init__(bare())
            self.happens = happens

        def try_create(self, *args):
            self.happens(self)
            return super().try_create(*args)

    def replaced(world):
        world.put({**world.take("Pod", "alone"), "metadata": {**bare()["metadata"], "uid": "another"}})

    def opts_out(world):
        world.at("Pod", "alone")["metadata"]["annotations"]["kubectl-fsm/restart"] = "disabled"

    for happens, said in (
        (lambda world: world.take("Pod", "alone"), "it has been deleted"),
        (replaced, "somebody has made another pod of its name"),
        (opts_out, "it is not to be restarted (annotation kubectl-fsm/restart: disabled)"),
    ):
        world = Late(happens)
        assert results(carried_out(world, "pod/alone", "--recreate")[0]) == {"pod/alone": ("left", said)}
        assert world.deleted == list(tmp_path.glob("fsm-pod-*")) == []


QUOTA = Forbidden(403, "Forbidden", "exceeded quota")


BUSY = Conflict(409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "few": the object has been modified')


@pytest.mark.parametrize("error", [QUOTA, BUSY, Unreachable("cut"), ApiError(500, "", "failed calling webhook")])
def test_a_creation_that_fails_is_tried_again(carried_out, error):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, error, error])
    report, events = carried_out(world, "pod/alone", "--recreate")
    assert (results(report)["pod/alone"][0], len(world.created)) == ("done", 1)
    assert lines(events, "rolling") == [
        "pod/alone in shop: it was deleted, and is created anew",
        f"pod/alone in shop: it cannot be created yet: {error.message}",
    ]


@pytest.mark.parametrize("errors", [[QUOTA] * 1000, [ApiError(422, "Invalid", "exceeded quota")]])
def test_a_creation_that_cannot_be_names_the_file_and_is_resumed(carried_out, tmp_path, errors):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, *errors])
    report, _ = carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    path = saved(tmp_path)
    by_hand = f"it is deleted, and not created; if it is not there: kubectl apply -f {path}"
    assert results(report) == {"pod/alone": ("failed", f"exceeded quota; {by_hand}")}
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.verdicts = []
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert results(report) == {"pod/alone": ("done", "")}
    assert [fields.name(made) for made in world.created] == ["alone"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_resumed_one_that_is_there_again_is_looked_at(carried_out, tmp_path):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, *[QUOTA] * 1000])
    carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.put({**bare(script=GOOD), "metadata": {**bare()["metadata"], "uid": "applied"}})
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert results(report) == {"pod/alone": ("done", "")}, "it runs current rules, and serves"
    assert (len(world.deleted), world.created, plan.exists()) == (1, [], False)


def test_one_that_still_goes_is_created_when_it_has_gone(carried_out, tmp_path):  # noqa: F811
    class Held(Kubelets):
        def delete(self, resource, name, namespace, uid):
            self.at("Pod", name)["metadata"]["deletionTimestamp"] = "now"

    world = Held(bare())
    carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.events = {round(world.seconds - 1000) + 20: lambda world: world.take("Pod", "alone")}
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert results(report) == {"pod/alone": ("done", "")}
    assert (len(world.created), plan.exists()) == (1, False)


def test_a_new_one_that_does_not_serve_is_verified_when_resumed(carried_out, tmp_path):  # noqa: F811
    world = Kubelets(bare())
    world.lets_down = True
    carried_out(world, "pod/alone", "--recreate", "--all-pods", "--timeout=9s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    for _ in range(2):
        report, _ = carried_out(world, f"--resume={plan.name}", "--timeout=9s", scope=())
        detail = "it is not ready within 9 s; it was created anew, and is not verified"
        assert results(report) == {"pod/alone": ("failed", detail)}
        assert [one["state"] for one in json.loads(plan.read_text())["items"]] == ["failed"]
    world.lets_down = False
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 1, 1)]
    assert (len(world.deleted), len(world.created), plan.exists()) == (1, 1, False)


def test_a_new_one_that_is_wrong_is_created_once_more_when_resumed(carried_out, tmp_path):  # noqa: F811
    world = Kubelets(bare(), script=STALE)
    carried_out(world, "pod/alone", "--recreate")
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.script = None
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert (results(report)["pod/alone"][0], len(world.deleted), plan.exists()) == ("done", 2, False)


def test_a_deleted_one_is_not_forgotten_where_nothing_tells_its_mesh(clock, tmp_path):  # noqa: F811
    clock.world = world = Kubelets()
    (mesh,) = meshes.find(world)
    (tmp_path / "alone.json").write_text(json.dumps(MANIFEST))
    entry = record.Entry("v1", "Pod", "shop", "alone", "old", mark=str(tmp_path / "alone.json"))
    plan = record.Plan("here", (), everything=False, bake=0, entries=[entry])
    (step,) = restart.plan([mesh, mesh._replace(name="other")], plan.of(()), {}, Manner(marks=plan.marks))
    assert step.left == ("left", "nothing tells which mesh it belongs to", 0, 0)


def test_it_is_resumed_from_another_folder(carried_out, tmp_path, monkeypatch):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, *[QUOTA] * 1000])
    carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.verdicts = []
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert results(carried_out(world, f"--resume={plan}", scope=())[0]) == {"pod/alone": ("done", "")}


@pytest.mark.parametrize("text", ["{", json.dumps({**MANIFEST, "kind": "Secret"}), None])
def test_a_resumed_one_whose_file_is_no_good(carried_out, tmp_path, text):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, *[QUOTA] * 1000])
    carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    path = saved(tmp_path)
    path.unlink()
    if text:
        path.write_text(text)
    world.verdicts = []
    other = bare(changed(metadata={"name": "other"}))
    other["metadata"] |= {"name": "other", "uid": "other"}
    world.put(other)
    kept = json.loads(plan.read_text())
    kept["items"] = [
        *kept["items"],
        {**kept["items"][0], "name": "other", "uid": "other", "state": "waiting", "mark": ""},
    ]
    plan.write_text(json.dumps(kept))
    report, _ = carried_out(world, f"--resume={plan.name}", scope=())
    assert results(report)["pod/other"] == ("done", "")
    result, detail = results(report)["pod/alone"]
    assert result == "left"
    assert str(path) in detail
    assert [fields.name(made) for made in world.created] == ["other"]
    first, _ = json.loads(plan.read_text())["items"]
    assert (first["state"], first["message"]) == ("failed", detail)


def test_a_lost_answer(carried_out):  # noqa: F811
    """The pod was deleted, and created, although the answer did not come."""

    class Lossy(Kubelets):
        def delete(self, *args):
            super().delete(*args)
            self.delete = super().delete
            raise Unreachable("cut")

        def create(self, *args):
            super().create(*args)
            self.create = super().create
            raise Unreachable("cut")

    world = Lossy(bare())
    report, _ = carried_out(world, "pod/alone", "--recreate")
    assert (results(report)["pod/alone"][0], len(world.deleted), len(world.created)) == ("done", 1, 1)


def test_one_that_was_there_and_went_again(carried_out):  # noqa: F811
    """Somebody's create wins, and the pod is gone by the time it is looked at."""
    world = Kubelets(bare(), verdicts=[None, Conflict(409, "AlreadyExists", "it is there")])
    report, _ = carried_out(world, "pod/alone", "--recreate")
    assert (results(report)["pod/alone"][0], len(world.created)) == ("done", 1)


def test_a_manifest_that_was_applied_meanwhile_is_asked_about(carried_out):  # noqa: F811
    newer = changed(spec={"containers": [{"name": "app", "image": "newer"}]})

    class Applied(Kubelets):
        def try_create(self, *args):
            made = super().try_create(*args)
            self.at("Pod", "alone")["metadata"]["annotations"][applied.ANNOTATION] = json.dumps(newer)
            return made

    world = Applied(bare())
    report, _ = carried_out(world, "pod/alone", "--recreate")
    assert results(report)["pod/alone"][0] == "done"
    assert [trial["spec"] for trial in world.trials] == [MANIFEST["spec"], newer["spec"]]


def test_who_says_so_has_it_deleted_unasked(carried_out):  # noqa: F811
    world = Kubelets(bare())
    report, _ = carried_out(world, "pod/alone", "--recreate", "--skip-preflight")
    assert (results(report)["pod/alone"][0], world.trials) == ("done", [])


BUDGET = budget("alone", selector={"matchLabels": {"app": "alone"}})


def test_a_budget_without_room_at_its_turn(carried_out):  # noqa: F811
    class Late(Kubelets):
        def try_create(self, *args):
            self.put(BUDGET)
            return super().try_create(*args)

    world = Late(bare())
    report, _ = carried_out(world, "pod/alone", "--recreate", "--respect-pdb")
    left = {"pod/alone": ("left", "PodDisruptionBudget alone has no room (2 healthy of 3 wanted)")}
    assert (results(report), world.deleted) == (left, [])


def test_a_budget_does_not_hold_what_is_deleted_already(carried_out, tmp_path):  # noqa: F811
    world = Kubelets(bare(), verdicts=[None, *[QUOTA] * 1000])
    carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    (plan,) = tmp_path.glob("fsm-restart-*")
    world.verdicts = []
    world.put(BUDGET)
    report, _ = carried_out(world, f"--resume={plan.name}", "--respect-pdb", scope=())
    assert results(report) == {"pod/alone": ("done", "")}


def test_that_it_is_deleted_is_said(carried_out):  # noqa: F811
    report, _ = carried_out(Kubelets(bare()), "--all", "--recreate", "--dry-run")
    assert results(report) == {"pod/alone": ("planned", "deleted and created anew")}
    _, events = carried_out(Kubelets(bare()), "--all", "--recreate")
    assert "pod/alone in shop (1 pod, deleted and created anew): +6379 outbound-port" in lines(events, "begun")[0]


def test_a_pod_that_does_not_go(carried_out, tmp_path):  # noqa: F811
    class Held(Kubelets):
        def delete(self, resource, name, namespace, uid):
            self.at("Pod", name)["metadata"]["deletionTimestamp"] = "now"

    world = Held(bare())
    report, _ = carried_out(world, "pod/alone", "--recreate", "--timeout=30s")
    by_hand = f"its deletion was under way; if it is not there: kubectl apply -f {saved(tmp_path)}"
    assert results(report) == {"pod/alone": ("failed", f"it is not gone within 30 s; {by_hand}")}
    assert world.created == []


def test_a_new_one_that_is_wrong_or_never_serves(carried_out):  # noqa: F811
    world = Kubelets(bare(), script=bare()["spec"]["initContainers"][0]["args"][1])
    said = "pod alone: its rules would need +6379 outbound-port; it was created anew, and is not verified"
    assert results(carried_out(world, "pod/alone", "--recreate")[0]) == {"pod/alone": ("failed", said)}
    world = Kubelets(bare())
    world.lets_down = True
    said = "it is not ready within 9 s; it was created anew, and is not verified"
    assert results(carried_out(world, "pod/alone", "--recreate", "--timeout=9s")[0]) == {"pod/alone": ("failed", said)}


def test_it_is_no_canary(carried_out):  # noqa: F811
    with pytest.raises(Refused, match="is a bare pod"):
        carried_out(Kubelets(bare()), "--all", "--recreate", "--canary=pod/alone")


def test_each_write_comes_after_an_event_and_the_stage_says_where_it_stands(clock):  # noqa: F811
    """So that Ctrl-C leaves it there."""
    clock.world = world = Kubelets(bare())
    owners, manner = Owners(world), Manner(remedies=["--recreate"])
    found = targets.chosen(world, owners, Selection(["pod/alone"], "shop")).subjects
    steps = restart.plan(meshes.find(world), found, meshes.namespaces(world, "shop"), manner)
    ((_, job),) = restart.work(world, owners, steps, manner)
    seen = [
        (event.state, job.stage, len(world.deleted), len(world.created))
        for event in job.run()
        if isinstance(event, Turn)
    ]
    path = job._path
    assert seen == [
        ("begun", "nothing was written", 0, 0),
        ("writing", f"its deletion was under way; if it is not there: kubectl apply -f {path}", 0, 0),
        ("rolling", f"its deletion was under way; if it is not there: kubectl apply -f {path}", 1, 0),
        ("writing", f"it is deleted, and not created; if it is not there: kubectl apply -f {path}", 1, 0),
    ]


def test_a_name_is_safe_and_no_file_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = iter(["aaaa", "bbbb", "cccc"])
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: next(names))
    (tmp_path / "x-aaaa.json").write_text("mine")
    (tmp_path / "x-bbbb.json").symlink_to(tmp_path / "elsewhere")
    assert files.new("x") == "./x-cccc.json"
    assert (tmp_path / "x-aaaa.json").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "/" not in files.new("../../etc/" + "a" * 400)[2:]


def test_what_is_written_is_what_was_read():
    made = applied.written(MANIFEST)
    assert applied._checked(json.dumps(made), "shop", "alone") == MANIFEST
    assert (
        applied._checked(json.dumps(copy.deepcopy(changed(metadata={"namespace": None}))), "shop", "alone") == MANIFEST
    )
