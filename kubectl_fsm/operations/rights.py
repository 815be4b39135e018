"""Rights in RBAC's words: what a command asks for, and all that its user lacks of it, told at once."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import Cluster, Resource
from kubectl_fsm.errors import Forbidden, FsmError

READ, ORACLE = "kubectl-fsm-read", "kubectl-fsm-oracle"
EDIT, RESTART = "kubectl-fsm-edit", "kubectl-fsm-restart"
"""The ClusterRoles of `docs/rbac.yaml` by what their verbs do."""

_REVIEWS = Resource("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False)


class Right(NamedTuple):
    """To do `verb` to objects of a kind, or to a `subresource` of theirs: in one namespace or all, one `name` or all."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def target(self) -> str:
        """`deployments.apps`, `pods/eviction`."""
        return f"{self.resource.qualified}/{self.subresource}" if self.subresource else self.resource.qualified

    @property
    def place(self) -> str:
        """` in shop (web)`: where, and which one."""
        where = f" in {self.namespace or 'all namespaces'}" if self.resource.namespaced else ""
        return f"{where} ({self.name})" if self.name else where

    def __str__(self) -> str:
        return f"{self.verb} {self.target}{self.place}"


class Need(NamedTuple):
    """A right that a command asks for.

    `without` says what becomes of its answer where the right is missing; empty where there is none then.
    """

    right: Right
    without: str = ""


class Rights(NamedTuple):
    """What a command needs, with a `note` on that, and the ClusterRoles that hold it."""

    roles: Sequence[str]
    needs: Sequence[Need]
    note: str = ""


def lacking(cluster: Cluster, needs: Sequence[Need]) -> Sequence[Need]:
    """Those whose right the user does not have, what is needed first, each once. Raises as `Cluster.create`."""
    known: dict[Right, str] = {}
    for need in sorted(needs, key=lambda need: bool(need.without)):
        known.setdefault(*need)
    allowed = cluster.gather(*(partial(_allowed, cluster, right) for right in known))
    return [Need(*item) for item, granted in zip(known.items(), allowed, strict=True) if not granted]


def explain(error: FsmError, cluster: Cluster, asked: Rights) -> None:
    """Have an error's hint name every right that the command lacks; where it lacks none it could not do without, leave it.

    Raises what asking the API server raises.
    """
    found = lacking(cluster, asked.needs)
    missing = [need.right for need in found if not need.without]
    if not missing:
        return
    known = {right._replace(name="") for right in missing}
    losses = [need for need in found if need.without and need.right._replace(name="") not in known]
    told = isinstance(error, Forbidden) and _target(error) in [right.resource.qualified for right in missing]
    roles = f"ClusterRole{'s' if len(asked.roles) > 1 else ''} {' and '.join(asked.roles)}"
    lines = [
        *([error.hint] if error.hint and not told else []),
        f"these rights are missing{f' ({asked.note})' if asked.note else ''}:",
        *(f"  {right}" for right in missing if not right.name or right._replace(name="") not in missing),
        *_losses(losses),
        f"ask for them, or for {roles} of docs/rbac.yaml",
    ]
    error.hint = "\n".join(lines)


def _losses(needs: Sequence[Need]) -> Iterator[str]:
    """What the command works without, a line for each loss."""
    if needs:
        yield "it works without these, but less well:"
    lines: dict[tuple[str, str, str], list[str]] = {}
    for right, without in needs:
        lines.setdefault((right.verb, right.place, without), []).append(right.target)
    for (verb, place, without), targets in lines.items():
        yield f"  {verb} {', '.join(targets)}{place}: {without}"


def _target(error: Forbidden) -> str:
    """`deployments.apps`, of the request that the server refused."""
    details = error.details if isinstance(error.details, dict) else {}
    return ".".join(part for part in (fields.text(details, "kind"), fields.text(details, "group")) if part)


def _allowed(cluster: Cluster, right: Right) -> bool:
    resource = right.resource
    attributes = {
        "verb": right.verb,
        "group": resource.group,
        "version": resource.version,
        "resource": resource.plural,
        "subresource": right.subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    review = {
        "apiVersion": _REVIEWS.api_version,
        "kind": _REVIEWS.kind,
        "spec": {"resourceAttributes": attributes},
    }
    return fields.boolean(cluster.create(_REVIEWS, "", review), "status", "allowed") is True
