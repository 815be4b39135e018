"""Calls side by side, in threads that nobody waits for.

The pools of the standard library either wait for calls under way on Ctrl-C, or take some milliseconds to start and stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any


def gather(calls: Sequence[Callable[[], Any]], limit: int) -> Sequence[Any]:
    """Results in the order of the calls, of which at most `limit` run at a time; raises what the first to fail raised."""
    if len(calls) <= 1:
        return [call() for call in calls]
    slots = threading.Semaphore(limit)
    threads = [_Background(call, slots) for call in calls]
    for thread in threads:
        thread.start()
    return [thread.outcome() for thread in threads]


def start(call: Callable[[], Any]) -> _Background:
    """Begin a call; its `outcome` waits for it."""
    thread = _Background(call, threading.Semaphore())
    thread.start()
    return thread


class _Background(threading.Thread):
    def __init__(self, call: Callable[[], Any], slots: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._slots = slots
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        with self._slots:
            try:
                self._result = self._call()
            except BaseException as error:  # noqa: BLE001 - `outcome` raises it
                self._error = error

    def outcome(self) -> Any:
        self.join()
        if self._error:
            raise self._error
        return self._result
