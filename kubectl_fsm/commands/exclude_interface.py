"""`kubectl fsm exclude-interface`."""

from collections.abc import Sequence

from kubectl_fsm import exclusions
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.commands import editing
from kubectl_fsm.commands.options import EDITING, SCOPE, general
from kubectl_fsm.meshes import INTERFACES

FORMATS = editing.FORMATS
USAGE = f"""Exclude network interfaces from interception, in both directions and for the whole mesh.

A name that ends in + stands for every interface that starts with it.

Usage:
  kubectl fsm exclude-interface [options] [--] [INTERFACE...]

Examples:
  kubectl fsm exclude-interface net1
  kubectl fsm exclude-interface veth+ --dry-run
{SCOPE}{EDITING}{general(*FORMATS)}"""


def parse(arguments: Arguments) -> editing.EditCommand:
    return editing.command(arguments, [INTERFACES], arguments.words("INTERFACE"), _values)


def _values(words: Sequence[str], *, removing: bool) -> editing.Resolve:
    names = [word if removing else exclusions.parse_interface(word) for word in exclusions.split(words)]
    return lambda _: names
