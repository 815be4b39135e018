"""`kubectl fsm version`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm import __version__
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Connect
from kubectl_fsm.commands.options import GLOBAL
from kubectl_fsm.operations import meshes
from kubectl_fsm.reports import Event, MeshVersion, VersionReport

FORMATS = ("json", "yaml")
USAGE = f"""Show the version of the plugin, and of every mesh of the cluster with the generation of its injector.

Usage:
  kubectl fsm version [options]

Examples:
  kubectl fsm version
  kubectl fsm version --client -o json

Options:
      --client                     the plugin's version only, without asking a cluster
{GLOBAL}"""


class Version(NamedTuple):
    """What to show: the client alone, or the cluster's meshes too."""

    client: bool
    control_plane: str

    def run(self, connect: Connect) -> Generator[Event, bool, VersionReport]:
        yield from ()
        if self.client:
            return VersionReport(__version__, "", None)
        cluster = connect()
        found = [
            MeshVersion(mesh.mesh.name, mesh.version, mesh.namespace, mesh.injector.name)
            for mesh in meshes.find(cluster, self.control_plane)
        ]
        return VersionReport(__version__, cluster.origin, found)


def parse(arguments: Arguments) -> Version:
    return Version(arguments.flag("--client"), arguments.text("--fsm-namespace"))
