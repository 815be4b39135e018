"""What is looked up of a list is what comparing its entries one with the other says."""

import random

from kubectl_fsm.exclusions import Entry
from kubectl_fsm.meshes import EXCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations.breadth import Breadth

ODD = ("10.0.0.1", "fd00::/8", "10.0.0.0/08", "x", "", "0.0.0.0/0", "10.1.0.0/33")


def value(found, source):
    if found is OUTBOUND_PORTS:
        return str(source.randint(1, 4))
    if found is INTERFACES:
        return "".join(source.choices("ab", k=source.randint(0, 4))) + source.choice(("", "+", "++"))
    octets = (
        source.choice((10, 11)),
        source.choice((0, 1, 128)),
        source.choice((0, 64, 255)),
        source.choice((0, 1, 255)),
    )
    length = source.choice((0, 1, 7, 8, 9, 16, 17, 24, 31, 32))
    return source.choice(ODD) if source.random() < 1 / 16 else f"{'.'.join(map(str, octets))}/{length}"


def test_random_lists():
    source = random.Random(1)  # noqa: S311
    answers = set()
    for found in (OUTBOUND_PORTS, INTERFACES, EXCLUDED_RANGES) * 1500:
        entries = [Entry(found, value(found, source)) for _ in range(source.randint(1, 7))]
        breadth = Breadth(entries)
        for entry in (*entries, Entry(found, value(found, source))):
            wider = next((one for one in entries if one.key != entry.key and one.holds(entry)), None)
            assert breadth.wider(entry) == wider
            if found is EXCLUDED_RANGES:
                overlaps = any(one.holds(entry) or entry.holds(one) for one in entries)
                assert breadth.overlaps(entry) == overlaps
                answers.add((wider is None, overlaps))
    assert answers == {(True, True), (True, False), (False, True)}
