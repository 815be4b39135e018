from __future__ import annotations

import signal
import socket
import threading
import time

import pytest

from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import NAMESPACES, PODS, Resource
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable
from tests.support.api_server import Answer, ApiServer, kubeconfig, running, status
from tests.support.keyboard import ctrl_c_ends

MESH_CONFIGS = Resource("config.flomesh.io", "v1alpha3", "MeshConfig", "meshconfigs")
PATH = "/apis/config.flomesh.io/v1alpha3/namespaces/fsm-system/meshconfigs/fsm-mesh-config"
CALL = "patch meshconfigs.config.flomesh.io fsm-mesh-config in namespace fsm-system"


@pytest.fixture
def server():
    with running(ApiServer()) as started:
        yield started


def connect(folder, url, **options):
    return kube.connect(ConnectionOptions(kubeconfig=kubeconfig(folder, url), **options))


def hold(server, path):
    """Answer this path only when the event that is returned is set."""
    done = threading.Event()

    def wait(_request):
        done.wait(60)
        return Answer()

    server.answer(path, wait)
    return done


def patch(cluster):
    return cluster.patch(MESH_CONFIGS, "fsm-mesh-config", "fsm-system", {})


@pytest.mark.parametrize(
    ("answer", "kind", "text", "hint"),
    [
        (
            status(401, "Unauthorized", "Unauthorized"),
            ApiError,
            "Error from server (Unauthorized): Unauthorized",
            'log in again as user "ann" of context "test", or choose other credentials with --context or --user',
        ),
        (
            status(403, "Forbidden", 'meshconfigs.config.flomesh.io "fsm-mesh-config" is forbidden'),
            Forbidden,
            'Error from server (Forbidden): meshconfigs.config.flomesh.io "fsm-mesh-config" is forbidden',
            f"ask for the right to {CALL}; check: kubectl auth can-i patch meshconfigs.config.flomesh.io/fsm-mesh-config -n fsm-system",
        ),
        (
            status(403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/apis"'),
            Forbidden,
            'Error from server (Forbidden): forbidden: User "system:anonymous" cannot get path "/apis"',
            'the request showed no credentials that count: log in again as user "ann" of context "test", or choose other credentials with --context or --user',
        ),
        (
            status(404, "NotFound", 'meshconfigs "fsm-mesh-config" not found'),
            NotFound,
            'Error from server (NotFound): meshconfigs "fsm-mesh-config" not found',
            "see what is there: kubectl get meshconfigs.config.flomesh.io -n fsm-system",
        ),
        (
            Answer(b"404 page not found\n", 404, {"Content-Type": "text/plain"}),
            NotFound,
            "Error from server (NotFound): the server does not serve meshconfigs.config.flomesh.io",
            "see what is there: kubectl get meshconfigs.config.flomesh.io -n fsm-system",
        ),
        (
            status(409, "Conflict", "the object has been modified"),
            Conflict,
            "Error from server (Conflict): the object has been modified",
            "somebody else changed the object at the same time: try again",
        ),
        (
            status(
                422,
                "Invalid",
                "MeshConfig is invalid: \n* spec.a: Required value\n* spec.a: again",
                details={
                    "causes": [
                        {"field": "spec.a", "message": "Required value"},
                        {"field": "spec.b", "message": "too long"},
                        {"message": "no field"},
                    ]
                },
            ),
            ApiError,
            "Error from server (Invalid): MeshConfig is invalid: * spec.a: Required value * spec.a: again; spec.b: too long",
            "mend spec.a, spec.b: kubectl edit meshconfigs.config.flomesh.io fsm-mesh-config -n fsm-system",
        ),
        (
            Answer({"type": "error", "message": "must authenticate"}, 401),
            ApiError,
            "Error from server (Unauthorized): must authenticate",
            'log in again as user "ann" of context "test", or choose other credentials with --context or --user',
        ),
        (
            status(400, "BadRequest", "no"),
            ApiError,
            "Error from server (BadRequest): no",
            "the request itself is wrong: check names and selector",
        ),
        (
            status(500, "InternalError", "failed calling webhook"),
            ApiError,
            "Error from server (InternalError): failed calling webhook",
            "try again; if it stays so: kubectl get --raw '/readyz?verbose'",
        ),
        (
            Answer(b"<html>", 502, {"Content-Type": "text/html"}),
            ApiError,
            f"Error from server: {CALL}: the server answered 502 Bad Gateway",
            "try again; if it stays so: kubectl get --raw '/readyz?verbose'",
        ),
        (
            Answer({"kind": "Status", "reason": 5, "message": []}, 599),
            ApiError,
            f"Error from server: {CALL}: the server answered 599",
            "try again; if it stays so: kubectl get --raw '/readyz?verbose'",
        ),
    ],
)
def test_answers_of_an_api_server(server, tmp_path, *, answer, kind, text, hint):
    server.answer(PATH, answer)
    with pytest.raises(ApiError) as error:
        patch(connect(tmp_path, server.url))
    assert type(error.value) is kind
    assert (error.value.label + error.value.message, elsewhere(error.value.hint, tmp_path)) == (text, hint)
    assert error.value.status == answer.status


def elsewhere(hint, tmp_path):
    """The hint without the word that leads its command to this test's server; every kubectl command has it."""
    word = f" --kubeconfig={tmp_path / 'kubeconfig'}"
    assert hint.count(word) == hint.count("kubectl get ") + hint.count("kubectl auth") + hint.count("kubectl edit")
    return hint.replace(word, "")


@pytest.mark.parametrize(
    ("ask", "options", "message", "hint"),
    [
        (lambda cluster: list(cluster.list(PODS)), {}, "no", "kubectl auth can-i list pods -A"),
        (lambda cluster: list(cluster.list(PODS, "shop")), {}, "no", "kubectl auth can-i list pods -n shop"),
        (lambda cluster: cluster.get(NAMESPACES, "shop"), {}, "no", "kubectl auth can-i get namespaces/shop -A"),
        (lambda cluster: cluster.preferred_version("apps"), {}, "no", "kubectl auth can-i get /apis/apps"),
        (
            lambda cluster: cluster.get(PODS, "web", "shop"),
            {"as_user": "bob"},
            "no",
            "kubectl auth can-i get pods/web -n shop --as=bob",
        ),
        (
            lambda cluster: cluster.get(PODS, "web", "shop"),
            {"as_user": "bob"},
            'User "ann" cannot impersonate resource "users"',
            "kubectl auth can-i impersonate users/bob",
        ),
    ],
)
def test_the_right_that_is_missing(server, tmp_path, *, ask, options, message, hint):
    for path in ("/api/v1/pods", "/api/v1/namespaces/shop/pods", "/api/v1/namespaces/shop", "/apis/apps"):
        server.answer(path, status(403, "Forbidden", message))
    server.answer("/api/v1/namespaces/shop/pods/web", status(403, "Forbidden", message))
    with pytest.raises(Forbidden) as error:
        ask(connect(tmp_path, server.url, **options))
    assert elsewhere(error.value.hint, tmp_path).endswith(hint)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(b"<html>log in</html>", headers={"Content-Type": "text/html; charset=utf-8"}), "200 with text/html"),
        (Answer(b"", 302, {"Location": "https://login.example/"}), "a redirect to https://login.example/"),
        (Answer(b"[]"), "200 with application/json"),
        (Answer(b"\xff\xfe\xfd"), "200 with application/json"),
        (Answer(b"{}", 300), "300 with application/json"),
    ],
)
def test_answers_of_something_else(server, tmp_path, answer, what):
    server.answer(PATH, answer)
    with pytest.raises(Unreachable, match="no Kubernetes API") as error:
        patch(connect(tmp_path, server.url))
    assert f"{server.url} answered {what}" in error.value.message
    assert error.value.hint.startswith("a proxy or a login page")
    assert len(server.requests) == 1


class TestTransport:
    def message(self, folder, url, **options):
        with pytest.raises(Unreachable) as error:
            patch(connect(folder, url, **options))
        assert error.value.hint
        assert "\n" not in error.value.message
        assert error.value.__cause__ is not None
        return error.value.message

    def test_refused(self, tmp_path):
        assert self.message(tmp_path, "https://127.0.0.1:1") == "https://127.0.0.1:1 refused the connection"

    def test_a_login_in_the_address_is_not_shown(self, tmp_path):
        message = self.message(tmp_path, "https://ann:s3c@ret@127.0.0.1:1/k8s/")
        assert message == "https://127.0.0.1:1/k8s refused the connection"

    def test_no_such_host(self, tmp_path, monkeypatch):
        def unknown(*_args):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        message = self.message(tmp_path, "https://api.nowhere")
        assert message == "the host of https://api.nowhere cannot be resolved: Name or service not known"

    def test_no_route(self, tmp_path, monkeypatch):
        def unreachable(*_args):
            raise OSError(101, "Network is unreachable")

        monkeypatch.setattr(socket.socket, "connect", unreachable)
        assert self.message(tmp_path, "http://127.0.0.1:1").endswith("cannot be reached: Network is unreachable")

    def test_no_answer_in_time(self, server, tmp_path):
        done = hold(server, PATH)
        started = time.monotonic()
        assert self.message(tmp_path, server.url, request_timeout="100ms") == f"{server.url} did not answer in time"
        done.set()
        assert time.monotonic() - started < 3

    def test_no_connection_in_time(self, tmp_path, monkeypatch):
        def slow(*_args):
            raise TimeoutError

        monkeypatch.setattr(socket.socket, "connect", slow)
        assert self.message(tmp_path, "http://127.0.0.1:1").endswith("did not accept the connection in time")

    def test_the_answer_breaks_off(self, server, tmp_path):
        server.answer(PATH, Answer({"kind": "MeshConfig"}, cut=10))
        assert self.message(tmp_path, server.url) == f"the answer of {server.url} broke off"

    def test_the_connection_breaks_off(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            def accept_and_close():
                for _ in range(2):  # what can be sent again is
                    listener.accept()[0].close()

            hang_up = threading.Thread(target=accept_and_close)
            hang_up.start()
            message = self.message(tmp_path, f"http://127.0.0.1:{port}")
            hang_up.join(5)
        assert message == f"http://127.0.0.1:{port} closed the connection without an answer"

    def test_no_tls_there(self, server, tmp_path):
        url = server.url.replace("http", "https")
        assert self.message(tmp_path, url).startswith(f"TLS with {url} failed: [SSL")


@pytest.fixture
def interruptible():
    """Ctrl-C as on a terminal: a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_does_not_wait_for_calls_under_way(server, tmp_path):
    done = hold(server, "/api/v1/namespaces/a")
    cluster = connect(tmp_path, server.url)
    started = time.monotonic()
    assert ctrl_c_ends(lambda: cluster.gather(*[lambda: cluster.get(NAMESPACES, "a")] * 2), 0.2)
    assert time.monotonic() - started < 30
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    done.set()


def test_whether_a_right_was_denied_is_known(server, tmp_path):
    server.answer(
        PATH, status(404, "NotFound", "gone"), status(403, "Forbidden", "no"), status(404, "NotFound", "gone")
    )
    cluster = connect(tmp_path, server.url)
    seen = []
    for _ in range(3):
        with pytest.raises(ApiError):
            patch(cluster)
        seen.append(cluster.denied)
    assert seen == [False, True, True]
