"""What stops an edit, and what asks first: worked out on the union that every affected pod would get."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.exclusions import Effective, Problem, address_share, atoi, covers, judged, network
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
    Mesh,
)
from kubectl_fsm.operations.survey import Subject

DEFAULT_INTERFACE = "eth0"
VITAL_INTERFACES: Mapping[str, str] = {
    DEFAULT_INTERFACE: "a pod's default route: all its traffic bypasses the sidecar",
    "lo": "what the pod sends to itself, and through which it reaches itself by a Service",
}
"""Interfaces that every pod has (container runtimes name the first one `eth0`), and what goes through them."""
_WIDE = 1 / 16
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


def vital(name: str) -> str:
    """The first of the interfaces that every pod has that a name is for; empty where it is for none of them."""
    return next((interface for interface in VITAL_INTERFACES if _covers(name, interface)), "")


class Case(NamedTuple):
    """What one subject's next pod is made from before and after an edit; no subject: any pod that has no lists of its own."""

    subject: Subject | None
    before: Union
    after: Union


def check(mesh: Mesh, injector: Injector, cases: Sequence[Case]) -> Findings:
    """Compare unions before and after an edit.

    Only what the edit brings or makes worse is refused: what was broken before is said, so that it can be taken out.
    """
    lookup = _Lookup(injector)
    refused: dict[str, list[Subject | None]] = {}
    warned: dict[str, list[Subject | None]] = {}
    asked: dict[str, list[Subject | None]] = {}
    for case in cases:
        old, old_problems = lookup(case.before)
        new, new_problems = lookup(case.after)
        known = {problem.key: problem.size for problem in old_problems}
        for problem in new_problems:
            worse = problem.size > known.get(problem.key, 0)
            (refused if worse else warned).setdefault(problem.text, []).append(case.subject)
        ports = workloads.container_ports(case.subject.template, mesh.sidecar) if case.subject else set()
        for question in _questions(ports, old, new):
            asked.setdefault(question, []).append(case.subject)
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
        self._known: dict[tuple[int, tuple[str | None, ...]], tuple[Effective, Sequence[Problem]]] = {}
        self._specs: list[Object] = []

    def __call__(self, union: Union) -> tuple[Effective, Sequence[Problem]]:
        key = self._spec(union.spec), tuple(union.annotations.get(name) for name in self._keys)
        if key not in self._known:
            self._known[key] = judged(self._injector, union.annotations, union.spec)
        return self._known[key]

    def _spec(self, spec: Object) -> int:
        """A number for each spec; pods of one mesh share the very same object."""
        found = next((index for index, known in enumerate(self._specs) if known is spec), None)
        if found is not None:
            return found
        self._specs.append(spec)
        return len(self._specs) - 1


def _questions(ports: set[int], old: Effective, new: Effective) -> Iterator[str]:
    """What takes much of the mesh away by one edit, or more than it looks. `ports` are those of the containers."""
    before = old.keys()
    added = [entry for entry in new.entries if entry.key not in before]
    share = sum(address_share(entry.value) for entry in added if entry.list is EXCLUDED_RANGES)
    if share > _WIDE:
        yield f"the new ranges exclude {min(share, 1):.0%} of all addresses"
    for entry in added:
        if entry.list.item is Item.RANGE and (whole := network(entry.value)) != entry.value:
            yield f"{entry.value} is all of {whole} to iptables"
        if entry.list is INTERFACES and (interface := vital(entry.value)):
            yield f"{entry.value} is the interface of {VITAL_INTERFACES[interface]}"
    yield from _inclusion_questions(old, new)
    if ports and ports <= _ports(new) and not ports <= _ports(old):
        yield "no port of the containers is intercepted any more, so no inbound traffic reaches the sidecar"


def _inclusion_questions(old: Effective, new: Effective) -> Iterator[str]:
    included, kept = old.of(INCLUDED_RANGES), new.of(INCLUDED_RANGES)
    if kept and not included:
        yield "the first included range: everything outside it bypasses the sidecar from then on"
    elif kept:
        same = {entry.value for entry in kept}  # nearly all of them: the rest is compared one with the other
        gone = [entry.value for entry in included if entry.value not in same]
        lost = [value for value in gone if not any(covers(other.value, value) for other in kept)]
        if lost:
            yield f"{', '.join(lost)} is no longer included: traffic to it bypasses the sidecar from then on"


def _ports(wanted: Effective) -> set[int]:
    return {int(entry.value) for entry in wanted.of(INBOUND_PORTS)}


def _covers(name: str, interface: str) -> bool:
    return interface.startswith(name[:-1]) if name.endswith("+") else name == interface


def _named(subjects: Sequence[Subject | None]) -> str:
    """Which pods: a few by name, all by number."""
    known = [subject for subject in subjects if subject]
    pods = [f"{fields.namespace(pod)}/{fields.name(pod)}" for subject in known for pod in subject.pods]
    empty = [str(subject) for subject in known if not subject.pods]
    names = ", ".join(pods[:_NAMED]) + (f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else "")
    parts = [f"{len(pods)} pod{'s' if len(pods) != 1 else ''} ({names})"] if pods else []
    if empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        parts.append(f"the next pods of {', '.join(empty[:_NAMED])}{more}")
    return ", ".join(parts) or "every pod from now on"
