"""`rules --from-injector` on a real API server: what a running injector answers, beside what is predicted."""

import json

import pytest

from tests.cluster.test_eviction import apply
from tests.cluster.test_main_job import PORTS, ready_pods
from tests.support import workloads

INJECTION = "flomesh.io/sidecar-injection"


def asked(plugin, *words, env=None):
    """The items of the report; where that is not so, what was written to stderr."""
    done = plugin.run("rules", *words, "--from-injector", "-o", "json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["items"], done.stderr


def opinion(plugin, *words, env=None):
    (item, *_), err = asked(plugin, *words, env=env)
    return item["fromInjector"], err


def script(plugin, *words):
    done = plugin.run("rules", *words, "--from-injector", "-o", "iptables")
    assert done.returncode == 0, done.stderr
    return done.stdout


def made(control_plane, namespace, name):
    """The script of a pod that was really made."""
    (pod,) = ready_pods(control_plane, namespace, name)
    init = next(one for one in pod["spec"]["initContainers"] if one["name"].endswith("-init"))
    return init["args"][1]


def test_the_next_pod_is_the_one_that_then_comes(control_plane, mesh, fsm_plugin):
    """Of every mesh: asked before there is a pod, and held against the pod that the same injector then makes."""
    shop = mesh.namespace()
    web = workloads.deployment("web", shop, {f"{mesh.flavour.prefix}inbound-port-exclusion-list": "9090"}, replicas=0)
    control_plane.apply(web)
    mesh.set(outboundPortExclusionList=[6379])
    found, err = opinion(fsm_plugin, "deploy/web", "-n", shop)
    name = f"{mesh.flavour.name}-init"
    assert (found["state"], found["same"], found["reason"]) == (
        "injected",
        True,
        f"the next pod gets {name}, as predicted",
    )
    assert (found["differences"], found["notes"], err) == ([], [], "")
    assert control_plane.list("pods", shop) == [], "nothing is kept of the question"
    control_plane.kubectl("scale", "deploy/web", "--replicas=1", "-n", shop)
    assert made(control_plane, shop, "web") == found["script"] == script(fsm_plugin, "deploy/web", "-n", shop)
    assert "--dports 6379 " in found["script"]
    assert "--dports 9090 " in found["script"]


def test_the_block_of_a_pod_and_below_it_the_answer(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop), workloads.stateful_set("db", shop))
    (pod,) = ready_pods(control_plane, shop, "web")
    fsm.set(outboundPortExclusionList=[6379])
    done = fsm_plugin.run("rules", pod["metadata"]["name"], "sts/db", "-n", shop, "--from-injector")
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith(("outbound-port", "Injector", "Apply"))]
    assert [line.split()[:3] for line in shown[::3]] == [["outbound-port", "6379", "pending"]] * 2
    assert shown[1::3] == ["Injector: the next pod gets fsm-init, as predicted"] * 2
    assert shown[2] == f"Apply: kubectl fsm restart deploy/web -n {shop}   # 1 pod"


def test_an_injector_that_is_behind(control_plane, fsm, fsm_plugin, faulty_injector):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    faulty_injector.lag()
    fsm.set(outboundPortExclusionList=[6379])
    found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"], found["differences"]) == ("injected", False, ["-6379 outbound-port"])
    (note,) = found["notes"]
    assert "an older MeshConfig than fsm-mesh-config" in note
    assert note.endswith("kubectl rollout restart deploy/fsm-injector -n fsm-system")
    assert "6379" not in script(fsm_plugin, "deploy/web", "-n", shop), "its own script, and not the prediction"
    faulty_injector.heal()
    assert opinion(fsm_plugin, "deploy/web", "-n", shop)[0]["same"] is True


def test_an_injector_that_has_more_or_another_mode(control_plane, fsm, fsm_plugin, faulty_injector):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    faulty_injector.wrong()
    assert opinion(fsm_plugin, "deploy/web", "-n", shop)[0]["differences"] == ["+1 outbound-port"]
    faulty_injector.wrong(interceptionMode="NodeLevel")
    found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"], found["script"]) == ("no-interception", False, None)
    assert found["reason"] == "the next pod gets a sidecar and no fsm-init, and fsm-init was predicted"
    fsm.set(interceptionMode="NodeLevel")
    found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"]) == ("no-interception", True)


def test_an_injector_of_another_version_than_its_label_says(control_plane, osm, fsm_plugin):
    shop = osm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    label = ("label", "deployment", "osm-injector", "-n", "osm-system", "--overwrite")
    control_plane.kubectl(*label, "app.kubernetes.io/version=v1.0.0")
    try:
        found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    finally:
        control_plane.kubectl(*label, f"app.kubernetes.io/version={osm.flavour.mesh_version}")
    assert (found["state"], found["same"], found["differences"]) == ("injected", False, [])
    (note,) = found["notes"]
    assert note == (
        "these are the rules of osm-1.1 or osm-1.2; it was taken for osm-1.0, since its Deployment is labelled 1.0.0"
    )


def test_what_the_injector_refuses(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {PORTS: "80-90"}))
    found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"], found["script"]) == ("refused", True, None)
    words = f"Invalid port value '80-90' specified for annotation '{PORTS}'"
    assert found["reason"].startswith("it refuses the next pod, as predicted: ")
    assert found["reason"].endswith(words)
    out = script(fsm_plugin, "deploy/web", "-n", shop)
    assert out.startswith("# the injector: it refuses the next pod")
    assert out.count("\n") == 1


def test_what_is_not_injected(control_plane, fsm, fsm_plugin, namespace):
    shop = fsm.namespace()
    control_plane.apply(
        workloads.deployment("web", namespace), workloads.deployment("web", shop, {INJECTION: "disabled"})
    )
    for place in (shop, namespace):
        found, err = opinion(fsm_plugin, "deploy/web", "-n", place)
        assert (found["state"], found["same"], err) == ("not-injected", True, "")
        assert found["reason"].startswith("the next pod gets no sidecar, as predicted: ")


def test_a_webhook_that_is_gone(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/fsm-webhook-fsm"
    kept = control_plane.api("GET", path)
    control_plane.delete(path)
    try:
        control_plane.wait(
            lambda: "fsm-proxy-uuid" not in dry_run(control_plane, shop)["metadata"]["labels"],
            "the API server asks nobody",
        )
        found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    finally:
        back = {"metadata": {"name": kept["metadata"]["name"]}, "webhooks": kept["webhooks"]}
        control_plane.api("POST", path.rpartition("/")[0], back)
        fsm.wait_for_webhook()
    assert (found["state"], found["same"]) == ("not-injected", False)
    (note,) = found["notes"]
    assert note.endswith("kubectl get mutatingwebhookconfigurations has to show fsm-inject.k8s.io")


def dry_run(control_plane, namespace):
    return control_plane.api(
        "POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", workloads.pod("probe", namespace)
    )


def test_an_injector_that_is_down(control_plane, fsm, fsm_plugin, faulty_injector):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    faulty_injector.down()
    found, err = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"]) == ("down", None)
    assert 'failed calling webhook "fsm-inject.k8s.io"' in found["reason"]
    assert "connection refused" in found["reason"]
    assert err.startswith(
        f"warning: deploy/web in {shop}: what the next pod will run is only predicted; of the injector:"
    )
    assert script(fsm_plugin, "deploy/web", "-n", shop).startswith("iptables-restore"), "the prediction"


def test_who_may_not_create_pods(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    rights = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]
    user = {"kind": "User", "name": "oracle-reader", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "oracle-reader"}}
    reference = {"kind": "ClusterRole", "name": "oracle-reader", "apiGroup": "rbac.authorization.k8s.io"}
    control_plane.apply(
        {**role, "kind": "ClusterRole", "rules": rights},
        {**role, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [user]},
    )
    kubeconfig = control_plane.user("oracle-reader")
    may = ("auth", "can-i", "list", "pods", "-n", shop)
    control_plane.wait(
        lambda: control_plane.kubectl(*may, kubeconfig=kubeconfig, check=False).stdout == "yes\n", "the rights count"
    )
    found, err = opinion(fsm_plugin, "deploy/web", "-n", shop, env={"KUBECONFIG": str(kubeconfig)})
    assert (found["state"], found["same"], found["script"]) == ("not-asked", None, None)
    assert 'User "oracle-reader" cannot create resource "pods"' in found["reason"]
    assert found["reason"] in err


def test_other_admission_that_wants_no_such_pod(control_plane, fsm, fsm_plugin):
    """A quota, and Pod Security, which takes offence at what the injector adds: neither is the injector's no."""
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": shop}}
    control_plane.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    control_plane.wait(lambda: control_plane.get("quota", "none", shop).get("status", {}).get("hard"), "it counts")
    found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"]) == ("not-asked", None)
    assert "exceeded quota: none" in found["reason"]
    control_plane.kubectl("delete", "quota", "none", "-n", shop)
    control_plane.kubectl("label", "namespace", shop, "pod-security.kubernetes.io/enforce=baseline")
    control_plane.wait(
        lambda: "violates PodSecurity" in opinion(fsm_plugin, "deploy/web", "-n", shop)[0]["reason"], "the label counts"
    )
    found, err = opinion(fsm_plugin, "deploy/web", "-n", shop)
    assert (found["state"], found["same"]) == ("not-asked", None)
    assert found["reason"] in err


def test_other_admission_that_changes_the_pod(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    group = "admissionregistration.k8s.io/v1"
    policy = {"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "ports"}}
    change = f'Object{{metadata: Object.metadata{{annotations: {{"{PORTS}": "7"}}}}}}'
    spec = {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop}},
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    binding = {"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "ports"}}
    control_plane.apply({**policy, "spec": spec}, {**binding, "spec": {"policyName": "ports"}})
    try:
        control_plane.wait(lambda: PORTS in json.dumps(dry_run(control_plane, shop)["metadata"]), "the policy counts")
        found, _ = opinion(fsm_plugin, "deploy/web", "-n", shop)
    finally:
        control_plane.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", "ports")
    assert (found["same"], found["differences"]) == (False, ["+7 outbound-port"])
    assert found["notes"] == [f"another admission step gave the pod {PORTS}: 7"]


def test_bare_pods(control_plane, fsm, fsm_plugin):
    """By the manifest that one was applied from: the live one would keep its rules."""
    shop = fsm.namespace()
    apply(control_plane, workloads.pod("alone", shop, {PORTS: "80"}))
    control_plane.apply(workloads.pod("stray", shop))
    old = made(control_plane, shop, "alone")
    fsm.set(outboundPortExclusionList=[6379])
    found, _ = opinion(fsm_plugin, "alone", "-n", shop)
    assert (found["state"], found["same"]) == ("injected", True)
    assert "--dports 80 " in old
    assert "--dports 6379,80 " in found["script"]
    found, err = opinion(fsm_plugin, "stray", "-n", shop)
    assert (found["state"], found["same"]) == ("not-asked", None)
    assert "it has no annotation kubectl.kubernetes.io/last-applied-configuration" in found["reason"]
    assert found["reason"] in err


@pytest.mark.usefixtures("fsm")
def test_usage(fsm_plugin):
    for words in (("-A",), ("-l", "app=web"), ()):
        done = fsm_plugin.run("rules", *words, "--from-injector")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: --from-injector is for targets by name\n")
        assert "it issues a certificate each time" in done.stderr
