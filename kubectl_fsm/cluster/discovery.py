"""Which kinds an API server serves, from its discovery documents, and what people call them.

Both forms: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import Resource
from kubectl_fsm.fields import Object

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
"""Aggregated discovery: v2 since Kubernetes 1.30, v2beta1 since 1.26; an older server answers with its list of groups."""


def is_aggregated(document: Object) -> bool:
    return fields.text(document, "kind") == "APIGroupDiscoveryList"


def aggregated(document: Object) -> Sequence[Resource]:
    """All kinds of an `APIGroupDiscoveryList`, each in every version, in the server's order of preference."""
    return [
        _resource(fields.name(group), fields.text(version, "version"), item)
        for group in fields.items(document, "items")
        for version in fields.items(group, "versions")
        for item in fields.items(version, "resources")
    ]


def preferred(document: Object) -> Sequence[str]:
    """The preferred version of each group of an `APIGroupList`: `["apps/v1", …]`."""
    return [fields.text(group, "preferredVersion", "groupVersion") for group in fields.items(document, "groups")]


def listed(api_version: str, document: Object) -> Sequence[Resource]:
    """The kinds of an `APIResourceList`, without subresources."""
    group, _, version = api_version.rpartition("/")
    return [
        Resource(group, version, fields.text(item, "kind"), plural, item.get("namespaced") is True, _short_names(item))
        for item in fields.items(document, "resources")
        if "/" not in (plural := fields.text(item, "name"))
    ]


def called(text: str, resources: Iterable[Resource]) -> Resource | None:
    """The first kind that `text` names; None where it names none.

    It is a kind, plural, singular or short name in any case, then perhaps `.group` or `.version.group`.
    """
    name, _, group = text.lower().partition(".")
    for resource in resources:
        names = {resource.kind.lower(), resource.plural, *resource.short_names}
        if name in names and group in ("", resource.group, f"{resource.version}.{resource.group}".rstrip(".")):
            return resource
    return None


def _resource(group: str, version: str, item: Object) -> Resource:
    return Resource(
        group,
        version,
        fields.text(item, "responseKind", "kind"),
        fields.text(item, "resource"),
        fields.text(item, "scope") == "Namespaced",
        _short_names(item),
    )


def _short_names(item: Object) -> tuple[str, ...]:
    return tuple(str(name) for name in fields.sequence(item, "shortNames"))
