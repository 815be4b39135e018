"""The mesh's own policies, as far as they bear on what bypasses a sidecar."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.checks import backends, mending
from kubectl_fsm.checks.kept import kept, removal
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, NamespaceView, Scene, WorkloadView
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.exclusions import atoi
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import FSM, INBOUND_PORTS
from kubectl_fsm.operations import configured

_PERMISSIVE = ("spec", "traffic", "enablePermissiveTrafficPolicyMode")
_TRAFFIC_TARGETS = "traffictargets.access.smi-spec.io"
_ACCESS_CONTROLS = "accesscontrols.policy.flomesh.io"
_ADMITTING = (_ACCESS_CONTROLS, "ingressbackends.policy.flomesh.io", "ingressbackends.policy.openservicemesh.io")
"""Kinds by which a sidecar lets plain text in."""
KINDS = (_TRAFFIC_TARGETS, *_ADMITTING)
"""The meshes' own kinds that are read here."""


@check(
    "policy-bypassed",
    "warning",
    WorkloadView,
    holds="What a TrafficTarget guards goes through the sidecar.",
    why="The sidecar enforces the policy: what bypasses it reaches the application, whoever sends it.",
    remedy="Take the port out of the inbound exclusions, or guard it by a NetworkPolicy.",
)
def policy_bypassed(view: WorkloadView) -> Iterator[Seen]:
    excluded = view.sound.of(INBOUND_PORTS) if view.script else ()
    guards = _guarding(view) if excluded else ()
    served = (
        {target for service in backends.selecting(view) for _, target in backends.targets(service, view)}
        if guards
        else ()
    )
    owners = (view, MeshView(view.scene, view.installation))
    for entry in excluded:
        port = atoi(entry.value)
        names = [guard.name for guard in guards if port in served and guard.port in (None, port)]
        if names:
            found = [
                (owner, one) for owner in owners for one in kept(owner, INBOUND_PORTS) if one.entry.key == entry.key
            ]
            path = next((one.path for owner, one in found if owner is view), ())
            mend = mending.together(view.scene, (removal(owner, one) for owner, one in found))
            seen = f"{entry.list.name} {entry.value} ({' and '.join(entry.sources)}) bypasses TrafficTarget {', '.join(names)}"
            yield Seen(seen, mend, path)


def is_guarded(view: WorkloadView, port: int) -> bool:
    """Whether a TrafficTarget is for a workload's port; where nobody may tell there is a note."""
    try:
        return any(guard.port in (None, port) for guard in _guarding(view))
    except Forbidden as error:
        view.scene.notes[f"not looked at: {error.message}"] = None
        return False


def account(pod: Object) -> str:
    """The service account that a pod runs as."""
    return fields.text(pod, "spec", "serviceAccountName") or fields.text(pod, "spec", "serviceAccount") or "default"


@check(
    "service-left-out",
    "info",
    NamespaceView,
    holds="FSM routes to every Service.",
    why="The client's sidecar does not know the Service: what it takes of it counts as egress.",
    remedy="Take the annotation away, unless it is meant.",
)
def service_left_out(view: NamespaceView) -> Iterator[Seen]:
    if not view.installation or view.installation.mesh is not FSM:
        return
    for service in backends.services(view.scene, fields.name(view.object)):
        if why := configured.left_out(service, view.object):
            own = configured.SERVICE_EXCLUSION_LIST not in why
            yield Seen(
                f"{why}: sidecars do not route to it",
                mending.metadata(view.scene, service, "annotations", {configured.SERVICE_EXCLUSION: None})
                if own
                else f"take {fields.name(service)} out of that list",
                ("metadata", "annotations", configured.SERVICE_EXCLUSION) if own else (),
                service,
            )


def left_out(scene: Scene, service: Object) -> bool:
    """Whether FSM leaves a Service out of routing."""
    meshed = any(one.mesh is FSM for one in scene.installations)
    return meshed and bool(configured.left_out(service, scene.once(backends.namespaces).get(fields.namespace(service))))


def admitted(scene: Scene, service: Object, target: int) -> bool:
    """Whether a policy may let plain text in to a Service's target port. Raises `Forbidden`."""
    found = scene.once(_admitting)
    return None in found or (fields.namespace(service), fields.name(service), target) in found


def _admitting(scene: Scene) -> set[tuple[str, str, int | None] | None]:
    """Namespace, Service and target port of every backend that a policy names; None where one is for all of them."""
    found: set[tuple[str, str, int | None] | None] = set()
    for kind in _ADMITTING:
        for policy in scene.wide(kind):
            named = range(len(fields.items(policy, "spec", "backends")))
            if not named and kind == _ACCESS_CONTROLS:
                found.add(None)
            for index in named:
                at = ("spec", "backends", index)
                number = fields.number(policy, *at, "port", "number")
                found.add((fields.namespace(policy), fields.text(policy, *at, "name"), number))
    return found


class _Guard(NamedTuple):
    """A TrafficTarget; `port` is the one that it is for, None for all."""

    name: str
    port: int | None


def _guarding(view: WorkloadView) -> Sequence[_Guard]:
    """The TrafficTargets that guard a workload; none where the mesh lets everybody in. Raises `Forbidden`."""
    if fields.boolean(view.installation.config, *_PERMISSIVE):
        return ()
    place = view.workload.namespace
    return _guards(view.scene, view.scene.scope and place).get((place, account(view.template)), ())


@lru_cache(maxsize=256)
def _guards(scene: Scene, namespace: str) -> Mapping[tuple[str, str], Sequence[_Guard]]:
    """The TrafficTargets of a namespace (empty: of all) in force, by the namespace and name of the service account that they guard.

    The mesh ignores one without rules, and one in another namespace than its destination's. v1alpha1 had no `spec`.
    """
    found: dict[tuple[str, str], list[_Guard]] = {}
    for target in scene.named(_TRAFFIC_TARGETS, namespace):
        spec = fields.mapping(target, "spec") or target
        destination = fields.mapping(spec, "destination")
        place, kind = fields.text(destination, "namespace"), fields.text(destination, "kind")
        rules = fields.items(spec, "rules") or fields.items(spec, "specs")
        if rules and kind == "ServiceAccount" and place == fields.namespace(target):
            guard = _Guard(fields.name(target), fields.number(destination, "port"))
            found.setdefault((place, fields.text(destination, "name")), []).append(guard)
    return found
