"""Editing one value in the text of a manifest, so that every other byte stays as it is.

The parser's positions say which characters a value spans; only those are replaced (docs/decisions/0003).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import yaml

from kubectl_fsm import fields
from kubectl_fsm.cluster.documents import LOADER, Place, canonical, resolve

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_LAST_BREAK = re.compile("(?:\r\n|[\n\r\x85\u2028\u2029])?\\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./-]*")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_GAP = re.compile(r"(?P<space>[ \t]*)(?P<comma>,?)(?P<comment>[ \t]*#[^\r\n]*)?")


def merge_patch(target: Any, patch: Any) -> Any:
    """`target`, of any type, with a JSON merge patch applied (RFC 7386, section 2); neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    return fields.merged(target if isinstance(target, Mapping) else {}, patch)


def value_at(value: Any, path: Place) -> Any:
    """The value at `path` below `value`."""
    for step in path:
        value = value[step]
    return value


def replaced(value: Any, path: Place, new: Any) -> Any:
    """`value` with `new` at `path`; nothing is changed in place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


class CannotEdit(Exception):
    """The text is written in a way that this module does not foresee."""


def edit(text: str, path: Place, current: Any, patch: Any, *, as_json: bool) -> str:
    """The text of a document after a merge patch to the value at `path`, which is `current` now.

    What comes out has to be read and compared with the value it should have: a document can share values by anchors, or
    be written in ways that are not foreseen here. Raises `CannotEdit` where one of these is noticed.
    """
    try:
        node = _Tree(text).node_at(path)
        return text[: node.start] + _Editor(text, as_json=as_json).merged(node, current, patch) + text[node.end :]
    except (LookupError, ValueError, yaml.YAMLError) as error:
        raise CannotEdit from error


@dataclass(frozen=True)
class _Node:
    """A value's span. `style` is `{}`, `[]` (flow), `map`, `seq` (block), `*` (alias) or a scalar's: `'`, `"`, `|`, `>` or none.

    The span of a block collection ends with its last line, comment included; that of others with the value.
    """

    start: int
    end: int
    style: str
    entries: tuple[_Entry, ...] = ()

    @property
    def block(self) -> bool:
        return self.style in ("map", "seq")

    @property
    def mapping(self) -> bool:
        return self.style in ("map", "{}")

    @property
    def sequence(self) -> bool:
        return self.style in ("seq", "[]")

    def at(self, step: str | int) -> _Node:
        """The value of a key or an index. Raises `LookupError`."""
        return {entry.key: entry.value for entry in self.entries}[step]


@dataclass(frozen=True)
class _Entry:
    """An entry of a collection. `start` is where its key (a list's: its value, the first of a block: its dash) begins.

    `key` is the key's text, None where it is no scalar, and `key_end` where that ends; of a list's, the index and `start`.
    """

    start: int
    key: str | int | None
    key_end: int
    value: _Node


class _Tree:
    """Builds nodes from the parser's events."""

    def __init__(self, text: str) -> None:
        self._text = text
        # JSON writes 🚀 as two escapes that YAML refuses; others of the same length keep the positions
        masked = _SURROGATE.sub(r"\\u0041", text)
        self._events: Iterator[Any] = iter(yaml.parse(masked, Loader=LOADER))

    def node_at(self, path: Place) -> _Node:
        """The node at `path`, and all that is below it. Raises `LookupError`."""
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        node = self._node(next(self._events), path)
        for step in path:
            node = node.at(step)
        return node

    def _node(self, event: Any, path: Place | None) -> _Node:
        """The node that begins with `event`, in full along `path` and below it; of others (None) only the span."""
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.AliasEvent):
            return _Node(start, end, "*")
        if isinstance(event, yaml.ScalarEvent):
            style = event.style or ""
            return _Node(start, self._block_scalar_end(start, end) if style in ("|", ">") else end, style)
        mapping = isinstance(event, yaml.MappingStartEvent)
        entries, end = self._entries(mapping=mapping, path=path)
        if event.flow_style:
            return _Node(start, end, "{}" if mapping else "[]", () if path is None else tuple(entries))
        end = line_end(self._text, entries[-1].value.end)
        if not mapping:
            entries[0] = replace(entries[0], start=self._first_dash(start, entries[0].start))
        return _Node(start, end, "map" if mapping else "seq", () if path is None else tuple(entries))

    def _entries(self, *, mapping: bool, path: Place | None) -> tuple[list[_Entry], int]:
        """The entries up to the collection's end, and where that is."""
        entries: list[_Entry] = []
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            start = key_end = event.start_mark.index
            key: str | int | None = len(entries)
            if mapping:
                key = event.value if isinstance(event, yaml.ScalarEvent) else None
                key_end = self._node(event, None).end
                event = next(self._events)
            entries.append(_Entry(start, key, key_end, self._node(event, _below(path, key))))
        end: Any = event.end_mark  # None to the type stubs, never to the parsers
        return entries, end.index

    def _first_dash(self, start: int, first: int) -> int:
        """A block sequence begins with its first dash, or with the anchor or tag before it."""
        return start if self._text[start] == "-" else self._text.rindex("-", start, first)

    def _block_scalar_end(self, start: int, end: int) -> int:
        """Behind its last character. Empty lines that follow belong to it where the header says so (`|+`)."""
        header = self._text[start : line_end(self._text, start)].partition("#")[0]
        written = self._text[start:end]
        if "+" in header:
            return end - len(_LAST_BREAK.findall(written)[0])
        return start + len(written.rstrip())


def _below(path: Place | None, step: str | int | None) -> Place | None:
    if not path:
        return path
    return path[1:] if path[0] == step else None


def line_end(text: str, position: int) -> int:
    """Where the line that `position` is in ends, before its line break."""
    match = _LINE_BREAK.search(text, position)
    return match.start() if match else len(text)


@dataclass(frozen=True)
class _Piece:
    """An entry of an edited collection: the one at `index` before (None for a new one) and its text now."""

    index: int | None
    text: str


class _Editor:
    """Writes nodes of one document's text anew; every method returns the text for a node's span."""

    def __init__(self, text: str, *, as_json: bool) -> None:
        self._text = text
        self._json = as_json
        match = _LINE_BREAK.search(text)
        self._newline = match.group() if match else "\n"

    def merged(self, node: _Node, current: Any, patch: Any) -> str:
        """`node`, which is `current`, after a merge patch."""
        if isinstance(patch, Mapping) and node.mapping:
            return self._mapping(node, current, patch)
        value = merge_patch(current, patch)
        if canonical(value) == canonical(current):
            return self._text[node.start : node.end]
        if isinstance(value, list) and node.sequence:
            return self._sequence(node, current, value)
        space = " " if node.start == node.end else ""  # an empty value begins right behind its colon
        return space + self._flow(value, node.style)

    def _mapping(self, node: _Node, current: Mapping[str, Any], patch: Mapping[str, Any]) -> str:
        pieces = []
        for index, entry in enumerate(node.entries):
            key = entry.key
            if not isinstance(key, str) or key not in patch:
                pieces.append(_Piece(index, self._text[entry.start : entry.value.end]))
            elif patch[key] is not None:
                pieces.append(_Piece(index, self._pair(entry, current[key], patch[key])))
        written = {entry.key for entry in node.entries}
        for key, change in patch.items():
            if key not in written and change is not None:
                value = merge_patch(current.get(key), change)
                indent = self._indent(node) if node.block else ""
                pieces.append(_Piece(None, self._new_pair(key, value, indent, block=node.block)))
        return self._joined(node, pieces)

    def _pair(self, entry: _Entry, current: Any, patch: Any) -> str:
        """Key and value of an entry after a merge patch to the value; what is no block any more goes to the key's line."""
        value = entry.value
        text = self.merged(value, current, patch)
        merged = merge_patch(current, patch)
        if value.block and (not merged or not isinstance(merged, dict if value.mapping else list)):
            before, colon, comments = self._text[entry.key_end : value.start].partition(":")
            return f"{self._text[entry.start : entry.key_end]}{before}{colon} {text}{comments.rstrip()}"
        return self._text[entry.start : value.start] + text

    def _sequence(self, node: _Node, current: Sequence[Any], value: Sequence[Any]) -> str:
        old, new = [canonical(item) for item in current], [canonical(item) for item in value]
        children = [entry.value for entry in node.entries]
        quote = next((child.style for child in reversed(children) if child.style in ("'", '"')), "")
        pieces = []
        for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag == "equal":
                kept = enumerate(children[start:end], start)
                pieces += [_Piece(index, self._text[child.start : child.end]) for index, child in kept]
            else:
                pieces += [_Piece(None, self._flow(item, quote)) for item in value[new_start:new_end]]
        return self._joined(node, pieces)

    def _joined(self, node: _Node, pieces: Sequence[_Piece]) -> str:
        if not node.block:
            return self._joined_flow(node, pieces)
        if not pieces:
            return "{}" if node.mapping else "[]"
        return self._joined_block(node, pieces)

    def _joined_block(self, node: _Node, pieces: Sequence[_Piece]) -> str:
        """Each entry has its lines and the comments above them; the comments above the first belong to the key."""
        indent = self._indent(node)
        dash = "" if node.mapping else "- "
        chunks = [
            indent + dash + piece.text if piece.index is None else self._lines(node, piece.index, piece.text, indent)
            for piece in pieces
        ]
        return self._text[node.start : node.entries[0].start] + self._newline.join(chunks).lstrip()

    def _lines(self, node: _Node, index: int, text: str, indent: str) -> str:
        """The lines of a block's entry with `text` as its value (a list's) or as key and value (a mapping's)."""
        entry = node.entries[index]
        text_start = entry.start if node.mapping else entry.value.start
        if index == 0:
            before = indent + self._text[entry.start : text_start]
        else:
            end = line_end(self._text, node.entries[index - 1].value.end)
            before = self._text[end + len(self._newline) : text_start]
        return before + text + self._text[entry.value.end : line_end(self._text, entry.value.end)]

    def _joined_flow(self, node: _Node, pieces: Sequence[_Piece]) -> str:
        """Each entry has the white space and comments before it, and the comment on its line."""
        begin = self._text[node.start : self._text.index(node.style[0], node.start) + 1]
        inside = node.start + len(begin)
        if not node.entries:
            inner = self._text[inside : node.end - 1]
            return begin + ", ".join(piece.text for piece in pieces) + (inner if inner.strip() else "") + node.style[1]
        first = self._text[inside : node.entries[0].start]
        ends = [entry.start for entry in node.entries[1:]] + [node.end - 1]
        gaps = [_Gap.parse(self._text[entry.value.end : end]) for entry, end in zip(node.entries, ends, strict=True)]
        leads = [first, *(gap.rest for gap in gaps)]
        usual = leads[1] if len(gaps) > 1 else first if "\n" in first else " "
        if "#" in usual:
            usual = self._newline + usual.rpartition("\n")[2]
        text, comment = begin, ""
        for position, piece in enumerate(pieces):
            lead = usual if not piece.index else leads[piece.index]
            if position == 0 and "#" not in lead:
                lead = first
            comma = "," if position < len(pieces) - 1 or gaps[-1].comma else ""
            comment = "" if piece.index is None else gaps[piece.index].comment
            text += lead + piece.text + comma + comment
        tail = gaps[-1].rest
        if comment and "\n" not in tail:
            tail = self._newline + tail
        return (text + tail if pieces else begin) + node.style[1]

    def _indent(self, node: _Node) -> str:
        """White space up to the column of the first entry."""
        lines = _LINE_BREAK.split(self._text[: node.entries[0].start])
        return " " * len(lines[-1])

    def _new_pair(self, key: str, value: Any, indent: str, *, block: bool) -> str:
        if block and isinstance(value, Mapping) and value:
            deeper = indent + "  "
            lines = [deeper + self._new_pair(name, item, deeper, block=True) for name, item in value.items()]
            return self._newline.join([f"{self._scalar(key)}:", *lines])
        return f"{self._scalar(key)}: {self._flow(value)}"

    def _flow(self, value: Any, quote: str = "") -> str:
        if isinstance(value, Mapping):
            return "{" + ", ".join(self._new_pair(key, item, "", block=False) for key, item in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(self._flow(item, quote) for item in value) + "]"
        return self._scalar(value, quote)

    def _scalar(self, value: Any, quote: str = "") -> str:
        """In the quotes that its neighbours have, where these can hold it."""
        if not isinstance(value, str):
            return json.dumps(value)
        if not self._json and quote == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        if not self._json and quote != '"' and _PLAIN.fullmatch(value) and isinstance(resolve(value), str):
            return value
        return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(value, ensure_ascii=False))


@dataclass(frozen=True)
class _Gap:
    """What stands between an entry of a flow collection and the next one, or the closing bracket."""

    comma: bool
    comment: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> _Gap:
        match = _GAP.match(text)
        if match is None or not (match["comma"] or match["comment"]):
            return cls(comma=False, comment="", rest=text)
        space = "" if match["comma"] else match["space"]
        return cls(bool(match["comma"]), space + (match["comment"] or ""), text[match.end() :])
