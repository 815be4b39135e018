"""`kubectl fsm status`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import BUDGETS, Cluster, Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.operations import needs
from kubectl_fsm.operations.glance import glance
from kubectl_fsm.operations.rights import READ, Need, Right, Rights
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Event, StatusReport

FORMATS = ("wide", "json", "yaml", "name")
USAGE = f"""The mesh at a glance: workloads, what their pods run, what is outdated and by what, and what stands in the way.

Usage:
  kubectl fsm status [options]

Examples:
  kubectl fsm status -A
  kubectl fsm status -A --outdated -o name | xargs -L1 kubectl fsm restart
  kubectl fsm status -n shop --exit-code                       # in a script

Options:
      --outdated                   only workloads whose pods run outdated rules
      --exit-code                  exit with 3 where a pod runs outdated rules
{general(*FORMATS)}"""


class Status(NamedTuple):
    """Where to look, and what to show."""

    namespace: str
    everywhere: bool
    control_plane: str
    only_outdated: bool
    exit_code: bool

    def run(self, connect: Connect) -> Generator[Event, bool, StatusReport]:
        yield from ()
        cluster = connect()
        scope = "" if self.everywhere else self.namespace or cluster.namespace
        report = glance(cluster, scope, self.control_plane)
        return report._replace(only_outdated=self.only_outdated, exit_code=self.exit_code)

    def rights(self, cluster: Cluster) -> Rights:
        selection = Selection((), self.namespace, self.everywhere)
        budgets = Need(Right("list", BUDGETS, selection.scope(cluster)), "what they hold back is not shown")
        return Rights((READ,), [*needs.of_looking(cluster, self.control_plane, selection), budgets])


def parse(arguments: Arguments) -> Status:
    return Status(
        arguments.text("--namespace"),
        arguments.flag("--all-namespaces"),
        arguments.text("--fsm-namespace"),
        arguments.flag("--outdated"),
        arguments.flag("--exit-code"),
    )
