"""What the editing verbs share: scope, action, and the run of an edit."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from kubectl_fsm import interception, rollouts
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import SERVICES, Cluster, Connect
from kubectl_fsm.errors import Refused, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import ExclusionList, Installation
from kubectl_fsm.operations import edits, meshes, needs, obstacles, queue, ranges, survey, targets
from kubectl_fsm.operations.edit import Edit, Options
from kubectl_fsm.operations.edits import TemplateEdit
from kubectl_fsm.operations.owners import Owners, Workload, pods_of
from kubectl_fsm.operations.places import Action, Change, MeshConfigPlace, Place, place_of
from kubectl_fsm.operations.rights import EDIT, RESTART, Need, Right, Rights
from kubectl_fsm.operations.rollout import Target
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import EditReport, EditsReport, Event, Note, Warned

FORMATS = ("yaml", "json", "name")
_ACTIONS = {"--remove": Action.REMOVE, "--replace": Action.REPLACE, "--clear": Action.CLEAR}
_DRY_RUNS = ("client", "server", "none")

Resolve = Callable[[Cluster], Sequence[str]]
"""Values of a list, some of which (a Service's address) only the cluster knows."""


class Scope(NamedTuple):
    """Where an edit goes: the MeshConfig, or the pod templates of a selection."""

    selection: Selection | None
    control_plane: str


class EditCommand(NamedTuple):
    """An edit of one or more lists; `values` are what `words` say."""

    lists: Sequence[ExclusionList]
    action: Action
    values: Resolve
    scope: Scope
    options: Options
    restart: bool
    timeout: float
    words: Sequence[str]

    def run(self, connect: Connect) -> Generator[Event, bool, EditReport | EditsReport]:
        cluster = connect()
        installations = meshes.find(cluster, self.scope.control_plane)
        values = tuple(self.values(cluster))
        changes = [Change(found, self.action, values) for found in self.lists]
        rolling = queue.Options(self.timeout, dry_run=bool(self.options.dry_run), yes=self.options.yes)
        if self.scope.selection is None:
            edit = self._of_mesh(cluster, meshes.only(installations), changes)
            return (yield from edits.mesh_wide(cluster, edit, rolling) if self.restart else edit.run())
        selection = self.scope.selection
        chosen = _chosen(cluster, selection)
        editable = [one for one in chosen if selection.names or not one.workload.refusal]
        left = [one for one in chosen if one not in editable]
        if not editable:
            raise Refused("; ".join(f"{one} is not edited: {one.workload.refusal}" for one in left))
        namespaces = meshes.namespaces(cluster, selection.scope(cluster))
        found = [self._of_workload(cluster, installations, one, namespaces, changes) for one in editable]
        if not self.restart and len(chosen) == 1:
            return (yield from found[0].edit.run())
        return (yield from edits.one_by_one(cluster, found, left, rolling, restarts=self.restart))

    def configured(self, cluster: Cluster) -> Iterator[tuple[str, str]]:
        """The values that the lists hold now, with what holds them. Raises `FsmError`."""
        installations, selection = meshes.find(cluster, self.scope.control_plane), self.scope.selection
        held: list[tuple[Place, Object]] = []
        if selection is None:
            installation = meshes.only(installations)
            held = [(_meshconfig(installation), {"spec": installation.spec})]
        else:
            namespaces = meshes.namespaces(cluster, selection.scope(cluster))
            for subject in _chosen(cluster, selection):
                place = place_of(subject.workload, _installation(installations, namespaces, subject))
                held.append((place, cluster.get(place.resource, place.name, place.namespace)))
        for holder, obj in held:
            for found in self.lists:
                yield from ((str(item), holder.title) for item in holder.held(obj, found))

    def rights(self, cluster: Cluster) -> Rights:
        control_plane, selection = self.scope.control_plane, self.scope.selection
        verbs = ("get",) if self.options.dry_run == "client" else ("get", "patch")
        here = (selection.namespace if selection else "") or cluster.namespace
        addresses = [Need(Right("get", SERVICES, place, name)) for name, place in ranges.services(self.words, here)]
        found = [*addresses, *needs.of_keepers(cluster, "what Argo CD tracks is not edited without --force")]
        note = ""
        if selection is None:
            found += needs.of_meshes(cluster, control_plane)
            found += needs.of_meshconfigs(cluster, control_plane, *verbs)
            found += needs.of_mesh_survey(cluster, control_plane)
            turns = needs.of_mesh_rolling(cluster, control_plane) if self.restart else ()
        else:
            chosen = needs.chosen(cluster, selection)
            note = needs.unread(cluster, selection) if chosen is None else ""
            found += needs.of_looking(cluster, control_plane, selection)
            found += needs.of_meshconfigs(cluster, control_plane, "get")
            found += needs.of_templates(cluster, selection, chosen, *verbs)
            turns = needs.of_template_rolling(cluster, selection, chosen, restarts=self.restart)
        if not turns or self.options.dry_run:
            return Rights((EDIT,), found, note)
        asking = [needs.of_asking(place, "the injector is not asked beforehand") for _, place, *_ in turns]
        return Rights((EDIT, RESTART), [*found, *asking, *needs.of_rolling(turns, waits=True)], note)

    def _of_mesh(self, cluster: Cluster, installation: Installation, changes: Sequence[Change]) -> Edit:
        look = partial(_look_at_mesh, cluster, installation)
        return Edit(cluster, installation, _meshconfig(installation), changes, look, self.options)

    def _of_workload(
        self,
        cluster: Cluster,
        installations: Sequence[Installation],
        subject: Subject,
        namespaces: Mapping[str, Object],
        changes: Sequence[Change],
    ) -> TemplateEdit:
        workload = subject.workload
        namespace = namespaces.get(workload.namespace)
        installation = _installation(installations, namespaces, subject)
        look = partial(_look_at_workload, cluster, installation, workload)
        first = list(_announcements(cluster, workload, namespace, installation))
        edit = Edit(cluster, installation, place_of(workload, installation), changes, look, self.options, first)
        return TemplateEdit(Target(subject, installation, namespace), edit)


def _meshconfig(installation: Installation) -> MeshConfigPlace:
    return MeshConfigPlace(meshes.resource(installation), installation.config_name, installation.namespace)


def _installation(
    installations: Sequence[Installation], namespaces: Mapping[str, Object], subject: Subject
) -> Installation:
    workload = subject.workload
    return meshes.of_workload(installations, namespaces.get(workload.namespace), workload.label, subject.pods)


class Values(Protocol):
    """Reads a verb's words; to be taken out of a list (`removing`) a value may be anything. Raises `UsageError`."""

    def __call__(self, words: Sequence[str], *, removing: bool) -> Resolve: ...


def command(arguments: Arguments, lists: Sequence[ExclusionList], words: Sequence[str], values: Values) -> EditCommand:
    """The edit that the options of an editing verb describe. Raises `UsageError`."""
    for word in words:
        if arguments.text("--dry-run") and word in _DRY_RUNS:
            raise UsageError(f"{word!r} is no value of the list", f"write --dry-run={word}")
    actions = [action for flag, action in _ACTIONS.items() if arguments.flag(flag)]
    if len(actions) > 1:
        raise UsageError("--remove, --replace and --clear exclude each other")
    action = actions[0] if actions else Action.ADD
    if bool(words) == (action is Action.CLEAR):
        raise UsageError("--clear takes no values" if words else "no value given", "see --help")
    if arguments.flag("--local") != bool(arguments.many("--filename")):
        raise UsageError("--local and -f FILE go together", "-f names the manifests, --local says that they are edited")
    dry_run = arguments.choice("--dry-run", _DRY_RUNS)
    options = Options(
        mesh=arguments.again("--fsm-namespace"),
        dry_run="" if dry_run == "none" else dry_run,
        yes=arguments.flag("--yes"),
        force=arguments.flag("--force"),
        diff=arguments.flag("--diff"),
    )
    resolve: Resolve = values(words, removing=action is Action.REMOVE) if words else lambda _: ()
    if arguments.flag("--local") and arguments.flag("--restart"):
        raise UsageError("--local edits files, and --restart rolls what runs in a cluster: they exclude each other")
    restart, timeout = arguments.flag("--restart"), arguments.seconds("--timeout")
    return EditCommand(lists, action, resolve, _scope(arguments), options, restart, timeout, words)


def _scope(arguments: Arguments) -> Scope:
    names = (*_pods(arguments), *_workloads(arguments))
    selector, everything = arguments.text("--selector"), arguments.flag("--all")
    namespace, everywhere = arguments.text("--namespace"), arguments.flag("--all-namespaces")
    given = [text for text, on in (("--pod or --workload", names), ("-l", selector), ("--all", everything)) if on]
    if len(given) > 1 or (given and arguments.flag("--global")):
        raise UsageError(
            f"{' and '.join([*given, *(['--global'] if arguments.flag('--global') else [])])} exclude each other"
        )
    if not given:
        if (namespace or everywhere) and not arguments.flag("--local"):
            raise UsageError(
                "without --pod, --workload, -l or --all the whole mesh is edited, and -n or -A does not fit that",
                "name the scope, or leave -n and -A out",
            )
        return Scope(None, arguments.text("--fsm-namespace"))
    if everything and not namespace:
        raise UsageError("--all needs the namespace that is meant: -n NAMESPACE")
    if everywhere:
        raise UsageError("an edit of pod templates stays in one namespace: -n, not -A")
    return Scope(Selection(names, namespace, selector=selector), arguments.text("--fsm-namespace"))


def _pods(arguments: Arguments) -> Iterator[str]:
    """The targets of --pod. Raises `UsageError`."""
    for name in arguments.many("--pod"):
        plain = name.removeprefix("pod/")
        if "/" in plain:
            raise UsageError(
                f"--pod {name!r} is not the name of a pod", "a workload is named with --workload=KIND/NAME"
            )
        yield f"pod/{plain}"


def _workloads(arguments: Arguments) -> Iterator[str]:
    """The targets of --workload. Raises `UsageError`."""
    for name in arguments.many("--workload"):
        if "/" not in name:
            raise UsageError(f"--workload {name!r} has no kind", f"write KIND/NAME, for example deploy/{name}")
        if not targets.is_target(name):
            raise UsageError(f"--workload {name!r} is no workload", "write KIND/NAME, for example deploy/web")
        yield name


def _chosen(cluster: Cluster, selection: Selection) -> Sequence[Subject]:
    """The workloads that a selection means. Raises `Refused` for none."""
    found = targets.chosen(cluster, Owners(cluster, readable_only=True), selection).subjects
    if not found:
        raise Refused(f"no workloads and no pods found in {selection.described(cluster)}", "nothing was written")
    return found


def _look_at_mesh(cluster: Cluster, installation: Installation) -> tuple[Object, Sequence[Subject]]:
    return installation.spec, survey.of_mesh(cluster, installation)


def _look_at_workload(
    cluster: Cluster, installation: Installation, workload: Workload
) -> tuple[Object, Sequence[Subject]]:
    """The MeshConfig's spec and the workload's pods as they are now."""
    return meshes.spec(cluster, installation), [Subject(workload, pods_of(cluster, Owners(cluster), workload))]


def _announcements(
    cluster: Cluster, workload: Workload, namespace: Object | None, installation: Installation
) -> Iterator[Note | Warned]:
    """What is to be known before a pod template is written."""
    if workload.bare:
        yield Warned(f"{workload.label} has no owner: the annotation is written to the pod itself")
    elif cluster.remote:
        held_back = rollouts.holds_back(workload.holder.object) if workload.holder else ""
        happens = held_back or "an edit of its pod template starts its rollout at once"
        yield Note(f"{targets.describe(workload)}: {happens}")
        if (reason := obstacles.opted_out(workload.top.object)) and not held_back:
            yield Warned(f"{workload.label}: {reason}, and this edit rolls it all the same")
    template = workload.template
    around = interception.surroundings(workload.namespace, namespace, installation)
    verdict = interception.injection(template, around, installation) if template is not None else None
    if verdict and not verdict.injected:
        yield Warned(f"{workload.label} is not injected, so this does nothing yet: {verdict.reason}")
