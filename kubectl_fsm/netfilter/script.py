"""The text of an init container's script: reader and writer, each the opposite of the other.

The two forms, and nothing else, are read; nothing is ever executed:

    commands = command {"&&" command}
    command  = "iptables" ("-t" | "--table") "nat" ("-N" | "--new-chain") CHAIN
             | "iptables" ("-t" | "--table") "nat" change
    restore  = "iptables-restore --noflush <<EOF" {comment} "*nat" {":CHAIN - [0:0]" | change | comment} "COMMIT" "EOF"
    change   = ("-A" | "--append") CHAIN rule
             | ("-I" | "--insert") CHAIN [POSITION] rule
    rule     = {match} ("-j" | "--jump") target {match}

A `match` is one option of `_MATCHES`, after `!` where it is negated and after `-m` where it belongs to a module that
`-p` does not load; see iptables(8) and iptables-extensions(8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.model import (
    MAX_ID,
    MAX_PORT,
    NAT,
    TARGETS,
    WITH_PORTS,
    Address,
    Append,
    Chains,
    Comment,
    Direction,
    Dnat,
    End,
    Identity,
    Insert,
    Interface,
    Jump,
    Match,
    NewChain,
    Operation,
    Owner,
    Plain,
    Ports,
    Protocol,
    Redirect,
    Rule,
    Ruleset,
    Target,
    apply,
    built_in,
    decimal,
    is_user_chain,
    is_word,
    shown,
)

RESTORE = "iptables-restore --noflush <<EOF"
_WORD = re.compile(r'"[^"]*"(?![^ \t])|[^ \t]+')
_DECLARATION = re.compile(r":([^ ]+) - \[0:0\]")
_UNSAFE = re.compile(r"[$`\\\x00-\x1f\x7f-\x9f]")
_END = frozenset({"", "&&"})
"""Where a command ends; the empty word is what `_Words.peek` says at the end of the line."""
_MAX_POSITION = 10**6
_EXCERPT = 160
"""How many characters of a line an error shows at most."""


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
    """The ruleset that a script leads to. Raises `RulesSyntaxError` as `read` does."""
    return apply(read(text).operations)


def read(text: str) -> Script:
    """Read a script of either form. Raises `RulesSyntaxError` at the place of whatever is not exactly of that form."""
    text = text.rstrip("\n")
    if not text:
        raise RulesSyntaxError("an empty text holds no rules")
    if text.startswith("iptables-restore"):
        return _read_restore(text)
    return _read_commands(text)


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


def write(rule: Rule) -> str:
    """A rule's text as an injector spells it, without the chain that it is in."""
    return " ".join((*map(_write_match, rule.matches), _write_target(rule.target)))


def _write_operation(operation: Operation) -> str:
    if isinstance(operation, NewChain):
        return f"-N {operation.chain}"
    if isinstance(operation, Append):
        return f"-A {operation.chain} {write(operation.rule)}"
    position = "" if operation.position == 1 else f" {operation.position}"
    return f"-I {operation.chain}{position} {write(operation.rule)}"


def _write_match(match: Match) -> str:
    if isinstance(match, Comment):
        quote = "" if is_word(match.text) else '"'
        return f"-m comment --comment {quote}{match.text}{quote}"
    negation = "! " if match.negated else ""
    if isinstance(match, Protocol):
        return f"{negation}-p {match.name}"
    if isinstance(match, Address):
        return f"{negation}-{match.end.value} {match.text}"
    if isinstance(match, Interface):
        return f"{negation}-{match.direction.value} {match.name}"
    if isinstance(match, Owner):
        return f"-m owner {negation}--{match.identity.value}-owner {_write_range(match.ids, '-')}"
    return _write_ports(match, negation)


def _write_ports(match: Ports, negation: str) -> str:
    ports = ",".join(_write_range(ports, ":") for ports in match.ranges)
    if match.multi:
        return f"--match multiport {negation}--{match.end.value}ports {ports}"
    return f"{negation}--{match.end.value}port {ports}"


def _write_target(target: Target) -> str:
    if isinstance(target, Plain):
        return f"-j {target.value}"
    if isinstance(target, Jump):
        return f"-j {target.chain}"
    if isinstance(target, Redirect):
        return "-j REDIRECT" if target.port is None else f"-j REDIRECT --to-port {target.port}"
    port = "" if target.port is None else f":{target.port}"
    return f"-j DNAT --to-destination {target.address}{port}"


def _write_range(numbers: range, separator: str) -> str:
    last = numbers.stop - 1
    return f"{last}" if numbers.start == last else f"{numbers.start}{separator}{last}"


class _Words:
    """The words of one line, taken one after the other.

    A quoted word keeps its quotes, and a shell's other signs are parts of words: no value that may hold them exists.
    `focus` is the word that an error would be about.
    """

    def __init__(self, line: str, number: int = 1) -> None:
        self.line = line
        self.number = number
        self.words: list[str] = _WORD.findall(line)
        self.index = self.focus = 0

    def peek(self) -> str:
        """The next word; empty at the end."""
        return self.words[self.index] if self.index < len(self.words) else ""

    def take(self, *wanted: str) -> bool:
        """Take the next word if it is one of `wanted`."""
        if self.peek() not in wanted:
            return False
        self.index += 1
        return True

    def expect(self, *wanted: str) -> None:
        if not self.take(*wanted):
            raise self.error(f"expected {' or '.join(wanted)}")

    def value(self, option: str) -> str:
        """Take the value of an option or command."""
        word = self.peek()
        if word == "!":
            raise self.error(f"the ! belongs before {option}")
        if word in _END or word.startswith("-"):
            raise self.error(f"{option} needs a value")
        self.focus = self.index
        self.index += 1
        return word

    def error(self, message: str, index: int | None = None) -> RulesSyntaxError:
        """An error about the word at `index`; by default about the next."""
        self.focus = self.index if index is None else index
        return RulesSyntaxError(message)

    def placed(self, error: RulesSyntaxError) -> RulesSyntaxError:
        """The same error with the line and column of the word in focus."""
        starts = [found.start() for found in _WORD.finditer(self.line)]
        inside = self.focus < len(starts)
        column = starts[self.focus] + error.column if inside else len(self.line)
        return _error(error.message, self.line, column, self.number)


def _error(message: str, line: str, column: int, number: int) -> RulesSyntaxError:
    """An error that shows the command around `column`, cut where it is long and without control characters."""
    command = line.rfind(" && ", 0, column)
    first = max(command + len(" && ") if command >= 0 else 0, column - _EXCERPT // 2)
    next_command = line.find(" && ", column)
    last = min(next_command if next_command >= 0 else len(line), first + _EXCERPT)
    excerpt = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line[first:last])
    return RulesSyntaxError(f"line {number}: {message}", excerpt, column - first)


def _read_commands(text: str) -> Script:
    words = _Words(text)
    changes = _Changes()
    warnings = []
    try:
        changes.read_command(words)
        while words.peek():
            words.expect("&&")
            if words.take("&&"):
                warnings.append(f"`&& &&` after command {len(changes.operations)} is a misprint, read as one `&&`")
            changes.read_command(words)
    except RulesSyntaxError as error:
        raise words.placed(error) from None
    return Script(changes.finish(), Form.COMMANDS, warnings=tuple(warnings))


def _read_restore(text: str) -> Script:
    changes = _Changes()
    comments = []
    expected = [RESTORE, f"*{NAT}", "COMMIT", "EOF"]
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not expected:
            raise _error("nothing may follow EOF", line, 0, number)
        if line == expected[0]:
            expected.pop(0)
        elif line.startswith("#"):
            comments.append(_comment_line(line, number))
        elif expected[0] == "COMMIT" and not line.startswith("*"):
            changes.read_line(line, number)
        else:
            raise _error(f"expected {expected[0]}", line, 0, number)
    if expected:
        raise _error(f"cut off: {expected[0]} is missing", lines[-1], len(lines[-1]), len(lines))
    return Script(changes.finish(), Form.RESTORE, tuple(comments))


def _comment_line(line: str, number: int) -> str:
    unsafe = _UNSAFE.search(line)
    if unsafe:
        raise _error("a shell or a terminal would act on this character", line, unsafe.start(), number)
    return line


class _Changes:
    """Operations in the order of the text. Each is tried on scratch chains, so that one without effect has its place."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.chains: Chains = built_in()
        self.jumps: dict[str, tuple[_Words, int]] = {}

    def read_command(self, words: _Words) -> None:
        words.expect("iptables")
        words.expect("-t", "--table")
        words.expect(NAT)
        if words.take("-N", "--new-chain"):
            self._add(NewChain(words.value("-N")))
        else:
            self._read_change(words)

    def read_line(self, line: str, number: int) -> None:
        words = _Words(line, number)
        declaration = _DECLARATION.fullmatch(line)
        try:
            if declaration:
                self._add(NewChain(declaration[1]))
            elif line.startswith("-"):
                self._read_change(words)
                if words.peek():
                    raise words.error("nothing may follow a rule in its line")
            else:
                raise words.error("expected :CHAIN - [0:0], -A, -I or COMMIT", 0)
        except RulesSyntaxError as error:
            raise words.placed(error) from None

    def finish(self) -> tuple[Operation, ...]:
        """All operations, once every jump has a chain to go to."""
        for chain, (words, index) in self.jumps.items():
            if not is_user_chain(chain, self.chains):
                raise words.placed(words.error("no target or user-defined chain has this name", index))
        return tuple(self.operations)

    def _read_change(self, words: _Words) -> None:
        insert = words.take("-I", "--insert")
        if not insert:
            words.expect("-A", "--append")
        chain = words.value("-I" if insert else "-A")
        at = words.focus
        position = 1
        if insert and words.peek()[:1].isdigit():
            position = decimal(words.value("-I"), _MAX_POSITION, "position")
        rule = _RuleReader(words).read()
        if isinstance(rule.target, Jump):
            self.jumps.setdefault(rule.target.chain, (words, words.focus))
        words.focus = at
        self._add(Insert(chain, rule, position) if insert else Append(chain, rule))

    def _add(self, operation: Operation) -> None:
        operation.apply(self.chains)
        self.operations.append(operation)


class _RuleReader:
    """Reads one rule: matches and the target, in any order, up to the end of the command."""

    def __init__(self, words: _Words) -> None:
        self.words = words
        self.matches: list[Match] = []
        self.target: Target | None = None
        self.target_at = 0
        self.ports_at: int | None = None
        self.given: set[str] = set()
        self.modules: dict[str, int] = {}
        self.idle: dict[str, int] = {}

    def read(self) -> Rule:
        """The rule; `words.focus` is then the target's name."""
        words = self.words
        while words.peek() not in _END:
            if words.take("-m", "--match"):
                self._module(words.value("-m"))
            elif words.take("-j", "--jump"):
                self._target(words.value("-j"))
            else:
                self._match()
        for module, index in self.idle.items():
            raise words.error(f"-m {module} needs an option of its own", index)
        if self.target is None:
            raise words.error("expected -j and a target")
        self._check_protocol()
        words.focus = self.target_at
        return Rule(tuple(self.matches), self.target)

    def _module(self, name: str) -> None:
        """Loads a module; loaded again, it may be given its options again."""
        index = self.words.focus
        if name not in _MODULES:
            raise self.words.error(f"unknown match {shown(name)}", index)
        self.modules[name] = index
        self.given -= _MODULES[name]
        if _MODULES[name]:
            self.idle[name] = index

    def _match(self) -> None:
        words = self.words
        at = words.index
        negated = words.take("!")
        spelling = words.peek()
        if spelling not in _OPTIONS:
            raise words.error(f"unknown option {shown(spelling)}" if spelling else "expected an option")
        option, module, read = _OPTIONS[spelling]
        if module and module not in self.modules:
            raise words.error(f"{option} needs -m {module} before it")
        if option in self.given:
            raise words.error(f"{option} is given twice")
        if negated and read is _comment:
            raise words.error("a comment cannot be negated", at)
        words.index += 1
        match = read(words.value(option), negated)
        if isinstance(match, Ports):
            self.ports_at = words.focus
        self.matches.append(match)
        self.given.add(option)
        self.idle.pop(module, None)

    def _target(self, name: str) -> None:
        words = self.words
        if self.target is not None:
            raise words.error("a rule has one target", words.focus)
        self.target_at = words.focus
        kind = TARGETS.get(name)
        if isinstance(kind, Plain):
            self.target = kind
        elif kind is Redirect:
            self.target = Redirect(
                self._port(words.value("--to-port")) if words.take("--to-port", "--to-ports") else None
            )
        elif kind is Dnat:
            words.expect("--to-destination")
            address, colon, port = words.value("--to-destination").partition(":")
            self.target = Dnat(address, self._port(port) if colon else None)
        else:
            self.target = Jump(name)

    def _port(self, text: str) -> int:
        self.ports_at = self.words.focus
        return decimal(text, MAX_PORT, "port")

    def _check_protocol(self) -> None:
        """Ports exist only where the protocol is known to have them, and a protocol's module fits only itself."""
        words = self.words
        protocol = next(
            (match.name for match in self.matches if isinstance(match, Protocol) and not match.negated), "all"
        )
        if self.ports_at is not None and protocol not in WITH_PORTS:
            raise words.error("ports need -p tcp or -p udp", self.ports_at)
        for module, index in self.modules.items():
            if module in WITH_PORTS and module != protocol:
                raise words.error(f"-m {module} needs -p {module}", index)


def _range(text: str, separator: str, most: int, what: str) -> range:
    first, _, last = text.partition(separator)
    start = decimal(first, most, what)
    return range(start, 1 + (decimal(last, most, what) if separator in text else start))


def _ports(end: End, text: str, negated: bool) -> Ports:  # noqa: FBT001 - as every reader of a match
    """`22`, `80:90`, `:1024` from 0 on, `1024:` up to 65535."""
    if text.startswith(":"):
        text = f"0{text}"
    if text.endswith(":"):
        text = f"{text}{MAX_PORT}"
    return Ports(end, (_range(text, ":", MAX_PORT, "port"),), negated)


def _multiport(end: End, text: str, negated: bool) -> Ports:  # noqa: FBT001
    return Ports(end, tuple(_range(item, ":", MAX_PORT, "port") for item in text.split(",")), negated, multi=True)


def _owner(identity: Identity, text: str, negated: bool) -> Owner:  # noqa: FBT001
    return Owner(identity, _range(text, "-", MAX_ID, identity.value), negated)


def _comment(text: str, _negated: bool) -> Comment:  # noqa: FBT001
    if is_word(text):
        return Comment(text)
    if len(text) < len('""') or not (text[0] == text[-1] == '"'):
        raise RulesSyntaxError("this comment needs double quotes")
    try:
        return Comment(text[1:-1])
    except RulesSyntaxError as error:
        raise RulesSyntaxError(error.message, text, error.column + len('"')) from None


_MATCHES: tuple[tuple[tuple[str, ...], str, Callable[[str, bool], Match]], ...] = (
    (("-p", "--protocol", "--proto"), "", Protocol),
    (("-s", "--source", "--src"), "", partial(Address, End.SOURCE)),
    (("-d", "--destination", "--dst"), "", partial(Address, End.DESTINATION)),
    (("-i", "--in-interface"), "", partial(Interface, Direction.IN)),
    (("-o", "--out-interface"), "", partial(Interface, Direction.OUT)),
    (("--sport", "--source-port"), "", partial(_ports, End.SOURCE)),
    (("--dport", "--destination-port"), "", partial(_ports, End.DESTINATION)),
    (("--sports", "--source-ports"), "multiport", partial(_multiport, End.SOURCE)),
    (("--dports", "--destination-ports"), "multiport", partial(_multiport, End.DESTINATION)),
    (("--uid-owner",), "owner", partial(_owner, Identity.UID)),
    (("--gid-owner",), "owner", partial(_owner, Identity.GID)),
    (("--comment",), "comment", _comment),
)
"""Spellings of an option, the module that has to be loaded for it by `-m`, and what makes a match of its value."""

_OPTIONS = {spelling: (spellings[0], module, read) for spellings, module, read in _MATCHES for spelling in spellings}
_MODULES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(WITH_PORTS, frozenset()),
    **{name: frozenset(row[0][0] for row in _MATCHES if row[1] == name) for name in ("multiport", "owner", "comment")},
}
"""The modules that `-m` can name, each with its options; a protocol's come with `-p` too."""
