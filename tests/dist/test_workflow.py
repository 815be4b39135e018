"""The workflow that makes a release: what it calls is there, and what it makes is what the manifest has room for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from kubectl_fsm import __version__
from release import krew

TOP = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((TOP / ".github" / "workflows" / "release.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
RUNS = "\n".join(step["run"] for step in STEPS if "run" in step)
PLATFORMS = {
    "ubuntu-22.04": "linux/amd64",
    "ubuntu-22.04-arm": "linux/arm64",
    "macos-15-intel": "darwin/amd64",
    "macos-15": "darwin/arm64",
    "windows-2022": "windows/amd64",
}


def test_what_it_calls_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"\bmake ([a-z-]+)", RUNS))
    assert called == {"bundle", "wheel", "krew"}
    assert called <= targets
    modules = set(re.findall(r"python -m (release\.\w+)", RUNS))
    assert modules == {"release.bundle"}
    assert all(map(find_spec, modules))


def test_its_actions_are_pinned():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used), used


def test_it_builds_what_the_manifest_has_room_for():
    runners = WORKFLOW["jobs"]["bundle"]["strategy"]["matrix"]["include"]
    manifest = yaml.safe_load((TOP / "krew-manifest.yaml").read_text())
    platforms = ["/".join(krew._platform(entry)) for entry in manifest["spec"]["platforms"]]
    assert [PLATFORMS[one["runner"]] for one in runners] == platforms
    assert [PLATFORMS[one["runner"]] for one in runners if not one["untried"]] == ["linux/amd64"]


@pytest.mark.parametrize(("tag", "code"), [(f"v{__version__}", 0), (__version__, 1), ("v9.9.9", 1)])
def test_a_tag_is_the_version(tag, code):
    (step,) = [step for step in WORKFLOW["jobs"]["tag"]["steps"] if "run" in step]
    environment = {"PATH": os.environ["PATH"], "GITHUB_REF_NAME": tag}
    assert subprocess.run(["bash", "-e", "-c", step["run"]], cwd=TOP, env=environment, check=False).returncode == code


def test_an_archive_is_tried_before_it_is_kept(program, tmp_path):
    """The step that unpacks it and runs the program, as it stands."""
    (run,) = [step["run"] for step in STEPS if "unpack_archive" in step.get("run", "")]
    folder = tmp_path / "checkout"
    (folder / "dist").mkdir(parents=True)
    (folder / "examples").symlink_to(TOP / "examples")
    for path in program.parents[1].glob("kubectl-fsm_*"):
        (folder / "dist" / path.name).symlink_to(path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "RUNNER_TEMP": str(tmp_path)}
    command = ["bash", "-e", "-o", "pipefail", "-c", run]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "deploy/web" in done.stdout
