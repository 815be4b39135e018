"""What is configured anywhere, as `exclusions` finds it in a cluster."""

import pytest

from kubectl_fsm.cluster.interface import REPLICASETS, SERVICES
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.reports import Warned, Writer
from tests.unit.test_guards_offline import IN, NAMESPACE, OUT, PREFIX, deployment, meshconfig, pod
from tests.unit.test_held_edits import Remote, carry_out, cron_job, running

RANGES = f"{PREFIX}outbound-ip-range-exclusion-list"


def found(*objects, words=("-A",)):
    """Scope, object, namespace, (list, value, note) and note of everything configured; what was said."""
    report, events = carry_out(Remote(*objects), "exclusions", *words)
    items = [
        (item.scope, item.object, item.namespace, [tuple(entry) for entry in item.entries], item.note)
        for item in report.items
    ]
    return items, events


def test_a_meshconfig_with_what_is_odd_about_it():
    config = meshconfig(
        "NodeLevel",
        outboundPortExclusionList=[80, True, "x", 70000],
        inboundPortExclusionList=None,
        networkInterfaceExclusionList=[5, "a b"],
    )
    del config["spec"]["traffic"]["outboundIPRangeInclusionList"]
    config["metadata"]["managedFields"] = [
        {"manager": "ann", "time": "then", "fieldsV1": {"f:spec": {"f:traffic": {"f:outboundPortExclusionList": {}}}}}
    ]
    report, _ = carry_out(Remote(config), "exclusions", "-A")
    (item,) = report.items
    assert (item.scope, item.object, item.namespace) == ("global", "MeshConfig/fsm-mesh-config", "fsm-system")
    assert [(entry.list, entry.value, entry.note.partition(":")[0]) for entry in item.entries] == [
        ("outbound-port", "80", ""),
        ("outbound-port", "True", "not a port"),
        ("outbound-port", "x", "not a port"),
        ("outbound-port", "70000", "keeps new pods from starting, or is not safe"),
        ("interface", "5", "not a network interface"),
        ("interface", "a b", "keeps new pods from starting, or is not safe"),
    ]
    assert item.note.startswith(
        "inboundPortExclusionList, outboundIPRangeInclusionList are missing or null; "
        "not used: interceptionMode NodeLevel adds no init container; FSM's version is not shown"
    )
    assert item.writers == {"outbound-port": Writer("ann", "then")}


@pytest.mark.parametrize(("mode", "said"), [("", "interceptionMode (none)"), ("PodLevel", "")])
def test_a_mode_is_only_named_where_lists_do_nothing(mode, said):
    note = found(meshconfig(mode, inboundPortExclusionList=None))[0][0][4]
    assert note.startswith("inboundPortExclusionList is missing or null; ")
    assert ("not used" in note) is bool(said)
    assert said in note


def test_a_template_with_what_is_odd_about_it():
    wrong = "openservicemesh.io/inbound-port-exclusion-list"
    web = deployment(annotations={OUT: "80,,70000", wrong: "1", "other": "x"})
    step = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {f"f:{OUT}": {}}}}}}
    web["metadata"]["managedFields"] = [{"manager": "ann", "time": "then", "fieldsV1": step}]
    report, _ = carry_out(Remote(meshconfig(), NAMESPACE, deployment("plain"), web), "exclusions", "-n", "shop")
    _, item = report.items
    assert (item.scope, item.object, item.namespace, item.note) == ("template", "deploy/web", "shop", "")
    assert [tuple(entry) for entry in item.entries] == [
        ("outbound-port", "80", ""),
        ("outbound-port", "", "the injector refuses the pod for it"),
        (
            "outbound-port",
            "70000",
            "keeps new pods from starting, or is not safe: '70000' is not a port from 1 to 65535",
        ),
        ("inbound-port", "1", f"does nothing under FSM: the key {wrong} is another mesh's"),
    ]
    assert item.writers == {"outbound-port": Writer("ann", "then")}


def test_lists_that_an_old_injector_does_not_read_do_nothing():
    config = meshconfig()
    config |= {"apiVersion": "config.openservicemesh.io/v1alpha2"}
    config["metadata"] = {"name": "osm-mesh-config", "namespace": "osm-system"}
    del config["spec"]["traffic"]["interceptionMode"]
    labels = {"app": "osm-injector", "app.kubernetes.io/version": "v1.0.0"}
    injector = deployment("osm-injector")
    injector["metadata"] |= {"namespace": "osm-system", "labels": labels}
    key = "openservicemesh.io/outbound-ip-range-exclusion-list"
    (_, web), _ = found(config, injector, deployment(annotations={key: "10.0.0.0/8"}))
    assert web[3] == [("outbound-ip", "10.0.0.0/8", "does nothing: injector osm-1.0 does not read it")]


def test_annotations_of_pods_that_their_template_does_not_have():
    web = deployment(annotations={OUT: "80", RANGES: "10.0.0.0/8"})
    cron = cron_job()
    cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["annotations"] = {IN: "5"}
    same, stray, alone = running("web-1"), running("web-2"), pod("alone", uid="alone")
    same["metadata"]["annotations"] = {OUT: "80", "other": "x"}
    stray["metadata"]["annotations"] = {OUT: "81", RANGES: "10.0.0.0/8", IN: "7"}
    alone["metadata"]["annotations"] = {IN: "9"}
    items, events = found(meshconfig(), NAMESPACE, web, cron, same, stray, alone)
    own = "not on deploy/web's template; goes with the pod"
    assert events == []
    assert items[1:] == [
        ("template", "cj/nightly", "shop", [("inbound-port", "5", "")], ""),
        ("template", "deploy/web", "shop", [("outbound-port", "80", ""), ("outbound-ip", "10.0.0.0/8", "")], ""),
        ("pod", "pod/web-2", "shop", [("outbound-port", "81", ""), ("inbound-port", "7", "")], own),
        ("pod", "pod/alone", "shop", [("inbound-port", "9", "")], "a bare pod"),
    ]


def test_a_meshconfig_that_is_whole_needs_no_word():
    config = meshconfig()
    labels = {"app": "fsm-injector", "app.kubernetes.io/version": "1.5.1"}
    injector = deployment("fsm-injector")
    injector["metadata"] = {"name": "fsm-injector", "namespace": "fsm-system", "labels": labels}
    assert found(config, injector)[0] == [("global", "MeshConfig/fsm-mesh-config", "fsm-system", [], "")]


def test_files_without_a_meshconfig_show_their_templates_alone():
    class Files(Remote):
        remote = False

    report, _ = carry_out(Files(deployment(annotations={OUT: "80"})), "exclusions", "-A")
    assert [item.object for item in report.items] == ["deploy/web"]


def test_with_two_meshes_a_template_is_read_as_the_one_of_its_namespace_does():
    osm = meshconfig() | {"apiVersion": "config.openservicemesh.io/v1alpha2"}
    osm["metadata"] = {"name": "osm-mesh-config", "namespace": "osm-system"}
    label = {"name": "shop", "labels": {"openservicemesh.io/monitored-by": "osm"}}
    web = deployment(annotations={"openservicemesh.io/inbound-port-exclusion-list": "80"})
    items, _ = found(meshconfig(), osm, {**NAMESPACE, "metadata": label}, web)
    assert items[2] == ("template", "deploy/web", "shop", [("inbound-port", "80", "")], "")


def test_asked_about_one_of_two_meshes_what_is_in_the_others_is_not_shown():
    osm = meshconfig() | {"apiVersion": "config.openservicemesh.io/v1alpha2"}
    osm["metadata"] = {"name": "osm-mesh-config", "namespace": "osm-system"}
    away = {"name": "away", "labels": {"openservicemesh.io/monitored-by": "osm"}}
    key = "openservicemesh.io/inbound-port-exclusion-list"
    web, theirs = deployment(annotations={OUT: "80"}), deployment("theirs", annotations={key: "80"})
    theirs["metadata"]["namespace"] = "away"
    items, _ = found(
        meshconfig(), osm, NAMESPACE, {**NAMESPACE, "metadata": away}, web, theirs, words=("-A", "-N", "fsm-system")
    )
    assert [item[1] for item in items] == ["MeshConfig/fsm-mesh-config", "deploy/web"]


def test_who_wrote_the_annotation_of_a_pod_and_of_a_service():
    def written(obj, key):
        step = {"f:metadata": {"f:annotations": {f"f:{key}": {}}}}
        obj["metadata"] |= {"annotations": {key: "5"}}
        obj["metadata"]["managedFields"] = [{"manager": "ann", "time": "then", "fieldsV1": step}]
        return obj

    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"}}
    objects = [written(running("web-1"), IN), written(service, f"{PREFIX}service-exclusion")]
    report, _ = carry_out(Remote(meshconfig(), NAMESPACE, deployment(), *objects), "exclusions", "-A")
    ann = Writer("ann", "then")
    assert [item.writers for item in report.items[1:]] == [{"inbound-port": ann}, {"service": ann}]


def test_what_fsm_leaves_out_of_routing_without_a_rule():
    key = f"{PREFIX}service-exclusion"
    metadata = {"name": "db", "namespace": "shop", "annotations": {key: "TRUE"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    plain = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}
    listed = {"name": "cart", "annotations": {f"{key}-list": "a,b"}}
    items, _ = found(meshconfig(), service, plain, {"apiVersion": "v1", "kind": "Namespace", "metadata": listed})
    without = "of routing, without a rule"
    assert items[1:] == [
        ("service", "svc/db", "shop", [("service", "TRUE", "")], f"annotation {key}: FSM leaves it out {without}"),
        (
            "namespace",
            "ns/cart",
            "",
            [("service", "a,b", "")],
            f"annotation {key}-list: FSM leaves these Services out {without}",
        ),
    ]


def test_what_may_not_be_listed_is_named_and_the_rest_shown():
    cluster = Remote(meshconfig(), NAMESPACE, deployment(annotations={OUT: "80"}))
    listed = cluster.files.list

    def refuse(resource, *args, **kwargs):
        if resource in (SERVICES, REPLICASETS):
            raise Forbidden(403, "Forbidden", "no")
        return listed(resource, *args, **kwargs)

    cluster.list = refuse
    report, events = carry_out(cluster, "exclusions", "-n", "shop")
    assert [item.object for item in report.items] == ["MeshConfig/fsm-mesh-config", "deploy/web"]
    assert events == [Warned("without the right to list replicasets.apps, services, what they configure is not shown")]
