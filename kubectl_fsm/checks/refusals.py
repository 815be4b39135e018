"""Pods that are not there because the API server refuses them: by the mesh's word, or by somebody else's."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, interception, rollouts, workloads
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import Scene, WorkloadView, label
from kubectl_fsm.cluster.interface import (
    BUILT_IN,
    CRONJOBS,
    DAEMONSETS,
    EVENTS,
    JOBS,
    REPLICASETS,
    STATEFULSETS,
)
from kubectl_fsm.exclusions import bad_items, items
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import MESHES
from kubectl_fsm.operations.annotations import LIST_KEYS
from kubectl_fsm.operations.rollout import seen_at

_PREAMBLE = re.compile(r"(?s)(?:Error creating: |[Cc]reate (?:Pod|Claim) .*? failed error: )(.*)")
_ENFORCE = "pod-security.kubernetes.io/enforce"


class _Refusal(NamedTuple):
    """The words with which the pods of `maker` are refused: a Deployment, ReplicaSet, StatefulSet, DaemonSet or Job."""

    maker: Object
    words: str

    @property
    def by_mesh(self) -> bool:
        return any(f'webhook "{mesh.webhook}"' in self.words for mesh in MESHES)


def _refusals(view: WorkloadView) -> Iterator[_Refusal]:
    """What keeps the workload from its pods now; each distinct answer once."""
    said = set()
    for maker in (view.workload.top.object, *_children(view)):
        words = " ".join((rollouts.creation_failure(maker) or _event(view.scene, maker)).split())
        found = _PREAMBLE.fullmatch(words)
        words = found[1] if found else words
        if words and words not in said:
            said.add(words)
            yield _Refusal(maker, words)


def _children(view: WorkloadView) -> Sequence[Object]:
    """What makes the pods of a workload that makes none itself, such as a CronJob's Jobs."""
    top = view.workload.top
    if top.resource in BUILT_IN and top.resource != CRONJOBS:
        return ()
    uid = fields.uid(top.object)
    return view.scene.once(_controlled).get(uid, ()) if uid else ()


def _controlled(scene: Scene) -> Mapping[str, Sequence[Object]]:
    """Objects by the uid of their controller; in one namespace, where maybe a single workload was read, they are listed."""
    kinds = (JOBS, REPLICASETS, STATEFULSETS) if scene.scope else ()
    listed = [one for kind in kinds for one in scene.list(kind, scene.scope)]
    found: dict[str, list[Object]] = {}
    for one in listed or [located.object for located in scene.owners.known()]:
        if owner := workloads.controller(one):
            found.setdefault(owner.uid, []).append(one)
    return found


def _event(scene: Scene, maker: Object) -> str:
    """The latest word on why pods of a maker could not be made; empty where it lacks none."""
    uid = fields.uid(maker)
    found = scene.once(_events).get(uid, ()) if uid and _lacks_pods(maker) else ()
    return str(max(found, key=seen_at, default={}).get("message") or "")


def _events(scene: Scene) -> Mapping[str, Sequence[Object]]:
    found: dict[str, list[Object]] = {}
    for event in scene.list(EVENTS, scene.scope, field_selector="reason=FailedCreate"):
        found.setdefault(fields.text(event, "involvedObject", "uid"), []).append(event)
    return found


def _lacks_pods(maker: Object) -> bool:
    """Whether a StatefulSet, DaemonSet or Job has fewer pods than it should; others have a condition that tells."""
    spec, status = fields.mapping(maker, "spec"), fields.mapping(maker, "status")
    if maker.get("kind") == JOBS.kind:
        idle = spec.get("suspend") is True or workloads.completed(maker)
        left = (fields.number(spec, "completions") or 1) - (fields.number(status, "succeeded") or 0)
        wanted = 0 if idle else min(fields.number(spec, "parallelism") or 1, left)
        return (fields.number(status, "active") or 0) < wanted
    if maker.get("kind") == DAEMONSETS.kind:
        scheduled = fields.number(status, "desiredNumberScheduled") or 0
        return (fields.number(status, "currentNumberScheduled") or 0) < scheduled
    if maker.get("kind") != STATEFULSETS.kind:
        return False
    replicas = fields.number(spec, "replicas")
    return (fields.number(status, "replicas") or 0) < (1 if replicas is None else replicas)


@check(
    "pods-refused",
    "error",
    WorkloadView,
    holds="The mesh's injector takes the pods that controllers want to make.",
    why="The controller tries again and again, and the pods it lacks are never made.",
    remedy="Mend what the injector's words name: an annotation, or the injector itself.",
)
def pods_refused(view: WorkloadView) -> Iterator[Seen]:
    for one in _refusals(view):
        if one.by_mesh:
            yield Seen(f"{_who(view, one)}: {one.words}", _mend(view, one.words, _MESHS), ("status",), one.maker)


@check(
    "pods-refused-elsewhere",
    "warning",
    WorkloadView,
    holds="Nothing else refuses the pods of a workload in the mesh.",
    why="The pods are never made. A sidecar and an init container with NET_ADMIN come with every pod: quotas and policies count them.",
    remedy="Mend what the words name, or ask whoever runs what refuses.",
)
def pods_refused_elsewhere(view: WorkloadView) -> Iterator[Seen]:
    for one in _refusals(view):
        if not one.by_mesh:
            yield Seen(f"{_who(view, one)}: {one.words}", _mend(view, one.words, _OTHERS), ("status",), one.maker)


def _who(view: WorkloadView, refusal: _Refusal) -> str:
    own = refusal.maker is view.workload.top.object
    return "its pods are refused" if own else f"the pods of {label(refusal.maker)} are refused"


_Mend = Callable[[WorkloadView, "re.Match[str]"], str]


def _mend(view: WorkloadView, words: str, mends: Sequence[tuple[str, _Mend]]) -> str:
    """What mends a refusal, by its words; the last mend takes any."""
    return next(mend(view, found) for pattern, mend in mends if (found := re.search(pattern, words)))


def _bad_list(view: WorkloadView, found: "re.Match[str]") -> str:
    """A pod annotation's item that cannot be read goes, the others stay."""
    item, key = found[1], found[2]
    known, text = LIST_KEYS.get(key), view.annotations.get(key, "")
    if known in view.installation.injector.pod_lists and item in items(text):
        return mending.removal(view, known, bad_items(known, text))
    kept = [one for one in items(text) if one != item]
    return mending.template(view, "annotations", {key: ",".join(kept) or None})


def _bad_switch(view: WorkloadView, found: "re.Match[str]") -> str:
    key = found[1]
    if key in view.annotations and interception.answer(view.annotations[key]) is None:
        return mending.template(view, "annotations", {key: "enabled"})
    if view.namespace is None:
        return f"write enabled in annotation {key} of namespace {view.workload.namespace}"
    return mending.metadata(view.scene, view.namespace, "annotations", {key: "enabled"})


def _injector(view: WorkloadView) -> tuple[str, str]:
    """The mesh's injector as kubectl calls it, and its namespace."""
    return f"deploy/{view.installation.mesh.injector_app}", view.installation.namespace


def _untrusted(view: WorkloadView, _: object) -> str:
    injector, namespace = _injector(view)
    words = "rollout", "restart", injector, "-n", namespace
    return mending.told(view.scene, f"restart {injector} in {namespace}", *words)


def _away(view: WorkloadView, _: object) -> str:
    injector, namespace = _injector(view)
    words = "describe", "pods", "-n", namespace, "-l", f"app={view.installation.mesh.injector_app}"
    return mending.told(view.scene, f"see why {injector} in {namespace} does not answer", *words)


def _log(view: WorkloadView, _: object) -> str:
    injector, namespace = _injector(view)
    return mending.told(view.scene, f"read the log of {injector} in {namespace}", "logs", injector, "-n", namespace)


def _privileged(view: WorkloadView, _: object) -> str:
    if view.namespace is None:
        return f"label namespace {view.workload.namespace} {_ENFORCE}=privileged"
    return mending.metadata(view.scene, view.namespace, "labels", {_ENFORCE: "privileged"})


def _says(text: str) -> _Mend:
    return lambda *_: text


_MESHS: Sequence[tuple[str, _Mend]] = (
    (r"Invalid (?:port value|IP range) '([^']*)' specified for annotation '([^']+)'", _bad_list),
    (r'(?i)invalid .*value (?:for key|specified for annotation) "([^"]+)"', _bad_switch),
    (r"failed calling webhook .*(?:x509|certificate)", _untrusted),
    (r"failed calling webhook", _away),
    ("", _log),
)
"""What mends a refusal by the mesh, by the words of injectors and of API servers that cannot ask them."""
_OTHERS: Sequence[tuple[str, _Mend]] = (
    (
        r"failed quota: .*must specify",
        _says(
            "give the sidecar and the init container resources in the MeshConfig (spec.sidecar), or make a LimitRange"
        ),
    ),
    (r"exceeded quota: ([^,]+)", lambda _, found: f"raise ResourceQuota {found[1]}: sidecars count as well"),
    (r"violates PodSecurity", _privileged),
    (r'serviceaccount "([^"]+)" not found', lambda _, found: f"create ServiceAccount {found[1]}"),
    (
        r'admission webhook "([^"]+)"',
        lambda _, found: f"mend what it names, or ask whoever runs the webhook {found[1]}",
    ),
    ("", _says("mend what it names")),
)
