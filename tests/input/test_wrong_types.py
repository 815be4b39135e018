"""Whatever stands in place of any value of a manifest: no verb falls over it, and who has it wrong is told where."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm import commands, fields
from kubectl_fsm.output.visible import visible_text
from tests.support.fuzzing import VALUES, fuzzing
from tests.support.hostile import VERBS, manifests, paths, put
from tests.support.promises import run

BASE = manifests()
PATHS = [path for path in paths(BASE) if len(path) > 1]
_WRONG_TYPE = r" is (?:an? \w+|null), not an? "


def written(objects):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_reads_what_is_right(verb):
    """Or the wrong values would be tried where nobody reads them."""
    done = run([*VERBS[verb], "-f", "-"], written(BASE))
    assert (done.code, list(done.broken())) == (1 if "check" in done.argv else 0, [])
    assert done.out


def test_no_verb_that_reads_files_is_forgotten():
    reading = {verb for verb in commands.VERBS if "--filename=FILE" in commands.load(verb).USAGE}
    assert {argv[0] for argv in VERBS.values()} == reading


def names(done, obj, path):
    """Whether everything that is said of a wrong type names the object and the field that has it, or one around or in it."""
    title, wrong = visible_text(fields.title(obj)), visible_text(fields.dotted(*path))
    said = re.findall(rf"{re.escape(title)}: (.*?){_WRONG_TYPE}", done.err, re.DOTALL)
    named = all(field.startswith(wrong) or wrong.startswith(field) for field in said)
    return named and len(said) == len(re.findall(_WRONG_TYPE, done.err))


def index(kind, name):
    """Where an object is in the list."""
    return next(at for at, obj in enumerate(BASE) if (obj["kind"], obj["metadata"]["name"]) == (kind, name))


IDENTITY = (("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"))
"""What names the object itself."""
POD = index("Pod", "web-1")
KEPT = {
    "a container's name": ("trace", (POD, "spec", "containers", 0, "name"), []),
    "an init container's name": ("check", (POD, "spec", "initContainers", 0, "name"), {"x": None}),
    "a volume's name": ("rules of a pod", (POD, "spec", "volumes", 0, "name"), ["x"]),
    "a condition's type": ("check", (POD, "status", "conditions", 0, "type"), []),
    "a manager": ("exclusions", (index("Deployment", "web"), "metadata", "managedFields", 0, "manager"), [[]]),
    "an address": ("trace", (POD, "status", "podIP"), "example.com"),
    "an injector's image": ("rules", (0, "spec", "template", "spec", "containers", 0, "image"), 7),
    "an owner": ("rules", (POD, "metadata", "ownerReferences", 0, "name"), [None]),
    "a state": ("rules of one", (POD, "status", "initContainerStatuses", 0, "state", "terminated"), ""),
    "a key that is no plain text": ("rules", (POD, "metadata", "annotations"), {"\t\n\x1b ": None}),
    "a mode": ("exclude-interface", (1, "spec", "sidecar", "localProxyMode"), 7),
}
"""What was wrong once."""


@pytest.mark.parametrize("case", KEPT)
def test_what_was_wrong_once(case):
    verb, path, value = KEPT[case]
    done = run([*VERBS[verb], "-f", "-"], written(put(BASE, path, value)))
    assert not list(done.broken()), done
    assert names(done, BASE[path[0]], path[1:]), done


@fuzzing(0.3)
@given(verb=st.sampled_from(list(VERBS)), path=st.sampled_from(PATHS), value=VALUES)
def test_one_wrong_value(verb, path, value):
    done = run([*VERBS[verb], "-f", "-"], written(put(BASE, path, value)))
    assert not list(done.broken()), done
    if path[1:] not in IDENTITY:
        assert names(done, BASE[path[0]], path[1:]), done


@fuzzing(0.05)
@given(
    verb=st.sampled_from(list(VERBS)), wrong=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=2, max_size=5)
)
def test_several_wrong_values(verb, wrong):
    objects = BASE
    for path, value in wrong:
        with suppress(LookupError, TypeError):  # what is around it has gone before
            objects = put(objects, path, value)
    done = run([*VERBS[verb], "-f", "-"], written(objects))
    assert not list(done.broken()), done
