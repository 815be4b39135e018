"""Reading fields of objects that nobody vouches for: each reader returns the promised type or names object and field.

Nearly all are what JSON is decoded to, and `type(…) is dict` is asked first because it is the cheap question.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_fsm.errors import InvalidObject

Object = Mapping[str, Any]
"""A Kubernetes object as decoded JSON or YAML."""
Step = str | int
"""A part of a path to a field: a key or, in a list that `items` or `sequence` has shown, an item's index from 0."""

MAX_ANNOTATIONS = 256 * 1024
"""Bytes of keys and values that an object, or a pod template, may have as annotations."""


class Part(dict[str, Any]):
    """A mapping at `path` in an object, for one who does not see the rest: what is wrong in it is said of the object.

    It is a copy of that level; what is below it is the object's own.
    """

    __slots__ = ("path", "root")

    def __init__(self, held: Object, obj: Object, path: tuple[Step, ...]) -> None:
        super().__init__(held)
        self.root: Object = obj.root if isinstance(obj, Part) else obj
        self.path: tuple[Step, ...] = (*obj.path, *path) if isinstance(obj, Part) else path

    def replaced(self, key: str, value: object) -> "Part":
        """The same with another value at a key."""
        return Part({**self, key: value}, self.root, self.path)


def mapping(obj: Object, *path: Step) -> Mapping[str, Any]:
    """The mapping at `path`; empty where the field is missing or null. Raises `InvalidObject` for another type."""
    found = _at(obj, path)
    if found is None:
        return {}
    if type(found) is not dict and not isinstance(found, Mapping):
        raise _wrong(obj, path, "an object", found)
    return found


def sequence(obj: Object, *path: Step) -> Sequence[Any]:
    """The list at `path`; empty where the field is missing or null. Raises `InvalidObject` for another type."""
    found = _at(obj, path)
    if found is None:
        return ()
    if type(found) is not list and (isinstance(found, str) or not isinstance(found, Sequence)):
        raise _wrong(obj, path, "a list", found)
    return found


def items(obj: Object, *path: Step) -> Sequence[Mapping[str, Any]]:
    """The list of objects at `path`, as `sequence`; raises `InvalidObject` where an item is no object."""
    found = sequence(obj, *path)
    for index, item in enumerate(found):
        if type(item) is not dict and not isinstance(item, Mapping):
            raise _wrong(obj, (*path, index), "an object", item)
    return found


def part(obj: Object, *path: Step) -> Part:
    """As `mapping`, for one who does not see the rest of the object."""
    return Part(mapping(obj, *path), obj, path)


def parts(obj: Object, *path: Step) -> Sequence[Part]:
    """As `items`, each for one who does not see the rest of the object."""
    return [Part(item, obj, (*path, index)) for index, item in enumerate(items(obj, *path))]


def text(obj: Object, *path: Step) -> str:
    """The string at `path`; empty where the field is missing or null. Raises `InvalidObject` for another type."""
    found = _at(obj, path)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise _wrong(obj, path, "a string", found)
    return found


def number(obj: Object, *path: Step) -> int | None:
    """The whole number at `path`; None where the field is missing or null. Raises `InvalidObject` for another type."""
    found = _at(obj, path)
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise _wrong(obj, path, "a whole number", found)
    return found


def boolean(obj: Object, *path: Step) -> bool | None:
    """The truth at `path`; None where the field is missing or null. Raises `InvalidObject` for another type."""
    found = _at(obj, path)
    if found is not None and not isinstance(found, bool):
        raise _wrong(obj, path, "a boolean", found)
    return found


def texts(obj: Object, *path: str) -> Mapping[str, str]:
    """The map of strings (labels, annotations) at `path`; raises `InvalidObject` where a value is no string."""
    found = mapping(obj, *path)
    for key, value in found.items():
        if not isinstance(value, str):
            raise _wrong(obj, (*path, str(key)), "a string", value)
    return found


def annotations(obj: Object) -> Mapping[str, str]:
    """`metadata.annotations`. Raises `InvalidObject` too where they are longer than an API server takes them."""
    found = texts(obj, "metadata", "annotations")
    if sum(map(len, found)) + sum(map(len, found.values())) > MAX_ANNOTATIONS:
        said = f"is longer than {MAX_ANNOTATIONS:,} bytes in all, which is what an API server takes"
        raise InvalidObject(f"{place(obj, 'metadata', 'annotations')} {said}")
    return found


def labels(obj: Object) -> Mapping[str, str]:
    """`metadata.labels`."""
    return texts(obj, "metadata", "labels")


def name(obj: Object) -> str:
    """`metadata.name`."""
    return text(obj, "metadata", "name")


def namespace(obj: Object) -> str:
    """`metadata.namespace`."""
    return text(obj, "metadata", "namespace")


def uid(obj: Object) -> str:
    """`metadata.uid`: what no other object has, not even one of the same name."""
    return text(obj, "metadata", "uid")


def title(obj: Object) -> str:
    """What an error calls the object: `Deployment shop/web`. Never raises."""
    if isinstance(obj, Part):
        return title(obj.root)
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    named = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
    return " ".join(part for part in (str(obj.get("kind") or "object"), named) if part)


def dotted(*path: Step) -> str:
    """A path as messages write it: `endpoints[3].conditions.ready`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def place(obj: Object, *path: Step) -> str:
    """What an error calls a field of the object: `Deployment shop/web: spec.template.spec.containers`."""
    return f"{title(obj)}: {dotted(*obj.path, *path) if isinstance(obj, Part) else dotted(*path)}"


def _at(obj: Object, path: tuple[Step, ...]) -> Any:
    found: Any = obj
    for depth, step in enumerate(path):
        if found is None:
            return None
        if isinstance(step, int):
            found = found[step]
            continue
        if type(found) is not dict and not isinstance(found, Mapping):
            raise _wrong(obj, path[:depth], "an object", found)
        found = found.get(step)
    return found


def _wrong(obj: Object, path: Sequence[Step], wanted: str, found: object) -> InvalidObject:
    root, start = (obj.root, obj.path) if isinstance(obj, Part) else (obj, ())
    return InvalidObject(f"{place(obj, *path)} is {_kind(found)}, not {wanted}", obj=root, path=(*start, *path))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "a list"


def merged(obj: Object, patch: Object) -> Object:
    """The object after a JSON merge patch (RFC 7386): null deletes a key, a mapping is merged, all else replaces."""
    result = dict(obj)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


Mask = Mapping[str, "Mask"]
"""A field mask: the fields to keep, with what to keep below each; nothing there means all of it."""


def mask(*paths: str) -> Mask:
    """The mask of these fields, written as `status.podIP`; below a list the path goes on into each item."""
    found: dict[str, Any] = {}
    for path in paths:
        below = found
        for step in path.split("."):
            below = below.setdefault(step, {})
    return found


def masked(value: Any, kept: Mask) -> Any:
    """What the mask keeps of an object; what has another type than the mask expects stays, for a reader to say so."""
    if type(value) is list:
        return [masked(item, kept) for item in value]
    if type(value) is dict:
        return {key: masked(value[key], below) if below else value[key] for key, below in kept.items() if key in value}
    return value


def as_yaml(value: object) -> str:
    """YAML for people: keys in their order, nothing but ASCII, so that no terminal acts on what it holds."""
    import yaml  # noqa: PLC0415 - 15 ms to load

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=1000))
