"""The generator against a second writing of FSM 1.5's injector, in Go (`tests/tools/injector`), over random inputs."""

import json
import subprocess
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubectl_fsm.errors import InvalidExclusion
from kubectl_fsm.generator import render

EXAMPLES = 1000
PREFIX = "flomesh.io/"
PORT_LISTS = ("outbound-port-exclusion-list", "inbound-port-exclusion-list")
RANGE_LISTS = ("outbound-ip-range-exclusion-list", "outbound-ip-range-inclusion-list")

GOOD_PORTS = ["80", "+80", "00080", " 80", "443 ", "\t6379\n", "\u3000443\u2009", "70000", "9223372036854775807"]
BAD_PORTS = [
    *("", " ", "0", "+0", "-0", "-1", "+", "８０", "٨٠", "8_0", "80-90", "0x50", "1e3", "80.0", "8 0", "abc"),
    *("9223372036854775808", "\u200b80", "\ufeff80", "\x1c80", "'80'", '"80"'),
]
GOOD_RANGES = [
    *(
        "10.0.0.0/8",
        " 10.0.0.0/8",
        "2.2.2.2/24",
        "0.0.0.0/0",
        "255.255.255.255/32",
        "10.0.0.0/08",
        "10.0.0.0/000000000032",
    ),
    *("fd00::/8", "FD00::1/8", "::/0", "::ffff:1.2.3.4/96", "1:2:3:4:5:6:7:8/64"),
]
BAD_RANGES = [
    *("", "10.0.0.1", "010.0.0.0/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "/8", "10.0.0/8"),
    *("10.0.0.0 /8", "256.0.0.0/8", "10.0.0.0/８", "::/129", "fe80::1%eth0/64", "1::2::3/64", "8000-8010", "svc"),
]
NEVER_READ = [
    "flomesh.io/inbound-port-inclusion-list",
    "flomesh.io/network-interface-exclusion-list",
    "openservicemesh.io/outbound-port-exclusion-list",
    "outbound-port-exclusion-list",
]
INTERFACES = [
    "eth0",
    "net1",
    "veth+",
    "+",
    "a/b",
    "",
    " net 1 ",
    "$(id)",
    "sixteen-letters-",
    "eth０",
    "a\tb",
    "'\"`\\",
]

ports = st.integers(1, 65535).map(str) | st.sampled_from(GOOD_PORTS)
ranges = st.sampled_from(GOOD_RANGES) | st.builds(
    "{}.{}.{}.{}/{}".format, *[st.integers(0, 255)] * 4, st.integers(0, 32)
)
likely = st.text(alphabet="0123456789.:/+-_ abcdefxF%٣\u2003\x1f,", max_size=24)


def joined(good, bad):
    """An annotation's value: mostly good, so that more than a few inputs lead to a script."""
    right = st.lists(good, min_size=1, max_size=6)
    wrong = st.lists(good | st.sampled_from(bad) | likely, min_size=1, max_size=4)
    return st.one_of(right, right, right, right, wrong).map(",".join)


annotations = st.fixed_dictionaries(
    {},
    optional={f"{PREFIX}{name}": joined(ports, BAD_PORTS) for name in PORT_LISTS}
    | {f"{PREFIX}{name}": joined(ranges, BAD_RANGES) for name in RANGE_LISTS}
    | dict.fromkeys(NEVER_READ, likely),
)
global_ports = st.lists(st.integers(1, 65535) | st.sampled_from([80, 443, 0, -1, 70000, 2**31, 2**63 - 1]), max_size=18)
global_ranges = st.lists(
    st.builds(str.strip, ranges) | st.sampled_from([*BAD_RANGES, "$(x)1.1.1.1/32", "1.1.1.1/32\n-F"]) | likely,
    max_size=5,
)
LISTS = {
    "outboundPortExclusionList": global_ports,
    "inboundPortExclusionList": global_ports,
    "outboundIPRangeExclusionList": global_ranges,
    "outboundIPRangeInclusionList": global_ranges,
    "networkInterfaceExclusionList": st.lists(st.sampled_from(INTERFACES) | likely, max_size=4),
}
traffic = st.fixed_dictionaries(LISTS)
"""As an API server stores it: every list is there."""
modes = st.sampled_from(["Localhost", "PodIP"])


def absent_or(strategy):
    return st.none() | strategy


meshconfigs = st.fixed_dictionaries(
    {},
    optional={
        "sidecar": absent_or(
            st.fixed_dictionaries(
                {},
                optional={
                    "localProxyMode": absent_or(modes | st.just("")),
                    "localDNSProxy": absent_or(st.fixed_dictionaries({"enable": st.booleans()})),
                },
            )
        ),
        "traffic": absent_or(
            traffic
            | st.fixed_dictionaries({}, optional={name: absent_or(strategy) for name, strategy in LISTS.items()})
        ),
    },
)


@pytest.fixture(scope="session")
def ask_go(programs):
    """What the program in Go makes of one pod's annotations and a MeshConfig's spec: a script, or words of refusal."""
    with subprocess.Popen(
        [programs["fsm-injector"], "-script"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(pod, spec):
            process.stdin.write(json.dumps({"annotations": pod, "spec": spec}) + "\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            return said["script"], said["error"]

        yield ask
        process.stdin.close()


def ask_python(pod, spec):
    """The same of the package."""
    try:
        return render("fsm-1.5", pod, spec), ""
    except InvalidExclusion as error:
        return "", str(error)


@pytest.mark.parametrize("injector", ["fsm-1.5", "fsm-1.2"])
def test_the_second_writing_against_the_released_injector(vectors, ask_go, injector):
    """FSM 1.2's scripts have the DNS rule beside what 1.5's have; its vectors are those with words of refusal."""
    cases = [case for case in json.loads(vectors.read_text()) if case["injector"] == injector]
    assert len(cases) == 8
    for case in cases:
        lines = case["script"].splitlines(keepends=True)
        script = "".join(line for line in lines if "127.0.0.153" not in line)
        assert ask_go(case["annotations"], case["meshconfig"]) == (script, case["error"])


@pytest.mark.parametrize("name", [*PORT_LISTS, *RANGE_LISTS])
def test_every_tricky_item(ask_go, name):
    for item in [*GOOD_PORTS, *BAD_PORTS, *GOOD_RANGES, *BAD_RANGES]:
        pod = {f"{PREFIX}{name}": item}
        assert ask_go(pod, {}) == ask_python(pod, {}), item
    good, bad = (GOOD_PORTS, BAD_PORTS) if name in PORT_LISTS else (GOOD_RANGES, BAD_RANGES)
    assert all(ask_go({f"{PREFIX}{name}": item}, {})[0] for item in good)
    assert all(ask_go({f"{PREFIX}{name}": item}, {})[1] for item in bad)


def test_two_writings_agree_on_random_inputs(ask_go, figure):
    compared = {"script": 0, "refusal": 0}

    @settings(max_examples=EXAMPLES)
    @given(st.lists(annotations, min_size=1, max_size=4), st.lists(meshconfigs, min_size=1, max_size=4))
    @example([{}], [{}])
    def agree(pods, specs):
        for pod, spec in product(pods, specs):
            script, error = ask_go(pod, spec)
            wanted = ask_python(pod, spec)
            assert error == wanted[1]
            assert script == wanted[0]
            compared["refusal" if error else "script"] += 1

    agree()
    figure(f"second writing in Go: {compared['script']} scripts and {compared['refusal']} refusals identical")
    assert compared["script"] > EXAMPLES
    assert compared["refusal"] > EXAMPLES / 5
