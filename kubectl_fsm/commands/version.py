"""`kubectl fsm version`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm import __version__
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import FsmError
from kubectl_fsm.operations import meshes, needs
from kubectl_fsm.operations.rights import READ, Rights
from kubectl_fsm.reports import Event, Failed, MeshVersion, VersionReport

FORMATS = ("json", "yaml")
USAGE = f"""Show the version of the plugin, and of every mesh of the cluster with the generation of its injector.

Usage:
  kubectl fsm version [options]

Examples:
  kubectl fsm version
  kubectl fsm version --client -o json

Options:
      --client                     the plugin's version only, without asking a cluster
{general(*FORMATS)}"""


class Version(NamedTuple):
    """What to show: the client alone, or the cluster's meshes too."""

    client: bool
    control_plane: str

    def run(self, connect: Connect) -> Generator[Event, bool, VersionReport]:
        if self.client:
            return VersionReport(__version__, "", None)
        try:
            cluster = connect()
            found = meshes.find(cluster, self.control_plane)
        except FsmError as error:
            yield Failed(error)
            return VersionReport(__version__, "", None)
        meshes_found = [MeshVersion(one.mesh.name, one.version, one.namespace, one.injector.name) for one in found]
        return VersionReport(__version__, cluster.origin, meshes_found)

    def rights(self, cluster: Cluster) -> Rights:
        return Rights((READ,), [*needs.of_meshes(cluster, self.control_plane)])


def parse(arguments: Arguments) -> Version:
    return Version(arguments.flag("--client"), arguments.text("--fsm-namespace"))
