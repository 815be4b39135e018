import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter import parse, write
from kubectl_fsm.netfilter.dump import normal
from kubectl_fsm.netfilter.model import (
    ALL_BITS,
    MAX_ID,
    MAX_PORT,
    RANDOM_SHARES,
    Address,
    AddressType,
    Chain,
    Comment,
    Conntrack,
    Direction,
    Dnat,
    End,
    Goto,
    Identity,
    Interface,
    Jump,
    Kind,
    Log,
    Mark,
    Masquerade,
    Nth,
    Owner,
    Plain,
    Ports,
    Protocol,
    Random,
    Redirect,
    Reject,
    Rule,
    Ruleset,
    Set,
    SetMark,
    Snat,
    State,
)
from kubectl_fsm.netfilter.rules import write as write_for_a_shell
from kubectl_fsm.netfilter.rules import write_saved
from kubectl_fsm.netfilter.targets import ANSWERS, LOG_FLAGS, MASQUERADE_FLAGS, SNAT_FLAGS
from tests.support.dumps import DOCKER, EVERYTHING, NODE, RECORDED, table


def saved(text, name="nat", chain="OUTPUT"):
    """The line that the rule is written as."""
    ruleset = parse(table(":X - [0:0]", f"-A {chain} {text}", name=name))
    return next(line for line in write(ruleset).split("\n") if line.startswith("-A")).removeprefix(f"-A {chain} ")


@pytest.mark.parametrize(
    "text",
    [EVERYTHING, NODE.replace('"shop/redis" -m tcp', '"shop/redis"'), DOCKER],
    ids=["every match and target", "a node of kube-proxy", "docker"],
)
def test_what_iptables_save_prints_is_written_as_it_was_read(text):
    assert write(parse(text)) == text


def test_counters_and_remarks_have_no_meaning():
    bare = "\n".join(line for line in RECORDED.split("\n") if not line.startswith("#"))
    bare = re.sub(r"\[\d+:\d+\] -A", "-A", re.sub(r" \[\d+:\d+\]\n", " [0:0]\n", bare))
    assert write(parse(RECORDED)) == bare
    assert parse(RECORDED) == parse(bare)
    assert parse(RECORDED.replace("*nat", "\n# by hand\n\n*nat")) == parse(RECORDED)
    assert parse("\n\n" + RECORDED.rstrip("\n")) == parse(RECORDED)


def test_every_table_is_read_with_its_built_in_chains_and_policies():
    tables = parse(EVERYTHING).tables
    assert list(tables) == ["mangle", "raw", "filter", "nat"]
    assert tables["filter"]["FORWARD"].policy is Plain.DROP
    assert tables["filter"]["KUBE-SVC-ABCDEFGHIJKLMNOP"].policy is None
    assert tables["raw"]["OUTPUT"] == Chain("OUTPUT", Plain.ACCEPT, ())
    security = parse(table("-A INPUT -j ACCEPT", name="security")).tables["security"]
    assert [*security] == ["INPUT", "FORWARD", "OUTPUT"]


def test_built_in_chains_need_no_declaration_and_come_first():
    ruleset = parse(table(":X - [0:0]", ":OUTPUT DROP", "-A X -j ACCEPT", "-I OUTPUT -j X", "-I OUTPUT -j ACCEPT"))
    assert write(ruleset) == table(
        ":PREROUTING ACCEPT [0:0]",
        ":INPUT ACCEPT [0:0]",
        ":OUTPUT DROP [0:0]",
        ":POSTROUTING ACCEPT [0:0]",
        ":X - [0:0]",
        "-A OUTPUT -j ACCEPT",
        "-A OUTPUT -j X",
        "-A X -j ACCEPT",
    )


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("-p tcp --dport 80 -o lo ! -d 1.2.3.4/24 -s 1.1.1.1 -j X", "-s 1.1.1.1/32 ! -d 1.2.3.0/24 -o lo -p tcp -m tcp --dport 80 -j X"),
        ("-p tcp --dport 80 -m comment --comment a --sport 6 -j X", "-p tcp -m tcp --sport 6 --dport 80 -m comment --comment a -j X"),
        ("-m owner --gid-owner 5 --uid-owner 6-6 -j X", "-m owner --uid-owner 6 --gid-owner 5 -j X"),
        ("-m owner --uid-owner 5 -m owner --uid-owner 6 -j X", "-m owner --uid-owner 5 -m owner --uid-owner 6 -j X"),
        ("-m owner --gid-owner 5 -m mark --mark 1 -m owner --uid-owner 6 -j X", "-m owner --gid-owner 5 -m mark --mark 0x1 -m owner --uid-owner 6 -j X"),
        ("-m addrtype --dst-type local --src-type UNICAST -j X", "-m addrtype --src-type UNICAST --dst-type LOCAL -j X"),
        ("-p tcp -m tcp --dport 80 -m tcp ! --dport 81 -j X", "-p tcp -m tcp --dport 80 -m tcp ! --dport 81 -j X"),
        ("-p all -s 0.0.0.0/0 -o + -i + -j X", "-j X"),
        ("! -o + -j X", "! -o + -j X"),
        ("-p tcp --dport 0:65535 -j X", "-p tcp -j X"),
        ("-p TCP -j X", "-p tcp -j X"),
        ("-p 6 -j X", "-p tcp -j X"),
        ("-p 0 -j X", "-j X"),
        ("-m state --state NEW,ESTABLISHED -j X", "-m conntrack --ctstate NEW,ESTABLISHED -j X"),
        ("-m conntrack --ctstate established,new,new -j X", "-m conntrack --ctstate NEW,ESTABLISHED -j X"),
        ("-m mark --mark 5/0xffffffff -j X", "-m mark --mark 0x5 -j X"),
        ("-m statistic --every 2 --packet 1 --mode nth -j X", "-m statistic --mode nth --every 2 --packet 1 -j X"),
        ("-m statistic --mode nth --every 2 -j X", "-m statistic --mode nth --every 2 --packet 0 -j X"),
        ("-m statistic --mode random --probability 0.1 -j X", "-m statistic --mode random --probability 0.10000000009 -j X"),
        ("-m statistic --mode random --probability .5 -j X", "-m statistic --mode random --probability 0.50000000000 -j X"),
        ("-m statistic --mode random --probability 1 -j X", "-m statistic --mode random --probability 1.00000000000 -j X"),
        ("--goto X", "-g X"),
        ("-j MARK --set-mark 5", "-j MARK --set-xmark 0x5/0xffffffff"),
        ("-j MARK --set-mark 5/3", "-j MARK --set-xmark 0x5/0x7"),
        ("-j MARK --set-xmark 5/3", "-j MARK --set-xmark 0x5/0x3"),
        ("-j MARK --and-mark 0x4000", "-j MARK --set-xmark 0x0/0xffffbfff"),
        ("-j MARK --or-mark 0x4000", "-j MARK --set-xmark 0x4000/0x4000"),
        ("-j MARK --xor-mark 0x4000", "-j MARK --set-xmark 0x4000/0x0"),
        ("-j LOG --log-level warning", "-j LOG"),
        ("-j LOG --log-level info --log-uid --log-prefix x.y:", '-j LOG --log-prefix "x.y:" --log-level 6 --log-uid'),
        ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
        ("-p tcp -j REJECT --reject-with tcp-rst", "-p tcp -j REJECT --reject-with tcp-reset"),
        ("-p tcp -j REDIRECT --to-port 15001", "-p tcp -j REDIRECT --to-ports 15001"),
    ],
)  # fmt: skip
def test_spellings_and_what_iptables_save_makes_of_them(given, written):
    assert saved(given) == written
    assert saved(written) == written


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("-m recent --rcheck -j X", "unknown match 'recent'", "recent"),
        ("-p icmp -m icmp --icmp-type 8 -j X", "unknown match 'icmp'", "icmp --icmp"),
        ("-p tcp -m tcp --tcp-flags SYN SYN -j X", "unknown option '--tcp-flags'", "--tcp-flags"),
        ("-f -j X", "unknown option '-f'", "-f"),
        ("-p tcp", "expected -j and a target", ""),
        ("-j NFQUEUE", "no target or user-defined chain has this name", "NFQUEUE"),
        ("-j TPROXY --on-port 80", "unknown option '--on-port'", "--on-port"),
        ("-g ACCEPT", "no target or user-defined chain has this name", "ACCEPT"),
        ("-j X -g X", "a rule has one target", "X"),
        ("-g", "-g needs a value", ""),
        ("-p 256 -j X", "'256' is no protocol", "256"),
        ("-p ２ -j X", "'２' is no protocol", "２"),
        ("-m conntrack --ctstate NEW,NONE -j X", "unknown state 'NONE'", "NONE"),
        ("-m conntrack -j X", "-m conntrack needs an option of its own", "conntrack"),
        ("-m conntrack --ctproto 6 -j X", "unknown option '--ctproto'", "--ctproto"),
        ("--ctstate NEW -j X", "--ctstate needs -m conntrack before it", "--ctstate"),
        ("-m addrtype --dst-type LOCAL,HOME -j X", "unknown address type 'HOME'", "HOME"),
        ("-m addrtype --dst-type LOCAL --limit-iface-out -j X", "unknown option '--limit-iface-out'", "--limit"),
        ("-m statistic -j X", "-m statistic needs --mode random or --mode nth", "statistic"),
        ("-m statistic --mode often -j X", "unknown mode 'often'", "often"),
        ("-m statistic --mode random -j X", "--mode random needs --probability", "statistic"),
        ("-m statistic --mode nth --probability 0.5 -j X", "--mode nth needs --every and --packet", "statistic"),
        ("-m statistic --mode nth --every 2 --probability 1 -j X", "and nothing else", "statistic"),
        ("-m statistic --mode random --probability 1.5 -j X", "'1.5' is no probability", "1.5"),
        ("-m statistic --mode random --probability nan -j X", "'nan' is no probability", "nan"),
        ("-m statistic --mode random --probability 0.5 --mode nth -j X", "--mode is given twice", "--mode nth"),
        ("-m statistic --mode nth --every 0 --packet 0 -j X", "--every is a number from 1", "statistic"),
        ("-m statistic --mode nth --every 2 --packet 2 -j X", "--packet is a number from 0", "statistic"),
        ("-m statistic --mode nth --every x -j X", "'x' is no count of packets", "x -j"),
        ("-m statistic --mode nth --every 2 ! --packet 1 -j X", "--packet cannot be negated", "! --packet"),
        ("-m statistic ! --mode nth -j X", "--mode cannot be negated", "! --mode"),
        ("--probability 1 -j X", "unknown option '--probability'", "--probability"),
        ("-m mark --mark 010 -j X", "'010' is no mark", "010"),
        ("-m mark --mark 0x1ffffffff -j X", "'0x1ffffffff' is no mark", "0x1f"),
        ("-m mark --mark 4294967296 -j X", "'4294967296' is no mark", "4294967296"),
        ("-m mark --mark 1/ -j X", "'' is no mark", "1/"),
        ("-m set --match-set foo -j X", "--match-set needs a value", "-j"),
        ("-m set --match-set foo to -j X", "'to' is neither src nor dst", "to"),
        ("-m set --match-set $(x) dst -j X", "a set name cannot hold this character", "$(x)"),
        ("-m set --match-set foo dst,dst,dst,dst,dst,dst,dst -j X", "1 to 6 parts", "dst,"),
        (f"-m comment --comment {'a' * 256} -j X", "at most 255 bytes", "aaa"),
        ('-m comment --comment "a -j X', "this comment needs double quotes", '"a'),
        ("-m comment --comment a\x1bb -j X", "this comment needs double quotes", "a\x1bb"),
        ('-m comment --comment "a\x1bb" -j X', "a comment cannot hold this character", None),
        ("-p tcp -j REDIRECT --to-ports 1-2", "'1-2' is no port", "1-2"),
        ("-p tcp -j REDIRECT --to-ports 80 --random", "unknown option '--random'", "--random"),
        ("-p tcp -j DNAT --to-destination 1.1.1.1-1.1.1.4", "an IPv4 address or range is", "1.1.1.1-"),
        ("-p tcp -j DNAT --to-destination :80", "an IPv4 address or range is", ":80"),
        ("-j MARK", "expected --set-xmark or --set-mark", ""),
        ("-j MARK --set-mark", "--set-mark needs a value", ""),
        ("-j MARK --set-mark 0xfffffffff", "'0xfffffffff' is no mark", "0xf"),
        ("-j LOG --log-level 8", "'8' is no log level", "8"),
        ("-j LOG --log-prefix a --log-prefix b", "--log-prefix is given twice", "--log-prefix b"),
        (f"-j LOG --log-prefix {'a' * 30}", "at most 29 bytes", "aaa"),
        ("-j LOG --log-colour", "unknown option '--log-colour'", "--log-colour"),
        ("-j REJECT --reject-with echo-reply", "there is no answer 'echo-reply'", "echo-reply"),
        ("-p udp -j REJECT --reject-with tcp-reset", "tcp-reset needs -p tcp", "tcp-reset"),
        ("-j SNAT --to-source 1.1.1.1", "SNAT is possible only in table nat at INPUT and POSTROUTING", "SNAT"),
        ("-j MASQUERADE", "MASQUERADE is possible only in table nat at POSTROUTING", "MASQUERADE"),
    ],
)
def test_mistake_in_a_rule_is_shown_at_its_column(text, message, at):
    line = f"[1:60] -A OUTPUT {text}"
    with pytest.raises(RulesSyntaxError) as caught:
        parse(table(":X - [0:0]", line))
    assert caught.value.message.startswith("line 3: ")
    assert message in caught.value.message
    shown = caught.value.text[caught.value.column :]
    if at is not None:
        assert shown.startswith(at.replace("\x1b", "\N{REPLACEMENT CHARACTER}"))
        assert shown if at else not shown


@pytest.mark.parametrize(
    ("name", "chain", "text", "message"),
    [
        ("nat", "POSTROUTING", "-j SNAT", "expected --to-source"),
        ("nat", "POSTROUTING", "-j SNAT --to-source 1.1.1.0/24", "one address is wanted"),
        ("nat", "POSTROUTING", "-j SNAT --to-source 1.1.1.1:80", "ports need -p tcp or -p udp"),
        ("nat", "POSTROUTING", "-p tcp -j SNAT --to-source 1.1.1.1:1-2", "'1-2' is no port"),
        ("nat", "POSTROUTING", "-j MASQUERADE --to-ports 80", "ports need -p tcp or -p udp"),
        ("nat", "POSTROUTING", "-p tcp -j MASQUERADE --to-ports 90-80", "has to go up"),
        ("nat", "POSTROUTING", "-p tcp -j MASQUERADE --persistent", "unknown option '--persistent'"),
        ("nat", "POSTROUTING", "-p tcp -j DNAT --to-destination 1.1.1.1", "DNAT is possible only in table nat at PREROUTING"),
        ("nat", "X", "-j MASQUERADE", None),
        ("filter", "OUTPUT", "-p tcp -j REDIRECT", "REDIRECT is possible only in table nat"),
        ("filter", "X", "-p tcp -j REDIRECT", "REDIRECT is possible only in table nat"),
        ("raw", "INPUT", "-j ACCEPT", "there is no chain of this name yet"),
        ("filter", "PREROUTING", "-j ACCEPT", "there is no chain of this name yet"),
    ],
)  # fmt: skip
def test_target_out_of_place(name, chain, text, message):
    dump = table(":X - [0:0]", f"-A {chain} {text}", name=name)
    if message is None:
        parse(dump)
        return
    with pytest.raises(RulesSyntaxError, match=re.escape(message)):
        parse(dump)


def test_target_out_of_place_is_found_through_jumps():
    dump = table(":X - [0:0]", ":Y - [0:0]", "-A OUTPUT -j X", "-A X -g Y", "-A Y -j MASQUERADE")
    with pytest.raises(RulesSyntaxError, match="only in table nat at POSTROUTING, and OUTPUT leads to it in Y"):
        parse(dump)
    parse(dump.replace("-A OUTPUT", "-A POSTROUTING"))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("# Generated by hand", "is missing", 1),
        ("# nothing", "no table", 1),
        ("# nothing\n\n", "no table", 1),
        ("# nothing\niptables-save", "expected *TABLE", 2),
        ("*nat", "cut off: COMMIT is missing", 1),
        ("*nat\n:OUTPUT ACCEPT [0:0]\n", "cut off: COMMIT is missing", 2),
        ("*nat\nCOMMIT\n*filter\n", "cut off: COMMIT is missing", 3),
        ("*nat\n*filter\nCOMMIT", "expected :CHAIN, -A or COMMIT", 2),
        ("*nat\nCOMMIT\n*nat\nCOMMIT", "table nat is there twice", 3),
        ("*nat\nCOMMIT\n-A OUTPUT -j ACCEPT\n", "expected *TABLE", 3),
        ("*nat\nCOMMIT\nCOMMIT\n", "expected *TABLE", 3),
        ("*nut\nCOMMIT", "unknown table 'nut'", 1),
        ("*nat\r\nCOMMIT\r\n", "unknown table 'nat\\r'", 1),
        ("*nat\n:OUTPUT - [0:0]\nCOMMIT", "a policy is ACCEPT or DROP", 2),
        ("*nat\n:OUTPUT RETURN [0:0]\nCOMMIT", "a policy is ACCEPT or DROP", 2),
        ("*nat\n:X ACCEPT [0:0]\nCOMMIT", "only a built-in chain has a policy", 2),
        ("*nat\n:X - [0:0]\n:X - [0:0]\nCOMMIT", "this chain is there twice", 3),
        ("*nat\n:OUTPUT ACCEPT [0:0]\n:OUTPUT DROP [0:0]\nCOMMIT", "this chain is there twice", 3),
        ("*nat\n:DNAT - [0:0]\nCOMMIT", "this name is taken", 2),
        ("*nat\n:a;b - [0:0]\nCOMMIT", "a chain name cannot hold this character", 2),
        ("*nat\n:X\nCOMMIT", "expected :CHAIN POLICY", 2),
        ("*nat\n:X - [0:0] [0:0]\nCOMMIT", "expected :CHAIN POLICY", 2),
        ("*nat\n-A X -j ACCEPT\nCOMMIT", "there is no chain of this name yet", 2),
        ("*nat\n-A OUTPUT -j X\nCOMMIT", "no target or user-defined chain has this name", 2),
        ("*nat\n-A OUTPUT -j INPUT\nCOMMIT", "no target or user-defined chain has this name", 2),
        ("*nat\n-D OUTPUT -j ACCEPT\nCOMMIT", "expected -A", 2),
        ("*nat\n[0:0]\nCOMMIT", "expected :CHAIN, -A or COMMIT", 2),
        ("*nat\n[0:0] :X -\nCOMMIT", "expected :CHAIN, -A or COMMIT", 2),
        ("*nat\n-A OUTPUT -j ACCEPT && reboot\nCOMMIT", "nothing may follow a rule in its line", 2),
        ("*nat\n:X -\n-A X -j X\nCOMMIT", "loop: a packet in chain X gets back to it from X", 3),
        ("*nat\n:X -\n:Y -\n-A OUTPUT -j X\n-A X -g Y\n-A Y -p tcp -j X\nCOMMIT", "loop: a packet in chain X", 6),
        ("# Table `nat' is incompatible, use 'nft' tool.\n*filter\nCOMMIT", "does not show all tables", 1),
        ("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n*nat\nCOMMIT", "not show all", 1),
    ],
)  # fmt: skip
def test_text_that_is_no_dump(text, message, line):
    with pytest.raises(RulesSyntaxError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.message.startswith(f"line {line}: ")


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n"])
def test_an_empty_text_is_an_error(text):
    with pytest.raises(RulesSyntaxError, match="an empty text holds no rules"):
        parse(text)


def test_a_dump_cut_off_anywhere_is_an_error():
    """But in or behind the line that says that a table is complete, or where the next one has not begun."""
    whole = RECORDED.rstrip("\n")
    complete = [found.span() for found in re.finditer(r"(?<=# Completed)[^\n]*(\n#? ?)?", whole)]
    for length in range(len(whole)):
        if any(start <= length <= end for start, end in complete):
            parse(whole[:length])
            continue
        with pytest.raises(RulesSyntaxError):
            parse(whole[:length])


def test_a_dump_without_a_piece_between_two_tables_is_an_error():
    lines = RECORDED.split("\n")
    for first in range(1, 8):
        with pytest.raises(RulesSyntaxError):
            parse("\n".join(lines[:first] + lines[8:]))


numbers = st.integers(0, MAX_PORT)
ranges = st.tuples(numbers, numbers).map(lambda ends: range(min(ends), max(ends) + 1))
ids = st.tuples(st.integers(0, MAX_ID), st.integers(0, MAX_ID)).map(lambda ends: range(min(ends), max(ends) + 1))
names = st.from_regex(r"[0-9A-Za-z_.,:/+@%=][0-9A-Za-z_.,:/+@%=-]{0,14}", fullmatch=True)
ipv4 = st.ip_addresses(v=4).map(str)
addresses = st.one_of(ipv4, st.builds("{}/{}".format, ipv4, st.one_of(st.integers(0, 32), ipv4)))
printable = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=7)
bits = st.integers(0, ALL_BITS)
nonzero = st.integers(1, MAX_PORT)
MATCHES = {
    Address: st.builds(Address, st.sampled_from(End), addresses, st.booleans()),
    Ports: st.one_of(
        st.builds(Ports, st.sampled_from(End), st.tuples(ranges), st.booleans()),
        st.builds(
            Ports,
            st.sampled_from([*End, None]),
            st.lists(ranges, min_size=1, max_size=7).map(tuple),
            st.booleans(),
            st.just(True),
        ),
    ),
    Owner: st.builds(Owner, st.sampled_from(Identity), ids, st.booleans()),
    Interface: st.builds(Interface, st.sampled_from(Direction), names, st.booleans()),
    Conntrack: st.builds(Conntrack, st.frozensets(st.sampled_from(State), min_size=1), st.booleans()),
    AddressType: st.builds(
        AddressType, st.sampled_from(End), st.frozensets(st.sampled_from(Kind), min_size=1), st.booleans()
    ),
    Random: st.builds(Random, st.integers(0, RANDOM_SHARES), st.booleans()),
    Nth: st.integers(1, ALL_BITS).flatmap(
        lambda every: st.builds(Nth, st.just(every), st.integers(0, every - 1), st.booleans())
    ),
    Mark: st.builds(Mark, bits, bits, st.booleans()),
    Set: st.builds(Set, names, st.lists(st.sampled_from(End), min_size=1, max_size=6).map(tuple), st.booleans()),
    Comment: st.builds(Comment, printable),
}


def some(flags):
    return st.sets(st.sampled_from(flags)).map(lambda chosen: tuple(flag for flag in flags if flag in chosen))


TARGETS = {
    "PREROUTING": st.one_of(
        st.sampled_from(Plain),
        st.builds(Reject, st.sampled_from(ANSWERS)),
        st.sampled_from([Jump("X"), Goto("X")]),
        st.builds(Redirect, st.one_of(st.none(), nonzero)),
        st.builds(Dnat, ipv4, st.one_of(st.none(), nonzero)),
        st.builds(SetMark, bits, bits),
        st.builds(Log, printable, st.integers(0, 7), some(LOG_FLAGS)),
    ),
    "POSTROUTING": st.one_of(
        st.builds(Snat, ipv4, st.one_of(st.none(), nonzero), some(SNAT_FLAGS)),
        st.builds(
            Masquerade,
            st.one_of(st.none(), ranges.map(lambda r: range(max(r.start, 1), max(r.stop, 2)))),
            some(MASQUERADE_FLAGS),
        ),
    ),
}


@st.composite
def rules(draw, chain):
    chosen = draw(st.lists(st.sampled_from(sorted(MATCHES, key=str)), max_size=4, unique=True))
    single = {}
    for kind in chosen:
        match = draw(MATCHES[kind])
        single[kind] = match
    matches = [Protocol("tcp"), *single.values()]
    return Rule(tuple(draw(st.permutations(matches))), draw(TARGETS[chain]))


@st.composite
def rulesets(draw):
    chains = {name: draw(st.lists(rules(name), max_size=3)) for name in TARGETS}
    policies = {name: draw(st.sampled_from([Plain.ACCEPT, Plain.DROP])) for name in chains}
    built_in = {
        name: Chain(name, policies.get(name, Plain.ACCEPT), tuple(chains.get(name, ())))
        for name in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
    }
    return Ruleset({"nat": {**built_in, "X": Chain("X", None, (Rule((), Plain.RETURN),))}})


@settings(max_examples=300)
@given(rulesets())
def test_what_is_written_is_read_as_it_was(ruleset):
    written = write(ruleset)
    assert parse(written) == normal(ruleset)
    assert write(parse(written)) == written
    assert normal(normal(ruleset)) == normal(ruleset)


@pytest.mark.parametrize("text", ["$(reboot)", "`reboot`", 'a"b', "a\\b", "$POD_IP"])
@pytest.mark.parametrize("rule", [lambda text: Rule((Comment(text),), Plain.ACCEPT), lambda text: Rule((), Log(text))])
def test_what_a_shell_would_act_on_is_for_dumps_only(rule, text):
    """iptables-restore reads it as text; a script is refused, in writing and in reading."""
    made = rule(text)
    ruleset = Ruleset({"nat": {"OUTPUT": Chain("OUTPUT", Plain.ACCEPT, (made,))}})
    assert parse(write(ruleset)).tables["nat"]["OUTPUT"].rules == (made,)
    with pytest.raises(RulesSyntaxError, match="cannot hold this character"):
        write_for_a_shell(made)
    with pytest.raises(RulesSyntaxError):
        parse(f"iptables -t nat -A OUTPUT {write_saved(made)}")


def test_ports_without_their_protocol_cannot_be_written():
    ports = Rule((Ports(End.DESTINATION, (range(1, 2),)),), Plain.ACCEPT)
    with pytest.raises(RulesSyntaxError, match="ports need -p tcp or -p udp"):
        write(Ruleset({"nat": {"OUTPUT": Chain("OUTPUT", Plain.ACCEPT, (ports,))}}))


@given(data=st.data())
def test_a_damaged_dump_is_read_or_refused(data):
    text = data.draw(st.sampled_from([EVERYTHING, NODE, DOCKER, RECORDED]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        pieces = st.one_of(
            st.text(max_size=3), st.sampled_from([" ! ", '"', "\\", "\n", "-A ", "COMMIT\n", "-m ", "/"])
        )
        text = text[:start] + data.draw(pieces) + text[end:]
    try:
        ruleset = parse(text)
    except RulesSyntaxError:
        return
    assert parse(write(ruleset)) == normal(ruleset)
