"""Who else keeps an object: Argo CD, Flux, Helm. An edit that they would take back is worse than none."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import Resource
from kubectl_fsm.errors import ApiError, NotFound
from kubectl_fsm.fields import Object
from kubectl_fsm.reports import Writer

_ARGO_ID = "argocd.argoproj.io/tracking-id"
_ARGO_LABEL = "argocd.argoproj.io/instance"
_ARGO_MANAGERS = ("argocd-controller", "argocd-application-controller")
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_FLUX_MANAGERS = ("kustomize-controller", "helm-controller")
_HELM_MANAGERS = ("helm", "Helm")


class Reader(Protocol):
    """What is asked of a cluster for who keeps an object."""

    def resource_named(self, text: str, /) -> Resource: ...
    def list(self, resource: Resource, /) -> Iterable[Object]: ...


class Keeper(NamedTuple):
    """Another program that writes the object; `takes_back` where it would undo this very edit."""

    text: str
    takes_back: bool


def keepers(cluster: Reader, obj: Object, paths: Sequence[tuple[str, ...]]) -> Sequence[Keeper]:
    """Who else keeps the object, given the paths of the fields that the edit changes."""
    labels, annotations = fields.labels(obj), fields.annotations(obj)
    found = []
    if keeper := _argo(cluster, obj):
        found.append(keeper)
    flux = next((labels[key] for key in _FLUX_LABELS if key in labels), "")
    if flux:
        found.append(_keeper(f"Flux ({flux})", obj, _FLUX_MANAGERS, paths))
    elif labels.get("app.kubernetes.io/managed-by") == "Helm" or "meta.helm.sh/release-name" in annotations:
        release = annotations.get("meta.helm.sh/release-name", "")
        found.append(_keeper(f"Helm (release {release})" if release else "Helm", obj, _HELM_MANAGERS, paths))
    return found


def writers(obj: Object, path: tuple[str, ...]) -> Sequence[Writer]:
    """Who wrote the field at `path`, newest first (metadata.managedFields)."""
    found = [
        Writer(fields.text(entry, "manager"), fields.text(entry, "time"))
        for entry in fields.parts(obj, "metadata", "managedFields")
        if _owns(entry, path)
    ]
    return sorted(found, key=lambda writer: writer.time, reverse=True)


def _keeper(name: str, obj: Object, managers: Sequence[str], paths: Sequence[tuple[str, ...]]) -> Keeper:
    entries = [item for item in fields.items(obj, "metadata", "managedFields") if item.get("manager") in managers]
    if any(_owns(entry, path) for entry in entries for path in paths):
        return Keeper(f"{name} owns this very field and would take the edit back", takes_back=True)
    return Keeper(f"{name} keeps this object, without this field", takes_back=False)


def _argo(cluster: Reader, obj: Object) -> Keeper | None:
    tracking = fields.annotations(obj).get(_ARGO_ID, "").partition(":")[0]
    application = tracking or fields.labels(obj).get(_ARGO_LABEL, "")
    managers = {fields.text(entry, "manager") for entry in fields.parts(obj, "metadata", "managedFields")}
    if not application and managers.intersection(_ARGO_MANAGERS):
        application = fields.labels(obj).get("app.kubernetes.io/instance", "")
    if not application:
        return None
    name = application.rpartition("_")[2]
    try:
        resource = cluster.resource_named("applications.argoproj.io")
        known = [found for found in cluster.list(resource) if fields.name(found) == name]
    except NotFound:
        return Keeper(
            f"Argo CD (application {name}) tracks this object, but there is no Argo CD here", takes_back=False
        )
    except ApiError as error:
        return Keeper(
            f"Argo CD (application {name}) keeps this object; whether it heals it cannot be read: {error.message}", True
        )
    healed = any(fields.mapping(app, "spec", "syncPolicy", "automated").get("selfHeal") is True for app in known)
    if healed:
        return Keeper(
            f"Argo CD (application {name}) heals this object itself and may take the edit back", takes_back=True
        )
    return Keeper(f"Argo CD (application {name}) keeps this object", takes_back=False)


def _owns(entry: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether a managedFields entry holds the field (fieldsV1 writes each step as `f:<name>`)."""
    found: Any = entry.get("fieldsV1")
    for step in path:
        found = found.get(f"f:{step}") if isinstance(found, Mapping) else None
    return found is not None
