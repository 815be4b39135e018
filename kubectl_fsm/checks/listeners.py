"""Inbound ports that are excluded although nothing of the application says that it listens there."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, services
from kubectl_fsm.checks import backends
from kubectl_fsm.checks.kept import Kept, kept, removal, replacement, ruled
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, WorkloadView, label
from kubectl_fsm.exclusions import atoi
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import INBOUND_PORTS

_CONTAINERS = ("containers", "initContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ASKED = ("httpGet", "tcpSocket", "grpc")
_SCRAPED = "prometheus.io/port"


class _Unheard(NamedTuple):
    """An excluded port on which nothing is known to listen.

    `behind` are the Services that have a port of this number, each with where that leads to; `whose` says whose
    containers were asked.
    """

    kept: Kept
    behind: Sequence[tuple[Object, int]]
    whose: str


@check(
    "service-port-excluded",
    "warning",
    ListHolder,
    holds="What is excluded inbound is a port of the pod, not one of its Service.",
    why="The pod is reached at the Service's target port, where its sidecar takes the connection all the same.",
    remedy="Exclude the target port instead.",
)
def service_port_excluded(view: ListHolder) -> Iterator[Seen]:
    for one in _unheard(view):
        if one.behind:
            service, target = one.behind[0]
            seen = f"{one.kept.place} has {one.kept.entry.value}, a port of {label(service)}, which leads to {target}"
            yield Seen(seen, replacement(view, one.kept, str(target)), one.kept.path)


@check(
    "inbound-port-unused",
    "info",
    ListHolder,
    holds="What is excluded inbound is a port that a container listens on.",
    why="Such an entry is left over, or a typo; but a container may listen on a port that its manifest does not name.",
    remedy="Take it out, or name the port in the container's `ports`.",
)
def inbound_port_unused(view: ListHolder) -> Iterator[Seen]:
    for one in _unheard(view):
        if not one.behind:
            seen = f"{one.kept.place} has {one.kept.entry.value}; {one.whose}"
            yield Seen(seen, removal(view, one.kept), one.kept.path)


def _unheard(view: ListHolder) -> Iterator[_Unheard]:
    ports = list(kept(view, INBOUND_PORTS))
    if not ports:
        return
    views = [*_asked(view)]
    heard = [_heard(one) for one in views]
    if not heard or not all(heard):
        return
    everywhere = {port for some in heard for port in some}
    whose = f"its containers listen on {', '.join(map(str, sorted(everywhere)))}"
    if isinstance(view, MeshView):
        whose = f"no container of {len(views)} workloads says that it listens there"
    for one in ports:
        number = atoi(one.entry.value)
        if number not in everywhere:
            behind = [found for each in views for found in _behind(each, number)]
            yield _Unheard(one, behind, whose)


def _asked(view: ListHolder) -> Iterator[WorkloadView]:
    """Whose containers tell whether a list's entry is of use: the workload's, or those of all that there are in a mesh."""
    scene = view.scene
    if isinstance(view, WorkloadView):
        yield view
    elif isinstance(view, MeshView) and scene.cluster.remote and scene.whole and not scene.scope:
        yield from ruled(view)


def _heard(view: WorkloadView) -> set[int]:
    """The ports on which something listens, by all signs that there are; empty where the containers do not tell.

    Of bare pods, which are read in part only, nothing is told.
    """
    containers = [one for key in _CONTAINERS for one in fields.items(view.template, "spec", key)]
    ports = [port for one in containers for port in fields.items(one, "ports")]
    declared = {port.get("containerPort") for port in ports if port.get("protocol") in (None, services.TCP)}
    if not declared or view.workload.bare:
        return set()
    probed = {
        fields.mapping(one, probe, asked).get("port") for one in containers for probe in _PROBES for asked in _ASKED
    }
    targets = {target for service in backends.selecting(view) for _, target in backends.targets(service, view)}
    scraped = atoi(view.annotations.get(_SCRAPED, ""))
    return {port for port in (*declared, *probed, *targets, scraped) if isinstance(port, int)}


def _behind(view: WorkloadView, number: int | None) -> Iterator[tuple[Object, int]]:
    for service in backends.selecting(view):
        yield from ((service, target) for port, target in backends.targets(service, view) if port == number)
