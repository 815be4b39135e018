"""The kernel as judge: pods as network namespaces, rules in them, and connections that land where the kernel says.

Needs root on Linux, `ip` and iptables. Everything happens in a process of its own, in a private mount and network
namespace; nothing of the host's is touched, and however this process ends, nothing is left (`lab.agent`).

Rules are loaded as they are. Whoever has them from elsewhere has to read them and write them anew (`script`): the input
of `iptables-restore` can say more than rules, it may even name a program to run (`--modprobe`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, final

from kubectl_fsm.errors import FsmError, NoKernel, RulesRefused
from kubectl_fsm.netfilter.lab.attempts import (
    NODE,
    NODE_ADDRESS,
    OUTSIDE,
    OUTSIDE_ADDRESS,
    Attempt,
    Endpoint,
    Landing,
    Outcome,
    PodNet,
    unpacked,
)
from kubectl_fsm.netfilter.model import BUILT_IN_CHAINS
from kubectl_fsm.netfilter.targets import POD_IP

__all__ = ["BACKENDS", "NODE", "NODE_ADDRESS", "OUTSIDE", "OUTSIDE_ADDRESS", "Attempt", "Endpoint", "Lab", "Landing",
           "Outcome", "PodNet", "missing", "require"]  # fmt: skip

SECONDS = 2.0
"""How long a connection may take. In here an answer takes a millisecond; no answer at all is an answer too."""

BACKENDS: Mapping[str, str] = {"nft": "nf_tables", "legacy": "legacy"}
"""The two parts of the kernel that iptables can speak to, and what its programs call them."""

_TABLE = re.compile(r"^\*(\w+)", re.MULTILINE)
_ERROR_LINE = re.compile(r"(line:? )(\d+)")
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
"""Where the programs lie; the PATH of somebody who became root may lack them."""
_AT_ONCE = 2000
"""Attempts in one message to the agent."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from kubectl_fsm.netfilter.lab import agent; agent.main(int(sys.argv[2]))"
)


class _Programs(NamedTuple):
    save: str
    restore: str


def missing(backend: str = "nft") -> str:
    """What a lab lacks here, in words for people; empty where one can be made."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid():
        return "root"
    lacking = [] if _find("ip") else ["ip (package iproute2)"]
    if not _programs(backend):
        lacking.append(f"iptables-{backend}-restore (package iptables)")
    return " and ".join(lacking)


def require(backend: str = "nft") -> _Programs:
    """The programs for a lab. Raises `NoKernel` where none can be made, saying what it lacks."""
    lacking, programs = missing(backend), _programs(backend)
    if lacking or not programs:
        raise NoKernel(
            f"the kernel cannot be asked here: {lacking} is needed",
            "it takes root on Linux, and the packages iproute2 and iptables",
        )
    return programs


@final
class Lab:
    """A node with pods behind it, and all the world outside it, between `with` and its end.

    Not for several threads at a time. After any exception that is no `RulesRefused`, Ctrl-C included, it is closed.
    Raises `NoKernel` on entering where it cannot be, `FsmError` where pods do not fit together.
    """

    def __init__(self, pods: Sequence[PodNet], backend: str = "nft", seconds: float = SECONDS) -> None:
        self._pods = pods
        self._backend = backend
        self._seconds = seconds
        self._tables: dict[str, set[str]] = {}
        self._agent: subprocess.Popen[str] | None = None

    def __enter__(self) -> Lab:
        programs = require(self._backend)
        self._agent = subprocess.Popen(
            [sys.executable, *_boot(), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd="/",
            env={"PATH": _path(), "LC_ALL": "C"},
            start_new_session=True,
        )
        self._ask("build", [(pod.name, list(pod.interfaces.items())) for pod in self._pods], *programs)
        for pod in self._pods:
            for port, uid in pod.listeners.items():
                self.listen(pod.name, [port], uid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down; again is no harm."""
        agent, self._agent = self._agent, None
        if agent:
            agent.kill()
            agent.communicate()

    def load(self, pod: str, rules: str) -> None:
        """Make `rules`, a text for `iptables-restore`, all the rules of a pod, with its address for `$POD_IP`.

        Raises `RulesRefused`, with iptables' words and the line they are about; the pod then has no rules.
        """
        address = next((one.address for one in self._pods if one.name == pod), "")
        if not address:
            raise FsmError(f"there is no pod {pod} in this lab")
        self._load(pod, rules.replace(POD_IP, address))

    def load_node(self, rules: str) -> None:
        """The same for the node, where kube-proxy has its rules."""
        self._load(NODE, rules)

    def saved(self, place: str, table: str = "nat") -> str:
        """What `iptables-save` says of a table of a place."""
        answer: str = self._ask("save", place, table)
        return answer

    def listen(self, place: str, ports: Iterable[int], uid: int = 0) -> None:
        """Have somebody answer at these ports too, by TCP and UDP, at every address of the place."""
        self._ask("listen", place, list(ports), uid)

    def connect(self, attempt: Attempt) -> Landing:
        """Try one connection."""
        return self.connect_many([attempt])[0]

    def connect_many(self, attempts: Sequence[Attempt]) -> list[Landing]:
        """Try connections, hundreds at a time; where they landed, in the order of the attempts."""
        landings: list[Landing] = []
        for start in range(0, len(attempts), _AT_ONCE):
            landings += map(unpacked, self._ask("connect", attempts[start : start + _AT_ONCE], self._seconds))
        return landings

    def _load(self, place: str, rules: str) -> None:
        reset = "".join(_empty(table) for table in sorted(self._tables.get(place, ())))
        self._tables.setdefault(place, set()).update(BUILT_IN_CHAINS.keys() & _TABLE.findall(rules))
        try:
            self._ask("restore", place, reset + rules)
        except RulesRefused as error:
            self._ask("restore", place, "".join(_empty(table) for table in sorted(self._tables[place])))
            raise RulesRefused(_with_line(error.message, rules, reset.count("\n"))) from None

    def _ask(self, errand: str, *arguments: object) -> Any:
        """The agent's answer. Whatever goes wrong in between would leave the next answer to the wrong question."""
        try:
            return self._answer(json.dumps([errand, *arguments]))
        except RulesRefused:
            raise
        except BaseException:
            self.close()
            raise

    def _answer(self, request: str) -> Any:
        agent = self._agent
        if agent is None or agent.stdin is None or agent.stdout is None:
            raise FsmError("the lab is closed")
        try:
            agent.stdin.write(f"{request}\n")
            agent.stdin.flush()
            line = agent.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            _, complaint = agent.communicate()
            raise FsmError(f"the lab's process ended: {complaint.strip() or agent.returncode}")
        reply = json.loads(line)
        if "refused" in reply:
            raise RulesRefused(reply["refused"])
        if "forbidden" in reply:
            raise NoKernel(
                f"the kernel cannot be asked here: {reply['forbidden']}",
                "in a container it takes CAP_SYS_ADMIN, CAP_NET_ADMIN and a /proc/sys that can be written",
            )
        if "failed" in reply:
            raise FsmError(f"the lab cannot do this: {reply['failed']}")
        return reply["answer"]


def _empty(table: str) -> str:
    """A text that leaves a table as a new namespace has it."""
    policies = "".join(f":{chain} ACCEPT [0:0]\n" for chain in BUILT_IN_CHAINS.get(table, ()))
    return f"*{table}\n{policies}-F\n-X\nCOMMIT\n"


def _with_line(complaint: str, rules: str, before: int) -> str:
    """The complaint with its lines counted from the beginning of `rules`, and the line itself."""
    kept = "\n".join(line for line in complaint.split("\n") if line and not line.startswith("Try `"))
    text = _ERROR_LINE.sub(lambda found: f"{found[1]}{int(found[2]) - before}", kept)
    number = _ERROR_LINE.search(text)
    lines = dict(enumerate(rules.split("\n"), 1))
    line = lines.get(int(number[2])) if number else ""
    return f"{text}\n  {line}" if line else text


def _path() -> str:
    return os.pathsep.join([*os.environ.get("PATH", "").split(os.pathsep), *_SYSTEM_FOLDERS])


def _find(program: str) -> str | None:
    return shutil.which(program, path=_path())


@lru_cache
def _programs(backend: str) -> _Programs | None:
    """The programs for one part of the kernel, by their own names or as the system's choice."""
    for stem in (f"iptables-{backend}", "iptables"):
        save, restore = _find(f"{stem}-save"), _find(f"{stem}-restore")
        if save and restore and f"({BACKENDS[backend]})" in _version(restore):
            return _Programs(save, restore)
    return None


def _boot() -> Sequence[str]:
    """The words by which the interpreter runs the agent; a bundle's own program takes one for it (release/entry.py)."""
    if hasattr(sys, "frozen"):
        return ["--lab-agent"]
    path = [folder or str(Path.cwd()) for folder in sys.path]
    return ["-I", "-S", "-B", "-c", _BOOT, json.dumps(path)]


def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
