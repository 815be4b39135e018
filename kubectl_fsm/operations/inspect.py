"""What one pod runs, what the next one will run, and why: the `rules` of a pod."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, generator, interception, workloads
from kubectl_fsm.errors import InvalidExclusion, RulesSyntaxError
from kubectl_fsm.exclusions import Effective, Entry, Settings, effective, problems
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Injection, Running
from kubectl_fsm.meshes import LISTS, MESHES, Injector, Installation
from kubectl_fsm.netfilter.model import Ruleset
from kubectl_fsm.netfilter.script import parse, write
from kubectl_fsm.netfilter.text import describe
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import EntryState, PodRules, RuleLine, SettingState

_HOOKS = {"OUTPUT": "OUTBOUND", "PREROUTING": "INBOUND"}
_NO_ANSWER = Effective((), Settings())


class _Runs(NamedTuple):
    """What a pod runs: `found` where its init container could be read, else `broken` says why not."""

    found: Running | None = None
    broken: str = ""
    failed: str = ""


class _Next(NamedTuple):
    """What the next pod will run: `wanted`, or why there will be nothing."""

    wanted: Effective | None
    why_not: str = ""


def pod_rules(subject: Subject, pod: Object | None, namespace: Object | None, installation: Installation) -> PodRules:
    """The effective rules of a pod, or of the subject's next pod where `pod` is None."""
    injection = interception.injection(subject.template, namespace, installation)
    coming = _coming(subject, injection, installation)
    runs = _runs(pod, installation) if pod is not None else _Runs()
    state, reason = _state(pod, runs, coming, injection, installation)
    wanted = coming.wanted
    shown = runs.found.effective if runs.found and not runs.failed else None
    entries = _entries(shown, wanted)
    ruleset, next_script, notes = _ruleset(runs, wanted, installation.injector)
    writers = runs.found.injectors if runs.found else ()
    injector = writers[0] if writers and installation.injector not in writers else installation.injector
    sourced = _sourced(runs.found.effective if runs.found else wanted or _NO_ANSWER, wanted)
    return PodRules(
        pod=fields.name(pod) if pod is not None else "",
        namespace=fields.namespace(pod if pod is not None else subject.workload.top.object),
        workload="" if subject.workload.bare else subject.workload.label,
        mesh=installation.mesh.name,
        mesh_version=installation.version,
        mesh_namespace=installation.namespace,
        injector=injector.name,
        state=state,
        reason=reason,
        sidecar=workloads.container_readiness(pod, installation.mesh.sidecar) if pod is not None else "",
        replicas=0 if subject.workload.bare else workloads.replicas(subject.workload.top.object),
        exclusions=entries,
        settings=_settings(shown, wanted),
        rules=_rules(ruleset, injector, sourced) if ruleset else (),
        notes=[*notes, *_notes(subject, pod, runs, wanted, installation)],
        script=runs.found.script if runs.found else "",
        next_script=next_script,
    )


def _coming(subject: Subject, injection: Injection, installation: Installation) -> _Next:
    if not injection.injected:
        return _Next(None, injection.reason)
    if not installation.intercepts:
        return _Next(None, f"interceptionMode is {installation.mode or '(none)'}, which adds no init container")
    source = "pod annotation" if subject.workload.bare else f"{subject.workload.label} template"
    try:
        return _Next(effective(installation.injector, subject.annotations, installation.spec, pod_source=source))
    except InvalidExclusion as error:
        return _Next(None, f"the injector refuses the next pod: {error.message}")


def _runs(pod: Object, installation: Installation) -> _Runs:
    failed = workloads.failure(pod, installation.mesh.init_container)
    try:
        return _Runs(interception.running(pod, installation.mesh), failed=failed)
    except RulesSyntaxError as error:
        return _Runs(broken=str(error), failed=failed)


def _state(
    pod: Object | None, runs: _Runs, coming: _Next, injection: Injection, installation: Installation
) -> tuple[str, str]:
    """State and the plain answer behind it."""
    if pod is None:
        return ("template", "") if coming.wanted else ("not-injected", coming.why_not)
    if runs.failed:
        return "failed", runs.failed
    if runs.broken:
        return "external", f"its rules are not written by an injector: {runs.broken}"
    if runs.found is None:
        return _uncovered(pod, injection, installation)
    if coming.wanted is None:
        return "outdated", f"the next pod will have no such rules: {coming.why_not}"
    return ("outdated" if interception.differs(runs.found.effective, coming.wanted) else "current"), ""


def _uncovered(pod: Object, injection: Injection, installation: Installation) -> tuple[str, str]:
    """The state of a pod without the mesh's init container."""
    mesh = installation.mesh
    if mesh.uuid_label not in fields.labels(pod) and not workloads.has_container(pod, mesh.sidecar):
        late = "it was made before it could be injected; the next pod will be"
        return "not-injected", late if injection.injected else injection.reason
    if fields.mapping(pod, "spec", "nodeSelector").get("kubernetes.io/os") == "windows":
        return "no-interception", "Windows pods get no init container"
    if not installation.intercepts:
        return "no-interception", f"interceptionMode {installation.mode or '(none)'}"
    return "external", "it has a sidecar but no init container: its rules come from elsewhere"


def _entries(runs: Effective | None, wanted: Effective | None) -> Sequence[EntryState]:
    """Entries of both unions, list by list: programmed, pending or leaving."""
    now = {entry.key: entry for entry in (runs or _NO_ANSWER).entries}
    then = {entry.key: entry for entry in (wanted or _NO_ANSWER).entries}
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
    now, then = (runs or _NO_ANSWER).settings, (wanted or _NO_ANSWER).settings
    pairs = (("local-proxy-mode PodIP", now.pod_ip, then.pod_ip), ("local-dns-proxy", now.dns_proxy, then.dns_proxy))
    return [SettingState(name, running, configured) for name, running, configured in pairs if running or configured]


def _sourced(shown: Effective, wanted: Effective | None) -> Effective:
    """The entries with the sources that the configuration gives them."""
    sources = {entry.key: entry.sources for entry in (wanted or _NO_ANSWER).entries}
    entries = tuple(Entry(entry.list, entry.value, sources.get(entry.key, ())) for entry in shown.entries)
    return shown._replace(entries=entries)


def _ruleset(runs: _Runs, wanted: Effective | None, injector: Injector) -> tuple[Ruleset | None, str, Sequence[str]]:
    """The rules to show (those that run, else those to come), the next pod's script, and what iptables says to it."""
    notes = []
    found, text = runs.found.ruleset if runs.found else None, ""
    if wanted is not None:
        text = generator.script(injector, wanted)
        notes = [f"the next pod will not start: {problem.text}" for problem in problems(wanted)]
        if found is None and not notes:
            found = parse(text)
    return found, text, notes


def _rules(ruleset: Ruleset, injector: Injector, sourced: Effective) -> Sequence[RuleLine]:
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
        )
        for found in interception.explain(ruleset, injector, sourced)
    ]


def _notes(
    subject: Subject, pod: Object | None, runs: _Runs, wanted: Effective | None, installation: Installation
) -> Sequence[str]:
    """What a user should know beside the rules."""
    notes = [installation.note] if installation.note else []
    notes += runs.found.warnings if runs.found else []
    if wanted is None and pod is None and not installation.intercepts:
        notes.append("none of the mesh's lists is used in this mode")
    if subject.workload.refusal:
        notes.append(subject.workload.refusal)
    if pod is not None and not subject.workload.bare:
        notes += _stray(installation.injector, fields.annotations(pod), subject.annotations)
    return [*notes, *_ignored(subject.annotations, installation)]


def _stray(injector: Injector, pod: Mapping[str, str], template: Mapping[str, str]) -> Sequence[str]:
    """Annotations of a pod that its owner's template does not have: they go with the pod."""
    keys = [injector.annotation(exclusion_list) for exclusion_list in injector.pod_lists]
    return [
        f"annotation {key}: {pod[key]} is on the pod but not on its template; it goes with the pod"
        for key in keys
        if key in pod and key not in template
    ]


def _ignored(annotations: Mapping[str, str], installation: Installation) -> Sequence[str]:
    """Annotations that look like exclusions but have another mesh's prefix."""
    others = {mesh.prefix for mesh in MESHES} - {installation.mesh.prefix}
    suffixes = [found.annotation for found in LISTS if found.annotation]
    return [
        f"annotation {prefix}{suffix} does nothing under {installation.mesh.title}; its key is {installation.mesh.prefix}{suffix}"
        for prefix in sorted(others)
        for suffix in suffixes
        if prefix + suffix in annotations
    ]
