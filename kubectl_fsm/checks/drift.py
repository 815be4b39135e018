"""What is configured against what pods run, and annotations that are not what they look like."""

from collections.abc import Iterator

from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import WorkloadView
from kubectl_fsm.interception import difference
from kubectl_fsm.operations import hints


@check(
    "outdated",
    "warning",
    WorkloadView,
    holds="Pods run the rules that are configured now.",
    why="A pod reads its rules once, when it is made: an edit reaches only pods that are made after it.",
    remedy="Restart the workload: `kubectl fsm restart`.",
)
def outdated(view: WorkloadView) -> Iterator[Seen]:
    for group in view.groups:
        found = group.situation
        if found.state == "outdated":
            now, then = found.now, found.coming.wanted
            changes = ", ".join(difference(now.effective, then)) if now and then else found.reason
            yield Seen(
                view.said(group, changes),
                hints.apply(view.workload, view.scene.cluster.words),
            )
