"""Checks that somebody silenced, with the reason: `.kubectl-fsm.yaml` in the current folder."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.arguments import nearest
from kubectl_fsm.cluster.documents import Budget, Place, documents
from kubectl_fsm.cluster.positions import Spot, spots
from kubectl_fsm.errors import ManifestError

FILE = ".kubectl-fsm.yaml"
_KEY = "silence"


class Rule(NamedTuple):
    """One check is silenced, for objects (`deploy/web`) in namespaces that match one of the patterns; for all without.

    A `*` in a pattern stands for any text.
    """

    check: str
    objects: Sequence[str]
    namespaces: Sequence[str]
    reason: str

    def covers(self, check: str, name: str, namespace: str) -> bool:
        return check == self.check and _matches(name, self.objects) and _matches(namespace, self.namespaces)


class Silence(NamedTuple):
    """What is silenced."""

    rules: Sequence[Rule] = ()

    def reason(self, check: str, name: str, namespace: str) -> str:
        """Why a finding is silenced; empty where it is not."""
        return next((rule.reason for rule in self.rules if rule.covers(check, name, namespace)), "")


class _Flaw(Exception):
    """What is wrong with the field at `path`, and what to do."""

    def __init__(self, path: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.path, self.hint = path, hint


def read(path: Path, known: Sequence[str]) -> Silence:
    """What a file silences of the known checks, nothing where there is none.

    Raises `ManifestError`, naming line and field.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Silence()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    rules: list[Rule] = []
    for document in documents(data, str(path), Budget()):
        if document.flaw:
            raise document.flaw
        try:
            rules += _rules(document.value, known)
        except _Flaw as flaw:
            spot = spots(data, str(path), Budget()).get(document.line, Spot(document.line, 1, {})).at(flaw.path)
            field = f"{fields.dotted(*flaw.path)}: " if flaw.path else ""
            raise ManifestError(f"{path}:{spot.line}:{spot.column}: {field}{flaw}", flaw.hint) from None
    return Silence(rules)


def _rules(value: Any, known: Sequence[str]) -> Sequence[Rule]:
    _keys(value, (), (_KEY,))
    return [_rule(entry, (_KEY, number), known) for number, entry in enumerate(_list(value, (), _KEY))]


def _rule(entry: Any, path: Place, known: Sequence[str]) -> Rule:
    _keys(entry, path, Rule._fields)
    check, reason = (_text(entry, path, key) for key in ("check", "reason"))
    if check not in known:
        raise _Flaw((*path, "check"), f"there is no check {check!r}", nearest(check, known) or "see check --list")
    return Rule(check, _texts(entry, path, "objects"), _texts(entry, path, "namespaces"), reason)


def _keys(value: Any, path: Place, allowed: Sequence[str]) -> None:
    """Raises `_Flaw` unless it is a mapping with some of these keys."""
    if not isinstance(value, Mapping):
        raise _Flaw(path, f"it takes the key{'s' if len(allowed) > 1 else ''} {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            raise _Flaw((*path, key), f"there is no such key; it takes {', '.join(allowed)}", nearest(key, allowed))


def _text(entry: fields.Object, path: Place, key: str) -> str:
    value = entry.get(key)
    if value is None:
        raise _Flaw(path, f"it takes a {key}")
    if not isinstance(value, str) or not value.strip():
        raise _Flaw((*path, key), "it takes a text")
    return value.strip()


def _texts(entry: fields.Object, path: Place, key: str) -> Sequence[str]:
    found = _list(entry, path, key)
    if key in entry and not (found and all(isinstance(item, str) for item in found)):
        raise _Flaw((*path, key), "it takes at least one text, and nothing else")
    return found


def _list(entry: fields.Object, path: Place, key: str) -> Sequence[Any]:
    """The list below a key; empty where nothing is. Raises `_Flaw`."""
    value = entry.get(key)
    if value is not None and not isinstance(value, list):
        raise _Flaw((*path, key), "it takes a list")
    return value or []


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
