"""Labels and annotations that look like one that the mesh reads, and are not read."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, interception
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import MESHES, Mesh

_LIKENESS = 0.8
"""How much of a misspelt key, from 0 to 1, is the right one's: more is left alone, `metrics-port` is not `metrics`."""
_OFF = ("off", "0", "f", "n", "none", "never", "disable")
"""As people switch things off where no injector reads it."""


class Lookalike(NamedTuple):
    """A key in `part` (`labels`, `annotations`) of an object's metadata that stands for the annotation `meant`.

    `value` is one that the injector can read.
    """

    key: str
    part: str
    value: str
    said: str
    meant: str


def lookalikes(obj: Object, mesh: Mesh, keys: Sequence[str], *, sure: bool = True) -> Iterator[Lookalike]:
    """What stands for one of the mesh's annotation `keys`; nothing for a key that is there as it should be.

    Only where it is `sure` that the mesh is this one, another mesh's key is taken for a mistake.
    """
    labels, annotations = fields.labels(obj), fields.annotations(obj)
    others = sorted({other.prefix for other in MESHES} - {mesh.prefix}) if sure else ()
    missing = [key for key in keys if key not in annotations]
    for meant in missing:
        if meant in labels:
            yield Lookalike(
                meant, "labels", legible(labels[meant]), f"{meant} is a label, and an annotation is read", meant
            )
        for other in others:
            key = other + meant.removeprefix(mesh.prefix)
            if key in annotations:
                said = f"annotation {key} is another mesh's: {mesh.title} reads {meant}"
                yield Lookalike(key, "annotations", legible(annotations[key]), said, meant)
    for key, value in annotations.items():
        if key.startswith(mesh.prefix) and key not in keys:
            for meant in _close(key, missing):
                said = f"annotation {key} is not known: {meant} is"
                yield Lookalike(key, "annotations", legible(value), said, meant)


def legible(value: str) -> str:
    """What to write where the value of a switch is to be read: itself, or where the injector would refuse it what is meant."""
    if interception.answer(value) is not None:
        return value
    bare = value.strip().lower()
    return "disabled" if bare in _OFF or interception.answer(bare) is False else "enabled"


def _close(key: str, known: Sequence[str]) -> Sequence[str]:
    import difflib  # noqa: PLC0415 - for mistakes only

    suffixes = {one.rpartition("/")[2]: one for one in known}
    found = difflib.get_close_matches(key.rpartition("/")[2].lower(), list(suffixes), 1, _LIKENESS)
    return [suffixes[one] for one in found]
