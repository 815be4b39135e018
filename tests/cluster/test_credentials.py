"""Credentials against a real API server: what kubectl does with a kubeconfig, `connect` does too."""

from __future__ import annotations

import json
import os
import shlex
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml

from kubectl_fsm.cluster import kube
from kubectl_fsm.cluster.interface import NAMESPACES, PODS, Resource
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions, access
from kubectl_fsm.errors import ApiError, Conflict, CredentialError, Forbidden, NotFound, Unreachable
from tests.support.control_plane import ADMINISTRATORS

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True, ("cm",))
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def connect(path, **options):
    return kube.connect(ConnectionOptions(kubeconfig=str(path), **options))


def allowed(path, **options):
    """Whether these credentials may read the namespace `default`, as an administrator may."""
    try:
        return bool(connect(path, **options).get(NAMESPACES, "default"))
    except Forbidden:
        return False


def bound(control_plane, user):
    """Let the user read namespaces."""
    control_plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "read-namespaces"},
            "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"read-namespaces-{user}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "read-namespaces"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    )
    may = ("auth", "can-i", "get", "namespaces", f"--as={user}")
    control_plane.wait(lambda: control_plane.kubectl(*may, check=False).stdout == "yes\n", "the right counts")


class TestLogin:
    def test_client_certificate(self, control_plane):
        assert allowed(control_plane.user("ann", [ADMINISTRATORS]))
        assert not allowed(control_plane.user("ann"))

    def test_token_and_token_file(self, control_plane, tmp_path):
        bound(control_plane, "token-user")
        (tmp_path / "token").write_text(f"{control_plane.token}\n")
        for user in ({"token": control_plane.token}, {"tokenFile": str(tmp_path / "token")}):
            assert allowed(control_plane.credentials("token-user", user))

    def test_plugin(self, control_plane, tmp_path):
        bound(control_plane, "token-user")
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": control_plane.token},
        }
        plugin = tmp_path / "login"
        plugin.write_text(f"#!/bin/sh\necho {shlex.quote(json.dumps(credential))}\n")
        plugin.chmod(0o755)
        spec = {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
        path = control_plane.credentials("plugin-user", {"exec": spec})
        assert allowed(path)
        assert control_plane.kubectl("get", "namespace", "default", kubeconfig=path).returncode == 0
        plugin.write_text("#!/bin/sh\necho 'log in first' >&2\nexit 1\n")
        with pytest.raises(CredentialError, match="log in first"):
            connect(path)

    def test_impersonation(self, control_plane):
        bound(control_plane, "reader")
        assert allowed(control_plane.kubeconfig, as_user="reader")
        assert not allowed(control_plane.kubeconfig, as_user="nobody")
        assert allowed(control_plane.kubeconfig, as_user="nobody", as_groups=("a", ADMINISTRATORS))
        ann = control_plane.user("ann")
        with pytest.raises(Forbidden) as error:
            connect(ann, as_user="reader").get(NAMESPACES, "default")
        assert error.value.hint.endswith(f"kubectl auth can-i impersonate users/reader --kubeconfig={ann}")

    def test_none(self, control_plane):
        with pytest.raises(Forbidden, match="system:anonymous"):
            connect(control_plane.credentials("nobody", {})).get(NAMESPACES, "default")


class TestRefusals:
    def test_expired_certificate(self, control_plane):
        with pytest.raises(ApiError) as error:
            connect(control_plane.user("ann", [ADMINISTRATORS], expired=True)).get(NAMESPACES, "default")
        assert error.value.status == 401
        assert f'user "ann" of context "test" expired on {datetime.now(timezone.utc):%Y}' in error.value.hint

    def test_wrong_token(self, control_plane):
        with pytest.raises(ApiError) as error:
            connect(control_plane.credentials("ann", {"token": "wrong"})).get(NAMESPACES, "default")
        assert (error.value.reason, error.value.hint[:12]) == ("Unauthorized", "log in again")

    def test_forbidden_names_the_right_that_kubectl_asks_for(self, control_plane, namespace):
        ann = control_plane.user("ann")
        with pytest.raises(Forbidden) as error:
            connect(ann).patch(CONFIG_MAPS, "web", namespace, {"data": {}})
        command = error.value.hint.partition("check: kubectl ")[2]
        assert command.endswith(f" --kubeconfig={ann}")
        assert control_plane.kubectl(*command.split(), check=False).stdout == "no\n"
        assert control_plane.kubectl(*command.split()[:-1]).stdout == "yes\n"

    def test_unknown_authority(self, control_plane, tmp_path):
        config = yaml.safe_load(control_plane.kubeconfig.read_text())
        del config["clusters"][0]["cluster"]["certificate-authority-data"]
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        with pytest.raises(Unreachable, match="is not trusted"):
            connect(tmp_path / "config").get(NAMESPACES, "default")
        config["clusters"][0]["cluster"] |= {
            "certificate-authority": str(control_plane.ca_file),
            "tls-server-name": "kubernetes.default.svc",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        assert allowed(tmp_path / "config")


class TestObjects:
    @pytest.fixture
    def cluster(self, control_plane):
        return connect(control_plane.kubeconfig)

    @pytest.fixture
    def config_map(self, control_plane, namespace):
        control_plane.api(
            "POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "web"}, "data": {"a": "1"}}
        )
        return "web"

    def test_patch(self, cluster, namespace, config_map):
        tried = cluster.patch(CONFIG_MAPS, config_map, namespace, {"data": {"b": "2"}}, dry_run=True)
        assert tried["data"] == {"a": "1", "b": "2"}
        stored = cluster.get(CONFIG_MAPS, config_map, namespace)
        assert stored["data"] == {"a": "1"}
        version = {"resourceVersion": stored["metadata"]["resourceVersion"]}
        written = cluster.patch(CONFIG_MAPS, config_map, namespace, {"metadata": version, "data": {"b": "2"}})
        assert written["data"] == {"a": "1", "b": "2"}
        managers = {entry["manager"]: entry["fieldsV1"] for entry in written["metadata"]["managedFields"]}
        assert managers["fsm-plugin"] == {"f:data": {"f:b": {}}}
        with pytest.raises(Conflict):
            cluster.patch(CONFIG_MAPS, config_map, namespace, {"metadata": version, "data": {"c": "3"}})

    def test_invalid(self, cluster, namespace, config_map):
        with pytest.raises(ApiError) as error:
            cluster.patch(CONFIG_MAPS, config_map, namespace, {"data": {"a b": "1"}})
        assert (error.value.status, error.value.reason) == (422, "Invalid")
        assert "data[a b]" in error.value.message
        assert error.value.hint.startswith(f"mend data[a b]: kubectl edit configmaps web -n {namespace} --kubeconfig=")

    def test_not_found(self, cluster, namespace):
        with pytest.raises(NotFound, match='pods "web" not found'):
            cluster.get(PODS, "web", namespace)

    def test_pages(self, cluster, namespace, monkeypatch):
        monkeypatch.setattr(kube, "PAGE", 2)
        names = [item["metadata"]["name"] for item in cluster.list(NAMESPACES)]
        assert namespace in names
        assert len(names) == len(set(names)) > 2

    def test_selector(self, cluster):
        (found,) = cluster.list(NAMESPACES, selector="kubernetes.io/metadata.name in (default)")
        assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == ("v1", "Namespace", "default")

    def test_warnings(self, cluster):
        endpoints = Resource("", "v1", "Endpoints", "endpoints")
        assert list(cluster.list(endpoints, "kube-node-lease")) == []
        assert any("Endpoints is deprecated" in text for text in cluster.warnings)


class TestDiscovery:
    @pytest.mark.parametrize(
        "text", ["cm", "configmaps", "hpa", "ReplicationController", "roles.rbac.authorization.k8s.io"]
    )
    def test_names_as_kubectl_has_them(self, control_plane, text):
        resource = connect(control_plane.kubeconfig).resource_named(text)
        table = control_plane.kubectl("api-resources", "--no-headers").stdout
        line = next(line.split() for line in table.splitlines() if line.split()[0] == resource.plural)
        assert line[-3:] == [resource.api_version, str(resource.namespaced).lower(), resource.kind]

    def test_kinds_and_versions(self, control_plane):
        cluster = connect(control_plane.kubeconfig)
        assert cluster.resource("v1", "ConfigMap") == CONFIG_MAPS
        assert cluster.resource("autoscaling/v2", "HorizontalPodAutoscaler").short_names == ("hpa",)
        assert cluster.preferred_version("apps") == "v1"
        assert cluster.preferred_version("no.such.group") is None
        with pytest.raises(NotFound):
            cluster.resource("no.such.group/v1", "Thing")


def test_several_files_are_merged_as_kubectl_merges_them(control_plane, tmp_path, monkeypatch):
    def write(name, current, context_namespace, server):
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": context_namespace}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": name}}],
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(config | ({"current-context": current} if current else {})))
        return str(path)

    other = tmp_path / "other"
    other.write_text(yaml.safe_dump({"current-context": "b", "contexts": [{"name": "b", "context": {"cluster": "c"}}]}))
    files = [
        write("1", "", "one", "https://one"),
        str(tmp_path / "gone"),
        write("2", "a", "two", "https://two"),
        str(other),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))
    ours = access(ConnectionOptions())
    view = control_plane.kubectl(
        "config", "view", "--minify", "--raw", "-o", "json", kubeconfig=Path(os.environ["KUBECONFIG"])
    )
    theirs = json.loads(view.stdout)
    assert ours.context == theirs["current-context"] == "a"
    assert ours.namespace == theirs["contexts"][0]["context"]["namespace"]
    assert ours.cluster == theirs["clusters"][0]["cluster"]
    assert ours.user == theirs["users"][0]["user"]
