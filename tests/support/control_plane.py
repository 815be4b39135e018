"""A Kubernetes control plane of our own, on loopback, gone when the tests are.

The API server, its controllers and the scheduler are the real ones; KWOK stands in for the kubelets (`kubelet.yaml`).
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar

import trustme
import yaml
from urllib3 import HTTPSConnectionPool

from tests.support import tools
from tests.support.certificates import client_certificate

ADMINISTRATORS = "system:masters"
NODE = "node"
START_SECONDS = 60
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TOO_MANY_REQUESTS = 429

T = TypeVar("T")


class ApiFailure(AssertionError):
    """The API server's answer to `ControlPlane.api` was no success; `status` is its HTTP code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class ControlPlane:
    """Runs between `start` and `stop`, at the longest until this process ends, however it ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kubectl-fsm-"))
        self.programs = tools.find()
        self.authority = trustme.CA()
        self.ca_file = self.folder / "ca.pem"
        self.token = secrets.token_hex(16)
        """The bearer token of the user `token-user`, who has no rights but those that a test binds."""
        self._reserved, self._port = reserved_port()
        self.server = f"https://127.0.0.1:{self._port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._write_certificates()
        self.kubeconfig = self.user("admin", [ADMINISTRATORS])
        self._tls = ssl.create_default_context(cafile=str(self.ca_file))
        self._tls.load_cert_chain(self.folder / "admin.pem")

    def start(self) -> None:
        """Start everything; return when pods can be created and run. Raises AssertionError with the logs' last lines."""
        atexit.register(self.stop)
        try:
            self._start_storage()
            self._start_api_server()
            self.wait(self._ready, "the API server is ready", START_SECONDS)
            self._start_controllers()
            self._add_node()
            self.wait(self._schedulable, "the node takes pods", START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._last_lines()}") from error

    def stop(self) -> None:
        """Kill what was started and remove its files. May be called twice."""
        atexit.unregister(self.stop)
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        self._reserved.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Asking the API server

    def kubectl(
        self, *args: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the pinned kubectl, as administrator unless another kubeconfig is named."""
        env = self.path_env | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        done = subprocess.run(
            [self.programs["kubectl"], *args],
            input=stdin,
            env=env,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
        return done

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create the objects, or change those that are there, as `kubectl apply --server-side` does."""
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def serve(self, *definitions: Mapping[str, Any]) -> None:
        """Apply CustomResourceDefinitions; return when there can be objects of these kinds, and discovery knows them."""
        self.apply(*definitions)
        names = {found["metadata"]["name"] for found in definitions}
        asked = ("api-resources", "--output=name")
        self.wait(
            lambda: names <= set(self.kubectl(*asked, check=False).stdout.split()), f"{', '.join(names)} are served"
        )

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """One object, by any name of its kind that kubectl knows."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout
        found: dict[str, Any] = json.loads(text)
        return found

    def list(self, kind: str, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace whose labels match."""
        text = self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json").stdout
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def api(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """One request as administrator, for what a test does too often to start kubectl for it.

        Raises `ApiFailure` for an answer that is no success, OSError and HTTPException where there is none.
        """
        end = time.monotonic() + 10
        status, text = self._request(method, path, body, content_type)
        while status == TOO_MANY_REQUESTS and time.monotonic() < end:  # a CRD's storage is being made
            time.sleep(0.1)
            status, text = self._request(method, path, body, content_type)
        if status >= 300:
            raise ApiFailure(status, text)
        answer: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
        return answer

    def connection(self) -> HTTPSConnection:
        """A connection to the API server as administrator, for who has more to send than `api` is for."""
        return HTTPSConnection("127.0.0.1", self._port, timeout=30, context=self._tls)

    def pool(self) -> HTTPSConnectionPool:
        """Connections to the API server as administrator, kept open, for threads that ask side by side."""
        return HTTPSConnectionPool("127.0.0.1", self._port, 30, maxsize=32, retries=False, ssl_context=self._tls)

    def kill_api_server(self) -> None:
        server = self._processes.pop("kube-apiserver")
        server.kill()
        server.wait()

    def start_api_server(self) -> None:
        """Start it again, where its storage still is; return when it answers."""
        self._start_api_server()
        self.wait(self._ready, "the API server is ready again", START_SECONDS)

    def stand_still(self) -> None:
        """Stop whatever would make, place or run pods, for good: what is written from now on stays as it is."""
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self._processes[name].send_signal(signal.SIGSTOP)

    def exists(self, path: str) -> bool:
        """Whether a GET of `path` finds something."""
        try:
            self.api("GET", path)
        except ApiFailure as error:
            if error.status != 404:
                raise
            return False
        return True

    def delete(self, path: str) -> None:
        """DELETE what may be there, without waiting for its end."""
        try:
            self.api("DELETE", path)
        except ApiFailure as error:
            if error.status != 404:
                raise

    def new_namespace(
        self, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> str:
        """A namespace with a name of its own in which pods can be created."""
        name = f"test-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        self.api("POST", "/api/v1/namespaces", {"metadata": metadata})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        self.wait(lambda: self.exists(account), f"{name} has a service account")
        return name

    def wait(self, predicate: Callable[[], T], what: str, seconds: float = 30) -> T:
        """Ask until the answer is true, and return it. Raises AssertionError when time is up or a program has ended."""
        end = time.monotonic() + seconds
        while not (answer := predicate()):
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended:
                raise AssertionError(f"{what}: {', '.join(ended)} ended\n{self._last_lines()}")
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {seconds:g} s")
            time.sleep(0.05)
        return answer

    # Being somebody

    @property
    def path_env(self) -> dict[str, str]:
        """A whole environment: the pinned kubectl first in PATH, the administrator's kubeconfig, a home of its own."""
        path = os.pathsep.join([str(self.programs["kubectl"].parent), os.environ.get("PATH", os.defpath)])
        return {"PATH": path, "HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig), "LANG": "C.UTF-8"}

    def user(self, name: str, groups: Sequence[str] = (), namespace: str = "default", *, expired: bool = False) -> Path:
        """A kubeconfig with a client certificate of this user; its context is in `namespace`."""
        certificate, key = client_certificate(self.authority, name, groups, expired=expired)
        (self.folder / f"{name}.pem").write_bytes(key + certificate)
        credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        return self.credentials(name, credentials, namespace)

    def credentials(self, name: str, credentials: Mapping[str, Any], namespace: str = "default") -> Path:
        """A kubeconfig whose only user has these credentials: `token`, `exec`, … as kubeconfig spells them."""
        cluster = {"server": self.server, "certificate-authority-data": _base64(self.ca_file.read_bytes())}
        context = {"cluster": "test", "user": name, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [{"name": "test", "context": context}],
            "users": [{"name": name, "user": dict(credentials)}],
        }
        path = self.folder / f"{name}-{secrets.token_hex(4)}.kubeconfig"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None, content_type: str) -> tuple[int, str]:
        connection = self.connection()
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    # Starting

    def _write_certificates(self) -> None:
        self.authority.cert_pem.write_to_path(self.ca_file)
        serving = self.authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
        serving.private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        signing = trustme.CA().private_key_pem
        signing.write_to_path(self.folder / "service-accounts.pem")
        (self.folder / "tokens.csv").write_text(f"{self.token},token-user,token-user\n", "utf-8")

    def _start_storage(self) -> None:
        # etcd wants a port in every URL: the sockets are files called `client:0` and `peer:0`
        self._run(
            "etcd",
            f"--data-dir={self.folder}/data",
            "--listen-client-urls=unix://client:0",
            "--advertise-client-urls=unix://client:0",
            "--listen-peer-urls=unix://peer:0",
            "--initial-advertise-peer-urls=unix://peer:0",
            "--initial-cluster=default=unix://peer:0",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _start_api_server(self) -> None:
        serving, accounts = self.folder / "server.pem", self.folder / "service-accounts.pem"
        self._run(
            "kube-apiserver",
            "--etcd-servers=unix:client:0",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # the reconciler refuses a loopback address
            f"--secure-port={self._port}",
            f"--tls-cert-file={serving}",
            f"--tls-private-key-file={serving}",
            f"--client-ca-file={self.ca_file}",
            f"--token-auth-file={self.folder}/tokens.csv",
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
        )

    def _start_controllers(self) -> None:
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        fast = ["--kube-api-qps=500", "--kube-api-burst=1000"]
        self._run(
            "kube-controller-manager",
            kubeconfig,
            *fast,
            "--leader-elect=false",
            "--secure-port=0",
            f"--service-account-private-key-file={self.folder}/service-accounts.pem",
            f"--root-ca-file={self.ca_file}",
            "--node-monitor-grace-period=24h",  # nobody sends the node's heartbeat
        )
        self._run("kube-scheduler", kubeconfig, *fast, "--leader-elect=false", "--secure-port=0")
        self._run(
            "kwok",
            kubeconfig,
            f"--config={Path(__file__).parent / 'kubelet.yaml'}",
            "--manage-all-nodes",
            "--cidr=10.244.0.0/16",
            "--node-ip=192.0.2.1",
            "-v=WARN",
        )

    def _run(self, name: str, *args: str) -> None:
        """Start a program that ends with this process even where this one is killed."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self.programs[name], *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder)},
                start_new_session=True,
            )

    def _ready(self) -> bool:
        try:
            self.api("GET", "/readyz")
        except (OSError, HTTPException, ApiFailure):
            return False
        return True

    def _add_node(self) -> None:
        self.api("POST", "/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}})

    def _schedulable(self) -> bool:
        return "taints" not in self.api("GET", f"/api/v1/nodes/{NODE}")["spec"]

    def _last_lines(self) -> str:
        logs = [(name, (self.folder / f"{name}.log").read_text("utf-8", "replace")) for name in self._processes]
        return "\n".join(f"--- {name}\n" + "\n".join(log.splitlines()[-15:]) for name, log in logs)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def reserved_port() -> tuple[socket.socket, int]:
    """A port on loopback that nobody else gets until the socket is closed; a program may listen there meanwhile."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))  # another socket may listen there, as this one does not
    return reserved, reserved.getsockname()[1]
