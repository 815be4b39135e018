"""Runs the program on a terminal of its own, in a process of its own, and tells how much memory that took at most.

As a program (`python measured.py REPORT PROGRAM …`) it is what starts the other one: the peak of a process that is
measured by its parent is at least that of the parent, so the parent has to be small.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

MOST_SECONDS = 100
"""Of processor time: a run that takes more is killed."""


def main() -> None:
    report, *command = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    found = {"code": os.waitstatus_to_exitcode(status), "megabytes": usage.ru_maxrss // 1024}
    Path(report).write_text(json.dumps(found), "utf-8")


def on_a_terminal(command: list[str], env: dict[str, str], folder: Path) -> tuple[int, int, str, str]:
    """Exit code, megabytes, and what was written to stdout and stderr, each a terminal."""
    import threading  # noqa: PLC0415 - nor the rest of it: the program above stays small
    import tty  # noqa: PLC0415

    texts: dict[int, bytes] = {}
    ends = [os.openpty() for _ in range(2)]
    for _, terminal in ends:
        tty.setraw(terminal)  # or it would write \r\n for \n

    def read(number: int) -> None:
        pieces = []
        while True:
            try:
                piece = os.read(ends[number][0], 1 << 16)
            except OSError:  # the last who had the terminal has gone
                break
            pieces.append(piece)
        texts[number] = b"".join(pieces)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    report = folder / "measured.json"
    started = [sys.executable, "-I", "-S", __file__, str(report), *command]
    process = subprocess.Popen(started, stdin=subprocess.DEVNULL, stdout=ends[0][1], stderr=ends[1][1], env=env)
    for _, terminal in ends:
        os.close(terminal)
    for reader in readers:
        reader.start()
    process.wait()
    for reader in readers:
        reader.join()
    for end, _ in ends:
        os.close(end)
    found = json.loads(report.read_text("utf-8"))
    return found["code"], found["megabytes"], texts[0].decode(), texts[1].decode()


if __name__ == "__main__":
    main()
