"""What is imported outside the lab is there on Windows too, which no test runs on."""

import ast
from pathlib import Path

import kubectl_fsm

TOP = Path(kubectl_fsm.__file__).parent
LAB = TOP / "netfilter" / "lab"
POSIX = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
INSIDE = {"agent", "connections", "network"}
"""Of the lab, what runs in the process that it starts, on Linux alone."""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_only_the_lab_imports_what_posix_has():
    for path in TOP.rglob("*.py"):
        if path.parent != LAB or path.stem not in INSIDE:
            names = set(imported(path))
            assert not names & POSIX, path
            assert not {name for name in names if name in {f"kubectl_fsm.netfilter.lab.{one}" for one in INSIDE}}, path
    assert any(set(imported(LAB / f"{name}.py")) & POSIX for name in INSIDE)
