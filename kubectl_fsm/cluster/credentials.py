"""What a request shows of a user: a TLS context, and what goes into its Authorization header.

A client certificate, a token and a password are read here, because the `kubernetes` package takes 0.17 s to load and
most runs need no more. It runs the credential plugins, which are what is hard to get right.
"""

from __future__ import annotations

import base64
import re
import ssl
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import urllib3

from kubectl_fsm import fields
from kubectl_fsm.cluster.kubeconfig import Access
from kubectl_fsm.cluster.tls import client_context, not_after
from kubectl_fsm.errors import CredentialError, InvalidObject
from kubectl_fsm.fields import Object

_AUTHORITY = {"certificate-authority", "certificate-authority-data"}
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----[\s\x21-\x7e]*?-----END [A-Z ]+-----")
"""A certificate, without the comments around it, in which there may be anything."""
_LARGEST = 10_000_000
"""Bytes of a file with credentials, at most: bundles of authorities are the largest."""
TOKEN_FILE_AGE = timedelta(minutes=1)
"""How long a token read from a file counts: kubelets and agents replace them."""
_AUTHENTICATION = {
    "auth-provider",
    "exec",
    "token",
    "tokenFile",
    "username",
    "client-certificate",
    "client-certificate-data",
}


class Credentials:
    """The credentials of one user; its methods may be called from several threads.

    `expiry` is when the client certificate expires, None where there is none. Raises `CredentialError` where they
    cannot be used: a request is never made without credentials that the kubeconfig names.
    """

    def __init__(self, chosen: Access) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self._authorization = ""
        self._renewal: datetime | None = None
        self._plugin_certificate: tuple[bytes, bytes] | None = None
        try:
            self._log_in()
            self.tls, self.expiry = self._context()
        except (OSError, ValueError, TypeError, InvalidObject) as error:
            raise CredentialError(
                f"the credentials of {chosen.who} cannot be used: {error}", "check them: kubectl config view --minify"
            ) from error
        if chosen.user.keys() & _AUTHENTICATION and not self._authorization and not self._certificate():
            raise CredentialError(f"the credentials of {chosen.who} are empty or void", "log in again")

    def authorization(self) -> str:
        """The Authorization header's value, empty for none; renewed once it has expired, by one thread."""
        with self._lock:
            if self._renewal and datetime.now(timezone.utc) >= self._renewal:
                self._log_in()
            return self._authorization

    def _log_in(self) -> None:
        """The first that the user has, in kubectl's order: provider, token, plugin, password."""
        user = self._chosen.user
        if "auth-provider" in user:
            self._authorization = self._provider_token()
        elif "token" in user or "tokenFile" in user:
            self._authorization = self._token()
        elif "exec" in user:
            self._run_plugin()
        elif "username" in user and "password" in user:
            pair = f"{fields.text(user, 'username')}:{fields.text(user, 'password')}"
            self._authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _provider_token(self) -> str:
        """An OIDC token as it is: whoever renews it has to store it, and kubectl does; a void one is answered 401."""
        provider = fields.text(self._chosen.user, "auth-provider", "name")
        if provider != "oidc":
            raise CredentialError(
                f"{self._chosen.who} logs in with the auth provider {provider}, which Kubernetes has dropped",
                "use its credential plugin: https://kubernetes.io/docs/reference/access-authn-authz/authentication/",
            )
        token = fields.text(self._chosen.user, "auth-provider", "config", "id-token")
        return f"Bearer {token}" if token else ""

    def _token(self) -> str:
        """The token, or that of a file, read again after a while; a file that has gone meanwhile leaves its token."""
        token, path = fields.text(self._chosen.user, "token"), fields.text(self._chosen.user, "tokenFile")
        if path:
            self._renewal = datetime.now(timezone.utc) + TOKEN_FILE_AGE
            try:
                token = _content(path).decode().strip()
            except OSError as error:
                if not self._authorization:
                    raise ValueError(f"tokenFile {path}: {error.strerror}") from error
                return self._authorization
        return f"Bearer {token}" if token else ""

    def _run_plugin(self) -> None:
        """Take what the credential plugin yields; raise `CredentialError` where that is nothing."""
        self._check_plugin()
        status = self._plugin_status()
        token = status.get("token")
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        if not token and not (certificate and key):
            raise self._plugin_error("its answer has neither a token nor a client certificate with its key")
        if token:
            self._authorization = f"Bearer {token}"
        if certificate and key:
            self._plugin_certificate = str(certificate).encode(), str(key).encode()
        if until := status.get("expirationTimestamp"):
            from kubernetes.config.dateutil import parse_rfc3339  # noqa: PLC0415 - loaded by now

            try:
                self._renewal = parse_rfc3339(until)
            except (ValueError, TypeError, AttributeError) as error:
                raise self._plugin_error(f"its answer expires at {until!r}, which is no time") from error

    def _check_plugin(self) -> None:
        """Raise `InvalidObject` for arguments or variables that are no text: the runner would only stumble over them."""
        user = self._chosen.user
        for index in range(len(fields.sequence(user, "exec", "args"))):
            fields.text(user, "exec", "args", index)
        for index in range(len(fields.items(user, "exec", "env"))):
            for key in ("name", "value"):
                fields.text(user, "exec", "env", index, key)

    def _plugin_status(self) -> Mapping[str, Any]:
        """The plugin's answer, from the `kubernetes` package's own runner.

        The package's kubeconfig loader, which would call it, logs a failure and goes on without credentials. The runner
        looks at stdout to decide whether a person is there to read what the plugin says; that is stderr's to tell, since
        stdout may well be a pipe. On a terminal the plugin's words have been shown, and the runner has none to report.
        """
        from kubernetes.config import ConfigException  # noqa: PLC0415 - 0.17 s to load, for plugins alone
        from kubernetes.config.exec_provider import ExecProvider  # noqa: PLC0415
        from kubernetes.config.kube_config import ConfigNode  # noqa: PLC0415

        cluster = ConfigNode("cluster", dict(self._chosen.cluster))
        try:
            with redirect_stdout(sys.stderr):
                status = ExecProvider(ConfigNode("exec", self._chosen.user["exec"]), None, cluster).run()
        except FileNotFoundError as error:
            raise self._plugin_error("there is no such program") from error
        except AttributeError as error:
            raise self._plugin_error("what it says stands above") from error
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

    def _certificate(self) -> tuple[bytes, bytes] | None:
        """The client certificate and its key in PEM, a plugin's before the kubeconfig's."""
        if self._plugin_certificate:
            return self._plugin_certificate
        certificate = _material(self._chosen.user, "client-certificate")
        return (certificate, _material(self._chosen.user, "client-key")) if certificate else None

    def _context(self) -> tuple[ssl.SSLContext, datetime | None]:
        """The TLS context. OpenSSL reads keys from files only: they are in a folder of their own while this runs."""
        pair = self._certificate()
        authority = "\n".join(_PEM.findall(_material(self._chosen.cluster, "certificate-authority").decode("latin-1")))
        verify = self._chosen.cluster.get("insecure-skip-tls-verify") is not True
        if verify and not authority and self._chosen.cluster.keys() & _AUTHORITY:
            raise ValueError("certificate-authority holds no certificate")
        if not pair:
            return client_context(verify=verify, authority=authority), None
        with TemporaryDirectory(prefix="kubectl-fsm-") as folder:
            path = Path(folder, "client.pem")
            path.touch(mode=0o600)
            path.write_bytes(b"\n".join(pair))
            return client_context(verify=verify, authority=authority, client=path), not_after(pair[0].decode("latin-1"))


def _material(entry: Object, key: str) -> bytes:
    """What the kubeconfig holds as `KEY-data`, or in the file that KEY names; empty for neither. Raises `ValueError`."""
    data, path = fields.text(entry, f"{key}-data"), fields.text(entry, key)
    if not data:
        return _file(key, path) if path else b""
    try:
        return base64.b64decode(data)
    except ValueError as error:
        raise ValueError(f"{key}-data is not base64: {error}") from error


def _file(key: str, path: str) -> bytes:
    """What is in the file that KEY names. Raises `ValueError`."""
    try:
        return _content(path)
    except OSError as error:
        raise ValueError(f"{key} {path}: {error.strerror}") from error


def _content(path: str) -> bytes:
    """What is in a file. Raises `OSError`, and `ValueError` for one that is no token's, certificate's or key's size."""
    with Path(path).open("rb") as file:
        found = file.read(_LARGEST + 1)
    if len(found) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST // 1_000_000} MB")
    return found


def proxy_headers(user: str, password: str) -> Mapping[str, str]:
    """The header by which a proxy knows the user."""
    return urllib3.make_headers(proxy_basic_auth=f"{user}:{password}")
