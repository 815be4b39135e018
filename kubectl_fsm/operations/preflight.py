"""Before anything is written: the injector is asked for the next pod of each template, and has to give the right one."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm.cluster.interface import Cluster
from kubectl_fsm.errors import Refused, RolloutFailed
from kubectl_fsm.fields import Object
from kubectl_fsm.operations import oracle
from kubectl_fsm.operations.patience import Patience
from kubectl_fsm.operations.rollout import Judge, Target
from kubectl_fsm.reports import Event, Note, Warned

_PATIENCE = 30.0
"""Seconds for which an injector that does not yet know the MeshConfig is asked again. Each time costs a certificate."""
_QUIET = 5.0
"""Seconds of waiting after which that is said."""


class Case(NamedTuple):
    """A template whose next pod is asked for, and the owner whose pods are made from it."""

    target: Target
    judge: Judge
    owner: Object
    template: Object


class Finding(NamedTuple):
    """What came of asking: one of `wrong` (the pod would be, or none would come of it) and `unasked`, or neither."""

    wrong: str = ""
    unasked: str = ""
    final: bool = True


def patience(timeout: float) -> float:
    """For how many seconds an injector is asked, where a rollout may take `timeout` (0: no limit)."""
    return min(timeout or _PATIENCE, _PATIENCE)


def require(cluster: Cluster, cases: Sequence[Case], seconds: float) -> Generator[Event, bool, None]:
    """Go on where every template has been asked about and is right. Raises `Refused`, which names those that are not."""
    findings = yield from _findings(cluster, cases, seconds)
    wrong = [f"{case.target}: {found.wrong}" for case, found in findings if found.wrong]
    unasked = [f"{case.target}: {found.unasked}" for case, found in findings if found.unasked]
    if wrong:
        raise Refused(
            f"the next pods would be wrong, so nothing is restarted: {_listed(wrong)}", "mend it, or --skip it"
        )
    if unasked:
        said = f"the injector could not be asked about the next pods, so nothing is restarted: {_listed(unasked)}"
        raise Refused(said, "--skip-preflight goes on without; new pods are looked at in any case")


def assure(cluster: Cluster, case: Case, seconds: float) -> Generator[Event, bool, None]:
    """The same for one template. Raises `RolloutFailed`; that it could not be asked about is only said."""
    ((_, found),) = yield from _findings(cluster, [case], seconds)
    if found.wrong:
        raise RolloutFailed(f"{found.wrong}; nothing was written")
    if found.unasked:
        yield Warned(f"{case.target}: the injector could not be asked beforehand: {found.unasked}")


def _findings(
    cluster: Cluster, cases: Sequence[Case], seconds: float
) -> Generator[Event, bool, Sequence[tuple[Case, Finding]]]:
    """Ask, side by side; while an injector is down or behind, again, about what it was wrong about."""
    patience, quiet = Patience(seconds, 0.25, 5.0), Patience(_QUIET, 0, 0)
    said = False
    found: dict[int, Finding] = {}
    open_cases = dict(enumerate(cases))
    while True:
        answers = cluster.gather(*(partial(_ask, cluster, case) for case in open_cases.values()))
        found |= zip(open_cases, answers, strict=True)
        open_cases = {number: case for number, case in open_cases.items() if not found[number].final}
        if not open_cases or patience.over:
            return [(case, found[number]) for number, case in enumerate(cases)]
        if quiet.over and not said:
            number, case = next(iter(open_cases.items()))
            yield Note(f"{case.target}: {found[number].wrong}; asking again for up to {seconds:g} s")
            said = True
        patience.pause()


def _ask(cluster: Cluster, case: Case) -> Finding:
    target = case.target
    answer = oracle.ask(cluster, target.installation.mesh, case.owner, case.template, target.subject.workload.namespace)
    if answer.refused:
        return Finding(wrong=f"its next pods would be refused: {answer.refused}")
    if answer.down:
        return Finding(wrong=answer.down, final=False)
    if answer.pod and (lacking := case.judge.wrong(answer.pod, case.template)):
        return Finding(wrong=f"the injector would make a wrong pod: {lacking}", final=False)
    return Finding(unasked=answer.unasked)


def _listed(texts: Sequence[str]) -> str:
    """One below the other where there are several."""
    return texts[0] if len(texts) == 1 else "".join(f"\n  {text}" for text in texts)
