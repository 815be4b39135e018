"""The cluster as oracle: what its own injector would make of the next pod, asked by a create that nothing is kept of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import PODS, Cluster
from kubectl_fsm.errors import ApiError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import Mesh


class Answer(NamedTuple):
    """What came of asking: one of these.

    `pod` as it would be stored; what the injector said instead (`refused`), or that it gave no answer (`down`); or why
    it could not be asked (`unasked`), which says nothing about the injector.
    """

    pod: Object | None = None
    refused: str = ""
    down: str = ""
    unasked: str = ""


def ask(cluster: Cluster, mesh: Mesh, owner: Object, template: Object, namespace: str) -> Answer:
    """Have the API server admit a pod of this owner's template, without storing it.

    The injector is free of side effects then (`NoneOnDryRun`), except that it has a certificate issued for each pod:
    so once for a template, not for each pod. Raises `Unreachable` and `CredentialError`.
    """
    try:
        return Answer(pod=cluster.try_create(PODS, namespace, _pod(owner, template, namespace)))
    except ApiError as error:
        if mesh.webhook not in error.message:
            return Answer(unasked=error.message)
        if "failed calling webhook" in error.message:
            return Answer(down=error.message)
        return Answer(refused=error.message)


def _pod(owner: Object, template: Object, namespace: str) -> Object:
    """A pod as the owner's controller makes it, as far as admission can tell."""
    metadata = fields.mapping(template, "metadata")
    spec: dict[str, Any] = dict(fields.mapping(template, "spec"))
    claims = [fields.name(claim) for claim in fields.items(owner, "spec", "volumeClaimTemplates")]
    if claims:  # a StatefulSet's controller adds a volume for each
        others = [volume for volume in fields.items(spec, "volumes") if volume.get("name") not in claims]
        spec["volumes"] = [*others, *map(_claimed, claims)]
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    name = fields.name(owner)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": f"{name}-", "namespace": namespace, **kept},
        "spec": spec,
    }


def _claimed(name: str) -> Mapping[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}
