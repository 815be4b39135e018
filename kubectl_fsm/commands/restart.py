"""`kubectl fsm restart`."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import NAMESPACES, Cluster, Connect
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import FsmError, Refused, UsageError
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import headroom, lineup, meshes, needs, queue, record, restart, targets
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.obstacles import EVICT, RECREATE
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.record import Plan, Record
from kubectl_fsm.operations.rights import RESTART, Need, Right, Rights
from kubectl_fsm.operations.steps import Step
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.operations.turns import Pace
from kubectl_fsm.reports import Event, Failed, Note, RestartReport

FORMATS = ("wide", "json", "yaml", "name")
_MOST_PARALLEL = 100
_USUAL = ("--max-parallel=1", "--pause=0", "--timeout=10m")
_WHAT = ("--selector", "--all", "--all-namespaces", "--namespace", "--all-pods", "--canary", EVICT, RECREATE)
"""Options that say what is restarted, as a plan does."""
USAGE = f"""Roll the workloads whose pods run outdated rules, and verify the new pods' rules.

TARGET is KIND/NAME (a workload: deploy/web, sts/db, rollout/api) or NAME (the workload that owns this pod); without
one, options say where to look: -l, --all or -A. The order is that of the names, else namespace by namespace,
Deployments before StatefulSets before DaemonSets. Before the first workload is restarted, the mesh's injector is asked
for the next pod of each; while one would be wrong, nothing is restarted. After a rollout that fails, or whose new pods
run wrong rules, no other is begun, and what is left to do stays in a plan file for --resume. So it does after Ctrl-C:
one lets what runs end, a second (or SIGTERM) leaves at once. A workload annotated kubectl-fsm/restart: disabled (or
anything but enabled) is left alone, and without --evict or --recreate so is one that has no rolling update.

Usage:
  kubectl fsm restart [options] [--] [TARGET...]

Examples:
  kubectl fsm restart deploy/web -n shop
  kubectl fsm restart -A --dry-run                             # what would be restarted, and why not
  kubectl fsm restart --all -n shop --yes
  kubectl fsm restart -A --max-parallel 4 --canary deploy/web --bake 10m
  kubectl fsm restart ds/agent -n shop --evict                 # an OnDelete DaemonSet, pod by pod
  kubectl fsm restart --resume ./fsm-restart-8f2c.json

Options:
  -l, --selector=SELECTOR          the workloads that own the pods with these labels
      --all                        all workloads of the namespace
      --all-pods                   also workloads whose pods run current rules
      --evict                      where there is no rolling update (OnDelete, ReplicaSets, operators' children),
                                   evict pod by pod; where a PodDisruptionBudget has no room, wait for it
      --recreate                   delete a bare pod and create it from its last applied manifest, saved to a file
      --skip=KIND/NAME             not this one (repeatable): [NAMESPACE/]KIND/NAME, or ns/NAME for a namespace
      --resume=FILE                go on with what a restart has left to do
      --max-parallel=N             workloads at a time [default: 1]
      --pause=TIME                 how long to wait after one has ended before the next begins [default: 0]
      --canary=KIND/NAME           this one first, [NAMESPACE/]KIND/NAME; the others only if it is verified
      --bake=TIME                  how long the canary has to stay healthy before the others begin [default: 0]
      --respect-pdb                leave workloads alone whose PodDisruptionBudget has no room now
      --skip-preflight             do not ask the injector beforehand
      --dry-run=client|none        client: print the plan, restart nothing (alone: client)
      --no-wait                    do not wait for rollouts, and verify nothing
  -y, --yes                        do not ask before more than one workload is restarted
      --timeout=TIME               how long one rollout may take, such as 90s (0: no limit) [default: 10m]
{general(*FORMATS)}"""


class Restart(NamedTuple):
    """Which workloads, and how. `resume`: the plan file that says which; empty where the selection does.

    `pace` are the options that a resumed restart wants again.
    """

    selection: Selection
    resume: str
    skip: Sequence[str]
    canary: str
    bake: float
    control_plane: str
    options: queue.Options
    manner: Manner
    pace: Sequence[str]

    def run(self, connect: Connect) -> Generator[Event, bool, RestartReport]:
        plan = record.read(self.resume) if self.resume else None
        cluster = connect()
        owners = Owners(cluster, readable_only=True)
        selection = plan.selection if plan else self.selection
        scope = selection.scope(cluster)
        installations, found, namespaces, room, identity = cluster.gather(
            lambda: meshes.find(cluster, self.control_plane),
            lambda: targets.chosen(cluster, owners, selection),
            lambda: meshes.namespaces(cluster, scope),
            lambda: headroom.look(cluster, scope),
            lambda: record.identity(cluster),
        )
        plan = plan or self._plan(identity, installations)
        plan.check(identity, installations, cluster.origin)
        if not (found.subjects or self.resume or selection.everywhere):
            raise Refused(f"no workloads and no pods found in {selection.described(cluster)}", "nothing was restarted")
        if found.finished:
            yield Note(f"{found.finished} finished pod{'s are' if found.finished > 1 else ' is'} left out")
        manner = plan.manner(self.manner)
        steps = restart.plan(installations, plan.of(restart.joined(owners, found.subjects)), namespaces, manner)
        steps = lineup.informed(lineup.without(cluster, steps, self.skip), room, respect=manner.respects_budgets)
        canary = lineup.named(cluster, steps, self.canary) if self.canary else plan.canary(steps)
        if not selection.names:
            steps = [step for step in steps if step is canary or _concerns(step)]
        if not selection.names and not self.resume:
            steps = restart.in_order(steps)
        if not steps:
            yield Note("no workload is left to restart" if self.skip else "no workload runs outdated rules")
        yield from lineup.notes(steps, room)
        if not self.options.dry_run and manner.asks:
            manner = manner._replace(asked_at=(yield from restart.asked(cluster, steps, self.options.timeout)))
        work = restart.work(cluster, owners, steps, manner)
        if canary:
            work = lineup.canary_first(cluster, owners, work, canary, plan.bake)
        words = [*self.pace, *cluster.words]
        report = yield from queue.run(cluster, work, self.options, Record(plan, work, words, self.resume))
        for item in report.items if selection.names else ():
            if item.result == "left":
                yield Failed(Refused(f"{item.workload} in {item.namespace} was not restarted: {item.detail}"))
        return report

    def rights(self, cluster: Cluster) -> Rights:
        plan = record.read(self.resume) if self.resume else None
        selection, manner = (plan.selection, plan.manner(self.manner)) if plan else (self.selection, self.manner)
        scope = selection.scope(cluster)
        minding = [Need(Right("list", kind, scope), "whether they mind it is not known") for kind in headroom.KINDS]
        identity = Right("get", NAMESPACES, record.IDENTITY, record.IDENTITY)
        found = [
            *needs.of_looking(cluster, self.control_plane, selection),
            *minding,
            Need(identity, "" if plan else "no plan is kept for --resume"),
        ]
        note = ""
        if not self.options.dry_run:
            found += needs.of_meshconfigs(cluster, self.control_plane, "get")
            found += [needs.of_asking(scope)] if manner.asks else []
            turns = self._turns(cluster, plan, selection, manner)
            note = needs.unread(cluster, selection) if turns is None else ""
            turns = [*needs.possible(cluster, selection, manner.remedies)] if turns is None else turns
            found += needs.of_rolling(turns, waits=manner.wait)
        return Rights((RESTART,), found, note)

    def _turns(
        self, cluster: Cluster, plan: Plan | None, selection: Selection, manner: Manner
    ) -> Sequence[needs.Rolling] | None:
        """What there is to roll; None where that cannot be read."""
        scope, owners = selection.scope(cluster), Owners(cluster, readable_only=True)
        try:
            installations = meshes.find(cluster, self.control_plane)
            found = restart.joined(owners, targets.chosen(cluster, owners, selection).subjects)
            namespaces = meshes.namespaces(cluster, scope)
            steps = restart.plan(installations, plan.of(found) if plan else found, namespaces, manner)
            tops = [(step.subject.workload.top, step.remedy) for step in steps if not step.left]
        except FsmError:
            return None
        named = [(top, fields.name(top.object) if selection.names else "", remedy) for top, remedy in tops]
        return list(dict.fromkeys(needs.Rolling(top.resource, scope, name, remedy) for top, name, remedy in named))

    def _plan(self, identity: str, installations: Sequence[Installation]) -> Plan:
        manner, names = self.manner, [*map(record.title, installations)]
        return Plan(identity, names, manner.everything, self.bake, (), manner.remedies, manner.respects_budgets)


def _concerns(step: Step) -> bool:
    """Whether there is something to say of a workload that nobody named."""
    return not step.left or step.left.result == "left"


def parse(arguments: Arguments) -> Restart:
    names, namespace = arguments.words("TARGET"), arguments.text("--namespace")
    selector, everywhere = arguments.text("--selector"), arguments.flag("--all-namespaces")
    everything, resume, canary = arguments.flag("--all"), arguments.text("--resume"), arguments.text("--canary")
    if resume:
        given = ["a TARGET"] if names else [option for option in _WHAT if arguments.flag(option)]
        if given:
            raise UsageError(f"--resume says what is restarted, so {given[0]} does not go with it")
    elif not (names or selector or everything or everywhere):
        raise UsageError("nothing says what to restart", "name a TARGET such as deploy/web, or use -l, --all or -A")
    if everything and (names or selector):
        raise UsageError("--all does not go together with a target by name or -l")
    wait, bake = not arguments.flag("--no-wait"), arguments.seconds("--bake")
    if not canary and bake:
        raise UsageError("--bake needs the workload that is to stay healthy: --canary=KIND/NAME")
    remedies = [option for option in (EVICT, RECREATE) if arguments.flag(option)]
    if not wait and (waited := [*(["--canary"] if canary else []), *remedies]):
        raise UsageError(f"{waited[0]} is waited for, and --no-wait waits for nothing")
    timeout = arguments.seconds("--timeout")
    return Restart(
        Selection(names, namespace, everywhere, selector),
        resume,
        arguments.many("--skip"),
        canary,
        bake,
        arguments.text("--fsm-namespace"),
        queue.Options(
            timeout,
            dry_run=arguments.choice("--dry-run", ("client", "none")) == "client",
            yes=arguments.flag("--yes"),
            pace=Pace(arguments.number("--max-parallel", 1, _MOST_PARALLEL), arguments.seconds("--pause")),
        ),
        Manner(
            timeout,
            wait=wait,
            everything=arguments.flag("--all-pods"),
            asks=not arguments.flag("--skip-preflight"),
            respects_budgets=arguments.flag("--respect-pdb"),
            remedies=remedies,
        ),
        pace=[word for word in arguments.again("--max-parallel", "--pause", "--timeout") if word not in _USUAL],
    )
