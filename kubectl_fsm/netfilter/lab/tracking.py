"""What connection tracking knows in a place, asked by netlink (nfnetlink_conntrack.h)."""

from __future__ import annotations

import os
import socket
import struct
from typing import final

from kubectl_fsm.netfilter.lab.attempts import Endpoint

_NETLINK_NETFILTER = 12
_ANSWER = 4096
_ERROR = 2
"""NLMSG_ERROR; error number 0 is a plain yes."""
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
"""IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE; without saying which, that is all connections."""
_REQUEST, _YES_PLEASE = 1, 4
"""NLM_F_REQUEST and NLM_F_ACK."""
_HEADERS = struct.Struct("=IHHIIBBH")
"""struct nlmsghdr and struct nfgenmsg."""

_NESTED = 1 << 15
_ORIGINAL, _REPLY = 1, 2
"""CTA_TUPLE_ORIG and CTA_TUPLE_REPLY: the connection as it began, and as its answers are sent."""
_ADDRESSES, _PROTOCOL = 1, 2
_SOURCE, _DESTINATION = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3


@final
class Tracking:
    """The connections through the network namespace in which this was made."""

    def __init__(self) -> None:
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)

    def forget(self) -> None:
        """Forget all: what rules decided for one would be kept to for a later one with the same source port.

        A connection that was dropped is remembered for two minutes, a datagram for half of one.
        """
        self._ask(_DELETE, _REQUEST | _YES_PLEASE, b"")

    def original(self, local: Endpoint, peer: Endpoint) -> Endpoint:
        """Where a datagram from `peer` was sent before rules led it to `local`; SO_ORIGINAL_DST tells it for TCP only.

        Raises `FileNotFoundError` where it is not tracked.
        """
        answer = _read(self._ask(_GET, _REQUEST, _write(_REPLY | _NESTED, *_tuple(local, peer))))
        connection = _read(answer[_ORIGINAL])
        address = _read(connection[_ADDRESSES])[_DESTINATION]
        return Endpoint(
            socket.inet_ntoa(address), int.from_bytes(_read(connection[_PROTOCOL])[_DESTINATION_PORT], "big")
        )

    def _ask(self, kind: int, flags: int, text: bytes) -> bytes:
        """The attributes of the answer. Raises `OSError` with the number in it."""
        self._netlink.send(_HEADERS.pack(_HEADERS.size + len(text), kind, flags, 1, 0, socket.AF_INET, 0, 0) + text)
        answer = self._netlink.recv(_ANSWER)
        _, answered, error = struct.unpack_from("=IH10xi", answer)
        if answered == _ERROR and error:
            raise OSError(-error, os.strerror(-error), "connection tracking")
        return answer[_HEADERS.size :]


def _tuple(source: Endpoint, destination: Endpoint) -> tuple[bytes, bytes]:
    """A way of datagrams."""
    return (
        _write(
            _ADDRESSES | _NESTED,
            _write(_SOURCE, socket.inet_aton(source.address)),
            _write(_DESTINATION, socket.inet_aton(destination.address)),
        ),
        _write(
            _PROTOCOL | _NESTED,
            _write(_NUMBER, bytes([socket.IPPROTO_UDP])),
            _write(_SOURCE_PORT, source.port.to_bytes(2, "big")),
            _write(_DESTINATION_PORT, destination.port.to_bytes(2, "big")),
        ),
    )


def _write(kind: int, *content: bytes) -> bytes:
    """An attribute: struct nlattr, what it holds, and what is missing to four bytes."""
    held = b"".join(content)
    return struct.pack("=HH", 4 + len(held), kind) + held + bytes(-len(held) % 4)


def _read(text: bytes) -> dict[int, bytes]:
    """The opposite of `_write`, for attributes one behind the other."""
    found = {}
    while text:
        length, kind = struct.unpack_from("=HH", text)
        found[kind & ~_NESTED] = text[4:length]
        text = text[length + -length % 4 :]
    return found
