"""The MeshConfig against what else speaks of it: its CRD, and the chart that would install it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kubectl_fsm import exclusions, fields
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView
from kubectl_fsm.cluster.interface import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS
from kubectl_fsm.errors import InvalidObject, NotFound
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import ExclusionList
from kubectl_fsm.operations import hints, meshes

_MODE = ("spec", "traffic", "interceptionMode")
_MODE_FIELD = fields.dotted(*_MODE)
PRESET, _PRESET_KEY = "preset-mesh-config", "preset-mesh-config.json"


@check(
    "mode-not-allowed",
    "warning",
    MeshView,
    holds="The CRD takes the interceptionMode that is configured.",
    why="An upgrade leaves the MeshConfig as it was: any write to it, of whatever field, may then be answered with 422.",
    remedy="Set the mode that the installed release has.",
)
def mode_not_allowed(view: MeshView) -> Iterator[Seen]:
    installation = view.installation
    whose, allowed = _modes(view)
    mode = installation.mode
    if allowed and mode not in allowed:
        wanted = installation.release.mode if installation.release.mode in allowed else allowed[0]
        lost = "" if installation.intercepts else "; with it new pods get no init container"
        remote = view.scene.cluster.remote
        mend = mending.rewriting(view, _MODE, mode, wanted) if remote and mode else f"write {wanted} in {_MODE_FIELD}"
        yield Seen(f"interceptionMode is {mode!r}, and {whose} {' or '.join(allowed)}{lost}", mend, _MODE)


@check(
    "lists-missing",
    "info",
    MeshView,
    holds="The MeshConfig has every list, be it empty.",
    why="The CRD requires them: what writes the whole object without them is answered with 422.",
    remedy="Write an empty list: `kubectl fsm exclude-port --clear`.",
)
def lists_missing(view: MeshView) -> Iterator[Seen]:
    for found in meshes.missing_lists(view.installation):
        place = view.place(found)
        words = [*view.scope_words, *view.scene.cluster.words]
        mend = hints.clear(found, words) if view.scene.cluster.remote else f"write {fields.dotted(*place)}: []"
        yield Seen(f"{found.field} is missing or null", mend, place)


@check(
    "preset-differs",
    "info",
    MeshView,
    holds="The chart's preset has the lists and the mode of the MeshConfig.",
    why="Only a first install reads the preset: a mesh that is installed anew would begin with other lists than this one has.",
    remedy="Carry the lists over into the chart's values: `kubectl fsm exclusions --export=values`.",
)
def preset_differs(view: MeshView) -> Iterator[Seen]:
    installation = view.installation
    try:
        preset = view.scene.cluster.get(CONFIG_MAPS, PRESET, installation.namespace)
    except NotFound:
        return
    wanted = _spec(preset)
    try:
        then = {found: exclusions.global_values(found, wanted) for found in installation.injector.lists}
        mode = fields.text(wanted, *_MODE[1:])
    except InvalidObject as error:
        raise _unreadable(preset, error.message) from error
    differs = mode != installation.mode
    if found := [*_differences(view, then, mode)]:
        command = hints.export("values", [*view.scope_words, *view.scene.cluster.words])
        between = ", and what this prints: " if view.scene.cluster.remote else "; "
        lists = command if view.scene.cluster.remote else "write the MeshConfig's lists into the chart's values"
        modes = f"write interceptionMode {installation.mode or '(none)'} into the chart's values"
        mends = [modes] * differs + [lists] * (len(found) > differs)
        yield Seen(f"the preset would install {'; '.join(found)}", between.join(mends))


def _modes(view: MeshView) -> tuple[str, Sequence[str]]:
    """Who says which modes there are, and these; none where any is taken.

    The CRD says it, in the version in which the MeshConfig was read, else the release, where it is known.
    """
    installation = view.installation
    kind = meshes.resource(installation)
    with suppress(NotFound):
        crd = view.scene.cluster.get(CUSTOM_RESOURCE_DEFINITIONS, kind.qualified)
        names = [one.get("name") for one in fields.items(crd, "spec", "versions")]
        path = (
            ("spec", "versions", names.index(kind.version), "schema", "openAPIV3Schema")
            if kind.version in names
            else ()
        )
        steps = [step for name in _MODE for step in ("properties", name)]
        if path and (modes := fields.sequence(crd, *path, *steps, "enum")):
            return "the CRD takes", [*map(str, modes)]
    return f"{installation} has", installation.release.modes if installation.version else ()


def _spec(preset: Object) -> Object:
    """The MeshConfig's spec in the chart's preset. Raises `InvalidObject`."""
    try:
        spec: Any = json.loads(fields.text(preset, "data", _PRESET_KEY))
    except (ValueError, RecursionError) as error:
        raise _unreadable(preset, str(error)) from error
    if not isinstance(spec, Mapping):
        raise _unreadable(preset, "it is no object")
    return spec


def _unreadable(preset: Object, why: str) -> InvalidObject:
    return InvalidObject(f"{fields.title(preset)}: data.{_PRESET_KEY} is not the JSON of a MeshConfig's spec: {why}")


def _differences(view: MeshView, lists: Mapping[ExclusionList, Sequence[str]], mode: str) -> Iterator[str]:
    installation = view.installation
    for found, then in lists.items():
        now = exclusions.global_values(found, installation.spec)
        if set(then) != set(now):
            yield f"{found.name} {_listed(then)} in the place of {_listed(now)}"
    if mode != installation.mode:
        yield f"interceptionMode {mode or '(none)'} in the place of {installation.mode or '(none)'}"


def _listed(values: Sequence[str]) -> str:
    return f"[{' '.join(values)}]"
