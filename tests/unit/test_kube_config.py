from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from kubectl_fsm.cluster import kubeconfig
from kubectl_fsm.cluster.kubeconfig import Access, ConnectionOptions, access
from kubectl_fsm.errors import CredentialError, UsageError


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("KUBE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(path: Path, **sections) -> str:
    names = {"contexts": "context", "clusters": "cluster", "users": "user"}
    lists = {
        section: [{"name": name, names[section]: entry} for name, entry in entries.items()]
        for section, entries in sections.items()
        if section in names
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**sections, **lists}), "utf-8")
    return str(path)


def simple(path: Path, **changes) -> str:
    sections = {
        "current-context": "prod",
        "contexts": {"prod": {"cluster": "c", "user": "u", "namespace": "shop"}, "bare": {"cluster": "c"}},
        "clusters": {"c": {"server": "https://c:6443"}, "d": {"server": "https://d:6443"}},
        "users": {"u": {"token": "t"}, "v": {"token": "w"}},
    }
    return write(path, **(sections | changes))


class TestFiles:
    def test_the_first_file_wins(self, tmp_path, monkeypatch):
        first = write(tmp_path / "1", contexts={"a": {"cluster": "c", "user": "u"}}, users={"u": {"token": "first"}})
        second = simple(tmp_path / "2", users={"u": {"token": "second"}})
        third = simple(tmp_path / "3", **{"current-context": "bare"})
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join([first, "", str(tmp_path / "missing"), second, third]))
        found = access(ConnectionOptions())
        assert (found.context, found.user, found.cluster["server"]) == ("prod", {"token": "first"}, "https://c:6443")

    def test_an_empty_file_is_a_kubeconfig(self, tmp_path, monkeypatch):
        (tmp_path / "empty").touch()
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'empty'}{os.pathsep}{simple(tmp_path / 'full')}")
        assert access(ConnectionOptions()).context == "prod"

    def test_no_file_of_kubeconfig_exists(self, tmp_path, monkeypatch):
        simple(tmp_path / "home" / ".kube" / "config")
        monkeypatch.setenv("KUBECONFIG", f"/no/a{os.pathsep}/no/b")
        with pytest.raises(CredentialError, match="/no/a, /no/b"):
            access(ConnectionOptions())

    def test_home(self, tmp_path):
        simple(tmp_path / "home" / ".kube" / "config")
        assert access(ConnectionOptions()).context == "prod"

    def test_the_option_names_one_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KUBECONFIG", write(tmp_path / "other"))
        path = simple(tmp_path / f"with{os.pathsep}colon")
        assert access(ConnectionOptions(kubeconfig=path)).context == "prod"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (None, "No such file"),
            ("{", "expected node content"),
            ("just words", "not a kubeconfig"),
            ("contexts: {}", "contexts is an object, not a list"),
            ("clusters: [{name: 1}]", r"clusters\[0\].name is a number, not a string"),
            ("users: [{user: {exec: {command: 7}}}]", r"users\[0\].user.exec.command is a number, not a string"),
            ("contexts: " + "[" * 100_000, "nested deeper than 100 levels"),
            ("users: &a [*a]", "stands for what it is part of"),
            ("? [a]\n: b", "a key that is no text"),
            ("a: b\0", "a NUL character"),
        ],
    )
    def test_unusable_files(self, tmp_path, text, problem):
        path = tmp_path / "config"
        if text is not None:
            path.write_text(text)
        with pytest.raises(CredentialError, match=problem) as error:
            access(ConnectionOptions(kubeconfig=str(path)))
        assert str(path) in error.value.message
        assert "\n" not in error.value.message

    def test_what_no_client_reads_may_be_anything(self, tmp_path):
        path = simple(tmp_path / "config")
        more = f"when: 2024-99-99\nmany: {'9' * 5000}\n1: 2\non: off\nfrom: !!python/name:os.system\n"
        Path(path).write_text(Path(path).read_text() + more)
        assert access(ConnectionOptions(kubeconfig=path)).context == "prod"

    def test_no_kubeconfig_and_no_pod(self):
        with pytest.raises(CredentialError, match="no kubeconfig"):
            access(ConnectionOptions())


class TestPod:
    @pytest.fixture(autouse=True)
    def pod(self, tmp_path, monkeypatch):
        monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        (tmp_path / "namespace").write_text("ops\n")

    def test_service_account(self, tmp_path):
        found = access(ConnectionOptions())
        assert found.cluster == {"server": "https://[fd00::1]:443", "certificate-authority": str(tmp_path / "ca.crt")}
        assert (found.user, found.namespace) == ({"tokenFile": str(tmp_path / "token")}, "ops")
        assert access(ConnectionOptions(namespace="shop")).namespace == "shop"

    def test_a_kubeconfig_comes_first(self, tmp_path):
        simple(tmp_path / "home" / ".kube" / "config")
        assert access(ConnectionOptions()).context == "prod"


class TestChoice:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, ("prod", "shop", "https://c:6443", {"token": "t"})),
            ({"namespace": "x"}, ("prod", "x", "https://c:6443", {"token": "t"})),
            ({"context": "bare"}, ("bare", "default", "https://c:6443", {})),
            ({"cluster": "d", "user": "v"}, ("prod", "shop", "https://d:6443", {"token": "w"})),
        ],
    )
    def test_overrides(self, tmp_path, options, expected):
        found = access(ConnectionOptions(kubeconfig=simple(tmp_path / "config"), **options))
        assert (found.context, found.namespace, found.cluster["server"], found.user) == expected

    @pytest.mark.parametrize(
        ("options", "hint"),
        [({"context": "x"}, "known: bare, prod"), ({"cluster": "x"}, "known: c, d"), ({"user": "x"}, "known: u, v")],
    )
    def test_unknown_names(self, tmp_path, options, hint):
        (kind,) = options
        with pytest.raises(CredentialError, match=f'{kind} "x" does not exist') as error:
            access(ConnectionOptions(kubeconfig=simple(tmp_path / "config"), **options))
        assert error.value.hint == hint

    def test_a_context_of_a_user_who_does_not_exist(self, tmp_path):
        path = simple(tmp_path / "config", users={})
        with pytest.raises(CredentialError, match='user "u" does not exist'):
            access(ConnectionOptions(kubeconfig=path))

    @pytest.mark.parametrize(("options", "what"), [({}, "no current context"), ({"context": "x"}, 'context "x"')])
    def test_an_empty_kubeconfig(self, tmp_path, options, what):
        (tmp_path / "config").write_text("")
        with pytest.raises(CredentialError, match=what) as error:
            access(ConnectionOptions(kubeconfig=str(tmp_path / "config"), **options))
        assert error.value.hint == "the kubeconfig names none at all: check --kubeconfig and KUBECONFIG"

    def test_no_current_context(self, tmp_path):
        path = simple(tmp_path / "config", **{"current-context": ""})
        with pytest.raises(CredentialError, match="no current context") as error:
            access(ConnectionOptions(kubeconfig=path))
        assert "bare, prod" in error.value.hint
        assert access(ConnectionOptions(kubeconfig=path, cluster="d")).cluster["server"] == "https://d:6443"

    @pytest.mark.parametrize(
        "cluster", [{}, *({"server": address} for address in ("c:6443", "https://[::1", "https://c:port", "https://"))]
    )
    def test_a_cluster_without_a_server(self, tmp_path, cluster):
        path = simple(tmp_path / "config", clusters={"c": cluster})
        with pytest.raises(CredentialError, match='cluster "c" has no server'):
            access(ConnectionOptions(kubeconfig=path))

    def test_paths_start_at_their_own_file(self, tmp_path, monkeypatch):
        user = {
            "client-certificate": "pki/a.pem",
            "client-key": "/abs.key",
            "tokenFile": "token",
            "token": "not used",
            "password": "",
            "exec": {"command": "./bin/login"},
        }
        first = write(tmp_path / "one" / "config", users={"u": user, "v": {"exec": {"command": "aws"}}})
        second = simple(
            tmp_path / "two" / "config", clusters={"c": {"server": "https://c", "certificate-authority": "ca.pem"}}
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join([os.path.relpath(first), second]))
        found = access(ConnectionOptions())
        assert found.cluster["certificate-authority"] == f"{tmp_path}/two/ca.pem"
        assert found.user == {
            "client-certificate": f"{tmp_path}/one/pki/a.pem",
            "client-key": "/abs.key",
            "tokenFile": f"{tmp_path}/one/token",
            "exec": {"command": f"{tmp_path}/one/bin/login"},
        }
        assert access(ConnectionOptions(user="v")).user == {"exec": {"command": "aws"}}


class TestTimeout:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("0", 0), ("5", 5), ("1s", 1), ("2m", 120), ("1h1m1.5s", 3661.5), ("500ms", 0.5), (".5s", 0.5), ("7us", 7e-6)],
    )
    def test_durations(self, text, seconds):
        assert ConnectionOptions(request_timeout=text).timeout == pytest.approx(seconds)

    def test_not_given(self):
        assert ConnectionOptions().timeout is None

    @pytest.mark.parametrize("text", ["x", "5x", "-5", "1s ", "s", "1.5"])
    def test_anything_else(self, text):
        with pytest.raises(UsageError, match="not a duration"):
            _ = ConnectionOptions(request_timeout=text).timeout


class TestImpersonation:
    USER = {  # noqa: RUF012
        "as": "bob",
        "as-uid": "7",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"example.com/team": ["a", "b"]},
    }

    def headers(self, user, **options):
        return Access("c", "n", {}, "u", user).impersonation(ConnectionOptions(**options))

    def test_of_the_kubeconfig(self):
        assert self.headers(self.USER) == [
            ("Impersonate-User", "bob"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Group", "dev"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Extra-example.com%2Fteam", "a"),
            ("Impersonate-Extra-example.com%2Fteam", "b"),
        ]

    def test_options_come_first(self):
        headers = self.headers({"as": "bob", "as-groups": ["dev"]}, as_user="eve", as_groups=("x", "y"))
        assert headers == [("Impersonate-User", "eve"), ("Impersonate-Group", "x"), ("Impersonate-Group", "y")]

    def test_nobody(self):
        assert self.headers({}) == []

    def test_a_group_without_a_user(self):
        with pytest.raises(UsageError, match="needs a user"):
            self.headers({}, as_groups=("dev",))


class TestProxy:
    @pytest.mark.parametrize(
        ("server", "declared", "expected"),
        [
            ("https://api.example:6443", "", "http://env:3128"),
            ("http://api.example", "", "http://plain:80"),
            ("https://127.0.0.1:6443", "", ""),
            ("https://localhost:6443", "", ""),
            ("https://[::1]:6443", "", ""),
            ("https://127.0.0.1:6443", "socks5://s:1080", "socks5://s:1080"),
        ],
    )
    def test_where_from(self, monkeypatch, server, declared, expected):
        monkeypatch.setenv("HTTPS_PROXY", "env:3128")
        monkeypatch.setenv("http_proxy", "http://plain:80")
        monkeypatch.setenv("ALL_PROXY", "http://all:1")
        cluster = {"server": server} | ({"proxy-url": declared} if declared else {})
        assert Access("c", "n", cluster, "u", {}).proxy == expected

    def test_none(self):
        assert Access("c", "n", {"server": "https://api.example"}, "u", {}).proxy == ""
