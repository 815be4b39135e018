"""What is said of a wrong field: which object, and the path from its root, however deep it was handed on."""

import json

import pytest

from kubectl_fsm import fields, interception, workloads
from kubectl_fsm.errors import InvalidObject
from kubectl_fsm.exclusions import effective, judged
from kubectl_fsm.meshes import FSM, FSM_1_5
from tests.support.workloads import cron_job, deployment, pod

META = {"name": "x", "namespace": "y"}


def bent(obj, value, *path):
    below = obj
    for step in path[:-1]:
        below = below[step]
    below[path[-1]] = value
    return obj


def wrong(read, *arguments):
    with pytest.raises(InvalidObject) as caught:
        read(*arguments)
    return caught.value.message


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (
            bent(deployment("web", "shop"), "x", "spec", "template", "spec", "containers"),
            "Deployment shop/web: spec.template.spec.containers is a string, not a list",
        ),
        (
            bent(
                cron_job("n", "s"), [], "spec", "jobTemplate", "spec", "template", "spec", "containers", 0, "ports", 0
            ),
            "CronJob s/n: spec.jobTemplate.spec.template.spec.containers[0].ports[0] is a list, not an object",
        ),
        (
            bent(pod("web-1", "shop"), 7, "spec", "containers", 0, "ports"),
            "Pod shop/web-1: spec.containers[0].ports is a number, not a list",
        ),
    ],
)
def test_a_template_is_a_part_of_its_workload(obj, said):
    assert wrong(workloads.container_ports, workloads.template(obj), "sidecar") == said


def test_items_are_parts_of_their_object():
    made = pod("web-1", "shop") | {
        "status": {"initContainerStatuses": [{"name": "fsm-init", "state": {"terminated": 1}}]}
    }
    assert (
        wrong(workloads.failure, made, "fsm-init")
        == "Pod shop/web-1: status.initContainerStatuses[0].state.terminated is a number, not an object"
    )
    made["spec"]["initContainers"] = [{"name": "first"}, {"name": "fsm-init", "command": "sh"}]
    assert (
        wrong(interception.running, made, FSM)
        == "Pod shop/web-1: spec.initContainers[1].command is a string, not a list"
    )
    made["metadata"]["ownerReferences"] = [{"controller": True, "name": 1}]
    assert (
        wrong(workloads.controller, made)
        == "Pod shop/web-1: metadata.ownerReferences[0].name is a number, not a string"
    )


def test_a_spec_is_a_part_of_its_meshconfig_where_that_is_known():
    spec = {"sidecar": {"localProxyMode": 1}}
    field = "spec.sidecar.localProxyMode is a number, not a string"
    assert wrong(effective, FSM_1_5, {}, spec) == f"MeshConfig: {field}"
    known = fields.part({"kind": "MeshConfig", "metadata": META, "spec": spec}, "spec")
    for read in (effective, judged):
        assert wrong(read, FSM_1_5, {}, known) == f"MeshConfig y/x: {field}"
    lists = fields.part(
        {"kind": "MeshConfig", "metadata": META, "spec": {"traffic": {"outboundPortExclusionList": ["80"]}}}, "spec"
    )
    place = "MeshConfig y/x: spec.traffic.outboundPortExclusionList[0]"
    assert wrong(effective, FSM_1_5, {}, lists) == f"{place} is '80', not a port"


def test_a_part_is_what_it_is_a_part_of():
    obj = {"kind": "Pod", "metadata": META, "spec": {"a": {"b": [{"c": 1}]}}}
    part = fields.part(obj, "spec", "a")
    assert part == obj["spec"]["a"]
    assert part["b"] is obj["spec"]["a"]["b"]
    assert json.loads(json.dumps(part)) == part
    assert fields.part(obj, "status") == {}
    inner = fields.parts(part, "b")[0]
    assert fields.place(inner, "c") == "Pod y/x: spec.a.b[0].c"
    assert fields.place(inner.replaced("c", 2), "c") == fields.place(inner, "c")
    assert fields.title(inner) == "Pod y/x"
    assert wrong(fields.part, part, "b") == "Pod y/x: spec.a.b is a list, not an object"


def test_annotations_that_no_api_server_takes():
    made = deployment("web", "shop", {"a": "x" * (fields.MAX_ANNOTATIONS - 1)})
    template = workloads.template(made)
    assert fields.annotations(template)
    template["metadata"]["annotations"]["b"] = ""
    said = "Deployment shop/web: spec.template.metadata.annotations is longer than 262,144 bytes in all"
    assert wrong(fields.annotations, template).startswith(said)
