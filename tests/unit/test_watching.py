"""Keeping objects in view, against a server that does what production does to a connection."""

from __future__ import annotations

import json
import signal
import ssl
import threading
import time
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.exceptions import NewConnectionError, SSLError

from kubectl_fsm.cluster import credentials, kube, manifests, watching
from kubectl_fsm.cluster.interface import NAMESPACES, PAGE, PODS, SERVICES, View
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, Forbidden, InvalidObject, ManifestError, NotFound, Unreachable
from tests.support.api_server import Answer, ApiServer, base64_text, kubeconfig, running, status
from tests.support.keyboard import ctrl_c_ends

PATH = "/api/v1/namespaces/shop/pods"
SERVICES_PATH = "/api/v1/namespaces/shop/services"
VIEW = View(PODS, "shop")
WATCH = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "50"}
SECONDS = 5
"""After so many a test gives up."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Pauses of a millisecond; a watch may be as short as it likes."""
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(watching, "SHORT_SECONDS", 0.0)


@pytest.fixture
def server():
    with running(ApiServer()) as started:
        yield started


class Stay:
    """Makes streams that stay open until all is over."""

    def __init__(self):
        self.over = threading.Event()

    def __call__(self, *chunks):
        yield from chunks
        self.over.wait(SECONDS)


@pytest.fixture
def stay():
    made = Stay()
    yield made
    made.over.set()


@pytest.fixture
def cluster(server, tmp_path):
    return connect(tmp_path, server)


def connect(folder, server, user=None, *, authority=None, **options):
    trust = {"certificate-authority-data": base64_text(authority.cert_pem.bytes())} if authority else None
    return kube.connect(ConnectionOptions(kubeconfig=kubeconfig(folder, server.url, user, trust), **options))


def pod(name, version, **labels):
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version), "labels": labels}}


def listing(version, *pods, more=""):
    return Answer({"items": pods, "metadata": {"resourceVersion": str(version), "continue": more}})


def event(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def added(name, version, **labels):
    return event("ADDED", pod(name, version, **labels))


def bookmark(version):
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}})


def stream(*chunks, cut=0):
    return Answer(iter(chunks), cut=cut)


def cut_off(*chunks, version=""):
    """A stream whose connection is reset, with a version after that has been seen: a reset overtakes what was sent."""
    yield from chunks
    eventually(lambda: not version or version in [watcher.contents.version for watcher in watchers()])
    raise ConnectionError


def names(objects):
    return [obj["metadata"]["name"] for obj in objects]


def until(states, wanted):
    """Read on until the only view has the objects of these names."""
    end = time.monotonic() + SECONDS
    for (objects,) in states:
        if names(objects) == wanted.split():
            return objects
        assert time.monotonic() < end, f"{names(objects)}, not {wanted}"
    raise AssertionError("the generator ended")


def eventually(predicate):
    end = time.monotonic() + SECONDS
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.002)


def watchers():
    return [thread for thread in threading.enumerate() if isinstance(thread, watching._Watch)]


class TestStates:
    def test_the_objects_now_and_at_once_after_each_change(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "TICK_SECONDS", SECONDS)
        started = time.monotonic()
        changes = [threading.Event() for _ in range(3)]

        def change():
            events = [added("b", 11), event("MODIFIED", pod("a", 12, x="y")), event("DELETED", pod("b", 13))]
            for awaited, line in zip(changes, events, strict=True):
                awaited.wait(SECONDS)
                yield line
            yield from stay()

        server.answer(PATH, listing(10, pod("a", 7)), Answer(change()))
        with closing(cluster.observe(VIEW)) as states:
            (objects,) = next(states)
            assert objects == [{"apiVersion": "v1", "kind": "Pod", **pod("a", 7)}]
            changes[0].set()
            (objects,) = next(states)
            assert objects[1] == {"apiVersion": "v1", "kind": "Pod", **pod("b", 11)}
            changes[1].set()
            (objects,) = next(states)
            assert objects[0] == {"apiVersion": "v1", "kind": "Pod", **pod("a", 12, x="y")}
            changes[2].set()
            (objects,) = next(states)
            assert names(objects) == ["a"]
        assert time.monotonic() - started < SECONDS / 2

    def test_requests(self, server, cluster, stay):
        server.answer(PATH, listing(10, pod("a", 7)), Answer(stay()))
        with closing(cluster.observe(View(PODS, "shop", "app in (a,b)"))) as states:
            next(states)
            eventually(lambda: len(server.requests) == 2)
        listed, watched = server.requests
        assert listed.query == {"limit": str(PAGE), "labelSelector": "app in (a,b)"}
        assert watched.query == {**WATCH, "resourceVersion": "10", "labelSelector": "app in (a,b)"}
        assert (watched.headers["Connection"], watched.headers["Accept-Encoding"]) == ("close", "identity")

    def test_an_object_by_its_name(self, server, cluster, stay):
        server.answer(PATH, listing(10), Answer(stay(added("we,b=", 11), event("DELETED", pod("we,b=", 12)))))
        with closing(cluster.observe(View(PODS, "shop", name="we,b="))) as states:
            until(states, "")
            eventually(lambda: len(server.requests) == 2)
        assert {request.query["fieldSelector"] for request in server.requests} == {r"metadata.name=we\,b\="}

    def test_all_namespaces(self, server, cluster, stay):
        elsewhere = {"metadata": {**pod("a", 11)["metadata"], "namespace": "bank"}}
        server.answer("/api/v1/pods", listing(10, pod("a", 7)), Answer(stay(event("ADDED", elsewhere))))
        with closing(cluster.observe(View(PODS, ""))) as states:
            assert [obj["metadata"]["namespace"] for obj in until(states, "a a")] == ["bank", "shop"]

    def test_what_can_be_no_name_is_not_sent(self, server, cluster):
        with pytest.raises(InvalidObject):
            cluster.observe(View(PODS, "../secrets"))
        assert server.requests == []

    def test_pages(self, server, cluster, stay):
        server.answer(PATH, listing(10, pod("b", 1), more="x"), listing(10, pod("a", 2)), Answer(stay()))
        with closing(cluster.observe(VIEW)) as states:
            assert names(next(states)[0]) == ["a", "b"]
        assert server.requests[1].query == {"limit": str(PAGE), "continue": "x"}

    def test_an_expired_page_starts_the_list_again(self, server, cluster, stay):
        server.answer(
            PATH,
            listing(10, pod("a", 1), more="x"),
            status(410, "Expired", "too old", metadata={"continue": "inconsistent"}),
            listing(20, pod("b", 2)),
            Answer(stay()),
        )
        with closing(cluster.observe(VIEW)) as states:
            assert names(next(states)[0]) == ["b"]
        assert server.requests[2].query == {"limit": str(PAGE)}

    def test_several_views(self, server, cluster, stay):
        listed = threading.Event()

        def late(_request):
            listed.wait(SECONDS)
            return listing(3)

        server.answer(PATH, listing(10, pod("a", 7)), Answer(stay()))
        server.answer(SERVICES_PATH, late, Answer(stay(added("s", 4))))
        with closing(cluster.observe(VIEW, View(SERVICES, "shop"))) as states:
            threading.Timer(0.05, listed.set).start()
            pods, services = next(states)
            assert listed.is_set()
            while not services:
                pods, services = next(states)
        assert (names(pods), names(services), services[0]["kind"]) == (["a"], ["s"], "Service")

    def test_unchanged_states_come_with_every_tick(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)
        server.answer(PATH, listing(10, pod("a", 7)), Answer(stay()))
        with closing(cluster.observe(VIEW)) as states:
            assert [names(next(states)[0]) for _ in range(3)] == [["a"]] * 3

    def test_what_happens_meanwhile_is_one_change(self, server, cluster, stay):
        events = [added(f"p{number}", 11 + number) for number in range(100)]
        server.answer(PATH, listing(10), Answer(stay(*events)))
        with closing(cluster.observe(VIEW)) as states:
            next(states)
            (watcher,) = watchers()
            eventually(lambda: watcher.contents.version == "110")
            assert len(next(states)[0]) == 100

    def test_bookmarks_and_unknown_events_change_nothing(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "TICK_SECONDS", 0.1)
        server.answer(
            PATH, listing(10, pod("a", 7)), stream(bookmark(12), event("RENAMED", pod("a", 99))), Answer(stay())
        )
        with closing(cluster.observe(VIEW)) as states:
            before = next(states)
            eventually(lambda: len(server.requests) == 3)
            started = time.monotonic()
            assert next(states) == before
            assert time.monotonic() - started > 0.05
        assert server.requests[2].query["resourceVersion"] == "12"

    def test_a_large_object(self, server, cluster, stay):
        large = added("b", 11, blob="x" * 5_000_000)
        pieces = [large[start : start + 70_000] for start in range(0, len(large), 70_000)]
        server.answer(PATH, listing(10), Answer(stay(*pieces)))
        with closing(cluster.observe(VIEW)) as states:
            assert len(until(states, "b")[0]["metadata"]["labels"]["blob"]) == 5_000_000

    def test_log(self, server, tmp_path, stay):
        said = []
        server.answer(PATH, listing(10), Answer(stay(added("a", 11))))
        with closing(connect(tmp_path, server, {"token": "secret"}, log=said.append).observe(VIEW)) as states:
            until(states, "a")
        listed, watched = said
        assert listed.startswith(f"GET {server.url}{PATH}?limit={PAGE} 200 in ")
        assert watched.startswith(f"GET {server.url}{PATH}?watch=1&")
        assert "secret" not in f"{listed}{watched}"


def html(code):
    return Answer(b"<html>busy</html>", code, {"Content-Type": "text/html"})


class TestGoingOn:
    """After an end or a failure the watch goes on from the last version that it has seen."""

    ENDS = {  # noqa: RUF012
        "the server ends the watch": lambda: stream(added("a", 11)),
        "reset": lambda: Answer(cut_off(added("a", 11), version="11")),
        "cut between chunks": lambda: stream(added("a", 11), cut=1),
        "reset inside a line": lambda: Answer(cut_off(added("a", 11) + added("b", 12)[:-5], version="11")),
        "ended inside a line": lambda: stream(added("a", 11), added("b", 12)[:-5]),
        "ended before the line feed": lambda: stream(added("a", 11), added("b", 12)[:-1]),
        "broken JSON": lambda: stream(added("a", 11), b'{"type": "ADDED", "obj\n', added("b", 12)),
        "JSON that is no event": lambda: stream(added("a", 11), b"[]\n", added("b", 12)),
    }

    @pytest.mark.parametrize("end", ENDS)
    def test_after_an_end(self, server, cluster, stay, end):
        server.answer(PATH, listing(10), self.ENDS[end](), Answer(stay(added("z", 13))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a z")
        assert [request.query.get("resourceVersion") for request in server.requests] == [None, "10", "11"]

    FAILURES = {  # noqa: RUF012
        "429": status(429, "TooManyRequests", "later"),
        "429 with Retry-After": Answer(b"later", 429, {"Retry-After": "0"}),
        "500": status(500, "InternalError", "no"),
        "502": html(502),
        "503": status(503, "ServiceUnavailable", "no"),
        "504": status(504, "Timeout", "Too large resource version"),
        "a login page": html(200),
        "a redirect": Answer(b"", 302, {"Location": "https://login.example/"}),
    }

    @pytest.mark.parametrize("failure", FAILURES)
    @pytest.mark.parametrize("times", [1, 5])
    def test_after_a_failure(self, server, cluster, stay, failure, times):
        server.answer(
            PATH,
            *[self.FAILURES[failure]] * times,
            listing(10),
            stream(added("a", 11)),
            *[self.FAILURES[failure]] * times,
            Answer(stay(added("z", 13))),
        )
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a z")
        versions = [request.query.get("resourceVersion") for request in server.requests]
        assert versions == [None] * (times + 1) + ["10"] + ["11"] * (times + 1)

    @pytest.mark.parametrize(
        "error", [NewConnectionError(None, "refused"), SSLError("bad record mac"), ConnectionResetError()]
    )
    def test_after_no_answer(self, server, cluster, stay, monkeypatch, error):
        request, asked = cluster._pool.request, []

        def unreliable(method, url, **more):
            asked.append(url)
            if len(asked) in (1, 2, 5, 6):
                raise error
            return request(method, url, **more)

        monkeypatch.setattr(cluster._pool, "request", unreliable)
        server.answer(PATH, listing(10), stream(added("a", 11)), Answer(stay(added("z", 13))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a z")
        assert [request.query.get("resourceVersion") for request in server.requests] == [None, "10", "11"]
        assert len(asked) == 7

    def test_from_a_bookmark(self, server, cluster, stay):
        server.answer(PATH, listing(10), stream(bookmark(25)), Answer(stay(added("z", 26))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "z")
        assert server.requests[2].query == {**WATCH, "resourceVersion": "25"}

    def test_after_silence(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "SILENT_SECONDS", 0.5)
        server.answer(PATH, listing(10), Answer(stay(added("a", 11))), Answer(stay(added("z", 12))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a z")
        assert server.requests[2].query["resourceVersion"] == "11"

    def test_the_request_timeout_does_not_end_a_watch(self, server, tmp_path, stay):
        def slow():
            yield added("a", 11)
            time.sleep(1.2)
            yield from stay(added("b", 12))

        server.answer(PATH, listing(10), Answer(slow()))
        with closing(connect(tmp_path, server, request_timeout="800ms").observe(VIEW)) as states:
            until(states, "a b")
        assert len(server.requests) == 2

    def test_the_request_timeout_limits_a_list(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(watching, "PATIENCE", 0.0)
        come = threading.Event()

        def late(_request):
            come.wait(SECONDS)
            return listing(10)

        server.answer(PATH, late)
        with closing(connect(tmp_path, server, request_timeout="50ms").observe(VIEW)) as states:
            with pytest.raises(Unreachable, match="did not answer in time"):
                next(states)
            come.set()

    def test_credentials_are_those_of_the_moment(self, server, tmp_path, stay, monkeypatch):
        monkeypatch.setattr(credentials, "TOKEN_FILE_AGE", credentials.timedelta(0))
        token = tmp_path / "token"
        token.write_text("old")

        def renewed(_request):
            token.write_text("new")
            return stream(added("a", 11))

        server.answer(PATH, listing(10), renewed, Answer(stay(added("z", 12))))
        with closing(connect(tmp_path, server, {"tokenFile": str(token)}).observe(VIEW)) as states:
            until(states, "a z")
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == ["Bearer old", "Bearer old", "Bearer new"]


class TestListingAgain:
    """Where the server has forgotten the version, or nobody knows, what is there is listed; what is gone goes."""

    GONE = {  # noqa: RUF012
        "410": lambda: status(410, "Expired", "too old resource version"),
        "410 of a proxy": lambda: html(410),
        "event Expired": lambda: stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})),
        "event Gone": lambda: stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Gone"})),
        "event of something else": lambda: stream(event("ERROR", {"kind": "Status", "code": 500}), added("no", 9)),
    }

    @pytest.mark.parametrize("gone", GONE)
    def test_gone(self, server, cluster, stay, gone):
        again = listing(20, pod("b", 15), pod("c", 16))
        server.answer(PATH, listing(10, pod("a", 7), pod("b", 8)), self.GONE[gone](), again, Answer(stay()))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "b c")
            eventually(lambda: len(server.requests) == 4)
        versions = [request.query.get("resourceVersion") for request in server.requests]
        assert versions == [None, "10", None, "20"]

    @pytest.mark.parametrize("end", [stream, lambda: stream(cut=1)], ids=["ended", "cut"])
    def test_where_no_stream_comes_through(self, server, cluster, monkeypatch, end):
        monkeypatch.setattr(watching, "SHORT_SECONDS", 1.0)
        lists = [listing(10, pod("a", 7)), listing(20, pod("b", 8)), listing(30, pod("c", 9))]
        server.answer(PATH, *(answer for each in lists for answer in (each, end())), html(401))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a")
            with pytest.raises(ApiError, match="401"):
                until(states, "never")
        assert ["watch" in request.query for request in server.requests] == [False, True] * 3 + [False]

    @pytest.mark.parametrize("end", ["silent", "cut"])
    def test_a_watch_that_failed_before_it_brought_anything(self, server, cluster, stay, monkeypatch, end):
        monkeypatch.setattr(watching, "SILENT_SECONDS", 0.5)
        nothing = Answer(stay()) if end == "silent" else stream(cut=1)
        server.answer(PATH, listing(10, pod("a", 7)), nothing, listing(20, pod("b", 8)), Answer(stay(bookmark(21))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "b")
        assert [request.query.get("resourceVersion") for request in server.requests[:3]] == [None, "10", None]

    def test_a_collection_without_versions(self, server, cluster):
        """Aggregated APIs may have none: then there is nothing from which a watch could go on."""
        server.answer(PATH, listing("", pod("a", 1)), listing("", pod("b", 2)))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "b")
        assert "watch" not in server.requests[1].query


class TestGivingUp:
    @pytest.mark.parametrize("answers", [(html(503),), (listing(10), html(503))], ids=["list", "watch"])
    def test_patience_ends(self, server, cluster, monkeypatch, answers):
        monkeypatch.setattr(watching, "PATIENCE", 0.5)
        server.answer(PATH, *answers)
        started = time.monotonic()
        with closing(cluster.observe(VIEW)) as states, pytest.raises(ApiError) as error:
            until(states, "never")
        assert time.monotonic() - started > 0.5
        verb = "watch" if len(answers) == 2 else "list"
        assert error.value.message == f"{verb} pods in namespace shop: the server answered 503 Service Unavailable"
        assert len(server.requests) > len(answers)

    def test_a_redirect_is_no_watch(self, server, cluster, monkeypatch):
        monkeypatch.setattr(watching, "PATIENCE", 0.05)
        server.answer(PATH, listing(10), Answer(b"", 302, {"Location": "https://login.example/"}))
        with closing(cluster.observe(VIEW)) as states, pytest.raises(Unreachable, match=r"to https://login\.example/"):
            until(states, "never")

    def test_a_list_renews_the_patience(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "PATIENCE", 0.5)
        for pause in ("FIRST_PAUSE", "LONGEST_PAUSE"):
            monkeypatch.setattr(watching, pause, 0.2)
        gone = status(410, "Expired", "too old resource version")
        server.answer(PATH, *[listing(10), gone] * 10, listing(20, pod("z", 19)), Answer(stay()))
        started = time.monotonic()
        with closing(cluster.observe(VIEW)) as states:
            until(states, "z")
        assert time.monotonic() - started > 2 * watching.PATIENCE

    def test_a_watch_renews_the_patience(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "PATIENCE", 0.5)

        def long():
            yield added("a", 11)
            time.sleep(2 * watching.PATIENCE)

        server.answer(PATH, listing(10), Answer(long()), html(503), Answer(stay(added("z", 12))))
        with closing(cluster.observe(VIEW)) as states:
            until(states, "a z")

    def test_patience_ends_without_an_answer(self, server, cluster, monkeypatch):
        monkeypatch.setattr(watching, "PATIENCE", 0.05)

        def refuse(*_args, **_more):
            raise NewConnectionError(None, "no route")

        def go_down(_request):
            monkeypatch.setattr(cluster._pool, "request", refuse)
            return stream(added("a", 11))

        server.answer(PATH, listing(10), go_down)
        with closing(cluster.observe(VIEW)) as states, pytest.raises(Unreachable, match="no route"):
            until(states, "never")

    @pytest.mark.parametrize(
        ("code", "kind"), [(400, ApiError), (401, ApiError), (403, Forbidden), (404, NotFound), (405, ApiError)]
    )
    @pytest.mark.parametrize("verb", ["list", "watch"])
    def test_what_does_not_go_away(self, server, cluster, monkeypatch, *, code, kind, verb):
        monkeypatch.setattr(watching, "TICK_SECONDS", SECONDS)
        started = time.monotonic()
        server.answer(PATH, *([listing(10)] if verb == "watch" else []), html(code))
        with closing(cluster.observe(VIEW)) as states, pytest.raises(kind) as error:
            until(states, "never")
        assert error.value.status == code
        assert error.value.message.startswith((f"{verb} pods", "the server does not serve pods"))
        assert len(server.requests) == (2 if verb == "watch" else 1)
        assert watchers() == []
        assert time.monotonic() - started < SECONDS / 2

    def test_the_missing_right(self, server, cluster, stay):
        server.answer(PATH, listing(10), Answer(stay()))
        server.answer(SERVICES_PATH, listing(10), status(403, "Forbidden", 'services "web" is forbidden'))
        with closing(cluster.observe(VIEW, View(SERVICES, "shop", name="web"))) as states:
            with pytest.raises(Forbidden) as error:
                list(states)
            assert error.value.hint.startswith("ask for the right to watch services web in namespace shop; check: ")
            assert "kubectl auth can-i watch services/web -n shop" in error.value.hint

    def test_an_object_of_another_shape(self, server, cluster):
        server.answer(PATH, listing(10), stream(event("ADDED", {"metadata": []})))
        with closing(cluster.observe(VIEW)) as states, pytest.raises(InvalidObject):
            until(states, "never")


class Watches:
    """The requests of a view whose watches fail with an error or bring an event, as these say in turn."""

    def __init__(self, *outcomes, retry_after=0.0):
        self.view = VIEW
        self.outcomes = list(outcomes)
        self.retry_after = retry_after

    def listed(self):
        return [], "1"

    @contextmanager
    def watched(self, _version):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        yield None, iter([json.loads(outcome)])


class TestPauses:
    """Before another attempt: what `_Watch` waits for, in seconds, until the outcomes are used up."""

    @pytest.fixture
    def waited(self, monkeypatch):
        monkeypatch.setattr(watching, "FIRST_PAUSE", 0.2)
        monkeypatch.setattr(watching, "LONGEST_PAUSE", 5.0)
        between = []

        def highest(low, high):
            between.append((low, high))
            return high

        monkeypatch.setattr(watching.random, "uniform", highest)

        def run(source):
            pauses = []
            watch = watching._Watch(source, threading.Condition())
            monkeypatch.setattr(watch._ended, "wait", pauses.append)
            monkeypatch.setattr(watch._ended, "is_set", lambda: not source.outcomes)
            watch.run()
            assert watch.error is None
            assert [low == high / 2 for low, high in between] == [True] * len(pauses)
            return pauses

        return run

    def test_they_grow(self, waited):
        assert waited(Watches(*[Unreachable("no")] * 7)) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    def test_a_success_makes_them_short_again(self, waited):
        down = Unreachable("no")
        assert waited(Watches(down, down, bookmark(7), bookmark(8), down, down)) == [0.2, 0.4, 0.2, 0.4]

    @pytest.mark.parametrize(
        "gone", [ApiError(410, "Expired", "too old"), event("ERROR", {"code": 410})], ids=["status", "event"]
    )
    def test_lists_again_and_again_are_not_hurried(self, waited, gone):
        assert waited(Watches(gone, gone, gone)) == [0.2, 0.4, 0.8]

    def test_as_long_as_the_server_asks(self, waited):
        busy = ApiError(429, "TooManyRequests", "later")
        assert waited(Watches(busy, busy, busy, retry_after=0.5)) == [0.5, 0.5, 0.8]

    @pytest.mark.parametrize(
        ("header", "seconds"), [("7", 7), ("30", 30), ("", 0), ("-1", 0), ("3600", 0), ("Fri, 31 Dec", 0)]
    )
    def test_what_the_server_asks(self, header, seconds):
        class Busy:
            status, headers, data = 503, {"Retry-After": header}, b""

        answers = [Busy]

        @contextmanager
        def opened(_query, _silence):
            if not answers:
                raise Unreachable("no answer")
            yield answers.pop()

        def decoded(*_):
            raise ApiError(503, "", "busy")

        source = watching.Source(VIEW, opened, decoded)
        with pytest.raises(ApiError):
            source.listed()
        assert source.retry_after == seconds
        with pytest.raises(Unreachable):
            source.listed()
        assert source.retry_after == 0


class TestEnding:
    @pytest.fixture(params=["http", "https"])
    def ready(self, request, tmp_path):
        """A server and a cluster that reaches it."""
        authority = trustme.CA() if request.param == "https" else None
        tls = None
        if authority:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(tls)
        with running(ApiServer(tls)) as server:
            yield server, connect(tmp_path, server, authority=authority)

    @staticmethod
    def seconds(states):
        started = time.monotonic()
        states.close()
        return time.monotonic() - started

    def test_a_watch_that_waits_for_events(self, ready, stay):
        server, cluster = ready
        server.answer(PATH, listing(10), Answer(stay(added("a", 11))))
        states = cluster.observe(VIEW)
        until(states, "a")
        assert self.seconds(states) < 0.5
        assert watchers() == []

    def test_a_pause(self, server, cluster, monkeypatch):
        monkeypatch.setattr(watching, "FIRST_PAUSE", 60)
        server.answer(PATH, listing(10), html(503))
        states = cluster.observe(VIEW)
        next(states)
        eventually(lambda: len(server.requests) == 2)
        assert self.seconds(states) < 0.5
        assert watchers() == []

    @pytest.mark.parametrize("answers", [0, 1], ids=["list", "watch"])
    def test_an_answer_that_does_not_come(self, server, cluster, stay, monkeypatch, answers):
        """It is not waited for; the thread ends when it comes, and reads no stream then."""
        monkeypatch.setattr(watching, "END_SECONDS", 0.05)
        come = threading.Event()

        def late(_request):
            come.wait(SECONDS)
            return Answer(stay(added("a", 12))) if answers else listing(11)

        server.answer(PATH, *[listing(10)] * answers, late)

        def forbidden(_request):
            eventually(lambda: len(server.requests) == 2 + answers)
            return html(403)

        server.answer(SERVICES_PATH, forbidden)
        states = cluster.observe(VIEW, View(SERVICES, "shop"))
        with pytest.raises(Forbidden):
            next(states)
        assert [thread.daemon for thread in watchers()] == [True]
        come.set()
        eventually(lambda: watchers() == [])
        assert len(server.requests) == 2 + answers

    def test_a_generator_that_was_never_begun(self, server, cluster):
        cluster.observe(VIEW).close()
        assert (server.requests, watchers()) == ([], [])

    def test_a_generator_that_is_forgotten(self, server, cluster, stay):
        server.answer(PATH, listing(10), Answer(stay()))
        next(cluster.observe(VIEW))
        eventually(lambda: watchers() == [])

    def test_nothing_piles_up(self, ready, stay):
        server, cluster = ready

        def held():
            return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

        def rounds(number):
            for _ in range(number):
                server.answer(PATH, listing(10), Answer(stay(added("a", 11))))
                server.answer(SERVICES_PATH, listing(10), Answer(stay()))
                with closing(cluster.observe(VIEW, View(SERVICES, "shop"))) as states:
                    while not next(states)[0]:
                        pass
                assert watchers() == []

        stay.over.set()
        rounds(2)
        before = held()
        rounds(50)
        eventually(lambda: all(now <= then + 2 for now, then in zip(held(), before, strict=True)))

    def test_other_requests_go_on(self, ready, stay):
        """Their connections are not those that are cut off."""
        server, cluster = ready
        server.answer("/api/v1/namespaces/shop", Answer({"kind": "Namespace"}))
        for _ in range(10):
            server.answer(PATH, listing(10), stream(added("a", 11)), Answer(stay(added("b", 12))))
            states = cluster.observe(VIEW)
            until(states, "a b")
            states.close()
            assert cluster.get(NAMESPACES, "shop") == {"kind": "Namespace"}

    def test_an_interrupt(self, server, cluster, stay, monkeypatch):
        monkeypatch.setattr(watching, "TICK_SECONDS", 30)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        server.answer(PATH, listing(10), Answer(stay()))
        states = cluster.observe(VIEW)
        next(states)
        started = time.monotonic()
        assert ctrl_c_ends(lambda: next(states), 0.1)
        assert time.monotonic() - started < 15
        assert watchers() == []
        signal.signal(signal.SIGINT, before)


class Store:
    """What an API server remembers of its pods, and how each of its watches ends: by `plan`, the last one stays open.

    A step of the plan: names that change before the watch is answered, how many events it brings, how it ends, and in
    pieces of how many bytes they come.
    """

    def __init__(self, plan, stay):
        self.plan = list(plan)
        self.stay = stay
        self.version = 10
        self.forgotten = 0
        self.pods = {}
        self.history = []
        self.done = threading.Event()

    def change(self, name, *, delete):
        self.version += 1
        kind = "ADDED" if name not in self.pods else "DELETED" if delete else "MODIFIED"
        new = pod(name, self.version)
        self.history.append((self.version, event(kind, new)))
        self.pods[name] = new
        if kind == "DELETED":
            del self.pods[name]

    def respond(self, request):
        if "watch" not in request.query:
            return listing(self.version, *self.pods.values())
        changes, count, end, size = self.plan.pop(0) if self.plan else ((), None, "stay", 50)
        for name, delete in changes:
            self.change(name, delete=delete)
        version = int(request.query["resourceVersion"])
        if end == "busy":
            return html(503)
        if version < self.forgotten:
            return status(410, "Expired", "too old")
        if end == "forget":
            self.forgotten = self.version
        text = b"".join([line for at, line in self.history if at > version][:count])
        if end == "bookmark" and count is None:
            text += bookmark(self.version)
        if end == "gone":
            text += event("ERROR", {"code": 410})
        if end == "torn":
            text = text[:-10]
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        if end == "stay":
            self.done.set()
            return Answer(self.stay(*chunks))
        return Answer(cut_off(*chunks)) if end == "reset" else Answer(iter(chunks), cut=end == "torn")


steps = st.tuples(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=4),
    st.one_of(st.none(), st.integers(0, 4)),
    st.sampled_from(["end", "reset", "torn", "gone", "forget", "busy", "bookmark"]),
    st.integers(1, 300),
)


@settings(max_examples=40, deadline=None)
@given(plan=st.lists(steps, max_size=6))
def test_the_view_becomes_what_the_server_has(tmp_path_factory, plan):
    stay = Stay()
    store = Store(plan, stay)
    with running(ApiServer()) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "TICK_SECONDS", 0.005)
        server.answer(PATH, store.respond)
        with closing(connect(tmp_path_factory.mktemp("config"), server).observe(VIEW)) as states:
            end = time.monotonic() + SECONDS
            for (objects,) in states:
                wanted = [{"apiVersion": "v1", "kind": "Pod", **store.pods[name]} for name in sorted(store.pods)]
                if store.done.is_set() and objects == wanted:
                    break
                assert time.monotonic() < end, (objects, wanted)
        stay.over.set()


@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\n", b"")), max_size=5), st.data())
def test_lines_in_any_pieces(wanted, data):
    text = b"".join(line + b"\n" for line in wanted) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
    assert list(watching.lines(pieces)) == wanted


def test_lines_come_as_soon_as_they_end():
    given_so_far = []

    def chunks():
        for chunk in (b"a\nb", b"c\n", b"d"):
            given_so_far.append(chunk)
            yield chunk

    found = watching.lines(chunks())
    assert (next(found), given_so_far) == (b"a", [b"a\nb"])
    assert (next(found), given_so_far) == (b"bc", [b"a\nb", b"c\n"])


class TestTryCreate:
    OBJECT = {"metadata": {"generateName": "web-"}, "spec": {"containers": []}}  # noqa: RUF012

    def test_request(self, server, cluster):
        server.answer(PATH, Answer({"kind": "Pod"}, 201))
        assert cluster.try_create(PODS, "shop", self.OBJECT) == {"kind": "Pod"}
        (request,) = server.requests
        assert (request.method, request.body) == ("POST", self.OBJECT)
        assert request.query == {"dryRun": "All", "fieldManager": "fsm-plugin"}
        assert request.headers["Content-Type"] == "application/json"

    def test_it_may_be_sent_again(self, server, cluster, monkeypatch):
        """Nothing is stored, so twice is as good as once."""
        request, dropped = cluster._pool.request, [ConnectionResetError()]

        def unreliable(*args, **more):
            if dropped:
                raise dropped.pop()
            return request(*args, **more)

        monkeypatch.setattr(cluster._pool, "request", unreliable)
        server.answer(PATH, Answer({}, 429, {"Retry-After": "0"}), Answer({"kind": "Pod"}, 201))
        assert cluster.try_create(PODS, "shop", self.OBJECT) == {"kind": "Pod"}
        assert len(server.requests) == 2

    def test_the_missing_right(self, server, cluster):
        server.answer(PATH, status(403, "Forbidden", "no"))
        with pytest.raises(Forbidden) as error:
            cluster.try_create(PODS, "shop", self.OBJECT)
        assert "kubectl auth can-i create pods -n shop" in error.value.hint


def test_files_run_nothing(tmp_path):
    file = tmp_path / "pod.yaml"
    file.write_text("{apiVersion: v1, kind: Pod, metadata: {name: web}}")
    files = manifests.read([str(file)], None, None)
    asks = (
        lambda: files.observe(VIEW),
        lambda: files.try_create(PODS, "shop", {}),
        lambda: files.create(PODS, "shop", {}),
        lambda: files.delete(PODS, "web", "shop", ""),
        lambda: files.evict("web", "shop", ""),
        lambda: files.log("web", "shop", "app", 20),
    )
    for ask in asks:
        with pytest.raises(ManifestError, match="files run nothing"):
            ask()
