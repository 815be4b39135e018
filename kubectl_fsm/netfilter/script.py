"""The text of an init container's script: reader and writer, each the opposite of the other.

The two forms, and nothing else, are read; nothing is ever executed:

    commands = command {"&&" command}
    command  = "iptables" ("-t" | "--table") "nat" ("-N" | "--new-chain") CHAIN
             | "iptables" ("-t" | "--table") "nat" change
    restore  = "iptables-restore --noflush <<EOF" {comment} "*nat" {":CHAIN - [0:0]" | change | comment} "COMMIT" "EOF"
    change   = ("-A" | "--append") CHAIN rule
             | ("-I" | "--insert") CHAIN [POSITION] rule

`rules` has the grammar of a `rule`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.changes import Changes
from kubectl_fsm.netfilter.model import NAT, Append, NewChain, Operation, Ruleset, apply
from kubectl_fsm.netfilter.rules import write
from kubectl_fsm.netfilter.words import Words, placed

__all__ = ["RESTORE", "Form", "Script", "parse", "read", "write", "write_script"]

RESTORE = "iptables-restore --noflush <<EOF"
_DECLARATION = re.compile(r":([^ ]+) - \[0:0\]")
_UNSAFE = re.compile(r"[$`\\\x00-\x1f\x7f-\x9f]")


class Form(Enum):
    """Which of the two forms a script has."""

    COMMANDS = "iptables commands joined by &&"
    RESTORE = "a here-document for iptables-restore"


class Script(NamedTuple):
    """What a script does to the nat table, in its order.

    `comments` are the lines that begin with `#`; `warnings` name what is misprinted in the text but can only mean one
    thing.
    """

    operations: tuple[Operation, ...]
    form: Form = Form.RESTORE
    comments: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse(text: str) -> Ruleset:
    """The ruleset that a script leads to. Raises `RulesSyntaxError` as `read` does, and for loops."""
    script, changes = _read(text)
    changes.check_loops()
    return apply(script.operations)


def read(text: str) -> Script:
    """Read a script of either form. Raises `RulesSyntaxError` at the place of whatever is not exactly of that form."""
    return _read(text)[0]


def _read(text: str) -> tuple[Script, Changes]:
    text = text.rstrip("\n")
    if not text:
        raise RulesSyntaxError("an empty text holds no rules")
    changes = Changes()
    read_form = _read_restore if text.startswith("iptables-restore") else _read_commands
    return read_form(text, changes), changes


def write_script(script: Script) -> str:
    """The script's text as an injector writes it."""
    operations = script.operations
    if script.form is Form.COMMANDS:
        return " && ".join(f"iptables -t {NAT} {_write_operation(operation)}" for operation in operations)
    changes = (
        f":{operation.chain} - [0:0]" if isinstance(operation, NewChain) else _write_operation(operation)
        for operation in operations
    )
    return "\n".join((RESTORE, *script.comments, f"*{NAT}", *changes, "COMMIT", "EOF", ""))


def _write_operation(operation: Operation) -> str:
    if isinstance(operation, NewChain):
        return f"-N {operation.chain}"
    if isinstance(operation, Append):
        return f"-A {operation.chain} {write(operation.rule)}"
    position = "" if operation.position == 1 else f" {operation.position}"
    return f"-I {operation.chain}{position} {write(operation.rule)}"


def _read_commands(text: str, changes: Changes) -> Script:
    words = Words(text)
    warnings = []
    try:
        _read_command(words, changes)
        while words.peek():
            words.expect("&&")
            if words.take("&&"):
                warnings.append(f"`&& &&` after command {len(changes.operations)} is a misprint, read as one `&&`")
            _read_command(words, changes)
    except RulesSyntaxError as error:
        raise words.placed(error) from None
    return Script(changes.finish(), Form.COMMANDS, warnings=tuple(warnings))


def _read_restore(text: str, changes: Changes) -> Script:
    comments = []
    expected = [RESTORE, f"*{NAT}", "COMMIT", "EOF"]
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not expected:
            raise placed("nothing may follow EOF", line, 0, number)
        if line == expected[0]:
            expected.pop(0)
        elif line.startswith("#"):
            comments.append(_comment_line(line, number))
        elif expected[0] == "COMMIT" and not line.startswith("*"):
            _read_line(line, number, changes)
        else:
            raise placed(f"expected {expected[0]}", line, 0, number)
    if expected:
        raise placed(f"cut off: {expected[0]} is missing", lines[-1], len(lines[-1]), len(lines))
    return Script(changes.finish(), Form.RESTORE, tuple(comments))


def _comment_line(line: str, number: int) -> str:
    unsafe = _UNSAFE.search(line)
    if unsafe:
        raise placed("a shell or a terminal would act on this character", line, unsafe.start(), number)
    return line


def _read_command(words: Words, changes: Changes) -> None:
    words.expect("iptables")
    words.expect("-t", "--table")
    words.expect(NAT)
    if words.take("-N", "--new-chain"):
        changes.add(NewChain(words.value("-N")))
    else:
        changes.read_change(words)


def _read_line(line: str, number: int, changes: Changes) -> None:
    words = Words(line, number)
    declaration = _DECLARATION.fullmatch(line)
    try:
        if declaration:
            changes.add(NewChain(declaration[1]))
        elif line.startswith("-"):
            changes.read_line(words)
        else:
            raise words.error("expected :CHAIN - [0:0], -A, -I or COMMIT", 0)
    except RulesSyntaxError as error:
        raise words.placed(error) from None
