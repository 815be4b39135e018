"""`Cluster` over an API server: requests by urllib3, credentials by `credentials`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, InsecureRequestWarning

import kubectl_fsm
from kubectl_fsm import fields
from kubectl_fsm.cluster import background, discovery, pages
from kubectl_fsm.cluster.credentials import Credentials, proxy_headers
from kubectl_fsm.cluster.failures import Asker, Call, Dropped, failure, foreign, no_kind, status_object, unreachable
from kubectl_fsm.cluster.interface import (
    BUILT_IN,
    CUSTOM_WORKLOADS,
    FIELD_MANAGER,
    LOG_BYTES,
    PAGE,
    PODS,
    Resource,
    View,
)
from kubectl_fsm.cluster.kubeconfig import Access, ConnectionOptions, access
from kubectl_fsm.errors import ApiError, CredentialError, InvalidObject, ManifestError, NotFound, Unreachable
from kubectl_fsm.fields import Object

CONNECT_SECONDS, READ_SECONDS = 30.0, 90.0
"""Limits without `--request-timeout`: to connect, and of silence. An API server ends its own requests after 60 s."""
ATTEMPTS, LONGEST_PAUSE = 4, 10
"""How often a request is sent where the server says `Retry-After`, and the longest pause, in seconds, that is waited out."""
LOG_READ_BYTES = 1_000_000
"""How much of a log is read for the sake of its end: `limitBytes` keeps the beginning, and not every kubelet heeds it."""
CONNECTIONS = 16
"""Connections kept open, and calls that `gather` makes at a time."""

_JSON = "application/json"
_BODIES = {"POST": _JSON, "DELETE": _JSON, "PATCH": "application/merge-patch+json"}
"""What a body is, by the method of its request."""
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def connect(options: ConnectionOptions) -> KubeCluster:
    """A cluster as kubectl would reach it with these options. Sends nothing yet, but runs a credential plugin.

    Raises `CredentialError`, and `UsageError` for options that make no sense.
    """
    limits = urllib3.Timeout(total=options.timeout or None)
    if options.timeout is None:
        limits = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    chosen = access(options)
    impersonation = chosen.impersonation(options)
    return KubeCluster(
        chosen,
        Credentials(chosen),
        impersonation=impersonation,
        limits=limits,
        log=options.log,
        words=options.words,
    )


class KubeCluster:
    """`Cluster` over an API server; made by `connect`. Its methods may be called from several threads."""

    remote = True
    unread: Sequence[ManifestError] = ()

    def __init__(
        self,
        chosen: Access,
        credentials: Credentials,
        *,
        impersonation: Sequence[tuple[str, str]],
        limits: urllib3.Timeout,
        log: Callable[[str], None] | None,
        words: Sequence[str],
    ) -> None:
        self._access = chosen
        self._server = chosen.server
        self._credentials = credentials
        self._pool = _pool(chosen, credentials)
        self._impersonation = impersonation
        self._limits = limits
        self._log = log
        self.words = words
        self._discovered: dict[str, Sequence[Resource]] = {}
        self._warnings: dict[str, None] = {}
        self.denied = False

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

    def list(
        self, resource: Resource, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Iterator[Object]:
        """As the Protocol says; while one page is read, the next is on its way."""
        call = Call("list", resource.qualified, "", namespace)
        fetch = partial(self._page, _path(resource, namespace))
        query = {"labelSelector": selector, "fieldSelector": field_selector, "limit": str(PAGE)}
        seen = set()
        answer: tuple[BaseHTTPResponse, bytes] | None = fetch(query)
        while answer is not None:
            coming = None
            for piece in self._pieces(*answer, call):
                if token := fields.text(piece, "metadata", "continue"):
                    coming = background.start(partial(fetch, {**query, "continue": token}))
                for item in fields.items(piece, "items"):
                    uid = fields.uid(item)
                    if not uid or uid not in seen:
                        seen.add(uid)
                        yield {"apiVersion": resource.api_version, "kind": resource.kind, **item}
            answer = coming.outcome() if coming else None

    def _page(self, path: str, query: Mapping[str, str]) -> tuple[BaseHTTPResponse, bytes]:
        """The answer to one page of a listing; where its continue token has expired, to all that is left."""
        while True:
            response, data = self._exchange("GET", path, query)
            if response.status != HTTPStatus.GONE or "continue" not in query:
                return response, data
            query = _after_expiry(query, fields.text(status_object(data), "metadata", "continue"))

    def patch(self, resource: Resource, name: str, namespace: str, merge: Object, *, dry_run: bool = False) -> Object:
        call = Call("patch", resource.qualified, name, namespace)
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        return self._ask("PATCH", _path(resource, namespace, name), call, query, body=merge)

    def try_create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        return self._post(resource, namespace, obj, dry_run=True)

    def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        return self._post(resource, namespace, obj, dry_run=False)

    def _post(self, resource: Resource, namespace: str, obj: Object, *, dry_run: bool) -> Object:
        call = Call("create", resource.qualified, "", namespace)
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        return self._ask("POST", _path(resource, namespace), call, query, body=obj)

    def delete(self, resource: Resource, name: str, namespace: str, uid: str) -> None:
        call = Call("delete", resource.qualified, name, namespace)
        self._ask("DELETE", _path(resource, namespace, name), call, body=_deletion(uid))

    def evict(self, name: str, namespace: str, uid: str) -> None:
        call = Call("create", f"{PODS.plural}/eviction", name, namespace)
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": _deletion(uid),
        }
        self._ask("POST", f"{_path(PODS, namespace, name)}/eviction", call, body=eviction)

    def log(self, name: str, namespace: str, container: str, lines: int) -> str:
        """As the Protocol says. A container that waits for its next start is asked for its last run by the kubelet itself."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(LOG_READ_BYTES)}
        if said := self._log_text(name, namespace, query):
            return said
        try:
            return self._log_text(name, namespace, {**query, "previous": "true"})
        except ApiError as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            return ""

    def _log_text(self, name: str, namespace: str, query: Mapping[str, str]) -> str:
        path, call = f"{_path(PODS, namespace, name)}/log", Call("get", f"{PODS.plural}/log", name, namespace)
        response, data = self._exchange("GET", path, query, most=LOG_READ_BYTES)
        self._check(response, data, call)
        return data[-LOG_BYTES:].decode(errors="replace")

    def observe(self, *views: View) -> Generator[Sequence[Sequence[Object]], None, None]:
        """As the Protocol says. `--request-timeout` limits lists and how long it takes to connect, not the watches."""
        from kubectl_fsm.cluster import watching  # noqa: PLC0415 - most verbs watch nothing

        def source(view: View) -> watching.Source:
            opened = partial(self._opened, "GET", _path(view.resource, view.namespace))
            return watching.Source(view, opened, self._answer)

        return watching.observe([source(view) for view in views])

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
        return [found for found in self._all_served() if (found.group, found.kind) in CUSTOM_WORKLOADS]

    def position(self, obj: Object, *path: fields.Step) -> None:  # noqa: ARG002 - the Protocol's
        return None

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
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        accept: str = _JSON,
        *,
        most: int | None = None,
    ) -> tuple[BaseHTTPResponse, bytes]:
        """One request and its answer, or the first `most` bytes of it.

        What does no more when it is done twice is sent again where it was dropped or the server asks for patience.
        With 429 the server has not even begun a write; what it refuses so to create or evict is the caller's affair.
        """
        repeatable = method == "GET" or bool(query.get("dryRun")) or _is_idempotent(method, body)
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                response, data = self._send(method, path, query, body, accept, most=most)
            except Dropped:
                if not repeatable:
                    raise
                response, data = self._send(method, path, query, body, accept, most=most)
            not_begun = method == "PATCH" and response.status == HTTPStatus.TOO_MANY_REQUESTS
            pause = _pause(response) if repeatable or not_begun else None
            if pause is None or not attempts_left:
                break
            time.sleep(pause)
        return response, data

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        accept: str,
        *,
        most: int | None,
    ) -> tuple[BaseHTTPResponse, bytes]:
        """The response and its body, or the first `most` bytes of it. Raises as `_opened` does."""
        with self._opened(method, path, query, body=body, accept=accept) as response:
            return response, response.read(most)

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float | None = None,
        *,
        body: Object | None = None,
        accept: str = _JSON,
    ) -> Iterator[BaseHTTPResponse]:
        """The answer to one request, for the block to read. Raises `Unreachable` or `CredentialError`, there as well.

        With `silence` the answer is a stream: only so many seconds without a byte count as a failure, and its connection
        is nobody else's afterwards, so that it can be cut off from another thread.
        """
        headers, limits = self._headers(accept), self._limits
        if body is not None:
            headers["Content-Type"] = _BODIES[method]
        if silence:
            headers["Accept-Encoding"], headers["Connection"] = "identity", "close"
            limits = urllib3.Timeout(connect=limits.connect_timeout, read=silence)
        parameters = urlencode({key: value for key, value in query.items() if value})
        url = f"{self._server}{path}" + (f"?{parameters}" if parameters else "")
        content = None if body is None else json.dumps(body)
        options: dict[str, Any] = {"timeout": limits, "retries": False, "redirect": False, "preload_content": False}
        started = time.monotonic()
        try:
            with closing(self._pool.request(method, url, body=content, headers=headers, **options)) as response:
                if self._log:
                    self._log(f"{method} {url} {response.status} in {(time.monotonic() - started) * 1000:.0f} ms")
                for quoted in _WARNING.findall("\n".join(response.headers.getlist("Warning"))):
                    self._warnings[re.sub(r"\\(.)", r"\1", quoted)] = None
                yield response
        except (HTTPError, OSError, ValueError) as error:
            raise unreachable(error, self._asker()) from error

    def _headers(self, accept: str) -> urllib3.HTTPHeaderDict:
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Accept-Encoding": "gzip"})
        headers["User-Agent"] = f"kubectl-fsm/{kubectl_fsm.__version__}"
        if authorization := self._credentials.authorization():
            headers["Authorization"] = authorization
        for name, value in self._impersonation:
            headers.add(name, value)
        return headers

    def _answer(self, response: BaseHTTPResponse, data: bytes, call: Call) -> Object:
        self._check(response, data, call)
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._foreign(response) from error
        if not isinstance(answer, Mapping):
            raise self._foreign(response)
        return answer

    def _pieces(self, response: BaseHTTPResponse, data: bytes, call: Call) -> Iterator[Object]:
        """The members of the answer, as `pages.pieces` gives them."""
        self._check(response, data, call)
        try:
            yield from pages.pieces(data.decode())
        except (ValueError, RecursionError) as error:
            raise self._foreign(response) from error

    def _check(self, response: BaseHTTPResponse, data: bytes, call: Call) -> None:
        """Raise the failure that an answer is."""
        if response.status >= HTTPStatus.BAD_REQUEST:
            self.denied = self.denied or response.status == HTTPStatus.FORBIDDEN
            error = failure(response.status, data, call, self._asker())
            error.pause = _pause(response) or 0
            raise error
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._foreign(response)

    def _foreign(self, response: BaseHTTPResponse) -> Unreachable:
        headers = response.headers
        return foreign(self._asker(), response.status, headers.get("Content-Type", ""), headers.get("Location", ""))

    def _asker(self) -> Asker:
        expiry = self._credentials.expiry
        expired = expiry if expiry and expiry < datetime.now(timezone.utc) else None
        impersonated = next((value for name, value in self._impersonation if name == "Impersonate-User"), "")
        since = f"{expired:%Y-%m-%d %H:%M} UTC" if expired else ""
        return Asker(self._server, self._access.who, impersonated, since, self.words)


def _pool(chosen: Access, credentials: Credentials) -> urllib3.PoolManager:
    """Connections to the API server, by its proxy where there is one. Raises `CredentialError` for an odd proxy."""
    options: dict[str, Any] = {"maxsize": CONNECTIONS, "ssl_context": credentials.tls}
    if name := fields.text(chosen.cluster, "tls-server-name"):
        options["server_hostname"] = name
    if chosen.cluster.get("insecure-skip-tls-verify") is True:
        options["cert_reqs"] = "CERT_NONE"
        urllib3.disable_warnings(InsecureRequestWarning)
    proxy = chosen.proxy
    if not proxy:
        return urllib3.PoolManager(**options)
    shown = proxy.partition("://")[2].rpartition("@")[2]
    if proxy.startswith("socks"):
        if not find_spec("socks"):
            raise CredentialError(f"the proxy {shown} needs PySocks", "install it: pip install PySocks")
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 - needs PySocks

        return SOCKSProxyManager(proxy, **options)
    try:
        login = urlsplit(proxy)
        headers = proxy_headers(unquote(login.username), unquote(login.password or "")) if login.username else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except (AssertionError, HTTPError, ValueError) as error:
        raise CredentialError(f"the proxy {shown} cannot be used", "write http://HOST:PORT") from error


def _is_idempotent(method: str, body: Object | None) -> bool:
    """Whether a request is a merge patch that leads to the same object each time (RFC 7386): one with no condition."""
    return method == "PATCH" and not fields.text(body or {}, "metadata", "resourceVersion")


def _pause(response: BaseHTTPResponse) -> int | None:
    """How long the server asks to wait before the same request is sent again; None where it does not, or for too long."""
    busy = response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    seconds = response.headers.get("Retry-After", "")
    return int(seconds) if busy and re.fullmatch("[0-9]{1,2}", seconds) and int(seconds) <= LONGEST_PAUSE else None


def _deletion(uid: str) -> Object:
    """Options of a deletion that means the object with this uid only."""
    return {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}


def _after_expiry(query: Mapping[str, str], inconsistent: str) -> dict[str, str]:
    """How a listing goes on whose continue token has expired: with the server's token, else anew and in one piece."""
    if inconsistent:
        return {**query, "continue": inconsistent}
    return {key: value for key, value in query.items() if key.endswith("Selector")}


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
