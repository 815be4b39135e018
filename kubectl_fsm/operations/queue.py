"""Workloads that wait for their turn: asked about first, then worked on, and none after one that failed."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.errors import Declined, Interrupted, RolloutFailed
from kubectl_fsm.operations.canary import Canary
from kubectl_fsm.operations.record import Record
from kubectl_fsm.operations.steps import Step, Work
from kubectl_fsm.operations.turns import Job, Outcome, Pace, Turns
from kubectl_fsm.reports import Event, Failed, Lineup, Question, RestartItem, RestartReport, Warned

_REPEAT = "to go on, repeat the command"
_LISTED = 20


class Options(NamedTuple):
    """How work is done: the seconds that one rollout may take (0: no limit), only shown, without being asked, the pace."""

    timeout: float
    dry_run: bool
    yes: bool
    pace: Pace = Pace()


def run(
    cluster: Cluster, work: Work, options: Options, record: Record | None = None
) -> Generator[Event, bool, RestartReport]:
    """Do the work; a dry run shows it. Raises `Declined`. What failed is yielded as `Failed`, and is in the report.

    `record` keeps what is still to do, from before the first write until all is done.
    """
    jobs = [(number, job) for number, (_, job) in enumerate(work) if job]
    rolled = [number for number, _ in jobs if not work[number][0].left]
    outcomes: Mapping[int, Outcome] = {number: Outcome("planned", work[number][0].replaced) for number in rolled}
    if not options.dry_run:
        yield from agree(cluster, [work[number][0] for number in rolled], (), yes=options.yes)
        meshes = ", ".join(dict.fromkeys(work[number][0].mesh for number, _ in jobs))
        outcomes = yield from _turns(jobs, options.pace, record, f"{cluster.origin}, mesh {meshes}")
    left = [outcomes.get(number) or step.left or Outcome("left") for number, (step, _) in enumerate(work)]
    items = [step.item(outcome) for (step, _), outcome in zip(work, left, strict=True)]
    yield from _failures(items, record.resume if record else "")
    return RestartReport(items, cluster.origin)


def _turns(
    jobs: Sequence[tuple[int, Job]], pace: Pace, record: Record | None, where: str
) -> Generator[Event, bool, Mapping[int, Outcome]]:
    """The outcome of each job that was begun, by its number. A canary goes alone, before the others."""
    if not jobs:
        yield from record.end() if record else ()
        return {}
    turns = Turns(pace, record.keep if record else lambda *_: None)
    ahead = [(number, job) for number, job in jobs if isinstance(job, Canary)]
    found: dict[int, Outcome] = {}
    with turns.listening():
        yield Lineup(len(jobs), *pace, where)
        if record:
            yield from record.begin()
        try:
            for lot in (ahead, [one for one in jobs if one not in ahead]):
                found |= dict((yield from turns.take(dict(lot))))
        except Exception:
            yield from record.end() if record else ()
            raise
        yield from record.end() if record else ()
    return {**{number: Outcome("not begun") for number, _ in jobs}, **found}


def agree(
    cluster: Cluster, steps: Sequence[Step], questions: Sequence[str], *, yes: bool, about: str = ""
) -> Generator[Event, bool, None]:
    """Ask before more than one workload is rolled, and whatever else there is to ask. Raises `Declined`.

    `about` is what else the yes is for, such as an edit of a MeshConfig.
    """
    if yes:
        for text in questions:
            yield Warned(text)
    elif questions or len(steps) > 1:
        rolls = f"this rolls {_workloads(len(steps))}"
        head = [f"{cluster.origin}, {about}", *([rolls] if steps else [])] if about else [f"{cluster.origin}: {rolls}"]
        titles = [f"  {step.title}" for step in steps[:_LISTED]]
        more = [f"  and {len(steps) - _LISTED} more"] if len(steps) > _LISTED else []
        if not (yield Question("\n".join([*head, *titles, *more, *questions]))):
            raise Declined("not confirmed; nothing was written")


def _workloads(count: int) -> str:
    return f"{count} workload{'s' if count != 1 else ''}"


def _failures(items: Sequence[RestartItem], resume: str) -> Iterator[Failed]:
    """What stopped the work, as errors; the first counts what was not begun because of it."""
    waiting = sum(item.result == "not begun" for item in items)
    rest = f"; {waiting} workload{'s were' if waiting > 1 else ' was'} not begun" if waiting else ""
    stopped = [item for item in items if item.result in ("failed", "interrupted")]
    for item in stopped:
        text = f"{item.workload} in {item.namespace}: {item.detail}{rest}"
        if item.result == "failed":
            again = resume or "repeat the command: what is done is not done again"
            yield Failed(RolloutFailed(text, f"mend it, then {again}"))
        else:
            yield Failed(Interrupted(f"interrupted at {text}", f"to go on: {resume}" if resume else _REPEAT))
        rest = ""
    if waiting and not stopped:
        yield Failed(Interrupted(f"interrupted{rest}", f"to go on: {resume}" if resume else _REPEAT))
