"""How restarts are carried out."""

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import NamedTuple

FRESH = 60.0
"""Seconds for which the injector's answer about a template holds; after that it is asked again."""


class Manner(NamedTuple):
    """How restarts are carried out.

    `timeout`: the seconds that one may take, 0 for no limit; `wait`: whether it is waited for; with `everything` pods
    that run current rules are replaced too. `asked_at` is the monotonic time at which the injector was asked about all
    templates; with `respects_budgets` one whose PodDisruptionBudget has no room is left alone. `remedies` are those that
    are taken where there is no rolling update (`obstacles.EVICT`, `RECREATE`). `marks` are, by uid, of restarts begun
    before.
    """

    timeout: float = 0.0
    wait: bool = True
    everything: bool = False
    asked_at: float = -math.inf
    respects_budgets: bool = False
    remedies: Collection[str] = ()
    marks: Mapping[str, str] = MappingProxyType({})


def now() -> str:
    """The time as kubectl writes it: RFC 3339, in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
