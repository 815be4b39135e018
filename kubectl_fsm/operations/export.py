"""The mesh-wide lists in the words of other tools."""

import re
import shlex
from collections.abc import Sequence

from kubectl_fsm import exclusions, fields
from kubectl_fsm.meshes import Installation

STYLES = ("helm-set", "values", "patch")


def export(installation: Installation, style: str) -> str:
    """The lists as `--set=` arguments (`helm-set`), chart values or a merge patch of the MeshConfig."""
    lists = {
        found.field: list(exclusions.raw_values(found, installation.spec)) for found in installation.injector.lists
    }
    chart = installation.mesh.program
    if style == "patch":
        return fields.as_yaml({"spec": {"traffic": lists}})
    if style == "values":
        return fields.as_yaml({chart: lists})
    given = {name: values for name, values in lists.items() if values}
    return "".join(f"{shlex.quote(f'--set={chart}.{name}={_set(values)}')}\n" for name, values in given.items())


def _set(values: Sequence[object]) -> str:
    """A list as `helm --set` reads it (Helm's strvals); it has no way to write an empty one, which is the default."""
    return "{" + ",".join(re.sub(r"([\\,{}])", r"\\\1", str(value)) for value in values) + "}"
