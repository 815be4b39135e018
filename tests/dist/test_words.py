"""What the release's own programs say of words and settings that they cannot use."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["krew"], {}, "Usage: release.krew FOLDER [URL [HOMEPAGE]]"),
        (["krew", "{}"], {}, ": make dist makes one\n"),
        (["bundle", "a", "b"], {}, "Usage: release.bundle [FOLDER]"),
        (["bundle", "{}"], {"SOURCE_DATE_EPOCH": "today"}, "error: SOURCE_DATE_EPOCH is seconds since 1970, not 'today'"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_written(tmp_path, words, environment, said):
    program, *rest = (word.format(tmp_path) for word in words)
    command = [sys.executable, "-m", f"release.{program}", *rest]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
