"""The verbs: a file each, with its usage text and what it does. None imports another."""

from collections.abc import Generator, Mapping
from importlib import import_module
from typing import Protocol

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.operations.rights import Rights
from kubectl_fsm.reports import Event, Report

VERBS: Mapping[str, str] = {
    "exclude-port": "exclude ports from interception",
    "exclude-ip": "exclude outbound IP ranges from interception",
    "include-ip": "intercept only these outbound IP ranges",
    "exclude-interface": "exclude network interfaces from interception",
    "exclusions": "show what is configured, and by whom",
    "status": "show the mesh at a glance: what runs outdated rules",
    "rules": "show the effective rules of pods, and why",
    "trace": "follow one connection: who takes it, and which rule says so",
    "check": "find what is wrong, in the cluster or in manifests, and what mends it",
    "restart": "roll the workloads whose pods run outdated rules",
    "completion": "make shells complete kubectl fsm as they complete kubectl",
    "version": "show the versions of the plugin and of the meshes",
}
"""Each verb with what it does, in the order of the help."""


class Command(Protocol):
    """A parsed command line, ready to run."""

    def run(self, connect: Connect) -> Generator[Event, bool, Report]:
        """Do it: yield events while at work, return the report. Raises `FsmError`."""

    def rights(self, cluster: Cluster) -> Rights:
        """What it asks of the API server, on this cluster. Raises `FsmError` where that cannot be told."""


class Verb(Protocol):
    """What a verb's module has."""

    USAGE: str
    FORMATS: tuple[str, ...]

    def parse(self, arguments: Arguments) -> Command:
        """The command that the words mean. Raises `UsageError`."""


def load(verb: str) -> Verb:
    """The module of a verb; only the one that is asked for is loaded."""
    module: Verb = import_module(f"kubectl_fsm.commands.{verb.replace('-', '_')}")
    return module
