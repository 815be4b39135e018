"""Targets: what becomes of a packet that a rule matches. Each proves itself, as matches do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.values import (
    ALL_BITS,
    MAX_PORT,
    Value,
    require_marks,
    require_one_address,
    require_target_port,
    require_text,
    require_word,
    shown,
)

POD_IP = "$POD_IP"
"""Stands for the pod's own address, which the init container's shell fills in; the one variable that rules may hold."""

MAX_CHAIN = 28
DEFAULT_ANSWER = "icmp-port-unreachable"
DEFAULT_LEVEL = 4
ANSWERS = (
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    DEFAULT_ANSWER,
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "icmp-admin-prohibited",
    "tcp-reset",
)
LOG_FLAGS = ("--log-tcp-sequence", "--log-tcp-options", "--log-ip-options", "--log-uid", "--log-macdecode")
SNAT_FLAGS = ("--random", "--random-fully", "--persistent")
MASQUERADE_FLAGS = ("--random", "--random-fully")
MAX_LEVEL = 7
_MAX_PREFIX = 29


class Plain(Enum):
    """A target without parameters."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    RETURN = "RETURN"


class Reject(Value):
    """Dropped, and the sender is told, by this kind of answer."""

    answer: str = DEFAULT_ANSWER

    def validate(self) -> None:
        if self.answer not in ANSWERS:
            raise RulesSyntaxError(f"there is no answer {shown(self.answer)} to reject with", self.answer)


class Jump(Value):
    """On to a user-defined chain, and back here where that has no answer."""

    chain: str

    def validate(self) -> None:
        require_word(self.chain, "chain name", MAX_CHAIN)


class Goto(Value):
    """On to a user-defined chain; where that has no answer, back to where the last jump came from."""

    chain: str

    def validate(self) -> None:
        require_word(self.chain, "chain name", MAX_CHAIN)


class Redirect(Value):
    """To this machine itself; without `port` the packet keeps its own."""

    port: int | None = None

    def validate(self) -> None:
        require_target_port(self.port)


class Dnat(Value):
    """To another destination: an IPv4 address or `POD_IP`; without `port` the packet keeps its own."""

    address: str
    port: int | None = None

    def validate(self) -> None:
        if self.address != POD_IP:
            require_one_address(self.address)
        require_target_port(self.port)


class Snat(Value):
    """From another source, once the way out is known; `flags` say how a port is chosen."""

    address: str
    port: int | None = None
    flags: tuple[str, ...] = ()

    def validate(self) -> None:
        require_one_address(self.address)
        require_target_port(self.port)
        _require_flags(self.flags, SNAT_FLAGS)


class Masquerade(Value):
    """From the address of the interface that the packet leaves by, and from one of `ports` where they are given."""

    ports: range | None = None
    flags: tuple[str, ...] = ()

    def validate(self) -> None:
        if self.ports is not None and not 1 <= self.ports.start < self.ports.stop <= MAX_PORT + 1:
            raise RulesSyntaxError("a range of ports has to go up, within 1 to 65535")
        _require_flags(self.flags, MASQUERADE_FLAGS)


class SetMark(Value):
    """`MARK --set-xmark`: the bits of `mask` are cleared in the packet's mark, those of `value` flipped; it goes on."""

    value: int
    mask: int = ALL_BITS

    def validate(self) -> None:
        require_marks(self.value, self.mask)


class Log(Value):
    """A line in the kernel's log; the packet goes on."""

    prefix: str = ""
    level: int = DEFAULT_LEVEL
    flags: tuple[str, ...] = ()

    def validate(self) -> None:
        require_text(self.prefix, "prefix", _MAX_PREFIX)
        if not 0 <= self.level <= MAX_LEVEL:
            raise RulesSyntaxError(f"a log level is a number from 0 to {MAX_LEVEL}")
        _require_flags(self.flags, LOG_FLAGS)


Target = Plain | Reject | Jump | Goto | Redirect | Dnat | Snat | Masquerade | SetMark | Log

TARGETS: Mapping[str, Plain | type[Reject | Redirect | Dnat | Snat | Masquerade | SetMark | Log]] = {
    **{target.value: target for target in Plain},
    "REJECT": Reject,
    "REDIRECT": Redirect,
    "DNAT": Dnat,
    "SNAT": Snat,
    "MASQUERADE": Masquerade,
    "MARK": SetMark,
    "LOG": Log,
}
"""What `-j` can name besides chains, which may not be called so."""


def _require_flags(flags: tuple[str, ...], known: tuple[str, ...]) -> None:
    if flags != tuple(flag for flag in known if flag in flags):
        raise RulesSyntaxError(f"flags are of {' '.join(known)}, in this order and each once")
