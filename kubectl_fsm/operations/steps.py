"""What is meant to happen to each workload of a restart."""

from collections.abc import Sequence
from typing import NamedTuple

from kubectl_fsm import workloads
from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.obstacles import REPLACED
from kubectl_fsm.operations.rollout import Target
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.turns import Job, Outcome
from kubectl_fsm.reports import RestartItem


class Step(NamedTuple):
    """A workload and what is meant to happen to it.

    `target` is None where nothing tells its mesh. `outdated` pods run other rules than the next pod would; `changes`
    are what the next pods gain and lose; `left` is the outcome where nothing is done about it, with the reason;
    `notes` is what to know before; `remedy` is how its pods are replaced that have no rolling update (`obstacles.EVICT`,
    `RECREATE`). `begun`: a restart before has begun it, and it is followed to its end.
    """

    subject: Subject
    target: Target | None
    outdated: Sequence[Object]
    changes: Sequence[str]
    left: Outcome | None = None
    notes: Sequence[str] = ()
    remedy: str = ""
    begun: bool = False

    @property
    def title(self) -> str:
        """`sts/db in shop (3 pods, evicted pod by pod): +6379 outbound-port`."""
        return f"{self.subject}{self._about}"

    def introduction(self, cluster: Cluster) -> str:
        """What is said when its turn comes, after its name."""
        return f"{self._about} ({cluster.origin}, mesh {self.mesh})"

    @property
    def mesh(self) -> str:
        """Its mesh; empty where nothing tells it."""
        return str(self.target.installation) if self.target else ""

    @property
    def _about(self) -> str:
        count = sum(map(workloads.lives, self.subject.pods))
        changes = f": {', '.join(self.changes)}" if self.changes else ""
        replaced = f", {self.replaced}" if self.remedy else ""
        return f" ({count} pod{'s' if count != 1 else ''}{replaced}){changes}"

    @property
    def replaced(self) -> str:
        """How its pods are replaced, where that is by no rollout."""
        return REPLACED.get(self.remedy, "")

    def item(self, outcome: Outcome) -> RestartItem:
        """The line of a report."""
        workload = self.subject.workload
        return RestartItem(
            workload=workload.label,
            namespace=workload.namespace,
            mesh=self.mesh,
            replicas=sum(map(workloads.lives, self.subject.pods)),
            outdated=len(self.outdated),
            changes=self.changes,
            result=outcome.result,
            detail=outcome.detail,
            verified=outcome.verified,
            pods=outcome.pods,
            notes=self.notes,
        )


Work = Sequence[tuple[Step, Job | None]]
"""Steps in their order, each with what is done about it; None for one that is left alone."""
