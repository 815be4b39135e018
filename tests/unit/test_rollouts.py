"""What a workload's status says of its rollout, kind by kind, in statuses as the controllers write them.

The verdicts are those of `kubectl rollout status` (https://github.com/kubernetes/kubectl) and `kubectl argo rollouts
status`: a status about an older generation says nothing; a Deployment waits for its new pods to be made, for the old ones
to go, and for the new ones to be available, and fails where its deadline is exceeded; a StatefulSet waits for ready
pods and one revision, a DaemonSet for new pods on all nodes and for these to be available.
"""

import pytest

from kubectl_fsm import rollouts
from kubectl_fsm.rollouts import RESTART_AT, RESTARTED_AT, Progress

GROUPS = {"Rollout": "argoproj.io/v1alpha1", "CronJob": "batch/v1", "Job": "batch/v1", "Pod": "v1"}


def workload(kind, spec, status, generation=7, observed=7):
    seen = {"observedGeneration": str(observed) if kind == "Rollout" else observed} if observed is not None else {}
    return {
        "apiVersion": GROUPS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"name": "web", "generation": generation},
        "spec": spec,
        "status": {**seen, **status},
    }


PROGRESSING = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "is progressing"}
AVAILABLE = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "has minimum"}
COMPLETE = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "has progressed"}
EXCEEDED = {**PROGRESSING, "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}
FIVE = {"replicas": 5}


def deployment(replicas=5, updated=5, ready=5, available=5, unavailable=0, *, conditions=(AVAILABLE, COMPLETE)):
    """The controller leaves out what is 0."""
    counts = {
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": unavailable,
    }
    return {**{key: count for key, count in counts.items() if count}, "conditions": list(conditions)}


DEPLOYMENTS = {
    "done": (FIVE, deployment(), Progress(5, 5, 5, done=True), False),
    "nothing new yet": (FIVE, deployment(updated=0), Progress(0, 5, 5), True),
    "half of the new are made": (FIVE, deployment(7, 3, 5, 5), Progress(3, 5, 5), True),
    "all new are made, an old one is left": (FIVE, deployment(6, 5, 6, 6), Progress(5, 6, 5), True),
    "a new one is not available": (FIVE, deployment(5, 5, 4, 4, 1), Progress(5, 4, 5), False),
    "ready but not for long enough": (FIVE, deployment(5, 5, 5, 3, 2), Progress(5, 3, 5), False),
    "the deadline is exceeded": (
        FIVE,
        deployment(6, 2, 4, 4, 2, conditions=(AVAILABLE, EXCEEDED)),
        Progress(2, 4, 5, failed="has timed out"),
        False,
    ),
    "the deadline is exceeded, without a word": (
        FIVE,
        deployment(6, 2, 4, 4, 2, conditions=({**EXCEEDED, "message": ""},)),
        Progress(2, 4, 5, failed="it has exceeded its progress deadline"),
        False,
    ),
    "it is slow": (FIVE, deployment(6, 2, 4, 4, 2, conditions=(AVAILABLE, PROGRESSING)), Progress(2, 4, 5), True),
    "it came to its end after the deadline": (
        FIVE,
        deployment(conditions=(EXCEEDED,)),
        Progress(5, 5, 5, done=True),
        False,
    ),
    "scaled to zero": ({"replicas": 0}, deployment(0, 0, 0, 0), Progress(done=True), False),
    "on its way to zero": ({"replicas": 0}, deployment(2, 2, 2, 2), Progress(2, 2, 0, done=True), False),
    "an old one is on its way to zero": ({"replicas": 0}, deployment(1, 0, 1, 1), Progress(0, 1, 0), True),
    "no number is one": ({}, deployment(1, 1, 1, 1), Progress(1, 1, 1, done=True), False),
    "null is one": ({"replicas": None}, deployment(1, 0, 1, 1), Progress(0, 1, 1), True),
    "scaled up by an autoscaler": ({"replicas": 8}, deployment(), Progress(5, 5, 8), False),
    "scaled down by an autoscaler": ({"replicas": 3}, deployment(), Progress(5, 5, 3, done=True), False),
    "no pod can be made": (FIVE, deployment(0, 0, 0, 0, 5), Progress(0, 0, 5), False),
}


def stateful_set(replicas=3, updated=3, ready=3, available=3, *, current="web-a", update="web-a"):
    """The controller leaves out `updatedReplicas` and `readyReplicas` that are 0, but not the other two."""
    counts = {key: count for key, count in (("readyReplicas", ready), ("updatedReplicas", updated)) if count}
    numbers = {"replicas": replicas, **counts} if available is None else {
        "replicas": replicas, "availableReplicas": available, **counts,
    }  # fmt: skip
    return {**numbers, "currentRevision": current, "updateRevision": update}


THREE = {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}
STATEFUL_SETS = {
    "done": (THREE, stateful_set(), Progress(3, 3, 3, done=True), False),
    "nothing new yet": (THREE, stateful_set(updated=0, update="web-b"), Progress(0, 3, 3), True),
    "one is new": (THREE, stateful_set(updated=1, update="web-b"), Progress(1, 3, 3), True),
    "one is on its way": (THREE, stateful_set(3, 1, 2, 2, update="web-b"), Progress(1, 2, 3), True),
    "all are new, the revision is the old one": (THREE, stateful_set(update="web-b"), Progress(3, 3, 3), True),
    "one is not ready": (THREE, stateful_set(ready=2), Progress(3, 3, 3), False),
    "one is ready but not for long enough": (THREE, stateful_set(available=2), Progress(3, 2, 3), False),
    "no pod is available": (THREE, stateful_set(available=0), Progress(3, 0, 3), False),
    "an API server that does not know availability": (
        THREE,
        stateful_set(available=None),
        Progress(3, 3, 3, done=True),
        False,
    ),
    "the same, not ready": (THREE, stateful_set(ready=2, available=None), Progress(3, 2, 3), False),
    "scaled to zero": ({"replicas": 0}, stateful_set(0, 0, 0, 0), Progress(done=True), False),
    "a new revision without pods": (
        {"replicas": 0},
        stateful_set(0, 0, 0, 0, update="web-b"),
        Progress(done=True),
        False,
    ),
    "scaled up": ({"replicas": 5}, stateful_set(), Progress(3, 3, 5), False),
    "one revision, but a pod that is not of it": (THREE, stateful_set(updated=2), Progress(2, 3, 3), False),
    "no number is one": ({}, stateful_set(1, 1, 1, 1), Progress(1, 1, 1, done=True), False),
}


def daemon_set(desired=4, current=4, updated=4, available=4):
    """The controller leaves out `updatedNumberScheduled` and `numberAvailable` that are 0."""
    counts = {key: n for key, n in (("updatedNumberScheduled", updated), ("numberAvailable", available)) if n}
    numbers = {"desiredNumberScheduled": desired, "currentNumberScheduled": current, "numberMisscheduled": 0}
    return {**numbers, "numberReady": available, **counts}


DAEMON_SETS = {
    "done": ({}, daemon_set(), Progress(4, 4, 4, done=True), False),
    "nothing new yet": ({}, daemon_set(updated=0), Progress(0, 4, 4), True),
    "one is new": ({}, daemon_set(4, 4, 1, 4), Progress(1, 4, 4), True),
    "one is deleted for it": ({}, daemon_set(4, 3, 1, 3), Progress(1, 3, 4), True),
    "all are new, one is not available": ({}, daemon_set(4, 4, 4, 3), Progress(4, 3, 4), False),
    "an unavailable node": ({}, daemon_set(4, 4, 3, 3), Progress(3, 3, 4), True),
    "a node without a pod yet": ({}, daemon_set(5, 4, 4, 4), Progress(4, 4, 5), False),
    "no node": ({}, daemon_set(0, 0, 0, 0), Progress(done=True), False),
}


def argo(phase="Healthy", replicas=4, updated=4, available=4, **status):
    """The controller leaves out what is 0; before 1.0 there is no phase."""
    counts = {"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}
    return {**{key: n for key, n in counts.items() if n}, **({"phase": phase} if phase else {}), **status}


FOUR, T1, T2 = {"replicas": 4}, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ROLLOUTS = {
    "done": (FOUR, argo(), Progress(4, 4, 4, done=True), False),
    "restarted": ({**FOUR, "restartAt": T1}, argo(restartedAt=T1), Progress(4, 4, 4, done=True), False),
    "restarted once, and nobody asks for it any more": (
        FOUR,
        argo(restartedAt=T1),
        Progress(4, 4, 4, done=True),
        False,
    ),
    "restarted at a time that was written by hand": (
        {**FOUR, "restartAt": "2026-01-01T09:00:00+09:00"},
        argo(restartedAt=T1),
        Progress(4, 4, 4, done=True),
        False,
    ),
    "to be restarted": ({**FOUR, "restartAt": T1}, argo(), Progress(4, 4, 4), True),
    "to be restarted again": ({**FOUR, "restartAt": T2}, argo(restartedAt=T1), Progress(4, 4, 4), True),
    "restarting": (
        {**FOUR, "restartAt": T1},
        argo("Progressing", available=3, message="rollout is restarting"),
        Progress(4, 3, 4),
        True,
    ),
    "old pods are left": (
        FOUR,
        argo("Progressing", 5, message="old replicas are pending termination"),
        Progress(4, 4, 4),
        True,
    ),
    "more pods to come": (FOUR, argo("Progressing", 5, 1), Progress(1, 4, 4), True),
    "healthy with fewer pods than are wanted": (FOUR, argo(updated=3), Progress(3, 4, 4), False),
    "healthy with fewer available": (FOUR, argo(available=3), Progress(4, 3, 4), False),
    "paused by a step": (
        FOUR,
        argo("Paused", 4, 1, message="CanaryPauseStep"),
        Progress(1, 4, 4, failed="it is paused until somebody promotes it: CanaryPauseStep"),
        True,
    ),
    "paused by a step that ends by itself": (
        {**FOUR, "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {"duration": "30s"}}]}}},
        {**argo("Paused", 4, 1, message="CanaryPauseStep"), "currentStepIndex": 1},
        Progress(1, 4, 4),
        True,
    ),
    "paused by a step that does not": (
        {**FOUR, "strategy": {"canary": {"steps": [{"pause": {"duration": 30}}, {"pause": {}}]}}},
        {**argo("Paused", 4, 1, message="CanaryPauseStep"), "currentStepIndex": 1},
        Progress(1, 4, 4, failed="it is paused until somebody promotes it: CanaryPauseStep"),
        True,
    ),
    "aborted": (
        FOUR,
        argo("Degraded", 4, 0, message="RolloutAborted: Rollout aborted update to revision 2"),
        Progress(0, 4, 4, failed="RolloutAborted: Rollout aborted update to revision 2"),
        False,
    ),
    "degraded without a word": (FOUR, argo("Degraded", 4, 1), Progress(1, 4, 4, failed="Degraded"), False),
    "no phase": (FOUR, argo(""), Progress(4, 4, 4, done=True), False),
    "scaled to zero": ({"replicas": 0}, argo("Healthy", 0, 0, 0), Progress(done=True), False),
    "no number is one": ({}, argo("Healthy", 1, 1, 1), Progress(1, 1, 1, done=True), False),
}

KNOWN = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS, "DaemonSet": DAEMON_SETS, "Rollout": ROLLOUTS}
CASES = [
    pytest.param(kind, *case, id=f"{kind}: {name}") for kind, cases in KNOWN.items() for name, case in cases.items()
]


@pytest.mark.parametrize(("kind", "spec", "status", "reached", "rolls"), CASES)
def test_how_far_a_rollout_is(kind, spec, status, reached, rolls):
    obj = workload(kind, spec, status)
    assert (rollouts.progress(obj), rollouts.rolling(obj)) == (reached, rolls)


@pytest.mark.parametrize(
    ("kind", "spec", "status"), [case.values[:3] for case in CASES], ids=[case.id for case in CASES]
)
def test_a_status_about_an_older_generation_says_nothing(kind, spec, status):
    """Whatever it says: not done, not failed, and on its way."""
    for observed in (6, None):
        old = workload(kind, spec, status, observed=observed)
        found = rollouts.progress(old)
        assert (found.done, found.failed, found.updated, found.available) == (False, "", 0, 0)
        assert rollouts.rolling(old)


@pytest.mark.parametrize("observed", ["7", "8", 7, "6b9f8c7d5"])
def test_argo_writes_the_generation_as_text_and_once_wrote_a_hash(observed):
    obj = workload("Rollout", FOUR, {**argo(), "observedGeneration": observed})
    assert rollouts.progress(obj).done
    assert not rollouts.rolling(obj)


def test_manifests_have_no_generation_to_be_behind():
    obj = workload("Deployment", FIVE, deployment(), observed=None)
    del obj["metadata"]["generation"]
    assert rollouts.progress(obj).done


OTHERS = ("CronJob", "Job", "Pod", "ReplicaSet", "CloneSet", "Kafka")


@pytest.mark.parametrize("kind", OTHERS)
def test_of_other_kinds_nothing_is_ever_done(kind):
    obj = workload(kind, FIVE, deployment())
    assert rollouts.progress(obj) == Progress(wanted=5)
    assert not rollouts.rolling(obj)
    assert not rollouts.rolling({**obj, "status": {}})
    assert rollouts.restart_field(obj) is None


@pytest.mark.parametrize(
    ("api_version", "kind", "field"),
    [
        ("apps/v1", "Deployment", RESTARTED_AT),
        ("apps/v1", "StatefulSet", RESTARTED_AT),
        ("apps/v1", "DaemonSet", RESTARTED_AT),
        ("apps/v1beta2", "Deployment", RESTARTED_AT),
        ("argoproj.io/v1alpha1", "Rollout", RESTART_AT),
        ("apps.kruise.io/v1beta1", "StatefulSet", None),
        ("apps.openshift.io/v1", "DeploymentConfig", None),
        ("example.com/v1", "Rollout", None),
        ("apps/v1", "Rollout", None),
        ("v1", "Deployment", None),
    ],
)
def test_the_field_that_starts_a_rollout_by_group_and_kind(api_version, kind, field):
    assert rollouts.restart_field({"apiVersion": api_version, "kind": kind}) == field


def test_the_fields_that_start_a_rollout():
    assert ".".join(RESTARTED_AT[:4]) == "spec.template.metadata.annotations"
    assert RESTARTED_AT[4] == "kubectl.kubernetes.io/restartedAt"
    assert ".".join(RESTART_AT) == "spec.restartAt"


ROLLING, ON_DELETE = {"type": "RollingUpdate"}, {"type": "OnDelete"}
DELETED = "its pods have it when they are deleted (OnDelete)"


@pytest.mark.parametrize(
    ("kind", "spec", "why"),
    [
        ("Deployment", {"strategy": ROLLING}, ""),
        ("Deployment", {"strategy": {"type": "Recreate"}}, ""),
        ("Deployment", {"paused": False}, ""),
        ("Deployment", {"updateStrategy": {"rollingUpdate": {"partition": 2}}}, ""),
        ("StatefulSet", {"updateStrategy": ROLLING}, ""),
        ("StatefulSet", {"updateStrategy": {**ROLLING, "rollingUpdate": {"partition": 0}}}, ""),
        (
            "StatefulSet",
            {"updateStrategy": {**ROLLING, "rollingUpdate": {"partition": 1}}},
            "its update strategy keeps the pods below 1 as they are (partition)",
        ),
        (
            "StatefulSet",
            {"updateStrategy": {**ROLLING, "rollingUpdate": {"partition": 2}}},
            "its update strategy keeps the pods below 2 as they are (partition)",
        ),
        ("StatefulSet", {"updateStrategy": ON_DELETE}, DELETED),
        ("DaemonSet", {"updateStrategy": ON_DELETE}, DELETED),
        ("DaemonSet", {"updateStrategy": ROLLING}, ""),
        ("DaemonSet", {}, ""),
        ("Rollout", {"strategy": {"canary": {"steps": [{"pause": {}}]}}}, ""),
        ("Rollout", {"strategy": {"blueGreen": {}}}, ""),
        ("ReplicaSet", {}, "a ReplicaSet replaces no pods: those it makes from now on have it"),
        ("CronJob", {"suspend": True}, "its next runs have it"),
    ],
)
def test_what_a_new_template_does_not_replace_at_once(kind, spec, why):
    assert rollouts.holds_back(workload(kind, spec, {})) == why


@pytest.mark.parametrize("kind", ["Deployment", "Rollout"])
def test_a_paused_rollout_is_held_back(kind):
    assert rollouts.holds_back(workload(kind, {"paused": True}, {})).startswith("its rollout is paused")


QUOTA = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"conditions": [AVAILABLE, PROGRESSING, QUOTA]}, "exceeded quota"),
        ({"conditions": [AVAILABLE, EXCEEDED]}, ""),
        ({"conditions": None}, ""),
        ({}, ""),
    ],
)
def test_why_a_controller_cannot_make_pods(status, why):
    assert rollouts.creation_failure(workload("Deployment", FIVE, status)) == why


def test_how_many_pods_there_will_be_is_known_before_the_controller_says_anything():
    assert rollouts.progress(workload("Deployment", FIVE, {}, observed=6)) == Progress(wanted=5)
    assert rollouts.progress(workload("Deployment", {}, {}, observed=6)) == Progress(wanted=1)


def test_a_workload_without_a_status_is_on_its_way():
    for kind in KNOWN:
        obj = {"apiVersion": GROUPS.get(kind, "apps/v1"), "kind": kind, "metadata": {"generation": 1}, "spec": {}}
        assert rollouts.rolling(obj)
        assert not rollouts.progress(obj).done
