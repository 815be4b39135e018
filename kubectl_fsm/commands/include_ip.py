"""`kubectl fsm include-ip`."""

from functools import partial

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.commands import editing
from kubectl_fsm.commands.options import EDITING, SCOPE, general
from kubectl_fsm.meshes import INCLUDED_RANGES
from kubectl_fsm.operations import ranges

FORMATS = editing.FORMATS
USAGE = f"""Intercept outbound connections to these IPv4 ranges only: everything outside them bypasses the sidecar.

This is not the undo of exclude-ip, which is `exclude-ip --remove`. The first range of an empty list takes all other
outbound traffic from the mesh, so that wants a yes. Excluded ranges and ports win over included ranges.

Usage:
  kubectl fsm include-ip [options] [--] [RANGE...]

Examples:
  kubectl fsm include-ip 10.0.0.0/8 --workload=deploy/web -n shop
  kubectl fsm include-ip --clear
{SCOPE}{EDITING}{general(*FORMATS)}"""


def parse(arguments: Arguments) -> editing.EditCommand:
    values = partial(ranges.values, namespace=arguments.text("--namespace"))
    return editing.command(arguments, [INCLUDED_RANGES], arguments.words("RANGE"), values)
