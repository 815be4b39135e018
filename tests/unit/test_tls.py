"""The TLS context of the connections to an API server."""

import ssl

import pytest

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
