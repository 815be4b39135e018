"""`kubectl fsm restart`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import Refused, UsageError
from kubectl_fsm.operations import meshes, queue, restart, targets
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Event, Failed, Note, RestartReport

FORMATS = ("wide", "json", "yaml", "name")
USAGE = f"""Roll the workloads whose pods run outdated rules, one after the other, and verify the new pods' rules.

TARGET is KIND/NAME (a workload: deploy/web, sts/db, rollout/api) or NAME (the workload that owns this pod); without
one, options say where to look: -l, --all or -A. Before a workload is restarted, the mesh's injector is asked what the
next pod will be; while that is not what is configured, nothing is restarted. A rollout that fails, or whose new pods
run wrong rules, stops everything after it.

Usage:
  kubectl fsm restart [options] [--] [TARGET...]

Examples:
  kubectl fsm restart deploy/web -n shop
  kubectl fsm restart -A --dry-run                               what would be restarted, and why not
  kubectl fsm restart --all -n shop --yes

Options:
  -l, --selector=SELECTOR          the workloads that own the pods with these labels
      --all                        all workloads of the namespace
      --all-pods                   also workloads whose pods run current rules
      --dry-run=MODE               client: print the plan, restart nothing [bare: client]
      --no-wait                    do not wait for rollouts, and verify nothing
  -y, --yes                        do not ask before more than one workload is restarted
      --timeout=TIME               how long one rollout may take, such as 90s (0: no limit) [default: 10m]
{general(*FORMATS)}"""


class Restart(NamedTuple):
    """Which workloads, and how."""

    selection: Selection
    control_plane: str
    options: queue.Options
    wait: bool
    everything: bool

    def run(self, connect: Connect) -> Generator[Event, bool, RestartReport]:
        cluster = connect()
        owners = Owners(cluster, readable_only=True)
        installations, found, namespaces = cluster.gather(
            lambda: meshes.find(cluster, self.control_plane),
            lambda: targets.chosen(cluster, owners, self.selection),
            lambda: meshes.namespaces(cluster, self.selection.scope(cluster)),
        )
        if not found.subjects and not self.selection.everywhere:
            raise Refused(f"no pods match in {self.selection.scope(cluster)}", "nothing was restarted")
        steps = restart.plan(installations, found.subjects, namespaces, everything=self.everything)
        if found.finished:
            yield Note(f"{found.finished} finished pod{'s are' if found.finished > 1 else ' is'} left out")
        if not self.selection.names:
            steps = [step for step in steps if not step.left or step.left.result == "left"]
        if not steps:
            yield Note("no workload runs outdated rules")
        work = restart.work(cluster, steps, self.options.timeout, wait=self.wait, everything=self.everything)
        report = yield from queue.run(cluster, owners, work, self.options)
        for item in report.items if self.selection.names else ():
            if item.result == "left":
                yield Failed(Refused(f"{item.workload} in {item.namespace} was not restarted: {item.detail}"))
        return report


def parse(arguments: Arguments) -> Restart:
    names, namespace = arguments.words("TARGET"), arguments.text("--namespace")
    selector, everywhere = arguments.text("--selector"), arguments.flag("--all-namespaces")
    everything = arguments.flag("--all")
    if not (names or selector or everything or everywhere):
        raise UsageError("nothing says what to restart", "name a TARGET such as deploy/web, or use -l, --all or -A")
    if everything and (names or selector):
        raise UsageError("--all does not go together with a target by name or -l")
    return Restart(
        Selection(names, namespace, everywhere, selector),
        arguments.text("--fsm-namespace"),
        queue.Options(
            timeout=arguments.seconds("--timeout"),
            dry_run=arguments.choice("--dry-run", ("client", "none")) == "client",
            yes=arguments.flag("--yes"),
        ),
        wait=not arguments.flag("--no-wait"),
        everything=arguments.flag("--all-pods"),
    )
