"""Annotations, values of a MeshConfig and init scripts: near what is valid, and held to what must be true of all of them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm.errors import FsmError, InvalidExclusion, InvalidObject, RulesSyntaxError, Undecided, UsageError
from kubectl_fsm.exclusions import (
    MAX_PORTS,
    effective,
    judged,
    parse_interface,
    parse_ports,
    parse_range,
    problems,
    value_problem,
)
from kubectl_fsm.generator import render, script
from kubectl_fsm.interception import difference, explain, read_script
from kubectl_fsm.meshes import INJECTORS, LISTS, Item
from kubectl_fsm.netfilter import Packet, parse, simulate, write
from kubectl_fsm.netfilter.script import read, write_script
from tests.support.fuzzing import NASTY, TEXTS, VALUES, fuzzing

SAFE = re.compile(r"[A-Za-z0-9_.@+:/-]+")
"""Characters that no shell acts on, nor a here-document."""
DIGITS = st.integers(-1, 70000).map(str)
PORTS = st.one_of(
    st.integers(1, 65535).map(str),
    st.builds("{}{}{}".format, st.sampled_from(["", "+", "-", " ", "\t", "\u2003", "0" * 30, "0x"]), DIGITS, TEXTS),
    st.sampled_from(
        ["8_0", "80-90", "1e3", "\u0668\u0660", "\uff18\uff10", "9223372036854775808", "", "80\x00", "15001"]
    ),
    TEXTS,
)
OCTETS = st.sampled_from(["0", "1", "10", "127", "255", "256", "010", "-1", "\u0661", ""]) | st.integers(0, 255).map(
    str
)
RANGES = st.one_of(
    st.builds("{}.{}.{}.{}/{}".format, *[st.integers(0, 255)] * 4, st.integers(0, 32)),
    st.builds(
        "{}.{}.{}.{}/{}".format, *[OCTETS] * 4, st.sampled_from(["8", "0", "32", "33", "08", "+8", "-1", "\u0668", ""])
    ),
    st.sampled_from(
        ["::/0", "fd00::/8", "::ffff:1.2.3.4/96", "fe80::1%eth0/64", "10.0.0.0", "10.0.0.0/8\n", "10.0.0.0/8;id"]
    ),
    TEXTS,
)
INTERFACES = st.one_of(
    st.sampled_from(
        ["eth0", "lo", "net1", "veth+", "+", ".", "..", "-i", "a/b", "a b", "a" * 15, "a" * 16, "$IFS", "eth0\nx"]
    ),
    st.from_regex(r"[A-Za-z0-9_.@-]{1,15}\+?", fullmatch=True),
    TEXTS,
)
ITEMS = {Item.PORT: PORTS, Item.RANGE: RANGES, Item.INTERFACE: INTERFACES}
GOOD = {
    Item.PORT: st.integers(1, 65535),
    Item.RANGE: st.builds("{}.{}.{}.{}/{}".format, *[st.integers(0, 255)] * 4, st.integers(0, 32)),
    Item.INTERFACE: st.from_regex(r"[A-Za-z0-9_@][A-Za-z0-9_.@-]{0,13}\+?", fullmatch=True),
}


@st.composite
def configured(draw):
    """An injector, a pod's annotations and a MeshConfig's spec: most of it good, some of it not."""
    injector = draw(st.sampled_from(list(INJECTORS.values())))
    annotations, traffic = {}, {}
    for known in LISTS:
        good = st.lists(GOOD[known.item], max_size=draw(st.sampled_from([2, MAX_PORTS, MAX_PORTS + 1])))
        odd = st.lists(GOOD[known.item] | ITEMS[known.item] | VALUES, max_size=4) | VALUES
        traffic[known.field] = draw(st.one_of(good, good, good, odd))
        if known.annotation and draw(st.booleans()):
            items = draw(good.map(lambda found: [*map(str, found)]) | st.lists(ITEMS[known.item], max_size=17))
            annotations[injector.prefix + known.annotation] = draw(st.sampled_from([",", ", ", " ,"])).join(items)
    sidecar = {"localProxyMode": draw(st.sampled_from(["Localhost", "PodIP", 7, None])), "localDNSProxy": draw(VALUES)}
    return injector, annotations, {"traffic": traffic, "sidecar": draw(st.sampled_from([sidecar, {}, {}]))}


def tried(function, *arguments):
    """What a function returns, or the error that it is allowed to raise."""
    try:
        return function(*arguments)
    except FsmError as error:
        return error


def of_meshconfig(error):
    return isinstance(error, InvalidObject) and error.message.startswith("MeshConfig: spec.")


@fuzzing(0.4)
@given(configured())
def test_a_union_that_is_fine_is_a_script_that_reads_back(configuration):
    injector, annotations, spec = configuration
    wanted = tried(effective, injector, annotations, spec)
    if isinstance(wanted, InvalidExclusion):
        assert any(f"annotation '{key}'" in wanted.message for key in annotations)
        return
    if isinstance(wanted, FsmError):
        assert of_meshconfig(wanted)
        return
    assert render(injector.name, annotations, spec) == script(injector, wanted)
    if problems(wanted):
        return
    for entry in wanted.entries:
        assert SAFE.fullmatch(entry.value), entry
    text = script(injector, wanted)
    assert write_script(read(text)) == text
    dump = write(parse(text))
    assert write(parse(dump)) == dump
    runs = read_script(text)
    assert not difference(runs.effective, wanted)
    assert injector in runs.injectors
    assert all(one.why != "not a rule that the mesh writes" for one in explain(runs.ruleset, injector, wanted))


@fuzzing(0.2)
@given(configured())
def test_every_problem_is_found_however_many_there_are(configuration):
    injector, annotations, spec = configuration
    found = tried(judged, injector, annotations, spec)
    if isinstance(found, FsmError):
        assert of_meshconfig(found)
        return
    union, told = found
    assert {problem.key for problem in problems(union)} <= {problem.key for problem in told}
    if isinstance(tried(effective, injector, annotations, spec), FsmError):
        assert any(problem.key[1] == "unreadable" for problem in told)


@fuzzing(0.4)
@given(st.sampled_from(LISTS), st.data())
def test_nothing_that_a_shell_acts_on_is_ever_good(exclusion_list, data):
    value = data.draw(ITEMS[exclusion_list.item] | st.sampled_from(NASTY))
    if not SAFE.fullmatch(value):
        assert value_problem(exclusion_list, value)
    reader = {Item.PORT: lambda word: parse_ports([word]), Item.RANGE: parse_range, Item.INTERFACE: parse_interface}
    found = tried(reader[exclusion_list.item], value)
    if isinstance(found, FsmError):
        assert isinstance(found, UsageError)
        return
    for item in [found] if isinstance(found, str) else found:
        assert SAFE.fullmatch(item)
        assert not value_problem(exclusion_list, item)


PIECES = (
    *(
        "-A ",
        "-I OUTPUT ",
        "-j ",
        "RETURN",
        "FSM_PROXY_OUTBOUND",
        "-m multiport --dports ",
        "-p tcp ",
        "! ",
        ",",
        ":X - [0:0]\n",
    ),
    *(
        "-g ",
        "-m owner --uid-owner ",
        "$POD_IP",
        "$(id)",
        "COMMIT\n",
        "EOF\n",
        "*filter\n",
        " && ",
        "\\\n",
        '"',
        "#",
        "\x1b[2J",
    ),
    *(
        "--to-port ",
        "-d ",
        "10.0.0.0/8",
        "65536",
        "-m statistic --mode random --probability 0.5 ",
        "-N X",
        "-F",
        "-D OUTPUT 1",
    ),
)
PACKET = Packet("OUTPUT", "tcp", "10.244.0.2", "10.96.0.7", 40000, 80, None, "eth0", 1000)


@fuzzing(0.4)
@given(st.sampled_from(list(INJECTORS)), st.data())
def test_a_script_is_read_as_it_is_or_not_at_all(injector, data):
    text = render(
        injector, {}, {"traffic": {"outboundPortExclusionList": [80, 443]}, "sidecar": {"localProxyMode": "PodIP"}}
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.sampled_from(PIECES) | TEXTS) + text[end:]
    runs = tried(read_script, text)
    if isinstance(runs, FsmError):
        assert isinstance(runs, RulesSyntaxError)
        return
    dump = write(runs.ruleset)
    assert write(parse(dump)) == dump
    list(explain(runs.ruleset, next(iter(runs.injectors), None), runs.effective))
    verdict = tried(simulate, runs.ruleset, PACKET)
    assert isinstance(verdict, Undecided) or verdict.action
