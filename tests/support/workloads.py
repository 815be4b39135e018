"""Sample workloads, plain objects as a user would apply them; each runs one container that listens on port 8080."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def pod_template(name: str, annotations: Mapping[str, str] | None = None) -> Object:
    """A pod template whose pods carry the label `app: <name>`."""
    container = {"name": name, "image": "example.com/app:1", "ports": [{"containerPort": 8080}]}
    metadata = {"labels": {"app": name}, "annotations": dict(annotations or {})}
    return {"metadata": metadata, "spec": {"containers": [container]}}


def deployment(name: str, namespace: str, annotations: Mapping[str, str] | None = None, replicas: int = 1) -> Object:
    return _workload("apps/v1", "Deployment", name, namespace, annotations, replicas=replicas)


def stateful_set(name: str, namespace: str, annotations: Mapping[str, str] | None = None, replicas: int = 1) -> Object:
    return _workload("apps/v1", "StatefulSet", name, namespace, annotations, replicas=replicas, serviceName=name)


def daemon_set(name: str, namespace: str, annotations: Mapping[str, str] | None = None) -> Object:
    return _workload("apps/v1", "DaemonSet", name, namespace, annotations)


def clone_set(name: str, namespace: str, annotations: Mapping[str, str] | None = None, replicas: int = 1) -> Object:
    """A custom resource with a pod template of its own, as OpenKruise has it (`CLONE_SET_CRD`)."""
    return _workload("apps.kruise.io/v1alpha1", "CloneSet", name, namespace, annotations, replicas=replicas)


def rollout(name: str, namespace: str, deployment_name: str) -> Object:
    """An Argo Rollout that takes its pod template from a Deployment (`ROLLOUT_CRD`)."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_name}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "workloadRef": reference}
    return _object("argoproj.io/v1alpha1", "Rollout", name, namespace, spec)


def job(name: str, namespace: str, annotations: Mapping[str, str] | None = None) -> Object:
    return _object("batch/v1", "Job", name, namespace, {"template": _run_once(name, annotations)})


def cron_job(name: str, namespace: str, annotations: Mapping[str, str] | None = None) -> Object:
    """A CronJob that is due on 29 February only: `kubectl create job --from` starts a run."""
    spec = {"schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": _run_once(name, annotations)}}}
    return _object("batch/v1", "CronJob", name, namespace, spec)


def pod(name: str, namespace: str, annotations: Mapping[str, str] | None = None, owner: Object | None = None) -> Object:
    """A pod: a bare one, or one that `owner`, an object read from the API server, controls."""
    template = pod_template(name, annotations)
    made = _object("v1", "Pod", name, namespace, template["spec"])
    made["metadata"] |= template["metadata"]
    return owned(made, owner) if owner else made


def database(name: str, namespace: str) -> Object:
    """A custom resource without a pod template, from which an operator makes a StatefulSet (`DATABASE_CRD`)."""
    return _object("example.com/v1", "Database", name, namespace, {"size": 1})


def owned(child: Object, owner: Object) -> Object:
    """`child` with `owner`, an object read from the API server, as its controller."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    return child | {"metadata": child["metadata"] | {"ownerReferences": [reference]}}


def custom_resource(group: str, version: str, kind: str, *short_names: str) -> Object:
    """A namespaced CRD that takes any spec; its status is a subresource."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"kind": kind, "plural": f"{kind.lower()}s", "shortNames": list(short_names)}
    made = crd(group, names, {version: anything}, version)
    made["spec"]["versions"][0]["subresources"] = {"status": {}}
    return made


def crd(group: str, names: Mapping[str, Any], schemas: Mapping[str, Object], storage: str) -> Object:
    """A namespaced CustomResourceDefinition with these names and a schema for each version."""
    versions = [
        {"name": version, "served": True, "storage": version == storage, "schema": {"openAPIV3Schema": schema}}
        for version, schema in schemas.items()
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": dict(names), "versions": versions},
    }


DATABASE_CRD = custom_resource("example.com", "v1", "Database")
CLONE_SET_CRD = custom_resource("apps.kruise.io", "v1alpha1", "CloneSet", "clone")
ROLLOUT_CRD = custom_resource("argoproj.io", "v1alpha1", "Rollout", "ro")


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _workload(
    api_version: str, kind: str, name: str, namespace: str, annotations: Mapping[str, str] | None, **spec: object
) -> Object:
    template = {"selector": {"matchLabels": {"app": name}}, "template": pod_template(name, annotations)}
    return _object(api_version, kind, name, namespace, template | spec)


def _run_once(name: str, annotations: Mapping[str, str] | None) -> Object:
    template = pod_template(name, annotations)
    template["spec"]["restartPolicy"] = "Never"
    return template
