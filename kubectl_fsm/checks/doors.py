"""What is dialled, the ports of Services, and who dials it past a sidecar."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import NamedTuple

from kubectl_fsm import services, tracing
from kubectl_fsm.checks.views import Scene, WorkloadView
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import beginning, range_bits
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Upcoming
from kubectl_fsm.meshes import EXCLUDED_RANGES, INCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations.destinations import lacks_address
from kubectl_fsm.operations.instances import StandIns, target_port
from kubectl_fsm.operations.sides import side_after
from kubectl_fsm.operations.trace import socket_balancing
from kubectl_fsm.services import Endpoint, ServicePort
from kubectl_fsm.tracing import Call, Decision, Dial, Side, Step

CALL = Call(uid=0)
"""Whoever calls: all users but the sidecar's meet the same rules."""


_RULING = (EXCLUDED_RANGES, INCLUDED_RANGES, INTERFACES)
"""The lists beside the ports' that rules of outbound connections are made from."""


class Door(NamedTuple):
    """A port of a Service: number `place` of its ports, at its ClusterIP, or at the pods where it is headless.

    `assumed`: the address is a stand-in.
    """

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

    def target(self, template: Object) -> int | None:
        """Where it leads to at a pod; None where it leads nowhere there. Of a headless Service nobody translates the port."""
        found = target_port(self.service, self.place, template)
        return None if services.is_headless(self.service) and found != self.number else found

    def dial(self, endpoint: Endpoint) -> Dial:
        """A connection to it that leads to this endpoint, whoever picks it."""
        return Dial(self.port.address, self.number, (endpoint,), (endpoint,), assumed=self.assumed)


class Callers:
    """Workloads to whose rules any door is the same: they have the same ranges, and one port or none of a door."""

    def __init__(self, views: Sequence[WorkloadView]) -> None:
        self.views = views
        wanted = views[0].sound
        found = (range_bits(one.value) for one in (*wanted.of(EXCLUDED_RANGES), *wanted.of(INCLUDED_RANGES)))
        self._ranges = [bits for bits in dict.fromkeys(found) if bits]
        self._steps: dict[object, Step] = {}

    @cached_property
    def uids(self) -> AbstractSet[str]:
        return {view.workload.uid for view in self.views}

    @cached_property
    def _side(self) -> Side:
        return side(self.views[0])

    def bypass(self, door: Door) -> Step | None:
        """What an entry of theirs does to a connection to this door, if it takes it past the sidecar for certain.

        The rules are asked once for all doors that are in the same ranges.
        """
        address = _number(door.port.address)
        alike = door.assumed, *(bits for bits in self._ranges if beginning(address, bits[1]) == bits[0])
        if alike not in self._steps:
            dial = Dial(door.port.address, door.number, assumed=door.assumed)
            self._steps[alike] = tracing.outbound(CALL, self._side, dial)
        step = self._steps[alike]
        certain = not step.assumed or "range" not in step.entry
        return step if step.decision is Decision.DIRECT and step.entry and certain else None


class Kin:
    """Workloads whose rules differ by nothing but the ports that they exclude.

    `ranges` are those that they exclude, first address and length; `wide` where something else may be for any address.
    """

    def __init__(self, views: Sequence[WorkloadView]) -> None:
        wanted = views[0].sound
        self.ranges = [bits for one in wanted.of(EXCLUDED_RANGES) if (bits := range_bits(one.value))]
        self.wide = bool(wanted.of(INCLUDED_RANGES) or wanted.of(INTERFACES))
        self._views = views
        self._everybody = Callers(views)
        self._by_port: dict[str, dict[object, list[WorkloadView]]] = {}
        for view in views:
            for entry in view.sound.of(OUTBOUND_PORTS):
                self._by_port.setdefault(entry.value, {}).setdefault(entry.sources, []).append(view)
        self._parts: dict[str, Sequence[Callers]] = {}

    @property
    def ports(self) -> Iterable[str]:
        """Those that any of them excludes."""
        return self._by_port

    def callers(self, door: Door) -> Sequence[Callers]:
        """Those that exclude the door's port, by where they do, and those that do not."""
        number = str(door.number)
        if number not in self._by_port:
            return [self._everybody]
        if number not in self._parts:
            excluding = list(self._by_port[number].values())
            known = {id(view) for views in excluding for view in views}
            others = [view for view in self._views if id(view) not in known]
            self._parts[number] = [Callers(views) for views in (*excluding, others) if views]
        return self._parts[number]


class Kindred:
    """All kin, looked up by what may take a connection past their sidecars."""

    def __init__(self, kin: Sequence[Kin]) -> None:
        self._kin = kin
        self._wide = [place for place, one in enumerate(kin) if one.wide]
        self._by_port: dict[str, list[int]] = {}
        self._by_range: dict[tuple[int, int], list[int]] = {}
        for place, one in enumerate(kin):
            for port in one.ports:
                self._by_port.setdefault(port, []).append(place)
            for bits in one.ranges:
                self._by_range.setdefault(bits, []).append(place)
        self._lengths = sorted({length for _, length in self._by_range})

    def __len__(self) -> int:
        return len(self._kin)

    def near(self, door: Door) -> Sequence[Kin]:
        """Those with an entry that may be for a door; to all others it is nothing special."""
        address = _number(door.port.address)
        around = ((beginning(address, length), length) for length in self._lengths)
        found = {*self._wide, *self._by_port.get(str(door.number), ())}
        found.update(place for bits in around for place in self._by_range.get(bits, ()))
        return [self._kin[place] for place in sorted(found)]


@lru_cache(maxsize=65536)
def _number(address: str) -> int:
    """An IPv4 address as a number."""
    bits = range_bits(f"{address}/32")
    return bits[0] if bits else -1


def bypassing(scene: Scene, door: Door) -> Sequence[tuple[Callers, Step]]:
    """The workloads looked at that dial a door past their sidecars, with what their rules do."""
    found = (some for kin in scene.once(kindred).near(door) for some in kin.callers(door))
    return [(some, step) for some in found if (step := some.bypass(door))]


def kindred(scene: Scene) -> Kindred:
    """The workloads looked at of which something leaves past the sidecar, those together whose ranges are the same."""
    alike: dict[object, list[WorkloadView]] = {}
    for view in scene.workloads:
        with suppress(InvalidObject):
            others = tuple(entry for entry in view.sound.entries if entry.list in _RULING)
            if view.meshed and view.whole_script and (others or view.sound.of(OUTBOUND_PORTS)):
                alike.setdefault((others, view.sound.settings, id(view.installation)), []).append(view)
    return Kindred([Kin(views) for views in alike.values()])


def doors(service: Object, pod: str = "") -> Iterator[Door]:
    """The ports of a Service; a headless one is dialled at the address of a `pod` behind it.

    A stand-in is given to one in a file, which has no ClusterIP yet, and where no such pod is known.
    """
    headless = services.is_headless(service)
    assumed = lacks_address(service) or (headless and not pod)
    for index, port in enumerate(services.ports(service)):
        if address := StandIns().service if assumed else pod if headless else port.address:
            yield Door(service, index, port._replace(address=address), assumed)


def side(view: WorkloadView) -> Side:
    """The workload's next pod, at an address that stands in for the one that it will have; invalid entries do not count."""
    found = view.next
    if view.whole_script:
        found = found._replace(coming=Upcoming(view.sound), next_script=view.whole_script, refused=())
    return side_after(found, view.workload.label, StandIns().of(view.subject, 0), assumed=True)


def is_balanced_before(scene: Scene) -> bool:
    """Whether Cilium picks the endpoint before any rule is asked, so that no rule sees a ClusterIP."""
    found = socket_balancing(scene.cluster).found
    if found:
        scene.notes[f"Services are not followed: Cilium's socket load balancing ({found}) is asked before any rule"] = (
            None
        )
    return bool(found)
