"""contrib/k9s: what k9s makes of the file, and that what it runs then does its work."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from kubectl_fsm import commands
from tests.support import workloads
from tests.support.plugin import EXECUTABLE

PLUGINS = yaml.safe_load((Path(__file__).parents[2] / "contrib" / "k9s" / "plugins.yaml").read_text())["plugins"]
VARIABLE = re.compile(r"\$(\w+)")
"""As in k9s, which leaves alone what it does not know: `$1`."""


def argv(name, known):
    """What k9s runs: each argument with what it knows put in."""
    plugin = PLUGINS[name]
    return [
        plugin["command"],
        *(VARIABLE.sub(lambda found: known.get(found[1], found[0]), arg) for arg in plugin["args"]),
    ]


@pytest.mark.parametrize("name", PLUGINS)
def test_no_value_is_read_as_script(name):
    _, script, *values = PLUGINS[name]["args"]
    assert set(VARIABLE.findall(script)) <= {str(number) for number in range(len(values))}
    given = {
        "NAME",
        "NAMESPACE",
        "CONTEXT",
        *(f"INPUT_{one['name'].upper()}" for one in PLUGINS[name].get("inputs", ())),
    }
    assert {f"${one}" for one in given} == set(values[1:])
    assert script.split()[:2] == ["kubectl", "fsm"]
    assert script.split()[2] in commands.VERBS
    assert PLUGINS[name]["scopes"] == ["pods"]
    assert len({one["shortCut"] for one in PLUGINS.values()}) == len(PLUGINS)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("fsm-rules", "OUTBOUND  RULE"),
        ("fsm-check", "nothing found in"),
        ("fsm-trace", "VERDICT"),
        ("fsm-exclude", "outbound-port: [] → [6379]"),
    ],
)
def test_each_does_its_work_on_a_pod(name, shown, fsm, fsm_plugin, tmp_path):
    control_plane, shop = fsm.cluster, fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=1))
    control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop, "--timeout=60s")
    (pod,) = control_plane.list("pods", shop)
    (tmp_path / "kubectl-fsm").symlink_to(EXECUTABLE)
    (tmp_path / "less").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "less").chmod(0o755)
    environment = {**fsm_plugin.environment, "PATH": f"{tmp_path}:{fsm_plugin.environment['PATH']}"}
    context = control_plane.kubectl("config", "current-context").stdout.strip()
    known = {
        "NAME": pod["metadata"]["name"],
        "NAMESPACE": shop,
        "CONTEXT": context,
        "INPUT_TO": "10.9.9.9:443",
        "INPUT_PORTS": "6379",
    }
    done = subprocess.run(argv(name, known), env=environment, capture_output=True, text=True, check=True, input="\n")
    assert shown in done.stdout, done
