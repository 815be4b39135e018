"""Rollouts: which field starts one, how far it is, and why a workload would not replace its pods."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.fields import Object

RESTARTED_AT = ("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
"""What `kubectl rollout restart` sets to the time, in RFC 3339."""
RESTART_AT = ("spec", "restartAt")
"""The same of an Argo Rollout, whose controller then replaces the pods that are older than that."""


class Progress(NamedTuple):
    """How far a rollout is: `updated` of `wanted` pods are new, `available` of all serve.

    `failed` says why its controller has given up, empty while it has not.
    """

    updated: int = 0
    available: int = 0
    wanted: int = 0
    done: bool = False
    failed: str = ""


class _Kind(NamedTuple):
    """A kind whose rollouts are known: the field that starts one, and what its status says."""

    restart: tuple[str, ...]
    progress: Callable[[Object, Object], Progress]
    rolling: Callable[[Object, Object], bool]


def restart_field(obj: Object) -> tuple[str, ...] | None:
    """The field whose change makes the controller replace all pods; None for kinds of which that is not known."""
    kind = _kind(obj)
    return kind.restart if kind else None


def holds_back(obj: Object) -> str:
    """Why a new pod template replaces no pod at once, or not every one; empty where it does."""
    spec, kind = fields.mapping(obj, "spec"), obj.get("kind")
    if kind == "CronJob":
        return "its next runs have it"
    if spec.get("paused") is True:
        return "its rollout is paused: no pod is replaced until it is resumed"
    if said := on_delete(obj):
        return said
    partition = fields.mapping(spec, "updateStrategy", "rollingUpdate").get("partition")
    if kind == "StatefulSet" and isinstance(partition, int) and partition > 0:
        return f"its update strategy keeps the pods below {partition} as they are (partition)"
    return ""


def on_delete(obj: Object) -> str:
    """Why pods are made anew only after somebody deletes them; empty where the controller does that."""
    if obj.get("kind") == "ReplicaSet":
        return "a ReplicaSet replaces no pods: those it makes from now on have it"
    strategies = (fields.mapping(obj, "spec", key).get("type") for key in ("updateStrategy", "strategy"))
    return "its pods have it when they are deleted (OnDelete)" if "OnDelete" in strategies else ""


def rolling(obj: Object) -> bool:
    """Whether a rollout is under way: pods of an older template are still there, and its controller has not given up."""
    kind = _kind(obj)
    if not kind:
        return False
    if on_delete(obj):
        return not _observed(obj)
    return not _observed(obj) or kind.rolling(fields.part(obj, "spec"), fields.part(obj, "status"))


def progress(obj: Object) -> Progress:
    """How far the rollout of the object's present generation is. Of a kind that is not known nothing is ever done."""
    kind, spec = _kind(obj), fields.part(obj, "spec")
    if not kind or not _observed(obj):
        wanted = _number(fields.mapping(obj, "status"), "desiredNumberScheduled", _number(spec, "replicas", 1))
        return Progress(wanted=wanted)
    return kind.progress(spec, fields.part(obj, "status"))


def wanted(obj: Object) -> int | None:
    """How many pods its controller keeps; None for kinds of which that is not known: replicas may be of something else."""
    if _group(obj) != "apps" and not _kind(obj):
        return None
    spec, status = fields.mapping(obj, "spec"), fields.mapping(obj, "status")
    return _number(status, "desiredNumberScheduled", _number(spec, "replicas", 1))


def creation_failure(obj: Object) -> str:
    """Why the controller cannot make pods, as the workload's conditions have it; empty where they do not say."""
    found = _condition(fields.part(obj, "status"), "ReplicaFailure")
    return str(found.get("message", "")) if found.get("status") == "True" else ""


def _observed(obj: Object) -> bool:
    """Whether the status speaks of the object's present generation (Argo writes it as text)."""
    generation, seen = fields.mapping(obj, "metadata").get("generation"), fields.mapping(obj, "status")
    text = str(seen.get("observedGeneration", "0"))
    return not isinstance(generation, int) or not text.isdecimal() or int(text) >= generation


def _kind(obj: Object) -> _Kind | None:
    return _KINDS.get((_group(obj), str(obj.get("kind"))))


def _group(obj: Object) -> str:
    return str(obj.get("apiVersion", "")).rpartition("/")[0]


def _number(values: Object, key: str, default: int = 0) -> int:
    found = values.get(key)
    return found if isinstance(found, int) else default


def _condition(status: Object, name: str) -> Mapping[str, Any]:
    found = (one for one in fields.items(status, "conditions") if one.get("type") == name)
    return next(found, {})


def _given_up(status: Object) -> str:
    stuck = _condition(status, "Progressing")
    if stuck.get("reason") != "ProgressDeadlineExceeded":
        return ""
    return str(stuck.get("message") or "it has exceeded its progress deadline")


def _deployment(spec: Object, status: Object) -> Progress:
    wanted = _number(spec, "replicas", 1)
    updated, available = _number(status, "updatedReplicas"), _number(status, "availableReplicas")
    done = updated >= wanted and _number(status, "replicas") <= updated <= available
    return Progress(updated, available, wanted, done, "" if done else _given_up(status))


def _deployment_rolls(_: Object, status: Object) -> bool:
    return _number(status, "replicas") > _number(status, "updatedReplicas") and not _given_up(status)


def _stateful_set(spec: Object, status: Object) -> Progress:
    wanted, updated = _number(spec, "replicas", 1), _number(status, "updatedReplicas")
    ready = _number(status, "readyReplicas")
    available = _number(status, "availableReplicas", ready)
    done = not _stateful_set_rolls(spec, status) and updated >= wanted and min(ready, available) >= wanted
    return Progress(updated, available, wanted, done)


def _stateful_set_rolls(_: Object, status: Object) -> bool:
    return bool(status.get("replicas")) and status.get("currentRevision") != status.get("updateRevision")


def _daemon_set(_: Object, status: Object) -> Progress:
    wanted = _number(status, "desiredNumberScheduled")
    updated, available = _number(status, "updatedNumberScheduled"), _number(status, "numberAvailable")
    return Progress(updated, available, wanted, updated >= wanted and available >= wanted)


def _daemon_set_rolls(_: Object, status: Object) -> bool:
    return _number(status, "updatedNumberScheduled") < _number(status, "currentNumberScheduled")


def _argo_rollout(spec: Object, status: Object) -> Progress:
    wanted, updated = _number(spec, "replicas", 1), _number(status, "updatedReplicas")
    available, phase = _number(status, "availableReplicas"), status.get("phase", "Healthy")
    done = _argo_restarted(spec, status) and phase == "Healthy" and min(updated, available) >= wanted
    return Progress(updated, available, wanted, done, _argo_stands(spec, status))


def _argo_stands(spec: Object, status: Object) -> str:
    """Why the rollout does not go on by itself; empty where it does, as after a pause that has a duration."""
    phase, message = status.get("phase"), str(status.get("message") or status.get("phase"))
    if phase == "Degraded":
        return message
    if phase != "Paused":
        return ""
    steps = fields.parts(spec, "strategy", "canary", "steps")
    step = steps[index] if 0 <= (index := _number(status, "currentStepIndex")) < len(steps) else {}
    waits = fields.mapping(step, "pause").get("duration") is not None
    return "" if waits else f"it is paused until somebody promotes it: {message}"


def _argo_rollout_rolls(spec: Object, status: Object) -> bool:
    return status.get("phase") in ("Progressing", "Paused") or not _argo_restarted(spec, status)


def _argo_restarted(spec: Object, status: Object) -> bool:
    """Whether the restart that is asked for has been carried out; the controller writes its time in UTC."""
    asked, carried_out = (fields.text(part, key) for part, key in ((spec, "restartAt"), (status, "restartedAt")))
    return not asked or asked == carried_out or (bool(carried_out) and _moment(asked) == _moment(carried_out))


def _moment(text: str) -> object:
    """A time in RFC 3339, equal for the same moment; None for what is none."""
    from datetime import datetime  # noqa: PLC0415 - 1 ms to load, and hardly ever needed

    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


_KINDS: Mapping[tuple[str, str], _Kind] = {
    ("apps", "Deployment"): _Kind(RESTARTED_AT, _deployment, _deployment_rolls),
    ("apps", "StatefulSet"): _Kind(RESTARTED_AT, _stateful_set, _stateful_set_rolls),
    ("apps", "DaemonSet"): _Kind(RESTARTED_AT, _daemon_set, _daemon_set_rolls),
    ("argoproj.io", "Rollout"): _Kind(RESTART_AT, _argo_rollout, _argo_rollout_rolls),
}
"""What `kubectl rollout status` and `kubectl argo rollouts status` look at, by group and kind."""
