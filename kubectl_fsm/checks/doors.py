"""What is dialled, the ports of Services, and who dials it past a sidecar."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm import services, tracing
from kubectl_fsm.checks.views import Scene, WorkloadView
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import covers
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import EXCLUDED_RANGES, INCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations.destinations import lacks_address
from kubectl_fsm.operations.instances import StandIns
from kubectl_fsm.operations.sides import side_after
from kubectl_fsm.operations.trace import socket_balancing
from kubectl_fsm.services import Endpoint, ServicePort
from kubectl_fsm.tracing import Call, Decision, Dial, Side, Step

CALL = Call(uid=0)
"""Whoever calls: all users but the sidecar's meet the same rules."""


class Door(NamedTuple):
    """A port of a Service at its ClusterIP: number `place` of its ports. `assumed`: the address is a stand-in."""

    service: Object
    place: int
    port: ServicePort
    assumed: bool

    @property
    def number(self) -> int:
        return self.port.number

    @property
    def path(self) -> Sequence[str | int]:
        return "spec", "ports", self.place

    def dial(self, endpoint: Endpoint) -> Dial:
        """A connection to it that leads to this endpoint, whoever picks it."""
        return Dial(self.port.address, self.number, (endpoint,), (endpoint,), assumed=self.assumed)


class Callers:
    """Workloads looked at whose next pods have the same script."""

    def __init__(self, views: Sequence[WorkloadView]) -> None:
        self.views = views
        self.side = side(views[0])
        wanted = views[0].wanted
        self._ports = {one.value for one in wanted.of(OUTBOUND_PORTS)}
        self._ranges = [one.value for one in (*wanted.of(EXCLUDED_RANGES), *wanted.of(INCLUDED_RANGES))]
        self._steps: dict[object, Step] = {}

    def bypass(self, door: Door) -> Step | None:
        """What an entry of theirs does to a connection to this door, if it takes it past the sidecar for certain.

        The rules are asked once for all doors that are alike to them.
        """
        number = str(door.number)
        alike = (
            number if number in self._ports else "",
            door.assumed,
            *(one for one in self._ranges if _within(one, door.port.address)),
        )
        if alike not in self._steps:
            dial = Dial(door.port.address, door.number, assumed=door.assumed)
            self._steps[alike] = tracing.outbound(CALL, self.side, dial)
        step = self._steps[alike]
        certain = not step.assumed or "range" not in step.entry
        return step if step.decision is Decision.DIRECT and step.entry and certain else None


@lru_cache(maxsize=65536)
def _within(range_: str, address: str) -> bool:
    return covers(range_, f"{address}/32")


def all_callers(scene: Scene) -> Sequence[Callers]:
    """The workloads looked at of which something leaves past the sidecar, those with the same script together."""
    alike: dict[object, list[WorkloadView]] = {}
    for view in scene.workloads:
        with suppress(InvalidObject):
            lists = (OUTBOUND_PORTS, EXCLUDED_RANGES, INCLUDED_RANGES, INTERFACES)
            if view.meshed and view.script and any(map(view.wanted.of, lists)):
                alike.setdefault((view.script, id(view.installation)), []).append(view)
    return [Callers(views) for views in alike.values()]


def doors(service: Object) -> Iterator[Door]:
    """The ports of a Service that has a ClusterIP; one in a file, which has none yet, is given a stand-in."""
    assumed = lacks_address(service)
    for index, port in enumerate(services.ports(service)):
        if port.address or assumed:
            address = StandIns().service if assumed else port.address
            yield Door(service, index, port._replace(address=address), assumed)


def side(view: WorkloadView) -> Side:
    """The workload's next pod, at an address that stands in for the one that it will have."""
    return side_after(view.next, view.workload.label, StandIns().of(view.subject, 0), assumed=True)


def is_balanced_before(scene: Scene) -> bool:
    """Whether Cilium picks the endpoint before any rule is asked, so that no rule sees a ClusterIP."""
    found = socket_balancing(scene.cluster).found
    if found:
        scene.notes[f"Services are not followed: Cilium's socket load balancing ({found}) is asked before any rule"] = (
            None
        )
    return bool(found)
