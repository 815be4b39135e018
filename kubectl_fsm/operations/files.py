"""Files that are left in the working folder: only their owner may read them, and none takes the place of another."""

import os
import re
import secrets
from contextlib import suppress


def new(stem: str) -> str:
    """The path of a new and empty file, `./STEM-3f9a.json`. Raises `OSError`."""
    safe = re.sub(r"[^A-Za-z0-9.-]", "_", stem)[:200]
    while True:
        path = f"./{safe}-{secrets.token_hex(2)}.json"
        with suppress(FileExistsError), open(path, "x", opener=private):
            return path


def private(path: str, flags: int) -> int:
    """Opened so that only its owner may read it; never by a link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)  # Windows has none
