"""Wheel and sdist, each installed from its file into an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from kubectl_fsm import __version__
from tests.support.plugin import EXECUTABLE, Plugin

TOP = Path(__file__).parents[2]
SHOP = str(TOP / "examples" / "shop")
WHEEL = f"kubectl_fsm-{__version__}-py3-none-any.whl"
SDIST = f"kubectl_fsm-{__version__}.tar.gz"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The folder of both, built as `make dist` builds them: the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, TOP], check=True)
    return folder


@pytest.fixture(scope="session", params=[WHEEL, SDIST])
def installed(request, packages, tmp_path_factory):
    """The program of an environment in which there is the package, and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, packages / request.param], env=environment, cwd=folder, check=True)
    return folder / "bin" / "kubectl-fsm"


def test_what_twine_checks(packages):
    assert sorted(path.name for path in packages.iterdir()) == sorted([WHEEL, SDIST])
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", packages / WHEEL, packages / SDIST],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout


def test_the_sdist_has_what_it_takes_and_no_more(packages):
    root = SDIST.removesuffix(".tar.gz")
    with tarfile.open(packages / SDIST) as packed:
        names = {name.removeprefix(f"{root}/") for name in packed.getnames()}
    tops = {name.partition("/")[0] for name in names}
    assert tops - {".gitignore"} == {
        "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "examples", "kubectl_fsm", "pyproject.toml"
    }  # fmt: skip
    assert {name for name in names if name.startswith("kubectl_fsm/")} == sources()


def test_the_wheel_has_the_program_alone(packages):
    with zipfile.ZipFile(packages / WHEEL) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        licence = packed.read(f"kubectl_fsm-{__version__}.dist-info/licenses/LICENSE")
    assert names == sources()
    assert licence == (TOP / "LICENSE").read_bytes()


def sources():
    files = [path for path in (TOP / "kubectl_fsm").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(TOP).as_posix() for path in files}


def test_it_runs(installed, tmp_path):
    run = Plugin({"HOME": str(tmp_path)}, installed).run
    assert EXECUTABLE != installed
    ours, theirs = run("rules", "-f", SHOP), Plugin({"HOME": str(tmp_path)}).run("rules", "-f", SHOP)
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, "")


def test_it_tells_its_version(installed, control_plane, tmp_path):
    done = Plugin(control_plane.path_env | {"HOME": str(tmp_path)}, installed).run("version")
    assert done.stdout.startswith(f"Client: {__version__}\n"), done.stderr


def test_live_progress_and_credential_plugins_are_there(installed):
    """What is imported when it is needed comes with the package."""
    for module in ("rich.live", "kubernetes.config.exec_provider", "certifi"):
        subprocess.run([installed.with_name("python"), "-I", "-c", f"import {module}"], check=True)
