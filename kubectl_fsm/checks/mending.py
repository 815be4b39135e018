"""What mends a list, a label or an annotation: a command line for a cluster, and for files what to write there."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubectl_fsm import fields
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.views import LONG, Scene, WorkloadView, label
from kubectl_fsm.exclusions import items, raw_values, value_problem
from kubectl_fsm.fields import Object, Step
from kubectl_fsm.meshes import ExclusionList, Item
from kubectl_fsm.operations import hints, ranges
from kubectl_fsm.reports import ListChange

_VERBS: Mapping[str, str] = {"labels": "label", "annotations": "annotate"}
_WORD = re.compile(r"[^\s,-][^\s,]*")
_PORT_WORD = re.compile(r"[^\s,-]+")
"""What an editing verb reads as one value: neither an option nor several, nor, of ports, a span."""


def kubectl(scene: Scene, *words: str) -> str:
    """A command line of kubectl that goes to the same cluster."""
    return shlex.join(["kubectl", *words, *scene.cluster.words])


def told(scene: Scene, text: str, *words: str) -> str:
    """The same; of files, which belong to no cluster, what it does in words."""
    return kubectl(scene, *words) if scene.cluster.remote else text


def anew(view: WorkloadView, *words: str) -> str:
    """What makes a workload's pods anew; `words` are more options of the restart."""
    cluster = view.scene.cluster
    return hints.apply(view.workload, [*words, *cluster.words]) if cluster.remote else hints.anew(view.workload)


def is_command(mend: str) -> bool:
    """Whether a mend can be typed; otherwise it is what to do, in words."""
    return mend.startswith("kubectl ")


def together(scene: Scene, mends: Iterable[str]) -> str:
    """Several mends as one: commands, or what to do in files."""
    return (" && " if scene.cluster.remote else "; ").join(mends)


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
    return _patch(view, (*view.template_path, "metadata", part), changes)


def _patch(view: WorkloadView, place: Sequence[str], changes: Mapping[str, str | None]) -> str:
    """The command that merges changes into labels or annotations somewhere in the object."""
    patch: Object = dict(changes)
    for step in reversed(place):
        patch = {step: patch}
    where = ["-n", view.workload.namespace, "--type=merge", "-p", json.dumps(patch)]
    return kubectl(view.scene, "patch", label(view.object), *where)


def _written(place: str, changes: Mapping[str, str | None]) -> str:
    removed = [key for key, value in changes.items() if value is None]
    added = [f"{key}: {json.dumps(value)}" for key, value in changes.items() if value is not None]
    texts = [f"take {' and '.join(removed)} out of {place}"] if removed else []
    return "; ".join([*texts, *(f"write {line} in {place}" for line in added)])


def removal(view: ListHolder, found: ExclusionList, values: Sequence[str]) -> str:
    """What takes values out of a list of the object."""
    in_words = _taken_out(view, found, values)
    if view.uneditable:
        return f"{in_words}: {view.uneditable}"
    if not view.scene.cluster.remote:
        return in_words
    if len(values) <= LONG and all(_is_word(found, value) for value in values):
        return hints.undo([ListChange(found.name, (), values)], [*view.scope_words, *view.scene.cluster.words])
    return _left(view, found, values) or in_words


def _is_word(found: ExclusionList, value: str) -> bool:
    """Whether an editing verb reads a value as itself: not as an option, several values or the name of another."""
    if found.item is Item.PORT:
        return _PORT_WORD.fullmatch(value) is not None
    return _WORD.fullmatch(value) is not None and not (found.item is Item.RANGE and ranges.is_name(value))


def _left(view: ListHolder, found: ExclusionList, values: Sequence[str]) -> str:
    """The command that writes a list anew without these values; empty where it is too long for that."""
    if isinstance(view, WorkloadView):
        key = view.installation.injector.annotation(found)
        parts = items(view.annotations[key])
        left = ",".join(item for item in parts if item not in values)
        return template(view, "annotations", {key: left or None}) if len(parts) <= LONG else ""
    held = raw_values(found, view.installation.spec)
    wanted = [item for item in held if str(item) not in values]
    return rewriting(view, view.place(found), held, wanted) if len(held) <= LONG else ""


def _taken_out(view: ListHolder, found: ExclusionList, values: Sequence[str]) -> str:
    """The same in words, for who edits a file."""
    place = f"spec.traffic.{found.field}"
    if isinstance(view, WorkloadView):
        key = view.installation.injector.annotation(found)
        place = f"the annotation {key}"
        if {*items(view.annotations[key])} <= {*values}:  # an empty one would have the pods refused
            return _written(".".join(view.annotation_path(key)[:-1]), {key: None})
    shown = (value if value.split() == [value] else repr(value) for value in values[:LONG])
    more = f" and {len(values) - LONG} more" if len(values) > LONG else ""
    return f"take {', '.join(shown)}{more} out of {place}"


def addition(view: WorkloadView, found: ExclusionList, values: Sequence[str]) -> str:
    """What writes values to a list of the pod template, beside those that it holds; what no list may hold is left out."""
    good = [value for value in values if not value_problem(found, value)]
    if not good:
        return f"leave it out: no list may hold {', '.join(map(repr, values))}"
    if view.scene.cluster.remote and not view.uneditable:
        return hints.add(found, good, [*view.scope_words, *view.scene.cluster.words])
    return _elsewhere(view, _added(view, found, good))


def moving(view: WorkloadView, found: ExclusionList, values: Sequence[str], source: Sequence[str]) -> str:
    """What adds to a list of the pod template what is in an annotation at `source`, and takes that annotation out.

    It adds and never writes the whole list, so that several such mends of one list can be done one after the other.
    """
    *place, key = source
    good = [value for value in values if not value_problem(found, value)]
    if not view.scene.cluster.remote or view.uneditable:
        away = _written(".".join(place), {key: None})
        return _elsewhere(view, f"{_added(view, found, good)}, and {away}" if good else away)
    commands = [hints.add(found, good, [*view.scope_words, *view.scene.cluster.words])] if good else []
    return " && ".join([*commands, _patch(view, place, {key: None})])


def _added(view: WorkloadView, found: ExclusionList, values: Sequence[str]) -> str:
    """The same as a command that adds, in words."""
    place = ".".join((*view.template_path, "metadata", "annotations"))
    return f"add {', '.join(values)} to {view.installation.injector.annotation(found)} in {place}"


def _elsewhere(view: WorkloadView, text: str) -> str:
    """What to do to a file, and where nobody may edit the cluster's object, why it is done there."""
    return f"{view.uneditable}: {text}" if view.scene.cluster.remote else text


def rewriting(view: ListHolder, path: Sequence[Step], held: Any, wanted: Any) -> str:
    """The command that replaces a field of the object, if it still holds what was seen."""
    pointer = "".join(f"/{step}" for step in path)
    steps = [{"op": "test", "path": pointer, "value": held}, {"op": "replace", "path": pointer, "value": wanted}]
    where = ["-n", fields.namespace(view.object), "--type=json", "-p", json.dumps(steps)]
    return kubectl(view.scene, "patch", view.kubectl_name, *where)
