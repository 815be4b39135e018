"""Completion as kubectl and a shell ask for it: the real kubectl, the real bash, the real API server."""

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import time
from codecs import getincrementaldecoder
from pathlib import Path

import pytest

from kubectl_fsm.commands.completion import FILE
from tests.support import workloads
from tests.support.plugin import EXECUTABLE
from tests.support.rbac import User, said

SHOP = Path(__file__).parents[2] / "examples" / "shop"
PROMPT = "your turn> "
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


@pytest.fixture
def installed(fsm_plugin, control_plane, tmp_path):
    """The environment of a user who has installed plugin and completion into a folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl-fsm").symlink_to(EXECUTABLE)
    environment = {**fsm_plugin.environment, "PATH": f"{folder}:{fsm_plugin.environment['PATH']}"}
    done = subprocess.run(
        ["kubectl", "fsm", "completion", "install"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{folder / FILE} written\n")
    return environment


def asked(environment, *words):
    """What kubectl hands on to a shell: each word with what it is, and the directive."""
    done = subprocess.run(
        ["kubectl", "__complete", "fsm", *words], env=environment, capture_output=True, text=True, check=True
    )
    *lines, directive = done.stdout.splitlines()
    return dict(line.partition("\t")[::2] for line in lines), directive


def test_through_kubectl(installed, fsm, control_plane):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=1))
    control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop, "--timeout=60s")
    (pod,) = control_plane.list("pods", shop)
    here = ("-n", shop)
    assert asked(installed, "ru") == ({"rules": "show the effective rules of pods, and why"}, ":4")
    assert asked(installed, "rules", *here, "") == ({pod["metadata"]["name"]: "Pod", "deploy/web": "Deployment"}, ":4")
    assert asked(installed, "exclude-port", *here, "--pod", "web") == ({pod["metadata"]["name"]: "pod"}, ":4")
    assert asked(installed, "rules", "--namespace=" + shop) == ({shop: "mesh fsm"}, ":4")
    assert asked(installed, "rules", "-f", "") == ({}, ":0")


def test_what_is_configured_now(installed, fsm, fsm_plugin, control_plane):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=1))
    before, _ = asked(installed, "exclude-port", "--remove", "")
    assert fsm_plugin.run("exclude-port", "6390").returncode == 0
    try:
        found, _ = asked(installed, "exclude-port", "--remove", "")
        assert found == before | {"6390": "MeshConfig fsm-mesh-config"}
        scope = ("--workload=deploy/web", "-n", shop)
        assert fsm_plugin.run("exclude-ip", "10.9.0.0/16", *scope).returncode == 0
        assert asked(installed, "exclude-ip", "--remove", *scope, "") == ({"10.9.0.0/16": "deploy/web"}, ":4")
    finally:
        fsm_plugin.run("exclude-port", "--remove", "6390")


def test_in_bash(installed, fsm, control_plane):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=1))
    with Bash(installed) as bash:
        bash.type(f"kubectl fsm rules -n {shop} deploy/w\t")
        bash.wait_for(f"rules -n {shop} deploy/web ")
        for typed, completed in (
            ("exclude-p", "exclude-port "),
            ("rules --output=j", "--output=json "),
            (f"trace -f {SHOP} deploy/web svc/red", "svc/redis:6379 "),
        ):
            bash.type(f"\x15kubectl fsm {typed}\t")
            bash.wait_for(completed)
        bash.type(f"\x15kubectl fsm check -f {SHOP} --only init-failed,outda\t\n")
        bash.wait_for(" by 2 checks ")


def test_a_credential_plugin_asks_nobody(installed, tmp_path):
    """It has neither the terminal nor standard input, whatever it tries, and the shell is not kept waiting."""
    plugin = tmp_path / "login"
    plugin.write_text(
        "#!/bin/sh\n"
        f"echo asked > {tmp_path}/trace\n"
        "echo PASSWORD >&2; (echo PASSWORD > /dev/tty; read -r answer < /dev/tty) 2>/dev/null; read -r answer\n"
        "exit 1\n"
    )
    plugin.chmod(0o755)
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "IfAvailable"}
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"exec": login}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    with Bash(installed | {"KUBECONFIG": str(tmp_path / "config")}) as bash:
        bash.type("kubectl fsm rules \t\x15echo do''ne\n")
        assert "PASSWORD" not in bash.wait_for("done")
    assert (tmp_path / "trace").read_text() == "asked\n"


class Bash:
    """An interactive bash on a pseudo-terminal, set up as kubectl's own help says."""

    def __init__(self, environment):
        self._environment, self._shown, self._decode = environment, "", getincrementaldecoder("utf-8")().decode

    def __enter__(self):
        if not BASH_COMPLETION.exists():
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"{BASH_COMPLETION} is needed; as root `make packages` installs it")
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execve(shutil.which("bash"), ["bash", "--norc"], {**self._environment, "TERM": "dumb", "PS1": PROMPT})  # noqa: S606 - on the terminal that was made for it
        self.type(f"source {BASH_COMPLETION}; source <(kubectl completion bash); echo re''ady\n")
        self.wait_for(f"ready\r\n{PROMPT}")  # before that the terminal itself would act on keys
        return self

    def __exit__(self, *_):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def type(self, keys):
        os.write(self._terminal, keys.encode())

    def wait_for(self, text):
        deadline = time.monotonic() + 60
        while text not in self._shown:
            assert select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))[0], self._shown
            self._shown += self._decode(os.read(self._terminal, 4096))  # which may end within a character
        shown, self._shown = self._shown, ""
        return shown


def told(environment, *words):
    """What the program itself answers to a shell; it always ends well, and says nothing else."""
    done = subprocess.run(
        ["kubectl-fsm", "__complete", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr == ""
    return done.stdout


def test_nothing_on_errors(installed, fsm, tmp_path):
    shop = fsm.namespace()
    nowhere = installed | {"KUBECONFIG": str(tmp_path / "none")}
    (tmp_path / "broken").write_text("a: [")
    broken = installed | {"KUBECONFIG": str(tmp_path / "broken")}
    assert told(installed, "rules", "--nonsense", "") == ":4\n"
    assert told(installed, "rules", "--context=nowhere", "-n", shop, "") == ":4\n"
    assert told(nowhere, "rules", "-n", "") == ":4\n"
    assert told(broken, "rules", "--context", "") == ":4\n"


def test_who_may_list_pods_alone_is_offered_them(installed, fsm):
    control_plane, shop = fsm.cluster, fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=1))
    control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop, "--timeout=60s")
    (pod,) = control_plane.list("pods", shop)
    user = User(control_plane)
    user.grant([said(f"list pods in {shop}")])
    assert told(installed | user.environment, "rules", "-n", shop, "") == f"{pod['metadata']['name']}\tPod\n:4\n"


def test_a_server_that_never_answers(installed, tmp_path):
    """Even one that is to be waited for: the shell is not kept."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": address}}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        waiting = installed | {"KUBECONFIG": str(tmp_path / "config")}
        assert told(waiting, "rules", "") == ":4\n"
        assert told(waiting, "rules", "--request-timeout=0", "") == ":4\n"
