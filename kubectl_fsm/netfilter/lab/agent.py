"""The process inside: makes the namespaces, does what it is told line by line, and ends when its parent does.

Each line on standard input is a JSON list, the name of an errand and its arguments; each is answered by a line, an
object with `answer`, or else `refused` (a program's own words), `forbidden` or `failed`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kubectl_fsm.netfilter.lab.attempts import OUTSIDE, Attempt, PodNet, packed
from kubectl_fsm.netfilter.lab.connections import CATCH_ALL, PROTOCOLS, Connections
from kubectl_fsm.netfilter.lab.network import Network, ProgramFailed

_TO_CATCH_ALL = "*nat\n{}COMMIT\n".format(
    "".join(
        f"-A {chain} -p {protocol} -j REDIRECT --to-ports {CATCH_ALL}\n"
        for chain in ("PREROUTING", "OUTPUT -o lo")
        for protocol in PROTOCOLS
    )
)


def main(parent: int) -> None:
    """Serve the process `parent` until it closes standard input or is no more."""
    _end_with(parent)
    errands: Mapping[str, Callable[..., Any]] = {"build": _build}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = errands[name](*arguments)
            if isinstance(answer, _Lab):
                errands, answer = answer.errands, None
            reply = {"answer": answer}
        except ProgramFailed as error:
            reply = {"refused": str(error)}
        except PermissionError as error:
            reply = {"forbidden": str(error)}
        except (OSError, ValueError, OverflowError) as error:
            reply = {"failed": str(error)}
        sys.stdout.write(f"{json.dumps(reply)}\n")
        sys.stdout.flush()


class _Lab:
    """A network with connections in it, and the programs for its rules."""

    def __init__(self, network: Network, save: str, restore: str) -> None:
        self._network = network
        self._save = save
        self._restore = restore
        self._connections = Connections(network)
        self.errands: Mapping[str, Callable[..., Any]] = {
            "restore": self.restore,
            "save": self.save,
            "listen": self._connections.listen,
            "connect": self.connect,
        }

    def restore(self, place: str, text: str) -> None:
        self._network.run(place, (self._restore, "--noflush"), text)

    def save(self, place: str, table: str) -> str:
        return self._network.run(place, (self._save, "-t", table))

    def listen(self, place: str, ports: list[int], uid: int) -> None:
        self._connections.listen(place, ports, uid)

    def connect(self, attempts: list[list[Any]], seconds: float) -> list[Any]:
        wanted = [Attempt(*values) for values in attempts]
        return [packed(landing) for landing in self._connections.connect(wanted, seconds)]


def _build(pods: list[Any], save: str, restore: str) -> _Lab:
    nets = [PodNet(name, dict(interfaces)) for name, interfaces in pods]
    lab = _Lab(Network(nets), save, restore)
    lab.restore(OUTSIDE, _TO_CATCH_ALL)
    lab.listen(OUTSIDE, [CATCH_ALL], 0)
    return lab


def _end_with(parent: int) -> None:
    """Watch the parent from a thread of its own, so that nothing this process does can keep it alive.

    A death signal (PR_SET_PDEATHSIG) would not do: it is for the thread that started us, and changing user clears it.
    """
    parent_file = os.pidfd_open(parent)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        poll = select.poll()
        poll.register(parent_file, select.POLLIN)
        poll.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
