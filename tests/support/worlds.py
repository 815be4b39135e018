"""Random worlds to trace in: a mesh of any generation, workloads with and without pods, Services, and a connection."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from kubectl_fsm.generator import render
from kubectl_fsm.meshes import FSM as FSM_MESH
from kubectl_fsm.meshes import OSM as OSM_MESH
from kubectl_fsm.operations import destinations
from kubectl_fsm.operations.trace import Request
from tests.support.mesh import FSM, OSM, OSM_EDGE, Flavour, control_plane_deployment, meshconfig
from tests.support.workloads import Object, deployment, owned, pod

T = TypeVar("T")

GENERATIONS: Sequence[Flavour] = (
    FSM,
    replace(FSM, mesh_version="1.2.3", injector="fsm-1.2", intercepting_mode="iptables"),
    OSM_EDGE,
    replace(OSM_EDGE, mesh_version="1.1.0", injector="osm-edge-1.1", intercepting_mode=""),
    OSM,
    replace(OSM, mesh_version="v1.1.1", injector="osm-1.1"),
    replace(OSM, mesh_version="v1.0.0", injector="osm-1.0"),
    replace(OSM, mesh_version="v0.11.1", injector="osm-0.11"),
)
FEW_LISTS = ("osm-1.0", "osm-0.11")
"""Their pods' annotations are of ports only."""

RUNNING = tuple(f"10.244.0.{number}" for number in range(2, 8))
"""Addresses of pods: of those that run, and what stands in for those that do not."""
STAND_INS = tuple(f"10.244.255.{number}" for number in range(2, 8))
SHOP, BARE = "shop", "bare"
"""A namespace in the mesh, and one that is not."""
NODES = ("node-a", "node-b")
CLUSTER_IP, EXTERNAL_IP = "10.96.0.7", "203.0.113.7"
NO_POD, NOBODY = "198.51.100.9", "198.51.100.77"
"""An endpoint's address that is no pod's, and an address of nothing in the cluster."""
OTHER_INTERFACE = "net1"
PORT, PORT_NAME = 80, "http"
APP_PORTS = (8080, 8080, 6379, 15003)
PORTS = (PORT, 8080, 6379, 9090, 15001, 15003)
RANGES = ("10.96.0.0/16", f"{CLUSTER_IP}/32", "10.244.0.0/24", "10.244.0.3/32", "10.244.0.4/30", "198.51.100.0/24",
          "0.0.0.0/0", "128.0.0.0/1", "127.0.0.0/8", "203.0.113.7/24")  # fmt: skip
INTERFACES = (OTHER_INTERFACE, "net+", "eth0", "eth1", "lo")
UIDS = (None, None, 0, 1000, 1500, 1501)


class World(NamedTuple):
    """What a folder of manifests holds, and the connection to trace there."""

    objects: Sequence[Object]
    request: Request


class _Chance:
    """Chance in the words of this file."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed that can be named

    def one(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def some(self, values: Sequence[T], most: int) -> list[T]:
        return self._random.sample(values, self._random.randint(0, most))

    def happens(self, share: float) -> bool:
        return self._random.random() < share


def world(seed: str) -> World:
    """The world that belongs to a seed."""
    chance = _Chance(seed)
    mesh = chance.one(GENERATIONS)
    spec = _spec(chance, mesh)
    apps = [_App(chance, mesh, spec, name) for name in ("web", "api", "db")]
    addresses = iter(RUNNING)
    pods = {app.name: [app.pod(number, next(addresses)) for number in range(app.count)] for app in apps}
    interface = OTHER_INTERFACE if chance.happens(0.15) else ""
    config = meshconfig(mesh)
    objects = [
        control_plane_deployment(mesh, "injector"),
        config | {"spec": config["spec"] | spec | {"traffic": config["spec"]["traffic"] | spec["traffic"]}},
        _namespace(SHOP, {f"{mesh.prefix}monitored-by": mesh.name}, {f"{mesh.prefix}sidecar-injection": "enabled"}),
        _namespace(BARE, {}, {}),
        *(app.workload for app in apps),
        *(one for some in pods.values() for one in some),
    ]
    service, slices = _service(chance, apps[1:] if interface else apps, pods)
    return World([*objects, service, *slices], _request(chance, apps, pods, service, interface))


def _spec(chance: _Chance, mesh: Flavour) -> Object:
    """What a MeshConfig asks for, as far as `mesh` can."""
    traffic: Object = {
        "outboundPortExclusionList": chance.some(PORTS, 2),
        "inboundPortExclusionList": chance.some(PORTS, 2),
        "outboundIPRangeExclusionList": chance.some(RANGES, 2),
        "outboundIPRangeInclusionList": chance.some(RANGES, 3) if chance.happens(0.3) else [],
        "networkInterfaceExclusionList": chance.some(INTERFACES, 1),
    }
    if mesh.intercepting_mode:
        traffic["interceptionMode"] = mesh.intercepting_mode
    sidecar = {
        "localProxyMode": chance.one(["Localhost", "PodIP"]),
        "localDNSProxy": {"enable": chance.happens(0.2)},
        "sidecarDisabledMTLS": chance.happens(0.3),
    }
    return {"traffic": traffic, "sidecar": sidecar}


def _annotations(chance: _Chance, mesh: Flavour) -> dict[str, str]:
    """A pod's own lists."""
    found = {
        "outbound-port-exclusion-list": chance.some(PORTS, 2),
        "inbound-port-exclusion-list": chance.some(PORTS, 2),
    }
    ranges = {
        "outbound-ip-range-exclusion-list": chance.some(RANGES, 1),
        "outbound-ip-range-inclusion-list": chance.some(RANGES, 2) if chance.happens(0.2) else [],
    }
    lists: Mapping[str, Sequence[object]] = found if mesh.injector in FEW_LISTS else {**found, **ranges}
    return {f"{mesh.prefix}{name}": ",".join(map(str, values)) for name, values in lists.items() if values}


class _App:
    """A workload as it is configured now, and its pods as they were made before: of other lists, or by another injector."""

    def __init__(self, chance: _Chance, mesh: Flavour, spec: Object, name: str) -> None:
        self.name = name
        self._chance = chance
        self._mesh = mesh
        self._spec = spec
        self.namespace = BARE if chance.happens(0.15) else SHOP
        self.port = chance.one(APP_PORTS)
        self.count = chance.one((0, 1, 1, 2))
        off = {f"{mesh.prefix}sidecar-injection": "disabled"} if chance.happens(0.15) else {}
        self.meshed = self.namespace == SHOP and not off
        self.annotations = _annotations(chance, mesh) | off
        self.workload = deployment(name, self.namespace, self.annotations, replicas=chance.one((1, 2)))
        self.workload["metadata"]["uid"] = f"uid-{name}"
        template = self.workload["spec"]["template"]
        template["metadata"]["labels"]["side"] = "client" if name == "web" else "server"
        template["spec"]["containers"][0]["ports"] = [{"name": PORT_NAME, "containerPort": self.port}]
        if (uid := chance.one(UIDS)) is not None:
            template["spec"]["securityContext"] = {"runAsUser": uid}

    def pod(self, number: int, address: str) -> Object:
        made = owned(pod(f"{self.name}-{number}", self.namespace), self.workload)
        template = self.workload["spec"]["template"]
        made["metadata"] |= {"labels": dict(template["metadata"]["labels"]), "annotations": dict(self.annotations)}
        made["spec"] = template["spec"] | {"nodeName": self._chance.one(NODES)}
        made["status"] = {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
        if self.meshed if self._chance.happens(0.9) else not self.meshed:
            self._inject(made)
        return made

    def _inject(self, made: Object) -> None:
        """The init container that an injector of this mesh added, today or some time ago."""
        chance, mesh = self._chance, FSM_MESH if self._mesh.name == FSM.name else OSM_MESH
        injector, lists, spec = self._mesh.injector, self.annotations, self._spec
        if chance.happens(0.6):
            injector = chance.one([one.injector for one in GENERATIONS if one.name == self._mesh.name])
            lists, spec = _annotations(chance, replace(self._mesh, injector=injector)), _spec(chance, self._mesh)
        script = render(injector, lists, spec)
        init = {"name": mesh.init_container, "image": "example.com/init:1", "command": ["/bin/sh"]}
        made["spec"]["initContainers"] = [init | {"args": ["-c", script]}]
        made["spec"]["containers"] = [*made["spec"]["containers"], {"name": self._mesh.sidecar, "image": "sidecar"}]
        made["metadata"]["labels"][mesh.uuid_label] = made["metadata"]["name"]


def _namespace(name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)},
    }


def _service(
    chance: _Chance, apps: Sequence[_App], pods: Mapping[str, Sequence[Object]]
) -> tuple[Object, Sequence[Object]]:
    """A Service of the namespace of the last app, for some of these, and its slices; none for files that lack them."""
    selector = chance.one([*({"app": app.name} for app in apps), {"side": "server"}, {}])
    spec: Object = {
        "selector": selector,
        "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": chance.one([PORT_NAME, 8080, 6379])}],
    }
    if not chance.happens(0.3):
        spec["clusterIP"] = chance.one([CLUSTER_IP, CLUSTER_IP, "None"])
    if chance.happens(0.25):
        spec["internalTrafficPolicy"] = "Local"
    if chance.happens(0.2):
        spec["externalIPs"] = [EXTERNAL_IP]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "target", "namespace": apps[-1].namespace},
        "spec": spec,
    }
    if selector and chance.happens(0.3):
        return service, ()
    chosen = [one for app in apps for one in pods[app.name] if chance.happens(0.6)]
    endpoints = [_endpoint(chance, one) for one in chosen]
    if chance.happens(0.15):
        endpoints.append({"addresses": [NO_POD], "conditions": {"ready": True}})
    ports = chance.one([(8080,), (8080,), (6379,), (8080, 6379)])
    return service, [_slice(service, port, endpoints) for port in ports]


def _endpoint(chance: _Chance, made: Object) -> Object:
    ready = chance.happens(0.8)
    leaving = not ready and chance.happens(0.5)
    metadata = made["metadata"]
    return {
        "addresses": [made["status"]["podIP"]],
        "nodeName": made["spec"]["nodeName"],
        "conditions": {"ready": ready, "serving": ready or leaving, "terminating": leaving},
        "targetRef": {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"]},
    }


def _slice(service: Object, port: int, endpoints: Sequence[Object]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"target-{port}",
            "namespace": service["metadata"]["namespace"],
            "labels": {"kubernetes.io/service-name": "target"},
        },
        "addressType": "IPv4",
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def _request(
    chance: _Chance, apps: Sequence[_App], pods: Mapping[str, Sequence[Object]], service: Object, interface: str
) -> Request:
    web = apps[0]
    own = pods[web.name]
    sources = ["deploy/web", *(one["metadata"]["name"] for one in own)]
    targets = [*_targets(chance, web.namespace, apps, pods, service)]
    return Request(
        source=chance.one(sources),
        target=destinations.parse(chance.one(targets)),
        namespace=web.namespace,
        uid=chance.one(UIDS),
        interface=interface,
    )


def _targets(
    chance: _Chance, here: str, apps: Sequence[_App], pods: Mapping[str, Sequence[Object]], service: Object
) -> Iterator[str]:
    """Everything that can be written for a destination, the Service as often as all else."""
    port = chance.one(PORTS)
    names = [f"svc/target.{service['metadata']['namespace']}:{PORT}"] * 8
    addresses: list[Any] = [*service["spec"].get("externalIPs", []), service["spec"].get("clusterIP", "None")]
    yield from [*names, *(f"{address}:{PORT}" for address in addresses if address != "None")]
    yield f"{NOBODY}:{port}"
    yield f"127.0.0.1:{port}"
    yield from (f"{one['status']['podIP']}:{port}" for some in pods.values() for one in some)
    yield from (f"deploy/{app.name}:{chance.one((PORT_NAME, str(port)))}" for app in apps if app.namespace == here)
