"""`kubectl fsm exclude-ip`."""

from functools import partial

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.commands import editing
from kubectl_fsm.commands.options import EDITING, SCOPE, general
from kubectl_fsm.meshes import EXCLUDED_RANGES
from kubectl_fsm.operations import ranges

FORMATS = editing.FORMATS
USAGE = f"""Exclude outbound IPv4 ranges from interception: connections to them bypass the sidecar.

A bare address becomes a /32. svc/NAME[.NAMESPACE] stands for a Service's ClusterIP, kubernetes-api for the API
server's, cloud-metadata for 169.254.169.254/32. The range is compared with the address that the pod dials.

Usage:
  kubectl fsm exclude-ip [options] [--] [RANGE...]

Examples:
  kubectl fsm exclude-ip 10.20.0.0/16
  kubectl fsm exclude-ip kubernetes-api cloud-metadata
  kubectl fsm exclude-ip svc/redis.cache --workload=deploy/web -n shop
  kubectl fsm exclude-ip --remove 10.20.0.0/16
{SCOPE}{EDITING}{general(*FORMATS)}"""


def parse(arguments: Arguments) -> editing.EditCommand:
    values = partial(ranges.values, namespace=arguments.text("--namespace"))
    return editing.command(arguments, [EXCLUDED_RANGES], arguments.words("RANGE"), values)
