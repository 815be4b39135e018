"""The manifest that a bare pod was last applied from: its live one holds what was injected, and keeps the old rules."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import PODS
from kubectl_fsm.errors import InvalidObject, Refused
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import carries
from kubectl_fsm.meshes import INJECTED_VOLUME, MESHES, Installation

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
"""Where `kubectl apply` keeps the manifest that it was given."""
_SERVERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""Metadata that the server writes, and takes from nobody."""
_LARGEST = 4 * 1024 * 1024
"""Bytes of a manifest in a file, at most: more than an API server stores."""


def manifest(pod: Object, installation: Installation) -> Object:
    """What `kubectl apply` was given for this pod. Raises `InvalidObject`, which says why it cannot be made from that."""
    text = fields.annotations(pod).get(ANNOTATION)
    if text is None:
        raise InvalidObject(f"it has no annotation {ANNOTATION}")
    try:
        found = _checked(text, fields.namespace(pod), fields.name(pod))
        _check_lists(pod, found, installation)
    except InvalidObject as error:
        raise InvalidObject(f"its annotation {ANNOTATION} {error.message}") from error
    return found


def read(path: str, namespace: str, name: str) -> Object:
    """The manifest of that pod in a file. Raises `Refused`."""
    try:
        with Path(path).open("rb") as file:
            return _checked(file.read(_LARGEST).decode(), namespace, name)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "it holds the manifest of a pod that is to be created") from error
    except (ValueError, InvalidObject) as error:
        raise Refused(f"{path} cannot be what pod {name} is created from: it {error}", "nothing was created") from error


def written(found: Object) -> Object:
    """The manifest as `kubectl apply` sends it: with itself as annotation."""
    metadata = fields.mapping(found, "metadata")
    text = json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n"
    return {**found, "metadata": {**metadata, "annotations": {**fields.annotations(found), ANNOTATION: text}}}


def _checked(text: str, namespace: str, name: str) -> Object:
    """The manifest in a text. Raises `InvalidObject` for what is none of that pod, or holds what was injected."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidObject("is no JSON") from error
    if not isinstance(found, Mapping) or (found.get("apiVersion"), found.get("kind")) != (PODS.api_version, PODS.kind):
        raise InvalidObject("holds no Pod")
    if (fields.namespace(found) or namespace, fields.name(found)) != (namespace, name):
        raise InvalidObject(f"is about {fields.title(found)}")
    if injected := _injected(found):
        raise InvalidObject(f"holds what was injected before, {injected}: such a pod keeps its rules")
    metadata: dict[str, Any] = {
        key: value for key, value in fields.mapping(found, "metadata").items() if key not in _SERVERS
    }
    kept = {key: value for key, value in fields.annotations(found).items() if key != ANNOTATION}
    spec = fields.mapping(found, "spec")
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {**metadata, "namespace": namespace, "annotations": kept},
        "spec": spec,
    }


def _injected(found: Object) -> str:
    """What of a manifest an injector has added; empty where it is as somebody wrote it."""
    if any(volume.get("name") == INJECTED_VOLUME for volume in fields.items(found, "spec", "volumes")):
        return f"volume {INJECTED_VOLUME}"
    names = (mesh.init_container for mesh in MESHES if carries(found, mesh))
    return next((f"init container {name}" for name in names), "")


def _check_lists(pod: Object, found: Object, installation: Installation) -> None:
    """Raise `InvalidObject` where the pod itself was annotated since: a pod from the manifest would not have that."""
    mesh, injector = installation.mesh, installation.injector
    if any(one.get("name") == mesh.sidecar for one in fields.items(found, "spec", "containers")):
        raise InvalidObject(f"holds what was injected before, container {mesh.sidecar}: such a pod keeps its rules")
    live, applied = fields.annotations(pod), fields.annotations(found)
    for key in (mesh.injection_key, *map(injector.annotation, injector.pod_lists)):
        if live.get(key) != applied.get(key):
            raise InvalidObject(f"lacks the pod's present {key}: apply the manifest with it first")
