"""Whose pods, whose mesh, whose object: what an edit must never take for something else."""

import sys

import pytest

from kubectl_fsm import cli
from kubectl_fsm.cluster.failures import Asker, Call, failure
from kubectl_fsm.cluster.interface import DEPLOYMENTS, Resource
from kubectl_fsm.cluster.kubeconfig import Access
from kubectl_fsm.errors import MeshError, Refused
from kubectl_fsm.operations import hints
from kubectl_fsm.operations.owners import Located, Workload
from kubectl_fsm.reports import ListChange
from tests.unit.test_guards_offline import FULL, NAMESPACE, OUT, deployment, meshconfig, pod, template
from tests.unit.test_held_edits import OLD, WEB, Remote, carry_out


def second_mesh():
    other = meshconfig(outboundPortExclusionList=list(range(1, 16)))
    return {**other, "metadata": {**other["metadata"], "namespace": "fsm2-system"}}


def test_marks_that_two_meshes_share_do_not_tell_which_is_meant():
    """Two meshes of one family inject alike; with the Namespace unread, nothing says whose the pods are."""
    cluster = Remote(meshconfig(), second_mesh(), deployment(), pod("web-1", OLD, ("Deployment", "web")))
    with pytest.raises(MeshError, match=r"fsm in fsm-system, fsm in fsm2-system"):
        carry_out(cluster, "exclude-port", "8080", *WEB)
    assert cluster.patches == []


def test_where_no_mesh_is_the_hint_is_of_use():
    """With -N it may be elsewhere; without, every namespace was looked at, and an uninstalled mesh leaves its kinds."""
    with pytest.raises(
        MeshError, match=r"no MeshConfig in namespace shop \(config.flomesh.io/v1alpha3 is"
    ) as elsewhere:
        carry_out(Remote(meshconfig()), "exclude-port", "8080", "-N", "shop")
    assert elsewhere.value.hint == "see where there is one: kubectl get meshconfigs.config.flomesh.io -A"
    rest = {**meshconfig(), "kind": "MeshRootCertificate"}
    with pytest.raises(MeshError, match=r"no MeshConfig in any namespace \(config.flomesh.io/v1alpha3 is") as nowhere:
        carry_out(Remote(rest), "exclude-port", "8080")
    assert nowhere.value.hint == "check --context, or install the mesh first"


def spark():
    driver = pod("driver", OLD, uid="d")
    executor = pod("exec-1", OLD, annotations={OUT: FULL}, uid="e")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "driver", "uid": "d", "controller": True}
    executor["metadata"]["ownerReferences"] = [reference]
    return [driver, executor]


def test_a_pod_that_a_pod_makes_is_neither_edited_nor_forgotten():
    cluster = Remote(meshconfig(), NAMESPACE, *spark())
    with pytest.raises(Refused, match=r"pod/exec-1 .* its owner Pod driver makes it without a pod template"):
        carry_out(cluster, "exclude-port", "8080", "--pod=exec-1", "-n", "shop")
    with pytest.raises(Refused, match=r"16 outbound ports, .* \(shop/exec-1\)"):
        carry_out(cluster, "exclude-port", "6379")
    assert cluster.patches == []


def test_pods_whose_owner_shows_no_template_count_one_by_one():
    pods = [pod("k-0", OLD, ("PodSet", "k")), pod("k-1", OLD, ("PodSet", "k"), annotations={OUT: FULL})]
    owner = {"apiVersion": "apps/v1", "kind": "PodSet", "metadata": {"name": "k", "namespace": "shop"}}
    with pytest.raises(Refused, match=r"1 pod \(shop/k-1\)"):
        carry_out(Remote(meshconfig(), NAMESPACE, owner, *pods), "exclude-port", "6379")


def test_a_replica_set_and_a_suspended_job_without_pods_count():
    for kind, version in (("ReplicaSet", "apps/v1"), ("Job", "batch/v1")):
        maker = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}}
        maker["spec"] = {"template": template({OUT: FULL})}
        with pytest.raises(Refused, match=r"the next pods of (rs|job)/x in shop"):
            carry_out(Remote(meshconfig(), NAMESPACE, maker), "exclude-port", "6379")


KRUISE = Resource("apps.kruise.io", "v1beta1", "StatefulSet", "statefulsets", True, ("sts", "asts"))
ROLLOUT = Resource("argoproj.io", "v1alpha1", "Rollout", "rollouts", True, ("ro",))


def workload(resource, name="db"):
    located = Located(
        resource,
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name, "namespace": "shop"}},
    )
    return Workload(located, located)


def test_a_kind_of_another_group_is_not_called_as_the_built_in_one_is():
    assert KRUISE.label == "statefulset.apps.kruise.io"
    assert (DEPLOYMENTS.label, ROLLOUT.label) == ("deploy", "rollout")
    assert hints.apply(workload(KRUISE), []) == "kubectl fsm restart statefulset.apps.kruise.io/db -n shop --evict"
    assert hints.follow(KRUISE, "x", []) == ""
    assert hints.apply(workload(DEPLOYMENTS), ["--context=a b"]) == (
        "kubectl fsm restart deploy/db -n shop '--context=a b'"
    )


def test_a_template_that_another_workload_uses_is_rolled_by_that_one():
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"workloadRef": reference}}
    rollout["metadata"] = {"name": "canary", "namespace": "shop"}
    cluster = Remote(meshconfig(), NAMESPACE, deployment(), rollout)
    report, _ = carry_out(cluster, "exclude-port", "80", "--workload=rollout/canary", "-n", "shop")
    assert report.consequence == "rollout/canary uses this pod template and rolls it out"


def test_rubbish_in_another_list_is_no_error_after_the_write():
    cluster = Remote(meshconfig(networkInterfaceExclusionList=[5]), NAMESPACE, pod("web-1", OLD))
    report, _ = carry_out(cluster, "exclude-port", "80")
    assert (report.result, report.outdated) == ("edited", 1)


@pytest.mark.parametrize("name", ["x;touch PWNED;$(id)", "x y", "`id`"])
def test_no_name_in_a_hint_is_a_command(name):
    asker = Asker("https://x", "ann", impersonated=name)
    for code in (403, 404, 422):
        hint = failure(code, b"{}", Call("get", "deployments.apps", name, name), asker).hint
        assert (
            name not in hint.replace(f"'{name}'", "").replace(f"'deployments.apps/{name}'", "").partition("check:")[2]
        )
    assert hints.apply(workload(DEPLOYMENTS, name), []) == f"kubectl fsm restart 'deploy/{name}' -n shop"


def test_a_line_break_in_a_list_is_no_line_of_a_question():
    assert str(ListChange("interface", ["a\nGo on? [y/N] y"], ["b"])) == "['a\\nGo on? [y/N] y'] → [b]"


@pytest.mark.parametrize("argv", [["rules", "web\udcff"], ["rules", "-l", "a=\udcff"], ["rules", "-v=" + "9" * 5000]])
def test_words_that_are_no_text_or_no_number(capsys, argv):
    assert cli.main(argv) == 2
    assert "this should not happen" not in capsys.readouterr().err


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("no_proxy", "server", "through"),
    [
        ("", "https://api.test", True),
        ("*", "https://api.test", False),
        ("foo,*", "https://api.test", False),
        ("api.test", "https://api.test", False),
        ("test", "https://api.test", False),
        (".test", "https://api.test", False),
        ("*.test", "https://api.test", False),
        (".test", "https://test", True),
        ("pi.test", "https://api.test", True),
        ("API.test", "https://Api.TEST:6443", False),
        ("api.test:443", "https://api.test", False),
        ("api.test:443", "https://api.test:6443", True),
        ("10.0.0.0/8", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://11.1.2.3", True),
        ("fd00::1", "https://[fd00::1]:6443", False),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", False),
        ("fd00::/8", "https://[fd00::1]", False),
        ("", "https://127.0.0.1:6443", False),
        ("", "https://localhost", False),
    ],
)
def test_no_proxy_as_go_reads_it(monkeypatch, no_proxy, server, through):
    monkeypatch.setenv("https_proxy", PROXY)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", no_proxy)
    assert Access("c", "n", {"server": server}, "u", {}).proxy == (PROXY if through else "")


def test_rules_of_a_name_look_at_its_namespace_too(monkeypatch, capsys, tmp_path):
    import yaml  # noqa: PLC0415

    outside = {**NAMESPACE, "metadata": {"name": "shop"}}
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all([meshconfig(), outside, deployment()]))
    monkeypatch.setattr(sys, "argv", ["kubectl-fsm", "rules", "deploy/web", "-f", str(path)])
    assert cli.main() == 0
    assert "NOT-INJECTED" in capsys.readouterr().out
