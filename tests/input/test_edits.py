"""Edits of manifests: what was asked for is what is read back, nothing else changes, and the way back leads back."""

import re
import shlex

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from kubectl_fsm.exclusions import atoi, network
from kubectl_fsm.meshes import LISTS, Item
from kubectl_fsm.operations import hints
from kubectl_fsm.operations.guards import reserved
from kubectl_fsm.reports import ListChange
from tests.input.test_values import GOOD, ITEMS
from tests.support.fuzzing import fuzzing
from tests.support.hostile import manifests
from tests.support.promises import run

BY_NAME = {found.name: found for found in LISTS}
VERBS = {
    "outbound-port": ["exclude-port"],
    "inbound-port": ["exclude-port", "--inbound"],
    "outbound-ip": ["exclude-ip"],
    "included-ip": ["include-ip"],
    "interface": ["exclude-interface"],
}
WORKLOAD = ["--workload=deploy/web", "-n", "shop"]
LOCAL = ["--local", "--yes", "--force", "-f", "-"]


def test_no_list_is_forgotten():
    assert set(VERBS) == set(BY_NAME)


def key(exclusion_list, value):
    """Equal for what means the same."""
    text = str(value)
    if exclusion_list.item is Item.PORT:
        return str(atoi(text) or text)
    return network(f"{text}/32" if "/" not in text else text) if exclusion_list.item is Item.RANGE else text


def keys(exclusion_list, values):
    return {key(exclusion_list, value) for value in values}


class Files:
    """The manifests with one list as given, in the MeshConfig or on a pod template; edited by running the program."""

    def __init__(self, exclusion_list, values, *, scoped):
        self.list = exclusion_list
        self.scoped = scoped
        objects = manifests()[:4]
        place = self._place(objects)
        if not scoped:
            place[exclusion_list.field] = values
        elif values:
            place[f"flomesh.io/{exclusion_list.annotation}"] = ",".join(map(str, values))
        else:
            place.pop(f"flomesh.io/{exclusion_list.annotation}", None)
        self.text = yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)

    def _place(self, objects):
        if self.scoped:
            return objects[3]["spec"]["template"]["metadata"]["annotations"]
        return objects[1]["spec"]["traffic"]

    def held(self):
        place = self._place(list(yaml.load_all(self.text, yaml.CSafeLoader)))
        if not self.scoped:
            return place[self.list.field]
        return [item.strip() for item in place.get(f"flomesh.io/{self.list.annotation}", "").split(",") if item.strip()]

    def others(self):
        """Everything but the list."""
        objects = list(yaml.load_all(self.text, yaml.CSafeLoader))
        self._place(objects).pop(f"flomesh.io/{self.list.annotation}" if self.scoped else self.list.field, None)
        return objects

    def edit(self, *words):
        scope = WORKLOAD if self.scoped else []
        done = run([*VERBS[self.list.name], *scope, *LOCAL, *words], self.text.encode(), terminal=False)
        assert not list(done.broken()), done
        if done.code == 0:
            self.text = done.out
        return done


@fuzzing(0.12)
@given(
    data=st.data(),
    name=st.sampled_from(list(VERBS)),
    action=st.sampled_from(["", "--remove", "--replace"]),
    scoped=st.booleans(),
)
def test_what_is_asked_for_is_what_is_there(data, name, action, scoped):
    exclusion_list = BY_NAME[name]
    assume(exclusion_list.annotation or not scoped)
    good = GOOD[exclusion_list.item]
    before = data.draw(st.lists(good, max_size=6))
    words = data.draw(
        st.lists(
            good.map(str) | ITEMS[exclusion_list.item] | st.sampled_from([*map(str, before), "80"]),
            min_size=1,
            max_size=5,
        )
    )
    files = Files(exclusion_list, before, scoped=scoped)
    others, held = files.others(), files.held()
    done = files.edit(*([action] if action else []), "--", *words)
    assert files.others() == others
    if done.code != 0:
        assert files.held() == held
        return
    asked = [part for word in words for part in re.split(r"[\s,]+", word) if part]
    if exclusion_list.item is Item.PORT:
        asked = [str(port) for part in asked for port in span(part)]
    wanted = {
        "": keys(exclusion_list, [*before, *asked]),
        "--remove": keys(exclusion_list, before) - keys(exclusion_list, asked),
        "--replace": keys(exclusion_list, asked),
    }
    assert keys(exclusion_list, files.held()) == wanted[action]
    if not scoped and exclusion_list.item is Item.PORT:
        assert all(type(port) is int for port in files.held())


def span(part):
    first, dash, last = part.partition("-")
    return range(int(first), int(last) + 1) if dash and first.isdigit() and last.isdigit() else [part]


@fuzzing(0.06)
@given(
    data=st.data(),
    name=st.sampled_from(list(VERBS)),
    action=st.sampled_from(["", "--remove", "--replace", "--clear"]),
    scoped=st.booleans(),
)
def test_the_way_back_leads_back(data, name, action, scoped):
    exclusion_list = BY_NAME[name]
    assume(exclusion_list.annotation or not scoped)
    good = GOOD[exclusion_list.item].filter(lambda value: not reserved(exclusion_list, str(value)))
    before = data.draw(st.lists(good, max_size=5, unique_by=lambda value: key(exclusion_list, value)))
    values = good | st.sampled_from(before) if before else good
    words = [] if action == "--clear" else ["--", *map(str, data.draw(st.lists(values, min_size=1, max_size=4)))]
    files = Files(exclusion_list, before, scoped=scoped)
    others, held = files.others(), files.held()
    done = files.edit(*([action] if action else []), *words)
    assert done.code == 0, done
    change = ListChange(name, [*map(str, held)], [*map(str, files.held())])
    for command in hints.undo([change], []).split(" && "):
        if command:
            undo = shlex.split(command)
            assert undo[:3] == ["kubectl", "fsm", VERBS[name][0]]
            back = files.edit(*undo[3:])
            assert back.code == 0, back
    assert keys(exclusion_list, files.held()) == keys(exclusion_list, before)
    assert files.others() == others
