"""Runs a program as somebody at a terminal does, and takes what it writes there."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def on_terminal(argv: Sequence[str], columns: int, environment: Mapping[str, str], folder: Path) -> str:
    """All that it writes to a terminal of so many columns, with its escape sequences. Nobody types anything there."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 1000, columns, 0, 0))
    with subprocess.Popen(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=its_end, stderr=its_end
    ) as _:
        os.close(its_end)
        written = b"".join(iter(lambda: _read(terminal), b""))
    os.close(terminal)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """What is there; nothing once every process has closed its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
