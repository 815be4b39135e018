"""The package `kubernetes` as a bundle has it: what runs credential plugins, and no more.

The whole package imports its generated models, and pydantic with them: 15 MB and a fifth of a second, for three modules
and a class.
"""

import ast
import shutil
from importlib.util import find_spec
from pathlib import Path

_WHOLE = ("config_exception", "dateutil", "exec_provider")
_NODE = "ConfigNode"
MODULES = [f"kubernetes.config.{name}" for name in (*_WHOLE, "kube_config")]


def write(folder: Path) -> None:
    """Write the package into `folder`. Raises LookupError where the installed one is no longer as it was."""
    spec = find_spec("kubernetes")
    if not spec or not spec.submodule_search_locations:
        raise LookupError("the package kubernetes is not installed")
    source = Path(spec.submodule_search_locations[0], "config")
    target = folder / "kubernetes" / "config"
    target.mkdir(parents=True, exist_ok=True)
    (target.parent / "__init__.py").write_text("", "utf-8")
    (target / "__init__.py").write_text("from .config_exception import ConfigException\n", "utf-8")
    for name in _WHOLE:
        shutil.copyfile(source / f"{name}.py", target / f"{name}.py")
    text = (source / "kube_config.py").read_text("utf-8")
    node = next((part for part in ast.parse(text).body if isinstance(part, ast.ClassDef) and part.name == _NODE), None)
    if not node:
        raise LookupError(f"kubernetes.config.kube_config has no {_NODE}")
    cut = ast.get_source_segment(text, node)
    (target / "kube_config.py").write_text(f"from .config_exception import ConfigException\n\n\n{cut}\n", "utf-8")
