"""What the program prints for programs, held against the schemas in docs/schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from kubectl_fsm.output import structured

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
OURS = structured.API_VERSION.partition("/")[0]
_PRINTERS = {"as_json": "json", "as_yaml": "yaml", "as_event": "json"}
_wrong: list[str] = []


def shape(document: Mapping[str, Any]) -> str:
    """The name of the schema that a document has to fit: its kind, where that is the program's own."""
    kind: str = document["kind"]
    own = document["apiVersion"].partition("/")[0] == OURS or (document["apiVersion"], kind) == ("v1", "List")
    return kind if own else "Edited"


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """Where a document does not fit its schema, in which here no key is allowed that it does not have."""
    name = shape(document)
    if not (SCHEMAS / f"{name}.json").is_file():
        yield f"{name} has no schema"
        return
    for error in _validator(name).iter_errors(document):
        yield f"{name} {error.json_path}: {error.message}"


def note(text: str, form: str) -> str:
    """Take down what is wrong with the documents of an output, in the form `json` or `yaml`; the text as it is."""
    for document in documents(text, form):
        _wrong.extend(problems(document))
    return text


def noted() -> Sequence[str]:
    """What was wrong since this was asked last, whatever has printed it."""
    found = tuple(_wrong)
    _wrong.clear()
    return found


@contextmanager
def watched() -> Iterator[None]:
    """As long as it lasts, what the program prints in this process is noted."""
    noting = {name: _noting(getattr(structured, name), form) for name, form in _PRINTERS.items()}
    with mock.patch.multiple(structured, **noting):
        yield


def _noting(printer: Callable[..., str], form: str) -> Callable[..., str]:
    return lambda *arguments: note(printer(*arguments), form)


def documents(text: str, form: str) -> Iterator[Any]:
    """The documents of an output, one after the other."""
    if form == "yaml":
        yield from yaml.load_all(text, yaml.CSafeLoader)
        return
    start, decoder = 0, json.JSONDecoder()
    while start < len(text):
        document, end = decoder.raw_decode(text, start)
        yield document
        start = end + 1


def form(words: Sequence[str]) -> str:
    """`json` or `yaml` where a command line asks for that; else empty."""
    joined = " ".join(words).replace("--output", "-o")
    return next((one for one in ("json", "yaml") for sign in (" ", "=", "") if f"-o{sign}{one}" in joined), "")


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(_read(name), registry=Registry(retrieve=lambda uri: Resource.from_contents(_read(uri))))


def _read(name: str) -> Any:
    return _closed(json.loads((SCHEMAS / name.removesuffix(".json")).with_suffix(".json").read_text()))


def _closed(schema: Any) -> Any:
    """A schema as it is today: where it does not say so, an object has no more keys than those named."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema else closed
