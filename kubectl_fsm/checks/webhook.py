"""How the API server asks the injector: the webhook, the Service and endpoints behind it, the control plane's programs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, NamespaceView, Scene, label
from kubectl_fsm.cluster import selectors
from kubectl_fsm.cluster.interface import DEPLOYMENTS, ENDPOINT_SLICES, SERVICES, Resource
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import UNMESHED, ignoring
from kubectl_fsm.meshes import Installation
from kubectl_fsm.services import SERVICE_NAME

CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)
_HTTPS = 443
_NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server gives to every namespace."""
_YOUNGEST = "bootstrap"
"""The program that old releases do without."""
_PARTS = ("controller", "injector", _YOUNGEST)


class _Webhook(NamedTuple):
    """A webhook by which an injector is asked, and its place in its configuration."""

    configuration: Object
    place: int

    @property
    def path(self) -> tuple[str, int]:
        return "webhooks", self.place

    @property
    def service(self) -> Object:
        """The Service that it is called at; empty where it is called at a URL."""
        return fields.mapping(self.configuration, *self.path, "clientConfig", "service")

    @property
    def asks_about_pods(self) -> bool:
        return any(
            _holds(rule, "apiGroups", "") and _holds(rule, "operations", "CREATE") and _holds(rule, "resources", "pods")
            for rule in fields.parts(self.configuration, *self.path, "rules")
        )

    def selects(self, namespace: Object) -> bool:
        """Whether it is asked about the pods of a namespace."""
        selector = fields.mapping(self.configuration, *self.path, "namespaceSelector")
        labels = {**fields.labels(namespace), _NAME_LABEL: fields.name(namespace)}
        return selectors.of_object(selector).matches(labels)


def _holds(rule: Object, key: str, value: str) -> bool:
    return bool({value, "*"} & {str(one) for one in fields.sequence(rule, key)})


def _webhooks(scene: Scene, installation: Installation) -> Sequence[_Webhook]:
    """The webhooks of a mesh: those by the name that its family has, called in its own namespace or at a URL."""
    found = [
        _Webhook(configuration, place)
        for configuration in scene.list(CONFIGURATIONS)
        for place, webhook in enumerate(fields.items(configuration, "webhooks"))
        if webhook.get("name") == installation.mesh.webhook
    ]
    return [one for one in found if fields.text(one.service, "namespace") in ("", installation.namespace)]


def _anew(scene: Scene, installation: Installation) -> str:
    """What makes the injector write its webhook anew, as it does whenever it starts."""
    injector = f"deploy/{installation.mesh.injector_app}"
    return mending.kubectl(scene, "rollout", "restart", injector, "-n", installation.namespace)


@check(
    "webhook-missing",
    "error",
    MeshView,
    holds="The API server asks the mesh's injector about new pods.",
    why="Without the webhook nobody adds sidecars: new pods run outside of the mesh.",
    remedy="Restart the injector, which writes the webhook when it starts.",
    remote=True,
)
def webhook_missing(view: MeshView) -> Iterator[Seen]:
    mesh, found = view.installation.mesh, _webhooks(view.scene, view.installation)
    if not found:
        yield Seen(
            f"no MutatingWebhookConfiguration has the webhook {mesh.webhook} of this mesh",
            _anew(view.scene, view.installation),
        )
    elif not any(one.asks_about_pods for one in found):
        first = found[0]
        said = f"the webhook {mesh.webhook} has no rule for the creation of pods"
        yield Seen(said, _anew(view.scene, view.installation), (*first.path, "rules"), first.configuration)


@check(
    "webhook-untrusted",
    "error",
    MeshView,
    holds="The webhook holds the certificate by which the API server knows the injector.",
    why="The API server cannot trust the injector's answer: by the failure policy pods are refused, or get no sidecar.",
    remedy="Restart the injector, which writes the webhook when it starts.",
    remote=True,
)
def webhook_untrusted(view: MeshView) -> Iterator[Seen]:
    for one in _webhooks(view.scene, view.installation):
        if not fields.text(one.configuration, *one.path, "clientConfig", "caBundle"):
            path = *one.path, "clientConfig", "caBundle"
            yield Seen(
                f"{fields.dotted(*path)} is empty", _anew(view.scene, view.installation), path, one.configuration
            )


@check(
    "webhook-fails-open",
    "warning",
    MeshView,
    holds="Where the injector does not answer, no pod is made.",
    why="With the policy Ignore a pod that is made while the injector is away gets no sidecar, and nobody is told.",
    remedy="Set failurePolicy to Fail, as the injector does when it starts.",
    remote=True,
)
def webhook_fails_open(view: MeshView) -> Iterator[Seen]:
    for one in _webhooks(view.scene, view.installation):
        policy = fields.text(one.configuration, *one.path, "failurePolicy")
        if policy == "Ignore":
            path = *one.path, "failurePolicy"
            yield Seen(
                f"{fields.dotted(*path)} is {policy}", _anew(view.scene, view.installation), path, one.configuration
            )


@check(
    "webhook-unreachable",
    "error",
    MeshView,
    holds="The Service that the webhook is called at has endpoints that are ready.",
    why="No pod of the mesh can be made: the API server cannot ask, and the failure policy refuses.",
    remedy="Look why the injector's pods are not ready.",
    remote=True,
)
def webhook_unreachable(view: MeshView) -> Iterator[Seen]:
    for one in _webhooks(view.scene, view.installation):
        name, namespace = (fields.text(one.service, key) for key in ("name", "namespace"))
        said = _unreachable(view.scene, one.service) if name else ""
        if said:
            path = *one.path, "clientConfig", "service"
            mend = mending.kubectl(view.scene, "describe", "svc,pods", "-n", namespace, "-l", f"app={name}")
            yield Seen(f"it is called at svc/{name} in {namespace}: {said}", mend, path, one.configuration)


def _unreachable(scene: Scene, reference: Object) -> str:
    """Why a connection to a webhook's Service leads to nothing; empty where it may lead to something."""
    name, namespace = (fields.text(reference, key) for key in ("name", "namespace"))
    service = next((one for one in scene.list(SERVICES, namespace) if fields.name(one) == name), None)
    if service is None:
        return "there is no such Service"
    if fields.text(service, "spec", "type") == "ExternalName":
        return ""
    port = fields.number(reference, "port") or _HTTPS
    if port not in [one.get("port") for one in fields.items(service, "spec", "ports")]:
        return f"the Service has no port {port}"
    endpoints = [
        fields.mapping(one, "conditions").get("ready") is not False
        for found in scene.list(ENDPOINT_SLICES, namespace, f"{SERVICE_NAME}={name}")
        for one in fields.parts(found, "endpoints")
    ]
    return "" if any(endpoints) else f"0 of {len(endpoints)} endpoints are ready"


@check(
    "webhook-blind",
    "error",
    NamespaceView,
    holds="The webhook's selector takes the namespaces that are labelled as part of the mesh.",
    why="The injector is not asked about the namespace's pods: they get no sidecar.",
    remedy="Restart the injector, which writes the webhook's selector, or give the namespace the labels that it asks for.",
    remote=True,
)
def webhook_blind(view: NamespaceView) -> Iterator[Seen]:
    found = view.installation
    if not found or view.name in (*UNMESHED, found.namespace) or ignoring(view.object, found.mesh):
        return
    webhooks = _webhooks(view.scene, found)
    if webhooks and not any(one.selects(view.object) for one in webhooks):
        names = ", ".join(fields.name(one.configuration) for one in webhooks)
        yield Seen(
            f"the namespaceSelector of {names} does not take it",
            _anew(view.scene, found),
        )


@check(
    "control-plane-down",
    "error",
    MeshView,
    holds="Every program of the control plane has a pod that is available.",
    why="Without the injector no pod is made, without the controller no sidecar learns of changes, without the bootstrap no MeshConfig is converted.",
    remedy="Look why the program's pods are not available.",
    remote=True,
)
def control_plane_down(view: MeshView) -> Iterator[Seen]:
    found, namespace = view.installation, view.installation.namespace
    names = [f"{found.mesh.program}-{part}" for part in _PARTS]
    programs = view.scene.list(DEPLOYMENTS, namespace, f"app in ({','.join(names)})")
    there = {fields.labels(one).get("app") for one in programs}
    missing = [name for name in names if name not in there and not (programs and name.endswith(_YOUNGEST))]
    if missing:
        gone = "" if programs else ": the MeshConfig is left of a mesh that is gone"
        yield Seen(
            f"{namespace} has no Deployment {', '.join(missing)}{gone}",
            "install the mesh again" if programs else "install the mesh again, or delete its MeshConfig and webhooks",
        )
    for one in programs:
        if not fields.number(one, "status", "availableReplicas"):
            replicas = fields.number(one, "spec", "replicas")
            wanted = 1 if replicas is None else replicas
            conditions = fields.items(one, "status", "conditions")
            said = [f": {each.get('message')}" for each in conditions if each.get("type") == "Available"]
            seen = f"0 of {wanted} pods are available{''.join(said)}" if wanted else "it is scaled to 0"
            words = ("describe", label(one)) if wanted else ("scale", label(one), "--replicas=1")
            mend = mending.kubectl(view.scene, *words, "-n", namespace)
            yield Seen(seen, mend, ("status",), one)
