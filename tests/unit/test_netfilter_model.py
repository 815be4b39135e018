import pytest

from kubectl_fsm.errors import RulesSyntaxError
from kubectl_fsm.netfilter.model import (
    POD_IP,
    Address,
    Append,
    Chain,
    Comment,
    Direction,
    Dnat,
    End,
    Goto,
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
    Ruleset,
    apply,
)

TCP = Protocol("tcp")
ACCEPT, RETURN = Rule((), Plain.ACCEPT), Rule((), Plain.RETURN)


def to(chain):
    return Rule((TCP,), Jump(chain))


def rules(ruleset, chain):
    return ruleset.tables["nat"][chain].rules


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("1.1.1.1", "1.1.1.1/32"),
        ("2.2.2.2/24", "2.2.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255/1", "128.0.0.0/1"),
        ("10.9.8.7/255.0.0.0", "10.0.0.0/8"),
        ("1.1.1.1/255.0.255.0", "1.0.1.0/255.0.255.0"),
        ("1.1.1.1/0.0.0.0", "0.0.0.0/0"),
    ],
)
def test_network_is_what_iptables_save_writes(text, network):
    address = Address(End.DESTINATION, text)
    assert address.text == text
    assert address.network == network


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.1.1",
        "1.1.1.1.1",
        "1.1.1.256",
        "01.1.1.1",
        "1.1.1.1/",
        "1.1.1.1/33",
        "1.1.1.1/08",
        "1.1.1.1/1.1",
        "1.1.1.1/-1",
        "1.1.1.1/8/8",
        "fd00::/8",
        "１.1.1.1",
        "a.b.c.d",
        " 1.1.1.1",
        "1.1.1.1 ",
        "$POD_IP",
    ],
)
def test_address_that_iptables_would_refuse_or_read_as_octal(text):
    with pytest.raises(RulesSyntaxError):
        Address(End.SOURCE, text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Protocol("tpc"),
        lambda: Protocol("all", negated=True),
        lambda: Ports(End.DESTINATION, ()),
        lambda: Ports(End.DESTINATION, (range(65536, 65537),)),
        lambda: Ports(End.DESTINATION, (range(8, 8),)),
        lambda: Ports(End.DESTINATION, (range(1, 2), range(2, 3))),
        lambda: Ports(End.DESTINATION, tuple(range(port, port + 1) for port in range(16)), multi=True),
        lambda: Ports(End.DESTINATION, tuple(range(port, port + 2) for port in range(8)), multi=True),
        lambda: Owner(Identity.UID, range(5, 5)),
        lambda: Owner(Identity.UID, range(2**32 - 1, 2**32)),
        lambda: Interface(Direction.OUT, ""),
        lambda: Interface(Direction.OUT, "sixteen-letters-"),
        lambda: Interface(Direction.OUT, "eth0 -j ACCEPT"),
        lambda: Interface(Direction.OUT, "$(reboot)"),
        lambda: Comment("a\nb"),
        lambda: Comment("a" * 256),
        lambda: Jump("-X"),
        lambda: Jump("a;b"),
        lambda: Jump("x" * 29),
        lambda: NewChain("x\ny"),
        lambda: Redirect(0),
        lambda: Redirect(65536),
        lambda: Dnat("10.0.0.0/8"),
        lambda: Dnat("10.0.0.1", 0),
        lambda: Dnat("$HOME"),
    ],
)
def test_value_that_no_rule_can_hold(make):
    with pytest.raises(RulesSyntaxError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ports(End.DESTINATION, tuple(range(port, port + 1) for port in range(15)), multi=True),
        lambda: Ports(End.DESTINATION, (range(65536),)),
        lambda: Owner(Identity.GID, range(2**32 - 1)),
        lambda: Interface(Direction.IN, "fifteen-letter+"),
        lambda: Jump("x" * 28),
        lambda: Dnat(POD_IP, 65535),
        lambda: Redirect(1),
    ],
)
def test_value_at_its_limit(make):
    assert make() == make()


def test_built_in_chains_come_first_and_have_a_policy():
    chains = apply([NewChain("X")]).tables["nat"]
    assert [(chain.name, chain.policy) for chain in chains.values()] == [
        ("PREROUTING", Plain.ACCEPT),
        ("INPUT", Plain.ACCEPT),
        ("OUTPUT", Plain.ACCEPT),
        ("POSTROUTING", Plain.ACCEPT),
        ("X", None),
    ]


def test_insert_puts_later_rules_first():
    first, second, third = (Rule((Comment(text),), Plain.RETURN) for text in ("1", "2", "3"))
    ruleset = apply(
        [Append("OUTPUT", ACCEPT), Insert("OUTPUT", second), Insert("OUTPUT", first), Insert("OUTPUT", third, 3)]
    )
    assert rules(ruleset, "OUTPUT") == (first, second, third, ACCEPT)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([Append("X", ACCEPT)], "no chain of this name yet"),
        ([Insert("X", ACCEPT)], "no chain of this name yet"),
        ([Insert("OUTPUT", ACCEPT, 2)], "no position 2"),
        ([Insert("OUTPUT", ACCEPT, 0)], "no position 0"),
        ([NewChain("X"), NewChain("X")], "name is taken"),
        ([NewChain("OUTPUT")], "name is taken"),
        ([NewChain("REDIRECT")], "name is taken"),
        ([NewChain("RETURN")], "name is taken"),
        ([Append("OUTPUT", to("X"))], "no user-defined chain"),
        ([Append("OUTPUT", to("INPUT"))], "no user-defined chain"),
    ],
)
def test_operation_that_iptables_would_refuse(operations, message):
    with pytest.raises(RulesSyntaxError, match=message):
        apply(operations)


def test_walk_follows_jumps_in_order_of_evaluation():
    ruleset = apply(
        [
            *map(NewChain, ("OUT", "IN", "REDIR")),
            Append("OUTPUT", to("OUT")),
            Append("OUTPUT", ACCEPT),
            Append("PREROUTING", to("IN")),
            Append("OUT", to("REDIR")),
            Append("OUT", RETURN),
            Append("OUT", to("REDIR")),
            Append("REDIR", Rule((TCP,), Redirect(15001))),
            Append("IN", RETURN),
        ]
    )
    assert [(step.depth, step.chain, step.rule.target) for step in ruleset.walk("OUTPUT")] == [
        (0, "OUTPUT", Jump("OUT")),
        (1, "OUT", Jump("REDIR")),
        (2, "REDIR", Redirect(15001)),
        (1, "OUT", Plain.RETURN),
        (1, "OUT", Jump("REDIR")),
        (2, "REDIR", Redirect(15001)),
        (0, "OUTPUT", Plain.ACCEPT),
    ]
    assert [step.chain for step in ruleset.walk("PREROUTING")] == ["PREROUTING", "IN"]
    assert list(ruleset.walk("INPUT")) == []


@pytest.mark.parametrize("loop", [["A"], ["A", "B"], ["A", "B", "C"]])
def test_walk_finds_loops(loop):
    jumps = [Append(chain, to(after)) for chain, after in zip(loop, loop[1:] + loop[:1], strict=True)]
    ruleset = apply([*map(NewChain, loop), Append("OUTPUT", to("A")), *jumps])
    with pytest.raises(RulesSyntaxError, match=f"loop: .* chain A .* from {loop[-1]}"):
        list(ruleset.walk("OUTPUT"))
    assert list(ruleset.walk("PREROUTING")) == []


def test_walk_through_many_chains_needs_no_recursion():
    names = [f"C{number}" for number in range(5000)]
    jumps = [Append(chain, to(after)) for chain, after in zip(["OUTPUT", *names], names, strict=False)]
    assert max(step.depth for step in apply([*map(NewChain, names), *jumps]).walk("OUTPUT")) == 4999


def test_walk_ends_where_jumps_double_at_every_level():
    names = [f"C{number}" for number in range(64)]
    jumps = [Append(chain, to(after)) for chain, after in zip(["OUTPUT", *names], names, strict=False) for _ in "12"]
    with pytest.raises(RulesSyntaxError, match="branch too often"):
        for _ in apply([*map(NewChain, names), *jumps]).walk("OUTPUT"):
            pass


def test_ruleset_made_by_hand_is_checked_too():
    with pytest.raises(RulesSyntaxError, match="OUTPUT jumps to X"):
        Ruleset({"nat": {"OUTPUT": Chain("OUTPUT", Plain.ACCEPT, (to("X"),))}})


def test_values_are_equal_by_class_and_fields_and_never_change():
    assert Jump("X") == Jump(chain="X")
    assert Jump("X") != NewChain("X")
    assert len({Jump("X"), Jump(chain="X"), NewChain("X"), Goto("X")}) == 3
    assert repr(Redirect(80)) == "Redirect(port=80)"
    with pytest.raises(AttributeError, match="Jump cannot be changed"):
        Jump("X").chain = "Y"
    with pytest.raises(AttributeError):
        del Jump("X").chain


@pytest.mark.parametrize("make", [Jump, lambda: Jump("X", "Y"), lambda: Jump("X", name="Y"), lambda: Redirect(ports=1)])
def test_value_with_other_fields_than_its_own(make):
    with pytest.raises(TypeError, match="has the fields"):
        make()
