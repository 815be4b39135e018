"""`check` on a real control plane: what it shows before and after an edit, in the forms that CI reads."""

import json
from xml.etree import ElementTree as ET

from tests.cluster.test_main_job import ready_pods
from tests.support import workloads


def test_outdated_pods_in_every_form(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=2))
    ready_pods(control_plane, shop, "web", 2)
    only = ("-n", shop, "--only", "outdated")
    before = fsm_plugin.run("check", *only)
    assert (before.returncode, before.stdout.partition(" (")[0]) == (0, "nothing found in 1 object by 1 check")
    assert fsm_plugin.run("exclude-port", "6379").returncode == 0

    short = fsm_plugin.run("check", *only, "-o", "short")
    assert short.returncode == 1
    (line,) = short.stdout.splitlines()
    assert line.startswith(f"{shop}/deploy/web: warning: outdated: 2 pods (web-")
    assert line.endswith("): +6379 outbound-port")
    assert "1 warning in 1 object by 1 check (" in short.stderr

    named = fsm_plugin.run("check", "deploy/web", *only)
    assert f"deploy/web in {shop} · 2 outdated\n  warning  outdated: 2 pods (web-" in named.stdout
    assert f"           mend: kubectl fsm restart deploy/web -n {shop}\n" in named.stdout

    suites = ET.fromstring(fsm_plugin.run("check", *only, "-o", "junit").stdout)  # noqa: S314 - our own text
    (case,) = suites.iter("testcase")
    assert (case.get("classname"), case.get("name")) == (f"{shop}.deploy/web", "outdated")
    assert case.find("failure").get("message").endswith("): +6379 outbound-port")

    log = json.loads(fsm_plugin.run("check", *only, "-o", "sarif").stdout)
    (result,) = log["runs"][0]["results"]
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == f"{shop}/deploy/web"

    assert fsm_plugin.run("check", *only, "-o", "name").stdout == "deploy/web\n"
    assert fsm_plugin.run("restart", "deploy/web", "-n", shop).returncode == 0
    assert fsm_plugin.run("check", *only).returncode == 0


def test_a_namespace_that_is_not_there_and_one_with_nothing_in_it(control_plane, fsm, fsm_plugin):
    missing = fsm_plugin.run("check", "-n", "no-such-place")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert 'namespaces "no-such-place" not found' in missing.stderr
    shop = fsm.namespace()
    empty = fsm_plugin.run("check", "-n", shop, "-l", "app=web", "--only", "outdated")
    assert empty.returncode == 0
    assert f"no workloads and no pods found in namespace {shop} with labels app=web" in empty.stderr
