"""Which API server, and as whom: kubeconfig files found, merged and chosen from as kubectl does.

The rules are those of https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/.
The client library's own merger lets the last `current-context` win; kubectl, and this module, the first.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment

from kubectl_fsm import fields
from kubectl_fsm.cluster.documents import Budget, content, documents
from kubectl_fsm.durations import seconds
from kubectl_fsm.errors import CredentialError, InvalidObject, ManifestError, UsageError
from kubectl_fsm.fields import Object, Part

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its credentials."""

_SECTIONS = ("contexts", "clusters", "users")
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class ConnectionOptions(NamedTuple):
    """kubectl's global options, as typed; empty means not given.

    `request_timeout` is seconds or a Go duration (`5`, `1s`, `2m`), `0` for no limit; empty for the usual limits.
    `log` receives one line for each request.
    """

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    request_timeout: str = ""
    log: Callable[[str], None] | None = None

    @property
    def words(self) -> Sequence[str]:
        """The options that choose cluster and user, as another command line would have them."""
        given = {
            "--context": self.context,
            "--cluster": self.cluster,
            "--user": self.user,
            "--kubeconfig": self.kubeconfig,
            "--as": self.as_user,
        }
        chosen = [f"{name}={value}" for name, value in given.items() if value]
        return [*chosen, *(f"--as-group={group}" for group in self.as_groups)]

    @property
    def timeout(self) -> float | None:
        """`request_timeout` in seconds, 0 for no limit, None where it is not given. Raises `UsageError`."""
        return seconds("--request-timeout", self.request_timeout) if self.request_timeout else None


class Access(NamedTuple):
    """One context after all options: an API server, a user, a namespace.

    `cluster` and `user` are the kubeconfig's own entries with absolute paths and without empty values.
    """

    context: str
    namespace: str
    cluster: Object
    user_name: str
    user: Object

    @property
    def server(self) -> str:
        """The API server's URL as it may be shown: without the name and password that stand in some, which no request uses."""
        url = urlsplit(fields.text(self.cluster, "server").rstrip("/"))
        return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()

    @property
    def proxy(self) -> str:
        """The proxy's URL, empty for none: `proxy-url`, else the environment's as Go reads it.

        The environment's is not for loopback, nor for what NO_PROXY names.
        """
        proxy = fields.text(self.cluster, "proxy-url")
        server = urlsplit(fields.text(self.cluster, "server"))
        host, port = server.hostname or "", server.port or (80 if server.scheme == "http" else 443)
        if not proxy and not _is_loopback(host) and not _bypasses(host.lower(), port):
            proxy = getproxies_environment().get(server.scheme, "")
        return f"http://{proxy}" if proxy and "://" not in proxy else proxy

    def impersonation(self, options: ConnectionOptions) -> Sequence[tuple[str, str]]:
        """Request headers for `--as` and `--as-group`, or else for what the kubeconfig says.

        Raises `UsageError` where a user is missing. The headers are those of
        https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/.
        """
        name = options.as_user or fields.text(self.user, "as")
        groups = options.as_groups or fields.sequence(self.user, "as-groups")
        extra = fields.part(self.user, "as-user-extra")
        headers = [
            ("Impersonate-User", name),
            ("Impersonate-Uid", fields.text(self.user, "as-uid")),
            *(("Impersonate-Group", str(group)) for group in groups),
            *(
                (f"Impersonate-Extra-{quote(key, safe='')}", str(value))
                for key in extra
                for value in fields.sequence(extra, key)
            ),
        ]
        present = [(header, value) for header, value in headers if value]
        if present and not name:
            raise UsageError("--as-group needs a user too", "add --as=USER")
        return present

    @property
    def who(self) -> str:
        """Whose credentials these are: `user "ann" of context "prod"`."""
        user = f'user "{self.user_name}"' if self.user_name else "no user"
        return f'{user} of context "{self.context}"' if self.context else user


def access(options: ConnectionOptions) -> Access:
    """What the kubeconfig files and the options come to; where there is no kubeconfig at all, what a pod is given.

    Raises `CredentialError` where a file cannot be used or names something that does not exist.
    """
    files = _files(options.kubeconfig)
    return _merge(files).access(options) if files else _in_pod(options.namespace)


def names(section: str, explicit: str = "") -> Sequence[str]:
    """The names in a section (`contexts`, `clusters`, `users`) of the kubeconfig files. Raises as `access` does."""
    return sorted(getattr(_merge(_files(explicit)), section))


@dataclass(frozen=True)
class _Kubeconfig:
    current_context: str = ""
    contexts: dict[str, Object] = field(default_factory=dict)
    clusters: dict[str, Object] = field(default_factory=dict)
    users: dict[str, Object] = field(default_factory=dict)

    def access(self, options: ConnectionOptions) -> Access:
        name = options.context or self.current_context
        if not name and not options.cluster:
            mend = f"name one with --context; {_known(self.contexts)}" if self.contexts else _known(self.contexts)
            raise CredentialError("the kubeconfig has no current context", mend)
        context = _named("context", name, self.contexts)
        cluster_name = options.cluster or fields.text(context, "cluster")
        cluster = _named("cluster", cluster_name, self.clusters)
        if not _is_address(fields.text(cluster, "server")):
            raise CredentialError(
                f'cluster "{cluster_name}" has no server, or none with an address like https://HOST:PORT',
                f"set it: kubectl config set-cluster {cluster_name} --server=https://…",
            )
        user = options.user or fields.text(context, "user")
        namespace = options.namespace or fields.text(context, "namespace") or "default"
        return Access(name, namespace, cluster, user, _named("user", user, self.users))


def _files(explicit: str) -> list[Path]:
    if explicit:
        return [Path(explicit)]
    listed = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    present = [path for path in listed or [Path.home() / ".kube" / "config"] if path.exists()]
    if listed and not present:
        raise CredentialError(
            f"no file that KUBECONFIG names exists: {', '.join(map(str, listed))}",
            "correct KUBECONFIG, or unset it to use ~/.kube/config",
        )
    return present


def _in_pod(namespace: str) -> Access:
    """https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api ."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    own = SERVICE_ACCOUNT / "namespace"
    if not host or not own.exists():
        raise CredentialError(
            "there is no kubeconfig: no --kubeconfig, no KUBECONFIG, no ~/.kube/config",
            "name one with --kubeconfig; rules, trace, check and exclusions read manifests too, with -f",
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        "",
        namespace or own.read_text(encoding="utf-8").strip(),
        {"server": server, "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        "service account of this pod",
        {"tokenFile": str(SERVICE_ACCOUNT / "token")},
    )


def _merge(files: Iterable[Path]) -> _Kubeconfig:
    """First wins: the first file's entry of a name, the first `current-context` that is set."""
    current = ""
    merged: dict[str, dict[str, Object]] = {section: {} for section in _SECTIONS}
    for path in files:
        config = _read(path)
        try:
            current = current or fields.text(config, "current-context")
            for section in _SECTIONS:
                for item in fields.parts(config, section):
                    entry = _absolute(fields.part(item, section.removesuffix("s")), path.absolute().parent)
                    merged[section].setdefault(fields.text(item, "name"), entry)
        except InvalidObject as error:
            raise CredentialError(str(error), "compare it with: kubectl config view") from error
    return _Kubeconfig(current, **merged)


def _read(path: Path) -> Part:
    """What a file holds, read with the same care as manifests: it may come from anywhere. Raises `CredentialError`."""
    try:
        found = next(documents(content(str(path)), str(path), Budget()), None)
    except ManifestError as error:
        raise CredentialError(f"kubeconfig {error.message}", "check --kubeconfig and KUBECONFIG") from error
    value = {} if found is None else found.value
    if not isinstance(value, Mapping):
        raise CredentialError(f"kubeconfig {path}: not a kubeconfig", "check --kubeconfig and KUBECONFIG")
    return Part(value, {"kind": "kubeconfig", "metadata": {"name": str(path)}}, ())


def _absolute(entry: Part, base: Path) -> Part:
    """The entry without empty values, relative paths made absolute from its own file's folder.

    A plugin's command is a path only where it contains a slash; a `tokenFile` takes precedence over a `token`.
    """
    kept = Part({key: value for key, value in entry.items() if value not in (None, "")}, entry, ())
    for key in kept.keys() & _PATHS:
        kept[key] = str(base / fields.text(kept, key))
    command = fields.text(kept, "exec", "command")
    if os.sep in command:
        kept["exec"] = {**kept["exec"], "command": str(base / command)}
    if "tokenFile" in kept:
        kept.pop("token", None)
    return kept


def _named(kind: str, name: str, entries: Mapping[str, Object]) -> Object:
    """The entry of that name; no name is no entry."""
    if not name:
        return {}
    if name not in entries:
        raise CredentialError(f'{kind} "{name}" does not exist', _known(entries))
    return entries[name]


def _known(entries: Iterable[str]) -> str:
    known = ", ".join(sorted(entries))
    return f"known: {known}" if known else "the kubeconfig names none at all: check --kubeconfig and KUBECONFIG"


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _bypasses(host: str, port: int) -> bool:
    """Whether NO_PROXY names a server, by the rules of Go's httpproxy package.

    An entry is `*`, an address or a range of addresses, or a domain: `.a.b` and `*.a.b` mean what is below it, `a.b`
    itself too. All but ranges may end in a port.
    """
    for item in (part.strip().lower() for part in getproxies_environment().get("no", "").split(",")):
        name, _, only = item.rpartition(":") if item.count(":") == 1 or "]:" in item else (item, "", "")
        if item == "*" or _in_range(host, item) or (_names(host, name.strip("[]")) and only in ("", str(port))):
            return True
    return False


def _in_range(host: str, item: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(item, strict=False)
    except ValueError:
        return False


def _names(host: str, name: str) -> bool:
    below = name.removeprefix("*")
    return bool(name) and (host == name or host.endswith(below if below.startswith(".") else f".{below}"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
