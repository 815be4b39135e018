"""Compares what a page says that a command prints with what it prints, strictly but for names that a cluster makes up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

LEFT_OUT = "…"
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""What Kubernetes makes the ends of names of."""
_POD = re.compile(rf"\b(?P<workload>[a-z0-9][-a-z0-9]*?)-{_SAFE}{{6,10}}-{_SAFE}{{5}}\b")
_WIDE = re.compile(" {2,}")

Find = Callable[[str, frozenset[str]], str]
"""The name of a pod of this Deployment that is there, other than those."""


class Names:
    """Which pod of the cluster a page's pod stands for: the same one from its first mention to the end of the page."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._real: dict[str, str] = {}

    def command(self, text: str) -> str:
        """A command of the page with the cluster's names; a pod that was not shown before is any that is there."""
        for found in _POD.finditer(text):
            if found[0] not in self._real:
                self._real[found[0]] = self._find(found["workload"], frozenset(self._real.values()))
        return _POD.sub(lambda found: self._real[found[0]], text)

    def page(self, text: str) -> str:
        """What a command printed, with the page's names as far as they are known."""
        shown = {real: name for name, real in self._real.items()}
        return _POD.sub(lambda found: shown.get(found[0], found[0]), text)

    def same(self, page: Sequence[str], real: Sequence[str], *, loose: bool) -> bool:
        """Whether these lines say the same, `loose`: with columns of any width. New names of pods are kept if so."""
        known = dict(self._real)
        if len(page) == len(real) and all(self._line(*lines, loose=loose) for lines in zip(page, real, strict=True)):
            return True
        self._real = known
        return False

    def _line(self, page: str, real: str, *, loose: bool) -> bool:
        pods = list(_POD.finditer(page))
        found = re.fullmatch(self._pattern(page, loose=loose), real)
        if not found:
            return False
        for pod, name in zip(pods, found.groups(), strict=True):
            if self._real.setdefault(pod[0], name) != name:
                return False
        return len(set(self._real.values())) == len(self._real)

    def _pattern(self, page: str, *, loose: bool) -> str:
        """What the line may be; a group for each pod."""
        parts, end = [], 0
        for pod in _POD.finditer(page):
            name = self._real.get(pod[0])
            parts += [_escaped(page[end : pod.start()], loose=loose)]
            parts += [f"({re.escape(name)})" if name else rf"({pod['workload']}-{_SAFE}{{6,10}}-{_SAFE}{{5}})"]
            end = pod.end()
        return "".join([*parts, _escaped(page[end:], loose=loose)])


def _escaped(text: str, *, loose: bool) -> str:
    return " {2,}".join(map(re.escape, _WIDE.split(text))) if loose else re.escape(text)


def agrees(page: Sequence[str], real: Sequence[str], names: Names) -> bool:
    """Whether a command's lines are the page's, where `…` alone on a line stands for one or more lines.

    Columns are as wide as what is in them, so where pods are named they may be wider or narrower than in the page.
    """
    loose = any(map(_POD.search, page))
    parts: list[list[str]] = [[]]
    for line in page:
        if line == LEFT_OUT:
            parts.append([])
        else:
            parts[-1].append(line)
    first, *others = parts
    if not names.same(first, real[: len(first)], loose=loose):
        return False
    start = len(first)
    for number, part in enumerate(others, 1):
        last = number == len(others)
        starts = range(start + 1, len(real) - len(part) + 1)
        if last:
            starts = starts[-1:]
        place = next((at for at in starts if names.same(part, real[at : at + len(part)], loose=loose)), None)
        if place is None:
            return False
        start = place + len(part)
    return start == len(real)
