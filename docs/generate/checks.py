"""The sections of checks.md, one for each check: its own words, and what it says of a case in tests/checks."""

from collections.abc import Iterator
from pathlib import Path

from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.checks.run import UNREADABLE, text
from kubectl_fsm.reports import CheckText

CASES = Path(__file__).parents[2] / "tests" / "checks"
MARK = "<!-- What follows is written by `make docs`. -->\n"
_SEEN, _MEND = "# seen: ", "# mend: "


def page(current: str) -> str:
    """The page as it should be: what is there up to the mark, and the sections."""
    checks = [*map(text, CHECKS.values()), UNREADABLE]
    rows = [
        f"| [{one.identity}](#{one.identity}) | {one.severity} | {one.holds.replace('|', chr(92) + '|')} |"
        for one in checks
    ]
    table = "\n".join(["| check | severity | what should be so |", "| --- | --- | --- |", *rows])
    return "\n".join([current.partition(MARK)[0] + MARK, "## The checks\n", table, *map(_section, checks)]) + "\n"


def _section(one: CheckText) -> str:
    only = ", in a cluster only" if one.remote else ""
    parts = [
        f"\n### {one.identity}",
        f"Severity: {one.severity}. Looks at: {one.looks_at}{only}.",
        f"**What should be so.** {one.holds}",
        f"**Why it matters.** {one.why}",
        f"**What mends it.** {one.remedy}",
        *_example(one),
    ]
    return "\n\n".join(parts)


def _example(one: CheckText) -> Iterator[str]:
    """The first finding of the first case that fails, as the table shows it."""
    for case in sorted((CASES / one.identity).glob("*.yaml")):
        lines = case.read_text().splitlines()
        seen = next((line.removeprefix(_SEEN) for line in lines if line.startswith(_SEEN)), "")
        if seen:
            mend = next(line.removeprefix(_MEND) for line in lines if line.startswith(_MEND))
            name, _, said = seen.partition(": ")
            yield f"```text\n{name}\n  {one.severity:7}  {one.identity}: {said}\n           mend: {mend}\n```"
            return
