"""Manifests that are no YAML any more, or other YAML than they were."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import TEXTS, fuzzing
from tests.support.hostile import VERBS, manifests
from tests.support.promises import run

LINES = yaml.safe_dump_all(manifests(), sort_keys=False).splitlines()
PIECES = (
    *(
        "---",
        "...",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: *a",
        "!!binary x",
        "!!python/name:os.system x",
    ),
    *(
        "!Ref x",
        "|",
        ">-",
        "# ",
        "%YAML 1.1",
        "%TAG ! x:",
        "\t",
        "'",
        '"',
        "@",
        "`",
        "a: 1\na: 2",
        "&a [*a]",
        "*unknown",
    ),
    *(
        "2024-99-99",
        ".inf",
        ".nan",
        "1:99",
        "0o8",
        "0b2",
        "!!int x",
        "!!float x",
        "\\u0000",
        '"\\ud800"',
        '"\\e[2J"',
        "\ufeff",
    ),
)


def changes(draw):
    """Lines of the manifests with a few of them damaged."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        new = draw(st.sampled_from(PIECES) | TEXTS)
        indent = line[: len(line) - len(line.lstrip())]
        key = line.partition(":")[0]
        lines[place : place + 1] = draw(
            st.sampled_from(
                [
                    [f"{key}: {new}"],
                    [f"{indent}{new}"],
                    [line, line],
                    [],
                    [f"{indent}{new}", line],
                    [f"{indent}{new}: {line.strip()}"],
                    [f" {line}"],
                    [f"{line} {new}"],
                ]
            )
        )
    return "\n".join(lines)


@fuzzing(0.08)
@given(verb=st.sampled_from(list(VERBS)), data=st.data())
def test_damaged_lines(verb, data):
    done = run([*VERBS[verb], "-f", "-"], changes(data.draw).encode(errors="surrogatepass"))
    assert not list(done.broken()), done


@fuzzing(0.05)
@given(verb=st.sampled_from(["rules", "exclude-port", "check as JSON"]), data=st.data())
def test_damaged_bytes(verb, data):
    content = "\n".join(LINES).encode()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        content = content[:start] + data.draw(st.binary(max_size=6)) + content[end:]
    done = run([*VERBS[verb], "-f", "-"], content)
    assert not list(done.broken()), done


@fuzzing(0.05)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.lists(st.sampled_from(PIECES), max_size=30).map(lambda found: "".join(found).encode())
)
def test_anything(content):
    done = run(["rules", "-f", "-"], content)
    assert not list(done.broken()), done
