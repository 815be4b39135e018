"""The bundle as users get it: an archive, and a program that needs nothing of the machine but glibc."""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
import trustme
from PyInstaller.archive.readers import CArchiveReader
from packaging.requirements import Requirement

import kubectl_fsm
from kubectl_fsm.netfilter.kernel import missing
from release import bundle, licences
from tests.conftest import give_up
from tests.support import workloads
from tests.support.api_server import ApiServer, SocksProxy, kubeconfig, running
from tests.support.plugin import EXECUTABLE, Plugin
from tests.support.screen import Screen

TOP = Path(__file__).parents[2]
SHOP = str(TOP / "examples" / "shop")
SIZE = 15_000_000
USED = ("certifi", "docopt", "idna", "kubernetes", "rich", "socks", "tabulate", "typing_extensions", "urllib3", "yaml")
LOGIN = """#!/bin/sh
cat /proc/$$/environ > "$0.environment"
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
  "status": {"token": "abc", "expirationTimestamp": "2999-01-01T00:00:00Z"}}'
"""


def run(program, *args, env=None, cwd="/"):
    return subprocess.run(
        [program, *args], env=env or {}, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def archive(program):
    return program.parents[1] / bundle.here().archive


def members(archive):
    with tarfile.open(archive) as packed:
        return packed.getmembers()


def text(archive, name):
    with tarfile.open(archive) as packed:
        content = packed.extractfile(f"kubectl-fsm/{name}")
        assert content
        return content.read().decode()


class TestArchive:
    def test_its_size_and_digest(self, archive, figure):
        size = archive.stat().st_size
        assert size <= SIZE
        figure(f"{archive.name}: {size / 1_000_000:.1f} MB")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert archive.with_name(f"{archive.name}.sha256").read_text() == f"{digest}  {archive.name}\n"

    def test_plain_files_below_one_folder(self, archive):
        found = members(archive)
        assert all(one.isfile() and one.name.startswith("kubectl-fsm/") for one in found)
        assert {one.name for one in found if one.name.count("/") == 1} == {
            f"kubectl-fsm/{name}" for name in ("LICENSE", "README", "THIRD-PARTY-LICENSES", "kubectl-fsm")
        }
        assert {(one.uid, one.gid, one.uname, one.gname) for one in found} == {(0, 0, "", "")}
        assert len({one.mtime for one in found}) == 1

    def test_nothing_but_what_the_program_uses(self, program):
        """Its modules and those of the packages that it depends on; of kubernetes what runs credential plugins."""
        modules = set(CArchiveReader(str(program)).open_embedded_archive("PYZ.pyz").toc)
        packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
        assert packages == {"kubectl_fsm", *USED}
        runner = {f"kubernetes.config.{name}" for name in ("config_exception", "dateutil", "exec_provider", "kube_config")}
        assert {name for name in modules if name.startswith("kubernetes")} == {"kubernetes", "kubernetes.config", *runner}
        assert modules >= {found.name for found in pkgutil.walk_packages(kubectl_fsm.__path__, "kubectl_fsm.")}

    def test_licences(self, archive):
        assert text(archive, "LICENSE") == (TOP / "LICENSE").read_text()
        licences = text(archive, "THIRD-PARTY-LICENSES")
        contents = licences.partition("====")[0]
        for name in ("Python", "PyInstaller", *(Requirement(one).name for one in requires("kubectl-fsm") if ";" not in one)):
            assert re.search(rf"^  {name} [\d.]+$", contents, re.MULTILINE | re.IGNORECASE), name
        for words in ("PYTHON SOFTWARE FOUNDATION LICENSE", "Jean-loup Gailly", "The OpenSSL Project", "Kirill Simonov",
                      "Anthony Green", "Bootloader Exception", "Expat maintainers", "Stefan Krah"):  # fmt: skip
            assert words in licences, words

    def test_no_library_looks_for_others_where_they_were_built(self, program):
        elfs = [path for path in program.parent.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
        said = subprocess.run(["objdump", "-p", *elfs], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"^ +(?:RPATH|RUNPATH) +(\S+)$", said, re.MULTILINE)
        assert [folder for folder in found if not folder.startswith("$ORIGIN")] == []
        assert found

    def test_the_glibc_that_it_names_is_the_newest_that_it_asks_for(self, archive):
        wanted = set()
        with tarfile.open(archive) as packed:
            for one in packed:
                content = packed.extractfile(one).read()
                if content.startswith(b"\x7fELF"):
                    wanted |= {tuple(map(int, found)) for found in re.findall(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0", content)}
        major, minor = max(wanted)
        assert f"glibc {major}.{minor} or later" in text(archive, "README")

    def test_the_same_sources_make_the_same_archive(self, archive, tmp_path):
        """Built again, from a copy that lies elsewhere, by a process with another seed."""
        for name in ("kubectl_fsm", "release"):
            shutil.copytree(TOP / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(TOP / "LICENSE", tmp_path / "LICENSE")
        env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(tmp_path)}
        env.pop("SOURCE_DATE_EPOCH", None)
        subprocess.run([sys.executable, "-m", "release.bundle", "again"], cwd=tmp_path, env=env, check=True)
        assert (tmp_path / "again" / archive.name).read_bytes() == archive.read_bytes()


class TestProgram:
    def test_through_a_link_without_any_environment_below_a_home_that_is_read_only(self, program, tmp_path):
        before = sorted(path for path in program.parent.rglob("*"))
        link = tmp_path / "bin" / "kubectl-fsm"
        link.parent.mkdir()
        link.symlink_to(program)
        for env in ({}, {"HOME": "/proc", "PATH": str(link.parent)}):
            done = run(link, "rules", "-f", SHOP, env=env)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == run(EXECUTABLE, "rules", "-f", SHOP, env=env).stdout
        assert sorted(path for path in program.parent.rglob("*")) == before

    @pytest.mark.parametrize("verb", [["check"], ["check", "-o", "junit"], ["check", "-o", "sarif"], ["status", "-o", "yaml"],
                                      ["exclusions", "-o", "wide"], ["rules", "-o", "mermaid"]])  # fmt: skip
    def test_it_says_what_the_package_says(self, program, verb):
        ours, theirs = (run(one, *verb, "-f", SHOP) for one in (program, EXECUTABLE))
        assert ours.returncode == theirs.returncode
        assert ours.stderr == theirs.stderr
        assert re.sub('timestamp="[^"]*"', "", ours.stdout) == re.sub('timestamp="[^"]*"', "", theirs.stdout)

    def test_every_verb_is_in_it(self, program):
        top = run(program, "--help").stdout
        verbs = re.findall(r"^  ([a-z-]+)  ", top.partition("Verbs:\n")[2].partition("\n\n")[0], re.MULTILINE)
        assert len(verbs) > 10
        for verb in verbs:
            assert run(program, verb, "--help").stdout == run(EXECUTABLE, verb, "--help").stdout != ""

    def test_ctrl_c(self, program, tmp_path):
        """While it waits for an answer."""
        asked, ended = threading.Event(), threading.Event()

        class Silent(ApiServer):
            def respond(self, request):
                asked.set()
                ended.wait(60)
                return super().respond(request)

        with running(Silent()) as server:
            config = kubeconfig(tmp_path, server.url)
            command = [program, "rules", "web", "-n", "a", "--kubeconfig", str(config)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert asked.wait(60)
            process.send_signal(signal.SIGINT)
            out, complaint = process.communicate(timeout=60)
            ended.set()
        assert (process.returncode, out, complaint) == (130, "", "\ninterrupted\n")

    def test_a_socks_proxy(self, program, tmp_path):
        with running(ApiServer()) as server, running(SocksProxy(server.port)) as proxy:
            config = kubeconfig(tmp_path, "http://127.0.0.1:1", cluster={"proxy-url": f"socks5://{proxy.address}"})
            run(program, "rules", "web", "-n", "a", "--kubeconfig", str(config))
        assert server.requests
        assert set(proxy.asked) == {"127.0.0.1:1"}

    def test_live_progress(self, program, control_plane, fsm):
        """The one thing for which `rich` is there."""
        namespace = fsm.namespace()
        control_plane.apply(workloads.deployment("web", namespace, replicas=1))
        control_plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
        master, slave = pty.openpty()
        env = {**control_plane.path_env, "TERM": "xterm"}
        command = [program, "restart", "deploy/web", "-n", namespace, "--all-pods", "--yes"]
        process = subprocess.Popen(command, env=env, stdin=slave, stdout=subprocess.PIPE, stderr=slave, text=True)
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 65536):
                shown += part
        except OSError:  # that is how a terminal ends
            pass
        out, _ = process.communicate(timeout=60)
        os.close(master)
        assert process.returncode == 0, shown
        assert "done    1/1 verified" in out
        assert "deploy/web" in "\n".join(Screen(2000).feed(shown.decode()).lines)


class TestEnvironment:
    @pytest.mark.parametrize("path", [None, "", "/opt/lib", "/opt/lib:/usr/local/lib"])
    def test_a_credential_plugin_gets_the_users(self, program, tmp_path, path):
        login = tmp_path / "login"
        login.write_text(LOGIN)
        login.chmod(0o755)
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(login),
                         "env": [{"name": "ASKED", "value": "for"}]}}  # fmt: skip
        given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "EDITOR": "vi", "PYTHONPATH": "/x"}
        if path is not None:
            given["LD_LIBRARY_PATH"] = path
        if not path:  # of a bundle that has started this one
            given["LD_LIBRARY_PATH_ORIG"] = "/outer"
        with running(ApiServer()) as server:
            config = kubeconfig(tmp_path, server.url, user)
            done = run(program, "rules", "web", "-n", "a", "--kubeconfig", str(config), env=given)
        assert done.returncode == 1
        assert {one.headers["Authorization"] for one in server.requests} == {"Bearer abc"}
        seen = dict(line.split("=", 1) for line in (tmp_path / "login.environment").read_text().split("\0") if line)
        assert json.loads(seen.pop("KUBERNETES_EXEC_INFO"))["kind"] == "ExecCredential"
        assert seen.pop("ASKED") == "for"
        if not path:
            given.pop("LD_LIBRARY_PATH", None)  # the loader makes no difference between none and an empty one
        assert seen == given

    def test_a_credential_plugin_that_fails(self, program, tmp_path):
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false", "env": [{"name": "X"}]}}
        for change in ({}, {"env": []}, {"command": "/nowhere"}, {"command": None}):
            spec = {"exec": {**user["exec"], **change}}
            config = kubeconfig(tmp_path, "http://127.0.0.1:1", spec)
            ours, theirs = (
                run(one, "rules", "--kubeconfig", str(config), env={"PATH": os.environ["PATH"]})
                for one in (program, EXECUTABLE)
            )
            assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
            assert "credential plugin" in ours.stderr

    def test_the_kernel_is_asked(self, program):
        if lacking := missing():
            give_up(f"no kernel: {lacking} is needed")
        ours, theirs = (
            run(one, "trace", "deploy/web", "svc/redis:6379", "-n", "shop", "-f", SHOP, "--kernel", "-o", "json")
            for one in (program, EXECUTABLE)
        )
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
        assert json.loads(ours.stdout)["kernel"]["trials"]


@pytest.fixture
def alone(program, tmp_path):
    """Runs the program where there is the bundle, and what it says that it needs: no Python, no certificates."""
    if os.geteuid():
        give_up("no kernel: only root may change the root folder")
    root = tmp_path / "root"
    shutil.copytree(program.parent, root / "opt")
    shutil.copytree(SHOP, root / "shop")
    stated = re.search("It needs .*;", (program.parent / "README").read_text())
    files = [program, *program.parent.rglob("*.so*")]
    listed = subprocess.run(["ldd", *files], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        found = re.search(r"(/\S+/([^/ ]+))", line)
        if found and (bundle._OF_GLIBC.match(found[2]) or found[2] in re.split("[ ;]", stated[0])):
            library = root / found[1][1:]
            library.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found[1], library)
            library.chmod(0o755)
    return root, lambda *args: run("chroot", root, "/opt/kubectl-fsm", *args, env={"PATH": os.environ["PATH"]})


class TestOnAnotherMachine:
    def test_it_needs_the_c_library_alone(self, alone):
        _, plugin = alone
        done = plugin("rules", "-f", "/shop")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == run(EXECUTABLE, "rules", "-f", SHOP).stdout

    def test_where_the_system_knows_no_authorities_certifis_are_inside(self, alone):
        root, plugin = alone
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        (known,) = root.rglob("cacert.pem")
        said = []
        with running(ApiServer(context)) as server:
            config = kubeconfig(root, server.url, {"token": "abc"})
            said.append(plugin("rules", "web", "-n", "a", "--kubeconfig", f"/{Path(config).name}").stderr)
            assert server.requests == []
            with known.open("ab") as file:
                file.write(b"\n" + authority.cert_pem.bytes())
            plugin("rules", "web", "-n", "a", "--kubeconfig", f"/{Path(config).name}")
        assert "certificate" in said[0]
        assert server.requests


class TestBuild:
    def test_it_fails_where_something_needs_what_is_left_out(self, tmp_path):
        warnings = tmp_path / "warnings.txt"
        warnings.write_text(
            "excluded module named lzma - imported by shutil (optional)\n"
            "excluded module named pygments - imported by rich.syntax (delayed, top-level)\n"
        )
        bundle._check(warnings)
        warnings.write_text("excluded module named h2 - imported by urllib3.x (delayed), urllib3.connection (top-level)\n")
        with pytest.raises(LookupError, match=r"h2 is left out of the bundle, and imported by urllib3\.x"):
            bundle._check(warnings)

    def test_krew_refuses_links_so_there_are_none(self, tmp_path):
        """As macOS has them: a folder for the version, with a link to it, and links to the library in it."""
        versions = tmp_path / "content" / "Python.framework" / "Versions"
        (versions / "3.11").mkdir(parents=True)
        (versions / "3.11" / "Python").write_text("library")
        (versions / "Current").symlink_to("3.11")
        (versions.parent / "Python").symlink_to("Versions/Current/Python")
        archive = bundle._pack(tmp_path / "content", tmp_path / "x.tar.gz", 0)
        assert all(one.isfile() for one in members(archive))
        folder = "kubectl-fsm/Python.framework"
        assert [one.name for one in members(archive)] == [f"{folder}/Python", f"{folder}/Versions/3.11/Python"]
        assert text(archive, "Python.framework/Python") == "library"

    def test_a_zip_file_for_windows(self, tmp_path):
        (tmp_path / "content" / "lib").mkdir(parents=True)
        (tmp_path / "content" / "lib" / "a").write_text("x")
        made = [bundle._pack(tmp_path / "content", tmp_path / f"{name}.zip", 1_000_000_000) for name in "ab"]
        assert made[0].read_bytes() == made[1].read_bytes()
        with zipfile.ZipFile(made[0]) as packed:
            assert packed.read("kubectl-fsm/lib/a") == b"x"

    def test_it_fails_where_something_has_no_licence(self, tmp_path):
        (tmp_path / "libown.so.1").touch()
        with pytest.raises(LookupError, match=r"libown\.so\.1 is of "):
            licences.of([tmp_path / "libown.so.1"])
