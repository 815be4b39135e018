"""Who else keeps an object (Argo CD, Flux, Helm), and who wrote a field last."""

import pytest

from kubectl_fsm.errors import Forbidden, NotFound
from kubectl_fsm.operations.ownership import keepers, writers
from kubectl_fsm.reports import Writer

PATH = ("spec", "traffic", "outboundPortExclusionList")
OWNED = {"f:spec": {"f:traffic": {"f:outboundPortExclusionList": {}}}}
BESIDE = {"f:spec": {"f:traffic": {"f:inboundPortExclusionList": {}}, "f:sidecar": {}}}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps"}
FLUX_HELM = {"helm.toolkit.fluxcd.io/name": "mesh"}
HELM = {"app.kubernetes.io/managed-by": "Helm"}
RELEASE = {"meta.helm.sh/release-name": "fsm"}
TRACKING = {"argocd.argoproj.io/tracking-id": "mesh:apps/Deployment:shop/web"}
INSTANCE = {"argocd.argoproj.io/instance": "team_mesh"}


class Cluster:
    """One that has these Argo CD applications, or answers with an error."""

    def __init__(self, answer=()):
        self.answer = answer

    def resource_named(self, text):
        assert text == "applications.argoproj.io"
        if isinstance(self.answer, NotFound):
            raise self.answer

    def list(self, _):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def obj(labels=None, annotations=None, **managed):
    entries = [{"manager": name.replace("_", "-"), "fieldsV1": found} for name, found in managed.items()]
    return {"metadata": {"labels": labels or {}, "annotations": annotations or {}, "managedFields": entries}}


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (obj(FLUX, kustomize_controller=OWNED), "Flux (apps) owns this very field and would take the edit back"),
        (obj(FLUX_HELM, helm_controller=OWNED), "Flux (mesh) owns this very field and would take the edit back"),
        (obj(FLUX, kustomize_controller=BESIDE), "Flux (apps) keeps this object, without this field"),
        (obj(FLUX, kubectl=OWNED), "Flux (apps) keeps this object, without this field"),
        (obj(FLUX | HELM, RELEASE, helm=OWNED), "Flux (apps) keeps this object, without this field"),
        (obj(HELM, helm=OWNED), "Helm owns this very field and would take the edit back"),
        (obj(HELM, RELEASE, Helm=OWNED), "Helm (release fsm) owns this very field and would take the edit back"),
        (obj({}, RELEASE, helm=BESIDE), "Helm (release fsm) keeps this object, without this field"),
        (obj(HELM), "Helm keeps this object, without this field"),
    ],
)
def test_flux_and_helm(held, text):
    (keeper,) = keepers(Cluster(), held, [("spec", "other"), PATH])
    assert (keeper.text, keeper.takes_back) == (text, "take the edit back" in text)


def application(name="mesh", automated=None):
    return {"metadata": {"name": name}, "spec": {"syncPolicy": {"automated": automated}}}


HEALS = application(automated={"selfHeal": True})
KEPT = "Argo CD (application mesh) keeps this object"
HEALED = "Argo CD (application mesh) heals this object itself and may take the edit back"
FORBIDDEN = Forbidden(403, "Forbidden", "no right to list")


@pytest.mark.parametrize(
    ("held", "answer", "text", "takes_back"),
    [
        (obj({}, TRACKING), [application("other"), HEALS], HEALED, True),
        (obj(INSTANCE), [HEALS], HEALED, True),
        (obj({"app.kubernetes.io/instance": "mesh"}, argocd_controller={}), [HEALS], HEALED, True),
        (obj({"app.kubernetes.io/instance": "mesh"}, argocd_application_controller={}), [HEALS], HEALED, True),
        (obj({}, TRACKING), [application()], KEPT, False),
        (obj({}, TRACKING), [application(automated={"selfHeal": False})], KEPT, False),
        (obj({}, TRACKING), [application("other", {"selfHeal": True})], KEPT, False),
        (
            obj({}, TRACKING),
            NotFound(404, "NotFound", "no such kind"),
            "Argo CD (application mesh) tracks this object, but there is no Argo CD here",
            False,
        ),
        (
            obj({}, TRACKING),
            FORBIDDEN,
            "Argo CD (application mesh) keeps this object; whether it heals it cannot be read: no right to list",
            True,
        ),
    ],
)
def test_argo_cd(held, answer, text, takes_back):
    assert keepers(Cluster(answer), held, [PATH]) == [(text, takes_back)]


def test_an_object_may_have_two_keepers_or_none():
    both = keepers(Cluster([HEALS]), obj(FLUX, TRACKING), [PATH])
    assert [keeper.text.partition(" (")[0] for keeper in both] == ["Argo CD", "Flux"]
    for held in (obj(), obj({"app.kubernetes.io/instance": "mesh"}, kubectl=OWNED), obj(argocd_controller=OWNED)):
        assert keepers(Cluster(FORBIDDEN), held, [PATH]) == []


def test_writers_are_those_of_the_field_newest_first():
    entries = [
        {"manager": "helm", "time": "2024-01-01T00:00:00Z", "fieldsV1": OWNED},
        {"manager": "beside", "time": "2025-01-01T00:00:00Z", "fieldsV1": BESIDE},
        {"manager": "fsm-plugin", "time": "2024-06-01T00:00:00Z", "fieldsV1": OWNED},
        {"manager": "odd", "fieldsV1": {"f:spec": "x"}},
        {"manager": "empty"},
    ]
    assert writers({"metadata": {"managedFields": entries}}, PATH) == [
        Writer("fsm-plugin", "2024-06-01T00:00:00Z"),
        Writer("helm", "2024-01-01T00:00:00Z"),
    ]
