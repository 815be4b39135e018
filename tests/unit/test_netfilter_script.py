import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter import parse
from kubectl_fsm.netfilter.model import (
    MAX_ID,
    MAX_PORT,
    POD_IP,
    Address,
    Append,
    Comment,
    Direction,
    Dnat,
    End,
    Identity,
    Insert,
    Interface,
    Jump,
    NewChain,
    Owner,
    Plain,
    Ports,
    Protocol,
    Redirect,
    Rule,
)
from kubectl_fsm.netfilter.script import Form, Script, read, write, write_script

COMMANDS = (
    "iptables -t nat -N X && iptables -t nat -A OUTPUT -p tcp -j X && iptables -t nat -A X -p tcp -j REDIRECT --to-port 15001"
    " && iptables -t nat -I X -p tcp --match multiport --dports 22,6379 -j RETURN"
)
RESTORE = """\
iptables-restore --noflush <<EOF
# FSM sidecar interception rules
*nat
:X - [0:0]
-A X -p tcp -j REDIRECT --to-port 15001
-A OUTPUT -p tcp -j X
-I X -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j RETURN
-I OUTPUT -p tcp -o lo -d 127.0.0.1/32 -m owner --uid-owner 1500 -j DNAT --to-destination $POD_IP
-A OUTPUT -p udp -d 127.0.0.153 --dport 53 -j DNAT --to-destination 127.0.0.153:5300
COMMIT
EOF
"""


def restore(*lines):
    return "\n".join(["iptables-restore --noflush <<EOF", "*nat", ":X - [0:0]", *lines, "COMMIT", "EOF", ""])


def rule(text):
    return parse(f"iptables -t nat -A OUTPUT {text}").tables["nat"]["OUTPUT"].rules[0]


def scripts(path):
    return [case["script"] for case in json.loads(path.read_text()) if not case["error"]]


def test_every_script_of_the_injectors_is_written_as_it_was_read(vectors):
    texts = scripts(vectors)
    assert len(texts) > 50
    for text in texts:
        script = read(text)
        assert write_script(script) == text
        assert script.warnings == ()
        parse(text)


def test_read_commands():
    tcp = Protocol("tcp")
    multiport = Ports(End.DESTINATION, (range(22, 23), range(6379, 6380)), multi=True)
    assert read(COMMANDS) == Script(
        (
            NewChain("X"),
            Append("OUTPUT", Rule((tcp,), Jump("X"))),
            Append("X", Rule((tcp,), Redirect(15001))),
            Insert("X", Rule((tcp, multiport), Plain.RETURN)),
        ),
        Form.COMMANDS,
    )


def test_read_restore():
    tcp, owner = Protocol("tcp"), Owner(Identity.UID, range(1500, 1501))
    loopback = Interface(Direction.OUT, "lo")
    nameserver = (Protocol("udp"), Address(End.DESTINATION, "127.0.0.153"), Ports(End.DESTINATION, (range(53, 54),)))
    assert read(RESTORE) == Script(
        (
            NewChain("X"),
            Append("X", Rule((tcp,), Redirect(15001))),
            Append("OUTPUT", Rule((tcp,), Jump("X"))),
            Insert("X", Rule((loopback, Address(End.DESTINATION, "127.0.0.1/32", negated=True), owner), Plain.RETURN)),
            Insert("OUTPUT", Rule((tcp, loopback, Address(End.DESTINATION, "127.0.0.1/32"), owner), Dnat(POD_IP))),
            Append("OUTPUT", Rule(nameserver, Dnat("127.0.0.153", 5300))),
        ),
        Form.RESTORE,
        ("# FSM sidecar interception rules",),
    )


def test_parse_puts_inserted_rules_first():
    chains = parse(COMMANDS).tables["nat"]
    assert [write(rule) for rule in chains["X"].rules] == [
        "-p tcp --match multiport --dports 22,6379 -j RETURN",
        "-p tcp -j REDIRECT --to-port 15001",
    ]


@pytest.mark.parametrize("text", [COMMANDS, RESTORE])
def test_newlines_at_the_end_have_no_meaning(text):
    assert read(text.rstrip("\n")) == read(text.rstrip("\n") + "\n\n") == read(text)


def test_misprinted_conjunction_is_read_and_named():
    script = read(COMMANDS.replace("-j X && ", "-j X && && "))
    assert script.operations == read(COMMANDS).operations
    assert script.warnings == ("`&& &&` after command 2 is a misprint, read as one `&&`",)


def test_chain_names_are_read_in_any_spelling():
    text = RESTORE.replace(" X", " fsm_PROXY_OUTBOUND").replace(":X", ":fsm_PROXY_OUTBOUND")
    assert write_script(read(text)) == text


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("--protocol tcp --destination-port 80 --jump ACCEPT", "-p tcp --dport 80 -j ACCEPT"),
        ("-p tcp -m tcp --dport 80 -j ACCEPT", "-p tcp --dport 80 -j ACCEPT"),
        ("-p udp -m udp --source-port 1:2 -j ACCEPT", "-p udp --sport 1:2 -j ACCEPT"),
        ("-p tcp --sport :1024 ! --dport 90: -j ACCEPT", "-p tcp --sport 0:1024 ! --dport 90:65535 -j ACCEPT"),
        (
            "-m multiport -p tcp --destination-ports 1,2:3 -j ACCEPT",
            "-p tcp --match multiport --dports 1,2:3 -j ACCEPT",
        ),
        ("-p tcp -m multiport ! --sports 1 -j ACCEPT", "-p tcp --match multiport ! --sports 1 -j ACCEPT"),
        ("-j REDIRECT --to-ports 15001 -p tcp", "-p tcp -j REDIRECT --to-port 15001"),
        ("-p tcp -j REDIRECT", "-p tcp -j REDIRECT"),
        (
            "-p tcp -m multiport --dports 1 -m multiport --dports 2 -j ACCEPT",
            "-p tcp --match multiport --dports 1 --match multiport --dports 2 -j ACCEPT",
        ),
        ("--source 1.2.3.4 ! --destination 2.2.2.2/24 -j DROP", "-s 1.2.3.4 ! -d 2.2.2.2/24 -j DROP"),
        ("--src 1.2.3.4 --dst 10.0.0.0/255.0.0.0 -j REJECT", "-s 1.2.3.4 -d 10.0.0.0/255.0.0.0 -j REJECT"),
        ("--in-interface veth+ ! --out-interface + -j ACCEPT", "-i veth+ ! -o + -j ACCEPT"),
        (
            "-m owner --uid-owner 0-99 ! --gid-owner 5 -j ACCEPT",
            "-m owner --uid-owner 0-99 -m owner ! --gid-owner 5 -j ACCEPT",
        ),
        ("-m comment --comment why -j ACCEPT", "-m comment --comment why -j ACCEPT"),
        ('-m comment --comment "a && b" -j ACCEPT', '-m comment --comment "a && b" -j ACCEPT'),
        ('-m comment --comment "-x" -j ACCEPT', '-m comment --comment "-x" -j ACCEPT'),
        ('-m comment --comment "" -j ACCEPT', '-m comment --comment "" -j ACCEPT'),
        ("-p tcp -j DNAT --to-destination 1.2.3.4:80", "-p tcp -j DNAT --to-destination 1.2.3.4:80"),
        ("-p tcp -j DNAT --to-destination $POD_IP:80", "-p tcp -j DNAT --to-destination $POD_IP:80"),
        ("! -p udp  \t -j ACCEPT ", "! -p udp -j ACCEPT"),
        ("-j ACCEPT", "-j ACCEPT"),
    ],
)
def test_spellings_of_a_rule(spelled, canonical):
    assert write(rule(spelled)) == canonical
    assert write(rule(canonical)) == canonical
    assert rule(spelled) == rule(canonical)


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("iptables --table nat --new-chain X", "iptables -t nat -N X"),
        ("iptables -t nat --append OUTPUT -j ACCEPT", "iptables -t nat -A OUTPUT -j ACCEPT"),
        ("iptables -t nat --insert OUTPUT 1 -j ACCEPT", "iptables -t nat -I OUTPUT -j ACCEPT"),
        (
            "iptables -t nat -I INPUT -j ACCEPT && iptables -t nat -I INPUT 2 -j DROP",
            "iptables -t nat -I INPUT -j ACCEPT && iptables -t nat -I INPUT 2 -j DROP",
        ),
    ],
)
def test_spellings_of_a_command(spelled, canonical):
    assert write_script(read(spelled)) == canonical


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("-p tpc -j ACCEPT", "unknown protocol 'tpc'", "tpc"),
        ("-p -j ACCEPT", "-p needs a value", "-j"),
        ("-p", "-p needs a value", ""),
        ("-p tcp -p udp -j ACCEPT", "-p is given twice", "-p udp"),
        ("-p tcp --dport 80 --destination-port 81 -j ACCEPT", "--dport is given twice", "--destination-port"),
        ("-p tcp --dport 70000 -j ACCEPT", "'70000' is no port", "70000"),
        ("-p tcp --dport 080 -j ACCEPT", "'080' is no port", "080"),
        ("-p tcp --dport 90:80 -j ACCEPT", "has to go up", "90:80"),
        ("-p tcp --dport 1-2 -j ACCEPT", "'1-2' is no port", "1-2"),
        ("-p tcp --dport http -j ACCEPT", "'http' is no port", "http"),
        ("-p tcp --dport 1,2 -j ACCEPT", "'1,2' is no port", "1,2"),
        ("-p tcp --dports 80 -j ACCEPT", "--dports needs -m multiport before it", "--dports"),
        ("-p tcp -m multiport --dports 22,x -j ACCEPT", "'x' is no port", "22,x"),
        ("-p tcp -m multiport --dports 22, -j ACCEPT", "'' is no port", "22,"),
        ("-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 -j ACCEPT", "too many ports", "1,2,3"),
        ("-p tcp -m multiport -j ACCEPT", "-m multiport needs an option of its own", "multiport"),
        ("-p tcp -m multiport --dports 1 --dports 2 -j ACCEPT", "--dports is given twice", "--dports 2"),
        ("--dport 80 -j ACCEPT", "ports need -p tcp or -p udp", "80"),
        ("-p icmp --dport 80 -j ACCEPT", "ports need -p tcp or -p udp", "80"),
        ("! -p tcp --dport 80 -j ACCEPT", "ports need -p tcp or -p udp", "80"),
        ("-j REDIRECT --to-port 80", "ports need -p tcp or -p udp", "80"),
        ("-j DNAT --to-destination 1.1.1.1:80", "ports need -p tcp or -p udp", "1.1.1.1"),
        ("-p udp -m tcp --dport 80 -j ACCEPT", "-m tcp needs -p tcp", "tcp --dport"),
        ("-m owner -j ACCEPT", "-m owner needs an option of its own", "owner"),
        ("--uid-owner 5 -j ACCEPT", "--uid-owner needs -m owner before it", "--uid-owner"),
        ("-m owner --uid-owner root -j ACCEPT", "'root' is no uid", "root"),
        ("-m owner --uid-owner 4294967295 -j ACCEPT", "'4294967295' is no uid", "4294967295"),
        ("-m owner --uid-owner 5-3 -j ACCEPT", "has to go up", "5-3"),
        ("-m recent --rcheck -j ACCEPT", "unknown match 'recent'", "recent"),
        ("-m -j ACCEPT", "-m needs a value", "-j"),
        ("-d ! 1.1.1.1 -j ACCEPT", "the ! belongs before -d", "! 1.1.1.1"),
        ("-d 1.1.1 -j ACCEPT", "an IPv4 address or range is", "1.1.1"),
        ("-d 1.1.1.1/33 -j ACCEPT", "'33' is no prefix length", "1.1.1.1/33"),
        ("-d fd00::/8 -j ACCEPT", "an IPv4 address or range is", "fd00"),
        ("-d $POD_IP -j ACCEPT", "an IPv4 address or range is", "$POD_IP"),
        ("-o sixteen-letters- -j ACCEPT", "at most 15 characters", "- -j"),
        ("-o eth0;reboot -j ACCEPT", "cannot hold this character", ";reboot"),
        ("! ! -p tcp -j ACCEPT", "unknown option '!'", "! -p"),
        ("! -j ACCEPT", "unknown option '-j'", "-j"),
        ("-p tcp !", "expected an option", ""),
        ("-m comment ! --comment x -j ACCEPT", "a comment cannot be negated", "! --comment"),
        ("-m comment --comment 'x' -j ACCEPT", "this comment needs double quotes", "'x'"),
        ('-m comment --comment "x -j ACCEPT', "this comment needs double quotes", '"x'),
        ('-m comment --comment "$(x)" -j ACCEPT', "a comment cannot hold this character", '$(x)"'),
        ("-p tcp", "expected -j and a target", ""),
        ("", "expected -j and a target", ""),
        ("-p tcp -j", "-j needs a value", ""),
        ("-j ACCEPT -j DROP", "a rule has one target", "DROP"),
        ("-j ACCEPT word", "unknown option 'word'", "word"),
        ("-j ACCEPT --to-port 80", "unknown option '--to-port'", "--to-port"),
        ("-j MASQUERADE", "MASQUERADE is possible only in table nat at POSTROUTING", "MASQUERADE"),
        ("-j INPUT", "no target or user-defined chain has this name", "INPUT"),
        ("-j X -p tcp", "no target or user-defined chain has this name", "X -p"),
        ("-g X", "no target or user-defined chain has this name", "X"),
        ("-p tcp -j REDIRECT --to-port", "--to-port needs a value", ""),
        ("-p tcp -j REDIRECT --to-port 0", "a port to go to is", "0"),
        ("-p tcp -j REDIRECT --to-port 1-2", "'1-2' is no port", "1-2"),
        ("-j DNAT", "expected --to-destination", ""),
        ("-j DNAT --to-destination 10.0.0.0/8", "one address is wanted, not a range", "/8"),
        ("-j DNAT --to-destination $HOME", "an IPv4 address or range is", "$HOME"),
        ("-p tcp -j DNAT --to-destination 1.1.1.1:", "'' is no port", "1.1.1.1:"),
        ("-j RETURN; reboot", "a chain name cannot hold this character", "; reboot"),
        ("-j RETURN | cat", "unknown option '|'", "| cat"),
        ("-j `reboot`", "a chain name cannot hold this character", "`reboot`"),
        ("-j $(reboot)", "a chain name cannot hold this character", "$(reboot)"),
        ("-j ACCEPT\r", "a chain name cannot hold this character", "\r"),
        ("-j\N{NO-BREAK SPACE}ACCEPT", "unknown option", "-j\N{NO-BREAK SPACE}"),
        ("-j ACCEPT # why", "unknown option '#'", "# why"),
    ],
)
@pytest.mark.parametrize("form", Form)
def test_mistake_in_a_rule_is_shown_at_its_column(form, text, message, at):
    line = f"-A OUTPUT {text}"
    script = restore(line).replace(":X - [0:0]\n", "") if form is Form.RESTORE else f"iptables -t nat {line}"
    with pytest.raises(RulesSyntaxError) as caught:
        read(script)
    shown = line if form is Form.RESTORE else script
    number = 3 if form is Form.RESTORE else 1
    offset = shown.index("-A OUTPUT ") + len("-A OUTPUT ")
    assert caught.value.message.startswith(f"line {number}: ")
    assert message in caught.value.message
    assert caught.value.column == (shown.index(at, offset) if at else len(shown.rstrip(" ")) if text else len(shown))
    assert str(caught.value).endswith(f"\n  {' ' * caught.value.column}^")


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "empty text", 0),
        ("\n\n", "empty text", 0),
        ("  ", "expected iptables", 2),
        ("# nothing", "expected iptables", 0),
        ("reboot", "expected iptables", 0),
        ("A=b iptables -t nat -N X", "expected iptables", 0),
        ("ip6tables -t nat -N X", "expected iptables", 0),
        ("iptables -N X", "expected -t", 9),
        ("iptables -t filter -N X", "expected nat", 12),
        ("iptables -t nat -F", "expected -A", 16),
        ("iptables -t nat -N", "-N needs a value", 18),
        ("iptables -t nat -N OUTPUT", "this name is taken", 19),
        ("iptables -t nat -N ACCEPT", "this name is taken", 19),
        ("iptables -t nat -N a|b", "a chain name cannot hold this character", 20),
        ("iptables -t nat -N X Y", "expected &&", 21),
        ("iptables -t nat -N X\niptables -t nat -N Y", "a chain name cannot hold this character", 20),
        ("iptables -t nat -A", "-A needs a value", 18),
        ("iptables -t nat -A Y -j ACCEPT", "no chain of this name yet", 19),
        ("iptables -t nat -I OUTPUT 2 -j ACCEPT", "no position 2", 19),
        ("iptables -t nat -I OUTPUT 0 -j ACCEPT", "no position 0", 19),
        ("iptables -t nat -I OUTPUT 01 -j ACCEPT", "'01' is no position", 26),
        ("iptables -t nat -A OUTPUT 1 -j ACCEPT", "unknown option '1'", 26),
        ("iptables -t nat -A OUTPUT -j ACCEPT &&", "expected iptables", 38),
        ("iptables -t nat -A OUTPUT -j ACCEPT && && && iptables", "expected iptables", 0),
        ("&& iptables -t nat -A OUTPUT -j ACCEPT", "expected iptables", 0),
        ("iptables-restore --noflush <<EOF", "cut off: *nat is missing", 32),
        ("iptables-restore <<EOF\n*nat\nCOMMIT\nEOF", "expected iptables-restore --noflush", 0),
        ("iptables-restore --noflush <<EOF; reboot\n*nat\nCOMMIT\nEOF", "expected iptables-restore --noflush", 0),
    ],
)
def test_text_that_is_no_script(text, message, column):
    with pytest.raises(RulesSyntaxError) as caught:
        read(text)
    assert message in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("*nat", "*filter", "expected *nat", 3),
        ("COMMIT\n", "*filter\nCOMMIT\n", "expected COMMIT", 10),
        ("COMMIT\n", "COMMIT\n*nat\nCOMMIT\n", "expected EOF", 11),
        ("COMMIT\n", "", "expected :CHAIN - [0:0], -A, -I or COMMIT", 10),
        ("COMMIT\n", "COMMIT \n", "expected :CHAIN", 10),
        ("EOF\n", "", "cut off: EOF is missing", 10),
        ("\nEOF\n", "\nEOF\nreboot\n", "nothing may follow EOF", 12),
        ("\nEOF\n", "\nEOF\n# over\n", "nothing may follow EOF", 12),
        ("# FSM", "# $(reboot) FSM", "a shell or a terminal would act on this character", 2),
        ("# FSM", "# `reboot` FSM", "a shell or a terminal would act on this character", 2),
        ("# FSM", "# \x1b[2J FSM", "a shell or a terminal would act on this character", 2),
        (":X - [0:0]", ":X", "expected :CHAIN", 4),
        (":X - [0:0]", ":X - [0:0] more", "expected :CHAIN", 4),
        (":X - [0:0]", ":X - [0:0]\n:X - [0:0]", "this name is taken", 5),
        (":X - [0:0]\n", "", "no chain of this name yet", 4),
        (":X - [0:0]", ":Y - [0:0]\n:X - [0:0]\n\n", "expected :CHAIN", 6),
        ("-A OUTPUT -p tcp -j X", " -A OUTPUT -p tcp -j X", "expected :CHAIN", 6),
        ("-A OUTPUT -p tcp -j X", "-A OUTPUT -p tcp -j X && reboot", "nothing may follow a rule in its line", 6),
        ("-A OUTPUT -p tcp -j X", "-N Y", "expected -A", 6),
        ("-A OUTPUT -p tcp -j X", "-A OUTPUT -p tcp -j Y", "no target or user-defined chain has this name", 6),
    ],
)
def test_mistake_in_a_here_document_is_shown_with_its_line(old, new, message, line):
    assert RESTORE.count(old) == 1 or old in {"EOF\n", "*nat"}
    before, _, after = RESTORE.rpartition(old)
    with pytest.raises(RulesSyntaxError) as caught:
        read(before + new + after)
    assert caught.value.message.startswith(f"line {line}: ")
    assert message in caught.value.message


def test_a_script_cut_off_anywhere_is_an_error():
    whole = RESTORE.rstrip("\n")
    for length in range(len(whole)):
        with pytest.raises(RulesSyntaxError):
            read(whole[:length])


def test_error_shows_the_one_command_and_nothing_that_a_terminal_acts_on():
    with pytest.raises(RulesSyntaxError) as caught:
        read(COMMANDS.replace("--to-port 15001", "--to-port 1\x1b[2J"))
    assert str(caught.value) == (
        "line 1: '1\\x1b[2J' is no port: a number from 0 to 65535\n"
        "  iptables -t nat -A X -p tcp -j REDIRECT --to-port 1\N{REPLACEMENT CHARACTER}[2J\n"
        "                                                    ^"
    )


def test_error_about_a_long_line_is_short():
    with pytest.raises(RulesSyntaxError) as caught:
        read(f"iptables -t nat -A OUTPUT {f'-m comment --comment {chr(97) * 255} ' * 20}-p {'b' * 5000}")
    assert caught.value.text[caught.value.column :].startswith("bbb")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        restore(*["-A X -j RETURN"] * 70_000),
        restore(*["-I X -j RETURN"] * 70_000),
        restore(*["-A X -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j RETURN"] * 15_000),
        restore(*(f":C{number} - [0:0]" for number in range(60_000))),
        " && ".join(["iptables -t nat -A OUTPUT -j RETURN"] * 25_000),
    ],
    ids=["append", "insert", "long rules", "chains", "commands"],
)
def test_a_megabyte_of_rules_is_read_in_linear_time(text):
    start = time.process_time()
    parse(text)
    assert time.process_time() - start < 8


@pytest.mark.parametrize(
    "text",
    [
        "iptables -t nat -A OUTPUT -d " + "1" * 10**6,
        "iptables -t nat -A OUTPUT -d " + "1." * 500_000,
        "iptables -t nat -A OUTPUT -p tcp -m multiport --dports " + "1," * 500_000,
        "iptables -t nat -A OUTPUT " + "-m tcp " * 140_000,
        "iptables -t nat -A OUTPUT " + '"a ' * 300_000,
        "iptables -t nat -A OUTPUT -m comment --comment " + '"' * 10**6,
        "iptables -t nat -A OUTPUT " + "! " * 500_000,
        "&& " * 300_000,
        "iptables-restore --noflush <<EOF\n" + "#\n" * 500_000,
        restore("-A X -j RETURN" + " " * 10**6 + "x"),
    ],
    ids=lambda text: text[-20:].strip() or "spaces",
)
def test_a_megabyte_of_nonsense_is_refused_in_linear_time(text):
    start = time.process_time()
    with pytest.raises(RulesSyntaxError):
        parse(text)
    assert time.process_time() - start < 8


numbers = st.integers(0, MAX_PORT)
ranges = st.tuples(numbers, numbers).map(lambda ends: range(min(ends), max(ends) + 1))
ids = st.tuples(st.integers(0, MAX_ID), st.integers(0, MAX_ID)).map(lambda ends: range(min(ends), max(ends) + 1))
names = st.from_regex(r"[0-9A-Za-z_.,:/+@%=][0-9A-Za-z_.,:/+@%=-]{0,14}", fullmatch=True)
ipv4 = st.ip_addresses(v=4).map(str)
addresses = st.one_of(ipv4, st.builds("{}/{}".format, ipv4, st.one_of(st.integers(0, 32), ipv4)))
optional_matches = [
    st.builds(Address, st.just(End.SOURCE), addresses, st.booleans()),
    st.builds(Address, st.just(End.DESTINATION), addresses, st.booleans()),
    st.builds(Ports, st.sampled_from(End), st.tuples(ranges), st.booleans()),
    st.builds(
        Ports, st.sampled_from(End), st.lists(ranges, min_size=1, max_size=7).map(tuple), st.booleans(), st.just(True)
    ),
    st.builds(Owner, st.sampled_from(Identity), ids, st.booleans()),
    st.builds(Interface, st.sampled_from(Direction), names, st.booleans()),
    st.builds(Comment, st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\$`'))),
]
targets = st.one_of(
    st.sampled_from(Plain),
    st.just(Jump("X")),
    st.builds(Redirect, st.one_of(st.none(), st.integers(1, MAX_PORT))),
    st.builds(Dnat, st.one_of(ipv4, st.just(POD_IP)), st.one_of(st.none(), st.integers(1, MAX_PORT))),
)


@st.composite
def rules(draw):
    chosen = [strategy for strategy in optional_matches if draw(st.booleans())]
    matches = [Protocol(draw(st.sampled_from(["tcp", "udp"]))), *(draw(strategy) for strategy in chosen)]
    return Rule(tuple(draw(st.permutations(matches))), draw(targets))


@given(st.lists(rules(), min_size=1, max_size=4), st.sampled_from(Form))
def test_what_is_written_is_read_as_it_was(drawn, form):
    changes = [Append("OUTPUT", drawn[0]), *(Insert("X", rule) for rule in drawn[1:])]
    script = Script((NewChain("X"), *changes), form)
    assert read(write_script(script)) == script


@pytest.fixture(scope="session")
def samples(vectors):
    return [COMMANDS, RESTORE, *scripts(vectors)[::6]]


@given(data=st.data())
def test_a_damaged_script_is_read_or_refused(samples, data):
    text = data.draw(st.sampled_from(samples))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        pieces = st.one_of(
            st.text(max_size=3), st.sampled_from([" ! ", "&&", '"', "\n", "-A ", "EOF", "-j ", "$(", "-m ", ","])
        )
        text = text[:start] + data.draw(pieces) + text[end:]
    try:
        script = read(text)
    except RulesSyntaxError:
        return
    written = write_script(script)
    assert write_script(read(written)) == written
