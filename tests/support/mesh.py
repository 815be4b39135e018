"""FSM, osm-edge and OSM as a test's cluster has them: CRD, MeshConfig, control plane, injector.

Written from the meshes' own CRDs and charts, and not from the package under test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.control_plane import APPLY_PATCH, MERGE_PATCH, ApiFailure, ControlPlane
from tests.support.injector import Program, StandIn, Webhook
from tests.support.workloads import Object, crd, pod, pod_template

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
BOOLEAN = {"type": "boolean"}
STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}
PORTS = {"type": "array", "items": {"type": "integer"}}
BOUNDED_PORTS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
IPV4_RANGES = {
    "type": "array",
    "items": {"type": "string", "pattern": r"([0-9]{1,3}\.){3}[0-9]{1,3}/([0-9]|[12][0-9]|3[0-2])$"},
}
"""Anchored at the end only, as the meshes have it."""

NAMES = {"kind": "MeshConfig", "plural": "meshconfigs", "shortNames": ["meshconfig"]}
TRAFFIC_SWITCHES = ("enableEgress", "enablePermissiveTrafficPolicyMode")
FSM_SWITCHES = (*TRAFFIC_SWITCHES, "http1PerRequestLoadBalancing", "http2PerRequestLoadBalancing")


def _object(properties: Mapping[str, Object], required: tuple[str, ...] = ()) -> Object:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _lists(ports: Object, ranges: Object, *, first_version: bool) -> dict[str, Object]:
    """The list fields of `spec.traffic`. The first version of the API has no inclusions and no interfaces."""
    lists = {
        "outboundPortExclusionList": ports,
        "inboundPortExclusionList": ports,
        "outboundIPRangeExclusionList": ranges,
    }
    later = {"outboundIPRangeInclusionList": ranges, "networkInterfaceExclusionList": STRINGS}
    return lists if first_version else lists | later


def _fsm_schema(*, first_version: bool = False, mode: Object, required: tuple[str, ...]) -> Object:
    lists = _lists(PORTS, STRINGS, first_version=first_version)
    switches = dict.fromkeys(FSM_SWITCHES, BOOLEAN)
    others = {"serviceAccessMode": STRING, "interceptionMode": mode}
    traffic = _object(lists | switches | others, (*lists, *switches, *others))
    sidecar = _sidecar("enablePrivilegedInitContainer", "sidecarDisabledMTLS")
    parts = {"connector": ANYTHING, "image": ANYTHING, "misc": ANYTHING, "sidecar": sidecar, "traffic": traffic}
    return _object({"spec": ANYTHING | _object(parts, required)})


def _osm_schema(*, first_version: bool = False) -> Object:
    """`interceptionMode` is osm-edge's, whose API group is OSM's."""
    lists = _lists(BOUNDED_PORTS, IPV4_RANGES, first_version=first_version)
    switches = dict.fromkeys(TRAFFIC_SWITCHES, BOOLEAN)
    traffic = _object(lists | switches | {"interceptionMode": STRING}, (*lists, *switches))
    return _object({"spec": ANYTHING | _object({"sidecar": _sidecar(), "traffic": traffic})})


def _sidecar(*required: str) -> Object:
    named: dict[str, Object] = {
        "localProxyMode": {"type": "string", "enum": ["Localhost", "PodIP"]},
        "localDNSProxy": ANYTHING | _object({"enable": BOOLEAN}),
    }
    return ANYTHING | _object(named | dict.fromkeys(required, BOOLEAN), required)


FSM_CRD = crd(
    "config.flomesh.io",
    NAMES,
    {
        "v1alpha1": _fsm_schema(first_version=True, mode=STRING, required=("image",)),
        "v1alpha2": _fsm_schema(mode=STRING, required=("image",)),
        "v1alpha3": _fsm_schema(
            mode={"type": "string", "enum": ["PodLevel", "NodeLevel"]}, required=("connector", "image", "misc")
        ),
    },
    "v1alpha3",
)
"""As FSM 1.5 has it in bounds and required fields: the lists have neither bounds nor list types."""

OSM_CRD = crd(
    "config.openservicemesh.io",
    NAMES,
    {"v1alpha1": _osm_schema(first_version=True), "v1alpha2": _osm_schema()},
    "v1alpha2",
)
"""As OSM 1.2 and osm-edge have it in bounds and required fields."""


@dataclass(frozen=True, eq=False)
class Flavour:
    """What tells one mesh from another in a cluster. `injector` names the generation of its injector."""

    name: str
    title: str
    mesh_version: str
    injector: str
    prefix: str
    crd: Object = field(repr=False)
    storage: str
    sidecar: str
    intercepting_mode: str

    @property
    def group(self) -> str:
        found: str = self.crd["spec"]["group"]
        return found

    @property
    def namespace(self) -> str:
        return f"{self.name}-system"

    @property
    def meshconfig_name(self) -> str:
        return f"{self.name}-mesh-config"

    @property
    def meshconfig_path(self) -> str:
        return f"/apis/{self.group}/{self.storage}/namespaces/{self.namespace}/meshconfigs/{self.meshconfig_name}"


_OSM_PREFIX = "openservicemesh.io/"
FSM = Flavour("fsm", "FSM", "1.5.1", "fsm-1.5", "flomesh.io/", FSM_CRD, "v1alpha3", "sidecar", "PodLevel")
OSM_EDGE = Flavour("osm", "osm-edge", "1.3.9", "osm-edge-1.3", _OSM_PREFIX, OSM_CRD, "v1alpha2", "sidecar", "iptables")
OSM = Flavour("osm", "OSM", "v1.2.4", "osm-1.2", _OSM_PREFIX, OSM_CRD, "v1alpha2", "envoy", "")


def meshconfig(mesh: Flavour, **traffic: object) -> Object:
    """A MeshConfig as a fresh install has it, with these fields of `spec.traffic` set or replaced."""
    lists = _lists(PORTS, STRINGS, first_version=False)
    base: Object = dict.fromkeys(TRAFFIC_SWITCHES, False) | {name: [] for name in lists}
    spec: Object = {"sidecar": {"localProxyMode": "Localhost", "enablePrivilegedInitContainer": False}}
    if mesh is FSM:
        base |= dict.fromkeys(FSM_SWITCHES, False) | {"serviceAccessMode": "mixed"}
        spec["sidecar"] |= {"sidecarDisabledMTLS": False, "localDNSProxy": {"enable": False}}
        spec |= {"connector": {}, "image": {"registry": "flomesh", "tag": mesh.mesh_version}, "misc": {}}
    if mesh.intercepting_mode:
        base["interceptionMode"] = mesh.intercepting_mode
    return {
        "apiVersion": f"{mesh.group}/{mesh.storage}",
        "kind": "MeshConfig",
        "metadata": {"name": mesh.meshconfig_name, "namespace": mesh.namespace},
        "spec": spec | {"traffic": base | traffic},
    }


def control_plane_deployment(mesh: Flavour, part: str) -> Object:
    """A Deployment of the mesh's own control plane, as its chart labels it: `controller`, `injector` or `bootstrap`."""
    name = f"{mesh.name}-{part}"
    labels = {"app": name, "meshName": mesh.name, "app.kubernetes.io/version": mesh.mesh_version}
    template = pod_template(name)
    template["metadata"]["labels"] = labels
    template["spec"]["containers"][0]["image"] = f"example.com/{name}:{mesh.mesh_version}"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": mesh.namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


class Mesh:
    """A mesh installed in a control plane; `flavour` says which."""

    def __init__(self, cluster: ControlPlane, flavour: Flavour) -> None:
        self.cluster = cluster
        self.flavour = flavour
        self._webhook = Webhook(cluster, flavour)
        self._injector: Program | StandIn = (Program if flavour is FSM else StandIn)(
            cluster, flavour, self._webhook.port
        )
        self._namespaces: list[str] = []

    def install(self) -> None:
        """Install the mesh; return when its programs run, and new pods are injected."""
        flavour, cluster = self.flavour, self.cluster
        if not cluster.exists(f"/api/v1/namespaces/{flavour.namespace}"):
            cluster.api("POST", "/api/v1/namespaces", {"metadata": {"name": flavour.namespace}})
        cluster.api("POST", _CRDS, flavour.crd)
        cluster.wait(lambda: cluster.exists(flavour.meshconfig_path.rpartition("/")[0]), f"{flavour.group} is served")
        self._put_fresh_meshconfig()
        for part in ("controller", "injector", "bootstrap"):
            cluster.api("POST", self._deployments, control_plane_deployment(flavour, part))
        self._injector.start()
        self._webhook.register()
        self.wait_for_webhook()
        self.empty()
        cluster.wait(self._runs, f"the control plane of {flavour.title} runs")

    def uninstall(self) -> None:
        """Remove the mesh; return when its API group is not served any more. The control plane's namespace stays."""
        self._webhook.remove()
        self._injector.stop()
        self.cluster.delete(self._deployments)
        crd, group = f"{_CRDS}/{self.flavour.crd['metadata']['name']}", f"/apis/{self.flavour.group}"
        self.cluster.delete(crd)
        self.cluster.wait(lambda: not (self.cluster.exists(crd) or self.cluster.exists(group)), f"{group} is gone")

    def reset(self, **traffic: object) -> None:
        """Put a fresh MeshConfig in place of the one that is there, so that it has no history."""
        self.cluster.delete(self.flavour.meshconfig_path)
        self._put_fresh_meshconfig(**traffic)
        self.wait_for_injector()

    def wait_for_injector(self) -> None:
        """Return when the injector works with the MeshConfig that is there: the next pod has its lists.

        `set` and `reset` do this; it is for a test whose next step needs what somebody else wrote.
        """
        self.cluster.wait(self._injector.up_to_date, "the injector has seen the MeshConfig")

    def wait_for_webhook(self, namespace: str = "") -> None:
        """Return when new pods are injected, in any namespace of the mesh or in this one.

        For after a change to the webhook, or to the labels of this namespace, of which the API server learns later.
        """
        probe = namespace or self.namespace()
        self.cluster.wait(lambda: self._injects(probe), f"the injector of {self.flavour.title} is asked, and answers")

    @contextmanager
    def faulty_injector(self) -> Iterator[StandIn]:
        """While the block runs a stand-in is in the injector's place, without faults but those that a test sets."""
        replaced, stand_in = self._injector, StandIn(self.cluster, self.flavour, self._webhook.port)
        replaced.stop()
        self._injector = stand_in
        stand_in.start()
        try:
            yield stand_in
        finally:
            stand_in.stop()
            replaced.start()
            self._injector = replaced

    def namespace(
        self, labels: Mapping[str, str | None] | None = None, annotations: Mapping[str, str | None] | None = None
    ) -> str:
        """A new namespace in the mesh, with injection enabled, and with these; in it until `empty`.

        What is None is left out. Labels are given here, as the API server's admission learns of those that are added
        later from a watch, some time after.
        """
        monitored = {self._monitored_by: self.flavour.name}
        injection = {f"{self.flavour.prefix}sidecar-injection": "enabled"}
        name = self.cluster.new_namespace(
            _without_none(monitored | dict(labels or {})), _without_none(injection | dict(annotations or {}))
        )
        self._namespaces.append(name)
        return name

    def empty(self) -> None:
        """Take the namespaces out of the mesh, at once, and delete them, without waiting for that."""
        for name in self._namespaces:
            path = f"/api/v1/namespaces/{name}"
            self.cluster.api("PATCH", path, {"metadata": {"labels": {self._monitored_by: None}}}, MERGE_PATCH)
            self.cluster.delete(path)
        self._namespaces.clear()

    def meshconfig(self) -> Object:
        """The MeshConfig as the API server has it now."""
        return self.cluster.api("GET", self.flavour.meshconfig_path)

    def set(self, **traffic: object) -> None:
        """Set fields of `spec.traffic`, as another person's `kubectl patch --type=merge` does."""
        self.cluster.api("PATCH", self.flavour.meshconfig_path, {"spec": {"traffic": traffic}}, MERGE_PATCH)
        self.wait_for_injector()

    def _put_fresh_meshconfig(self, **traffic: object) -> None:
        # Within seconds of a CRD's creation the API server answers POST two seconds late, and this one at once.
        fresh = meshconfig(self.flavour, **traffic)
        path = f"{self.flavour.meshconfig_path}?fieldManager={self.flavour.name}-bootstrap"
        self.cluster.api("PATCH", path, fresh, APPLY_PATCH)

    def _runs(self) -> bool:
        """Whether all programs of the control plane are available."""
        found = self.cluster.api("GET", self._deployments)["items"]
        return all(item.get("status", {}).get("availableReplicas") for item in found)

    @property
    def _monitored_by(self) -> str:
        return f"{self.flavour.prefix}monitored-by"

    @property
    def _deployments(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.flavour.namespace}/deployments"

    def _injects(self, namespace: str) -> bool:
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        try:
            answer = self.cluster.api("POST", path, pod("probe", namespace))
        except ApiFailure:  # the injector is not there yet
            return False
        return f"{self.flavour.name}-proxy-uuid" in answer["metadata"]["labels"]


def _without_none(found: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in found.items() if value is not None}


_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
