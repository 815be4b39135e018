"""The way into the mesh, as the pod template tells it, and the pods that were made before there was one."""

from collections.abc import Iterator, Sequence

from kubectl_fsm import fields, interception
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.lookalikes import legible, lookalikes
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import WorkloadView, label
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import INJECTED_VOLUME
from kubectl_fsm.operations import applied

_OPT_OUT = "disabled"


@check(
    "injection-refused",
    "error",
    WorkloadView,
    holds="The injector can read what a pod template says of injection.",
    why="With any other value the injector refuses the pods: none can be made.",
    remedy="Write `enabled` or `disabled` (or yes, true, no, false).",
)
def injection_refused(view: WorkloadView) -> Iterator[Seen]:
    key = view.installation.mesh.injection_key
    value = view.annotations.get(key, "enabled")
    if view.injection.refused and interception.answer(value) is None:
        yield Seen(
            f"annotation {key} is {value!r}",
            mending.template(view, "annotations", {key: "enabled"}),
            view.annotation_path(key),
        )


@check(
    "injection-unread",
    "warning",
    WorkloadView,
    holds="What a workload says of injection stands where the mesh reads it: in the annotations of its pod template.",
    why="On the workload itself, as a label, with another mesh's prefix or misspelt it does nothing.",
    remedy="Write the annotation into the pod template, with the mesh's own key.",
)
def injection_unread(view: WorkloadView) -> Iterator[Seen]:
    mesh = view.installation.mesh
    key = mesh.injection_key
    joined = mesh.monitored_label in fields.labels(view.namespace or {})
    sure = joined or (bool(view.installation.config) and len(view.scene.installations) == 1)
    for one in lookalikes(view.template, mesh, (key,), sure=sure):
        mend = mending.template(view, "annotations", {one.key: None, one.meant: one.value})
        yield Seen(one.said, mend, (*view.template_path, "metadata", one.part, one.key))
    for part in ("annotations", "labels") if view.template_path and key not in view.annotations else ():
        own = fields.texts(view.object, "metadata", part)
        if key in own:
            yield Seen(
                f"{key}: {own[key]} is in the {part} of {label(view.object)} itself, not in its pod template's annotations",
                mending.template(view, "annotations", {key: legible(own[key])}),
                ("metadata", part, key),
            )


@check(
    "metrics-unread",
    "warning",
    WorkloadView,
    holds="Metrics are switched on for a namespace.",
    why="The mesh reads the annotation for metrics of namespaces only: of a workload or pod it does nothing.",
    remedy="Annotate the namespace.",
)
def metrics_unread(view: WorkloadView) -> Iterator[Seen]:
    key = view.installation.mesh.metrics_key
    places = {(*view.template_path, "metadata"): view.template, ("metadata",): view.object}
    for path, obj in places.items():
        for part in ("annotations", "labels"):
            value = fields.texts(obj, "metadata", part).get(key)
            meant = legible(value) if value else value
            if meant is not None and not _is_so(view.namespace, key, meant):
                where = "the pod template" if path != ("metadata",) else label(view.object)
                mend = _for_all(view, path, part, meant)
                yield Seen(f"{key} is in the {part} of {where}", mend, (*path, part, key))


def _is_so(namespace: Object | None, key: str, value: str) -> bool:
    """Whether a namespace has what a workload asks for; what is empty, or not there, is off."""
    said = fields.annotations(namespace or {}).get(key, "")
    return namespace is not None and (not value or interception.answer(value) is bool(interception.answer(said)))


def _for_all(view: WorkloadView, path: Sequence[str], part: str, value: str) -> str:
    """What switches metrics on for the namespace; of a workload that wants none where others do, what takes that out."""
    key, namespace = view.installation.mesh.metrics_key, view.namespace
    if namespace is None:
        return f"annotate namespace {view.workload.namespace} with it"
    if interception.answer(value) is not False:
        line = mending.metadata(view.scene, namespace, "annotations", {key: value})
        return line if view.scene.cluster.remote else f"{label(namespace)}: {line}"
    if path != ("metadata",):
        return mending.template(view, part, {key: None})
    return mending.metadata(view.scene, view.object, part, {key: None})


@check(
    "host-network",
    "warning",
    WorkloadView,
    holds="Pods that are to be injected have a network of their own.",
    why="The injector leaves pods on the host network alone: the rules would be the node's. They have no sidecar.",
    remedy="Give the pods a network of their own, or say that they are not to be injected.",
)
def host_network(view: WorkloadView) -> Iterator[Seen]:
    spec = fields.mapping(view.template, "spec")
    if spec.get("hostNetwork") is not True or not _placed(view):
        return
    off = {**view.template, "spec": {key: value for key, value in spec.items() if key != "hostNetwork"}}
    if interception.injection(off, view.namespace, view.installation).injected:
        key = view.installation.mesh.injection_key
        yield Seen(
            "hostNetwork is true, and injection is asked for",
            mending.template(view, "annotations", {key: _OPT_OUT}),
            (*view.template_path, "spec", "hostNetwork"),
        )


@check(
    "injected-template",
    "error",
    WorkloadView,
    holds="A pod template holds nothing that the injector adds.",
    why="A pod with that volume counts as injected and is left as it is: copied from a living pod, it has that pod's rules and certificate for good, or none.",
    remedy="Take out what the injector has added: volume, init container, sidecar, label, rewritten probes.",
)
def injected_template(view: WorkloadView) -> Iterator[Seen]:
    lives = view.workload.bare and (view.scene.cluster.remote or fields.mapping(view.object, "status"))
    if lives or (not view.template_path and not view.workload.bare):
        return
    mesh = view.installation.mesh
    for index, volume in enumerate(fields.items(view.template, "spec", "volumes")):
        if volume.get("name") == INJECTED_VOLUME:
            copied = [INJECTED_VOLUME]
            containers = (("initContainers", mesh.init_container), ("containers", mesh.sidecar))
            for kind, name in containers:
                found = fields.items(view.template, "spec", kind)
                copied += [name for one in found if one.get("name") == name]
            copied += [key for key in fields.labels(view.template) if key == mesh.uuid_label]
            yield Seen(
                f"it holds the volume {INJECTED_VOLUME}",
                f"take {', '.join(copied)} out of the {'manifest' if view.workload.bare else 'pod template'}",
                (*view.template_path, "spec", "volumes", index),
            )


@check(
    "opted-out",
    "info",
    WorkloadView,
    holds="A workload in a namespace of the mesh does not say that it gets no sidecar.",
    why="What it calls in the mesh sees it as a stranger, without mTLS.",
    remedy="Nothing, if that is meant.",
)
def opted_out(view: WorkloadView) -> Iterator[Seen]:
    key = view.installation.mesh.injection_key
    if fields.mapping(view.template, "spec").get("hostNetwork") is True:
        return
    if key in view.annotations and interception.answer(view.annotations[key]) is False:
        yield Seen(
            f"annotation {key} is {view.annotations[key]}",
            mending.template(view, "annotations", {key: "enabled"}),
            view.annotation_path(key),
        )


@check(
    "made-before",
    "warning",
    WorkloadView,
    holds="Pods that would be injected now are injected.",
    why="A sidecar comes with a new pod only: pods made before the namespace or their template asked for it have none.",
    remedy="Make the pods anew: `kubectl fsm restart --all-pods`.",
)
def made_before(view: WorkloadView) -> Iterator[Seen]:
    if not view.injection.injected or not _placed(view):
        return
    for group in view.groups:
        if group.situation.state == "not-injected":
            mend = mending.anew(view, "--all-pods")
            if view.workload.bare and applied.ANNOTATION not in view.annotations:
                mend = "delete the pod and apply its manifest again"
            yield Seen(view.said(group, "no sidecar; the next pod gets one"), mend)


def _placed(view: WorkloadView) -> bool:
    """Whether its namespace is seen, or it asks for a sidecar itself: else it is only taken as part of the mesh."""
    return view.namespace is not None or view.installation.mesh.injection_key in view.annotations
