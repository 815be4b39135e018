"""What the cluster's own injector makes of the next pod, where it may be asked: each time costs a certificate."""

from collections.abc import Iterator, Mapping
from functools import partial

from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import Scene, WorkloadView
from kubectl_fsm.errors import Unavailable
from kubectl_fsm.operations import second_opinion
from kubectl_fsm.reports import Opinion


@check(
    "injector-refuses",
    "error",
    WorkloadView,
    holds="The mesh's injector makes the next pod of a workload.",
    why="A pod that the injector refuses, or gives no answer about, is not made.",
    remedy="Mend what its words name; where it gives no answer, look at its Deployment and its log.",
    remote=True,
    asks=True,
)
def injector_refuses(view: WorkloadView) -> Iterator[Seen]:
    found = _opinion(view)
    if found.state in ("refused", "down") and not found.same:
        yield Seen(f"the injector was asked, and {found.reason}", _log(view))


@check(
    "injector-differs",
    "warning",
    WorkloadView,
    holds="The mesh's injector makes the next pod as this plugin predicts it.",
    why="What is said here of next pods is a prediction; the injector's own answer is what they will be.",
    remedy="Look at both with `kubectl fsm rules --from-injector`, and mend what is behind the difference.",
    remote=True,
    asks=True,
)
def injector_differs(view: WorkloadView) -> Iterator[Seen]:
    found = _opinion(view)
    if found.same is False and found.state != "refused":
        more = f" ({', '.join(found.differences)})" if found.differences else ""
        yield Seen(f"{found.reason}{more}", "; ".join(found.notes) or _log(view))


def _opinion(view: WorkloadView) -> Opinion:
    """Raises `Unavailable` where the injector could not be asked."""
    found = view.scene.once(_opinions)[view.workload.uid]
    if found.state == "not-asked":
        raise Unavailable(found.reason)
    return found


def _log(view: WorkloadView) -> str:
    app, namespace = view.installation.mesh.injector_app, view.installation.namespace
    return mending.kubectl(view.scene, "logs", f"deploy/{app}", "-n", namespace, "--tail=20")


def _opinions(scene: Scene) -> Mapping[str, Opinion]:
    """The answers about all workloads, asked for side by side."""
    views = [view for view in scene.workloads if view.meshed]
    answers = scene.cluster.gather(*(partial(_asked, view) for view in views))
    return {view.workload.uid: answer for view, answer in zip(views, answers, strict=True)}


def _asked(view: WorkloadView) -> Opinion:
    return second_opinion.ask(view.scene.cluster, view.subject, view.namespace, view.installation)
