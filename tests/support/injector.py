"""A stand-in for the meshes' injectors: an admission webhook in this process that adds to a new pod what they add."""

from __future__ import annotations

import base64
import json
import ssl
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from kubectl_fsm.errors import InvalidExclusion
from tests.support.control_plane import ControlPlane

if TYPE_CHECKING:
    from tests.support.mesh import Flavour

Patch = list[dict[str, Any]]
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
BOOTSTRAP_VOLUME = "sidecar-bootstrap-config-volume"


class Refusal(Exception):
    """The pod is not admitted, with these words."""


class Injector:
    """Serves and is registered between `start` and `stop`."""

    def __init__(self, cluster: ControlPlane, flavour: Flavour) -> None:
        self._cluster = cluster
        self._flavour = flavour
        self._name = f"{flavour.name}-webhook-{flavour.name}"
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._cluster.authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._cluster.api("POST", WEBHOOKS, self._registration(self._server.server_port))

    def stop(self) -> None:
        if self._server is None:
            return
        self._cluster.delete(f"{WEBHOOKS}/{self._name}")
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def review(self, pod: dict[str, Any], namespace: str) -> Patch:
        """The JSON patch that makes `pod` a pod of the mesh; raises `Refusal`."""
        if not self._wanted(pod, namespace):
            return []
        spec, flavour = pod["spec"], self._flavour
        labels = pod["metadata"].get("labels", {}) | {f"{flavour.name}-proxy-uuid": str(uuid.uuid4())}
        patch: Patch = [{"op": "add", "path": "/metadata/labels", "value": labels}]
        if (script := self._script(pod)) is not None:
            containers = [*spec.get("initContainers", []), self._init_container(script)]
            patch.append({"op": "add", "path": "/spec/initContainers", "value": containers})
        sidecar = {"name": flavour.sidecar, "image": "example.com/sidecar:1", "securityContext": {"runAsUser": 1500}}
        volume = {"name": BOOTSTRAP_VOLUME, "emptyDir": {}}
        patch.append({"op": "add", "path": "/spec/containers", "value": [*spec["containers"], sidecar]})
        patch.append({"op": "add", "path": "/spec/volumes", "value": [*spec.get("volumes", []), volume]})
        return patch

    def _wanted(self, pod: dict[str, Any], namespace: str) -> bool:
        """Whether the pod is injected: its own annotation counts before its namespace's."""
        spec = pod["spec"]
        if spec.get("hostNetwork") or any(volume["name"] == BOOTSTRAP_VOLUME for volume in spec.get("volumes", [])):
            return False
        owner = self._cluster.api("GET", f"/api/v1/namespaces/{namespace}")
        key = f"{self._flavour.prefix}sidecar-injection"
        wanted = False
        for metadata in (owner["metadata"], pod["metadata"]):
            value = metadata.get("annotations", {}).get(key)
            if value is None:
                continue
            if value.lower() not in {"enabled", "yes", "true", "disabled", "no", "false"}:
                raise Refusal(f"Invalid annotation value for key {key!r}: {value}")
            wanted = value.lower() in {"enabled", "yes", "true"}
        return wanted

    def _script(self, pod: dict[str, Any]) -> str | None:
        """The init container's script; None where the mode of interception needs no init container."""
        from kubectl_fsm.generator import render  # noqa: PLC0415

        spec = self._cluster.api("GET", self._flavour.meshconfig_path)["spec"]
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
                    patch = review(request["object"], request["namespace"])
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

    def _registration(self, port: int) -> dict[str, Any]:
        prefix, name = self._flavour.prefix, self._flavour.name
        absent = [{"key": key, "operator": "DoesNotExist"} for key in (f"{prefix}ignore", "control-plane")]
        not_mesh = {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "kube-public", self._flavour.namespace],
        }
        client = {
            "url": f"https://127.0.0.1:{port}/mutate-pod-creation",
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


def _encoded(patch: Patch) -> str:
    return base64.b64encode(json.dumps(patch).encode()).decode()
