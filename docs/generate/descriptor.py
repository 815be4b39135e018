"""plugin.yaml: the plugin in the format of kubectl's plugin descriptors, from the usage texts of the verbs.

kubectl read such files up to 1.11 and finds plugins by their name since; tools that list plugins still know the format:
https://v1-11.docs.kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/ .
"""

from typing import Any

from kubectl_fsm import cli, commands
from kubectl_fsm.usage import Option, Usage, read
from release.krew import as_yaml

_HEAD = "# Written by `make docs` from the usage texts of the verbs.\n"
_KUBECTL = {"namespace", "context", "cluster", "user", "kubeconfig", "as", "as-group", "request-timeout", "v", "help"}
"""Flags that kubectl has for every command; a descriptor names only those of the plugin."""
_EXAMPLES = ("exclude-port", "rules", "trace", "check", "restart")
"""Verbs whose first example shows what the plugin is for."""


def page(_: str) -> str:
    """The whole file; nothing of what is there counts."""
    verbs = {verb: read(commands.load(verb).USAGE) for verb in commands.VERBS}
    top = read(cli.usage())
    document = {
        "name": "fsm",
        "shortDesc": "steer which traffic bypasses the sidecar of FSM, osm-edge and OSM",
        "longDesc": top.description,
        "example": "\n".join(verbs[verb].examples[0].command for verb in _EXAMPLES),
        "command": "./kubectl-fsm",
        "flags": _flags(top),
        "tree": [_verb(verb, usage) for verb, usage in verbs.items()],
    }
    return _HEAD + as_yaml(document)


def _verb(verb: str, usage: Usage) -> dict[str, Any]:
    return {
        "name": verb,
        "shortDesc": commands.VERBS[verb],
        "longDesc": usage.description,
        "example": "\n".join(example.command for example in usage.examples),
        "command": f"./kubectl-fsm {verb}",
        "flags": _flags(usage),
    }


def _flags(usage: Usage) -> list[dict[str, str]]:
    """Those of a command alone: kubectl hands none on from a command to what is below it."""
    found = [_flag(option) for options in usage.sections.values() for option in options]
    return [flag for flag in found if flag["name"] not in _KUBECTL]


def _flag(option: Option) -> dict[str, str]:
    short = {"shorthand": option.short.removeprefix("-")} if option.short else {}
    default = {"defValue": option.default} if option.default else {}
    return {"name": option.name.removeprefix("--"), **short, "desc": option.text, **default}
