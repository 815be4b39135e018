"""Connections between the places of a lab: many at a time, each told by whoever accepts it where it landed.

By UDP a connection is one datagram, and accepted is whose answer comes back.

One thread does both sides. A socket belongs to the network namespace and the user in which it was made, so dialling as
somebody means becoming that user for the one system call.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import NamedTuple

from kubectl_fsm.netfilter.lab.attempts import OUTSIDE, Attempt, Endpoint, Landing, Outcome, packed, unpacked
from kubectl_fsm.netfilter.lab.network import Network

PROTOCOLS: Mapping[str, socket.SocketKind] = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}

CATCH_ALL = 9
"""The port, discard's, at which `OUTSIDE` answers for all others: its rules redirect everything there."""

_AT_ONCE = 256
"""Connections under way at a time."""
_KEPT = 1024
"""Accepted connections that are kept open; by the time there are more, the callers of the oldest have their answer."""
_BACKLOG = 4096
_UNREAD = 1 << 20
"""Bytes for datagrams that are not read yet, or as many as the machine allows. The usual 208 KiB have room for little
more than `_AT_ONCE`, and what has no room is lost."""
_ANSWER = 4096
_ERRORS = 11
_PACKET_INFO = 8
_ORIGINAL_DESTINATION = 80
_TRANSPARENT = 19
_INFO = struct.Struct("=I4s4s")
"""struct in_pktinfo: an interface; the address that a datagram shall be sent from; the one that it came to."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: no waiting state is left behind, so ports can be had again at once. Accepted sockets take it over."""

_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.ETIMEDOUT: Outcome.TIMED_OUT,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
}


class _Listener(NamedTuple):
    place: str
    uid: int
    socket: socket.socket


class _Call(NamedTuple):
    attempt: int
    deadline: float
    socket: socket.socket


class Connections:
    """Listeners and callers in all places of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._epoll = select.epoll()
        self._listeners: dict[int, _Listener] = {}
        self._open: set[tuple[str, int]] = set()
        self._accepted: deque[socket.socket] = deque()
        self._calls: dict[int, _Call] = {}
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def listen(self, place: str, ports: Iterable[int], uid: int) -> None:
        """Answer at these ports of a place from now on; where somebody does already, nothing changes."""
        for port in ports:
            if (place, port) in self._open:
                continue
            for protocol in PROTOCOLS:
                (listener,) = self._sockets(place, uid, protocol, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("", port))
                if protocol == "tcp":
                    listener.listen(_BACKLOG)
                else:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)
                    listener.setsockopt(socket.IPPROTO_IP, _PACKET_INFO, 1)
                self._listeners[listener.fileno()] = _Listener(place, uid, listener)
                self._epoll.register(listener, select.EPOLLIN)
            self._open.add((place, port))

    def connect(self, attempts: Sequence[Attempt], seconds: float) -> list[Landing]:
        """Try all; each counts as timed out after `seconds` without an answer. Landings in the order of attempts.

        Nothing of what was tried before is remembered.
        """
        for tracking in self._network.tracking.values():
            tracking.forget()
        landings: dict[int, Landing] = {}
        left = deque(sorted(range(len(attempts)), key=lambda index: _kind(attempts[index])))
        try:
            while left or self._calls:
                if left and len(self._calls) <= _AT_ONCE // 2:
                    some = [left.popleft() for _ in range(min(len(left), _AT_ONCE - len(self._calls)))]
                    landings |= self._dial(attempts, some, time.monotonic() + seconds)
                landings |= self._turn()
        finally:
            self._hang_up()
        return [landings[index] for index in range(len(attempts))]

    def _sockets(self, place: str, uid: int, protocol: str, count: int) -> list[socket.socket]:
        """New sockets of a user in a place, not blocking. Raises `ValueError` for an unknown place or protocol."""
        if protocol not in PROTOCOLS:
            raise ValueError(f"nobody in this lab speaks {protocol!r}")
        self._network.enter(place)
        os.seteuid(uid)
        try:
            made = [socket.socket(socket.AF_INET, PROTOCOLS[protocol] | socket.SOCK_NONBLOCK) for _ in range(count)]
        finally:
            os.seteuid(0)
        for one in made:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return made

    def _dial(self, attempts: Sequence[Attempt], some: Sequence[int], deadline: float) -> dict[int, Landing]:
        """Begin some attempts; the landings of those that are over already."""
        over = {}
        for kind, group in groupby(some, key=lambda index: _kind(attempts[index])):
            numbers = list(group)
            for number, caller in zip(numbers, self._sockets(*kind, len(numbers)), strict=True):
                if error := self._begin(caller, attempts[number]):
                    caller.close()
                    over[number] = _failed(error)
                else:
                    self._epoll.register(caller, select.EPOLLIN)
                    self._calls[caller.fileno()] = _Call(number, deadline, caller)
        return over

    def _begin(self, caller: socket.socket, attempt: Attempt) -> int:
        """Let a call begin; the number of the error where it cannot."""
        try:
            if mark := self._network.mark(attempt.origin, attempt.interface):
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if attempt.source or attempt.source_port:
                if attempt.protocol == "tcp":
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if attempt.origin == OUTSIDE:
                    caller.setsockopt(socket.IPPROTO_IP, _TRANSPARENT, 1)
                caller.bind((attempt.source or "", attempt.source_port or 0))
            caller.setsockopt(socket.IPPROTO_IP, _ERRORS, 1)
            number = caller.connect_ex((attempt.destination, attempt.port))
        except OSError as error:
            return error.errno or errno.EINVAL
        if attempt.protocol == "udp" and not number:
            with suppress(PermissionError):  # dropped here already; like any other it may be answered by ICMP or not
                caller.send(b"")
        return 0 if number == errno.EINPROGRESS else number

    def _turn(self) -> dict[int, Landing]:
        """Wait until something happens or the oldest call is due; the landings of calls that are over.

        As long as anything happens, nothing is timed out: on a busy machine this process itself may have been late.
        """
        over = {}
        oldest = next(iter(self._calls.values()), None)
        wait = max(0.0, oldest.deadline - time.monotonic()) if oldest else 0
        events = self._epoll.poll(wait)
        for number, _ in events:
            if listener := self._listeners.get(number):
                if listener.socket.type == PROTOCOLS["udp"]:
                    self._receive(listener)
                else:
                    self._accept(listener)
            elif landing := _answer(self._calls[number].socket):
                over[self._end(number)] = landing
        now = time.monotonic()
        for number in [] if events else [number for number, call in self._calls.items() if call.deadline <= now]:
            over[self._end(number)] = _failed(errno.ETIMEDOUT)
        return over

    def _end(self, number: int) -> int:
        call = self._calls.pop(number)
        call.socket.close()
        return call.attempt

    def _accept(self, listener: _Listener) -> None:
        """Tell all who have come to a listener where they are."""
        with suppress(BlockingIOError):
            while True:
                guest, peer = listener.socket.accept()
                self._accepted.append(guest)
                with suppress(ConnectionError):
                    guest.send(
                        _told(listener, Endpoint(*guest.getsockname()), Endpoint(*peer), partial(_dialled, guest))
                    )
        while len(self._accepted) > _KEPT:
            self._accepted.popleft().close()

    def _receive(self, listener: _Listener) -> None:
        """Tell the sender of each datagram that has come where it is, from the address that it came to."""
        _, port = listener.socket.getsockname()
        tracking = self._network.tracking[listener.place]
        while True:
            try:
                _, [(_, _, info)], _, peer = listener.socket.recvmsg(0, _ANSWER)
            except BlockingIOError:
                return
            _, _, address = _INFO.unpack(info)
            local, caller = Endpoint(socket.inet_ntoa(address), port), Endpoint(*peer)
            text = _told(listener, local, caller, partial(tracking.original, local, caller))
            source = (socket.IPPROTO_IP, _PACKET_INFO, _INFO.pack(0, address, b""))
            with suppress(PermissionError):  # rules of this place drop it
                listener.socket.sendmsg([text], [source], 0, peer)

    def _hang_up(self) -> None:
        for number in list(self._calls):
            self._end(number)
        while self._accepted:
            self._accepted.pop().close()


def _kind(attempt: Attempt) -> tuple[str, int, str]:
    """What the socket for an attempt depends on."""
    return attempt.origin, attempt.uid, attempt.protocol


def _dialled(guest: socket.socket) -> Endpoint:
    answer = guest.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DESTINATION, 16)
    port, address = struct.unpack("!2xH4s8x", answer)
    return Endpoint(socket.inet_ntoa(address), port)


def _told(listener: _Listener, local: Endpoint, peer: Endpoint, dialled: Callable[[], Endpoint]) -> bytes:
    """The landing of who has come to a listener, as it is told."""
    try:
        original = dialled()
    except FileNotFoundError:  # nothing tracks connections here, so nothing has changed this one
        original = local
    if listener.place == OUTSIDE and local.port == CATCH_ALL:
        local = original
    return json.dumps(packed(Landing(Outcome.ACCEPTED, listener.place, local, original, peer, listener.uid))).encode()


def _answer(caller: socket.socket) -> Landing | None:
    """What a caller was told, or why nobody will tell it anything; None as long as that is open."""
    try:
        text = caller.recv(_ANSWER)
    except BlockingIOError:
        return _complaint(caller)
    except OSError as error:
        return _failed(error.errno or errno.EINVAL)
    return unpacked(json.loads(text)) if text else _failed(errno.ECONNRESET)


def _complaint(caller: socket.socket) -> Landing | None:
    """What ICMP said to a call that has not begun yet. That it came so soon is no reason to ask again in a second."""
    try:
        _, ancillary, _, _ = caller.recvmsg(_ANSWER, _ANSWER, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    errors = (struct.unpack_from("=I", data)[0] for _, kind, data in ancillary if kind == _ERRORS)
    return _failed(next(errors, errno.EINVAL))


def _failed(number: int) -> Landing:
    return Landing(_OUTCOMES.get(number, Outcome.IMPOSSIBLE), error=errno.errorcode[number])
