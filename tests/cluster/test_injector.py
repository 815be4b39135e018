"""Injectors in a cluster: FSM 1.5's written a second time in Go, the stand-in beside it, and the stand-in's faults."""

import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kubectl_fsm.errors import InvalidExclusion
from kubectl_fsm.generator import render
from tests.support import workloads
from tests.support.control_plane import MERGE_PATCH, ApiFailure
from tests.support.injector import BOOTSTRAP_VOLUME
from tests.unit.test_injector_script import annotations, modes, traffic

METRICS = "flomesh.io/metrics"
INJECTION = "flomesh.io/sidecar-injection"
PORTS = "flomesh.io/outbound-port-exclusion-list"
EXAMPLES = 60
DENIED = 'admission webhook "fsm-inject.k8s.io" denied the request: '


def create(cluster, namespace, pod, *, dry_run=True):
    """The pod as the API server makes it; raises `ApiFailure`."""
    pod = {**pod, "metadata": {**pod["metadata"], "generateName": "pod-", "name": None}}
    query = "?dryRun=All" if dry_run else ""
    return cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod)


def script(pod):
    (init,) = pod["spec"]["initContainers"]
    return init["args"][1]


def answer(cluster, namespace, pod_annotations, *, dry_run):
    """The script for a new pod, or the words with which it is refused."""
    try:
        made = create(cluster, namespace, workloads.pod("web", namespace, pod_annotations), dry_run=dry_run)
    except ApiFailure as error:
        return "", json.loads(str(error).partition(": ")[2])["message"]
    return script(made), ""


def expected(pod_annotations, spec):
    try:
        return render("fsm-1.5", pod_annotations, spec), ""
    except InvalidExclusion as error:
        return "", f"{DENIED}{error}"


def test_what_the_cluster_makes_of_random_lists_is_what_the_generator_says(control_plane, fsm, figure):
    """MeshConfig and annotations through a real API server, and pods from a running injector that is not in Python."""
    namespace = fsm.namespace()
    compared = {"script": 0, "refusal": 0}

    # Smaller examples of a difference are for the unit test to find: here each may wait until time is up.
    @settings(max_examples=EXAMPLES, phases=[Phase.generate])
    @given(traffic, modes, st.lists(st.tuples(annotations, st.booleans()), min_size=3, max_size=5))
    def agree(lists, mode, pods):
        spec = {"traffic": lists, "sidecar": {"localProxyMode": mode}}
        control_plane.api("PATCH", fsm.flavour.meshconfig_path, {"spec": spec}, MERGE_PATCH)
        fsm.wait_for_injector()
        stored = fsm.meshconfig()["spec"]
        for pod_annotations, dry_run in pods:
            made, words = answer(control_plane, namespace, pod_annotations, dry_run=dry_run)
            wanted = expected(pod_annotations, stored)
            assert words == wanted[1]
            assert made == wanted[0]
            compared["refusal" if words else "script"] += 1

    agree()
    figure(f"cluster with the second writing: {compared['script']} scripts, {compared['refusal']} refusals identical")
    assert compared["script"] > EXAMPLES / 2
    assert compared["refusal"] > EXAMPLES / 10


@pytest.fixture(params=["in Go", "stand-in"])
def either(request, fsm):
    """The mesh under either injector: what they decide is one contract."""
    if request.param == "stand-in":
        request.getfixturevalue("faulty_injector")
    return fsm


def with_volume(pod):
    pod["spec"]["volumes"] = [{"name": BOOTSTRAP_VOLUME, "emptyDir": {}}]


def on_the_host_network(pod):
    pod["spec"]["hostNetwork"] = True


def annotated(key, value):
    return lambda pod: pod["metadata"]["annotations"].update({key: value})


def unchanged(_):
    pass


@pytest.mark.parametrize(
    ("metadata", "change", "outcome"),
    [
        ({}, unchanged, "injected"),
        ({}, with_volume, "left"),
        ({}, on_the_host_network, "left"),
        ({}, annotated(INJECTION, "No"), "left"),
        ({"annotations": {INJECTION: None}}, unchanged, "left"),
        ({"annotations": {INJECTION: "FALSE"}}, unchanged, "left"),
        ({"annotations": {INJECTION: "disabled"}}, annotated(INJECTION, "Yes"), "injected"),
        ({"annotations": {INJECTION: "on"}}, annotated(INJECTION, "no"), f'key "{INJECTION}": on'),
        ({}, annotated(INJECTION, ""), f'key "{INJECTION}": '),
        ({"annotations": {METRICS: "Enabled"}}, unchanged, "injected"),
        ({"annotations": {METRICS: ""}}, unchanged, "injected"),
        ({"annotations": {METRICS: "on"}}, unchanged, f'key "{METRICS}": on'),
        ({"annotations": {METRICS: "on"}}, annotated(INJECTION, "no"), "left"),
        ({}, annotated(METRICS, "on"), "injected"),
        ({"labels": {"flomesh.io/ignore": ""}}, unchanged, "left"),
        ({"labels": {"control-plane": "x"}}, unchanged, "left"),
        ({"labels": {"flomesh.io/monitored-by": "other"}}, unchanged, "left"),
        ({}, annotated(PORTS, ""), f"Invalid port value '' specified for annotation '{PORTS}'"),
    ],
)
def test_which_pods_are_injected(control_plane, either, metadata, change, outcome):
    namespace = either.namespace(**metadata)
    pod = workloads.pod("web", namespace)
    change(pod)
    if outcome in {"injected", "left"}:
        made = create(control_plane, namespace, pod)
        injected = outcome == "injected"
        names = [one["name"] for one in made["spec"].get("initContainers", []) + made["spec"]["containers"]]
        assert names == (["fsm-init", "web", "sidecar"] if injected else ["web"])
        assert ("fsm-proxy-uuid" in made["metadata"]["labels"]) is injected
    else:
        with pytest.raises(ApiFailure) as refused:
            create(control_plane, namespace, pod)
        message = json.loads(str(refused.value).partition(": ")[2])["message"]
        said = outcome if outcome.startswith("Invalid") else f"Invalid annotation value for {outcome}"
        assert message == DENIED + said


def test_the_injectors_make_the_same_pod(control_plane, fsm):
    """Field for field; but for what no two pods have in common."""
    namespace = fsm.namespace()
    pod = workloads.pod("web", namespace)
    pod["spec"]["initContainers"] = [{"name": "own", "image": "example.com/init:1"}]
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]

    def made():
        found = create(control_plane, namespace, pod)
        for unlike in ("name", "uid", "creationTimestamp", "managedFields"):
            del found["metadata"][unlike]
        assert len(found["metadata"]["labels"].pop("fsm-proxy-uuid")) == 36
        for volume in found["spec"]["volumes"]:
            volume["name"] = volume["name"].partition("kube-api-access-")[0]
        for container in found["spec"]["containers"] + found["spec"]["initContainers"]:
            container.pop("volumeMounts", None)
        return found

    by_program = made()
    assert [one["name"] for one in by_program["spec"]["initContainers"]] == ["own", "fsm-init"]
    with fsm.faulty_injector():
        assert made() == by_program


def test_node_level_reads_no_list_and_adds_nothing_but_the_label(control_plane, either):
    either.set(interceptionMode="NodeLevel")
    namespace = either.namespace(annotations={METRICS: "on"})
    made = create(control_plane, namespace, workloads.pod("web", namespace, {PORTS: "bad"}))
    assert "initContainers" not in made["spec"]
    assert [container["name"] for container in made["spec"]["containers"]] == ["web"]
    assert BOOTSTRAP_VOLUME not in [volume["name"] for volume in made["spec"]["volumes"]]
    assert "fsm-proxy-uuid" in made["metadata"]["labels"]


def ports(control_plane, namespace, *, dry_run=True):
    """The outbound ports that a new pod's script leaves alone."""
    said = script(create(control_plane, namespace, workloads.pod("web", namespace), dry_run=dry_run))
    return [line.split()[-3] for line in said.splitlines() if "_OUTBOUND -p tcp --match multiport" in line]


def test_a_stand_in_that_lags(control_plane, fsm, faulty_injector):
    namespace = fsm.namespace()
    fsm.set(outboundPortExclusionList=[1])
    faulty_injector.lag(2)
    fsm.set(outboundPortExclusionList=[2])
    kinds = (True, False, True, False)
    seen = [ports(control_plane, namespace, dry_run=dry_run) for dry_run in kinds]
    assert seen == [["1"], ["1"], ["2"], ["2"]]
    faulty_injector.lag()
    fsm.set(outboundPortExclusionList=[3])
    assert [ports(control_plane, namespace, dry_run=dry_run) for dry_run in kinds] == [["2"]] * 4
    faulty_injector.heal()
    assert ports(control_plane, namespace) == ["3"]


def test_a_stand_in_that_lags_but_for_dry_runs(control_plane, fsm, faulty_injector):
    namespace = fsm.namespace()
    faulty_injector.lag(2, real_only=True)
    fsm.set(outboundPortExclusionList=[2])
    seen = [ports(control_plane, namespace, dry_run=dry_run) for dry_run in (True, False, True, False, False)]
    assert seen == [["2"], [], ["2"], [], ["2"]]


def test_a_pod_that_is_not_injected_is_no_pod_that_a_lag_counts(control_plane, fsm, faulty_injector):
    namespace = fsm.namespace()
    faulty_injector.lag(1)
    fsm.set(outboundPortExclusionList=[2])
    create(control_plane, namespace, workloads.pod("web", namespace, {INJECTION: "no"}))
    assert [ports(control_plane, namespace) for _ in range(2)] == [[], ["2"]]


def test_a_stand_in_that_is_wrong(control_plane, fsm, faulty_injector):
    namespace = fsm.namespace()
    fsm.set(outboundPortExclusionList=[2])
    faulty_injector.wrong()
    assert ports(control_plane, namespace, dry_run=False) == ["1"]
    faulty_injector.wrong(outboundPortExclusionList=[])
    assert ports(control_plane, namespace) == []
    faulty_injector.heal()
    assert ports(control_plane, namespace) == ["2"]


def test_a_stand_in_that_is_down(control_plane, fsm, faulty_injector):
    namespace = fsm.namespace()
    faulty_injector.down()
    for dry_run in (True, False):
        with pytest.raises(ApiFailure, match=r"failed calling webhook.*connection refused") as failed:
            create(control_plane, namespace, workloads.pod("web", namespace), dry_run=dry_run)
        assert failed.value.status == 500
    faulty_injector.heal()
    assert ports(control_plane, namespace) == []


def test_the_program_is_back_after_a_stand_in(control_plane, fsm):
    """Even where the block fails while the stand-in is down; with the MeshConfig of now."""
    namespace = fsm.namespace()

    def fails():
        with fsm.faulty_injector() as stand_in:
            stand_in.lag()
            stand_in.down()
            fsm.set(outboundPortExclusionList=[2])
            raise ZeroDivisionError

    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            fails()
        assert ports(control_plane, namespace) == ["2"]
