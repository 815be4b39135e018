"""The TLS context of the connections to an API server."""

import ssl

import certifi
import pytest
import trustme

from kubectl_fsm.cluster import tls
from kubectl_fsm.cluster.tls import client_context


def test_connections_of_other_threads_do_not_change_the_protocols():
    context = client_context(verify=False)
    context.set_alpn_protocols(["other"])
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
    sent = hello.read()
    assert b"\x08http/1.1" in sent
    assert b"other" not in sent


class TestAuthorities:
    """Where a kubeconfig names none; OpenSSL's own places are those that it was built with."""

    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch, tmp_path):
        """An OpenSSL that was built for another system, and a system that keeps its authorities nowhere known."""
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda _: None)
        self.openssl_looks_in(monkeypatch, tmp_path / "none")
        monkeypatch.setattr(tls, "_SYSTEM_AUTHORITIES", (tmp_path / "a.pem", tmp_path / "b.pem"))

    @staticmethod
    def openssl_looks_in(monkeypatch, folder):
        there = ssl.DefaultVerifyPaths(None, str(folder), "SSL_CERT_FILE", "", "SSL_CERT_DIR", str(folder))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: there)

    @staticmethod
    def trusted(context):
        return sorted(one["serialNumber"] for one in context.get_ca_certs())

    def test_those_of_the_system_wherever_it_keeps_them(self, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "b.pem")
        assert len(self.trusted(client_context(verify=True))) == 1

    def test_certifis_where_it_keeps_none(self):
        known = ssl.create_default_context(cafile=certifi.where())
        assert self.trusted(client_context(verify=True)) == self.trusted(known) != []

    @pytest.mark.parametrize(("name", "falls_back"), [("", True), ("ca-bundle.crt", True), ("1a2b3c4d.0", False)])
    def test_openssl_finds_in_a_folder_what_is_named_by_a_hash(self, monkeypatch, tmp_path, name, falls_back):
        """And then it reads what it is asked for, when it is asked."""
        folder = tmp_path / "own"
        folder.mkdir()
        if name:
            trustme.CA().cert_pem.write_to_path(folder / name)
        self.openssl_looks_in(monkeypatch, folder)
        assert bool(self.trusted(client_context(verify=True))) == falls_back

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_where_the_environment_says_whom_to_trust_nobody_else_is(self, monkeypatch, tmp_path, variable):
        monkeypatch.undo()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        assert self.trusted(client_context(verify=True)) == []
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
        assert len(self.trusted(client_context(verify=True))) == (variable == "SSL_CERT_FILE")

    def test_the_one_that_is_named_stays_alone(self):
        pem = trustme.CA().cert_pem.bytes().decode()
        assert len(self.trusted(client_context(verify=True, authority=pem))) == 1
