"""Waiting for what may pass: another try after a pause, the next pause twice as long, until patience is at its end."""

import random
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from kubectl_fsm.errors import ApiError, FsmError, Unreachable

_OUTAGE = 120.0
"""Seconds for which a server may be gone; an API server is replaced in less."""

_AWAY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""Answers of a server that is not there for now. Behind a 500 there may be a webhook that never works."""

Result = TypeVar("Result")


class Patience:
    """So many seconds of it, and pauses between `first` and `longest` seconds, less up to half of them by chance."""

    def __init__(self, seconds: float, first: float, longest: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause = first
        self._longest = longest

    @property
    def over(self) -> bool:
        return time.monotonic() > self._deadline

    def pause(self) -> None:
        time.sleep(random.uniform(self._pause / 2, self._pause))  # noqa: S311 - jitter
        self._pause = min(self._pause * 2, self._longest)


def passes(error: FsmError) -> bool:
    """Whether a failure is one of the network, or of a server that is away or asks for patience."""
    return isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.status in _AWAY)


def persist(call: Callable[[], Result], passes: Callable[[FsmError], bool] = passes) -> Result:
    """The result of a call that may be repeated, as often as it fails with what `passes`, for two minutes."""
    patience = Patience(_OUTAGE, 0.2, 5.0)
    while True:
        try:
            return call()
        except (ApiError, Unreachable) as error:
            if not passes(error) or patience.over:
                raise
        patience.pause()
