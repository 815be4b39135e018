"""Editing lists where they are kept: read, check, PATCH with the resourceVersion; after a conflict, all of it again."""

import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from kubectl_fsm import fields, interception, rollouts
from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.errors import ApiError, Conflict, Declined, FsmError, Refused, Unanswered, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import INTERFACES, Installation
from kubectl_fsm.operations import guards, hints, ownership
from kubectl_fsm.operations.guards import Case, Union
from kubectl_fsm.operations.patience import Patience
from kubectl_fsm.operations.places import Action, AnnotationPlace, Change, MeshConfigPlace, Place
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import EditReport, Event, ListChange, Note, Question, Warned

_PATIENCE = 120.0
"""Seconds for which conflicts are answered with another try."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_UNPROCESSABLE, _INTERNAL_SERVER_ERROR = 422, 500
_UNKNOWN = "the edit may have been carried out, or not"
_REPEAT = "repeat the command: that is safe, and writes only what is not there yet"


class Options(NamedTuple):
    """How an edit is carried out. `mesh` are the words of a command line that name the mesh again."""

    mesh: Sequence[str] = ()
    dry_run: str = ""
    yes: bool = False
    force: bool = False
    diff: bool = False


class Preview(NamedTuple):
    """An edit before it is written: its report, its `title` for a question, and what else has to be asked."""

    report: EditReport
    title: str
    questions: Sequence[str]


class _Look(NamedTuple):
    """The object as it is and as the edit would have it (the same where there is nothing to do), and what that means.

    `sound`: the next pods will start.
    """

    before: Object
    wanted: Object
    patch: Object = MappingProxyType({})
    cases: Sequence[Case] = ()
    questions: Sequence[str] = ()
    sound: bool = True


@dataclass(frozen=True)
class Edit:
    """Changes to the lists of one object, of one mesh.

    `survey` gives the MeshConfig's spec and who is affected; it is called anew for each try, so that the checks see
    what is there then. `first` is said before anything is written.
    """

    cluster: Cluster
    installation: Installation
    place: Place
    changes: Sequence[Change]
    survey: Callable[[], tuple[Object, Sequence[Subject]]]
    options: Options
    first: Sequence[Note | Warned] = ()
    _said: set[str] = field(default_factory=set, repr=False)

    def preview(self) -> Generator[Event, bool, Preview]:
        """All of it but the writing; what has to be asked is handed on, and `run` does not ask it again.

        Raises `Refused` and `ApiError` as `run`.
        """
        self._check_lists()
        look = yield from self._look()
        self._said.update(look.questions)
        return Preview(self._reported(look, look.wanted), self._title(look), look.questions)

    def run(self) -> Generator[Event, bool, EditReport]:
        """Carry the edit out; a `Question` that is yielded wants its answer sent back.

        Raises `Refused` before anything is written, `Declined` where the answer is no, `ApiError` as the server answers.
        """
        self._check_lists()
        patience = Patience(_PATIENCE, _FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            look = yield from self._look()
            if look.wanted is look.before:
                return self._reported(look, look.before)
            yield from self._ask(look)
            try:
                after = look.wanted if self.options.dry_run == "client" else self._write(look.before, look.patch)
            except Conflict:
                if patience.over:
                    raise
                patience.pause()
                continue
            except (ApiError, Unanswered) as error:
                raise self._explained(error) from error
            return self._reported(look, after)

    def _look(self) -> Generator[Event, bool, _Look]:
        """Read the object and who is affected, and check; says what has to be known, asks nothing. Raises `Refused`."""
        before = self.cluster.get(self.place.resource, self.place.name, self.place.namespace)
        values = {change.list: change(self.place.held(before, change.list)) for change in self.changes}
        if not self._changes(before, values):
            return _Look(before, before)
        patch = self.place.merge(values)
        wanted = fields.merged(before, patch)
        spec, subjects = self.survey()
        cases = [self._case(subject, before, wanted, spec) for subject in subjects]
        found = yield from self._check(cases, before, wanted)
        return _Look(before, wanted, patch, cases, found.questions, sound=not found.warnings)

    def _check_lists(self) -> None:
        """Refuse lists that the mesh's injector does not read, and ports that the mesh itself uses."""
        pod_scoped = isinstance(self.place, AnnotationPlace)
        injector = self.installation.injector
        for change in self.changes:
            if change.list is INTERFACES and pod_scoped:
                raise UsageError(
                    "network interfaces are excluded for the whole mesh only",
                    "leave --pod, --workload, -l and --all out",
                )
            if change.list not in (injector.pod_lists if pod_scoped else injector.lists):
                where = "pod annotations" if pod_scoped else "the MeshConfig"
                raise Refused(
                    f"{self.installation} (injector {injector.name}) reads no {change.list.name} list from {where}"
                )
            for value in change.values if change.action in (Action.ADD, Action.REPLACE) else ():
                if use := guards.reserved(change.list, value):
                    raise Refused(
                        f"port {value} is {use}", "the mesh itself needs it; exclude the application's own ports"
                    )

    def _changes(self, before: Object, values: Mapping[Any, Sequence[Any]]) -> bool:
        """Whether there is anything to write; `--clear` also writes an empty list where the field is missing or null."""
        if any(list(items) != list(self.place.held(before, found)) for found, items in values.items()):
            return True
        return any(change.action is Action.CLEAR and self.place.lacks(before, change.list) for change in self.changes)

    def _write(self, before: Object, patch: Object) -> Object:
        version = fields.text(before, "metadata", "resourceVersion")
        if version:
            patch = {**patch, "metadata": {**fields.mapping(patch, "metadata"), "resourceVersion": version}}
        place = self.place
        return self.cluster.patch(
            place.resource, place.name, place.namespace, patch, dry_run=self.options.dry_run == "server"
        )

    def _case(self, subject: Subject, before: Object, wanted: Object, spec: Object) -> Case:
        old, new = (self.place.union(obj, subject, spec) for obj in (before, wanted))
        return Case(subject, old, new)

    def _check(self, cases: Sequence[Case], before: Object, wanted: Object) -> Generator[Event, bool, guards.Findings]:
        """Guards: refuse and warn. Nothing is said twice."""
        if isinstance(self.place, MeshConfigPlace):
            specs = (fields.part(obj, "spec") for obj in (before, wanted))
            cases = _shared([*cases, Case(None, *(Union({}, spec) for spec in specs))])
        found = guards.check(self.installation.mesh, self.installation.injector, cases)
        if found.refusals:
            raise Refused("; ".join(found.refusals), "nothing was written")
        yield from (event for event in self.first if event.text not in self._said)
        self._said.update(event.text for event in self.first)
        yield from self._warn([*found.warnings, *self._mode_warnings(), *self._pending(cases)])
        if self.cluster.remote:
            yield from self._check_keepers(before, wanted)
        return found

    def _ask(self, look: _Look) -> Generator[Event, bool, None]:
        """Ask what has not been asked yet. Raises `Declined`."""
        questions = [text for text in look.questions if text not in self._said]
        if self.options.yes or self.options.dry_run:
            yield from self._warn(questions)
        elif questions:
            self._said.update(questions)
            if not (yield Question("\n".join([f"{self.cluster.origin}, {self._title(look)}", *questions]))):
                raise Declined("not confirmed; nothing was written")

    def _title(self, look: _Look) -> str:
        """`deploy/web: outbound-port [] → [80]`."""
        changes = [f"{change.list} {change}" for change in self._list_changes(look.before, look.wanted)]
        return f"{self.place.title}: {'; '.join(changes)}"

    def _warn(self, texts: Sequence[str]) -> Generator[Event, bool, None]:
        for text in texts:
            if text not in self._said:
                self._said.add(text)
                yield Warned(text)

    def _mode_warnings(self) -> Sequence[str]:
        if self.installation.intercepts:
            return ()
        mode = self.installation.mode or "(none)"
        text = f"{self.installation} has interceptionMode {mode}: its pods get no init container"
        if mode == "ebpf" and isinstance(self.place, AnnotationPlace):
            return [f"{text}; pod annotations count there, but not as iptables rules"]
        return [f"{text}, and this list is not used"]

    def _pending(self, cases: Sequence[Case]) -> Sequence[str]:
        """What a pod template's rollout brings besides the edit: what new pods lack before it, and after it as well."""
        if not isinstance(self.place, AnnotationPlace) or not self.place.template:
            return ()
        compare = interception.Comparison(self.installation)
        found = [
            text
            for case in cases
            if case.subject
            for text in _both(*(compare.pending(case.subject.pods, one.annotations, one.spec) for one in case[1:]))
        ]
        what = ", ".join(dict.fromkeys(found))
        return [f"new pods of {self.place.title} also get what is pending already: {what}"] if what else ()

    def _check_keepers(self, before: Object, wanted: Object) -> Generator[Event, bool, None]:
        paths = [self.place.path(change.list) for change in self.changes]
        for keeper in ownership.keepers(self.cluster, before, paths):
            if keeper.takes_back and not self.options.force:
                patch = fields.as_yaml(_excerpt(wanted, paths))
                hint = f"change it where it is kept, or repeat with --force; nothing was written\n{patch}"
                raise Refused(f"{self.place.title} is not edited: {keeper.text}", hint)
            yield from self._warn([f"{self.place.title}: {keeper.text}"])

    def _explained(self, error: ApiError | Unanswered) -> FsmError:
        """What a failed write means: whether it may have been carried out all the same, and what to do.

        A 422 about a field that the edit does not touch is an older mistake: say which, and how to mend it.
        """
        if isinstance(error, Unanswered):
            return error if self.options.dry_run else Unanswered(f"{error.message}; {_UNKNOWN}", _REPEAT)
        if error.status >= _INTERNAL_SERVER_ERROR and not self.options.dry_run:
            return ApiError(error.status, error.reason, f"{error.message}; {_UNKNOWN}", _REPEAT, error.details)
        if error.status != _UNPROCESSABLE:
            return error
        causes = error.details.get("causes") if isinstance(error.details, Mapping) else None
        named = [str(cause.get("field", "")) for cause in causes or () if isinstance(cause, Mapping)]
        ours = tuple(".".join(self.place.path(change.list)) for change in self.changes)
        others = [name for name in named if name and not name.startswith(ours)]
        if not others:
            return error
        target = [self.place.resource.qualified, self.place.name, "-n", self.place.namespace, *self.cluster.words]
        hint = f"it was invalid before this edit; mend {', '.join(others)} first: kubectl edit {shlex.join(target)}"
        return ApiError(error.status, error.reason, error.message, hint, error.details)

    def _list_changes(self, before: Object, after: Object) -> Sequence[ListChange]:
        held = self.place.held
        return [
            ListChange(change.list.name, _texts(held(before, change.list)), _texts(held(after, change.list)))
            for change in self.changes
        ]

    def _reported(self, look: _Look, after: Object) -> EditReport:
        """What was edited, what it means for the pods that run, and what to do next."""
        before, edited = look.before, after is not look.before
        shown = self._list_changes(before, after)
        counts = self._counts(look.cases)
        outdated = [subject for subject, count in counts if count]
        rolls_itself = isinstance(self.place, AnnotationPlace)
        good = look.sound and self.installation.intercepts and not rolls_itself
        undoable = edited and self.cluster.remote
        return EditReport(
            object=f"{self.place.resource.named}/{self.place.name}",
            namespace=self.place.namespace,
            origin=self.cluster.origin,
            mesh=str(self.installation),
            result="edited" if edited else "unchanged",
            dry_run=self.options.dry_run,
            changes=shown,
            pods=sum(len(subject.pods) for subject, _ in counts),
            outdated=sum(count for _, count in counts),
            apply=hints.apply_all(outdated, self.cluster.words) if good else (),
            undo=hints.undo(shown, [*self.place.scope, *self.options.mesh, *self.cluster.words]) if undoable else "",
            consequence=self._consequence(after) if edited else "",
            previous=before,
            resource=after,
            diff=self.options.diff,
        )

    def _counts(self, cases: Sequence[Case]) -> Sequence[tuple[Subject, int]]:
        """Who is affected, and how many of its pods run other rules than the next one will."""
        compare = interception.Comparison(self.installation)
        return [
            (case.subject, compare.outdated(case.subject.pods, case.after.annotations, case.after.spec))
            for case in _shared(cases)
            if case.subject
        ]

    def _consequence(self, obj: Object) -> str:
        """What happens now, by the kind of object."""
        place = self.place
        if isinstance(place, MeshConfigPlace):
            return "every new pod gets it from now on; running pods keep their rules until they are recreated"
        if isinstance(place, AnnotationPlace) and not place.template:
            return "rules are made with the pod: only a new pod will have it"
        if isinstance(place, AnnotationPlace) and place.user:
            return f"{place.user} uses this pod template and rolls it out"
        if held_back := rollouts.holds_back(obj):
            return held_back
        if not self.cluster.remote:
            return "an edit of the pod template starts the workload's rollout at once"
        words = ["-n", place.namespace, *self.cluster.words]
        return f"its rollout has started{hints.follow(place.resource, place.title, words)}"


def _shared(cases: Sequence[Case]) -> Sequence[Case]:
    """The same cases with one spec object for all, so that work is shared between pods configured alike."""
    if not cases:
        return cases
    before, after = cases[0].before.spec, cases[0].after.spec
    return [Case(case.subject, case.before._replace(spec=before), case.after._replace(spec=after)) for case in cases]


def _both(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    return [text for text in before if text in after]


def _texts(items: Sequence[Any]) -> Sequence[str]:
    return [str(item) for item in items]


def _excerpt(obj: Object, paths: Sequence[tuple[str, ...]]) -> Object:
    """The fields at `paths` alone, with what names the object."""
    found: dict[str, Any] = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {"name": fields.name(obj), "namespace": fields.namespace(obj)},
    }
    for path in paths:
        below = found
        for step in path[:-1]:
            below = below.setdefault(step, {})
        below[path[-1]] = fields.mapping(obj, *path[:-1]).get(path[-1])
    return found
