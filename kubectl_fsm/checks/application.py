"""What an application does that the mesh has for itself: its ports and its user."""

from collections.abc import Iterator, Mapping

from kubectl_fsm import fields, workloads
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import WorkloadView
from kubectl_fsm.fields import Object, Step
from kubectl_fsm.meshes import HEALTH_CHECK_PORT, INBOUND_RESERVED_PORTS, OSM, RESERVED_PORTS, SIDECAR_UID


@check(
    "container-on-reserved-port",
    "error",
    WorkloadView,
    holds="No container of the application listens on a port of the mesh.",
    why="Containers of a pod share its ports: of the application and the sidecar only one can listen there.",
    remedy="Let the application listen on another port.",
)
def container_on_reserved_port(view: WorkloadView) -> Iterator[Seen]:
    taken = _taken(view)
    meets = view.injected and view.installation.adds_sidecar
    for place, container in _containers(view) if meets else ():
        for index, port in enumerate(fields.parts(container, "ports")):
            number = fields.number(port, "containerPort") or 0
            if number in taken and port.get("protocol", "TCP") == "TCP":
                seen = f"container {fields.text(container, 'name')} listens on {number}: {taken[number]}"
                field = (*view.template_path, *place, "ports", index, "containerPort")
                yield Seen(seen, f"let it listen on another port than {number}", field)


@check(
    "runs-as-sidecar",
    "error",
    WorkloadView,
    holds=f"No container of the application runs as user {SIDECAR_UID}.",
    why="The rules know the sidecar by its user: what another process of this user sends bypasses the sidecar.",
    remedy="Run the application as any other user.",
)
def runs_as_sidecar(view: WorkloadView) -> Iterator[Seen]:
    for place, container in _containers(view) if view.script else ():
        field, number = workloads.user(view.template, container)
        if number == SIDECAR_UID:
            where = (*view.template_path, *(() if field[0] == "spec" else place), *field)
            seen = f"container {fields.text(container, 'name')} runs as user {SIDECAR_UID}, the sidecar's"
            yield Seen(seen, f"set {fields.dotted(*where)} to another user", where)


def _containers(view: WorkloadView) -> Iterator[tuple[tuple[Step, ...], Object]]:
    """The application's containers and where they are; of a pod that is injected already not those of the mesh."""
    mesh = view.installation.mesh
    for place, container in workloads.side_by_side(view.template):
        if container.get("name") not in (mesh.sidecar, mesh.health_check):
            yield place, container


def _taken(view: WorkloadView) -> Mapping[int, str]:
    """The ports on which this mesh's sidecar listens, or what is put beside it."""
    ports = RESERVED_PORTS if view.installation.mesh is OSM else INBOUND_RESERVED_PORTS
    health_check = view.installation.injector.health_check
    return {port: use for port, use in ports.items() if health_check or port != HEALTH_CHECK_PORT}
