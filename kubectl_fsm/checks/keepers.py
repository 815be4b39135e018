"""Who else keeps what holds lists: Argo CD, Flux, Helm, and field managers that share a list."""

from collections.abc import Iterator, Sequence

from kubectl_fsm import fields
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.cluster.interface import FIELD_MANAGER
from kubectl_fsm.meshes import ExclusionList
from kubectl_fsm.operations import ownership
from kubectl_fsm.reports import Writer

_BY_HAND = (FIELD_MANAGER, "kubectl-edit", "kubectl-patch", "kubectl-annotate", "kubectl-replace")
"""Field managers that somebody at a keyboard has."""


@check(
    "kept-elsewhere",
    "info",
    ListHolder,
    holds="Nobody else writes an object that holds lists.",
    why="An edit in the cluster is not in what the keeper keeps, so it may be taken back, or lost with the next cluster.",
    remedy="Edit the lists where the object is kept: `kubectl fsm exclude-port --local -f FILE`.",
)
def kept_elsewhere(view: ListHolder) -> Iterator[Seen]:
    for one in _held(view):
        for keeper in ownership.keepers(view.scene, view.object, [_path(view, one)]):
            yield Seen(f"{one.name}: {keeper.text}", "edit it where the object is kept", view.place(one))


@check(
    "edited-beside-keeper",
    "warning",
    ListHolder,
    holds="A list of an object that Argo CD, Flux or Helm keeps was written by the keeper.",
    why="Somebody wrote it in the cluster: it is not where the object is kept, so the keeper may take it back, and a cluster made anew lacks it.",
    remedy="Write it where the object is kept.",
)
def edited_beside_keeper(view: ListHolder) -> Iterator[Seen]:
    for one, (last, *_) in _writers(view):
        keepers = ownership.keepers(view.scene, view.object, [_path(view, one)]) if last.manager in _BY_HAND else ()
        for keeper in keepers:
            seen = f"{one.name} was written by {_timed(last)}; {keeper.text}"
            yield Seen(seen, "write it where the object is kept, too", view.place(one))


@check(
    "two-managers",
    "warning",
    ListHolder,
    holds="One field manager owns a list.",
    why="A list is one value: the next of them to apply another one gets a conflict, or with force takes the other's entries away; and what only one gives up stays.",
    remedy="Let one of them have the list, and take it out of what the other applies.",
)
def two_managers(view: ListHolder) -> Iterator[Seen]:
    for one, writers in _writers(view):
        if len({writer.manager for writer in writers}) > 1:
            named = " and ".join(map(_timed, writers))
            mend = f"take it out of what {writers[-1].manager} applies, or {writers[0].manager}"
            yield Seen(f"{one.name} is owned by {named}", mend, view.place(one))


def _timed(writer: Writer) -> str:
    """`ci (2026-01-02T03:04:05Z)`; whoever applies on the server's side may leave no time."""
    return f"{writer.manager} ({writer.time})" if writer.time else writer.manager


def _held(view: ListHolder) -> Sequence[ExclusionList]:
    """The lists that the object has entries in, where a cluster says who wrote them."""
    if not fields.items(view.object, "metadata", "managedFields"):
        return ()
    return [one for one in view.installation.injector.lists if view.holds(one)]


def _writers(view: ListHolder) -> Iterator[tuple[ExclusionList, Sequence[Writer]]]:
    """Who owns each of these lists, newest first."""
    for one in _held(view):
        if writers := ownership.writers(view.object, _path(view, one)):
            yield one, writers


def _path(view: ListHolder, one: ExclusionList) -> tuple[str, ...]:
    return tuple(map(str, view.place(one)))
