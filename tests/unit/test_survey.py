"""What is kept of many pods: all that is read of them, and little else."""

import copy

import pytest

from kubectl_fsm import fields, interception, workloads
from kubectl_fsm.checks import addresses, policies
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.meshes import FSM, INJECTED_VOLUME, OSM, Installation
from kubectl_fsm.operations import meshes, ownership, survey
from kubectl_fsm.operations.owners import Owners
from tests.unit.test_guards_offline import IN, NAMESPACE, deployment, meshconfig, pod
from tests.unit.test_held_edits import OLD, Remote, carry_out, running

INSTALLATION = Installation(FSM, "fsm", "fsm-system", "1.5.1", FSM.releases[0], meshconfig())
OTHER = INSTALLATION._replace(mesh=OSM)
WRITTEN = {"f:metadata": {"f:annotations": {f"f:{IN}": {}}}}
ENDED = {"exitCode": 4, "reason": "Error", "message": "no"}


def status(name, state, **last):
    return {"name": name, "ready": name == "sidecar", "state": state, "lastState": last, "imageID": "x"}


def full():
    """A pod that has whatever is read of pods, and much that is not."""
    made = pod("web-1", OLD, ("ReplicaSet", "web"), uid="1", annotations={IN: "5"}, labels={FSM.uuid_label: "x"})
    made["metadata"] |= {"deletionTimestamp": "then", "generateName": "web-"}
    made["metadata"]["ownerReferences"][0]["uid"] = "2"
    made["metadata"]["managedFields"] = [{"manager": "ann", "time": "then", "fieldsV1": WRITTEN, "operation": "Update"}]
    made["spec"] |= {"hostNetwork": True, "nodeSelector": {"kubernetes.io/os": "windows"}, "nodeName": "node"}
    made["spec"]["serviceAccountName"] = "web"
    made["spec"]["volumes"] = [{"name": INJECTED_VOLUME}, {"name": "tmp", "emptyDir": {}}]
    made["spec"]["containers"][0] |= {"env": [{"name": "A", "value": "x"}]}
    made["spec"]["containers"].append({"name": "other", "securityContext": {"runAsUser": 1, "runAsGroup": 2}})
    made["spec"]["initContainers"].append(
        {
            "name": "second",
            "restartPolicy": "Always",
            "ports": [{"containerPort": 9100}],
            "securityContext": {"runAsUser": 3},
        }
    )
    made["spec"]["securityContext"] = {"runAsUser": 4, "fsGroup": 5}
    made["status"] = {
        "phase": "Pending",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "Unready", "message": "why", "lastProbeTime": ""}
        ],
        "initContainerStatuses": [
            status("fsm-init", {"waiting": {"reason": "CrashLoopBackOff"}}, terminated=ENDED),
            status("second", {"terminated": ENDED}),
            status("sidecar", {"running": {}}),
        ],
        "containerStatuses": [
            status("app", {"waiting": {"reason": "Slow"}}),
            status("other", {"terminated": ENDED}),
            status("third", {}, terminated=ENDED),
            status("sidecar", {"running": {}}),
        ],
    }
    return made


def without(obj, *path):
    """The object without a field; below a list, without it in each item."""
    found = copy.deepcopy(obj)
    below = [found]
    for step in path[:-1]:
        found_there = [one[step] for one in below if step in one]
        below = [inner for one in found_there for inner in (one if isinstance(one, list) else [one])]
    for one in below:
        one.pop(path[-1], None)
    return found


def kept_alone(obj, key, name):
    """The pod with one of its container statuses only."""
    found = copy.deepcopy(obj)
    found["status"] |= {"initContainerStatuses": [], "containerStatuses": []}
    found["status"][key] = [one for one in obj["status"][key] if one["name"] == name]
    return found


def readings(obj):
    """All that is read of a pod that is one of many."""
    init = workloads.init_container(obj, "fsm-init")
    named = [
        (key, one["name"]) for key in ("initContainerStatuses", "containerStatuses") for one in full()["status"][key]
    ]
    yield "what it is", [obj.get("apiVersion"), obj.get("kind"), fields.name(obj), fields.namespace(obj)]
    yield "its identity", obj["metadata"].get("uid")
    yield "its owner", workloads.controller(obj)
    yield "its writers", ownership.writers(obj, ("metadata", "annotations", IN))
    yield "its annotations", fields.annotations(obj)
    yield "its script", init and workloads.script(init)
    yield "its mesh", meshes.of_pod([INSTALLATION, OTHER], None, without(obj, "spec", "initContainers"))
    yield "its injection", [str(found) for found in interception._verdicts(obj, None, INSTALLATION)]
    bare = without(obj, "spec", "initContainers")
    yield "its injection, were it new", [str(found) for found in interception._verdicts(bare, None, INSTALLATION)]
    yield "its system", obj["spec"].get("nodeSelector")
    yield "its account", policies.account(obj)
    yield "its addresses", addresses.speaks_six(without(obj, "metadata", "deletionTimestamp"))
    yield "its ports", workloads.container_ports(obj, "sidecar"), workloads.container_ports(obj, "app")
    yield "its users", [workloads.user(obj, one) for _, one in workloads.side_by_side(obj)]
    yield "its end", [workloads.finished(obj), workloads.lives(obj), fields.text(obj, "status", "phase")]
    yield "its readiness", workloads.is_ready(obj)
    for key, name in named:
        try:
            one = kept_alone(obj, key, name)
        except KeyError:
            yield key, name, "unnamed"
            continue
        yield key, name, workloads.container_readiness(one, name), workloads.complaint(one)
        yield key, name, workloads.failure(one, name), workloads.crash_loops(one, name), workloads.succeeded(one, name)
        yield key, name, workloads.ending(one, name), workloads.waiting_message(one, name), workloads.starts(one, name)
        yield key, name, workloads.container_complaint(one, name)
    quiet = without(without(obj, "status", "initContainerStatuses"), "status", "containerStatuses")
    yield "its complaint", workloads.complaint(quiet)


def leaves(mask, *path):
    for name, below in mask.items():
        yield from leaves(below, *path, name) if below else [(*path, name)]


def test_all_that_is_read_is_kept():
    assert list(readings(fields.masked(full(), workloads.POD))) == list(readings(full()))


@pytest.mark.parametrize("path", list(leaves(workloads.POD)), ids=".".join)
def test_nothing_is_kept_that_is_not_read(path):
    assert list(readings(without(full(), *path))) != list(readings(full()))


WORDS = [["exclude-port", "6379"], ["exclude-port", "--inbound", "8080", "--all", "-n", "shop", "--dry-run"]]
LOOKS = [["rules", "-A"], ["rules", "-A", "-o", "json"], ["exclusions", "-A"], ["restart", "-A", "--dry-run"]]


@pytest.mark.parametrize("words", [*WORDS, *LOOKS], ids=" ".join)
def test_a_command_finds_the_same_in_what_is_kept(words, monkeypatch):
    def found():
        odd = full()
        odd["metadata"] |= {"name": "web-2"}
        del odd["metadata"]["deletionTimestamp"]
        return carry_out(
            Remote(meshconfig(), NAMESPACE, deployment(), running("web-3"), full(), odd, pod("alone", OLD)), *words
        )

    kept = found()
    monkeypatch.setattr(fields, "masked", lambda obj, _: obj)
    assert kept == found()


def test_a_survey_keeps_of_pods_what_is_read():
    (subject,) = survey.subjects(*_asked(Remote(full())), "shop")
    (one,) = subject.pods
    assert one == fields.masked(full(), workloads.POD)
    assert "env" not in one["spec"]["containers"][0]
    assert "nodeName" not in one["spec"]


def _asked(cluster):
    return cluster, Owners(cluster)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("spec", "initContainers"), "none", "spec.initContainers is a string, not a list"),
        (("spec", "containers"), {"a": 1}, "spec.containers is an object, not a list"),
        (("metadata", "annotations"), {"a": 1}, "metadata.annotations.a is a number, not a string"),
        (("status",), 5, "status is a number, not an object"),
    ],
)
def test_a_pod_that_cannot_be_read_stops_a_check_and_is_named(path, value, said):
    odd = pod("odd", OLD)
    below = odd
    for step in path[:-1]:
        below = below[step]
    below[path[-1]] = value
    with pytest.raises(InvalidObject, match=f"Pod shop/odd: {said}"):
        carry_out(Remote(meshconfig(), NAMESPACE, odd), "exclude-port", "6379")


@pytest.mark.parametrize(
    ("value", "kept", "left"),
    [
        ({"a": {"b": 1, "c": 2}, "d": 3}, fields.mask("a.b"), {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}, "d": 3}, fields.mask("a", "e"), {"a": {"b": 1, "c": 2}}),
        ({"a": [{"b": 1, "c": 2}, {"c": 2}, 5]}, fields.mask("a.b"), {"a": [{"b": 1}, {}, 5]}),
        ({"a": "text"}, fields.mask("a.b"), {"a": "text"}),
        ({"a": None}, fields.mask("a.b", "a.c.d"), {"a": None}),
    ],
)
def test_a_field_mask(value, kept, left):
    assert fields.masked(value, kept) == left


def test_the_mask_of_several_fields():
    assert fields.mask("a.b", "a.c", "d") == {"a": {"b": {}, "c": {}}, "d": {}}
