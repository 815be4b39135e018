"""Whole traces against the kernel: random worlds, and what a trace says of each is what happens there.

`proof` compares each connection with what the rules' functions say. What people read, the ways of the report, is
compared here with the landings themselves. `KUBECTL_FSM_CONNECTIONS` and `KUBECTL_FSM_SEED` are those of
`test_differential`; a failure names the world, which `worlds.world` makes again.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter, defaultdict
from contextlib import contextmanager, nullcontext

import pytest

from kubectl_fsm.cluster import manifests
from kubectl_fsm.errors import FsmError
from kubectl_fsm.meshes import SIDECAR_UID
from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Lab, Outcome, PodNet
from kubectl_fsm.operations import proof
from kubectl_fsm.operations.trace import trace
from kubectl_fsm.services import Kind
from kubectl_fsm.tracing import Decision, Result
from tests.kernel.test_differential import CONNECTIONS, SEED
from tests.support.worlds import OTHER_INTERFACE, RUNNING, STAND_INS, world

WORLDS = CONNECTIONS // 80
SECONDS = 0.5
"""After this silence a connection counts as dropped; in a lab that has long been up, an answer takes a millisecond."""
SIGMAS = 6
NOT_TO_BE_TRIED = (
    "it is not known which address is dialled",
    "internalTrafficPolicy Local: on which node",
    "where it leads is not known",
)


class Shared:
    """One lab for all worlds, in the place of those that `proof` would make; it remembers what was tried."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.tried = []

    def __call__(self, pods, backend):
        for pod in pods:
            for port, uid in pod.listeners.items():
                self.lab.listen(pod.name, [port], uid)
        self.tried.clear()
        return nullcontext(self)

    def load(self, pod, rules):
        self.lab.load(pod, rules)

    def load_node(self, rules):
        self.lab.load_node(rules)

    def connect_many(self, attempts):
        landings = self.lab.connect_many(attempts)
        self.tried.append(list(zip(attempts, landings, strict=True)))
        return landings


@pytest.fixture
def shared(backend, monkeypatch):
    pods = [
        PodNet(address, {"eth0": address, OTHER_INTERFACE: f"10.245.0.{number}"})
        for number, address in enumerate((*RUNNING, *STAND_INS), 1)
    ]
    with Lab(pods, backend, SECONDS) as lab:
        made = Shared(lab)
        monkeypatch.setattr(proof, "Lab", made)
        monkeypatch.setattr(proof, "backend", lambda: backend)
        yield made


def traced(one):
    documents = "\n---\n".join(map(json.dumps, one.objects))
    return trace(manifests.read(["-"], one.request.namespace, io.BytesIO(documents.encode())), one.request)


def promised(traced, course):
    """Where each connection goes by what the ways say: for origin, user and destination a number for each landing."""
    client, found = traced.client.address, defaultdict(Counter)
    for way in course.ways:
        for endpoint in way.endpoints or (None,):
            own = endpoint and way.outbound.destination in {one.socket for one in way.endpoints}
            dialled = endpoint.socket if own else way.outbound.destination
            share = (way.share or 0) / max(1, len(way.endpoints))
            found[client, traced.call.uid, dialled][called(way, endpoint, dialled, client)] += share
            if way.onward:
                found[client, SIDECAR_UID, endpoint.socket][forwarded(way, endpoint, client)] += 1
            if way.last:
                server = client if way.inbound is way.onward else endpoint.address
                found[server, SIDECAR_UID, f"127.0.0.1:{endpoint.port}"][server, way.last.port] += 1
    return found


def called(way, endpoint, dialled, client):
    """Where the application's connection goes."""
    if way.outbound.decision in (Decision.SIDECAR, Decision.REWRITTEN):
        return client, way.outbound.port
    if way.result in (Result.REFUSED, Result.NO_ANSWER):
        return {Result.REFUSED: "refused", Result.NO_ANSWER: "timed out"}[way.result]
    if endpoint is None:
        return OUTSIDE, dialled
    if (endpoint.address == client and way.inbound is None) or endpoint.address.startswith("127."):
        return client, endpoint.port
    return (endpoint.address, way.inbound.port) if way.inbound else (OUTSIDE, endpoint.socket)


def forwarded(way, endpoint, client):
    """Where the sidecar's connection goes."""
    if way.onward.decision is not Decision.DIRECT:
        return client, way.onward.port
    if endpoint.address == client:
        return client, endpoint.port
    return (endpoint.address, way.inbound.port) if way.inbound else (OUTSIDE, endpoint.socket)


def happened(tried):
    """Where each connection went."""
    found = defaultdict(Counter)
    for attempt, landing in tried:
        found[attempt.origin, attempt.uid, f"{attempt.destination}:{attempt.port}"][place(landing)] += 1
    return found


def place(landing):
    if landing.outcome is not Outcome.ACCEPTED:
        return landing.outcome.value
    if landing.place in (OUTSIDE, NODE):
        return landing.place, f"{landing.local.address}:{landing.local.port}"
    return landing.place, landing.local.port


def assert_shares(said, did):
    """Chance picks endpoints as often as the ways say; where they do not tell shares, there is nothing to say."""
    whole, calls = sum(said.values()), sum(did.values())
    for spot, share in said.items():
        if whole and calls > 1:
            part = share / whole
            assert abs(did[spot] - calls * part) <= SIGMAS * math.sqrt(calls * part * (1 - part)), (spot, said, did)


@contextmanager
def named(name, request):
    """Whatever fails says in which world."""
    try:
        yield
    except (AssertionError, FsmError) as error:
        raise AssertionError(f"world {name}, {request}: {error}") from error


def proven(found):
    """The report of a proof; None of a world that has nothing to try."""
    try:
        return proof.prove(found)
    except FsmError as error:
        if error.message.startswith(NOT_TO_BE_TRIED):
            return None
        raise


def test_what_a_trace_says_of_random_worlds_is_what_the_kernel_does(shared, backend, figure):
    count, results, kinds = Counter(), Counter(), set()
    for number in range(WORLDS):
        name = f"{SEED}-{number}"
        made = world(name)
        with named(name, made.request):
            found = traced(made)
            report = proven(found)
            if report is None:
                count["nothing to try"] += 1
                continue
            assert [trial for trial in report.trials if not trial.agrees] == []
            for moment, tried in zip(report.moments, shared.tried, strict=True):
                said, did = promised(found, moment.course), happened(tried)
                assert {key: set(spots) for key, spots in said.items()} == {
                    key: set(spots) for key, spots in did.items()
                }
                for key, spots in said.items():
                    assert_shares(spots, did[key])
                count["connections"] += len(tried)
                results.update(way.result for way in moment.course.ways)
                kinds |= {report.service.kind} if report.service else set()
    figure(
        f"traces against kernel ({backend}): {WORLDS} worlds, {count['connections']} connections, "
        f"{sum(results.values())} ways, seed {SEED}, 0 disagreements; {count['nothing to try']} worlds had nothing to try"
    )
    assert count["nothing to try"] < WORLDS / 10
    assert {Kind.BALANCED, Kind.REJECTED, Kind.DROPPED, Kind.HEADLESS} <= kinds
    assert set(Result) - set(results) <= {Result.LOOPS, Result.BETWEEN_MESHES, Result.UNKNOWN, Result.REWRITTEN}
