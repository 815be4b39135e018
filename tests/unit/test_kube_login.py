from __future__ import annotations

import json
import os
import pty
import ssl
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from kubectl_fsm.cluster import credentials, kube
from kubectl_fsm.cluster.interface import PODS
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, CredentialError, Unreachable
from tests.support.api_server import Answer, ApiServer, Proxy, SocksProxy, base64_text, kubeconfig, running

POD = {"kind": "Pod"}
PATH = "/api/v1/namespaces/a/pods/web"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue_cert("ann@example.com")


@pytest.fixture
def ca_data(authority):
    return {"certificate-authority-data": base64_text(authority.cert_pem.bytes())}


def serving(authority, *names, client_certificates=ssl.CERT_NONE):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    context.verify_mode = client_certificates
    authority.configure_trust(context)
    server = ApiServer(context)
    server.answer(PATH, Answer(POD))
    return running(server)


@pytest.fixture
def plain():
    with running(ApiServer()) as server:
        server.answer(PATH, Answer(POD))
        yield server


def get(folder, server, user=None, cluster=None, **options):
    return kube.connect(ConnectionOptions(kubeconfig=kubeconfig(folder, server, user, cluster), **options)).get(
        PODS, "web", "a"
    )


def pair(certificate, folder=None):
    """The certificate and its key as kubeconfig data, or as files in `folder`."""
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    key = certificate.private_key_pem.bytes()
    if not folder:
        return {"client-certificate-data": base64_text(chain), "client-key-data": base64_text(key)}
    (folder / "ann.pem").write_bytes(chain)
    (folder / "ann.key").write_bytes(key)
    return {"client-certificate": "ann.pem", "client-key": "ann.key"}


def plugin(folder, status=None, code="", **more):
    """A user with a credential plugin, a Python program that prints this status."""
    program = folder / "plugin.py"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    program.write_text(
        f"import os, sys\nopen({str(folder / 'runs')!r}, 'a').write('x')\n{code}\nprint({json.dumps(credential)!r})\n"
    )
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(program)]}
    return {"exec": spec | more}


class TestTokenFile:
    def test_one_without_end(self, plain, tmp_path):
        with pytest.raises(CredentialError, match="/dev/zero is larger than 10 MB"):
            get(tmp_path, plain.url, {"tokenFile": "/dev/zero"})

    def test_white_space_around_it_does_not_count(self, plain, tmp_path):
        (tmp_path / "token").write_text(" abc\n")
        get(tmp_path, plain.url, {"tokenFile": "token", "token": "other"})
        assert plain.requests[0].headers["Authorization"] == "Bearer abc"

    def test_it_is_read_again_after_a_minute(self, plain, tmp_path, monkeypatch):
        (tmp_path / "token").write_text("first")
        cluster = kube.connect(ConnectionOptions(kubeconfig=kubeconfig(tmp_path, plain.url, {"tokenFile": "token"})))
        (tmp_path / "token").write_text("second")
        cluster.get(PODS, "web", "a")
        monkeypatch.setattr(credentials, "TOKEN_FILE_AGE", timedelta(0))
        expired = kube.connect(ConnectionOptions(kubeconfig=kubeconfig(tmp_path, plain.url, {"tokenFile": "token"})))
        (tmp_path / "token").write_text("third")
        expired.get(PODS, "web", "a")
        (tmp_path / "token").unlink()
        expired.get(PODS, "web", "a")
        sent = [request.headers["Authorization"] for request in plain.requests]
        assert sent == ["Bearer first", "Bearer third", "Bearer third"]

    @pytest.mark.parametrize(("text", "problem"), [(None, "No such file"), ("", "empty or void")])
    def test_without_a_token_nothing_is_sent(self, plain, tmp_path, text, problem):
        if text is not None:
            (tmp_path / "token").write_text(text)
        with pytest.raises(CredentialError, match=problem) as error:
            get(tmp_path, plain.url, {"tokenFile": "token"})
        assert 'user "ann" of context "test"' in error.value.message
        assert plain.requests == []


class TestPlugin:
    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("args", [1], r"exec.args\[0\] is a number"),
            ("args", "x", "exec.args is a string"),
            ("env", [1], r"exec.env\[0\] is a number"),
            ("env", [{"name": "X", "value": 1}], r"exec.env\[0\].value is a number"),
        ],
    )
    def test_what_it_cannot_be_told(self, plain, tmp_path, field, value, said):
        with pytest.raises(
            CredentialError, match=rf"kubeconfig {tmp_path}/kubeconfig: users\[0\]\.user\.{said}, not a"
        ):
            get(
                tmp_path,
                plain.url,
                plugin(tmp_path, {"token": "abc"}) | {"exec": plugin(tmp_path)["exec"] | {field: value}},
            )
        assert not (tmp_path / "runs").exists()

    def test_token(self, plain, tmp_path):
        user = plugin(tmp_path, {"token": "abc"}, env=[{"name": "X", "value": "z"}])
        get(tmp_path, plain.url, user)
        assert plain.requests[0].headers["Authorization"] == "Bearer abc"

    def test_what_it_is_told(self, plain, tmp_path):
        code = f"open({str(tmp_path / 'told')!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'] + os.getcwd() + os.environ['X'])"
        env = [{"name": "X", "value": "z"}]
        get(tmp_path, plain.url, plugin(tmp_path, {"token": "abc"}, code, provideClusterInfo=True, env=env))
        told = (tmp_path / "told").read_text()
        assert told.endswith(f"{Path.cwd()}z")
        assert json.loads(told.removesuffix(f"{Path.cwd()}z"))["spec"]["cluster"]["server"] == plain.url

    def test_certificate(self, authority, certificate, ca_data, tmp_path):
        data = {
            "clientCertificateData": certificate.cert_chain_pems[0].bytes().decode(),
            "clientKeyData": certificate.private_key_pem.bytes().decode(),
        }
        with serving(authority, client_certificates=ssl.CERT_REQUIRED) as server:
            assert get(tmp_path, server.url, plugin(tmp_path, data), ca_data) == POD
            get(tmp_path, server.url, plugin(tmp_path, data | {"token": "abc"}), ca_data)
        assert server.requests[1].headers["Authorization"] == "Bearer abc"

    @pytest.mark.parametrize("stdout", ["terminal", "pipe"])
    def test_on_a_terminal_its_words_are_seen_and_its_failure_is_no_bug(self, plain, tmp_path, stdout):
        """Whether anybody can read what the plugin says is stderr's to tell; stdout may be piped into jq."""
        user = plugin(tmp_path, {}, "sys.exit('open https://login.example')")
        config = kubeconfig(tmp_path, plain.url, user)
        program = [Path(sys.executable).parent / "kubectl-fsm", "rules", "--kubeconfig", str(config)]
        master, slave = pty.openpty()
        out = slave if stdout == "terminal" else subprocess.PIPE
        process = subprocess.Popen(program, stdin=slave, stdout=out, stderr=slave)
        os.close(slave)
        written = b""
        with suppress(OSError):  # that is how a terminal ends
            while part := os.read(master, 65536):
                written += part
        os.close(master)
        if process.stdout:
            process.stdout.close()
        assert process.wait(60) == 1
        shown = written.decode()
        assert "open https://login.example" in shown
        assert 'of user "ann" of context "test" failed: what it says stands above' in shown
        assert "this should not happen" not in shown

    def test_an_expiry_that_is_a_number(self, plain, tmp_path):
        with pytest.raises(CredentialError, match="expires at 5, which is no time"):
            get(tmp_path, plain.url, plugin(tmp_path, {"token": "abc", "expirationTimestamp": 5}))

    @pytest.mark.parametrize(("minutes", "runs"), [(3, 1), (-1, 3)])
    def test_it_runs_again_only_when_the_token_has_expired(self, plain, tmp_path, minutes, runs):
        expiry = datetime.now(timezone.utc) + timedelta(minutes=minutes)
        user = plugin(tmp_path, {"token": "abc", "expirationTimestamp": f"{expiry:%Y-%m-%dT%H:%M:%SZ}"})
        cluster = kube.connect(ConnectionOptions(kubeconfig=kubeconfig(tmp_path, plain.url, user)))
        for _ in range(2):
            cluster.get(PODS, "web", "a")
        assert len((tmp_path / "runs").read_text()) == runs

    @pytest.mark.parametrize(
        ("status", "code", "problem"),
        [
            ({"token": "abc"}, "sys.exit('please\\nlog in')", "returned 1. please log in"),
            ({}, "", "neither a token nor a client certificate"),
            ({"token": ""}, "", "neither a token nor a client certificate"),
            ({"clientCertificateData": "x"}, "", "neither a token nor a client certificate"),
            ("text", "", "neither a token nor a client certificate"),
            ({"token": "abc"}, "print('noise')", "failed to decode"),
            ({"token": "abc"}, "print(1); sys.exit()", "not iterable"),
            ({"token": "abc"}, "print('{}'); sys.exit()", "missing key"),
        ],
    )
    def test_a_failure_is_never_an_anonymous_request(self, plain, tmp_path, capfd, caplog, *, status, code, problem):
        user = plugin(tmp_path, status, code, installHint="see\nexample.com")
        with pytest.raises(CredentialError, match=f"^credential plugin .*{problem}") as error:
            get(tmp_path, plain.url, user)
        assert 'user "ann" of context "test"' in error.value.message
        assert "\n" not in error.value.message
        assert plain.requests == []
        assert (caplog.messages, capfd.readouterr()) == ([], ("", ""))

    def test_an_expiry_that_is_no_time(self, plain, tmp_path):
        with pytest.raises(CredentialError, match="soon"):
            get(tmp_path, plain.url, plugin(tmp_path, {"token": "abc", "expirationTimestamp": "soon"}))

    def test_an_expired_token_is_renewed_once_for_all_calls(self, plain, tmp_path):
        """The first run's token has expired, the second's has not: `runs` has grown by then."""
        user = plugin(tmp_path, {"token": "abc", "expirationTimestamp": "YEAR-01-01T00:00:00Z"})
        program = tmp_path / "plugin.py"
        year = f"'2020' if os.path.getsize({str(tmp_path / 'runs')!r}) == 1 else '2999'"
        program.write_text(program.read_text().rstrip().removesuffix(")") + f".replace('YEAR', {year}))")
        cluster = kube.connect(ConnectionOptions(kubeconfig=kubeconfig(tmp_path, plain.url, user)))
        cluster.gather(*[lambda: cluster.get(PODS, "web", "a")] * 4)
        assert len((tmp_path / "runs").read_text()) == 2

    @pytest.mark.parametrize(
        ("more", "hint"), [({}, "run kubectl-login"), ({"installHint": "see\nx.org"}, "see x.org")]
    )
    def test_a_program_that_is_not_there(self, plain, tmp_path, more, hint):
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "kubectl-login", **more}}
        with pytest.raises(CredentialError, match=r"kubectl-login of .* no such program") as error:
            get(tmp_path, plain.url, user)
        assert error.value.hint.startswith(hint)


class TestProvider:
    def token(self, expiry):
        part = urlsafe_b64encode(json.dumps({"exp": expiry}).encode()).decode().rstrip("=")
        return f"e30.{part}.c2ln"

    def test_an_expired_token_is_not_renewed_but_sent(self, plain, tmp_path):
        token = self.token(1)
        config = {
            "id-token": token,
            "refresh-token": "r",
            "client-id": "i",
            "client-secret": "s",
            "idp-issuer-url": plain.url,
        }
        get(tmp_path, plain.url, {"auth-provider": {"name": "oidc", "config": config}})
        assert [(r.path, r.headers["Authorization"]) for r in plain.requests] == [(PATH, f"Bearer {token}")]

    def test_a_token_that_is_none(self, plain, tmp_path):
        with pytest.raises(CredentialError, match="empty or void"):
            get(tmp_path, plain.url, {"auth-provider": {"name": "oidc", "config": {"client-id": "x"}}})
        assert plain.requests == []

    def test_providers_that_are_no_more(self, plain, tmp_path):
        with pytest.raises(CredentialError, match="auth provider gcp"):
            get(tmp_path, plain.url, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/false"}}})


class TestAuthority:
    def test_comments_around_it_may_be_anything(self, authority, tmp_path):
        path = tmp_path / "ca.crt"
        path.write_bytes("# Autorité de l'équipe\n".encode() + authority.cert_pem.bytes() + b"\xff\xfe end\n")
        with serving(authority) as server:
            assert get(tmp_path, server.url, {}, {"certificate-authority": str(path)}) == POD

    def test_one_without_a_certificate_is_not_the_systems(self, plain, tmp_path):
        path = tmp_path / "ca.crt"
        path.write_text("nothing")
        with pytest.raises(CredentialError, match="certificate-authority holds no certificate"):
            get(tmp_path, plain.url, {}, {"certificate-authority": str(path)})

    @pytest.mark.parametrize(
        ("user", "cluster", "problem"),
        [
            (
                {},
                {"certificate-authority": "gone.pem"},
                "certificate-authority /.*/gone.pem: No such file or directory$",
            ),
            ({}, {"certificate-authority-data": "ü"}, "certificate-authority-data is not base64: "),
            ({"tokenFile": "gone"}, {}, "tokenFile /.*/gone: No such file or directory$"),
        ],
    )
    def test_what_is_missing_is_named(self, plain, tmp_path, user, cluster, problem):
        with pytest.raises(
            CredentialError, match=f'the credentials of user "ann" of context "test" cannot be used: {problem}'
        ):
            get(tmp_path, plain.url, user, cluster)


class TestCertificates:
    @pytest.mark.parametrize("as_files", [True, False])
    def test_client_certificate(self, authority, certificate, ca_data, tmp_path, as_files):
        with serving(authority, client_certificates=ssl.CERT_REQUIRED) as server:
            assert get(tmp_path, server.url, pair(certificate, tmp_path if as_files else None), ca_data) == POD

    def test_no_key_is_left_in_a_file(self, certificate, ca_data, tmp_path):
        path = kubeconfig(tmp_path, "https://127.0.0.1:1", pair(certificate), ca_data)
        kube.connect(ConnectionOptions(kubeconfig=path))
        assert list(Path(tempfile.gettempdir()).iterdir()) == []

    def test_authority_in_a_file(self, authority, tmp_path):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        with serving(authority) as server:
            assert get(tmp_path, server.url, cluster={"certificate-authority": "ca.pem"}) == POD

    def test_an_intermediate_authority_is_trusted_by_itself(self, authority, tmp_path):
        child = authority.create_child_ca()
        with serving(child) as server:
            data = base64_text(child.cert_pem.bytes())
            assert get(tmp_path, server.url, cluster={"certificate-authority-data": data}) == POD

    def test_server_name(self, authority, ca_data, tmp_path):
        with serving(authority, "api.internal") as server:
            assert get(tmp_path, server.url, cluster=ca_data | {"tls-server-name": "api.internal"}) == POD
            with pytest.raises(Unreachable, match=r"not trusted: IP address mismatch") as error:
                get(tmp_path, server.url, cluster=ca_data)
        assert "tls-server-name" in error.value.hint

    def test_an_unknown_authority(self, authority, tmp_path):
        other = {"certificate-authority-data": base64_text(trustme.CA().cert_pem.bytes())}
        with serving(authority) as server:
            for cluster in (other, {}):
                with pytest.raises(Unreachable, match="is not trusted"):
                    get(tmp_path, server.url, {"token": "secret"}, cluster)
            assert server.requests == []

    def test_insecure(self, authority, tmp_path, capfd):
        with serving(authority, "elsewhere") as server:
            assert get(tmp_path, server.url, cluster={"insecure-skip-tls-verify": True}) == POD
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_expired(self, authority, ca_data, tmp_path, version):
        end = datetime(2024, 2, 3, 4, 5, tzinfo=timezone.utc)
        old = authority.issue_cert("ann@example.com", not_before=end - timedelta(days=1), not_after=end)
        with serving(authority, client_certificates=ssl.CERT_REQUIRED) as server:
            context = server.server.socket.context
            context.maximum_version = version
            with pytest.raises(Unreachable) as error:
                get(tmp_path, server.url, pair(old), ca_data)
        assert 'user "ann" of context "test" expired on 2024-02-03 04:05 UTC' in error.value.hint

    def test_expired_and_hung_up_on(self, authority, ca_data, tmp_path):
        old = authority.issue_cert("ann@example.com", not_after=datetime(2024, 2, 3, tzinfo=timezone.utc))

        def hang_up(_request):
            raise ConnectionError

        with serving(authority) as server:
            server.answer(PATH, hang_up)
            with pytest.raises(Unreachable, match="closed the connection") as error:
                get(tmp_path, server.url, pair(old), ca_data)
        assert "expired on 2024-02-03" in error.value.hint

    def test_expired_and_refused_by_the_api_server(self, authority, ca_data, tmp_path):
        end = datetime(2061, 2, 3, tzinfo=timezone.utc)
        until_2061 = authority.issue_cert("ann@example.com", not_after=end)
        old = authority.issue_cert(
            "ann@example.com",
            not_before=end - timedelta(days=20000),
            not_after=datetime(2024, 2, 3, tzinfo=timezone.utc),
        )
        with serving(authority) as server:
            server.answer(PATH, Answer({}, 401))
            for certificate, hint in ((old, "expired on 2024-02-03 00:00 UTC"), (until_2061, "log in again as user")):
                with pytest.raises(ApiError) as error:
                    get(tmp_path, server.url, pair(certificate), ca_data)
                assert hint in error.value.hint

    def test_none_where_one_is_wanted(self, authority, ca_data, tmp_path):
        with serving(authority, client_certificates=ssl.CERT_REQUIRED) as server, pytest.raises(Unreachable) as error:
            get(tmp_path, server.url, {}, ca_data)
        assert "expired" not in error.value.hint

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"client-key-data": None}, "PEM"),
            ({"client-key-data": "not base64"}, "client-key-data is not base64: "),
            ({"client-certificate-data": base64_text(b"no PEM")}, "PEM"),
            (
                {"client-certificate-data": None, "client-certificate": "gone.pem"},
                "client-certificate /.*gone.pem: No such file or directory$",
            ),
        ],
    )
    def test_unusable(self, certificate, ca_data, tmp_path, change, problem):
        with pytest.raises(CredentialError, match=problem):
            get(tmp_path, "https://127.0.0.1:1", pair(certificate) | change, ca_data)

    def test_an_encrypted_key_does_not_ask_for_its_password(self, certificate, tmp_path):
        """In a session of its own, where OpenSSL finds no terminal, it would ask on the standard streams."""
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        path = kubeconfig(tmp_path, "https://127.0.0.1:1", pair(certificate) | {"client-key-data": base64_text(key)})
        code = (
            "from kubectl_fsm.cluster import credentials, kube\n"
            f"try: kube.connect(kube.ConnectionOptions(kubeconfig={path!r}))\n"
            "except kube.CredentialError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input="password\n",
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
            start_new_session=True,
        )
        assert done.stdout.startswith('the credentials of user "ann" of context "test" cannot be used')
        assert done.stderr == ""


class TestProxy:
    """The host name exists behind the proxy only, so a request that is answered went through it."""

    @pytest.fixture
    def server(self, authority):
        with serving(authority, "api.test") as started:
            yield started

    def test_proxy_url_with_a_login(self, server, ca_data, tmp_path, monkeypatch):
        monkeypatch.setenv("NO_PROXY", "*")
        with running(Proxy(server.port)) as proxy:
            cluster = ca_data | {"proxy-url": f"http://me:p%40ss@{proxy.address}"}
            assert get(tmp_path, "https://api.test:6443", cluster=cluster) == POD
        assert proxy.asked == [("api.test:6443", "Basic bWU6cEBzcw==")]

    def test_of_the_environment(self, server, ca_data, tmp_path, monkeypatch):
        with running(Proxy(server.port)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.address)
            assert get(tmp_path, "https://api.test:6443", cluster=ca_data) == POD
            monkeypatch.setenv("NO_PROXY", "127.0.0.0/8,.test")
            with pytest.raises(Unreachable, match=r"api\.test:6443"):
                get(tmp_path, "https://api.test:6443", cluster=ca_data)
        assert proxy.asked == [("api.test:6443", None)]

    def test_one_that_refuses(self, ca_data, tmp_path):
        with running(Proxy(1, 407)) as proxy:
            cluster = ca_data | {"proxy-url": f"http://{proxy.address}"}
            with pytest.raises(Unreachable, match=r"proxy on the way to https://api.test.* 407") as error:
                get(tmp_path, "https://api.test", cluster=cluster)
        assert "proxy-url" in error.value.hint

    def test_one_that_is_down(self, tmp_path):
        with pytest.raises(Unreachable, match=r"proxy on the way .* refused"):
            get(tmp_path, "https://api.test", cluster={"proxy-url": "http://127.0.0.1:1"})

    @pytest.mark.parametrize(("kind", "asked"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
    def test_socks(self, authority, ca_data, tmp_path, kind, asked):
        """Whether the proxy looks names up is what the two differ in."""
        with serving(authority, "localhost") as server, running(SocksProxy(server.port)) as proxy:
            cluster = ca_data | {"proxy-url": f"{kind}://{proxy.address}"}
            assert get(tmp_path, "https://localhost:6443", cluster=cluster) == POD
        assert proxy.asked == [f"{asked}:6443"]

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("socks5://127.0.0.1:1", "the proxy 127.0.0.1:1 needs PySocks"),
            ("socks5://me:secret@127.0.0.1:1", "the proxy 127.0.0.1:1 needs PySocks"),
            ("ftp://127.0.0.1", "the proxy 127.0.0.1 cannot be used"),
            ("ftp://me:secret@127.0.0.1", "the proxy 127.0.0.1 cannot be used"),
        ],
    )
    def test_kinds_that_cannot_be_used(self, tmp_path, monkeypatch, url, problem):
        monkeypatch.setattr(kube, "find_spec", lambda _: None)
        with pytest.raises(CredentialError, match=problem):
            get(tmp_path, "https://api.test", cluster={"proxy-url": url})
