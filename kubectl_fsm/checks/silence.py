"""Checks that somebody silenced, with the reason: `.kubectl-fsm.yaml` in the current folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.cluster.documents import Budget, documents
from kubectl_fsm.errors import InvalidObject, ManifestError

FILE = ".kubectl-fsm.yaml"
_KEYS = ("check", "objects", "namespaces", "reason")


class Rule(NamedTuple):
    """One check is silenced, for these objects (`deploy/web`) in these namespaces; for all where none are named."""

    check: str
    objects: Sequence[str]
    namespaces: Sequence[str]
    reason: str

    def covers(self, check: str, name: str, namespace: str) -> bool:
        return (
            check == self.check
            and (not self.objects or name in self.objects)
            and (not self.namespaces or namespace in self.namespaces)
        )


class Silence(NamedTuple):
    """What is silenced."""

    rules: Sequence[Rule] = ()

    def reason(self, check: str, name: str, namespace: str) -> str:
        """Why a finding is silenced; empty where it is not."""
        return next((rule.reason for rule in self.rules if rule.covers(check, name, namespace)), "")


def read(path: Path, known: Sequence[str]) -> Silence:
    """What a file silences, nothing where there is none. Raises `ManifestError`, naming file and field."""
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
        if not isinstance(document.value, Mapping) or set(document.value) - {"silence"}:
            raise ManifestError(f"{path}:{document.line}: it takes one key, silence, with a list below it")
        try:
            rules += [_rule(entry, known) for entry in fields.items(document.value, "silence")]
        except InvalidObject as error:
            raise ManifestError(f"{path}: {error.message.removeprefix('object: ')}") from error
    return Silence(rules)


def _rule(entry: fields.Object, known: Sequence[str]) -> Rule:
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise InvalidObject(f"silence: the key {unknown[0]} is not known; it takes {', '.join(_KEYS)}")
    check, reason = fields.text(entry, "check"), fields.text(entry, "reason").strip()
    if check not in known:
        raise InvalidObject(f"silence: there is no check {check!r}")
    if not reason:
        raise InvalidObject(f"silence: {check} takes a reason")
    return Rule(check, _strings(entry, "objects"), _strings(entry, "namespaces"), reason)


def _strings(entry: fields.Object, key: str) -> Sequence[str]:
    found = fields.sequence(entry, key)
    if not all(isinstance(value, str) for value in found):
        raise InvalidObject(f"silence: {key} takes a list of texts")
    return [str(value) for value in found]
