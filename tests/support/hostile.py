"""Manifests of a mesh that has everything, and what somebody may write in place of any value of theirs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubectl_fsm.generator import render
from tests.support.mesh import FSM, control_plane_deployment, meshconfig
from tests.support.workloads import Object, clone_set, cron_job, deployment, owned, pod, rollout, stateful_set

Path = tuple[str | int, ...]

VERBS: Mapping[str, Sequence[str]] = {
    "rules": ["rules"],
    "rules of one": ["rules", "deploy/web", "-n", "shop", "-o", "wide"],
    "rules of a pod": ["rules", "web-1", "-n", "shop"],
    "rules as JSON": ["rules", "-o", "json"],
    "rules as a picture": ["rules", "-o", "mermaid"],
    "script": ["rules", "deploy/web", "-n", "shop", "-o", "iptables"],
    "trace": ["trace", "deploy/web", "svc/api:80", "-n", "shop", "-o", "wide"],
    "trace to an address": ["trace", "web-1", "10.96.0.7:80", "-n", "shop", "-o", "json"],
    "exclusions": ["exclusions", "-o", "wide"],
    "exclusions as YAML": ["exclusions", "-o", "yaml"],
    "export": ["exclusions", "--export=helm-set"],
    "exclude-port": ["exclude-port", "7070", "--local", "--yes"],
    "exclude-port of a workload": [
        "exclude-port",
        "7070",
        "--workload=deploy/web",
        "-n",
        "shop",
        "--local",
        "-o",
        "json",
    ],
    "exclude-ip": ["exclude-ip", "svc/api.shop", "--local", "--yes", "--diff"],
    "include-ip": ["include-ip", "10.0.0.0/8", "--local", "--yes", "--all", "-n", "shop"],
    "exclude-interface": ["exclude-interface", "net1", "--local", "--yes", "-o", "yaml"],
    "check": ["check"],
    "check in short": ["check", "deploy/web", "-n", "shop", "-o", "short"],
    "check as JSON": ["check", "-o", "json"],
    "check as YAML": ["check", "-o", "yaml"],
    "check for CI": ["check", "-o", "junit"],
    "check for editors": ["check", "-o", "sarif"],
}
"""Every verb that reads files, each in the ways that read something else. A new verb is a line here."""


def manifests() -> list[Object]:
    """A mesh, workloads of all kinds, a pod that runs rules, a Service with its slice, and what is looked up beside them."""
    annotations = {f"{FSM.prefix}outbound-port-exclusion-list": "5432, +6379"}
    web = deployment("web", "shop", annotations)
    web["metadata"]["uid"] = "uid-web"
    web["metadata"]["managedFields"] = [_written()]
    api = deployment("api", "shop", replicas=2)
    api["metadata"]["uid"] = "uid-api"
    config = meshconfig(FSM, outboundPortExclusionList=[3306], outboundIPRangeExclusionList=["169.254.169.254/32"])
    config["spec"]["traffic"]["networkInterfaceExclusionList"] = ["net7"]
    owner = owned(
        clone_set("kruise", "shop"),
        {"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "db", "uid": "u"}},
    )
    made = [
        control_plane_deployment(FSM, "injector"),
        config,
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "shop",
                "labels": {f"{FSM.prefix}monitored-by": "fsm"},
                "annotations": {f"{FSM.prefix}sidecar-injection": "enabled", f"{FSM.prefix}metrics": "enabled"},
            },
        },
        web,
        api,
        _running("web-1", web, "10.244.0.2"),
        _running("api-1", api, "10.244.0.3"),
        stateful_set("db", "shop"),
        cron_job("report", "shop"),
        rollout("green", "shop", "api"),
        owner,
        _service(),
        _slice(),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cilium-config", "namespace": "kube-system"},
            "data": {"bpf-lb-sock": "false"},
        },
        _definition(),
    ]
    return json.loads(json.dumps(made))  # so that nothing is there twice by reference


def _written() -> Object:
    key = f"f:{FSM.prefix}outbound-port-exclusion-list"
    annotations = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {key: {}}}}}}
    return {"manager": "kubectl-edit", "operation": "Update", "time": "2024-05-01T10:00:00Z", "fieldsV1": annotations}


def _running(name: str, owner: Object, address: str) -> Object:
    """A pod that the injector has seen, with rules of yesterday."""
    made = owned(pod(name, "shop"), owner)
    made["metadata"]["labels"] = {"app": owner["metadata"]["name"], "fsm-proxy-uuid": name}
    made["metadata"]["annotations"] = {f"{FSM.prefix}inbound-port-exclusion-list": "9090"}
    script = render("fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": [3306]}})
    made["spec"]["initContainers"] = [{"name": "fsm-init", "command": ["/bin/sh"], "args": ["-c", script]}]
    made["spec"]["containers"][0]["securityContext"] = {"runAsUser": 1000}
    made["spec"]["containers"].append({"name": "sidecar", "image": "sidecar"})
    made["spec"] |= {"nodeName": "node-a", "hostNetwork": False, "securityContext": {"runAsUser": 0}}
    made["spec"] |= {"nodeSelector": {"kubernetes.io/os": "linux"}, "volumes": [{"name": "tmp"}]}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    made["status"] = {
        "phase": "Running",
        "podIP": address,
        "conditions": [{"type": "Ready", "status": "True"}],
        "initContainerStatuses": [{"name": "fsm-init", "ready": True, "state": ended}],
        "containerStatuses": [{"name": "sidecar", "ready": True, "state": {"running": {}}}],
    }
    return made


def _service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop", "annotations": {"flomesh.io/service-exclusion": "false"}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "api"},
            "clusterIP": "10.96.0.7",
            "externalIPs": ["203.0.113.7"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.9", "ipMode": "VIP"}]}},
    }


def _slice() -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "api-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": ["10.244.0.3"],
                "nodeName": "node-a",
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "name": "api-1", "namespace": "shop", "uid": "x"},
                "hints": {"forZones": [{"name": "a"}]},
            }
        ],
    }


def _definition() -> Object:
    names = {"kind": "CloneSet", "plural": "clonesets", "shortNames": ["clone"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "clonesets.apps.kruise.io"},
        "spec": {"group": "apps.kruise.io", "scope": "Namespaced", "names": names},
    }


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything below a value."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in below:
        yield (*path, step)
        yield from paths(item, (*path, step))


def at(value: Any, path: Path) -> Any:
    """What is at a path."""
    for step in path:
        value = value[step]
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """The value with something else at a path; nothing is changed in place."""
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = new
    return changed
