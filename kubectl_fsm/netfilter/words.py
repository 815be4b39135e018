"""A line of rules as words, and errors that show where in it they stand."""

from __future__ import annotations

import re
from enum import Enum

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.values import is_word, require_all

_EXCERPT = 160
"""How many characters of a line an error shows at most."""

_END = frozenset({"", "&&"})
"""Where a command ends; the empty word is what `Words.peek` says at the end of the line."""

_SAFE_IN_QUOTES = re.compile(r'[^"\\$`\x00-\x1f\x7f-\x9f]*')
_ESCAPED = re.compile(r"\\(.)")
_SAVED_PLAIN = re.compile(r"[0-9A-Za-z_-]+")
_SAVED_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "'": "\\'"})


class Quoting(Enum):
    """How a line quotes a text that is not a plain word; the value is the pattern of a word."""

    SHELL = re.compile(r'"[^"]*"(?![^ \t])|[^ \t]+')
    """As the shell that runs a script reads it: in double quotes, without anything that the shell acts on there."""

    SAVED = re.compile(r'"(?:[^"\\]|\\.)*"(?![^ \t])|[^ \t]+')
    """As `iptables-save` writes it: in double quotes, with a backslash before quotes and backslashes."""

    def write(self, text: str) -> str:
        """The text as a word. Raises `RulesSyntaxError` where a shell would act on it."""
        if self is Quoting.SAVED:
            return text if _SAVED_PLAIN.fullmatch(text) else f'"{text.translate(_SAVED_ESCAPES)}"'
        if is_word(text):
            return text
        require_all(_SAFE_IN_QUOTES, text, "text for a shell")
        return f'"{text}"'

    def read(self, word: str, what: str) -> str:
        """The text that a word stands for: `write`'s opposite."""
        if is_word(word) or (self is Quoting.SAVED and _SAVED_PLAIN.fullmatch(word)):
            return word
        if len(word) < len('""') or not (word[0] == word[-1] == '"'):
            raise RulesSyntaxError(f"this {what} needs double quotes", word)
        if self is Quoting.SAVED:
            return _ESCAPED.sub(r"\1", word[1:-1])
        try:
            require_all(_SAFE_IN_QUOTES, word[1:-1], what)
        except RulesSyntaxError as error:
            raise RulesSyntaxError(error.message, word, error.column + len('"')) from None
        return word[1:-1]


class Words:
    """The words of one line, taken one after the other.

    A quoted word keeps its quotes, and a shell's other signs are parts of words: no value that may hold them exists.
    `focus` is the word that an error would be about.
    """

    def __init__(self, line: str, number: int = 1, quoting: Quoting = Quoting.SHELL) -> None:
        self.line = line
        self.number = number
        self.quoting = quoting
        self.words: list[str] = quoting.value.findall(line)
        self.index = self.focus = 0

    def peek(self) -> str:
        """The next word; empty at the end."""
        return self.words[self.index] if self.index < len(self.words) else ""

    @property
    def ended(self) -> bool:
        """Whether the command is over."""
        return self.peek() in _END

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

    def text(self, option: str, what: str) -> str:
        """Take a value that may be quoted, as the text that it stands for."""
        if self.quoting is Quoting.SAVED and self.peek().startswith("-"):
            self.focus = self.index
            self.index += 1
            return self.words[self.focus]
        return self.quoting.read(self.value(option), what)

    def error(self, message: str, index: int | None = None) -> RulesSyntaxError:
        """An error about the word at `index`; by default about the next."""
        self.focus = self.index if index is None else index
        return RulesSyntaxError(message)

    def placed(self, error: RulesSyntaxError) -> RulesSyntaxError:
        """The same error with the line and column of the word in focus."""
        starts = [found.start() for found in self.quoting.value.finditer(self.line)]
        inside = self.focus < len(starts)
        column = starts[self.focus] + error.column if inside else len(self.line)
        return placed(error.message, self.line, column, self.number)


def placed(message: str, line: str, column: int, number: int) -> RulesSyntaxError:
    """An error that shows the command around `column`, cut where it is long and without control characters."""
    command = line.rfind(" && ", 0, column)
    first = max(command + len(" && ") if command >= 0 else 0, column - _EXCERPT // 2)
    next_command = line.find(" && ", column)
    last = min(next_command if next_command >= 0 else len(line), first + _EXCERPT)
    excerpt = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line[first:last])
    return RulesSyntaxError(f"line {number}: {message}", excerpt, column - first)
