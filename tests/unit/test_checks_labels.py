"""What checks call an object."""

import pytest

from kubectl_fsm.checks.views import label


@pytest.mark.parametrize(
    ("api_version", "kind", "shown"),
    [
        ("apps/v1", "StatefulSet", "sts/x"),
        ("apps.kruise.io/v1beta1", "StatefulSet", "statefulset.apps.kruise.io/x"),
        ("v1", "Service", "svc/x"),
        ("serving.knative.dev/v1", "Service", "service.serving.knative.dev/x"),
        ("v1", "Namespace", "ns/x"),
        ("config.flomesh.io/v1alpha3", "MeshConfig", "MeshConfig/x"),
    ],
)
def test_a_kind_of_another_group_is_told_from_the_built_in_one(api_version, kind, shown):
    assert label({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}) == shown
