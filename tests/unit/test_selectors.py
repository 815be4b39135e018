"""Label selectors: what they match is compared with an API server in tests/cluster/test_contract.py."""

import pytest

from kubectl_fsm.cluster.selectors import Requirement, parse, parse_fields
from kubectl_fsm.errors import InvalidObject, UsageError

LABELS = {"app": "web", "tier": "", "cores": "8", "in": "notin", "example.com/role": "front-end_1.x"}

HOLDS = {
    "": True,
    "  ": True,
    "app": True,
    "!app": False,
    "! other": True,
    "app=web": True,
    "app == web": True,
    "app!=web": False,
    "other!=web": True,
    "tier=": True,
    "other=": False,
    "app in (db, web)": True,
    "app in(db)": False,
    "tier in (,a)": True,
    "app notin (db)": True,
    "app notin (web)": False,
    "other notin (web)": True,
    "other in (web)": False,
    "cores>7": True,
    "cores > 8": False,
    "cores<9": True,
    "cores<8": False,
    "app>1": False,
    "other<1": False,
    "in": True,
    "in in (notin)": True,
    "notin": False,
    "example.com/role=front-end_1.x": True,
    "app=web,cores>7,!other": True,
    "app=web,cores>7,other": False,
}


@pytest.mark.parametrize("text", HOLDS)
def test_a_selector_matches(text):
    assert parse(text).matches(LABELS) is HOLDS[text]


def test_a_selector_is_data():
    assert parse("a in (x,y),!b").requirements == (Requirement("a", "in", frozenset("xy")), Requirement("b", "!"))


WRONG = {
    "app=web,": "        ^ expected a label key",
    ",app": "^ expected a label key",
    "=web": "^ expected a label key",
    "app web": "    ^ expected =, ==, !=, in, notin, <, > or a comma",
    "app in web": "       ^ expected (",
    "app in (web": "           ^ expected ,",
    "app in ()": "        ^ expected a value",
    "app=(web)": "    ^ expected ,",
    "!app=web": "    ^ expected ,",
    "app=web=db": "       ^ expected ,",
    "cores>": "      ^ expected an integer",
    "cores>a": "      ^ a is not an integer",
    "cores>9223372036854775808": "      ^ 9223372036854775808 is not an integer",
    "-app": "^ -app is not a label key",
    "/app": "^ /app is not a label key",
    "Example.com/app": "^ Example.com/app is not a label key",
    "app, b/c/d": "     ^ b/c/d is not a label key",
    "app=a:b": "    ^ a:b is not a label value",
    "app=" + "a" * 64: "    ^ " + "a" * 64 + " is not a label value",
    "a" * 64: "^ " + "a" * 64 + " is not a label key",
    "a" * 254 + "/b": "^ " + "a" * 254 + "/b is not a label key",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_malformed_selector_is_a_usage_error_that_points_at_the_place(text):
    space, _, what = WRONG[text].partition("^ ")
    with pytest.raises(UsageError) as error:
        parse(text)
    assert error.value.message == f"label selector: {what}\n  {text}\n  {space}^"


@pytest.mark.parametrize("text", ["a" * 63, "a" * 253 + "/b", "cores<-9223372036854775808", "app=" + "a" * 63])
def test_the_longest_is_accepted(text):
    parse(text)


OBJECT = {"kind": "Event", "metadata": {"name": "e"}, "reason": "Failed", "involvedObject": {"kind": "Pod"}, "count": 1}

FIELDS = {
    "": True,
    "reason=Failed": True,
    "reason==Failed,involvedObject.kind!=Job": True,
    "reason=Failed,involvedObject.kind=Job": False,
    "reason!=Failed": False,
    "source.component=": True,
    "source.component!=kubelet": True,
    "source.component=kubelet": False,
}


@pytest.mark.parametrize("text", FIELDS)
def test_a_field_selector_matches(text):
    assert parse_fields(text).matches(OBJECT) is FIELDS[text]


@pytest.mark.parametrize("text", ["reason", "=a", "!=a", "reason=a=b", "reason>1", "a b=c", r"reason=a\,b", "a=b, c=d"])
def test_what_is_no_field_selector(text):
    with pytest.raises(UsageError, match="is not FIELD=VALUE or FIELD!=VALUE"):
        parse_fields(text)


def test_a_field_of_another_type_is_named():
    with pytest.raises(InvalidObject, match="Event e: count is a number, not a string"):
        parse_fields("count=1").matches(OBJECT)
