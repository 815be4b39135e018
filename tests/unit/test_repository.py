"""`check` in a Git repository of manifests: pre-commit itself runs the hook, and the action's steps run in bash."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
CASES = TOP / "tests" / "checks" / "init-failed"
FAILING, PASSING = ((CASES / name).read_text() for name in ("no-module.yaml", "ended-well.yaml"))
SILENCE = "silence: [{check: init-failed, reason: being mended}]"
HOOKS = ".pre-commit-hooks.yaml"
ACTION = yaml.safe_load((TOP / "examples" / "github-action" / "check.yaml").read_text())


class Repository:
    """A Git repository with nothing around it that could matter."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(path.parent),
            "PRE_COMMIT_HOME": str(path.parent / "cache"),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        self.run("git", "init", "-q")

    def run(self, *argv, **more):
        return subprocess.run(
            argv,
            cwd=self.path,
            env={**self.environment, **more},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def stage(self, **files):
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            assert self.run("git", "add", name).returncode == 0

    def commit(self):
        assert self.run("git", "commit", "-qm", "x").returncode == 0
        return self.run("git", "rev-parse", "HEAD").stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository that has the hook, which finds the program on the PATH instead of installing it."""
    plugin = Repository(tmp_path / "plugin")
    plugin.stage(**{HOOKS: (TOP / HOOKS).read_text()})
    hook = {"id": "kubectl-fsm-check", "language": "system"}
    config = {"repos": [{"repo": str(plugin.path), "rev": plugin.commit(), "hooks": [hook]}]}
    repository = Repository(tmp_path / "shop")
    repository.stage(**{".pre-commit-config.yaml": yaml.safe_dump(config), "deploy/web.yaml": PASSING})
    repository.commit()
    return repository


def hook(repository):
    ran = repository.run(sys.executable, "-m", "pre_commit", "run", "--color=never")
    return ran.returncode, ran.stdout


def test_the_hook_reads_all_manifests_when_one_has_changed(repository):
    repository.stage(**{"deploy/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"})
    code, said = hook(repository)
    assert (code, "Passed" in said) == (0, True), said
    repository.stage(**{"deploy/web.yaml": FAILING})
    repository.commit()
    repository.stage(**{"deploy/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: api}\n"})
    code, said = hook(repository)
    assert (code, "Failed" in said) == (1, True), said
    assert "  error    init-failed: " in said
    assert "./deploy/web.yaml:" in said


def test_the_hook_is_left_out_where_no_manifest_has_changed(repository):
    repository.stage(**{"README.md": "Shop\n"})
    code, said = hook(repository)
    assert (code, "Skipped" in said) == (0, True), said


def test_the_hook_minds_what_is_silenced(repository):
    repository.stage(**{"deploy/web.yaml": FAILING, ".kubectl-fsm.yaml": SILENCE})
    assert hook(repository)[0] == 0


def test_the_hooks_program_comes_with_the_package():
    (manifest,) = yaml.safe_load((TOP / HOOKS).read_text())
    assert manifest["language"] == "python"
    assert manifest["entry"].split()[0] in {script.name for script in entry_points(group="console_scripts")}


@pytest.mark.parametrize(
    ("files", "code", "found"),
    [
        ({"deploy/web.yaml": PASSING}, 0, []),
        ({"deploy/web.yaml": FAILING}, 1, ["init-failed"]),
        ({"deploy/web.yaml": FAILING, ".kubectl-fsm.yaml": SILENCE}, 0, []),
    ],
)
def test_the_steps_of_the_action(tmp_path, files, code, found):
    repository = Repository(tmp_path / "shop")
    repository.stage(**files)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "pipx").write_text('#!/bin/sh\necho "$@" > installed\n')
    (tools / "pipx").chmod(0o755)
    path = f"{tools}{os.pathsep}{repository.environment['PATH']}"
    steps = ACTION["jobs"]["check"]["steps"]
    ran = [
        repository.run("bash", "-e", "-c", step["run"], PATH=path, **ACTION["env"]) for step in steps if "run" in step
    ]
    assert [one.returncode for one in ran] == [0, code, 0]
    assert (repository.path / "installed").read_text() == f"install {ACTION['env']['KUBECTL_FSM']}\n"
    log = json.loads((repository.path / steps[-1]["with"]["sarif_file"]).read_text())
    results = log["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == found
    for result in results:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "deploy/web.yaml", "uriBaseId": "%SRCROOT%"}
        assert place["region"]["startLine"] > 1


def test_the_action_uploads_also_what_made_the_check_fail():
    check, *after = ACTION["jobs"]["check"]["steps"][2:]
    assert check["id"] == "check"
    assert {step["if"] for step in after} == {"${{ success() || steps.check.outcome == 'failure' }}"}
    assert ACTION["permissions"]["security-events"] == "write"
