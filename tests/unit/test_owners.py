"""Whose a pod is, for somebody who may not read all that stands above it."""

import pytest

from kubectl_fsm.cluster.interface import DEPLOYMENTS, PODS
from kubectl_fsm.errors import Forbidden
from kubectl_fsm.operations.owners import Owners, pods_of
from tests.unit.test_guards_offline import deployment
from tests.unit.test_held_edits import Remote, carry_out, meshconfig, running

DENIED = Forbidden(403, "Forbidden", "may not get that")


def owned(obj, kind, name, uid=""):
    api_version = "apps/v1" if kind == "Deployment" else "example.com/v1"
    owner = {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}}


class Denying(Remote):
    """Somebody may neither list nor get objects of one kind."""

    def __init__(self, kind, *objects):
        super().__init__(*objects)
        self.kind = kind

    def get(self, resource, *args):
        if resource.kind == self.kind:
            raise DENIED
        return self.files.get(resource, *args)

    def list(self, resource, *args):
        if resource.kind == self.kind:
            raise DENIED
        return self.files.list(resource, *args)


WEB = deployment()
REPLICAS = owned({**deployment("web-1"), "kind": "ReplicaSet"}, "Deployment", "web")


def pods(cluster, *, readable_only=True):
    owners = Owners(cluster, readable_only=readable_only)
    return pods_of(cluster, owners, owners.of(DEPLOYMENTS, cluster.get(DEPLOYMENTS, "web", "shop")))


@pytest.mark.parametrize("readable_only", [True, False])
def test_pods_whose_replica_set_may_not_be_read_are_not_taken_for_somebody_elses(readable_only):
    cluster = Denying("ReplicaSet", WEB, REPLICAS, running("web-1-x", "ReplicaSet", "web-1"))
    with pytest.raises(Forbidden):
        pods(cluster, readable_only=readable_only)


@pytest.mark.parametrize(
    "words", [["rules", "deploy/web"], ["restart", "deploy/web"], ["trace", "deploy/web", "10.0.0.1:80"]]
)
def test_a_workload_by_name_does_not_pass_for_one_without_pods(words):
    cluster = Denying("ReplicaSet", meshconfig(), WEB, REPLICAS, running("web-1-x", "ReplicaSet", "web-1"))
    with pytest.raises(Forbidden):
        carry_out(cluster, *words, "-n", "shop")


def test_what_an_operator_has_made_may_have_the_same_labels():
    """Nobody can be asked to read the kinds of all operators."""
    stranger = owned(running("db-1"), "Database", "db", "u")
    database = {"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "db", "namespace": "shop"}}
    cluster = Denying("Database", WEB, running("web-1", "Deployment", "web"), database, stranger)
    assert [pod["metadata"]["name"] for pod in pods(cluster)] == ["web-1"]


def test_a_replica_set_that_is_gone_has_no_pods_of_the_workload():
    cluster = Remote(WEB, running("web-1", "ReplicaSet", "gone"))
    assert pods(cluster) == []


@pytest.mark.parametrize("scope", [None, "shop"])
def test_no_secret_is_read_whoever_names_it_as_owner(scope):
    pod = running("web-1")
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "login", "uid": "u", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]

    class Watched(Remote):
        def resource(self, api_version, kind):
            assert kind != "Secret"
            return self.files.resource(api_version, kind)

    cluster = Watched(pod)
    owners = Owners(cluster, readable_only=True)
    if scope:
        owners.prefetch(scope)
    assert owners.of(PODS, pod).label == "secret/login"
