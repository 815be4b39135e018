"""What is configured against what pods run, and annotations that are not what they look like."""

from collections.abc import Iterator, Sequence

from kubectl_fsm import exclusions, fields
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import Group, NamespaceView, WorkloadView
from kubectl_fsm.exclusions import Entry
from kubectl_fsm.interception import difference, read_script
from kubectl_fsm.meshes import ExclusionList, Item
from kubectl_fsm.operations import annotations, hints
from kubectl_fsm.operations.annotations import Fault, Ignored


@check(
    "outdated",
    "warning",
    WorkloadView,
    holds="Pods run the rules that are configured now.",
    why="A pod reads its rules once, when it is made: an edit reaches only pods that are made after it.",
    remedy="Restart the workload: `kubectl fsm restart`.",
)
def outdated(view: WorkloadView) -> Iterator[Seen]:
    for group in view.groups:
        found = group.situation
        if found.state == "outdated":
            now, then = found.now, found.coming.wanted
            changes = ", ".join(difference(now.effective, then)) if now and then else found.reason
            yield Seen(view.said(group, changes), _restart(view, group))


@check(
    "annotation-stray",
    "warning",
    WorkloadView,
    holds="Lists of a pod are on the template that it is made from.",
    why="A pod reads its annotations when it is made, so one that comes later does nothing; and it goes with the pod.",
    remedy="Write it to the pod template: `kubectl fsm exclude-port PORT --workload=KIND/NAME`.",
)
def annotation_stray(view: WorkloadView) -> Iterator[Seen]:
    injector = view.installation.injector
    for group in view.groups:
        own, situation = fields.annotations(group.pods[0]), group.situation
        if situation.state == "failed" and not situation.script:
            continue  # what a script has that cannot be read nobody can tell, nor does it matter: no such pod starts
        runs = read_script(situation.script).effective.keys() if situation.script else ()
        for found, text in annotations.strays(injector, own, view.annotations).items():
            if new := [value for value in exclusions.items(text) if _key(found, value) not in runs]:
                key = injector.annotation(found)
                seen = view.said(group, f"annotation {key}: {text} is not on the template of {view.workload.label}")
                yield Seen(seen, mending.addition(view, found, new), ("metadata", "annotations", key), group.pods[0])


@check(
    "annotation-misplaced",
    "warning",
    WorkloadView,
    holds="Lists are on the pod template, not on the workload itself.",
    why="The injector sees pods, and these have the annotations of the template alone.",
    remedy="Write it to the pod template: `kubectl fsm exclude-port PORT --workload=KIND/NAME`.",
)
def annotation_misplaced(view: WorkloadView) -> Iterator[Seen]:
    for depth in range(0, len(view.template_path), 2):
        place = (*view.template_path[:depth], "metadata", "annotations")
        for key, text in fields.texts(view.object, *place).items():
            found = annotations.LIST_KEYS.get(key)
            if found in view.installation.injector.pod_lists and (missing := _missing(view, found, text)):
                seen = f"annotation {key}: {text} is in {fields.dotted(*place)}, where no injector reads it"
                yield Seen(
                    f"{seen}{_unfit(found, missing)}",
                    mending.moving(view, found, missing, (*place, key)),
                    (*place, key),
                )


@check(
    "list-on-namespace",
    "warning",
    NamespaceView,
    holds="Lists are not on a namespace.",
    why="Of a namespace's annotations the injector reads others, but no list: these ports and ranges are not excluded.",
    remedy="Write it to the pod templates: `kubectl fsm exclude-port PORT --all -n NAMESPACE`.",
)
def list_on_namespace(view: NamespaceView) -> Iterator[Seen]:
    for key, text in fields.annotations(view.object).items() if view.installation else ():
        if found := annotations.LIST_KEYS.get(key):
            words = ["--all", "-n", view.name, *view.scene.cluster.words]
            command = hints.add(found, [value for value in exclusions.items(text) if value], words)
            away = mending.metadata(view.scene, view.object, "annotations", {key: None})
            if not view.scene.cluster.remote:
                away = f"{away}; write it to the pod templates"
            mend = f"{command} && {away}" if command and view.scene.cluster.remote else away
            yield Seen(f"annotation {key}: {text} is on the namespace", mend, ("metadata", "annotations", key))


@check(
    "annotation-other-mesh",
    "warning",
    WorkloadView,
    holds="Annotations have the prefix of the mesh that the workload is in.",
    why="FSM reads flomesh.io/ alone, OSM and osm-edge openservicemesh.io/, whatever a page of the documentation says.",
    remedy="Write the key with the other prefix.",
)
def annotation_other_mesh(view: WorkloadView) -> Iterator[Seen]:
    return _ignored(view, Fault.OTHER_MESH)


@check(
    "annotation-unread",
    "warning",
    WorkloadView,
    holds="The installed release, in its mode, reads the lists that the pod template has.",
    why="What an injector does not know it passes over in silence.",
    remedy="Take it away, or write to the MeshConfig what the annotation was to do.",
)
def annotation_unread(view: WorkloadView) -> Iterator[Seen]:
    return _ignored(view, Fault.UNREAD)


@check(
    "annotation-misspelt",
    "warning",
    WorkloadView,
    holds="The keys of annotations are spelled as the mesh reads them.",
    why="The injector passes over a key that it does not know, in silence.",
    remedy="Write the key that was meant.",
)
def annotation_misspelt(view: WorkloadView) -> Iterator[Seen]:
    return _ignored(view, Fault.MISSPELT)


def _ignored(view: WorkloadView, fault: Fault) -> Iterator[Seen]:
    for found in annotations.ignored(view.annotations, view.installation):
        if found.fault is fault:
            yield _renamed(view, found, view.annotation_path(found.key))


def _renamed(view: WorkloadView, found: Ignored, path: Sequence[str]) -> Seen:
    """With what puts the right key in the place of one that is ignored, or takes it away where there is none."""
    text = view.annotations[found.key]
    meant = annotations.LIST_KEYS.get(found.meant)
    if meant in view.installation.injector.pod_lists:
        missing = _missing(view, meant, text)
        return Seen(f"{found.text}{_unfit(meant, missing)}", mending.moving(view, meant, missing, path), path)
    changes = {found.key: None} | ({found.meant: text} if found.meant and not meant else {})
    return Seen(found.text, mending.template(view, "annotations", changes), path)


def _unfit(found: ExclusionList, values: Sequence[str]) -> str:
    """What of an annotation is not to be moved into the list that it was meant for."""
    bad = [value for value in values if exclusions.value_problem(found, value)]
    return f"; no list may hold {', '.join(map(repr, bad))}" if bad else ""


def _missing(view: WorkloadView, found: ExclusionList, text: str) -> Sequence[str]:
    """The items of an annotation that the template's own has not."""
    held = view.annotations.get(view.installation.injector.annotation(found), "")
    return [value for value in exclusions.items(text) if value and value not in exclusions.items(held)]


def _key(found: ExclusionList, value: str) -> object:
    """What an entry of rules is known by, also one of pods that are outdated, or that somebody else puts on every pod."""
    return Entry(found, str(exclusions.atoi(value)) if found.item is Item.PORT else value).key


def _restart(view: WorkloadView, group: Group) -> str:
    """What replaces the pods, and what comes before it."""
    command = mending.anew(view)
    found = group.situation
    if found.coming.state == "refused" or found.refused:
        return f"mend first what keeps the next pods from starting, then: {command}"
    return f"if the next pods are to have no rules: {command}" if found.coming.wanted is None else command
