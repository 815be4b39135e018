"""What commands yield while they work (events) and return in the end (reports); printers read nothing else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kubectl_fsm.errors import FsmError
from kubectl_fsm.fields import Object

if TYPE_CHECKING:  # 15 ms to load, and most verbs trace nothing
    from kubectl_fsm.services import Routing
    from kubectl_fsm.tracing import Course


class Note(NamedTuple):
    """A line for the user while the command works; goes to stderr."""

    text: str


class Warned(NamedTuple):
    """Something the user should know although the command goes on; goes to stderr."""

    text: str


class Question(NamedTuple):
    """Something that needs a yes; the answer is sent back into the command."""

    text: str


class Failed(NamedTuple):
    """Part of the work that failed although there is a report: said as an error, with its exit code, after the report."""

    error: FsmError


class Lineup(NamedTuple):
    """Workloads are about to have their turns: how many, how many of them at a time, seconds of pause after each.

    `where`: the cluster and the meshes, in a line.
    """

    total: int
    parallel: int
    pause: float
    where: str = ""


WORKING = ("begun", "writing", "rolling", "baking")
"""States of a turn that goes on."""


class Turn(NamedTuple):
    """A workload's turn, as it goes; `text` says it in a line that names the workload.

    `state`: `begun`, `writing` (just before each write), `rolling`, `baking`, and at its end a result as in
    `RestartItem`. `updated` of `wanted` pods are new, `available` of all serve. `mark` is what will tell, of a workload
    that is read later, that it carries what is being written.
    """

    workload: str
    namespace: str
    state: str
    text: str
    updated: int = 0
    available: int = 0
    wanted: int = 0
    mark: str = ""

    @property
    def ends(self) -> bool:
        return self.state not in WORKING


Event = Note | Warned | Question | Failed | Lineup | Turn


class EntryState(NamedTuple):
    """An entry of a pod's lists: `programmed` (runs, stays), `pending` (after a restart), `leaving` (until a restart)."""

    list: str
    value: str
    sources: Sequence[str]
    state: str


class RuleLine(NamedTuple):
    """One rule in order of evaluation.

    `hook` is OUTBOUND or INBOUND, `rule` iptables' own words, `match` the same for people, `effect` who takes the
    connection; `decides` is False for jumps into a chain whose rules follow, and inside chains that only redirect.
    `shadowed_by` is the earlier rule because of which it can never match, as `-A CHAIN RULE`, or empty.
    """

    hook: str
    chain: str
    rule: str
    match: str
    effect: str
    why: str
    sources: Sequence[str]
    decides: bool
    shadowed_by: str = ""

    @property
    def reason(self) -> str:
        """`excluded outbound ports: MeshConfig, deploy/web template`."""
        return f"{self.why}: {', '.join(self.sources)}" if self.sources else self.why


class SettingState(NamedTuple):
    """A setting besides the lists that changes the rules: what the pod runs, what the MeshConfig asks for."""

    name: str
    running: bool
    configured: bool


class Opinion(NamedTuple):
    """What the cluster's own injector would make of the next pod, beside what is predicted.

    `state`: `injected` (with an init container, whose `script` it is), `no-interception` (no init container),
    `not-injected`, `refused`, `down` (no answer), `not-asked`; `reason` is the plain answer. `same`: whether that is
    what is predicted, None where there is no answer. `differences` are `+6379 outbound-port` and `+rule -A …` for what
    the injector has and the prediction has not, with `-` the other way; `notes` what may be behind them, and what to do.
    """

    state: str
    same: bool | None
    reason: str
    differences: Sequence[str] = ()
    notes: Sequence[str] = ()
    script: str = ""


class PodRules(NamedTuple):
    """The effective rules of one pod, or of the next pod of a workload (`pod` is empty, `state` is `template`).

    `state`: `current`, `outdated`, `not-injected`, `failed`, `no-interception`, `external`, `template`, `refused`,
    `unknown`; `reason` is the plain answer behind it. `script` is what the pod's init container holds, `next_script`
    what the next one's will; either may be empty. `apply` is what to do to recreate an outdated pod's workload, which
    has `replicas` pods (None: not known). `from_injector` is None where the injector was not to be asked.
    """

    pod: str
    namespace: str
    workload: str
    mesh: str
    mesh_version: str
    mesh_namespace: str
    injector: str
    state: str
    reason: str
    sidecar: str
    exclusions: Sequence[EntryState]
    settings: Sequence[SettingState]
    rules: Sequence[RuleLine]
    notes: Sequence[str]
    apply: str
    replicas: int | None
    script: str
    next_script: str
    from_injector: Opinion | None = None


class RulesReport(NamedTuple):
    """`kubectl fsm rules`: in full where pods were named (`detailed`), else summed up, a line each."""

    items: Sequence[PodRules]
    origin: str
    detailed: bool = True
    exit_code: bool = False

    @property
    def outdated(self) -> bool:
        return any(item.state == "outdated" for item in self.items)


class Writer(NamedTuple):
    """Who wrote a list last: the field manager's name and the time, as managedFields have them."""

    manager: str
    time: str


class Configured(NamedTuple):
    """A value as somebody configured it; `note` says what is odd about it."""

    list: str
    value: str
    note: str = ""


class ConfiguredObject(NamedTuple):
    """An object that configures exclusions: the MeshConfig, a pod template, a pod, a Service, a namespace.

    `writers`: who wrote each list last, by its name. managedFields know whole lists, not their values.
    """

    scope: str
    object: str
    namespace: str
    entries: Sequence[Configured]
    writers: Mapping[str, Writer]
    note: str = ""


class ExclusionsReport(NamedTuple):
    """`kubectl fsm exclusions`."""

    items: Sequence[ConfiguredObject]
    origin: str
    export: str = ""


class ListChange(NamedTuple):
    """One list before and after an edit, as the object holds it."""

    list: str
    before: Sequence[str]
    after: Sequence[str]

    def __str__(self) -> str:
        """`[6379] → [6379 7070]`, or the list once where nothing changed."""
        shown = (
            [value if value.isprintable() else repr(value) for value in values] for values in (self.before, self.after)
        )
        before, after = (f"[{' '.join(values)}]" for values in shown)
        return after if before == after else f"{before} → {after}"


class EditReport(NamedTuple):
    """An editing verb.

    `result`: `edited` or `unchanged`; `dry_run`: empty, `client` or `server`; `outdated` of `pods` pods run older rules
    than the next pod will; `apply` and `undo` are command lines; `resource` is the object after the edit,
    `previous` before it.
    """

    object: str
    namespace: str
    origin: str
    mesh: str
    result: str
    dry_run: str
    changes: Sequence[ListChange]
    pods: int
    outdated: int
    apply: Sequence[str]
    undo: str
    consequence: str
    previous: Object
    resource: Object
    diff: bool = False


class RestartItem(NamedTuple):
    """A workload in a restart.

    `result`: `planned` (a dry run), `done`, `started` (not waited for), `edited` (no rollout comes of it), `unchanged`,
    `current` (nothing to do), `left` (not touched), `failed`, `interrupted`, `not begun`; `detail` is the reason.
    `outdated` of `replicas` pods ran outdated rules, `changes` are what the next pods gain and lose; `verified` of `pods`
    new pods run the right rules; `notes` is what was to be known before.
    """

    workload: str
    namespace: str
    mesh: str
    replicas: int
    outdated: int
    changes: Sequence[str]
    result: str
    detail: str = ""
    verified: int = 0
    pods: int = 0
    notes: Sequence[str] = ()


class RestartReport(NamedTuple):
    """`kubectl fsm restart`, and what an editing verb rolled."""

    items: Sequence[RestartItem]
    origin: str


class EditsReport(NamedTuple):
    """An editing verb that wrote several objects, or rolled workloads as well."""

    edits: Sequence[EditReport]
    rolled: RestartReport


class MeshStatus(NamedTuple):
    """A mesh: what it is called, its interception mode (empty: it has none), and what is worth knowing."""

    mesh: str
    version: str
    namespace: str
    mode: str
    notes: Sequence[str]


class WorkloadStatus(NamedTuple):
    """A workload's pods that live, by what they run.

    `injected` of `pods` have the sidecar; of these `current` and `outdated` run rules, `failed` could not load them.
    `changes` is what the next pods gain and lose; `failures` are the failed init containers' own words; `blocked` why a
    restart would leave it alone (it is `restartable` where it would not), with what else stands in its way; `idle`
    entries that do nothing; `notes` the rest.
    """

    namespace: str
    workload: str
    mesh: str
    pods: int
    injected: int
    current: int
    outdated: int
    failed: int
    changes: Sequence[str]
    failures: Sequence[str]
    blocked: Sequence[str]
    idle: Sequence[str]
    notes: Sequence[str]
    restartable: bool


POD_COUNTS = ("pods", "injected", "current", "outdated", "failed")
"""The numbers of a `WorkloadStatus`."""


class StatusReport(NamedTuple):
    """`kubectl fsm status`.

    `notes` say what could not be read. `finished` pods, those that end among them, and pods `outside` any mesh are left
    out. `apply` is the command that restarts what is outdated; empty where a restart would leave all of it alone.
    """

    items: Sequence[WorkloadStatus]
    origin: str
    scope: str
    meshes: Sequence[MeshStatus]
    notes: Sequence[str]
    finished: int
    outside: int
    apply: str
    only_outdated: bool = False
    exit_code: bool = False

    @property
    def totals(self) -> Mapping[str, int]:
        """Sums over all workloads, shown or not."""
        sums = {name: sum(getattr(item, name) for item in self.items) for name in POD_COUNTS}
        return {"workloads": len(self.items), **sums}

    @property
    def shown(self) -> Sequence[WorkloadStatus]:
        """The workloads to show."""
        return [item for item in self.items if item.outdated or not self.only_outdated]

    @property
    def outdated(self) -> bool:
        return any(item.outdated for item in self.items)


class Finding(NamedTuple):
    """What a check found: in which object, what was seen, why it matters, and what mends it.

    `mend` is a command line, or else what to do. `file`, `line` and `column` (from 1) say where it is written; they are
    empty and 0 for a cluster. `silenced` is the reason for which it does not count; empty where it counts.
    """

    check: str
    severity: str
    object: str
    namespace: str
    seen: str
    why: str
    mend: str
    file: str = ""
    line: int = 0
    column: int = 0
    silenced: str = ""


class Checked(NamedTuple):
    """An object that was looked at: how it stands in a few words, and the checks that looked.

    `unseen` are those of them that could not look, with what stood in the way.
    """

    object: str
    namespace: str
    state: str
    checks: Sequence[str]
    unseen: Mapping[str, str]


class CheckText(NamedTuple):
    """A check in words: what should hold, what it means where it does not, how that is mended in general.

    `looks_at` is the kind of thing that it is made for; with `remote` only a cluster has what it takes to look.
    """

    identity: str
    severity: str
    holds: str
    why: str
    remedy: str
    looks_at: str
    remote: bool = False


class CheckReport(NamedTuple):
    """`kubectl fsm check`.

    `items` are grouped by their objects, the worst first; `objects` is all that was looked at, also without a finding,
    and `checks` what looked. `outside` workloads have to do with no mesh and were left out. `notes` say what could not be
    looked at. With `detailed` targets were named.
    """

    items: Sequence[Finding]
    objects: Sequence[Checked]
    checks: Sequence[CheckText]
    origin: str
    scope: str
    outside: int
    notes: Sequence[str]
    detailed: bool = False

    @property
    def counting(self) -> Sequence[Finding]:
        """What is not silenced."""
        return [item for item in self.items if not item.silenced]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many count, of each severity, the worst first; and how many are silenced."""
        counted = {name: sum(item.severity == name for item in self.counting) for name in ("error", "warning", "info")}
        return {**counted, "silenced": len(self.items) - len(self.counting)}

    @property
    def failed(self) -> bool:
        """Whether something counts."""
        return bool(self.counting)


class CatalogueReport(NamedTuple):
    """`kubectl fsm check --list`."""

    items: Sequence[CheckText]


class TraceEnd(NamedTuple):
    """Who a traced connection comes from.

    `text` as written; the `pod`, one of `pods` of its workload, empty where none runs. `uid` is the process's user; where
    only the image tells it (`image_uid`), one that stands for any but the sidecar's.
    """

    text: str
    pod: str
    workload: str
    namespace: str
    address: str
    pods: int
    uid: int
    image_uid: bool
    interface: str


class Moment(NamedTuple):
    """What becomes of a connection, `when`: `now`, `after-restart`, or `next-pod` where no pod runs."""

    when: str
    course: "Course"


class Trial(NamedTuple):
    """One connection that was tried in a kernel: from where to where, what the simulator says, what the kernel did.

    Both are who took it and how often, where chance decides every one that is possible.
    """

    when: str
    connection: str
    simulated: Sequence[str]
    kernel: Mapping[str, int]

    @property
    def agrees(self) -> bool:
        return set(self.simulated) == set(self.kernel)


class TraceReport(NamedTuple):
    """`kubectl fsm trace`.

    `moments` are one or two; `service` what becomes of connections to it where the target is one; `stand_ins` are
    addresses that stand for ones that are not known. `apply` are the command lines that lead from the first moment to
    the second. `trials` are what a kernel said, by `judge`.
    """

    source: TraceEnd
    target: str
    origin: str
    service: "Routing | None"
    stand_ins: Sequence[str]
    moments: Sequence[Moment]
    assumptions: Sequence[str]
    notes: Sequence[str]
    apply: Sequence[str]
    trials: Sequence[Trial] = ()
    judge: str = ""


class MeshVersion(NamedTuple):
    """A mesh that the cluster runs."""

    mesh: str
    version: str
    namespace: str
    injector: str


class VersionReport(NamedTuple):
    """`kubectl fsm version`."""

    client: str
    origin: str
    meshes: Sequence[MeshVersion] | None


class CompletionReport(NamedTuple):
    """`kubectl fsm completion`: the script that kubectl asks, and the file that it was written to, empty for none."""

    script: str
    file: str


Report = (
    StatusReport
    | RulesReport
    | TraceReport
    | ExclusionsReport
    | EditReport
    | EditsReport
    | RestartReport
    | CheckReport
    | CatalogueReport
    | VersionReport
    | CompletionReport
)
Document = dict[str, Any]
