"""The way into the mesh, as the namespace tells it: its labels, and the annotations that hold for all of its pods."""

from collections.abc import Iterator, Sequence

from kubectl_fsm import fields, interception
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.lookalikes import lookalikes
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import NamespaceView
from kubectl_fsm.meshes import MESHES, Installation, Mesh

_LABELS, _ANNOTATIONS = ("metadata", "labels"), ("metadata", "annotations")
_FEW = 3


@check(
    "namespace-unlabelled",
    "warning",
    NamespaceView,
    holds="A namespace that is looked at, or annotated for injection, is labelled as part of a mesh.",
    why="The API server asks the injector about pods of labelled namespaces only: here no pod gets a sidecar.",
    remedy="Label the namespace with the name of the mesh, and make its pods anew.",
)
def namespace_unlabelled(view: NamespaceView) -> Iterator[Seen]:
    labels, annotations = fields.labels(view.object), fields.annotations(view.object)
    scene = view.scene
    meant = [
        one for one in scene.installations if interception.answer(annotations.get(one.mesh.injection_key, "")) is True
    ]
    kept_out = any(interception.ignoring(view.object, one.mesh) for one in scene.installations)
    mine = view.name in interception.UNMESHED or any(one.namespace == view.name for one in scene.installations)
    if any(mesh.monitored_label in labels for mesh in MESHES) or kept_out or mine:
        return
    if meant or view.name == scene.scope:
        keys = dict.fromkeys(one.mesh.monitored_label for one in meant or scene.installations)
        yield Seen(
            f"the namespace is not labelled {' or '.join(keys)}",
            _joining(view, meant or scene.installations),
            _LABELS,
        )


@check(
    "namespace-mesh-unknown",
    "error",
    NamespaceView,
    holds="The mesh that a namespace's label names is there.",
    why="No injector takes the namespace's pods: they get no sidecar.",
    remedy="Label the namespace with the name of a mesh that is there.",
    remote=True,
)
def namespace_mesh_unknown(view: NamespaceView) -> Iterator[Seen]:
    labels = fields.labels(view.object)
    named = {mesh.monitored_label for mesh in MESHES if mesh.monitored_label in labels}
    if view.installation or view.scene.narrowed or not all(one.name for one in view.scene.installations):
        return
    there = ", ".join(f"{one.name} ({one.mesh.title} in {one.namespace})" for one in view.scene.installations)
    for key in sorted(named):
        yield Seen(
            f"its label {key} names mesh {labels[key]!r}; what is there is {there}",
            _joining(view, view.scene.installations),
            (*_LABELS, key),
        )


@check(
    "namespace-two-meshes",
    "error",
    NamespaceView,
    holds="A namespace is part of one mesh.",
    why="Two injectors add a sidecar each, and both redirect the pod's connections.",
    remedy="Take one of the labels off: that of the mesh that its pods are not to be in.",
)
def namespace_two_meshes(view: NamespaceView) -> Iterator[Seen]:
    labels = fields.labels(view.object)
    there = {
        one.mesh.monitored_label
        for one in view.scene.installations
        if one.mesh.monitored_label in labels and one.name in ("", labels[one.mesh.monitored_label])
    }
    if len(there) > 1:
        first, second = sorted(there)
        choices = [mending.metadata(view.scene, view.object, "labels", {key: None}) for key in (second, first)]
        yield Seen(
            f"it is labelled {first}={labels[first]} and {second}={labels[second]}",
            "; or ".join(choices),
            (*_LABELS, second),
        )


@check(
    "namespace-ignored",
    "warning",
    NamespaceView,
    holds="No label keeps a namespace of the mesh out of it.",
    why="The injector leaves the pods of such a namespace alone, whatever else the namespace or a pod says.",
    remedy="Take the label off, or take the namespace out of the mesh.",
)
def namespace_ignored(view: NamespaceView) -> Iterator[Seen]:
    if not view.installation:
        return
    for key in interception.ignoring(view.object, view.installation.mesh):
        yield Seen(
            f"it is part of mesh {view.installation}, and its label {key} keeps its pods out",
            mending.metadata(view.scene, view.object, "labels", {key: None}),
            (*_LABELS, key),
        )


@check(
    "namespace-unmeshable",
    "warning",
    NamespaceView,
    holds="Neither Kubernetes' own namespaces nor the mesh's are part of it.",
    why="The injector leaves kube-system, kube-public and its own namespace alone: the label does nothing there.",
    remedy="Take the label off.",
)
def namespace_unmeshable(view: NamespaceView) -> Iterator[Seen]:
    if view.installation and view.name in (*interception.UNMESHED, view.installation.namespace):
        key = view.installation.mesh.monitored_label
        yield Seen(
            f"it is labelled {key}, and the mesh takes no pods of {view.name}",
            mending.metadata(view.scene, view.object, "labels", {key: None}),
            (*_LABELS, key),
        )


@check(
    "namespace-annotation-refused",
    "error",
    NamespaceView,
    holds="The injector can read the namespace's annotations for injection and metrics.",
    why="With any other value the injector refuses every pod of the namespace that it would inject.",
    remedy="Write `enabled` or `disabled` (or yes, true, no, false).",
)
def namespace_annotation_refused(view: NamespaceView) -> Iterator[Seen]:
    annotations, mesh = fields.annotations(view.object), _asked(view)
    scraped = view.installation is not None and view.installation.adds_sidecar
    for key in (mesh.injection_key, *((mesh.metrics_key,) if scraped else ())) if mesh else ():
        empty = mesh and key == mesh.metrics_key and not annotations.get(key)
        if key in annotations and not empty and interception.answer(annotations[key]) is None:
            yield Seen(
                f"its annotation {key} is {annotations[key]!r}",
                mending.metadata(view.scene, view.object, "annotations", {key: "enabled"}),
                (*_ANNOTATIONS, key),
            )


@check(
    "namespace-annotation-unread",
    "warning",
    NamespaceView,
    holds="What a namespace says of injection and metrics stands where the mesh reads it.",
    why="A label in place of an annotation, another mesh's prefix or a misspelt key does nothing.",
    remedy="Write the annotation with the mesh's own key.",
)
def namespace_annotation_unread(view: NamespaceView) -> Iterator[Seen]:
    mesh = _asked(view)
    for one in lookalikes(view.object, mesh, (mesh.injection_key, mesh.metrics_key)) if mesh else ():
        yield Seen(
            one.said,
            mending.metadata(view.scene, view.object, "annotations", {one.key: None, one.meant: one.value}),
            ("metadata", one.part, one.key),
        )


@check(
    "injection-missing",
    "warning",
    NamespaceView,
    holds="In a namespace of the mesh something asks for sidecars: its own annotation, or those of its pods.",
    why="The label alone injects nothing: the pods are part of the mesh, and have no sidecar.",
    remedy="Annotate the namespace, or the pod templates that are to be injected.",
)
def injection_missing(view: NamespaceView) -> Iterator[Seen]:
    mesh = _unsaid(view)
    if mesh and view.workloads and not any(mesh.injection_key in one.annotations for one in view.workloads):
        if any(lookalikes(view.object, mesh, (mesh.injection_key,))):
            return
        yield Seen(
            f"neither it nor {_named([one.workload.label for one in view.workloads])} is annotated {mesh.injection_key}: no new pod gets a sidecar",
            mending.metadata(view.scene, view.object, "annotations", {mesh.injection_key: "enabled"}),
            _ANNOTATIONS,
        )


@check(
    "injection-partial",
    "info",
    NamespaceView,
    holds="Every workload of the namespace says whether it gets sidecars, or the namespace says it for all.",
    why="Where the namespace says nothing, pods without an annotation of their own get no sidecar.",
    remedy="Annotate the templates, or the namespace.",
)
def injection_partial(view: NamespaceView) -> Iterator[Seen]:
    mesh = _unsaid(view)
    silent = [one for one in view.workloads if mesh and mesh.injection_key not in one.annotations]
    if mesh and silent and len(silent) < len(view.workloads):
        names = _named([one.workload.label for one in silent])
        yield Seen(
            f"{names} {'are' if len(silent) > 1 else 'is'} not annotated {mesh.injection_key}, and others here are",
            mending.metadata(view.scene, view.object, "annotations", {mesh.injection_key: "enabled"}),
            _ANNOTATIONS,
        )


@check(
    "namespace-opted-out",
    "info",
    NamespaceView,
    holds="A namespace of the mesh does not say that its pods get no sidecar.",
    why="Only pods that ask for it themselves are injected.",
    remedy="Nothing, if that is meant.",
)
def namespace_opted_out(view: NamespaceView) -> Iterator[Seen]:
    annotations, mesh = fields.annotations(view.object), _asked(view)
    key = mesh.injection_key if mesh else ""
    if key in annotations and interception.answer(annotations[key]) is False:
        yield Seen(
            f"its annotation {key} is {annotations[key]}",
            mending.metadata(view.scene, view.object, "annotations", {key: "enabled"}),
            (*_ANNOTATIONS, key),
        )


def _asked(view: NamespaceView) -> Mesh | None:
    """The mesh whose injector is asked about the namespace's pods."""
    found = view.installation
    if not found or view.name in (*interception.UNMESHED, found.namespace):
        return None
    return None if interception.ignoring(view.object, found.mesh) else found.mesh


def _unsaid(view: NamespaceView) -> Mesh | None:
    """The same where the namespace says nothing of injection."""
    mesh = _asked(view)
    return mesh if mesh and mesh.injection_key not in fields.annotations(view.object) else None


def _joining(view: NamespaceView, installations: Sequence[Installation]) -> str:
    """What makes the namespace part of one of these meshes, and of no other."""
    labels = fields.labels(view.object)
    gone = {mesh.monitored_label: None for mesh in MESHES if mesh.monitored_label in labels}
    lines = [
        mending.metadata(
            view.scene, view.object, "labels", {**gone, one.mesh.monitored_label: one.name or one.mesh.program}
        )
        for one in installations
    ]
    return ", or ".join(lines)


def _named(labels: Sequence[str]) -> str:
    more = len(labels) - _FEW
    return ", ".join(labels[:_FEW]) + (f" and {more} more" if more > 0 else "")
