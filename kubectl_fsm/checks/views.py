"""What checks look at: a mesh, a namespace, a workload, and behind them the scene, which reads everything once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from kubectl_fsm import exclusions, fields, generator, interception, workloads
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.cluster.interface import BUILT_IN, Cluster, Resource
from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.exclusions import Effective, Settings
from kubectl_fsm.fields import Object, Step
from kubectl_fsm.interception import Injection, Upcoming
from kubectl_fsm.meshes import MESHES, ExclusionList, Installation, Mesh
from kubectl_fsm.netfilter.model import Ruleset
from kubectl_fsm.operations import meshes
from kubectl_fsm.operations.inspect import Situation, likeness, situation
from kubectl_fsm.operations.owners import Owners, Workload
from kubectl_fsm.operations.survey import Subject

T = TypeVar("T")

LONG = 50
"""So many values are named in what mends a list, and a longer list is not written anew."""
_NAMED = 2
_NOTHING = Effective((), Settings())
_LABELS: Mapping[str, str] = {one.kind: one.label for one in BUILT_IN} | {"Namespace": "ns"}
_GROUPS: Mapping[str, str] = {one.kind: one.group for one in BUILT_IN}


def label(obj: Object) -> str:
    """`deploy/web`, `svc/redis`, `MeshConfig/fsm-mesh-config`; with the group where a built-in kind has that name."""
    kind, group = fields.text(obj, "kind"), fields.text(obj, "apiVersion").rpartition("/")[0]
    if _GROUPS.get(kind, "") != group and kind in _GROUPS:
        return f"{kind.lower()}.{group}/{fields.name(obj)}"
    return f"{_LABELS.get(kind, kind)}/{fields.name(obj)}"


def named(objects: Sequence[Object]) -> str:
    """`web-1, web-2 and 3 more`."""
    more = len(objects) - _NAMED
    return ", ".join(map(fields.name, objects[:_NAMED])) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, eq=False)
class Scene:
    """A cluster, or files, and the part of it that is to be checked.

    `scope` is the one namespace that is looked at, empty for all; `whole` is whether all that is in it is, and not only
    what was named. What was read once is kept, also that it may not be read. `owners` know the workloads read so far.
    With `narrowed` there may be other meshes than the `installations`.
    """

    cluster: Cluster
    owners: Owners
    installations: Sequence[Installation]
    namespaces: Mapping[str, Object]
    subjects: Sequence[Subject]
    scope: str
    narrowed: bool = False
    whole: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    """What was looked at in part only, and why."""
    _listed: dict[tuple[Resource, str, str, str], Sequence[Object] | Forbidden] = field(default_factory=dict)
    _kinds: dict[str, Resource | NotFound] = field(default_factory=dict)
    _made: dict[Any, Any] = field(default_factory=dict)

    def list(
        self, resource: Resource, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Object]:
        """As the cluster lists them; nothing of a kind that it does not serve. Raises `Forbidden`."""
        key = resource, namespace, selector, field_selector
        if key not in self._listed:
            try:
                self._listed[key] = list(self.cluster.list(resource, namespace, selector, field_selector))
            except NotFound:
                self._listed[key] = ()
            except Forbidden as error:
                self._listed[key] = error
        found = self._listed[key]
        if isinstance(found, Forbidden):
            raise found
        return found

    def wide(self, kind: Resource | str) -> Sequence[Object]:
        """Those of all namespaces; where these may not be listed those of the one namespace looked at, with a note.

        Raises `Forbidden` where that may not be listed either.
        """
        try:
            return self.named(kind) if isinstance(kind, str) else self.list(kind)
        except Forbidden as error:
            if not self.scope:
                raise
            found = self.named(kind, self.scope) if isinstance(kind, str) else self.list(kind, self.scope)
            self.notes[f"looked at in namespace {self.scope} only: {error.message}"] = None
            return found

    def named(self, kind: str, namespace: str = "") -> Sequence[Object]:
        """All objects of a kind such as `traffictargets.access.smi-spec.io`, nothing where there is none. Raises `Forbidden`."""
        try:
            return self.list(self.resource_named(kind), namespace)
        except NotFound:
            return ()

    def resource_named(self, kind: str) -> Resource:
        """As the cluster has it. Raises `NotFound`."""
        if kind not in self._kinds:
            try:
                self._kinds[kind] = self.cluster.resource_named(kind)
            except NotFound as error:
                self._kinds[kind] = error
        found = self._kinds[kind]
        if isinstance(found, NotFound):
            raise found
        return found

    def once(self, make: Callable[["Scene"], T]) -> T:
        """What is made of the whole scene, such as an index, and made once."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    @cached_property
    def meshes(self) -> Sequence["MeshView"]:
        """The meshes that the workloads of the namespace have to do with; all where there are none, and of all namespaces."""
        concerned = {id(view.installation) for view in self.workloads if view.meshed} if self.scope else set()
        found = [MeshView(self, one) for one in self.installations if one.config and id(one) in concerned]
        return found or [MeshView(self, one) for one in self.installations if one.config]

    @cached_property
    def places(self) -> Sequence["NamespaceView"]:
        """The namespaces looked at; of all namespaces those that have to do with a mesh."""
        used = {subject.workload.namespace for subject in self.subjects} | {self.scope}
        return [
            NamespaceView(self, namespace, meshes.of_namespace(self.installations, namespace))
            for name, namespace in sorted(self.namespaces.items())
            if (name in used if self.scope else self._concerned(namespace))
        ]

    @cached_property
    def workloads(self) -> Sequence["WorkloadView"]:
        """What makes pods; of all namespaces only what has to do with a mesh."""
        views = [self.view(subject) for subject in self.subjects]
        return [view for view in views if self.scope or view.meshed]

    @property
    def outside(self) -> int:
        """How many workloads were left out, since they have to do with no mesh."""
        return len(self.subjects) - len(self.workloads)

    def view(self, subject: Subject) -> "WorkloadView":
        """A workload, seen as part of its mesh."""
        namespace = self.namespaces.get(subject.workload.namespace)
        installation = meshes.of_pod(self.installations, namespace, *subject.pods) or self.installations[0]
        return WorkloadView(self, installation, subject, namespace)

    def _concerned(self, namespace: Object) -> bool:
        """Whether a namespace is part of a mesh, one that is not there included, or is meant to be."""
        labels, annotations = fields.labels(namespace), fields.annotations(namespace)
        labelled = any(one.monitored_label in labels for one in MESHES)
        return labelled or any(one.mesh.injection_key in annotations for one in self.installations)


@dataclass(frozen=True, eq=False)
class MeshView(ListHolder):
    """A mesh whose MeshConfig is there."""

    source = "MeshConfig"

    @property
    def object(self) -> Object:
        return self.installation.config

    @property
    def scope_words(self) -> Sequence[str]:
        several = len(self.scene.installations) > 1 or self.scene.narrowed
        return ("-N", self.installation.namespace) if several else ()

    @property
    def kubectl_name(self) -> str:
        return f"{meshes.resource(self.installation).qualified}/{self.installation.config_name}"

    @cached_property
    def union(self) -> Effective:
        """What the MeshConfig alone makes of every pod's rules."""
        installation = self.installation
        return (
            exclusions.effective(installation.injector, {}, installation.spec) if installation.intercepts else _NOTHING
        )

    @cached_property
    def sound(self) -> Effective:
        return exclusions.sound(self.union)

    @cached_property
    def script(self) -> str:
        if not self.installation.intercepts:
            return ""
        return generator.script(self.installation.injector, exclusions.loadable(self.union))

    def place(self, found: ExclusionList, value: str = "") -> Sequence[Step]:
        held = [str(one) for one in exclusions.raw_values(found, self.installation.spec)]
        return "spec", "traffic", found.field, *([held.index(value)] if value in held else [])

    def holds(self, found: ExclusionList) -> bool:
        return bool(exclusions.raw_values(found, self.installation.spec))

    @property
    def workloads(self) -> Iterator["WorkloadView"]:
        """The workloads looked at that belong to it."""
        return (view for view in self.scene.workloads if view.installation is self.installation and view.meshed)


@dataclass(frozen=True, eq=False)
class NamespaceView:
    """A namespace, and the mesh that its label names, if it names one of those that are there."""

    scene: Scene
    object: Object
    installation: Installation | None

    @property
    def name(self) -> str:
        return fields.name(self.object)

    @property
    def workloads(self) -> Sequence["WorkloadView"]:
        """The workloads looked at that are in it."""
        return self.scene.once(by_namespace).get(self.name, ())


class Group(NamedTuple):
    """Pods of one workload that stand alike."""

    situation: Situation
    pods: Sequence[Object]

    def __str__(self) -> str:
        """`pod web-1`, or `3 pods (web-1, web-2 and 1 more)`."""
        return f"{len(self.pods)} pods ({named(self.pods)})" if len(self.pods) > 1 else f"pod {named(self.pods)}"


@dataclass(frozen=True, eq=False)
class WorkloadView(ListHolder):
    """A workload or bare pod, its living pods, and what its next pod will be."""

    subject: Subject
    namespace: Object | None
    source = "pod annotation"

    @property
    def object(self) -> Object:
        """What keeps the pod template."""
        return self.workload.holder.object if self.workload.holder else self.workload.top.object

    @property
    def workload(self) -> Workload:
        return self.subject.workload

    @property
    def template(self) -> Object:
        return self.subject.template

    @property
    def template_path(self) -> Sequence[str]:
        """Where the template is in the object; empty for a bare pod."""
        return workloads.template_path(self.object) or ()

    @property
    def annotations(self) -> Mapping[str, str]:
        """Those of the next pod."""
        return self.subject.annotations

    def annotation_path(self, key: str) -> Sequence[str]:
        """Where an annotation of the template is in the object."""
        return (*self.template_path, "metadata", "annotations", key)

    @property
    def scope_words(self) -> Sequence[str]:
        scope = f"--pod={fields.name(self.object)}" if self.workload.bare else f"--workload={self.kubectl_name}"
        return scope, "-n", self.workload.namespace

    @property
    def kubectl_name(self) -> str:
        return (self.workload.holder or self.workload.top).label

    @property
    def uneditable(self) -> str:
        return self.workload.refusal or ("a bare pod is what its manifest says" if self.workload.bare else "")

    @cached_property
    def union(self) -> Effective:
        """What its next pod's rules are made from, without what cannot be read."""
        if not self.injected or not self.installation.intercepts:
            return _NOTHING
        return exclusions.judged(self.installation.injector, self.annotations, self.installation.spec)[0]

    def place(self, found: ExclusionList, value: str = "") -> Sequence[Step]:  # noqa: ARG002 - an annotation is one field
        return self.annotation_path(self.installation.injector.annotation(found))

    def holds(self, found: ExclusionList) -> bool:
        return self.installation.injector.annotation(found) in self.annotations

    @cached_property
    def meshed(self) -> bool:
        """Whether it has to do with the mesh: its namespace is part of it, or its pods are."""
        if self.namespace is None:
            return self.workload.namespace not in (*interception.UNMESHED, self.installation.namespace)
        labels = [fields.mapping(one, "metadata", "labels") for one in (self.namespace, *self.subject.pods)]
        mesh = self.installation.mesh
        return mesh.monitored_label in labels[0] or any(mesh.uuid_label in one for one in labels[1:])

    @cached_property
    def injection(self) -> Injection:
        """Whether the next pod will be injected, and why (not)."""
        around = interception.surroundings(self.workload.namespace, self.namespace, self.installation)
        return interception.injection(self.template, around, self.installation)

    @cached_property
    def injected(self) -> bool:
        """Whether the next pod will be injected once its injector can read what is said of that.

        What it cannot read is taken for a yes, as its mend has it, so that it hides nothing else.
        """
        if not self.injection.refused:
            return self.injection.injected
        around = interception.surroundings(self.workload.namespace, self.namespace, self.installation)
        mesh = self.installation.mesh
        template = _switched_on(self.template, mesh)
        namespace = None if around is None else _switched_on(around, mesh)
        return interception.injection(template, namespace, self.installation).injected

    @cached_property
    def next(self) -> Situation:
        """The next pod: what it will run, and what would keep it from starting."""
        return situation(self.subject, None, self.namespace, self.installation)

    @property
    def coming(self) -> Upcoming:
        return self.next.coming

    @property
    def wanted(self) -> Effective:
        """The next pod's lists; empty where it will have no rules."""
        return self.coming.wanted or _NOTHING

    @cached_property
    def readable(self) -> Mapping[str, str]:
        """The next pod's annotations without the items for which the injector refuses it."""
        return exclusions.readable(self.installation.injector, self.annotations)

    @cached_property
    def sound(self) -> Effective:
        if not self.injected or not self.installation.intercepts:
            return _NOTHING
        source = self.source if self.workload.bare else f"{self.workload.label} template"
        injector, spec = self.installation.injector, self.installation.spec
        return exclusions.sound(exclusions.effective(injector, self.readable, spec, pod_source=source))

    @cached_property
    def script(self) -> str:
        if not self.injected or not self.installation.intercepts:
            return ""
        return generator.script(self.installation.injector, exclusions.loadable(self.sound))

    @property
    def whole_script(self) -> str:
        """As for any holder; empty also where it is not sure that the pods are to be injected, which nobody dials then."""
        return "" if self.injection.refused else super().whole_script

    @cached_property
    def ruleset(self) -> Ruleset | None:
        """The rules of that script; None where there is none."""
        return interception.read_script(self.script).ruleset if self.script else None

    def said(self, group: Group, text: str) -> str:
        """The text with the pods that it is said of; of a bare pod alone."""
        return text if self.workload.bare else f"{group}: {text}"

    @cached_property
    def groups(self) -> Sequence[Group]:
        """Its living pods, those that stand alike together."""
        found: dict[object, list[Object]] = {}
        for pod in self.subject.pods:
            if workloads.lives(pod):
                ready = workloads.container_readiness(pod, self.installation.mesh.sidecar)
                found.setdefault((likeness(pod, self.installation), ready), []).append(pod)
        return [
            Group(situation(self.subject, pods[0], self.namespace, self.installation), pods) for pods in found.values()
        ]


def _switched_on(obj: Object, mesh: Mesh) -> Object:
    """A template or namespace with a yes in the place of each switch that the injector cannot read."""
    said = fields.annotations(obj)
    unread = [key for key in (mesh.injection_key, mesh.metrics_key) if interception.answer(said.get(key, "no")) is None]
    annotations = {**said, **dict.fromkeys(unread, interception.YES[0])}
    return {**obj, "metadata": {**fields.mapping(obj, "metadata"), "annotations": annotations}}


def by_namespace(scene: Scene) -> Mapping[str, Sequence[WorkloadView]]:
    """The workloads looked at, by namespace."""
    found: dict[str, list[WorkloadView]] = {}
    for view in scene.workloads:
        found.setdefault(view.workload.namespace, []).append(view)
    return found
