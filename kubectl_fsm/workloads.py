"""Workloads: who owns a pod, where a workload keeps its pod template, and what of a pod's status counts here."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.fields import Object, Step

_TEMPLATE_PATHS = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"))
_FINISHED = ("Succeeded", "Failed")
_STARTING = ("ContainerCreating", "PodInitializing")
"""Why a container waits that is about to start."""

_STATE = ("state.waiting", "state.terminated", "lastState.terminated")
_USER = "securityContext.runAsUser"
POD = fields.mask(
    *("apiVersion", "kind"),
    *(f"metadata.{name}" for name in ("name", "namespace", "uid", "labels", "annotations", "deletionTimestamp")),
    *(f"metadata.ownerReferences.{name}" for name in ("apiVersion", "kind", "name", "uid", "controller")),
    *(f"metadata.managedFields.{name}" for name in ("manager", "time", "fieldsV1.f:metadata.f:annotations")),
    *(f"spec.initContainers.{name}" for name in ("name", "command", "args", "restartPolicy", "ports", _USER)),
    *(f"spec.containers.{name}" for name in ("name", "ports", _USER)),
    *(f"spec.{name}" for name in ("hostNetwork", "nodeSelector", "volumes.name", "serviceAccountName", _USER)),
    *("status.phase", "status.podIPs.ip"),
    *(f"status.conditions.{name}" for name in ("type", "status", "reason", "message")),
    *(f"status.initContainerStatuses.{name}" for name in ("name", "ready", *_STATE)),
    *(f"status.containerStatuses.{name}" for name in ("name", "ready", *_STATE)),
)
"""What is read of a pod that is one of many: its owner, its rules, how it stands. Some tenth of it, in memory."""


class Owner(NamedTuple):
    """The controller of an object, as its ownerReference names it."""

    api_version: str
    kind: str
    name: str
    uid: str


def controller(obj: Object) -> Owner | None:
    """The one owner that controls the object; None for an object that stands alone."""
    for reference in fields.parts(obj, "metadata", "ownerReferences"):
        if reference.get("controller") is True:
            return Owner(*(fields.text(reference, key) for key in ("apiVersion", "kind", "name", "uid")))
    return None


def template_path(obj: Object) -> tuple[str, ...] | None:
    """Where the object keeps a pod template of its own; None where it has none.

    A pod template is what has containers: Deployment, StatefulSet, DaemonSet, Job, CronJob, and any custom resource
    that keeps it in the same place.
    """
    for path in _TEMPLATE_PATHS:
        found: Any = obj
        for key in (*path, "spec", "containers"):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found:
            return path
    return None


def template_reference(obj: Object) -> Owner | None:
    """The workload whose template an Argo Rollout uses by `spec.workloadRef`; None for everything else."""
    if not isinstance(fields.mapping(obj, "spec").get("workloadRef"), Mapping):
        return None
    api_version, kind, name = (fields.text(obj, "spec", "workloadRef", key) for key in ("apiVersion", "kind", "name"))
    return Owner(api_version, kind, name, uid="")


def template(obj: Object) -> Object | None:
    """The object's pod template (`metadata` and `spec` of the pods it makes); a Pod is its own."""
    if obj.get("kind") == "Pod":
        return obj
    path = template_path(obj)
    return fields.part(obj, *path) if path else None


def replicas(obj: Object) -> int | None:
    """How many pods the workload has (its status), else wants (its spec); None for what has no such number."""
    for path in (("status", "replicas"), ("status", "currentNumberScheduled"), ("spec", "replicas")):
        found = fields.mapping(obj, path[0]).get(path[1])
        if isinstance(found, int):
            return found
    return None


def finished(pod: Object) -> bool:
    """Whether the pod has ended for good: it will not read its rules again."""
    return fields.text(pod, "status", "phase") in _FINISHED


def lives(pod: Object) -> bool:
    """Whether the pod has neither ended nor been told to."""
    return not finished(pod) and not fields.mapping(pod, "metadata").get("deletionTimestamp")


def completed(obj: Object) -> bool:
    """Whether a Job has ended for good: it will make no more pods."""
    conditions = fields.items(obj, "status", "conditions") if obj.get("kind") == "Job" else ()
    return any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)


def side_by_side(pod: Object) -> Iterator[tuple[tuple[Step, ...], Object]]:
    """The containers that run at one time, with their places: also init containers that go on running."""
    for key in ("containers", "initContainers"):
        for index, container in enumerate(fields.parts(pod, "spec", key)):
            if key == "containers" or container.get("restartPolicy") == "Always":
                yield ("spec", key, index), container


def user(pod: Object, container: Object) -> tuple[tuple[Step, ...], int | None]:
    """The user that a container of the pod runs as, None where the image tells, and the field below pod or container."""
    field = "securityContext", "runAsUser"
    own = fields.number(container, *field)
    return (field, own) if own is not None else (("spec", *field), fields.number(pod, "spec", *field))


def init_container(pod: Object, name: str) -> Object | None:
    """The init container of that name in the pod's spec."""
    found = (item for item in fields.parts(pod, "spec", "initContainers") if item.get("name") == name)
    return next(found, None)


def on_windows(pod: Object) -> bool:
    """Whether the pod asks for a Windows node."""
    return fields.mapping(pod, "spec", "nodeSelector").get("kubernetes.io/os") == "windows"


def script(container: Object) -> str:
    """The shell script that a container runs as `sh -c SCRIPT`; empty where it runs something else."""
    words = [*fields.sequence(container, "command"), *fields.sequence(container, "args")]
    if len(words) == 3 and words[1] == "-c" and re.fullmatch(r"(/bin/)?(ba)?sh", str(words[0])):  # noqa: PLR2004
        return str(words[2])
    return ""


def failure(pod: Object, name: str) -> str:
    """Why the init container of that name has failed, in the kubelet's words; empty where it has not."""
    for status in fields.parts(pod, "status", "initContainerStatuses"):
        if status.get("name") == name:
            ended = fields.part(status, "state", "terminated") or fields.part(status, "lastState", "terminated")
            waiting = fields.text(status, "state", "waiting", "reason")
            if ended:
                return _ending(ended)
            return "" if waiting in ("", "PodInitializing") else waiting
    return ""


def _status(pod: Object, name: str) -> Object:
    """The status of a container or init container; empty where there is none yet."""
    listed = (fields.parts(pod, "status", key) for key in ("containerStatuses", "initContainerStatuses"))
    return next((one for statuses in listed for one in statuses if one.get("name") == name), {})


def ending(pod: Object, name: str) -> Object:
    """How the container of that name has ended, the last time that it has; empty where it never has."""
    status = _status(pod, name)
    return fields.part(status, "state", "terminated") or fields.part(status, "lastState", "terminated")


def waiting_message(pod: Object, name: str) -> str:
    """Why the container of that name waits, in the kubelet's words."""
    return fields.text(_status(pod, name), "state", "waiting", "message").strip()


def starts(pod: Object, name: str) -> bool:
    """Whether the container of that name is about to start for the first time."""
    status = _status(pod, name)
    return fields.text(status, "state", "waiting", "reason") in _STARTING and not ending(pod, name)


def crash_loops(pod: Object, name: str) -> bool:
    """Whether the init container of that name fails again and again."""
    statuses = (one for one in fields.parts(pod, "status", "initContainerStatuses") if one.get("name") == name)
    return any(fields.text(one, "state", "waiting", "reason") == "CrashLoopBackOff" for one in statuses)


def complaint(pod: Object) -> str:
    """Why the pod is not ready, in the words of its status; empty where it is, or does not say."""
    for status in fields.items(pod, "status", "initContainerStatuses"):
        if said := failure(pod, str(status.get("name"))):
            return f"init container {status.get('name')}: {said}"
    for status in fields.parts(pod, "status", "containerStatuses"):
        if said := _complains(status):
            return f"container {status.get('name')}: {said}"
    conditions = {fields.text(one, "type"): one for one in fields.parts(pod, "status", "conditions")}
    for name in ("PodScheduled", "Ready"):
        found: Object = conditions.get(name, {})
        if found.get("status") == "False":
            return ": ".join(str(found[key]) for key in ("reason", "message") if found.get(key)) or f"{name} is False"
    return ""


def container_complaint(pod: Object, name: str) -> str:
    """Why the container of that name is not ready, in the words of its status; empty where it is, or does not say."""
    return _complains(_status(pod, name))


def _complains(status: Object) -> str:
    waiting, ended = fields.part(status, "state", "waiting"), fields.part(status, "state", "terminated")
    last = fields.part(status, "lastState", "terminated")
    return _waits(waiting) or _ending(ended) or (_ending(last) if status.get("ready") is not True else "")


def _waits(waiting: Object) -> str:
    reason = fields.text(waiting, "reason")
    if reason in ("", *_STARTING):
        return ""
    return ": ".join(part for part in (reason, fields.text(waiting, "message").strip()) if part)


def _ending(ended: Object) -> str:
    if not ended or ended.get("exitCode") == 0:
        return ""
    said = fields.text(ended, "message").strip()
    code = f"{fields.text(ended, 'reason') or 'Error'}, exit code {ended.get('exitCode')}"
    return f"{code}: {said}" if said else code


def succeeded(pod: Object, name: str) -> bool:
    """Whether the init container of that name has ended well."""
    statuses = fields.parts(pod, "status", "initContainerStatuses")
    return any(
        status.get("name") == name and fields.mapping(status, "state", "terminated").get("exitCode") == 0
        for status in statuses
    )


def is_ready(pod: Object) -> bool:
    """Whether the pod counts as ready: its condition says so, or there is none."""
    found = (one for one in fields.items(pod, "status", "conditions") if one.get("type") == "Ready")
    return next(found, {"status": "True"}).get("status") == "True"


def serves(pod: Object) -> bool:
    """Whether the pod is known to be ready: one that has just been made has no such condition yet."""
    return any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in fields.items(pod, "status", "conditions")
    )


def container_readiness(pod: Object, name: str) -> str:
    """`ready` or `not ready` for a container (a sidecar may be an init container that keeps running); empty: no status."""
    for key in ("containerStatuses", "initContainerStatuses"):
        for status in fields.items(pod, "status", key):
            if status.get("name") == name:
                return "ready" if status.get("ready") is True else "not ready"
    return ""


def container_ports(pod: Object, sidecar: str) -> set[int]:
    """The TCP ports that the application's containers, all but the sidecar, say they listen on."""
    return {
        port["containerPort"]
        for _, container in side_by_side(pod)
        if container.get("name") != sidecar
        for port in fields.items(container, "ports")
        if port.get("protocol", "TCP") == "TCP" and isinstance(port.get("containerPort"), int)
    }
