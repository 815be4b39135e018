"""However a lab ends, nothing of it is left, and nothing of the host's was touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 10
USE = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from kubectl_fsm.netfilter.kernel import Attempt, Lab, PodNet
backend, ending = sys.argv[1:]
with Lab([PodNet("a", {"eth0": "10.0.0.1", "net1": "10.0.0.2"}, {80: 0})], backend, seconds=60) as lab:
    lab.load("a", "*nat\\n-A OUTPUT -p tcp -j REDIRECT --to-ports 80\\nCOMMIT\\n"
                  "*filter\\n-A INPUT -p tcp --dport 81 -j DROP\\nCOMMIT\\n")
    lab.load_node("*nat\\n-A OUTPUT -p tcp -j ACCEPT\\nCOMMIT\\n")
    assert lab.connect(Attempt("a", "8.8.8.8", 80)).local.port == 80
    print(lab._agent.pid, flush=True)
    if ending == "exception":
        raise SystemExit("on purpose")
    while ending == "busy":
        lab.connect_many([Attempt("a", "8.8.8.8", 80)] * 1000)
    while ending == "waiting":
        lab.connect_many([Attempt("node", "10.0.0.1", 81)])
"""


@pytest.fixture
def untouched(backend):
    """What could be left on the host is the same afterwards as before."""
    before = traces()
    yield
    assert traces() == before


def traces():
    lock = Path("/run/xtables.lock")
    return {
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "named namespaces": sorted(path.name for path in Path("/run/netns").glob("*")),
        "lock": lock.stat().st_mtime_ns if lock.exists() else None,
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "tables": Path("/proc/net/ip_tables_names").read_text() if Path("/proc/net/ip_tables_names").exists() else "",
    }


def start(backend, ending, **options):
    """The program above, and the process that its lab runs in."""
    process = subprocess.Popen(
        [sys.executable, "-c", USE, backend, ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        **options,
    )
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    return process, int(line)


def processes():
    """Parent, session and number of each process that runs."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if state not in "ZX":
            yield int(parent), int(session), int(path.parent.name)


def left(session):
    """The processes of a session; a lab has one of its own."""
    return [own for _, its_session, own in processes() if its_session == session]


def wait_until_gone(session):
    deadline = time.monotonic() + SECONDS
    while left(session):
        assert time.monotonic() < deadline, left(session)
        time.sleep(0.01)


@pytest.mark.parametrize(("ending", "code"), [("normal", 0), ("exception", 1)])
def test_after_its_end(backend, untouched, ending, code):
    process, session = start(backend, ending)
    _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == code, complaint
    assert left(session) == []


@pytest.mark.parametrize("doing", ["busy", "waiting"])
@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda how: how.name
)
def test_after_a_signal(backend, untouched, doing, how):
    process, session = start(backend, doing)
    assert left(session)
    time.sleep(0.1)
    process.send_signal(how)
    _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == -how
    assert ("KeyboardInterrupt" in complaint) == (how is signal.SIGINT)
    assert "lab's process" not in complaint
    wait_until_gone(session)


def test_after_ctrl_c_on_a_terminal(backend, untouched):
    """There the signal reaches the whole process group at once."""
    process, session = start(backend, "busy", start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=SECONDS)
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    wait_until_gone(session)


def test_a_thread_that_ends_does_not_take_its_lab_along(backend):
    """A death signal would be for the thread that made the lab."""
    program = USE.replace("with Lab(", "maker = Lab(").partition(") as lab:")[0] + (
        ")\nthread = threading.Thread(target=maker.__enter__)\nthread.start()\nthread.join()\n"
        "import time; time.sleep(0.3)\nprint(maker.connect(Attempt('a', '8.8.8.8', 80)).place)\nmaker.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, backend, ""],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )
    assert (done.stdout, done.stderr) == ("outside\n", "")
