"""The lab itself: what it answers, refuses and forgets, and how fast it is."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest

from kubectl_fsm.errors import FsmError, RulesRefused
from kubectl_fsm.netfilter.kernel import NODE, OUTSIDE, Attempt, Endpoint, Lab, Landing, Outcome, PodNet
from kubectl_fsm.netfilter.lab.connections import PROTOCOLS
from tests.support.pods import API, APP_UID, SIDECAR_UID, WEB, rules

FAR = "203.0.113.5"
REDIRECTED = "*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"
BOTH = pytest.mark.parametrize("protocol", PROTOCOLS)
DROPPED = "*filter\n-A OUTPUT -p tcp --dport 81 -j DROP\nCOMMIT\n"
MANY = 20_000


@BOTH
def test_a_landing_says_who_where_what_and_whence(lab, protocol):
    landing = lab.connect(Attempt(WEB.name, API.address, 80, APP_UID, source_port=4321, protocol=protocol))
    there = Endpoint(API.address, 80)
    assert landing == Landing(Outcome.ACCEPTED, API.name, there, there, Endpoint(WEB.address, 4321), APP_UID)


@pytest.mark.parametrize("address", ["8.8.8.8", "10.96.0.10", "169.254.169.254", "240.0.0.1", "1.1.1.1"])
@pytest.mark.parametrize("port", [1, 9, 443, 65535])
def test_outside_has_every_address_and_every_port(lab, address, port):
    for origin, protocol in product((WEB.name, NODE, OUTSIDE), PROTOCOLS):
        landing = lab.connect(Attempt(origin, address, port, protocol=protocol))
        assert (landing.place, landing.local, landing.original) == (OUTSIDE, *[Endpoint(address, port)] * 2)


@BOTH
def test_outside_can_be_anybody(lab, protocol):
    landing = lab.connect(Attempt(OUTSIDE, WEB.address, 80, source="8.8.8.8", source_port=53, protocol=protocol))
    assert (landing.place, landing.peer) == (WEB.name, Endpoint("8.8.8.8", 53))


def test_outcomes(lab):
    lab.load(WEB.name, DROPPED)
    refused, dropped, nowhere, not_ours, good = lab.connect_many(
        [
            Attempt(WEB.name, API.address, 4444),
            Attempt(WEB.name, API.address, 81),
            Attempt(WEB.name, "255.255.255.255", 80),
            Attempt(WEB.name, FAR, 80, source="8.8.8.8"),
            Attempt(WEB.name, API.address, 80),
        ]
    )
    assert (refused.outcome, refused.error) == (Outcome.REFUSED, "ECONNREFUSED")
    assert (dropped.outcome, dropped.error) == (Outcome.TIMED_OUT, "ETIMEDOUT")
    assert (nowhere.outcome, nowhere.error) == (Outcome.UNREACHABLE, "ENETUNREACH")
    assert (not_ours.outcome, not_ours.error) == (Outcome.IMPOSSIBLE, "EADDRNOTAVAIL")
    assert good.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("hook", ["OUTPUT", "INPUT"])
def test_outcomes_of_datagrams(lab, hook):
    """Also where the caller's own rules take it: the kernel then calls sending not permitted, whatever they answer."""
    lab.load(
        WEB.name if hook == "OUTPUT" else API.name,
        f"*filter\n-A {hook} -p udp --dport 81 -j DROP\n-A {hook} -p udp --dport 82 -j REJECT\n"
        f"-A {hook} -p udp --dport 83 -j REJECT --reject-with icmp-host-unreachable\nCOMMIT\n",
    )
    landings = lab.connect_many(
        [Attempt(WEB.name, API.address, port, protocol="udp") for port in (80, 81, 82, 83, 4444)]
        + [Attempt(WEB.name, "255.255.255.255", 80, protocol="udp")]
        + [Attempt(WEB.name, FAR, 80, source="8.8.8.8", protocol="udp")]
    )
    assert [(landing.outcome, landing.error) for landing in landings] == [
        (Outcome.ACCEPTED, ""),
        (Outcome.TIMED_OUT, "ETIMEDOUT"),
        (Outcome.REFUSED, "ECONNREFUSED"),
        (Outcome.UNREACHABLE, "EHOSTUNREACH"),
        (Outcome.REFUSED, "ECONNREFUSED"),
        (Outcome.IMPOSSIBLE, "EACCES"),
        (Outcome.IMPOSSIBLE, "EADDRNOTAVAIL"),
    ]


def test_a_listener_whose_answers_are_dropped_is_silent(lab):
    lab.load(API.name, "*filter\n-A OUTPUT -p udp --sport 80 -j DROP\nCOMMIT\n")
    silent, good = lab.connect_many([Attempt(WEB.name, API.address, port, protocol="udp") for port in (80, 8080)])
    assert (silent.outcome, good.outcome) == (Outcome.TIMED_OUT, Outcome.ACCEPTED)


@pytest.mark.parametrize(
    ("attempt", "local"),
    [
        (Attempt(WEB.name, "127.0.0.153", 53), Endpoint("127.0.0.153", 8080)),
        (Attempt(WEB.name, FAR, 54), Endpoint("127.0.0.1", 8080)),
        (Attempt(API.name, WEB.interfaces["net1"], 55), Endpoint(WEB.interfaces["net1"], 8080)),
        (Attempt(WEB.name, FAR, 56), Endpoint(API.address, 80)),
        (Attempt(API.name, WEB.address, 80), Endpoint(WEB.address, 80)),
    ],
)
@BOTH
def test_what_was_rewritten_is_told_and_answered(lab, attempt, local, protocol):
    """The caller takes an answer from where it dialled only, so the place that changed that has to change it back."""
    lab.load(
        WEB.name,
        f"*nat\n-A OUTPUT -p {protocol} -d 127.0.0.153 --dport 53 -j DNAT --to-destination 127.0.0.153:8080\n"
        f"-A OUTPUT -p {protocol} --dport 54 -j REDIRECT --to-ports 8080\n"
        f"-A PREROUTING -p {protocol} --dport 55 -j REDIRECT --to-ports 8080\nCOMMIT\n",
    )
    lab.load_node(f"*nat\n-A PREROUTING -p {protocol} --dport 56 -j DNAT --to-destination {API.address}:80\nCOMMIT\n")
    landing = lab.connect(attempt._replace(protocol=protocol))
    assert (landing.local, landing.uid) == (local, APP_UID)
    assert landing.original == (local if landing.place == API.name else Endpoint(attempt.destination, attempt.port))


def test_a_second_datagram_under_way_needs_a_source_port_of_its_own(lab):
    one, other = lab.connect_many([Attempt(WEB.name, FAR, port, source_port=4321, protocol="udp") for port in (1, 2)])
    assert one.outcome is Outcome.ACCEPTED
    assert (other.outcome, other.error) == (Outcome.IMPOSSIBLE, "EADDRINUSE")


@BOTH
def test_nobody_remembers_what_was_tried_before(lab, protocol):
    """Two connections that `OUTSIDE` takes at one port of its own, from one port: remembered, the first has it."""
    for address in (FAR, "8.8.8.8"):
        landing = lab.connect(Attempt(WEB.name, address, 80, source_port=4321, protocol=protocol))
        assert landing.peer == Endpoint(WEB.address, 4321)


@pytest.fixture(scope="module")
def hasty(backend):
    """A lab for which half a second of silence is the end."""
    with Lab([WEB, API], backend, seconds=0.5) as lab:
        yield lab


@pytest.mark.parametrize(
    ("protocol", "answer", "outcome"),
    [
        ("tcp", "tcp-reset", Outcome.REFUSED),
        *(
            (protocol, f"icmp-{what}-unreachable", outcome)
            for protocol in PROTOCOLS
            for what, outcome in (
                ("port", Outcome.REFUSED),
                ("host", Outcome.UNREACHABLE),
                ("net", Outcome.UNREACHABLE),
            )
        ),
    ],
)
def test_rejected_at_once(hasty, protocol, answer, outcome):
    """The kernel itself would ask again after a second, and send only so many ICMP messages."""
    hasty.load(API.name, f"*filter\n-A INPUT -p {protocol} --dport 80 -j REJECT --reject-with {answer}\nCOMMIT\n")
    limit = ["unshare", "--net", "test", "-e", "/proc/sys/net/ipv4/icmp_msgs_per_sec"]
    count = 40 if subprocess.run(limit, check=False).returncode else 1500  # older kernels have one limit for all
    landings = hasty.connect_many([Attempt(WEB.name, API.address, 80, protocol=protocol)] * count)
    assert {landing.outcome for landing in landings} == {outcome}


def test_answers_are_in_the_order_of_the_questions(lab):
    lab.load(WEB.name, rules())
    chance = random.Random(1)  # noqa: S311
    attempts = [
        Attempt(
            chance.choice((WEB.name, API.name)), FAR, chance.randrange(1, 65536), chance.choice((APP_UID, SIDECAR_UID))
        )
        for _ in range(3000)
    ]
    for attempt, landing in zip(attempts, lab.connect_many(attempts), strict=True):
        assert landing.original == Endpoint(FAR, attempt.port)
        redirected = attempt.origin == WEB.name and attempt.uid == APP_UID
        assert landing.place == (WEB.name if redirected else OUTSIDE)


def test_listening_at_more_ports(lab):
    lab.listen(WEB.name, [7000, 7001], APP_UID)
    lab.listen(WEB.name, [7001], 0)
    first, second = lab.connect_many([Attempt(API.name, WEB.address, port) for port in (7000, 7001)])
    assert (first.place, first.local.port, first.uid) == (WEB.name, 7000, APP_UID)
    assert second.uid == APP_UID


def test_loading_replaces_everything(lab):
    lab.load(WEB.name, f"{REDIRECTED}{DROPPED}*mangle\n:OUTPUT DROP [0:0]\nCOMMIT\n")
    assert lab.connect(Attempt(WEB.name, FAR, 80)).outcome is Outcome.TIMED_OUT
    lab.load(WEB.name, REDIRECTED.replace("15001", "15003"))
    saved = "".join(lab.saved(WEB.name, table) for table in ("nat", "filter", "mangle"))
    assert saved.count("\n-A ") == 1
    assert "15003" in saved
    assert "DROP" not in saved
    lab.load(WEB.name, "")
    assert lab.connect(Attempt(WEB.name, FAR, 80)).place == OUTSIDE
    lab.load(WEB.name, rules())
    lab.load(WEB.name, "")
    assert "FSM_PROXY" not in lab.saved(WEB.name)


def test_places_have_their_own_rules(lab):
    lab.load(WEB.name, REDIRECTED)
    assert "REDIRECT" not in lab.saved(API.name) + lab.saved(NODE)


def test_the_pod_s_address_is_filled_in(lab):
    lab.load(API.name, "*nat\n-A OUTPUT -p tcp -j DNAT --to-destination $POD_IP\nCOMMIT\n")
    assert f"--to-destination {API.address}\n" in lab.saved(API.name)


@BOTH
def test_rules_of_before_decide_nothing_any_more(lab, protocol):
    """A connection that was dropped is still tracked when the next has its source port."""
    address = "10.96.0.1"
    service = f"*nat\n-A PREROUTING -d {{}} -p {protocol} -j DNAT --to-destination {{}}:80\nCOMMIT\n".format
    calls = [Attempt(WEB.name, address, 80, source_port=port, protocol=protocol) for port in range(20000, 20100)]
    lab.load_node(service(address, WEB.address))
    assert {landing.outcome for landing in lab.connect_many(calls)} == {Outcome.TIMED_OUT}
    lab.load_node(service(address, API.address))
    assert {landing.place for landing in lab.connect_many(calls)} == {API.name}


@pytest.mark.parametrize("before", ["", rules()])
def test_refused_rules_are_told_with_their_line(lab, before):
    lab.load(WEB.name, before)
    bad = "-A OUTPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 -j RETURN"
    with pytest.raises(RulesRefused) as refused:
        lab.load(WEB.name, f"*nat\n-A OUTPUT -p tcp -j RETURN\n{bad}\nCOMMIT\n")
    assert "too many ports specified" in refused.value.message
    assert refused.value.message.endswith(f"line: 3\n  {bad}")
    assert "\n-A " not in lab.saved(WEB.name)
    lab.load(WEB.name, REDIRECTED)
    assert lab.connect(Attempt(WEB.name, FAR, 80)).local.port == 15001


@pytest.mark.parametrize(
    "text", ["junk\n", "*nonsense\nCOMMIT\n", "*nat\n-A OUTPUT -j ACCEPT\n", "*nat\n-A X -j ACCEPT\nCOMMIT\n"]
)
def test_refused_texts_leave_a_lab_that_works(lab, text):
    with pytest.raises(RulesRefused):
        lab.load(WEB.name, text)
    lab.load(WEB.name, "")
    assert lab.connect(Attempt(WEB.name, FAR, 80)).place == OUTSIDE


@pytest.mark.parametrize(
    ("pods", "complaint"),
    [
        ([WEB, WEB], "two places have the name web"),
        ([PodNet(NODE, {"eth0": "10.0.0.1"})], "two places have the name node"),
        ([PodNet("a", {"eth0": "10.0.0.1"}), PodNet("b", {"eth0": "10.0.0.1"})], "two places have the address"),
        ([PodNet("a", {"eth0": "192.0.2.1"})], "two places have the address"),
        ([PodNet("a", {})], "has no network interface"),
        ([PodNet("a", {"lo": "10.0.0.1"})], "cannot have a network interface 'lo'"),
        ([PodNet("a", {"eth0\nlink add x type dummy": "10.0.0.1"})], "cannot have a network interface"),
        ([PodNet("a", {"x" * 16: "10.0.0.1"})], "cannot have a network interface"),
        ([PodNet("a", {"eth0": "10.0.0.1 dev lo"})], "10.0.0.1 dev lo"),
        ([PodNet("a", {"eth0": "fd00::1"})], "fd00::1"),
    ],
)
def test_pods_that_cannot_be(backend, pods, complaint):
    with pytest.raises(FsmError, match=complaint), Lab(pods, backend):
        pass


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt("nobody", FAR, 80),
        Attempt("a", FAR, 80, interface="eth7"),
        Attempt("a", FAR, 70000),
        Attempt("a", "x", 80),
        Attempt("a", FAR, 80, protocol="sctp"),
    ],
)
def test_attempts_that_cannot_be(backend, attempt):
    with Lab([PodNet("a", {"eth0": "10.0.0.1"})], backend) as lab:
        with pytest.raises(FsmError):
            lab.connect(attempt)
        with pytest.raises(FsmError, match="the lab is closed"):
            lab.connect(Attempt("a", FAR, 80))


def test_rules_for_a_pod_that_is_not_there(lab):
    with pytest.raises(FsmError, match="there is no pod nobody in this lab"):
        lab.load("nobody", "")


def test_a_late_lab_takes_no_answer_for_silence(backend):
    """With no patience at all, whoever is answered is answered; only the dropped ones time out."""
    with Lab([WEB, API], backend, seconds=0.001) as lab:
        lab.load(WEB.name, DROPPED)
        attempts = [Attempt(WEB.name, API.address, port) for port in (80, 81)] * 500
        outcomes = [landing.outcome for landing in lab.connect_many(attempts)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.TIMED_OUT] * 500


def test_an_agent_that_dies_is_an_error(backend):
    with Lab([PodNet("a", {"eth0": "10.0.0.1"})], backend) as lab:
        os.kill(lab._agent.pid, signal.SIGKILL)
        with pytest.raises(FsmError, match="the lab's process ended"):
            lab.connect(Attempt("a", FAR, 80))


def test_two_labs_side_by_side(backend):
    pod = PodNet("a", {"eth0": "10.0.0.1"}, {15001: 1500})
    with Lab([pod], backend) as one, Lab([pod], backend) as other:
        one.load("a", REDIRECTED)
        landings = [lab.connect(Attempt("a", FAR, 80)).place for lab in (one, other)]
    assert landings == ["a", OUTSIDE]


def test_without_netfilter_of_the_host(lab):
    """Nothing of what a lab does can be seen in the namespace it was called from."""
    lab.load(WEB.name, rules())
    for kind in ("net", "mnt"):
        ours, theirs = (Path(f"/proc/{process}/ns/{kind}").readlink() for process in ("self", lab._agent.pid))
        assert ours != theirs
    assert Path(f"/proc/{lab._agent.pid}/root/run").stat().st_dev != Path("/run").stat().st_dev


def worked(process):
    """Seconds of the processor's time that a process has had: what else the machine does makes no difference."""
    *_, own, systems = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[:13]
    return (int(own) + int(systems)) / os.sysconf("SC_CLK_TCK")


@BOTH
def test_speed(lab, backend, figure, protocol):
    text = rules(traffic={"outboundPortExclusionList": [6379], "inboundPortExclusionList": [6379]})
    loads = []
    for _ in range(20):
        start = time.perf_counter()
        lab.load(WEB.name, text)
        loads.append(time.perf_counter() - start)
    chance = random.Random(1)  # noqa: S311
    ways = [(WEB.name, FAR), (WEB.name, API.address), (WEB.name, WEB.address), (API.name, WEB.address)]
    attempts = [
        Attempt(
            *chance.choice(ways), chance.choice((80, 6379)), chance.choice((0, APP_UID, SIDECAR_UID)), protocol=protocol
        )
        for _ in range(MANY)
    ]
    before, start = worked(lab._agent), time.perf_counter()
    landings = lab.connect_many(attempts)
    seconds = time.perf_counter() - start
    assert {landing.outcome for landing in landings} == {Outcome.ACCEPTED}
    assert worked(lab._agent) - before < MANY / 1000
    assert seconds < MANY / 100  # far from what any machine needs, unless each one waits
    figure(
        f"kernel, {backend}, {protocol}: {MANY / seconds:,.0f} connections/s; "
        f"{statistics.median(loads) * 1000:.1f} ms to load FSM's rules in place of others"
    )
