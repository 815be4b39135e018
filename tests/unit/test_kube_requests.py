from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from subprocess import PIPE

import pytest

import kubectl_fsm
from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import DEPLOYMENTS, NAMESPACES, PAGE, PODS, Resource
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, CredentialError, Forbidden, InvalidObject, NotFound, Unanswered, Unreachable
from tests.support.api_server import Answer, ApiServer, kubeconfig, running, status

MESH_CONFIGS = Resource("config.flomesh.io", "v1alpha3", "MeshConfig", "meshconfigs")
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "Rollout", "rollouts", True, ("ro",))
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "uid": "1"}}


@pytest.fixture
def server():
    with running(ApiServer()) as started:
        yield started


@pytest.fixture
def cluster(server, tmp_path):
    return connect(tmp_path, server)


def connect(folder, server, user=None, **options):
    return kube.connect(ConnectionOptions(kubeconfig=kubeconfig(folder, server.url, user), **options))


def page(*uids, more=""):
    items = [{"metadata": {"name": f"p{uid}", "uid": uid}} for uid in uids]
    return Answer({"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": more}, "items": items})


def uids(pods):
    return [pod["metadata"]["uid"] for pod in pods]


class TestIdentity:
    def test_names(self, server, tmp_path):
        path = kubeconfig(tmp_path, server.url, namespace="shop")
        cluster = kube.connect(ConnectionOptions(kubeconfig=path))
        assert (cluster.origin, cluster.namespace, cluster.remote) == ("context test", "shop", True)
        assert server.requests == []

    def test_without_a_context_the_server_is_named(self, server, tmp_path):
        path = tmp_path / "config"
        path.write_text(f"clusters: [{{name: c, cluster: {{server: {server.url}/}}}}]")
        assert kube.connect(ConnectionOptions(kubeconfig=str(path), cluster="c")).origin == server.url


class TestGet:
    def test_namespaced(self, server, cluster):
        server.answer("/apis/apps/v1/namespaces/shop/deployments/web", Answer({"kind": "Deployment"}))
        assert cluster.get(DEPLOYMENTS, "web", "shop") == {"kind": "Deployment"}
        (request,) = server.requests
        assert (request.method, request.query, request.body) == ("GET", {}, None)
        assert request.headers["User-Agent"] == f"kubectl-fsm/{kubectl_fsm.__version__}"
        assert "Authorization" not in request.headers

    def test_cluster_scoped(self, server, cluster):
        server.answer("/api/v1/namespaces/shop", Answer({"kind": "Namespace"}))
        assert cluster.get(NAMESPACES, "shop", "ignored") == {"kind": "Namespace"}

    def test_a_path_in_the_server_address_is_kept(self, server, tmp_path):
        path = kubeconfig(tmp_path, f"{server.url}/k8s/clusters/c-1/")
        server.answer("/k8s/clusters/c-1/api/v1/namespaces/a/pods/web", Answer(POD))
        assert kube.connect(ConnectionOptions(kubeconfig=path)).get(PODS, "web", "a") == POD

    def test_names_are_quoted(self, server, cluster):
        server.answer("/apis/argoproj.io/v1alpha1/namespaces/a/rollouts/x%3Fy%23z%20%C3%BC", Answer({"kind": "R"}))
        assert cluster.get(ROLLOUTS, "x?y#z ü", "a") == {"kind": "R"}

    @pytest.mark.parametrize("name", ["", ".", "..", "../secrets", "a/b", "a%2fb"])
    def test_what_can_be_no_name_is_not_sent(self, server, cluster, name):
        for call in (
            lambda: cluster.get(PODS, name, "shop"),
            lambda: cluster.get(PODS, "web", name),
            lambda: cluster.patch(PODS, name, "shop", {}),
            lambda: cluster.preferred_version(name),
            lambda: cluster.resource(f"{name}/v1", "Rollout"),
        ):
            with pytest.raises(InvalidObject, match="cannot be the name"):
                call()
        assert server.requests == []

    def test_compressed(self, server, cluster):
        body = gzip.compress(json.dumps(POD).encode())
        server.answer("/api/v1/namespaces/a/pods/web", Answer(body, headers={"Content-Encoding": "gzip"}))
        assert cluster.get(PODS, "web", "a") == POD
        assert server.requests[0].headers["Accept-Encoding"] == "gzip"


class TestList:
    def test_pages(self, server, cluster):
        server.answer("/api/v1/namespaces/shop/pods", page("1", "2", more="x&y"), page("3"))
        found = list(cluster.list(PODS, "shop", "app in (a,b)"))
        assert [pod["metadata"]["uid"] for pod in found] == ["1", "2", "3"]
        assert {(pod["apiVersion"], pod["kind"]) for pod in found} == {("v1", "Pod")}
        query = {"limit": str(PAGE), "labelSelector": "app in (a,b)"}
        assert [request.query for request in server.requests] == [query, {**query, "continue": "x&y"}]

    def test_the_next_page_is_on_its_way_while_one_is_read(self, server, cluster):
        asked = threading.Event()
        server.answer("/api/v1/pods", page("1", "2", more="x"), lambda _: asked.set() or page("3"))
        found = cluster.list(PODS)
        assert next(found)["metadata"]["uid"] == "1"
        assert asked.wait(10)
        assert uids(found) == ["2", "3"]

    def test_no_more_than_the_next_page_is_on_its_way(self, server, cluster):
        tokens = "abcdefgh"
        server.answer("/api/v1/pods", *(page(f"{token}1", f"{token}2", more=token) for token in tokens), page("last"))
        asked = []
        for _ in cluster.list(PODS):
            time.sleep(0.01)
            asked.append(len(server.requests))
        assert all(count <= number // 2 + 2 for number, count in enumerate(asked))

    def test_where_the_token_comes_last_the_next_page_is_asked_for_then(self, server, cluster):
        """Custom resources are listed with `items` first."""
        first = {"items": [POD], "kind": "PodList", "metadata": {"continue": "x"}}
        server.answer("/api/v1/pods", Answer(first), page("2"))
        found = cluster.list(PODS)
        assert next(found)["metadata"]["uid"] == "1"
        assert len(server.requests) == 1
        assert uids(found) == ["2"]

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (status(403, "Forbidden", "no pods for you"), Forbidden),
            (Answer({}, 500), ApiError),
            (Answer(b'{"metadata": {}, "items": [{}', 200), Unreachable),
            (Answer({}, 307, {"Location": "/login"}), Unreachable),
        ],
    )
    def test_a_page_that_fails_fails_when_it_is_its_turn(self, server, cluster, answer, error):
        server.answer("/api/v1/pods", page("1", "2", more="x"), answer)
        found, seen = cluster.list(PODS), []
        with pytest.raises(error):
            seen.extend(pod["metadata"].get("uid") for pod in found if "metadata" in pod)
        assert seen == ["1", "2"]

    def test_a_page_whose_connection_is_reset(self, server, cluster):
        def reset():
            yield b'{"kind": "PodList", '
            raise ConnectionResetError

        server.answer("/api/v1/pods", page("1", "2", more="x"), lambda _: Answer(reset()))
        seen = []
        with pytest.raises(Unreachable):
            seen.extend(cluster.list(PODS))
        assert uids(seen) == ["1", "2"]

    def test_who_stops_early_waits_for_nothing(self, server, tmp_path):
        """The next page is still on its way when the program ends, and nobody is told of it."""
        asked, ended = threading.Event(), threading.Event()

        def hang(_):
            asked.set()
            ended.wait()
            return status(500, "InternalError", "nobody reads this")

        server.answer("/api/v1/pods", page("1", "2", more="x"), hang)
        program = """
import sys
from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import PODS
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
print(next(kube.connect(ConnectionOptions(kubeconfig=sys.argv[1])).list(PODS))["metadata"]["uid"], flush=True)
sys.stdin.readline()
"""
        command = [sys.executable, "-c", program, kubeconfig(tmp_path, server.url)]
        process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        try:
            assert asked.wait(30)
            assert process.communicate("\n", timeout=30) == ("1\n", "")
            assert process.returncode == 0
        finally:
            process.kill()
            ended.set()

    @pytest.mark.parametrize(
        "body",
        [
            {"items": "none"},
            {"items": {}},
            {"items": ["pod"]},
            {"items": [POD, 7]},
            {"metadata": "none", "items": []},
            {"metadata": {"continue": 7}, "items": []},
        ],
    )
    def test_a_page_of_something_else(self, server, cluster, body):
        server.answer("/api/v1/pods", Answer(body))
        with pytest.raises(InvalidObject):
            list(cluster.list(PODS))

    @pytest.mark.parametrize("body", [{"items": None}, {"metadata": None}, {}])
    def test_no_items(self, server, cluster, body):
        server.answer("/api/v1/pods", Answer(body))
        assert list(cluster.list(PODS)) == []

    def test_all_namespaces(self, server, cluster):
        server.answer("/apis/apps/v1/deployments", page())
        assert list(cluster.list(DEPLOYMENTS)) == []
        assert server.requests[0].query == {"limit": str(PAGE)}

    def test_objects_without_uid_are_all_given(self, server, cluster):
        server.answer("/api/v1/pods", Answer({"items": [{"metadata": {"name": name}} for name in "ab"]}))
        assert [pod["metadata"]["name"] for pod in cluster.list(PODS)] == ["a", "b"]

    def test_an_expired_token_is_replaced_by_the_server(self, server, cluster):
        expired = status(410, "Expired", "too old", metadata={"continue": "newer"})
        server.answer("/api/v1/pods", page("1", more="old"), expired, page("2"))
        assert [pod["metadata"]["uid"] for pod in cluster.list(PODS)] == ["1", "2"]
        assert server.requests[2].query == {"limit": str(PAGE), "continue": "newer"}

    def test_without_a_new_token_the_listing_starts_again_in_one_piece(self, server, cluster):
        server.answer("/api/v1/pods", page("1", "2", more="old"), status(410, "Expired", "too old"), page("2", "3"))
        assert [pod["metadata"]["uid"] for pod in cluster.list(PODS, selector="a=b")] == ["1", "2", "3"]
        assert server.requests[2].query == {"labelSelector": "a=b"}

    def test_gone_without_a_token_is_an_error(self, server, cluster):
        server.answer("/api/v1/pods", status(410, "Expired", "too old"))
        with pytest.raises(ApiError, match="too old"):
            list(cluster.list(PODS))
        assert len(server.requests) == 1


class TestPatch:
    PATH = "/apis/config.flomesh.io/v1alpha3/namespaces/fsm-system/meshconfigs/fsm-mesh-config"
    MERGE = {"metadata": {"resourceVersion": "7"}, "spec": {"traffic": {"outboundPortExclusionList": [6379]}}}  # noqa: RUF012

    @pytest.mark.parametrize(("dry_run", "more"), [(False, {}), (True, {"dryRun": "All"})])
    def test_merge_patch(self, server, cluster, dry_run, more):
        server.answer(self.PATH, Answer({"kind": "MeshConfig"}))
        patched = cluster.patch(MESH_CONFIGS, "fsm-mesh-config", "fsm-system", self.MERGE, dry_run=dry_run)
        assert patched == {"kind": "MeshConfig"}
        (request,) = server.requests
        assert (request.method, request.body) == ("PATCH", self.MERGE)
        assert request.query == {"fieldManager": "fsm-plugin", **more}
        assert request.headers["Content-Type"] == "application/merge-patch+json"

    @pytest.mark.parametrize(
        ("condition", "code", "requests"), [("7", 503, 1), ("7", 429, 4), ("", 503, 4), ("", 429, 4)]
    )
    def test_where_the_server_asks_for_patience(self, server, cluster, condition, code, requests):
        """After 503 a write may have been carried out; that does no harm where it has no condition."""
        server.answer(self.PATH, Answer({}, code, {"Retry-After": "0"}))
        with pytest.raises(ApiError) as error:
            cluster.patch(MESH_CONFIGS, "fsm-mesh-config", "fsm-system", {"metadata": {"resourceVersion": condition}})
        assert (error.value.status, len(server.requests)) == (code, requests)


class TestPatience:
    PATH = "/api/v1/namespaces/a/pods/web"

    @pytest.mark.parametrize("code", [429, 503])
    def test_a_read_waits_as_the_server_asks(self, server, cluster, monkeypatch, code):
        waited = []
        monkeypatch.setattr(time, "sleep", waited.append)
        server.answer(
            self.PATH, Answer({}, code, {"Retry-After": "2"}), Answer({}, code, {"Retry-After": "1"}), Answer(POD)
        )
        assert cluster.get(PODS, "web", "a") == POD
        assert waited == [2, 1]

    @pytest.mark.parametrize(
        ("code", "headers", "requests"),
        [
            (429, {"Retry-After": "0"}, 4),
            (429, {}, 1),
            (429, {"Retry-After": "3600"}, 1),
            (500, {}, 1),
            (404, {"Retry-After": "0"}, 1),
        ],
    )
    def test_patience_ends(self, server, cluster, monkeypatch, *, code, headers, requests):
        waited = []
        monkeypatch.setattr(time, "sleep", waited.append)
        server.answer(self.PATH, Answer({}, code, headers))
        with pytest.raises(ApiError) as error:
            cluster.get(PODS, "web", "a")
        assert (error.value.status, len(server.requests), len(waited)) == (code, requests, requests - 1)


class TestHeaders:
    PATH = "/api/v1/namespaces/a/pods/web"

    @pytest.mark.parametrize(
        ("user", "authorization"),
        [
            ({"token": "abc"}, "Bearer abc"),
            ({"username": "ann", "password": "pä:ss"}, "Basic YW5uOnDDpDpzcw=="),
        ],
    )
    def test_authorization(self, server, tmp_path, user, authorization):
        server.answer(self.PATH, Answer(POD))
        connect(tmp_path, server, user).get(PODS, "web", "a")
        assert server.requests[0].headers["Authorization"] == authorization

    def test_impersonation(self, server, tmp_path):
        server.answer(self.PATH, Answer(POD))
        connect(tmp_path, server, {"as": "bob"}, as_groups=("dev", "ops")).get(PODS, "web", "a")
        headers = server.requests[0].headers
        assert (headers["Impersonate-User"], headers.get_all("Impersonate-Group")) == ("bob", ["dev", "ops"])

    def test_a_token_that_no_header_can_hold(self, server, tmp_path):
        cluster = connect(tmp_path, server, {"token": "a\nb"})
        with pytest.raises(CredentialError, match='credentials of user "ann"'):
            cluster.get(PODS, "web", "a")
        assert server.requests == []

    def test_warnings_are_collected_once(self, server, cluster):
        texts = ('299 - "policy/v1beta1 is deprecated"', '299 - "say \\"no\\""', '199 - "not for us"')
        server.answer(self.PATH, Answer(POD, warnings=texts))
        for _ in range(2):
            cluster.get(PODS, "web", "a")
        assert cluster.warnings == ("policy/v1beta1 is deprecated", 'say "no"')

    def test_log(self, server, tmp_path):
        lines = []
        server.answer("/api/v1/pods", page())
        list(connect(tmp_path, server, {"token": "secret"}, log=lines.append).list(PODS))
        (line,) = lines
        assert line.startswith(f"GET {server.url}/api/v1/pods?limit={PAGE} 200 in ")
        assert "secret" not in line

    def test_log_of_a_server_with_a_login(self, server, tmp_path):
        lines = []
        server.answer("/api/v1/pods", page())
        url = server.url.replace("://", "://ann:secret@")
        list(kube.connect(ConnectionOptions(kubeconfig=kubeconfig(tmp_path, url), log=lines.append)).list(PODS))
        assert lines[0].startswith(f"GET {server.url}/api/v1/pods?limit={PAGE} 200 in ")


class TestThisVeryObject:
    """Writes that mean an object and no other of its name."""

    OPTIONS = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "7"}}  # noqa: RUF012
    PATH = "/api/v1/namespaces/shop/pods"

    def test_create(self, server, cluster):
        server.answer(self.PATH, Answer(POD, 201))
        assert cluster.create(PODS, "shop", POD) == POD
        (request,) = server.requests
        assert (request.method, request.query, request.body) == ("POST", {"fieldManager": "fsm-plugin"}, POD)

    def test_delete(self, server, cluster):
        server.answer(f"{self.PATH}/web", Answer(POD))
        cluster.delete(PODS, "web", "shop", "7")
        (request,) = server.requests
        assert (request.method, request.query, request.body) == ("DELETE", {}, self.OPTIONS)
        assert request.headers["Content-Type"] == "application/json"

    def test_evict(self, server, cluster):
        server.answer(f"{self.PATH}/web/eviction", Answer({"kind": "Status"}, 201))
        cluster.evict("web", "shop", "7")
        (request,) = server.requests
        named = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": "shop"}}
        assert (request.method, request.query) == ("POST", {})
        assert request.body == {**named, "deleteOptions": self.OPTIONS}

    def test_no_room(self, server, cluster):
        """Asked once: how long to wait is the caller's affair. The budget is named, and the server's pause is kept."""
        details = {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 1."}]}
        full = {"kind": "Status", "reason": "TooManyRequests", "message": "Cannot evict.", "details": details}
        server.answer(f"{self.PATH}/web/eviction", Answer(full, 429, {"Retry-After": "10"}))
        with pytest.raises(ApiError) as error:
            cluster.evict("web", "shop", "7")
        assert (error.value.status, error.value.pause) == (429, 10)
        assert error.value.message == "Cannot evict.; The disruption budget web needs 1."
        assert len(server.requests) == 1

    def test_the_missing_right(self, server, cluster):
        for path in (f"{self.PATH}/web/eviction", f"{self.PATH}/web", self.PATH):
            server.answer(path, status(403, "Forbidden", "no"))
        checks = {
            "kubectl auth can-i create pods/web --subresource=eviction -n shop": lambda: cluster.evict(
                "web", "shop", "7"
            ),
            "kubectl auth can-i delete pods/web -n shop": lambda: cluster.delete(PODS, "web", "shop", "7"),
            "kubectl auth can-i create pods -n shop": lambda: cluster.create(PODS, "shop", POD),
        }
        for check, call in checks.items():
            with pytest.raises(Forbidden) as error:
                call()
            assert check in error.value.hint

    def test_a_pod_that_is_gone(self, server, cluster):
        server.answer(f"{self.PATH}/web/eviction", status(404, "NotFound", "no web"))
        with pytest.raises(NotFound) as error:
            cluster.evict("web", "shop", "7")
        assert error.value.hint.startswith("see what is there: kubectl get pods -n shop")


class TestGather:
    def test_side_by_side_and_in_order(self, server, cluster):
        together = threading.Barrier(4, timeout=5)

        def wait(request):
            together.wait()
            return Answer({"path": request.path})

        for name in "abcd":
            server.answer(f"/api/v1/namespaces/{name}", wait)
        found = cluster.gather(*(lambda name=name: cluster.get(NAMESPACES, name) for name in "abcd"))
        assert [each["path"][-1] for each in found] == ["a", "b", "c", "d"]

    def test_no_call_and_one_call_need_no_thread(self, cluster):
        assert cluster.gather() == []
        assert cluster.gather(threading.current_thread) == [threading.main_thread()]

    def test_the_first_exception(self, server, cluster):
        with pytest.raises(NotFound):
            cluster.gather(lambda: 1, lambda: cluster.get(PODS, "web", "a"))

    def test_not_more_at_a_time_than_there_are_connections(self, cluster):
        running_now, most = [], []

        def call():
            running_now.append(1)
            most.append(len(running_now))
            time.sleep(0.01)
            running_now.pop()

        cluster.gather(*[call] * 40)
        assert 2 <= max(most) <= kube.CONNECTIONS

    def test_connections_are_kept(self, server, tmp_path):
        server.answer("/api/v1/namespaces/a", Answer({}))
        opened = []
        accept = server.server.get_request
        server.server.get_request = lambda: opened.append(1) or accept()
        cluster = connect(tmp_path, server)
        for _ in range(3):
            cluster.gather(*[lambda: cluster.get(NAMESPACES, "a")] * 8)
        assert len(opened) <= 8


class TestDiscovery:
    AGGREGATED = {  # noqa: RUF012
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {"name": "argoproj.io"},
                "versions": [
                    {
                        "version": "v1alpha1",
                        "resources": [
                            {
                                "resource": "rollouts",
                                "responseKind": {"kind": "Rollout"},
                                "scope": "Namespaced",
                                "singularResource": "rollout",
                                "shortNames": ["ro"],
                            },
                            {"resource": "projects", "responseKind": {"kind": "Project"}, "scope": "Cluster"},
                        ],
                    }
                ],
            }
        ],
    }
    CORE = {  # noqa: RUF012
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {
                                "resource": "replicationcontrollers",
                                "responseKind": {"kind": "ReplicationController"},
                                "scope": "Namespaced",
                                "shortNames": ["rc"],
                            }
                        ],
                    }
                ],
            }
        ],
    }
    LISTED = {  # noqa: RUF012
        "kind": "APIResourceList",
        "resources": [
            {"name": "rollouts", "kind": "Rollout", "namespaced": True, "shortNames": ["ro"]},
            {"name": "rollouts/scale", "kind": "Scale", "namespaced": True},
            {"name": "projects", "kind": "Project", "namespaced": False},
        ],
    }
    PROJECTS = Resource("argoproj.io", "v1alpha1", "Project", "projects", False)
    RC = Resource("", "v1", "ReplicationController", "replicationcontrollers", True, ("rc",))

    @pytest.mark.parametrize(
        "text", ["deploy", "Deployment", "deployments", "DEPLOY", "deployments.apps", "deployment.v1.apps"]
    )
    def test_built_in_kinds_need_no_request(self, server, cluster, text):
        assert cluster.resource_named(text) == DEPLOYMENTS
        assert cluster.resource("apps/v1", "Deployment") == DEPLOYMENTS
        assert server.requests == []

    @pytest.mark.parametrize(
        ("text", "resource"),
        [
            ("ro", ROLLOUTS),
            ("Rollout", ROLLOUTS),
            ("rollouts.argoproj.io", ROLLOUTS),
            ("rollout.v1alpha1.argoproj.io", ROLLOUTS),
            ("project", PROJECTS),
            ("rc", RC),
            ("rc.v1", RC),
        ],
    )
    def test_names_of_other_kinds(self, server, cluster, text, resource):
        server.answer("/api", Answer(self.CORE))
        server.answer("/apis", Answer(self.AGGREGATED))
        assert cluster.resource_named(text) == resource
        assert all("g=apidiscovery.k8s.io;v=v2;" in request.headers["Accept"] for request in server.requests)
        assert len(server.requests) == 2

    @pytest.mark.parametrize("text", ["nothing", "deploy.argoproj.io", ""])
    def test_a_name_of_no_kind(self, server, cluster, text):
        server.answer("/api", Answer(self.CORE))
        server.answer("/apis", Answer(self.AGGREGATED))
        with pytest.raises(NotFound):
            cluster.resource_named(text)

    def test_a_server_before_aggregated_discovery(self, server, cluster):
        groups = [
            {"name": name, "preferredVersion": {"groupVersion": f"{name}/v1alpha1"}} for name in ("down", "argoproj.io")
        ]
        server.answer("/api", Answer({"kind": "APIVersions", "versions": ["v1"]}))
        server.answer("/apis", Answer({"kind": "APIGroupList", "groups": groups}))
        server.answer("/api/v1", Answer({"kind": "APIResourceList", "resources": []}))
        server.answer("/apis/down/v1alpha1", status(503, "ServiceUnavailable", "down"))
        server.answer("/apis/argoproj.io/v1alpha1", Answer(self.LISTED))
        assert cluster.resource_named("ro") == ROLLOUTS

    def test_a_kind_of_a_version(self, server, cluster):
        server.answer("/apis/argoproj.io/v1alpha1", Answer(self.LISTED))
        assert cluster.resource("argoproj.io/v1alpha1", "Rollout") == ROLLOUTS
        assert cluster.resource("argoproj.io/v1alpha1", "Project") == self.PROJECTS
        assert len(server.requests) == 1

    @pytest.mark.parametrize(("api_version", "path"), [("argoproj.io/v1", "/apis/argoproj.io/v1"), ("v1", "/api/v1")])
    def test_a_kind_that_is_not_served(self, server, cluster, api_version, path):
        with pytest.raises(NotFound, match=f"does not serve Scale in {api_version}"):
            cluster.resource(api_version, "Scale")
        server.answer(path, Answer(self.LISTED))
        assert server.requests[0].path == path

    def test_subresources_are_no_kinds(self, server, cluster):
        server.answer("/apis/argoproj.io/v1alpha1", Answer(self.LISTED))
        with pytest.raises(NotFound):
            cluster.resource("argoproj.io/v1alpha1", "Scale")

    def test_preferred_version(self, server, cluster):
        server.answer("/apis/config.flomesh.io", Answer({"preferredVersion": {"version": "v1alpha3"}}))
        assert cluster.preferred_version("config.flomesh.io") == "v1alpha3"
        assert cluster.preferred_version("config.openservicemesh.io") is None


def test_nothing_is_logged(server, cluster, caplog, capfd):
    server.answer("/api/v1/pods", Answer(b"", 500))
    with pytest.raises(ApiError):
        list(cluster.list(PODS))
    assert (caplog.messages, capfd.readouterr()) == ([], ("", ""))


class TestDroppedConnections:
    """A server may close a connection that was kept open just when the next request comes."""

    @pytest.fixture
    def hasty(self):
        """A server that takes the first request without a word and answers the second: (its URL, what was asked)."""
        answer = b'{"kind": "Pod"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
        asked = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(10)

            def serve():
                for reply in (b"", head + answer):
                    with suppress(OSError), listener.accept()[0] as connection:  # the test ends before a second request
                        asked.append(connection.recv(65536).split(b" ")[0].decode())
                        connection.sendall(reply)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)

    def test_a_read_is_sent_again_once(self, hasty, tmp_path):
        url, asked = hasty
        cluster = kube.connect(ConnectionOptions(kubeconfig=str(kubeconfig(tmp_path, url, {}))))
        assert cluster.get(PODS, "web", "a") == {"kind": "Pod"}
        assert asked == ["GET", "GET"]

    def test_a_write_without_a_condition_as_well(self, hasty, tmp_path):
        url, asked = hasty
        cluster = kube.connect(ConnectionOptions(kubeconfig=str(kubeconfig(tmp_path, url, {}))))
        assert cluster.patch(PODS, "web", "a", {"metadata": {"uid": "1"}}) == {"kind": "Pod"}
        assert asked == ["PATCH", "PATCH"]

    def test_a_write_with_a_condition_is_not(self, hasty, tmp_path):
        """The first one may have been carried out, and the second would fail because of it."""
        url, asked = hasty
        cluster = kube.connect(ConnectionOptions(kubeconfig=str(kubeconfig(tmp_path, url, {}))))
        with pytest.raises(Unanswered):
            cluster.patch(PODS, "web", "a", {"metadata": {"resourceVersion": "7"}})
        assert asked == ["PATCH"]

    def test_an_answer_that_breaks_off_is_asked_for_again(self, server, cluster):
        server.answer("/api/v1/namespaces/a/pods/web", Answer(POD, cut=10), Answer(POD))
        assert cluster.get(PODS, "web", "a") == POD
