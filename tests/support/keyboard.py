"""What somebody types while a test waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Timer


def ctrl_c_ends(call: Callable[[], object], seconds: float) -> bool:
    """Whether a call ends by Ctrl-C, which is typed so many seconds after it has begun, and not by itself before."""
    pressed, returned = Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)), False
    try:
        pressed.start()
        call()
        returned = True
        pressed.join()
    except KeyboardInterrupt:
        pressed.join()
    return not returned
