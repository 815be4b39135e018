"""The mesh-wide lists in the words of other tools."""

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
    return "".join(f"{shlex.quote(f'--set={chart}.{name}={_set(values)}')}\n" for name, values in lists.items())


def _set(values: Sequence[object]) -> str:
    """A list as `helm --set` reads it: commas inside a value are escaped."""
    return "{" + ",".join(str(value).replace("\\", "\\\\").replace(",", "\\,") for value in values) + "}"
