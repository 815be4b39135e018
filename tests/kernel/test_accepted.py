"""Whatever the plugin lets through, `iptables-restore` takes; and where the plugin is stricter, there is a reason."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubectl_fsm.errors import RulesRefused
from kubectl_fsm.exclusions import MAX_PORT, MAX_PORTS, atoi, effective, problems, value_problem
from kubectl_fsm.generator import script
from kubectl_fsm.meshes import EXCLUDED_RANGES, INJECTORS, INTERFACES, LISTS, OUTBOUND_PORTS, Item
from tests.kernel.test_vectors import assert_same
from tests.support.pods import WEB, restore_text

in_the_kernel = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

PORTS = st.sampled_from([1, 22, 15000, 15003, 32768, MAX_PORT]) | st.integers(1, MAX_PORT)
WRITTEN_PORTS = PORTS.flatmap(lambda port: st.sampled_from([f"{port}", f"+{port}", f" {port}\t", f"00{port}"]))
OCTETS = st.sampled_from([0, 1, 127, 255]) | st.integers(0, 255)
RANGES = st.builds("{}.{}.{}.{}/{}".format, OCTETS, OCTETS, OCTETS, OCTETS, st.integers(0, 32))
NAME = st.sampled_from(["eth0", "lo", "net1", "veth+", "x" * 15, "x" * 14 + "+", "a.1", "a@b", "_", "a-b"])
INTERFACE_NAMES = NAME | st.from_regex(r"[A-Za-z0-9_.@-]{1,14}\+?", fullmatch=True)
VALUES = {Item.PORT: PORTS, Item.RANGE: RANGES, Item.INTERFACE: INTERFACE_NAMES}
WRITTEN = {Item.PORT: WRITTEN_PORTS, Item.RANGE: RANGES, Item.INTERFACE: INTERFACE_NAMES}


@st.composite
def configurations(draw):
    """An injector, a pod's annotations and a MeshConfig's spec of what it knows, none too long and none refused."""
    injector = draw(st.sampled_from(list(INJECTORS.values())))
    annotations, traffic = {}, {}
    for known in injector.lists:
        most = MAX_PORTS // 2
        good = VALUES[known.item].filter(lambda value, known=known: not value_problem(known, str(value)))
        traffic[known.field] = draw(st.lists(good, max_size=most))
        if known in injector.pod_lists and draw(st.booleans()):
            items = draw(st.lists(WRITTEN[known.item], min_size=1, max_size=most))
            annotations[injector.annotation(known)] = ",".join(items)
    sidecar = {
        "localProxyMode": draw(st.sampled_from(["Localhost", "PodIP"])),
        "localDNSProxy": {"enable": draw(st.booleans())},
    }
    return injector, annotations, {"traffic": traffic, "sidecar": sidecar}


@in_the_kernel
@given(configuration=configurations())
def test_every_accepted_configuration_loads_as_it_is_read(lab, configuration):
    injector, annotations, spec = configuration
    wanted = effective(injector, annotations, spec)
    assert not problems(wanted)
    text = script(injector, wanted)
    lab.load(WEB.name, restore_text(text))
    assert_same(text, lab.saved(WEB.name))


@pytest.mark.parametrize("ports", [MAX_PORTS, MAX_PORTS + 1])
def test_the_plugin_and_iptables_count_ports_alike(lab, ports):
    fsm = INJECTORS["fsm-1.5"]
    wanted = effective(fsm, {}, {"traffic": {"outboundPortExclusionList": list(range(1, 1 + ports))}})
    text = line(OUTBOUND_PORTS, ",".join(str(port) for port in range(1, 1 + ports)))
    assert takes(lab, text) is not bool(problems(wanted))


OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
STRICTER = {
    "port 0": (OUTBOUND_PORTS, r"[+-]?0+", "nobody dials port 0, and injectors refuse it in an annotation"),
    "no plain number": (
        OUTBOUND_PORTS,
        r".*[^0-9].*",
        "a MeshConfig holds numbers, and injectors refuse anything else in an annotation",
    ),
    "IPv6 range of length 0": (
        EXCLUDED_RANGES,
        r".*:.*/0+",
        "iptables does not look at the address, takes it for 0.0.0.0/0, and everything bypasses the sidecar",
    ),
    "octal prefix length": (EXCLUDED_RANGES, r"[0-9.]+/0[0-9]+", "010 is 10 to the injector and 8 to iptables"),
    "several ranges in one": (EXCLUDED_RANGES, r".*,.*", "iptables makes a rule of each, and no list shows them"),
    "no four decimal octets with a length": (
        EXCLUDED_RANGES,
        rf"(?!{OCTET}(\.{OCTET}){{3}}/\d+$)[^:,]*",
        "injectors refuse it in an annotation; iptables reads octal octets, completes what is missing, and resolves names",
    ),
    "every interface": (INTERFACES, r"\+", "one entry would take the whole mesh away; iptables drops the match"),
    "no interface's name": (
        INTERFACES,
        r"(?![A-Za-z0-9_.@][A-Za-z0-9_.@-]*\+?$).+|\.\.?\+?",
        "Linux gives none such a name, or a shell acts on it",
    ),
}
"""What the plugin refuses and iptables takes: which list, what it looks like, and why."""


def line(known, value):
    """The rule that an injector makes of a value."""
    if known.item is Item.PORT:
        return f"-A OUTPUT -p tcp --match multiport --dports {value} -j RETURN"
    return f"-A OUTPUT -{'d' if known.item is Item.RANGE else 'o'} {value} -j RETURN"


def takes(lab, text):
    try:
        lab.load(WEB.name, f"*nat\n{text}\nCOMMIT\n")
    except RulesRefused:
        return False
    return True


EXAMPLES = {
    "port 0": ["0"],
    "no plain number": ["80:90", "http", "0x50"],
    "IPv6 range of length 0": ["::/0", "fd00::/0"],
    "octal prefix length": ["10.0.0.0/010"],
    "several ranges in one": ["10.0.0.0/8,11.0.0.0/8"],
    "no four decimal octets with a length": ["10.0.0.1", "10/8", "10.0.0.0/255.0.0.0", "localhost", "010.0.0.0/8"],
    "every interface": ["+"],
    "no interface's name": ["..", "a/b", "a:b", "-x", "a+b", "a$b", "a;b", "a`b"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in EXAMPLES.items() for value in values])
def test_stricter_than_iptables(lab, name, value):
    known, pattern, _ = STRICTER[name]
    assert value_problem(known, value)
    assert takes(lab, line(known, value))
    assert re.fullmatch(pattern, value)


def test_every_reason_has_its_examples():
    assert set(EXAMPLES) == set(STRICTER)
    assert all(reason for _, _, reason in STRICTER.values())


ODD_PORTS = st.from_regex(r"[+-]?0{0,2}[0-9]{1,6}|[0-9]{1,3}[:,-][0-9]{1,3}|http|ssh|0x[0-9a-f]{1,4}", fullmatch=True)
ODD_RANGES = st.from_regex(
    r"0?[0-9]{1,3}(\.0?[0-9]{1,3}){0,4}(/0?[0-9]{1,2}|/255\.0\.255\.0|)(,1\.2\.3\.4)?|[0-9a-f:]{2,12}/[0-9]{1,3}",
    fullmatch=True,
)
ODD_NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc"]), max_size=17)


@in_the_kernel
@example(("interface", "a b"))
@given(
    value=st.tuples(st.just("outbound-port"), ODD_PORTS)
    | st.tuples(st.just("outbound-ip"), ODD_RANGES)
    | st.tuples(st.just("interface"), ODD_NAMES)
)
def test_no_other_value_is_refused_that_iptables_takes(lab, value):
    """And none is accepted that iptables refuses."""
    name, text = value
    (known,) = [known for known in LISTS if known.name == name]
    if known.item is Item.PORT and atoi(text) is not None:
        text = str(atoi(text))  # as the injector writes it
    taken = takes(lab, line(known, text))
    if not value_problem(known, text):
        assert taken
    elif taken:
        assert [name for name, (of, pattern, _) in STRICTER.items() if of is known and re.fullmatch(pattern, text)]
