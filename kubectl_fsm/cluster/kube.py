"""The one door to the `kubernetes` package: `Cluster` over an API server.

The package reads and runs credentials, and its raw `call_api` sends the requests; its typed models cost time and memory,
and nothing here needs them. What it leaves open is closed here: `call_api` does not raise on a failure, credentials that
cannot be had would leave requests anonymous, and keys would stay in temporary files while the program runs.
"""

# mypy: allow-untyped-calls
# (`kubernetes.config` has no annotations.)

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from kubernetes.config.dateutil import parse_rfc3339
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import EXPIRY_SKEW_PREVENTION_DELAY, ConfigNode, FileOrData, KubeConfigLoader
from urllib3.exceptions import HTTPError, InsecureRequestWarning

import kubectl_fsm
from kubectl_fsm import fields
from kubectl_fsm.cluster import background, discovery
from kubectl_fsm.cluster.failures import Asker, Call, failure, foreign, no_kind, status_object, unreachable
from kubectl_fsm.cluster.interface import BUILT_IN, FIELD_MANAGER, Resource
from kubectl_fsm.cluster.kubeconfig import Access, ConnectionOptions, access
from kubectl_fsm.cluster.tls import client_context, not_after
from kubectl_fsm.errors import ApiError, CredentialError, InvalidObject, NotFound, Unreachable
from kubectl_fsm.fields import Object

PAGE = 500
"""Objects in one answer of a listing, as kubectl asks for them."""
CONNECT_SECONDS, READ_SECONDS = 30.0, 90.0
"""Limits without `--request-timeout`: to connect, and of silence. An API server ends its own requests after 60 s."""
READ_ATTEMPTS, LONGEST_PAUSE = 4, 10
"""How often a read is sent where the server says `Retry-After`, and the longest pause, in seconds, that is waited out."""
CONNECTIONS = 16
"""Connections kept open, and calls that `gather` makes at a time."""
TOKEN_FILE_AGE = timedelta(minutes=1)
"""How long a token read from a file counts: kubelets and agents replace them."""
Limits: TypeAlias = "float | tuple[float, float]"
"""Seconds for a whole request, or to connect and of silence."""

_JSON = "application/json"
_AUTHENTICATION = {"auth-provider", "exec", "token", "tokenFile", "username"}
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def connect(options: ConnectionOptions) -> KubeCluster:
    """A cluster as kubectl would reach it with these options. Sends nothing yet, but runs a credential plugin.

    Raises `CredentialError`, and `UsageError` for options that make no sense.
    """
    limits: Limits = options.timeout or (CONNECT_SECONDS, READ_SECONDS)
    configuration = Configuration()
    configuration.retries = False
    configuration.connection_pool_maxsize = CONNECTIONS
    chosen = access(options)
    impersonation = chosen.impersonation(options)
    tls, expiry = _log_in(configuration, chosen)
    return KubeCluster(
        _client(configuration, chosen, tls),
        chosen,
        impersonation=impersonation,
        limits=limits,
        expiry=expiry,
        log=options.log,
    )


class KubeCluster:
    """`Cluster` over an API server; made by `connect`. Its methods may be called from several threads."""

    remote = True

    def __init__(
        self,
        client: ApiClient,
        chosen: Access,
        *,
        impersonation: Sequence[tuple[str, str]],
        limits: Limits,
        expiry: datetime | None,
        log: Callable[[str], None] | None,
    ) -> None:
        self._client = client
        self._server: str = client.configuration.host
        self._access = chosen
        self._impersonation = impersonation
        self._limits = limits
        self._expiry = expiry
        self._log = log
        self._login = threading.Lock()
        self._discovered: dict[str, Sequence[Resource]] = {}
        self._warnings: dict[str, None] = {}

    @property
    def origin(self) -> str:
        return f"context {self._access.context}" if self._access.context else self._server

    @property
    def namespace(self) -> str:
        return self._access.namespace

    @property
    def warnings(self) -> Sequence[str]:
        """What the API server warned of so far (`Warning: 299` headers), each text once."""
        return tuple(self._warnings)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        call = Call("get", resource.qualified, name, namespace)
        return self._ask("GET", _path(resource, namespace, name), call)

    def list(self, resource: Resource, namespace: str = "", selector: str = "") -> Iterator[Object]:
        call = Call("list", resource.qualified, "", namespace)
        path = _path(resource, namespace)
        query = {"labelSelector": selector, "limit": str(PAGE)}
        seen = set()
        while True:
            response, data = self._exchange("GET", path, query)
            if response.status == HTTPStatus.GONE and "continue" in query:
                query = _after_expiry(query, fields.text(status_object(data), "metadata", "continue"))
                continue
            page = self._answer(response, data, call)
            for item in fields.items(page, "items"):
                uid = fields.text(item, "metadata", "uid")
                if not uid or uid not in seen:
                    seen.add(uid)
                    yield {"apiVersion": resource.api_version, "kind": resource.kind, **item}
            query["continue"] = fields.text(page, "metadata", "continue")
            if not query["continue"]:
                return

    def patch(self, resource: Resource, name: str, namespace: str, merge: Object, *, dry_run: bool = False) -> Object:
        call = Call("patch", resource.qualified, name, namespace)
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        return self._ask("PATCH", _path(resource, namespace, name), call, query, body=merge)

    def preferred_version(self, group: str) -> str | None:
        try:
            served = self._fetch(f"/apis/{_segment(group)}")
        except NotFound:
            return None
        return fields.text(served, "preferredVersion", "version") or None

    def resource(self, api_version: str, kind: str) -> Resource:
        wanted = (api_version, kind)
        for resource in BUILT_IN:
            if (resource.api_version, resource.kind) == wanted:
                return resource
        for resource in self._served(api_version):
            if resource.kind == kind:
                return resource
        raise no_kind(f"{kind} in {api_version}")

    def resource_named(self, text: str) -> Resource:
        found = discovery.called(text, BUILT_IN) or discovery.called(text, self._all_served())
        if not found:
            raise no_kind(text)
        return found

    def kinds(self) -> Sequence[Resource]:
        return ()

    def gather(self, *calls: Callable[[], Any]) -> Sequence[Any]:
        return background.gather(calls, CONNECTIONS)

    def _served(self, api_version: str) -> Sequence[Resource]:
        """The kinds of one group and version; none where it is not served."""
        if api_version not in self._discovered:
            group, slash, version = api_version.rpartition("/")
            parent = f"/apis/{_segment(group)}" if slash else "/api"
            try:
                served = self._fetch(f"{parent}/{_segment(version)}")
            except NotFound:
                served = {}
            self._discovered[api_version] = discovery.listed(api_version, served)
        return self._discovered[api_version]

    def _served_or_none(self, api_version: str) -> Sequence[Resource]:
        """The same, but none where the server behind an aggregated API is down, which must not hide the others."""
        try:
            return self._served(api_version)
        except ApiError:
            return ()

    def _all_served(self) -> Sequence[Resource]:
        """All kinds in the server's order of preference, the core group first."""
        core, groups = self.gather(
            lambda: self._fetch("/api", discovery.ACCEPT), lambda: self._fetch("/apis", discovery.ACCEPT)
        )
        if discovery.is_aggregated(groups):
            return [*discovery.aggregated(core), *discovery.aggregated(groups)]
        versions = ["v1", *discovery.preferred(groups)]
        return [
            resource
            for served in self.gather(*(partial(self._served_or_none, version) for version in versions))
            for resource in served
        ]

    def _fetch(self, path: str, accept: str = _JSON) -> Object:
        """A document that is no object: discovery."""
        return self._ask("GET", path, Call("get", path), accept=accept)

    def _ask(
        self,
        method: str,
        path: str,
        call: Call,
        query: Mapping[str, str] | None = None,
        *,
        body: Object | None = None,
        accept: str = _JSON,
    ) -> Object:
        return self._answer(*self._exchange(method, path, query or {}, body, accept), call)

    def _exchange(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None = None, accept: str = _JSON
    ) -> tuple[Any, bytes]:
        """One request and its answer; a read is sent again where the server asks for patience."""
        parameters = urlencode({key: value for key, value in query.items() if value})
        url = f"{self._server}{path}" + (f"?{parameters}" if parameters else "")
        for attempts_left in reversed(range(READ_ATTEMPTS if method == "GET" else 1)):
            response, data = self._send(method, url, body, accept)
            pause = _pause(response)
            if pause is None or not attempts_left:
                break
            time.sleep(pause)
        for quoted in _WARNING.findall("\n".join(response.headers.getlist("Warning"))):
            self._warnings[re.sub(r"\\(.)", r"\1", quoted)] = None
        return response, data

    def _send(self, method: str, url: str, body: Object | None, accept: str) -> tuple[Any, bytes]:
        """The response, its body read whole. Raises `Unreachable` or `CredentialError`."""
        headers = self._headers(accept)
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        started = time.monotonic()
        try:
            response = self._client.call_api(method, url, headers, body, _request_timeout=self._limits)
            data: bytes = response.read()
        except (ApiException, HTTPError, OSError, ValueError) as error:
            raise unreachable(error, self._asker()) from error
        if self._log:
            self._log(f"{method} {url} {response.status} in {(time.monotonic() - started) * 1000:.0f} ms")
        return response, data

    def _headers(self, accept: str) -> urllib3.HTTPHeaderDict:
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Accept-Encoding": "gzip"})
        headers["User-Agent"] = f"kubectl-fsm/{kubectl_fsm.__version__}"
        with self._login:  # an expired token is renewed by one thread, not by each
            token = self._client.configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        for name, value in self._impersonation:
            headers.add(name, value)
        return headers

    def _answer(self, response: Any, data: bytes, call: Call) -> Object:
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise failure(response.status, data, call, self._asker())
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise self._foreign(response) from error
        if response.status >= HTTPStatus.MULTIPLE_CHOICES or not isinstance(answer, Mapping):
            raise self._foreign(response)
        return answer

    def _foreign(self, response: Any) -> Unreachable:
        headers = response.headers
        return foreign(self._asker(), response.status, headers.get("Content-Type", ""), headers.get("Location", ""))

    def _asker(self) -> Asker:
        expired = self._expiry if self._expiry and self._expiry < datetime.now(timezone.utc) else None
        impersonated = next((value for name, value in self._impersonation if name == "Impersonate-User"), "")
        return Asker(self._server, self._access.who, impersonated, f"{expired:%Y-%m-%d %H:%M} UTC" if expired else "")


class _Loader(KubeConfigLoader):
    """The library's reader of credentials, without the places where it would go on with none."""

    def __init__(self, chosen: Access, folder: str) -> None:
        self._chosen = chosen
        entry = {"name": "chosen", "context": {"cluster": "chosen", "user": "chosen"}}
        super().__init__(
            {
                "contexts": [entry],
                "clusters": [{"name": "chosen", "cluster": dict(chosen.cluster)}],
                "users": [{"name": "chosen", "user": dict(chosen.user)}],
            },
            active_context="chosen",
            config_base_path="",
            temp_file_path=folder,
        )

    def _load_user_token(self) -> bool:
        """Take the token, or that of a file without the white space around it, and read the file again after a while.

        The library's own keeps a line feed, which no header can hold, and a token that was replaced long ago. A file
        that has gone meanwhile leaves its token in use.
        """
        token = self._chosen.user.get("token", "")
        path = self._chosen.user.get("tokenFile")
        if path:
            self.expiry = datetime.now(timezone.utc) + TOKEN_FILE_AGE + EXPIRY_SKEW_PREVENTION_DELAY
            try:
                token = Path(path).read_text(encoding="utf-8").strip()
            except OSError:
                if "token" not in self.__dict__:
                    raise
                return True
        if token:
            self.token = f"Bearer {token}"
        return bool(token)

    def _load_from_exec_plugin(self) -> bool:
        """Run the credential plugin; raise `CredentialError` where it yields nothing.

        The library's own logs a failure and goes on anonymously, changes the plugin's working directory, and drops a
        certificate that comes with a token. It also renews five minutes early, which runs a plugin that hands out its
        cached token before every request: the expiry is moved by as much, so that it is kept to, as kubectl does.
        """
        if "exec" not in self._chosen.user:
            return False
        status = self._run_plugin()
        token, certificate = status.get("token"), status.get("clientCertificateData")
        if not token and not (certificate and status.get("clientKeyData")):
            raise self._plugin_error("its answer has neither a token nor a client certificate with its key")
        if token:
            self.token = f"Bearer {token}"
        if certificate and "cert_file" not in self.__dict__:
            self.cert_file, self.key_file = (
                FileOrData(status, "", key, base64_file_content=False, temp_file_path=self._temp_file_path).as_file()
                for key in ("clientCertificateData", "clientKeyData")
            )
        if status.get("expirationTimestamp"):
            self.expiry = parse_rfc3339(status["expirationTimestamp"]) + EXPIRY_SKEW_PREVENTION_DELAY
        return True

    def _run_plugin(self) -> Mapping[str, Any]:
        try:
            status = ExecProvider(ConfigNode("exec", self._chosen.user["exec"]), None, self._cluster).run()
        except FileNotFoundError as error:
            raise self._plugin_error("there is no such program") from error
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            raise self._plugin_error(str(error)) from error
        return status if isinstance(status, Mapping) else {}

    def _plugin_error(self, problem: str) -> CredentialError:
        command = fields.text(self._chosen.user, "exec", "command")
        install = " ".join(fields.text(self._chosen.user, "exec", "installHint").split())
        return CredentialError(
            f"credential plugin {command} of {self._chosen.who} failed: {' '.join(problem.split())}",
            install or f"run {command} by hand, or log in again",
        )

    def _refresh_oidc(self, provider: object) -> None:
        """Leave an expired token to the server's 401: whoever renews it has to store it, and kubectl does."""


def _log_in(configuration: Configuration, chosen: Access) -> tuple[ssl.SSLContext, datetime | None]:
    """Read the credentials into `configuration`; return the TLS side of them and when the client certificate expires.

    OpenSSL reads keys from files only: those that are not files already are, in a folder of their own, while this runs.
    """
    provider = fields.text(chosen.user, "auth-provider", "name")
    if provider not in ("", "oidc"):
        raise CredentialError(
            f"{chosen.who} logs in with the auth provider {provider}, which Kubernetes has dropped",
            "use its credential plugin: https://kubernetes.io/docs/reference/access-authn-authz/authentication/",
        )
    try:
        with TemporaryDirectory(prefix="kubectl-fsm-") as folder:
            _Loader(chosen, folder).load_and_set(configuration)
            certificate = configuration.cert_file
            tls = client_context(
                verify=configuration.verify_ssl,
                authority=configuration.ssl_ca_cert,
                certificate=certificate,
                key=configuration.key_file,
            )
            expiry = not_after(certificate) if certificate else None
    except (ConfigException, OSError, ValueError, TypeError) as error:
        raise CredentialError(
            f"the credentials of {chosen.who} cannot be used: {error}", "check them: kubectl config view --minify"
        ) from error
    if chosen.user.keys() & _AUTHENTICATION and not configuration.api_key and not certificate:
        raise CredentialError(f"the credentials of {chosen.who} are empty or void", "log in again")
    return tls, expiry


def _client(configuration: Configuration, chosen: Access, tls: ssl.SSLContext) -> ApiClient:
    """The client, with its connections' TLS context put in where urllib3 keeps it: the library has no option for one."""
    configuration.cert_file = configuration.key_file = configuration.ssl_ca_cert = None
    _set_proxy(configuration, chosen)
    try:
        client = ApiClient(configuration)
    except (AssertionError, HTTPError, ValueError) as error:
        raise CredentialError(
            f"the proxy {configuration.proxy} cannot be used: {error}", "write http://HOST:PORT"
        ) from error
    if not configuration.verify_ssl:
        urllib3.disable_warnings(InsecureRequestWarning)
    client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = tls
    return client


def _set_proxy(configuration: Configuration, chosen: Access) -> None:
    """Set the proxy, and the login in its address, which the library would leave out. NO_PROXY is not for `proxy-url`."""
    proxy = chosen.proxy
    if proxy.startswith("socks") and not find_spec("socks"):
        raise CredentialError(f"the proxy {proxy} needs PySocks", "install it beside this plugin: pip install PySocks")
    configuration.proxy = proxy or None
    if "proxy-url" in chosen.cluster:
        configuration.no_proxy = None
    login = urlsplit(proxy)
    if login.username:
        pair = f"{unquote(login.username)}:{unquote(login.password or '')}"
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=pair)


def _pause(response: Any) -> int | None:
    """How long the server asks to wait before the same request is sent again; None where it does not, or for too long."""
    busy = response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    seconds = response.headers.get("Retry-After", "")
    return int(seconds) if busy and seconds.isdecimal() and int(seconds) <= LONGEST_PAUSE else None


def _after_expiry(query: Mapping[str, str], inconsistent: str) -> dict[str, str]:
    """How a listing goes on whose continue token has expired: with the server's token, else anew and in one piece."""
    if inconsistent:
        return {**query, "continue": inconsistent}
    return {"labelSelector": query["labelSelector"]}


def _path(resource: Resource, namespace: str = "", name: str | None = None) -> str:
    """Where the server keeps a kind's objects, or one of them. Raises `InvalidObject` for what can be no name."""
    parts = ["apis", resource.group, resource.version] if resource.group else ["api", resource.version]
    if resource.namespaced and (namespace or name is not None):
        parts += ["namespaces", namespace]
    parts += [resource.plural] if name is None else [resource.plural, name]
    return "".join(f"/{_segment(part)}" for part in parts)


def _segment(name: str) -> str:
    """One part of a path, quoted. Raises `InvalidObject` for what the API server takes for no name.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names
    """
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise InvalidObject(f"{name!r} cannot be the name of a Kubernetes object", "check the spelling")
    return quote(name, safe="")
