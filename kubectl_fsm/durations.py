"""Lengths of time as kubectl's options take them."""

import re

from kubectl_fsm.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 24 * 60 * 60
_DURATION = r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+"
_PART = r"([\d.]+)([^\d.]+)"


def seconds(option: str, text: str) -> float:
    """The seconds that an option's value means: a number of them or a Go duration (`5`, `1s`, `1m30s`), a day at most.

    Raises `UsageError`, which names the option.
    """
    parts = re.findall(_PART, text) if re.fullmatch(_DURATION, text) else [(text, "s")] if text.isdecimal() else []
    found = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or found > _LONGEST:
        raise UsageError(f"{option}={text}: not a duration", "write 30 or 30s, 2m, 1h; 0 for no limit")
    return found
