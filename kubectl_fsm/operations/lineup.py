"""Who has a turn in a restart, who goes first, and what is to be known before."""

from collections.abc import Callable, Iterator, Sequence

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import NAMESPACES, Cluster
from kubectl_fsm.errors import NotFound, Refused, UsageError
from kubectl_fsm.operations.canary import Canary
from kubectl_fsm.operations.headroom import Headroom
from kubectl_fsm.operations.obstacles import EVICT, RECREATE
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.steps import Step, Work
from kubectl_fsm.operations.turns import Outcome
from kubectl_fsm.reports import Event, Note

_SAID = 20
"""How many notes are said, at most; the report has them all."""


def without(cluster: Cluster, steps: Sequence[Step], words: Sequence[str]) -> Sequence[Step]:
    """The steps that no word means. Raises `UsageError` for a word that means none: what it was to keep is not kept."""
    skipped: list[Step] = []
    for word in words:
        matches = _matcher(cluster, "--skip", word)
        found = [step for step in steps if matches(step)]
        if not found:
            raise UsageError(f"--skip {word}: no such workload is among those that are looked at", "check its spelling")
        skipped += found
    return [step for step in steps if step not in skipped]


def named(cluster: Cluster, steps: Sequence[Step], word: str) -> Step:
    """The step of the canary that a word means. Raises `UsageError`, and `Refused` where a restart would leave it alone."""
    matches = _matcher(cluster, "--canary", word)
    found = [step for step in steps if matches(step)]
    if not found:
        raise UsageError(f"--canary {word}: no such workload is among those that are looked at", "check its spelling")
    if len(found) > 1:
        places = ", ".join(step.subject.workload.namespace for step in found)
        raise UsageError(f"--canary {word}: it is in several namespaces: {places}", "write NAMESPACE/KIND/NAME")
    return fit(found[0])


def fit(step: Step) -> Step:
    """The step, of a canary. Raises `Refused` where a restart would leave it alone."""
    reason = "nothing tells its mesh" if not step.target else step.left.detail if step.left else ""
    if reason:
        alone = "would be left alone" if not step.left or step.left.result != "current" else "proves nothing"
        raise Refused(f"the canary {step.subject} {alone}: {reason}", "nothing was restarted")
    if step.remedy == RECREATE:
        raise Refused(f"the canary {step.subject} is a bare pod: recreated it is another one", "nothing was restarted")
    return step


def _matcher(cluster: Cluster, option: str, word: str) -> Callable[[Step], bool]:
    """Tells the steps that `[NAMESPACE/]KIND/NAME` or `ns/NAME` means. Raises `UsageError` and `NotFound`."""
    *namespace, kind, name = word.split("/") if word.count("/") in (1, 2) else ("", "")
    forms = f"write KIND/NAME or NAMESPACE/KIND/NAME{', ns/NAME for a namespace' if option == '--skip' else ''}"
    if not kind or not name or namespace == [""]:
        raise UsageError(f"{option} {word!r} is not a workload", forms)
    try:
        resource = cluster.resource_named(kind)
    except NotFound as error:
        raise UsageError(f"{option} {word}: {error.message}", forms) from error
    if resource == NAMESPACES and option == "--canary":
        raise UsageError(f"{option} {word}: a namespace is not a workload", forms)

    def matches(step: Step) -> bool:
        workload = step.subject.workload
        if resource == NAMESPACES:
            return not namespace and workload.namespace == name
        called = workload.top.resource.qualified == resource.qualified and fields.name(workload.top.object) == name
        return called and namespace in ([], [workload.namespace])

    return matches


def canary_first(cluster: Cluster, owners: Owners, work: Work, canary: Step, bake: float) -> Work:
    """The canary's turn before all others. Its step is as `named` gives it."""
    if canary.target is None:
        return work
    job = next((job for step, job in work if step is canary), None)
    first = Canary(cluster, owners, canary.target, job, bake)
    return [(canary, first), *((step, job) for step, job in work if step is not canary)]


def informed(steps: Sequence[Step], room: Headroom, *, respect: bool) -> Sequence[Step]:
    """The steps with what is to be known before; with `respect` a PodDisruptionBudget without room leaves one alone."""
    return [step if step.left else _informed(step, room, respect=respect) for step in steps]


def _informed(step: Step, room: Headroom, *, respect: bool) -> Step:
    workload = step.subject.workload
    deleted = step.remedy == RECREATE and step.target and not step.target.subject.pods
    heeds = respect and not (step.begun or deleted)
    held = next(room.budgets.holding(workload), "") if heeds else ""
    if held:
        return step._replace(left=Outcome("left", held))
    return step._replace(notes=[*step.notes, *room.notes(workload, evicted=step.remedy == EVICT)])


def notes(steps: Sequence[Step], room: Headroom) -> Iterator[Event]:
    """What is to be known before, as lines."""
    for kind in room.unseen:
        yield Note(f"{kind} cannot be read: whether they mind a restart is not known")
    said = [f"{step.subject}: {note}" for step in steps for note in step.notes]
    for text in said[:_SAID]:
        yield Note(text)
    if len(said) > _SAID:
        yield Note(f"and {len(said) - _SAID} more such notes, which -o wide has")
