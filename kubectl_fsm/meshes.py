"""FSM, osm-edge and OSM, and the generations of their sidecar injectors, as data.

Facts are read from the released sources: FSM v1.0 to v1.5.1, osm-edge v1.1 to v1.3.9, OSM v0.8 to v1.2.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.fields import Object

RESERVED_PORTS: Mapping[int, str] = {
    15000: "the sidecar's admin interface",
    15001: "the sidecar's outbound listener",
    15003: "the sidecar's inbound listener",
    15010: "the sidecar's metrics",
    15901: "the rewritten liveness probe",
    15902: "the rewritten readiness probe",
    15903: "the rewritten startup probe",
    15904: "the mesh's health check",
}
"""Ports of a meshed pod that the mesh keeps for itself, with what each is for."""

INBOUND_RESERVED_PORTS: Mapping[int, str] = {**RESERVED_PORTS, 6060: "the sidecar's repo listener"}
"""As `RESERVED_PORTS`, with the port that the sidecar listens on but that applications may well dial elsewhere."""

OUTBOUND_LISTENER = 15001
INBOUND_LISTENER = 15003
ADMIN_PORT = 15000
PASSED_INBOUND_PORTS = (15010, 15901, 15902, 15903)
HEALTH_CHECK_PORT = 15904
SIDECAR_UID = 1500

INJECTED_VOLUME = "sidecar-bootstrap-config-volume"
"""A pod whose spec already holds this volume counts as injected: the injector leaves it alone."""


class Item(Enum):
    """What a list holds."""

    PORT = "port"
    RANGE = "IP range"
    INTERFACE = "network interface"


class ExclusionList(NamedTuple):
    """One of the lists that steer what the sidecar intercepts.

    `name` is what reports call it, `field` its place in the MeshConfig's `spec.traffic`, `annotation` the pod
    annotation without the mesh's prefix (empty: the list is global only).
    """

    name: str
    item: Item
    field: str
    annotation: str = ""


OUTBOUND_PORTS = ExclusionList("outbound-port", Item.PORT, "outboundPortExclusionList", "outbound-port-exclusion-list")
INBOUND_PORTS = ExclusionList("inbound-port", Item.PORT, "inboundPortExclusionList", "inbound-port-exclusion-list")
EXCLUDED_RANGES = ExclusionList(
    "outbound-ip", Item.RANGE, "outboundIPRangeExclusionList", "outbound-ip-range-exclusion-list"
)
INCLUDED_RANGES = ExclusionList(
    "included-ip", Item.RANGE, "outboundIPRangeInclusionList", "outbound-ip-range-inclusion-list"
)
INTERFACES = ExclusionList("interface", Item.INTERFACE, "networkInterfaceExclusionList")

LISTS = (OUTBOUND_PORTS, INBOUND_PORTS, EXCLUDED_RANGES, INCLUDED_RANGES, INTERFACES)
"""In the order in which an injector reads the annotations; the first bad one is the one it names."""


class Chains(NamedTuple):
    """The names of the four chains that an injector makes."""

    inbound: str
    in_redirect: str
    outbound: str
    out_redirect: str


class Injector(NamedTuple):
    """A generation of the sidecar injector: which lists it reads and how it writes the init container's script.

    `restore`: one `iptables-restore` here-document, else `iptables` commands joined by `&&`.
    `inserts`: outbound exclusions are written with `-I` behind everything else, else appended in their place.
    `drops_bad_lists`: a bad item drops its annotation's whole list instead of refusing the pod.
    """

    name: str
    prefix: str
    chains: Chains
    lists: tuple[ExclusionList, ...]
    pod_lists: tuple[ExclusionList, ...]
    banner: str = ""
    restore: bool = True
    inserts: bool = False
    drops_bad_lists: bool = False
    health_check: bool = True
    pod_ip: bool = False
    dns_proxy: bool = False

    def annotation(self, exclusion_list: ExclusionList) -> str:
        """The whole key of the list's pod annotation."""
        return self.prefix + exclusion_list.annotation


_FSM_PREFIX = "flomesh.io/"
_OSM_PREFIX = "openservicemesh.io/"
_FSM_CHAINS = Chains("FSM_PROXY_INBOUND", "FSM_PROXY_IN_REDIRECT", "FSM_PROXY_OUTBOUND", "FSM_PROXY_OUT_REDIRECT")
_OSM_CHAINS = Chains("OSM_PROXY_INBOUND", "OSM_PROXY_IN_REDIRECT", "OSM_PROXY_OUTBOUND", "OSM_PROXY_OUT_REDIRECT")
_OLD_CHAINS = Chains("PROXY_INBOUND", "PROXY_IN_REDIRECT", "PROXY_OUTPUT", "PROXY_REDIRECT")
_FIRST_LISTS = (OUTBOUND_PORTS, INBOUND_PORTS, EXCLUDED_RANGES)
_PORT_LISTS = (OUTBOUND_PORTS, INBOUND_PORTS)
_POD_LISTS = (OUTBOUND_PORTS, INBOUND_PORTS, EXCLUDED_RANGES, INCLUDED_RANGES)

OSM_0_11 = Injector(
    "osm-0.11",
    _OSM_PREFIX,
    _OLD_CHAINS,
    _FIRST_LISTS,
    _PORT_LISTS,
    restore=False,
    inserts=True,
    drops_bad_lists=True,
    health_check=False,
)
OSM_1_0 = Injector(
    "osm-1.0",
    _OSM_PREFIX,
    _OSM_CHAINS,
    _FIRST_LISTS,
    _PORT_LISTS,
    banner="OSM",
    inserts=True,
    drops_bad_lists=True,
    health_check=False,
)
OSM_1_1 = Injector("osm-1.1", _OSM_PREFIX, _OSM_CHAINS, _POD_LISTS, _POD_LISTS, banner="OSM")
OSM_EDGE_1_1 = Injector("osm-edge-1.1", _OSM_PREFIX, _OSM_CHAINS, _POD_LISTS, _POD_LISTS, banner="OSM")
OSM_1_2 = Injector("osm-1.2", _OSM_PREFIX, _OSM_CHAINS, LISTS, _POD_LISTS, banner="OSM", pod_ip=True)
OSM_EDGE_1_3 = Injector(
    "osm-edge-1.3",
    _OSM_PREFIX,
    _OSM_CHAINS,
    LISTS,
    _POD_LISTS,
    banner="OSM",
    pod_ip=True,
    dns_proxy=True,
)
FSM_1_2 = Injector(
    "fsm-1.2",
    _FSM_PREFIX,
    _FSM_CHAINS,
    LISTS,
    _POD_LISTS,
    banner="FSM",
    pod_ip=True,
    dns_proxy=True,
)
FSM_1_5 = Injector("fsm-1.5", _FSM_PREFIX, _FSM_CHAINS, LISTS, _POD_LISTS, banner="FSM", pod_ip=True)

INJECTORS: Mapping[str, Injector] = {
    injector.name: injector
    for injector in (OSM_0_11, OSM_1_0, OSM_1_1, OSM_EDGE_1_1, OSM_1_2, OSM_EDGE_1_3, FSM_1_2, FSM_1_5)
}


class Release(NamedTuple):
    """Releases of a mesh from version `first` on, up to the next ones.

    `mode`: the value of `spec.traffic.interceptionMode` that adds the init container; None where there is no mode.
    `modes`: the values that its CRD takes; empty: any.
    """

    first: tuple[int, ...]
    injector: Injector
    mode: str | None = None
    modes: tuple[str, ...] = ()


class Mesh(NamedTuple):
    """One of the three meshes.

    `program` starts the names of the control plane's programs and of the chart's values (`fsm-injector`,
    `fsm.outboundPortExclusionList`); `releases` are listed newest first.
    """

    name: str
    title: str
    group: str
    program: str
    prefix: str
    sidecar: str
    releases: tuple[Release, ...]

    @property
    def meshconfig(self) -> str:
        """The usual name of the MeshConfig."""
        return f"{self.program}-mesh-config"

    @property
    def system_namespace(self) -> str:
        """The usual namespace of the control plane."""
        return f"{self.program}-system"

    @property
    def injector_app(self) -> str:
        """The `app` label of the injector's Deployment."""
        return f"{self.program}-injector"

    @property
    def init_container(self) -> str:
        return f"{self.program}-init"

    @property
    def webhook(self) -> str:
        """The name of the webhook by which the API server asks the injector."""
        return f"{self.program}-inject.k8s.io"

    @property
    def health_check(self) -> str:
        """The container that answers for TCP probes, where a pod has such."""
        return f"{self.program}-healthcheck"

    @property
    def uuid_label(self) -> str:
        """The label that every injected pod carries."""
        return f"{self.program}-proxy-uuid"

    @property
    def injection_key(self) -> str:
        """The annotation of a namespace or pod that says whether pods get a sidecar."""
        return f"{self.prefix}sidecar-injection"

    @property
    def metrics_key(self) -> str:
        """The annotation of a namespace that says whether its sidecars' metrics are scraped."""
        return f"{self.prefix}metrics"

    @property
    def ignore_label(self) -> str:
        """The label that keeps a namespace out of the mesh."""
        return f"{self.prefix}ignore"

    @property
    def monitored_label(self) -> str:
        """The label that makes a namespace part of the mesh of that name."""
        return f"{self.prefix}monitored-by"

    def release(self, version: str) -> Release:
        """The releases that `v1.4.17` belongs to; the newest ones for a version that cannot be read."""
        found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
        if not found:
            return self.releases[0]
        number = tuple(int(part or 0) for part in found.groups())
        return next((release for release in self.releases if number >= release.first), self.releases[-1])


FSM = Mesh(
    "fsm",
    "FSM",
    "config.flomesh.io",
    "fsm",
    _FSM_PREFIX,
    "sidecar",
    (
        Release((1, 5, 0), FSM_1_5, "PodLevel", ("PodLevel", "NodeLevel")),
        Release((1, 4, 17), FSM_1_5, "iptables"),
        Release((1, 0, 0), FSM_1_2, "iptables"),
    ),
)
OSM_EDGE = Mesh(
    "osm-edge",
    "osm-edge",
    "config.openservicemesh.io",
    "osm",
    _OSM_PREFIX,
    "sidecar",
    (Release((1, 3, 0), OSM_EDGE_1_3, "iptables"), Release((1, 2, 0), OSM_1_2), Release((1, 0, 0), OSM_EDGE_1_1)),
)
OSM = Mesh(
    "osm",
    "OSM",
    "config.openservicemesh.io",
    "osm",
    _OSM_PREFIX,
    "envoy",
    (
        Release((1, 2, 0), OSM_1_2),
        Release((1, 1, 0), OSM_1_1),
        Release((1, 0, 0), OSM_1_0),
        Release((0, 0, 0), OSM_0_11),
    ),
)

MESHES = (FSM, OSM_EDGE, OSM)


def family(group: str, image: str, version: str, spec: Object) -> Mesh:
    """Which mesh serves a MeshConfig of this API group, given its injector's image and version (empty: not known).

    osm-edge and OSM share a group. OSM ended with 1.2, its images are not Flomesh's, and its MeshConfig has neither
    sidecar drivers nor an interception mode.
    """
    served = [mesh for mesh in MESHES if mesh.group == group]
    if len(served) == 1:
        return served[0]
    late = version != "" and OSM_EDGE.release(version).injector is OSM_EDGE_1_3
    edge = late or "osm-edge" in image or "flomesh" in image
    sidecar, traffic = fields.mapping(spec, "sidecar"), fields.mapping(spec, "traffic")
    edge = edge or "sidecarDrivers" in sidecar or "sidecarClass" in sidecar or "interceptionMode" in traffic
    return OSM_EDGE if edge else OSM


class Installation(NamedTuple):
    """A mesh as it is installed: its control plane's namespace, its MeshConfig and the release that reads it.

    `name` is what namespaces are labelled with (empty: not known), `version` the exact release (empty: not known),
    `note` says what had to be assumed. `config` is empty for files that hold no MeshConfig.
    """

    mesh: Mesh
    name: str
    namespace: str
    version: str
    release: Release
    config: Object
    note: str = ""

    @property
    def injector(self) -> Injector:
        return self.release.injector

    @property
    def spec(self) -> Object:
        return fields.part(self.config, "spec")

    @property
    def config_name(self) -> str:
        return fields.name(self.config)

    @property
    def mode(self) -> str:
        """`spec.traffic.interceptionMode` as it stands."""
        return fields.text(self.config, "spec", "traffic", "interceptionMode")

    @property
    def intercepts(self) -> bool:
        """Whether the mode makes the injector add the init container."""
        return self.release.mode is None or self.mode == self.release.mode or not self.config

    @property
    def adds_sidecar(self) -> bool:
        """Whether injected pods get a sidecar: in mode `NodeLevel` they get the mesh's label and nothing else."""
        return self.mode not in self.release.modes or self.mode == self.release.mode

    def __str__(self) -> str:
        return " ".join(part for part in (self.mesh.name, self.version, f"({self.namespace})") if part)
