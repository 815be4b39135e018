"""Pods that run, or try to: the init container that loads the rules, and the sidecar that the rules lead to."""

from collections.abc import Iterator

from kubectl_fsm import fields, workloads
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.diagnoses import Case, diagnose
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import Group, Scene, WorkloadView
from kubectl_fsm.errors import ApiError, Forbidden
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import carries
from kubectl_fsm.meshes import MESHES

_SIDECARS = [mesh.sidecar for mesh in MESHES]
_LOG_LINES = 20
_SHOWN_LINES = 3
_HELP = "Try `"
"""How the lines begin in which a program says how to get help."""


def _log_command(view: WorkloadView, pod: Object, container: str) -> str:
    name = fields.name(pod)
    words = "logs", name, "-n", view.workload.namespace, "-c", container
    return mending.told(view.scene, f"read the log of container {container} of pod {name}", *words)


@check(
    "sidecar-missing",
    "error",
    WorkloadView,
    holds="A pod that carries the mesh's marks has a sidecar.",
    why="Its rules send connections to a sidecar that is not there: they are refused.",
    remedy="Make the pod anew, from a manifest without what an injector has added.",
)
def sidecar_missing(view: WorkloadView) -> Iterator[Seen]:
    mesh = view.installation.mesh
    for group in view.groups:
        pod = group.pods[0]
        labelled = view.installation.adds_sidecar and mesh.uuid_label in fields.labels(pod)
        marks = [f"init container {mesh.init_container}"] if carries(pod, mesh) else []
        marks += [f"label {mesh.uuid_label}"] if labelled else []
        containers = (*fields.items(pod, "spec", "containers"), *fields.items(pod, "spec", "initContainers"))
        if marks and not any(one.get("name") in _SIDECARS for one in containers):
            yield Seen(
                view.said(group, f"{' and '.join(marks)}, but no container {mesh.sidecar}"),
                mending.anew(view, "--all-pods"),
            )


@check(
    "sidecar-not-ready",
    "error",
    WorkloadView,
    holds="The sidecar of every injected pod is ready.",
    why="The pod's rules send its connections to a sidecar that takes none: they are refused.",
    remedy="Read the sidecar's log; it waits for the control plane's answer, or lacks a certificate.",
)
def sidecar_not_ready(view: WorkloadView) -> Iterator[Seen]:
    name = view.installation.mesh.sidecar
    for group in view.groups:
        if group.situation.sidecar == "not ready" and not workloads.starts(group.pods[0], name):
            said = workloads.container_complaint(group.pods[0], name) or "it runs, and is not ready"
            yield Seen(view.said(group, f"container {name}: {_line(said)}"), _log_command(view, group.pods[0], name))


@check(
    "init-missing",
    "warning",
    WorkloadView,
    holds="An injected pod has the init container that the mesh's mode asks for.",
    why="Without it nothing leads the pod's connections to its sidecar, unless a plugin of the node does.",
    remedy="Make the pod anew: it was made while the mode was another one. With a plugin that writes the rules there is nothing to do.",
)
def init_missing(view: WorkloadView) -> Iterator[Seen]:
    for group in _external(view):
        if not any(carries(group.pods[0], mesh) for mesh in MESHES):
            name = view.installation.mesh.init_container
            yield Seen(view.said(group, f"injected, but no init container {name}"), mending.anew(view, "--all-pods"))


@check(
    "init-failed",
    "error",
    WorkloadView,
    holds="The init container has ended well.",
    why="Until it does, no container of the pod starts.",
    remedy="Mend what its last words name: mostly an entry of a list that iptables refuses, or a right or module that the node lacks.",
)
def init_failed(view: WorkloadView) -> Iterator[Seen]:
    name = view.installation.mesh.init_container
    for group in view.groups:
        if group.situation.state == "failed":
            words = [_line(group.situation.reason), *_beside(view, group, name)]
            found = diagnose(Case(view, group), "; ".join(words))
            said = "; ".join([*words, *([found.means] if found else [])])
            yield Seen(view.said(group, said), found.mend if found else _log_command(view, group.pods[0], name))


@check(
    "pods-of-another-mesh",
    "warning",
    WorkloadView,
    holds="Pods in a namespace of a mesh are that mesh's.",
    why="They were made while the namespace was another mesh's: that one's sidecar runs, and its rules.",
    remedy="Make the pods anew: `kubectl fsm restart --all-pods`.",
)
def pods_of_another_mesh(view: WorkloadView) -> Iterator[Seen]:
    for group in _external(view):
        others = [mesh.title for mesh in MESHES if carries(group.pods[0], mesh)]
        if others and not carries(group.pods[0], view.installation.mesh):
            yield Seen(view.said(group, f"injected by {' or '.join(others)}"), mending.anew(view, "--all-pods"))


@check(
    "init-foreign",
    "info",
    WorkloadView,
    holds="The init container is one that an injector writes.",
    why="What its rules are cannot be told.",
    remedy="Nothing, if that is meant.",
)
def init_foreign(view: WorkloadView) -> Iterator[Seen]:
    for group in _external(view):
        if carries(group.pods[0], view.installation.mesh):
            yield Seen(view.said(group, group.situation.reason), mending.anew(view, "--all-pods"))


def _external(view: WorkloadView) -> Iterator[Group]:
    return (group for group in view.groups if group.situation.state == "external")


def _beside(view: WorkloadView, group: Group, name: str) -> Iterator[str]:
    """What there is beside the state: what the kubelet says of a container that never ran, or the last lines of its log.

    Of pods that stand alike one is read; what has its last words in its status is not.
    """
    pod = group.pods[0]
    ended, container = workloads.ending(pod, name), workloads.init_container(pod, name)
    if not ended:
        said = _line(workloads.waiting_message(pod, name))
    elif view.scene.cluster.remote and container and not fields.text(ended, "message").strip():
        kept, key = view.scene.once(_logs), (workloads.script(container), group.situation.reason)
        if key not in kept:
            kept[key] = _last_lines(view, pod, name)
        said = kept[key]
    else:
        said = ""
    if said:
        yield said


def _logs(_: Scene) -> dict[tuple[str, str], str]:
    """Logs by the script that has failed, and how: where both are the same, so is the log."""
    return {}


def _last_lines(view: WorkloadView, pod: Object, name: str) -> str:
    try:
        text = view.scene.cluster.log(fields.name(pod), view.workload.namespace, name, _LOG_LINES)
    except Forbidden as error:
        return f"its log may not be read: {error.message}"
    except ApiError:
        return ""
    found = _line(text)
    return f"log: {found}" if found else ""


def _line(text: str) -> str:
    """The last lines of a text in one, but for those that say how to get help."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_HELP)]
    return " | ".join(lines[-_SHOWN_LINES:])
