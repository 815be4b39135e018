"""Reading what a pod runs, and whether the next one is injected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm import interception
from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.exclusions import Entry, effective, network
from kubectl_fsm.generator import render, script
from kubectl_fsm.interception import Comparison, injection, read_script
from kubectl_fsm.meshes import FSM, FSM_1_5, INJECTORS, OSM_0_11, OUTBOUND_PORTS, Installation


def install(mode="PodLevel", **traffic):
    config = {
        "kind": "MeshConfig",
        "metadata": {"name": "fsm-mesh-config", "namespace": "fsm-system"},
        "spec": {"traffic": {"interceptionMode": mode, **traffic}},
    }
    return Installation(FSM, "fsm", "fsm-system", "1.5.1", FSM.releases[0], config)


def pod(text, **metadata):
    container = {"name": "fsm-init", "command": ["/bin/sh"], "args": ["-c", text]}
    return {"kind": "Pod", "metadata": metadata, "spec": {"initContainers": [container]}}


def test_every_vector_reads_back_as_the_entries_it_was_made_from(vectors):
    cases = [case for case in json.loads(vectors.read_text()) if not case["error"]]
    assert {case["injector"] for case in cases} == set(INJECTORS)
    for case in cases:
        injector = INJECTORS[case["injector"]]
        wanted = effective(injector, case["annotations"], case["meshconfig"])
        runs = read_script(case["script"])
        assert runs.effective.keys() == wanted.keys()
        assert runs.effective.settings == wanted.settings
        assert injector in runs.injectors
        assert not interception.differs(runs.effective, wanted)


PORT_LISTS = st.lists(st.integers(1, 65535), max_size=15, unique=True)
RANGE_LISTS = st.lists(
    st.builds("{}.{}.{}.{}/{}".format, *[st.integers(0, 255)] * 4, st.integers(0, 32)), max_size=4, unique_by=network
)
SPECS = st.fixed_dictionaries(
    {
        "sidecar": st.fixed_dictionaries(
            {
                "localProxyMode": st.sampled_from(["Localhost", "PodIP"]),
                "localDNSProxy": st.fixed_dictionaries({"enable": st.booleans()}),
            }
        ),
        "traffic": st.fixed_dictionaries(
            {
                "outboundPortExclusionList": PORT_LISTS,
                "inboundPortExclusionList": PORT_LISTS,
                "outboundIPRangeExclusionList": RANGE_LISTS,
                "outboundIPRangeInclusionList": RANGE_LISTS,
                "networkInterfaceExclusionList": st.lists(
                    st.from_regex(r"[a-z]{1,8}[0-9]?\+?", fullmatch=True), max_size=3, unique=True
                ),
            }
        ),
    }
)


@given(st.sampled_from(list(INJECTORS.values())), SPECS)
def test_whatever_is_written_is_read_back(injector, spec):
    wanted = effective(injector, {}, spec)
    runs = read_script(script(injector, wanted))
    assert runs.effective.keys() == wanted.keys()
    assert runs.effective.settings == wanted.settings
    assert injector in runs.injectors


@pytest.mark.parametrize(
    ("writer", "spec", "readers"),
    [
        ("fsm-1.2", {"sidecar": {"localDNSProxy": {"enable": True}}}, ["fsm-1.2"]),
        ("fsm-1.2", {}, ["fsm-1.2", "fsm-1.5"]),
        ("osm-1.2", {"sidecar": {"localProxyMode": "PodIP"}}, ["osm-1.2", "osm-edge-1.3"]),
        ("osm-1.2", {"traffic": {"networkInterfaceExclusionList": ["net1"]}}, ["osm-1.2", "osm-edge-1.3"]),
        ("osm-1.1", {}, ["osm-1.1", "osm-edge-1.1", "osm-1.2", "osm-edge-1.3"]),
    ],
)
def test_only_injectors_that_know_a_list_or_setting_can_have_written_it(writer, spec, readers):
    assert [injector.name for injector in read_script(render(writer, {}, spec)).injectors] == readers


def test_the_documentations_spelling_and_misprint_are_read_and_named():
    text = render("fsm-1.5", {}, {"traffic": {"networkInterfaceExclusionList": ["net1"]}})
    runs = read_script(text.replace("FSM_PROXY", "fsm_PROXY"))
    assert FSM_1_5 in runs.injectors
    assert [entry.value for entry in runs.effective.entries] == ["net1"]
    assert any("fsm_PROXY_" in warning for warning in runs.warnings)
    old = render("osm-0.11", {}, {"traffic": {"outboundIPRangeExclusionList": ["1.1.1.1/32", "2.2.2.2/24"]}})
    misprinted = read_script(old.replace("1.1.1.1/32 -j RETURN &&", "1.1.1.1/32 -j RETURN && &&"))
    assert misprinted.injectors == [OSM_0_11]
    assert [entry.value for entry in misprinted.effective.entries] == ["2.2.2.2/24", "1.1.1.1/32"]
    assert len(misprinted.warnings) == 1


def test_loopback_excluded_by_a_user_is_an_entry():
    spec = {"traffic": {"outboundIPRangeExclusionList": ["127.0.0.1/32"]}}
    assert [entry.value for entry in read_script(render("fsm-1.5", {}, spec)).effective.entries] == ["127.0.0.1/32"]
    assert read_script(render("fsm-1.5", {}, {})).effective.entries == ()


def test_rules_of_somebody_else_are_told_apart():
    text = render("fsm-1.5", {}, {}).replace("COMMIT", "-A OUTPUT -p tcp --dport 25 -j DROP\nCOMMIT")
    runs = read_script(text)
    assert runs.injectors == []
    lines = list(interception.explain(runs.ruleset, FSM_1_5, runs.effective))
    (foreign,) = [line for line in lines if line.why == "not a rule that the mesh writes"]
    assert foreign.effect == "drop"


@pytest.mark.parametrize("command", [["/bin/sh", "-c"], ["/bin/sh", "-c", "reboot"], ["/pause"], []])
def test_a_container_that_runs_something_else(command):
    container = {"name": "fsm-init", "command": command}
    with pytest.raises(RulesSyntaxError):
        interception.running({"spec": {"initContainers": [container]}}, FSM)


def test_no_init_container():
    assert interception.running({"spec": {}}, FSM) is None


def test_order_of_evaluation_and_effects():
    spec = {
        "traffic": {
            "outboundPortExclusionList": [6379],
            "outboundIPRangeInclusionList": ["10.0.0.0/8"],
            "networkInterfaceExclusionList": ["net1"],
        }
    }
    wanted = effective(FSM_1_5, {}, spec)
    ruleset = read_script(render("fsm-1.5", {}, spec)).ruleset
    deciding = [
        (line.hook, line.effect, line.why) for line in interception.explain(ruleset, FSM_1_5, wanted) if line.decides
    ]
    assert deciding == [
        ("OUTPUT", "sidecar inbound", "the pod calling itself through a Service"),
        ("OUTPUT", "direct", "the application calling itself at the pod's own address"),
        ("OUTPUT", "direct", "the sidecar's own connections"),
        ("OUTPUT", "direct", "loopback"),
        ("OUTPUT", "direct", "excluded network interface"),
        ("OUTPUT", "direct", "excluded outbound ports"),
        ("OUTPUT", "sidecar outbound", "included IP range"),
        ("OUTPUT", "direct", "outside the included IP ranges"),
        ("PREROUTING", "direct", "excluded network interface"),
        ("PREROUTING", "direct", "the sidecar's metrics"),
        ("PREROUTING", "direct", "the rewritten liveness probe"),
        ("PREROUTING", "direct", "the rewritten readiness probe"),
        ("PREROUTING", "direct", "the rewritten startup probe"),
        ("PREROUTING", "direct", "the mesh's health check"),
        ("PREROUTING", "sidecar inbound", "everything else that enters the pod"),
    ]


NAMESPACE = {"metadata": {"name": "shop", "labels": {"flomesh.io/monitored-by": "fsm"}}}
ENABLED = {"flomesh.io/sidecar-injection": "Enabled"}


def namespace(labels=None, annotations=None, name="shop"):
    own = {"flomesh.io/monitored-by": "fsm"} if labels is None else labels
    return {"kind": "Namespace", "metadata": {"name": name, "labels": own, "annotations": annotations or {}}}


@pytest.mark.parametrize(
    ("spec", "annotations", "where", "injected", "reason"),
    [
        ({}, {}, namespace(annotations=ENABLED), True, ""),
        ({}, ENABLED, namespace(), True, ""),
        ({}, {}, namespace(), False, "neither the pod nor its namespace is annotated"),
        ({}, {"flomesh.io/sidecar-injection": "no"}, namespace(annotations=ENABLED), False, "the pod is annotated"),
        ({}, {}, namespace(annotations={"flomesh.io/sidecar-injection": "false"}), False, "the namespace is annotated"),
        ({}, {"flomesh.io/sidecar-injection": "on"}, namespace(annotations=ENABLED), False, "refuses the pod"),
        ({}, ENABLED, namespace(annotations={"flomesh.io/sidecar-injection": "on"}), False, "refuses the pod"),
        ({"hostNetwork": True}, ENABLED, namespace(), False, "host network"),
        ({"volumes": [{"name": "sidecar-bootstrap-config-volume"}]}, ENABLED, namespace(), False, "already holds"),
        ({}, ENABLED, namespace(labels={}), False, "not labelled"),
        ({}, ENABLED, namespace(labels={"flomesh.io/monitored-by": "other"}), False, "belongs to mesh other"),
        ({}, ENABLED, namespace(name="kube-system"), False, "leaves namespace kube-system alone"),
        ({}, ENABLED, namespace(name="fsm-system"), False, "leaves namespace fsm-system alone"),
        (
            {},
            ENABLED,
            namespace(labels={"flomesh.io/monitored-by": "fsm", "flomesh.io/ignore": ""}),
            False,
            "labelled flomesh.io/ignore",
        ),
        (
            {},
            ENABLED,
            namespace(labels={"flomesh.io/monitored-by": "fsm", "control-plane": ""}),
            False,
            "labelled control-plane",
        ),
        ({}, ENABLED, namespace(annotations={"flomesh.io/metrics": "maybe"}), False, "metrics is 'maybe'"),
        ({}, {}, None, True, "taken as part of the mesh"),
        ({}, {"flomesh.io/sidecar-injection": "no"}, None, False, "the pod is annotated"),
    ],
)
def test_injection(spec, annotations, where, injected, reason):
    verdict = injection({"metadata": {"annotations": annotations}, "spec": spec}, where, install())
    assert verdict.injected is injected
    assert reason in verdict.reason


def test_without_a_sidecar_metrics_are_not_asked_for():
    where = namespace(annotations={"flomesh.io/metrics": "maybe"})
    assert injection({"metadata": {"annotations": ENABLED}}, where, install("NodeLevel")).injected
    assert not injection({"metadata": {"annotations": ENABLED}}, where, install("PodLevel")).injected


@pytest.mark.parametrize(("name", "injected"), [("kube-system", False), ("fsm-system", False), ("shop", True)])
def test_a_name_alone_keeps_a_namespace_out(name, injected):
    around = interception.surroundings(name, None, install())
    assert injection({"metadata": {"annotations": ENABLED}}, around, install()).injected is injected
    assert interception.surroundings(name, namespace(), install()) == namespace()


def test_comparison():
    installation = install(outboundPortExclusionList=[6379])
    compare = Comparison(installation)
    same = pod(render("fsm-1.5", {}, installation.spec))
    older, strange, bare = pod(render("fsm-1.2", {}, installation.spec)), pod("reboot"), {"spec": {}}
    assert compare.outdated([same, older, bare], {}, installation.spec) == 0
    assert compare.outdated([same, strange, bare, strange], {}, installation.spec) == 2
    for value in ("80", "x"):
        lists = {"flomesh.io/outbound-port-exclusion-list": value}
        assert compare.outdated([same, older, bare], lists, installation.spec) == 2
    assert Comparison(install("NodeLevel")).outdated([same, bare], {}, install("NodeLevel").spec) == 1
    podip = {**installation.spec, "sidecar": {"localProxyMode": "PodIP"}}
    assert compare.outdated([same], {}, podip) == 1


def test_what_the_next_pod_will_run():
    template = {"metadata": {"annotations": {"flomesh.io/outbound-port-exclusion-list": "80"}}}
    found = interception.upcoming(template, None, install("NodeLevel"), {})
    assert (found.wanted, found.state, found.reason) == (None, "no-interception", "interceptionMode NodeLevel")
    found = interception.upcoming(template, None, install(), {})
    assert found.wanted is not None
    assert found.wanted.entries == (Entry(OUTBOUND_PORTS, "80", ("pod annotation",)),)
    bad = {"metadata": {"annotations": {"flomesh.io/outbound-port-exclusion-list": "80-90"}}}
    assert interception.upcoming(bad, None, install(), {}).state == "refused"
    assert interception.upcoming({"spec": {"hostNetwork": True}}, None, install(), {}).state == "not-injected"


def test_the_difference_of_two_pods_rules():
    spec = {"traffic": {"outboundPortExclusionList": [80, 443], "networkInterfaceExclusionList": ["net1"]}}
    runs = effective(FSM_1_5, {}, spec)
    later = {"traffic": {"outboundPortExclusionList": [443, 81], "outboundIPRangeExclusionList": ["10.0.0.0/8"]}}
    wanted = effective(FSM_1_5, {}, later | {"sidecar": {"localProxyMode": "PodIP"}})
    assert interception.difference(runs, wanted) == [
        "+81 outbound-port",
        "-80 outbound-port",
        "+10.0.0.0/8 outbound-ip",
        "-net1 interface",
        "+local-proxy-mode PodIP",
    ]
    assert interception.difference(wanted, wanted) == []


def test_effects_of_targets_that_no_injector_writes():
    """A script that somebody edited is explained too, without taking what goes on for a decision."""
    rules = [
        "-j LOG",
        "-j MARK --set-mark 1",
        "-g X",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-j DROP",
        "-j ACCEPT",
    ]
    text = " && ".join(["iptables -t nat -N X", *(f"iptables -t nat -A OUTPUT {rule}" for rule in rules)])
    runs = read_script(text)
    lines = interception.explain(runs.ruleset, None, runs.effective)
    assert [(line.effect, line.decides) for line in lines] == [
        ("logged", False),
        ("marked", False),
        ("go on in X", False),
        ("reject", True),
        ("drop", True),
        ("direct", True),
    ]
