"""Restarts: what is rolled and what is left alone, how a rollout is followed and verified, and what is said of it."""

import copy
import itertools
import json
import re
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubectl_fsm import cli, commands, fields
from kubectl_fsm.arguments import order
from kubectl_fsm.cli import _match
from kubectl_fsm.cluster import discovery, selectors
from kubectl_fsm.cluster.interface import BUILT_IN, Resource
from kubectl_fsm.errors import ApiError, Conflict, Declined, Forbidden, NotFound, Refused, Unreachable, UsageError
from kubectl_fsm.generator import render
from kubectl_fsm.operations import canary, manner, patience, restart, rollout, turns
from kubectl_fsm.reports import Failed, Lineup, Note, Question, Turn, Warned
from kubectl_fsm.usage import options
from tests.unit.test_guards_offline import NAMESPACE, OUT, meshconfig, template

ROLLOUTS = Resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")
CRONJOB_SPEC = {"jobTemplate": {"spec": {"template": template()}}}
SYSTEM = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "this-cluster"}}
MOMENT = "2026-01-02T03:04:05Z"
STALE = render("fsm-1.5", {}, {})
PORT = meshconfig(outboundPortExclusionList=[6379])
GOOD = render("fsm-1.5", {}, PORT["spec"])
WEBHOOK = 'admission webhook "fsm-inject.k8s.io" denied the request: no certificate'


class World:
    """A cluster whose controllers are scripts.

    `steps` are, by the name of a workload, functions of the world that happen one by one while it is watched; a second
    passes with each. What is given to none rolls as it should. `answers` are what asking for a pod gives: an exception, the
    script of an init container, or None for what the MeshConfig asks for, which is also what comes after the last one.
    `refusals` are raised by the writes in their order; None lets one through.
    """

    remote, origin, namespace, words, denied = True, "context test", "shop", (), False
    warnings = unread = ()

    def __init__(self, *objects, steps=None, answers=(), refusals=(), forbidden=()):
        self.objects = {}
        self.steps = {name: list(found) for name, found in (steps or {}).items()}
        self.answers, self.refusals, self.forbidden = list(answers), list(refusals), forbidden
        self.written, self.trials, self.asked, self.slept, self.observed = [], [], [], [], []
        self.seconds, self._uids = 1000.0, itertools.count(1)
        for obj in (SYSTEM, *objects):
            self.put(obj)

    def put(self, obj):
        held = copy.deepcopy(obj)
        held["metadata"].setdefault("uid", f"{held['kind']}-{fields.name(held)}")
        self.objects[self.key(held["kind"], fields.namespace(held), fields.name(held))] = held
        return held

    @staticmethod
    def key(kind, namespace, name):
        return kind, namespace, name

    def take(self, kind, name, namespace="shop"):
        return self.objects.pop(self.key(kind, namespace, name))

    def at(self, kind, name, namespace="shop"):
        return self.objects[self.key(kind, namespace, name)]

    def pods(self, owner):
        found = [obj for obj in self.objects.values() if obj["kind"] == "Pod"]
        return [one for one in found if any(r["name"] == owner for r in one["metadata"].get("ownerReferences", ()))]

    @property
    def meshconfig(self):
        return self.at("MeshConfig", "fsm-mesh-config", "fsm-system")

    # the Protocol

    def get(self, resource, name, namespace=""):
        found = self.objects.get(self.key(resource.kind, namespace if resource.namespaced else "", name))
        if found is None:
            raise NotFound(404, "NotFound", f'{resource.qualified} "{name}" not found')
        return copy.deepcopy(found)

    def list(self, resource, namespace="", selector="", field_selector=""):
        if resource.kind in self.forbidden:
            raise Forbidden(403, "Forbidden", f"cannot list {resource.qualified}")
        self.asked.append((resource.kind, namespace, selector))
        by_labels, by_fields = selectors.parse(selector), selectors.parse_fields(field_selector)
        return [
            copy.deepcopy(obj)
            for (kind, place, _), obj in sorted(self.objects.items())
            if kind == resource.kind and namespace in ("", place)
            if by_labels.matches(fields.labels(obj)) and by_fields.matches(obj)
        ]

    def patch(self, resource, name, namespace, merge, *, dry_run=False):
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal:
            raise refusal
        held = self.at(resource.kind, name, namespace)
        uid = fields.text(merge, "metadata", "uid")
        if uid and uid != held["metadata"]["uid"]:
            raise Conflict(
                409, "Conflict", f'{resource.qualified} "{name}": the UID in the precondition is not its own'
            )
        new = fields.merged(held, merge)
        if not dry_run:
            self.written.append((f"{resource.label}/{name}", merge))
            if new["spec"] != held["spec"] and "generation" in held["metadata"]:
                new["metadata"] = {**new["metadata"], "generation": held["metadata"]["generation"] + 1}
            self.objects[self.key(resource.kind, namespace, name)] = new
        return copy.deepcopy(new)

    def try_create(self, resource, namespace, obj):
        self.trials.append(obj)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return injected(self, obj, answer)

    def observe(self, *views):
        top = views[0]
        self.observed.append(top.name)
        steps = self.steps.setdefault(
            top.name, [one_is_new(top.resource.kind, top.name), done(top.resource.kind, top.name)]
        )
        for _ in range(3000):
            yield [
                [one for one in self.list(views[0].resource, top.namespace) if fields.name(one) == top.name],
                self.list(views[1].resource, views[1].namespace, views[1].selector),
            ]
            self.seconds += 1
            if steps:
                steps.pop(0)(self)
        pytest.fail("it waits for ever")

    def preferred_version(self, group):
        return "v1alpha3" if group == "config.flomesh.io" else None

    def resource(self, api_version, kind):
        for found in (*BUILT_IN, ROLLOUTS):
            if (found.api_version, found.kind) == (api_version, kind):
                return found
        group, _, version = api_version.rpartition("/")
        return Resource(group, version, kind, f"{kind.lower()}s")

    def resource_named(self, text):
        return discovery.called(text, (*BUILT_IN, ROLLOUTS)) or pytest.fail(text)

    def kinds(self):
        return (ROLLOUTS,)

    def gather(self, *calls):
        return [call() for call in calls]

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds

    @property
    def restarted(self):
        """The workloads that were written, in order."""
        return [name for name, _ in self.written]


def injected(world, pod, script=None):
    """The pod with the init container that the injector adds."""
    text = script or render("fsm-1.5", fields.annotations(pod), world.meshconfig["spec"])
    made = copy.deepcopy(dict(pod))
    made["metadata"].setdefault("labels", {})["fsm-proxy-uuid"] = "x"
    made["spec"]["initContainers"] = [{"name": "fsm-init", "command": ["sh"], "args": ["-c", text]}]
    made.setdefault("status", {"phase": "Running"})
    return made


def pod(name, owner=("Deployment", "web"), script=STALE, annotations=None, status=None, **metadata):
    """A pod as its controller and the injector made it."""
    kind, owned = owner
    api_version = {"Rollout": "argoproj.io/v1alpha1", "Job": "batch/v1"}.get(kind, "apps/v1")
    reference = {"apiVersion": api_version, "kind": kind, "name": owned, "uid": f"{kind}-{owned}", "controller": True}
    labels = {"app": owned, "fsm-proxy-uuid": "x"}
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": [reference], **metadata},
        "spec": template()["spec"],
        "status": {"phase": "Running", **(status or {})},
    }
    if annotations:
        made["metadata"]["annotations"] = annotations
    if script:
        made["spec"]["initContainers"] = [{"name": "fsm-init", "command": ["sh"], "args": ["-c", script]}]
    return made


REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
SERVES = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


def workload(name="web", kind="Deployment", status=SERVES, annotations=None, **spec):
    """A workload whose controller has nothing left to do."""
    return {
        "apiVersion": "argoproj.io/v1alpha1" if kind == "Rollout" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 3},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                **template(annotations),
                "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
            },
            **spec,
        },
        "status": {"observedGeneration": "3" if kind == "Rollout" else 3, **status},
    }


def shop(*names, config=PORT):
    """Deployments whose two pods run the rules of an empty MeshConfig."""
    owned = [pod(f"{name}-{number}", ("Deployment", name)) for name in names for number in (1, 2)]
    return [config, NAMESPACE, *map(workload, names), *owned]


# what happens while a workload is watched


def says(kind, name, **status):
    """The controller writes its status, about the present generation."""

    def step(world):
        held = world.at(kind, name)
        seen = held["metadata"]["generation"]
        held["status"] = {**held["status"], "observedGeneration": str(seen) if kind == "Rollout" else seen, **status}

    return step


def comes(kind, name, number=1, script=None, status=None, **metadata):
    """A pod is made from the template that is there, with the MeshConfig's rules or those of `script`."""

    def step(world):
        annotations = dict(world.at(kind, name)["spec"]["template"]["metadata"].get("annotations") or {})
        bare = pod(f"{name}-new{number}", (kind, name), None, annotations, status, **metadata)
        world.put(injected(world, bare, script))

    return step


def goes(name):
    return lambda world: world.take("Pod", name)


def together(*steps):
    def step(world):
        for one in steps:
            one(world)

    return step


def one_is_new(kind, name):
    return together(comes(kind, name), says(kind, name, replicas=3, updatedReplicas=1))


def done(kind, name, count=2):
    """All pods are new, and serve."""

    def step(world):
        for one in world.pods(name):
            world.take("Pod", fields.name(one))
        for number in range(1, count + 1):
            comes(kind, name, number)(world)
        says(kind, name, replicas=count, updatedReplicas=count, availableReplicas=count)(world)

    return step


HEARD = threading.Event()


def nothing(_):
    """A second passes."""


def interrupted(_):
    """Ctrl-C, from a job's thread; it goes on when that has been heard."""
    HEARD.clear()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    assert HEARD.wait(10)


def for_ever(_):
    """What would come next is never reached."""
    threading.Event().wait()


@pytest.fixture(autouse=True)
def clock(monkeypatch, tmp_path):
    """Time passes in the world only; `now` is what is written as the moment of a restart. Plans are kept in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    current = SimpleNamespace(world=None, now=itertools.repeat(MOMENT))

    def monotonic():
        return getattr(current.world, "seconds", 0.0)  # in files no time passes

    def sleep(seconds):
        current.world.sleep(seconds)

    for module in (rollout, restart, manner, patience, canary):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic, sleep=sleep))
    monkeypatch.setattr(restart, "_now", lambda: next(current.now))
    interrupt = turns.Turns._interrupt
    monkeypatch.setattr(turns.Turns, "_interrupt", lambda *args: (interrupt(*args), HEARD.set()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield current
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def carry_out(clock):
    """The report of a command in a world, and what it said and asked; `hears` is called with each of that."""

    def carry_out(world, verb, *words, answer=True, hears=lambda _: None):
        clock.world = world
        module = commands.load(verb)
        parsed = module.parse(_match(verb, module.USAGE, order(words, options(module.USAGE)).canonical()))
        work, events = parsed.run(lambda: world), []
        try:
            event = next(work)
            while True:
                events.append(event)
                hears(event)
                event = work.send(answer)
        except StopIteration as end:
            return end.value, events

    return carry_out


@pytest.fixture
def roll(carry_out):
    """As `carry_out`, for `restart` in namespace shop without a question."""
    return lambda world, *words, **how: carry_out(world, "restart", *words, "-n", "shop", "--yes", **how)


@pytest.fixture
def program(clock, monkeypatch, capsys):
    """The program in a world: (exit code, stdout, stderr)."""

    def program(world, *argv):
        clock.world = world
        monkeypatch.setattr(cli, "_cluster", lambda *_: world)
        return cli.main(argv), *capsys.readouterr()

    return program


def texts(events, kind):
    return [event.text for event in events if isinstance(event, kind)]


def states(events):
    return [event.state for event in events if isinstance(event, Turn)]


def results(report):
    return [(item.workload, item.result, item.detail) for item in report.items]


def last(out):
    """The report, which is the last line where what happens is printed too."""
    try:
        return json.loads(out)
    except json.JSONDecodeError:
        return json.loads(out.splitlines()[-1])


def errors(events):
    return [event.error.message for event in events if isinstance(event, Failed)]


# what is written, and what is verified


def test_one_after_the_other_is_rolled_and_verified(roll):
    world = World(*shop("api", "web"))
    report, events = roll(world, "--all")
    assert [(item.workload, item.result, item.verified, item.pods) for item in report.items] == [
        ("deploy/api", "done", 2, 2),
        ("deploy/web", "done", 2, 2),
    ]
    assert [(item.replicas, item.outdated, item.changes, item.mesh) for item in report.items] == [
        (2, 2, ["+6379 outbound-port"], "fsm (fsm-system)")
    ] * 2
    assert (world.restarted, world.observed) == (["deploy/api", "deploy/web"], ["api", "web"])
    assert [event for event in events if isinstance(event, Lineup)] == [
        Lineup(total=2, parallel=1, pause=0, where="context test, mesh fsm (fsm-system)")
    ]
    assert [(event.workload, event.state, event.text) for event in events if isinstance(event, Turn)] == [
        (f"deploy/{name}", state, f"deploy/{name} in shop{text}")
        for name in ("api", "web")
        for state, text in (
            ("begun", " (2 pods): +6379 outbound-port (context test, mesh fsm (fsm-system))"),
            ("writing", ": restartedAt is written"),
            ("done", ": 2/2 verified"),
        )
    ]
    assert list(Path().iterdir()) == [], "no plan is kept of what is done"
    assert errors(events) == []
    assert texts(events, Warned) == []


def test_a_restart_is_what_kubectl_writes_of_this_very_object(roll):
    world = World(*shop("web"))
    roll(world, "deploy/web")
    annotations = {"kubectl.kubernetes.io/restartedAt": MOMENT}
    template = {"template": {"metadata": {"annotations": annotations}}}
    assert world.written == [("deploy/web", {"spec": template, "metadata": {"uid": "Deployment-web"}})]


def test_the_moment_of_a_restart_has_the_form_that_kubectl_gives_it(monkeypatch):
    monkeypatch.undo()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", restart._now())


HEALTHY = {**SERVES, "phase": "Healthy"}


def test_an_argo_rollout_is_restarted_by_its_own_field(roll):
    owner = ("Rollout", "web")
    steps = [
        together(comes(*owner), says(*owner, phase="Progressing", message="rollout is restarting")),
        together(done(*owner), says(*owner, phase="Progressing")),
        says(*owner, phase="Healthy", restartedAt=MOMENT),
    ]
    objects = [PORT, NAMESPACE, workload(kind="Rollout", status=HEALTHY), pod("web-1", owner), pod("web-2", owner)]
    world = World(*objects, steps={"web": steps})
    report, _ = roll(world, "rollout/web")
    assert world.written == [("rollout/web", {"spec": {"restartAt": MOMENT}, "metadata": {"uid": "Rollout-web"}})]
    assert results(report) == [("rollout/web", "done", "")]
    assert world.steps["web"] == [], "pods that are new and right are not enough while the controller is at work"


def test_a_restart_in_the_same_second_as_the_last_one_waits_for_the_next(roll, clock):
    objects = shop("web")
    objects[2]["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": MOMENT}
    clock.now = iter([MOMENT, "2026-01-02T03:04:06Z"])
    world = World(*objects)
    roll(world, "deploy/web")
    assert world.slept == [1]
    assert fields.annotations(world.at("Deployment", "web")["spec"]["template"]) == {
        "kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:06Z"
    }


def test_a_template_without_annotations_gets_its_first(roll):
    for missing in ("annotations", "metadata"):
        objects = shop("web")
        held = objects[2]["spec"]["template"]
        (held if missing == "metadata" else held["metadata"]).pop(missing)
        world = World(*objects)
        assert roll(world, "deploy/web", "--no-wait")[0].items[0].result == "started"
        assert world.written[0][1]["spec"]["template"]["metadata"]["annotations"]


def test_a_first_restart_does_not_wait(roll):
    world = World(*shop("web"))
    roll(world, "deploy/web")
    assert world.slept == []


# the injector is asked first


def test_the_injector_is_asked_with_the_pod_that_comes_next(roll):
    objects = shop("web")
    objects[2]["spec"]["template"]["metadata"]["annotations"] = {OUT: "80"}
    world = World(*objects)
    assert roll(world, "deploy/web")[0].items[0].result == "done"
    (asked,) = world.trials
    assert (asked["apiVersion"], asked["kind"]) == ("v1", "Pod")
    assert asked["metadata"] == {
        "generateName": "web-",
        "namespace": "shop",
        "labels": {"app": "web"},
        "annotations": {OUT: "80"},
    }
    assert asked["spec"] == objects[2]["spec"]["template"]["spec"]


def test_the_volumes_that_a_stateful_set_claims_are_part_of_what_is_asked(roll):
    owner = ("StatefulSet", "web")
    claims = [{"metadata": {"name": "data"}}]
    status = {**SERVES, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "a"}
    held = workload(kind="StatefulSet", status=status, volumeClaimTemplates=claims)
    held["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    world = World(PORT, NAMESPACE, held, pod("web-0", owner), pod("web-1", owner))
    assert roll(world, "sts/web")[0].items[0].result == "done"
    assert world.trials[0]["spec"]["volumes"] == [
        {"name": "tmp", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    ]
    assert held["spec"]["template"]["spec"]["volumes"][0] == {"name": "data", "emptyDir": {}}


def test_an_injector_that_does_not_know_the_meshconfig_yet_is_asked_again(roll):
    world = World(*shop("web"), answers=[STALE, STALE, None])
    report, _ = roll(world, "deploy/web")
    assert (report.items[0].result, len(world.trials), len(world.slept)) == ("done", 3, 2)
    assert all(0.1 < seconds <= 5 for seconds in world.slept)


def test_an_injector_that_stays_wrong_stops_it_before_anything_is_written(roll):
    world = World(*shop("api", "web"), answers=[STALE] * 100)
    with pytest.raises(Refused) as caught:
        roll(world, "--all")
    wrong = "the injector would make a wrong pod: its rules would need +6379 outbound-port"
    assert str(caught.value) == (
        "the next pods would be wrong, so nothing is restarted: "
        f"\n  deploy/api in shop: {wrong}\n  deploy/web in shop: {wrong}"
    )
    assert caught.value.hint == "mend it, or --skip it"
    assert world.written == world.observed == []
    assert 30 <= sum(world.slept) < 45
    assert max(world.slept) <= 5


@pytest.mark.parametrize(("timeout", "seconds"), [("5s", 5), ("0", 30), ("10m", 30)])
def test_an_injector_is_not_asked_for_longer_than_a_rollout_may_take(roll, timeout, seconds):
    world = World(*shop("web"), answers=[STALE] * 100)
    with pytest.raises(Refused, match="the injector would make a wrong pod"):
        roll(world, "deploy/web", f"--timeout={timeout}")
    assert seconds <= sum(world.slept) <= seconds + 5


def test_an_injector_that_is_down_for_a_moment_is_asked_again(roll):
    down = ApiError(500, "InternalError", 'failed calling webhook "fsm-inject.k8s.io": connection refused')
    world = World(*shop("web"), answers=[down, down, None])
    assert roll(world, "deploy/web")[0].items[0].result == "done"
    assert (len(world.trials), len(world.slept)) == (3, 2)
    world = World(*shop("web"), answers=[down] * 100)
    with pytest.raises(Refused, match="connection refused"):
        roll(world, "deploy/web")
    assert world.written == []


def test_an_injector_that_refuses_the_pod_stops_it_before_anything_is_written(roll):
    for words in ([], ["--no-wait"]):
        world = World(*shop("api", "web"), answers=[ApiError(400, "BadRequest", WEBHOOK)])
        with pytest.raises(Refused) as caught:
            roll(world, "--all", *words)
        assert str(caught.value) == (
            "the next pods would be wrong, so nothing is restarted: "
            f"deploy/api in shop: its next pods would be refused: {WEBHOOK}"
        )
        assert (world.written, world.slept, len(world.trials)) == ([], [], 2)


@pytest.mark.parametrize(
    "error",
    [
        Forbidden(403, "Forbidden", 'pods is forbidden: User "ann" cannot create resource "pods"'),
        Forbidden(403, "Forbidden", 'pods "web-" is forbidden: exceeded quota: small'),
        ApiError(400, "BadRequest", 'admission webhook "validate.kyverno.svc" denied the request: no'),
    ],
)
def test_where_the_injector_cannot_be_asked_nothing_is_restarted_unless_that_is_wished(roll, error):
    world = World(*shop("web"), answers=[error])
    with pytest.raises(Refused) as caught:
        roll(world, "deploy/web")
    assert str(caught.value) == (
        "the injector could not be asked about the next pods, so nothing is restarted: "
        f"deploy/web in shop: {error.message}"
    )
    assert caught.value.hint.startswith("--skip-preflight")
    assert world.written == []
    world = World(*shop("web"), answers=[error])
    report, events = roll(world, "deploy/web", "--skip-preflight")
    assert (report.items[0].result, world.trials, texts(events, Warned)) == ("done", [], [])


def test_an_api_server_that_does_not_answer_fails_the_restart_before_it_is_written(roll):
    world = World(*shop("web"), answers=[Unreachable("no answer from https://here")])
    with pytest.raises(Unreachable, match="no answer from https://here"):
        roll(world, "deploy/web")
    assert world.written == []


# new pods are judged


def test_a_wrong_first_new_pod_takes_the_restart_back_and_stops(roll, program):
    steps = {"api": [comes("Deployment", "api", script=STALE)]}
    world = World(*shop("api", "shop", "web"), steps=steps)
    report, events = roll(world, "--all")
    said = "pod api-new1: its rules would need +6379 outbound-port; the restart was taken back"
    assert results(report) == [
        ("deploy/api", "failed", said),
        ("deploy/shop", "not begun", ""),
        ("deploy/web", "not begun", ""),
    ]
    taken_back = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": None}}}}}
    assert world.written[1:] == [("deploy/api", {**taken_back, "metadata": {"uid": "Deployment-api"}})]
    assert errors(events) == [f"deploy/api in shop: {said}; 2 workloads were not begun"]
    (plan,) = Path().glob("*.json")
    plan.unlink()
    world = World(*shop("api", "shop", "web"), steps={"api": [comes("Deployment", "api", script=STALE)]})
    code, out, err = program(world, "restart", "--all", "-n", "shop", "--yes")
    assert code == 1
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["WORKLOAD", "PODS", "OUTDATED", "RESULT"],
        ["deploy/api", "2", "2", "failed"],
        ["deploy/shop", "2", "2", "not"],
        ["deploy/web", "2", "2", "not"],
    ]
    (plan,) = Path().glob("*.json")
    assert err.splitlines()[-2:] == [
        f"error: deploy/api in shop: {said}; 2 workloads were not begun",
        f"mend it, then kubectl fsm restart --resume ./{plan}",
    ]


def test_what_a_restart_is_taken_back_to_is_the_one_before(roll):
    objects = shop("web")
    objects[2]["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2020"}
    world = World(*objects, steps={"web": [comes("Deployment", "web", script=STALE)]})
    roll(world, "deploy/web")
    assert world.at("Deployment", "web")["spec"]["template"]["metadata"]["annotations"] == {
        "kubectl.kubernetes.io/restartedAt": "2020"
    }


def test_that_a_restart_could_not_be_taken_back_is_said(roll):
    refusals = [None, Forbidden(403, "Forbidden", "not any more")]
    world = World(*shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]}, refusals=refusals)
    assert roll(world, "deploy/web")[0].items[0].detail == (
        "pod web-new1: its rules would need +6379 outbound-port; the restart could not be taken back: not any more"
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("reboot", "it has no init container fsm-init whose rules could be read"),
        (
            render(
                "fsm-1.5", {}, {"traffic": {"inboundPortExclusionList": [22]}, "sidecar": {"localProxyMode": "PodIP"}}
            ),
            "its rules would need +6379 outbound-port, -22 inbound-port, -local-proxy-mode PodIP",
        ),
    ],
)
def test_what_is_wrong_with_a_new_pod(roll, script, said):
    world = World(*shop("web"), steps={"web": [comes("Deployment", "web", script=script)]})
    assert roll(world, "deploy/web")[0].items[0].detail == f"pod web-new1: {said}; the restart was taken back"


def test_a_new_pod_that_was_not_injected_is_wrong(roll):
    def plain(world):
        annotations = world.at("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
        world.put(pod("web-new1", script=None, annotations=annotations))

    world = World(*shop("web"), steps={"web": [plain]})
    assert (
        roll(world, "deploy/web")[0]
        .items[0]
        .detail.startswith("pod web-new1: it has no init container fsm-init whose rules could be read")
    )


def crash(reason="CrashLoopBackOff", name="fsm-init"):
    ended = {"terminated": {"exitCode": 4, "reason": "Error", "message": "iptables-restore: line 9 failed\n"}}
    waits = {"name": name, "state": {"waiting": {"reason": reason}}, "lastState": ended}
    return {"phase": "Pending", "initContainerStatuses": [waits]}


def test_rules_that_cannot_be_loaded_stop_it_at_once(roll):
    world = World(*shop("web"), steps={"web": [comes("Deployment", "web", status=crash())]})
    report, _ = roll(world, "deploy/web")
    said = "pod web-new1: init container fsm-init: Error, exit code 4: iptables-restore: line 9 failed"
    assert results(report) == [("deploy/web", "failed", said)]
    assert world.seconds < 1005


@pytest.mark.parametrize("status", [crash("PodInitializing"), crash(name="migrate")])
def test_another_init_container_or_a_first_failure_is_no_reason_to_give_up(roll, status):
    steps = [comes("Deployment", "web", status=status), nothing, done("Deployment", "web")]
    assert roll(World(*shop("web"), steps={"web": steps}), "deploy/web")[0].items[0].result == "done"


def test_pods_that_run_rules_of_the_meshconfig_before_or_after_a_change_are_right(roll):
    def change(world):
        world.meshconfig["spec"]["traffic"]["outboundPortExclusionList"] = [6379, 7070]

    both = [comes("Deployment", "web"), together(change, comes("Deployment", "web", 2))]
    gone = together(goes("web-1"), goes("web-2"), says("Deployment", "web", **SERVES))
    world = World(*shop("web"), steps={"web": [*both, gone]})
    report, _ = roll(world, "deploy/web")
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 2, 2)]


def sets(*ports):
    def step(world):
        world.meshconfig["spec"]["traffic"]["outboundPortExclusionList"] = list(ports)

    return step


@pytest.mark.parametrize(
    "steps",
    [
        [together(sets(7070), comes("Deployment", "web")), comes("Deployment", "web", 2, script=GOOD)],
        [together(sets(7070), comes("Deployment", "web")), together(sets(8080), comes("Deployment", "web", 2))],
    ],
    ids=["a late one by the lists before", "each by the lists of its time"],
)
def test_pods_may_have_met_any_of_the_lists_that_there_were(roll, steps):
    gone = together(goes("web-1"), goes("web-2"), says("Deployment", "web", **SERVES))
    report, _ = roll(World(*shop("web"), steps={"web": [*steps, gone]}), "deploy/web")
    assert [(item.result, item.verified) for item in report.items] == [("done", 2)]


def test_pods_of_a_template_that_somebody_writes_meanwhile_are_judged_by_that(roll):
    def write(world):
        held = world.at("Deployment", "web")
        held["spec"]["template"]["metadata"]["annotations"][OUT] = "22"
        held["metadata"]["generation"] += 1

    def last(world):
        done("Deployment", "web")(world)
        assert all(fields.annotations(one)[OUT] == "22" for one in world.pods("web"))

    report, _ = roll(World(*shop("web"), steps={"web": [comes("Deployment", "web"), write, last]}), "deploy/web")
    assert [(item.result, item.verified) for item in report.items] == [("done", 2)]


def test_pods_that_run_neither_are_wrong_also_after_a_change(roll):
    def change(world):
        world.meshconfig["spec"]["traffic"]["outboundPortExclusionList"] = [7070]

    steps = [together(change, comes("Deployment", "web", script=STALE))]
    world = World(*shop("web"), steps={"web": steps})
    assert roll(world, "deploy/web")[0].items[0].detail == (
        "pod web-new1: its rules would need +7070 outbound-port; the restart was taken back"
    )


def test_pods_that_end_or_are_told_to_are_not_counted(roll):
    last = together(
        done("Deployment", "web"),
        lambda world: world.put(pod("web-1", deletionTimestamp=MOMENT, uid="leaving")),
        lambda world: world.put(pod("web-2", uid="ended", status={"phase": "Failed"})),
    )
    world = World(*shop("web"), steps={"web": [last]})
    item = roll(world, "deploy/web")[0].items[0]
    assert (item.result, item.verified, item.pods) == ("done", 2, 2)


def test_pods_of_others_are_not_counted(roll):
    stranger = pod("web-other", ("Deployment", "other"), labels={"app": "web"})
    world = World(*shop("web"), workload("other"), stranger)
    item = roll(world, "deploy/web")[0].items[0]
    assert (item.result, item.pods) == ("done", 2)


def test_old_pods_may_be_seen_a_little_longer_than_the_controller_says(roll):
    late = together(comes("Deployment", "web"), comes("Deployment", "web", 2), says("Deployment", "web", **SERVES))
    gone = together(goes("web-1"), goes("web-2"))
    world = World(*shop("web"), steps={"web": [late, *[nothing] * 8, gone]})
    assert roll(world, "deploy/web")[0].items[0].result == "done"


def test_old_pods_that_stay_are_a_failure(roll):
    late = together(comes("Deployment", "web"), comes("Deployment", "web", 2), says("Deployment", "web", **SERVES))
    world = World(*shop("web"), steps={"web": [late]})
    report, _ = roll(world, "deploy/web")
    assert results(report) == [("deploy/web", "failed", "2 of 4 pods were not replaced")]
    assert 1060 <= world.seconds < 1080


def test_a_controller_that_says_done_and_then_goes_on_has_all_the_time_again(roll):
    late = together(comes("Deployment", "web"), comes("Deployment", "web", 2), says("Deployment", "web", **SERVES))
    busy = says("Deployment", "web", replicas=3)
    steps = [late, *[nothing] * 6, busy, *[nothing] * 6, late, *[nothing] * 6, done("Deployment", "web")]
    assert roll(World(*shop("web"), steps={"web": steps}), "deploy/web")[0].items[0].result == "done"


def test_a_status_about_an_older_generation_counts_for_nothing(roll):
    """Right after the write everything still looks as if the rollout were over."""
    world = World(
        *shop("web"), steps={"web": [*[nothing] * 30, one_is_new("Deployment", "web"), done("Deployment", "web")]}
    )
    assert roll(world, "deploy/web")[0].items[0].result == "done"


def test_an_object_older_than_the_write_counts_for_nothing(roll, monkeypatch):
    """The watch may be behind: what it shows first has neither the new generation nor the new template."""
    world = World(*shop("web"))
    current = world.patch

    def patch(*args, **kwargs):
        before = world.at("Deployment", "web")
        written = current(*args, **kwargs)
        world.put(before)
        arrives = [lambda _: world.put(written), one_is_new("Deployment", "web"), done("Deployment", "web")]
        world.steps["web"][:] = [*[nothing] * 20, *arrives]
        return written

    monkeypatch.setattr(world, "patch", patch)
    report, events = roll(world, "deploy/web")
    assert [(item.result, item.verified) for item in report.items] == [("done", 2)]
    assert not any("2 of 2 pods new" in text for text in texts(events, Turn))


# rollouts that do not end well


DEADLINE = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": 'ReplicaSet "web-5d" has timed out progressing.',
}


def waits(reason, message=""):
    waiting = {"name": "app", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"phase": "Pending", "containerStatuses": [waiting]}


def test_a_controller_that_gives_up_is_the_end_with_the_pods_own_reason(roll):
    stuck = together(
        comes("Deployment", "web", status=waits("ImagePullBackOff", 'Back-off pulling image "x"')),
        says("Deployment", "web", replicas=3, updatedReplicas=1, conditions=[DEADLINE]),
    )
    report, events = roll(World(*shop("web"), steps={"web": [nothing, stuck]}), "deploy/web")
    said = (
        'ReplicaSet "web-5d" has timed out progressing.; '
        'pod web-new1: container app: ImagePullBackOff: Back-off pulling image "x"'
    )
    assert results(report) == [("deploy/web", "failed", said)]
    assert errors(events) == [f"deploy/web in shop: {said}"]


NOT_READY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers: [app]"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (waits("CreateContainerConfigError"), "container app: CreateContainerConfigError"),
        ({"conditions": [UNSCHEDULABLE]}, "Unschedulable: 0/3 nodes"),
        ({"conditions": [NOT_READY]}, "ContainersNotReady: containers: [app]"),
        (waits("ContainerCreating"), ""),
    ],
)
def test_a_rollout_that_takes_too_long_says_how_far_it_came_and_why(roll, status, said):
    slow = together(comes("Deployment", "web", status=status), says("Deployment", "web", replicas=3, updatedReplicas=1))
    world = World(*shop("web"), steps={"web": [slow]})
    report, _ = roll(world, "deploy/web", "--timeout=1m30s")
    because = f"; pod web-new1: {said}" if said else ""
    assert results(report) == [("deploy/web", "failed", f"not done within 90 s: 1 of 2 pods new, 2 available{because}")]
    assert 1090 < world.seconds < 1093


def test_ten_minutes_are_given_where_nothing_is_said_and_all_the_time_for_0(roll):
    world = World(*shop("web"), steps={"web": [one_is_new("Deployment", "web")]})
    assert roll(world, "deploy/web")[0].items[0].detail.startswith("not done within 600 s")
    world = World(
        *shop("web"), steps={"web": [one_is_new("Deployment", "web"), *[nothing] * 700, done("Deployment", "web")]}
    )
    assert roll(world, "deploy/web", "--timeout=0")[0].items[0].result == "done"


def stays(status=None, **conditions):
    return together(
        comes("Deployment", "web", status=status),
        says("Deployment", "web", replicas=3, updatedReplicas=1, **conditions),
    )


@pytest.mark.parametrize(
    ("stuck", "said"),
    [
        (
            lambda: [stays(waits("ErrImagePull")), *[nothing] * 30, stays(waits("ImagePullBackOff", "x"))],
            "pod web-new1: container app: ImagePullBackOff: x",
        ),
        (lambda: [says("Deployment", "web", updatedReplicas=0, conditions=[CREATE])], "exceeded quota: small"),
    ],
    ids=["image", "quota"],
)
def test_what_will_not_pass_by_itself_is_waited_for_a_minute_only(roll, stuck, said):
    world = World(*shop("web"), steps={"web": stuck()})
    assert results(roll(world, "deploy/web")[0]) == [("deploy/web", "failed", f"{said}, for 60 s now")]
    assert 1061 <= world.seconds < 1065


@pytest.mark.parametrize(
    "status",
    [{"phase": "Running"}, waits("CrashLoopBackOff", "ImageMagick is missing")],
    ids=["it passes", "another reason that names one"],
)
def test_what_passes_is_waited_for(roll, status):
    steps = [
        stays(waits("ImagePullBackOff")),
        *[nothing] * 50,
        stays(status),
        *[nothing] * 50,
        done("Deployment", "web"),
    ]
    assert roll(World(*shop("web"), steps={"web": steps}), "deploy/web")[0].items[0].result == "done"


CREATE = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}


def failed_create(uid, message, when, reason="FailedCreate"):
    metadata = {"name": f"{uid}.{when}", "namespace": "shop"}
    about = {"kind": "Deployment", "uid": uid}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": about}
    return {**event, "reason": reason, "message": message, "lastTimestamp": when}


EVENTS_SEEN = [
    failed_create("Deployment-web", "denied: before", "2001-01-01T00:00:00Z"),
    failed_create("Deployment-web", "denied: old", "2201-01-01T00:00:00Z"),
    failed_create("Deployment-web", "denied: new", "2201-01-02T00:00:00Z"),
    failed_create("Deployment-web", "Scaled up", "2201-01-03T00:00:00Z", "ScalingReplicaSet"),
    failed_create("Deployment-api", "denied: other", "2201-01-03T00:00:00Z"),
]


@pytest.mark.parametrize(
    ("conditions", "events", "forbidden", "because"),
    [
        ([CREATE], EVENTS_SEEN, (), "; exceeded quota: small"),
        ([], EVENTS_SEEN, (), "; denied: new"),
        ([], EVENTS_SEEN, ("Event",), ""),
        ([], EVENTS_SEEN[:1], (), ""),
        ([{**CREATE, "status": "False"}], [], (), ""),
        ([], [], (), ""),
    ],
)
def test_why_no_pod_comes_is_told_by_the_workload_or_its_events(roll, conditions, events, forbidden, because):
    none = says("Deployment", "web", replicas=2, updatedReplicas=0, conditions=conditions)
    world = World(*shop("web"), *events, steps={"web": [none]}, forbidden=forbidden)
    assert roll(world, "deploy/web", "--timeout=10s")[0].items[0].detail == (
        f"not done within 10 s: 0 of 2 pods new, 2 available{because}"
    )


def test_a_workload_that_is_deleted_meanwhile(roll):
    world = World(
        *shop("web"), steps={"web": [one_is_new("Deployment", "web"), lambda world: world.take("Deployment", "web")]}
    )
    (item,) = roll(world, "deploy/web")[0].items
    assert (item.result, item.detail) == ("failed", "it has been deleted")


def test_another_workload_with_its_name_is_not_it(roll):
    def replaced(world):
        held = world.take("Deployment", "web")
        held["metadata"]["uid"] = "another"
        world.put(held)

    world = World(*shop("web"), steps={"web": [replaced, done("Deployment", "web")]})
    assert roll(world, "deploy/web")[0].items[0].detail == "it has been deleted"


def test_another_workload_with_its_name_is_not_written(roll):
    """It was replaced between the last look and the write; only the server can tell."""
    world = World(*shop("web"))
    patch = world.patch

    def replaced(*args):
        world.take("Deployment", "web")
        world.put({**workload("web"), "metadata": {**workload("web")["metadata"], "uid": "another"}})
        return patch(*args)

    world.patch = replaced
    report, _ = roll(world, "deploy/web")
    assert report.items[0].result == "failed"
    assert "UID" in report.items[0].detail
    assert world.written == []


def test_the_same_is_not_said_twice(roll):
    steps = [one_is_new("Deployment", "web"), *[nothing] * 20, done("Deployment", "web")]
    _, events = roll(World(*shop("web"), steps={"web": steps}), "deploy/web")
    assert states(events) == ["begun", "writing", "rolling", "done"]


def test_how_far_it_is_is_said_now_and_then(roll):
    steps = [*[one_is_new("Deployment", "web")] * 5, done("Deployment", "web")]
    _, events = roll(World(*shop("web"), steps={"web": steps}), "deploy/web")
    (told,) = [event for event in events if isinstance(event, Turn) and event.state == "rolling"]
    assert told.text == "deploy/web in shop: 1 of 2 pods new, 2 available"
    assert (told.updated, told.available, told.wanted) == (1, 2, 2)


# Ctrl-C


NOT_WRITTEN = "nothing was written"
TWICE = together(interrupted, interrupted, for_ever)


class Stopped(World):
    """Ctrl-C, twice, at some place."""

    def __init__(self, *objects, at, **how):
        super().__init__(*objects, **how)
        self._at = at

    def try_create(self, *args):
        return TWICE(self) if self._at == "asking" and len(self.trials) == 2 else super().try_create(*args)

    def patch(self, *args, **kwargs):
        return TWICE(self) if self._at == "writing" else super().patch(*args, **kwargs)


@pytest.mark.parametrize(
    ("where", "steps", "stage", "written"),
    [
        ("asking", [], NOT_WRITTEN, 0),
        ("writing", [], "the write was under way; its rollout may have begun", 0),
        ("", [TWICE], "the write was under way; its rollout may have begun", 1),
        ("", [nothing, TWICE], "its rollout has begun: 0 of 2 pods new, 0 available", 1),
        ("", [one_is_new("Deployment", "api"), TWICE], "its rollout has begun: 1 of 2 pods new, 2 available", 1),
    ],
)
def test_ctrl_c_twice_says_where_it_stood_and_begins_nothing_else(program, where, steps, stage, written):
    world = Stopped(*shop("api", "web"), at=where, steps={"api": steps})
    if where == "asking":
        world.observe = stale(world)
    code, out, err = program(world, "restart", "--all", "-n", "shop", "--yes", "-o", "json")
    assert code == 130
    assert [(item["result"], item["detail"]) for item in last(out)["items"]] == [
        ("interrupted", stage),
        ("not begun", None),
    ]
    (plan,) = Path().glob("*.json")
    assert "interrupted: deploy/api in shop may end, no other is begun; Ctrl-C again leaves at once" in err
    assert err.endswith(
        f"error: interrupted at deploy/api in shop: {stage}; 1 workload was not begun\n"
        f"to go on: kubectl fsm restart --resume ./{plan}\n"
    )
    assert len(world.written) == written


def stale(world):
    """So much time passes before it is looked at that the injector is asked once more."""
    observe = world.observe

    def observed(*views):
        world.seconds += 61
        return observe(*views)

    return observed


def test_ctrl_c_once_lets_end_what_runs(program):
    world = World(
        *shop("api", "web"),
        steps={"api": [together(one_is_new("Deployment", "api"), interrupted), done("Deployment", "api")]},
    )
    code, out, err = program(world, "restart", "--all", "-n", "shop", "--yes", "-o", "json")
    assert code == 130
    assert [item["result"] for item in last(out)["items"]] == ["done", "not begun"]
    assert "error: interrupted; 1 workload was not begun\nto go on: kubectl fsm restart --resume ./fsm-restart-" in err
    assert world.restarted == ["deploy/api"]


def test_ctrl_c_without_waiting_says_where_it_stood(program):
    world = Stopped(*shop("web"), at="writing")
    code, _, err = program(world, "restart", "deploy/web", "-n", "shop", "--no-wait")
    assert code == 130
    assert "interrupted at deploy/web in shop: the write was under way; it may have begun\n" in err


# without waiting


def test_no_wait_asks_the_injector_and_writes_and_verifies_nothing(roll):
    world = World(*shop("api", "web"))
    report, _ = roll(world, "--all", "--no-wait")
    assert [(item.result, item.detail, item.verified, item.pods) for item in report.items] == [
        ("started", "", 0, 0)
    ] * 2
    assert (world.restarted, world.observed, len(world.trials)) == (["deploy/api", "deploy/web"], [], 2)


# what is left alone


def owned_by(owner, obj):
    kind, name, api_version = owner
    reference = {"apiVersion": api_version, "kind": kind, "name": name, "uid": f"{kind}-{name}", "controller": True}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


KAFKA = ("Kafka", "main", "kafka.example/v1")
OPERATOR = {
    "apiVersion": "kafka.example/v1",
    "kind": "Kafka",
    "metadata": {"name": "main", "namespace": "shop"},
    "spec": {"replicas": 2},
}
ALONE = pod("alone")
del ALONE["metadata"]["ownerReferences"]
OPERATED = [OPERATOR, owned_by(KAFKA, workload()), pod("web-1")]
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "once", "namespace": "shop"},
    "spec": {"template": template()},
}
CRONJOB = {**JOB, "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop"}, "spec": CRONJOB_SPEC}
ROLLS = {**SERVES, "replicas": 3, "updatedReplicas": 1}
SET = ("StatefulSet", "web")
REVISIONS = {**SERVES, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "a"}


def stateful_set(**update):
    return workload(kind="StatefulSet", status=REVISIONS, updateStrategy=update)


LEFT = [
    ([workload(paused=True), pod("web-1")], "deploy/web", "its rollout is paused"),
    (
        [stateful_set(type="OnDelete"), pod("web-1", SET)],
        "sts/web",
        "its pods have it when they are deleted (OnDelete)",
    ),
    (
        [stateful_set(type="RollingUpdate", rollingUpdate={"partition": 2}), pod("web-1", SET)],
        "sts/web",
        "its update strategy keeps the pods below 2 as they are (partition)",
    ),
    ([JOB, pod("once-1", ("Job", "once"))], "job/once", "a Job's pods are not replaced: create the Job anew"),
    (
        [CRONJOB, owned_by(("CronJob", "nightly", "batch/v1"), JOB), pod("once-1", ("Job", "once"))],
        "cj/nightly",
        "its next runs have it",
    ),
    ([ALONE], "pod/alone", "a bare pod: delete it and apply its first manifest; its live one keeps the old rules"),
    (OPERATED, "kafka/main", "Kafka main has no pod template: restart it as its operator does"),
    (
        [{**workload(), "kind": "ReplicaSet"}, pod("web-1", ("ReplicaSet", "web"))],
        "rs/web",
        "a ReplicaSet replaces no pods: those it makes from now on have it",
    ),
    (
        [pod("web-1", ("ReplicaSet", "gone"))],
        "rs/gone",
        "its owner ReplicaSet gone is gone or cannot be read",
    ),
    (
        [owned_by(("Shop", "main", "x.example/v1"), workload()), pod("web-1")],
        "deploy/web",
        "its owner Shop main is gone or cannot be read",
    ),
    (
        [workload(status=ROLLS), pod("web-1")],
        "deploy/web",
        "a rollout is under way already; look again when it has ended",
    ),
    (
        [workload(annotations={OUT: "80,,81"}), pod("web-1")],
        "deploy/web",
        (
            "its next pods would have no rules of the mesh: the injector refuses the next pod: "
            f"Invalid port value '' specified for annotation '{OUT}'"
        ),
    ),
    (
        [workload(annotations={"flomesh.io/sidecar-injection": "disabled"}), pod("web-1")],
        "deploy/web",
        "its next pods would have no rules of the mesh: the pod is annotated flomesh.io/sidecar-injection: disabled",
    ),
    (
        [workload(annotations={OUT: "70000"}), pod("web-1")],
        "deploy/web",
        "its next pods would not start: '70000' is not a port",
    ),
]


@pytest.mark.parametrize(
    ("objects", "label", "reason"), LEFT, ids=[f"{label}: {reason[:30]}" for _, label, reason in LEFT]
)
def test_what_a_sweep_leaves_alone_and_why(roll, objects, label, reason):
    world = World(PORT, NAMESPACE, *objects)
    report, events = roll(world, "--all")
    (item,) = report.items
    assert (item.workload, item.result, item.outdated) == (label, "left", 1)
    assert item.detail.startswith(reason)
    assert world.written == world.trials == []
    assert errors(events) == [], "a sweep says it, and has nothing to fail"


def test_a_custom_workload_whose_restart_is_not_known_is_left_to_its_controller(roll):
    clones = {**workload(), "apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet"}
    one = pod("web-1", ("CloneSet", "web"))
    one["metadata"]["ownerReferences"][0]["apiVersion"] = "apps.kruise.io/v1alpha1"
    report, _ = roll(World(PORT, NAMESPACE, clones, one), "--all")
    assert results(report) == [
        ("cloneset/web", "left", "restart CloneSet web as its controller does it; restart --evict replaces its pods")
    ]


@pytest.mark.parametrize("target", ["deploy/web", "web-1"])
def test_a_named_target_that_stays_outdated_is_an_error(program, target):
    world = World(PORT, NAMESPACE, workload(status=ROLLS), pod("web-1"))
    code, out, err = program(world, "restart", target, "-n", "shop")
    assert code == 1
    assert "left" in out
    assert err == (
        "error: deploy/web in shop was not restarted: a rollout is under way already; look again when it has ended\n"
    )
    code, out, err = program(world, "restart", "--all", "-n", "shop")
    assert (code, err) == (0, "")
    assert "a rollout is under way already" in out


def test_a_named_target_that_is_current_is_none(program):
    world = World(PORT, NAMESPACE, workload(), pod("web-1", script=GOOD))
    code, out, err = program(world, "restart", "deploy/web", "-n", "shop")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["deploy/web", "1", "0", "current", "-"]
    assert world.written == world.trials == []


def test_a_sweep_shows_nothing_but_what_is_outdated(roll):
    current = pod("new-1", ("Deployment", "new"), GOOD)
    world = World(*shop("web"), workload("new"), current, workload("idle"))
    assert [item.workload for item in roll(world, "--all")[0].items] == ["deploy/web"]
    report, events = roll(World(PORT, NAMESPACE, workload("new"), current), "--all")
    assert (report.items, texts(events, Note)) == ([], ["no workload runs outdated rules"])


def test_finished_pods_are_left_out_and_counted(roll):
    ended = [pod(f"ended-{number}", ("Job", "once"), status={"phase": "Succeeded"}) for number in (1, 2)]
    report, events = roll(World(PORT, NAMESPACE, JOB, *ended), "--all")
    assert (report.items, texts(events, Note)) == (
        [],
        ["2 finished pods are left out", "no workload runs outdated rules"],
    )
    report, events = roll(World(*shop("web"), pod("web-3", status={"phase": "Failed"})), "--all", "--dry-run")
    assert texts(events, Note) == ["1 finished pod is left out"]
    assert (report.items[0].replicas, report.items[0].outdated) == (2, 2)


def test_a_workload_without_pods_is_named_as_such(roll):
    report, _ = roll(World(PORT, NAMESPACE, workload(replicas=0, status={})), "deploy/web", "--all-pods")
    assert results(report) == [("deploy/web", "current", "it has no running pods")]


def test_pods_that_run_no_rules_of_the_mesh_are_not_outdated(roll):
    world = World(PORT, NAMESPACE, workload(), pod("web-1", script=None))
    assert roll(world, "deploy/web")[0].items[0].result == "current"


def test_rules_that_cannot_be_read_are_outdated(roll):
    report, _ = roll(World(PORT, NAMESPACE, workload(), pod("web-1", script="reboot")), "deploy/web", "--dry-run")
    assert (report.items[0].outdated, report.items[0].changes) == (1, ["other rules"])


def test_where_nothing_tells_the_mesh_nothing_is_done(roll):
    other = copy.deepcopy(PORT)
    other["metadata"]["namespace"] = "fsm-two"
    place = {**NAMESPACE, "metadata": {"name": "shop"}}
    world = World(PORT, other, place, workload(), pod("web-1"))
    report, _ = roll(world, "deploy/web")
    assert results(report) == [("deploy/web", "current", "nothing tells which mesh it belongs to")]
    assert report.items[0].mesh == ""


def test_all_pods_rolls_current_ones_too(roll):
    objects = [PORT, NAMESPACE, workload(), pod("web-1", script=GOOD), pod("web-2", script=GOOD)]
    world = World(*objects)
    report, _ = roll(world, "deploy/web", "--all-pods")
    assert [(item.result, item.outdated, item.verified) for item in report.items] == [("done", 0, 2)]
    assert world.restarted == ["deploy/web"]


def test_a_sweep_of_all_pods_shows_what_it_rolls_and_what_it_leaves(roll):
    current = [pod(f"{name}-1", ("Deployment", name), GOOD) for name in ("new", "old")]
    world = World(*shop("api"), workload("new"), workload("old", paused=True), *current)
    report, _ = roll(world, "--all", "--all-pods")
    assert [(item.workload, item.result) for item in report.items] == [
        ("deploy/api", "done"),
        ("deploy/new", "done"),
        ("deploy/old", "left"),
    ]


def test_what_has_changed_since_the_plan_was_made_is_left_alone(roll):
    """Between the plan and its turn a workload waits, perhaps for minutes."""

    def pause(world):
        world.at("Deployment", "web")["spec"]["paused"] = True

    def begin(world):
        says("Deployment", "web", **ROLLS)(world)

    for change, reason in ((pause, "its rollout is paused"), (begin, "a rollout is under way already")):
        world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), change)]})
        report, _ = roll(world, "--all")
        assert [item.result for item in report.items] == ["done", "left"]
        assert report.items[1].detail.startswith(reason)
        assert world.restarted == ["deploy/api"]


def test_pods_that_became_current_since_the_plan_was_made_are_left_alone(roll):
    steps = {"api": [together(done("Deployment", "api"), done("Deployment", "web"))]}
    world = World(*shop("api", "web"), steps=steps)
    report, events = roll(world, "--all")
    assert results(report)[1] == ("deploy/web", "current", "its pods run current rules by now")
    assert (world.restarted, errors(events)) == (["deploy/api"], [])


def test_the_meshconfig_that_counts_is_the_one_at_its_turn(roll):
    def change(world):
        world.meshconfig["spec"]["traffic"]["outboundPortExclusionList"] = [7070]

    world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), change)]})
    report, _ = roll(world, "--all")
    assert [item.result for item in report.items] == ["done", "done"]
    assert all("7070" in str(one["spec"]["initContainers"]) for one in world.pods("web"))
    assert len(world.trials) == 3, "and the injector is asked about it"


def test_the_template_that_counts_is_the_one_at_its_turn(roll):
    def write(world):
        world.at("Deployment", "web")["spec"]["template"]["metadata"]["annotations"] = {OUT: "22"}

    world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), write)]})
    report, _ = roll(world, "--all")
    assert [item.result for item in report.items] == ["done", "done"]
    assert [fields.annotations(asked) for asked in world.trials] == [{}, {}, {OUT: "22"}]


def test_a_template_of_another_workload_is_asked_and_judged_all_the_same(roll):
    owner = ("Rollout", "canary")
    user = workload("canary", kind="Rollout", status=HEALTHY, workloadRef=REFERENCE)
    del user["spec"]["template"]
    pods = [pod("canary-1", owner), pod("canary-2", owner)]

    def renewed(world):
        for number in (1, 2):
            world.take("Pod", f"canary-{number}")
            world.put(injected(world, pod(f"canary-new{number}", owner, None, {OUT: "22"})))
        says(*owner, **HEALTHY, restartedAt=MOMENT)(world)

    used = workload(replicas=0, status={}, annotations={OUT: "22"})
    world = World(PORT, NAMESPACE, used, user, *pods, steps={"canary": [renewed]})
    report, _ = roll(world, "rollout/canary")
    assert [(item.result, item.verified) for item in report.items] == [("done", 2)]
    assert (world.trials[0]["spec"], fields.annotations(world.trials[0])) == (template()["spec"], {OUT: "22"})


def test_pods_without_rules_are_no_reason_at_its_turn_either(roll):
    """The outdated ones are gone by then; what is left runs current rules, or none."""

    def renew(world):
        done("Deployment", "web")(world)
        world.put(pod("web-plain", script=None))

    world = World(*shop("api", "web"), steps={"api": [together(done("Deployment", "api"), renew)]})
    report, _ = roll(world, "--all")
    assert (report.items[1].detail, world.restarted) == ("its pods run current rules by now", ["deploy/api"])


def test_pods_by_the_meshconfig_of_the_plan_are_wrong_once_it_is_another(roll):
    """Only what was there when the rollout began, or came after it, makes a pod right."""

    def change(world):
        world.meshconfig["spec"]["traffic"]["outboundPortExclusionList"] = [7070]

    steps = {
        "api": [together(done("Deployment", "api"), change)],
        "web": [comes("Deployment", "web", script=GOOD)],
    }
    report, _ = roll(World(*shop("api", "web"), steps=steps), "--all")
    assert report.items[1].detail == (
        "pod web-new1: its rules would need +7070 outbound-port, -6379 outbound-port; the restart was taken back"
    )


# which workloads


def labelled(name, **labels):
    one = pod(name)
    one["metadata"]["labels"] |= labels
    return one


def test_a_selector_picks_workloads_by_their_pods_and_counts_all_of_these(roll):
    objects = [*shop("web"), labelled("web-3", track="canary"), workload("api"), pod("api-1", ("Deployment", "api"))]
    report, _ = roll(World(*objects), "-l", "track=canary", "--dry-run")
    assert [(item.workload, item.replicas, item.outdated) for item in report.items] == [("deploy/web", 3, 3)]


def test_a_workload_that_is_named_twice_is_rolled_once(roll):
    world = World(*shop("web"))
    report, _ = roll(world, "deploy/web", "web-1", "web-2")
    assert (len(report.items), world.restarted) == (1, ["deploy/web"])


def test_targets_are_rolled_in_the_order_in_which_they_are_named(roll):
    assert [item.workload for item in roll(World(*shop("api", "web")), "deploy/web", "deploy/api")[0].items] == [
        "deploy/web",
        "deploy/api",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing says what to restart"),
        (["-n", "shop"], "nothing says what to restart"),
        (["--all", "deploy/web"], "--all does not go together with a target by name or -l"),
        (["--all", "-l", "a=b"], "--all does not go together with a target by name or -l"),
        (["deploy/web", "-l", "a=b"], "a target by name and a selector (-l) exclude each other"),
        (["deploy/web", "-A"], "a target by name needs its namespace: -n, not -A"),
        (["--all", "--timeout=soon"], "--timeout=soon: not a duration"),
        (["--all", "--dry-run=server"], "--dry-run takes client, none, not 'server'"),
    ],
)
def test_words_that_do_not_fit_together(carry_out, words, said):
    with pytest.raises(UsageError) as caught:
        carry_out(World(), "restart", *words)
    assert caught.value.message == said


# what is asked


def test_more_than_one_workload_is_asked_for(carry_out):
    world = World(*shop("api", "web"), workload("paused", paused=True), pod("paused-1", ("Deployment", "paused")))
    with pytest.raises(Declined, match="not confirmed; nothing was written"):
        carry_out(world, "restart", "--all", answer=False)
    assert world.written == []
    assert len(world.trials) == 2, "who is asked is to know that it would go well"
    report, events = carry_out(world, "restart", "--all")
    assert texts(events, Question) == [
        (
            "context test: this rolls 2 workloads\n"
            "  deploy/api in shop (2 pods): +6379 outbound-port\n"
            "  deploy/web in shop (2 pods): +6379 outbound-port"
        )
    ]
    assert [item.result for item in report.items] == ["done", "left", "done"]


def test_many_workloads_are_not_all_listed(carry_out):
    names = [f"web{number:02}" for number in range(23)]
    with pytest.raises(Declined):
        carry_out(World(*shop(*names)), "restart", "--all", answer=False)
    _, events = carry_out(World(*shop(*names)), "restart", "--all", "--no-wait")
    (asked,) = texts(events, Question)
    assert asked.splitlines()[0] == "context test: this rolls 23 workloads"
    assert asked.splitlines()[20:] == ["  deploy/web19 in shop (2 pods): +6379 outbound-port", "  and 3 more"]


@pytest.mark.parametrize(
    ("names", "words"),
    [(["web"], ["deploy/web"]), (["api", "web"], ["--all", "--yes"]), (["api", "web"], ["--all", "--dry-run"])],
)
def test_what_needs_no_question(carry_out, names, words):
    report, events = carry_out(World(*shop(*names)), "restart", *words, answer=False)
    assert texts(events, Question) == []
    assert {item.result for item in report.items} <= {"done", "planned"}


def test_where_nobody_can_be_asked_nothing_is_written(program):
    world = World(*shop("api", "web"))
    code, out, err = program(world, "restart", "--all", "-n", "shop")
    assert (code, out, world.written) == (1, "", [])
    assert err.endswith("this needs a yes, and nobody can be asked here; nothing was written\nrepeat it with --yes\n")


def test_a_dry_run_shows_the_plan_and_the_reasons(program):
    world = World(*shop("api"), workload(status=ROLLS), pod("web-1"))
    code, out, err = program(world, "restart", "--all", "-n", "shop", "--dry-run")
    assert (code, err, world.written, world.trials) == (0, "", [], [])
    assert [re.split(r" {2,}", line) for line in out.splitlines()] == [
        ["WORKLOAD", "PODS", "OUTDATED", "RESULT", "DETAIL"],
        ["deploy/api", "2", "2", "planned", "+6379 outbound-port"],
        ["deploy/web", "1", "1", "left", "a rollout is under way already; look again when it has ended"],
    ]


# how it is printed


def test_the_table_of_a_restart(program):
    world = World(*shop("web"))
    _, out, _ = program(world, "restart", "deploy/web", "-n", "shop", "-o", "wide")
    assert [re.split(r" {2,}", line) for line in out.splitlines()] == [
        ["WORKLOAD", "PODS", "OUTDATED", "RESULT", "DETAIL", "MESH", "NOTES"],
        ["deploy/web", "2", "2", "done", "2/2 verified", "fsm (fsm-system)", "-"],
    ]


def test_several_namespaces_have_a_column(program):
    other = workload()
    other["metadata"] |= {"namespace": "till", "uid": "other"}
    its = pod("web-1")
    its["metadata"] |= {"namespace": "till", "uid": "its"}
    its["metadata"]["ownerReferences"][0]["uid"] = "other"
    till = copy.deepcopy(NAMESPACE)
    till["metadata"]["name"] = "till"
    world = World(*shop("web"), till, other, its)
    _, out, _ = program(world, "restart", "-A", "--dry-run")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["NAMESPACE", "WORKLOAD"],
        ["shop", "deploy/web"],
        ["till", "deploy/web"],
    ]


def test_restarts_for_programs(program):
    world = World(*shop("web"), workload("old", paused=True), pod("old-1", ("Deployment", "old")))
    code, out, _ = program(world, "restart", "--all", "-n", "shop", "-o", "json")
    assert code == 0
    document = last(out)
    assert (document["apiVersion"], document["kind"]) == ("kubectl-fsm/v1", "Restart")
    assert document["items"][1] == {
        "workload": "deploy/web",
        "namespace": "shop",
        "mesh": "fsm (fsm-system)",
        "replicas": 2,
        "outdated": 2,
        "changes": ["+6379 outbound-port"],
        "result": "done",
        "detail": None,
        "verified": 2,
        "pods": 2,
        "notes": [],
    }
    assert program(World(*shop("web")), "restart", "deploy/web", "-n", "shop", "-o", "name")[1] == "deploy/web\n"


def test_what_a_cluster_says_does_not_reach_a_terminal_raw(program):
    stuck = together(
        comes("Deployment", "web", status=waits("ImagePullBackOff", "\x1b]0;pwned\x07")),
        says("Deployment", "web", replicas=3, updatedReplicas=1, conditions=[DEADLINE]),
    )
    _, out, err = program(World(*shop("web"), steps={"web": [stuck]}), "restart", "deploy/web", "-n", "shop")
    assert "pwned" in out
    assert "pwned" in err
    assert "\x1b" not in out + err


# what must not stand in the way


def test_an_odd_custom_resource_hides_no_other_workload(roll):
    """Fields of an operator's own kind mean what the operator likes."""
    operator = {**OPERATOR, "spec": {"updateStrategy": "RollingUpdate", "strategy": ["x"]}}
    world = World(*shop("api"), operator, owned_by(KAFKA, workload()), pod("web-1"))
    report, _ = roll(world, "--all")
    assert [(item.workload, item.result) for item in report.items] == [("deploy/api", "done"), ("kafka/main", "left")]


def test_a_named_target_that_became_current_meanwhile_is_no_error(program):
    steps = {"api": [together(done("Deployment", "api"), done("Deployment", "web"))]}
    world = World(*shop("api", "web"), steps=steps)
    code, out, err = program(world, "restart", "deploy/api", "deploy/web", "-n", "shop", "--yes")
    assert (code, "error" in err) == (0, False)
    assert "its pods run current rules by now" in out


def test_what_was_wrong_is_said_also_where_the_server_cannot_be_reached_any_more(roll):
    gone = Unreachable("no answer from https://here")
    wrong = {"web": [comes("Deployment", "web", script=STALE)]}
    world = World(*shop("web"), steps=wrong, refusals=[None, gone, gone])
    detail = roll(world, "deploy/web")[0].items[0].detail
    assert detail.endswith("; the restart was taken back"), "what may pass is tried again"
    world = World(
        *shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]}, refusals=[None, *[gone] * 200]
    )
    assert roll(world, "deploy/web")[0].items[0].detail == (
        "pod web-new1: its rules would need +6379 outbound-port; "
        "the restart could not be taken back: no answer from https://here"
    )

    class Mute(World):
        def list(self, resource, *args, **more):
            if resource.kind == "Event":
                raise gone
            return super().list(resource, *args, **more)

    none = says("Deployment", "web", replicas=2, updatedReplicas=0)
    detail = roll(Mute(*shop("web"), steps={"web": [none]}), "deploy/web", "--timeout=5s")[0].items[0].detail
    assert detail == "not done within 5 s: 0 of 2 pods new, 2 available"


def test_every_named_target_that_stays_outdated_is_said(program):
    busy = [workload("api", status=ROLLS), pod("api-1", ("Deployment", "api"))]
    world = World(PORT, NAMESPACE, *busy, stateful_set(type="OnDelete"), pod("web-1", SET))
    code, _, err = program(world, "restart", "deploy/api", "sts/web", "-n", "shop")
    assert code == 1
    assert "deploy/api in shop was not restarted" in err
    assert "sts/web in shop was not restarted" in err


# what others do meanwhile


def test_a_pod_of_the_old_template_that_comes_while_the_injector_is_asked_is_neither_right_nor_wrong(roll):
    """An autoscaler adds it with the rules of before; it goes as the rollout goes on."""

    class Scaled(World):
        def try_create(self, *args):
            if not self.trials:
                self.put(pod("web-scaled", script=STALE))
            return super().try_create(*args)

    steps = [one_is_new("Deployment", "web"), together(goes("web-scaled"), done("Deployment", "web"))]
    report, _ = roll(Scaled(*shop("web"), steps={"web": steps}), "deploy/web")
    assert [(item.result, item.verified) for item in report.items] == [("done", 2)]


def test_fewer_pods_than_wanted_are_not_the_end(roll):
    """The controller says done, and the watch of the pods is behind."""
    early = together(goes("web-1"), goes("web-2"), comes("Deployment", "web"), says("Deployment", "web", **SERVES))
    steps = [early, *[nothing] * 3, comes("Deployment", "web", 2)]
    report, _ = roll(World(*shop("web"), steps={"web": steps}), "deploy/web")
    assert [(item.result, item.verified, item.pods) for item in report.items] == [("done", 2, 2)]
    report, _ = roll(World(*shop("web"), steps={"web": [early]}), "deploy/web")
    assert results(report) == [("deploy/web", "failed", "only 1 of 2 pods are there")]


def test_a_workload_that_is_deleted_before_its_turn_stops_nothing(roll):
    steps = {"api": [together(done("Deployment", "api"), lambda world: world.take("Deployment", "shop"))]}
    report, events = roll(World(*shop("api", "shop", "web"), steps=steps), "--all")
    assert results(report) == [
        ("deploy/api", "done", ""),
        ("deploy/shop", "left", "it has been deleted"),
        ("deploy/web", "done", ""),
    ]
    assert errors(events) == []


def test_a_rollout_that_somebody_pauses_is_not_waited_for(roll):
    def pause(world):
        world.at("Deployment", "web")["spec"]["paused"] = True

    world = World(*shop("web"), steps={"web": [one_is_new("Deployment", "web"), pause]})
    report, _ = roll(world, "deploy/web")
    assert results(report) == [
        ("deploy/web", "failed", "its rollout is paused: no pod is replaced until it is resumed")
    ]
    assert world.seconds < 1010


BUSY, FULL = ApiError(503, "ServiceUnavailable", "it starts"), ApiError(429, "TooManyRequests", "wait")
GONE = Unreachable("no answer from https://here")


@pytest.mark.parametrize(
    ("refusals", "result", "tried"),
    [
        ([BUSY, GONE, FULL], "done", range(3, 4)),
        ([Forbidden(403, "Forbidden", "no")] * 9, "failed", range(1)),
        ([ApiError(409, "Conflict", "another uid")] * 9, "failed", range(1)),
        ([ApiError(500, "InternalError", "a webhook is wrong")] * 9, "failed", range(1)),
        ([GONE] * 200, "failed", range(24, 60)),
    ],
    ids=["it passes", "no right", "no such object", "a webhook", "two minutes"],
)
def test_a_write_is_tried_again_while_the_server_is_at_fault(roll, refusals, result, tried):
    world = World(*shop("web"), refusals=refusals)
    assert roll(world, "deploy/web")[0].items[0].result == result
    assert len(world.slept) in tried
    assert len(world.slept) < 24 or 120 <= sum(world.slept) < 126
    assert max(world.slept, default=0) <= 5


TAKEN_BACK = "somebody took the restart back: its pod template is as before (a GitOps controller may do that)"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, None, TAKEN_BACK),
        ("2020", "2020", TAKEN_BACK),
        ("2020", None, TAKEN_BACK),
        (None, "2027", "somebody restarted it again meanwhile"),
    ],
)
def test_a_restart_that_does_not_stand_any_more_is_not_waited_for(roll, before, after, said):
    def writes(value):
        def step(world):
            held = world.at("Deployment", "web")
            annotations = {"kubectl.kubernetes.io/restartedAt": value} if value else {}
            held["spec"]["template"]["metadata"]["annotations"] = annotations
            held["metadata"]["generation"] += 1

        return step

    world = World(*shop("web"), steps={"web": [one_is_new("Deployment", "web"), writes(after), *[nothing] * 99]})
    writes(before)(world)
    says("Deployment", "web")(world)
    report, _ = roll(world, "deploy/web")
    assert results(report) == [("deploy/web", "failed", said)]
    assert (world.restarted, world.seconds < 1010) == (["deploy/web"], True)


def test_taking_back_is_an_event_as_each_write_is(roll):
    world = World(*shop("web"), steps={"web": [comes("Deployment", "web", script=STALE)]})
    written = []
    _, events = roll(world, "deploy/web", hears=lambda event: written.append(len(world.written)))
    assert states(events) == ["begun", "writing", "writing", "failed"]
    told = [count for event, count in zip(events, written, strict=True) if isinstance(event, Turn)]
    assert told == [0, 0, 1, 2], "each is told before it is done"


def test_what_fails_after_the_write_says_that_it_has_begun(roll):
    class Mute(World):
        def observe(self, *views):
            states = super().observe(*views)
            yield next(states)
            yield next(states)
            raise Forbidden(403, "Forbidden", "pods is forbidden: cannot watch", "ask for it")

    report, _ = roll(Mute(*shop("web"), steps={"web": [one_is_new("Deployment", "web")]}), "deploy/web")
    assert results(report) == [
        (
            "deploy/web",
            "failed",
            "pods is forbidden: cannot watch; ask for it; its rollout has begun: 1 of 2 pods new, 2 available",
        )
    ]


def test_the_words_of_a_pod_stay_on_one_line(roll):
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": "boom\nUndo: kubectl delete ns prod"}}
    status = {"name": "fsm-init", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    steps = [comes("Deployment", "web", status={"initContainerStatuses": [status]})]
    report, events = roll(World(*shop("web"), steps={"web": steps}), "deploy/web")
    assert "boom Undo: kubectl delete ns prod" in report.items[0].detail
    assert not any("\n" in text for text in errors(events))


def test_nothing_by_that_name_is_an_error(roll):
    for words, labels in (["-l", "app=nope"], " with labels app=nope"), (["--all"], ""):
        world = World(PORT, NAMESPACE)
        with pytest.raises(Refused, match=f"no workloads and no pods found in namespace shop{labels}$"):
            roll(world, *words)
