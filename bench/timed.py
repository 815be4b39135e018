"""Runs a command and writes what it cost: `timed.py FILE COMMAND...`.

It stands between a bench and the command because a process counts the memory of the one that it is started from, from
before its `exec`, as its own peak: this one is small.
"""

import json
import os
import sys
import time

result, *command = sys.argv[1:]
start = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(pid, 0)
cost = {"wall": time.perf_counter() - start, "memory": usage.ru_maxrss / 1024}
with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is large
    json.dump(cost, file)
sys.exit(os.waitstatus_to_exitcode(status))
