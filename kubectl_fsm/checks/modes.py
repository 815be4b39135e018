"""How a mesh intercepts: what its mode makes of the init container, and of the lists."""

from collections.abc import Iterator

from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, WorkloadView
from kubectl_fsm.exclusions import raw_values
from kubectl_fsm.meshes import Installation

_PATH = ("spec", "traffic", "interceptionMode")
_FORMER = "iptables"
"""What `PodLevel` was called before FSM 1.5."""


def _elsewhere(installation: Installation) -> bool:
    """Whether the mode leaves interception to something outside of the pods."""
    return installation.mode == ("NodeLevel" if installation.release.mode == "PodLevel" else "ebpf")


def _former(installation: Installation) -> bool:
    return installation.release.mode == "PodLevel" and installation.mode == _FORMER


def _pod_level(view: MeshView) -> str:
    """What makes the mode the one that adds the init container."""
    mode = view.installation.release.mode or ""
    if not view.scene.cluster.remote:
        return f"write {mode} in spec.traffic.interceptionMode"
    patch = f'{{"spec":{{"traffic":{{"interceptionMode":"{mode}"}}}}}}'
    where = ["-n", view.installation.namespace, "--type=merge", "-p", patch]
    return mending.kubectl(view.scene, "patch", view.kubectl_name, *where)


@check(
    "interception-off",
    "error",
    MeshView,
    holds="The interception mode is one that leads the pods' connections to their sidecars.",
    why="Pods get a sidecar but no rules: nothing of what they say goes through it, and no policy holds.",
    remedy="Set the mode that adds the init container: PodLevel from FSM 1.5 on, iptables before.",
)
def interception_off(view: MeshView) -> Iterator[Seen]:
    found = view.installation
    if not (found.intercepts or _elsewhere(found)):
        yield Seen(f"spec.traffic.interceptionMode is {found.mode!r}", _pod_level(view), _PATH)


@check(
    "interception-elsewhere",
    "info",
    MeshView,
    holds="Interception is done by rules in the pods.",
    why="Pods have no init container, and no rules that could be shown: the node intercepts.",
    remedy="Nothing, if that is meant.",
)
def interception_elsewhere(view: MeshView) -> Iterator[Seen]:
    if _elsewhere(view.installation):
        yield Seen(f"spec.traffic.interceptionMode is {view.installation.mode}", _pod_level(view), _PATH)


@check(
    "lists-unused",
    "warning",
    MeshView,
    holds="Lists are set only where the interception mode uses them.",
    why="Only the init container reads the MeshConfig's lists: in this mode nothing bypasses the sidecar by them.",
    remedy="Say it in the way of the mode (NodeLevel: the chart's `xnet` values), or set the mode that adds the init container.",
)
def lists_unused(view: MeshView) -> Iterator[Seen]:
    found = view.installation
    if found.intercepts or _former(found):
        return
    for one in found.injector.lists:
        if values := raw_values(one, found.spec):
            yield Seen(
                f"spec.traffic.{one.field} holds {', '.join(map(str, values))}; mode {found.mode!r} does not use it",
                mending.removal(view, one, [*map(str, values)]),
                ("spec", "traffic", one.field),
            )


@check(
    "annotations-unused",
    "warning",
    WorkloadView,
    holds="A pod template has lists only where the interception mode uses them.",
    why="Without the init container nothing reads them.",
    remedy="Take the annotation out, or set the mode that adds the init container.",
)
def annotations_unused(view: WorkloadView) -> Iterator[Seen]:
    found = view.installation
    if found.intercepts or _former(found) or found.mode == "ebpf":
        return
    for one in found.injector.pod_lists:
        key = found.injector.annotation(one)
        if key in view.annotations:
            yield Seen(
                f"annotation {key}: {view.annotations[key]}; mode {found.mode!r} does not use it",
                mending.template(view, "annotations", {key: None}),
                view.annotation_path(key),
            )
