"""Addresses that callers do not dial although they are excluded, and those that no rule is for."""

import json
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache

from kubectl_fsm import fields, services, workloads
from kubectl_fsm.checks import backends, mending
from kubectl_fsm.checks.doors import is_balanced_before
from kubectl_fsm.checks.kept import Kept, kept, replacement, ruled
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, Scene, WorkloadView, label, named
from kubectl_fsm.cluster.interface import ENDPOINT_SLICES, PODS, SERVICES
from kubectl_fsm.exclusions import is_ipv4
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import EXCLUDED_RANGES
from kubectl_fsm.netfilter.values import masked

_NO_PODS = ("127.", "169.254.")
"""How addresses begin that are no pod's: loopback, and link-local, which the cloud's metadata has."""
_ONE = "/32"
_FEW = 3


@check(
    "endpoint-address",
    "warning",
    ListHolder,
    holds="What is excluded is the address that callers dial.",
    why="The rules see the Service's address, not the endpoint that is picked later; and that one's goes with its pod.",
    remedy="Exclude the Service's ClusterIP: `kubectl fsm exclude-ip svc/NAME.NAMESPACE`.",
)
def endpoint_address(view: ListHolder) -> Iterator[Seen]:
    for one, found in _missing(view):
        if one.entry.value.endswith(_ONE):
            address = next(iter(services.addresses(found[0])))
            seen = f"{one.place} has {one.entry.value}, an endpoint of {_titles(found)}, which is dialled at {address}"
            yield Seen(seen, replacement(view, one, address + _ONE), one.path)


@check(
    "endpoint-range",
    "info",
    ListHolder,
    holds="What is excluded are the addresses that callers dial.",
    why="The rules see the Service's address, not the endpoint that is picked later: such a range is for who dials pods.",
    remedy="Exclude the Services' ClusterIPs: `kubectl fsm exclude-ip svc/NAME.NAMESPACE`.",
)
def endpoint_range(view: ListHolder) -> Iterator[Seen]:
    for one, found in _missing(view):
        if not one.entry.value.endswith(_ONE):
            seen = f"{one.place} has {one.entry.value}: endpoints of {_titles(found)}, and no Service's address"
            yield Seen(seen, _instead(view, found), one.path)


@check(
    "ipv6",
    "info",
    ListHolder,
    holds="Pods of the mesh are reached by IPv4.",
    why="The rules are IPv4's: what comes or goes by IPv6 passes no sidecar, and no policy of the mesh.",
    remedy="Keep to IPv4, or let a NetworkPolicy refuse IPv6 where the mesh's policies have to hold.",
)
def ipv6(view: ListHolder) -> Iterator[Seen]:
    if isinstance(view, MeshView):
        pods = [pod for workload in ruled(view) for pod in workload.subject.pods if speaks_six(pod)]
        if pods:
            many = "pods have IPv6 addresses" if len(pods) > 1 else "pod has an IPv6 address"
            yield Seen(f"{len(pods)} {many}: {named(pods)}", "let a NetworkPolicy refuse IPv6 where that matters")
    elif isinstance(view, WorkloadView) and view.script:
        for service in backends.selecting(view):
            families = fields.sequence(service, "spec", "ipFamilies")
            if "IPv6" in families or fields.text(service, "spec", "ipFamilyPolicy") == "RequireDualStack":
                mend = _without_six(view.scene, service, first=families[:1] == ["IPv6"])
                field = "ipFamilies" if "IPv6" in families else "ipFamilyPolicy"
                yield Seen("clients can dial it by IPv6", mend, ("spec", field), service)


def _without_six(scene: Scene, service: Object, *, first: bool) -> str:
    """What takes IPv6 from a Service; where it is its `first` family that is none that the API server would change."""
    wanted = "ipFamilyPolicy: SingleStack and ipFamilies: [IPv4] in spec"
    if first:
        return f"create {label(service)} anew with {wanted}: the first family of a Service stays"
    patch = json.dumps({"spec": {"ipFamilyPolicy": "SingleStack"}})
    where = ["-n", fields.namespace(service), "--type=merge", "-p", patch]
    return mending.told(scene, f"write {wanted}", "patch", label(service), *where)


def speaks_six(pod: Object) -> bool:
    """Whether a pod that lives has an IPv6 address."""
    known = range(len(fields.items(pod, "status", "podIPs")))
    return workloads.lives(pod) and any(":" in fields.text(pod, "status", "podIPs", at, "ip") for at in known)


def _missing(view: ListHolder) -> Iterator[tuple[Kept, Sequence[Object]]]:
    """The excluded ranges that hold nothing of all Services but endpoints, with the Services before these."""
    for one in kept(view, EXCLUDED_RANGES):
        value = one.entry.value
        if not value.startswith(_NO_PODS):
            found = _before(view.scene, value)
            if found and not view.scene.once(is_balanced_before):
                yield one, found


@lru_cache(maxsize=256)
def _before(scene: Scene, range_: str) -> Sequence[Object]:
    """The Services whose endpoints are all that a range holds of them; none where it may be for something else.

    It may where it holds what is dialled: a Service's address, an endpoint of a headless Service, or one that is no pod.
    """
    value, mask = masked(range_)
    dialled, endpoints = scene.once(_known)
    if any(address & mask == value for address in dialled):
        return ()
    held = [service for address, service in endpoints if address & mask == value]
    if not all(held):
        return ()
    return list({(fields.namespace(one), fields.name(one)): one for one in held if one}.values())


def _known(scene: Scene) -> tuple[Sequence[int], Sequence[tuple[int, Object | None]]]:
    """The addresses of Services, and those of endpoints with the Service that is dialled instead; None where there is none."""
    known = {(fields.namespace(one), fields.name(one)): one for one in scene.wide(SERVICES)}
    dialled = [_number(address) for one in known.values() for address in services.addresses(one)]
    endpoints: list[tuple[int, Object | None]] = []
    for one in scene.wide(ENDPOINT_SLICES):
        service = known.get((fields.namespace(one), fields.labels(one).get(services.SERVICE_NAME, "")))
        proxied = service if service and services.addresses(service) else None
        for index in range(len(fields.items(one, "endpoints")) if fields.text(one, "addressType") == "IPv4" else 0):
            pod = fields.text(one, "endpoints", index, "targetRef", "kind") == PODS.kind
            for at in range(len(fields.sequence(one, "endpoints", index, "addresses"))):
                address = fields.text(one, "endpoints", index, "addresses", at)
                if is_ipv4(address):
                    endpoints.append((_number(address), proxied if pod else None))
    return dialled, endpoints


def _number(address: str) -> int:
    return masked(address)[0]


def _titles(found: Sequence[Object]) -> str:
    """`svc/redis in shop, svc/api in shop and 3 more`."""
    titles = [f"{label(one)} in {fields.namespace(one)}" for one in found]
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    return ", ".join(titles[:_FEW]) + more


def _instead(view: ListHolder, found: Sequence[Object]) -> str:
    """What excludes the Services instead of their endpoints."""
    if not view.scene.cluster.remote or view.uneditable or len(found) > _FEW:
        return "exclude the addresses of the Services instead"
    names = [f"{label(one)}.{fields.namespace(one)}" for one in found]
    return f"kubectl fsm exclude-ip {shlex.join([*names, *view.scope_words, *view.scene.cluster.words])}"
