"""Kubeconfigs of all kinds, none of which leads to a cluster: no verb gets further than an error that says so."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import TEXTS, VALUES, fuzzing
from tests.support.hostile import paths, put
from tests.support.promises import run

NOWHERE = "http://127.0.0.1:1"
USERS = {
    "token": {"token": "t"},
    "file": {"tokenFile": "/dev/null"},
    "password": {"username": "ann", "password": "x"},
    "certificate": {"client-certificate-data": "YQ==", "client-key-data": "YQ=="},
    "plugin": {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "/nonexistent/plugin",
            "args": ["a"],
            "env": [{"name": "A", "value": "b"}],
            "installHint": "install it",
            "interactiveMode": "Never",
        }
    },
    "provider": {"auth-provider": {"name": "oidc", "config": {"id-token": "t"}}},
    "other": {"token": "t", "as": "bob", "as-uid": "1", "as-groups": ["g"], "as-user-extra": {"scope": ["x"]}},
}
CLUSTER = {"server": NOWHERE, "proxy-url": "", "tls-server-name": "x", "insecure-skip-tls-verify": True}


def kubeconfig(user):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": CLUSTER}],
        "users": [{"name": "u", "user": USERS[user]}],
    }


VERBS = (
    ["rules"],
    ["check", "-o", "json"],
    ["status", "-A"],
    ["trace", "deploy/web", "svc/api:80"],
    ["exclusions", "-o", "yaml"],
    ["exclude-port", "80"],
    ["restart", "deploy/web"],
    ["version", "-o", "json"],
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(argv, content, folder):
    path = folder / "kubeconfig"
    path.write_bytes(content)
    done = run([*argv, "--kubeconfig", str(path)])
    assert not list(done.broken()), done
    assert done.code == 1 or argv[0] == "version"
    return done


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("argv", VERBS, ids=lambda argv: argv[0])
def test_a_good_one_that_leads_nowhere(argv, user, tmp_path):
    done = refused(argv, yaml.safe_dump(kubeconfig(user)).encode(), tmp_path)
    expected = {"plugin": "credential plugin /nonexistent/plugin", "certificate": "credentials", "file": "credentials"}
    assert expected.get(user, f"{NOWHERE} refused the connection") in done.err


@fuzzing(0.06)
@given(argv=st.sampled_from(VERBS), user=st.sampled_from(list(USERS)), value=VALUES, data=st.data())
def test_one_wrong_value(argv, user, value, data, tmp_path_factory):
    good = kubeconfig(user)
    path = data.draw(st.sampled_from(list(paths(good))))
    refused(argv, json.dumps(put(good, path, value)).encode(), tmp_path_factory.getbasetemp())


@fuzzing(0.03)
@given(argv=st.sampled_from(VERBS), data=st.data())
def test_damaged_text(argv, data, tmp_path_factory):
    lines = yaml.safe_dump(kubeconfig("token")).splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    new = data.draw(
        TEXTS | st.sampled_from(["&a [*a]", "<<: *a", "[" * 500, "2024-99-99", "!!binary x", "? [a]", "9" * 5000])
    )
    lines[place] = data.draw(st.sampled_from([f"{lines[place].partition(':')[0]}: {new}", f"{lines[place]}{new}", new]))
    refused(argv, "\n".join(lines).encode(errors="surrogatepass"), tmp_path_factory.getbasetemp())
