"""Lengths of time as kubectl's options take them, and as people read them."""

import re

from kubectl_fsm.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 24 * 60 * 60
_DURATION = r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+"
_PART = r"([0-9.]+)([^0-9.]+)"


def seconds(option: str, text: str) -> float:
    """The seconds that an option's value means: a number of them or a Go duration (`5`, `1s`, `1m30s`), a day at most.

    Raises `UsageError`, which names the option.
    """
    written = f"{text}s" if re.fullmatch("[0-9]+", text) else text
    if not re.fullmatch(_DURATION, written):
        raise UsageError(f"{option}={text}: not a duration", "write 30 or 30s, 2m, 1h; 0 for no limit")
    found = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, written))
    if found > _LONGEST:
        raise UsageError(f"{option}={text}: more than a day", "0 is for no limit")
    return found


def text(length: float) -> str:
    """A length in seconds as people write it: `45s`, `10m`, `1h30m`."""
    whole = round(length)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
