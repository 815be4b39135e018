"""The plugin through krew itself: from an index to a pod's rules, to the next version, and away."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from kubectl_fsm import __version__
from release import bundle
from release import krew as manifests
from tests.conftest import give_up
from tests.support import krew, workloads
from tests.support.plugin import EXECUTABLE

TOP = Path(__file__).parents[2]
SHOP = str(TOP / "examples" / "shop")
NEXT = "v{}.{}.{}".format(*__version__.split(".")[:2], int(__version__.split(".")[2]) + 1)


@pytest.fixture(scope="session")
def tools():
    folder = krew.programs()
    if not folder:
        give_up("no krew: it is built with Go")
    return folder


@pytest.fixture
def kubectl_krew(tmp_path, tools, programs):
    """krew, and the pinned kubectl; no cluster."""
    path = os.pathsep.join([str(programs["kubectl"].parent), os.environ["PATH"]])
    return krew.Krew(tmp_path, tools, {"PATH": path, "LANG": "C.UTF-8"})


@pytest.fixture
def archives(program, tmp_path):
    """A folder with the archive, as `make dist` leaves it."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for path in program.parents[1].glob(f"{bundle.here().archive}*"):
        shutil.copyfile(path, folder / path.name)
    return folder


def valid(tools, plugin, folder, *words, env=None):
    """krew's own validation of a manifest, which names what it does not like."""
    path = folder / "fsm.yaml"
    path.write_text(plugin if isinstance(plugin, str) else manifests.as_yaml(plugin))
    command = [tools / "validate-krew-manifest", "-manifest", path, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stderr


def next_release(archives, plugin, url):
    """The same program with one more file, as the next version."""
    archive = archives / bundle.here().archive
    name = archive.name.replace(f"v{__version__}", NEXT)
    (archives / "NEWS").write_text("next\n")
    with tarfile.open(archive) as old, tarfile.open(archives / name, "w:gz") as new:
        for one in old:
            new.addfile(one, old.extractfile(one))
        new.add(archives / "NEWS", "kubectl-fsm/NEWS")
    plugin = copy.deepcopy(plugin)
    plugin["spec"]["version"] = NEXT
    plugin["spec"]["platforms"][0] |= {"uri": f"{url}/{name}", "sha256": bundle.digest(archives / name)}
    return plugin


def test_from_an_index_to_the_next_version_and_away(control_plane, fsm, tools, archives, tmp_path):
    plugins = krew.Krew(tmp_path, tools, control_plane.path_env)
    kubectl, store = plugins.kubectl, plugins.root / "store" / "fsm"
    index = plugins.index("index")
    with krew.serving(archives) as url:
        plugin = manifests.manifest(archives, url)
        index.publish(plugin)
        kubectl("krew", "index", "add", "fsm", str(index.path))
        assert "fsm/fsm" in kubectl("krew", "search", "fsm")
        info = kubectl("krew", "info", "fsm/fsm")
        assert f"VERSION: v{__version__}" in info
        assert plugin["spec"]["platforms"][0]["sha256"] in info
        said = kubectl("krew", "install", "fsm/fsm")
        assert "Installed plugin: fsm" in said
        assert "glibc" in said
        assert (plugins.root / "bin" / "kubectl-fsm").resolve() == store / f"v{__version__}" / "kubectl-fsm" / "kubectl-fsm"

        assert kubectl("fsm", "version").startswith(f"Client: {__version__}\n")
        theirs = subprocess.run([EXECUTABLE, "rules", "-f", SHOP], capture_output=True, text=True, check=True).stdout
        assert kubectl("fsm", "rules", "-f", SHOP) == theirs
        namespace = fsm.namespace()
        control_plane.apply(workloads.deployment("web", namespace, replicas=1))
        control_plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
        pod = control_plane.list("pods", namespace, "app=web")[0]["metadata"]["name"]
        assert f"pod/{pod} · deploy/web · mesh fsm 1.5.1 (fsm-system)" in kubectl("fsm", "rules", pod, "-n", namespace)

        kubectl("fsm", "completion", "install")
        assert (plugins.root / "bin" / "kubectl_complete-fsm").is_file()
        assert "exclude-port\t" in kubectl("__complete", "fsm", "")
        assert pod in kubectl("__complete", "fsm", "rules", "-n", namespace, "")

        index.publish(next_release(archives, plugin, url))
        assert "Upgraded plugin: fsm" in kubectl("krew", "upgrade", "fsm")
        assert [path.name for path in store.iterdir()] == [NEXT]
        assert (store / NEXT / "kubectl-fsm" / "NEWS").read_text() == "next\n"
        assert kubectl("fsm", "version").startswith(f"Client: {__version__}\n")

    assert "Uninstalled plugin" in kubectl("krew", "uninstall", "fsm")
    assert not (plugins.root / "bin" / "kubectl-fsm").exists()
    assert not store.exists()
    assert 'unknown command "fsm"' in kubectl("fsm", "version", code=1)
    (tmp_path / "transcript").write_text("\n".join(plugins.transcript))


def test_from_the_two_files_without_an_index(kubectl_krew, archives, tmp_path):
    """As long as the plugin is in no index: the manifest that `make krew` makes of what `make dist` makes."""
    kubectl = kubectl_krew.kubectl
    made = subprocess.run(
        ["make", "--silent", "krew", f"DIST={archives}"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stdout) == (0, f"{archives}/krew/fsm.yaml\n"), made.stderr
    archive = archives / bundle.here().archive
    install = ("krew", "install", f"--manifest={archives}/krew/fsm.yaml")
    broken = archives / "broken.tar.gz"
    broken.write_bytes(archive.read_bytes() + b"x")
    assert "checksum" in kubectl(*install, f"--archive={broken}", code=1)
    kubectl(*install, f"--archive={archive}")
    theirs = subprocess.run([EXECUTABLE, "--help"], capture_output=True, text=True, check=True).stdout
    assert kubectl("fsm", "--help") == theirs


class TestManifest:
    def test_it_is_valid_as_it_lies_here(self, tools, tmp_path):
        text = (TOP / "krew-manifest.yaml").read_text()
        ok, said = valid(tools, text, tmp_path, "-skip-install")
        assert ok, said
        spec = yaml.safe_load(text)["spec"]
        assert spec["version"] == f"v{__version__}"
        assert len(spec["shortDescription"]) <= 50
        assert {entry["uri"].split("/")[2].rpartition(".")[2] for entry in spec["platforms"]} == {"invalid"}
        assert f"dist/{bundle.Platform('linux', 'amd64').archive}" in (TOP / "README.md").read_text()
        for entry in spec["platforms"]:
            assert entry["uri"].endswith("/" + manifests._platform(entry).archive)

    def test_what_is_made_of_it_is_valid_and_can_be_installed(self, tools, kubectl_krew, archives, tmp_path):
        with krew.serving(archives) as url:
            plugin = manifests.manifest(archives, url)
            ok, said = valid(tools, plugin, tmp_path, env=kubectl_krew.environment)
        assert ok, said
        assert "all 1 spec.platforms installed fine" in said

    def test_what_is_filled_in(self, archives):
        plugin = manifests.manifest(archives, "https://example.com/v1/", "https://example.com")
        (platform,) = plugin["spec"]["platforms"]
        archive = archives / bundle.here().archive
        assert platform["uri"] == f"https://example.com/v1/{archive.name}"
        assert platform["sha256"] == archive.with_name(f"{archive.name}.sha256").read_text().split()[0]
        assert re.search(r"needs glibc \d+\.\d+ or later", plugin["spec"]["caveats"])
        assert plugin["spec"]["homepage"] == "https://example.com"

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"version": "0.1.0"}, "failed to parse plugin version"),
            ({"shortDescription": "a\nb"}, "line breaks"),
            ({"platforms": []}, "should have a platform"),
        ],
    )
    def test_the_validation_is_one(self, tools, archives, tmp_path, change, problem):
        plugin = manifests.manifest(archives)
        plugin["spec"] |= change
        ok, said = valid(tools, plugin, tmp_path, "-skip-install")
        assert not ok
        assert problem in said

    def test_without_a_bundle_there_is_none(self, tmp_path):
        with pytest.raises(LookupError, match="no bundle of kubectl-fsm"):
            manifests.manifest(tmp_path)
