"""Injection, unions and the meaning of rules: the cases that need no program run."""

import pytest

from kubectl_fsm import interception
from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.exclusions import address_share, covers, is_cidr, judged, network, parse_interface
from kubectl_fsm.generator import render
from kubectl_fsm.interception import Injection, explain, injection, read_script
from kubectl_fsm.meshes import FSM, FSM_1_5, OSM, OSM_EDGE, Installation, family
from tests.unit.test_interception import ENABLED, install, namespace

SWITCH = "flomesh.io/sidecar-injection"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        *((word, (True, False)) for word in ("enabled", "yes", "true", "TRUE", "Yes")),
        *((word, (False, False)) for word in ("disabled", "no", "false", "FALSE", "Disabled")),
        *((word, (False, True)) for word in ("on", "", "1")),
    ],
)
@pytest.mark.parametrize("on", ["pod", "namespace"])
def test_words_that_switch_injection(value, verdict, on):
    own, others = ({SWITCH: value}, {}) if on == "pod" else ({}, {SWITCH: value})
    found = injection({"metadata": {"annotations": own}}, namespace(annotations=others), install())
    assert (found.injected, found.refused) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [*((word, (True, False)) for word in ("yes", "no", "Disabled", "TRUE")), ("maybe", (False, True))],
)
def test_a_bad_metrics_annotation_of_the_namespace_refuses_pods(value, verdict):
    where = namespace(annotations=ENABLED | {"flomesh.io/metrics": value})
    found = injection({}, where, install())
    assert (found.injected, found.refused) == verdict
    off = injection({"metadata": {"annotations": {SWITCH: "no"}}}, where, install())
    assert off == Injection(False, f"the pod is annotated {SWITCH}: no"), "a pod that is left alone is not refused"


@pytest.mark.parametrize("name", ["kube-public", "kube-system"])
def test_namespaces_that_no_mesh_touches(name):
    assert not injection({"metadata": {"annotations": ENABLED}}, namespace(name=name), install()).injected


def test_a_pod_that_was_injected_stands_for_its_first_manifest():
    volumes = [{"name": "sidecar-bootstrap-config-volume"}]
    spec = {"volumes": volumes, "initContainers": [{"name": "fsm-init"}]}
    assert injection({"spec": spec}, namespace(annotations=ENABLED), install()).injected
    assert not injection({"spec": {"volumes": volumes}}, namespace(annotations=ENABLED), install()).injected


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"command": ["/pause"]}, "init container fsm-init does not run `sh -c SCRIPT`"),
        ({"command": ["sh", "-c", "reboot"]}, ""),
    ],
)
def test_an_init_container_that_runs_something_else(container, said):
    with pytest.raises(RulesSyntaxError) as caught:
        interception.running({"spec": {"initContainers": [{"name": "fsm-init", **container}]}}, FSM)
    assert said in caught.value.message


SPEC = {"traffic": {"outboundIPRangeInclusionList": ["10.0.0.0/8", "11.0.0.0/8"]}}


def test_rules_of_a_chain_that_redirects_are_shown_once():
    runs = read_script(render("fsm-1.5", {}, SPEC))
    lines = [(line.hook, line.chain, line.rule) for line in explain(runs.ruleset, FSM_1_5, runs.effective)]
    assert len(lines) == len(set(lines))
    assert sum(chain == "FSM_PROXY_OUT_REDIRECT" for _, chain, _ in lines) == 2
    assert [hook for hook, chain, _ in lines if chain == "FSM_PROXY_IN_REDIRECT"] == ["OUTPUT", "PREROUTING"]


@pytest.mark.parametrize(
    ("target", "effect"),
    [
        ("ACCEPT", "direct"),
        ("RETURN", "direct"),
        ("DROP", "drop"),
        ("REJECT", "reject"),
        ("REDIRECT --to-port 15003", "sidecar inbound"),
        ("REDIRECT --to-port 15001", "sidecar outbound"),
        ("DNAT --to-destination 127.0.0.153", "rewritten to 127.0.0.153"),
    ],
)
def test_who_takes_what_a_foreign_rule_matches(target, effect):
    text = render("fsm-1.5", {}, {}).replace("COMMIT", f"-A OUTPUT -p tcp --dport 25 -j {target}\nCOMMIT")
    runs = read_script(text)
    (foreign,) = [line for line in explain(runs.ruleset, FSM_1_5, runs.effective) if not line.why.find("not a rule")]
    assert (foreign.effect, foreign.decides, foreign.entries) == (effect, True, ())


def test_a_page_that_is_misprinted_twice_has_two_warnings():
    text = render("osm-0.11", {}, {"traffic": {"outboundIPRangeExclusionList": ["1.1.1.1/32", "2.2.2.2/32"]}})
    twice = text.replace("1.1.1.1/32 -j RETURN", "1.1.1.1/32 -j RETURN &&").replace("PROXY_", "fsm_PROXY_")
    assert [warning.partition(" ")[0] for warning in read_script(twice).warnings] == ["`&&", "chain"]
    assert len(read_script(twice.replace("&& &&", "&&")).warnings) == 1


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2.2.2.2/24", "2.2.2.0/24"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("172.31.255.255/12", "172.16.0.0/12"),
        ("192.0.2.129/25", "192.0.2.128/25"),
        ("255.255.255.255/32", "255.255.255.255/32"),
        ("255.254.253.252/31", "255.254.253.252/31"),
        ("9.9.9.9/0", "0.0.0.0/0"),
        ("10.0.0.0/33", "10.0.0.0/33"),
        ("10.0.0.1", "10.0.0.1"),
        ("256.0.0.0/8", "256.0.0.0/8"),
        ("fd00::1/8", "fd00::1/8"),
        ("x", "x"),
    ],
)
def test_a_range_as_iptables_stores_it(text, stored):
    assert network(text) == stored


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("255.255.255.255/32", True),
        ("256.0.0.0/8", False),
        ("10.0.0.0/00000000000000008", True),
        ("10.0.0.0/9999999999", False),
        ("::/128", True),
        ("1/64", False),
        ("fe80::1%eth0/64", False),
    ],
)
def test_ranges_without_go(text, good):
    assert is_cidr(text) is good


@pytest.mark.parametrize(
    ("outer", "inner", "held"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.0.0.0/8", "10.9.9.9/8", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.0.0.0/8", "11.0.0.0/16", False),
        ("0.0.0.0/0", "1.2.3.4/32", True),
        ("x", "x", True),
        ("fd00::/8", "fd00::/16", False),
        ("10.0.0.0/8", "x", False),
    ],
)
def test_a_range_that_holds_another(outer, inner, held):
    assert covers(outer, inner) is held


def test_how_much_of_all_addresses_a_range_is():
    shares = [address_share(text) for text in ("0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "fd00::/8", "10.0.0.0", "x/8")]
    assert shares == [1, 0.5, 1 / 256, 0, 0, 0]


def test_names_of_interfaces_are_taken_as_they_are():
    assert [parse_interface(name) for name in ("eth1", "veth+", "a" * 15)] == ["eth1", "veth+", "a" * 15]


def test_problems_of_a_pod_and_of_the_mesh_are_told_apart():
    annotations = {"flomesh.io/inbound-port-exclusion-list": "80,x", "flomesh.io/outbound-port-exclusion-list": "22"}
    spec = {"traffic": {"outboundPortExclusionList": "80", "networkInterfaceExclusionList": [7, "net1"]}}
    wanted, found = judged(FSM_1_5, annotations, spec)
    assert [entry.value for entry in wanted.entries] == ["22"], "what cannot be read is left out"
    assert [problem.text for problem in found] == [
        "the injector refuses the pod: annotation flomesh.io/inbound-port-exclusion-list holds 'x'",
        "MeshConfig: spec.traffic.outboundPortExclusionList is a string, not a list",
        "MeshConfig: spec.traffic.networkInterfaceExclusionList[0] is 7, not a network interface",
    ]


EDGE = {"traffic": {"interceptionMode": "iptables"}}


@pytest.mark.parametrize(
    ("group", "image", "version", "spec", "mesh"),
    [
        ("config.flomesh.io", "", "", {}, FSM),
        ("config.openservicemesh.io", "openservicemesh/osm-injector", "v1.2.4", {}, OSM),
        ("config.openservicemesh.io", "", "", {}, OSM),
        ("config.openservicemesh.io", "", "1.3.0", {}, OSM_EDGE),
        ("config.openservicemesh.io", "mirror/osm-edge-injector", "1.2.1", {}, OSM_EDGE),
        ("config.openservicemesh.io", "flomesh/osm-injector", "1.1.0", {}, OSM_EDGE),
        ("config.openservicemesh.io", "", "", {"sidecar": {"sidecarDrivers": []}}, OSM_EDGE),
        ("config.openservicemesh.io", "", "", {"sidecar": {"sidecarClass": "pipy"}}, OSM_EDGE),
        ("config.openservicemesh.io", "", "", EDGE, OSM_EDGE),
    ],
)
def test_which_mesh_serves_a_meshconfig(group, image, version, spec, mesh):
    assert family(group, image, version, spec) is mesh


@pytest.mark.parametrize(
    ("mesh", "version", "injector", "mode"),
    [
        (FSM, "v1.5.1", "fsm-1.5", "PodLevel"),
        (FSM, "1.5", "fsm-1.5", "PodLevel"),
        (FSM, "1.10.0", "fsm-1.5", "PodLevel"),
        (FSM, "1.4.17", "fsm-1.5", "iptables"),
        (FSM, "1.4.16", "fsm-1.2", "iptables"),
        (FSM, "1.4", "fsm-1.2", "iptables"),
        (FSM, "1.0.0-rc.1", "fsm-1.2", "iptables"),
        (FSM, "0.9", "fsm-1.2", "iptables"),
        (FSM, "latest", "fsm-1.5", "PodLevel"),
        (OSM_EDGE, "1.3.0", "osm-edge-1.3", "iptables"),
        (OSM_EDGE, "1.2.9", "osm-1.2", None),
        (OSM_EDGE, "1.1.0", "osm-edge-1.1", None),
        (OSM, "1.2.0", "osm-1.2", None),
        (OSM, "1.1.9", "osm-1.1", None),
        (OSM, "1.0.0", "osm-1.0", None),
        (OSM, "0.9.2", "osm-0.11", None),
    ],
)
def test_which_injector_a_version_has(mesh, version, injector, mode):
    release = mesh.release(version)
    assert (release.injector.name, release.mode) == (injector, mode)


def test_what_intercepts():
    def found(mesh, version, mode, *, config=True):
        spec = {"spec": {"traffic": {"interceptionMode": mode}}} if config else {}
        return Installation(mesh, "", "x", version, mesh.release(version), spec).intercepts

    assert found(FSM, "1.5.0", "PodLevel")
    assert not found(FSM, "1.5.0", "iptables")
    assert not found(FSM, "1.4.0", "")
    assert found(OSM, "1.2.0", "anything")
    assert found(FSM, "1.5.0", "", config=False)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ([("C0", "C1"), ("C1", "C0")], "loop: a packet in chain"),
        ([(f"C{number}", f"C{number + 1}") for number in range(40) for _ in "ab"], "branch too often"),
    ],
)
def test_a_script_whose_rules_nobody_can_follow_is_none(links, said):
    chains = sorted({name for link in links for name in link})
    lines = [*(f":{name} - [0:0]" for name in chains), *(f"-A {name} -j {other}" for name, other in links)]
    text = "\n".join(["iptables-restore --noflush <<EOF", "*nat", *lines, "-A OUTPUT -j C0", "COMMIT", "EOF", ""])
    with pytest.raises(RulesSyntaxError, match=said):
        read_script(text)
