"""Where a connection ends: each verdict by the rules of both pods, and what is said of each step on the way."""

from typing import NamedTuple

import pytest

from kubectl_fsm import interception, tracing, verdicts
from kubectl_fsm.exclusions import effective
from kubectl_fsm.generator import render
from kubectl_fsm.interception import read_script
from kubectl_fsm.meshes import INJECTORS
from kubectl_fsm.netfilter.model import Chain, Jump, Plain, Rule, Ruleset
from kubectl_fsm.services import Endpoint, Kind, PodReference, Routing, ServicePort
from kubectl_fsm.tracing import NO_RULES, Call, Decision, Dial, Result, Side

WEB, API, OUTSIDE, SERVICE = "10.244.1.2", "10.244.1.3", "192.0.2.1", "10.96.0.10"
SERVICE_PORT, TARGET_PORT = 80, 8080
SIDECAR_RETURN = "-A FSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN\n"
LOOPBACK_RETURN = "-A FSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN\n"


def side(title="pod/web", address=WEB, *, injector="fsm-1.5", edit=lambda text: text, pod_ip=False, assumed=False, mesh="fsm", tls=True, **traffic):  # fmt: skip
    """A pod in a mesh, with these lists in the MeshConfig; `edit` is what somebody did to its script by hand."""
    spec = {"traffic": traffic, "sidecar": {"localProxyMode": "PodIP"} if pod_ip else {}}
    runs = read_script(edit(render(injector, {}, spec)))
    generation = INJECTORS[injector]
    whys = {}
    for one in interception.explain(runs.ruleset, generation, effective(generation, {}, spec)):
        whys.setdefault((one.hook, one.chain, one.rule), one)
    return Side(title, address, assumed, runs.ruleset, whys=whys, mesh=mesh, tls=tls)


def web(**more):
    return side(**more)


def api(**more):
    return side("pod/api", API, **more)


def unmeshed(one):
    return Side(one.title, one.address, one.assumed, NO_RULES, "it is not injected")


def first(*rules):
    """By hand: rules before all others. They are inserted one before the other."""
    return lambda text: text.replace("COMMIT", "\n".join([*(f"-I {rule}" for rule in rules), "COMMIT"]))


def without(*lines):
    def edit(text):
        for line in lines:
            assert line in text
            text = text.replace(line, "")
        return text

    return edit


def endpoint(address=API, port=TARGET_PORT, share=1.0, **more):
    return Endpoint(address, port, share=share, **more)


def dial(*endpoints, address=SERVICE, port=SERVICE_PORT, sidecar=None, **more):
    return Dial(address, port, endpoints, endpoints if sidecar is None else sidecar, **more)


def routing(kind, *notes):
    return Routing(kind, ServicePort("shop", "api", "", SERVICE_PORT, "TCP", SERVICE), notes=notes)


TO_API = dial(endpoint())
TO_ITSELF = dial(endpoint(WEB))
NOWHERE = dial()
APPLICATION, SIDECAR_USER = Call(1000), Call(1500)


class Case(NamedTuple):
    """Who calls what, and what is to come of it."""

    result: Result
    text: str
    client: Side = web()
    server: Side | None = api()
    dial: Dial = TO_API
    routing: Routing | None = None
    call: Call = APPLICATION


DIALLED, TARGETED = {"outboundPortExclusionList": [SERVICE_PORT]}, {"inboundPortExclusionList": [TARGET_PORT]}
PLAIN_TEXT = "expected to fail: plain text, the server's sidecar wants TLS"
WRONGLY_TLS = "expected to fail: the client's sidecar speaks TLS, the application gets it"
TAKEN_AS_PLAIN = "the client's sidecar takes it, and it reaches the application as plain text"
NO_SIDECAR_THERE = "the client's sidecar takes it; the server has none: plain text, if egress is allowed"
TWO_MESHES = "expected to fail: the server's sidecar wants TLS of its own mesh"
WITHIN = "stays in the pod: straight to the application"
LOOPING = "loops: the sidecar's own connection is taken by the sidecar again"
LOOPING_THERE = "loops: the server's sidecar gets its own connection to the application"
DIRECT = "bypassed: straight to the application"
UNROUTED = "the client's sidecar takes it and does not know the Service; it goes on if egress is allowed"
NO_ENDPOINT = "fails: the client's sidecar takes it and has no endpoint to send it to"
DROP, REJECT = "OUTPUT -p tcp -j DROP", "OUTPUT -p tcp -j REJECT --reject-with tcp-reset"
IN_DROP, IN_REJECT = "PREROUTING -p tcp -j DROP", "PREROUTING -p tcp -j REJECT --reject-with tcp-reset"
OWN_DROP = "OUTPUT -p tcp -d 127.0.0.1/32 -m owner --uid-owner 1500 -j DROP"
UNTOLD = "OUTPUT -p tcp -m owner --gid-owner 1000 -j ACCEPT"
UNTOLD_USER = "not known: the packet does not tell its user or group, and that decides: table nat, chain OUTPUT, rule 1: -p tcp -m owner --gid-owner 1000 -j ACCEPT"
EXTERNAL = Endpoint(OUTSIDE, 5432, share=1.0)
GONE = endpoint(pod=PodReference("shop", "api-1", ""))

CASES = {
    "both sidecars": Case(Result.INTERCEPTED, "intercepted, mTLS"),
    "both sidecars, no TLS": Case(
        Result.INTERCEPTED, "intercepted, without TLS (sidecarDisabledMTLS)", web(tls=False), api(tls=False)
    ),
    "the endpoint's port does not exclude a Service's": Case(
        Result.INTERCEPTED, "intercepted, mTLS", web(outboundPortExclusionList=[TARGET_PORT])
    ),
    "the endpoint's address does not exclude a Service": Case(
        Result.INTERCEPTED, "intercepted, mTLS", web(outboundIPRangeExclusionList=[f"{API}/32"])
    ),
    "the Service's port excludes nothing inbound": Case(
        Result.INTERCEPTED, "intercepted, mTLS", server=api(inboundPortExclusionList=[SERVICE_PORT])
    ),
    "the sidecar uses what kube-proxy would not": Case(
        Result.INTERCEPTED, "intercepted, mTLS", dial=dial(sidecar=[endpoint()]), routing=routing(Kind.DROPPED)
    ),
    "sidecars that dial the pod's address": Case(
        Result.INTERCEPTED, "intercepted, mTLS", web(pod_ip=True), api(pod_ip=True)
    ),
    "excluded by port on the client": Case(Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, web(**DIALLED)),
    "excluded by the ClusterIP on the client": Case(
        Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, web(outboundIPRangeExclusionList=[f"{SERVICE}/32"])
    ),
    "outside the included ranges on the client": Case(
        Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, web(outboundIPRangeInclusionList=["10.244.0.0/16"])
    ),
    "a client without a sidecar": Case(Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, unmeshed(web())),
    "an application that runs as the sidecar": Case(Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, call=SIDECAR_USER),
    "plain text where there is no TLS": Case(
        Result.PLAIN_TO_SIDECAR,
        "plain text to the server's sidecar, which takes it (sidecarDisabledMTLS)",
        web(tls=False, **DIALLED),
        api(tls=False),
    ),
    "a server without a sidecar": Case(Result.SIDECAR_TO_PLAIN, NO_SIDECAR_THERE, server=unmeshed(api())),
    "excluded on the server": Case(Result.SIDECAR_TO_PLAIN, WRONGLY_TLS, server=api(**TARGETED)),
    "excluded on the server, no TLS": Case(
        Result.SIDECAR_TO_PLAIN, TAKEN_AS_PLAIN, web(tls=False), api(tls=False, **TARGETED)
    ),
    "excluded on another mesh's server": Case(
        Result.SIDECAR_TO_PLAIN, TAKEN_AS_PLAIN, server=api(mesh="osm", injector="osm-1.2", **TARGETED)
    ),
    "two meshes": Case(Result.BETWEEN_MESHES, TWO_MESHES, server=api(mesh="osm", injector="osm-1.2")),
    "two meshes, no TLS at the server": Case(
        Result.BETWEEN_MESHES,
        "through the sidecars of two meshes, as plain text (sidecarDisabledMTLS)",
        server=api(mesh="osm", injector="osm-1.2", tls=False),
    ),
    "excluded on both sides": Case(Result.BYPASSED, DIRECT, web(**DIALLED), api(**TARGETED)),
    "excluded, to a server without a sidecar": Case(Result.BYPASSED, DIRECT, web(**DIALLED), unmeshed(api())),
    "a client without a sidecar, excluded on the server": Case(
        Result.BYPASSED, DIRECT, unmeshed(web()), api(**TARGETED)
    ),
    "no sidecars": Case(
        Result.BYPASSED, "no sidecar on either side: straight to the application", unmeshed(web()), unmeshed(api())
    ),
    "to the outside": Case(
        Result.LEAVES, "the client's sidecar takes it; it goes on if egress is allowed", dial=NOWHERE
    ),
    "excluded, to the outside": Case(Result.BYPASSED, "bypassed: straight to the outside", web(**DIALLED), dial=NOWHERE),
    "without a sidecar to the outside": Case(
        Result.BYPASSED, "no sidecar: straight to the outside", unmeshed(web()), dial=NOWHERE
    ),
    "an endpoint that is no pod": Case(
        Result.LEAVES, "the client's sidecar takes it; the endpoint is no pod", dial=dial(EXTERNAL)
    ),
    "excluded, an endpoint that is no pod": Case(
        Result.BYPASSED, "bypassed: straight to an endpoint that is no pod", web(**DIALLED), dial=dial(EXTERNAL)
    ),
    "a Service that the sidecar does not route": Case(
        Result.LEAVES, UNROUTED, dial=dial(endpoint(), sidecar=()), routing=routing(Kind.BALANCED)
    ),
    "a headless Service that the sidecar does not route": Case(
        Result.LEAVES, UNROUTED, dial=dial(endpoint(), address=API, sidecar=()), routing=routing(Kind.HEADLESS)
    ),
    "a Service that neither the sidecar routes nor kube-proxy": Case(
        Result.LEAVES, UNROUTED, dial=NOWHERE, routing=routing(Kind.DROPPED)
    ),
    "an endpoint that cannot be read": Case(
        Result.UNKNOWN, "not known: pod/api-1, the endpoint, cannot be read", server=None, dial=dial(GONE)
    ),
    "no endpoint": Case(
        Result.REFUSED, "refused: no endpoint", web(**DIALLED), dial=NOWHERE, routing=routing(Kind.REJECTED)
    ),
    "no endpoint for the sidecar": Case(Result.REFUSED, NO_ENDPOINT, dial=NOWHERE, routing=routing(Kind.REJECTED)),
    "no endpoint that may be used": Case(
        Result.NO_ANSWER,
        "no answer: no endpoint that this client may use",
        web(**DIALLED),
        dial=NOWHERE,
        routing=routing(Kind.DROPPED),
    ),
    "headless without pods": Case(
        Result.REFUSED, "fails: DNS has no address for it", dial=dial(address=""), routing=routing(Kind.HEADLESS)
    ),
    "an ExternalName": Case(
        Result.UNKNOWN, "not followed: one; two", dial=dial(address=""), routing=routing(Kind.EXTERNAL_NAME, "one", "two")
    ),
    "a port that the Service lacks": Case(
        Result.UNKNOWN, "not followed: no such port", dial=NOWHERE, routing=routing(Kind.UNPROXIED, "no such port")
    ),
    "itself by loopback": Case(Result.BYPASSED, WITHIN, dial=dial(endpoint("127.0.0.1"), address="127.0.0.1", port=8080)),
    "itself by all of loopback": Case(Result.BYPASSED, WITHIN, dial=dial(endpoint("127.9.9.9"), address="127.9.9.9")),
    "itself by its own address": Case(Result.BYPASSED, WITHIN, dial=dial(endpoint(WEB), address=WEB, port=8080)),
    "itself by its own address, as the sidecar": Case(
        Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, dial=dial(endpoint(WEB), address=WEB), call=SIDECAR_USER
    ),
    "itself by its own address, with older rules": Case(
        Result.SIDECAR_TO_PLAIN, WRONGLY_TLS, web(injector="osm-0.11"), dial=dial(endpoint(WEB), address=WEB)
    ),
    "itself through a Service": Case(Result.INTERCEPTED, "intercepted, mTLS", server=web(), dial=TO_ITSELF),
    "itself through a Service, with older rules": Case(
        Result.SIDECAR_TO_PLAIN, WRONGLY_TLS, web(injector="osm-0.11"), web(), dial=TO_ITSELF
    ),
    "itself through a Service, bypassed": Case(
        Result.PLAIN_TO_SIDECAR, PLAIN_TEXT, web(**DIALLED), web(**DIALLED), dial=TO_ITSELF
    ),
    "the client's sidecar meets itself": Case(Result.LOOPS, LOOPING, web(edit=without(SIDECAR_RETURN))),
    "the server's sidecar meets itself": Case(
        Result.LOOPS, LOOPING_THERE, server=api(edit=without(SIDECAR_RETURN, LOOPBACK_RETURN))
    ),
    "dropped by the client": Case(
        Result.NO_ANSWER, "no answer: dropped by the client's rules", web(edit=first(DROP))
    ),
    "rejected by the client": Case(Result.REFUSED, "refused by the client's rules", web(edit=first(REJECT))),
    "rewritten by the client": Case(
        Result.REWRITTEN,
        "rewritten by the client's rules to 192.0.2.9:3128",
        web(edit=first("OUTPUT -p tcp -j DNAT --to-destination 192.0.2.9:3128")),
    ),
    "redirected past the sidecar by the client": Case(
        Result.REWRITTEN,
        "rewritten by the client's rules to 127.0.0.1:9999",
        web(edit=first("OUTPUT -p tcp -j REDIRECT --to-port 9999")),
    ),
    "the client's sidecar is dropped": Case(
        Result.NO_ANSWER,
        "no answer: dropped by the client's rules",
        web(edit=first("OUTPUT -p tcp -m owner --uid-owner 1500 -j DROP")),
    ),
    "dropped by the server": Case(
        Result.NO_ANSWER, "no answer: dropped by the server's rules", server=api(edit=first(IN_DROP))
    ),
    "rejected by the server": Case(Result.REFUSED, "refused by the server's rules", server=api(edit=first(IN_REJECT))),
    "rewritten by the server": Case(
        Result.REWRITTEN,
        "rewritten by the server's rules to the pod:9999",
        server=api(edit=first("PREROUTING -p tcp -j REDIRECT --to-port 9999")),
    ),
    "the server's sidecar is dropped": Case(
        Result.NO_ANSWER, "no answer: dropped by the server's rules", server=api(edit=first(OWN_DROP))
    ),
    "the server's sidecar is sent elsewhere": Case(
        Result.REWRITTEN,
        "rewritten by the server's rules to 192.0.2.9:3128",
        server=api(edit=first(OWN_DROP.replace("-j DROP", "-j DNAT --to-destination 192.0.2.9:3128"))),
    ),
    "the client's rules are not known": Case(Result.UNKNOWN, "not known: a riddle", Side("pod/web", WEB, False, None, "a riddle")),
    "the server's rules are not known": Case(
        Result.UNKNOWN, "not known: a riddle", server=Side("pod/api", API, False, None, "a riddle")
    ),
    "the caller's group decides and is not known": Case(Result.UNKNOWN, UNTOLD_USER, web(edit=first(UNTOLD))),
    "the sidecar's group decides and is not known": Case(Result.UNKNOWN, UNTOLD_USER, server=api(edit=first(UNTOLD))),
    "an excluded network interface": Case(
        Result.PLAIN_TO_SIDECAR,
        PLAIN_TEXT,
        web(networkInterfaceExclusionList=["net1"]),
        call=Call(1000, "net1"),
    ),
    "another network interface": Case(
        Result.INTERCEPTED, "intercepted, mTLS", web(networkInterfaceExclusionList=["net1"])
    ),
    "the server's network interface": Case(
        Result.SIDECAR_TO_PLAIN, WRONGLY_TLS, server=api(networkInterfaceExclusionList=["eth0"])
    ),
}  # fmt: skip


def followed(case):
    servers = {case.server.address: case.server} if case.server else {}
    return verdicts.follow(case.call, case.client, [case.dial], servers, case.routing)


@pytest.mark.parametrize("name", CASES)
def test_the_verdict(name):
    case = CASES[name]
    (way,) = followed(case).ways
    assert (way.result, way.text) == (case.result, case.text)


def test_every_result_has_a_case():
    assert {case.result for case in CASES.values()} == set(Result)


@pytest.mark.parametrize("name", CASES)
def test_every_step_says_why(name):
    for way in followed(CASES[name]).ways:
        assert all(step.why for step in way.steps)


def steps(case):
    (way,) = followed(case).ways
    return [(step.pod, step.hook, step.by, step.uid, step.destination, step.decision) for step in way.steps]


def test_the_steps_of_a_connection_between_two_sidecars():
    assert steps(Case(*CASES["both sidecars"][:2])) == [
        ("pod/web", "OUTPUT", "application", 1000, f"{SERVICE}:80", Decision.SIDECAR),
        ("pod/web", "OUTPUT", "sidecar", 1500, f"{API}:8080", Decision.DIRECT),
        ("pod/api", "PREROUTING", "network", None, f"{API}:8080", Decision.SIDECAR),
        ("pod/api", "OUTPUT", "sidecar", 1500, "127.0.0.1:8080", Decision.DIRECT),
    ]


def test_the_steps_of_a_connection_past_both():
    assert steps(CASES["excluded on both sides"]) == [
        ("pod/web", "OUTPUT", "application", 1000, f"{SERVICE}:80", Decision.DIRECT),
        ("pod/api", "PREROUTING", "network", None, f"{API}:8080", Decision.DIRECT),
    ]


def test_the_steps_of_a_pod_that_calls_itself_through_a_service():
    assert [step[2:] for step in steps(CASES["itself through a Service"])] == [
        ("application", 1000, f"{SERVICE}:80", Decision.SIDECAR),
        ("sidecar", 1500, f"{WEB}:8080", Decision.SIDECAR),
        ("sidecar", 1500, f"{WEB}:8080", Decision.SIDECAR),
        ("sidecar", 1500, "127.0.0.1:8080", Decision.DIRECT),
    ]
    (way,) = followed(CASES["itself through a Service"]).ways
    assert way.inbound == way.onward, "it comes in over loopback: PREROUTING is not asked"


def test_a_sidecar_that_dials_the_pods_own_address():
    (way,) = followed(CASES["sidecars that dial the pod's address"]).ways
    assert (way.last.decision, way.last.address, way.last.port) == (Decision.REWRITTEN, "$POD_IP", 8080)
    assert way.last.why == "the sidecar reaches the application at the pod's address (localProxyMode PodIP)"


def outbound(one, port=80, address=OUTSIDE, call=APPLICATION):
    return tracing.outbound(call, one, dial(address=address, port=port))


@pytest.mark.parametrize(
    ("traffic", "decision", "rule", "why", "entry"),
    [
        ({}, Decision.SIDECAR, "-j FSM_PROXY_OUT_REDIRECT", "everything else that leaves the pod", ""),
        (
            {"outboundPortExclusionList": [80, 8080]},
            Decision.DIRECT,
            "-p tcp --match multiport --dports 80,8080 -j RETURN",
            "excluded outbound ports",
            "port 80",
        ),
        (
            {"outboundIPRangeExclusionList": ["10.0.0.0/8", "192.0.2.0/24"]},
            Decision.DIRECT,
            "-d 192.0.2.0/24 -j RETURN",
            "excluded IP range",
            "range 192.0.2.0/24",
        ),
        (
            {"outboundIPRangeInclusionList": ["10.0.0.0/8", "192.0.2.0/24"]},
            Decision.SIDECAR,
            "-d 192.0.2.0/24 -j FSM_PROXY_OUT_REDIRECT",
            "included IP range",
            "range 192.0.2.0/24",
        ),
        (
            {"outboundIPRangeInclusionList": ["10.0.0.0/8", "172.16.0.0/12"]},
            Decision.DIRECT,
            "-j RETURN",
            "outside the included IP ranges",
            "outside range 10.0.0.0/8, outside range 172.16.0.0/12",
        ),
        (
            {"networkInterfaceExclusionList": ["eth+"]},
            Decision.DIRECT,
            "-o eth+ -j RETURN",
            "excluded network interface",
            "interface eth+",
        ),
    ],
)
def test_a_step_names_the_rule_that_decides_and_its_entry(traffic, decision, rule, why, entry):
    step = outbound(web(**traffic))
    assert (step.decision, step.rule, step.why, step.entry) == (decision, f"-A FSM_PROXY_OUTBOUND {rule}", why, entry)
    assert step.sources == (("MeshConfig",) if entry else ())


def test_an_annotation_may_write_a_port_with_a_sign():
    spec, annotations = {"traffic": {}}, {"flomesh.io/outbound-port-exclusion-list": "+080,443"}
    known = effective(INJECTORS["fsm-1.5"], annotations, spec, pod_source="deploy/web template")
    runs = read_script(render("fsm-1.5", annotations, spec))
    whys = {
        (one.hook, one.chain, one.rule): one for one in interception.explain(runs.ruleset, INJECTORS["fsm-1.5"], known)
    }
    step = outbound(Side("pod/web", WEB, False, runs.ruleset, whys=whys))
    assert step.sources == ("deploy/web template",)
    assert step.entry == "port 80"


def test_a_step_is_handed_to_a_port():
    assert (outbound(web()).address, outbound(web()).port) == ("127.0.0.1", 15001)
    assert (outbound(web(**DIALLED)).address, outbound(web(**DIALLED)).port) == (None, 80)
    coming = tracing.inbound(api(), endpoint())
    assert (coming.address, coming.port) == (None, 15003)


def test_a_rule_by_hand_is_not_taken_for_the_meshs():
    step = outbound(web(edit=first("OUTPUT -p tcp -j DROP")))
    assert (step.decision, step.rule, step.why) == (
        Decision.DROPPED,
        "-A OUTPUT -p tcp -j DROP",
        "not a rule that the mesh writes",
    )
    bare = Side("pod/web", WEB, False, web(edit=first("OUTPUT -p tcp -j DROP")).ruleset)
    assert outbound(bare)[8:10] == step[8:10], "also where nothing is known of any rule"


def test_the_last_rule_that_decides_counts():
    step = outbound(web(edit=last_in("OUTPUT -p tcp -j DROP"), **DIALLED))
    assert (step.decision, step.rule, step.entry) == (Decision.DROPPED, "-A OUTPUT -p tcp -j DROP", "")


def last_in(rule):
    return lambda text: text.replace("COMMIT", f"-A {rule}\nCOMMIT")


def test_the_sidecar_leaves_by_the_same_network_interface():
    client = web(edit=first("OUTPUT -o net1 -p tcp -m owner --uid-owner 1500 -j DROP"))
    assert tracing.onward(Call(1000, "net1"), client, endpoint(), {}).decision is Decision.DROPPED
    assert tracing.onward(APPLICATION, client, endpoint(), {}).decision is Decision.DIRECT


def test_the_path_marks_the_rules_that_matched():
    path = outbound(web(**DIALLED)).path
    assert path[0] == ("-A OUTPUT -p tcp -j FSM_PROXY_OUTBOUND", True)
    assert path[-1] == ("-A FSM_PROXY_OUTBOUND -p tcp --match multiport --dports 80 -j RETURN", True)
    assert [matched for _, matched in path[1:-1]] == [False] * (len(path) - 2)


def test_where_no_rule_takes_it_the_pods_reason_counts():
    assert outbound(unmeshed(web())).why == "it is not injected"
    assert outbound(unmeshed(web())._replace(reason="")).why == "no rule takes it"


def test_rules_that_go_round_in_circles_are_not_followed():
    chains = {
        name: Chain(name, policy, (Rule((), Jump("A")),)) for name, policy in (("OUTPUT", Plain.ACCEPT), ("A", None))
    }
    step = outbound(web()._replace(ruleset=Ruleset({"nat": chains})))
    assert step.decision is Decision.UNKNOWN
    assert "loop" in step.why


# Addresses that nobody knows


def test_a_stand_in_is_used_and_named_only_where_the_rules_ask_for_the_address():
    by_port = outbound_to_stand_in(web(**DIALLED))
    assert (by_port.decision, by_port.assumed) == (Decision.SIDECAR, SERVICE), "127.0.0.1 is not it"
    asked = outbound_to_stand_in(web(outboundIPRangeExclusionList=["10.0.0.0/8"]))
    assert (asked.decision, asked.assumed) == (Decision.DIRECT, SERVICE)
    not_asked = outbound_to_stand_in(unmeshed(web()))
    assert (not_asked.decision, not_asked.assumed, not_asked.destination) == (Decision.DIRECT, "", f"{SERVICE}:8080")
    undecided = outbound_to_stand_in(web(edit=first(UNTOLD)))
    assert (undecided.decision, undecided.assumed) == (Decision.UNKNOWN, "")


def outbound_to_stand_in(one):
    return tracing.outbound(APPLICATION, one, dial(address=SERVICE, port=8080, assumed=True))


def test_the_address_of_a_server_may_be_a_stand_in():
    loose = api(assumed=True)
    (way,) = verdicts.follow(APPLICATION, web(), [TO_API], {API: loose}, None).ways
    assert [step.assumed for step in way.steps] == ["", "", "", ""], (
        "neither the sidecar's way out nor a port asks for it"
    )
    edit = first(f"PREROUTING -p tcp -d {API}/32 -j ACCEPT")
    strict = tracing.inbound(api(assumed=True, edit=edit), endpoint())
    assert (strict.decision, strict.assumed) == (Decision.DIRECT, API)
    course = verdicts.follow(APPLICATION, web(), [TO_API], {API: api(assumed=True, edit=edit)}, None)
    assert [step.hook for step in course.assumed] == ["PREROUTING"]
    by_sidecar = web(edit=first(f"OUTPUT -p tcp -d {API}/32 -m owner --uid-owner 1500 -j ACCEPT"))
    assert tracing.onward(APPLICATION, by_sidecar, endpoint(), {API: loose}).assumed == API
    assert tracing.onward(APPLICATION, by_sidecar, endpoint(), {API: api()}).assumed == ""


def test_no_rule_sees_a_client_come_from_a_stand_in():
    edit = first(f"OUTPUT -p tcp -s {WEB}/32 -j ACCEPT")
    assert outbound(web(edit=edit)).decision is Decision.DIRECT
    unknown = outbound(web(edit=edit, assumed=True))
    assert unknown.decision is Decision.UNKNOWN
    assert unknown.why.startswith("the packet does not tell its address")
    inside = outbound(web(edit=edit), address="127.0.0.1")
    assert inside.decision is Decision.UNKNOWN, "nor does the pod's address when it dials itself"


# Several ways


API_2 = "10.244.1.4"
THREE = [endpoint(share=1 / 4), endpoint(API_2, share=1 / 4), endpoint("10.244.1.5", share=1 / 2)]


def ways(*dials, client=None, **servers):
    known = {API: api(), API_2: side("pod/api-2", API_2), "10.244.1.5": unmeshed(side("pod/api-3", "10.244.1.5"))}
    return verdicts.follow(APPLICATION, client or web(), dials, known, None).ways


def summed(found):
    return [(way.share, [one.address for one in way.endpoints], way.result) for way in found]


def test_endpoints_that_fare_alike_are_one_way():
    assert summed(ways(dial(*THREE))) == [
        (1 / 2, [API, API_2], Result.INTERCEPTED),
        (1 / 2, ["10.244.1.5"], Result.SIDECAR_TO_PLAIN),
    ]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((api(**TARGETED), 8080), (side("pod/api-2", API_2, inboundPortExclusionList=[8080, 9090]), 8080)),
        ((unmeshed(api()), 8080), (unmeshed(side("pod/api-2", API_2)), 8081)),
        ((api(), 8080), (side("pod/api-2", API_2, mesh="other"), 8080)),
        ((api(tls=False), 8080), (side("pod/api-2", API_2), 8080)),
    ],
    ids=["rule", "port", "result", "text"],
)
def test_endpoints_that_fare_otherwise_are_two_ways(one, two):
    endpoints = [endpoint(API, one[1]), endpoint(API_2, two[1])]
    found = verdicts.follow(APPLICATION, web(), [dial(*endpoints)], {API: one[0], API_2: two[0]}, None).ways
    assert [way.endpoints for way in found] == [(endpoints[0],), (endpoints[1],)]


def test_shares_of_dials_and_endpoints_multiply():
    one = dial(endpoint(share=1.0), address=API, share=1 / 4)
    two = dial(endpoint(API_2, share=1 / 2), endpoint("10.244.1.5", share=1 / 2), address=API_2, share=3 / 4)
    assert [share for share, _, _ in summed(ways(one, two))] == [1 / 4 + 3 / 8, 3 / 8]


@pytest.mark.parametrize(
    "dials",
    [
        [dial(endpoint(share=None), endpoint(API_2, share=1 / 2))],
        [dial(endpoint(share=1 / 2), endpoint(API_2, share=None))],
        [dial(endpoint(), endpoint(API_2), share=None)],
    ],
)
def test_a_share_that_is_not_known_makes_the_sum_unknown(dials):
    assert summed(ways(*dials)) == [(None, [API, API_2], Result.INTERCEPTED)]


def test_the_sidecar_picks_from_its_own_endpoints():
    one = dial(endpoint(), sidecar=[endpoint(API_2)])
    assert [addresses for _, addresses, _ in summed(ways(one))] == [[API_2]]
    assert [addresses for _, addresses, _ in summed(ways(one, client=web(**DIALLED)))] == [[API]]


def test_a_connection_that_the_client_ends_is_judged_for_each_endpoint():
    (way,) = ways(dial(*THREE), client=web(edit=first(DROP)))
    assert (way.share, len(way.endpoints), way.inbound) == (1.0, 3, None)


def test_a_dial_without_an_address_is_not_known():
    step = tracing.outbound(APPLICATION, web(), dial(address="", port=6379))
    assert (step.decision, step.destination, step.why) == (
        Decision.UNKNOWN,
        "?:6379",
        "there is no address to dial",
    )


# What is the same to a reader


def test_the_spelling_of_a_rule_makes_no_other_course():
    def course(**traffic):
        return verdicts.follow(APPLICATION, web(**traffic), [TO_API], {API: api()}, None)

    assert course(outboundPortExclusionList=[80]).gist == course(outboundPortExclusionList=[80, 443]).gist
    assert course(outboundPortExclusionList=[80]).gist != course().gist
    assert course(outboundPortExclusionList=[80]).gist != course(outboundIPRangeExclusionList=[f"{SERVICE}/32"]).gist


@pytest.mark.parametrize(
    "other",
    [
        dial(endpoint(API_2)),
        dial(endpoint(share=1 / 2)),
        dial(endpoint(), share=1 / 2),
    ],
)
def test_other_endpoints_or_shares_make_another_course(other):
    servers = {API: api(), API_2: side("pod/api", API_2)}
    found = [verdicts.follow(APPLICATION, web(), [one], servers, None).gist for one in (TO_API, other)]
    assert found[0] != found[1]


def test_another_verdict_or_source_makes_another_course():
    def gist(server, client=None):
        return verdicts.follow(APPLICATION, client or web(), [TO_API], {API: server}, None).gist

    assert gist(api()) != gist(api(tls=False))
    assert gist(api()) != gist(api(mesh="other"))
    client = web(**DIALLED)
    unsourced = {
        key: one._replace(entries=tuple(entry._replace(sources=()) for entry in one.entries))
        for key, one in client.whys.items()
    }
    assert gist(api(), client) != gist(api(), client._replace(whys=unsourced))
