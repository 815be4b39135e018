"""What a pod's rules are: those it runs, read from its init container, and those that the next pod will get."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm import fields, generator, workloads
from kubectl_fsm.errors import InvalidExclusion, InvalidObject, RulesSyntaxError
from kubectl_fsm.exclusions import Effective, Entry, Settings, effective
from kubectl_fsm.fields import Object
from kubectl_fsm.generator import Line
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    INBOUND_LISTENER,
    INBOUND_PORTS,
    INCLUDED_RANGES,
    INJECTED_VOLUME,
    INJECTORS,
    INTERFACES,
    LISTS,
    MESHES,
    OUTBOUND_PORTS,
    ExclusionList,
    Injector,
    Installation,
    Item,
    Mesh,
)
from kubectl_fsm.netfilter.model import (
    Append,
    Dnat,
    Goto,
    Insert,
    Jump,
    Plain,
    Redirect,
    Reject,
    Rule,
    Ruleset,
    SetMark,
    Target,
    apply,
)
from kubectl_fsm.netfilter.script import read, write

YES = ("enabled", "yes", "true")
_NO = ("disabled", "no", "false")
UNMESHED = ("kube-system", "kube-public")
"""Namespaces that no mesh takes pods of."""
_PROGRAMS = "|".join(dict.fromkeys(mesh.program for mesh in MESHES))
_ROLE = re.compile(rf"(?i)(?:(?:{_PROGRAMS})_)?PROXY_(INBOUND|IN_REDIRECT|OUTBOUND|OUTPUT|OUT_REDIRECT|REDIRECT)")
_PREFIX = re.compile(rf"(?i)\b(?:{_PROGRAMS})_PROXY_")
_LOOPBACK = "127.0.0.1/32"
_HOOKS = ("OUTPUT", "PREROUTING")
"""Where packets of a pod meet its rules."""


class Injection(NamedTuple):
    """Whether the injector will add the sidecar to a pod, and why (not); `refused` where it answers with an error."""

    injected: bool
    reason: str = ""
    refused: bool = False


class Running(NamedTuple):
    """What a pod's init container programs; `injectors` are the generations that write just these rules, maybe none."""

    script: str
    ruleset: Ruleset
    effective: Effective
    injectors: Sequence[Injector]
    warnings: Sequence[str]


def injection(pod: Object, namespace: Object | None, installation: Installation) -> Injection:
    """Whether the injector adds the sidecar to a pod made from this template in this namespace.

    A pod that carries the mesh's init container stands for the manifest it was made from, without what was injected.
    Without the Namespace object (files may lack it) the namespace counts as part of the mesh and as enabled.
    """
    return next(_verdicts(pod, namespace, installation))


def surroundings(name: str, namespace: Object | None, installation: Installation) -> Object | None:
    """The Namespace object of that name; where it is not shown, one by its name alone if that keeps its pods out."""
    if namespace is None and name in (*UNMESHED, installation.namespace):
        return {"metadata": {"name": name}}
    return namespace


def _verdicts(pod: Object, namespace: Object | None, installation: Installation) -> Iterator[Injection]:
    """The injector's questions in its order; the first verdict counts."""
    mesh = installation.mesh
    key = mesh.injection_key
    asked = _switch(fields.annotations(pod), key, "pod")
    if fields.mapping(pod, "spec").get("hostNetwork") is True:
        yield Injection(False, "it is on the host network")
    volumes = [volume.get("name") for volume in fields.items(pod, "spec", "volumes")]
    if INJECTED_VOLUME in volumes and not carries(pod, mesh):
        yield Injection(False, f"its spec already holds the volume {INJECTED_VOLUME}")
    if namespace is None:
        yield asked or Injection(True, "its namespace is not shown and taken as part of the mesh")
        return
    if outside := _outside(namespace, installation):
        yield Injection(False, outside)
    annotations = fields.annotations(namespace)
    wanted = _switch(annotations, key, "namespace")
    for said in (asked, wanted):
        if said and said.refused:
            yield said
    decided = asked or wanted or Injection(False, f"neither the pod nor its namespace is annotated {key}: enabled")
    metrics = annotations.get(mesh.metrics_key) or "enabled"  # an empty value is as good as none
    if decided.injected and installation.adds_sidecar and answer(metrics) is None:
        yield Injection(False, f"the namespace's annotation {mesh.metrics_key} is {metrics!r}: pods are refused", True)
    yield decided


def _outside(namespace: Object, installation: Installation) -> str:
    """Why a namespace is not part of the mesh; empty where it is."""
    mesh, labels, name = installation.mesh, fields.labels(namespace), fields.name(namespace)
    label = labels.get(mesh.monitored_label)
    if name in UNMESHED or name == installation.namespace:
        return f"the mesh leaves namespace {name} alone"
    if label is None:
        return f"namespace {name} is not labelled {mesh.monitored_label}"
    if installation.name and label != installation.name:
        return f"namespace {name} belongs to mesh {label}"
    for ignored in ignoring(namespace, mesh):
        return f"namespace {name} is labelled {ignored}"
    return ""


def ignoring(namespace: Object, mesh: Mesh) -> Sequence[str]:
    """The labels of a namespace that keep its pods out of the mesh whatever else it says."""
    return [key for key in (mesh.ignore_label, "control-plane") if key in fields.labels(namespace)]


def answer(value: str) -> bool | None:
    """What the injector reads in the value of an annotation that switches something; None where it refuses the pod."""
    said = value.lower()
    return True if said in YES else False if said in _NO else None


def _switch(annotations: Mapping[str, str], key: str, where: str) -> Injection | None:
    """What an injection annotation says; None where there is none."""
    if key not in annotations:
        return None
    value = annotations[key]
    said = answer(value)
    if said is None:
        return Injection(False, f"the {where}'s annotation {key} is {value!r}: the injector refuses the pod", True)
    return Injection(said, "" if said else f"the {where} is annotated {key}: {value}")


def carries(pod: Object, mesh: Mesh) -> bool:
    """Whether the pod has the mesh's init container."""
    return workloads.init_container(pod, mesh.init_container) is not None


def running(pod: Object, mesh: Mesh) -> Running | None:
    """What the pod's init container programs; None for a pod without one.

    Raises `RulesSyntaxError` where the container runs anything but a script of rules.
    """
    container = workloads.init_container(pod, mesh.init_container)
    if container is None:
        return None
    text = workloads.script(container)
    if not text:
        raise RulesSyntaxError(f"init container {mesh.init_container} does not run `sh -c SCRIPT`")
    return read_script(text)


@lru_cache(maxsize=256)
def read_script(text: str) -> Running:
    """What a script programs; many pods have the same, which is read once. Raises `RulesSyntaxError`."""
    script = read(text)
    ruleset = apply(script.operations)
    for hook in _HOOKS:  # what loops or branches without end is no more to be explained or simulated than to be loaded
        for _ in ruleset.walk(hook):
            pass
    entries, settings = _entries(ruleset)
    found = Effective(tuple(entries), settings)
    rules = [operation for operation in script.operations if isinstance(operation, Append | Insert)]
    written = {(_spelled(rule.chain), _spelled(write(rule.rule))) for rule in rules}
    injectors = [
        known for known in INJECTORS.values() if _can_write(known, found) and set(_whys(known, found)) == written
    ]
    misprint = next((rule.chain for rule in rules if rule.chain != _spelled(rule.chain)), "")
    warnings = [*script.warnings, f"chain {misprint} is spelled as in the documentation; no release writes it so"]
    return Running(text, ruleset, found, injectors, warnings if misprint else script.warnings)


def _can_write(injector: Injector, found: Effective) -> bool:
    """Whether the injector reads every list and setting that was found, so that its rules can hold them."""
    settings = found.settings
    lists = all(entry.list in injector.lists for entry in found.entries)
    return lists and injector.pod_ip >= settings.pod_ip and injector.dns_proxy >= settings.dns_proxy


def _spelled(text: str) -> str:
    """The text with chain names spelled as the injectors do (`FSM_PROXY_…`, where a page prints `fsm_PROXY_…`)."""
    return _PREFIX.sub(lambda found: found[0].upper(), text)


def _whys(injector: Injector, wanted: Effective) -> Mapping[tuple[str, str], Line]:
    lines: dict[tuple[str, str], Line] = {}
    for line in generator.lines(injector, wanted):
        lines.setdefault((line.chain, line.rule), line)
    return lines


def _entries(ruleset: Ruleset) -> tuple[Sequence[Entry], Settings]:
    """The entries behind the rules that are not the injector's own.

    A rule is an entry by its one match: an interface, a range or a multiport list that returns or, for an included
    range, is redirected. Loopback is the injector's own once, whatever comes again is an entry.
    """
    entries: list[Entry] = []
    loopback = 0
    settings = Settings()
    for chain in ruleset.tables["nat"].values():
        role = _role(chain.name)
        for rule in chain.rules:
            text = write(rule)
            if text == f"-d {_LOOPBACK} -j RETURN":
                loopback += 1
                if loopback == 1:
                    continue
            if chain.name == "OUTPUT" and "DNAT" in text:
                settings = Settings(settings.pod_ip or "-o lo" in text, settings.dns_proxy or "-p udp" in text)
            entries += _entry(role, text)
    return entries, settings


_ENTRY_RULES: Sequence[tuple[str, ExclusionList, re.Pattern[str]]] = [
    ("inbound", INTERFACES, re.compile(r"-i (\S+) -j RETURN")),
    ("inbound", INBOUND_PORTS, re.compile(r"-p tcp (?:--match|-m) multiport --dports (\S+) -j RETURN")),
    ("outbound", EXCLUDED_RANGES, re.compile(r"-d (\S+) -j RETURN")),
    ("outbound", OUTBOUND_PORTS, re.compile(r"-p tcp (?:--match|-m) multiport --dports (\S+) -j RETURN")),
    ("outbound", INCLUDED_RANGES, re.compile(r"-d (\S+) -j (?!RETURN)\S+")),
]


def _entry(role: str, text: str) -> Iterator[Entry]:
    for wanted, exclusion_list, pattern in _ENTRY_RULES:
        found = pattern.fullmatch(text) if role == wanted else None
        if found and exclusion_list.item is Item.PORT:
            yield from (Entry(exclusion_list, port) for port in found[1].split(","))
        elif found:
            yield Entry(exclusion_list, found[1])


def _role(chain: str) -> str:
    """`inbound`, `outbound`, `redirect` or empty, by the chain's name in any spelling."""
    found = _ROLE.fullmatch(chain)
    if not found:
        return ""
    name = found[1].upper()
    return {"INBOUND": "inbound", "OUTBOUND": "outbound", "OUTPUT": "outbound"}.get(name, "redirect")


class Explained(NamedTuple):
    """A rule in order of evaluation, at its `position` (from 1) in `chain`, with what it means.

    `effect` says who takes the connection. `decides` is False for jumps into a chain that is shown rule by rule, and
    inside the chains that only redirect: the jump to such a chain has decided already.
    """

    hook: str
    chain: str
    position: int
    rule: Rule
    effect: str
    why: str
    entries: tuple[Entry, ...]
    decides: bool


def explain(ruleset: Ruleset, injector: Injector | None, wanted: Effective) -> Iterator[Explained]:
    """Every rule in order of evaluation, with the generator's why and the entries it stands for."""
    whys = _whys(injector, wanted) if injector else {}
    for hook in _HOOKS:
        seen: set[tuple[str, Rule]] = set()
        for step in ruleset.walk(hook):
            if _role(step.chain) == "redirect" and (step.chain, step.rule) in seen:
                continue
            seen.add((step.chain, step.rule))
            line = whys.get((_spelled(step.chain), _spelled(write(step.rule)))) or Line(
                "", "", "", "not a rule that the mesh writes"
            )
            effect, decides = _effect(step.rule, ruleset)
            decides = decides and _role(step.chain) != "redirect"
            yield Explained(hook, step.chain, step.position, step.rule, effect, line.why, line.entries, decides)


def _effect(rule: Rule, ruleset: Ruleset) -> tuple[str, bool]:
    """Who takes the connection that the rule matches, and whether the rule decides that."""
    target = rule.target
    if isinstance(target, Jump | Goto):
        first = ruleset.tables["nat"][target.chain].rules[:1]
        if first and isinstance(first[0].target, Redirect):
            return _effect(first[0], ruleset)[0], True
        return f"go on in {target.chain}", False
    if isinstance(target, Redirect):
        return ("sidecar inbound" if target.port == INBOUND_LISTENER else "sidecar outbound"), True
    if isinstance(target, Dnat):
        return f"rewritten to {target.address}", True
    if isinstance(target, Plain | Reject):
        return _EFFECTS.get(target, "reject"), True
    return "marked" if isinstance(target, SetMark) else "logged", False


_EFFECTS: Mapping[Target, str] = {Plain.ACCEPT: "direct", Plain.RETURN: "direct", Plain.DROP: "drop"}


class Upcoming(NamedTuple):
    """What the next pod will run: `wanted`, or the `state` that it will be in without such rules, and the `reason`.

    `state` is `template`, `refused`, `not-injected` or `no-interception`.
    """

    wanted: Effective | None
    state: str = "template"
    reason: str = ""


def upcoming(
    template: Object, namespace: Object | None, installation: Installation, spec: Object, source: str = "pod annotation"
) -> Upcoming:
    """What a pod made from the template now will run, by the MeshConfig's spec; `source` is the name of its annotations."""
    verdict = injection(template, namespace, installation)
    if verdict.refused:
        return Upcoming(None, "refused", verdict.reason)
    if not verdict.injected:
        return Upcoming(None, "not-injected", verdict.reason)
    if not installation.intercepts:
        return Upcoming(None, "no-interception", f"interceptionMode {installation.mode or '(none)'}")
    try:
        return Upcoming(effective(installation.injector, fields.annotations(template), spec, pod_source=source))
    except InvalidExclusion as error:
        return Upcoming(None, "refused", f"the injector refuses the next pod: {error.message}")


class Comparison:
    """Pods against what their configuration asks for now; each distinct script is read once."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def outdated(self, pods: Sequence[Object], annotations: Mapping[str, str], spec: Object) -> int:
        """How many of the pods have the mesh's init container with rules other than the next pod would get."""
        wanted = self._wanted(annotations, spec)
        return sum(runs is None or wanted is None or differs(runs, wanted) for runs in self._running(pods))

    def pending(self, pods: Sequence[Object], annotations: Mapping[str, str], spec: Object) -> Sequence[str]:
        """What the next pod gains and loses against any of these, as `difference` has it; nothing where that is unknown."""
        wanted = self._wanted(annotations, spec)
        texts = [text for runs in self._running(pods) if runs and wanted for text in difference(runs, wanted)]
        return list(dict.fromkeys(texts))

    def _running(self, pods: Sequence[Object]) -> Iterator[Effective | None]:
        return (self.runs(pod) for pod in pods if carries(pod, self._installation.mesh))

    def _wanted(self, annotations: Mapping[str, str], spec: Object) -> Effective | None:
        try:
            return effective(self._installation.injector, annotations, spec) if self._installation.intercepts else None
        except (InvalidExclusion, InvalidObject):
            return None

    def runs(self, pod: Object) -> Effective | None:
        """What the pod's init container programs; None where it has none, or one that cannot be read."""
        container = workloads.init_container(pod, self._installation.mesh.init_container)
        if container is None:
            return None
        try:
            return read_script(workloads.script(container)).effective
        except RulesSyntaxError:
            return None


def difference(runs: Effective, wanted: Effective) -> Sequence[str]:
    """What the next pod gains and loses: `+6379 outbound-port`, `-10.0.0.0/8 outbound-ip`, `+local-proxy-mode PodIP`."""
    old, new = runs.keys(), wanted.keys()
    gained = [("+", entry) for entry in wanted.entries if entry.key not in old]
    lost = [("-", entry) for entry in runs.entries if entry.key not in new]
    entries = [
        f"{sign}{entry.value} {found.name}"
        for found in LISTS
        for sign, entry in (*gained, *lost)
        if entry.list is found
    ]
    before, after = runs.settings, wanted.settings
    switches = (
        ("local-proxy-mode PodIP", before.pod_ip, after.pod_ip),
        ("local-dns-proxy", before.dns_proxy, after.dns_proxy),
    )
    return [*entries, *(f"{'+' if comes else '-'}{name}" for name, was, comes in switches if was != comes)]


def differs(runs: Effective, wanted: Effective) -> bool:
    """Whether two unions lead to different rules: compared as sets of entries, not as text."""
    return runs.keys() != wanted.keys() or runs.settings != wanted.settings
