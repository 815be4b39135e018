"""Reading manifests, and editing them so that nothing else changes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_fsm.cluster import documents, editing, manifests
from kubectl_fsm.cluster.interface import PODS, Resource
from kubectl_fsm.errors import Conflict, ManifestError, NotFound, UsageError

MESHCONFIGS = Resource("config.flomesh.io", "v1alpha3", "MeshConfig", "meshconfigs")
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
HEAD_OF_LIST = "apiVersion: v1\nkind: List\n"
HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n"


def read_text(text, namespace=None):
    return manifests.read(["-"], namespace, io.BytesIO(text.encode()))


def data_of(text):
    return read_text(text).get(CONFIG_MAPS, "x", "default")["data"]


@pytest.fixture(params=["libyaml", "python"])
def loader(request, monkeypatch):
    """Both parsers that PyYAML may have; positions and values must be the same."""
    if request.param == "python":
        monkeypatch.setattr(documents, "LOADER", yaml.SafeLoader)
        monkeypatch.setattr(editing, "LOADER", yaml.SafeLoader)
    else:
        assert documents.LOADER is yaml.CSafeLoader


# What a scalar means: checked against `kubectl label --local -o json`, version 1.32
SCALARS = {
    **dict.fromkeys(("y", "yes", "On", "TRUE"), True),
    **dict.fromkeys(("n", "No", "off", "False"), False),
    **dict.fromkeys(("~", "null", "Null", ""), None),
    "0777": 511,
    "0o17": 15,
    "0x1F": 31,
    "-0b11": -3,
    "1_000": 1000,
    "+12": 12,
    "08": 8,
    "1e3": 1000,
    "1.": 1,
    "7070": 7070,
    ".5": 0.5,
    "-1.5e-1": -0.15,
    "9223372036854775807": 9223372036854775807,
    **{
        text: text
        for text in ("2024-01-01", "2024-01-01T00:00:00Z", "10:20", "6379,7070", "oN", "0o8", "0xg", "1e999", "1.2.3")
    },
    "'yes'": "yes",
    '"1"': "1",
    "!!str 1": "1",
    "!!int 0x10": 16,
    "!!float 1.5": 1.5,
}


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("text", SCALARS)
def test_scalars_mean_what_they_mean_to_kubectl(text):
    value = data_of(f"{HEAD}  k: {text}\n")["k"]
    assert (type(value), value) == (type(SCALARS[text]), SCALARS[text])


@pytest.mark.usefixtures("loader")
def test_aliases_and_merge_keys():
    text = HEAD + "  a: &a {x: 1, v: 2}\n  b: *a\n  c: {v: 3, <<: *a}\n  d:\n    <<: [{x: 5}, *a]\n    z: 1\n"
    assert data_of(text) == {
        "a": {"x": 1, "v": 2},
        "b": {"x": 1, "v": 2},
        "c": {"x": 1, "v": 3},
        "d": {"x": 5, "v": 2, "z": 1},
    }


BAD = {
    "duplicate key": ("  a: 1\n  b: 2\n  a: 3\n", "-:7:3: the key a is there twice"),
    "boolean key": ("  on: 1\n", "-:5:3: the key on is no text; quote it"),
    "number key": ("  a: {1: 2}\n", "-:5:7: the key 1 is no text; quote it"),
    "mapping as key": ("  a: {b: {c: d}}\n  ? {x: y}\n  : z\n", "-:6:5: a key that is no text"),
    "template": ("  a: {{ .Values.a }}\n", "-:5:7: a key that is no text"),
    "template line": ("  a: 1\n  {{- if .Values.a }}\n", "-:6:3: not YAML: while scanning a simple key"),
    "cycle": ("  a: &a [1, *a]\n", "-:5:13: the alias *a stands for what it is part of"),
    "unknown alias": ("  a: *b\n", "-:5:6: the alias *b has no anchor before it"),
    "alias of another document": ("  a: &b 1\n---\nc: *b\n", "-:7:4: the alias *b has no anchor before it"),
    "tab": ("\ta: 1\n", "-:5:1: not YAML: "),
    "NUL": ("  a: b\n  c: \0\n", "-:6: a NUL character"),
    "control character": ("  a: b\n  c: \x01\n", "-:6: not YAML: "),
    "tag": ("  a: !Ref b\n", "-:5:6: the tag !Ref has no meaning"),
    "tag on a list": ("  a: !Sub [b]\n", "-:5:6: the tag !Sub has no meaning"),
    "wrong tag": ("  a: !!int b\n", "-:5:6: b is no int"),
    "infinity": ("  a: -.inf\n", "-:5:6: -.inf is no value that JSON has"),
    "merge of text": ("  a: {<<: b}\n", "-:5:11: << takes a mapping"),
}


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_an_error_with_its_line(case):
    text, message = BAD[case]
    with pytest.raises(ManifestError) as error:
        read_text(HEAD + text)
    # the pure parser counts columns of some errors differently
    assert error.value.message.startswith(message) or (
        ": not YAML" in message and message[:4] == error.value.message[:4]
    )
    assert ("helm template" in error.value.hint) == ("{{" in text)


def test_json_errors_name_their_line(tmp_path):
    head = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"},\n'
    for name, text, message in (
        ("broken", head + '"data": {"a" 1}}', "broken.json:2:14: not JSON"),
        ("twice", head + '"data": {"a": 1,\n"a": 2}}', "twice.json:3:1: the key a is there twice"),
        ("infinite", head + '"data": {"a": -Infinity}}', "infinite.json: not JSON: -Infinity"),
        ("deep", "[" * 100_000, "deep.json: nested too deeply"),
        ("deeper", "[" * 101 + "]" * 101, "deeper.json: nested deeper than 100 levels"),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        with pytest.raises(ManifestError) as error:
            manifests.read([str(path)], None, io.StringIO())
        assert error.value.message.startswith(f"{tmp_path}/{message}"), error.value.message


HOSTILE = {
    "laughs": "HEAD + '  a0: &a0 [x]\\n' + ''.join(f'  a{i}: &a{i} [{\", \".join([f\"*a{i - 1}\"] * 9)}]\\n' for i in range(1, 12))",
    "merged laughs": "HEAD + '  a: &a {' + ', '.join(f'k{i}: 1' for i in range(1000)) + '}\\n' + '  b: [' + '{<<: *a}, ' * 9000 + ']'",
    "deep": "HEAD + '  a: ' + '[' * 1_000_000",
    "deep block": "'- ' * 1_000_000",
    "large": "'#' * 50_000_001",
    "values": "HEAD + '  a: [' + 'a,' * 5_000_000 + ']'",
    "JSON values": "'[' + '[],' * 16_000_000 + '[]]'",
    "JSON strings": "'[' + '\"\",' * 16_000_000 + '\"\"]'",
    "anchors": "HEAD + ''.join(f'  k{i}: &k{i} v\\n' for i in range(1_000_000))",
}
EXPECTED = {"deep": "100 levels", "deep block": "100 levels", "large": "larger than 50 MB"}
PROBE = """
import io, re, sys
from kubectl_fsm.cluster import manifests
from kubectl_fsm.errors import ManifestError
HEAD = {head!r}
try:
    manifests.read(["-"], None, io.BytesIO(({text}).encode()))
except ManifestError as error:
    # Not getrusage: its peak outlives exec, so it is at least that of the tests' own process.
    peak = re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print(error.message, int(peak[1]) // 1024)
"""


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_seconds_and_300_mb(case):
    code = PROBE.format(head=HEAD, text=HOSTILE[case])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    message, _, megabytes = done.stdout.rpartition(" ")
    assert EXPECTED.get(case, "more than 2,000,000 values") in message
    assert int(megabytes) < 300


def test_json_may_be_as_deep_as_yaml():
    deep = "[" * 98 + "]" * 98
    text = f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "x"}}, "data": {{"a": {deep}}}}}'
    assert data_of(text) == data_of(f"# YAML\n{text}") == {"a": json.loads(deep)}


@pytest.mark.parametrize(
    ("more", "said"),
    [("# " + "x" * 10_000_000, "larger than 10 MB"), (f"  b: [{'a,' * 1_000_000}]\n", "more than 1,000,000 values")],
)
def test_what_is_edited_may_be_less(more, said):
    found = read_text(f"{HEAD}  a: 1\n{more}")
    with pytest.raises(ManifestError, match=said):
        found.patch(CONFIG_MAPS, "x", "default", {"data": {"a": 2}})


def test_much_that_is_not_too_much_is_read():
    bulk = '["' + "a,b:" * 1_000_000 + '"]'  # more signs in a string than values are allowed
    text = f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "x"}}, "data": {bulk}}}'
    assert len(data_of(text)) == 1


# Which files, which objects


@pytest.fixture
def tree(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / "tree" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "tree")

    return write


def config_map(name, extra=""):
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{extra}}}\n"


def names(*paths, namespace=None, stdin=""):
    found = manifests.read(paths, namespace, io.StringIO(stdin)).list(CONFIG_MAPS)
    return [obj["metadata"]["name"] for obj in found]


def test_a_directory_is_read_as_a_sorted_tree(tree):
    path = tree(
        b_yaml=config_map("b"), a_yml=config_map("a"), sub__c_json='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}',
        _hidden_yaml=config_map("hidden"), _git__x_yaml=config_map("git"), sub__notes_txt="no: [yaml",
    )  # fmt: skip
    assert names(path) == ["a", "b", "c"]
    assert names(path, f"{path}/b.yaml", f"{path}/sub/../a.yml") == ["a", "b", "c"]


def test_symbolic_links_do_not_lead_outside(tree, tmp_path):
    path = tree(a_yaml=config_map("a"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.yaml").write_text(config_map("b"))
    for name, target in (
        ("b.yaml", "../out/b.yaml"),
        ("out", "../out"),
        ("again.yaml", "a.yaml"),
        ("gone.yaml", "none"),
    ):
        Path(path, name).symlink_to(target)
    os.mkfifo(Path(path) / "pipe.yaml")
    assert names(path) == ["a"]
    assert names(f"{path}/b.yaml") == ["b"]


def test_what_is_no_object_is_passed_over_in_a_directory_only(tree):
    others = {
        "values_yaml": "on: push\n1: 2\n",
        "Chart_yaml": "apiVersion: v2\nname: shop\n",
        "kustomization_yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n",
        "list_json": "[1, 2]",
        "cloud_yaml": "a: !Ref b\n",
        "empty_yaml": "# nothing\n",
    }
    path = tree(a_yaml=f"on: push\n---\n{config_map('a')}", **others)
    assert names(path) == ["a"]
    for name in others:
        with pytest.raises(ManifestError, match=r"no Kubernetes object|is no text|has no meaning"):
            names(f"{path}/{name.replace('_', '.')}")


def test_a_directory_without_objects_a_missing_file_and_an_unreadable_name_are_errors(tree):
    path = tree(values_yaml="a: 1\n", numbers__a_yaml="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 1}\n")
    with pytest.raises(ManifestError, match=r"a\.yaml:1: .*metadata.name is a number, not a string"):
        names(path)
    Path(path, "numbers", "a.yaml").write_text(f"{config_map('a')}data: {{on: 1}}\n")
    with pytest.raises(ManifestError, match=r"a\.yaml:4:8: the key on is no text"):
        names(path)
    Path(path, "numbers", "a.yaml").unlink()
    with pytest.raises(ManifestError, match="tree: no Kubernetes objects"):
        names(path)
    with pytest.raises(ManifestError, match="none: No such file"):
        names(f"{path}/none")


def test_documents_lists_and_standard_input():
    items = {
        "apiVersion": "v1",
        "kind": "ConfigMapList",
        "items": [{"metadata": {"name": "b"}}, {"metadata": {"name": "c"}}],
    }
    nested = {"apiVersion": "v1", "kind": "List", "items": [items, {"apiVersion": "v1", "kind": "List", "items": None}]}
    assert names("-", "-", stdin=f"---\n{config_map('a')}---\n---\n{json.dumps(nested)}\n...\n") == ["a", "b", "c"]


def test_namespaces_are_the_objects_own_or_the_given_one_or_default():
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "fleets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"kind": "Fleet", "plural": "armada", "shortNames": ["fl"]},
        },
    }
    fleet = "apiVersion: example.com/v1\nkind: Fleet\nmetadata: {name: f}\n"
    text = "---\n".join([config_map("a"), config_map("b", ", namespace: own"), fleet, json.dumps(crd) + "\n"])
    for chosen, expected in ((None, "default"), ("shop", "shop")):
        found = read_text(text, chosen)
        assert found.namespace == expected
        assert [obj["metadata"]["namespace"] for obj in found.list(CONFIG_MAPS)] == [expected, "own"]
        assert [obj["metadata"]["name"] for obj in found.list(CONFIG_MAPS, expected)] == ["a"]
        fleets = found.resource_named("fl")
        assert fleets == Resource("example.com", "v1", "Fleet", "armada", False, ("fl",))
        assert found.get(fleets, "f", "anything")["metadata"] == {"name": "f"}
        assert len(list(found.list(fleets, "anything"))) == 1


def test_plurals_and_versions():
    kinds = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies", "Gateway": "gateways", "Mesh": "meshes"}
    versions = ("v1alpha2", "v1alpha3", "v1", "v1beta1", "foo", "v2alpha1", "v10")
    text = "---\n".join(
        f"apiVersion: x.io/{version}\nkind: {kind}\nmetadata: {{name: a}}\n" for kind in kinds for version in versions
    )
    found = read_text(text)
    assert found.preferred_version("x.io") == "v10"
    assert found.preferred_version("y.io") is None
    assert found.resource("x.io/v1", "Mesh").namespaced
    assert {kind: found.resource_named(kind).plural for kind in kinds} == kinds
    assert found.resource("x.io/v1alpha2", "Mesh").version == "v1alpha2"
    ranked = read_text(text.replace("v10", "v1alpha1").replace("x.io/v1\n", "x.io/v1alpha1\n"))
    assert ranked.preferred_version("x.io") == "v1beta1"
    alphas = read_text("---\n".join(text.split("---\n")[:2]))
    assert alphas.preferred_version("x.io") == "v1alpha3"
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}\n"
    assert not read_text(role).resource_named("clusterroles").namespaced


def test_the_same_object_twice_can_be_listed_but_not_chosen(tree):
    path = tree(base__a_yaml=config_map("a"), overlay__a_yaml=config_map("a"))
    assert names(path) == ["a", "a"]
    with pytest.raises(
        ManifestError, match=r"ConfigMap default/a is there more than once: in .*base/a.yaml and .*overlay/a.yaml"
    ):
        manifests.read([path], None, io.StringIO()).get(CONFIG_MAPS, "a", "default")


def test_failures_are_not_said_to_be_a_servers():
    found = read_text(config_map("a", ", resourceVersion: '7'"))
    assert (found.origin, found.remote) == ("files -", False)
    with pytest.raises(NotFound) as missing:
        found.get(PODS, "a", "default")
    with pytest.raises(Conflict) as conflict:
        found.patch(CONFIG_MAPS, "a", "default", {"metadata": {"resourceVersion": "6"}, "data": {}})
    assert (missing.value.label, conflict.value.label) == ("error: ", "error: ")


def test_a_selector_is_checked_before_anything_is_listed():
    with pytest.raises(UsageError):
        read_text(config_map("a")).list(CONFIG_MAPS, "", "a in")


# Editing

BEFORE = (
    "# Ünïcödé 🚀 \n%YAML 1.1\n---   # first\nhelm:   'values'\nlong: " + "word " * 60 + "\n"
    "block: |+2\n     kept\n\n\nfolded: >-\n  a\n\n   b\n\n---\n\n\nkind:    MeshConfig   # kind\n"
    "\"apiVersion\": 'config.flomesh.io/v1alpha3'\n\n# about metadata\nmetadata:\n      name:  fsm-mesh-config\n"
    "      labels: &labels {a: \"b\" , 'c' : d,}\n      annotations: *labels\n"
)
AFTER = (
    '  after: {x: [ 1,2 ],   z: "\\u0041"}   # trailing\n  text: |\n     a: [\n     # no comment\n\n  quoted: "two\n    lines"\n'
    "# the end\n...\n# 🚀\n---\nkind: MeshConfig\napiVersion: config.flomesh.io/v1alpha3\nmetadata: {name: other}\n"
    "spec: {traffic: {outboundPortExclusionList: [6379]}}"
)
"""Around the edited list: whatever an edit has to leave alone. Ends without a line break."""

LISTS = {
    "flow": ("  l: [6379, 7070]\n", [6379, 7070, 8080], "  l: [6379, 7070, 8080]\n"),
    "flow comment": ("  l:   [ 6379 ]   # why\n", [6379, 7070], "  l:   [ 6379, 7070 ]   # why\n"),
    "tight": ("  l: [1,2]\n", [1, 2, 3], "  l: [1,2,3]\n"),
    "trailing comma": ("  l: [1, 2, ]\n", [1, 2, 3], "  l: [1, 2, 3, ]\n"),
    "drop first": ("  l: [1, 2, 3]\n", [2, 3], "  l: [2, 3]\n"),
    "drop last": ("  l: [1, 2, 3]\n", [1, 2], "  l: [1, 2]\n"),
    "drop all": ("  l: [1, 2, 3] # c\n", [], "  l: [] # c\n"),
    "other order": ("  l: [1, 2]\n", [2, 1], "  l: [2, 1]\n"),
    "replace": ("  l: [1, 2]\n", [3], "  l: [3]\n"),
    "empty": ("  l: [] # none\n", [1], "  l: [1] # none\n"),
    "spaced empty": ("  l: [ ]\n", [1, 2], "  l: [1, 2]\n"),
    "empty with comment": ("  l: [ # none\n   ]\n", [1], "  l: [1 # none\n   ]\n"),
    "null": ("  l: null # none\n", [1], "  l: [1] # none\n"),
    "tilde": ("  l: ~\n", [], "  l: []\n"),
    "nothing": ("  l:\n", [1], "  l: [1]\n"),
    "nothing, comment": ("  l: # none\n", [1], "  l: [1] # none\n"),
    "flow lines": ("  l: [\n    1, # one\n    2 # two\n  ]\n", [1, 2, 3], "  l: [\n    1, # one\n    2, # two\n    3\n  ]\n"),
    "flow lines, comma": ("  l: [\n    1, # one\n  ]\n", [1, 2], "  l: [\n    1, # one\n    2,\n  ]\n"),
    "flow lines, first": ("  l: [\n    1, # one\n    2\n  ]\n", [2], "  l: [\n    2\n  ]\n"),
    "flow lines, before": ("  l: [\n    1 # one\n  ]\n", [0, 1], "  l: [\n    0,\n    1 # one\n  ]\n"),
    "flow comment line": ("  l: [ 1,\n   # two\n   2]\n", [1, 2, 3], "  l: [ 1,\n   # two\n   2,\n   3]\n"),
    "flow comment line, first": ("  l: [ 1,\n   # two\n   2]\n", [2], "  l: [\n   # two\n   2]\n"),
    "block comment behind the dash": ("  l:\n  - # o-n-e\n    1\n", [1, 2], "  l:\n  - # o-n-e\n    1\n  - 2\n"),
    "flow comment, end": ("  l: [1, # one\n   2]\n", [1], "  l: [1 # one\n]\n"),
    "block": ("  l:\n  - 1\n  - 2\n", [1, 2, 3], "  l:\n  - 1\n  - 2\n  - 3\n"),
    "block deep": ("  l:\n       -   1 # one\n\n  # next\n", [1, 2], "  l:\n       -   1 # one\n       - 2\n\n  # next\n"),
    "block before": ("  l:\n    # all\n    - 1 # one\n", [0, 1], "  l:\n    # all\n    - 0\n    - 1 # one\n"),
    "block drop first": ("  l: # l\n    - 1 # one\n    # two\n    - 2\n", [2], "  l: # l\n    # two\n    - 2\n"),
    "block drop middle": ("  l:\n  - 1\n  # two\n  - 2\n\n  - 3 # three\n", [1, 3], "  l:\n  - 1\n\n  - 3 # three\n"),
    "block drop last": ("  l:\n  - 1 # one\n  - 2 # two\n", [1], "  l:\n  - 1 # one\n"),
    "block drop all": ("  l: # l\n    # all\n    - 1 # one\n    - 2\n", [], "  l: [] # l\n    # all\n"),
    "block swap": ("  l:\n  - 1 # one\n  - 2 # two\n", [2, 3], "  l:\n  - 2 # two\n  - 3\n"),
    "block of blocks": ("  l:\n  - |\n   a\n\n  - b\n", ["a\n", "b", "c"], "  l:\n  - |\n   a\n\n  - b\n  - c\n"),
    "double quotes": ('  l: ["10.0.0.0/8"]\n', ["10.0.0.0/8", "eth1"], '  l: ["10.0.0.0/8", "eth1"]\n'),
    "single quotes": ("  l:\n  - 'a'\n", ["a", "it's"], "  l:\n  - 'a'\n  - 'it''s'\n"),
    "no quotes": ("  l: [a]\n", ["a", "eth1", "1.0.0.0/8", "yes", "a, b", "é"], '  l: [a, eth1, 1.0.0.0/8, "yes", "a, b", "é"]\n'),
    "odd texts": ("  l: []\n", ["", "a\nb", "\x85\u2028", "🚀", "~"], '  l: ["", "a\\nb", "\\u0085\\u2028", "🚀", "~"]\n'),
    "anchored": ("  l: &mine [1]\n", [1, 2], "  l: &mine [1, 2]\n"),
    "anchored block": ("  l: &mine # mine\n  - 1\n", [1, 2], "  l: &mine # mine\n  - 1\n  - 2\n"),
    "tagged": ("  l: !!seq [1]\n", [2], "  l: !!seq [2]\n"),
    "alias": ("  k: &k [1]\n  l: *k # k\n", [1, 2], "  k: &k [1]\n  l: [1, 2] # k\n"),
    "text": ("  l: 'one' # l\n", "it's", "  l: 'it''s' # l\n"),
    "mapping instead": ("  l: [1]\n", {"a": [1], "b": {}}, "  l: {a: [1], b: {}}\n"),
    "text instead": ("  l:\n  - 1 # one\n  m: 2\n", "a", "  l: a\n  m: 2\n"),
    "mappings": ("  l:\n  - name: a # a\n    x: 1\n", [{"name": "a", "x": 1}, {"name": "b"}], "  l:\n  - name: a # a\n    x: 1\n  - {name: b}\n"),
    "removed": ("  a: 1\n  # about l\n  l: [1] # l\n  b: 2 # b\n", None, "  a: 1\n  b: 2 # b\n"),
    "explicit key": ("  ? l\n  : [1]\n", [1, 2], "  ? l\n  : [1, 2]\n"),
    "quoted key": ('  "l": [1]\n', [], '  "l": []\n'),
}  # fmt: skip


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(("bom", "newline"), [("", "\n"), ("\ufeff", "\r\n")], ids=["LF", "BOM, CRLF"])
@pytest.mark.parametrize("case", LISTS)
def test_an_edit_changes_the_value_and_no_other_byte(case, bom, newline, tmp_path):
    old, value, new = LISTS[case]
    before, after = (bom + (BEFORE + "spec:\n" + part + AFTER).replace("\n", newline) for part in (old, new))
    path = tmp_path / "mesh.yaml"
    path.write_bytes(before.encode())
    found = manifests.read([str(tmp_path)], "x", io.StringIO())
    patched = found.patch(MESHCONFIGS, "fsm-mesh-config", "x", {"spec": {"l": value}})
    assert patched["spec"].get("l") == value
    assert list(found.edited()) == [(str(path), after)]
    assert path.read_bytes() == before.encode()


MAPPINGS = {
    "new pair": ("  a: 1 # a\n", {"b": "6379"}, '  a: 1 # a\n  b: "6379"\n'),
    "new pairs": ("  a: 1\n", {"b": {"c": {"d": "x/y"}, "e": [1]}}, "  a: 1\n  b:\n    c:\n      d: x/y\n    e: [1]\n"),
    "new and empty": ("  a: 1\n", {"b": {}, "c": {"d": {}}}, "  a: 1\n  b: {}\n  c:\n    d: {}\n"),
    "in flow": ("  a: {}\n", {"a": {"flomesh.io/x": "1,2"}}, '  a: {flomesh.io/x: "1,2"}\n'),
    "in null": ("  a: # none\n", {"a": {"x": {"y": "z"}}}, '  a: {x: {"y": z}} # none\n'),
    "flow pair": ("  a: {x: 1 }\n", {"a": {"z": [2]}}, "  a: {x: 1, z: [2] }\n"),
    "flow pair gone": ("  a: {x: 1, z: 2}\n", {"a": {"x": None}}, "  a: {z: 2}\n"),
    "nulls in a new value": ("  a: 1\n", {"b": {"c": None, "d": 1}}, "  a: 1\n  b:\n    d: 1\n"),
    "last pair gone": ("  a: # a\n    x: 1 # x\n  b: 2\n", {"a": {"x": None}}, "  a: {} # a\n  b: 2\n"),
    "deep": ("  a:\n      x: 'o' # x\n      w: |\n        t\n", {"a": {"x": "n", "v": 1}}, "  a:\n      x: 'n' # x\n      w: |\n        t\n      v: 1\n"),
    "kept block": ("  a: |+\n    t\n\n\n", {"b": 1}, "  a: |+\n    t\n\n\n  b: 1\n"),
    "block text": ("  a: >- # old\n    t\n    u\n\n  b: 1\n", {"a": "m"}, "  a: m\n\n  b: 1\n"),
    "merge key": ("  a: &a {x: 1}\n  b:\n    <<: *a # base\n", {"b": {"x": 2}}, "  a: &a {x: 1}\n  b:\n    <<: *a # base\n    x: 2\n"),
    "alias of a mapping": ("  a: &a {x: 1}\n  b: *a\n", {"b": {"z": 2}}, "  a: &a {x: 1}\n  b: {x: 1, z: 2}\n"),
    "key in quotes": ("  'a:b' : 1\n", {"a:b": 2, "yes": 3, "": 4}, "  'a:b' : 2\n  \"yes\": 3\n  \"\": 4\n"),
    "no end": ("  a: 1", {"b": 2}, "  a: 1\n  b: 2"),
    "true is not 1": ("  a: 1\n", {"a": True}, "  a: true\n"),
    "unlike": ("  a:\n  - 1\n  b: 2\n", {"a": {"x": 1}, "b": {"x": 1}}, "  a: {x: 1}\n  b: {x: 1}\n"),
}  # fmt: skip


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("case", MAPPINGS)
def test_edits_of_mappings(case):
    old, patch, new = MAPPINGS[case]
    found = read_text(HEAD + old)
    patched = found.patch(CONFIG_MAPS, "x", "default", {"data": patch})
    assert [text for _, text in found.edited()] == [HEAD + new]
    assert read_text(HEAD + new).get(CONFIG_MAPS, "x", "default") == patched == found.get(CONFIG_MAPS, "x", "default")


SHARED = {
    "an anchor in use": ("  a: &a [1]\n  b: *a\n", {"a": [2]}),
    "an anchor taken away": ("  a: &a 1\n  b: *a\n", {"a": 2}),
    "inside of an anchor": ("  a: &a {x: 1}\n  b: *a\n", {"a": {"x": 2}}),
    "a merged pair": ("  a: &a {x: 1}\n  b: {<<: *a}\n", {"b": {"x": None}}),
    "a key that is an alias": ("  a: &k b\n  *k : 1\n", {"b": 2}),
    "a pair without colon": ("  a: {x, z: 1}\n", {"a": {"x": [1]}}),
}


@pytest.mark.parametrize("case", SHARED)
def test_what_cannot_be_edited_without_a_side_effect_is_refused(case):
    text, patch = SHARED[case]
    found = read_text(HEAD + text)
    before = found.get(CONFIG_MAPS, "x", "default")
    with pytest.raises(ManifestError, match="-:1: ConfigMap default/x cannot be edited in place"):
        found.patch(CONFIG_MAPS, "x", "default", {"data": patch})
    assert found.get(CONFIG_MAPS, "x", "default") == before
    assert not list(found.edited())


def test_an_object_in_a_shared_list_is_refused():
    found = read_text(f"x: &x [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: x}}}}]\n{HEAD_OF_LIST}items: *x\n")
    with pytest.raises(ManifestError, match="cannot be edited in place"):
        found.patch(CONFIG_MAPS, "x", "default", {"data": {"a": 1}})


def test_items_of_lists_documents_and_patches_one_after_the_other(tmp_path):
    text = (
        "# list\nkind: List\napiVersion: v1\nitems:\n# one\n- kind: ConfigMap\n  apiVersion: v1\n  metadata: {name: a}\n"
        "  data:\n    l: [1] # one\n# two\n- {kind: ConfigMap, apiVersion: v1, metadata: {name: b}, data: {l: [1]}}\n"
        "---\napiVersion: v1\nkind: ConfigMapList\nitems:\n  - metadata: {name: c}\n    data: {l: [1]}\n"
    )
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(text)
    other.write_text(config_map("d"))
    found = manifests.read([str(tmp_path)], None, io.StringIO())
    for name in "cab":
        found.patch(CONFIG_MAPS, name, "default", {"data": {"l": [1, name]}})
    expected = (
        text.replace("l: [1] # one", "l: [1, a] # one")
        .replace("l: [1]}}\n", "l: [1, b]}}\n")
        .replace("l: [1]}\n", "l: [1, c]}\n")
    )
    assert list(found.edited()) == [(str(path), expected)]
    other.write_text(config_map("d") + "# changed\n")
    with pytest.raises(ManifestError, match=r"b\.yaml: changed while it was being edited"):
        found.patch(CONFIG_MAPS, "d", "default", {"data": {}})


def test_the_text_of_an_objects_file(tmp_path):
    text = f"# both\n{config_map('a')}---\n{config_map('b')}# end\r\n"
    (tmp_path / "ab.yaml").write_bytes(text.encode())
    (tmp_path / "c.yaml").write_text(config_map("c"))
    found = manifests.read([str(tmp_path)], None, io.StringIO())
    a = found.get(CONFIG_MAPS, "a", "default")
    assert found.text_of(a) == text
    changed = found.patch(CONFIG_MAPS, "b", "default", {"data": {"k": "v"}})
    assert found.text_of(a) == found.text_of(changed) == text.replace("{name: b}", "{name: b}\ndata:\n  k: v")
    for other in ({**a, "kind": "Secret"}, {**a, "metadata": {"name": "d", "namespace": "default"}}):
        with pytest.raises(NotFound):
            found.text_of(other)


def test_json_stays_json(tmp_path):
    text = (
        '{\n\t"apiVersion": "v1", "kind": "ConfigMap",\n\t"metadata": { "name":"x", "annotations":{"e": "\\ud83d\\ude00 \\/ 🚀"} },\n'
        '\t"data": {"l": [\n\t\t"a",\n\t\t"b"\n\t], "m": [], "o": {}, "n": null}\n}'
    )
    path = tmp_path / "x.json"
    path.write_text(text)
    found = manifests.read([str(path)], None, io.StringIO())
    found.patch(
        CONFIG_MAPS, "x", "default", {"data": {"l": ["a", "b", "c"], "m": ["d"], "o": {"k": {"v": "w"}}, "n": True}}
    )
    expected = (
        text.replace('"b"\n', '"b",\n\t\t"c"\n')
        .replace("[]", '["d"]')
        .replace("{}", '{"k": {"v": "w"}}')
        .replace("null", "true")
    )
    assert list(found.edited()) == [(str(path), expected)]
    json.loads(expected)


def test_a_condition_on_the_version_is_no_edit_and_no_change_is_no_edit():
    text = HEAD.replace("name: x", "name: x, resourceVersion: '7'") + "  a: [1]  # a\n"
    found = read_text(text)
    found.patch(CONFIG_MAPS, "x", "default", {"metadata": {"resourceVersion": "7"}, "data": {"a": [1]}})
    found.patch(CONFIG_MAPS, "x", "default", {"metadata": {"resourceVersion": "7"}, "data": {"a": [2]}}, dry_run=True)
    assert not list(found.edited())
    found.patch(CONFIG_MAPS, "x", "default", {"metadata": {"resourceVersion": "7"}, "data": {"a": [2]}})
    assert [new for _, new in found.edited()] == [text.replace("[1]", "[2]")]
    unversioned = read_text(HEAD + "  a: 1\n")
    unversioned.patch(CONFIG_MAPS, "x", "default", {"metadata": {"resourceVersion": "7"}, "data": {"a": 2}})
    assert [new for _, new in unversioned.edited()] == [HEAD + "  a: 2\n"]


ENTRIES = st.lists(
    st.sampled_from([1, 2, 22, "a", "b c", "10.0.0.0/8", "yes", "", "#", "é🚀", "it's", '"', None, True]), max_size=5
)


def written(entries, draw):
    """The entries as somebody might write them, with a comment for some; and these comments, by entry's position."""
    block = draw(st.booleans())
    comments = {}
    lines = []
    for index, entry in enumerate(entries):
        if draw(st.booleans()):
            comments[index] = f"# about {index}"
        dash = "- " if block else ""
        comma = "" if block or (index == len(entries) - 1 and draw(st.booleans())) else ","
        lines.append(
            f"{draw(st.sampled_from(['', chr(10)])) if lines else ''}    {dash}{json.dumps(entry, ensure_ascii=False)}{comma} {comments.get(index, '')}".rstrip(
                " "
            )
        )
    body = "".join(f"{line}\n" for line in lines)
    if not entries:
        return "[]", {}
    return (f"# the list\n{body}" if block else f"[\n{body}  ]"), comments


@settings(max_examples=300)
@given(st.data())
def test_any_list_can_become_any_other(data):
    old = data.draw(ENTRIES)
    change = data.draw(st.sampled_from(["any", "append", "remove"]))
    new = old + data.draw(ENTRIES) if change == "append" else data.draw(ENTRIES)
    if change == "remove":
        old = list(dict.fromkeys(old))
        new = [entry for entry in old if data.draw(st.booleans())]
    text, comments = written(old, data.draw)
    before, after = HEAD + "  a: 1 # a\n  l: ", "\n  # end\n  z: 2\n"
    found = read_text(before + text + after)
    patched = found.patch(CONFIG_MAPS, "x", "default", {"data": {"l": new}})
    assert patched["data"] == {"a": 1, "l": new, "z": 2}
    for _, edited in found.edited():
        assert edited.startswith(before.rstrip())
        assert edited.endswith(after)
        kept = [comment for index, comment in comments.items() if change != "any" and old[index] in new]
        assert all(edited.count(comment) == 1 for comment in kept)
