"""Connections through the Services of the mesh that one side takes past its sidecar and the other does not."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

from kubectl_fsm import fields, interception, verdicts
from kubectl_fsm.checks import backends, mending, policies
from kubectl_fsm.checks.doors import CALL, Callers, Door, bypassing, doors, is_balanced_before, kindred, side
from kubectl_fsm.checks.kept import kept, removal
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, Scene, WorkloadView, label
from kubectl_fsm.cluster.interface import SERVICES
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import Entry
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    INBOUND_PORTS,
    INCLUDED_RANGES,
    INTERFACES,
    OUTBOUND_PORTS,
    ExclusionList,
)
from kubectl_fsm.services import Endpoint, is_headless
from kubectl_fsm.tracing import NO_RULES, Dial, Result, Side, Step

_NAMED = 2
_PAST = Side("a client", "", assumed=True, ruleset=NO_RULES)
"""A client whose connections are not taken."""


class _Mismatch(NamedTuple):
    """A door that callers take past their sidecars, while those of the servers take what comes.

    `wide` where the callers' rules decide so by more than the door's port or its address alone. `dialling` are the
    callers with what their rules do, among them those of `own`, the workloads behind the door, who do not count;
    `servers` come with the port that they are reached at.
    """

    door: Door
    wide: bool
    dialling: Sequence[tuple[Callers, Step]]
    own: AbstractSet[str]
    servers: Sequence[tuple[WorkloadView, int]]

    def outside(self, some: Callers) -> Iterator[WorkloadView]:
        """Those of the callers that count."""
        return (view for view in some.views if view.workload.uid not in self.own)

    @property
    def callers(self) -> Iterator[WorkloadView]:
        return (view for some, _ in self.dialling for view in self.outside(some))

    @property
    def total(self) -> int:
        """How many callers there are."""
        return sum(len(some.views) - len(some.uids & self.own) for some, _ in self.dialling)


@check(
    "plain-to-sidecar",
    "warning",
    WorkloadView,
    holds="What bypasses the client's sidecar bypasses the server's as well.",
    why="The server's sidecar gets plain text where it wants TLS: the connection is expected to fail.",
    remedy="Exclude the target port inbound at the server, or take the exclusion out at the client. Wider ranges are told by range-over-services.",
)
def plain_to_sidecar(view: WorkloadView) -> Iterator[Seen]:
    for found in view.scene.once(_by_first_caller).get(id(view), ()):
        service, total = found.door.service, found.total
        home, servers = fields.namespace(service), [server for server, _ in found.servers]
        dial, go = ("dials", "it goes") if total == 1 else ("dial", "they go")
        reasons = dict.fromkeys(_reason(step) for _, step in found.dialling)
        seen = (
            f"where {_names([*islice(found.callers, _NAMED)], home, total)} {dial} port {found.door.number}, {go} past the "
            f"sidecar ({'; '.join(reasons)}), and the sidecar of {_names(servers, home, len(servers))} wants TLS"
        )
        guarded = any(policies.is_guarded(server, port) for server, port in found.servers)
        yield Seen(seen, _withdrawal(found) if guarded else _counterpart(found.servers), found.door.path, service)


@check(
    "range-over-services",
    "warning",
    ListHolder,
    holds="A range that bypasses the sidecar holds no Service of the mesh.",
    why="The server's sidecar gets plain text where it wants TLS: connections to these Services are expected to fail.",
    remedy="Exclude just what is outside of the mesh; where ranges are included, include the Services' addresses as well.",
)
def range_over_services(view: ListHolder) -> Iterator[Seen]:
    holder = view.installation if isinstance(view, MeshView) else view
    for entry, found in view.scene.once(_by_range).get(id(holder), {}).items():
        names = [f"{label(service)}.{fields.namespace(service)}" for service in found.values()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        which = f"{len(names)} Services" if len(names) > 1 else "1 Service"
        included = entry.startswith("outside ")
        seen = (
            f"{'being ' if included else ''}{entry} takes connections to {which} of the mesh past the sidecar "
            f"({', '.join(names[:_NAMED])}{more}), where the servers' sidecars want TLS"
        )
        pods = ", of headless ones those of their pods" if any(map(is_headless, found.values())) else ""
        mend = (
            f"include the addresses of these Services as well{pods}"
            if included
            else "exclude just what is outside of the mesh"
        )
        yield Seen(seen, mend, view.place(_list_of(entry), entry.rpartition(" ")[2]))


@check(
    "tls-to-application",
    "info",
    WorkloadView,
    holds="What bypasses the server's sidecar bypasses the client's as well.",
    why="A client's sidecar speaks TLS, and the application gets it. Clients outside of the mesh are not concerned.",
    remedy="Exclude the Service's port outbound at the clients in the mesh, if it has any.",
)
def tls_to_application(view: WorkloadView) -> Iterator[Seen]:
    if not view.whole_script or not (view.sound.of(INBOUND_PORTS) or view.sound.of(INTERFACES)):
        return
    own = view.annotation_path(view.installation.injector.annotation(INBOUND_PORTS))
    for service in backends.selecting(view):
        for door in _doors(view.scene, service):
            if step := _open(view, door):
                at = f"port {door.number} of {label(service)}"
                seen = f"{at} leads past the sidecar ({_reason(step)}), and a client's sidecar speaks TLS to it"
                mend = f"exclude port {door.number} outbound where it is called from, if that is in the mesh"
                yield Seen(seen, mend, own if own[-1] in view.annotations else ())


def _by_first_caller(scene: Scene) -> Mapping[int, Sequence[_Mismatch]]:
    """The mismatches by a port or an address alone, by the first of their callers, which tells them. Raises `Forbidden`."""
    found: dict[int, list[_Mismatch]] = {}
    for one in scene.once(_mismatches):
        if not one.wide:
            found.setdefault(id(next(one.callers)), []).append(one)
    return found


def _by_range(scene: Scene) -> Mapping[int, Mapping[str, Mapping[tuple[str, str], Object]]]:
    """The Services of the other ones by what holds the entry that decides (a mesh, a workload), and by the entry."""
    found: dict[int, dict[str, dict[tuple[str, str], Object]]] = {}
    for one in scene.once(_mismatches):
        service = one.door.service
        for some, step in one.dialling if one.wide else ():
            holders = [id(some.views[0].installation)] if MeshView.source in step.sources else []
            if {*step.sources} - {MeshView.source}:
                holders += map(id, one.outside(some))
            for holder in holders:
                services = found.setdefault(holder, {}).setdefault(step.entry, {})
                services[fields.namespace(service), fields.name(service)] = service
    return found


def _mismatches(scene: Scene) -> Sequence[_Mismatch]:
    """Every door that is dialled past a sidecar to one that wants TLS. Raises `Forbidden`."""
    if not scene.once(kindred) or scene.once(is_balanced_before):
        return ()
    return [found for service in scene.wide(SERVICES) for found in _of_service(scene, service)]


def _of_service(scene: Scene, service: Object) -> Sequence[_Mismatch]:
    """Those of one Service; where it cannot be read there is a note."""
    try:
        return [found for door in _doors(scene, service) for found in _of_door(scene, door)]
    except InvalidObject as error:
        scene.notes[f"not looked at: {error.message}"] = None
        return ()


def _doors(scene: Scene, service: Object) -> Iterator[Door]:
    return doors(service, backends.pod_address(scene, service) if is_headless(service) else "")


def _of_door(scene: Scene, door: Door) -> Iterator[_Mismatch]:
    steps = bypassing(scene, door)
    if not steps or policies.left_out(scene, door.service):
        return
    behind = backends.behind(scene, door.service)
    own = {view.workload.uid for view in behind}
    dialling = [(some, step) for some, step in steps if not some.uids <= own]
    servers = [
        (view, target)
        for view in (behind if dialling else ())
        if (target := door.target(view.template)) and _refuses(view, target)
    ]
    if not servers or all(policies.admitted(scene, door.service, target) for _, target in servers):
        return
    for wide in (False, True):
        if found := [(some, step) for some, step in dialling if _is_wide(step.entry) is wide]:
            yield _Mismatch(door, wide, found, own, servers)


def _is_wide(entry: str) -> bool:
    """Whether an entry that decides is for more than one port or one address."""
    return not (entry.startswith("port ") or (entry.startswith("range ") and entry.endswith("/32")))


def _list_of(entry: str) -> ExclusionList:
    """The list that an entry that decides is in."""
    if entry.startswith("port "):
        return OUTBOUND_PORTS
    if entry.startswith("interface "):
        return INTERFACES
    return INCLUDED_RANGES if entry.startswith("outside ") else EXCLUDED_RANGES


def _refuses(view: WorkloadView, port: int) -> bool:
    """Whether a workload's sidecar is expected to refuse what comes to this port as plain text."""
    if not view.whole_script:
        return False
    server = side(view)
    (way,) = verdicts.follow(CALL, _PAST, [_straight(server, port)], {server.address: server}, None).ways
    return way.result is Result.PLAIN_TO_SIDECAR and way.fails


def _straight(server: Side, port: int) -> Dial:
    return Dial(server.address, port, (Endpoint(server.address, port, share=1.0),), assumed=True)


def _open(view: WorkloadView, door: Door) -> Step | None:
    """How a workload's rules let past its sidecar what other sidecars bring by this door, if that is expected to fail."""
    scene, target = view.scene, door.target(view.template)
    mesh = MeshView(scene, view.installation)
    if (
        target is None
        or not mesh.whole_script
        or policies.left_out(scene, door.service)
        or scene.once(is_balanced_before)
    ):
        return None
    server, rules = side(view), interception.read_script(mesh.whole_script).ruleset
    client = Side("a client", "", assumed=True, ruleset=rules, mesh=str(view.installation), tls=server.tls)
    dial = door.dial(Endpoint(server.address, target, share=1.0))
    (way,) = verdicts.follow(CALL, client, [dial], {server.address: server}, None).ways
    if way.result is not Result.SIDECAR_TO_PLAIN or not way.fails or way.inbound is None or not way.inbound.entry:
        return None
    agreed = bypassing(scene, door)
    return None if agreed else way.inbound


def _reason(step: Step) -> str:
    """`port 6379, MeshConfig`."""
    return ", ".join((step.entry, *step.sources))


def _names(views: Sequence[WorkloadView], home: str, count: int) -> str:
    """`deploy/web, sts/db in data and 3 more` of so many, those of other namespaces than `home` with theirs."""
    names = [one.workload.label if one.workload.namespace == home else str(one.subject) for one in views[:_NAMED]]
    return ", ".join(names) + (f" and {count - len(names)} more" if count > len(names) else "")


def _counterpart(servers: Sequence[tuple[WorkloadView, int]]) -> str:
    """What excludes the ports inbound at the servers: commands, or what to do in files."""
    lines = [(view, mending.addition(view, INBOUND_PORTS, [str(port)])) for view, port in servers]
    named = (line if mending.is_command(line) else f"{view.workload.label}: {line}" for view, line in lines)
    return mending.together(servers[0][0].scene, named)


def _withdrawal(found: _Mismatch) -> str:
    """What takes the entries out that decide, where the callers have them: commands, or what to do in files."""
    lines: dict[str, None] = {}
    for some, step in found.dialling:
        excluded, value = _list_of(step.entry), step.entry.rpartition(" ")[2]
        owners: list[ListHolder] = []
        if MeshView.source in step.sources:
            owners.append(MeshView(some.views[0].scene, some.views[0].installation))
        if {*step.sources} - {MeshView.source}:
            owners += found.outside(some)
        for owner in owners:
            line = "; ".join(
                removal(owner, one) for one in kept(owner, excluded) if one.entry.key == Entry(excluded, value).key
            )
            named = isinstance(owner, WorkloadView) and not mending.is_command(line)
            lines[f"{owner.kubectl_name}: {line}" if named else line] = None
    return mending.together(found.servers[0][0].scene, lines)
