"""What else moves or guards a workload's pods: PodDisruptionBudgets, autoscalers, pods that are missing already."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm import fields, rollouts
from kubectl_fsm.cluster import selectors
from kubectl_fsm.cluster.interface import AUTOSCALERS, BUDGETS, Cluster, Resource
from kubectl_fsm.cluster.selectors import Selector
from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.fields import Object
from kubectl_fsm.operations.owners import Workload

KINDS = (BUDGETS, AUTOSCALERS)
"""What is read of a namespace."""


class Budgets:
    """The PodDisruptionBudgets that let no pod go."""

    def __init__(self, budgets: Sequence[Object]) -> None:
        self._full = [*map(_full, filter(_has_no_room, budgets))]

    def holding(self, workload: Workload) -> Iterator[str]:
        """What to say of each that is for the pods of a workload."""
        for namespace, selector, text in self._full:
            if namespace == workload.namespace and selector.matches(fields.labels(workload.template or {})):
                yield text

    def notes(self, workload: Workload, *, evicted: bool = False) -> Iterator[str]:
        """The same with what it means for pods that are replaced, `evicted` or by a rollout."""
        for text in self.holding(workload):
            yield f"{text}; {'evictions wait for it' if evicted else 'rollouts do not heed it'}"


class Headroom(NamedTuple):
    """What there is in a namespace, or in all. `unseen`: kinds that may not be read."""

    budgets: Budgets
    autoscalers: Sequence[Object]
    unseen: Sequence[str]

    def notes(self, workload: Workload, *, evicted: bool = False) -> Iterator[str]:
        """What somebody should know before the workload's pods are replaced, `evicted` or by a rollout."""
        top = workload.top.object
        progress = rollouts.progress(top)
        if rollouts.restart_field(top) and progress.available < progress.wanted:
            yield f"{progress.available} of {progress.wanted} pods are available before it begins"
        yield from self.budgets.notes(workload, evicted=evicted)
        for scaler in self.autoscalers:
            target = fields.mapping(scaler, "spec", "scaleTargetRef")
            names = fields.namespace(scaler), target.get("kind"), target.get("name")
            if names == (workload.namespace, workload.top.resource.kind, fields.name(workload.top.object)):
                least, most = (
                    fields.number(scaler, "spec", "minReplicas") or 1,
                    fields.number(scaler, "spec", "maxReplicas"),
                )
                yield f"HorizontalPodAutoscaler {fields.name(scaler)} may scale it meanwhile ({least} to {most} pods)"


def look(cluster: Cluster, scope: str) -> Headroom:
    """Read what there is in a namespace, in all where it is empty."""
    budgets, autoscalers = found = cluster.gather(*(partial(readable, cluster, kind, scope) for kind in KINDS))
    unseen = [kind.qualified for kind, objects in zip(KINDS, found, strict=True) if objects is None]
    return Headroom(Budgets(budgets or ()), autoscalers or (), unseen)


def held(cluster: Cluster, workload: Workload) -> str:
    """What to say of a PodDisruptionBudget that has no room now; empty where all have."""
    budgets = readable(cluster, BUDGETS, workload.namespace)
    return next(Budgets(budgets or ()).holding(workload), "")


def readable(cluster: Cluster, resource: Resource, scope: str) -> Sequence[Object] | None:
    """All of a kind; None where they may not be read, or are not served in this version."""
    try:
        return list(cluster.list(resource, scope))
    except (Forbidden, NotFound):
        return None


def _has_no_room(budget: Object) -> bool:
    allowed = fields.mapping(budget, "status").get("disruptionsAllowed")
    return allowed == 0 and fields.mapping(budget, "spec").get("selector") is not None


def _full(budget: Object) -> tuple[str, Selector, str]:
    """Its namespace, which pods it is for, and what to say of it."""
    status = fields.mapping(budget, "status")
    healthy = f"{status.get('currentHealthy', 0)} healthy of {status.get('desiredHealthy', 0)} wanted"
    text = f"PodDisruptionBudget {fields.name(budget)} has no room ({healthy})"
    return fields.namespace(budget), selectors.of_object(fields.part(budget, "spec", "selector")), text
