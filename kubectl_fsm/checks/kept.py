"""The values of an object's own lists, one by one, each with its place and what takes it out."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from kubectl_fsm import exclusions
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.views import MeshView, WorkloadView
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import Entry
from kubectl_fsm.fields import Step
from kubectl_fsm.meshes import ExclusionList
from kubectl_fsm.operations import hints
from kubectl_fsm.reports import ListChange


class Kept(NamedTuple):
    """A value of a list, as the injector reads it. `place` is what to call the list there, `path` where the value is."""

    entry: Entry
    place: str
    path: Sequence[Step]


def kept(view: ListHolder, *lists: ExclusionList) -> Iterator[Kept]:
    """The values of the view's own lists (all, or these), in their order, but for invalid ones; none where no pod gets rules by them."""
    injector = view.installation.injector
    for found in (lists or injector.lists) if view.script else ():
        if isinstance(view, WorkloadView):
            values, place = exclusions.pod_values(injector, found, view.readable), injector.annotation(found)
            entries = [(Entry(found, value), f"annotation {place}", view.place(found)) for value in values]
        else:
            values, place = exclusions.global_values(found, view.installation.spec), f"spec.traffic.{found.field}"
            entries = [(Entry(found, value), place, (*view.place(found), index)) for index, value in enumerate(values)]
        yield from (Kept(*one) for one in entries if not exclusions.value_problem(found, one[0].value))


def ruled(view: MeshView) -> Iterator[WorkloadView]:
    """The workloads looked at of a mesh whose next pods have rules."""
    for workload in view.workloads:
        with suppress(InvalidObject):
            if workload.script:
                yield workload


def removal(view: ListHolder, one: Kept) -> str:
    """What takes a value out of its list."""
    return mending.removal(view, one.entry.list, [one.entry.value])


def replacement(view: ListHolder, one: Kept, value: str) -> str:
    """What puts a value in the place of another."""
    if not view.scene.cluster.remote or view.uneditable:
        why = f": {view.uneditable}" if view.uneditable else ""
        return f"write {value} instead of {one.entry.value} in {one.place}{why}"
    change = ListChange(one.entry.list.name, before=[value], after=[one.entry.value])
    return hints.undo([change], [*view.scope_words, *view.scene.cluster.words])
