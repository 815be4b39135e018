"""Edits that roll workloads: of pod templates, one after the other, and of a mesh whose pods are then restarted."""

from collections.abc import Generator, Sequence
from functools import cached_property
from typing import NamedTuple

from kubectl_fsm import fields, rollouts, workloads
from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.fields import Object
from kubectl_fsm.operations import hints, meshes, preflight, queue, restart, survey
from kubectl_fsm.operations.edit import Edit
from kubectl_fsm.operations.manner import Manner
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.preflight import Case
from kubectl_fsm.operations.queue import Options
from kubectl_fsm.operations.rollout import Judge, Rollout, Target
from kubectl_fsm.operations.steps import Step
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.turns import Outcome
from kubectl_fsm.reports import EditReport, EditsReport, Event, Note, RestartReport


class TemplateEdit(NamedTuple):
    """An edit of the pod template that a workload's pods are made from."""

    target: Target
    edit: Edit


def mesh_wide(cluster: Cluster, edit: Edit, options: Options) -> Generator[Event, bool, EditsReport]:
    """Edit a mesh's lists, then restart what runs outdated rules. Raises as `Edit.run`, before anything is written."""
    if options.dry_run:
        report = yield from edit.run()
        steps = _outdated(cluster, edit, report)
    else:
        preview = yield from edit.preview()
        steps = _outdated(cluster, edit, preview.report)
        rolling = [step for step in steps if not step.left]
        yield from queue.agree(cluster, rolling, preview.questions, yes=options.yes, about=preview.title)
        report = yield from edit.run()
        if report.undo and rolling:
            yield Note(f"{preview.title}: written; its undo: {report.undo}")
    work = restart.work(cluster, Owners(cluster), steps, Manner(options.timeout))
    rolled = yield from queue.run(cluster, work, options._replace(yes=True))
    return EditsReport([report], rolled)


def _outdated(cluster: Cluster, edit: Edit, report: EditReport) -> Sequence[Step]:
    """What is outdated once the MeshConfig is as in the report."""
    installation = edit.installation._replace(config=report.resource)
    affected = survey.of_mesh(cluster, installation)
    steps = restart.plan([installation], affected, meshes.namespaces(cluster, ""))
    return restart.in_order([step for step in steps if step.outdated])


def one_by_one(
    cluster: Cluster, edits: Sequence[TemplateEdit], left: Sequence[Subject], options: Options, *, restarts: bool
) -> Generator[Event, bool, EditsReport]:
    """Edit pod templates; each rollout is waited for and verified before the next edit.

    `left` are workloads that cannot be edited. With `restarts` a workload whose template needs no edit is restarted
    where its pods run outdated rules. Raises what any of the edits would raise before the first is written.
    """
    changes = [_Change(cluster, found, preflight.patience(options.timeout)) for found in edits]
    for change in changes:
        yield from change.preview() if cluster.remote and not options.dry_run else change.write({})
    alone = [Step(one, None, (), (), Outcome("left", one.workload.refusal)) for one in left]
    if not cluster.remote:
        items = [step.item(step.left) for step in alone if step.left]
        return EditsReport([change.report for change in changes], RestartReport(items, cluster.origin))
    idle = [change.idle(restarts=restarts) for change in changes if not change.edits]
    owners = Owners(cluster)
    work = [
        *((change.step(), change.job(owners, options.timeout)) for change in changes if change.edits),
        *restart.work(cluster, owners, [*idle, *alone], Manner(options.timeout)),
    ]
    if not options.dry_run:
        questions = dict.fromkeys(text for change in changes for text in change.questions)
        yield from queue.agree(cluster, [step for step, job in work if job], list(questions), yes=options.yes)
    rolled = yield from queue.run(cluster, work, options._replace(yes=True))
    return EditsReport([change.report for change in changes if change.known], rolled)


class _Change:
    """An edit as what makes a workload roll; `known` says whether its `report` is about what was written."""

    report: EditReport
    questions: Sequence[str] = ()
    known: bool

    def __init__(self, cluster: Cluster, found: TemplateEdit, patience: float) -> None:
        self._cluster = cluster
        self.target, self._edit = found
        self._patience = patience
        workload = self.target.subject.workload
        self.waits = workload.holder == workload.top

    @property
    def edits(self) -> bool:
        """Whether there is anything to write."""
        return self.report.result == "edited"

    def preview(self) -> Generator[Event, bool, None]:
        preview = yield from self._edit.preview()
        self.report, self.questions = preview.report, preview.questions
        self.known = not self.edits

    def step(self, left: Outcome | None = None) -> Step:
        changes = [f"{change.list} {change}" for change in self.report.changes]
        return Step(self.target.subject, self.target, self._before.outdated, changes, left)

    def job(self, owners: Owners, timeout: float) -> Rollout:
        """The turn of the workload."""
        title = self.step().introduction(self._cluster)
        return Rollout(self._cluster, owners, self.target, self, timeout=timeout, title=title)

    def idle(self, *, restarts: bool) -> Step:
        """What becomes of a workload whose template needs no edit."""
        if restarts:
            return self._before
        mend = (
            f"its pods run outdated rules: {hints.apply(self.target.subject.workload, self._cluster.words)}"
            if self._before.outdated
            else ""
        )
        return self.step(Outcome("unchanged", mend))

    @cached_property
    def _before(self) -> Step:
        """What a restart would do about the workload before it is edited."""
        subject, installation, namespace = self.target
        namespaces = {subject.workload.namespace: namespace} if namespace else {}
        (step,) = restart.plan([installation], [subject], namespaces)
        return step

    def prepare(self, current: Object, pods: Sequence[Object], judge: Judge) -> Generator[Event, bool, None]:  # noqa: ARG002 - the edit looks for itself
        """Ask the injector about the template as it will be, where pods are made from it at once."""
        template = workloads.template(self.report.resource)
        if template and self.waits and rollouts.restart_field(current) and not rollouts.holds_back(current):
            judge.renew()
            yield from preflight.assure(self._cluster, Case(self.target, judge, current, template), self._patience)

    def write(self, current: Object) -> Generator[Event, bool, Object | None]:  # noqa: ARG002 - the edit reads it anew
        yield self.target.turn("writing", ": its pod template is written")
        self.report = yield from self._edit.run()
        self.known = True
        return self.report.resource if self.edits else None

    @property
    def begun(self) -> Outcome:
        return Outcome("edited", self.report.consequence)

    def made(self, pod: Object, template: Object) -> bool:
        return self._lists(pod) == self._lists(template)

    def undone(self, current: Object) -> str:
        written, found = workloads.template(self.report.resource), workloads.template(current)
        if written is None or found is None or self._lists(written) == self._lists(found):
            return ""
        return "somebody has changed the lists of its pod template meanwhile (a GitOps controller may take edits back)"

    def _lists(self, template: Object) -> Sequence[str | None]:
        injector = self.target.installation.injector
        return [fields.annotations(template).get(injector.annotation(found)) for found in injector.pod_lists]

    def take_back(self) -> Generator[Event, bool, str]:
        yield from ()
        return f"the edit stays; to take it back: {self.report.undo}"
