"""What an edit does to a list, for any list that somebody may have left there."""

from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm.exclusions import network
from kubectl_fsm.meshes import EXCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations.places import Action, Change

PORTS = st.integers(1, 65535).map(str)
RANGES = st.builds("{}.{}.0.{}/{}".format, *[st.integers(0, 255)] * 3, st.integers(0, 32))
RUBBISH = st.sampled_from(["", "abc", "$(reboot)", "70000", "fd00::/8", "10.0.0.0/08", "+"])
LISTS = st.one_of(
    st.tuples(st.just(OUTBOUND_PORTS), st.lists(st.integers(1, 65535) | RUBBISH), st.lists(PORTS, min_size=1)),
    st.tuples(st.just(EXCLUDED_RANGES), st.lists(RANGES | RUBBISH), st.lists(RANGES, min_size=1)),
    st.tuples(
        st.just(INTERFACES),
        st.lists(st.from_regex(r"[a-z]{1,8}[0-9]?", fullmatch=True) | RUBBISH),
        st.lists(st.from_regex(r"[a-z]{1,8}[0-9]?", fullmatch=True), min_size=1),
    ),
)


def meaning(exclusion_list, items):
    """What iptables makes of the items, each once."""
    return {network(str(item)) if exclusion_list is EXCLUDED_RANGES else str(item) for item in items}


@given(LISTS)
def test_adding_keeps_every_item_as_it_stands_and_is_done_once(case):
    exclusion_list, held, values = case
    add = Change(exclusion_list, Action.ADD, values)
    after = add(held)
    assert list(after[: len(held)]) == held
    assert meaning(exclusion_list, after) == meaning(exclusion_list, held) | meaning(exclusion_list, values)
    assert list(add(after)) == list(after)


@given(LISTS)
def test_removing_takes_out_what_means_the_same_and_nothing_else(case):
    exclusion_list, held, values = case
    after = Change(exclusion_list, Action.REMOVE, values)(held)
    gone = meaning(exclusion_list, values)
    assert list(after) == [item for item in held if not meaning(exclusion_list, [item]) & gone]


@given(LISTS)
def test_what_was_added_can_be_taken_back(case):
    exclusion_list, held, values = case
    after = Change(exclusion_list, Action.ADD, values)(held)
    came = [str(item) for item in after[len(held) :]]
    assert list(Change(exclusion_list, Action.REMOVE, came)(after)) == held


@given(LISTS)
def test_replacing_leaves_just_the_values_in_the_spelling_that_was_there(case):
    exclusion_list, held, values = case
    after = Change(exclusion_list, Action.REPLACE, values)(held)
    assert meaning(exclusion_list, after) == meaning(exclusion_list, values)
    assert len(after) == len(meaning(exclusion_list, values))
    spellings = {str(item) for item in [*held, *values]}
    assert all(str(item) in spellings for item in after)
    assert Change(exclusion_list, Action.CLEAR)(held) == []
