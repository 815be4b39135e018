"""Failures of an API server, or on the way to it, in words: one line what went wrong, one line what to do."""

from __future__ import annotations

import json
import shlex
import ssl
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from http.client import IncompleteRead, RemoteDisconnected
from socket import gaierror
from typing import Any, NamedTuple

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, ReadTimeoutError

from kubectl_fsm import fields
from kubectl_fsm.errors import (
    ApiError,
    Conflict,
    CredentialError,
    Forbidden,
    FsmError,
    InvalidObject,
    NotFound,
    Unanswered,
    Unreachable,
)
from kubectl_fsm.fields import Object

_CLASSES: Mapping[int, type[ApiError]] = {403: Forbidden, 404: NotFound, 409: Conflict}
_REASONS: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
"""What an API server's `Status` gives as reason, for answers that are none."""
_SERVER_TROUBLE = "try again; if it stays so: kubectl get --raw '/readyz?verbose'"
_NOBODY = "system:anonymous"
"""Who asks, to an API server, without credentials."""
_ADDRESS = "check the server's address (kubectl config view --minify), the network, HTTPS_PROXY and NO_PROXY"
_AUTHORITY = "check certificate-authority and tls-server-name in the kubeconfig: kubectl config view --minify"

_TRANSPORT: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((ProxyError,), "the proxy on the way to {server} failed: {detail}", "check proxy-url, HTTPS_PROXY and NO_PROXY"),
    ((ssl.SSLCertVerificationError,), "the certificate of {server} is not trusted: {detail}", _AUTHORITY),
    (
        (ssl.SSLError,),
        "TLS with {server} failed: {detail}",
        "check that the address and its port speak TLS, and who asks",
    ),
    ((gaierror,), "the host of {server} cannot be resolved: {detail}", _ADDRESS),
    ((ConnectionRefusedError,), "{server} refused the connection", f"does the API server run? {_ADDRESS}"),
    ((NewConnectionError,), "{server} cannot be reached: {detail}", _ADDRESS),
    ((ConnectTimeoutError,), "{server} did not accept the connection in time", _ADDRESS),
    ((ReadTimeoutError,), "{server} did not answer in time", f"allow it more with --request-timeout; {_ADDRESS}"),
    ((IncompleteRead,), "the answer of {server} broke off", "try again; a proxy on the way may have cut it"),
    ((RemoteDisconnected, ConnectionError), "{server} closed the connection without an answer", _SERVER_TROUBLE),
)
"""Kinds of failure from the most to the least specific: the first that occurs anywhere in the chain of causes counts."""


class Dropped(Unanswered):
    """The connection ended before a whole answer had come, which may not happen again."""


_SENT: Mapping[type[BaseException], type[Unanswered]] = {
    ReadTimeoutError: Unanswered,
    IncompleteRead: Dropped,
    RemoteDisconnected: Dropped,
}
"""Failures that come when the request is on its way, by the first type of their line above."""


class Call(NamedTuple):
    """A request in the words of RBAC: `verb` on `target` (`deployments.apps`, `pods/eviction`, a path) `name` in `namespace`."""

    verb: str
    target: str
    name: str = ""
    namespace: str = ""

    @property
    def kind(self) -> str:
        """The target without its subresource."""
        return self.target if self.target.startswith("/") else self.target.partition("/")[0]

    @property
    def subresource(self) -> str:
        return "" if self.target.startswith("/") else self.target.partition("/")[2]

    def __str__(self) -> str:
        words = (self.verb, self.target, self.name, f"in namespace {self.namespace}" if self.namespace else "")
        return " ".join(word for word in words if word)


class Asker(NamedTuple):
    """Who asks which server.

    `who` is the user as messages call it, `impersonated` what `--as` says, `expired` since when (a date as text) the
    client certificate is void, empty while it holds. `words` lead another command to the same server as the same user.
    """

    server: str
    who: str
    impersonated: str = ""
    expired: str = ""
    words: Sequence[str] = ()

    @property
    def login_hint(self) -> str:
        if self.expired:
            return f"the client certificate of {self.who} expired on {self.expired}: get a new one, or log in again"
        return f"log in again as {self.who}, or choose other credentials with --context or --user"


def unreachable(error: BaseException, asker: Asker) -> FsmError:
    """The error for a request that got no whole answer."""
    causes = list(_chain(error))
    detail = " ".join(_words(causes[-1]).split())
    for types, what, mend in _TRANSPORT:
        if any(isinstance(cause, types) for cause in causes):
            void = asker.expired and types[0] in (ssl.SSLError, RemoteDisconnected)
            kind = Unreachable if void else _SENT.get(types[0], Unreachable)
            return kind(what.format(server=asker.server, detail=detail), asker.login_hint if void else mend)
    if any(isinstance(cause, ValueError) for cause in causes):
        return CredentialError(
            f"no request can be made with the credentials of {asker.who}: {detail}", asker.login_hint
        )
    return Unreachable(f"{asker.server} cannot be reached: {detail}", _ADDRESS)


def foreign(asker: Asker, status: int, content_type: str, location: str) -> Unreachable:
    """The error for an answer that no API server gives."""
    what = f"a redirect to {location}" if location else f"{status} with {content_type or 'no content type'}, not JSON"
    return Unreachable(
        f"{asker.server} answered {what}: this is no Kubernetes API",
        f"a proxy or a login page may stand before it: {_ADDRESS}",
    )


def failure(code: int, body: bytes, call: Call, asker: Asker) -> ApiError:
    """The error for an answer that is not 2xx, whatever its body is."""
    status = status_object(body)
    causes = _causes(status)
    message = _message(code, status, call)
    unnamed = [f"{where}: {what}" for where, what in causes.items() if where not in message]
    unnamed += _budgets(status)
    return _CLASSES.get(code, ApiError)(
        code,
        fields.text(status, "reason") or _REASONS.get(code, ""),
        "; ".join([message, *unnamed]),
        _hint(code, message, call, asker, list(causes)),
        fields.mapping(status, "details"),
    )


def no_kind(text: str) -> NotFound:
    """The error for a kind that the server does not serve."""
    return NotFound(
        HTTPStatus.NOT_FOUND,
        "NotFound",
        f"the server does not serve {text}",
        "see what it serves: kubectl api-resources",
    )


def status_object(body: bytes) -> Object:
    """The answer's `Status` object, or what a gateway sends in its likeness; empty where it is something else."""
    try:
        status: Any = json.loads(body)
        if not isinstance(status, Mapping):
            return {}
        for path in (("reason",), ("message",), ("metadata", "continue")):
            fields.text(status, *path)
        fields.items(status, "details", "causes")
    except (ValueError, RecursionError, InvalidObject):
        return {}
    return status


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and all that it was raised from, innermost last."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _words(error: BaseException) -> str:
    """What went wrong, without the numbers that Python and OpenSSL have for it."""
    said = getattr(error, "verify_message", "") or getattr(error, "strerror", "")
    return str(said or error)


def _causes(status: Object) -> Mapping[str, str]:
    """Field to complaint, of a 422."""
    causes = fields.items(status, "details", "causes")
    return {str(cause["field"]): str(cause.get("message", "")) for cause in causes if cause.get("field")}


def _budgets(status: Object) -> Sequence[str]:
    """Which PodDisruptionBudgets have no room, of an eviction."""
    causes = fields.items(status, "details", "causes")
    return [str(cause.get("message", "")) for cause in causes if cause.get("reason") == "DisruptionBudget"]


def _message(code: int, status: Object, call: Call) -> str:
    said = " ".join(fields.text(status, "message").split())
    if said:
        return said
    if code == HTTPStatus.NOT_FOUND:
        return f"the server does not serve {call.target}"
    phrase = f" {HTTPStatus(code).phrase}" if code in list(HTTPStatus) else ""
    return f"{call}: the server answered {code}{phrase}"


def _hint(code: int, message: str, call: Call, asker: Asker, invalid: list[str]) -> str:
    where = _joined(f" -n {shlex.quote(call.namespace)}" if call.namespace else "", asker)
    hints = {
        400: "the request itself is wrong: check names and selector",
        401: asker.login_hint,
        403: _forbidden(message, call, asker),
        404: f"see what is there: kubectl get {call.kind}{where}" if call.name else no_kind("").hint,
        409: "somebody else changed the object at the same time: try again",
        422: f"mend {', '.join(invalid) or 'the object'}: kubectl edit {call.kind} {shlex.quote(call.name)}{where}",
    }
    return hints.get(code, _SERVER_TROUBLE + _joined("", asker))


def _forbidden(message: str, call: Call, asker: Asker) -> str:
    if " cannot impersonate" in message:
        self_words = [word for word in asker.words if not word.startswith("--as")]
        check = f"kubectl auth can-i impersonate {shlex.quote(f'users/{asker.impersonated}')}"
        return f"--as needs the right to impersonate: {check}{_joined('', asker._replace(words=self_words))}"
    if f'User "{_NOBODY}" ' in message:
        return f"the request showed no credentials that count: {asker.login_hint}"
    target = shlex.quote(f"{call.kind}/{call.name}" if call.name else call.kind)
    scope = f" --subresource={call.subresource}" if call.subresource else ""
    scope += f" -n {shlex.quote(call.namespace)}" if call.namespace else "" if call.target.startswith("/") else " -A"
    return f"ask for the right to {call}; check: kubectl auth can-i {call.verb} {target}{_joined(scope, asker)}"


def _joined(scope: str, asker: Asker) -> str:
    return f"{scope} {shlex.join(asker.words)}" if asker.words else scope
