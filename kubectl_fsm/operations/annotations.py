"""Annotations that do not do what they look like: another mesh's, misspelt, not read, or lost with their pod."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm.exclusions import items
from kubectl_fsm.meshes import LISTS, MESHES, ExclusionList, Injector, Installation, Mesh

LIST_KEYS: Mapping[str, ExclusionList] = {
    prefix + found.annotation: found
    for prefix in sorted({mesh.prefix for mesh in MESHES})
    for found in LISTS
    if found.annotation
}
"""The whole keys of all meshes' list annotations."""
_EBPF_ONLY = ("outbound-port-inclusion-list", "inbound-port-inclusion-list")
_LISTS = (*(found.annotation for found in LISTS if found.annotation), *_EBPF_ONLY)
_KNOWN = (
    *_LISTS,
    *("sidecar-injection", "sidecar-image", "metrics", "service-exclusion", "service-exclusion-list"),
    *("egress-gateway-mode", "mesh-service-sync", "mesh-service-internal-sync", "osm-service"),
    *("monitored-by", "ignore", "reconcile"),
    *(
        f"sidecar-resource-{kind}-{what}"
        for kind in ("limits", "requests")
        for what in ("cpu", "memory", "storage", "ephemeral-storage")
    ),
)
"""What the meshes read with their prefix, on whatever objects."""
_NOT_HERE = ("sidecar-injection", "metrics", "monitored-by", "ignore", "reconcile")
"""Labels, and what tells whether there is a sidecar at all: no list is lost by a mistake in these."""
_PREFIXES = tuple(sorted({mesh.prefix for mesh in MESHES}))
_SAME_NAME, _SAME_KEY = 0.8, 0.9
"""How much of two names, or of two whole keys, has to be the same to take one for the other."""
_LONGEST = 128


class Fault(Enum):
    """What is wrong with an annotation."""

    OTHER_MESH = "other mesh"
    UNREAD = "unread"
    MISSPELT = "misspelt"


class Ignored(NamedTuple):
    """An annotation that nobody reads; `meant` is the key that it should have, empty where there is none."""

    fault: Fault
    key: str
    text: str
    meant: str = ""


def ignored(annotations: Mapping[str, str], installation: Installation) -> Iterator[Ignored]:
    """What the injector passes over among a pod's annotations, although it was meant for it."""
    yield from _others(annotations, installation)
    yield from _unread(annotations, installation)
    yield from misspelt(annotations, installation.mesh)


def strays(injector: Injector, pod: Mapping[str, str], template: Mapping[str, str]) -> Mapping[ExclusionList, str]:
    """Lists of a pod that its owner's template does not have, or not so: they go with the pod."""
    keys = {found: injector.annotation(found) for found in injector.pod_lists}
    return {found: pod[key] for found, key in keys.items() if key in pod and pod[key] != template.get(key)}


def misspelt(annotations: Mapping[str, str], mesh: Mesh) -> Iterator[Ignored]:
    """Keys that are no mesh's but nearly those of this one."""
    for key in annotations:
        if meant := _meant(key, mesh.prefix) if len(key) <= _LONGEST else "":
            yield Ignored(
                Fault.MISSPELT, key, f"annotation {key} is no key of {mesh.title}; the nearest is {meant}", meant
            )


@lru_cache(maxsize=1024)
def _meant(key: str, own: str) -> str:
    """The key with the mesh's own prefix that was meant; empty where this one is right, or too far from any."""
    import difflib  # noqa: PLC0415 - where there are annotations at all

    place, slash, name = key.rpartition("/")
    prefix = place + slash
    near: Sequence[str]
    if prefix in _PREFIXES:
        judged = prefix == own and name not in _KNOWN
        near = difflib.get_close_matches(name, _KNOWN, 1, _SAME_NAME) if judged else ()
    elif name in _LISTS:
        near = (name,)
    else:
        near = difflib.get_close_matches(key, [own + known for known in _KNOWN], 1, _SAME_KEY)
    found = next(iter(near), "").removeprefix(own)
    return own + found if found and found not in _NOT_HERE else ""


def _others(annotations: Mapping[str, str], installation: Installation) -> Iterator[Ignored]:
    """Lists with another mesh's prefix, but for those that are there with the right one as well."""
    mesh = installation.mesh
    for prefix in _PREFIXES:
        for name in _LISTS:
            key, right = prefix + name, mesh.prefix + name
            if key in annotations and not _holds(annotations.get(right), annotations[key]):
                text = f"annotation {key} does nothing under {mesh.title}; its key is {right}"
                yield Ignored(Fault.OTHER_MESH, key, text, right)


def _holds(held: str | None, wanted: str) -> bool:
    return held is not None and set(items(wanted)) <= set(items(held))


def _unread(annotations: Mapping[str, str], installation: Installation) -> Iterator[Ignored]:
    """Lists that this generation, or this mode, does not know."""
    mesh, injector = installation.mesh, installation.injector
    for found in LISTS:
        key = mesh.prefix + found.annotation
        if found.annotation and key in annotations and found not in injector.pod_lists:
            yield Ignored(
                Fault.UNREAD, key, f"annotation {key} does nothing: injector {injector.name} does not read it"
            )
    for name in _EBPF_ONLY if installation.mode != "ebpf" else ():
        key = mesh.prefix + name
        if key in annotations:
            yield Ignored(Fault.UNREAD, key, f"annotation {key} does nothing: only interceptionMode ebpf knows it")
