"""The verb `trace`: what it says of manifests, of pods with their rules, and of clusters that do not show everything."""

import copy
import json
import re
from pathlib import Path

import pytest

from kubectl_fsm import cli, interception, reports, tracing
from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.generator import render
from kubectl_fsm.operations import trace as operation
from kubectl_fsm.output import grid, structured, table
from kubectl_fsm.tracing import Course, Result
from tests.unit.test_destinations import (
    API,
    PORT,
    SLICE,
    WEB,
    Files,
    at,
    bent,
    endpoint,
    endpoint_slice,
    service,
    workload,
)
from tests.unit.test_every_combination import ENDPOINT, STEP, TRACE, WAY
from tests.unit.test_guards_offline import NAMESPACE, deployment, meshconfig, pod, run  # noqa: F401 - a fixture
from tests.unit.test_held_edits import OLD, Remote, carry_out, running
from tests.unit.test_held_reports import hostile

SHOP = str(Path(__file__).parents[2] / "examples" / "shop")
GOLDEN = Path(__file__).parent / "golden" / "trace"
PLAIN = grid.Style()

# Whole answers

OF_SHOP = {
    "excluded-port.txt": ["deploy/web", "svc/redis:6379", "-n", "shop"],
    "excluded-port-wide.txt": ["deploy/web", "svc/redis:6379", "-n", "shop", "-o", "wide"],
    "service-by-address.json": ["deploy/web", "10.96.12.7:6379", "-n", "shop", "-o", "json"],
    "both-sidecars.txt": ["deploy/web", "svc/api:8080"],
    "itself-through-a-service-wide.txt": ["deploy/web", "svc/web", "-o", "wide"],
    "outside.txt": ["sts/redis", "192.0.2.1:443"],
}


@pytest.mark.parametrize("name", OF_SHOP)
def test_the_shop(name, capsys):
    assert cli.main(["trace", *OF_SHOP[name], "-f", SHOP]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ((GOLDEN / name).read_text(), "")


def restarting():
    """A client and two servers that run rules from before port 80 was excluded."""
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    return [*cluster(outboundPortExclusionList=[80]), at("10.244.1.4", "api-2"), service(PORT), both]


def cluster(*, web=WEB, api=API, **traffic):
    return [meshconfig(**traffic), NAMESPACE, deployment(), workload(), web, api]


@pytest.mark.parametrize("name", ["now-and-after-restart.txt", "now-and-after-restart.json"])
def test_what_a_restart_changes(name, run):  # noqa: F811
    words = ["-o", "json"] if name.endswith("json") else []
    code, out, err = run(restarting(), "trace", "deploy/web", "svc/api:80", "-n", "shop", *words)
    assert (code, out, err) == (0, (GOLDEN / name).read_text(), "")


def test_every_golden_file_has_a_case():
    cases = {*OF_SHOP, "now-and-after-restart.txt", "now-and-after-restart.json"}
    assert {path.name for path in GOLDEN.iterdir()} == cases


# On a terminal


@pytest.fixture
def terminal(monkeypatch):
    """Makes stdout a terminal of so many columns."""

    def terminal(columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return terminal


ROOMY = """\
         NOW                   AFTER RESTART
web OUT  sidecar               direct: port 80, MeshConfig
api svc  sidecar picks 1 of 2  kube-proxy, 2 × 50 %
api IN   sidecar               sidecar
VERDICT  \x1b[32mintercepted, mTLS\x1b[0m     \x1b[31mexpected to fail: plain text, the server's sidecar wants TLS\x1b[0m
"""
NARROW = """\
         NOW
web OUT  sidecar
api svc  sidecar picks 1 of 2
api IN   sidecar
VERDICT  \x1b[32mintercepted, mTLS\x1b[0m
         AFTER RESTART
web OUT  direct: port 80, MeshConfig
api svc  kube-proxy, 2 × 50 %
api IN   sidecar
VERDICT  \x1b[31mexpected to fail: plain text, the server's sidecar wants TLS\x1b[0m
"""


@pytest.mark.parametrize(("columns", "shown"), [(91, ROOMY), (90, NARROW), (80, NARROW)])
def test_moments_that_do_not_fit_beside_each_other_stand_below(run, terminal, columns, shown):  # noqa: F811
    terminal(columns)
    code, out, err = run(restarting(), "trace", "deploy/web", "svc/api:80", "-n", "shop")
    assert (code, err) == (0, "")
    assert out.startswith(f"{shown}Follows ")


def test_steps_that_do_not_fit_are_blocks(capsys, terminal):
    terminal(80)
    assert cli.main(["trace", *OF_SHOP["excluded-port-wide.txt"], "-f", SHOP, "--no-color"]) == 0
    assert capsys.readouterr().out.splitlines()[4:17] == [
        "VERDICT    expected to fail: plain text, the server's sidecar wants TLS",
        "",
        "NEXT POD  1",
        "POD       deploy/web",
        "HOOK      OUTPUT application",
        "SEES      10.96.12.7:6379",
        "DECISION  direct: port 6379, MeshConfig",
        "RULE      -A FSM_PROXY_OUTBOUND -p tcp --match multiport --dports 6379 -j RETURN",
        "",
        "NEXT POD  2",
        "POD       sts/redis",
        "HOOK      PREROUTING network",
        "SEES      10.244.255.5:6379",
    ]


def test_through_a_pipe_nothing_has_to_fit(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["trace", *OF_SHOP["excluded-port-wide.txt"], "-f", SHOP]) == 0
    assert capsys.readouterr().out == (GOLDEN / "excluded-port-wide.txt").read_text()


TRIALS = [
    reports.Trial("now", "pod/web-1 → 10.96.12.7:6379", ["redis-1", "redis-0"], {"redis-1": 30, "redis-0": 34}),
    reports.Trial("after-restart", "10.244.0.2 → redis-0", ["sidecar"], {"redis-0": 1}),
]


@pytest.mark.parametrize(("width", "no"), [(None, "NO"), (85, "\x1b[31mNO\x1b[0m")])
def test_whether_the_kernel_agrees_comes_first(width, no):
    lines = table_of(WAY, trials=TRIALS, style=grid.Style(colour=no != "NO", width=width))
    assert [re.split(" {2,}", line) for line in lines[5:9]] == [
        ["AGREE", "WHEN", "CONNECTION", "SIMULATED", "KERNEL (Linux)"],
        ["yes", "NOW", "pod/web-1 → 10.96.12.7:6379", "redis-0", "34 × redis-0"],
        ["", "redis-1", "30 × redis-1"],
        [no, "AFTER RESTART", "10.244.0.2 → redis-0", "sidecar", "1 × redis-0"],
    ]


def test_trials_that_do_not_fit_are_blocks():
    lines = table_of(WAY, trials=TRIALS, style=grid.Style(width=60))
    assert lines[5:18] == [
        "",
        "AGREE           yes",
        "WHEN            NOW",
        "CONNECTION      pod/web-1 → 10.96.12.7:6379",
        "SIMULATED       redis-0",
        "                redis-1",
        "KERNEL (Linux)  34 × redis-0",
        "                30 × redis-1",
        "",
        "AGREE           NO",
        "WHEN            AFTER RESTART",
        "CONNECTION      10.244.0.2 → redis-0",
        "SIMULATED       sidecar",
    ]


FINE_ONES = {Result.INTERCEPTED, Result.BYPASSED}
LOST_ONES = {Result.REFUSED, Result.NO_ANSWER, Result.LOOPS}


@pytest.mark.parametrize("result", Result)
def test_the_verdict_has_the_colour_of_what_it_means(result):
    """Mixed ways may work, and are expected to fail only where that is said."""

    def said(text):
        way = WAY._replace(result=result, text=text)
        return table_of(way, style=grid.Style(colour=True))[4].split("  ")[-1].strip()

    assert said("so") == (
        "\x1b[32mso\x1b[0m" if result in FINE_ONES else "\x1b[31mso\x1b[0m" if result in LOST_ONES else "so"
    )
    assert said("expected to fail: so") == "\x1b[31mexpected to fail: so\x1b[0m"


def test_each_of_several_verdicts_has_its_own_colour():
    lines = table_of(FINE, TROUBLE, style=grid.Style(colour=True))
    assert lines[6] == "VERDICT    1: \x1b[32mbypassed: straight\x1b[0m"
    assert lines[7].strip() == "2: \x1b[31mexpected to fail\x1b[0m"


# Now, and after a restart


@pytest.fixture
def trace(run):  # noqa: F811
    """The trace of these objects, as programs get it, of what is said to people."""

    def trace(objects, *argv):
        code, out, err = run(objects, "trace", *argv, "-n", "shop", "-o", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return trace


@pytest.fixture
def shown(run):  # noqa: F811
    def shown(objects, *argv):
        code, out, err = run(objects, "trace", *argv, "-n", "shop")
        assert (code, err) == (0, "")
        return out.splitlines()

    return shown


def applied(lines):
    return [line.removeprefix("After restart by: ") for line in lines if line.startswith("After restart by: ")]


WARNING = "Warning: what works now is expected to fail after the restart"


BEHIND = [service(PORT), SLICE]
TO_API = ["deploy/web", "svc/api:80"]
CALL = "deploy/web", "api-1:8080"
EXCLUDING_80 = render("fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": [80]}})


def scripted(made, script):
    """The pod with another script in its init container."""
    return bent(made, script, "spec", "initContainers", 0, "args", 1)


def test_pods_that_are_up_to_date_have_one_moment(trace, shown):
    found = trace([*cluster(), *BEHIND], *TO_API)
    assert (found["when"], found["verdict"], found["afterRestart"]) == ("now", "intercepted", None)
    assert found["from"] == {
        "pod": "web-1",
        "workload": "deploy/web",
        "namespace": "shop",
        "address": "10.244.1.2",
        "uid": 0,
        "uidAssumed": True,
        "interface": "eth0",
    }
    assert applied(shown([*cluster(), *BEHIND], *TO_API)) == []


def test_what_a_restart_changes_elsewhere_is_no_second_moment(trace, shown):
    objects = [*cluster(outboundPortExclusionList=[6379]), *BEHIND]
    assert trace(objects, *TO_API)["afterRestart"] is None
    assert applied(shown(objects, *TO_API)) == []
    both = cluster(web=scripted(WEB, EXCLUDING_80), outboundPortExclusionList=[80, 443])
    found = trace([*both, *BEHIND], *TO_API)
    assert (found["verdict"], found["afterRestart"]) == ("plain-to-sidecar", None), "80 is excluded before and after"


@pytest.mark.parametrize(
    ("web", "api", "command"),
    [
        (WEB, API, "kubectl fsm restart deploy/web deploy/api -n shop"),
        (scripted(WEB, EXCLUDING_80), API, None),
        (WEB, scripted(API, EXCLUDING_80), "kubectl fsm restart deploy/web -n shop"),
    ],
    ids=["both", "the server", "the client"],
)
def test_what_to_type_for_all_that_is_outdated(shown, web, api, command):
    """Where nothing changes for the connection, nothing is to be done for it."""
    found = shown([*cluster(web=web, api=api, outboundPortExclusionList=[80]), *BEHIND], *TO_API)
    assert applied(found) == ([command] if command else [])


def test_nothing_else_is_to_be_restarted(shown):
    """Neither a pod without a sidecar, nor one whose rules only stand in another order."""
    other_order = render(
        "fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": [80], "inboundPortExclusionList": [9, 8]}}
    )
    traffic = {"outboundPortExclusionList": [80], "inboundPortExclusionList": [8, 9]}
    template = workload()
    template["spec"]["template"]["metadata"]["annotations"] = {"flomesh.io/sidecar-injection": "disabled"}
    for api, made, config in (
        (uninjected(API), template, meshconfig(outboundPortExclusionList=[80])),
        (scripted(API, other_order), workload(), meshconfig(**traffic)),
    ):
        objects = [config, NAMESPACE, deployment(), made, WEB, api, *BEHIND]
        assert applied(shown(objects, *TO_API)) == ["kubectl fsm restart deploy/web -n shop"]


def unmeshed(made):
    """A pod from before its namespace joined the mesh."""
    made = copy.deepcopy(made)
    del made["spec"]["initContainers"], made["metadata"]["labels"]["fsm-proxy-uuid"]
    return made


def labelled(made):
    return bent(made, {"app": made["metadata"]["name"][:3], "fsm-proxy-uuid": "x"}, "metadata", "labels")


def test_a_pod_that_the_next_injection_reaches_is_to_be_restarted(trace, shown):
    objects = [*cluster(web=unmeshed(labelled(WEB)), api=labelled(API)), *BEHIND]
    found = trace(objects, *TO_API)
    assert (found["verdict"], found["afterRestart"]["verdict"]) == ("plain-to-sidecar", "intercepted")
    assert WARNING not in shown(objects, *TO_API)
    assert found["outbound"]["why"] == "it was made before it could be injected; the next pod will be"
    assert applied(shown(objects, *TO_API)) == ["kubectl fsm restart deploy/web -n shop"]


BAD = {"flomesh.io/outbound-port-exclusion-list": "http"}
TOO_LARGE = {"flomesh.io/outbound-port-exclusion-list": "70000"}


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        (BAD, "not known: the next pod of pod/web-1 is refused: the injector refuses the next pod: Invalid port value 'http'"),
        (TOO_LARGE, "not known: the next pod will not start: "),
    ],
)  # fmt: skip
def test_nobody_is_told_to_restart_what_would_not_start_again(trace, shown, annotations, said):
    objects = [meshconfig(), NAMESPACE, deployment(annotations=annotations), workload(), WEB, API, *BEHIND]
    found = trace(objects, *TO_API)
    assert found["verdict"] == "intercepted"
    assert found["afterRestart"]["verdict"] == "unknown"
    assert found["afterRestart"]["explanation"].startswith(said)
    assert applied(shown(objects, *TO_API)) == []


def test_a_pod_that_has_never_run_has_no_now(trace):
    for made in (bent(WEB, None, "status"), bent(unmeshed(labelled(WEB)), None, "status")):
        for namespace in (NAMESPACE, bent(NAMESPACE, {}, "metadata", "labels")):
            found = trace([meshconfig(), namespace, deployment(), workload(), made, API, *BEHIND], *TO_API)
            assert (found["when"], found["afterRestart"]) == ("next-pod", None)


def test_a_server_to_come_is_as_its_template_makes_it_now_and_later(trace):
    found = trace([*cluster()[:-1], service(PORT)], *TO_API)
    assert (found["when"], found["verdict"], found["afterRestart"]) == ("now", "intercepted", None)


def test_a_client_with_several_rules_is_one_of_them(trace):
    other = scripted(at("10.244.1.9", "web-2", "web"), EXCLUDING_80)
    found = trace([*cluster(), other, *BEHIND], *TO_API)
    assert "the 2 pods of deploy/web run 2 different rules; this is pod/web-1" in found["notes"]
    same = trace([*cluster(), at("10.244.1.9", "web-2", "web"), *BEHIND], *TO_API)
    assert not [note for note in same["notes"] if "different rules" in note]


def test_servers_with_different_rules_are_shown_apart(shown, trace):
    other = scripted(
        at("10.244.1.4", "api-2"), render("fsm-1.5", {}, {"traffic": {"inboundPortExclusionList": [8080]}})
    )
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    objects = [*cluster(), other, service(PORT), both]
    rows = shown(objects, *TO_API)
    assert [re.split(" {2,}", line) for line in rows[:8]] == [
        ["", "NOW", "AFTER RESTART"],
        ["web OUT", "sidecar", "sidecar"],
        ["api svc", "sidecar picks 1 of 2", "sidecar picks 1 of 2"],
        ["WAYS", "1: 50 %, 1 endpoint", "1: 100 %, 2 endpoints"],
        ["", "2: 50 %, 1 endpoint"],
        ["api IN", "1: sidecar", "sidecar"],
        ["", "2: direct: port 8080"],
        ["VERDICT", "1: intercepted, mTLS", "intercepted, mTLS"],
    ]
    assert rows[8].strip() == "2: expected to fail: the client's sidecar speaks TLS, the application gets it"
    found = trace(objects, *TO_API)
    assert [(way["share"], way["endpoints"], way["verdict"]) for way in found["ways"]] == [
        (0.5, ["10.244.1.3:8080"], "intercepted"),
        (0.5, ["10.244.1.4:8080"], "sidecar-to-plain"),
    ]
    assert (found["verdict"], found["explanation"], found["inbound"]) == (None, None, None)
    assert found["outbound"]["decision"] == "sidecar"


def test_ways_that_read_alike_are_counted_together(shown):
    def excluding(*ports):
        return render("fsm-1.5", {}, {"traffic": {"inboundPortExclusionList": list(ports)}})

    more = [at("10.244.1.4", "api-2"), at("10.244.1.5", "api-3")]
    more = [scripted(more[0], excluding(8080)), scripted(more[1], excluding(8080, 9090))]
    slices = endpoint_slice(*(endpoint(f"10.244.1.{n + 2}", f"api-{n}") for n in (1, 2, 3)))
    rows = shown([*cluster(), *more, service(PORT), slices], *TO_API)
    assert rows[1].split() == ["web", "OUT", "sidecar", "sidecar"]
    assert [re.split(" {2,}", line)[1] for line in rows[3:7]] == [
        *("1: 33 %, 1 endpoint", "2: 67 %, 2 endpoints", "1: sidecar", "2: direct: port 8080")
    ]


def table_of(*ways, style=PLAIN, **other):
    """The lines of a trace whose connections go these ways now."""
    moments = [reports.Moment("now", Course(ways))]
    return table.as_table(TRACE._replace(moments=moments, **other), style).splitlines()


def to(*addresses, **other):
    """A way to these endpoints."""
    return WAY._replace(endpoints=tuple(ENDPOINT._replace(address=address) for address in addresses), **other)


LONG = to(*(f"10.0.0.{number}" for number in range(1, 6)), share=None)
NOBODY = to(share=0.5, inbound=None, result=Result.LEAVES, text="leaves")
OTHER = to("10.0.0.9", share=0.002, result=Result.UNKNOWN, text="not known")


def test_each_line_names_the_ways_that_it_is_about():
    lines = table_of(LONG, NOBODY, OTHER)
    assert [re.split(" {2,}", line) for line in lines[1:9]] == [
        ["web OUT", "direct: port 6379, MeshConfig"],
        ["redis svc", "kube-proxy, 1 × 100 %"],
        ["WAYS", "1: 5 endpoints"],
        ["", "2: 50 %, no endpoint"],
        ["", "3: < 1 %, 1 endpoint"],
        ["redis IN", "1, 3: direct: port 6379, MeshConfig"],
        ["", "2: -"],
        ["VERDICT", "1: bypassed: straight"],
    ]
    assert [line.strip() for line in lines[9:11]] == ["2: leaves", "3: not known"]


def test_the_wide_form_lists_what_is_at_the_end_of_each_way():
    lines = table_of(LONG, NOBODY, OTHER, style=grid.Style(wide=True))
    assert [line.removeprefix("WAYS").strip() for line in lines[3:6]] == [
        "1: 5 endpoints: 10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3:6379 and 2 more",
        "2: 50 %, no endpoint",
        "3: < 1 %, 1 endpoint: 10.0.0.9:6379",
    ]


def test_an_endpoint_that_several_dials_reach_is_one():
    assert "1: 50 %, 1 endpoint" in table_of(to("10.0.0.1", "10.0.0.1", share=0.5), NOBODY)[3]


def test_ways_that_read_alike_have_no_share_where_one_is_not_known():
    same = LONG._replace(share=0.5, endpoints=(ENDPOINT,), outbound=STEP._replace(rule="-A X -j ACCEPT"))
    for ways in ((LONG, same), (same, LONG)):
        assert table_of(*ways, NOBODY)[3].split("  ")[-1].strip() == "1: 6 endpoints"


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100 %"), (0.5, "50 %"), (1 / 3, "33 %"), (0.01, "1 %"), (0.009, "< 1 %"), (0.995, "> 99 %"), (0.99, "99 %"), (sum([0.1] * 10), "100 %")],
)  # fmt: skip
def test_shares(share, said):
    routing = TRACE.service._replace(endpoints=[ENDPOINT._replace(share=share)])
    assert table_of(WAY, service=routing)[2].endswith(f"kube-proxy, 1 × {said}")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("svc/redis:6379", "redis"),
        ("svc/redis.shop:6379", "redis.shop"),
        ("svc/redis", "redis"),
        ("10.96.12.7:6379", "redis.shop"),
    ],
)
def test_a_service_is_called_by_its_name(target, name):
    assert [line.split("  ")[0] for line in table_of(WAY, target=target)[2:4]] == [f"{name} svc", f"{name} IN"]


@pytest.mark.parametrize(
    ("target", "name"), [("api-1:80", "api-1"), ("deploy/api", "api"), ("10.0.0.1:80", "10.0.0.1")]
)
def test_what_is_no_service_is_called_as_it_was_written(target, name):
    assert table_of(WAY, target=target, service=None)[2].startswith(f"{name} IN  ")


FINE = to("10.0.0.1")
TROUBLE = FINE._replace(result=Result.PLAIN_TO_SIDECAR, text="expected to fail")
OPEN = FINE._replace(result=Result.LEAVES)
ELSEWHERE = to("10.0.0.2", result=Result.REFUSED)
OUTSIDE = to(text="bypassed: straight to the outside")


@pytest.mark.parametrize(
    ("now", "later", "warned"),
    [
        ([FINE], [TROUBLE], True),
        ([FINE._replace(result=Result.INTERCEPTED)], [TROUBLE], True),
        ([TROUBLE], [FINE], False),
        ([FINE], [OPEN], False),
        ([OPEN], [TROUBLE], False),
        ([FINE, ELSEWHERE], [TROUBLE, ELSEWHERE], True),
        ([TROUBLE, ELSEWHERE], [FINE, ELSEWHERE], False),
        ([FINE, ELSEWHERE], [FINE._replace(result=Result.INTERCEPTED), ELSEWHERE], False),
        ([OUTSIDE], [OUTSIDE._replace(result=Result.NO_ANSWER)], True),
    ],
)
def test_a_restart_that_breaks_what_works_is_warned_of(now, later, warned):
    moments = [reports.Moment("now", Course(now)), reports.Moment("after-restart", Course(later))]
    *_, last, apply = table.as_table(TRACE._replace(moments=moments), PLAIN).splitlines()
    assert (last, apply) == (WARNING if warned else "Note: a note", "After restart by: kubectl fsm restart")


def hops(lines):
    """The steps that the wide form lists: heading and cells."""
    start = next(number for number, line in enumerate(lines) if line.endswith("RULE"))
    end = next(number for number, line in enumerate(lines) if line.startswith("Follows"))
    return [re.split(" {2,}", line) for line in lines[start:end]]


def test_no_step_of_a_way_is_left_out_of_the_wide_form(shown):
    """Also where the sidecar does the same as before: it sends on to the server, and to the application in its pod."""
    web = bent(WEB, "api", "metadata", "labels", "app")
    slices = endpoint_slice(*(endpoint(f"10.244.1.{n}", f"{'web' if n == 2 else 'api'}-{n - 2}") for n in (3, 4, 2)))
    objects = [*cluster(web=web), at("10.244.1.4", "api-2"), service(PORT), slices]
    head, *rows = hops(shown(objects, *TO_API, "-o", "wide"))
    assert head == ["NOW", "WAY", "POD", "HOOK", "SEES", "DECISION", "RULE"]
    own = "direct: the sidecar's own connections"
    assert [row[:-1] for row in rows] == [
        ["1", "1, 2", "pod/web-1", "OUTPUT application", "10.96.0.10:80", "sidecar"],
        ["2", "1", "pod/web-1", "OUTPUT sidecar", "10.244.1.2:8080", "sidecar"],
        ["3", "1", "pod/web-1", "OUTPUT sidecar", "127.0.0.1:8080", own],
        ["4", "2", "pod/web-1", "OUTPUT sidecar", "10.244.1.3:8080 and 1 more", own],
        ["5", "2", "pod/api-1 and 1 more", "PREROUTING network", "10.244.1.3:8080 and 1 more", "sidecar"],
        ["6", "2", "pod/api-1 and 1 more", "OUTPUT sidecar", "127.0.0.1:8080", own],
    ]


def test_a_rule_by_hand_is_shown_with_where_it_leads(shown):
    by_hand = OLD.replace("COMMIT", "-I OUTPUT -p tcp -j DNAT --to-destination 192.0.2.9:3128\nCOMMIT")
    rows = shown([*cluster(web=scripted(WEB, by_hand)), *BEHIND], *TO_API)
    assert "rewritten to 192.0.2.9:3128: not a rule that the mesh writes" in rows[1]
    assert rows[2].split()[2] == "-"
    by_hand = OLD.replace("COMMIT", "-I PREROUTING -p tcp -j REDIRECT --to-port 9999\nCOMMIT")
    rows = shown([*cluster(api=scripted(API, by_hand)), *BEHIND], *TO_API)
    assert "rewritten to the pod:9999: not a rule that the mesh writes" in rows[3]


def test_each_pods_sources_are_its_own(trace):
    """The same rules can come from two templates."""
    annotations = {"flomesh.io/inbound-port-exclusion-list": "8080"}
    api = workload()
    api["spec"]["template"]["metadata"]["annotations"] = annotations
    found = trace([meshconfig(), NAMESPACE, deployment(annotations=annotations), api, service(PORT)], *TO_API)
    assert found["inbound"]["sources"] == ["deploy/api template"]


# Pods that have no rules, or rules that nobody can read


def failed(made):
    state = {"terminated": {"exitCode": 4, "message": "no such command"}}
    return bent(made, state, "status", "initContainerStatuses", 0, "state")


def external(made):
    return scripted(made, "reboot")


def uninjected(made):
    return bent(unmeshed(labelled(made)), {"flomesh.io/sidecar-injection": "disabled"}, "metadata", "annotations")


def without_init(made):
    made = copy.deepcopy(made)
    del made["spec"]["initContainers"]
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (failed, "does not start: Error, exit code 4: no such command"),
        (external, "has rules from elsewhere: its init container ran something else than an injector writes: "),
        (
            without_init,
            "has rules from elsewhere: it is injected but has no init container: its rules come from elsewhere",
        ),
    ],
)
@pytest.mark.parametrize("side", ["web", "api"])
def test_rules_that_cannot_be_read_are_not_guessed(trace, change, said, side):
    changed = change(labelled({"web": WEB, "api": API}[side]))
    found = trace([*cluster(**{side: changed}), *BEHIND], *TO_API)
    assert found["verdict"] == "unknown"
    assert found["explanation"].startswith(f"not known: pod/{side}-1 {said}")
    assert found["afterRestart"]["verdict"] == "intercepted"


@pytest.mark.parametrize(("side", "verdict"), [("web", "plain-to-sidecar"), ("api", "sidecar-to-plain")])
def test_a_pod_without_a_sidecar(trace, side, verdict):
    changed = uninjected({"web": WEB, "api": API}[side])
    templates = {"web": deployment(), "api": workload()}
    templates[side]["spec"]["template"]["metadata"]["annotations"] = {"flomesh.io/sidecar-injection": "disabled"}
    pods = {"web": WEB, "api": API, side: changed}
    found = trace([meshconfig(), NAMESPACE, *templates.values(), *pods.values(), *BEHIND], *TO_API)
    assert (found["verdict"], found["afterRestart"]) == (verdict, None)
    where = found["outbound" if side == "web" else "inbound"]
    assert (where["decision"], where["rule"]) == ("direct", None)
    assert where["why"] == "the pod is annotated flomesh.io/sidecar-injection: disabled"


@pytest.mark.parametrize("mode", ["NodeLevel", "ebpf"])
def test_a_mode_that_writes_no_rules_is_not_followed(trace, mode):
    pods = {"web": without_init(labelled(WEB)), "api": without_init(labelled(API))}
    found = trace([meshconfig(mode), *cluster(**pods)[1:], *BEHIND], *TO_API)
    assert found["verdict"] == "unknown"
    assert found["explanation"] == f"not known: pod/web-1 has no rules of its own: interceptionMode {mode}"
    assert found["afterRestart"]["explanation"].endswith(f"has no rules of its own: interceptionMode {mode}")


@pytest.mark.parametrize("mode", ["none", ""])
def test_a_mode_that_intercepts_nothing_leaves_the_sidecar_aside(trace, mode):
    pods = {"web": without_init(labelled(WEB)), "api": without_init(labelled(API))}
    found = trace([meshconfig(mode), *cluster(**pods)[1:], *BEHIND], *TO_API)
    assert (found["verdict"], found["explanation"]) == ("bypassed", "bypassed: straight to the application")
    half = trace([meshconfig(mode), *cluster(api=pods["api"])[1:], *BEHIND], *TO_API)
    assert half["explanation"] == "expected to fail: the client's sidecar speaks TLS, the application gets it"
    assert half["afterRestart"]["verdict"] == "bypassed"


def osm_meshconfig():
    config = bent(meshconfig(), "config.openservicemesh.io/v1alpha2", "apiVersion")
    del config["spec"]["traffic"]["interceptionMode"]
    return bent(config, {"name": "osm-mesh-config", "namespace": "osm-system"}, "metadata")


OSM_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "shop", "labels": {"openservicemesh.io/monitored-by": "osm"}, "annotations": {"openservicemesh.io/sidecar-injection": "enabled"}},
}  # fmt: skip


def test_a_pod_that_osm_refuses_is_not_taken_for_one_without_a_sidecar(trace):
    refused = deployment(annotations={"openservicemesh.io/outbound-port-exclusion-list": "http"})
    found = trace([osm_meshconfig(), OSM_NAMESPACE, refused, workload(), service(PORT)], *TO_API)
    assert (found["when"], found["verdict"]) == ("next-pod", "unknown")
    assert "refused" in found["explanation"]


def test_two_meshes_do_not_trust_each_other(trace):
    elsewhere = {"namespace": "cart"}
    osm = bent(OSM_NAMESPACE, "cart", "metadata", "name")
    api = workload() | {"metadata": {"name": "api", **elsewhere}}
    one = service(PORT) | {"metadata": {"name": "api", **elsewhere}}
    objects = [meshconfig(), osm_meshconfig(), NAMESPACE, osm, deployment(), api, one]
    found = trace(objects, "deploy/web", "svc/api.cart:80")
    assert (found["verdict"], found["service"]["namespace"]) == ("between-meshes", "cart")


def test_a_pod_of_which_nothing_tells_the_mesh_is_in_none_of_two(trace):
    outside = bent(NAMESPACE, {}, "metadata", "labels")
    objects = [meshconfig(), osm_meshconfig(), outside, deployment(), workload(), service(PORT)]
    assert trace(objects, *TO_API)["verdict"] == "bypassed"


def test_each_pods_own_namespace_is_read(trace):
    cart = bent(NAMESPACE, {"name": "cart"}, "metadata")
    api = bent(unmeshed(labelled(API)), "cart", "metadata", "namespace")
    template = bent(workload(), "cart", "metadata", "namespace")
    objects = [meshconfig(), NAMESPACE, deployment(), WEB, cart, template, api]
    found = trace(objects, "deploy/web", "10.244.1.3:8080")
    assert (found["verdict"], found["afterRestart"]) == ("sidecar-to-plain", None)


def test_what_the_meshconfig_says_of_tls_counts(trace):
    without = bent(meshconfig(outboundPortExclusionList=[80]), {"sidecarDisabledMTLS": True}, "spec", "sidecar")
    found = trace([without, *cluster()[1:], *BEHIND], *TO_API)
    assert found["explanation"] == "intercepted, without TLS (sidecarDisabledMTLS)"
    assert found["afterRestart"]["explanation"].startswith("plain text to the server's sidecar, which takes it")


# Services that the mesh leaves out


ANNOTATED = {"metadata": {"name": "api", "namespace": "shop", "annotations": {"flomesh.io/service-exclusion": "true"}}}
LISTING = bent(
    NAMESPACE,
    {"flomesh.io/sidecar-injection": "enabled", "flomesh.io/service-exclusion-list": "other, api"},
    *("metadata", "annotations"),
)


@pytest.mark.parametrize(
    ("namespace", "one", "said"),
    [
        (NAMESPACE, service(PORT) | ANNOTATED, "svc/api is annotated flomesh.io/service-exclusion"),
        (LISTING, service(PORT), "ns/shop is annotated flomesh.io/service-exclusion-list: other, api"),
    ],
)
def test_a_service_that_fsm_leaves_out_is_not_known_to_the_sidecar(trace, shown, namespace, one, said):
    objects = [meshconfig(), namespace, deployment(), workload(), WEB, API, one, SLICE]
    found = trace(objects, *TO_API)
    assert found["verdict"] == "leaves"
    assert found["explanation"].endswith("does not know the Service; it goes on if egress is allowed")
    assert f"{said}: the client's sidecar does not route it" in found["notes"]
    assert shown(objects, *TO_API)[2].split() == ["api", "svc", "-"]


def test_a_service_that_fsm_leaves_out_can_be_reached_past_the_sidecar(trace):
    objects = [
        *cluster(web=scripted(WEB, EXCLUDING_80), outboundPortExclusionList=[80]),
        service(PORT) | ANNOTATED,
        SLICE,
    ]
    assert trace(objects, *TO_API)["verdict"] == "plain-to-sidecar"


def test_a_namespace_is_read_for_its_services_even_if_no_pod_of_it_is_concerned(trace):
    outside = {"name": "api", "namespace": "cart"}
    one = service(PORT, selector={}) | {"metadata": outside}
    elsewhere = bent(endpoint_slice(endpoint("192.0.2.9")), "cart", "metadata", "namespace")
    cart = bent(LISTING, "cart", "metadata", "name")
    found = trace([*cluster(), one, elsewhere, cart], "deploy/web", "svc/api.cart:80")
    assert found["explanation"].endswith("does not know the Service; it goes on if egress is allowed")


def test_under_another_mesh_fsms_annotations_do_nothing(trace):
    one = service(PORT) | ANNOTATED
    found = trace([osm_meshconfig(), OSM_NAMESPACE, deployment(), workload(), one], *TO_API)
    assert (found["verdict"], [note for note in found["notes"] if "route" in note]) == ("intercepted", [])


# Cilium


def cilium(**data):
    named = {key.replace("_", "-"): value for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": named}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"bpf_lb_sock": "true"}, "bpf-lb-sock: true"),
        ({"kube_proxy_replacement": "true"}, "kube-proxy-replacement: true"),
        ({"kube_proxy_replacement": "strict"}, "kube-proxy-replacement: strict"),
        ({"bpf_lb_sock": "false", "kube_proxy_replacement": "true"}, "kube-proxy-replacement: true"),
        ({"bpf_lb_sock": "true", "bpf_lb_sock_hostns_only": "false"}, "bpf-lb-sock: true"),
        ({"bpf_lb_sock": "true", "bpf_lb_sock_hostns_only": "true"}, ""),
        ({"kube_proxy_replacement": "true", "bpf_lb_sock_hostns_only": "true"}, ""),
        ({"bpf_lb_sock": "false"}, ""),
        ({"kube_proxy_replacement": "false"}, ""),
        ({"kube_proxy_replacement": "partial"}, ""),
        ({}, ""),
    ],
)
def test_with_ciliums_socket_balancing_rules_see_the_endpoint(trace, shown, data, key):
    excluded = cluster(web=scripted(WEB, EXCLUDING_80), outboundPortExclusionList=[80])
    objects = [*excluded, *BEHIND, cilium(**data)]
    found = trace(objects, *TO_API)
    if key:
        said = f"Cilium's socket load balancing ({key} in ConfigMap cilium-config): rules see the endpoint, not the Service"
        assert found["assumptions"][0] == said
        assert found["hops"][0]["destination"] == "10.244.1.3:8080"
        assert found["verdict"] == "intercepted", "port 80 is the Service's, and no rule sees it"
        assert shown(objects, *TO_API)[2].split(maxsplit=2)[2] == "Cilium, 1 × 100 %"
    else:
        assert found["assumptions"][0] == "kube-proxy"
        assert found["hops"][0]["destination"] == "10.96.0.10:80"
        assert found["verdict"] == "plain-to-sidecar"
        assert shown(objects, *TO_API)[2].split(maxsplit=2)[2] == "kube-proxy, 1 × 100 %"


def test_what_is_no_service_takes_neither_kube_proxy_nor_cilium_for_granted(trace):
    for more in ([], [cilium(bpf_lb_sock="true")]):
        found = trace([*cluster(), *more], *CALL)
        assert found["assumptions"] == ["mesh policy (egress, access control, traffic splits) is not evaluated"]


# Who picks


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (service(PORT), "sidecar picks 1 of 1"),
        (service(PORT, clusterIP="None"), "DNS, 1 pod"),
        (service(PORT, type="ExternalName", externalName="x.example"), "external-name"),
        (service({"port": 80, "targetPort": 8080, "name": "other"}), "rejected"),
    ],
)
def test_who_picks_an_endpoint(shown, one, said):
    assert shown([*cluster(), one, SLICE], *TO_API)[2].split(maxsplit=2)[2] == said


def test_shares_that_differ_or_are_not_known_are_not_summed_up(shown):
    near = [at("10.244.1.3", nodeName="a"), at("10.244.1.4", "api-2", nodeName="b")]
    slices = endpoint_slice(
        endpoint("10.244.1.3", "api-1", nodeName="a"), endpoint("10.244.1.4", "api-2", nodeName="b")
    )
    one = service(PORT, internalTrafficPolicy="Local")
    excluded = cluster(web=scripted(WEB, EXCLUDING_80), outboundPortExclusionList=[80])[:-1]
    assert shown([*excluded, *near, one, slices], *TO_API)[2].split(maxsplit=2)[2] == "kube-proxy, 2 endpoints"


# Who calls


def secured(pod_user, *users):
    """A client whose pod and containers say who they run as."""
    made = deployment()
    spec = made["spec"]["template"]["spec"]
    spec["securityContext"] = {"runAsUser": pod_user}
    spec["containers"] = [
        {"name": f"c{index}", "securityContext": {"runAsUser": user}} for index, user in enumerate(users)
    ]
    return made


ITS_OWN = "uid 1500 is the sidecar's: an application that runs as it is never intercepted"
ONE_OF_THEM = "one of its containers runs as the sidecar's user 1500, and is never intercepted"


@pytest.mark.parametrize(
    ("client", "words", "uid", "notes"),
    [
        (secured(None, None), [], 0, []),
        (secured(1001, None), [], 1001, []),
        (secured(1001, 1002), [], 1002, []),
        (secured(1001, 0), [], 0, []),
        (secured(1001, 1002, 1003), [], 1002, []),
        (secured(None, 1500), [], 1500, [ITS_OWN]),
        (secured(1500, None), [], 1500, [ITS_OWN]),
        (secured(None, 1000, 1500), [], 1000, [ONE_OF_THEM]),
        (secured(1500, 1000, None), [], 1000, [ONE_OF_THEM]),
        (secured(1001, 1002), ["--uid=1003"], 1003, []),
        (secured(1001, 1002), ["--uid=0"], 0, []),
        (secured(1001, 1002), ["--uid=1500"], 1500, [ITS_OWN]),
    ],
)
def test_the_user_that_calls(trace, client, words, uid, notes):
    found = trace([meshconfig(), NAMESPACE, client, workload(), service(PORT)], *TO_API, *words)
    assert found["from"]["uid"] == found["hops"][0]["uid"] == uid
    assert found["verdict"] == ("plain-to-sidecar" if uid == 1500 else "intercepted")
    assert [note for note in found["notes"] if "1500" in note] == notes


def test_a_pod_of_nothing_but_a_sidecar_has_the_pods_user(trace):
    client = secured(1001)
    client["spec"]["template"]["spec"]["containers"] = [{"name": "sidecar"}]
    found = trace([meshconfig(), NAMESPACE, client, workload(), service(PORT)], *TO_API)
    assert found["from"]["uid"] == 1001


def test_the_sidecars_own_user_is_not_the_applications(trace, shown):
    web = copy.deepcopy(WEB)
    sidecar = {"name": "sidecar", "securityContext": {"runAsUser": 1500}}
    web["spec"]["containers"] = [sidecar, {"name": "app", "securityContext": {"runAsUser": 1001}}]
    found = trace([*cluster(web=web), *BEHIND], *TO_API)
    assert (found["from"]["uid"], [note for note in found["notes"] if "1500" in note]) == (1001, [])
    assert "as user 1001" in shown([*cluster(web=web), *BEHIND], *TO_API)[5]


def test_the_interface_by_which_a_connection_leaves(trace):
    excluded = [meshconfig(networkInterfaceExclusionList=["net1"]), NAMESPACE, deployment(), workload(), service(PORT)]
    found = trace(excluded, *TO_API, "--interface=net1")
    assert (found["from"]["interface"], found["outbound"]["entry"]) == ("net1", "interface net1")
    assert trace(excluded, *TO_API)["outbound"]["decision"] == "sidecar"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--uid=root"], "--uid takes a number, not 'root'"),
        (["--uid=-1"], "--uid takes a number, not '-1'"),
        (["--uid=4294967296"], "--uid takes a number, not '4294967296'"),
        (["--uid=１"], "--uid takes a number, not '１'"),
        (["--interface=sixteen-letters-x"], "--interface: "),
        (["--interface=a b"], "--interface: "),
        (["-A"], "a connection starts in one namespace: -n, not -A"),
        (["-o", "iptables"], "--output takes wide, json, yaml"),
        (["svc/more:80"], "trace takes FROM and TO, not 'deploy/web', 'svc/api:80', 'svc/more:80'"),
    ],
)
def test_usage_errors(run, words, said):  # noqa: F811
    code, out, err = run(cluster(), "trace", "deploy/web", "svc/api:80", *words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["deploy/web", "svc/api:81"], 2, "Service api in shop has no port 81"),
        (["deploy/web", "svc/other:80"], 1, 'services "other" not found'),
        (["deploy/other", "svc/api:80"], 1, 'deployments.apps "other" not found'),
        (["web", "svc/api:80"], 1, "a workload is named KIND/NAME, such as deploy/web"),
        (["a/b/c", "svc/api:80"], 2, "'a/b/c' is not a target"),
        (["deploy/web", "a/b/c:80"], 2, "'a/b/c' is not a target"),
        (["deploy/web", "svc/api:"], 2, "'' is no port"),
        (["svc/api", "deploy/web:80"], 2, "svc/api in shop has neither pods nor a pod template"),
        (["deploy/web", "ns/shop:80"], 2, "namespace/shop has neither pods nor a pod template"),
    ],
)
def test_what_cannot_be_traced_is_said_in_a_line(run, words, code, said):  # noqa: F811
    found = run([*cluster(), *BEHIND], "trace", *words, "-n", "shop")
    assert (found[0], found[1]) == (code, "")
    assert said in found[2]
    assert "should not happen" not in found[2]


# What is assumed, and what else is said


def test_a_stand_in_is_named_where_it_decided(trace):
    objects = [meshconfig(), NAMESPACE, deployment(), workload(), service(PORT, clusterIP="")]
    (said,) = [text for text in trace(objects, *TO_API)["assumptions"] if "stand" in text]
    assert said == "the rules of deploy/web ask for an address that is not known: 10.96.255.1 stands in for it"
    itself = deployment()
    itself["spec"]["template"]["metadata"]["labels"] = {"app": "api"}
    (said,) = [
        text for text in trace([objects[0], NAMESPACE, itself, objects[-1]], *TO_API)["assumptions"] if "stand" in text
    ]
    assert said.startswith("the rules of deploy/web ask for addresses that are not known: 10.96.255.1 and 10.244.255.")
    assert said.endswith(" stand in for them")


def test_the_step_that_a_stand_in_decides_says_so(trace):
    objects = [meshconfig(), NAMESPACE, deployment(), workload(), service(PORT, clusterIP="")]
    assert [hop["assumed"] for hop in trace(objects, *TO_API)["hops"]] == [True, False, False, False]


def test_stand_ins_of_several_pods_are_told_apart(trace):
    strict = OLD.replace("COMMIT", "-I PREROUTING -p tcp -d 10.9.9.9/32 -j ACCEPT\nCOMMIT")
    pods = {"web": bent(WEB, None, "status", "podIP"), "api": scripted(bent(API, None, "status", "podIP"), strict)}
    found = trace([*cluster(**pods), service(PORT, clusterIP="")], *TO_API)
    said = [text for text in found["assumptions"] if "stand" in text]
    assert [text.split(" ask")[0] for text in said] == ["the rules of pod/web-1", "the rules of pod/api-1"]
    assert ["10.96." in text for text in said] == [True, False]


@pytest.mark.parametrize("enabled", [True, False])
def test_whether_egress_is_enabled_is_said_where_it_counts(trace, enabled):
    config = meshconfig(enableEgress=enabled)
    found = trace([config, *cluster()[1:]], "deploy/web", "192.0.2.1:443")
    assert (found["verdict"], found["service"]) == ("leaves", None)
    assert f"the MeshConfig's enableEgress is {str(enabled).lower()}" in found["notes"]
    inside = trace([config, *cluster()[1:], *BEHIND], *TO_API)
    assert not [note for note in inside["notes"] if "enableEgress" in note]
    silent = trace(cluster(), "deploy/web", "192.0.2.1:443")
    assert not [note for note in silent["notes"] if "enableEgress" in note]


def test_who_may_send_plain_text_is_said_where_it_counts(trace):
    said = "plain text gets in where an IngressBackend or AccessControl admits the client"
    found = trace([*cluster(outboundPortExclusionList=[80]), *BEHIND], *TO_API)
    assert said in found["notes"], "though it is only so after a restart"
    assert said not in trace([*cluster(), *BEHIND], *TO_API)["notes"]


def test_a_services_own_notes_are_passed_on(trace):
    one = service(PORT, clusterIP="None")
    assert any(note.startswith("headless: ") for note in trace([*cluster(), one, SLICE], *TO_API)["notes"])


# Nothing reaches the terminal raw, and no cell breaks a line

EVIL = "x\n\x1b[2J\u202ey"


def evil_objects():
    """Everything hostile that a cluster's objects can bring into a trace."""
    web, api = deployment(EVIL, {"flomesh.io/sidecar-injection": EVIL}), workload()
    api["spec"]["template"]["metadata"]["annotations"] = {"flomesh.io/outbound-port-exclusion-list": EVIL}
    one = service({**PORT, "name": EVIL}, externalName=EVIL)
    return [meshconfig(), NAMESPACE, web, api, one]


@pytest.mark.parametrize("output", [[], ["-o", "wide"], ["-o", "json"], ["-o", "yaml"], ["-o", "mermaid"]])
@pytest.mark.parametrize("target", ["svc/api:80", "deploy/api:8080", f"deploy/{EVIL}:80"])
def test_hostile_names_do_nothing_to_a_terminal(run, output, target):  # noqa: F811
    code, out, err = run(evil_objects(), "trace", f"deploy/{EVIL}", target, "-n", "shop", *output)
    assert code == 0
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert not [line for line in out.splitlines() if line.startswith(("y", "\x1b", "\\x1b"))]
    assert "x\\n" in out or "mermaid" in output


@pytest.mark.parametrize(
    "style", [PLAIN, grid.Style(wide=True), grid.Style(wide=True, width=40)], ids=["plain", "wide", "narrow"]
)
def test_no_text_of_a_trace_forges_a_line(style):
    evil = hostile(TRACE)._replace(
        moments=[hostile(moment)._replace(when=moment.when) for moment in TRACE.moments],
        trials=[hostile(trial)._replace(when=trial.when, kernel={EVIL: 1}) for trial in TRACE.trials],
    )
    now = evil.moments[-1]
    ways = [way._replace(text=f"{EVIL}{number}") for number, way in enumerate(now.course.ways)]
    shown = table.as_table(evil._replace(moments=[evil.moments[0], now._replace(course=Course(ways))]), style)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert not [line for line in shown.splitlines() if line.startswith(("y", "\\x1b")) and line[:3] != "yes"]
    assert shown.count("x\\n\\x1b[2J\\u202ey") == shown.count("x\\n")


def test_hostile_texts_of_running_pods_do_nothing_to_a_terminal(run):  # noqa: F811
    for change in (
        {"state": {"terminated": {"exitCode": 4, "message": EVIL}}},
        {"state": {"waiting": {"reason": EVIL}}},
    ):
        web = bent(WEB, [{"name": "fsm-init", **change}], "status", "initContainerStatuses")
        gone = endpoint_slice(endpoint("10.244.1.3", EVIL))
        foreign = scripted(API, OLD.replace("COMMIT", f"# {EVIL}\nCOMMIT"))
        for objects in (
            [*cluster(web=web), *BEHIND],
            [*cluster(), service(PORT), gone],
            [*cluster(api=foreign), *BEHIND],
        ):
            for output in ([], ["-o", "wide"]):
                code, out, err = run(objects, "trace", *TO_API, "-n", "shop", *output)
                assert (code, err) == (0, "")
                assert all(char.isprintable() or char == "\n" for char in out)
                assert not [line for line in out.splitlines() if line.startswith(("y", "\\x1b"))]


# Objects of the wrong shape


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (cluster(web=bent(WEB, "1000", "spec", "securityContext", "runAsUser") if "securityContext" in WEB["spec"] else bent({**WEB, "spec": {**WEB["spec"], "securityContext": {}}}, "1000", "spec", "securityContext", "runAsUser")), "Pod shop/web-1: spec.securityContext.runAsUser is a string, not a whole number"),
        (cluster(web=bent(WEB, {"securityContext": {"runAsUser": True}}, "spec", "containers", 0)), "Pod shop/web-1: spec.containers[0].securityContext.runAsUser is a boolean, not a whole number"),
        (cluster(web=bent(WEB, "x", "spec", "containers")), "Pod shop/web-1: spec.containers is a string, not a list"),
        (cluster(web=bent(WEB, [7], "spec", "containers")), "Pod shop/web-1: spec.containers[0] is a number, not an object"),
        (cluster(web=bent(WEB, 7, "status", "podIP")), "Pod shop/web-1: status.podIP is a number, not a string"),
        (cluster(api=bent(API, ["x"], "metadata", "labels")), "Pod shop/api-1: metadata.labels is a list, not an object"),
        ([bent(meshconfig(), "yes", "spec", "traffic", "enableEgress") if False else bent(meshconfig(), {"sidecarDisabledMTLS": "yes"}, "spec", "sidecar"), *cluster()[1:]], "MeshConfig fsm-system/fsm-mesh-config: spec.sidecar.sidecarDisabledMTLS is a string, not a boolean"),
        ([*cluster(), bent(cilium(), 7, "data")], "ConfigMap kube-system/cilium-config: data is a number, not an object"),
        ([*cluster(), cilium(bpf_lb_sock=True)], "ConfigMap kube-system/cilium-config: data.bpf-lb-sock is a boolean, not a string"),
    ],
)  # fmt: skip
def test_what_has_the_wrong_shape_is_named(run, objects, said):  # noqa: F811
    code, out, err = run([*objects, *BEHIND], "trace", *TO_API, "-n", "shop")
    assert (code, out, err) == (1, "", f"error: {said}\n")


def test_the_template_that_has_the_wrong_shape_is_named_by_its_workload(run):  # noqa: F811
    web = bent(deployment(), "1000", "spec", "template", "spec", "securityContext")
    code, _, err = run([meshconfig(), NAMESPACE, web, workload(), service(PORT)], "trace", *TO_API, "-n", "shop")
    assert (code, err) == (
        1,
        "error: Deployment shop/web: spec.template.spec.securityContext is a string, not an object\n",
    )


# A cluster that does not show everything


class Narrow(Remote):
    """A cluster whose user may not read some kinds at all."""

    def __init__(self, *objects, hidden):
        super().__init__(*objects)
        self.hidden = hidden

    def get(self, resource, name, namespace=""):
        if resource.kind in self.hidden:
            raise Forbidden(403, "Forbidden", "no")
        return self.files.get(resource, name, namespace)

    def list(self, resource, namespace="", selector="", field_selector=""):
        if resource.kind in self.hidden:
            raise Forbidden(403, "Forbidden", "no")
        return self.files.list(resource, namespace, selector, field_selector)


def narrow(*hidden, words=TO_API, more=BEHIND, **traffic):
    known = Narrow(*cluster(**traffic), *more, cilium(bpf_lb_sock="true"), hidden=hidden)
    report, events = carry_out(known, "trace", *words, "-n", "shop")
    assert events == []
    return structured.document(report)


def test_without_the_right_to_read_it_there_is_no_cilium():
    assert narrow()["assumptions"][0].startswith("Cilium's")
    assert narrow("ConfigMap")["assumptions"][0] == "the sidecar picks among the Service's ready endpoints"


def test_past_the_sidecar_it_is_said_that_cilium_may_be_there():
    past = narrow("ConfigMap", outboundPortExclusionList=[80])["assumptions"]
    assert past[0] == "kube-proxy (ConfigMap cilium-config in kube-system cannot be read)"


def test_without_the_right_to_read_namespaces_they_count_as_meshed():
    assert narrow("Namespace")["verdict"] == "intercepted"


@pytest.mark.parametrize("hidden", ["Deployment", "ReplicaSet"])
def test_without_the_right_to_read_owners_a_pod_stands_for_the_next_one(hidden):
    found = narrow(hidden, words=["web-1", "svc/api:80"])
    assert (found["from"]["pod"], found["verdict"]) == ("web-1", "intercepted")


@pytest.mark.parametrize("hidden", ["Service", "EndpointSlice", "Pod"])
def test_what_a_trace_cannot_do_without_is_an_error(hidden):
    with pytest.raises(Forbidden):
        narrow(hidden)


def test_what_cannot_be_listed_may_be_behind_an_address():
    found = narrow("Service", words=["deploy/web", "10.96.0.10:80"])
    assert found["service"] is None
    assert "services of all namespaces cannot be listed, so the address may be one of theirs" in found["assumptions"]


def test_a_target_that_is_not_there():
    with pytest.raises(NotFound):
        narrow(words=["deploy/web", "svc/other:80"])


def test_the_words_that_lead_to_the_cluster_are_part_of_what_to_type():
    known = Remote(*restarting(), words=["--context=prod"])
    report, _ = carry_out(known, "trace", *TO_API, "-n", "shop")
    assert report.apply == ["kubectl fsm restart deploy/web deploy/api -n shop --context=prod"]


def test_a_pod_without_an_address_is_not_taken_for_one_that_has_it():
    """Of a cluster, too, a pod may have no address yet."""
    pending = bent(at(None, "web-1", "web"), None, "status", "podIP")
    first = at("10.244.0.2", "api-1")
    slices = endpoint_slice(endpoint("10.244.0.2", "api-1"))
    known = Remote(*cluster(web=pending, api=first), service(PORT), slices)
    report, _ = carry_out(known, "trace", *TO_API, "-n", "shop")
    (way,) = report.moments[0].course.ways
    assert [step.pod for step in way.steps] == ["pod/web-1", "pod/web-1", "pod/api-1", "pod/api-1"]
    assert report.source.address == ""


def test_a_step_that_two_parts_share_is_one_hop(trace):
    web = bent(deployment(), {"app": "api"}, "spec", "template", "metadata", "labels")
    hops = trace([meshconfig(), NAMESPACE, web, service(PORT)], *TO_API)["hops"]
    assert [(hop["hook"], hop["by"], hop["port"]) for hop in hops] == [
        ("OUTPUT", "application", 15001),
        ("OUTPUT", "sidecar", 15003),
        ("OUTPUT", "sidecar", 8080),
    ]


def test_each_way_has_its_own_steps(trace):
    """So that hops can be told apart by way."""
    other = scripted(
        at("10.244.1.4", "api-2"), render("fsm-1.5", {}, {"traffic": {"inboundPortExclusionList": [8080]}})
    )
    both = endpoint_slice(endpoint("10.244.1.3", "api-1"), endpoint("10.244.1.4", "api-2"))
    ways = trace([*cluster(), other, service(PORT), both], *TO_API)["ways"]
    steps = [[way[key] and way[key]["why"] for key in ("outbound", "onward", "inbound", "last")] for way in ways]
    leaving, own = "everything else that leaves the pod", "the sidecar's own connections"
    assert steps == [
        [leaving, own, "everything else that enters the pod", own],
        [leaving, own, "excluded inbound ports", None],
    ]


def test_a_headless_service_has_no_address(trace):
    found = trace([*cluster(), service(PORT, clusterIP="None"), SLICE], *TO_API)
    assert (found["service"]["address"], found["service"]["routing"]) == (None, "headless")


# Many endpoints


def crowd(count):
    pods = [at(f"10.244.{2 + number // 250}.{number % 250}", f"api-{number}") for number in range(count)]
    slices = endpoint_slice(*(endpoint(one["status"]["podIP"], one["metadata"]["name"]) for one in pods))
    return [*cluster()[:-1], *pods, service(PORT), slices]


def test_work_does_not_grow_but_with_the_endpoints(monkeypatch):
    interception.read_script.cache_clear()
    read, asked = [], []
    monkeypatch.setattr(interception, "read", lambda text, real=interception.read: read.append(text) or real(text))
    stood = []
    monkeypatch.setattr(
        operation, "situation", lambda *words, real=operation.situation: stood.append(words) or real(*words)
    )
    monkeypatch.setattr(tracing, "simulate", lambda *words, real=tracing.simulate: asked.append(words) or real(*words))
    report, _ = carry_out(Remote(*crowd(1000)), "trace", *TO_API, "-n", "shop")
    (way,) = report.moments[0].course.ways
    assert len(way.endpoints) == 1000
    assert way.share == pytest.approx(1)
    assert len(read) == len(set(read)), "each script is read once, and so is each that is to come"
    assert len(stood) == 1 + 1000, "each pod is looked at once"
    assert len(asked) <= 2 * (1 + 3 * 1000), "the application's connection is the same, whoever takes it"
    assert "sidecar picks 1 of 1000\n" in table.as_table(report, PLAIN)
    assert len(structured.document(report)["hops"]) == 4


def test_files_and_clusters_agree():
    objects = [*cluster(), *BEHIND]
    documents = [
        structured.document(carry_out(kind(*objects), "trace", *TO_API, "-n", "shop")[0]) for kind in (Remote, Files)
    ]
    for document in documents:
        document["notes"] = None
    assert documents[0] == documents[1]


def test_a_bare_pod_can_call_and_be_called(trace):
    alone = pod("alone", OLD, uid="alone")
    alone["status"]["podIP"] = "10.244.1.7"
    found = trace([*cluster(), alone], "alone", "api-1:8080")
    assert (found["from"]["pod"], found["from"]["workload"], found["verdict"]) == ("alone", None, "intercepted")
    back = trace([*cluster(), alone], "deploy/web", "alone:8080")
    assert back["ways"][0]["endpoints"] == ["10.244.1.7:8080"]


def test_a_pod_that_has_ended_is_not_who_calls(trace):
    ended = bent(WEB, "Succeeded", "status", "phase")
    found = trace([*cluster(web=ended), running("web-2"), *BEHIND], *TO_API)
    assert found["from"]["pod"] == "web-2"


def test_a_pod_whose_first_address_is_ipv6_is_known_by_its_ipv4_one(trace):
    web = bent(bent(WEB, "fd00::2", "status", "podIP"), [{"ip": "fd00::2"}, {"ip": "10.244.1.2"}], "status", "podIPs")
    found = trace([*cluster(web=web), service(PORT)], *TO_API)
    assert found["from"]["address"] == "10.244.1.2"


def test_a_user_that_the_pod_tells_is_not_assumed(trace):
    found = trace([*cluster(), service(PORT)], *TO_API, "--uid=7")
    assert (found["from"]["uid"], found["from"]["uidAssumed"]) == (7, False)


LOCAL = service(PORT, internalTrafficPolicy="Local", sessionAffinity="ClientIP")


def test_what_kube_proxy_does_is_past_the_sidecar_where_that_picks(trace):
    found = trace([*cluster(), LOCAL, SLICE], *TO_API)
    assert "kube-proxy" not in found["assumptions"]
    (said,) = [note for note in found["notes"] if "internalTrafficPolicy" in note]
    assert said.startswith("past the sidecar: ")
    direct = trace([*cluster(web=unmeshed(labelled(WEB))), LOCAL, SLICE], *TO_API)
    assert "kube-proxy" in direct["assumptions"]
    assert not [note for note in direct["notes"] if note.startswith("past the sidecar")]


def test_a_headless_service_has_nothing_to_do_with_kube_proxy(trace):
    found = trace([*cluster(), service(PORT, clusterIP="None"), SLICE], *TO_API)
    assert "kube-proxy" not in " ".join(found["assumptions"])


def test_another_interface_is_taken_to_pass_kube_proxy(trace):
    objects = [*cluster(web=unmeshed(labelled(WEB))), service(PORT), SLICE]
    assert (
        "what leaves by net1 passes the node's kube-proxy" in trace(objects, *TO_API, "--interface=net1")["assumptions"]
    )
    assert not [text for text in trace(objects, *TO_API)["assumptions"] if "leaves by" in text]


def test_the_egress_setting_is_named_wherever_it_counts(trace):
    found = trace([*cluster(api=unmeshed(labelled(API)), enableEgress=False), service(PORT), SLICE], *TO_API)
    assert found["verdict"] == "sidecar-to-plain"
    assert "the MeshConfig's enableEgress is false" in found["notes"]


@pytest.mark.parametrize(("port", "who"), [(15010, "the sidecar's metrics"), (15901, "the rewritten liveness probe")])
def test_the_meshs_own_ports_are_not_the_applications(trace, port, who):
    found = trace(cluster(web=unmeshed(labelled(WEB))), "deploy/web", f"10.244.1.3:{port}")
    assert found["explanation"] == f"bypassed: straight to {who}"


def test_an_address_that_is_typed_is_nobodys_stand_in(trace):
    """Of the pod to come the address is not known, so none is its own."""
    objects = [meshconfig(), NAMESPACE, deployment()]
    for address in ("10.244.255.2", "10.244.255.3"):
        found = trace(objects, "deploy/web", f"{address}:443")
        assert (found["outbound"]["decision"], found["verdict"]) == ("sidecar", "leaves")


def test_a_proof_is_not_drawn(run):  # noqa: F811
    code, _, err = run(cluster(), "trace", *TO_API, "-n", "shop", "--kernel", "-o", "mermaid")
    assert (code, "--kernel is not drawn" in err) == (2, True)


def test_of_a_pod_that_will_not_start_one_reason_is_enough(trace):
    ports = list(range(1, 17))
    found = trace([meshconfig(outboundPortExclusionList=ports, inboundPortExclusionList=ports), NAMESPACE, deployment()],
                  "deploy/web", "10.0.0.1:80")  # fmt: skip
    assert found["explanation"].count("the next pod will not start") == 1
    assert found["explanation"].endswith(" (and 1 more)")
