"""How the entries of a list lie to each other, looked up rather than compared one with the other."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from kubectl_fsm.exclusions import Entry, beginning, range_bits
from kubectl_fsm.meshes import Item


class Breadth:
    """The entries of one list."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._places: dict[tuple[int, object], int] = {}
        self._values = {entry.value for entry in entries}
        bits = [found for entry in entries if entry.list.item is Item.RANGE and (found := range_bits(entry.value))]
        self._starts = sorted(start for start, _ in bits)
        for place, entry in enumerate(entries):
            if (own := _own(entry)) is not None:
                self._places.setdefault(own, place)
        self._lengths = sorted({length for length, _ in self._places})

    def wider(self, entry: Entry) -> Entry | None:
        """The first one that holds all of an entry and means something else."""
        found = [place for key in self._around(entry) if (place := self._places.get(key)) is not None]
        others = (self._entries[place] for place in sorted(found))
        return next((one for one in others if one.key != entry.key), None)

    def overlaps(self, entry: Entry) -> bool:
        """Whether one of these ranges has an address in common with a range."""
        if entry.value in self._values:
            return True
        bits = range_bits(entry.value)
        if bits is None:
            return False
        if any(key in self._places for key in self._around(entry)):
            return True
        place = bisect_left(self._starts, bits[0])
        return place < len(self._starts) and self._starts[place] < bits[0] + (1 << 32 - bits[1])

    def _around(self, entry: Entry) -> Iterator[tuple[int, object]]:
        """What is looked up for an entry: its own beginning, as long as that of some entry here."""
        if entry.list.item is Item.INTERFACE:
            yield from ((length, entry.value[:length]) for length in self._lengths if length <= len(entry.value))
        elif entry.list.item is Item.RANGE and (bits := range_bits(entry.value)):
            start, own = bits
            yield from ((length, beginning(start, length)) for length in self._lengths if length <= own)


def _own(entry: Entry) -> tuple[int, object] | None:
    """Under which an entry that may hold others is looked up: how much of a value it asks for, and what that has to be."""
    if entry.list.item is Item.INTERFACE:
        return (len(entry.value) - 1, entry.value[:-1]) if entry.value.endswith("+") else None
    bits = range_bits(entry.value) if entry.list.item is Item.RANGE else None
    return (bits[1], bits[0]) if bits else None
