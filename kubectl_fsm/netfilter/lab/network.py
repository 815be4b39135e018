"""Private namespaces: a node, pods on bridges behind it, and the rest of the world.

    pod eth0 ── pods0 ┐
                      ├ node ── outside (every other address)
    pod net1 ── pods1 ┘

A pod's address is alone in its network (/32), so that packets between pods pass through the node's rules too, wherever
the bridge's own filter is not loaded. Namespaces have no names: only this process's file descriptors hold them, and the
kernel takes them away, with the interfaces in them, when it ends.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import zip_longest
from pathlib import Path

from kubectl_fsm.netfilter.lab.attempts import NODE, NODE_ADDRESS, OUTSIDE, OUTSIDE_ADDRESS, PodNet
from kubectl_fsm.netfilter.lab.tracking import Tracking

_NEW_MOUNTS = 0x00020000
_NEW_NETWORK = 0x40000000
_BIND = 0x1000
_RECURSIVE_PRIVATE = 0x4000 | 1 << 18
_OWN_FOLDERS = ("/run",)
"""Covered by an empty folder: the lock of legacy iptables lies there, and the host's has nothing to do with ours."""

_NAME_SERVICE = Path("/etc/nsswitch.conf")
"""Covered by one that knows files only: a word that is no address would have iptables ask a name server, for seconds."""
_FILES_ONLY = "hosts: files\nnetworks: files\n"

_INTERFACE = re.compile(r"(?!\.\.?$)[0-9A-Za-z_.@-]{1,15}")
_SYSCTL = Path("/proc/sys/net")
_EVERYWHERE: Mapping[str, int] = {
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv4/conf/all/send_redirects": 0,
    "ipv4/conf/default/send_redirects": 0,
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv6/conf/default/disable_ipv6": 1,
    "ipv4/icmp_ratelimit": 0,
    "ipv4/icmp_msgs_per_sec": 1_000_000,
    "ipv4/icmp_msgs_burst": 1_000_000,
    "bridge/bridge-nf-call-iptables": 0,
    "netfilter/nf_conntrack_tcp_timeout_close": 1,
}
"""A new namespace may inherit these from the host. No way is too odd for a packet, no redirect or IPv6 is sent, bridges
are no routers, no answer is withheld because there were many, and what is over is not remembered for long."""
_ON_NODE: Mapping[str, int] = {"ipv4/ip_forward": 1, "ipv4/conf/all/route_localnet": 1}

_FIRST_TABLE = 100
"""Routing tables from here on lead out by a pod's other interfaces, one for each."""
_SECONDS = 30
"""For one run of a program; they take milliseconds."""

_libc = ctypes.CDLL(None, use_errno=True)


class ProgramFailed(Exception):
    """A program ended with an error; the text is its own."""


class Network:
    """All places, by name. Made once in a process, which it moves into its own namespaces for good.

    Raises `OSError` where the process may not make namespaces, `ProgramFailed` and `ValueError` where pods are not as
    they can be.
    """

    def __init__(self, pods: Sequence[PodNet]) -> None:
        _check(pods)
        _call("unshare", _NEW_NETWORK | _NEW_MOUNTS)
        _call("mount", b"none", b"/", None, _RECURSIVE_PRIVATE, None)
        for folder in _OWN_FOLDERS:
            _call("mount", b"none", folder.encode(), b"tmpfs", 0, None)
        if _NAME_SERVICE.exists():
            own = Path(_OWN_FOLDERS[0], _NAME_SERVICE.name)
            own.write_text(_FILES_ONLY)
            _call("mount", bytes(own), bytes(_NAME_SERVICE), None, _BIND, None)
        self._here = NODE
        self._places = {NODE: _current()}
        self.tracking = {NODE: Tracking()}
        _set(_EVERYWHERE)
        for name in (OUTSIDE, *(pod.name for pod in pods)):
            _call("unshare", _NEW_NETWORK)
            self._places[name], self._here = _current(), name
            self.tracking[name] = Tracking()
            _set(_EVERYWHERE)
        self._marks = {pod.name: {name: index for index, name in enumerate(pod.interfaces)} for pod in pods}
        self._build_node(pods)
        self._build_outside(pods)
        for pod in pods:
            self._ip(pod.name, _pod_lines(pod))

    def enter(self, place: str) -> None:
        """From now on this thread's sockets and programs are in that place. Raises `ValueError` for an unknown one."""
        if place not in self._places:
            raise ValueError(f"there is no place {place!r} in this lab")
        if place != self._here:
            _call("setns", self._places[place], _NEW_NETWORK)
            self._here = place

    def mark(self, place: str, interface: str | None) -> int:
        """The mark of packets that shall leave a place by this interface; 0 for the usual one."""
        marks = self._marks.get(place, {})
        if interface is None or interface == "lo":
            return 0
        if interface not in marks:
            raise ValueError(f"{place} has no interface {interface!r}")
        return marks[interface]

    def run(self, place: str, program: Sequence[str], text: str = "") -> str:
        """Run a program in a place with `text` on its standard input; its output. Raises `ProgramFailed`."""
        self.enter(place)
        done = subprocess.run(program, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise ProgramFailed(done.stderr.strip() or f"{program[0]} ended with {done.returncode}")
        return done.stdout

    def _ip(self, place: str, lines: Iterator[str]) -> None:
        self.run(place, ("ip", "-batch", "-"), "".join(f"{line}\n" for line in lines))

    def _file(self, place: str) -> str:
        return f"/proc/{os.getpid()}/fd/{self._places[place]}"

    def _build_node(self, pods: Sequence[PodNet]) -> None:
        self.enter(NODE)
        _set(_ON_NODE)
        self._ip(NODE, self._node_lines(pods))

    def _node_lines(self, pods: Sequence[PodNet]) -> Iterator[str]:
        yield "link set lo up"
        yield f"link add uplink type veth peer name eth0 netns {self._file(OUTSIDE)}"
        yield f"address add {NODE_ADDRESS}/32 dev uplink"
        yield "link set uplink up"
        yield f"route add {OUTSIDE_ADDRESS}/32 dev uplink"
        yield f"route add default via {OUTSIDE_ADDRESS} dev uplink"
        columns = zip_longest(*([(pod, *item) for item in pod.interfaces.items()] for pod in pods))
        for column, wires in enumerate(columns):
            bridge = f"pods{column}"
            yield f"link add {bridge} type bridge"
            yield f"address add {NODE_ADDRESS}/32 dev {bridge}"
            yield f"link set {bridge} up"
            for row, wire in enumerate(wires):
                if wire:
                    pod, interface, address = wire
                    end = f"pod{row}.{column}"
                    yield f"link add {end} type veth peer name {interface} netns {self._file(pod.name)}"
                    yield f"link set {end} master {bridge} up"
                    yield f"route add {address}/32 dev {bridge}"

    def _build_outside(self, pods: Sequence[PodNet]) -> None:
        addresses = [address for pod in pods for address in pod.interfaces.values()]
        lines = (
            "link set lo up",
            f"address add {OUTSIDE_ADDRESS}/32 dev eth0",
            "link set eth0 up",
            f"route add {NODE_ADDRESS}/32 dev eth0",
            *(f"route add {address}/32 via {NODE_ADDRESS}" for address in addresses),
            "route add local 0.0.0.0/0 dev lo table main",
        )
        self._ip(OUTSIDE, iter(lines))


def _pod_lines(pod: PodNet) -> Iterator[str]:
    yield "link set lo up"
    for column, (interface, address) in enumerate(pod.interfaces.items()):
        yield f"address add {address}/32 dev {interface}"
        yield f"link set {interface} up"
        table = f"table {_FIRST_TABLE + column}" if column else ""
        yield f"route add {NODE_ADDRESS}/32 dev {interface} src {address} {table}"
        yield f"route add default via {NODE_ADDRESS} dev {interface} src {address} onlink {table}"
        if column:
            yield f"rule add fwmark {column} lookup {_FIRST_TABLE + column}"


def _check(pods: Sequence[PodNet]) -> None:
    """What becomes words for `ip` has to be what it claims to be, and of one kind only one."""
    names = [NODE, OUTSIDE, *(pod.name for pod in pods)]
    addresses = [NODE_ADDRESS, OUTSIDE_ADDRESS, *(address for pod in pods for address in pod.interfaces.values())]
    for what, values in (("name", names), ("address", addresses)):
        if twice := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"two places have the {what} {twice[0]}")
    for pod in pods:
        for interface, address in pod.interfaces.items():
            IPv4Address(address)
            if not _INTERFACE.fullmatch(interface) or interface == "lo":
                raise ValueError(f"a pod cannot have a network interface {interface!r} of its own")
        if not pod.interfaces:
            raise ValueError(f"pod {pod.name} has no network interface")


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)


def _current() -> int:
    """A file descriptor that keeps the present network namespace."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _set(values: Mapping[str, int]) -> None:
    """Set the present namespace's sysctls as far as this kernel has them."""
    for name, value in values.items():
        path = _SYSCTL / name
        if path.exists():
            path.write_text(f"{value}\n")
