"""Every check, in the order of the troubleshooting guide: the way into the mesh first, what goes wrong later after it."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_fsm.checks import drift, startup
from kubectl_fsm.checks.model import Check

_ALL: Sequence[Check[Any]] = (
    startup.sidecar_not_ready,
    startup.init_failed,
    drift.outdated,
)
CHECKS: Mapping[str, Check[Any]] = {one.identity: one for one in _ALL}
