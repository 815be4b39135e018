"""`kubectl fsm exclude-port`."""

from collections.abc import Sequence

from kubectl_fsm import exclusions
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.commands import editing
from kubectl_fsm.commands.options import EDITING, SCOPE, general
from kubectl_fsm.meshes import INBOUND_PORTS, OUTBOUND_PORTS

FORMATS = editing.FORMATS
USAGE = f"""Exclude TCP ports from interception: connections to them bypass the sidecar.

The outbound list is about what a pod dials (a Service's port, not its target port), the inbound list about what
reaches the pod (the container's port). iptables takes 15 ports in one direction, mesh-wide and pod-scoped together.

Usage:
  kubectl fsm exclude-port [options] [--] [PORT...]

Examples:
  kubectl fsm exclude-port 6379                                # the whole mesh, outbound
  kubectl fsm exclude-port 8000-8003,9090 --inbound --workload=deploy/web -n shop
  kubectl fsm exclude-port --remove 6379
  kubectl fsm exclude-port 6379 --dry-run --diff

Options:
      --inbound                    the inbound list
      --outbound                   the outbound list (the default); with --inbound both
{SCOPE}{EDITING}{general(*FORMATS)}"""


def parse(arguments: Arguments) -> editing.EditCommand:
    inbound, outbound = arguments.flag("--inbound"), arguments.flag("--outbound")
    lists = [OUTBOUND_PORTS] if outbound or not inbound else []
    return editing.command(arguments, [*lists, INBOUND_PORTS] if inbound else lists, arguments.words("PORT"), _values)


def _values(words: Sequence[str], *, removing: bool) -> editing.Resolve:
    ports = exclusions.port_names(words) if removing else exclusions.parse_ports(words)
    return lambda _: ports
