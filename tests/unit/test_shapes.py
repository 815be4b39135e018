"""Each shape that programs rely on has its schema, which is true and is what the page says."""

import json

import pytest
from jsonschema import Draft202012Validator

from kubectl_fsm import meshes, reports, services, tracing
from kubectl_fsm.checks.model import SEVERITIES
from kubectl_fsm.output import structured
from tests.support import shapes
from tests.unit.test_every_combination import REPORTS

PAGE = shapes.SCHEMAS.parent / "output.md"
TURN = reports.Turn("deploy/web", "shop", "rolling", "deploy/web in shop: 1 of 3", 1, 1, 3)
EVENT = json.loads(structured.as_event(TURN, "2026-11-21T08:30:00Z"))
DOCUMENTS = [*(json.loads(structured.as_json(report)) for report in REPORTS), EVENT]
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in sorted(shapes.SCHEMAS.iterdir())}


def test_every_shape_has_a_schema_and_every_schema_a_shape():
    assert {shapes.shape(document) for document in DOCUMENTS} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_is_on_the_page(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["title"] == name
    assert f"](schemas/{name}.json)" in PAGE.read_text()


def objects(schema, path=""):
    """Every object of a schema that names its keys, with the way to it."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield path, schema
        for key, inner in schema.items():
            yield from objects(inner, f"{path}/{key}")


@pytest.mark.parametrize(
    ("name", "path", "schema"),
    [
        pytest.param(name, path, schema, id=name + path)
        for name in SCHEMAS
        if name != "Edited"
        for path, schema in objects(SCHEMAS[name])
    ],
)
def test_every_key_is_always_there_and_others_may_come(name, path, schema):
    sometimes = {"meshes"} if (name, path) == ("Version", "") else set()
    assert set(schema["required"]) == set(schema["properties"]) - sometimes
    assert "additionalProperties" not in schema


def values(schema):
    """The values that a schema names."""
    return [one["const"] for one in schema["oneOf"]] if "oneOf" in schema else schema["enum"]


def test_the_values_of_a_schema_are_those_of_the_program():
    rules, trace = SCHEMAS["Rules"]["properties"]["items"]["items"]["properties"], SCHEMAS["Trace"]
    version = SCHEMAS["Version"]["properties"]["meshes"]["items"]["properties"]
    check = SCHEMAS["Catalogue"]["properties"]["items"]["items"]["properties"]
    assert set(values(rules["injector"])) == set(values(version["injector"])) == set(meshes.INJECTORS)
    assert set(values(rules["mesh"]["properties"]["name"])) == {mesh.name for mesh in meshes.MESHES}
    assert set(values(rules["exclusions"]["items"]["properties"]["list"])) == {found.name for found in meshes.LISTS}
    assert set(values(trace["$defs"]["decision"])) == {one.value for one in tracing.Decision}
    assert set(values(trace["$defs"]["verdict"])) == {one.value for one in tracing.Result}
    assert set(values(trace["properties"]["service"]["properties"]["routing"])) == {one.value for one in services.Kind}
    assert set(values(check["severity"])) == set(SEVERITIES)


VERSION = reports.VersionReport("1.0.0", "", None)


def test_what_does_not_fit_is_noted_for_the_end_of_the_test(monkeypatch):
    monkeypatch.setattr(structured, "_version", lambda report: {"client": report.client, "colour": "red"})
    for print_it in (structured.as_json, structured.as_yaml):
        print_it(VERSION)
        assert "'colour' was unexpected" in "".join(shapes.noted())
    monkeypatch.setattr(structured, "_version", lambda _: {"client": 1})
    structured.as_json(VERSION)
    assert shapes.noted() == ("Version $.client: 1 is not of type 'string'",)
    structured.as_event(TURN, "yesterday")
    assert "'yesterday' does not match" in "".join(shapes.noted())


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("rules -o json", "json"),
        ("rules -ojson -n x", "json"),
        ("rules -o=yaml", "yaml"),
        ("rules --output yaml", "yaml"),
        ("rules --output=json", "json"),
        ("rules -o wide", ""),
        ("rules", ""),
    ],
)
def test_the_form_of_an_output_is_read_from_the_command_line(line, form):
    assert shapes.form(line.split()) == form
