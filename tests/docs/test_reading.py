"""How pages are read and compared: what counts as a block, and as the same output."""

import pytest

from tests.support.markdown import blocks
from tests.support.session import Names, agrees

WEB = "web-6985fd9464-2l8gm"
OTHER = "web-6985fd9464-bpf8g"
REAL = "web-7d79798c4-x7hqr"
PAGE = """\
Text.
<!-- $ x -o yaml -->
```yaml
a: 1
```
1. In a list:
   ~~~console
   $ one \\
     --more
   first
   ```

   $ two
   ~~~
````
$ three
```
````
"""


def names(*there):
    return Names(lambda _, others: next(name for name in there if name not in others))


def read(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    return list(blocks(path))


def test_blocks(tmp_path):
    found = read(tmp_path, PAGE)
    assert [(block.line, block.info, block.comment) for block in found] == [
        (3, "yaml", "$ x -o yaml"),
        (7, "console", ""),
        (15, "", ""),
    ]
    turns = [(turn.command.text, [line.text for line in turn.output]) for block in found for turn in block.turns]
    assert turns == [
        ("x -o yaml", ["a: 1"]),
        ("one \\\n  --more", ["first", "```"]),
        ("two", []),
        ("three", ["```"]),
    ]
    assert found[1].turns[1].command.number == 13


def test_output_before_a_command_makes_no_session(tmp_path):
    assert read(tmp_path, "```\nfirst\n$ one\n```\n")[0].turns == []


def test_a_block_without_an_end_is_no_block(tmp_path):
    with pytest.raises(AssertionError, match=r"page\.md:2"):
        read(tmp_path, "\n```\nfirst\n")


@pytest.mark.parametrize(
    ("page", "real"),
    [
        ([], []),
        (["a  b"], ["a  b"]),
        (["a", "…"], ["a", "b"]),
        (["…", "c"], ["a", "b", "c"]),
        (["a", "…", "b", "…"], ["a", "x", "b", "y", "z"]),
        (["a", "…", "c"], ["a", "c", "c"]),
        (["POD   X", f"{WEB}   1"], ["POD  X", f"{REAL}  1"]),
        ([WEB, "…", WEB], [REAL, "x", REAL]),
    ],
)
def test_the_same(page, real):
    assert agrees(page, real, names())


@pytest.mark.parametrize(
    ("page", "real"),
    [
        ([], ["a"]),
        (["a"], []),
        (["a"], ["A"]),
        (["a b"], ["a  b"]),
        (["a  b"], ["a   b"]),
        (["a", "…"], ["a"]),
        (["a", "…", "b"], ["a", "b"]),
        (["a", "…", "b"], ["a", "x", "b", "y"]),
        (["…", "b", "…"], ["x", "b"]),
        ([WEB], ["api-7d79798c4-x7hqr"]),
        ([WEB], ["web-0"]),
        ([WEB, WEB], [REAL, OTHER]),
        ([WEB, OTHER], [REAL, REAL]),
        ([f"{WEB} 1"], [f"{REAL} 2"]),
        ([f"{WEB}  1"], [f"{REAL} 1"]),
    ],
)
def test_not_the_same(page, real):
    assert not agrees(page, real, names())


def test_a_pod_keeps_its_name():
    known = names(REAL, OTHER)
    assert known.command(f"rules {WEB}") == f"rules {REAL}"
    assert agrees([WEB], [REAL], known)
    assert not agrees([WEB], [OTHER], known)
    assert known.page(f"{REAL} and {OTHER}") == f"{WEB} and {OTHER}"
    assert not agrees(["web-6985fd9464-4444b", "x"], [OTHER, "y"], known)
    assert known.command("rules web-6985fd9464-4444b") == f"rules {OTHER}"
