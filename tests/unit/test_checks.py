"""Every check against files: what it finds where something is wrong, and that it is silent where nothing is.

A case is a file in `tests/checks/CHECK/`: manifests, and in comments at the top what is to be found, a line for each
finding and one for what mends it: `# seen: OBJECT: TEXT` and `# mend: TEXT`. One without such lines is one that passes.
"""

import json
from pathlib import Path

import pytest

from kubectl_fsm import cli
from kubectl_fsm.checks.catalogue import CHECKS

FOLDER = Path(__file__).parent.parent / "checks"
FILES = sorted(FOLDER.glob("*/*.yaml"))


def expected(path):
    lines = [line for line in path.read_text().splitlines() if line.startswith(("# seen: ", "# mend: "))]
    seen, mend = lines[0::2], lines[1::2]
    assert len(seen) == len(mend)
    return [(one.removeprefix("# seen: "), two.removeprefix("# mend: ")) for one, two in zip(seen, mend, strict=True)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path, capsys):
    code = cli.main(["check", "-f", str(path), "--only", path.parent.name, "-o", "json"])
    out, err = capsys.readouterr()
    assert out, err
    items = json.loads(out)["items"]
    assert [(f"{item['object']}: {item['seen']}", item["mend"]) for item in items] == expected(path)
    assert {item["check"] for item in items} <= {path.parent.name}
    assert code == bool(items)


@pytest.mark.parametrize("identity", CHECKS)
def test_every_check_fails_and_passes(identity):
    found = {bool(expected(path)) for path in FILES if path.parent.name == identity}
    assert found == {True, False}, f"tests/checks/{identity} lacks a case"


def test_every_folder_is_a_checks():
    assert {path.parent.name for path in FILES} <= set(CHECKS)
