"""`kubectl fsm exclusions`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import SERVICES, Cluster, Connect
from kubectl_fsm.commands.options import FILES, general
from kubectl_fsm.errors import UsageError
from kubectl_fsm.operations import configured, meshes, needs
from kubectl_fsm.operations.export import STYLES, export
from kubectl_fsm.operations.rights import READ, Need, Right, Rights
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Event, ExclusionsReport, Note, Warned

FORMATS = ("wide", "json", "yaml", "name")
USAGE = f"""Show what is configured: the mesh-wide lists, each workload's pod template, annotations that are on a pod but not
on its template, and Services that FSM leaves out of routing by its own annotations.

An export (--export) writes the mesh-wide lists as arguments of a new installation (helm-set, values; the chart reads
them at the first installation only) or as a patch of the MeshConfig.

Usage:
  kubectl fsm exclusions [options]

Examples:
  kubectl fsm exclusions -n shop
  kubectl fsm exclusions -A -o wide                            # with who wrote it and when
  kubectl fsm exclusions --export=patch > exclusions.yaml

Options:
      --export={"|".join(STYLES)}  the mesh-wide lists in this form
{FILES}{general(*FORMATS)}"""


class Exclusions(NamedTuple):
    """What to look at: one namespace, the cluster's default one, or all."""

    namespace: str
    everywhere: bool
    control_plane: str
    export: str

    def run(self, connect: Connect) -> Generator[Event, bool, ExclusionsReport]:
        cluster = connect()
        installations = meshes.find(cluster, self.control_plane)
        if self.export:
            installation = meshes.only(installations)
            if self.export != "patch":
                yield Note(
                    f"for new installations of {installation.mesh.title}: the chart's values are read once, at the first"
                )
            return ExclusionsReport((), cluster.origin, export(installation, self.export))
        scope = "" if self.everywhere else self.namespace or cluster.namespace
        found = configured.collect(cluster, installations, scope, narrowed=bool(self.control_plane))
        if found.unreadable:
            yield Warned(f"without the right to list {', '.join(found.unreadable)}, what they configure is not shown")
        return ExclusionsReport(found.items, cluster.origin)

    def rights(self, cluster: Cluster) -> Rights:
        if self.export:
            return Rights((READ,), [*needs.of_meshes(cluster, self.control_plane)])
        selection = Selection((), self.namespace, self.everywhere)
        services = Need(Right("list", SERVICES, selection.scope(cluster)), "which FSM leaves out is not shown")
        return Rights((READ,), [*needs.of_looking(cluster, self.control_plane, selection), services])


def parse(arguments: Arguments) -> Exclusions:
    style = arguments.choice("--export", STYLES)
    if style and arguments.text("--output"):
        raise UsageError("--export has its own format; leave -o out")
    namespace, offline = arguments.text("--namespace"), bool(arguments.many("--filename"))
    everywhere = arguments.flag("--all-namespaces") or (offline and not namespace)
    return Exclusions(namespace, everywhere, arguments.text("--fsm-namespace"), style)
