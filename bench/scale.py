"""What a large mesh costs: looks and checks beside kubectl's listings, and a restart's requests: `make bench-scale`.

All commands run in turns, so that they meet the same machine, against one control plane that is filled further for each
size. What is restarted has a control plane of its own, whose controllers work.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from bench import rolled
from bench.filled import Filled
from bench.harness import Cost, installed, run
from tests.support.control_plane import ControlPlane
from tests.support.plugin import EXECUTABLE

SIZES = (1_000, 5_000, 10_000, 20_000)
AIMED_AT = 10_000
PARTS = ((SIZES[0], AIMED_AT), (AIMED_AT, SIZES[-1]))
"""Two parts of the growth: in both a pod more has to cost the same."""
REQUESTS = 12
"""To the API server for a workload that is restarted, at most."""
RUNS = 5


class Command(NamedTuple):
    """A command to measure, and what it says of so many pods where it does its work."""

    title: str
    words: tuple[str | Path, ...]
    says: str = ""


STATUS = Command("status -A", (EXECUTABLE, "status", "-A"), "{0} pods: {0} injected, {0} current")
CHECK = Command(
    "check -A",
    (EXECUTABLE, "check", "-A", "--skip=webhook-missing,namespace-unlabelled"),  # the pods are written, not injected
    "nothing found in ",
)
EDIT = Command(
    "exclude-port 6379 (server dry run)",
    (EXECUTABLE, "exclude-port", "6379", "--dry-run=server"),
    "{0} of {0} pods would run outdated rules",
)
LISTING = Command("kubectl get pods -A", ("kubectl", "get", "pods", "-A"))
JSON = Command("kubectl get pods -A -o json", ("kubectl", "get", "pods", "-A", "-o", "json"))
JSON_MEMORY = 4_000
"""MB that have to be free for `JSON`."""

Costs = Mapping[Command, Cost]


def main() -> None:
    with installed() as mesh:
        print(restarts(rolled.restarted(mesh)), flush=True)
    with installed() as mesh:
        filled = Filled(mesh, SIZES[-1])
        costs: dict[int, Costs] = {}
        for size in SIZES:
            filled.grow(size)
            costs[size] = measured(mesh.cluster, size)
    print(table(costs))
    print("\n".join(f"{what}: {found:.2f}, to reach {aim}" for what, found, aim in verdicts(costs)))


def measured(cluster: ControlPlane, size: int) -> Costs:
    """Medians of runs in turns, after one of each that does not count; kubectl's JSON takes too long for more than one."""
    commands = (STATUS, CHECK, EDIT, LISTING)
    for command in commands:
        said = run(cluster, command.words)[1]
        if command.says.format(size) not in said:
            raise AssertionError(f"{command.title} found otherwise: {said[:500]}")
    rounds = [[run(cluster, command.words)[0] for command in commands] for _ in range(RUNS)]
    costs = {command: median(found) for command, found in zip(commands, zip(*rounds, strict=True), strict=True)}
    if size == AIMED_AT and free_memory() > JSON_MEMORY:
        costs[JSON] = run(cluster, JSON.words)[0]
    return costs


def median(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def free_memory() -> int:
    """In MB, as the kernel estimates what a program could have without swapping."""
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))


def restarts(found: rolled.Restarted) -> str:
    each = f"{found.requests:.1f} requests to the API server for each (to reach {REQUESTS})"
    return (
        f"{' '.join(rolled.COMMAND)}, {rolled.WORKLOADS} outdated workloads: {each}, {found.cost.wall:.0f} s in all\n"
    )


def table(costs: Mapping[int, Costs]) -> str:
    head = ["pods", "command", "s", "of kubectl's listing", "MB", "of kubectl's listing"]
    rows = [row for size, found in costs.items() for row in lines(size, found)]
    text = tabulate(rows, head, tablefmt="plain", disable_numparse=True)
    left_out = (
        f"\n{JSON.title}: left out, it takes {JSON_MEMORY} MB of free memory" if JSON not in costs[AIMED_AT] else ""
    )
    return f"{text}{left_out}\n"


def lines(size: int, costs: Costs) -> Iterator[Sequence[str]]:
    listing = costs[LISTING]
    for command, cost in costs.items():
        wall, memory = f"{cost.wall / listing.wall:.2f}", f"{cost.memory / listing.memory:.2f}"
        yield f"{size:,}", command.title, f"{cost.wall:.2f}", wall, f"{cost.memory:.0f}", memory


def verdicts(costs: Mapping[int, Costs]) -> Iterator[tuple[str, float, float]]:
    """What is aimed at: ratios, which are the same on any machine."""
    at, small, large = costs[AIMED_AT], costs[5_000], costs[20_000]
    for command, wall, memory in ((STATUS, 0.6, 0.15), (EDIT, 1.0, 0.25)):
        where = f"{command.title} at {AIMED_AT:,} pods, of {LISTING.title}"
        yield f"wall of {where}", at[command].wall / at[LISTING].wall, wall
        yield f"memory of {where}", at[command].memory / at[LISTING].memory, memory
    yield f"memory of {STATUS.title} at 20,000 pods, of that at 5,000", large[STATUS].memory / small[STATUS].memory, 1.2
    each, kubectl = (large[command].memory - small[command].memory for command in (EDIT, LISTING))
    yield f"memory of {EDIT.title} for one more pod, of {LISTING.title}", each / kubectl, 0.15
    early, late = ((costs[more][STATUS].wall - costs[less][STATUS].wall) / (more - less) for less, more in PARTS)
    yield f"wall of {STATUS.title} for one more pod, among many of that among few", late / early, 2.0


if __name__ == "__main__":
    main()
