"""check asks the real injector about what is named, and about everything only where that is wanted."""

import json

import pytest

from tests.cluster.test_trace import READ, kubeconfig
from tests.support import workloads

ASKING = "injector-refuses,injector-differs"


def check(plugin, *words, env=None):
    done = plugin.run("check", *words, "-o", "json", env=env)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == bool(report["items"])
    return report


def found(report):
    return [(item["check"], item["object"]) for item in report["items"]]


@pytest.fixture
def shop(control_plane, fsm):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=0), workloads.deployment("api", shop, replicas=0))
    return shop


def test_an_injector_that_agrees(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=0))
    mesh.set(outboundPortExclusionList=[6379])
    report = check(fsm_plugin, "deploy/web", "-n", shop, "--only", ASKING)
    assert (report["items"], report["notes"]) == ([], [])
    looked = next(one for one in report["objects"] if one["object"] == "deploy/web")
    assert looked["checks"] == ASKING.split(",")


def test_a_target_is_asked_about_and_a_namespace_only_on_request(fsm, fsm_plugin, shop):
    with fsm.faulty_injector() as injector:
        injector.wrong()
        assert ("injector-differs", "deploy/web") in found(check(fsm_plugin, "deploy/web", "-n", shop))
        assert "injector-differs" not in dict(found(check(fsm_plugin, "-n", shop)))
        report = check(fsm_plugin, "-n", shop, "--from-injector")
        assert {("injector-differs", "deploy/web"), ("injector-differs", "deploy/api")} <= {*found(report)}
        injector.down()
        report = check(fsm_plugin, "deploy/web", "-n", shop, "--only", ASKING)
    assert found(report) == [("injector-refuses", "deploy/web")]
    assert "gives no answer" in report["items"][0]["seen"]


def test_who_may_not_make_pods_is_told_that_the_injector_was_not_asked(control_plane, fsm, fsm_plugin, shop):
    kubeconfig(control_plane, f"reader-{shop}", "fsm-system", READ)
    env = {"KUBECONFIG": str(kubeconfig(control_plane, f"reader-{shop}", shop, READ))}
    report = check(fsm_plugin, "deploy/web", "-n", shop, "--only", ASKING, env=env)
    assert report["items"] == []
    (note,) = [note for note in report["notes"] if ASKING.replace(",", ", ") in note]
    assert "it could not be asked: pods is forbidden" in note
