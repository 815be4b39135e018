"""Keeping objects in view, and trying to create them, against a real API server."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from kubectl_fsm.cluster import kube, watching
from kubectl_fsm.cluster.interface import PODS, SERVICES, Resource, View
from kubectl_fsm.cluster.kubeconfig import ConnectionOptions
from kubectl_fsm.errors import ApiError, Conflict, Forbidden, NotFound
from tests.support.control_plane import MERGE_PATCH, ControlPlane

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True, ("cm",))
WIDGETS = Resource("watching.example.com", "v1", "Widget", "widgets")
SECONDS = 10


@pytest.fixture
def cluster(control_plane):
    return connect(control_plane.kubeconfig)


def connect(path, **options):
    return kube.connect(ConnectionOptions(kubeconfig=str(path), **options))


class Maps:
    """The ConfigMaps of a namespace, changed by somebody else."""

    def __init__(self, control_plane, namespace):
        self._api = control_plane.api
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    def add(self, name, **labels):
        return self._api("POST", self._path, {"metadata": {"name": name, "labels": labels}})

    def change(self, name, data="", **labels):
        change = {"metadata": {"labels": labels}, "data": {"text": data}}
        return self._api("PATCH", f"{self._path}/{name}", change, MERGE_PATCH)

    def delete(self, name):
        self._api("DELETE", f"{self._path}/{name}")


@pytest.fixture
def maps(control_plane, namespace):
    return Maps(control_plane, namespace)


def until(states, **wanted):
    """Read on until the only view has objects of these names and texts; return them by name."""
    end = time.monotonic() + SECONDS
    for (objects,) in states:
        found = {obj["metadata"]["name"]: obj for obj in objects}
        if {name: obj.get("data", {}).get("text", "") for name, obj in found.items()} == wanted:
            return found
        assert time.monotonic() < end, found
    raise AssertionError("the generator ended")


def test_objects_come_change_and_go(cluster, namespace, maps):
    maps.add("a", mine="yes")
    with closing(cluster.observe(View(CONFIG_MAPS, namespace, "mine=yes"))) as states:
        (found,) = until(states, a="").values()
        assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
        maps.add("other")
        maps.add("b", mine="yes")
        assert {obj["kind"] for obj in until(states, a="", b="").values()} == {"ConfigMap"}
        maps.change("a", "new")
        until(states, a="new", b="")
        maps.delete("b")
        until(states, a="new")


def test_a_change_of_labels_moves_an_object_into_the_view_and_out_of_it(cluster, namespace, maps):
    maps.add("a")
    with closing(cluster.observe(View(CONFIG_MAPS, namespace, "mine in (yes,y)"))) as states:
        until(states)
        maps.change("a", mine="y")
        until(states, a="")
        maps.change("a", mine="no")
        until(states)


def test_one_object_by_its_name(cluster, namespace, maps):
    maps.add("other")
    with closing(cluster.observe(View(CONFIG_MAPS, namespace, name="a"))) as states:
        until(states)
        maps.add("a")
        before = until(states, a="")
        maps.change("other", "new")
        maps.change("a", "new")
        until(states, a="new")
        maps.delete("a")
        until(states)
        maps.add("a")
        assert until(states, a="")["a"]["metadata"]["uid"] != before["a"]["metadata"]["uid"]


def test_several_views(cluster, namespace, maps):
    views = View(CONFIG_MAPS, namespace, name="a"), View(PODS, namespace), View(CONFIG_MAPS, namespace, "mine=yes")
    with closing(cluster.observe(*views)) as states:
        assert next(states) == [[], [], []]
        maps.add("a", mine="yes")
        end = time.monotonic() + SECONDS
        while [len(objects) for objects in next(states)] != [1, 0, 1]:
            assert time.monotonic() < end


def test_a_list_in_pages(cluster, namespace, maps, monkeypatch):
    monkeypatch.setattr(watching, "PAGE", 2)
    names = {f"m{number}": "" for number in range(5)}
    for name in names:
        maps.add(name, mine="yes")
    with closing(cluster.observe(View(CONFIG_MAPS, namespace, "mine=yes"))) as states:
        until(states, **names)
        maps.delete("m3")
        del names["m3"]
        until(states, **names)


def test_a_watch_goes_on_where_the_server_ended_it(control_plane, namespace, maps, monkeypatch):
    monkeypatch.setattr(watching, "WATCH_SECONDS", 1)
    monkeypatch.setattr(watching, "SHORT_SECONDS", 0.1)
    said = []
    with closing(connect(control_plane.kubeconfig, log=said.append).observe(View(CONFIG_MAPS, namespace))) as states:
        next(states)
        maps.add("early")
        while sum("watch=1" in line for line in said) < 3:
            next(states)
        maps.add("late")
        end = time.monotonic() + SECONDS
        while "late" not in [obj["metadata"]["name"] for obj in next(states)[0]]:
            assert time.monotonic() < end
    assert sum("limit=" in line for line in said) == 1


def test_a_version_that_the_server_has_forgotten(control_plane, namespace, widgets, monkeypatch):
    """A watch from a version before the kind's own beginnings is answered 410; what went meanwhile is gone.

    As long as the server makes room for a new kind it answers watches with 429.
    """
    path = f"/apis/{WIDGETS.api_version}/namespaces/{namespace}/widgets"
    control_plane.api("POST", path, {**widgets, "metadata": {"name": "a"}})
    said, listed = [], watching.Source.listed

    def late(source):
        found, version = listed(source)
        if len(said) > 1:
            return found, version
        control_plane.api("DELETE", f"{path}/a")
        return found, "1"

    monkeypatch.setattr(watching.Source, "listed", late)
    with closing(connect(control_plane.kubeconfig, log=said.append).observe(View(WIDGETS, namespace))) as states:
        until(states, a="")
        until(states)
    lasting = [line for line in said if " 429 in " not in line]
    assert ["limit=" in line for line in lasting[:3]] == [True, False, True]


@pytest.fixture
def widgets(control_plane):
    """A custom resource's kind, as its objects name it."""
    names = {"kind": WIDGETS.kind, "plural": WIDGETS.plural, "singular": "widget"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": WIDGETS.version, "served": True, "storage": True, "schema": schema}
    name = WIDGETS.qualified
    control_plane.serve(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"group": WIDGETS.group, "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )
    yield {"apiVersion": WIDGETS.api_version, "kind": WIDGETS.kind}
    control_plane.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")


def test_the_server_is_killed_and_comes_back(control_plane):
    own = ControlPlane()
    try:
        own._start_storage()
        own._start_api_server()
        own.wait(lambda: own._ready() and own.exists("/api/v1/namespaces/default"), "the API server is ready")
        maps = Maps(own, "default")
        maps.add("a", mine="yes")
        with closing(connect(own.kubeconfig).observe(View(CONFIG_MAPS, "default", "mine=yes"))) as states:
            until(states, a="")
            own.kill_api_server()
            for _ in range(2):
                until(states, a="")
            own.start_api_server()
            maps.delete("a")
            maps.add("b", mine="yes")
            until(states, b="")
    finally:
        own.stop()


def test_nothing_piles_up(cluster, namespace, monkeypatch):
    """Threads end at once, long before a watch ends by itself; the connections of two lists side by side are kept."""
    monkeypatch.setattr(watching, "END_SECONDS", 5)

    def rounds(number):
        for _ in range(number):
            with closing(cluster.observe(View(CONFIG_MAPS, namespace), View(PODS, namespace))) as states:
                next(states)
            assert not [thread for thread in threading.enumerate() if isinstance(thread, watching._Watch)]
        return len(list(Path("/proc/self/fd").iterdir()))

    before = rounds(2)
    assert rounds(50) <= before + 2


@pytest.mark.parametrize(("verbs", "missing"), [([], "list"), (["list"], "watch")], ids=["list", "watch"])
def test_the_missing_right(control_plane, namespace, verbs, missing):
    path = viewer(control_plane, namespace, {"verbs": ["get", *verbs]})
    with closing(connect(path).observe(View(CONFIG_MAPS, namespace))) as states, pytest.raises(Forbidden) as error:
        list(states)
    assert f'cannot {missing} resource "configmaps"' in error.value.message
    assert f"kubectl auth can-i {missing} configmaps -n {namespace}" in error.value.hint


def test_rights_to_one_object_are_enough(control_plane, namespace, maps):
    maps.add("a")
    path = viewer(control_plane, namespace, {"verbs": ["list", "watch"], "resourceNames": ["a"]})
    with closing(connect(path).observe(View(CONFIG_MAPS, namespace, name="a"))) as states:
        until(states, a="")
        maps.change("a", "new")
        until(states, a="new")


def viewer(control_plane, namespace, rule):
    """The kubeconfig of a user who has this right to ConfigMaps, once the server knows that."""
    name, api = f"viewer-{namespace}", "rbac.authorization.k8s.io"
    kubeconfig = control_plane.user(name)
    metadata = {"name": name, "namespace": namespace}
    control_plane.apply(
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], **rule}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
        },
    )
    asked = ("auth", "can-i", rule["verbs"][-1], "configmaps/a", "-n", namespace)
    control_plane.wait(
        lambda: control_plane.kubectl(*asked, kubeconfig=kubeconfig, check=False).stdout == "yes\n", "RBAC knows"
    )
    return kubeconfig


def test_a_kind_that_is_not_served(cluster, namespace):
    gadgets = Resource("nothing.example.com", "v1", "Gadget", "gadgets")
    with closing(cluster.observe(View(gadgets, namespace))) as states, pytest.raises(NotFound):
        next(states)


def test_a_selector_that_is_none(cluster, namespace):
    with closing(cluster.observe(View(PODS, namespace, "a in"))) as states, pytest.raises(ApiError) as error:
        next(states)
    assert error.value.status == 400


class TestTryCreate:
    SERVICE = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}  # noqa: RUF012
    POD = {"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "web", "image": "web"}]}}  # noqa: RUF012

    def test_what_would_be_stored(self, cluster, namespace):
        tried = cluster.try_create(SERVICES, namespace, {**self.SERVICE, "apiVersion": "v1", "kind": "Service"})
        assert tried["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        assert tried["metadata"]["namespace"] == namespace
        assert list(cluster.list(SERVICES, namespace)) == []

    def test_admission_runs(self, cluster, namespace):
        tried = cluster.try_create(PODS, namespace, self.POD)
        assert tried["metadata"]["name"].startswith("web-")
        assert tried["spec"]["serviceAccountName"] == "default"
        assert [volume["name"][:15] for volume in tried["spec"]["volumes"]] == ["kube-api-access"]
        assert [entry["manager"] for entry in tried["metadata"]["managedFields"]] == ["fsm-plugin"]
        assert list(cluster.list(PODS, namespace)) == []

    def test_what_would_be_refused(self, cluster, control_plane, namespace):
        control_plane.api("POST", f"/api/v1/namespaces/{namespace}/services", self.SERVICE)
        with pytest.raises(Conflict):
            cluster.try_create(SERVICES, namespace, self.SERVICE)
        with pytest.raises(ApiError) as error:
            cluster.try_create(PODS, namespace, {"metadata": {"name": "web"}, "spec": {}})
        assert (error.value.status, error.value.reason) == (422, "Invalid")
        with pytest.raises(NotFound):
            cluster.try_create(SERVICES, f"{namespace}-not", self.SERVICE)

    def test_the_missing_right(self, control_plane, namespace):
        with pytest.raises(Forbidden) as error:
            connect(control_plane.user("nobody")).try_create(PODS, namespace, self.POD)
        assert 'cannot create resource "pods"' in error.value.message
        assert f"kubectl auth can-i create pods -n {namespace}" in error.value.hint


class TestThisVeryObject:
    """What is created, deleted and evicted is what the uid says, and nothing else of its name."""

    POD = TestTryCreate.POD | {"metadata": {"name": "web"}}

    def test_create(self, cluster, namespace):
        made = cluster.create(PODS, namespace, self.POD)
        assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["fsm-plugin"]
        assert cluster.get(PODS, "web", namespace)["metadata"]["uid"] == made["metadata"]["uid"]
        with pytest.raises(Conflict):
            cluster.create(PODS, namespace, self.POD)

    @pytest.mark.parametrize("way", ["delete", "evict"])
    def test_another_of_its_name_stays(self, cluster, control_plane, namespace, way):
        uid = cluster.create(PODS, namespace, self.POD)["metadata"]["uid"]

        def go(uid):
            if way == "evict":
                cluster.evict("web", namespace, uid)
            else:
                cluster.delete(PODS, "web", namespace, uid)

        with pytest.raises(Conflict):
            go("another")
        assert cluster.get(PODS, "web", namespace)["metadata"]["uid"] == uid
        go(uid)
        control_plane.wait(lambda: not list(cluster.list(PODS, namespace)), "it is gone")
        with pytest.raises(NotFound):
            go(uid)

    def test_an_eviction_without_room(self, cluster, control_plane, namespace):
        labelled = {**self.POD, "metadata": {"name": "web", "labels": {"app": "web"}}}
        uid = cluster.create(PODS, namespace, labelled)["metadata"]["uid"]
        control_plane.wait(lambda: cluster.get(PODS, "web", namespace)["status"]["phase"] == "Running", "it runs")
        spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
        control_plane.apply({**budget, "metadata": {"name": "web", "namespace": namespace}, "spec": spec})
        with pytest.raises(ApiError) as error:
            cluster.evict("web", namespace, uid)
        assert error.value.status == 429
        assert "disruption budget" in error.value.message
