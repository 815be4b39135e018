"""What stops an edit, and what asks first: worked out on the union that every affected pod would get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.errors import InvalidExclusion
from kubectl_fsm.exclusions import Effective, Problem, atoi, effective, problems, wider_than
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    INBOUND_PORTS,
    INBOUND_RESERVED_PORTS,
    INCLUDED_RANGES,
    INTERFACES,
    RESERVED_PORTS,
    ExclusionList,
    Injector,
    Item,
)
from kubectl_fsm.operations.survey import Subject

DEFAULT_INTERFACE = "eth0"
"""The name that container runtimes give the interface with a pod's default route."""
_WIDE = 4
_NAMED = 3


class Union(NamedTuple):
    """What the next pod of a subject is made from: its annotations and the MeshConfig's spec."""

    annotations: Mapping[str, str]
    spec: Object


@dataclass
class Findings:
    """Texts by what they do: `refusals` end the edit, `questions` need a yes, `warnings` are only said."""

    refusals: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def reserved(exclusion_list: ExclusionList, value: str) -> str:
    """What the mesh itself uses a port for; empty for ports that are free and for other lists."""
    if exclusion_list.item is not Item.PORT:
        return ""
    taken = INBOUND_RESERVED_PORTS if exclusion_list is INBOUND_PORTS else RESERVED_PORTS
    return taken.get(atoi(value) or 0, "")


def check(injector: Injector, subjects: Sequence[Subject], unions: Sequence[tuple[Union, Union]]) -> Findings:
    """Compare each subject's union before and after an edit.

    Only what the edit brings or makes worse is refused: an entry that was broken before is said, and can be removed.
    """
    lookup = _Lookup(injector)
    refused: dict[str, list[Subject]] = {}
    warned: dict[str, list[Subject]] = {}
    asked: dict[str, list[Subject]] = {}
    for subject, (before, after) in zip(subjects, unions, strict=True):
        old, old_problems = lookup(before)
        new, new_problems = lookup(after)
        known = {problem.key: problem.size for problem in old_problems}
        for problem in new_problems:
            worse = problem.size > known.get(problem.key, 0)
            (refused if worse else warned).setdefault(problem.text, []).append(subject)
        for question in _questions(subject.template, old, new):
            asked.setdefault(question, []).append(subject)
    return Findings(
        refusals=[f"{text}: {_named(found)}" for text, found in refused.items()],
        questions=[f"{text}: {_named(found)}" for text, found in asked.items()],
        warnings=[
            f"already there, and new pods cannot start with it: {text}: {_named(found)}"
            for text, found in warned.items()
        ],
    )


class _Lookup:
    """Effective lists and their problems, worked out once for pods that are configured alike."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector
        self._keys = [injector.annotation(found) for found in injector.pod_lists]
        self._known: dict[tuple[int, tuple[str | None, ...]], tuple[Effective | None, Sequence[Problem]]] = {}
        self._specs: list[Object] = []

    def __call__(self, union: Union) -> tuple[Effective | None, Sequence[Problem]]:
        key = self._spec(union.spec), tuple(union.annotations.get(name) for name in self._keys)
        if key not in self._known:
            self._known[key] = self._work_out(union)
        return self._known[key]

    def _spec(self, spec: Object) -> int:
        for index, known in enumerate(self._specs):
            if known is spec:
                return index
        self._specs.append(spec)
        return len(self._specs) - 1

    def _work_out(self, union: Union) -> tuple[Effective | None, Sequence[Problem]]:
        try:
            wanted = effective(self._injector, union.annotations, union.spec)
        except InvalidExclusion as error:
            return None, [Problem(("annotation", error.message), error.message)]
        return wanted, problems(wanted)


def _questions(pod: Object, old: Effective | None, new: Effective | None) -> Sequence[str]:
    """What takes much of the mesh away by one entry."""
    if old is None or new is None:
        return ()
    before = old.keys()
    added = [entry for entry in new.entries if entry.key not in before]
    found = [
        f"{entry.value} excludes 1/{2 ** int(entry.value.partition('/')[2])} of all addresses"
        for entry in added
        if entry.list is EXCLUDED_RANGES and wider_than(entry.value, _WIDE)
    ]
    found += [
        f"{entry.value} is the interface of a pod's default route: all its traffic bypasses the sidecar"
        for entry in added
        if entry.list is INTERFACES and _covers(entry.value, DEFAULT_INTERFACE)
    ]
    if new.of(INCLUDED_RANGES) and not old.of(INCLUDED_RANGES):
        found.append("the first included range: everything outside it bypasses the sidecar from then on")
    ports = workloads.container_ports(pod)
    if ports and ports <= _ports(new) and not ports <= _ports(old):
        found.append("no port of the containers is intercepted any more, so no inbound traffic reaches the sidecar")
    return found


def _ports(wanted: Effective) -> set[int]:
    return {int(entry.value) for entry in wanted.of(INBOUND_PORTS)}


def _covers(name: str, interface: str) -> bool:
    return interface.startswith(name[:-1]) if name.endswith("+") else name == interface


def _named(subjects: Sequence[Subject]) -> str:
    """Which pods: a few by name, all by number."""
    pods = [f"{fields.namespace(pod)}/{fields.name(pod)}" for subject in subjects for pod in subject.pods]
    empty = [str(subject) for subject in subjects if not subject.pods]
    names = ", ".join(pods[:_NAMED]) + (f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else "")
    parts = [f"{len(pods)} pod{'s' if len(pods) != 1 else ''} ({names})"] if pods else []
    if empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        parts.append(f"the next pods of {', '.join(empty[:_NAMED])}{more}")
    return ", ".join(parts)
