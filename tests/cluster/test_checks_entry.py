"""The pod's way into the mesh, as a real control plane shows it, and what is told to mend it, carried out."""

import json
import shlex
from contextlib import contextmanager

import pytest

from tests.cluster.test_main_job import ready_pods
from tests.cluster.test_trace import READ, kubeconfig
from tests.support import workloads
from tests.support.api_server import Answer
from tests.support.control_plane import MERGE_PATCH
from tests.support.injector import WEBHOOKS
from tests.support.kubelet import NODE, kubelet

FAILS = "kubectl-fsm.test/init-fails"
HEALTHY = ["deploy/web", "sts/db", "ds/agent"]


def report(plugin, namespace, *words):
    done = plugin.run("check", "-n", namespace, "-o", "json", *words)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def found(plugin, namespace, identity, *words):
    """What one check finds: object, what was seen, what mends it."""
    items = report(plugin, namespace, "--only", identity, *words)["items"]
    return [(item["object"], item["seen"], item["mend"]) for item in items]


def carry_out(control_plane, plugin, line):
    """Type what is told to mend it."""
    for command in line.split(" && "):
        program, *words = shlex.split(command)
        assert program == "kubectl"
        if words[0] == "fsm":
            done = plugin.run(*words[1:], "--yes")
            assert done.returncode == 0, done.stderr
        else:
            control_plane.kubectl(*words)


def path(namespace):
    return f"/api/v1/namespaces/{namespace}"


def say(control_plane, namespace, **metadata):
    control_plane.api("PATCH", path(namespace), {"metadata": metadata}, MERGE_PATCH)


def webhook(mesh):
    return f"{WEBHOOKS}/{mesh.flavour.name}-webhook-{mesh.flavour.name}"


@contextmanager
def changed_webhook(control_plane, mesh, **fields):
    """While the block runs the mesh's webhook has these fields; none: it is not there."""
    there = control_plane.api("GET", webhook(mesh))
    before = {"metadata": {"name": there["metadata"]["name"]}, "webhooks": there["webhooks"]}
    control_plane.delete(webhook(mesh))
    try:
        if fields:
            control_plane.api("POST", WEBHOOKS, {**before, "webhooks": [{**before["webhooks"][0], **fields}]})
        yield before["webhooks"][0]
    finally:
        control_plane.delete(webhook(mesh))
        control_plane.api("POST", WEBHOOKS, before)
        mesh.wait_for_webhook()


def test_nothing_is_found_where_nothing_is_wrong(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    control_plane.apply(
        workloads.deployment("web", shop, replicas=2),
        workloads.stateful_set("db", shop),
        workloads.daemon_set("agent", shop),
        workloads.cron_job("nightly", shop),
    )
    for name, count in (("web", 2), ("db", 1), ("agent", 1)):
        ready_pods(control_plane, shop, name, count)
    whole = report(fsm_plugin, shop, "--severity", "info")
    assert whole["items"] == []
    assert whole["notes"] == []
    assert {one["object"] for one in whole["objects"]} >= {*HEALTHY, "cj/nightly", f"ns/{shop}"}


class TestTheNamespace:
    def test_it_is_labelled_and_its_pods_are_made_anew(self, control_plane, mesh, fsm_plugin):
        key = f"{mesh.flavour.prefix}monitored-by"
        shop = mesh.namespace({key: None})
        control_plane.apply(workloads.deployment("web", shop, replicas=2))
        ready_pods(control_plane, shop, "web", 2)
        ((name, seen, mend),) = found(fsm_plugin, shop, "namespace-unlabelled")
        assert (name, seen) == (f"ns/{shop}", f"the namespace is not labelled {key}")
        carry_out(control_plane, fsm_plugin, mend)
        mesh.wait_for_webhook(shop)
        assert found(fsm_plugin, shop, "namespace-unlabelled") == []
        ((name, seen, mend),) = found(fsm_plugin, shop, "made-before")
        assert name == "deploy/web"
        assert seen.startswith("2 pods (web-")
        carry_out(control_plane, fsm_plugin, mend)
        assert found(fsm_plugin, shop, "made-before") == []
        assert report(fsm_plugin, shop)["items"] == []

    def test_a_mesh_that_is_not_there(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        say(control_plane, shop, labels={f"{mesh.flavour.prefix}monitored-by": "prod"})
        ((_, seen, mend),) = found(fsm_plugin, shop, "namespace-mesh-unknown")
        assert "names mesh 'prod'; what is there is " in seen
        carry_out(control_plane, fsm_plugin, mend)
        assert report(fsm_plugin, shop)["items"] == []

    @pytest.mark.parametrize("choice", [0, 2])
    def test_one_namespace_in_two_meshes(self, control_plane, fsm, osm, fsm_plugin, choice):
        shop = fsm.namespace()
        say(control_plane, shop, labels={"openservicemesh.io/monitored-by": "osm"})
        ((_, _, mend),) = found(fsm_plugin, shop, "namespace-two-meshes")
        carry_out(control_plane, fsm_plugin, mend.partition("; or ")[choice])
        assert found(fsm_plugin, shop, "namespace-two-meshes") == []

    @pytest.mark.parametrize(
        ("metadata", "identity"),
        [
            ({"labels": {"flomesh.io/ignore": "true"}}, "namespace-ignored"),
            ({"annotations": {"flomesh.io/sidecar-injection": "on"}}, "namespace-annotation-refused"),
            ({"annotations": {"flomesh.io/metrics": "on"}}, "namespace-annotation-refused"),
            ({"annotations": {"flomesh.io/sidecar-injection": None}}, "injection-missing"),
        ],
    )
    def test_what_is_told_makes_pods_that_are_injected(self, control_plane, fsm, fsm_plugin, metadata, identity):
        shop = fsm.namespace(**metadata)
        control_plane.apply(workloads.deployment("web", shop, replicas=0))
        ((name, _, mend),) = found(fsm_plugin, shop, identity)
        assert name == f"ns/{shop}"
        carry_out(control_plane, fsm_plugin, mend)
        assert found(fsm_plugin, shop, identity) == []
        fsm.wait_for_webhook(shop)
        control_plane.kubectl("scale", "deploy/web", "--replicas=1", "-n", shop)
        (pod,) = ready_pods(control_plane, shop, "web")
        assert "fsm-proxy-uuid" in pod["metadata"]["labels"]


class TestTheTemplate:
    def test_the_host_network(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        agent = workloads.daemon_set("agent", shop)
        agent["spec"]["template"]["spec"]["hostNetwork"] = True
        control_plane.apply(agent)
        ready_pods(control_plane, shop, "agent")
        ((name, _, mend),) = found(fsm_plugin, shop, "host-network")
        assert name == "ds/agent"
        carry_out(control_plane, fsm_plugin, mend)
        assert report(fsm_plugin, shop, "--severity", "info")["items"] == []

    def test_a_template_from_a_living_pod(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        control_plane.apply(workloads.pod("first", shop))
        (pod,) = ready_pods(control_plane, shop, "first")
        copied = workloads.deployment("copy", shop)
        keep = ("containers", "initContainers", "volumes")
        copied["spec"]["template"]["spec"] = {key: pod["spec"][key] for key in keep}
        control_plane.apply(copied)
        ready_pods(control_plane, shop, "copy")
        ((name, _, mend),) = found(fsm_plugin, shop, "injected-template")
        assert name == "deploy/copy"
        assert mend == "take sidecar-bootstrap-config-volume, fsm-init, sidecar out of the pod template"
        (made,) = control_plane.list("pods", shop, "app=copy")
        assert "fsm-proxy-uuid" not in made["metadata"]["labels"]


def refused(control_plane, kind, name, namespace):
    """An event says that a pod could not be made."""
    fields = f"reason=FailedCreate,involvedObject.kind={kind}"

    def look():
        text = control_plane.kubectl("get", "events", "-n", namespace, "--field-selector", fields, "-o", "json").stdout
        return any(one["involvedObject"]["name"].startswith(name) for one in json.loads(text)["items"])

    control_plane.wait(look, f"pods of {kind} {name} are refused")


class TestRefusedPods:
    def test_by_every_kind_of_controller(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        key = f"{mesh.flavour.prefix}outbound-port-exclusion-list"
        bad = {key: "6379,abc"}
        nightly = workloads.cron_job("nightly", shop, bad)
        control_plane.apply(
            workloads.deployment("web", shop, bad),
            workloads.stateful_set("db", shop, bad),
            workloads.daemon_set("agent", shop, bad),
            workloads.job("once", shop, bad),
            nightly,
        )
        control_plane.kubectl("create", "job", "run", "--from=cronjob/nightly", "-n", shop)
        for kind, name in (("ReplicaSet", "web"), ("StatefulSet", "db"), ("DaemonSet", "agent"), ("Job", "once")):
            refused(control_plane, kind, name, shop)
        refused(control_plane, "Job", "run", shop)
        control_plane.wait(
            lambda: "ReplicaFailure" in json.dumps(control_plane.get("deploy", "web", shop)["status"]), "it is said"
        )
        seen = {name: (text, mend) for name, text, mend in found(fsm_plugin, shop, "pods-refused")}
        assert set(seen) == {"deploy/web", "sts/db", "ds/agent", "job/once", "job/run"}
        words = f"""admission webhook "{mesh.flavour.name}-inject.k8s.io" denied the request: Invalid port value 'abc' specified for annotation '{key}'"""
        assert {text for text, _ in seen.values()} == {
            f"its pods are refused: {words}",
            f"the pods of job/run are refused: {words}",
        }
        assert found(fsm_plugin, shop, "pods-refused-elsewhere") == []
        assert [one[0] for one in found(fsm_plugin, shop, "pods-refused", "cj/nightly")] == ["job/run"]
        for name, app in (("deploy/web", "web"), ("sts/db", "db"), ("ds/agent", "agent")):
            carry_out(control_plane, fsm_plugin, seen[name][1])
            ready_pods(control_plane, shop, app)
        assert {one[0] for one in found(fsm_plugin, shop, "pods-refused")} == {"job/once", "job/run"}

    def test_by_a_quota(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": shop}}
        control_plane.apply({**quota, "spec": {"hard": {"pods": "1"}}})
        control_plane.wait(lambda: control_plane.get("quota", "small", shop).get("status"), "the quota is counted")
        control_plane.apply(workloads.stateful_set("db", shop, replicas=2))
        refused(control_plane, "StatefulSet", "db", shop)
        ((name, seen, mend),) = found(fsm_plugin, shop, "pods-refused-elsewhere")
        assert name == "sts/db"
        assert "exceeded quota: small" in seen
        assert mend == "raise ResourceQuota small: sidecars count as well"
        assert found(fsm_plugin, shop, "pods-refused") == []

    def test_by_pod_security_since_the_init_container_wants_a_right(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace({"pod-security.kubernetes.io/enforce": "baseline"})
        control_plane.apply(workloads.stateful_set("db", shop))
        refused(control_plane, "StatefulSet", "db", shop)
        ((name, seen, mend),) = found(fsm_plugin, shop, "pods-refused-elsewhere")
        assert name == "sts/db"
        assert 'violates PodSecurity "baseline:latest"' in seen
        assert f'container "{mesh.flavour.name}-init"' in seen
        carry_out(control_plane, fsm_plugin, mend)
        ready_pods(control_plane, shop, "db")
        assert found(fsm_plugin, shop, "pods-refused-elsewhere") == []

    def test_while_the_injector_is_away(self, control_plane, fsm, fsm_plugin, faulty_injector):
        shop = fsm.namespace()
        faulty_injector.down()
        control_plane.apply(workloads.deployment("web", shop))
        refused(control_plane, "ReplicaSet", "web", shop)
        control_plane.wait(lambda: found(fsm_plugin, shop, "pods-refused"), "the Deployment says so")
        ((name, seen, mend),) = found(fsm_plugin, shop, "pods-refused")
        assert name == "deploy/web"
        assert 'failed calling webhook "fsm-inject.k8s.io"' in seen
        assert mend == "kubectl describe pods -n fsm-system -l app=fsm-injector"


class TestTheWebhook:
    def test_it_is_gone(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        program = mesh.flavour.name
        with changed_webhook(control_plane, mesh):
            ((name, seen, mend),) = found(fsm_plugin, shop, "webhook-missing")
        assert name == f"MeshConfig/{program}-mesh-config"
        assert seen == f"no MutatingWebhookConfiguration has the webhook {program}-inject.k8s.io of this mesh"
        assert mend == f"kubectl rollout restart deploy/{program}-injector -n {program}-system"
        assert found(fsm_plugin, shop, "webhook-missing") == []

    def test_it_lets_pods_pass(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        with changed_webhook(control_plane, mesh, failurePolicy="Ignore"):
            ((_, seen, _),) = found(fsm_plugin, shop, "webhook-fails-open")
        assert seen == "webhooks[0].failurePolicy is Ignore"
        assert found(fsm_plugin, shop, "webhook-fails-open") == []

    def test_it_holds_no_certificate(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        with changed_webhook(control_plane, fsm, clientConfig={"url": "https://127.0.0.1:1/x"}):
            ((_, seen, _),) = found(fsm_plugin, shop, "webhook-untrusted")
        assert seen == "webhooks[0].clientConfig.caBundle is empty"
        assert found(fsm_plugin, shop, "webhook-untrusted") == []

    def test_it_selects_other_namespaces(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        with changed_webhook(control_plane, mesh, namespaceSelector={"matchLabels": {"team": "a"}}):
            ((name, _, _),) = found(fsm_plugin, shop, "webhook-blind")
            assert name == f"ns/{shop}"
            say(control_plane, shop, labels={"team": "a"})
            assert found(fsm_plugin, shop, "webhook-blind") == []
        assert len(found(fsm_plugin, shop, "webhook-blind")) == 0

    def test_its_service(self, control_plane, fsm, fsm_plugin):
        """With real endpoints of the control plane's pods."""
        shop, services = fsm.namespace(), "/api/v1/namespaces/fsm-system/services"
        service = {"name": "fsm-injector", "namespace": "fsm-system", "port": 9090}
        meta = {"name": "fsm-injector", "namespace": "fsm-system"}

        def seen():
            return [text for _, text, _ in found(fsm_plugin, shop, "webhook-unreachable")]

        def put(**spec):
            control_plane.delete(f"{services}/fsm-injector")
            control_plane.api("POST", services, {"metadata": meta, "spec": spec})

        at = "it is called at svc/fsm-injector in fsm-system: "
        ready_pods(control_plane, "fsm-system", "fsm-injector")
        with changed_webhook(control_plane, fsm, clientConfig={"service": service, "caBundle": "Q0E="}):
            try:
                assert seen() == [f"{at}there is no such Service"]
                put(ports=[{"port": 9090}], selector={"app": "nobody"})
                assert seen() == [f"{at}0 of 0 endpoints are ready"]
                put(ports=[{"port": 443}], selector={"app": "fsm-injector"})
                assert seen() == [f"{at}the Service has no port 9090"]
                put(ports=[{"port": 9090}], selector={"app": "fsm-injector"})
                control_plane.wait(lambda: seen() == [], "the endpoints are known")
                put(type="ExternalName", externalName="localhost")
                assert seen() == []
            finally:
                control_plane.delete(f"{services}/fsm-injector")
        assert seen() == []

    def test_a_program_of_the_control_plane_is_down(self, control_plane, mesh, fsm_plugin):
        shop = mesh.namespace()
        program = mesh.flavour.name
        name = f"{program}-controller"
        where = ("-n", f"{program}-system")
        control_plane.kubectl("scale", f"deploy/{name}", "--replicas=0", *where)
        control_plane.wait(
            lambda: not control_plane.get("deploy", name, where[1])["status"].get("replicas"), "it has no pods"
        )
        ((found_in, seen, mend),) = found(fsm_plugin, shop, "control-plane-down")
        assert (found_in, seen) == (f"deploy/{name}", "it is scaled to 0")
        carry_out(control_plane, fsm_plugin, mend)
        ready_pods(control_plane, where[1], name)
        control_plane.wait(lambda: found(fsm_plugin, shop, "control-plane-down") == [], "it is available")

    def test_who_may_not_see_webhooks_is_told_so(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        kubeconfig(control_plane, f"narrow-{shop}", "fsm-system", READ)
        options = ("--kubeconfig", str(kubeconfig(control_plane, f"narrow-{shop}", shop, READ)))
        whole = report(fsm_plugin, shop, *options)
        assert whole["items"] == []
        (note,) = [note for note in whole["notes"] if "webhook-missing" in note]
        assert "mutatingwebhookconfigurations.admissionregistration.k8s.io is forbidden" in note
        assert "webhook-unreachable" in note


@pytest.fixture(scope="module")
def node(control_plane):
    with kubelet(control_plane) as started:
        yield started


def failing(control_plane, namespace, name, said, **traffic):
    """A Deployment on the node that has logs, whose init container fails and says this in its status."""
    made = workloads.deployment(name, namespace, {FAILS: said})
    made["spec"]["template"]["spec"] |= {"nodeName": NODE, "tolerations": [{"operator": "Exists"}]}
    control_plane.apply(made)

    def look():
        pods = control_plane.list("pods", namespace, f"app={name}")
        return [pod for pod in pods if pod["status"].get("initContainerStatuses")]

    (pod,) = control_plane.wait(look, f"the init container of {name} has failed")
    return pod["metadata"]["name"]


IPTABLES = "iptables-restore v1.8.9 (nf_tables): "
HELP = "\nError occurred at line: 21\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n"


class TestTheInitContainer:
    def test_its_log_is_read_and_the_entry_named(self, control_plane, mesh, fsm_plugin, node):
        shop = mesh.namespace()
        mesh.set(networkInterfaceExclusionList=["a-very-long-interface", "net1"])
        pod = failing(control_plane, shop, "web", "")
        init = f"{mesh.flavour.name}-init"
        words = f"{IPTABLES}interface name `a-very-long-interface' must be shorter than IFNAMSIZ (15)"
        node.log(pod, shop, init, Answer(f"{words}{HELP}".encode()))
        ((name, seen, mend),) = found(fsm_plugin, shop, "init-failed")
        assert (name, mend) == ("deploy/web", "kubectl fsm exclude-interface --remove a-very-long-interface")
        assert seen == (
            f"pod {pod}: Error, exit code 2; log: {words} | Error occurred at line: 21; "
            "iptables does not take interface a-very-long-interface (MeshConfig)"
        )
        carry_out(control_plane, fsm_plugin, mend)
        assert mesh.meshconfig()["spec"]["traffic"]["networkInterfaceExclusionList"] == ["net1"]

    def test_one_log_is_enough_for_pods_that_stand_alike(self, control_plane, fsm, fsm_plugin, node):
        shop = fsm.namespace()
        pods = [failing(control_plane, shop, name, "") for name in ("api", "web")]
        for pod in pods:
            node.log(pod, shop, "fsm-init", Answer(b"iptables: No chain/target/match by that name.\n"))
        node.server.requests.clear()
        seen = found(fsm_plugin, shop, "init-failed")
        assert [name for name, _, _ in seen] == ["deploy/api", "deploy/web"]
        assert all(
            "log: iptables: No chain/target/match by that name.; the node's kernel lacks" in one[1] for one in seen
        )
        assert len(node.server.requests) == 1

    def test_what_its_status_says_needs_no_log(self, control_plane, fsm, fsm_plugin, node):
        shop = fsm.namespace()
        said = f"{IPTABLES}Could not fetch rule set generation id: Permission denied (you must be root)"
        pod = failing(control_plane, shop, "web", said)
        node.server.requests.clear()
        ((_, seen, mend),) = found(fsm_plugin, shop, "init-failed")
        assert seen == (
            f"pod {pod}: Error, exit code 2: {said}; the init container has no right to change rules: it lacks NET_ADMIN"
        )
        assert not node.server.requests
        carry_out(control_plane, fsm_plugin, mend.partition(" && ")[0])
        assert fsm.meshconfig()["spec"]["sidecar"]["enablePrivilegedInitContainer"] is True

    def test_a_log_that_may_not_be_read(self, control_plane, fsm, fsm_plugin, node):
        shop = fsm.namespace()
        failing(control_plane, shop, "web", "")
        read = {"apiGroups": ["", "apps", "batch"], "verbs": ["get", "list"]}
        kinds = ["pods", "events", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs"]
        kubeconfig(control_plane, f"nolog-{shop}", "fsm-system", READ)
        user = kubeconfig(control_plane, f"nolog-{shop}", shop, {**read, "resources": kinds})
        ((_, seen, _),) = found(fsm_plugin, shop, "init-failed", "--kubeconfig", str(user))
        assert "Error, exit code 2; its log may not be read: pods " in seen

    def test_a_pod_that_runs_has_ended_it_well(self, control_plane, fsm, fsm_plugin):
        shop = fsm.namespace()
        control_plane.apply(workloads.deployment("web", shop))
        ready_pods(control_plane, shop, "web")
        assert found(fsm_plugin, shop, "init-failed") == []


def test_pods_from_before_another_mode_and_from_before_another_mesh(control_plane, fsm, osm, fsm_plugin):
    shop = fsm.namespace()
    fsm.set(interceptionMode="NodeLevel", outboundPortExclusionList=[6379])
    control_plane.apply(workloads.deployment("web", shop, {"flomesh.io/inbound-port-exclusion-list": "9090"}))
    ready_pods(control_plane, shop, "web")
    assert len(found(fsm_plugin, shop, "annotations-unused")) == 1
    assert [one[0] for one in found(fsm_plugin, shop, "interception-elsewhere")] == ["MeshConfig/fsm-mesh-config"]
    assert found(fsm_plugin, shop, "init-missing") == []
    ((_, seen, mend),) = found(fsm_plugin, shop, "lists-unused")
    assert seen == "spec.traffic.outboundPortExclusionList holds 6379; mode 'NodeLevel' does not use it"
    carry_out(control_plane, fsm_plugin, f"{mend} -N fsm-system")
    assert found(fsm_plugin, shop, "lists-unused") == []

    ((_, _, mend),) = found(fsm_plugin, shop, "interception-elsewhere")
    carry_out(control_plane, fsm_plugin, mend)
    fsm.wait_for_injector()
    ((_, seen, mend),) = found(fsm_plugin, shop, "init-missing")
    assert seen.endswith("injected, but no init container fsm-init")
    carry_out(control_plane, fsm_plugin, mend)
    assert found(fsm_plugin, shop, "init-missing") == []

    labels = {"flomesh.io/monitored-by": None, "openservicemesh.io/monitored-by": "osm"}
    say(control_plane, shop, labels=labels, annotations={"openservicemesh.io/sidecar-injection": "enabled"})
    osm.wait_for_webhook(shop)
    ((_, seen, mend),) = found(fsm_plugin, shop, "pods-of-another-mesh")
    assert seen.endswith("injected by FSM")
    carry_out(control_plane, fsm_plugin, mend)
    assert found(fsm_plugin, shop, "pods-of-another-mesh") == []
    (pod,) = ready_pods(control_plane, shop, "web")
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["osm-init"]
