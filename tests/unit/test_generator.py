"""The generator against the scripts that the released injectors wrote."""

import json
import re

import pytest

from kubectl_fsm.errors import InvalidExclusion, InvalidObject, UsageError
from kubectl_fsm.exclusions import effective
from kubectl_fsm.generator import lines, render
from kubectl_fsm.meshes import FSM_1_5, INJECTORS

CASES = 64


def test_every_vector_is_rendered_byte_by_byte(vectors, figure):
    cases = json.loads(vectors.read_text())
    assert len(cases) == CASES
    wrong = []
    for number, case in enumerate(cases):
        try:
            answer = render(case["injector"], case["annotations"], case["meshconfig"]), ""
        except InvalidExclusion as error:
            answer = "", str(error)
        if answer != (case["script"], case["error"]):
            wrong.append((number, case["injector"]))
    assert wrong == []
    figure(f"generator: {len(cases) - len(wrong)}/{CASES} vectors byte-identical")


def test_vectors_cover_every_injector_and_refusals(vectors):
    cases = json.loads(vectors.read_text())
    assert {case["injector"] for case in cases} == set(INJECTORS)
    assert any(case["error"] for case in cases)


def test_unknown_injector():
    with pytest.raises(UsageError, match=r"unknown injector 'istio'"):
        render("istio", {}, {})


def test_first_bad_annotation_wins():
    bad = {
        "flomesh.io/outbound-ip-range-inclusion-list": "x",
        "flomesh.io/inbound-port-exclusion-list": "80,,81",
        "flomesh.io/outbound-ip-range-exclusion-list": "10.0.0.1",
    }
    wanted = "Invalid port value '' specified for annotation 'flomesh.io/inbound-port-exclusion-list'"
    with pytest.raises(InvalidExclusion, match=f"^{re.escape(wanted)}$"):
        render("fsm-1.5", bad, {})


@pytest.mark.parametrize("injector", ["osm-0.11", "osm-1.0"])
def test_old_injectors_drop_a_bad_list_and_read_ports_only(injector):
    prefix = "openservicemesh.io/"
    annotations = {
        f"{prefix}outbound-port-exclusion-list": "80,x",
        f"{prefix}inbound-port-exclusion-list": "81",
        f"{prefix}outbound-ip-range-exclusion-list": "10.0.0.0/8",
    }
    script = render(injector, annotations, {})
    assert "--dports 81" in script
    assert "80" not in script.replace("--dports 81", "")
    assert "10.0.0.0/8" not in script


@pytest.mark.parametrize(
    ("traffic", "field"),
    [
        ({"outboundPortExclusionList": ["80"]}, "outboundPortExclusionList[0] is '80', not a port"),
        ({"inboundPortExclusionList": [80, True]}, "inboundPortExclusionList[1] is True, not a port"),
        ({"networkInterfaceExclusionList": [1]}, "networkInterfaceExclusionList[0] is 1, not a network interface"),
        ({"outboundIPRangeExclusionList": "10.0.0.0/8"}, "outboundIPRangeExclusionList is a string, not a list"),
    ],
)
def test_a_meshconfig_that_no_api_server_stores(traffic, field):
    with pytest.raises(InvalidObject, match=re.escape(field)):
        render("fsm-1.5", {}, {"traffic": traffic})


@pytest.mark.parametrize("injector", INJECTORS.values(), ids=INJECTORS)
def test_every_rule_has_a_why(injector):
    spec = {
        "sidecar": {"localProxyMode": "PodIP", "localDNSProxy": {"enable": True}},
        "traffic": {
            "outboundPortExclusionList": [6379],
            "inboundPortExclusionList": [9090],
            "outboundIPRangeExclusionList": ["10.0.0.0/8"],
            "outboundIPRangeInclusionList": ["11.0.0.0/8"],
            "networkInterfaceExclusionList": ["net1"],
        },
    }
    assert all(line.why for line in lines(injector, effective(injector, {}, spec)))


def test_rules_know_their_entries_and_where_these_come_from():
    spec = {"traffic": {"outboundPortExclusionList": [6379, 8080]}}
    wanted = effective(FSM_1_5, {"flomesh.io/outbound-port-exclusion-list": "8080, 9090"}, spec, pod_source="template")
    (line,) = [line for line in lines(FSM_1_5, wanted) if line.why == "excluded outbound ports"]
    assert line.rule == "-p tcp --match multiport --dports 6379,8080,9090 -j RETURN"
    assert [(entry.value, entry.sources) for entry in line.entries] == [
        ("6379", ("MeshConfig",)),
        ("8080", ("MeshConfig", "template")),
        ("9090", ("template",)),
    ]
