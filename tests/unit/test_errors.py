"""Errors read alike, wherever they are raised."""

import ast
from pathlib import Path

import kubectl_fsm
from kubectl_fsm import errors

CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type)}
SOURCES = sorted(Path(kubectl_fsm.__file__).parent.rglob("*.py"))


def pieces(node):
    """The constant texts that an argument is made of, in order; a value between them is an empty one."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "" for part in parts]


def test_messages_and_hints_are_no_sentences():
    """They follow `error: ` or stand alone, and a command at their end is copied: no full stop."""
    calls = [
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES
    ]
    texts = [(path, node.lineno, pieces(text)) for path, node in calls for text in node.args[:2]]
    assert len(texts) > 100
    assert [where for *where, found in texts if found[-1].endswith(".")] == []
