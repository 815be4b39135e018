"""The meshes' injectors: admission webhooks that add to a new pod what the mesh adds.

`Program` is FSM 1.5's, written a second time in Go (`tests/tools/injector`), as a process of its own. `StandIn` plays all
of them in this process, with the scripts of the package under test, and can have faults.
"""

from __future__ import annotations

import base64
import json
import math
import ssl
import traceback
import uuid
from dataclasses import dataclass
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from kubectl_fsm.errors import InvalidExclusion
from tests.support.control_plane import ControlPlane, reserved_port

if TYPE_CHECKING:
    from tests.support.mesh import Flavour

Patch = list[dict[str, Any]]
Spec = dict[str, Any]
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
BOOTSTRAP_VOLUME = "sidecar-bootstrap-config-volume"
PROGRAM = "fsm-injector"


class Refusal(Exception):
    """The pod is not admitted, with these words."""


class Webhook:
    """What the API server knows of a mesh's injector: that it asks it, at a port that is kept from others.

    Who listens at the port may change; while nobody does, connections are refused.
    """

    def __init__(self, cluster: ControlPlane, flavour: Flavour) -> None:
        self._cluster = cluster
        self._flavour = flavour
        self._name = f"{flavour.name}-webhook-{flavour.name}"
        self._reserved, self.port = reserved_port()

    def register(self) -> None:
        self._cluster.api("POST", WEBHOOKS, self._registration())

    def remove(self) -> None:
        self._cluster.delete(f"{WEBHOOKS}/{self._name}")
        self._reserved.close()

    def _registration(self) -> dict[str, Any]:
        prefix, name = self._flavour.prefix, self._flavour.name
        absent = [{"key": key, "operator": "DoesNotExist"} for key in (f"{prefix}ignore", "control-plane")]
        not_mesh = {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "kube-public", self._flavour.namespace],
        }
        client = {
            "url": f"https://127.0.0.1:{self.port}/mutate-pod-creation",
            "caBundle": base64.b64encode(self._cluster.authority.cert_pem.bytes()).decode(),
        }
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        webhook = {
            "name": f"{name}-inject.k8s.io",
            "clientConfig": client,
            "rules": [rule],
            "namespaceSelector": {
                "matchLabels": {f"{prefix}monitored-by": name},
                "matchExpressions": [*absent, not_mesh],
            },
            "failurePolicy": "Fail",
            "sideEffects": "NoneOnDryRun",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
        }
        return {"metadata": {"name": self._name}, "webhooks": [webhook]}


class Program:
    """The Go program, which watches the MeshConfig; runs between `start` and `stop`."""

    def __init__(self, cluster: ControlPlane, flavour: Flavour, port: int) -> None:
        self._cluster = cluster
        self._flavour = flavour
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(cluster.ca_file))

    def start(self) -> None:
        """Return when it serves, with the MeshConfig that is there."""
        cluster = self._cluster
        cluster._run(
            PROGRAM,
            f"-address=127.0.0.1:{self._port}",
            f"-tls-cert-file={cluster.folder / 'server.pem'}",
            f"-server={cluster.server}",
            f"-certificate-authority={cluster.ca_file}",
            f"-client-certificate={cluster.folder / 'admin.pem'}",
            f"-mesh-name={self._flavour.name}",
            f"-fsm-namespace={self._flavour.namespace}",
        )
        cluster.wait(self._serves, f"{PROGRAM} serves")

    def stop(self) -> None:
        if process := self._cluster._processes.pop(PROGRAM, None):
            process.kill()
            process.wait()

    def up_to_date(self) -> bool:
        """Whether it works with the MeshConfig that the API server has now."""
        version: str = self._cluster.api("GET", self._flavour.meshconfig_path)["metadata"]["resourceVersion"]
        return self._version() == version

    def _serves(self) -> bool:
        try:
            self._version()
        except OSError:
            return False
        return True

    def _version(self) -> str:
        """The resourceVersion of the MeshConfig that it works with."""
        connection = HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._tls)
        try:
            connection.request("GET", "/meshconfig")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@dataclass
class Lag:
    """The MeshConfig's spec as it was, and how many more reviews are answered from it."""

    spec: Spec
    left: float
    real_only: bool


class StandIn:
    """Serves in this process between `start` and `stop`. Reads the MeshConfig for each pod, unless a fault is set.

    Faults hold until `heal`. They make no difference between a dry run and a real creation, unless they say so.
    """

    def __init__(self, cluster: ControlPlane, flavour: Flavour, port: int) -> None:
        self._cluster = cluster
        self._flavour = flavour
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._lock = Lock()
        self._lag = Lag({}, 0, real_only=False)
        self._wrong: Spec = {}

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cluster.folder / "server.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def up_to_date(self) -> bool:
        """As `Program` has it. Faults do not count: who sets one does not wait for its end."""
        return True

    # Faults

    def lag(self, count: int | None = None, *, real_only: bool = False) -> None:
        """Answer the next `count` pods, or all, from the MeshConfig as it is now, like one whose watch is behind.

        With `real_only` a dry run is answered from the MeshConfig of that moment, and does not count.
        """
        spec = self._cluster.api("GET", self._flavour.meshconfig_path)["spec"]
        with self._lock:
            self._lag = Lag(spec, math.inf if count is None else count, real_only)

    def wrong(self, **traffic: object) -> None:
        """Answer as though these fields of `spec.traffic` were set so; without any, as though port 1 were excluded."""
        with self._lock:
            self._wrong = traffic or {"outboundPortExclusionList": [1]}

    def down(self) -> None:
        """Refuse connections, so that no pod of the mesh can be created."""
        self.stop()

    def heal(self) -> None:
        """End every fault."""
        with self._lock:
            self._lag.left = 0
            self._wrong = {}
        if self._server is None:
            self.start()

    # Reviews

    def review(self, pod: dict[str, Any], namespace: str, *, dry_run: bool) -> Patch:
        """The JSON patch that makes `pod` a pod of the mesh; raises `Refusal`."""
        owner = self._cluster.api("GET", f"/api/v1/namespaces/{namespace}")["metadata"]
        if not self._wanted(pod, owner):
            return []
        spec, flavour, config = pod["spec"], self._flavour, self._spec(dry_run=dry_run)
        labels = pod["metadata"].get("labels", {}) | {f"{flavour.name}-proxy-uuid": str(uuid.uuid4())}
        patch: Patch = [{"op": "add", "path": "/metadata/labels", "value": labels}]
        if config["traffic"].get("interceptionMode") == "NodeLevel":
            return patch
        metrics = f"{flavour.prefix}metrics"
        if owner.get("annotations", {}).get(metrics):
            _toggle(owner, metrics)
        if (script := self._script(pod, config)) is not None:
            containers = [*spec.get("initContainers", []), self._init_container(script)]
            patch.append({"op": "add", "path": "/spec/initContainers", "value": containers})
        sidecar = {"name": flavour.sidecar, "image": "example.com/sidecar:1", "securityContext": {"runAsUser": 1500}}
        volume = {"name": BOOTSTRAP_VOLUME, "emptyDir": {}}
        patch.append({"op": "add", "path": "/spec/containers", "value": [*spec["containers"], sidecar]})
        patch.append({"op": "add", "path": "/spec/volumes", "value": [*spec.get("volumes", []), volume]})
        return patch

    def _wanted(self, pod: dict[str, Any], owner: dict[str, Any]) -> bool:
        """Whether the pod is injected: its own annotation counts before that of its namespace, whose metadata are given."""
        spec = pod["spec"]
        if spec.get("hostNetwork") or any(volume["name"] == BOOTSTRAP_VOLUME for volume in spec.get("volumes", [])):
            return False
        key = f"{self._flavour.prefix}sidecar-injection"
        own, inherited = _toggle(pod["metadata"], key), _toggle(owner, key)
        return bool(inherited if own is None else own)

    def _spec(self, *, dry_run: bool) -> Spec:
        """The MeshConfig's spec that the next pod is answered from."""
        with self._lock:
            if self._lag.left > 0 and not (dry_run and self._lag.real_only):
                self._lag.left -= 1
                return self._lag.spec
            wrong = self._wrong
        spec: Spec = self._cluster.api("GET", self._flavour.meshconfig_path)["spec"]
        return spec | {"traffic": spec["traffic"] | wrong}

    def _script(self, pod: dict[str, Any], spec: Spec) -> str | None:
        """The init container's script; None where the mode of interception needs no init container."""
        from kubectl_fsm.generator import render  # noqa: PLC0415

        expected = self._flavour.intercepting_mode
        if expected and spec["traffic"].get("interceptionMode") != expected:
            return None
        try:
            return render(self._flavour.injector, pod["metadata"].get("annotations", {}), spec)
        except InvalidExclusion as error:
            raise Refusal(str(error)) from error

    def _init_container(self, script: str) -> dict[str, Any]:
        return {
            "name": f"{self._flavour.name}-init",
            "image": "example.com/sidecar-init:1",
            "command": ["/bin/sh"],
            "args": ["-c", script],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 0},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        review = self.review

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
                response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
                try:
                    patch = review(request["object"], request["namespace"], dry_run=request["dryRun"])
                    response |= {"patchType": "JSONPatch", "patch": _encoded(patch)} if patch else {}
                except Refusal as refusal:
                    response |= {"allowed": False, "status": {"message": str(refusal)}}
                except Exception:  # noqa: BLE001 a test has to see what broke here
                    response |= {"allowed": False, "status": {"message": traceback.format_exc()}}
                answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing: pytest shows what a test prints."""

        return Handler


def _toggle(metadata: dict[str, Any], key: str) -> bool | None:
    """What an annotation switches on or off; None where it is not there."""
    value = metadata.get("annotations", {}).get(key)
    if value is None:
        return None
    if value.lower() not in {"enabled", "yes", "true", "disabled", "no", "false"}:
        raise Refusal(f'Invalid annotation value for key "{key}": {value}')
    return value.lower() in {"enabled", "yes", "true"}


def _encoded(patch: Patch) -> str:
    return base64.b64encode(json.dumps(patch).encode()).decode()
