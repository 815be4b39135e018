"""`kubectl fsm check`."""

from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments, nearest
from kubectl_fsm.checks import catalogue, silence
from kubectl_fsm.checks.model import SEVERITIES
from kubectl_fsm.checks.rights import of_checks
from kubectl_fsm.checks.run import UNREADABLE, look, text
from kubectl_fsm.checks.views import Scene
from kubectl_fsm.cluster.interface import NAMESPACES, Cluster, Connect
from kubectl_fsm.commands.options import FILES, general
from kubectl_fsm.errors import Forbidden, UsageError
from kubectl_fsm.operations import meshes, needs, targets
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.rights import ORACLE, READ, Rights
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import CatalogueReport, CheckReport, Event, Note

FORMATS = ("wide", "short", "json", "yaml", "name", "junit", "sarif")
_LIST_FORMATS = ("wide", "json", "yaml", "name")
USAGE = f"""Walk the troubleshooting guide: how pods come into the mesh, whether they started, whether the lists are valid and do
what they look like, and what stands at the other end. Every finding names the command that mends it.

TARGET is NAME (a pod) or KIND/NAME (a workload); of these the cluster's injector is asked what their next pods will be,
without making any. Without a TARGET, everything in the namespace is checked. The exit code is 1 where something of the
asked severity is found.

Usage:
  kubectl fsm check [options] [--] [TARGET...]

Examples:
  kubectl fsm check web-58d4f8ff58-wtz4f -n shop
  kubectl fsm check -A --severity error -o junit > report.xml
  kubectl fsm check -f deploy/ -o sarif                        # in CI, without a cluster
  kubectl fsm check -f -                                       # what helm template or kustomize build print
  kubectl fsm check --list -o wide

Options:
  -l, --selector=SELECTOR          pods with these labels
      --only=CHECKS                these checks and no others, such as init-failed,outdated (repeatable)
      --skip=CHECKS                all but these (repeatable)
      --severity={"|".join(SEVERITIES)}  this severity and worse; warning if nothing is said
      --from-injector              ask the injector about everything, which has it issue a certificate for each workload
      --list                       show the checks, and look at nothing
{FILES}{general(*FORMATS)}
A file .kubectl-fsm.yaml in the current folder may silence checks, with the reason: docs/checks.md.
"""


class Check(NamedTuple):
    """What to look at, and which checks look."""

    selection: Selection
    control_plane: str
    checks: Sequence[str]
    ask: bool = False

    def run(self, connect: Connect) -> Generator[Event, bool, CheckReport]:
        silenced = silence.read(Path(silence.FILE), [*catalogue.CHECKS, UNREADABLE.identity])
        scene = self._scene(connect())
        if not scene.subjects:
            _require_namespace(scene)
            yield Note(f"no workloads and no pods found in {self.selection.described(scene.cluster)}")
        checks = [one for one in map(catalogue.CHECKS.__getitem__, self.checks) if self.ask or not one.asks]
        return look(scene, checks, silenced, detailed=bool(self.selection.names))

    def rights(self, cluster: Cluster) -> Rights:
        looking = needs.of_looking(cluster, self.control_plane, self.selection)
        own = of_checks(cluster, self.control_plane, self.selection.scope(cluster), ask=self.ask)
        return Rights((READ, ORACLE) if self.ask else (READ,), [*looking, *own])

    def _scene(self, cluster: Cluster) -> Scene:
        owners = Owners(cluster, readable_only=True)
        scope = self.selection.scope(cluster)
        installations, subjects, namespaces = cluster.gather(
            lambda: meshes.find(cluster, self.control_plane),
            lambda: targets.select(cluster, owners, self.selection),
            lambda: meshes.namespaces(cluster, scope if cluster.remote else ""),
        )
        narrowed, whole = bool(self.control_plane), not self.selection.names and not self.selection.selector
        return Scene(cluster, owners, installations, namespaces, subjects, scope, narrowed, whole)


def _require_namespace(scene: Scene) -> None:
    """Raises `NotFound` where the namespace that is looked at is known not to be there."""
    if scene.scope and scene.cluster.remote and scene.scope not in scene.namespaces:
        with suppress(Forbidden):
            scene.cluster.get(NAMESPACES, scene.scope)


class Catalogue(NamedTuple):
    """The checks to show."""

    checks: Sequence[str]

    def run(self, connect: Connect) -> Generator[Event, bool, CatalogueReport]:  # noqa: ARG002 - it asks no cluster
        yield from ()
        return CatalogueReport([text(catalogue.CHECKS[name]) for name in self.checks])

    def rights(self, cluster: Cluster) -> Rights:  # noqa: ARG002 - it asks no cluster
        return Rights((), ())


def parse(arguments: Arguments) -> Check | Catalogue:
    names, namespace = tuple(dict.fromkeys(arguments.words("TARGET"))), arguments.text("--namespace")
    offline = bool(arguments.many("--filename"))
    if arguments.flag("--list"):
        if names or offline:
            raise UsageError("--list looks at nothing", "leave out TARGET and -f")
        if (output := arguments.text("--output")) not in ("", *_LIST_FORMATS):
            raise UsageError(f"-o {output} does not show what --list lists", f"it takes {', '.join(_LIST_FORMATS)}")
        return Catalogue(_chosen(arguments, "info"))
    if offline and arguments.flag("--from-injector"):
        raise UsageError("files have no injector to ask", "leave out -f, or --from-injector")
    everywhere = arguments.flag("--all-namespaces") or (offline and not names and not namespace)
    selection = Selection(names, namespace, everywhere, arguments.text("--selector"))
    named = any(catalogue.CHECKS[name].asks for name in _names(arguments, "--only"))
    ask = bool(names) or named or arguments.flag("--from-injector")
    return Check(selection, arguments.text("--fsm-namespace"), _chosen(arguments, "warning"), ask)


def _chosen(arguments: Arguments, severity: str) -> Sequence[str]:
    """The checks that are asked for, in their order; of this severity and worse where none is given.

    Those that are named are chosen whatever their severity.
    """
    only, skip = _names(arguments, "--only"), _names(arguments, "--skip")
    least = SEVERITIES.index(arguments.choice("--severity", SEVERITIES) or severity)
    chosen = [
        name
        for name, check in catalogue.CHECKS.items()
        if name not in skip and (name in only if only else SEVERITIES.index(check.severity) >= least)
    ]
    if not chosen:
        raise UsageError("no check is left to run")
    return chosen


def _names(arguments: Arguments, option: str) -> Sequence[str]:
    names = [name for value in arguments.many(option) for name in value.split(",") if name]
    for name in names:
        if name not in catalogue.CHECKS:
            raise UsageError(
                f"{option}: there is no check {name!r}", nearest(name, [*catalogue.CHECKS]) or "see check --list"
            )
    return names
