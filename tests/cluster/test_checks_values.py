"""What the lists hold, how it drifts and who keeps it, on a real control plane: what is found goes with what is told to mend it."""

import json

import pytest

from tests.cluster.test_checks_entry import carry_out, found
from tests.cluster.test_guards import accepted, argo_application
from tests.cluster.test_main_job import ready_pods
from tests.support import workloads
from tests.support.control_plane import MERGE_PATCH

PREFIX = "flomesh.io/"
OUT, IN = f"{PREFIX}outbound-port-exclusion-list", f"{PREFIX}inbound-port-exclusion-list"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshconfigs.config.flomesh.io"
CONFIG = "MeshConfig/fsm-mesh-config"
CONFIG_NAME = "meshconfigs.config.flomesh.io/fsm-mesh-config"


def mended(control_plane, plugin, shop, identity, *words):
    """Carry out what each finding of a check says mends it, until there is none; returns what was found, and where."""
    seen = []
    while items := found(plugin, shop, identity, *words):
        assert items[0][:2] not in seen, f"not mended: {items[0]}"
        seen.append(items[0][:2])
        carry_out(control_plane, plugin, items[0][2])
    return seen


def refused(control_plane, namespace):
    """The webhook's words in the events of a namespace."""
    return {
        event["message"].partition("denied the request: ")[2]
        for event in control_plane.list("events", namespace)
        if event["reason"] == "FailedCreate"
    }


def test_an_annotation_that_the_real_injector_refuses(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {OUT: "80,,81", IN: "8000-8003,9090"}))
    control_plane.wait(lambda: refused(control_plane, shop), "the ReplicaSet makes no pod")
    (said,) = refused(control_plane, shop)
    seen = mended(control_plane, fsm_plugin, shop, "annotation-refused")
    assert said
    assert said in seen[0][1]
    assert [name for name, _ in seen] == ["deploy/web", "deploy/web"]
    ready_pods(control_plane, shop, "web")
    template = control_plane.get("deploy", "web", shop)["spec"]["template"]["metadata"]["annotations"]
    assert template == {OUT: "80,81", IN: "9090"}


def test_what_iptables_and_a_shell_would_make_of_a_meshconfig(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {OUT: "8080,70001"}, replicas=0))
    fsm.set(
        outboundPortExclusionList=[6379, 70000],
        inboundPortExclusionList=[-5, 15003],
        networkInterfaceExclusionList=["net1", "eth 0", "$(id)", "a\n`id`"],
    )
    seen = mended(control_plane, fsm_plugin, shop, "entry-invalid")
    assert [name for name, _ in seen] == [CONFIG, CONFIG, CONFIG, "deploy/web"]
    seen = mended(control_plane, fsm_plugin, shop, "shell-code")
    assert [text for _, text in seen] == [
        "interface: a shell acts on '$(id)'",
        "interface: a shell acts on 'a\\n`id`'",
    ]
    assert mended(control_plane, fsm_plugin, shop, "port-reserved") == [
        (CONFIG, "inbound-port: 15003 is the sidecar's inbound listener")
    ]
    traffic = fsm.meshconfig()["spec"]["traffic"]
    assert (traffic["outboundPortExclusionList"], traffic["inboundPortExclusionList"]) == ([6379], [])
    assert traffic["networkInterfaceExclusionList"] == ["net1"]


def test_a_mend_of_a_whole_list_does_not_lose_what_came_meanwhile(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    fsm.set(networkInterfaceExclusionList=["eth 0"])
    ((_, _, mend),) = found(fsm_plugin, shop, "entry-invalid")
    fsm.set(networkInterfaceExclusionList=["eth 0", "net1"])
    with pytest.raises(AssertionError, match="test"):
        carry_out(control_plane, fsm_plugin, mend)
    assert fsm.meshconfig()["spec"]["traffic"]["networkInterfaceExclusionList"] == ["eth 0", "net1"]


def test_osms_crd_bounds_what_its_lists_hold_and_lets_code_through(control_plane, osm, fsm_plugin):
    shop = osm.namespace()
    osm.set(outboundIPRangeExclusionList=["$(id)1.1.1.1/32", "10.0.0.0/8"])
    assert mended(control_plane, fsm_plugin, shop, "shell-code") == [
        ("MeshConfig/osm-mesh-config", "outbound-ip: a shell acts on '$(id)1.1.1.1/32'")
    ]
    assert osm.meshconfig()["spec"]["traffic"]["outboundIPRangeExclusionList"] == ["10.0.0.0/8"]


def test_ports_and_the_user_of_the_sidecar(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    web = workloads.deployment("web", shop)
    web["spec"]["template"]["spec"]["containers"][0]["ports"].append({"containerPort": 15003})
    pod = workloads.pod("alone", shop)
    pod["spec"]["securityContext"] = {"runAsUser": 1500}
    control_plane.apply(web, pod, workloads.deployment("good", shop))
    for name in ("web", "alone", "good"):
        ready_pods(control_plane, shop, name)
    ports = found(fsm_plugin, shop, "container-on-reserved-port")
    assert [item[:2] for item in ports] == [
        ("deploy/web", "container web listens on 15003: the sidecar's inbound listener")
    ]
    users = found(fsm_plugin, shop, "runs-as-sidecar")
    assert [item[:2] for item in users] == [("pod/alone", "container alone runs as user 1500, the sidecar's")]


def test_a_mode_that_an_upgrade_left_behind(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    definition = control_plane.api("GET", CRD)
    older = json.loads(json.dumps(definition))
    for version in older["spec"]["versions"]:
        traffic = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["traffic"]
        traffic["properties"]["interceptionMode"] = {"type": "string"}
    older = control_plane.api("PUT", CRD, older)
    try:
        control_plane.wait(
            lambda: accepted(fsm, "Unsupported value", interceptionMode="iptables"), "the older CRD is in force"
        )
        ((_, before, _),) = found(fsm_plugin, shop, "mode-not-allowed")
        assert "fsm 1.5.1 (fsm-system) has PodLevel or NodeLevel" in before, "the release, where the CRD takes any"
    finally:
        definition["metadata"]["resourceVersion"] = older["metadata"]["resourceVersion"]
        control_plane.api("PUT", CRD, definition)
    assert mended(control_plane, fsm_plugin, shop, "mode-not-allowed") == [
        (
            CONFIG,
            "interceptionMode is 'iptables', and the CRD takes PodLevel or NodeLevel; with it new pods get no init container",
        )
    ]
    assert fsm.meshconfig()["spec"]["traffic"]["interceptionMode"] == "PodLevel"


def test_the_charts_preset_against_the_live_meshconfig(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    traffic = mesh.meshconfig()["spec"]["traffic"]
    preset = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "preset-mesh-config", "namespace": mesh.flavour.namespace},
        "data": {"preset-mesh-config.json": json.dumps({"traffic": traffic})},
    }
    control_plane.apply(preset)
    try:
        assert found(fsm_plugin, shop, "preset-differs") == []
        mesh.set(outboundPortExclusionList=[6379])
        ((name, seen, mend),) = found(fsm_plugin, shop, "preset-differs")
        assert (name, seen) == (
            f"MeshConfig/{mesh.flavour.meshconfig_name}",
            "the preset would install outbound-port [] in the place of [6379]",
        )
        assert "6379" in fsm_plugin.run(*mend.split()[2:]).stdout
    finally:
        control_plane.kubectl("delete", "configmap", "preset-mesh-config", "-n", mesh.flavour.namespace)


def test_outdated_pods_and_their_restart(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    control_plane.apply(workloads.deployment("web", shop, replicas=2), workloads.stateful_set("db", shop))
    ready_pods(control_plane, shop, "web", 2)
    ready_pods(control_plane, shop, "db")
    assert found(fsm_plugin, shop, "outdated") == []
    mesh.set(outboundPortExclusionList=[6379])
    seen = mended(control_plane, fsm_plugin, shop, "outdated")
    assert [(name, text.partition(": ")[2]) for name, text in seen] == [
        ("deploy/web", "+6379 outbound-port"),
        ("sts/db", "+6379 outbound-port"),
    ]
    assert seen[0][1].startswith("2 pods (web-")


def test_an_annotation_that_somebody_wrote_to_a_pod(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    key = f"{mesh.flavour.prefix}outbound-port-exclusion-list"
    control_plane.apply(workloads.deployment("web", shop, {key: "22"}, replicas=2))
    pods = ready_pods(control_plane, shop, "web", 2)
    assert found(fsm_plugin, shop, "annotation-stray") == []
    name = pods[0]["metadata"]["name"]
    control_plane.kubectl("annotate", "pod", name, "-n", shop, "--overwrite", f"{key}=22,8080")
    ((where, seen, mend),) = found(fsm_plugin, shop, "annotation-stray")
    assert (where, seen) == (
        f"pod/{name}",
        f"pod {name}: annotation {key}: 22,8080 is not on the template of deploy/web",
    )
    assert mend == f"kubectl fsm exclude-port 8080 --workload=deploy/web -n {shop}"
    carry_out(control_plane, fsm_plugin, mend)
    control_plane.kubectl("rollout", "status", "deploy/web", "-n", shop, "--timeout=60s")
    assert control_plane.get("deploy", "web", shop)["spec"]["template"]["metadata"]["annotations"] == {key: "22,8080"}
    control_plane.wait(lambda: not found(fsm_plugin, shop, "annotation-stray"), "the old pods are gone")


def test_lists_in_the_wrong_place_and_by_the_wrong_name(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    web = workloads.deployment("web", shop, {"openservicemesh.io/outbound-port-exclusion-list": "8080"})
    web["metadata"]["annotations"] = {IN: "9090"}
    nightly = workloads.cron_job("nightly", shop, {f"{PREFIX}oubound-port-exclusion-list": "22"})
    api = workloads.deployment("api", shop, {f"{PREFIX}outbound-port-inclusion-list": "1"})
    control_plane.apply(web, nightly, api)
    space = f"/api/v1/namespaces/{shop}"
    control_plane.api("PATCH", space, {"metadata": {"annotations": {OUT: "7070"}}}, MERGE_PATCH)
    for identity, names in {
        "annotation-other-mesh": ["deploy/web"],
        "annotation-misspelt": ["cj/nightly"],
        "annotation-unread": ["deploy/api"],
        "annotation-misplaced": ["deploy/web"],
        "list-on-namespace": [f"ns/{shop}"],
    }.items():
        assert [name for name, _ in mended(control_plane, fsm_plugin, shop, identity)] == names
    web, api = (control_plane.get("deploy", name, shop)["spec"]["template"] for name in ("web", "api"))
    nightly = control_plane.get("cj", "nightly", shop)["spec"]["jobTemplate"]["spec"]["template"]
    assert web["metadata"]["annotations"] == {OUT: "8080,7070", IN: "9090"}
    assert api["metadata"]["annotations"] == {OUT: "7070"}
    assert nightly["metadata"]["annotations"] == {OUT: "22,7070"}


def applied(control_plane, manager, obj):
    control_plane.kubectl(
        "apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(obj)
    )


def part(obj, **more):
    """Only what makes an object this one, as a manager applies that has the rest elsewhere."""
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"]} | more


def test_two_field_managers_of_one_list(control_plane, mesh, fsm_plugin):
    shop = mesh.namespace()
    key = f"{mesh.flavour.prefix}outbound-port-exclusion-list"
    web = workloads.deployment("web", shop, {key: "22"})
    config = mesh.meshconfig()
    metadata = {"name": config["metadata"]["name"], "namespace": config["metadata"]["namespace"]}
    lists = part(config, metadata=metadata, spec={"traffic": {"outboundPortExclusionList": [6379]}})
    applied(control_plane, "ci", web)
    applied(control_plane, "ci", lists)
    assert found(fsm_plugin, shop, "two-managers") == []
    annotated = part(
        web,
        metadata={"name": "web", "namespace": shop},
        spec={"template": {"metadata": {"annotations": {key: "22"}}}},
    )
    for obj in (annotated, lists):
        applied(control_plane, "team", obj)
    seen = found(fsm_plugin, shop, "two-managers")
    assert [name for name, _, _ in seen] == [f"MeshConfig/{mesh.flavour.meshconfig_name}", "deploy/web"]
    for _, text, mend in seen:
        assert text.startswith("outbound-port is owned by ")
        assert {"ci", "team"} <= set(text.split())
        assert mend.startswith("take it out of what ")
    applied(control_plane, "team", part(web, metadata=annotated["metadata"]))
    applied(control_plane, "team", part(config, metadata=metadata))
    assert found(fsm_plugin, shop, "two-managers") == []


def test_flux_and_an_edit_beside_it(control_plane, fsm, fsm_plugin):
    shop = fsm.namespace()
    web = workloads.deployment("web", shop, {OUT: "22"})
    web["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    applied(control_plane, "kustomize-controller", web)
    assert [item[:2] for item in found(fsm_plugin, shop, "kept-elsewhere")] == [
        ("deploy/web", "outbound-port: Flux (apps) owns this very field and would take the edit back")
    ]
    assert found(fsm_plugin, shop, "edited-beside-keeper") == []
    done = fsm_plugin.run("exclude-port", "--inbound", "8080", "--workload=deploy/web", "-n", shop, "--yes")
    assert done.returncode == 0, done.stderr
    ((name, seen, _),) = found(fsm_plugin, shop, "edited-beside-keeper")
    assert (name, seen.startswith("inbound-port was written by fsm-plugin (")) == ("deploy/web", True)
    assert seen.endswith("; Flux (apps) keeps this object, without this field")
    web["spec"]["template"]["metadata"]["annotations"][IN] = "8080"
    applied(control_plane, "kustomize-controller", web)
    assert [name for name, _, _ in found(fsm_plugin, shop, "two-managers")] == ["deploy/web"]


@pytest.mark.parametrize("heals", [True, False])
def test_argo_cd(control_plane, fsm, fsm_plugin, heals):
    shop = fsm.namespace()
    argo_application(control_plane, shop, heals=heals)
    tracking = {"argocd.argoproj.io/tracking-id": f"{shop}:config.flomesh.io/MeshConfig:fsm-system/fsm-mesh-config"}
    control_plane.api("PATCH", fsm.flavour.meshconfig_path, {"metadata": {"annotations": tracking}}, MERGE_PATCH)
    assert found(fsm_plugin, shop, "kept-elsewhere") == []
    patch = '{"spec":{"traffic":{"outboundPortExclusionList":[6379]}}}'
    control_plane.kubectl("patch", CONFIG_NAME, "-n", "fsm-system", "--type=merge", "-p", patch)
    heal = "heals this object itself and may take the edit back" if heals else "keeps this object"
    ((_, seen, _),) = found(fsm_plugin, shop, "kept-elsewhere")
    assert seen == f"outbound-port: Argo CD (application {shop}) {heal}"
    ((name, seen, _),) = found(fsm_plugin, shop, "edited-beside-keeper")
    assert (name, seen.startswith("outbound-port was written by kubectl-patch (")) == (CONFIG, True)
    assert seen.endswith(f"; Argo CD (application {shop}) {heal}")
