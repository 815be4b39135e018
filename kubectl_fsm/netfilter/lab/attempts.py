"""What a lab consists of, what is tried in it and what comes of that; the words between a lab and its agent."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

NODE = "node"
"""The place that forwards for all pods; kube-proxy's rules belong here."""
OUTSIDE = "outside"
"""The place behind the node that answers at every address and every port that is nobody else's."""
NODE_ADDRESS = "192.0.2.1"
OUTSIDE_ADDRESS = "192.0.2.2"
"""The two places' own addresses, of a network that is kept for documentation (RFC 5737)."""


class PodNet(NamedTuple):
    """A pod as the network sees it.

    `interfaces`: names and IPv4 addresses; the first is the one that packets leave by. `listeners`: the ports at which
    something answers, by TCP and UDP and at every address of the pod, each with the user id of who listens.
    """

    name: str
    interfaces: Mapping[str, str]
    listeners: Mapping[int, int] = {}

    @property
    def address(self) -> str:
        """The pod's own address, the one that Kubernetes knows."""
        return next(iter(self.interfaces.values()))


class Endpoint(NamedTuple):
    """One end of a connection."""

    address: str
    port: int


class Attempt(NamedTuple):
    """One connection to be tried: from `origin`, a pod's name, `NODE` or `OUTSIDE`, by a process of user `uid`.

    By `protocol` udp it is one datagram, and whoever answers it has accepted it. While it is under way, no other one from
    this place can have its `source_port`.

    `interface` makes the route lead out by another interface of the pod than the first; to addresses of the pod itself
    it changes nothing. `source` and `source_port` are chosen by the kernel where they are None; `OUTSIDE` can use any
    address as its own.
    """

    origin: str
    destination: str
    port: int
    uid: int = 0
    interface: str | None = None
    source: str | None = None
    source_port: int | None = None
    protocol: str = "tcp"


class Outcome(Enum):
    """What came of an attempt."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RESET = "reset"
    """Cut before anybody answered."""
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    IMPOSSIBLE = "impossible"
    """The kernel would not even try: such a destination, or such a source, cannot be."""


class Landing(NamedTuple):
    """Where a connection landed.

    Of an accepted one: `place` is the pod, `NODE` or `OUTSIDE`; `local` the address and port that took it; `original`
    what was dialled before this place's own rules changed it, which is `local` where they did not; `peer` the caller as
    seen from there; `uid` the listener's. Of any other only `error` is known, the name of the error number.
    `OUTSIDE` has every address, so its `local` is what reached it.
    """

    outcome: Outcome
    place: str = ""
    local: Endpoint | None = None
    original: Endpoint | None = None
    peer: Endpoint | None = None
    uid: int | None = None
    error: str = ""


def packed(landing: Landing) -> list[Any]:
    """A landing as JSON can hold it."""
    return [landing.outcome.value, *landing[1:]]


def unpacked(values: list[Any]) -> Landing:
    """The opposite of `packed`."""
    outcome, place, local, original, peer, uid, error = values
    local, original, peer = (end and Endpoint(*end) for end in (local, original, peer))
    return Landing(Outcome(outcome), place, local, original, peer, uid, error)
