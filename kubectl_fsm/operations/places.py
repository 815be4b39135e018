"""Where lists are kept and how: numbers and strings in the MeshConfig, comma separated annotations on a pod template."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from kubectl_fsm import fields, workloads
from kubectl_fsm.cluster.interface import Resource
from kubectl_fsm.errors import Refused
from kubectl_fsm.exclusions import atoi, is_ipv4, items, network
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import ExclusionList, Injector, Installation, Item
from kubectl_fsm.operations.guards import Union
from kubectl_fsm.operations.owners import Workload
from kubectl_fsm.operations.survey import Subject


class Action(Enum):
    """What an edit does with the values it is given."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    CLEAR = "clear"


class Change(NamedTuple):
    """One list to be changed; `values` are as `exclusions.parse_…` return them."""

    list: ExclusionList
    action: Action
    values: Sequence[str] = ()

    def __call__(self, held: Sequence[Any]) -> Sequence[Any]:
        """The list after the change. Items that are kept stay as they are, whatever they are."""
        wanted = {self._key(value): value for value in self.values}
        known = {self._key(item): item for item in held}
        if self.action is Action.CLEAR:
            return []
        if self.action is Action.REMOVE:
            return [item for item in held if self._key(item) not in wanted]
        if self.action is Action.REPLACE:
            return [known.get(key, value) for key, value in wanted.items()]
        return [*held, *(value for key, value in wanted.items() if key not in known)]

    def _key(self, item: object) -> str:
        """Equal for items that mean the same."""
        text = str(item)
        if self.list.item is Item.PORT:
            return str(atoi(text) or text)
        if self.list.item is Item.RANGE:
            return network(f"{text}/32" if is_ipv4(text) else text)
        return text


class Place(Protocol):
    """An object that keeps lists, and how it keeps them."""

    @property
    def resource(self) -> Resource: ...
    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def title(self) -> str:
        """What a message calls it: `deploy/web`, `MeshConfig fsm-mesh-config`."""

    @property
    def scope(self) -> Sequence[str]:
        """The words of a command line that name it as an edit's scope."""

    def held(self, obj: Object, exclusion_list: ExclusionList) -> Sequence[Any]:
        """The list's items as the object holds them."""

    def lacks(self, obj: Object, exclusion_list: ExclusionList) -> bool:
        """Whether an empty list has to be written to make the object hold one."""

    def merge(self, values: Mapping[ExclusionList, Sequence[Any]]) -> Object:
        """The JSON merge patch that makes the object hold these items."""

    def path(self, exclusion_list: ExclusionList) -> tuple[str, ...]:
        """The field that keeps the list."""

    def union(self, obj: Object, subject: Subject, spec: Object) -> Union:
        """What the subject's next pod is made from, if the object is as given and the MeshConfig's spec is `spec`."""


class MeshConfigPlace(NamedTuple):
    """The mesh-wide lists."""

    resource: Resource
    name: str
    namespace: str

    @property
    def title(self) -> str:
        return f"{self.resource.kind} {self.name}"

    @property
    def scope(self) -> Sequence[str]:
        return ()

    def held(self, obj: Object, exclusion_list: ExclusionList) -> Sequence[Any]:
        return fields.sequence(obj, *self.path(exclusion_list))

    def lacks(self, obj: Object, exclusion_list: ExclusionList) -> bool:
        return fields.mapping(obj, "spec", "traffic").get(exclusion_list.field) is None

    def merge(self, values: Mapping[ExclusionList, Sequence[Any]]) -> Object:
        traffic = {found.field: [_stored(found, item) for item in items] for found, items in values.items()}
        return {"spec": {"traffic": traffic}}

    def path(self, exclusion_list: ExclusionList) -> tuple[str, ...]:
        return ("spec", "traffic", exclusion_list.field)

    def union(self, obj: Object, subject: Subject, spec: Object) -> Union:  # noqa: ARG002 - the object has it
        return Union(subject.annotations, fields.part(obj, "spec"))


class AnnotationPlace(NamedTuple):
    """A workload's pod template, or a bare pod: lists are annotations, comma separated.

    `template` is the path of the template inside the object, empty for a pod; `user` is another workload that uses the
    template (an Argo Rollout a Deployment's), empty for none.
    """

    resource: Resource
    name: str
    namespace: str
    template: tuple[str, ...]
    injector: Injector
    user: str = ""

    @property
    def title(self) -> str:
        return f"{self.resource.label}/{self.name}"

    @property
    def scope(self) -> Sequence[str]:
        scope = f"--workload={self.title}" if self.template else f"--pod={self.name}"
        return scope, "-n", self.namespace

    def held(self, obj: Object, exclusion_list: ExclusionList) -> Sequence[Any]:
        found = fields.texts(obj, *self.path(exclusion_list)[:-1]).get(self.path(exclusion_list)[-1], "")
        return [item for item in items(found) if item]

    def lacks(self, obj: Object, exclusion_list: ExclusionList) -> bool:
        """An annotation may be missing, but one that holds nothing makes the injector refuse the pod."""
        *path, key = self.path(exclusion_list)
        return key in fields.texts(obj, *path) and not self.held(obj, exclusion_list)

    def merge(self, values: Mapping[ExclusionList, Sequence[Any]]) -> Object:
        patch: Object = {self.path(found)[-1]: ",".join(own) or None for found, own in values.items()}
        for step in reversed((*self.template, "metadata", "annotations")):
            patch = {step: patch}
        return patch

    def path(self, exclusion_list: ExclusionList) -> tuple[str, ...]:
        return (*self.template, "metadata", "annotations", self.injector.annotation(exclusion_list))

    def union(self, obj: Object, subject: Subject, spec: Object) -> Union:  # noqa: ARG002 - the object is its template
        return Union(fields.texts(obj, *self.template, "metadata", "annotations"), spec)


def place_of(workload: Workload, installation: Installation) -> AnnotationPlace:
    """Where a workload's annotations last: the pod template of the topmost owner. Raises `Refused` where there is none."""
    holder = workload.holder
    if holder is None or workload.refusal:
        raise Refused(f"{workload.title} is not edited: {workload.refusal}")
    path = workloads.template_path(holder.object)
    user = "" if holder == workload.top else workload.label
    return AnnotationPlace(
        holder.resource, fields.name(holder.object), holder.namespace, path or (), installation.injector, user
    )


def _stored(exclusion_list: ExclusionList, item: Any) -> Any:
    """The item as the MeshConfig stores it: ports are numbers; what was stored otherwise stays."""
    is_new_port = exclusion_list.item is Item.PORT and isinstance(item, str) and item.isascii() and item.isdigit()
    return int(item) if is_new_port else item
