"""Pods that run, or try to: the init container that loads the rules, and the sidecar that the rules lead to."""

from collections.abc import Iterator

from kubectl_fsm import workloads
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import WorkloadView


@check(
    "sidecar-not-ready",
    "error",
    WorkloadView,
    holds="The sidecar of every injected pod is ready.",
    why="The pod's rules send its connections to a sidecar that takes none: they are refused.",
    remedy="Read the sidecar's log; it waits for the control plane's answer, or lacks a certificate.",
)
def sidecar_not_ready(view: WorkloadView) -> Iterator[Seen]:
    for group in view.groups:
        if group.situation.sidecar == "not ready":
            said = workloads.complaint(group.pods[0])
            yield Seen(view.said(group, said or "its sidecar is not ready"), "read the sidecar's log")


@check(
    "init-failed",
    "error",
    WorkloadView,
    holds="The init container has ended well.",
    why="Until it does, no container of the pod starts.",
    remedy="Take out of the lists what iptables refuses.",
)
def init_failed(view: WorkloadView) -> Iterator[Seen]:
    for group in view.groups:
        if group.situation.state == "failed":
            yield Seen(view.said(group, group.situation.reason), "take out of the lists what iptables refuses")
