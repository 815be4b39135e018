"""What may stand at the cursor: a function for each name that usage texts give a value."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from kubectl_fsm import commands, fields
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICES,
    STATEFULSETS,
    Cluster,
    Resource,
)
from kubectl_fsm.commands.editing import EditCommand
from kubectl_fsm.completion.cursor import OPTION, VERB, Cursor
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import MESHES
from kubectl_fsm.operations.ranges import CLOUD_METADATA, KUBERNETES_API

_WORKLOADS = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, CRONJOBS)
_PLAIN = re.compile(r"[A-Za-z0-9._:/@,=+%-]+")
"""What means nothing to a shell: a word goes onto a command line as it is, and may come from a cluster."""
_LONGEST = 80
"""Characters of a description."""


class Candidate(NamedTuple):
    """A word, and what it is; that may be empty."""

    text: str
    description: str = ""


class Door(NamedTuple):
    """How to get at what the words lead to: the cluster, and the names in a section of the kubeconfig."""

    connect: Callable[[Arguments], Cluster]
    kubeconfig: Callable[[Arguments, str], Sequence[str]]


@dataclass
class Request:
    """What a source of candidates may look at."""

    cursor: Cursor
    door: Door

    @cached_property
    def cluster(self) -> Cluster:
        return self.door.connect(self.cursor.arguments())

    def names(self, section: str) -> Iterator[Candidate]:
        """The names in a section of the kubeconfig."""
        return map(Candidate, self.door.kubeconfig(self.cursor.arguments(), section))

    def listed(self, *resources: Resource) -> Iterator[tuple[Resource, Object]]:
        """The objects of these kinds in the namespace that is meant, looked for side by side."""
        cluster = self.cluster
        namespace = self.cursor.arguments().text("--namespace") or (cluster.namespace if cluster.remote else "")
        calls = [partial(_all, cluster, kind, namespace) for kind in resources]
        for kind, found in zip(resources, cluster.gather(*calls), strict=True):
            yield from ((kind, obj) for obj in found)


Source = Callable[[Request], Iterable[Candidate]]


def fitting(cursor: Cursor, door: Door) -> Iterator[Candidate]:
    """The candidates that go on with what is typed, in a list with commas its last item. Raises `FsmError`."""
    request, (head, comma, _) = Request(cursor, door), cursor.typed.rpartition(",")
    if cursor.wanted.islower():
        found: Iterable[Candidate] = map(Candidate, cursor.wanted.split("|"))
    else:
        found = SOURCES[cursor.wanted](request) if cursor.wanted in SOURCES else ()
    taken = {*cursor.words.positionals, *head.split(",")} if cursor.wanted != OPTION else set()
    for one in found:
        text = f"{head}{comma}{one.text}"
        if text.startswith(cursor.typed) and one.text not in taken and _PLAIN.fullmatch(one.text):
            yield Candidate(text, " ".join(one.description.split())[:_LONGEST])


def _all(cluster: Cluster, kind: Resource, namespace: str) -> Sequence[Object]:
    return list(cluster.list(kind, namespace))


def _verbs(_: Request) -> Iterator[Candidate]:
    return (Candidate(name, text) for name, text in commands.VERBS.items())


def _options(request: Request) -> Iterator[Candidate]:
    """Those that are not given yet, unless they may be again; a short one only where it is just what is typed."""
    cursor = request.cursor
    for name, option in cursor.known.items():
        again = option.repeatable or option.name not in cursor.words.values
        if again and (name.startswith("--") or name == cursor.typed):
            yield Candidate(name, option.text)


def _formats(request: Request) -> Iterator[Candidate]:
    verb = request.cursor.verb
    return map(Candidate, commands.load(verb).FORMATS if verb in commands.VERBS else ())


def _namespaces(request: Request) -> Iterator[Candidate]:
    for found in request.cluster.list(NAMESPACES):
        labels = fields.labels(found)
        meshes = [f"mesh {labels[one.monitored_label]}" for one in MESHES if one.monitored_label in labels]
        yield Candidate(fields.name(found), ", ".join(meshes))


def _pods(request: Request) -> Iterator[Candidate]:
    return (Candidate(fields.name(obj), "pod") for _, obj in request.listed(PODS))


def _workloads(request: Request) -> Iterator[Candidate]:
    """`deploy/web`; of a kind that is typed, in the word that is typed for it."""
    kind, slash, _ = request.cursor.typed.partition("/")
    kinds = (request.cluster.resource_named(kind),) if slash else _WORKLOADS
    for found, obj in request.listed(*kinds):
        yield Candidate(f"{kind if slash else found.label}/{fields.name(obj)}", found.kind)


def _targets(request: Request) -> Iterator[Candidate]:
    if "/" in request.cursor.typed:
        yield from _workloads(request)
        return
    for kind, obj in request.listed(PODS, *_WORKLOADS):
        name = fields.name(obj)
        yield Candidate(name if kind is PODS else f"{kind.label}/{name}", kind.kind)


def _destinations(request: Request) -> Iterator[Candidate]:
    for _, obj in request.listed(SERVICES):
        for port in fields.items(obj, "spec", "ports"):
            yield Candidate(f"svc/{fields.name(obj)}:{port.get('port')}", fields.text(port, "name") or "Service")


def _configured(request: Request) -> Iterator[Candidate]:
    """What the edit's lists hold now, where it takes values away or puts others in their place."""
    arguments = request.cursor.arguments(**{request.cursor.wanted: ["0"]})
    if not (arguments.flag("--remove") or arguments.flag("--replace")):
        return
    command = commands.load(request.cursor.verb).parse(arguments)
    if isinstance(command, EditCommand):
        yield from (Candidate(value, place) for value, place in command.configured(request.cluster))


def _ranges(request: Request) -> Iterator[Candidate]:
    yield from _configured(request)
    if not request.cursor.arguments().flag("--remove"):
        yield Candidate(KUBERNETES_API, "the API server's ClusterIP")
        yield Candidate(CLOUD_METADATA, "the cloud's metadata service")
        yield from (Candidate(f"svc/{fields.name(obj)}", "its ClusterIP") for _, obj in request.listed(SERVICES))


def _checks(_: Request) -> Iterator[Candidate]:
    from kubectl_fsm.checks.catalogue import CHECKS  # noqa: PLC0415 - 20 ms to load

    return (Candidate(name, check.holds) for name, check in CHECKS.items())


SOURCES: Mapping[str, Source] = {
    VERB: _verbs,
    OPTION: _options,
    "FORMAT": _formats,
    "NAMESPACE": _namespaces,
    "POD": _pods,
    "KIND/NAME": _workloads,
    "TARGET": _targets,
    "FROM": _targets,
    "TO": _destinations,
    "PORT": _configured,
    "RANGE": _ranges,
    "INTERFACE": _configured,
    "CHECKS": _checks,
    "CONTEXT": lambda request: request.names("contexts"),
    "CLUSTER": lambda request: request.names("clusters"),
    "USER": lambda request: request.names("users"),
}
"""By what usage texts call a value; what is not here is a person's own."""
