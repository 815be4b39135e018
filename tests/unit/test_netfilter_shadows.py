import json
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kubectl_fsm.netfilter import Packet, parse, shadows, simulate
from kubectl_fsm.netfilter.model import Append, Jump, NewChain, Plain, Rule, apply
from kubectl_fsm.netfilter.rules import write
from kubectl_fsm.netfilter.shadows import shadowed
from tests.support.dumps import DOCKER, NODE, table


def found(*lines, name="nat"):
    return [
        (s.chain, s.position, f"-A {s.by_chain} {write(s.by)}") for s in shadowed(parse(table(*lines, name=name)), name)
    ]


def hides(first, second, target="ACCEPT"):
    """Whether a rule hides the next one."""
    return [
        s.position for s in shadowed(parse(table(f"-A OUTPUT {first} -j {target}", f"-A OUTPUT {second} -j DROP")))
    ] == [2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("", "", True),
        ("", "-p tcp", True),
        ("-p tcp", "", False),
        ("-p tcp", "-p tcp --dport 15000", True),
        ("-p tcp", "-p udp", False),
        ("! -p udp", "-p tcp", True),
        ("! -p udp", "! -p tcp", False),
        ("-p tcp --dport 15000", "-p tcp", False),
        ("-d 10.0.0.0/8", "-d 10.1.2.3", True),
        ("-d 10.9.9.9/8", "-d 10.0.0.0/8", True),
        ("-d 10.1.0.0/16", "-d 10.0.0.0/8", False),
        ("-s 10.0.0.0/8", "-d 10.0.0.0/8", False),
        ("-d 0.0.0.0/0", "-s 1.1.1.1", True),
        ("! -d 10.0.0.0/8", "-d 11.0.0.0/8", True),
        ("! -d 10.0.0.0/8", "! -d 10.1.0.0/16", False),
        ("! -d 10.1.0.0/16", "! -d 10.0.0.0/8", True),
        ("-d 10.0.0.0/255.0.0.255", "-d 10.1.2.0/32", True),
        ("-p tcp -m multiport --dports 22,6379", "-p tcp --dport 22", True),
        ("-p tcp -m multiport --dports 22,6000:7000", "-p tcp -m multiport --dports 6379,22", True),
        ("-p tcp -m multiport --dports 22", "-p tcp -m multiport --dports 6379,22", False),
        ("-p tcp ! --dport 22", "-p tcp --dport 23", True),
        ("-p tcp ! --dport 22", "-p tcp -m multiport ! --dports 22,23", True),
        ("-p tcp --dport 1:65535", "-p tcp ! --dport 0", True),
        ("-p tcp --dport 0:65535", "-p tcp", True),
        ("-p tcp --dport 22", "-p udp --dport 22", False),
        ("-p tcp --dport 22", "-p tcp --sport 22", False),
        ("-p tcp -m multiport --ports 22", "-p tcp -m multiport --ports 22", True),
        ("-p tcp -m multiport --ports 22,23", "-p tcp -m multiport --ports 22", False),
        ("-m owner --uid-owner 0-99", "-m owner --uid-owner 5", True),
        ("-m owner --uid-owner 5", "-m owner --uid-owner 0-99", False),
        ("-m owner ! --uid-owner 5", "-m owner --uid-owner 6", True),
        ("-m owner ! --uid-owner 5", "-m owner ! --uid-owner 0-9", True),
        ("-m owner ! --uid-owner 0-9", "-m owner ! --uid-owner 5", False),
        ("-m owner --uid-owner 5", "-m owner --gid-owner 5", False),
        ("-o eth+", "-o eth0", True),
        ("-o eth+", "-o eth1+", True),
        ("-o eth0", "-o eth+", False),
        ("-o +", "-o eth0", True),
        ("-o eth0", "-o eth0+", False),
        ("! -o lo", "-o eth0", True),
        ("! -o lo", "-o l+", False),
        ("! -o eth0", "! -o eth+", True),
        ("-o eth0", "-i eth0", False),
        ("-m conntrack --ctstate NEW,RELATED", "-m conntrack --ctstate NEW", True),
        ("-m conntrack --ctstate NEW", "-m conntrack --ctstate NEW,RELATED", False),
        ("-m conntrack ! --ctstate ESTABLISHED", "-m conntrack --ctstate NEW", True),
        ("-m conntrack ! --ctstate DNAT", "-m conntrack --ctstate NEW", False),
        ("-m addrtype --dst-type LOCAL,UNICAST", "-m addrtype --dst-type LOCAL", True),
        ("-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type UNICAST", True),
        ("-m addrtype --dst-type LOCAL", "-m addrtype --src-type LOCAL", False),
        ("-m set --match-set a dst", "-m set --match-set a dst -p tcp", True),
        ("-m set --match-set a dst", "-m set --match-set b dst", False),
        ("-m mark --mark 5", "-m mark --mark 5 -p tcp", True),
        ("-m mark --mark 5", "-m mark --mark 6", False),
        ("-m comment --comment why", "", True),
        ("-m statistic --mode nth --every 2", "-m statistic --mode nth --every 2", False),
        ("-m statistic --mode random --probability 0.5", "-m statistic --mode random --probability 0.5", False),
        ("-m statistic --mode random --probability 1", "-p tcp", True),
    ],
)
def test_one_rule_takes_all_of_another(first, second, expected):
    assert hides(first, second) is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ACCEPT", True),
        ("DROP", True),
        ("REJECT", True),
        ("RETURN", True),
        ("REDIRECT", True),
        ("DNAT --to-destination 1.1.1.1", True),
        ("LOG", False),
        ("MARK --set-mark 1", False),
    ],
)
def test_only_what_ends_the_chain_hides(target, expected):
    assert hides("", "-p tcp", target) is expected


def test_marks_that_rules_change_prove_nothing():
    assert (
        found(
            "-A OUTPUT -m mark --mark 1 -j ACCEPT",
            "-A OUTPUT -j MARK --set-mark 1",
            "-A OUTPUT -m mark --mark 1 -j DROP",
        )
        == []
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["-A X -p tcp -j REDIRECT", "-A OUTPUT -p tcp -j X", "-A OUTPUT -p tcp --dport 1 -j DROP"], [("OUTPUT", 2, "-A OUTPUT -p tcp -j X")]),
        (["-A X -p tcp -j REDIRECT", "-A OUTPUT -j X", "-A OUTPUT -p udp --dport 1 -j DROP"], []),
        (["-A X -p tcp -j RETURN", "-A OUTPUT -p tcp -j X", "-A OUTPUT -p tcp --dport 1 -j DROP"], []),
        (["-A X -s 1.1.1.1 -j RETURN", "-A X -j ACCEPT", "-A OUTPUT -j X", "-A OUTPUT -p tcp -j DROP"], []),
        (["-A X -j LOG", "-A X -j ACCEPT", "-A OUTPUT -j X", "-A OUTPUT -p tcp -j DROP"], [("OUTPUT", 2, "-A OUTPUT -j X")]),
        (["-A OUTPUT -p tcp -g X", "-A OUTPUT -p tcp --dport 1 -j DROP"], [("OUTPUT", 2, "-A OUTPUT -p tcp -g X")]),
        (["-A X -g Y", "-A Y -j ACCEPT", "-A OUTPUT -j X", "-A OUTPUT -j DROP"], [("OUTPUT", 2, "-A OUTPUT -j X")]),
        (["-A X -g Y", "-A OUTPUT -j X", "-A OUTPUT -j DROP"], []),
        (["-A X -p udp -g Y", "-A X -j ACCEPT", "-A OUTPUT -j X", "-A OUTPUT -j DROP"], []),
        (["-A OUTPUT -p tcp -j X", "-A X -p tcp -j RETURN", "-A X -s 1.1.1.1 -j DROP"], [("X", 2, "-A X -p tcp -j RETURN")]),
        (["-A OUTPUT -p tcp -j X", "-A PREROUTING -j X", "-A X -p tcp -j RETURN", "-A X -s 1.1.1.1 -j DROP"], []),
        (["-A PREROUTING -p tcp -j X", "-A OUTPUT -j X", "-A X -p tcp -j RETURN", "-A X -s 1.1.1.1 -j DROP"], []),
        (["-A OUTPUT -p tcp -j X", "-A X -j Y", "-A Y -p tcp -j ACCEPT", "-A Y -j DROP"], [("Y", 2, "-A Y -p tcp -j ACCEPT")]),
        (["-A OUTPUT -p tcp -j ACCEPT", "-A OUTPUT -j X", "-A X -p tcp -j DROP", "-A X -p udp -j DROP"], [("X", 1, "-A OUTPUT -p tcp -j ACCEPT")]),
        (["-A OUTPUT -p tcp -j ACCEPT", "-A OUTPUT -j X", "-A PREROUTING -j X", "-A X -p tcp -j DROP"], []),
        (["-A X -j ACCEPT", "-A X -j DROP"], [("X", 2, "-A X -j ACCEPT")]),
    ],
)  # fmt: skip
def test_through_chains(lines, expected):
    assert found(":X - [0:0]", ":Y - [0:0]", *lines) == expected


def test_the_script_of_each_injector_has_the_one_rule_that_never_matches(vectors):
    """And, where an entry lies within another, that one's rule."""
    for case in json.loads(vectors.read_text()):
        if case["error"]:
            continue
        ruleset = parse(case["script"])
        shadows = list(shadowed(ruleset))
        assert any(
            write(shadow.rule) == "-p tcp --dport 15000 -j ACCEPT"
            and write(shadow.by) == "-p tcp -j REDIRECT --to-port 15001"
            for shadow in shadows
        )
        for shadow in shadows:
            assert ruleset.tables["nat"][shadow.chain].rules[shadow.position - 1] is shadow.rule


def test_rules_that_others_wrote_have_none():
    for text in (NODE, DOCKER):
        ruleset = parse(text)
        assert [shadow for name in ruleset.tables for shadow in shadowed(ruleset, name)] == []


chains = st.sampled_from(["OUTPUT", "X", "Y"])
options = {
    "-p": st.sampled_from(["-p tcp", "-p udp", "! -p tcp"]),
    "-d": st.sampled_from(["-d 10.0.0.0/8", "-d 10.1.0.0/16", "! -d 10.1.0.0/16", "-d 10.1.2.3", "! -d 10.1.2.3"]),
    "-s": st.sampled_from(["-s 10.0.0.0/8", "! -s 10.0.0.1"]),
    "-o": st.sampled_from(["-o eth0", "! -o eth0", "-o eth+", "! -o eth+", "-o eth0+", "-o +", "-o et+", "! -o lo"]),
    "-m owner": st.sampled_from([f"-m owner {no}--uid-owner {ids}" for no in ("", "! ") for ids in ("0-9", "5", "10-99")]),
    "-m mark": st.sampled_from(["-m mark --mark 1", "-m mark ! --mark 1"]),
    "-m conntrack": st.sampled_from(
        [f"-m conntrack {no}--ctstate {names}" for no in ("", "! ") for names in ("NEW", "NEW,DNAT", "ESTABLISHED", "DNAT")]
    ),
    "-m addrtype": st.sampled_from([f"-m addrtype {no}--dst-type {kinds}" for no in ("", "! ") for kinds in ("LOCAL", "LOCAL,UNICAST")]),
}  # fmt: skip
ports = st.sampled_from([f"-p tcp {no}--dport {p}" for no in ("", "! ") for p in ("80", "0:99", "80:65535", "1:2")])
targets = st.sampled_from(["ACCEPT", "DROP", "RETURN", "RETURN", "REDIRECT", "LOG", "MARK --set-mark 1"])


@st.composite
def rule_lines(draw, chain):
    kinds = draw(st.lists(st.sampled_from(sorted(options)), max_size=2, unique=True))
    words = [draw(options[kind]) for kind in kinds]
    if "-p" not in kinds and draw(st.booleans()):
        words.append(draw(ports))
    onward = {"OUTPUT": ["-j X", "-j Y", "-g X"], "X": ["-j Y", "-g Y"], "Y": []}[chain]
    target = draw(st.one_of(targets.map("-j {}".format), *([st.sampled_from(onward)] if onward else [])))
    return f"-A {chain} {' '.join(words)} {target}"


packets = st.builds(
    Packet,
    hook=st.just("OUTPUT"),
    protocol=st.sampled_from(["tcp", "udp", "icmp"]),
    source=st.sampled_from(["10.0.0.1", "10.0.0.2", "192.0.2.1"]),
    destination=st.sampled_from(["10.1.2.3", "10.1.9.9", "10.2.0.1", "192.0.2.1", "127.0.0.1"]),
    source_port=st.just(9),
    destination_port=st.sampled_from([0, 1, 79, 80, 81, 99, 100, 65535]),
    in_interface=st.none(),
    out_interface=st.sampled_from(["eth0", "eth01", "eth1", "eth", "et", "lo"]),
    uid=st.sampled_from([None, 0, 5, 9, 10, 99, 100]),
    gid=st.none(),
    mark=st.sampled_from([0, 1]),
    local=st.just(frozenset({"10.2.0.1"})),
)


@settings(max_examples=200)
@given(st.lists(chains.flatmap(rule_lines), min_size=2, max_size=9), st.lists(packets, min_size=1, max_size=20))
def test_no_packet_ever_matches_what_is_shadowed(lines, many):
    ruleset = parse(table(":X - [0:0]", ":Y - [0:0]", *(line for line in lines if "UNICAST" not in line)))
    shadows = {(shadow.chain, shadow.position) for shadow in shadowed(ruleset)}
    assume(shadows)
    for packet in many:
        for visit in simulate(ruleset, packet).visits:
            assert not (visit.matched and (visit.chain, visit.position) in shadows)


@pytest.mark.parametrize("width", [1, 2, 30])
def test_the_search_ends_in_any_maze(width):
    names = [f"C{number}" for number in range(1500 // width)]
    jumps = [
        Append(chain, Rule((), Jump(after)))
        for chain, after in zip(["OUTPUT", *names], names, strict=False)
        for _ in range(width)
    ]
    ruleset = apply([*map(NewChain, names), *jumps, Append("OUTPUT", Rule((), Plain.DROP))])
    start = time.process_time()
    assert list(shadowed(ruleset)) == []
    assert time.process_time() - start < 20


def test_a_search_that_has_been_given_up_goes_through_no_more_rules(monkeypatch):
    looked = []
    cover = shadows._Search.cover
    monkeypatch.setattr(shadows, "_MAX_STEPS", 50)
    monkeypatch.setattr(shadows._Search, "cover", lambda self, *args: looked.append(args) or cover(self, *args))
    text = table(*(f"-A OUTPUT -d 10.0.{number}.0/24 -p tcp -j RETURN" for number in range(200)))
    assert list(shadowed(parse(text))) == []
    assert len(looked) < 20
