"""What may stand at the cursor: a function for each name that usage texts give a value."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from kubectl_fsm import commands, fields, workloads
from kubectl_fsm.arguments import Arguments, Words
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
from kubectl_fsm.completion.cursor import OPTION, VERB, Cursor
from kubectl_fsm.errors import FsmError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import MESHES
from kubectl_fsm.operations.ranges import CLOUD_METADATA, KUBERNETES_API
from kubectl_fsm.output.visible import visible_text

_WORKLOADS = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, CRONJOBS)
_PLAIN = re.compile(r"[A-Za-z0-9._:/@,=+%-]+")
"""What means nothing to a shell: a word goes onto a command line as it is, and may come from a cluster."""
_LISTS = ("PORT", "RANGE", "INTERFACE", "CHECKS")
"""What may stand in one word with commas."""
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

    @property
    def everywhere(self) -> bool:
        return self.cursor.arguments().flag("--all-namespaces")

    def names(self, section: str) -> Iterator[Candidate]:
        """The names in a section of the kubeconfig."""
        return map(Candidate, self.door.kubeconfig(self.cursor.arguments(), section))

    def listed(self, *resources: Resource) -> Iterator[tuple[Resource, Object]]:
        """The objects of these kinds in the namespace that is meant, looked for side by side."""
        cluster = self.cluster
        namespace = self.cursor.arguments().text("--namespace") or (cluster.namespace if cluster.remote else "")
        calls = [partial(_readable, cluster, kind, namespace) for kind in resources]
        for kind, found in zip(resources, cluster.gather(*calls), strict=True):
            yield from ((kind, obj) for obj in found)


Source = Callable[[Request], Iterable[Candidate]]


def fitting(cursor: Cursor, door: Door) -> Iterator[Candidate]:
    """The candidates that go on with what is typed, in a list its last item; as many as there are before something fails.

    In a list they are without descriptions: kubectl's script for bash loses words with both.
    """
    head, comma, _ = cursor.typed.rpartition(",") if cursor.wanted in _LISTS else ("", "", "")
    taken = {*cursor.beside, *head.split(",")}
    with suppress(FsmError):
        for one in _found(Request(cursor, door)):
            text = f"{head}{comma}{one.text}"
            is_fit = text.startswith(cursor.typed) and one.text not in taken and _PLAIN.fullmatch(one.text)
            if is_fit and one.text.startswith("-") == (cursor.wanted == OPTION):
                described = visible_text(" ".join(one.description.split()))[:_LONGEST]
                yield Candidate(text, "" if comma else described)


def _found(request: Request) -> Iterable[Candidate]:
    wanted = request.cursor.wanted
    if wanted.islower():
        return map(Candidate, wanted.split("|"))
    return SOURCES[wanted](request) if wanted in SOURCES else ()


def _readable(cluster: Cluster, kind: Resource, namespace: str) -> Sequence[Object]:
    """The objects of a kind; none where they cannot be listed, for which others may be."""
    with suppress(FsmError):
        return list(cluster.list(kind, namespace))
    return ()


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
    """`deploy/web`; of a kind that is typed, in the word that is typed for it. No core kind but pods has a template."""
    kind, slash, _ = request.cursor.typed.partition("/")
    kinds = (request.cluster.resource_named(kind),) if slash else _WORKLOADS
    if request.everywhere or not (kinds[0].group or kinds[0] is PODS):
        return
    for found, obj in request.listed(*kinds):
        yield Candidate(f"{kind if slash else found.label}/{fields.name(obj)}", found.kind)


def _targets(request: Request) -> Iterator[Candidate]:
    """A target by name needs its namespace, so there is none in all of them."""
    if "/" in request.cursor.typed or request.everywhere:
        yield from _workloads(request)
        return
    for kind, obj in request.listed(PODS, *_WORKLOADS):
        name = fields.name(obj)
        yield Candidate(name if kind is PODS else f"{kind.label}/{name}", kind.kind)


def _destinations(request: Request) -> Iterator[Candidate]:
    """A Service by its ports, a workload or pod by those that its containers name."""
    for kind, obj in request.listed(SERVICES, PODS, *_WORKLOADS):
        name = fields.name(obj) if kind is PODS else f"{kind.label}/{fields.name(obj)}"
        if kind is SERVICES:
            ports = [(port.get("port"), port) for port in fields.items(obj, "spec", "ports")]
        else:
            spec = obj if kind is PODS else fields.mapping(obj, *(workloads.template_path(obj) or ()))
            containers = fields.items(spec, "spec", "containers")
            ports = [(port.get("containerPort"), port) for one in containers for port in fields.items(one, "ports")]
        for number, port in ports:
            yield Candidate(f"{name}:{number}", fields.text(port, "name") or kind.kind)


def _configured(request: Request) -> Iterator[Candidate]:
    """What the edit's lists hold now, where it takes values away or puts others in their place."""
    given = request.cursor.words.values
    if "--remove" not in given and "--replace" not in given:
        return
    from kubectl_fsm.commands.editing import EditCommand  # noqa: PLC0415 - 50 ms to load, and words alone need none of it

    values = {name: value for name, value in given.items() if name != "--replace"} | {"--remove": []}
    removal = request.cursor._replace(words=Words(values, ()))  # to be taken out, a value may be anything
    command = commands.load(request.cursor.verb).parse(removal.arguments(**{request.cursor.wanted: ["0"]}))
    if isinstance(command, EditCommand):
        yield from (Candidate(value, place) for value, place in command.configured(request.cluster))


def _ranges(request: Request) -> Iterator[Candidate]:
    if "--remove" not in request.cursor.words.values:
        yield Candidate(KUBERNETES_API, "the API server's ClusterIP")
        yield Candidate(CLOUD_METADATA, "the cloud's metadata service")
        yield from (Candidate(f"svc/{fields.name(obj)}", "its ClusterIP") for _, obj in request.listed(SERVICES))
    yield from _configured(request)


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
