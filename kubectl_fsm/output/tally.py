"""How far a lineup of workloads is: who has a turn now, what has ended and how, and how long the rest may take."""

import heapq
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kubectl_fsm import durations
from kubectl_fsm.reports import Lineup, Turn

_FAILED = ("failed", "interrupted")
_COARSE = 60
"""From so many seconds on, the time left is said in minutes; below it in tens of seconds."""


class Running(NamedTuple):
    """A turn that has not ended: the latest of it, when it began, and when it was first seen to bake."""

    turn: Turn
    begun: float
    baking: float | None = None


class Tally:
    """Counts turns as they go. `clock` tells the seconds, as `time.monotonic` does."""

    def __init__(self, lineup: Lineup, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = lineup.total
        self.begun = 0
        self._lineup = lineup
        self._clock = clock
        self._running: dict[tuple[str, str], Running] = {}
        self._results: Counter[str] = Counter()
        self._took = 0.0

    def take(self, turn: Turn) -> None:
        """Count what a turn has come to."""
        key, now = (turn.workload, turn.namespace), self._clock()
        before = self._running.get(key, Running(turn, now))
        if turn.ends:
            self._running.pop(key, None)
            self._results[turn.state] += 1
            self._took += (before.baking or now) - before.begun
            return
        self.begun += turn.state == "begun"
        baking = before.baking or (now if turn.state == "baking" else None)
        self._running[key] = before._replace(turn=turn, baking=baking)

    @property
    def running(self) -> Sequence[Running]:
        """The turns that have not ended, in the order of their beginning. May be read from another thread."""
        return tuple(self._running.values())

    def age(self, running: Running) -> float:
        """The seconds since a turn began."""
        return self._clock() - running.begun

    @property
    def left(self) -> float | None:
        """About how many seconds the rest will take, as those took that have ended; None before there is one.

        A canary's baking is not counted among what the others will take.
        """
        ended = sum(self._results.values())
        if not ended:
            return None
        usual = self._took / ended
        ends = [max(0.0, usual - self.age(one)) for one in self.running]
        ends += [0.0] * (self._lineup.parallel - len(ends))
        heapq.heapify(ends)
        for _ in range(0 if self._stopped else self._waiting):
            heapq.heapreplace(ends, ends[0] + self._lineup.pause + usual)
        return max(ends)

    @property
    def _waiting(self) -> int:
        return max(0, self.total - self.begun)

    @property
    def _stopped(self) -> bool:
        """Whether no other will be begun, because one has failed."""
        return any(self._results[result] for result in _FAILED)

    def __str__(self) -> str:
        """`12 of 100 done, 8 running, 80 to go, about 4m left`."""
        failed, left_alone = sum(self._results[result] for result in _FAILED), self._results["left"]
        done = sum(self._results.values()) - failed - left_alone
        counts = [
            (failed, "failed"),
            (left_alone, "left alone"),
            (len(self.running), "running"),
            (self._waiting, "not begun" if self._stopped else "to go"),
        ]
        parts = [f"{done} of {self.total} done", *(f"{count} {what}" for count, what in counts if count)]
        left = self.left
        return ", ".join([*parts, f"about {_roughly(left)} left"] if left else parts)


def _roughly(seconds: float) -> str:
    """Rounded up, for more is not known."""
    unit = _COARSE if seconds > _COARSE else 10
    return durations.text(math.ceil(seconds / unit) * unit)
