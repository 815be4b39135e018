"""What every `Cluster` does: the same tests against an API server and against files that hold the same objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubectl_fsm.cluster import kube, manifests
from kubectl_fsm.cluster.interface import BUILT_IN, DEPLOYMENTS, EVENTS, NAMESPACES, PODS, SERVICES, Cluster, Resource
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, Conflict, NotFound, UsageError

GROUP = "contract.example.com"
WIDGETS = Resource(GROUP, "v1", "Widget", "widgets", True, ("wd",))
FLEETS = Resource(GROUP, "v1", "Fleet", "armada", False, ("fl",))
SPEC = {"ports": [1, 2], "names": ["a"], "nested": {"one": 1, "two": {"three": "3"}}, "text": "it's", "flag": True}
LABELS = {
    "web": {"app": "web", "tier": "front", "cores": "4"},
    "db": {"app": "db", "cores": "16", "tier": ""},
    "batch": {"app": "batch", "example.com/role": "worker_1.x", "cores": "many"},
    "bare": {},
}
"""Of the Services in the first namespace, by name; the second has a `web` too."""


@dataclass(frozen=True)
class World:
    """A cluster with two namespaces of the test's own, `here` and `there`; `cluster.namespace` is `here`."""

    cluster: Cluster
    here: str
    there: str


def definition(resource: Resource) -> dict:
    names = {"kind": resource.kind, "plural": resource.plural, "shortNames": list(resource.short_names)}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = ("v1alpha1", "v1beta1", "v1")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.qualified},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": names | {"singular": resource.kind.lower()},
            "versions": [
                {"name": version, "served": True, "storage": version == "v1", "schema": schema} for version in versions
            ],
        },
    }


def service(name: str, namespace: str, labels: dict) -> dict:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def objects(here: str, there: str) -> list[dict]:
    """Everything but the namespaces and the CRDs."""
    return [
        *(service(name, here, labels) for name, labels in LABELS.items()),
        service("web", there, {"app": "web"}),
        {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": here}, "spec": SPEC},
        {"apiVersion": f"{GROUP}/v1", "kind": "Fleet", "metadata": {"name": f"fleet-{here}"}, "spec": {}},
    ]


def collection(obj: dict) -> str:
    """The path that an object is posted to."""
    root = "/api/v1" if obj["apiVersion"] == "v1" else f"/apis/{obj['apiVersion']}"
    namespace = obj["metadata"].get("namespace")
    plural = {"Service": "services", "Widget": "widgets", "Fleet": "armada"}[obj["kind"]]
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


@pytest.fixture
def over_files(tmp_path) -> World:
    here, there = "here", "there"
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (here, there)]
    everything = [*spaces, definition(WIDGETS), definition(FLEETS), *objects(here, there)]
    for number, obj in enumerate(everything):
        metadata = {**obj["metadata"], "resourceVersion": "7"}
        (tmp_path / f"{number}.yaml").write_text(json.dumps({**obj, "metadata": metadata}, indent=2))
    return World(manifests.read([str(tmp_path)], here, None), here, there)


@pytest.fixture(scope="module")
def served(control_plane):
    """The control plane with the contract's kinds; they go when the module's tests are done."""
    crds = [definition(resource) for resource in (WIDGETS, FLEETS)]
    control_plane.serve(*crds)
    yield control_plane
    for crd in crds:
        control_plane.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}")


@pytest.fixture
def over_server(served, namespace):
    there = served.new_namespace()
    for obj in objects(namespace, there):
        served.api("POST", collection(obj), obj)
    options = ConnectionOptions(kubeconfig=str(served.kubeconfig), namespace=namespace)
    yield World(kube.connect(options), namespace, there)
    served.delete(f"/api/v1/namespaces/{there}")


@pytest.fixture(params=["files", "server"])
def world(request) -> World:
    return request.getfixturevalue(f"over_{request.param}")


def test_get(world):
    found = world.cluster.get(SERVICES, "db", world.here)
    assert (found["apiVersion"], found["kind"]) == ("v1", "Service")
    assert found["metadata"]["namespace"] == world.here
    assert found["metadata"]["labels"] == LABELS["db"]
    assert world.cluster.get(NAMESPACES, world.there)["metadata"]["name"] == world.there
    assert world.cluster.get(FLEETS, f"fleet-{world.here}")["kind"] == "Fleet"


@pytest.mark.parametrize("resource", [SERVICES, PODS, WIDGETS, WIDGETS._replace(plural="gadgets", kind="Gadget")])
@pytest.mark.parametrize("verb", ["get", "patch"])
def test_what_is_not_there(world, resource, verb):
    with pytest.raises(NotFound) as error:
        world.cluster.get(resource, "x", world.here) if verb == "get" else world.cluster.patch(
            resource, "x", world.here, {}
        )
    assert (error.value.status, error.value.reason) == (404, "NotFound")


def test_an_object_is_found_in_its_namespace_only(world):
    with pytest.raises(NotFound):
        world.cluster.get(SERVICES, "db", world.there)


def test_its_namespace(world):
    assert world.cluster.namespace == world.here


def test_list(world):
    found = list(world.cluster.list(SERVICES, world.here))
    assert sorted(obj["metadata"]["name"] for obj in found) == sorted(LABELS)
    assert {(obj["apiVersion"], obj["kind"]) for obj in found} == {("v1", "Service")}
    everywhere = [(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in world.cluster.list(SERVICES)]
    own = sorted(place for place in everywhere if place[0] in (world.here, world.there))
    assert own == sorted([(world.there, "web"), *((world.here, name) for name in LABELS)])
    assert not list(world.cluster.list(PODS, world.here))
    assert f"fleet-{world.here}" in [obj["metadata"]["name"] for obj in world.cluster.list(FLEETS)]


ADDRESSES = {"one": "10.9.9.9", "twin": "10.9.9.9", "longer": "10.9.9.99", "waiting": ""}
"""Of pods, by name; the twin is in the second namespace."""


def pods(here: str, there: str) -> list[dict]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": there if name == "twin" else here},
            "spec": {"containers": [{"name": "app", "image": "app"}], "schedulerName": "nobody"},
            "status": {"podIP": address, "podIPs": [{"ip": address}]} if address else {},
        }
        for name, address in ADDRESSES.items()
    ]


REASONS = {
    "refused": ("ReplicaSet", "FailedCreate"),
    "stuck": ("StatefulSet", "FailedCreate"),
    "scaled": ("ReplicaSet", "SuccessfulCreate"),
}
"""Of events in the first namespace: the kind that it is about, and its reason."""


def events(namespace: str) -> list[dict]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {"kind": kind, "namespace": namespace, "name": "web", "uid": f"uid-of-{name}"},
            "reason": reason,
        }
        for name, (kind, reason) in REASONS.items()
    ]


@pytest.fixture(params=["files", "server"])
def world_with_pods(request, tmp_path) -> World:
    """The same with pods, and events."""
    if request.param == "files":
        found = [*pods("here", "there"), *events("here")]
        (tmp_path / "pods.yaml").write_text("\n---\n".join(map(json.dumps, found)))
        return World(manifests.read([str(tmp_path)], "here", None), "here", "there")
    served, world = request.getfixturevalue("served"), request.getfixturevalue("over_server")
    for pod in pods(world.here, world.there):
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
        served.api("POST", path, pod)
        status = {"status": pod["status"]}
        served.api("PATCH", f"{path}/{pod['metadata']['name']}/status", status, "application/merge-patch+json")
    for event in events(world.here):
        served.api("POST", f"/api/v1/namespaces/{world.here}/events", event)
    return world


FIELD_SELECTORS = {
    "status.podIP=10.9.9.9": "one twin",
    "status.podIP==10.9.9.99": "longer",
    "status.podIP=10.9.9.1": "",
    "status.podIP=": "waiting",
    "status.podIP!=10.9.9.9": "longer waiting",
    "status.podIP=10.9.9.9,metadata.name!=one": "twin",
    "metadata.name=one,status.podIP=10.9.9.99": "",
    ",metadata.name=one,": "one",
}


@pytest.mark.parametrize("selector", FIELD_SELECTORS)
def test_field_selectors(world_with_pods, selector):
    world = world_with_pods
    everywhere = list(world.cluster.list(PODS, field_selector=selector))
    assert {(pod["apiVersion"], pod["kind"]) for pod in everywhere} <= {("v1", "Pod")}
    found = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in everywhere]
    own = sorted(place for place in found if place[0] in (world.here, world.there))
    names = FIELD_SELECTORS[selector].split()
    assert own == sorted((world.there if name == "twin" else world.here, name) for name in names)
    here = world.cluster.list(PODS, world.here, field_selector=selector)
    assert sorted(pod["metadata"]["name"] for pod in here) == sorted(name for name in names if name != "twin")


def test_both_kinds_of_selectors_together(world):
    found = world.cluster.list(SERVICES, world.here, "app in (web,db)", "metadata.name!=web")
    assert [obj["metadata"]["name"] for obj in found] == ["db"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("reason=FailedCreate,involvedObject.kind=ReplicaSet", ["refused"]),
        ("reason=FailedCreate,involvedObject.kind!=ReplicaSet", ["stuck"]),
        ("involvedObject.kind=ReplicaSet", ["refused", "scaled"]),
        ("reason=FailedCreate,involvedObject.uid=uid-of-stuck", ["stuck"]),
    ],
)
def test_events_of_one_sort(world_with_pods, selector, names):
    found = world_with_pods.cluster.list(EVENTS, world_with_pods.here, field_selector=selector)
    assert sorted(event["metadata"]["name"] for event in found) == names


@pytest.mark.parametrize("selector", ["metadata.name", "=one", "metadata.name=a=b", "metadata.name>one"])
def test_what_is_no_field_selector(world, selector):
    with pytest.raises((UsageError, ApiError)) as error:
        list(world.cluster.list(PODS, world.here, field_selector=selector))
    assert getattr(error.value, "status", 400) == 400


SELECTORS = {
    "app=web": "web",
    " app == web ": "web",
    "app": "batch db web",
    "!app": "bare",
    "app!=web": "bare batch db",
    "app in (web,db)": "db web",
    "app notin (web, db)": "bare batch",
    "tier=": "db",
    "tier in (,front)": "db web",
    "app,app!=web": "batch db",
    "app=web,tier=front,!nothing": "web",
    "app=web,app=db": "",
    "cores>4": "db",
    "cores<16": "web",
    "cores>3,cores<17": "db web",
    "example.com/role=worker_1.x": "batch",
}


@pytest.mark.parametrize("selector", SELECTORS)
def test_selectors(world, selector):
    found = sorted(obj["metadata"]["name"] for obj in world.cluster.list(SERVICES, world.here, selector))
    assert found == SELECTORS[selector].split()


def test_selectors_in_all_namespaces(world):
    found = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in world.cluster.list(SERVICES, "", "app=web")
    }
    assert {place for place in found if place[0] in (world.here, world.there)} == {
        (world.here, "web"),
        (world.there, "web"),
    }


NESTED = SPEC["nested"]
MERGES = {
    "nothing": ({}, SPEC),
    "add": ({"new": "x"}, SPEC | {"new": "x"}),
    "add deep": ({"a": {"b": {"c": [1]}}}, SPEC | {"a": {"b": {"c": [1]}}}),
    "replace": ({"text": "yes", "flag": False}, SPEC | {"text": "yes", "flag": False}),
    "replace deep": ({"nested": {"one": 2}}, SPEC | {"nested": NESTED | {"one": 2}}),
    "delete": ({"text": None}, {key: value for key, value in SPEC.items() if key != "text"}),
    "delete deep": ({"nested": {"two": {"three": None}}}, SPEC | {"nested": {"one": 1, "two": {}}}),
    "delete what is not there": ({"other": None}, SPEC),
    "null in what is new": ({"a": {"b": None, "c": 1}}, SPEC | {"a": {"c": 1}}),
    "longer list": ({"ports": [1, 2, 3]}, SPEC | {"ports": [1, 2, 3]}),
    "other list": ({"ports": [9], "names": ["b", "a"]}, SPEC | {"ports": [9], "names": ["b", "a"]}),
    "no list": ({"ports": []}, SPEC | {"ports": []}),
    "list of objects": ({"ports": [{"a": 1}]}, SPEC | {"ports": [{"a": 1}]}),
    "object for text": ({"text": {"a": "b"}}, SPEC | {"text": {"a": "b"}}),
    "text for object": ({"nested": "b"}, SPEC | {"nested": "b"}),
    "one is not true": ({"flag": 1}, SPEC | {"flag": 1}),
}


@pytest.mark.parametrize("case", MERGES)
def test_patch_merges(world, case):
    patch, merged = MERGES[case]
    patched = world.cluster.patch(WIDGETS, "w", world.here, {"spec": patch})
    assert json.dumps(patched["spec"], sort_keys=True) == json.dumps(merged, sort_keys=True)
    assert world.cluster.get(WIDGETS, "w", world.here)["spec"] == merged


def test_patches_add_up(world):
    world.cluster.patch(WIDGETS, "w", world.here, {"spec": {"ports": [3]}, "metadata": {"annotations": {"a/b": "1,2"}}})
    world.cluster.patch(WIDGETS, "w", world.here, {"spec": {"names": []}})
    found = world.cluster.get(WIDGETS, "w", world.here)
    assert found["spec"] == SPEC | {"ports": [3], "names": []}
    assert found["metadata"]["annotations"] == {"a/b": "1,2"}
    listed = list(world.cluster.list(WIDGETS, world.here))
    assert [obj["spec"] for obj in listed] == [found["spec"]]


def test_patch_of_what_has_no_namespace(world):
    name = f"fleet-{world.here}"
    world.cluster.patch(FLEETS, name, "", {"spec": {"a": [1]}})
    assert world.cluster.get(FLEETS, name)["spec"] == {"a": [1]}


def test_a_dry_run_returns_what_would_be_and_changes_nothing(world):
    patched = world.cluster.patch(WIDGETS, "w", world.here, {"spec": {"ports": [3]}}, dry_run=True)
    assert patched["spec"] == SPEC | {"ports": [3]}
    assert world.cluster.get(WIDGETS, "w", world.here)["spec"] == SPEC


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_stale_version_is_a_conflict(world, dry_run):
    with pytest.raises(Conflict) as error:
        world.cluster.patch(
            WIDGETS, "w", world.here, {"metadata": {"resourceVersion": "1"}, "spec": {"ports": []}}, dry_run=dry_run
        )
    assert (error.value.status, error.value.reason) == (409, "Conflict")
    assert world.cluster.get(WIDGETS, "w", world.here)["spec"] == SPEC


def test_the_present_version_is_no_conflict(world):
    version = world.cluster.get(WIDGETS, "w", world.here)["metadata"]["resourceVersion"]
    merge = {"metadata": {"resourceVersion": version}, "spec": {"ports": []}}
    assert world.cluster.patch(WIDGETS, "w", world.here, merge)["spec"] == SPEC | {"ports": []}


def test_preferred_version(world):
    assert world.cluster.preferred_version(GROUP) == "v1"
    assert world.cluster.preferred_version("nothing.example.com") is None


@pytest.mark.parametrize("resource", [*BUILT_IN, WIDGETS, FLEETS], ids=lambda resource: resource.kind)
def test_resource(world, resource):
    assert world.cluster.resource(resource.api_version, resource.kind) == resource


@pytest.mark.parametrize("place", [(f"{GROUP}/v1", "Gadget"), (f"{GROUP}/v9", "Widget"), ("example.org/v1", "Widget")])
def test_resource_that_is_not_served(world, place):
    with pytest.raises(NotFound):
        world.cluster.resource(*place)


NAMED = {
    **dict.fromkeys(("deploy", "Deployment", "deployments", "DEPLOYMENTS", "deployments.apps", "deployment.v1.apps"), DEPLOYMENTS),
    **dict.fromkeys(("po", "pod", "pods", "Pod"), PODS),
    **dict.fromkeys(("ns", "namespaces"), NAMESPACES),
    **dict.fromkeys(("wd", "Widget", "widgets", f"widget.{GROUP}", f"wd.v1.{GROUP}"), WIDGETS),
    **dict.fromkeys(("fl", "fleet", "armada", f"armada.{GROUP}"), FLEETS),
}  # fmt: skip


@pytest.mark.parametrize("text", NAMED)
def test_resource_named(world, text):
    assert world.cluster.resource_named(text) == NAMED[text]


@pytest.mark.parametrize("text", ["", "gadget", "fleets", "deployments.example.com", f"widgets.v9.{GROUP}", "dep"])
def test_resource_that_nobody_knows(world, text):
    with pytest.raises(NotFound):
        world.cluster.resource_named(text)


def test_only_what_is_in_files_has_a_position(world):
    widget = world.cluster.get(WIDGETS, "w", world.here)
    found = world.cluster.position(widget, "spec", "nested", "two", "three")
    if world.cluster.remote:
        assert found is None
    else:
        line = Path(found.file).read_text().splitlines()[found.line - 1]
        assert line[found.column - 1 :] == '"three": "3"'


def test_gather_keeps_the_order(world):
    names = [*LABELS, *reversed(LABELS)] * 3
    calls: list[Callable] = [lambda name=name: world.cluster.get(SERVICES, name, world.here) for name in names]
    assert [obj["metadata"]["name"] for obj in world.cluster.gather(*calls)] == names
    assert list(world.cluster.gather()) == []


def test_gather_raises_the_first_failure(world):
    def misused() -> None:
        raise UsageError("second")

    with pytest.raises(NotFound):
        world.cluster.gather(lambda: 1, lambda: world.cluster.get(SERVICES, "nothing", world.here), misused)
