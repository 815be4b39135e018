"""How restarts are carried out."""

import math
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import NamedTuple

from kubectl_fsm.operations.owners import Workload

_FRESH = 60.0
"""Seconds for which the injector's answer about a template holds; after that it is asked again."""


class Manner(NamedTuple):
    """How restarts are carried out.

    `timeout`: the seconds that one may take, 0 for no limit; `wait`: whether it is waited for; with `everything` pods
    that run current rules are replaced too. `asks`: whether the injector is asked about the next pod before anything is
    written; `asked_at`: the monotonic time at which it was asked about all templates, −inf where it was not. With
    `respects_budgets` one whose PodDisruptionBudget has no room is left alone. `remedies` are those that are taken where
    there is no rolling update (`obstacles.EVICT`, `RECREATE`). `marks` are of restarts begun before, by uid; of bare pods
    also by `place`.
    """

    timeout: float = 0.0
    wait: bool = True
    everything: bool = False
    asks: bool = True
    asked_at: float = -math.inf
    respects_budgets: bool = False
    remedies: Collection[str] = ()
    marks: Mapping[str, str] = MappingProxyType({})

    def fresh(self, *, same: bool) -> bool:
        """Whether the injector need not be asked now. `same`: template and MeshConfig are as it was asked about."""
        return not self.asks or (same and time.monotonic() - self.asked_at <= _FRESH)

    def mark(self, workload: Workload) -> str:
        """What tells that its restart was begun before; empty where none was. A pod created anew has another uid."""
        return self.marks.get(workload.uid) or (self.marks.get(place(workload), "") if workload.bare else "")


def place(workload: Workload) -> str:
    """`shop/pod/alone`: what stays the same of a pod that is created anew."""
    return f"{workload.namespace}/{workload.label}"


def now() -> str:
    """The time as kubectl writes it: RFC 3339, in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
