"""The plan file of a restart: what is still to do, on disk from before the first write until all is done."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import NAMESPACES, PODS, Cluster
from kubectl_fsm.errors import Forbidden, InvalidObject, NotFound, Refused, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import applied, files
from kubectl_fsm.operations.canary import Canary
from kubectl_fsm.operations.lineup import fit
from kubectl_fsm.operations.manner import Manner, place
from kubectl_fsm.operations.obstacles import EVICT, RECREATE
from kubectl_fsm.operations.owners import Located, Workload
from kubectl_fsm.operations.steps import Step, Work
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import WORKING, Event, Note, Turn, Warned

API_VERSION, KIND = "kubectl-fsm/v1", "RestartPlan"
_ENDED = ("done", "started", "current", "unchanged", "gone")
"""Results after which nothing is to be done about a workload any more."""
_STATES = ("", "waiting", *_ENDED, *WORKING, "left", "failed", "interrupted")
_REMEDIES = {"evict": EVICT, "recreate": RECREATE}
"""By their keys in a plan file."""
IDENTITY = "kube-system"
"""The Namespace whose uid tells clusters apart."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a plan file, at most."""
_LONGEST = 24 * 60 * 60


class Entry(NamedTuple):
    """A workload of a plan.

    `state`: `waiting`, or that of its last `reports.Turn`; `mark` tells, on the workload, what was begun; `canary`:
    whether the others wait for it.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    canary: bool = False
    state: str = "waiting"
    mark: str = ""
    text: str = ""

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def recreated(self) -> bool:
        """Whether it is a bare pod that was to be deleted; its manifest is in the file that `mark` names."""
        return self.kind == PODS.kind and bool(self.mark)

    @property
    def keys(self) -> Sequence[str]:
        """What its workload is known by: the uid; that of a pod that is created anew changes, and its place does not."""
        return [self.uid, f"{self.namespace}/{PODS.label}/{self.name}"] if self.recreated else [self.uid]


class Plan(NamedTuple):
    """What a restart does, and where: `cluster` is the uid of the Namespace kube-system, which no two clusters share.

    `everything`: pods that run current rules are replaced too; `bake`: for how many seconds a canary has to stay
    healthy; `remedies`: what is done about pods that have no rolling update, as `Manner` has it.
    """

    cluster: str
    meshes: Sequence[str]
    everything: bool
    bake: float
    entries: Sequence[Entry] = ()
    remedies: Collection[str] = ()
    respects_budgets: bool = False

    @property
    def selection(self) -> Selection:
        """Where its workloads are."""
        namespaces = {entry.namespace for entry in self.entries}
        return Selection(namespace=min(namespaces)) if len(namespaces) == 1 else Selection(everywhere=True)

    @property
    def marks(self) -> Mapping[str, str]:
        """What was begun; see `Entry.keys`."""
        return {key: entry.mark for entry in self.entries if entry.mark for key in entry.keys}

    def manner(self, asked: Manner) -> Manner:
        """How it is carried out: as it was to be, at the pace that is asked for now. Raises `UsageError`."""
        if not asked.wait and (self.remedies or any(entry.canary and not entry.ended for entry in self.entries)):
            raise UsageError("the plan has a canary, or pods to evict or create, and --no-wait waits for nothing")
        respects = self.respects_budgets or asked.respects_budgets
        return asked._replace(
            everything=self.everything, remedies=self.remedies, marks=self.marks, respects_budgets=respects
        )

    def of(self, subjects: Sequence[Subject]) -> Sequence[Subject]:
        """The subjects that wait, in the order of the plan; all of them where there is no plan yet.

        A pod that was deleted to be created anew is the one of its name by now, or what its manifest says.
        """
        if not self.entries:
            return subjects
        found = {key: subject for subject in subjects for key in _keys(subject)}
        waiting = [_subject(entry, found) for entry in self.entries if not entry.ended]
        return [subject for subject in waiting if subject]

    def canary(self, steps: Sequence[Step]) -> Step | None:
        """The step of the workload for which the others wait; None where none is left. Raises `Refused` as `lineup.fit`."""
        uids = {entry.uid for entry in self.entries if entry.canary}
        found = next((step for step in steps if step.subject.workload.uid in uids), None)
        return fit(found) if found else None

    def check(self, cluster: str, installations: Sequence[Installation], origin: str) -> None:
        """Raise `Refused` where this is not the plan's cluster, or its mesh is another."""
        if self.cluster and not cluster:
            raise Refused(
                f"whether {origin} is the plan's cluster is told by the Namespace kube-system, which cannot be read",
                "nothing was restarted",
            )
        if cluster != self.cluster:
            raise Refused(
                f"the plan is for another cluster than {origin}: kube-system there has the uid {self.cluster}, here {cluster}",
                "nothing was restarted; --context or --kubeconfig names another cluster",
            )
        here = [*map(title, installations)]
        if missing := [mesh for mesh in self.meshes if mesh not in here]:
            raise Refused(
                f"the plan is for the mesh {missing[0]}, and here is {', '.join(here)}", "nothing was restarted"
            )


def _keys(subject: Subject) -> Sequence[str]:
    """As `Entry.keys`."""
    workload = subject.workload
    return [workload.uid, place(workload)] if workload.bare else [workload.uid]


def _subject(entry: Entry, found: Mapping[str, Subject]) -> Subject | None:
    """What an entry is about; None for what is gone for good."""
    subject = next((found[key] for key in entry.keys if key in found), None)
    if not entry.recreated or (subject and any(map(workloads.lives, subject.pods))):
        return subject
    return _recreated(entry)


def _recreated(entry: Entry) -> Subject:
    """A bare pod that was deleted; without a template, and with the reason, where its manifest cannot be read."""
    metadata = {"namespace": entry.namespace, "name": entry.name, "uid": entry.uid}
    try:
        manifest = applied.read(entry.mark, entry.namespace, entry.name)
    except Refused as error:
        return Subject(Workload(Located(PODS, {"metadata": metadata}), None, error.message), ())
    top = {**manifest, "metadata": {**fields.mapping(manifest, "metadata"), **metadata}}
    return Subject(Workload(Located(PODS, top), Located(PODS, manifest)), ())


def identity(cluster: Cluster) -> str:
    """The uid of kube-system; empty for who may not read it, and where there is none."""
    try:
        return fields.uid(cluster.get(NAMESPACES, IDENTITY))
    except (Forbidden, NotFound):
        return ""


def title(installation: Installation) -> str:
    """A mesh as a plan names it: without its version, which an upgrade changes."""
    return " ".join(part for part in (installation.mesh.name, installation.name, installation.namespace) if part)


def read(path: str) -> Plan:
    """The plan in a file. Raises `Refused`, which names file and field."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise Refused(f"{path} is no plan of a restart: it has more than {_LARGEST} bytes", "nothing was restarted")
        return _parsed(json.loads(text))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "--resume takes the plan file that a restart left") from error
    except (ValueError, RecursionError, InvalidObject) as error:
        raise Refused(f"{path} is no plan of a restart: {error}", "nothing was restarted") from error


def _parsed(found: object) -> Plan:
    """As `_document` wrote it. Raises `InvalidObject`."""
    if not isinstance(found, Mapping) or (found.get("apiVersion"), found.get("kind")) != (API_VERSION, KIND):
        raise InvalidObject(f"it is not of apiVersion {API_VERSION} and kind {KIND}")
    bake = found.get("bakeSeconds", 0)
    if isinstance(bake, bool) or not isinstance(bake, int | float) or not 0 <= bake <= _LONGEST:
        raise InvalidObject(f"bakeSeconds is no number of seconds up to {_LONGEST}")
    count = len(fields.items(found, "items"))
    if not count:
        raise InvalidObject("items is empty")
    entries = [_entry(found, index) for index in range(count)]
    places: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if index != (first := places.setdefault(entry.uid, index)):
            raise InvalidObject(f"items[{index}] is the workload of items[{first}]")
    return Plan(
        cluster=_filled(found, "cluster"),
        meshes=[fields.text(found, "meshes", index) for index in range(len(fields.sequence(found, "meshes")))],
        everything=fields.boolean(found, "allPods") or False,
        remedies=[option for key, option in _REMEDIES.items() if fields.boolean(found, key)],
        respects_budgets=fields.boolean(found, "respectPdb") or False,
        bake=bake,
        entries=entries,
    )


def _filled(found: Object, *path: fields.Step) -> str:
    """A text that may not be missing or empty."""
    if text := fields.text(found, *path):
        return text
    raise InvalidObject(f"{fields.dotted(*path)} is missing")


def _entry(found: Object, index: int) -> Entry:
    names = ("apiVersion", "kind", "namespace", "name", "uid")
    api_version, kind, namespace, name, uid = (_filled(found, "items", index, key) for key in names)
    if (state := fields.text(found, "items", index, "state")) not in _STATES:
        raise InvalidObject(f"items[{index}].state is {state!r}, which is none")
    mark, text = (fields.text(found, "items", index, key) for key in ("mark", "message"))
    canary = fields.boolean(found, "items", index, "canary") or False
    return Entry(api_version, kind, namespace, name, uid, canary, state, mark, text)


def _document(plan: Plan) -> Mapping[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "cluster": plan.cluster,
        "meshes": list(plan.meshes),
        "allPods": plan.everything,
        **{key: option in plan.remedies for key, option in _REMEDIES.items()},
        "respectPdb": plan.respects_budgets,
        "bakeSeconds": plan.bake,
        "items": [
            {
                "apiVersion": entry.api_version,
                "kind": entry.kind,
                "namespace": entry.namespace,
                "name": entry.name,
                "uid": entry.uid,
                "canary": entry.canary,
                "state": entry.state,
                "mark": entry.mark,
                "message": entry.text,
            }
            for entry in plan.entries
        ],
    }


class Record:
    """Keeps the plan file of a restart under way; see `queue.run`."""

    def __init__(self, plan: Plan, work: Work, words: Sequence[str], path: str = "") -> None:
        """`words` name the cluster on a command line; no `path`: a new file."""
        self._plan = plan
        self._entries, self._places = _entries(plan.entries, work)
        self._words = words
        self._path = path
        self._trouble = ""

    @property
    def resume(self) -> str:
        """The command that goes on; empty where nothing is left to do, or no plan could be kept."""
        if not self._path or self._done:
            return ""
        return f"kubectl fsm restart --resume {shlex.join([self._path, *self._words])}"

    @property
    def _done(self) -> bool:
        return all(entry.ended for entry in self._entries)

    def begin(self) -> Iterator[Event]:
        """Write the file, before anything else is written."""
        if not self._plan.cluster:
            yield Warned(
                "no plan is kept for --resume: the Namespace kube-system, which tells clusters apart, cannot be read"
            )
            return
        try:
            fresh = "" if self._path else files.new("fsm-restart")
        except OSError as error:
            yield Warned(f"no plan is kept for --resume: {error.strerror}: {error.filename}")
            return
        self._path = self._path or fresh
        self._save()
        if self._trouble and fresh:
            yield Warned(f"no plan is kept for --resume: {self._trouble}: {fresh}")
            Path(fresh).unlink()
            self._path = self._trouble = ""
        elif len(self._places) > 1 and fresh:
            yield Note(f"what is left to do is kept in {fresh}, which goes when all is done")
        elif self._trouble:
            yield Warned(f"the plan {self._path} cannot be kept up to date: {self._trouble}")

    def keep(self, number: int, turn: Turn) -> None:
        """Note how far a job is."""
        place = self._places[number]
        entry = self._entries[place]
        self._entries[place] = entry._replace(state=turn.state, mark=turn.mark or entry.mark, text=turn.text)
        self._save()

    def end(self) -> Iterator[Event]:
        """Take the file away where nothing is left to do, else say where it is."""
        if self._trouble:
            yield Warned(f"the plan {self._path} is not up to date: {self._trouble}")
        if self._path and self._done:
            with suppress(OSError):
                Path(self._path).unlink()
        elif self._path:
            yield Note(f"what is left to do is in {self._path}")

    def _save(self) -> None:
        """Replace the file as a whole. A restart under way does not end because that fails: `end` says it."""
        if not self._path:
            return
        text = json.dumps(_document(self._plan._replace(entries=self._entries)), indent=1) + "\n"
        beside = Path(f"{self._path}.new")
        try:
            beside.unlink(missing_ok=True)
            with open(beside, "x", opener=files.private) as file:
                file.write(text)
            beside.replace(self._path)
            self._trouble = ""
        except OSError as error:
            self._trouble = str(error.strerror)
            with suppress(OSError):
                beside.unlink()


def _entries(before: Sequence[Entry], work: Work) -> tuple[list[Entry], Mapping[int, int]]:
    """The entries of a plan for this work, and the place of each job's by the job's number.

    What a plan had before is left where it is not even among the steps; what is left alone now stays to be done.
    """
    why = {key: step.left.detail for step, _ in work if step.left for key in _keys(step.subject)}
    entries = [_carried_over(entry, next((why[key] for key in entry.keys if key in why), "")) for entry in before]
    known = {key: index for index, entry in enumerate(entries) for key in entry.keys}
    places = {}
    for number, (step, job) in enumerate(work):
        if not job:
            continue
        workload = step.subject.workload
        index = next((known[key] for key in _keys(step.subject) if key in known), len(entries))
        if index == len(entries):
            top = workload.top
            names = top.resource.api_version, top.resource.kind, workload.namespace, fields.name(top.object)
            entries.append(Entry(*names, workload.uid))
        places[number] = index
        entries[index] = entries[index]._replace(state="waiting", text="", canary=isinstance(job, Canary))
    return entries, places


def _carried_over(entry: Entry, why: str) -> Entry:
    if entry.ended:
        return entry
    return entry._replace(text=why) if why else entry._replace(state="gone", text="it is gone, skipped or current")
