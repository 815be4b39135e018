"""The Protocol of `interface.py` over files of manifests; edits stay in memory."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, NoReturn, TextIO, TypeVar

from kubectl_fsm import fields
from kubectl_fsm.cluster import discovery, positions
from kubectl_fsm.cluster.documents import (
    MAX_BYTES,
    MAX_EDITED_BYTES,
    MAX_EDITED_VALUES,
    Budget,
    Document,
    Place,
    canonical,
    content,
    documents,
    is_json,
)
from kubectl_fsm.cluster.interface import BUILT_IN, Position, Resource, View
from kubectl_fsm.cluster.positions import MAX_SPOTS, Spot
from kubectl_fsm.errors import ApiError, Conflict, InvalidObject, ManifestError, NotFound
from kubectl_fsm.fields import Object

STDIN = "-"
_BOM = "\ufeff"
_NAMED = 3
_SUFFIXES = (".yaml", ".yml", ".json")
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_CLUSTER_SCOPED = frozenset({
    "APIService", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "CSINode",
    "CustomResourceDefinition", "IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node",
    "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment",
})  # fmt: skip
"""Kubernetes' own kinds without a namespace; those of others are told by their CustomResourceDefinition, if it is there."""


_Failure = TypeVar("_Failure", bound=ApiError)


def read(
    paths: Sequence[str],
    namespace: str | None,
    stdin: TextIO | BinaryIO,
    meshconfig: str = "",
    *,
    partly: bool = False,
) -> Manifests:
    """The objects of `-f PATH…`: files, directories, `-` for `stdin`.

    A directory is read with what is below it (kubectl's default is flat; a repository of manifests is a tree): files
    named *.yaml, *.yml and *.json in order of their names, none that are hidden or that a symbolic link brings in from
    outside. What is no Kubernetes object there (Helm values, kustomizations) is passed over; in a file that was named
    it is an error. Objects that name no namespace are in `namespace`, or else in `default`. With the file `meshconfig`
    the MeshConfigs are those that it holds, and no others. With `partly` files that cannot be read are left out, if there
    are others: `unread` says why.

    Raises `ManifestError`.
    """
    budget = Budget()
    entries: dict[str, list[_Entry]] = {}
    unread: list[ManifestError] = []
    for path in paths:
        folder = path != STDIN and os.path.isdir(path)
        before = len(entries), len(unread)
        for file in _files(path) if folder else (path,):
            identity = file if file == STDIN else os.path.realpath(file)
            if identity not in entries:
                entries[identity] = []
                try:
                    entries[identity] = list(_entries(file, stdin, budget, named=not folder))
                except ManifestError as error:
                    if not partly or budget.values < 0:
                        raise
                    unread.append(ManifestError(error.message, error.hint))  # without the frames, which hold the file
        if folder and not any(list(entries.values())[before[0] :]) and len(unread) == before[1]:
            raise ManifestError(f"{path}: no Kubernetes objects in *.yaml, *.yml or *.json files")
    if unread and not any(entries.values()):
        raise unread[0]
    origin, found = f"files {', '.join(paths)}", [*itertools.chain(*entries.values())]
    if meshconfig:
        counting = [entry for entry in _entries(meshconfig, stdin, budget, named=True) if _is_meshconfig(entry)]
        if not counting:
            raise ManifestError(f"{meshconfig}: no MeshConfig", "kubectl get meshconfig -A -o yaml prints it")
        origin = f"{origin} with the MeshConfig of {meshconfig}"
        found = [*counting, *(entry for entry in found if not _is_meshconfig(entry))]
    return Manifests(origin, namespace or "default", found, unread)


class _File(NamedTuple):
    """A file of manifests. `checksum` is that of the content as first read; `content` is kept where there is no second time."""

    path: str
    checksum: int
    content: bytes | None = None

    def read_again(self) -> bytes:
        """The same content. Raises `ManifestError` where it is not the same any more."""
        again = content(self.path) if self.content is None else self.content
        if hash(again) != self.checksum:
            raise ManifestError(f"{self.path}: changed while it was being edited", "run the command again")
        return again


class _Entry(NamedTuple):
    """An object and where it stands: in the document numbered `ordinal` of `file`, at `path` in that document.

    `line` is the document's first.
    """

    file: _File
    ordinal: int
    line: int
    path: Place
    obj: Object

    @property
    def group_kind(self) -> tuple[str, str]:
        return _group(self.obj["apiVersion"]), self.obj["kind"]


class Manifests:
    """A `Cluster` that is a set of files."""

    remote = False
    denied = False
    words: Sequence[str] = ()

    def __init__(
        self, origin: str, namespace: str, entries: Iterable[_Entry], unread: Sequence[ManifestError] = ()
    ) -> None:
        self.origin = origin
        self.unread = unread
        self.namespace = namespace
        found = list(entries)
        self._resources = _resources([entry.obj for entry in found])
        self._entries: dict[tuple[str, str], dict[tuple[str, str], list[_Entry]]] = {}
        self._places: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._texts: dict[_File, str] = {}
        self._spots: dict[_File, Mapping[int, Spot] | None] = {}
        self._spot_budget = Budget(MAX_SPOTS)
        for entry in found:
            located = entry._replace(obj=self._in_namespace(entry))
            key = fields.namespace(located.obj), fields.name(located.obj)
            self._entries.setdefault(entry.group_kind, {}).setdefault(key, []).append(located)

    @property
    def warnings(self) -> Sequence[str]:
        """Of objects that are there more than once, which a server would not have."""
        several = [found for kind in self._entries.values() for found in kind.values() if len(found) > 1]
        return [
            f"{fields.title(found[0].obj)} is there more than once, and not all of it is looked at: in "
            + " and ".join(dict.fromkeys(entry.file.path for entry in found))
            for found in several
            if fields.name(found[0].obj)
        ]

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._entry(resource, name, namespace).obj

    def list(
        self, resource: Resource, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Iterator[Object]:
        """As the Protocol says; also raises `UsageError` for a selector that cannot be read."""
        labels_match, fields_match = _matchers(selector, field_selector)
        entries = self._entries.get((resource.group, resource.kind), {})
        return (
            entry.obj
            for (place, _), same_name in entries.items()
            if not namespace or not resource.namespaced or place == namespace
            for entry in same_name
            if labels_match(fields.labels(entry.obj)) and fields_match(entry.obj)
        )

    def patch(self, resource: Resource, name: str, namespace: str, merge: Object, *, dry_run: bool = False) -> Object:
        """As the Protocol says, in memory: `edited` gives the text.

        An object without a resourceVersion, as manifests are, never conflicts.
        """
        entry = self._entry(resource, name, namespace)
        version = fields.text(merge, "metadata", "resourceVersion")
        held = fields.text(entry.obj, "metadata", "resourceVersion")
        if version and held and version != held:
            raise _local(
                Conflict(409, "Conflict", f'{resource.qualified} "{name}" has resourceVersion {held}, not {version}')
            )
        change = _without_version(merge)
        patched = entry._replace(obj=fields.merged(entry.obj, change))
        if not dry_run and canonical(patched.obj) != canonical(entry.obj):
            self._texts[entry.file] = self._edited_text(entry, change)
            self._entries[entry.group_kind][namespace if resource.namespaced else "", name] = [patched]
        return patched.obj

    def try_create(self, resource: Resource, namespace: str, obj: Object) -> NoReturn:  # noqa: ARG002 - the Protocol's
        raise self._inert()

    def create(self, resource: Resource, namespace: str, obj: Object) -> NoReturn:  # noqa: ARG002
        raise self._inert()

    def delete(self, resource: Resource, name: str, namespace: str, uid: str) -> NoReturn:  # noqa: ARG002
        raise self._inert()

    def evict(self, name: str, namespace: str, uid: str) -> NoReturn:  # noqa: ARG002
        raise self._inert()

    def log(self, name: str, namespace: str, container: str, lines: int) -> NoReturn:  # noqa: ARG002
        raise self._inert()

    def observe(self, *views: View) -> NoReturn:  # noqa: ARG002
        raise self._inert()

    def preferred_version(self, group: str) -> str | None:
        return next((resource.version for resource in self._resources if resource.group == group), None)

    def resource(self, api_version: str, kind: str) -> Resource:
        for resource in (*BUILT_IN, *self._resources):
            if (resource.api_version, resource.kind) == (api_version, kind):
                return resource
        raise _missing(f"no {kind} in {api_version} in {self.origin}")

    def resource_named(self, text: str) -> Resource:
        found = discovery.called(text, (*BUILT_IN, *self._resources))
        if found is None:
            raise _missing(f"no {text} in {self.origin}")
        return found

    def kinds(self) -> Sequence[Resource]:
        return self._resources

    def position(self, obj: Object, *path: fields.Step) -> Position | None:
        kind = _group(fields.text(obj, "apiVersion")), fields.text(obj, "kind")
        found = self._entries.get(kind, {}).get((fields.namespace(obj), fields.name(obj)), [])
        entry = next((entry for entry in found if len(found) == 1 or entry.obj is obj), None)
        if entry is None:
            return None
        if entry.file not in self._spots:
            self._spots[entry.file] = self._spots_of(entry.file)
        spots = self._spots[entry.file]
        if spots is None:
            return None
        spot = spots.get(entry.line, Spot(entry.line, 1, {})).at((*entry.path, *path))
        return Position(entry.file.path, spot.line, spot.column)

    def gather(self, *calls: Callable[[], Any]) -> Sequence[Any]:
        return [call() for call in calls]

    def edited(self) -> Iterator[tuple[str, str]]:
        """Name and whole new text of every file that a patch changed, in the order of the first changes."""
        return ((file.path, text) for file, text in self._texts.items())

    def text_of(self, obj: Object) -> str:
        """The whole text of the file that holds this object, with what patches changed in it.

        Raises `NotFound`, and `ManifestError` where the file is not as it was.
        """
        group, name = _group(fields.text(obj, "apiVersion")), fields.name(obj)
        kind = next((r for r in self._resources if (r.group, r.kind) == (group, obj["kind"])), None)
        if kind is None:
            raise _missing(f"no {fields.title(obj)} in {self.origin}")
        return self._text(self._entry(kind, name, fields.namespace(obj)).file)

    def _inert(self) -> ManifestError:
        return ManifestError(f"{self.origin}: files run nothing", "leave out -f to ask a cluster")

    def _spots_of(self, file: _File) -> Mapping[int, Spot] | None:
        """Where the fields of a file's documents are; None where it is not as it was."""
        try:
            content = file.read_again()
        except ManifestError:
            return None
        return positions.spots(content, file.path, self._spot_budget)

    def _text(self, file: _File) -> str:
        return self._texts.get(file) or file.read_again().decode()

    def _entry(self, resource: Resource, name: str, namespace: str) -> _Entry:
        place = namespace if resource.namespaced else ""
        found = self._entries.get((resource.group, resource.kind), {}).get((place, name), [])
        if not found:
            raise _missing(f'{resource.qualified} "{name}" not found in {self.origin}', self._elsewhere(resource, name))
        if len(found) > 1:
            files = " and ".join(dict.fromkeys(entry.file.path for entry in found))
            raise ManifestError(
                f"{fields.title(found[0].obj)} is there more than once: in {files}", "name the file that counts"
            )
        return found[0]

    def _in_namespace(self, entry: _Entry) -> Object:
        namespaced = next((r.namespaced for r in self._resources if (r.group, r.kind) == entry.group_kind), True)
        if not namespaced or fields.namespace(entry.obj):
            return entry.obj
        return {**entry.obj, "metadata": {**fields.mapping(entry.obj, "metadata"), "namespace": self.namespace}}

    def _edited_text(self, entry: _Entry, change: Object) -> str:
        """The file's text with `change` in it, read again to prove that it says that and nothing else new."""
        path = entry.file.path
        edited, wanted, line = self._proposed(entry, change)
        try:
            if edited and _meaning(_documents(edited, path)) == wanted:
                return edited
        except ManifestError:
            pass
        raise ManifestError(
            f"{path}:{line}: {fields.title(entry.obj)} cannot be edited in place",
            "write out what it shares by an anchor, or edit it by hand",
        )

    def _elsewhere(self, resource: Resource, name: str) -> str:
        """In which namespaces something of that name is instead, a few of them; empty for none."""
        kind = resource.group, resource.kind
        if kind not in self._places:  # once, since who looks for owners misses many
            places = self._places[kind] = {}
            for place, known in self._entries.get(kind, {}):
                places.setdefault(known, []).append(place)
        found = self._places[kind].get(name, [])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return f"it is in namespace {' and '.join(found[:_NAMED])}{more}" if found else ""

    def _proposed(self, entry: _Entry, change: Object) -> tuple[str, Sequence[object], int]:
        """The text with `change` in it (empty where that cannot be written), what it has to mean, and the document's line."""
        from kubectl_fsm.cluster import editing  # noqa: PLC0415 - 5 ms to load, and most runs only read

        path = entry.file.path
        text = self._text(entry.file)
        found = list(_documents(text, path))
        document = found[entry.ordinal]
        current = editing.value_at(document.value, entry.path)
        new = editing.replaced(document.value, entry.path, editing.merge_patch(current, change))
        wanted = [*found[: entry.ordinal], document._replace(value=new), *found[entry.ordinal + 1 :]]
        start, end = (position + text.startswith(_BOM) for position in (document.start, document.end))
        try:
            part = editing.edit(text[start:end], entry.path, current, change, as_json=is_json(text.encode(), path))
        except editing.CannotEdit:
            return "", (), document.line
        return text[:start] + part + text[end:], _meaning(wanted), document.line


def _matchers(
    selector: str, field_selector: str
) -> tuple[Callable[[Mapping[str, str]], bool], Callable[[Object], bool]]:
    """Whether labels, and an object, match their selector; an empty one matches all. Raises `UsageError`."""
    if not selector and not field_selector:
        return lambda _: True, lambda _: True
    from kubectl_fsm.cluster import selectors  # noqa: PLC0415 - most runs have none

    return selectors.parse(selector).matches, selectors.parse_fields(field_selector).matches


def _meaning(found: Iterable[Document]) -> Sequence[object]:
    """What can be compared to tell whether two texts say the same, with the same flaws."""
    return [(hash(canonical(document.value)), document.flaw is None) for document in found]


def _documents(text: str, path: str) -> Iterator[Document]:
    """The documents of a file that is edited. Raises `ManifestError` where it is too large for that."""
    data = text.encode()
    if len(data) > MAX_EDITED_BYTES:
        raise ManifestError(
            f"{path}: larger than {MAX_EDITED_BYTES // 1_000_000} MB, too large to be edited", "split the file"
        )
    return documents(data, path, Budget(MAX_EDITED_VALUES))


def _files(folder: str) -> Iterator[str]:
    """Manifests in and below `folder`, sorted. Raises `ManifestError` where a directory cannot be listed."""
    root = os.path.join(os.path.realpath(folder), "")
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)
            wanted = name.endswith(_SUFFIXES) and not name.startswith(".") and os.path.isfile(path)
            if wanted and os.path.realpath(path).startswith(root):
                yield path


def _raise(error: OSError) -> NoReturn:
    raise ManifestError(f"{error.filename}: {error.strerror}") from error


def _entries(path: str, stdin: TextIO | BinaryIO, budget: Budget, *, named: bool) -> Iterator[_Entry]:
    """The objects in a file; in one that was `named`, what is no object is an error."""
    data = _stdin(stdin) if path == STDIN else content(path)
    once = path == STDIN or not os.path.isfile(path)
    file = _File(path, hash(data), data if once else None)
    empty = True
    for ordinal, document in enumerate(documents(data, path, budget)):
        empty = False
        found = list(_objects(document.value))
        objects = [(place, obj) for place, obj in found if _is_object(obj)]
        if document.flaw and (objects or named):
            raise document.flaw
        if named and len(objects) < len(found):
            raise ManifestError(
                f"{path}:{document.line}: no Kubernetes object",
                "it takes apiVersion, kind and metadata.name to be one",
            )
        for place, obj in objects:
            _check_identity(obj, f"{path}:{document.line}")
            yield _Entry(file, ordinal, document.line, place, obj)
    if empty and named:
        raise ManifestError(f"{path}: no Kubernetes objects")


def _stdin(stdin: TextIO | BinaryIO) -> bytes:
    content = getattr(stdin, "buffer", stdin).read(MAX_BYTES + 1)
    return content if isinstance(content, bytes) else content.encode()


def _objects(value: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    """A document's value, or a list's items instead of the list, and where each is in the document."""
    if not _is_list(value):
        yield path, value
        return
    shared = (
        {} if value["kind"] == "List" else {"apiVersion": value["apiVersion"], "kind": value["kind"][: -len("List")]}
    )
    for index, item in enumerate(value["items"] or ()):
        yield from _objects({**shared, **item} if isinstance(item, dict) else item, (*path, "items", index))


def _is_meshconfig(entry: _Entry) -> bool:
    return fields.text(entry.obj, "kind") == "MeshConfig"


def _is_list(value: Any) -> bool:
    return (
        _has_kind(value)
        and value["kind"].endswith("List")
        and isinstance(value.get("items", ""), list | None)
        and not _is_object(value)
    )


def _is_object(value: Any) -> bool:
    if not _has_kind(value) or not isinstance(metadata := value.get("metadata"), dict):
        return False
    return bool(metadata.get("name") or metadata.get("generateName"))


def _has_kind(value: Any) -> bool:
    return isinstance(value, dict) and all(
        value.get(key) and isinstance(value[key], str) for key in ("apiVersion", "kind")
    )


def _check_identity(obj: Object, place: str) -> None:
    try:
        fields.name(obj)
        fields.namespace(obj)
    except InvalidObject as error:
        raise ManifestError(f"{place}: {error}") from None


def _resources(objects: Sequence[Object]) -> tuple[Resource, ...]:
    """The kinds of `objects`, of each group the versions of highest priority first."""
    defined = {
        (fields.text(crd, "spec", "group"), fields.text(crd, "spec", "names", "kind")): crd
        for crd in objects
        if (_group(crd["apiVersion"]), crd["kind"]) == ("apiextensions.k8s.io", "CustomResourceDefinition")
    }
    known = {(resource.group, resource.kind): resource for resource in BUILT_IN}
    found = []
    for api_version, kind in sorted({(obj["apiVersion"], obj["kind"]) for obj in objects}):
        group, version = _group(api_version), api_version.rpartition("/")[2]
        if (group, kind) in known:
            found.append(known[group, kind]._replace(version=version))
        elif (group, kind) in defined:
            found.append(_defined(defined[group, kind], version))
        else:
            found.append(Resource(group, version, kind, _plural(kind.lower()), kind not in _CLUSTER_SCOPED))
    return tuple(sorted(found, key=lambda resource: _priority(resource.version), reverse=True))


def _defined(crd: Object, version: str) -> Resource:
    """What a CustomResourceDefinition says of its kind."""
    kind = fields.text(crd, "spec", "names", "kind")
    return Resource(
        fields.text(crd, "spec", "group"),
        version,
        kind,
        fields.text(crd, "spec", "names", "plural") or _plural(kind.lower()),
        fields.text(crd, "spec", "scope") != "Cluster",
        tuple(str(name) for name in fields.sequence(crd, "spec", "names", "shortNames")),
    )


def _plural(singular: str) -> str:
    """By the API convention: networkpolicies, ingresses, gateways."""
    if singular.endswith("y") and singular[-2:-1] not in "aeiou":
        return f"{singular[:-1]}ies"
    return f"{singular}es" if singular.endswith(("s", "x", "z", "ch", "sh")) else f"{singular}s"


def _priority(version: str) -> tuple[int, int, int]:
    """Grows with Kubernetes' priority: v2, v1, v1beta1, v1alpha2, v1alpha1, what is no such version.

    "Version priority" in the documentation of CustomResourceDefinition versioning.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        return (-1, 0, 0)
    major, stage, minor = match.groups()
    return ({"alpha": 0, "beta": 1}.get(stage, 2), int(major), int(minor or 0))


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _without_version(merge: Object) -> Object:
    """The patch without its condition."""
    metadata = {key: value for key, value in fields.mapping(merge, "metadata").items() if key != "resourceVersion"}
    rest = {key: value for key, value in merge.items() if key != "metadata"}
    return {**rest, "metadata": metadata} if metadata else rest


def _missing(message: str, hint: str = "") -> NotFound:
    return _local(NotFound(404, "NotFound", message, hint))


def _local(error: _Failure) -> _Failure:
    """The error without the word that a server sent it."""
    error.label = "error: "
    return error
