"""What one pod runs, what the next one will run, and why: the `rules` of a pod."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kubectl_fsm import fields, generator, interception, workloads
from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.exclusions import Effective, Entry, Settings, problems
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Injection, Running, Upcoming
from kubectl_fsm.meshes import EXCLUDED_RANGES, INCLUDED_RANGES, LISTS, MESHES, Injector, Installation
from kubectl_fsm.netfilter.model import NAT, Chain, Ruleset
from kubectl_fsm.netfilter.script import parse, write
from kubectl_fsm.netfilter.shadows import Shadow, shadowed
from kubectl_fsm.netfilter.text import describe
from kubectl_fsm.operations import annotations, hints, meshes
from kubectl_fsm.operations.breadth import Breadth
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import EntryState, PodRules, RuleLine, SettingState

_HOOKS = {"OUTPUT": "OUTBOUND", "PREROUTING": "INBOUND"}
_NOTHING = Effective((), Settings())
_RUNNING = ("current", "outdated", "unknown")
"""States in which a pod has the rules that its init container names."""


class _Runs(NamedTuple):
    """What a pod runs: `found` where its init container could be read, else `broken` says why not."""

    found: Running | None = None
    broken: str = ""
    failed: str = ""


class Situation(NamedTuple):
    """A pod, or the subject's next one: its `state` with the `reason`, what it runs, and what the next one will.

    `now` is None where no rules are in force or they cannot be read; `coming.wanted` None where the next pod has none.
    `next_script` is the next pod's script, `refused` what would keep that pod from starting with it.
    """

    state: str
    reason: str
    sidecar: str
    script: str
    now: Running | None
    warnings: Sequence[str]
    coming: Upcoming
    next_script: str
    refused: Sequence[str]
    installation: Installation

    @property
    def injector(self) -> Injector:
        """The generation whose rules `now` are, else the installation's."""
        writers = self.now.injectors if self.now else ()
        return writers[0] if writers and self.installation.injector not in writers else self.installation.injector

    @property
    def known(self) -> Effective:
        """What the pod runs (of a pod that runs nothing: what it will), with the sources that the configuration tells."""
        shown = self.now.effective if self.now else self.coming.wanted or _NOTHING
        return _sourced(shown, self.coming.wanted if self.installation.config else None)


def situation(subject: Subject, pod: Object | None, namespace: Object | None, installation: Installation) -> Situation:
    """How it stands with a pod, or with the subject's next pod where `pod` is None or has never run."""
    namespace = interception.surroundings(subject.workload.namespace, namespace, installation)
    injection = interception.injection(subject.template, namespace, installation)
    source = "pod annotation" if subject.workload.bare else f"{subject.workload.label} template"
    coming = interception.upcoming(subject.template, namespace, installation, installation.spec, source)
    ran = pod if pod is not None and fields.mapping(pod, "status") else None
    runs = _runs(ran, installation) if ran is not None else _Runs()
    state, reason = _state(ran, runs, coming, injection, installation)
    next_script, refused = _next_script(coming.wanted, installation.injector)
    return Situation(
        state=state,
        reason=reason,
        sidecar=workloads.container_readiness(ran, installation.mesh.sidecar) if ran is not None else "",
        script=runs.found.script if runs.found else "",
        now=runs.found if state in _RUNNING else None,
        warnings=runs.found.warnings if runs.found else (),
        coming=coming,
        next_script=next_script,
        refused=refused,
        installation=installation,
    )


def likeness(pod: Object, installation: Installation) -> object:
    """What two pods of one workload share if they stand alike."""
    mesh, injector = installation.mesh, installation.injector
    container = workloads.init_container(pod, mesh.init_container)
    own = fields.annotations(pod)
    return (
        workloads.script(container) if container else None,
        workloads.failure(pod, mesh.init_container),
        workloads.succeeded(pod, mesh.init_container),
        mesh.uuid_label in fields.labels(pod),
        *(fields.text(one, "name") for one in fields.parts(pod, "spec", "initContainers")),
        *(own.get(injector.annotation(found)) for found in injector.pod_lists),
    )


def pod_rules(
    subject: Subject,
    pod: Object | None,
    namespace: Object | None,
    installation: Installation,
    words: Sequence[str] = (),
    *,
    shadows: bool = True,
) -> PodRules:
    """The effective rules of a pod, or of the subject's next pod where `pod` is None or has never run.

    `words` are those of a command line that lead another command to the same cluster. Without `shadows`, which take
    time by the square of the rules, no rule is said to be shadowed.
    """
    found = situation(subject, pod, namespace, installation)
    now, coming = found.now, found.coming
    ruleset = now.ruleset if now else None
    if found.state == "template" and found.next_script and not found.refused:
        ruleset = parse(found.next_script)
    wanted = now.effective if now and found.state == "unknown" else coming.wanted
    return PodRules(
        pod=fields.name(pod) if pod is not None else "",
        namespace=subject.workload.namespace,
        workload="" if subject.workload.bare else subject.workload.label,
        mesh=installation.mesh.name,
        mesh_version=installation.version,
        mesh_namespace=installation.namespace,
        injector=found.injector.name,
        state=found.state,
        reason=found.reason,
        sidecar=found.sidecar,
        exclusions=_entries(now.effective if now else None, wanted),
        settings=_settings(now.effective if now else None, wanted),
        rules=_rules(ruleset, found, shadows=shadows) if ruleset else (),
        notes=[*found.refused, *_notes(subject, pod, found, namespace)],
        apply=hints.apply(subject.workload, words)
        if found.state == "outdated" and coming.wanted and not found.refused
        else "",
        replicas=workloads.replicas(subject.workload.top.object),
        script=found.script,
        next_script=found.next_script,
    )


def _runs(pod: Object, installation: Installation) -> _Runs:
    failed = workloads.failure(pod, installation.mesh.init_container)
    try:
        return _Runs(interception.running(pod, installation.mesh), failed=failed)
    except RulesSyntaxError as error:
        return _Runs(broken=error.message, failed=failed)


def _state(
    pod: Object | None, runs: _Runs, coming: Upcoming, injection: Injection, installation: Installation
) -> tuple[str, str]:
    """State and the plain answer behind it."""
    if pod is None:
        return coming.state, coming.reason
    if runs.failed:
        return "failed", runs.failed
    if runs.broken and workloads.succeeded(pod, installation.mesh.init_container):
        return "external", f"its init container ran something else than an injector writes: {runs.broken}"
    if runs.broken:
        return "failed", f"its init container's script cannot work: {runs.broken}"
    if runs.found is None:
        return _uncovered(pod, injection, installation)
    return _compared(runs.found.effective, coming, installation)


def _compared(runs: Effective, coming: Upcoming, installation: Installation) -> tuple[str, str]:
    """The state of a pod that runs rules of this mesh."""
    if not installation.config:
        return "unknown", "there is no MeshConfig in the files to compare it with"
    if coming.wanted is None:
        return "outdated", f"the next pod will have no such rules: {coming.reason}"
    return ("outdated" if interception.differs(runs, coming.wanted) else "current"), ""


def _uncovered(pod: Object, injection: Injection, installation: Installation) -> tuple[str, str]:
    """The state of a pod without this mesh's init container."""
    if others := [mesh.title for mesh in MESHES if interception.carries(pod, mesh)]:
        return "external", f"its rules are those of another mesh ({' or '.join(others)})"
    if installation.mesh.uuid_label not in fields.labels(pod):
        late = "it was made before it could be injected; the next pod will be"
        return "not-injected", late if injection.injected else injection.reason
    if workloads.on_windows(pod):
        return "no-interception", "Windows pods get no init container"
    if not installation.intercepts:
        return "no-interception", f"interceptionMode {installation.mode or '(none)'}"
    return "external", "it is injected but has no init container: its rules come from elsewhere"


def _entries(runs: Effective | None, wanted: Effective | None) -> Sequence[EntryState]:
    """Entries of both unions, list by list: programmed, pending or leaving."""
    now = {entry.key: entry for entry in (runs or _NOTHING).entries}
    then = {entry.key: entry for entry in (wanted or _NOTHING).entries}
    states = []
    for exclusion_list in LISTS:
        for key, entry in {**now, **then}.items():
            if entry.list is not exclusion_list:
                continue
            state = "programmed" if key in now and key in then else "pending" if key in then else "leaving"
            value = now[key].value if key in now else entry.value
            states.append(EntryState(exclusion_list.name, value, then[key].sources if key in then else (), state))
    return states


def _settings(runs: Effective | None, wanted: Effective | None) -> Sequence[SettingState]:
    now, then = (runs or _NOTHING).settings, (wanted or _NOTHING).settings
    pairs = (("local-proxy-mode PodIP", now.pod_ip, then.pod_ip), ("local-dns-proxy", now.dns_proxy, then.dns_proxy))
    return [SettingState(name, running, configured) for name, running, configured in pairs if running or configured]


def _sourced(shown: Effective, wanted: Effective | None) -> Effective:
    """The entries with the sources that the configuration gives them."""
    sources = {entry.key: entry.sources for entry in (wanted or _NOTHING).entries}
    entries = tuple(Entry(entry.list, entry.value, sources.get(entry.key, ())) for entry in shown.entries)
    return shown._replace(entries=entries)


def _next_script(wanted: Effective | None, injector: Injector) -> tuple[str, Sequence[str]]:
    """The next pod's script, and what would keep the pod from starting with it."""
    if wanted is None:
        return "", ()
    found = [f"the next pod will not start: {problem.text}" for problem in problems(wanted)]
    return generator.script(injector, wanted), found


def _rules(ruleset: Ruleset, situation: Situation, *, shadows: bool) -> Sequence[RuleLine]:
    because = _shadows(tuple(ruleset.tables[NAT].values())) if shadows else {}
    return [
        RuleLine(
            hook=_HOOKS[found.hook],
            chain=found.chain,
            rule=write(found.rule),
            match=describe(found.rule),
            effect=found.effect,
            why=found.why,
            sources=list(dict.fromkeys(source for entry in found.entries for source in entry.sources)),
            decides=found.decides,
            shadowed_by=str(because.get((found.chain, found.position), "")),
        )
        for found in interception.explain(ruleset, situation.injector, situation.known)
    ]


@lru_cache(maxsize=64)
def _shadows(chains: tuple[Chain, ...]) -> Mapping[tuple[str, int], Shadow]:
    """Why rules of these chains never match, by chain and position: looked for once, however many pods run the same."""
    ruleset = Ruleset({NAT: {chain.name: chain for chain in chains}})
    return {(found.chain, found.position): found for found in shadowed(ruleset)}


class Idle(NamedTuple):
    """An entry that does nothing. `text` says why, and goes on from its name.

    `kind` is `twin` of what an earlier one says in other words, `covered` where something else does the same to all that
    it is for, `overridden` where an earlier rule does something else to it, `outside` for what is excluded where nothing
    is intercepted anyway.
    """

    entry: Entry
    kind: str
    text: str


def idle(coming: Upcoming, script: str) -> Iterator[str]:
    """What to say of the entries of the next pod, whose script is given, that do nothing or are there twice."""
    wanted = coming.wanted or _NOTHING
    found = {one.entry: one for one in idle_entries(wanted, script)}
    for entry in wanted.entries:
        if len(entry.sources) > 1:
            yield f"{entry.list.name} {entry.value} is in {' and '.join(entry.sources)}: one of them is enough"
        if entry in found:
            yield f"{entry.list.name} {entry.value} ({', '.join(entry.sources)}) {found[entry].text}"


def idle_entries(wanted: Effective, script: str) -> Iterator[Idle]:
    """The entries of a union that do nothing, given the script that it leads to; none where that is empty."""
    shadows = _shadowed(script) if script else {}
    breadths = {found: Breadth(wanted.of(found)) for found in dict.fromkeys(entry.list for entry in wanted.entries)}
    included = breadths.get(INCLUDED_RANGES)
    said: dict[object, str] = {}
    for entry in wanted.entries if script else ():
        first = said.setdefault(entry.key, entry.value)
        wider = breadths[entry.list].wider(entry)
        outside = entry.list is EXCLUDED_RANGES and included and not included.overlaps(entry)
        if first != entry.value:
            yield Idle(entry, "twin", f"means the same as {first}")
        elif entry.key in shadows:
            by, alike = shadows[entry.key]
            yield Idle(entry, "covered" if alike else "overridden", f"never matches: {by}")
        elif wider:
            yield Idle(entry, "covered", f"adds nothing to {wider.value}")
        elif outside:
            yield Idle(entry, "outside", "is outside the included ranges: nothing there is intercepted anyway")


@lru_cache(maxsize=64)
def _shadowed(script: str) -> Mapping[object, tuple[str, bool]]:
    """Entries no rule of which ever matches in a script: what takes all they would, and whether it does the same."""
    found = interception.read_script(script)
    because = _shadows(tuple(found.ruleset.tables[NAT].values()))
    explained = [*interception.explain(found.ruleset, next(iter(found.injectors), None), found.effective)]
    effects = {(one.chain, one.rule): one.effect for one in explained}
    taken: dict[object, tuple[str, bool]] = {}
    matching: set[object] = set()
    for one in explained:
        by = because.get((one.chain, one.position))
        keys = {entry.key for entry in one.entries if one.rule.matches}
        if by is None:
            matching |= keys
        else:
            taken |= dict.fromkeys(keys, (str(by), effects.get((by.by_chain, by.by)) == one.effect))
    return {key: why for key, why in taken.items() if key not in matching}


def oddities(subject: Subject, pod: Object | None, installation: Installation) -> Sequence[str]:
    """Annotations that do not do what they look like: those on a pod only, and those that nobody reads."""
    own = {} if pod is None or subject.workload.bare else fields.annotations(pod)
    injector = installation.injector
    lost = annotations.strays(injector, own, subject.annotations)
    strays = {
        key: text for found, text in lost.items() if (key := injector.annotation(found)) not in subject.annotations
    }
    return [
        *(
            f"annotation {key}: {text} is on the pod but not on its template; it goes with the pod"
            for key, text in strays.items()
        ),
        *(found.text for found in annotations.ignored(subject.annotations, installation)),
    ]


def _notes(subject: Subject, pod: Object | None, found: Situation, namespace: Object | None) -> Sequence[str]:
    """What a user should know beside the rules."""
    installation = found.installation
    notes = [*([installation.note] if installation.note else []), *found.warnings]
    if subject.workload.refusal:
        notes.append(subject.workload.refusal)
    if subject.workload.unseen:
        owner = subject.workload.unseen
        notes.append(f"{owner.kind} {owner.name} is not shown: the next pod is taken to be made as this one was")
    theirs = meshes.is_elsewhere([installation], namespace)  # its annotations are for the mesh that its label names
    return notes if theirs else [*notes, *oddities(subject, pod, installation)]
