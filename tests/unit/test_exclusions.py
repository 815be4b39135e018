"""What counts as a port and as a range, held against Go itself; unions; what iptables refuses."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubectl_fsm import exclusions
from kubectl_fsm.errors import UsageError
from kubectl_fsm.exclusions import atoi, effective, is_cidr, network, problems
from kubectl_fsm.meshes import EXCLUDED_RANGES, FSM_1_5, INBOUND_PORTS, INTERFACES, OSM_1_0, OUTBOUND_PORTS
from tests.conftest import give_up

GO_MODULE = Path(__file__).parents[1] / "tools" / "gogrammar"

TRICKY = [
    *("", " ", "0", "00080", "80", "+80", "-80", "+", "-", "++80", "8_0", "0x50", "80 ", "８０", "٨٠", "1e3", "80-90"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "0" * 5000 + "80"),
    *("10.0.0.0/8", "10.0.0.1", "2.2.2.2/24", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/33", "10.0.0/8", "10.0.0.0.0/8"),
    *(
        "0.0.0.0/0",
        "256.0.0.0/8",
        "10.0.0.0/ 8",
        "10.0.0.0/-8",
        "10.0.0.0/+8",
        "10.0.0.0//8",
        "/8",
        "10.0.0.0/",
        "1.2.3.4/٨",
    ),
    *(
        "fd00::/8",
        "::/0",
        "::1/128",
        "::/129",
        "fe80::1%eth0/64",
        "::ffff:1.2.3.4/96",
        "::1.2.3/64",
        "1:2:3:4:5:6:7:8/64",
    ),
    *("1:2:3:4:5:6:7::/64", "1:2:3:4:5:6:7:8::/64", "1::2::3/64", ":1/64", "12345::/16", "::01.2.3.4/64", "FD00::/8"),
    *("10.0.0.0/8\n", "10.0.0.0/8,11.0.0.0/8", "\ufeff80", "\x1c80", "\u200b80", "10.0.0.0/" + "0" * 30 + "8"),
    *("10.0.0.0/00016777215", "10.0.0.0/000000000032", "10.0.0.0/99999999"),
]
SPACES = [
    "\x1c80\x1f",
    "\x8580\xa0",
    "\u168080\u3000",
    "\u200b80",
    "\ufeff80",
    "\t\n\v\f\r 80",
    "\u202880\u205f",
    "\u180e80",
]
LIKELY = st.text(alphabet="0123456789.:/+-_ abcdefxF%٣\u2003\x1f", max_size=24)


@pytest.fixture(scope="session")
def ask_go(tmp_path_factory):
    """What Go's library makes of texts."""
    if not shutil.which("go"):
        give_up("no Go to compare its readers of numbers and ranges with")
    program = tmp_path_factory.mktemp("go") / "gogrammar"
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO_MODULE, check=True, capture_output=True)

    def ask(texts):
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def test_atoi_and_parse_cidr_as_go_on_tricky_texts(ask_go):
    for text, said in zip(TRICKY, ask_go(TRICKY), strict=True):
        assert (atoi(text), is_cidr(text)) == (said["number"], said["cidr"]), repr(text[:60])


def test_trimming_as_go(ask_go):
    texts = [*SPACES, *TRICKY]
    for text, said in zip(texts, ask_go(texts), strict=True):
        assert exclusions.trim(text) == said["trimmed"], repr(text[:60])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(LIKELY | st.from_regex(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}", fullmatch=True), min_size=50, max_size=100))
def test_atoi_and_parse_cidr_as_go_on_random_texts(ask_go, texts):
    for text, said in zip(texts, ask_go(texts), strict=True):
        assert (atoi(text), is_cidr(text)) == (said["number"], said["cidr"])
        if said["cidr"] and ":" not in text:
            assert network(text) == said["network"]


def test_union_order_and_sources():
    spec = {
        "traffic": {
            "outboundPortExclusionList": [443, 22],
            "outboundIPRangeExclusionList": ["10.0.0.0/8"],
            "networkInterfaceExclusionList": ["net1", "net1"],
        }
    }
    annotations = {
        "flomesh.io/outbound-port-exclusion-list": "22,+80,22",
        "flomesh.io/outbound-ip-range-exclusion-list": "1.1.1.1/32, 10.0.0.0/8",
    }
    wanted = effective(FSM_1_5, annotations, spec, pod_source="pod")
    assert [(entry.value, entry.sources) for entry in wanted.entries] == [
        ("443", ("MeshConfig",)),
        ("22", ("MeshConfig", "pod")),
        ("80", ("pod",)),
        ("1.1.1.1/32", ("pod",)),
        ("10.0.0.0/8", ("pod", "MeshConfig")),
        ("net1", ("MeshConfig",)),
        ("net1", ("MeshConfig",)),
    ]


def test_entries_that_mean_the_same_are_equal():
    def keys(*ranges):
        return effective(FSM_1_5, {}, {"traffic": {"outboundIPRangeExclusionList": list(ranges)}}).keys()

    assert keys("2.2.2.2/24") == keys("2.2.2.0/24", "2.2.2.9/24")
    assert keys("2.2.2.2/24") != keys("2.2.2.2/25")


def test_one_bad_list_hides_no_other():
    spec = {"traffic": {"outboundPortExclusionList": list(range(1, 20)), "inboundPortExclusionList": ["x"]}}
    wanted, found = exclusions.judged(FSM_1_5, {"flomesh.io/outbound-ip-range-exclusion-list": "1"}, spec)
    assert len(wanted.of(OUTBOUND_PORTS)) == 19
    assert [problem.key for problem in found] == [
        ("flomesh.io/outbound-ip-range-exclusion-list", "unreadable"),
        ("inboundPortExclusionList", "unreadable"),
        ("outbound-port", "too many"),
    ]
    _, dropped = exclusions.judged(OSM_1_0, {"openservicemesh.io/inbound-port-exclusion-list": "80,x"}, {})
    assert "ignores the whole list" in dropped[0].text


def union(**traffic):
    return effective(FSM_1_5, {}, {"traffic": traffic})


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ({"outboundPortExclusionList": list(range(1, 17))}, "16 outbound ports, and iptables takes 15"),
        ({"inboundPortExclusionList": list(range(1, 18))}, "17 inbound ports, and iptables takes 15"),
        ({"outboundPortExclusionList": [70000]}, "'70000' is not a port"),
        ({"outboundIPRangeExclusionList": ["fd00::/8"]}, "'fd00::/8' is IPv6"),
        ({"outboundIPRangeInclusionList": ["$(reboot)1.1.1.1/32"]}, "is not an IPv4 range"),
        ({"networkInterfaceExclusionList": ["a" * 16]}, "longer than the 15 characters"),
        ({"networkInterfaceExclusionList": ["+"]}, "'+' is not the name of a network interface"),
        ({"networkInterfaceExclusionList": ["a/b"]}, "'a/b' is not the name"),
        ({"networkInterfaceExclusionList": ["-eth0"]}, "'-eth0' is not the name"),
        ({"networkInterfaceExclusionList": [".."]}, "'..' is not the name"),
        ({"networkInterfaceExclusionList": ["eth0:1"]}, "'eth0:1' is not the name"),
        ({"outboundIPRangeExclusionList": ["10.0.0.0/08"]}, "reads as octal"),
        ({"outboundIPRangeExclusionList": ["10.0.0.0/" + "0" * 5000 + "8"]}, "reads as octal"),
        ({"networkInterfaceExclusionList": ["eth0; reboot"]}, "is not the name"),
    ],
)
def test_problems(traffic, said):
    (problem,) = problems(union(**traffic))
    assert said in problem.text


def test_no_problems():
    good = {
        "outboundPortExclusionList": list(range(1, 16)),
        "inboundPortExclusionList": [65535],
        "outboundIPRangeExclusionList": ["2.2.2.2/24", "0.0.0.0/0"],
        "networkInterfaceExclusionList": ["veth+", "a" * 15, "eth0.100@if5", ".eth"],
    }
    assert problems(union(**good)) == []


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        (["6379"], ["6379"]),
        (["6379,7070", "22"], ["6379", "7070", "22"]),
        (["8000-8003"], ["8000", "8001", "8002", "8003"]),
        (["80 81,80", "81"], ["80", "81"]),
        (["00080"], ["80"]),
    ],
)
def test_ports_as_people_write_them(words, ports):
    assert exclusions.parse_ports(words) == ports


@pytest.mark.parametrize("word", ["0", "65536", "80x", "+80", "-5", "80-79", "80-", "８０", "1-16", "$(id)", "80;81"])
def test_bad_ports(word):
    with pytest.raises(UsageError, match=r"port"):
        exclusions.parse_ports([word])


@pytest.mark.parametrize("words", [[], [""], [","], [" ", "\t"]])
def test_values_that_are_empty(words):
    with pytest.raises(UsageError, match=r"empty"):
        exclusions.split(words)


def test_what_is_taken_out_may_be_anything():
    assert exclusions.port_names(["70000", "$(reboot),80", "8000-8001"]) == ["70000", "$(reboot)", "80", "8000", "8001"]


def test_ranges_as_people_write_them():
    assert exclusions.parse_range("10.1.2.3") == "10.1.2.3/32"
    assert exclusions.parse_range("2.2.2.2/24") == "2.2.2.2/24"


@pytest.mark.parametrize(
    "word", ["10.0.0", "010.0.0.1", "10.0.0.0/33", "::1", "fd00::/8", "$(id)", "10.0.0.0/8;id", "", "eth0"]
)
def test_bad_ranges(word):
    with pytest.raises(UsageError):
        exclusions.parse_range(word)


@pytest.mark.parametrize("word", ["+", "", "a b", "a;b", "$(id)", "`id`", "a" * 16, "a+b", "ä"])
def test_bad_interfaces(word):
    with pytest.raises(UsageError):
        exclusions.parse_interface(word)


def test_lists_have_their_names():
    assert [found.name for found in (OUTBOUND_PORTS, INBOUND_PORTS, EXCLUDED_RANGES, INTERFACES)] == [
        "outbound-port",
        "inbound-port",
        "outbound-ip",
        "interface",
    ]
