"""Targets and their options: reader and writer, each the opposite of the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kubectl_fsm.netfilter.options import bits, marks, read_range, write_range
from kubectl_fsm.netfilter.targets import (
    DEFAULT_LEVEL,
    LOG_FLAGS,
    MASQUERADE_FLAGS,
    MAX_LEVEL,
    SNAT_FLAGS,
    Dnat,
    Goto,
    Jump,
    Log,
    Masquerade,
    Plain,
    Redirect,
    Reject,
    SetMark,
    Snat,
    Target,
)
from kubectl_fsm.netfilter.values import ALL_BITS, MAX_PORT, decimal
from kubectl_fsm.netfilter.words import Quoting, Words

_LEVELS = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
_OTHER_LEVELS = {"panic": "emerg", "err": "error", "warn": "warning"}
_SHORT_ANSWERS = {
    "net-unreach": "icmp-net-unreachable",
    "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "port-unreach": "icmp-port-unreachable",
    "net-prohib": "icmp-net-prohibited",
    "host-prohib": "icmp-host-prohibited",
    "admin-prohib": "icmp-admin-prohibited",
    "tcp-rst": "tcp-reset",
}


def write_target(target: Target, quoting: Quoting) -> str:  # noqa: PLR0911
    saved = quoting is Quoting.SAVED
    if isinstance(target, Plain):
        return f"-j {target.value}"
    if isinstance(target, Jump):
        return f"-j {target.chain}"
    if isinstance(target, Goto):
        return f"-g {target.chain}"
    if isinstance(target, Reject):
        return f"-j REJECT --reject-with {target.answer}" if saved or target != Reject() else "-j REJECT"
    if isinstance(target, Redirect):
        return "-j REDIRECT" if target.port is None else f"-j REDIRECT --to-port{'s' if saved else ''} {target.port}"
    if isinstance(target, SetMark):
        return f"-j MARK --set-xmark {target.value:#x}/{target.mask:#x}"
    if isinstance(target, Log):
        return _write_log(target, quoting)
    if isinstance(target, Masquerade):
        ports = () if target.ports is None else ("--to-ports", write_range(target.ports, "-"))
        return " ".join(("-j MASQUERADE", *ports, *target.flags))
    port = "" if target.port is None else f":{target.port}"
    if isinstance(target, Snat):
        return " ".join((f"-j SNAT --to-source {target.address}{port}", *target.flags))
    return f"-j DNAT --to-destination {target.address}{port}"


def _write_log(target: Log, quoting: Quoting) -> str:
    words = ["-j LOG"]
    if target.prefix:
        words.append(f"--log-prefix {quoting.write(target.prefix)}")
    if target.level != DEFAULT_LEVEL:
        words.append(f"--log-level {target.level}")
    return " ".join((*words, *target.flags))


def read_target(words: Words) -> Target:
    """What follows `-j`: a target with its options, or the chain of a jump. `words.focus` is then the last value."""
    name = words.value("-j")
    if name in Plain.__members__:
        return Plain[name]
    return _READERS[name](words) if name in _READERS else Jump(name)


def _reject(words: Words) -> Reject:
    if not words.take("--reject-with"):
        return Reject()
    answer = words.value("--reject-with")
    return Reject(_SHORT_ANSWERS.get(answer, answer))


def _redirect(words: Words) -> Redirect:
    return Redirect(_port(words.value("--to-port")) if words.take("--to-port", "--to-ports") else None)


def _dnat(words: Words) -> Dnat:
    return Dnat(*_address(words, "--to-destination"))


def _snat(words: Words) -> Snat:
    address, port = _address(words, "--to-source")
    return Snat(address, port, _flags(words, SNAT_FLAGS))


def _masquerade(words: Words) -> Masquerade:
    ports = None
    if words.take("--to-ports", "--to-port"):
        ports = read_range(words.value("--to-ports"), "-", MAX_PORT, "port")
    return Masquerade(ports, _flags(words, MASQUERADE_FLAGS))


def _mark(words: Words) -> SetMark:
    option = words.peek()
    words.expect("--set-xmark", "--set-mark", "--and-mark", "--or-mark", "--xor-mark")
    text = words.value(option)
    if option in ("--set-xmark", "--set-mark"):
        value, mask = marks(text)
        return SetMark(value, mask if option == "--set-xmark" else mask | value)
    mark = bits(text)
    if option == "--and-mark":
        return SetMark(0, ~mark & ALL_BITS)
    return SetMark(mark, mark if option == "--or-mark" else 0)


def _log(words: Words) -> Log:
    prefix, level = "", DEFAULT_LEVEL
    given: set[str] = set()
    while words.peek() in ("--log-prefix", "--log-level", *LOG_FLAGS):
        option = words.peek()
        if option in given:
            raise words.error(f"{option} is given twice")
        given.add(option)
        words.index += 1
        if option == "--log-prefix":
            prefix = words.text(option, "prefix")
            Log(prefix)
        elif option == "--log-level":
            level = _level(words.value(option))
    return Log(prefix, level, tuple(flag for flag in LOG_FLAGS if flag in given))


def _flags(words: Words, known: tuple[str, ...]) -> tuple[str, ...]:
    given = set()
    while words.peek() in known:
        given.add(words.peek())
        words.index += 1
    return tuple(flag for flag in known if flag in given)


def _address(words: Words, option: str) -> tuple[str, int | None]:
    words.expect(option)
    address, colon, port = words.value(option).partition(":")
    return address, _port(port) if colon else None


def _port(text: str) -> int:
    return decimal(text, MAX_PORT, "port")


def _level(text: str) -> int:
    name = _OTHER_LEVELS.get(text, text)
    return _LEVELS.index(name) if name in _LEVELS else decimal(text, MAX_LEVEL, "log level")


_READERS: Mapping[str, Callable[[Words], Target]] = {
    "REJECT": _reject,
    "REDIRECT": _redirect,
    "DNAT": _dnat,
    "SNAT": _snat,
    "MASQUERADE": _masquerade,
    "MARK": _mark,
    "LOG": _log,
}
