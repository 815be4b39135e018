"""What mends a label or an annotation: a command line for a cluster, and for files what to write there."""

import json
import shlex
from collections.abc import Mapping

from kubectl_fsm import fields
from kubectl_fsm.checks.views import Scene, WorkloadView, label
from kubectl_fsm.fields import Object

_VERBS: Mapping[str, str] = {"labels": "label", "annotations": "annotate"}


def kubectl(scene: Scene, *words: str) -> str:
    """A command line of kubectl that goes to the same cluster."""
    return shlex.join(["kubectl", *words, *scene.cluster.words])


def metadata(scene: Scene, obj: Object, part: str, changes: Mapping[str, str | None]) -> str:
    """What sets an object's own labels or annotations (`part`), or takes those out that are None."""
    if not scene.cluster.remote:
        return _written(f"metadata.{part}", changes)
    edits = [f"{key}-" if value is None else f"{key}={value}" for key, value in changes.items()]
    overwrite = ["--overwrite"] if any(changes.values()) else []
    where = ["-n", fields.namespace(obj)] if fields.namespace(obj) else []
    return kubectl(scene, _VERBS[part], label(obj), *edits, *overwrite, *where)


def template(view: WorkloadView, part: str, changes: Mapping[str, str | None]) -> str:
    """The same for the labels or annotations of a pod template; where nobody may edit it, what to do to it elsewhere."""
    written = _written(".".join((*view.template_path, "metadata", part)), changes)
    if not view.scene.cluster.remote:
        return written
    if view.workload.refusal or not view.template_path:
        return f"{view.workload.refusal or 'delete the pod and apply it anew'}: {written}"
    patch: Object = {"metadata": {part: dict(changes)}}
    for step in reversed(view.template_path):
        patch = {step: patch}
    where = ["-n", view.workload.namespace, "--type=merge", "-p", json.dumps(patch)]
    return kubectl(view.scene, "patch", label(view.object), *where)


def _written(place: str, changes: Mapping[str, str | None]) -> str:
    removed = [key for key, value in changes.items() if value is None]
    added = [f"{key}: {json.dumps(value)}" for key, value in changes.items() if value is not None]
    texts = [f"take {' and '.join(removed)} out of {place}"] if removed else []
    return "; ".join([*texts, *(f"write {line} in {place}" for line in added)])
