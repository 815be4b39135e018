"""What checks read of a cluster beside meshes, workloads and their pods, as rights; each check can be left out."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from kubectl_fsm.checks import policies
from kubectl_fsm.checks.meshconfig import PRESET
from kubectl_fsm.checks.webhook import CONFIGURATIONS
from kubectl_fsm.cluster.interface import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINT_SLICES,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Cluster,
    Resource,
)
from kubectl_fsm.errors import NotFound
from kubectl_fsm.operations import needs
from kubectl_fsm.operations.rights import Need, Right
from kubectl_fsm.operations.trace import CILIUM

_LEFT_OUT = "checks that look there are left out, and named"


def of_checks(cluster: Cluster, control_plane: str, scope: str, *, ask: bool) -> Iterator[Need]:
    """To look at a namespace, at all where `scope` is empty; with `ask` the injector is asked as well."""
    yield from (Need(right, _LEFT_OUT) for right in _rights(cluster, control_plane, scope, ask=ask))
    yield Need(Right("get", CONFIG_MAPS, CILIUM[1], CILIUM[0]), "kube-proxy is assumed")
    yield Need(Right("list", NAMESPACES), "Services of other namespaces are not followed")
    yield from needs.of_keepers(cluster, "whether Argo CD heals an object is not known")
    yield from needs.of_owners(cluster, "", "what is behind the Services of other namespaces is not known")


def _rights(cluster: Cluster, control_plane: str, scope: str, *, ask: bool) -> Iterator[Right]:
    yield Right("list", CONFIGURATIONS)
    for resource, place in needs.control_planes(cluster, control_plane):
        yield Right("get", CUSTOM_RESOURCE_DEFINITIONS, name=resource.qualified)
        yield Right("get", CONFIG_MAPS, place, PRESET)
        yield Right("list", SERVICES, place)
        yield Right("list", ENDPOINT_SLICES, place)
    for place in dict.fromkeys((scope, "")):
        followed = (SERVICES, ENDPOINT_SLICES, *_served(cluster, policies.KINDS))
        yield from (Right("list", kind, place) for kind in followed)
    yield from (Right("list", kind, scope) for kind in (EVENTS, REPLICASETS, STATEFULSETS, JOBS))
    yield Right("get", PODS, scope, subresource="log")
    if ask:
        yield Right("create", PODS, scope)


def _served(cluster: Cluster, kinds: Sequence[str]) -> Iterator[Resource]:
    """Those of these kinds that there are."""
    for kind in kinds:
        with suppress(NotFound):
            yield cluster.resource_named(kind)
