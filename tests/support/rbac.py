"""Users of a test's cluster who have just some rights, and what a request asks for in RBAC's words."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support.control_plane import APPLY_PATCH, ControlPlane

GROUP = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ROLES = {
    role["metadata"]["name"]: role
    for role in yaml.safe_load_all((Path(__file__).parents[2] / "docs" / "rbac.yaml").read_text("utf-8"))
}
"""The ClusterRoles of docs/rbac.yaml, by name."""

_SAID = re.compile(
    r"(?P<verb>[a-z]+) (?P<plural>[a-z]+)(?:\.(?P<group>[a-z0-9.-]+))?(?:/(?P<sub>[a-z]+))?"
    r"(?: in (?P<place>all namespaces|[a-z0-9-]+))?(?: \((?P<name>\S+)\))?"
)
_REQUEST = re.compile(r"^([A-Z]+) (\S+) (\d{3}) in \d+ ms$", re.MULTILINE)
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Grant(NamedTuple):
    """A right: `place` is empty for all namespaces and for what is in none; `resource` may have a subresource."""

    verb: str
    group: str
    resource: str
    place: str = ""
    name: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        plural, _, sub = self.resource.partition("/")
        attributes = {"verb": self.verb, "group": self.group, "resource": plural, "subresource": sub}
        return {**attributes, "namespace": self.place, "name": self.name}

    @property
    def rule(self) -> dict[str, Any]:
        names = {"resourceNames": [self.name]} if self.name else {}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb], **names}

    @property
    def kind(self) -> tuple[str, str, str]:
        """Verb, group and resource, wherever and whatever it is called."""
        return self[:3]


def said(line: str) -> Grant:
    """The right that a line of a message names."""
    found = _SAID.fullmatch(line)
    assert found, line
    resource = f"{found['plural']}/{found['sub']}" if found["sub"] else found["plural"]
    place = "" if found["place"] == "all namespaces" else found["place"] or ""
    if found["plural"] == "namespaces":
        place = found["name"] or ""
    return Grant(found["verb"], found["group"] or "", resource, place, found["name"] or "")


def missing(text: str) -> list[str]:
    """The lines of a message that name the missing rights."""
    _, _, rest = text.partition("these rights are missing")
    found = []
    for line in rest.splitlines()[1:]:
        if not line.startswith("  "):
            break
        found.append(line.strip())
    return found


def held(role: str) -> set[Grant]:
    """What a ClusterRole of docs/rbac.yaml grants."""
    return {
        Grant(verb, group, resource, "", name)
        for rule in ROLES[role]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def requests(log: str) -> list[tuple[Grant, int]]:
    """What a run with -v=8 asked of kinds of objects, and the status of each answer; discovery and reviews are left out."""
    found = []
    for method, url, status in _REQUEST.findall(log):
        parts, query = urlsplit(url).path.strip("/").split("/"), parse_qs(urlsplit(url).query)
        if grant := _asked(method, parts, query):
            found.append((grant, int(status)))
    return found


def _asked(method: str, parts: list[str], query: dict[str, list[str]]) -> Grant | None:
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:]) if len(parts) > 1 else ("", [])
    if not rest or group == "authorization.k8s.io":
        return None
    place = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        place, rest = rest[1], rest[2:] or rest
    resource, name, sub = (*rest, "", "")[:3]
    named = query.get("fieldSelector", [""])[0].partition("metadata.name=")[2]
    verb = _VERBS.get(method) or ("get" if name else "watch" if "watch" in query else "list")
    return Grant(verb, group, f"{resource}/{sub}" if sub else resource, place, name or named)


class User:
    """Somebody with a certificate and no right but those that are granted."""

    def __init__(self, cluster: ControlPlane, name: str = "") -> None:
        self.name = name or f"user-{secrets.token_hex(4)}"
        self.kubeconfig = cluster.user(self.name)
        self.environment = {"KUBECONFIG": str(self.kubeconfig)}
        self._cluster = cluster
        self._granted: set[Grant] = set()

    def bind(self, role: str, *namespaces: str) -> None:
        """Give the user a role of docs/rbac.yaml, in these namespaces or in all; return when it counts."""
        for one in (ROLES[role], *(self._binding(role, place) for place in namespaces or [""])):
            self._apply(one)
        granted = next(grant for grant in held(role) if not grant.name)
        self._wait([granted._replace(place=place) for place in namespaces or [""]], ())

    def grant(self, grants: Iterable[Grant]) -> None:
        """Let the user have these rights, and no other of those that were granted so; return when that counts."""
        wanted, name = set(grants), f"{self.name}-own"
        for place in {one.place for one in wanted | self._granted}:
            rules = [one.rule for one in wanted if one.place == place]
            metadata = {"name": name, **({"namespace": place} if place else {})}
            kind = "Role" if place else "ClusterRole"
            role = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "rules": rules}
            self._apply(role)
            self._apply(self._binding(name, place, kind))
        self._wait({one.place: one for one in wanted - self._granted}.values(), self._granted - wanted)
        self._granted = wanted

    def may(self, grant: Grant) -> bool:
        spec = {"user": self.name, "groups": ["system:authenticated"], "resourceAttributes": grant.attributes}
        answer = self._cluster.api("POST", REVIEWS, {"apiVersion": "authorization.k8s.io/v1", "spec": spec})
        allowed: bool = answer["status"]["allowed"]
        return allowed

    def _apply(self, obj: dict[str, Any]) -> None:
        place = obj["metadata"].get("namespace")
        where = f"namespaces/{place}/" if place else ""
        path = f"/apis/{GROUP}/v1/{where}{obj['kind'].lower()}s/{obj['metadata']['name']}?fieldManager=tests"
        self._cluster.api("PATCH", path, obj, APPLY_PATCH)

    def _wait(self, granted: Iterable[Grant], taken: Iterable[Grant]) -> None:
        """A role changes as a whole: one right of each tells, if it was not there before."""
        for wanted, grants in ((True, granted), (False, taken)):
            for one in grants:
                self._cluster.wait(lambda one=one, wanted=wanted: self.may(one) is wanted, f"{one} is {wanted}")

    def _binding(self, role: str, place: str, kind: str = "ClusterRole") -> dict[str, Any]:
        metadata = {"name": f"{self.name}-{role}", **({"namespace": place} if place else {})}
        return {
            "apiVersion": f"{GROUP}/v1",
            "kind": "RoleBinding" if place else "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": self.name}],
        }
