"""Where the fields of manifests are written."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubectl_fsm.cluster import documents, manifests, positions
from kubectl_fsm.cluster.interface import CONFIG_MAPS, DEPLOYMENTS, Position

EXAMPLES = Path(__file__).parents[2] / "examples" / "shop"
TEXT = """\
# Ünïcödé 🚀
%YAML 1.1
---   # first
kind: ConfigMap
apiVersion: v1
metadata: {name: a, labels: {ü: x, tier: back}}
data:
  list:
  - one
  -   key: two   # second
      'quoted': 2
  - - nested
  empty:
  text: |
    list:
  flow: [1, {b: 2},
    3]
---
---
# Source: shop/templates/list.yaml
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata:
    name: b
  data: &data
    x: {why: 1}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: *data}
- apiVersion: v1
  kind: ConfigMapList
  items:
    - metadata: {name: d}
      data:
        <<: *data
        z: 1
"""
SPOTS = {
    ("a",): (4, 1),
    ("a", "metadata"): (6, 1),
    ("a", "metadata", "name"): (6, 12),
    ("a", "metadata", "labels", "tier"): (6, 36),
    ("a", "metadata", "annotations", "x"): (6, 1),
    ("a", "metadata", "namespace"): (6, 1),
    ("a", "spec", "template"): (4, 1),
    ("a", "data", "list"): (8, 3),
    ("a", "data", "list", 0): (9, 5),
    ("a", "data", "list", 1): (10, 7),
    ("a", "data", "list", 1, "key"): (10, 7),
    ("a", "data", "list", 1, "quoted"): (11, 7),
    ("a", "data", "list", 2, 0): (12, 7),
    ("a", "data", "list", 3): (8, 3),
    ("a", "data", "empty"): (13, 3),
    ("a", "data", "empty", "x"): (13, 3),
    ("a", "data", "text", "list"): (14, 3),
    ("a", "data", "flow", 1, "b"): (16, 14),
    ("a", "data", "flow", 2): (17, 5),
    ("b",): (24, 3),
    ("b", "metadata", "name"): (27, 5),
    ("b", "data", "x", "why"): (29, 9),
    ("c",): (30, 3),
    ("c", "data", "x"): (30, 58),
    ("d",): (34, 7),
    ("d", "data", "z"): (37, 9),
    ("d", "data", "x"): (35, 7),
    ("d", "kind"): (34, 7),
}


@pytest.fixture(params=["libyaml", "python"])
def loader(request, monkeypatch):
    """Both parsers that PyYAML may have."""
    if request.param == "python":
        monkeypatch.setattr(documents, "LOADER", yaml.SafeLoader)
        monkeypatch.setattr(positions, "LOADER", yaml.SafeLoader)


def read(*paths, stdin=b"", namespace=None):
    return manifests.read([str(path) for path in paths], namespace, io.BytesIO(stdin))


def spot(found, name, *path):
    return found.position(found.get(CONFIG_MAPS, name, "default"), *path)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("wanted", SPOTS, ids=repr)
def test_fields_of_yaml(wanted):
    assert spot(read("-", stdin=TEXT.encode()), *wanted) == Position("-", *SPOTS[wanted])


@pytest.mark.usefixtures("loader")
def test_a_byte_order_mark_and_other_line_breaks_change_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    found = read(path)
    assert {wanted: spot(found, *wanted) for wanted in SPOTS} == {
        wanted: Position(str(path), *place) for wanted, place in SPOTS.items()
    }


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(("name", "mark"), [("a.json", ""), ("a.yaml", "\ufeff")])
def test_json(tmp_path, name, mark):
    path = tmp_path / name
    path.write_text(
        mark
        + '\n\n{\n\t"apiVersion": "v1", "kind": "ConfigMap",\n\t"metadata": {"name":"x", "e": "\\ud83d\\ude00 \\/ 🚀 \\\\ud83d", '
        '"n": 1},\n\t"data": {"l": [\n\t\t"a",\n\t\t"b"\n\t]}\n}'
    )
    found = read(path)
    places = {(): (3, 1), ("kind",): (4, 22), ("metadata", "n"): (5, 61), ("data", "l", 1): (8, 3), ("z",): (3, 1)}
    assert {field: spot(found, "x", *field) for field in places} == {
        field: Position(str(path), *place) for field, place in places.items()
    }


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_every_field_of_real_manifests_is_found(tmp_path, suffix):
    """Where a field is said to be stands its key, or its value if it is an item that is no collection."""
    paths = sorted(EXAMPLES.glob("*.yaml"))
    if suffix == "json":
        objects = [obj for path in paths for obj in yaml.safe_load_all(path.read_text())]
        paths = [tmp_path / "all.json"]
        paths[0].write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1))
    found = read(*paths)
    seen = 0
    for resource in found.kinds():
        for obj in found.list(resource):
            for field, value in fields_below(obj):
                position = found.position(obj, *field)
                line = Path(position.file).read_text().splitlines()[position.line - 1].partition(" #")[0]
                written = re.match(r'["\']?([^"\':\]},]*)', line[position.column - 1 :])[1].rstrip()
                if isinstance(field[-1], str):
                    assert written == field[-1], (obj, field)
                    seen += 1
                elif not isinstance(value, dict | list):
                    assert str(value).startswith(written), (obj, field)
                    seen += 1
    assert seen > 100


def fields_below(value, path=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in pairs:
        if (step, path) != ("namespace", ("metadata",)):  # may have been given
            yield (*path, step), below
        yield from fields_below(below, (*path, step))


def test_a_given_namespace_does_not_hide_the_object(tmp_path):
    text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {metadata: {}}}\n"
    (tmp_path / "web.yaml").write_text(f"# web\n{text}")
    found = read(tmp_path, namespace="shop")
    web = found.get(DEPLOYMENTS, "web", "shop")
    assert found.position(web, "metadata", "namespace")[1:] == (4, 1)
    assert found.position({**web, "status": {}}, "metadata", "name")[1:] == (4, 12)
    assert found.position(web, "spec", "template", "metadata", "annotations", "x")[1:] == (5, 19)


def test_of_two_of_a_name_each_has_its_own():
    text = TEXT.partition("---\n---\n")[0]
    found = read("-", stdin=(text + "---\n" + text.partition("first\n")[2]).encode())
    one, two = found.list(CONFIG_MAPS)
    assert (found.position(one)[1:], found.position(two)[1:]) == ((4, 1), (19, 1))
    assert found.position(dict(one)) is None


def test_what_is_in_no_file_has_no_position():
    found = read("-", stdin=TEXT.encode())
    a = found.get(CONFIG_MAPS, "a", "default")
    for other in (
        {**a, "kind": "Secret"},
        {**a, "metadata": {"name": "e", "namespace": "default"}},
        {**a, "apiVersion": "x.io/v1"},
        {},
    ):
        assert found.position(other, "metadata", "name") is None


@pytest.mark.parametrize("change", ["text", "gone", "folder"])
def test_of_a_file_that_has_changed_nothing_is_said(tmp_path, change):
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(TEXT)
    other.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n")
    found = read(tmp_path)
    path.unlink()
    if change == "text":
        path.write_text("#" + TEXT)
    elif change == "folder":
        path.mkdir()
    assert spot(found, "a") is None
    assert spot(found, "b", "data") is None
    assert spot(found, "other") == Position(str(other), 1, 1)


def test_a_file_is_read_once_more_and_only_then(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    asked = []
    monkeypatch.setattr(positions, "spots", lambda *args, real=positions.spots: asked.append(args[1]) or real(*args))
    found = read(tmp_path)
    assert asked == []
    for wanted in SPOTS:
        spot(found, *wanted)
    assert asked == [str(path)]


def test_an_edit_in_memory_moves_nothing():
    found = read("-", stdin=TEXT.encode())
    found.patch(CONFIG_MAPS, "a", "default", {"data": {"list": []}, "metadata": {"labels": None}})
    assert spot(found, "a", "data", "text") == Position("-", 14, 3)


def test_of_too_many_fields_the_first_are_found(monkeypatch):
    monkeypatch.setattr(manifests, "MAX_SPOTS", 20)
    found = read("-", stdin=TEXT.encode())
    assert spot(found, "a", "data", "list", 1, "quoted") == Position("-", 11, 7)
    assert spot(found, "a", "data", "flow", 1, "b") == Position("-", 16, 3)
    assert spot(found, "b", "metadata", "name") == Position("-", 21, 1)


def test_json_that_no_yaml_parser_reads_has_its_first_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n{"apiVersion": "v1", "kind": "ConfigMap",\n"metadata": {"name": "x"}, "data"\n: {}}')
    assert spot(read(path), "x", "data") == Position(str(path), 2, 1)


HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n"
JSON = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": '
HOSTILE = {
    "laughs": "HEAD + '  a0: &a0 [x]\\n' + ''.join(f'  a{i}: &a{i} [{\", \".join([f\"*a{i - 1}\"] * 9)}]\\n' for i in range(1, 6))",
    "values": "HEAD + '  a: [' + 'a,' * 1_900_000 + ']'",
    "keys": "HEAD + ''.join(f'  k{i}: v\\n' for i in range(900_000))",
    "JSON": "JSON + '[' + '[],' * 900_000 + '1]}'",
    "deep JSON": "JSON + '[' * 90 + ']' * 90 + '}'",
    "large JSON": "JSON.encode() + b'{\"a\":\"' + b'\\\\ud83d\\\\ude00\\xf0\\x9f\\x9a\\x80' * 3_100_000 + b'\"}\\t}'",
}  # fmt: skip
PROBE = """
import io, re
from kubectl_fsm.cluster import manifests
from kubectl_fsm.cluster.interface import CONFIG_MAPS
HEAD, JSON = {head!r}, {json!r}
data = {text}
found = manifests.read(["-"], None, io.BytesIO(data if isinstance(data, bytes) else data.encode()))
position = found.position(found.get(CONFIG_MAPS, "x", "default"), "data", "a", 5)
peak = re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(position.line, int(peak[1]) // 1024)
"""


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_take_seconds_and_300_mb(case):
    code = PROBE.format(head=HEAD, json=JSON, text=HOSTILE[case])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    line, megabytes = map(int, done.stdout.split())
    assert line in (1, 4, 5)
    assert megabytes < 300
