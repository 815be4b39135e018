"""Every fenced block of every page is run and its output compared, or is known to be something else that is tested.

A block that begins with `$ ` is a session: commands, each with what a terminal shows of it, where `…` alone on a line
stands for lines that are left out. A comment right above a block makes it what one command shows,

    <!-- $ kubectl fsm trace deploy/web svc/api:8080 -n shop -o mermaid -->

or a file for the commands that follow, `<!-- file .kubectl-fsm.yaml -->`. Other blocks without a language, or of the
language `sh`, are commands that have to end well. The commands of a page run one after the other and so tell one story,
in a checkout, on a cluster that has FSM and what is in examples/shop.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
import yaml

from kubectl_fsm import __version__
from tests.support.checkout import TOP, checkout
from tests.support.control_plane import ControlPlane
from tests.support.markdown import Block, blocks
from tests.support.mesh import Mesh
from tests.support.rbac import User
from tests.support.session import agrees
from tests.support.story import NAMESPACE, Story

FOLDERS = [path for path in TOP.glob("[!.]*/") if path.name not in ("tests", "dist")]
PAGES = sorted([*TOP.glob("*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
BLOCKS = [block for path in PAGES for block in blocks(path)]
FILE = "file "
KREW = "krew does it in tests/dist/test_krew.py"
NOT_RUN = {
    "make test": "it is what runs this",
    "pipx install .": "it fetches what it needs from the network: tests/dist/test_packages.py installs the built files",
    "make dist krew": "tests/dist builds the same once for all its tests",
    f"kubectl krew install --manifest=dist/krew/fsm.yaml --archive=dist/kubectl-fsm_v{__version__}_linux_amd64.tar.gz": KREW,
    "kubectl krew index add fsm URL-OF-THE-INDEX": KREW,
    "kubectl krew install fsm/fsm": KREW,
    "kubectl krew upgrade fsm": KREW,
    "kubectl fsm exclude-ip svc/redis.cache --workload=deploy/web -n shop": "nothing is called cache: test_rights.py",
    "kubectl fsm include-ip 10.0.0.0/8 --workload=deploy/web -n shop": "it asks somebody, as docs/guide.md shows",
    "kubectl fsm trace deploy/web svc/api:8080 -f examples/shop --kernel": "it needs root: tests/kernel/test_trace.py",
    "kubectl fsm check -f deploy/ -o sarif": "it is for a repository that has this folder: test_repository.py",
    "kubectl fsm check -f -": "it reads what another program prints: test_check_run.py",
    "kubectl fsm restart -A --max-parallel 4 --canary deploy/web --bake 10m": "it takes as long: test_canary.py",
    "kubectl fsm restart ds/agent -n shop --evict": "the shop has no DaemonSet: test_eviction.py",
    "kubectl fsm restart --resume ./fsm-restart-8f2c.json": "nothing has stopped a restart: test_many_restarts.py",
}
"""Commands of blocks that have to end well, and why they are not run."""


def kind(block: Block) -> str:
    """What is done with a block; empty where nothing is."""
    if block.turns:
        return "session"
    if block.comment.startswith(FILE):
        return "file"
    return {"": "commands", "sh": "commands", "text": "text", "yaml": "yaml"}.get(block.info, "")


def named(block: Block) -> str:
    return f"{block.path.relative_to(TOP)}:{block.line}"


def of(*kinds: str) -> list:
    """Parameters: the blocks of these kinds."""
    return [pytest.param(block, id=named(block)) for block in BLOCKS if kind(block) in kinds]


def commands(block: Block) -> list[str]:
    """The commands of a block without what stands behind ` #`, which is for the reader."""
    lines = (line.text.partition(" #")[0].strip() for line in block.lines)
    return [line for line in lines if line and not line.startswith("#")]


def test_every_block_is_something():
    assert [named(block) for block in BLOCKS if not kind(block)] == []


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(TOP))) for path in PAGES])
def test_commands_stand_in_fences(path):
    fenced = {line.number for block in blocks(path) for line in block.lines}
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    assert [
        f"{number}: {line}" for number, line in lines if re.match("[\t >]*[$] ", line) if number not in fenced
    ] == []


@pytest.mark.parametrize("block", of("yaml", "file"))
def test_yaml_is_yaml(block):
    assert block.info == "yaml"
    assert yaml.safe_load(block.text)


def test_text_is_written_by_make_docs(tmp_path):
    """Each block of it comes back, as it is, after somebody has taken it out."""
    copy = checkout(tmp_path / "copy")
    pages = {block.path for block in BLOCKS if kind(block) == "text"}
    for path in pages:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        for block in blocks(path):
            if kind(block) == "text":
                lines[block.line : block.line + len(block.lines)] = ["?\n" for _ in block.lines]
        (copy / path.relative_to(TOP)).write_text("".join(lines), "utf-8")
    subprocess.run([sys.executable, "-m", "docs.generate"], cwd=copy, check=True)
    for path in pages:
        assert (copy / path.relative_to(TOP)).read_text("utf-8") == path.read_text("utf-8"), path


def test_what_is_not_run_is_there():
    assert {command for block in BLOCKS if kind(block) == "commands" for command in commands(block)} >= set(NOT_RUN)


@pytest.fixture
def story(control_plane: ControlPlane, fsm: Mesh, tmp_path: Path) -> Iterator[Story]:
    """A story that begins: all that is in examples/shop is in the cluster, and runs. A reader may read it."""
    mesh, *others = sorted((TOP / "examples" / "shop").iterdir(), key=lambda path: path.stem != "mesh")
    control_plane.apply(*yaml.safe_load_all(mesh.read_text("utf-8")))
    fsm.wait_for_injector()
    control_plane.apply(*(item for path in others for item in yaml.safe_load_all(path.read_text("utf-8"))))
    User(control_plane, "reader").bind("kubectl-fsm-read", NAMESPACE, "fsm-system")
    yield Story(control_plane, checkout(tmp_path / "kubectl-fsm"))
    for kind in ("deployments", "statefulsets"):
        control_plane.delete(f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}")
    control_plane.wait(lambda: not control_plane.list("pods", NAMESPACE), "the pods are gone")
    path = f"/api/v1/namespaces/{NAMESPACE}"  # which goes slowly while it has pods
    control_plane.delete(path)
    control_plane.wait(lambda: not control_plane.exists(path), f"{path} is gone")


@pytest.mark.parametrize(
    "name", sorted({str(block.path.relative_to(TOP)) for block in BLOCKS if kind(block) in ("session", "commands")})
)
def test_commands_show_what_the_page_says(name, story):
    wrong = [line for block in blocks(TOP / name) for line in told(story, block)]
    assert not wrong, "\n".join(wrong)


def told(story: Story, block: Block) -> Iterator[str]:
    """Let what a block says happen; what it says wrongly."""
    if kind(block) == "file":
        story.write(block.comment.removeprefix(FILE), block.text)
    for command, output in block.turns:
        said = [line.text for line in output]
        shown = story.show(story.names.command(command.text))
        if not agrees(said, shown, story.names):
            place = f"{block.path.relative_to(TOP)}:{command.number}"
            yield from unified_diff(said, story.names.page("\n".join(shown)).split("\n"), place, "shown", lineterm="")
    for command in commands(block) if kind(block) == "commands" else ():
        done = None if command in NOT_RUN else story.carry_out(story.names.command(command))
        if done and done.returncode:
            yield f"{named(block)}: {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
