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
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        monkeypatch.setattr(tls, "_SYSTEM_AUTHORITIES", (tmp_path / "a.pem", tmp_path / "b.pem"))

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

    def test_an_empty_folder_of_them_is_none(self, monkeypatch, tmp_path):
        (tmp_path / "empty").mkdir()
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
        assert self.trusted(client_context(verify=True))

    @pytest.mark.parametrize("place", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
    def test_openssls_own_place_comes_first(self, monkeypatch, tmp_path, place):
        """From a folder OpenSSL reads what it is asked for, when it is asked."""
        folder = tmp_path / "own"
        folder.mkdir()
        trustme.CA().cert_pem.write_to_path(folder / "ca.pem")
        monkeypatch.setenv(place, str(folder / "ca.pem" if place == "SSL_CERT_FILE" else folder))
        assert len(self.trusted(client_context(verify=True))) == (place == "SSL_CERT_FILE")

    def test_the_one_that_is_named_stays_alone(self):
        pem = trustme.CA().cert_pem.bytes().decode()
        assert len(self.trusted(client_context(verify=True, authority=pem))) == 1
