"""Every verb against a real control plane, with faults on the way.

Each run ends in the right result or in one error, and a repeat without the fault ends in the state of a run that never
had one: no list has lost an entry, no workload has rolled twice. The summary shows the outcomes as they were measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from tabulate import tabulate

from kubectl_fsm.cluster import watching
from kubectl_fsm.operations import edit, patience
from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_trace import service
from tests.support import faults, workloads
from tests.support.api_server import Request, running
from tests.support.control_plane import MERGE_PATCH, ControlPlane
from tests.support.faults import Fault, FaultyProxy, reads, tries, watches, writes
from tests.support.mesh import FSM, Mesh
from tests.support.plugin import InProcess, Plugin

RIGHT, ERROR = "right", "error"
IN_TIME = "--timeout=20s"


class Kept(NamedTuple):
    """Where the list of a verb is kept, the entry that somebody else has put there, and ours."""

    field: str
    annotation: str
    theirs: Any
    ours: Any


LISTS = {
    "exclude-port": Kept("outboundPortExclusionList", "flomesh.io/outbound-port-exclusion-list", 22, 6379),
    "exclude-ip": Kept(
        "outboundIPRangeExclusionList",
        "flomesh.io/outbound-ip-range-exclusion-list",
        "192.0.2.0/24",
        "198.51.100.0/24",
    ),
    "include-ip": Kept(
        "outboundIPRangeInclusionList", "flomesh.io/outbound-ip-range-inclusion-list", "10.0.0.0/8", "172.16.0.0/12"
    ),
    "exclude-interface": Kept("networkInterfaceExclusionList", "", "net1", "net2"),
}
IN_TEMPLATES = [verb for verb, kept in LISTS.items() if kept.annotation]
WORKLOADS = ("web", "redis", "held")
"""Deployments; the last one is paused, so that edits of its template are not followed by others', its controller's."""


class World:
    """A mesh with two Deployments, and the plugin, which reaches them by a proxy that has faults."""

    def __init__(self, control_plane: ControlPlane, mesh: Mesh, proxy: FaultyProxy, plugin: InProcess) -> None:
        self.control_plane = control_plane
        self.mesh = mesh
        self.proxy = proxy
        self.plugin = plugin
        self._edits = 0
        self._pool = control_plane.pool()
        self.shop = mesh.namespace()
        control_plane.apply(
            *(workloads.deployment(name, self.shop) for name in WORKLOADS), service("redis", self.shop, app="redis")
        )
        for name in WORKLOADS:
            ready_pods(control_plane, self.shop, name)
        self.api("PATCH", self.path("held"), {"spec": {"paused": True}})

    def run(self, verb: Verb, *more: str, plugin: Plugin | InProcess | None = None):
        return (plugin or self.plugin).run(*(word.format(shop=self.shop) for word in verb.words), "-o", "json", *more)

    def path(self, name: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.shop}/deployments/{name}"

    def api(self, method: str, path: str, patch: Mapping[str, Any] | None = None) -> Any:
        """As `ControlPlane.api`, over connections that are kept."""
        answer = self._pool.request(
            method, path, body=json.dumps(patch) if patch else None, headers={"Content-Type": MERGE_PATCH}
        )
        assert answer.status < 300, answer.data
        return answer.json()

    def deployments(self) -> dict[str, Any]:
        return {found["metadata"]["name"]: found for found in self.api("GET", self.path("")[:-1])["items"]}

    def lists(self) -> dict[tuple[str, str], list[Any]]:
        """All entries by verb and place."""
        traffic = self.api("GET", FSM.meshconfig_path)["spec"]["traffic"]
        found = {(verb, "mesh"): traffic[kept.field] for verb, kept in LISTS.items()}
        deployments = self.deployments()
        for name in ("web", "held"):
            template = deployments[name]["spec"]["template"]["metadata"]
            annotations = template.get("annotations", {})
            found |= {(verb, name): annotations[LISTS[verb].annotation].split(",") for verb in IN_TEMPLATES}
        return found

    def put(self, place: str, entries: Mapping[str, Sequence[Any]]) -> None:
        """Write the lists of these verbs as another person does."""
        if place == "mesh":
            lists = {LISTS[verb].field: list(found) for verb, found in entries.items()}
            change, path = {"spec": {"traffic": lists}}, FSM.meshconfig_path
        else:
            annotations = {LISTS[verb].annotation: ",".join(map(str, found)) for verb, found in entries.items()}
            change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
            path = self.path(place)
        self.api("PATCH", path, change)

    def reset(self) -> None:
        """Each list has the entry of somebody else alone."""
        self.proxy.heal()
        self.put("mesh", {verb: [kept.theirs] for verb, kept in LISTS.items()})
        for name in ("web", "held"):
            self.put(name, {verb: [LISTS[verb].theirs] for verb in IN_TEMPLATES})

    def outdate(self) -> None:
        """Somebody has edited the MeshConfig since the pods were made."""
        self._edits += 1
        self.put("mesh", {"exclude-port": [22, 1000 + self._edits]})
        self.mesh.wait_for_injector()

    def settle(self) -> None:
        """Wait for the end of all rollouts, and for the injector to know the MeshConfig."""
        self.control_plane.wait(lambda: all(map(_settled, self.deployments().values())), "all rollouts have ended")
        self.mesh.wait_for_injector()

    def generations(self) -> list[int]:
        """How often each Deployment has been changed; in these tests each change is one of the pod template."""
        deployments = self.deployments()
        return [deployments[name]["metadata"]["generation"] for name in WORKLOADS]


def _settled(deployment: Mapping[str, Any]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return seen and (deployment["spec"].get("paused", False) or counts == [wanted] * 3)


class Verb(NamedTuple):
    """A command line, the list that it edits and where, how often it rolls each workload, and whether it waits for that."""

    words: tuple[str, ...]
    edits: tuple[str, str] | None = None
    rolls: tuple[int, ...] = (0, 0, 0)
    waits: bool = False

    @property
    def entry(self) -> Any:
        """What an edit adds, as the list of its place has it."""
        verb, place = self.edits
        return LISTS[verb].ours if place == "mesh" else str(LISTS[verb].ours)


def edits(verb: str, place: str) -> Verb:
    """Without a rollout, even of a template."""
    scope = () if place == "mesh" else (f"--workload=deploy/{place}", "-n", "{shop}")
    rolls = tuple(int(name == place) for name in WORKLOADS)
    return Verb((verb, str(LISTS[verb].ours), *scope, "--yes"), (verb, place), rolls)


def rolling(verb: Verb, *rolls: int) -> Verb:
    return verb._replace(words=(*verb.words, "--restart", IN_TIME), rolls=rolls, waits=True)


READING = {
    "exclusions": Verb(("exclusions", "-n", "{shop}")),
    "rules": Verb(("rules", "deploy/web", "-n", "{shop}")),
    "status": Verb(("status", "-n", "{shop}")),
    "trace": Verb(("trace", "deploy/web", "svc/redis:80", "-n", "{shop}")),
    "version": Verb(("version",)),
}
EDITING = {
    **{verb: edits(verb, "mesh") for verb in LISTS},
    **{f"{verb} --workload": edits(verb, "held") for verb in IN_TEMPLATES},
}
ROLLING = {
    "restart": Verb(("restart", "deploy/web", "-n", "{shop}", IN_TIME), rolls=(1, 0, 0), waits=True),
    "exclude-port --restart": rolling(edits("exclude-port", "mesh"), 1, 1, 0),
    "exclude-port --workload --restart": rolling(edits("exclude-port", "web"), 1, 0, 0),
}
VERBS = READING | EDITING | ROLLING


@pytest.fixture(scope="module")
def matrix(figure) -> Iterator[dict[tuple[str, str], str]]:
    """Takes the outcome of each verb under each fault; they are among the figures."""
    cells: dict[tuple[str, str], str] = {}
    yield cells
    faults = dict.fromkeys(fault for _, fault in cells)
    verbs = [verb for verb in VERBS if any(verb == name for name, _ in cells)]
    rows = [[fault, *(cells.get((verb, fault), "") for verb in verbs)] for fault in faults]
    figure(tabulate(rows, ["", *verbs], maxheadercolwidths=12))


@pytest.fixture(scope="module")
def world(programs, tmp_path_factory) -> Iterator[World]:
    """A control plane of these tests' own: they kill its API server."""
    control_plane = ControlPlane()
    try:
        control_plane.start()
        mesh = Mesh(control_plane, FSM)
        mesh.install()
        with running(FaultyProxy(control_plane)) as proxy:
            plugin = InProcess(proxy.kubeconfig(tmp_path_factory.mktemp("faults")))
            yield World(control_plane, mesh, proxy, plugin)
        mesh.uninstall()
    finally:
        control_plane.stop()


@pytest.fixture(autouse=True)
def impatience(monkeypatch, tmp_path):
    """Silence, and how long failures are borne: as a user has it, but shorter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watching, "SILENT_SECONDS", 0.4)
    monkeypatch.setattr(watching, "PATIENCE", 4.0)
    monkeypatch.setattr(patience, "_OUTAGE", 3.0)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.3)


def the_error(done) -> str:
    """What is said in the only error of a run; beside it nothing but one line of what to do, and no traceback."""
    lines = done.stderr.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith(("error: ", "Error from server"))]
    assert (done.returncode, len(at), len(lines) - at[0] <= 2) == (1, 1, True), done.stderr
    assert "should not happen" not in done.stderr
    assert "Traceback" not in done.stderr
    return lines[at[0]]


def outcome(verb: Verb, done) -> str:
    """RIGHT for a run that says it has done everything, ERROR for one that ends in one error."""
    if done.returncode == 0:
        assert not re.search("^(error: |Error from)", done.stderr, re.MULTILINE)
        return RIGHT
    the_error(done)
    if done.stdout:
        report(done)
        assert verb.waits or verb is READING["version"], "half of something was written"
    return ERROR


def report(done) -> Any:
    """The last document of an output: a restart has a line for each event before it."""
    last = done.stdout.splitlines()[-1]
    return json.loads(last if last.startswith("{") else done.stdout)


def prepare(world: World, verb: Verb) -> None:
    """Have a world in which the verb has something to do."""
    world.reset()
    if any(verb.rolls):
        world.settle()
    if verb.waits:
        world.outdate()


@contextmanager
def once(world: World, name: str) -> Iterator[None]:
    """A prepared world. Repeated after the block, without faults, the verb has done its work just once."""
    verb = VERBS[name]
    prepare(world, verb)
    generations, wanted = world.generations(), world.lists()
    yield
    world.proxy.heal()
    if verb.waits:
        world.settle()
    assert outcome(verb, world.run(verb)) == RIGHT
    if verb.edits:
        wanted[verb.edits] += [verb.entry]
    assert world.lists() == wanted
    assert rolled(world, generations) == verb.rolls
    if verb.waits:
        (item,) = json.loads(world.run(READING["rules"]).stdout)["items"]
        assert item["state"] == "current"


def rolled(world: World, generations: Sequence[int]) -> tuple[int, ...]:
    """How often each workload has rolled since."""
    return tuple(now - then for now, then in zip(world.generations(), generations, strict=True))


def under(world: World, matrix, fault: Fault, name: str, *more: str, title: str, expected: str):
    """Run a verb while there is a fault, which has to happen, and to come to what is expected."""
    verb = VERBS[name]
    done = world.run(verb, *more)
    found = outcome(verb, done)
    matrix[name, title] = found
    assert fault.injected, world.proxy.requests
    assert found == expected, done.stderr
    return done


READS = {
    "reset": (faults.reset, RIGHT, ERROR),
    "429": (faults.answered(faults.BUSY), RIGHT, ERROR),
    "500": (faults.answered(faults.BROKEN), ERROR, ERROR),
    "503": (faults.answered(faults.AWAY), ERROR, ERROR),
    "slow": (faults.slow, RIGHT, RIGHT),
    "truncated": (faults.truncated, RIGHT, ERROR),
    "silent": (faults.silent, ERROR, ERROR),
}
"""What happens to reads, and what comes of it where it happens to the first of them, or to each."""
SHORT = "--request-timeout=400ms"
LONG = "--request-timeout=2s"
"""For runs that go on after the silence: all their other answers have to come in that time, on a busy machine too."""


@pytest.mark.parametrize("fault", READS)
@pytest.mark.parametrize("name", [*READING, *EDITING, "restart"])
def test_reads(world, matrix, name, fault):
    happening, of_one, of_all = READS[fault]
    more = [SHORT] if fault == "silent" else []
    with once(world, name):
        for title, times, expected in (("every", None, of_all), ("first", 1, of_one)):
            world.proxy.heal()
            injected = world.proxy.inject(happening, reads, times=times)
            done = under(world, matrix, injected, name, *more, title=f"{title} read {fault}", expected=expected)
            assert expected == RIGHT or not any(map(writes, world.proxy.requests))
            if title == "every" and expected == RIGHT:
                break  # there is nothing left to do
    if name in READING and expected == RIGHT:
        assert json.loads(done.stdout) == json.loads(world.run(VERBS[name]).stdout)


@pytest.mark.parametrize("name", [*READING, *EDITING])
def test_each_read_in_turn(world, matrix, name):
    """Whichever read fails: the run ends in an error, and has written nothing."""
    verb, ended = VERBS[name], 0
    with once(world, name):
        before = world.lists(), world.generations()
        while True:
            world.proxy.heal()
            injected = world.proxy.inject(faults.answered(faults.BROKEN), reads, times=1, skipped=ended)
            done = world.run(verb)
            if not injected.injected:
                break
            assert outcome(verb, done) == ERROR
            assert (world.lists(), world.generations()) == before
            ended += 1
        assert outcome(verb, done) == RIGHT
    assert ended >= 4
    matrix[name, "each read in turn 500"] = f"{ended} times {ERROR}"


LISTINGS = {
    "410, then on": (faults.expired, 1, RIGHT),
    "410, then anew": (faults.answered(faults.GONE), 1, RIGHT),
    "410 always": (faults.answered(faults.GONE), None, RIGHT),
}


@pytest.mark.parametrize("fault", LISTINGS)
@pytest.mark.parametrize("name", [*READING, *EDITING, "restart"])
def test_expired_continue_tokens(world, matrix, name, fault):
    happening, times, expected = LISTINGS[fault]
    with once(world, name):
        injected = world.proxy.inject(happening, faults.goes_on, times=times)
        world.proxy.inject(faults.paged(1), reads)
        under(world, matrix, injected, name, title=f"continue {fault}", expected=expected)
        assert world.proxy.count(410) == injected.injected


UNKNOWN = "the edit may have been carried out, or not"
WRITES = {
    "reset": (faults.reset, 1, ERROR, RIGHT),
    "reset always": (faults.reset, None, ERROR, ERROR),
    "reset, carried out": (faults.reset_after, 1, ERROR, RIGHT),
    "429": (faults.answered(faults.BUSY), 1, RIGHT, RIGHT),
    "429 always": (faults.answered(faults.BUSY), None, ERROR, ERROR),
    "500": (faults.answered(faults.BROKEN), 1, ERROR, ERROR),
    "503": (faults.answered(faults.AWAY), 1, ERROR, RIGHT),
    "504, carried out": (faults.answered_after(faults.LATE), 1, ERROR, RIGHT),
    "slow": (faults.slow, None, RIGHT, RIGHT),
    "truncated": (faults.truncated, 1, ERROR, RIGHT),
    "silent": (faults.silent, 1, ERROR, RIGHT),
    "409 always": (faults.answered(faults.CONFLICT), None, ERROR, ERROR),
}
"""What happens to the write of a verb and how often, and what comes of it.

An edit's write has the version as its condition, and it cannot be told whether the first of two went through; a
restart's may be sent again. Of a verb that edits and restarts it is the write that starts a rollout.
"""
NOT_CARRIED_OUT = ("429 always", "409 always")
CARRIED_OUT = ("reset, carried out", "504, carried out", "truncated")


@pytest.mark.parametrize("fault", WRITES)
@pytest.mark.parametrize("name", [*EDITING, *ROLLING])
def test_writes(world, matrix, monkeypatch, name, fault):
    happening, times, of_edit, of_restart = WRITES[fault]
    if fault == "409 always":
        monkeypatch.setattr(edit, "_PATIENCE", 0.3)
    verb = VERBS[name]
    conditional = name not in ("restart", "exclude-port --restart")
    expected = of_edit if conditional else of_restart
    more = [SHORT if expected == ERROR else LONG] if fault == "silent" else []
    with once(world, name):
        before = state(world, verb)
        injected = world.proxy.inject(happening, rolls if verb.waits else writes, times=times)
        done = under(world, matrix, injected, name, *more, title=f"write {fault}", expected=expected)
        if expected == ERROR:
            assert (state(world, verb) == before) == (fault not in CARRIED_OUT)
            assert (UNKNOWN in done.stderr) == (conditional and fault not in NOT_CARRIED_OUT)


def rolls(request: Request) -> bool:
    """A write that starts a rollout."""
    return writes(request) and "/deployments/" in request.path


def state(world: World, verb: Verb) -> object:
    """What the write of a verb changes."""
    return world.generations() if verb.waits else (world.lists(), world.generations())


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.edits])
def test_conflicts(world, matrix, name):
    """Somebody else adds an entry just before each of the first three writes: the server itself refuses those."""
    verb = VERBS[name]
    edited, place = verb.edits
    prepare(world, verb)
    generations, wanted = world.generations(), world.lists()
    theirs = iter(
        [7001, 7002, 7003] if edited == "exclude-port" else [f"203.0.113.{number}/32" for number in (1, 2, 3)]
    )

    def write():
        wanted[verb.edits] += [next(theirs) if place == "mesh" else str(next(theirs))]
        world.put(place, {edited: wanted[verb.edits]})

    injected = world.proxy.inject(faults.overtaken(write), writes, times=3)
    under(world, matrix, injected, name, title="write 409, and somebody else's entry, three times", expected=RIGHT)
    assert world.proxy.count(409) >= 3
    assert world.lists() == wanted | {verb.edits: [*wanted[verb.edits], verb.entry]}
    by_others = [3 * (name == place) for name in WORKLOADS]
    assert rolled(world, generations) == tuple(map(sum, zip(verb.rolls, by_others, strict=True)))


TRIES = {
    "reset": (faults.reset, 1, RIGHT),
    "reset always": (faults.reset, None, ERROR),
    "429": (faults.answered(faults.BUSY), 1, RIGHT),
    "500": (faults.answered(faults.BROKEN), 1, ERROR),
    "slow": (faults.slow, None, RIGHT),
    "truncated": (faults.truncated, 1, RIGHT),
}
"""What happens where the injector is asked what the next pod will be."""


@pytest.mark.parametrize("fault", TRIES)
def test_asking_the_injector(world, matrix, fault):
    name = "restart"
    happening, times, expected = TRIES[fault]
    with once(world, name):
        injected = world.proxy.inject(happening, tries, times=times)
        done = under(world, matrix, injected, name, title=f"dry run {fault}", expected=expected)
        assert ("could not be asked" in done.stderr) == (fault == "500")


@pytest.mark.parametrize("fault", READS)
def test_reads_while_a_rollout_is_watched(world, matrix, fault):
    """Of the objects that own a new pod, one by one: lists are the watches' own, which have more patience."""
    happening, _, _ = READS[fault]
    more = [LONG] if fault == "silent" else []
    with once(world, "restart"):

        def later(request):
            return reads(request) and "limit" not in request.query and any(map(rolls, world.proxy.requests))

        injected = world.proxy.inject(happening, later, times=1)
        title = f"read of an owner in a rollout {fault}"
        expected = ERROR if fault == "500" else RIGHT
        under(world, matrix, injected, "restart", *more, title=title, expected=expected)


WATCHES = {
    "reset": (faults.reset, ERROR),
    "410": (faults.answered(faults.GONE), RIGHT),
    "429": (faults.answered(faults.BUSY), ERROR),
    "500": (faults.answered(faults.BROKEN), ERROR),
    "503": (faults.answered(faults.AWAY), ERROR),
    "silent": (faults.silent, ERROR),
    "stalled": (faults.stalled, RIGHT),
    "broken off": (faults.broken_off, RIGHT),
}
"""What happens to watches, and what comes of it where it happens to each of them."""


@pytest.mark.parametrize("fault", WATCHES)
@pytest.mark.parametrize("name", ROLLING)
def test_watches_that_go_wrong_twice(world, matrix, name, fault):
    with once(world, name):
        injected = world.proxy.inject(WATCHES[fault][0], watches, times=2)
        under(world, matrix, injected, name, title=f"two watches {fault}", expected=RIGHT)


@pytest.mark.parametrize("fault", WATCHES)
def test_watches_that_go_wrong_always(world, matrix, fault):
    happening, expected = WATCHES[fault]
    with once(world, "restart"):
        injected = world.proxy.inject(happening, watches)
        under(world, matrix, injected, "restart", title=f"every watch {fault}", expected=expected)
        assert injected.injected > 2


def test_the_api_server_is_killed_in_the_middle_of_a_rollout(world, matrix):
    """While it is away each other verb ends in one error; the restart waits for it, and is done when it is back."""
    control_plane, restart = world.control_plane, VERBS["restart"]
    plugin, here = Plugin(control_plane.path_env), InProcess(control_plane.kubeconfig)
    for name in ("redis", "held"):
        control_plane.api("DELETE", world.path(name))
    control_plane.api("PATCH", world.path("web"), {"spec": {"replicas": 3, "minReadySeconds": 1}}, MERGE_PATCH)
    ready_pods(control_plane, world.shop, "web", 3)
    world.outdate()
    before = control_plane.api("GET", world.path("web"))["metadata"]["generation"]
    with ThreadPoolExecutor(1) as pool:
        rollout = pool.submit(world.run, restart, plugin=plugin)
        control_plane.wait(
            lambda: control_plane.api("GET", world.path("web"))["status"].get("readyReplicas") == 4, "a new pod"
        )
        control_plane.kill_api_server()
        for name in [*READING, *EDITING]:
            done = world.run(VERBS[name], plugin=here)
            assert outcome(VERBS[name], done) == ERROR
            assert "refused the connection" in the_error(done)
            assert UNKNOWN not in done.stderr
            matrix[name, "the API server killed"] = ERROR
        assert not rollout.done()
        control_plane.start_api_server()
        done = rollout.result()
    matrix["restart", "the API server killed"] = outcome(restart, done)
    assert done.returncode == 0, done.stderr
    (item,) = report(done)["items"]
    assert (item["result"], item["verified"]) == ("done", 3)
    again = world.run(restart, plugin=plugin)
    assert report(again)["items"][0]["result"] == "current"
    assert control_plane.api("GET", world.path("web"))["metadata"]["generation"] == before + 1
