"""What the cluster's own injector would make of the next pod, beside what is predicted of it."""

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_fsm import fields, generator, interception, workloads
from kubectl_fsm.cluster.interface import PODS, Cluster
from kubectl_fsm.errors import InvalidObject, RulesSyntaxError, Unreachable
from kubectl_fsm.exclusions import Effective
from kubectl_fsm.fields import Object
from kubectl_fsm.interception import Running, Upcoming
from kubectl_fsm.meshes import INJECTED_VOLUME, Injector, Installation
from kubectl_fsm.netfilter.dump import write
from kubectl_fsm.netfilter.model import Ruleset
from kubectl_fsm.netfilter.script import parse
from kubectl_fsm.operations import applied, oracle
from kubectl_fsm.operations.oracle import Answer
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.reports import Opinion


class _Question(NamedTuple):
    """What is asked about: the object whose pods are made from the template."""

    owner: Object
    template: Object


class _Case(NamedTuple):
    """A template, what is predicted of its next pod, and the pod that came back; `words` lead kubectl to the cluster."""

    template: Object
    namespace: Object | None
    installation: Installation
    coming: Upcoming
    pod: Object
    words: Sequence[str]

    def predicted(self, injector: Injector) -> Effective | None:
        """What a generation of the injector would give the pod as it came back, which others may have changed."""
        release = self.installation.release._replace(injector=injector)
        installation = self.installation._replace(release=release)
        return interception.upcoming(self.pod, self.namespace, installation, installation.spec).wanted


def ask(cluster: Cluster, subject: Subject, namespace: Object | None, installation: Installation) -> Opinion:
    """Ask the injector for the subject's next pod, and compare: once for a template, since it costs a certificate."""
    try:
        question = _question(subject, installation)
    except InvalidObject as error:
        return _unasked(error.message)
    coming = interception.upcoming(question.template, namespace, installation, installation.spec)
    try:
        answer = oracle.ask(cluster, installation.mesh, *question, subject.workload.namespace)
    except Unreachable as error:
        return _unasked(error.message)
    if answer.pod is None:
        return _without_pod(answer, coming)
    return _compared(_Case(question.template, namespace, installation, coming, answer.pod, cluster.words))


def _question(subject: Subject, installation: Installation) -> _Question:
    """Raises `InvalidObject`, which says why there is nothing to ask about."""
    workload = subject.workload
    if workload.bare:
        try:
            manifest = applied.manifest(workload.top.object, installation)
        except InvalidObject as error:
            again = "a bare pod is made anew from the manifest that it was applied from"
            raise InvalidObject(f"{again}: {error.message}") from error
        return _Question(manifest, manifest)
    if workload.holder is None or workload.template is None or workload.holder.resource is PODS:
        raise InvalidObject(workload.refusal or "nothing shows the template that its next pod is made from")
    return _Question(workload.holder.object, workload.template)


def _unasked(reason: str) -> Opinion:
    return Opinion("not-asked", None, f"it could not be asked: {reason}")


def _without_pod(answer: Answer, coming: Upcoming) -> Opinion:
    if answer.refused:
        same = coming.state == "refused"
        predicted = "as" if same else "which was not"
        return Opinion("refused", same, f"it refuses the next pod, {predicted} predicted: {answer.refused}")
    return Opinion("down", None, f"it gives no answer: {answer.down}") if answer.down else _unasked(answer.unasked)


def _compared(case: _Case) -> Opinion:
    """The pod that came back, by its state and then by its rules."""
    coming, state, script = case.coming, _state(case), _script(case)
    same = state == coming.state
    if not same or coming.wanted is None:
        predicted = ", as predicted" if same else f", and {_given(case, coming.state)} was predicted"
        because = f": {coming.reason}" if coming.reason else ""
        reason = f"the next pod gets {_given(case, state)}{predicted}{because}"
        return Opinion(_NAMES.get(state, state), same, reason, (), [] if same else _absence(case, state), script)
    if script == generator.script(case.installation.injector, coming.wanted):  # iptables may refuse it all the same
        return Opinion("injected", True, _AS_PREDICTED.format(_given(case, state)), script=script)
    try:
        found = interception.read_script(script)
    except RulesSyntaxError as error:
        reason = f"the next pod gets {_given(case, state)} with a script that cannot be read: {error.message}"
        return Opinion("injected", False, reason, (), list(_tampering(case)), script)
    return _by_rules(case, found, coming.wanted)


_AS_PREDICTED = "the next pod gets {}, as predicted"


_NAMES = {"template": "injected"}
"""What the states of a next pod are called when they are no prediction, where that is another word."""


def _state(case: _Case) -> str:
    """What came back, in the words of what is predicted."""
    if interception.carries(case.pod, case.installation.mesh):
        return "template"
    return "no-interception" if case.installation.mesh.uuid_label in fields.labels(case.pod) else "not-injected"


def _given(case: _Case, state: str) -> str:
    name, label = case.installation.mesh.init_container, case.installation.mesh.uuid_label
    bare = f"a sidecar and no {name}" if case.installation.adds_sidecar else f"the label {label} and no {name}"
    others = {"no-interception": bare, "not-injected": "no sidecar", "refused": "a refusal"}
    return others.get(state, name)


def _script(case: _Case) -> str:
    container = workloads.init_container(case.pod, case.installation.mesh.init_container)
    return workloads.script(container) if container else ""


def _by_rules(case: _Case, found: Running, wanted: Effective) -> Opinion:
    """Two init containers with different texts: the same where these lead to the same rules."""
    injector, name = case.installation.injector, case.installation.mesh.init_container
    differences = [*interception.difference(wanted, found.effective), *_foreign(found, injector)]
    if injector in found.injectors and not differences:
        notes = ["its script is written otherwise, and leads to the same rules"]
        return Opinion("injected", True, _AS_PREDICTED.format(name), (), notes, found.script)
    reason = f"the next pod gets another {name} than predicted"
    notes = [*_tampering(case), *(() if _holds_volume(case) else _causes(case, found))]
    return Opinion("injected", False, reason, differences, [*notes, *found.warnings], found.script)


def _foreign(found: Running, injector: Injector) -> Iterator[str]:
    """`+rule -A …`, `-rule -A …`: what no generation writes for these entries, and what the installed one would."""
    if found.injectors:
        return
    there, usual = (_lines(one) for one in (found.ruleset, parse(generator.script(injector, found.effective))))
    yield from (f"+rule {line}" for line in there if line not in usual)
    yield from (f"-rule {line}" for line in usual if line not in there)


def _lines(ruleset: Ruleset) -> Sequence[str]:
    return [line for line in write(ruleset).splitlines() if line.startswith("-A")]


def _absence(case: _Case, state: str) -> Sequence[str]:
    """Why the next pod may be in another state than predicted."""
    if notes := list(_tampering(case)):
        return notes
    if case.coming.state != "template":
        return ()
    if case.namespace is None:
        return ["its Namespace could not be read, and was taken as part of the mesh"]
    if state == "not-injected":
        look = _kubectl(case, "get", "mutatingwebhookconfigurations")
        return [f"the injector was not asked, or did not want it: {look} has to show {case.installation.mesh.webhook}"]
    if workloads.on_windows(case.template):
        return ["Windows pods get no init container"]
    return [_behind(case)]


def _tampering(case: _Case) -> Iterator[str]:
    """What the injector had before it instead of what the template says, or what kept it from writing anything."""
    injector, prefix = case.installation.injector, case.installation.mesh.prefix
    sent, back = fields.annotations(case.template), fields.annotations(case.pod)
    for key in (f"{prefix}sidecar-injection", *map(injector.annotation, injector.pod_lists)):
        if sent.get(key) != back.get(key):
            now = f"gave the pod {key}: {back[key]}" if key in back else f"took {key} from the pod"
            yield f"another admission step {now}"
    if _holds_volume(case):
        yield f"its template holds the volume {INJECTED_VOLUME}, so the injector leaves the pod as it is"


def _holds_volume(case: _Case) -> bool:
    volumes = fields.items(case.template, "spec", "volumes")
    return any(volume.get("name") == INJECTED_VOLUME for volume in volumes)


def _causes(case: _Case, found: Running) -> Iterator[str]:
    """Why the rules may be others than predicted."""
    installation = case.installation
    of_mesh = [release.injector for release in installation.mesh.releases]
    writers = [one for one in found.injectors if one in of_mesh] or list(found.injectors)
    if not writers:
        yield f"no release of {installation.mesh.title} writes such rules"
    elif installation.injector not in writers:
        names = " or ".join(one.name for one in writers)
        label = f"its Deployment is labelled {installation.version}" if installation.version else "no version is shown"
        yield f"these are the rules of {names}; it was taken for {installation.injector.name}, since {label}"
    predicted = [case.predicted(one) for one in writers or [installation.injector]]
    if all(wanted is None or interception.differs(found.effective, wanted) for wanted in predicted):
        yield _behind(case)


def _behind(case: _Case) -> str:
    config, mesh = case.installation.config_name, case.installation.mesh
    restart = _kubectl(case, "rollout", "restart", f"deploy/{mesh.injector_app}", "-n", case.installation.namespace)
    return (
        f"the injector seems to work with an older MeshConfig than {config} as it is stored: ask again, and if it stays"
        f" so: {restart}"
    )


def _kubectl(case: _Case, *words: str) -> str:
    return f"kubectl {shlex.join([*words, *case.words])}"
