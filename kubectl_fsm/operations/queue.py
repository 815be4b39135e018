"""Workloads that wait for their turn: asked about first, rolled one after the other, and none after one that failed."""

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from kubectl_fsm import workloads
from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.errors import Declined, Interrupted, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.rollout import Change, Outcome, Target, roll
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import Event, Failed, Note, Question, RestartItem, RestartReport, Warned

_LISTED = 20


class Options(NamedTuple):
    """How work is done: the seconds that one rollout may take (0: no limit), only shown, without being asked."""

    timeout: float
    dry_run: bool
    yes: bool


class Step(NamedTuple):
    """A workload and what is meant to happen to it.

    `target` is None where nothing tells its mesh. `outdated` pods run other rules than the next pod would; `changes`
    are what the next pods gain and lose; `left` is the outcome where nothing is done about it, with the reason.
    """

    subject: Subject
    target: Target | None
    outdated: Sequence[Object]
    changes: Sequence[str]
    left: Outcome | None = None

    @property
    def title(self) -> str:
        """`deploy/web in shop (12 pods): +6379 outbound-port`."""
        count = sum(map(workloads.lives, self.subject.pods))
        changes = f": {', '.join(self.changes)}" if self.changes else ""
        return f"{self.subject} ({count} pod{'s' if count != 1 else ''}){changes}"

    def item(self, outcome: Outcome) -> RestartItem:
        """The line of a report."""
        workload = self.subject.workload
        return RestartItem(
            workload=workload.label,
            namespace=workload.namespace,
            mesh=str(self.target.installation) if self.target else "",
            replicas=sum(map(workloads.lives, self.subject.pods)),
            outdated=len(self.outdated),
            changes=self.changes,
            result=outcome.result,
            detail=outcome.detail,
            verified=outcome.verified,
            pods=outcome.pods,
        )


Work = Sequence[tuple[Step, Change | None]]
"""Steps in their order, each with what makes its workload roll; None for one that is left alone."""


def run(cluster: Cluster, owners: Owners, work: Work, options: Options) -> Generator[Event, bool, RestartReport]:
    """Do the work; a dry run shows it. Raises `Declined`. What failed is yielded as `Failed`, and is in the report."""
    rolling = [step for step, change in work if change]
    if not options.dry_run:
        yield from agree(cluster, rolling, (), yes=options.yes)
    outcomes = yield from _one_by_one(cluster, owners, work, options)
    items = [step.item(outcome) for (step, _), outcome in zip(work, outcomes, strict=True)]
    yield from _failures(items)
    return RestartReport(items, cluster.origin)


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
        count = len(steps)
        rolls = f"this rolls {count} workload{'s' if count != 1 else ''}"
        head = [f"{cluster.origin}, {about}", *([rolls] if steps else [])] if about else [f"{cluster.origin}: {rolls}"]
        titles = [f"  {step.title}" for step in steps[:_LISTED]]
        more = [f"  and {count - _LISTED} more"] if count > _LISTED else []
        if not (yield Question("\n".join([*head, *titles, *more, *questions]))):
            raise Declined("not confirmed; nothing was written")


def _one_by_one(
    cluster: Cluster, owners: Owners, work: Work, options: Options
) -> Generator[Event, bool, Sequence[Outcome]]:
    """An outcome for each step, in order; after one that fails, or Ctrl-C, no other is begun."""
    outcomes, begun, stopped = [], 0, False
    total = sum(change is not None for _, change in work)
    for step, change in work:
        if change is None or step.target is None:
            outcome = step.left or Outcome("left")
        elif options.dry_run:
            outcome = Outcome("planned")
        elif stopped:
            outcome = Outcome("not begun")
        else:
            begun += 1
            note = f"[{begun}/{total}] {step.title} ({cluster.origin}, mesh {step.target.installation})"
            outcome = yield from roll(cluster, owners, step.target, change, timeout=options.timeout, note=note)
            if outcome.result == "done":
                yield Note(f"{step.subject}: {outcome.verified}/{outcome.pods} verified")
            stopped = outcome.result in ("failed", "interrupted")
        outcomes.append(outcome)
    return outcomes


def _failures(items: Sequence[RestartItem]) -> Iterator[Failed]:
    """What stopped the work, as an error that counts what was not begun because of it."""
    waiting = sum(item.result == "not begun" for item in items)
    rest = f"; {waiting} workload{'s were' if waiting > 1 else ' was'} not begun" if waiting else ""
    for item in items:
        text = f"{item.workload} in {item.namespace}: {item.detail}{rest}"
        if item.result == "failed":
            yield Failed(RolloutFailed(text, "mend it, then roll what is outdated by then with kubectl fsm restart"))
        elif item.result == "interrupted":
            yield Failed(Interrupted(f"interrupted at {text}", "to go on, repeat the command"))
