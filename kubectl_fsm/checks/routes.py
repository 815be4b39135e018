"""Connections through the Services of the mesh that one side takes past its sidecar and the other does not."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from kubectl_fsm import fields, interception, verdicts
from kubectl_fsm.checks import backends, mending, policies
from kubectl_fsm.checks.doors import CALL, Door, bypassing, doors, is_balanced_before, kindred, side
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, Scene, WorkloadView, label
from kubectl_fsm.cluster.interface import SERVICES
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import INBOUND_PORTS, INTERFACES
from kubectl_fsm.operations.instances import target_port
from kubectl_fsm.services import Endpoint
from kubectl_fsm.tracing import NO_RULES, Dial, Result, Side, Step

_NAMED = 2
_PAST = Side("a client", "", assumed=True, ruleset=NO_RULES)
"""A client whose connections are not taken."""


class _Mismatch(NamedTuple):
    """A door that callers take past their sidecars, while those of the servers take what comes.

    `callers` are the first few of `total`, `reasons` the entries by which their rules decide; `servers` come with the
    port that they are reached at.
    """

    door: Door
    callers: Sequence[WorkloadView]
    total: int
    reasons: Sequence[str]
    servers: Sequence[tuple[WorkloadView, int]]


@check(
    "plain-to-sidecar",
    "warning",
    WorkloadView,
    holds="What bypasses the client's sidecar bypasses the server's as well.",
    why="The server's sidecar gets plain text where it wants TLS: the connection is expected to fail.",
    remedy="Exclude the target port inbound at the server, or take the exclusion out at the client.",
)
def plain_to_sidecar(view: WorkloadView) -> Iterator[Seen]:
    for found in view.scene.once(_mismatches):
        if found.callers[0] is view:
            service = found.door.service
            home = fields.namespace(service)
            servers = [server for server, _ in found.servers]
            seen = (
                f"{_names(found.callers, home, found.total)} {'dials' if found.total == 1 else 'dial'} port {found.door.number} "
                f"past the sidecar ({'; '.join(found.reasons)}), and the sidecar of {_names(servers, home, len(servers))} wants TLS"
            )
            yield Seen(seen, _counterpart(found.servers), found.door.path, service)


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
        for door in doors(service):
            if step := _open(view, door):
                at = f"port {door.number} of {label(service)}"
                seen = f"{at} leads past the sidecar ({_reason(step)}), and a client's sidecar speaks TLS to it"
                mend = f"exclude port {door.number} outbound where it is called from, if that is in the mesh"
                yield Seen(seen, mend, own if own[-1] in view.annotations else ())


def _mismatches(scene: Scene) -> Sequence[_Mismatch]:
    """Every door that is dialled past a sidecar to one that wants TLS. Raises `Forbidden`."""
    if not scene.once(kindred) or scene.once(is_balanced_before):
        return ()
    return [found for service in scene.wide(SERVICES) for found in _of_service(scene, service)]


def _of_service(scene: Scene, service: Object) -> Sequence[_Mismatch]:
    """Those of one Service; where it cannot be read there is a note."""
    try:
        return [found for door in doors(service) if (found := _mismatch(scene, door))]
    except InvalidObject as error:
        scene.notes[f"not looked at: {error.message}"] = None
        return ()


def _mismatch(scene: Scene, door: Door) -> _Mismatch | None:
    steps = bypassing(scene, door)
    if not steps or policies.left_out(scene, door.service):
        return None
    behind = backends.behind(scene, door.service)
    own = {view.workload.uid for view in behind}
    dialling = [(some, _reason(step)) for some, step in steps if not some.uids <= own]
    servers = [
        (view, target)
        for view in (behind if dialling else ())
        if (target := target_port(door.service, door.place, view.template)) and _refuses(view, target)
    ]
    if not servers or all(policies.admitted(scene, door.service, target) for _, target in servers):
        return None
    outside = (view for some, _ in dialling for view in some.views if view.workload.uid not in own)
    total = sum(len(some.views) - len(some.uids & own) for some, _ in dialling)
    reasons = list(dict.fromkeys(reason for _, reason in dialling))
    return _Mismatch(door, [*islice(outside, _NAMED)], total, reasons, servers)


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
    scene, target = view.scene, target_port(door.service, door.place, view.template)
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
    remote = servers[0][0].scene.cluster.remote
    lines = [(view, mending.addition(view, INBOUND_PORTS, [str(port)])) for view, port in servers]
    named = (line if line.startswith("kubectl ") else f"{view.workload.label}: {line}" for view, line in lines)
    return (" && " if remote else "; ").join(named)
