"""The tables of output.md, one for each shape: its keys, and the values with a meaning of their own, from its schema."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parents[1]
_PLACE = re.compile(r"(<!-- made from (schemas/\w+\.json) by `make docs` -->\n).*?(<!-- end -->)", re.DOTALL)
_ENVELOPE = ("apiVersion", "kind", "items")

Schema = Mapping[str, Any]


def page(current: str) -> str:
    """The page as it should be: its own text, and between each pair of marks what the schema says that they name."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{_shape(_DOCS / found[2])}\n{found[3]}", current)


def _shape(path: Path) -> str:
    schema = json.loads(path.read_text())
    keys = {name: value for name, value in schema["properties"].items() if name not in _ENVELOPE}
    tables = [*_tables(keys, "key")]
    if "items" in schema["properties"]:
        tables += _tables(schema["properties"]["items"]["items"]["properties"], "key of an item")
    for name, definition in schema.get("$defs", {}).items():
        tables += _tables(definition["properties"], f"key of a {name}") if "properties" in definition else ()
        tables += _values(f"`{name}`", definition)
    return f"[{path.stem}]({path.parent.name}/{path.name}): {schema['description']}\n\n" + "\n".join(tables)


def _tables(keys: Mapping[str, Schema], title: str) -> Iterator[str]:
    """A table of keys, and one for each of them whose values have a meaning of their own."""
    rows = list(_rows(keys))
    if rows:
        lines = [f"| `{key}` | {_type(schema)} | {schema.get('description', '')} |" for key, schema in rows]
        yield "\n".join([f"| {title} | value | meaning |", "| --- | --- | --- |", *lines, ""])
    for key, schema in rows:
        yield from _values(f"`{key}`", schema)


def _values(title: str, schema: Schema) -> Iterator[str]:
    if "oneOf" in schema:
        lines = [f"| `{one['const']}` | {one.get('description', '')} |" for one in schema["oneOf"]]
        yield "\n".join([f"| {title} | meaning |", "| --- | --- |", *lines, ""])


def _rows(keys: Mapping[str, Schema], inside: str = "") -> Iterator[tuple[str, Schema]]:
    """Each key with the path to it, and after an object those inside."""
    for name, schema in keys.items():
        inner = schema.get("items", schema)
        key = f"{inside}{name}{'[]' if 'items' in schema else ''}"
        yield key, schema
        yield from _rows(inner.get("properties", {}), f"{key}.")


def _type(schema: Schema) -> str:
    """What a value can be; of a list, what it holds."""
    if "items" in schema:
        return _type(schema["items"])
    if "$ref" in schema:
        return f"*{schema['$ref'].rpartition('/')[2]}*"
    if "oneOf" in schema:
        return "see below"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join("null" if value is None else f"`{value}`" for value in schema["enum"])
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(types)
