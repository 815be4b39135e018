"""Entries of the lists that do nothing."""

from collections.abc import Iterator

from kubectl_fsm.checks.kept import Kept, kept, removal, ruled
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, WorkloadView
from kubectl_fsm.meshes import INCLUDED_RANGES
from kubectl_fsm.operations.inspect import Idle, idle_entries

_TIMES = {2: "twice"}
_LAST = "take the excluded range out: with no included range left, everything else would be intercepted"
"""Of included ranges that are all excluded: as they are, nothing that leaves the pod is intercepted."""


@check(
    "duplicate-entry",
    "info",
    ListHolder,
    holds="A list has each entry once.",
    why="The second one does nothing, and whoever takes the first one out will wonder why nothing changes.",
    remedy="Leave one of them.",
)
def duplicate_entry(view: ListHolder) -> Iterator[Seen]:
    alike: dict[object, list[Kept]] = {}
    for one in kept(view):
        alike.setdefault((one.place, one.entry.key), []).append(one)
    for first, *more in alike.values():
        values = list(dict.fromkeys(one.entry.value for one in (first, *more)))
        if len(values) > 1:
            seen = f"{first.place} has {' and '.join(values)}, which mean the same"
            yield Seen(
                seen, f"take the later one, {more[-1].entry.value}, out and leave {first.entry.value}", more[-1].path
            )
        elif more:
            times = _TIMES.get(len(more) + 1, f"{len(more) + 1} times")
            seen = f"{first.place} has {first.entry.value} {times}"
            yield Seen(seen, f"write {first.entry.value} there once", more[-1].path)


@check(
    "global-and-pod",
    "info",
    WorkloadView,
    holds="A workload does not ask for what the MeshConfig asks for anyway.",
    why="The pod gets the union of both lists. Whoever takes the entry out of one will wonder why nothing changes.",
    remedy="Take it out of the pod template, unless it is meant to stay when the MeshConfig changes.",
)
def global_and_pod(view: WorkloadView) -> Iterator[Seen]:
    everywhere = {one.entry.key: one for one in kept(MeshView(view.scene, view.installation))}
    own = {one.entry.key: one for one in kept(view)}
    for key, one in own.items():
        if key in everywhere:
            other = everywhere[key].entry.value
            said = "too" if other == one.entry.value else f"as {other}"
            field = f"spec.traffic.{one.entry.list.field}"
            yield Seen(
                f"{one.place} has {one.entry.value}, and the MeshConfig's {field} {said}", removal(view, one), one.path
            )


@check(
    "covered-entry",
    "info",
    ListHolder,
    holds="No entry is for what another one is for anyway.",
    why="It does nothing as long as the wider one is there.",
    remedy="Take it out, or make the wider one narrower.",
)
def covered_entry(view: ListHolder) -> Iterator[Seen]:
    yield from _idle(view, "covered", _entries(view, "covered"))


@check(
    "overridden-entry",
    "warning",
    ListHolder,
    holds="An included range is not excluded at the same time.",
    why="Exclusions come first: what is in both lists bypasses the sidecar.",
    remedy="Take the range out of one of the two lists; out of the excluded ones where no other range is included.",
)
def overridden_entry(view: ListHolder) -> Iterator[Seen]:
    included = {entry.key for entry in view.sound.of(INCLUDED_RANGES)}
    if included:
        found = _entries(view, "overridden")
        yield from _idle(view, "overridden", found, _LAST if included <= {*found} else "")


@check(
    "outside-included",
    "info",
    ListHolder,
    holds="What is excluded would be intercepted otherwise.",
    why="With included ranges nothing else is intercepted: a range that overlaps none of them bypasses the sidecar anyway.",
    remedy="Take the excluded range out.",
)
def outside_included(view: ListHolder) -> Iterator[Seen]:
    yield from _idle(view, "outside", _entries(view, "outside"))


def _idle(view: ListHolder, kind: str, found: dict[object, Idle], mend: str = "") -> Iterator[Seen]:
    """The view's own entries of those `found` idle; of the MeshConfig only those that are for every pod looked at.

    Without a `mend` they are taken out.
    """
    if isinstance(view, MeshView):
        for workload in ruled(view):
            others = _entries(workload, kind) if found else {}
            found = {key: one for key, one in found.items() if key in others}
    for one in kept(view):
        if one.entry.key in found:
            text = found[one.entry.key].text
            yield Seen(f"{one.place} has {one.entry.value}, which {text}", mend or removal(view, one), one.path)


def _entries(view: ListHolder, kind: str) -> dict[object, Idle]:
    return {one.entry.key: one for one in idle_entries(view.sound, view.script) if one.kind == kind}
